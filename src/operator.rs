//! The operator's verbs behind the command line.

/// `println!` that ends the command quietly where nobody reads on, as in `| head`.
macro_rules! tell {
    ($($line:tt)*) => { $crate::operator::say(&format!($($line)*)) };
}
pub(crate) use tell;

pub mod audit;
pub mod backup;
pub mod classify;
pub mod clocks;
pub mod copy;
pub mod deletions;
pub mod dossier;
pub mod export;
pub mod hand;
pub mod import;
pub mod notice;
pub mod report;
pub mod status;

use std::io::{BufRead, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use comfy_table::{ContentArrangement, Table as Grid, presets};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use crate::cli::{
    Addresses, Cli, Command, Contacts, DEFAULT_CONFIG, Deletions, Listing, Messages, OutboxCommand, Recovery,
    Requests, Suppressions, Token,
};
use crate::clock::{Clock, UNKNOWN};
use crate::config::{Authentication, Config, Limits, SourceSort};
use crate::correction::Edit;
use crate::daemon::{Daemon, Parts, Rules, mailboxes, mailer, tokens, verifier};
use crate::decide::UNCLEAR;
use crate::request::Table;
use crate::sender::Address;
use crate::source::{Kept, LONGEST_REPORT, Source};
use crate::stop::Stop;
use crate::store::lookup::{Listed, Retry};
use crate::store::to_read::Unread;
use crate::store::{Store, Taken};
use crate::watch::check_watchdog;
use crate::{demo, log};

pub use classify::Court;
pub use import::{Imported, import_from};

/// A mistake of the operator's that no file line can be named for.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Mistake(pub String);

/// The commented configuration that `init` writes.
pub const SAMPLE_CONFIG: &str = include_str!("../privacyd.sample.toml");

/// Carries out a command line.
///
/// # Errors
/// One sentence; a [`Mistake`] or a [`crate::config::FileError`] somewhere in it means exit code 2.
pub async fn execute(cli: Cli) -> Result<ExitCode> {
    let done = ExitCode::SUCCESS;
    match cli.command {
        Command::Classify(options) => return classify::classify(&options, &cli.config),
        Command::Demo { dir } => demo::run(dir).await?,
        Command::Init { file } => init(&file)?,
        Command::Run { once } => run(&configured(&cli.config)?, once).await?,
        Command::Check { backup: Some(file), .. } => return backup::check(&file).await,
        Command::Check { offline, backup: None } => check(&configured(&cli.config)?, offline).await?,
        Command::Restore { file } => return backup::restore(&configured(&cli.config)?, &file).await,
        Command::Reconcile { json } => return backup::reconcile(&configured(&cli.config)?, json).await,
        Command::Status { json } => return status::status(&configured(&cli.config)?, json).await,
        Command::Token(options) => return token(&configured(&cli.config)?, &options),
        other => return with_store(&configured(&cli.config)?, other).await,
    }
    Ok(done)
}

fn configured(path: &Path) -> Result<Config> {
    Config::load(path).map_err(|error| match error.downcast::<crate::config::FileError>() {
        Ok(error) => error.into(),
        Err(error) => Mistake(format!("{error:#}")).into(),
    })
}

/// `run`: until SIGTERM or SIGINT; the first drains, the second exits at once.
async fn run(config: &Config, once: bool) -> Result<()> {
    log::begin(&config.log);
    if !once {
        check_watchdog(sd_notify::watchdog_enabled(), config.poll_interval).map_err(as_mistake)?;
    }
    let stop = listen_for_signals()?;
    config.check_places()?;
    let parts = Parts::load(config).map_err(as_mistake)?;
    let missing = missing(config);
    let daemon = Daemon::open(config, parts).await.map_err(|error| match error.downcast::<Taken>() {
        Ok(taken) => Mistake(taken.to_string()).into(),
        Err(error) => error,
    })?;
    missing.iter().for_each(|what| tracing::warn!("there was no {what}: a new one is made"));
    exposed(config).iter().for_each(|warning| tracing::warn!("{warning}"));
    if !once {
        return daemon.run(stop).await;
    }
    let done = daemon.run_once(stop).await?;
    let me = as_called(&config.file.name);
    let told = match done.told {
        0 => String::new(),
        told => format!(" and {} to the operator", counted(told, "letter", "letters")),
    };
    tell!(
        "{} read, {}{told} sent; {} open, {} of them held for a person. See {me} messages list, and {me} requests list",
        counted(done.mails, "mail", "mails"),
        counted(done.sent, "reply", "replies"),
        counted(done.open, "request is", "requests are"),
        done.held,
    );
    Ok(())
}

/// What is to be made because it is not there: a person who meant another one should know.
fn missing(config: &Config) -> Vec<String> {
    let is_missing = |path: &Path| matches!(path.try_exists(), Ok(false));
    let database = [("database", &config.database)].into_iter();
    let maildirs = config.maildir.iter().map(|maildir| ("Maildir", &maildir.path));
    let missing = database.chain(maildirs).filter(|(_, path)| is_missing(path));
    missing.map(|(what, path)| format!("{what} {}", path.display())).collect()
}

/// A warning for each file of a secret that everybody may read.
fn exposed(config: &Config) -> Vec<String> {
    let warning = |file: &Path| {
        format!("everybody on this machine may read the secret in {0}: chmod 600 {0}", file.display())
    };
    config.exposed_secrets().into_iter().map(warning).collect()
}

/// How to call privacyd with the configuration `file`, as it was called: under `cargo run` there is none on the PATH.
pub fn as_called(file: &str) -> String {
    let me = std::env::args().next().unwrap_or_else(|| "privacyd".to_owned());
    if file == DEFAULT_CONFIG { me } else { format!("{me} --config {file}") }
}

/// Comes with the first SIGTERM or SIGINT; the second ends the process.
fn listen_for_signals() -> Result<Stop> {
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .context("Cannot listen for SIGTERM")?;
    tokio::spawn(async move {
        for first in [true, false] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            if !first {
                tracing::warn!("a second signal: exiting at once");
                std::process::exit(1);
            }
            tracing::info!("stopping: finishing what is in hand");
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
            let _ = stop.send(true);
        }
    });
    Ok(stopped.into())
}

