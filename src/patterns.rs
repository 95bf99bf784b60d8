//! Patterns, compiled when they are first searched for.
//!
//! The rules of eighteen languages are thousands of patterns, and a mail meets a handful of them. So
//! [`check`] sees at the start that each compiles and how large it may become, and what is never asked for
//! takes no more room than its text.
//!
//! ## Why not `regex::RegexSet`
//! A set ([`Patterns`]) only ever asks which patterns match, never where. `RegexSet` prepares for the other
//! question too: a reversed automaton, and a search for literals, for each set and each thread that reads
//! mail. These are the same crate's parts. Phrases, of which there are too many, are searched for one by one:
//! [`crate::shelf`].

use std::fmt;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures, pikevm::PikeVM};
use regex_automata::{Anchored, Input, MatchKind, PatternSet};
use regex_syntax::hir::{Hir, HirKind, Look};

/// Bytes that one thread's states of one automaton may take before they are thrown away and built anew.
const CACHE: usize = 1 << 18;

/// A pattern that repeats itself into more states than this is refused. The largest built-in one has a tenth.
const MOST_STATES: usize = 50_000;

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

/// Whether whatever `pattern` matches begins at the beginning of a line.
pub fn begins_lines(pattern: &str) -> bool {
    parse(pattern).is_ok_and(|tree| begins_line(&tree))
}

fn begins_line(tree: &Hir) -> bool {
    tree.properties().look_set_prefix().contains(Look::StartLF)
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
    /// Whether each begins at the beginning of a line. In a single line then only one place is looked at, not each to no
    /// avail.
    begins_lines: bool,
    /// As many as there ever were searches at once. The engine's own pool keeps some for each of the threads
    /// that come and go.
    caches: Mutex<Vec<Cache>>,
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
        let begins_lines = trees.iter().all(begins_line);
        let config = thompson::Config::new().utf8(false).which_captures(WhichCaptures::None);
        let nfa = thompson::Compiler::new().configure(config).build_many_from_hir(&trees).ok()?;
        let config =
            DFA::config().match_kind(MatchKind::All).cache_capacity(CACHE).skip_cache_capacity_check(true);
        let dfa = DFA::builder().configure(config).build_from_nfa(nfa.clone()).ok()?;
        Some(Self { nfa, dfa, begins_lines, caches: Mutex::default() })
    }

    /// A search with a cache that nobody else has.
    fn with_cache<T>(&self, search: impl FnOnce(&mut Cache) -> T) -> T {
        let free = locked(&self.caches).pop();
        let mut cache = free.unwrap_or_else(|| self.dfa.create_cache());
        let found = search(&mut cache);
        locked(&self.caches).push(cache);
        found
    }

    fn input<'t>(&self, text: &'t [u8]) -> Input<'t> {
        let is_anchored = self.begins_lines && !text.contains(&b'\n');
        Input::new(text).anchored(if is_anchored { Anchored::Yes } else { Anchored::No })
    }

    fn is_match(&self, text: &[u8]) -> bool {
        let input = self.input(text).earliest(true);
        match self.with_cache(|cache| self.dfa.try_search_fwd(cache, &input)) {
            Ok(found) => found.is_some(),
            Err(_) => !self.slowly(text).is_empty(),
        }
    }

    fn matches(&self, text: &[u8]) -> Vec<usize> {
        let mut found = PatternSet::new(self.nfa.pattern_len());
        let input = self.input(text);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::pattern;

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

    /// Those that begin lines, of which a line is searched otherwise.
    fn of_lines() -> Patterns {
        let begin_lines = PHRASES.iter().filter(|phrase| phrase.starts_with('^'));
        Patterns::new(begin_lines.map(|phrase| pattern(phrase)))
    }

    #[test]
    fn nothing_matches_an_empty_set() {
        let none = Patterns::new(std::iter::empty());
        assert!(!none.is_match(b"text") && none.matches(b"text").is_empty());
    }

    #[test]
    fn a_pattern_without_measure_is_refused() {
        assert!(check(&pattern(r"(\w+ ){0,200}x")).is_ok());
        assert_eq!(check(&pattern(r"((\w{99} ){99}){99}")).unwrap_err(), "repeats itself too often");
        assert!(check("(").is_err());
    }

    proptest! {
        #[test]
        fn a_set_says_what_each_pattern_says(
            text in "((delete|my|our|data|stop|un-sub|unsubscribe|no more|email|a|b|c|ubung|x)( |\n|-)){0,12}"
        ) {
            let set = set();
            let mut alone = Vec::new();
            for (index, phrase) in PHRASES.iter().enumerate() {
                let one = regex::bytes::RegexBuilder::new(&pattern(phrase))
                    .unicode(false)
                    .multi_line(true)
                    .build()
                    .expect("a sound pattern");
                if one.is_match(text.as_bytes()) {
                    alone.push(index);
                }
            }
            prop_assert_eq!(set.matches(text.as_bytes()), alone.clone());
            prop_assert_eq!(set.is_match(text.as_bytes()), !alone.is_empty());
            let slowly = set.set().expect("sound patterns").slowly(text.as_bytes());
            prop_assert_eq!(slowly.iter().map(|p| p.as_usize()).collect::<Vec<_>>(), alone.clone());
            let of_lines = of_lines();
            prop_assert!(of_lines.set().expect("sound patterns").begins_lines);
            prop_assert_eq!(
                of_lines.is_match(text.as_bytes()),
                alone.iter().any(|place| PHRASES[*place].starts_with('^'))
            );
        }
    }
}
