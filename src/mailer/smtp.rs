//! Getting a connection: TCP, TLS, EHLO, AUTH.
//!
//! Refuses plaintext to anything but this machine, whatever the configuration says, and never
//! goes on without TLS where TLS is asked for.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::commands::Ehlo;
use lettre::transport::smtp::extension::ClientId;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ProtocolVersion;
use tokio_rustls::rustls::pki_types::ServerName;

use super::ConnectError;
use super::reply::{Lost, Reply};
use super::session::{Link, SmtpSession};
use super::wire::{self, Meter, Wire};
use crate::config::{SmtpConfig, SmtpTls};

/// How long the server may take (RFC 5321 §4.5.3.2, where these are minimums for a relay; a
/// submission server that needs more than a minute to greet is as good as down).
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// Name resolution and TCP.
    pub(super) connect: Duration,
    /// Each of: STARTTLS, TLS handshake, greeting with EHLO, AUTH.
    pub(super) greet: Duration,
    /// MAIL and RCPT.
    pub(super) envelope: Duration,
    /// DATA.
    pub(super) data: Duration,
    /// Writing without any progress.
    pub(super) stall: Duration,
    /// From the final dot to its reply.
    pub(super) message: Duration,
    /// What is left of a message and of the wait for its reply, once we have been asked to end. Shorter
    /// than TimeoutStopSec in systemd/privacyd.service.
    pub(super) ending: Duration,
    /// QUIT.
    pub(super) quit: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            greet: Duration::from_secs(60),
            envelope: Duration::from_secs(5 * 60),
            data: Duration::from_secs(2 * 60),
            stall: Duration::from_secs(3 * 60),
            message: Duration::from_secs(10 * 60),
            ending: Duration::from_secs(10 * 60),
            quit: Duration::from_secs(5),
        }
    }
}

impl Times {
    /// The same, with no wait longer than `longest`.
    fn at_most(self, longest: Duration) -> Self {
        Self {
            connect: self.connect.min(longest),
            greet: self.greet.min(longest),
            envelope: self.envelope.min(longest),
            data: self.data.min(longest),
            stall: self.stall.min(longest),
            message: self.message.min(longest),
            ending: self.ending.min(longest),
            quit: self.quit.min(longest),
        }
    }
}

/// A mail server, and how to talk to it.
pub struct Smtp {
    settings: SmtpConfig,
    helo: ClientId,
    /// The name that the certificate must bear.
    name: ServerName<'static>,
    protection: Protection,
    credentials: Option<Credentials>,
    pub(super) times: Times,
}

enum Protection {
    Implicit(TlsConnector),
    Starttls(TlsConnector),
    /// Plaintext, to this machine only.
    None,
}

