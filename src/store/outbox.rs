//! The queue of replies: claim, settle, and what a crash leaves behind.
//!
//! A row is `transmitting` from before its bytes may reach a server until the outcome is known. Found
//! so when the daemon starts, nobody can say whether the reply was delivered: it becomes `unknown`,
//! is shown to the operator, and is never sent again on its own (RFC 5321 section 6.1: the other
//! choice is a person who gets the same letter over and over).

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, anyhow};
use jiff::Timestamp;
use sqlx::{Sqlite, Transaction};
use tokio::sync::oneshot;

use super::bounces::undelivered;
use super::visit::{Batch, Visit};
use super::{Store, audit};
use crate::mailer::{Letter, Outcome};
use crate::outbox::next_attempt;
use crate::reply::{ALARM, Outgoing, URGENT};

/// Replies that were claimed for one attempt each.
#[derive(Debug, Default)]
pub struct Claim {
    /// What the mailer needs.
    pub letters: Vec<Letter>,
    /// What settling them needs, in the same order.
    pub rows: Vec<Claimed>,
}

/// A reply that was claimed for one attempt.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// Its row.
    pub id: i64,
    /// The request it belongs to, for the log.
    pub reference: String,
    /// The template it was made from, for the log.
    pub template: String,
    /// Whether it answers no mail: a letter to the operator, or to ourselves.
    pub is_own: bool,
    /// When it was queued.
    pub created: Timestamp,
    /// Attempts so far, this one counted.
    pub attempts: u32,
}

/// What became of one attempt, in the words of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// sent, deferred, bounced, unknown or queued.
    pub state: &'static str,
    /// The reason, for the operator.
    pub outcome: String,
    /// When it will be tried again.
    pub next: Option<Timestamp>,
}

/// What one connection wants of the next transaction.
#[derive(Debug)]
pub(super) struct Turn {
    results: Vec<(Claimed, Outcome)>,
    most: usize,
    done: oneshot::Sender<Result<(Vec<Settled>, Claim)>>,
}

type Row = (i64, String, Vec<u8>, String, String, String, bool, i64, u32);

impl Store {
    /// Marks replies that a dead process was transmitting as unknown; answers how many.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn flag_interrupted(&self, now: Timestamp) -> Result<u64> {
        let done = sqlx::query(
            "UPDATE outbox SET state = 'unknown', outcome = 'the process ended while it was being sent', updated_at = ?,
                raw = coalesce(kept, raw), kept = NULL
             WHERE state = 'transmitting'",
        )
        .bind(now.as_second())
        .execute(&self.write)
        .await
        .context("Cannot flag interrupted replies")?;
        Ok(done.rows_affected())
    }

    /// Records what a person knows of a reply of unknown fate: it arrived, or it did not. Answers the references of
    /// the requests that a person must look at because of that; `None` when there is no such reply.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn settle_by_hand(
        &self,
        id: i64,
        arrived: bool,
        now: Timestamp,
    ) -> Result<Option<Vec<String>>> {
        let mut tx = self.begin().await?;
        let (state, outcome) = match arrived {
            true => ("sent", "a person says that it arrived"),
            false => ("bounced", "a person says that it is lost"),
        };
        let done = sqlx::query(
            "UPDATE outbox SET state = $1, outcome = $2, updated_at = $3,
                raw = iif($1 = 'sent', coalesce(kept, raw), raw), kept = iif($1 = 'sent', NULL, kept)
             WHERE id = $4 AND state = 'unknown'",
        )
        .bind(state)
        .bind(outcome)
        .bind(now.as_second())
        .bind(id)
        .execute(&mut *tx)
        .await
        .context("Cannot settle the reply")?;
        if done.rows_affected() == 0 {
            return Ok(None);
        }
        let mut held = Vec::new();
        if !arrived {
            let mut batch = Batch::default();
            held =
                undelivered(&mut tx, &mut batch, id, "lost, as a person says", now.as_second(), None).await?;
            batch.run(&mut tx).await.context("Cannot record that a reply did not arrive")?;
        }
        audit::commit(tx).await?;
        Ok(Some(held))
    }

    /// Says whether letters to the operator alone are due in this process, as long as nobody knows whether this
    /// database is as new as the mailboxes.
    pub fn hold_back(&self, holds_back: bool) {
        self.holds_back.store(holds_back, Ordering::Relaxed);
    }

    /// How many replies are due at `now`, and when the next will be. While a recovery lasts, or letters are held
    /// back, those to the operator alone are.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn due(&self, now: Timestamp) -> Result<(u64, Option<Timestamp>)> {
        let (due, next): (i64, Option<i64>) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM (SELECT 1 FROM outbox WHERE state IN ('queued', 'deferred') AND next_attempt_at <= $1
                        AND (message_id IS NULL OR NOT $2 AND NOT EXISTS (SELECT 1 FROM recovery))
                        LIMIT 10000)),
                    (SELECT min(next_attempt_at) FROM outbox WHERE state IN ('queued', 'deferred') AND next_attempt_at > $1)",
        )
        .bind(now.as_second())
        .bind(self.holds_back.load(Ordering::Relaxed))
        .fetch_one(&self.read)
        .await
        .context("Cannot read what is due")?;
        Ok((due.unsigned_abs(), next.and_then(|at| Timestamp::from_second(at).ok())))
    }

    /// Writes down what became of earlier claims, and claims up to `most` due replies for one attempt
    /// each, all in one transaction. Whoever comes to it first does it for all who wait: thirty connections
    /// need few commits.
    ///
    /// # Errors
    /// The database does not work; the earlier claims stay `transmitting`.
    pub async fn settle_and_claim(
        &self,
        results: &[(Claimed, Outcome)],
        most: usize,
        now: Timestamp,
    ) -> Result<(Vec<Settled>, Claim)> {
        let (done, mut answer) = oneshot::channel();
        let waiting = || self.turns.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting().push(Turn { results: results.to_vec(), most, done });
        let _leader = self.turns.leader.lock().await;
        if let Ok(answer) = answer.try_recv() {
            return answer;
        }
        let begun = self.begin().await;
        let turns = std::mem::take(&mut *waiting());
        match begun {
            Ok(tx) => settle_all(tx, turns, self.holds_back.load(Ordering::Relaxed), now).await,
            Err(error) => refuse(turns, &error),
        }
        answer.await.context("The settling broke off")?
    }
}

