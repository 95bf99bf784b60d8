//! Patterns searched for one by one, in a sentence that has their words already.
//!
//! A phrase names classes of words, and each is dozens of them. Written out and compiled, some thousand phrases take
//! most of the time and of the memory that reading mail takes. So a pattern stays the tree that it is parsed into, when
//! it is first asked for; the trees of the classes are their language's, for all its patterns. Whether a pattern
//! matches is told by walking its tree with the set of all places of the text that it may have come to. What no
//! alternative comes from is left out then, and of the little that remains the regex engine is made that tells where.

use std::cell::Cell;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::util::iter::Searcher;
use regex_automata::util::look::{Look, LookMatcher};
use regex_automata::util::syntax;
use regex_automata::{Input, meta};
use regex_syntax::hir::{
    self, Class, ClassBytes, ClassBytesRange, ClassUnicode, ClassUnicodeRange, Hir, HirKind,
};

use crate::language::{Words, expand, replace_classes};
use crate::patterns::{Patterns, parse};
use crate::text::{bound, pattern, unbound_pattern};

/// The classes of words of a language.
#[derive(Debug, Default)]
pub struct Classes {
    words: Words,
    /// In the order of their names; made when a pattern first comes to them.
    trees: Box<[OnceLock<Option<Tree>>]>,
}

/// A phrase as it is written, and the classes of words that it may name.
#[derive(Debug, Clone)]
pub struct Source {
    /// The phrase.
    pub text: Arc<str>,
    /// The classes.
    pub classes: Arc<Classes>,
}

/// Patterns searched for one by one, by their place.
pub struct Shelf {
    phrases: Vec<Source>,
    trees: Box<[OnceLock<Option<Box<Tree>>>]>,
}

/// A pattern, or a part of one.
#[derive(Debug)]
enum Tree {
    Literal(Box<[u8]>),
    Byte(Box<Bytes>),
    Sign(ClassUnicode),
    Look(Look),
    /// A class of words, by its place among them.
    Class(usize),
    Row(Box<[Tree]>),
    OneOf(Box<OneOf>),
    Repeated(Box<Repeated>),
}

#[derive(Debug)]
struct OneOf {
    /// With which of them a match begins, where it cannot be empty.
    first: Option<Bytes>,
    trees: Vec<Tree>,
}

#[derive(Debug)]
struct Repeated {
    tree: Tree,
    min: u32,
    max: Option<u32>,
    greedy: bool,
}

/// A set of bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Bytes([u128; 2]);

/// A set of places of a text, none behind the first 64 * `N`.
#[derive(Clone, Copy)]
struct Places<const N: usize>([u64; N]);

/// A longer text is searched by the regex engine alone, made anew of the whole pattern.
const LONGEST: usize = 64 * 64;

/// What it costs to compile a pattern, classes and all, in bytes of short texts.
const TO_COMPILE: usize = 256 << 10;

/// What it costs to look for a pattern in a text of this length, in bytes of short ones.
pub fn effort(length: usize) -> usize {
    if length < LONGEST { length } else { 4 * length + TO_COMPILE }
}

impl Source {
    /// Its pattern; `None` where it names a class that is not there, which a phrase that was checked does not.
    pub fn pattern(&self) -> Option<String> {
        Some(pattern(&expand(&self.classes.words, &self.text).ok()?))
    }

    fn tree(&self) -> Option<Tree> {
        let Classes { words, .. } = self.classes.as_ref();
        let expanded = unbound_pattern(&expand(words, &self.text).ok()?);
        // What a phrase switches on holds for the words of its classes, too.
        let switches = self.text.replace(r"\\", "").replace(r"\(", "").replace("(?:", "").contains("(?");
        let named = if switches { None } else { named(words, &self.text) };
        let unbound = named.map_or_else(|| expanded.clone(), |named| unbound_pattern(&named));
        Some(self.classes.of_hir(&parse(&bound(&unbound, &expanded)).ok()?))
    }
}

/// `phrase` with a group in the place of each class of `words`, named after it.
fn named(words: &Words, phrase: &str) -> Option<String> {
    let count = Cell::new(0);
    let group = |name: &str, _: &str| format!("(?<{name}.{}>x)", count.replace(count.get() + 1));
    let named = replace_classes(words, phrase, group).ok()?;
    Some(named.unwrap_or_else(|| phrase.to_owned()))
}

