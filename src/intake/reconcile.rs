//! Completeness: every mail that lies in the inbox, in the folders we file into, or among the server's junk has
//! its row in the ledger.
//!
//! A UID that was once accounted for is not looked at again (RFC 3501 section 2.3.1.1: it is never another
//! mail's), and a row is never deleted: so each mail is fetched once more in its life, a window at a time, and
//! known by its bytes. In the inbox, where each mail has come by its number, the numbers below are compared with the
//! ledger as well: a mail that was passed by, of which nothing was written down, is among them. A Maildir's files are known by their names, and by their bytes where they are not.

use std::sync::Arc;

use anyhow::Result;
use jiff::Timestamp;
use tracing::{error, info, warn};

use super::origin::Origin;
use super::{Intake, home_of, identity_of, uid};
use crate::decide::Shelf;
use crate::mailbox::{Cursor, Fetched, File, Imap, Mailbox, Maildir, Window};
use crate::message::MessageId;
use crate::operator::counted;
use crate::stop::Stop;
use crate::store::reconcile::Reconciled;

/// So often a folder is begun anew without having come further, when a mail in it cannot be listed or fetched: it takes
/// eight tries to list it alone, three until it is no more listed, three until it is no more fetched, and one without it.
const MOST_TRIES: u32 = 15;

/// Replies of unknown fate that are looked for in one look, the newest first.
const MOST_REPLIES: u32 = 200;

impl Intake {
    /// Looks through mailboxes, which must not be those that are being read, and records, logs and alarms what
    /// was found. What was not accounted for is recorded by that, and what lay in the inbox goes through the
    /// corridor.
    ///
    /// # Errors
    /// A mailbox or the store does not work; the other mailboxes are looked through all the same, and what was
    /// found is told. What was looked at is not looked at again.
    pub async fn reconcile(
        self: &Arc<Self>,
        mailboxes: Vec<&mut Mailbox>,
        stop: &Stop,
    ) -> Result<Reconciled> {
        let mut all = Reconciled::default();
        let mut failure = None;
        for mailbox in mailboxes {
            let name = mailbox.name().to_owned();
            let done = match &mut *mailbox {
                Mailbox::Imap(imap) => match self.reconcile_imap(imap, &name, &mut all, stop).await {
                    Ok(()) if !stop.is_asked() => self.reconcile_replies(imap, &name).await,
                    done => done,
                },
                Mailbox::Maildir(maildir) => self.reconcile_maildir(maildir, &name, &mut all, stop).await,
            };
            mailbox.close().await;
            if let Err(error) = done {
                let error = error.context(format!("Mailbox {name} cannot be looked through"));
                failure.get_or_insert(error);
            }
        }
        let now = Timestamp::now();
        // What a lost database knew nobody accounts for: that is being recovered from.
        if self.store.recovery().await?.is_some() {
            all.recovered = Some(std::mem::take(&mut all.unaccounted));
        }
        // Also of a look that was broken off: what it has recorded, the next one finds known.
        if all.unaccounted > 0 {
            self.tell_unaccounted(&all, now).await?;
        }
        if let Some(error) = failure {
            return Err(error);
        }
        if stop.is_asked() {
            return Ok(all);
        }
        self.store.record_reconciliation(&all, now).await?;
        // A copy of the database that was made by other means than ours is told as one after a day.
        self.store.outdate_copies().await?;
        if all.unaccounted == 0 {
            info!(seen = all.seen, junk = all.junk, recovered = all.recovered, "reconciled: 0 unaccounted");
        }
        Ok(all)
    }

    async fn tell_unaccounted(&self, found: &Reconciled, now: Timestamp) -> Result<()> {
        let Reconciled { seen, unaccounted, junk, .. } = *found;
        error!(seen, unaccounted, junk, "reconciled: mail lay there that no row of the ledger accounted for");
        let what = format!(
            "{} in the mailboxes that nothing in the ledger accounted for. All are recorded now: what was in an inbox \
             went the usual way, what was in a folder needs a person.",
            counted(unaccounted, "mail lay", "mails lay")
        );
        let mut visit = self.store.visit(now).await?;
        self.alarm(&mut visit, &what, now).await?;
        visit.close().await?;
        self.queued.notify_one();
        Ok(())
    }

    /// The folders that mail is filed in.
    pub(super) fn own_folders(&self) -> Vec<String> {
        let kinds = self.table.types.iter().map(|kind| Shelf::Kind(kind.name.clone()));
        let shelves = kinds.chain([Shelf::Held, Shelf::Automatic, Shelf::Unreadable]);
        let mut folders: Vec<String> = shelves.map(|shelf| self.folder(&shelf)).collect();
        folders.sort_unstable();
        folders.dedup();
        folders
    }

