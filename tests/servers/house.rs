//! The binary against a real Dovecot and a real Postfix on loopback: mail goes in by SMTP, is read over
//! IMAP with TLS, and the replies come back by SMTP.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::Value;

use crate::certificates::Certificates;
use crate::dovecot::{Dovecot, Options, PASSWORD};
use crate::imap_client::ImapClient;
use crate::postfix::{Delivery, Postfix};
use crate::{Need, Outcome, Scenario};

const SERVERS: &[Need] = &[Need::Dovecot, Need::Postfix, Need::Openssl];

pub const SCENARIOS: &[Scenario] = &[
    ("mail_is_sorted_acted_on_and_answered", SERVERS, mail_is_sorted_acted_on_and_answered),
    (
        "killed_at_any_moment_it_ends_in_the_same_state",
        SERVERS,
        killed_at_any_moment_it_ends_in_the_same_state,
    ),
    ("codes_and_tokens_come_back_behind_a_plus", SERVERS, codes_and_tokens_come_back_behind_a_plus),
    ("a_changed_uidvalidity_repeats_nothing", SERVERS, a_changed_uidvalidity_repeats_nothing),
    ("a_mail_that_is_moved_by_hand_is_reclassified", SERVERS, a_mail_that_is_moved_by_hand_is_reclassified),
    ("sigterm_drains_and_exits_with_0", SERVERS, sigterm_drains_and_exits_with_0),
];

/// One installation with its two servers.
pub struct House {
    folder: tempfile::TempDir,
    pub dovecot: Dovecot,
    postfix: Postfix,
}

impl House {
    fn new() -> Self {
        Self::with("")
    }

    /// With more sections of the configuration.
    pub fn with(sections: &str) -> Self {
        Self::of(&Options::default(), sections)
    }

    /// The same with a Dovecot of its own sort.
    pub fn of(options: &Options, sections: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::create(folder.path()).unwrap();
        let dovecot = Dovecot::start(options).unwrap();
        let postfix = Postfix::start("example.org", Delivery::Maildirs, &certificates);
        std::fs::write(folder.path().join("password"), PASSWORD).unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let config = format!(
            "database = {:?}\npoll_interval = \"1s\"\nown_addresses = [\"privacy@example.com\"]\n\
             [company]\nname = \"Example Company\"\n\
             [[imap]]\nname = \"privacy\"\nhost = \"localhost\"\nport = {}\nca_file = {:?}\nusername = \"privacy\"\npassword.file = {:?}\n\
             [smtp]\nhost = \"localhost\"\nport = {}\ntls = \"starttls\"\nca_file = {:?}\n{sections}",
            path("privacyd.db"),
            dovecot.tls_port,
            dovecot.ca(),
            path("password"),
            postfix.starttls,
            certificates.ca,
        );
        std::fs::write(folder.path().join("privacyd.toml"), config).unwrap();
        Self { folder, dovecot, postfix }
    }

    /// A second Postfix, which takes mail for privacy@example.com and puts it where Dovecot serves it.
    fn border(&self) -> Postfix {
        self.border_with("")
    }

    /// The same with more settings for Postfix.
    pub fn border_with(&self, settings: &str) -> Postfix {
        let own = self.folder.path().join("border");
        std::fs::create_dir(&own).unwrap();
        let certificates = Certificates::create(&own).unwrap();
        let maildir = self.dovecot.maildir("privacy");
        let border = Postfix::start_with("example.com", Delivery::Maildirs, &certificates, settings);
        std::fs::create_dir_all(maildir.parent().unwrap()).unwrap();
        // Dovecot makes the folder, with its owner, at the first login.
        self.run(&["check"]);
        std::os::unix::fs::symlink(&maildir, border.mail_root()).unwrap();
        border
    }

    pub fn database(&self) -> PathBuf {
        self.folder.path().join("privacyd.db")
    }

    /// The server that its replies go to.
    pub fn way_out(&self) -> &Postfix {
        &self.postfix
    }

