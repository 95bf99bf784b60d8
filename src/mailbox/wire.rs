//! The guard on what an IMAP server sends: it follows lines and literals as they pass and ends the
//! connection before the library behind it would allocate, recurse or panic on them.
//!
//! ## Why
//! async-imap allocates what a literal announces before a byte of it has come, up to 512 MiB, and has
//! no other bound. It is enough to lie `{400000000}` once. The literals we ever ask for are mail
//! bodies, so `BODY[] {n}` directly within a FETCH, of at most the size we asked for, is the only one
//! that passes. Following *all* literals would be weaker, not just longer: text such as
//! `* OK {99}` looks like one but is none for the parser, which would hide the next 99 bytes from us.
//!
//! Outside of literals IMAP is ASCII (RFC 3501 §4.3, §9). Other bytes become `?` here, because
//! imap-proto 0.17 cuts response text at byte 1 and panics inside a longer character. Parentheses are
//! nested four deep in the worst answer we ask for; its parser recurses on them without a bound.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};

/// The longest line that is read, in bytes. Only COPYUID and CAPABILITY lines come near it.
const MAX_LINE: usize = 64 * 1024;
/// The deepest parentheses that are read.
const MAX_DEPTH: u8 = 16;

/// How much the answers to one batch of commands may take.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// The longest literal, in bytes; 0 when none is expected.
    pub literal: u64,
    /// All bytes together.
    pub total: u64,
}

/// What the guard refuses. It travels inside an [`io::Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A line, a literal or the whole answer is over its limit.
    #[error("The server's response is too large")]
    TooLarge,
    /// A literal where none was asked for.
    #[error("The server sends a literal where none was asked for")]
    UnexpectedLiteral,
    /// Parentheses nested too deeply.
    #[error("The server's response is nested too deeply")]
    TooDeep,
}

/// Follows the framing of what a server sends (RFC 3501 §4.3). Does no I/O.
#[derive(Debug)]
pub struct Framing {
    room: Room,
    /// The current line so far.
    line: Vec<u8>,
    depth: u8,
    /// Bytes of the current literal that are still to come.
    literal_left: u64,
    /// Whether this line goes on after a literal of a FETCH response.
    within_fetch: bool,
}

impl Framing {
    /// Begins before the first byte of a connection.
    pub fn new(room: Room) -> Self {
        Self { room, line: Vec::new(), depth: 0, literal_left: 0, within_fetch: false }
    }

    /// Sets the limits for what comes from here on.
    pub fn allow(&mut self, room: Room) {
        self.room = room;
    }

    /// Takes note of `bytes`, which may begin and end anywhere, and makes their lines ASCII in place.
    ///
    /// # Errors
    /// When the bytes must not be handed on, nor anything after them.
    pub fn accept(&mut self, mut bytes: &mut [u8]) -> Result<(), Refused> {
        self.room.total = self.room.total.checked_sub(bytes.len() as u64).ok_or(Refused::TooLarge)?;
        while !bytes.is_empty() {
            let line_end = || bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
            let length = match usize::try_from(self.literal_left) {
                Ok(0) => line_end().unwrap_or(bytes.len()),
                Ok(left) => left.min(bytes.len()),
                Err(_) => bytes.len(),
            };
            let Some((piece, rest)) = bytes.split_at_mut_checked(length) else { break };
            if self.literal_left > 0 {
                self.literal_left -= piece.len() as u64;
            } else {
                self.accept_line(piece)?;
            }
            bytes = rest;
        }
        Ok(())
    }

    /// `piece` lies within one line, or ends it.
    fn accept_line(&mut self, piece: &mut [u8]) -> Result<(), Refused> {
        if self.line.len() + piece.len() > MAX_LINE {
            return Err(Refused::TooLarge);
        }
        for byte in piece.iter_mut() {
            match byte {
                b'(' => self.depth += 1,
                b')' => self.depth = self.depth.saturating_sub(1),
                0x80.. => *byte = b'?',
                _ => {}
            }
            if self.depth > MAX_DEPTH {
                return Err(Refused::TooDeep);
            }
        }
        self.line.extend_from_slice(piece);
        if piece.ends_with(b"\n") {
            self.end_line()?;
            self.line.clear();
        }
        Ok(())
    }

