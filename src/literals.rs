//! Which patterns can match a line at all, by the words that each cannot do without.
//!
//! Most phrases have nothing to do with most mails, and least of all with one sentence of them. One pass
//! over a line finds the literals of all patterns of a language; only a pattern that has all of its own
//! there is looked for in earnest. A phrase says "(delete|erase) … (data|account)", so there must be one of
//! the first and one of the second. The idea is RE2's (FilteredRE2), the literals are read from the
//! pattern's own syntax tree, so they cannot differ from it. It never decides: what it lets through is
//! searched as if it were not there.

use std::collections::{BTreeSet, HashMap};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use regex_syntax::hir::{Class, Hir, HirKind};

/// A choice of literals: one of them must be in the text.
type Choice = BTreeSet<Vec<u8>>;

/// A choice may have so many literals; larger ones are not worth their place.
const MOST_LITERALS: usize = 128;

/// Shorter literals (bytes) are in every line.
const SHORTEST: usize = 2;

/// So much of a literal (bytes) is looked for: what is longer tells no more, and takes more room.
const LONGEST: usize = 10;

/// Literals as long as this (bytes) are not made longer by what follows them, if that multiplies them.
const TELLING: usize = 5;

/// What follows literals may multiply them into so many.
const MOST_PRODUCTS: usize = 24;

/// Of a pattern so many choices are asked for, the most telling ones.
const MOST_CHOICES: usize = 4;

/// Collects what patterns need, in their order.
#[derive(Debug, Default)]
pub struct Collector {
    choices: HashMap<Choice, u32>,
    needs: Vec<Box<[u32]>>,
    /// Patterns that [`Literals::next_line`] is to name, with the choice that calls them.
    called: Vec<(Option<u32>, u32)>,
    across: Vec<u32>,
}

/// Finds the literals of all patterns at once.
#[derive(Debug)]
pub struct Literals {
    /// `None` when they are too many for it: then every pattern might match.
    finder: Option<AhoCorasick>,
    /// For each literal the patterns that are to be thought of when it is found.
    calls: Vec<Box<[u32]>>,
    /// Patterns to be thought of in any case.
    always: Vec<u32>,
    /// Patterns that may reach over the end of a line.
    across: Vec<u32>,
    /// For each pattern the choices that it needs.
    needs: Vec<Box<[u32]>>,
    /// For each choice its literals.
    choices: Vec<Box<[u32]>>,
}

/// Which literals a text has, as far as its lines have been looked at.
#[derive(Debug)]
pub struct Found {
    /// For each literal the number of the last line that has it; 0 is none.
    last: Vec<u32>,
    line: u32,
}

impl Collector {
    /// Takes the next pattern, by its syntax tree. Where it `is_called`, lines that it might match name it;
    /// else it can only be asked for.
    pub fn add(&mut self, tree: &Hir, is_called: bool) {
        let mut choices = needs(tree).choices();
        // What holds the end of a line is in no line.
        choices.retain(|choice| !choice.iter().any(|literal| literal.contains(&b'\n')));
        choices.sort_by_key(|choice| std::cmp::Reverse(worth(choice)));
        choices.truncate(MOST_CHOICES);
        let places = choices.into_iter().map(|choice| {
            let next = number(self.choices.len());
            *self.choices.entry(choice).or_insert(next)
        });
        let places: Box<[u32]> = places.collect();
        let pattern = number(self.needs.len());
        if may_cross_lines(tree) {
            self.across.push(pattern);
        } else if is_called {
            self.called.push((places.first().copied(), pattern));
        }
        self.needs.push(places);
    }

