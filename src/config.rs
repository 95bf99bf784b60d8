//! The configuration: one TOML file, read once, checked wholly before anything starts.
//!
//! A mistake is one sentence with file, line, key and remedy. Secrets are never in the file: a key
//! names where the secret is (a file, a systemd credential, an environment variable), and [`Secret`]
//! has no way to be printed.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::de::{MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use toml::de::{DeTable, DeValue};

use crate::copy::Withheld;
use crate::correction::{is_field, spoken};
use crate::evidence::{Trust, is_authserv_id, is_receiving_host};
use crate::request::Verb;
use crate::sender::Address;

/// The whole configuration as it is in the file, checked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The SQLite database. Created when missing; its folder must exist.
    pub database: PathBuf,
    /// How long a mailbox rests between two looks for new mail. Default 30s.
    #[serde(default = "default_poll_interval", deserialize_with = "duration")]
    pub poll_interval: Duration,
    /// Every address that is ours. Mail from one of them is never answered; the first one answers.
    #[serde(deserialize_with = "addresses")]
    pub own_addresses: Vec<Address>,
    /// Language of a reply when the mail's own cannot be told, or has no template. Default "en".
    #[serde(default = "default_language")]
    pub language: String,
    /// A folder of rule files that replace or add to the built-in ones, file by file.
    #[serde(default)]
    pub rules: Option<PathBuf>,
    /// A folder of templates that replace or add to the built-in ones, file by file.
    #[serde(default)]
    pub templates: Option<PathBuf>,
    /// What replies say of the company.
    pub company: Company,
    /// What the log looks like.
    #[serde(default)]
    pub log: Log,
    /// Bounds on what one mail, one window and one person may use.
    #[serde(default)]
    pub limits: Limits,
    /// How people show that a request is theirs.
    #[serde(default)]
    pub proof: ProofConfig,
    /// Which laws run, and by which calendar.
    #[serde(default)]
    pub clock: ClockConfig,
    /// Who is told what runs short of time.
    #[serde(default)]
    pub admin: Admin,
    /// A mail to ourselves at an interval. Default none.
    #[serde(default)]
    pub canary: Option<CanaryConfig>,
    /// Numbers for Prometheus. Default none.
    #[serde(default)]
    pub metrics: Option<MetricsConfig>,
    /// How long what is done with is kept.
    #[serde(default)]
    pub retention: Retention,
    /// Whom to believe about who wrote a mail.
    #[serde(default)]
    pub authentication: Authentication,
    /// The names of the folders mail is filed in.
    #[serde(default)]
    pub folders: Folders,
    /// Unsubscribe tokens. Without keys there are none.
    #[serde(default)]
    pub unsubscribe: Unsubscribe,
    /// The company's systems that hold people's data. Without any, a person carries requests out.
    #[serde(default)]
    pub source: Vec<SourceConfig>,
    /// How data is erased.
    #[serde(default)]
    pub erasure: Erasure,
    /// How a copy of the data is handed out.
    #[serde(default)]
    pub copy: CopyConfig,
    /// What may be corrected by mail. Without it a person corrects.
    #[serde(default)]
    pub correction: CorrectionConfig,
    /// What was passed on to third parties. Without it a person tells.
    #[serde(default)]
    pub disclosure: Disclosure,
    /// Mailboxes read over IMAP.
    #[serde(default)]
    pub imap: Vec<ImapConfig>,
    /// Mailboxes that are a Maildir on this machine.
    #[serde(default)]
    pub maildir: Vec<MaildirConfig>,
    /// The server that takes our replies.
    #[serde(default)]
    pub smtp: Option<SmtpConfig>,
    /// Instead of `smtp`: a folder that gets each reply as an .eml file. For trying things out.
    #[serde(default)]
    pub directory: Option<DirectoryConfig>,
    /// The file itself, to name the line of a mistake that shows only beside other files.
    #[serde(skip)]
    pub file: ConfigFile,
}

/// The file a configuration was read from.
#[derive(Debug, Clone, Default)]
pub struct ConfigFile {
    /// Its name, for messages.
    pub name: String,
    /// What is in it. There are no secrets in it.
    pub text: String,
}

impl ConfigFile {
    /// A mistake at the key at `path`; see [`line_of`].
    pub fn mistake(&self, path: &[&str], message: String) -> FileError {
        FileError { file: self.name.clone(), line: line_of(&self.text, path), message }
    }
}

/// What replies say of the company.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Company {
    /// The name that signs every reply.
    pub name: String,
    /// Where the privacy policy can be read.
    #[serde(default)]
    pub privacy_policy_url: Option<String>,
    /// Where a person chooses which advertisements to see.
    #[serde(default)]
    pub preferences_url: Option<String>,
    /// Whom to ask about comments on the company's blog.
    #[serde(default)]
    pub blog_host_contact: Option<String>,
}

/// What the log looks like. It goes to standard error.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// "text" (the default), or "json": one object a line.
    pub format: LogFormat,
    /// "error", "warn", "info" (the default), "debug" or "trace".
    pub level: LogLevel,
}

/// Shape of a log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A readable line.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// Bounds on what one mail, one window and one person may use.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// A longer mail is recorded and held for a person, and only its first 16 KiB fetched, to
    /// know it again by. Default 50 MB.
    pub max_message_size: ByteSize,
    /// Of a longer mail only so many bytes are fetched and read. Default 1 MB.
    pub read_limit: ByteSize,
    /// Replies that one address gets in 24 hours at the most, and upon the mails of one sender. Default 10.
    pub replies_per_day: u32,
    /// Replies in 24 hours to readers of whom nothing is proven, a Reply-To that is not From among them: to one
    /// domain. Default 200.
    pub unproven_replies_per_domain: u32,
    /// The same, to everybody together. Default 2000.
    pub unproven_replies_in_all: u32,
    /// Replies of ours in one thread, after which a person has to go on: two machines that answer each
    /// other must end. Default 6.
    pub replies_per_thread: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message_size: ByteSize::mb(50),
            read_limit: ByteSize::mb(1),
            replies_per_day: 10,
            unproven_replies_per_domain: 200,
            unproven_replies_in_all: 2000,
            replies_per_thread: 6,
        }
    }
}

/// How people show that a request is theirs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProofConfig {
    /// How long a one-time code is good for; half-way a reminder goes out. Default 14d, at least 7d
    /// (11 CCR 7060 leaves no room for less).
    #[serde(deserialize_with = "duration")]
    pub valid_for: Duration,
    /// Whether mail to `privacy+anything@…` reaches the mailbox, so that a code can stand in the reply
    /// address. Default false.
    pub plus_addressing: bool,
    /// Columns of the contacts of which somebody who asks for a copy of the data has to name some, such
    /// as ["postcode", "customer_number"]. Default none: then no mail alone opens the way to the data
    /// themselves.
    pub data_points: Vec<String>,
    /// How many of them. Default 2.
    pub data_points_needed: u32,
}

impl Default for ProofConfig {
    fn default() -> Self {
        Self {
            valid_for: Duration::from_secs(14 * 24 * 60 * 60),
            plus_addressing: false,
            data_points: Vec::new(),
            data_points_needed: 2,
        }
    }
}

/// Which laws run, and by which calendar.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClockConfig {
    /// The laws that apply to the company, by their names in `rules/laws.toml`. Default none: then every
    /// request is due after 30 days, whatever it waits for.
    pub laws: Vec<String>,
    /// A file of holidays: one ISO date a line, and comments behind `#`. Default none.
    pub holidays: Option<PathBuf>,
    /// The IANA name of the time zone in which days are counted. Default "UTC".
    pub time_zone: String,
}

impl Default for ClockConfig {
    fn default() -> Self {
        Self { laws: Vec::new(), holidays: None, time_zone: "UTC".into() }
    }
}

