//! The way out: hands finished letters to a mail server, to a folder or to a test.
//!
//! Knows nothing of requests, templates or the outbox table, and decides nothing: it says what
//! became of each attempt, and the outbox settles the row. It retries nothing by itself. No
//! address, subject, body or line of a server is in anything it returns: replies are reduced to
//! their codes.
//!
//! ## Why an enum
//! Three ways out are all there ever are, and the corridor's tests want to look into the third.
//! A trait would need boxed futures and hide which one is in force.

mod directory;
mod memory;
mod reply;
mod session;
mod smtp;
#[cfg(test)]
mod smtp_tests;
mod wire;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::config::SmtpConfig;
use crate::stop::Stop;

pub use memory::MemoryBox;
pub use session::SmtpSession;
pub use smtp::Smtp;

/// One reply as the outbox hands it over.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    /// The outbox row.
    pub id: i64,
    /// Strict ASCII addr-spec, without angle brackets.
    pub recipient: String,
    /// The complete RFC 5322 message: ASCII, lines of at most 998 octets that end in CRLF.
    pub raw: Vec<u8>,
    /// Its Message-ID, with or without angle brackets.
    pub message_id: String,
}

impl fmt::Debug for Letter {
    /// Only the id: the rest is personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Letter({})", self.id)
    }
}

impl Letter {
    /// What forbids putting the letter on the wire: it could end the message early (RFC 5321
    /// §2.3.8, §4.1.1.4), smuggle in a command, or break a limit (§4.5.3.1).
    pub fn flaw(&self) -> Option<&'static str> {
        let plain = |b: u8| b.is_ascii_graphic() && b != b'<' && b != b'>';
        let address = self.recipient.as_bytes();
        match self.recipient.rsplit_once('@') {
            Some((local, domain)) if !local.is_empty() && !domain.is_empty() => {}
            _ => return Some("the recipient is not an address"),
        }
        if address.len() > 254 || !address.iter().copied().all(plain) {
            return Some("the recipient is not a plain ASCII address");
        }
        let Ok(text) = std::str::from_utf8(&self.raw) else {
            return Some("the message is not ASCII");
        };
        if text.is_empty() {
            return Some("the message is empty");
        }
        if !text.is_ascii() || text.contains('\0') {
            return Some("the message is not ASCII");
        }
        text.split("\r\n").find_map(|line| {
            if line.contains(['\r', '\n']) {
                Some("the message has a bare CR or LF")
            } else if line.len() > 998 {
                Some("the message has a line over 998 octets")
            } else {
                None
            }
        })
    }
}

/// What became of one attempt. The texts hold codes and our own words, nothing personal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The server has taken responsibility. Its code, such as "250 2.0.0".
    Sent(String),
    /// Not delivered, certainly; to be tried again later.
    Deferred(String),
    /// Not delivered, and trying again would not help.
    Bounced(String),
    /// The whole message went out and no answer came: it may or may not have been delivered
    /// (RFC 1047). Never to be sent again blindly.
    Unknown(String),
    /// The connection was gone, or we were asked to end, before its turn. Costs no attempt.
    NotTried,
}

/// Why there is no session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// No connection, or it broke off or fell silent.
    #[error("{0}")]
    Unreachable(String),
    /// The server does not accept our login (SMTP 5xx to AUTH, or no mechanism that we know).
    #[error("{0}")]
    LoginRefused(String),
    /// No TLS, or a certificate that does not verify.
    #[error("{0}")]
    Tls(String),
    /// The server is there and does not want to talk to us now, or does not speak SMTP.
    #[error("{0}")]
    Refused(String),
}

/// Where letters go.
pub enum Mailer {
    /// A mail server.
    Smtp(Box<Smtp>),
    /// A folder that gets each letter as an .eml file. For trying things out.
    Directory(PathBuf),
    /// A test's memory.
    Memory(Arc<Mutex<MemoryBox>>),
}

