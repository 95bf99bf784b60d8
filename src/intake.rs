//! The corridor: a mail from its bytes to a decision inside a visit.
//!
//! Four properties come from its shape:
//! **once** (a mail is known by its bytes, wherever it lies), **all or nothing** (request, action and
//! reply are one transaction), **crash anywhere** (before the commit nothing happened; after it the
//! mail is found known and is filed), **one writer** (a visit holds the write lock while it reads).
//!
//! ## Why windows
//! The dear things, a commit and a command to the server, cost the same for one mail as for hundreds.
//! So mails go through in windows: the pure rooms in parallel, one transaction, one filing.

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tracing::{error, info, warn};

use crate::config::Folders;
use crate::decide::{CaseFile, Decision, Disposition, Letter, Policy, Shelf, Understanding, decide};
use crate::mailbox::{Body, Fetched, MailId, Mailbox, Window};
use crate::redact::Pseudonyms;
use crate::reply::{Outgoing, Replies, Stamp, Thread};
use crate::request::Table;
use crate::sender::Address;
use crate::store::Store;
use crate::store::visit::{Entry, Identity, Known, RecordError, Visit};
use crate::understand::{Reader, letter_digest};

/// A mail that ended the process so often is not looked at again.
const MOST_TRIES: u32 = 3;

/// Filing gathers up to so many mails: a MOVE costs by the folder more than by the mail.
const FILE_AT_ONCE: usize = 2000;

/// Where a mail goes: its id and the name of its folder.
pub type Filing = (MailId, String);

/// Everything the corridor needs, for all mailboxes.
pub struct Intake {
    /// Where it records.
    pub store: Store,
    /// The pure half.
    pub reader: Arc<Reader>,
    /// The request types.
    pub table: Table,
    /// The templates.
    pub replies: Replies,
    /// What the operator has set.
    pub policy: Policy,
    /// Names of folders.
    pub folders: Folders,
    /// For the log.
    pub pseudonyms: Pseudonyms,
    /// Rung when replies have been queued.
    pub queued: Arc<Notify>,
}

/// A mail after the pure rooms.
struct Prepared {
    id: MailId,
    identity: Identity,
    received: Timestamp,
    understanding: Understanding,
    took: Duration,
}

/// What the log says of one mail, held back until its commit.
struct Line {
    id: MailId,
    outcome: &'static str,
    kind: String,
    references: String,
    why: String,
    person: String,
    answered: bool,
    took: Duration,
}

impl Intake {
    /// One pass over a mailbox: everything new goes through the corridor and is filed. The next
    /// window is fetched, and earlier ones are filed, while one is being worked on. Answers how many
    /// mails there were.
    ///
    /// # Errors
    /// The mailbox or the store does not work. What was committed stands, the rest comes again.
    pub async fn pass(
        self: &Arc<Self>,
        mailbox: &mut Mailbox,
        stop: &(impl Fn() -> bool + Sync),
    ) -> Result<u64> {
        let name = mailbox.name().to_owned();
        let cursor = mailbox.look(self.store.cursor(&name).await?).await?;
        let mut to_file = self.store.unfiled(&name, mailbox.kind(), cursor.validity).await?;
        let mut in_work: Option<tokio::task::JoinHandle<Result<Vec<Filing>>>> = None;
        let mut received = 0;
        loop {
            let window = if stop() { Ok(Window::default()) } else { mailbox.next_window().await };
            // Whatever the mailbox says, work that has begun is seen through.
            if let Some(work) = in_work.take() {
                to_file.extend(work.await.context("The corridor broke off")??);
            }
            let window = window?;
            let is_last = window.mails.is_empty();
            received += window.mails.len() as u64;
            if !is_last {
                let (intake, name) = (Arc::clone(self), name.clone());
                in_work = Some(tokio::spawn(async move { intake.receive(&name, window).await }));
            }
            if to_file.len() >= FILE_AT_ONCE || is_last && !to_file.is_empty() {
                mailbox.file(&to_file).await?;
                let ids: Vec<&MailId> = to_file.iter().map(|(id, _)| id).collect();
                self.store.filed(&name, cursor.validity, &ids).await?;
                to_file.clear();
            }
            if is_last {
                return Ok(received);
            }
        }
    }

