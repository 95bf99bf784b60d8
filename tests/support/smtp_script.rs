//! An SMTP server that follows a script, for what a real one does not do on demand.

#![allow(dead_code, clippy::unwrap_used, reason = "a test house may panic, and each test uses its own part")]

use std::time::Duration;

use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader,
};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

// ---- Parts of scripts

pub const GREETING: &str = "S 220 hello\n";
pub const EHLO: &str = "C EHLO mail.example.com\nS 250-hello\nS 250-SIZE 1000000\nS 250 8BITMIME\n";
pub const EHLO_PIPELINING: &str = "C EHLO mail.example.com\nS 250-hello\nS 250-PIPELINING\nS 250 8BITMIME\n";
pub const ENVELOPE_1: &str = "C MAIL FROM:<>\nC RCPT TO:<p1@example.org>\nC DATA\n";
pub const ENVELOPE_2: &str = "C MAIL FROM:<>\nC RCPT TO:<p2@example.org>\nC DATA\n";
pub const TAKEN: &str = "S 250 2.1.0 ok\nS 250 2.1.5 ok\nS 354 go\n";

/// Greeting and EHLO, which our side says twice.
pub fn greeted(pipelining: bool) -> String {
    let ehlo = if pipelining { EHLO_PIPELINING } else { EHLO };
    format!("{GREETING}{ehlo}{ehlo}")
}

// ---- The server

/// A server for one connection that follows a script, and what it took from the client.
pub struct Scripted {
    /// Where it listens, on localhost.
    pub port: u16,
    task: JoinHandle<Vec<String>>,
}

impl Scripted {
    /// Each line of the script is one step:
    ///
    /// - `S text`: says the text and CRLF; `raw text`: says the text in Latin-1, without
    /// - `C text`: expects a line that begins so
    /// - `message`: takes a message up to its final dot
    /// - `take N`: takes N bytes
    /// - `tls`: shakes hands
    /// - `stall`: says nothing more
    /// - `close`: closes its half; `drop` (the last step): is gone
    pub async fn start(script: &str, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let script = script.to_owned();
        let task = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut stream = BufReader::new(stream);
            let mut messages = Vec::new();
            let Some((plain, protected)) = script.split_once("tls\n") else {
                play(&script, &mut stream, &mut messages).await;
                if !script.ends_with("drop") {
                    linger(stream).await;
                }
                return messages;
            };
            play(plain, &mut stream, &mut messages).await;
            let mut stream = BufReader::new(tls.unwrap().accept(stream.into_inner()).await.unwrap());
            play(protected, &mut stream, &mut messages).await;
            if !script.ends_with("drop") {
                linger(stream).await;
            }
            messages
        });
        Self { port, task }
    }

    /// The messages the server took. Fails when the client did not follow the script.
    pub async fn messages(self) -> Vec<String> {
        self.task.await.expect("the client left the script")
    }
}

/// Plays a script without `tls` in it, and adds what messages came.
pub async fn play<S>(script: &str, stream: &mut BufReader<S>, messages: &mut Vec<String>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    for step in script.lines().map(str::trim).filter(|step| !step.is_empty()) {
        let (verb, text) = step.split_once(' ').unwrap_or((step, ""));
        match verb {
            "S" => stream.get_mut().write_all(format!("{text}\r\n").as_bytes()).await.unwrap(),
            "raw" => {
                let bytes: Vec<u8> = text.replace("\\r\\n", "\r\n").chars().map(|c| c as u8).collect();
                stream.get_mut().write_all(&bytes).await.unwrap();
            }
            "C" => {
                let line = line(stream).await;
                assert!(line.starts_with(text), "expected {text:?}, got {line:?}\n{script}");
            }
            "message" => messages.push(message(stream).await),
            "take" => {
                stream.read_exact(&mut vec![0; text.parse().unwrap()]).await.unwrap();
            }
            "stall" => {
                let _ = stream.read_to_end(&mut Vec::new()).await;
            }
            "close" => stream.get_mut().shutdown().await.unwrap(),
            "drop" => {}
            _ => panic!("{step:?} is not a step"),
        }
    }
    stream.get_mut().flush().await.unwrap();
}

/// Reads on until the client closes: to close with unread bytes would send a reset, which may
/// overtake what was said.
async fn linger(mut stream: impl AsyncRead + Unpin) {
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut Vec::new())).await;
}

/// A line, with its end.
pub async fn line(stream: &mut (impl AsyncBufRead + Unpin)) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    line
}

async fn message(stream: &mut (impl AsyncBufRead + Unpin)) -> String {
    let mut text = String::new();
    loop {
        let line = line(stream).await;
        assert!(line.ends_with("\r\n"), "the message breaks off: {line:?}");
        if line == ".\r\n" {
            return text;
        }
        text.push_str(&line);
    }
}
