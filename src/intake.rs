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

mod alarm;
mod canary;
mod digest;
mod folders;
mod mark;
mod origin;
mod reconcile;
mod recovery;
mod warn;

use std::collections::{HashMap, HashSet};
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tracing::{error, info, warn};

pub use digest::DigestPlan;

use crate::bounce::{Effect, weigh};
use crate::classify::Ground;
use crate::clock::written;
use crate::config::{Folders, ProofConfig};
use crate::copy::Withheld;
use crate::correction::Edit;
use crate::decide::{
    Answer, CONFIRMED, CaseFile, Decision, Disposition, EXPIRED, Letter, OfTheDay, Policy, REMINDER, Shelf,
    Understanding, answer_to, decide,
};
use crate::ladder::{Change, Earlier, Status, Step};
use crate::mailbox::{Body, Fetched, MailId, Mailbox, Window};
use crate::message::MessageId;
use crate::random::{fresh_references, random};
use crate::redact::Pseudonyms;
use crate::reply::{More, Outgoing, Question, Replies, Stamp, Thread, Told, Urgent};
use crate::request::{Table, Verb};
use crate::sender::Address;
use crate::store::Store;
use crate::store::bounces::Reported;
use crate::store::proof::{Challenge, Lapse, Lapsed, day, question, remind_later, respite};
use crate::store::visit::{Entry, Identity, Known, RecordError, Visit};
use crate::understand::{Reader, letter_digest};
use crate::verify::Verifier;
use crate::watch::Watch;
use origin::Origin;

/// A mail that was being looked at so often when the process ended is not looked at again.
const MOST_TRIES: u32 = 3;

/// Filing gathers up to so many mails: a MOVE costs by the folder more than by the mail.
const FILE_AT_ONCE: usize = 2000;

/// So many mails share a transaction: enough that its cost is shared, few enough that replies, whose outcomes
/// wait for the same lock, go on going out.
const VISIT: usize = 128;

/// Threads that read mails: more of them would use up what the unit allows (`TasksMax=`).
const MOST_THREADS: usize = 16;

/// What one pass over a mailbox did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passed {
    /// Mails that went through the corridor.
    pub mails: u64,
    /// Mails that are recorded and that the mailbox refused to file.
    pub unfiled: u64,
    /// Whether every mail that lay there was read: the pass was not asked to stop, and no mail is left for the
    /// next one.
    pub all_read: bool,
}

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
    /// How people show that a request is theirs.
    pub proof: ProofConfig,
    /// The contacts' field that says that nothing of somebody may be erased.
    pub hold_column: String,
    /// What never leaves by mail.
    pub withheld: Withheld,
    /// Names of folders.
    pub folders: Folders,
    /// Checks signatures where our servers say nothing of a mail, if the operator wishes.
    pub verifier: Option<Arc<Verifier>>,
    /// For the log.
    pub pseudonyms: Pseudonyms,
    /// Who gets a mail about what runs short of time.
    pub notify: Option<Address>,
    /// When they get the daily digest, if they do.
    pub digest: Option<DigestPlan>,
    /// Rung when replies have been queued.
    pub queued: Arc<Notify>,
    /// Told what the mailboxes give.
    pub watch: Watch,
}

/// A mail after the pure rooms.
struct Prepared {
    id: MailId,
    identity: Identity,
    received: Timestamp,
    understanding: Understanding,
    /// What its own field says, if it is a mail of ours to ourselves.
    canary: Option<String>,
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
    /// Its requests that a person should look at before all else.
    urgent: Vec<Urgent>,
    took: Duration,
}

impl Intake {
    /// One pass over a mailbox: everything new goes through the corridor and is filed. The next
    /// window is fetched, and earlier ones are filed, while one is being worked on.
    ///
    /// # Errors
    /// The mailbox or the store does not work. What was committed stands, the rest comes again.
    pub async fn pass(
        self: &Arc<Self>,
        mailbox: &mut Mailbox,
        stop: &(impl Fn() -> bool + Sync),
    ) -> Result<Passed> {
        let name = mailbox.name().to_owned();
        if let Mailbox::Imap(imap) = mailbox {
            self.keep_mark(imap, None, Timestamp::now()).await?;
        }
        let known = self.store.cursor(&name).await?;
        let cursor = mailbox.look(known).await?;
        if cursor != known && known.validity != 0 {
            // At once: until there is a mail to read, nothing else would say where the numbers begin anew.
            self.store.move_cursor(&name, cursor).await?;
            if let Mailbox::Imap(imap) = mailbox {
                self.store.move_cursor(&format!("{name}/{}", imap.folder()), cursor).await?;
            }
        }
        let mut to_file = self.store.unfiled(&name, mailbox.kind(), cursor.validity).await?;
        let mut in_work: Option<tokio::task::JoinHandle<Result<Vec<Filing>>>> = None;
        let mut passed = Passed::default();
        loop {
            let window = if stop() { Ok(Window::default()) } else { mailbox.next_window().await };
            // Whatever the mailbox says, work that has begun is seen through.
            if let Some(work) = in_work.take() {
                to_file.extend(work.await.context("The corridor broke off")??);
            }
            let window = window?;
            if !stop() {
                self.watch.unread(&name, mailbox.waiting());
                self.watch.alive(&name, Timestamp::now());
            }
            let is_last = window.mails.is_empty();
            passed.mails += window.mails.len() as u64;
            if !is_last {
                let (intake, name) = (Arc::clone(self), name.clone());
                in_work =
                    Some(tokio::spawn(async move { intake.receive(&name, window, Timestamp::now()).await }));
            }
            if to_file.len() >= FILE_AT_ONCE || is_last && !to_file.is_empty() {
                match self.file(mailbox, &name, cursor.validity, std::mem::take(&mut to_file)).await {
                    Ok(refused) => passed.unfiled += refused,
                    Err(error) => {
                        if let Some(work) = in_work.take() {
                            work.await.context("The corridor broke off")??;
                        }
                        return Err(error);
                    }
                }
            }
            if is_last {
                break;
            }
        }
        passed.all_read = !stop() && !mailbox.left_unread();
        // The mails are in; what people have put elsewhere must not bring the pass down.
        if !stop()
            && let Err(error) = self.by_folder(mailbox, Timestamp::now()).await
        {
            error!(mailbox = name, "the folders could not be looked into: {error:#}");
        }
        if passed.all_read {
            self.watch.good(&name, Timestamp::now());
        }
        Ok(passed)
    }

