//! Patterns, compiled when they are first searched for.
//!
//! The rules of eighteen languages are thousands of patterns, and a mail meets a handful of them. So
//! [`check`] sees at the start that each compiles and how large it may become, and what is never asked for
//! takes no more room than its text.
//!
//! ## Why not `regex::Regex` and `regex::RegexSet`
//! A set ([`Patterns`]) only ever asks which patterns match, never where. `RegexSet` prepares for the other
//! question too: a reversed automaton, and a search for literals, for each set and each thread that reads
//! mail. A pattern alone ([`Shelf`]) is searched for in one sentence that has its words already, and mostly is
//! not there: what tells where it is is compiled when it has been found once, without the literals and captures
//! that a `Regex` carries along. Neither can say how much it takes, so neither can be held within bounds. These
//! are the same crate's parts.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures, pikevm::PikeVM};
use regex_automata::util::iter::Searcher;
use regex_automata::util::syntax;
use regex_automata::{Input, MatchKind, PatternSet, meta};
use regex_syntax::hir::{Hir, HirKind};

use crate::language::{Words, expand};
use crate::text::pattern;

/// Bytes that one thread's states of one automaton may take before they are thrown away and built anew.
const CACHE: usize = 1 << 18;

/// A pattern that repeats itself into more states than this is refused. The largest built-in one has a tenth.
const MOST_STATES: usize = 50_000;

/// Bytes that the patterns of a [`Shelf`] may take together.
const MOST_BYTES: usize = 16 << 20;

/// The syntax tree of a pattern made by [`crate::text::pattern`], if it can be compiled.
///
/// # Errors
/// As the engine words it.
pub fn check(pattern: &str) -> Result<Hir, String> {
    let tree = parse(pattern).map_err(|error| error.to_string())?;
    if states(&tree) > MOST_STATES {
        return Err("repeats itself too often".to_owned());
    }
    Ok(tree)
}

/// The syntax tree of `pattern`.
///
/// # Errors
/// It is none.
pub fn parse(pattern: &str) -> Result<Hir, Box<regex_syntax::Error>> {
    let mut grammar = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).multi_line(true).build();
    grammar.parse(pattern).map_err(Box::new)
}

/// About how many states it takes.
fn states(tree: &Hir) -> usize {
    let all = |parts: &[Hir]| parts.iter().map(states).fold(0, usize::saturating_add);
    let inner = match tree.kind() {
        HirKind::Empty | HirKind::Look(_) | HirKind::Class(_) => 0,
        HirKind::Literal(literal) => literal.0.len(),
        HirKind::Capture(capture) => states(&capture.sub),
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min).max(1);
            states(&repetition.sub).saturating_mul(usize::try_from(times).unwrap_or(usize::MAX))
        }
        HirKind::Concat(parts) | HirKind::Alternation(parts) => all(parts),
    };
    inner.saturating_add(1)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Patterns searched for all at once.
pub struct Patterns {
    sources: Vec<String>,
    set: OnceLock<Option<Set>>,
}

/// They are compiled together.
struct Set {
    nfa: NFA,
    dfa: DFA,
    /// As many as there ever were searches at once. The engine's own pool keeps some for each of the threads
    /// that come and go.
    caches: Mutex<Vec<Cache>>,
    /// What all of it takes.
    bytes: AtomicUsize,
}

impl Patterns {
    /// Patterns that [`check`] has let pass.
    pub fn new(patterns: impl Iterator<Item = String>) -> Self {
        Self { sources: patterns.collect(), set: OnceLock::new() }
    }

    /// Whether any of them matches somewhere in `text`.
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.set().is_some_and(|set| set.is_match(text))
    }

    /// Which of them match somewhere in `text`, by their place, in order.
    pub fn matches(&self, text: &[u8]) -> Vec<usize> {
        self.set().map(|set| set.matches(text)).unwrap_or_default()
    }

    fn set(&self) -> Option<&Set> {
        let sources = || self.sources.iter().map(String::as_str);
        self.set.get_or_init(|| Set::compile(sources())).as_ref()
    }
}

