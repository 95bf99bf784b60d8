//! What a letter as a whole sounds like, learned from the corpus: the second opinion beside the phrases.
//!
//! A phrase knows a way of saying something; people find others. Here the concepts of a letter ([`crate::concept`])
//! are weighed, alone and in pairs that stand close together ("copy" by "data", "close" by "account"), by weights that
//! `cargo run --release --example learn` has learned: one logistic regression for each type. They are in
//! `rules/learned.csv`, a row for each feature and a column for each type, for anybody to read.

use std::collections::HashMap;

use crate::concept::Mention;
use crate::config::FileError;

/// Two concepts belong together when no more words than this are between them.
const NEAR: usize = 12;

/// Lengths of a letter (bytes) at which it counts as longer.
const LENGTHS: [usize; 5] = [40, 120, 300, 700, 1500];

/// The row of what speaks for a type before a word is read.
const ALWAYS: &str = "always";

/// So many features are few.
const FEW: f64 = 20.0;

/// Weights in the file are hundredths.
const UNIT: f64 = 0.01;

/// What is weighed of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// A concept is in it: an index in [`crate::concept::Concepts::names`].
    Concept(u8),
    /// A concept is in its subject.
    InSubject(u8),
    /// A concept is in one of its questions.
    InQuestion(u8),
    /// Two concepts are close together, the lower index first.
    Pair(u8, u8),
    /// So many of certain lengths it reaches.
    Length(u8),
}

impl Feature {
    /// Its name in the file of weights.
    pub fn name(self, concepts: &[String]) -> String {
        let name = |concept: u8| concepts.get(usize::from(concept)).map_or("", String::as_str);
        match self {
            Self::Concept(concept) => name(concept).to_owned(),
            Self::InSubject(concept) => format!("subject:{}", name(concept)),
            Self::InQuestion(concept) => format!("question:{}", name(concept)),
            Self::Pair(one, two) => format!("{}+{}", name(one), name(two)),
            Self::Length(length) => format!("length:{length}"),
        }
    }

    /// Whether it is made of `concept`.
    fn has(self, concept: u8) -> bool {
        match self {
            Self::Concept(it) | Self::InSubject(it) | Self::InQuestion(it) => it == concept,
            Self::Pair(one, two) => one == concept || two == concept,
            Self::Length(_) => false,
        }
    }

    /// The feature of this name.
    fn parse(name: &str, concepts: &[String]) -> Option<Self> {
        let concept = |name: &str| {
            concepts.iter().position(|known| known == name).and_then(|place| u8::try_from(place).ok())
        };
        if let Some((one, two)) = name.split_once('+') {
            let (one, two) = (concept(one)?, concept(two)?);
            return Some(Self::Pair(one.min(two), one.max(two)));
        }
        match name.split_once(':') {
            Some(("subject", name)) => concept(name).map(Self::InSubject),
            Some(("question", name)) => concept(name).map(Self::InQuestion),
            Some(("length", length)) => length.parse().ok().map(Self::Length),
            Some(_) => None,
            None => concept(name).map(Self::Concept),
        }
    }
}

/// The weights.
#[derive(Debug, Clone, Default)]
pub struct Learned {
    /// Names of the types, a column each.
    types: Vec<String>,
    /// A weight for each column, whatever the letter.
    always: Box<[i16]>,
    /// By feature: a weight for each column.
    weights: HashMap<Feature, Box<[i16]>>,
}

