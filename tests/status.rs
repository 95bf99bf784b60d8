//! `status`, the one instance, and what the files beside it look like, by the binary on a Maildir.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use privacyd::config::Config;
use privacyd::daemon::Daemon;
use privacyd::stop::Stop;
use privacyd::store::Store;
use privacyd::watch::Watch;
use serde_json::Value;

#[allow(dead_code, reason = "each test uses its own part")]
#[path = "support/scripted.rs"]
mod scripted;

use scripted::{Scripted, expect, send};

/// One installation with a Maildir, and a folder for replies.
struct House {
    folder: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        Self::with("")
    }

    fn with(keys: &str) -> Self {
        let house = Self { folder: tempfile::tempdir().unwrap() };
        house.configure("privacyd", "privacyd.db", keys);
        house
    }

    /// Writes `NAME.toml`, of an installation on the same Maildir.
    fn configure(&self, name: &str, database: &str, keys: &str) {
        let path = |name: &str| self.path(name).display().to_string();
        let text = format!(
            "database = {:?}\npoll_interval = \"1s\"\nown_addresses = [\"privacy@example.com\"]\n[company]\nname = \"Example\"\n\
             [[maildir]]\nname = \"box\"\npath = {:?}\n[directory]\npath = {:?}\n{keys}",
            path(database),
            path("Maildir"),
            path("replies")
        );
        std::fs::write(self.path(&format!("{name}.toml")), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, name: &str, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_privacyd"));
        command.arg("--config").arg(self.path(&format!("{name}.toml"))).args(words);
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command("privacyd", words).output().unwrap()
    }

    fn done(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What `status` says, and its exit code.
    fn status(&self) -> (Value, Option<i32>) {
        let output = self.run(&["status", "--json"]);
        (serde_json::from_slice(&output.stdout).unwrap(), output.status.code())
    }

    fn deliver(&self, name: &str, words: &str) {
        for folder in ["new", "cur", "tmp"] {
            std::fs::create_dir_all(self.path("Maildir").join(folder)).unwrap();
        }
        let mail = format!(
            "From: {name}@example.org\nTo: privacy@example.com\nSubject: Hi\nMessage-ID: <{name}@example.org>\n\n{words}\n"
        );
        std::fs::write(self.path("Maildir/new").join(name), mail).unwrap();
    }

    /// Starts the daemon, with a socket that systemd would listen at.
    fn start(&self) -> Running {
        let socket = UnixDatagram::bind(self.path("notify")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut command = self.command("privacyd", &["run"]);
        command
            .env("NOTIFY_SOCKET", self.path("notify"))
            .env("WATCHDOG_USEC", "1800000000")
            .stderr(Stdio::piped());
        Running { child: command.spawn().unwrap(), socket, path: self.path("notify") }
    }
}

struct Running {
    child: Child,
    socket: UnixDatagram,
    path: PathBuf,
}

impl Running {
    /// What it tells systemd, up to and with the first message that has `word` in it.
    fn told(&self, word: &str) -> String {
        let (mut all, mut buffer) = (String::new(), [0; 4096]);
        while !all.contains(word) {
            let length = self.socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{error}: {all}"));
            all += std::str::from_utf8(&buffer[..length]).unwrap();
            all.push('\n');
        }
        all
    }

    /// SIGKILL.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::fs::remove_file(&self.path).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.path);
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn status_tells_what_runs_and_what_is_wrong() {
    let house = House::new();
    let nothing = house.run(&["status"]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(!house.path("privacyd.db").exists(), "looking must not make a database");

    house.deliver("jane", "Please unsubscribe me from your newsletter.");
    let daemon = house.start();
    let told = daemon.told("all read by 2");
    assert!(told.contains("READY=1\nSTATUS=1 mailboxes, "), "{told}");
    assert!(told.contains("STATUS=1 mailboxes, all read by 2"), "{told}");
    let (status, code) = house.status();
    assert_eq!((code, &status["good"], &status["wrong"]), (Some(0), &true.into(), &Value::Array(vec![])));
    assert_eq!(status["daemon_runs"], true);
    let mailbox = &status["mailboxes"][0];
    assert_eq!((&mailbox["name"], &mailbox["backlog"]), (&"box".into(), &0.into()));
    assert!(mailbox["last_good_cycle"].is_string(), "{mailbox}");
    let text = house.done(&["status"]);
    assert!(text.starts_with("good\ndaemon    runs\nmailbox   box: last good cycle 2"), "{text}");

    daemon.kill();
    // After a kill the write-ahead log is still there.
    for file in
        ["privacyd.db", "privacyd.db-wal", "privacyd.db-shm", "privacyd.db.lock", "Maildir/privacyd.lock"]
    {
        assert_eq!(mode(&house.path(file)), 0o600, "{file}");
    }
    let (status, code) = house.status();
    assert_eq!((code, &status["wrong"]), (Some(1), &serde_json::json!(["no daemon runs"])));
}

#[test]
fn a_mail_for_a_person_is_named_until_somebody_has_read_it() {
    let house = House::new();
    house.deliver("jane", "Please delete all my personal data.");
    house.done(&["run", "--once"]);
    let reply = std::fs::read_dir(house.path("replies")).unwrap().next().unwrap().unwrap().path();
    let question = std::fs::read_to_string(reply).unwrap().replace("\r\n ", " ");
    let field = |name: &str| question.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
    let answer = format!(
        "From: jane@example.org\nTo: privacy@example.com\nSubject: Re: {}\nMessage-ID: <2@example.org>\nIn-Reply-To: {}\n\n\
         Who is this?\n",
        field("Subject:"),
        field("Message-ID:")
    );
    std::fs::write(house.path("Maildir/new/answer"), answer).unwrap();
    house.done(&["run", "--once"]);

    let to_read = || -> Value {
        serde_json::from_str(&house.done(&["messages", "list", "--to-read", "--json"])).unwrap()
    };
    let (status, _) = house.status();
    assert_eq!((&status["mails_to_read"], &to_read()["id"]), (&1.into(), &2.into()));
    assert!(status["oldest_to_read"].is_string(), "{status}");
    let request: Value = serde_json::from_str(&house.done(&["requests", "list", "--json"])).unwrap();
    let reference = request["reference"].as_str().unwrap();
    let unread = "1 mail of this person is still to be read, and nothing of theirs is erased before: 2; look for them in their folder (privacyd messages show ID), then privacyd messages read ID, or messages reclassify ID TYPE";
    let shown = house.done(&["requests", "show", reference]);
    assert!(shown.contains(&format!("to read   {unread}\n")), "{shown}");
    let done = house.done(&["requests", "approve", reference]);
    assert!(done.ends_with(&format!("\nBut {unread}\n")), "{done}");

    let output = house.run(&["messages", "read", "1"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "0 mails are read\n");
    let why = String::from_utf8(output.stderr).unwrap();
    assert!(
        why.contains("Mail 1 is none that is to be read; privacyd messages list --to-read shows which are"),
        "{why}"
    );
    assert_eq!(house.done(&["messages", "read", "2"]), "1 mail is read: 2\n");
    assert_eq!(house.done(&["messages", "list", "--to-read"]), "Nothing\n");
    assert!(house.done(&["messages", "show", "2"]).contains("\nread by a person at 2"));
    assert_eq!(house.status().0["mails_to_read"], 0);
    assert!(!house.done(&["requests", "show", reference]).contains("to read"));
    assert_eq!(house.done(&["messages", "read", "--all"]), "0 mails are read\n");
}

#[test]
fn a_mailbox_that_cannot_be_read_feeds_no_watchdog() {
    let house = House::new();
    house.deliver("jane", "Please unsubscribe me from your newsletter.");
    std::fs::remove_dir(house.path("Maildir/cur")).unwrap();
    // No folder can be made in place of a file.
    std::fs::write(house.path("Maildir/cur"), "").unwrap();
    let daemon = house.start();
    let told = daemon.told("; box has failed ");
    assert!(told.contains("READY=1") && !told.contains("WATCHDOG"), "{told}");
    let (status, code) = house.status();
    assert_eq!(code, Some(1));
    assert_eq!(status["wrong"], serde_json::json!(["mailbox box has never been read"]));
}

#[tokio::test]
async fn a_login_that_is_refused_while_mail_is_read_is_remembered_by_run_once_too() {
    let folder = tempfile::tempdir().unwrap();
    let server = Scripted::start([vec![
        send("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hello\r\n"),
        expect("AUTHENTICATE PLAIN"),
        send("+ \r\n"),
        expect(""),
        send("t1 NO [AUTHENTICATIONFAILED] no\r\n"),
    ]]);
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("password"), "secret").unwrap();
    let text = format!(
        "database = {:?}\nown_addresses = [\"privacy@example.com\"]\n[company]\nname = \"Example\"\n\
         [[imap]]\nname = \"box\"\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nusername = \"ann\"\n\
         password.file = {:?}\n[directory]\npath = {:?}\n",
        path("privacyd.db"),
        server.port,
        path("password"),
        path("replies")
    );
    let config = Config::parse("test", &text).unwrap();
    let store = Store::open(&config.database).await.unwrap();
    // A mailbox that was read before, and had nothing: it is not looked into for traces of a loss.
    let watch = Watch::over(["box"].into_iter());
    watch.good("box", Timestamp::now());
    watch.record(&store).await.unwrap();
    let error = Daemon::build(&config).await.unwrap().run_once(Stop::never()).await.unwrap_err();
    assert!(format!("{error:#}").contains("The server refuses the login"), "{error:#}");
    assert!(store.refused_at("box").await.unwrap().is_some());
    store.close().await;
}

#[test]
fn a_watchdog_that_would_kill_a_daemon_that_is_well_is_refused() {
    let house = House::new();
    let output = house.command("privacyd", &["run"]).env("WATCHDOG_USEC", "60000000").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("WatchdogSec= of the unit is too short"), "{said}");
}

#[test]
fn a_second_daemon_refuses_and_takes_over_at_once_after_a_kill() {
    let house = House::new();
    house.configure("other", "other.db", "");
    house.deliver("jane", "Please unsubscribe me from your newsletter.");
    let daemon = house.start();
    daemon.told("READY=1");
    // Another database makes no difference: it would answer the same mail once more.
    for (name, what) in [("privacyd", "the database"), ("other", "the Maildir")] {
        let output = house.command(name, &["run", "--once"]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("another privacyd already works on {what}")), "{said}");
    }
    daemon.kill();
    let begun = Instant::now();
    let next = house.start();
    next.told("READY=1");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    next.told("all read by 2");
    next.kill();
    assert_eq!(house.done(&["outbox", "list", "--json"]).lines().count(), 1);
}

#[test]
fn a_look_at_the_lock_leaves_it_free() {
    let house = House::new();
    let database = house.path("privacyd.db");
    let is_claimed = || privacyd::store::Sole::is_claimed(&database).unwrap();
    assert!(!is_claimed(), "there is no lock file yet");
    let sole = privacyd::store::Sole::claim(&database).unwrap();
    assert!(is_claimed());
    drop(sole);
    assert!(!is_claimed());
    privacyd::store::Sole::claim(&database).unwrap();
}

#[test]
fn numbers_are_to_be_had_on_this_machine() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let house = House::with(&format!("[metrics]\nlisten = \"127.0.0.1:{port}\"\n"));
    house.deliver("jane", "Please unsubscribe me from your newsletter.");
    let daemon = house.start();
    daemon.told("all read by 2");
    let ask = |path: &str| {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let answer = ask("/metrics");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    for line in
        ["privacyd_good 1", "privacyd_messages_total 1", "privacyd_mailbox_backlog{mailbox=\"box\"} 0"]
    {
        assert!(answer.lines().any(|found| found == line), "{line}: {answer}");
    }
    assert!(!answer.contains('@'), "{answer}");
    assert!(ask("/").starts_with("HTTP/1.1 404 "));
}
