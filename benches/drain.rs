//! How fast a backlog is drained, end to end: a real Dovecot, the release binary, and Postfix's smtp-sink,
//! all on loopback; beside it, in the same run, the raw limits it is compared with. Reports, asserts nothing.
//!
//! `scripts/bench [MAILS [ROUND_TRIP_MS]]`

use std::hint::black_box;
use std::num::NonZero;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

#[path = "../tests/support/certificates.rs"]
mod certificates;
#[path = "../tests/support/dovecot.rs"]
mod dovecot;
#[path = "../tests/support/far_away.rs"]
mod far_away;
#[path = "../tests/support/imap_client.rs"]
mod imap_client;
#[path = "../tests/support/postfix.rs"]
mod postfix;

use dovecot::{Dovecot, Options, PASSWORD};
use far_away::far_away;
use imap_client::ImapClient;
use postfix::SmtpSink;
use privacyd::request::Table;
use privacyd::understand::Reader;
use sqlx::Connection;

/// The user with the backlog, and the one with a copy of it that the raw limits may move.
const USERS: [&str; 2] = ["privacy", "copy"];
const FETCH_ALL: &str = "UID FETCH 1:* (UID BODY.PEEK[])";

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let count = numbers.first().copied().unwrap_or(5000).max(1);
    let round_trip = Duration::from_millis(numbers.get(1).copied().unwrap_or(0));
    if let Some(reason) = dovecot::missing().or_else(certificates::missing).or_else(postfix::missing_sink) {
        return println!("no benchmark: {reason}");
    }
    let dovecot = Dovecot::start(&Options::default()).expect("Dovecot");
    let sink = SmtpSink::start(&[]);
    let mails: Vec<String> = (0..count).map(mail).collect();
    for mail in &mails {
        USERS.iter().for_each(|user| dovecot.deliver(user, mail.as_bytes()));
    }
    let bytes = mails.iter().map(String::len).sum::<usize>() / mails.len();
    println!("{count} mails, {bytes} bytes each on average, {} ms of round trip", round_trip.as_millis());

    // Dovecot makes its index at the first look, for whoever comes first.
    for user in USERS {
        raw_fetch(dovecot.plain_port, user);
    }
    let fetch = raw_fetch(dovecot.plain_port, "privacy");
    println!("raw: one FETCH of all              {:8.0} mails/s", rate(count, fetch));
    println!("raw: SQLite commits, 64 rows each  {:8.0} rows/s", rate(count, Rows::new().insert(count)));
    println!("raw: smtp-source, 8 sessions       {:8.0} mails/s", rate(count, raw_smtp(sink.port, count)));
    let at_once = raw_all_at_once(&dovecot, sink.port, mails);
    println!("raw: all lanes at once             {:8.0} mails/s", rate(count, at_once));

    let (imap, smtp) = if round_trip.is_zero() {
        (dovecot.plain_port, sink.port)
    } else {
        (far_away(dovecot.plain_port, round_trip / 2), far_away(sink.port, round_trip / 2))
    };
    let folder = tempfile::tempdir().expect("a folder");
    let config = configuration(folder.path(), imap, smtp);
    let (took, peak) = drain(&config);
    println!(
        "privacyd, IMAP to SMTP             {:8.0} mails/s, peak {:.1} MB",
        rate(count, took),
        peak as f64 / 1000.0
    );
    println!("ratio to the raw FETCH             {:8.2}", fetch.as_secs_f64() / took.as_secs_f64());
    println!("ratio to all lanes at once         {:8.2}", at_once.as_secs_f64() / took.as_secs_f64());
    let (sent, replies) = replies(&config);
    println!("replies sent                       {sent:8} of {replies}");
}

/// Runs the binary over the whole backlog; answers how long it took, and its peak memory in kB.
fn drain(config: &Path) -> (Duration, u64) {
    let begun = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_privacyd"))
        .args(["run", "--once", "--config"])
        .arg(config)
        .envs(environment())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary");
    let mut peak = 0;
    while child.try_wait().expect("the binary").is_none() {
        peak = peak_memory(child.id()).max(peak);
        thread::sleep(Duration::from_millis(5));
    }
    (begun.elapsed(), peak)
}

