//! What a person does with a request: `requests approve`, `deny`, `hold`, `release`, `reclassify`, `done`, `complete`,
//! `withdraw` and `note`; the first six also decide what its sender is told.
//!
//! Each is one transaction, refuses in one sentence what makes no sense as the request is now, and when it
//! is done already says so and changes nothing. No word of the operator's own goes into a mail, but for the values that
//! `complete --set` gives a correction: of the same signs as those that somebody writes in a mail.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::Serialize;

use super::{Mistake, as_mistake, not_found, print, print_json, unread_in_words};
use crate::cli::One;
use crate::clock::{Clock, Facts, written};
use crate::config::{Config, ProofConfig};
use crate::copy::Withheld;
use crate::correction::{Edit, spoken};
use crate::daemon;
use crate::decide::{Answer, CONFIRM, Planned, Proven, UNCLEAR};
use crate::evidence::Proof;
use crate::ladder::{Change, Denial, NAMES_ANOTHER, Status, begin};
use crate::random::{fresh_references, random};
use crate::reply::{DENIED, More, Outgoing, Replies, Stamp, Thread, Told};
use crate::request::{self, RequestType, Table};
use crate::sender::Address;
use crate::source::{Kept, Outcome, Report, TaskState};
use crate::store::Store;
use crate::store::clocks::Case;
use crate::store::hand::{Asked, Grip, Reclassified};
use crate::store::proof::{Challenge, question};
use crate::store::tasks::{Open, Teller};
use crate::store::visit::Visit;
use crate::work::withheld;

/// What is to be done.
#[derive(Debug, Clone)]
pub enum Verb {
    /// It may be carried out.
    Approve {
        /// The step of the ladder that was seen; otherwise the one its type asks for.
        proof: Option<u8>,
        /// Whose request it is. Without `proof` they are asked for it.
        subject: Option<Address>,
    },
    /// It is declined.
    Deny {
        /// Why.
        reason: Denial,
    },
    /// It stops.
    Hold {
        /// Why, in the operator's words.
        reason: Option<String>,
    },
    /// It goes on.
    Release,
    /// It asks for something else.
    Reclassify {
        /// The name of the type.
        kind: String,
    },
    /// A person says what has become of one system's part of it.
    Done {
        /// The system, as the configuration calls it.
        system: String,
        /// What.
        became: Became,
    },
    /// A person has carried it out; or says what a correction is to change, and the systems carry that out.
    Complete {
        /// The fields and their new values.
        set: Vec<Setting>,
    },
    /// Its sender has taken it back.
    Withdraw,
    /// Nothing but a line in its history.
    Note {
        /// In the operator's words.
        text: String,
    },
}

/// What a person gives a field of a correction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The field, as the company's systems call it.
    pub field: String,
    /// Its new value.
    pub value: String,
    /// Other systems alone may have it: it is not to be one that privacyd knows.
    pub is_new: bool,
}

/// What has become of one system's part of a request, in the words of a person.
#[derive(Debug, Clone, PartialEq)]
pub enum Became {
    /// It is done; of a copy, this is what the system holds: a JSON object.
    Done {
        /// See above.
        data: Option<serde_json::Value>,
    },
    /// There was nothing of this person.
    Nothing,
    /// It is done, but for what is kept, in words of [`crate::source::KEPT_WHAT`] and [`crate::source::KEPT_WHY`];
    /// of a copy, with what the system hands out nevertheless.
    Kept {
        /// What and why.
        kept: Vec<Kept>,
        /// See above.
        data: Option<serde_json::Value>,
    },
    /// It cannot be done.
    Failed,
}

impl Became {
    fn state(&self) -> TaskState {
        match self {
            Self::Done { .. } => TaskState::Done,
            Self::Nothing => TaskState::Nothing,
            Self::Kept { .. } => TaskState::Kept,
            Self::Failed => TaskState::Failed,
        }
    }

    /// The same as a system would say it.
    fn report(&self) -> Report {
        match self {
            Self::Done { data } => Report { data: data.clone(), ..Report::of(Outcome::Done) },
            Self::Nothing => Report::of(Outcome::Nothing),
            Self::Kept { kept, data } => {
                Report { kept: kept.clone(), data: data.clone(), ..Report::of(Outcome::Done) }
            }
            Self::Failed => Report { reason: "a person says so".into(), ..Report::of(Outcome::Failed) },
        }
    }
}

/// What has become of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Done {
    /// Its reference.
    pub reference: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its status.
    pub status: &'static str,
    /// Whether anything has changed; otherwise it was so already.
    pub changed: bool,
    /// The template of the mail that was queued to its sender, if one was.
    pub reply: Option<String>,
    /// The same in one sentence.
    pub said: String,
}

