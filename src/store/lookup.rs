//! What the operator's commands ask of the store. Reads only.

use anyhow::{Context, Result};
use serde::Serialize;
use sqlx::FromRow;

use super::Store;

/// A request, in a list.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct RequestRow {
    /// Its public reference.
    pub reference: String,
    /// Its type.
    pub kind: String,
    /// The name of a [`Status`](crate::ladder::Status).
    pub status: String,
    /// suspected_fraud, or nothing.
    pub flag: String,
    /// The step of the ladder of proof that its type asks for, 0 to 3.
    pub proof_needed: u8,
    /// The step that was reached.
    pub proof_given: u8,
    /// Whose it is.
    pub subject: Option<String>,
    /// How well it is proven that this address wrote: dmarc, dkim, none or conflict.
    pub proof: String,
    /// Why, in one sentence.
    pub proof_why: String,
    /// Seconds since 1970 UTC.
    pub received_at: i64,
    /// The day by which it is due.
    pub due_on: String,
    /// Which law says so.
    pub due_source: String,
    /// 0 to 1.
    pub confidence: f64,
    /// The ledger's row of its mail.
    pub message_id: i64,
}

/// One event of a request.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct EventRow {
    /// Seconds since 1970 UTC.
    pub at: i64,
    /// rule, clock, person or sender.
    pub actor: String,
    /// What happened.
    pub event: String,
    /// Why.
    pub reason: String,
}

/// A mail in the ledger.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct MessageRow {
    /// Its row.
    pub id: i64,
    /// The mailbox it came by.
    pub mailbox: String,
    /// Its UID or file name there, when last seen.
    pub mail_id: String,
    /// Bytes.
    pub size: i64,
    /// Who wrote it, where that is known.
    pub sender: Option<String>,
    /// How well that is proven: dmarc, dkim, none or conflict.
    pub proof: String,
    /// Why, in one sentence.
    pub proof_why: String,
    /// Seconds since 1970 UTC, by our server.
    pub received_at: i64,
    /// requests, automated, review, none, unreadable or duplicate.
    pub disposition: String,
    /// Request types, or the kind of automatic mail.
    pub kind: String,
    /// One sentence.
    pub why: String,
    /// The bound because of which a reply was not written.
    pub unanswered: Option<String>,
    /// The language of its words.
    pub language: Option<String>,
    /// The folder it belongs into.
    pub folder: String,
    /// Whether it is there.
    pub filed: bool,
    /// When a person has said that they have read it. Seconds since 1970 UTC.
    pub read_at: Option<i64>,
}

/// A reply.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct ReplyRow {
    /// Its row.
    pub id: i64,
    /// The request it belongs to.
    pub reference: String,
    /// To whom.
    pub recipient: String,
    /// The template it was made from.
    pub template: String,
    /// Its language.
    pub language: String,
    /// queued, transmitting, deferred, sent, bounced or unknown.
    pub state: String,
    /// How often it was tried.
    pub attempts: i64,
    /// Seconds since 1970 UTC.
    pub created_at: i64,
    /// When it is tried next, while it waits.
    pub next_attempt_at: i64,
    /// What the last attempt ended with.
    pub outcome: String,
    /// Its Message-ID.
    pub rfc_message_id: String,
}

const REQUEST: &str =
    "SELECT reference, kind, status, flag, proof_needed, proof_given, subject, received_at, due_on, due_source, confidence, message_id,
    (SELECT proof FROM messages WHERE messages.id = message_id) AS proof,
    (SELECT proof_why FROM messages WHERE messages.id = message_id) AS proof_why FROM requests";
const MESSAGE: &str = "SELECT id, mailbox, mail_id, size, sender, proof, proof_why, received_at, disposition, kind, why, unanswered, language, folder, filed, read_at FROM messages";
const REPLY: &str = "SELECT id, reference, recipient, template, language, state, attempts, created_at, next_attempt_at, outcome, rfc_message_id FROM outbox";

/// A constant select with a constant rest; values are bound.
fn sql(select: &'static str, rest: &'static str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(format!("{select} {rest}"))
}

