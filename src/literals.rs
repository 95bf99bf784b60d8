//! Which patterns can match a line at all, by the words that each cannot do without.
//!
//! Most phrases have nothing to do with most mails, and least of all with one sentence of them. One pass
//! over a line ([`crate::needles`]) finds the literals of all patterns; only a pattern that has all of its own
//! there, in their order and no further apart than it lets them be, is looked for in earnest. A phrase says
//! "(delete|erase)( \w+){0,3} (data|account)", so there must be one of the first, and one of the second no more than
//! four words behind it. The idea is RE2's (FilteredRE2); the literals are read from the pattern's own syntax tree, so
//! they cannot differ from it. It never decides: what it lets through is searched as if it were not there.

use std::collections::HashMap;
use std::rc::Rc;

use regex_syntax::hir::{Class, Hir, HirKind};

use crate::language::{CLASSES_IN_CLASSES, MARKS, Words, marked};
use crate::lists::{Lists, number};
use crate::needles::Sight;
use crate::patterns;
use crate::text::unbound_pattern;

/// A choice of literals, in order, each once: one of them must be in the text.
type Choice = Vec<Vec<u8>>;

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

/// Of a chain so many choices are asked for, the most telling ones.
const MOST_LINKS: usize = 4;

/// A pattern may be so many chains, of which one must be in the text.
const MOST_CHAINS: usize = 6;

/// A pattern that may reach over more ends of lines than this is looked for in the whole text.
const MOST_LINES: u32 = 8;

/// Where so many literals are found together, nobody looks how they stand to each other.
const MOST_SEEN: usize = 1000;

/// Collects what patterns need, in their order.
pub struct Collector<'a> {
    classes: Classes<'a>,
    choices: HashMap<Choice, u32>,
    needs: Vec<Box<[Box<[Link]>]>>,
    lines: Vec<u32>,
    /// Patterns that lines are to name.
    called: Vec<u32>,
}

/// Which patterns of a language need which literals.
#[derive(Debug)]
pub struct Literals {
    /// For each literal how many words end in it.
    breaks: Vec<u32>,
    /// For each literal the patterns that are to be thought of when it is found.
    calls: Lists<u32>,
    /// Patterns to be thought of in any case.
    always: Vec<u32>,
    /// For each pattern the chains of which it needs one. Nothing is known of a pattern without any.
    needs: Vec<Box<[Box<[Link]>]>>,
    /// For each pattern over how many ends of lines it may reach.
    lines: Vec<u32>,
    /// For each choice its literals, in order.
    choices: Lists<u32>,
    /// For each literal the choices that it is one of.
    of_literal: Lists<u32>,
}

/// A choice that a pattern needs, behind another one.
#[derive(Debug, Clone, Copy)]
struct Link {
    choice: u32,
    /// So many words may end between them.
    gap: u32,
}

/// Which literals a text has, as far as its lines have been looked at.
#[derive(Debug)]
pub struct Found {
    /// Which are in the last line.
    now: Bits,
    /// Of which choices one is there.
    chosen_now: Bits,
    /// Of which choices one is anywhere in the text: more than in the lines that a pattern across some may match in, which
    /// costs a look that finds nothing, and hides none.
    chosen: Bits,
    line: u32,
    /// The patterns that the last line calls, kept for its room.
    called: Vec<u32>,
    /// Where the literals of the last lines are.
    seen: Vec<Seen>,
    /// Where among those each line begins.
    lines: Vec<usize>,
    /// Bytes of the lines before, and the words that ended in them.
    offset: usize,
    breaks: u32,
}

/// A set of numbers.
#[derive(Debug)]
struct Bits(Box<[u64]>);

impl Bits {
    fn none(of: usize) -> Self {
        Self(vec![0; of.div_ceil(64)].into())
    }

    fn has(&self, number: u32) -> bool {
        self.0.get(number as usize / 64).is_some_and(|bits| bits & 1 << (number % 64) != 0)
    }

    /// Whether it was not there before.
    fn add(&mut self, number: u32) -> bool {
        let Some(bits) = self.0.get_mut(number as usize / 64) else { return false };
        let before = *bits;
        *bits |= 1 << (number % 64);
        *bits != before
    }
}

/// A literal at its place.
#[derive(Debug, Clone, Copy)]
struct Seen {
    literal: u32,
    place: (usize, usize),
    /// So many words ended before its own end.
    breaks: u32,
}

