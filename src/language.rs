//! What has to be known of a language: `rules/languages/<code>.toml`, one file each.
//!
//! Phrases of request types are in the types' own files. Here is what concerns every type alike:
//! what turns a phrase into no request (guards), where a mail's own words end, how automatic mail
//! sounds, how a date is written, and the classes of words that patterns share.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Classes may name classes, so deep; one that names itself ends here.
pub const CLASSES_IN_CLASSES: usize = 4;

/// One language, as its file says it. Patterns are matched against folded text
/// (see [`crate::text::fold`]).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanguageFile {
    /// The language's name, in English.
    pub name: String,
    /// What a request is called in replies of which a person must say what it is; as in English where it is empty.
    #[serde(default)]
    pub unclear: String,
    /// How a due date is written.
    pub date: DateForm,
    /// Its commonest words. A longer text without one of them is not in this language, and its phrases
    /// are not looked for there; none given, they always are.
    #[serde(default)]
    pub common: Vec<String>,
    /// Whether its phrases are looked for in texts without its commonest words as well. They still tell that
    /// a sentence is in no other language.
    #[serde(default)]
    pub anywhere: bool,
    /// Classes of words by name: `<name>` in a pattern of this language, here or in a type's phrases,
    /// stands for any of them.
    #[serde(default)]
    pub words: Words,
    /// What turns a phrase into no request.
    pub guards: Guards,
    /// Where the sender's own words end.
    pub own_words: OwnWordMarks,
    /// How automatic mail sounds.
    pub automatic: AutomaticMarks,
    /// How services write that make requests for others.
    #[serde(default)]
    pub agent: AgentMarks,
    /// How people answer our question whether a request is theirs.
    #[serde(default)]
    pub answer: AnswerWords,
    /// How people say what is to be corrected.
    #[serde(default)]
    pub correction: CorrectionWords,
    /// How a letter names what is kept and why: the words of [`crate::source::KEPT_WHAT`] and
    /// [`crate::source::KEPT_WHY`]. What is not here stands in it as it is.
    #[serde(default)]
    pub kept: BTreeMap<String, String>,
}

/// Classes of words by name.
pub type Words = BTreeMap<String, String>;

/// `pattern` with its classes of `words` written out.
///
/// # Errors
/// The first `<name>` that is no class.
pub fn expand(words: &Words, pattern: &str) -> Result<String, String> {
    let mut expanded = pattern.to_owned();
    for _ in 0..CLASSES_IN_CLASSES {
        match replace_classes(words, &expanded, |_, any| format!("(?:{any})"))? {
            Some(further) => expanded = further,
            None => return Ok(expanded),
        }
    }
    Err("a class of words names itself".to_owned())
}

/// `pattern` with a sign in the place of each class of `words`: [`MARKS`], in the order of their names. `None` where
/// `words` are too many for it, or have no class that `pattern` names.
pub fn marked(words: &Words, pattern: &str) -> Option<String> {
    let mark = |name: &str| MARKS.clone().zip(words.keys()).find(|(_, known)| *known == name);
    let mark = |name: &str| mark(name).map(|(mark, _)| mark.to_string()).unwrap_or_default();
    let marked = replace_classes(words, pattern, |name, _| mark(name)).ok()?;
    (words.len() <= MARKS.count()).then(|| marked.unwrap_or_else(|| pattern.to_owned()))
}

/// Signs that no pattern and no folded text has a use for: of the private use area (Unicode 3.4, 23.5).
pub const MARKS: std::ops::RangeInclusive<char> = '\u{e000}'..='\u{e0ff}';