    /// A file of the installation.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Sends replies through `border` from now on.
    pub fn reply_through(&self, border: &Postfix) {
        let file = self.path("privacyd.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let (before, after) = text.split_once("[smtp]").unwrap();
        let port = |postfix: &Postfix| format!("port = {}", postfix.starttls);
        let after = after.replace(&port(&self.postfix), &port(border));
        let authority = |path: PathBuf| format!("{path:?}");
        let after = after.replace(&authority(self.path("ca.pem")), &authority(self.path("border/ca.pem")));
        std::fs::write(file, format!("{before}[smtp]{after}")).unwrap();
    }

    pub fn privacyd(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_privacyd"));
        command.arg("--config").arg(self.folder.path().join("privacyd.toml")).args(words);
        // Nothing but the configuration may open the log to the libraries' lines.
        command.env("RUST_LOG", "trace");
        command
    }

    /// Runs a command to its end; gives what it wrote to standard output and to the log.
    pub fn run(&self, words: &[&str]) -> (String, String) {
        let output = self.privacyd(words).output().unwrap();
        let (out, log) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(output.status.success(), "{words:?}: {log}");
        (out, log)
    }

    pub fn start(&self) -> Child {
        self.privacyd(&["run"]).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Starts it, and kills it so long after it has logged in to the mailbox.
    fn kill_after_login(&self, delay: Duration) {
        let logins = || self.dovecot.log().matches("Login: user=").count();
        let before = logins();
        let mut child = self.start();
        let end = Instant::now() + Duration::from_secs(60);
        while logins() == before {
            assert!(Instant::now() < end, "it does not log in: {}", self.dovecot.log());
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(delay);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub fn list(&self, words: &[&str]) -> Vec<Value> {
        let words: Vec<&str> = words.iter().copied().chain(["--json", "--limit", "10000"]).collect();
        let output = self.privacyd(&words).output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        // A daemon that has just started has made none yet.
        if log.contains("yet; begin with privacyd run") {
            return Vec::new();
        }
        assert!(output.status.success(), "{words:?}: {log}");
        let rows = String::from_utf8(output.stdout).unwrap();
        rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The mails in a folder, as Dovecot keeps them.
    pub fn filed(&self, folder: &str) -> Vec<PathBuf> {
        let root = self.dovecot.maildir("privacy");
        let root = if folder == "INBOX" { root } else { root.join(format!(".{folder}")) };
        let files = |part: &str| std::fs::read_dir(root.join(part)).into_iter().flatten();
        files("new").chain(files("cur")).map(|entry| entry.unwrap().path()).collect()
    }
}

/// Sends one mail to privacy@example.com by SMTP, as a stranger's server would.
fn send(port: u16, mail: &[u8]) {
    send_from(port, None, mail);
}

/// The same, where Postfix believes the client to be another one (its XCLIENT command).
pub fn send_from(port: u16, client: Option<&str>, mail: &[u8]) {
    send_to(port, client, "privacy@example.com", mail);
}

pub fn send_to(port: u16, client: Option<&str>, recipient: &str, mail: &[u8]) {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let mut expect = |code: &str| {
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        assert!(line.starts_with(code), "{line}");
    };
    expect("220 ");
    if let Some(client) = client {
        stream.write_all(format!("XCLIENT {client}\r\n").as_bytes()).unwrap();
        expect("220 ");
    }
    let text = String::from_utf8_lossy(mail).replace('\n', "\r\n");
    let steps = [
        ("HELO mail.example.org\r\n", "250 "),
        ("MAIL FROM:<sender@example.org>\r\n", "250 "),
        (&format!("RCPT TO:<{recipient}>\r\n"), "250 "),
        ("DATA\r\n", "354 "),
        (&format!("{text}\r\n.\r\n"), "250 "),
        ("QUIT\r\n", "221 "),
    ];
    for (command, code) in steps {
        stream.write_all(command.as_bytes()).unwrap();
        expect(code);
    }
}

pub fn mail(number: usize, from: &str, subject: &str, extra: &str, words: &str) -> Vec<u8> {
    format!(
        "Return-Path: <{from}>\nFrom: Mallory Zebedee <{from}>\nTo: privacy@example.com\nSubject: {subject}\n\
         Date: Mon, 23 Nov 2026 10:00:00 +0000\nMessage-ID: <{number}.test@example.org>\n{extra}\n{words}\n"
    )
    .into_bytes()
}

pub fn text(row: &Value, key: &str) -> String {
    row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// With `recipient_delimiter` Postfix knows privacy+anything@ by the one mailbox that is there.
fn codes_and_tokens_come_back_behind_a_plus() -> Outcome {
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n").unwrap();
    let house = House::with(&format!(
        "[proof]\nplus_addressing = true\n[unsubscribe]\nkeys = [{{ file = {:?} }}]\n",
        key.path()
    ));
    let border = house.border_with(
        "recipient_delimiter = +\nvirtual_mailbox_maps = inline:{ { privacy@example.com = all/ } }\n",
    );
    let come = |to: &str, mail: &str| {
        let before = house.filed("INBOX").len();
        send_to(border.plain, None, to, mail.as_bytes());
        let end = Instant::now() + Duration::from_secs(20);
        while house.filed("INBOX").len() == before {
            assert!(Instant::now() < end, "the mail does not arrive: {}", border.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        house.run(&["run", "--once"]);
    };
    let request = "From: ann@example.org\nTo: privacy@example.com\nSubject: Data\nMessage-ID: <1@example.org>\n\n\
         Please delete all my personal data.\n";
    come("privacy@example.com", request);
    let question = house.way_out().wait_for_mails("ann@example.org", 1).remove(0).replace("\n ", " ");
    let to = question.lines().find_map(|line| line.strip_prefix("Reply-To: ")).unwrap();
    let to = to.rsplit('<').next().unwrap().trim_end_matches(['>', '\r']);
    assert!(to.starts_with("privacy+c.") && to.ends_with("@example.com"), "{question}");
    come(
        to,
        &format!("From: ann@example.org\nTo: {to}\nSubject: My answer\nMessage-ID: <2@example.org>\n\nYes\n"),
    );
    let status = |kind: &str| {
        let rows = house.list(&["requests", "list", "--all"]);
        let row = rows.into_iter().find(|row| text(row, "kind") == kind);
        row.map(|row| (text(&row, "subject"), text(&row, "status")))
    };
    assert_eq!(status("deletion"), Some(("ann@example.org".into(), "approved".into())));

    let (address, _) = house.run(&["token", "jane@example.org"]);
    let to = address.split(['<', '>', ':', '?', '\n']).find(|word| word.contains("+u.")).unwrap();
    come(to, &format!("From: machine@example.net\nTo: {to}\n\n"));
    assert_eq!(status("opt_out"), Some(("jane@example.org".into(), "completed".into())));
    Ok(())
}

/// The log is as talkative as it can be made, so what is not in it is at no level.
fn mail_is_sorted_acted_on_and_answered() -> Outcome {
    let house = House::with("[log]\nlevel = \"trace\"\n");
    let border = house.border();
    let deliver = |mail: Vec<u8>| send(border.plain, &mail);
    deliver(mail(1, "jane@example.org", "Xylophone", "", "Please take me off your mailing list."));
    deliver(mail(2, "ann@example.org", "Meine Daten", "", "Bitte löschen Sie alle meine Daten."));
    deliver(mail(3, "ben@example.org", "Out of office", "Auto-Submitted: auto-replied\n", "Unsubscribe me."));
    deliver(mail(4, "privacy@example.com", "Note", "", "Please delete all my data."));
    deliver(mail(5, "cat@example.org", "Boots", "", "Do the boots in size 42 come in green?"));
    deliver(
        b"From: a@example.org\nFrom: b@example.org\nSubject: Who?\n\nPlease delete all my data.\n".to_vec(),
    );
    let end = Instant::now() + Duration::from_secs(20);
    while house.filed("INBOX").len() < 6 {
        assert!(Instant::now() < end, "the mails do not arrive: {}", border.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    let (_, mut log) = house.run(&["run", "--once"]);

    let requests = house.list(&["requests", "list", "--all"]);
    let kinds: Vec<(String, String)> =
        requests.iter().map(|row| (text(row, "kind"), text(row, "status"))).collect();
    for expected in [("opt_out", "completed"), ("deletion", "awaiting_proof"), ("unclear", "held")] {
        assert!(kinds.contains(&(expected.0.into(), expected.1.into())), "{expected:?} in {kinds:?}");
    }
    assert_eq!(kinds.len(), 3);
    house.run(&["suppressions", "check", "JANE@example.org"]);
    for (folder, count) in [("INBOX", 0), ("Opt-out", 1), ("Deletion", 1), ("Automatic", 2), ("Held", 2)] {
        assert_eq!(house.filed(folder).len(), count, "{folder}");
    }
    let jane = house.postfix.wait_for_mails("jane@example.org", 1);
    let ann = house.postfix.wait_for_mails("ann@example.org", 1);
    let reply = jane.first().unwrap();
    for field in [
        "In-Reply-To: <1.test@example.org>",
        "Auto-Submitted: auto-replied",
        "References: <1.test@example.org>",
    ] {
        assert!(reply.contains(field), "{field} in {reply}");
    }
    assert!(!reply.contains("Xylophone") && !reply.contains("Mallory"), "the sender's words came back");
    assert!(reply.contains("Return-Path: <>"), "the envelope sender is not null: {reply}");
    assert!(ann.first().unwrap().contains("PR-"));
    assert_eq!(house.list(&["outbox", "list", "--state", "sent"]).len(), 2);
    // And nothing again.
    log += &house.run(&["run", "--once"]).1;
    assert_eq!(house.list(&["outbox", "list"]).len(), 2);

    // Ann's deletion cannot be undone, so she was asked; her answer comes by the same way.
    let question = ann.first().unwrap();
    let code = question
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '.')
        .find(|word| word.starts_with("c.") && word.len() == 28)
        .unwrap();
    deliver(mail(7, "mallory@example.net", &format!("Re: {code}"), "", "Ja"));
    deliver(mail(8, "ann@example.org", &format!("Re: {code}"), "", "Ja, das war ich."));
    let end = Instant::now() + Duration::from_secs(20);
    while house.filed("INBOX").len() < 2 {
        assert!(Instant::now() < end, "the answers do not arrive: {}", border.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    log += &house.run(&["run", "--once"]).1;
    let approved = house.list(&["requests", "list", "--status", "approved"]);
    let kinds: Vec<String> = approved.iter().map(|row| text(row, "kind")).collect();
    assert_eq!(kinds, ["deletion"]);
    assert_eq!(house.postfix.wait_for_mails("ann@example.org", 2).len(), 2);

    assert!(log.contains("mail received") && log.contains("reply sent") && log.contains("DEBUG"), "{log}");
    let login = base64::engine::general_purpose::STANDARD.encode(format!("\0privacy\0{PASSWORD}"));
    for canary in
        ["jane", "example.org", "Mallory", "Xylophone", "mailing list", "meine Daten", code, PASSWORD, &login]
    {
        assert!(!log.contains(canary), "{canary:?} in the log: {log}");
    }
    for library in ["async_imap", "sqlx", "lettre", "rustls", "mail_parser"] {
        assert!(!log.contains(library), "a line of {library} in the log: {log}");
    }
    Ok(())
}

/// Twenty kills or so; more with PRIVACYD_KILLS (scripts/kill-points).
fn killed_at_any_moment_it_ends_in_the_same_state() -> Outcome {
    let wanted = std::env::var("PRIVACYD_KILLS").map_or(Ok(1), |kills| kills.parse())?;
    let (mut kills, mut mails, mut held, mut unknown) = (0, 0, 0, 0);
    let (mut any_on_the_way_in, mut any_on_the_way_out) = (false, false);
    let mut delays = FIRST_KILL;
    while kills < wanted {
        let result = killed_until_nothing_is_left(delays);
        // Between the moments of the house before.
        delays = delays * 21 / 20;
        kills += result.kills;
        mails += MAILS;
        held += result.held;
        unknown += result.unknown;
        any_on_the_way_in |= result.any_on_the_way_in;
        any_on_the_way_out |= result.any_on_the_way_out;
    }
    assert!(any_on_the_way_in, "no kill while mail came in");
    assert!(any_on_the_way_out, "no kill while mail went out");
    println!(
        "{kills} kills, {mails} mails: none lost, nothing twice, {held} held, {unknown} replies of unknown fate"
    );
    Ok(())
}

/// How long after the login the first kill comes.
const FIRST_KILL: Duration = Duration::from_millis(5);
const MAILS: usize = 60;

/// What a house full of kills has led to.
struct Killed {
    kills: usize,
    any_on_the_way_in: bool,
    any_on_the_way_out: bool,
    held: usize,
    unknown: usize,
}

fn killed_until_nothing_is_left(mut delay: Duration) -> Killed {
    let house = House::new();
    for number in 0..MAILS {
        let from = format!("user{number}@example.org");
        house.dovecot.deliver("privacy", &mail(number, &from, "Hi", "", "Please unsubscribe me."));
    }
    // Each kill comes somewhat later after the login than the one before, until one finds nothing left to
    // do: so they fall everywhere between the first command and the last reply, on any machine. In small steps
    // once the rules are compiled, which takes a slow machine far longer than all that follows.
    let mut moments = Vec::new();
    loop {
        house.kill_after_login(delay);
        let recorded = house.list(&["messages", "list"]).len();
        delay = if recorded == 0 { delay * 5 / 4 } else { delay * 21 / 20 };
        let sent = house.list(&["outbox", "list", "--state", "sent"]).len();
        moments.push((recorded, sent));
        let queued = house.list(&["outbox", "list", "--state", "queued"]).len();
        if (recorded, queued) == (MAILS, 0) {
            break;
        }
        assert!(moments.len() < 120, "it gets no further: {moments:?}");
    }
    println!("recorded and sent after each kill: {moments:?}");
    let blaming = moments.iter().filter(|(recorded, _)| *recorded < MAILS).count();
    house.run(&["run", "--once"]);
    house.run(&["run", "--once"]);

    assert_eq!(house.list(&["messages", "list"]).len(), MAILS);
    // Only a mail that was itself being looked at when three of the kills came would be held.
    let done = house.list(&["requests", "list", "--status", "completed"]).len();
    let held = house.list(&["requests", "list", "--status", "held"]).len();
    assert_eq!(done + held, MAILS);
    // The first kill may blame the whole window, each one after it a single mail; the third makes it held.
    assert!(
        held * 2 <= blaming,
        "{held} mails are held after {blaming} kills: they blame mails that were not being looked at"
    );
    assert_eq!(
        (house.filed("INBOX").len(), house.filed("Opt-out").len(), house.filed("Held").len()),
        (0, done, held)
    );
    let replies = house.list(&["outbox", "list"]);
    assert_eq!(replies.len(), done);
    let mut unknown = 0;
    for row in &replies {
        let (recipient, state) = (text(row, "recipient"), text(row, "state"));
        match state.as_str() {
            "sent" => assert_eq!(house.postfix.wait_for_mails(&recipient, 1).len(), 1, "{recipient}"),
            "unknown" => {
                unknown += 1;
                assert!(house.postfix.mails(&recipient).len() <= 1, "{recipient} got it twice");
            }
            other => panic!("{recipient}: {other}"),
        }
    }
    println!("{unknown} of {MAILS} replies are of unknown fate");
    Killed {
        kills: moments.len(),
        any_on_the_way_in: moments.iter().any(|(recorded, _)| (1..MAILS).contains(recorded)),
        any_on_the_way_out: moments.iter().any(|(_, sent)| (1..MAILS * 3 / 4).contains(sent)),
        held,
        unknown,
    }
}

fn a_changed_uidvalidity_repeats_nothing() -> Outcome {
    let house = House::new();
    let letters: Vec<Vec<u8>> = (0..5)
        .map(|number| mail(number, &format!("user{number}@example.org"), "Hi", "", "Please unsubscribe me."))
        .collect();
    letters.iter().for_each(|letter| house.dovecot.deliver("privacy", letter));
    house.run(&["run", "--once"]);
    assert_eq!(house.list(&["outbox", "list"]).len(), 5);

    // Without its list of UIDs Dovecot numbers the folder anew.
    let maildir = house.dovecot.maildir("privacy");
    for entry in std::fs::read_dir(&maildir).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("dovecot")) {
            std::fs::remove_file(path).unwrap();
        }
    }
    // It is told, and told once, though there is nothing to read.
    let warned = || house.run(&["run", "--once"]).1.matches("another UIDVALIDITY").count();
    assert_eq!((warned(), warned()), (1, 0));
    letters.iter().for_each(|letter| house.dovecot.deliver("privacy", letter));
    house.dovecot.deliver("privacy", &mail(7, "new@example.org", "Hi", "", "Please unsubscribe me."));
    house.run(&["run", "--once"]);
    assert_eq!(house.list(&["outbox", "list"]).len(), 6);
    assert_eq!(house.list(&["requests", "list", "--all"]).len(), 6);
    assert_eq!((house.filed("INBOX").len(), house.filed("Opt-out").len()), (0, 11));
    Ok(())
}

fn sigterm_drains_and_exits_with_0() -> Outcome {
    let house = House::new();
    house.dovecot.deliver("privacy", &mail(1, "jane@example.org", "Hi", "", "Please unsubscribe me."));
    let mut child = house.start();
    house.postfix.wait_for_mails("jane@example.org", 1);
    let done = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(done.success());
    let end = Instant::now() + Duration::from_secs(20);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < end, "it does not stop");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(0));
    assert_eq!(house.list(&["outbox", "list", "--state", "sent"]).len(), 1);
    Ok(())
}

fn a_mail_that_is_moved_by_hand_is_reclassified() -> Outcome {
    let house = House::new();
    let deliver = |mail: Vec<u8>| house.dovecot.deliver("privacy", &mail);
    let unclear = "Please do not delete my account.";
    deliver(mail(1, "jane@example.org", "Hi", "", unclear));
    deliver(mail(2, "ann@example.org", "Hi", "", unclear));
    house.run(&["run", "--once"]);
    // Nothing is asked in this one, and no request is opened.
    deliver(mail(3, "cat@example.org", "Boots", "", "Do the boots in size 42 come in green?"));
    house.run(&["run", "--once"]);
    assert_eq!(house.filed("Held").len(), 3);
    let kinds = |status: &str| -> Vec<String> {
        let mut kinds: Vec<String> = house
            .list(&["requests", "list", "--status", status])
            .iter()
            .map(|row| text(row, "kind"))
            .collect();
        kinds.sort();
        kinds
    };
    assert_eq!(kinds("held"), ["unclear", "unclear"]);
    let replies = house.list(&["outbox", "list"]).len();

    // A colleague's mail program; and a mail of theirs that never was in the inbox.
    let mut colleague = ImapClient::login(house.dovecot.plain_port, "privacy", PASSWORD);
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    colleague.run(&words(&["CREATE Deletion", "CREATE Opt-out", "CREATE Question", "SELECT Held"]));
    colleague.run(&words(&["UID MOVE 1 Deletion", "UID MOVE 2 Opt-out", "UID MOVE 3 Question"]));
    house.dovecot.deliver_into(
        "privacy",
        "Deletion",
        &mail(4, "ben@example.org", "Hi", "", "Delete my data."),
    );
    house.run(&["run", "--once"]);
    assert_eq!(kinds("awaiting_proof"), ["deletion"]);
    assert_eq!(kinds("completed"), ["opt_out"]);
    assert_eq!(kinds("held"), ["question"]);
    house.run(&["suppressions", "check", "ann@example.org"]);
    assert_eq!(house.postfix.wait_for_mails("jane@example.org", 2).len(), 2);
    let requests = house.list(&["requests", "list", "--all"]);
    let deletion = requests.iter().find(|row| text(row, "kind") == "deletion").unwrap();
    let (shown, _) = house.run(&["requests", "show", &text(deletion, "reference")]);
    assert!(shown.contains("person  reclassified: from unclear to deletion, by folder"), "{shown}");
    let folders: Vec<String> =
        house.list(&["messages", "list"]).iter().map(|row| text(row, "folder")).collect();
    assert_eq!(folders.len(), 3, "ben's mail is no business of ours: {folders:?}");
    assert!(!folders.contains(&"Held".to_owned()), "{folders:?}");

    // Nothing again; what we file ourselves is nobody's hand.
    deliver(mail(5, "dan@example.org", "Hi", "", "Please unsubscribe me."));
    house.run(&["run", "--once"]);
    house.run(&["run", "--once"]);
    assert_eq!(house.list(&["requests", "list", "--all"]).len(), 4);
    assert_eq!(house.list(&["outbox", "list"]).len(), replies + 4);
    Ok(())
}