/// A pattern that might match within lines.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// The pattern.
    pub pattern: u32,
    /// It may reach over so many ends of lines, in either direction; `None` is over more than `MOST_LINES`.
    pub lines: Option<u32>,
}

impl<'a> Collector<'a> {
    /// For patterns in which these classes of words stand.
    pub fn new(words: &'a Words) -> Self {
        Self {
            classes: Classes::of(words),
            choices: HashMap::new(),
            needs: Vec::new(),
            lines: Vec::new(),
            called: Vec::new(),
        }
    }

    /// Takes the next pattern, that of `phrase`. Where it `is_called`, lines that it might match name it;
    /// else it can only be asked for.
    pub fn add(&mut self, phrase: &str, is_called: bool) {
        let part = self.classes.part(phrase);
        let chains = part.needs.chains();
        let is_known = !chains.iter().any(|chain| chain.links.is_empty());
        let chains = chains.into_iter().filter(|_| is_known).map(|chain| self.links(chain));
        let chains: Box<[Box<[Link]>]> = chains.collect();
        if is_called {
            self.called.push(number(self.needs.len()));
        }
        self.needs.push(chains);
        self.lines.push(part.lines);
    }

    /// The most telling links of `chain`.
    fn links(&mut self, chain: Chain) -> Box<[Link]> {
        let mut order: Vec<usize> = (0..chain.links.len()).collect();
        order
            .sort_by_key(|place| std::cmp::Reverse(chain.links.get(*place).map(|(choice, _)| worth(choice))));
        let kept = order.get(..MOST_LINKS.min(order.len())).unwrap_or_default();
        let mut links = Vec::new();
        let mut before = 0;
        for (place, (choice, gap)) in chain.links.into_iter().enumerate() {
            let gap = add(before, gap);
            if kept.contains(&place) {
                let (choice, tail) = shortened(&choice);
                let next = number(self.choices.len());
                links.push(Link { choice: *self.choices.entry(choice).or_insert(next), gap });
                before = tail;
            } else {
                before = add(gap, most_breaks(&choice));
            }
        }
        links.into()
    }

    /// What was collected, and the literals that [`crate::needles`] are to look for.
    pub fn finish(self) -> (Literals, Vec<Vec<u8>>) {
        let mut places: HashMap<Vec<u8>, u32> = HashMap::new();
        let mut choices = vec![Vec::new(); self.choices.len()];
        let mut worths = vec![(0, 0); self.choices.len()];
        for (choice, place) in self.choices {
            if let Some(slot) = worths.get_mut(place as usize) {
                *slot = worth(&choice);
            }
            let literals = choice.iter().map(|literal| {
                let next = number(places.len());
                *places.entry(literal.clone()).or_insert(next)
            });
            let mut literals: Vec<u32> = literals.collect();
            literals.sort_unstable();
            if let Some(slot) = choices.get_mut(place as usize) {
                *slot = literals;
            }
        }
        let mut literals = vec![Vec::new(); places.len()];
        for (literal, place) in places {
            if let Some(slot) = literals.get_mut(place as usize) {
                *slot = literal;
            }
        }
        let breaks = literals.iter().map(|literal| breaks(literal)).collect();
        let mut calls = vec![Vec::new(); literals.len()];
        let mut always = Vec::new();
        for pattern in self.called {
            let chains = self.needs.get(pattern as usize).map_or(&[][..], |chains| chains);
            if chains.is_empty() {
                always.push(pattern);
            }
            // Of several lines all that it needs has been seen when the last of it is; of one line at once.
            let is_of_line = self.lines.get(pattern as usize) == Some(&0);
            let caller = |chain: &[Link]| {
                let telling = || chain.iter().max_by_key(|link| worths.get(link.choice as usize));
                if is_of_line { telling().copied() } else { chain.last().copied() }
            };
            for link in chains.iter().filter_map(|chain| caller(chain)) {
                for literal in choices.get(link.choice as usize).into_iter().flatten() {
                    match calls.get_mut(*literal as usize) {
                        Some(calls) if calls.last() != Some(&pattern) => calls.push(pattern),
                        _ => {}
                    }
                }
            }
        }
        let mut of_literal = vec![Vec::new(); literals.len()];
        for (choice, its) in (0..).zip(&choices) {
            for literal in its {
                if let Some(slot) = of_literal.get_mut(*literal as usize) {
                    slot.push(choice);
                }
            }
        }
        let Self { needs, lines, .. } = self;
        let [calls, choices, of_literal] = [calls, choices, of_literal].map(|lists| packed(&lists));
        (Literals { breaks, calls, always, needs, lines, choices, of_literal }, literals)
    }
}