    /// The finder of all that was collected.
    pub fn finish(self) -> Literals {
        let mut places: HashMap<Vec<u8>, u32> = HashMap::new();
        let mut choices = vec![Box::default(); self.choices.len()];
        for (choice, place) in self.choices {
            let literals = choice.into_iter().map(|literal| {
                let next = number(places.len());
                *places.entry(literal).or_insert(next)
            });
            if let Some(slot) = choices.get_mut(place as usize) {
                *slot = literals.collect::<Box<[u32]>>();
            }
        }
        let mut literals = vec![Vec::new(); places.len()];
        for (literal, place) in places {
            if let Some(slot) = literals.get_mut(place as usize) {
                *slot = literal;
            }
        }
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .dense_depth(3)
            .build(&literals)
            .ok();
        let mut calls = vec![Vec::new(); literals.len()];
        let mut always = Vec::new();
        for (choice, pattern) in self.called {
            let Some(choice) = choice.filter(|_| finder.is_some()) else {
                always.push(pattern);
                continue;
            };
            for literal in choices.get(choice as usize).into_iter().flatten() {
                if let Some(calls) = calls.get_mut(*literal as usize) {
                    calls.push(pattern);
                }
            }
        }
        let calls = calls.into_iter().map(Vec::into_boxed_slice).collect();
        Literals { finder, calls, always, across: self.across, needs: self.needs, choices }
    }
}

/// Places are kept in half the bytes. There are never so many.
fn number(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

impl Literals {
    /// Of a text of which no line has been looked at.
    pub fn nothing(&self) -> Found {
        Found { last: vec![0; self.calls.len()], line: 0 }
    }

    /// Looks at the next line of a text, without its end. Puts into `candidates`, in order, the called
    /// patterns that might match within it.
    pub fn next_line(&self, line: &[u8], found: &mut Found, candidates: &mut Vec<u32>) {
        found.line += 1;
        candidates.clear();
        candidates.extend(&self.always);
        for literal in self.finder.iter().flat_map(|finder| finder.find_overlapping_iter(line)) {
            let literal = literal.pattern().as_usize();
            let Some(last) = found.last.get_mut(literal) else { continue };
            if *last != found.line {
                *last = found.line;
                candidates.extend(self.calls.get(literal).into_iter().flatten());
            }
        }
        candidates.retain(|pattern| self.may_match_line(*pattern, found));
        candidates.sort_unstable();
        candidates.dedup();
    }

    /// Whether `pattern` might match within the line looked at last.
    pub fn may_match_line(&self, pattern: u32, found: &Found) -> bool {
        self.meets(pattern, found, |last| last == found.line)
    }

    /// Whether `pattern` might match somewhere in the lines looked at.
    pub fn may_match(&self, pattern: u32, found: &Found) -> bool {
        self.meets(pattern, found, |last| last > 0)
    }

    fn meets(&self, pattern: u32, found: &Found, is_it: impl Fn(u32) -> bool) -> bool {
        let has = |literal: &u32| found.last.get(*literal as usize).is_some_and(|last| is_it(*last));
        let Some(needs) = self.needs.get(pattern as usize).filter(|_| self.finder.is_some()) else {
            return true;
        };
        needs.iter().all(|choice| self.choices.get(*choice as usize).is_some_and(|any| any.iter().any(has)))
    }

    /// The patterns that may reach over the end of a line and so are named by none.
    pub fn across(&self) -> &[u32] {
        &self.across
    }
}

/// Whether what the pattern matches may hold the end of a line.
fn may_cross_lines(tree: &Hir) -> bool {
    match tree.kind() {
        HirKind::Empty | HirKind::Look(_) => false,
        HirKind::Literal(literal) => literal.0.contains(&b'\n'),
        HirKind::Class(Class::Bytes(class)) => {
            class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&b'\n'))
        }
        HirKind::Class(Class::Unicode(class)) => {
            class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&'\n'))
        }
        HirKind::Capture(capture) => may_cross_lines(&capture.sub),
        HirKind::Repetition(repetition) => may_cross_lines(&repetition.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().any(may_cross_lines),
    }
}

/// What a part of a pattern needs.
enum Needs {
    /// It matches these literals and nothing else.
    Exactly(Choice),
    /// A text that it matches has one literal of each of these choices.
    All(Vec<Choice>),
}

