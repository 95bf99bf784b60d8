//! Bytes to a message: what the rooms behind need to know of a mail, and nothing that is theirs to decide.
//!
//! The library never fails on odd mail, and its typed getters answer with the last of several header
//! fields. Where a second field is an attack (From, Message-ID) or a mark must not be overlooked
//! (Auto-Submitted), all of them are read here.

use std::borrow::Cow;
use std::sync::LazyLock;

use mail_parser::{HeaderName, MessageParser, MessagePart, MimeHeaders, PartType};
use sha2::{Digest, Sha256};

use crate::html;
use crate::sender::{Address, NoSender, strict_from};
use crate::text::{MAX_OWN_WORDS, Stripper, Words};

/// Of a mail's text parts no more than so many are read.
const MAX_TEXT_PARTS: usize = 16;

/// Of all HTML parts no more bytes than this are read. Most of them are none of a letter's words.
const MAX_HTML: usize = 6 * MAX_OWN_WORDS;

/// More parts than this are not looked at for what they are.
const MAX_PARTS: usize = 1000;

/// Fields that name the addresses a mail was sent to, by its writer or by a server on its way.
const RECIPIENT_FIELDS: [&str; 8] =
    ["Delivered-To", "X-Original-To", "Envelope-To", "To", "Cc", "Bcc", "Resent-To", "Resent-Cc"];

/// Of each of those no more fields than this are read.
const MAX_FIELDS: usize = 16;

/// Of each such field no more bytes than this are read.
const MAX_FIELD: usize = 16 * 1024;

/// Of a subject no more bytes than this are read.
const MAX_SUBJECT: usize = 16 * 1024;

/// No honest mail has more header fields; no more are looked at.
const MAX_HEADER: usize = 2000;

/// Boxes in boxes beyond which a mail's words are not taken at their word: what mail programs, lists
/// and scanners wrap around each other is half as deep.
const MAX_NESTING: usize = 10;

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

/// Parses what is asked for below. The other fields are read as they came; the many words of a Received field
/// say nothing here.
static PARSER: LazyLock<MessageParser> = LazyLock::new(|| {
    MessageParser::new()
        .with_mime_headers()
        .with_date_headers()
        .with_address_headers()
        .with_message_ids()
        .header_text(HeaderName::Subject)
});

/// A parsed mail.
#[derive(Debug)]
pub struct Message<'x> {
    parsed: mail_parser::Message<'x>,
}

impl<'x> Message<'x> {
    /// Parses `bytes`. `None` means that there is not one header field in it.
    pub fn parse(bytes: &'x [u8]) -> Option<Self> {
        let parsed = PARSER.parse(bytes)?;
        (!parsed.headers().is_empty()).then_some(Self { parsed })
    }