impl Shelf {
    /// The patterns of these phrases, which [`crate::patterns::check`] has let pass.
    pub fn new(phrases: Vec<Source>) -> Self {
        let trees = phrases.iter().map(|_| OnceLock::new()).collect();
        Self { phrases, trees }
    }

    /// The phrases at these places.
    pub fn phrases(&self, places: Range<usize>) -> &[Source] {
        self.phrases.get(places).unwrap_or_default()
    }

    /// Whether the pattern at `place` matches somewhere in `text`.
    pub fn is_match(&self, place: usize, text: &[u8]) -> bool {
        let Some((phrase, tree)) = self.get(place) else { return false };
        match text.len() {
            0..256 => phrase.classes.is_match::<4>(tree, text),
            256..1024 => phrase.classes.is_match::<16>(tree, text),
            1024..LONGEST => phrase.classes.is_match::<64>(tree, text),
            _ => Patterns::new(phrase.pattern().into_iter()).is_match(text),
        }
    }

    /// The first places of the pattern at `place` in `text`, `most` of them; none overlaps another.
    pub fn places(&self, place: usize, text: &[u8], most: usize) -> Vec<Range<usize>> {
        let Some((phrase, tree)) = self.get(place).filter(|_| most > 0) else { return Vec::new() };
        let regex = match text.len() {
            LONGEST.. => phrase.pattern().and_then(|it| whole(&it)),
            _ if !self.is_match(place, text) => None,
            _ => phrase.classes.cut::<64>(tree, text, &Places::all(text)).and_then(|(cut, _)| remains(&cut)),
        };
        let Some(regex) = regex else { return Vec::new() };
        let mut cache = regex.create_cache();
        let mut search = Searcher::new(Input::new(text));
        let next = || search.advance(|input| Ok(regex.search_with(&mut cache, input)));
        std::iter::from_fn(next).take(most).map(|found| found.range()).collect()
    }

    fn get(&self, place: usize) -> Option<(&Source, &Tree)> {
        let (phrase, tree) = (self.phrases.get(place)?, self.trees.get(place)?);
        Some((phrase, tree.get_or_init(|| phrase.tree().map(Box::new)).as_deref()?))
    }
}

/// The engine of a pattern, for a text of any length; `None` where the pattern was not checked.
fn whole(pattern: &str) -> Option<meta::Regex> {
    let syntax = syntax::Config::new().unicode(false).utf8(false).multi_line(true);
    meta::Regex::builder().configure(engine().backtrack(false)).syntax(syntax).build(pattern).ok()
}

/// The engine of what remains of a pattern, for a short text.
fn remains(cut: &Hir) -> Option<meta::Regex> {
    meta::Regex::builder().configure(engine().hybrid(false)).build_from_hir(cut).ok()
}

/// What finds a match and no more, and is made quickly.
fn engine() -> meta::Config {
    meta::Config::new()
        .utf8_empty(false)
        .auto_prefilter(false)
        .which_captures(WhichCaptures::Implicit)
        .nfa_size_limit(None)
        .onepass(false)
        .dfa(false)
}

impl Classes {
    /// Those of `words`.
    pub fn new(words: Words) -> Self {
        let trees = words.iter().map(|_| OnceLock::new()).collect();
        Self { words, trees }
    }

    /// How they are written.
    pub fn words(&self) -> &Words {
        &self.words
    }

    fn tree(&self, class: usize) -> Option<&Tree> {
        let grow = || {
            let content = named(&self.words, self.words.values().nth(class)?)?;
            Some(self.of_hir(&parse(&unbound_pattern(&format!("(?:{content})"))).ok()?))
        };
        self.trees.get(class)?.get_or_init(grow).as_ref()
    }

