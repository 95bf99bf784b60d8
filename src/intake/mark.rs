//! The mark that a database leaves in each IMAP mailbox: a folder named after it, with a number that grows. Another
//! database's mark tells that this one came after it, or that both are in use; a larger number, that this is an older
//! copy. It is looked for in every pass, so that the one that came first notices a second as well. With the end of the
//! recovery the operator says that the mailbox is this database's, whose mark then takes the place of the one that was
//! found, in one command: the other finds its own gone.
//!
//! ## Why a server may fail at it
//! A mailbox can be read without a mark, and must be where the server does not make or name folders. So what goes wrong
//! here is tried again at once, and three times are enough to read on without it for an hour.

use anyhow::Result;
use data_encoding::BASE32_NOPAD;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tracing::{error, info, warn};

use super::Intake;
use super::recovery::STOPPED;
use crate::mailbox::{Imap, NoMark};
use crate::store::recovery::Mark;

/// So often in a row the server may fail at a mark.
const MOST_FAILURES: u32 = 3;

/// A mark that was found in a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    folder: String,
    /// Which database's it is.
    whose: String,
    number: i64,
}

impl Seen {
    /// `None` for a folder of another name.
    fn of(folder: String, stem: &str) -> Option<Self> {
        let (whose, number) = folder.strip_prefix(stem)?.split_once('-')?;
        let (whose, number) = (whose.to_owned(), number.parse().ok()?);
        Some(Self { folder, whose, number })
    }
}

/// All marks of a mailbox.
#[derive(Debug, PartialEq, Eq)]
struct Marks {
    own: Vec<Seen>,
    others: Vec<Seen>,
}

/// What is to be done about them.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing: this database's is the only one.
    Good,
    /// Nothing before the operator has ended the recovery.
    Wait,
    /// The operator has to decide whose the mailbox is.
    Contested,
    /// This database's is to be there alone, with this number.
    Write(i64),
}

impl Marks {
    /// Whose mark is there that should not be: another database's, or that of a later state of this one.
    fn intruder<'a>(&'a self, id: &'a str, known: &Mark) -> Option<&'a str> {
        let other = self.others.first().map(|other| other.whose.as_str());
        other.or_else(|| (self.latest() > known.epoch).then_some(id))
    }

    /// The largest number of this database's own.
    fn latest(&self) -> i64 {
        self.own.iter().map(|own| own.number).max().unwrap_or_default()
    }

    fn judge(&self, id: &str, known: &Mark, is_recovering: bool) -> Verdict {
        let intruder = self.intruder(id, known);
        let is_told = intruder.is_some() && known.contested_by.as_deref() == intruder;
        if intruder.is_some() && !(is_told && (is_recovering || known.is_settled)) {
            return Verdict::Contested;
        }
        if is_recovering {
            return Verdict::Wait;
        }
        let grows = intruder.is_some() || known.stale > 0 || known.contested_by.is_some();
        let number = known.epoch.max(self.latest()).saturating_add(i64::from(grows)).max(1);
        match (self.own.as_slice(), self.others.as_slice()) {
            ([own], []) if !grows && own.number == number => Verdict::Good,
            _ => Verdict::Write(number),
        }
    }
}

/// Whose the marks in a mailbox are.
struct Names {
    /// The mailbox.
    mailbox: String,
    /// How they begin.
    stem: String,
    /// This database.
    id: String,
}

impl Names {
    fn own(&self, number: i64) -> String {
        format!("{}{}-{number}", self.stem, self.id)
    }

    async fn look(&self, imap: &mut Imap) -> Result<Marks> {
        let folders = imap.marks(&self.stem).await?;
        let seen = folders.into_iter().filter_map(|folder| Seen::of(folder, &self.stem));
        let (own, others) = seen.partition(|seen| seen.whose == self.id);
        Ok(Marks { own, others })
    }
}

