//! One transaction of the corridor: everything that a handful of mails causes, or nothing of it.
//!
//! ## Why a handful, and why one statement batch per mail
//! A commit costs the same for one mail as for a hundred, and so does the way to SQLite's thread
//! and back. So some of a window's mails share one transaction, and what one mail causes is a single batch between
//! a savepoint and its release: a mail that cannot be recorded takes nobody along.

use std::collections::HashMap;

use anyhow::{Context, Result};
use jiff::Timestamp;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, AssertSqlSafe, Encode, Row, Sqlite, Transaction, Type};

use super::proof::Challenge;
use super::{Store, audit};
use crate::decide::Decision;
use crate::evidence::{Evidence, Proof};
use crate::ladder::{Change, Status, Step};
use crate::mailbox::{Kind, MailId};
use crate::message::MessageId;
use crate::reply::Outgoing;
use crate::request::{Action, Table, Verb};
use crate::sender::Address;

/// The identity of a mail: what was fetched of it, and its whole size.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// SHA-256 of the fetched bytes.
    pub digest: [u8; 32],
    /// Bytes of the whole mail.
    pub size: i64,
    /// The same for two deliveries of one letter.
    pub letter: Option<[u8; 32]>,
}

/// A mail that has been here before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its row in the ledger.
    pub id: i64,
    /// The folder it belongs into.
    pub folder: String,
    /// The very same bytes; otherwise another delivery of the same letter.
    pub same_mail: bool,
    /// It was found outside the inbox and left there: nothing was decided about it, nor has a person done so.
    pub is_glanced: bool,
}

impl Known {
    /// What is known of a mail by its bytes and by its letter. One that was only glanced at may have come by another
    /// way too, and been decided about there.
    pub fn of(by_bytes: Option<&Self>, by_letter: Option<&Self>) -> Option<Self> {
        match (by_bytes, by_letter) {
            (Some(bytes), Some(letter)) if bytes.is_glanced && !letter.is_glanced => {
                Some(Self { is_glanced: false, folder: letter.folder.clone(), ..bytes.clone() })
            }
            (bytes, letter) => bytes.or(letter).cloned(),
        }
    }
}

/// What is recorded of one mail.
#[derive(Debug)]
pub struct Entry<'a> {
    /// Where it lies.
    pub mailbox: &'a str,
    /// UIDVALIDITY there.
    pub validity: u32,
    /// Its id there.
    pub mail_id: &'a MailId,
    /// Who it is.
    pub identity: &'a Identity,
    /// Its Message-ID, if sound.
    pub message_id: Option<&'a MessageId>,
    /// Who wrote it, if that is known.
    pub sender: Option<&'a Address>,
    /// What proves that; `None` for a mail that was not read.
    pub evidence: Option<&'a Evidence>,
    /// When our server received it.
    pub received: Timestamp,
    /// The language of its words, if that is known.
    pub language: Option<&'a str>,
    /// The name of its folder.
    pub folder: &'a str,
    /// All that follows from it.
    pub decision: &'a Decision,
    /// One reference for each of the decision's requests.
    pub references: &'a [String],
    /// A digest of its own words.
    pub words: [u8; 32],
    /// A digest of their letters alone, to know a program's form by.
    pub wording: Option<&'a [u8; 32]>,
    /// The replies.
    pub replies: &'a [Outgoing],
    /// How many mails of ours there are in the thread, these counted.
    pub in_thread: u32,
    /// The code that goes out with them, if they ask for one.
    pub challenge: Option<&'a Challenge>,
    /// It stays where it was found, and nothing is decided about it.
    pub is_glanced: bool,
    /// The row of the same mail that was only glanced at, whose place this takes.
    pub in_place_of: Option<i64>,
}

/// Why one mail could not be recorded. The others of its window are untouched.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Somebody has this reference already: choose another.
    #[error("the reference is taken")]
    ReferenceTaken,
    /// The database refused this mail's rows.
    #[error("the database refused the rows: {0}")]
    Refused(String),
    /// The database itself does not work: nothing of the window may stand.
    #[error("the database does not work: {0}")]
    Broken(String),
}

