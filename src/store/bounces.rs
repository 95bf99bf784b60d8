//! What bounces change: the state of a mail of ours that is reported upon, and the requests it spoke of.
//!
//! What a report may change is decided by [`crate::bounce`]; here it is found and written down. Texts are of
//! our own making: numbers and names of templates, nothing that a reporter wrote.

use anyhow::{Context, Result};
use jiff::Timestamp;
use sqlx::{Sqlite, Transaction};

use super::Store;
use super::visit::{Batch, Visit};
use crate::bounce::{Effect, holds};
use crate::ladder::{Change, Status, Step};
use crate::message::MessageId;
use crate::sender::Address;

const REPLY: &str =
    "UPDATE outbox SET state = ?, outcome = ?, updated_at = ? WHERE id = ? AND state IN ('sent', 'unknown');";
const NOTICE: &str = "UPDATE notice_recipients SET state = ?, outcome = ?, updated_at = ? WHERE id = ? AND state IN ('sent', 'unknown');";

/// A mail of ours that somebody reports upon.
#[derive(Debug, Clone)]
pub struct Reported {
    /// Its row in the outbox, or among the recipients of a notice.
    pub id: i64,
    /// Whether it is a notice to everybody, of which no request knows.
    pub is_notice: bool,
    /// To whom it went.
    pub recipient: Address,
    /// The template it was made from.
    pub template: String,
    /// Its state.
    pub state: String,
    /// Since when.
    pub since: Timestamp,
}

impl Store {
    /// Message-IDs of replies of unknown fate, the newest first, at most `most`.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn unknown_replies(&self, most: u32) -> Result<Vec<MessageId>> {
        let ids: Vec<String> = sqlx::query_scalar(
            "SELECT rfc_message_id FROM outbox WHERE state = 'unknown' ORDER BY id DESC LIMIT ?",
        )
        .bind(most)
        .fetch_all(&self.read)
        .await
        .context("Cannot read which replies are of unknown fate")?;
        Ok(ids.iter().filter_map(|id| MessageId::parse_bracketed(id)).collect())
    }
}

impl Visit {
    /// Records that a reply of unknown fate was sent, since a copy of it lies among sent mail; answers whether it was one.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn settle_sent(&mut self, message_id: &MessageId) -> Result<bool> {
        let Some(reported) = self.reported(message_id).await? else { return Ok(false) };
        if reported.is_notice || reported.state != "unknown" {
            return Ok(false);
        }
        let said = "sent: a copy of it lies among sent mail";
        let mut batch = Batch::default();
        batch.add(REPLY)?.bind("sent")?.bind(said)?.bind(self.now)?.bind(reported.id)?;
        for spoken_of in requests_of(&mut self.tx, reported.id).await? {
            let reason = format!("our reply {} ({}) was {said}", reported.id, reported.template);
            batch.event(spoken_of.request, self.now, "rule", "note", &reason)?;
        }
        batch.run(&mut self.tx).await.context("Cannot record that a reply was sent")?;
        Ok(true)
    }

    /// The reply or the notice of this Message-ID.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn reported(&mut self, message_id: &MessageId) -> Result<Option<Reported>> {
        let found: Option<(i64, bool, String, String, String, i64)> = sqlx::query_as(
            "SELECT id, 0, recipient, template, state, updated_at FROM outbox WHERE rfc_message_id = $1
             UNION ALL
             SELECT r.id, 1, c.address, n.template, r.state, r.updated_at FROM notice_recipients r
             JOIN notices n ON n.id = r.notice_id JOIN contacts c ON c.id = r.contact_id
             WHERE r.rfc_message_id = $1 LIMIT 1",
        )
        .bind(message_id.as_str())
        .fetch_optional(&mut *self.tx)
        .await
        .context("Cannot look up what a bounce is about")?;
        let Some((id, is_notice, recipient, template, state, since)) = found else { return Ok(None) };
        let recipient =
            recipient.parse().map_err(|_| anyhow::anyhow!("A stored reply has no sound address"))?;
        Ok(Some(Reported {
            id,
            is_notice,
            recipient,
            template,
            state,
            since: Timestamp::from_second(since)?,
        }))
    }

    /// Records what the bounce that is `message` in the ledger says of `reported`; answers the references of
    /// the requests that are held because of it.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn record_report(
        &mut self,
        reported: &Reported,
        effect: Effect,
        message: i64,
    ) -> Result<Vec<String>> {
        let state = match effect {
            Effect::Undelivered(_) => Some("bounced"),
            // What was perhaps sent was sent.
            Effect::Delivered if reported.state == "unknown" => Some("sent"),
            Effect::Delivered | Effect::Delayed => None,
        };
        let mut batch = Batch::default();
        if let Some(state) = state {
            let statement = if reported.is_notice { NOTICE } else { REPLY };
            batch.add(statement)?.bind(state)?.bind(effect.to_string())?.bind(self.now)?.bind(reported.id)?;
        }
        if reported.is_notice {
            // Mostly there is nothing to write down.
            if state.is_some() {
                batch.run(&mut self.tx).await.context("Cannot record what a bounce says")?;
            }
            return Ok(Vec::new());
        }
        let said = effect.to_string();
        let held = match effect {
            Effect::Undelivered(_) => {
                undelivered(&mut self.tx, &mut batch, reported.id, &said, self.now, Some(message)).await?
            }
            Effect::Delayed | Effect::Delivered => {
                for spoken_of in requests_of(&mut self.tx, reported.id).await? {
                    let reason = format!("our reply {} ({}) was {said}", reported.id, reported.template);
                    // However often the same is reported, it is noted once.
                    if !spoken_of.has_event(&mut self.tx, &format!("{reason} %")).await? {
                        let reason = format!("{reason} (message {message})");
                        batch.event(spoken_of.request, self.now, "rule", "note", &reason)?;
                    }
                }
                Vec::new()
            }
        };
        batch.run(&mut self.tx).await.context("Cannot record what a bounce says")?;
        Ok(held)
    }
}