    fn of_hir(&self, hir: &Hir) -> Tree {
        let all = |parts: &[Hir]| parts.iter().map(|part| self.of_hir(part)).collect::<Vec<_>>();
        match hir.kind() {
            HirKind::Empty => Tree::Row(Box::default()),
            HirKind::Literal(literal) => Tree::Literal(literal.0.clone()),
            HirKind::Class(Class::Bytes(class)) => Tree::Byte(Box::new(Bytes::of(class))),
            HirKind::Class(Class::Unicode(class)) => Tree::Sign(class.clone()),
            // The two crates give them the same numbers.
            HirKind::Look(look) => Look::from_repr(look.as_repr()).map_or_else(nothing, Tree::Look),
            HirKind::Capture(group) => {
                let name = group.name.as_deref().and_then(|name| Some(name.split_once('.')?.0));
                let class = name.and_then(|name| self.words.keys().position(|known| known == name));
                class.map_or_else(|| self.of_hir(&group.sub), Tree::Class)
            }
            HirKind::Repetition(it) => Tree::Repeated(Box::new(Repeated {
                tree: self.of_hir(&it.sub),
                min: it.min,
                max: it.max,
                greedy: it.greedy,
            })),
            HirKind::Concat(parts) => Tree::Row(all(parts).into()),
            HirKind::Alternation(parts) => {
                let trees = all(parts);
                let first =
                    trees.iter().try_fold(Bytes::default(), |all, tree| Some(all.or(self.first(tree)?)));
                Tree::OneOf(Box::new(OneOf { first, trees }))
            }
        }
    }

    /// With which bytes a match of `tree` begins; `None` where it may be empty.
    fn first(&self, tree: &Tree) -> Option<Bytes> {
        match tree {
            Tree::Literal(literal) => literal.first().map(|byte| Bytes::default().with(*byte)),
            Tree::Byte(bytes) => Some(**bytes),
            Tree::Class(class) => self.first(self.tree(*class)?),
            Tree::Row(trees) => self.first(trees.iter().find(|tree| !matches!(tree, Tree::Look(_)))?),
            Tree::OneOf(one) => one.first,
            Tree::Repeated(it) if it.min > 0 => self.first(&it.tree),
            Tree::Sign(_) | Tree::Look(_) | Tree::Repeated(_) => None,
        }
    }

    fn is_match<const N: usize>(&self, tree: &Tree, text: &[u8]) -> bool {
        !self.ends::<N>(tree, text, &Places::all(text)).is_empty()
    }

    /// Where matches of `tree` end that begin at one of `from`.
    fn ends<const N: usize>(&self, tree: &Tree, text: &[u8], from: &Places<N>) -> Places<N> {
        match tree {
            Tree::Literal(literal) => {
                let begins = |at: &usize| text.get(*at..).is_some_and(|text| text.starts_with(literal));
                from.iter().filter(begins).map(|at| at + literal.len()).collect()
            }
            Tree::Byte(bytes) => {
                let begins = |at: &usize| text.get(*at).is_some_and(|byte| bytes.has(*byte));
                from.iter().filter(begins).map(|at| at + 1).collect()
            }
            Tree::Sign(class) => {
                let end = |at: usize| {
                    let sign = sign(text.get(at..)?)?;
                    let is_in = |range: &ClassUnicodeRange| (range.start()..=range.end()).contains(&sign);
                    class.iter().any(is_in).then_some(at + sign.len_utf8())
                };
                from.iter().filter_map(end).collect()
            }
            Tree::Look(look) => {
                from.iter().filter(|at| LookMatcher::new().matches(*look, text, *at)).collect()
            }
            Tree::Class(class) => self.tree(*class).map_or(Places::NONE, |tree| self.ends(tree, text, from)),
            Tree::Row(trees) => {
                let mut at = *from;
                for tree in trees {
                    if at.is_empty() {
                        break;
                    }
                    at = self.ends(tree, text, &at);
                }
                at
            }
            Tree::OneOf(one) => {
                let from = one.begins(text, from);
                if from.is_empty() {
                    return from;
                }
                one.trees.iter().fold(Places::NONE, |ends, tree| ends.or(&self.ends(tree, text, &from)))
            }
            Tree::Repeated(it) => self.rounds(it, text, from).1,
        }
    }

    /// Where each round of a repetition may begin, and the last may end.
    fn rounds<const N: usize>(&self, it: &Repeated, text: &[u8], from: &Places<N>) -> (Places<N>, Places<N>) {
        let mut begins = Places::NONE;
        let mut ends = if it.min == 0 { *from } else { Places::NONE };
        let mut at = *from;
        let mut round = 0;
        while !at.is_empty() && it.max.is_none_or(|max| round < max) {
            begins = begins.or(&at);
            at = self.ends(&it.tree, text, &at);
            round += 1;
            if round >= it.min {
                // From where an earlier round ended all has been tried, and more often.
                at = at.without(&ends);
                ends = ends.or(&at);
            }
        }
        (begins, ends)
    }