impl Literals {
    /// Of a text of which no line has been looked at.
    pub fn nothing(&self) -> Found {
        Found {
            now: Bits::none(self.breaks.len()),
            chosen_now: Bits::none(self.choices.len()),
            chosen: Bits::none(self.choices.len()),
            line: 0,
            called: Vec::new(),
            seen: Vec::new(),
            lines: Vec::new(),
            offset: 0,
            breaks: 0,
        }
    }

    /// Takes in the next line of a text, of so many bytes without its end, the literals in it, and how many blanks.
    /// Puts into `candidates`, in order, the called patterns that might match within it, or in it and lines beside it.
    pub fn next_line(
        &self,
        length: usize,
        (sights, blanks): (&[Sight], u32),
        found: &mut Found,
        candidates: &mut Vec<Candidate>,
    ) {
        found.next_line();
        let mut called = std::mem::take(&mut found.called);
        called.clone_from(&self.always);
        for Sight { word, place, blanks, .. } in sights {
            let place = (found.offset + place.0 as usize, found.offset + place.1 as usize);
            found.seen.push(Seen { literal: *word, place, breaks: found.breaks + blanks });
            if found.now.add(*word) {
                called.extend(self.calls.get(*word as usize));
                for choice in self.of_literal.get(*word as usize) {
                    if found.chosen_now.add(*choice) {
                        found.chosen.add(*choice);
                    }
                }
            }
        }
        // The end of the line ends a word as well.
        found.breaks += blanks + 1;
        found.offset += length + 1;
        called.sort_unstable();
        called.dedup();
        candidates.clear();
        let candidate = |pattern: &u32| {
            let lines = self.lines.get(*pattern as usize).copied().unwrap_or(u32::MAX);
            let candidate = Candidate { pattern: *pattern, lines: (lines <= MOST_LINES).then_some(lines) };
            self.meets(*pattern, found, lines).then_some(candidate)
        };
        candidates.extend(called.iter().filter_map(candidate));
        found.called = called;
    }

    /// Whether `pattern` might match within the line looked at last.
    pub fn may_match_line(&self, pattern: u32, found: &Found) -> bool {
        self.meets(pattern, found, 0)
    }

    /// Whether `pattern` might match somewhere in the lines looked at.
    pub fn may_match(&self, pattern: u32, found: &Found) -> bool {
        self.meets(pattern, found, u32::MAX)
    }

    /// Whether the line looked at last, and so many before it, have what `pattern` needs.
    fn meets(&self, pattern: u32, found: &Found, lines: u32) -> bool {
        let Some(chains) = self.needs.get(pattern as usize) else { return true };
        let first = found.line.saturating_sub(lines).max(1);
        let chosen = if lines == 0 { &found.chosen_now } else { &found.chosen };
        let has_all = |chain: &[Link]| chain.iter().all(|link| chosen.has(link.choice));
        let seen = found.since(first);
        chains.is_empty()
            || chains
                .iter()
                .any(|chain| has_all(chain) && seen.is_none_or(|seen| self.has_in_order(chain, seen)))
    }

    fn literals(&self, link: &Link) -> &[u32] {
        self.choices.get(link.choice as usize)
    }

    /// Whether `seen` has one literal of every link, each behind the one before and no further than its gap.
    fn has_in_order(&self, chain: &[Link], seen: &[Seen]) -> bool {
        // Where what was found of the links so far ends, and how many words ended before.
        let mut ends: Option<Vec<(usize, u32)>> = None;
        for link in chain {
            let literals = self.literals(link);
            let follows = |it: &Seen| match &ends {
                None => true,
                Some(ends) => {
                    let before = ends.partition_point(|(end, _)| *end <= it.place.0);
                    let inner = self.breaks.get(it.literal as usize).copied().unwrap_or(0);
                    let last = before.checked_sub(1).and_then(|last| ends.get(last));
                    last.is_some_and(|(_, ended)| it.breaks.saturating_sub(inner) <= add(*ended, link.gap))
                }
            };
            let of_link = seen.iter().filter(|it| literals.binary_search(&it.literal).is_ok());
            let next: Vec<(usize, u32)> =
                of_link.filter(|it| follows(it)).map(|it| (it.place.1, it.breaks)).collect();
            if next.is_empty() {
                return false;
            }
            ends = Some(next);
        }
        true
    }
}

