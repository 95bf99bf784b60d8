//! Letters to the operator about what is wrong with the installation itself.

use anyhow::Result;
use jiff::Timestamp;

use super::{Intake, composed};
use crate::random::random;
use crate::reply::Stamp;

impl Intake {
    /// Writes to whom the operator has named, if anybody. `what` is a sentence without a word about anybody.
    ///
    /// # Errors
    /// The store does not work.
    pub(crate) async fn alarm(&self, what: &str, now: Timestamp) -> Result<()> {
        let Some(to) = &self.notify else { return Ok(()) };
        let stamp = Stamp { unique: random()?, now };
        if let Some(letter) = composed("an alarm", || self.replies.alarm(to, what, stamp)) {
            self.store.queue_to_operator(&letter, now).await?;
            self.queued.notify_one();
        }
        Ok(())
    }
}
