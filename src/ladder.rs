//! The ladder of proof: what a new request needs before anything is done, and what a mail of somebody who
//! has written before means for the requests that are open.
//!
//! Nothing is ever asked for an opt-out (11 CCR 7060(b); 16 CFR 316.5). What cannot be undone needs an
//! answer from the address it concerns, with a one-time code that went there. A mail belongs to an open
//! request only by such a code, or as an answer to a mail of ours by its Message-ID, and in both cases only
//! when it comes from the address that ours went to. Subjects, references and names in the text prove
//! nothing. What an answer says must be understood whole; what is not waits for a person. To stop what
//! cannot be undone no proof is asked: whatever may speak of it makes it wait.
//!
//! ## Why the question goes to the sender's own address
//! It is the address on file if there is one, and if there is none the same words have gone to the same
//! place: whether somebody is a customer shows in nothing a stranger can see.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::answer::Said;
use crate::classify::{Finding, OF_ANOTHER, OF_TRADE, Reading, Verdict};
use crate::decide::{CaseFile, Letter, Policy, RESTRICTION};
use crate::evidence::Proof;
use crate::lexicon::{ASKED, REPORTED};
use crate::request::{FOLLOW_UP, RequestType, Table};
use crate::sender::Address;
use crate::text::{fold, sentences};

/// Why a request waits for a person whose mail names an address besides its sender's.
pub const NAMES_ANOTHER: &str = "it names another address than its sender's: a person must look";

/// The same, of one of which it is not even known what it asks for.
pub const WHOSE: &str = "a person must say what it is, and whose: somebody else may be meant than its sender";

/// Why a request that waited for proof is held.
const DENIED_MEANWHILE: &str =
    "a further mail speaks against it: a person must read it before any yes counts";

/// Letters with a code for one request, at the most: the question, its reminder, and some on asking.
const MOST_LETTERS: u32 = 5;

/// So many words with digits in them may be written for each of the data we hold: a telephone number has some.
const MOST_NUMBERS: usize = 5;

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Nothing is done before its sender's word comes from the address it concerns.
    AwaitingProof,
    /// It may be carried out.
    Approved,
    /// Its sources are at work.
    Executing,
    /// A person must look before anything is done.
    Held,
    /// Carried out.
    Completed,
    /// Carried out as far as it went: a source keeps something, or no more than categories could be told.
    PartlyCompleted,
    /// A person declined it, with a reason.
    Denied,
    /// Taken back, or never asked for.
    Withdrawn,
    /// No proof came in time.
    Expired,
}

impl Status {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::AwaitingProof,
        Self::Approved,
        Self::Executing,
        Self::Held,
        Self::Completed,
        Self::PartlyCompleted,
        Self::Denied,
        Self::Withdrawn,
        Self::Expired,
    ];

    /// The word for it in the database and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::AwaitingProof => "awaiting_proof",
            Self::Approved => "approved",
            Self::Executing => "executing",
            Self::Held => "held",
            Self::Completed => "completed",
            Self::PartlyCompleted => "partly_completed",
            Self::Denied => "denied",
            Self::Withdrawn => "withdrawn",
            Self::Expired => "expired",
        }
    }

    /// Reads what [`Status::name`] says.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Whether nothing more will happen to it.
    pub fn is_closed(self) -> bool {
        matches!(
            self,
            Self::Completed | Self::PartlyCompleted | Self::Denied | Self::Withdrawn | Self::Expired
        )
    }
}

/// Why a person declines a request: a fixed vocabulary (11 CCR 7102 counts by such), which the templates put
/// into words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// Somebody else seems to ask in this person's name.
    SuspectedFraud,
    /// Whose request it is could not be verified.
    InsufficientVerification,
    /// Nothing is held that belongs to it.
    NoMatch,
    /// No law grants what is asked for, or one forbids it.
    ClaimNotCovered,
    /// The law that grants it does not hold for this person.
    OutsideJurisdiction,
    /// The same was asked for too often (GDPR art. 12(5)).
    TooManyRequests,
    /// Something else.
    Other,
}