/// A transaction that holds the write lock.
#[derive(Debug)]
pub struct Visit {
    pub(super) tx: Transaction<'static, Sqlite>,
    pub(super) now: i64,
    last_message: i64,
    last_request: i64,
}

impl Store {
    /// Begins a visit at time `now`.
    ///
    /// # Errors
    /// The database is locked or does not work.
    pub async fn visit(&self, now: Timestamp) -> Result<Visit> {
        let mut tx = self.begin().await?;
        // Ids are given here and not by SQLite, so that one batch can name the rows it has just made.
        let (last_message, last_request): (i64, i64) = sqlx::query_as(
            "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'messages'), 0),
                    coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'requests'), 0)",
        )
        .fetch_one(&mut *tx)
        .await
        .context("Cannot read the last ids")?;
        Ok(Visit { tx, now: now.as_second(), last_message, last_request })
    }

    /// How many looks at each of these mails were begun and not seen to end, in their order.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn earlier_attempts(&self, mailbox: &str, validity: u32, ids: &[&MailId]) -> Result<Vec<u32>> {
        let rows: Vec<(String, u32)> = sqlx::query_as(
            "SELECT mail_id, tries FROM attempts
             WHERE mailbox = ? AND validity = ? AND mail_id IN (SELECT value FROM json_each(?))",
        )
        .bind(mailbox)
        .bind(validity)
        .bind(json_list(ids)?)
        .fetch_all(&self.read)
        .await
        .context("Cannot read earlier attempts")?;
        let tries: HashMap<String, u32> = rows.into_iter().collect();
        Ok(ids.iter().map(|id| tries.get(&id.to_string()).copied().unwrap_or(0)).collect())
    }

    /// Commits that these mails are about to be looked at.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn count_attempts(&self, mailbox: &str, validity: u32, ids: &[&MailId]) -> Result<()> {
        sqlx::query(
            "INSERT INTO attempts (mailbox, validity, mail_id, tries)
             SELECT ?, ?, value, 1 FROM json_each(?) WHERE true
             ON CONFLICT DO UPDATE SET tries = tries + 1",
        )
        .bind(mailbox)
        .bind(validity)
        .bind(json_list(ids)?)
        .execute(&self.write)
        .await
        .context("Cannot record the attempt")
        .map(drop)
    }

    /// Forgets the attempts at a mail: it was looked at and the process is still there.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn forget_attempts(&self, mailbox: &str, validity: u32, id: &MailId) -> Result<()> {
        sqlx::query("DELETE FROM attempts WHERE mailbox = ? AND validity = ? AND mail_id = ?")
            .bind(mailbox)
            .bind(validity)
            .bind(id.to_string())
            .execute(&self.write)
            .await
            .context("Cannot forget the attempts")
            .map(drop)
    }

    /// Mails that are recorded but perhaps not filed: what a crash between the two leaves behind.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn unfiled(&self, mailbox: &str, kind: Kind, validity: u32) -> Result<Vec<(MailId, String)>> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT mail_id, folder FROM messages WHERE mailbox = $1 AND validity = $2 AND filed = 0
             UNION ALL
             SELECT c.mail_id, folder FROM copies c JOIN messages m ON m.id = c.message_id
             WHERE c.mailbox = $1 AND c.validity = $2
             LIMIT 10000",
        )
        .bind(mailbox)
        .bind(validity)
        .fetch_all(&self.read)
        .await
        .context("Cannot read which mails are not filed yet")?;
        rows.into_iter().map(|(id, folder)| Ok((MailId::parse(kind, &id)?, folder))).collect()
    }

    /// Records that these mails are in their folders.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn filed(&self, mailbox: &str, validity: u32, ids: &[&MailId]) -> Result<()> {
        let mut batch = Batch::default();
        batch
            .add(
                "UPDATE messages SET filed = 1 WHERE mailbox = ? AND validity = ? AND filed = 0
                 AND mail_id IN (SELECT value FROM json_each(?));",
            )?
            .bind(mailbox.to_owned())?
            .bind(validity)?
            .bind(json_list(ids)?)?
            // Where the numbers have changed, the old ones lead nowhere.
            .add(
                "DELETE FROM copies WHERE mailbox = ?
                 AND (validity <> ? OR mail_id IN (SELECT value FROM json_each(?)))",
            )?
            .bind(mailbox.to_owned())?
            .bind(validity)?
            .bind(json_list(ids)?)?;
        let mut tx = self.begin().await?;
        batch.run(&mut tx).await.context("Cannot record what is filed")?;
        tx.commit().await.context("Cannot commit what is filed")
    }
}

