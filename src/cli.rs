//! The command line: what can be said to privacyd, and its help.

use std::convert::Infallible;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};

use jiff::civil::Date;

use crate::chain::Hash;
use crate::clock::Reason;
use crate::evidence::{is_authserv_id, is_receiving_host};
use crate::ladder::{Denial, Status};
use crate::sender::{Address, NotAnAddress};
use crate::source::{KEPT_WHAT, KEPT_WHY};

/// Where the configuration is when nobody says.
pub const DEFAULT_CONFIG: &str = "/etc/privacyd/privacyd.toml";

/// The daemon that runs a company's privacy@ mailbox.
#[derive(Debug, Parser)]
#[command(
    name = "privacyd",
    version,
    about,
    propagate_version = true,
    after_help = "Exit codes:\n  0  done\n  1  failed, or not all of it done, or the answer is no, as of `status` and `suppressions check`\n  2  a mistake in the command line, the configuration, a rule or a template"
)]
pub struct Cli {
    /// The configuration file.
    #[arg(
        long,
        short,
        global = true,
        env = "PRIVACYD_CONFIG",
        default_value = DEFAULT_CONFIG
    )]
    pub config: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What privacyd can be told to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch the mailboxes and answer, until SIGTERM.
    #[command(after_help = "Example:\n  privacyd run --config /etc/privacyd/privacyd.toml")]
    Run {
        /// One full pass in and out, then exit.
        #[arg(long)]
        once: bool,
    },
    /// Check the configuration, rules and templates, and log in to every server. Changes nothing.
    #[command(
        after_help = "Examples:\n  privacyd check --config ./privacyd.toml\n  privacyd check --backup /var/backups/privacyd.db"
    )]
    Check {
        /// Do not connect to any server.
        #[arg(long)]
        offline: bool,
        /// Check this backup instead: the file, its schema and its event log. Needs no configuration. Exits 1 if
        /// it is damaged.
        #[arg(long, value_name = "FILE", conflicts_with = "offline")]
        backup: Option<PathBuf>,
    },
    /// Whether all is well: when each mailbox was last read, what waits, is overdue or has failed, and whether a
    /// daemon runs. Exits 0 if all is well, 1 if something is wrong.
    #[command(after_help = "Examples:\n  privacyd status\n  privacyd status --json | jq .wrong")]
    Status {
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Look through the inbox, the folders that mail is filed in, and what the server takes for junk, for mail
    /// that the ledger does not account for. What is found is recorded; requests among junk are held for a
    /// person. The daemon does the same every night. Exits 1 if there was any that was not accounted for.
    #[command(after_help = "Example:\n  privacyd reconcile --json")]
    Reconcile {
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Copy the database into a new file, while the daemon runs. A daemon that is started with the copy answers
    /// nothing before `recovery end`. The copy is full of personal data.
    #[command(after_help = "Example:\n  privacyd backup /var/backups/privacyd-$(date +%F).db")]
    Backup {
        /// The file to write; one that exists is refused.
        file: PathBuf,
    },
    /// Put a backup in the place of the database, while no daemon runs. The backup is checked first; what is there is
    /// kept under another name. Nothing is answered or carried out before `recovery end`.
    #[command(after_help = "Example:\n  privacyd restore /var/backups/privacyd-2026-11-28.db")]
    Restore {
        /// A file that `backup` has written.
        file: PathBuf,
    },
    /// Times in which nothing is answered or carried out, as after a loss of the database.
    #[command(subcommand)]
    Recovery(Recovery),
    /// Show what mails would be taken for, and who is proven to have written them. Touches nothing, needs
    /// no configuration.
    #[command(
        after_help = "Examples:\n  privacyd classify letter.eml\n  privacyd classify --authserv-id mx.example.com letter.eml\n  privacyd classify --json ~/Maildir\n  find . -name '*.eml' | privacyd classify --json --files-from -\n  privacyd classify --compare - ./rules ~/Maildir"
    )]
    Classify(Classify),
    /// Show the whole thing at work on sample mails in a new folder.
    #[command(after_help = "Example:\n  privacyd demo --dir /tmp/privacyd-demo")]
    Demo {
        /// The folder to make. Default: privacyd-demo-1 in the temporary folder, or the next free number.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Write a commented configuration to start from.
    #[command(after_help = "Example:\n  privacyd init ./privacyd.toml")]
    Init {
        /// The file to write; never overwritten.
        #[arg(default_value = "privacyd.toml")]
        file: PathBuf,
    },
    /// Print the List-Unsubscribe field that a newsletter to an address needs: a mail to what it names opts
    /// the address out, whoever sends that mail.
    #[command(
        after_help = "Examples:\n  privacyd token jane@example.com\n  privacyd token --json - < subscribers.txt > fields.jsonl"
    )]
    Token(Token),
    /// Requests that people have made.
    #[command(subcommand)]
    Requests(Requests),
    /// Mails in the ledger.
    #[command(subcommand)]
    Messages(Messages),
    /// Replies on their way, and what became of them.
    #[command(subcommand)]
    Outbox(OutboxCommand),
    /// Addresses that get no more marketing or targeted advertising.
    #[command(subcommand)]
    Suppressions(Suppressions),
    /// People the company knows.
    #[command(subcommand)]
    Contacts(Contacts),
    /// Purge records of requests that were closed long ago, and the text of replies about them, as `[retention]` of
    /// the configuration says. The daemon does the same once a day. The event log's hashes and what mails are
    /// known by stay.
    #[command(after_help = "Example:\n  privacyd purge --dry-run")]
    Purge {
        /// Only count what would be purged.
        #[arg(long)]
        dry_run: bool,
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Count the requests that were received from one day to another: what became of them and in how many
    /// days, by type (11 CCR 7102), and what is open now by due date.
    #[command(
        after_help = "Examples:\n  privacyd report --from 2026-01-01 --to 2026-12-31\n  privacyd report --from 2026-01-01 --to 2026-12-31 --html report-2026.html"
    )]
    Report(Report),
    /// The event log: whether it is still the one that was written.
    #[command(subcommand)]
    Audit(Audit),
    /// Notices to everybody the company knows, such as that its privacy policy has changed.
    #[command(subcommand)]
    Notice(Notice),
    /// People who were erased.
    #[command(subcommand)]
    Deletions(Deletions),
}

