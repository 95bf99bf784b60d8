//! What the daily digest needs of the store: what waits, what is due, what failed, and when it was last told.
//! References, types and states alone are read here, and no field that holds a word of anybody's.

use anyhow::{Context, Result};
use jiff::Timestamp;
use jiff::civil::Date;
use sqlx::{FromRow, Sqlite};

use super::Store;
use super::to_read::to_read;
use super::visit::{Batch, Visit};
use crate::reply::{Outgoing, Section};

/// Things of one sort that are told one by one; of more only how many there are.
const MOST_LINES: i64 = 50;

/// The queries of [`Section::NAMES`], in their order. `$1` is today, `$2` the end of what is ahead, `$3` the
/// last digest, `$4` the types whose work begins by itself, `$5` the most lines.
const QUERIES: [&str; 8] = [
    "SELECT reference, kind, status AS state, due_on AS due, '' AS place, count(*) OVER () AS total FROM requests
     WHERE status IN ('awaiting_proof', 'approved', 'executing', 'held') AND due_on < $1
     ORDER BY due_on, id LIMIT $5",
    "SELECT reference, kind, status AS state, due_on AS due, '' AS place, count(*) OVER () AS total FROM requests
     WHERE status IN ('awaiting_proof', 'approved', 'executing', 'held') AND due_on = $1
     ORDER BY id LIMIT $5",
    "SELECT reference, kind, status AS state, due_on AS due, '' AS place, count(*) OVER () AS total FROM requests
     WHERE status IN ('awaiting_proof', 'approved', 'executing', 'held') AND due_on > $1 AND due_on <= $2
     ORDER BY due_on, id LIMIT $5",
    "SELECT reference, kind, status AS state, due_on AS due, '' AS place, count(*) OVER () AS total FROM requests
     WHERE status IN ('held', 'approved', 'executing') AND CASE status WHEN 'held' THEN 1
        WHEN 'executing' THEN EXISTS (SELECT 1 FROM tasks t WHERE t.request_id = requests.id AND t.state = 'by_hand')
        ELSE kind NOT IN (SELECT value FROM json_each($4))
            AND NOT EXISTS (SELECT 1 FROM corrections c WHERE c.request_id = requests.id) END
     ORDER BY due_on, id LIMIT $5",
    // A system that failed leaves its part to a person. Those are few: a cross join keeps the order of the tables.
    "SELECT r.reference, r.kind, t.state, r.due_on AS due, t.source AS place, count(*) OVER () AS total
     FROM requests r CROSS JOIN tasks t ON t.request_id = r.id
     WHERE r.status IN ('executing', 'held') AND t.state = 'by_hand' AND t.attempts > 0 ORDER BY r.due_on, t.id LIMIT $5",
    "SELECT r.reference, r.kind, t.state, r.due_on AS due, t.source AS place, count(*) OVER () AS total
     FROM tasks t JOIN requests r ON r.id = t.request_id
     WHERE t.state = 'waiting' AND t.attempts > 0 AND r.status = 'executing' ORDER BY r.due_on, t.id LIMIT $5",
    "SELECT reference, template AS kind, state, '' AS due, CAST(id AS TEXT) AS place, count(*) OVER () AS total
     FROM outbox INDEXED BY outbox_ended
     WHERE state IN ('sent', 'bounced', 'unknown') AND state <> 'sent' AND updated_at >= $3
     ORDER BY id LIMIT $5",
    // What is to be read is told until it is.
    concat!(
        "SELECT CAST(m.id AS TEXT) AS reference, '' AS kind,
            CASE WHEN m.unanswered IS NOT NULL THEN 'unanswered' WHEN m.disposition = 'unreadable' THEN 'unreadable'
                ELSE 'held' END AS state,
            '' AS due, '' AS place, count(*) OVER () AS total
         FROM messages m WHERE m.id IN (
            SELECT m.id FROM messages m INDEXED BY messages_kept
            WHERE m.purged_at IS NULL AND m.recorded_at >= $3 AND m.unanswered IS NOT NULL
            UNION SELECT m.id FROM messages m INDEXED BY messages_to_read WHERE ",
        to_read!(),
        ") ORDER BY m.id LIMIT $5"
    ),
];

/// What a digest is about.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Its day.
    pub today: Date,
    /// What is due until then is told.
    pub until: Date,
    /// What has happened to replies and mails since then is told.
    pub since: Timestamp,
    /// The types whose work begins by itself once they are approved.
    pub carried_out: &'a [String],
}

