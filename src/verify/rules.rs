//! What speaks against a DKIM signature (RFC 6376) whatever the arithmetic says, and against its key.
//!
//! The library is made to verify what can be verified; here is refused what proves too little: a signature
//! over a part of the body, one that leaves out a field we act upon, one that is out of its time, and a key
//! in testing.
//!
//! Nothing of the mail's own text leaves this room: the reasons are constants.

use std::borrow::Cow;

use jiff::Timestamp;
use mail_auth::AuthenticatedMessage;
use mail_auth::common::crypto::Algorithm;
use mail_auth::common::headers::Header;
use mail_auth::dkim::Signature;

use crate::message::Message;

/// Clocks differ: a signature may be dated so far in the future, in seconds.
const CLOCK_SKEW: u64 = 5 * 60;

/// Fields that we act upon. Every one that stands in a mail has to be signed, or who sends a signed mail a
/// second time adds his own.
const ACTED_UPON: [&str; 3] = ["From", "Reply-To", "Subject"];

/// Why a signature cannot count whatever its key is; `None` if it can.
pub(super) fn fault(
    signed: &AuthenticatedMessage<'_>,
    header: &Header<'_, Signature>,
    fields: &Fields,
    now: Timestamp,
) -> Option<&'static str> {
    let signature = &header.header;
    let Some(tags) = Tags::read(header.value) else { return Some("its signature is malformed") };
    let now = u64::try_from(now.as_second()).unwrap_or(0);
    let is_number = |tag: &str| tags.get(tag).is_none_or(|value| value.parse::<u64>().is_ok());
    let selector_is_plain =
        signature.s.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if signature.v != 1 || !selector_is_plain || !is_number("t") || !is_number("x") {
        Some("its signature is malformed")
    } else if signature.a == Algorithm::RsaSha1 {
        // RFC 8301 section 3.1.
        Some("its signature uses SHA-1")
    } else if tags.get("l").is_some() {
        // RFC 6376 section 8.2.
        Some("its signature leaves a part of the body out")
    } else if !fields.are_in(&signature.h) {
        // From: RFC 6376 section 6.1.1.
        Some("its signature leaves From, Reply-To or Subject out")
    } else if signature.t > now.saturating_add(CLOCK_SKEW) {
        Some("its signature is dated in the future")
    } else if tags.get("x").is_some() && signature.x <= now.max(signature.t) {
        Some("its signature is expired")
    } else if !signed
        .body_hashes
        .iter()
        .any(|(how, _, _, hash)| *how == signature.cb && *hash == signature.bh)
    {
        Some("its body is not the one that was signed")
    } else {
        None
    }
}

/// What a key's record says against its use here (RFC 6376 section 3.6.1): with `t=y` a mail is to be
/// treated as unsigned, `s=` may leave mail out, and `h=` SHA-256.
pub(super) fn forbids(record: &[u8]) -> Option<&'static str> {
    let Some(tags) = Tags::read(record) else { return Some("its key cannot be read") };
    let lists = |tag: &str, wanted: &[&str]| -> Option<bool> {
        let words = tags.get(tag)?.split(':').map(|word| word.trim().to_ascii_lowercase());
        Some(words.into_iter().any(|word| wanted.contains(&word.as_str())))
    };
    if lists("t", &["y"]) == Some(true) {
        Some("its key is in testing")
    } else if lists("s", &["*", "email"]) == Some(false) {
        Some("its key is not for mail")
    } else if lists("h", &["sha256"]) == Some(false) {
        Some("its key is not for SHA-256")
    } else {
        None
    }
}

/// How many there are of each of the fields we act upon.
pub(super) struct Fields {
    counts: [usize; ACTED_UPON.len()],
    /// Whether each name stands alone before its colon. Where one does not, readers see the field and
    /// signatures pass it over.
    are_strict: bool,
}

impl Fields {
    pub(super) fn of(message: &Message<'_>) -> Self {
        let count = |name| message.header().filter(|field| field.is(name)).count();
        let are_strict = message
            .header()
            .all(|field| ACTED_UPON.iter().all(|name| !field.is(name) || field.is_strictly(name)));
        Self { counts: ACTED_UPON.map(count), are_strict }
    }

    /// Whether a signature over the fields called `signed` covers them all. A name that stands there twice
    /// covers two, from the bottom (RFC 6376 section 5.4.2).
    fn are_in(&self, signed: &[String]) -> bool {
        let is_covered = |(name, count): (&str, &usize)| {
            let covered = signed.iter().filter(|other| other.eq_ignore_ascii_case(name)).count();
            covered >= *count && (name != "From" || covered > 0)
        };
        self.are_strict && ACTED_UPON.into_iter().zip(&self.counts).all(is_covered)
    }
}

/// A tag list (RFC 6376 section 3.2), with names as the library reads them: in lower case, no blanks.
struct Tags(Vec<(String, String)>);

impl Tags {
    /// `None` if it is none, or a name stands there twice.
    fn read(text: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(text);
        let mut tags: Vec<(String, String)> = Vec::new();
        for part in text.split(';').filter(|part| !part.trim().is_empty()) {
            let (name, value) = part.split_once('=')?;
            let name: String = name.split_ascii_whitespace().collect();
            let name = name.to_ascii_lowercase();
            // More than both RFCs know together; each new one is compared with all before it.
            if tags.len() == 32 || tags.iter().any(|(other, _)| *other == name) {
                return None;
            }
            tags.push((name, value.trim().to_owned()));
        }
        Some(Self(tags))
    }

    fn get(&self, tag: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == tag).map(|(_, value)| value.as_str())
    }
}

/// The mail with the line ends it was signed with: a Maildir has others. `None` where a carriage return
/// stands alone, which the signature's arithmetic passes over and readers do not.
pub(super) fn with_crlf(mail: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut bytes = mail.iter().peekable();
    let (mut has_bare_lf, mut last) = (false, 0);
    while let Some(&byte) = bytes.next() {
        if byte == b'\r' && bytes.peek() != Some(&&b'\n') {
            return None;
        }
        has_bare_lf |= byte == b'\n' && last != b'\r';
        last = byte;
    }
    if !has_bare_lf {
        return Some(Cow::Borrowed(mail));
    }
    let mut whole = Vec::with_capacity(mail.len() + mail.len() / 32);
    last = 0;
    for &byte in mail {
        if byte == b'\n' && last != b'\r' {
            whole.push(b'\r');
        }
        whole.push(byte);
        last = byte;
    }
    Some(Cow::Owned(whole))
}
