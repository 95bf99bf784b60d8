//! Whether the daemon really works, for systemd and for `privacyd status`: which mailboxes have given a whole
//! answer, and that the database takes what we write.
//!
//! A sign of life is a whole answer of a server, its tagged OK, and what it brought committed; for a Maildir, its
//! files read. Once all mailboxes have given one, it is written into the database, and systemd's watchdog is fed
//! by that commit and by nothing else: a timer would go on feeding it in a daemon that reads nothing any more.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use jiff::{Timestamp, Unit};
use sd_notify::NotifyState;
use tokio::sync::Notify;
use tracing::error;

use crate::stop::Stop;
use crate::store::Store;

/// Commits of what is noted are so far apart: each costs the disk as much as a mail does.
const RECORD_EVERY: Duration = Duration::from_secs(60);

/// What comes so soon after a sign of life is recorded with it: a pass gives several.
const GATHER: Duration = Duration::from_secs(1);

/// The wait after a refused login: a server that counts wrong passwords must not lock us out. No other wait between
/// two tries of a mailbox is longer.
pub const AFTER_REFUSED_LOGIN: Duration = Duration::from_secs(15 * 60);

/// What is known of each mailbox.
#[derive(Debug, Default)]
pub struct Watch {
    mailboxes: Mutex<BTreeMap<String, Beat>>,
    changed: Notify,
    /// All of them have been read for the first time.
    all_read: Notify,
}

/// What one mailbox has told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Beat {
    /// The end of the last pass that has read all of it.
    pub good: Option<Timestamp>,
    /// The last whole answer.
    pub alive: Option<Timestamp>,
    /// Mails that were still to be read then, at the most.
    pub unread: u64,
    /// Passes that have failed since.
    failures: u32,
    /// Whether `alive` is news since the watchdog was fed last.
    is_heard: bool,
    /// Whether it is news since it was recorded last.
    is_new: bool,
}

/// What was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Nothing: there was no sign of life.
    None,
    /// Signs of life, of some mailboxes.
    Some,
    /// Every mailbox has been heard of since this was answered last.
    All,
}

impl Watch {
    /// A watch over these mailboxes, of which nothing is known yet.
    pub fn over<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mailboxes = names.map(|name| (name.to_owned(), Beat::default())).collect();
        Self { mailboxes: Mutex::new(mailboxes), changed: Notify::new(), all_read: Notify::new() }
    }

    /// A mailbox has given a whole answer at `now`, and what it brought before is committed.
    pub fn alive(&self, name: &str, now: Timestamp) {
        self.note(name, |beat| {
            *beat = Beat { alive: Some(now), is_heard: true, is_new: true, ..*beat };
        });
    }

    /// So many mails are still to be read; told with the next sign of life.
    pub fn unread(&self, name: &str, mails: u64) {
        if let Some(beat) = self.beats().get_mut(name) {
            beat.unread = mails;
        }
    }

    /// All of a mailbox has been read at `now`.
    pub fn good(&self, name: &str, now: Timestamp) {
        let were_read = self.are_read();
        self.note(name, |beat| {
            let now = Some(now);
            *beat = Beat { good: now, alive: now, unread: 0, failures: 0, is_heard: true, is_new: true };
        });
        if !were_read && self.are_read() {
            self.all_read.notify_one();
        }
    }

    /// Whether all mailboxes have been read, each once at the least.
    fn are_read(&self) -> bool {
        self.beats().values().all(|beat| beat.good.is_some())
    }

    /// A pass over a mailbox has failed.
    pub fn failed(&self, name: &str) {
        self.note(name, |beat| beat.failures = beat.failures.saturating_add(1));
    }

    fn note(&self, name: &str, change: impl FnOnce(&mut Beat)) {
        if let Some(beat) = self.beats().get_mut(name) {
            change(beat);
            self.changed.notify_one();
        }
    }

    fn beats(&self) -> MutexGuard<'_, BTreeMap<String, Beat>> {
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what is new into `store`.
    ///
    /// # Errors
    /// The database cannot be written; nothing is forgotten.
    pub async fn record(&self, store: &Store) -> Result<News> {
        let seen = self.beats().clone();
        let new = seen.iter().filter(|(_, beat)| beat.is_new).collect::<Vec<_>>();
        if new.is_empty() {
            return Ok(News::None);
        }
        store.record_cycles(&new).await?;
        let mut beats = self.beats();
        let is_all = seen.values().all(|beat| beat.is_heard);
        for (name, beat) in beats.iter_mut() {
            // What has come meanwhile is news again.
            let is_same = seen.get(name).is_some_and(|seen| seen.alive == beat.alive);
            beat.is_new &= !is_same;
            beat.is_heard &= !(is_all && is_same);
        }
        Ok(if is_all { News::All } else { News::Some })
    }

    /// Until `stop` is asked: records what is noted, tells systemd how things stand, and feeds its watchdog.
    pub async fn keep(&self, store: &Store, stop: &Stop) {
        loop {
            tokio::select! {
                () = self.changed.notified() => {}
                () = stop.asked() => return,
            }
            stop.rest(GATHER).await;
            let are_read = self.are_read();
            let news = self.record(store).await.unwrap_or_else(|error| {
                error!("signs of life cannot be recorded: {error:#}");
                News::None
            });
            let _ = sd_notify::notify(&[NotifyState::Status(&self.status())]);
            if news == News::All {
                let _ = sd_notify::notify(&[NotifyState::Watchdog]);
            }
            if news == News::None {
                continue;
            }
            tokio::select! {
                () = stop.rest(RECORD_EVERY) => {}
                // Who has just started it wants to know when all has been read.
                () = self.all_read.notified(), if !are_read => {}
            }
        }
    }

    /// One line for `systemctl status`.
    pub fn status(&self) -> String {
        let beats = self.beats();
        let mut line = format!("{} mailboxes", beats.len());
        match beats.values().map(|beat| beat.good).min().flatten().and_then(|at| at.round(Unit::Second).ok())
        {
            Some(at) => drop(write!(line, ", all read by {at}")),
            None => line.push_str(", not all read yet"),
        }
        for (name, beat) in beats.iter().filter(|(_, beat)| beat.failures > 0) {
            let _ = write!(line, "; {name} has failed {} times", beat.failures);
        }
        line
    }
}