/// Who is told what runs short of time, and what waits.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Gets a mail with reference, type and due date of the requests that run short of time. Default
    /// nobody: the log alone says it.
    pub notify: Option<Address>,
    /// The time of day, in `clock.time_zone`, from which on `notify` gets the daily digest: what waits for a
    /// person, what is due, what failed. Default: there is none.
    #[serde(deserialize_with = "time_of_day")]
    pub digest_at: Option<Time>,
}

/// A mail to ourselves at an interval, which must come back.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CanaryConfig {
    /// How often. Default 6h.
    #[serde(deserialize_with = "duration")]
    pub every: Duration,
    /// How soon it must be back. Default 30m.
    #[serde(deserialize_with = "duration")]
    pub within: Duration,
}

impl Default for CanaryConfig {
    fn default() -> Self {
        Self { every: Duration::from_secs(6 * 60 * 60), within: Duration::from_secs(30 * 60) }
    }
}

/// Numbers for Prometheus.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsConfig {
    /// Where they are to be had, under /metrics: an address of this machine itself, with a port.
    pub listen: SocketAddr,
}

/// How long what is done with is kept.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Records of requests, counted from their closing, and of mails that asked nothing. Default "24 months",
    /// which the CCPA wants (11 CCR 7101); at least 90d.
    #[serde(deserialize_with = "span")]
    pub keep_requests: Span,
    /// The text of replies, counted from the closing of what they are about. Default "30d", at least 7d.
    #[serde(deserialize_with = "span")]
    pub keep_messages: Span,
}

impl Default for Retention {
    fn default() -> Self {
        Self { keep_requests: Span::new().months(24), keep_messages: Span::new().days(30) }
    }
}

/// What was done with before these moments is purged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cutoffs {
    /// Records of requests.
    pub requests: Timestamp,
    /// The text of replies.
    pub texts: Timestamp,
}

impl Retention {
    /// The moments that are so long before `now`.
    ///
    /// # Errors
    /// Such a moment is before all time.
    pub fn cutoffs(&self, now: Timestamp) -> Result<Cutoffs, jiff::Error> {
        let now = now.to_zoned_datetime(TimeZone::UTC);
        let before = |keep: Span| now.checked_sub(keep).map(|then| then.timestamp());
        Ok(Cutoffs { requests: before(self.keep_requests)?, texts: before(self.keep_messages)? })
    }
}

/// Whom to believe about who wrote a mail.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Authentication {
    /// The names under which our own receiving servers write Authentication-Results (RFC 8601 section
    /// 2.5). These servers must delete such fields from incoming mail. Default: none, and then no
    /// sender is ever proven but by `verify_dkim`.
    pub authserv_ids: Vec<String>,
    /// The names or addresses by which our own receiving servers call themselves behind "by" in Received
    /// fields. Default: the authserv_ids.
    pub received_by: Vec<String>,
    /// Whether DKIM signatures are checked by privacyd itself where these servers say nothing of a mail,
    /// with questions to the name servers. Default false.
    pub verify_dkim: bool,
    /// The name server to ask: an address, with a port unless it is 53. Default: the system's.
    #[serde(deserialize_with = "resolver")]
    pub resolver: Option<SocketAddr>,
}

impl Authentication {
    /// The same, for the room that weighs.
    pub fn trust(&self) -> Trust {
        Trust::new(&self.authserv_ids, &self.received_by)
    }
}

/// The names of the folders mail is filed in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Folders {
    /// Put in front of every name, for servers that keep folders below INBOX ("INBOX."). Default "".
    pub prefix: String,
    /// Mail that waits for a person. Default "Held".
    pub held: String,
    /// Mail written by machines. Default "Automatic".
    pub automatic: String,
    /// Mail that cannot be read. Default "Unreadable".
    pub unreadable: String,
    /// Folder by request type, over the `folder` of its rule file.
    pub types: BTreeMap<String, String>,
}

impl Default for Folders {
    fn default() -> Self {
        Self {
            prefix: String::new(),
            held: "Held".into(),
            automatic: "Automatic".into(),
            unreadable: "Unreadable".into(),
            types: BTreeMap::new(),
        }
    }
}

/// Unsubscribe tokens; see [`crate::token`].
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Unsubscribe {
    /// Where the keys are, the newest first: it signs, all verify. At least 16 bytes each. Default none.
    pub keys: Vec<SecretSource>,
    /// Whether an opt-out by token is confirmed, to the token's address. Default false: a person who
    /// has clicked "unsubscribe" wants less mail.
    pub reply: bool,
}

impl Unsubscribe {
    /// A key needs at least so many bytes: 128 bits, were they all random.
    const LEAST_KEY: usize = 16;
}

/// A system that holds people's data; see [`crate::source`].
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "SourceFile")]
pub struct SourceConfig {
    /// Its name, as replies call it.
    pub name: String,
    /// How it is reached.
    pub sort: SourceSort,
    /// What it does. Default everything.
    pub verbs: Vec<Verb>,
    /// How long one order may take. Default 60 s.
    pub timeout: Duration,
}

/// How a system is reached.
#[derive(Debug, Clone)]
pub enum SourceSort {
    /// `local = true`: the contacts in privacyd's own database.
    Local,
    /// `command = ["/path/to/program", "argument"]`.
    Command(Vec<String>),
    /// `url = "https://…"`, with `secret` and perhaps `ca_file`.
    Http {
        /// Where orders are POSTed.
        url: hyper::Uri,
        /// What they are signed with.
        secret: SecretSource,
        /// Authorities to trust besides the system's, PEM.
        ca_file: Option<PathBuf>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceFile {
    name: String,
    #[serde(default)]
    local: bool,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    secret: Option<SecretSource>,
    #[serde(default)]
    ca_file: Option<PathBuf>,
    #[serde(default = "default_verbs")]
    verbs: Vec<Verb>,
    #[serde(default = "minute", deserialize_with = "duration")]
    timeout: Duration,
}

/// HTTPS, or HTTP to this machine itself.
fn source_url(text: &str) -> Result<hyper::Uri, String> {
    let url: hyper::Uri =
        text.parse().map_err(|_| "is not a URL like \"https://crm.example.com/privacy\"")?;
    let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let is_here = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match url.scheme_str() {
        _ if host.is_empty() => Err("names no host".into()),
        Some("https") => Ok(url),
        Some("http") if is_here => Ok(url),
        Some("http") => Err("must be https://; plain http:// only to 127.0.0.1 or [::1]".into()),
        _ => Err("must begin with https://".into()),
    }
}

fn default_verbs() -> Vec<Verb> {
    Verb::DEFAULT.to_vec()
}

fn minute() -> Duration {
    Duration::from_secs(60)
}

impl TryFrom<SourceFile> for SourceConfig {
    type Error = String;

    fn try_from(file: SourceFile) -> Result<Self, String> {
        let SourceFile { name, local, command, url, secret, ca_file, verbs, timeout } = file;
        let sort = match (local, command.as_slice(), url) {
            (true, [], None) => SourceSort::Local,
            (false, [program, ..], None) if Path::new(program).is_absolute() => SourceSort::Command(command),
            (false, [_, ..], None) => {
                return Err(format!("source {name:?}: command: name the program with its whole path"));
            }
            (false, [], Some(url)) => {
                let url = source_url(&url).map_err(|why| format!("source {name:?}: url: {why}"))?;
                let secret = secret.ok_or_else(|| {
                    format!("source {name:?}: secret: name where the secret is that signs the orders, such as {{ file = \"…\" }}")
                })?;
                SourceSort::Http { url, secret, ca_file }
            }
            _ => return Err(format!("source {name:?}: give it one of local = true, a command and a url")),
        };
        if name.trim().is_empty() || name.chars().any(char::is_control) {
            return Err("source.name: write a name that people will read, on one line".into());
        }
        if verbs.is_empty() {
            return Err(format!("source {name:?}: verbs: name at least one, or leave the key out for all"));
        }
        if timeout.is_zero() || timeout > Duration::from_secs(5 * 60) {
            return Err(format!("source {name:?}: timeout: must be longer than nothing and at most 5m"));
        }
        Ok(Self { name, sort, verbs, timeout })
    }
}

/// How data is erased.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Erasure {
    /// How long after its proof an erasure begins; until then any reply but a yes or a reminder stops it.
    /// Default 24h.
    #[serde(deserialize_with = "duration")]
    pub delay: Duration,
    /// The column of the contacts that says that a law suit or an authority forbids the erasure: any value
    /// but an empty one, 0, "no" and "false". Default "legal_hold".
    pub hold_column: String,
}

impl Default for Erasure {
    fn default() -> Self {
        Self { delay: Duration::from_secs(24 * 60 * 60), hold_column: "legal_hold".into() }
    }
}

/// How a copy of the data is handed out.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CopyConfig {
    /// Fields in whose name one of these stands, as whole words or, where it is long, within another, never leave by
    /// mail: the reply says that they are held (11 CCR 7024(d)). "accountNumber", "account_number" and "Account
    /// number" are the same.
    pub withhold: Vec<String>,
    /// A larger copy is not sent by mail: a person hands it out. Default 10 MB.
    pub max_attachment_size: ByteSize,
}

