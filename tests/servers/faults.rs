//! Every fault a connection can have, at every command of the dialogues with real servers: a proxy spoils
//! the command, and in the end every mail is recorded once and lies in its folder, every request is done
//! once, and every reply is sent once or flagged.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use privacyd::config::Config;
use privacyd::daemon::Daemon;
use privacyd::mailbox::{Body, Fetched, MailId, Window};
use privacyd::stop::Stop;
use serde_json::Value;

use crate::certificates::Certificates;
use crate::dovecot::{Dovecot, Options, PASSWORD};
use crate::house::text;
use crate::imap_client::ImapClient;
use crate::postfix::{Delivery, Postfix};
use crate::proxy::{Fault, Proxy};
use crate::{Need, Outcome, Scenario, run};

pub const SCENARIOS: &[Scenario] = &[
    ("every_fault_at_every_imap_command", &[Need::Dovecot, Need::Openssl], every_fault_at_every_imap_command),
    ("every_fault_at_every_smtp_command", &[Need::Postfix, Need::Openssl], || {
        run(every_fault_at_every_smtp_command(""))
    }),
    ("every_fault_at_every_smtp_command_without_pipelining", &[Need::Postfix, Need::Openssl], || {
        run(every_fault_at_every_smtp_command("smtpd_discard_ehlo_keywords = pipelining\n"))
    }),
    (
        "f01_a_connection_that_died_unnoticed_is_given_up",
        &[Need::Dovecot, Need::Openssl],
        f01_a_connection_that_died_unnoticed_is_given_up,
    ),
    (
        "f04_f08_who_is_refused_does_not_hammer",
        &[Need::Dovecot, Need::Openssl],
        f04_f08_who_is_refused_does_not_hammer,
    ),
    (
        "f06_f11_a_mail_is_fetched_once_however_often_is_polled",
        &[Need::Dovecot, Need::Openssl],
        f06_f11_a_mail_is_fetched_once_however_often_is_polled,
    ),
    (
        "f12_f13_what_others_do_to_a_mail_hides_none",
        &[Need::Dovecot, Need::Openssl],
        f12_f13_what_others_do_to_a_mail_hides_none,
    ),
    (
        "what_cannot_be_listed_keeps_no_look_from_its_end",
        &[Need::Dovecot, Need::Openssl],
        what_cannot_be_listed_keeps_no_look_from_its_end,
    ),
    (
        "a_mail_that_was_passed_by_is_found_below_the_cursor",
        &[Need::Dovecot, Need::Openssl],
        a_mail_that_was_passed_by_is_found_below_the_cursor,
    ),
    (
        "what_stays_in_the_inbox_is_copied_once_and_fetched_once_more",
        &[Need::Dovecot, Need::Openssl],
        what_stays_in_the_inbox_is_copied_once_and_fetched_once_more,
    ),
    (
        "f33_killed_at_each_command_it_ends_in_the_same_state",
        &[Need::Dovecot, Need::Postfix, Need::Openssl],
        f33_killed_at_each_command_it_ends_in_the_same_state,
    ),
];

/// Mails in each mailbox, so that a fault at one can be seen to spare its neighbour.
const MAILS: usize = 2;
/// How long privacyd waits for a server here. Stalls take as long.
const PATIENCE: Duration = Duration::from_secs(3);
/// More than any step takes by itself.
pub const UNHURRIED: Duration = Duration::from_secs(600);
/// Longer than a fault, the wait after it and the next pass may take, on a busy machine.
const RECOVERY: Duration = Duration::from_secs(300);

// ---- IMAP

/// A command of the dialogue: its name here, part of its line, and how many such lines pass before it.
type Stage = (&'static str, &'static str, usize);

/// The first UID MOVE finds its folder missing, so the second is the one that moves.
const IMAP_STAGES: [Stage; 10] = [
    ("login", "AUTHENTICATE", 0),
    ("capability", "CAPABILITY", 0),
    ("select", "SELECT", 0),
    ("list", "RFC822.SIZE", 0),
    ("body", "BODY.PEEK", 0),
    ("move", "UID MOVE", 1),
    ("create", "CREATE", 0),
    ("subscribe", "SUBSCRIBE", 0),
    ("status", "STATUS", 0),
    ("logout", "LOGOUT", 0),
];
/// With a server that has no MOVE.
const IMAP_STAGES_WITHOUT_MOVE: [Stage; 3] =
    [("copy", "UID COPY", 1), ("store", "UID STORE", 0), ("expunge", "UID EXPUNGE", 0)];

const IMAP_FAULTS: [(&str, Fault); 12] = [
    ("cut", Fault::Cut),
    ("cut-after", Fault::CutAfter),
    ("torn", Fault::Torn),
    ("stall", Fault::Stall),
    ("black-hole", Fault::BlackHole),
    ("slow", Fault::Slow),
    ("no", Fault::Say("$1 NO [UNAVAILABLE] not now\r\n")),
    ("bad", Fault::Say("$1 BAD what?\r\n")),
    ("bye", Fault::SayLast("* BYE going down\r\n")),
    ("garbage", Fault::Say("\u{1} }{ )( nonsense \"\r\n")),
    ("literal", Fault::Say("* 1 FETCH (UID 1 BODY[]<0> {400000000}\r\n")),
    ("bomb", Fault::Flood("* OK a line that comes again and again and again and again and again\r\n")),
];

