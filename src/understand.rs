//! Bytes to an [`Understanding`]: the pure half of the corridor as one call, for the daemon and for
//! `privacyd classify` alike.

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Context, Result};

use crate::classify::Classifier;
use crate::decide::{Letter, Understanding};
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
            tokens: Tokens::new(&[], own),
        })
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
        let own_words = message.own_words(&self.stripper);
        let reading = match token {
            // Automatic mail is not classified: what it quotes must not even tempt.
            _ if automatic.is_some() => None,
            // Of an unsubscribing mail program's letter the subject is a carrier, and words are rare.
            Token::Valid(_) if own_words.is_empty() => None,
            Token::Valid(_) => Some(self.classifier.read("", &own_words)),
            Token::Invalid | Token::None => Some(self.classifier.read(message.subject(), &own_words)),
        };
        Understanding::Read(Box::new(Letter {
            from: message.from(),
            automatic,
            token,
            reading,
            message_id: message.message_id(),
            references: message.references(),
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

/// The letter's digest, apart from [`Reader::read`] because `classify` has no use for it.
pub fn letter_digest(bytes: &[u8]) -> Option<[u8; 32]> {
    catch_unwind(AssertUnwindSafe(|| Message::parse(bytes)?.letter_digest())).ok().flatten()
}
