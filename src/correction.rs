//! Corrections: which field of somebody's data is to be changed from what to what, read from their own words.
//!
//! ## The way of a correction
//! The question that goes out upon a wish for a correction bears a form, a line `field: ->` for every field that
//! may be changed by mail. Names of fields alone: what is on file is shown to nobody who is not proven. What comes
//! back becomes an old → new diff, kept with the request, in one of two ways:
//!
//! - the answer bears the code **and** the changes, as a form or in a plain sentence. Code and diff are in one
//!   mail, so the code confirms this diff and no other;
//! - the first mail said it with certainty already, and its sender was **authenticated**. Then the question shows
//!   the diff, and a yes with the code confirms what it shows.
//!
//! A first mail that nothing authenticates may say what it likes: not one of its words is shown or kept, since our
//! question goes to an address that may be somebody else's. The code went to the address on file, which is the
//! sender's own; a mail that names another waits for a person ([`crate::ladder::begin`]). So a correction of the
//! address itself is never proven by the address it would bring.
//!
//! ## What is certain
//! Every line of the mail is understood: filled in, left empty, or nothing but courtesy. A value is on one line,
//! of letters, digits and the signs that stand in names, addresses and numbers, and so can be no markup, link or
//! formula. In a sentence it stands in quotes or looks like a name or a number, because "to Jane Doe as I got
//! married" is no name. What is not certain changes nothing: a person reads the mail.
//!
//! ## Which fields
//! Those that the operator names, and no others. [`crate::config`] refuses fields that serve as data points of a
//! proof: who may change what is asked for may answer it next time.

use std::collections::BTreeMap;

use regex::Regex;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use crate::config::CorrectionConfig;
use crate::language::LanguageFile;
use crate::text::fold;

/// What stands between the wrong value and the right one in the form.
const ARROWS: [&str; 5] = ["->", "=>", "\u{2192}", "\u{21d2}", "\u{2794}"];

/// A longer value is not certain.
const LONGEST_VALUE: usize = 120;

/// More changes at once are not certain.
const MOST_CHANGES: usize = 20;

/// Words within names that are written small.
const PARTICLES: [&str; 22] = [
    "von", "vom", "van", "der", "den", "de", "del", "della", "di", "da", "dos", "das", "du", "des", "la",
    "le", "el", "y", "e", "zu", "zur", "am",
];

const QUOTES: [(char, char); 7] = [
    ('"', '"'),
    ('\'', '\''),
    ('\u{201c}', '\u{201d}'),
    ('\u{201e}', '\u{201c}'),
    ('\u{201e}', '\u{201d}'),
    ('\u{ab}', '\u{bb}'),
    ('\u{2018}', '\u{2019}'),
];

/// One change of one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// The field, as the company's systems call it.
    pub field: String,
    /// What the person says that it is, if they say it.
    pub old: Option<String>,
    /// What it shall be.
    pub new: String,
}

/// What was read from somebody's words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Read {
    /// The changes, each field once. None where something about them is not certain.
    pub changes: Vec<Edit>,
    /// The other words. The changes count only if these are understood as well.
    pub rest: String,
}

/// All that reading a correction needs.
#[derive(Debug, Default)]
pub struct Corrections {
    /// Field by what people call it, folded.
    names: BTreeMap<String, String>,
    phrases: Vec<Regex>,
}

/// A line of the form.
enum Line {
    Filled(Edit),
    Empty,
}

impl Corrections {
    /// For the fields of `config` and the sentences of `languages`.
    ///
    /// # Errors
    /// A sentence that is no pattern.
    pub fn new(config: &CorrectionConfig, languages: &[&LanguageFile]) -> Result<Self, String> {
        let names = config.names().map(|(name, field)| (name, field.to_owned())).collect();
        let phrases = languages.iter().flat_map(|language| &language.correction.change);
        Ok(Self { names, phrases: phrases.map(|text| phrase(text)).collect::<Result<_, _>>()? })
    }

