//! What the ledger accounts for, and the record of looks through everything.

use std::collections::HashSet;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Serialize;

use super::Store;
use super::visit::{Identity, MOVE_CURSOR, hex};
use super::watch::time;
use crate::mailbox::Cursor;

/// What a look through everything has found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Reconciled {
    /// Mails that were looked at: over IMAP those that were not looked at in their folder before.
    pub seen: u64,
    /// Of these: without a row in the ledger, until then.
    pub unaccounted: u64,
    /// Requests that were found among junk.
    pub junk: u64,
    /// In place of those without a row, while a recovery lasts: how many got theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovered: Option<u64>,
}

/// The latest such look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Reconciliation {
    /// When it ended.
    pub at: Option<Timestamp>,
    /// What it has found.
    #[serde(flatten)]
    pub found: Reconciled,
}

/// Records of so many looks are kept.
const KEPT: i64 = 400;

/// Mailbox, validity, and a list of UIDs.
const UNKNOWN_UIDS: &str = "SELECT value FROM json_each($3)
    WHERE NOT EXISTS (SELECT 1 FROM messages
        WHERE mailbox = $1 AND validity = $2 AND mail_id = CAST(value AS TEXT))
    AND NOT EXISTS (SELECT 1 FROM copies WHERE mailbox = $1 AND validity = $2 AND mail_id = CAST(value AS TEXT))
    AND NOT EXISTS (SELECT 1 FROM accounted_copies WHERE mailbox = $1 AND validity = $2 AND uid = value)";