/// Why nothing was done with a request: one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such mail.
    #[error("There is no message {0}; privacyd messages list shows which there are")]
    NoMail(i64),
    /// It is a request already.
    #[error(
        "The message {0} has opened {1} already: say what one of those asks for, with privacyd requests reclassify REF TYPE"
    )]
    HasRequest(i64, String),
    /// A machine wrote it, or it came twice.
    #[error("No request can be opened for the message {0}: {1}")]
    NoLetter(i64, &'static str),
    /// There is no such request.
    #[error("There is no request {0}")]
    NotFound(String),
    /// Nothing is owed any more.
    #[error("The request {0} is {1}: it cannot be {2} any more")]
    Closed(String, &'static str, &'static str),
    /// Its work has begun.
    #[error("The request {0} is executing: wait until its systems are done, or hold it first")]
    Executing(String),
    /// Its work has begun, and waits for a person.
    #[error(
        "The request {0} is executing, and what {1} has to do is a person's: say with privacyd requests done {0} {1:?} that it is done, or hold it first"
    )]
    AtHand(String, String),
    /// A system has an order, and nobody knows what it has done.
    #[error(
        "The request {0} is at work in {1}: wait until that has answered, it is being asked (if privacyd does not run, start it)"
    )]
    Asked(String, String),
    /// What is done already would make it untrue.
    #[error("The request {0} cannot be declined any more, {1} its part: {2}")]
    PartlyDone(String, String, String),
    /// Nobody is at work on it.
    #[error("The request {0} is {1}: what a system has done can be said of one that is executing alone")]
    NotAtWork(String, &'static str),
    /// It is no matter of this system's.
    #[error("The request {0} has nothing to do in {1:?}, but in {2}")]
    NoSystem(String, String, String),
    /// That was said before.
    #[error("The part of {1} in the request {0} is over: {2}")]
    Settled(String, String, &'static str),
    /// A copy without anything in it, or data where none are asked for.
    #[error("The request {0} asks for {1}: {2}")]
    Data(String, String, &'static str),
    /// There is nothing that could be set.
    #[error("The request {0} asks for {1}: only a correction is completed with --set")]
    NotToSet(String, String),
    /// What is to be changed must be somebody's for certain.
    #[error(
        "The request {0} is {1}: approve it first, then say with privacyd requests complete {0} --set FIELD=VALUE what is to be changed"
    )]
    SetTooSoon(String, &'static str),
    /// What is set goes into a mail.
    #[error("The field {1} of the request {0} cannot be set: {2}")]
    Unsettable(String, String, &'static str),
    /// Nobody has said whose it is.
    #[error(
        "The mail of the request {0} names another address than its sender's: say whose data it is about, with privacyd requests approve {0} --for ADDRESS"
    )]
    Whose(String),
    /// Its type asks nobody.
    #[error(
        "The request {0} asks nobody for a proof: say with --proof what shows that it may be carried out for that address"
    )]
    Unasked(String),
    /// Nobody has shown that the erasure is the owner's wish.
    #[error(
        "The request {0} has no proof yet, and to complete it erases what privacyd holds for good: approve it first, and say with --proof what shows whose it is"
    )]
    Unproven(String),
    /// Nothing is erased that its owner may have asked to keep.
    #[error(
        "The request {0} cannot be completed yet, since that erases what privacyd holds for good: this person has written since what nobody has read or settled; privacyd requests show {0} names it"
    )]
    Unread(String),
    /// Nothing may be erased.
    #[error(
        "The contact of the request {0} is on legal hold, so it cannot be completed: deny it, or end the hold first"
    )]
    OnHold(String),
    /// Nobody has said what is asked for.
    #[error("Nobody has said yet what the request {0} asks for: privacyd requests reclassify {0} TYPE")]
    Unclear(String),
    /// It was held when it came, and there is nobody to ask.
    #[error("The request {0} has no proof, and its sender cannot be asked for one: approve it or deny it")]
    Unprovable(String),
    /// There is no such type.
    #[error("There is no request type {0:?}; there are {1}")]
    NoType(String, String),
    /// What the type asks for cannot be done without knowing for whom.
    #[error("The request {0} has no address, so nobody knows for whom to carry out {1}")]
    NoAddress(String, String),
    /// Who is not proven must not learn whether anything is held of them.
    #[error(
        "The request {0} is proven up to step {1}, and no_match asks for step {2}: it would tell somebody who may be a stranger that we do not know them. Deny it with insufficient_verification"
    )]
    Telling(String, u8, u8),
    /// A template does not do.
    #[error("The mail about the request {0} cannot be written, so nothing is changed: {1}")]
    Unwritable(String, String),
}

/// Why nothing was done with a request: it was refused, or the store does not work.
#[derive(Debug, thiserror::Error)]
pub enum NotDone {
    /// It is not to be done.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It could not be done.
    #[error(transparent)]
    Broken(#[from] anyhow::Error),
}

/// What it takes to do something with a request.
#[derive(Debug, Clone, Copy)]
pub struct Tools<'a> {
    /// The request types.
    pub table: &'a Table,
    /// The templates.
    pub replies: &'a Replies,
    /// The legal clocks.
    pub clock: &'a Clock,
    /// How people show that a request is theirs.
    pub proof: &'a ProofConfig,
    /// The contacts' field that says that nothing of somebody may be erased.
    pub hold_column: &'a str,
    /// What never leaves by mail.
    pub withheld: &'a Withheld,
}

/// What the configuration says of it, for the command line.
struct Kit<'a> {
    table: Table,
    replies: Replies,
    clock: Clock,
    withheld: Withheld,
    config: &'a Config,
}

impl<'a> Kit<'a> {
    fn load(config: &'a Config) -> Result<Self> {
        let table = Table::load(config.rules.as_deref())?;
        let clock = daemon::clock(config, &table).map_err(as_mistake)?;
        let replies = daemon::replies(config, &table).map_err(as_mistake)?;
        Ok(Self { table, replies, clock, withheld: withheld(config), config })
    }

    fn tools(&self) -> Tools<'_> {
        Tools {
            table: &self.table,
            replies: &self.replies,
            clock: &self.clock,
            proof: &self.config.proof,
            hold_column: &self.config.erasure.hold_column,
            withheld: &self.withheld,
        }
    }
}

