//! Letters to the operator about what is wrong with the installation itself.

use anyhow::Result;
use jiff::Timestamp;
use tracing::error;

use super::{Intake, no_panic};
use crate::random::random;
use crate::reply::Stamp;

impl Intake {
    /// Writes to whom the operator has named, if anybody. `what` is a sentence without a word about anybody.
    ///
    /// # Errors
    /// The store does not work.
    pub(super) async fn alarm(&self, what: &str, now: Timestamp) -> Result<()> {
        let Some(to) = &self.notify else { return Ok(()) };
        let stamp = Stamp { unique: random()?, now };
        let reason = match no_panic(|| self.replies.alarm(to, what, stamp)) {
            Some(Ok(letter)) => {
                self.store.queue_to_operator(&letter, now).await?;
                self.queued.notify_one();
                return Ok(());
            }
            Some(Err(error)) => error.to_string(),
            None => "a fault of privacyd's own".to_owned(),
        };
        error!(reason, "an alarm could not be written: see the log");
        Ok(())
    }
}
