//! What a person's own hand needs of the store: all that is known of one request, and what is done with it,
//! in one transaction with its history, its clocks, its tasks and the mail about it.
//!
//! What a system is being asked is not touched here. What systems had done before a request was held stays on record; a
//! later approval asks all of them anew. Once it is another request, by its type or by whose it is, only its history tells.

use std::collections::HashMap;

use anyhow::{Context, Result};
use jiff::Timestamp;
use sqlx::FromRow;

use super::Store;
use super::clocks::Case;
use super::proof::Challenge;
use super::tasks::Open;
use super::to_read::{to_read, unread_since};
use super::visit::{Batch, Visit};
use crate::clock::Timetable;
use crate::decide::{CONFIRM, Planned, Proven, REMINDER};
use crate::evidence::Proof;
use crate::ladder::{Change, Denial, NAMES_ANOTHER, Status, Step, WHOSE};
use crate::mailbox::Mark;
use crate::reply::Outgoing;
use crate::request::{Action, Table};
use crate::sender::Address;

/// A request, as far as a person's decision about it depends on it.
#[derive(Debug, Clone)]
pub struct Grip {
    /// What its clocks depend on, and what it is.
    pub case: Case,
    /// The step of the ladder that was reached.
    pub proof_given: u8,
    /// What proves who wrote its mail.
    pub proof: Proof,
    /// Whether it is the request of whoever wrote that mail.
    pub is_senders: bool,
    /// Letters with a code that have gone out for it.
    pub letters: u32,
    /// Whether all of them came back undelivered.
    pub is_undelivered: bool,
    /// When it was last held, in seconds since 1970 UTC.
    pub held_at: Option<i64>,
    /// Why it was denied.
    pub denied: Option<String>,
    /// What was noted, if that is the last that has happened to it.
    pub noted: Option<String>,
    /// Whether its mail names another address than its sender's, and nobody has said yet whose request it is.
    pub names_another: bool,
    /// What its systems have to do or have done, since it was last begun.
    pub tasks: Vec<Open>,
}

#[derive(FromRow)]
struct GripRow {
    proof_given: u8,
    proof: String,
    is_senders: bool,
    letters: u32,
    is_undelivered: bool,
    held_at: Option<i64>,
    denied: Option<String>,
    noted: Option<String>,
    names_another: bool,
}

/// A letter that goes out with what is done, and the code in it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The question.
    pub letter: Outgoing,
    /// What is kept of its code.
    pub challenge: Challenge,
}

/// A request that becomes one of another type.
#[derive(Debug)]
pub struct Reclassified<'a> {
    /// What it was.
    pub case: &'a Case,
    /// What it is from now on.
    pub planned: &'a Planned,
    /// The step of the ladder that its mail alone has reached.
    pub proof_given: u8,
    /// From what, to what, how, and what was done for it before: for its history.
    pub reason: &'a str,
    /// The question, if one goes out.
    pub asked: Option<&'a Asked>,
    /// Any other reply.
    pub reply: Option<&'a Outgoing>,
}

/// A mail in the ledger, and the requests that it has opened.
#[derive(Debug)]
pub struct Opened {
    /// What it turned out to be.
    pub disposition: String,
    /// The types of its requests, or of those it is about.
    pub kind: String,
    /// When our server received it.
    pub received: Timestamp,
    /// Reference, type and status of its own requests.
    pub requests: Vec<(String, String, Status)>,
    /// Whether its sender is known.
    pub has_sender: bool,
    /// Whether what the ledger knew of it is purged, its requests perhaps as well.
    pub is_purged: bool,
}

impl Store {
    /// How far the folders of a mailbox have been looked through.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn folder_marks(&self, mailbox: &str) -> Result<HashMap<String, Mark>> {
        let rows: Vec<(String, u32, u32)> =
            sqlx::query_as("SELECT folder, validity, uid_next FROM folder_marks WHERE mailbox = ?")
                .bind(mailbox)
                .fetch_all(&self.read)
                .await
                .context("Cannot read how far the folders have been looked through")?;
        Ok(rows
            .into_iter()
            .map(|(folder, validity, uid_next)| (folder, Mark { validity, uid_next }))
            .collect())
    }
}

