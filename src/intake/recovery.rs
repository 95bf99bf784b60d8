//! Whether the mailbox knows more than the database, as after the loss of a disk: then nothing is answered or
//! carried out until the operator says so.
//!
//! Two things are sound signs of it. The database has never seen this mailbox, and the folders that we file into
//! hold mail: it is lost, or the mailbox is another installation's. Or mail came to the inbox after all that we
//! have read, is gone from there, and such mail that we do not know lies in our folders: the database is older
//! than that. A person who sorts mail by hand while nothing runs leaves the same traces, and it is as well not to
//! answer what a person has dealt with. A copy made by `privacyd backup` says by itself that it is one.
//!
//! A third sign is the mark in an IMAP mailbox, see [`super::mark`].

use anyhow::Result;
use jiff::Timestamp;
use tracing::error;

use super::Intake;
use crate::mailbox::{Fetched, Mailbox};
use crate::operator::counted;

/// How an alarm about a recovery begins.
pub(super) const STOPPED: &str = "Nothing is answered or carried out until `privacyd recovery end`";

impl Intake {
    /// To be called before the first pass over a mailbox: begins a recovery where there is reason to.
    ///
    /// # Errors
    /// The mailbox or the store does not work.
    pub async fn suspect(&self, mailbox: &mut Mailbox, now: Timestamp) -> Result<()> {
        let lost = match self.store.recovery().await? {
            None => self.loss(mailbox).await?,
            Some(_) => None,
        };
        let kept = match mailbox {
            Mailbox::Imap(imap) => self.keep_mark(imap, lost.as_deref(), now).await,
            Mailbox::Maildir(_) => Ok(()),
        };
        // Whatever became of the mark: what is lost is lost.
        if let Some(why) = lost {
            self.begin_recovery(&why, now).await?;
        }
        kept?;
        if let Some(recovery) = self.store.recovery().await? {
            error!(
                mailbox = mailbox.name(),
                reason = recovery.why,
                "recovery mode: nothing is answered or carried out until `privacyd recovery end`"
            );
        }
        Ok(())
    }

    async fn begin_recovery(&self, why: &str, now: Timestamp) -> Result<()> {
        let mut visit = self.store.visit(now).await?;
        if visit.begin_recovery(why).await? {
            self.alarm(&mut visit, &format!("{STOPPED}: {why}."), now).await?;
            visit.close().await?;
            self.queued.notify_one();
        }
        Ok(())
    }

    /// Why the mailbox knows more than we do, if it does.
    async fn loss(&self, mailbox: &mut Mailbox) -> Result<Option<String>> {
        let name = mailbox.name().to_owned();
        let folders = self.own_folders();
        if self.store.is_new_to(&name).await? {
            let extents = mailbox.extents(&folders).await?;
            return Ok(extents.into_iter().find(|extent| extent.mails > 0).map(|extent| {
                let (folder, mails) = (extent.folder, counted(extent.mails, "mail", "mails"));
                format!(
                    "this database has never seen the mailbox {name}, whose folder {folder} holds {mails}"
                )
            }));
        }
        // Nothing recorded: nothing can have been forgotten.
        let Some(last) = self.store.newest_received().await? else { return Ok(None) };
        let newer: Vec<Fetched> = match mailbox {
            Mailbox::Imap(imap) => {
                if !imap.has_given_away(self.store.cursor(&name).await?).await? {
                    return Ok(None);
                }
                let mut marks = self.store.folder_marks(&name).await?;
                let folders: Vec<_> =
                    folders.into_iter().map(|folder| (folder.clone(), marks.remove(&folder))).collect();
                let found = imap.look_into(&folders).await?;
                found.into_iter().flat_map(|found| found.mails).collect()
            }
            Mailbox::Maildir(maildir) => {
                let mut newer = Vec::new();
                for folder in folders {
                    let unknown = self.unknown_files(maildir, &folder).await?;
                    newer.extend(maildir.read_since(unknown, last).await?);
                }
                newer
            }
        };
        let newer: Vec<Fetched> = newer.into_iter().filter(|mail| mail.received >= last).collect();
        let known = self.accounted(&name, &newer).await?;
        let unknown = known.iter().filter(|known| !**known).count();
        Ok((unknown > 0).then(|| {
            format!(
                "the folders of the mailbox {name} hold mail, {unknown} at the least, that came after all that this database knows"
            )
        }))
    }
}