/// One installation with many mailboxes.
pub struct House {
    folder: tempfile::TempDir,
    /// Name, which is the user's too, and port.
    pub boxes: Vec<(String, u16)>,
    /// Where replies go; without it into a folder.
    smtp: Option<u16>,
}

impl House {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("password"), PASSWORD).unwrap();
        Self { folder, boxes: Vec::new(), smtp: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the configuration with these mailboxes, each with its port.
    pub fn configure(&self, patience: Duration, boxes: &[(String, u16)]) {
        let out = match self.smtp {
            None => format!("[directory]\npath = {:?}\n", self.path("replies")),
            Some(port) => format!(
                "[smtp]\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\npatience = \"{}s\"\n",
                patience.as_secs()
            ),
        };
        let mut config = format!(
            "database = {:?}\npoll_interval = \"2s\"\nown_addresses = [\"privacy@example.com\"]\n\
             [company]\nname = \"Example Company\"\n[log]\nlevel = \"trace\"\n\
             [limits]\nunproven_replies_per_domain = 100000\nunproven_replies_in_all = 100000\n{out}",
            self.path("privacyd.db"),
        );
        for (name, port) in boxes {
            config += &format!(
                "[[imap]]\nname = {name:?}\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\nusername = {name:?}\n\
                 password.file = {:?}\npatience = \"{}s\"\n",
                self.path("password"),
                patience.as_secs(),
            );
        }
        std::fs::write(self.path("privacyd.toml"), config).unwrap();
    }

    fn privacyd(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_privacyd"));
        command.arg("--config").arg(self.path("privacyd.toml")).args(words);
        command
    }

    /// Starts it; its log goes to a file.
    pub fn start(&self) -> Running {
        let log = std::fs::File::create(self.path("log")).unwrap();
        Running(self.privacyd(&["run"]).stderr(log).spawn().unwrap())
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.path("log")).unwrap()).into_owned()
    }

    pub fn list(&self, words: &[&str]) -> Vec<Value> {
        let output = self.privacyd(words).args(["--json", "--limit", "2000000"]).output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        // A daemon that has just started has made none yet.
        if log.contains("yet; begin with privacyd run") {
            return Vec::new();
        }
        assert!(output.status.success(), "{words:?}: {log}");
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Runs it to its end; gives what it logged.
    fn run_once(&self) -> String {
        let output = self.privacyd(&["run", "--once"]).stdout(Stdio::null()).output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{log}");
        log
    }
}

/// A running privacyd, killed when dropped.
pub struct Running(Child);