impl Smtp {
    pub(super) fn new(settings: SmtpConfig, helo: String) -> Result<Self> {
        if helo.is_empty() || !helo.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)) {
            bail!("The name to give in EHLO is not a host name; set smtp.helo");
        }
        let name = ServerName::try_from(settings.host.clone())
            .with_context(|| format!("{:?} is not a host name; see smtp.host", settings.host))?;
        let connector = || crate::tls::client_config(settings.ca_file.as_deref()).map(TlsConnector::from);
        let protection = match settings.tls {
            SmtpTls::Implicit => Protection::Implicit(connector()?),
            SmtpTls::Starttls => Protection::Starttls(connector()?),
            SmtpTls::None => Protection::None,
        };
        let credentials = match (&settings.username, &settings.password) {
            (Some(username), Some(password)) => {
                Some(Credentials::new(username.clone(), password.read()?.expose().to_owned()))
            }
            _ => None,
        };
        let helo = ClientId::Domain(helo);
        let times = Times::default().at_most(settings.patience);
        Ok(Self { settings, helo, name, protection, credentials, times })
    }

    pub(super) fn max_sessions(&self) -> usize {
        self.settings.max_sessions.into()
    }

    pub(super) async fn connect(&self) -> Result<SmtpSession, ConnectError> {
        let (stream, meter, tls) = self.open().await?;
        let (mut connection, pipelining) = self.greet(stream).await?;
        let mut about = format!("{}, {tls}", if pipelining { "PIPELINING" } else { "no PIPELINING" });
        if let Some(credentials) = &self.credentials {
            self.log_in(&mut connection, credentials).await?;
            about.push_str(", logged in");
        }
        let bounce_address = self.settings.bounce_address.as_ref().map_or("", |address| address.as_str());
        let link = Link::new(connection, meter, pipelining, bounce_address, self.times);
        Ok(SmtpSession::new(link, about))
    }

    /// TCP and TLS. The text names the version of TLS.
    async fn open(&self) -> Result<(Box<dyn AsyncTokioStream>, Meter, &'static str), ConnectError> {
        let (stream, peer) = self.tcp().await?;
        let (tls, greeted) = match &self.protection {
            Protection::None if peer.ip().is_loopback() => {
                let wire = Wire::new(stream, peer);
                let meter = wire.meter();
                return Ok((Box::new(wire), meter, "no TLS"));
            }
            Protection::None => {
                return Err(ConnectError::Tls("Plaintext goes to this machine only; set smtp.tls".into()));
            }
            Protection::Implicit(connector) => (self.handshake(connector, stream).await?, false),
            Protection::Starttls(connector) => {
                let stream = self.in_time(wire::starttls(stream, &self.helo.to_string())).await?;
                (self.handshake(connector, stream).await?, true)
            }
        };
        let version = match tls.get_ref().1.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
            _ => "TLS 1.2",
        };
        let wire = if greeted { Wire::already_greeted(tls, peer) } else { Wire::new(tls, peer) };
        let meter = wire.meter();
        Ok((Box::new(wire), meter, version))
    }

    async fn tcp(&self) -> Result<(TcpStream, SocketAddr), ConnectError> {
        let (host, port) = (self.settings.host.as_str(), self.settings.port());
        let connecting = async {
            let stream = TcpStream::connect((host, port)).await?;
            // Our writes are whole groups of commands; waiting for more would only delay them.
            stream.set_nodelay(true)?;
            let peer = stream.peer_addr()?;
            Ok((stream, peer))
        };
        let connected = timeout(self.times.connect, connecting).await;
        connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(|error: io::Error| {
            ConnectError::Unreachable(format!("Cannot connect to {host}, port {port}: {error}"))
        })
    }

    async fn handshake(
        &self,
        connector: &TlsConnector,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, ConnectError> {
        self.in_time(async {
            connector.connect(self.name.clone(), stream).await.map_err(|error| {
                ConnectError::Tls(format!("Cannot set up TLS with {}: {error}", self.settings.host))
            })
        })
        .await
    }

    /// Greeting and EHLO, the latter twice: lettre keeps only the extensions that it knows, and
    /// PIPELINING is not among them.
    async fn greet(
        &self,
        stream: Box<dyn AsyncTokioStream>,
    ) -> Result<(AsyncSmtpConnection, bool), ConnectError> {
        self.in_time(async {
            let mut connection = AsyncSmtpConnection::connect_with_transport(stream, &self.helo)
                .await
                .map_err(|error| no_session("the connection", error))?;
            let hello = connection
                .command(Ehlo::new(self.helo.clone()))
                .await
                .map_err(|error| no_session("EHLO", error))?;
            let pipelining =
                hello.message().skip(1).any(|line| line.trim().eq_ignore_ascii_case("PIPELINING"));
            Ok((connection, pipelining))
        })
        .await
    }

    /// AUTH (RFC 4954). What goes out here goes over TLS or to this machine: see [`Self::open`].
    async fn log_in(
        &self,
        connection: &mut AsyncSmtpConnection,
        credentials: &Credentials,
    ) -> Result<(), ConnectError> {
        const MECHANISMS: [Mechanism; 2] = [Mechanism::Plain, Mechanism::Login];
        if connection.server_info().get_auth_mechanism(&MECHANISMS).is_none() {
            return Err(ConnectError::LoginRefused("The server offers neither AUTH PLAIN nor LOGIN".into()));
        }
        self.in_time(async {
            match connection.auth(&MECHANISMS, credentials).await {
                Ok(_) => Ok(()),
                Err(error) if error.is_permanent() => Err(match no_session("our login", error) {
                    ConnectError::Refused(sentence) => ConnectError::LoginRefused(sentence),
                    other => other,
                }),
                Err(error) => Err(no_session("our login", error)),
            }
        })
        .await
    }

    /// Gives a step of the connection its time.
    async fn in_time<T>(
        &self,
        step: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        timeout(self.times.greet, step).await.unwrap_or_else(|_| {
            Err(ConnectError::Unreachable(format!("{} does not answer", self.settings.host)))
        })
    }
}

/// The sentence for a step that lettre could not take.
fn no_session(step: &str, error: Error) -> ConnectError {
    match Reply::from(Err(error)) {
        Ok(reply) => ConnectError::Refused(format!("The server refuses {step} ({reply})")),
        Err(Lost::Nonsense) => ConnectError::Refused(format!("The server's answer to {step} is not SMTP")),
        Err(_) => ConnectError::Unreachable("The server broke off the connection".into()),
    }
}