/// `check`: everything that can be seen without changing anything.
async fn check(config: &Config, offline: bool) -> Result<()> {
    let rules = Rules::load(config).map_err(as_mistake)?;
    tell!(
        "configuration  sound; database {}, poll every {} s",
        config.database.display(),
        config.poll_interval.as_secs()
    );
    let names: Vec<&str> = rules.table.types.iter().map(|kind| kind.name.as_str()).collect();
    tell!(
        "rules          {} types, {} phrases: {}",
        names.len(),
        rules.table.phrases.len(),
        names.join(", ")
    );
    tell!("templates      complete");
    tell!("clock          {}", ticking(config, &rules.clock));
    tell!("authentication {}", believed(&config.authentication));
    tell!("unsubscribe    {}", unsubscribe(config));
    tell!("systems        {}", systems(config)?);
    tell!("corrections    {}", corrected(config));
    tell!("disclosure     {}", disclosed(config));
    for imap in &config.imap {
        tell!(
            "imap {:10} {} port {}, {:?} TLS, user {}, password {}",
            imap.name,
            imap.host,
            imap.port,
            imap.tls,
            imap.username,
            imap.password
        );
    }
    if let Some(smtp) = &config.smtp {
        let password = smtp.password.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
        tell!(
            "smtp            {} port {}, {:?} TLS, user {}, password {password}",
            smtp.host,
            smtp.port(),
            smtp.tls,
            smtp.username.as_deref().unwrap_or("none")
        );
    }
    // What is missing is written in one go: all of it is told.
    let mut faults = config.secret_faults();
    if let Some(last) = faults.pop() {
        faults.iter().for_each(|fault| eprintln!("privacyd: {fault}"));
        return Err(last.into());
    }
    exposed(config).iter().for_each(|warning| eprintln!("privacyd: {warning}"));
    let mut boxes = mailboxes(config).map_err(as_mistake)?;
    let mailer = mailer(config).map_err(as_mistake)?;
    let verifier = verifier(config).map_err(as_mistake)?;
    config.check_places()?;
    if offline {
        tell!("servers        not asked (--offline)");
        return Ok(());
    }
    // One that does not work hides nothing of the others; the first is what the command ends with.
    let mut failure = None;
    let mut fails = |error: anyhow::Error| match &failure {
        None => failure = Some(error),
        Some(_) => eprintln!("privacyd: {error:#}"),
    };
    for mailbox in &mut boxes {
        let name = mailbox.name().to_owned();
        match mailbox.probe().await {
            Ok(found) => tell!("mailbox {name:7} works: {found}"),
            Err(error) => fails(error.context(format!("Mailbox {name} does not work"))),
        }
        mailbox.close().await;
    }
    match mailer.probe().await {
        Ok(found) => tell!("replies        work: {found}"),
        Err(error) => fails(anyhow::Error::from(error).context("The way out for replies does not work")),
    }
    if let (Some(verifier), Some(own)) = (verifier, config.own_addresses.first()) {
        match verifier.probe(own.domain()).await {
            Ok(_) => tell!("name servers   answer"),
            Err(error) => fails(error),
        }
    }
    failure.map_or(Ok(()), Err)
}

