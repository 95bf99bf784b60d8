//! Notices to everybody: who gets one, how far it has come, and what became of each attempt.
//!
//! A recipient is a row with the number of a contact: neither an address nor a text is kept here, and whoever
//! is erased is gone from here as well. As in the outbox, a row is `transmitting` from before its mail may
//! reach a server until the outcome is known; found so when the daemon starts, it is `unknown` and never
//! sent again.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Serialize;
use sqlx::FromRow;

use super::Store;
use crate::mailer::Outcome;
use crate::outbox::next_attempt;
use crate::sender::Address;

/// A notice that has something to be sent.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Notice {
    /// Its row.
    pub id: i64,
    /// What the operator calls it.
    pub name: String,
    /// The template it is written from.
    pub template: String,
    /// Mails a minute, at the most.
    pub per_minute: u32,
}

/// How far a notice has come: how many people are in each state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// What the operator calls it.
    pub name: String,
    /// The template it is written from.
    pub template: String,
    /// `queueing`, `sending`, `done` or `cancelled`. What stays `queueing` was broken off: sending it again under
    /// its name goes on.
    pub state: String,
    /// Mails a minute, at the most.
    pub per_minute: u32,
    /// Seconds since 1970 UTC.
    pub created_at: i64,
    /// Everybody in it.
    pub people: i64,
    /// Contacts that are still to be queued.
    pub to_queue: i64,
    /// By state: queued, transmitting, deferred, sent, bounced, unknown.
    pub states: BTreeMap<String, i64>,
}

/// What came of the wish to send a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenNotice {
    /// It is being sent: its row.
    Open(i64),
    /// The name belongs to another template.
    OtherTemplate,
    /// A notice of another name, this one, is made of the same template and not finished: people would get both.
    Unfinished(String),
}

/// Somebody to whom a notice is sent now.
#[derive(Debug, Clone)]
pub struct Addressee {
    /// The recipient's row.
    pub id: i64,
    /// To whom.
    pub address: Address,
    /// What the contact's field `language` says.
    pub language: String,
    /// The Message-ID, with angle brackets.
    pub message_id: String,
    first: Timestamp,
    attempts: u32,
}

/// The states in which a mail may still be on its way.
const UNDECIDED: [&str; 3] = ["queued", "transmitting", "deferred"];

/// A notice of this template and another name to which people are still to be added, or that is still to be sent to
/// some.
async fn unfinished<'e>(
    executor: impl sqlx::Executor<'e, Database = sqlx::Sqlite>,
    name: &str,
    template: &str,
) -> Result<Option<String>> {
    sqlx::query_scalar(
        "SELECT name FROM notices n WHERE template = ? AND name <> ? AND state = 'sending'
           AND (queueing
             OR EXISTS (SELECT 1 FROM notice_recipients r WHERE r.notice_id = n.id AND r.state IN ('queued', 'deferred'))
             OR EXISTS (SELECT 1 FROM notice_recipients r WHERE r.notice_id = n.id AND r.state = 'transmitting'))
         ORDER BY id LIMIT 1",
    )
    .bind(template)
    .bind(name)
    .fetch_optional(executor)
    .await
    .context("Cannot read which notices are not finished")
}

