//! What follows from a mail: the plan, complete, before anything is done.
//!
//! Pure: what was understood, what the store knows of the sender, and the time go in; a [`Decision`]
//! comes out that leaves the rooms behind no choice. Nothing here acts, and nothing behind decides.

use jiff::Timestamp;
use jiff::civil::Date;

use crate::classify::{Finding, Reading, Verdict};
use crate::clock::Due;
use crate::evidence::{Evidence, Proof};
use crate::message::MessageId;
use crate::request::{Action, RequestType, Table};
use crate::screen::Automatic;
use crate::sender::{Address, NoSender};

/// The kind of a request that waits for a person to say what it is.
pub const UNCLEAR: &str = "unclear";

/// How long a person has for what no rule has named: the law is not known, so the shortest general
/// one holds.
const UNCLEAR_DUE: Due = Due::Days(30);

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
    /// What is asked. Not looked at in automatic mail.
    pub reading: Option<Reading>,
    /// To thread the reply by.
    pub message_id: Option<MessageId>,
    /// The thread before it.
    pub references: Vec<MessageId>,
    /// What the sender wrote; for `classify`, never stored or logged.
    pub own_words: String,
}

/// What the store knows of a sender.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CaseFile {
    /// Replies queued to this address in the last 24 hours.
    pub replies_today: u32,
}

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
    /// What is done at once.
    pub action: Action,
    /// 0 to 1.
    pub confidence: f64,
    /// By when.
    pub due: Date,
    /// Which law says so.
    pub due_source: String,
    /// Why, for the first event.
    pub reason: String,
    /// Whether a person must look before anything is done.
    pub held: bool,
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
    /// The reply, if one may be written.
    pub answer: Option<Answer>,
    /// One sentence for the ledger: why this, and why no reply.
    pub why: String,
}

/// What an operator has set, as far as decisions depend on it.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Language of replies when the mail's own cannot be told.
    pub fallback_language: String,
    /// Replies that one address gets in 24 hours at the most.
    pub replies_per_day: u32,
}

/// Where an answer to a letter may go: where the sender wishes, when it is proven who the sender is;
/// otherwise to From alone, or anybody could have us write to anybody.
pub fn answer_to(letter: &Letter) -> Option<&Address> {
    let from = letter.from.as_ref().ok()?;
    let wished = letter.reply_to.as_ref().filter(|_| letter.evidence.proof.is_authenticated());
    Some(wished.unwrap_or(from))
}

/// Decides on one mail that our server received at `received`. `case_file` is that of the address
/// that an answer goes to.
pub fn decide(
    understanding: &Understanding,
    table: &Table,
    policy: &Policy,
    case_file: CaseFile,
    received: Timestamp,
) -> Decision {
    let letter = match understanding {
        Understanding::Unreadable => {
            return silent(Disposition::Unreadable, Shelf::Unreadable, "there is no header field in it");
        }
        Understanding::Unread(why) => return hold(why, 0.0, received),
        Understanding::Read(letter) => letter,
    };
    if let Some((automatic, mark)) = letter.automatic {
        return silent(Disposition::Automated(automatic), Shelf::Automatic, &format!("automatic: {mark}"));
    }
    let Some(reading) = &letter.reading else {
        return hold("it was not classified", 0.0, received);
    };
    if let Err(error) = &letter.from {
        if reading.verdict == Verdict::Nothing {
            return silent(
                Disposition::Review,
                Shelf::Held,
                "the sender cannot be known, and nothing is asked",
            );
        }
        return hold(&error.to_string(), 0.0, received);
    }
    let is_contradicted = letter.evidence.proof == Proof::Conflict;
    let mut decision = match &reading.verdict {
        // No acknowledgement: a mail that is one picture is mostly advertising.
        Verdict::Nothing if letter.own_words.is_empty() => {
            return hold("there are no words in it", 0.0, received);
        }
        Verdict::Nothing if is_contradicted => {
            return silent(
                Disposition::Review,
                Shelf::Held,
                "what proves the sender contradicts itself, and nothing is asked",
            );
        }
        Verdict::Nothing => return silent(Disposition::None, Shelf::Held, "nothing points to a request"),
        Verdict::Unclear { why, candidates } => {
            let confidence = candidates.iter().map(|c| c.confidence).fold(0.0, f64::max);
            hold(why, confidence, received)
        }
        Verdict::Requests(findings) if is_contradicted => contradicted(findings, table, received),
        Verdict::Requests(findings) => open(findings, table, received),
    };
    if let (Some(template), Some(to)) = (template_for(&decision), answer_to(letter)) {
        answer(&mut decision, template, to, reading, table, policy, case_file);
    }
    decision
}

