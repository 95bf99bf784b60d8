//! Letters to the operator about what is wrong with the installation itself.

use anyhow::Result;
use jiff::Timestamp;
use tracing::warn;

use super::{Intake, composed};
use crate::random::random;
use crate::reply::Stamp;

/// Alarms in an hour after which none about a request is sent.
const MOST_IN_AN_HOUR: u32 = 20;

impl Intake {
    /// Writes to whom the operator has named, if anybody. `what` is a sentence without a word about anybody.
    ///
    /// # Errors
    /// The store does not work.
    pub(super) async fn alarm(&self, what: &str, now: Timestamp) -> Result<()> {
        let Some(to) = &self.notify else { return Ok(()) };
        let stamp = Stamp { unique: random()?, now };
        if let Some(letter) = composed("an alarm", || self.replies.alarm(to, what, stamp)) {
            self.store.queue_to_operator(&letter, now).await?;
            self.queued.notify_one();
        }
        Ok(())
    }

    /// The same about requests, of which anybody can cause many: not more than so many in an hour.
    ///
    /// # Errors
    /// The store does not work.
    pub(crate) async fn alarm_of_request(&self, what: &str, now: Timestamp) -> Result<()> {
        if self.notify.is_some() && self.store.alarms_of_the_hour(now).await? >= MOST_IN_AN_HOUR {
            warn!("the operator has had all alarms of the hour; this one is not sent: {what}");
            return Ok(());
        }
        self.alarm(what, now).await
    }
}