/// `privacyd classify`
#[derive(Debug, Args)]
pub struct Classify {
    /// One JSON object a line instead of an explanation.
    #[arg(long)]
    pub json: bool,
    /// Read more paths from this file, one a line; "-" is standard input.
    #[arg(long, value_name = "FILE")]
    pub files_from: Option<PathBuf>,
    /// A folder of rule files over the built-in ones; "-" is those alone. Default: the configuration's, where
    /// there is one.
    #[arg(long, value_name = "DIR")]
    pub rules: Option<PathBuf>,
    /// Show only the mails that two folders of rule files take for different things, the old verdict and the
    /// new; "-" is the built-in rules alone. Exit code 0 when there is none, 1 when there is one.
    #[arg(long, value_names = ["OLD_RULES", "NEW_RULES"], num_args = 2, conflicts_with = "rules")]
    pub compare: Vec<PathBuf>,
    /// An address that is ours, beside those of the configuration; mail from it is "own". May be given several times.
    #[arg(long = "own", value_name = "ADDRESS")]
    pub own: Vec<Address>,
    /// A receiving server of ours, by its name in Authentication-Results. May be given several times.
    /// Default: the configuration's, where there is one.
    #[arg(long = "authserv-id", value_name = "ID", value_parser = authserv_id)]
    pub authserv_ids: Vec<String>,
    /// A receiving server of ours, by its name behind "by" in Received. May be given several times.
    /// Default: the configuration's, or the names given as --authserv-id.
    #[arg(long, value_name = "HOST", value_parser = receiving_host)]
    pub received_by: Vec<String>,
    /// .eml files, folders of them, and Maildirs; "-" is one mail on standard input.
    pub paths: Vec<PathBuf>,
}

fn date(text: &str) -> Result<Date, &'static str> {
    text.parse().map_err(|_| "not a day such as 2026-01-31")
}

fn authserv_id(text: &str) -> Result<String, &'static str> {
    is_authserv_id(text).then(|| text.to_owned()).ok_or("not a name such as \"mx.example.com\"")
}

fn receiving_host(text: &str) -> Result<String, &'static str> {
    is_receiving_host(text).then(|| text.to_owned()).ok_or("not a host name or an address")
}

