//! Letters to the operator about what is wrong with the installation itself, and about requests that need a person now.
//! Each is queued in the transaction of what it tells of, so that both stand or neither does; but for that of mails that
//! nobody accounted for, which tells of a whole look.

use anyhow::Result;
use jiff::Timestamp;
use tracing::warn;

use super::{Intake, composed};
use crate::random::random;
use crate::reply::{Outgoing, Stamp, Urgent};
use crate::store::visit::Visit;

/// Alarms in an hour after which none about a request is sent.
const MOST_IN_AN_HOUR: u32 = 20;

impl Intake {
    /// Writes to whom the operator has named, if anybody. `what` is a sentence without a word about anybody. Whoever
    /// commits the visit rings [`Intake::queued`] after it.
    ///
    /// # Errors
    /// The store does not work.
    pub(super) async fn alarm(&self, visit: &mut Visit, what: &str, now: Timestamp) -> Result<()> {
        let Some(to) = &self.notify else { return Ok(()) };
        let stamp = Stamp { unique: random()?, now };
        queue(visit, composed("an alarm", || self.replies.alarm(to, what, stamp))).await
    }

    /// The same about requests that need a person now, of which anybody can cause many: not more than so many in an hour.
    ///
    /// # Errors
    /// The store does not work.
    pub(crate) async fn tell_urgent(
        &self,
        visit: &mut Visit,
        urgent: &[Urgent],
        now: Timestamp,
    ) -> Result<()> {
        let Some(to) = self.notify.as_ref().filter(|_| !urgent.is_empty()) else { return Ok(()) };
        if visit.alarms_of_the_hour().await? >= MOST_IN_AN_HOUR {
            let references: Vec<&str> = urgent.iter().map(|request| request.reference.as_str()).collect();
            let references = references.join(" ");
            warn!(
                request.id = references,
                "the operator has had all alarms of the hour; this one is not sent"
            );
            return Ok(());
        }
        let stamp = Stamp { unique: random()?, now };
        queue(visit, composed("an alarm about a request", || self.replies.urgent(to, urgent, stamp))).await
    }
}

async fn queue(visit: &mut Visit, letter: Option<Outgoing>) -> Result<()> {
    match letter {
        Some(letter) => visit.queue_to_operator(&letter).await,
        None => Ok(()),
    }
}