/// The fields that may be corrected by mail.
fn corrected(config: &Config) -> String {
    match config.correction.fields.as_slice() {
        [] => "none by mail: a person corrects".to_owned(),
        fields => format!("by mail in {}", fields.join(", ")),
    }
}

/// The years of which is told what third parties got.
fn disclosed(config: &Config) -> String {
    let years: Vec<String> = config.disclosure.year.iter().map(|told| told.year.to_string()).collect();
    match years.as_slice() {
        [] => "no year is known: a person tells what third parties got".to_owned(),
        years => format!("what third parties got is told for {}", years.join(", ")),
    }
}

/// The company's systems that requests are carried out in.
fn systems(config: &Config) -> Result<String> {
    let mut names = Vec::new();
    Source::load(config).map_err(|error| as_mistake(error.into()))?;
    for (index, source) in config.source.iter().enumerate() {
        if let SourceSort::Command(command) = &source.sort
            && let Some(program) = command.first()
            && !std::fs::metadata(program)
                .is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
        {
            let message =
                format!("source {:?}: command: {program} is no file that can be executed", source.name);
            let mistake = config.file.mistake(&["source", &index.to_string(), "command"], message);
            return Err(as_mistake(mistake.into()));
        }
        names.push(source.name.as_str());
    }
    Ok(match names.as_slice() {
        [] => "none: a person carries requests out".to_owned(),
        names => names.join(", "),
    })
}

/// Which laws run, and by which calendar.
fn ticking(config: &Config, clock: &Clock) -> String {
    let laws = match config.clock.laws.as_slice() {
        [] => format!("no law is named, so everything is due by the law {UNKNOWN:?}"),
        laws => laws.join(", "),
    };
    let calendar = clock.calendar();
    let holidays = match (calendar.holidays().len(), calendar.holidays().last()) {
        (count, Some(last)) => format!("{count} holidays, the last on {last}"),
        (_, None) => "no holidays".to_owned(),
    };
    let notify = if config.admin.notify.is_some() { "a mail to admin.notify" } else { "the log alone" };
    let digest = config.admin.digest_at.map_or_else(
        || "no daily digest".to_owned(),
        |at| format!("a daily digest at {}", at.strftime("%H:%M")),
    );
    format!("{laws}; days in {}, {holidays}; warnings in {notify}, {digest}", calendar.zone_name())
}

/// Whom the configuration says to believe about senders.
fn believed(authentication: &Authentication) -> String {
    let Authentication { authserv_ids, received_by, verify_dkim, resolver } = authentication;
    let resolver = resolver.map_or_else(|| "the system's name servers".to_owned(), |it| it.to_string());
    let own_check = format!("DKIM checked here, asking {resolver}");
    let received_by = if received_by.is_empty() { authserv_ids } else { received_by };
    let servers = format!("by {}; Received by {}", authserv_ids.join(", "), received_by.join(", "));
    match (authserv_ids.is_empty(), verify_dkim) {
        (true, false) => "nobody: no authserv_id is configured, so no sender is ever proven".into(),
        (true, true) => own_check,
        (false, false) => servers,
        (false, true) => format!("{servers}; where these say nothing, {own_check}"),
    }
}

/// How unsubscribe tokens are set, in words.
fn unsubscribe(config: &Config) -> String {
    let confirmed = if config.unsubscribe.reply { "confirmed" } else { "not confirmed" };
    match config.unsubscribe.keys.len() {
        0 => "no keys: tokens are neither made nor read".to_owned(),
        1 => format!("1 key; opt-outs by token are {confirmed}"),
        keys => format!("{keys} keys, the first signs; opt-outs by token are {confirmed}"),
    }
}

fn as_mistake(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<crate::config::FileError>() {
        Ok(error) => error.into(),
        Err(error) => Mistake(sentence(&error)).into(),
    }
}

