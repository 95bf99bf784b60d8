//! Bytes to an [`Understanding`]: the pure half of the corridor as one call, for the daemon and for
//! `privacyd classify` alike.

use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Context, Result};

use crate::classify::Classifier;
use crate::decide::{Letter, Understanding};
use crate::evidence::{self, Trust};
use crate::language::LanguageFile;
use crate::message::Message;
use crate::request::Table;
use crate::screen::Screen;
use crate::sender::Address;
use crate::text::Stripper;

/// Everything compiled that reading a mail needs. Shared by all threads.
pub struct Reader {
    screen: Screen,
    stripper: Stripper,
    classifier: Classifier,
    trust: Trust,
}

impl Reader {
    /// Compiles `table`; `own` are our addresses.
    ///
    /// # Errors
    /// Patterns that are sound alone but too large together.
    pub fn new(table: &Table, own: &[Address]) -> Result<Self> {
        let languages: Vec<&LanguageFile> = table.languages.iter().map(|(_, language)| language).collect();
        Ok(Self {
            screen: Screen::new(&languages, own).context("Cannot compile the marks of automatic mail")?,
            stripper: Stripper::new(&languages).context("Cannot compile the marks of quoted text")?,
            classifier: Classifier::new(table).context("Cannot compile the phrases")?,
            trust: Trust::default(),
        })
    }

    /// The same, believing the servers of `trust` what they say of senders; without it, nobody.
    pub fn trusting(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
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
        let own_words = message.own_words(&self.stripper);
        // Automatic mail is not classified: what it quotes must not even tempt.
        let reading = automatic.is_none().then(|| self.classifier.read(message.subject(), &own_words));
        let from = message.from();
        Understanding::Read(Box::new(Letter {
            evidence: evidence::weigh(message.header(), from.as_ref(), &self.trust),
            reply_to: message.reply_to().filter(|address| !self.screen.is_own(address)),
            from,
            automatic,
            reading,
            message_id: message.message_id(),
            references: message.references(),
            own_words,
        }))
    }
}

/// The letter's digest, apart from [`Reader::read`] because `classify` has no use for it.
pub fn letter_digest(bytes: &[u8]) -> Option<[u8; 32]> {
    catch_unwind(AssertUnwindSafe(|| Message::parse(bytes)?.letter_digest())).ok().flatten()
}
