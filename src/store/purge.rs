//! What is purged when its time is over: the records of closed requests, and the text of the replies about
//! them. Open requests and replies that are still to be sent are never touched.
//!
//! Of a mail stays what it is known by, so that the same mail is never acted on twice; of an event stays its
//! link, so that the chain still verifies. Suppressions and the tombstones of erased addresses stay: they are
//! what the requests were for.

use anyhow::{Context, Result};
use jiff::Timestamp;
use sqlx::{Sqlite, Transaction};

use super::{Store, audit};
use crate::config::Cutoffs;

/// Rows of a kind that one transaction purges, so that mail does not wait for long.
const SOME: i64 = 500;

/// What was purged, or would be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Purged {
    /// Requests, with all that hangs on them.
    pub requests: u64,
    /// Their events.
    pub events: u64,
    /// Replies whose text is gone; when, to whom and what became of it stays.
    pub texts: u64,
    /// Replies of which nothing is left.
    pub replies: u64,
    /// Mails of which nothing is left but what they are known by.
    pub messages: u64,
}

impl Purged {
    /// Whether it is nothing.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.events += other.events;
        self.texts += other.texts;
        self.replies += other.replies;
        self.messages += other.messages;
    }
}

impl Store {
    /// Purges what is older than `cutoffs`, some of it in each transaction, until nothing is left to purge or
    /// `stopped` says so; then leaves nothing of it in the write-ahead log.
    ///
    /// # Errors
    /// The database does not work; what was purged before stays so.
    pub async fn purge(
        &self,
        cutoffs: &Cutoffs,
        now: Timestamp,
        stopped: &(dyn Fn() -> bool + Sync),
    ) -> Result<Purged> {
        let mut all = Purged::default();
        while !stopped() {
            let mut tx = self.begin().await?;
            let some = purge_some(&mut tx, cutoffs, now, SOME).await?;
            if some.is_nothing() {
                break;
            }
            audit::commit(tx).await?;
            all.add(&some);
        }
        if !all.is_nothing() {
            self.truncate_log().await?;
        }
        Ok(all)
    }

    /// What [`Store::purge`] would purge. Changes nothing.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn would_purge(&self, cutoffs: &Cutoffs, now: Timestamp) -> Result<Purged> {
        let mut tx = self.begin().await?;
        let all = purge_some(&mut tx, cutoffs, now, i64::MAX).await?;
        tx.rollback().await.context("Cannot take back the trial")?;
        Ok(all)
    }
}

/// One round. Requests first: their replies and mails may follow them in the same round.
async fn purge_some(
    tx: &mut Transaction<'static, Sqlite>,
    cutoffs: &Cutoffs,
    now: Timestamp,
    most: i64,
) -> Result<Purged> {
    let (old, now) = (cutoffs.requests.as_second(), now.as_second());
    let ids = old_requests(tx, old, most).await?;
    let events = purge_requests(tx, &ids, now).await?;
    let texts = sqlx::query(
        "UPDATE outbox SET raw = x'', kept = NULL, purged_at = $1 WHERE id IN (
            SELECT o.id FROM outbox o
            WHERE o.purged_at IS NULL AND o.state IN ('sent', 'bounced', 'unknown') AND o.updated_at <= $2
              AND NOT EXISTS (SELECT 1 FROM requests r WHERE (r.message_id = o.message_id OR r.reference = o.reference)
                AND (r.closed_at IS NULL OR r.closed_at > $2))
            LIMIT $3)",
    )
    .bind(now)
    .bind(cutoffs.texts.as_second())
    .bind(most)
    .execute(&mut **tx)
    .await
    .context("Cannot purge the text of replies")?;
    let replies = sqlx::query(
        "DELETE FROM outbox WHERE id IN (
            SELECT o.id FROM outbox o
            WHERE o.state IN ('sent', 'bounced', 'unknown') AND o.updated_at <= $1
              AND NOT EXISTS (SELECT 1 FROM requests r WHERE r.message_id = o.message_id OR r.reference = o.reference)
            LIMIT $2)",
    )
    .bind(old)
    .bind(most)
    .execute(&mut **tx)
    .await
    .context("Cannot purge replies")?;
    sqlx::query(
        "DELETE FROM copies WHERE message_id IN (SELECT id FROM messages WHERE purged_at IS NULL AND recorded_at <= $1)
            AND NOT EXISTS (SELECT 1 FROM requests r WHERE r.message_id = copies.message_id)",
    )
    .bind(old)
    .execute(&mut **tx)
    .await
    .context("Cannot purge the places of mails")?;
    // An empty place in its mailbox: it is not to be filed any more. A Maildir's file is known by its name, which says
    // nothing about anybody.
    let messages = sqlx::query(
        "UPDATE messages SET sender = NULL, rfc_message_id = NULL, proof_why = '', why = '', unanswered = NULL,
            findings = '[]', language = NULL, wording = NULL, mail_id = iif(validity = 0, mail_id, ''), filed = 1, purged_at = $1
         WHERE id IN (
            SELECT m.id FROM messages m WHERE m.purged_at IS NULL AND m.recorded_at <= $2
              AND NOT EXISTS (SELECT 1 FROM requests r WHERE r.message_id = m.id)
              AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.message_id = m.id)
            LIMIT $3)",
    )
    .bind(now)
    .bind(old)
    .bind(most)
    .execute(&mut **tx)
    .await
    .context("Cannot purge the ledger")?;
    Ok(Purged {
        requests: ids.len() as u64,
        events,
        texts: texts.rows_affected(),
        replies: replies.rows_affected(),
        messages: messages.rows_affected(),
    })
}

