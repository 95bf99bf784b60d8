//! Many patterns looked for at once.
//!
//! ## Why not `regex::RegexSet`
//! A set only ever asks which patterns match, never where. `RegexSet` prepares for the other question
//! too: a reversed automaton, and a search for literals, for each of the hundred sets and each thread that
//! reads mail. Together that was half of the daemon's memory. Here is the forward automaton alone, built
//! lazily as there, from the same crate's parts.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{self, NFA, pikevm::PikeVM};
use regex_automata::{Input, MatchKind, PatternSet};
use regex_syntax::hir::Hir;

use crate::literals::{Collector, Found, Need};

/// Bytes that one thread's states of one set may take before they are thrown away and built anew.
const CACHE: usize = 1 << 18;

/// Patterns compiled together.
pub struct Patterns {
    /// What each needs to match at all; empty if nobody collected it.
    needs: Vec<Need>,
    nfa: NFA,
    dfa: DFA,
    /// As many as there ever were searches at once. The engine's own pool keeps some for each of the threads
    /// that come and go.
    caches: Mutex<Vec<Cache>>,
}

/// Why patterns cannot be compiled together: one of them is none, or they are too large.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CannotCompile(String);

impl CannotCompile {
    /// As the engine words it.
    pub fn new(error: &dyn fmt::Display) -> Self {
        Self(error.to_string())
    }
}

impl From<regex::Error> for CannotCompile {
    fn from(error: regex::Error) -> Self {
        Self::new(&error)
    }
}

impl Patterns {
    /// Compiles patterns made by [`crate::text::pattern`].
    ///
    /// # Errors
    /// As the engine words it.
    pub fn new(patterns: impl Iterator<Item = String>) -> Result<Self, CannotCompile> {
        Self::compile(&parse(patterns)?)
    }

    /// The same, for [`may_match`](Self::may_match).
    ///
    /// # Errors
    /// As the engine words it.
    pub fn collected(
        patterns: impl Iterator<Item = String>,
        collector: &mut Collector,
    ) -> Result<Self, CannotCompile> {
        let trees = parse(patterns)?;
        let needs = trees.iter().map(|tree| collector.need(tree)).collect();
        Ok(Self { needs, ..Self::compile(&trees)? })
    }

    fn compile(trees: &[Hir]) -> Result<Self, CannotCompile> {
        let config = thompson::Config::new()
            .utf8(false)
            .nfa_size_limit(Some(64 << 20))
            .which_captures(thompson::WhichCaptures::None);
        let nfa = thompson::Compiler::new()
            .configure(config)
            .build_many_from_hir(trees)
            .map_err(|error| CannotCompile::new(&error))?;
        let config =
            DFA::config().match_kind(MatchKind::All).cache_capacity(CACHE).skip_cache_capacity_check(true);
        let dfa = DFA::builder()
            .configure(config)
            .build_from_nfa(nfa.clone())
            .map_err(|error| CannotCompile::new(&error))?;
        Ok(Self { needs: Vec::new(), nfa, dfa, caches: Mutex::default() })
    }

    /// Whether one of them might match the text in which `found` was found.
    pub fn may_match(&self, found: &Found) -> bool {
        self.needs.is_empty() || self.needs.iter().any(|need| found.meets(need))
    }

    /// A search with a cache that nobody else has.
    fn with_cache<T>(&self, search: impl FnOnce(&mut Cache) -> T) -> T {
        let spare = || self.caches.lock().unwrap_or_else(PoisonError::into_inner);
        let free = spare().pop();
        let mut cache = free.unwrap_or_else(|| self.dfa.create_cache());
        let found = search(&mut cache);
        spare().push(cache);
        found
    }

    /// Whether any of them matches somewhere in `text`.
    pub fn is_match(&self, text: &[u8]) -> bool {
        let input = Input::new(text).earliest(true);
        match self.with_cache(|cache| self.dfa.try_search_fwd(cache, &input)) {
            Ok(found) => found.is_some(),
            Err(_) => self.slowly(text).iter().next().is_some(),
        }
    }

    /// Which of them match somewhere in `text`, by their place, in order.
    pub fn matches(&self, text: &[u8]) -> Vec<usize> {
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

fn parse(patterns: impl Iterator<Item = String>) -> Result<Vec<Hir>, CannotCompile> {
    let mut grammar = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).multi_line(true).build();
    patterns.map(|it| grammar.parse(&it).map_err(|error| CannotCompile::new(&error))).collect()
}

impl fmt::Debug for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Patterns({})", self.nfa.pattern_len())
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
        Patterns::new(PHRASES.iter().map(|phrase| pattern(phrase))).expect("sound patterns")
    }

    #[test]
    fn nothing_matches_an_empty_set() {
        let none = Patterns::new(std::iter::empty()).expect("no patterns");
        assert!(!none.is_match(b"text") && none.matches(b"text").is_empty());
    }

    proptest! {
        #[test]
        fn the_set_says_what_each_pattern_says(
            text in "((delete|my|our|data|stop|un-sub|unsubscribe|no more|email|a|b|c|ubung|x)( |\n|-)){0,12}"
        ) {
            let set = set();
            let alone: Vec<usize> = (0..PHRASES.len())
                .filter(|index| {
                    let one = regex::bytes::RegexBuilder::new(&pattern(PHRASES[*index]))
                        .unicode(false)
                        .multi_line(true)
                        .build()
                        .expect("a sound pattern");
                    one.is_match(text.as_bytes())
                })
                .collect();
            prop_assert_eq!(set.matches(text.as_bytes()), alone.clone());
            prop_assert_eq!(set.is_match(text.as_bytes()), !alone.is_empty());
            let slowly: Vec<usize> = set.slowly(text.as_bytes()).iter().map(|p| p.as_usize()).collect();
            prop_assert_eq!(slowly, alone);
        }
    }
}