    /// Takes one window through the corridor; answers where each mail is to be filed.
    ///
    /// # Errors
    /// The store does not work; what was not committed comes again.
    pub async fn receive(self: &Arc<Self>, mailbox: &str, window: Window) -> Result<Vec<Filing>> {
        let Window { validity, mails } = window;
        let last_uid = mails.iter().map(|mail| uid(&mail.id)).max().unwrap_or(0);
        let ids: Vec<&MailId> = mails.iter().map(|mail| &mail.id).collect();
        let tries = self.store.earlier_attempts(mailbox, validity, &ids).await?;
        let (suspects, fresh): (Vec<_>, Vec<_>) =
            mails.into_iter().zip(tries).partition(|(_, tries)| *tries > 0);
        let mut filings = Vec::new();
        // Mails that were there when the process ended go alone, each with its own count, so that the
        // one that ended it is found and its neighbours are not blamed. The cursor waits for the rest.
        for (mail, tries) in suspects {
            filings.extend(self.receive_together(mailbox, validity, None, vec![mail], tries).await?);
        }
        let fresh: Vec<Fetched> = fresh.into_iter().map(|(mail, _)| mail).collect();
        filings.extend(self.receive_together(mailbox, validity, Some(last_uid), fresh, 0).await?);
        Ok(filings)
    }

    /// The corridor proper, for mails that share one transaction.
    async fn receive_together(
        self: &Arc<Self>,
        mailbox: &str,
        validity: u32,
        last_uid: Option<u32>,
        mails: Vec<Fetched>,
        tries: u32,
    ) -> Result<Vec<Filing>> {
        let ids: Vec<MailId> = mails.iter().map(|mail| mail.id.clone()).collect();
        let ids: Vec<&MailId> = ids.iter().collect();
        if !ids.is_empty() {
            self.store.count_attempts(mailbox, validity, &ids).await?;
        }
        let now = Timestamp::now();
        let prepared = self.prepare(mails, tries >= MOST_TRIES, now).await?;

        let mut visit = self.store.visit(now).await?;
        let mut memory = Memory::load(&mut visit, &prepared).await?;
        let mut filings = Vec::with_capacity(prepared.len());
        let mut lines = Vec::with_capacity(prepared.len());
        for mail in &prepared {
            let place = Place { mailbox, validity };
            let (folder, line) = self.record(&mut visit, &mut memory, place, mail, now).await?;
            filings.push((mail.id.clone(), folder));
            lines.push(line);
        }
        visit.commit(mailbox, validity, last_uid, &ids).await?;

        if lines.iter().any(|line| line.answered) {
            self.queued.notify_one();
        }
        lines.iter().for_each(|line| line.write(mailbox));
        Ok(filings)
    }

    /// One mail inside the visit: known already? case file, decide, compose, record.
    async fn record(
        &self,
        visit: &mut Visit,
        memory: &mut Memory,
        place: Place<'_>,
        mail: &Prepared,
        now: Timestamp,
    ) -> Result<(String, Line)> {
        if let Some(known) = memory.known(&mail.identity) {
            return self.record_again(visit, place, mail, known).await;
        }
        let letter = letter_of(&mail.understanding);
        let sender = letter.and_then(|letter| letter.from.as_ref().ok());
        let case_file = memory.case_file(letter);
        let mut decision = decide(&mail.understanding, &self.table, &self.policy, case_file, mail.received);
        loop {
            let folder = self.folder(&decision.shelf);
            let references = fresh_references(decision.requests.len())?;
            let replies = self.compose(&mut decision, &references, letter, now)?;
            let entry = place.entry(mail, sender, &folder, &decision, &references, &replies);
            match visit.record(&entry).await {
                Ok(id) => {
                    memory.remember(mail, id, &folder, &replies);
                    let line = self.line(mail, &decision, &references, sender, !replies.is_empty());
                    return Ok((folder, line));
                }
                Err(RecordError::ReferenceTaken) => {}
                Err(RecordError::Refused(reason))
                    if !decision.requests.is_empty() || !decision.answers.is_empty() =>
                {
                    error!(mailbox = place.mailbox, mail.id = %mail.id, reason, "mail could not be recorded with what it asks for: held");
                    decision = Decision {
                        disposition: Disposition::Review,
                        shelf: Shelf::Held,
                        requests: Vec::new(),
                        answers: Vec::new(),
                        why: "what it asks for could not be recorded".into(),
                    };
                }
                Err(error) => return Err(error).context("Cannot record a mail"),
            }
        }
    }

