//! Every mail of the corpus against its expectation. What the rules still get wrong is listed in
//! `corpus/known-misses.txt`, and the list must stay true: a new miss fails, and so does a miss that is
//! right again. `UPDATE_CORPUS=1 cargo test --test corpus` rewrites the list; the difference is the review.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use privacyd::decide::Understanding;
use privacyd::operator::disposition;
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
fn differences(understanding: &Understanding, expected: &Expectation) -> Vec<String> {
    let (word, automated, findings) = disposition(understanding);
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
fn destroys(understanding: &Understanding, expected: &Expectation) -> bool {
    let (word, _, findings) = disposition(understanding);
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

#[test]
fn the_corpus_is_understood_but_for_the_known_misses() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let own = ["privacy@example.com", "privacy@example.net"].map(|address| address.parse().unwrap());
    let reader = Reader::new(&Table::load(None).unwrap(), &own);
    let mut misses = BTreeMap::new();
    let mut folders: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut acted_on_machines = Vec::new();
    for path in mails(&root) {
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        let text = std::fs::read_to_string(path.with_extension("expect")).unwrap();
        let expected: Expectation = toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let understanding = reader.read(&std::fs::read(&path).unwrap());
        let mut differences = differences(&understanding, &expected);
        if destroys(&understanding, &expected) {
            differences.push("DESTRUCTIVE".into());
        }
        if expected.disposition == "automated" && disposition(&understanding).0 != "automated" {
            acted_on_machines.push(name.clone());
        }
        let folder = name.split('/').next().unwrap().to_owned();
        let (right, all) = folders.entry(folder).or_default();
        *all += 1;
        *right += usize::from(differences.is_empty());
        if !differences.is_empty() {
            misses.insert(name, differences.join("; "));
        }
    }
    for (folder, (right, all)) in &folders {
        println!("{folder:16} {right:3} of {all:3}");
    }
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
