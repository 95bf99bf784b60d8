//! Who wrote: the strict reading of the From field.
//!
//! The library's address parser is made to get something out of every mail; an identity must rather
//! be refused than guessed. So the field is read here by RFC 5322 section 3.4 without the obsolete
//! forms, and the result must agree with the library's. What proves that the sender *is* this
//! address is weighed in [`crate::evidence`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A mail address that can be written to and compared: dot-atom `@` host name, ASCII.
///
/// Quoted local parts, domain literals and internationalised addresses are refused: no mailbox of
/// ours has to answer them, and each is a known way to mean two addresses with one text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address(String);

/// Why a text is no [`Address`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a plain mail address such as \"privacy@example.com\"")]
pub struct NotAnAddress;

impl Address {
    /// The address as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form to compare and to store by: lower case. RFC 5321 section 2.4 lets a server tell
    /// `Jane` from `jane`; none that people use does, and an opt-out must not depend on a capital.
    pub fn normalised(&self) -> Address {
        Address(self.0.to_ascii_lowercase())
    }

    /// What is left of the `@`.
    pub fn local_part(&self) -> &str {
        self.0.split_once('@').map_or("", |(local, _)| local)
    }

    /// What is right of the `@`.
    pub fn domain(&self) -> &str {
        self.0.split_once('@').map_or("", |(_, domain)| domain)
    }

    /// The detail (RFC 5233 section 1) that `other` has, if `other` is this address with one: `x` of
    /// `privacy+x@example.com`. Both must be in lower case.
    pub fn detail<'a>(&self, other: &'a str) -> Option<&'a str> {
        let (local, domain) = other.rsplit_once('@')?;
        let detail = local.strip_prefix(self.local_part())?.strip_prefix('+')?;
        (domain == self.domain()).then_some(detail)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Address {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let (local, domain) = text.split_once('@').ok_or(NotAnAddress)?;
        let atom = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&c);
        let local_is_sound = local.len() <= 64
            // A leading '-' would be an option to some program down the line.
            && !local.starts_with('-')
            && local.split('.').all(|word| !word.is_empty() && word.bytes().all(atom));
        let label_is_sound = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let domain_is_sound =
            domain.len() <= 253 && domain.contains('.') && domain.split('.').all(label_is_sound);
        if local_is_sound && domain_is_sound && text.len() <= 254 {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotAnAddress)
        }
    }
}

impl TryFrom<String> for Address {
    type Error = NotAnAddress;

    fn try_from(text: String) -> Result<Self, NotAnAddress> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.0
    }
}

/// Why nobody can be taken for the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoSender {
    /// There is no From field.
    #[error("there is no From field")]
    Absent,
    /// RFC 5322 section 3.6 allows one.
    #[error("there is more than one From field")]
    Several,
    /// The field holds several addresses, a group, or nothing that is strictly an address.
    #[error("the From field is not one plain address")]
    Malformed,
    /// The strict reading and the library's differ: somebody means two readers to see two people.
    #[error("the From field can be read as two different addresses")]
    Ambiguous,
}

/// Reads the one address of the one From field.
///
/// `fields` are the raw bodies of every From field; `library` is what mail-parser made of the last.
///
/// # Errors
/// Anything but exactly one field with exactly one strict address that the library reads as well.
pub fn strict_from(fields: &[&[u8]], library: Option<&str>) -> Result<Address, NoSender> {
    let field = match fields {
        [] => return Err(NoSender::Absent),
        [field] => field,
        _ => return Err(NoSender::Several),
    };
    let text = addr_spec(field).ok_or(NoSender::Malformed)?;
    let address: Address = text.parse().map_err(|NotAnAddress| NoSender::Malformed)?;
    match library {
        Some(other) if other.eq_ignore_ascii_case(address.as_str()) => Ok(address),
        _ => Err(NoSender::Ambiguous),
    }
}

/// The addr-spec of a field body that is one mailbox (RFC 5322 section 3.4): `local@domain` or
/// `[name] <local@domain>`, with comments and folding where they may stand.
fn addr_spec(field: &[u8]) -> Option<String> {
    let unfolded = unfold(field)?;
    let mut bare = Vec::new(); // what stands outside quotes, comments and angle brackets
    let mut angle: Option<Vec<u8>> = None;
    let mut bytes = unfolded.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => {
                skip_quoted(&mut bytes)?;
                bare.push(b'"');
            }
            b'(' => {
                skip_comment(&mut bytes)?;
                bare.push(b' ');
            }
            b'<' if angle.is_none() => angle = Some(take_angle(&mut bytes)?),
            // A second address, a list, a group, a stray bracket.
            b'<' | b'>' | b',' | b';' | b':' | b')' => return None,
            _ if angle.is_some() && byte != b' ' => return None,
            _ => bare.push(byte),
        }
    }
    let spec = match angle {
        Some(spec) => {
            // An '@' in an unquoted name is an address that somebody else may read first.
            if bare.contains(&b'@') {
                return None;
            }
            spec
        }
        None => bare,
    };
    let spec = String::from_utf8(spec).ok()?;
    Some(spec.trim_matches(' ').to_owned())
}

