//! Where a mail was found, and what of a decision stands because of that: of what lies among junk or in a folder
//! of ours nothing is answered or carried out, and of nothing at all while a recovery lasts. What a lost database
//! has filed is a person's to read where it asks for something.

use crate::decide::{Decision, Disposition, Shelf, UNCLEAR};
use crate::ladder::{Change, NAMES_ANOTHER, Status, WHOSE};

/// Where a mail was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin<'a> {
    /// In the inbox.
    Inbox,
    /// In the server's folder for junk, of this name.
    Junk(&'a str),
    /// In a folder that mail is filed in, of this name.
    Folder(&'a str),
}

const RECOVERY: &str = "it came while a recovery lasted: a person must look";
const LOST: &str = "what was made of it is lost with the database: a person must look";
const JUNK: &str = "it lay among junk: a person must look";

/// Of what is unclear among junk, advertising is the most; less sure than this it is left there.
const JUNK_CONFIDENCE: f64 = 0.5;

impl<'a> Origin<'a> {
    /// The folder that a mail stays in unless there is a reason to move it.
    pub fn home(self) -> Option<&'a str> {
        match self {
            Self::Inbox => None,
            Self::Junk(folder) | Self::Folder(folder) => Some(folder),
        }
    }

    /// Takes out of a decision what must not be done; answers the folder that the mail stays in, if it does.
    pub fn temper(self, decision: &mut Decision, is_recovering: bool) -> Option<&'a str> {
        match self {
            Self::Inbox => {
                if is_recovering {
                    hold(decision, RECOVERY);
                }
                return None;
            }
            Self::Junk(_) if is_a_request(decision) => {
                hold(decision, JUNK);
                decision.shelf = Shelf::Held;
                return None;
            }
            Self::Junk(_) => {
                *decision =
                    Decision::silent(plain(decision), Shelf::Held, "junk: nothing clear is asked in it");
            }
            Self::Folder(_) if is_recovering && may_ask(decision) => {
                *decision = Decision::silent(Disposition::Review, Shelf::Held, LOST);
            }
            Self::Folder(_) => {
                let why = "found in this folder, where it did not come by way of the inbox";
                *decision = Decision::silent(plain(decision), Shelf::Held, why);
            }
        }
        self.home()
    }
}

fn is_a_request(decision: &Decision) -> bool {
    let is_clear = |kind: &str, confidence: f64| kind != UNCLEAR || confidence >= JUNK_CONFIDENCE;
    !decision.steps.is_empty() || decision.requests.iter().any(|it| is_clear(&it.kind, it.confidence))
}

/// Whether anything may be asked in a mail, however unclear: what a lost database has made of it nobody knows.
fn may_ask(decision: &Decision) -> bool {
    !decision.steps.is_empty() || matches!(decision.disposition, Disposition::Requests | Disposition::Review)
}

/// The disposition of a mail that opens nothing.
fn plain(decision: &Decision) -> Disposition {
    match decision.disposition {
        Disposition::Requests | Disposition::Review => Disposition::None,
        other => other,
    }
}

/// Everything waits for a person: what is asked is held, and so is an earlier request that the mail would stop,
/// take back or let go on; what else is said of one is noted.
fn hold(decision: &mut Decision, why: &'static str) {
    for planned in &mut decision.requests {
        planned.status = Status::Held;
        // Whose it is, a person must say still.
        if !matches!(planned.held_because, Some(NAMES_ANOTHER | WHOSE)) {
            planned.held_because = Some(why);
        }
    }
    for step in &mut decision.steps {
        step.change = match step.change {
            Change::Withdraw { .. } | Change::Hold | Change::Approve { .. } => Change::Hold,
            _ => Change::Note,
        };
        step.reason.push_str("; not done: ");
        step.reason.push_str(why);
    }
    decision.proven.clear();
    decision.corrected.clear();
    if !decision.answers.is_empty() {
        decision.answers.clear();
        decision.unanswered = Some(why);
    }
    decision.why.push_str("; ");
    decision.why.push_str(why);
}