/// Requests that were closed before, and about which nothing is still to be done or to be sent.
async fn old_requests(tx: &mut Transaction<'static, Sqlite>, old: i64, most: i64) -> Result<Vec<i64>> {
    sqlx::query_scalar(
        "SELECT r.id FROM requests r
         WHERE r.closed_at <= $1
           AND r.status IN ('completed', 'partly_completed', 'denied', 'withdrawn', 'expired')
           AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.request_id = r.id AND t.state = 'waiting')
           AND NOT EXISTS (SELECT 1 FROM outbox o WHERE (o.message_id = r.message_id OR o.reference = r.reference)
             AND o.state IN ('queued', 'transmitting', 'deferred'))
         ORDER BY r.closed_at LIMIT $2",
    )
    .bind(old)
    .bind(most)
    .fetch_all(&mut **tx)
    .await
    .context("Cannot read which requests are to be purged")
}

/// Answers how many events have gone with them.
async fn purge_requests(tx: &mut Transaction<'static, Sqlite>, ids: &[i64], now: i64) -> Result<u64> {
    if ids.is_empty() {
        return Ok(0);
    }
    let list = serde_json::to_string(ids)?;
    let mut events = 0;
    for (statement, is_events) in [
        ("DELETE FROM challenges WHERE request_id IN (SELECT value FROM json_each($1))", false),
        ("DELETE FROM deadlines WHERE request_id IN (SELECT value FROM json_each($1))", false),
        ("DELETE FROM corrections WHERE request_id IN (SELECT value FROM json_each($1))", false),
        ("DELETE FROM tasks WHERE request_id IN (SELECT value FROM json_each($1))", false),
        (
            "UPDATE suppressions SET request_id = NULL WHERE request_id IN (SELECT value FROM json_each($1))",
            false,
        ),
        (
            "UPDATE tombstones SET request_id = NULL WHERE request_id IN (SELECT value FROM json_each($1))",
            false,
        ),
        (
            "UPDATE event_links SET purged_at = $2 WHERE event_id IN
                (SELECT id FROM request_events WHERE request_id IN (SELECT value FROM json_each($1)))",
            false,
        ),
        ("DELETE FROM request_events WHERE request_id IN (SELECT value FROM json_each($1))", true),
        ("DELETE FROM requests WHERE id IN (SELECT value FROM json_each($1))", false),
    ] {
        let done = sqlx::query(statement)
            .bind(&list)
            .bind(now)
            .execute(&mut **tx)
            .await
            .context("Cannot purge requests")?;
        if is_events {
            events = done.rows_affected();
        }
    }
    Ok(events)
}