/// `lists`, closer together.
fn packed(lists: &[Vec<u32>]) -> Lists<u32> {
    Lists::new(lists.concat().into(), lists.iter().map(Vec::len))
}

impl Found {
    /// Goes on to the next line, and forgets those that no pattern reaches back to.
    fn next_line(&mut self) {
        self.line += 1;
        self.now.0.fill(0);
        self.chosen_now.0.fill(0);
        let kept = MOST_LINES as usize;
        if self.lines.len() >= 4 * kept {
            let forgotten = self.lines.len() - kept;
            let from = self.lines.get(forgotten).copied().unwrap_or(self.seen.len());
            self.seen.drain(..from);
            self.lines.drain(..forgotten);
            self.lines.iter_mut().for_each(|start| *start -= from);
        }
        self.lines.push(self.seen.len());
    }

    /// The literals of the lines from that with the number `first` on; `None` where they are not known any more, or
    /// too many.
    fn since(&self, first: u32) -> Option<&[Seen]> {
        let back = (self.line - first.min(self.line)) as usize;
        let start = self.lines.len().checked_sub(back + 1).and_then(|line| self.lines.get(line))?;
        self.seen.get(*start..).filter(|seen| seen.len() <= MOST_SEEN)
    }
}

/// How many words end in `text`, at a blank or the end of a line.
fn breaks(text: &[u8]) -> u32 {
    number(text.iter().filter(|byte| BREAKS.contains(byte)).count())
}

const BREAKS: &[u8] = b" \n";

/// The sum; what is without measure stays so.
fn add(one: u32, two: u32) -> u32 {
    one.saturating_add(two)
}

/// What is known of a part of a pattern.
#[derive(Clone)]
struct Part {
    needs: Needs,
    /// How many words may end in it,
    breaks: u32,
    /// and how many lines.
    lines: u32,
}

/// What a part of a pattern needs.
#[derive(Clone)]
enum Needs {
    /// It matches these literals and nothing else.
    Exactly(Choice),
    /// A text that it matches has one of these chains.
    Any(Vec<Chain>),
}

/// Choices of literals, one behind the other.
#[derive(Clone, Default)]
struct Chain {
    /// Each with the words that may end before it.
    links: Vec<(Rc<Choice>, u32)>,
    /// The words that may end behind them.
    tail: u32,
}

impl Chain {
    /// Nothing is known but that so many words may end in it.
    fn unknown(tail: u32) -> Self {
        Self { links: Vec::new(), tail }
    }

    /// One choice, if it tells something.
    fn of(choice: Choice) -> Self {
        if tells(&choice) {
            Self { links: vec![(Rc::new(choice), 0)], tail: 0 }
        } else {
            Self::unknown(most_breaks(&choice))
        }
    }

    /// This, and `next` behind it.
    fn then(mut self, next: &Self) -> Self {
        let mut before = self.tail;
        for (choice, gap) in &next.links {
            self.links.push((Rc::clone(choice), add(before, *gap)));
            before = 0;
        }
        self.tail = add(before, next.tail);
        self
    }

    /// How many words may end in all of it.
    fn breaks(&self) -> u32 {
        self.links.iter().map(|(choice, gap)| add(most_breaks(choice), *gap)).fold(self.tail, add)
    }
}

impl Needs {
    fn chains(self) -> Vec<Chain> {
        match self {
            Self::Exactly(choice) => vec![Chain::of(choice)],
            Self::Any(chains) => chains,
        }
    }
}

fn in_order(mut choice: Choice) -> Choice {
    choice.sort_unstable();
    choice.dedup();
    choice
}

/// Whether a choice tells something: one that is in every text does not.
fn tells(choice: &Choice) -> bool {
    !choice.is_empty() && choice.iter().all(|literal| literal.len() >= SHORTEST)
}

/// As much of a choice as is looked for. What begins with another literal of the choice is found with it. And how
/// many words may end in what is left out.
fn shortened(choice: &Choice) -> (Choice, u32) {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let mut tail = 0;
    for literal in choice {
        let mut short = literal.clone();
        short.truncate(LONGEST);
        if let Some(shorter) = kept.last().filter(|shorter| short.starts_with(shorter)) {
            short.truncate(shorter.len());
        } else {
            kept.push(short.clone());
        }
        tail = tail.max(breaks(literal) - breaks(&short));
    }
    (kept, tail)
}

fn most_breaks(choice: &Choice) -> u32 {
    choice.iter().map(|literal| breaks(literal)).max().unwrap_or(0)
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

/// The classes of words of a language.
struct Classes<'a> {
    words: &'a Words,
    /// What is known of each, in the order of their names.
    known: Vec<Part>,
}