impl fmt::Debug for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Patterns({})", self.sources.len())
    }
}

impl Set {
    /// `None` where one of `sources` was not checked.
    fn compile<'a>(sources: impl Iterator<Item = &'a str>) -> Option<Self> {
        let trees: Vec<Hir> = sources.map(parse).collect::<Result<_, _>>().ok()?;
        let config = thompson::Config::new().utf8(false).which_captures(WhichCaptures::None);
        let nfa = thompson::Compiler::new().configure(config).build_many_from_hir(&trees).ok()?;
        let config =
            DFA::config().match_kind(MatchKind::All).cache_capacity(CACHE).skip_cache_capacity_check(true);
        let dfa = DFA::builder().configure(config).build_from_nfa(nfa.clone()).ok()?;
        let bytes = AtomicUsize::new(nfa.memory_usage());
        Some(Self { nfa, dfa, caches: Mutex::default(), bytes })
    }

    /// A search with a cache that nobody else has.
    fn with_cache<T>(&self, search: impl FnOnce(&mut Cache) -> T) -> T {
        let free = locked(&self.caches).pop();
        let before = free.as_ref().map_or(0, Cache::memory_usage);
        let mut cache = free.unwrap_or_else(|| self.dfa.create_cache());
        let found = search(&mut cache);
        // It may be less than before: to subtract is to add what wraps around.
        self.bytes.fetch_add(cache.memory_usage().wrapping_sub(before), Ordering::Relaxed);
        locked(&self.caches).push(cache);
        found
    }

    fn is_match(&self, text: &[u8]) -> bool {
        let input = Input::new(text).earliest(true);
        match self.with_cache(|cache| self.dfa.try_search_fwd(cache, &input)) {
            Ok(found) => found.is_some(),
            Err(_) => !self.slowly(text).is_empty(),
        }
    }

    fn matches(&self, text: &[u8]) -> Vec<usize> {
        let mut found = PatternSet::new(self.nfa.pattern_len());
        let input = Input::new(text);
        if self.with_cache(|cache| self.dfa.try_which_overlapping_matches(cache, &input, &mut found)).is_err()
        {
            found = self.slowly(text);
        }
        found.iter().map(|pattern| pattern.as_usize()).collect()
    }

    /// The same by the engine that never gives up. The lazy one does only where it is told to, or meets
    /// bytes it was told not to read, and is told neither; were that to change, nothing may be missed.
    fn slowly(&self, text: &[u8]) -> PatternSet {
        let mut found = PatternSet::new(self.nfa.pattern_len());
        let all = PikeVM::config().match_kind(MatchKind::All);
        if let Ok(engine) = PikeVM::builder().configure(all).build_from_nfa(self.nfa.clone()) {
            engine.which_overlapping_matches(&mut engine.create_cache(), &Input::new(text), &mut found);
        }
        found
    }
}

/// A phrase as it is written, and the classes of words that it may name.
#[derive(Debug, Clone)]
pub struct Source {
    /// The phrase.
    pub text: Arc<str>,
    /// The classes.
    pub words: Arc<Words>,
}

impl Source {
    /// Its pattern; `None` where it names a class that is not there, which a phrase that was checked does not.
    pub fn pattern(&self) -> Option<String> {
        Some(pattern(&expand(&self.words, &self.text).ok()?))
    }
}

/// Patterns searched for one by one, by their place. Together they take no more than so much: when more are
/// needed, those are let go that have not been asked for since that happened last, and compiled again when they
/// are.
pub struct Shelf {
    phrases: Vec<Source>,
    kept: Mutex<HashMap<usize, Kept>>,
}

struct Kept {
    engine: Arc<Engine>,
    is_used: bool,
}

/// One compiled pattern.
pub struct Engine {
    phrase: Source,
    /// Whether it matches.
    set: Set,
    /// And where.
    finder: OnceLock<Option<Finder>>,
}

