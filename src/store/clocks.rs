//! What the legal clocks need of the store: what a request's clocks depend on, its one extension, and which
//! warnings are due. Dates are worked out by [`crate::clock`]; here they are kept.

use anyhow::{Context, Result};
use jiff::Timestamp;
use jiff::civil::Date;
use sqlx::{FromRow, Sqlite};

use super::Store;
use super::visit::{Batch, Visit};
use crate::clock::{Deadline, Duty, Facts, Reason};
use crate::decide::Proven;
use crate::ladder::Status;
use crate::message::MessageId;
use crate::reply::Outgoing;
use crate::sender::Address;

/// Warnings that are given at a time, at the most.
const MOST_WARNINGS: u32 = 1000;

/// A request, as far as its clocks go.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its row.
    pub id: i64,
    /// Its public reference.
    pub reference: String,
    /// Its type.
    pub kind: String,
    /// How far it has come.
    pub status: Status,
    /// The step of the ladder that its type asks for, 0 to 3.
    pub proof_needed: u8,
    /// Whether it is known who reads at the address of [`Case::subject`].
    pub is_proven: bool,
    /// Whose it is, where that is known.
    pub subject: Option<Address>,
    /// The language of its mail.
    pub language: String,
    /// What its clocks depend on.
    pub facts: Facts,
    /// By when it is due, as it was last told.
    pub due: Date,
    /// Which law says so.
    pub due_source: String,
    /// When it was extended, and why.
    pub extended: Option<(Timestamp, String)>,
    /// When a server first took a reply to its mail.
    pub acknowledged: Option<Timestamp>,
    /// When it was closed.
    pub closed: Option<Timestamp>,
    /// The ledger's row of its mail.
    pub message: i64,
    /// The Message-ID of that mail, if sound.
    pub rfc_message_id: Option<MessageId>,
    /// Letters of ours about that mail so far, as their thread counts them.
    pub in_thread: u32,
}

#[derive(FromRow)]
struct CaseRow {
    id: i64,
    reference: String,
    kind: String,
    status: String,
    proof_needed: u8,
    is_proven: bool,
    subject: Option<String>,
    language: String,
    received_at: i64,
    asked_at: Option<i64>,
    proven_at: Option<i64>,
    due_on: String,
    due_source: String,
    extended_at: Option<i64>,
    extended_why: Option<String>,
    acknowledged_at: Option<i64>,
    closed_at: Option<i64>,
    message_id: i64,
    rfc_message_id: Option<String>,
    in_thread: u32,
}

#[derive(FromRow)]
struct OwedRow {
    request_id: i64,
    reference: String,
    kind: String,
    status: String,
    duty: String,
    received_at: i64,
    due_on: String,
    is_acknowledged: bool,
}

/// Something owed that is to be warned of.
#[derive(Debug, Clone)]
pub struct Owed {
    /// The request's row.
    pub request: i64,
    /// Its public reference.
    pub reference: String,
    /// Its type.
    pub kind: String,
    /// What is owed.
    pub duty: Duty,
    /// When our server received its mail.
    pub received: Timestamp,
    /// By when it is due.
    pub due: Date,
    /// Whether nothing is owed any more: the request is closed, or was acknowledged.
    pub is_done: bool,
}

/// What comes of a look at something owed.
#[derive(Debug)]
pub struct Looked<'a> {
    /// What was looked at.
    pub owed: &'a Owed,
    /// The level of the warning that is given, if one is.
    pub warned: Option<u8>,
    /// When to look again; `None` when nothing is owed any more.
    pub next: Option<Timestamp>,
}

/// A date that was put off.
#[derive(Debug)]
pub struct Extended<'a> {
    /// The request.
    pub case: &'a Case,
    /// Its new date.
    pub answer: &'a Deadline,
    /// The reason.
    pub reason: Reason,
    /// The notice.
    pub notice: &'a Outgoing,
}

