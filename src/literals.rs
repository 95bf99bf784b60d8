//! Which patterns can match a text at all, by the words that each cannot do without.
//!
//! Most phrases have nothing to do with most mails. One pass over the text finds all literals that any
//! pattern needs; only a type whose phrases have all of theirs is looked for in earnest. A phrase says
//! "(delete|erase) … (data|account)", so there must be one of the first and one of the second. The idea
//! is RE2's (FilteredRE2), the literals are read from the pattern's own syntax tree, so they cannot
//! differ from it. It never decides: what it lets through is searched as if it were not there.

use std::collections::{BTreeSet, HashMap};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use regex_syntax::hir::{Class, Hir, HirKind};

use crate::patterns::CannotCompile;

/// A choice of literals: one of them must be in the text.
type Choice = BTreeSet<Vec<u8>>;

/// A choice may have so many literals; larger ones are not worth their place.
const MOST_LITERALS: usize = 128;

/// Shorter literals (bytes) are in every text.
const SHORTEST: usize = 3;

/// Of a pattern so many choices are asked for, the most telling ones.
const MOST_CHOICES: usize = 4;

/// Collects what patterns need.
#[derive(Debug, Default)]
pub struct Collector {
    choices: HashMap<Choice, usize>,
}

/// What one pattern needs: choices by their place.
#[derive(Debug)]
pub struct Need(Vec<usize>);

/// Finds the literals of all patterns at once.
#[derive(Debug)]
pub struct Literals {
    finder: AhoCorasick,
    /// For each literal the choices that it is in.
    choices: Vec<Vec<usize>>,
    count: usize,
}

/// The choices of which a text has a literal.
#[derive(Debug)]
pub struct Found(Vec<bool>);

impl Collector {
    /// What the pattern with this syntax tree needs.
    pub fn need(&mut self, tree: &Hir) -> Need {
        let mut choices = needs(tree).choices();
        choices.sort_by_key(|choice| std::cmp::Reverse(worth(choice)));
        choices.truncate(MOST_CHOICES);
        let places = choices.into_iter().map(|choice| {
            let next = self.choices.len();
            *self.choices.entry(choice).or_insert(next)
        });
        Need(places.collect())
    }

    /// The finder of all that was collected.
    ///
    /// # Errors
    /// There are too many.
    pub fn finish(self) -> Result<Literals, CannotCompile> {
        let count = self.choices.len();
        let mut places: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
        for (choice, place) in self.choices {
            for literal in choice {
                places.entry(literal).or_default().push(place);
            }
        }
        let (literals, choices): (Vec<_>, Vec<_>) = places.into_iter().unzip();
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(literals)
            .map_err(|error| CannotCompile::new(&error))?;
        Ok(Literals { finder, choices, count })
    }
}

impl Literals {
    /// Looks for all literals in `text`.
    pub fn find(&self, text: &[u8]) -> Found {
        let mut found = vec![false; self.count];
        for literal in self.finder.find_overlapping_iter(text) {
            for place in self.choices.get(literal.pattern().as_usize()).into_iter().flatten() {
                if let Some(found) = found.get_mut(*place) {
                    *found = true;
                }
            }
        }
        Found(found)
    }
}

impl Found {
    /// Whether the text has what a pattern needs.
    pub fn meets(&self, need: &Need) -> bool {
        need.0.iter().all(|place| self.0.get(*place).is_some_and(|found| *found))
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

/// A choice that tells something: one that is in every text is none.
fn keep(choice: Choice) -> Option<Choice> {
    let tells = !choice.is_empty() && choice.iter().all(|literal| literal.len() >= SHORTEST);
    tells.then_some(choice)
}

/// Longer literals tell more, and fewer.
fn worth(choice: &Choice) -> (usize, usize) {
    let shortest = choice.iter().map(Vec::len).min().unwrap_or(0);
    (shortest, MOST_LITERALS.saturating_sub(choice.len()))
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
            Needs::Exactly(next) if run.len() * next.len() <= MOST_LITERALS => {
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
    Needs::All(if any.len() <= 2 * MOST_LITERALS { vec![any] } else { Vec::new() })
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

    /// Whether `text` has what `phrase` needs.
    fn meets(phrase: &str, text: &str) -> bool {
        let mut collector = Collector::default();
        let need = collector.need(&tree(&pattern(phrase)));
        collector.finish().expect("few literals").find(text.as_bytes()).meets(&need)
    }

    #[test]
    fn a_text_without_the_words_is_left_out() {
        let phrase = r"(delete|d[el]{2,4}te|erase)( \w+){0,3} (my|our) (own )?(data|account)s?";
        assert!(!meets(phrase, "delete the parcel"));
        assert!(!meets(phrase, "my data"));
        assert!(meets(phrase, "erase all of our own accounts"));
        assert!(!meets("^(please )?stop$", "pleases"));
        assert!(meets("^(please )?stop$", "stop"));
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
        let needs: Vec<(&str, Need)> = table
            .phrases
            .iter()
            .map(|phrase| (phrase.pattern.as_str(), collector.need(&tree(&phrase.pattern))))
            .collect();
        let literals = collector.finish().expect("the literals of the built-in rules");
        let mut tried = 0;
        for (pattern, need) in needs {
            let bare = pattern
                .replace(r"\b{start-half}", "")
                .replace(r"\b{end-half}", "")
                .replace(r"[^\s]", "[a-z]");
            // No texts are made for anchors.
            let Ok(texts) = proptest::string::string_regex(&bare) else { continue };
            for _ in 0..5 {
                let text = texts.new_tree(&mut runner).expect("a text").current();
                assert!(literals.find(text.as_bytes()).meets(&need), "{pattern} needs more than {text:?}");
                tried += 1;
            }
        }
        assert!(tried > 2000, "only {tried} texts");
    }
}
