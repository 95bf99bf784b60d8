//! What an approved request has to do in each of the company's systems: its tasks, their outcomes, and the
//! end that follows from all of them.
//!
//! privacyd's own contacts are one of these systems; what is done to them is done in the transaction that
//! records it. The others are asked outside of any transaction, and asked again when their answer was lost.

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Store;
use super::to_read::{to_read, unread_since};
use super::tombstones::{EMPTY_LETTERS, tombstone};
use super::visit::{Batch, RESTRICTION, SUPPRESS, Visit};
use crate::decide::UNCLEAR;
use crate::ladder::Status;
use crate::message::MessageId;
use crate::reply::Outgoing;
use crate::request::{FOLLOW_UP, Verb};
use crate::sender::Address;
use crate::source::{Ended, Outcome, Report, TaskState};

/// A request that is being carried out.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its row.
    pub request: i64,
    /// Its public reference.
    pub reference: String,
    /// Its type.
    pub kind: String,
    /// Whose data.
    pub subject: Address,
    /// The language of its mail.
    pub language: String,
    /// The step of the ladder that its type asks for.
    pub proof_needed: u8,
    /// The step that was reached.
    pub proof_given: u8,
    /// By when it is due.
    pub due: jiff::civil::Date,
    /// The ledger's row of its mail.
    pub message: i64,
    /// That mail's Message-ID, if sound.
    pub rfc_message_id: Option<MessageId>,
    /// Letters of ours about that mail so far.
    pub in_thread: u32,
    /// Whether no system may do it by itself.
    pub by_hand: bool,
    /// How often it was begun.
    pub begun: u32,
}

/// One system's part of a job, as it begins.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// The system.
    pub source: &'a str,
    /// Why a person must do it; `None` where the system does.
    pub by_hand: Option<&'static str>,
}

/// Who says what has become of a task.
#[derive(Debug, Clone, Copy)]
pub enum Teller {
    /// The system.
    System {
        /// When it is asked again, if it has not done it yet; `None` when it is given up.
        next: Option<Timestamp>,
    },
    /// A person.
    Person,
}

/// A task, for who settles it.
#[derive(Debug, Clone)]
pub struct Open {
    /// Its row.
    pub id: i64,
    /// The request's row.
    pub request: i64,
    /// The system.
    pub source: String,
    /// How it ended, or that a person must do it; `None` while the system is to do it.
    pub state: Option<TaskState>,
    /// Whether it is being asked: nobody knows yet what it has done.
    pub is_asked: bool,
    /// Whether it was asked by a process that is gone: nobody knows what it has done, unless it is asked again.
    pub is_lost: bool,
}

/// What is known of a task whose answer went to a process that is gone.
const LOST: &str = "asked, and its answer was lost";

impl Open {
    /// Whether something was done, and not only looked for.
    pub fn is_done(&self) -> bool {
        matches!(self.state, Some(TaskState::Done | TaskState::Kept))
    }
}

/// One system's part of a job that is due.
#[derive(Debug, Clone)]
pub struct Task {
    /// Its row.
    pub id: i64,
    /// The request.
    pub job: Job,
    /// The system.
    pub source: String,
    /// Attempts so far.
    pub attempts: u32,
    /// When it was begun.
    pub begun: Timestamp,
}

impl Task {
    /// The same, for who settles it.
    pub fn open(&self) -> Open {
        let (id, request, source) = (self.id, self.job.request, self.source.clone());
        Open { id, request, source, state: None, is_asked: true, is_lost: false }
    }
}

/// A task, for the operator.
#[derive(Debug, Clone, serde::Serialize, sqlx::FromRow)]
pub struct TaskRow {
    /// The system.
    pub source: String,
    /// waiting, by_hand, done, nothing, kept or failed.
    pub state: String,
    /// How often it was asked.
    pub attempts: u32,
    /// When it is asked next, while it waits; seconds since 1970 UTC.
    pub next_attempt_at: i64,
    /// What is kept, or why it failed, as the system says; or why a person must do it.
    pub outcome: String,
}