fn refused(not_done: NotDone) -> Result<ExitCode> {
    match not_done {
        NotDone::Refused(refusal @ Refusal::NoType(..)) => Err(Mistake(refusal.to_string()).into()),
        NotDone::Refused(refusal) => not_found(&refusal.to_string()),
        NotDone::Broken(error) => Err(error),
    }
}

/// The command line's `messages reclassify`.
pub(super) async fn open_by(
    store: &Store,
    config: &Config,
    message: i64,
    kind: &str,
    json: bool,
) -> Result<ExitCode> {
    match open(store, Kit::load(config)?.tools(), message, kind, Timestamp::now()).await {
        Ok(done) if json => print_json(&done),
        Ok(done) => print(&done.said).map(|()| ExitCode::SUCCESS),
        Err(not_done) => refused(not_done),
    }
}

/// The command line's `requests` with one of the verbs.
pub(super) async fn act_by(store: &Store, config: &Config, one: &One, verb: Verb) -> Result<ExitCode> {
    match act(store, Kit::load(config)?.tools(), &one.reference, &verb, Timestamp::now()).await {
        Ok(done) if one.json => print_json(&done),
        Ok(done) => {
            let lets_go_on = matches!(verb, Verb::Approve { .. } | Verb::Release | Verb::Complete { .. });
            let unread = match lets_go_on {
                true => unread_in_words(&store.unread_of(&one.reference).await?),
                false => None,
            };
            let unread = unread.map_or_else(String::new, |unread| format!("\nBut {unread}"));
            print(&format!("{}{unread}", done.said))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(not_done) => refused(not_done),
    }
}

/// Opens a request of type `kind` for the mail `message` of the ledger, in which nothing was found or which nobody could
/// know the sense of; it goes on as if that had been found in it.
///
/// # Errors
/// As [`act`].
pub async fn open(
    store: &Store,
    tools: Tools<'_>,
    message: i64,
    kind: &str,
    now: Timestamp,
) -> Result<Done, NotDone> {
    let mut visit = store.visit(now).await?;
    let Some(opened) = visit.opened(message).await? else {
        return Err(Refusal::NoMail(message).into());
    };
    if !opened.requests.is_empty() {
        let references: Vec<String> = opened.requests.into_iter().map(|(reference, ..)| reference).collect();
        return Err(Refusal::HasRequest(message, references.join(", ")).into());
    }
    if visit.is_recovering().await? {
        return Err(Refusal::NoLetter(message, "a recovery lasts; end it first").into());
    }
    match opened.disposition.as_str() {
        _ if opened.is_purged => return Err(Refusal::NoLetter(message, "it is purged").into()),
        _ if !opened.has_sender => {
            return Err(Refusal::NoLetter(message, "nobody can know who wrote it").into());
        }
        "none" | "review" | "unreadable" => {}
        "automated" => return Err(Refusal::NoLetter(message, "a machine wrote it").into()),
        "duplicate" => return Err(Refusal::NoLetter(message, "it came before, and counts once").into()),
        _ => return Err(Refusal::NoLetter(message, "it is an answer to an earlier one").into()),
    }
    let reference = adopt(&mut visit, tools.clock, message, opened.received).await?;
    let grip = visit.grip(&reference).await?.context("A request of the ledger is gone")?;
    let done = reclassify(&mut visit, tools, &grip, kind, "", now).await?;
    visit.close().await?;
    Ok(Done { said: format!("For the message {message} {reference} is opened. {}", done.said), ..done })
}

/// Opens a request for a mail in which nothing was found, `held` and of no type yet; answers its reference.
///
/// # Errors
/// The store does not work.
pub async fn adopt(visit: &mut Visit, clock: &Clock, message: i64, received: Timestamp) -> Result<String> {
    let reference = fresh_references(1)?.pop().context("There is no reference")?;
    visit.adopt(message, &reference, &clock.run(UNCLEAR, &Facts::new(received))).await?;
    Ok(reference)
}

/// Does one thing with a request at `now`, with its history and the mail about it in one transaction;
/// answers what has become of it, or why nothing was done.
///
/// # Errors
/// The store does not work, or the mail cannot be written; then nothing has changed.
pub async fn act(
    store: &Store,
    tools: Tools<'_>,
    reference: &str,
    verb: &Verb,
    now: Timestamp,
) -> Result<Done, NotDone> {
    let key = store.tombstone_key().await?;
    let mut visit = store.visit(now).await?;
    let Some(grip) = visit.grip(reference).await? else {
        return Err(Refusal::NotFound(reference.to_owned()).into());
    };
    let hand = Hand { tools, grip: &grip, now };
    // What changes its type or its owner does so itself, also where a mail was moved. Held, it may still be released, and
    // goes on with the question that it has. What is refused leaves all as it was.
    if matches!(
        verb,
        Verb::Approve { subject: None, .. } | Verb::Deny { .. } | Verb::Withdraw | Verb::Complete { .. }
    ) {
        visit.drop_questions(grip.case.id).await?;
    }
    let done = match verb {
        Verb::Approve { proof, subject: None } => hand.approve(&mut visit, *proof).await?,
        Verb::Approve { proof, subject: Some(subject) } => {
            hand.approve_for(&mut visit, *proof, subject, tools).await?
        }
        Verb::Deny { reason } => hand.deny(&mut visit, *reason).await?,
        Verb::Hold { reason } => hand.hold(&mut visit, reason.as_deref()).await?,
        Verb::Release => hand.release(&mut visit, "").await?,
        Verb::Reclassify { kind } => hand.reclassify(&mut visit, kind, "").await?,
        Verb::Done { system, became } => hand.settle(&mut visit, system, became).await?,
        Verb::Complete { set } if set.is_empty() => hand.complete(&mut visit, &key).await?,
        Verb::Complete { set } => hand.set(&mut visit, set).await?,
        Verb::Withdraw => hand.withdraw(&mut visit).await?,
        Verb::Note { text } => hand.note(&mut visit, text).await?,
    };
    if done.changed {
        visit.close().await?;
        if matches!(verb, Verb::Complete { .. }) && hand.verb() == Some(request::Verb::Erase) {
            store.truncate_log().await?;
        }
    }
    Ok(done)
}

/// Makes a request one of type `kind` inside a visit; `how` is added to its history.
///
/// # Errors
/// As [`act`].
pub async fn reclassify(
    visit: &mut Visit,
    tools: Tools<'_>,
    grip: &Grip,
    kind: &str,
    how: &str,
    now: Timestamp,
) -> Result<Done, NotDone> {
    Hand { tools, grip, now }.reclassify(visit, kind, how).await
}

/// Lets a held request go on inside a visit; `how` is added to its history.
///
/// # Errors
/// As [`act`].
pub async fn release(
    visit: &mut Visit,
    tools: Tools<'_>,
    grip: &Grip,
    how: &str,
    now: Timestamp,
) -> Result<Done, NotDone> {
    Hand { tools, grip, now }.release(visit, how).await
}

/// One request in hand.
struct Hand<'a> {
    tools: Tools<'a>,
    grip: &'a Grip,
    now: Timestamp,
}

