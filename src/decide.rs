//! What follows from a mail: the plan, complete, before anything is done.
//!
//! Pure: what was understood, what the store knows of the sender, and the time go in; a [`Decision`]
//! comes out that leaves the rooms behind no choice. Nothing here acts, and nothing behind decides.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::Date;

use crate::answer::Said;
use crate::bounce::Report;
use crate::classify::{Finding, Reading, Verdict};
use crate::clock::{Clock, Deadline, Facts};
use crate::code::Code;
use crate::correction::Edit;
use crate::evidence::{Evidence, Proof};
use crate::ladder::{
    Bearing, Change, Earlier, Status, Step, WHOSE, bearing, begin, says_the_same, stops_of, waits_already,
};
use crate::lexicon::ABOUT_ANOTHER;
use crate::message::MessageId;
use crate::request::{Action, FOLLOW_UP, RequestType, Table};
use crate::screen::Automatic;
use crate::sender::{Address, NoSender};
use crate::token::Token;

/// The kind of a request that waits for a person to say what it is.
pub const UNCLEAR: &str = "unclear";

/// The template of the question whether a request is its sender's own.
pub const CONFIRM: &str = "confirm";

/// The template of the one reminder of that question.
pub const REMINDER: &str = "reminder";

/// The template that tells that nobody answered it in time.
pub const EXPIRED: &str = "expired";

/// The template that answers a yes.
pub const CONFIRMED: &str = "confirmed";

/// The template that answers a no, or a never mind.
pub const WITHDRAWN: &str = "withdrawn";

/// The type of what keeps data from use, and so from being erased.
pub const RESTRICTION: &str = "restriction";

/// The request type that an unsubscribe token asks for.
pub const OPT_OUT: &str = "opt_out";

/// How sure an unsubscribe token makes: as sure as anything.
pub const BY_TOKEN: f64 = 0.999;

/// What the pure rooms made of a mail.
#[derive(Debug, Clone)]
pub enum Understanding {
    /// It was read.
    Read(Box<Letter>),
    /// There is not one header field in it.
    Unreadable,
    /// It was not read, and a person must: why not.
    Unread(&'static str),
}

/// A mail that was read.
#[derive(Debug, Clone)]
pub struct Letter {
    /// Who wrote.
    pub from: Result<Address, NoSender>,
    /// What proves that it is so.
    pub evidence: Evidence,
    /// Where the sender wishes answers: never an identity, and never one of our own addresses.
    pub reply_to: Option<Address>,
    /// The mark of automatic mail, if it bears one.
    pub automatic: Option<(Automatic, &'static str)>,
    /// Its unsubscribe tokens. They count in automatic mail too, but not in a report or in our own.
    pub token: Token,
    /// What is asked. In automatic mail nothing, unless its mark stands on people's mail too and a right is
    /// asked for.
    pub reading: Option<Reading>,
    /// To thread the reply by.
    pub message_id: Option<MessageId>,
    /// The thread before it.
    pub references: Vec<MessageId>,
    /// The mails it answers.
    pub in_reply_to: Vec<MessageId>,
    /// The one-time code it bears.
    pub code: Option<Code>,
    /// References of ours, PR-…, in its subject and text, quoted or not. They prove nothing.
    pub named: Vec<String>,
    /// Digest of the letters in its own words: the same for two mails that a program writes from one form, with
    /// another number in each. `None` where there are none, and in automatic mail.
    pub wording: Option<[u8; 32]>,
    /// What its words say to a question of ours, if it answers one.
    pub said: Said,
    /// The changes of the sender's data that it asks for, where every word of it is understood.
    pub changes: Vec<Edit>,
    /// Whether it names one of our addresses among those it was sent to.
    pub is_addressed: bool,
    /// Whether its words name an address that is neither its sender's nor ours.
    pub names_another: bool,
    /// What it reports of a mail of ours, if it is a bounce.
    pub bounce: Option<Report>,
    /// A digest of its own words, to tell a letter that was sent again from another one.
    pub words: [u8; 32],
    /// Its subject, where that is the sender's; never stored or logged.
    pub subject: String,
    /// What the sender wrote; for `classify`, never stored or logged.
    pub own_words: String,
    /// What stands beside a yes in it, of [`Said::YesAndData`]: see [`crate::answer::Answers::read`].
    pub beside_yes: Vec<String>,
    /// Whether there is nothing in it but thanks, which are a yes in no language.
    pub is_thanks: bool,
}

impl Letter {
    /// Everybody who may get a reply to it.
    pub fn correspondents(&self) -> impl Iterator<Item = &Address> {
        let by_token: &[Address] = match &self.token {
            Token::Valid(addresses) => addresses,
            Token::Invalid | Token::None => &[],
        };
        self.from.as_ref().ok().into_iter().chain(&self.reply_to).chain(by_token)
    }
}

/// What the store knows of a mail's sender and of what the mail belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CaseFile {
    /// Replies queued in the last 24 hours, by normalised address, for everybody who may get one: to that
    /// address, or to its mail, wherever it wished them.
    pub replies_today: Vec<(Address, u32)>,
    /// The same, to readers of whom nothing is proven, by domain, for everybody who may get one.
    pub unproven_today_by_domain: Vec<(String, u32)>,
    /// The same, to all of them.
    pub unproven_today: u32,
    /// Mails of ours to this sender, or where this one wishes answers, in the thread: of which this is one by Message-ID, or by a reference of
    /// ours, since many a program ties its answer by the subject alone; or, to a sender who has had one
    /// today, upon the same words, since some tie it by nothing.
    pub replies_in_thread: u32,
    /// The requests that the code in the mail proves.
    pub proven: Vec<Earlier>,
    /// The requests of the mail of ours that it answers.
    pub thread: Vec<Earlier>,
    /// The sender's requests that wait for proof.
    pub waiting: Vec<Earlier>,
    /// The sender's requests of what cannot be undone that will be, or are being, carried out, or wait for proof; where no
    /// mail could stop any they are not looked for.
    pub imminent: Vec<Earlier>,
    /// Whosever such requests the mail names, or to whose letters it refers.
    pub imminent_named: Vec<Earlier>,
    /// What we hold of the sender, of the configured data points.
    pub data_points: Vec<(String, String)>,
}

impl CaseFile {
    /// The references of those of its requests that are `of_interest`, each once.
    fn references(&self, of_interest: impl Fn(i64) -> bool) -> String {
        let all = [&self.proven, &self.thread, &self.imminent, &self.imminent_named].into_iter().flatten();
        let all: BTreeSet<&str> =
            all.filter(|request| of_interest(request.id)).map(|request| request.reference.as_str()).collect();
        all.into_iter().collect::<Vec<_>>().join(", ")
    }

