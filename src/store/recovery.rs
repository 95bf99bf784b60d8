//! Times in which this database knows less than the mailbox: nothing is answered or carried out.
//!
//! They bind whatever reads the queues: while one lasts, what is due is due to nobody but the operator. So a
//! daemon that runs obeys at once, and none has to be told.

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Serialize;
use sqlx::Sqlite;

use super::visit::{Batch, Visit};
use super::watch::time;
use super::{Store, audit};
use crate::ladder::{Change, Step};

/// A time in which nothing is answered or carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recovery {
    /// Since when.
    pub since: Option<Timestamp>,
    /// Why, in one sentence.
    pub why: String,
}

/// What its end has changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ended {
    /// Open requests that a person has to look at.
    pub held: u64,
    /// Replies that perhaps went out before, and are not sent by themselves.
    pub unknown: u64,
}

/// Which database this is, and how far it has moved on.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Ledger {
    /// Eight random letters and digits.
    pub id: String,
    /// Grows with every start, look through everything and backup.
    pub epoch: i64,
}

/// Requests that are held with one statement.
const SOME: usize = 200;

const HELD: &str = "the database was older than the mailbox: what has become of it since then is not known";

impl Store {
    /// The recovery that lasts.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn recovery(&self) -> Result<Option<Recovery>> {
        let row: Option<(i64, String)> = sqlx::query_as("SELECT began_at, why FROM recovery")
            .fetch_optional(&self.read)
            .await
            .context("Cannot read whether this is a recovery")?;
        Ok(row.map(|(since, why)| Recovery { since: time(since), why }))
    }

    /// Begins a recovery; answers whether none lasted already.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn begin_recovery(&self, why: &str, now: Timestamp) -> Result<bool> {
        begin(&self.write, why, now).await
    }

    /// Ends the recovery that lasts, if one does. What was open when it began may have been carried out and
    /// answered since by the database that is lost: unless this one `is_up_to_date`, open requests from before
    /// are held, and what was queued before is of unknown fate.
    ///
    /// # Errors
    /// The database does not work; then nothing has changed.
    pub async fn end_recovery(&self, is_up_to_date: bool, now: Timestamp) -> Result<Option<Ended>> {
        let mut visit = self.visit(now).await?;
        let began: Option<i64> = sqlx::query_scalar(
            "UPDATE recoveries SET ended_at = ? WHERE ended_at IS NULL RETURNING began_at",
        )
        .bind(visit.now)
        .fetch_optional(&mut *visit.tx)
        .await
        .context("Cannot end the recovery")?;
        let Some(began) = began else { return Ok(None) };
        let ended = if is_up_to_date { Ended::default() } else { visit.hold_what_was_open(began).await? };
        audit::commit(visit.tx).await.context("Cannot end the recovery")?;
        Ok(Some(ended))
    }

    /// Whether this database has never seen this mailbox.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn is_new_to(&self, mailbox: &str) -> Result<bool> {
        sqlx::query_scalar(
            "SELECT NOT EXISTS (SELECT 1 FROM mailbox_cursors WHERE mailbox = $1)
                AND NOT EXISTS (SELECT 1 FROM folder_marks WHERE mailbox = $1)
                AND NOT EXISTS (SELECT 1 FROM mailbox_cycles WHERE mailbox = $1)",
        )
        .bind(mailbox)
        .fetch_one(&self.read)
        .await
        .context("Cannot read whether the mailbox is known")
    }

    /// Which database this is.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn ledger(&self) -> Result<Ledger> {
        sqlx::query_as("SELECT id, epoch FROM ledger")
            .fetch_one(&self.read)
            .await
            .context("Cannot read which database this is")
    }

    /// Moves on, behind `seen` as well: a copy from before is told from this database by that.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn advance(&self, seen: i64) -> Result<Ledger> {
        sqlx::query_as("UPDATE ledger SET epoch = max(epoch, ?) + 1 RETURNING id, epoch")
            .bind(seen)
            .fetch_one(&self.write)
            .await
            .context("Cannot record that the database has moved on")
    }

    /// Whether the operator has ended a recovery since this mailbox was last seen to bear this database's mark: whoever's
    /// it bears, it is this one's from now on.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn takes_over(&self, mailbox: &str) -> Result<bool> {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM recoveries WHERE ended_at >=
                coalesce((SELECT marked_at FROM ledger_marks WHERE mailbox = ?), 0))",
        )
        .bind(mailbox)
        .fetch_one(&self.read)
        .await
        .context("Cannot read whose the mailbox is")
    }

    /// Records that a mailbox bears this database's mark.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn record_mark(&self, mailbox: &str, now: Timestamp) -> Result<()> {
        sqlx::query(
            "INSERT INTO ledger_marks (mailbox, marked_at) VALUES (?, ?)
             ON CONFLICT (mailbox) DO UPDATE SET marked_at = excluded.marked_at",
        )
        .bind(mailbox)
        // Behind the end of a recovery that was in this second.
        .bind(now.as_second().saturating_add(1))
        .execute(&self.write)
        .await
        .context("Cannot record whose the mailbox is")
        .map(drop)
    }

    /// When the latest mails of the ledger came, by their servers' clocks: the last of these times.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn newest_received(&self) -> Result<Option<Timestamp>> {
        let at: Option<i64> = sqlx::query_scalar(
            "SELECT max(received_at) FROM (SELECT received_at FROM messages ORDER BY id DESC LIMIT 100)",
        )
        .fetch_one(&self.read)
        .await
        .context("Cannot read the end of the ledger")?;
        Ok(at.and_then(time))
    }
}