    /// What of `tree` can match in `text` from one of `from` on, and where that ends. What is left out never matches
    /// there, so the rest matches as the whole does.
    fn cut<const N: usize>(&self, tree: &Tree, text: &[u8], from: &Places<N>) -> Option<(Hir, Places<N>)> {
        let cut = match tree {
            Tree::Literal(literal) => Hir::literal(literal.clone()),
            Tree::Byte(bytes) => Hir::class(Class::Bytes(bytes.class())),
            Tree::Sign(class) => Hir::class(Class::Unicode(class.clone())),
            Tree::Look(look) => Hir::look(hir::Look::from_repr(look.as_repr())?),
            Tree::Class(class) => return self.cut(self.tree(*class)?, text, from),
            Tree::Row(trees) => {
                let mut at = *from;
                let mut row = Vec::with_capacity(trees.len());
                for tree in trees {
                    let (cut, ends) = self.cut(tree, text, &at)?;
                    row.push(cut);
                    at = ends;
                }
                return Some((Hir::concat(row), at));
            }
            Tree::OneOf(one) => {
                let from = one.begins(text, from);
                let mut ends = Places::NONE;
                let cuts = one.trees.iter().filter_map(|tree| {
                    let (cut, behind) = self.cut(tree, text, &from)?;
                    ends = ends.or(&behind);
                    Some(cut)
                });
                let cut = Hir::alternation(cuts.collect());
                return (!ends.is_empty()).then_some((cut, ends));
            }
            Tree::Repeated(it) => {
                let (begins, ends) = self.rounds(it, text, from);
                let cut = match self.cut(&it.tree, text, &begins) {
                    Some((sub, _)) => Hir::repetition(hir::Repetition {
                        min: it.min,
                        max: it.max,
                        greedy: it.greedy,
                        sub: Box::new(sub),
                    }),
                    None => Hir::empty(),
                };
                return (!ends.is_empty()).then_some((cut, ends));
            }
        };
        let ends = self.ends(tree, text, from);
        (!ends.is_empty()).then_some((cut, ends))
    }
}

/// The tree that never matches.
fn nothing() -> Tree {
    Tree::OneOf(Box::new(OneOf { first: Some(Bytes::default()), trees: Vec::new() }))
}

/// The sign that `text` begins with.
fn sign(text: &[u8]) -> Option<char> {
    let head = text.get(..4).unwrap_or(text);
    head.utf8_chunks().next()?.valid().chars().next()
}

impl OneOf {
    /// Those of `from` at which one may begin.
    fn begins<const N: usize>(&self, text: &[u8], from: &Places<N>) -> Places<N> {
        match &self.first {
            None => *from,
            Some(first) => {
                from.iter().filter(|at| text.get(*at).is_some_and(|byte| first.has(*byte))).collect()
            }
        }
    }
}

impl Bytes {
    fn of(class: &ClassBytes) -> Self {
        class.iter().flat_map(|range| range.start()..=range.end()).fold(Self::default(), Self::with)
    }

    fn with(self, byte: u8) -> Self {
        let Self([low, high]) = self;
        let bit = 1 << (byte % 128);
        Self(if byte < 128 { [low | bit, high] } else { [low, high | bit] })
    }

    fn or(self, other: Self) -> Self {
        Self([self.0[0] | other.0[0], self.0[1] | other.0[1]])
    }

    fn has(&self, byte: u8) -> bool {
        let [low, high] = self.0;
        (if byte < 128 { low } else { high }) >> (byte % 128) & 1 == 1
    }

    fn class(&self) -> ClassBytes {
        let bytes = (0..=u8::MAX).filter(|byte| self.has(*byte));
        ClassBytes::new(bytes.map(|byte| ClassBytesRange::new(byte, byte)))
    }
}

impl<const N: usize> Places<N> {
    const NONE: Self = Self([0; N]);

    /// Every place of `text`, its end as well.
    fn all(text: &[u8]) -> Self {
        Self(std::array::from_fn(|index| match (text.len() + 1).saturating_sub(64 * index) {
            left @ 0..64 => (1 << left) - 1,
            _ => u64::MAX,
        }))
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    fn or(mut self, other: &Self) -> Self {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
        self
    }

    fn without(mut self, other: &Self) -> Self {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word &= !other);
        self
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(index, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
                rest &= rest - 1;
                Some(index * 64 + bit)
            })
        })
    }
}

