//! What is asked: own words and subject against the phrases of every type.
//!
//! A phrase counts where it stands: in its sentence, unless that sentence denies it, asks about it,
//! supposes it or reports it. The same words speak for one type: "delete the data you hold about me"
//! asks for no copy of it. What a type's phrases weigh together with what was learned of the mail's concepts
//! is its confidence; a type acts only above its own threshold. Whatever is left over is a person's to read, and
//! so is what the mail as a whole makes doubtful: a wish on somebody else's behalf, or one that is taken back.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::num::NonZero;
use std::ops::Range;
use std::sync::OnceLock;
use std::thread;

use serde::Serialize;

use crate::concept::{self, Concepts, Mention, Vocabulary};
use crate::learned::{self, Feature, Learned};
use crate::lexicon::{ASKED, Finds, Hit, KEPT, Lexicon, NEGATED, Search, sentence};
use crate::literals::Literals;
use crate::needles::{Needles, Sights};
use crate::patterns::Patterns;
use crate::request::{FOLLOW_UP, Strength, Table, Verb, of_phrase};
use crate::shelf::Shelf;
use crate::text::{fold, sentences};
use crate::tongue::{Heard, Tongues};

/// What takes a phrase its force on words of which another type has the better claim.
pub const OF_ANOTHER: &str = "part of another request";

/// The same, where the mail is about trade.
pub const OF_TRADE: &str = "about an order";

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
    /// Confidence from which it is acted on.
    #[serde(skip)]
    pub acts_from: f64,
    /// Whether a phrase of the operator's says so.
    #[serde(skip)]
    pub is_own: bool,
}

impl Finding {
    /// Whether a certain phrase says so.
    pub fn is_certain(&self) -> bool {
        let strengths = self.rules.iter().filter_map(|rule| Some(of_phrase(rule)?.1));
        strengths.max() == Some(Strength::Certain)
    }
}

/// What a mail asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// These, each above its type's threshold, in their safe order.
    Requests(Vec<Finding>),
    /// These, and perhaps something else, which is a person's to read. They go their way at once, as the law wants of an
    /// opt-out (16 CFR 316.5); only what leaves less of the sender's data than there was waits for that person.
    Partly {
        /// What is asked for certain.
        asked: Vec<Finding>,
        /// Why the rest is not certain.
        why: &'static str,
        /// What it might be.
        candidates: Vec<Finding>,
    },
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
    /// What a mail asks for, for certain.
    pub fn asked(&self) -> &[Finding] {
        match self {
            Self::Requests(asked) | Self::Partly { asked, .. } => asked,
            Self::Unclear { .. } | Self::Nothing => &[],
        }
    }

    /// What it might ask for besides, or instead.
    pub fn candidates(&self) -> &[Finding] {
        match self {
            Self::Partly { candidates, .. } | Self::Unclear { candidates, .. } => candidates,
            Self::Requests(_) | Self::Nothing => &[],
        }
    }

    /// All that it asks for or might ask for.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> + Clone {
        self.asked().iter().chain(self.candidates())
    }

    /// Why a person must read it.
    pub fn why(&self) -> Option<&'static str> {
        match self {
            Self::Partly { why, .. } | Self::Unclear { why, .. } => Some(why),
            Self::Requests(_) | Self::Nothing => None,
        }
    }
}

/// A phrase that was found, and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Ground {
    /// The phrase, by name.
    pub rule: String,
    /// How much it weighs where nothing speaks against it.
    pub weight: f64,
    /// The sentence that it was found in, folded; for the person who gave us the mail, never stored or logged.
    pub sentence: String,
    /// What took it its force.
    pub against: Option<&'static str>,
}

impl Ground {
    /// Whether the phrase is one of the type `kind`.
    pub fn is_of(&self, kind: &str) -> bool {
        self.rule.split('/').next() == Some(kind)
    }

    /// Whether the phrase is denied, or its opposite asked for: "do not delete my data", "stop the deletion". Hints are
    /// denied in many a mail: "I could not find where you ask about the deletion".
    pub fn is_denied(&self) -> bool {
        match self.against {
            Some(KEPT) => true,
            Some(NEGATED) => self.weight >= Strength::Likely.weight(),
            _ => false,
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
    /// Every phrase that was found.
    pub grounds: Vec<Ground>,
}

struct Kind {
    name: String,
    /// Its column in what was learned.
    column: Option<usize>,
    threshold: f64,
    /// The same where there is no phrase, or no more than hints.
    learned: f64,
    alone: bool,
    yields: bool,
    urgent: bool,
    /// What it asks for leaves nothing of what was there before.
    is_final: bool,
    /// Whether it takes something away; then it waits for whoever reads the rest of its mail.
    destroys: bool,
    /// An opt-out: done at once, whatever else is asked for for certain.
    opts_out: bool,
    /// A reminder: to tell what was asked for before speaks for it, not against it.
    reminds: bool,
    any_mood: bool,
    no_trade: bool,
    over: Vec<usize>,
}

impl Kind {
    /// How likely it has to be with a certain phrase: half as much, but for what is not there any more afterwards.
    fn with_certain(&self) -> f64 {
        if self.is_final { self.threshold } else { self.threshold / 2.0 }
    }

    /// Whether something else may be asked for beside it.
    fn may_be_besides(&self) -> bool {
        !self.yields && (!self.alone || self.urgent)
    }
}

/// The table, ready to classify by.
pub struct Classifier {
    kinds: Vec<Kind>,
    lexicons: Vec<Lexicon>,
    /// The patterns of all lexicons.
    shelf: Shelf,
    tongues: Tongues,
    concepts: Concepts,
    learned: Learned,
    reply_prefix: Patterns,
    forward_prefix: Patterns,
    /// Made for the first mail.
    index: OnceLock<Index>,
}

/// What finds the words of all languages.
struct Index {
    /// By language.
    literals: Vec<Literals>,
    vocabularies: Vec<Vocabulary>,
    /// Their sets: for each language its literals, and behind all of these for each its vocabulary. `None` when they are
    /// too many.
    needles: Option<Needles>,
}

/// Phrases that were found and do not count, each with the reason.
type Lost<'a> = Vec<(Hit<'a>, &'static str)>;

/// What a finding rests on, the weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Basis {
    /// What was learned, and hints at the most.
    Learned,
    /// Phrases.
    Phrases,
    /// Phrases of the operator's.
    Own,
}

/// A finding of the type with this index.
struct Found {
    index: usize,
    finding: Finding,
    basis: Basis,
    standing: Standing,
}

/// Whether a finding is enough to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It is.
    Sure,
    /// It would be, but something is denied, supposed or asked about, and weights do not know what.
    Doubted,
    /// It is not.
    Unsure,
}

/// What was learned of a mail.
struct Impression<'a> {
    text: &'a str,
    /// So many of its lines are the subject's.
    subject_lines: usize,
    /// The concepts of each line.
    lines: Vec<Vec<Mention>>,
    /// Type by type.
    notions: Vec<Option<Notion>>,
}

