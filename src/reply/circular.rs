//! Notices to everybody the company knows: the same text to each, in the reader's language, marked as a
//! program's mail that answers nobody (RFC 3834 section 5), with the reader's own way to unsubscribe.

use super::{ComposeError, Outgoing, Replies, Stamp, Thread, Values};
use crate::sender::Address;

/// The template of the notice that the privacy policy has changed.
pub const POLICY_CHANGE: &str = "policy-change";

impl Replies {
    /// The templates that a notice can be made from: those with a hyphen in their name, which no request
    /// type has.
    pub fn circulars(&self) -> impl Iterator<Item = &str> {
        self.known.keys().map(String::as_str).filter(|name| name.contains('-'))
    }

    /// The language in which `template` is written to somebody whose contact says `wished`, such as `de`,
    /// `de-AT` or nothing.
    pub fn circular_language(&self, template: &str, wished: &str) -> String {
        let wished = wished.trim().to_ascii_lowercase();
        self.language(template, wished.split(['-', '_']).next().unwrap_or_default())
    }

    /// Subject and body of a notice, for a look before it is sent.
    ///
    /// # Errors
    /// See [`ComposeError`].
    pub fn circular_text(&self, template: &str, language: &str) -> Result<(String, String), ComposeError> {
        let text = self.render(template, language, &self.values(&Values::default()))?;
        Ok((text.subject.trim().to_owned(), text.body))
    }

    /// Writes a notice to `to`. `unsubscribe` is a whole header field without its line end, such as
    /// [`crate::token::Tokens::sign`] makes.
    ///
    /// # Errors
    /// See [`ComposeError`].
    pub fn circular(
        &self,
        template: &str,
        language: &str,
        to: &Address,
        unsubscribe: Option<&str>,
        message_id: &str,
        stamp: Stamp,
    ) -> Result<Outgoing, ComposeError> {
        let text = self.render(template, language, &self.values(&Values::default()))?;
        let thread = Thread { message_id: None, references: &[] };
        let mail = self.build(to, "auto-generated", None, message_id, &thread, text, &[], stamp.now)?;
        let mut raw = Vec::with_capacity(mail.len() + 300);
        if let Some(field) = unsubscribe {
            raw.extend_from_slice(field.as_bytes());
            raw.extend_from_slice(b"\r\n");
        }
        raw.extend_from_slice(&mail);
        Ok(Outgoing {
            recipient: to.clone(),
            reference: String::new(),
            template: template.to_owned(),
            language: language.to_owned(),
            message_id: message_id.to_owned(),
            is_proven: true,
            raw,
            kept: None,
        })
    }

    /// The Message-ID of a notice.
    pub fn circular_id(&self, stamp: Stamp) -> String {
        self.message_id("notice", stamp)
    }
}
