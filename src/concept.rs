//! What a sentence speaks of, whatever its language: concepts, by the words that express them.
//!
//! `rules/concepts/<language>.toml` says for each concept ("erase", "newsletter", "my") how people say it.
//! An entry is a word or a few in a row; `*` at the beginning or end of a word stands for whatever else the word has
//! there ("lösch*", "*newsletter*"). Words of scripts that put no blanks between them are found wherever they stand.
//! Letters in eighteen languages look alike then, and what was learned from one is known of all: see [`crate::learned`].

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use crate::lists::{Lists, number};
use crate::needles::{Sight, is_of_word};
use crate::text::{fold, is_unspaced};

/// No more concepts than this are told apart.
pub const MOST_CONCEPTS: usize = 128;

/// Of one line no more than so many places are looked at: a line that repeats itself says nothing new.
const MOST_PLACES: usize = 400;

/// One language's file: how each concept is said.
pub type ConceptFile = BTreeMap<String, Vec<String>>;

/// The same with the entries of a concept in one text, between separators: there are tens of thousands.
pub type Packed = BTreeMap<String, Box<str>>;

const SEPARATOR: &str = "\0";

/// `file` in less room.
pub fn packed(file: ConceptFile) -> Packed {
    file.into_iter().map(|(name, entries)| (name, entries.join(SEPARATOR).into())).collect()
}

/// The concepts of all languages.
pub struct Concepts {
    names: Vec<String>,
    /// By the language's index in [`crate::request::Table::languages`].
    files: Vec<Arc<Packed>>,
}

/// A concept in a line: where, counted in words, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mention {
    /// Number of the word in the line. Of a script without blanks two signs count as one.
    pub word: usize,
    /// Index in [`Concepts::names`].
    pub concept: u8,
}

/// One language's words.
pub struct Vocabulary {
    /// For each first word its entries.
    entries: Lists<Entry>,
    /// The words behind the first ones, of all entries, with their `*`.
    rest: Box<str>,
}

struct Entry {
    concept: u8,
    word: Shape,
    /// Where the words behind it are.
    rest: Range<u32>,
}

/// Where a word may go on.
#[derive(Clone, Copy)]
struct Shape {
    open_before: bool,
    open_behind: bool,
}

impl Concepts {
    /// Those of `files`, by the index of their languages among `languages`.
    pub fn new(files: &[(usize, Arc<Packed>)], languages: usize) -> Self {
        let names = names(files.iter().map(|(_, file)| file.as_ref()));
        let mut concepts = Self { names, files: vec![Arc::default(); languages] };
        for (language, file) in files {
            if let Some(place) = concepts.files.get_mut(*language) {
                *place = Arc::clone(file);
            }
        }
        concepts
    }

    /// Their names, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How each language says them, and the words that [`crate::needles`] are to look for.
    pub fn vocabularies(&self) -> impl Iterator<Item = (Vocabulary, Vec<String>)> {
        self.files.iter().map(|file| Vocabulary::new(file, &self.names))
    }
}

/// The concepts in a line, in the language that it says most in: of each language that it may be in its vocabulary, the
/// words of it that are in the line, and whether the whole text is in it.
pub fn read<'a>(
    line: &str,
    languages: impl Iterator<Item = (&'a Vocabulary, &'a [Sight], bool)>,
) -> Vec<Mention> {
    let line = Line::new(line);
    let mut best: Vec<Mention> = Vec::new();
    let mut most = 0;
    for (vocabulary, sights, is_told) in languages {
        let found = vocabulary.find(&line, sights);
        // The language of the whole text, where two say as much.
        let score = 2 * distinct(&found) + usize::from(is_told);
        if score > most {
            (best, most) = (found, score);
        }
    }
    best
}

/// A line, and its words where somebody has asked for them.
struct Line<'a> {
    text: &'a str,
    words: OnceCell<Vec<Range<usize>>>,
}

impl<'a> Line<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, words: OnceCell::new() }
    }

    fn words(&self) -> &[Range<usize>] {
        self.words.get_or_init(|| words_of(self.text))
    }
}

/// The names of all concepts in `files`, in order: the first [`MOST_CONCEPTS`].
pub fn names<'a, T: 'a>(files: impl Iterator<Item = &'a BTreeMap<String, T>>) -> Vec<String> {
    let names: BTreeSet<&String> = files.flat_map(BTreeMap::keys).collect();
    names.into_iter().take(MOST_CONCEPTS).cloned().collect()
}

/// Whether a concept may have this name and these entries.
///
/// # Errors
/// The index of the first entry that is wrong, and what is wrong.
pub fn check(name: &str, entries: &[String]) -> Result<(), (usize, String)> {
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
        return Err((0, "the name of a concept is made of a-z, 0-9 and '_'".to_owned()));
    }
    match entries.iter().position(|entry| shapes(entry).is_empty()) {
        Some(place) => {
            Err((place, "has no word in it; write at least one, or take the entry out".to_owned()))
        }
        None => Ok(()),
    }
}

fn distinct(mentions: &[Mention]) -> usize {
    let set = mentions.iter().fold(0u128, |set, mention| set | 1 << mention.concept);
    usize::try_from(set.count_ones()).unwrap_or_default()
}

