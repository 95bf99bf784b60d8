//! One IMAP connection, strictly: a command has succeeded only when its own tag came back with OK.
//!
//! async-imap 0.12 takes part as the reader and parser of responses. Everything that decides (tags,
//! NO and BAD, BYE, a lost connection, time limits) is here. A caller must drop the session after any
//! error: what the server says next may belong to the failed command.
//!
//! ## Why
//! async-imap's own commands look for a tag and ignore its status, and take a lost connection for an
//! empty answer. Commands are written straight to the stream rather than through its `run_command`:
//! a batch is then one packet instead of three for each command, and the password never reaches the
//! library's trace log.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use async_imap::Client;
use base64::Engine as _;
use imap_proto::{Capability, Outcome, Response, ResponseCode, Status};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::wire::{Guarded, Refused, Room, Stream};
use crate::config::{ImapConfig, Secret};

/// Room for answers that are a few lines.
pub const SMALL: Room = Room { literal: 0, total: 1024 * 1024 };

/// The server does not accept our name and password. Trying again soon may lock the account.
#[derive(Debug, thiserror::Error)]
#[error("The server refuses the login{code}")]
pub struct LoginRefused {
    /// The response code with a space before it, such as ` [AUTHENTICATIONFAILED]`, or nothing.
    code: String,
}

/// A tagged NO: the server understood, and will not do it.
#[derive(Debug, thiserror::Error)]
#[error("The server says NO{code} to {verb}")]
pub struct No {
    verb: String,
    code: String,
}

impl No {
    /// Whether the folder is missing and could be created (RFC 3501 §7.1).
    pub fn try_create(&self) -> bool {
        self.code == " [TRYCREATE]"
    }
}

/// How long a server may take.
#[derive(Debug, Clone, Copy)]
pub enum Wait {
    /// For the whole answer.
    Within(Duration),
    /// Without sending anything; and [`SILENCES`] times as long for the whole answer.
    Silent(Duration),
}

/// A fetch may take so many times the longest silence in it: 16 minutes as a rule. A window of mails comes in that over a
/// line of 5 kB/s, and what is too much for the line is asked for in parts after it; a server that only keeps the line
/// busy is given up before the unit's watchdog, which has half an hour, gives us up.
const SILENCES: u32 = 8;

/// How long each class of commands may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// TCP and TLS.
    pub connect: Wait,
    /// Greeting, and each step of the login.
    pub login: Wait,
    /// Commands whose work does not grow with the mailbox.
    pub quick: Wait,
    /// Listing and fetching.
    pub fetch: Wait,
    /// MOVE, COPY, STORE, EXPUNGE.
    pub file: Wait,
    /// LOGOUT, whose answer nobody needs.
    pub logout: Wait,
}

impl Default for Patience {
    fn default() -> Self {
        let within = |seconds| Wait::Within(Duration::from_secs(seconds));
        Self {
            connect: within(15),
            login: within(30),
            quick: within(30),
            fetch: Wait::Silent(Duration::from_secs(120)),
            file: within(600),
            logout: within(5),
        }
    }
}

impl Patience {
    /// The same, with no wait longer than `longest`.
    pub fn at_most(self, longest: Duration) -> Self {
        let cut = |wait| match wait {
            Wait::Within(limit) => Wait::Within(limit.min(longest)),
            Wait::Silent(limit) => Wait::Silent(limit.min(longest)),
        };
        Self {
            connect: cut(self.connect),
            login: cut(self.login),
            quick: cut(self.quick),
            fetch: cut(self.fetch),
            file: cut(self.file),
            logout: cut(self.logout),
        }
    }
}

/// How we say who we are. XOAUTH2 will be a third way: AUTHENTICATE too, with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Auth {
    /// AUTHENTICATE PLAIN (RFC 4616). Passwords may be any UTF-8.
    Plain,
    /// LOGIN (RFC 3501 §6.2.3). Passwords must be ASCII.
    Login,
}

/// A connection that is logged in.
pub struct Session {
    client: Client<Guarded>,
    received: Arc<AtomicU64>,
    next_tag: u64,
    capabilities: BTreeSet<String>,
}