/// An error and its causes in one sentence. What a library's error says of its cause is not said once more.
pub fn sentence(error: &anyhow::Error) -> String {
    let mut said = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if said.is_empty() {
            said = cause;
        } else if !said.ends_with(&cause) {
            said.push_str(": ");
            said.push_str(&cause);
        }
    }
    said
}

/// So many: "1 mail", "2 mails".
pub(crate) fn counted(count: impl TryInto<u64>, one: &str, many: &str) -> String {
    match count.try_into().unwrap_or_default() {
        1 => format!("1 {one}"),
        count => format!("{count} {many}"),
    }
}

/// `init`: the sample configuration, to a file that is not there yet.
fn init(file: &Path) -> Result<()> {
    let mut out = std::fs::OpenOptions::new().write(true).create_new(true).open(file).map_err(|error| {
        match error.kind() {
            std::io::ErrorKind::AlreadyExists => Mistake(format!(
                "{} is there already and is not overwritten: name another file",
                file.display()
            )),
            _ => Mistake(format!("Cannot write {}: {error}", file.display())),
        }
    })?;
    out.write_all(SAMPLE_CONFIG.as_bytes()).with_context(|| format!("Cannot write {}", file.display()))?;
    tell!(
        "Wrote {}. Fill in your addresses, the mailbox, the server, where the database is to be, and where the passwords are; then: {} check",
        file.display(),
        as_called(&file.display().to_string())
    );
    Ok(())
}

/// `token`: bad lines of standard input are reported and left out.
fn token(config: &Config, options: &Token) -> Result<ExitCode> {
    if config.unsubscribe.keys.is_empty() {
        let remedy = "write one with `openssl rand -hex 32 > FILE` and name it in the configuration: [unsubscribe] keys = [{ file = \"FILE\" }]";
        return Err(Mistake(format!("There is no key to make tokens with: {remedy}")).into());
    }
    let tokens = tokens(config).map_err(as_mistake)?;
    let tell = |address: &Address| {
        let signed = tokens.sign(address).context("Our own address cannot bear a token")?;
        if options.json { print_json(&signed) } else { print(&signed.header).map(|()| ExitCode::SUCCESS) }
    };
    match &options.address {
        Addresses::One(address) => tell(address),
        Addresses::StandardInput => {
            let mut code = ExitCode::SUCCESS;
            for (index, line) in std::io::stdin().lock().split(b'\n').enumerate() {
                let line = line.context("Cannot read standard input")?;
                let line = String::from_utf8_lossy(&line);
                match line.trim().parse::<Address>() {
                    Ok(address) => drop(tell(&address)?),
                    Err(_) if line.trim().is_empty() => {}
                    Err(fault) => {
                        eprintln!("line {}: {fault}", index + 1);
                        code = ExitCode::FAILURE;
                    }
                }
            }
            Ok(code)
        }
    }
}

/// Commands that look into the database, or change single rows of it.
async fn with_store(config: &Config, command: Command) -> Result<ExitCode> {
    if begins(&command) {
        config.check_database()?;
        missing(config).iter().filter(|what| what.starts_with("database")).for_each(|what| {
            eprintln!("privacyd: There was no {what}: a new one is made");
        });
    } else {
        config.find_database()?;
    }
    let store = Store::open(&config.database).await?;
    let code = match command {
        Command::Requests(command) => requests(&store, config, command).await?,
        Command::Messages(command) => messages(&store, config, command).await?,
        Command::Outbox(command) => outbox(&store, command).await?,
        Command::Suppressions(command) => suppressions(&store, command).await?,
        Command::Contacts(Contacts::Import { file }) => import::import(&store, &file).await?,
        Command::Purge { dry_run, json } => audit::purge(&store, config, dry_run, json).await?,
        Command::Report(options) => report::report(&store, config, &options).await?,
        Command::Audit(command) => audit::audit(&store, command).await?,
        Command::Notice(command) => notice::notice(&store, config, command).await?,
        Command::Deletions(command) => deletions::deletions(&store, command).await?,
        Command::Backup { file } => backup::backup(&store, &file).await?,
        Command::Recovery(command) => backup::recovery(&store, command).await?,
        Command::Run { .. }
        | Command::Check { .. }
        | Command::Classify(_)
        | Command::Token(_)
        | Command::Status { .. }
        | Command::Reconcile { .. }
        | Command::Restore { .. }
        | Command::Demo { .. }
        | Command::Init { .. } => {
            ExitCode::SUCCESS // carried out before a store is opened
        }
    };
    store.close().await;
    Ok(code)
}