impl Default for CopyConfig {
    fn default() -> Self {
        let withhold = [
            // What opens an account.
            "password",
            "passwd",
            "passphrase",
            "passcode",
            "passwort",
            "kennwort",
            "mot de passe",
            "contraseña",
            "contrasena",
            "wachtwoord",
            "pwd",
            "pass",
            "secret",
            "token",
            "api key",
            "apikey",
            "pin",
            "otp",
            "totp",
            "security answer",
            "security question",
            "security code",
            "maiden name",
            // Numbers that a state or an insurance has given.
            "ssn",
            "social security",
            "sozialversicherung",
            "sécurité sociale",
            "securite sociale",
            "seguridad social",
            "national insurance",
            "nino",
            "government id",
            "national id",
            "id number",
            "id no",
            "id card",
            "identity card",
            "identity number",
            "identification number",
            "ausweis",
            "passport",
            "reisepass",
            "pasaporte",
            "passeport",
            "driver license",
            "drivers license",
            "driver licence",
            "drivers licence",
            "driving licence",
            "driving license",
            "license number",
            "licence number",
            "führerschein",
            "tax id",
            "tax number",
            "tax no",
            "taxpayer",
            "tin",
            "steuernummer",
            "steuer id",
            "steuerid",
            "steueridentifikation",
            "codice fiscale",
            "dni",
            "nie",
            "nif",
            "cpf",
            "bsn",
            "personnummer",
            "cpr",
            "pesel",
            "rodne cislo",
            "rodné číslo",
            "oib",
            "cnp",
            "egn",
            "snils",
            "aadhaar",
            "insurance number",
            "insurance no",
            "versicherungsnummer",
            // Accounts and cards.
            "iban",
            "bic",
            "swift",
            "account number",
            "account no",
            "account nr",
            "bank account",
            "routing number",
            "sort code",
            "kontonummer",
            "konto nr",
            "kontonr",
            "numero de compte",
            "numéro de compte",
            "cuenta bancaria",
            "número de cuenta",
            "numero de cuenta",
            "card number",
            "card no",
            "cc number",
            "credit card",
            "creditcard",
            "debit card",
            "kreditkarte",
            "pan",
            "cvv",
            "cvc",
            "cvn",
            // Health and the body.
            "health",
            "medical",
            "medication",
            "diagnosis",
            "diagnose",
            "disability",
            "blood type",
            "blood group",
            "allergy",
            "allergies",
            "gesundheit",
            "krankheit",
            "biometric",
            "biometrics",
            "fingerprint",
            "face id",
            "iris",
            "retina",
            "voiceprint",
            "voice print",
        ];
        Self { withhold: withhold.map(str::to_owned).to_vec(), max_attachment_size: ByteSize::mb(10) }
    }
}

/// What may be corrected by mail; see [`crate::correction`].
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CorrectionConfig {
    /// The fields that may be changed by mail, as the company's systems call them. Default none: a person
    /// corrects. Every other field stays as it is until a person changes it.
    pub fields: Vec<String>,
    /// What people call them besides, by field.
    pub words: BTreeMap<String, Vec<String>>,
}

impl CorrectionConfig {
    /// Every name of every field, as it is compared, and the field.
    pub fn names(&self) -> impl Iterator<Item = (String, &str)> {
        let named = self.words.iter().flat_map(|(field, words)| words.iter().map(move |word| (word, field)));
        let own = self.fields.iter().map(|field| (field, field));
        own.chain(named).map(|(name, field)| (spoken(name), field.as_str()))
    }
}

/// What was passed on to third parties for their direct marketing (Cal. Civ. Code 1798.83), year by year.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Disclosure {
    /// The calendar years of which it is known. What was passed on in any other, a person tells.
    pub year: Vec<DisclosedYear>,
}

/// What was passed on in one calendar year. Neither categories nor third parties: nothing was.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisclosedYear {
    /// The year, by `clock.time_zone`. It is told to whoever asks in the year after it.
    pub year: i16,
    /// The categories of personal information, as the reply names them.
    #[serde(default)]
    pub categories: Vec<String>,
    /// Who got it.
    #[serde(default)]
    pub third_party: Vec<ThirdParty>,
}

/// Somebody who got personal information.
#[derive(Debug, Clone, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct ThirdParty {
    /// The name.
    pub name: String,
    /// The address, on one line.
    pub address: String,
    /// The kind of business, where the name does not tell. Default "".
    #[serde(default)]
    pub business: String,
}

/// A mailbox read over IMAP.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImapConfig {
    /// What the mailbox is called in logs and in the database. Never change it later: it is how
    /// the place reached in the mailbox is remembered.
    pub name: String,
    /// The server's host name, which its certificate must bear.
    pub host: String,
    /// Default 993.
    #[serde(default = "default_imap_port", deserialize_with = "port")]
    pub port: u16,
    /// "implicit" (the default), or "none", to loopback only.
    #[serde(default)]
    pub tls: ImapTls,
    /// An authority to trust besides the system's, PEM.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// The login.
    pub username: String,
    /// Where the password is.
    pub password: SecretSource,
    /// The folder that is watched. Default "INBOX".
    #[serde(default = "default_inbox")]
    pub inbox: String,
    /// The folder for junk, in which requests are looked for every night, as the server calls it. Default: the one
    /// that the server marks so.
    #[serde(default)]
    pub junk: Option<String>,
    /// The folder in which the server keeps copies of what is sent, as it calls it: a reply of unknown fate of which one
    /// lies there was sent. Default: the one that the server marks so.
    #[serde(default)]
    pub sent: Option<String>,
    /// The longest wait for an answer of the server; each step has a limit of its own, and none is longer
    /// than this. Default 10m, at least 1s.
    #[serde(default = "default_patience", deserialize_with = "duration")]
    pub patience: Duration,
}

/// How an IMAP connection is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImapTls {
    /// TLS from the first byte (RFC 8314).
    #[default]
    Implicit,
    /// Plaintext, to loopback only.
    None,
}

/// A mailbox that is a Maildir on this machine.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaildirConfig {
    /// What the mailbox is called in logs and in the database.
    pub name: String,
    /// The folder with `new`, `cur` and `tmp`. Created when missing; subfolders are Maildir++.
    pub path: PathBuf,
}

/// The server that takes our replies.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmtpConfig {
    /// The server's host name, which its certificate must bear.
    pub host: String,
    /// Default 465 with implicit TLS, 587 with STARTTLS, 25 with none.
    #[serde(default, deserialize_with = "some_port")]
    pub port: Option<u16>,
    /// "implicit" (the default), "starttls", or "none", to loopback only.
    #[serde(default)]
    pub tls: SmtpTls,
    /// An authority to trust besides the system's, PEM.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// The login, when the server asks for one.
    #[serde(default)]
    pub username: Option<String>,
    /// Where the password is.
    #[serde(default)]
    pub password: Option<SecretSource>,
    /// The host name we give in EHLO. Default: the domain of the first own address.
    #[serde(default)]
    pub helo: Option<String>,
    /// Envelope sender, to which bounces of our replies go. Default: the null sender `<>`.
    #[serde(default)]
    pub bounce_address: Option<Address>,
    /// Connections at once, at the most; a few replies need only one. Default 32.
    #[serde(default = "default_sessions")]
    pub max_sessions: u16,
    /// The longest wait for an answer of the server; each step has a limit of its own, and none is longer
    /// than this. Default 10m, at least 1s.
    #[serde(default = "default_patience", deserialize_with = "duration")]
    pub patience: Duration,
}

