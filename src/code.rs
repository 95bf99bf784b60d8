//! One-time codes: what a reply must bear to prove that its sender reads the mail of an address.
//!
//! A code is 128 random bits, written as `c.` and 26 letters and digits (base32, RFC 4648 section 6, in
//! lower case). It goes out in the reply address where plus-addressing is configured, in the subject and
//! in the body, so that one of them comes back whatever the mail program does. Reading ignores case. The store
//! keeps a hash with the request, and the letter with its code only while that is still to be sent.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Characters of a written code behind its `c.`.
const LENGTH: usize = 26;

/// A one-time code.
#[derive(Clone, PartialEq, Eq)]
pub struct Code([u8; 16]);

impl Code {
    /// What stands where a code was: it is never given out, and its hash is nobody's.
    pub const BLANK: Self = Self([0; 16]);

    /// A code of these random bytes.
    pub fn new(random: [u8; 16]) -> Self {
        Self(random)
    }

    /// What the store keeps of it: SHA-256. Its 128 random bits need no salt.
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"privacyd code v1\n");
        hash.update(self.0);
        hash.finalize().into()
    }

    /// Whether `hash` is the one of this code; takes the same time for every hash.
    pub fn matches(&self, hash: &[u8]) -> bool {
        self.hash().ct_eq(hash).into()
    }

    /// The first code that is written in `text`.
    pub fn find(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let mut from = 0;
        while let Some(at) = bytes.get(from..).and_then(|rest| rest.windows(2).position(is_start)) {
            let start = from + at;
            from = start + 2;
            let begins_word = start.checked_sub(1).and_then(|at| bytes.get(at)).is_none_or(|b| !is_sign(b));
            let run = bytes.get(from..).unwrap_or_default().iter().take_while(|b| is_sign(b)).count();
            let written = bytes.get(from..from + run).unwrap_or_default().to_ascii_uppercase();
            if begins_word
                && run == LENGTH
                && let Ok(decoded) = BASE32_NOPAD.decode(&written)
                && let Ok(code) = <[u8; 16]>::try_from(decoded)
            {
                return Some(Self(code));
            }
        }
        None
    }
}

fn is_start(pair: &[u8]) -> bool {
    matches!(pair, [b'c' | b'C', b'.'])
}

fn is_sign(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric()
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c.{}", BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

impl fmt::Debug for Code {
    /// Says nothing: a code is a secret until it has been used.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_code_comes_back_from_wherever_it_was_written() {
        let code = Code::new(*b"0123456789abcdef");
        let written = code.to_string();
        assert_eq!(written.len(), 2 + LENGTH);
        for text in [
            written.clone(),
            format!("privacy+{written}@example.com"),
            format!("Re: Please confirm [PR-7F3K2M {written}]"),
            format!("> The code is {written}.\n> Bye"),
            written.to_ascii_uppercase(),
            format!("{written} and again {written}"),
        ] {
            assert_eq!(Code::find(&text).as_ref(), Some(&code), "{text}");
        }
        for text in [
            written[..27].to_owned(),
            format!("{written}a"),
            format!("abc{written}"),
            written.replace("c.", "d."),
            written.replace("c.", "c. "),
            String::new(),
            "c.".to_owned(),
        ] {
            assert_eq!(Code::find(&text), None, "{text}");
        }
    }

    #[test]
    fn a_code_matches_its_own_hash_alone() {
        let code = Code::new([7; 16]);
        assert!(code.matches(&code.hash()));
        assert!(!code.matches(&Code::new([8; 16]).hash()));
        assert!(!code.matches(&[]));
        assert!(!code.matches(&code.hash()[..31]));
    }

    #[test]
    fn of_many_codes_the_first_counts() {
        let text: String = (7..100).map(|n| Code::new([n; 16]).to_string() + " ").collect();
        assert_eq!(Code::find(&text), Some(Code::new([7; 16])));
    }

    proptest! {
        #[test]
        fn any_text_is_searched_without_a_fault(text in "\\PC{0,200}|[cC.a-z2-7 ]{0,200}") {
            if let Some(code) = Code::find(&text) {
                prop_assert!(text.to_ascii_lowercase().contains(&code.to_string()));
            }
        }
    }
}