impl Visit {
    /// Which of these mails have been here before; the answer is in their order.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn known(&mut self, identities: &[&Identity]) -> Result<Vec<Option<Known>>> {
        let digests: Vec<String> = identities.iter().map(|identity| hex(&identity.digest)).collect();
        let letters: Vec<String> =
            identities.iter().filter_map(|identity| identity.letter.as_ref()).map(|l| hex(l)).collect();
        let rows = sqlx::query(
            "SELECT id, digest, size, letter_digest, folder, glanced FROM messages
             WHERE digest IN (SELECT unhex(value) FROM json_each($1))
             UNION
             SELECT id, digest, size, letter_digest, folder, glanced FROM messages
             WHERE letter_digest IN (SELECT unhex(value) FROM json_each($2))
             ORDER BY glanced DESC, id DESC",
        )
        .bind(serde_json::to_string(&digests)?)
        .bind(serde_json::to_string(&letters)?)
        .fetch_all(&mut *self.tx)
        .await
        .context("Cannot look the mails up in the ledger")?;
        let mut mails: HashMap<(Vec<u8>, i64), Known> = HashMap::new();
        let mut by_letter: HashMap<Vec<u8>, Known> = HashMap::new();
        for row in rows {
            let (id, folder, is_glanced) = (row.try_get(0)?, row.try_get(4)?, row.try_get(5)?);
            let known = Known { id, folder, same_mail: true, is_glanced };
            mails.insert((row.try_get(1)?, row.try_get(2)?), known.clone());
            if let Some(letter) = row.try_get::<Option<Vec<u8>>, _>(3)? {
                by_letter.insert(letter, Known { same_mail: false, ..known });
            }
        }
        Ok(identities
            .iter()
            .map(|identity| {
                let by_bytes = mails.get(&(identity.digest.to_vec(), identity.size));
                Known::of(by_bytes, identity.letter.and_then(|letter| by_letter.get(letter.as_slice())))
            })
            .collect())
    }

    /// How many replies have been queued in the last 24 hours: to each of these addresses or, wherever it
    /// wished them, to a mail of its own; and to senders whom nothing authenticated, by domain.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn replies_today(
        &mut self,
        addresses: &[&Address],
    ) -> Result<(HashMap<Address, u32>, HashMap<String, u32>)> {
        let since = self.now - 24 * 60 * 60;
        let list: Vec<Address> = addresses.iter().map(|address| address.normalised()).collect();
        let by_address: Vec<(String, u32)> = sqlx::query_as(
            "SELECT address, count(*) FROM
                (SELECT recipient AS address, id FROM outbox
                 WHERE recipient IN (SELECT value FROM json_each($1)) AND created_at > $2
                 UNION
                 SELECT m.sender, o.id FROM messages m JOIN outbox o ON o.message_id = m.id
                 WHERE m.sender IN (SELECT value FROM json_each($1)) AND m.recorded_at > $2)
             GROUP BY address",
        )
        .bind(serde_json::to_string(&list)?)
        .bind(since)
        .fetch_all(&mut *self.tx)
        .await
        .context("Cannot count the replies of the day")?;
        let by_domain: Vec<(String, u32)> = sqlx::query_as(
            "SELECT substr(recipient, instr(recipient, '@') + 1) AS domain, count(*) FROM outbox
             WHERE proven = 0 AND created_at > ? GROUP BY domain",
        )
        .bind(since)
        .fetch_all(&mut *self.tx)
        .await
        .context("Cannot count the replies of the day by domain")?;
        let by_address = by_address.into_iter().filter_map(|(text, count)| Some((text.parse().ok()?, count)));
        Ok((by_address.collect(), by_domain.into_iter().collect()))
    }

    /// Records one mail and all that follows from it.
    ///
    /// # Errors
    /// See [`RecordError`]; in every case nothing of this mail stands.
    pub async fn record(&mut self, entry: &Entry<'_>) -> Result<i64, RecordError> {
        let message = entry.in_place_of.unwrap_or(self.last_message + 1);
        let batch = self.batch(entry, message).map_err(|error| RecordError::Broken(error.to_string()))?;
        match batch.run(&mut self.tx).await {
            Ok(()) => {
                self.last_message = self.last_message.max(message);
                self.last_request += entry.decision.requests.len() as i64;
                Ok(message)
            }
            Err(error) => {
                let error = translate(&error);
                if !matches!(error, RecordError::Broken(_)) {
                    let undo = sqlx::raw_sql("ROLLBACK TO mail; RELEASE mail").execute(&mut *self.tx).await;
                    if undo.is_err() {
                        return Err(RecordError::Broken("the savepoint is lost".into()));
                    }
                }
                Err(error)
            }
        }
    }

    /// Everything one mail causes, as one batch.
    fn batch(&self, entry: &Entry<'_>, message: i64) -> Result<Batch> {
        let Decision { requests, disposition, why, about, unanswered, .. } = entry.decision;
        let received = entry.received.as_second();
        let mut batch = Batch::default();
        batch.add("SAVEPOINT mail;")?;
        if let Some(glanced) = entry.in_place_of {
            batch
                .add("DELETE FROM copies WHERE message_id = ?;")?
                .bind(glanced)?
                .add("DELETE FROM messages WHERE id = ? AND glanced = 1;")?
                .bind(glanced)?;
        }
        let findings: serde_json::Value = requests
            .iter()
            .map(|request| serde_json::json!({ "type": request.kind, "confidence": request.confidence, "rules": request.reason }))
            .collect();
        let earlier = about.iter().map(|request| request.kind.as_str());
        let kinds: Vec<&str> = requests.iter().map(|request| request.kind.as_str()).chain(earlier).collect();
        let kind = match disposition {
            crate::decide::Disposition::Automated(automatic) => automatic.name().to_owned(),
            _ => kinds.join(" "),
        };
        batch
            .add(
                "INSERT INTO messages (id, digest, size, letter_digest, mailbox, validity, mail_id, rfc_message_id,
                    sender, proof, proof_why, received_at, recorded_at, disposition, kind, why, unanswered,
                    findings, language, wording, folder, glanced, to_read)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);",
            )?
            .bind(message)?
            .bind(entry.identity.digest.to_vec())?
            .bind(entry.identity.size)?
            .bind(entry.identity.letter.map(|letter| letter.to_vec()))?
            .bind(entry.mailbox.to_owned())?
            .bind(entry.validity)?
            .bind(entry.mail_id.to_string())?
            .bind(entry.message_id.map(|id| id.as_str().to_owned()))?
            .bind(entry.sender.map(|sender| sender.normalised().to_string()))?
            .bind(entry.evidence.map_or(Proof::None, |evidence| evidence.proof).name())?
            .bind(entry.evidence.map_or("the mail was not read", |evidence| &evidence.why).to_owned())?
            .bind(received)?
            .bind(self.now)?
            .bind(disposition.name())?
            .bind(kind)?
            .bind(why.clone())?
            .bind(unanswered.map(str::to_owned))?
            .bind(findings.to_string())?
            .bind(entry.language.map(str::to_owned))?
            .bind(entry.wording.map(|wording| wording.to_vec()))?
            .bind(entry.folder.to_owned())?
            .bind(entry.is_glanced)?
            .bind(entry.decision.is_to_read())?;
        for (index, (planned, reference)) in requests.iter().zip(entry.references).enumerate() {
            let request = self.last_request + 1 + index as i64;
            let subject = planned.subject.as_ref().or(entry.sender).map(Address::normalised);
            let done = planned.status == Status::Completed;
            let asked = entry.challenge.filter(|_| planned.status == Status::AwaitingProof);
            batch
                .add(
                    "INSERT INTO requests (id, reference, message_id, kind, status, proof_needed, proof_given, words, by_hand, subject, language, confidence, received_at, due_on, due_source, closed_at)
                     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);",
                )?
                .bind(request)?
                .bind(reference.clone())?
                .bind(message)?
                .bind(planned.kind.clone())?
                .bind(planned.status.name())?
                .bind(planned.proof_needed)?
                .bind(entry.evidence.map_or(0, |evidence| u8::from(evidence.proof.is_authenticated())))?
                .bind(entry.words.to_vec())?
                .bind(planned.by_hand)?
                .bind(subject.as_ref().map(ToString::to_string))?
                .bind(entry.language.unwrap_or("und").to_owned())?
                .bind(planned.confidence)?
                .bind(received)?
                .bind(planned.due.to_string())?
                .bind(planned.due_source.clone())?
                .bind(done.then_some(self.now))?;
            batch.event(request, self.now, "rule", "received", &planned.reason)?;
            if !planned.changes.is_empty() {
                batch.corrections(request, &planned.changes)?;
            }
            for denied in &planned.appeals {
                let reason = format!("by {reference} (message {message})");
                batch.event(*denied, self.now, "sender", "appealed", &reason)?;
            }
            match planned.status {
                Status::Held => {
                    let why = planned.held_because.unwrap_or("a person must look");
                    batch.event(request, self.now, "rule", "held", why)?;
                }
                Status::AwaitingProof => {
                    batch.event(
                        request,
                        self.now,
                        "rule",
                        "asked",
                        "the address it concerns must confirm it",
                    )?;
                }
                _ => {}
            }
            if let (Some(asked), Some(subject)) = (asked, &subject) {
                batch.challenge(request, subject, asked, self.now)?;
            }
            if done {
                batch.suppress(subject.as_ref(), planned.action, request, self.now)?;
                batch.event(request, self.now, "rule", "completed", "carried out at once")?;
            } else {
                for deadline in &planned.owed {
                    batch.deadline(request, deadline)?;
                }
            }
        }
        for step in &entry.decision.steps {
            batch.step(step, self.now, Some(message))?;
            if let (Change::AskAgain, Some(challenge), Some(sender)) =
                (step.change, entry.challenge, entry.sender)
            {
                let earlier = about.iter().find(|earlier| earlier.id == step.request);
                let until = challenge.until_again(earlier.and_then(|earlier| earlier.asked));
                batch.challenge_again(step.request, sender, &challenge.code_hash, until, self.now)?;
            }
        }
        for (request, changes) in &entry.decision.corrected {
            batch.corrections(*request, changes)?;
        }
        for proven in &entry.decision.proven {
            batch.proven(proven, self.now)?;
        }
        for reply in entry.replies {
            batch.reply(message, reply, entry.in_thread, self.now)?;
        }
        batch.add("RELEASE mail")?;
        Ok(batch)
    }

    /// Records that the same letter came once more by another way: it has its place in the ledger and
    /// its folder, and causes nothing.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub async fn record_duplicate(&mut self, entry: &Entry<'_>) -> Result<i64, RecordError> {
        let id = self.record(entry).await?;
        sqlx::query("UPDATE messages SET disposition = 'duplicate' WHERE id = ?")
            .bind(id)
            .execute(&mut *self.tx)
            .await
            .map_err(|error| translate(&error))?;
        Ok(id)
    }

    /// Records where a known mail lies now, still to be filed in `folder`. Where it lay until now is not forgotten
    /// while it may lie there as well: both are filed.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn seen_again(
        &mut self,
        known: i64,
        mailbox: &str,
        validity: u32,
        id: &MailId,
        folder: &str,
    ) -> Result<()> {
        let mut batch = Batch::default();
        batch
            .add(
                "INSERT INTO copies (mailbox, validity, mail_id, message_id)
                 SELECT mailbox, validity, mail_id, id FROM messages
                 WHERE id = ? AND filed = 0 AND NOT (mailbox = ? AND (validity <> ? OR mail_id = ?))
                 ON CONFLICT DO NOTHING;",
            )?
            .bind(known)?
            .bind(mailbox.to_owned())?
            .bind(validity)?
            .bind(id.to_string())?
            .add("UPDATE messages SET mailbox = ?, validity = ?, mail_id = ?, folder = ?, filed = 0 WHERE id = ?")?
            .bind(mailbox.to_owned())?
            .bind(validity)?
            .bind(id.to_string())?
            .bind(folder.to_owned())?
            .bind(known)?;
        batch.run(&mut self.tx).await.context("Cannot record where a known mail lies")
    }

    /// Moves the cursor where `last_uid` says so, forgets the attempts at these mails, and commits.
    ///
    /// # Errors
    /// The database does not work; then nothing of the visit stands.
    pub async fn commit(
        mut self,
        mailbox: &str,
        validity: u32,
        last_uid: Option<u32>,
        ids: &[&MailId],
    ) -> Result<()> {
        if let Some(last_uid) = last_uid {
            sqlx::query(MOVE_CURSOR)
                .bind(mailbox)
                .bind(validity)
                .bind(last_uid)
                .execute(&mut *self.tx)
                .await
                .context("Cannot move the cursor")?;
        }
        sqlx::query(
            "DELETE FROM attempts WHERE mailbox = ? AND validity = ? AND mail_id IN (SELECT value FROM json_each(?))",
        )
        .bind(mailbox)
        .bind(validity)
        .bind(json_list(ids)?)
        .execute(&mut *self.tx)
        .await
        .context("Cannot forget the attempts")?;
        audit::commit(self.tx).await.context("Cannot commit the window")
    }
}