/// Joins a reply `o` to the requests `r` it may speak of: those of one mail and one person belong together, and it
/// bears the reference of the first alone, `f`. What one person says of theirs is no word on another's that was
/// asked for in the same mail.
macro_rules! requests_of_reply {
    () => {
        "outbox o JOIN requests f ON f.reference = o.reference
         JOIN requests r ON r.message_id = f.message_id AND r.subject IS f.subject"
    };
}
pub(super) use requests_of_reply;

/// A request that a reply spoke of.
#[derive(sqlx::FromRow)]
struct SpokenOf {
    request: i64,
    reference: String,
    status: String,
    template: String,
}

impl SpokenOf {
    /// Whether it has an event whose reason is like `said`.
    async fn has_event(&self, tx: &mut Transaction<'static, Sqlite>, said: &str) -> Result<bool> {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM request_events WHERE request_id = ? AND reason LIKE ?)",
        )
        .bind(self.request)
        .bind(said)
        .fetch_one(&mut **tx)
        .await
        .context("Cannot read the history of a request")
    }
}

/// Adds to `batch` what follows for the requests that the reply in this row of the outbox spoke of, when it did
/// not arrive, as `said` says: by the server it was given to, or by the bounce that is `message`. Answers the
/// references of those that a person must look at now.
///
/// # Errors
/// The database does not work.
pub(super) async fn undelivered(
    tx: &mut Transaction<'static, Sqlite>,
    batch: &mut Batch,
    reply: i64,
    said: &str,
    now: i64,
    message: Option<i64>,
) -> Result<Vec<String>> {
    let mut held = Vec::new();
    for SpokenOf { request, reference, status, template } in requests_of(tx, reply).await? {
        let status = Status::parse(&status).context("A stored request has no known status")?;
        let origin = message.map(|message| format!(" (message {message})")).unwrap_or_default();
        let reason = format!("our reply {reply} ({template}) was {said}{origin}");
        batch.event(request, now, "rule", "undelivered", &reason)?;
        if holds(&template, status) {
            let reason = "our reply to it could not be delivered".to_owned();
            let step = Step { request, actor: "rule", change: Change::Hold, reason };
            batch.step(&step, now, message)?;
            held.push(reference);
        }
    }
    Ok(held)
}

/// The requests that a reply spoke of.
async fn requests_of(tx: &mut Transaction<'static, Sqlite>, reply: i64) -> Result<Vec<SpokenOf>> {
    // It bears the reference of one, and speaks of that alone but for these. What became of a letter to whom a person
    // has said since that it is not theirs says nothing of it.
    sqlx::query_as(concat!(
        "SELECT r.id AS request, r.reference, r.status, o.template FROM ",
        requests_of_reply!(),
        " WHERE o.id = ? AND (r.id = f.id
            OR o.template IN ('confirm', 'reminder', 'confirmed', 'several', 'withdrawn', 'expired'))
         AND (o.recipient = r.subject OR NOT EXISTS (SELECT 1 FROM request_events e
            WHERE e.request_id = r.id AND e.event = 'subject' AND e.at > o.created_at))
         ORDER BY r.id",
    ))
    .bind(reply)
    .fetch_all(&mut **tx)
    .await
    .context("Cannot read the requests of a reply")
}