impl Impression<'_> {
    /// How likely what was learned makes the type with this index, whatever the phrases say.
    fn likelihood(&self, index: usize) -> f64 {
        let notion = self.notions.get(index).and_then(Option::as_ref);
        notion.map_or(0.0, |notion| chance(notion.leaning))
    }

    /// The number of the line that `place` begins in.
    fn line_at(&self, place: &Range<usize>) -> usize {
        let before = self.text.as_bytes().get(..place.start).unwrap_or_default();
        before.iter().filter(|byte| **byte == b'\n').count()
    }

    /// Whether `place` is the whole mail: its only line below the subject, or the subject of one that has none.
    fn is_all(&self, place: &Range<usize>) -> bool {
        let text = self.text.trim_end();
        let own = text.split('\n').skip(self.subject_lines).map(str::len).reduce(|all, line| all + 1 + line);
        let start = text.len() - own.unwrap_or(text.len());
        let signs = |part: &str| part.chars().filter(|sign| sign.is_alphanumeric()).count();
        let within = text.get(place.clone()).map(signs);
        place.start >= start && text.get(start..).map(signs) == within
    }
}

/// What was learned of a mail, for one type.
struct Notion {
    /// Log-odds that it asks for something of the type.
    leaning: f64,
    /// Where it is not unlikely: its name among those of phrases, `access/en/learned` by the language of the mail, and
    /// the line that says so.
    said: Option<(String, usize)>,
}

// How what was learned and what the phrases say come together: log-odds, by a logistic regression over letters that
// neither had seen.
const SLOPE: f64 = 1.11;
const BASE: f64 = 0.4;
/// One certain phrase; more than one; else a likely one; else a hint.
const CERTAIN: f64 = 2.18;
const CERTAIN_TWICE: f64 = 2.99;
const LIKELY: f64 = 0.93;
const HINT: f64 = 0.77;
/// A certain phrase of another type.
const OTHER: f64 = -0.43;
/// Below this chance phrases that are not certain are no reason for a look; without any, below the other.
const UNLIKELY: f64 = 0.1;
const WORTH_A_LOOK: f64 = 0.15;
/// What was only learned has to be so likely where something else is certain; and whatever is read apart from that.
const BESIDE_CERTAIN: f64 = 0.8;
/// What is gone afterwards has to be so likely beside anything else that is sure, where no certain phrase says it: "take me
/// off your files" is what an opt-out says as well.
const FINAL_BESIDE: f64 = 0.97;
/// And so likely for a person to have a look, where no certain phrase says it.
const BESIDE_DOUBT: f64 = 0.8;
/// And so likely in the sentences apart from what is certain.
const APART_DOUBT: f64 = 0.5;
/// A sentence and those beside it.
const BESIDE: usize = 3;
/// Where nothing else may be asked for, what is final and said by a certain phrase needs so much of what it would need
/// beside others. By weights alone it needs no less: "please delete" names nothing.
const LONE_CERTAIN: f64 = 0.6;
/// What was learned makes one thing so likely, and another no likelier than the second.
const OUTWEIGHS: f64 = 0.5;
const OUTWEIGHED: f64 = 0.25;

impl Classifier {
    /// Takes the phrases of `table`. They are compiled when they are needed.
    pub fn new(table: &Table) -> Self {
        let kinds = table
            .types
            .iter()
            .map(|kind| Kind {
                name: kind.name.clone(),
                column: table.learned.types().iter().position(|name| *name == kind.name),
                threshold: kind.threshold,
                learned: kind.learned,
                alone: kind.alone,
                yields: kind.yields,
                urgent: kind.urgent,
                is_final: kind.verb.is_some_and(Verb::is_final),
                destroys: kind.verb.is_some_and(Verb::destroys),
                opts_out: kind.action.opts_out(),
                reminds: kind.name == FOLLOW_UP,
                any_mood: kind.any_mood,
                no_trade: kind.no_trade,
                over: kind.over.clone(),
            })
            .collect();
        let mut sources = Vec::new();
        let lexicons =
            (0..table.languages.len()).filter_map(|index| Lexicon::new(table, index, &mut sources)).collect();
        // Re, Fwd and their translations, with counters such as "Re[2]:".
        let prefix =
            |words: &str| Patterns::new(std::iter::once(format!(r"\A\s*(?:{words})(?:\[\d+\])?\s*:")));
        let forwards = "wg|fw|fwd|tr|rv|enc|i|vs|doorst|vb|pd|prosl|πρθ|прн|пересл|转发|轉寄|轉發|転送";
        let replies =
            "re|aw|antw|sv|r|rif|ref|odp|odg|ynt|res|ras|απ|σχετ|отг|отв|ответ|回复|答复|回覆|答覆|返信";
        Self {
            kinds,
            lexicons,
            shelf: Shelf::new(sources),
            tongues: Tongues::new(&table.languages),
            concepts: Concepts::new(&table.concepts, table.languages.len()),
            learned: table.learned.clone(),
            reply_prefix: prefix(&format!("{forwards}|{replies}")),
            forward_prefix: prefix(forwards),
            index: OnceLock::new(),
        }
    }

    /// Whether a subject says that the mail is passed on: "Fwd: …" and its translations.
    pub fn is_forward(&self, subject: &str) -> bool {
        self.forward_prefix.is_match(fold(subject).as_bytes())
    }

    /// Reads a mail's subject and its own words, which are folded already.
    ///
    /// The subject of a reply is somebody else's; it counts only where there are no words at all,
    /// and then never decides.
    pub fn read(&self, subject: &str, folded: &str) -> Reading {
        let (text, subject_lines) = self.text(subject, folded);
        let heard = self.tongues.listen(&text);
        let (mentions, mut finds) = self.look_through(&text, &heard);
        let impression = self.impression(&text, subject_lines, mentions, &heard);
        let mut hits = std::mem::take(&mut finds.hits);
        let mut lost = self.give_words_to_one(&mut hits);
        lost.extend(self.leave_trade_out(&mut hits, || finds.is_about_trade(&self.shelf, &text)));
        let verdict = match self.weigh(&hits, &impression, || finds.doubt(&self.shelf, &text)) {
            verdict if !finds.is_too_much() => verdict,
            verdict => {
                let candidates = verdict.findings().cloned().collect();
                Verdict::Unclear { why: "more words of requests in it than are looked through", candidates }
            }
        };
        let told = language_of(&hits).or_else(|| heard.language()).map(str::to_owned);
        // Guessing costs as much as all the rest; nobody is answered who has asked for nothing.
        let language =
            told.or_else(|| if verdict == Verdict::Nothing { None } else { guess_language(&text) });
        let learned = impression.notions.iter().flatten().filter_map(|notion| {
            let (rule, line) = notion.said.clone()?;
            let sentence = text.lines().nth(line).unwrap_or_default().to_owned();
            Some(Ground { rule, weight: chance(notion.leaning), sentence, against: None })
        });
        let grounds = grounds(&hits, &lost, &text).chain(learned).collect();
        Reading { verdict, language, grounds }
    }