#[derive(sqlx::FromRow)]
pub(super) struct JobRow {
    request_id: i64,
    reference: String,
    kind: String,
    subject: String,
    language: String,
    proof_needed: u8,
    proof_given: u8,
    due_on: String,
    message_id: i64,
    rfc_message_id: Option<String>,
    in_thread: u32,
    by_hand: bool,
    begun_times: u32,
}

impl JobRow {
    pub(super) fn job(self) -> Result<Job> {
        Ok(Job {
            request: self.request_id,
            reference: self.reference,
            kind: self.kind,
            subject: self
                .subject
                .parse()
                .map_err(|_| anyhow::anyhow!("A stored request has no sound address"))?,
            language: self.language,
            proof_needed: self.proof_needed,
            proof_given: self.proof_given,
            due: self.due_on.parse().context("A stored request has no sound due date")?,
            message: self.message_id,
            rfc_message_id: self.rfc_message_id.as_deref().and_then(MessageId::parse_bracketed),
            in_thread: self.in_thread,
            by_hand: self.by_hand,
            begun: self.begun_times,
        })
    }
}

pub(super) const JOB: &str =
    "r.id AS request_id, r.reference, r.kind, r.subject, r.language, r.proof_needed, r.proof_given,
    r.due_on, r.message_id, m.rfc_message_id, r.by_hand,
    (SELECT count(*) FROM request_events e WHERE e.request_id = r.id AND e.event = 'executing') AS begun_times,
    (SELECT coalesce(max(o.in_thread), 0) FROM outbox o WHERE o.message_id = r.message_id) AS in_thread
    FROM requests r JOIN messages m ON m.id = r.message_id";

/// So many requests and tasks are looked at in one go.
const AT_ONCE: i64 = 100;

