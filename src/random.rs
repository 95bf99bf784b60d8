//! Random bytes of the operating system: for codes, keys, references and Message-IDs.

use anyhow::{Context, Result};

/// So many of them.
///
/// # Errors
/// The machine has none to give.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).context("Cannot get random bytes")?;
    Ok(bytes)
}

/// References such as PR-7F3K2M: six of 31 signs that nobody mistakes on the phone, 887 million in all.
///
/// # Errors
/// See [`random`].
pub fn fresh_references(count: usize) -> Result<Vec<String>> {
    const SIGNS: &[u8; 31] = b"23456789ABCDEFGHJKLMNPQRSTUVWXY";
    (0..count)
        .map(|_| {
            let mut reference = String::from("PR-");
            while reference.len() < 9 {
                // Bytes from 248 on are drawn again: 248 is 8 times 31, so every sign is as likely.
                for byte in random::<8>()?.into_iter().filter(|byte| *byte < 248) {
                    if let Some(sign) = SIGNS.get(usize::from(byte % 31))
                        && reference.len() < 9
                    {
                        reference.push(char::from(*sign));
                    }
                }
            }
            Ok(reference)
        })
        .collect()
}
