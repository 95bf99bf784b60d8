//! Tombstones: that an address was erased, so that nothing brings it back, neither an import nor a backup.
//!
//! A tombstone is the HMAC-SHA-256 of the normalised address with a key of this installation: a list of
//! plain hashes would tell whoever guesses an address whether it was here. Nobody can read from it who they
//! were; whether one address is among them can be asked.

use std::collections::HashMap;

use anyhow::{Context, Result};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;
use sqlx::SqliteConnection;

use super::Store;
use crate::sender::Address;

/// Tombstones that are written in one transaction.
const AT_ONCE: usize = 1000;

/// Empties, at a time, the letters that went to an address until another time: they tell what was erased.
pub(super) const EMPTY_LETTERS: &str = "UPDATE outbox SET raw = x'', kept = NULL, purged_at = ?
    WHERE recipient = ? AND state IN ('sent', 'bounced', 'unknown') AND updated_at <= ?;";

/// What is left of an erased address.
pub(super) fn tombstone(key: &[u8; 32], address: &Address) -> Result<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).context("The tombstone key is unfit")?;
    mac.update(address.normalised().as_str().as_bytes());
    Ok(mac.finalize().into_bytes().into())
}

/// Which of `addresses` have a tombstone, by their place, and since when, in seconds since 1970 UTC.
pub(super) async fn buried_among(
    db: &mut SqliteConnection,
    key: &[u8; 32],
    addresses: impl Iterator<Item = &Address>,
) -> Result<HashMap<usize, i64>> {
    let marks = addresses
        .map(|address| Ok(data_encoding::HEXLOWER.encode(&tombstone(key, address)?)))
        .collect::<Result<Vec<_>>>()?;
    let found: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT m.key, t.created_at FROM json_each(?) m CROSS JOIN tombstones t ON t.address_hmac = unhex(m.value)",
    )
    .bind(serde_json::to_string(&marks)?)
    .fetch_all(db)
    .await
    .context("Cannot look up who was erased")?;
    Ok(found.into_iter().filter_map(|(place, at)| Some((usize::try_from(place).ok()?, at))).collect())
}

/// Where somebody who was erased may be back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Among the contacts.
    Contacts,
    /// In what a request was to change, or in what was collected for one, that came before the erasure.
    Requests,
    /// In the text of a mail that went to them before it.
    Replies,
}

impl Place {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Contacts, Self::Requests, Self::Replies];

    /// Row, address and since when, behind a row and so many. A contact is back whenever it came.
    fn rows(self) -> &'static str {
        match self {
            Self::Contacts => "SELECT id, address, 0 FROM contacts WHERE id > ? ORDER BY id LIMIT ?",
            Self::Requests => {
                "SELECT id, subject, received_at FROM requests r WHERE id > ? AND subject IS NOT NULL
                   AND (EXISTS (SELECT 1 FROM corrections c WHERE c.request_id = r.id)
                     OR EXISTS (SELECT 1 FROM tasks t WHERE t.request_id = r.id AND t.data IS NOT NULL))
                 ORDER BY id LIMIT ?"
            }
            Self::Replies => {
                "SELECT id, recipient, updated_at FROM outbox WHERE id > ? AND length(raw) > 0
                   AND state IN ('sent', 'bounced', 'unknown') ORDER BY id LIMIT ?"
            }
        }
    }
}

