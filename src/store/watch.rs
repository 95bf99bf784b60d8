//! What tells whether all is well: when each mailbox was last read, and what waits, is overdue or has failed.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;
use serde_json::json;

use super::Store;
use super::to_read::to_read;
use crate::watch::Beat;

/// When a mailbox was last read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cycle {
    /// The end of the last pass that has read all of it.
    pub good: Option<Timestamp>,
    /// The last whole answer of its server.
    pub alive: Option<Timestamp>,
    /// The first one.
    pub first_alive: Option<Timestamp>,
    /// The end of the first pass that has read all of it.
    pub first_good: Option<Timestamp>,
    /// Mails that were still to be read at the last answer.
    pub unread: i64,
}

/// Mails of one mailbox that are recorded and not in their folder yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How many.
    pub mails: i64,
    /// When the first of them was recorded.
    pub oldest: Option<Timestamp>,
}

/// What of our own and of others' work is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Replies that are still to be sent.
    pub replies_waiting: i64,
    /// When the first of them was queued.
    pub oldest_reply: Option<Timestamp>,
    /// Replies of unknown fate.
    pub replies_unknown: i64,
    /// Replies that bounced since the given moment.
    pub replies_bounced: i64,
    /// Requests that are open.
    pub requests_open: i64,
    /// Those of them that wait for a person.
    pub requests_held: i64,
    /// Those of them whose date is past.
    pub requests_overdue: i64,
    /// Parts of open requests in which a system has failed for good.
    pub tasks_failed: i64,
    /// Mails that a person must read, and that no request stands for.
    pub mails_to_read: i64,
    /// When the first of them came.
    pub oldest_to_read: Option<Timestamp>,
    /// Mails that were ever recorded.
    pub messages_ever: i64,
    /// Requests that were ever opened.
    pub requests_ever: i64,
    /// Replies that were ever queued.
    pub replies_ever: i64,
}

#[derive(sqlx::FromRow)]
struct StandingRow {
    replies_waiting: i64,
    oldest_reply: Option<i64>,
    replies_unknown: i64,
    replies_bounced: i64,
    requests_open: i64,
    requests_held: i64,
    requests_overdue: i64,
    tasks_failed: i64,
    mails_to_read: i64,
    oldest_to_read: Option<i64>,
    messages_ever: i64,
    requests_ever: i64,
    replies_ever: i64,
}

/// Name, last good pass, last and first answer, first good pass, what was unread.
type CycleRow = (String, Option<i64>, i64, Option<i64>, Option<i64>, i64);