impl Visit {
    /// Records how far a folder has been looked through.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn mark_folder(&mut self, mailbox: &str, folder: &str, mark: Mark) -> Result<()> {
        sqlx::query(
            "INSERT INTO folder_marks (mailbox, folder, validity, uid_next) VALUES (?, ?, ?, ?)
             ON CONFLICT (mailbox, folder) DO UPDATE SET validity = excluded.validity, uid_next = excluded.uid_next",
        )
        .bind(mailbox)
        .bind(folder)
        .bind(mark.validity)
        .bind(mark.uid_next)
        .execute(&mut *self.tx)
        .await
        .context("Cannot record how far a folder has been looked through")
        .map(drop)
    }

    /// Records that a mail lies in another folder now, and answers what it has opened.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn moved(&mut self, message: i64, folder: &str) -> Result<Opened> {
        sqlx::query("UPDATE messages SET folder = ?, filed = 1 WHERE id = ?")
            .bind(folder)
            .bind(message)
            .execute(&mut *self.tx)
            .await
            .context("Cannot record where a mail lies")?;
        self.opened(message).await?.context("A mail of the ledger is gone")
    }

    /// What a mail of the ledger has opened; `None` where there is no such mail.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn opened(&mut self, message: i64) -> Result<Option<Opened>> {
        let row: Option<(String, String, i64, bool, bool)> =
            sqlx::query_as("SELECT disposition, kind, received_at, sender IS NOT NULL, purged_at IS NOT NULL FROM messages WHERE id = ?")
                .bind(message)
                .fetch_optional(&mut *self.tx)
                .await
                .context("Cannot read a mail of the ledger")?;
        let Some((disposition, kind, received, has_sender, is_purged)) = row else { return Ok(None) };
        let rows: Vec<(String, String, String)> =
            sqlx::query_as("SELECT reference, kind, status FROM requests WHERE message_id = ? ORDER BY id")
                .bind(message)
                .fetch_all(&mut *self.tx)
                .await
                .context("Cannot read the requests of a mail")?;
        let requests = rows.into_iter().map(|(reference, kind, status)| {
            Ok((reference, kind, Status::parse(&status).context("A stored request has no known status")?))
        });
        Ok(Some(Opened {
            disposition,
            kind,
            received: Timestamp::from_second(received)?,
            requests: requests.collect::<Result<_>>()?,
            has_sender,
            is_purged,
        }))
    }

    /// Opens a request for a mail in which nothing was found: held, for a person to say what it is.
    ///
    /// # Errors
    /// The database does not work, or the reference is taken.
    pub async fn adopt(&mut self, message: i64, reference: &str, timetable: &Timetable) -> Result<()> {
        let answer = &timetable.answer;
        let request: i64 = sqlx::query_scalar(
            "INSERT INTO requests (reference, message_id, kind, status, proof_needed, proof_given, words, subject,
                language, confidence, received_at, due_on, due_source)
             SELECT ?, id, 'unclear', 'held', 0, 0, zeroblob(32), sender, coalesce(language, 'und'), 0, received_at, ?, ?
             FROM messages WHERE id = ? RETURNING id",
        )
        .bind(reference)
        .bind(answer.due.to_string())
        .bind(&answer.source)
        .bind(message)
        .fetch_one(&mut *self.tx)
        .await
        .context("Cannot open a request for a mail")?;
        let mut batch = Batch::default();
        batch.add("UPDATE messages SET glanced = 0, to_read = 0 WHERE id = ?;")?.bind(message)?;
        batch.event(request, self.now, "person", "received", "a person has seen a request in it")?;
        for deadline in timetable.owed() {
            batch.deadline(request, &deadline)?;
        }
        batch.run(&mut self.tx).await.context("Cannot open a request for a mail")
    }

    /// The request of this reference.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn grip(&mut self, reference: &str) -> Result<Option<Grip>> {
        let Some(case) = self.case(reference).await? else { return Ok(None) };
        let row: GripRow = sqlx::query_as(
            "SELECT r.proof_given, m.proof, r.subject IS NOT NULL AND r.subject = m.sender AS is_senders,
                (SELECT count(*) FROM challenges c WHERE c.request_id = r.id) AS letters,
                (SELECT count(*) > 0 AND count(*) = sum(o.state IN ('bounced', 'unknown')) FROM outbox o
                    WHERE o.template IN ('confirm', 'reminder') AND o.recipient = r.subject
                      AND (o.message_id = r.message_id OR o.reference = r.reference)) AS is_undelivered,
                (SELECT max(e.at) FROM request_events e WHERE e.request_id = r.id AND e.event = 'held') AS held_at,
                (SELECT e.reason FROM request_events e WHERE e.request_id = r.id AND e.event = 'denied') AS denied,
                (SELECT e.reason FROM request_events e
                    WHERE e.id = (SELECT max(id) FROM request_events l WHERE l.request_id = r.id)
                      AND e.event = 'note' AND e.actor = 'person') AS noted,
                EXISTS (SELECT 1 FROM request_events e
                        WHERE e.request_id = r.id AND e.event = 'held' AND e.reason IN (?, ?))
                    AND NOT EXISTS (SELECT 1 FROM request_events e
                        WHERE e.request_id = r.id AND e.event = 'subject') AS names_another
             FROM requests r JOIN messages m ON m.id = r.message_id WHERE r.id = ?",
        )
        .bind(NAMES_ANOTHER)
        .bind(WHOSE)
        .bind(case.id)
        .fetch_one(&mut *self.tx)
        .await
        .context("Cannot read what is known of the request")?;
        let tasks = self.open_tasks(case.id).await?;
        let proof = [Proof::Dmarc, Proof::Dkim, Proof::Conflict];
        Ok(Some(Grip {
            case,
            proof_given: row.proof_given,
            proof: proof.into_iter().find(|proof| proof.name() == row.proof).unwrap_or(Proof::None),
            is_senders: row.is_senders,
            letters: row.letters,
            is_undelivered: row.is_undelivered,
            held_at: row.held_at,
            denied: row.denied,
            noted: row.noted,
            names_another: row.names_another,
            tasks,
        }))
    }

    /// Approves a request up to a step of the ladder, as a person's word for its proof.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn approve_by_hand(&mut self, proof: u8, proven: &Proven, reason: String) -> Result<()> {
        let mut batch = Batch::default();
        batch.step(&by_person(proven.request, Change::Approve { proof }, reason), self.now, None)?;
        batch.proven(proven, self.now)?;
        batch.run(&mut self.tx).await.context("Cannot record the approval")
    }

    /// Whether the sender of this request has written since it came what nobody has read, or settled.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn has_unread(&mut self, request: i64) -> Result<bool> {
        sqlx::query_scalar(concat!("SELECT ", unread_since!(), " FROM requests r WHERE r.id = ?"))
            .bind(request)
            .fetch_one(&mut *self.tx)
            .await
            .context("Cannot read whether something of somebody is to be read")
    }

    /// Takes back the questions about this request that are still to be sent, before a person decides on it, unless
    /// another one of the same mail and person waits for the same answer.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn drop_questions(&mut self, request: i64) -> Result<()> {
        sqlx::query(
            "DELETE FROM outbox WHERE state IN ('queued', 'deferred') AND template IN (?1, ?2)
                AND reference IN (SELECT f.reference FROM requests f JOIN requests r ON r.message_id = f.message_id
                    AND r.subject IS f.subject WHERE r.id = ?3)
                AND NOT EXISTS (SELECT 1 FROM requests f JOIN requests r ON r.message_id = f.message_id
                    AND r.subject IS f.subject
                    WHERE f.reference = outbox.reference AND r.status = 'awaiting_proof' AND r.id <> ?3)",
        )
        .bind(CONFIRM)
        .bind(REMINDER)
        .bind(request)
        .execute(&mut *self.tx)
        .await
        .context("Cannot take questions back")
        .map(drop)
    }

    /// Records whose request it is, as a person says. Codes that went to anybody else, and what they were to
    /// confirm, are worth nothing for it; and what was done for somebody else, as `reason` says, is forgotten.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn set_subject(
        &mut self,
        case: &Case,
        subject: &Address,
        table: &Table,
        reason: &str,
    ) -> Result<()> {
        let subject = subject.normalised();
        let request = case.id;
        // While it is known whom they were to ask.
        self.drop_questions(request).await?;
        let mut batch = Batch::default();
        batch
            .add("UPDATE requests SET subject = ?, proof_given = 0, proven_at = NULL WHERE id = ?;")?
            .bind(subject.to_string())?
            .bind(request)?
            .add("DELETE FROM challenges WHERE request_id = ?;")?
            .bind(request)?;
        batch.corrections(request, &[])?;
        if case.subject.as_ref() != Some(&subject) {
            batch.forget_work(request, table)?;
        }
        batch.event(request, self.now, "person", "subject", reason)?;
        batch.run(&mut self.tx).await.context("Cannot record whose request it is")
    }

    /// Declines a request, with the reply that says so where somebody can be told.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn deny(
        &mut self,
        case: &Case,
        denial: Denial,
        table: &Table,
        reply: Option<&Outgoing>,
    ) -> Result<()> {
        let mut batch = Batch::default();
        let flag = (denial == Denial::SuspectedFraud).then(|| denial.name());
        batch
            .add(
                "UPDATE requests SET status = 'denied', flag = coalesce(?, flag), closed_at = ?, remind_at = NULL
                 WHERE id = ?;",
            )?
            .bind(flag)?
            .bind(self.now)?
            .bind(case.id)?;
        batch.event(case.id, self.now, "person", "denied", denial.name())?;
        batch.abandon_tasks(case.id, self.now)?;
        // A restriction marks its person when it begins.
        batch.unsuppress(case.id, table)?;
        if let Some(reply) = reply {
            batch.reply(case.message, reply, case.in_thread.saturating_add(1), self.now)?;
        }
        batch.run(&mut self.tx).await.context("Cannot record the denial")
    }

    /// Closes a request that its sender has taken back, as `reason` says, and takes back what it has marked.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn withdraw(&mut self, case: &Case, reason: String, table: &Table) -> Result<()> {
        let mut batch = Batch::default();
        batch.step(&by_person(case.id, Change::Withdraw { fraud: false }, reason), self.now, None)?;
        // A restriction marks its person when it begins.
        batch.unsuppress(case.id, table)?;
        batch.run(&mut self.tx).await.context("Cannot record the withdrawal")
    }

    /// Holds or completes a request.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn stop(&mut self, case: &Case, change: Change, reason: String) -> Result<()> {
        let mut batch = Batch::default();
        batch.step(&by_person(case.id, change, reason), self.now, None)?;
        batch.run(&mut self.tx).await.context("Cannot record what was done with the request")
    }

    /// Carries out a held request whose type is done at once, such as an opt-out, with the reply that says so.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn carry_out(
        &mut self,
        case: &Case,
        action: Action,
        reason: &str,
        reply: Option<&Outgoing>,
    ) -> Result<()> {
        let mut batch = Batch::default();
        // Who has no address was told, or taken off a list, by a person.
        if case.subject.is_some() {
            batch.suppress(case.subject.as_ref(), action, case.id, self.now)?;
        }
        batch.step(&by_person(case.id, Change::Complete, reason.to_owned()), self.now, None)?;
        if let Some(reply) = reply {
            batch.reply(case.message, reply, case.in_thread.saturating_add(1), self.now)?;
        }
        batch.run(&mut self.tx).await.context("Cannot carry the request out")
    }

    /// Lets a held request go on: approved, since its proof has come before. `how` is added to its history.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn release_approved(&mut self, case: &Case, proof: u8, how: &str) -> Result<()> {
        let mut batch = Batch::default();
        let why = format!("its proof has come before{how}");
        batch.event(case.id, self.now, "person", "released", &why)?;
        batch.step(&by_person(case.id, Change::Approve { proof }, "released".to_owned()), self.now, None)?;
        batch.run(&mut self.tx).await.context("Cannot record the release")
    }

    /// Lets a held request wait for its proof again: with a new question where `asked` has one, otherwise
    /// with the codes that went out. The time it was held does not count. `how` is added to its history.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn release_waiting(&mut self, grip: &Grip, asked: Option<&Asked>, how: &str) -> Result<()> {
        let case = &grip.case;
        let mut batch = Batch::default();
        let held_for = grip.held_at.map_or(0, |at| (self.now - at).max(0));
        if asked.is_some() {
            // The question begins anew.
            batch.add(
                "UPDATE requests SET status = 'awaiting_proof', asked_at = NULL, proof_until = NULL, remind_at = NULL
                 WHERE id = ?;",
            )?;
        } else {
            batch
                .add(
                    "UPDATE requests SET status = 'awaiting_proof', asked_at = asked_at + ?, proof_until = proof_until + ?,
                        remind_at = iif((SELECT count(*) FROM challenges WHERE request_id = requests.id) = 1,
                            (? + proof_until + ?) / 2, NULL)
                     WHERE id = ?;",
                )?
                .bind(held_for)?
                .bind(held_for)?
                .bind(self.now)?
                .bind(held_for)?;
        }
        batch.bind(case.id)?;
        let why = match asked {
            None => "its codes are good again",
            Some(_) if grip.letters == 0 => "asked to confirm it",
            Some(_) => "asked once more",
        };
        batch.event(case.id, self.now, "person", "released", &format!("{why}{how}"))?;
        if let (Some(asked), Some(subject)) = (asked, &case.subject) {
            batch.corrections(case.id, &[])?;
            batch.challenge(case.id, subject, &asked.challenge, self.now)?;
            batch.reply(case.message, &asked.letter, case.in_thread.saturating_add(1), self.now)?;
        }
        batch.run(&mut self.tx).await.context("Cannot record the release")
    }

    /// Makes a request one of another type, as if its mail had been understood so. Codes that went out for
    /// the old type are worth nothing for the new one, and what was done for it is forgotten.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn reclassify(&mut self, new: &Reclassified<'_>, table: &Table) -> Result<()> {
        let Reclassified { case, planned, proof_given, reason, asked, reply } = new;
        let done = planned.status == Status::Completed;
        self.drop_questions(case.id).await?;
        let mut batch = Batch::default();
        batch
            .add(
                "UPDATE requests SET kind = ?, status = ?, proof_needed = ?, proof_given = ?, confidence = ?,
                    due_on = ?, due_source = ?, asked_at = NULL, proof_until = NULL, remind_at = NULL,
                    proven_at = NULL, by_hand = ?, closed_at = ? WHERE id = ?;",
            )?
            .bind(planned.kind.clone())?
            .bind(planned.status.name())?
            .bind(planned.proof_needed)?
            .bind(*proof_given)?
            .bind(planned.confidence)?
            .bind(planned.due.to_string())?
            .bind(planned.due_source.clone())?
            .bind(planned.by_hand)?
            .bind(done.then_some(self.now))?
            .bind(case.id)?;
        batch.add("DELETE FROM challenges WHERE request_id = ?;")?.bind(case.id)?;
        batch.add("DELETE FROM deadlines WHERE request_id = ?;")?.bind(case.id)?;
        batch.corrections(case.id, &[])?;
        batch.forget_work(case.id, table)?;
        batch.event(case.id, self.now, "person", "reclassified", reason)?;
        match planned.status {
            Status::Held => {
                let why = planned.held_because.unwrap_or("a person must look");
                batch.event(case.id, self.now, "rule", "held", why)?;
            }
            Status::AwaitingProof => {
                let why = "the address it concerns must confirm it";
                batch.event(case.id, self.now, "rule", "asked", why)?;
            }
            Status::Approved => {
                let change = Change::Approve { proof: *proof_given };
                let reason = "its mail proves as much as its type asks for".to_owned();
                batch.step(&Step { request: case.id, actor: "rule", change, reason }, self.now, None)?;
            }
            _ => {}
        }
        if done {
            batch.suppress(case.subject.as_ref(), planned.action, case.id, self.now)?;
            batch.event(case.id, self.now, "rule", "completed", "carried out at once")?;
        } else {
            for deadline in &planned.owed {
                batch.deadline(case.id, deadline)?;
            }
        }
        if let (Some(asked), Some(subject)) = (asked, &case.subject) {
            batch.challenge(case.id, subject, &asked.challenge, self.now)?;
        }
        if let Some(letter) = asked.map(|asked| &asked.letter).or(*reply) {
            batch.reply(case.message, letter, case.in_thread.saturating_add(1), self.now)?;
        }
        batch.run(&mut self.tx).await.context("Cannot record the new type")
    }

    /// Writes the operator's words into the history of a request.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn note(&mut self, request: i64, text: &str) -> Result<()> {
        let mut batch = Batch::default();
        batch.event(request, self.now, "person", "note", text)?;
        batch.run(&mut self.tx).await.context("Cannot record the note")
    }
}

impl Batch {
    /// Forgets what systems have to do or have done for a request, and what that has marked.
    fn forget_work(&mut self, request: i64, table: &Table) -> Result<&mut Self> {
        self.add("DELETE FROM tasks WHERE request_id = ?;")?.bind(request)?.unsuppress(request, table)
    }
}

fn by_person(request: i64, change: Change, reason: String) -> Step {
    Step { request, actor: "person", change, reason }
}