impl Hand<'_> {
    fn case(&self) -> &Case {
        &self.grip.case
    }

    fn reference(&self) -> String {
        self.case().reference.clone()
    }

    fn done(&self, status: Status, said: impl std::fmt::Display) -> Done {
        Done {
            reference: self.reference(),
            kind: self.case().kind.clone(),
            status: status.name(),
            changed: true,
            reply: None,
            said: format!("The request {} {said}", self.case().reference),
        }
    }

    fn already(&self, said: impl std::fmt::Display) -> Done {
        Done { changed: false, ..self.done(self.case().status, said) }
    }

    /// What systems do for it.
    fn verb(&self) -> Option<request::Verb> {
        self.tools.table.verb(&self.case().kind)
    }

    /// Refuses what a system is being asked, which goes on when it is held meanwhile.
    fn must_be_unasked(&self) -> Result<(), Refusal> {
        match self.grip.tasks.iter().find(|task| task.is_asked) {
            Some(task) => Err(Refusal::Asked(self.reference(), task.source.clone())),
            None => Ok(()),
        }
    }

    /// Refuses what is closed, and what a system is being asked.
    fn must_be_quiet(&self, verb: &'static str) -> Result<(), Refusal> {
        match self.case().status {
            Status::Executing => self.must_be_unasked(),
            _ => self.must_be_open(verb),
        }
    }

    /// Refuses what is closed or at work.
    fn must_be_open(&self, verb: &'static str) -> Result<(), Refusal> {
        match self.case().status {
            Status::Executing => {
                let is_at_hand = |task: &&Open| task.state == Some(TaskState::ByHand);
                Err(match self.grip.tasks.iter().find(is_at_hand) {
                    Some(task) => Refusal::AtHand(self.reference(), task.source.clone()),
                    None => Refusal::Executing(self.reference()),
                })
            }
            status if status.is_closed() => Err(Refusal::Closed(self.reference(), status.name(), verb)),
            _ => self.must_be_unasked(),
        }
    }

    /// What its systems have done or perhaps done, when that is no longer its own: it must not vanish from its history.
    fn done_before(&self) -> String {
        let named = |how: &str, is: fn(&Open) -> bool| {
            let names = self.grip.tasks.iter().filter(|task| is(task)).map(|task| task.source.as_str());
            let names = names.collect::<Vec<_>>().join(", ");
            if names.is_empty() { names } else { format!("; {how} before, as {}: {names}", self.case().kind) }
        };
        named("done", Open::is_done) + &named("perhaps done", |task| task.is_lost)
    }

    async fn approve(&self, visit: &mut Visit, proof: Option<u8>) -> Result<Done, NotDone> {
        let case = self.case();
        if matches!(case.status, Status::Approved | Status::Executing) {
            let step = self.grip.proof_given;
            return Ok(self.already(format!("is {} already, with proof of step {step}", case.status.name())));
        }
        self.must_be_open("approved")?;
        if case.kind == UNCLEAR {
            return Err(Refusal::Unclear(self.reference()).into());
        }
        if case.subject.is_none() && self.tools.table.kind(&case.kind).is_some_and(|kind| kind.verb.is_some())
        {
            return Err(Refusal::NoAddress(self.reference(), case.kind.clone()).into());
        }
        if self.grip.names_another {
            return Err(Refusal::Whose(self.reference()).into());
        }
        if let Some(kind) = self.done_at_once() {
            return self.carry_out(visit, kind, "a person lets it be done", true).await;
        }
        let proof = proof.unwrap_or(case.proof_needed.max(self.grip.proof_given));
        let answer = self.tools.clock.run(&case.kind, &Facts { proven: Some(self.now), ..case.facts }).answer;
        let later = (answer.due > case.due).then_some(answer);
        let due = later.as_ref().map_or(case.due, |later| later.due);
        let proven = Proven { request: case.id, at: self.now, later };
        visit
            .approve_by_hand(proof, &proven, format!("a person vouches for step {proof} of the proof"))
            .await?;
        Ok(self.done(Status::Approved, format!("is approved; it is due on {}", written(due))))
    }

    /// The same for whoever its mail names: from then on it is theirs.
    async fn approve_for(
        &self,
        visit: &mut Visit,
        proof: Option<u8>,
        subject: &Address,
        tools: Tools<'_>,
    ) -> Result<Done, NotDone> {
        let case = self.case();
        self.must_be_open("approved")?;
        if case.kind == UNCLEAR {
            return Err(Refusal::Unclear(self.reference()).into());
        }
        if proof.is_none() && case.proof_needed < 2 {
            return Err(Refusal::Unasked(self.reference()).into());
        }
        let is_theirs = !self.grip.names_another && case.subject.as_ref() == Some(&subject.normalised());
        let is_said = match proof {
            None => case.status == Status::AwaitingProof && self.grip.letters > 0,
            Some(proof) => case.status == Status::Approved && self.grip.proof_given >= proof,
        };
        if is_theirs && is_said {
            return Ok(self.already("is that address's already"));
        }
        let is_new = case.subject.as_ref() != Some(&subject.normalised());
        let before = if is_new { self.done_before() } else { String::new() };
        let reason = format!("a person has said whose request it is{before}");
        visit.set_subject(case, subject, tools.table, &reason).await?;
        // Whatever was approved was so for somebody else.
        let case = Case {
            status: Status::Held,
            subject: Some(subject.normalised()),
            is_proven: false,
            ..case.clone()
        };
        let facts = Facts { proven: None, ..case.facts };
        let grip = Grip {
            case: Case { facts, ..case },
            proof_given: 0,
            is_senders: false,
            letters: 0,
            names_another: false,
            tasks: if is_new { Vec::new() } else { self.grip.tasks.clone() },
            ..self.grip.clone()
        };
        let theirs = Hand { tools, grip: &grip, now: self.now };
        if proof.is_some() {
            let done = theirs.approve(visit, proof).await?;
            return Ok(Done { said: done.said + &before, ..done });
        }
        let Some(asked) = theirs.ask(&grip.case.kind, grip.case.proof_needed, grip.case.due)? else {
            return Err(Refusal::Unprovable(self.reference()).into());
        };
        visit.release_waiting(&grip, Some(&asked), "").await?;
        let done = theirs.done(
            Status::AwaitingProof,
            format!("is that address's now: it is asked to confirm it, and the question is queued{before}"),
        );
        Ok(Done { reply: Some(asked.letter.template), ..done })
    }

    async fn deny(&self, visit: &mut Visit, denial: Denial) -> Result<Done, NotDone> {
        let case = self.case();
        if case.status == Status::Denied {
            let why = self.grip.denied.as_deref().unwrap_or("a reason that is not known");
            return Ok(self.already(format!("is denied already, because of {why}")));
        }
        self.must_be_quiet("denied")?;
        let is_done = |task: &&Open| task.is_done() || task.is_lost;
        // A copy that was made has told nobody anything yet.
        if self.verb() != Some(request::Verb::Collect)
            && let Some(task) = self.grip.tasks.iter().find(is_done)
        {
            let who = format!("{} has {}done", task.source, if task.is_lost { "perhaps " } else { "" });
            let then = match case.status {
                Status::Held => format!(
                    "privacyd requests release {0} lets it go on, and all its systems are asked anew; privacyd requests complete {0} closes it, once you have done the rest",
                    case.reference
                ),
                _ => "say what has become of the rest with privacyd requests done".to_owned(),
            };
            return Err(Refusal::PartlyDone(self.reference(), who, then).into());
        }
        let (given, needed) = (self.grip.proof_given, case.proof_needed.clamp(1, 2));
        if denial == Denial::NoMatch && given < needed && case.subject.is_some() {
            return Err(Refusal::Telling(self.reference(), given, needed).into());
        }
        let reply = match self.answer(DENIED) {
            None => None,
            Some(answer) => {
                let told = self.told(&case.kind, Status::Denied, case.due);
                Some(self.compose(&answer, told, More::Denied(denial))?)
            }
        };
        visit.deny(case, denial, self.tools.table, reply.as_ref()).await?;
        let told = match &reply {
            Some(_) => "the reply is queued",
            None => "it has no address, so nobody is told: if you know of a way, tell them yourself",
        };
        let done = self.done(Status::Denied, format!("is denied; {told}"));
        Ok(Done { reply: reply.map(|reply| reply.template), ..done })
    }

    async fn hold(&self, visit: &mut Visit, reason: Option<&str>) -> Result<Done, NotDone> {
        if self.case().status == Status::Held {
            return Ok(self.already("is held already"));
        }
        self.must_be_quiet("held")?;
        let reason = reason.unwrap_or("a person wants it so").to_owned();
        visit.stop(self.case(), Change::Hold, reason).await?;
        let due = written(self.case().due);
        Ok(self.done(Status::Held, format!("is held; its clock runs on, it is due on {due}")))
    }

    async fn settle(&self, visit: &mut Visit, system: &str, became: &Became) -> Result<Done, NotDone> {
        let (case, tasks) = (self.case(), &self.grip.tasks);
        if case.status != Status::Executing {
            return Err(Refusal::NotAtWork(self.reference(), case.status.name()).into());
        }
        let Some(task) = tasks.iter().find(|task| task.source == system) else {
            let names: Vec<&str> = tasks.iter().map(|task| task.source.as_str()).collect();
            return Err(Refusal::NoSystem(self.reference(), system.to_owned(), names.join(", ")).into());
        };
        if task.is_asked {
            return Err(Refusal::Asked(self.reference(), task.source.clone()).into());
        }
        if let Some(state) = task.state.filter(|state| *state != TaskState::ByHand) {
            if state == became.state() {
                return Ok(self.already(format!("is over in {system} already ({})", state.name())));
            }
            return Err(Refusal::Settled(self.reference(), task.source.clone(), state.name()).into());
        }
        let report = became.report();
        let is_copy = self.verb() == Some(request::Verb::Collect);
        let wrong = match (is_copy, &report.data) {
            (true, _) if report.is_done_without_data() => "give what the system holds with --data FILE",
            (false, Some(_)) => "only a copy has --data",
            _ => "",
        };
        if !wrong.is_empty() {
            return Err(Refusal::Data(self.reference(), case.kind.clone(), wrong).into());
        }
        let state = visit.settle_task(task, &report, Teller::Person).await?;
        let is_open =
            |it: &&Open| it.id != task.id && it.state.is_none_or(|state| state == TaskState::ByHand);
        let then = match tasks.iter().filter(is_open).count() {
            0 => "that was the last: its sender is told by the next look at the work".to_owned(),
            left => format!("{left} more to do"),
        };
        let state = state.map_or("waiting", TaskState::name);
        Ok(self.done(Status::Executing, format!("is over in {system} ({state}); {then}")))
    }

    async fn complete(&self, visit: &mut Visit, key: &[u8; 32]) -> Result<Done, NotDone> {
        if self.case().status == Status::Completed {
            return Ok(self.already("is completed already"));
        }
        self.must_be_open("completed")?;
        let how = "a person has carried it out";
        if let Some(kind) = self.done_at_once() {
            // Whoever it was done for, it is not the sender of that mail.
            if kind.action.opts_out() && self.grip.names_another {
                return Err(Refusal::Whose(self.reference()).into());
            }
            return self.carry_out(visit, kind, how, false).await;
        }
        if let (Some(verb @ (request::Verb::Erase | request::Verb::Restrict)), Some(subject)) =
            (self.verb(), &self.case().subject)
        {
            if self.grip.names_another {
                return Err(Refusal::Whose(self.reference()).into());
            }
            if verb == request::Verb::Restrict {
                visit.restrict(self.case().id, subject).await?;
            } else if !visit.is_on_hold(subject, self.tools.hold_column).await? {
                // Our own record would be gone for good, at the word of whoever wrote that address into From.
                if self.case().facts.proven.is_none() && self.grip.proof_given < self.case().proof_needed {
                    return Err(Refusal::Unproven(self.reference()).into());
                }
                if visit.has_unread(self.case().id).await? {
                    return Err(Refusal::Unread(self.reference()).into());
                }
                visit.erase(self.case().id, subject, key).await?;
            } else if !self.grip.tasks.iter().any(|task| task.is_done() || task.is_lost) {
                // What systems have erased cannot be denied any more; our own record is kept.
                return Err(Refusal::OnHold(self.reference()).into());
            }
        }
        let is_correction = self.verb() == Some(request::Verb::Correct);
        if is_correction && !self.grip.tasks.iter().any(Open::is_done) {
            // A person may have done it in every system, or in none: what privacyd did is known.
            visit.stop(self.case(), Change::Complete, format!("{how}; privacyd has changed nothing")).await?;
            return Ok(self.done(
                Status::Completed,
                "is completed as carried out by hand; no mail goes out, and privacyd has changed nothing itself, as complete --set FIELD=VALUE would have",
            ));
        }
        visit.stop(self.case(), Change::Complete, how.to_owned()).await?;
        Ok(self.done(Status::Completed, "is completed; no mail goes out"))
    }

    /// What a correction is to change, of which its mails say nothing certain. The systems carry it out as if they had.
    async fn set(&self, visit: &mut Visit, set: &[Setting]) -> Result<Done, NotDone> {
        let case = self.case();
        if self.verb() != Some(request::Verb::Correct) {
            return Err(Refusal::NotToSet(self.reference(), case.kind.clone()).into());
        }
        self.must_be_open("completed")?;
        let subject = match &case.subject {
            Some(subject) if case.status == Status::Approved => subject,
            _ => return Err(Refusal::SetTooSoon(self.reference(), case.status.name()).into()),
        };
        let mut changes: Vec<Edit> = Vec::with_capacity(set.len());
        for Setting { field, value, .. } in set {
            let wrong = match () {
                () if changes.iter().any(|change| spoken(&change.field) == spoken(field)) => {
                    "it is set twice"
                }
                () if self.tools.withheld.is(field) => {
                    "what stands in such a field never leaves by mail, and the person is told what was changed. Change it by hand, and complete the request without --set"
                }
                () => "",
            };
            if !wrong.is_empty() {
                return Err(Refusal::Unsettable(self.reference(), field.clone(), wrong).into());
            }
            changes.push(Edit { field: field.clone(), old: None, new: value.clone() });
        }
        let mut known = visit.fill_in_old(subject, &mut changes).await?;
        known.extend(self.tools.replies.form().iter().cloned());
        // A misspelt one would be told as changed by a system that overlooks what it does not know.
        if let Some(unknown) = set.iter().find(|it| !it.is_new && !known.contains(&it.field)) {
            let why = "neither the contact nor correction.fields has it. See that it is spelt right; if another system calls a field so, give it with --new-field instead of --set";
            return Err(Refusal::Unsettable(self.reference(), unknown.field.clone(), why).into());
        }
        changes.sort_by(|one, other| one.field.cmp(&other.field));
        let shown = changes.iter().map(|Edit { field, old, new }| {
            let old = old.as_deref().map_or(String::new(), |old| format!("{old} "));
            format!("{field}: {old}-> {new}")
        });
        let shown = shown.collect::<Vec<_>>().join("; ");
        let before = visit.changes(&self.reference()).await?;
        if before == changes {
            return Ok(self.already(format!("is to change this already: {shown}")));
        }
        let is_dropped = |change: &&Edit| changes.iter().all(|new| new.field != change.field);
        let mut more = String::new();
        let dropped: Vec<&str> = before.iter().filter(is_dropped).map(|it| it.field.as_str()).collect();
        if !dropped.is_empty() {
            more = format!("; no longer to be changed: {}", dropped.join(", "));
        }
        visit.set_changes(case, &changes).await?;
        let told = "is carried out by the next look at the work, and its sender is told then";
        Ok(self.done(case.status, format!("{told}: {shown}{more}")))
    }

    async fn withdraw(&self, visit: &mut Visit) -> Result<Done, NotDone> {
        if self.case().status == Status::Withdrawn {
            return Ok(self.already("is withdrawn already"));
        }
        self.must_be_open("withdrawn")?;
        // Its systems are not asked to undo it: a person has to.
        let before = self.done_before();
        let reason = format!("a person says that its sender has taken it back{before}");
        visit.withdraw(self.case(), reason, self.tools.table).await?;
        Ok(self.done(Status::Withdrawn, format!("is withdrawn; no mail goes out{before}")))
    }

    async fn note(&self, visit: &mut Visit, text: &str) -> Result<Done, NotDone> {
        if self.grip.noted.as_deref() == Some(text) {
            return Ok(self.already("bears this note already"));
        }
        visit.note(self.case().id, text).await?;
        Ok(self.done(self.case().status, "bears the note"))
    }

    async fn release(&self, visit: &mut Visit, how: &str) -> Result<Done, NotDone> {
        let (case, grip) = (self.case(), self.grip);
        self.must_be_open("released")?;
        if case.status != Status::Held {
            return Ok(self.already(format!("is not held: it is {}", case.status.name())));
        }
        if case.kind == UNCLEAR {
            return Err(Refusal::Unclear(self.reference()).into());
        }
        if grip.names_another {
            return Err(Refusal::Whose(self.reference()).into());
        }
        if let Some(kind) = self.done_at_once() {
            return self.carry_out(visit, kind, &format!("released{how}"), true).await;
        }
        if case.facts.proven.is_some() || grip.proof_given >= case.proof_needed {
            visit.release_approved(case, grip.proof_given, how).await?;
            return Ok(self.done(Status::Approved, "is released: it is approved"));
        }
        // Step 1 rests on the mail itself: there is nothing to ask.
        if case.proof_needed < 2 {
            return Err(Refusal::Unprovable(self.reference()).into());
        }
        if grip.letters > 0 && !grip.is_undelivered {
            visit.release_waiting(grip, None, how).await?;
            return Ok(self.done(Status::AwaitingProof, "is released: it waits for its proof again"));
        }
        let Some(asked) = self.ask(&case.kind, case.proof_needed, case.due)? else {
            return Err(Refusal::Unprovable(self.reference()).into());
        };
        visit.release_waiting(grip, Some(&asked), how).await?;
        let said = "is released: its sender is asked to confirm it, and the question is queued";
        let done = self.done(Status::AwaitingProof, said);
        Ok(Done { reply: Some(asked.letter.template), ..done })
    }

    async fn reclassify(&self, visit: &mut Visit, kind: &str, how: &str) -> Result<Done, NotDone> {
        let case = self.case();
        let Some(kind) = self.tools.table.kind(kind) else {
            let known: Vec<&str> = self.tools.table.types.iter().map(|kind| kind.name.as_str()).collect();
            return Err(Refusal::NoType(kind.to_owned(), known.join(", ")).into());
        };
        if case.kind == kind.name {
            return Ok(self.already(format!("is of type {} already", kind.name)));
        }
        self.must_be_open("reclassified")?;
        let mut planned = self.plan(kind);
        if planned.status == Status::Completed && case.subject.is_none() {
            return Err(Refusal::NoAddress(self.reference(), kind.name.clone()).into());
        }
        let mut asked = None;
        if planned.status == Status::AwaitingProof {
            asked = self.ask(&kind.name, kind.proof, planned.due)?;
            if asked.is_none() {
                planned.status = Status::Held;
                planned.held_because = Some("its sender could not be asked: a person must look");
            }
        }
        let reply = if asked.is_some() { None } else { self.acknowledge(kind, &planned)? };
        let before = self.done_before();
        let reason = format!("from {} to {}{how}{before}", case.kind, kind.name);
        let new = Reclassified {
            case,
            planned: &planned,
            proof_given: u8::from(self.proof().is_authenticated()),
            reason: &reason,
            asked: asked.as_ref(),
            reply: reply.as_ref(),
        };
        visit.reclassify(&new, self.tools.table).await?;
        let then = match planned.status {
            Status::Completed => "it is completed".to_owned(),
            Status::AwaitingProof => "its sender is asked to confirm it".to_owned(),
            Status::Held => format!("it is held: {}", planned.held_because.unwrap_or("a person must look")),
            status => format!("it is {}, due on {}", status.name(), written(planned.due)),
        };
        let done = self.done(planned.status, format!("is of type {} now; {then}{before}", kind.name));
        let letter = asked.map(|asked| asked.letter).or(reply);
        Ok(Done { kind: kind.name.clone(), reply: letter.map(|letter| letter.template), ..done })
    }

    /// The type of the request, if it is finished when its mail has been received: it was held for where or when
    /// that came.
    fn done_at_once(&self) -> Option<&RequestType> {
        self.tools.table.kind(&self.case().kind).filter(|kind| kind.action.completes())
    }

    async fn carry_out(
        &self,
        visit: &mut Visit,
        kind: &RequestType,
        how: &str,
        is_told: bool,
    ) -> Result<Done, NotDone> {
        let case = self.case();
        if is_told && case.subject.is_none() {
            return Err(Refusal::NoAddress(self.reference(), kind.name.clone()).into());
        }
        let told = self.told(&kind.name, Status::Completed, case.due);
        let reply = match self.answer(&kind.name).filter(|_| is_told) {
            Some(answer) => Some(self.compose(&answer, told, More::Nothing)?),
            None => None,
        };
        visit.carry_out(case, kind.action, how, reply.as_ref()).await?;
        let told = if reply.is_some() { "the reply is queued" } else { "no mail goes out" };
        let done = self.done(Status::Completed, format!("is completed; {told}"));
        Ok(Done { reply: reply.map(|reply| reply.template), ..done })
    }

    /// What proves that the mail is its request's owner's.
    fn proof(&self) -> Proof {
        match self.grip.proof {
            Proof::Conflict => Proof::Conflict,
            proof if self.grip.is_senders => proof,
            _ => Proof::None,
        }
    }

    /// How a request of this type begins. Who has said what a mail asks for has not yet said of whom: where somebody
    /// else may be meant, not even an opt-out is done for its sender.
    fn plan(&self, kind: &RequestType) -> Planned {
        let names_another = self.grip.names_another;
        let (status, held_because) = match begin(kind, self.proof(), names_another) {
            (Status::Completed, _) if names_another => (Status::Held, Some(NAMES_ANOTHER)),
            begun => begun,
        };
        let facts = self.case().facts;
        let facts = Facts { extended: facts.extended, ..Facts::new(facts.received) };
        let timetable = self.tools.clock.run(&kind.name, &facts);
        Planned {
            kind: kind.name.clone(),
            action: kind.action,
            status,
            proof_needed: kind.proof,
            confidence: 1.0,
            due: timetable.answer.due,
            due_source: timetable.answer.source.clone(),
            owed: timetable.owed(),
            reason: String::new(),
            held_because,
            subject: None,
            changes: Vec::new(),
            // Nobody has read it for more than its type.
            by_hand: !kind.by_hand.is_empty(),
            appeals: Vec::new(),
        }
    }

    /// The reply to a mail that was understood as of this type, if there is anybody to write to. Somebody of
    /// whom the evidence contradicts itself has been told that a person looks.
    fn acknowledge(&self, kind: &RequestType, planned: &Planned) -> Result<Option<Outgoing>, NotDone> {
        let is_held = planned.status == Status::Held;
        if is_held && (self.proof() == Proof::Conflict || kind.action.completes()) {
            return Ok(None);
        }
        let told = self.told(&kind.name, planned.status, planned.due);
        let Some(answer) = self.answer(&kind.name) else { return Ok(None) };
        self.compose(&answer, told, More::Nothing).map(Some)
    }

    /// The question whether the request is its reader's own, if there is anybody to ask.
    fn ask(&self, kind: &str, proof_needed: u8, due: jiff::civil::Date) -> Result<Option<Asked>, NotDone> {
        let Some(answer) = self.answer(CONFIRM) else { return Ok(None) };
        let valid_for = self.tools.proof.valid_for;
        let question = question(valid_for, self.now)?;
        let challenge = Challenge::new(&question.code, valid_for, self.now);
        let told = Told { proof_needed, ..self.told(kind, Status::AwaitingProof, due) };
        let letter = self.compose(&Answer { asks: true, ..answer }, told, More::Question(&question))?;
        Ok(Some(Asked { letter, challenge }))
    }

    fn compose(&self, answer: &Answer, told: Told<'_>, more: More<'_>) -> Result<Outgoing, NotDone> {
        let thread = Thread { message_id: self.case().rfc_message_id.as_ref(), references: &[] };
        let stamp = Stamp { unique: random()?, now: self.now };
        let composed = self.tools.replies.compose(answer, &[told], thread, self.tools.table, stamp, more);
        Ok(composed.map_err(|error| Refusal::Unwritable(self.reference(), error.to_string()))?)
    }

    fn told<'a>(&'a self, kind: &'a str, status: Status, due: jiff::civil::Date) -> Told<'a> {
        let case = self.case();
        Told { kind, reference: &case.reference, due, status, proof_needed: case.proof_needed }
    }

    /// A reply to whoever the request is of; `None` where no address is known.
    fn answer(&self, template: &str) -> Option<Answer> {
        Some(Answer {
            to: self.case().subject.clone()?,
            template: template.to_owned(),
            language: self.case().language.clone(),
            subject: None,
            asks: false,
            is_proven: self.case().is_proven,
        })
    }
}
