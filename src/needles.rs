//! The words that the rules of all languages need, looked for in one pass over a sentence.
//!
//! Languages share many words, and a short sentence may be in any of eighteen: to go through it once for each of them,
//! and once more for what it speaks of, would take most of the time that reading a mail takes. Whoever needs words hands
//! them in as a set ([`crate::literals`] and [`crate::concept`] have one for each language), and is told of its own.

use aho_corasick::automaton::Automaton;
use aho_corasick::nfa::contiguous::NFA;
use aho_corasick::{Anchored, MatchKind};

use crate::lists::{Lists, number};

/// All sets, and what finds their words.
#[derive(Debug, Default)]
pub struct Needles {
    /// By group: for words without a byte of [`OTHER_SCRIPTS`], and for those with one, that many lines have none of.
    finders: Vec<[Finder; 2]>,
    sets: usize,
}

/// The first byte of Greek signs. All scripts behind it begin theirs with this or a higher one, and nothing before it has
/// such a byte; but a word may be a part of a sign, without its first byte.
const OTHER_SCRIPTS: u8 = 0xCD;

/// More words than can be looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

/// Finds words.
#[derive(Debug)]
struct Finder {
    /// `None` when there are none.
    automaton: Option<NFA>,
    /// For each word.
    uses: Lists<Use>,
}

/// A word of a set.
#[derive(Debug, Clone, Copy)]
struct Use {
    set: u16,
    word: u32,
}

/// A word at its place.
#[derive(Debug, Clone, Copy)]
pub struct Sight {
    /// Its number in its set.
    pub word: u32,
    /// Where it begins and ends in the line.
    pub place: (u32, u32),
    /// Whether there is no letter, digit or `_` before it.
    pub begins: bool,
    /// Nor behind it.
    pub ends: bool,
    /// So many blanks are before its end.
    pub blanks: u32,
}

/// What is in a line, set by set.
#[derive(Debug, Default)]
pub struct Sights {
    by_set: Vec<Vec<Sight>>,
    touched: Vec<u16>,
    blanks: u32,
}

impl Needles {
    /// Looks for the words of these sets as well, numbered behind those before. Sets that come together are looked for
    /// together, which takes less time and more room than one after the other; most of all while it is made.
    ///
    /// # Errors
    /// There are too many words.
    pub fn add<W: AsRef<[u8]>>(&mut self, sets: &[Vec<W>]) -> Result<(), TooMany> {
        let finder = |of_others: bool| {
            let mut all: Vec<(&[u8], Use)> = Vec::new();
            for (set, of_set) in (self.sets..).zip(sets) {
                let set = u16::try_from(set).ok()?;
                for (word, text) in of_set.iter().enumerate() {
                    if has_other_scripts(text.as_ref()) == of_others {
                        all.push((text.as_ref(), Use { set, word: u32::try_from(word).ok()? }));
                    }
                }
            }
            Finder::new(all)
        };
        let finders = [finder(false).ok_or(TooMany)?, finder(true).ok_or(TooMany)?];
        self.finders.push(finders);
        self.sets += sets.len();
        Ok(())
    }

    /// Puts the words of the sets that are `wanted`, by their number, into `sights`: those of `line` and no others.
    pub fn look(&self, line: &str, wanted: &[bool], sights: &mut Sights) {
        sights.clear(self.sets);
        sights.blanks = number(line.bytes().filter(|byte| *byte == b' ').count());
        let has_others = has_other_scripts(line.as_bytes());
        for [latin, others] in &self.finders {
            latin.look(line, wanted, sights);
            if has_others {
                others.look(line, wanted, sights);
            }
        }
        if has_others {
            sights.sort();
        }
    }
}

impl Finder {
    fn new(mut all: Vec<(&[u8], Use)>) -> Option<Self> {
        all.sort_unstable_by_key(|(text, it)| (*text, it.set));
        let is_same = |one: &(&[u8], Use), other: &(&[u8], Use)| one.0 == other.0;
        let texts = all.chunk_by(is_same).filter_map(<[_]>::first).map(|(text, _)| text);
        let automaton = match all.is_empty() {
            true => None,
            false => Some(NFA::builder().match_kind(MatchKind::Standard).build(texts).ok()?),
        };
        let uses = all.iter().map(|(_, it)| *it).collect();
        Some(Self { automaton, uses: Lists::new(uses, all.chunk_by(is_same).map(<[_]>::len)) })
    }

