//! The daily digest for the operator: references, types and dates of what waits, what is due and what failed.
//! Nobody's name, no address, no word of a mail.

use serde::Serialize;

use super::{ComposeError, Outgoing, Replies, Stamp, Values};
use crate::sender::Address;

/// The template of the digest.
pub const DIGEST: &str = "digest";

/// What a digest tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Digest {
    /// Its day, in words.
    pub day: String,
    /// What there is to tell; no section is empty.
    pub sections: Vec<Section>,
}

/// Things of one sort.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Section {
    /// One of [`Section::NAMES`].
    pub name: &'static str,
    /// How many there are.
    pub total: u64,
    /// The first of them.
    pub lines: Vec<Line>,
    /// How many more there are.
    pub more: u64,
}

/// One thing. What does not apply is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The request's reference; of a mail without one, its number in the ledger.
    pub reference: String,
    /// The request's type; of a reply, its template.
    pub kind: String,
    /// The status of a request, the state of a reply, or what a mail is held for.
    pub state: String,
    /// By when the request is due, in words.
    pub due: String,
    /// The system that was asked, as it is called in the configuration; of a reply, its number in the outbox.
    pub place: String,
}

impl Section {
    /// The sorts of things, in the order of a digest: requests that are overdue, due today and due in the next
    /// seven days; those that wait for a person; systems that failed, and that are asked again; replies that were
    /// not delivered or of which nobody knows; mails that are held or were not answered.
    pub const NAMES: [&str; 8] =
        ["overdue", "today", "week", "waiting", "failed", "retrying", "replies", "mails"];
}

impl Digest {
    /// One with something of everything, to try templates with.
    pub fn sample() -> Self {
        let sections = Section::NAMES.map(|name| {
            let words = || "x".to_owned();
            let line =
                Line { reference: words(), kind: words(), state: words(), due: words(), place: words() };
            Section { name, total: 2, lines: vec![line], more: 1 }
        });
        Self { day: "x".into(), sections: sections.to_vec() }
    }
}

impl Replies {
    /// Writes the digest to the operator, in the fallback language.
    ///
    /// # Errors
    /// See [`ComposeError`].
    pub fn digest(&self, to: &Address, digest: &Digest, stamp: Stamp) -> Result<Outgoing, ComposeError> {
        self.to_operator(to, DIGEST, &Values { digest: Some(digest), ..Values::default() }, stamp)
    }
}