impl Store {
    /// The notice of this name and template, made when there is none, and sending.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn open_notice(
        &self,
        name: &str,
        template: &str,
        per_minute: u32,
        now: Timestamp,
    ) -> Result<OpenNotice> {
        let mut tx = self.begin().await?;
        if let Some(other) = unfinished(&mut *tx, name, template).await? {
            return Ok(OpenNotice::Unfinished(other));
        }
        let opened: Option<i64> = sqlx::query_scalar(
            "INSERT INTO notices (name, template, state, per_minute, created_at) VALUES (?, ?, 'sending', ?, ?)
             ON CONFLICT (name) DO UPDATE SET state = 'sending', per_minute = excluded.per_minute, queueing = 1
                WHERE template = excluded.template
             RETURNING id",
        )
        .bind(name)
        .bind(template)
        .bind(per_minute)
        .bind(now.as_second())
        .fetch_optional(&mut *tx)
        .await
        .context("Cannot make the notice")?;
        tx.commit().await.context("Cannot commit the notice")?;
        Ok(opened.map_or(OpenNotice::OtherTemplate, OpenNotice::Open))
    }

    /// The name of another notice of this template that is not finished, if there is one.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn unfinished_notice(&self, name: &str, template: &str) -> Result<Option<String>> {
        unfinished(&self.read, name, template).await
    }

    /// Queues a notice to the next `limit` contacts behind the last one that was looked at for it; answers how
    /// many that were, and how many of them were new to it; `None` at the end. The next call, by whatever
    /// process, goes on there: a contact that comes later has a later row.
    ///
    /// # Errors
    /// The database does not work; then none of these is queued.
    pub async fn queue_notice(&self, notice: i64, limit: u32, now: Timestamp) -> Result<Option<(u64, u64)>> {
        let mut tx = self.begin().await?;
        let (seen, last): (i64, Option<i64>) = sqlx::query_as(
            "SELECT count(*), max(id) FROM (SELECT id FROM contacts
                WHERE id > (SELECT queued_to FROM notices WHERE id = ?) ORDER BY id LIMIT ?)",
        )
        .bind(notice)
        .bind(limit)
        .fetch_one(&mut *tx)
        .await
        .context("Cannot read the contacts")?;
        let mut new = 0;
        if let Some(last) = last {
            let done = sqlx::query(
                "INSERT INTO notice_recipients (notice_id, contact_id, next_attempt_at, updated_at)
                 SELECT $1, id, $2, $2 FROM contacts
                 WHERE id > (SELECT queued_to FROM notices WHERE id = $1) AND id <= $3 ORDER BY id
                 ON CONFLICT (notice_id, contact_id) DO NOTHING",
            )
            .bind(notice)
            .bind(now.as_second())
            .bind(last)
            .execute(&mut *tx)
            .await
            .context("Cannot queue the notice")?;
            new = done.rows_affected();
        }
        sqlx::query(
            "UPDATE notices SET queued_to = coalesce($2, queued_to), queueing = $2 IS NOT NULL WHERE id = $1",
        )
        .bind(notice)
        .bind(last)
        .execute(&mut *tx)
        .await
        .context("Cannot record how far the notice is queued")?;
        tx.commit().await.context("Cannot commit the notice")?;
        Ok(last.map(|_| (seen.unsigned_abs(), new)))
    }

    /// How many contacts are not yet in the notice of this name, by what they say of their language.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn missing_in_notice(&self, name: &str) -> Result<Vec<(String, i64)>> {
        sqlx::query_as(
            "SELECT coalesce(CAST(fields ->> '$.language' AS TEXT), '') AS wished, count(*) FROM contacts c
             WHERE NOT EXISTS (SELECT 1 FROM notice_recipients r
                WHERE r.notice_id = (SELECT id FROM notices WHERE name = ?) AND r.contact_id = c.id)
             GROUP BY wished",
        )
        .bind(name)
        .fetch_all(&self.read)
        .await
        .context("Cannot count who gets the notice")
    }

    /// Stops a notice; what is not sent yet stays unsent. Answers whether there is one that was being sent.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn cancel_notice(&self, name: &str) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE notices SET state = 'cancelled' WHERE name = ? AND state = 'sending' AND (queueing OR EXISTS
                (SELECT 1 FROM notice_recipients WHERE notice_id = notices.id
                 AND state IN ('queued', 'transmitting', 'deferred')))",
        )
            .bind(name)
            .execute(&self.write)
            .await
            .context("Cannot cancel the notice")?;
        Ok(done.rows_affected() > 0)
    }

    /// How far notices have come, the latest first; of this name or all.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn notices(&self, name: Option<&str>) -> Result<Vec<Progress>> {
        let rows: Vec<(i64, String, String, String, u32, i64, i64)> = sqlx::query_as(
            "SELECT id, name, template, iif(state = 'sending' AND queueing, 'queueing', state), per_minute, created_at,
                iif(queueing, (SELECT count(*) FROM contacts c WHERE c.id > n.queued_to), 0)
             FROM notices n WHERE $1 IS NULL OR name = $1 ORDER BY id DESC",
        )
        .bind(name)
        .fetch_all(&self.read)
        .await
        .context("Cannot read the notices")?;
        let mut found = Vec::with_capacity(rows.len());
        for (id, name, template, state, per_minute, created_at, to_queue) in rows {
            let states: Vec<(String, i64)> = sqlx::query_as(
                "SELECT state, count(*) FROM notice_recipients WHERE notice_id = ? GROUP BY state",
            )
            .bind(id)
            .fetch_all(&self.read)
            .await
            .context("Cannot count a notice's recipients")?;
            let states: BTreeMap<String, i64> = states.into_iter().collect();
            let is_open = UNDECIDED.iter().any(|state| states.contains_key(*state));
            let state = if state == "sending" && !is_open { "done".to_owned() } else { state };
            let people = states.values().sum();
            found.push(Progress { name, template, state, per_minute, created_at, people, to_queue, states });
        }
        Ok(found)
    }

    /// The oldest notice that has something due at `now`; none while a recovery lasts.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn next_notice(&self, now: Timestamp) -> Result<Option<Notice>> {
        sqlx::query_as(
            "SELECT id, name, template, per_minute FROM notices n WHERE state = 'sending'
               AND EXISTS (SELECT 1 FROM notice_recipients r WHERE r.notice_id = n.id
                           AND r.state IN ('queued', 'deferred') AND r.next_attempt_at <= ?)
               AND NOT EXISTS (SELECT 1 FROM recovery)
             ORDER BY id LIMIT 1",
        )
        .bind(now.as_second())
        .fetch_optional(&self.read)
        .await
        .context("Cannot read which notice is due")
    }

    /// Claims people for one attempt each, one for each of `message_ids` at the most; nobody once the notice
    /// is cancelled.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn claim_notice(
        &self,
        notice: &Notice,
        message_ids: &[String],
        now: Timestamp,
    ) -> Result<Vec<Addressee>> {
        let mut tx = self.begin().await?;
        let due: Vec<(i64, String, String)> = sqlx::query_as(
            "SELECT r.id, c.address, coalesce(CAST(c.fields ->> '$.language' AS TEXT), '')
             FROM notice_recipients r JOIN contacts c ON c.id = r.contact_id
             WHERE r.notice_id = $1 AND r.state IN ('queued', 'deferred') AND r.next_attempt_at <= $2
               AND (SELECT state FROM notices WHERE id = $1) = 'sending'
             ORDER BY r.next_attempt_at, r.id LIMIT $3",
        )
        .bind(notice.id)
        .bind(now.as_second())
        .bind(i64::try_from(message_ids.len()).unwrap_or(i64::MAX))
        .fetch_all(&mut *tx)
        .await
        .context("Cannot read to whom the notice is due")?;
        let mut claimed = Vec::with_capacity(due.len());
        for ((id, address, language), message_id) in due.into_iter().zip(message_ids) {
            let (message_id, first, attempts): (String, i64, u32) = sqlx::query_as(
                "UPDATE notice_recipients SET state = 'transmitting', attempts = attempts + 1, updated_at = $1,
                    first_attempt_at = coalesce(first_attempt_at, $1), rfc_message_id = coalesce(rfc_message_id, $2)
                 WHERE id = $3 RETURNING rfc_message_id, first_attempt_at, attempts",
            )
            .bind(now.as_second())
            .bind(message_id)
            .bind(id)
            .fetch_one(&mut *tx)
            .await
            .context("Cannot claim a notice's recipient")?;
            let address =
                address.parse().map_err(|_| anyhow::anyhow!("A stored contact has no sound address"))?;
            let first = Timestamp::from_second(first)?;
            claimed.push(Addressee { id, address, language, message_id, first, attempts });
        }
        tx.commit().await.context("Cannot commit the claim")?;
        Ok(claimed)
    }

    /// Writes down what became of a notice to these people.
    ///
    /// # Errors
    /// The database does not work; they stay `transmitting`.
    pub async fn settle_notice(&self, results: &[(Addressee, Outcome)], now: Timestamp) -> Result<()> {
        let mut tx = self.begin().await?;
        for (to, outcome) in results {
            let (state, reason, next) = match outcome {
                Outcome::Sent(reply) => ("sent", reply.as_str(), None),
                Outcome::Bounced(reason) => ("bounced", reason.as_str(), None),
                Outcome::Unknown(reason) => ("unknown", reason.as_str(), None),
                Outcome::NotTried => ("queued", "", Some(now)),
                Outcome::Deferred(reason) => match next_attempt(to.first, to.attempts, now) {
                    Some(next) => ("deferred", reason.as_str(), Some(next)),
                    None => ("bounced", reason.as_str(), None),
                },
            };
            sqlx::query(
                "UPDATE notice_recipients SET state = $1, outcome = $2, next_attempt_at = $3, updated_at = $4,
                    attempts = attempts - $5 WHERE id = $6 AND state = 'transmitting'",
            )
            .bind(state)
            .bind(reason)
            .bind(next.unwrap_or(now).as_second())
            .bind(now.as_second())
            .bind(u8::from(*outcome == Outcome::NotTried))
            .bind(to.id)
            .execute(&mut *tx)
            .await
            .context("Cannot record what became of a notice")?;
        }
        tx.commit().await.context("Cannot commit what became of a notice")
    }

    /// Marks what a dead process was sending of notices as unknown; answers how much.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn flag_interrupted_notices(&self, now: Timestamp) -> Result<u64> {
        let done = sqlx::query(
            "UPDATE notice_recipients SET state = 'unknown', outcome = 'the process ended while it was being sent', updated_at = ?
             WHERE state = 'transmitting'",
        )
        .bind(now.as_second())
        .execute(&self.write)
        .await
        .context("Cannot flag interrupted notices")?;
        Ok(done.rows_affected())
    }
}
