//! privacyd runs a company's privacy@ mailbox: it reads the mail, sorts it into request types, does
//! what each asks, and confirms it.
//!
//! A mail walks one straight corridor, from the mailbox to a committed decision and a queued reply.
//! Rooms that think do nothing else; rooms that act decide nothing. A second, shorter corridor
//! carries queued replies out. The two meet only in the store.
//!
//! ```text
//!    mailbox ─► understand (message ─► screen ─► sender ─► text ─► classify) ─► decide ─► reply ─► store
//!       ▲                                pure                                  pure     pure       │
//!       └────────────── filed after the commit ◄───────────────────────────────────────────────────┤
//!                                                              mailer ◄─ outbox ◄── queued reply ◄──┘
//! ```
//!
//! # Layout, in the order of the corridor
//!
//! * [`config`]: one TOML file, checked wholly at the start; [`tls`]: the one TLS configuration.
//! * [`mailbox`] (effect): IMAP or Maildir; fetches windows of mail and files them.
//! * [`intake`]: the corridor itself, and behind it what people do by moving a mail to another folder.
//! * [`understand`] (pure): bytes to an understanding, by the rooms
//!   [`message`] (parsing), [`html`] and [`text`] (the sender's own words), [`screen`] (mail that is
//!   never answered), [`sender`] (who wrote), [`evidence`] (what proves it), [`token`] (whom a newsletter's
//!   unsubscribe address opts out), [`request`] and [`language`] (the tables of rules), [`patterns`]
//!   (compiled when they are needed), [`needles`] (which words of all rules are in a sentence), [`literals`] (which of
//!   the phrases it cannot match without them; both in [`lists`]) and [`shelf`] (whether
//!   it matches another, and where), [`tongue`] (in which languages a sentence may be), [`concept`] (what a sentence
//!   speaks of, in any language) and [`learned`] (what that speaks for), [`lexicon`] (the phrases of a language, found),
//!   [`classify`] (what is asked), [`code`] and [`answer`] (what proves that a request is the sender's own), [`bounce`]
//!   (what became of our own mail).
//!   [`correction`] (pure): what of somebody's data is to be changed into what, read from their own words.
//! * [`verify`] (effect): DKIM signatures, checked with keys from the DNS where our servers say nothing.
//! * [`clock`] (pure): legal clocks, law by law, their explanation, and when [`intake`] warns of them.
//!   [`ladder`] (pure): what proof a request needs, and what a mail means for earlier ones.
//!   [`decide`] (pure): all that follows from one mail.
//! * [`reply`] (pure): a decision to the bytes of its reply.
//! * [`store`] (effect): SQLite; the only place with SQL. [`chain`] (pure): the hash chain of its event log.
//! * [`outbox`]: due replies, one attempt and one outcome each. [`mailer`] (effect): SMTP, a folder,
//!   or a test's memory.
//! * [`work`]: carries approved requests out in the company's systems, and tells the end. [`source`] (effect):
//!   such a system, reached by a command or over HTTPS. [`copy`] (pure): the copy of the data that is handed out.
//! * [`notice`]: notices to everybody the company knows, within a rate.
//! * [`daemon`]: builds all of it from a configuration and keeps the loops turning; [`stop`]: what ends them;
//!   [`watch`] (effect): whether they really work, for systemd and for `privacyd status`; [`metrics`]: the same as
//!   numbers.
//! * [`cli`], [`operator`], [`demo`]: the command line. [`report`] (pure): the yearly numbers.
//!   [`log`], [`redact`]: what a log may say.
//!   [`random`] (effect): the system's random bytes.
//!
//! # Invariants
//!
//! * A mail is known by its bytes; what it causes is one transaction, and it is filed only after that.
//! * Nothing a sender wrote reaches a reply, a log line, a file name or a query's text; but for the values of a
//!   correction, in a reply to the address that is proven to have written them.
//! * Every event of a request is in one chain of hashes; none is committed outside it.
//! * A reply whose fate is not known is never sent again by the program.
//! * Pure rooms know no clock, no runtime, no database and no effect room (`tests/house.rs`).

// Mail is hostile input: what could panic on it is a warning, and warnings fail scripts/test.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice))]

pub mod config;
pub mod copy;
pub mod tls;

pub mod mailbox;

pub mod intake;

pub mod understand;
pub mod verify;

pub mod answer;
pub mod bounce;
pub mod classify;
pub mod code;
pub mod concept;
pub mod correction;
pub mod evidence;
pub mod html;
pub mod language;
pub mod learned;
pub mod lexicon;
pub mod lists;
pub mod literals;
pub mod message;
pub mod needles;
pub mod patterns;
pub mod request;
pub mod screen;
pub mod sender;
pub mod shelf;
pub mod text;
pub mod token;
pub mod tongue;

pub mod clock;
pub mod decide;
pub mod ladder;

pub mod reply;

pub mod chain;
pub mod source;
pub mod store;

pub mod mailer;
pub mod notice;
pub mod outbox;

pub mod daemon;
pub mod metrics;
pub mod stop;
pub mod watch;

pub mod cli;
pub mod demo;
pub mod log;
pub mod operator;
pub mod random;
pub mod redact;
pub mod report;
pub mod work;
