//! What the ladder of proof needs of the store: which earlier requests a mail can speak for, what follows
//! for them, and whom time has run out on.
//!
//! A code counts only together with the address it was sent to, so codes are looked for among those of
//! the mail's sender; an answer counts only by the Message-ID of a mail of ours, together with the address
//! that mail went to. References and subjects prove nothing: anybody can write them.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use sqlx::FromRow;

use super::audit;
use super::bounces::requests_of_reply;
use super::visit::{Batch, Visit};
use crate::code::Code;
use crate::ladder::{Earlier, Status, Step};
use crate::message::MessageId;
use crate::random::random;
use crate::reply::{Outgoing, Question};
use crate::sender::Address;

/// Nobody has less time to answer a question than this.
const LEAST: Duration = Duration::from_secs(24 * 60 * 60);

/// A code that goes out, and until when it is good.
#[derive(Debug, Clone)]
pub struct Challenge {
    /// What is kept of the code.
    pub code_hash: [u8; 32],
    /// When it goes out.
    sent: Timestamp,
    /// How long a question is good for.
    valid_for: Duration,
}

impl Challenge {
    /// Of a question that goes out at `now`, good for so long.
    pub fn new(code: &Code, valid_for: Duration, now: Timestamp) -> Self {
        Self { code_hash: code.hash(), sent: now, valid_for }
    }

    /// When a request ends that is asked about by it for the first time.
    pub fn until(&self) -> Timestamp {
        after(self.sent, self.valid_for)
    }

    /// When its reminder is due: half-way.
    pub fn remind_at(&self) -> Timestamp {
        after(self.sent, self.valid_for / 2)
    }

    /// When a request ends that is asked about by it once more. However often that is, there is an end: twice the
    /// time that the first question gave, at `asked`.
    pub fn until_again(&self, asked: Option<Timestamp>) -> Timestamp {
        let last = asked.map_or(Timestamp::MAX, |asked| after(asked, 2 * self.valid_for));
        self.until().min(last.max(after(self.sent, LEAST)))
    }
}

/// When requests end whose reminder goes out at `now`, after their time, since it could not go out before.
pub fn respite(valid_for: Duration, now: Timestamp) -> Timestamp {
    after(now, (valid_for / 2).max(LEAST))
}

/// When a reminder is tried again that a bound has swallowed at `now`: bounds are of a day. With it goes the end
/// of its requests, if that has come; and where even twice their time is over there is none.
pub fn remind_later(lapse: &Lapse, valid_for: Duration, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
    let tomorrow = after(now, LEAST);
    if lapse.until > now {
        return Some((tomorrow.min(lapse.until), lapse.until));
    }
    let asked = lapse.requests.iter().filter_map(|request| request.asked).min()?;
    (tomorrow <= after(asked, 2 * valid_for)).then_some((tomorrow, tomorrow))
}

fn after(time: Timestamp, wait: Duration) -> Timestamp {
    time.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

/// A question with a new code, as it is put at `now`: good for so long.
///
/// # Errors
/// The system has no randomness, or the clock is past all dates.
pub fn question(valid_for: Duration, now: Timestamp) -> Result<Question> {
    let until = now.saturating_add(valid_for).context("The clock is past all dates")?;
    Ok(Question { code: Code::new(random()?), until: day(until), changes: Vec::new() })
}

/// The day that a letter names for a time, which is UTC's.
pub fn day(time: Timestamp) -> Date {
    time.to_zoned_datetime(TimeZone::UTC).date()
}

/// Requests of one mail on which time has run out, or half of it.
#[derive(Debug, Clone)]
pub struct Lapse {
    /// The ledger's row of their mail.
    pub message: i64,
    /// Its Message-ID, if sound.
    pub rfc_message_id: Option<String>,
    /// Whose requests they are.
    pub subject: Address,
    /// The language of that mail.
    pub language: String,
    /// Whether they expire now; otherwise a reminder is due, be it only now that their time is over.
    pub expires: bool,
    /// Whether it is known who reads there: the subject has written the mail, and was authenticated.
    pub is_proven: bool,
    /// Whether every question about them came back undelivered.
    pub is_undelivered: bool,
    /// When they expire.
    pub until: Timestamp,
    /// The requests, in their order.
    pub requests: Vec<Earlier>,
    /// Letters of ours about that mail so far, as their thread counts them.
    pub in_thread: u32,
}

/// What time has brought to the requests of one mail.
#[derive(Debug)]
pub struct Lapsed<'a> {
    /// One step for each.
    pub steps: &'a [Step],
    /// A letter about it, if one could be written.
    pub reply: Option<&'a Outgoing>,
    /// The code that is in it.
    pub code: Option<&'a Code>,
    /// When they end now, if they did not end later already.
    pub until: Timestamp,
    /// When their reminder is tried again.
    pub remind_at: Option<Timestamp>,
    /// The bound because of which no letter is written.
    pub unanswered: Option<&'static str>,
}