    /// Replies of the last 24 hours to this address, or to its mail.
    pub fn to_address_today(&self, address: &Address) -> u32 {
        let address = address.normalised();
        self.replies_today.iter().find(|(known, _)| *known == address).map_or(0, |(_, count)| *count)
    }
}

/// Why a person reads the letter of a service that writes on people's behalf.
pub const AGENTS: &str = "a service asks for somebody else and has to show its authority";

/// What a mail turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// It asks for something that a rule knows.
    Requests,
    /// A machine wrote it.
    Automated(Automatic),
    /// A person must look.
    Review,
    /// Nothing is asked.
    None,
    /// It cannot be read.
    Unreadable,
}

impl Disposition {
    /// The word for it in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Automated(_) => "automated",
            Self::Review => "review",
            Self::None => "none",
            Self::Unreadable => "unreadable",
        }
    }
}

/// Where a mail is filed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shelf {
    /// In the folder of this request type.
    Kind(String),
    /// A person must look.
    Held,
    /// Written by machines.
    Automatic,
    /// Cannot be read.
    Unreadable,
}

/// A request to open.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// Its type, or [`UNCLEAR`].
    pub kind: String,
    /// What is done at once, if its status allows it.
    pub action: Action,
    /// How it begins.
    pub status: Status,
    /// The step of the ladder that its type asks for, 0 to 3.
    pub proof_needed: u8,
    /// 0 to 1.
    pub confidence: f64,
    /// By when.
    pub due: Date,
    /// Which law says so.
    pub due_source: String,
    /// What is owed until when: the answer, and an acknowledgement where a law wants one.
    pub owed: Vec<Deadline>,
    /// Why, for the first event.
    pub reason: String,
    /// Why a person must look, if it is held.
    pub held_because: Option<&'static str>,
    /// Whose request it is, normalised, where that is not the sender.
    pub subject: Option<Address>,
    /// What a correction is to change, as an authenticated sender has said with certainty.
    pub changes: Vec<Edit>,
    /// Whether no system may carry it out by itself; see [`RequestType::by_hand`].
    pub by_hand: bool,
    /// Rows of the denied requests that it asks to look at again.
    pub appeals: Vec<i64>,
}

/// An earlier request whose proof has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// Its row.
    pub request: i64,
    /// When our server received the proof.
    pub at: Timestamp,
    /// By when it is due now, where its law counts from the proof.
    pub later: Option<Deadline>,
}

/// A reply to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// To whom.
    pub to: Address,
    /// The folder of templates.
    pub template: String,
    /// In which language.
    pub language: String,
    /// Which of the mail's requests it speaks of: those of this [`Planned::subject`].
    pub subject: Option<Address>,
    /// Whether it asks for a proof: it then bears a code for every request that waits for one.
    pub asks: bool,
    /// Whether it is known who reads there: the sender is authenticated, or our own key made a token for
    /// this address.
    pub is_proven: bool,
}