impl Denial {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::SuspectedFraud,
        Self::InsufficientVerification,
        Self::NoMatch,
        Self::ClaimNotCovered,
        Self::OutsideJurisdiction,
        Self::TooManyRequests,
        Self::Other,
    ];

    /// The word for it in the history of a request, in templates and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::SuspectedFraud => "suspected_fraud",
            Self::InsufficientVerification => "insufficient_verification",
            Self::NoMatch => "no_match",
            Self::ClaimNotCovered => "claim_not_covered",
            Self::OutsideJurisdiction => "outside_jurisdiction",
            Self::TooManyRequests => "too_many_requests",
            Self::Other => "other",
        }
    }

    /// Reads what [`Denial::name`] says.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|denial| denial.name() == name)
    }
}

/// A request of an earlier mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earlier {
    /// Its row.
    pub id: i64,
    /// Its public reference.
    pub reference: String,
    /// Its type.
    pub kind: String,
    /// Whose it is, normalised, where that is known.
    pub subject: Option<Address>,
    /// How far it has come.
    pub status: Status,
    /// When our server received its mail.
    pub received: Timestamp,
    /// When its sender was first asked for proof.
    pub asked: Option<Timestamp>,
    /// By when it is due.
    pub due: Date,
    /// Whether that was put off once.
    pub is_extended: bool,
    /// The step of the ladder that its type asks for, 0 to 3.
    pub proof_needed: u8,
    /// Letters with a code that have gone out for it.
    pub letters: u32,
    /// A digest of the words it was asked for in.
    pub words: [u8; 32],
}

/// One step with an earlier request, for its history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The request's row.
    pub request: i64,
    /// Who caused it: `sender`, `rule` or `clock`.
    pub actor: &'static str,
    /// What is done.
    pub change: Change,
    /// Why, in our own words.
    pub reason: String,
}

/// What can be done with an earlier request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is proven, up to this step of the ladder.
    Approve {
        /// 2 or 3.
        proof: u8,
    },
    /// Its sender takes it back, or says that it never was theirs.
    Withdraw {
        /// The latter.
        fraud: bool,
    },
    /// A person has carried it out.
    Complete,
    /// No proof came in time.
    Expire,
    /// The question could not be delivered: a person must look.
    Hold,
    /// The reminder with a new code goes out.
    Remind,
    /// The question goes out once more, with a new code.
    AskAgain,
    /// Nothing but a line in its history.
    Note,
}

/// How a new request of this type begins when its sender is proven so far. `names_another` tells that the
/// mail names an address besides its sender's: the word of one person must not open another's data.
pub fn begin(kind: &RequestType, proof: Proof, names_another: bool) -> (Status, Option<&'static str>) {
    let ready = if kind.action.completes() { Status::Completed } else { Status::Approved };
    let opts_out = kind.action.opts_out();
    match kind.proof {
        // Somebody may have tampered with it. An opt-out is done all the same.
        _ if proof == Proof::Conflict && !opts_out => {
            (Status::Held, Some("what proves the sender contradicts itself: a person must look"))
        }
        0 => (ready, None),
        1 if names_another && kind.verb.is_some() => (Status::Held, Some(NAMES_ANOTHER)),
        1 if proof.is_authenticated() => (ready, None),
        1 => (Status::Held, Some("nothing proves who the sender is: a person must look")),
        _ if names_another => (Status::Held, Some(NAMES_ANOTHER)),
        _ => (Status::AwaitingProof, None),
    }
}

/// What a mail means for earlier requests.
#[derive(Debug, Default)]
pub struct Bearing {
    /// What is done with them.
    pub steps: Vec<Step>,
    /// The requests the mail is about, as they are after that.
    pub about: Vec<Earlier>,
    /// Whether a person must read it.
    pub unclear: bool,
    /// Whether a person must read it unless something new is found in it.
    pub loose: bool,
    /// Types that the mail speaks of without asking anew.
    pub settled: Vec<String>,
    /// Requests that were denied, and at which it asks to look again.
    pub appealed: Vec<Earlier>,
}

impl Bearing {
    fn take(&mut self, earlier: &Earlier, actor: &'static str, change: Change, reason: impl Into<String>) {
        let status = match change {
            Change::Approve { .. } => Status::Approved,
            Change::Withdraw { .. } => Status::Withdrawn,
            Change::Complete => Status::Completed,
            Change::Expire => Status::Expired,
            Change::Hold => Status::Held,
            Change::Remind | Change::AskAgain | Change::Note => earlier.status,
        };
        self.steps.push(Step { request: earlier.id, actor, change, reason: reason.into() });
        self.about.push(Earlier { status, ..earlier.clone() });
        // What is closed can be asked for anew.
        if !earlier.status.is_closed() {
            self.settled.push(earlier.kind.clone());
        }
    }