#[derive(FromRow)]
struct EarlierRow {
    id: i64,
    reference: String,
    kind: String,
    subject: Option<String>,
    status: String,
    received_at: i64,
    asked_at: Option<i64>,
    due_on: String,
    is_extended: bool,
    proof_needed: u8,
    letters: u32,
    words: Vec<u8>,
}

const EARLIER: &str =
    "SELECT r.id, r.reference, r.kind, r.subject, r.status, r.received_at, r.asked_at, r.due_on,
    r.extended_at IS NOT NULL AS is_extended, r.proof_needed, r.words,
    (SELECT count(*) FROM challenges c WHERE c.request_id = r.id) AS letters FROM requests r";

/// Of the mail that asked: its row, its Message-ID, whose request it is, its language, whether its time is over, until
/// when it could be answered, and whether its sender was proven.
type LapsedMail = (i64, Option<String>, String, String, bool, i64, bool);

/// Mails with requests on which time has run out, or half of it, at `$1`. Asked every minute, while nearly
/// nothing of what waits is due: so by the time alone. Left to itself, SQLite reads all that waits, by the
/// index that begins with the status.
const LAPSED: &str = "SELECT r.message_id, m.rfc_message_id, r.subject, r.language,
        max(r.proof_until <= $1 AND (r.remind_at IS NULL OR r.remind_at > $1)), min(r.proof_until),
        coalesce(r.subject = m.sender AND m.proof IN ('dmarc', 'dkim'), 0)
    FROM requests r JOIN messages m ON m.id = r.message_id
    WHERE +r.status = 'awaiting_proof' AND r.subject IS NOT NULL
      AND r.id IN (SELECT id FROM requests INDEXED BY requests_expiry
                   WHERE status = 'awaiting_proof' AND proof_until <= $1
                   UNION SELECT id FROM requests INDEXED BY requests_reminder
                   WHERE status = 'awaiting_proof' AND remind_at IS NOT NULL AND remind_at <= $1)
    GROUP BY r.message_id, r.subject ORDER BY min(r.proof_until) LIMIT 100";

/// Whether every question about the requests of the mail `$1` that went to `$2` came back.
const UNDELIVERED: &str = "SELECT count(*) > 0 AND count(*) = sum(state = 'bounced') FROM outbox
    WHERE template IN ('confirm', 'reminder') AND recipient = $2 AND (message_id = $1
       OR reference IN (SELECT reference FROM requests WHERE message_id = $1))";

fn sql(rest: &'static str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!("{EARLIER} {rest}"))
}