/// How an SMTP connection is protected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SmtpTls {
    /// TLS from the first byte (RFC 8314).
    #[default]
    Implicit,
    /// STARTTLS, required (RFC 3207).
    Starttls,
    /// Plaintext, to loopback only.
    None,
}

/// A folder that gets each reply as an .eml file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectoryConfig {
    /// The folder. Created when missing.
    pub path: PathBuf,
}

/// Where a secret is.
#[derive(Debug, Clone)]
pub enum SecretSource {
    /// The first line of this file.
    File(PathBuf),
    /// This environment variable.
    Env(String),
    /// The systemd credential of this name (LoadCredential= in the unit).
    Credential(String),
}

/// How the place of a secret is written.
pub const SECRET_FORMS: &str = "{ file = \"…\" }, { env = \"…\" } or { credential = \"…\" }";

impl<'de> Deserialize<'de> for SecretSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretPlace)
    }
}

/// Reads the place of a secret. Whatever else stands there may be the secret itself, and is in no sentence.
struct SecretPlace;

impl SecretPlace {
    fn is_no_place<E: serde::de::Error>() -> E {
        E::custom(format!("no secret belongs into this file; write where it is: {SECRET_FORMS}"))
    }
}

impl<'de> Visitor<'de> for SecretPlace {
    type Value = SecretSource;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the place of a secret: ")?;
        f.write_str(SECRET_FORMS)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SecretSource, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            let place = map.next_value::<String>().map_err(|_| Self::is_no_place::<A::Error>())?;
            let place = match key.as_str() {
                "file" => SecretSource::File(place.into()),
                "env" => SecretSource::Env(place),
                "credential" => SecretSource::Credential(place),
                _ => return Err(Self::is_no_place()),
            };
            if found.replace(place).is_some() {
                return Err(serde::de::Error::custom(format!("a secret has one place: {SECRET_FORMS}")));
            }
        }
        found.ok_or_else(Self::is_no_place)
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<SecretSource, E> {
        Err(Self::is_no_place())
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<SecretSource, E> {
        Err(Self::is_no_place())
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<SecretSource, E> {
        Err(Self::is_no_place())
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<SecretSource, E> {
        Err(Self::is_no_place())
    }

    fn visit_i128<E: serde::de::Error>(self, _: i128) -> Result<SecretSource, E> {
        Err(Self::is_no_place())
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<SecretSource, E> {
        Err(Self::is_no_place())
    }
}

/// A secret in memory. It has no Display, and its Debug says nothing.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The secret itself, for the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        Self(value.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl SecretSource {
    /// Reads the secret.
    ///
    /// # Errors
    /// One sentence that names the source, never its content.
    pub fn read(&self) -> anyhow::Result<Secret> {
        let (text, what) = match self {
            Self::File(path) => (
                std::fs::read_to_string(path).map_err(|error| {
                    anyhow::anyhow!("Cannot read the secret file {}: {error}", path.display())
                })?,
                format!("The secret file {}", path.display()),
            ),
            Self::Env(name) => (
                std::env::var(name).map_err(|_| {
                    anyhow::anyhow!("The environment variable {name}, which should hold a secret, is not set")
                })?,
                format!("The environment variable {name}"),
            ),
            Self::Credential(name) => {
                if name.contains('/') || name.starts_with('.') {
                    anyhow::bail!("{name:?} is not the name of a systemd credential");
                }
                let folder = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                    anyhow::anyhow!(
                        "There are no systemd credentials here, so no {name}: add LoadCredential={name}:… to the unit; by hand, set CREDENTIALS_DIRECTORY to the folder of the file {name}"
                    )
                })?;
                let path = Path::new(&folder).join(name);
                (
                    std::fs::read_to_string(&path).map_err(|error| {
                        anyhow::anyhow!(
                            "Cannot read the systemd credential {name}, {}: {error}",
                            path.display()
                        )
                    })?,
                    format!("The systemd credential {name}"),
                )
            }
        };
        match text.lines().next() {
            Some(secret) if !secret.is_empty() => Ok(Secret(secret.to_owned())),
            _ => anyhow::bail!("{what} is empty"),
        }
    }
}

impl fmt::Display for SecretSource {
    /// Names the source, for `privacyd check`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "******** (file {})", path.display()),
            Self::Env(name) => write!(f, "******** (environment variable {name})"),
            Self::Credential(name) => write!(f, "******** (systemd credential {name})"),
        }
    }
}

impl SmtpConfig {
    /// The port, configured or usual for the kind of TLS.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.tls {
            SmtpTls::Implicit => 465,
            SmtpTls::Starttls => 587,
            SmtpTls::None => 25,
        })
    }
}

/// What RFC 5321 section 4.5.3.2.6 wants for the longest of all waits.
fn default_patience() -> Duration {
    Duration::from_secs(10 * 60)
}
fn default_poll_interval() -> Duration {
    Duration::from_secs(30)
}
const SHORTEST_PATIENCE: Duration = Duration::from_secs(1);
const PATIENCE_RULE: &str = "below a second no server can answer; take \"10m\"";
fn default_language() -> String {
    "en".into()
}
fn default_imap_port() -> u16 {
    993
}
fn default_inbox() -> String {
    "INBOX".into()
}
fn default_sessions() -> u16 {
    32
}

/// Reads a text; in the place of anything else `form` is asked for, which says how it is written.
fn written<'de, D: Deserializer<'de>>(deserializer: D, form: &'static str) -> Result<String, D::Error> {
    struct Text(&'static str);

    impl Visitor<'_> for Text {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{}, in quotation marks", self.0)
        }

        fn visit_str<E>(self, text: &str) -> Result<String, E> {
            Ok(text.to_owned())
        }
    }

    deserializer.deserialize_any(Text(form))
}

/// Reads 1 to 65535.
fn port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    struct Port;

    impl Visitor<'_> for Port {
        type Value = u16;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number from 1 to 65535, without quotation marks")
        }

        fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<u16, E> {
            let wrong = || E::invalid_value(Unexpected::Signed(number), &self);
            u16::try_from(number).ok().filter(|port| *port > 0).ok_or_else(wrong)
        }
    }

    deserializer.deserialize_any(Port)
}

fn some_port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    port(deserializer).map(Some)
}

/// Reads addresses, and says which of them is none.
fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Address>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let address = |(index, text): (usize, &String)| {
        text.parse()
            .map_err(|error| serde::de::Error::custom(format!("entry {}, {text:?}, is {error}", index + 1)))
    };
    texts.iter().enumerate().map(address).collect()
}

/// Reads "192.0.2.53", "192.0.2.53:5353", "[2001:db8::53]:5353".
fn resolver<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = written(deserializer, "an address like \"127.0.0.1\" or \"127.0.0.1:5353\"")?;
    let without_port = || Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, 53));
    let wrong = || {
        serde::de::Error::custom(format!(
            "{text:?} is not an address like \"127.0.0.1\" or \"127.0.0.1:5353\""
        ))
    };
    text.parse().ok().or_else(without_port).map(Some).ok_or_else(wrong)
}

/// Reads "30s", "5m", "1h 30m", "14d"; a day is 24 hours.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = written(deserializer, "a duration like \"30s\", \"5m\" or \"14d\"")?;
    text.parse::<jiff::Span>()
        .and_then(|span| span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()))
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or_else(|| {
            serde::de::Error::custom(format!("{text:?} is not a duration like \"30s\", \"5m\" or \"14d\""))
        })
}