    /// What was denied is looked at again, and not asked for anew.
    fn appeal(&mut self, denied: &Earlier) {
        self.about.push(denied.clone());
        self.settled.push(denied.kind.clone());
        self.appealed.push(denied.clone());
    }

    fn ask_again(&mut self, earlier: &Earlier, reason: &str) {
        if earlier.letters < MOST_LETTERS {
            self.take(earlier, "rule", Change::AskAgain, reason);
        } else {
            self.take(
                earlier,
                "rule",
                Change::Note,
                format!("{reason}; no further code: it had its letters"),
            );
            self.unclear = true;
        }
    }
}

/// What `letter`, which our server received at `received`, means for the requests in `case_file`.
pub fn bearing(
    letter: &Letter,
    table: &Table,
    case_file: &CaseFile,
    policy: &Policy,
    received: Timestamp,
) -> Bearing {
    let mut bearing = Bearing::default();
    let day = day_of(received);
    let (live, used): (Vec<&Earlier>, Vec<&Earlier>) =
        case_file.proven.iter().partition(|request| request.status == Status::AwaitingProof);
    by_code(&mut bearing, letter, &live, case_file, policy, day);
    // A code that is used up hangs on in the subject of later mails, and ties them as well as a Message-ID does.
    let mut others: Vec<&Earlier> = Vec::new();
    for request in case_file.thread.iter().chain(used) {
        if live.iter().chain(&others).all(|known| known.id != request.id) {
            others.push(request);
        }
    }
    if !live.is_empty() {
        // What it says to the question, it does not say to them; but it may stop them.
        others.retain(|request| stops(request, letter, case_file, day));
    }
    by_thread(&mut bearing, letter, &others, case_file, day);
    let mut stopped = stops_of(letter, table, case_file, received);
    stopped.retain(|step| bearing.about.iter().all(|known| known.id != step.request));
    if !stopped.is_empty() {
        // What it asks for besides goes its way. Nor is the request among those that the mail is about: whoever has
        // written it must not read of it, nor hear that it is withdrawn.
        let asks = letter.reading.as_ref().is_some_and(|it| !it.verdict.asked().is_empty());
        bearing.loose |= asks;
        bearing.unclear |= !asks;
        bearing.steps.extend(stopped);
    }
    bearing
}

fn day_of(received: Timestamp) -> Date {
    received.to_zoned_datetime(TimeZone::UTC).date()
}

/// What a mail makes wait that cannot be undone, of whomever and in whatever form it came.
pub fn stops_of(letter: &Letter, table: &Table, case_file: &CaseFile, received: Timestamp) -> Vec<Step> {
    let day = day_of(received);
    let mut steps: Vec<Step> = Vec::new();
    for (requests, is_named) in [(&case_file.imminent_named, true), (&case_file.imminent, false)] {
        for request in requests {
            let is_known = steps.iter().any(|step| step.request == request.id);
            let is_early = day <= request.due;
            if !is_known && may_take_back(request, letter, table, case_file, is_early, is_named) {
                let reason = match request.status {
                    Status::AwaitingProof => DENIED_MEANWHILE,
                    Status::Executing => {
                        "a further mail speaks against it while it is carried out: a person must read it"
                    }
                    _ => "a further mail came before it was carried out: a person must read it first",
                };
                let change = Change::Hold;
                steps.push(Step { request: request.id, actor: "sender", change, reason: reason.into() });
            }
        }
    }
    steps
}