/// Of a mailbox, or of a folder that is looked through: its validity, and the last UID that is done with.
pub(super) const MOVE_CURSOR: &str =
    "INSERT INTO mailbox_cursors (mailbox, validity, last_uid) VALUES (?, ?, ?)
    ON CONFLICT (mailbox) DO UPDATE SET validity = excluded.validity, last_uid = excluded.last_uid";

/// Address, kind, source, request and time: whoever is on the list already stays as they are.
pub(super) const SUPPRESS: &str = "INSERT INTO suppressions (address, kind, source, request_id, created_at)
    VALUES (?, ?, ?, ?, ?) ON CONFLICT (address, kind) DO NOTHING;";

/// The kinds of suppression that a restriction is: no mail, no advertising, and that what is held of this person is
/// kept and not used (GDPR art. 18).
pub(super) const RESTRICTION: [&str; 3] = ["marketing", "targeted_ads", "restricted"];

/// What requests of these types suppress: a JSON list of type and kind, with a blank between.
fn suppressing(table: &Table) -> Result<String> {
    let pairs = table.types.iter().flat_map(|kind| {
        let restriction = RESTRICTION.iter().copied().filter(|_| kind.verb == Some(Verb::Restrict));
        restriction
            .chain(suppression_kind(kind.action))
            .map(|suppressed| format!("{} {suppressed}", kind.name))
    });
    Ok(serde_json::to_string(&pairs.collect::<Vec<_>>())?)
}