/// Undoes folding (CRLF or LF before white space); any other control character is refused.
pub(crate) fn unfold(field: &[u8]) -> Option<Vec<u8>> {
    let field = field.trim_ascii();
    let mut unfolded = Vec::with_capacity(field.len());
    let mut bytes = field.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\r' if bytes.peek() == Some(&b'\n') => {}
            b'\n' if matches!(bytes.peek(), Some(b' ' | b'\t')) => {}
            b'\t' => unfolded.push(b' '),
            0..=31 | 127 => return None,
            _ => unfolded.push(byte),
        }
    }
    Some(unfolded)
}

fn skip_quoted(bytes: &mut impl Iterator<Item = u8>) -> Option<()> {
    loop {
        match bytes.next()? {
            b'\\' => drop(bytes.next()?),
            b'"' => return Some(()),
            _ => {}
        }
    }
}

/// Goes behind the comment whose parenthesis has just been read; `None` if it does not end.
pub(crate) fn skip_comment(bytes: &mut impl Iterator<Item = u8>) -> Option<()> {
    let mut depth = 1;
    loop {
        match bytes.next()? {
            b'\\' => drop(bytes.next()?),
            b'(' => depth += 1,
            b')' => {
                depth -= 1;
                if depth == 0 {
                    return Some(());
                }
            }
            _ => {}
        }
    }
}

fn take_angle(bytes: &mut impl Iterator<Item = u8>) -> Option<Vec<u8>> {
    let mut spec = Vec::new();
    loop {
        match bytes.next()? {
            b'>' => return Some(spec),
            byte => spec.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_plain_or_refused() {
        for good in ["jane@example.com", "j.o+tag@mail.example.co", "O'Hara_x@example.org"] {
            assert_eq!(good.parse::<Address>().map(String::from).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "@example.com",
            "jane@",
            "jane",
            "a@b",
            "a..b@example.com",
            ".a@example.com",
            "a.@example.com",
            "\"a b\"@example.com",
            "a b@example.com",
            "a@[127.0.0.1]",
            "a@example.com\r\nBcc: b@example.com",
            "a@exa mple.com",
            "a@-example.com",
            "-oQ@example.com",
            "a@example..com",
            "jané@example.com",
            "a@b@example.com",
            "a@example.com\0",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad:?}");
        }
        assert!(format!("{}@example.com", "a".repeat(65)).parse::<Address>().is_err());
    }

    #[test]
    fn a_detail_belongs_to_its_own_address_alone() {
        let own: Address = "privacy@example.com".parse().unwrap();
        for (other, detail) in [
            ("privacy+x@example.com", Some("x")),
            ("privacy+u.ab+c@example.com", Some("u.ab+c")),
            ("privacy+@example.com", Some("")),
            ("privacy@example.com", None),
            ("privacy+x@example.net", None),
            ("privacy+x@mail.example.com", None),
            ("my-privacy+x@example.com", None),
            ("privacy-x@example.com", None),
            ("privacy+x", None),
        ] {
            assert_eq!(own.detail(other), detail, "{other}");
        }
    }

    fn check(field: &str, library: Option<&str>, expected: Result<&str, NoSender>) {
        let found = strict_from(&[field.as_bytes()], library);
        assert_eq!(found.as_ref().map(Address::as_str).map_err(|e| *e), expected, "{field:?}");
    }

    #[test]
    fn the_usual_shapes_of_from_are_read() {
        let jane = Some("jane@example.com");
        for field in [
            "jane@example.com",
            " <jane@example.com>",
            "Jane <jane@example.com>",
            "\"Doe, Jane\" <jane@example.com>",
            "\"evil@example.org\" <jane@example.com>",
            "=?utf-8?q?J=C3=A4ne?= <jane@example.com>",
            "J. Doe <jane@example.com> (work)",
            "(hi) jane@example.com",
            "Jäne Doe <jane@example.com>",
            "Jane Doe\r\n <jane@example.com>\r\n",
        ] {
            check(field, jane, Ok("jane@example.com"));
        }
        check("Jane <JANE@Example.com>", jane, Ok("JANE@Example.com"));
    }

    #[test]
    fn a_from_that_can_mean_two_people_is_nobody() {
        let x = Some("victim@example.org");
        for field in [
            "<victim@example.org><evil@example.net>",
            "<victim@example.org> evil@example.net",
            "victim@example.org <evil@example.net>",
            "victim@example.org, evil@example.net",
            "friends: victim@example.org;",
            "<@r1,@r2:victim@example.org>",
            "victim@example.org\rBcc: evil@example.net",
            "victim@example.org\0",
            "\"a b\"@example.org",
            "\"open <victim@example.org>",
            "",
        ] {
            check(field, x, Err(NoSender::Malformed));
        }
        check("jane@example.com", x, Err(NoSender::Ambiguous));
        check("jane@example.com", None, Err(NoSender::Ambiguous));
        assert_eq!(strict_from(&[], x), Err(NoSender::Absent));
        let twice: [&[u8]; 2] = [b"victim@example.org", b"victim@example.org"];
        assert_eq!(strict_from(&twice, x), Err(NoSender::Several));
    }
}
