//! How a person looks in a log: a short pseudonym, the same each time, that nobody can turn back
//! without the key of this installation.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::sender::Address;

/// Makes pseudonyms.
#[derive(Clone)]
pub struct Pseudonyms {
    key: [u8; 32],
}

impl Pseudonyms {
    /// With the key of this installation.
    pub fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// Twelve characters such as `p-3fa91c02b7`: HMAC-SHA-256 of the normalised address, its first 40
    /// bits. Two people among a million share one with a chance of a half; it is for reading logs, not
    /// for keys.
    pub fn of(&self, address: &Address) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else {
            return "p-".into(); // HMAC takes keys of any length; there is no such case
        };
        mac.update(address.normalised().as_str().as_bytes());
        let digest = mac.finalize().into_bytes();
        let hex = data_encoding::HEXLOWER.encode(&digest);
        format!("p-{}", hex.get(..10).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudonym_is_stable_keyed_and_blind_to_capitals() {
        let jane: Address = "Jane@example.com".parse().expect("an address");
        let same: Address = "jane@EXAMPLE.com".parse().expect("an address");
        let one = Pseudonyms::new([1; 32]);
        assert_eq!(one.of(&jane), one.of(&same));
        assert_ne!(one.of(&jane), Pseudonyms::new([2; 32]).of(&jane));
        assert!(!one.of(&jane).contains("jane"));
        assert_eq!(one.of(&jane).len(), 12);
    }
}