impl Needs {
    fn choices(self) -> Vec<Choice> {
        match self {
            Self::Exactly(choice) => keep(choice).into_iter().collect(),
            Self::All(choices) => choices,
        }
    }
}

/// A choice that tells something: one that is in every text is none. What begins with another literal of the
/// choice is found with it.
fn keep(choice: Choice) -> Option<Choice> {
    let tells = !choice.is_empty() && choice.iter().all(|literal| literal.len() >= SHORTEST);
    if !tells {
        return None;
    }
    let mut kept: Vec<Vec<u8>> = Vec::new();
    for mut literal in choice {
        literal.truncate(LONGEST);
        if !kept.last().is_some_and(|shorter| literal.starts_with(shorter)) {
            kept.push(literal);
        }
    }
    Some(kept.into_iter().collect())
}

/// Longer literals tell more, and fewer.
fn worth(choice: &Choice) -> (usize, usize) {
    (shortest(choice).min(LONGEST), MOST_LITERALS.saturating_sub(choice.len()))
}

fn shortest(choice: &Choice) -> usize {
    choice.iter().map(Vec::len).min().unwrap_or(0)
}

/// Whether every literal of `run` is to be joined with every one of `next`.
fn is_worth_joining(run: &Choice, next: &Choice) -> bool {
    let is_one = run.len() == 1 || next.len() == 1;
    let most = if is_one { MOST_LITERALS } else { MOST_PRODUCTS };
    run.len() * next.len() <= most && (is_one || shortest(run) < TELLING)
}

fn needs(tree: &Hir) -> Needs {
    match tree.kind() {
        HirKind::Empty | HirKind::Look(_) => Needs::Exactly(Choice::from([Vec::new()])),
        HirKind::Literal(literal) => Needs::Exactly(Choice::from([literal.0.to_vec()])),
        HirKind::Class(class) => of_class(class),
        HirKind::Capture(capture) => needs(&capture.sub),
        HirKind::Repetition(repetition) => match (repetition.min, repetition.max, needs(&repetition.sub)) {
            (1, Some(1), part) => part,
            (0, Some(1), Needs::Exactly(mut choice)) if choice.len() < MOST_LITERALS => {
                choice.insert(Vec::new());
                Needs::Exactly(choice)
            }
            (0, _, _) => Needs::All(Vec::new()),
            (_, _, part) => Needs::All(part.choices()),
        },
        HirKind::Concat(parts) => of_all(parts),
        HirKind::Alternation(parts) => of_one(parts),
    }
}

/// A class of one or a few characters: each is a literal.
fn of_class(class: &Class) -> Needs {
    match class.literal() {
        Some(literal) => Needs::Exactly(Choice::from([literal])),
        None => match class {
            Class::Bytes(bytes) if bytes.iter().map(|range| range.len()).sum::<usize>() <= 8 => {
                let each = bytes.iter().flat_map(|range| range.start()..=range.end());
                Needs::Exactly(each.map(|byte| vec![byte]).collect())
            }
            _ => Needs::All(Vec::new()),
        },
    }
}

/// All parts, one after the other.
fn of_all(parts: &[Hir]) -> Needs {
    let mut choices = Vec::new();
    let mut run = Choice::from([Vec::new()]);
    let mut is_whole = true;
    for part in parts {
        match needs(part) {
            Needs::Exactly(next) if is_worth_joining(&run, &next) => {
                let longer = |head: &Vec<u8>| {
                    let head = head.clone();
                    next.iter().map(move |tail| [head.as_slice(), tail].concat()).collect::<Vec<_>>()
                };
                run = run.iter().flat_map(longer).collect();
            }
            Needs::Exactly(next) => {
                is_whole = false;
                choices.extend(keep(std::mem::replace(&mut run, next)));
            }
            Needs::All(more) => {
                is_whole = false;
                choices.extend(keep(std::mem::replace(&mut run, Choice::from([Vec::new()]))));
                choices.extend(more);
            }
        }
    }
    if is_whole {
        return Needs::Exactly(run);
    }
    choices.extend(keep(run));
    Needs::All(choices)
}