/// Reads "08:00": hours and minutes of the 24-hour clock.
fn time_of_day<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Time>, D::Error> {
    let text = written(deserializer, "a time of day like \"08:00\" or \"17:30\"")?;
    Time::strptime("%H:%M", &text).map(Some).map_err(|_| {
        serde::de::Error::custom(format!("{text:?} is not a time of day like \"08:00\" or \"17:30\""))
    })
}

/// Reads "30d", "24 months", "2 years", as the calendar has them.
fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
    let text = written(deserializer, "a time like \"30d\" or \"24 months\"")?;
    text.parse().map_err(|_| {
        serde::de::Error::custom(format!("{text:?} is not a time like \"30d\" or \"24 months\""))
    })
}

/// What is wrong with a file of ours: where, and what to do.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{file}:{} {message}", at_line(*line))]
pub struct FileError {
    /// The file.
    pub file: String,
    /// The line, from 1; 0 of a file as a whole, such as one that is missing.
    pub line: usize,
    /// Key, fault and remedy.
    pub message: String,
}

fn at_line(line: usize) -> String {
    if line == 0 { String::new() } else { format!("{line}:") }
}

/// Parses TOML into `T`; a mistake names the line and, where the line has one, the key.
///
/// # Errors
/// Not TOML, a key that is unknown or missing, a value of the wrong kind.
pub fn parse_toml<T: serde::de::DeserializeOwned>(file: &str, text: &str) -> Result<T, FileError> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.get(..start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let key = key_at(text, line).map(|key| format!("{key}: ")).unwrap_or_default();
        let mut message = error.message().replace('\n', " ");
        for (kind, numbers) in NUMBERS {
            if let Some(before) = message.strip_suffix(kind) {
                message = format!("{before}{numbers}");
            }
        }
        // The parser's own sentence already names a key that is unknown or missing.
        let is_named = ["unknown field", "missing field"].iter().any(|it| message.contains(it));
        let key = if is_named { String::new() } else { key };
        let is_misplaced = ["unknown field", "duplicate key"].iter().any(|it| message.contains(it));
        let remedy = is_misplaced.then(|| header_in_comment(text, line)).flatten().unwrap_or_default();
        FileError { file: file.to_owned(), line, message: format!("{key}{message}{remedy}") }
    })
}

/// That the header of a table above this line (from 1) is a comment: what stands below it then belongs to the table
/// before.
fn header_in_comment(text: &str, line: usize) -> Option<String> {
    let lines: Vec<(usize, &str)> = (1..).zip(text.lines()).take(line).collect();
    let within = lines.into_iter().rev().take_while(|(_, line)| !line.trim_start().starts_with('['));
    let is_header = |line: &str| {
        let name = line.trim_start_matches('[').trim_end_matches(']');
        line.starts_with('[')
            && line.ends_with(']')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
    };
    let mut headers = within.filter_map(|(number, line)| {
        let header = line.trim().strip_prefix('#')?.trim_start_matches('#').trim();
        is_header(header).then_some((number, header))
    });
    let (number, header) = headers.next()?;
    Some(format!("; if it belongs to {header}, take off the # before that in line {number}"))
}

/// What numbers are called that the parser calls by their types.
const NUMBERS: [(&str, &str); 4] = [
    ("expected u16", "expected a number from 0 to 65535"),
    ("expected u32", "expected a number from 0 to 4294967295"),
    ("expected i16", "expected a number"),
    ("expected path string", "expected a path in quotation marks"),
];

/// The key whose value stands in this line (from 1), or has begun in one above. What is no key may be a secret.
fn key_at(text: &str, line: usize) -> Option<&str> {
    let lines: Vec<&str> = text.lines().take(line).collect();
    let is_key =
        |key: &str| !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    let goes_on = |line: &str| line.trim_start().starts_with(['"', '\'', '{']);
    for line in lines.into_iter().rev() {
        let found = line.split_once('=').map(|(key, _)| key.trim()).filter(|key| is_key(key));
        if found.is_some() || !goes_on(line) {
            return found;
        }
    }
    None
}

/// The line (from 1) of the key at `path` in `text`; a number in the path indexes an array of
/// tables. A key that is not there gives the line of the table it is missing from.
pub fn line_of(text: &str, path: &[&str]) -> usize {
    let Ok(document) = DeTable::parse(text) else {
        return 1;
    };
    let mut offset = 0;
    let mut here: Option<&DeValue<'_>> = None;
    let mut table = Some(document.get_ref());
    for step in path {
        let (at, value) = match (table, here) {
            (Some(table), _) => match table.get_key_value(*step) {
                Some((key, value)) => (key.span().start, value),
                None => break,
            },
            (None, Some(DeValue::Array(items))) => {
                match step.parse::<usize>().ok().and_then(|index| items.get(index)) {
                    Some(value) => (value.span().start, value),
                    None => break,
                }
            }
            _ => break,
        };
        offset = at;
        here = Some(value.get_ref());
        table = value.get_ref().as_table();
    }
    text.get(..offset).unwrap_or_default().matches('\n').count() + 1
}

