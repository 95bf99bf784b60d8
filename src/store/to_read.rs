//! Mails that a person must read and that no request stands for: they are there until somebody says that they are read.

use anyhow::{Context, Result};
use jiff::Timestamp;

use super::Store;
use super::lookup::MessageRow;

/// Which those are; `m` is the mail.
macro_rules! to_read {
    () => {
        "m.disposition IN ('review', 'unreadable') AND m.read_at IS NULL AND m.purged_at IS NULL
            AND NOT EXISTS (SELECT 1 FROM requests own WHERE own.message_id = m.id)"
    };
}
pub(super) use to_read;

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

    /// Those of the person whose request has this `reference`: one of them may speak against it.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn to_read_of(&self, reference: &str) -> Result<Vec<i64>> {
        sqlx::query_scalar(concat!(
            "SELECT m.id FROM messages m WHERE m.sender = (SELECT subject FROM requests WHERE reference = ?) AND ",
            to_read!(),
            " ORDER BY m.id LIMIT 20"
        ))
        .bind(reference)
        .fetch_all(&self.read)
        .await
        .context("Cannot read what of this person is to be read")
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
