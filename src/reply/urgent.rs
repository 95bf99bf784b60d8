//! The letter to the operator about requests that need a person before all else. References, types and dates, and nobody's
//! name: whose a request is stays here.

use serde::Serialize;

use super::{ComposeError, Outgoing, Replies, Stamp, Values};
use crate::sender::Address;

/// The template of it.
pub const URGENT: &str = "urgent";

/// A request that needs a person now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Urgent {
    /// Its reference.
    pub reference: String,
    /// Its type.
    pub kind: String,
    /// By when it is due, in words.
    pub due: String,
    /// The system that has failed for good at its part, as the configuration calls it; empty where the type is urgent.
    pub system: String,
}

impl Urgent {
    /// One of each sort, to try templates with.
    pub fn samples() -> [Self; 2] {
        ["", "x"].map(|system| Self {
            reference: "PR-000000".into(),
            kind: "x".into(),
            due: "x".into(),
            system: system.into(),
        })
    }
}

impl Replies {
    /// Writes to the operator which requests need a person now, in the fallback language.
    ///
    /// # Errors
    /// See [`ComposeError`].
    pub fn urgent(&self, to: &Address, urgent: &[Urgent], stamp: Stamp) -> Result<Outgoing, ComposeError> {
        self.to_operator(to, URGENT, &Values { urgent, ..Values::default() }, stamp)
    }
}