impl Store {
    /// Whether each of these mails is in the ledger, by its bytes; in their order.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn accounted(&self, identities: &[Identity]) -> Result<Vec<bool>> {
        let digests: Vec<String> = identities.iter().map(|identity| hex(&identity.digest)).collect();
        let rows: Vec<(Vec<u8>, i64)> = sqlx::query_as(
            "SELECT digest, size FROM messages WHERE digest IN (SELECT unhex(value) FROM json_each(?))",
        )
        .bind(serde_json::to_string(&digests)?)
        .fetch_all(&self.read)
        .await
        .context("Cannot look mails up in the ledger")?;
        let known: HashSet<(Vec<u8>, i64)> = rows.into_iter().collect();
        Ok(identities
            .iter()
            .map(|identity| known.contains(&(identity.digest.to_vec(), identity.size)))
            .collect())
    }

    /// Whether the ledger has a mail of this size that came at this time: how one is told whose bytes cannot be had.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn is_accounted(&self, received: Timestamp, size: u64) -> Result<bool> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM messages WHERE received_at = ? AND size = ?)")
            .bind(received.as_second())
            .bind(i64::try_from(size).unwrap_or(i64::MAX))
            .fetch_one(&self.read)
            .await
            .context("Cannot look a mail up in the ledger")
    }

    /// Which of these names of a Maildir's files are in the ledger, as of one of these two mailboxes.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn known_files(&self, [inbox, folder]: [&str; 2], names: &[&str]) -> Result<HashSet<String>> {
        let rows: Vec<String> = sqlx::query_scalar(
            "SELECT mail_id FROM messages WHERE validity = 0 AND mailbox IN (?, ?)
                AND mail_id IN (SELECT value FROM json_each(?))",
        )
        .bind(inbox)
        .bind(folder)
        .bind(serde_json::to_string(names)?)
        .fetch_all(&self.read)
        .await
        .context("Cannot look files up in the ledger")?;
        Ok(rows.into_iter().collect())
    }

    /// Those of these UIDs, of mails in the inbox of `mailbox`, that the ledger does not know.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn unknown_uids(&self, mailbox: &str, validity: u32, uids: &[u32]) -> Result<Vec<u32>> {
        sqlx::query_scalar(UNKNOWN_UIDS)
            .bind(mailbox)
            .bind(validity)
            .bind(serde_json::to_string(uids)?)
            .fetch_all(&self.read)
            .await
            .context("Cannot look numbers up in the ledger")
    }

    /// Records that these mails in the inbox of `mailbox` are accounted for, by their bytes or by rows of their own.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn note_accounted(&self, mailbox: &str, validity: u32, uids: &[u32]) -> Result<()> {
        sqlx::query(
            "INSERT INTO accounted_copies (mailbox, validity, uid)
             SELECT ?, ?, value FROM json_each(?) WHERE true ON CONFLICT DO NOTHING",
        )
        .bind(mailbox)
        .bind(validity)
        .bind(serde_json::to_string(uids)?)
        .execute(&self.write)
        .await
        .context("Cannot record what is accounted for")
        .map(drop)
    }

    /// Forgets what was accounted for under another validity than this: where the numbers have changed, the old ones lead
    /// nowhere.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn forget_accounted(&self, mailbox: &str, validity: u32) -> Result<()> {
        sqlx::query("DELETE FROM accounted_copies WHERE mailbox = ? AND validity <> ?")
            .bind(mailbox)
            .bind(validity)
            .execute(&self.write)
            .await
            .context("Cannot forget old numbers")
            .map(drop)
    }

    /// Records how far a folder is accounted for.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn move_cursor(&self, folder: &str, cursor: Cursor) -> Result<()> {
        sqlx::query(MOVE_CURSOR)
            .bind(folder)
            .bind(cursor.validity)
            .bind(cursor.last_uid)
            .execute(&self.write)
            .await
            .context("Cannot record how far a folder is accounted for")
            .map(drop)
    }

    /// Records what a look through everything has found.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn record_reconciliation(&self, found: &Reconciled, now: Timestamp) -> Result<()> {
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        sqlx::query("DELETE FROM reconciliations WHERE id <= (SELECT max(id) FROM reconciliations) - ?")
            .bind(KEPT)
            .execute(&self.write)
            .await
            .context("Cannot forget old reconciliations")?;
        sqlx::query("INSERT INTO reconciliations (at, seen, unaccounted, junk) VALUES (?, ?, ?, ?)")
            .bind(now.as_second())
            .bind(count(found.seen))
            .bind(count(found.unaccounted))
            .bind(count(found.junk))
            .execute(&self.write)
            .await
            .context("Cannot record the reconciliation")
            .map(drop)
    }

    /// The latest look through everything.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn reconciliation(&self) -> Result<Option<Reconciliation>> {
        let row: Option<(i64, i64, i64, i64)> = sqlx::query_as(
            "SELECT at, seen, unaccounted, junk FROM reconciliations ORDER BY id DESC LIMIT 1",
        )
        .fetch_optional(&self.read)
        .await
        .context("Cannot read the reconciliations")?;
        Ok(row.map(|(at, seen, unaccounted, junk)| Reconciliation {
            at: time(at),
            found: Reconciled {
                seen: seen.unsigned_abs(),
                unaccounted: unaccounted.unsigned_abs(),
                junk: junk.unsigned_abs(),
                recovered: None,
            },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn numbers_are_looked_up_by_their_indexes_and_under_their_validity_alone() {
        let folder = tempfile::tempdir().unwrap();
        for statistics in [false, true] {
            let store = Store::filled(&folder, statistics).await;
            let unknown = async |mailbox: &str, validity| {
                store.unknown_uids(mailbox, validity, &[1, 9_000, 9_001, 9_002]).await.unwrap()
            };
            assert_eq!(unknown("box", 1).await, [9_001, 9_002]);
            assert_eq!(unknown("box", 2).await, [1, 9_000, 9_001, 9_002]);
            assert_eq!(unknown("other", 1).await, [1, 9_000, 9_001, 9_002]);
            store.note_accounted("box", 1, &[9_001]).await.unwrap();
            store.note_accounted("other", 2, &[9_001]).await.unwrap();
            assert_eq!(unknown("box", 1).await, [9_002]);
            store.forget_accounted("box", 1).await.unwrap();
            assert_eq!(unknown("box", 1).await, [9_002], "these are good still");
            store.note_accounted("box", 2, &[9_002]).await.unwrap();
            store.forget_accounted("box", 2).await.unwrap();
            assert_eq!(unknown("box", 1).await, [9_001, 9_002], "numbers that lead nowhere are forgotten");

            let bind = |query: super::super::plans::Explain<'static>| query.bind("box").bind(1).bind("[1]");
            let plan = store.plan(UNKNOWN_UIDS, bind).await;
            let by_number = "SEARCH messages USING COVERING INDEX messages_place (mailbox=? AND validity=? AND mail_id=?)";
            assert!(plan.iter().any(|step| step == by_number), "{plan:#?}");
            assert!(
                plan.iter().all(|step| !step.starts_with("SCAN") || step.contains("json_each")),
                "{plan:#?}"
            );
            // It takes the place of no other index.
            let unfiled = "SELECT mail_id FROM messages WHERE mailbox = ? AND validity = ? AND filed = 0";
            let plan = store.plan(unfiled, |query| query.bind("box").bind(1)).await;
            assert!(plan.iter().all(|step| !step.contains("messages_place")), "{plan:#?}");
            let files = "SELECT mail_id FROM messages WHERE validity = 0 AND mailbox IN (?, ?)
                AND mail_id IN (SELECT value FROM json_each(?))";
            let plan = store.plan(files, |query| query.bind("a").bind("b").bind("[]")).await;
            assert!(plan.iter().any(|step| step == by_number), "{plan:#?}");
            store.close().await;
        }
    }
}
