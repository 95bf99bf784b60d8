//! `classify`: what mails would be taken for, and which of them by other rules for something else.

use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::json;

use super::{Mistake, configured, counted, print, print_json};
use crate::classify::{Finding, Ground, Reading, Verdict};
use crate::cli::{Classify, DEFAULT_CONFIG};
use crate::clock::{Calendar, Clock};
use crate::config::{Authentication, Config, Limits};
use crate::daemon::tokens;
use crate::decide::{
    BY_TOKEN, CaseFile, Decision, Disposition, Letter, OPT_OUT, Policy, UNCLEAR, Understanding, decide,
};
use crate::evidence::{Evidence, Proof};
use crate::message::Message;
use crate::request::Table;
use crate::sender::Address;
use crate::token::Token;
use crate::understand::Reader;

/// In the place of a folder of rules: the built-in ones alone.
const BUILT_IN: &str = "-";

/// A longer sentence is cut where a person reads it, in characters.
const LONGEST_SHOWN: usize = 240;

/// The word of `classify`, the automatic kind, the findings.
type Found = (&'static str, Option<&'static str>, Vec<Finding>);

/// What `classify` reads by, but for the rules: the options, and the configuration where there is one.
struct Means<'a> {
    options: &'a Classify,
    config: Option<Config>,
    read_limit: usize,
}

impl<'a> Means<'a> {
    /// The usual place of the configuration may be empty.
    fn new(options: &'a Classify, config: &Path) -> Result<Self> {
        let is_named = config != Path::new(DEFAULT_CONFIG);
        let config = if is_named || config.exists() { Some(configured(config)?) } else { None };
        let limits = config.as_ref().map_or_else(Limits::default, |config| config.limits.clone());
        let read_limit = usize::try_from(limits.read_limit.as_u64())?;
        Ok(Self { options, config, read_limit })
    }

    /// The rules of this folder, over the built-in ones.
    fn table(folder: Option<&Path>) -> Result<Table> {
        Ok(Table::load(folder.filter(|folder| folder.as_os_str() != BUILT_IN))?)
    }

    /// The rules that are named, or else those of the configuration.
    fn chosen_table(&self) -> Result<Table> {
        let configured = || self.config.as_ref().and_then(|config| config.rules.as_deref());
        Self::table(self.options.rules.as_deref().or_else(configured))
    }

    /// Reads by `table`. Believes the servers that are told, and else those of the configuration, and knows the own
    /// addresses and the unsubscribe tokens of the latter.
    fn reader(&self, table: &Table) -> Reader {
        let options = self.options;
        let of_config = self.config.iter().flat_map(|config| &config.own_addresses);
        let own: Vec<Address> = options.own.iter().chain(of_config).cloned().collect();
        let told = Authentication {
            authserv_ids: options.authserv_ids.clone(),
            received_by: options.received_by.clone(),
            ..Authentication::default()
        };
        let authentication = match &self.config {
            Some(config) if told.authserv_ids.is_empty() => {
                let mut authentication = config.authentication.clone();
                if !told.received_by.is_empty() {
                    authentication.received_by = told.received_by;
                }
                authentication
            }
            _ => told,
        };
        let reader = Reader::new(table, &own).trusting(authentication.trust());
        match self.config.as_ref().map(tokens) {
            None => reader,
            Some(Ok(tokens)) => reader.with_tokens(tokens),
            // A shell has no credentials of the service's; all else can be told without them.
            Some(Err(error)) => {
                eprintln!("privacyd: unsubscribe tokens are not recognised: {error:#}");
                reader
            }
        }
    }

    /// Of a mail, what is read.
    fn read_of<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        bytes.get(..self.read_limit).unwrap_or(bytes)
    }
}