/// `privacyd token`
#[derive(Debug, Args)]
pub struct Token {
    /// One JSON object a line: address, token, mailto, header.
    #[arg(long)]
    pub json: bool,
    /// The address that the newsletter goes to; "-" reads one address a line from standard input.
    #[arg(value_parser = addresses)]
    pub address: Addresses,
}

/// One address, or those on standard input.
#[derive(Debug, Clone)]
pub enum Addresses {
    /// This one.
    One(Address),
    /// One a line.
    StandardInput,
}

fn addresses(text: &str) -> Result<Addresses, NotAnAddress> {
    if text == "-" { Ok(Addresses::StandardInput) } else { text.parse().map(Addresses::One) }
}

/// How much, and in what form.
#[derive(Debug, Args)]
pub struct Listing {
    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,
    /// At the most so many.
    #[arg(long, default_value_t = 50)]
    pub limit: u32,
}

/// `privacyd requests`
#[derive(Debug, Subcommand)]
pub enum Requests {
    /// Those that are open, the soonest due first.
    #[command(
        after_help = "Examples:\n  privacyd requests list --status approved\n  privacyd requests list --type access --all"
    )]
    List {
        /// Only those of this status, open or closed.
        #[arg(long, value_parser = Status::ALL.map(Status::name))]
        status: Option<String>,
        /// Closed ones as well.
        #[arg(long, conflicts_with = "status")]
        all: bool,
        /// Only those of this type, as `privacyd check` lists them, or "unclear".
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
        /// How much, and in what form.
        #[command(flatten)]
        listing: Listing,
    },
    /// One request and its history.
    #[command(after_help = "Example:\n  privacyd requests show PR-7F3K2M")]
    Show {
        /// Its reference.
        #[arg(value_parser = reference)]
        reference: String,
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Write all there is about one request into a new folder: its fields, its history with hashes, the replies
    /// as they were sent, and the arithmetic of its clocks. It is full of personal data.
    #[command(after_help = "Example:\n  privacyd requests evidence PR-7F3K2M --output ./PR-7F3K2M")]
    Evidence {
        /// Its reference.
        #[arg(value_parser = reference)]
        reference: String,
        /// The folder to make; one that exists is refused.
        #[arg(long, value_name = "FOLDER")]
        output: PathBuf,
    },
    /// Ask every system for its part of the copy that a request asks for, and write it into a new folder, as JSON and
    /// as text. For a copy that is too large for a mail: hand it over by another way, and complete the request.
    #[command(after_help = "Example:\n  privacyd requests copy PR-7F3K2M --output ./PR-7F3K2M")]
    Copy {
        /// Its reference.
        #[arg(value_parser = reference)]
        reference: String,
        /// The folder to make; one that exists is refused.
        #[arg(long, value_name = "FOLDER")]
        output: PathBuf,
    },
    /// By when a request is due and why, step by step, and what is done already.
    #[command(after_help = "Example:\n  privacyd requests explain PR-7F3K2M")]
    Explain {
        /// Its reference.
        #[arg(value_parser = reference)]
        reference: String,
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Put off by when a request is due, once, where a law allows it, and send its sender the notice. It has
    /// to go out within the first period.
    #[command(after_help = "Example:\n  privacyd requests extend PR-7F3K2M --reason complexity")]
    Extend {
        /// Its reference.
        #[arg(value_parser = reference)]
        reference: String,
        /// Why: the notice puts it into words, in the language of the request. The GDPR knows the first two.
        #[arg(long, value_parser = PossibleValuesParser::new(Reason::ALL.map(Reason::name)).map(|name| Reason::parse(&name).unwrap_or(Reason::Other)))]
        reason: Reason,
    },
    /// Let a request be carried out that is held or waits for proof: your word is its proof.
    #[command(
        after_help = "Examples:\n  privacyd requests approve PR-7F3K2M\n  privacyd requests approve PR-7F3K2M --proof 2\n  privacyd requests approve PR-7F3K2M --for jane@example.org"
    )]
    Approve {
        /// Which, and how the answer looks.
        #[command(flatten)]
        one: One,
        /// The step of the ladder of proof that you have seen. Default: the one its type asks for. Of a copy of
        /// the data, a step below 3 is good for categories only.
        #[arg(long, value_name = "STEP", value_parser = clap::value_parser!(u8).range(0..=3))]
        proof: Option<u8>,
        /// Whose data it is about, where somebody else has written, such as an agent, or the writer's own address. It
        /// is asked to confirm the request, unless --proof says what you have seen.
        #[arg(long = "for", value_name = "ADDRESS")]
        subject: Option<Address>,
    },
    /// Decline a request, and tell its sender why, in fixed words, and where to complain.
    #[command(after_help = "Example:\n  privacyd requests deny PR-7F3K2M --reason no_match")]
    Deny {
        /// Which, and how the answer looks.
        #[command(flatten)]
        one: One,
        /// Why: the reply puts it into words, in the language of the request.
        #[arg(long, value_parser = PossibleValuesParser::new(Denial::ALL.map(Denial::name)).map(|name| Denial::parse(&name).unwrap_or(Denial::Other)))]
        reason: Denial,
    },
    /// Stop a request until you release it. Its clock runs on.
    #[command(
        after_help = "Example:\n  privacyd requests hold PR-7F3K2M --reason 'legal hold, asked on 24 Nov'"
    )]
    Hold {
        /// Which, and how the answer looks.
        #[command(flatten)]
        one: One,
        /// Why, in your own words, for its history alone; 500 characters at the most.
        #[arg(long, value_name = "TEXT", value_parser = operators_words)]
        reason: Option<String>,
    },
    /// Let a held request go on: approved if its proof has come, otherwise it waits for it again.
    #[command(after_help = "Example:\n  privacyd requests release PR-7F3K2M")]
    Release {
        /// Which, and how the answer looks.
        #[command(flatten)]
        one: One,
    },
    /// Say what a request asks for. It goes on as if its mail had been understood so: an opt-out is done at
    /// once, a deletion is asked for confirmation.
    #[command(after_help = "Example:\n  privacyd requests reclassify PR-7F3K2M deletion")]
    Reclassify {
        /// Which, and how the answer looks.
        #[command(flatten)]
        one: One,
        /// The type, as `privacyd check` lists them.
        #[arg(value_name = "TYPE")]
        kind: String,
    },
    /// Say what you have done with a request in a system that does not do it by itself, or has given it up. When
    /// that was the last one, its sender is told, system by system.
    #[command(
        after_help = "Examples:\n  privacyd requests done PR-7F3K2M Shop\n  privacyd requests done PR-7F3K2M Shop --kept invoices --why tax_law\n  privacyd requests done PR-7F3K2M Shop --data ./jane.json"
    )]
    Done {
        /// Which, and how the answer looks.
        #[command(flatten)]
        one: One,
        /// The system, as `privacyd requests show` calls it.
        #[arg(value_name = "SYSTEM")]
        system: String,
        /// There was nothing of this person, or nothing any more.
        #[arg(long, conflicts_with_all = ["kept", "failed", "data"])]
        nothing: bool,
        /// Done, but for this, which is kept; each with its own --why.
        #[arg(long, value_name = "WHAT", value_parser = KEPT_WHAT, requires = "why", conflicts_with = "failed")]
        kept: Vec<String>,
        /// Why that is kept: the letter puts both into words, in the language of the request.
        #[arg(long, value_name = "WHY", value_parser = KEPT_WHY, requires = "kept")]
        why: Vec<String>,
        /// It cannot be done: the letter says so, and the request is complied with in part.
        #[arg(long, conflicts_with = "data")]
        failed: bool,
        /// Of a copy: what the system holds, a file with one JSON object.
        #[arg(long, value_name = "FILE")]
        data: Option<PathBuf>,
    },
    /// Close a request that a person has carried out, and told. No mail goes out.
    ///
    /// With --set it is said what an approved correction is to change, where its mails say nothing certain. Then
    /// it is not closed yet: every system, privacyd's own contacts among them, gets the change by the next look at
    /// the work, and the mail that completes it tells its sender what was changed. A field that nobody knows is
    /// refused, and nothing is changed (exit code 1).
    #[command(
        after_help = "Examples:\n  privacyd requests complete PR-7F3K2M\n  privacyd requests complete PR-7F3K2M --set name='Jane Doe' --set phone='030 2'"
    )]
    Complete {
        /// Which, and how the answer looks.
        #[command(flatten)]
        one: One,
        /// A field that the person's contact or correction.fields has, and its new value; may be repeated. Of a
        /// correction alone.
        #[arg(long, value_name = "FIELD=VALUE", value_parser = crate::correction::assignment)]
        set: Vec<(String, String)>,
        /// The same for a field that neither has, but another system of yours, spelt as that calls it.
        #[arg(long, value_name = "FIELD=VALUE", value_parser = crate::correction::assignment)]
        new_field: Vec<(String, String)>,
    },
    /// Close a request that its sender has taken back. No mail goes out.
    #[command(after_help = "Example:\n  privacyd requests withdraw PR-7F3K2M")]
    Withdraw {
        /// Which, and how the answer looks.
        #[command(flatten)]
        one: One,
    },
    /// Write something into the history of a request, for `requests show` alone.
    #[command(
        after_help = "Example:\n  privacyd requests note PR-7F3K2M 'called back, wants the invoices kept'"
    )]
    Note {
        /// Which, and how the answer looks.
        #[command(flatten)]
        one: One,
        /// Your words; 500 characters at the most.
        #[arg(value_parser = operators_words)]
        text: String,
    },
}

