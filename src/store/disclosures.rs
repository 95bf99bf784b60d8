//! Who asks what was passed on to third parties, and who has been told in the same year already.

use anyhow::{Context, Result};
use jiff::Timestamp;

use super::Store;
use super::tasks::{JOB, Job, JobRow};
use super::visit::Visit;

/// What happened to a person's earlier requests of the same year, and to this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    /// The references of those that were answered, by a letter that did not come back, the first of them first; three
    /// at the most.
    pub told: Vec<String>,
    /// Whether it was a person who approved this one.
    pub is_by_hand: bool,
}

/// An approved request of one of the types in `$1` that came from `$2` on and before `$3`.
const WAITING: &str = "r.status = 'approved' AND r.kind IN (SELECT value FROM json_each($1))
    AND r.received_at >= $2 AND r.received_at < $3 AND r.subject IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM recovery)";

impl Store {
    /// Whether an approved request of one of `kinds` came in this span of time, its end not counted.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn has_disclosures(&self, kinds: &[&str], span: (Timestamp, Timestamp)) -> Result<bool> {
        sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
            "SELECT EXISTS (SELECT 1 FROM requests r WHERE {WAITING})"
        )))
        .bind(serde_json::to_string(kinds)?)
        .bind(span.0.as_second())
        .bind(span.1.as_second())
        .fetch_one(&self.read)
        .await
        .context("Cannot read who asks what third parties got")
    }
}

impl Visit {
    /// The first of them, and what went before it.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn disclosure(
        &mut self,
        kinds: &[&str],
        span: (Timestamp, Timestamp),
    ) -> Result<Option<(Job, Before)>> {
        let kinds = serde_json::to_string(kinds)?;
        let row: Option<JobRow> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "SELECT {JOB} WHERE {WAITING} ORDER BY r.id LIMIT 1"
        )))
        .bind(&kinds)
        .bind(span.0.as_second())
        .bind(span.1.as_second())
        .fetch_optional(&mut *self.tx)
        .await
        .context("Cannot read who asks what third parties got")?;
        let Some(job) = row.map(JobRow::job).transpose()? else { return Ok(None) };
        let told = sqlx::query_scalar(
            "SELECT reference FROM requests r WHERE subject = $4 AND status = 'completed'
                AND kind IN (SELECT value FROM json_each($1)) AND received_at >= $2 AND received_at < $3
                AND coalesce((SELECT o.state FROM outbox o WHERE o.reference = r.reference
                    AND o.template IN ('disclosed', 'disclosed_before') ORDER BY o.id DESC LIMIT 1), '') <> 'bounced'
             ORDER BY id LIMIT 3",
        )
        .bind(&kinds)
        .bind(span.0.as_second())
        .bind(span.1.as_second())
        .bind(job.subject.normalised().as_str())
        .fetch_all(&mut *self.tx)
        .await
        .context("Cannot read who was told what third parties got")?;
        let is_by_hand = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM request_events
             WHERE request_id = ? AND event = 'approved' AND actor = 'person')",
        )
        .bind(job.request)
        .fetch_one(&mut *self.tx)
        .await
        .context("Cannot read who approved a request")?;
        Ok(Some((job, Before { told, is_by_hand })))
    }
}
