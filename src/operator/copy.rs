//! `requests copy`: the copy of somebody's data as files, for a person to hand over where no mail can carry it.

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use jiff::Timestamp;

use super::dossier::write;
use super::{Mistake, not_found};
use crate::config::Config;
use crate::copy::copy;
use crate::ladder::Status;
use crate::request::{Table, Verb};
use crate::source::{Order, Outcome, Source, Subject, VERSION, Way, command};
use crate::store::Store;
use crate::work::withheld;

/// What has come of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handed {
    /// It is written.
    Written {
        /// Names of fields that are not in it, because they never leave by mail.
        withheld: Vec<String>,
        /// Systems that cannot be asked for their part.
        left_out: Vec<String>,
    },
    /// It is not: one sentence that says why.
    Refused(String),
}

/// `requests copy`
pub(super) async fn copy_by(
    store: &Store,
    config: &Config,
    reference: &str,
    folder: &Path,
) -> Result<ExitCode> {
    match write_copy(store, config, reference, folder, Timestamp::now()).await? {
        Handed::Refused(why) => not_found(&why),
        Handed::Written { withheld, left_out } => {
            tell!("Wrote {}: your-data.json and your-data.txt", folder.display());
            for (what, names) in [
                ("Not in it, because of [copy] withhold", withheld),
                ("Not in it, because these systems cannot be asked", left_out),
            ] {
                if !names.is_empty() {
                    tell!("{what}: {}", names.join(", "));
                }
            }
            tell!(
                "It is personal data: hand it over, delete it, and then: privacyd requests complete {reference}"
            );
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Asks every system anew for its part of what the open request `reference` asks a copy of, and writes the copy into
/// the new folder `folder`, which its owner alone can read. The request stays as it is, but for a line in its
/// history: a person hands the copy over, and completes it.
///
/// # Errors
/// The folder is there already or cannot be written to, or the database does not work.
pub async fn write_copy(
    store: &Store,
    config: &Config,
    reference: &str,
    folder: &Path,
    now: Timestamp,
) -> Result<Handed> {
    let refused = |why: String| Ok(Handed::Refused(why));
    let table = Table::load(config.rules.as_deref())?;
    let mut visit = store.visit(now).await?;
    let Some(grip) = visit.grip(reference).await? else {
        return refused(format!("There is no request {reference}"));
    };
    let case = &grip.case;
    if table.verb(&case.kind) != Some(Verb::Collect) {
        return refused(format!("The request {reference} is of type {}: it asks for no copy", case.kind));
    }
    if case.status == Status::Executing || case.status.is_closed() {
        return refused(format!(
            "The request {reference} is {}: there is no copy to hand over",
            case.status.name()
        ));
    }
    if grip.proof_given < case.proof_needed {
        return refused(format!(
            "The request {reference} needs proof of step {}, and has step {}: privacyd requests approve {reference}",
            case.proof_needed, grip.proof_given
        ));
    }
    let Some(subject) = &case.subject else {
        return refused(format!("The request {reference} has no address, so nobody knows of whom"));
    };
    let sources = Source::load(config)?;
    let (able, unable): (Vec<_>, Vec<_>) = sources.iter().partition(|source| source.does(Verb::Collect));
    if able.is_empty() {
        return refused("No [[source]] of the configuration can be asked for a copy".to_owned());
    }
    let local = visit.collect(subject).await?;
    // No system is waited for with the write lock in hand.
    drop(visit);
    let order = Order {
        version: VERSION,
        verb: Verb::Collect,
        reference: reference.to_owned(),
        attempt: 0,
        kind: case.kind.clone(),
        subject: Subject { address: subject.normalised() },
        changes: Vec::new(),
    };
    let mut collected = Vec::new();
    for source in able {
        let report = match &source.way {
            Way::Local => local.clone(),
            Way::Command { command, timeout } => command::run(command, *timeout, &order).await,
            Way::Http(http) => http.run(&order, now).await,
        };
        if !matches!(report.outcome, Outcome::Done | Outcome::Nothing) || report.is_done_without_data() {
            let why = if report.reason.is_empty() { "it gives no data" } else { &report.reason };
            return refused(format!(
                "The system {} does not give its part, so nothing is written: {why}",
                source.name
            ));
        }
        collected.extend(report.data.map(|data| (source.name.clone(), data)));
    }
    let copy = copy(collected, &withheld(config));
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(folder)
        .map_err(|error| Mistake(format!("Cannot make the folder {}: {error}", folder.display())))?;
    write(&folder.join("your-data.json"), &copy.json)?;
    write(&folder.join("your-data.txt"), copy.text.as_bytes())?;
    let mut visit = store.visit(now).await?;
    visit.note(case.id, "the copy was written to files, for a person to hand over").await?;
    visit.close().await?;
    let left_out = unable.into_iter().map(|source| source.name.clone()).collect();
    Ok(Handed::Written { withheld: copy.withheld, left_out })
}