    /// Subject and words, one sentence a line, and how many of the lines are the subject's.
    fn text(&self, subject: &str, folded: &str) -> (String, usize) {
        let subject = fold(subject);
        let body = sentences(folded);
        if self.reply_prefix.is_match(subject.as_bytes()) {
            return (body, 0);
        }
        let subject = sentences(&subject);
        let lines = subject.split('\n').count();
        (subject + "\n" + &body, lines)
    }

    /// The concepts that the features are made of.
    pub fn concepts(&self) -> &[String] {
        self.concepts.names()
    }

    /// What is learned from a mail and judged by, see [`crate::learned`]. Takes what [`Self::read`] takes.
    pub fn features(&self, subject: &str, folded: &str) -> Vec<Feature> {
        let (text, subject_lines) = self.text(subject, folded);
        let (lines, _) = self.look_through(&text, &self.tongues.listen(&text));
        learned::features(&lines, &text, subject_lines)
    }

    fn index(&self) -> &Index {
        self.index.get_or_init(|| {
            let mut needles = Needles::default();
            let (literals, words): (Vec<Literals>, Vec<Vec<Vec<u8>>>) = self.literals().into_iter().unzip();
            let mut is_complete = needles.add(&words).is_ok();
            drop(words);
            let (vocabularies, words): (Vec<Vocabulary>, Vec<Vec<String>>) =
                self.concepts.vocabularies().unzip();
            is_complete &= needles.add(&words).is_ok();
            Index { literals, vocabularies, needles: is_complete.then_some(needles) }
        })
    }

    /// What the patterns of each language need: most of the work that the first mail has to wait for, on several cores.
    fn literals(&self) -> Vec<(Literals, Vec<Vec<u8>>)> {
        /// More would each have little to do.
        const MOST_WORKERS: usize = 4;
        let workers = thread::available_parallelism().map_or(1, NonZero::get).min(MOST_WORKERS);
        let share = |worker: usize| {
            let of_worker = self.lexicons.iter().enumerate().skip(worker).step_by(workers);
            of_worker.map(|(place, lexicon)| (place, lexicon.literals(&self.shelf))).collect::<Vec<_>>()
        };
        let mut literals: Vec<_> = thread::scope(|scope| {
            let share = &share;
            let begin = |worker| thread::Builder::new().spawn_scoped(scope, move || share(worker));
            let others: Vec<_> = (1..workers).map(|worker| (worker, begin(worker))).collect();
            let mut literals = share(0);
            for (worker, other) in others {
                literals.extend(match other {
                    Ok(other) => other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                    // Where the process may have no more threads it is done here.
                    Err(_) => share(worker),
                });
            }
            literals
        });
        literals.sort_by_key(|(place, _)| *place);
        literals.into_iter().map(|(_, of_language)| of_language).collect()
    }

    /// The concepts in every line of `text` (one sentence a line), and every phrase in it, once a phrase, with its places.
    fn look_through(&self, text: &str, heard: &Heard<'_>) -> (Vec<Vec<Mention>>, Finds<'_>) {
        let mut finds = Finds::default();
        let mut mentions = Vec::new();
        let Index { literals, vocabularies, needles } = self.index();
        let Some(needles) = needles else {
            finds.give_up();
            return (mentions, finds);
        };
        let (told, mut sights) = (heard.leader(), Sights::default());
        let mut wanted = vec![false; literals.len() + vocabularies.len()];
        let mut searches: Vec<Option<Search<'_>>> = self.lexicons.iter().map(|_| None).collect();
        let mut start = 0;
        for (number, line) in text.split('\n').enumerate() {
            let range = start..start + line.len();
            start = range.end + 1;
            if line.is_empty() {
                mentions.push(Vec::new());
                continue;
            }
            let possible: Vec<usize> = heard.possible(number).collect();
            let sets = |language: &usize| [*language, literals.len() + *language];
            wanted.fill(false);
            for set in possible.iter().flat_map(sets) {
                if let Some(is_wanted) = wanted.get_mut(set) {
                    *is_wanted = true;
                }
            }
            needles.look(line, &wanted, &mut sights);
            let vocabularies = possible.iter().filter_map(|language| {
                let [_, set] = sets(language);
                Some((vocabularies.get(*language)?, sights.of(set), told == Some(*language)))
            });
            mentions.push(concept::read(line, vocabularies));
            for language in possible {
                let (Some(lexicon), Some(literals), Some(search)) =
                    (self.lexicons.get(language), literals.get(language), searches.get_mut(language))
                else {
                    continue;
                };
                let search = search.get_or_insert_with(|| lexicon.search(language, literals));
                let seen = (sights.of(language), sights.blanks());
                search.line(&self.shelf, text, range.clone(), seen, &mut finds);
            }
        }
        for search in searches.into_iter().flatten() {
            search.end(&self.shelf, text, &mut finds);
        }
        finds.guard_across_languages(&self.lexicons, &self.shelf, text);
        finds.sort();
        (mentions, finds)
    }