    /// A mail that has been here before: the same bytes elsewhere, or the same letter by another way.
    async fn record_again(
        &self,
        visit: &mut Visit,
        place: Place<'_>,
        mail: &Prepared,
        known: Known,
    ) -> Result<(String, Line)> {
        let letter = letter_of(&mail.understanding);
        let sender = letter.and_then(|letter| letter.from.as_ref().ok());
        let decision = Decision {
            disposition: Disposition::None,
            shelf: Shelf::Held,
            requests: Vec::new(),
            answers: Vec::new(),
            why: format!("known: message {}", known.id),
        };
        if known.same_mail {
            visit.seen_again(known.id, place.mailbox, place.validity, &mail.id).await?;
        } else {
            let entry = place.entry(mail, sender, &known.folder, &decision, &[], &[]);
            visit.record_duplicate(&entry).await.context("Cannot record a duplicate")?;
        }
        let line = Line { outcome: "duplicate", ..self.line(mail, &decision, &[], sender, false) };
        Ok((known.folder, line))
    }

    /// The replies that were decided. A template that fails costs its reply, not the request.
    fn compose(
        &self,
        decision: &mut Decision,
        references: &[String],
        letter: Option<&Letter>,
        now: Timestamp,
    ) -> Result<Vec<Outgoing>> {
        let Some(letter) = letter else {
            return Ok(Vec::new());
        };
        let thread = Thread { message_id: letter.message_id.as_ref(), references: &letter.references };
        let mut replies = Vec::with_capacity(decision.answers.len());
        for answer in std::mem::take(&mut decision.answers) {
            let stamp = Stamp { unique: random()?, now };
            match self.replies.compose(&answer, decision, references, thread, &self.table, stamp) {
                Ok(reply) => {
                    replies.push(reply);
                    decision.answers.push(answer);
                }
                Err(error) => {
                    error!(%error, "reply could not be written: a person must");
                    decision.why.push_str("; not answered: the reply could not be written");
                }
            }
        }
        Ok(replies)
    }

    /// The pure rooms, on as many threads as the machine has.
    async fn prepare(&self, mails: Vec<Fetched>, give_up: bool, now: Timestamp) -> Result<Vec<Prepared>> {
        if mails.is_empty() {
            return Ok(Vec::new());
        }
        let reader = Arc::clone(&self.reader);
        let work = move || {
            let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
            let share = mails.len().div_ceil(threads).max(16);
            let prepare = |part: &[Fetched]| -> Vec<Prepared> {
                part.iter().map(|mail| prepare_one(&reader, mail, give_up, now)).collect()
            };
            let mut parts = mails.chunks(share);
            let first = parts.next().unwrap_or_default();
            std::thread::scope(|scope| {
                let others: Vec<_> = parts.map(|part| scope.spawn(move || prepare(part))).collect();
                let mut all = prepare(first);
                for other in others {
                    // A fault inside one mail is caught there; this would be one of the loop itself.
                    all.extend(other.join().map_err(|_| anyhow::anyhow!("A reading thread broke off"))?);
                }
                Ok(all)
            })
        };
        tokio::task::spawn_blocking(work).await.context("Reading the mails broke off")?
    }

