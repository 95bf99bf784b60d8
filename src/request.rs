//! The table: every request type as one row, read from `rules/<type>.toml`.
//!
//! A row is data: an operator adds a phrase, or a whole type, by putting a file into the rules folder
//! of the configuration. What a row may *do* is a closed set, [`Action`]: a new verb is code.
//! Rows and languages are built into the binary; a file of the same name in the operator's folder
//! takes the place of the built-in one. So is `rules/laws.toml`, the table of legal clocks (see
//! [`crate::clock`]): how long a request may take is a matter of the laws that apply, not of its type.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;

use rust_embed::RustEmbed;
use serde::Deserialize;

use crate::clock::Laws;
use crate::concept::{self, ConceptFile, MOST_CONCEPTS, Packed};
use crate::config::{FileError, folder_name_is_sound, line_of, parse_toml};
use crate::correction;
use crate::decide::UNCLEAR;
use crate::language::{LanguageFile, Words, expand};
use crate::learned::Learned;
use crate::patterns;
use crate::text;

/// The type of a mail about an earlier request.
pub const FOLLOW_UP: &str = "follow_up";

/// What is done, without a person, for a request of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The sender's address gets no more marketing mail, at once (15 USC 7704; GDPR art. 21(3)).
    SuppressMarketing,
    /// The sender's address is taken out of targeted advertising, at once (11 CCR 7026).
    SuppressAds,
    /// The reply is all there is to do.
    Answer,
    /// A request is opened, acknowledged, and waits for a person.
    Open,
    /// The same; where the configuration knows what was passed on to third parties in the year before, it is
    /// told and the request completed.
    Disclose,
}

impl Action {
    /// Whether the request is finished when the mail has been received.
    pub fn completes(self) -> bool {
        !matches!(self, Self::Open | Self::Disclose)
    }

    /// Whether it is an opt-out: done at once, and without a proof.
    pub fn opts_out(self) -> bool {
        matches!(self, Self::SuppressMarketing | Self::SuppressAds)
    }
}

/// What the company's systems do for an approved request of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Hand out a copy of what is held of a person (GDPR art. 15 and 20; Cal. Civ. Code 1798.110).
    Collect,
    /// Erase what is held of a person (GDPR art. 17; Cal. Civ. Code 1798.105).
    Erase,
    /// Close a person's account.
    Cancel,
    /// Change single fields of a person (GDPR art. 16; Cal. Civ. Code 1798.106).
    Correct,
    /// Keep what is held of a person and use it no more, or less (GDPR art. 18 and 21; Cal. Civ. Code 1798.121).
    Restrict,
    /// Take down what is published of a person, such as a testimonial; not change it.
    Unpublish,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Collect, Self::Erase, Self::Cancel, Self::Correct, Self::Restrict, Self::Unpublish];

    /// What a source does of which the configuration does not say it.
    pub const DEFAULT: [Self; 4] = [Self::Collect, Self::Erase, Self::Cancel, Self::Correct];

    /// The word for it in rules, configuration and orders.
    pub fn name(self) -> &'static str {
        match self {
            Self::Collect => "collect",
            Self::Erase => "erase",
            Self::Cancel => "cancel",
            Self::Correct => "correct",
            Self::Restrict => "restrict",
            Self::Unpublish => "unpublish",
        }
    }

    /// The step of the ladder of proof below which nobody can ask for it. What is restricted can be used again.
    pub fn least_proof(self) -> u8 {
        if self == Self::Restrict { 1 } else { 2 }
    }

    /// Whether something is not there any more afterwards: erased, closed or overwritten.
    pub fn is_final(self) -> bool {
        self.destroys() || self == Self::Correct
    }

    /// Whether it takes something away that does not come back.
    pub fn destroys(self) -> bool {
        matches!(self, Self::Erase | Self::Cancel)
    }
}

/// How much a phrase weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strength {
    /// Never enough alone.
    Hint,
    /// Enough for what can be undone.
    Likely,
    /// Decides.
    Certain,
}

impl Strength {
    const ALL: [Self; 3] = [Self::Hint, Self::Likely, Self::Certain];