/// One thing that a digest tells.
#[derive(Debug, Clone, FromRow)]
pub struct Found {
    /// See [`crate::reply::Line`].
    pub reference: String,
    /// See there.
    pub kind: String,
    /// See there.
    pub state: String,
    /// A date, 2026-12-23, or empty.
    pub due: String,
    /// See there.
    pub place: String,
    /// How many there are of its sort.
    pub total: i64,
}

impl Store {
    /// When the last digest was made.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn digested_at(&self) -> Result<Option<Timestamp>> {
        digested_at(&self.read).await
    }
}

impl Visit {
    /// When the last digest was made.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn digested_at(&mut self) -> Result<Option<Timestamp>> {
        digested_at(&mut *self.tx).await
    }

    /// What there is to tell, by [`Section::NAMES`].
    ///
    /// # Errors
    /// The database does not work.
    pub async fn digest(&mut self, asked: &Asked<'_>) -> Result<Vec<(&'static str, Vec<Found>)>> {
        let mut found = Vec::with_capacity(QUERIES.len());
        for (name, query) in Section::NAMES.into_iter().zip(QUERIES) {
            let rows = sqlx::query_as(query)
                .bind(asked.today.to_string())
                .bind(asked.until.to_string())
                .bind(asked.since.as_second())
                .bind(serde_json::to_string(asked.carried_out)?)
                .bind(MOST_LINES)
                .fetch_all(&mut *self.tx)
                .await
                .with_context(|| format!("Cannot read what the digest tells ({name})"))?;
            found.push((name, rows));
        }
        Ok(found)
    }

    /// Records that the digest was made now, and queues it.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn record_digest(&mut self, letter: Option<&Outgoing>) -> Result<()> {
        let mut batch = Batch::default();
        batch
            .add(
                "INSERT INTO meta (name, value) VALUES ('digested_at', ?)
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value;",
            )?
            .bind(self.now.to_be_bytes().to_vec())?;
        if let Some(letter) = letter {
            batch.reply(None, letter, 1, self.now)?;
        }
        batch.run(&mut self.tx).await.context("Cannot record the digest")
    }
}

async fn digested_at<'e>(executor: impl sqlx::Executor<'e, Database = Sqlite>) -> Result<Option<Timestamp>> {
    let at: Option<Vec<u8>> = sqlx::query_scalar("SELECT value FROM meta WHERE name = 'digested_at'")
        .fetch_optional(executor)
        .await
        .context("Cannot read when the last digest was made")?;
    let seconds = at.and_then(|at| <[u8; 8]>::try_from(at).ok()).map(i64::from_be_bytes);
    Ok(seconds.and_then(|at| Timestamp::from_second(at).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_digest_reads_no_table_from_end_to_end() {
        let folder = tempfile::tempdir().unwrap();
        for statistics in [false, true] {
            let store = Store::filled(&folder, statistics).await;
            for query in QUERIES {
                for step in store.plan(query, |plan| plan).await {
                    // An index of nothing but what is looked for.
                    let is_partial = ["tasks_due", "messages_to_read"]
                        .iter()
                        .any(|index| step.contains(&format!("INDEX {index}")));
                    let is_scan = step.starts_with("SCAN") && !is_partial;
                    let is_own = step.contains("json_each") || step.contains("subquery");
                    assert!(!is_scan || is_own, "{step}: {query}");
                }
            }
        }
    }
}
