//! Learns `rules/learned.csv` from a corpus:
//! `cargo run --release --example learn -- FOLDER… > rules/learned.csv`
//!
//! Every `.eml` with an `.expect` beside it is read as the daemon would read it; what it asks for is learned from the
//! concepts in it (see `privacyd::learned`): one logistic regression for each type, with a quadratic penalty, by
//! accelerated gradient descent over all letters. The same corpus gives the same weights. With `--features` the
//! features are printed instead, a mail a line: file, disposition, types, features, with tabs between them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use privacyd::classify::Classifier;
use privacyd::decide::Understanding;
use privacyd::learned::{Feature, scale};
use privacyd::request::Table;
use privacyd::text::fold;
use privacyd::understand::Reader;
use serde::Deserialize;

/// How much the letters count against the penalty.
const LETTERS: f64 = 6.0;
/// Steps of the descent; the weights move by less than they are rounded after some 400.
const STEPS: u32 = 600;
/// A feature of fewer letters tells nothing.
const LEAST_LETTERS: usize = 2;
/// A weight below this (hundredths) is left out.
const LEAST_WEIGHT: f64 = 5.0;

#[derive(Deserialize)]
struct Expectation {
    disposition: String,
    #[serde(default)]
    requests: Vec<String>,
}

/// A letter: the places of its features, what each counts, and what is asked.
struct Letter {
    features: Vec<usize>,
    scale: f64,
    requests: Vec<String>,
}

fn main() -> anyhow::Result<()> {
    let mut prints_features = false;
    let mut paths = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--features" => prints_features = true,
            folder => mails(Path::new(folder), &mut paths)?,
        }
    }
    paths.sort();
    let table = Table::load(None)?;
    let classifier = Classifier::new(&table);
    let mut read: Vec<(Vec<Feature>, Vec<String>)> = Vec::new();
    let reader = Reader::new(&table, &[]);
    for path in paths {
        let Understanding::Read(letter) = reader.read(&std::fs::read(&path)?) else { continue };
        let expectation = path.with_extension("expect");
        if letter.automatic.is_some() || !expectation.exists() {
            continue;
        }
        let expected: Expectation = toml::from_str(&std::fs::read_to_string(expectation)?)?;
        let features = classifier.features(&letter.subject, &fold(&letter.own_words));
        if prints_features {
            let names: Vec<String> =
                features.iter().map(|feature| feature.name(classifier.concepts())).collect();
            let requests = expected.requests.join(" ");
            println!("{}\t{}\t{requests}\t{}", path.display(), expected.disposition, names.join(" "));
        } else if expected.disposition != "automated" {
            read.push((
                features,
                if expected.disposition == "requests" { expected.requests } else { Vec::new() },
            ));
        }
    }
    if prints_features {
        return Ok(());
    }
    let types: Vec<&str> = table.types.iter().map(|kind| kind.name.as_str()).collect();
    let mut counts: BTreeMap<Feature, usize> = BTreeMap::new();
    for feature in read.iter().flat_map(|(features, _)| features) {
        *counts.entry(*feature).or_default() += 1;
    }
    let known: Vec<Feature> =
        counts.into_iter().filter(|(_, count)| *count >= LEAST_LETTERS).map(|(feature, _)| feature).collect();
    let letters: Vec<Letter> = read
        .into_iter()
        .map(|(features, requests)| Letter {
            scale: scale(features.len()),
            features: features.iter().filter_map(|feature| known.binary_search(feature).ok()).collect(),
            requests,
        })
        .collect();
    let columns: Vec<Vec<f64>> = types.iter().map(|kind| learn(&letters, known.len(), kind)).collect();
    let mut out = csv::Writer::from_writer(std::io::stdout());
    out.write_record(std::iter::once("feature").chain(types.iter().copied()))?;
    let mut row = |name: &str, place: usize| -> anyhow::Result<()> {
        let weights: Vec<f64> = columns
            .iter()
            .map(|column| column.get(place).map_or(0.0, |weight| (weight * 100.0).round()))
            .collect();
        if weights.iter().any(|weight| weight.abs() >= LEAST_WEIGHT) {
            let cells =
                weights.iter().map(|it| if it.abs() < LEAST_WEIGHT { String::new() } else { it.to_string() });
            out.write_record(std::iter::once(name.to_owned()).chain(cells))?;
        }
        Ok(())
    };
    row("always", known.len())?;
    for (place, feature) in known.iter().enumerate() {
        row(&feature.name(classifier.concepts()), place)?;
    }
    out.flush()?;
    Ok(())
}

fn mails(folder: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            mails(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "eml") {
            found.push(path);
        }
    }
    Ok(())
}

/// The weights of `features` features for one type, and behind them what holds for every letter.
fn learn(letters: &[Letter], features: usize, kind: &str) -> Vec<f64> {
    let score = |weights: &[f64], letter: &Letter| {
        letter.features.iter().map(|place| weights[*place]).sum::<f64>() * letter.scale + weights[features]
    };
    // What one step may be at most: the curvature along the steepest direction, by the power method.
    let mut direction = vec![1.0; features + 1];
    let mut curvature = 1.0;
    for _ in 0..30 {
        let mut next = vec![0.0; features + 1];
        for letter in letters {
            let along = score(&direction, letter);
            letter.features.iter().for_each(|place| next[*place] += along * letter.scale);
            next[features] += along;
        }
        curvature = next.iter().map(|it| it * it).sum::<f64>().sqrt();
        direction = next.iter().map(|it| it / curvature).collect();
    }
    let step = 1.0 / (0.25 * LETTERS * curvature + 1.0);
    let mut weights = vec![0.0; features + 1];
    let mut ahead = weights.clone();
    for round in 0..STEPS {
        let mut slope: Vec<f64> = ahead.clone();
        for letter in letters {
            let wanted = if letter.requests.iter().any(|it| it == kind) { 1.0 } else { 0.0 };
            let error = LETTERS * (1.0 / (1.0 + (-score(&ahead, letter)).exp()) - wanted);
            letter.features.iter().for_each(|place| slope[*place] += error * letter.scale);
            slope[features] += error;
        }
        let next: Vec<f64> = ahead.iter().zip(&slope).map(|(weight, slope)| weight - step * slope).collect();
        let momentum = f64::from(round) / f64::from(round + 3);
        ahead = next.iter().zip(&weights).map(|(new, old)| new + momentum * (new - old)).collect();
        weights = next;
    }
    weights
}
