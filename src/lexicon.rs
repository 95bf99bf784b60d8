//! The phrases of one language, looked for in a text, and the guards that take them their force.
//!
//! A phrase is looked for only in lines (sentences) that have the words it cannot do without, see
//! [`crate::literals`]; so are the guards of a sentence in which one was found. A mail that asks for nothing
//! costs one pass over its words.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use crate::language::{LanguageFile, Words};
use crate::literals::{Candidate, Collector, Found, Literals};
use crate::needles::Sight;
use crate::request::{Strength, Table};
use crate::shelf::{Classes, Shelf, Source, effort};

/// Of one phrase no more than so many places are looked at, and of a mail no more than
/// [`MOST_PLACES`]: a mail that repeats itself says nothing new.
const PLACES_EACH: usize = 20;
const MOST_PLACES: usize = 500;

/// So many bytes of a mail are looked through, counted once for each pattern that may be there: that takes some 20 ms. None
/// of the letters in `tests` needs a sixteenth of it; what is left of a mail that needs more is for a person.
const MOST_READ: usize = 4 << 20;

/// Guards that are looked for around a phrase, as far as [`MOST_READ`] is concerned.
const GUARDS: usize = 16;

/// The guard of a phrase that is denied.
pub const NEGATED: &str = "negated";

/// The guard of a phrase of whose opposite is asked: "keep my account".
pub const KEPT: &str = "kept";

/// What takes a phrase its force that somebody only tells of.
pub const REPORTED: &str = "reported";

/// The same, where it is the sender who tells what they have asked for before.
pub const ASKED: &str = "asked before";

/// What [`crate::language::Guards::others`] say of a whole mail.
pub const ABOUT_ANOTHER: &str = "it may be about somebody else";

/// What guards of a whole mail say; the second those of `retracted`.
const MAIL_GUARDS: [&str; 2] = [ABOUT_ANOTHER, "a wish and its withdrawal"];

/// One phrase of one type.
pub struct Phrase {
    /// Its type, by index in [`Table::types`].
    pub kind: usize,
    /// How much it weighs.
    pub strength: Strength,
    /// Its name in explanations.
    pub name: String,
    /// Whether it is the operator's.
    pub is_own: bool,
    /// Whether its type may be put as a question, a condition or a report.
    any_mood: bool,
    /// Whether its type is an opt-out.
    opts_out: bool,
    /// See [`Lexicon::denies`].
    denies: OnceLock<bool>,
}

/// The patterns of one language: the phrases of every type, and behind them the guards.
pub struct Lexicon {
    /// The language.
    pub code: String,
    phrases: Vec<Phrase>,
    guards: Guards,
    /// Where they begin among the patterns of all languages, and how many they are.
    first: usize,
    count: usize,
}

