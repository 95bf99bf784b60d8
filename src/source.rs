//! The company's systems that hold people's data, and what they are asked to do.
//!
//! Every system speaks the same two sentences: an [`Order`] and a [`Report`], each one JSON object. An
//! order may come twice, after a crash or a lost answer: it is the same one by its reference, verb and attempt, and
//! a system must do it once and report the same. What a system says is the operator's, and goes into the completion mail; it never
//! goes into the log.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Config, FileError, SECRET_FORMS, SourceConfig, SourceSort};
use crate::correction::Edit;
use crate::request::Verb;
use crate::sender::Address;

pub mod command;
pub mod http;

/// Version of the contract, in every order.
pub const VERSION: u32 = 1;

/// A report may be so long, in bytes.
pub const LONGEST_REPORT: usize = 16 * 1024 * 1024;

/// What is asked of a system.
#[derive(Debug, Clone, Serialize)]
pub struct Order {
    /// [`VERSION`].
    pub version: u32,
    /// What to do.
    pub verb: Verb,
    /// The public reference of the request. An order with the same reference, verb and attempt is the same order.
    pub reference: String,
    /// 1, and one more each time that the request is carried out anew, because a person has approved it again. 0 in
    /// an order of `requests copy`.
    pub attempt: u32,
    /// The type of the request.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whose data.
    pub subject: Subject,
    /// For `correct`: what to change.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Edit>,
}

/// Whose data an order is about.
#[derive(Debug, Clone, Serialize)]
pub struct Subject {
    /// The address, normalised: in lower case.
    pub address: Address,
}

/// What a system says that it has done.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// What became of the order.
    pub outcome: Outcome,
    /// What it keeps, and why: in words that the person will read.
    #[serde(default)]
    pub kept: Vec<Kept>,
    /// For `collect`: all that it holds, as a JSON object.
    #[serde(default)]
    pub data: Option<serde_json::Value>,
    /// Why it failed, for the operator.
    #[serde(default)]
    pub reason: String,
}

/// What became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Done; perhaps something was kept.
    Done,
    /// There was nothing of this person, or nothing any more: as good as done.
    Nothing,
    /// Not done now: ask again later.
    Retry,
    /// Not done, and asking again would not help.
    Failed,
}

/// Something a system keeps.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// What: "invoices of the last ten years".
    pub what: String,
    /// Why: "tax law".
    pub why: String,
}

/// What may be kept, in words that every letter knows in its own language (`[kept]` in `rules/languages/`). A person
/// who does a system's part says it in these alone; a system may say it in others, which stand in the letter as they
/// are.
pub const KEPT_WHAT: [&str; 8] = [
    "invoices",
    "orders",
    "contracts",
    "payments",
    "correspondence",
    "account",
    "security_logs",
    "other_records",
];

/// Why something may be kept, likewise (GDPR art. 17(3); Cal. Civ. Code 1798.105(d)).
pub const KEPT_WHY: [&str; 5] = ["tax_law", "other_law", "legal_claims", "running_contract", "security"];

/// Of what a system keeps no more than so many entries and characters each go into a mail.
const MOST_KEPT: usize = 50;
const LONGEST_KEPT: usize = 300;

impl Report {
    /// Whether it says that something was collected, and does not hand it over.
    pub fn is_done_without_data(&self) -> bool {
        self.outcome == Outcome::Done && self.data.is_none() && self.kept.is_empty()
    }

    /// This became of it, and there is nothing more to say.
    pub fn of(outcome: Outcome) -> Self {
        Self { outcome, kept: Vec::new(), data: None, reason: String::new() }
    }

    /// It did not work this time; `reason` is for the operator.
    pub fn retry(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), ..Self::of(Outcome::Retry) }
    }

    /// Reads what a system has written.
    ///
    /// # Errors
    /// A sentence for the operator. It quotes nothing of the report: that is a person's data.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let mut report: Self = serde_json::from_slice(text).map_err(|error| {
            format!(
                "the report is not what the contract says: line {}, column {}",
                error.line(),
                error.column()
            )
        })?;
        if report.data.as_ref().is_some_and(|data| !data.is_object()) {
            return Err("the report's data is no JSON object".into());
        }
        report.kept.truncate(MOST_KEPT);
        for text in report.kept.iter_mut().flat_map(|kept| [&mut kept.what, &mut kept.why]) {
            *text = text.chars().filter(|c| !c.is_control()).take(LONGEST_KEPT).collect();
        }
        Ok(report)
    }
}