    /// Where phrases of two types share words, leaves the words to one: to the certain phrase, or to
    /// the type that stands over the other. Answers the phrases that lost all their places.
    fn give_words_to_one<'a>(&self, hits: &mut Vec<Hit<'a>>) -> Lost<'a> {
        let claims: Vec<(usize, Strength, Range<usize>)> = hits
            .iter()
            .flat_map(|hit| {
                hit.free.iter().map(|place| (hit.phrase.kind, hit.phrase.strength, place.clone()))
            })
            .collect();
        let stands_over =
            |kind: usize, other: usize| self.kinds.get(kind).is_some_and(|kind| kind.over.contains(&other));
        let loses_all = |hit: &mut Hit<'_>| {
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
            was_free && hit.free.is_empty()
        };
        hits.extract_if(.., loses_all).map(|hit| (hit, OF_ANOTHER)).collect()
    }

    /// Takes the hits out that only sound like a request, where the mail is about an order.
    fn leave_trade_out<'a>(&self, hits: &mut Vec<Hit<'a>>, is_about_trade: impl Fn() -> bool) -> Lost<'a> {
        let is_weak = |hit: &Hit<'_>| {
            hit.phrase.strength < Strength::Certain
                && self.kinds.get(hit.phrase.kind).is_some_and(|kind| kind.no_trade)
        };
        if !hits.iter().any(is_weak) || !is_about_trade() {
            return Vec::new();
        }
        hits.extract_if(.., |hit| is_weak(hit)).map(|hit| (hit, OF_TRADE)).collect()
    }

    /// What is learned of `text`, in whose lines these concepts are.
    fn impression<'a>(
        &self,
        text: &'a str,
        subject_lines: usize,
        lines: Vec<Vec<Mention>>,
        heard: &Heard<'_>,
    ) -> Impression<'a> {
        let leanings = self.learned.judge(&learned::features(&lines, text, subject_lines));
        let language = heard.leader().and_then(|place| self.lexicons.get(place));
        let language = language.map_or("any", |lexicon| lexicon.code.as_str());
        let by_line = OnceCell::new();
        let notion = |kind: &Kind| {
            let column = kind.column?;
            let leaning = *leanings.get(column)?;
            let said = || {
                let by_line = by_line.get_or_init(|| self.learned.by_line(&lines));
                (format!("{}/{language}/learned", kind.name), strongest(by_line, column))
            };
            Some(Notion { leaning, said: (chance(leaning) >= WORTH_A_LOOK).then(said) })
        };
        let notions = self.kinds.iter().map(notion).collect();
        Impression { text, subject_lines, lines, notions }
    }

    /// What the line with this number and those beside it come to, for the type of `column`: a clear sentence in a
    /// long letter about something else is as clear as alone.
    fn leaning_at(&self, impression: &Impression<'_>, line: usize, column: usize) -> Option<f64> {
        let first = line.saturating_sub(1);
        let lines = impression.lines.get(first..).unwrap_or_default();
        let lines = lines.get(..BESIDE).unwrap_or(lines);
        let text: Vec<&str> = impression.text.split('\n').skip(first).take(BESIDE).collect();
        let subject_lines = impression.subject_lines.saturating_sub(first);
        let features = learned::features(lines, &text.join("\n"), subject_lines);
        self.learned.judge(&features).get(column).copied()
    }

    /// What the hits come to, and what was learned. `doubt` is asked only where something would be done, or nothing
    /// would be and there is a phrase: whether the mail as a whole speaks against it.
    fn weigh(
        &self,
        hits: &[Hit<'_>],
        impression: &Impression<'_>,
        doubt: impl Fn() -> Option<&'static str>,
    ) -> Verdict {
        let guards =
            || hits.iter().filter(|it| it.phrase.strength >= Strength::Likely).filter_map(|hit| hit.guard);
        let denied = guards().next().is_some();
        let is_told = guards().all(|guard| guard == ASKED);
        let found = self.kinds.iter().enumerate().filter_map(|(index, kind)| {
            self.finding(index, hits, impression, denied && !(is_told && kind.reminds))
        });
        let (mut sure, mut rest): (Vec<Found>, Vec<Found>) =
            found.partition(|found| found.standing == Standing::Sure);
        if sure.is_empty() && !denied && self.is_clear_alone(&mut rest) {
            std::mem::swap(&mut sure, &mut rest);
        }
        if sure.is_empty() {
            let candidates: Vec<Finding> = rest.into_iter().map(|found| found.finding).collect();
            return match (candidates.is_empty(), denied) {
                (true, false) if hits.iter().any(|hit| !hit.free.is_empty()) => {
                    doubt().map_or(Verdict::Nothing, |why| Verdict::Unclear { why, candidates })
                }
                (true, false) => Verdict::Nothing,
                (_, true) => Verdict::Unclear {
                    why: "the words of a request, but denied, supposed or asked about",
                    candidates,
                },
                (false, false) => Verdict::Unclear { why: "hints of a request, none certain", candidates },
            };
        }
        // What the operator wrote is not added to by what was learned of other companies' mail.
        // Nor is what is certain, but by what is next to it: the words of one right sound like another's.
        let least = if sure.iter().any(|found| found.basis == Basis::Own) {
            1.0
        } else if sure.iter().any(|found| found.finding.is_certain()) {
            BESIDE_CERTAIN
        } else {
            0.0
        };
        // Words of what is final are those of other wishes, too: beside another it is a person's to tell.
        let is_final = |found: &Found| self.kinds.get(found.index).is_some_and(|kind| kind.is_final);
        let is_doubtful = |found: &Found| {
            let is_likely = found.finding.is_certain() || found.finding.confidence >= FINAL_BESIDE;
            is_final(found) && found.basis < Basis::Own && !is_likely
        };
        let mut doubtful = Vec::new();
        if !sure.iter().all(is_doubtful) {
            doubtful.extend(sure.extract_if(.., |found| is_doubtful(found)));
        }
        let (sure, besides): (Vec<Found>, Vec<Found>) = sure.into_iter().partition(|found| {
            // And what is gone afterwards not at all, without a phrase for it.
            let least = if is_final(found) && least > 0.0 { 1.0 } else { least };
            found.basis > Basis::Learned || found.finding.confidence >= least
        });
        // What a certain phrase says is not made unlikely by what else is asked for.
        let left = rest
            .into_iter()
            .filter(|found| found.standing == Standing::Doubted || found.finding.is_certain());
        let mut besides: Vec<Found> = besides.into_iter().chain(left).collect();
        besides.retain(|found| self.may_be_asked_besides(found));
        besides.extend(doubtful);
        let (mut kept, is_alone) = self.choose(sure, impression);
        if !is_alone {
            let apart = self.apart(&kept, &besides, hits, impression);
            let (sure, doubted): (Vec<Found>, Vec<Found>) =
                apart.into_iter().partition(|found| found.standing == Standing::Sure);
            kept.extend(sure);
            kept.sort_by_key(|found| found.index);
            besides.extend(doubted);
        }
        let kind = |found: &Found| self.kinds.get(found.index);
        besides.retain(|found| {
            found.finding.confidence >= OUTWEIGHED
                || kind(found).is_some_and(|kind| kind.alone)
                || !has_no_other_words(found, &kept, hits)
        });
        // Beside what stands for the whole mail only what is urgent is not lost.
        besides.retain(|found| !is_alone || kind(found).is_some_and(|kind| kind.urgent));
        // The same right both asked for and denied: nobody but a person can tell.
        let may_contradict = |found: &&Found| kind(found).is_some_and(|kind| !kind.any_mood);
        let contradicts = kept.iter().filter(may_contradict).any(|found| {
            hits.iter().any(|hit| {
                hit.phrase.kind == found.index && hit.negated && hit.phrase.strength == Strength::Certain
            })
        });
        let against = match contradicts {
            true => Some("the same thing is asked for and denied"),
            false if kept.iter().filter_map(kind).all(|kind| kind.alone) => None,
            false => doubt(),
        };
        let findings = |found: Vec<Found>| found.into_iter().map(|found| found.finding);
        if let Some(why) = against {
            return Verdict::Unclear { why, candidates: findings(kept).chain(findings(besides)).collect() };
        }
        if besides.is_empty() {
            return Verdict::Requests(findings(kept).collect());
        }
        let why = "something else may be asked for, too";
        // What destroys goes its way as well: it is not carried out before a person has read the rest of its mail. But
        // beside what would stand for the whole mail: then it may be somebody else's data.
        let may_be_anothers = besides.iter().filter_map(kind).any(|kind| kind.alone);
        // Nor is a correction held, which its sender confirms line by line, because "take the wrong one out" has words of an
        // erasure and no phrase of one.
        let by_weights = besides.iter().all(|found| found.basis == Basis::Learned);
        let goes_on = |found: &Found| {
            let is_clear = |kind: &Kind| kind.destroys || by_weights && found.finding.is_certain();
            kind(found)
                .is_some_and(|kind| !kind.alone && (!kind.is_final || !may_be_anothers && is_clear(kind)))
        };
        let (asked, others): (Vec<Found>, Vec<Found>) = kept.into_iter().partition(goes_on);
        let candidates: Vec<Finding> = findings(others).chain(findings(besides)).collect();
        match asked.is_empty() {
            true => Verdict::Unclear { why, candidates },
            false => Verdict::Partly { asked: findings(asked).collect(), why, candidates },
        }
    }

    /// What is asked for, or may be, in the sentences that hold no phrase of what is `kept`. Next to one, whose words are
    /// those of other rights as well, it weighs too little; read without them it is what it would be in a mail of its own.
    fn apart(
        &self,
        kept: &[Found],
        besides: &[Found],
        hits: &[Hit<'_>],
        impression: &Impression<'_>,
    ) -> Vec<Found> {
        let is_kept = |index: usize| kept.iter().any(|found| found.index == index);
        let taken = hits.iter().filter(|hit| is_kept(hit.phrase.kind)).flat_map(|hit| &hit.free);
        let taken: BTreeSet<usize> = taken.map(|place| impression.line_at(place)).collect();
        if taken.is_empty() {
            return Vec::new();
        }
        let is_left = |number: usize| !taken.contains(&number);
        let text = impression.text.split('\n').enumerate().filter(|(number, _)| is_left(*number));
        let text: Vec<&str> = text.map(|(_, line)| line).collect();
        let mentions = impression.lines.iter().enumerate().filter(|(number, _)| is_left(*number));
        let mentions: Vec<Vec<Mention>> = mentions.map(|(_, line)| line.clone()).collect();
        let subject_lines = (0..impression.subject_lines).filter(|number| is_left(*number)).count();
        let leanings = self.learned.judge(&learned::features(&mentions, &text.join("\n"), subject_lines));
        let of_left =
            hits.iter().filter(|hit| hit.free.iter().any(|place| is_left(impression.line_at(place))));
        let of_left: Vec<&Hit<'_>> = of_left.collect();
        let is_known = |index: usize| kept.iter().chain(besides).any(|found| found.index == index);
        let others = self
            .kinds
            .iter()
            .enumerate()
            .filter(|(index, kind)| !is_known(*index) && !kind.opts_out && kind.may_be_besides());
        let found = others.filter_map(|(index, kind)| {
            let leaning = *leanings.get(kind.column?)?;
            let mine = || of_left.iter().copied().filter(|hit| hit.phrase.kind == index);
            let confidence = chance(SLOPE * leaning + BASE + evidence_of(mine()));
            let mut rules: Vec<String> = mine().map(|hit| hit.phrase.name.clone()).collect();
            let strongest = mine().map(|hit| hit.phrase.strength).max();
            // Beside something certain weights alone do not act: they know no grammar.
            let acts_from = match strongest {
                Some(Strength::Certain) => Some(kind.with_certain()),
                Some(Strength::Likely) => Some(kind.threshold),
                Some(Strength::Hint) | None => None,
            };
            if rules.is_empty() {
                rules.push(format!("{}/any/learned", kind.name));
            }
            let is_enough = acts_from.is_some_and(|from| confidence >= from.max(BESIDE_CERTAIN));
            let standing =
                if is_enough && !is_denied(index, hits) { Standing::Sure } else { Standing::Doubted };
            let finding = Finding {
                kind: kind.name.clone(),
                confidence: rounded(confidence),
                rules,
                acts_from: acts_from.unwrap_or(kind.learned),
                is_own: false,
            };
            let basis = if acts_from.is_some() { Basis::Phrases } else { Basis::Learned };
            Some(Found { index, finding, basis, standing })
        });
        let mut found: Vec<Found> = found.filter(|found| found.finding.confidence >= APART_DOUBT).collect();
        // What would stand for the whole mail makes all of this doubtful: of a child's data nothing follows for the
        // writer's own.
        if found.iter().any(|found| self.kinds.get(found.index).is_some_and(|kind| kind.alone)) {
            found.iter_mut().for_each(|found| found.standing = Standing::Doubted);
        }
        found
    }

    /// Whether what is not sure is the only thing that may be asked for, and only just not sure. The words of one right
    /// sound like another's, and where what is final is one of several it may be none of them.
    fn is_clear_alone(&self, rest: &mut [Found]) -> bool {
        let [Found { index, finding, .. }] = rest else { return false };
        let Some(kind) = self.kinds.get(*index).filter(|kind| kind.is_final) else { return false };
        let needed = kind.threshold * LONE_CERTAIN;
        let is_clear = finding.is_certain() && finding.confidence >= needed;
        if is_clear {
            finding.acts_from = needed;
        }
        is_clear
    }

    /// Whether what is not sure is so likely that what is certain beside it may not be all.
    fn may_be_asked_besides(&self, found: &Found) -> bool {
        let is_likely = found.finding.is_certain() || found.finding.confidence >= BESIDE_DOUBT;
        is_likely && self.kinds.get(found.index).is_some_and(Kind::may_be_besides)
    }

    /// Which of several sure findings count, and whether one stands for the whole mail.
    fn choose(&self, sure: Vec<Found>, impression: &Impression<'_>) -> (Vec<Found>, bool) {
        let kind = |found: &Found| self.kinds.get(found.index);
        let is_certain = |found: &Found| found.finding.is_certain();
        // What was only learned does not stand for a mail in which something else is certain.
        let may_stand_alone = |found: &Found| {
            kind(found).is_some_and(|kind| kind.alone)
                && (found.basis > Basis::Learned || !sure.iter().any(is_certain))
                && !self.is_outweighed(found, &sure, impression)
        };
        let alone = sure.iter().position(may_stand_alone);
        let mut others = sure.iter().filter_map(kind).filter(|kind| !kind.alone);
        let all_yield = others.all(|kind| kind.yields);
        // "I asked you three times already, unsubscribe me" is a reminder, and an opt-out first of all. Of a
        // child's data nothing follows for the writer's own.
        let is_urgent = alone.and_then(|only| sure.get(only)).and_then(kind).is_some_and(|kind| kind.urgent);
        let opts_out = |found: &Found| !is_urgent && kind(found).is_some_and(|kind| kind.opts_out);
        let kept = sure.into_iter().enumerate().filter(|(place, found)| match alone {
            Some(only) => *place == only || opts_out(found),
            None => kind(found).is_some_and(|kind| !kind.alone && (all_yield || !kind.yields)),
        });
        (kept.map(|(_, found)| found).collect(), alone.is_some())
    }

    /// Whether a phrase that would stand for the whole mail is a by-the-way in it: "if you do not answer I shall complain"
    /// at the end of a letter that as a whole asks for something else, and does not sound like a reminder.
    fn is_outweighed(&self, found: &Found, sure: &[Found], impression: &Impression<'_>) -> bool {
        let is_urgent = self.kinds.get(found.index).is_some_and(|kind| kind.urgent);
        let says_more = |other: &Found| {
            let is_whole = self.kinds.get(other.index).is_some_and(|kind| !kind.alone && !kind.yields);
            is_whole && other.finding.is_certain() && impression.likelihood(other.index) >= OUTWEIGHS
        };
        !is_urgent
            && found.basis < Basis::Own
            && impression.likelihood(found.index) < OUTWEIGHED
            && sure.iter().any(says_more)
    }

    /// What the hits of the type with this index weigh together with what was learned of it. `denied`: whether any
    /// phrase of any type is.
    fn finding(
        &self,
        index: usize,
        hits: &[Hit<'_>],
        impression: &Impression<'_>,
        denied: bool,
    ) -> Option<Found> {
        let kind = self.kinds.get(index)?;
        let notion = impression.notions.get(index).and_then(Option::as_ref);
        let mine = || hits.iter().filter(|hit| hit.phrase.kind == index && !hit.free.is_empty());
        let strengths = || mine().map(|hit| hit.phrase.strength);
        let strongest = strengths().max();
        let basis = match strongest {
            _ if mine().any(|hit| hit.phrase.is_own) => Basis::Own,
            Some(Strength::Likely | Strength::Certain) => Basis::Phrases,
            Some(Strength::Hint) | None => Basis::Learned,
        };
        let mut is_held = false;
        let confidence = match (notion, strongest) {
            (None, None) => return None,
            (None, Some(strongest)) => by_phrases(strengths(), strongest),
            (Some(_), Some(strongest)) if basis == Basis::Own => by_phrases(strengths(), strongest),
            (Some(notion), strongest) => {
                let evidence = evidence(index, hits);
                let chance_of = |leaning: f64| chance(SLOPE * leaning + BASE + evidence);
                let chance = chance_of(notion.leaning);
                let is_enough = |chance: f64| chance >= kind.with_certain();
                let is_clear_alone = || {
                    let certain = mine().filter(|hit| hit.phrase.strength == Strength::Certain);
                    // "Baja": a word of other mail, too, but there is no other word in it.
                    let is_all = |place: &Range<usize>| kind.opts_out && impression.is_all(place);
                    if certain.clone().flat_map(|hit| &hit.free).any(is_all) {
                        return true;
                    }
                    let lines: BTreeSet<usize> =
                        certain.flat_map(|hit| &hit.free).map(|place| impression.line_at(place)).collect();
                    let leaning = |line| self.leaning_at(impression, line, kind.column?);
                    lines.into_iter().filter_map(leaning).map(chance_of).any(is_enough)
                };
                // An opt-out is done at once, so that a hint is enough to hold it.
                is_held = is_denied(index, hits) || kind.opts_out && is_hint_denied(index, hits);
                match strongest {
                    Some(Strength::Certain) if is_enough(chance) || is_clear_alone() => {
                        is_held = false;
                        by_phrases(strengths(), Strength::Certain).max(chance)
                    }
                    Some(Strength::Certain) => chance,
                    Some(_) if chance >= UNLIKELY => chance,
                    None if chance >= WORTH_A_LOOK => chance,
                    _ => return None,
                }
            }
        };
        let mut rules: Vec<String> = mine().map(|hit| hit.phrase.name.clone()).collect();
        rules.extend(notion.and_then(|notion| notion.said.as_ref()).map(|(rule, _)| rule.clone()));
        let needed = if notion.is_some() && basis == Basis::Learned { kind.learned } else { kind.threshold };
        let confidence = rounded(confidence);
        let finding = Finding {
            kind: kind.name.clone(),
            confidence,
            rules,
            acts_from: needed,
            is_own: basis == Basis::Own,
        };
        let standing = if confidence < needed || is_held {
            Standing::Unsure
        } else if denied && basis == Basis::Learned {
            Standing::Doubted
        } else {
            Standing::Sure
        };
        Some(Found { index, finding, basis, standing })
    }
}

/// Whether the phrases that speak for `found` stand on words of what is `kept`: "delete my account" is no wish for two
/// things.
fn has_no_other_words(found: &Found, kept: &[Found], hits: &[Hit<'_>]) -> bool {
    let places = |is_one: &dyn Fn(usize) -> bool| -> Vec<Range<usize>> {
        hits.iter().filter(|hit| is_one(hit.phrase.kind)).flat_map(|hit| hit.free.clone()).collect()
    };
    let taken = places(&|index| kept.iter().any(|found| found.index == index));
    let mine = places(&|index| index == found.index);
    let overlaps = |place: &Range<usize>| taken.iter().any(|it| place.start < it.end && it.start < place.end);
    !mine.is_empty() && mine.iter().all(overlaps)
}

/// The number of the line that speaks most for the type of `column`.
fn strongest(by_line: &[Vec<f64>], column: usize) -> usize {
    let says = by_line.iter().map(|line| line.get(column).copied().unwrap_or(0.0)).enumerate();
    says.max_by(|(_, one), (_, two)| one.total_cmp(two)).map_or(0, |(number, _)| number)
}

/// What the phrases for the type with this index add to what was learned, in log-odds.
fn evidence(index: usize, hits: &[Hit<'_>]) -> f64 {
    let is_other = |hit: &Hit<'_>| {
        !hit.free.is_empty() && hit.phrase.strength == Strength::Certain && hit.phrase.kind != index
    };
    let mine = hits.iter().filter(|hit| hit.phrase.kind == index);
    evidence_of(mine) + if hits.iter().any(is_other) { OTHER } else { 0.0 }
}

/// Whether a phrase of the type with this index is denied, supposed or asked about: weights know no grammar, and do not
/// act on it.
fn is_denied(index: usize, hits: &[Hit<'_>]) -> bool {
    let mut mine = hits.iter().filter(|hit| hit.phrase.kind == index && hit.guard.is_some());
    mine.any(|hit| hit.phrase.strength > Strength::Hint)
}

/// Whether every hint of the type with this index is: "she told me to write unsubscribe".
fn is_hint_denied(index: usize, hits: &[Hit<'_>]) -> bool {
    let mut mine = hits.iter().filter(|hit| hit.phrase.kind == index).peekable();
    mine.peek().is_some() && mine.all(|hit| hit.guard.is_some())
}

/// What these phrases of one type add to what was learned, in log-odds.
fn evidence_of<'a>(hits: impl Iterator<Item = &'a Hit<'a>>) -> f64 {
    let found: Vec<Strength> =
        hits.filter(|hit| !hit.free.is_empty()).map(|hit| hit.phrase.strength).collect();
    let certain = found.iter().filter(|strength| **strength == Strength::Certain).count();
    match (certain, found.iter().max()) {
        (2.., _) => CERTAIN_TWICE,
        (1, _) => CERTAIN,
        (_, Some(Strength::Likely)) => LIKELY,
        (_, Some(_)) => HINT,
        (_, None) => 0.0,
    }
}

/// A confidence as it is told: with three digits, and never certainty.
fn rounded(confidence: f64) -> f64 {
    (confidence.clamp(0.0, 0.999) * 1000.0).round() / 1000.0
}

/// What phrases weigh together, of which the strongest is `strongest`. Hints count once however many they are, so
/// that they never act by their number.
fn by_phrases(strengths: impl Iterator<Item = Strength>, strongest: Strength) -> f64 {
    if strongest == Strength::Hint {
        return Strength::Hint.weight();
    }
    1.0 - strengths.map(|strength| 1.0 - strength.weight()).product::<f64>()
}

/// The chance that these log-odds mean.
fn chance(leaning: f64) -> f64 {
    1.0 / (1.0 + (-leaning).exp())
}

/// What was found, with the sentences it was found in.
fn grounds(hits: &[Hit<'_>], lost: &Lost<'_>, text: &str) -> impl Iterator<Item = Ground> {
    let ground = |hit: &Hit<'_>, against| Ground {
        rule: hit.phrase.name.clone(),
        weight: hit.phrase.strength.weight(),
        sentence: text.get(sentence(text.as_bytes(), &hit.place)).unwrap_or_default().to_owned(),
        against,
    };
    let lost = lost.iter().map(move |(hit, why)| ground(hit, Some(*why)));
    hits.iter().map(move |hit| ground(hit, hit.guard)).chain(lost)
}

/// The language most of the found phrases are in, if it is one.
fn language_of<'a>(hits: &[Hit<'a>]) -> Option<&'a str> {
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
        (Some((code, _)), None) => Some(code),
        _ => None,
    }
}