impl<'a> Classes<'a> {
    fn of(words: &'a Words) -> Self {
        let mut classes = Self { words, known: vec![Part::unknown(); words.len()] };
        classes.known = words.values().map(|class| classes.part(class)).collect();
        // A class that names others is looked at again when more is known of them.
        for _ in 1..CLASSES_IN_CLASSES {
            let part = |(class, known): (&String, &Part)| match class.contains('<') {
                true => classes.part(class),
                false => known.clone(),
            };
            classes.known = words.values().zip(&classes.known).map(part).collect();
        }
        classes
    }

    /// What is known of the pattern of `phrase`. Where it ends at words, it does so at no cost: what stands before and
    /// behind is no part of it.
    fn part(&self, phrase: &str) -> Part {
        let marked = marked(self.words, phrase);
        let tree = marked.and_then(|marked| patterns::parse(&unbound_pattern(&marked)).ok());
        tree.map_or_else(Part::unknown, |tree| self.of_tree(&tree))
    }

    fn of_tree(&self, tree: &Hir) -> Part {
        match tree.kind() {
            HirKind::Empty | HirKind::Look(_) => Part::exactly(Vec::new()),
            HirKind::Literal(literal) => self.of_literal(&literal.0),
            HirKind::Class(class) => self.of_class(class),
            HirKind::Capture(capture) => self.of_tree(&capture.sub),
            HirKind::Repetition(it) => repeated(self.of_tree(&it.sub), it.min, it.max),
            HirKind::Concat(parts) => in_a_row(parts.iter().map(|part| self.of_tree(part)).collect()),
            HirKind::Alternation(parts) => one_of(parts.iter().map(|part| self.of_tree(part)).collect()),
        }
    }

    /// Of a literal, in which classes may stand by their marks.
    fn of_literal(&self, literal: &[u8]) -> Part {
        let Ok(text) = std::str::from_utf8(literal) else { return Part::exactly(literal.to_vec()) };
        let is_mark = |c: char| MARKS.contains(&c);
        let pieces = text.split_inclusive(is_mark).flat_map(|piece| {
            let mark = piece.chars().next_back().filter(|c| is_mark(*c));
            let plain = piece.trim_end_matches(is_mark).as_bytes();
            [Some(Part::exactly(plain.to_vec())), mark.map(|mark| self.of_mark(mark))].into_iter().flatten()
        });
        in_a_row(pieces.collect())
    }

    fn of_mark(&self, mark: char) -> Part {
        let place = MARKS.clone().position(|it| it == mark);
        place.and_then(|place| self.known.get(place)).cloned().unwrap_or_else(Part::unknown)
    }

    /// A class of one or a few characters, each a literal, and of the marks of classes of words.
    fn of_class(&self, class: &Class) -> Part {
        const FEW: usize = 8;
        let ranges: Vec<(char, char)> = match class {
            Class::Bytes(class) => class.iter().map(|it| (it.start().into(), it.end().into())).collect(),
            Class::Unicode(class) => class.iter().map(|it| (it.start(), it.end())).collect(),
        };
        let has = |sign: &char| ranges.iter().any(|(first, last)| (first..=last).contains(&sign));
        let lines = u32::from(has(&'\n'));
        let breaks = u32::from(has(&' ')).max(lines);
        let signs = ranges.iter().flat_map(|(first, last)| *first..=*last);
        let few: Vec<char> = signs.filter(|sign| !MARKS.contains(sign)).take(FEW + 1).collect();
        let literal = |sign: char| match class {
            Class::Bytes(_) => u8::try_from(sign).map(|byte| vec![byte]).unwrap_or_default(),
            Class::Unicode(_) => sign.to_string().into_bytes(),
        };
        let mut parts: Vec<Part> = MARKS.filter(has).map(|mark| self.of_mark(mark)).collect();
        // What holds the end of a line is in no line.
        if few.len() > FEW || lines > 0 {
            parts.push(Part { needs: Needs::Any(vec![Chain::unknown(breaks)]), breaks, lines });
        } else {
            parts.extend(few.into_iter().map(|sign| Part::exactly(literal(sign))));
        }
        one_of(parts)
    }
}

impl Part {
    fn unknown() -> Self {
        let all = u32::MAX;
        Self { needs: Needs::Any(vec![Chain::unknown(all)]), breaks: all, lines: all }
    }

