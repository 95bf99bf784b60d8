//! `audit`: whether the event log is still the one that was written. `purge`: what is too old.

use std::process::ExitCode;

use anyhow::Result;
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde_json::json;

use super::{print, print_json};
use crate::chain::Hash;
use crate::cli::Audit;
use crate::config::Config;
use crate::store::Store;
use crate::store::audit::Verified;
use crate::store::purge::Purged;

/// `audit`
pub(super) async fn audit(store: &Store, command: Audit) -> Result<ExitCode> {
    match command {
        Audit::Verify { head, json } => {
            let found = store.verify_chain(head.as_ref()).await?;
            let is_sound = found.damage.is_none() && (head.is_none() || found.since_head.is_some());
            if json {
                print_json(&as_json(&found, is_sound))?;
            } else {
                print(&as_text(&found, head.as_ref()))?;
            }
            Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Audit::Head { json } => {
            let (id, hash) = store.chain_head().await?;
            let hash = HEXLOWER.encode(&hash);
            if json {
                print_json(&json!({ "event": id, "hash": hash }))
            } else {
                print(&hash).map(|()| ExitCode::SUCCESS)
            }
        }
    }
}

/// `purge`
pub(super) async fn purge(store: &Store, config: &Config, dry_run: bool, json: bool) -> Result<ExitCode> {
    let now = Timestamp::now();
    let cutoffs = config.retention.cutoffs(now)?;
    let purged = match dry_run {
        true => store.would_purge(&cutoffs).await?,
        false => store.purge(&cutoffs, now, &|| false).await?,
    };
    if json {
        return print_json(&purged);
    }
    let Purged { requests, events, texts, replies, messages } = purged;
    let word = if dry_run { "Would purge" } else { "Purged" };
    print(&format!(
        "{word} {requests} requests with {events} events, the text of {texts} replies, {replies} replies, {messages} mails of the ledger"
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn as_json(found: &Verified, is_sound: bool) -> serde_json::Value {
    json!({
        "sound": is_sound,
        "events": found.walk.links,
        "purged": found.walk.purged,
        "last_event": found.walk.last,
        "head": HEXLOWER.encode(&found.walk.hash),
        "first_bad": found.damage.map(|damage| damage.id),
        "damage": found.damage.map(|damage| damage.to_string()),
        "events_since_head": found.since_head,
    })
}

/// What a verification has found, in words; `head` is the hash that was asked for.
pub fn as_text(found: &Verified, head: Option<&Hash>) -> String {
    let Verified { walk, damage, since_head } = found;
    let mut lines = Vec::new();
    match damage {
        Some(damage) => {
            lines.push(format!("Damaged: {damage}"));
            lines.push(format!("{} events before it are sound", walk.links));
        }
        None => lines.push(format!("Sound: {} events, {} of them purged", walk.links, walk.purged)),
    }
    match (head, since_head) {
        (Some(_), Some(since)) => lines.push(format!("The head is in the chain; {since} events have come since")),
        (Some(_), None) => lines.push("The head is not in the sound part of the chain: something was cut off, or the log was written anew".to_owned()),
        (None, _) => {}
    }
    if damage.is_none() {
        lines.push(format!("head {}", HEXLOWER.encode(&walk.hash)));
    }
    lines.join("\n")
}
