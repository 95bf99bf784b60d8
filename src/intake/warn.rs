//! Warnings of what runs short of time: at 50, 80 and 95 percent, once overdue, and then every day; to the
//! log and, where the operator has named somebody, in a mail. Neither says whose request it is.

use anyhow::Result;
use jiff::Timestamp;
use tracing::{error, warn};

use super::{Intake, composed};
use crate::clock::{OVERDUE, Warning, written};
use crate::random::random;
use crate::reply::{Outgoing, ShortOfTime, Stamp};
use crate::sender::Address;
use crate::store::clocks::{Looked, Owed};

impl Intake {
    /// Warns of what runs short of time at `now`; answers of how much. What is warned of, and the mail about
    /// it, are one transaction, so nothing is warned of twice.
    ///
    /// # Errors
    /// The store does not work; the warnings come again.
    pub async fn warn(&self, now: Timestamp) -> Result<u64> {
        // Mostly there is nothing: no need of the write lock.
        if !self.store.has_warnings(now).await? {
            return Ok(0);
        }
        let mut visit = self.store.visit(now).await?;
        let owed = visit.owed(now).await?;
        let clock = &self.policy.clock;
        let mut looked = Vec::with_capacity(owed.len());
        let mut given = Vec::new();
        for owed in &owed {
            let warning = if owed.is_done { None } else { clock.warning(owed.received, owed.due, now) };
            let next = match warning {
                Some(warning) => Some(warning.next),
                None if owed.is_done => None,
                // The calendar has changed since the date was worked out.
                None => Some(clock.warn_at(owed.received, owed.due, 0, now)),
            };
            looked.push(Looked { owed, warned: warning.map(|warning| warning.level), next });
            given.extend(warning.map(|warning| (owed, warning)));
        }
        let notice = match &self.notify {
            Some(to) if !given.is_empty() => self.notice(to, &given, now)?,
            _ => None,
        };
        visit.record_warnings(&looked, notice.as_ref()).await?;
        visit.close().await?;
        if notice.is_some() {
            self.queued.notify_one();
        }
        given.iter().for_each(|(owed, warning)| log(owed, *warning));
        Ok(given.len() as u64)
    }

    /// The mail about these warnings; `None`, and a line in the log, when it cannot be written.
    fn notice(&self, to: &Address, given: &[(&Owed, Warning)], now: Timestamp) -> Result<Option<Outgoing>> {
        let deadlines: Vec<ShortOfTime> = given
            .iter()
            .map(|(owed, warning)| ShortOfTime {
                reference: owed.reference.clone(),
                kind: owed.kind.clone(),
                duty: owed.duty.name(),
                due: written(owed.due),
                percent: warning.percent,
                overdue: warning.level == OVERDUE,
            })
            .collect();
        let stamp = Stamp { unique: random()?, now };
        Ok(composed("the notice of due dates", || self.replies.notice(to, &deadlines, stamp)))
    }
}

fn log(owed: &Owed, warning: Warning) {
    let (id, kind, duty, due) = (&owed.reference, &owed.kind, owed.duty.name(), owed.due);
    let percent = warning.percent;
    if warning.level == OVERDUE {
        error!(request.id = id, request.type = kind, duty, %due, percent, "request is overdue");
    } else {
        warn!(request.id = id, request.type = kind, duty, %due, percent, "request runs short of time");
    }
}
