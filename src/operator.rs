//! The operator's verbs behind the command line.

pub mod audit;
pub mod backup;
pub mod clocks;
pub mod deletions;
pub mod dossier;
pub mod export;
pub mod hand;
pub mod notice;
pub mod report;
pub mod status;

use std::io::{BufRead, IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use comfy_table::{ContentArrangement, Table as Grid, presets};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use crate::classify::{Finding, Reading, Verdict};
use crate::cli::{
    Addresses, Classify, Cli, Command, Contacts, DEFAULT_CONFIG, Listing, Messages, OutboxCommand, Requests,
    Suppressions, Token,
};
use crate::clock::{Clock, UNKNOWN};
use crate::config::{Authentication, Config, SourceSort};
use crate::daemon::{Daemon, Parts, Rules, mailboxes, mailer, tokens, verifier};
use crate::decide::{BY_TOKEN, Letter, OPT_OUT, Understanding};
use crate::evidence::{Evidence, Proof};
use crate::request::Table;
use crate::sender::Address;
use crate::source::Source;
use crate::stop::Stop;
use crate::store::subjects::Upserted;
use crate::store::{Store, Taken};
use crate::token;
use crate::understand::Reader;
use crate::watch::check_watchdog;
use crate::{demo, log};

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
        Command::Classify(options) => classify(&options, &cli.config)?,
        Command::Demo { dir } => demo::run(dir).await?,
        Command::Init { file } => init(&file)?,
        Command::Run { once } => run(&configured(&cli.config)?, once).await?,
        Command::Check { backup: Some(file), .. } => return backup::check(&file).await,
        Command::Check { offline, backup: None } => check(&configured(&cli.config)?, offline).await?,
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
    config.check_database().map_err(|error| as_mistake(error.into()))?;
    let parts = Parts::load(config).map_err(as_mistake)?;
    let daemon = Daemon::open(config, parts).await.map_err(|error| match error.downcast::<Taken>() {
        Ok(taken) => Mistake(taken.to_string()).into(),
        Err(error) => error,
    })?;
    if once { daemon.run_once(stop).await } else { daemon.run(stop).await }
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
    println!(
        "configuration  sound; database {}, poll every {} s",
        config.database.display(),
        config.poll_interval.as_secs()
    );
    let names: Vec<&str> = rules.table.types.iter().map(|kind| kind.name.as_str()).collect();
    println!(
        "rules          {} types, {} phrases: {}",
        names.len(),
        rules.table.phrases.len(),
        names.join(", ")
    );
    println!("templates      complete");
    println!("clock          {}", ticking(config, &rules.clock));
    println!("authentication {}", believed(&config.authentication));
    println!("unsubscribe    {}", unsubscribe(config));
    println!("systems        {}", systems(config)?);
    for imap in &config.imap {
        println!(
            "imap {:10} {} port {}, {:?} TLS, user {}, password {}",
            imap.name, imap.host, imap.port, imap.tls, imap.username, imap.password
        );
    }
    if let Some(smtp) = &config.smtp {
        let password = smtp.password.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
        println!(
            "smtp            {} port {}, {:?} TLS, user {}, password {password}",
            smtp.host,
            smtp.port(),
            smtp.tls,
            smtp.username.as_deref().unwrap_or("none")
        );
    }
    for imap in &config.imap {
        imap.password.read().map_err(as_mistake)?;
    }
    let mut boxes = mailboxes(config).map_err(as_mistake)?;
    let mailer = mailer(config).map_err(as_mistake)?;
    let verifier = verifier(config).map_err(as_mistake)?;
    config.check_database().map_err(|error| as_mistake(error.into()))?;
    if offline {
        println!("servers        not asked (--offline)");
        return Ok(());
    }
    for mailbox in &mut boxes {
        let found =
            mailbox.probe().await.with_context(|| format!("Mailbox {} does not work", mailbox.name()))?;
        println!("mailbox {:7} works: {found}", mailbox.name());
        mailbox.close().await;
    }
    let found = mailer.probe().await.context("The way out for replies does not work")?;
    println!("replies        work: {found}");
    if let (Some(verifier), Some(own)) = (verifier, config.own_addresses.first()) {
        verifier.probe(own.domain()).await?;
        println!("name servers   answer");
    }
    Ok(())
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
    format!("{laws}; days in {}, {holidays}; warnings in {notify}", calendar.zone_name())
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
        Err(error) => Mistake(format!("{error:#}")).into(),
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
    println!(
        "Wrote {}. Fill in the mailbox and the server, then: privacyd check --config {}",
        file.display(),
        file.display()
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
    let store = Store::open(&config.database).await?;
    let code = match command {
        Command::Requests(command) => requests(&store, config, command).await?,
        Command::Messages(command) => messages(&store, command).await?,
        Command::Outbox(command) => outbox(&store, command).await?,
        Command::Suppressions(command) => suppressions(&store, command).await?,
        Command::Contacts(Contacts::Import { file }) => import(&store, &file).await?,
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
        | Command::Demo { .. }
        | Command::Init { .. } => {
            ExitCode::SUCCESS // carried out before a store is opened
        }
    };
    store.close().await;
    Ok(code)
}

async fn requests(store: &Store, config: &Config, command: Requests) -> Result<ExitCode> {
    match command {
        Requests::List { status, all, listing } => {
            let rows = match status {
                None if !all => store.open_requests(listing.limit).await?,
                status => store.requests(status.as_deref(), listing.limit).await?,
            };
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
                return not_found(&format!("There is no request {reference}"));
            };
            let tasks = store.tasks(&reference).await?;
            if json {
                return print_json(&json!({ "request": request, "events": events, "tasks": tasks }));
            }
            println!("{}  {}  {}", request.reference, request.kind, request.status);
            println!("received  {}", time(request.received_at));
            println!("due       {} ({})", request.due_on, request.due_source);
            println!("person    {}", request.subject.as_deref().unwrap_or("not known"));
            println!("evidence  {} ({})", request.proof, request.proof_why);
            println!("proof     step {} of {} needed", request.proof_given, request.proof_needed);
            if !request.flag.is_empty() {
                println!("flag      {}", request.flag);
            }
            println!("message   {}", request.message_id);
            for task in tasks {
                let next = match task.state.as_str() {
                    "waiting" => format!(", next at {}", time(task.next_attempt_at)),
                    _ => String::new(),
                };
                println!(
                    "system    {}: {} (asked {} times{next}) {}",
                    task.source, task.state, task.attempts, task.outcome
                );
            }
            for event in events {
                println!("{}  {}  {}: {}", time(event.at), event.actor, event.event, event.reason);
            }
            Ok(ExitCode::SUCCESS)
        }
        Requests::Evidence { reference, output } => {
            dossier::evidence(store, config, &reference, &output).await
        }
        Requests::Explain { reference, json } => clocks::explain(store, config, &reference, json).await,
        Requests::Extend { reference, reason } => clocks::extend_by(store, config, &reference, reason).await,
        Requests::Approve { one, proof } => {
            hand::act_by(store, config, &one, hand::Verb::Approve { proof }).await
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
        Requests::Complete { one } => hand::act_by(store, config, &one, hand::Verb::Complete).await,
        Requests::Withdraw { one } => hand::act_by(store, config, &one, hand::Verb::Withdraw).await,
        Requests::Note { one, text } => hand::act_by(store, config, &one, hand::Verb::Note { text }).await,
    }
}

async fn messages(store: &Store, command: Messages) -> Result<ExitCode> {
    match command {
        Messages::List { disposition, unanswered, listing } => {
            let rows = match unanswered {
                true => store.unanswered(listing.limit).await?,
                false => store.messages(disposition.as_deref(), listing.limit).await?,
            };
            print_list(
                &listing,
                &rows,
                &["id", "received", "disposition", "type", "folder", "sender"],
                |row| {
                    let sender = row.sender.clone().unwrap_or_default();
                    vec![
                        row.id.to_string(),
                        time(row.received_at),
                        row.disposition.clone(),
                        row.kind.clone(),
                        row.folder.clone(),
                        sender,
                    ]
                },
            )
        }
        Messages::Show { id, json } => {
            let Some((message, requests, replies)) = store.message(id).await? else {
                return not_found(&format!("There is no message {id}"));
            };
            if json {
                return print_json(&json!({ "message": message, "requests": requests, "replies": replies }));
            }
            println!("message {}  {}  {}", message.id, message.disposition, message.kind);
            println!(
                "received  {} in mailbox {}, id {}, {} bytes",
                time(message.received_at),
                message.mailbox,
                message.mail_id,
                message.size
            );
            println!("sender    {}", message.sender.as_deref().unwrap_or("not known"));
            println!("evidence  {} ({})", message.proof, message.proof_why);
            println!("why       {}", message.why);
            println!("folder    {}{}", message.folder, if message.filed { "" } else { " (not filed yet)" });
            for request in requests {
                println!(
                    "request   {}  {}  {}  due {}",
                    request.reference, request.kind, request.status, request.due_on
                );
            }
            for reply in replies {
                println!(
                    "reply     {}  {} ({})  {}  {}",
                    reply.id, reply.template, reply.language, reply.state, reply.outcome
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
        OutboxCommand::Retry { id } => match store.retry(id, Timestamp::now()).await? {
            Some(state) => {
                println!("Reply {id} was {state} and is queued again");
                Ok(ExitCode::SUCCESS)
            }
            None => not_found(&format!(
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
                // An address may have two rows; the page after it must not lose the second.
                let Some(last) = page.last().map(|entry| entry.address.clone()) else { break };
                let whole = page.len() < 1000;
                for entry in page.iter().filter(|entry| whole || entry.address != last) {
                    if json {
                        print_json(entry)?;
                    } else {
                        print(&format!(
                            "{}\t{}\t{}\t{}",
                            entry.address,
                            entry.kind,
                            entry.source,
                            time(entry.created_at)
                        ))?;
                    }
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
            println!("{}", if is_new { "Suppressed" } else { "Was suppressed already" });
            Ok(ExitCode::SUCCESS)
        }
        Suppressions::Remove { address, kind } => {
            if store.unsuppress(&address, &kind).await? {
                println!("Taken off the list");
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
                println!("Not suppressed");
            } else {
                if let Some(at) = erased {
                    println!("Suppressed from everything: erased at {}", time(at));
                }
                for entry in &found {
                    println!(
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

/// What an import did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Contacts that were not known.
    pub new: u64,
    /// Contacts that were.
    pub updated: u64,
    /// Contacts that were erased once, and are refused.
    pub erased: u64,
    /// Lines that were left out.
    pub bad: u64,
}

impl Imported {
    fn add(&mut self, Upserted { new, erased }: Upserted) {
        self.new += new;
        self.erased += erased;
    }
}

async fn import(store: &Store, file: &Path) -> Result<ExitCode> {
    let size = std::fs::metadata(file)
        .map_err(|error| Mistake(format!("Cannot read {}: {error}", file.display())))?
        .len();
    let bar = indicatif::ProgressBar::new(size);
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
    }
    let input = std::fs::File::open(file).with_context(|| format!("Cannot read {}", file.display()))?;
    let done = import_from(store, bar.wrap_read(input), |line, fault| {
        bar.suspend(|| eprintln!("line {line}: {fault}"));
    })
    .await?;
    bar.finish_and_clear();
    println!("{} new, {} updated, {} lines left out", done.new, done.updated, done.bad);
    if done.erased > 0 {
        println!("{} refused: they were erased, and stay so", done.erased);
    }
    Ok(if done.bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Imports contacts from CSV; `report` is told each bad line and its fault, without its content.
///
/// # Errors
/// There is no column of addresses, or the database does not work.
pub async fn import_from(
    store: &Store,
    input: impl std::io::Read,
    mut report: impl FnMut(u64, &str),
) -> Result<Imported> {
    let mut reader = csv::ReaderBuilder::new().flexible(false).trim(csv::Trim::All).from_reader(input);
    let header =
        reader.headers().map_err(|_| Mistake("The first line does not name the columns".into()))?.clone();
    let is_address = |name: &str| {
        ["email", "e-mail", "address", "mail"].iter().any(|known| name.eq_ignore_ascii_case(known))
    };
    let column = header
        .iter()
        .position(is_address)
        .ok_or_else(|| Mistake("The first line must name a column \"email\" or \"address\"".into()))?;
    let mut done = Imported::default();
    let mut batch = Vec::new();
    let mut seen = 0;
    for record in reader.records() {
        let parsed = record.map_err(|error| {
            (
                error.position().map_or(0, csv::Position::line),
                "has another number of columns than the first, or is not UTF-8",
            )
        });
        let parsed = parsed.and_then(|record| {
            let line = record.position().map_or(0, csv::Position::line);
            let address = record.get(column).unwrap_or_default().parse::<Address>();
            Ok((record, address.map_err(|_| (line, "the address is not a plain mail address"))?))
        });
        match parsed {
            Ok((record, address)) => {
                let fields = header
                    .iter()
                    .zip(record.iter())
                    .enumerate()
                    .filter(|(index, _)| *index != column)
                    .map(|(_, (name, value))| (name.to_owned(), json!(value)))
                    .collect();
                batch.push((address, fields));
                seen += 1;
            }
            Err((line, fault)) => {
                report(line, fault);
                done.bad += 1;
            }
        }
        if batch.len() == 1000 {
            done.add(store.upsert_contacts(&batch, Timestamp::now()).await?);
            batch.clear();
        }
    }
    done.add(store.upsert_contacts(&batch, Timestamp::now()).await?);
    done.updated = seen - done.new - done.erased;
    Ok(done)
}

/// What reads the mails for `classify`. It believes the servers it is told, and else those of the
/// configuration, and knows the unsubscribe tokens of the latter, where there is one. The usual place may
/// be empty.
fn classify_reader(options: &Classify, config: &Path, table: &Table) -> Result<Reader> {
    let reader = Reader::new(table, &options.own)?;
    let is_named = config != Path::new(DEFAULT_CONFIG);
    let config = if is_named || config.exists() { Some(configured(config)?) } else { None };
    let told = Authentication {
        authserv_ids: options.authserv_ids.clone(),
        received_by: options.received_by.clone(),
        ..Authentication::default()
    };
    let authentication = match &config {
        Some(config) if told.authserv_ids.is_empty() => {
            let mut authentication = config.authentication.clone();
            if !told.received_by.is_empty() {
                authentication.received_by = told.received_by;
            }
            authentication
        }
        _ => told,
    };
    let reader = reader.trusting(authentication.trust());
    let Some(config) = config else { return Ok(reader) };
    match tokens(&config) {
        Ok(tokens) => Ok(reader.with_tokens(tokens)),
        // A shell has no credentials of the service's; all else can be told without them.
        Err(error) => {
            eprintln!("privacyd: unsubscribe tokens are not recognised: {error:#}");
            Ok(reader)
        }
    }
}

/// `classify`
fn classify(options: &Classify, config: &Path) -> Result<()> {
    let table = Table::load(options.rules.as_deref())?;
    let reader = classify_reader(options, config, &table)?;
    let mut paths = options.paths.clone();
    if let Some(list) = &options.files_from {
        let input: Box<dyn BufRead> = if list.as_os_str() == "-" {
            Box::new(std::io::stdin().lock())
        } else {
            let file = std::fs::File::open(list)
                .map_err(|error| Mistake(format!("Cannot read {}: {error}", list.display())))?;
            Box::new(std::io::BufReader::new(file))
        };
        for line in input.lines() {
            let line = line.context("Cannot read the list of files")?;
            if !line.trim().is_empty() {
                paths.push(PathBuf::from(line));
            }
        }
    } else if paths.is_empty() {
        return Err(Mistake("Name at least one .eml file or Maildir, or use --files-from".into()).into());
    }
    let mut failed = 0;
    for path in paths {
        for file in mails_at(&path) {
            match std::fs::read(&file) {
                Ok(bytes) => {
                    let understanding = reader.read(&bytes);
                    if options.json {
                        print_json(&as_json(&file, &understanding, &table))?;
                    } else {
                        print(&explain(&file, &understanding, &table))?;
                    }
                }
                Err(error) => {
                    eprintln!("privacyd: Cannot read {}: {error}", file.display());
                    failed += 1;
                }
            }
        }
    }
    if failed > 0 {
        return Err(Mistake(format!("{failed} files could not be read")).into());
    }
    Ok(())
}

/// The mails at a path: itself, or what is in the `new` and `cur` of a Maildir, or a folder's files.
fn mails_at(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let is_maildir = path.join("cur").is_dir() || path.join("new").is_dir();
    let folders = if is_maildir { vec![path.join("new"), path.join("cur")] } else { vec![path.to_owned()] };
    let mut files: Vec<PathBuf> = folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|file| {
            file.is_file() && (is_maildir || file.extension().is_some_and(|extension| extension == "eml"))
        })
        .collect();
    files.sort();
    files
}

/// What a mail turned out to be, without a store: the word of `classify`, the automatic kind, the
/// findings.
pub fn disposition(understanding: &Understanding) -> (&'static str, Option<&'static str>, Vec<Finding>) {
    let letter = match understanding {
        Understanding::Read(letter) => letter,
        Understanding::Unreadable | Understanding::Unread(_) => return ("review", None, Vec::new()),
    };
    match &letter.token {
        token::Token::Valid(addresses) => by_token(letter, addresses),
        token::Token::Invalid | token::Token::None => by_words(letter),
    }
}

/// A mail with a valid unsubscribe token is an opt-out, and what its words ask for besides.
fn by_token(letter: &Letter, addresses: &[Address]) -> (&'static str, Option<&'static str>, Vec<Finding>) {
    let rules = vec!["unsubscribe token".to_owned()];
    let mut findings = vec![Finding { kind: OPT_OUT.to_owned(), confidence: BY_TOKEN, rules }];
    let is_read = letter.reading.as_ref().is_some_and(|reading| reading.verdict != Verdict::Nothing);
    if !is_read {
        return ("requests", None, findings);
    }
    let (word, _, of_words) = by_words(letter);
    // As a word of its own it is somebody else's, of himself.
    let is_done = letter.from.as_ref().map_or(true, |from| addresses.contains(&from.normalised()));
    let is_other = |finding: &Finding| !(is_done && finding.kind == OPT_OUT);
    let says_no_more = !of_words.is_empty() && !of_words.iter().any(is_other);
    findings.extend(of_words.into_iter().filter(is_other));
    (if says_no_more { "requests" } else { word }, None, findings)
}

fn by_words(letter: &Letter) -> (&'static str, Option<&'static str>, Vec<Finding>) {
    if let Some((automatic, _)) = letter.automatic {
        return match &letter.reading {
            Some(Reading { verdict: Verdict::Requests(findings), .. }) => {
                ("review", Some(automatic.name()), findings.clone())
            }
            _ => ("automated", Some(automatic.name()), Vec::new()),
        };
    }
    let verdict = letter.reading.as_ref().map(|reading| &reading.verdict);
    match verdict {
        Some(Verdict::Requests(findings)) if letter.from.is_ok() => ("requests", None, findings.clone()),
        Some(Verdict::Nothing) if letter.from.is_ok() && !letter.own_words.is_empty() => {
            ("none", None, Vec::new())
        }
        Some(Verdict::Unclear { candidates, .. }) => ("review", None, candidates.clone()),
        Some(Verdict::Requests(findings)) => ("review", None, findings.clone()),
        Some(Verdict::Nothing) | None => ("review", None, Vec::new()),
    }
}

/// The same word, knowing which types need no proof: where the evidence of the sender contradicts itself,
/// all but those wait for a person.
fn disposition_by_proof(
    understanding: &Understanding,
    table: &Table,
) -> (&'static str, Option<&'static str>, Vec<Finding>) {
    let found = disposition(understanding);
    let is_contradicted =
        matches!(understanding, Understanding::Read(letter) if letter.evidence.proof == Proof::Conflict);
    let needs_none = |finding: &Finding| table.kind(&finding.kind).is_some_and(|kind| kind.proof == 0);
    match found {
        ("none", automated, findings) if is_contradicted => ("review", automated, findings),
        ("requests", automated, findings) if is_contradicted && !findings.iter().all(needs_none) => {
            ("review", automated, findings)
        }
        found => found,
    }
}

/// The `sender` of `classify --json`.
fn sender_json(understanding: &Understanding) -> serde_json::Value {
    let (address, evidence) = match understanding {
        Understanding::Read(letter) => (letter.from.as_ref().ok(), letter.evidence.clone()),
        Understanding::Unreadable | Understanding::Unread(_) => {
            (None, Evidence::none("the mail was not read"))
        }
    };
    json!({ "address": address, "proof": evidence.proof, "why": evidence.why })
}

fn as_json(file: &Path, understanding: &Understanding, table: &Table) -> serde_json::Value {
    let (word, automated, findings) = disposition_by_proof(understanding, table);
    let letter = match understanding {
        Understanding::Read(letter) => Some(letter),
        Understanding::Unreadable | Understanding::Unread(_) => None,
    };
    let requests = if word == "requests" { findings } else { Vec::new() };
    json!({
        "file": file.display().to_string(),
        "disposition": word,
        "automated": automated,
        "requests": requests,
        "sender": sender_json(understanding),
        "language": letter.and_then(|letter| letter.reading.as_ref()?.language.as_deref()),
        "text": letter.map_or("", |letter| letter.own_words.as_str()),
    })
}

/// The same, for a person.
fn explain(file: &Path, understanding: &Understanding, table: &Table) -> String {
    let (word, _, findings) = disposition_by_proof(understanding, table);
    let mut lines = vec![format!("{}: {word}", file.display())];
    match understanding {
        Understanding::Unreadable => lines.push("  there is not one header field in it".into()),
        Understanding::Unread(why) => lines.push(format!("  {why}")),
        Understanding::Read(letter) => {
            if let Some((automatic, mark)) = letter.automatic {
                lines.push(format!("  {}: {mark}", automatic.name()));
            }
            match &letter.token {
                token::Token::Valid(addresses) => lines.extend(
                    addresses.iter().map(|address| format!("  bears the unsubscribe token of {address}")),
                ),
                token::Token::Invalid => lines.push("  bears an invalid unsubscribe token".to_owned()),
                token::Token::None => {}
            }
            let Evidence { proof, why, .. } = &letter.evidence;
            lines.push(match &letter.from {
                Err(error) => format!("  sender: {error}"),
                Ok(from) => format!("  sender: {from}, proof {} ({why})", proof.name()),
            });
            for finding in &findings {
                let threshold = table.kind(&finding.kind).map_or(0.0, |kind| kind.threshold);
                lines.push(format!(
                    "  {} {:.2} (acts from {threshold:.2}): {}",
                    finding.kind,
                    finding.confidence,
                    finding.rules.join(", ")
                ));
            }
            if let Some(reading) = &letter.reading {
                if let Verdict::Unclear { why, .. } = &reading.verdict {
                    lines.push(format!("  {why}"));
                }
                for (rule, guard) in &reading.against {
                    lines.push(format!("  not counted: {rule} ({guard})"));
                }
                lines.push(format!("  language: {}", reading.language.as_deref().unwrap_or("not told")));
            }
        }
    }
    lines.join("\n")
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
        println!("Nothing");
    } else {
        print(&grid(header, rows.iter().map(cells)))?;
        if rows.len() == listing.limit as usize {
            println!("There may be more: --limit shows them");
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

fn not_found(sentence: &str) -> Result<ExitCode> {
    eprintln!("privacyd: {sentence}");
    Ok(ExitCode::FAILURE)
}

fn time(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(|_| "-".to_owned(), |at| at.to_string())
}
