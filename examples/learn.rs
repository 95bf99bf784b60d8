//! Learns `rules/learned.csv`: `cargo run --release --example learn -- tests/corpus tests/letters > rules/learned.csv`
//!
//! Every `.eml` with an `.expect` beside it, and every line of a `.jsonl` of letters, is read as the daemon would read
//! it; what it asks for is learned from the concepts in it (see `privacyd::learned`): one logistic regression for each
//! type, with a quadratic penalty, by accelerated gradient descent over all of them. The same letters give the same
//! weights.
//!
//! `--apart` learns nothing of every third letter and tells on standard error what phrases and weights together make
//! of those. `--judge` learns nothing either: it tells the same of all mails as the rules read them, and prints
//! each that is read otherwise than it should be, and on what grounds. `--rules FOLDER` reads by the files of that folder, over the built-in ones. `--features` prints the features instead, a mail a line: name, disposition, types and features, with tabs
//! between them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use privacyd::classify::{Classifier, Ground};
use privacyd::concept;
use privacyd::decide::{Letter, Understanding};
use privacyd::learned::{Feature, Learned, scale};
use privacyd::operator::Court;
use privacyd::request::Table;
use privacyd::text::fold;
use privacyd::understand::Reader;
use serde::Deserialize;

/// How much a letter counts against the penalty, also one for a person to read, and a mail that asks for nothing: of
/// those there are more in any mailbox than were written for learning, and to act on one is worse than to ask a person.
const LETTER: f64 = 12.0;
const ORDINARY: f64 = 144.0;
/// Steps of the descent; after some 1,500 the weights move by less than they are rounded.
const STEPS: u32 = 1500;
/// A feature of fewer letters tells nothing.
const LEAST_LETTERS: usize = 2;
/// A weight below this (hundredths) is left out.
const LEAST_WEIGHT: f64 = 5.0;
/// Of the letters one in so many is kept apart.
const APART: u32 = 3;

/// What a mail should be taken for: an `.expect` file.
#[derive(Deserialize)]
struct Expectation {
    disposition: String,
    #[serde(default)]
    requests: Vec<String>,
}

/// A line of a `.jsonl`.
#[derive(Deserialize)]
struct Line {
    id: String,
    subject: String,
    body: String,
    types: Vec<String>,
}

/// A mail to learn from or to judge.
struct Mail {
    name: String,
    bytes: Vec<u8>,
    expected: Expectation,
    is_apart: bool,
}

/// What is learned of a mail: the places of its features, what each counts, and what is asked.
struct Lesson {
    features: Vec<usize>,
    scale: f64,
    weight: f64,
    requests: Vec<String>,
}

fn main() -> Result<()> {
    let (mut prints_features, mut keeps_apart, mut only_judges) = (false, false, false);
    let mut mails = Vec::new();
    let mut rules = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--features" => prints_features = true,
            "--apart" => keeps_apart = true,
            "--judge" => only_judges = true,
            "--rules" => rules = arguments.next().map(PathBuf::from),
            folder => collect(Path::new(folder), &mut mails)?,
        }
    }
    let mut table = Table::load(rules.as_deref())?;
    // As if they were built in.
    table.phrases.iter_mut().for_each(|phrase| phrase.is_own = false);
    let classifier = Classifier::new(&table);
    let reader = Reader::new(&table, &[]);
    if only_judges {
        judge(&reader, &Court::new(&table)?, mails.iter(), true);
        return Ok(());
    }
    let mut read: Vec<(Vec<Feature>, &Expectation)> = Vec::new();
    for mail in mails.iter().filter(|mail| !(keeps_apart && mail.is_apart)) {
        let Understanding::Read(letter) = reader.read(&mail.bytes) else { continue };
        if letter.automatic.is_some() || mail.expected.disposition == "automated" {
            continue;
        }
        let Letter { subject, own_words, .. } = *letter;
        let features = classifier.features(&subject, &fold(&own_words));
        if prints_features {
            let names: Vec<String> = features.iter().map(|it| it.name(classifier.concepts())).collect();
            let Expectation { disposition, requests } = &mail.expected;
            println!("{}\t{disposition}\t{}\t{}", mail.name, requests.join(" "), names.join(" "));
        }
        read.push((features, &mail.expected));
    }
    if prints_features {
        return Ok(());
    }
    let weights = learn_all(&table, &classifier, &read)?;
    print!("{weights}");
    if keeps_apart {
        let types: Vec<String> = table.types.iter().map(|kind| kind.name.clone()).collect();
        let concepts = concept::names(table.concepts.iter().map(|(_, file)| file.as_ref()));
        table.learned = Learned::parse("what was learned", &weights, &types, &concepts, false)?;
        let court = Court::new(&table)?;
        judge(&Reader::new(&table, &[]), &court, mails.iter().filter(|mail| mail.is_apart), false);
    }
    Ok(())
}