/// Whether systemd's watchdog, if it watches us, leaves time enough between two reads of a mailbox.
///
/// # Errors
/// It does not.
pub fn check_watchdog(limit: Option<Duration>, poll_interval: Duration) -> Result<()> {
    // One that has less patience would end a daemon that waits as it should.
    let least = (AFTER_REFUSED_LOGIN * 2).max(poll_interval * 2);
    ensure!(
        limit.is_none_or(|limit| limit >= least),
        "WatchdogSec= of the unit is too short: with a poll_interval of {} s make it {} s at least",
        poll_interval.as_secs(),
        least.as_secs()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[tokio::test]
    async fn the_watchdog_is_fed_by_all_mailboxes_and_the_database_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("privacyd.db")).await.unwrap();
        let watch = Watch::over(["one", "two"].into_iter());
        let record = async || watch.record(&store).await.unwrap();
        assert_eq!(record().await, News::None);
        watch.good("one", at(10));
        assert_eq!(record().await, News::Some, "one of two");
        watch.failed("two");
        assert_eq!(record().await, News::None, "a failure is no answer");
        watch.alive("two", at(20));
        assert_eq!(record().await, News::All);
        assert_eq!(record().await, News::None, "nothing since");
        watch.good("one", at(30));
        watch.good("one", at(40));
        assert_eq!(record().await, News::Some, "only one since");

        let cycles = store.cycles().await.unwrap();
        assert_eq!((cycles["one"].good, cycles["one"].alive), (Some(at(40)), Some(at(40))));
        assert_eq!((cycles["two"].good, cycles["two"].alive), (None, Some(at(20))));

        store.close().await;
        watch.good("two", at(50));
        assert!(watch.record(&store).await.is_err(), "a database that is gone feeds nothing");
        let store = Store::open(&folder.path().join("privacyd.db")).await.unwrap();
        assert_eq!(watch.record(&store).await.unwrap(), News::All, "and nothing is forgotten meanwhile");
    }

    #[tokio::test]
    async fn what_is_heard_before_all_is_read_is_recorded_no_more_often() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("privacyd.db")).await.unwrap();
        let watch = Arc::new(Watch::over(["one", "two"].into_iter()));
        let (ask, asked) = tokio::sync::watch::channel(false);
        let (kept, kept_in) = (Arc::clone(&watch), store.clone());
        let keep = tokio::spawn(async move { kept.keep(&kept_in, &Stop::from(asked)).await });
        let recorded = async || {
            tokio::time::sleep(GATHER + GATHER / 2).await;
            store
                .cycles()
                .await
                .unwrap()
                .into_iter()
                .map(|(name, beat)| (name, beat.alive))
                .collect::<Vec<_>>()
        };
        let one = |second| vec![("one".to_owned(), Some(at(second)))];
        watch.good("one", at(10));
        assert_eq!(recorded().await, one(10));
        watch.good("one", at(20));
        watch.failed("two");
        assert_eq!(recorded().await, one(10), "two is not read yet: no reason to hurry");
        watch.good("two", at(30));
        assert_eq!(recorded().await, [one(20), vec![("two".to_owned(), Some(at(30)))]].concat());
        ask.send(true).unwrap();
        keep.await.unwrap();
    }

    #[test]
    fn the_status_line_names_what_fails() {
        let watch = Watch::over(["one", "two"].into_iter());
        watch.good("one", at(10));
        watch.failed("two");
        watch.failed("two");
        assert_eq!(watch.status(), "2 mailboxes, not all read yet; two has failed 2 times");
        watch.good("two", at(20));
        assert_eq!(watch.status(), "2 mailboxes, all read by 1970-01-01T00:00:10Z");
    }

    #[test]
    fn a_watchdog_without_patience_is_refused() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        assert!(check_watchdog(None, minutes(60)).is_ok());
        assert!(check_watchdog(Some(minutes(30)), minutes(15)).is_ok());
        assert!(check_watchdog(Some(minutes(30)), minutes(16)).is_err());
        assert!(check_watchdog(Some(minutes(30)), minutes(1)).is_ok());
        assert!(check_watchdog(Some(minutes(29)), minutes(1)).is_err());
    }
}