    /// Files mails and records it; answers how many the mailbox refused to file. They stay in the inbox,
    /// known, and are tried again in the next pass.
    async fn file(
        &self,
        mailbox: &mut Mailbox,
        name: &str,
        validity: u32,
        to_file: Vec<Filing>,
    ) -> Result<u64> {
        let refused = mailbox.file(&to_file).await?;
        self.record_filed(name, validity, &to_file, &refused).await?;
        Ok(refused.len() as u64)
    }

    /// Records that mails were filed, but for those that the mailbox refused to file.
    async fn record_filed(
        &self,
        name: &str,
        validity: u32,
        filings: &[Filing],
        refused: &HashSet<MailId>,
    ) -> Result<()> {
        if filings.is_empty() {
            return Ok(());
        }
        let ids: Vec<&MailId> =
            filings.iter().map(|(id, _)| id).filter(|id| !refused.contains(*id)).collect();
        self.store.filed(name, validity, &ids).await
    }

    /// Takes one window through the corridor at time `now`; answers where each mail is to be filed.
    ///
    /// # Errors
    /// The store does not work; what was not committed comes again.
    pub async fn receive(
        self: &Arc<Self>,
        mailbox: &str,
        window: Window,
        now: Timestamp,
    ) -> Result<Vec<Filing>> {
        let last_uid = window.mails.iter().map(|mail| uid(&mail.id)).max().unwrap_or(0);
        self.receive_from(mailbox, Origin::Inbox, window, Some(last_uid), now).await
    }

    /// The same for mail that was found at `origin`; the cursor of `mailbox` moves to `last_uid`, if anywhere.
    async fn receive_from(
        self: &Arc<Self>,
        mailbox: &str,
        origin: Origin<'_>,
        window: Window,
        last_uid: Option<u32>,
        now: Timestamp,
    ) -> Result<Vec<Filing>> {
        let Window { validity, mails } = window;
        let place = Place { mailbox, validity, origin };
        let ids: Vec<&MailId> = mails.iter().map(|mail| &mail.id).collect();
        let tries = self.store.earlier_attempts(mailbox, validity, &ids).await?;
        let (suspects, fresh): (Vec<_>, Vec<_>) =
            mails.into_iter().zip(tries).partition(|(_, tries)| *tries > 0);
        let mut filings = Vec::new();
        let mut time_left = self.verifier.as_ref().map_or(Duration::ZERO, |it| it.window_timeout());
        // Mails that were in hand when the process ended go alone, each with its own count, so that the
        // one that ended it is found and its neighbours are not blamed. The cursor waits for the rest.
        for (mail, tries) in suspects {
            filings.extend(self.receive_together(place, None, vec![mail], tries, &mut time_left, now).await?);
        }
        let fresh: Vec<Fetched> = fresh.into_iter().map(|(mail, _)| mail).collect();
        filings.extend(self.receive_together(place, last_uid, fresh, 0, &mut time_left, now).await?);
        Ok(filings)
    }