/// Guards, by their place among the patterns of their language.
struct Guards {
    before: [(&'static str, Range<usize>); 2],
    polite: Range<usize>,
    after: Range<usize>,
    inside: Range<usize>,
    sentence: [(&'static str, Range<usize>); 5],
    /// In the order of [`MAIL_GUARDS`].
    mail: [Range<usize>; 2],
    trade: Range<usize>,
}

/// One phrase that was found.
pub struct Hit<'a> {
    /// The phrase.
    pub phrase: &'a Phrase,
    /// Its language.
    pub language: &'a str,
    /// Where it stands with its full force.
    pub free: Vec<Range<usize>>,
    /// Where a guard takes its force.
    guarded: Vec<(Range<usize>, &'static str)>,
    /// The guard that takes its force, where it stands nowhere free.
    pub guard: Option<&'static str>,
    /// Whether it is denied somewhere, even if it stands free elsewhere.
    pub negated: bool,
    /// The first place at which it stands, free if it is anywhere.
    pub place: Range<usize>,
    /// At how many places it was looked at.
    seen: usize,
    /// Place of its language, and its own among those of its language.
    order: (usize, usize),
}

/// What was found in a text, and what may be.
#[derive(Default)]
pub struct Finds<'a> {
    /// The phrases, in the order of their languages and names.
    pub hits: Vec<Hit<'a>>,
    /// Guards of the whole mail that might match, each with the place to look at.
    guards: Vec<(&'a Lexicon, usize, Range<usize>)>,
    places: usize,
    /// Bytes looked through, a pattern at a time.
    read: usize,
}

/// A text that is being looked through in one language.
pub struct Search<'a> {
    lexicon: &'a Lexicon,
    order: usize,
    literals: &'a Literals,
    found: Found,
    candidates: Vec<Candidate>,
    /// The lines looked through.
    lines: Vec<Range<usize>>,
    /// Patterns that may reach over the ends of lines, with the first and the last line that they may match in.
    across: Vec<(u32, Range<usize>)>,
}

impl Lexicon {
    /// The phrases of the language with this index in `table`. Its patterns are put behind `sources`.
    pub fn new(table: &Table, index: usize, sources: &mut Vec<Source>) -> Option<Self> {
        let (code, language) = table.languages.get(index)?;
        let first = sources.len();
        let classes = Arc::new(Classes::new(language.words.clone()));
        let of_kind = |kind: usize| {
            table.phrases.iter().filter(move |phrase| phrase.language == index && phrase.kind == kind)
        };
        let mut phrases = Vec::new();
        for phrase in (0..table.types.len()).flat_map(of_kind) {
            sources.push(Source { text: Arc::clone(&phrase.text), classes: Arc::clone(&classes) });
            phrases.push(Phrase {
                kind: phrase.kind,
                strength: phrase.strength,
                name: phrase.name.clone(),
                is_own: phrase.is_own,
                any_mood: table.types.get(phrase.kind).is_some_and(|kind| kind.any_mood),
                opts_out: table.types.get(phrase.kind).is_some_and(|kind| kind.action.opts_out()),
                denies: OnceLock::new(),
            });
        }
        let guards = Guards::new(language, &classes, first, sources);
        let count = sources.len() - first;
        Some(Self { code: code.clone(), phrases, guards, first, count })
    }

    /// Begins to look through a text for what needs `literals`, which are this language's. `order` is its place among all.
    pub fn search<'a>(&'a self, order: usize, literals: &'a Literals) -> Search<'a> {
        let (found, candidates) = (literals.nothing(), Vec::new());
        Search { lexicon: self, order, literals, found, candidates, lines: Vec::new(), across: Vec::new() }
    }

    /// What the patterns need, and the literals to be looked for.
    pub fn literals(&self, shelf: &Shelf) -> (Literals, Vec<Vec<u8>>) {
        let sources = shelf.phrases(self.first..self.first + self.count);
        let no_words = Words::new();
        let mut collector =
            Collector::new(sources.first().map_or(&no_words, |source| source.classes.words()));
        for (place, source) in sources.iter().enumerate() {
            collector.add(&source.text, place < self.phrases.len() || self.guards.is_of_mail(place));
        }
        collector.finish()
    }

    /// Whether one of these patterns matches `part`, of those that `may` match.
    fn matches(
        &self,
        shelf: &Shelf,
        places: &Range<usize>,
        part: &[u8],
        may: impl Fn(usize) -> bool,
    ) -> bool {
        places.clone().any(|place| may(place) && shelf.is_match(self.first + place, part))
    }

    /// Whether the pattern of the phrase at `index` speaks of a denial, which then is part of the wish ("no more
    /// mail").
    fn denies(&self, shelf: &Shelf, index: usize) -> bool {
        let speaks_of_one = || {
            let pattern = shelf.phrases(self.first + index..self.first + index + 1).first()?.pattern()?;
            // An edge of a word is no letter of it.
            let words = pattern.replace(r"\b", " ");
            Some(self.matches(shelf, &self.guards.inside, words.as_bytes(), |_| true))
        };
        let phrase = self.phrases.get(index);
        phrase.is_some_and(|phrase| *phrase.denies.get_or_init(|| speaks_of_one().unwrap_or(false)))
    }

    /// Whether the phrase at `index`, found as `words`, says a denial itself. One whose pattern could, but that was found
    /// without any, is denied as any other.
    fn says_denial(&self, shelf: &Shelf, index: usize, words: &[u8], may: impl Fn(usize) -> bool) -> bool {
        self.denies(shelf, index) && self.matches(shelf, &self.guards.inside, words, may)
    }

    /// The guard that takes the phrase at `index` its force at `place` of `text`, if one does. `may` says
    /// which guards might match there.
    fn against(
        &self,
        shelf: &Shelf,
        text: &str,
        place: Range<usize>,
        index: usize,
        may: impl Fn(usize) -> bool + Copy,
    ) -> Option<&'static str> {
        // In bytes: a phrase may end within a letter of several.
        let text = text.as_bytes();
        let around = sentence(text, &place);
        let before = text.get(around.start..place.start)?;
        let after = text.get(place.end..around.end)?;
        let sentence = text.get(around)?;
        let words = text.get(place)?;
        let hit = |guards: &[(&'static str, Range<usize>)], part: &[u8]| {
            guards.iter().find(|(_, it)| self.matches(shelf, it, part, may)).map(|(name, _)| *name)
        };
        let Guards { after: behind, inside, polite, .. } = &self.guards;
        let Phrase { any_mood, opts_out, .. } = *self.phrases.get(index)?;
        let is_denied = || {
            (self.matches(shelf, behind, after, may) || !any_mood && self.matches(shelf, inside, words, may))
                && !self.says_denial(shelf, index, words, may)
        };
        hit(&self.guards.before, before)
            .filter(|guard| *guard != NEGATED || !self.matches(shelf, polite, before, may))
            .or_else(|| is_denied().then_some(NEGATED))
            .or_else(|| if any_mood { None } else { hit(&self.guards.sentence, sentence) })
            // The last of them, so that no other is hidden by it.
            .filter(|guard| *guard != ASKED || !opts_out)
    }
}

/// The sentence, or sentences, around a place of a text with one in each line.
pub fn sentence(text: &[u8], place: &Range<usize>) -> Range<usize> {
    let is_end = |byte: &u8| *byte == b'\n';
    let head = text.get(..place.start).unwrap_or_default();
    let tail = text.get(place.end..).unwrap_or_default();
    let from = head.iter().rposition(is_end).map_or(0, |at| at + 1);
    from..tail.iter().position(is_end).map_or(text.len(), |at| place.end + at)
}

impl<'a> Search<'a> {
    /// Looks through the next line of `text`, in which these literals and so many blanks are, or passes over it.
    pub fn line(
        &mut self,
        shelf: &Shelf,
        text: &str,
        line: Range<usize>,
        seen: (&[Sight], u32),
        finds: &mut Finds<'a>,
    ) {
        let Self { literals, found, .. } = self;
        let mut candidates = std::mem::take(&mut self.candidates);
        literals.next_line(line.len(), seen, found, &mut candidates);
        let number = self.lines.len();
        self.lines.push(line.clone());
        for Candidate { pattern, lines } in &candidates {
            match lines.map(|lines| lines as usize) {
                Some(0) => self.look(shelf, text, *pattern, line.clone(), finds, |literals, found, guard| {
                    literals.may_match_line(guard, found)
                }),
                Some(lines) => {
                    self.across.push((*pattern, number.saturating_sub(lines)..number.saturating_add(lines)));
                }
                None => self.across.push((*pattern, 0..usize::MAX)),
            }
        }
        self.candidates = candidates;
    }

    /// Looks for what may reach over the ends of lines, when all have been looked through.
    pub fn end(mut self, shelf: &Shelf, text: &str, finds: &mut Finds<'a>) {
        let mut across = std::mem::take(&mut self.across);
        across.sort_unstable_by_key(|(pattern, lines)| (*pattern, lines.start, lines.end));
        let next_to = |one: &(u32, Range<usize>), next: &(u32, Range<usize>)| {
            one.0 == next.0 && next.1.start <= one.1.end
        };
        for group in across.chunk_by(next_to) {
            let (Some((pattern, Range { start, .. })), Some((_, Range { end, .. }))) =
                (group.first(), group.last())
            else {
                continue;
            };
            // With what lies between in other languages.
            let before = start.checked_sub(1).and_then(|line| self.lines.get(line));
            let from = before.map_or(0, |line| line.end);
            let to = self.lines.get(end.saturating_add(1)).map_or(text.len(), |line| line.start);
            self.look(shelf, text, *pattern, from..to, finds, |literals, found, guard| {
                literals.may_match(guard, found)
            });
        }
    }

    /// Looks for the pattern at `place` within `scope`.
    fn look(
        &self,
        shelf: &Shelf,
        text: &str,
        place: u32,
        scope: Range<usize>,
        finds: &mut Finds<'a>,
        may: impl Fn(&Literals, &Found, u32) -> bool,
    ) {
        let (lexicon, place) = (self.lexicon, place as usize);
        let Some(phrase) = lexicon.phrases.get(place) else {
            if lexicon.guards.is_of_mail(place) {
                finds.guards.push((lexicon, place, scope));
            }
            return;
        };
        finds.read = finds.read.saturating_add(effort(scope.len()));
        if finds.is_too_much() {
            return;
        }
        let order = (self.order, place);
        let known = finds.hits.iter().position(|hit| hit.order == order);
        let seen = known.and_then(|known| finds.hits.get(known)).map_or(0, |hit| hit.seen);
        let most = PLACES_EACH.saturating_sub(seen).min(MOST_PLACES - finds.places);
        let bytes = text.as_bytes().get(scope.clone()).unwrap_or_default();
        for found in shelf.places(lexicon.first + place, bytes, most) {
            if finds.is_too_much() {
                return;
            }
            let found = scope.start + found.start..scope.start + found.end;
            let may = |guard: usize| u32::try_from(guard).is_ok_and(|it| may(self.literals, &self.found, it));
            let guard = lexicon.against(shelf, text, found.clone(), place, may);
            finds.read = finds.read.saturating_add(GUARDS * effort(sentence(text.as_bytes(), &found).len()));
            finds.add((phrase, &lexicon.code), order, found, guard);
        }
    }
}

impl<'a> Finds<'a> {
    /// Whether there was more to look through than is worth it, and not all of it was.
    pub fn is_too_much(&self) -> bool {
        self.read > MOST_READ || self.places >= MOST_PLACES
    }

    /// Takes all of it for more than that.
    pub fn give_up(&mut self) {
        self.read = usize::MAX;
    }

    /// The first of the guards of the whole mail that matches: why nothing may be done by a program.
    pub fn doubt(&self, shelf: &Shelf, text: &str) -> Option<&'static str> {
        MAIL_GUARDS
            .into_iter()
            .enumerate()
            .find_map(|(index, why)| self.has(shelf, text, |guards| guards.mail.get(index)).then_some(why))
    }

    /// Whether the mail is about an order, a parcel or a bill.
    pub fn is_about_trade(&self, shelf: &Shelf, text: &str) -> bool {
        self.has(shelf, text, |guards| Some(&guards.trade))
    }

    fn has(&self, shelf: &Shelf, text: &str, which: impl Fn(&Guards) -> Option<&Range<usize>>) -> bool {
        self.guards.iter().any(|(lexicon, place, scope)| {
            which(&lexicon.guards).is_some_and(|guards| guards.contains(place))
                && shelf
                    .is_match(lexicon.first + place, text.as_bytes().get(scope.clone()).unwrap_or_default())
        })
    }

    /// Takes in a place of a phrase, and the guard that takes its force there.
    fn add(
        &mut self,
        (phrase, language): (&'a Phrase, &'a str),
        order: (usize, usize),
        place: Range<usize>,
        guard: Option<&'static str>,
    ) {
        self.places += 1;
        let known = self.hits.iter().position(|hit| hit.order == order);
        let known = known.unwrap_or_else(|| {
            let place = place.clone();
            let (free, guarded) = (Vec::new(), Vec::new());
            self.hits.push(Hit {
                phrase,
                language,
                free,
                guarded,
                guard: None,
                negated: false,
                place,
                seen: 0,
                order,
            });
            self.hits.len() - 1
        });
        let Some(hit) = self.hits.get_mut(known) else { return };
        hit.seen += 1;
        match guard {
            None => {
                if hit.free.is_empty() {
                    hit.place = place.clone();
                }
                hit.free.push(place);
            }
            Some(guard) => hit.guarded.push((place, guard)),
        }
    }

    /// Takes a phrase its force where a phrase of another language, of the same type, has lost it: "non chiedo
    /// la cancellazione ex art. 17 GDPR" holds English words and no English denial. What speaks of a denial
    /// itself keeps its force. Then every phrase is told what guards it.
    pub fn guard_across_languages(&mut self, lexicons: &[Lexicon], shelf: &Shelf, text: &str) {
        let mut guarded: Vec<(usize, usize, Range<usize>, &'static str)> = Vec::new();
        for hit in &self.hits {
            let (kind, language) = (hit.phrase.kind, hit.order.0);
            guarded.extend(hit.guarded.iter().map(|(place, guard)| (kind, language, place.clone(), *guard)));
        }
        for hit in &mut self.hits {
            let (mine, (here, index)) = (hit.phrase.kind, hit.order);
            if !guarded.is_empty() && !hit.free.is_empty() {
                let taken = &mut hit.guarded;
                hit.free.retain(|place| {
                    let words = text.as_bytes().get(place.clone()).unwrap_or_default();
                    let lexicon = lexicons.get(here);
                    let says_denial =
                        || lexicon.is_some_and(|it| it.says_denial(shelf, index, words, |_| true));
                    let guard = guarded.iter().find(|(kind, language, other, _)| {
                        *kind == mine
                            && *language != here
                            && place.start < other.end
                            && other.start < place.end
                            && !says_denial()
                    });
                    taken.extend(guard.map(|(.., guard)| (place.clone(), *guard)));
                    guard.is_none()
                });
            }
            hit.negated = hit.guarded.iter().any(|(_, guard)| *guard == NEGATED);
            hit.guard = hit.guarded.first().filter(|_| hit.free.is_empty()).map(|(_, guard)| *guard);
        }
    }

    /// Puts the phrases into their order.
    pub fn sort(&mut self) {
        self.hits.sort_unstable_by_key(|hit| hit.order);
    }
}

impl Guards {
    /// Puts the guards of `language` behind `sources`, where its own patterns begin at `first`.
    fn new(language: &LanguageFile, classes: &Arc<Classes>, first: usize, sources: &mut Vec<Source>) -> Self {
        let guards = &language.guards;
        let mut take = |patterns: &[String]| {
            let from = sources.len() - first;
            let source = |text: &String| Source { text: text.as_str().into(), classes: Arc::clone(classes) };
            sources.extend(patterns.iter().map(source));
            from..sources.len() - first
        };
        Self {
            before: [(NEGATED, take(&guards.negated)), (KEPT, take(&guards.kept))],
            polite: take(&guards.polite),
            after: take(&guards.after),
            inside: take(&guards.inside),
            sentence: [
                ("asking", take(&guards.asking)),
                ("conditional", take(&guards.conditional)),
                // "I asked you to delete it, that was a mistake" is more than a report.
                ("the opposite", take(&guards.wanted)),
                (REPORTED, take(&guards.reported)),
                (ASKED, take(&guards.asked)),
            ],
            mail: [take(&guards.others), take(&guards.retracted)],
            trade: take(&guards.trade),
        }
    }

    /// Whether the pattern at `place` is a guard of the whole mail.
    fn is_of_mail(&self, place: usize) -> bool {
        self.trade.contains(&place) || self.mail.iter().any(|guards| guards.contains(&place))
    }
}