    /// What `own_words` ask to be changed.
    pub fn read(&self, own_words: &str) -> Read {
        let nothing = || Read { changes: Vec::new(), rest: own_words.to_owned() };
        if self.names.is_empty() {
            return nothing();
        }
        let lines: Vec<&str> = own_words.lines().map(str::trim).collect();
        let mut read = Read::default();
        for (index, line) in lines.iter().enumerate() {
            let before =
                index.checked_sub(1).and_then(|before| lines.get(before)).copied().unwrap_or_default();
            let behind = lines.get(index + 1).copied().unwrap_or_default();
            match self.form(line) {
                Some(Line::Filled(change)) => read.changes.push(change),
                Some(Line::Empty) => {}
                None => match self.sentence(line, before, behind) {
                    Some(change) => read.changes.push(change),
                    None => {
                        read.rest.push_str(line);
                        read.rest.push('\n');
                    }
                },
            }
        }
        read.changes.dedup();
        let is_twice = |(index, change): (usize, &Edit)| {
            read.changes.iter().skip(index + 1).any(|other| other.field == change.field)
        };
        if read.changes.is_empty()
            || read.changes.len() > MOST_CHANGES
            || read.changes.iter().enumerate().any(is_twice)
        {
            return nothing();
        }
        read
    }

    /// `field: old -> new`, or the same without anything filled in.
    fn form(&self, line: &str) -> Option<Line> {
        let (left, new) = ARROWS.iter().find_map(|arrow| line.split_once(arrow))?;
        let (name, old) = left.split_once(':')?;
        let field = self.field(name.trim_start_matches(['-', '*', '\u{2022}', ' ']))?;
        let (old, new) = (clean(old), clean(new));
        match (old.is_empty(), new.is_empty()) {
            (true, true) => Some(Line::Empty),
            (false, true) => None,
            (is_bare, false) => {
                let is_sound = is_value(&new) && (is_bare || is_value(&old));
                let change = Edit { field, old: (!is_bare).then_some(old), new };
                is_sound.then_some(Line::Filled(change))
            }
        }
    }

    /// "Please change my name from Jan to Jane." A sentence that begins or ends in another line is not certain.
    fn sentence(&self, line: &str, before: &str, behind: &str) -> Option<Edit> {
        if !(before.is_empty() || before.ends_with(['.', '!', ',', ':'])) {
            return None;
        }
        self.phrases.iter().find_map(|phrase| {
            let found = phrase.captures(line)?;
            let is_whole = behind.is_empty() || found.name("end").is_some_and(|end| !end.is_empty());
            let field = self.field(found.name("field")?.as_str())?;
            let new = told(found.name("new")?.as_str())?;
            let old = match found.name("old") {
                Some(old) => Some(told(old.as_str())?),
                None => None,
            };
            is_whole.then_some(Edit { field, old, new })
        })
    }

    fn field(&self, name: &str) -> Option<String> {
        self.names.get(&spoken(name)).cloned()
    }
}

/// A sentence of a language file, compiled: `{field}` and `{new}` stand for what is to be changed and into what,
/// `{old}` for what it is.
///
/// # Errors
/// One sentence.
pub fn phrase(text: &str) -> Result<Regex, String> {
    let count = |name: &str| text.matches(name).count();
    if count("{field}") != 1 || count("{new}") != 1 || count("{old}") > 1 {
        return Err("needs {field} and {new} once each, and {old} once at the most".to_owned());
    }
    let pattern = text
        .replace("{field}", "(?P<field>[^:]{1,60}?)")
        .replace("{old}", "(?P<old>.{1,120}?)")
        .replace("{new}", "(?P<new>.{1,120}?)");
    Regex::new(&format!("(?i)^(?:{pattern})(?P<end>[.!]?)$"))
        .map_err(|error| error.to_string().lines().last().unwrap_or_default().to_owned())
}

/// Whether it can be the name of a field: letters, digits, `_`, `-` and blanks.
pub fn is_field(name: &str) -> bool {
    let is_sign = |c: char| c.is_alphanumeric() || " _-".contains(c);
    !spoken(name).is_empty() && name.len() <= 60 && name.chars().all(is_sign)
}