/// Whether a command makes sense before anything has run. No other makes a database: it would be one that somebody
/// has mistyped the name of.
fn begins(command: &Command) -> bool {
    matches!(
        command,
        Command::Contacts(Contacts::Import { .. })
            | Command::Suppressions(Suppressions::Add { .. })
            | Command::Recovery(Recovery::Begin)
            | Command::Deletions(Deletions::Replay { from: Some(_), .. })
    )
}

async fn requests(store: &Store, config: &Config, command: Requests) -> Result<ExitCode> {
    match command {
        Requests::List { status, all, kind, listing } => {
            let listed = match &status {
                Some(status) => Listed::Of(status),
                None if all => Listed::All,
                None => Listed::Open,
            };
            let rows = store.list_requests(listed, kind.as_deref(), listing.limit).await?;
            if let (Some(kind), true) = (&kind, rows.is_empty()) {
                must_be_a_type(kind, config)?;
            }
            print_list(
                &listing,
                &rows,
                &["reference", "type", "status", "due", "received", "person"],
                |row| {
                    let person = row.subject.clone().unwrap_or_default();
                    vec![
                        row.reference.clone(),
                        row.kind.clone(),
                        row.status.clone(),
                        row.due_on.clone(),
                        time(row.received_at),
                        person,
                    ]
                },
            )
        }
        Requests::Show { reference, json } => {
            let Some((request, events)) = store.request(&reference).await? else {
                return not_found(&format!(
                    "There is no request {reference}; privacyd requests list --all shows which there are"
                ));
            };
            let tasks = store.tasks(&reference).await?;
            let changes = store.changes(&reference).await?;
            if json {
                let all = json!({ "request": request, "events": events, "changes": changes, "tasks": tasks });
                return print_json(&all);
            }
            tell!("{}  {}  {}", request.reference, request.kind, request.status);
            tell!("received  {}", time(request.received_at));
            tell!("due       {} ({})", request.due_on, request.due_source);
            tell!("person    {}", request.subject.as_deref().unwrap_or("not known"));
            tell!("evidence  {} ({})", request.proof, request.proof_why);
            tell!("proof     step {} of {} needed", request.proof_given, request.proof_needed);
            if !request.flag.is_empty() {
                tell!("flag      {}", request.flag);
            }
            tell!("message   {}", request.message_id);
            if let Some(unread) = unread_in_words(&store.unread_of(&reference).await?) {
                tell!("to read   {unread}");
            }
            for Edit { field, old, new } in changes {
                tell!("change    {field}: {} -> {new}", old.unwrap_or_default());
            }
            for task in tasks {
                let next = match task.state.as_str() {
                    "waiting" => format!(", next at {}", time(task.next_attempt_at)),
                    _ => String::new(),
                };
                let asked = counted(task.attempts, "time", "times");
                let outcome = match became_of(&task.outcome) {
                    outcome if outcome.is_empty() => outcome,
                    outcome => format!(": {outcome}"),
                };
                tell!("system    {}: {} (asked {asked}{next}){outcome}", task.source, task.state);
            }
            for event in events {
                tell!("{}  {}  {}: {}", time(event.at), event.actor, event.event, event.reason);
            }
            Ok(ExitCode::SUCCESS)
        }
        Requests::Evidence { reference, output } => {
            dossier::evidence(store, config, &reference, &output).await
        }
        Requests::Copy { reference, output } => copy::copy_by(store, config, &reference, &output).await,
        Requests::Explain { reference, json } => clocks::explain(store, config, &reference, json).await,
        Requests::Extend { reference, reason } => clocks::extend_by(store, config, &reference, reason).await,
        Requests::Approve { one, proof, subject } => {
            hand::act_by(store, config, &one, hand::Verb::Approve { proof, subject }).await
        }
        Requests::Deny { one, reason } => {
            hand::act_by(store, config, &one, hand::Verb::Deny { reason }).await
        }
        Requests::Hold { one, reason } => {
            hand::act_by(store, config, &one, hand::Verb::Hold { reason }).await
        }
        Requests::Release { one } => hand::act_by(store, config, &one, hand::Verb::Release).await,
        Requests::Reclassify { one, kind } => {
            hand::act_by(store, config, &one, hand::Verb::Reclassify { kind }).await
        }
        Requests::Done { one, system, nothing, kept, why, failed, data } => {
            let became = became(nothing, kept, why, failed, data.as_deref())?;
            hand::act_by(store, config, &one, hand::Verb::Done { system, became }).await
        }
        Requests::Complete { one, set, new_field } => {
            let setting = |is_new| move |(field, value)| hand::Setting { field, value, is_new };
            let known = set.into_iter().map(setting(false));
            let set = known.chain(new_field.into_iter().map(setting(true))).collect();
            hand::act_by(store, config, &one, hand::Verb::Complete { set }).await
        }
        Requests::Withdraw { one } => hand::act_by(store, config, &one, hand::Verb::Withdraw).await,
        Requests::Note { one, text } => hand::act_by(store, config, &one, hand::Verb::Note { text }).await,
    }
}

