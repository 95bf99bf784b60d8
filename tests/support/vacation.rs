//! Dovecot's vacation responder (Pigeonhole, RFC 5230), mail by mail and at times of the test's own: its
//! delivery agent is told the time by libfaketime, so what it remembers of whom it answered, and for how
//! long, is in that time as well. Nothing of the machine is touched, and no server runs.

#![allow(clippy::unwrap_used, reason = "a test responder may panic")]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use jiff::Timestamp;

use super::dovecot::{MAIL_USER, give_to_mail_user, is_root};

const AGENT: &str = "/usr/lib/dovecot/dovecot-lda";
const PLUGIN: &str = "/usr/lib/dovecot/modules/lib90_sieve_plugin.so";

/// Why it cannot be run here, if so.
pub fn missing() -> Option<&'static str> {
    if ![AGENT, PLUGIN].into_iter().all(|path| Path::new(path).exists()) {
        return Some("Dovecot's sieve is not installed");
    }
    let works = Command::new("faketime").arg("--version").stdout(Stdio::null()).status();
    (!works.is_ok_and(|status| status.success())).then_some("faketime is not installed")
}

/// The mailbox of somebody who is away.
pub struct Vacation {
    folder: tempfile::TempDir,
    address: String,
}

/// What the responder hands to its sendmail.
#[derive(Debug)]
pub struct Sent {
    /// The envelope's sender; empty is the null sender.
    pub envelope: String,
    /// The envelope's recipient.
    pub to: String,
    pub text: String,
}

impl Vacation {
    /// Answers mail to `address` with `words`, the same sender once in 7 days, under a subject that repeats
    /// the mail's. `settings` go into Dovecot's `plugin` section.
    pub fn new(address: &str, words: &str, settings: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("vacation").tempdir().unwrap();
        let root = folder.path().display();
        let configuration = format!(
            "# Without this line the time is forgotten on the way to the agent; and each program on it would make a
# semaphore of its own for its clock, and leave it behind.
import_environment = TZ HOME USER LD_PRELOAD FAKETIME FAKETIME_SHARED
base_dir = {root}
state_dir = {root}
log_path = {root}/log
mail_location = maildir:{root}/Maildir
hostname = mx.example.net
postmaster_address = postmaster@example.net
sendmail_path = {root}/sendmail
protocol lda {{
  mail_plugins = sieve
}}
plugin {{
  sieve = file:{root}/away.sieve
  {settings}
}}
"
        );
        let script = format!(
            "require [\"vacation\", \"variables\"];
if header :matches \"Subject\" \"*\" {{ set \"subject\" \"${{1}}\"; }}
vacation :days 7 :addresses \"{address}\" :subject \"Away: ${{subject}}\" \"{words}\";
"
        );
        // Called as `sendmail -i -f SENDER -- RECIPIENT`.
        let sendmail = format!("#!/bin/sh\n{{ printf '%s\\n%s\\n' \"$3\" \"$5\"; cat; }} > {root}/sent\n");
        for (name, text) in [("dovecot.conf", configuration), ("away.sieve", script), ("sendmail", sendmail)]
        {
            fs::write(folder.path().join(name), text).unwrap();
        }
        fs::set_permissions(folder.path().join("sendmail"), fs::Permissions::from_mode(0o755)).unwrap();
        give_to_mail_user(folder.path()).unwrap();
        Self { folder, address: address.to_owned() }
    }

    /// Delivers a mail at `now`; gives what is sent upon it.
    pub fn deliver(&self, now: Timestamp, envelope: &str, mail: &str) -> Option<Sent> {
        let root = self.folder.path();
        // faketime names its semaphore after its own process, and refuses to start where another one of that number
        // has left one behind. Then nothing was delivered, and the next process has another number.
        let end = (0..20)
            .map(|_| self.run(now, envelope, mail))
            .find(|end| !String::from_utf8_lossy(&end.stderr).contains("sem_open: File exists"))
            .expect("faketime starts");
        let said = String::from_utf8_lossy(&end.stderr);
        assert!(end.status.success(), "{}: {said}\n{}", end.status, self.log());
        let sent = fs::read_to_string(root.join("sent")).ok()?;
        fs::remove_file(root.join("sent")).unwrap();
        let (envelope, rest) = sent.split_once('\n').unwrap();
        let (to, text) = rest.split_once('\n').unwrap();
        let envelope = envelope.trim_matches(['<', '>']);
        Some(Sent { envelope: envelope.into(), to: to.into(), text: text.into() })
    }

    /// The delivery agent, once.
    fn run(&self, now: Timestamp, envelope: &str, mail: &str) -> Output {
        let root = self.folder.path();
        let mut command = Command::new("faketime");
        command
            .args(["-f", &now.strftime("@%Y-%m-%d %H:%M:%S").to_string(), AGENT, "-c"])
            .arg(root.join("dovecot.conf"))
            .args(["-f", if envelope.is_empty() { "<>" } else { envelope }, "-a", &self.address])
            .env("TZ", "UTC")
            .env("HOME", root)
            .env("USER", "away")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if is_root() {
            command.uid(MAIL_USER).gid(MAIL_USER);
        }
        let mut agent = command.spawn().unwrap();
        // It may have ended without reading.
        let written = agent.stdin.take().unwrap().write_all(mail.as_bytes());
        let end = agent.wait_with_output().unwrap();
        assert!(written.is_ok() || !end.status.success(), "{written:?}");
        end
    }

    /// What it did with each mail, and why.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}
