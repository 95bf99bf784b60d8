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
//! this is an older copy. It is looked for in every pass, so that the one that came first notices a second as well. With
//! the end of the recovery the operator says that the mailbox is this database's, whose mark then takes the place of the
//! one that was found, in one command: the other finds its own gone.

use anyhow::{Result, bail};
use data_encoding::BASE32_NOPAD;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tracing::{error, info, warn};

use super::Intake;
use crate::mailbox::{Fetched, Imap, Mailbox};

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
        if let Mailbox::Imap(imap) = mailbox {
            self.keep_mark(imap, now).await?;
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
        let mut visit = self.store.visit(now).await?;
        if visit.begin_recovery(why).await? {
            let what = format!("Nothing is answered or carried out until `privacyd recovery end`: {why}.");
            self.alarm(&mut visit, &what, now).await?;
            visit.close().await?;
            self.queued.notify_one();
        }
        Ok(())
    }

    /// Sees to the mark of this database in a mailbox, and begins a recovery where there is another's. To be called
    /// before every pass.
    ///
    /// # Errors
    /// The mailbox or the store does not work.
    pub(super) async fn keep_mark(&self, imap: &mut Imap, now: Timestamp) -> Result<()> {
        if imap.refuses_marks() {
            return Ok(());
        }
        let name = imap.name().to_owned();
        let (id, known) = (self.store.ledger_id().await?, self.store.mark(&name).await?);
        let is_recovering = self.store.recovery().await?.is_some();
        let stem = self.stem(imap);
        let named = |epoch: i64| format!("{stem}{id}-{epoch}");
        let is_new = known.is_stale || known.contested_by.is_some() || !imap.is_known_as_marked();
        if !is_recovering && !is_new && imap.is_marked(&named(known.epoch)).await? {
            return Ok(());
        }
        let Some(marks) = imap.marks(&stem).await? else {
            return self.without_mark(imap, "the server does not list the folders that mark the mailbox");
        };
        let found_marks = marks.len();
        let (own, others): (Vec<String>, Vec<String>) = marks
            .into_iter()
            .filter(|mark| parts_of(mark, &stem).is_some())
            .partition(|mark| parts_of(mark, &stem).is_some_and(|(whose, _)| whose == id));
        let seen = own.iter().filter_map(|mark| Some(parts_of(mark, &stem)?.1)).max().unwrap_or_default();
        let other = others.first().and_then(|mark| Some(parts_of(mark, &stem)?.0));
        let found = other.or_else(|| (seen > known.epoch).then_some(id.as_str()));
        if let Some(found) = found {
            let is_told = known.contested_by.as_deref() == Some(found);
            if is_recovering || !is_told || !known.is_settled {
                return self.contest(&name, found, others.first(), is_told && is_recovering, now).await;
            }
            info!(mailbox = name, "the mailbox is this database's from now on");
        }
        if is_recovering {
            return Ok(());
        }
        let grown = i64::from(is_new || found.is_some());
        let epoch = known.epoch.max(seen).saturating_add(grown).max(1);
        let mark = named(epoch);
        // First here: a number there that is not known here would be one of a later state.
        self.store.number_mark(&name, epoch).await?;
        let mut before = others.first().or_else(|| own.first());
        if before != Some(&mark) && !imap.mark(before.map(String::as_str), &mark).await? {
            let marks = imap.marks(&stem).await?.unwrap_or_default();
            let is_there = |seen: &String| marks.contains(seen);
            if marks.len() != found_marks || !others.iter().chain(&own).all(is_there) {
                bail!("The folders that mark the mailbox have changed meanwhile: they are looked at again");
            }
            // Some servers make folders and rename none.
            if before.take().is_none() || !imap.mark(None, &mark).await? {
                return self.without_mark(imap, "the server makes no folder to mark the mailbox with");
            }
        }
        let rest = others.iter().chain(&own).filter(|other| Some(*other) != before && **other != mark);
        imap.unmark(rest).await?;
        self.store.marked(&name).await?;
        imap.know_as_marked();
        // Another may have come at the same time.
        let marks = imap.marks(&stem).await?.unwrap_or_default();
        let another = marks.iter().find(|mark| parts_of(mark, &stem).is_some_and(|(whose, _)| whose != id));
        if let Some((whose, _)) = another.and_then(|mark| parts_of(mark, &stem)) {
            return self.contest(&name, whose, another, false, now).await;
        }
        Ok(())
    }

    /// A mailbox bears another mark than this database's latest: nothing is answered until the operator says so.
    async fn contest(
        &self,
        name: &str,
        found: &str,
        other: Option<&String>,
        is_told: bool,
        now: Timestamp,
    ) -> Result<()> {
        let why = match other {
            Some(other) => format!(
                "the folder {other} marks the mailbox {name} as another database's: that one is lost, or is in use as well"
            ),
            None => format!(
                "the mailbox {name} was read by a later state of this database, which is an older copy"
            ),
        };
        self.begin_recovery(&why, now).await?;
        if !is_told {
            self.store.contest(name, found).await?;
            error!(mailbox = name, reason = why, "whose the mailbox is, `privacyd recovery end` decides");
        }
        Ok(())
    }

    /// A mailbox is read without a mark as well.
    #[expect(clippy::unnecessary_wraps, reason = "the end of what may fail")]
    fn without_mark(&self, imap: &mut Imap, why: &'static str) -> Result<()> {
        imap.refuse_marks();
        warn!(mailbox = imap.name(), "{why}: a second daemon that reads it is not noticed");
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

/// Whose mark this is, and its number; `None` for a folder of another name.
fn parts_of<'a>(mark: &'a str, stem: &str) -> Option<(&'a str, i64)> {
    let (whose, epoch) = mark.strip_prefix(stem)?.split_once('-')?;
    Some((whose, epoch.parse().ok()?))
}
