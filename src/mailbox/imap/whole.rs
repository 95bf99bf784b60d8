//! What a mailbox holds besides the inbox, and what the inbox has held.

use anyhow::{Context as _, Result};
use imap_proto::{MailboxDatum, NameAttribute, Response, StatusAttribute};
use tracing::{info, warn};

use super::super::{Cursor, Extent};
use super::{Imap, Pass, SMALL, Session, quoted};
use crate::message::MessageId;

impl Imap {
    /// The folder that is read.
    pub fn folder(&self) -> &str {
        &self.settings.inbox
    }

    /// Reads another folder from the next [`Imap::look`] on. Its name must be one that a server has told, or
    /// that the configuration has checked.
    pub fn turn_to(&mut self, folder: &str) {
        folder.clone_into(&mut self.settings.inbox);
        (self.pass, self.below) = (Pass::default(), Pass::default());
    }

    /// The UIDs of mails that lie in the folder below the cursor of this look, some at a time; none at the end.
    ///
    /// # Errors
    /// When no look has begun, or the mailbox fails.
    pub async fn next_below(&mut self) -> Result<Vec<u32>> {
        let mut session =
            self.session.take().context("The mailbox has no session; a pass has to begin first")?;
        let mut uids = Vec::new();
        while uids.is_empty()
            && let Some(range) = self.below.next_range(u32::MAX)
        {
            uids.extend(self.numbers(&mut session, range).await?);
            self.below.widen(uids.is_empty());
        }
        self.session = Some(session);
        Ok(uids)
    }

    /// Lets [`Imap::next_window`] give these mails of the folder, in their order, and nothing else.
    pub fn choose(&mut self, uids: &[u32]) {
        self.pass = Pass::of(uids, self.pass.validity);
    }

    /// Whether the last look failed at listing or fetching a mail: the next one asks for less at once, and in the end
    /// passes it by.
    pub fn has_stumbled(&self) -> bool {
        self.stumbled
    }

    /// See [`super::super::Mailbox::extents`].
    ///
    /// # Errors
    /// As there.
    pub async fn extents(&mut self, folders: &[String]) -> Result<Vec<Extent>> {
        let mut commands = Vec::with_capacity(folders.len());
        for folder in folders {
            commands.push(format!("STATUS {} (MESSAGES)", quoted(folder)?));
        }
        let mut extents = Vec::new();
        let mut session = self.take_session().await?;
        // A NO is a folder that is not there.
        session
            .batch(&commands, SMALL, self.patience.quick, |response| {
                let Response::MailboxData(MailboxDatum::Status { mailbox, status }) = response else {
                    return;
                };
                let folder = folders.iter().find(|folder| *folder == mailbox);
                let mails = status.iter().find_map(|attribute| match attribute {
                    StatusAttribute::Messages(count) => Some(u64::from(*count)),
                    _ => None,
                });
                if let (Some(folder), Some(mails)) = (folder, mails) {
                    extents.push(Extent { folder: folder.clone(), mails });
                }
            })
            .await?;
        self.session = Some(session);
        Ok(extents)
    }

    /// The folder that junk is kept in: that of the configuration, or else the one that the server marks so (RFC 6154
    /// section 2); if there is one. The log says which.
    ///
    /// # Errors
    /// The mailbox fails.
    pub async fn junk_folder(&mut self) -> Result<Option<String>> {
        self.folder_for("junk", "imap.junk", self.settings.junk.clone(), &NameAttribute::Junk).await
    }

    /// The same for copies of what was sent.
    ///
    /// # Errors
    /// The mailbox fails.
    pub async fn sent_folder(&mut self) -> Result<Option<String>> {
        self.folder_for("sent mail", "imap.sent", self.settings.sent.clone(), &NameAttribute::Sent).await
    }