/// Whether a mail outside the thread of a request that will be carried out may speak against it: it denies what was
/// asked for, or it speaks of a request, or it is not understood; and if the request `is_named` in it, whatever it says.
/// What is begun is stopped by a denial alone: a person may be at work on it for weeks. What waits for proof would be
/// carried out by a later yes, though nobody had read the denial that came before.
/// Who is late may be reminded; `is_early`: before that, a further mail is more likely to stop what they asked for.
fn may_take_back(
    request: &Earlier,
    letter: &Letter,
    table: &Table,
    case_file: &CaseFile,
    is_early: bool,
    is_named: bool,
) -> bool {
    let Some(reading) = &letter.reading else { return false };
    if request.status == Status::AwaitingProof {
        return denies(request, reading);
    }
    let is_against = speaks_against(request, reading);
    if is_against || request.status == Status::Executing {
        return is_against;
    }
    // An answer without a word of its own, to whatever; a subject may be one.
    let is_empty = letter.own_words.trim().is_empty() || letter.is_thanks;
    if is_empty && reading.verdict == Verdict::Nothing || is_yes(letter, case_file) {
        return false;
    }
    let speaks_of_one = |finding: &Finding| finding.kind == FOLLOW_UP;
    match &reading.verdict {
        // Who wants their data kept from use wants them kept (GDPR art. 18(1)(b)).
        Verdict::Requests(found) if found.iter().any(|finding| finding.kind == RESTRICTION) => true,
        Verdict::Requests(found) if found.iter().any(speaks_of_one) => is_early,
        // "Please keep my data" has the words of a copy.
        Verdict::Requests(found) if !found.iter().all(Finding::is_certain) => is_early || is_named,
        // "Just unsubscribe me instead", "close my account, but keep my invoices": only the same words say the same.
        Verdict::Requests(_) if table.destroys(&request.kind) => is_named || !says_the_same(request, letter),
        Verdict::Requests(_) => is_named,
        Verdict::Partly { .. } | Verdict::Unclear { .. } | Verdict::Nothing => is_early || is_named,
    }
}

/// Whether a mail asks in the words of `request` for the same again, and for nothing else. Its subject is not among those
/// words: where they are thanks alone, it says all that there is.
pub fn says_the_same(request: &Earlier, letter: &Letter) -> bool {
    let Some(reading) = &letter.reading else { return false };
    let Verdict::Requests(found) = &reading.verdict else { return false };
    let own_words = sentences(&fold(&letter.own_words));
    let mut asked = reading.grounds.iter().filter(|it| it.against.is_none() && it.is_of(&request.kind));
    request.words == letter.words
        && found.iter().all(|finding| finding.kind == request.kind && finding.is_certain())
        && asked.any(|ground| own_words.lines().any(|line| line == ground.sentence))
}

/// Whether a mail has the words of what `request` asked for, but denied, supposed or asked about. Who only tells of
/// them, as a reminder does, speaks against nothing; nor does who asks for something else in words that hold them.
fn speaks_against(request: &Earlier, reading: &Reading) -> bool {
    let is_against = |why: &str| ![REPORTED, ASKED, OF_ANOTHER, OF_TRADE].contains(&why);
    reading.grounds.iter().any(|ground| ground.against.is_some_and(is_against) && ground.is_of(&request.kind))
}

/// Whether a mail denies what `request` asked for, and does not ask for it. "You have not deleted my data" does that in
/// words, too: better a reminder is read by a person than a denial by nobody.
fn denies(request: &Earlier, reading: &Reading) -> bool {
    reading.grounds.iter().any(|ground| ground.is_denied() && ground.is_of(&request.kind))
        && reading.verdict.asked().iter().all(|finding| finding.kind != request.kind)
}

/// A mail with a code that is still good, from the address it went to.
fn by_code(
    bearing: &mut Bearing,
    letter: &Letter,
    live: &[&Earlier],
    case_file: &CaseFile,
    policy: &Policy,
    day: Date,
) {
    let asked_for_data = live.iter().any(|request| request.proof_needed > 2);
    // What looks like data is not understood word by word.
    let contradicts =
        |request: &Earlier| letter.reading.as_ref().is_some_and(|reading| speaks_against(request, reading));
    for request in live {
        let (change, reason) = match letter.said {
            _ if letter.evidence.proof == Proof::Conflict => {
                (Change::Note, "a code came, but what proves the sender contradicts itself".to_owned())
            }
            Said::Yes => approval(request, letter, case_file, policy),
            Said::YesAndData
                if asked_for_data
                    && (request.proof_needed > 2 || is_yes(letter, case_file))
                    && !contradicts(request) =>
            {
                approval(request, letter, case_file, policy)
            }
            Said::No => (Change::Withdraw { fraud: true }, "says that they never asked for it".to_owned()),
            Said::NeverMind => (Change::Withdraw { fraud: false }, "takes it back".to_owned()),
            // The form that came with the question, filled in.
            Said::Nothing if !letter.changes.is_empty() && policy.corrections.contains(&request.kind) => {
                approval(request, letter, case_file, policy)
            }
            Said::Nothing if letter.is_thanks => {
                (Change::Note, "thanks, and no answer to the question".to_owned())
            }
            Said::Nothing => (Change::Note, "the question came back without a word".to_owned()),
            Said::Unclear | Said::YesAndData if stops(request, letter, case_file, day) => {
                (Change::Hold, DENIED_MEANWHILE.to_owned())
            }
            Said::Unclear | Said::YesAndData => {
                (Change::Note, "an answer that is neither yes nor no: a person must read it".to_owned())
            }
        };
        bearing.unclear |= matches!(change, Change::Note | Change::Hold) && !letter.is_thanks;
        bearing.take(request, "sender", change, reason);
    }
}