    /// The chance that a mail with this phrase, unguarded, is a request of its type. Estimates that
    /// the corpus confirms or refutes, not measurements.
    pub fn weight(self) -> f64 {
        match self {
            Self::Hint => 0.3,
            Self::Likely => 0.65,
            Self::Certain => 0.95,
        }
    }

    /// The word for it in rule files and in the names of phrases.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hint => "hint",
            Self::Likely => "likely",
            Self::Certain => "certain",
        }
    }
}

/// The file of a type.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct TypeFile {
    action: Action,
    #[serde(default)]
    verb: Option<Verb>,
    folder: String,
    proof: u8,
    order: u16,
    threshold: f64,
    #[serde(default)]
    learned: Option<f64>,
    #[serde(default)]
    urgent: bool,
    #[serde(default)]
    alone: bool,
    #[serde(default)]
    yields: bool,
    #[serde(default)]
    any_mood: bool,
    #[serde(default)]
    no_trade: bool,
    #[serde(default)]
    over: Vec<String>,
    #[serde(default)]
    by_hand: BTreeMap<String, Vec<String>>,
    title: BTreeMap<String, String>,
    #[serde(default)]
    phrases: BTreeMap<String, Phrases>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Phrases {
    certain: Vec<String>,
    likely: Vec<String>,
    hint: Vec<String>,
}

/// One request type.
#[derive(Debug, Clone)]
pub struct RequestType {
    /// The name: of the rule file, the templates' folder, the corpus folder, and in the database.
    pub name: String,
    /// What is done for it.
    pub action: Action,
    /// What the company's systems do once it is approved; `None` is a person's work.
    pub verb: Option<Verb>,
    /// The IMAP folder its mail is filed in.
    pub folder: String,
    /// How much proof of identity it needs: a step of the ladder, 0 to 3.
    pub proof: u8,
    /// Place in the safe order in which several requests of one mail are carried out, lowest first.
    pub order: u16,
    /// Confidence below which nothing is done, 0 to 1.
    pub threshold: f64,
    /// The same where no phrase says it, or no more than hints do: what was learned has to be so likely.
    pub learned: f64,
    /// Whether a person should look at it before all else.
    pub urgent: bool,
    /// Whether it is the only request of its mail, whatever else is said there: what is said of a
    /// child's data is not said of the writer's own, and a reminder repeats its request.
    pub alone: bool,
    /// Whether it gives way to any other request of its mail.
    pub yields: bool,
    /// Whether a question, a condition or a report is how such a mail is put, so that guards of the
    /// whole sentence, and a denial among its own words, do not take its phrases their force: "where
    /// is my copy, which you have not sent?" is a reminder.
    pub any_mood: bool,
    /// Whether its phrases below [`Strength::Certain`] do not count in a mail about an order, a parcel
    /// or a bill: "I have written twice and had no answer" is a reminder of what the mail is about.
    pub no_trade: bool,
    /// Types, by index in [`Table::types`], that are more general than this one: where a phrase of
    /// this one and a phrase of theirs share words, the words are this one's ("no more targeted ads"
    /// is no end to all mailings).
    pub over: Vec<usize>,
    /// Beginnings of words, folded, by language, that tell that a letter may want something else than
    /// [`RequestType::verb`] does. Empty where a letter cannot.
    pub by_hand: BTreeMap<String, Vec<String>>,
    /// How a reply names it, by language.
    pub titles: BTreeMap<String, String>,
}

impl RequestType {
    /// How a reply in `language` names it; the type's own name when nothing else is known.
    pub fn title(&self, language: &str) -> &str {
        self.titles.get(language).or_else(|| self.titles.get("en")).map_or(&self.name, String::as_str)
    }

