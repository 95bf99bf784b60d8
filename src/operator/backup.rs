//! `backup`, `check --backup`, `recovery` and `reconcile`: what is done before and after a loss, and to see that
//! there is none.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::json;

use super::{Mistake, as_mistake, not_found, print, print_json};
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
    println!("Wrote {}. See that it is sound with: privacyd check --backup {0}", file.display());
    Ok(ExitCode::SUCCESS)
}

/// `restore`
pub(super) async fn restore(config: &Config, file: &Path) -> Result<ExitCode> {
    let database = &config.database;
    let _sole = Sole::claim(database)?;
    let Restored { looked, kept } = restore_into(file, database, Timestamp::now()).await?;
    if !looked.faults.is_empty() {
        looked.faults.iter().for_each(|fault| println!("Damaged: {fault}"));
        println!("Nothing was restored");
        return Ok(ExitCode::FAILURE);
    }
    println!("Restored {} with {} mails and {} requests", database.display(), looked.mails, looked.requests);
    if let Some(kept) = kept {
        println!("What was there lies in {}", kept.display());
    }
    println!("Nothing is answered or carried out until `privacyd recovery end`");
    Ok(ExitCode::SUCCESS)
}

/// `check --backup`
pub(super) async fn check(file: &Path) -> Result<ExitCode> {
    let looked = look_through(file).await?;
    let age = if looked.is_older { ", older than this privacyd's" } else { "" };
    let events = looked.chain.as_ref().map_or(0, |chain| chain.walk.links);
    println!(
        "schema {}{age}; {} mails, {} requests, {events} events before any damage",
        looked.schema, looked.mails, looked.requests
    );
    if looked.faults.is_empty() {
        println!("Sound");
        return Ok(ExitCode::SUCCESS);
    }
    looked.faults.iter().for_each(|fault| println!("Damaged: {fault}"));
    Ok(ExitCode::FAILURE)
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
                    "Ended. {held} requests that were open before it are held, {unknown} replies from before it are of unknown fate"
                ))?;
                Ok(ExitCode::SUCCESS)
            }
        },
    }
}

/// `reconcile`
pub(super) async fn reconcile(config: &Config, is_json: bool) -> Result<ExitCode> {
    crate::log::begin(&config.log);
    let parts = Parts::load(config).map_err(as_mistake)?;
    let mut daemon = Daemon::beside(config, parts).await?;
    let found = daemon.reconcile(&Stop::never()).await.context("The mailboxes cannot be reconciled")?;
    if is_json {
        print_json(&json!(found))?;
    } else {
        print(&format!(
            "{} mails looked at, {} unaccounted; {} requests found among junk",
            found.seen, found.unaccounted, found.junk
        ))?;
    }
    Ok(if found.unaccounted == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