/// Whether a mail says yes, and nothing else but data that was asked for.
fn is_yes(letter: &Letter, case_file: &CaseFile) -> bool {
    letter.said == Said::Yes
        || letter.said == Said::YesAndData && is_data(&letter.beside_yes, &case_file.data_points)
}

/// The proof that a yes with a code gives.
fn approval(request: &Earlier, letter: &Letter, case_file: &CaseFile, policy: &Policy) -> (Change, String) {
    let yes = "the code came back from the address it went to";
    if request.proof_needed < 3 {
        return (Change::Approve { proof: 2 }, yes.to_owned());
    }
    let named = named(&letter.own_words, &case_file.data_points);
    if policy.data_points_needed > 0 && named >= policy.data_points_needed {
        (Change::Approve { proof: 3 }, format!("{yes}, with {named} of the data we hold"))
    } else {
        (
            Change::Approve { proof: 2 },
            format!("{yes}, with {named} of the data we hold: enough for categories only"),
        )
    }
}

/// What may stand between the name of a data point and a number: "phone is 4711".
const COPULAS: [&str; 13] =
    ["is", "ist", "lautet", "est", "es", "e", "ar", "er", "jest", "je", "este", "ειναι", "это"];

/// Whether whatever stands beside a yes is data: a number alone, or the name of one of these data points with a number or what
/// we hold. "Keep order 4711" is neither.
fn is_data(beside_yes: &[String], data_points: &[(String, String)]) -> bool {
    const SIGNS: &str = " +-/().#:";
    let has_digit = |text: &str| text.bytes().any(|byte| byte.is_ascii_digit());
    // A word may be written together with a number, as in "SW1 1AA"; not "10115wait".
    let is_number_word =
        |word: &str| has_digit(word) && word.chars().filter(|c| c.is_alphabetic()).count() <= 2;
    let gives_value = |behind: &str, value: &str| {
        let is_set_apart = behind.starts_with(|sign: char| !sign.is_alphanumeric());
        let is_known = |sign: char| sign.is_alphanumeric() || SIGNS.contains(sign) || value.contains(sign);
        let words = tokens(behind);
        let mut others = words.iter().enumerate().filter(|(_, word)| !is_number_word(word));
        let is_number =
            has_digit(behind) && others.all(|(place, word)| place == 0 && COPULAS.contains(&word.as_str()));
        is_set_apart
            && behind.chars().all(is_known)
            && (words.concat() == tokens(value).concat() || is_number)
    };
    let is_named = |part: &str| {
        let part =
            ["and ", "my ", "the "].iter().fold(part, |part, word| part.strip_prefix(word).unwrap_or(part));
        let gives = |(name, value): &(String, String)| {
            let behind = part.strip_prefix(fold(name).replace('_', " ").as_str());
            behind.is_some_and(|behind| gives_value(behind, value))
        };
        data_points.iter().any(gives)
    };
    let is_number =
        |part: &str| has_digit(part) && part.chars().all(|c| c.is_ascii_digit() || SIGNS.contains(c));
    beside_yes.iter().all(|part| is_number(part) || is_named(part))
}

/// How many of these data points stand at the beginning of `words`, each in a text of its own: a word, or some
/// that follow each other, since people write telephone numbers and dates as they like. Letters and digits alone
/// are compared. Only so much is read that nobody can name them all, and whoever tries to has named none.
fn named(words: &str, data_points: &[(String, String)]) -> u32 {
    const READ: usize = 300;
    let mut given = tokens(words.get(..words.floor_char_boundary(READ)).unwrap_or_default());
    let numbers = given.iter().filter(|word| word.bytes().any(|byte| byte.is_ascii_digit())).count();
    if numbers > MOST_NUMBERS * data_points.len() {
        return 0;
    }
    let mut known: Vec<String> = data_points.iter().map(|(_, value)| tokens(value).concat()).collect();
    known.sort_unstable();
    known.dedup();
    // The longest first: what is a part of another value does not count by that one's text.
    known.sort_by_key(|value| std::cmp::Reverse(value.len()));
    // What is shorter than this stands in many a text by chance.
    let known = known.iter().filter(|value| value.chars().count() >= 4);
    let found = known.filter(|value| take_run(&mut given, value)).count();
    u32::try_from(found).unwrap_or(u32::MAX)
}