impl Visit {
    /// The requests that `code` proves, if it was sent to `sender`: all that were asked in one
    /// mail. Also those that no longer wait for proof, so that a used code is told from a wrong one; one
    /// whose time was over when our server received the mail counts as expired.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn proven_by(
        &mut self,
        code: &Code,
        sender: &Address,
        received: Timestamp,
    ) -> Result<Vec<Earlier>> {
        let sent: Vec<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT request_id, code_hash FROM challenges WHERE request_id IN
                (SELECT id FROM requests WHERE subject = $1) AND address = $1 ORDER BY id DESC LIMIT 1000",
        )
        .bind(sender.normalised().as_str())
        .fetch_all(&mut *self.tx)
        .await
        .context("Cannot look codes up")?;
        // All of them are compared, so the time does not tell which one fits.
        let ids: Vec<i64> =
            sent.iter().filter(|(_, hash)| code.matches(hash)).map(|(request, _)| *request).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows = sqlx::query_as(sql("WHERE r.id IN (SELECT value FROM json_each(?)) ORDER BY r.id"))
            .bind(serde_json::to_string(&ids)?)
            .fetch_all(&mut *self.tx)
            .await
            .context("Cannot read the requests of a code")?;
        let mut found = earlier(rows)?;
        let late: Vec<i64> = sqlx::query_scalar(
            "SELECT id FROM requests WHERE id IN (SELECT value FROM json_each(?)) AND status = 'awaiting_proof' AND proof_until < ?",
        )
        .bind(serde_json::to_string(&ids)?)
        .bind(received.as_second())
        .fetch_all(&mut *self.tx)
        .await
        .context("Cannot read whether a code came in time")?;
        for request in found.iter_mut().filter(|request| late.contains(&request.id)) {
            request.status = Status::Expired;
        }
        Ok(found)
    }

    /// The requests that the mail of ours which `ids` answer may speak of, if it went to `sender`. They need not
    /// be the sender's own: somebody else may have wished their answers at this address.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn thread_of(&mut self, ids: &[MessageId], sender: &Address) -> Result<Vec<Earlier>> {
        let ids: Vec<&str> = ids.iter().map(MessageId::as_str).collect();
        let rows = sqlx::query_as(sql(concat!(
            "WHERE r.id IN (SELECT r.id FROM ",
            requests_of_reply!(),
            " WHERE o.recipient = $1 AND o.rfc_message_id IN (SELECT value FROM json_each($2))) ORDER BY r.id"
        )))
        .bind(sender.normalised().as_str())
        .bind(serde_json::to_string(&ids)?)
        .fetch_all(&mut *self.tx)
        .await
        .context("Cannot read the requests of a thread")?;
        earlier(rows)
    }

    /// How many mails of ours to one of `people`, or upon a mail of theirs, there are in the thread of a mail
    /// so far: as many as it was when one of ours was written whose Message-ID is among `ids`, or whose
    /// reference is among `references`. Counted here, since of a long thread a mail program names the last ten
    /// mails at best, and one that acknowledges every mail only the last.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn replies_in_thread(
        &mut self,
        ids: &[MessageId],
        references: &[String],
        people: &[Address],
    ) -> Result<u32> {
        let ids: Vec<&str> = ids.iter().map(MessageId::as_str).collect();
        sqlx::query_scalar(
            "SELECT coalesce(max(in_thread), 0) FROM outbox o
             WHERE (rfc_message_id IN (SELECT value FROM json_each($2)) OR reference IN (SELECT value FROM json_each($3)))
               AND (recipient IN (SELECT value FROM json_each($1)) OR EXISTS
                    (SELECT 1 FROM messages m WHERE m.id = o.message_id AND m.sender IN (SELECT value FROM json_each($1))))",
        )
        .bind(serde_json::to_string(people)?)
        .bind(serde_json::to_string(&ids)?)
        .bind(serde_json::to_string(references)?)
        .fetch_one(&mut *self.tx)
        .await
        .context("Cannot count the replies of a thread")
    }

    /// How many mails of ours have gone to one of `people`, or upon a mail of theirs, in 30 days upon mails of
    /// this wording.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn replies_upon(&mut self, wording: &[u8; 32], people: &[Address]) -> Result<u32> {
        sqlx::query_scalar(
            "SELECT count(*) FROM
                (SELECT o.id FROM outbox o JOIN messages m ON m.id = o.message_id
                 WHERE o.recipient IN (SELECT value FROM json_each($1)) AND o.created_at > $2 AND m.wording = $3
                 UNION
                 SELECT o.id FROM messages m JOIN outbox o ON o.message_id = m.id
                 WHERE m.sender IN (SELECT value FROM json_each($1)) AND m.recorded_at > $2 AND m.wording = $3)",
        )
        .bind(serde_json::to_string(people)?)
        .bind(self.now - 30 * 24 * 60 * 60)
        .bind(wording.as_slice())
        .fetch_one(&mut *self.tx)
        .await
        .context("Cannot count the replies upon the same words")
    }

    /// The requests of `sender` that wait for proof, and not in vain.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn waiting_of(&mut self, sender: &Address) -> Result<Vec<Earlier>> {
        let rows =
            sqlx::query_as(sql("WHERE r.subject = ? AND r.status = 'awaiting_proof' AND r.proof_until > ? ORDER BY r.id LIMIT 50"))
                .bind(sender.normalised().as_str())
                .bind(self.now)
                .fetch_all(&mut *self.tx)
                .await
                .context("Cannot read which requests wait for proof")?;
        earlier(rows)
    }

    /// Whether any request of these kinds will be, or is being, carried out.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn has_imminent(&mut self, kinds: &[&str]) -> Result<bool> {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM requests WHERE status IN ('approved', 'executing') AND kind IN (SELECT value FROM json_each(?)))",
        )
        .bind(serde_json::to_string(kinds)?)
        .fetch_one(&mut *self.tx)
        .await
        .context("Cannot read whether anything is to be carried out")
    }

    /// Of whom among `people` requests of these kinds wait for proof, will be, or are being, carried out.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn with_finals(&mut self, people: &[&Address], kinds: &[&str]) -> Result<HashSet<Address>> {
        let list: Vec<Address> = people.iter().map(|address| address.normalised()).collect();
        let found: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT subject FROM requests WHERE subject IN (SELECT value FROM json_each(?))
                AND status IN ('awaiting_proof', 'approved', 'executing')
                AND kind IN (SELECT value FROM json_each(?))",
        )
        .bind(serde_json::to_string(&list)?)
        .bind(serde_json::to_string(kinds)?)
        .fetch_all(&mut *self.tx)
        .await
        .context("Cannot read of whom something waits")?;
        Ok(found.into_iter().filter_map(|subject| subject.parse().ok()).collect())
    }

    /// The requests of `sender` of these kinds that wait for proof, will be, or are being, carried out.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn imminent_of(&mut self, sender: &Address, kinds: &[&str]) -> Result<Vec<Earlier>> {
        let rows = sqlx::query_as(sql(
            "WHERE r.subject = ? AND r.status IN ('awaiting_proof', 'approved', 'executing')
                AND r.kind IN (SELECT value FROM json_each(?))
                -- Anybody can have many wait in somebody's name.
                ORDER BY r.status = 'awaiting_proof', iif(r.status = 'awaiting_proof', -r.id, r.id) LIMIT 50",
        ))
        .bind(sender.normalised().as_str())
        .bind(serde_json::to_string(kinds)?)
        .fetch_all(&mut *self.tx)
        .await
        .context("Cannot read what is to be carried out")?;
        earlier(rows)
    }

    /// Whosever requests of these kinds wait for proof, will be, or are being, carried out that bear one of `references`, or that a
    /// letter of ours with one of these Message-IDs speaks of.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn imminent_named(
        &mut self,
        references: &[String],
        ids: &[MessageId],
        kinds: &[&str],
    ) -> Result<Vec<Earlier>> {
        let ids: Vec<&str> = ids.iter().map(MessageId::as_str).collect();
        let rows = sqlx::query_as(sql(concat!(
            "WHERE +r.status IN ('awaiting_proof', 'approved', 'executing') AND +r.kind IN (SELECT value FROM json_each($1))
                AND r.id IN (SELECT id FROM requests WHERE reference IN (SELECT value FROM json_each($2))
                    UNION SELECT r.id FROM ",
            requests_of_reply!(),
            " WHERE o.rfc_message_id IN (SELECT value FROM json_each($3)))
                ORDER BY r.status = 'awaiting_proof', iif(r.status = 'awaiting_proof', -r.id, r.id) LIMIT 50"
        )))
        .bind(serde_json::to_string(kinds)?)
        .bind(serde_json::to_string(references)?)
        .bind(serde_json::to_string(&ids)?)
        .fetch_all(&mut *self.tx)
        .await
        .context("Cannot read what is to be carried out")?;
        earlier(rows)
    }

    /// What the contact of this address says in `fields`, by name; texts and numbers only.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn data_points(
        &mut self,
        address: &Address,
        fields: &[String],
    ) -> Result<Vec<(String, String)>> {
        sqlx::query_as(
            "SELECT f.key, CAST(f.value AS TEXT) FROM contacts, json_each(contacts.fields) AS f
             WHERE address = ? AND f.key IN (SELECT value FROM json_each(?)) AND f.type IN ('text', 'integer')",
        )
        .bind(address.normalised().as_str())
        .bind(serde_json::to_string(fields)?)
        .fetch_all(&mut *self.tx)
        .await
        .context("Cannot read what is known of a contact")
    }

    /// Whom a reminder is due to, and whose time is over: some of them, the oldest first.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn lapses(&mut self, now: Timestamp) -> Result<Vec<Lapse>> {
        // Requests of one mail may end at different times: one of them may have been asked about again.
        let mails: Vec<LapsedMail> = sqlx::query_as(LAPSED)
            .bind(now.as_second())
            .fetch_all(&mut *self.tx)
            .await
            .context("Cannot read whose time is over")?;
        let mut lapses = Vec::with_capacity(mails.len());
        for (message, rfc_message_id, subject, language, expires, until, is_proven) in mails {
            let rows = sqlx::query_as(sql(
                "WHERE r.message_id = $1 AND r.subject = $4 AND r.status = 'awaiting_proof'
                 AND iif($2, r.proof_until <= $3 AND (r.remind_at IS NULL OR r.remind_at > $3),
                         r.remind_at IS NOT NULL AND r.remind_at <= $3) ORDER BY r.id",
            ))
            .bind(message)
            .bind(expires)
            .bind(now.as_second())
            .bind(&subject)
            .fetch_all(&mut *self.tx)
            .await
            .context("Cannot read requests that wait for proof")?;
            let in_thread =
                sqlx::query_scalar("SELECT coalesce(max(in_thread), 0) FROM outbox WHERE message_id = ?")
                    .bind(message)
                    .fetch_one(&mut *self.tx)
                    .await
                    .context("Cannot count the letters about a mail")?;
            let is_undelivered: bool = sqlx::query_scalar(UNDELIVERED)
                .bind(message)
                .bind(&subject)
                .fetch_one(&mut *self.tx)
                .await
                .context("Cannot read what became of a question")?;
            let subject: Address =
                subject.parse().map_err(|_| anyhow::anyhow!("A stored request has no sound address"))?;
            lapses.push(Lapse {
                message,
                rfc_message_id,
                subject,
                language,
                expires,
                is_proven,
                is_undelivered,
                until: Timestamp::from_second(until)?,
                requests: earlier(rows)?,
                in_thread,
            });
        }
        Ok(lapses)
    }

    /// Records what time has brought to the requests of one mail.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn record_lapse(&mut self, lapse: &Lapse, outcome: &Lapsed<'_>) -> Result<()> {
        let mut batch = Batch::default();
        for step in outcome.steps {
            batch.step(step, self.now, None)?;
            if let Some(code) = outcome.code {
                batch.challenge_again(step.request, &lapse.subject, &code.hash(), outcome.until, self.now)?;
            }
            if let Some(remind_at) = outcome.remind_at {
                batch
                    .add(
                        "UPDATE requests SET remind_at = ?, proof_until = max(proof_until, ?) WHERE id = ?;",
                    )?
                    .bind(remind_at.as_second())?
                    .bind(outcome.until.as_second())?
                    .bind(step.request)?;
            }
        }
        if let Some(bound) = outcome.unanswered {
            batch
                .add("UPDATE messages SET unanswered = ? WHERE id = ?;")?
                .bind(bound)?
                .bind(lapse.message)?;
        }
        if let Some(reply) = outcome.reply {
            batch.reply(lapse.message, reply, lapse.in_thread.saturating_add(1), self.now)?;
        }
        batch.run(&mut self.tx).await.context("Cannot record what time has brought")
    }

    /// Commits.
    ///
    /// # Errors
    /// The database does not work; then nothing of the visit stands.
    pub async fn close(self) -> Result<()> {
        audit::commit(self.tx).await.context("Cannot commit what time has brought")
    }
}