    /// Whether a letter in these words, in which `rules` were found, may want something else than systems do. So it
    /// is of a letter in a language for which nobody has written down how that is said.
    pub fn is_by_hand(&self, rules: &[String], words: &str) -> bool {
        let folded = text::fold(words);
        let begins = |beginning: &String| {
            folded.split(|c: char| !c.is_alphanumeric()).any(|word| word.starts_with(beginning.as_str()))
        };
        let languages = rules.iter().filter_map(|rule| Some(of_phrase(rule)?.0));
        let is_clear = |language| self.by_hand.get(language).is_some_and(|list| !list.iter().any(begins));
        !(self.by_hand.is_empty() || languages.clone().count() > 0 && languages.clone().all(is_clear))
    }
}

/// Language and strength of the phrase that `rule` names; what was learned, and a token, are no phrases.
pub fn of_phrase(rule: &str) -> Option<(&str, Strength)> {
    let mut parts = rule.split('/').skip(1);
    let (language, word) = (parts.next()?, parts.next()?);
    let strength = Strength::ALL.into_iter().find(|strength| strength.name() == word)?;
    Some((language, strength))
}

/// One phrase of one type.
#[derive(Debug, Clone)]
pub struct Phrase {
    /// Index of its type in [`Table::types`].
    pub kind: usize,
    /// Index of its language in [`Table::languages`].
    pub language: usize,
    /// How much it weighs.
    pub strength: Strength,
    /// Its name in logs and explanations: `deletion/en/certain/3`, counted from 1.
    pub name: String,
    /// What it says, as it is written: see [`crate::language::expand`] and [`text::pattern`].
    pub text: Arc<str>,
    /// Whether it is the operator's: nothing that was learned overrules it.
    pub is_own: bool,
}

/// All types, languages and phrases.
#[derive(Debug, Clone)]
pub struct Table {
    /// The types, in their safe order.
    pub types: Vec<RequestType>,
    /// The languages by code, in order of the code.
    pub languages: Vec<(String, LanguageFile)>,
    /// The phrases of all types.
    pub phrases: Vec<Phrase>,
    /// The legal clocks, by law: `laws.toml`.
    pub laws: Laws,
    /// What the languages' words express, by the language's index: `concepts/<language>.toml`.
    pub concepts: Vec<(usize, Arc<Packed>)>,
    /// What was learned of the types: `learned.csv`.
    pub learned: Learned,
}

/// The file among the types that is none: the table of laws.
const LAWS: &str = "laws";

/// The file of weights.
const LEARNED: &str = "learned.csv";

#[derive(RustEmbed)]
#[folder = "rules/"]
struct BuiltIn;

/// What makes a phrase another one: its type, its language, how much it weighs and what it says.
type SpeltOut<'a> = (&'a str, &'a str, Strength, String);

impl Table {
    /// Reads the built-in rows and, over them, those in `folder`.
    ///
    /// # Errors
    /// The first mistake, with file, line and key.
    pub fn load(folder: Option<&Path>) -> Result<Self, FileError> {
        let mut files = built_in();
        if let Some(folder) = folder {
            read_folder(folder, "", &mut files)?;
            read_folder(&folder.join("languages"), "languages/", &mut files)?;
            read_folder(&folder.join("concepts"), "concepts/", &mut files)?;
        }
        let mut table = Self::parse(files)?;
        if table.phrases.iter().any(|phrase| phrase.is_own) {
            table.disown(&Self::parse(built_in())?);
        }
        Ok(table)
    }

    /// Whoever adds a phrase copies the file: the others in it, which are in `built_in` too, are as they were.
    fn disown(&mut self, built_in: &Self) {
        let own = |phrase: &Phrase| phrase.is_own.then(|| self.spelt_out(phrase)).flatten();
        let own: Vec<Option<SpeltOut<'_>>> = self.phrases.iter().map(own).collect();
        let places: HashSet<(&str, &str)> =
            own.iter().flatten().map(|(kind, code, ..)| (*kind, *code)).collect();
        let copied = built_in
            .phrases
            .iter()
            .filter(|phrase| built_in.place_of(phrase).is_some_and(|place| places.contains(&place)));
        let copied: HashSet<SpeltOut<'_>> = copied.filter_map(|it| built_in.spelt_out(it)).collect();
        let is_copied: Vec<bool> =
            own.iter().map(|it| it.as_ref().is_some_and(|it| copied.contains(it))).collect();
        for (phrase, is_copied) in self.phrases.iter_mut().zip(is_copied) {
            phrase.is_own &= !is_copied;
        }
    }