impl Store {
    /// The request of this reference.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn case(&self, reference: &str) -> Result<Option<Case>> {
        case(&self.read, reference).await
    }

    /// Whether some warning is due at `now`.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn has_warnings(&self, now: Timestamp) -> Result<bool> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM deadlines WHERE warn_at <= ?)")
            .bind(now.as_second())
            .fetch_one(&self.read)
            .await
            .context("Cannot read which warnings are due")
    }
}

impl Visit {
    /// The request of this reference.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn case(&mut self, reference: &str) -> Result<Option<Case>> {
        case(&mut *self.tx, reference).await
    }

    /// Records an extension, with its notice.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn extend(&mut self, extended: &Extended<'_>) -> Result<()> {
        let Extended { case, answer, reason, notice } = extended;
        let mut batch = Batch::default();
        batch
            .add(
                "UPDATE requests SET due_on = ?, due_source = ?, extended_at = ?, extended_why = ? WHERE id = ?;",
            )?
            .bind(answer.due.to_string())?
            .bind(answer.source.clone())?
            .bind(self.now)?
            .bind(reason.name())?
            .bind(case.id)?;
        batch.put_off(case.id, answer.due, answer.warn_at)?;
        let reason = format!("{}: from {} to {} ({})", reason.name(), case.due, answer.due, answer.source);
        batch.event(case.id, self.now, "person", "extended", &reason)?;
        batch.reply(case.message, notice, case.in_thread.saturating_add(1), self.now)?;
        batch.run(&mut self.tx).await.context("Cannot record the extension")
    }

    /// What a warning is due of at `now`, the soonest due first; some of it, if it is much.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn owed(&mut self, now: Timestamp) -> Result<Vec<Owed>> {
        let rows: Vec<OwedRow> = sqlx::query_as(
            "SELECT d.request_id, r.reference, r.kind, r.status, d.duty, r.received_at, d.due_on,
                d.duty = 'acknowledge' AND EXISTS
                    (SELECT 1 FROM outbox o WHERE o.message_id = r.message_id AND o.state = 'sent') AS is_acknowledged
             FROM deadlines d JOIN requests r ON r.id = d.request_id
             WHERE d.warn_at <= ? ORDER BY d.due_on, d.request_id LIMIT ?",
        )
        .bind(now.as_second())
        .bind(MOST_WARNINGS)
        .fetch_all(&mut *self.tx)
        .await
        .context("Cannot read which warnings are due")?;
        rows.into_iter()
            .map(|row| {
                Ok(Owed {
                    request: row.request_id,
                    reference: row.reference,
                    kind: row.kind,
                    duty: Duty::parse(&row.duty).context("A stored deadline has no known duty")?,
                    received: Timestamp::from_second(row.received_at)?,
                    due: row.due_on.parse().context("A stored deadline has no sound date")?,
                    is_done: row.is_acknowledged || status_of(&row.status)?.is_closed(),
                })
            })
            .collect()
    }

    /// Records what came of a look at what is owed. The notice of it goes into the queue.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn record_warnings(&mut self, looked: &[Looked<'_>], notice: Option<&Outgoing>) -> Result<()> {
        let mut batch = Batch::default();
        for Looked { owed, warned, next } in looked {
            batch
                .add("UPDATE deadlines SET warned = coalesce(?, warned), warn_at = ? WHERE request_id = ? AND duty = ?;")?
                .bind(*warned)?
                .bind(next.map(Timestamp::as_second))?
                .bind(owed.request)?
                .bind(owed.duty.name())?;
        }
        if let Some(notice) = notice {
            batch.reply(None, notice, 1, self.now)?;
        }
        batch.run(&mut self.tx).await.context("Cannot record the warnings")
    }
}

