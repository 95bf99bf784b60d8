//! `status`: whether all is well, in words, as JSON, and as an exit code.

use std::process::ExitCode;

use anyhow::{Context, Result};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{counted, print, print_json};
use crate::config::Config;
use crate::store::canary::Canary;
use crate::store::reconcile::Reconciliation;
use crate::store::recovery::Recovery;
use crate::store::watch::Standing;
use crate::store::{Sole, Store};

/// A mailbox whose server has not given a whole answer for so long is named; longer where it is read less often
/// than every few minutes.
const SILENT: SignedDuration = SignedDuration::from_mins(10);

/// Reading all of a mailbox for the first time may take hours; not a day.
const UNREAD: SignedDuration = SignedDuration::from_hours(24);

/// Mail is filed within a pass, mostly; what the mailbox refuses to file is tried in every pass.
const UNFILED: SignedDuration = SignedDuration::from_hours(1);

/// A reply that waits longer is named.
const UNSENT: SignedDuration = SignedDuration::from_hours(4);

/// The mailboxes are looked through every night.
const UNRECONCILED: SignedDuration = SignedDuration::from_hours(2 * 24);

/// What became of replies is told for so long.
const LATELY: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How things stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Whether nothing is wrong.
    pub good: bool,
    /// What is wrong, a sentence each. Nobody's name is in it.
    pub wrong: Vec<String>,
    /// Whether a daemon works on the database.
    pub daemon_runs: bool,
    /// Why nothing is answered or carried out, if so.
    pub recovery: Option<Recovery>,
    /// The configured mailboxes.
    pub mailboxes: Vec<MailboxStatus>,
    /// Replies, requests and the company's systems.
    #[serde(flatten)]
    pub standing: Standing,
    /// The last look through everything.
    pub reconciliation: Option<Reconciliation>,
    /// The last mail to ourselves.
    pub canary: Option<Canary>,
}

/// How one mailbox stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MailboxStatus {
    /// Its configured name.
    pub name: String,
    /// The end of the last pass that has read all of it.
    pub last_good_cycle: Option<Timestamp>,
    /// The last whole answer of its server.
    pub last_answer: Option<Timestamp>,
    /// Mails that were still to be read at its last answer.
    pub unread: i64,
    /// Mails that are recorded and not filed.
    pub backlog: i64,
    /// When the first of them was recorded.
    pub backlog_since: Option<Timestamp>,
    /// The first whole answer of its server.
    #[serde(skip)]
    first_answer: Option<Timestamp>,
    /// The end of the first pass that has read all of it.
    #[serde(skip)]
    first_good_cycle: Option<Timestamp>,
}