    /// The name of a phrase's type and the code of its language.
    fn place_of(&self, phrase: &Phrase) -> Option<(&str, &str)> {
        Some((&self.types.get(phrase.kind)?.name, &self.languages.get(phrase.language)?.0))
    }

    /// The same, how much it weighs, and what it says with its classes of words written out.
    fn spelt_out(&self, phrase: &Phrase) -> Option<SpeltOut<'_>> {
        let (kind, code) = self.place_of(phrase)?;
        let (_, language) = self.languages.get(phrase.language)?;
        Some((kind, code, phrase.strength, expand(&language.words, &phrase.text).ok()?))
    }

    /// Builds the table of `files`, by relative path.
    fn parse(files: BTreeMap<String, RuleFile>) -> Result<Self, FileError> {
        let mut languages = Vec::new();
        let mut concepts = Vec::new();
        let mut rows = Vec::new();
        for (path, file) in &files {
            let RuleFile { shown, text, is_sound } = file;
            let Some(stem) = path.strip_suffix(".toml") else { continue };
            if let Some(code) = stem.strip_prefix("languages/") {
                let mut language: LanguageFile = parse_toml(shown, text)?;
                check_language(&mut language, shown, text, *is_sound)?;
                languages.push((code.to_owned(), language));
            } else if let Some(code) = stem.strip_prefix("concepts/") {
                concepts.push((code.to_owned(), parse_toml(shown, text)?, file));
            } else if stem != LAWS {
                let row: TypeFile = parse_toml(shown, text)?;
                check_row(stem, &row, shown, text)?;
                rows.push((stem.to_owned(), row, shown, text, *is_sound));
            }
        }
        rows.sort_by(|a, b| (a.1.order, &a.0).cmp(&(b.1.order, &b.0)));
        let names: Vec<String> = rows.iter().map(|(name, ..)| name.clone()).collect();
        let laws = match files.get("laws.toml") {
            Some(RuleFile { shown, text, .. }) => {
                let known: Vec<&str> = names.iter().map(String::as_str).chain([UNCLEAR]).collect();
                Laws::parse(shown, text, &known)?
            }
            None => Laws::default(),
        };
        let known = concept::names(concepts.iter().map(|(_, file, _)| file));
        let learned = match files.get(LEARNED) {
            Some(RuleFile { shown, text, is_sound }) => {
                Learned::parse(shown, text, &names, &known, *is_sound)?
            }
            None => Learned::default(),
        };
        let concepts = resolve_concepts(concepts, &languages, &learned, &known)?;
        let mut table = Self { types: Vec::new(), languages, phrases: Vec::new(), laws, concepts, learned };
        for (kind, (name, row, shown, text, is_sound)) in rows.into_iter().enumerate() {
            let over = resolve(&row.over, &names, shown, text)?;
            let folded = |list: Vec<String>| list.iter().map(|word| text::fold(word)).collect();
            let by_hand = row.by_hand.into_iter().map(|(code, list)| (code, folded(list))).collect();
            for (code, phrases) in &row.phrases {
                let Some((language, (_, LanguageFile { words, .. }))) =
                    table.languages.iter().enumerate().find(|(_, (known, _))| known == code)
                else {
                    return Err(FileError {
                        file: shown.clone(),
                        line: line_of(text, &["phrases", code]),
                        message: format!(
                            "phrases.{code}: there is no rules/languages/{code}.toml; add one or correct the code"
                        ),
                    });
                };
                // The classes of words in its patterns are the language's.
                let is_sound =
                    is_sound && files.get(&format!("languages/{code}.toml")).is_some_and(|it| it.is_sound);
                for (strength, list) in [
                    (Strength::Certain, &phrases.certain),
                    (Strength::Likely, &phrases.likely),
                    (Strength::Hint, &phrases.hint),
                ] {
                    for (index, phrase) in list.iter().enumerate() {
                        let level = strength.name();
                        let path = ["phrases", code, level];
                        if !is_sound {
                            check_pattern(phrase, words, shown, text, &path, index)?;
                        }
                        table.phrases.push(Phrase {
                            kind,
                            language,
                            strength,
                            name: format!("{name}/{code}/{level}/{}", index + 1),
                            text: phrase.as_str().into(),
                            is_own: !is_sound,
                        });
                    }
                }
            }
            table.types.push(RequestType {
                name,
                action: row.action,
                verb: row.verb,
                folder: row.folder,
                proof: row.proof,
                order: row.order,
                threshold: row.threshold,
                learned: row.learned.unwrap_or(row.threshold),
                urgent: row.urgent,
                alone: row.alone,
                yields: row.yields,
                any_mood: row.any_mood,
                no_trade: row.no_trade,
                over,
                by_hand,
                titles: row.title,
            });
        }
        Ok(table)
    }

    /// What a system does for requests of this type, if any does anything.
    pub fn verb(&self, kind: &str) -> Option<Verb> {
        self.kind(kind).and_then(|kind| kind.verb)
    }

    /// Whether requests of this type take something away that does not come back.
    pub fn destroys(&self, kind: &str) -> bool {
        self.verb(kind).is_some_and(Verb::destroys)
    }

    /// The type of this name.
    pub fn kind(&self, name: &str) -> Option<&RequestType> {
        self.types.iter().find(|kind| kind.name == name)
    }

    /// What is known of the language `code`.
    pub fn language(&self, code: &str) -> Option<&LanguageFile> {
        self.languages.iter().find(|(known, _)| known == code).map(|(_, language)| language)
    }
}

