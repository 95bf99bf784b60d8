//! `notice send`, `notice status` and `notice cancel`: who gets a notice, and how far it has come.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Mistake, as_mistake, counted, grid, not_found, print, print_json, time};
use crate::cli::{Notice, NoticeSend};
use crate::config::Config;
use crate::daemon;
use crate::reply::Replies;
use crate::request::Table;
use crate::store::Store;
use crate::store::notices::{OpenNotice, Progress};

/// Contacts that are queued in one transaction: the daemon needs the lock in between.
const AT_ONCE: u32 = 10_000;

/// `privacyd notice`
pub(super) async fn notice(store: &Store, config: &Config, command: Notice) -> Result<ExitCode> {
    match command {
        Notice::Send(options) => send(store, config, &options).await,
        Notice::Status { name, json } => status(store, name.as_deref(), json).await,
        Notice::Cancel { name } => {
            if !store.cancel_notice(&name).await? {
                return not_found(&match store.notices(Some(&name)).await?.first() {
                    None => {
                        format!("There is no notice {name}; privacyd notice status shows which there are")
                    }
                    Some(Progress { state, .. }) if state == "cancelled" => {
                        format!("The notice {name} is cancelled already")
                    }
                    Some(_) => format!("The notice {name} is finished: there is nothing left to stop"),
                });
            }
            tell!("Cancelled. Sending it again under the same name goes on where it was");
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn send(store: &Store, config: &Config, options: &NoticeSend) -> Result<ExitCode> {
    let table = Table::load(config.rules.as_deref())?;
    let replies = daemon::replies(config, &table).map_err(as_mistake)?;
    let template = &options.template;
    if !replies.circulars().any(|known| known == template) {
        let known: Vec<&str> = replies.circulars().collect();
        let known = known.join(", ");
        return Err(
            Mistake(format!("There is no template {template:?} for a notice; there are {known}")).into()
        );
    }
    let now = Timestamp::now();
    let name = match &options.name {
        Some(name) => name.clone(),
        None => format!("{template}-{}", now.to_zoned_datetime(TimeZone::UTC).date()),
    };
    if options.dry_run {
        return look(store, config, &replies, template, &name).await;
    }
    let notice = match store.open_notice(&name, template, options.rate, now).await? {
        OpenNotice::Open(notice) => notice,
        OpenNotice::OtherTemplate => {
            let rule = "a name belongs to one template; choose another with --name";
            return Err(Mistake(format!("The notice {name} has another template: {rule}")).into());
        }
        OpenNotice::Unfinished(other) => return not_found(&both(&name, &other)),
    };
    let to_queue = store.notices(Some(&name)).await?.first().map_or(0, |progress| progress.to_queue);
    let bar = ProgressBar::new(to_queue.unsigned_abs());
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let new = queue(store, notice, now, |count| bar.inc(count)).await?;
    bar.finish_and_clear();
    tell!(
        "Notice {name}: {} queued, {} a minute. See: privacyd notice status {name}",
        counted(new, "person", "people"),
        options.rate
    );
    Ok(ExitCode::SUCCESS)
}

/// Queues the notice to every contact that is not in it yet; answers how many. What was queued stands, however
/// it ends; the next call goes on. `step` is told of each part.
///
/// # Errors
/// The database does not work.
pub async fn queue(store: &Store, notice: i64, now: Timestamp, step: impl Fn(u64)) -> Result<u64> {
    let mut all = 0;
    while let Some((seen, new)) = store.queue_notice(notice, AT_ONCE, now).await? {
        all += new;
        step(seen);
    }
    Ok(all)
}

/// Why a second notice is not sent.
fn both(name: &str, other: &str) -> String {
    format!(
        "The notice {other} has the same template and is not finished, and everybody would get {name} besides: go on \
         with it by --name {other}, or stop it by: privacyd notice cancel {other}"
    )
}

/// `--dry-run`: who would get it, and what.
async fn look(
    store: &Store,
    config: &Config,
    replies: &Replies,
    template: &str,
    name: &str,
) -> Result<ExitCode> {
    if let Some(other) = store.unfinished_notice(name, template).await? {
        return not_found(&both(name, &other));
    }
    let mut people: BTreeMap<String, i64> = BTreeMap::new();
    for (wished, count) in store.missing_in_notice(name).await? {
        *people.entry(replies.circular_language(template, &wished)).or_default() += count;
    }
    let all: i64 = people.values().sum();
    let languages: Vec<String> =
        people.iter().map(|(language, count)| format!("{language} {count}")).collect();
    tell!("Notice {name}: {} would be queued ({})", counted(all, "person", "people"), languages.join(", "));
    let unsubscribe = if config.unsubscribe.keys.is_empty() { "without" } else { "with" };
    tell!("Each mail {unsubscribe} a List-Unsubscribe field. Nothing has been queued");
    for language in people.keys() {
        let (subject, body) =
            replies.circular_text(template, language).context("The notice cannot be written")?;
        print(&format!("\n--- {language} ---\nSubject: {subject}\n\n{body}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn status(store: &Store, name: Option<&str>, json: bool) -> Result<ExitCode> {
    let found = store.notices(name).await?;
    if let (Some(name), true) = (name, found.is_empty()) {
        return not_found(&format!("There is no notice {name}"));
    }
    if json {
        found.iter().try_for_each(|progress| print_json(progress).map(drop))?;
    } else if found.is_empty() {
        tell!("Nothing");
    } else {
        let header = [
            "name", "state", "people", "to queue", "sent", "waiting", "bounced", "unknown", "a minute",
            "begun",
        ];
        print(&grid(&header, found.iter().map(row)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(progress: &Progress) -> Vec<String> {
    let count = |state: &str| progress.states.get(state).copied().unwrap_or(0);
    let waiting = count("queued") + count("deferred") + count("transmitting");
    vec![
        progress.name.clone(),
        progress.state.clone(),
        progress.people.to_string(),
        progress.to_queue.to_string(),
        count("sent").to_string(),
        waiting.to_string(),
        count("bounced").to_string(),
        count("unknown").to_string(),
        progress.per_minute.to_string(),
        time(progress.created_at),
    ]
}