impl Store {
    /// Records when mailboxes were last heard of.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn record_cycles(&self, beats: &[(&String, &Beat)]) -> Result<()> {
        let second = |at: Option<Timestamp>| at.map(Timestamp::as_second);
        let list: Vec<_> = beats
            .iter()
            .map(|(name, beat)| json!([name, second(beat.good), second(beat.alive), beat.unread]))
            .collect();
        sqlx::query(
            "INSERT INTO mailbox_cycles (mailbox, first_good_at, good_at, first_alive_at, alive_at, unread)
             SELECT value ->> 0, value ->> 1, value ->> 1, value ->> 2, value ->> 2, value ->> 3
             FROM json_each(?) WHERE value ->> 2 IS NOT NULL
             ON CONFLICT (mailbox) DO UPDATE SET first_good_at = coalesce(first_good_at, excluded.good_at),
                first_alive_at = coalesce(first_alive_at, excluded.alive_at),
                good_at = coalesce(excluded.good_at, good_at), alive_at = excluded.alive_at,
                unread = excluded.unread",
        )
        .bind(serde_json::to_string(&list)?)
        .execute(&self.write)
        .await
        .context("Cannot record when the mailboxes were read")
        .map(drop)
    }

    /// Records that a login was refused at this time; or that none is any more.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn record_refusal(&self, mailbox: &str, at: Option<Timestamp>) -> Result<()> {
        let query = match at {
            Some(_) => {
                "INSERT INTO login_refusals (mailbox, at) VALUES ($1, $2)
                 ON CONFLICT (mailbox) DO UPDATE SET at = excluded.at"
            }
            None => "DELETE FROM login_refusals WHERE mailbox = $1 AND $2 IS NULL",
        };
        let query = sqlx::query(query).bind(mailbox).bind(at.map(Timestamp::as_second));
        query.execute(&self.write).await.context("Cannot record whether a login was refused").map(drop)
    }

    /// When a login was refused last, if none was taken since.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn refused_at(&self, mailbox: &str) -> Result<Option<Timestamp>> {
        let at: Option<i64> = sqlx::query_scalar("SELECT at FROM login_refusals WHERE mailbox = ?")
            .bind(mailbox)
            .fetch_optional(&self.read)
            .await
            .context("Cannot read whether a login was refused")?;
        Ok(at.and_then(time))
    }

    /// When each mailbox was last read, by name.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn cycles(&self) -> Result<BTreeMap<String, Cycle>> {
        let rows: Vec<CycleRow> = sqlx::query_as(
            "SELECT mailbox, good_at, alive_at, first_alive_at, first_good_at, unread FROM mailbox_cycles",
        )
        .fetch_all(&self.read)
        .await
        .context("Cannot read when the mailboxes were read")?;
        let known = |at: Option<i64>| at.and_then(time);
        let cycles = rows.into_iter().map(|(name, good, alive, first_alive, first_good, unread)| {
            let (good, first_alive, first_good) = (known(good), known(first_alive), known(first_good));
            (name, Cycle { good, alive: time(alive), first_alive, first_good, unread })
        });
        Ok(cycles.collect())
    }

    /// What of each mailbox is still to be filed, by name. What was recorded under numbers that are void by now
    /// comes again when it is still there.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn backlogs(&self) -> Result<BTreeMap<String, Backlog>> {
        let rows: Vec<(String, i64, Option<i64>)> = sqlx::query_as(
            "SELECT c.mailbox, count(*), min(u.recorded_at) FROM mailbox_cursors c JOIN
                (SELECT mailbox, validity, recorded_at FROM messages WHERE filed = 0
                 UNION ALL
                 SELECT p.mailbox, p.validity, m.recorded_at FROM copies p JOIN messages m ON m.id = p.message_id) u
             ON u.mailbox = c.mailbox AND u.validity = c.validity GROUP BY c.mailbox",
        )
        .fetch_all(&self.read)
        .await
        .context("Cannot read what is not filed yet")?;
        let backlog = |mails, oldest: Option<i64>| Backlog { mails, oldest: oldest.and_then(time) };
        Ok(rows.into_iter().map(|(name, mails, oldest)| (name, backlog(mails, oldest))).collect())
    }

    /// What waits, is overdue on `today`, and has failed since `since`.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn standing(&self, today: Date, since: Timestamp) -> Result<Standing> {
        let row: StandingRow = sqlx::query_as(concat!(
            "WITH unread AS MATERIALIZED (SELECT m.received_at FROM messages m INDEXED BY messages_to_read WHERE ",
            to_read!(),
            ") SELECT
                (SELECT count(*) FROM outbox WHERE state IN ('queued', 'deferred')) AS replies_waiting,
                (SELECT min(created_at) FROM outbox WHERE state IN ('queued', 'deferred')) AS oldest_reply,
                (SELECT count(*) FROM outbox WHERE state = 'unknown') AS replies_unknown,
                (SELECT count(*) FROM outbox WHERE state IN ('sent', 'bounced', 'unknown') AND updated_at > $2
                    AND state = 'bounced') AS replies_bounced,
                (SELECT count(*) FROM requests WHERE closed_at IS NULL) AS requests_open,
                (SELECT count(*) FROM requests WHERE status = 'held' AND closed_at IS NULL) AS requests_held,
                (SELECT count(*) FROM requests WHERE closed_at IS NULL AND due_on < $1) AS requests_overdue,
                (SELECT count(*) FROM tasks t JOIN requests r ON r.id = t.request_id
                    WHERE t.state = 'by_hand' AND t.attempts > 0 AND r.closed_at IS NULL) AS tasks_failed,
                (SELECT count(*) FROM unread) AS mails_to_read,
                (SELECT min(received_at) FROM unread) AS oldest_to_read,
                coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'messages'), 0) AS messages_ever,
                coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'requests'), 0) AS requests_ever,
                coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'outbox'), 0) AS replies_ever"
        ))
        .bind(today.to_string())
        .bind(since.as_second())
        .fetch_one(&self.read)
        .await
        .context("Cannot read how things stand")?;
        Ok(Standing {
            replies_waiting: row.replies_waiting,
            oldest_reply: row.oldest_reply.and_then(time),
            replies_unknown: row.replies_unknown,
            replies_bounced: row.replies_bounced,
            requests_open: row.requests_open,
            requests_held: row.requests_held,
            requests_overdue: row.requests_overdue,
            tasks_failed: row.tasks_failed,
            mails_to_read: row.mails_to_read,
            oldest_to_read: row.oldest_to_read.and_then(time),
            messages_ever: row.messages_ever,
            requests_ever: row.requests_ever,
            replies_ever: row.replies_ever,
        })
    }
}

/// A stored time; `None` where it is past all dates.
pub(super) fn time(second: i64) -> Option<Timestamp> {
    Timestamp::from_second(second).ok()
}