/// `status`
pub(super) async fn status(config: &Config, json: bool) -> Result<ExitCode> {
    if let Err(missing) = config.find_database() {
        return super::not_found(&missing.to_string());
    }
    let daemon_runs = Sole::is_claimed(&config.database)?;
    let store = Store::open(&config.database).await?;
    let status = Status::now(&store, config, daemon_runs, Timestamp::now()).await?;
    store.close().await;
    if json {
        print_json(&status)?;
    } else {
        print(&status.as_text())?;
    }
    Ok(if status.good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Status {
    /// How things stand at `now`.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn now(store: &Store, config: &Config, daemon_runs: bool, now: Timestamp) -> Result<Self> {
        let zone = TimeZone::get(&config.clock.time_zone).context("There is no such time zone")?;
        let today = now.to_zoned_datetime(zone).date();
        let standing = store.standing(today, now.saturating_sub(LATELY)?).await?;
        let (cycles, backlogs) = (store.cycles().await?, store.backlogs().await?);
        let names = config.imap.iter().map(|imap| &imap.name).chain(config.maildir.iter().map(|it| &it.name));
        let mailboxes = names.map(|name| {
            let cycle = cycles.get(name);
            let backlog = backlogs.get(name).copied().unwrap_or_default();
            MailboxStatus {
                name: name.clone(),
                last_good_cycle: cycle.and_then(|cycle| cycle.good),
                last_answer: cycle.and_then(|cycle| cycle.alive),
                unread: cycle.map_or(0, |cycle| cycle.unread),
                backlog: backlog.mails,
                backlog_since: backlog.oldest,
                first_answer: cycle.and_then(|cycle| cycle.first_alive),
                first_good_cycle: cycle.and_then(|cycle| cycle.first_good),
            }
        });
        let mut status = Self {
            good: true,
            wrong: Vec::new(),
            daemon_runs,
            recovery: store.recovery().await?,
            mailboxes: mailboxes.collect(),
            standing,
            reconciliation: store.reconciliation().await?,
            canary: store.canary().await?,
        };
        status.judge(config, now);
        Ok(status)
    }

    fn judge(&mut self, config: &Config, now: Timestamp) {
        let is_older = |at: Option<Timestamp>, than| at.is_none_or(|at| now.duration_since(at) > than);
        let poll = SignedDuration::try_from(config.poll_interval * 3).unwrap_or(SILENT);
        let silent = SILENT.max(poll);
        let mut wrong = Vec::new();
        if !self.daemon_runs {
            wrong.push("no daemon runs".to_owned());
        }
        if let Some(Recovery { why, .. }) = &self.recovery {
            wrong.push(format!("nothing is answered or carried out until privacyd recovery end: {why}"));
        }
        for mailbox in &self.mailboxes {
            let name = &mailbox.name;
            if mailbox.last_answer.is_none() {
                wrong.push(format!("mailbox {name} has never been read"));
            } else if is_older(mailbox.last_answer, silent) {
                wrong.push(format!("mailbox {name} gives no answers: see the log"));
            } else if is_older(mailbox.last_good_cycle.or(mailbox.first_answer), UNREAD) {
                // Before it was read to its end it counts from when it was first heard of.
                wrong.push(format!("mailbox {name} has not been read to its end for a day"));
            }
            if mailbox.backlog > 0 && is_older(mailbox.backlog_since, UNFILED) {
                let mails = counted(mailbox.backlog, "mail", "mails");
                wrong.push(format!("mailbox {name} does not let {mails} be filed: see the log"));
            }
        }
        let Standing { replies_waiting, replies_unknown, requests_overdue, tasks_failed, .. } = self.standing;
        if replies_waiting > 0 && is_older(self.standing.oldest_reply, UNSENT) {
            wrong.push("a reply has been waiting for hours: see privacyd outbox list".to_owned());
        }
        if replies_unknown > 0 {
            wrong.push(format!(
                "{} of unknown fate: see privacyd outbox list --state unknown, and settle them",
                counted(replies_unknown, "reply is", "replies are")
            ));
        }
        if requests_overdue > 0 {
            let overdue = counted(requests_overdue, "request is", "requests are");
            wrong.push(format!("{overdue} overdue: see privacyd requests list"));
        }
        if tasks_failed > 0 {
            wrong.push(format!(
                "{} failed in open requests: see privacyd requests list --status executing",
                counted(tasks_failed, "system has", "systems have")
            ));
        }
        // Before the first look it counts from when there was something to look through.
        let first_read = self.mailboxes.iter().filter_map(|mailbox| mailbox.first_good_cycle).min();
        let looked_through = match self.reconciliation {
            Some(Reconciliation { at, .. }) => at,
            None => first_read.or(Some(now)),
        };
        if let Some(Reconciliation { found, .. }) = self.reconciliation
            && found.unaccounted > 0
        {
            let mails = counted(found.unaccounted, "mail was", "mails were");
            wrong.push(format!("{mails} not accounted for: see the log"));
        } else if self.daemon_runs && is_older(looked_through, UNRECONCILED) {
            wrong.push("the mailboxes have not been looked through for two days: see the log".to_owned());
        }
        if config.canary.is_some() && self.canary.is_some_and(|canary| canary.is_missed) {
            wrong
                .push("the canary has not come back: replies may not go out, or mail not come in".to_owned());
        }
        self.good = wrong.is_empty();
        self.wrong = wrong;
    }

    /// The same for a person.
    pub fn as_text(&self) -> String {
        let mut lines = vec![match self.good {
            true => "good".to_owned(),
            false => format!("WRONG: {}", self.wrong.join("\n       ")),
        }];
        lines.push(format!("daemon    {}", if self.daemon_runs { "runs" } else { "does not run" }));
        for mailbox in &self.mailboxes {
            let backlog = match mailbox.backlog {
                0 if mailbox.unread > 0 => format!("{} to be read", counted(mailbox.unread, "mail", "mails")),
                0 => "everything is filed".to_owned(),
                mails => format!(
                    "{} to be filed, the oldest since {}",
                    counted(mails, "mail", "mails"),
                    at(mailbox.backlog_since)
                ),
            };
            lines.push(format!(
                "mailbox   {}: last good cycle {}, last answer {}; {backlog}",
                mailbox.name,
                at(mailbox.last_good_cycle),
                at(mailbox.last_answer)
            ));
        }
        let standing = &self.standing;
        let oldest = match standing.oldest_reply {
            None => String::new(),
            oldest => format!(", the oldest since {}", at(oldest)),
        };
        lines.push(format!(
            "replies   {} to be sent{oldest}; {} of unknown fate; {} bounced in the last 7 days",
            standing.replies_waiting, standing.replies_unknown, standing.replies_bounced
        ));
        lines.push(format!(
            "requests  {} open, {} of them held, {} overdue",
            standing.requests_open, standing.requests_held, standing.requests_overdue
        ));
        let oldest = match standing.oldest_to_read {
            None => String::new(),
            oldest => format!(", the oldest since {}: privacyd messages list --to-read", at(oldest)),
        };
        lines.push(format!("mails     {} for a person to read{oldest}", standing.mails_to_read));
        lines.push(format!("systems   {} failed in open requests", standing.tasks_failed));
        if let Some(Reconciliation { at: ended, found }) = self.reconciliation {
            lines.push(format!(
                "complete  looked through {}: {}, {} unaccounted, {} among junk",
                at(ended),
                counted(found.seen, "mail", "mails"),
                found.unaccounted,
                counted(found.junk, "request", "requests")
            ));
        }
        if let Some(Canary { sent_at, back_at, .. }) = self.canary {
            lines.push(format!("canary    sent {}, back {}", at(sent_at), at(back_at)));
        }
        lines.join("\n")
    }
}

fn at(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "never".to_owned(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::reconcile::Reconciled;
    use crate::watch::Watch;

    const CONFIG: &str = "database = \"x.db\"\nown_addresses = [\"privacy@example.com\"]\n[company]\nname = \"Example\"\n\
        [[maildir]]\nname = \"box\"\npath = \"Maildir\"\n[directory]\npath = \"replies\"\n";

    #[tokio::test]
    async fn a_backlog_may_take_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("privacyd.db")).await.unwrap();
        let config = Config::parse("test", CONFIG).unwrap();
        let start: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        let after = |hours| start + SignedDuration::from_hours(hours);
        let watch = Watch::over(["box"].into_iter());
        let wrong = async |now: Timestamp, is_read| {
            match is_read {
                false => watch.alive("box", now),
                true => watch.good("box", now),
            }
            watch.record(&store).await.unwrap();
            Status::now(&store, &config, true, now).await.unwrap().wrong
        };
        let day = ["mailbox box has not been read to its end for a day"];
        assert_eq!(wrong(start, false).await, [""; 0], "it has only begun");
        assert_eq!(wrong(after(24), false).await, [""; 0]);
        assert_eq!(wrong(after(25), false).await, day);
        assert_eq!(wrong(after(26), true).await, [""; 0]);
        assert_eq!(wrong(after(48), false).await, [""; 0]);
        // It counts from the last read once there was one.
        let watch = Watch::over(["box"].into_iter());
        watch.alive("box", after(51));
        watch.record(&store).await.unwrap();
        assert_eq!(Status::now(&store, &config, true, after(51)).await.unwrap().wrong, day);
        store.close().await;
    }

    #[tokio::test]
    async fn a_look_that_never_succeeded_is_missed_like_one_of_long_ago() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("privacyd.db")).await.unwrap();
        let config = Config::parse("test", CONFIG).unwrap();
        let start: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        let after = |hours| start + SignedDuration::from_hours(hours);
        let watch = Watch::over(["box"].into_iter());
        let is_missed = async |now: Timestamp| {
            watch.good("box", now);
            watch.record(&store).await.unwrap();
            let status = Status::now(&store, &config, true, now).await.unwrap();
            assert_eq!(status.good, status.wrong.is_empty());
            status.wrong.iter().any(|wrong| wrong.contains("have not been looked through"))
        };
        assert!(!is_missed(start).await);
        assert!(!is_missed(after(48)).await);
        assert!(is_missed(after(49)).await, "two days after the first read, however often it is read since");
        watch.unread("box", 17);
        watch.alive("box", start);
        watch.record(&store).await.unwrap();
        let text = Status::now(&store, &config, true, after(49)).await.unwrap().as_text();
        assert!(text.contains("; 17 mails to be read\n"), "{text}");
        store.record_reconciliation(&Reconciled::default(), after(50)).await.unwrap();
        assert!(!is_missed(after(51)).await);
        assert!(is_missed(after(100)).await);
        store.close().await;
    }
}