    async fn folder_for(
        &mut self,
        what: &'static str,
        key: &'static str,
        named: Option<String>,
        mark: &NameAttribute<'static>,
    ) -> Result<Option<String>> {
        let mailbox = self.settings.name.clone();
        let Some(named) = named else {
            let marked = self.marked(mark).await?;
            match &marked {
                Some(folder) => info!(mailbox, folder, "the server marks this folder as that for {what}"),
                None => info!(
                    mailbox,
                    "the server marks no folder as that for {what}, so it is not looked into: {key} can name one"
                ),
            }
            return Ok(marked);
        };
        let is_there = !self.extents(std::slice::from_ref(&named)).await?.is_empty();
        if is_there {
            info!(mailbox, folder = named, "the folder for {what}, as {key} names it, is there");
        } else {
            warn!(
                mailbox,
                folder = named,
                "there is no folder of the name that {key} says, so {what} is not looked into"
            );
        }
        Ok(is_there.then_some(named))
    }

    async fn marked(&mut self, mark: &NameAttribute<'static>) -> Result<Option<String>> {
        let mut session = self.take_session().await?;
        // A plain LIST may leave special uses out; but not every server that has them knows the other.
        let command = match session.can("SPECIAL-USE") && session.can("LIST-EXTENDED") {
            true => "LIST (SPECIAL-USE) \"\" \"*\"",
            false => "LIST \"\" \"*\"",
        };
        let mut marked = None;
        session
            .command(command.to_owned(), SMALL, self.patience.quick, |response| {
                let Response::MailboxData(MailboxDatum::List(folder)) = response else { return };
                let is_it = folder.name_attributes.contains(mark);
                if marked.is_none() && is_it && quoted(&folder.name).is_ok() {
                    marked = Some(folder.name.to_string());
                }
            })
            .await?;
        self.session = Some(session);
        Ok(marked)
    }

    /// Those of `ids` of which a mail lies in a folder. It is opened so that nothing in it changes.
    ///
    /// # Errors
    /// The mailbox fails. A search that the server refuses finds nothing.
    pub async fn mails_of(&mut self, folder: &str, ids: &[MessageId]) -> Result<Vec<MessageId>> {
        let mut session = self.take_session().await?;
        self.select_folder(&mut session, "EXAMINE", folder).await?;
        let mut found = Vec::new();
        for id in ids {
            // What is looked for is part of the field: with its brackets it is all of it (RFC 3501 section 6.4.4).
            let command = format!("UID SEARCH HEADER Message-ID {}", quoted(id.as_str())?);
            let mut is_there = false;
            let replies = session
                .batch(&[command], SMALL, self.patience.fetch, |response| {
                    if let Response::MailboxData(MailboxDatum::Search(uids)) = response {
                        is_there |= !uids.is_empty();
                    }
                })
                .await?;
            if is_there && replies.iter().all(Result::is_ok) {
                found.push(id.clone());
            }
        }
        self.session = Some(session);
        Ok(found)
    }

    /// Whether mail has come to the inbox after `cursor` that is not there any more.
    ///
    /// # Errors
    /// The mailbox fails.
    pub async fn has_given_away(&mut self, cursor: Cursor) -> Result<bool> {
        let mut session = self.take_session().await?;
        let selected = self.select(&mut session, "EXAMINE").await?;
        let come = match (selected.validity, selected.uid_next) {
            (Some(validity), Some(next)) if validity == cursor.validity => {
                u64::from(next.saturating_sub(1).saturating_sub(cursor.last_uid))
            }
            _ => 0,
        };
        // Not all that lies there has come after the cursor.
        let mut pass = match come {
            0 => Pass::default(),
            _ => Pass::after(cursor.last_uid, cursor.validity, &selected),
        };
        let mut there = 0;
        while let Some(range) = pass.next_range(u32::MAX) {
            let found = self.numbers(&mut session, range).await?;
            there += found.len() as u64;
            pass.widen(found.is_empty());
        }
        self.session = Some(session);
        Ok(come > there)
    }

    pub(super) async fn take_session(&mut self) -> Result<Session> {
        match self.session.take() {
            Some(session) => Ok(session),
            None => {
                self.known_folders.clear();
                self.connect().await
            }
        }
    }
}
