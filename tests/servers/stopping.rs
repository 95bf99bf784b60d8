//! The binary, asked to end while a mail server takes its time. Mail comes from a Maildir, and the server
//! follows a script, so no other program is needed.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, BufReader as Reader};
use tokio::net::{TcpListener, TcpStream};

use crate::house::text;
use crate::smtp_script::{TAKEN, play};
use crate::{Scenario, run};

pub const SCENARIOS: &[Scenario] = &[
    ("a_letter_that_is_going_out_is_seen_through_and_no_other_begun", &[], || {
        run(a_letter_that_is_going_out_is_seen_through_and_no_other_begun())
    }),
    ("a_server_that_takes_its_time_over_an_envelope_holds_up_nothing", &[], || {
        run(a_server_that_takes_its_time_over_an_envelope_holds_up_nothing())
    }),
    ("a_server_that_does_not_greet_holds_up_nothing", &[], || {
        run(a_server_that_does_not_greet_holds_up_nothing())
    }),
    ("a_second_sigterm_ends_it_at_once", &[], || run(a_second_sigterm_ends_it_at_once())),
];

const MAILS: usize = 3;

/// Far less than any patience of ours with a server.
const AT_ONCE: Duration = Duration::from_secs(20);

/// One installation with a Maildir of [`MAILS`] opt-outs.
struct House {
    folder: tempfile::TempDir,
    listener: TcpListener,
}

impl House {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let path = |name: &str| folder.path().join(name);
        for part in ["new", "cur", "tmp"] {
            std::fs::create_dir_all(path("Maildir").join(part)).unwrap();
        }
        for number in 1..=MAILS {
            let mail = format!(
                "From: u{number}@example.org\nTo: privacy@example.com\nMessage-ID: <{number}@example.org>\n\n\
                 Please unsubscribe me.\n"
            );
            std::fs::write(path("Maildir/new").join(format!("{number}.M.host")), mail).unwrap();
        }
        let config = format!(
            "database = {:?}\nown_addresses = [\"privacy@example.com\"]\n[company]\nname = \"Example\"\n\
             [[maildir]]\nname = \"box\"\npath = {:?}\n\
             [smtp]\nhost = \"localhost\"\nport = {}\ntls = \"none\"\nhelo = \"mail.example.com\"\n",
            path("privacyd.db"),
            path("Maildir"),
            listener.local_addr().unwrap().port(),
        );
        std::fs::write(path("privacyd.toml"), config).unwrap();
        Self { folder, listener }
    }

    fn privacyd(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_privacyd"));
        command.arg("--config").arg(self.folder.path().join("privacyd.toml")).args(words);
        command
    }

    fn start(&self, words: &[&str]) -> Running {
        let mut child = self.privacyd(words).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Running { child, log }
    }

    async fn accept(&self) -> Reader<TcpStream> {
        let (stream, _) = self.listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        Reader::new(stream)
    }

    /// Recipients of the replies in this state.
    fn replies(&self, state: &str) -> Vec<String> {
        let output = self.privacyd(&["outbox", "list", "--json", "--state", state]).output().unwrap();
        let rows = String::from_utf8(output.stdout).unwrap();
        rows.lines().map(|line| text(&serde_json::from_str::<Value>(line).unwrap(), "recipient")).collect()
    }

    /// Runs it to its end with a server that takes everything; gives the recipients of what came.
    async fn run_again(&self) -> Vec<String> {
        let mut child = self.privacyd(&["run", "--once"]).stderr(Stdio::null()).spawn().unwrap();
        let serve = async {
            let mut stream = self.accept().await;
            let mut messages = Vec::new();
            play(GREETED, &mut stream, &mut messages).await;
            for _ in 0..self.replies("queued").len() + self.replies("transmitting").len() {
                let script = format!("{ENVELOPE}message\nS 250 2.0.0 queued");
                play(&script, &mut stream, &mut messages).await;
            }
            play("C QUIT\nS 221 bye", &mut stream, &mut messages).await;
            messages
        };
        let messages = serve.await;
        assert!(tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap().success());
        messages.iter().map(|message| recipient(message)).collect()
    }
}

/// Without PIPELINING a letter is begun only after the one before it.
const GREETED: &str = "S 220 hello\nC EHLO\nS 250 hello\nC EHLO\nS 250 hello\n";
const ENVELOPE: &str = "C MAIL\nS 250 ok\nC RCPT\nS 250 ok\nC DATA\nS 354 go\n";
/// With it MAIL, RCPT and DATA of the next letter come behind the message before it.
const GREETED_PIPELINING: &str =
    "S 220 hello\nC EHLO\nS 250-hello\nS 250 PIPELINING\nC EHLO\nS 250-hello\nS 250 PIPELINING\n";