impl Store {
    /// Whether some approved request may be begun, some task is due, or some request is through; not while a
    /// recovery lasts.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn has_work(&self, kinds: &[&str], now: Timestamp) -> Result<bool> {
        sqlx::query_scalar(
            "SELECT NOT EXISTS (SELECT 1 FROM recovery) AND
                (EXISTS (SELECT 1 FROM requests WHERE status = 'approved' AND subject IS NOT NULL
                    AND (kind IN (SELECT value FROM json_each(?2))
                        OR EXISTS (SELECT 1 FROM corrections c WHERE c.request_id = requests.id)))
                OR EXISTS (SELECT 1 FROM tasks t JOIN requests r ON r.id = t.request_id
                    WHERE t.state = 'waiting' AND t.next_attempt_at <= ?1 AND r.status = 'executing')
                OR EXISTS (SELECT 1 FROM requests r WHERE r.status = 'executing' AND NOT EXISTS
                    (SELECT 1 FROM tasks t WHERE t.request_id = r.id AND t.state IN ('waiting', 'by_hand'))))",
        )
        .bind(now.as_second())
        .bind(serde_json::to_string(kinds)?)
        .fetch_one(&self.read)
        .await
        .context("Cannot read whether there is work")
    }

    /// The tasks of systems other than `local` that are due at `now`, the longest waiting first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn due_tasks(&self, local: &[&str], now: Timestamp) -> Result<Vec<Task>> {
        due_tasks(&self.read, local, false, now).await
    }

    /// The tasks of a request.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn tasks(&self, reference: &str) -> Result<Vec<TaskRow>> {
        sqlx::query_as(
            "SELECT source, state, attempts, next_attempt_at, outcome FROM tasks
             WHERE request_id = (SELECT id FROM requests WHERE reference = ?) ORDER BY id",
        )
        .bind(reference)
        .fetch_all(&self.read)
        .await
        .context("Cannot read the tasks of a request")
    }

    /// Records that a system is asked now. Answers whether it still has to be.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn mark_asked(&self, task: &Task, now: Timestamp) -> Result<bool> {
        let marked = sqlx::query(
            "UPDATE tasks SET asked_at = ? WHERE id = ? AND state = 'waiting'
                AND EXISTS (SELECT 1 FROM requests r WHERE r.id = tasks.request_id AND r.status = 'executing')",
        )
        .bind(now.as_second())
        .bind(task.id)
        .execute(&self.write)
        .await
        .context("Cannot record that a system is asked")?;
        Ok(marked.rows_affected() > 0)
    }

    /// Records of every task that is being asked that its answer is lost: to be called while nothing is, by the only
    /// process that asks.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn lose_answers(&self) -> Result<()> {
        let are_any: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM tasks WHERE state = 'waiting' AND asked_at IS NOT NULL)",
        )
        .fetch_one(&self.read)
        .await
        .context("Cannot read which systems were asked")?;
        if are_any {
            sqlx::query("UPDATE tasks SET asked_at = NULL, outcome = ? WHERE state = 'waiting' AND asked_at IS NOT NULL")
                .bind(LOST)
                .execute(&self.write)
                .await
                .context("Cannot record which answers of systems are lost")?;
        }
        Ok(())
    }

    /// Takes what was erased out of the write-ahead log as well; answers whether that is done. While somebody reads
    /// what was there before it cannot be, which SQLite says in a row and not as an error; then it stays due.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn truncate_log(&self) -> Result<bool> {
        let (is_busy, _, _): (bool, i64, i64) = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)")
            .fetch_one(&self.write)
            .await
            .context("Cannot empty the write-ahead log")?;
        let statement = match is_busy {
            true => "INSERT INTO meta (name, value) VALUES ('log_due', x'01') ON CONFLICT DO NOTHING",
            false => "DELETE FROM meta WHERE name = 'log_due'",
        };
        sqlx::query(statement)
            .execute(&self.write)
            .await
            .context("Cannot record whether the write-ahead log is empty")?;
        Ok(!is_busy)
    }

    /// The same, if an earlier attempt, by whatever process, could not do it.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn truncate_due_log(&self) -> Result<()> {
        let is_due: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM meta WHERE name = 'log_due')")
            .fetch_one(&self.read)
            .await
            .context("Cannot read whether the write-ahead log is empty")?;
        if is_due {
            self.truncate_log().await?;
        }
        Ok(())
    }
}

async fn due_tasks<'e>(
    executor: impl sqlx::Executor<'e, Database = sqlx::Sqlite>,
    local: &[&str],
    is_local: bool,
    now: Timestamp,
) -> Result<Vec<Task>> {
    #[derive(sqlx::FromRow)]
    struct Row {
        id: i64,
        source: String,
        attempts: u32,
        begun: i64,
        #[sqlx(flatten)]
        job: JobRow,
    }
    let rows: Vec<Row> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
        "SELECT t.id, t.source, t.attempts,
            (SELECT coalesce(max(e.at), 0) FROM request_events e WHERE e.request_id = t.request_id AND e.event = 'executing') AS begun,
            {JOB} JOIN tasks t ON t.request_id = r.id
         WHERE t.state = 'waiting' AND t.next_attempt_at <= ?1 AND r.status = 'executing'
            AND NOT EXISTS (SELECT 1 FROM recovery)
            AND (t.source IN (SELECT value FROM json_each(?2))) = ?3
         ORDER BY t.next_attempt_at LIMIT ?4"
    )))
    .bind(now.as_second())
    .bind(serde_json::to_string(local)?)
    .bind(is_local)
    .bind(AT_ONCE)
    .fetch_all(executor)
    .await
    .context("Cannot read which tasks are due")?;
    rows.into_iter()
        .map(|row| {
            Ok(Task {
                id: row.id,
                job: row.job.job()?,
                source: row.source,
                attempts: row.attempts,
                begun: Timestamp::from_second(row.begun)?,
            })
        })
        .collect()
}

