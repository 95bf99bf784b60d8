//! `deletions replay` and `deletions export`: what was erased stays erased when a backup comes back.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::json;

use super::{Mistake, counted, print, print_json};
use crate::cli::Deletions;
use crate::sender::Address;
use crate::store::Store;
use crate::store::tombstones::Place;

/// Rows that are looked at in one go.
const PAGE: u32 = 5000;

/// `privacyd deletions`
pub(super) async fn deletions(store: &Store, command: Deletions) -> Result<ExitCode> {
    match command {
        Deletions::Export => export(store).await,
        Deletions::Replay { from, dry_run, json } => {
            if let Some(file) = from {
                let kept = read(&file)?;
                let missing = store.take_tombstones(&kept).await?;
                let kept = counted(kept.len(), "tombstone", "tombstones");
                eprintln!("{kept} in the file, {missing} of them missing here before");
            }
            let found = replay(store, dry_run, |address| {
                if json { print_json(&json!({ "address": address })).map(drop) } else { print(address) }
            })
            .await?;
            let done = if dry_run { "would be erased again" } else { "erased again" };
            eprintln!("{} {done}", counted(found, "person", "people"));
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Finds who was erased and is back, as a contact or in what is left of requests and replies from before, names
/// each to `report` and, unless `dry_run`, erases them again; answers how many. Memory grows with those alone.
///
/// # Errors
/// The database does not work; what was named before is erased.
pub async fn replay(store: &Store, dry_run: bool, mut report: impl FnMut(&str) -> Result<()>) -> Result<u64> {
    let mut found: HashSet<Address> = HashSet::new();
    for place in Place::ALL {
        let mut after = 0;
        while let Some((last, mut risen)) = store.risen(place, after, PAGE).await? {
            after = last;
            risen.retain(|address| found.insert(address.normalised()));
            if !dry_run && !risen.is_empty() {
                store.erase_again(&risen, Timestamp::now()).await?;
            }
            for address in &risen {
                report(address.as_str())?;
            }
        }
    }
    if !found.is_empty() && !dry_run {
        store.truncate_log().await?;
    }
    Ok(found.len() as u64)
}

async fn export(store: &Store) -> Result<ExitCode> {
    let mut after = Vec::new();
    loop {
        let page = store.tombstones(&after, PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(ExitCode::SUCCESS) };
        after.clone_from(last);
        for (mark, at) in &page {
            let at = Timestamp::from_second(*at)?;
            print(&format!("{} {at}", data_encoding::HEXLOWER.encode(mark)))?;
        }
    }
}

/// The lines that `deletions export` has written.
fn read(file: &Path) -> Result<Vec<([u8; 32], i64)>> {
    let shown = file.display();
    let input =
        std::fs::File::open(file).map_err(|error| Mistake(format!("Cannot read {shown}: {error}")))?;
    let mut kept = Vec::new();
    for (index, line) in BufReader::new(input).lines().enumerate() {
        let line = line.with_context(|| format!("Cannot read {shown}"))?;
        let parsed = line.trim().split_once(' ').and_then(|(mark, at)| {
            let mark = data_encoding::HEXLOWER.decode(mark.as_bytes()).ok()?;
            Some((<[u8; 32]>::try_from(mark).ok()?, at.trim().parse::<Timestamp>().ok()?.as_second()))
        });
        let number = index + 1;
        kept.push(parsed.ok_or_else(|| {
            Mistake(format!("{shown}, line {number}: is no line of `privacyd deletions export`"))
        })?);
    }
    Ok(kept)
}
