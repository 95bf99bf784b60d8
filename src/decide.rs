//! What follows from a mail: the plan, complete, before anything is done.
//!
//! Pure: what was understood, what the store knows of the sender, and the time go in; a [`Decision`]
//! comes out that leaves the rooms behind no choice. Nothing here acts, and nothing behind decides.

use jiff::Timestamp;
use jiff::civil::Date;

use crate::classify::{Finding, Reading, Verdict};
use crate::clock::Due;
use crate::message::MessageId;
use crate::request::{Action, RequestType, Table};
use crate::screen::Automatic;
use crate::sender::{Address, NoSender};
use crate::token::Token;

/// The kind of a request that waits for a person to say what it is.
pub const UNCLEAR: &str = "unclear";

/// The request type that an unsubscribe token asks for.
pub const OPT_OUT: &str = "opt_out";

/// How sure an unsubscribe token makes: as sure as anything.
const BY_TOKEN: f64 = 0.999;

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
    /// The mark of automatic mail, if it bears one.
    pub automatic: Option<(Automatic, &'static str)>,
    /// Its unsubscribe tokens. They count in automatic mail too, but not in a report or in our own.
    pub token: Token,
    /// What is asked. Not looked at in automatic mail, nor where there are a token and no words.
    pub reading: Option<Reading>,
    /// To thread the reply by.
    pub message_id: Option<MessageId>,
    /// The thread before it.
    pub references: Vec<MessageId>,
    /// What the sender wrote; for `classify`, never stored or logged.
    pub own_words: String,
}

impl Letter {
    /// Everybody who may get a reply to it.
    pub fn correspondents(&self) -> impl Iterator<Item = &Address> {
        let by_token: &[Address] = match &self.token {
            Token::Valid(addresses) => addresses,
            Token::Invalid | Token::None => &[],
        };
        self.from.as_ref().ok().into_iter().chain(by_token)
    }
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
    /// Whose request it is, normalised, where that is not the sender.
    pub subject: Option<Address>,
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
    /// The replies that may be written: to the sender, and to those whose tokens opt them out.
    pub answers: Vec<Answer>,
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
    /// Whether an opt-out by token is confirmed to the token's address.
    pub confirm_unsubscribe: bool,
}

/// Decides on one mail that our server received at `received`.
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
    match &letter.token {
        Token::Valid(addresses) => by_token(letter, addresses, table, policy, case_file, received),
        Token::Invalid => {
            let mut decision = by_words(letter, table, policy, case_file, received);
            decision.why.push_str("; it bears an invalid unsubscribe token");
            decision
        }
        Token::None => by_words(letter, table, policy, case_file, received),
    }
}

/// What the marks and the words of a mail ask for.
fn by_words(
    letter: &Letter,
    table: &Table,
    policy: &Policy,
    case_file: CaseFile,
    received: Timestamp,
) -> Decision {
    if let Some((automatic, mark)) = letter.automatic {
        return silent(Disposition::Automated(automatic), Shelf::Automatic, &format!("automatic: {mark}"));
    }
    let Some(reading) = &letter.reading else {
        return hold("it was not classified", 0.0, received);
    };
    let from = match &letter.from {
        Ok(from) => from,
        Err(_) if reading.verdict == Verdict::Nothing => {
            return silent(
                Disposition::Review,
                Shelf::Held,
                "the sender cannot be known, and nothing is asked",
            );
        }
        Err(error) => return hold(&error.to_string(), 0.0, received),
    };
    let mut decision = match &reading.verdict {
        // No acknowledgement: a mail that is one picture is mostly advertising.
        Verdict::Nothing if letter.own_words.is_empty() => {
            return hold("there are no words in it", 0.0, received);
        }
        Verdict::Nothing => return silent(Disposition::None, Shelf::Held, "nothing points to a request"),
        Verdict::Unclear { why, candidates } => {
            let confidence = candidates.iter().map(|c| c.confidence).fold(0.0, f64::max);
            hold(why, confidence, received)
        }
        Verdict::Requests(findings) => open(findings, table, received),
    };
    if let Some(template) = template_for(&decision.requests) {
        let to = Answer {
            to: from.clone(),
            template,
            language: language(Some(reading), table, policy),
            subject: None,
        };
        answer(&mut decision, to, policy, case_file);
    }
    decision
}

