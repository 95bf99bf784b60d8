//! The SMTP conversation: many letters over one connection (RFC 5321), pipelined where the server
//! allows it (RFC 2920). One recipient per transaction.
//!
//! With PIPELINING, MAIL, RCPT and DATA of a letter go out together, behind the content of the
//! letter before it. A letter then costs one round trip:
//!
//! ```text
//! C: MAIL RCPT DATA                            S: 250 250 354
//! C: <letter 1> . MAIL RCPT DATA               S: 250 250 250 354
//! C: <letter 2> . …
//! ```
//!
//! Content follows only once its own DATA has been answered with 354. What was refused at MAIL or
//! RCPT is ended by a lone dot when DATA was granted all the same (RFC 2920 §3.1), else by RSET.
//!
//! ## Why lettre by hand
//! Its own `send` has no timeouts, does not pipeline, and cannot say whether the message was out
//! when the connection broke.

use std::pin::pin;
use std::time::Duration;

use lettre::transport::smtp::client::AsyncSmtpConnection;
use tokio::time::{sleep, timeout};

use super::reply::{Lost, Reply, Stage};
use super::smtp::Times;
use super::wire::Meter;
use super::{Letter, Outcome};
use crate::stop::Stop;

/// A connection to a mail server, greeted and logged in.
pub struct SmtpSession {
    /// Taken out while letters are under way, so that a `deliver` that is dropped half-way takes
    /// the connection with it: the next command would become part of a message.
    link: Option<Link>,
    about: String,
}

impl SmtpSession {
    pub(super) fn new(link: Link, about: String) -> Self {
        Self { link: Some(link), about }
    }

    /// What the server offers, such as "PIPELINING, TLS 1.3".
    pub fn about(&self) -> &str {
        &self.about
    }

    /// Whether the connection is fit for more letters, as far as is known.
    pub fn is_open(&self) -> bool {
        self.link.is_some()
    }

    /// See [`super::Session::deliver`].
    pub async fn deliver(&mut self, letters: &[Letter], stop: &Stop) -> Vec<Outcome> {
        let mut outcomes: Vec<_> = letters.iter().map(before_the_wire).collect();
        let Some(mut link) = self.link.take() else {
            return outcomes;
        };
        let sendable = |(_, outcome): &(&Letter, &mut Outcome)| **outcome == Outcome::NotTried;
        let mut turns = letters.iter().zip(&mut outcomes).filter(sendable).peekable();
        if let Some((first, _)) = turns.peek() {
            link.announce(first);
        }
        while let Some((letter, outcome)) = turns.next() {
            if stop.is_asked() && link.is_between_letters() {
                break;
            }
            let next = turns.peek().map(|(next, _)| *next);
            match link.carry(letter, next, stop).await {
                Ok(settled) => *outcome = settled,
                Err(last) => {
                    *outcome = last;
                    return outcomes;
                }
            }
        }
        self.link = Some(link);
        outcomes
    }

    /// Takes leave: QUIT and the end of TLS, within 5 s.
    pub async fn quit(self) {
        if let Some(mut link) = self.link {
            // In lettre's words; it sends QUIT. Nobody minds when it does not arrive.
            let _ = timeout(link.times.quit, link.connection.abort()).await;
        }
    }
}

/// A letter that must not reach the wire has its outcome already.
fn before_the_wire(letter: &Letter) -> Outcome {
    match letter.flaw() {
        Some(flaw) => Outcome::Bounced(flaw.to_owned()),
        None => Outcome::NotTried,
    }
}

/// How a letter's envelope was taken.
enum Envelope {
    /// The server waits for the message.
    Accepted,
    /// Not to be delivered; `granted` tells whether the server waits for a message all the same.
    Refused { outcome: Outcome, granted: bool },
}

/// The connection, and what is to be said next.
pub(super) struct Link {
    connection: AsyncSmtpConnection,
    meter: Meter,
    pipelining: bool,
    /// The MAIL command, always the same.
    mail: String,
    times: Times,
    /// Lines that go out, in one write, when the next reply is waited for.
    unsaid: String,
}

impl Link {
    pub(super) fn new(
        connection: AsyncSmtpConnection,
        meter: Meter,
        pipelining: bool,
        bounce_address: &str,
        times: Times,
    ) -> Self {
        let mail = format!("MAIL FROM:<{bounce_address}>\r\n");
        Self { connection, meter, pipelining, mail, times, unsaid: String::new() }
    }

    /// One letter, from the replies to its envelope to the reply to its content; the envelope of
    /// `next` goes out with the content. An `Err` is the outcome after which the connection is of
    /// no use: also of a letter whose envelope is out when `stop` comes. Without its content no server
    /// delivers it, and to end it in order could take the server minutes.
    async fn carry(
        &mut self,
        letter: &Letter,
        next: Option<&Letter>,
        stop: &Stop,
    ) -> Result<Outcome, Outcome> {
        let envelope = tokio::select! {
            biased;
            () = stop.asked() => return Err(Outcome::NotTried),
            envelope = self.envelope(letter) => envelope?,
        };
        match &envelope {
            Envelope::Accepted => self.say_message(&letter.raw),
            Envelope::Refused { granted: true, .. } => self.unsaid.push_str(".\r\n"),
            Envelope::Refused { granted: false, .. } => self.unsaid.push_str("RSET\r\n"),
        }
        let message_end = self.meter.accepted() + self.unsaid.len() as u64;
        if let Some(next) = next {
            self.announce(next);
        }
        let Times { message, ending, .. } = self.times;
        let reply = tokio::select! {
            biased;
            reply = self.reply(message) => reply,
            () = async { stop.asked().await; sleep(ending).await } => Err(Lost::Stopped),
        };
        match (envelope, reply) {
            (Envelope::Accepted, reply) => self.settle(reply, message_end),
            // The server may well refuse a message for nobody.
            (Envelope::Refused { outcome, .. }, Ok(reply)) if !reply.ends_session() => Ok(outcome),
            (Envelope::Refused { outcome, .. }, _) => Err(outcome),
        }
    }