/// One of the parts: each gives its most telling choice.
fn of_one(parts: &[Hir]) -> Needs {
    let parts: Vec<Needs> = parts.iter().map(needs).collect();
    if let Some(exact) = exactly_one(&parts) {
        return Needs::Exactly(exact);
    }
    let mut any = Choice::new();
    for part in parts {
        match part.choices().into_iter().max_by_key(worth) {
            Some(choice) => any.extend(choice),
            None => return Needs::All(Vec::new()),
        }
    }
    Needs::All(keep(any).filter(|any| any.len() <= 2 * MOST_LITERALS).into_iter().collect())
}

fn exactly_one(parts: &[Needs]) -> Option<Choice> {
    let mut any = Choice::new();
    for part in parts {
        let Needs::Exactly(choice) = part else { return None };
        any.extend(choice.iter().cloned());
    }
    (any.len() <= MOST_LITERALS).then_some(any)
}

#[cfg(test)]
mod tests {
    use proptest::strategy::{Strategy, ValueTree};
    use proptest::test_runner::TestRunner;

    use super::*;
    use crate::request::Table;
    use crate::text::pattern;

    fn tree(pattern: &str) -> Hir {
        let mut grammar =
            regex_syntax::ParserBuilder::new().unicode(false).utf8(false).multi_line(true).build();
        grammar.parse(pattern).expect("a sound pattern")
    }

    /// Whether `text`, a line, has what `phrase` needs.
    fn meets(phrase: &str, text: &str) -> bool {
        let mut collector = Collector::default();
        collector.add(&tree(&pattern(phrase)), true);
        let literals = collector.finish();
        let (mut found, mut candidates) = (literals.nothing(), Vec::new());
        literals.next_line(text.as_bytes(), &mut found, &mut candidates);
        candidates == [0]
    }

    #[test]
    fn a_text_without_the_words_is_left_out() {
        let phrase = r"(delete|d[el]{2,4}te|erase)( \w+){0,3} (my|our) (own )?(data|account)s?";
        assert!(!meets(phrase, "delete the parcel"));
        assert!(!meets(phrase, "my data"));
        assert!(meets(phrase, "erase all of our own accounts"));
        assert!(!meets("^(please )?stop$", "pleases"));
        assert!(meets("^(please )?stop$", "stop"));
        assert!(meets("up to", "up to"));
        assert!(!meets("up to", "down"));
        // Nothing can be told of these.
        assert!(meets(r"\w+ \w+", ""));
        assert!(meets(r"(delete|\w+)", ""));
    }

    /// Texts that a phrase matches have what it needs: for every phrase of ours that texts can be made for.
    #[test]
    fn nothing_that_matches_is_left_out() {
        let table = Table::load(None).expect("the built-in rules");
        let mut runner = TestRunner::deterministic();
        let mut collector = Collector::default();
        for phrase in &table.phrases {
            collector.add(&tree(&phrase.pattern), false);
        }
        let literals = collector.finish();
        let mut tried = 0;
        for (place, phrase) in (0..).zip(&table.phrases) {
            let pattern = &phrase.pattern;
            let bare = pattern
                .replace(r"\b{start-half}", "")
                .replace(r"\b{end-half}", "")
                .replace(r"[^\s]", "[a-z]");
            // No texts are made for anchors.
            let Ok(texts) = proptest::string::string_regex(&bare) else { continue };
            for _ in 0..5 {
                let text = texts.new_tree(&mut runner).expect("a text").current();
                let mut found = literals.nothing();
                for line in text.split('\n') {
                    literals.next_line(line.as_bytes(), &mut found, &mut Vec::new());
                }
                assert!(literals.may_match(place, &found), "{pattern} needs more than {text:?}");
                tried += 1;
            }
        }
        assert!(tried > 2000, "only {tried} texts");
    }
}