/// One request that something is done with.
#[derive(Debug, Args)]
pub struct One {
    /// Its reference.
    #[arg(value_parser = reference)]
    pub reference: String,
    /// Say what has become of it as one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// A reference as it is stored: people write and read it aloud in small letters too.
fn reference(text: &str) -> Result<String, Infallible> {
    Ok(text.trim().to_uppercase())
}

/// Words of the operator's for a history that is read line by line.
fn operators_words(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    match text.chars().count() {
        0 => Err("there is not a word in it"),
        1..=500 if text.chars().any(char::is_control) => Err("one line, without control characters"),
        1..=500 => Ok(text.to_owned()),
        _ => Err("longer than 500 characters"),
    }
}

/// `privacyd messages`
#[derive(Debug, Subcommand)]
pub enum Messages {
    /// The latest first.
    #[command(after_help = "Example:\n  privacyd messages list --to-read")]
    List {
        /// Only those.
        #[arg(long, value_parser = ["requests", "automated", "review", "none", "unreadable", "duplicate"])]
        disposition: Option<String>,
        /// Only those that got no reply because a bound of the configuration was reached.
        #[arg(long, conflicts_with = "disposition")]
        unanswered: bool,
        /// Only those that a person must read and that no request stands for, the oldest first, until `messages read`.
        #[arg(long, conflicts_with_all = ["disposition", "unanswered"])]
        to_read: bool,
        /// How much, and in what form.
        #[command(flatten)]
        listing: Listing,
    },
    /// You have read these mails, and done what they ask for: status and digest name them no more, and an erasure or a
    /// closing that waited for them begins. Hold or withdraw that first where one speaks against it.
    #[command(after_help = "Example:\n  privacyd messages read 17 19")]
    Read {
        /// Their numbers in the list.
        #[arg(required_unless_present = "all")]
        ids: Vec<i64>,
        /// All that are to be read now.
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
    /// Say what a mail asks for in which nothing was found: a request is opened, and goes on as if its mail had been
    /// understood so.
    #[command(after_help = "Example:\n  privacyd messages reclassify 17 access")]
    Reclassify {
        /// Its number in the list.
        id: i64,
        /// The type, as `privacyd check` lists them.
        #[arg(value_name = "TYPE")]
        kind: String,
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// One mail, what it asked for and what was answered.
    #[command(after_help = "Example:\n  privacyd messages show 17")]
    Show {
        /// Its number in the list.
        id: i64,
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// `privacyd outbox`
#[derive(Debug, Subcommand)]
pub enum OutboxCommand {
    /// The latest first.
    #[command(after_help = "Example:\n  privacyd outbox list --state unknown")]
    List {
        /// Only those.
        #[arg(long, value_parser = ["queued", "transmitting", "deferred", "sent", "bounced", "unknown"])]
        state: Option<String>,
        /// How much, and in what form.
        #[command(flatten)]
        listing: Listing,
    },
    /// Send a reply again that bounced, waits, or is of unknown fate. The code of a question is not kept so long:
    /// `requests hold` and `requests release` put it anew.
    #[command(after_help = "Example:\n  privacyd outbox retry 17")]
    Retry {
        /// Its number in the list.
        id: i64,
    },
    /// Say what became of a reply of unknown fate, where you know it, as from the server's log.
    #[command(after_help = "Example:\n  privacyd outbox settle 17 --sent")]
    Settle {
        /// Its number in the list.
        id: i64,
        /// It was delivered.
        #[arg(long, required_unless_present = "lost", conflicts_with = "lost")]
        sent: bool,
        /// It was not, and is not to be sent again: what it asked or told waits for a person.
        #[arg(long)]
        lost: bool,
    },
}

/// What an address may be suppressed from; `restricted`: all use of what is held of it.
const KINDS: [&str; 3] = ["marketing", "targeted_ads", "restricted"];

/// `privacyd suppressions`
#[derive(Debug, Subcommand)]
pub enum Suppressions {
    /// All of them, in order of address.
    #[command(after_help = "Example:\n  privacyd suppressions list --json > suppressed.jsonl")]
    List {
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Suppress an address.
    #[command(after_help = "Example:\n  privacyd suppressions add jane@example.com")]
    Add {
        /// The address.
        address: Address,
        /// From what.
        #[arg(long, default_value = "marketing", value_parser = KINDS)]
        kind: String,
    },
    /// Take an address off the list.
    #[command(after_help = "Example:\n  privacyd suppressions remove jane@example.com")]
    Remove {
        /// The address.
        address: Address,
        /// From what.
        #[arg(long, default_value = "marketing", value_parser = KINDS)]
        kind: String,
    },
    /// Write the list for another system to standard output: CSV with the columns address, kind, since, in
    /// order of address. Addresses are in lower case, without blanks, and that is also what is hashed. An
    /// opt-out that was made before an erasure stays in it.
    #[command(
        after_help = "Examples:\n  privacyd suppressions export > suppressed.csv\n  privacyd suppressions export --kind marketing --hash sha256 > for-the-advertiser.csv\n  privacyd suppressions export --hash hmac --key-file ./shared-key > for-the-agency.csv"
    )]
    Export(Export),
    /// Say whether an address is on the list, or was erased: exit code 0 if so, 1 if not.
    #[command(
        after_help = "Example:\n  privacyd suppressions check jane@example.com || send-newsletter jane@example.com"
    )]
    Check {
        /// The address.
        address: Address,
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// `privacyd report`
#[derive(Debug, Args)]
pub struct Report {
    /// The first day, such as 2026-01-01, in the configuration's time zone.
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub from: Date,
    /// The last day.
    #[arg(long, value_name = "DATE", value_parser = date)]
    pub to: Date,
    /// As one JSON object.
    #[arg(long, conflicts_with = "html")]
    pub json: bool,
    /// Write one HTML file with charts, and nothing in it from elsewhere; never over another file.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// `privacyd audit`
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Work out every hash of the event log anew: what was changed, taken out, put in or moved is found, and
    /// the first of it named. Exit code 0 if all is sound, 1 if not.
    #[command(
        after_help = "Examples:\n  privacyd audit verify\n  privacyd audit verify --head \"$(cat head-of-last-month)\""
    )]
    Verify {
        /// A hash that `audit head` printed earlier: it must still be in the chain, so nothing of what there
        /// was then was cut off or written anew.
        #[arg(long, value_name = "HASH", value_parser = hash)]
        head: Option<Hash>,
        /// As one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Print the newest hash of the event log. Keep it where nobody can reach it who can write the database.
    #[command(after_help = "Example:\n  privacyd audit head | mail -s \"privacyd head\" auditor@example.com")]
    Head {
        /// As one JSON object, with the id of its event.
        #[arg(long)]
        json: bool,
    },
}

fn hash(text: &str) -> Result<Hash, &'static str> {
    let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).ok();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or("not the 64 hexadecimal digits of `audit head`")
}

/// `privacyd suppressions export`
#[derive(Debug, Args)]
pub struct Export {
    /// Only those.
    #[arg(long, value_parser = KINDS)]
    pub kind: Option<String>,
    /// The hash of each address, in lower-case hexadecimal, in place of the address.
    #[arg(long)]
    pub hash: Option<Hiding>,
    /// The key of --hash hmac: the first line of this file as it stands, at least 32 bytes.
    #[arg(long, value_name = "FILE", requires = "hash")]
    pub key_file: Option<PathBuf>,
}

/// How addresses are hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Hiding {
    /// SHA-256. Whoever guesses an address can tell whether it is in the list.
    Sha256,
    /// HMAC-SHA-256: only who has the key can.
    Hmac,
}