/// What the words' letters tell.
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
        let build = || Classifier::new(&Table::load(None).unwrap());
        CLASSIFIER.get_or_init(build).read("", &fold(text)).verdict
    }

    const DENIED: &str = "unclear: the words of a request, but denied, supposed or asked about";

    /// The types that are acted on, and why a person must read it, if one must.
    fn found(text: &str) -> String {
        let verdict = verdict(text);
        if verdict == Verdict::Nothing {
            return "nothing".to_owned();
        }
        let asked = verdict.asked().iter().map(|finding| finding.kind.as_str());
        let why = verdict.why().map(|why| format!("unclear: {why}"));
        asked.chain(why.as_deref()).collect::<Vec<_>>().join(" ")
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
            assert_eq!(found(text), DENIED, "{text}");
        }
        // A denial that is the wish.
        assert_eq!(found("Please do not sell my personal information."), "ad_opt_out");
    }

    #[test]
    fn a_denial_holds_for_the_words_of_other_languages() {
        for text in [
            "Non chiedo la cancellazione dei miei dati ai sensi dell'art. 17 GDPR.",
            "Ik vraag niet om verwijdering van mijn gegevens op grond van artikel 17 GDPR.",
        ] {
            assert_eq!(found(text), DENIED, "{text}");
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

    /// Who has asked for it before wants an opt-out no less; what others have asked for is nobody's wish.
    #[test]
    fn an_opt_out_that_was_asked_for_before_is_one() {
        for text in [
            "STOP SENDING ME EMAILS I ASKED YOU 3 TIMES ALREADY",
            "Baja",
            "BAJA.",
            "i told you twice already, unsubscribe me",
            "hab schon zweimal drum gebeten, tragt mich endlich aus dem Verteiler aus",
            "dejad de mandarme correos ya lo he pedido 3 veces",
            "PAREM DE ME MANDAR EMAILS JA PEDI 3 VEZES",
            "stop met mailen ik heb het al 3 keer gevraagd",
            "przestancie wysylac mi maile prosilem juz 3 razy",
            "jag har redan avregistrerat mig två gånger, ta bort mig från listan",
            "хватит слать мне письма я уже 3 раза просил",
            "不要再给我发邮件了我已经说了三遍",
        ] {
            assert_eq!(found(text), "opt_out", "{text}");
        }
        for text in [
            "She told me to write unsubscribe.",
            "Estoy de baja hasta el lunes.",
            "Presión baja",
            "Min fru har bett er avregistrera mig från nyhetsbrevet.",
            "Мой брат просил отписать его от рассылки.",
            "I asked you to delete my data in March.",
        ] {
            assert!(
                !found(text).contains("opt_out") && !found(text).contains("deletion"),
                "{text}: {}",
                found(text)
            );
        }
    }

    #[test]
    fn what_was_only_learned_does_not_overrule_the_grammar() {
        for text in [
            "Erasure of data.\nWhat happens if I ask you to delete my account and all my personal data?",
            "My wife told me that you would delete all my personal data if I asked you. Would you?",
            "请不要删除我的个人信息。",
            "Please remove my husband from your mailing list.",
            "On behalf of Lucy Doe: please erase her details.",
        ] {
            assert!(found(text).starts_with("unclear"), "{text}: {}", found(text));
        }
        // A clear sentence in a letter about something else.
        let agenda = "The agenda for the meeting of the choir is attached. We sing at four, then there is cake, and \
                      Ruth brings the chairs. The invoice for the hall is paid, the tickets are printed.\n\
                      Please delete all my personal data.\nSee you on Friday at the station, with the tenors and the dog.";
        assert_eq!(found(agenda), "deletion");
    }

    #[test]
    fn what_was_only_learned_is_not_lost_beside_what_is_certain() {
        let asked = "Unsubscribe me from the newsletter. Besides I would like everything stored in your systems on \
                     my person, on paper.";
        let kinds = |text: &str| -> Vec<String> {
            verdict(text).findings().map(|found| found.kind.clone()).collect()
        };
        let besides = "something else may be asked for, too";
        let unclear = format!("unclear: {besides}");
        let opt_out = format!("opt_out {unclear}");
        for (text, expected, both) in [
            (
                "Please unsubscribe me from the newsletter. Delete my account.",
                &opt_out,
                ["opt_out", "cancel_account"],
            ),
            (
                "Bitte keine Werbung mehr. Löschen Sie mein Konto.",
                &"opt_out cancel_account".to_owned(),
                ["opt_out", "cancel_account"],
            ),
            // What no phrase says for certain, and what weighs too little next to an opt-out.
            (
                "Please unsubscribe me from the newsletter. Please also forget me entirely.",
                &"opt_out deletion".to_owned(),
                ["opt_out", "deletion"],
            ),
            (
                "Please unsubscribe me from the newsletter. Also shred whatever is on file under my name.",
                &opt_out,
                ["opt_out", "deletion"],
            ),
            (
                "Please restrict the processing of my data until the accuracy is verified. Kindly also unsubscribe me.",
                &"opt_out restriction".to_owned(),
                ["opt_out", "restriction"],
            ),
            // What makes a mail a child's is not lost either, nor beside a reminder.
            ("Please unsubscribe me from the newsletter. COPPA.", &opt_out, ["opt_out", "child_data"]),
            (
                "I wrote to you a month ago and still have no reply to my request. COPPA.",
                &unclear,
                ["follow_up", "child_data"],
            ),
            (&format!("{asked} Do not close my account."), &opt_out, ["opt_out", "access"]),
        ] {
            assert_eq!(
                (&found(text), kinds(text).get(..2)),
                (expected, Some(&both.map(str::to_owned)[..])),
                "{text}"
            );
        }
        assert_eq!(found(asked), "opt_out access");
        let reminder = "Reminder\nI wait for the answer to the request of May. The month passed, no reply came. Who \
                        is your DPO?";
        assert_ne!(verdict(reminder), Verdict::Nothing);
    }

    #[test]
    fn a_polite_question_is_a_wish_and_a_denial_none() {
        for (text, expected) in [
            ("Kan ni inte radera alla mina personuppgifter?", "deletion"),
            ("Kan I ikke slette alle mine personoplysninger?", "deletion"),
            ("Jag hoppas att ni inte raderar alla mina personuppgifter, jag behöver dem.", "unclear"),
            ("Jeg håber at I ikke sletter alle mine personoplysninger.", "unclear"),
            ("Därför kan ni inte avregistrera mig från nyhetsbrevet.", "unclear"),
            ("Enligt bokföringslagen kan ni inte radera alla mina personuppgifter.", "unclear"),
            ("Derfor kan I ikke afmelde mig fra nyhedsbrevet.", "unclear"),
            ("Vil I ikke lade være med at slette alle mine personoplysninger?", "unclear"),
        ] {
            assert!(found(text).starts_with(expected), "{text}: {}", found(text));
        }
    }

    #[test]
    fn of_a_childs_data_nothing_follows_for_the_writers_own() {
        for wish in ["Please delete all of his personal data.", "Erase all he ever typed in there."] {
            let text = format!(
                "Please stop sending the newsletter to us. Unsubscribe.\nMy son Leo is eleven and has an account with \
                 you, which we never allowed. {wish}"
            );
            let verdict = verdict(&text);
            assert!(verdict.findings().any(|found| found.kind == "child_data"), "{verdict:?}");
            assert!(verdict.asked().iter().all(|found| found.kind != "deletion"), "{verdict:?}");
        }
    }

    #[test]
    fn what_is_too_much_to_look_through_is_for_a_person() {
        let letters = std::fs::read_to_string("tests/letters/en.jsonl").unwrap();
        let words: Vec<&str> =
            letters.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()).collect();
        let sentence = words.join(" ");
        let sentence = sentence.get(..64 << 10).unwrap();
        let text = format!("{sentence}, and delete my account.");
        assert_eq!(found(&text), "unclear: more words of requests in it than are looked through");
    }

    #[test]
    fn a_reminder_does_not_make_a_wish_for_somebody_else_the_senders() {
        let reminder = "Second reminder: still no answer to my request of 3 May.";
        assert_eq!(
            found(&format!("{reminder} On behalf of my mother: please unsubscribe her from the newsletter.")),
            "unclear: it may be about somebody else"
        );
        assert_eq!(
            found(&format!("{reminder} Please unsubscribe me from the newsletter. No, wait, forget it.")),
            "unclear: a wish and its withdrawal"
        );
    }

    #[test]
    fn a_plain_wish_for_an_end_needs_less_where_nothing_else_may_be_asked_for() {
        for text in [
            "Close my account, the parrot has learned to swear in three languages and the neighbours complain.",
            "Enough.\nDon't try to talk me out of it, just delete my account.",
        ] {
            let Verdict::Requests(asked) = verdict(text) else { panic!("{text}: {}", found(text)) };
            let [asked] = asked.as_slice() else { panic!("{text}: {asked:?}") };
            assert_eq!(asked.kind, "cancel_account");
            assert!(asked.acts_from <= asked.confidence && asked.confidence < 0.7, "{text}: {asked:?}");
        }
        // The app was no wish of the writer's: two things may be meant, and neither is.
        let lost = "Eure App hat mein Konto und alle meine Daten gelöscht. Stellt das wieder her!";
        assert_eq!(verdict(lost).asked(), []);
    }

    #[test]
    fn what_is_final_and_not_certain_beside_something_else_is_never_lost() {
        for (text, asked, besides) in [
            (
                "Můžete moje přihlašovací konto zrušit?\n\nProsím ale o smazání přihlášky, videa a mých měr, ať to nekoluje.",
                &["cancel_account", "deletion"][..],
                &[][..],
            ),
            (
                "Vuestra web saca mi testimonio con foto. Bájalo, por favor. Y anula mi membresía en la plataforma, que hace \
                 meses que no entreno.",
                &["testimonial"],
                &["cancel_account"],
            ),
        ] {
            let verdict = verdict(text);
            let all: Vec<&str> = verdict.findings().map(|found| found.kind.as_str()).collect();
            assert!(asked.iter().chain(besides).all(|kind| all.contains(kind)), "{text}: {verdict:?}");
            assert!(
                verdict.asked().iter().all(|found| !besides.contains(&found.kind.as_str())),
                "{text}: {verdict:?}"
            );
            assert_ne!(verdict, Verdict::Requests(Vec::new()), "{text}");
        }
    }

    #[test]
    fn what_happens_without_an_answer_makes_a_letter_no_reminder() {
        let letter = "Pursuant to article 15 GDPR I request access to the personal data you hold about me. Please send \
                      me a copy of all of it, with its source and its recipients.\n\
                      If I do not hear from you within one month, I shall complain to the supervisory authority.";
        assert_eq!(found(letter), "access");
    }

    #[test]
    fn a_copied_file_makes_no_phrase_the_operators() {
        let folder = tempfile::tempdir().unwrap();
        let copied = std::fs::read_to_string("rules/opt_out.toml").unwrap();
        let more = copied.replacen("certain = [", "certain = [\n  'no more pigeons',", 1);
        assert_ne!(copied, more);
        std::fs::write(folder.path().join("opt_out.toml"), more).unwrap();
        let table = Table::load(Some(folder.path())).unwrap();
        let own: Vec<&str> = table.phrases.iter().filter(|it| it.is_own).map(|it| it.text.as_ref()).collect();
        assert_eq!(own, ["no more pigeons"]);
        // Nor does a class of words that no other phrase names.
        let copied = std::fs::read_to_string("rules/languages/en.toml").unwrap();
        let more = copied.replacen("[words]\n", "[words]\nzzz = 'foo'\n", 1);
        assert_ne!(copied, more);
        std::fs::create_dir(folder.path().join("languages")).unwrap();
        std::fs::write(folder.path().join("languages/en.toml"), more).unwrap();
        let table = Table::load(Some(folder.path())).unwrap();
        assert_eq!(table.phrases.iter().filter(|it| it.is_own).count(), 1);
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