fn suppression_kind(action: Action) -> Option<&'static str> {
    match action {
        Action::SuppressMarketing => Some("marketing"),
        Action::SuppressAds => Some("targeted_ads"),
        Action::Answer | Action::Open | Action::Disclose => None,
    }
}

/// Several statements and their arguments, sent to SQLite's thread at once.
#[derive(Default)]
pub(super) struct Batch {
    sql: String,
    arguments: SqliteArguments,
}

impl Batch {
    pub(super) fn add(&mut self, statement: &'static str) -> Result<&mut Self> {
        self.sql.push_str(statement);
        Ok(self)
    }

    pub(super) fn bind<T>(&mut self, value: T) -> Result<&mut Self>
    where
        T: for<'q> Encode<'q, Sqlite> + Type<Sqlite>,
    {
        self.arguments.add(value).map_err(|error| anyhow::anyhow!("Cannot bind a value: {error}"))?;
        Ok(self)
    }

    /// An event of a request, and its link, which [`audit::commit`] seals. No other statement writes events.
    pub(super) fn event(
        &mut self,
        request: i64,
        at: i64,
        actor: &'static str,
        event: &'static str,
        reason: &str,
    ) -> Result<&mut Self> {
        self.linked_event(Some(request), at, actor, event, reason)
    }