/// All that follows from one mail.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What the mail turned out to be.
    pub disposition: Disposition,
    /// Where it is filed.
    pub shelf: Shelf,
    /// Requests to open, in their safe order.
    pub requests: Vec<Planned>,
    /// What is done with earlier requests.
    pub steps: Vec<Step>,
    /// Those requests, as they are after that.
    pub about: Vec<Earlier>,
    /// Which of them this mail proves, and what that does to their clocks.
    pub proven: Vec<Proven>,
    /// Which of them it says anew what to change, by row. None of it where that is not certain any more.
    pub corrected: Vec<(i64, Vec<Edit>)>,
    /// The replies that may be written: to the sender, and to those whose tokens opt them out.
    pub answers: Vec<Answer>,
    /// The bound because of which a reply is not written.
    pub unanswered: Option<&'static str>,
    /// One sentence for the ledger: why this, and why no reply.
    pub why: String,
}

impl Decision {
    /// Whether a person must read the mail, and no request that is held stands for it.
    pub fn is_to_read(&self) -> bool {
        matches!(self.disposition, Disposition::Review | Disposition::Unreadable)
            && self.requests.iter().all(|planned| planned.status != Status::Held)
    }

    /// A mail that opens nothing and is not answered.
    pub fn silent(disposition: Disposition, shelf: Shelf, why: impl Into<String>) -> Self {
        Self {
            disposition,
            shelf,
            requests: Vec::new(),
            steps: Vec::new(),
            about: Vec::new(),
            proven: Vec::new(),
            corrected: Vec::new(),
            answers: Vec::new(),
            unanswered: None,
            why: why.into(),
        }
    }

    /// What was to wait for an answer waits for a person where the question cannot be sent.
    pub fn cannot_ask(&mut self) {
        for planned in &mut self.requests {
            if planned.status == Status::AwaitingProof {
                planned.status = Status::Held;
                planned.held_because = Some("its sender could not be asked: a person must look");
            }
        }
        for step in &mut self.steps {
            if step.change == Change::AskAgain {
                step.change = Change::Note;
                step.reason.push_str("; the question could not be sent again");
            }
        }
    }

    /// The earlier requests that a question goes out for once more.
    pub fn asked_again(&self) -> impl Iterator<Item = &Earlier> {
        let is_asked = |earlier: &&Earlier| {
            self.steps.iter().any(|step| step.request == earlier.id && step.change == Change::AskAgain)
        };
        self.about.iter().filter(is_asked)
    }

    /// Whether a question goes out with it for some request.
    fn asks(&self) -> bool {
        self.requests.iter().any(|planned| planned.status == Status::AwaitingProof)
            || self.asked_again().next().is_some()
    }
}

/// What an operator has set, as far as decisions depend on it.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Language of replies when the mail's own cannot be told.
    pub fallback_language: String,
    /// Replies that one address gets in 24 hours at the most.
    pub replies_per_day: u32,
    /// Replies in 24 hours to one domain's senders whom nothing authenticates.
    pub unproven_replies_per_domain: u32,
    /// The same, to all of them.
    pub unproven_replies_in_all: u32,
    /// Replies of ours in one thread.
    pub replies_per_thread: u32,
    /// How many data points somebody has to name for a copy of the data.
    pub data_points_needed: u32,
    /// Whether an opt-out by token is confirmed to the token's address.
    pub confirm_unsubscribe: bool,
    /// The legal clocks.
    pub clock: Clock,
    /// The types whose requests are corrections that systems carry out.
    pub corrections: Vec<String>,
}

/// Replies that were queued in the last 24 hours.
#[derive(Debug, Clone, Copy)]
pub struct OfTheDay {
    /// To this address.
    pub to_address: u32,
    /// To readers in its domain of whom nothing is proven.
    pub unproven_in_domain: u32,
    /// To all readers of whom nothing is proven.
    pub unproven_in_all: u32,
}

impl Policy {
    /// The bound that keeps another reply from being written today, if one does.
    pub fn bound_of_the_day(&self, replies: OfTheDay, is_proven: bool) -> Option<&'static str> {
        if replies.to_address >= self.replies_per_day {
            Some("this address has had its replies of the day")
        } else if is_proven {
            None
        } else if replies.unproven_in_domain >= self.unproven_replies_per_domain {
            Some("this domain has had its replies of the day to senders whom nothing authenticates")
        } else if replies.unproven_in_all >= self.unproven_replies_in_all {
            Some("all replies of the day to senders whom nothing authenticates are used up")
        } else {
            None
        }
    }
}

/// Where an answer to a letter may go: where the sender wishes, when it is proven who the sender is;
/// otherwise to From alone, or anybody could have us write to anybody.
pub fn answer_to(letter: &Letter) -> Option<&Address> {
    let from = letter.from.as_ref().ok()?;
    let wished = letter.reply_to.as_ref().filter(|_| letter.evidence.proof.is_authenticated());
    Some(wished.unwrap_or(from))
}