    fn folder(&self, shelf: &Shelf) -> String {
        let folders = &self.folders;
        let name = match shelf {
            Shelf::Held => folders.held.as_str(),
            Shelf::Automatic => &folders.automatic,
            Shelf::Unreadable => &folders.unreadable,
            Shelf::Kind(kind) => match folders.types.get(kind) {
                Some(name) => name,
                None => self.table.kind(kind).map_or(folders.held.as_str(), |kind| &kind.folder),
            },
        };
        format!("{}{name}", folders.prefix)
    }

    fn line(
        &self,
        mail: &Prepared,
        decision: &Decision,
        references: &[String],
        sender: Option<&Address>,
        answered: bool,
    ) -> Line {
        let person = decision.requests.iter().find_map(|request| request.subject.as_ref()).or(sender);
        let kinds: Vec<&str> = decision.requests.iter().map(|request| request.kind.as_str()).collect();
        Line {
            id: mail.id.clone(),
            outcome: decision.disposition.name(),
            kind: match decision.disposition {
                Disposition::Automated(automatic) => automatic.name().to_owned(),
                _ => kinds.join(" "),
            },
            references: references.join(" "),
            why: decision.why.clone(),
            person: person.map(|person| self.pseudonyms.of(person)).unwrap_or_default(),
            answered,
            took: mail.took,
        }
    }
}

impl Line {
    fn write(&self, mailbox: &str) {
        let took_us = u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX);
        let Self { id, outcome, kind, references, why, person, answered, .. } = self;
        if *outcome == "review" {
            warn!(mailbox, mail.id = %id, request.id = references, request.type = kind, outcome, person, answered, took_us, why, "mail held for a person");
        } else {
            info!(mailbox, mail.id = %id, request.id = references, request.type = kind, outcome, person, answered, took_us, why, "mail received");
        }
    }
}

/// Where a mail lies.
#[derive(Clone, Copy)]
struct Place<'a> {
    mailbox: &'a str,
    validity: u32,
}

impl<'a> Place<'a> {
    fn entry(
        self,
        mail: &'a Prepared,
        sender: Option<&'a Address>,
        folder: &'a str,
        decision: &'a Decision,
        references: &'a [String],
        replies: &'a [Outgoing],
    ) -> Entry<'a> {
        let letter = letter_of(&mail.understanding);
        Entry {
            mailbox: self.mailbox,
            validity: self.validity,
            mail_id: &mail.id,
            identity: &mail.identity,
            message_id: letter.and_then(|letter| letter.message_id.as_ref()),
            sender,
            received: mail.received,
            language: letter.and_then(|letter| letter.reading.as_ref()?.language.as_deref()),
            folder,
            decision,
            references,
            replies,
        }
    }
}

/// What the ledger knows of a window's mails and senders, kept true while the window is recorded.
struct Memory {
    mails: HashMap<([u8; 32], i64), Known>,
    letters: HashMap<[u8; 32], Known>,
    case_files: HashMap<Address, CaseFile>,
}

impl Memory {
    async fn load(visit: &mut Visit, prepared: &[Prepared]) -> Result<Self> {
        let mut memory = Self { mails: HashMap::new(), letters: HashMap::new(), case_files: HashMap::new() };
        if prepared.is_empty() {
            return Ok(memory);
        }
        let identities: Vec<&Identity> = prepared.iter().map(|mail| &mail.identity).collect();
        for (identity, known) in identities.iter().zip(visit.known(&identities).await?) {
            match (known, identity.letter) {
                (Some(known), _) if known.same_mail => {
                    memory.mails.insert((identity.digest, identity.size), known);
                }
                (Some(known), Some(letter)) => {
                    memory.letters.insert(letter, known);
                }
                _ => {}
            }
        }
        let people: Vec<&Address> = prepared
            .iter()
            .filter_map(|mail| letter_of(&mail.understanding))
            .flat_map(Letter::correspondents)
            .collect();
        memory.case_files = visit.case_files(&people).await?;
        Ok(memory)
    }