/// `pattern` with what `with` says, by name and content, in the place of each class; `None` when there is none in it.
///
/// # Errors
/// The first `<name>` that is no class.
pub fn replace_classes(
    words: &Words,
    pattern: &str,
    with: impl Fn(&str, &str) -> String,
) -> Result<Option<String>, String> {
    let mut pieces = pattern.split('<');
    let mut replaced = pieces.next().unwrap_or_default().to_owned();
    let mut any = false;
    for piece in pieces {
        let class = piece.split_once('>').filter(|(name, _)| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        });
        let Some((name, rest)) = class else {
            replaced.push('<');
            replaced.push_str(piece);
            continue;
        };
        let Some(content) = words.get(name) else {
            return Err(format!("there is no class of words <{name}> in this language"));
        };
        any = true;
        replaced.push_str(&with(name, content));
        replaced.push_str(rest);
    }
    Ok(any.then_some(replaced))
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
    /// Before the phrase in its sentence: it is denied by the word only, and wished ("can't you …?").
    pub polite: Vec<String>,
    /// Before the phrase in its sentence: the opposite is wished ("rather than …").
    pub kept: Vec<String>,
    /// Behind the phrase in its sentence, from its end: it is denied ("löschen Sie meine Daten nicht,
    /// …").
    pub after: Vec<String>,
    /// Within the phrase: its own words deny it ("meine Daten bitte nicht löschen"). Holds for
    /// phrases only whose pattern does not speak of a denial itself.
    pub inside: Vec<String>,
    /// Anywhere in the sentence: it asks about the thing ("how do I …?").
    pub asking: Vec<String>,
    /// Anywhere in the sentence: it only supposes ("if I ever wanted to …").
    pub conditional: Vec<String>,
    /// Anywhere in the sentence: it tells what somebody else said.
    pub reported: Vec<String>,
    /// Anywhere in the sentence: it tells what its sender has asked for before ("I asked you three times"). An opt-out is
    /// wished no less for that.
    pub asked: Vec<String>,
    /// Anywhere in the sentence: the opposite is wished ("please sign me up").
    pub wanted: Vec<String>,
    /// Anywhere in the mail: what it asks for is, or may be, somebody else's ("on behalf of my
    /// mother"). A person looks; nothing acts.
    pub others: Vec<String>,
    /// Anywhere in the mail: it is about an order, a parcel, a bill. Phrases that only sound like a
    /// request do not count then, for types that say so.
    pub trade: Vec<String>,
    /// Anywhere in the mail: the sender takes back what they have just written ("no, wait").
    pub retracted: Vec<String>,
}

/// Patterns for single lines that end, or are not, the sender's own words.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OwnWordMarks {
    /// "On …, … wrote:" of Gmail, Apple Mail, Thunderbird.
    pub attribution: Vec<String>,
    /// A line with which quoted history begins.
    pub history: Vec<String>,
    /// A line with which somebody else's mail begins that the sender passes on.
    pub forwarded: Vec<String>,
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

/// What makes a letter one of a service that makes requests on behalf of others: it says so, and bears at
/// least two marks of the form that such services write by.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgentMarks {
    /// For whom it is written, or by what authority.
    pub authority: Vec<String>,
    /// A number of the request, a deadline, a statute: one pattern each.
    pub form: Vec<String>,
}

/// How people answer our question whether a request is theirs. Each pattern has to match a whole sentence.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnswerWords {
    /// It is theirs. Closed lists of words: whatever a pattern has room for is taken for a part of the yes.
    pub yes: Vec<String>,
    /// They never asked for it.
    pub no: Vec<String>,
    /// They take it back.
    pub never_mind: Vec<String>,
    /// Greetings, with titles but without names. Closed lists too.
    pub greeting: Vec<String>,
    /// Thanks and the like around a correction, with room for what they are for. Around a yes only `thanks` may be.
    pub polite: Vec<String>,
    /// What somebody names who was asked for some of the data we hold.
    pub data: Vec<String>,
    /// Thanks, and nothing more: no word to a question. Closed lists too.
    #[serde(default)]
    pub thanks: Vec<String>,
    /// With which a letter ends; only a name comes after it. Closed lists too.
    pub closing: Vec<String>,
}

/// How people say what is to be corrected. Against the other patterns these meet the text as it was written,
/// but for the case of letters: a name must come out as it is spelt.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CorrectionWords {
    /// Whole sentences, with `{field}` and `{new}`, and perhaps `{old}`; see [`crate::correction::phrase`].
    pub change: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn language(words: &[(&str, &str)]) -> LanguageFile {
        let mut language: LanguageFile =
            toml::from_str(include_str!("../rules/languages/en.toml")).expect("the built-in file");
        language.words = words.iter().map(|(name, any)| ((*name).into(), (*any).into())).collect();
        language
    }

    #[test]
    fn classes_are_written_out() {
        let language = language(&[("my", "my|our"), ("thing", "<my> (data|file)"), ("self", "<self>")]);
        assert_eq!(expand(&language.words, "delete <my> data").unwrap(), "delete (?:my|our) data");
        assert_eq!(expand(&language.words, "<thing>$").unwrap(), "(?:(?:my|our) (data|file))$");
        // What is no name between angle brackets is the pattern's own.
        assert_eq!(expand(&language.words, "<?[a-z]+>? <").unwrap(), "<?[a-z]+>? <");
        assert!(expand(&language.words, "<yours>").unwrap_err().contains("<yours>"));
        assert!(expand(&language.words, "<self>").is_err());
    }
}