impl Intake {
    /// Sees to the mark of this database in a mailbox, and begins a recovery where there is another's. To be called
    /// before every pass; at the first also with why the database is `lost`, which is then told with it.
    ///
    /// # Errors
    /// The mailbox or the store does not work.
    pub(super) async fn keep_mark(&self, imap: &mut Imap, lost: Option<&str>, now: Timestamp) -> Result<()> {
        let mut failures = 0;
        while !imap.refuses_marks() {
            let Err(error) = self.see_to_mark(imap, lost, now).await else { break };
            let why: NoMark = error.downcast()?;
            failures += 1;
            if failures == MOST_FAILURES {
                imap.refuse_marks();
                warn!(mailbox = imap.name(), reason = %why, "the mailbox cannot be marked and is read without for an hour: a second daemon that reads it is not noticed");
            }
        }
        Ok(())
    }

    async fn see_to_mark(&self, imap: &mut Imap, lost: Option<&str>, now: Timestamp) -> Result<()> {
        let id = self.store.ledger_id().await?;
        let names = Names { mailbox: imap.name().to_owned(), stem: self.stem(imap), id };
        let known = self.store.mark(&names.mailbox).await?;
        let is_recovering = lost.is_some() || self.store.recovery().await?.is_some();
        let is_quiet = imap.is_known_as_marked() && known.stale == 0 && known.contested_by.is_none();
        if is_quiet && !is_recovering && imap.is_marked(&names.own(known.epoch)).await? {
            return Ok(());
        }
        let marks = names.look(imap).await?;
        let intruder = marks.intruder(&names.id, &known);
        match (marks.judge(&names.id, &known, is_recovering), intruder) {
            (Verdict::Wait, _) => Ok(()),
            (Verdict::Contested, Some(by)) => {
                self.contest(&names.mailbox, by, &reason(&names.mailbox, marks.others.first()), lost, now)
                    .await
            }
            (Verdict::Good | Verdict::Contested, _) => {
                imap.know_as_marked();
                Ok(())
            }
            (Verdict::Write(number), _) => {
                if intruder.is_some() {
                    info!(mailbox = names.mailbox, "the mailbox is this database's from now on");
                }
                self.write_mark(imap, &names, &marks, number, now).await
            }
        }
    }

    /// Has the mark with this number take the place of those that were found.
    async fn write_mark(
        &self,
        imap: &mut Imap,
        names: &Names,
        found: &Marks,
        number: i64,
        now: Timestamp,
    ) -> Result<()> {
        // First here: a number there that is not known here would be one of a later state.
        let stale = self.store.number_mark(&names.mailbox, number).await?;
        let mark = names.own(number);
        let all = || found.others.iter().chain(&found.own);
        let mut renamed = None;
        if all().all(|seen| seen.folder != mark) {
            let before = all().next().map(|seen| seen.folder.as_str());
            if let Some(before) = before
                && imap.rename_mark(before, &mark).await?
            {
                renamed = Some(before);
            } else {
                if before.is_some() && names.look(imap).await? != *found {
                    let why = "the folders that mark the mailbox have changed meanwhile";
                    return Err(NoMark(why.to_owned()).into());
                }
                // Some servers make folders and rename none.
                imap.make_mark(&mark).await?;
            }
        }
        let rest = all().map(|seen| seen.folder.as_str());
        let rest = rest.filter(|folder| *folder != mark && Some(*folder) != renamed);
        let are_gone = imap.unmark(rest).await?;
        // Another may have come at the same time.
        let left = names.look(imap).await?;
        if let Some(other) = left.others.first() {
            let mut why = reason(&names.mailbox, Some(other));
            if !are_gone && found.others.contains(other) {
                why.push_str(
                    "; the server does not remove it, and once that one is out of use a person must",
                );
            }
            return self.contest(&names.mailbox, &other.whose, &why, None, now).await;
        }
        if left.own.iter().all(|own| own.folder != mark) {
            let why = "the folder that marks the mailbox is gone as soon as it is made";
            return Err(NoMark(why.to_owned()).into());
        }
        for old in left.own.iter().filter(|own| own.folder != mark) {
            warn!(
                mailbox = names.mailbox,
                folder = old.folder,
                "the server does not remove the mark from before: until a person does, a copy of the database that is in use as well may not notice"
            );
        }
        self.store.marked(&names.mailbox, stale).await?;
        imap.know_as_marked();
        Ok(())
    }