    fn end_line(&mut self) -> Result<(), Refused> {
        let Some((before, size)) = announced(&self.line) else {
            self.within_fetch = false;
            self.depth = 0;
            return Ok(());
        };
        self.within_fetch = self.within_fetch || begins_fetch(before);
        if !(self.within_fetch && self.depth == 1 && ends_in_body(before)) {
            return Err(Refused::UnexpectedLiteral);
        }
        if size > self.room.literal {
            return Err(Refused::TooLarge);
        }
        self.literal_left = size;
        Ok(())
    }
}

/// Splits a line that ends in `{n}`, `{n+}` or `~{n}` into what is before the brace, and n.
fn announced(line: &[u8]) -> Option<(&[u8], u64)> {
    let line = line.strip_suffix(b"\n")?;
    let line = line.strip_suffix(b"\r").unwrap_or(line).strip_suffix(b"}")?;
    let line = line.strip_suffix(b"+").unwrap_or(line);
    let brace = line.iter().rposition(|byte| *byte == b'{')?;
    let (before, digits) = (line.get(..brace)?, line.get(brace + 1..)?);
    let digits = std::str::from_utf8(digits).ok()?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Too many digits for a u64 is too large for any limit as well.
    Some((before, digits.parse().unwrap_or(u64::MAX)))
}

/// Whether a line begins with `* 17 FETCH (`.
fn begins_fetch(line: &[u8]) -> bool {
    let Some(line) = line.strip_prefix(b"* ") else { return false };
    let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && line.get(digits..digits + 8).is_some_and(|word| word.eq_ignore_ascii_case(b" FETCH ("))
}

/// Whether a line ends in `BODY[] ` or `BODY[]<0> ` as an item of its own.
fn ends_in_body(line: &[u8]) -> bool {
    [&b" BODY[] "[..], b"(BODY[] ", b" BODY[]<0> ", b"(BODY[]<0> "].iter().any(|item| {
        line.len()
            .checked_sub(item.len())
            .and_then(|at| line.get(at..))
            .is_some_and(|end| end.eq_ignore_ascii_case(item))
    })
}

/// A TCP or TLS stream.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Sync {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync> Stream for T {}

/// A stream whose incoming bytes pass the guard.
pub struct Guarded {
    /// async-imap reads 4 KiB at a time; the buffer saves most of the system calls.
    inner: BufReader<Box<dyn Stream>>,
    framing: Framing,
    received: Arc<AtomicU64>,
}

impl Guarded {
    /// Puts the guard in front of `inner`. Nothing may have been read from it yet.
    pub fn new(inner: Box<dyn Stream>, room: Room) -> Self {
        Self {
            inner: BufReader::with_capacity(MAX_LINE, inner),
            framing: Framing::new(room),
            received: Arc::default(),
        }
    }

    /// Sets the limits for the answers to come.
    pub fn allow(&mut self, room: Room) {
        self.framing.allow(room);
    }

    /// A counter of the bytes received, to see from outside whether the server still sends.
    pub fn received(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.received)
    }
}

impl std::fmt::Debug for Guarded {
    /// Says nothing: the buffers hold mail.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Guarded(…)")
    }
}

impl AsyncRead for Guarded {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        std::task::ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
        let Some(new) = buf.filled_mut().get_mut(before..) else { return Poll::Ready(Ok(())) };
        this.received.fetch_add(new.len() as u64, Ordering::Relaxed);
        Poll::Ready(
            this.framing.accept(new).map_err(|refused| io::Error::new(io::ErrorKind::InvalidData, refused)),
        )
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
