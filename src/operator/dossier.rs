//! `requests evidence`: one folder with all there is about one request.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Mistake, as_mistake, clocks, not_found};
use crate::clock::Clock;
use crate::config::Config;
use crate::daemon;
use crate::request::Table;
use crate::store::Store;
use crate::store::clocks::Case;
use crate::store::dossier::Dossier;

/// `requests evidence`
pub(super) async fn evidence(
    store: &Store,
    config: &Config,
    reference: &str,
    folder: &Path,
) -> Result<ExitCode> {
    let table = Table::load(config.rules.as_deref())?;
    let clock = daemon::clock(config, &table).map_err(as_mistake)?;
    if !write_evidence(store, &clock, reference, folder, Timestamp::now()).await? {
        return not_found(&format!("There is no request {reference}"));
    }
    tell!(
        "Wrote {}. It contains personal data: keep it safe, and delete it when it has served.",
        folder.display()
    );
    Ok(ExitCode::SUCCESS)
}

/// Writes all about a request into a new folder that its owner alone can read; answers whether there is such
/// a request.
///
/// # Errors
/// The folder is there already or cannot be made, or the database cannot be read. What is written stays.
pub async fn write_evidence(
    store: &Store,
    clock: &Clock,
    reference: &str,
    folder: &Path,
    now: Timestamp,
) -> Result<bool> {
    let (Some(dossier), Some(case)) = (store.dossier(reference).await?, store.case(reference).await?) else {
        return Ok(false);
    };
    let chain = chain(store).await?;
    let make = |folder: &Path| std::fs::DirBuilder::new().mode(0o700).create(folder);
    make(folder).map_err(|error| Mistake(format!("Cannot make the folder {}: {error}", folder.display())))?;
    let replies = folder.join("replies");
    make(&replies).with_context(|| format!("Cannot make {}", replies.display()))?;
    let mut outcomes = Vec::new();
    for (reply, raw) in &dossier.replies {
        let mut reply = reply.clone();
        let name = format!("{}.eml", reply.get("id").and_then(Value::as_i64).unwrap_or_default());
        if let Some(fields) = reply.as_object_mut() {
            fields.insert("file".into(), if raw.is_empty() { Value::Null } else { name.clone().into() });
        }
        if !raw.is_empty() {
            write(&replies.join(&name), raw)?;
        }
        outcomes.push(reply);
    }
    write_json(&replies.join("outcomes.json"), &json!(outcomes))?;
    write_json(&folder.join("request.json"), &about(&dossier))?;
    write_json(&folder.join("events.json"), &json!({ "events": dossier.events, "chain": chain }))?;
    write(&folder.join("explain.txt"), format!("{}\n", clocks::as_text(&case, clock)).as_bytes())?;
    write(&folder.join("README.txt"), readme(&case, now).as_bytes())?;
    Ok(true)
}

fn about(dossier: &Dossier) -> Value {
    let Dossier { request, linked, message, further, deadlines, challenges, changes, tasks, .. } = dossier;
    json!({
        "request": request,
        "linked_requests": linked,
        "mail": message,
        "further_mails": further,
        "deadlines": deadlines,
        "questions_sent": challenges,
        "changes": changes,
        "tasks": tasks,
    })
}

/// Whether the whole log is sound now, and its newest hash.
async fn chain(store: &Store) -> Result<Value> {
    let found = store.verify_chain(None).await?;
    Ok(json!({
        "sound": found.damage.is_none(),
        "damage": found.damage.map(|damage| damage.to_string()),
        "last_event": found.walk.last,
        "head": HEXLOWER.encode(&found.walk.hash),
    }))
}

fn readme(case: &Case, now: Timestamp) -> String {
    format!(
        "Evidence about the request {}, written {now} by privacyd {}.\n\
         It contains personal data. In letters that were sent with a one-time code other words stand in its place.\n\n\
         request.json   all recorded fields of the request; the other requests of the same mail; what the ledger\n\
         \x20              says of that mail and of those that the history names, such as the one that proved it (the\n\
         \x20              mails themselves are in the mailbox); what was owed until when; to whom questions with a code\n\
         \x20              went; what a correction changes; what was done in which system. Times are UTC.\n\
         events.json    its history, each event with its hashes, and whether the whole log was sound\n\
         explain.txt    by when it was due, and why, step by step\n\
         replies/       the replies as they were sent, and in outcomes.json what became of each. Of one without a\n\
         \x20              file the text is gone: it was older than such texts are kept, or an erasure has emptied it\n\n\
         The hashes are SHA-256. content_hash is made of the line \"privacyd event v1\" and a line feed, then id,\n\
         request_id and at (seconds since 1970) as 64-bit big-endian numbers, then actor, event and reason, each\n\
         behind its length in bytes as such a number. hash is made of previous_hash, id as such a number, and\n\
         content_hash. `privacyd audit verify --head` with chain.head of events.json shows whether the log of then\n\
         is still there.\n",
        case.reference,
        env!("CARGO_PKG_VERSION"),
    )
}

fn write_json(file: &Path, value: &Value) -> Result<()> {
    write(file, format!("{}\n", serde_json::to_string_pretty(value)?).as_bytes())
}

/// Writes a new file that its owner alone can read.
pub(super) fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    let open = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    open.and_then(|mut out| out.write_all(bytes)).with_context(|| format!("Cannot write {}", file.display()))
}
