//! Unsubscribe tokens: the address that a newsletter puts into its `List-Unsubscribe` field (RFC 2369
//! section 3.2), so that a mail to it opts its reader out, whoever sends that mail, with words or without.
//!
//! Pure. A token proves one thing: that a holder of the key has meant this address to be opted out
//! by it. It says nothing about who sent the mail, and nothing but an opt-out ever follows from it.
//!
//! ## The scheme, version 1
//! ```text
//! address = the reader's address in lower case, plain ASCII (see Address)
//! mac     = the first 10 bytes of HMAC-SHA-256(key, "privacyd unsubscribe v1\n" + address)
//! token   = base32(mac + address)       RFC 4648 section 6, lower case, without padding
//! ```
//! The key is the text in its file, up to the end of the first line, as bytes: hexadecimal digits are
//! not decoded. The newest key signs, every key verifies.
//!
//! Test vector: key `000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f`, address
//! `jane@example.com`, mac `1cf8627ef68e71ce31b1`, token `dt4ge7xwrzy44mnrnjqw4zkamv4gc3lqnrss4y3pnu`.
//!
//! ## Where it stands
//! In the local part of one of our addresses, `privacy+u.TOKEN@example.com`, where that has at most
//! 64 octets (RFC 5321 section 4.5.3.1.1); else in the subject of a mail to `privacy+u@example.com`.
//! Both are read always. The first ten bytes leave 23 for the address behind `privacy+u.`; so
//! longer ones go by the subject.
//!
//! ## Why 80 bits
//! RFC 2104 section 5 names 80 bits as the least that an attacker should have to predict, and half of
//! the hash against collisions. A collision is of no use here: who would opt somebody out must guess
//! one tag, a mail for each guess. And every byte more sends more addresses to the subject, which some
//! mail programs drop.
//!
//! ## Why the address is in it
//! A newsletter system can make tokens alone, and privacyd can opt out an address it has never seen.
//! The reader's address is told to nobody but the reader, who has it in the To field anyway.

use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use sha2::Sha256;

use crate::config::Secret;
use crate::message::Message;
use crate::sender::Address;

/// What is authenticated besides the address: a key that serves something else as well makes no
/// tokens there, and a later scheme none here.
const LABEL: &[u8] = b"privacyd unsubscribe v1\n";

/// Bytes of a MAC that a token bears.
const TAG: usize = 10;

/// The longest token: a tag and the longest address, in base32.
const MAX_TOKEN: usize = ((TAG + 254) * 8).div_ceil(5);

/// More tokens than this are not tried.
const MAX_TRIED: usize = 16;

/// What a mail has in the way of unsubscribe tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// Nothing of the kind.
    None,
    /// Something that looks like one, and that no key of ours has made.
    Invalid,
    /// Those of these addresses: at least one, normalised, each once.
    Valid(Vec<Address>),
}

/// A token and how it is written into a mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Signed {
    /// The normalised address that it opts out.
    pub address: Address,
    /// The token.
    pub token: String,
    /// The URI that a mail program writes to (RFC 6068).
    pub mailto: String,
    /// The whole header field, without its line end; below 998 octets (RFC 5322 section 2.1.1).
    pub header: String,
}

/// The keys, and our addresses.
pub struct Tokens {
    /// Newest first, ready to take in a message.
    keys: Vec<Hmac<Sha256>>,
    own: Vec<Address>,
}

impl Tokens {
    /// With these keys, the newest first, for mail to our addresses `own`. Without keys no token is
    /// looked for and none can be made.
    pub fn new(keys: &[Secret], own: &[Address]) -> Self {
        Self {
            // HMAC takes keys of any length: nothing is left out here.
            keys: keys.iter().filter_map(|key| Hmac::new_from_slice(key.expose().as_bytes()).ok()).collect(),
            own: own.iter().map(Address::normalised).collect(),
        }
    }

    /// The token of `address`, made with the newest key, for our first address. `None` without keys,
    /// or where our address is itself too long to take `+u`.
    pub fn sign(&self, address: &Address) -> Option<Signed> {
        let address = address.normalised();
        let tag = mac(self.keys.first()?, &address).finalize().into_bytes();
        let mut bytes = tag.get(..TAG)?.to_vec();
        bytes.extend_from_slice(address.as_str().as_bytes());
        let token = BASE32_NOPAD.encode(&bytes).to_ascii_lowercase();
        let own = self.own.first()?;
        let mailto = match with_detail(own, &format!("u.{token}")) {
            Some(to) => format!("mailto:{}", uri(&to)),
            None => format!("mailto:{}?subject=u.{token}", uri(&with_detail(own, "u")?)),
        };
        let header = format!("List-Unsubscribe: <{mailto}>");
        Some(Signed { address, token, mailto, header })
    }

