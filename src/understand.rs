//! Bytes to an [`Understanding`]: the pure half of the corridor as one call, for the daemon and for
//! `privacyd classify` alike.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use sha2::{Digest, Sha256};

use crate::answer::{Answers, Said};
use crate::bounce;
use crate::classify::{Classifier, Finding, Reading, Verdict};
use crate::code::Code;
use crate::correction::{Corrections, Edit, Read};
use crate::decide::{AGENTS, Letter, Understanding};
use crate::evidence::{self, Trust};
use crate::language::LanguageFile;
use crate::message::Message;
use crate::request::{FOLLOW_UP, Table};
use crate::screen::{Automatic, Screen};
use crate::sender::Address;
use crate::text::{MAX_OWN_WORDS, Stripper, Words, fold, is_struck, sentences};
use crate::token::{Token, Tokens};

/// Of the references in one mail no more than so many are looked at.
const MOST_NAMED: usize = 8;

/// Everything that reading a mail needs. Shared by all threads.
pub struct Reader {
    screen: Screen,
    stripper: Stripper,
    classifier: Classifier,
    answers: Answers,
    corrections: Corrections,
    trust: Trust,
    tokens: Tokens,
    /// The types that somebody has to prove a claim to.
    rights: HashSet<String>,
}

impl Reader {
    /// Reads by `table`; `own` are our addresses. Knows no unsubscribe tokens.
    pub fn new(table: &Table, own: &[Address]) -> Self {
        let languages: Vec<&LanguageFile> = table.languages.iter().map(|(_, language)| language).collect();
        let rights =
            table.types.iter().filter(|kind| kind.proof > 0 && !kind.yields && kind.name != FOLLOW_UP);
        Self {
            screen: Screen::new(&languages, own),
            stripper: Stripper::new(&languages),
            classifier: Classifier::new(table),
            answers: Answers::new(&languages),
            corrections: Corrections::default(),
            trust: Trust::default(),
            tokens: Tokens::new(&[], own),
            rights: rights.map(|kind| kind.name.clone()).collect(),
        }
    }

    /// The same, believing the servers of `trust` what they say of senders; without it, nobody.
    pub fn trusting(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }

    /// The same, and reads what is to be corrected by `corrections`.
    pub fn correcting(self, corrections: Corrections) -> Self {
        Self { corrections, ..self }
    }

    /// The same, and reads unsubscribe tokens by `tokens`.
    pub fn with_tokens(self, tokens: Tokens) -> Self {
        Self { tokens, ..self }
    }

    /// Reads one mail. Whatever the bytes are, this returns: a fault of ours in the middle is a mail
    /// for a person.
    pub fn read(&self, bytes: &[u8]) -> Understanding {
        catch_unwind(AssertUnwindSafe(|| self.look(bytes)))
            .unwrap_or(Understanding::Unread("reading it hit a fault of privacyd's own"))
    }