    fn exactly(literal: Vec<u8>) -> Self {
        let breaks = breaks(&literal);
        let lines = number(literal.iter().filter(|byte| **byte == b'\n').count());
        let needs = match lines {
            0 => Needs::Exactly(vec![literal]),
            // What holds the end of a line is in no line.
            _ => Needs::Any(vec![Chain::unknown(breaks)]),
        };
        Self { needs, breaks, lines }
    }
}

/// `part`, so often.
fn repeated(part: Part, min: u32, max: Option<u32>) -> Part {
    let times = |each: u32| match (each, max) {
        (0, _) => 0,
        (each, Some(times)) => each.saturating_mul(times),
        (_, None) => u32::MAX,
    };
    let (breaks, lines) = (times(part.breaks), times(part.lines));
    let unknown = Chain::unknown(breaks);
    let needs = match (min, max, part.needs) {
        (1, Some(1), needs) => needs,
        (0, Some(1), Needs::Exactly(mut choice)) if choice.len() < MOST_LITERALS => {
            choice.push(Vec::new());
            Needs::Exactly(in_order(choice))
        }
        (0, _, _) => Needs::Any(vec![unknown]),
        // Of the first time all is known, of the others how long they may be.
        (_, _, needs) => Needs::Any(needs.chains().into_iter().map(|chain| chain.then(&unknown)).collect()),
    };
    Part { needs, breaks, lines }
}

/// All parts, one after the other.
fn in_a_row(parts: Vec<Part>) -> Part {
    let breaks = parts.iter().map(|part| part.breaks).fold(0, add);
    let lines = parts.iter().map(|part| part.lines).fold(0, add);
    let mut chains = vec![Chain::default()];
    let mut run = vec![Vec::new()];
    let mut is_whole = true;
    for part in parts {
        match part.needs {
            Needs::Exactly(next) if is_worth_joining(&run, &next) => {
                let longer = |head: &Vec<u8>| {
                    let head = head.clone();
                    next.iter().map(move |tail| [head.as_slice(), tail].concat()).collect::<Vec<_>>()
                };
                run = in_order(run.iter().flat_map(longer).collect());
            }
            Needs::Exactly(next) => {
                is_whole = false;
                chains = each_then(chains, &[Chain::of(std::mem::replace(&mut run, next))]);
            }
            Needs::Any(next) => {
                is_whole = false;
                chains = each_then(chains, &[Chain::of(std::mem::replace(&mut run, vec![Vec::new()]))]);
                chains = if chains.len() * next.len() <= MOST_CHAINS {
                    each_then(chains, &next)
                } else {
                    each_then(chains, &[any_of(next)])
                };
            }
        }
    }
    let needs = if is_whole { Needs::Exactly(run) } else { Needs::Any(each_then(chains, &[Chain::of(run)])) };
    Part { needs, breaks, lines }
}

/// Each of `chains` with each of `next` behind it.
fn each_then(chains: Vec<Chain>, next: &[Chain]) -> Vec<Chain> {
    chains.iter().flat_map(|chain| next.iter().map(|next| chain.clone().then(next))).collect()
}

/// One of the parts.
fn one_of(parts: Vec<Part>) -> Part {
    let breaks = parts.iter().map(|part| part.breaks).max().unwrap_or(0);
    let lines = parts.iter().map(|part| part.lines).max().unwrap_or(0);
    // Literals alone are one chain.
    let mut alone = Choice::new();
    let mut chains = Vec::new();
    for part in parts {
        match part.needs {
            Needs::Exactly(mut choice) if alone.len() + choice.len() <= MOST_LITERALS => {
                alone.append(&mut choice);
            }
            needs => chains.extend(needs.chains()),
        }
    }
    let alone = in_order(alone);
    let needs = match (chains.len(), alone.is_empty()) {
        (0, _) => Needs::Exactly(alone),
        (_, true) => Needs::Any(within_bounds(chains)),
        (_, false) => {
            chains.push(Chain::of(alone));
            Needs::Any(within_bounds(chains))
        }
    };
    Part { needs, breaks, lines }
}

fn within_bounds(chains: Vec<Chain>) -> Vec<Chain> {
    if chains.len() <= MOST_CHAINS { chains } else { vec![any_of(chains)] }
}