/// The mails of a folder, in the order of their names.
fn collect(folder: &Path, mails: &mut Vec<Mail>) -> Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.sort();
    for path in paths {
        let is = |extension: &str| path.extension().is_some_and(|it| it == extension);
        if path.is_dir() {
            collect(&path, mails)?;
        } else if is("eml") && path.with_extension("expect").exists() {
            mails.push(Mail {
                name: path.display().to_string(),
                bytes: std::fs::read(&path)?,
                expected: toml::from_str(&std::fs::read_to_string(path.with_extension("expect"))?)?,
                is_apart: false,
            });
        } else if is("jsonl") {
            for (number, line) in std::fs::read_to_string(&path)?.lines().enumerate() {
                let Line { id, subject, body, types } = serde_json::from_str(line)
                    .with_context(|| format!("{}:{}", path.display(), number + 1))?;
                let disposition = if types.is_empty() { "none" } else { "requests" };
                let digits: String = id.chars().filter(char::is_ascii_digit).collect();
                mails.push(Mail {
                    bytes: mail(&id, &subject, &body),
                    is_apart: digits.parse::<u32>()? % APART == 0,
                    name: id,
                    expected: Expectation { disposition: disposition.into(), requests: types },
                });
            }
        }
    }
    Ok(())
}

/// A letter as its sender's program would send it (RFC 6532).
fn mail(id: &str, subject: &str, body: &str) -> Vec<u8> {
    let body = body.replace('\n', "\r\n");
    format!(
        "From: {id}@example.org\r\nTo: privacy@example.com\r\nSubject: {subject}\r\nMessage-ID: <{id}@example.org>\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{body}\r\n"
    )
    .into_bytes()
}

/// The file of weights.
fn learn_all(
    table: &Table,
    classifier: &Classifier,
    read: &[(Vec<Feature>, &Expectation)],
) -> Result<String> {
    let mut counts: BTreeMap<Feature, usize> = BTreeMap::new();
    for feature in read.iter().flat_map(|(features, _)| features) {
        *counts.entry(*feature).or_default() += 1;
    }
    let known = counts.into_iter().filter(|(_, count)| *count >= LEAST_LETTERS);
    let known: Vec<Feature> = known.map(|(feature, _)| feature).collect();
    let lessons: Vec<Lesson> = read
        .iter()
        .map(|(features, expected)| Lesson {
            scale: scale(features.len()),
            features: features.iter().filter_map(|feature| known.binary_search(feature).ok()).collect(),
            weight: if expected.disposition == "none" { ORDINARY } else { LETTER },
            requests: if expected.disposition == "requests" { expected.requests.clone() } else { Vec::new() },
        })
        .collect();
    let types: Vec<&str> = table.types.iter().map(|kind| kind.name.as_str()).collect();
    let columns: Vec<Vec<f64>> = types.iter().map(|kind| learn(&lessons, known.len(), kind)).collect();
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record(std::iter::once("feature").chain(types.iter().copied()))?;
    let names = known.iter().map(|feature| feature.name(classifier.concepts()));
    let always = std::iter::once((known.len(), "always".to_owned()));
    for (place, name) in always.chain(names.enumerate()) {
        let weights: Vec<f64> = columns.iter().map(|column| (column[place] * 100.0).round()).collect();
        let cell =
            |weight: &f64| if weight.abs() < LEAST_WEIGHT { String::new() } else { weight.to_string() };
        if weights.iter().any(|weight| weight.abs() >= LEAST_WEIGHT) {
            out.write_record(std::iter::once(name).chain(weights.iter().map(cell)))?;
        }
    }
    Ok(String::from_utf8(out.into_inner()?)?)
}