    /// The corridor proper, for mails that were never looked at before, or for one that was. Name servers have
    /// `time_left`, and take of it.
    async fn receive_together(
        self: &Arc<Self>,
        place: Place<'_>,
        last_uid: Option<u32>,
        mails: Vec<Fetched>,
        tries: u32,
        time_left: &mut Duration,
        now: Timestamp,
    ) -> Result<Vec<Filing>> {
        let Place { mailbox, validity, .. } = place;
        let ids: Vec<MailId> = mails.iter().map(|mail| mail.id.clone()).collect();
        let ids: Vec<&MailId> = ids.iter().collect();
        if !ids.is_empty() {
            self.store.count_attempts(mailbox, validity, &ids).await?;
        }
        let give_up = tries >= MOST_TRIES;
        let mut mails = mails.into_iter();
        let mut take = || mails.by_ref().take(VISIT).collect::<Vec<_>>();
        let home = home_of(mailbox, validity);
        let mut prepared = self.prepare(&home, take(), give_up, time_left, now).await?;
        if let ([suspect], 1..MOST_TRIES) = (ids.as_slice(), tries) {
            // Its bytes are harmless: what ends the process from here on is not its fault.
            self.store.forget_attempts(mailbox, validity, suspect).await?;
        }

        let mut filings = Vec::with_capacity(ids.len());
        loop {
            let later = take();
            let is_last = later.is_empty();
            // What is left comes again if this is the last that is committed.
            let last_uid = last_uid.filter(|_| is_last);
            // The next are read while these are recorded.
            let (recorded, next) = tokio::join!(
                self.visit(place, &prepared, last_uid, now),
                self.prepare(&home, later, give_up, time_left, now)
            );
            filings.extend(recorded?);
            if is_last {
                return Ok(filings);
            }
            prepared = next?;
        }
    }

