//! The chain of the event log in the database: sealed in the transaction that writes events, and verified.
//!
//! ## Why at the commit
//! SQLite gives the ids, and many mails share one transaction: sealing at its end is one reading and one
//! writing for all of them. It cannot be forgotten: an event's link is written together with the event and
//! refers to a row that never exists until it is sealed, and SQLite refuses to commit that.

use anyhow::{Context, Result};
use serde_json::json;
use sqlx::{FromRow, Sqlite, Transaction};

use super::Store;
use crate::chain::{Damage, Event, Hash, Link, START, Walk, link};

/// Links that are read at a time.
const PAGE: u32 = 2000;

/// What a verification has found.
#[derive(Debug, Clone)]
pub struct Verified {
    /// How far the chain is sound.
    pub walk: Walk,
    /// The first thing that is wrong.
    pub damage: Option<Damage>,
    /// Whether the head that was asked for is in the chain, and how many links have come since.
    pub since_head: Option<u64>,
}

#[derive(FromRow)]
struct EventRow {
    id: i64,
    request_id: i64,
    at: i64,
    actor: Vec<u8>,
    event: Vec<u8>,
    reason: Vec<u8>,
}

#[derive(FromRow)]
struct LinkRow {
    event_id: i64,
    content: Option<Vec<u8>>,
    hash: Option<Vec<u8>>,
    is_purged: bool,
    request_id: Option<i64>,
    at: Option<i64>,
    actor: Option<Vec<u8>>,
    event: Option<Vec<u8>>,
    reason: Option<Vec<u8>>,
}

impl Store {
    /// The newest id and hash of the chain; 0 and zeros before the first event.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn chain_head(&self) -> Result<(i64, Hash)> {
        let row: Option<(i64, Vec<u8>)> = sqlx::query_as(
            "SELECT event_id, hash FROM event_links WHERE hash IS NOT NULL ORDER BY event_id DESC LIMIT 1",
        )
        .fetch_optional(&self.read)
        .await
        .context("Cannot read the head of the event log")?;
        let Some((id, hash)) = row else { return Ok((0, START)) };
        Ok((id, sound(hash)?))
    }

    /// Works out the whole chain anew from the events, in one view of the database; `head` is a hash that the
    /// chain is known to have had.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn verify_chain(&self, head: Option<&Hash>) -> Result<Verified> {
        let mut view = self.read.begin().await.context("Cannot begin to read")?;
        let mut walk = Walk::default();
        let mut at_head = head.filter(|head| **head == START).map(|_| 0);
        let damage = loop {
            let rows = page(&mut view, walk.last).await?;
            let last = rows.len() < PAGE as usize;
            let mut damage = None;
            for row in &rows {
                if let Err(found) = walk.step(&row.link()) {
                    damage = Some(found);
                    break;
                }
                if head == Some(&walk.hash) {
                    at_head = Some(walk.links);
                }
            }
            if damage.is_some() || last {
                break damage;
            }
        };
        let damage = damage.or_else(|| walk.untold());
        let damage = earliest(damage, stray(&mut view).await?);
        let damage = match damage {
            None => cut_off(&mut view, &walk).await?,
            damage => damage,
        };
        let since_head = at_head.map(|at| walk.links.saturating_sub(at));
        Ok(Verified { walk, damage, since_head })
    }

    /// Links the events that were written before there was a chain. Once, right after the migration.
    pub(super) async fn link_old_events(&self) -> Result<()> {
        let mut tx = self.begin().await?;
        let marked = sqlx::query("DELETE FROM meta WHERE name = 'unlinked_events'")
            .execute(&mut *tx)
            .await
            .context("Cannot read whether there are events without a chain")?;
        if marked.rows_affected() == 0 {
            return Ok(());
        }
        sqlx::query("INSERT INTO event_links (event_id, unsealed) SELECT id, 1 FROM request_events")
            .execute(&mut *tx)
            .await
            .context("Cannot link the events")?;
        commit(tx).await.context("Cannot link the events")
    }
}

/// Seals the events that `tx` has written, and commits it. Every transaction that writes events ends here.
///
/// # Errors
/// The database does not work; then nothing of it stands.
pub(super) async fn commit(mut tx: Transaction<'static, Sqlite>) -> Result<()> {
    seal(&mut tx).await?;
    tx.commit().await.context("Cannot commit")
}