/// Letters and digits, word by word, folded. Where words are not set apart, numbers are.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut token = String::new();
    for sign in fold(text).chars() {
        let is_joint = |before: char| {
            (before.is_ascii_digit() && !sign.is_ascii()) || (!before.is_ascii() && sign.is_ascii_digit())
        };
        if !sign.is_alphanumeric() || token.chars().next_back().is_some_and(is_joint) {
            tokens.push(std::mem::take(&mut token));
        }
        if sign.is_alphanumeric() {
            token.push(sign);
        }
    }
    tokens.push(token);
    tokens.retain(|token| !token.is_empty());
    tokens
}

/// Whether words that follow each other in `given` are `value`; those are blotted out.
fn take_run(given: &mut [String], value: &str) -> bool {
    for start in 0..given.len() {
        let mut rest = value;
        let run = given.iter().skip(start).take_while(|word| {
            let is_next = !rest.is_empty() && !word.is_empty() && rest.starts_with(word.as_str());
            rest = rest.get(if is_next { word.len() } else { 0 }..).unwrap_or_default();
            is_next
        });
        let run = run.count();
        if rest.is_empty() {
            given.iter_mut().skip(start).take(run).for_each(String::clear);
            return true;
        }
    }
    false
}

/// An answer to a mail of ours, from the address that went to, without a code that is still good. It can take
/// a request back that waits for proof; whatever else it says, a person reads. Of what was denied any word is an
/// appeal: our letter has said that a person looks at it again and answers.
fn by_thread(bearing: &mut Bearing, letter: &Letter, thread: &[&Earlier], case_file: &CaseFile, day: Date) {
    let asks = letter.reading.as_ref().is_some_and(|it| !it.verdict.asked().is_empty());
    let sender = letter.from.as_ref().ok().map(Address::normalised);
    for request in thread {
        if request.subject.is_some() && request.subject != sender {
            by_another(bearing, letter, request, asks, case_file, day);
            continue;
        }
        if request.status == Status::Denied && !matches!(letter.said, Said::Nothing | Said::NeverMind) {
            bearing.appeal(request);
            continue;
        }
        let is_waiting = request.status == Status::AwaitingProof;
        let (change, reason) = match letter.said {
            _ if letter.evidence.proof == Proof::Conflict => {
                let change = if stops(request, letter, case_file, day) { Change::Hold } else { Change::Note };
                (change, "a further mail, but what proves the sender contradicts itself")
            }
            Said::Yes if request.status == Status::Held && request.proof_needed > 1 => (
                Change::Note,
                "a yes came while it was held: approve it, or its sender has to say it once more",
            ),
            Said::No if is_waiting => (Change::Withdraw { fraud: true }, "says that they never asked for it"),
            Said::NeverMind if is_waiting => (Change::Withdraw { fraud: false }, "takes it back"),
            // Nothing has been done yet.
            Said::No if request.status == Status::Approved => {
                (Change::Withdraw { fraud: true }, "says that they never asked for it")
            }
            Said::NeverMind if request.status == Status::Approved => {
                (Change::Withdraw { fraud: false }, "takes it back before it is carried out")
            }
            // Its systems are not asked again; what they have done already, a person has to tell.
            Said::No | Said::NeverMind if request.status == Status::Executing => {
                (Change::Hold, "seems to be taken back while it is carried out: a person must read it")
            }
            Said::No | Said::NeverMind if !request.status.is_closed() => {
                (Change::Note, "seems to be taken back: a person must read it before anything is done")
            }
            _ if stops(request, letter, case_file, day) => {
                // What it asks for besides is opened and filed; only what it says of this one is not certain.
                bearing.loose |= asks;
                bearing.unclear |= !asks;
                let reason = match request.status {
                    Status::AwaitingProof => DENIED_MEANWHILE,
                    Status::Executing => "a reply came while it is carried out: a person must read it first",
                    _ => "a reply came before it was carried out: a person must read it first",
                };
                bearing.take(request, "sender", Change::Hold, reason);
                continue;
            }
            _ if is_waiting => {
                // Perhaps only the code was lost; perhaps there is more in it.
                bearing.unclear |= !is_yes(letter, case_file);
                bearing.ask_again(request, "an answer came without its code");
                continue;
            }
            _ => {
                bearing.loose |= !says_nothing_new(request, letter);
                let which = if request.status.is_closed() { "closed" } else { "open" };
                bearing.take(
                    request,
                    "sender",
                    Change::Note,
                    format!("a further mail on this {which} request"),
                );
                continue;
            }
        };
        bearing.unclear |= matches!(change, Change::Note | Change::Hold);
        bearing.take(request, "sender", change, reason);
    }
}