/// A file of rules.
struct RuleFile {
    /// The name to show.
    shown: String,
    text: Cow<'static, str>,
    /// Whether its patterns need no check: those of the built-in files are checked by a test, for to check
    /// them at every start would take longer than all that `classify` does.
    is_sound: bool,
}

/// The built-in files by their path.
fn built_in() -> BTreeMap<String, RuleFile> {
    let file = |path: &str| {
        let text = match BuiltIn::get(path)?.data {
            Cow::Borrowed(data) => String::from_utf8_lossy(data),
            Cow::Owned(data) => Cow::Owned(String::from_utf8_lossy(&data).into_owned()),
        };
        Some(RuleFile { shown: format!("built-in rules/{path}"), text, is_sound: true })
    };
    BuiltIn::iter().filter_map(|path| Some((path.to_string(), file(&path)?))).collect()
}

/// Adds the .toml files of `folder` under their path in the table; a missing folder adds nothing
/// below `languages/`, and is a mistake at the top.
fn read_folder(folder: &Path, prefix: &str, files: &mut BTreeMap<String, RuleFile>) -> Result<(), FileError> {
    let fail = |path: &Path, error: &dyn std::fmt::Display| FileError {
        file: path.display().to_string(),
        line: 0,
        message: format!("cannot be read: {error}"),
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !prefix.is_empty() => return Ok(()),
        Err(error) => return Err(fail(folder, &error)),
    };
    for entry in entries {
        let path = entry.map_err(|error| fail(folder, &error))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if (name.ends_with(".toml") || name == LEARNED) && path.is_file() {
            let text = std::fs::read_to_string(&path).map_err(|error| fail(&path, &error))?;
            let file = RuleFile { shown: path.display().to_string(), text: text.into(), is_sound: false };
            files.insert(format!("{prefix}{name}"), file);
        }
    }
    Ok(())
}