/// Requests of a sender about whom our servers contradict each other: what needs no proof is done, and
/// the rest waits for a person. The clock of what was asked runs.
fn contradicted(findings: &[Finding], table: &Table, received: Timestamp) -> Decision {
    let mut decision = open(findings, table, received);
    for planned in &mut decision.requests {
        if table.kind(&planned.kind).is_none_or(|kind| kind.proof > 0) {
            planned.action = Action::Open;
            planned.held = true;
            planned.reason.push_str("; what proves the sender contradicts itself");
        }
    }
    if decision.requests.iter().any(|planned| planned.held) {
        decision.disposition = Disposition::Review;
        decision.shelf = Shelf::Held;
        decision.why.push_str("; what proves the sender contradicts itself");
    }
    decision
}

/// A mail that opens nothing and is not answered.
fn silent(disposition: Disposition, shelf: Shelf, why: &str) -> Decision {
    Decision { disposition, shelf, requests: Vec::new(), answer: None, why: why.to_owned() }
}

/// A mail that a person must read. The clock runs: it may be a request.
fn hold(why: &str, confidence: f64, received: Timestamp) -> Decision {
    let planned = Planned {
        kind: UNCLEAR.to_owned(),
        action: Action::Open,
        confidence,
        due: UNCLEAR_DUE.date(received),
        due_source: "no law known; the shortest general one".to_owned(),
        reason: why.to_owned(),
        held: true,
    };
    Decision {
        disposition: Disposition::Review,
        shelf: Shelf::Held,
        requests: vec![planned],
        answer: None,
        why: why.to_owned(),
    }
}

fn open(findings: &[Finding], table: &Table, received: Timestamp) -> Decision {
    let known: Vec<(&Finding, &RequestType)> =
        findings.iter().filter_map(|finding| Some((finding, table.kind(&finding.kind)?))).collect();
    let requests: Vec<Planned> = known
        .iter()
        .map(|(finding, kind)| Planned {
            kind: kind.name.clone(),
            action: kind.action,
            confidence: finding.confidence,
            due: kind.due.date(received),
            due_source: kind.due_source.clone(),
            reason: finding.rules.join(", "),
            held: false,
        })
        .collect();
    // Urgent matters first; else the request that is carried out last has the most left to do.
    let main = known
        .iter()
        .find(|(_, kind)| kind.urgent)
        .or_else(|| known.last())
        .map(|(_, kind)| Shelf::Kind(kind.name.clone()));
    let names: Vec<&str> = known.iter().map(|(_, kind)| kind.name.as_str()).collect();
    Decision {
        disposition: Disposition::Requests,
        shelf: main.unwrap_or(Shelf::Held),
        why: format!("asks for {}", names.join(", ")),
        requests,
        answer: None,
    }
}

/// The templates that answer what was decided.
fn template_for(decision: &Decision) -> Option<String> {
    match decision.requests.as_slice() {
        [] => None,
        // Not the template of its type, which may be all that was asked for.
        [one] if one.held => Some(UNCLEAR.to_owned()),
        [one] => Some(one.kind.clone()),
        _ => Some("several".to_owned()),
    }
}

/// Adds the reply, or why there is none.
fn answer(
    decision: &mut Decision,
    template: String,
    to: &Address,
    reading: &Reading,
    table: &Table,
    policy: &Policy,
    case_file: CaseFile,
) {
    if case_file.replies_today >= policy.replies_per_day {
        decision.why.push_str("; not answered: this address has had its replies of the day");
        return;
    }
    let language = reading
        .language
        .clone()
        .filter(|code| table.language(code).is_some())
        .unwrap_or_else(|| policy.fallback_language.clone());
    decision.answer = Some(Answer { to: to.clone(), template, language });
}