/// The weights of `features` features for one type, and behind them what holds for every letter.
fn learn(lessons: &[Lesson], features: usize, kind: &str) -> Vec<f64> {
    let score = |weights: &[f64], lesson: &Lesson| {
        lesson.features.iter().map(|place| weights[*place]).sum::<f64>() * lesson.scale + weights[features]
    };
    // A step may be no longer than the sharpest curve allows, which the power method finds.
    let mut direction = vec![1.0; features + 1];
    let mut curvature = 1.0;
    for _ in 0..30 {
        let mut next = vec![0.0; features + 1];
        for lesson in lessons {
            let along = score(&direction, lesson);
            lesson.features.iter().for_each(|place| next[*place] += lesson.weight * along * lesson.scale);
            next[features] += lesson.weight * along;
        }
        curvature = next.iter().map(|it| it * it).sum::<f64>().sqrt();
        direction = next.iter().map(|it| it / curvature).collect();
    }
    let step = 1.0 / (0.25 * curvature + 1.0);
    let mut weights = vec![0.0; features + 1];
    let mut ahead = weights.clone();
    for round in 0..STEPS {
        let mut slope: Vec<f64> = ahead.clone();
        for lesson in lessons {
            let wanted = if lesson.requests.iter().any(|it| it == kind) { 1.0 } else { 0.0 };
            let error = lesson.weight * (1.0 / (1.0 + (-score(&ahead, lesson)).exp()) - wanted);
            lesson.features.iter().for_each(|place| slope[*place] += error * lesson.scale);
            slope[features] += error;
        }
        let next: Vec<f64> = ahead.iter().zip(&slope).map(|(weight, slope)| weight - step * slope).collect();
        let momentum = f64::from(round) / f64::from(round + 3);
        ahead = next.iter().zip(&weights).map(|(new, old)| new + momentum * (new - old)).collect();
        weights = next;
    }
    weights
}

/// Tells how `mails` are read: how often each outcome is, over all and in each language, and which are read wrongly if
/// that `is_told`.
fn judge<'a>(reader: &Reader, court: &Court<'_>, mails: impl Iterator<Item = &'a Mail>, is_told: bool) {
    const DESTRUCTIVE: [&str; 3] = ["deletion", "cancel_account", "correction"];
    let mut outcomes: BTreeMap<String, BTreeMap<&str, usize>> = BTreeMap::new();
    for Mail { name, bytes, expected, .. } in mails {
        let understanding = reader.read(bytes);
        let (word, _, findings) = court.disposition(&understanding);
        let is_act = word == "requests";
        let found: Vec<&String> = findings.iter().filter(|_| is_act).map(|finding| &finding.kind).collect();
        let wanted = |kind: &str| expected.requests.iter().any(|it| it == kind);
        let is_all = expected.requests.iter().all(|kind| found.contains(&kind));
        let outcome = match (expected.disposition == "requests", is_act) {
            (false, true) => "ordinary, acted on",
            (false, false) if word == "review" => "ordinary, to a person",
            (false, false) => "ordinary, left alone",
            (true, false) if word == "review" => "letter, to a person",
            (true, false) => "letter, missed",
            (true, true) if is_all && found.len() == expected.requests.len() => "letter, right",
            (true, true) if found.iter().any(|kind| wanted(kind)) => "letter, right in part",
            (true, true) => "letter, wrong",
        };
        if is_told && !["ordinary, left alone", "letter, right"].contains(&outcome) {
            let findings: Vec<String> =
                findings.iter().map(|it| format!("{} {:.2}", it.kind, it.confidence)).collect();
            println!("{name}\t{outcome}\t{}\t{}", expected.requests.join(" "), findings.join(", "));
            if let Understanding::Read(letter) = &understanding
                && let Some(reading) = &letter.reading
            {
                reading.verdict.why().into_iter().for_each(|why| println!("    {why}"));
                for Ground { rule, weight, sentence, against } in &reading.grounds {
                    let against = against.map(|why| format!(" ({why})")).unwrap_or_default();
                    println!("    {weight:.2} {rule}{against}: {sentence:?}");
                }
            }
        }
        let is_destructive = found.iter().any(|kind| DESTRUCTIVE.contains(&kind.as_str()) && !wanted(kind));
        let language = name.get(..2).unwrap_or_default();
        for group in ["all", language] {
            let counts = outcomes.entry(group.to_owned()).or_default();
            *counts.entry(outcome).or_default() += 1;
            *counts.entry("destroys what nobody asked for").or_default() += usize::from(is_destructive);
        }
    }
    for (group, counts) in outcomes {
        let counts: Vec<String> =
            counts.iter().map(|(outcome, count)| format!("{outcome} {count}")).collect();
        eprintln!("{group}: {}", counts.join("; "));
    }
}
