//! Bytes to a message: what the rooms behind need to know of a mail, and nothing that is theirs to decide.
//!
//! The library never fails on odd mail, and its typed getters answer with the last of several header
//! fields. Where a second field is an attack (From, Message-ID) or a mark must not be overlooked
//! (Auto-Submitted), all of them are read here.

use std::borrow::Cow;

use mail_parser::{MessageParser, MimeHeaders, PartType};
use sha2::{Digest, Sha256};

use crate::html;
use crate::sender::{Address, NoSender, strict_from};
use crate::text::{MAX_OWN_WORDS, Stripper};

/// Of a mail's text parts no more than so many are read.
const MAX_TEXT_PARTS: usize = 16;

/// Fields that name the addresses a mail was sent to, by its writer or by a server on its way.
const RECIPIENT_FIELDS: [&str; 8] =
    ["Delivered-To", "X-Original-To", "Envelope-To", "To", "Cc", "Bcc", "Resent-To", "Resent-Cc"];

/// Of each of those no more fields than this are read.
const MAX_FIELDS: usize = 16;

/// Of each such field no more bytes than this are read.
const MAX_FIELD: usize = 16 * 1024;

/// A message-id that may go into a header of ours: `<…>`, printable ASCII, at most 200 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageId(String);

impl MessageId {
    /// Accepts the text between the angle brackets, by the sense of RFC 5322 section 3.6.4.
    pub fn parse(text: &str) -> Option<Self> {
        let sound = (3..=198).contains(&text.len())
            && text.split('@').count() == 2
            && text.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"\\(),;:[]".contains(&b))
            && !text.starts_with('@')
            && !text.ends_with('@');
        sound.then(|| Self(format!("<{text}>")))
    }

    /// Accepts what [`MessageId::as_str`] gives.
    pub fn parse_bracketed(text: &str) -> Option<Self> {
        Self::parse(text.strip_prefix('<')?.strip_suffix('>')?)
    }

    /// With its angle brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One field of a mail's own header.
#[derive(Debug, Clone, Copy)]
pub struct RawField<'a> {
    /// What stands before the body, the colon and all.
    label: &'a [u8],
    /// The name as the library reads it: without the blanks that may stand in and behind it.
    name: &'a str,
    /// What stands behind the colon, folded as it came.
    pub body: &'a [u8],
    /// Whether something comes after it. The last field of a mail that was cut may be cut itself.
    pub is_whole: bool,
}

impl RawField<'_> {
    /// Whether somebody may read it as a field called `name`.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// Whether everybody must: the name, then the colon, and nothing between (RFC 5322 section 2.2).
    pub fn is_strictly(&self, name: &str) -> bool {
        self.label.strip_suffix(b":").is_some_and(|label| label.eq_ignore_ascii_case(name.as_bytes()))
    }
}

/// A parsed mail.
#[derive(Debug)]
pub struct Message<'x> {
    parsed: mail_parser::Message<'x>,
}

impl<'x> Message<'x> {
    /// Parses `bytes`. `None` means that there is not one header field in it.
    pub fn parse(bytes: &'x [u8]) -> Option<Self> {
        let parsed = MessageParser::default().parse(bytes)?;
        (!parsed.headers().is_empty()).then_some(Self { parsed })
    }

    /// The raw bodies of every header field called `name`, topmost first.
    pub fn fields(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.parsed
            .headers()
            .iter()
            .filter(move |header| header.name.as_str().eq_ignore_ascii_case(name))
            .filter_map(|header| {
                let (start, end) = (header.offset_start as usize, header.offset_end as usize);
                self.parsed.raw_message.get(start..end)
            })
    }