    fn look(&self, bytes: &[u8]) -> Understanding {
        let Some(message) = Message::parse(bytes) else {
            return Understanding::Unreadable;
        };
        let automatic = self.screen.look(&message);
        let token = self.token(&message);
        let text = message.text();
        let words = message.words(&text, &self.stripper);
        let mut folded = fold(&words.own);
        // A sign may stand for eighteen.
        folded.truncate(folded.floor_char_boundary(2 * MAX_OWN_WORDS));
        // An unsubscribing mail program chooses the subject; there only words are somebody's own.
        let subject = if matches!(token, Token::Valid(_)) { "" } else { message.subject() };
        let is_agents =
            || self.screen.is_agents(&sentences(&folded)) && self.screen.report(&message).is_none();
        // Automatic mail is not classified: what it quotes must not even tempt. But what may be a person's
        // letter is looked at for a right whose clock runs.
        let reading = match automatic {
            None => Some(self.classify(&message, subject, &text, &words, &folded)),
            Some(_) if matches!(token, Token::Valid(_)) => None,
            // Services send by the means of newsletters, from addresses that nobody reads. Somebody waits
            // for an answer nevertheless.
            Some(_) if is_agents() => Some(self.classify(&message, subject, &text, &words, &folded)),
            Some(_) if !self.screen.is_weakly_marked(&message) => None,
            Some(_) => self.rights_in(self.classify(&message, subject, &text, &words, &folded)),
        };
        let may_be_theirs = |reading: &Reading| automatic.is_some() || !reading.verdict.asked().is_empty();
        let reading = match reading {
            Some(reading) if may_be_theirs(&reading) && is_agents() => {
                let candidates = reading.verdict.findings().cloned().collect();
                Some(Reading { verdict: Verdict::Unclear { why: AGENTS, candidates }, ..reading })
            }
            reading => reading,
        };
        let own_words = words.own;
        let from = message.from();
        let sender = from.as_ref().ok().cloned();
        let in_reply_to = message.in_reply_to();
        let (code, named) = match automatic {
            Some(_) => (None, Vec::new()),
            None => (code(&message, &text), named(message.subject(), &text)),
        };
        let wording = wording(&folded).filter(|_| automatic.is_none());
        let is_answer = code.is_some() || !in_reply_to.is_empty();
        let local = sender.as_ref().and_then(|address| address.as_str().split('@').next());
        let name = format!("{} {}", local.unwrap_or_default(), message.from_name());
        let is_thanks = |words: &str| self.answers.is_thanks_alone(words, &name);
        // A subject is theirs where it answers nothing: "Wait", and thanks below it. Most mail is told by it from thanks.
        let is_thanks = automatic.is_none()
            && (is_answer || subject.trim().is_empty() || is_thanks(subject))
            && is_thanks(&own_words);
        let (said, beside_yes, changes) = match automatic {
            None if is_answer => {
                match self.answer(&own_words, &name) {
                    // What stands behind so much is not read.
                    (Said::Yes | Said::YesAndData, ..) if text.len() > MAX_OWN_WORDS => {
                        (Said::Unclear, Vec::new(), Vec::new())
                    }
                    answer => answer,
                }
            }
            None => (Said::Unclear, Vec::new(), self.changes(&own_words)),
            Some(_) => (Said::Unclear, Vec::new(), Vec::new()),
        };
        Understanding::Read(Box::new(Letter {
            evidence: evidence::weigh(message.header(), from.as_ref(), &self.trust),
            reply_to: message.reply_to().filter(|address| !self.screen.is_own(address)),
            from,
            automatic,
            token,
            bounce: matches!(automatic, Some((Automatic::Bounce, _)))
                .then(|| bounce::read(&message))
                .flatten(),
            reading,
            message_id: message.message_id(),
            references: message.references(),
            in_reply_to,
            code,
            named,
            wording,
            said,
            changes,
            is_addressed: self.screen.is_addressed(&message),
            names_another: self.names_another(&own_words, sender.as_ref()),
            words: Sha256::digest(&folded).into(),
            subject: subject.to_owned(),
            beside_yes,
            is_thanks,
            own_words,
        }))
    }

    /// What `own_words` of somebody of this `name` say to a question of ours, and beside a yes to it; and the changes of
    /// data that they ask for, if every other word is understood.
    fn answer(&self, own_words: &str, name: &str) -> (Said, Vec<String>, Vec<Edit>) {
        if is_struck(own_words) {
            return (Said::Unclear, Vec::new(), Vec::new());
        }
        let Read { changes, rest } = self.corrections.read(own_words);
        if changes.is_empty() {
            return match self.answers.read(own_words, name) {
                // "Thank you" is no word to the question.
                (Said::Unclear, _) if self.answers.is_thanks(own_words, name) => {
                    (Said::Nothing, Vec::new(), changes)
                }
                (said, beside) => (said, beside, changes),
            };
        }
        match self.answers.read_besides(&rest, name) {
            said @ (Said::Yes | Said::Nothing) => (said, Vec::new(), changes),
            said => (said, Vec::new(), Vec::new()),
        }
    }

    /// The changes of data that `own_words` of somebody who was asked nothing ask for, if every other word is courtesy.
    fn changes(&self, own_words: &str) -> Vec<Edit> {
        let Read { changes, rest } = self.corrections.read(own_words);
        if self.answers.is_courtesy(&rest) && !is_struck(own_words) { changes } else { Vec::new() }
    }

    /// What is asked, unless something about the mail itself wants a person to look first.
    fn classify(
        &self,
        message: &Message<'_>,
        subject: &str,
        text: &str,
        words: &Words,
        folded: &str,
    ) -> Reading {
        let mut reading = self.classifier.read(subject, folded);
        if let Some(why) = message.doubt(text) {
            let candidates = reading.verdict.findings().cloned().collect();
            reading.verdict = Verdict::Unclear { why, candidates };
        }
        if reading.verdict == Verdict::Nothing && message.is_undecoded() {
            let why = "its text could not be decoded";
            reading.verdict = Verdict::Unclear { why, candidates: Vec::new() };
        }
        if reading.verdict == Verdict::Nothing && !words.own.is_empty() {
            self.look_at_forwarded(message, words, &mut reading);
        }
        reading
    }

    /// A reading cut down to the rights in it; `None` when there are none. The words of an opt-out are left
    /// out: every circular has them. So is what no certain phrase says, nor one of the operator's: machines speak of
    /// data, too.
    fn rights_in(&self, mut reading: Reading) -> Option<Reading> {
        let is_right = |finding: &&Finding| {
            self.rights.contains(&finding.kind) && (finding.is_certain() || finding.is_own)
        };
        let rights: Vec<Finding> = reading.verdict.findings().filter(is_right).cloned().collect();
        if rights.is_empty() {
            return None;
        }
        reading.verdict = Verdict::Requests(rights);
        Some(reading)
    }