    fn known(&self, identity: &Identity) -> Option<Known> {
        let by_bytes = self.mails.get(&(identity.digest, identity.size));
        by_bytes.or_else(|| self.letters.get(&identity.letter?)).cloned()
    }

    /// Of several people who may get a reply, the file of the one who has had the most.
    fn case_file(&self, letter: Option<&Letter>) -> CaseFile {
        let people = letter.into_iter().filter_map(|letter| letter.from.as_ref().ok());
        let files = people.filter_map(|address| self.case_files.get(&address.normalised()));
        files.max_by_key(|file| file.replies_today).copied().unwrap_or_default()
    }

    fn remember(&mut self, mail: &Prepared, id: i64, folder: &str, replies: &[Outgoing]) {
        let known = Known { id, folder: folder.to_owned(), same_mail: true };
        if let Some(letter) = mail.identity.letter {
            self.letters.insert(letter, Known { same_mail: false, ..known.clone() });
        }
        self.mails.insert((mail.identity.digest, mail.identity.size), known);
        for reply in replies {
            self.case_files.entry(reply.recipient.normalised()).or_default().replies_today += 1;
        }
    }
}

fn letter_of(understanding: &Understanding) -> Option<&Letter> {
    match understanding {
        Understanding::Read(letter) => Some(letter),
        Understanding::Unreadable | Understanding::Unread(_) => None,
    }
}

fn prepare_one(reader: &Reader, mail: &Fetched, give_up: bool, now: Timestamp) -> Prepared {
    let begun = Instant::now();
    let (bytes, understanding) = match &mail.body {
        Body::Whole(bytes) | Body::Head(bytes) if give_up => {
            (bytes.as_slice(), Understanding::Unread("looking at it has ended the process three times"))
        }
        Body::Whole(bytes) | Body::Head(bytes) => (bytes.as_slice(), reader.read(bytes)),
        Body::TooLarge => (&[][..], Understanding::Unread("it is larger than max_message_size")),
        Body::Missing => (&[][..], Understanding::Unread("the server lists it but gives no body")),
    };
    let mut hash = Sha256::new();
    if bytes.is_empty() {
        // There are no bytes to know it by: its place has to do, and it causes nothing but a held mail.
        hash.update(format!("{} {}", mail.id, mail.received));
    }
    hash.update(bytes);
    let letter = if give_up { None } else { letter_digest(bytes) };
    Prepared {
        id: mail.id.clone(),
        identity: Identity {
            digest: hash.finalize().into(),
            size: i64::try_from(mail.size).unwrap_or(i64::MAX),
            letter,
        },
        // A server without a usable date: the moment we see it is the only one we know.
        received: if mail.received == Timestamp::UNIX_EPOCH { now } else { mail.received },
        understanding,
        took: begun.elapsed(),
    }
}

fn uid(id: &MailId) -> u32 {
    match id {
        MailId::Uid(uid) => *uid,
        MailId::File(_) => 0,
    }
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).context("Cannot get random bytes")?;
    Ok(bytes)
}

/// References such as PR-7F3K2M: six of 31 signs that nobody mistakes on the phone, 887 million in all.
fn fresh_references(count: usize) -> Result<Vec<String>> {
    const SIGNS: &[u8; 31] = b"23456789ABCDEFGHJKLMNPQRSTUVWXY";
    (0..count)
        .map(|_| {
            let mut reference = String::from("PR-");
            while reference.len() < 9 {
                // Bytes from 248 on are drawn again: 248 is 8 times 31, so every sign is as likely.
                for byte in random::<8>()?.into_iter().filter(|byte| *byte < 248) {
                    if let Some(sign) = SIGNS.get(usize::from(byte % 31))
                        && reference.len() < 9
                    {
                        reference.push(char::from(*sign));
                    }
                }
            }
            Ok(reference)
        })
        .collect()
}