    /// Every field of the mail's own header, topmost first; nothing of what is attached.
    pub fn header(&self) -> impl Iterator<Item = RawField<'_>> {
        let raw = &self.parsed.raw_message;
        self.parsed.headers().iter().filter_map(|header| {
            let (field, start, end) =
                (header.offset_field as usize, header.offset_start as usize, header.offset_end as usize);
            Some(RawField {
                label: raw.get(field..start)?,
                name: header.name.as_str(),
                body: raw.get(start..end)?,
                is_whole: end < raw.len(),
            })
        })
    }

    /// The fields called `name` as text, trimmed, in lower case.
    pub fn values(&self, name: &str) -> impl Iterator<Item = String> {
        self.fields(name).map(|raw| String::from_utf8_lossy(raw).trim().to_ascii_lowercase())
    }

    /// Whether there is a field called `name`.
    pub fn has(&self, name: &str) -> bool {
        self.fields(name).next().is_some()
    }

    /// Who wrote, strictly read.
    ///
    /// # Errors
    /// Why nobody can be taken for the sender.
    pub fn from(&self) -> Result<Address, NoSender> {
        self.strict("From", self.parsed.from())
    }

    /// Where the sender wishes answers, when one Reply-To field says so with one address, read as
    /// strictly as From. It says nothing of who wrote.
    pub fn reply_to(&self) -> Option<Address> {
        self.strict("Reply-To", self.parsed.reply_to()).ok()
    }

    fn strict(&self, name: &str, library: Option<&mail_parser::Address<'_>>) -> Result<Address, NoSender> {
        let fields: Vec<&[u8]> = self.fields(name).collect();
        let library = library
            .filter(|list| list.iter().count() == 1)
            .and_then(|list| list.first())
            .and_then(|mailbox| mailbox.address.as_deref());
        strict_from(&fields, library)
    }

    /// The decoded subject.
    pub fn subject(&self) -> &str {
        self.parsed.subject().unwrap_or_default()
    }

    /// The sender's identifier for this mail, when there is exactly one and it is sound.
    pub fn message_id(&self) -> Option<MessageId> {
        if self.fields("Message-ID").count() != 1 {
            return None;
        }
        self.parsed.message_id().and_then(MessageId::parse)
    }

    /// The mails before this one in its thread, oldest first, as far as they are sound; the last ten.
    pub fn references(&self) -> Vec<MessageId> {
        let mut ids: Vec<MessageId> = self
            .parsed
            .references()
            .as_text_list()
            .unwrap_or_default()
            .iter()
            .filter_map(|id| MessageId::parse(id))
            .collect();
        let surplus = ids.len().saturating_sub(10);
        ids.drain(..surplus);
        ids
    }

    /// The mail that this one answers, or the few; as far as they are sound.
    pub fn in_reply_to(&self) -> Vec<MessageId> {
        let ids = self.parsed.in_reply_to().as_text_list().unwrap_or_default();
        ids.iter().take(4).filter_map(|id| MessageId::parse(id)).collect()
    }

    /// The words of the fields that name whom it was sent to, in lower case; addresses among them.
    ///
    /// Not the parsed addresses: a server writes some of these fields as it likes.
    pub fn recipients(&self) -> impl Iterator<Item = String> {
        let fields = RECIPIENT_FIELDS.iter().flat_map(|name| self.fields(name).take(MAX_FIELDS));
        fields.flat_map(|field| {
            let text = String::from_utf8_lossy(field.get(..MAX_FIELD).unwrap_or(field)).to_ascii_lowercase();
            let ends = |c: char| c.is_whitespace() || "<>,;:()[]\"\\".contains(c);
            let words = text.split(ends).filter(|word| !word.is_empty()).map(str::to_owned);
            words.collect::<Vec<_>>()
        })
    }

    /// `type/subtype` of the whole mail, lower case.
    pub fn content_type(&self) -> String {
        self.parsed.content_type().map_or_else(String::new, |kind| {
            let subtype = kind.c_subtype.as_deref().unwrap_or_default();
            format!("{}/{subtype}", kind.c_type).to_ascii_lowercase()
        })
    }

    /// The `report-type` parameter of the whole mail's content type (RFC 6522), lower case.
    pub fn report_type(&self) -> Option<String> {
        self.parsed.content_type()?.attribute("report-type").map(str::to_ascii_lowercase)
    }

    /// Whether any part, at the first level of nesting that the library flattens, is `type/subtype`.
    pub fn has_part(&self, kind: &str, subtype: &str) -> bool {
        self.parsed.parts.iter().any(|part| part.is_content_type(kind, subtype))
    }

    /// The text: the plain text part, or the HTML one where there is no plain text; quotes and all.
    pub fn text(&self) -> String {
        let plain = self.joined(&self.parsed.text_body);
        if plain.trim().is_empty() { self.joined(&self.parsed.html_body) } else { plain }
    }

    /// What of the text the sender wrote.
    pub fn own_words(&self, stripper: &Stripper) -> String {
        stripper.own_words(&self.text())
    }

    /// The text of these parts, HTML as what a person would see of it.
    fn joined(&self, parts: &[u32]) -> String {
        let mut joined = String::new();
        for part in parts.iter().take(MAX_TEXT_PARTS).filter_map(|id| self.parsed.part(*id)) {
            let text: Cow<'_, str> = match &part.body {
                PartType::Text(text) => Cow::Borrowed(text.as_ref()),
                PartType::Html(text) => Cow::Owned(html::to_text(text)),
                _ => continue,
            };
            let bound = text.floor_char_boundary(4 * MAX_OWN_WORDS);
            joined.push_str(text.get(..bound).unwrap_or_default());
            joined.push('\n');
        }
        joined
    }

    /// Identity of the letter apart from its way here: the same for two deliveries of one mail to two
    /// of our addresses, whose Received fields differ. `None` without a Message-ID, since then two
    /// people may well have sent the same few bytes.
    ///
    /// A Message-ID alone is no identity: whoever knows or guesses one could claim it first.
    pub fn letter_digest(&self) -> Option<[u8; 32]> {
        self.message_id()?;
        let mut hash = Sha256::new();
        for name in ["Message-ID", "From", "Date", "Subject"] {
            for field in self.fields(name) {
                hash.update(field.trim_ascii());
                hash.update(b"\n");
            }
        }
        let body = self.parsed.root_part().offset_body as usize;
        hash.update(self.parsed.raw_message.get(body..).unwrap_or_default());
        Some(hash.finalize().into())
    }

    /// Whether the mail's envelope sender was the null path, as the last MTA wrote it down.
    pub fn has_null_return_path(&self) -> bool {
        self.values("Return-Path").any(|path| path == "<>")
    }
}