/// Decides on one mail that our server received at `received`.
pub fn decide(
    understanding: &Understanding,
    table: &Table,
    policy: &Policy,
    case_file: &CaseFile,
    received: Timestamp,
) -> Decision {
    let letter = match understanding {
        Understanding::Unreadable => {
            let why = "there is no header field in it";
            return Decision::silent(Disposition::Unreadable, Shelf::Unreadable, why);
        }
        Understanding::Unread(why) => return hold(why, &Verdict::Nothing, policy, received),
        Understanding::Read(letter) => letter,
    };
    let mut decision = match &letter.token {
        Token::Valid(addresses) => by_token(letter, addresses, table, policy, case_file, received),
        Token::Invalid => {
            let mut decision = by_words(letter, table, policy, case_file, received);
            decision.why.push_str("; it bears an invalid unsubscribe token");
            decision
        }
        Token::None => by_words(letter, table, policy, case_file, received),
    };
    let stopped = case_file
        .references(|id| decision.steps.iter().any(|step| step.request == id && step.change == Change::Hold));
    if !stopped.is_empty() {
        decision.why = format!("{}; {stopped} waits for a person because of it", decision.why);
    }
    decision
}

/// What the marks and the words of a mail ask for.
fn by_words(
    letter: &Letter,
    table: &Table,
    policy: &Policy,
    case_file: &CaseFile,
    received: Timestamp,
) -> Decision {
    if let Some((automatic, mark)) = letter.automatic {
        return match letter.reading.as_ref().map(|reading| &reading.verdict) {
            Some(verdict) if *verdict != Verdict::Nothing => {
                let mut decision = perhaps_a_person(follow(verdict, letter, table, policy, received), mark);
                if is_anothers(letter) {
                    decision.requests.iter_mut().for_each(|planned| planned.held_because = Some(WHOSE));
                }
                decision.steps = stops_of(letter, table, case_file, received);
                decision
            }
            Some(_) | None => {
                let why = format!("automatic: {mark}");
                Decision::silent(Disposition::Automated(automatic), Shelf::Automatic, why)
            }
        };
    }
    let Some(reading) = &letter.reading else {
        return hold("it was not classified", &Verdict::Nothing, policy, received);
    };
    let from = match &letter.from {
        Ok(from) => from,
        Err(error) => {
            let mut decision = match reading.verdict {
                Verdict::Nothing => {
                    let why = "the sender cannot be known, and nothing is asked";
                    Decision::silent(Disposition::Review, Shelf::Held, why)
                }
                _ => hold(&error.to_string(), &reading.verdict, policy, received),
            };
            decision.steps = stops_of(letter, table, case_file, received);
            return decision;
        }
    };
    let mut bearing = bearing(letter, table, case_file, policy, received);
    let mut decision = asked(letter, reading, table, policy, received, &bearing);
    if decision.disposition == Disposition::None && letter.code.is_some() {
        // Not answered: what quotes our question and asks for nothing may be a machine.
        let why = "there is a code of ours in it, but none that went to this sender";
        decision = Decision::silent(Disposition::Review, Shelf::Held, why);
    }
    let mut destroyed = case_file.imminent.iter().filter(|request| table.destroys(&request.kind)).peekable();
    if destroyed.peek().is_some()
        && bearing.about.is_empty()
        && !letter.is_thanks
        && !destroyed.any(|request| says_the_same(request, letter))
    {
        // "I changed my mind, keep my data" has the words of no request, and "keep them, but unsubscribe me" those of
        // another one. Whatever it is that has other words than the request, it is read before their data are gone.
        let why = "what its sender wants erased is still there: it may say something about that";
        decision.why = match decision.disposition {
            Disposition::None => why.to_owned(),
            _ => format!("{}; {why}", decision.why),
        };
        (decision.disposition, decision.shelf) = (Disposition::Review, Shelf::Held);
    }
    decision.requests.retain(|planned| {
        planned.status != Status::AwaitingProof
            || !waits_already(&mut bearing, &planned.kind, letter, case_file)
    });
    for planned in decision.requests.iter_mut().filter(|it| it.kind == UNCLEAR && is_anothers(letter)) {
        planned.held_because = Some(WHOSE);
    }
    if bearing.unclear {
        // Whatever else was found in it, a person reads it.
        decision.disposition = Disposition::Review;
        decision.shelf = Shelf::Held;
    }
    decision.steps = bearing.steps;
    decision.about = bearing.about;
    decision.corrected = corrected(&decision, letter, policy);
    decision.proven = proven(&decision.steps, &mut decision.about, policy, received);
    answer(&mut decision, letter, from, reading, table, policy, case_file);
    decision
}

/// Whether a mail may be about somebody else than its sender.
fn is_anothers(letter: &Letter) -> bool {
    let why = letter.reading.as_ref().and_then(|reading| reading.verdict.why());
    letter.names_another || matches!(why, Some(ABOUT_ANOTHER | AGENTS))
}