impl Learned {
    /// Reads `text`, the content of `file`. The columns have to be among `types`, the features made of `concepts`,
    /// unless `is_lenient`: while concepts change, until the weights are learned anew.
    ///
    /// # Errors
    /// The first mistake, with file, line and column.
    pub fn parse(
        file: &str,
        text: &str,
        types: &[String],
        concepts: &[String],
        is_lenient: bool,
    ) -> Result<Self, FileError> {
        let wrong = |line: u64, message: String| FileError {
            file: file.to_owned(),
            line: usize::try_from(line).unwrap_or(1).max(1),
            message,
        };
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let headers = reader.headers().map_err(|error| wrong(1, format!("is no CSV: {error}")))?;
        let columns: Vec<String> = headers.iter().skip(1).map(str::to_owned).collect();
        if let Some(unknown) = columns.iter().find(|name| !types.contains(name)) {
            let message =
                format!("column {unknown:?}: there is no such type; take the column out or correct its name");
            return Err(wrong(1, message));
        }
        let mut learned = Self { types: columns, ..Self::default() };
        for row in reader.records() {
            let row = row.map_err(|error| {
                let line = error.position().map_or(1, csv::Position::line);
                wrong(line, format!("is no row of weights: {error}"))
            })?;
            let line = row.position().map_or(1, csv::Position::line);
            let mut cells = row.iter();
            let feature = cells.next().unwrap_or_default().to_owned();
            let numbers: Result<Box<[i16]>, _> =
                cells.map(|cell| if cell.is_empty() { Ok(0) } else { cell.parse::<i16>() }).collect();
            let numbers = numbers.map_err(|_| {
                wrong(line, format!("{feature}: a weight is a whole number from -32768 to 32767"))
            })?;
            if feature == ALWAYS {
                learned.always = numbers;
            } else if let Some(feature) = Feature::parse(&feature, concepts) {
                learned.weights.insert(feature, numbers);
            } else if !is_lenient {
                let message =
                    format!("{feature}: there is no such concept in rules/concepts; learn the weights anew");
                return Err(wrong(line, message));
            }
        }
        Ok(learned)
    }

    /// The types that it knows, by column.
    pub fn types(&self) -> &[String] {
        &self.types
    }

    /// Whether anything was learned of `concept`.
    pub fn knows(&self, concept: u8) -> bool {
        self.weights.keys().any(|feature| feature.has(concept))
    }

    /// What `features` come to, by column: log-odds that a letter with them asks for something of the type.
    pub fn judge(&self, features: &[Feature]) -> Vec<f64> {
        let scale = UNIT * scale(features.len());
        let sums = self.sums(features).into_iter();
        sums.zip(&self.always).map(|(sum, always)| sum * scale + UNIT * f64::from(*always)).collect()
    }

    /// What each line speaks for each type, by line and column.
    pub fn by_line(&self, lines: &[Vec<Mention>]) -> Vec<Vec<f64>> {
        lines.iter().map(|line| self.sums(&features(std::slice::from_ref(line), "", 0))).collect()
    }

    fn sums(&self, features: &[Feature]) -> Vec<f64> {
        let mut sums = vec![0.0; self.types.len()];
        for weights in features.iter().filter_map(|feature| self.weights.get(feature)) {
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += f64::from(*weight);
            }
        }
        sums
    }
}

/// What a feature counts among so many: a long letter says no more than a short one, and a few words say less.
pub fn scale(features: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a letter has a few thousand features at most")]
    let count = features as f64;
    1.0 / (count + FEW).sqrt()
}

/// The features of a letter: `lines` are the concepts of each sentence in `text`, of which the first `subject_lines`
/// are the subject's. Each once, in order.
pub fn features(lines: &[Vec<Mention>], text: &str, subject_lines: usize) -> Vec<Feature> {
    let mut features = Vec::new();
    for (number, (mentions, line)) in lines.iter().zip(text.split('\n')).enumerate() {
        let is_question = line.ends_with('?');
        for (place, mention) in mentions.iter().enumerate() {
            features.push(Feature::Concept(mention.concept));
            if number < subject_lines {
                features.push(Feature::InSubject(mention.concept));
            }
            if is_question {
                features.push(Feature::InQuestion(mention.concept));
            }
            let behind = mentions.get(place + 1..).unwrap_or_default();
            for other in behind.iter().take_while(|other| other.word - mention.word <= NEAR) {
                let (one, two) = (mention.concept.min(other.concept), mention.concept.max(other.concept));
                if one != two {
                    features.push(Feature::Pair(one, two));
                }
            }
        }
    }
    let length = LENGTHS.iter().filter(|length| text.len() >= **length).count();
    features.push(Feature::Length(u8::try_from(length).unwrap_or_default()));
    features.sort_unstable();
    features.dedup();
    features
}