/// Mails of the ledger with a constant rest.
pub(super) fn message_sql(rest: &'static str) -> sqlx::AssertSqlSafe<String> {
    sql(MESSAGE, rest)
}

/// Which requests are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed<'a> {
    /// Those that are not closed.
    Open,
    /// All.
    All,
    /// Those of this status.
    Of(&'a str),
}

impl<'a> Listed<'a> {
    fn status(self) -> Option<&'a str> {
        match self {
            Self::Of(status) => Some(status),
            Self::Open | Self::All => None,
        }
    }
}

/// Which requests are listed, and in which order. One text for each filter: with "or" in it, SQLite would walk
/// through all of them, and a list has to come at once from among a million.
fn list_of_requests(listed: Listed<'_>, kind: Option<&str>) -> String {
    let listed = match listed {
        Listed::Open => "$1 IS NULL AND closed_at IS NULL",
        Listed::All => "$1 IS NULL",
        Listed::Of(_) => "status = $1",
    };
    let kind = if kind.is_some() { "kind = $2" } else { "$2 IS NULL" };
    format!("{REQUEST} WHERE {listed} AND {kind} ORDER BY due_on, id LIMIT $3")
}

impl Store {
    /// Requests, the soonest due first; of one status or of all.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn requests(&self, status: Option<&str>, limit: u32) -> Result<Vec<RequestRow>> {
        self.list_requests(status.map_or(Listed::All, Listed::Of), None, limit).await
    }

    /// Requests, the soonest due first; of one type or of all.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn list_requests(
        &self,
        listed: Listed<'_>,
        kind: Option<&str>,
        limit: u32,
    ) -> Result<Vec<RequestRow>> {
        sqlx::query_as(sqlx::AssertSqlSafe(list_of_requests(listed, kind)))
            .bind(listed.status())
            .bind(kind)
            .bind(limit)
            .fetch_all(&self.read)
            .await
            .context("Cannot list the requests")
    }

    /// The request of this reference and its events.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn request(&self, reference: &str) -> Result<Option<(RequestRow, Vec<EventRow>)>> {
        let found: Option<RequestRow> = sqlx::query_as(sql(REQUEST, "WHERE reference = ?"))
            .bind(reference)
            .fetch_optional(&self.read)
            .await
            .context("Cannot read the request")?;
        let Some(request) = found else { return Ok(None) };
        let events = sqlx::query_as(
            "SELECT at, actor, event, reason FROM request_events
             WHERE request_id = (SELECT id FROM requests WHERE reference = ?) ORDER BY id",
        )
        .bind(reference)
        .fetch_all(&self.read)
        .await
        .context("Cannot read the request's events")?;
        Ok(Some((request, events)))
    }

    /// Mails in the ledger, the latest first; of one disposition or of all.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn messages(&self, disposition: Option<&str>, limit: u32) -> Result<Vec<MessageRow>> {
        sqlx::query_as(sql(MESSAGE, "WHERE $1 IS NULL OR disposition = $1 ORDER BY id DESC LIMIT $2"))
            .bind(disposition)
            .bind(limit)
            .fetch_all(&self.read)
            .await
            .context("Cannot list the messages")
    }

    /// Mails that got no reply because a bound was reached, the latest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn unanswered(&self, limit: u32) -> Result<Vec<MessageRow>> {
        sqlx::query_as(sql(MESSAGE, "WHERE unanswered IS NOT NULL ORDER BY id DESC LIMIT ?"))
            .bind(limit)
            .fetch_all(&self.read)
            .await
            .context("Cannot list the messages")
    }

    /// One mail of the ledger, its requests and its replies.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn message(&self, id: i64) -> Result<Option<(MessageRow, Vec<RequestRow>, Vec<ReplyRow>)>> {
        let found: Option<MessageRow> = sqlx::query_as(sql(MESSAGE, "WHERE id = ?"))
            .bind(id)
            .fetch_optional(&self.read)
            .await
            .context("Cannot read the message")?;
        let Some(message) = found else { return Ok(None) };
        let requests = sqlx::query_as(sql(REQUEST, "WHERE message_id = ? ORDER BY id"))
            .bind(id)
            .fetch_all(&self.read)
            .await
            .context("Cannot read the message's requests")?;
        let replies = sqlx::query_as(sql(REPLY, "WHERE message_id = ? ORDER BY id"))
            .bind(id)
            .fetch_all(&self.read)
            .await
            .context("Cannot read the message's replies")?;
        Ok(Some((message, requests, replies)))
    }

    /// Replies, the latest first; of one state or of all.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn replies(&self, state: Option<&str>, limit: u32) -> Result<Vec<ReplyRow>> {
        sqlx::query_as(sql(REPLY, "WHERE $1 IS NULL OR state = $1 ORDER BY id DESC LIMIT $2"))
            .bind(state)
            .bind(limit)
            .fetch_all(&self.read)
            .await
            .context("Cannot list the replies")
    }

    /// Queues a reply again that has bounced, is deferred or is of unknown fate, unless its text was purged, or it
    /// is a question whose code is kept no longer.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn retry(&self, id: i64, now: jiff::Timestamp) -> Result<Retry> {
        let mut tx = self.begin().await?;
        let found: Option<(String, String, bool)> = sqlx::query_as(
            "SELECT state, reference, state <> 'deferred' AND template IN ('confirm', 'reminder') FROM outbox
             WHERE id = ? AND state IN ('bounced', 'deferred', 'unknown') AND purged_at IS NULL",
        )
        .bind(id)
        .fetch_optional(&mut *tx)
        .await
        .context("Cannot read the reply")?;
        let state = match found {
            None => return Ok(Retry::Nothing),
            Some((_, reference, true)) => return Ok(Retry::WithoutCode(reference)),
            Some((state, _, false)) => state,
        };
        // Its five days begin anew: a person has decided.
        sqlx::query("UPDATE outbox SET state = 'queued', attempts = 0, created_at = $1, next_attempt_at = $1, updated_at = $1 WHERE id = $2")
            .bind(now.as_second())
            .bind(id)
            .execute(&mut *tx)
            .await
            .context("Cannot queue the reply again")?;
        tx.commit().await.context("Cannot commit")?;
        Ok(Retry::Queued(state))
    }
}