impl<const N: usize> FromIterator<usize> for Places<N> {
    fn from_iter<I: IntoIterator<Item = usize>>(places: I) -> Self {
        let mut set = Self::NONE;
        for place in places {
            if let Some(word) = set.0.get_mut(place / 64) {
                *word |= 1 << (place % 64);
            }
        }
        set
    }
}

impl std::fmt::Debug for Shelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shelf({})", self.phrases.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::request::Table;

    /// With the classes `<my>`, `<more>` and `<data>`, of which the last names the first.
    const PHRASES: [&str; 16] = [
        "delete <my> data",
        "^stop$",
        r"un[- ]?sub\w*",
        "<more> (e-?mails?|mail)",
        "^(a|b)( c)*$",
        "übung",
        r"(<more>|<my>)( \w+){0,3} <data>",
        r"<my>{2}|(<data>)+?",
        "(a|b|)*c|(a?){2,3}b",
        r"\w+?data",
        "(?i)<my>|x",
        "удал(и|ить) <data>",
        "(削|除|退)訂",
        r"our\s+<my>?\s*data[.]?",
        r"(a|a b|a b c) ?\b{start-half}(b|c|our)",
        r"\(?<data>\)?|[^ a]{2,}",
    ];

    fn shelf() -> Shelf {
        let words =
            [("my", "my|our|our own"), ("more", "no|no more|more"), ("data", "data|<my> data|mail\\w*")];
        let words = words.into_iter().map(|(name, any)| (name.to_owned(), any.to_owned())).collect();
        let classes = Arc::new(Classes::new(words));
        let source = |phrase: &str| Source { text: phrase.into(), classes: Arc::clone(&classes) };
        Shelf::new(PHRASES.iter().map(|phrase| source(phrase)).collect())
    }

    fn engine_of(source: &Source) -> regex::bytes::Regex {
        let pattern = source.pattern().expect("known classes");
        regex::bytes::RegexBuilder::new(&pattern)
            .unicode(false)
            .multi_line(true)
            .build()
            .expect("a sound pattern")
    }

    fn assert_same(shelf: &Shelf, place: usize, engine: &regex::bytes::Regex, text: &str) {
        let text = text.as_bytes();
        let found: Vec<_> = engine.find_iter(text).map(|found| found.range()).collect();
        assert_eq!(shelf.is_match(place, text), !found.is_empty(), "{place} in {text:?}");
        assert_eq!(shelf.places(place, text, usize::MAX), found, "{place} in {text:?}");
        let first: Vec<_> = found.into_iter().take(1).collect();
        assert_eq!(shelf.places(place, text, 1), first, "{place} in {text:?}");
    }

    proptest! {
        #[test]
        fn a_tree_says_what_its_pattern_says(
            text in "((delete|my|our|own|data|stop|un-sub|no more|email|a|b|c|ubung|x|удалить|削訂|é|[.(])( |\n|-)?){0,12}",
            times in prop_oneof![Just(1), Just(8), Just(100)],
        ) {
            let (shelf, text) = (shelf(), text.repeat(times));
            for place in 0..PHRASES.len() {
                assert_same(&shelf, place, &engine_of(&shelf.phrases[place]), &text);
            }
        }
    }

    #[test]
    fn every_phrase_of_ours_is_found_as_by_its_pattern() {
        let table = Table::load(None).expect("the built-in rules");
        let letters =
            |code: &str| std::fs::read_to_string(format!("tests/letters/{code}.jsonl")).expect("letters");
        for (index, (code, language)) in table.languages.iter().enumerate() {
            let classes = Arc::new(Classes::new(language.words.clone()));
            let of_language = table.phrases.iter().filter(|phrase| phrase.language == index);
            let sources =
                of_language.map(|phrase| Source { text: phrase.text.clone(), classes: Arc::clone(&classes) });
            // Of each language some: to compile all of them takes minutes.
            let shelf = Shelf::new(sources.step_by(23).collect());
            let text: String = crate::text::fold(&letters(code)).chars().take(3000).collect();
            for (place, source) in shelf.phrases.iter().enumerate() {
                assert_same(&shelf, place, &engine_of(source), &text);
            }
        }
    }

    #[test]
    fn what_is_not_there_is_found_nowhere() {
        let shelf = shelf();
        assert!(!shelf.is_match(PHRASES.len(), b"stop"));
        assert!(shelf.places(PHRASES.len(), b"stop", 9).is_empty());
        assert!(shelf.places(1, b"stop", 0).is_empty());
    }
}
