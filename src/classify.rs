//! What is asked: own words and subject against the phrases of every type.
//!
//! A phrase counts where it stands: in its sentence, unless that sentence denies it, asks about it,
//! supposes it or reports it. The same words speak for one type: "delete the data you hold about me"
//! asks for no copy of it. What a type's phrases weigh together is its confidence; a type acts only
//! above its own threshold. Whatever is left over is a person's to read, and so is what the mail as a
//! whole makes doubtful: a wish on somebody else's behalf, or one that is taken back.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use regex::bytes::{Regex, RegexBuilder};
use serde::Serialize;

use crate::literals::{Collector, Literals};
use crate::patterns::{CannotCompile, Patterns};
use crate::request::{Action, Strength, Table};
use crate::text::{fold, pattern, sentences};

/// One request found in a mail.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// 0 to 1.
    pub confidence: f64,
    /// The phrases that say so, by name.
    pub rules: Vec<String>,
}

/// What a mail asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// These, each above its type's threshold, in their safe order.
    Requests(Vec<Finding>),
    /// Perhaps something: a person must look. With a sentence for that person.
    Unclear {
        /// Why it is not certain.
        why: &'static str,
        /// What it might be.
        candidates: Vec<Finding>,
    },
    /// Nothing points to a request.
    Nothing,
}

impl Verdict {
    /// What a mail asks for or might ask for.
    pub fn candidates(&self) -> Vec<Finding> {
        match self {
            Self::Requests(findings) => findings.clone(),
            Self::Unclear { candidates, .. } => candidates.clone(),
            Self::Nothing => Vec::new(),
        }
    }
}