/// The files of concepts by the index of their language. `known` are the names of all concepts; of one of the operator's
/// nothing was learned where its name is spelt in another way, and it would say nothing.
fn resolve_concepts(
    files: Vec<(String, ConceptFile, &RuleFile)>,
    languages: &[(String, LanguageFile)],
    learned: &Learned,
    known: &[String],
) -> Result<Vec<(usize, Arc<Packed>)>, FileError> {
    let mut names = BTreeSet::new();
    let mut resolved = Vec::new();
    for (code, concepts, RuleFile { shown, text, is_sound }) in files {
        let wrong = |path: &[&str], message: String| {
            Err(FileError { file: shown.clone(), line: line_of(text, path), message })
        };
        for (name, entries) in &concepts {
            // As with patterns: a test checks the built-in ones.
            if !is_sound && let Err((entry, why)) = concept::check(name, entries) {
                return wrong(&[name, &entry.to_string()], format!("{name}, entry {}: {why}", entry + 1));
            }
            names.insert(name.clone());
        }
        if names.len() > MOST_CONCEPTS {
            let message = format!("no more than {MOST_CONCEPTS} concepts can be told apart; take some out");
            return wrong(&[], message);
        }
        let Some(language) = languages.iter().position(|(known, _)| *known == code) else {
            let message =
                format!("there is no rules/languages/{code}.toml; add one or correct the file's name");
            return wrong(&[], message);
        };
        let is_learned = |name: &str| {
            let place = known.iter().position(|it| it == name).and_then(|place| u8::try_from(place).ok());
            place.is_some_and(|concept| learned.knows(concept))
        };
        if let Some(name) = concepts.keys().find(|name| !is_sound && !is_learned(name)) {
            let message = format!(
                "{name}: nothing was learned of this concept, so it would say nothing; correct the name, or take it out"
            );
            return wrong(&[name], message);
        }
        resolved.push((language, Arc::new(concept::packed(concepts))));
    }
    Ok(resolved)
}

/// The indices of the types that `over` names.
fn resolve(over: &[String], names: &[String], file: &str, text: &str) -> Result<Vec<usize>, FileError> {
    over.iter()
        .map(|wanted| {
            names.iter().position(|name| name == wanted).ok_or_else(|| FileError {
                file: file.to_owned(),
                line: line_of(text, &["over"]),
                message: format!("over: there is no type {wanted:?}; take it out or correct the name"),
            })
        })
        .collect()
}

fn check_row(name: &str, row: &TypeFile, file: &str, text: &str) -> Result<(), FileError> {
    let wrong = |path: &[&str], message: String| {
        Err(FileError { file: file.to_owned(), line: line_of(text, path), message })
    };
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
        return wrong(&[], format!("the file name {name:?} names the type: use a-z, 0-9 and '_'"));
    }
    if crate::reply::GENERAL.contains(&name) {
        return wrong(&[], format!("the name {name:?} is taken by a general template; choose another"));
    }
    if !folder_name_is_sound(&row.folder) {
        return wrong(&["folder"], "folder: use printable ASCII other than \" \\ * % &".into());
    }
    if row.proof > 3 {
        return wrong(&["proof"], "proof: is a step of the ladder, 0 to 3".into());
    }
    if let Some(verb) = row.verb
        && (row.proof < verb.least_proof() || row.action != Action::Open)
    {
        let least = verb.least_proof();
        let message = format!("verb: {:?} needs action = \"open\" and a proof of {least} to 3", verb.name());
        return wrong(&["verb"], message);
    }
    if row.proof > 0 && row.action.opts_out() {
        return wrong(
            &["proof"],
            "proof: an opt-out may not ask for proof (11 CCR 7060(b)); set it to 0".into(),
        );
    }
    if !(0.0..=1.0).contains(&row.threshold) || row.threshold <= Strength::Hint.weight() {
        return wrong(
            &["threshold"],
            "threshold: must be above 0.3, the weight of a hint, and at most 1".into(),
        );
    }
    if row.learned.is_some_and(|learned| !(row.threshold..=1.0).contains(&learned)) {
        return wrong(&["learned"], "learned: must be at least the threshold, and at most 1".into());
    }
    if !row.title.contains_key("en") {
        return wrong(&["title"], "title: needs at least an English text, en = \"…\"".into());
    }
    Ok(())
}

