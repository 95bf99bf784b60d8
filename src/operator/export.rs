//! `suppressions export`: the list for another system, as CSV; plain, or hashed for one that must not learn
//! addresses it does not have.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::{Mistake, time};
use crate::cli::{Export, Hiding};
use crate::config::SecretSource;
use crate::store::Store;

/// Entries that are read in one go.
const PAGE: u32 = 5000;

/// The fewest bytes of a key.
const LEAST_KEY: usize = 32;

/// How addresses are shown.
pub enum Shown {
    /// As they are, normalised.
    Plain,
    /// As their SHA-256, lower-case hexadecimal.
    Sha256,
    /// As their HMAC-SHA-256 with this key, lower-case hexadecimal.
    Hmac(Box<Hmac<Sha256>>),
}

impl Shown {
    /// What the first column is called.
    fn column(&self) -> &'static str {
        match self {
            Self::Plain => "address",
            Self::Sha256 => "sha256",
            Self::Hmac(_) => "hmac_sha256",
        }
    }

    /// The first column of a normalised address: it is ASCII without blanks, in lower case.
    fn of(&self, address: &str) -> String {
        match self {
            Self::Plain => address.to_owned(),
            Self::Sha256 => data_encoding::HEXLOWER.encode(&Sha256::digest(address)),
            Self::Hmac(key) => {
                let mut mac = key.as_ref().clone();
                mac.update(address.as_bytes());
                data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes())
            }
        }
    }
}

/// `privacyd suppressions export`
pub(super) async fn export(store: &Store, options: &Export) -> Result<ExitCode> {
    let shown = shown(options)?;
    match write(store, options.kind.as_deref(), &shown, std::io::stdout().lock()).await {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // A reader that has seen enough, as in `| head`.
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.into_iter().any(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn shown(options: &Export) -> Result<Shown> {
    match (options.hash, &options.key_file) {
        (None, _) => Ok(Shown::Plain),
        (Some(Hiding::Sha256), None) => Ok(Shown::Sha256),
        (Some(Hiding::Sha256), Some(_)) => {
            Err(Mistake("--key-file: SHA-256 takes no key; use --hash hmac".into()).into())
        }
        (Some(Hiding::Hmac), None) => {
            let remedy = "write one with `openssl rand -hex 32 > FILE`";
            Err(Mistake(format!("--hash hmac needs --key-file FILE; {remedy}")).into())
        }
        (Some(Hiding::Hmac), Some(file)) => {
            let key = SecretSource::File(file.clone()).read().map_err(|error| Mistake(error.to_string()))?;
            let key = key.expose().as_bytes();
            if key.len() < LEAST_KEY {
                return Err(Mistake(format!(
                    "The key in {} is shorter than {LEAST_KEY} bytes",
                    file.display()
                ))
                .into());
            }
            let mac = Hmac::new_from_slice(key).context("The key is unfit")?;
            Ok(Shown::Hmac(Box::new(mac)))
        }
    }
}

/// Writes the list, of one kind or of all, in order of address. Memory does not grow with it.
///
/// # Errors
/// The database or `out` does not work.
pub async fn write(store: &Store, kind: Option<&str>, shown: &Shown, out: impl Write) -> Result<()> {
    let mut out = csv::Writer::from_writer(out);
    out.write_record([shown.column(), "kind", "since"])?;
    let mut after = (String::new(), String::new());
    loop {
        let page = store.suppressions_after(&after.0, &after.1, kind, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = (last.address.clone(), last.kind.clone());
        for entry in &page {
            let since = time(entry.created_at);
            out.write_record([shown.of(&entry.address).as_str(), &entry.kind, &since])?;
        }
    }
    out.flush().context("Cannot write to standard output")
}