    fn look(&self, line: &str, wanted: &[bool], sights: &mut Sights) {
        let Some(automaton) = &self.automaton else { return };
        let mut blanks = 0;
        let Ok(mut state) = automaton.start_state(Anchored::No) else { return };
        for (at, byte) in line.as_bytes().iter().enumerate() {
            blanks += u32::from(*byte == b' ');
            state = automaton.next_state(Anchored::No, state, *byte);
            if !automaton.is_special(state) || !automaton.is_match(state) {
                continue;
            }
            let end = at + 1;
            for index in 0..automaton.match_len(state) {
                let needle = automaton.match_pattern(state, index);
                let start = end - automaton.pattern_len(needle);
                let place = (number(start), number(end));
                let is_wanted = |it: &&Use| wanted.get(usize::from(it.set)).copied().unwrap_or(false);
                let mut edges = None;
                for Use { set, word } in self.uses.get(needle.as_usize()).iter().filter(is_wanted) {
                    let (begins, ends) = *edges.get_or_insert_with(|| edges_of(line, start, end));
                    sights.add(*set, Sight { word: *word, place, begins, ends, blanks });
                }
            }
        }
    }
}

impl Sights {
    fn clear(&mut self, sets: usize) {
        for set in self.touched.drain(..) {
            if let Some(sights) = self.by_set.get_mut(usize::from(set)) {
                sights.clear();
            }
        }
        self.by_set.resize_with(sets, Vec::new);
    }

    fn add(&mut self, set: u16, sight: Sight) {
        let Some(sights) = self.by_set.get_mut(usize::from(set)) else { return };
        if sights.is_empty() {
            self.touched.push(set);
        }
        sights.push(sight);
    }

    /// Puts those of two passes together.
    fn sort(&mut self) {
        for set in &self.touched {
            if let Some(sights) = self.by_set.get_mut(usize::from(*set)) {
                sights.sort_by_key(|sight| (sight.place.1, sight.place.0));
            }
        }
    }

    /// The words of a set, by their ends, the longest first.
    pub fn of(&self, set: usize) -> &[Sight] {
        self.by_set.get(set).map_or(&[], Vec::as_slice)
    }

    /// How many blanks the line has.
    pub fn blanks(&self) -> u32 {
        self.blanks
    }
}

/// Whether a sign is part of a word.
pub fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether there are signs of another script than the Latin in `text`.
fn has_other_scripts(text: &[u8]) -> bool {
    text.iter().any(|byte| *byte >= OTHER_SCRIPTS)
}

/// Whether the words of `line` begin at `start` and end at `end`.
fn edges_of(line: &str, start: usize, end: usize) -> (bool, bool) {
    let before = line.get(..start).and_then(|before| before.chars().next_back());
    let behind = line.get(end..).and_then(|behind| behind.chars().next());
    (!before.is_some_and(is_of_word), !behind.is_some_and(is_of_word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_set_is_told_of_its_own_words() {
        let mut needles = Needles::default();
        assert_eq!(needles.add(&[vec!["he", "she"], vec!["hers", "he"]]), Ok(()));
        assert_eq!(needles.add(&[vec!["her"]]), Ok(()));
        let mut sights = Sights::default();
        let found = |sights: &Sights, set: usize| -> Vec<(u32, (u32, u32), u32)> {
            sights.of(set).iter().map(|sight| (sight.word, sight.place, sight.blanks)).collect()
        };
        needles.look("is she hers", &[true, true, false], &mut sights);
        assert_eq!(found(&sights, 0), [(1, (3, 6), 1), (0, (4, 6), 1), (0, (7, 9), 2)]);
        assert_eq!(found(&sights, 1), [(1, (4, 6), 1), (1, (7, 9), 2), (0, (7, 11), 2)]);
        assert_eq!((found(&sights, 2), sights.blanks()), (vec![], 2));
        let edges = |sight: &Sight| (sight.begins, sight.ends);
        assert_eq!(
            sights.of(0).iter().map(edges).collect::<Vec<_>>(),
            [(true, true), (false, true), (true, false)]
        );
        // Nothing is left of the line before.
        needles.look("her", &[false, false, true], &mut sights);
        assert_eq!(
            (found(&sights, 0), found(&sights, 2), sights.blanks()),
            (vec![], vec![(0, (0, 3), 0)], 0)
        );
        // Of several scripts.
        let mut needles = Needles::default();
        assert_eq!(needles.add(&[vec!["данные", "data", "ные d"]]), Ok(()));
        for (line, expected) in [
            ("my data", vec![(1, (3, 7), 1)]),
            ("data, данные data", vec![(1, (0, 4), 0), (0, (6, 18), 1), (2, (12, 20), 2), (1, (19, 23), 2)]),
        ] {
            needles.look(line, &[true], &mut sights);
            assert_eq!((found(&sights, 0), sights.blanks()), (expected, line.matches(' ').count() as u32));
        }
        let none: [Vec<&str>; 1] = [vec![]];
        let mut needles = Needles::default();
        assert_eq!(needles.add(&none), Ok(()));
        needles.look("her", &[true], &mut sights);
        assert_eq!(found(&sights, 0), []);
    }
}