    /// A letter that somebody passes on asks nothing for them; but somebody did ask, and a person must
    /// look. Newsletters that are passed on name rights without asking for one.
    fn look_at_forwarded(&self, message: &Message<'_>, words: &Words, reading: &mut Reading) {
        let is_forward = words.is_forward || self.classifier.is_forward(message.subject());
        if !is_forward {
            return;
        }
        let text = if words.history.is_empty() { message.whole_text() } else { words.history.clone() };
        let passed_on = self.classifier.read("", &fold(&text)).verdict;
        if !passed_on.asked().is_empty() {
            let why = "somebody else's wish, passed on";
            reading.verdict = Verdict::Unclear { why, candidates: passed_on.findings().cloned().collect() };
        }
    }

    /// Whether `own_words` name an address that is neither `sender` nor one of ours.
    fn names_another(&self, own_words: &str, sender: Option<&Address>) -> bool {
        let ends = |c: char| c.is_whitespace() || "<>()[]\"',;:!?".contains(c);
        let addresses = own_words.split(ends).filter(|word| word.contains('@'));
        let addresses = addresses.filter_map(|word| word.trim_matches('.').parse::<Address>().ok());
        let sender = sender.map(Address::normalised);
        addresses
            .map(|address| address.normalised())
            .any(|address| Some(&address) != sender.as_ref() && !self.screen.is_own(&address))
    }

    /// The unsubscribe tokens of `message`. A bounce of a mail to the token's address names it too, and
    /// asks for nothing.
    fn token(&self, message: &Message<'_>) -> Token {
        match self.tokens.read(message) {
            Token::None => Token::None,
            _ if self.screen.report(message).is_some() => Token::None,
            token => token,
        }
    }
}

/// The one-time code in a mail, wherever it came back: address and subject; else the topmost in the text,
/// quoted or not. An older question may be quoted below, and a yes to one is none to the other.
fn code(message: &Message<'_>, text: &str) -> Option<Code> {
    let mut carriers: String = message.recipients().filter(|word| word.contains("+c.")).collect();
    carriers.push(' ');
    carriers.push_str(message.subject());
    Code::find(&carriers).or_else(|| Code::find(text))
}

/// Digest of the letters in folded words.
fn wording(folded: &str) -> Option<[u8; 32]> {
    let letters: String = folded.chars().filter(|c| c.is_alphabetic()).collect();
    (!letters.is_empty()).then(|| Sha256::digest(letters).into())
}

/// References of ours in a mail, each once, the first few: those of the subject before those of the text.
fn named(subject: &str, text: &str) -> Vec<String> {
    let mut named: Vec<String> = Vec::new();
    for word in
        [subject, text].into_iter().flat_map(|text| text.split(|c: char| c != '-' && !c.is_alphanumeric()))
    {
        let word = word.to_ascii_uppercase();
        let signs = word.strip_prefix("PR-").unwrap_or_default();
        let is_reference = signs.len() == 6 && signs.bytes().all(|sign| sign.is_ascii_alphanumeric());
        if is_reference && !named.contains(&word) {
            named.push(word);
            if named.len() == MOST_NAMED {
                break;
            }
        }
    }
    named
}

/// The letter's digest, apart from [`Reader::read`] because `classify` has no use for it.
pub fn letter_digest(bytes: &[u8]) -> Option<[u8; 32]> {
    catch_unwind(AssertUnwindSafe(|| Message::parse(bytes)?.letter_digest())).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_of_ours_are_found_wherever_they_stand() {
        let found = named(
            "[HD-1001] Re: Done [PR-7f3k2m c.abc]",
            "> PR-ABCDEF, done\n(PR-7F3K2M) PR-ABCDEFG XPR-234567 PR-12345",
        );
        assert_eq!(found, ["PR-7F3K2M", "PR-ABCDEF"]);
        let many: String = (100_000..100_100).map(|number| format!("PR-{number} ")).collect();
        assert_eq!(named("", &many).len(), MOST_NAMED);
        assert!(named("PR-", "PR-ÄÖÜÄÖÜ pr-\0").is_empty());
    }

    #[test]
    fn a_form_has_one_wording_whatever_number_it_bears() {
        let wording = |text: &str| wording(&fold(text));
        assert_eq!(wording("Ticket 1001:\nplease stop."), wording("ticket #1002 PLEASE stop"));
        assert_ne!(wording("Please stop."), wording("Please go on."));
        assert_eq!(wording(" 12 "), None);
    }
}