/// Checks every pattern of `language` and writes its classes of words out.
fn check_language(
    language: &mut LanguageFile,
    file: &str,
    text: &str,
    is_sound: bool,
) -> Result<(), FileError> {
    let LanguageFile { words, guards, own_words, automatic, agent, answer, correction, .. } = language;
    for (index, phrase) in correction.change.iter().enumerate() {
        correction::phrase(phrase).map_err(|why| FileError {
            file: file.to_owned(),
            line: line_of(text, &["correction", "change", &index.to_string()]),
            message: format!("correction.change, entry {}: {why}", index + 1),
        })?;
    }
    let lists: [(&[&str], &mut Vec<String>); 29] = [
        (&["guards", "negated"], &mut guards.negated),
        (&["guards", "polite"], &mut guards.polite),
        (&["guards", "kept"], &mut guards.kept),
        (&["guards", "after"], &mut guards.after),
        (&["guards", "inside"], &mut guards.inside),
        (&["guards", "asking"], &mut guards.asking),
        (&["guards", "conditional"], &mut guards.conditional),
        (&["guards", "reported"], &mut guards.reported),
        (&["guards", "asked"], &mut guards.asked),
        (&["guards", "wanted"], &mut guards.wanted),
        (&["guards", "others"], &mut guards.others),
        (&["guards", "trade"], &mut guards.trade),
        (&["guards", "retracted"], &mut guards.retracted),
        (&["own_words", "attribution"], &mut own_words.attribution),
        (&["own_words", "history"], &mut own_words.history),
        (&["own_words", "forwarded"], &mut own_words.forwarded),
        (&["own_words", "signature"], &mut own_words.signature),
        (&["automatic", "subject"], &mut automatic.subject),
        (&["automatic", "bounce_subject"], &mut automatic.bounce_subject),
        (&["agent", "authority"], &mut agent.authority),
        (&["agent", "form"], &mut agent.form),
        (&["answer", "yes"], &mut answer.yes),
        (&["answer", "no"], &mut answer.no),
        (&["answer", "never_mind"], &mut answer.never_mind),
        (&["answer", "greeting"], &mut answer.greeting),
        (&["answer", "polite"], &mut answer.polite),
        (&["answer", "data"], &mut answer.data),
        (&["answer", "thanks"], &mut answer.thanks),
        (&["answer", "closing"], &mut answer.closing),
    ];
    for (path, list) in lists {
        for (index, phrase) in list.iter_mut().enumerate() {
            // Guards are written out when they are compiled, as phrases are.
            let is_guard = path.first() == Some(&"guards");
            let spelt_out = match is_sound {
                true if is_guard => None,
                true => expand(words, phrase).ok(),
                false => Some(check_pattern(phrase, words, file, text, path, index)?),
            };
            if let Some(spelt_out) = spelt_out.filter(|_| !is_guard) {
                *phrase = spelt_out;
            }
        }
    }
    Ok(())
}

/// Writes a pattern's classes of words out, and checks that it can be compiled and does not match
/// everything.
fn check_pattern(
    phrase: &str,
    words: &Words,
    file: &str,
    text: &str,
    path: &[&str],
    index: usize,
) -> Result<String, FileError> {
    let position = index.to_string();
    let full: Vec<&str> = path.iter().copied().chain([position.as_str()]).collect();
    let wrong = |message: String| FileError {
        file: file.to_owned(),
        line: line_of(text, &full),
        message: format!("{}, entry {}: {message}", path.join("."), index + 1),
    };
    let phrase = expand(words, phrase).map_err(&wrong)?;
    let hir = patterns::check(&text::pattern(&phrase))
        .map_err(|error| wrong(format!("is not a pattern: {}", last_line(&error))))?;
    match hir.properties().minimum_len() {
        Some(0) | None => {
            Err(wrong("matches an empty text and so every mail; ask for at least a word".into()))
        }
        Some(_) => Ok(phrase),
    }
}

/// The sentence of a regex error, without the drawing above it.
fn last_line(error: &str) -> String {
    error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_files_are_sound() {
        let mut files = built_in();
        assert!(files.len() > 15);
        files.values_mut().for_each(|file| file.is_sound = false);
        if let Err(error) = Table::parse(files) {
            panic!("{error}");
        }
    }
}