impl Visit {
    /// Queues a letter to the operator that answers no mail.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn queue_to_operator(&mut self, letter: &Outgoing) -> Result<()> {
        let mut batch = Batch::default();
        batch.reply(None, letter, 1, self.now)?;
        batch.run(&mut self.tx).await.context("Cannot queue a letter to the operator")
    }

    /// Alarms to the operator that were queued in the last hour, of the latest letters.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn alarms_of_the_hour(&mut self) -> Result<u32> {
        sqlx::query_scalar(
            "SELECT count(*) FROM (SELECT template, created_at FROM outbox ORDER BY id DESC LIMIT 1000)
             WHERE template IN (?, ?) AND created_at > ? - 3600",
        )
        .bind(ALARM)
        .bind(URGENT)
        .bind(self.now)
        .fetch_one(&mut *self.tx)
        .await
        .context("Cannot count the alarms of the hour")
    }
}

/// One transaction for all of `turns`; each is told its own part.
async fn settle_all(
    mut tx: Transaction<'static, Sqlite>,
    turns: Vec<Turn>,
    holds_back: bool,
    now: Timestamp,
) {
    let settled: Vec<Vec<Settled>> = turns
        .iter()
        .map(|turn| turn.results.iter().map(|(claimed, outcome)| settle(claimed, outcome, now)).collect())
        .collect();
    let results = turns.iter().flat_map(|turn| &turn.results).zip(settled.iter().flatten());
    let most = turns.iter().map(|turn| turn.most).sum();
    let done = async {
        let bounced = write_down(&mut tx, results, now).await?;
        let mut batch = Batch::default();
        for reply in &bounced {
            undelivered(&mut tx, &mut batch, *reply, "refused or given up", now.as_second(), None).await?;
        }
        if !bounced.is_empty() {
            batch.run(&mut tx).await.context("Cannot record which replies did not arrive")?;
        }
        let rows = claim(&mut tx, most, holds_back, now).await?;
        audit::commit(tx).await?;
        Ok(rows)
    };
    match done.await {
        Ok(rows) => {
            let mut rows = rows.into_iter();
            for (turn, settled) in turns.into_iter().zip(settled) {
                let (letters, rows) = rows.by_ref().take(turn.most).map(claimed).unzip();
                // Nobody hears it only if the process is about to end.
                let _ = turn.done.send(Ok((settled, Claim { letters, rows })));
            }
        }
        Err(error) => refuse(turns, &error),
    }
}

