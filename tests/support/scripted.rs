//! A TCP server that follows a script, for what real servers do not do on demand. It knows no
//! protocol but how IMAP begins: it expects lines, sends bytes, closes, or falls silent.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test house may panic")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// One step of a dialogue.
#[allow(dead_code, reason = "each test uses its own part")]
#[derive(Debug, Clone)]
pub enum Step {
    /// Reads a line, which must contain this text; the connection is closed when it does not.
    Expect(String),
    /// Sends this, with `$1` replaced by the first word of the line read last (the tag in IMAP).
    Send(Vec<u8>),
    /// Says nothing for so long, and goes on.
    Pause(Duration),
    /// Says nothing more, and leaves the connection open until the client closes it.
    Stall,
}

/// [`Step::Expect`].
pub fn expect(text: &str) -> Step {
    Step::Expect(text.to_owned())
}

/// [`Step::Send`]; the text has its own line ends.
pub fn send(text: impl AsRef<[u8]>) -> Step {
    Step::Send(text.as_ref().to_vec())
}

/// The dialogue of IMAP up to the login, on which every script of it begins.
#[allow(dead_code, reason = "each test uses its own part")]
pub fn login(capabilities: &str) -> Vec<Step> {
    vec![
        send("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hello\r\n"),
        expect("AUTHENTICATE PLAIN"),
        send("+ \r\n"),
        expect(""),
        send("t1 OK welcome\r\n"),
        expect("CAPABILITY"),
        send(format!("* CAPABILITY IMAP4rev1 {capabilities}\r\n$1 OK\r\n")),
    ]
}

/// A running server. Its thread ends with the test process.
pub struct Scripted {
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    connections: usize,
    lines: Vec<String>,
    surprises: Vec<String>,
}

#[allow(dead_code, reason = "each test uses its own part")]
impl Scripted {
    /// Serves one connection after another, each with its own dialogue, at whose end it is closed.
    /// Connections after the last dialogue are closed at once.
    pub fn start(dialogues: impl IntoIterator<Item = Vec<Step>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut dialogues = dialogues.into_iter().collect::<Vec<_>>().into_iter();
        let shared = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                shared.lock().unwrap().connections += 1;
                let dialogue = dialogues.next().unwrap_or_default();
                if let Err(surprise) = follow(stream, &dialogue, &shared) {
                    shared.lock().unwrap().surprises.push(surprise);
                }
            }
        });
        Self { port, seen }
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }

    /// All lines received, without their ends.
    pub fn lines(&self) -> Vec<String> {
        self.seen.lock().unwrap().lines.clone()
    }

    /// Fails the test when the client did not keep to the script.
    pub fn assert_followed(&self) {
        let surprises = &self.seen.lock().unwrap().surprises;
        assert!(surprises.is_empty(), "{surprises:#?}");
    }
}

fn follow(stream: TcpStream, dialogue: &[Step], seen: &Mutex<Seen>) -> Result<(), String> {
    // A client that never says the next line must not hang the test.
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    let mut word = Vec::new();
    for step in dialogue {
        match step {
            Step::Expect(text) => {
                let mut line = Vec::new();
                reader
                    .read_until(b'\n', &mut line)
                    .map_err(|error| format!("expected {text:?}, got {error}"))?;
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                seen.lock().unwrap().lines.push(line.clone());
                if !line.contains(text) {
                    return Err(format!("expected {text:?}, got {line:?}"));
                }
                word = line.split(' ').next().unwrap_or_default().as_bytes().to_vec();
            }
            Step::Send(bytes) => {
                // The client may have gone already, which the test sees by other means.
                let _ = writer.write_all(&replace(bytes, &word));
            }
            Step::Pause(time) => thread::sleep(*time),
            Step::Stall => {
                let mut rest = Vec::new();
                while matches!(reader.read_until(b'\n', &mut rest), Ok(1..)) {}
            }
        }
    }
    Ok(())
}

fn replace(bytes: &[u8], word: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(2).position(|pair| pair == b"$1") {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(word);
        rest = &rest[at + 2..];
    }
    out.extend_from_slice(rest);
    out
}