fn earlier(rows: Vec<EarlierRow>) -> Result<Vec<Earlier>> {
    rows.into_iter()
        .map(|row| {
            Ok(Earlier {
                id: row.id,
                reference: row.reference,
                kind: row.kind,
                subject: row.subject.and_then(|subject| subject.parse().ok()),
                status: Status::parse(&row.status).context("A stored request has no known status")?,
                received: Timestamp::from_second(row.received_at)?,
                asked: row.asked_at.map(Timestamp::from_second).transpose()?,
                is_extended: row.is_extended,
                due: row.due_on.parse().context("A stored request has no sound due date")?,
                proof_needed: row.proof_needed,
                letters: row.letters,
                words: row.words.try_into().map_err(|_| anyhow::anyhow!("A stored request is damaged"))?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    /// Ten thousand requests that wait, with a question each.
    const ROWS: &str = "
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
        INSERT INTO messages (id, digest, size, mailbox, validity, mail_id, proof, proof_why, received_at,
            recorded_at, disposition, kind, why, findings, folder)
        SELECT i, CAST(i AS BLOB), 1, 'box', 1, '1', 'none', '', 0, 0, 'requests', '', '', '[]', '' FROM n;
        INSERT INTO requests (reference, message_id, kind, status, proof_needed, proof_given, words, asked_at,
            proof_until, remind_at, subject, language, confidence, received_at, due_on, due_source)
        SELECT id, id, 'deletion', 'awaiting_proof', 2, 0, zeroblob(32), 0, 2 * id, iif(id = 2, NULL, id), 'a@example.org', 'en', 1,
            0, '2026-12-23', '' FROM messages;
        INSERT INTO outbox (message_id, reference, proven, recipient, template, language, rfc_message_id,
            in_thread, raw, state, created_at, next_attempt_at, updated_at)
        SELECT id, id, 0, 'a@example.org', 'confirm', 'en', id, 1, x'00', 'sent', 0, 0, 0 FROM messages;";

    async fn plan(store: &Store, query: &str) -> String {
        let text = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {query}"));
        let rows: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(text).bind(1).fetch_all(&store.read).await.unwrap();
        rows.into_iter().map(|(.., step)| step + "\n").collect()
    }

    #[tokio::test]
    async fn what_is_due_is_found_without_reading_what_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("privacyd.db")).await.unwrap();
        sqlx::raw_sql(ROWS).execute(&store.write).await.unwrap();
        for statistics in ["", "ANALYZE"] {
            sqlx::raw_sql(statistics).execute(&store.write).await.unwrap();
            let lapsed = plan(&store, LAPSED).await;
            let undelivered = plan(&store, UNDELIVERED).await;
            for index in
                ["requests_expiry (proof_until<?)", "requests_reminder (remind_at>? AND remind_at<?)"]
            {
                assert!(lapsed.contains(index), "{lapsed}");
            }
            for (plan, step) in [(&lapsed, "SCAN"), (&lapsed, "status=?"), (&undelivered, "SCAN")] {
                assert!(!plan.contains(step), "{plan}");
            }
        }
        let mut visit = store.visit(Timestamp::from_second(4).unwrap()).await.unwrap();
        let lapses = visit.lapses(Timestamp::from_second(4).unwrap()).await.unwrap();
        let found: Vec<(i64, bool)> = lapses.iter().map(|lapse| (lapse.message, lapse.expires)).collect();
        // Whoever was not reminded is reminded first.
        assert_eq!(found, [(1, false), (2, true), (3, false), (4, false)]);
    }
}