impl Running {
    /// The most memory it has had, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Ends it by SIGTERM; gives how long that took.
    pub fn end(mut self) -> Duration {
        let begun = Instant::now();
        let done = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().unwrap();
        assert!(done.success());
        wait(RECOVERY, "it does not end", || self.0.try_wait().unwrap().is_some());
        assert_eq!(self.0.wait().unwrap().code(), Some(0));
        begun.elapsed()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until `is_so`.
pub fn wait(limit: Duration, complaint: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !is_so() {
        assert!(Instant::now() < end, "{complaint}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Words that must not come into any log, in every place of a mail that a sender fills.
pub const CANARIES: [&str; 9] =
    ["xylophone", "zebedee", "quagga", "ibex", "wombat", "narwhal", "axolotl", "okapi", "example.org"];

/// An opt-out of `user`, with a canary in every header and part.
pub fn mail(user: &str) -> Vec<u8> {
    format!(
        "Return-Path: <{user}@example.org>\n\
         Received: from quagga.example.org (ibex.example.org [192.0.2.7]) by mx.example.com; Mon, 23 Nov 2026 10:00:00 +0000\n\
         From: Zebedee <{user}@example.org>\nTo: privacy@example.com\nSubject: Xylophone\n\
         Date: Mon, 23 Nov 2026 10:00:00 +0000\nMessage-ID: <{user}.wombat@example.org>\n\
         X-Narwhal: narwhal\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=okapi\n\n\
         --okapi\nContent-Type: text/plain\n\nPlease unsubscribe me from the newsletter. Axolotl.\n\
         --okapi\nContent-Type: application/pdf; name=narwhal.pdf\n\nokapi\n--okapi--\n"
    )
    .into_bytes()
}

/// Checks that a log says nothing of a mail, a password or a library's own words.
pub fn assert_no_canary(log: &str) {
    let log = log.to_lowercase();
    for canary in CANARIES.into_iter().chain([PASSWORD, "async_imap", "sqlx::", "lettre"]) {
        let line = log.lines().find(|line| line.contains(canary));
        assert!(line.is_none(), "{canary:?} in the log: {line:?}");
    }
}

pub fn filed(dovecot: &Dovecot, user: &str, folder: &str) -> Vec<PathBuf> {
    let root = dovecot.maildir(user);
    let root = if folder == "INBOX" { root } else { root.join(format!(".{folder}")) };
    let files = |part: &str| std::fs::read_dir(root.join(part)).into_iter().flatten();
    files("new").chain(files("cur")).flatten().map(|entry| entry.path()).collect()
}

/// How many different mails there are among files.
pub fn different(files: &[PathBuf]) -> usize {
    files.iter().map(|path| std::fs::read(path).unwrap()).collect::<BTreeSet<_>>().len()
}

fn every_fault_at_every_imap_command() -> Outcome {
    let servers = [
        Dovecot::start(&Options::default())?,
        Dovecot::start(&Options { without: vec!["MOVE"], ..Options::default() })?,
    ];
    let mut house = House::new();
    let mut proxies: BTreeMap<String, (Proxy, &Dovecot, Stage)> = BTreeMap::new();
    let stages = IMAP_STAGES
        .map(|stage| (stage, 0))
        .into_iter()
        .chain(IMAP_STAGES_WITHOUT_MOVE.map(|stage| (stage, 1)));
    for (stage, server) in stages {
        for (fault_name, fault) in IMAP_FAULTS {
            let (stage_name, at, before) = stage;
            let name = format!("{stage_name}-{fault_name}");
            let server = &servers[server];
            for number in 0..MAILS {
                server.deliver(&name, &mail(&format!("{name}-{number}")));
            }
            let proxy = Proxy::start(server.plain_port);
            proxy.spoil(at, before, fault, 1);
            house.boxes.push((name.clone(), proxy.port));
            proxies.insert(name, (proxy, server, stage));
        }
    }
    house.configure(PATIENCE, &house.boxes);

    let begun = Instant::now();
    let running = house.start();
    // By itself, in one process: whatever happened to a mailbox, it works again.
    let mut open: BTreeSet<&String> = proxies.keys().collect();
    while !open.is_empty() {
        open.retain(|name| {
            let (proxy, server, (stage, ..)) = &proxies[*name];
            let has_failed = *stage == "logout" || proxy.fired() == 1;
            let is_done = filed(server, name, "INBOX").is_empty()
                && different(&filed(server, name, "Opt-out")) == MAILS;
            !(has_failed && is_done)
        });
        assert!(begun.elapsed() < RECOVERY, "not done: {open:?}\n{}", house.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    let took = begun.elapsed();
    let memory = running.peak_memory();
    // Only now LOGOUT is said: the end must not hang on it.
    let ending = running.end();
    assert!(ending < PATIENCE * 4, "the end took {ending:?}");
    for (name, (proxy, ..)) in &proxies {
        wait(PATIENCE, &format!("{name}: the fault has not happened"), || proxy.fired() == 1);
    }
    let log = house.log();
    assert_no_canary(&log);
    assert!(!log.contains("a fault of privacyd's own"), "{log}");

    // A clean run finds nothing to do.
    let direct: Vec<_> =
        proxies.iter().map(|(name, (_, server, _))| (name.clone(), server.plain_port)).collect();
    house.configure(UNHURRIED, &direct);
    let clean = house.run_once();
    assert!(!clean.contains("mail received"), "{clean}");
    assert_no_canary(&clean);

    let all = proxies.len() * MAILS;
    let ledger = house.list(&["messages", "list"]);
    let mut of_box: BTreeMap<String, usize> = BTreeMap::new();
    for row in &ledger {
        assert_eq!(text(row, "folder"), "Opt-out", "{row}");
        *of_box.entry(text(row, "mailbox")).or_default() += 1;
    }
    let requests = house.list(&["requests", "list", "--all"]);
    let replies = house.list(&["outbox", "list"]);
    let recipients: BTreeSet<String> = replies.iter().map(|row| text(row, "recipient")).collect();
    assert_eq!((ledger.len(), requests.len(), replies.len(), recipients.len()), (all, all, all, all));
    assert!(requests.iter().all(|row| text(row, "status") == "completed"));
    assert!(replies.iter().all(|row| text(row, "state") == "sent"));
    assert_eq!(std::fs::read_dir(house.path("replies")).unwrap().count(), all);
    let mut extra = 0;
    for (name, (_, server, (stage, ..))) in &proxies {
        assert_eq!(of_box.get(name), Some(&MAILS), "{name}");
        let files = filed(server, name, "Opt-out");
        assert_eq!((filed(server, name, "INBOX").len(), different(&files)), (0, MAILS), "{name}");
        if files.len() > MAILS {
            // What was copied and could not be taken out of the inbox is copied again: never lost.
            assert!(["copy", "store", "expunge"].contains(stage), "{name}: a mail lies there twice");
            extra += files.len() - MAILS;
        }
    }
    println!(
        "{} faults in {took:?}: {all} mails recorded, acted on and answered once, {extra} copies too many in a folder; \
         {} MB of memory at the most",
        proxies.len(),
        memory / 1_000_000
    );
    assert!(memory < 300_000_000, "{memory} bytes of memory");
    Ok(())
}

/// The daemon takes a dead line for one after the limit of the command, and is back a second or two later.
fn f01_a_connection_that_died_unnoticed_is_given_up() -> Outcome {
    // With the time limits as they are where nothing is configured: PRIVACYD_PATIENCE=600.
    let patience = std::env::var("PRIVACYD_PATIENCE").map_or(Ok(2), |seconds| seconds.parse())?;
    let dovecot = Dovecot::start(&Options::default())?;
    let mut house = House::new();
    let proxy = Proxy::start(dovecot.plain_port);
    house.boxes.push(("dead".into(), proxy.port));
    house.configure(Duration::from_secs(patience), &house.boxes);
    dovecot.deliver("dead", &mail("one"));
    let running = house.start();
    let filed_so_many = |count| filed(&dovecot, "dead", "Opt-out").len() == count;
    wait(RECOVERY, "the first mail is not filed", || filed_so_many(1));
    // In the middle of a session that has worked.
    proxy.spoil("SELECT", 0, Fault::BlackHole, 1);
    wait(RECOVERY, "there is no second pass", || proxy.fired() == 1);
    let died = Instant::now();
    dovecot.deliver("dead", &mail("two"));
    wait(RECOVERY, "the second mail is not filed", || filed_so_many(2));
    println!(
        "filed {:.1} s after the connection had died, with a patience of {patience} s",
        died.elapsed().as_secs_f32()
    );
    assert!(proxy.connections() > 1, "the dead connection was used again");
    running.end();
    assert!(house.log().contains("The server did not answer within"), "{}", house.log());
    Ok(())
}

/// A server that hangs up at once, and one that does not take the password.
fn f04_f08_who_is_refused_does_not_hammer() -> Outcome {
    let dovecot = Dovecot::start(&Options::default())?;
    let mut house = House::new();
    let proxies = ["down", "locked"].map(|name| {
        let proxy = Proxy::start(dovecot.plain_port);
        dovecot.deliver(name, &mail(name));
        house.boxes.push((name.into(), proxy.port));
        proxy
    });
    let [down, locked] = &proxies;
    down.spoil("AUTHENTICATE", 0, Fault::Cut, usize::MAX);
    locked.spoil("AUTHENTICATE", 0, Fault::Say("$1 NO [AUTHENTICATIONFAILED] no\r\n"), usize::MAX);
    house.configure(PATIENCE, &house.boxes);
    let begun = Instant::now();
    let running = house.start();
    wait(RECOVERY, "it does not try again", || down.fired() == 4);
    // 1, 2 and 4 s lie between the four.
    assert!(begun.elapsed() >= Duration::from_secs(7), "four attempts in {:?}", begun.elapsed());
    assert_eq!(locked.fired(), 1, "a refused password is tried again");
    down.spoil("AUTHENTICATE", 0, Fault::Cut, 0);
    wait(RECOVERY, "it does not come back", || filed(&dovecot, "down", "Opt-out").len() == 1);
    assert_eq!((down.connections(), locked.connections()), (5, 1));
    running.end();
    assert!(house.log().contains("wait_s=900"), "{}", house.log());
    // Nor does a restart.
    let running = house.start();
    wait(RECOVERY, "it does not know of the refusal", || house.log().contains("refused before the restart"));
    running.end();
    assert_eq!(locked.connections(), 1);
    Ok(())
}

/// In hundreds of polls nothing is fetched twice.
fn f06_f11_a_mail_is_fetched_once_however_often_is_polled() -> Outcome {
    const POLLS: usize = 200;
    const SIZE: usize = 20_000;
    let dovecot = Dovecot::start(&Options::default())?;
    let proxy = Proxy::start(dovecot.plain_port);
    let mut house = House::new();
    house.boxes.push(("polled".into(), proxy.port));
    house.configure(PATIENCE, &house.boxes);
    run(async {
        let config = std::fs::read_to_string(house.path("privacyd.toml")).unwrap();
        let mut daemon = Daemon::build(&Config::parse("test", &config).unwrap()).await.unwrap();
        let mailbox = daemon.mailboxes.first_mut().unwrap();
        let mut bytes = Vec::new();
        for poll in 0..POLLS {
            if poll < 5 {
                let long = [mail(&format!("u{poll}")), vec![b'x'; SIZE]].concat();
                dovecot.deliver("polled", &long);
            }
            let passed = daemon.intake.pass(mailbox, &|| false).await.unwrap();
            assert_eq!(passed.mails, u64::from(poll < 5), "poll {poll}");
            bytes.push(proxy.bytes());
        }
        let idle = (bytes[POLLS - 1] - bytes[5]) / (POLLS - 6);
        let busy = bytes[4] - 5 * idle;
        println!("{idle} bytes for a poll without news, {busy} for five mails of {SIZE} bytes");
        assert!(idle < 3000, "a poll without news costs {idle} bytes");
        assert!(busy < 5 * SIZE * 11 / 10, "{busy} bytes for five mails of {SIZE}");
        assert_eq!(proxy.connections(), 1);
    })
}

/// A colleague reads, marks, copies and moves; and the daemon was off for a month.
/// Runs a command to its end; gives what it wrote, to standard output and to the log.
fn said(house: &House, words: &[&str]) -> (String, String) {
    let output = house.privacyd(words).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    (String::from_utf8(output.stdout).unwrap(), log)
}

fn what_cannot_be_listed_keeps_no_look_from_its_end() -> Outcome {
    let server = Dovecot::start(&Options::default())?;
    let proxy = Proxy::start(server.plain_port);
    let mut house = House::new();
    house.boxes.push(("ann".into(), proxy.port));
    house.configure(UNHURRIED, &house.boxes);
    house.run_once();
    for number in 0..20 {
        server.deliver_into("ann", "Held", &mail(&format!("ann-{number}")));
    }
    // Once all of them; then two alone, as often as they are tried, and the third but once.
    let nil = "* 1 FETCH (UID 1 RFC822.SIZE 5 INTERNALDATE NIL)\r\n";
    proxy.spoil("RFC822.SIZE", 0, Fault::Say(nil), 8);
    let (found, log) = said(&house, &["reconcile"]);
    assert_eq!(proxy.fired(), 8, "{log}");
    assert_eq!(found, "20 mails looked at, 20 unaccounted; 0 requests found among junk\n", "{log}");
    assert_no_canary(&log);
    // All of them are known by their bytes, also those of which nothing but these was had.
    assert_eq!(different(&filed(&server, "ann", "Held")), 20);
    for path in filed(&server, "ann", "Held") {
        server.deliver_into("ann", "Automatic", &std::fs::read(path)?);
    }
    let (found, log) = said(&house, &["reconcile"]);
    assert_eq!(found, "20 mails looked at, 0 unaccounted; 0 requests found among junk\n", "{log}");
    Ok(())
}

fn a_mail_that_was_passed_by_is_found_below_the_cursor() -> Outcome {
    let server = Dovecot::start(&Options::default())?;
    let proxy = Proxy::start(server.plain_port);
    let mut house = House::new();
    house.boxes.push(("ann".into(), proxy.port));
    house.configure(UNHURRIED, &house.boxes);
    (0..3).for_each(|number| server.deliver("ann", &mail(&format!("ann-{number}"))));
    // Twice the listing leaves one out: when the mails are read, and when they are looked through.
    let hides = "* 1 FETCH (UID 1 RFC822.SIZE 900 INTERNALDATE \" 1-Jan-2026 10:00:00 +0100\")\r\n\
                 * 3 FETCH (UID 3 RFC822.SIZE 900 INTERNALDATE \" 1-Jan-2026 10:00:00 +0100\")\r\n$1 OK\r\n";
    proxy.spoil("RFC822.SIZE", 0, Fault::Say(hides), 1);
    house.run_once();
    assert_eq!((house.list(&["messages", "list"]).len(), filed(&server, "ann", "INBOX").len()), (2, 1));
    server.deliver("ann", &mail("ann-3"));
    house.run_once();
    let hides = "* 2 FETCH (UID 4 RFC822.SIZE 900 INTERNALDATE \" 1-Jan-2026 10:00:00 +0100\")\r\n$1 OK\r\n";
    proxy.spoil("RFC822.SIZE", 0, Fault::Say(hides), 1);
    let (found, log) = said(&house, &["reconcile"]);
    assert_eq!(proxy.fired(), 1, "{log}");
    assert_eq!(found, "3 mails looked at, 0 unaccounted; 0 requests found among junk\n", "{log}");
    let (found, log) = said(&house, &["reconcile"]);
    // It lies in its folder by then, and is looked at there as well.
    assert_eq!(found, "2 mails looked at, 1 unaccounted; 0 requests found among junk\n", "{log}");
    assert_eq!((house.list(&["messages", "list"]).len(), filed(&server, "ann", "INBOX").len()), (4, 0));
    assert_eq!(house.list(&["requests", "list", "--all"]).len(), 4, "it has gone the usual way");
    let (found, log) = said(&house, &["reconcile"]);
    assert_eq!(found, "0 mails looked at, 0 unaccounted; 0 requests found among junk\n", "{log}");
    Ok(())
}

fn what_stays_in_the_inbox_is_copied_once_and_fetched_once_more() -> Outcome {
    let server = Dovecot::start(&Options { without: vec!["MOVE"], ..Options::default() })?;
    let proxy = Proxy::start(server.plain_port);
    proxy.spoil("UID STORE", 0, Fault::Say("$1 NO [SERVERBUG] not now\r\n"), usize::MAX);
    let mut house = House::new();
    house.boxes.push(("ann".into(), proxy.port));
    house.configure(UNHURRIED, &house.boxes);
    for number in [0, 1, 0] {
        server.deliver("ann", &mail(&format!("ann-{number}")));
    }
    let log = house.run_once();
    assert_eq!(log.matches("filed mail also stays in the inbox").count(), 1, "{log}");
    for _ in 0..3 {
        house.run_once();
    }
    let lies = || (filed(&server, "ann", "INBOX").len(), filed(&server, "ann", "Opt-out").len());
    assert_eq!(lies(), (3, 3));
    let looks = |expected: [&str; 3]| {
        for looked_at in expected {
            let (found, log) = said(&house, &["reconcile"]);
            let wanted = format!("{looked_at} looked at, 0 unaccounted; 0 requests found among junk\n");
            assert_eq!(found, wanted, "{log}");
        }
    };
    // All of it once; then that of two with the same bytes which the ledger has no number of.
    looks(["6 mails", "1 mail", "0 mails"]);
    house.run_once();
    assert_eq!(lies(), (3, 3));
    // Numbered anew, all is read and copied again; and nothing is fetched every night.
    for entry in std::fs::read_dir(server.maildir("ann"))? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("dovecot")) {
            std::fs::remove_file(path)?;
        }
    }
    house.run_once();
    house.run_once();
    assert_eq!(lies(), (3, 6));
    looks(["6 mails", "1 mail", "0 mails"]);
    assert_eq!(house.list(&["messages", "list"]).len(), 2);
    Ok(())
}

fn f12_f13_what_others_do_to_a_mail_hides_none() -> Outcome {
    let dovecot = Dovecot::start(&Options::default())?;
    let mut house = House::new();
    house.boxes.push(("shared".into(), dovecot.plain_port));
    house.configure(PATIENCE, &house.boxes);
    let received = SystemTime::now() - Duration::from_secs(30 * 24 * 60 * 60);
    let seconds = i64::try_from(received.duration_since(SystemTime::UNIX_EPOCH)?.as_secs())?;
    let mut colleague = ImapClient::login(dovecot.plain_port, "shared", PASSWORD);
    let mut run = |command: &str| colleague.run(&[command.to_owned()]);
    run("CREATE Elsewhere");
    for user in ["seen", "deleted", "copied", "moved", "old"] {
        dovecot.deliver("shared", &mail(user));
        for path in filed(&dovecot, "shared", "INBOX") {
            // What Dovecot gives as INTERNALDATE.
            std::fs::File::open(path)?.set_modified(received)?;
        }
        // So that they get their numbers in this order.
        run("SELECT INBOX");
    }
    run("STORE 1 +FLAGS (\\Seen)");
    run("STORE 2 +FLAGS (\\Deleted)");
    run("COPY 3 INBOX");
    run("UID MOVE 4 Elsewhere");
    house.run_once();
    let ledger = house.list(&["messages", "list"]);
    let senders: BTreeSet<String> = ledger.iter().map(|row| text(row, "sender")).collect();
    let expected = ["copied", "deleted", "old", "seen"].map(|user| format!("{user}@example.org"));
    assert_eq!(senders, BTreeSet::from(expected));
    assert_eq!(ledger.len(), 4, "a copy is no other mail: {ledger:?}");
    for row in &ledger {
        let at = row.get("received_at").and_then(Value::as_i64).unwrap();
        assert!((at - seconds).abs() <= 1, "received {at} instead of {seconds}");
    }
    let requests = house.list(&["requests", "list", "--all"]);
    assert_eq!((requests.len(), house.list(&["outbox", "list"]).len()), (4, 4));
    assert_eq!(
        filed(&dovecot, "shared", "Elsewhere").len(),
        1,
        "a colleague's folder is no business of ours"
    );
    Ok(())
}

// ---- SMTP

const SMTP_STAGES: [Stage; 6] = [
    ("EHLO", "^EHLO ", 0),
    ("MAIL", "^MAIL FROM:", 0),
    ("RCPT", "^RCPT TO:", 0),
    ("DATA", "^DATA\r\n", 0),
    ("dot", "^.\r\n", 0),
    ("QUIT", "^QUIT\r\n", 0),
];

const SMTP_FAULTS: [(&str, Fault); 13] = [
    ("cut", Fault::Cut),
    ("cut-after", Fault::CutAfter),
    ("torn", Fault::Torn),
    ("stall", Fault::Stall),
    ("black-hole", Fault::BlackHole),
    ("slow", Fault::Slow),
    ("not-now", Fault::Say("451 4.3.0 not now\r\n")),
    ("never", Fault::Say("550 5.7.1 never\r\n")),
    ("closing", Fault::SayLast("421 4.3.2 closing\r\n")),
    ("garbage", Fault::SayLast("what did you say?\r\n")),
    ("two-answers", Fault::SayLast("250 ok\r\n250 ok\r\n")),
    ("wrong-code", Fault::SayLast("354 go on\r\n")),
    ("bomb", Fault::Flood("250-a line that comes again and again and again and again and again\r\n")),
];

async fn every_fault_at_every_smtp_command(settings: &str) {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::create(folder.path()).unwrap();
    let (mut faults, mut unknown, mut delivered) = (0, 0, 0);
    let postfix = Postfix::start_with("example.org", Delivery::Maildirs, &certificates, settings);
    let house = Letters::new(&postfix).await;
    for (stage_name, at, before) in SMTP_STAGES {
        for (fault_name, fault) in SMTP_FAULTS {
            // Silence takes its time, and one house that waits for it is enough.
            if !settings.is_empty() && matches!(fault, Fault::Stall | Fault::BlackHole) {
                continue;
            }
            let name = format!("{fault_name} at {stage_name}");
            house.queue(&name).await;
            // Having said something else than a server would, the proxy is out of step with it.
            let fault = match (stage_name, fault) {
                ("dot", Fault::Say(text)) => Fault::SayLast(text),
                _ => fault,
            };
            house.proxy.spoil(at, before, fault, 1);
            house.drain().await;
            wait(PATIENCE, &format!("{name}: the fault has not happened"), || house.proxy.fired() == 1);
            let in_state = |rows: &[(String, String)], state: &str| {
                rows.iter().filter(|(_, found)| found == state).count()
            };
            let rows = house.latest().await;
            let of_unknown_fate = in_state(&rows, "unknown");
            let harmless = ["not-now", "never", "closing", "slow", "two-answers"].contains(&fault_name);
            let expected = match (stage_name, fault_name) {
                // All of the message is said to a server that asked for it and is gone.
                ("DATA", "wrong-code") => of_unknown_fate.min(1),
                _ => usize::from(stage_name == "dot" && !harmless),
            };
            assert_eq!(of_unknown_fate, expected, "{name}: {rows:?}");
            assert_eq!(in_state(&rows, "transmitting"), 0, "{name}: {rows:?}");
            // What was not tried goes out with the next connection.
            house.drain().await;
            let rows = house.latest().await;
            assert_eq!(in_state(&rows, "queued"), 0, "{name}: {rows:?}");
            faults += 1;
        }
    }
    // What was put off or refused is sent again by hand; what is of unknown fate is not.
    for reply in house.replies().await {
        if ["deferred", "bounced"].contains(&reply.state.as_str()) {
            house.daemon.intake.store.retry(reply.id, Timestamp::now()).await.unwrap();
        }
    }
    house.drain().await;
    let log = postfix.log();
    for reply in house.replies().await {
        // The one lie that nobody can see through: an answer that a server never gave.
        let is_lied_about = reply.recipient.starts_with("two-answers-at-dot");
        match reply.state.as_str() {
            "sent" if is_lied_about => {}
            "sent" => {
                let count = postfix.wait_for_mails(&reply.recipient, 1).len();
                assert_eq!(count, 1, "{}: {log}", reply.recipient);
            }
            "unknown" => {
                let count = postfix.mails(&reply.recipient).len();
                assert!(count <= 1, "{} got it {count} times", reply.recipient);
                unknown += 1;
                delivered += count;
            }
            state => panic!("{} is {state}", reply.recipient),
        }
    }
    let requests = house.daemon.intake.store.requests(None, 100_000).await.unwrap();
    assert_eq!(requests.len(), faults * MAILS);
    assert!(requests.iter().all(|request| request.status == "completed"));
    println!(
        "{faults} faults: {unknown} replies of unknown fate, of which {delivered} had been delivered; none twice"
    );
}

/// An installation that sends through a proxy.
struct Letters {
    daemon: Daemon,
    proxy: Proxy,
    _folder: tempfile::TempDir,
}

impl Letters {
    async fn new(postfix: &Postfix) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let proxy = Proxy::start(postfix.plain);
        let path = |name: &str| folder.path().join(name);
        let config = format!(
            "database = {:?}\nown_addresses = [\"privacy@example.com\"]\n[company]\nname = \"Example\"\n\
             [limits]\nunproven_replies_per_domain = 100000\nunproven_replies_in_all = 100000\n\
             [[maildir]]\nname = \"box\"\npath = {:?}\n\
             [smtp]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nhelo = \"mail.example.com\"\npatience = \"1s\"\n",
            path("privacyd.db"),
            path("Maildir"),
            proxy.port,
        );
        let daemon = Daemon::build(&Config::parse("test", &config).unwrap()).await.unwrap();
        Self { daemon, proxy, _folder: folder }
    }

    /// Mails come in whose replies are then queued.
    async fn queue(&self, name: &str) {
        let name = name.replace(' ', "-").to_lowercase();
        let mails = (0..MAILS).map(|number| {
            let bytes = mail(&format!("{name}-{number}"));
            Fetched {
                id: MailId::Uid(u32::try_from(number).unwrap() + 1),
                size: bytes.len() as u64,
                received: Timestamp::now(),
                body: Body::Whole(bytes),
            }
        });
        let window = Window { validity: 1, mails: mails.collect() };
        self.daemon.intake.receive(&name, window, Timestamp::now()).await.unwrap();
    }

    /// One drain, which may fail and must not hang.
    async fn drain(&self) {
        let stop = Stop::never();
        let drained = tokio::time::timeout(Duration::from_secs(30), self.daemon.outbox.drain(&stop)).await;
        let _ = drained.expect("it hangs");
    }

    async fn replies(&self) -> Vec<privacyd::store::lookup::ReplyRow> {
        self.daemon.intake.store.replies(None, 100_000).await.unwrap()
    }

    /// Recipient and state of the replies that were queued last.
    async fn latest(&self) -> Vec<(String, String)> {
        let rows = self.daemon.intake.store.replies(None, u32::try_from(MAILS).unwrap()).await.unwrap();
        rows.into_iter().map(|row| (row.recipient, row.state)).collect()
    }
}

// ---- Kill points

/// Killed when a command is about to be carried out, and when it just has been. All commands with
/// PRIVACYD_KILLS set (scripts/kill-points), a few without it.
fn f33_killed_at_each_command_it_ends_in_the_same_state() -> Outcome {
    let servers = [
        Dovecot::start(&Options::default())?,
        Dovecot::start(&Options { without: vec!["MOVE"], ..Options::default() })?,
    ];
    let mut house = House::new();
    let certificates = Certificates::create(house.folder.path())?;
    let postfix = Postfix::start("example.org", Delivery::Maildirs, &certificates);
    let out = Proxy::start(postfix.plain);
    house.smtp = Some(out.port);
    let is_whole = std::env::var_os("PRIVACYD_KILLS").is_some();
    let stages = IMAP_STAGES
        .map(|stage| (stage, Some(&servers[0])))
        .into_iter()
        .chain(IMAP_STAGES_WITHOUT_MOVE.map(|stage| (stage, Some(&servers[1]))))
        .chain(SMTP_STAGES.map(|stage| (stage, None)))
        // LOGOUT is only said at the end.
        .filter(|((stage, ..), _)| *stage != "logout")
        .filter(|((stage, ..), _)| is_whole || ["body", "move", "store", "dot"].contains(stage));
    let mut boxes: Vec<(String, &Dovecot)> = Vec::new();
    for ((stage, at, before), server) in stages {
        for (when, fault) in [("before", Fault::Stall), ("after", Fault::BlackHole)] {
            // Dovecot knows its users in lower case.
            let name = format!("{stage}-{when}").to_lowercase();
            let dovecot = server.unwrap_or(&servers[0]);
            for number in 0..MAILS {
                dovecot.deliver(&name, &mail(&format!("{name}-{number}")));
            }
            let way_in = Proxy::start(dovecot.plain_port);
            let spoiled = if server.is_some() { &way_in } else { &out };
            spoiled.spoil(at, before, fault, 1);
            house.configure(UNHURRIED, &[(name.clone(), way_in.port)]);
            let running = house.start();
            wait(RECOVERY, &format!("{name} does not come"), || spoiled.fired() == 1);
            // By SIGKILL.
            drop(running);
            boxes.push((name, dovecot));
        }
    }
    let direct: Vec<_> = boxes.iter().map(|(name, dovecot)| (name.clone(), dovecot.plain_port)).collect();
    house.configure(UNHURRIED, &direct);
    house.run_once();
    house.run_once();

    let all = boxes.len() * MAILS;
    for (name, dovecot) in &boxes {
        let (inbox, folder) = (filed(dovecot, name, "INBOX"), filed(dovecot, name, "Opt-out"));
        assert_eq!((inbox.len(), different(&folder)), (0, MAILS), "{name}");
        // What was copied and not yet taken out of the inbox is copied again.
        let may_be_twice = ["copy", "store", "expunge"].iter().any(|stage| name.starts_with(stage));
        assert!(folder.len() == MAILS || may_be_twice, "{name}: a mail lies there twice");
    }
    let requests = house.list(&["requests", "list", "--all"]);
    assert!(requests.iter().all(|row| text(row, "status") == "completed"));
    let replies = house.list(&["outbox", "list"]);
    assert_eq!((house.list(&["messages", "list"]).len(), requests.len(), replies.len()), (all, all, all));
    let mut unknown = 0;
    for row in &replies {
        let (recipient, state) = (text(row, "recipient"), text(row, "state"));
        match state.as_str() {
            "sent" => assert_eq!(postfix.wait_for_mails(&recipient, 1).len(), 1, "{recipient}"),
            "unknown" => {
                unknown += 1;
                assert!(postfix.mails(&recipient).len() <= 1, "{recipient} got it twice");
            }
            other => panic!("{recipient}: {other}"),
        }
    }
    println!(
        "{} kills, {all} mails: none lost, nothing twice, {unknown} replies of unknown fate",
        boxes.len()
    );
    Ok(())
}