impl Config {
    /// Reads and checks the configuration file.
    ///
    /// # Errors
    /// One sentence with file, line, key and remedy.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            anyhow::anyhow!(
                "Cannot read the configuration {}: {error}; `privacyd init` writes one",
                path.display()
            )
        })?;
        let config = Self::parse(&path.display().to_string(), &text)?;
        config.check_own_files()?;
        Ok(config)
    }

    /// Parses and checks a configuration; `file` is only its name for error messages.
    ///
    /// # Errors
    /// The first mistake, with its line.
    pub fn parse(file: &str, text: &str) -> Result<Self, FileError> {
        let mut config: Self = parse_toml(file, text)?;
        config.file = ConfigFile { name: file.to_owned(), text: text.to_owned() };
        config.check().map_err(|(path, message)| {
            config.file.mistake(&path.iter().map(String::as_str).collect::<Vec<_>>(), message)
        })?;
        Ok(config)
    }

    /// Whether there is a folder for the database.
    ///
    /// # Errors
    /// There is none, or it is not for us to look into.
    pub fn check_database(&self) -> Result<(), FileError> {
        self.check_parent(&self.database, &["database"], "database")?;
        if self.database.is_dir() {
            let message = format!("database: {} is a folder; name a file in it", self.database.display());
            return Err(self.file.mistake(&["database"], message));
        }
        Ok(())
    }

    /// Whether there is a database.
    ///
    /// # Errors
    /// There is none, or no folder for one.
    pub fn find_database(&self) -> Result<(), FileError> {
        self.check_database()?;
        match self.database.try_exists() {
            Ok(false) => {
                let message = format!(
                    "database: there is no {} yet; begin with privacyd run, which makes it, or correct the path",
                    self.database.display()
                );
                Err(self.file.mistake(&["database"], message))
            }
            // What keeps it from being opened, opening it tells.
            Ok(true) | Err(_) => Ok(()),
        }
    }

    /// Whether there are folders for what is made where it is missing: the database, Maildirs, and a folder for
    /// replies. One with a wrong name must not be made somewhere with all that is above it.
    ///
    /// # Errors
    /// There is none for one of them.
    pub fn check_places(&self) -> Result<(), FileError> {
        self.check_database()?;
        for (index, maildir) in self.maildir.iter().enumerate() {
            self.check_parent(&maildir.path, &["maildir", &index.to_string(), "path"], "maildir.path")?;
        }
        if let Some(directory) = &self.directory {
            self.check_parent(&directory.path, &["directory", "path"], "directory.path")?;
        }
        Ok(())
    }

    fn check_parent(&self, file: &Path, path: &[&str], key: &str) -> Result<(), FileError> {
        let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) else {
            return Ok(());
        };
        let message = match std::fs::metadata(folder) {
            Ok(found) if found.is_dir() => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                format!(
                    "{key}: the folder {} is not for this user to look into; try it with sudo",
                    folder.display()
                )
            }
            Ok(_) | Err(_) => {
                format!("{key}: there is no folder {}; make it, or correct the path", folder.display())
            }
        };
        Err(self.file.mistake(path, message))
    }

    /// The folders of rules and templates that are named must be there.
    fn check_own_files(&self) -> Result<(), FileError> {
        for (key, folder) in [("rules", &self.rules), ("templates", &self.templates)] {
            if let Some(folder) = folder.as_ref().filter(|folder| !folder.is_dir()) {
                let message = format!(
                    "{key}: there is no folder {}; make it, correct the path, or leave the key out for the built-in ones",
                    folder.display()
                );
                return Err(self.file.mistake(&[key], message));
            }
        }
        Ok(())
    }

    /// Reads every secret and CA file of the mailboxes and of the way out once, to see that it can be.
    ///
    /// # Errors
    /// The first that cannot be: file, line, key and remedy.
    pub fn check_secrets(&self) -> Result<(), FileError> {
        self.secret_faults().into_iter().next().map_or(Ok(()), Err)
    }

    /// All of them that cannot be, each with file, line, key and remedy.
    pub fn secret_faults(&self) -> Vec<FileError> {
        let mut faults = Vec::new();
        let mut check = |done: Result<(), FileError>| faults.extend(done.err());
        for (index, imap) in self.imap.iter().enumerate() {
            let index = index.to_string();
            check(self.check_secret(&imap.password, &["imap", &index, "password"], "imap.password"));
            let is_used = imap.tls != ImapTls::None;
            let ca_file = imap.ca_file.as_deref().filter(|_| is_used);
            check(self.check_ca_file(ca_file, &["imap", &index, "ca_file"], "imap.ca_file"));
        }
        if let Some(smtp) = &self.smtp {
            if let Some(password) = &smtp.password {
                check(self.check_secret(password, &["smtp", "password"], "smtp.password"));
            }
            let ca_file = smtp.ca_file.as_deref().filter(|_| smtp.tls != SmtpTls::None);
            check(self.check_ca_file(ca_file, &["smtp", "ca_file"], "smtp.ca_file"));
        }
        faults
    }

    /// Files of secrets that everybody on this machine may read.
    pub fn exposed_secrets(&self) -> Vec<&Path> {
        let imap = self.imap.iter().map(|imap| &imap.password);
        let smtp = self.smtp.iter().filter_map(|smtp| smtp.password.as_ref());
        let sources = self.source.iter().filter_map(|source| match &source.sort {
            SourceSort::Http { secret, .. } => Some(secret),
            SourceSort::Command(_) | SourceSort::Local => None,
        });
        let is_exposed =
            |path: &&Path| std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o004 != 0);
        let files = imap.chain(smtp).chain(sources).chain(&self.unsubscribe.keys).filter_map(|it| match it {
            SecretSource::File(path) => Some(path.as_path()),
            // Who sees these is systemd's to say, and the system's.
            SecretSource::Env(_) | SecretSource::Credential(_) => None,
        });
        files.filter(is_exposed).collect()
    }

    fn check_secret(&self, source: &SecretSource, path: &[&str], key: &str) -> Result<(), FileError> {
        source.read().map(drop).map_err(|error| {
            let message = format!("{key}: {error}. The key says where the secret is: {SECRET_FORMS}");
            self.file.mistake(path, message)
        })
    }

    fn check_ca_file(&self, file: Option<&Path>, path: &[&str], key: &str) -> Result<(), FileError> {
        let Some(file) = file else { return Ok(()) };
        crate::tls::client_config(Some(file)).map(drop).map_err(|error| {
            let message =
                format!("{key}: {error:#}; name a file of certificates (PEM), or leave the key out");
            self.file.mistake(path, message)
        })
    }

    /// The keys of the unsubscribe tokens.
    ///
    /// # Errors
    /// One cannot be read or is too short: file, line, key and remedy, never what is in it.
    pub fn unsubscribe_keys(&self) -> Result<Vec<Secret>, FileError> {
        let read = |(index, source): (usize, &SecretSource)| {
            let mistake = |what: String| {
                let message = format!("unsubscribe.keys, entry {}: {what}", index + 1);
                self.file.mistake(&["unsubscribe", "keys", &index.to_string()], message)
            };
            let key = source.read().map_err(|error| {
                mistake(format!("{error}. An entry says where the key is: {SECRET_FORMS}"))
            })?;
            if key.expose().len() < Unsubscribe::LEAST_KEY {
                return Err(mistake(format!(
                    "the key is shorter than {} bytes; `openssl rand -hex 32` makes a good one",
                    Unsubscribe::LEAST_KEY
                )));
            }
            Ok(key)
        };
        self.unsubscribe.keys.iter().enumerate().map(read).collect()
    }

    /// What types cannot say. The error is the path of the key, and the sentence about it.
    fn check(&self) -> Result<(), (Vec<String>, String)> {
        let at = |path: &[&str]| path.iter().map(|step| (*step).to_owned()).collect::<Vec<_>>();
        if self.own_addresses.is_empty() {
            return Err((
                at(&["own_addresses"]),
                "own_addresses: name at least one address of ours, such as \"privacy@example.com\"".into(),
            ));
        }
        if self.poll_interval < Duration::from_secs(1) {
            return Err((
                at(&["poll_interval"]),
                "poll_interval: below a second a mailbox is never at rest; take \"30s\"".into(),
            ));
        }
        if self.company.name.trim().is_empty() || self.company.name.chars().any(char::is_control) {
            return Err((
                at(&["company", "name"]),
                "company.name: write the name that signs the replies, on one line".into(),
            ));
        }
        if self.limits.read_limit < ByteSize::kb(4) || self.limits.read_limit > ByteSize::mb(16) {
            return Err((
                at(&["limits", "read_limit"]),
                "limits.read_limit: must be between 4 KB and 16 MB".into(),
            ));
        }
        if self.limits.max_message_size < self.limits.read_limit {
            return Err((
                at(&["limits", "max_message_size"]),
                "limits.max_message_size: must not be below limits.read_limit".into(),
            ));
        }
        self.check_sources()?;
        self.check_disclosure()?;
        self.check_correction()?;
        self.check_proof()?;
        self.check_clock()?;
        self.check_canary()?;
        self.check_metrics()?;
        self.check_retention()?;
        self.check_authentication()?;
        self.check_folders()?;
        self.check_unsubscribe()?;
        self.check_mailboxes()?;
        self.check_outgoing()
    }

    fn check_sources(&self) -> Result<(), (Vec<String>, String)> {
        for (index, source) in self.source.iter().enumerate() {
            if self.source.iter().take(index).any(|other| other.name == source.name) {
                let path = ["source", &index.to_string(), "name"].map(str::to_owned).to_vec();
                return Err((path, format!("source.name: there are two sources {:?}", source.name)));
            }
        }
        Ok(())
    }

    fn check_disclosure(&self) -> Result<(), (Vec<String>, String)> {
        for (index, disclosed) in self.disclosure.year.iter().enumerate() {
            let DisclosedYear { year, categories, third_party } = disclosed;
            let fault = |key: &str, what: &str| {
                let path = ["disclosure", "year", &index.to_string(), key].map(str::to_owned).to_vec();
                Err((path, format!("disclosure.year.{key}: {what}")))
            };
            let is_line = |text: &str| !text.trim().is_empty() && !text.chars().any(char::is_control);
            if !(2000..=2999).contains(year) {
                return fault("year", "write a calendar year, such as 2025");
            }
            if self.disclosure.year.iter().take(index).any(|other| other.year == *year) {
                return fault(
                    "year",
                    &format!("the year {year} is there twice; write all of it into one table"),
                );
            }
            if categories.is_empty() != third_party.is_empty() {
                return fault(
                    "categories",
                    "name categories and third parties, or neither where there were none",
                );
            }
            if !categories.iter().all(|category| is_line(category)) {
                return fault("categories", "write each on one line");
            }
            let is_sound = |party: &ThirdParty| {
                is_line(&party.name)
                    && is_line(&party.address)
                    && (party.business.is_empty() || is_line(&party.business))
            };
            if !third_party.iter().all(is_sound) {
                return fault("third_party", "write name, address and business on one line each");
            }
        }
        Ok(())
    }

    fn check_correction(&self) -> Result<(), (Vec<String>, String)> {
        let CorrectionConfig { fields, words } = &self.correction;
        let withheld = Withheld::new(&self.copy.withhold);
        let held = Withheld::new(std::slice::from_ref(&self.erasure.hold_column));
        for (index, field) in fields.iter().enumerate() {
            let fault = |what: &str| {
                let path = ["correction", "fields", &index.to_string()].map(str::to_owned).to_vec();
                Err((path, format!("correction.fields: {field:?} {what}")))
            };
            if !is_field(field) {
                return fault("is no name of a field: use letters, digits, '_', '-' and blanks");
            }
            if self.proof.data_points.contains(field) {
                return fault("is one of proof.data_points: who changed it could then prove a claim by it");
            }
            if held.is(field) {
                return fault("is erasure.hold_column, or bears its name, and not for the person to say");
            }
            if withheld.is(field) {
                return fault(
                    "is a field that never leaves by mail (copy.withhold); nor may it come by mail",
                );
            }
            let does = |source: &SourceConfig| source.verbs.contains(&Verb::Correct);
            if !self.source.iter().any(does) {
                return fault("cannot be corrected by any [[source]]; add one that does \"correct\"");
            }
        }
        let at = |field: &str| vec!["correction".to_owned(), "words".to_owned(), field.to_owned()];
        if let Some(field) = words.keys().find(|field| !fields.contains(field)) {
            return Err((at(field), format!("correction.words.{field}: is not one of correction.fields")));
        }
        let mut names = BTreeMap::new();
        for (name, field) in self.correction.names() {
            if name.is_empty() || name.contains(':') {
                return Err((at(field), format!("correction.words.{field}: write words, without \":\"")));
            }
            if let Some(other) = names.insert(name.clone(), field) {
                let message = format!(
                    "correction.fields: {name:?} is the name of {other:?} and of {field:?}; people must be able to tell them apart"
                );
                return Err((vec!["correction".into(), "fields".into()], message));
            }
        }
        Ok(())
    }

    fn check_proof(&self) -> Result<(), (Vec<String>, String)> {
        let at = |key: &str| vec!["proof".to_owned(), key.to_owned()];
        let days = |days: u64| Duration::from_secs(days * 24 * 60 * 60);
        let proof = &self.proof;
        if !(days(7)..=days(90)).contains(&proof.valid_for) {
            return Err((at("valid_for"), "proof.valid_for: must be between \"7d\" and \"90d\"".into()));
        }
        if !proof.data_points.is_empty()
            && !(1..=proof.data_points.len()).contains(&(proof.data_points_needed as usize))
        {
            return Err((
                at("data_points_needed"),
                format!(
                    "proof.data_points_needed: must be between 1 and {}, the number of data_points",
                    proof.data_points.len()
                ),
            ));
        }
        Ok(())
    }

    fn check_clock(&self) -> Result<(), (Vec<String>, String)> {
        let zone = &self.clock.time_zone;
        if TimeZone::get(zone).is_err() {
            return Err((
                vec!["clock".into(), "time_zone".into()],
                format!(
                    "clock.time_zone: there is no time zone {zone:?}; take an IANA name such as \"Europe/Berlin\""
                ),
            ));
        }
        let is_own =
            |notify: &Address| self.own_addresses.iter().any(|own| own.normalised() == notify.normalised());
        if self.admin.notify.as_ref().is_some_and(is_own) {
            return Err((
                vec!["admin".into(), "notify".into()],
                "admin.notify: is an address of ours, whose mail from ourselves nobody reads; name a person's"
                    .into(),
            ));
        }
        if self.admin.digest_at.is_some() && self.admin.notify.is_none() {
            return Err((
                vec!["admin".into(), "digest_at".into()],
                "admin.digest_at: nobody is named who gets the digest; set admin.notify or leave it out"
                    .into(),
            ));
        }
        Ok(())
    }

    fn check_canary(&self) -> Result<(), (Vec<String>, String)> {
        let Some(CanaryConfig { every, within }) = self.canary else { return Ok(()) };
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let fault =
            |key: &str, message: &str| Err((vec!["canary".to_owned(), key.to_owned()], message.to_owned()));
        if self.smtp.is_none() {
            let message = "canary: without [smtp] no mail goes out that could come back; leave it out";
            return Err((vec!["canary".into()], message.into()));
        }
        if !(minutes(10)..=minutes(7 * 24 * 60)).contains(&every) {
            return fault("every", "canary.every: must be between \"10m\" and \"7d\"");
        }
        if within < minutes(1) || within >= every {
            return fault("within", "canary.within: must be at least \"1m\", and less than canary.every");
        }
        Ok(())
    }

    fn check_metrics(&self) -> Result<(), (Vec<String>, String)> {
        match self.metrics {
            Some(MetricsConfig { listen }) if !listen.ip().is_loopback() => Err((
                vec!["metrics".into(), "listen".into()],
                "metrics.listen: is not this machine itself; take \"127.0.0.1:9464\"".into(),
            )),
            _ => Ok(()),
        }
    }

    fn check_retention(&self) -> Result<(), (Vec<String>, String)> {
        let fault = |key: &str, must: &str| {
            Err((vec!["retention".to_owned(), key.to_owned()], format!("retention.{key}: must be {must}")))
        };
        // Any day will do: February makes the shortest month.
        let now = Timestamp::UNIX_EPOCH + Duration::from_secs(59 * 24 * 60 * 60);
        let day = Duration::from_secs(24 * 60 * 60);
        let Ok(Cutoffs { requests, texts }) = self.retention.cutoffs(now) else {
            return fault("keep_requests", "less than some thousand years");
        };
        if now.duration_since(requests) < (day * 90).try_into().unwrap_or_default() {
            // Limits on replies look back a month, and codes are good for three at the most.
            return fault("keep_requests", "at least \"90d\"");
        }
        if now.duration_since(texts) < (day * 7).try_into().unwrap_or_default() {
            return fault("keep_messages", "at least \"7d\"");
        }
        Ok(())
    }

    fn check_authentication(&self) -> Result<(), (Vec<String>, String)> {
        let Authentication { authserv_ids, received_by, verify_dkim, resolver } = &self.authentication;
        let at = |key: &str, index: usize| vec!["authentication".into(), key.into(), index.to_string()];
        if let Some(index) = authserv_ids.iter().position(|id| !is_authserv_id(id)) {
            return Err((
                at("authserv_ids", index),
                "authentication.authserv_ids: write the name as it stands in Authentication-Results before the first ';', as in \"mx.example.com\"".into(),
            ));
        }
        if let Some(index) = received_by.iter().position(|host| !is_receiving_host(host)) {
            return Err((
                at("received_by", index),
                "authentication.received_by: write a host name or an address as it stands behind \"by\" in Received, as in \"mx.example.com\"".into(),
            ));
        }
        if authserv_ids.is_empty() && !received_by.is_empty() {
            return Err((
                vec!["authentication".into(), "received_by".into()],
                "authentication.received_by: says nothing without authserv_ids; add them or leave it out"
                    .into(),
            ));
        }
        if resolver.is_some() && !verify_dkim {
            return Err((
                vec!["authentication".into(), "resolver".into()],
                "authentication.resolver: is not asked anything unless verify_dkim is true; set that or leave it out"
                    .into(),
            ));
        }
        Ok(())
    }

    fn check_folders(&self) -> Result<(), (Vec<String>, String)> {
        let folders = &self.folders;
        let fixed = [
            ("prefix", &folders.prefix),
            ("held", &folders.held),
            ("automatic", &folders.automatic),
            ("unreadable", &folders.unreadable),
        ];
        for (key, name) in fixed {
            if !(folder_name_is_sound(name) || (key == "prefix" && name.is_empty())) {
                return Err((
                    vec!["folders".into(), key.into()],
                    format!("folders.{key}: {FOLDER_NAME_RULE}"),
                ));
            }
            if key != "prefix" && whole_is_too_long(&folders.prefix, name) {
                // A default is in no line: then that of the section.
                return Err((
                    vec!["folders".into(), key.into()],
                    format!("folders.{key}: {}", too_long_with_prefix(name)),
                ));
            }
        }
        let inboxes: Vec<&str> = self.imap.iter().map(|imap| imap.inbox.as_str()).chain(["INBOX"]).collect();
        let named = fixed.iter().map(|(key, name)| (vec![(*key).to_owned()], name.as_str()));
        let of_types =
            folders.types.iter().map(|(kind, name)| (vec!["types".into(), kind.clone()], name.as_str()));
        for (key, name) in named.chain(of_types) {
            let whole = format!("{}{name}", folders.prefix);
            if key != ["prefix"] && inboxes.iter().any(|inbox| inbox.eq_ignore_ascii_case(&whole)) {
                let path = [vec!["folders".to_owned()], key].concat();
                return Err((
                    path.clone(),
                    format!(
                        "{}: mail would be filed where it is taken from; name another folder",
                        path.join(".")
                    ),
                ));
            }
        }
        for (kind, name) in &folders.types {
            if folder_name_is_sound(name) && whole_is_too_long(&folders.prefix, name) {
                return Err((
                    vec!["folders".into(), "types".into(), kind.clone()],
                    format!("folders.types.{kind}: {}", too_long_with_prefix(name)),
                ));
            }
            if !folder_name_is_sound(name) {
                return Err((
                    vec!["folders".into(), "types".into(), kind.clone()],
                    format!("folders.types.{kind}: {FOLDER_NAME_RULE}"),
                ));
            }
        }
        Ok(())
    }

    fn check_unsubscribe(&self) -> Result<(), (Vec<String>, String)> {
        let has_room = |own: &Address| own.local_part().len() <= 62 && own.as_str().len() <= 252;
        if self.unsubscribe.keys.is_empty() || self.own_addresses.first().is_none_or(has_room) {
            return Ok(());
        }
        Err((
            vec!["own_addresses".into()],
            "own_addresses: the first one bears the unsubscribe tokens and is too long to take \"+u\"; put a shorter one first".into(),
        ))
    }

    fn check_mailboxes(&self) -> Result<(), (Vec<String>, String)> {
        if self.imap.is_empty() && self.maildir.is_empty() {
            return Err((
                vec![],
                "there is no mailbox to read: add an [[imap]] or a [[maildir]] section".into(),
            ));
        }
        let mut names = std::collections::BTreeSet::new();
        let sections = (self.imap.iter().enumerate().map(|(i, m)| ("imap", i, &m.name)))
            .chain(self.maildir.iter().enumerate().map(|(i, m)| ("maildir", i, &m.name)));
        for (section, index, name) in sections {
            let path = vec![section.to_owned(), index.to_string(), "name".to_owned()];
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if name.is_empty() || !name.chars().all(plain) {
                return Err((
                    path,
                    format!("{section}.name: use letters, digits, '-', '_' and '.', as in \"privacy\""),
                ));
            }
            if !names.insert(name.clone()) {
                return Err((
                    path,
                    format!("{section}.name: two mailboxes are called {name:?}; give each its own name"),
                ));
            }
        }
        for (index, imap) in self.imap.iter().enumerate() {
            let path = |key: &str| vec!["imap".to_owned(), index.to_string(), key.to_owned()];
            if imap.tls == ImapTls::None && !is_loopback(&imap.host) {
                return Err((
                    path("tls"),
                    format!(
                        "imap.tls: plaintext goes to this machine only, not to {}; use \"implicit\"",
                        imap.host
                    ),
                ));
            }
            if !folder_name_is_sound(&imap.inbox) {
                return Err((path("inbox"), format!("imap.inbox: {FOLDER_NAME_RULE}")));
            }
            if let Some(junk) = &imap.junk {
                // What is only read may also have a name in the server's own alphabet (RFC 3501 section 5.1.3).
                if !folder_name_is_sound(&junk.replace('&', "")) {
                    return Err((path("junk"), format!("imap.junk: {}", FOLDER_NAME_RULE.replace(" &", ""))));
                }
                let folders = &self.folders;
                let own = [&folders.held, &folders.automatic, &folders.unreadable];
                let mut own = own.into_iter().chain(folders.types.values());
                if junk.eq_ignore_ascii_case(&imap.inbox)
                    || own.any(|own| *junk == format!("{}{own}", folders.prefix))
                {
                    return Err((
                        path("junk"),
                        "imap.junk: is a folder that mail is read from or filed in; name the one for junk"
                            .into(),
                    ));
                }
            }
            if let Some(sent) = &imap.sent
                && !folder_name_is_sound(&sent.replace('&', ""))
            {
                return Err((path("sent"), format!("imap.sent: {}", FOLDER_NAME_RULE.replace(" &", ""))));
            }
            if imap.patience < SHORTEST_PATIENCE {
                return Err((path("patience"), format!("imap.patience: {PATIENCE_RULE}")));
            }
            if imap.username.chars().any(char::is_control) {
                return Err((path("username"), "imap.username: has a control character".into()));
            }
        }
        Ok(())
    }

    fn check_outgoing(&self) -> Result<(), (Vec<String>, String)> {
        let at = |key: &str| vec!["smtp".to_owned(), key.to_owned()];
        match (&self.smtp, &self.directory) {
            (None, None) => Err((
                vec![],
                "there is no way out for replies: add an [smtp] section (or [directory], to try things out)"
                    .into(),
            )),
            (Some(_), Some(_)) => Err((
                vec!["directory".into()],
                "directory: there is an [smtp] section too; keep one of the two".into(),
            )),
            (Some(smtp), None) => {
                if smtp.patience < SHORTEST_PATIENCE {
                    return Err((at("patience"), format!("smtp.patience: {PATIENCE_RULE}")));
                }
                if smtp.tls == SmtpTls::None && !is_loopback(&smtp.host) {
                    return Err((
                        at("tls"),
                        format!(
                            "smtp.tls: plaintext goes to this machine only, not to {}; use \"implicit\" or \"starttls\"",
                            smtp.host
                        ),
                    ));
                }
                if smtp.username.is_some() != smtp.password.is_some() {
                    return Err((
                        at("username"),
                        "smtp.username and smtp.password: set both or neither".into(),
                    ));
                }
                if let Some(helo) = &smtp.helo
                    && (helo.is_empty()
                        || !helo.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c)))
                {
                    return Err((at("helo"), "smtp.helo: write a host name".into()));
                }
                if smtp.max_sessions == 0 {
                    return Err((at("max_sessions"), "smtp.max_sessions: must be at least 1".into()));
                }
                Ok(())
            }
            (None, Some(_)) => Ok(()),
        }
    }
}

const FOLDER_NAME_RULE: &str =
    "a folder name is 1 to 100 printable ASCII characters other than \" \\ * % & and does not begin with '.'";

/// Whether the folder that is called `name` behind `prefix` has too long a name.
pub fn whole_is_too_long(prefix: &str, name: &str) -> bool {
    prefix.len() + name.len() > LONGEST_FOLDER_NAME
}

/// The sentence about it.
pub fn too_long_with_prefix(name: &str) -> String {
    format!(
        "with folders.prefix before it {name:?} has more than {LONGEST_FOLDER_NAME} characters; shorten one of the two"
    )
}

/// In characters, which are ASCII. Servers take more, 255 octets mostly; but not behind every namespace.
const LONGEST_FOLDER_NAME: usize = 100;

/// Whether `name` can be a folder in IMAP without quoting surprises (modified UTF-7 begins at '&')
/// and in Maildir++ without leaving the mailbox.
pub fn folder_name_is_sound(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= LONGEST_FOLDER_NAME
        && name.bytes().all(|b| (b' '..=b'~').contains(&b) && !b"\"\\*%&".contains(&b))
        && !name.starts_with('.')
        && !name.starts_with('/')
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
