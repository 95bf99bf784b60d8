//! `requests explain` and `requests extend`: by when a request is due and why, and putting that off once.

use std::process::ExitCode;

use anyhow::{Context, Result};
use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Value, json};

use super::{as_mistake, not_found, print, print_json, time};
use crate::clock::{Clock, NoExtension, Reason, Timetable, written};
use crate::config::Config;
use crate::daemon;
use crate::decide::{Answer, UNCLEAR};
use crate::random::random;
use crate::reply::{EXTENDED, More, Replies, Stamp, Thread, Told};
use crate::request::Table;
use crate::store::Store;
use crate::store::clocks::{Case, Extended};

/// Why a request was not extended: one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such request.
    #[error("There is no request {0}")]
    NotFound(String),
    /// Nothing is owed any more.
    #[error("The request {0} is {1}: there is nothing to extend")]
    Closed(String, &'static str),
    /// It was extended before.
    #[error("The request {0} was extended on {1}, and that can be done once: it is due on {2}")]
    Again(String, String, String),
    /// Nobody knows to whom the notice should go.
    #[error(
        "The request {0} has no address to send the notice to, and without a notice there is no extension"
    )]
    NoAddress(String),
    /// The laws say no.
    #[error("The request {0} cannot be extended: {1}")]
    Law(String, NoExtension),
}

/// `requests explain`
pub(super) async fn explain(store: &Store, config: &Config, reference: &str, json: bool) -> Result<ExitCode> {
    let table = Table::load(config.rules.as_deref())?;
    let clock = daemon::clock(config, &table).map_err(as_mistake)?;
    let Some(case) = store.case(reference).await? else {
        return not_found(&Refusal::NotFound(reference.to_owned()).to_string());
    };
    if json {
        return print_json(&as_json(&case, &clock));
    }
    print(&as_text(&case, &clock))?;
    Ok(ExitCode::SUCCESS)
}

/// Why a request is due when it is, line by line, and what is done already.
pub fn as_text(case: &Case, clock: &Clock) -> String {
    let timetable = clock.run(&case.kind, &case.facts);
    let mut lines = vec![format!("{}  {}  {}", case.reference, case.kind, case.status.name())];
    lines.extend(timetable.explain());
    let at = |at: Timestamp| format!("{} ({})", written(clock.calendar().day(at)), time(at.as_second()));
    lines.push(match case.acknowledged {
        Some(sent) => format!("acknowledged {}", at(sent)),
        None => "acknowledged: not yet".to_owned(),
    });
    lines.push(match &case.extended {
        Some((on, why)) => format!("extended {}: {why}", at(*on)),
        None => match &timetable.answer.extension {
            Some(length) => format!("extended: no; {} allows {length} once", timetable.answer.source),
            None => "extended: no".to_owned(),
        },
    });
    lines.push(match case.closed {
        Some(closed) => format!("{} {}", case.status.name(), at(closed)),
        None => format!("due {} ({})", written(case.due), case.due_source),
    });
    lines.extend(differs(case, &timetable));
    lines.join("\n")
}

/// The same as one JSON object.
pub fn as_json(case: &Case, clock: &Clock) -> Value {
    let timetable = clock.run(&case.kind, &case.facts);
    let at = |at: Option<Timestamp>| at.map(|at| at.to_string());
    json!({
        "reference": case.reference,
        "type": case.kind,
        "status": case.status.name(),
        "received_at": case.facts.received.to_string(),
        "asked_at": at(case.facts.asked),
        "proven_at": at(case.facts.proven),
        "acknowledged_at": at(case.acknowledged),
        "closed_at": at(case.closed),
        "extended_at": at(case.extended.as_ref().map(|(at, _)| *at)),
        "extended_because": case.extended.as_ref().map(|(_, why)| why),
        "due": case.due,
        "due_source": case.due_source,
        "time_zone": clock.calendar().zone_name(),
        "clocks": timetable.clocks,
        "acknowledge": timetable.acknowledge,
        "answer": timetable.answer,
        "explanation": timetable.explain(),
        "note": differs(case, &timetable),
    })
}

/// What was told stands, whatever the configuration says today.
fn differs(case: &Case, timetable: &Timetable) -> Option<String> {
    let is_same = timetable.answer.due == case.due && timetable.answer.source == case.due_source;
    (!is_same).then(|| {
        // What a person must read runs by the clocks of all that was found in it.
        let why = match case.kind == UNCLEAR {
            true => "It may be of a type that is due earlier, or the laws or the calendar have changed since",
            false => "The laws or the calendar have changed since",
        };
        format!("{why}: {} ({}) is what was recorded and told", written(case.due), case.due_source)
    })
}

/// `requests extend`
pub(super) async fn extend_by(
    store: &Store,
    config: &Config,
    reference: &str,
    reason: Reason,
) -> Result<ExitCode> {
    let table = Table::load(config.rules.as_deref())?;
    let clock = daemon::clock(config, &table).map_err(as_mistake)?;
    let replies = daemon::replies(config, &table).map_err(as_mistake)?;
    match extend(store, &table, &replies, &clock, reference, reason, Timestamp::now()).await? {
        Ok(due) => {
            print(&format!("The request {reference} is due on {} now: the notice is queued", written(due)))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(refusal) => not_found(&refusal.to_string()),
    }
}

/// Puts off by when the request is due, once, at `now`, and queues the notice of it in the same transaction;
/// answers the new date, or why not.
///
/// # Errors
/// The store does not work, or the notice cannot be written; then nothing has changed.
pub async fn extend(
    store: &Store,
    table: &Table,
    replies: &Replies,
    clock: &Clock,
    reference: &str,
    reason: Reason,
    now: Timestamp,
) -> Result<Result<Date, Refusal>> {
    let mut visit = store.visit(now).await?;
    let Some(case) = visit.case(reference).await? else {
        return Ok(Err(Refusal::NotFound(reference.to_owned())));
    };
    let timetable = match may_extend(&case, clock, now) {
        Ok(timetable) => timetable,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let Some(subject) = &case.subject else { return Ok(Err(Refusal::NoAddress(case.reference))) };
    let answer = Answer {
        to: subject.clone(),
        template: EXTENDED.to_owned(),
        language: case.language.clone(),
        subject: None,
        asks: false,
        is_proven: case.is_proven,
    };
    let due = timetable.answer.due;
    let told = Told {
        kind: &case.kind,
        reference: &case.reference,
        due,
        status: case.status,
        proof_needed: case.proof_needed,
    };
    let thread = Thread { message_id: case.rfc_message_id.as_ref(), references: &[] };
    let stamp = Stamp { unique: random()?, now };
    let notice = replies
        .compose(&answer, &[told], thread, table, stamp, More::Extended(reason))
        .context("The notice cannot be written, so nothing is extended")?;
    let extended = Extended { case: &case, answer: &timetable.answer, reason, notice: &notice };
    visit.extend(&extended).await?;
    visit.close().await?;
    Ok(Ok(due))
}

fn may_extend(case: &Case, clock: &Clock, now: Timestamp) -> Result<Timetable, Refusal> {
    let reference = || case.reference.clone();
    if case.status.is_closed() {
        return Err(Refusal::Closed(reference(), case.status.name()));
    }
    if let Some((at, _)) = &case.extended {
        return Err(Refusal::Again(reference(), written(clock.calendar().day(*at)), written(case.due)));
    }
    clock.extend(&case.kind, &case.facts, case.due, now).map_err(|no| Refusal::Law(reference(), no))
}
