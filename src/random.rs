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
