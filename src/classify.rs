//! What is asked: own words and subject against the phrases of every type.
//!
//! A phrase counts where it stands: in its sentence, unless that sentence denies it, asks about it,
//! supposes it or reports it. What a type's phrases weigh together is its confidence; a type acts
//! only above its own threshold. Whatever is left over is a person's to read.

use std::sync::{Arc, OnceLock};

use regex::bytes::{Regex, RegexBuilder};
use serde::Serialize;

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

struct Guards {
    before: [(&'static str, Patterns); 2],
    sentence: [(&'static str, Patterns); 3],
}

struct Phrase {
    kind: usize,
    strength: Strength,
    name: String,
    pattern: String,
    /// Compiled when it is first found: most of the hundreds never are.
    regex: OnceLock<Option<Regex>>,
}

/// The compiled phrases of one type in one language.
struct Lexicon {
    code: String,
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
}

/// The compiled table.
pub struct Classifier {
    kinds: Vec<Kind>,
    lexicons: Vec<Lexicon>,
    reply_prefix: Regex,
}

/// One phrase that was found.
struct Hit<'a> {
    phrase: &'a Phrase,
    language: &'a str,
    guard: Option<&'static str>,
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
            })
            .collect();
        let mut lexicons = Vec::new();
        for (index, (code, language)) in table.languages.iter().enumerate() {
            let set = |list: &Vec<String>| Patterns::new(list.iter().map(|p| pattern(p)));
            let guards = &language.guards;
            let guards = Arc::new(Guards {
                before: [("negated", set(&guards.negated)?), ("kept", set(&guards.kept)?)],
                sentence: [
                    ("asking", set(&guards.asking)?),
                    ("conditional", set(&guards.conditional)?),
                    ("reported", set(&guards.reported)?),
                ],
            });
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
                        regex: OnceLock::new(),
                    })
                    .collect();
                if !phrases.is_empty() {
                    let set = Patterns::new(phrases.iter().map(|phrase| phrase.pattern.clone()))?;
                    lexicons.push(Lexicon { code: code.clone(), set, phrases, guards: Arc::clone(&guards) });
                }
            }
        }
        // Re, Fwd and their translations, with counters such as "Re[2]:".
        let reply_prefix = RegexBuilder::new(
            r"^\s*(?:re|aw|wg|antw|sv|vs|fw|fwd|tr|rv|r|ref|odp|ynt|enc|i|res)(?:\[\d+\])?\s*:",
        )
        .unicode(false)
        .build()?;
        Ok(Self { kinds, lexicons, reply_prefix })
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
        let hits = self.hits(&text);
        let language = language_of(&hits, &text);
        let against = hits.iter().filter_map(|hit| Some((hit.phrase.name.clone(), hit.guard?))).collect();
        Reading { verdict: self.weigh(&hits), language, against }
    }

    /// Every phrase in `text` (one sentence a line), once a phrase: unguarded if it stands so anywhere.
    fn hits(&self, text: &str) -> Vec<Hit<'_>> {
        let mut hits = Vec::new();
        for lexicon in &self.lexicons {
            for index in lexicon.set.matches(text.as_bytes()) {
                let Some(phrase) = lexicon.phrases.get(index) else { continue };
                let regex = phrase.regex.get_or_init(|| {
                    RegexBuilder::new(&phrase.pattern).unicode(false).multi_line(true).build().ok()
                });
                let Some(regex) = regex else { continue };
                let mut guard = None;
                for found in regex.find_iter(text.as_bytes()).take(20) {
                    guard = lexicon.guards.against(text, found.start(), found.end());
                    if guard.is_none() {
                        break;
                    }
                }
                hits.push(Hit { phrase, language: &lexicon.code, guard });
            }
        }
        hits
    }

    fn weigh(&self, hits: &[Hit<'_>]) -> Verdict {
        let mut findings: Vec<(usize, Finding, f64)> = Vec::new();
        let mut denied = false;
        for (index, kind) in self.kinds.iter().enumerate() {
            let of_kind = |hit: &&Hit<'_>| hit.phrase.kind == index;
            let doubt: f64 = hits
                .iter()
                .filter(of_kind)
                .filter(|hit| hit.guard.is_none())
                .map(|hit| 1.0 - hit.phrase.strength.weight())
                .product();
            let strongly_denied = hits
                .iter()
                .filter(of_kind)
                .any(|hit| hit.guard.is_some() && hit.phrase.strength >= Strength::Likely);
            denied |= strongly_denied;
            let confidence = (1.0 - doubt).clamp(0.0, 0.999);
            if confidence > 0.0 {
                let rules = hits
                    .iter()
                    .filter(of_kind)
                    .filter(|hit| hit.guard.is_none())
                    .map(|hit| hit.phrase.name.clone())
                    .collect();
                let confidence = (confidence * 1000.0).round() / 1000.0;
                let finding = Finding { kind: kind.name.clone(), confidence, rules };
                findings.push((index, finding, kind.threshold));
            }
        }
        let (sure, unsure): (Vec<_>, Vec<_>) =
            findings.into_iter().partition(|(_, finding, threshold)| finding.confidence >= *threshold);
        let unsure: Vec<Finding> = unsure.into_iter().map(|(_, finding, _)| finding).collect();
        if sure.is_empty() {
            return match (unsure.is_empty(), denied) {
                (true, false) => Verdict::Nothing,
                (_, true) => Verdict::Unclear {
                    why: "the words of a request, but denied, supposed or asked about",
                    candidates: unsure,
                },
                (false, false) => {
                    Verdict::Unclear { why: "hints of a request, none certain", candidates: unsure }
                }
            };
        }
        // The same right both asked for and denied: nobody but a person can tell.
        let contradicts = sure.iter().any(|(index, _, _)| {
            hits.iter().any(|hit| {
                hit.phrase.kind == *index
                    && hit.guard == Some("negated")
                    && hit.phrase.strength == Strength::Certain
            })
        });
        if contradicts {
            let candidates = sure.into_iter().map(|(_, finding, _)| finding).collect();
            return Verdict::Unclear { why: "the same thing is asked for and denied", candidates };
        }
        let kind = |index: usize| self.kinds.get(index);
        let alone = sure.iter().position(|(index, _, _)| kind(*index).is_some_and(|kind| kind.alone));
        let all_yield = sure.iter().all(|(index, _, _)| kind(*index).is_some_and(|kind| kind.yields));
        // "I asked you three times already, unsubscribe me" is a reminder, and an opt-out first of all. Of a
        // child's data nothing follows for the writer's own.
        let is_urgent = alone
            .and_then(|only| sure.get(only))
            .is_some_and(|(index, _, _)| kind(*index).is_some_and(|kind| kind.urgent));
        let opts_out = |index: usize| !is_urgent && kind(index).is_some_and(|kind| kind.opts_out);
        let kept = sure.into_iter().enumerate().filter(|(place, (index, _, _))| match alone {
            Some(only) => *place == only || opts_out(*index),
            None => all_yield || kind(*index).is_some_and(|kind| !kind.yields),
        });
        Verdict::Requests(kept.map(|(_, (_, finding, _))| finding).collect())
    }
}

impl Guards {
    /// The guard that takes the phrase at `start..end` its force, if one does.
    fn against(&self, text: &str, start: usize, end: usize) -> Option<&'static str> {
        let from = text.get(..start)?.rfind('\n').map_or(0, |at| at + 1);
        let to = text.get(end..)?.find('\n').map_or(text.len(), |at| end + at);
        let before = text.get(from..start)?.as_bytes();
        let sentence = text.get(from..to)?.as_bytes();
        let hit = |sets: &[(&'static str, Patterns)], part: &[u8]| {
            sets.iter().find(|(_, set)| set.is_match(part)).map(|(name, _)| *name)
        };
        hit(&self.before, before).or_else(|| hit(&self.sentence, sentence))
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