/// Whether an answer to what is approved says nothing new: yes once more, or thanks. One without a word may be a picture.
fn says_nothing_new(request: &Earlier, letter: &Letter) -> bool {
    let is_granted = !matches!(
        request.status,
        Status::AwaitingProof | Status::Held | Status::Denied | Status::Withdrawn | Status::Expired
    );
    is_granted && (letter.said == Said::Yes || letter.is_thanks)
}

/// An answer from where the sender of `request` wished our mails, which is another address than theirs: it takes
/// nothing back and is asked nothing, but what it would stop waits for a person. What it asks for besides is its
/// own.
fn by_another(
    bearing: &mut Bearing,
    letter: &Letter,
    request: &Earlier,
    asks: bool,
    case_file: &CaseFile,
    day: Date,
) {
    let change = if stops(request, letter, case_file, day) { Change::Hold } else { Change::Note };
    bearing.loose |= asks;
    bearing.unclear |= !asks;
    let settled = bearing.settled.len();
    let reason = "an answer from another address than the request's: a person must read it";
    bearing.take(request, "sender", change, reason);
    bearing.settled.truncate(settled);
}

/// Whether a reply stops `request`: what needed a proof, and has it, or what waits for one if it is denied. "Wait, I need
/// my invoices first", "Stop!" and "just unsubscribe me instead" must not be read the day after; a yes, thanks, and a
/// reminder of what is late leave it as it is. What is begun goes on also when its sender only asks something, or when it
/// leaves all as it was.
fn stops(request: &Earlier, letter: &Letter, case_file: &CaseFile, day: Date) -> bool {
    let reading = letter.reading.as_ref();
    let is_against = reading.is_some_and(|reading| speaks_against(request, reading));
    let is_reminder = match reading.map(|reading| &reading.verdict) {
        Some(Verdict::Requests(found)) => found.iter().all(|finding| finding.kind == FOLLOW_UP),
        _ => false,
    };
    // Who is late may be reminded; before that "my request of last week was a mistake" sounds the same.
    let may_be_reminded = request.status != Status::Approved || day > request.due;
    let goes_on = match letter.said {
        _ if letter.evidence.proof == Proof::Conflict => false,
        Said::Yes => true,
        Said::YesAndData => is_yes(letter, case_file),
        Said::Nothing => letter.own_words.is_empty() || !is_against,
        Said::No | Said::NeverMind => false,
        Said::Unclear => is_reminder && may_be_reminded && !is_against,
    };
    let is_final =
        || case_file.imminent.iter().chain(&case_file.imminent_named).any(|it| it.id == request.id);
    let is_stoppable = match request.status {
        Status::AwaitingProof => reading.is_some_and(|reading| denies(request, reading)),
        Status::Approved => true,
        Status::Executing => is_against || is_final() && !letter.own_words.contains(['?', '？']),
        _ => false,
    };
    is_stoppable && request.proof_needed > 1 && !goes_on
}

/// Takes the request that waits for proof already and was asked for in the same words, if there is one: it
/// is still one request. In other words it is another one: its YES must not carry out what somebody else
/// wrote before.
pub fn waits_already(bearing: &mut Bearing, kind: &str, letter: &Letter, case_file: &CaseFile) -> bool {
    let is_it = |request: &&Earlier| request.kind == kind && request.words == letter.words;
    let Some(request) = case_file.waiting.iter().find(is_it) else { return false };
    bearing.ask_again(request, "asked for once more");
    true
}