/// `classify`
pub fn classify(options: &Classify, config: &Path) -> Result<ExitCode> {
    let mails = mails(options)?;
    let means = Means::new(options, config)?;
    match options.compare.as_slice() {
        [old, new] => {
            let side = |folder: &Path| {
                let table = Means::table(Some(folder))?;
                Ok::<_, anyhow::Error>((means.reader(&table), table))
            };
            compare(&means, &mails, &side(old)?, &side(new)?)
        }
        _ => {
            let table = means.chosen_table()?;
            let reader = means.reader(&table);
            let court = Court::new(&table)?;
            let mut strange = 0_u64;
            each(&mails, |file, bytes| {
                let (all, bytes) = (bytes.len(), means.read_of(bytes));
                let is_cut = bytes.len() < all;
                let understanding = reader.read(bytes);
                if options.json {
                    print_json(&as_json(file, &understanding, is_cut, &court)).map(drop)
                } else if is_mail(bytes) {
                    let cut = format!(
                        "\n  only its first {} bytes were read, of {all} (limits.read_limit)",
                        bytes.len()
                    );
                    print(&(explain(file, &understanding, &court) + if is_cut { &cut } else { "" }))
                } else {
                    strange += 1;
                    print(&format!("{}: is not a mail: it has no header field of one", file.display()))
                }
            })?;
            Ok(if strange == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

/// Whether there is a field in the header that tells a mail from any other file. In a mailbox even what has none is
/// a mail, and a person sees it.
fn is_mail(bytes: &[u8]) -> bool {
    let fields =
        ["From", "To", "Cc", "Subject", "Date", "Message-ID", "Received", "Return-Path", "Delivered-To"];
    Message::parse(bytes).is_some_and(|message| fields.iter().any(|field| message.has(field)))
}

/// What a mail is taken for, why not for certain, and what it may ask for besides what it asks for.
type Told = (Found, Option<String>, Vec<Finding>);

/// What reads by a folder of rules, and those rules.
type Side = (Reader, Table);

/// `classify --compare`: the mails whose verdict differs between two folders of rules. Failure when there is one.
fn compare<'a>(means: &Means<'_>, mails: &[PathBuf], old: &'a Side, new: &'a Side) -> Result<ExitCode> {
    let Means { options, .. } = means;
    let mut changed = 0;
    let side = |(reader, table): &'a Side| Ok::<_, anyhow::Error>((reader, Court::new(table)?));
    let (old, new) = (side(old)?, side(new)?);
    let verdict =
        |(reader, court): &(&Reader, Court<'_>), bytes: &[u8]| court.told(&reader.read(means.read_of(bytes)));
    each(mails, |file, bytes| {
        let (old, new) = (verdict(&old, bytes), verdict(&new, bytes));
        if essence(&old) == essence(&new) {
            return Ok(());
        }
        changed += 1;
        if options.json {
            let side = |((word, automated, findings), why, besides): &Told| json!({ "disposition": word, "automated": automated, "candidates": findings, "why": why, "besides": besides });
            let file = file.display().to_string();
            return print_json(&json!({ "file": file, "old": side(&old), "new": side(&new) })).map(drop);
        }
        print(&format!("{}\n  old: {}\n  new: {}", file.display(), in_words(&old), in_words(&new)))
    })?;
    if !options.json {
        let all = counted(mails.len(), "mail", "mails");
        print(&format!("{changed} of {all} would be taken for something else"))?;
    }
    Ok(if changed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What makes two verdicts different: disposition, automatic kind and types, not how sure each is.
fn essence(
    ((word, automated, findings), _, besides): &Told,
) -> (&'static str, Option<&'static str>, Vec<&str>, Vec<&str>) {
    (word, *automated, kinds(findings), kinds(besides))
}

fn kinds(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.kind.as_str()).collect()
}

/// A verdict in one line.
fn in_words(((word, automated, findings), why, besides): &Told) -> String {
    let mut words = (*word).to_owned();
    if let Some(kind) = automated {
        words.push_str(&format!(" ({kind})"));
    }
    let named = |findings: &[Finding]| {
        let names = findings.iter().map(|finding| format!("{} {:.2}", finding.kind, finding.confidence));
        names.collect::<Vec<_>>().join(", ")
    };
    if !findings.is_empty() {
        words.push_str(&format!(": {}", named(findings)));
    }
    if !besides.is_empty() {
        words.push_str(&format!("; for a person: {}", named(besides)));
    }
    if let Some(why) = why {
        words.push_str(&format!(" ({why})"));
    }
    words
}

/// Why a person must read a mail; of a sender that cannot be known another line tells.
fn why(letter: &Letter, decision: &Decision) -> Option<String> {
    if let Some(why) = letter.reading.as_ref().and_then(|reading| reading.verdict.why()) {
        return Some(why.to_owned());
    }
    if decision.disposition != Disposition::Review || letter.from.is_err() || letter.automatic.is_some() {
        return None;
    }
    let unclear = decision.requests.iter().find(|planned| planned.kind == UNCLEAR);
    Some(unclear.map_or_else(|| decision.why.clone(), |planned| planned.reason.clone()))
}

/// What a person must read beside requests that are opened.
fn besides(letter: &Letter, decision: &Decision) -> Vec<Finding> {
    let Some(Reading { verdict, .. }) = letter.reading.as_ref().filter(|_| letter.automatic.is_none()) else {
        return Vec::new();
    };
    match verdict {
        Verdict::Partly { candidates, .. } => candidates.clone(),
        // Whether an opt-out is also meant for the address that the mail names.
        Verdict::Requests(asked) if decision.requests.iter().any(|planned| planned.kind == UNCLEAR) => {
            let opts_out = |finding: &&Finding| {
                let mut planned = decision.requests.iter();
                planned.any(|planned| planned.kind == finding.kind && planned.action.opts_out())
            };
            asked.iter().filter(opts_out).cloned().collect()
        }
        Verdict::Requests(_) | Verdict::Unclear { .. } | Verdict::Nothing => Vec::new(),
    }
}

/// The files of the mails that are named on the command line and in the list.
fn mails(options: &Classify) -> Result<Vec<PathBuf>> {
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
        return Err(Mistake(
            "Name at least one .eml file, folder or Maildir, \"-\" for standard input, or use --files-from"
                .into(),
        )
        .into());
    }
    let is_piped = |path: &&PathBuf| path.as_os_str() == "-";
    if paths.iter().chain(&options.files_from).filter(is_piped).count() > 1 {
        return Err(Mistake("Standard input is one mail or the list of files: name \"-\" once".into()).into());
    }
    let mut all = Vec::new();
    for path in &paths {
        let mails = mails_at(path);
        if mails.is_empty() {
            eprintln!(
                "privacyd: There is no mail that can be read in {}: of a folder its .eml files are read, or of a Maildir \
                 what lies in new and cur; name the folders in it one by one",
                path.display()
            );
        }
        all.extend(mails);
    }
    Ok(all)
}

/// Does it with every mail. What cannot be read is told, and is a mistake in the end.
fn each(mails: &[PathBuf], mut read: impl FnMut(&Path, &[u8]) -> Result<()>) -> Result<()> {
    let mut failed = 0_u64;
    for file in mails {
        let bytes = match file.as_os_str() == "-" {
            true => {
                let mut bytes = Vec::new();
                std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
            }
            false => std::fs::read(file),
        };
        match bytes {
            Ok(bytes) => read(file, &bytes)?,
            Err(error) => {
                eprintln!("privacyd: Cannot read {}: {error}", file.display());
                failed += 1;
            }
        }
    }
    if failed > 0 {
        return Err(Mistake(format!("{} could not be read", counted(failed, "file", "files"))).into());
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

/// By which a mail is decided on: the types, and the policy.
pub struct Court<'a> {
    table: &'a Table,
    policy: Policy,
}

impl<'a> Court<'a> {
    /// Decides by `table` as the daemon does. Clocks and bounds of replies are of no interest here.
    pub fn new(table: &'a Table) -> Result<Self> {
        let clock = Clock::new(&table.laws, &[], Calendar::default());
        let clock = clock.map_err(|_| anyhow::anyhow!("There is no law for what has none"))?;
        let limits = Limits::default();
        let policy = Policy {
            fallback_language: "en".to_owned(),
            replies_per_day: limits.replies_per_day,
            unproven_replies_per_domain: limits.unproven_replies_per_domain,
            unproven_replies_in_all: limits.unproven_replies_in_all,
            replies_per_thread: limits.replies_per_thread,
            data_points_needed: 1,
            confirm_unsubscribe: false,
            clock,
            corrections: Vec::new(),
        };
        Ok(Self { table, policy })
    }

    /// What would follow from a mail if nothing were known of its sender.
    fn decide(&self, understanding: &Understanding) -> Decision {
        decide(understanding, self.table, &self.policy, &CaseFile::default(), Timestamp::now())
    }

    /// What a mail turned out to be, without a store: the word of `classify`, the automatic kind, the
    /// findings.
    pub fn disposition(&self, understanding: &Understanding) -> Found {
        let (found, ..) = self.told(understanding);
        found
    }

    fn told(&self, understanding: &Understanding) -> Told {
        let Understanding::Read(letter) = understanding else {
            return (("review", None, Vec::new()), None, Vec::new());
        };
        let decision = self.decide(understanding);
        let by_token = match &letter.token {
            Token::Valid(addresses) => Some(addresses),
            Token::Invalid | Token::None => None,
        };
        let automatic =
            letter.automatic.filter(|_| by_token.is_none()).map(|(automatic, _)| automatic.name());
        let word = match decision.disposition {
            Disposition::Review if automatic.is_none() && opens(&decision, letter) => "requests",
            Disposition::Unreadable => Disposition::Review.name(),
            disposition => disposition.name(),
        };
        let mut findings = of_words(letter);
        if let Some(addresses) = by_token {
            let is_done = letter.from.as_ref().map_or(true, |from| addresses.contains(&from.normalised()));
            // As a word of its own it is somebody else's, of himself.
            findings.retain(|finding| !(is_done && finding.kind == OPT_OUT));
            let rules = vec!["unsubscribe token".to_owned()];
            let kind = OPT_OUT.to_owned();
            findings
                .insert(0, Finding { kind, confidence: BY_TOKEN, rules, acts_from: BY_TOKEN, is_own: false });
        }
        let besides = besides(letter, &decision);
        ((word, automatic, findings), why(letter, &decision), besides)
    }
}

/// Whether a decision opens what the words ask for, though a person must read the mail for something besides.
fn opens(decision: &Decision, letter: &Letter) -> bool {
    let mut opened =
        decision.requests.iter().filter(|it| it.kind != UNCLEAR && it.subject.is_none()).peekable();
    // Where the evidence contradicts itself, what needs no proof alone is done.
    opened.peek().is_some()
        && (letter.evidence.proof != Proof::Conflict || opened.all(|it| it.proof_needed == 0))
}

/// What the words of a mail ask for; or, if that is nothing for certain, might ask for.
fn of_words(letter: &Letter) -> Vec<Finding> {
    let Some(Reading { verdict, .. }) = &letter.reading else { return Vec::new() };
    match verdict {
        // What a person must read besides is no request yet.
        Verdict::Requests(asked) | Verdict::Partly { asked, .. }
            if letter.from.is_ok() && letter.automatic.is_none() =>
        {
            asked.clone()
        }
        verdict => verdict.findings().cloned().collect(),
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

fn as_json(file: &Path, understanding: &Understanding, is_cut: bool, court: &Court<'_>) -> serde_json::Value {
    let ((word, automated, findings), _, besides) = court.told(understanding);
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
        "besides": besides,
        "sender": sender_json(understanding),
        "language": letter.and_then(|letter| letter.reading.as_ref()?.language.as_deref()),
        "text": letter.map_or("", |letter| letter.own_words.as_str()),
        "cut": is_cut,
    })
}

/// The same, for a person.
fn explain(file: &Path, understanding: &Understanding, court: &Court<'_>) -> String {
    let ((word, _, findings), why, besides) = court.told(understanding);
    let mut lines = vec![format!("{}: {word}", file.display())];
    match understanding {
        Understanding::Unreadable => lines.push("  there is not one header field in it".into()),
        Understanding::Unread(why) => lines.push(format!("  {why}")),
        Understanding::Read(letter) => {
            if let Some((automatic, mark)) = letter.automatic {
                lines.push(format!("  {}: {mark}", automatic.name()));
            }
            match &letter.token {
                Token::Valid(addresses) => lines.extend(
                    addresses.iter().map(|address| format!("  bears the unsubscribe token of {address}")),
                ),
                Token::Invalid => lines.push("  bears an invalid unsubscribe token".to_owned()),
                Token::None => {}
            }
            let evidence = &letter.evidence;
            lines.push(match &letter.from {
                Err(error) => format!("  sender: {error}"),
                Ok(from) => format!("  sender: {from}, proof {} ({})", evidence.proof.name(), evidence.why),
            });
            let reading = letter.reading.as_ref();
            let grounds = reading.map_or(&[][..], |reading| reading.grounds.as_slice());
            let is_of = |ground: &Ground, kind: &str| ground.rule.split('/').next() == Some(kind);
            for Finding { kind, confidence, rules, acts_from, .. } in &findings {
                lines.push(format!(
                    "  {kind} {confidence:.2} (acts from {acts_from:.2}): {}",
                    rules.join(", ")
                ));
                lines.extend(grounds.iter().filter(|ground| is_of(ground, kind)).map(spoken));
            }
            lines.extend(besides.iter().map(|it| format!("  perhaps {} {:.2}", it.kind, it.confidence)));
            let is_left = |ground: &&Ground| !findings.iter().any(|finding| is_of(ground, &finding.kind));
            if grounds.iter().any(|ground| is_left(&ground)) {
                lines.push("  found besides:".into());
                lines.extend(grounds.iter().filter(is_left).map(spoken));
            }
            lines.extend(why.map(|why| format!("  {why}")));
            if let Some(reading) = reading {
                lines.push(format!("  language: {}", reading.language.as_deref().unwrap_or("not told")));
            }
        }
    }
    lines.join("\n")
}

/// A phrase that was found: what it weighs, its name, what spoke against it, and its sentence.
fn spoken(Ground { rule, weight, sentence, against }: &Ground) -> String {
    // Some letters have no full stop; --json has all of their text.
    let cut = sentence.char_indices().nth(LONGEST_SHOWN).and_then(|(end, _)| sentence.get(..end));
    let sentence = cut.map_or_else(|| sentence.clone(), |cut| format!("{}…", cut.trim_end()));
    match against {
        None => format!("    {weight:.2} {rule}: {sentence:?}"),
        Some(why) => format!("    0.00 instead of {weight:.2} {rule} ({why}): {sentence:?}"),
    }
}
