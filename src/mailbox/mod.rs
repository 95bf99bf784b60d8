//! Where mail comes from: an IMAP server, or a Maildir on this machine. This room fetches and files;
//! it never looks into a mail, decides nothing, and deletes nothing.
//!
//! A pass is [`Mailbox::look`], then [`Mailbox::next_window`] until it is empty, with
//! [`Mailbox::file`] in between. After an error the pass is over and the next `look` begins anew; how
//! long to wait before that is the caller's business.

mod imap;
mod maildir;
mod session;
mod wire;

use std::collections::HashSet;
use std::fmt;

use anyhow::{Result, bail};
use sha2::{Digest, Sha256};

pub use imap::{Imap, NoMark};
pub use maildir::Maildir;
pub use session::LoginRefused;

use crate::config::{ImapConfig, MaildirConfig};

/// Where a mail lies in its mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MailId {
    /// Its UID in an IMAP folder. Says nothing without the UIDVALIDITY (RFC 3501 §2.3.1.1).
    Uid(u32),
    /// Its file name in a Maildir, without the flags (`:2,…`).
    File(String),
}

/// The kinds of mailbox, for reading a stored [`MailId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Ids are UIDs.
    Imap,
    /// Ids are file names.
    Maildir,
}

impl MailId {
    /// As it may stand in a log. A delivery agent's file names begin with the time and say nothing of a mail; of one that
    /// a person has chosen, after the sender perhaps, there is a digest.
    pub fn for_log(&self) -> String {
        let is_agents = |name: &str| {
            let time = name.split_once('.').map_or("", |(time, _)| time);
            time.len() > 8 && time.bytes().all(|b| b.is_ascii_digit()) && !name.contains('@')
        };
        match self {
            Self::File(name) if !is_agents(name) => {
                let digest = Sha256::digest(name);
                let digits: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
                format!("file-{digits}")
            }
            _ => self.to_string(),
        }
    }

    /// Reads what [`MailId`]'s `Display` wrote.
    ///
    /// # Errors
    /// When the text is no id of this kind.
    pub fn parse(kind: Kind, text: &str) -> Result<Self> {
        match kind {
            Kind::Imap => match text.parse() {
                Ok(uid) if uid > 0 => Ok(Self::Uid(uid)),
                _ => bail!("A stored mail id is no IMAP UID"),
            },
            Kind::Maildir if maildir::is_base_name(text) => Ok(Self::File(text.to_owned())),
            Kind::Maildir => bail!("A stored mail id is no Maildir file name"),
        }
    }
}

impl fmt::Display for MailId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uid(uid) => uid.fmt(f),
            Self::File(name) => f.write_str(name),
        }
    }
}

/// The place reached in a mailbox. Of an IMAP folder only: a Maildir's is always zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cursor {
    /// UIDVALIDITY. When it changes all UIDs are void (RFC 3501 §2.3.1.1).
    pub validity: u32,
    /// The last UID that is done with.
    pub last_uid: u32,
}

/// One mail as the mailbox gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Where it lies.
    pub id: MailId,
    /// Size of the whole mail in bytes, as far as it is known.
    pub size: u64,
    /// When it arrived: INTERNALDATE, or the file's modification time.
    /// [`jiff::Timestamp::UNIX_EPOCH`] when the server's date is none: the caller then takes its now.
    pub received: jiff::Timestamp,
    /// What of it was read.
    pub body: Body,
}

/// What of a mail was read.
#[derive(Clone, PartialEq, Eq)]
pub enum Body {
    /// All of it.
    Whole(Vec<u8>),
    /// The first [`Bounds::read_limit`] bytes of a longer mail.
    Head(Vec<u8>),
    /// It is over [`Bounds::max_message_size`]: its first bytes, as many as tell it from other mails. None
    /// when the server does not give even those.
    TooLarge(Vec<u8>),
    /// It is there, but could not be had in three attempts.
    Missing,
}