const ANNOUNCED: &str = "C MAIL\nC RCPT\nC DATA\n";

fn recipient(message: &str) -> String {
    let field = message.lines().find_map(|line| line.strip_prefix("To: ")).unwrap();
    field.trim_matches(['<', '>']).to_owned()
}

/// A running privacyd and its log.
struct Running {
    child: Child,
    log: BufReader<ChildStderr>,
}

impl Running {
    /// Sends SIGTERM, and waits until it was heard.
    fn ask_to_end(&mut self) {
        self.signal();
        let mut line = String::new();
        while !line.contains("stopping: finishing what is in hand") {
            line.clear();
            assert!(self.log.read_line(&mut line).unwrap() > 0, "it ended without a word");
        }
    }

    fn signal(&self) {
        let done = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(done.success());
    }

    /// How it ended, which must be at once.
    async fn end(mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            if begun.elapsed() > AT_ONCE {
                self.child.kill().unwrap();
                panic!("it does not end");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn a_letter_that_is_going_out_is_seen_through_and_no_other_begun() {
    for words in [&["run"][..], &["run", "--once"]] {
        for pipelining in [false, true] {
            let house = House::new().await;
            let mut running = house.start(words);
            let mut stream = house.accept().await;
            let mut messages = Vec::new();
            let script = match pipelining {
                false => format!("{GREETED}{ENVELOPE}message"),
                true => format!("{GREETED_PIPELINING}{ANNOUNCED}{TAKEN}message\n{ANNOUNCED}"),
            };
            play(&script, &mut stream, &mut messages).await;
            running.ask_to_end();
            // In one piece: a client that has heard the first line may be gone before the next.
            let answer = match pipelining {
                false => "S 250 2.0.0 queued\nC QUIT\nS 221 bye",
                true => "raw 250 2.0.0 queued\\r\\n250 ok\\r\\n250 ok\\r\\n354 go\\r\\n",
            };
            play(answer, &mut stream, &mut messages).await;
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
            assert_eq!(String::from_utf8(rest).unwrap(), "", "more was said of another letter");
            drop(stream);
            assert_eq!(running.end().await.code(), Some(0), "{words:?} {pipelining}");

            let first: Vec<String> = messages.iter().map(|message| recipient(message)).collect();
            assert_eq!(house.replies("sent"), first);
            assert_eq!(house.replies("queued").len(), MAILS - 1);
            let mut all = [first, house.run_again().await].concat();
            all.sort();
            assert_eq!(all, ["u1@example.org", "u2@example.org", "u3@example.org"]);
        }
    }
}

async fn a_server_that_takes_its_time_over_an_envelope_holds_up_nothing() {
    for greeted in [GREETED, GREETED_PIPELINING] {
        let house = House::new().await;
        let mut running = house.start(&["run"]);
        let mut stream = house.accept().await;
        play(&format!("{greeted}C MAIL"), &mut stream, &mut Vec::new()).await;
        running.ask_to_end();
        assert_eq!(running.end().await.code(), Some(0));
        drop(stream);
        assert_eq!(house.replies("queued").len(), MAILS);
        assert_eq!(house.run_again().await.len(), MAILS);
    }
}

async fn a_server_that_does_not_greet_holds_up_nothing() {
    let house = House::new().await;
    let mut running = house.start(&["run"]);
    let stream = house.accept().await;
    running.ask_to_end();
    assert_eq!(running.end().await.code(), Some(0));
    drop(stream);
    assert_eq!(house.replies("queued").len(), MAILS);
}

async fn a_second_sigterm_ends_it_at_once() {
    let house = House::new().await;
    let mut running = house.start(&["run"]);
    let mut stream = house.accept().await;
    let mut messages = Vec::new();
    play(&format!("{GREETED}{ENVELOPE}message"), &mut stream, &mut messages).await;
    running.ask_to_end();
    assert!(running.child.try_wait().unwrap().is_none(), "it does not see the letter through");
    running.signal();
    assert_eq!(running.end().await.code(), Some(1));
    drop(stream);
    // The letter may have been delivered, and nobody knows: it must not be sent again. What was claimed
    // with it shares its fate.
    assert_eq!(house.replies("transmitting").len(), MAILS);
    let log = house.privacyd(&["run", "--once"]).output().unwrap();
    assert!(log.status.success(), "{}", String::from_utf8_lossy(&log.stderr));
    assert_eq!(house.replies("unknown").len(), MAILS);
}
