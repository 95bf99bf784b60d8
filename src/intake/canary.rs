//! A mail to ourselves by the way that replies take: that it comes back proves the whole of it, from the queue
//! over the servers to the ledger. It is missed when it does not.

use anyhow::Result;
use jiff::Timestamp;
use tracing::error;

use super::{Intake, letter_of, no_panic};
use crate::config::CanaryConfig;
use crate::decide::Understanding;
use crate::message::Message;
use crate::random::random;
use crate::reply::{CANARY_SUBJECT, Stamp};
use crate::screen::Automatic;

const MISSED: &str = "The mail to ourselves has not come back in time: replies may not go out, or mail not come in. \
    See `privacyd status` and the log.";

/// Hexadecimal digits in a token.
const DIGITS: usize = 32;

/// The token in a mail of ours to ourselves. It is in the subject because there are servers that write a
/// Message-ID anew.
pub(super) fn token(understanding: &Understanding, bytes: &[u8]) -> Option<String> {
    let letter = letter_of(understanding)?;
    letter.automatic.filter(|(automatic, _)| *automatic == Automatic::Own)?;
    let subject = no_panic(|| Message::parse(bytes).map(|message| message.subject().to_owned()))??;
    let (_, after) = subject.split_once(CANARY_SUBJECT)?;
    let token = after.trim_start().get(..DIGITS)?;
    token.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| token.to_owned())
}

impl Intake {
    /// Sends a mail to ourselves when it is time for one, and misses those that should have come back by now.
    /// What was on its way while nothing ran has all its time from `started` on.
    ///
    /// # Errors
    /// The store does not work, or the mail cannot be put together.
    pub async fn canary(&self, settings: &CanaryConfig, started: Timestamp, now: Timestamp) -> Result<()> {
        let before = now.saturating_sub(settings.within)?;
        if before >= started {
            let mut visit = self.store.visit(now).await?;
            let missed = visit.miss_canaries(before).await?;
            if missed > 0 {
                self.alarm(&mut visit, MISSED, now).await?;
                visit.close().await?;
                self.queued.notify_one();
                let within_s = settings.within.as_secs();
                error!(
                    missed,
                    within_s, "the canary has not come back: replies may not go out, or mail not come in"
                );
            }
        }
        let last = self.store.canary().await?.and_then(|canary| canary.sent_at);
        let is_due = match last {
            None => true,
            Some(last) => last.saturating_add(settings.every)? <= now,
        };
        if is_due {
            let token = data_encoding::HEXLOWER.encode(&random::<{ DIGITS / 2 }>()?);
            let letter = self.replies.canary(&token, Stamp { unique: random()?, now })?;
            self.store.send_canary(&token, &letter, now).await?;
            self.queued.notify_one();
        }
        Ok(())
    }
}