    /// One transaction: records mails, and that the cursor stands at `last_uid`.
    async fn visit(
        &self,
        place: Place<'_>,
        mails: &[Prepared],
        last_uid: Option<u32>,
        now: Timestamp,
    ) -> Result<Vec<Filing>> {
        let Place { mailbox, validity, origin } = place;
        let mut visit = self.store.visit(now).await?;
        let is_recovering = visit.is_recovering().await?;
        let finals = self.finals();
        let mut memory = Memory::load(&mut visit, mails, &finals).await?;
        let mut filings = Vec::with_capacity(mails.len());
        let mut lines = Vec::with_capacity(mails.len());
        for mail in mails {
            let (folder, line) =
                self.record(&mut visit, &mut memory, place, mail, is_recovering, now).await?;
            if origin.home() != Some(folder.as_str()) {
                filings.push((mail.id.clone(), folder));
            }
            lines.push(line);
        }
        let urgent: Vec<Urgent> = lines.iter().flat_map(|line| line.urgent.iter().cloned()).collect();
        self.tell_urgent(&mut visit, &urgent, now).await?;
        let ids: Vec<&MailId> = mails.iter().map(|mail| &mail.id).collect();
        visit.commit(mailbox, validity, last_uid, &ids).await?;

        if !urgent.is_empty() || lines.iter().any(|line| line.answered) {
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
        is_recovering: bool,
        now: Timestamp,
    ) -> Result<(String, Line)> {
        let known = memory.known(&mail.identity);
        // What was glanced at among junk or in a folder and lies in the inbox now, somebody has put there to be read.
        let is_rescued =
            known.as_ref().is_some_and(|known| known.is_glanced) && place.origin == Origin::Inbox;
        let glanced = known.as_ref().filter(|known| is_rescued && known.same_mail).map(|known| known.id);
        if let Some(known) = known.filter(|_| !is_rescued) {
            return self.record_again(visit, place, mail, known).await;
        }
        let letter = letter_of(&mail.understanding);
        let sender = letter.and_then(|letter| letter.from.as_ref().ok());
        let case_file = self.case_file(visit, memory, letter, mail.received).await?;
        let mut decision =
            no_panic(|| decide(&mail.understanding, &self.table, &self.policy, &case_file, mail.received))
                .unwrap_or_else(|| held("deciding on it hit a fault of privacyd's own"));
        let reported = match place.origin {
            Origin::Folder(_) => None,
            Origin::Inbox | Origin::Junk(_) => self.reported(visit, letter, mail.received).await?,
        };
        if let Some((reported, effect)) = &reported {
            let what = if reported.is_notice { "notice" } else { "reply" };
            decision.why.push_str(&format!("; our {what} {} is {effect}", reported.id));
        }
        let stays = place.origin.temper(&mut decision, is_recovering);
        // A lost database may have answered what lies in our folders.
        let is_lost = is_recovering && matches!(place.origin, Origin::Folder(_));
        let is_glanced = stays.is_some() && !is_lost;
        loop {
            let folder = stays.map_or_else(|| self.folder(&decision.shelf), str::to_owned);
            let references = fresh_references(decision.requests.len())?;
            let letters = self.compose(&mut decision, &references, letter, now)?;
            let entry = Entry {
                in_thread: case_file.replies_in_thread.saturating_add(1),
                is_glanced,
                in_place_of: glanced,
                ..place.entry(mail, sender, &folder, &decision, &references, &letters)
            };
            match visit.record(&entry).await {
                Ok(id) => {
                    memory.remember(mail, id, &folder, is_glanced, &letters.replies);
                    memory.has_imminent |= approves(&decision);
                    if let (Some(sender), false) = (sender, decision.requests.is_empty()) {
                        memory.with_finals.insert(sender.normalised());
                    }
                    if stays.is_some() {
                        visit.moved(id, &folder).await?;
                    }
                    if let Some(token) = &mail.canary
                        && visit.canary_is_back(token).await?
                    {
                        info!(mailbox = place.mailbox, "the canary is back");
                    }
                    if let Some((reported, effect)) = &reported {
                        let held = visit.record_report(reported, *effect, id).await?;
                        log_report(reported, *effect, &held);
                    }
                    let line = self.line(mail, &decision, &references, sender, !letters.replies.is_empty());
                    return Ok((folder, line));
                }
                Err(RecordError::ReferenceTaken) => {}
                Err(RecordError::Refused(reason))
                    if !decision.requests.is_empty()
                        || !decision.answers.is_empty()
                        || !decision.steps.is_empty() =>
                {
                    error!(
                        mailbox = place.mailbox,
                        mail.id = mail.id.for_log(),
                        reason,
                        "mail could not be recorded with what it asks for: held"
                    );
                    decision = held("what it asks for could not be recorded");
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
        let why = format!("known: message {}", known.id);
        let decision = Decision::silent(Disposition::None, Shelf::Held, why);
        let home = place.origin.home();
        // Never back among junk, from where somebody has taken it.
        let is_own = self.own_folders().contains(&known.folder);
        let filed = if is_own { known.folder } else { self.folder(&Shelf::Held) };
        let folder = home.map_or(filed, str::to_owned);
        if !known.same_mail {
            let nothing = Letters::default();
            let entry = place.entry(mail, sender, &folder, &decision, &[], &nothing);
            let id = visit.record_duplicate(&entry).await.context("Cannot record a duplicate")?;
            if home.is_some() {
                visit.moved(id, &folder).await?;
            }
        } else if home.is_none() {
            visit.seen_again(known.id, place.mailbox, place.validity, &mail.id, &folder).await?;
        }
        let line = Line { outcome: "duplicate", ..self.line(mail, &decision, &[], sender, false) };
        Ok((folder, line))
    }

    /// The mail of ours that a bounce is about, and what it may change there.
    async fn reported(
        &self,
        visit: &mut Visit,
        letter: Option<&Letter>,
        received: Timestamp,
    ) -> Result<Option<(Reported, Effect)>> {
        let Some(report) = letter.and_then(|letter| letter.bounce.as_ref()) else { return Ok(None) };
        let Some(reported) = visit.reported(&report.message_id).await? else { return Ok(None) };
        let effect = weigh(report, &reported.recipient, &reported.state, reported.since, received);
        Ok(effect.map(|effect| (reported, effect)))
    }

    /// What the store knows of a mail's sender and of what the mail belongs to. Asked under the write
    /// lock, so that a code that two mails bear is good for one of them.
    async fn case_file(
        &self,
        visit: &mut Visit,
        memory: &Memory,
        letter: Option<&Letter>,
        received: Timestamp,
    ) -> Result<CaseFile> {
        let Some(letter) = letter else { return Ok(CaseFile::default()) };
        let mut file = memory.counts(letter);
        let before: Vec<MessageId> = letter.references.iter().chain(&letter.in_reply_to).cloned().collect();
        let names_any = !before.is_empty() || !letter.named.is_empty();
        let reading = letter.reading.as_ref();
        let may_stop =
            memory.has_imminent || reading.is_some_and(|it| it.grounds.iter().any(Ground::is_denied));
        if may_stop && names_any {
            file.imminent_named = visit.imminent_named(&letter.named, &before, &self.finals()).await?;
        }
        let (Ok(sender), Some(reading)) = (&letter.from, reading) else { return Ok(file) };
        if let Some(code) = &letter.code {
            file.proven = visit.proven_by(code, sender, received).await?;
        }
        if !letter.in_reply_to.is_empty() {
            file.thread = visit.thread_of(&letter.in_reply_to, sender).await?;
        }
        // Programs that wish their answers elsewhere, each time at another address, write from one.
        let people = [sender, answer_to(letter).unwrap_or(sender)].map(Address::normalised);
        if names_any {
            file.replies_in_thread = visit.replies_in_thread(&before, &letter.named, &people).await?;
        }
        let had_one = people.iter().any(|person| file.to_address_today(person) > 0);
        if let (Some(wording), true) = (&letter.wording, had_one) {
            let upon_it = visit.replies_upon(wording, &people).await?;
            file.replies_in_thread = file.replies_in_thread.max(upon_it);
        }
        let needs_proof = |kind: &str| self.table.kind(kind).is_some_and(|kind| kind.proof > 1);
        if reading.verdict.asked().iter().any(|finding| needs_proof(&finding.kind)) {
            file.waiting = visit.waiting_of(sender).await?;
        }
        if may_stop || memory.with_finals.contains(&sender.normalised()) {
            file.imminent = visit.imminent_of(sender, &self.finals()).await?;
        }
        if !self.proof.data_points.is_empty() && file.proven.iter().any(|request| request.proof_needed > 2) {
            file.data_points = visit.data_points(sender, &self.proof.data_points).await?;
        }
        Ok(file)
    }

    /// The types of what cannot be undone.
    fn finals(&self) -> Vec<&str> {
        let kinds = self.table.types.iter().filter(|kind| kind.verb.is_some_and(Verb::is_final));
        kinds.map(|kind| kind.name.as_str()).collect()
    }

    /// The replies that were decided. A template that fails costs its reply, not the request.
    fn compose(
        &self,
        decision: &mut Decision,
        references: &[String],
        letter: Option<&Letter>,
        now: Timestamp,
    ) -> Result<Letters> {
        let mut letters = Letters::default();
        let Some(letter) = letter else { return Ok(letters) };
        for answer in std::mem::take(&mut decision.answers) {
            let mut question = if answer.asks { Some(question(self.proof.valid_for, now)?) } else { None };
            let challenge = question.as_ref().map(|it| Challenge::new(&it.code, self.proof.valid_for, now));
            if let (Some(question), Some(challenge)) = (&mut question, &challenge) {
                // What is asked about once more may end before what is asked about now.
                let again = decision.asked_again().map(|earlier| challenge.until_again(earlier.asked));
                question.until = day(again.fold(challenge.until(), Timestamp::min));
                if answer.is_proven {
                    let planned = decision.requests.iter().filter(|it| it.status == Status::AwaitingProof);
                    question.changes = planned.flat_map(|planned| planned.changes.iter().cloned()).collect();
                }
            }
            let told = told(decision, references, &answer);
            // Ids are words of the sender's choice as well: to whom nothing is proven only the one goes that
            // makes a thread.
            let references = if answer.is_proven { letter.references.as_slice() } else { &[] };
            let thread = Thread { message_id: letter.message_id.as_ref(), references };
            if let Some(reply) = self.write(&answer, &told, thread, question.as_ref(), now)? {
                letters.replies.push(reply);
                letters.challenge = challenge.or(letters.challenge);
                decision.answers.push(answer);
            } else {
                decision.why.push_str("; not answered: the reply could not be written");
                if answer.asks {
                    decision.cannot_ask();
                }
            }
        }
        Ok(letters)
    }

    /// Writes one reply; `None`, and a line in the log, when it cannot be written.
    fn write(
        &self,
        answer: &Answer,
        told: &[Told<'_>],
        thread: Thread<'_>,
        question: Option<&Question>,
        now: Timestamp,
    ) -> Result<Option<Outgoing>> {
        let stamp = Stamp { unique: random()?, now };
        let more = More::question(question);
        let compose = || self.replies.compose(answer, told, thread, &self.table, stamp, more);
        Ok(composed("a reply that a person must write now", compose))
    }

    /// What time has brought: reminds whoever has not answered our question for half its time, and closes
    /// the requests of those whose time is over; not while a recovery lasts. Answers how many letters that
    /// were.
    ///
    /// # Errors
    /// The store does not work.
    pub async fn sweep(&self, now: Timestamp) -> Result<u64> {
        let mut letters = 0;
        loop {
            let mut visit = self.store.visit(now).await?;
            if visit.is_recovering().await? {
                return Ok(letters);
            }
            let lapses = visit.lapses(now).await?;
            if lapses.is_empty() {
                return Ok(letters);
            }
            for lapse in &lapses {
                letters += u64::from(self.lapse(&mut visit, lapse, now).await?);
            }
            visit.close().await?;
            self.queued.notify_one();
        }
    }

    /// The reminder for the requests of one mail, or their end. Under the same bounds as every other reply; a
    /// reminder that a bound swallows, or that a downtime has kept back, comes later, and the end after it.
    async fn lapse(&self, visit: &mut Visit, lapse: &Lapse, now: Timestamp) -> Result<bool> {
        let valid_for = self.proof.valid_for;
        let bound = self.bound_of(visit, lapse).await?;
        let later = bound.and_then(|_| remind_later(lapse, valid_for, now));
        let is_end = lapse.expires || bound.is_some() && later.is_none();
        let (template, change, reason, status) = match (is_end, lapse.is_undelivered) {
            (_, true) => (EXPIRED, Change::Hold, "our question could not be delivered", Status::Held),
            (true, _) => (EXPIRED, Change::Expire, "nobody answered our question in time", Status::Expired),
            (false, _) if bound.is_some() => {
                (REMINDER, Change::Note, "half of the time has gone by", Status::AwaitingProof)
            }
            (false, _) => (REMINDER, Change::Remind, "half of the time has gone by", Status::AwaitingProof),
        };
        let answer = Answer {
            to: lapse.subject.clone(),
            template: template.to_owned(),
            language: lapse.language.clone(),
            subject: None,
            asks: change == Change::Remind,
            is_proven: lapse.is_proven,
        };
        let may_write = bound.is_none() && !lapse.is_undelivered;
        let until = if lapse.until > now { lapse.until } else { respite(valid_for, now) };
        let question = match answer.asks && may_write {
            true => Some(Question {
                until: day(until),
                changes: changes(visit, lapse).await?,
                ..question(valid_for, now)?
            }),
            false => None,
        };
        let told: Vec<Told<'_>> = lapse.requests.iter().map(|r| Told { status, ..told_of(r) }).collect();
        let in_reply_to = lapse.rfc_message_id.as_deref().and_then(MessageId::parse_bracketed);
        let thread = Thread { message_id: in_reply_to.as_ref(), references: &[] };
        let reply = match may_write {
            true => self.write(&answer, &told, thread, question.as_ref(), now)?,
            false => None,
        };
        let reason = bound.map_or_else(|| reason.to_owned(), |bound| format!("{reason}; no letter: {bound}"));
        let steps: Vec<Step> = lapse
            .requests
            .iter()
            .map(|request| Step { request: request.id, actor: "clock", change, reason: reason.clone() })
            .collect();
        for request in &lapse.requests {
            let (id, kind, written) = (&request.reference, &request.kind, reply.is_some());
            info!(request.id = id, request.type = kind, outcome = status.name(), written, reason, "time has come");
        }
        let later = later.filter(|_| !is_end);
        let outcome = Lapsed {
            steps: &steps,
            reply: reply.as_ref(),
            code: question.as_ref().filter(|_| reply.is_some()).map(|question| &question.code),
            until: later.map_or(until, |(_, until)| until),
            remind_at: later.map(|(remind_at, _)| remind_at),
            unanswered: bound,
        };
        visit.record_lapse(lapse, &outcome).await?;
        Ok(reply.is_some())
    }

    /// The bound because of which nothing is written about `lapse` today. What nobody gets is under none.
    async fn bound_of(&self, visit: &mut Visit, lapse: &Lapse) -> Result<Option<&'static str>> {
        if lapse.is_undelivered {
            return Ok(None);
        }
        let (to_recipient, unproven) = visit.replies_today(&[&lapse.subject]).await?;
        let domain = lapse.subject.domain().to_ascii_lowercase();
        let replies = OfTheDay {
            to_address: to_recipient.values().sum(),
            unproven_in_domain: unproven.get(&domain).copied().unwrap_or(0),
            unproven_in_all: unproven.values().sum(),
        };
        Ok(self.policy.bound_of_the_day(replies, lapse.is_proven))
    }

    /// Reads mails, and checks signatures. No lock is held: name servers may be slow.
    async fn prepare(
        &self,
        home: &str,
        mails: Vec<Fetched>,
        give_up: bool,
        time_left: &mut Duration,
        now: Timestamp,
    ) -> Result<Vec<Prepared>> {
        if mails.is_empty() {
            return Ok(Vec::new());
        }
        let mails = Arc::new(mails);
        let mut prepared = self.read(home, Arc::clone(&mails), give_up, now).await?;
        self.verify(&mails, &mut prepared, time_left, now).await;
        Ok(prepared)
    }

    /// The pure rooms, on as many threads as the machine has.
    async fn read(
        &self,
        home: &str,
        mails: Arc<Vec<Fetched>>,
        give_up: bool,
        now: Timestamp,
    ) -> Result<Vec<Prepared>> {
        let (reader, home) = (Arc::clone(&self.reader), home.to_owned());
        let work = move || {
            let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS);
            let share = mails.len().div_ceil(threads).max(16);
            let prepare = |part: &[Fetched]| -> Vec<Prepared> {
                part.iter().map(|mail| prepare_one(&reader, &home, mail, give_up, now)).collect()
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

    /// Checks the signatures of letters of which our servers say nothing.
    async fn verify(
        &self,
        mails: &Arc<Vec<Fetched>>,
        prepared: &mut [Prepared],
        time_left: &mut Duration,
        now: Timestamp,
    ) {
        let Some(verifier) = &self.verifier else { return };
        let wanted = |mail: &Prepared| -> Option<Address> {
            let letter = letter_of(&mail.understanding)?;
            let is_wanted = letter.evidence.is_silent && letter.automatic.is_none();
            letter.from.as_ref().ok().filter(|_| is_wanted).cloned()
        };
        let asked = prepared.iter().enumerate().filter_map(|(index, mail)| Some((index, wanted(mail)?)));
        for (index, evidence) in verifier.check_all(mails, asked.collect(), now, time_left).await {
            if let Some(Understanding::Read(letter)) =
                prepared.get_mut(index).map(|mail| &mut mail.understanding)
            {
                letter.evidence = evidence;
            }
        }
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
        let urgent = decision
            .requests
            .iter()
            .zip(references)
            .filter(|(planned, _)| self.table.kind(&planned.kind).is_some_and(|kind| kind.urgent));
        let urgent = urgent.map(|(planned, reference)| Urgent {
            reference: reference.clone(),
            kind: planned.kind.clone(),
            due: written(planned.due),
            system: String::new(),
        });
        Line {
            id: mail.id.clone(),
            outcome: decision.disposition.name(),
            kind: match decision.disposition {
                Disposition::Automated(automatic) => automatic.name().to_owned(),
                _ => kinds.join(" "),
            },
            references: match references {
                [] => decision
                    .about
                    .iter()
                    .map(|earlier| earlier.reference.as_str())
                    .collect::<Vec<_>>()
                    .join(" "),
                opened => opened.join(" "),
            },
            why: decision.why.clone(),
            person: person.map(|person| self.pseudonyms.of(person)).unwrap_or_default(),
            answered,
            urgent: urgent.collect(),
            took: mail.took,
        }
    }
}

impl Line {
    fn write(&self, mailbox: &str) {
        let took_us = u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX);
        let Self { id, outcome, kind, references, why, person, answered, .. } = self;
        if !self.urgent.is_empty() {
            warn!(mailbox, mail.id = id.for_log(), request.id = references, request.type = kind, outcome, person, answered, took_us, why, "urgent mail received");
        } else if *outcome == "review" {
            warn!(mailbox, mail.id = id.for_log(), request.id = references, request.type = kind, outcome, person, answered, took_us, why, "mail held for a person");
        } else {
            info!(mailbox, mail.id = id.for_log(), request.id = references, request.type = kind, outcome, person, answered, took_us, why, "mail received");
        }
    }
}

/// Where a mail lies.
#[derive(Clone, Copy)]
struct Place<'a> {
    mailbox: &'a str,
    validity: u32,
    origin: Origin<'a>,
}

impl<'a> Place<'a> {
    fn entry(
        self,
        mail: &'a Prepared,
        sender: Option<&'a Address>,
        folder: &'a str,
        decision: &'a Decision,
        references: &'a [String],
        letters: &'a Letters,
    ) -> Entry<'a> {
        let letter = letter_of(&mail.understanding);
        Entry {
            mailbox: self.mailbox,
            validity: self.validity,
            mail_id: &mail.id,
            identity: &mail.identity,
            message_id: letter.and_then(|letter| letter.message_id.as_ref()),
            sender,
            evidence: letter.map(|letter| &letter.evidence),
            received: mail.received,
            language: letter.and_then(|letter| letter.reading.as_ref()?.language.as_deref()),
            folder,
            decision,
            references,
            words: letter.map_or([0; 32], |letter| letter.words),
            wording: letter.and_then(|letter| letter.wording.as_ref()),
            replies: &letters.replies,
            in_thread: 1,
            challenge: letters.challenge.as_ref(),
            is_glanced: false,
            in_place_of: None,
        }
    }
}

/// What is written about one mail.
#[derive(Default)]
struct Letters {
    replies: Vec<Outgoing>,
    /// The code in them, if they ask for one.
    challenge: Option<Challenge>,
}

/// The requests that `answer` speaks of.
fn told<'a>(decision: &'a Decision, references: &'a [String], answer: &Answer) -> Vec<Told<'a>> {
    let new =
        decision.requests.iter().zip(references).filter(|(planned, _)| planned.subject == answer.subject);
    let new = new.map(|(planned, reference)| Told {
        kind: &planned.kind,
        reference,
        due: planned.due,
        status: planned.status,
        proof_needed: planned.proof_needed,
    });
    // Who is told that they have confirmed has confirmed that.
    let is_told = |earlier: &&Earlier| {
        let is_unconfirmed = matches!(earlier.status, Status::AwaitingProof | Status::Held);
        answer.subject.is_none() && !(answer.template == CONFIRMED && is_unconfirmed)
    };
    let earlier = decision.about.iter().filter(is_told).map(told_of);
    new.chain(earlier).collect()
}

fn told_of(earlier: &Earlier) -> Told<'_> {
    Told {
        kind: &earlier.kind,
        reference: &earlier.reference,
        due: earlier.due,
        status: earlier.status,
        proof_needed: earlier.proof_needed,
    }
}

/// What the ledger knows of a window's mails and senders, kept true while the window is recorded.
#[derive(Default)]
struct Memory {
    mails: HashMap<([u8; 32], i64), Known>,
    letters: HashMap<[u8; 32], Known>,
    /// Replies of the last 24 hours, by whom they went to and by whose mail they answered.
    replies_today: HashMap<Address, u32>,
    /// Those to senders whom nothing authenticated, by domain.
    unproven_today: HashMap<String, u32>,
    /// Whether anything that cannot be undone may be about to be carried out, for anybody.
    has_imminent: bool,
    /// Senders of whom something that cannot be undone may wait, be it for proof.
    with_finals: HashSet<Address>,
}

impl Memory {
    async fn load(visit: &mut Visit, prepared: &[Prepared], finals: &[&str]) -> Result<Self> {
        let mut memory = Self::default();
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
        (memory.replies_today, memory.unproven_today) = visit.replies_today(&people).await?;
        memory.has_imminent = visit.has_imminent(finals).await?;
        memory.with_finals = visit.with_finals(&people, finals).await?;
        Ok(memory)
    }

    fn known(&self, identity: &Identity) -> Option<Known> {
        let by_bytes = self.mails.get(&(identity.digest, identity.size));
        Known::of(by_bytes, identity.letter.and_then(|letter| self.letters.get(&letter)))
    }

    /// A case file with what is counted.
    fn counts(&self, letter: &Letter) -> CaseFile {
        let replies_today = letter.correspondents().map(Address::normalised).map(|address| {
            let count = self.replies_today.get(&address).copied().unwrap_or(0);
            (address, count)
        });
        let domains = letter.correspondents().map(|address| address.domain().to_ascii_lowercase());
        let unproven_today_by_domain = domains.map(|domain| {
            let count = self.unproven_today.get(&domain).copied().unwrap_or(0);
            (domain, count)
        });
        CaseFile {
            replies_today: replies_today.collect(),
            unproven_today_by_domain: unproven_today_by_domain.collect(),
            unproven_today: self.unproven_today.values().sum(),
            ..CaseFile::default()
        }
    }

    fn remember(&mut self, mail: &Prepared, id: i64, folder: &str, is_glanced: bool, replies: &[Outgoing]) {
        let known = Known { id, folder: folder.to_owned(), same_mail: true, is_glanced };
        if let Some(letter) = mail.identity.letter {
            self.letters.insert(letter, Known { same_mail: false, ..known.clone() });
        }
        self.mails.insert((mail.identity.digest, mail.identity.size), known);
        let letter = letter_of(&mail.understanding);
        let sender = letter.and_then(|letter| letter.from.as_ref().ok()).map(Address::normalised);
        for reply in replies {
            let recipient = reply.recipient.normalised();
            if !reply.is_proven {
                *self.unproven_today.entry(recipient.domain().to_owned()).or_default() += 1;
            }
            if let Some(sender) = sender.as_ref().filter(|sender| **sender != recipient) {
                *self.replies_today.entry(sender.clone()).or_default() += 1;
            }
            *self.replies_today.entry(recipient).or_default() += 1;
        }
    }
}

/// Whether something may be carried out from now on.
fn approves(decision: &Decision) -> bool {
    decision.steps.iter().any(|step| matches!(step.change, Change::Approve { .. }))
        || decision.requests.iter().any(|planned| planned.status == Status::Approved)
}

/// What the requests of a lapse are to change, to show it again where its yes is still to come. The question has
/// shown it to the same address.
async fn changes(visit: &mut Visit, lapse: &Lapse) -> Result<Vec<Edit>> {
    let mut changes = Vec::new();
    for request in &lapse.requests {
        changes.extend(visit.changes(&request.reference).await?);
    }
    Ok(changes)
}

fn log_report(reported: &Reported, effect: Effect, held: &[String]) {
    let (id, template, held) = (reported.id, reported.template.as_str(), held.join(" "));
    match effect {
        Effect::Undelivered(_) => warn!(reply.id = id, reply = template, %effect, held, "reply came back"),
        Effect::Delayed | Effect::Delivered => {
            info!(reply.id = id, reply = template, %effect, "reply reported upon")
        }
    }
}

/// Runs a pure room; `None` when it panics. A fault of ours in one mail must not stop the others.
pub(crate) fn no_panic<T>(room: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(room)).ok()
}

/// The letter that `compose` writes; `None`, and a line in the log that says `what`, when it cannot be written.
pub(crate) fn composed<E: std::fmt::Display>(
    what: &str,
    compose: impl FnOnce() -> std::result::Result<Outgoing, E>,
) -> Option<Outgoing> {
    let reason = match no_panic(compose) {
        Some(Ok(letter)) => return Some(letter),
        Some(Err(error)) => error.to_string(),
        None => "a fault of privacyd's own".to_owned(),
    };
    error!(reason, "{what} could not be written");
    None
}

/// A mail for a person, of which nothing but its place in the ledger is recorded.
fn held(why: &str) -> Decision {
    Decision::silent(Disposition::Review, Shelf::Held, why)
}

fn letter_of(understanding: &Understanding) -> Option<&Letter> {
    match understanding {
        Understanding::Read(letter) => Some(letter),
        Understanding::Unreadable | Understanding::Unread(_) => None,
    }
}

/// A folder and its UIDVALIDITY: where a number is one mail's.
fn home_of(mailbox: &str, validity: u32) -> String {
    format!("{mailbox} {validity}")
}

/// What a mail that lies in `home` is known by, but for its being a letter.
fn identity_of(mail: &Fetched, home: &str) -> Identity {
    let bytes = mail.body.bytes();
    let mut hash = Sha256::new();
    if bytes.is_empty() {
        // There are no bytes to know it by: its place has to do, and it causes nothing but a held mail.
        hash.update(format!("{} {}", mail.id, mail.received));
        if mail.received == Timestamp::UNIX_EPOCH {
            // And where nobody says when it came, another folder's mail may have its number.
            hash.update(home);
        }
    }
    hash.update(bytes);
    let size = i64::try_from(mail.size).unwrap_or(i64::MAX);
    Identity { digest: hash.finalize().into(), size, letter: None }
}

fn prepare_one(reader: &Reader, home: &str, mail: &Fetched, give_up: bool, now: Timestamp) -> Prepared {
    let begun = Instant::now();
    let understanding = match &mail.body {
        Body::Whole(_) | Body::Head(_) if give_up => {
            Understanding::Unread("looking at it has ended the process three times")
        }
        Body::Whole(bytes) | Body::Head(bytes) => reader.read(bytes),
        Body::TooLarge(_) => Understanding::Unread("it is larger than max_message_size"),
        Body::Missing => Understanding::Unread("the server lists it but gives no body"),
    };
    let bytes = mail.body.bytes();
    // A list's copy of a letter must not pass for the letter: what a machine sent is known by its bytes alone.
    let is_automatic = letter_of(&understanding).is_some_and(|letter| letter.automatic.is_some());
    // And of a beginning alone nobody can say whether it is the same letter's.
    let is_cut = matches!(mail.body, Body::TooLarge(_));
    let letter = if give_up || is_automatic || is_cut { None } else { letter_digest(bytes) };
    Prepared {
        id: mail.id.clone(),
        identity: Identity { letter, ..identity_of(mail, home) },
        canary: canary::token(&understanding, bytes),
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