    /// The tokens that `message` bears in the addresses it was sent to, or in its subject where it
    /// was sent to `+u`.
    pub fn read(&self, message: &Message<'_>) -> Token {
        if self.keys.is_empty() {
            return Token::None;
        }
        let found = self.candidates(message);
        let mut valid: Vec<Address> = Vec::new();
        for address in found.iter().filter_map(|token| self.verify(token)) {
            if !valid.contains(&address) {
                valid.push(address);
            }
        }
        match (found.is_empty(), valid.is_empty()) {
            (true, _) => Token::None,
            (false, true) => Token::Invalid,
            (false, false) => Token::Valid(valid),
        }
    }

    /// Whatever stands where a token would, in lower case, each once.
    fn candidates(&self, message: &Message<'_>) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        let mut add = |token: &str| {
            if found.len() < MAX_TRIED && !token.is_empty() && !found.iter().any(|known| known == token) {
                found.push(token.to_owned());
            }
        };
        let mut by_subject = false;
        // Whatever stands in these fields is believed for its MAC alone.
        for word in message.recipients() {
            match self.own.iter().find_map(|own| own.detail(&word)) {
                Some("u") => by_subject = true,
                Some(detail) => add(detail.strip_prefix("u.").unwrap_or_default()),
                None => {}
            }
        }
        if by_subject {
            let subject = message.subject();
            let words: Vec<String> = subject.split_whitespace().map(str::to_ascii_lowercase).collect();
            // Whole first: a long word may have been broken to fold its line.
            for word in [words.concat()].iter().chain(&words) {
                add(word.strip_prefix("u.").unwrap_or_default());
            }
        }
        found
    }

    /// The address of `token`, if one of the keys has made it. The case of its letters does not
    /// matter: servers change that of local parts.
    fn verify(&self, token: &str) -> Option<Address> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        // Bits behind the last byte must be zero, or one address had several tokens.
        let bytes = BASE32_NOPAD.decode(token.to_ascii_uppercase().as_bytes()).ok()?;
        let (tag, address) = bytes.split_at_checked(TAG)?;
        let address: Address = std::str::from_utf8(address).ok()?.parse().ok()?;
        let is_made_by = |key| mac(key, &address).verify_truncated_left(tag).is_ok();
        (address == address.normalised() && self.keys.iter().any(is_made_by)).then_some(address)
    }
}

/// The MAC of a normalised address, before it is taken out or compared.
fn mac(key: &Hmac<Sha256>, address: &Address) -> Hmac<Sha256> {
    let mut mac = key.clone();
    mac.update(LABEL);
    mac.update(address.as_str().as_bytes());
    mac
}

/// `own` with a detail, if that is an address still: a local part has at most 64 octets, the whole 254.
fn with_detail(own: &Address, detail: &str) -> Option<Address> {
    format!("{}+{detail}@{}", own.local_part(), own.domain()).parse().ok()
}