/// One system's part of a job that is over.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The system.
    pub source: String,
    /// How it ended.
    pub state: TaskState,
    /// What is kept there, and why.
    pub kept: Vec<Kept>,
    /// What was collected there.
    pub data: Option<serde_json::Value>,
}

/// How a task ended, or that the systems have done with it and a person has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TaskState {
    /// Everything was done.
    Done,
    /// There was nothing of this person.
    Nothing,
    /// Done, but for what is kept.
    Kept,
    /// No system does it, or one has given up: a person does it, and says what has become of it.
    ByHand,
    /// Not done, and a person has said so.
    Failed,
}

impl TaskState {
    /// The word for it in the database and in templates.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Nothing => "nothing",
            Self::Kept => "kept",
            Self::ByHand => "by_hand",
            Self::Failed => "failed",
        }
    }

    /// Reads what [`TaskState::name`] says.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Done, Self::Nothing, Self::Kept, Self::ByHand, Self::Failed]
            .into_iter()
            .find(|state| state.name() == name)
    }
}

/// A system, ready to be asked.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name, as replies and the log call it.
    pub name: String,
    /// What it can do.
    pub verbs: Vec<Verb>,
    /// How it is reached.
    pub way: Way,
}

/// How a system is reached.
#[derive(Debug, Clone)]
pub enum Way {
    /// privacyd's own contacts, in its own transaction.
    Local,
    /// A program that gets the order on its standard input.
    Command {
        /// The program and its arguments. No shell.
        command: Vec<String>,
        /// It is ended after that.
        timeout: Duration,
    },
    /// A server that gets the order by HTTPS.
    Http(http::Http),
}

impl Source {
    /// The sources that a configuration describes.
    ///
    /// # Errors
    /// A secret or a CA file that cannot be read, with the line that names it.
    pub fn load(config: &Config) -> Result<Vec<Self>, FileError> {
        let source = |(index, source): (usize, &SourceConfig)| {
            Self::new(source).map_err(|(key, error)| {
                let message = format!("source {:?}: {key}: {error}", source.name);
                config.file.mistake(&["source", &index.to_string(), key], message)
            })
        };
        config.source.iter().enumerate().map(source).collect()
    }

    /// The error is the key that is at fault, and a sentence.
    fn new(config: &SourceConfig) -> Result<Self, (&'static str, String)> {
        let way = match &config.sort {
            SourceSort::Local => Way::Local,
            SourceSort::Command(command) => {
                Way::Command { command: command.clone(), timeout: config.timeout }
            }
            SourceSort::Http { url, secret, ca_file } => {
                let secret = secret.read().map_err(|error| {
                    ("secret", format!("{error}. The key says where the secret is: {SECRET_FORMS}"))
                })?;
                let is_plain = url.scheme_str() == Some("http");
                let tls = (!is_plain).then(|| crate::tls::client_config(ca_file.as_deref())).transpose();
                let tls = tls.map_err(|error| ("ca_file", format!("{error:#}")))?;
                Way::Http(http::Http { url: url.clone(), secret, timeout: config.timeout, tls })
            }
        };
        Ok(Self { name: config.name.clone(), verbs: config.verbs.clone(), way })
    }

    /// Whether it may hold what `verb` is about.
    pub fn concerns(&self, verb: Verb) -> bool {
        // Contacts have no account that could be closed, and nothing of them is published.
        !(matches!(self.way, Way::Local) && matches!(verb, Verb::Cancel | Verb::Unpublish))
    }

    /// Whether it does `verb`.
    pub fn does(&self, verb: Verb) -> bool {
        // Our own contacts are erased, and marked as restricted, with every such request.
        let is_always = matches!(self.way, Way::Local) && matches!(verb, Verb::Erase | Verb::Restrict);
        self.concerns(verb) && (is_always || self.verbs.contains(&verb))
    }
}
