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

/// What is known of this database's mark in a mailbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Mark {
    /// Its number.
    pub epoch: i64,
    /// How many things have happened since because of which it is to grow.
    #[sqlx(rename = "is_stale")]
    pub stale: i64,
    /// Whose mark was found there instead.
    pub contested_by: Option<String>,
    /// Whether the operator has ended a recovery since, and with it said that the mailbox is this database's.
    pub is_settled: bool,
}

const OUTDATE: &str = "UPDATE ledger_marks SET is_stale = is_stale + 1";

/// Notes how far the database has come, if it has come further: by the rows that were ever made, and by what became of
/// replies, of tasks and of notices.
const STATE: &str = "INSERT INTO meta (name, value)
    SELECT 'come_to', CAST(format('%d %d %d %d %d %d',
        (SELECT sum(seq) FROM sqlite_sequence WHERE name <> 'reconciliations'),
        (SELECT max(updated_at) FROM outbox WHERE state IN ('sent', 'bounced', 'unknown')),
        (SELECT max(updated_at) FROM tasks), (SELECT max(asked_at) FROM tasks), (SELECT total(attempts) FROM tasks),
        (SELECT count(*) FROM notice_recipients WHERE state IN ('queued', 'deferred'))) AS BLOB) WHERE true
    ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE value <> excluded.value";

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
        begin(&self.write, why, now.as_second()).await
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

    /// Which database this is: eight random letters and digits.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn ledger_id(&self) -> Result<String> {
        sqlx::query_scalar("SELECT id FROM ledger")
            .fetch_one(&self.read)
            .await
            .context("Cannot read which database this is")
    }

    /// What is known of this database's mark in a mailbox.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn mark(&self, mailbox: &str) -> Result<Mark> {
        let known = sqlx::query_as(
            "SELECT epoch, is_stale, contested_by,
                EXISTS (SELECT 1 FROM recoveries WHERE id = contested_in AND ended_at IS NOT NULL) AS is_settled
             FROM ledger_marks WHERE mailbox = ?",
        )
        .bind(mailbox)
        .fetch_optional(&self.read)
        .await
        .context("Cannot read whose the mailbox is")?;
        Ok(known.unwrap_or_default())
    }

    /// Records which number the mark of a mailbox is about to have; answers how stale the one before was by then, for
    /// [`Store::marked`].
    ///
    /// # Errors
    /// The database does not work.
    pub async fn number_mark(&self, mailbox: &str, epoch: i64) -> Result<i64> {
        sqlx::query_scalar(
            "INSERT INTO ledger_marks (mailbox, epoch) VALUES (?, ?)
             ON CONFLICT (mailbox) DO UPDATE SET epoch = excluded.epoch RETURNING is_stale",
        )
        .bind(mailbox)
        .bind(epoch)
        .fetch_one(&self.write)
        .await
        .context("Cannot record whose the mailbox is")
    }

    /// Records that a mailbox bears the mark with its number, and that alone. `stale` is what [`Store::number_mark`] has
    /// answered: a copy that was made since has the same number, and still has it grow.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn marked(&self, mailbox: &str, stale: i64) -> Result<()> {
        sqlx::query(
            "UPDATE ledger_marks SET is_stale = max(is_stale - ?, 0), contested_by = NULL, contested_in = NULL
             WHERE mailbox = ?",
        )
        .bind(stale)
        .bind(mailbox)
        .execute(&self.write)
        .await
        .context("Cannot record whose the mailbox is")
        .map(drop)
    }

    /// Has the numbers of all marks grow: a copy of the database that was made before is an older one from then on.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn outdate_copies(&self) -> Result<()> {
        sqlx::query(OUTDATE)
            .execute(&self.write)
            .await
            .context("Cannot record that copies are older from now on")
            .map(drop)
    }

    /// The same at a start, if anything was recorded, sent or carried out since the start before.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn outdate_copies_of_before(&self) -> Result<()> {
        let context = || "Cannot record that copies are older from now on";
        let mut tx = self.begin().await?;
        let changed = sqlx::query(STATE).execute(&mut *tx).await.with_context(context)?;
        if changed.rows_affected() > 0 {
            sqlx::query(OUTDATE).execute(&mut *tx).await.with_context(context)?;
        }
        tx.commit().await.with_context(context)
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
    at: i64,
) -> Result<bool> {
    let done = sqlx::query("INSERT INTO recoveries (began_at, why) VALUES (?, ?) ON CONFLICT DO NOTHING")
        .bind(at)
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

    /// Begins a recovery; answers whether none lasted already.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn begin_recovery(&mut self, why: &str) -> Result<bool> {
        begin(&mut *self.tx, why, self.now).await
    }

    /// Adds to why the recovery that lasts was begun.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn add_to_recovery(&mut self, why: &str) -> Result<()> {
        sqlx::query(
            "UPDATE recoveries SET why = why || '; ' || $1 WHERE ended_at IS NULL AND instr(why, $1) = 0",
        )
        .bind(why)
        .execute(&mut *self.tx)
        .await
        .context("Cannot record why the recovery lasts")
        .map(drop)
    }

    /// Records whose mark was found in a mailbox. The operator decides about it with the end of the recovery that lasts.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn contest(&mut self, mailbox: &str, by: &str) -> Result<()> {
        sqlx::query(
            "INSERT INTO ledger_marks (mailbox, contested_by, contested_in)
             VALUES (?, ?, (SELECT id FROM recoveries WHERE ended_at IS NULL))
             ON CONFLICT (mailbox) DO UPDATE SET contested_by = excluded.contested_by, contested_in = excluded.contested_in",
        )
        .bind(mailbox)
        .bind(by)
        .execute(&mut *self.tx)
        .await
        .context("Cannot record whose the mailbox is")
        .map(drop)
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
