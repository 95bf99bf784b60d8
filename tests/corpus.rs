//! Every mail of the corpus against its expectation. What the rules still get wrong is listed in
//! `corpus/known-misses.txt`, and the list must stay true: a new miss fails, and so does a miss that is
//! right again. `UPDATE_CORPUS=1 cargo test --test corpus` rewrites the list; the difference is the review.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use privacyd::decide::Understanding;
use privacyd::operator::Court;
use privacyd::request::Table;
use privacyd::understand::Reader;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectation {
    disposition: String,
    automated: Option<String>,
    #[serde(default)]
    requests: Vec<String>,
    /// Where it can be told: the reply is written in it.
    language: Option<String>,
    text: Option<String>,
}

/// What differs from the expectation; empty when nothing does.
fn differences(court: &Court<'_>, understanding: &Understanding, expected: &Expectation) -> Vec<String> {
    let (word, automated, findings) = court.disposition(understanding);
    let mut differences = Vec::new();
    if word != expected.disposition {
        differences.push(format!("{word} instead of {}", expected.disposition));
    }
    if automated != expected.automated.as_deref() {
        differences.push(format!("{automated:?} instead of {:?}", expected.automated));
    }
    if word == "requests" {
        let found: Vec<String> = findings.into_iter().map(|finding| finding.kind).collect();
        if found != expected.requests {
            differences.push(format!("{found:?} instead of {:?}", expected.requests));
        }
        let language = language(understanding);
        if expected.language.is_some() && language != expected.language {
            differences.push(format!("language {language:?} instead of {:?}", expected.language));
        }
    }
    if let (Some(text), Understanding::Read(letter)) = (&expected.text, understanding) {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        if words(text) != words(&letter.own_words) {
            differences.push("other own words".into());
        }
    }
    differences
}

fn language(understanding: &Understanding) -> Option<String> {
    let Understanding::Read(letter) = understanding else { return None };
    letter.reading.as_ref()?.language.clone()
}

/// Whether the mail would start something it does not ask for that cannot be taken back.
fn destroys(court: &Court<'_>, understanding: &Understanding, expected: &Expectation) -> bool {
    let (word, _, findings) = court.disposition(understanding);
    word == "requests"
        && findings.iter().any(|finding| {
            ["deletion", "cancel_account", "correction"].contains(&finding.kind.as_str())
                && !expected.requests.contains(&finding.kind)
        })
}

fn mails(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(mails(&path));
        } else if path.extension().is_some_and(|extension| extension == "eml") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Of a row and a column of the table all of them.
const ALL: &str = "all";

/// How many are right and how many there are, by folder and language.
type Scores = BTreeMap<String, BTreeMap<String, (usize, usize)>>;

/// The share of each in percent, and of how many.
fn table(scores: &Scores) -> String {
    let languages: Vec<&String> = scores.get(ALL).map(|all| all.keys().collect()).unwrap_or_default();
    let mut text = format!("{:16}", "");
    for language in &languages {
        text.push_str(&format!("{language:>11}"));
    }
    let (last, others): (Vec<_>, Vec<_>) = scores.iter().partition(|(folder, _)| *folder == ALL);
    for (folder, row) in others.into_iter().chain(last) {
        text.push_str(&format!("\n{folder:16}"));
        for language in &languages {
            let cell = row
                .get(*language)
                .map(|(right, all)| format!("{:.0} % {all:>4}", 100.0 * *right as f64 / *all as f64));
            text.push_str(&format!("{:>11}", cell.unwrap_or_default()));
        }
    }
    text
}

#[test]
fn the_corpus_is_understood_but_for_the_known_misses() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let own = ["privacy@example.com", "privacy@example.net"].map(|address| address.parse().unwrap());
    let table_of_types = Table::load(None).unwrap();
    let (reader, court) = (Reader::new(&table_of_types, &own), Court::new(&table_of_types).unwrap());
    let mut misses = BTreeMap::new();
    let mut scores = Scores::new();
    let mut acted_on_machines = Vec::new();
    for path in mails(&root) {
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        let text = std::fs::read_to_string(path.with_extension("expect")).unwrap();
        let expected: Expectation = toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let understanding = reader.read(&std::fs::read(&path).unwrap());
        let mut differences = differences(&court, &understanding, &expected);
        if destroys(&court, &understanding, &expected) {
            differences.push("DESTRUCTIVE".into());
        }
        if expected.disposition == "automated" && court.disposition(&understanding).0 != "automated" {
            acted_on_machines.push(name.clone());
        }
        let folder = name.split('/').next().unwrap().to_owned();
        let language = expected.language.as_deref().unwrap_or("-").to_owned();
        for column in [language, ALL.to_owned()] {
            for row in [&folder, ALL] {
                let (right, all) =
                    scores.entry(row.to_owned()).or_default().entry(column.clone()).or_default();
                *all += 1;
                *right += usize::from(differences.is_empty());
            }
        }
        if !differences.is_empty() {
            misses.insert(name, differences.join("; "));
        }
    }
    println!("{}", table(&scores));
    assert_eq!(acted_on_machines, Vec::<String>::new(), "machines' mail that would be answered");
    let file = root.join("known-misses.txt");
    let found: String = misses.iter().map(|(name, what)| format!("{name}: {what}\n")).collect();
    if std::env::var_os("UPDATE_CORPUS").is_some() {
        std::fs::write(&file, &found).unwrap();
    }
    assert_eq!(
        found,
        std::fs::read_to_string(&file).unwrap_or_default(),
        "UPDATE_CORPUS=1 rewrites the list"
    );
}
