//! In which languages a text may be, line by line, by their commonest words.
//!
//! To look for every phrase of every language in every sentence would cost most of the time that reading a
//! mail takes. A language is left out of a sentence in which another has more than twice as many of its words; and
//! of one without a word of it, where the text as a whole has none either, or few beside those of another. A sentence
//! without a word of any language is evidence against none, and may be in all: a heading, a name, or a curt wish.

use std::collections::{HashMap, HashSet};

use crate::language::LanguageFile;
use crate::text::{fold, is_unspaced};

/// A text with fewer common words than this, of the language that has the most, tells nothing.
const TELLING: u32 = 3;

/// A text shorter than this (bytes) tells nothing as a whole.
const SHORT: usize = 160;

/// A language with less than this part of the words that the text's language has is left out of sentences in which that
/// has a word and it has none.
const RARE: u32 = 4;

/// So many sentences without a word of any language are looked at in all, half of them the first of the mail and half the
/// last; a mail that has more is made of something else than sentences. Nor is one that is as long as [`SHORT`] without
/// such a word, or without letters, or that has the letters of another: "Item 17" behind "Item 16".
const MOST_WORDLESS: usize = 50;

/// In a text that is short, a sentence with no more common words than this rules no language out.
const FEW: u16 = 2;

/// The commonest words of every language.
#[derive(Debug)]
pub struct Tongues {
    /// By word, the languages that have it.
    words: HashMap<String, Vec<usize>>,
    /// Words longer than this (bytes) are not among them.
    longest: usize,
    /// For every language whether it is looked for whatever the words.
    anywhere: Vec<bool>,
    codes: Vec<String>,
}

/// What a text's words tell.
#[derive(Debug)]
pub struct Heard<'a> {
    tongues: &'a Tongues,
    /// Common words by line and language, line after line.
    counts: Vec<u16>,
    /// The same for the whole text.
    totals: Vec<u32>,
    /// The lines that may be in any language, in order.
    wordless: Vec<usize>,
    is_short: bool,
}

impl Tongues {
    /// Knows `languages`, with their codes, in this order.
    pub fn new(languages: &[(String, LanguageFile)]) -> Self {
        let mut words: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, (_, language)) in languages.iter().enumerate() {
            for word in language.common.iter().map(|word| fold(word)) {
                let places = words.entry(word).or_default();
                if !places.contains(&place) {
                    places.push(place);
                }
            }
        }
        Self {
            longest: words.keys().map(String::len).max().unwrap_or(0),
            words,
            anywhere: languages.iter().map(|(_, it)| it.anywhere || it.common.is_empty()).collect(),
            codes: languages.iter().map(|(code, _)| code.clone()).collect(),
        }
    }

    /// Counts the common words in every line of folded `text`.
    pub fn listen(&self, text: &str) -> Heard<'_> {
        let languages = self.codes.len();
        let mut counts = Vec::new();
        let mut totals = vec![0; languages];
        let mut wordless = Vec::new();
        let mut letters_of_all = HashSet::new();
        for (number, line) in text.split('\n').enumerate() {
            let from = counts.len();
            counts.resize(from + languages, 0);
            // Where no blanks divide words, the single signs have to tell.
            let signs = line.char_indices().filter(|(_, c)| is_unspaced(*c));
            let signs = signs.filter_map(|(at, c)| line.get(at..at + c.len_utf8()));
            for word in line.split(|c: char| !c.is_alphanumeric()).chain(signs) {
                if word.is_empty() || word.len() > self.longest {
                    continue;
                }
                for place in self.words.get(word).into_iter().flatten() {
                    if let Some(count) = counts.get_mut(from + place) {
                        *count = u16::saturating_add(*count, 1);
                    }
                    if let Some(total) = totals.get_mut(*place) {
                        *total += 1;
                    }
                }
            }
            let has_word = counts.iter().skip(from).any(|count| *count > 0);
            if !has_word && line.len() < SHORT {
                let letters: String = line.chars().filter(|c| c.is_alphabetic()).collect();
                if !letters.is_empty() && letters_of_all.insert(letters) {
                    wordless.push(number);
                }
            }
        }
        let too_many = wordless.len().saturating_sub(MOST_WORDLESS);
        if too_many > 0 {
            wordless.drain(MOST_WORDLESS / 2..MOST_WORDLESS / 2 + too_many);
        }
        Heard { tongues: self, counts, totals, wordless, is_short: text.len() < SHORT }
    }
}