/// `privacyd notice`
#[derive(Debug, Subcommand)]
pub enum Notice {
    /// Queue a notice to every contact, also to those who have opted out of marketing: a legal notice is none.
    /// The running daemon sends it. Under the same name nobody gets it twice: run again, it goes on where it
    /// was, and adds contacts that are new.
    #[command(
        after_help = "Examples:\n  privacyd notice send --template policy-change --dry-run\n  privacyd notice send --template policy-change --name policy-2026 --rate 600/min"
    )]
    Send(NoticeSend),
    /// How far notices have come.
    #[command(after_help = "Example:\n  privacyd notice status policy-2026 --json")]
    Status {
        /// Only this one.
        name: Option<String>,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Stop a notice. What has been sent is sent.
    #[command(after_help = "Example:\n  privacyd notice cancel policy-2026")]
    Cancel {
        /// Its name.
        name: String,
    },
}

/// `privacyd notice send`
#[derive(Debug, Args)]
pub struct NoticeSend {
    /// The template: policy-change, or one of your own with a hyphen in its name. The contact's field
    /// "language" chooses the language.
    #[arg(long)]
    pub template: String,
    /// What to call the notice. Default: the template and today's date.
    #[arg(long, value_parser = notice_name)]
    pub name: Option<String>,
    /// How many mails a minute, at the most.
    #[arg(long, value_name = "N/min", default_value = "100/min", value_parser = rate)]
    pub rate: u32,
    /// Queue nothing; say who would get it, and show the text.
    #[arg(long)]
    pub dry_run: bool,
}