    /// Whether nothing is said, or about to be said, of a letter that is not yet done.
    fn is_between_letters(&self) -> bool {
        !self.pipelining
    }

    /// Says MAIL, RCPT and DATA ahead, where the server allows it.
    fn announce(&mut self, letter: &Letter) {
        if self.pipelining {
            for stage in ENVELOPE {
                self.say(stage, letter);
            }
        }
    }

    fn say(&mut self, stage: Stage, letter: &Letter) {
        match stage {
            Stage::Mail => self.unsaid.push_str(&self.mail),
            Stage::Rcpt => self.unsaid.extend(["RCPT TO:<", &letter.recipient, ">\r\n"]),
            Stage::Data => self.unsaid.push_str("DATA\r\n"),
            Stage::Message => {}
        }
    }

    /// The replies to MAIL, RCPT and DATA. The first refusal is the one that counts: those after
    /// it only follow from it.
    async fn envelope(&mut self, letter: &Letter) -> Result<Envelope, Outcome> {
        let mut refusal: Option<Outcome> = None;
        let mut granted = false;
        for stage in ENVELOPE {
            if !self.pipelining {
                if refusal.is_some() {
                    break;
                }
                self.say(stage, letter);
            }
            let limit = if stage == Stage::Data { self.times.data } else { self.times.envelope };
            match self.reply(limit).await {
                Ok(reply) if reply.agrees(stage) => granted = stage == Stage::Data,
                Ok(reply) if reply.refuses() => {
                    let outcome = refusal.take().unwrap_or_else(|| reply.refusal(stage));
                    if reply.ends_session() {
                        return Err(outcome);
                    }
                    refusal = Some(outcome);
                }
                Ok(_) => return Err(refusal.unwrap_or_else(|| deferred(Lost::Nonsense, stage))),
                Err(lost) => return Err(refusal.unwrap_or_else(|| deferred(lost, stage))),
            }
        }
        Ok(match refusal {
            Some(outcome) => Envelope::Refused { outcome, granted },
            None => Envelope::Accepted,
        })
    }

    /// The outcome of a letter whose content ends at `message_end`.
    fn settle(&self, reply: Result<Reply, Lost>, message_end: u64) -> Result<Outcome, Outcome> {
        match reply {
            Ok(reply) if reply.agrees(Stage::Message) => Ok(Outcome::Sent(reply.to_string())),
            Ok(reply) if reply.ends_session() => Err(reply.refusal(Stage::Message)),
            Ok(reply) if reply.refuses() => Ok(reply.refusal(Stage::Message)),
            Ok(_) => Err(Outcome::Unknown(format!("{} after the message", Lost::Nonsense))),
            Err(lost) if self.meter.accepted() < message_end => Err(deferred(lost, Stage::Message)),
            Err(lost) => Err(Outcome::Unknown(format!("{lost} after the message"))),
        }
    }

    /// The message with its dots doubled (RFC 5321 §4.5.2), and the final dot.
    fn say_message(&mut self, raw: &[u8]) {
        // `Letter::flaw` has seen that it is ASCII.
        let text = str::from_utf8(raw).unwrap_or_default();
        self.unsaid.reserve(text.len() + 256);
        for line in text.split_inclusive("\r\n") {
            if line.starts_with('.') {
                self.unsaid.push('.');
            }
            self.unsaid.push_str(line);
        }
        if !text.ends_with("\r\n") {
            self.unsaid.push_str("\r\n");
        }
        self.unsaid.push_str(".\r\n");
    }

    /// Says what is unsaid and reads one reply. `limit` is how long the server may think; a long
    /// text may take any time to go out as long as some of it moves. When the text takes long, the
    /// wait for the reply may be longer by `Times::stall`: the RFC asks for minimums.
    async fn reply(&mut self, limit: Duration) -> Result<Reply, Lost> {
        let text = std::mem::take(&mut self.unsaid);
        let mut accepted = self.meter.accepted();
        let end = accepted + text.len() as u64;
        let mut exchange = pin!(async {
            match text.is_empty() {
                true => self.connection.read_response().await,
                false => self.connection.command(text).await,
            }
        });
        loop {
            let limit = if accepted < end { self.times.stall } else { limit };
            match timeout(limit, &mut exchange).await {
                Ok(result) => return Reply::from(result),
                Err(_) if self.meter.accepted() > accepted => accepted = self.meter.accepted(),
                Err(_) => return Err(Lost::Timeout),
            }
        }
    }
}

const ENVELOPE: [Stage; 3] = [Stage::Mail, Stage::Rcpt, Stage::Data];

fn deferred(lost: Lost, stage: Stage) -> Outcome {
    Outcome::Deferred(format!("{lost} at {stage}"))
}
