//! The byte stream under lettre: counts what went out, keeps lettre's reader safe, and gets a
//! plaintext connection to TLS (STARTTLS, RFC 3207) without a byte of plaintext leaking into it.
//!
//! ## Why our own STARTTLS
//! lettre keeps bytes that came after the plaintext `220` and takes them for replies received
//! under TLS: a man in the middle could so turn a refusal into a success.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf};
use tokio::net::TcpStream;

use super::ConnectError;

/// Longest reply line; RFC 5321 §4.5.3.1.5 allows 512 octets.
const MAX_LINE: usize = 4096;
/// Most plaintext in one TLS record (RFC 8446 §5.1).
const MAX_RECORD: usize = 16 * 1024;
/// Most bytes of one reply before TLS.
const MAX_PRELUDE: u64 = 4096;

/// How many bytes the stream has accepted so far, seen from outside the connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Meter(Arc<AtomicU64>);

impl Meter {
    pub(super) fn accepted(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A stream for lettre.
pub(super) struct Wire<S> {
    stream: S,
    peer: SocketAddr,
    /// What lettre reads before anything else: the greeting it waits for after STARTTLS.
    greeting: &'static [u8],
    accepted: Meter,
    /// Length of the line that is being read.
    line: usize,
}

impl<S> Wire<S> {
    pub(super) fn new(stream: S, peer: SocketAddr) -> Self {
        Self { stream, peer, greeting: b"", accepted: Meter::default(), line: 0 }
    }

    /// A stream after STARTTLS, where no greeting comes: lettre gets one to read all the same.
    pub(super) fn already_greeted(stream: S, peer: SocketAddr) -> Self {
        Self { greeting: b"220 TLS\r\n", ..Self::new(stream, peer) }
    }

    pub(super) fn meter(&self) -> Meter {
        self.accepted.clone()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    /// End of file is an error, so that lettre cannot take it for a malformed reply. Bytes that
    /// are not ASCII become '?': the text of a reply means nothing to us, but lettre would fail at
    /// an umlaut in Latin-1. A line without end is an error; lettre would read it to the end.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some((now, later)) = self.greeting.split_at_checked(self.greeting.len().min(buf.remaining()))
            && !now.is_empty()
        {
            buf.put_slice(now);
            self.greeting = later;
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let fresh = buf.filled_mut().get_mut(before..).unwrap_or_default();
        if fresh.is_empty() {
            return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
        }
        for byte in fresh {
            self.line = if *byte == b'\n' { 0 } else { self.line + 1 };
            if !byte.is_ascii() {
                *byte = b'?';
            }
        }
        if self.line > MAX_LINE {
            return Poll::Ready(Err(ErrorKind::InvalidData.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    /// At most one TLS record at a time: tokio-rustls may write several and then report an error
    /// for all of them, and a message could be with the server that we count as not sent.
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let part = buf.get(..MAX_RECORD).unwrap_or(buf);
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, part))?;
        self.accepted.0.fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> AsyncTokioStream for Wire<S> {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

impl<S> fmt::Debug for Wire<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

/// Greeting, EHLO and STARTTLS in plaintext; the stream is then ready for the handshake. What the
/// server said here is forgotten (RFC 3207 §4.2).
pub(super) async fn starttls(stream: TcpStream, helo: &str) -> Result<TcpStream, ConnectError> {
    let mut reader = BufReader::new(stream);
    let greeting = prelude_reply(&mut reader).await?;
    if greeting.code != 220 {
        return Err(ConnectError::Refused(format!("The server refuses the connection ({})", greeting.code)));
    }
    let hello = prelude_command(&mut reader, &format!("EHLO {helo}\r\n")).await?;
    if hello.code != 250 {
        return Err(ConnectError::Refused(format!("The server refuses EHLO ({})", hello.code)));
    }
    if !hello.lines.iter().any(|line| line.eq_ignore_ascii_case("STARTTLS")) {
        return Err(ConnectError::Tls("The server does not offer STARTTLS".into()));
    }
    let ready = prelude_command(&mut reader, "STARTTLS\r\n").await?;
    if ready.code != 220 {
        return Err(ConnectError::Tls(format!("The server refuses STARTTLS ({})", ready.code)));
    }
    Ok(reader.into_inner())
}

/// A reply before TLS: its code, and the text of each line.
struct PreludeReply {
    code: u16,
    lines: Vec<String>,
}

async fn prelude_command(
    reader: &mut BufReader<TcpStream>,
    line: &str,
) -> Result<PreludeReply, ConnectError> {
    reader.get_mut().write_all(line.as_bytes()).await.map_err(|_| broke_off())?;
    prelude_reply(reader).await
}

/// One reply and not a byte more: what follows it unasked was injected, or the server is broken.
async fn prelude_reply(reader: &mut BufReader<TcpStream>) -> Result<PreludeReply, ConnectError> {
    let nonsense = || ConnectError::Refused("The server does not speak SMTP".into());
    let mut bounded = reader.take(MAX_PRELUDE);
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        let length = bounded.read_until(b'\n', &mut line).await.map_err(|_| broke_off())?;
        if length == 0 && bounded.limit() > 0 {
            return Err(broke_off());
        }
        let line = String::from_utf8_lossy(line.strip_suffix(b"\r\n").ok_or_else(nonsense)?);
        let (code, rest) = line.split_at_checked(3).ok_or_else(nonsense)?;
        let (more, text) = match rest.split_at_checked(1) {
            Some(("-", text)) => (true, text),
            Some((" ", text)) => (false, text),
            None => (false, ""),
            Some(_) => return Err(nonsense()),
        };
        lines.push(text.to_owned());
        if more {
            continue;
        }
        if !bounded.get_ref().buffer().is_empty() {
            return Err(ConnectError::Tls("The server sent more than it was asked before TLS".into()));
        }
        let code = code.parse().map_err(|_| nonsense())?;
        return Ok(PreludeReply { code, lines });
    }
}

fn broke_off() -> ConnectError {
    ConnectError::Unreachable("The connection broke off before TLS".into())
}