impl Vocabulary {
    /// The words of `file`, and the first ones of all its entries.
    fn new(file: &Packed, names: &[String]) -> (Self, Vec<String>) {
        let mut by_first: Vec<(String, Entry)> = Vec::new();
        let mut rest = String::new();
        for (name, entries) in file {
            let Some(concept) = names.binary_search(name).ok().and_then(|place| u8::try_from(place).ok())
            else {
                continue;
            };
            for entry in entries.split(SEPARATOR) {
                let mut words = shapes(entry).into_iter();
                let Some((stem, word)) = words.next() else { continue };
                let begin = number(rest.len());
                words.for_each(|(stem, shape)| shape.write(&stem, &mut rest));
                let rest = begin..number(rest.len());
                by_first.push((stem, Entry { concept, word, rest }));
            }
        }
        by_first.sort_by(|one, other| one.0.cmp(&other.0));
        let is_same = |one: &(String, Entry), other: &(String, Entry)| one.0 == other.0;
        let first =
            by_first.chunk_by(is_same).filter_map(<[_]>::first).map(|(stem, _)| stem.clone()).collect();
        let lengths: Vec<usize> = by_first.chunk_by(is_same).map(<[_]>::len).collect();
        let entries = by_first.into_iter().map(|(_, entry)| entry).collect();
        (Self { entries: Lists::new(entries, lengths.into_iter()), rest: rest.into() }, first)
    }

    /// The concepts in `line`, in their order, by the first words in it.
    fn find(&self, line: &Line<'_>, sights: &[Sight]) -> Vec<Mention> {
        let text = line.text;
        let mut found = Vec::new();
        for sight in sights {
            let fits = |entry: &&Entry| {
                (entry.word.open_before || sight.begins) && (entry.word.open_behind || sight.ends)
            };
            for entry in self.entries.get(sight.word as usize).iter().filter(fits) {
                let words = line.words();
                let word = words.partition_point(|range| range.end <= sight.place.0 as usize);
                let rest =
                    self.rest.get(entry.rest.start as usize..entry.rest.end as usize).unwrap_or_default();
                if is_followed_by(text, words.get(word + 1..).unwrap_or_default(), rest) {
                    found.push(Mention { word, concept: entry.concept });
                }
            }
            if found.len() >= MOST_PLACES {
                break;
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

impl Shape {
    /// A word without its `*`, and where it may go on.
    fn read(word: &str) -> (&str, Self) {
        let shape = Self { open_before: word.starts_with('*'), open_behind: word.ends_with('*') };
        (word.trim_matches('*'), shape)
    }

    /// Puts `stem` behind `words` as it is read.
    fn write(self, stem: &str, words: &mut String) {
        let star = |is_open: bool| if is_open { "*" } else { "" };
        words.extend([star(self.open_before), stem, star(self.open_behind), " "]);
    }
}

/// The words of an entry, folded, and where each may go on.
fn shapes(entry: &str) -> Vec<(String, Shape)> {
    let folded = fold(entry);
    if folded.chars().any(is_unspaced) {
        let anywhere = Shape { open_before: true, open_behind: true };
        return vec![(folded.replace('*', ""), anywhere)];
    }
    folded
        .split(|c: char| !is_of_word(c) && c != '*')
        .filter_map(|word| {
            let (stem, shape) = Shape::read(word);
            (!stem.is_empty()).then(|| (stem.to_owned(), shape))
        })
        .collect()
}

/// The words of a line. Of a script without blanks two signs are one.
fn words_of(line: &str) -> Vec<Range<usize>> {
    let mut words: Vec<Range<usize>> = Vec::new();
    let mut is_open = false;
    let mut signs = 0;
    for (at, c) in line.char_indices() {
        let end = at + c.len_utf8();
        if !is_of_word(c) {
            is_open = false;
            continue;
        }
        let is_sign = is_unspaced(c);
        signs = if is_sign && is_open { signs + 1 } else { 0 };
        let goes_on = is_open && (!is_sign || signs % 2 == 1);
        match words.last_mut() {
            Some(last) if goes_on => last.end = end,
            _ => words.push(at..end),
        }
        is_open = true;
    }
    words
}

/// Whether `words` of `line` begin with those of `rest`.
fn is_followed_by(line: &str, words: &[Range<usize>], rest: &str) -> bool {
    let mut words = words.iter();
    rest.split_ascii_whitespace().all(|wanted| {
        let (stem, shape) = Shape::read(wanted);
        let Some(word) = words.next().and_then(|range| line.get(range.clone())) else { return false };
        match (shape.open_before, shape.open_behind) {
            (false, false) => word == stem,
            (false, true) => word.starts_with(stem),
            (true, false) => word.ends_with(stem),
            (true, true) => word.contains(stem),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::needles::{Needles, Sights};

    fn find(entries: &[&str], line: &str) -> Vec<usize> {
        let entries = entries.iter().map(|entry| (*entry).to_owned()).collect();
        let file = ConceptFile::from([("it".to_owned(), entries)]);
        let (vocabulary, words) = Vocabulary::new(&packed(file), &["it".to_owned()]);
        let mut needles = Needles::default();
        assert_eq!(needles.add(&[words]), Ok(()));
        let (line, mut sights) = (fold(line), Sights::default());
        needles.look(&line, &[true], &mut sights);
        let found = vocabulary.find(&Line::new(&line), sights.of(0));
        found.into_iter().map(|mention| mention.word).collect()
    }

    #[test]
    fn words_are_found_as_they_are_written_down() {
        assert_eq!(find(&["Lösch*"], "Bitte Löschung, bitte loschen, auslöschen"), [1, 3]);
        assert_eq!(find(&["*newsletter*"], "das newsletter-abo, unsere Werbenewsletterei"), [1, 4]);
        assert_eq!(find(&["data"], "database data. metadata"), [1]);
        assert_eq!(find(&["take * off", "take off"], "take it off; take off"), [3]);
        assert_eq!(find(&["opt* out"], "I'm opting out"), [2]);
        assert_eq!(find(&["削除"], "私の個人情報を削除してください"), [3]);
        assert!(find(&["*", ""], "anything").is_empty());
    }
}
