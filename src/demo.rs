//! `privacyd demo`: the real corridor on sample mails in a folder of its own. No server, no network.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rust_embed::RustEmbed;

use crate::config::Config;
use crate::daemon::Daemon;
use crate::decide::CONFIRM;
use crate::message::Message;
use crate::operator::{as_called, grid, import_from, tell};
use crate::stop::Stop;
use crate::store::Store;
use crate::store::lookup::MessageRow;

#[derive(RustEmbed)]
#[folder = "demo/"]
struct Samples;

/// What the answer to a question is called among the mails.
const ANSWER: &str = "31-yes";

/// Makes the folder, fills it, runs until quiet and tells what happened.
///
/// # Errors
/// The folder exists already or cannot be written.
pub async fn run(dir: Option<PathBuf>) -> Result<()> {
    let dir = make_folder(dir)?;
    let mails = fill(&dir)?;
    let file = dir.join("privacyd.toml");
    std::fs::write(&file, configuration(&dir)).context("Cannot write the demo's configuration")?;
    let config = Config::load(&file)?;
    let begun = std::time::Instant::now();
    let daemon = Daemon::build(&config).await?;
    let store = daemon.intake.store.clone();
    let contacts = Samples::get("contacts.csv").context("The demo's contacts are missing")?;
    let imported = import_from(&store, contacts.data.as_ref(), |_, _| {}).await?;

    let mut daemon = daemon;
    for mailbox in &mut daemon.mailboxes {
        daemon.intake.pass(mailbox, &|| false).await?;
    }
    let mut pass = daemon.outbox.drain(&Stop::never()).await?;
    // One of the people who were asked whether a request is theirs answers.
    let answered = answer_a_question(&dir, &store).await?;
    for mailbox in &mut daemon.mailboxes {
        daemon.intake.pass(mailbox, &|| false).await?;
    }
    let now = jiff::Timestamp::now();
    daemon.work.pass(now, Some(now), &Stop::never()).await?;
    pass.sent += daemon.outbox.drain(&Stop::never()).await?.sent;
    daemon.intake.watch.record(&store).await?;
    let took = begun.elapsed();

    let all = mails + usize::from(answered.is_some());
    tell!("{all} mails went through the corridor in {} ms: {mails} samples,", took.as_millis());
    tell!("and the answer to one of the questions that they were asked.\n");
    let mut rows = Vec::new();
    let mut messages = store.messages(None, 1000).await?;
    messages.sort_by(|a, b| a.mail_id.cmp(&b.mail_id));
    for message in &messages {
        let (_, requests, replies) = store.message(message.id).await?.context("A row is gone")?;
        let done: Vec<String> =
            requests.iter().map(|r| format!("{} {} ({})", r.reference, r.kind, r.status)).collect();
        let reply =
            replies.first().map_or_else(|| "none".to_owned(), |r| format!("{} ({})", r.template, r.language));
        let name = message.mail_id.split_once('.').map_or(message.mail_id.as_str(), |(name, _)| name);
        let taken_for = match message.disposition.as_str() {
            "requests" => message.why.clone(),
            other => format!("{other}: {}", message.why),
        };
        rows.push(vec![name.to_owned(), taken_for, done.join("\n"), reply, message.folder.clone()]);
    }
    tell!("{}\n", grid(&["mail", "taken for, and why", "request", "reply", "filed in"], rows.into_iter()));
    let me = as_called(&file.display().to_string());
    let suppressions = store.suppressions("", 1000).await?;
    let suppressed: BTreeSet<&str> = suppressions.iter().map(|entry| entry.address.as_str()).collect();
    // The answer asks for nothing of its own.
    let is_sample = |message: &&MessageRow| !message.mail_id.starts_with(ANSWER);
    let samples = || messages.iter().filter(is_sample);
    let count = |word: &str| samples().filter(|message| message.disposition == word).count();
    tell!(
        "Of the samples, {} asked for something, {} were automatic, {} wait for a person, {} asked nothing, {} came twice.",
        count("requests"),
        count("automated"),
        count("review") + count("unreadable"),
        count("none"),
        count("duplicate"),
    );
    tell!(
        "{} replies written, {} addresses suppressed ({} entries: from marketing, targeted ads, or all use), {} contacts imported.\n",
        pass.sent,
        suppressed.len(),
        suppressions.len(),
        imported.new
    );
    let dir = dir.display();
    if let Some(reference) = answered {
        tell!(
            "{reference} could not be undone, so its sender was asked, and answered YES ({ANSWER}). Then it"
        );
        tell!("was carried out, and the answer says so:");
        tell!("  {me} requests show {reference}\n");
    }
    tell!("Where it all is:");
    tell!("  {dir}/Maildir       the mails, filed in folders by type (Maildir++)");
    tell!("  {dir}/replies       each reply as an .eml file");
    tell!("  {dir}/privacyd.db   the SQLite database");
    tell!("  {dir}/privacyd.toml the configuration\n");
    tell!("What to try next:");
    tell!("  {me} requests list --all");
    tell!("  {me} outbox list");
    tell!("  {me} suppressions list");
    tell!("  {me} classify {dir}/Maildir/.Opt-out");
    tell!("  put a mail of your own into {dir}/Maildir/new, then");
    tell!("  {me} run --once");
    store.close().await;
    Ok(())
}