/// What the proof that came with this mail does to the clocks of the requests it is about: a date only ever
/// moves to a later one, which the requests bear from then on.
fn proven(steps: &[Step], about: &mut [Earlier], policy: &Policy, received: Timestamp) -> Vec<Proven> {
    let is_proof = |step: &&Step| matches!(step.change, Change::Approve { .. });
    let mut proven = Vec::new();
    for step in steps.iter().filter(is_proof) {
        let Some(earlier) = about.iter_mut().find(|earlier| earlier.id == step.request) else { continue };
        let facts = Facts {
            received: earlier.received,
            asked: earlier.asked,
            proven: Some(received),
            extended: earlier.is_extended,
        };
        let answer = policy.clock.run(&earlier.kind, &facts).answer;
        let later = (answer.due > earlier.due).then_some(answer);
        earlier.due = later.as_ref().map_or(earlier.due, |later| later.due);
        proven.push(Proven { request: earlier.id, at: received, later });
    }
    proven
}

/// What this mail does to what earlier corrections change. An answer that approves them says it anew: code and
/// changes are in one mail; or it is a plain yes, which confirms what the question has shown. A question that goes
/// out once more shows nothing, so its yes confirms nothing that is certain.
fn corrected(decision: &Decision, letter: &Letter, policy: &Policy) -> Vec<(i64, Vec<Edit>)> {
    let is_plain_yes = letter.said == Said::Yes && letter.changes.is_empty();
    let corrected = decision.steps.iter().filter_map(|step| match step.change {
        Change::Approve { .. } if !is_plain_yes => Some((step.request, letter.changes.clone())),
        Change::AskAgain => Some((step.request, Vec::new())),
        _ => None,
    });
    let is_correction = |request: i64| {
        let about = decision.about.iter().find(|earlier| earlier.id == request);
        about.is_some_and(|earlier| policy.corrections.contains(&earlier.kind))
    };
    corrected.filter(|(request, _)| is_correction(*request)).collect()
}

/// What is newly asked for, apart from what the mail means for earlier requests.
fn asked(
    letter: &Letter,
    reading: &Reading,
    table: &Table,
    policy: &Policy,
    received: Timestamp,
    bearing: &Bearing,
) -> Decision {
    let proof = letter.evidence.proof;
    if let Some(first) = bearing.about.first() {
        // A reminder belongs to the request it is about, and what is open is not asked for twice. "I never
        // asked for this" is a denial first of all, and no opt-out; beside it only what is certain is a wish.
        let is_denial = matches!(letter.said, Said::No | Said::NeverMind);
        let is_new = |finding: &&Finding| {
            let needs_nothing = table.kind(&finding.kind).is_some_and(|kind| kind.proof == 0);
            (needs_nothing || finding.kind != FOLLOW_UP && !bearing.settled.contains(&finding.kind))
                && (!is_denial || finding.confidence >= 0.9)
        };
        let new: Vec<Finding> = reading.verdict.asked().iter().filter(is_new).cloned().collect();
        let appeal = appeal(&bearing.appealed, table, policy, received);
        // It waits for whoever says what else there is in its mail.
        let destroys = |finding: &Finding| table.destroys(&finding.kind);
        if !new.is_empty() {
            let candidates: Vec<Finding> =
                reading.verdict.candidates().iter().filter(is_new).cloned().collect();
            let new = match reading.verdict.why() {
                // Whoever looks again at what was denied reads the rest as well.
                Some(why) if appeal.is_none() && (!candidates.is_empty() || new.iter().any(destroys)) => {
                    Verdict::Partly { asked: new, why, candidates }
                }
                _ => Verdict::Requests(new),
            };
            let mut decision = follow(&new, letter, table, policy, received);
            if let Some(appeal) = appeal {
                decision.requests.push(appeal);
                decision.shelf = Shelf::Held;
            }
            return decision;
        }
        if let Some(appeal) = appeal {
            let why = appeal.reason.clone();
            return Decision {
                requests: vec![appeal],
                ..Decision::silent(Disposition::Requests, Shelf::Held, why)
            };
        }
        // Unless the answer was clear: "no, please do not delete anything" has the words of a request too.
        if let Some(why) = reading.verdict.why()
            && (bearing.unclear || bearing.loose)
        {
            return hold(why, &reading.verdict, policy, received);
        }
        let (disposition, shelf) = match bearing.unclear || bearing.loose {
            true => (Disposition::Review, Shelf::Held),
            false => (Disposition::Requests, Shelf::Kind(first.kind.clone())),
        };
        let why = bearing.steps.first().map_or_else(String::new, |step| step.reason.clone());
        return Decision::silent(disposition, shelf, format!("about {}: {why}", first.reference));
    }
    match &reading.verdict {
        // No acknowledgement: a mail that is one picture is mostly advertising.
        Verdict::Nothing if letter.own_words.is_empty() => {
            hold("there are no words in it", &reading.verdict, policy, received)
        }
        Verdict::Nothing if proof == Proof::Conflict => {
            let why = "what proves the sender contradicts itself, and nothing is asked";
            Decision::silent(Disposition::Review, Shelf::Held, why)
        }
        Verdict::Nothing => Decision::silent(Disposition::None, Shelf::Held, "nothing points to a request"),
        verdict => follow(verdict, letter, table, policy, received),
    }
}