    /// What the library made of it, for another library that goes on from there.
    pub(crate) fn parsed(&self) -> &mail_parser::Message<'x> {
        &self.parsed
    }

    /// The raw bodies of every header field called `name`, topmost first.
    pub fn fields(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.parsed
            .headers()
            .iter()
            .take(MAX_HEADER)
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

    /// The name beside the first address of From, for whoever reads a signature. It proves nothing.
    pub fn from_name(&self) -> &str {
        let first = self.parsed.from().and_then(|list| list.first());
        first.and_then(|address| address.name.as_deref()).unwrap_or_default()
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

    /// The decoded subject, as far as it is read.
    pub fn subject(&self) -> &str {
        let subject = self.parsed.subject().unwrap_or_default();
        subject.get(..subject.floor_char_boundary(MAX_SUBJECT)).unwrap_or_default()
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
        self.parsed.parts.iter().take(MAX_PARTS).any(|part| part.is_content_type(kind, subtype))
    }

    /// What the sender wrote, and what stands below it: of the plain text part, or of the HTML one
    /// where there is no plain text.
    ///
    /// `text` is what [`Message::text`] answered.
    pub fn words(&self, text: &str, stripper: &Stripper) -> Words {
        let words = stripper.divide(text);
        if !words.own.is_empty() || !text.trim().is_empty() {
            return words;
        }
        stripper.divide(&self.joined(&self.parsed.html_body, html::to_text))
    }

    /// All the text a person would see, quoted mail too, for a mail that is passed on.
    pub fn whole_text(&self) -> String {
        let text = self.joined(&self.parsed.text_body, html::whole_text);
        text.get(..text.floor_char_boundary(MAX_OWN_WORDS)).unwrap_or_default().to_owned()
    }

    /// Why this mail's words are not to be trusted, whatever they seem to say: a reason for a person
    /// to look. `text` is what [`Message::text`] answered.
    pub fn doubt(&self, text: &str) -> Option<&'static str> {
        if self.nesting() > MAX_NESTING {
            return Some("its words lie in too many boxes");
        }
        if self.parsed.headers().len() > MAX_HEADER {
            return Some("its header has too many fields");
        }
        is_illegible(text).then_some("its text is not legible")
    }

    /// Whether a text part says base64 and is none: what is shown of it is not what was written.
    pub fn is_undecoded(&self) -> bool {
        self.parsed.text_body.iter().filter_map(|id| self.parsed.part(*id)).any(|part| {
            part.is_encoding_problem
                && part
                    .content_transfer_encoding()
                    .is_some_and(|encoding| encoding.trim().eq_ignore_ascii_case("base64"))
        })
    }

    /// How many multiparts lie within each other, at the deepest place.
    fn nesting(&self) -> usize {
        let mut deepest = 0;
        let mut open = vec![(0, 1)];
        // Every part has one parent, so this ends; the bound is for a library that errs.
        for _ in 0..self.parsed.parts.len() {
            let Some((id, depth)) = open.pop() else { break };
            if let Some(PartType::Multipart(parts)) = self.parsed.part(id).map(|part| &part.body) {
                deepest = deepest.max(depth);
                open.extend(parts.iter().map(|part| (*part, depth + 1)));
            }
        }
        deepest
    }

    /// The plain text, or what a person would see of HTML where there is none.
    pub fn text(&self) -> String {
        let text = self.joined(&self.parsed.text_body, html::to_text);
        if self.parsed.text_body.is_empty() && self.parsed.html_body.is_empty() {
            return self.joined(&self.untyped(), html::to_text);
        }
        text
    }

    /// Parts that say "text" and not of which kind: plain (RFC 2045 section 5.2).
    fn untyped(&self) -> Vec<u32> {
        let is_untyped = |part: &MessagePart<'_>| {
            part.content_type()
                .is_some_and(|kind| kind.c_type.eq_ignore_ascii_case("text") && kind.c_subtype.is_none())
        };
        (0..).zip(&self.parsed.parts).filter(|(_, part)| is_untyped(part)).map(|(id, _)| id).collect()
    }

    /// The text of these parts; of HTML what `see` makes of it.
    fn joined(&self, parts: &[u32], see: fn(&str) -> String) -> String {
        let mut joined = String::new();
        let mut left = MAX_HTML;
        for part in parts.iter().take(MAX_TEXT_PARTS).filter_map(|id| self.parsed.part(*id)) {
            let text: Cow<'_, str> = match &part.body {
                PartType::Text(text) => Cow::Borrowed(text.as_ref()),
                PartType::Html(text) => {
                    let page = text.get(..text.floor_char_boundary(left)).unwrap_or_default();
                    left -= page.len();
                    Cow::Owned(see(page))
                }
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

/// Whether more than one sign in ten is none: a control character, or what a decoder puts where it
/// found no letter. A few stand in honest mail with a wrong charset.
fn is_illegible(text: &str) -> bool {
    // Most text is plain.
    if text.bytes().all(|b| b.is_ascii() && (b >= b' ' && b != 0x7f || b.is_ascii_whitespace())) {
        return false;
    }
    let is_broken = |c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER;
    let (mut all, mut broken) = (0_usize, 0_usize);
    for c in text.chars().filter(|c| !c.is_whitespace()) {
        all += 1;
        broken += usize::from(is_broken(c));
    }
    broken * 10 > all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doubt(body: &[u8]) -> Option<&'static str> {
        let mail = [b"From: a@example.org\n\n".as_slice(), body].concat();
        let message = Message::parse(&mail).unwrap();
        message.doubt(&message.text())
    }

    #[test]
    fn legible_text_is_not_doubted() {
        assert_eq!(doubt(b""), None);
        assert_eq!(doubt("Löschen Sie meine Daten, ça suffit".as_bytes()), None);
        // Latin-1 that calls itself nothing: a few letters suffer.
        assert_eq!(doubt(b"L\xf6schen Sie bitte alle meine Daten"), None);
        assert!(doubt(b"P\0l\0e\0a\0s\0e\0").is_some());
        assert!(doubt(b"\xf6\xe4 \xfc\xf6 a\xe4\xfc").is_some());
    }

    #[test]
    fn boxes_in_boxes_are_counted() {
        let nested = |depth: usize| {
            let open: String = (0..depth)
                .map(|n| format!("Content-Type: multipart/mixed; boundary=\"b{n}\"\n\n--b{n}\n"))
                .collect();
            format!("From: a@example.org\n{open}\nhello\n")
        };
        for (depth, doubted) in [(1, false), (MAX_NESTING, false), (MAX_NESTING + 1, true), (200, true)] {
            let mail = nested(depth);
            let message = Message::parse(mail.as_bytes()).unwrap();
            assert_eq!(message.doubt(&message.text()).is_some(), doubted, "{depth}");
        }
    }
}
