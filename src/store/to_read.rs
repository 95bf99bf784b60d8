//! Mails that a person must read and that no request stands for: they are there until somebody says that they are read.

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Serialize;

use super::Store;
use super::lookup::MessageRow;

/// Which those are; `m` is the mail.
macro_rules! to_read {
    () => {
        "m.to_read = 1 AND m.read_at IS NULL AND m.purged_at IS NULL"
    };
}
pub(super) use to_read;

/// Whether the sender of the request `r` has written since it came what nobody has read, or settled.
macro_rules! unread_since {
    () => {
        concat!(
            "(EXISTS (SELECT 1 FROM requests e WHERE e.subject = r.subject
                AND e.message_id > r.message_id AND e.status = 'held')
              OR EXISTS (SELECT 1 FROM messages m INDEXED BY messages_sender
                WHERE m.sender = r.subject AND m.id > r.message_id AND ",
            to_read!(),
            "))"
        )
    };
}
pub(super) use unread_since;

/// What of one person waits for somebody who reads it; of much the first twenty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unread {
    /// The ledger's rows of mails.
    pub mails: Vec<i64>,
    /// References of requests that are held.
    pub held: Vec<String>,
}

impl Store {
    /// The mails that wait for somebody to read them, the oldest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn to_read(&self, limit: u32) -> Result<Vec<MessageRow>> {
        sqlx::query_as(super::lookup::message_sql(concat!(
            "m INDEXED BY messages_to_read WHERE ",
            to_read!(),
            " ORDER BY m.id LIMIT ?"
        )))
        .bind(limit)
        .fetch_all(&self.read)
        .await
        .context("Cannot list the mails that are to be read")
    }

    /// What of the person whose request has this `reference` waits for somebody besides: it may speak against the request.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn unread_of(&self, reference: &str) -> Result<Unread> {
        let mails = sqlx::query_scalar(concat!(
            "SELECT m.id FROM messages m WHERE m.sender = (SELECT subject FROM requests WHERE reference = ?) AND ",
            to_read!(),
            " ORDER BY m.id LIMIT 20"
        ))
        .bind(reference)
        .fetch_all(&self.read)
        .await
        .context("Cannot read what of this person is to be read")?;
        let held = sqlx::query_scalar(
            "SELECT other.reference FROM requests one JOIN requests other ON other.subject = one.subject
             WHERE one.reference = ? AND other.id <> one.id AND other.status = 'held' ORDER BY other.id LIMIT 20",
        )
        .bind(reference)
        .fetch_all(&self.read)
        .await
        .context("Cannot read what else of this person is held")?;
        Ok(Unread { mails, held })
    }

    /// Records that a person has read these mails, or all that wait for it; answers which of them did.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn mark_read(&self, ids: Option<&[i64]>, now: Timestamp) -> Result<Vec<i64>> {
        let ids = ids.map(serde_json::to_string).transpose()?;
        let mut read: Vec<i64> = sqlx::query_scalar(concat!(
            "UPDATE messages AS m SET read_at = $1 WHERE ",
            to_read!(),
            " AND ($2 IS NULL OR m.id IN (SELECT value FROM json_each($2))) RETURNING id"
        ))
        .bind(now.as_second())
        .bind(ids)
        .fetch_all(&self.write)
        .await
        .context("Cannot record what was read")?;
        read.sort_unstable();
        Ok(read)
    }
}