/// A type of which there is no request may be misspelt; one that a file of the operator's made once need not be there
/// any more.
fn must_be_a_type(kind: &str, config: &Config) -> Result<()> {
    let table = Table::load(config.rules.as_deref())?;
    if kind == UNCLEAR || table.kind(kind).is_some() {
        return Ok(());
    }
    let known: Vec<&str> = table.types.iter().map(|kind| kind.name.as_str()).chain([UNCLEAR]).collect();
    Err(Mistake(hand::Refusal::NoType(kind.to_owned(), known.join(", ")).to_string()).into())
}

/// The outcome of a task in words: what is kept is stored as a list.
fn became_of(outcome: &str) -> String {
    match serde_json::from_str::<Vec<Kept>>(outcome) {
        Ok(kept) => {
            let kept: Vec<String> =
                kept.iter().map(|Kept { what, why }| format!("keeps {what} ({why})")).collect();
            kept.join(", ")
        }
        Err(_) => outcome.to_owned(),
    }
}

/// What a person says of one system's part.
fn became(
    nothing: bool,
    kept: Vec<String>,
    why: Vec<String>,
    failed: bool,
    data: Option<&Path>,
) -> Result<hand::Became> {
    if kept.len() != why.len() {
        return Err(Mistake("Give each --kept its own --why".into()).into());
    }
    let data = data.map(|file| read_data(file).map_err(Mistake)).transpose()?;
    let kept: Vec<Kept> = kept.into_iter().zip(why).map(|(what, why)| Kept { what, why }).collect();
    Ok(match () {
        () if nothing => hand::Became::Nothing,
        () if failed => hand::Became::Failed,
        () if kept.is_empty() => hand::Became::Done { data },
        () => hand::Became::Kept { kept, data },
    })
}

/// One JSON object in a file, no longer than a system's report.
fn read_data(file: &Path) -> Result<serde_json::Value, String> {
    let fault = |why: &dyn std::fmt::Display| format!("{}: {why}", file.display());
    let length = std::fs::metadata(file).map_err(|error| fault(&error))?.len();
    if length > LONGEST_REPORT as u64 {
        return Err(fault(&format_args!("is longer than {LONGEST_REPORT} bytes")));
    }
    let text = std::fs::read(file).map_err(|error| fault(&error))?;
    // What is wrong with it is told by its place: it is a person's data.
    let data: serde_json::Value = serde_json::from_slice(&text).map_err(|error| {
        fault(&format_args!("is not JSON: line {}, column {}", error.line(), error.column()))
    })?;
    if !data.is_object() {
        return Err(fault(&"holds no JSON object: { … }"));
    }
    Ok(data)
}

