//! A clock that was ahead and was set right again: what was dated meanwhile must not wait until its date comes.
//!
//! Events and what was decided by the wrong clock stay as they are: they are what was done.

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};

use super::{Store, audit};

/// Clocks are set right by so much without anybody minding.
const TOLERANCE: SignedDuration = SignedDuration::from_hours(1);

/// The digest of the day of a set clock goes out once more rather than not at all.
const DIGEST_BACK: SignedDuration = SignedDuration::from_hours(24);

impl Store {
    /// If the newest time that is stored lies more than an hour after `now`, dates what is stored as later as now, so that
    /// letters, tries, warnings, reminders, the digest, the canary and the look through the mailboxes are due again;
    /// answers that newest time then.
    ///
    /// # Errors
    /// The database does not work; then nothing has changed.
    pub async fn set_back(&self, now: Timestamp) -> Result<Option<Timestamp>> {
        let newest: Option<i64> = sqlx::query_scalar(
            "SELECT max(at) FROM (
                SELECT max(alive_at) AS at FROM mailbox_cycles
                UNION ALL SELECT at FROM (SELECT at FROM reconciliations ORDER BY id DESC LIMIT 1)
                UNION ALL SELECT max(sent_at) FROM canaries
                UNION ALL SELECT max(updated_at) FROM outbox WHERE state IN ('queued', 'deferred')
                UNION ALL SELECT max(updated_at) FROM tasks WHERE state = 'waiting')",
        )
        .fetch_one(&self.read)
        .await
        .context("Cannot read the newest time that is stored")?;
        let digested = self.digested_at().await?;
        let newest = newest.and_then(super::watch::time).max(digested);
        let Some(newest) = newest.filter(|newest| newest.duration_since(now) > TOLERANCE) else {
            return Ok(None);
        };
        let mut tx = self.begin().await?;
        for statement in STATEMENTS {
            sqlx::query(statement)
                .bind(now.as_second())
                .execute(&mut *tx)
                .await
                .context("Cannot date what was stored while the clock was ahead")?;
        }
        if digested.is_some_and(|digested| digested > now) {
            let before = now.saturating_sub(DIGEST_BACK)?.as_second();
            sqlx::query("UPDATE meta SET value = ? WHERE name = 'digested_at'")
                .bind(before.to_be_bytes().to_vec())
                .execute(&mut *tx)
                .await
                .context("Cannot date the digest")?;
        }
        audit::commit(tx).await?;
        Ok(Some(newest))
    }
}

/// `$1` is now.
const STATEMENTS: [&str; 8] = [
    "UPDATE outbox SET created_at = min(created_at, $1), updated_at = min(updated_at, $1),
        next_attempt_at = iif(state IN ('queued', 'deferred'), min(next_attempt_at, $1), next_attempt_at)
     WHERE created_at > $1 OR updated_at > $1 OR state IN ('queued', 'deferred') AND next_attempt_at > $1",
    "UPDATE notice_recipients SET updated_at = min(updated_at, $1), next_attempt_at = min(next_attempt_at, $1)
     WHERE state = 'deferred' AND next_attempt_at > $1",
    "UPDATE tasks SET updated_at = min(updated_at, $1), next_attempt_at = min(next_attempt_at, $1)
     WHERE state = 'waiting' AND (next_attempt_at > $1 OR updated_at > $1)",
    // The next look works out when the warning is really due.
    "UPDATE deadlines SET warn_at = $1 WHERE warn_at > $1",
    "UPDATE requests SET asked_at = $1, proof_until = proof_until - (asked_at - $1), remind_at = remind_at - (asked_at - $1)
     WHERE status = 'awaiting_proof' AND asked_at > $1",
    "UPDATE reconciliations SET at = $1 WHERE at > $1",
    "UPDATE canaries SET sent_at = min(sent_at, $1), back_at = min(back_at, $1), alarmed_at = min(alarmed_at, $1)",
    "UPDATE mailbox_cycles SET first_good_at = min(first_good_at, $1), good_at = min(good_at, $1),
        first_alive_at = min(first_alive_at, $1), alive_at = min(alive_at, $1)",
];
