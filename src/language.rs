//! What has to be known of a language: `rules/languages/<code>.toml`, one file each.
//!
//! Phrases of request types are in the types' own files. Here is what concerns every type alike:
//! what turns a phrase into no request (guards), where a mail's own words end, how automatic mail
//! sounds, and how a date is written.

use serde::Deserialize;

/// One language, as its file says it. Patterns are matched against folded text
/// (see [`crate::text::fold`]).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanguageFile {
    /// The language's name, in English.
    pub name: String,
    /// How a due date is written.
    pub date: DateForm,
    /// What turns a phrase into no request.
    pub guards: Guards,
    /// Where the sender's own words end.
    pub own_words: OwnWordMarks,
    /// How automatic mail sounds.
    pub automatic: AutomaticMarks,
    /// How people answer our question whether a request is theirs.
    #[serde(default)]
    pub answer: AnswerWords,
}

/// How a date is written in words.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DateForm {
    /// The twelve months, January first.
    pub months: [String; 12],
    /// With `{day}`, `{month}` and `{year}`.
    pub format: String,
}

impl DateForm {
    /// `date` in words.
    pub fn write(&self, date: jiff::civil::Date) -> String {
        let index = usize::try_from(date.month() - 1).unwrap_or_default();
        let month = self.months.get(index).map_or("", String::as_str);
        self.format
            .replace("{day}", &date.day().to_string())
            .replace("{month}", month)
            .replace("{year}", &date.year().to_string())
    }
}

/// Patterns that take a phrase its force.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Guards {
    /// Before the phrase in its sentence: it is denied ("please do not …").
    pub negated: Vec<String>,
    /// Before the phrase in its sentence: the opposite is wished ("rather than …").
    pub kept: Vec<String>,
    /// Anywhere in the sentence: it asks about the thing ("how do I …?").
    pub asking: Vec<String>,
    /// Anywhere in the sentence: it only supposes ("if I ever wanted to …").
    pub conditional: Vec<String>,
    /// Anywhere in the sentence: it tells what somebody else said.
    pub reported: Vec<String>,
}

/// Patterns for single lines that end, or are not, the sender's own words.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OwnWordMarks {
    /// "On …, … wrote:" of Gmail, Apple Mail, Thunderbird.
    pub attribution: Vec<String>,
    /// A line with which quoted or forwarded history begins.
    pub history: Vec<String>,
    /// The name of the From field at the head of an Outlook-style block.
    pub header_from: Vec<String>,
    /// The names of the other fields of such a block.
    pub header_rest: Vec<String>,
    /// A line with which a signature or a disclaimer begins.
    pub signature: Vec<String>,
}

/// How automatic mail sounds that bears no standard mark.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AutomaticMarks {
    /// Subjects of absence notes and automatic answers.
    pub subject: Vec<String>,
    /// Subjects of bounces.
    pub bounce_subject: Vec<String>,
}

/// How people answer our question whether a request is theirs. Each pattern has to match a whole sentence.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnswerWords {
    /// It is theirs.
    pub yes: Vec<String>,
    /// They never asked for it.
    pub no: Vec<String>,
    /// They take it back.
    pub never_mind: Vec<String>,
    /// Greetings and thanks, which say neither.
    pub polite: Vec<String>,
    /// What somebody names who was asked for some of the data we hold.
    pub data: Vec<String>,
    /// With which a letter ends; only a name comes after it.
    pub closing: Vec<String>,
}