/// What all `chains` have in common: one of their most telling choices, and how many words may end beside it.
fn any_of(chains: Vec<Chain>) -> Chain {
    let breaks = chains.iter().map(Chain::breaks).max().unwrap_or(0);
    let mut any = Choice::new();
    for chain in chains {
        match chain.links.into_iter().map(|(choice, _)| choice).max_by_key(|choice| worth(choice)) {
            Some(choice) => any.extend(choice.iter().cloned()),
            None => return Chain::unknown(breaks),
        }
    }
    let any = in_order(any);
    if any.len() > 2 * MOST_LITERALS {
        return Chain::unknown(breaks);
    }
    Chain { links: vec![(Rc::new(any), breaks)], tail: breaks }
}

#[cfg(test)]
mod tests {
    use proptest::strategy::{Strategy, ValueTree};
    use proptest::test_runner::TestRunner;

    use super::*;
    use regex_syntax::ParserBuilder;
    use regex_syntax::hir::Repetition;

    use crate::language::expand;
    use crate::needles::{Needles, Sights};
    use crate::request::Table;
    use crate::text::pattern;

    /// Literals, and what finds them.
    struct Finder {
        literals: Literals,
        needles: Needles,
    }

    impl Finder {
        fn of(collector: Collector<'_>) -> Self {
            let (literals, words) = collector.finish();
            let mut needles = Needles::default();
            assert_eq!(needles.add(&[words]), Ok(()));
            Self { literals, needles }
        }

        fn next_line(&self, line: &str, found: &mut Found, candidates: &mut Vec<Candidate>) {
            let mut sights = Sights::default();
            self.needles.look(line, &[true], &mut sights);
            self.literals.next_line(line.len(), (sights.of(0), sights.blanks()), found, candidates);
        }
    }

    /// Whether `text`, a line, has what `phrase` needs.
    fn meets(phrase: &str, text: &str) -> bool {
        let words = Words::new();
        let mut collector = Collector::new(&words);
        collector.add(phrase, true);
        let finder = Finder::of(collector);
        let (mut found, mut candidates) = (finder.literals.nothing(), Vec::new());
        finder.next_line(text, &mut found, &mut candidates);
        candidates.iter().map(|it| it.pattern).eq([0])
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

    /// The pattern without what has no letters: edges of words and of lines.
    fn without_edges(hir: &Hir) -> Hir {
        match hir.kind() {
            HirKind::Look(_) => Hir::empty(),
            HirKind::Capture(capture) => without_edges(&capture.sub),
            HirKind::Repetition(it) => {
                Hir::repetition(Repetition { sub: Box::new(without_edges(&it.sub)), ..it.clone() })
            }
            HirKind::Concat(parts) => Hir::concat(parts.iter().map(without_edges).collect()),
            HirKind::Alternation(parts) => Hir::alternation(parts.iter().map(without_edges).collect()),
            HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) => hir.clone(),
        }
    }

    /// Texts that a phrase or a guard matches have what it needs: for everyone of ours that texts can be made for.
    #[test]
    fn nothing_that_matches_is_left_out() {
        let table = Table::load(None).expect("the built-in rules");
        let mut runner = TestRunner::deterministic();
        let (mut tried, mut all) = (0, 0);
        for (index, (_, language)) in table.languages.iter().enumerate() {
            let phrases = table.phrases.iter().filter(|it| it.language == index);
            let of = &language.guards;
            let sentence = [&of.asking, &of.conditional, &of.reported, &of.wanted, &of.asked];
            let phrase = [&of.negated, &of.polite, &of.kept, &of.after, &of.inside];
            let mail = [&of.others, &of.trade, &of.retracted];
            let guards = phrase.into_iter().chain(sentence).chain(mail).flatten();
            let patterns: Vec<(&str, bool)> = phrases
                .map(|phrase| (phrase.text.as_ref(), true))
                .chain(guards.map(|guard| (guard.as_str(), false)))
                .collect();
            let mut collector = Collector::new(&language.words);
            patterns.iter().for_each(|(text, is_called)| collector.add(text, *is_called));
            let finder = Finder::of(collector);
            for (place, (text, is_called)) in (0..).zip(patterns) {
                all += 1;
                let pattern = pattern(&expand(&language.words, text).expect("known classes"));
                let parsed =
                    ParserBuilder::new().multi_line(true).build().parse(&pattern).expect("a pattern");
                let bare = without_edges(&parsed).to_string();
                let Ok(texts) = proptest::string::string_regex(&bare) else { continue };
                for _ in 0..5 {
                    let text = texts.new_tree(&mut runner).expect("a text").current();
                    let mut found = finder.literals.nothing();
                    let (mut named, mut candidates) = (!is_called, Vec::new());
                    for line in text.split('\n') {
                        finder.next_line(line, &mut found, &mut candidates);
                        named |= candidates.iter().any(|it| it.pattern == place);
                    }
                    assert!(named, "{pattern} is not named by {text:?}");
                    assert!(finder.literals.may_match(place, &found), "{pattern} needs more than {text:?}");
                    tried += 1;
                }
            }
        }
        assert!(tried > 4 * all, "only {tried} texts for {all} patterns");
    }