impl Batch {
    /// What a new request is owed, and when it is warned of first.
    pub(super) fn deadline(&mut self, request: i64, deadline: &Deadline) -> Result<&mut Self> {
        self.add("INSERT INTO deadlines (request_id, duty, due_on, warn_at) VALUES (?, ?, ?, ?);")?
            .bind(request)?
            .bind(deadline.duty.name())?
            .bind(deadline.due.to_string())?
            .bind(deadline.warn_at.as_second())
    }

    /// The proof of an earlier request, and its new date, if it has one.
    pub(super) fn proven(&mut self, proven: &Proven, now: i64) -> Result<&mut Self> {
        let Proven { request, at, later } = proven;
        self.add("UPDATE requests SET proven_at = ? WHERE id = ?;")?.bind(at.as_second())?.bind(*request)?;
        let Some(later) = later else { return Ok(self) };
        self.add("UPDATE requests SET due_on = ?, due_source = ? WHERE id = ?;")?
            .bind(later.due.to_string())?
            .bind(later.source.clone())?
            .bind(*request)?;
        self.put_off(*request, later.due, later.warn_at)?;
        let reason = format!("to {}: the clock waits for the proof ({})", later.due, later.source);
        self.event(*request, now, "clock", "due_moved", &reason)
    }

    /// A later date for the answer: its warnings begin anew.
    fn put_off(&mut self, request: i64, due: Date, warn_at: Timestamp) -> Result<&mut Self> {
        self.add(
            "UPDATE deadlines SET due_on = ?, warned = 0, warn_at = ? WHERE request_id = ? AND duty = 'answer';",
        )?
        .bind(due.to_string())?
        .bind(warn_at.as_second())?
        .bind(request)
    }
}

async fn case<'e>(
    executor: impl sqlx::Executor<'e, Database = Sqlite>,
    reference: &str,
) -> Result<Option<Case>> {
    let row: Option<CaseRow> = sqlx::query_as(
        "SELECT r.id, r.reference, r.kind, r.status, r.proof_needed, r.subject, r.language, r.received_at,
            r.asked_at, r.proven_at, r.due_on, r.due_source, r.extended_at, r.extended_why, r.closed_at,
            r.message_id, m.rfc_message_id,
            coalesce(r.subject = m.sender AND m.proof IN ('dmarc', 'dkim'), 0) OR r.proof_given > 1 AS is_proven,
            (SELECT min(o.updated_at) FROM outbox o WHERE o.message_id = r.message_id AND o.state = 'sent')
                AS acknowledged_at,
            (SELECT coalesce(max(o.in_thread), 0) FROM outbox o WHERE o.message_id = r.message_id) AS in_thread
         FROM requests r JOIN messages m ON m.id = r.message_id WHERE r.reference = ?",
    )
    .bind(reference)
    .fetch_optional(executor)
    .await
    .context("Cannot read the request")?;
    row.map(CaseRow::case).transpose()
}

impl CaseRow {
    fn case(self) -> Result<Case> {
        let time = |at: Option<i64>| at.map(Timestamp::from_second).transpose();
        Ok(Case {
            id: self.id,
            status: status_of(&self.status)?,
            reference: self.reference,
            kind: self.kind,
            proof_needed: self.proof_needed,
            is_proven: self.is_proven,
            subject: self.subject.and_then(|subject| subject.parse().ok()),
            language: self.language,
            facts: Facts {
                received: Timestamp::from_second(self.received_at)?,
                asked: time(self.asked_at)?,
                proven: time(self.proven_at)?,
                extended: self.extended_at.is_some(),
            },
            due: self.due_on.parse().context("A stored request has no sound due date")?,
            due_source: self.due_source,
            extended: time(self.extended_at)?.zip(self.extended_why),
            acknowledged: time(self.acknowledged_at)?,
            closed: time(self.closed_at)?,
            message: self.message_id,
            rfc_message_id: self.rfc_message_id.as_deref().and_then(MessageId::parse_bracketed),
            in_thread: self.in_thread,
        })
    }
}

fn status_of(name: &str) -> Result<Status> {
    Status::parse(name).context("A stored request has no known status")
}