struct Finder {
    regex: meta::Regex,
    /// As many as there ever were searches at once.
    caches: Mutex<Vec<meta::Cache>>,
}

impl Shelf {
    /// The patterns of these phrases, which [`check`] has let pass.
    pub fn new(phrases: Vec<Source>) -> Self {
        Self { phrases, kept: Mutex::default() }
    }

    /// The phrases at these places.
    pub fn phrases(&self, places: Range<usize>) -> &[Source] {
        self.phrases.get(places).unwrap_or_default()
    }

    /// The pattern at `place`; `None` where there is none.
    pub fn engine(&self, place: usize) -> Option<Arc<Engine>> {
        if let Some(kept) = locked(&self.kept).get_mut(&place) {
            kept.is_used = true;
            return Some(Arc::clone(&kept.engine));
        }
        let phrase = self.phrases.get(place)?.clone();
        let set = Set::compile(std::iter::once(phrase.pattern()?.as_str()))?;
        let engine = Arc::new(Engine { phrase, set, finder: OnceLock::new() });
        let mut kept = locked(&self.kept);
        if taken(&kept) > MOST_BYTES {
            kept.retain(|_, kept| std::mem::take(&mut kept.is_used));
            // They are asked for in turn: to let go some each time would be to compile all the time.
            if taken(&kept) > MOST_BYTES / 2 {
                kept.clear();
            }
        }
        kept.insert(place, Kept { engine: Arc::clone(&engine), is_used: true });
        Some(engine)
    }
}

/// Bytes.
fn taken(kept: &HashMap<usize, Kept>) -> usize {
    kept.values().map(|kept| kept.engine.bytes()).sum()
}

impl Engine {
    /// Whether it matches somewhere in `text`.
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.set.is_match(text)
    }

    /// Its first places in `text`, `most` of them; none overlaps another.
    pub fn places(&self, text: &[u8], most: usize) -> Vec<Range<usize>> {
        if !self.is_match(text) {
            return Vec::new();
        }
        let finder = self.finder.get_or_init(|| Finder::compile(&self.phrase.pattern()?));
        finder.as_ref().map(|finder| finder.places(text, most)).unwrap_or_default()
    }

    fn bytes(&self) -> usize {
        let finder = self.finder.get().and_then(Option::as_ref).map_or(0, Finder::bytes);
        self.set.bytes.load(Ordering::Relaxed) + finder
    }
}

impl Finder {
    /// `None` where the pattern was not checked.
    fn compile(source: &str) -> Option<Self> {
        let config = meta::Config::new()
            .utf8_empty(false)
            .auto_prefilter(false)
            .which_captures(WhichCaptures::Implicit)
            .nfa_size_limit(None)
            .hybrid_cache_capacity(4 * CACHE)
            .onepass(false)
            .backtrack(false);
        let syntax = syntax::Config::new().unicode(false).utf8(false).multi_line(true);
        let regex = meta::Regex::builder().configure(config).syntax(syntax).build(source).ok()?;
        Some(Self { regex, caches: Mutex::default() })
    }

    fn places(&self, text: &[u8], most: usize) -> Vec<Range<usize>> {
        let free = locked(&self.caches).pop();
        let mut cache = free.unwrap_or_else(|| self.regex.create_cache());
        let mut search = Searcher::new(Input::new(text));
        let next = || search.advance(|input| Ok(self.regex.search_with(&mut cache, input)));
        let found = std::iter::from_fn(next).take(most).map(|found| found.range()).collect();
        locked(&self.caches).push(cache);
        found
    }

    fn bytes(&self) -> usize {
        self.regex.memory_usage() + locked(&self.caches).iter().map(meta::Cache::memory_usage).sum::<usize>()
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shelf({})", self.phrases.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PHRASES: [&str; 6] = [
        "delete (my|our) data",
        "^stop$",
        r"un[- ]?sub\w*",
        "no more (e-?mails?|mail)",
        "^(a|b)( c)*$",
        "übung",
    ];