    #[test]
    fn words_stand_in_their_order_and_no_further_apart_than_they_may() {
        let phrase = r"(delete|erase)( \w+){0,3} (data|accounts?)";
        assert!(meets(phrase, "erase one two three data"));
        assert!(!meets(phrase, "erase one two three four data"));
        assert!(!meets(phrase, "data you delete"));
        assert!(meets(phrase, "data you delete my data"));
        // One of several chains.
        let either = r"(delete( \w+){0,2} (data|file)|(data|file)( \w+){0,2} deleted)";
        assert!(meets(either, "the data was deleted") && meets(either, "delete the file"));
        assert!(!meets(either, "deleted is all of the data") && !meets(either, "file a delete"));
        // Signs that differ in one byte.
        assert!(meets("(号|號)码", "手机号码") && !meets("(号|號)码", "手机"));
    }

    #[test]
    fn a_pattern_across_lines_is_named_when_its_last_words_are_read() {
        let words = Words::new();
        let mut collector = Collector::new(&words);
        collector.add(r"my data[^\n]*(\n[^\n]*){0,2} delete (it|them)", true);
        let finder = Finder::of(collector);
        let named = |text: &str| {
            let (mut found, mut candidates) = (finder.literals.nothing(), Vec::new());
            let mut lines = Vec::new();
            for (number, line) in text.split('\n').enumerate() {
                finder.next_line(line, &mut found, &mut candidates);
                lines.extend(candidates.iter().map(|it| (number, it.lines)));
            }
            lines
        };
        assert_eq!(named("you have my data\nhello\nplease delete it\nbye"), [(2, Some(2))]);
        assert_eq!(named("you have my data\na\nb\nc\nplease delete it"), []);
        assert_eq!(named("please delete it\nyou have my data"), []);
        let far = format!("{}my data\nplease delete them", "x\n".repeat(100));
        assert_eq!(named(&far), [(101, Some(2))]);
    }

    #[test]
    fn a_class_of_words_stands_for_its_words_wherever_it_stands() {
        let words = Words::from(
            [("erase", "delete|<gone>"), ("gone", "wipe( out)?"), ("data", "data|file|记录")]
                .map(|(name, any)| (name.to_owned(), any.to_owned())),
        );
        let nine = (0..9).map(|n| (format!("n{}", char::from(b'a' + n)), "my own old data".to_owned()));
        let words: Words = words.into_iter().chain(nine).collect();
        let any_of_nine = "(<na>|<nb>|<nc>|<nd>|<ne>|<nf>|<ng>|<nh>|<ni>)";
        let may_match = |phrase: &str, text: &str| {
            let mut collector = Collector::new(&words);
            collector.add(phrase, false);
            let finder = Finder::of(collector);
            let mut found = finder.literals.nothing();
            finder.next_line(text, &mut found, &mut Vec::new());
            finder.literals.may_match(0, &found)
        };
        // Signs in the place of classes are made into one class of signs, with whatever else is one sign there.
        assert!(may_match(&format!("blorf {any_of_nine} florb"), "blorf my own old data florb"));
        assert!(may_match(r"snorf(\n|<na>)gnorb", "snorfmy own old datagnorb"));
        assert!(may_match("snorf (x|<na>) gnorb", "snorf x gnorb"));
        assert!(!may_match("snorf (x|<na>) gnorb", "snorf a b gnorb"));
        for phrase in ["<erase>( \\w+)? <data>", "(<erase>|kill) (<data>|all)", "<erase>+ ?<data>"] {
            let mut collector = Collector::new(&words);
            collector.add(phrase, true);
            let finder = Finder::of(collector);
            let meets = |text: &str| {
                let (mut found, mut candidates) = (finder.literals.nothing(), Vec::new());
                finder.next_line(text, &mut found, &mut candidates);
                !candidates.is_empty()
            };
            assert!(meets("wipe out data") && meets("delete file") && meets("delete 记录"), "{phrase}");
            assert!(!meets("wipe") && !meets("data") && !meets("keep the file"), "{phrase}");
        }
    }
}