impl Body {
    /// What was read, perhaps nothing.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) | Self::Head(bytes) | Self::TooLarge(bytes) => bytes,
            Self::Missing => &[],
        }
    }
}

impl fmt::Debug for Body {
    /// Says how long, never what.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(bytes) => write!(f, "Whole({} bytes)", bytes.len()),
            Self::Head(bytes) => write!(f, "Head({} bytes)", bytes.len()),
            Self::TooLarge(bytes) => write!(f, "TooLarge({} bytes)", bytes.len()),
            Self::Missing => f.write_str("Missing"),
        }
    }
}

/// Some mails, in ascending order of their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Window {
    /// UIDVALIDITY of the ids; 0 for a Maildir.
    pub validity: u32,
    /// The mails. None: the pass is through.
    pub mails: Vec<Fetched>,
}

/// What is fetched of a mail that is too large to be read, in bytes. The fields that servers add and the
/// Message-ID are in it; with the size of the whole they make an identity that lasts.
const HEAD_OF_LARGE: u64 = 16 * 1024;

/// How far a folder that mail is filed in has been looked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// UIDVALIDITY; 0 while there is no such folder.
    pub validity: u32,
    /// The first UID that was not looked at.
    pub uid_next: u32,
}

/// What was found in a folder that mail is filed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub folder: String,
    /// How far it is looked through with these.
    pub mark: Mark,
    /// The mails that have come there since the last look, but for what is known to be of our own filing.
    pub mails: Vec<Fetched>,
}

/// How much lies in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// Its name.
    pub folder: String,
    /// Mails in it.
    pub mails: u64,
}

/// A file in a folder of a Maildir.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name without the flags.
    pub name: String,
    /// Where it is.
    pub path: std::path::PathBuf,
}

/// How much is read at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Of each mail, in bytes.
    pub read_limit: u64,
    /// Of longer mails only the first 16 KiB are fetched, to know them again by; in bytes.
    pub max_message_size: u64,
    /// Mails in a window, at the most.
    pub window_mails: usize,
    /// Bytes to fetch for a window, at the most; a single mail may be longer.
    pub window_bytes: u64,
}

impl Bounds {
    /// The usual window, 500 mails and 4 MiB, with the given bounds on a mail, in bytes.
    pub fn new(read_limit: u64, max_message_size: u64) -> Self {
        Self { read_limit, max_message_size, window_mails: 500, window_bytes: 4 * 1024 * 1024 }
    }

    /// How many bytes of a mail of `size` bytes are fetched.
    fn fetched_of(&self, size: u64) -> u64 {
        let most = if size > self.max_message_size { HEAD_OF_LARGE } else { size };
        most.min(self.read_limit)
    }
}

/// A mailbox of either kind.
pub enum Mailbox {
    /// On an IMAP server.
    Imap(Box<Imap>),
    /// On this machine.
    Maildir(Maildir),
}

impl Mailbox {
    /// A mailbox on an IMAP server. Connects later.
    ///
    /// # Errors
    /// When TLS cannot be set up, as with an unreadable `ca_file`.
    pub fn imap(settings: ImapConfig, bounds: Bounds) -> Result<Self> {
        Ok(Self::Imap(Box::new(Imap::new(settings, bounds)?)))
    }

    /// A mailbox on this machine. Touches the disk later.
    ///
    /// # Errors
    /// None today.
    pub fn maildir(settings: MaildirConfig, bounds: Bounds) -> Result<Self> {
        Ok(Self::Maildir(Maildir::new(settings, bounds)))
    }

    /// The configured name, for logs and for the store.
    pub fn name(&self) -> &str {
        match self {
            Self::Imap(imap) => imap.name(),
            Self::Maildir(maildir) => maildir.name(),
        }
    }