/// Adds a request that a person must read beside what is opened.
fn beside(decision: &mut Decision, rest: Planned) {
    decision.disposition = Disposition::Review;
    decision.shelf = Shelf::Held;
    decision.why = format!("{}; {}", decision.why, rest.reason);
    decision.requests.push(rest);
}

/// The request to look again at what was denied, with a clock of its own: a person must, whoever asks.
fn appeal(denied: &[Earlier], table: &Table, policy: &Policy, received: Timestamp) -> Option<Planned> {
    if denied.is_empty() {
        return None;
    }
    let references: Vec<&str> = denied.iter().map(|earlier| earlier.reference.as_str()).collect();
    let timetable = policy.clock.run(FOLLOW_UP, &Facts::new(received));
    Some(Planned {
        kind: FOLLOW_UP.to_owned(),
        action: Action::Open,
        status: Status::Held,
        proof_needed: table.kind(FOLLOW_UP).map_or(0, |kind| kind.proof),
        confidence: 1.0,
        due: timetable.answer.due,
        due_source: timetable.answer.source.clone(),
        owed: timetable.owed(),
        reason: format!("asks to look again at {}, which was denied", references.join(", ")),
        held_because: Some("it is an appeal: a person must look again"),
        subject: None,
        changes: Vec::new(),
        by_hand: false,
        appeals: denied.iter().map(|earlier| earlier.id).collect(),
    })
}

/// A mail with unsubscribe tokens: their addresses are opted out, whoever sent it. What its words ask
/// for besides is the sender's own matter, as in any other mail.
fn by_token(
    letter: &Letter,
    addresses: &[Address],
    table: &Table,
    policy: &Policy,
    case_file: &CaseFile,
    received: Timestamp,
) -> Decision {
    let Some(kind) = table.kind(OPT_OUT) else {
        return hold("an unsubscribe token, and no rules/opt_out.toml", &Verdict::Nothing, policy, received);
    };
    let timetable = policy.clock.run(&kind.name, &Facts::new(received));
    let opt_out = |address: &Address| Planned {
        kind: kind.name.clone(),
        // Not the row's action: a token is made for this one.
        action: Action::SuppressMarketing,
        status: Status::Completed,
        proof_needed: 0,
        confidence: BY_TOKEN,
        due: timetable.answer.due,
        due_source: timetable.answer.source.clone(),
        owed: timetable.owed(),
        reason: "unsubscribe token".to_owned(),
        held_because: None,
        subject: Some(address.clone()),
        changes: Vec::new(),
        by_hand: false,
        appeals: Vec::new(),
    };
    let shelf = Shelf::Kind(kind.name.clone());
    let why = "asks for opt_out by an unsubscribe token";
    let mut decision = Decision::silent(Disposition::Requests, shelf, why);
    decision.requests = addresses.iter().map(opt_out).collect();
    if let Some(words) = besides_token(letter, addresses, table, policy, case_file, received) {
        decision.disposition = words.disposition;
        decision.shelf = words.shelf;
        decision.requests.extend(words.requests);
        decision.steps = words.steps;
        decision.about = words.about;
        decision.proven = words.proven;
        decision.corrected = words.corrected;
        decision.answers = words.answers;
        decision.unanswered = words.unanswered;
        decision.why = format!("{}; by its words: {}", decision.why, words.why);
    }
    let stopped = stops_of(letter, table, case_file, received).into_iter();
    let is_new = |step: &Step| decision.steps.iter().all(|known| known.request != step.request);
    let stopped: Vec<Step> = stopped.filter(is_new).collect();
    decision.steps.extend(stopped);
    if !policy.confirm_unsubscribe {
        decision.why.push_str("; the opt-out is not confirmed: unsubscribe.reply is off");
        return decision;
    }
    for address in addresses {
        let to = Answer {
            to: address.clone(),
            template: kind.name.clone(),
            language: language(letter.reading.as_ref(), table, policy),
            subject: Some(address.clone()),
            asks: false,
            is_proven: true,
        };
        add(&mut decision, to, letter, policy, case_file);
    }
    decision
}