    fn set() -> Patterns {
        Patterns::new(PHRASES.iter().map(|phrase| pattern(phrase)))
    }

    fn source(phrase: &str) -> Source {
        Source { text: phrase.into(), words: Arc::default() }
    }

    fn shelf() -> Shelf {
        Shelf::new(PHRASES.iter().map(|phrase| source(phrase)).collect())
    }

    #[test]
    fn nothing_matches_an_empty_set() {
        let none = Patterns::new(std::iter::empty());
        assert!(!none.is_match(b"text") && none.matches(b"text").is_empty());
        assert!(Shelf::new(Vec::new()).engine(0).is_none());
    }

    #[test]
    fn a_pattern_without_measure_is_refused() {
        assert!(check(&pattern(r"(\w+ ){0,200}x")).is_ok());
        assert_eq!(check(&pattern(r"((\w{99} ){99}){99}")).unwrap_err(), "repeats itself too often");
        assert!(check("(").is_err());
    }

    #[test]
    fn a_shelf_that_is_full_goes_on() {
        let sources = (0..400).map(|n| source(&format!(r"w{n}( \w+){{0,200}} end"))).collect();
        let shelf = Shelf::new(sources);
        for n in 0..400 {
            let text = format!("a w{n} b c end");
            let engine = shelf.engine(n).expect("a sound pattern");
            assert_eq!(engine.places(text.as_bytes(), 9).first(), Some(&(2..text.len())));
        }
        let kept = locked(&shelf.kept);
        assert!(kept.len() < 400, "{} kept", kept.len());
        assert!(taken(&kept) < 2 * MOST_BYTES);
    }

    #[test]
    fn what_a_set_takes_is_known_also_when_a_cache_is_thrown_away() {
        let set =
            Set::compile([pattern(r"(a|b)( \w){0,200} end").as_str()].into_iter()).expect("a sound pattern");
        let (mut before, mut was_thrown_away, mut state) = (0, false, 1_u32);
        for _ in 0..40 {
            let words = (0..400).flat_map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                [b"abcd"[(state >> 16) as usize % 4], b' ']
            });
            set.is_match(&words.collect::<Vec<u8>>());
            let cached: usize = locked(&set.caches).iter().map(Cache::memory_usage).sum();
            assert_eq!(set.bytes.load(Ordering::Relaxed), set.nfa.memory_usage() + cached);
            was_thrown_away |= cached < before;
            before = cached;
        }
        assert!(was_thrown_away);
    }

    proptest! {
        #[test]
        fn all_ways_say_what_each_pattern_says(
            text in "((delete|my|our|data|stop|un-sub|unsubscribe|no more|email|a|b|c|ubung|x)( |\n|-)){0,12}"
        ) {
            let (set, shelf) = (set(), shelf());
            let mut alone = Vec::new();
            for (index, phrase) in PHRASES.iter().enumerate() {
                let one = regex::bytes::RegexBuilder::new(&pattern(phrase))
                    .unicode(false)
                    .multi_line(true)
                    .build()
                    .expect("a sound pattern");
                let places: Vec<_> = one.find_iter(text.as_bytes()).map(|found| found.range()).collect();
                let engine = shelf.engine(index).expect("a sound pattern");
                prop_assert_eq!(engine.is_match(text.as_bytes()), !places.is_empty());
                prop_assert_eq!(engine.places(text.as_bytes(), usize::MAX), places.clone());
                if !places.is_empty() {
                    alone.push(index);
                }
            }
            prop_assert_eq!(set.matches(text.as_bytes()), alone.clone());
            prop_assert_eq!(set.is_match(text.as_bytes()), !alone.is_empty());
            let slowly = set.set().expect("sound patterns").slowly(text.as_bytes());
            prop_assert_eq!(slowly.iter().map(|p| p.as_usize()).collect::<Vec<_>>(), alone);
        }
    }
}