/// Begins a recovery in the database that `executor` leads to; answers whether none lasted already.
pub(super) async fn begin<'e>(
    executor: impl sqlx::Executor<'e, Database = Sqlite>,
    why: &str,
    now: Timestamp,
) -> Result<bool> {
    let done = sqlx::query("INSERT INTO recoveries (began_at, why) VALUES (?, ?) ON CONFLICT DO NOTHING")
        .bind(now.as_second())
        .bind(why)
        .execute(executor)
        .await
        .context("Cannot begin the recovery")?;
    Ok(done.rows_affected() > 0)
}

impl Visit {
    /// Whether nothing may be answered or carried out.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn is_recovering(&mut self) -> Result<bool> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM recovery)")
            .fetch_one(&mut *self.tx)
            .await
            .context("Cannot read whether this is a recovery")
    }

    async fn hold_what_was_open(&mut self, began: i64) -> Result<Ended> {
        let open: Vec<i64> = sqlx::query_scalar(
            "SELECT r.id FROM requests r JOIN messages m ON m.id = r.message_id
             WHERE r.closed_at IS NULL AND r.status IN ('awaiting_proof', 'approved', 'executing')
                AND m.recorded_at <= ? ORDER BY r.id",
        )
        .bind(began)
        .fetch_all(&mut *self.tx)
        .await
        .context("Cannot read which requests are open")?;
        for some in open.chunks(SOME) {
            let mut batch = Batch::default();
            for request in some {
                let step = Step {
                    request: *request,
                    actor: "person",
                    change: Change::Hold,
                    reason: HELD.to_owned(),
                };
                batch.step(&step, self.now, None)?;
            }
            batch.run(&mut self.tx).await.context("Cannot hold the requests")?;
        }
        let unknown = sqlx::query(
            "UPDATE outbox SET state = 'unknown', outcome = 'queued in a database older than the mailbox: perhaps sent',
                updated_at = $1, raw = coalesce(kept, raw), kept = NULL
             WHERE state IN ('queued', 'deferred', 'transmitting') AND message_id IS NOT NULL AND created_at <= $2",
        )
        .bind(self.now)
        .bind(began)
        .execute(&mut *self.tx)
        .await
        .context("Cannot flag replies")?;
        sqlx::query(
            "UPDATE notice_recipients SET state = 'unknown', outcome = 'perhaps sent', updated_at = $1
             WHERE state IN ('queued', 'deferred', 'transmitting')
                AND notice_id IN (SELECT id FROM notices WHERE state = 'sending' AND created_at <= $2)",
        )
        .bind(self.now)
        .bind(began)
        .execute(&mut *self.tx)
        .await
        .context("Cannot flag notices")?;
        Ok(Ended { held: open.len() as u64, unknown: unknown.rows_affected() })
    }
}