/// What the words of a mail with tokens ask for besides, or say to a question of ours; `None` when that is
/// nothing. A code without a word is no answer here: the mail is there for its token, and a mail program
/// may have written it.
fn besides_token(
    letter: &Letter,
    addresses: &[Address],
    table: &Table,
    policy: &Policy,
    case_file: &CaseFile,
    received: Timestamp,
) -> Option<Decision> {
    let has_words = !letter.own_words.trim().is_empty();
    let is_answer = has_words && !(case_file.proven.is_empty() && case_file.thread.is_empty());
    let verdict = &letter.reading.as_ref()?.verdict;
    if *verdict == Verdict::Nothing && !is_answer {
        return None;
    }
    // "Unsubscribe" as a word is what the token has done, unless somebody else wrote it of himself.
    let is_done = match &letter.from {
        Ok(from) => addresses.contains(&from.normalised()),
        Err(_) => true,
    };
    let says_no_more =
        matches!(verdict, Verdict::Requests(asked) if asked.iter().all(|it| it.kind == OPT_OUT));
    if !is_answer && is_done && says_no_more && !letter.names_another {
        return None;
    }
    let mut words = by_words(letter, table, policy, case_file, received);
    words.requests.retain(|request| !(is_done && request.kind == OPT_OUT));
    if let Some(template) = template_for(&words)
        && let Some(answer) = words.answers.first_mut()
    {
        answer.template = template;
    }
    Some(words)
}

/// A mail that a person must read. The clock runs: it may be a request, and of any type that was found in it.
fn hold(why: &str, verdict: &Verdict, policy: &Policy, received: Timestamp) -> Decision {
    let planned = unclear(why, verdict.findings(), policy, received);
    Decision { requests: vec![planned], ..Decision::silent(Disposition::Review, Shelf::Held, why) }
}

/// A request of which a person must say what it is.
fn unclear<'a>(
    why: &str,
    findings: impl Iterator<Item = &'a Finding> + Clone,
    policy: &Policy,
    received: Timestamp,
) -> Planned {
    let kinds = findings.clone().map(|finding| finding.kind.as_str());
    let timetable = policy.clock.run_any(UNCLEAR, kinds, &Facts::new(received));
    Planned {
        kind: UNCLEAR.to_owned(),
        action: Action::Open,
        status: Status::Held,
        proof_needed: 0,
        // As likely as the likeliest.
        confidence: findings.map(|finding| finding.confidence).fold(0.0, f64::max),
        due: timetable.answer.due,
        due_source: timetable.answer.source.clone(),
        owed: timetable.owed(),
        reason: why.to_owned(),
        held_because: Some("a person must say what it is"),
        subject: None,
        changes: Vec::new(),
        by_hand: false,
        appeals: Vec::new(),
    }
}

/// What is asked for for certain is opened; whatever else it may be is one request for a person.
fn follow(
    verdict: &Verdict,
    letter: &Letter,
    table: &Table,
    policy: &Policy,
    received: Timestamp,
) -> Decision {
    let opts_out = |planned: &Planned| planned.action.opts_out();
    match verdict {
        Verdict::Requests(asked) => {
            let mut decision = open(asked, letter, table, policy, received);
            // "Please unsubscribe bob@example.com": the sender gets no more, and whether Bob shall not either, a person
            // says.
            if letter.names_another && decision.requests.iter().any(opts_out) {
                let also = asked.iter().filter(|finding| {
                    decision.requests.iter().any(|planned| opts_out(planned) && planned.kind == finding.kind)
                });
                let rest = unclear("names another address than its sender's", also, policy, received);
                beside(&mut decision, rest);
            }
            decision
        }
        Verdict::Partly { asked, why, candidates } => {
            let mut decision = open(asked, letter, table, policy, received);
            beside(&mut decision, unclear(why, candidates.iter(), policy, received));
            decision
        }
        Verdict::Unclear { why, .. } => hold(why, verdict, policy, received),
        Verdict::Nothing => hold("nothing points to a request", verdict, policy, received),
    }
}

/// A mail that bears a mark of automatic mail, and in which somebody asks for a right: the clock runs, and a
/// person looks. Nothing is done, asked or answered: if it is a machine's, two machines would go on talking.
fn perhaps_a_person(mut decision: Decision, mark: &str) -> Decision {
    for planned in &mut decision.requests {
        planned.status = Status::Held;
        planned.held_because = Some("it bears a mark of automatic mail: a person must say who wrote it");
    }
    decision.disposition = Disposition::Review;
    decision.shelf = Shelf::Held;
    decision.unanswered = Some("it bears a mark of automatic mail");
    decision.why = format!("automatic: {mark}; but it {}", decision.why);
    decision
}