    /// Whether a mail could not be read in this pass and is left for the next. (IMAP ends the pass instead.)
    pub fn left_unread(&self) -> bool {
        match self {
            Self::Imap(_) => false,
            Self::Maildir(maildir) => maildir.left_unread(),
        }
    }

    /// How many mails of this pass are not handed out yet, by what the mailbox said at its beginning; some of them may
    /// be gone.
    pub fn waiting(&self) -> u64 {
        match self {
            Self::Imap(imap) => imap.waiting(),
            Self::Maildir(maildir) => maildir.waiting(),
        }
    }

    /// What kind of ids this mailbox has.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Imap(_) => Kind::Imap,
            Self::Maildir(_) => Kind::Maildir,
        }
    }

    /// Begins a pass after `cursor`, connecting where there is no session, and answers the cursor it
    /// goes on from: `last_uid` is 0 when the mailbox has another UIDVALIDITY than the given one.
    ///
    /// # Errors
    /// [`LoginRefused`] when name or password are wrong; a sentence for everything else.
    pub async fn look(&mut self, cursor: Cursor) -> Result<Cursor> {
        match self {
            Self::Imap(imap) => imap.look(cursor).await,
            Self::Maildir(maildir) => maildir.look().await,
        }
    }

    /// The next mails of this pass; none when it is through.
    ///
    /// # Errors
    /// When no pass has begun, or the mailbox fails. The pass is then over, and the mails of this
    /// window come again in the next.
    pub async fn next_window(&mut self) -> Result<Window> {
        match self {
            Self::Imap(imap) => imap.next_window().await,
            Self::Maildir(maildir) => maildir.next_window().await,
        }
    }

    /// Files mails of this pass into folders, which are made (and subscribed to) where they are
    /// missing. Mails that are no longer there are no error. Answers those that the server refused to
    /// file, and logs why: a folder that takes nothing must not keep the others waiting.
    ///
    /// # Errors
    /// When no pass has begun, or the mailbox fails. Some of the mails may have been filed then.
    pub async fn file(&mut self, moves: &[(MailId, String)]) -> Result<HashSet<MailId>> {
        match self {
            Self::Imap(imap) => imap.file(moves).await,
            Self::Maildir(maildir) => maildir.file(moves).await.map(|()| HashSet::new()),
        }
    }

    /// Looks into folders that mail is filed in for what has come there since the given marks, which tells of
    /// mail that a person has put there; answers those of which there is something to tell. What lay in a
    /// folder at the first look is left alone. To be called at the end of a pass, of which nothing can be read
    /// or filed after it. A Maildir has no numbers to tell new mail by: there, nothing is ever found.
    ///
    /// # Errors
    /// When no pass has begun, or the mailbox fails.
    pub async fn look_into(&mut self, folders: &[(String, Option<Mark>)]) -> Result<Vec<Found>> {
        match self {
            Self::Imap(imap) => imap.look_into(folders).await,
            Self::Maildir(_) => Ok(Vec::new()),
        }
    }

    /// How many mails lie in each of these folders, of those that there are.
    ///
    /// # Errors
    /// As [`Mailbox::look`].
    pub async fn extents(&mut self, folders: &[String]) -> Result<Vec<Extent>> {
        match self {
            Self::Imap(imap) => imap.extents(folders).await,
            Self::Maildir(maildir) => maildir.extents(folders).await,
        }
    }

    /// Tries the mailbox without changing anything in it, and answers what was found, such as
    /// "1203 messages, MOVE, UIDPLUS".
    ///
    /// # Errors
    /// As [`Mailbox::look`].
    pub async fn probe(&mut self) -> Result<String> {
        match self {
            Self::Imap(imap) => imap.probe().await,
            Self::Maildir(maildir) => maildir.probe().await,
        }
    }

    /// Ends the session, politely if that is quick.
    pub async fn close(&mut self) {
        if let Self::Imap(imap) = self {
            imap.close().await;
        }
    }
}

#[cfg(test)]
#[path = "mod_tests.rs"]
mod tests;