/// Puts a YES to the first question about a deletion into the Maildir, as a mail program would write it;
/// answers the reference of the question, if there was one.
async fn answer_a_question(dir: &Path, store: &Store) -> Result<Option<String>> {
    let mut replies = store.replies(None, 1000).await?;
    replies.sort_by_key(|reply| reply.id);
    let Some(asked) = replies.into_iter().find(|reply| reply.template == CONFIRM) else { return Ok(None) };
    let id = &asked.rfc_message_id;
    let local = id.trim_start_matches('<').split('@').next().unwrap_or_default();
    let file = dir.join("replies").join(format!("{local}.eml"));
    let question = std::fs::read(&file).with_context(|| format!("Cannot read {}", file.display()))?;
    let parsed = Message::parse(&question).context("A reply of ours cannot be read")?;
    let quoted: String = parsed.text().lines().map(|line| format!("> {line}\n")).collect();
    let answer = format!(
        "From: {}\nTo: privacy@example.com\nSubject: Re: {}\nIn-Reply-To: {id}\nReferences: {id}\n\
         Message-ID: <31.yes@{}>\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\nYES\n\n\
         On Tue, 24 Nov 2026 at 09:00, Example Company <privacy@example.com> wrote:\n{quoted}",
        asked.recipient,
        parsed.subject(),
        asked.recipient.split_once('@').map_or("example.org", |(_, domain)| domain),
    );
    std::fs::write(dir.join(format!("Maildir/new/{ANSWER}.demo")), answer)
        .context("Cannot write the answer")?;
    Ok(Some(asked.reference))
}

/// The folder of the demonstration: the one that was named, or a fresh one in the temporary folder.
fn make_folder(dir: Option<PathBuf>) -> Result<PathBuf> {
    if let Some(dir) = dir {
        std::fs::create_dir_all(dir.parent().unwrap_or(Path::new(".")))
            .context("Cannot make the demo's folder")?;
        std::fs::create_dir(&dir)
            .with_context(|| format!("Cannot make {}: name a folder that is not there yet", dir.display()))?;
        return dir.canonicalize().context("Cannot find the demo's folder");
    }
    for number in 1..1000 {
        let dir = std::env::temp_dir().join(format!("privacyd-demo-{number}"));
        match std::fs::create_dir(&dir) {
            Ok(()) => return Ok(dir),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("Cannot make {}", dir.display())),
        }
    }
    anyhow::bail!("There are a thousand demo folders already: name one with --dir")
}

/// Puts the sample mails into a Maildir; answers how many.
fn fill(dir: &Path) -> Result<usize> {
    let new = dir.join("Maildir/new");
    for folder in ["Maildir/new", "Maildir/cur", "Maildir/tmp", "replies"] {
        std::fs::create_dir_all(dir.join(folder)).context("Cannot make the demo's Maildir")?;
    }
    let mut count = 0;
    for name in Samples::iter().filter(|name| name.ends_with(".eml")) {
        let sample = Samples::get(&name).context("A sample mail is missing")?;
        let stem = name.trim_end_matches(".eml");
        std::fs::write(new.join(format!("{stem}.demo")), &sample.data)
            .context("Cannot write a sample mail")?;
        count += 1;
    }
    Ok(count)
}

fn configuration(dir: &Path) -> String {
    // A debug string is a TOML basic string for every path that is UTF-8.
    let path = |name: &str| format!("{:?}", dir.join(name).display().to_string());
    format!(
        r#"# The demonstration's configuration.
database = {}
own_addresses = ["privacy@example.com", "privacy@example.net"]

[company]
name = "Example Company"
privacy_policy_url = "https://www.example.com/privacy"
preferences_url = "https://www.example.com/ad-choices"
blog_host_contact = "https://blog.example.net/contact"

[authentication]
authserv_ids = ["mx.example.com"]

# The contacts are all the data there are. What is confirmed is erased at once, to have something to see.
[[source]]
name = "Contacts"
local = true

[erasure]
delay = "0s"

[log]
level = "warn"

[[maildir]]
name = "demo"
path = {}

[directory]
path = {}
"#,
        path("privacyd.db"),
        path("Maildir"),
        path("replies"),
    )
}
