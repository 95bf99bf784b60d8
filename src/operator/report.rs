//! `report`: what became of the requests of a time, for a regulator.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::{Mistake, as_mistake, grid, print, print_json};
use crate::cli;
use crate::clock::Clock;
use crate::config::{Config, Retention};
use crate::daemon;
use crate::report::Report;
use crate::request::Table;
use crate::store::Store;

/// `report`
pub(super) async fn report(store: &Store, config: &Config, options: &cli::Report) -> Result<ExitCode> {
    let table = Table::load(config.rules.as_deref())?;
    let clock = daemon::clock(config, &table).map_err(as_mistake)?;
    let days = (options.from, options.to);
    let report = make(store, &clock, &config.retention, days, Timestamp::now()).await?;
    match &options.html {
        Some(file) => {
            write_new(file, &report.html())?;
            print(&format!("Wrote {}", file.display()))?;
            Ok(ExitCode::SUCCESS)
        }
        None if options.json => print_json(&report),
        None => print(&as_text(&report)).map(|()| ExitCode::SUCCESS),
    }
}

/// The report about these days, as it is at `now`.
///
/// # Errors
/// The days are in the wrong order, or the database cannot be read.
pub async fn make(
    store: &Store,
    clock: &Clock,
    retention: &Retention,
    (from, to): (Date, Date),
    now: Timestamp,
) -> Result<Report> {
    if to < from {
        return Err(Mistake(format!("--to {to} is before --from {from}")).into());
    }
    let calendar = clock.calendar();
    let zone = TimeZone::get(calendar.zone_name()).context("There is no such time zone")?;
    let begin = |day: Date| anyhow::Ok(day.to_zoned_datetime(zone.clone())?.timestamp());
    let end = to.tomorrow().map_err(|_| Mistake(format!("--to {to} is the end of all time")))?;
    let requests = store.received(begin(from)?, begin(end)?, calendar).await?;
    let open = store.open_by_due_date().await?;
    let oldest = calendar.day(retention.cutoffs(now)?.requests);
    Ok(Report::of((from, to), calendar.day(now), (from < oldest).then_some(oldest), &requests, open))
}

/// The report for a terminal.
pub fn as_text(report: &Report) -> String {
    let mut text = format!("Requests received {} to {}\n\n", report.from, report.to);
    text += &grid(&Report::HEADER, report.rows().into_iter().map(Vec::from));
    let denials = report.denials();
    if !denials.is_empty() {
        text += "\n\n";
        text += &grid(&["denied", "reason", "requests"], denials.into_iter().map(Vec::from));
    }
    let open = report.open();
    if !open.is_empty() {
        text += "\n\n";
        text += &grid(&["open, due", "type", "requests"], open.into_iter().map(Vec::from));
    }
    format!("{text}\n\n{}", report.notes().join("\n"))
}

fn write_new(file: &Path, text: &str) -> Result<()> {
    let mut out = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(file)
        .map_err(|error| Mistake(format!("Cannot write {}: {error}", file.display())))?;
    out.write_all(text.as_bytes()).with_context(|| format!("Cannot write {}", file.display()))
}