    async fn reconcile_imap(
        self: &Arc<Self>,
        imap: &mut Imap,
        name: &str,
        all: &mut Reconciled,
        stop: &Stop,
    ) -> Result<()> {
        let inbox = imap.folder().to_owned();
        let own = self.own_folders();
        let there = imap.extents(&own).await?;
        let junk = imap.junk_folder().await?.filter(|junk| *junk != inbox && !own.contains(junk));
        let folders = there.iter().map(|extent| Origin::Folder(&extent.folder));
        let places = [Origin::Inbox].into_iter().chain(folders).chain(junk.as_deref().map(Origin::Junk));
        let mut failure = None;
        for origin in places {
            let mut tries = 0;
            loop {
                let seen = all.seen;
                imap.turn_to(origin.home().unwrap_or(&inbox));
                let done = self.reconcile_folder(imap, name, origin, all, stop).await;
                imap.turn_to(&inbox);
                let Err(error) = done else { break };
                // A mail that cannot be had is asked for some times and then passed by.
                tries = if all.seen > seen { 0 } else { tries + 1 };
                if tries == MOST_TRIES || !imap.has_stumbled() {
                    failure.get_or_insert(error);
                    break;
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Many servers keep a copy of what they took to send it: a reply of unknown fate of which one lies there was sent.
    async fn reconcile_replies(&self, imap: &mut Imap, name: &str) -> Result<()> {
        let unknown = self.store.unknown_replies(MOST_REPLIES).await?;
        if unknown.is_empty() {
            return Ok(());
        }
        // What is missing here is missing tomorrow as well; that every mail is accounted for is told nevertheless.
        let found = match sent_of(imap, &unknown).await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(()),
            Err(error) => {
                let error = format!("{error:#}");
                warn!(
                    mailbox = name,
                    error, "replies of unknown fate could not be looked for among sent mail"
                );
                return Ok(());
            }
        };
        let mut settled = 0;
        let mut visit = self.store.visit(Timestamp::now()).await?;
        for id in &found {
            settled += u64::from(visit.settle_sent(id).await?);
        }
        visit.close().await?;
        info!(
            mailbox = name,
            unknown = unknown.len(),
            settled,
            "replies of unknown fate were looked for among sent mail; those of which a copy lies there were sent"
        );
        Ok(())
    }

    /// The folder that `imap` is turned to, a window at a time.
    async fn reconcile_folder(
        self: &Arc<Self>,
        imap: &mut Imap,
        name: &str,
        origin: Origin<'_>,
        all: &mut Reconciled,
        stop: &Stop,
    ) -> Result<()> {
        let label = format!("{name}/{}", imap.folder());
        let known = self.store.cursor(&label).await?;
        let mut cursor = imap.look(known).await?;
        if cursor != known && known.validity != 0 {
            self.store.move_cursor(&label, cursor).await?;
        }
        let from = if origin == Origin::Inbox { name } else { label.as_str() };
        let mut to_file = match origin {
            Origin::Junk(_) => {
                self.store.unfiled(&label, crate::mailbox::Kind::Imap, cursor.validity).await?
            }
            Origin::Inbox | Origin::Folder(_) => Vec::new(),
        };
        while !stop.is_asked() {
            let mut mails = imap.next_window().await?.mails;
            let mut is_end = mails.is_empty();
            if origin == Origin::Inbox {
                // What has not been read yet is not missing.
                let read = self.store.cursor(name).await?;
                let is_read =
                    |mail: &Fetched| read.validity == cursor.validity && uid(&mail.id) <= read.last_uid;
                is_end |= !mails.iter().all(is_read);
                mails.retain(is_read);
            }
            let last = mails.iter().map(|mail| uid(&mail.id)).max();
            let filings = self.account_for(from, origin, cursor.validity, mails, all).await?;
            to_file.extend(filings);
            let refused = imap.file(&to_file).await?;
            self.record_filed(from, cursor.validity, &std::mem::take(&mut to_file), &refused).await?;
            if let Some(last_uid) = last {
                cursor = Cursor { last_uid, ..cursor };
                self.store.move_cursor(&label, cursor).await?;
            }
            if is_end {
                break;
            }
        }
        match origin {
            Origin::Inbox => self.reconcile_below(imap, name, cursor.validity, all, stop).await,
            Origin::Junk(_) | Origin::Folder(_) => Ok(()),
        }
    }

    /// What lies in the inbox below the cursor of this look and is not known by its number: mail that was passed by, or
    /// a further copy of what is known by its bytes. Each is fetched once.
    async fn reconcile_below(
        self: &Arc<Self>,
        imap: &mut Imap,
        name: &str,
        validity: u32,
        all: &mut Reconciled,
        stop: &Stop,
    ) -> Result<()> {
        let read = self.store.cursor(name).await?;
        if read.validity != validity {
            return Ok(());
        }
        self.store.forget_accounted(name, validity).await?;
        while !stop.is_asked() {
            let mut uids = imap.next_below().await?;
            if uids.is_empty() {
                break;
            }
            uids.retain(|uid| *uid <= read.last_uid);
            imap.choose(&self.store.unknown_uids(name, validity, &uids).await?);
            while !stop.is_asked() {
                let mails = imap.next_window().await?.mails;
                if mails.is_empty() {
                    break;
                }
                let uids: Vec<u32> = mails.iter().map(|mail| uid(&mail.id)).collect();
                let filings = self.account_for(name, Origin::Inbox, validity, mails, all).await?;
                self.store.note_accounted(name, validity, &uids).await?;
                let refused = imap.file(&filings).await?;
                self.record_filed(name, validity, &filings, &refused).await?;
            }
        }
        Ok(())
    }

    /// Whether each of these mails is in the ledger: by its bytes, and one without any by when it came and its size.
    pub(super) async fn accounted(&self, home: &str, mails: &[Fetched]) -> Result<Vec<bool>> {
        let identities: Vec<_> = mails.iter().map(|mail| identity_of(mail, home)).collect();
        let mut known = self.store.accounted(&identities).await?;
        for (mail, known) in mails.iter().zip(&mut known) {
            if !*known && mail.body.bytes().is_empty() && mail.received != Timestamp::UNIX_EPOCH {
                *known = self.store.is_accounted(mail.received, mail.size).await?;
            }
        }
        Ok(known)
    }

    /// Records those of `mails` that the ledger does not know; answers those that are to be filed.
    async fn account_for(
        self: &Arc<Self>,
        mailbox: &str,
        origin: Origin<'_>,
        validity: u32,
        mails: Vec<Fetched>,
        all: &mut Reconciled,
    ) -> Result<Vec<super::Filing>> {
        all.seen += mails.len() as u64;
        let known = self.accounted(&home_of(mailbox, validity), &mails).await?;
        let unknown: Vec<Fetched> =
            mails.into_iter().zip(known).filter(|(_, known)| !known).map(|(mail, _)| mail).collect();
        if unknown.is_empty() {
            return Ok(Vec::new());
        }
        let count = unknown.len() as u64;
        let window = Window { validity, mails: unknown };
        let filings = self.receive_from(mailbox, origin, window, None, Timestamp::now()).await?;
        match origin {
            Origin::Junk(_) => all.junk += filings.len() as u64,
            Origin::Inbox | Origin::Folder(_) => all.unaccounted += count,
        }
        Ok(filings)
    }

    /// A Maildir's inbox has no cursor: every pass reads what lies there.
    async fn reconcile_maildir(
        self: &Arc<Self>,
        maildir: &Maildir,
        name: &str,
        all: &mut Reconciled,
        stop: &Stop,
    ) -> Result<()> {
        for folder in self.own_folders() {
            let label = format!("{name}/{folder}");
            let mut files = maildir.walk(&folder);
            while let Some(some) = files.recv().await {
                if stop.is_asked() {
                    return Ok(());
                }
                let some = some?;
                all.seen += some.len() as u64;
                let mut unknown = self.unknown_of(some, name, &label).await?;
                while !unknown.is_empty() {
                    let mails = maildir.read(&mut unknown).await?;
                    all.seen -= mails.len() as u64;
                    self.account_for(&label, Origin::Folder(&folder), 0, mails, all).await?;
                }
            }
        }
        Ok(())
    }

    /// The files in one of our folders whose names the ledger does not know.
    pub(super) async fn unknown_files(&self, maildir: &Maildir, folder: &str) -> Result<Vec<File>> {
        let (name, label) = (maildir.name(), format!("{}/{folder}", maildir.name()));
        let mut unknown = Vec::new();
        let mut files = maildir.walk(folder);
        while let Some(some) = files.recv().await {
            unknown.extend(self.unknown_of(some?, name, &label).await?);
        }
        Ok(unknown)
    }

    async fn unknown_of(&self, mut files: Vec<File>, name: &str, label: &str) -> Result<Vec<File>> {
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        let known = self.store.known_files([name, label], &names).await?;
        files.retain(|file| !known.contains(&file.name));
        Ok(files)
    }
}

/// Those of `replies` (Message-IDs) of which a copy lies in the folder of sent mail; `None` where there is no such folder.
async fn sent_of(imap: &mut Imap, replies: &[MessageId]) -> Result<Option<Vec<MessageId>>> {
    let Some(sent) = imap.sent_folder().await? else { return Ok(None) };
    Ok(Some(imap.mails_of(&sent, replies).await?))
}