/// What became of the wish that a reply be sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retry {
    /// It is queued; it was in this state.
    Queued(String),
    /// It asked about this request with a code that is kept no longer: a new question has to.
    WithoutCode(String),
    /// There is no such reply, or its state or its text does not allow it.
    Nothing,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ladder::Status;

    #[tokio::test]
    async fn lists_of_requests_come_by_an_index() {
        let folder = tempfile::tempdir().unwrap();
        for statistics in [false, true] {
            let store = Store::filled(&folder, statistics).await;
            let of = Status::ALL.map(|status| Listed::Of(status.name()));
            for (listed, kind) in of
                .into_iter()
                .chain([Listed::Open, Listed::All])
                .flat_map(|listed| [None, Some("deletion")].map(|kind| (listed, kind)))
            {
                let query = list_of_requests(listed, kind);
                let steps = store.plan(&query, |plan| plan.bind(listed.status()).bind(kind).bind(50)).await;
                // In the order of an index it ends with the limit; a sort, or a walk without one, sees every row.
                let is_bad = |step: &String| {
                    step.contains("TEMP B-TREE")
                        || step.starts_with("SCAN requests") && !step.contains(" USING INDEX ")
                };
                assert!(!steps.iter().any(is_bad), "{listed:?}: {steps:?}");
                let index = match (listed, kind) {
                    (Listed::Open, None) => "requests_open",
                    (Listed::All, None) => "requests_list",
                    (Listed::Of(_), None) => "requests_due (status=?)",
                    (Listed::Open, Some(_)) => "requests_kind_open (kind=?)",
                    (Listed::All, Some(_)) => "requests_kind_all (kind=?)",
                    (Listed::Of(_), Some(_)) => "requests_kind (kind=? AND status=?)",
                };
                assert!(steps.iter().any(|step| step.contains(index)), "{listed:?} {kind:?}: {steps:?}");
            }
            let one = store.plan(&format!("{REQUEST} WHERE reference = ?"), |plan| plan.bind("1")).await;
            assert!(one.iter().all(|step| !step.starts_with("SCAN")), "{one:?}");
        }
    }
}