impl Session {
    /// Connects and logs in.
    ///
    /// # Errors
    /// [`LoginRefused`] when name or password are wrong; a sentence for everything else.
    pub async fn open(
        settings: &ImapConfig,
        tls: Option<&TlsConnector>,
        patience: &Patience,
    ) -> Result<Self> {
        let stream = patience.connect.limit(None, connect(settings, tls)).await?;
        let guarded = Guarded::new(stream, SMALL);
        let mut session = Self {
            received: guarded.received(),
            client: Client::new(guarded),
            next_tag: 1,
            capabilities: BTreeSet::new(),
        };
        session.greet(patience.login).await?;
        session.log_in(settings, patience.login).await?;
        session.learn_capabilities(patience.login).await?;
        Ok(session)
    }

    /// Whether the server announced this capability after the login, such as "MOVE".
    pub fn can(&self, capability: &str) -> bool {
        self.capabilities.contains(capability)
    }

    /// Runs one command and demands OK. `each` sees every response, the tagged one too.
    ///
    /// # Errors
    /// [`No`] for a NO; see [`Session::batch`] for the rest.
    pub async fn command(
        &mut self,
        command: String,
        room: Room,
        wait: Wait,
        each: impl FnMut(&Response<'_>),
    ) -> Result<()> {
        let replies = self.batch(&[command], room, wait, each).await?;
        replies.into_iter().collect::<Result<(), No>>().map_err(Into::into)
    }

    /// Sends all commands at once and reads until each is answered with OK or NO, in their order.
    /// There should be few: nothing is read before all are written.
    ///
    /// # Errors
    /// BAD, BYE, a lost connection, an answer that is too large or cannot be understood, or time out.
    pub async fn batch(
        &mut self,
        commands: &[String],
        room: Room,
        wait: Wait,
        each: impl FnMut(&Response<'_>),
    ) -> Result<Vec<Result<(), No>>> {
        let received = Arc::clone(&self.received);
        wait.limit(Some(&received), self.exchange(commands, None, room, each)).await
    }

    /// LOGOUT; what the server says to it does not matter.
    pub async fn log_out(mut self, wait: Wait) {
        let _ = self.batch(&["LOGOUT".to_owned()], SMALL, wait, |_| {}).await;
    }

    /// `answer` is sent when the server asks to go on with "+".
    async fn exchange(
        &mut self,
        commands: &[String],
        mut answer: Option<String>,
        room: Room,
        mut each: impl FnMut(&Response<'_>),
    ) -> Result<Vec<Result<(), No>>> {
        let first_tag = self.next_tag;
        let mut text = String::new();
        for command in commands {
            write!(text, "t{} {command}\r\n", self.next_tag)?;
            self.next_tag += 1;
        }
        self.client.get_mut().allow(room);
        self.send(&text).await?;

        let mut replies: Vec<Option<Result<(), No>>> = commands.iter().map(|_| None).collect();
        while replies.iter().any(Option::is_none) {
            let response = match no_panic(self.client.read_response()).await {
                Some(Ok(Some(response))) => response,
                Some(Ok(None)) => bail!("The server closed the connection"),
                Some(Err(error)) => return Err(read_error(&error)),
                None => bail!("The server's answer made the IMAP library panic"),
            };
            let response = response.parsed();
            match response {
                Response::Done { tag, status, outcome } => {
                    let index = (tag.0.strip_prefix('t'))
                        .and_then(|number| number.parse::<u64>().ok())
                        .and_then(|number| usize::try_from(number.checked_sub(first_tag)?).ok());
                    let (Some(command), Some(reply @ None)) =
                        (index.and_then(|i| commands.get(i)), index.and_then(|i| replies.get_mut(i)))
                    else {
                        bail!("The server answers a command that was not given");
                    };
                    *reply = Some(judge(command, status, outcome)?);
                }
                Response::Data { status: Status::Bye, outcome } => {
                    bail!("The server says BYE{}", code_of(outcome))
                }
                Response::Continue(_) => match answer.take() {
                    Some(answer) => self.send(&format!("{answer}\r\n")).await?,
                    None => bail!("The server waits for more than the command has"),
                },
                _ => {}
            }
            each(response);
        }
        Ok(replies.into_iter().flatten().collect())
    }

    async fn send(&mut self, text: &str) -> Result<()> {
        let stream = self.client.get_mut();
        let sent = async {
            stream.write_all(text.as_bytes()).await?;
            stream.flush().await
        };
        sent.await.map_err(|error| read_error(&error))
    }

    /// Reads the greeting (RFC 3501 §7.1) and what it says of capabilities.
    async fn greet(&mut self, wait: Wait) -> Result<()> {
        let reading = async {
            no_panic(self.client.read_response()).await.context("The server's greeting cannot be read")
        };
        let greeting = match wait.limit(None, reading).await? {
            Ok(Some(greeting)) => greeting,
            Ok(None) => bail!("The server closed the connection without a greeting"),
            Err(error) => return Err(read_error(&error)),
        };
        match greeting.parsed() {
            Response::Data { status: Status::Ok, outcome } => {
                if let Some(ResponseCode::Capabilities(list)) = &outcome.code {
                    self.capabilities = names(list);
                }
                Ok(())
            }
            Response::Data { status: Status::Bye, outcome } => {
                bail!("The server says BYE{}", code_of(outcome))
            }
            _ => bail!("The server does not greet as an IMAP server that wants a login"),
        }
    }

    async fn log_in(&mut self, settings: &ImapConfig, wait: Wait) -> Result<()> {
        if self.capabilities.is_empty() {
            self.learn_capabilities(wait).await?;
        }
        // A small local file; read at each login, so that a new password needs no restart.
        let secret = settings.password.read().context("imap.password")?;
        let (command, answer) = if self.can("AUTH=PLAIN") {
            credentials(Auth::Plain, &settings.username, &secret)?
        } else if !self.can("LOGINDISABLED") {
            credentials(Auth::Login, &settings.username, &secret)?
        } else {
            bail!("The server offers neither AUTHENTICATE PLAIN nor LOGIN");
        };
        let received = Arc::clone(&self.received);
        let replies = wait.limit(Some(&received), self.exchange(&[command], answer, SMALL, |_| {})).await?;
        match replies.into_iter().next() {
            Some(Ok(())) => Ok(()),
            // RFC 5530 §3: the login may well be right, the server is not able now.
            Some(Err(no))
                if [" [UNAVAILABLE]", " [INUSE]", " [LIMIT]", " [SERVERBUG]"].contains(&no.code.as_str()) =>
            {
                Err(no.into())
            }
            Some(Err(no)) => Err(LoginRefused { code: no.code }.into()),
            None => bail!("The server did not answer the login"),
        }
    }

    async fn learn_capabilities(&mut self, wait: Wait) -> Result<()> {
        let mut capabilities = BTreeSet::new();
        self.command("CAPABILITY".to_owned(), SMALL, wait, |response| {
            if let Response::Capabilities(list) = response {
                capabilities.extend(names(list));
            }
        })
        .await?;
        self.capabilities = capabilities;
        Ok(())
    }
}

/// A folder name as a quoted string (RFC 3501 §4.3). `config` has checked it; this is the last gate
/// before the wire.
///
/// # Errors
/// When the name is not plain ASCII that can stand between quotes.
pub fn quoted(name: &str) -> Result<String> {
    if name.is_empty()
        || !name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\')
    {
        bail!("A folder name must be printable ASCII without quotes and backslashes");
    }
    Ok(format!("\"{name}\""))
}

impl Wait {
    /// Runs `future` within the limit; `received` counts the bytes that have come.
    async fn limit<T>(
        self,
        received: Option<&AtomicU64>,
        future: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let count = || received.map(|count| count.load(Ordering::Relaxed));
        let (limit, times) = match self {
            Self::Within(limit) => (limit, 1),
            Self::Silent(limit) => (limit, SILENCES),
        };
        let mut future = pin!(future);
        for _ in 0..times {
            let before = count();
            match timeout(limit, future.as_mut()).await {
                Ok(result) => return result,
                Err(_) if times > 1 && count() != before => {}
                Err(_) => bail!("The server did not answer within {} s", limit.as_secs_f32().ceil()),
            }
        }
        bail!("The server's answer did not end within {} s", (limit * times).as_secs_f32().ceil())
    }
}

async fn connect(settings: &ImapConfig, tls: Option<&TlsConnector>) -> Result<Box<dyn Stream>> {
    let place = format!("{}:{}", settings.host, settings.port);
    let tcp = TcpStream::connect((settings.host.as_str(), settings.port))
        .await
        .with_context(|| format!("Cannot connect to {place}"))?;
    tcp.set_nodelay(true)?;
    let Some(tls) = tls else {
        // A name proves nothing: whatever "localhost" resolves to must be this machine.
        if !tcp.peer_addr()?.ip().is_loopback() {
            bail!(
                "{place} is not this machine, and plaintext goes to no other; set imap.tls to \"implicit\""
            );
        }
        return Ok(Box::new(tcp));
    };
    let name = ServerName::try_from(settings.host.clone()).context("imap.host is not a host name")?;
    let stream = tls.connect(name, tcp).await.with_context(|| format!("Cannot set up TLS with {place}"))?;
    Ok(Box::new(stream))
}

/// The command of a login, and what to answer when the server says "+".
fn credentials(auth: Auth, user: &str, secret: &Secret) -> Result<(String, Option<String>)> {
    let password = secret.expose();
    if password.contains('\0') || user.contains('\0') {
        bail!("The password has a NUL character");
    }
    match auth {
        Auth::Plain => {
            let response = base64::engine::general_purpose::STANDARD.encode(format!("\0{user}\0{password}"));
            Ok(("AUTHENTICATE PLAIN".to_owned(), Some(response)))
        }
        Auth::Login => {
            let astring = |text: &str| {
                let plain = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
                plain.then(|| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
            };
            let (Some(user), Some(password)) = (astring(user), astring(password)) else {
                bail!("The server takes only LOGIN, which needs a name and password of printable ASCII");
            };
            Ok((format!("LOGIN {user} {password}"), None))
        }
    }
}

fn judge(command: &str, status: &Status, outcome: &Outcome<'_>) -> Result<Result<(), No>> {
    // "UID FETCH", "SELECT": never the arguments.
    let words = if command.starts_with("UID ") { 2 } else { 1 };
    let verb = command.split(' ').take(words).collect::<Vec<_>>().join(" ");
    let code = code_of(outcome);
    match status {
        Status::Ok => Ok(Ok(())),
        Status::No => Ok(Err(No { verb, code })),
        _ => bail!("The server says BAD{code} to {verb}"),
    }
}

/// The response code as ` [CODE]`, without its arguments, or nothing. Free text is never repeated.
fn code_of(outcome: &Outcome<'_>) -> String {
    match &outcome.code {
        Some(ResponseCode::TryCreate) => return " [TRYCREATE]".to_owned(),
        Some(ResponseCode::Alert) => return " [ALERT]".to_owned(),
        _ => {}
    }
    // imap-proto leaves the codes of RFC 5530 in the text.
    let Some(text) = outcome.information.as_deref().and_then(|text| text.strip_prefix('[')) else {
        return String::new();
    };
    let code: String = text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').take(40).collect();
    if code.is_empty() { String::new() } else { format!(" [{}]", code.to_ascii_uppercase()) }
}

/// The library's error texts may hold a whole mail; only the guard's and the kind go on.
fn read_error(error: &io::Error) -> anyhow::Error {
    if let Some(refused) = error.get_ref().and_then(|inner| inner.downcast_ref::<Refused>()) {
        return (*refused).into();
    }
    match error.kind() {
        io::ErrorKind::Other => anyhow::anyhow!("The server's answer cannot be understood"),
        kind => anyhow::anyhow!("The connection failed: {kind}"),
    }
}

fn names(list: &[Capability<'_>]) -> BTreeSet<String> {
    list.iter()
        .map(|capability| match capability {
            Capability::Imap4rev1 => "IMAP4REV1".to_owned(),
            Capability::Auth(name) => format!("AUTH={}", name.to_ascii_uppercase()),
            Capability::Atom(name) => name.to_ascii_uppercase(),
        })
        .collect()
}

/// `None` when the future panics. imap-proto 0.17 does, on `INTERNALDATE NIL`.
async fn no_panic<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(Poll::Ready(value)) => Poll::Ready(Some(value)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(_) => Poll::Ready(None),
    })
    .await
}