    /// Whoever has opted out gets no more of it. The database refuses an opt-out of nobody.
    pub(super) fn suppress(
        &mut self,
        subject: Option<&Address>,
        action: Action,
        request: i64,
        now: i64,
    ) -> Result<&mut Self> {
        let Some(kind) = suppression_kind(action) else { return Ok(self) };
        self.add(SUPPRESS)?
            .bind(subject.map(|subject| subject.normalised().to_string()))?
            .bind(kind)?
            .bind("mail")?
            .bind(request)?
            .bind(now)
    }

    /// Takes back what a request has suppressed, since it is not to be. What another one has suppressed as well
    /// since then stays, and is that one's from now on.
    pub(super) fn unsuppress(&mut self, request: i64, table: &Table) -> Result<&mut Self> {
        self.add(
            "UPDATE suppressions SET request_id = coalesce(
                (SELECT e.id FROM requests e WHERE e.subject = suppressions.address AND e.id <> suppressions.request_id
                    AND e.status NOT IN ('denied', 'withdrawn', 'expired')
                    AND concat(e.kind, ' ', suppressions.kind) IN (SELECT value FROM json_each(?))
                    AND (e.closed_at >= suppressions.created_at OR EXISTS (SELECT 1 FROM request_events b
                        WHERE b.request_id = e.id AND b.event = 'executing' AND b.at >= suppressions.created_at))
                    ORDER BY e.id LIMIT 1), request_id)
             WHERE request_id = ?;
             DELETE FROM suppressions WHERE request_id = ?;",
        )?
        .bind(suppressing(table)?)?
        .bind(request)?
        .bind(request)
    }

    /// One line in the log that is about the log itself.
    pub(super) fn log_event(
        &mut self,
        at: i64,
        actor: &'static str,
        event: &'static str,
        reason: &str,
    ) -> Result<&mut Self> {
        self.linked_event(None, at, actor, event, reason)
    }

    fn linked_event(
        &mut self,
        request: Option<i64>,
        at: i64,
        actor: &'static str,
        event: &'static str,
        reason: &str,
    ) -> Result<&mut Self> {
        self.add("INSERT INTO request_events (request_id, at, actor, event, reason) VALUES (?, ?, ?, ?, ?);")?
            .bind(request)?
            .bind(at)?
            .bind(actor)?
            .bind(event)?
            .bind(reason.to_owned())?
            .add("INSERT INTO event_links (event_id, unsealed) VALUES (last_insert_rowid(), 1);")
    }

    /// One step with an earlier request.
    pub(super) fn step(&mut self, step: &Step, now: i64, message: Option<i64>) -> Result<&mut Self> {
        let Step { request, actor, change, reason } = step;
        // What a step leaves as it is, is None. Whatever it is, no reminder is due after it.
        let (event, changes) = match change {
            Change::Approve { proof } => ("approved", Some((Some("approved"), None, Some(*proof), None))),
            Change::Withdraw { fraud } => {
                let flag = fraud.then_some("suspected_fraud");
                ("withdrawn", Some((Some("withdrawn"), flag, None, Some(now))))
            }
            Change::Complete => ("completed", Some((Some("completed"), None, None, Some(now)))),
            Change::Expire => ("expired", Some((Some("expired"), None, None, Some(now)))),
            Change::Hold => {
                // It is owed again, if it was closed.
                self.add("UPDATE requests SET closed_at = NULL WHERE id = ?;")?
                    .bind(*request)?
                    .add("UPDATE deadlines SET warn_at = coalesce(warn_at, ?) WHERE request_id = ? AND duty = 'answer';")?
                    .bind(now)?
                    .bind(*request)?;
                ("held", Some((Some("held"), None, None, None)))
            }
            Change::Remind => ("reminded", Some((None, None, None, None))),
            Change::AskAgain => ("asked_again", None),
            Change::Note => ("note", None),
        };
        if let Some((status, flag, proof, closed)) = changes {
            self.add(
                "UPDATE requests SET status = coalesce(?, status), flag = coalesce(?, flag),
                    proof_given = coalesce(?, proof_given), closed_at = coalesce(?, closed_at), remind_at = NULL
                 WHERE id = ?;",
            )?
            .bind(status)?
            .bind(flag)?
            .bind(proof)?
            .bind(closed)?
            .bind(*request)?;
            if closed.is_some() {
                self.abandon_tasks(*request, now)?;
            }
        }
        // So that a person finds the mail that says so.
        let reason =
            message.map_or_else(|| reason.clone(), |message| format!("{reason} (message {message})"));
        self.event(*request, now, actor, event, &reason)
    }

    /// Of a request that is closed otherwise than by its work, nothing is to be done any more, and what was
    /// collected goes nowhere.
    pub(super) fn abandon_tasks(&mut self, request: i64, now: i64) -> Result<&mut Self> {
        self.add(
            "UPDATE tasks SET state = 'failed', outcome = 'closed before it was done', updated_at = ?
             WHERE request_id = ? AND state IN ('waiting', 'by_hand');
             UPDATE tasks SET data = NULL WHERE request_id = ?;",
        )?
        .bind(now)?
        .bind(request)?
        .bind(request)
    }

    /// The first code that goes out for a request, which waits for it from now on.
    pub(super) fn challenge(
        &mut self,
        request: i64,
        address: &Address,
        challenge: &Challenge,
        now: i64,
    ) -> Result<&mut Self> {
        self.add("UPDATE requests SET asked_at = ?, remind_at = ? WHERE id = ?;")?
            .bind(now)?
            .bind(challenge.remind_at().as_second())?
            .bind(request)?
            .challenge_again(request, address, &challenge.code_hash, challenge.until(), now)
    }

    /// A further code for a request, which waits until then at the least.
    pub(super) fn challenge_again(
        &mut self,
        request: i64,
        address: &Address,
        code_hash: &[u8; 32],
        until: Timestamp,
        now: i64,
    ) -> Result<&mut Self> {
        self.add("INSERT INTO challenges (request_id, address, code_hash, sent_at) VALUES (?, ?, ?, ?);")?
            .bind(request)?
            .bind(address.normalised().to_string())?
            .bind(code_hash.to_vec())?
            .bind(now)?
            .add("UPDATE requests SET proof_until = max(coalesce(proof_until, 0), ?) WHERE id = ?;")?
            .bind(until.as_second())?
            .bind(request)
    }

    /// A reply into the queue, to the mail that is `message`; or a notice that answers none.
    pub(super) fn reply(
        &mut self,
        message: impl Into<Option<i64>>,
        reply: &Outgoing,
        in_thread: u32,
        now: i64,
    ) -> Result<&mut Self> {
        self.add(
            "INSERT INTO outbox (message_id, reference, proven, recipient, template, language, rfc_message_id,
                in_thread, raw, kept, state, created_at, next_attempt_at, updated_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'queued', ?, ?, ?);",
        )?
        .bind(message.into())?
        .bind(reply.reference.clone())?
        .bind(reply.is_proven)?
        .bind(reply.recipient.normalised().to_string())?
        .bind(reply.template.clone())?
        .bind(reply.language.clone())?
        .bind(reply.message_id.clone())?
        .bind(in_thread)?
        .bind(reply.raw.clone())?
        .bind(reply.kept.clone())?
        .bind(now)?
        .bind(now)?
        .bind(now)
    }

    /// Runs it. The text is made of constants of this file alone; values are bound.
    pub(super) async fn run(self, tx: &mut Transaction<'static, Sqlite>) -> Result<(), sqlx::Error> {
        sqlx::query_with(AssertSqlSafe(self.sql), self.arguments).execute(&mut **tx).await.map(drop)
    }
}

/// What a failed batch means. The text of SQLite names tables and columns, never values.
fn translate(error: &sqlx::Error) -> RecordError {
    let Some(database) = error.as_database_error() else {
        return RecordError::Broken("the connection to it is lost".into());
    };
    if database.message().contains("requests.reference") {
        return RecordError::ReferenceTaken;
    }
    // SQLITE_CONSTRAINT is 19 in the low byte of the extended code: a rule of ours or a trigger said no.
    let code = database.code().and_then(|code| code.parse::<u32>().ok()).unwrap_or(0);
    match code & 0xff {
        19 => RecordError::Refused(database.message().to_owned()),
        _ => RecordError::Broken(database.message().to_owned()),
    }
}

/// Ids as the JSON array that SQLite takes apart again.
fn json_list(ids: &[&MailId]) -> Result<String> {
    Ok(serde_json::to_string(&ids.iter().map(ToString::to_string).collect::<Vec<_>>())?)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}
