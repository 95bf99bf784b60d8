//! The verbs on people's data: contacts and suppressions.
//!
//! What a mail may cause at once is written in its own transaction by [`super::visit`]; here is what
//! the operator's commands do. Erasure, correction and access will be verbs of this room.

use anyhow::{Context, Result};
use jiff::Timestamp;

use super::Store;
use super::tombstones::buried_among;
use super::visit::SUPPRESS;
use crate::sender::Address;

/// One entry of the suppression list.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
pub struct Suppression {
    /// The normalised address.
    pub address: String,
    /// `marketing`, `targeted_ads` or `restricted`.
    pub kind: String,
    /// Where it came from: `mail` or `operator`.
    pub source: String,
    /// The request that asked for it.
    pub reference: Option<String>,
    /// Seconds since 1970 UTC.
    pub created_at: i64,
}

/// What became of contacts that were given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upserted {
    /// Those that were not known.
    pub new: u64,
    /// Those that were erased once, and are left out.
    pub erased: u64,
}

impl Store {
    /// The suppression list in order of addresses, after `after`, at most `limit` entries.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn suppressions(&self, after: &str, limit: u32) -> Result<Vec<Suppression>> {
        sqlx::query_as(
            "SELECT s.address, s.kind, s.source, r.reference, s.created_at
             FROM suppressions s LEFT JOIN requests r ON r.id = s.request_id
             WHERE s.address > ? ORDER BY s.address, s.kind LIMIT ?",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(&self.read)
        .await
        .context("Cannot read the suppression list")
    }

    /// What `address` is suppressed from.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn suppressed(&self, address: &Address) -> Result<Vec<Suppression>> {
        sqlx::query_as(
            "SELECT s.address, s.kind, s.source, r.reference, s.created_at
             FROM suppressions s LEFT JOIN requests r ON r.id = s.request_id
             WHERE s.address = ? ORDER BY s.kind",
        )
        .bind(address.normalised().as_str())
        .fetch_all(&self.read)
        .await
        .context("Cannot read the suppression list")
    }

    /// Suppresses `address`; answers whether it was not yet. What a request has suppressed that may still be denied
    /// stays so from now on, whatever becomes of that.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn suppress(&self, address: &Address, kind: &str, now: Timestamp) -> Result<bool> {
        let mut tx = self.begin().await?;
        let done = sqlx::query(SUPPRESS)
            .bind(address.normalised().as_str())
            .bind(kind)
            .bind("operator")
            .bind(None::<i64>)
            .bind(now.as_second())
            .execute(&mut *tx)
            .await
            .context("Cannot add to the suppression list")?;
        let is_new = done.rows_affected() > 0;
        if !is_new {
            sqlx::query(
                "UPDATE suppressions SET source = 'operator', request_id = NULL WHERE address = ? AND kind = ?
                    AND request_id IN (SELECT id FROM requests WHERE closed_at IS NULL)",
            )
            .bind(address.normalised().as_str())
            .bind(kind)
            .execute(&mut *tx)
            .await
            .context("Cannot add to the suppression list")?;
        }
        tx.commit().await.context("Cannot add to the suppression list")?;
        Ok(is_new)
    }

    /// Takes `address` off the list; answers whether it was on it.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn unsuppress(&self, address: &Address, kind: &str) -> Result<bool> {
        let done = sqlx::query("DELETE FROM suppressions WHERE address = ? AND kind = ?")
            .bind(address.normalised().as_str())
            .bind(kind)
            .execute(&self.write)
            .await
            .context("Cannot take off the suppression list")?;
        Ok(done.rows_affected() > 0)
    }

    /// The same list of one kind or of all, after this address and kind, at most `limit` entries.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn suppressions_after(
        &self,
        address: &str,
        kind: &str,
        only: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Suppression>> {
        sqlx::query_as(
            "SELECT s.address, s.kind, s.source, NULL AS reference, s.created_at FROM suppressions s
             WHERE (s.address, s.kind) > ($1, $2) AND ($3 IS NULL OR s.kind = $3)
             ORDER BY s.address, s.kind LIMIT $4",
        )
        .bind(address)
        .bind(kind)
        .bind(only)
        .bind(limit)
        .fetch_all(&self.read)
        .await
        .context("Cannot read the suppression list")
    }

    /// Adds or updates contacts in one transaction. Fields that are given replace those of the same name,
    /// others stay. An address that was erased does not come back.
    ///
    /// # Errors
    /// The database does not work; then none of them is stored.
    pub async fn upsert_contacts(
        &self,
        contacts: &[(Address, serde_json::Map<String, serde_json::Value>)],
        now: Timestamp,
    ) -> Result<Upserted> {
        let key = self.tombstone_key().await?;
        let mut tx = self.begin().await?;
        let buried = buried_among(&mut tx, &key, contacts.iter().map(|(address, _)| address)).await?;
        let list: Vec<_> = contacts
            .iter()
            .enumerate()
            .filter(|(place, _)| !buried.contains_key(place))
            .map(|(_, (address, fields))| serde_json::json!({ "address": address.normalised(), "fields": fields }))
            .collect();
        let before: i64 = sqlx::query_scalar("SELECT count(*) FROM contacts").fetch_one(&mut *tx).await?;
        sqlx::query(
            "INSERT INTO contacts (address, fields, created_at, updated_at)
             SELECT value ->> 'address', value -> 'fields', $2, $2 FROM json_each($1) WHERE true
             ON CONFLICT (address) DO UPDATE SET
                fields = json_patch(fields, excluded.fields), updated_at = excluded.updated_at",
        )
        .bind(serde_json::to_string(&list)?)
        .bind(now.as_second())
        .execute(&mut *tx)
        .await
        .context("Cannot store the contacts")?;
        let after: i64 = sqlx::query_scalar("SELECT count(*) FROM contacts").fetch_one(&mut *tx).await?;
        tx.commit().await.context("Cannot commit the contacts")?;
        Ok(Upserted { new: after.abs_diff(before), erased: buried.len() as u64 })
    }
}
