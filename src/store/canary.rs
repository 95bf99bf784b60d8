//! Mails to ourselves, and which of them have come back.

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::visit::{Batch, Visit};
use super::watch::time;
use super::{Store, audit};
use crate::reply::Outgoing;

/// The latest mail to ourselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Canary {
    /// When it was queued.
    pub sent_at: Option<Timestamp>,
    /// When it was seen to come back.
    pub back_at: Option<Timestamp>,
    /// Whether it was missed, and has not come since.
    pub is_missed: bool,
}

/// So long it is known which have come back.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

impl Store {
    /// The latest mail to ourselves.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn canary(&self) -> Result<Option<Canary>> {
        let row: Option<(i64, Option<i64>, Option<i64>)> =
            sqlx::query_as("SELECT sent_at, back_at, alarmed_at FROM canaries ORDER BY sent_at DESC LIMIT 1")
                .fetch_optional(&self.read)
                .await
                .context("Cannot read the last canary")?;
        Ok(row.map(|(sent, back, alarmed)| Canary {
            sent_at: time(sent),
            back_at: back.and_then(time),
            is_missed: alarmed.is_some() && back.is_none(),
        }))
    }

    /// Queues a mail to ourselves that bears `token`.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn send_canary(&self, token: &str, letter: &Outgoing, now: Timestamp) -> Result<()> {
        let mut batch = Batch::default();
        batch
            .add("DELETE FROM canaries WHERE sent_at < ?;")?
            .bind(now.saturating_sub(KEPT)?.as_second())?
            .add("INSERT INTO canaries (token, sent_at) VALUES (?, ?);")?
            .bind(token.to_owned())?
            .bind(now.as_second())?
            .reply(None, letter, 1, now.as_second())?;
        let mut visit = self.visit(now).await?;
        batch.run(&mut visit.tx).await.context("Cannot queue a canary")?;
        audit::commit(visit.tx).await
    }
}

impl Visit {
    /// How many of the mails to ourselves from before `before` have not come back, and were not missed until
    /// now.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn miss_canaries(&mut self, before: Timestamp) -> Result<u64> {
        let done = sqlx::query(
            "UPDATE canaries SET alarmed_at = ? WHERE back_at IS NULL AND alarmed_at IS NULL AND sent_at <= ?",
        )
        .bind(self.now)
        .bind(before.as_second())
        .execute(&mut *self.tx)
        .await
        .context("Cannot look for missing canaries")?;
        Ok(done.rows_affected())
    }

    /// A mail to ourselves with `token` has come back; answers whether it was one, and the first time.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn canary_is_back(&mut self, token: &str) -> Result<bool> {
        let done = sqlx::query("UPDATE canaries SET back_at = ? WHERE token = ? AND back_at IS NULL")
            .bind(self.now)
            .bind(token)
            .execute(&mut *self.tx)
            .await
            .context("Cannot record that a canary is back")?;
        Ok(done.rows_affected() > 0)
    }
}