fn notice_name(text: &str) -> Result<String, &'static str> {
    let is_sound = (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if is_sound { Ok(text.to_owned()) } else { Err("use 1 to 64 letters, digits, '-', '_' and '.'") }
}

fn rate(text: &str) -> Result<u32, &'static str> {
    let number = text.strip_suffix("/min").unwrap_or(text);
    let rate = number.trim().parse::<u32>().ok().filter(|rate| (1..=100_000).contains(rate));
    rate.ok_or("write it as 100/min, from 1/min to 100000/min")
}

/// `privacyd recovery`
#[derive(Debug, Subcommand)]
pub enum Recovery {
    /// From now on record all mail, and answer and carry out nothing. A daemon that runs obeys at once.
    #[command(after_help = "Example:\n  privacyd recovery begin")]
    Begin,
    /// Go on as usual with the mail that comes from now on. What came meanwhile stays held for a person. Open
    /// requests from before are held, and replies that were queued before become of unknown fate: the database
    /// that is lost may have dealt with them.
    #[command(after_help = "Examples:\n  privacyd recovery end\n  privacyd recovery end --up-to-date")]
    End {
        /// Nothing is lost, as after moving to another machine: what was open and queued before goes on.
        #[arg(long)]
        up_to_date: bool,
    },
}