fn refuse(turns: Vec<Turn>, error: &anyhow::Error) {
    for turn in turns {
        let _ = turn.done.send(Err(anyhow!("{error:#}")));
    }
}

/// Answers the replies that will never arrive.
async fn write_down<'a>(
    tx: &mut Transaction<'static, Sqlite>,
    results: impl Iterator<Item = (&'a (Claimed, Outcome), &'a Settled)>,
    now: Timestamp,
) -> Result<Vec<i64>> {
    let list: Vec<serde_json::Value> = results
        .map(|((claimed, outcome), settled)| {
            serde_json::json!({
                "id": claimed.id,
                "state": settled.state,
                "outcome": settled.outcome,
                "next": settled.next.unwrap_or(now).as_second(),
                "untried": matches!(outcome, Outcome::NotTried),
            })
        })
        .collect();
    if list.is_empty() {
        return Ok(Vec::new());
    }
    let changed: Vec<(i64, String)> = sqlx::query_as(
        "UPDATE outbox SET state = result.value ->> 'state', outcome = result.value ->> 'outcome',
            next_attempt_at = result.value ->> 'next', updated_at = $2,
            attempts = attempts - (result.value ->> 'untried'),
            raw = iif(result.value ->> 'state' IN ('sent', 'bounced', 'unknown'), coalesce(kept, raw), raw),
            kept = iif(result.value ->> 'state' IN ('sent', 'bounced', 'unknown'), NULL, kept)
         FROM json_each($1) AS result
         WHERE outbox.id = result.value ->> 'id' AND outbox.state = 'transmitting'
         RETURNING outbox.id, outbox.state",
    )
    .bind(serde_json::to_string(&list)?)
    .bind(now.as_second())
    .fetch_all(&mut **tx)
    .await
    .context("Cannot record what became of the replies")?;
    Ok(changed.into_iter().filter(|(_, state)| state == "bounced").map(|(id, _)| id).collect())
}

async fn claim(
    tx: &mut Transaction<'static, Sqlite>,
    most: usize,
    holds_back: bool,
    now: Timestamp,
) -> Result<Vec<Row>> {
    if most == 0 {
        return Ok(Vec::new());
    }
    sqlx::query_as(
        "UPDATE outbox SET state = 'transmitting', attempts = attempts + 1, updated_at = $1
         WHERE id IN (SELECT id FROM outbox WHERE state IN ('queued', 'deferred') AND next_attempt_at <= $1
                        AND (message_id IS NULL OR NOT $3 AND NOT EXISTS (SELECT 1 FROM recovery))
                      ORDER BY next_attempt_at LIMIT $2)
         RETURNING id, recipient, raw, rfc_message_id, reference, template, message_id IS NULL, created_at, attempts",
    )
    .bind(now.as_second())
    .bind(i64::try_from(most).unwrap_or(i64::MAX))
    .bind(holds_back)
    .fetch_all(&mut **tx)
    .await
    .context("Cannot claim due replies")
}

fn claimed(
    (id, recipient, raw, message_id, reference, template, is_own, created, attempts): Row,
) -> (Letter, Claimed) {
    let created = Timestamp::from_second(created).unwrap_or(Timestamp::UNIX_EPOCH);
    let letter = Letter { id, recipient, raw, message_id };
    (letter, Claimed { id, reference, template, is_own, created, attempts })
}

/// The row's next state after one attempt.
fn settle(claimed: &Claimed, outcome: &Outcome, now: Timestamp) -> Settled {
    match outcome {
        Outcome::Sent(reply) => Settled { state: "sent", outcome: reply.clone(), next: None },
        Outcome::Bounced(reason) => Settled { state: "bounced", outcome: reason.clone(), next: None },
        Outcome::Unknown(reason) => Settled { state: "unknown", outcome: reason.clone(), next: None },
        Outcome::NotTried => Settled { state: "queued", outcome: String::new(), next: Some(now) },
        Outcome::Deferred(reason) => match next_attempt(claimed.created, claimed.attempts, now) {
            Some(next) => Settled { state: "deferred", outcome: reason.clone(), next: Some(next) },
            None => Settled {
                state: "bounced",
                outcome: format!("given up after five days: {reason}"),
                next: None,
            },
        },
    }
}