    /// A mailbox bears another mark than this database's latest: nothing is answered until the operator says so.
    async fn contest(
        &self,
        mailbox: &str,
        by: &str,
        why: &str,
        lost: Option<&str>,
        now: Timestamp,
    ) -> Result<()> {
        let mut visit = self.store.visit(now).await?;
        let reason = lost.map_or_else(|| why.to_owned(), |lost| format!("{lost}; {why}"));
        if !visit.begin_recovery(&reason).await? {
            visit.add_to_recovery(why).await?;
        }
        visit.contest(mailbox, by).await?;
        self.alarm(&mut visit, &format!("{STOPPED}: {reason}."), now).await?;
        visit.close().await?;
        self.queued.notify_one();
        error!(mailbox, reason, "whose the mailbox is, `privacyd recovery end` decides");
        Ok(())
    }

    /// How the marks of an inbox begin: two installations may share an account, each with a folder of its own.
    fn stem(&self, imap: &Imap) -> String {
        let digest = Sha256::digest(imap.folder());
        let inbox = BASE32_NOPAD.encode(digest.get(..5).unwrap_or_default()).to_ascii_lowercase();
        format!("{}Ledger-{inbox}-", self.folders.prefix)
    }
}

/// Why the operator has to decide whose a mailbox is.
fn reason(mailbox: &str, other: Option<&Seen>) -> String {
    match other {
        Some(Seen { folder, whose, .. }) => format!(
            "the folder {folder} marks the mailbox {mailbox} as another database's ({whose}): that one is lost, or is in use as well"
        ),
        None => format!(
            "the mailbox {mailbox} was read by a later state of this database, which is an older copy"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(folders: &[&str]) -> Marks {
        let seen = folders.iter().filter_map(|folder| Seen::of((*folder).to_owned(), "Ledger-x-"));
        let (own, others) = seen.partition(|seen| seen.whose == "us");
        Marks { own, others }
    }

    #[test]
    fn what_is_found_decides_what_is_written() {
        let own = || Mark { epoch: 4, ..Mark::default() };
        let stale = || Mark { stale: 2, ..own() };
        let told = |by: &str, is_settled| Mark { contested_by: Some(by.into()), is_settled, ..own() };
        for (folders, known, is_recovering, verdict) in [
            (&[][..], Mark::default(), false, Verdict::Write(1)),
            (&["Ledger-x-us-4"], own(), false, Verdict::Good),
            (&["Ledger-x-us-4", "Ledger-x-", "Ledger-x-us-y", "Other"], own(), false, Verdict::Good),
            (&["Ledger-x-us-4"], own(), true, Verdict::Wait),
            (&["Ledger-x-us-4"], stale(), false, Verdict::Write(5)),
            // It was taken away, or stands beside one from before.
            (&[], own(), false, Verdict::Write(4)),
            (&["Ledger-x-us-3", "Ledger-x-us-4"], own(), false, Verdict::Write(4)),
            // It was never seen to be there.
            (&["Ledger-x-us-3"], own(), false, Verdict::Write(4)),
            // A later state of this database.
            (&["Ledger-x-us-5"], own(), false, Verdict::Contested),
            (&["Ledger-x-us-5"], stale(), true, Verdict::Contested),
            (&["Ledger-x-us-5"], told("us", false), true, Verdict::Wait),
            (&["Ledger-x-us-5"], told("us", true), false, Verdict::Write(6)),
            // Another one.
            (&["Ledger-x-us-4", "Ledger-x-them-1"], own(), false, Verdict::Contested),
            (&["Ledger-x-them-1"], told("them", false), true, Verdict::Wait),
            (&["Ledger-x-them-1"], told("them", false), false, Verdict::Contested),
            (&["Ledger-x-them-1"], told("them", true), false, Verdict::Write(5)),
            (&["Ledger-x-them-1"], told("they", true), false, Verdict::Contested),
            // The other has gone.
            (&["Ledger-x-us-4"], told("them", true), false, Verdict::Write(5)),
            (&["Ledger-x-us-9223372036854775807"], told("us", true), false, Verdict::Write(i64::MAX)),
        ] {
            assert_eq!(marks(folders).judge("us", &known, is_recovering), verdict, "{folders:?}: {known:?}");
        }
    }
}
