//! `backup`, `check --backup`, `recovery` and `reconcile`: what is done before and after a loss, and to see that
//! there is none.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde_json::json;

use super::{Mistake, as_mistake, counted, not_found, print, print_json};
use crate::cli::Recovery;
use crate::config::Config;
use crate::daemon::{Daemon, Parts};
use crate::stop::Stop;
use crate::store::backup::{Restored, look_through, restore as restore_into};
use crate::store::recovery::Ended;
use crate::store::{Sole, Store};

/// `backup`
pub(super) async fn backup(store: &Store, file: &Path) -> Result<ExitCode> {
    if file.exists() {
        let message =
            format!("{} is there already and is not overwritten: name another file", file.display());
        return Err(Mistake(message).into());
    }
    store.backup(file, Timestamp::now()).await?;
    tell!("Wrote {}. See that it is sound with: privacyd check --backup {0}", file.display());
    Ok(ExitCode::SUCCESS)
}

/// `restore`
pub(super) async fn restore(config: &Config, file: &Path) -> Result<ExitCode> {
    config.check_database()?;
    is_a_database(file)?;
    let database = &config.database;
    let _sole = Sole::claim(database)?;
    let restored = restore_into(file, database, Timestamp::now()).await;
    let Restored { looked, kept } = restored.with_context(|| unfit(file))?;
    if !looked.faults.is_empty() {
        looked.faults.iter().for_each(|fault| tell!("Damaged: {fault}"));
        tell!("Nothing was restored");
        return Ok(ExitCode::FAILURE);
    }
    tell!(
        "Restored {} with {} and {}",
        database.display(),
        counted(looked.mails, "mail", "mails"),
        counted(looked.requests, "request", "requests")
    );
    if let Some(kept) = kept {
        tell!("What was there lies in {}", kept.display());
    }
    tell!("Nothing is answered or carried out until `privacyd recovery end`");
    Ok(ExitCode::SUCCESS)
}

/// `check --backup`
pub(super) async fn check(file: &Path) -> Result<ExitCode> {
    is_a_database(file)?;
    let looked = look_through(file).await.with_context(|| unfit(file))?;
    let age = if looked.is_older { ", older than this privacyd's" } else { "" };
    // What stands behind it is not counted.
    let before = if looked.faults.is_empty() { "" } else { " before any damage" };
    let events = looked.chain.as_ref().map_or(0, |chain| chain.walk.links);
    tell!(
        "schema {}{age}; {}, {}, {}{before}",
        looked.schema,
        counted(looked.mails, "mail", "mails"),
        counted(looked.requests, "request", "requests"),
        counted(events, "event", "events")
    );
    if looked.faults.is_empty() {
        tell!("Sound");
        return Ok(ExitCode::SUCCESS);
    }
    looked.faults.iter().for_each(|fault| tell!("Damaged: {fault}"));
    Ok(ExitCode::FAILURE)
}

/// How a file begins that SQLite has written (section 1.3 of its file format).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// A file that is none at all, such as the wrong one, is told without SQLite's words.
fn is_a_database(file: &Path) -> Result<()> {
    let mut begin = [0; MAGIC.len()];
    let mut input = std::fs::File::open(file).with_context(|| format!("Cannot read {}", file.display()))?;
    let is_one = file.is_file() && input.read_exact(&mut begin).is_ok() && begin == *MAGIC;
    ensure!(is_one, "{} is no database: {WHICH}", file.display());
    Ok(())
}

const WHICH: &str = "name a file that `privacyd backup` has written";

fn unfit(file: &Path) -> String {
    format!("{} cannot be used: {WHICH}", file.display())
}

/// `recovery`
pub(super) async fn recovery(store: &Store, command: Recovery) -> Result<ExitCode> {
    let now = Timestamp::now();
    match command {
        Recovery::Begin => {
            let is_new = store.begin_recovery("begun by hand", now).await?;
            print(match is_new {
                true => "Nothing is answered or carried out until `privacyd recovery end`",
                false => "A recovery lasts already",
            })?;
            Ok(ExitCode::SUCCESS)
        }
        Recovery::End { up_to_date } => match store.end_recovery(up_to_date, now).await? {
            None => not_found("No recovery lasts"),
            Some(Ended { held, unknown }) => {
                print(&format!(
                    "Ended. From before it {} held, and {} of unknown fate",
                    counted(held, "open request is", "open requests are"),
                    counted(unknown, "reply is", "replies are")
                ))?;
                Ok(ExitCode::SUCCESS)
            }
        },
    }
}

/// `reconcile`
pub(super) async fn reconcile(config: &Config, is_json: bool) -> Result<ExitCode> {
    crate::log::begin(&config.log);
    config.find_database()?;
    let parts = Parts::load(config).map_err(as_mistake)?;
    let mut daemon = Daemon::beside(config, parts).await?;
    let found = daemon.reconcile(&Stop::never()).await.context("The mailboxes cannot be reconciled")?;
    if is_json {
        print_json(&json!(found))?;
    } else {
        let recovered = match found.recovered {
            Some(recovered) => format!("{recovered} recorded that this database did not know, "),
            None => String::new(),
        };
        print(&format!(
            "{} looked at, {recovered}{} unaccounted; {} found among junk",
            counted(found.seen, "mail", "mails"),
            found.unaccounted,
            counted(found.junk, "request", "requests")
        ))?;
    }
    Ok(if found.unaccounted == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