impl Heard<'_> {
    /// The languages that the line with this number may be in.
    pub fn possible(&self, line: usize) -> impl Iterator<Item = usize> {
        let languages = self.totals.len();
        let counts = self.counts.get(line * languages..).unwrap_or_default();
        let counts = counts.get(..languages).unwrap_or_default();
        let most = counts.iter().copied().max().unwrap_or(0);
        let is_wordless = self.wordless.binary_search(&line).is_ok();
        let leader = self.leader();
        let all = leader.and_then(|place| self.totals.get(place)).copied().unwrap_or(0);
        let has_leaders = leader.and_then(|place| counts.get(place)).is_some_and(|count| *count > 0);
        counts.iter().zip(&self.totals).zip(&self.tongues.anywhere).enumerate().filter_map(
            move |(place, ((count, total), anywhere))| {
                let is_of_text = *total > 0 && !(has_leaders && *total < all / RARE);
                let may_be = *count > 0 || self.is_short || is_of_text;
                let is_ruled_out = *count < most / 2 && !(self.is_short && most <= FEW);
                let is_possible = *anywhere || is_wordless || !is_ruled_out && may_be;
                is_possible.then_some(place)
            },
        )
    }

    /// The language that has most words in the whole text, by its place.
    pub fn leader(&self) -> Option<usize> {
        let most = self.totals.iter().copied().max().filter(|most| *most > 0)?;
        self.totals.iter().position(|total| *total == most)
    }

    /// The language of the whole text, where its words leave no doubt.
    pub fn language(&self) -> Option<&str> {
        let mut order: Vec<(u32, &String)> = self.totals.iter().copied().zip(&self.tongues.codes).collect();
        order.sort_unstable_by(|a, b| b.cmp(a));
        let second = order.get(1).map_or(0, |(total, _)| *total);
        let (first, code) = order.first()?;
        (*first >= TELLING && *first >= 2 * second).then_some(code.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Table;

    #[test]
    fn a_sentence_rules_other_languages_out() {
        let tongues = Tongues::new(&Table::load(None).unwrap().languages);
        let text = "ich bitte sie, meine daten zu loschen\nunsubscribe\nme la da de\n\
                    pour votre information, je ne vous autorise pas\nno\n"
            .to_owned()
            + &"x".repeat(SHORT);
        let heard = tongues.listen(&text);
        let possible = |line: usize| -> Vec<&str> {
            heard.possible(line).filter_map(|it| tongues.codes.get(it)).map(String::as_str).collect()
        };
        let among =
            |line: usize| possible(line).into_iter().filter(|it| ["de", "en", "es", "fr"].contains(it));
        assert_eq!(among(0).collect::<Vec<_>>(), ["de", "en"]);
        assert_eq!(among(3).collect::<Vec<_>>(), ["en", "fr"]);
        assert!(["de", "en", "es", "fr"].iter().all(|code| possible(1).contains(code)));
        assert!(possible(99).is_empty());
        // The last of many sentences is looked at like the first, and what repeats itself only once.
        let items: Vec<String> = (0..200).map(|number| format!("xyz {number}")).collect();
        let many: Vec<String> =
            ('a'..='z').flat_map(|a| ('a'..='z').map(move |b| format!("xyz{a}{b}"))).collect();
        for lines in [items, many] {
            let text = format!("{}\nnewsletter abbestellen", lines.join("\n"));
            let heard = tongues.listen(&text);
            let of_all = |line: usize| heard.possible(line).count() == tongues.codes.len();
            assert_eq!((of_all(0), of_all(100), of_all(lines.len())), (true, false, true));
        }
        assert_eq!(heard.language(), None);
        assert_eq!(tongues.listen("ich bitte sie und ich habe nicht mit der post").language(), Some("de"));
        assert_eq!(tongues.listen("").possible(0).count(), tongues.codes.len());
    }

    #[test]
    fn a_sentence_in_another_language_than_the_rest_is_looked_at_in_it() {
        let tongues = Tongues::new(&Table::load(None).unwrap().languages);
        let is_possible = |text: &str, line: usize, code: &str| {
            let heard = tongues.listen(&fold(text));
            heard.possible(line).any(|it| tongues.codes.get(it).is_some_and(|it| it == code))
        };
        let prose = "Wir waren auf der Messe und haben uns \u{fc}ber die Maschinen gefreut, die es dort gab\n\
                     Der Stand war gut besucht und die Kollegen haben mit vielen Leuten gesprochen\n\
                     Am Abend sind wir noch in die Stadt gegangen und haben dort zusammen gegessen\n";
        for (wish, code) in [
            ("Supprimez mes donn\u{e9}es", "fr"),
            ("Slet min konto", "da"),
            ("Verwijder mijn gegevens", "nl"),
            ("Удалите мои данные", "ru"),
            ("退订", "zh"),
            ("Newsletter cancellation", "en"),
        ] {
            assert!(is_possible(&format!("{prose}{wish}"), 3, code), "{wish}");
            // Of the sentences around it that tells nothing.
            assert!(code == "en" || !is_possible(&format!("{prose}{wish}"), 1, code), "{wish}");
        }
        for (wish, code) in [("Konto l\u{f6}schen", "de"), ("Cancellazione dati personali", "it")] {
            assert!(is_possible(&format!("{wish}\nThank you for the help"), 0, code), "{wish}");
        }
    }
}