/// New requests, each as far up the ladder as the sender's evidence carries it.
fn open(
    findings: &[Finding],
    letter: &Letter,
    table: &Table,
    policy: &Policy,
    received: Timestamp,
) -> Decision {
    let proof = letter.evidence.proof;
    let known: Vec<(&Finding, &RequestType)> =
        findings.iter().filter_map(|finding| Some((finding, table.kind(&finding.kind)?))).collect();
    let requests = known.iter().map(|(finding, kind)| {
        let (status, held_because) = begin(kind, proof, letter.names_another);
        let timetable = policy.clock.run(&kind.name, &Facts::new(received));
        Planned {
            kind: kind.name.clone(),
            action: kind.action,
            status,
            proof_needed: kind.proof,
            confidence: finding.confidence,
            due: timetable.answer.due,
            due_source: timetable.answer.source.clone(),
            owed: timetable.owed(),
            reason: finding.rules.join(", "),
            held_because,
            subject: None,
            changes: match status == Status::AwaitingProof && proof.is_authenticated() {
                true if policy.corrections.contains(&kind.name) => letter.changes.clone(),
                _ => Vec::new(),
            },
            by_hand: kind.is_by_hand(&finding.rules, &format!("{}\n{}", letter.subject, letter.own_words)),
            appeals: Vec::new(),
        }
    });
    let requests: Vec<Planned> = requests.collect();
    let names: Vec<&str> = known.iter().map(|(_, kind)| kind.name.as_str()).collect();
    let why = format!("asks for {}", names.join(", "));
    if proof == Proof::Conflict && requests.iter().any(|planned| planned.status == Status::Held) {
        let why = format!("{why}; what proves the sender contradicts itself");
        return Decision { requests, ..Decision::silent(Disposition::Review, Shelf::Held, why) };
    }
    // Urgent matters first; else the request that is carried out last has the most left to do.
    let main = known
        .iter()
        .find(|(_, kind)| kind.urgent)
        .or_else(|| known.last())
        .map(|(_, kind)| Shelf::Kind(kind.name.clone()));
    let shelf = main.unwrap_or(Shelf::Held);
    Decision { requests, ..Decision::silent(Disposition::Requests, shelf, why) }
}

/// The templates that answer what was decided.
fn template_for(decision: &Decision) -> Option<String> {
    let did = |change: fn(&Change) -> bool| decision.steps.iter().any(|step| change(&step.change));
    let template = match decision.requests.as_slice() {
        _ if decision.asks() => CONFIRM,
        _ if did(|change| matches!(change, Change::Approve { .. })) => CONFIRMED,
        _ if did(|change| matches!(change, Change::Withdraw { .. })) => WITHDRAWN,
        [] => return None,
        // Not the template of its type, which may be all that was asked for.
        [one] if one.status == Status::Held && one.action.completes() => UNCLEAR,
        [one] if decision.disposition == Disposition::Review => match one.status {
            Status::Held => UNCLEAR,
            _ => &one.kind,
        },
        [one] => &one.kind,
        _ => "several",
    };
    Some(template.to_owned())
}

/// Adds the reply to the sender, if there is one to write.
fn answer(
    decision: &mut Decision,
    letter: &Letter,
    from: &Address,
    reading: &Reading,
    table: &Table,
    policy: &Policy,
    case_file: &CaseFile,
) {
    let Some(template) = template_for(decision) else { return };
    let is_authenticated = letter.evidence.proof.is_authenticated();
    // A question goes to the address that it concerns, wherever its owner wishes answers.
    let asks = decision.asks();
    let to = if asks { from } else { answer_to(letter).unwrap_or(from) };
    let to = Answer {
        to: to.clone(),
        template,
        language: language(Some(reading), table, policy),
        subject: None,
        asks,
        // What is known of From says nothing of who reads elsewhere: of a provider's domain everybody is.
        is_proven: is_authenticated && to.normalised() == from.normalised(),
    };
    if !add(decision, to, letter, policy, case_file) && asks {
        decision.cannot_ask();
    }
}

/// Adds a reply, or why there is none; answers whether there is.
fn add(
    decision: &mut Decision,
    answer: Answer,
    letter: &Letter,
    policy: &Policy,
    case_file: &CaseFile,
) -> bool {
    let recipient = answer.to.normalised();
    // Whoever wishes every answer at another address has no more of them. Whom a token names does not depend on
    // who sends it.
    let sender = letter.from.as_ref().ok().filter(|_| answer.subject.is_none()).unwrap_or(&answer.to);
    let before = case_file.to_address_today(&answer.to).max(case_file.to_address_today(sender));
    let now = decision.answers.iter().filter(|other| other.to.normalised() == recipient).count();
    let in_domain =
        case_file.unproven_today_by_domain.iter().find(|(domain, _)| domain == recipient.domain());
    let replies = OfTheDay {
        to_address: before.saturating_add(u32::try_from(now).unwrap_or(u32::MAX)),
        unproven_in_domain: in_domain.map_or(0, |(_, count)| *count),
        unproven_in_all: case_file.unproven_today,
    };
    let bound = if !letter.is_addressed {
        Some("it is not addressed to us")
    } else if case_file.replies_in_thread >= policy.replies_per_thread {
        Some("this thread has had its replies")
    } else {
        policy.bound_of_the_day(replies, answer.is_proven)
    };
    match bound {
        None => decision.answers.push(answer),
        Some(bound) => {
            decision.unanswered = Some(bound);
            decision.why.push_str("; not answered: ");
            decision.why.push_str(bound);
        }
    }
    bound.is_none()
}

/// The language to answer in: that of the words, where we have it.
fn language(reading: Option<&Reading>, table: &Table, policy: &Policy) -> String {
    reading
        .and_then(|reading| reading.language.clone())
        .filter(|code| table.language(code).is_some())
        .unwrap_or_else(|| policy.fallback_language.clone())
}
