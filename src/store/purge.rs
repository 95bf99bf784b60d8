//! What is purged when its time is over: the records of closed requests, and the text of the replies about
//! them. Open requests and replies that are still to be sent are never touched.
//!
//! Of a mail stays what it is known by, so that the same mail is never acted on twice; of an event stays its
//! link, so that the chain still verifies, and the purge is an event that names it: an event that is gone otherwise
//! is missing. Suppressions and the tombstones of erased addresses stay: they are
//! what the requests were for.

use anyhow::{Context, Result};
use jiff::Timestamp;
use sqlx::{Sqlite, Transaction};

use super::visit::Batch;
use super::{Store, audit};
use crate::chain::{Ids, PURGED};
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
            let some = purge_some(&mut tx, cutoffs, now).await?;
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

    /// What [`Store::purge`] would purge: counted, while others write.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn would_purge(&self, cutoffs: &Cutoffs) -> Result<Purged> {
        let counts: (i64, i64, i64, i64, i64) = sqlx::query_as(sqlx::AssertSqlSafe(would_purge()))
            .bind(cutoffs.requests.as_second())
            .bind(cutoffs.texts.as_second())
            .fetch_one(&self.read)
            .await
            .context("Cannot count what would be purged")?;
        let [requests, events, texts, replies, messages] =
            [counts.0, counts.1, counts.2, counts.3, counts.4].map(i64::unsigned_abs);
        Ok(Purged { requests, events, texts, replies, messages })
    }
}

/// Requests that were closed at $1 or before, and about which nothing is still to be done or to be sent.
const REQUESTS: &str = "r.closed_at <= $1
    AND r.status IN ('completed', 'partly_completed', 'denied', 'withdrawn', 'expired')
    AND NOT EXISTS (SELECT 1 FROM tasks t WHERE t.request_id = r.id AND t.state = 'waiting')
    AND NOT EXISTS (SELECT 1 FROM outbox o WHERE (o.message_id = r.message_id OR o.reference = r.reference)
        AND o.state IN ('queued', 'transmitting', 'deferred'))";

/// Replies that had ended at $2 or before, and whose requests were closed by then.
const TEXTS: &str = "o.purged_at IS NULL AND o.state IN ('sent', 'bounced', 'unknown') AND o.updated_at <= $2
    AND NOT EXISTS (SELECT 1 FROM requests r WHERE (r.message_id = o.message_id OR r.reference = o.reference)
        AND (r.closed_at IS NULL OR r.closed_at > $2))";

/// Replies that had ended at $1 or before, and of which no request is left.
const REPLIES: &str = "o.state IN ('sent', 'bounced', 'unknown') AND o.updated_at <= $1
    AND NOT EXISTS (SELECT 1 FROM requests r WHERE (r.message_id = o.message_id OR r.reference = o.reference)";

/// The query that counts what would be purged: what a statement would have taken out before another looks is left
/// out.
fn would_purge() -> String {
    format!(
        "WITH doomed AS MATERIALIZED (SELECT r.id FROM requests r WHERE {REQUESTS}),
         gone AS MATERIALIZED (SELECT o.id FROM outbox o WHERE {REPLIES} AND r.id NOT IN (SELECT id FROM doomed)))
         SELECT (SELECT count(*) FROM doomed),
            (SELECT count(*) FROM request_events e WHERE e.request_id IN (SELECT id FROM doomed)),
            (SELECT count(*) FROM outbox o WHERE {TEXTS}),
            (SELECT count(*) FROM gone),
            (SELECT count(*) FROM messages m WHERE m.purged_at IS NULL AND m.recorded_at <= $1
                AND NOT EXISTS (SELECT 1 FROM requests r WHERE r.message_id = m.id
                    AND r.id NOT IN (SELECT id FROM doomed))
                AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.message_id = m.id AND o.id NOT IN (SELECT id FROM gone)))"
    )
}

/// One round. Requests first: their replies and mails may follow them in the same round.
async fn purge_some(
    tx: &mut Transaction<'static, Sqlite>,
    cutoffs: &Cutoffs,
    now: Timestamp,
) -> Result<Purged> {
    let most = SOME;
    let (old, now) = (cutoffs.requests.as_second(), now.as_second());
    let ids = old_requests(tx, old, most).await?;
    let events = purge_requests(tx, &ids, now).await?;
    let texts = sqlx::query(sqlx::AssertSqlSafe(purge_texts()))
        .bind(now)
        .bind(cutoffs.texts.as_second())
        .bind(most)
        .execute(&mut **tx)
        .await
        .context("Cannot purge the text of replies")?;
    let replies = sqlx::query(sqlx::AssertSqlSafe(format!(
        "DELETE FROM outbox WHERE id IN (SELECT o.id FROM outbox o WHERE {REPLIES}) LIMIT $2)"
    )))
    .bind(old)
    .bind(most)
    .execute(&mut **tx)
    .await
    .context("Cannot purge replies")?;
    sqlx::query(
        "DELETE FROM copies WHERE EXISTS (SELECT 1 FROM messages m
                WHERE m.id = copies.message_id AND m.purged_at IS NULL AND m.recorded_at <= $1)
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

fn purge_texts() -> String {
    format!(
        "UPDATE outbox SET raw = x'', kept = NULL, purged_at = $1
         WHERE id IN (SELECT o.id FROM outbox o WHERE {TEXTS} LIMIT $3)"
    )
}

async fn old_requests(tx: &mut Transaction<'static, Sqlite>, old: i64, most: i64) -> Result<Vec<i64>> {
    sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
        "SELECT r.id FROM requests r WHERE {REQUESTS} ORDER BY r.closed_at LIMIT $2"
    )))
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
    let gone: Vec<i64> = sqlx::query_scalar(
        "SELECT id FROM request_events WHERE request_id IN (SELECT value FROM json_each(?)) ORDER BY id",
    )
    .bind(&list)
    .fetch_all(&mut **tx)
    .await
    .context("Cannot read which events are to be purged")?;
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
    if !gone.is_empty() {
        let mut batch = Batch::default();
        batch.log_event(now, "clock", PURGED, &Ids::of(&gone).to_string())?;
        batch.run(tx).await.context("Cannot record which events were purged")?;
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_purged_is_not_looked_at_again() {
        let folder = tempfile::tempdir().unwrap();
        for statistics in [false, true] {
            let store = Store::filled(&folder, statistics).await;
            // The text of all replies is gone, but for two whose requests were closed.
            sqlx::raw_sql("UPDATE outbox SET purged_at = 1 WHERE id NOT IN (8998, 8999)")
                .execute(&store.write)
                .await
                .unwrap();
            for (query, arguments) in [(purge_texts(), 3), (would_purge(), 2)] {
                let plan = store.plan(&query, |plan| (0..arguments).fold(plan, |plan, _| plan.bind(1))).await;
                assert!(plan.iter().any(|step| step.contains("outbox_texts (updated_at<?)")), "{plan:?}");
                let is_scan = |step: &String| ["SCAN o", "SCAN r", "SCAN m"].contains(&step.as_str());
                assert!(!plan.iter().any(is_scan), "{plan:?}");
            }
            let cutoffs = Cutoffs {
                requests: Timestamp::from_second(0).unwrap(),
                texts: Timestamp::from_second(30_000).unwrap(),
            };
            let would = store.would_purge(&cutoffs).await.unwrap();
            assert_eq!(would, Purged { texts: 2, ..Purged::default() });
            assert_eq!(store.purge(&cutoffs, Timestamp::now(), &|| false).await.unwrap(), would);
        }
    }
}