/// A field and its new value, as an operator writes them: `FIELD=VALUE`. What a mail of somebody's may say, and no more,
/// since the value goes into a mail.
///
/// # Errors
/// One sentence.
pub fn assignment(text: &str) -> Result<(String, String), String> {
    let (field, value) = text.split_once('=').ok_or("write FIELD=VALUE")?;
    let (field, value) = (field.trim(), clean(value));
    if !is_field(field) {
        return Err("the name of a field has letters, digits, '_', '-' and blanks".to_owned());
    }
    if !is_value(&value) {
        return Err(format!(
            "a value is one line of letters, digits and the signs \" -.,'/+\", of {LONGEST_VALUE} characters at the most; change another one by hand"
        ));
    }
    Ok((field.to_owned(), value))
}

/// A name of a field as it is compared: "phone_number", "Phone number" and "phone-number" are one.
pub fn spoken(name: &str) -> String {
    let folded = fold(&name.replace(['_', '-'], " "));
    folded.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn clean(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ").nfc().collect()
}

/// Whether it can be a value: one line of signs that stand in names, addresses and numbers.
fn is_value(value: &str) -> bool {
    let is_sign = |c: char| c.is_alphanumeric() || " -.,'\u{2019}/+".contains(c);
    value.chars().count() <= LONGEST_VALUE
        && value.chars().all(is_sign)
        && value.chars().any(char::is_alphanumeric)
        && !value.to_lowercase().contains("www.")
}

/// A value in a sentence: in quotes, or such that nothing but a name or a number can be meant.
fn told(text: &str) -> Option<String> {
    let text = clean(text);
    let unquoted = QUOTES.iter().find_map(|(open, close)| text.strip_prefix(*open)?.strip_suffix(*close));
    if let Some(value) = unquoted.map(clean) {
        return is_value(&value).then_some(value);
    }
    let words: Vec<&str> = text.split(' ').collect();
    let begins = |word: &&str| {
        word.starts_with(|c: char| c.is_uppercase() || c.is_numeric() || c == '+') || PARTICLES.contains(word)
    };
    let shouts = |word: &&str| word.chars().count() > 2 && word.chars().all(char::is_uppercase);
    let is_shouted = words.iter().any(shouts) && !words.iter().all(shouts);
    let is_one = !text.contains(',') && !words.iter().any(|word| word.ends_with('.'));
    let is_name =
        words.len() <= 6 && words.iter().all(begins) && !words.iter().all(|word| PARTICLES.contains(word));
    (is_value(&text) && is_one && is_name && !is_shouted).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Table;

    fn corrections() -> Corrections {
        let config = CorrectionConfig {
            fields: ["name", "phone", "home_city"].map(str::to_owned).to_vec(),
            words: [
                ("name", vec!["last name", "Nachnamen", "nom", "apellido"]),
                ("phone", vec!["phone number", "Telefonnummer"]),
                ("home_city", vec!["city"]),
            ]
            .into_iter()
            .map(|(field, words)| (field.to_owned(), words.into_iter().map(str::to_owned).collect()))
            .collect(),
        };
        let table = Table::load(None).expect("the built-in rules");
        let languages: Vec<&LanguageFile> = table.languages.iter().map(|(_, file)| file).collect();
        Corrections::new(&config, &languages).expect("the built-in sentences")
    }

    /// Changes as `field|old|new`, and the rest in one line.
    fn check(words: &str, changes: &[&str], rest: &str) {
        let read = corrections().read(words);
        let found: Vec<String> = read
            .changes
            .iter()
            .map(|change| format!("{}|{}|{}", change.field, change.old.as_deref().unwrap_or("-"), change.new))
            .collect();
        assert_eq!(found, changes, "{words:?}");
        assert_eq!(read.rest.split_whitespace().collect::<Vec<_>>().join(" "), rest, "{words:?}");
    }

    #[test]
    fn a_filled_in_form_is_read() {
        check("name: Jan Doe -> Jane Doe", &["name|Jan Doe|Jane Doe"], "");
        check(
            "YES\n\n  name: -> Jane Doe\n  phone: ->\n - home city: Ulm \u{2192} K\u{f6}ln, Altstadt-S\u{fc}d\n\nThanks",
            &["name|-|Jane Doe", "home_city|Ulm|K\u{f6}ln, Altstadt-S\u{fc}d"],
            "YES Thanks",
        );
        check("Phone Number: => +49 30 / 123", &["phone|-|+49 30 / 123"], "");
        // Decomposed accents are composed.
        check("name: -> Rene\u{301}", &["name|-|Ren\u{e9}"], "");
        check("name: -> X\nname: -> X", &["name|-|X"], "");
    }

    #[test]
    fn a_plain_sentence_is_read() {
        check("Please change my name to Jane Doe.", &["name|-|Jane Doe"], "");
        check(
            "Hello,\nplease change my last name from Smith to van der Berg.\nThanks!",
            &["name|Smith|van der Berg"],
            "Hello, Thanks!",
        );
        check("Please update my phone number to +49 30 123", &["phone|-|+49 30 123"], "");
        check("Please change my city to \"the end of the world\"", &["home_city|-|the end of the world"], "");
        check(
            "Bitte \u{e4}ndern Sie meinen Nachnamen von Meier in M\u{fc}ller.",
            &["name|Meier|M\u{fc}ller"],
            "",
        );
        check("Veuillez remplacer mon nom Dupont par Durand.", &["name|Dupont|Durand"], "");
        check("Por favor, cambien mi apellido de Ruiz a Garc\u{ed}a.", &["name|Ruiz|Garc\u{ed}a"], "");
    }

    #[test]
    fn what_is_not_certain_is_left_to_a_person() {
        for words in [
            // More than a value, or not all of it.
            "Please change my name to Jane Doe as I got married",
            "Please change my name to Jane Doe NOW.",
            "Please change my name to Jane\nMary Doe.",
            "Please change my name to Jane. Thanks.",
            "Please change my name to Jane Doe, and my phone to 5.",
            "Please do not\nchange my name to Jane Doe.",
            "Please don't change my name to Jane Doe.",
            "Should I change my name to Jane Doe?",
            // Something nobody asked for, or that cannot be a value.
            "Please change my shoe size to 43.",
            "salary: -> 100000",
            "name: -> <b>Jane</b>",
            "name: -> http://example.org/",
            "name: -> www.example.org",
            "name: -> =HYPERLINK(1)",
            "name: -> jane@example.org",
            "name: -> Jane\u{202e}eoD",
            "name: -> .",
            "name: Jane ->",
            "name: Jane Doe",
            "name -> Jane",
            // Two wishes for one field.
            "name: -> Jane\nname: -> Joan",
        ] {
            let folded = words.split_whitespace().collect::<Vec<_>>().join(" ");
            check(words, &[], &folded);
        }
        let long = format!("name: -> {}", "x".repeat(121));
        check(&long, &[], &long);
        assert!(Corrections::default().read("name: -> Jane").changes.is_empty());
    }

    #[test]
    fn what_an_operator_sets_is_what_a_mail_may_say() {
        let set = |field: &str, value: &str| Ok((field.to_owned(), value.to_owned()));
        assert_eq!(assignment("name=Jane  Doe "), set("name", "Jane Doe"));
        assert_eq!(assignment(" home city = K\u{f6}ln, S\u{fc}d"), set("home city", "K\u{f6}ln, S\u{fc}d"));
        for wrong in ["name", "=Jane", "na:me=Jane", "name=", "name=<b>", "name=a=b", "name=www.example.org"]
        {
            assert!(assignment(wrong).is_err(), "{wrong}");
        }
        assert!(assignment(&format!("name={}", "x".repeat(121))).is_err());
    }

    #[test]
    fn phrases_are_checked() {
        assert!(phrase("change my {field} to {new}").is_ok());
        for wrong in ["change my {field}", "to {new}", "{field} {new} {new}", "({field} {new}"] {
            assert!(phrase(wrong).is_err(), "{wrong}");
        }
    }
}