/// A mail with unsubscribe tokens: their addresses are opted out, whoever sent it. What its words ask
/// for besides is the sender's own matter, as in any other mail.
fn by_token(
    letter: &Letter,
    addresses: &[Address],
    table: &Table,
    policy: &Policy,
    case_file: CaseFile,
    received: Timestamp,
) -> Decision {
    let Some(kind) = table.kind(OPT_OUT) else {
        return hold("an unsubscribe token, and no rules/opt_out.toml", 0.0, received);
    };
    let opt_out = |address: &Address| Planned {
        kind: kind.name.clone(),
        // Not the row's action: a token is made for this one.
        action: Action::SuppressMarketing,
        confidence: BY_TOKEN,
        due: kind.due.date(received),
        due_source: kind.due_source.clone(),
        reason: "unsubscribe token".to_owned(),
        subject: Some(address.clone()),
    };
    let mut decision = Decision {
        disposition: Disposition::Requests,
        shelf: Shelf::Kind(kind.name.clone()),
        requests: addresses.iter().map(opt_out).collect(),
        answers: Vec::new(),
        why: "asks for opt_out by an unsubscribe token".to_owned(),
    };
    if let Some(words) = besides_token(letter, addresses, table, policy, case_file, received) {
        decision.disposition = words.disposition;
        decision.shelf = words.shelf;
        decision.requests.extend(words.requests);
        decision.answers = words.answers;
        decision.why = format!("{}; by its words: {}", decision.why, words.why);
    }
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
        };
        answer(&mut decision, to, policy, case_file);
    }
    decision
}

/// What the words of a mail with tokens ask for besides; `None` when that is nothing.
fn besides_token(
    letter: &Letter,
    addresses: &[Address],
    table: &Table,
    policy: &Policy,
    case_file: CaseFile,
    received: Timestamp,
) -> Option<Decision> {
    let findings = match &letter.reading.as_ref()?.verdict {
        Verdict::Requests(findings) => findings,
        Verdict::Unclear { candidates, .. } => candidates,
        Verdict::Nothing => return None,
    };
    // "Unsubscribe" as a word is what the token has done, unless somebody else wrote it of himself.
    let is_done = match &letter.from {
        Ok(from) => addresses.contains(&from.normalised()),
        Err(_) => true,
    };
    if is_done && !findings.is_empty() && findings.iter().all(|finding| finding.kind == OPT_OUT) {
        return None;
    }
    let mut words = by_words(letter, table, policy, case_file, received);
    words.requests.retain(|request| !(is_done && request.kind == OPT_OUT));
    if let (Some(answer), Some(template)) = (words.answers.first_mut(), template_for(&words.requests)) {
        answer.template = template;
    }
    Some(words)
}

/// A mail that opens nothing and is not answered.
fn silent(disposition: Disposition, shelf: Shelf, why: &str) -> Decision {
    Decision { disposition, shelf, requests: Vec::new(), answers: Vec::new(), why: why.to_owned() }
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
        subject: None,
    };
    Decision {
        disposition: Disposition::Review,
        shelf: Shelf::Held,
        requests: vec![planned],
        answers: Vec::new(),
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
            subject: None,
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
        answers: Vec::new(),
    }
}

/// The templates that answer what was decided.
fn template_for(requests: &[Planned]) -> Option<String> {
    match requests {
        [] => None,
        [one] => Some(one.kind.clone()),
        _ => Some("several".to_owned()),
    }
}

/// Adds the reply, or why there is none.
fn answer(decision: &mut Decision, answer: Answer, policy: &Policy, case_file: CaseFile) {
    let to_same = decision.answers.iter().filter(|other| other.to.normalised() == answer.to.normalised());
    let replies_today =
        case_file.replies_today.saturating_add(u32::try_from(to_same.count()).unwrap_or(u32::MAX));
    if replies_today >= policy.replies_per_day {
        decision.why.push_str("; not answered: this address has had its replies of the day");
        return;
    }
    decision.answers.push(answer);
}

/// The language to answer in: that of the words, where we have it.
fn language(reading: Option<&Reading>, table: &Table, policy: &Policy) -> String {
    reading
        .and_then(|reading| reading.language.clone())
        .filter(|code| table.language(code).is_some())
        .unwrap_or_else(|| policy.fallback_language.clone())
}