impl Mailer {
    /// A mailer for a server; `helo` is the host name given in EHLO. Reads the password and the
    /// CA file; connects to nothing.
    ///
    /// # Errors
    /// A secret or a CA file that cannot be read, or a host name that is none.
    pub fn smtp(settings: SmtpConfig, helo: String) -> anyhow::Result<Self> {
        Ok(Self::Smtp(Box::new(Smtp::new(settings, helo)?)))
    }

    /// How many sessions may be open at once.
    pub fn max_sessions(&self) -> usize {
        match self {
            Self::Smtp(smtp) => smtp.max_sessions(),
            Self::Directory(_) | Self::Memory(_) => 1,
        }
    }

    /// The same as [`connect`](Self::connect); `None` when `stop` comes first. Nothing is claimed yet, so it may be
    /// given up at once.
    ///
    /// # Errors
    /// As there.
    pub async fn connect_unless(&self, stop: &Stop) -> Result<Option<Session>, ConnectError> {
        tokio::select! {
            biased;
            () = stop.asked() => Ok(None),
            session = self.connect() => session.map(Some),
        }
    }

    /// Opens a session, ready for letters.
    ///
    /// # Errors
    /// [`ConnectError`], one sentence.
    pub async fn connect(&self) -> Result<Session, ConnectError> {
        match self {
            Self::Smtp(smtp) => Ok(Session::Smtp(Box::new(smtp.connect().await?))),
            Self::Directory(folder) => {
                directory::prepare(folder).await?;
                Ok(Session::Directory(folder.clone()))
            }
            Self::Memory(shared) => {
                memory::prepare(shared)?;
                Ok(Session::Memory(Arc::clone(shared)))
            }
        }
    }

    /// Looks whether letters could be delivered, without delivering any or making a folder: connection,
    /// EHLO, TLS, login, QUIT. The answer names what the server offers, such as "PIPELINING, TLS 1.3".
    ///
    /// # Errors
    /// [`ConnectError`], one sentence.
    pub async fn probe(&self) -> Result<String, ConnectError> {
        match self {
            Self::Smtp(smtp) => {
                let session = smtp.connect().await?;
                let found = session.about().to_owned();
                session.quit().await;
                Ok(found)
            }
            Self::Directory(folder) => directory::probe(folder).await.map(str::to_owned),
            Self::Memory(shared) => memory::prepare(shared).map(|()| "memory".to_owned()),
        }
    }
}

/// An open way out. Dropping it, or a future of it, closes the connection.
pub enum Session {
    /// A connection to a mail server.
    Smtp(Box<SmtpSession>),
    /// The folder.
    Directory(PathBuf),
    /// The test's memory.
    Memory(Arc<Mutex<MemoryBox>>),
}

impl Session {
    /// Delivers the letters in order and tells what became of each: same length, same order.
    /// Never fails. Unless `stop` has come, the first letter that is fit to be sent over an open session
    /// is tried, so a caller that reconnects for the rest always gets on.
    ///
    /// Once `stop` comes no letter is begun any more. One whose message has not begun is let go at once
    /// and is [`Outcome::NotTried`]; one whose message is going out is seen through for ten minutes at
    /// the most, the time that RFC 5321 section 4.5.3.2.6 gives a server to answer its end.
    ///
    /// When the future is dropped half-way, the session is closed, and every letter of the batch
    /// has to be taken as unknown.
    pub async fn deliver(&mut self, letters: &[Letter], stop: &Stop) -> Vec<Outcome> {
        match self {
            Self::Smtp(session) => session.deliver(letters, stop).await,
            Self::Directory(folder) => directory::deliver(folder, letters).await,
            Self::Memory(shared) => memory::deliver(shared, letters),
        }
    }

    /// Whether more letters can be delivered.
    pub fn is_open(&self) -> bool {
        match self {
            Self::Smtp(session) => session.is_open(),
            Self::Directory(_) | Self::Memory(_) => true,
        }
    }

    /// Takes leave (QUIT), within 5 s.
    pub async fn quit(self) {
        if let Self::Smtp(session) = self {
            session.quit().await;
        }
    }
}