/// `privacyd deletions`
#[derive(Debug, Subcommand)]
pub enum Deletions {
    /// Print the tombstones of erased addresses, to be kept outside of the database: a backup of it does not
    /// know what was erased later. They are keyed hashes; nobody can tell from them who it was.
    #[command(after_help = "Example:\n  privacyd deletions export > /var/backups/privacyd-tombstones")]
    Export,
    /// After a backup was restored: name the contacts that were erased and are back, and erase them again.
    #[command(
        after_help = "Examples:\n  privacyd deletions replay --dry-run\n  privacyd deletions replay --from /var/backups/privacyd-tombstones"
    )]
    Replay {
        /// What `deletions export` wrote of the same installation; its tombstones are taken over first.
        #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
        from: Option<PathBuf>,
        /// Erase nothing.
        #[arg(long)]
        dry_run: bool,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
}

/// `privacyd contacts`
#[derive(Debug, Subcommand)]
pub enum Contacts {
    /// Add or update contacts from a CSV file whose first line names the columns, one of them
    /// "email" or "address". Bad lines are reported, the rest is imported; but nobody who was erased. Exits 1 if a
    /// line was left out.
    #[command(after_help = "Example:\n  privacyd contacts import customers.csv")]
    Import {
        /// The file.
        file: PathBuf,
    },
}