impl Store {
    /// Since when `address` has had a tombstone, in seconds since 1970 UTC.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn buried(&self, address: &Address) -> Result<Option<i64>> {
        let mark = tombstone(&self.tombstone_key().await?, address)?;
        sqlx::query_scalar("SELECT created_at FROM tombstones WHERE address_hmac = ?")
            .bind(mark.as_slice())
            .fetch_optional(&self.read)
            .await
            .context("Cannot look up who was erased")
    }

    /// Those among the next `limit` rows of `place` behind the row `after` that were erased and are back, and the
    /// last row that was looked at; `None` at the end.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn risen(&self, place: Place, after: i64, limit: u32) -> Result<Option<(i64, Vec<Address>)>> {
        let key = self.tombstone_key().await?;
        let mut db = self.read.acquire().await.context("Cannot read who is back")?;
        let rows: Vec<(i64, String, i64)> = sqlx::query_as(place.rows())
            .bind(after)
            .bind(limit)
            .fetch_all(&mut *db)
            .await
            .context("Cannot read who is back")?;
        let Some((last, ..)) = rows.last() else { return Ok(None) };
        let last = *last;
        let found: Vec<(Address, i64)> = rows
            .into_iter()
            .map(|(_, text, since)| match text.parse() {
                Ok(address) => Ok((address, since)),
                Err(_) => Err(anyhow::anyhow!("A stored contact or reply has no sound address")),
            })
            .collect::<Result<_>>()?;
        let buried = buried_among(&mut db, &key, found.iter().map(|(address, _)| address)).await?;
        let risen = found.into_iter().enumerate().filter_map(|(place, (address, since))| {
            buried.get(&place).filter(|buried| since <= **buried).map(|_| address)
        });
        Ok(Some((last, risen.collect())))
    }

    /// Erases once more, at `now`, what a backup has brought back of those among `addresses` that have a
    /// tombstone: contacts, corrections, and the text of mails that went to them before it was set. That they get no more
    /// mail stays.
    ///
    /// # Errors
    /// The database does not work; then all of them are still there.
    pub async fn erase_again(&self, addresses: &[Address], now: Timestamp) -> Result<()> {
        let key = self.tombstone_key().await?;
        let mut tx = self.begin().await?;
        for address in addresses {
            let buried: Option<i64> =
                sqlx::query_scalar("SELECT created_at FROM tombstones WHERE address_hmac = ?")
                    .bind(tombstone(&key, address)?.as_slice())
                    .fetch_optional(&mut *tx)
                    .await
                    .context("Cannot look up who was erased")?;
            let Some(buried) = buried else { continue };
            let address = address.normalised();
            sqlx::query("DELETE FROM contacts WHERE address = ?")
                .bind(address.as_str())
                .execute(&mut *tx)
                .await
                .context("Cannot erase a contact again")?;
            sqlx::query(
                "DELETE FROM corrections WHERE request_id IN
                    (SELECT id FROM requests WHERE subject = ? AND received_at <= ?)",
            )
            .bind(address.as_str())
            .bind(buried)
            .execute(&mut *tx)
            .await
            .context("Cannot erase what was to be corrected again")?;
            sqlx::query(
                "UPDATE tasks SET data = NULL WHERE request_id IN
                    (SELECT id FROM requests WHERE subject = ? AND received_at <= ?)",
            )
            .bind(address.as_str())
            .bind(buried)
            .execute(&mut *tx)
            .await
            .context("Cannot erase what was collected again")?;
            sqlx::query(EMPTY_LETTERS)
                .bind(now.as_second())
                .bind(address.as_str())
                .bind(buried)
                .execute(&mut *tx)
                .await
                .context("Cannot erase the text of mails again")?;
        }
        tx.commit().await.context("Cannot commit the erasures")
    }

    /// The tombstones behind `after`, at most `limit`, with when they were set.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn tombstones(&self, after: &[u8], limit: u32) -> Result<Vec<(Vec<u8>, i64)>> {
        sqlx::query_as(
            "SELECT address_hmac, created_at FROM tombstones WHERE address_hmac > ? ORDER BY address_hmac LIMIT ?",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(&self.read)
        .await
        .context("Cannot read the tombstones")
    }

    /// Takes over tombstones of this installation that were kept outside of it; answers how many were missing.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn take_tombstones(&self, kept: &[([u8; 32], i64)]) -> Result<u64> {
        let mut missing = 0;
        for part in kept.chunks(AT_ONCE) {
            let list: Vec<_> = part
                .iter()
                .map(|(mark, at)| serde_json::json!({ "mark": data_encoding::HEXLOWER.encode(mark), "at": at }))
                .collect();
            let done = sqlx::query(
                "INSERT INTO tombstones (address_hmac, created_at)
                 SELECT unhex(value ->> 'mark'), value ->> 'at' FROM json_each(?) WHERE true
                 ON CONFLICT (address_hmac) DO NOTHING",
            )
            .bind(serde_json::to_string(&list)?)
            .execute(&self.write)
            .await
            .context("Cannot take over tombstones")?;
            missing += done.rows_affected();
        }
        Ok(missing)
    }
}