impl Visit {
    /// Approved requests of this type that may be begun: they were approved at `approved_before` or earlier, and
    /// no earlier request of the same mail that it waits for is open; `kinds` names those. What destroys waits besides
    ///
    /// - for what is being carried out for the same person; `at_work` names the types;
    /// - for their every open request for a copy, `copies` names those, and until a server has taken their copy for
    ///   certain: it is made before what it copies is erased. A request that still awaits its proof counts where its mail
    ///   is authenticated: others could put an erasure off in somebody's name;
    /// - until a person has said what else its mail asks for;
    /// - until a person has read, and settled, what they have written since and no rule understands: "I changed my mind" is
    ///   said in more words than rules know, and a yes may answer an older mail than that.
    ///
    /// A correction waits until it is certain what to change.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn ready(
        &mut self,
        kind: &str,
        verb: Verb,
        kinds: &[&str],
        at_work: &[&str],
        copies: &[&str],
        approved_before: Timestamp,
    ) -> Result<Vec<Job>> {
        let rows: Vec<JobRow> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "SELECT {JOB}
             WHERE r.status = 'approved' AND r.kind = ?1 AND r.subject IS NOT NULL
                AND NOT EXISTS (SELECT 1 FROM recovery)
                AND coalesce((SELECT e.at FROM request_events e
                     WHERE e.request_id = r.id AND e.event IN ('approved', 'released', 'reclassified')
                     ORDER BY e.id DESC LIMIT 1), r.received_at) <= ?2
                AND NOT EXISTS (SELECT 1 FROM requests e WHERE e.message_id = r.message_id AND e.id < r.id
                    AND e.closed_at IS NULL AND e.kind IN (SELECT value FROM json_each(?3)))
                AND NOT (?5 AND (EXISTS (SELECT 1 FROM requests e WHERE e.message_id = r.message_id
                        AND e.status = 'held' AND e.kind IN (?9, ?10))
                    OR EXISTS (SELECT 1 FROM requests e WHERE e.subject = r.subject AND e.id <> r.id
                        AND e.closed_at IS NULL AND e.kind IN (SELECT value FROM json_each(?4))
                        AND (e.status <> 'awaiting_proof' OR EXISTS (SELECT 1 FROM messages a
                            WHERE a.id = e.message_id AND a.sender = e.subject AND a.proof IN ('dmarc', 'dkim'))
                            OR EXISTS (SELECT 1 FROM request_events p WHERE p.request_id = e.id AND p.event = 'subject')))
                    OR EXISTS (SELECT 1 FROM requests e WHERE e.subject = r.subject AND e.id <> r.id
                        AND e.status = 'executing' AND e.kind IN (SELECT value FROM json_each(?8)))
                    OR {}
                    OR EXISTS (SELECT 1 FROM outbox o WHERE o.recipient = r.subject AND o.template IN ('copy', 'categories')
                        AND o.state IN ('queued', 'transmitting', 'deferred', 'unknown'))))
                AND (?7 <> 'correct' OR EXISTS (SELECT 1 FROM corrections c WHERE c.request_id = r.id))
             ORDER BY r.id LIMIT ?6",
            unread_since!()
        )))
        .bind(kind)
        .bind(approved_before.as_second())
        .bind(serde_json::to_string(kinds)?)
        .bind(serde_json::to_string(copies)?)
        .bind(verb.destroys())
        .bind(AT_ONCE)
        .bind(verb.name())
        .bind(serde_json::to_string(at_work)?)
        .bind(UNCLEAR)
        .bind(FOLLOW_UP)
        .fetch_all(&mut *self.tx)
        .await
        .context("Cannot read which requests may be begun")?;
        rows.into_iter().map(JobRow::job).collect()
    }

    /// Begins a request: a task for each of `parts`. Those of an earlier attempt, before a person held it, are
    /// forgotten; what became of them is in its history.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn begin_work(&mut self, job: &Job, parts: &[Part<'_>]) -> Result<()> {
        let mut batch = Batch::default();
        batch.add("UPDATE requests SET status = 'executing' WHERE id = ?;")?.bind(job.request)?;
        batch.add("DELETE FROM tasks WHERE request_id = ?;")?.bind(job.request)?;
        for Part { source, by_hand } in parts {
            batch
                .add(
                    "INSERT INTO tasks (request_id, source, state, next_attempt_at, outcome, updated_at)
                     VALUES (?, ?, ?, ?, ?, ?);",
                )?
                .bind(job.request)?
                .bind((*source).to_owned())?
                .bind(by_hand.map_or("waiting", |_| TaskState::ByHand.name()))?
                .bind(self.now)?
                .bind(by_hand.unwrap_or_default())?
                .bind(self.now)?;
        }
        let names = |by_hand: bool| {
            let names = parts.iter().filter(|part| part.by_hand.is_some() == by_hand).map(|part| part.source);
            names.collect::<Vec<_>>().join(", ")
        };
        let said = [("asked", names(false)), ("for a person", names(true))];
        let said = said.iter().filter(|(_, names)| !names.is_empty());
        let said: Vec<String> = said.map(|(how, names)| format!("{how}: {names}")).collect();
        batch.event(job.request, self.now, "rule", "executing", &said.join("; "))?;
        batch.run(&mut self.tx).await.context("Cannot begin a request")
    }

    /// The tasks of `local` that are due.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn local_tasks(&mut self, local: &[&str]) -> Result<Vec<Task>> {
        let now = Timestamp::from_second(self.now)?;
        due_tasks(&mut *self.tx, local, true, now).await
    }

    /// The tasks of a request, for who settles them.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn open_tasks(&mut self, request: i64) -> Result<Vec<Open>> {
        let rows: Vec<(i64, String, String, bool, bool)> = sqlx::query_as(
            "SELECT id, source, state, asked_at IS NOT NULL,
                state IN ('waiting', 'by_hand') AND instr(outcome, ?1) = 1
             FROM tasks WHERE request_id = ?2 ORDER BY id",
        )
        .bind(LOST)
        .bind(request)
        .fetch_all(&mut *self.tx)
        .await
        .context("Cannot read the tasks of a request")?;
        let open = |(id, source, state, is_asked, is_lost): (_, _, String, _, _)| Open {
            id,
            request,
            source,
            state: TaskState::parse(&state),
            is_asked,
            is_lost,
        };
        Ok(rows.into_iter().map(open).collect())
    }

    /// Records what has become of a task: it is over, its system is asked again, or a person must do it.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn settle_task(
        &mut self,
        task: &Open,
        report: &Report,
        teller: Teller,
    ) -> Result<Option<TaskState>> {
        let (next, given_up, actor) = match teller {
            Teller::System { next } => (next, TaskState::ByHand, "rule"),
            Teller::Person => (None, TaskState::Failed, "person"),
        };
        let ended = match (report.outcome, report.kept.is_empty()) {
            (Outcome::Done, true) => Some(TaskState::Done),
            (Outcome::Nothing, true) => Some(TaskState::Nothing),
            (Outcome::Done | Outcome::Nothing, false) => Some(TaskState::Kept),
            (Outcome::Failed, _) => Some(given_up),
            (Outcome::Retry, _) => next.is_none().then_some(given_up),
        };
        let outcome = match ended {
            Some(TaskState::Kept) => serde_json::to_string(&report.kept)?,
            Some(TaskState::Done | TaskState::Nothing) => "[]".to_owned(),
            Some(TaskState::Failed | TaskState::ByHand) | None => report.reason.clone(),
        };
        let is_told = matches!(ended, Some(TaskState::Done | TaskState::Kept));
        let data = report.data.as_ref().filter(|_| is_told).map(serde_json::to_vec).transpose()?;
        let mut batch = Batch::default();
        batch
            .add(
                "UPDATE tasks SET state = ?, attempts = attempts + ?, next_attempt_at = ?,
                    outcome = iif(? AND instr(outcome, ?) = 1, ? || '; ', '') || ?, data = ?,
                    asked_at = NULL, updated_at = ?
                 WHERE id = ? AND state IN ('waiting', 'by_hand');",
            )?
            .bind(ended.map_or("waiting", TaskState::name))?
            .bind(i64::from(matches!(teller, Teller::System { .. })))?
            .bind(next.map_or(self.now, Timestamp::as_second))?
            // What it may have done before is not known either.
            .bind(matches!(ended, None | Some(TaskState::ByHand)))?
            .bind(LOST)?
            .bind(LOST)?
            .bind(outcome)?
            .bind(data)?
            .bind(self.now)?
            .bind(task.id)?;
        if let Some(ended) = ended {
            let reason = format!("{}: {}", task.source, ended.name());
            batch.event(task.request, self.now, actor, "task", &reason)?;
        }
        batch.run(&mut self.tx).await.context("Cannot record what a system says")?;
        Ok(ended)
    }

    /// The next request of which every system, and every person, has done their part. One at a time: copies may be
    /// large.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn through(&mut self) -> Result<Option<(Job, Vec<Ended>)>> {
        let row: Option<JobRow> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "SELECT {JOB} WHERE r.status = 'executing' AND NOT EXISTS
                (SELECT 1 FROM tasks t WHERE t.request_id = r.id AND t.state IN ('waiting', 'by_hand'))
                AND NOT EXISTS (SELECT 1 FROM recovery)
             ORDER BY r.id LIMIT 1"
        )))
        .fetch_optional(&mut *self.tx)
        .await
        .context("Cannot read which requests are through")?;
        let Some(job) = row.map(JobRow::job).transpose()? else { return Ok(None) };
        let tasks: Vec<(String, String, String, Option<Vec<u8>>)> =
            sqlx::query_as("SELECT source, state, outcome, data FROM tasks WHERE request_id = ? ORDER BY id")
                .bind(job.request)
                .fetch_all(&mut *self.tx)
                .await
                .context("Cannot read the tasks of a request")?;
        let ended = tasks.into_iter().map(|(source, state, outcome, data)| {
            Ok(Ended {
                source,
                state: TaskState::parse(&state).context("A stored task has no known state")?,
                kept: serde_json::from_str(&outcome).unwrap_or_default(),
                data: data.map(|data| serde_json::from_slice(&data)).transpose()?,
            })
        });
        let ended = ended.collect::<Result<_>>()?;
        Ok(Some((job, ended)))
    }

    /// Closes a request that is through, or gives it to a person. What was collected for it leaves the tasks: it
    /// is in the reply, and if there is none, a later approval collects it anew.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn end_work(
        &mut self,
        job: &Job,
        status: Status,
        reason: &str,
        reply: Option<&Outgoing>,
    ) -> Result<()> {
        let mut batch = Batch::default();
        batch
            .add("UPDATE requests SET status = ?, closed_at = ? WHERE id = ?;")?
            .bind(status.name())?
            .bind(status.is_closed().then_some(self.now))?
            .bind(job.request)?;
        batch.add("UPDATE tasks SET data = NULL WHERE request_id = ?;")?.bind(job.request)?;
        batch.event(job.request, self.now, "rule", status.name(), reason)?;
        if let Some(reply) = reply {
            batch.reply(job.message, reply, job.in_thread.saturating_add(1), self.now)?;
        }
        batch.run(&mut self.tx).await.context("Cannot close a request")
    }

    /// All that privacyd itself holds of a person.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn collect(&mut self, address: &Address) -> Result<Report> {
        let address = address.normalised();
        let contact: Option<String> = sqlx::query_scalar("SELECT fields FROM contacts WHERE address = ?")
            .bind(address.as_str())
            .fetch_optional(&mut *self.tx)
            .await
            .context("Cannot read a contact")?;
        let suppressed: Vec<(String, i64)> =
            sqlx::query_as("SELECT kind, created_at FROM suppressions WHERE address = ? ORDER BY kind")
                .bind(address.as_str())
                .fetch_all(&mut *self.tx)
                .await
                .context("Cannot read the suppression list")?;
        let requests: Vec<(String, String, String, i64)> = sqlx::query_as(
            "SELECT reference, kind, status, received_at FROM requests WHERE subject = ? ORDER BY id LIMIT 1000",
        )
        .bind(address.as_str())
        .fetch_all(&mut *self.tx)
        .await
        .context("Cannot read the requests of a person")?;
        let day = |at: i64| Timestamp::from_second(at).map(|at| at.to_string()).unwrap_or_default();
        let mut data = Map::new();
        if let Some(fields) = contact {
            data.insert("contact".into(), serde_json::from_str(&fields)?);
        }
        if !suppressed.is_empty() {
            let list = suppressed.iter().map(|(kind, at)| json!({ "gets_no": kind, "since": day(*at) }));
            data.insert("opt_outs".into(), list.collect());
        }
        let list = requests.iter().map(|(reference, kind, status, at)| {
            json!({ "reference": reference, "type": kind, "status": status, "received": day(*at) })
        });
        data.insert("requests".into(), list.collect());
        Ok(Report { data: Some(Value::Object(data)), ..Report::of(Outcome::Done) })
    }

    /// Whether the contact of this address says in `column`, written in whatever case, that nothing of it may be
    /// erased.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn is_on_hold(&mut self, address: &Address, column: &str) -> Result<bool> {
        let fields: Vec<(String, String)> = sqlx::query_as(
            "SELECT f.key, CAST(f.value AS TEXT) FROM contacts, json_each(contacts.fields) AS f
             WHERE address = ? AND f.value IS NOT NULL",
        )
        .bind(address.normalised().as_str())
        .fetch_all(&mut *self.tx)
        .await
        .context("Cannot read whether a contact is on hold")?;
        let bare = |text: &str| text.trim().to_lowercase();
        let is_held = |value: &str| !matches!(bare(value).as_str(), "" | "0" | "no" | "false");
        Ok(fields.iter().any(|(name, value)| bare(name) == bare(column) && is_held(value)))
    }

    /// Erases what privacyd itself holds of a person, but for the record of the requests and that the address
    /// gets no more mail, and leaves a tombstone.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn erase(&mut self, request: i64, subject: &Address, key: &[u8; 32]) -> Result<Report> {
        let address = subject.normalised();
        let erased = sqlx::query("DELETE FROM contacts WHERE address = ?")
            .bind(address.as_str())
            .execute(&mut *self.tx)
            .await
            .context("Cannot erase a contact")?;
        let mut batch = Batch::default();
        batch.add(EMPTY_LETTERS)?.bind(self.now)?.bind(address.to_string())?.bind(self.now)?;
        batch
            .add("UPDATE tasks SET data = NULL WHERE request_id IN (SELECT id FROM requests WHERE subject = ?);")?
            .bind(address.to_string())?;
        batch
            .add("DELETE FROM corrections WHERE request_id IN (SELECT id FROM requests WHERE subject = ?);")?
            .bind(address.to_string())?;
        batch
            .add(
                "INSERT INTO tombstones (address_hmac, request_id, created_at) VALUES (?, ?, ?)
                 ON CONFLICT (address_hmac) DO NOTHING;",
            )?
            .bind(tombstone(key, &address)?.to_vec())?
            .bind(request)?
            .bind(self.now)?;
        batch.run(&mut self.tx).await.context("Cannot erase a contact")?;
        Ok(Report::of(if erased.rows_affected() > 0 { Outcome::Done } else { Outcome::Nothing }))
    }

    /// Marks a person as one of whom nothing is used: no mail, no advertising, and what else a system that asks
    /// for the list does.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn restrict(&mut self, request: i64, subject: &Address) -> Result<Report> {
        let mut batch = Batch::default();
        for kind in RESTRICTION {
            batch
                .add(SUPPRESS)?
                .bind(subject.normalised().to_string())?
                .bind(kind)?
                .bind("mail")?
                .bind(request)?
                .bind(self.now)?;
        }
        batch.run(&mut self.tx).await.context("Cannot mark a person as restricted")?;
        Ok(Report::of(Outcome::Done))
    }
}