/// A verdict and what it rests on, for explaining.
#[derive(Debug, Clone)]
pub struct Reading {
    /// What is asked.
    pub verdict: Verdict,
    /// Language of the own words, where it can be told.
    pub language: Option<String>,
    /// Phrases that were found and did not count: name, and the guard that took their force.
    pub against: Vec<(String, &'static str)>,
}

/// Of one phrase no more than so many places are looked at, and of a mail no more than
/// [`MOST_PLACES`]: a mail that repeats itself says nothing new.
const PLACES_EACH: usize = 20;
const MOST_PLACES: usize = 500;

struct Guards {
    before: [(&'static str, Patterns); 2],
    after: Patterns,
    inside: Patterns,
    sentence: [(&'static str, Patterns); 4],
    mail: [(&'static str, Patterns); 2],
    trade: Patterns,
}

/// A text shorter than this (bytes) is looked at in every language: too few words to tell one by.
const SHORT: usize = 160;

struct Phrase {
    kind: usize,
    strength: Strength,
    name: String,
    pattern: String,
    /// Whether the pattern speaks of a denial, which then is part of the wish ("no more mail").
    denies: bool,
    /// Whether its type may be put as a question, a condition or a report.
    any_mood: bool,
    /// Compiled when it is first found: most of the hundreds never are.
    regex: OnceLock<Option<Regex>>,
}

/// The compiled phrases of one type in one language.
struct Lexicon {
    code: String,
    /// Index of its language.
    language: usize,
    set: Patterns,
    phrases: Vec<Phrase>,
    guards: Arc<Guards>,
}

struct Kind {
    name: String,
    threshold: f64,
    alone: bool,
    yields: bool,
    urgent: bool,
    /// An opt-out: done at once, whatever else is in the mail.
    opts_out: bool,
    any_mood: bool,
    no_trade: bool,
    over: Vec<usize>,
}

/// The compiled table.
pub struct Classifier {
    kinds: Vec<Kind>,
    lexicons: Vec<Lexicon>,
    /// What the phrases need, found in one pass.
    literals: Literals,
    guards: Vec<Arc<Guards>>,
    /// The commonest words of every language; an empty list tells nothing.
    common: Vec<HashSet<String>>,
    reply_prefix: Regex,
    forward_prefix: Regex,
}

/// One phrase that was found.
struct Hit<'a> {
    phrase: &'a Phrase,
    language: &'a str,
    /// Where it stands with its full force.
    free: Vec<Range<usize>>,
    /// Where a guard takes its force.
    guarded: Vec<(Range<usize>, &'static str)>,
    /// The guard that takes its force, where it stands nowhere free.
    guard: Option<&'static str>,
    /// Whether it is denied somewhere, even if it stands free elsewhere.
    negated: bool,
}

impl Classifier {
    /// Compiles `table`.
    ///
    /// # Errors
    /// A pattern that does not compile; [`Table::load`] has found those with a place already.
    pub fn new(table: &Table) -> Result<Self, CannotCompile> {
        let kinds = table
            .types
            .iter()
            .map(|kind| Kind {
                name: kind.name.clone(),
                threshold: kind.threshold,
                alone: kind.alone,
                yields: kind.yields,
                urgent: kind.urgent,
                opts_out: matches!(kind.action, Action::SuppressMarketing | Action::SuppressAds),
                any_mood: kind.any_mood,
                no_trade: kind.no_trade,
                over: kind.over.clone(),
            })
            .collect();
        let mut lexicons = Vec::new();
        let mut collector = Collector::default();
        let mut all_guards = Vec::new();
        for (index, (code, language)) in table.languages.iter().enumerate() {
            let guards = Arc::new(Guards::new(&language.guards)?);
            all_guards.push(Arc::clone(&guards));
            // One automaton for each type: together their states multiply until the engine gives up its
            // cache and crawls. Sixty small passes over a letter are faster than one large one.
            for kind in 0..table.types.len() {
                let phrases: Vec<Phrase> = table
                    .phrases
                    .iter()
                    .filter(|phrase| phrase.language == index && phrase.kind == kind)
                    .map(|phrase| Phrase {
                        kind,
                        strength: phrase.strength,
                        name: phrase.name.clone(),
                        pattern: phrase.pattern.clone(),
                        denies: guards.inside.is_match(phrase.pattern.as_bytes()),
                        any_mood: table.types.get(kind).is_some_and(|kind| kind.any_mood),
                        regex: OnceLock::new(),
                    })
                    .collect();
                if !phrases.is_empty() {
                    let patterns = phrases.iter().map(|phrase| phrase.pattern.clone());
                    let set = Patterns::collected(patterns, &mut collector)?;
                    lexicons.push(Lexicon {
                        code: code.clone(),
                        language: index,
                        set,
                        phrases,
                        guards: Arc::clone(&guards),
                    });
                }
            }
        }
        // Re, Fwd and their translations, with counters such as "Re[2]:".
        let prefix = |words: &str| {
            RegexBuilder::new(&format!(r"^\s*(?:{words})(?:\[\d+\])?\s*:")).unicode(false).build()
        };
        let reply_prefix = prefix("re|aw|wg|antw|sv|vs|fw|fwd|tr|rv|r|rif|ref|odp|ynt|enc|i|res|doorst")?;
        let forward_prefix = prefix("wg|fw|fwd|tr|rv|enc|i|vs|doorst")?;
        let common = table
            .languages
            .iter()
            .map(|(_, language)| language.common.iter().map(|word| fold(word)).collect())
            .collect();
        let literals = collector.finish()?;
        Ok(Self { kinds, lexicons, literals, guards: all_guards, common, reply_prefix, forward_prefix })
    }

    /// Whether a subject says that the mail is passed on: "Fwd: …" and its translations.
    pub fn is_forward(&self, subject: &str) -> bool {
        self.forward_prefix.is_match(fold(subject).as_bytes())
    }

    /// Reads a mail's own words and subject.
    ///
    /// The subject of a reply is somebody else's; it counts only where there are no words at all,
    /// and then never decides.
    pub fn read(&self, subject: &str, own_words: &str) -> Reading {
        let subject = fold(subject);
        let is_reply = self.reply_prefix.is_match(subject.as_bytes());
        let body = sentences(&fold(own_words));
        let mut text = String::with_capacity(subject.len() + body.len() + 1);
        if !is_reply {
            text.push_str(&sentences(&subject));
            text.push('\n');
        }
        text.push_str(&body);
        let mut hits = self.hits(&text);
        let mut against = self.give_words_to_one(&mut hits);
        against.extend(self.leave_trade_out(&mut hits, &text));
        let language = language_of(&hits, &text);
        let guarded = hits.iter().filter_map(|hit| Some((hit.phrase.name.clone(), hit.guard?)));
        let against = against.into_iter().chain(guarded).collect();
        let verdict = self.weigh(&hits, || self.guards.iter().find_map(|guards| guards.against_mail(&text)));
        Reading { verdict, language, against }
    }

    /// For every language whether `text` may be in it.
    fn possible(&self, text: &str) -> Vec<bool> {
        let mut possible: Vec<bool> =
            self.common.iter().map(|words| words.is_empty() || text.len() < SHORT).collect();
        for word in text.split(|c: char| !c.is_alphanumeric()) {
            if possible.iter().all(|it| *it) {
                break;
            }
            for (it, words) in possible.iter_mut().zip(&self.common) {
                *it |= words.contains(word);
            }
        }
        possible
    }

    /// Every phrase in `text` (one sentence a line), once a phrase, with its places.
    fn hits(&self, text: &str) -> Vec<Hit<'_>> {
        let mut hits = Vec::new();
        let mut places = 0;
        let possible = self.possible(text);
        let found = self.literals.find(text.as_bytes());
        for lexicon in &self.lexicons {
            if possible.get(lexicon.language) == Some(&false) || !lexicon.set.may_match(&found) {
                continue;
            }
            for index in lexicon.set.matches(text.as_bytes()) {
                let Some(phrase) = lexicon.phrases.get(index) else { continue };
                let regex = phrase.regex.get_or_init(|| {
                    RegexBuilder::new(&phrase.pattern).unicode(false).multi_line(true).build().ok()
                });
                let Some(regex) = regex else { continue };
                let language = &lexicon.code;
                let mut hit = Hit {
                    phrase,
                    language,
                    free: Vec::new(),
                    guarded: Vec::new(),
                    guard: None,
                    negated: false,
                };
                for found in regex.find_iter(text.as_bytes()).take(PLACES_EACH.min(MOST_PLACES - places)) {
                    places += 1;
                    match lexicon.guards.against(text, found.range(), phrase) {
                        None => hit.free.push(found.range()),
                        Some(guard) => hit.guarded.push((found.range(), guard)),
                    }
                }
                if !hit.free.is_empty() || !hit.guarded.is_empty() {
                    hits.push(hit);
                }
            }
        }
        guard_across_languages(&mut hits);
        for hit in &mut hits {
            hit.negated = hit.guarded.iter().any(|(_, guard)| *guard == NEGATED);
            hit.guard = hit.guarded.first().filter(|_| hit.free.is_empty()).map(|(_, guard)| *guard);
        }
        hits
    }

    /// Where phrases of two types share words, leaves the words to one: to the certain phrase, or to
    /// the type that stands over the other. Answers the phrases that lost all their places.
    fn give_words_to_one(&self, hits: &mut Vec<Hit<'_>>) -> Vec<(String, &'static str)> {
        let claims: Vec<(usize, Strength, Range<usize>)> = hits
            .iter()
            .flat_map(|hit| {
                hit.free.iter().map(|place| (hit.phrase.kind, hit.phrase.strength, place.clone()))
            })
            .collect();
        let stands_over =
            |kind: usize, other: usize| self.kinds.get(kind).is_some_and(|kind| kind.over.contains(&other));
        let mut lost = Vec::new();
        hits.retain_mut(|hit| {
            let (mine, strength) = (hit.phrase.kind, hit.phrase.strength);
            let was_free = !hit.free.is_empty();
            hit.free.retain(|place| {
                !claims.iter().any(|(kind, claim, other)| {
                    *kind != mine
                        && place.start < other.end
                        && other.start < place.end
                        && (*claim == Strength::Certain
                            && strength < Strength::Certain
                            && !stands_over(mine, *kind)
                            || *claim >= strength
                                && stands_over(*kind, mine)
                                && other.start <= place.start
                                && place.end <= other.end)
                })
            });
            let is_lost = was_free && hit.free.is_empty();
            if is_lost {
                lost.push((hit.phrase.name.clone(), "part of another request"));
            }
            !is_lost
        });
        lost
    }

    /// Takes the hits out that only sound like a request, where the mail is about an order.
    fn leave_trade_out(&self, hits: &mut Vec<Hit<'_>>, text: &str) -> Vec<(String, &'static str)> {
        let is_weak = |hit: &Hit<'_>| {
            hit.phrase.strength < Strength::Certain
                && self.kinds.get(hit.phrase.kind).is_some_and(|kind| kind.no_trade)
        };
        if !hits.iter().any(is_weak)
            || !self.guards.iter().any(|guards| guards.trade.is_match(text.as_bytes()))
        {
            return Vec::new();
        }
        let mut lost = Vec::new();
        hits.retain(|hit| {
            let is_lost = is_weak(hit);
            if is_lost {
                lost.push((hit.phrase.name.clone(), "about an order"));
            }
            !is_lost
        });
        lost
    }

    /// What the hits come to. `doubt` is asked only where something would be done: whether the mail
    /// as a whole speaks against it.
    fn weigh(&self, hits: &[Hit<'_>], doubt: impl Fn() -> Option<&'static str>) -> Verdict {
        let denied = hits.iter().any(|hit| hit.guard.is_some() && hit.phrase.strength >= Strength::Likely);
        let (sure, unsure): (Vec<_>, Vec<_>) = self
            .kinds
            .iter()
            .enumerate()
            .filter_map(|(index, kind)| Some((index, kind.finding(index, hits)?)))
            .partition(|(index, finding)| {
                self.kinds.get(*index).is_some_and(|kind| finding.confidence >= kind.threshold)
            });
        if sure.is_empty() {
            let candidates: Vec<Finding> = unsure.into_iter().map(|(_, finding)| finding).collect();
            return match (candidates.is_empty(), denied) {
                (true, false) => Verdict::Nothing,
                (_, true) => Verdict::Unclear {
                    why: "the words of a request, but denied, supposed or asked about",
                    candidates,
                },
                (false, false) => Verdict::Unclear { why: "hints of a request, none certain", candidates },
            };
        }
        let (kept, is_alone) = self.choose(sure);
        // The same right both asked for and denied: nobody but a person can tell.
        let may_contradict = |index: usize| self.kinds.get(index).is_some_and(|kind| !kind.any_mood);
        let contradicts = kept.iter().filter(|(index, _)| may_contradict(*index)).any(|(index, _)| {
            hits.iter().any(|hit| {
                hit.phrase.kind == *index && hit.negated && hit.phrase.strength == Strength::Certain
            })
        });
        let candidates = kept.into_iter().map(|(_, finding)| finding).collect();
        if contradicts {
            return Verdict::Unclear { why: "the same thing is asked for and denied", candidates };
        }
        match doubt().filter(|_| !is_alone) {
            Some(why) => Verdict::Unclear { why, candidates },
            None => Verdict::Requests(candidates),
        }
    }

    /// Which of several sure findings count, and whether one stands for the whole mail.
    fn choose(&self, sure: Vec<(usize, Finding)>) -> (Vec<(usize, Finding)>, bool) {
        let kind = |index: usize| self.kinds.get(index);
        let alone = sure.iter().position(|(index, _)| kind(*index).is_some_and(|kind| kind.alone));
        let all_yield = sure.iter().all(|(index, _)| kind(*index).is_some_and(|kind| kind.yields));
        // "I asked you three times already, unsubscribe me" is a reminder, and an opt-out first of all. Of a
        // child's data nothing follows for the writer's own.
        let is_urgent = alone
            .and_then(|only| sure.get(only))
            .is_some_and(|(index, _)| kind(*index).is_some_and(|kind| kind.urgent));
        let opts_out = |index: usize| !is_urgent && kind(index).is_some_and(|kind| kind.opts_out);
        let kept = sure.into_iter().enumerate().filter(|(place, (index, _))| match alone {
            Some(only) => *place == only || opts_out(*index),
            None => all_yield || kind(*index).is_some_and(|kind| !kind.yields),
        });
        (kept.map(|(_, finding)| finding).collect(), alone.is_some())
    }
}

/// Takes a phrase its force where a phrase of another language, of the same type, has lost it: "non chiedo
/// la cancellazione ex art. 17 GDPR" holds English words and no English denial. What speaks of a denial
/// itself ("no more mail") keeps its force.
fn guard_across_languages(hits: &mut [Hit<'_>]) {
    if hits.windows(2).all(|pair| matches!(pair, [one, next] if one.language == next.language)) {
        return;
    }
    let guarded: Vec<(usize, &str, Range<usize>, &'static str)> = hits
        .iter()
        .flat_map(|hit| {
            let (kind, language) = (hit.phrase.kind, hit.language);
            hit.guarded.iter().map(move |(place, guard)| (kind, language, place.clone(), *guard))
        })
        .collect();
    for hit in hits.iter_mut().filter(|hit| !hit.phrase.denies) {
        let (mine, here) = (hit.phrase.kind, hit.language);
        let taken = &mut hit.guarded;
        hit.free.retain(|place| {
            let guard = guarded.iter().find(|(kind, language, other, _)| {
                *kind == mine && *language != here && place.start < other.end && other.start < place.end
            });
            taken.extend(guard.map(|(.., guard)| (place.clone(), *guard)));
            guard.is_none()
        });
    }
}

impl Kind {
    /// What the free hits of this type, whose index is `index`, weigh together. Hints count once
    /// however many they are, so that they never act by their number.
    fn finding(&self, index: usize, hits: &[Hit<'_>]) -> Option<Finding> {
        let mine = || hits.iter().filter(|hit| hit.phrase.kind == index && !hit.free.is_empty());
        let strongest = mine().map(|hit| hit.phrase.strength).max()?;
        let doubt: f64 = if strongest == Strength::Hint {
            1.0 - Strength::Hint.weight()
        } else {
            mine().map(|hit| 1.0 - hit.phrase.strength.weight()).product()
        };
        let confidence = ((1.0 - doubt).clamp(0.0, 0.999) * 1000.0).round() / 1000.0;
        let rules = mine().map(|hit| hit.phrase.name.clone()).collect();
        Some(Finding { kind: self.name.clone(), confidence, rules })
    }
}

/// The guard of a phrase that is denied.
const NEGATED: &str = "negated";

impl Guards {
    fn new(guards: &crate::language::Guards) -> Result<Self, CannotCompile> {
        let set = |list: &Vec<String>| Patterns::new(list.iter().map(|p| pattern(p)));
        Ok(Self {
            before: [(NEGATED, set(&guards.negated)?), ("kept", set(&guards.kept)?)],
            after: set(&guards.after)?,
            inside: set(&guards.inside)?,
            sentence: [
                ("asking", set(&guards.asking)?),
                ("conditional", set(&guards.conditional)?),
                ("reported", set(&guards.reported)?),
                ("the opposite", set(&guards.wanted)?),
            ],
            mail: [
                ("it may be about somebody else", set(&guards.others)?),
                ("a wish and its withdrawal", set(&guards.retracted)?),
            ],
            trade: set(&guards.trade)?,
        })
    }

    /// The guard that takes `phrase` its force at `place`, if one does.
    fn against(&self, text: &str, place: Range<usize>, phrase: &Phrase) -> Option<&'static str> {
        let from = text.get(..place.start)?.rfind('\n').map_or(0, |at| at + 1);
        let to = text.get(place.end..)?.find('\n').map_or(text.len(), |at| place.end + at);
        let before = text.get(from..place.start)?.as_bytes();
        let after = text.get(place.end..to)?.as_bytes();
        let sentence = text.get(from..to)?.as_bytes();
        let words = text.get(place)?.as_bytes();
        let hit = |sets: &[(&'static str, Patterns)], part: &[u8]| {
            sets.iter().find(|(_, set)| set.is_match(part)).map(|(name, _)| *name)
        };
        let is_denied =
            !phrase.denies && (self.after.is_match(after) || !phrase.any_mood && self.inside.is_match(words));
        hit(&self.before, before)
            .or_else(|| is_denied.then_some(NEGATED))
            .or_else(|| hit(&self.sentence, sentence).filter(|_| !phrase.any_mood))
    }

    /// What in the mail as a whole speaks against doing anything.
    fn against_mail(&self, text: &str) -> Option<&'static str> {
        self.mail.iter().find(|(_, set)| set.is_match(text.as_bytes())).map(|(why, _)| *why)
    }
}

/// The language most of the found phrases are in; else what the words' letters tell.
fn language_of(hits: &[Hit<'_>], text: &str) -> Option<String> {
    let mut weights: Vec<(&str, f64)> = Vec::new();
    for hit in hits {
        let weight = hit.phrase.strength.weight();
        match weights.iter_mut().find(|(code, _)| *code == hit.language) {
            Some((_, sum)) => *sum += weight,
            None => weights.push((hit.language, weight)),
        }
    }
    let best = weights.iter().map(|(_, weight)| *weight).fold(0.0, f64::max);
    let mut leaders = weights.iter().filter(|(_, weight)| *weight == best);
    match (leaders.next(), leaders.next()) {
        (Some((code, _)), None) => Some((*code).to_owned()),
        _ => guess_language(text),
    }
}

fn guess_language(text: &str) -> Option<String> {
    let sample = text.get(..text.floor_char_boundary(600))?;
    if sample.chars().filter(|c| c.is_alphabetic()).count() < 20 {
        return None;
    }
    let info = whatlang::detect(sample)?;
    (info.confidence() > 0.4).then(|| two_letters(info.lang()).map(str::to_owned)).flatten()
}

/// ISO 639-1 for the languages that people have written to us in.
fn two_letters(language: whatlang::Lang) -> Option<&'static str> {
    use whatlang::Lang;
    Some(match language {
        Lang::Eng => "en",
        Lang::Deu => "de",
        Lang::Fra => "fr",
        Lang::Spa => "es",
        Lang::Ita => "it",
        Lang::Por => "pt",
        Lang::Nld => "nl",
        Lang::Pol => "pl",
        Lang::Ces => "cs",
        Lang::Swe => "sv",
        Lang::Dan => "da",
        Lang::Hrv => "hr",
        Lang::Ell => "el",
        Lang::Ron => "ro",
        Lang::Bul => "bg",
        Lang::Rus => "ru",
        Lang::Jpn => "ja",
        Lang::Cmn => "zh",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(text: &str) -> Verdict {
        static CLASSIFIER: OnceLock<Classifier> = OnceLock::new();
        let build = || Classifier::new(&Table::load(None).unwrap()).unwrap();
        CLASSIFIER.get_or_init(build).read("", text).verdict
    }

    /// The types of a verdict that acts, or the reason why it does not.
    fn found(text: &str) -> String {
        match verdict(text) {
            Verdict::Requests(findings) => {
                findings.into_iter().map(|finding| finding.kind).collect::<Vec<_>>().join(" ")
            }
            Verdict::Unclear { why, .. } => format!("unclear: {why}"),
            Verdict::Nothing => "nothing".into(),
        }
    }

    #[test]
    fn words_speak_for_one_type() {
        assert_eq!(found("Please delete all personal data you hold about me."), "deletion");
        assert_eq!(found("Please send me the personal data you hold about me."), "access");
        assert_eq!(
            found("Please delete my data. First send me a copy of the data you hold about me."),
            "access deletion"
        );
        assert_eq!(found("Bitte keine personalisierte Werbung mehr."), "ad_opt_out");
        assert_eq!(found("Bitte keine Werbung mehr."), "opt_out");
    }

    #[test]
    fn hints_never_act_by_their_number() {
        let text = "Spam! Your mailing list, my data, GDPR, why am I getting your e-mails?";
        assert_eq!(found(text), "unclear: hints of a request, none certain");
    }

    #[test]
    fn a_denial_counts_where_it_stands() {
        let denied = "unclear: the words of a request, but denied, supposed or asked about";
        for text in [
            "Bitte löschen Sie meine Daten nicht, ich brauche sie noch.",
            "Meine Daten bitte auf keinen Fall löschen.",
            "Je ne veux pas que mes données soient supprimées.",
            "No quiero que mis datos sean borrados.",
            "Non voglio che i miei dati vengano cancellati.",
            "Não quero que os meus dados sejam apagados.",
            "Ik wil niet dat jullie mijn gegevens verwijderen.",
            "Verwijder mijn gegevens alstublieft niet.",
            "Please do not delete my data.",
        ] {
            assert_eq!(found(text), denied, "{text}");
        }
        // A denial that is the wish.
        assert_eq!(found("Please do not sell my personal information."), "ad_opt_out");
    }

    #[test]
    fn a_denial_holds_for_the_words_of_other_languages() {
        let denied = "unclear: the words of a request, but denied, supposed or asked about";
        for text in [
            "Non chiedo la cancellazione dei miei dati ai sensi dell'art. 17 GDPR.",
            "Ik vraag niet om verwijdering van mijn gegevens op grond van artikel 17 GDPR.",
        ] {
            assert_eq!(found(text), denied, "{text}");
        }
        assert_eq!(found("Chiedo la cancellazione ai sensi dell'art. 17 GDPR."), "deletion");
    }

    #[test]
    fn a_contradiction_is_for_a_person() {
        assert_eq!(
            found("Unsubscribe me. Actually no, do not unsubscribe me."),
            "unclear: the same thing is asked for and denied"
        );
        assert_eq!(found("Delete my data. No, wait!"), "unclear: a wish and its withdrawal");
        // One thing wished and another denied is none.
        assert_eq!(found("Do not delete my account, but unsubscribe me from the newsletter."), "opt_out");
    }

    #[test]
    fn a_wish_for_somebody_else_is_for_a_person() {
        let other = "unclear: it may be about somebody else";
        for text in [
            "On behalf of my mother: please unsubscribe me from the newsletter.",
            "Wir vertreten unseren Mandanten. Bitte löschen Sie alle personenbezogenen Daten.",
            "Au nom de ma mère, merci de supprimer toutes mes données.",
            "En nombre de mi madre, por favor eliminen todos mis datos.",
            "Per conto di mia madre, vi prego di cancellare tutti i miei dati.",
            "Em nome da minha mãe, apaguem por favor todos os meus dados.",
            "Namens mijn moeder: wilt u al mijn gegevens verwijderen?",
        ] {
            assert_eq!(found(text), other, "{text}");
        }
        // A child's data is somebody else's by its nature, and goes to a person at once.
        assert_eq!(found("Please delete his data, my son is 9 and has an account with you."), "child_data");
    }
}