/// Fills in the hashes of the links that `tx` has written.
async fn seal(tx: &mut Transaction<'static, Sqlite>) -> Result<()> {
    let rows: Vec<EventRow> = sqlx::query_as(
        "SELECT e.id, coalesce(e.request_id, 0) AS request_id, e.at, CAST(e.actor AS BLOB) AS actor, CAST(e.event AS BLOB) AS event,
            CAST(e.reason AS BLOB) AS reason
         FROM event_links l JOIN request_events e ON e.id = l.event_id WHERE l.unsealed IS NOT NULL ORDER BY e.id",
    )
    .fetch_all(&mut **tx)
    .await
    .context("Cannot read the events to be sealed")?;
    if rows.is_empty() {
        return Ok(());
    }
    let before: Option<Vec<u8>> = sqlx::query_scalar(
        "SELECT hash FROM event_links WHERE hash IS NOT NULL ORDER BY event_id DESC LIMIT 1",
    )
    .fetch_optional(&mut **tx)
    .await
    .context("Cannot read the head of the event log")?;
    let mut hash = before.map_or(Ok(START), sound)?;
    let mut sealed = Vec::with_capacity(rows.len());
    for row in &rows {
        let content = row.event().content();
        hash = link(&hash, row.id, &content);
        sealed.push(json!([row.id, super::visit::hex(&content), super::visit::hex(&hash)]));
    }
    sqlx::query(
        "UPDATE event_links SET content = unhex(sealed.value ->> 1), hash = unhex(sealed.value ->> 2), unsealed = NULL
         FROM json_each(?) AS sealed WHERE event_id = sealed.value ->> 0",
    )
    .bind(serde_json::to_string(&sealed)?)
    .execute(&mut **tx)
    .await
    .context("Cannot seal the events")
    .map(drop)
}

async fn page(view: &mut Transaction<'static, Sqlite>, after: i64) -> Result<Vec<LinkRow>> {
    sqlx::query_as(
        "SELECT l.event_id, l.content, l.hash, l.purged_at IS NOT NULL AS is_purged,
            iif(e.id IS NULL, NULL, coalesce(e.request_id, 0)) AS request_id, e.at,
            CAST(e.actor AS BLOB) AS actor, CAST(e.event AS BLOB) AS event, CAST(e.reason AS BLOB) AS reason
         FROM event_links l LEFT JOIN request_events e ON e.id = l.event_id
         WHERE l.event_id > ? ORDER BY l.event_id LIMIT ?",
    )
    .bind(after)
    .bind(PAGE)
    .fetch_all(&mut **view)
    .await
    .context("Cannot read the event log")
}

/// The first event that has no link.
async fn stray(view: &mut Transaction<'static, Sqlite>) -> Result<Option<Damage>> {
    let id: Option<i64> = sqlx::query_scalar(
        "SELECT min(id) FROM request_events WHERE id NOT IN (SELECT event_id FROM event_links)",
    )
    .fetch_one(&mut **view)
    .await
    .context("Cannot read the event log")?;
    Ok(id.map(|id| Damage { id, what: "has no link in the chain: it was put in, or its link was taken out" }))
}

/// The first event that is missing at the end, as far as the database remembers which ids it has given.
async fn cut_off(view: &mut Transaction<'static, Sqlite>, walk: &Walk) -> Result<Option<Damage>> {
    let given: i64 = sqlx::query_scalar(
        "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'request_events'), 0)",
    )
    .fetch_one(&mut **view)
    .await
    .context("Cannot read the last id of the event log")?;
    let missing = walk.last.saturating_add(1);
    Ok((given > walk.last).then_some(Damage { id: missing, what: "is missing, at the end" }))
}

fn earliest(one: Option<Damage>, other: Option<Damage>) -> Option<Damage> {
    match (one, other) {
        (Some(one), Some(other)) if other.id < one.id => Some(other),
        (one, other) => one.or(other),
    }
}

fn sound(hash: Vec<u8>) -> Result<Hash> {
    hash.try_into()
        .map_err(|_| anyhow::anyhow!("The head of the event log is damaged: see `privacyd audit verify`"))
}

impl EventRow {
    fn event(&self) -> Event<'_> {
        let Self { id, request_id, at, actor, event, reason } = self;
        Event { id: *id, request: *request_id, at: *at, actor, event, reason }
    }
}

impl LinkRow {
    fn link(&self) -> Link<'_> {
        Link {
            id: self.event_id,
            content: self.content.as_deref().unwrap_or_default(),
            hash: self.hash.as_deref().unwrap_or_default(),
            is_purged: self.is_purged,
            event: self.event(),
        }
    }

    fn event(&self) -> Option<Event<'_>> {
        Some(Event {
            id: self.event_id,
            request: self.request_id?,
            at: self.at?,
            actor: self.actor.as_deref()?,
            event: self.event.as_deref()?,
            reason: self.reason.as_deref()?,
        })
    }
}
