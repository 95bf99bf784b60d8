//! The daily digest: what waits for a person, what is due, what failed. By reference and type; whose it is
//! stays here.
//!
//! ## Why there is one when there is nothing to tell
//! It says so in a line. A day without a digest would look the same whether all is well or the daemon has
//! stopped, and what is overdue must never be silent.

use anyhow::Result;
use jiff::civil::{Date, Time};
use jiff::{SignedDuration, Timestamp, ToSpan};
use tracing::info;

use super::{Intake, composed};
use crate::clock::written;
use crate::random::random;
use crate::reply::{Digest, Line, Outgoing, Section, Stamp};
use crate::sender::Address;
use crate::store::digest::{Asked, Found};

/// Days after today of which what is due is told.
const DAYS_AHEAD: i64 = 7;

/// When there is a digest, and what does not wait for a person.
#[derive(Debug, Clone)]
pub struct DigestPlan {
    /// From this time of the day on.
    pub at: Time,
    /// The types whose work begins by itself once they are approved.
    pub carried_out: Vec<String>,
}

impl Intake {
    /// Queues the digest of the day of `now`, if its time has come and there was none today; answers whether.
    /// One that was slept through comes as soon as we are awake, on the same day. What it tells, and that it is
    /// told, are one transaction, so no restart tells it twice.
    ///
    /// # Errors
    /// The store does not work; the digest comes later.
    pub async fn digest(&self, now: Timestamp) -> Result<bool> {
        let (Some(to), Some(plan)) = (&self.notify, &self.digest) else { return Ok(false) };
        let calendar = self.policy.clock.calendar();
        let today = calendar.day(now);
        let is_told = |last: Option<Timestamp>| last.is_some_and(|last| calendar.day(last) >= today);
        if !calendar.is_past(plan.at, now) || is_told(self.store.digested_at().await?) {
            return Ok(false);
        }
        let mut visit = self.store.visit(now).await?;
        let last = visit.digested_at().await?;
        if is_told(last) {
            return Ok(false);
        }
        let asked = Asked {
            today,
            until: today.saturating_add(DAYS_AHEAD.days()),
            // Nobody looks at what is older than the digest before.
            since: last.unwrap_or_else(|| now.saturating_sub(SignedDuration::from_hours(24)).unwrap_or(now)),
            carried_out: &plan.carried_out,
        };
        let found = visit.digest(&asked).await?;
        let digest = Digest { day: written(today), sections: sections(found) };
        let letter = self.write_digest(to, &digest, now)?;
        visit.record_digest(letter.as_ref()).await?;
        visit.close().await?;
        if letter.is_some() {
            self.queued.notify_one();
            info!(sections = digest.sections.len(), "daily digest queued");
        }
        Ok(letter.is_some())
    }

    /// The mail; `None`, and a line in the log, when it cannot be written.
    fn write_digest(&self, to: &Address, digest: &Digest, now: Timestamp) -> Result<Option<Outgoing>> {
        let stamp = Stamp { unique: random()?, now };
        Ok(composed("the daily digest", || self.replies.digest(to, digest, stamp)))
    }
}

/// What was found, as the template wants it; sections without anything are left out.
fn sections(found: Vec<(&'static str, Vec<Found>)>) -> Vec<Section> {
    let sections = found.into_iter().filter_map(|(name, rows)| {
        let total = rows.first()?.total.unsigned_abs();
        let lines: Vec<Line> = rows.into_iter().map(line).collect();
        Some(Section { name, total, more: total.saturating_sub(lines.len() as u64), lines })
    });
    sections.collect()
}

fn line(found: Found) -> Line {
    let Found { reference, kind, state, due, place, .. } = found;
    Line { reference, kind, state, due: due.parse::<Date>().map_or(due, written), place }
}