fn listed(numbers: &[i64]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What of a person waits for somebody who reads it, in words: `None` for nothing.
fn unread_in_words(unread: &Unread) -> Option<String> {
    let which = counted(unread.mails.len(), "mail of this person is", "mails of this person are");
    let mails = (!unread.mails.is_empty()).then(|| {
        format!(
            "{which} still to be read, and nothing of theirs is erased before: {}; look for them in their folder (privacyd messages show ID), then privacyd messages read ID, or messages reclassify ID TYPE",
            listed(&unread.mails)
        )
    });
    let held = (!unread.held.is_empty())
        .then(|| format!("also held of this person, to be settled: {}", unread.held.join(", ")));
    match (mails, held) {
        (Some(mails), Some(held)) => Some(format!("{mails}; {held}")),
        (mails, held) => mails.or(held),
    }
}

async fn messages(store: &Store, config: &Config, command: Messages) -> Result<ExitCode> {
    match command {
        Messages::List { disposition, unanswered, to_read, listing } => {
            let rows = match (unanswered, to_read) {
                (true, _) => store.unanswered(listing.limit).await?,
                (_, true) => store.to_read(listing.limit).await?,
                _ => store.messages(disposition.as_deref(), listing.limit).await?,
            };
            let last = if unanswered { "not answered because" } else { "folder" };
            print_list(&listing, &rows, &["id", "received", "disposition", "type", "sender", last], |row| {
                let bound = row.unanswered.clone().unwrap_or_default();
                vec![
                    row.id.to_string(),
                    time(row.received_at),
                    row.disposition.clone(),
                    row.kind.clone(),
                    row.sender.clone().unwrap_or_default(),
                    if unanswered { bound } else { row.folder.clone() },
                ]
            })
        }
        Messages::Read { ids, all } => {
            let read = store.mark_read((!all).then_some(&ids), Timestamp::now()).await?;
            let which = if read.is_empty() { String::new() } else { format!(": {}", listed(&read)) };
            tell!("{} read{which}", counted(read.len(), "mail is", "mails are"));
            match ids.iter().find(|id| !read.contains(id)) {
                None => Ok(ExitCode::SUCCESS),
                Some(id) => not_found(&format!(
                    "Mail {id} is none that is to be read; privacyd messages list --to-read shows which are"
                )),
            }
        }
        Messages::Reclassify { id, kind, json } => hand::open_by(store, config, id, &kind, json).await,
        Messages::Show { id, json } => {
            let Some((message, requests, replies)) = store.message(id).await? else {
                return not_found(&format!(
                    "There is no message {id}; privacyd messages list shows which there are"
                ));
            };
            if json {
                return print_json(&json!({ "message": message, "requests": requests, "replies": replies }));
            }
            tell!("message {}  {}  {}", message.id, message.disposition, message.kind);
            tell!(
                "received  {} in mailbox {}, id {}, {} bytes",
                time(message.received_at),
                message.mailbox,
                message.mail_id,
                message.size
            );
            let Limits { read_limit, max_message_size, .. } = &config.limits;
            let read = read_limit.as_u64().try_into().unwrap_or(i64::MAX);
            if message.size > read && message.size.unsigned_abs() <= max_message_size.as_u64() {
                tell!("read      only its first {read} bytes (limits.read_limit)");
            }
            tell!("sender    {}", message.sender.as_deref().unwrap_or("not known"));
            tell!("evidence  {} ({})", message.proof, message.proof_why);
            tell!("why       {}", message.why);
            tell!("folder    {}{}", message.folder, if message.filed { "" } else { " (not filed yet)" });
            if let Some(at) = message.read_at {
                tell!("read by a person at {}", time(at));
            }
            for request in requests {
                tell!(
                    "request   {}  {}  {}  due {}",
                    request.reference,
                    request.kind,
                    request.status,
                    request.due_on
                );
            }
            for reply in replies {
                tell!(
                    "reply     {}  {} ({})  {}  {}",
                    reply.id,
                    reply.template,
                    reply.language,
                    reply.state,
                    reply.outcome
                );
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn outbox(store: &Store, command: OutboxCommand) -> Result<ExitCode> {
    match command {
        OutboxCommand::List { state, listing } => {
            let rows = store.replies(state.as_deref(), listing.limit).await?;
            print_list(
                &listing,
                &rows,
                &["id", "request", "reply", "state", "attempts", "queued", "outcome", "to"],
                |row| {
                    vec![
                        row.id.to_string(),
                        row.reference.clone(),
                        format!("{} ({})", row.template, row.language),
                        row.state.clone(),
                        row.attempts.to_string(),
                        time(row.created_at),
                        row.outcome.clone(),
                        row.recipient.clone(),
                    ]
                },
            )
        }
        OutboxCommand::Settle { id, sent, .. } => {
            match store.settle_by_hand(id, sent, Timestamp::now()).await? {
                Some(held) => {
                    tell!("Reply {id} is settled as {}", if sent { "sent" } else { "lost" });
                    if !held.is_empty() {
                        tell!("Held for a person: {}", held.join(" "));
                    }
                    Ok(ExitCode::SUCCESS)
                }
                None => not_found(&format!("There is no reply {id} of unknown fate")),
            }
        }
        OutboxCommand::Retry { id } => match store.retry(id, Timestamp::now()).await? {
            Retry::Queued(state) => {
                tell!("Reply {id} was {state} and is queued again");
                Ok(ExitCode::SUCCESS)
            }
            Retry::WithoutCode(reference) => not_found(&format!(
                "Reply {id} asked for a code that is kept no longer; privacyd requests hold {reference}, and then \
                 privacyd requests release {reference}, puts the question with a new one"
            )),
            Retry::Nothing => not_found(&format!(
                "There is no reply {id} that bounced, waits or is of unknown fate and has its text still"
            )),
        },
    }
}

async fn suppressions(store: &Store, command: Suppressions) -> Result<ExitCode> {
    match command {
        Suppressions::List { json } => {
            let mut after = String::new();
            loop {
                let page = store.suppressions(&after, 1000).await?;
                if page.is_empty() && after.is_empty() && !json {
                    tell!("Nothing");
                }
                // An address may have two rows; the page after it must not lose the second.
                let Some(last) = page.last().map(|entry| entry.address.clone()) else { break };
                let whole = page.len() < 1000;
                let mut entries = page.iter().filter(|entry| whole || entry.address != last);
                if json {
                    entries.try_for_each(|entry| print_json(entry).map(drop))?;
                } else {
                    let header = ["address", "suppressed from", "by", "since"];
                    print(&grid(
                        &header,
                        entries.map(|it| {
                            vec![it.address.clone(), it.kind.clone(), it.source.clone(), time(it.created_at)]
                        }),
                    ))?;
                }
                if whole {
                    break;
                }
                after = page
                    .iter()
                    .rev()
                    .map(|entry| &entry.address)
                    .find(|address| **address != last)
                    .cloned()
                    .unwrap_or(last);
            }
            Ok(ExitCode::SUCCESS)
        }
        Suppressions::Add { address, kind } => {
            let is_new = store.suppress(&address, &kind, Timestamp::now()).await?;
            tell!("{}", if is_new { "Suppressed" } else { "Was suppressed already" });
            Ok(ExitCode::SUCCESS)
        }
        Suppressions::Remove { address, kind } => {
            if store.unsuppress(&address, &kind).await? {
                tell!("Taken off the list");
                Ok(ExitCode::SUCCESS)
            } else {
                not_found("This address is not on the list")
            }
        }
        Suppressions::Check { address, json } => {
            let found = store.suppressed(&address).await?;
            let erased = store.buried(&address).await?;
            if json {
                let erased_at = erased.and_then(|at| Timestamp::from_second(at).ok());
                print_json(
                    &json!({ "address": address.normalised(), "suppressed": found, "erased_at": erased_at }),
                )?;
            } else if found.is_empty() && erased.is_none() {
                tell!("Not suppressed");
            } else {
                if let Some(at) = erased {
                    tell!("Suppressed from everything: erased at {}", time(at));
                }
                for entry in &found {
                    tell!(
                        "Suppressed from {} since {} ({})",
                        entry.kind,
                        time(entry.created_at),
                        entry.source
                    );
                }
            }
            let is_free = found.is_empty() && erased.is_none();
            Ok(if is_free { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
        Suppressions::Export(options) => export::export(store, &options).await,
    }
}

/// Prints rows as a table, or as JSON lines.
fn print_list<T: Serialize>(
    listing: &Listing,
    rows: &[T],
    header: &[&str],
    cells: impl Fn(&T) -> Vec<String>,
) -> Result<ExitCode> {
    if listing.json {
        rows.iter().try_for_each(|row| print_json(row).map(drop))?;
    } else if rows.is_empty() {
        tell!("Nothing");
    } else {
        print(&grid(header, rows.iter().map(cells)))?;
        if rows.len() == listing.limit as usize {
            tell!("There may be more: --limit shows them");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A table for a terminal or a pipe.
pub fn grid(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut grid = Grid::new();
    grid.load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header.to_vec());
    if !std::io::stdout().is_terminal() {
        grid.set_content_arrangement(ContentArrangement::Disabled);
    }
    for row in rows {
        grid.add_row(row);
    }
    grid.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

fn print_json(value: &impl Serialize) -> Result<ExitCode> {
    print(&serde_json::to_string(value)?)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a line; a reader that has seen enough, as in `| head`, ends the command and is no failure.
fn print(line: &str) -> Result<()> {
    match writeln!(std::io::stdout().lock(), "{line}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => other.context("Cannot write to standard output"),
    }
}

/// Prints a line, as far as somebody reads it.
pub(crate) fn say(line: &str) {
    if let Err(error) = print(line) {
        eprintln!("privacyd: {error:#}");
    }
}

fn not_found(sentence: &str) -> Result<ExitCode> {
    eprintln!("privacyd: {sentence}");
    Ok(ExitCode::FAILURE)
}

fn time(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| "-".to_owned(), |at| at.to_string())
}