/// What the unit sets for the daemon.
fn environment() -> impl Iterator<Item = (&'static str, &'static str)> {
    let unit = include_str!("../systemd/privacyd.service");
    unit.lines().filter_map(|line| line.strip_prefix("Environment=")?.split_once('='))
}

/// How many replies were sent, of how many.
fn replies(config: &Path) -> (usize, usize) {
    let listed = Command::new(env!("CARGO_BIN_EXE_privacyd"))
        .args(["outbox", "list", "--json", "--limit", "1000000", "--config"])
        .arg(config)
        .output()
        .expect("the binary");
    let text = String::from_utf8_lossy(&listed.stdout);
    (text.lines().filter(|line| line.contains("\"state\":\"sent\"")).count(), text.lines().count())
}

fn rate(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

/// A mail of about 4 KB; of ten, three want no more mail, two ask for a copy or for deletion, two are
/// automatic, three ask nothing.
fn mail(number: u64) -> String {
    let (subject, words, mark) = match number % 10 {
        0..3 => ("Newsletter", "Please take me off your mailing list.", ""),
        3 => ("My data", "Please send me a copy of all the personal data you hold about me.", ""),
        4 => ("My data", "Please delete all my personal data from your systems.", ""),
        5..7 => ("Out of office", "I am away until Monday.", "Auto-Submitted: auto-replied\n"),
        _ => ("Boots", "The brown boots in size 42 pinch a little. Do they give with time?", ""),
    };
    let quoted = "> Our autumn sale has begun, and there is something in it for everybody.\n".repeat(45);
    format!(
        "Return-Path: <user{number}@example.org>\nReceived: from mail.example.org by mx.example.com; Mon, 23 Nov 2026 10:00:00 +0000\n\
         Date: Mon, 23 Nov 2026 10:00:00 +0000\nFrom: User {number} <user{number}@example.org>\nTo: privacy@example.com\n\
         Subject: {subject}\nMessage-ID: <{number}.bench@example.org>\n{mark}MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n\
         Hello,\n\n{words}\n\nKind regards\nUser {number}\n\nOn Sun, 22 Nov 2026 at 09:00, Example <news@example.com> wrote:\n{quoted}"
    )
}

fn configuration(folder: &Path, imap: u16, smtp: u16) -> std::path::PathBuf {
    let password = folder.join("password");
    std::fs::write(&password, PASSWORD).expect("a password file");
    let file = folder.join("privacyd.toml");
    let text = format!(
        "database = {:?}\nown_addresses = [\"privacy@example.com\"]\n[company]\nname = \"Example\"\n\
         [limits]\nunproven_replies_per_domain = 4000000000\nunproven_replies_in_all = 4000000000\n\
         [[imap]]\nname = \"bench\"\nhost = \"127.0.0.1\"\nport = {imap}\ntls = \"none\"\nusername = \"privacy\"\npassword = {{ file = {password:?} }}\n\
         [smtp]\nhost = \"127.0.0.1\"\nport = {smtp}\ntls = \"none\"\n",
        folder.join("privacyd.db")
    );
    std::fs::write(&file, text).expect("a configuration");
    file
}

/// One connection, one FETCH of everything, read to its end.
fn raw_fetch(port: u16, user: &str) -> Duration {
    let mut client = inbox(port, user);
    let begun = Instant::now();
    client.run(&[FETCH_ALL.into()]);
    begun.elapsed()
}

fn inbox(port: u16, user: &str) -> ImapClient {
    let mut client = ImapClient::login(port, user, PASSWORD);
    client.run(&["SELECT INBOX".into()]);
    client
}

/// What draining takes at the least, all of it at once on the same cores: a FETCH of all mails, reading them
/// on as many threads as there are cores, a row for each in SQLite, a message for every second one, and the
/// MOVE of all of them. Nothing waits for anything else, and no lane has a round trip.
fn raw_all_at_once(dovecot: &Dovecot, smtp: u16, mails: Vec<String>) -> Duration {
    let count = mails.len() as u64;
    // As Dovecot gives them.
    let mails: Vec<String> = mails.into_iter().map(|mail| mail.replace('\n', "\r\n")).collect();
    let table = Table::load(None).expect("the built-in rules");
    let own = "privacy@example.com".parse().expect("an address");
    let reader = Reader::new(&table, &[own]);
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let mut rows = Rows::new();
    let mut fetching = inbox(dovecot.plain_port, "privacy");
    let mut moving = inbox(dovecot.plain_port, "copy");
    moving.run(&FOLDERS.map(|folder| format!("CREATE {folder}")));
    let moves = moves(count);
    let begun = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| fetching.run(&[FETCH_ALL.into()]));
        scope.spawn(|| moving.run(&moves));
        scope.spawn(|| rows.insert(count));
        scope.spawn(|| raw_smtp(smtp, count.div_ceil(2)));
        for share in mails.chunks(mails.len().div_ceil(cores)) {
            let reader = &reader;
            scope.spawn(move || share.iter().for_each(|mail| drop(black_box(reader.read(mail.as_bytes())))));
        }
    });
    let took = begun.elapsed();
    let left = std::fs::read_dir(dovecot.maildir("copy").join("cur")).expect("a Maildir").count();
    assert!(left == 0, "{left} mails were not moved");
    took
}

