//! Bytes to an [`Understanding`]: the pure half of the corridor as one call, for the daemon and for
//! `privacyd classify` alike.

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Context, Result};

use crate::answer::{Answers, Said};
use crate::classify::Classifier;
use crate::code::Code;
use crate::decide::{Letter, Understanding};
use crate::evidence::{self, Trust};
use crate::language::LanguageFile;
use crate::message::Message;
use crate::request::Table;
use crate::screen::Screen;
use crate::sender::Address;
use crate::text::Stripper;
use crate::token::{Token, Tokens};

/// Everything compiled that reading a mail needs. Shared by all threads.
pub struct Reader {
    screen: Screen,
    stripper: Stripper,
    classifier: Classifier,
    answers: Answers,
    trust: Trust,
    tokens: Tokens,
}

impl Reader {
    /// Compiles `table`; `own` are our addresses. Knows no unsubscribe tokens.
    ///
    /// # Errors
    /// Patterns that are sound alone but too large together.
    pub fn new(table: &Table, own: &[Address]) -> Result<Self> {
        let languages: Vec<&LanguageFile> = table.languages.iter().map(|(_, language)| language).collect();
        Ok(Self {
            screen: Screen::new(&languages, own).context("Cannot compile the marks of automatic mail")?,
            stripper: Stripper::new(&languages).context("Cannot compile the marks of quoted text")?,
            classifier: Classifier::new(table).context("Cannot compile the phrases")?,
            answers: Answers::new(&languages).context("Cannot compile the words of an answer")?,
            trust: Trust::default(),
            tokens: Tokens::new(&[], own),
        })
    }

    /// The same, believing the servers of `trust` what they say of senders; without it, nobody.
    pub fn trusting(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
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
        let own_words = self.stripper.own_words(&text);
        // An unsubscribing mail program chooses the subject; there only words are somebody's own.
        let subject = if matches!(token, Token::Valid(_)) { "" } else { message.subject() };
        // Automatic mail is not classified: what it quotes must not even tempt.
        let reading = automatic.is_none().then(|| self.classifier.read(subject, &own_words));
        let from = message.from();
        let in_reply_to = message.in_reply_to();
        let codes = match automatic {
            Some(_) => Vec::new(),
            None => codes(&message, &text),
        };
        let said = match (codes.is_empty(), in_reply_to.is_empty()) {
            (true, true) => Said::Unclear, // nobody was asked
            _ => self.answers.read(&own_words),
        };
        Understanding::Read(Box::new(Letter {
            evidence: evidence::weigh(message.header(), from.as_ref(), &self.trust),
            reply_to: message.reply_to().filter(|address| !self.screen.is_own(address)),
            from,
            automatic,
            token,
            reading,
            message_id: message.message_id(),
            references: message.references(),
            in_reply_to,
            codes,
            said,
            is_addressed: self.screen.is_addressed(&message),
            own_words,
        }))
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

/// The one-time codes in a mail, wherever they came back: address, subject, text, quoted or not.
fn codes(message: &Message<'_>, text: &str) -> Vec<Code> {
    let mut places: String = message.recipients().filter(|word| word.contains("+c.")).collect();
    places.push(' ');
    places.push_str(message.subject());
    places.push(' ');
    places.push_str(text);
    Code::find(&places)
}

/// The letter's digest, apart from [`Reader::read`] because `classify` has no use for it.
pub fn letter_digest(bytes: &[u8]) -> Option<[u8; 32]> {
    catch_unwind(AssertUnwindSafe(|| Message::parse(bytes)?.letter_digest())).ok().flatten()
}