/// An address as it stands in a mailto URI (RFC 6068 section 2).
fn uri(address: &Address) -> String {
    let mut uri = String::new();
    for byte in address.as_str().bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!$'*+@".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const OTHER: &str = "another key of sixteen bytes or more";
    const OWN: &str = "privacy@example.com";

    /// Made by `printf 'privacyd unsubscribe v1\njane@example.com' | openssl dgst -sha256 -mac HMAC
    /// -macopt key:…` and Python's base64.b32encode.
    const JANE: &str = "dt4ge7xwrzy44mnrnjqw4zkamv4gc3lqnrss4y3pnu";
    const LONG: &str = "l6ldznwa7nbjyvgxnjqw4zjomrxwkltxnf2gqllbfvwg63thfvxgc3lfibwwc2lmfzsxqylnobwgkltdn5wq";
    const LONG_ADDRESS: &str = "jane.doe.with-a-long-name@mail.example.com";

    fn address(text: &str) -> Address {
        text.parse().unwrap()
    }

    fn tokens(keys: &[&str]) -> Tokens {
        tokens_of(keys, &[OWN])
    }

    fn tokens_of(keys: &[&str], own: &[&str]) -> Tokens {
        let keys: Vec<Secret> = keys.iter().map(|key| Secret::from(*key)).collect();
        let own: Vec<Address> = own.iter().map(|own| address(own)).collect();
        Tokens::new(&keys, &own)
    }

    fn read(tokens: &Tokens, fields: &str) -> Token {
        let mail = format!("{fields}\n\n");
        tokens.read(&Message::parse(mail.as_bytes()).unwrap())
    }

    fn valid(texts: &[&str]) -> Token {
        Token::Valid(texts.iter().map(|text| address(text)).collect())
    }

    #[test]
    fn the_test_vectors() {
        let tokens = tokens(&[KEY]);
        let short = tokens.sign(&address("Jane@Example.com")).unwrap();
        assert_eq!(short.address.as_str(), "jane@example.com");
        assert_eq!(short.token, JANE);
        assert_eq!(short.mailto, format!("mailto:privacy+u.{JANE}@example.com"));
        assert_eq!(short.header, format!("List-Unsubscribe: <mailto:privacy+u.{JANE}@example.com>"));
        let long = tokens.sign(&address(LONG_ADDRESS)).unwrap();
        assert_eq!(long.token, LONG);
        assert_eq!(long.mailto, format!("mailto:privacy+u@example.com?subject=u.{LONG}"));
        assert_eq!(tokens.verify(JANE), Some(address("jane@example.com")));
        assert_eq!(tokens.verify(LONG), Some(address(LONG_ADDRESS)));
        // The module's own text and the manual must not drift from these.
        for text in [include_str!("token.rs"), include_str!("../README.md")] {
            assert!(text.contains(&format!("`{KEY}`")) && text.contains(&format!("`{JANE}`")));
        }
    }

    #[test]
    fn a_local_part_has_64_octets() {
        // "privacy+u." leaves 54 characters of base32, 33 bytes, 23 of them for the address.
        let tokens = tokens(&[KEY]);
        let of = |length: usize| {
            let signed = tokens.sign(&address(&format!("{}@example.com", "a".repeat(length - 12)))).unwrap();
            (signed.mailto.contains("?subject="), signed.mailto)
        };
        let (by_subject, mailto) = of(23);
        assert!(!by_subject);
        let local = mailto.strip_prefix("mailto:").and_then(|to| to.split('@').next()).unwrap();
        assert_eq!(local.len(), 63);
        assert!(of(24).0);
        // Exactly 64 fit: here with one letter more in our own address.
        let own = tokens_of(&[KEY], &["privacyx@example.com"]);
        let mailto = own.sign(&address(&format!("{}@example.com", "a".repeat(11)))).unwrap().mailto;
        assert_eq!(mailto.split('@').next().unwrap().len(), "mailto:".len() + 64);
    }

    #[test]
    fn the_field_stays_on_one_line_whatever_the_addresses() {
        let label = "a".repeat(63);
        let longest = format!("{}@{label}.{label}.{}", "x".repeat(64), "b".repeat(61));
        assert_eq!(longest.len(), 254);
        let own = format!("{}@{label}.{label}.{}", "%".repeat(62), "b".repeat(61));
        let tokens = tokens_of(&[KEY], &[own.as_str()]);
        let signed = tokens.sign(&address(&longest)).unwrap();
        assert_eq!(signed.token.len(), MAX_TOKEN);
        assert!(
            signed.header.len() < 998 && !signed.header.contains(['\r', '\n']),
            "{}",
            signed.header.len()
        );
        assert_eq!(tokens.verify(&signed.token), Some(address(&longest)));
        // One octet more leaves no room for "+u".
        assert_eq!(
            tokens_of(&[KEY], &[&format!("{}@example.com", "x".repeat(63))]).sign(&address(OWN)),
            None
        );
    }

    #[test]
    fn what_a_uri_cannot_hold_is_encoded() {
        let tokens = tokens_of(&[KEY], &["a&b=c%d#e?/+x@example.com"]);
        let mailto = tokens.sign(&address("j@example.com")).unwrap().mailto;
        assert!(mailto.starts_with("mailto:a%26b%3Dc%25d%23e%3F%2F+x+u."), "{mailto}");
    }

    #[test]
    fn a_tampered_token_is_none() {
        let tokens = tokens(&[KEY]);
        for token in [JANE, LONG] {
            for place in 0..token.len() {
                for other in "abcdefghijklmnopqrstuvwxyz234567=01.@-".chars() {
                    let mut tampered = token.to_owned();
                    tampered.replace_range(place..=place, &other.to_string());
                    if tampered != token {
                        assert_eq!(tokens.verify(&tampered), None, "{tampered}");
                    }
                }
                assert_eq!(tokens.verify(&token[..place]), None);
                assert_eq!(tokens.verify(&token[place + 1..]), None);
            }
            for more in ["a", "aa", "aaaaaaaa", "=", " "] {
                assert_eq!(tokens.verify(&format!("{token}{more}")), None);
            }
        }
        assert_eq!(tokens.verify(&"a".repeat(MAX_TOKEN + 1)), None);
    }

    #[test]
    fn a_mac_of_something_else_is_none() {
        let tokens = tokens(&[KEY]);
        let forge = |label: &[u8], text: &str, tag: usize| {
            let mut mac = Hmac::<Sha256>::new_from_slice(KEY.as_bytes()).unwrap();
            mac.update(label);
            mac.update(text.as_bytes());
            let digest = mac.finalize().into_bytes();
            BASE32_NOPAD.encode(&[&digest[..tag], text.as_bytes()].concat()).to_ascii_lowercase()
        };
        assert_eq!(forge(LABEL, "jane@example.com", TAG), JANE);
        assert_eq!(tokens.verify(&forge(b"", "jane@example.com", TAG)), None);
        assert_eq!(tokens.verify(&forge(b"privacyd unsubscribe v2\n", "jane@example.com", TAG)), None);
        // A shorter tag is not completed by the address's first letters.
        assert_eq!(tokens.verify(&forge(LABEL, "jane@example.com", TAG - 1)), None);
        // A key holder's mistake: not normalised, no address, nothing.
        for text in ["Jane@example.com", "jane", "", "jane@example.com\r\n", "a@b@example.com"] {
            assert_eq!(tokens.verify(&forge(LABEL, text, TAG)), None, "{text:?}");
        }
    }

    #[test]
    fn old_keys_verify_and_the_newest_signs() {
        let old = tokens(&[OTHER]).sign(&address("jane@example.com")).unwrap().token;
        assert_ne!(old, JANE);
        let both = tokens(&[KEY, OTHER]);
        assert_eq!(both.sign(&address("jane@example.com")).unwrap().token, JANE);
        assert_eq!(both.verify(&old), Some(address("jane@example.com")));
        assert_eq!(both.verify(JANE), Some(address("jane@example.com")));
        assert_eq!(tokens(&[KEY]).verify(&old), None);
        assert_eq!(tokens(&[]).sign(&address("jane@example.com")), None);
        assert_eq!(read(&tokens(&[]), &format!("To: privacy+u.{JANE}@example.com")), Token::None);
    }

    #[test]
    fn tokens_are_found_in_every_field_of_recipients() {
        let tokens = tokens_of(&[KEY], &["privacy@example.com", "Datenschutz+x@Example.org"]);
        let jane = valid(&["jane@example.com"]);
        let capitals = JANE.to_uppercase();
        for fields in [
            format!("To: privacy+u.{JANE}@example.com"),
            format!("To: PRIVACY+U.{capitals}@EXAMPLE.COM"),
            format!("To: <privacy+u.{JANE}@example.com>"),
            format!("To: \"a, b\" <x@example.net>,\r\n Unsubscribe\r\n <privacy+u.{JANE}@example.com>"),
            format!("To: a@example.net\nTo: privacy+u.{JANE}@example.com"),
            format!("Cc: privacy+u.{JANE}@example.com"),
            format!("To: privacy@example.com\nDelivered-To: privacy+u.{JANE}@example.com"),
            format!("X-Original-To: privacy+u.{JANE}@example.com"),
            format!("Envelope-to: privacy+u.{JANE}@example.com"),
            format!("Resent-To: privacy+u.{JANE}@example.com"),
            format!("To: datenschutz+x+u.{JANE}@example.org"),
            format!("To: privacy+u.{JANE}@example.com, privacy+u.{JANE}@example.com"),
            format!("To: privacy+u.nonsense@example.com\nCc: privacy+u.{JANE}@example.com"),
            format!("To: privacy+u@example.com\nSubject: u.{JANE}"),
            format!("To: privacy+U@example.com\nSubject: U.{capitals}"),
            format!("To: privacy+u@example.com\nSubject: [EXTERNAL] u.{JANE}"),
            format!("To: privacy+u@example.com\nSubject: u.{}\n {}", &JANE[..20], &JANE[20..]),
            format!("To: privacy+u@example.com\nSubject: =?utf-8?q?u.{JANE}?="),
        ] {
            assert_eq!(read(&tokens, &fields), jane, "{fields}");
        }
        assert_eq!(
            read(&tokens, &format!("To: privacy+u@example.com\nSubject: u.{LONG}")),
            valid(&[LONG_ADDRESS])
        );
        let two = format!("To: privacy+u.{JANE}@example.com, privacy+u@example.com\nSubject: u.{LONG}");
        assert_eq!(read(&tokens, &two), valid(&["jane@example.com", LONG_ADDRESS]));
        let not_ours = tokens_of(&[KEY], &["datenschutz@example.org"]);
        assert_eq!(read(&not_ours, &format!("To: datenschutz+x+u.{JANE}@example.org")), Token::None);
    }

    #[test]
    fn what_is_no_token_and_what_is_a_bad_one() {
        let tokens = tokens(&[KEY]);
        for fields in [
            "To: privacy@example.com".to_owned(),
            "To: privacy+u@example.com".into(),
            "To: privacy+u@example.com\nSubject: hello".into(),
            "To: privacy+u.@example.com".into(),
            "To: privacy+other@example.com".into(),
            format!("To: privacy@example.com\nSubject: u.{JANE}"),
            format!("To: privacy+x@example.com\nSubject: u.{JANE}"),
            format!("To: privacy+u.{JANE}@example.net"),
            format!("To: notprivacy+u.{JANE}@example.com"),
            format!("To: privacy+u.{JANE}@example.com.example.net"),
            format!("From: privacy+u.{JANE}@example.com"),
            format!("Reply-To: privacy+u.{JANE}@example.com"),
            format!("References: <privacy+u.{JANE}@example.com>"),
        ] {
            assert_eq!(read(&tokens, &fields), Token::None, "{fields}");
        }
        for fields in [
            "To: privacy+u.x@example.com".to_owned(),
            format!("To: privacy+u.{}@example.com", &JANE[1..]),
            format!("To: privacy+u.{JANE}+x@example.com"),
            "To: privacy+u@example.com\nSubject: u.abcdefgh".into(),
            format!("To: privacy+u.{}@example.com", "a".repeat(9999)),
        ] {
            assert_eq!(read(&tokens, &fields), Token::Invalid, "{fields}");
        }
    }

    #[test]
    fn what_is_read_of_one_mail_is_bounded() {
        let tokens = tokens(&[KEY]);
        let many: Vec<String> = (0..200_000).map(|n| format!("privacy+u.{n}@example.com")).collect();
        assert_eq!(read(&tokens, &format!("To: {}", many.join(", "))), Token::Invalid);
        let late = format!("To: {}privacy+u.{JANE}@example.com", "x ".repeat(8 * 1024));
        assert_eq!(read(&tokens, &late), Token::None);
        let after =
            |others: usize| format!("To: {}, privacy+u.{JANE}@example.com", many[..others].join(", "));
        assert_eq!(read(&tokens, &after(MAX_TRIED - 1)), valid(&["jane@example.com"]));
        assert_eq!(read(&tokens, &after(MAX_TRIED)), Token::Invalid);
        // What our own server wrote is read first: the writer's fields do not hide it.
        let hidden = format!("{}\nDelivered-To: privacy+u.{JANE}@example.com", after(MAX_TRIED));
        assert_eq!(read(&tokens, &hidden), valid(&["jane@example.com"]));
    }

    proptest! {
        #[test]
        fn no_text_is_a_token_by_chance(text in "\\PC{0,80}|[a-z2-7]{0,440}|[\\x00-\\x7f]{0,80}") {
            let tokens = tokens(&[KEY, OTHER]);
            prop_assert_eq!(tokens.verify(&text), None);
            for fields in [
                format!("To: privacy+u.{text}@example.com"),
                format!("To: privacy+u@example.com\nSubject: u.{text}"),
            ] {
                let is_valid = matches!(read(&tokens, &fields), Token::Valid(_));
                prop_assert!(!is_valid);
            }
        }

        #[test]
        fn what_a_key_made_is_read_by_that_key_alone(
            local in "[a-zA-Z0-9_+-]{1,30}(\\.[a-z0-9]{1,30})?",
            domain in "[a-z0-9]{1,40}\\.(com|example\\.org)",
            own in "[a-z]{1,60}",
        ) {
            let Ok(address) = format!("{local}@{domain}").parse::<Address>() else { return Ok(()) };
            let own = format!("{own}@example.com");
            let tokens = tokens_of(&[KEY], &[&own]);
            let Signed { token, mailto, .. } = tokens.sign(&address).unwrap();
            let fields = match mailto.trim_start_matches("mailto:").split_once("?subject=") {
                Some((to, subject)) => format!("To: {to}\nSubject: {subject}"),
                None => format!("To: {}", mailto.trim_start_matches("mailto:")),
            };
            let expected = Token::Valid(vec![address.normalised()]);
            prop_assert_eq!(read(&tokens, &fields), expected.clone());
            prop_assert_eq!(read(&tokens, &fields.to_uppercase()), expected);
            prop_assert_eq!(read(&tokens_of(&[OTHER], &[&own]), &fields), Token::Invalid);
            prop_assert_eq!(tokens_of(&[OTHER], &[&own]).verify(&token), None);
        }
    }
}