const FOLDERS: [&str; 3] = ["One", "Two", "Three"];

/// The commands that move mails 1 to `count`, in sets of 2000 as the corridor does, a third into each folder.
fn moves(count: u64) -> Vec<String> {
    let uids: Vec<u64> = (1..=count).collect();
    let mut moves = Vec::new();
    for set in uids.chunks(2000) {
        for (part, folder) in set.chunks(set.len().div_ceil(FOLDERS.len())).zip(FOLDERS) {
            if let (Some(first), Some(last)) = (part.first(), part.last()) {
                moves.push(format!("UID MOVE {first}:{last} {folder}"));
            }
        }
    }
    moves
}

/// A table of its own in SQLite, as durable as the daemon's.
struct Rows {
    runtime: tokio::runtime::Runtime,
    db: sqlx::SqliteConnection,
    _folder: tempfile::TempDir,
}

impl Rows {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let options = sqlx::sqlite::SqliteConnectOptions::new()
            .filename(folder.path().join("raw.db"))
            .create_if_missing(true)
            .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
            .synchronous(sqlx::sqlite::SqliteSynchronous::Full);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let db = runtime.block_on(async {
            let mut db = sqlx::SqliteConnection::connect_with(&options).await.expect("SQLite");
            sqlx::query("CREATE TABLE t (id INTEGER PRIMARY KEY, a BLOB, b TEXT) STRICT")
                .execute(&mut db)
                .await
                .expect("a table");
            db
        });
        Self { runtime, db, _folder: folder }
    }

    /// Inserts so many rows, 64 with each commit.
    fn insert(&mut self, rows: u64) -> Duration {
        let begun = Instant::now();
        self.runtime.block_on(async {
            for _ in 0..rows.div_ceil(64) {
                let mut tx = self.db.begin().await.expect("a transaction");
                for _ in 0..64 {
                    let insert =
                        sqlx::query("INSERT INTO t (a, b) VALUES (randomblob(32), 'some text of a row')");
                    insert.execute(&mut *tx).await.expect("a row");
                }
                tx.commit().await.expect("a commit");
            }
        });
        begun.elapsed()
    }
}

fn raw_smtp(port: u16, mails: u64) -> Duration {
    let begun = Instant::now();
    let done = Command::new("smtp-source")
        .args([
            "-s",
            "8",
            "-l",
            "2000",
            "-m",
            &mails.to_string(),
            "-f",
            "a@example.com",
            "-t",
            "b@example.org",
        ])
        .arg(format!("127.0.0.1:{port}"))
        .status();
    assert!(done.is_ok_and(|status| status.success()), "smtp-source failed");
    begun.elapsed()
}

/// Peak resident memory of a process, in kB.
fn peak_memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
