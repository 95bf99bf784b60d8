//! Whether the mailbox knows more than the database, as after the loss of a disk: then nothing is answered or
//! carried out until the operator says so.
//!
//! Two things are sound signs of it. The database has never seen this mailbox, and the folders that we file into
//! hold mail: it is lost, or the mailbox is another installation's. Or mail came to the inbox after all that we
//! have read, is gone from there, and such mail that we do not know lies in our folders: the database is older
//! than that. A person who sorts mail by hand while nothing runs leaves the same traces, and it is as well not to
//! answer what a person has dealt with. A copy made by `privacyd backup` says by itself that it is one.
//!
//! A third sign is the mark that a database leaves in each IMAP mailbox: a folder named after it, with a number that
//! grows. Another database's mark tells that this one came after it, or that both are in use; a larger number, that
//! this is an older copy. It is looked for in every pass, so that the one that came first notices a second as well.

use std::sync::atomic::Ordering;

use anyhow::Result;
use data_encoding::BASE32_NOPAD;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tracing::{error, info, warn};

use super::Intake;
use crate::mailbox::{Fetched, Imap, Mailbox};
use crate::store::recovery::Ledger;

impl Intake {
    /// To be called before the first pass over a mailbox: begins a recovery where there is reason to.
    ///
    /// # Errors
    /// The mailbox or the store does not work.
    pub async fn suspect(&self, mailbox: &mut Mailbox, now: Timestamp) -> Result<()> {
        if self.store.recovery().await?.is_none()
            && let Some(why) = self.loss(mailbox).await?
        {
            self.begin_recovery(&why, now).await?;
        }
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
        if self.store.begin_recovery(why, now).await? {
            let what = format!("Nothing is answered or carried out until `privacyd recovery end`: {why}.");
            self.alarm(&what, now).await?;
        }
        Ok(())
    }

    /// Sees to the mark of this database in a mailbox, and begins a recovery where there is another's. To be called
    /// before every pass.
    ///
    /// # Errors
    /// The mailbox or the store does not work.
    pub(super) async fn keep_mark(&self, imap: &mut Imap, now: Timestamp) -> Result<()> {
        if imap.refuses_marks() || self.store.recovery().await?.is_some() {
            return Ok(());
        }
        let name = imap.name().to_owned();
        let ledger = self.store.ledger().await?;
        let stem = self.stem(imap);
        let is_first = !self.has_advanced.load(Ordering::Relaxed);
        if !is_first && imap.is_marked(&mark_of(&stem, &ledger)).await? {
            return Ok(());
        }
        let marks = imap.marks(&stem).await?;
        let (own, others): (Vec<String>, Vec<String>) =
            marks.into_iter().partition(|mark| epoch_of(mark, &stem, &ledger).is_some());
        let seen = own.iter().filter_map(|mark| epoch_of(mark, &stem, &ledger)).max();
        let is_older = seen.is_some_and(|seen| seen > ledger.epoch);
        if !others.is_empty() || is_older {
            if !self.store.takes_over(&name).await? {
                let why = match others.first() {
                    Some(other) => format!(
                        "the folder {other} marks the mailbox {name} as another database's: that one is lost, or is in use as well"
                    ),
                    None => format!(
                        "the mailbox {name} was read by a later state of this database, which is an older copy"
                    ),
                };
                self.begin_recovery(&why, now).await?;
                error!(
                    mailbox = name,
                    reason = why,
                    "recovery mode: nothing is answered or carried out until `privacyd recovery end`"
                );
                return Ok(());
            }
            info!(mailbox = name, "the mailbox is this database's from now on");
            imap.unmark(&others).await?;
        }
        // Whatever copy of the database was made before the start is an older one from now on.
        let ledger = match is_first || is_older {
            true => self.store.advance(seen.unwrap_or_default()).await?,
            false => ledger,
        };
        self.has_advanced.store(true, Ordering::Relaxed);
        let mark = mark_of(&stem, &ledger);
        imap.unmark(own.get(1..).unwrap_or_default()).await?;
        if imap.mark(own.first().map(String::as_str), &mark).await? {
            // Another may have come between.
            let marks = imap.marks(&stem).await?;
            if marks.iter().all(|found| epoch_of(found, &stem, &ledger).is_some()) {
                self.store.record_mark(&name, now).await?;
            }
        } else {
            imap.refuse_marks();
            warn!(
                mailbox = name,
                "the server makes no folder to mark the mailbox with: a second daemon that reads it is not noticed"
            );
        }
        Ok(())
    }

    /// How the marks of an inbox begin: two installations may share an account, each with a folder of its own.
    fn stem(&self, imap: &Imap) -> String {
        let digest = Sha256::digest(imap.folder());
        let inbox = BASE32_NOPAD.encode(digest.get(..5).unwrap_or_default()).to_ascii_lowercase();
        format!("{}Ledger-{inbox}-", self.folders.prefix)
    }

    /// Why the mailbox knows more than we do, if it does.
    async fn loss(&self, mailbox: &mut Mailbox) -> Result<Option<String>> {
        let name = mailbox.name().to_owned();
        let folders = self.own_folders();
        if self.store.is_new_to(&name).await? {
            let extents = mailbox.extents(&folders).await?;
            return Ok(extents.into_iter().find(|extent| extent.mails > 0).map(|extent| {
                let (folder, mails) = (extent.folder, extent.mails);
                format!("this database has never seen the mailbox {name}, whose folder {folder} holds {mails} mails")
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
        let known = self.accounted(&newer).await?;
        let unknown = known.iter().filter(|known| !**known).count();
        Ok((unknown > 0).then(|| {
            format!(
                "the folders of the mailbox {name} hold mail, {unknown} at the least, that came after all that this database knows"
            )
        }))
    }
}

fn mark_of(stem: &str, ledger: &Ledger) -> String {
    format!("{stem}{}-{}", ledger.id, ledger.epoch)
}

/// The number of a mark, if it is of this database.
fn epoch_of(mark: &str, stem: &str, ledger: &Ledger) -> Option<i64> {
    mark.strip_prefix(stem)?.strip_prefix(ledger.id.as_str())?.strip_prefix('-')?.parse().ok()
}
