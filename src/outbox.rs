//! Loop 2, the way out: due replies, one attempt each, one outcome each.
//!
//! A few replies need one connection; a backlog is spread over several, each of which claims a
//! handful, sends them, and writes down what became of them in the transaction that claims the next.
//! A handful and not more, because what a crash catches between claim and outcome stays unknown.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::mailer::{ConnectError, Mailer, Outcome, Session};
use crate::stop::Stop;
use crate::store::Store;
use crate::store::outbox::{Claim, Claimed, Settled};

/// Replies that one connection claims at a time.
const HANDFUL: usize = 8;

/// How long after its n-th attempt a reply is tried again, in minutes; the last repeats.
const RETRY_AFTER: [i64; 5] = [1, 5, 30, 120, 480];

/// A reply is given up so long after it was queued (RFC 5321 section 4.5.4.1: at least 4 to 5 days).
pub const GIVE_UP_AFTER: SignedDuration = SignedDuration::from_hours(5 * 24);

/// When a reply queued at `created` is tried again after its attempt number `attempts` failed for now
/// at `now`; `None` when it is given up.
pub fn next_attempt(created: Timestamp, attempts: u32, now: Timestamp) -> Option<Timestamp> {
    next_before(created.saturating_add(GIVE_UP_AFTER).ok()?, attempts, now)
}

/// The same for what is given up at `end`.
pub fn next_before(end: Timestamp, attempts: u32, now: Timestamp) -> Option<Timestamp> {
    let index = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
    let minutes = RETRY_AFTER.get(index).or(RETRY_AFTER.last()).copied().unwrap_or(480);
    if now >= end {
        return None;
    }
    now.saturating_add(SignedDuration::from_mins(minutes)).ok().map(|next| next.min(end))
}

/// What one pass over the outbox did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pass {
    /// Replies that a server took.
    pub sent: u64,
    /// Letters to the operator, or to ourselves, that a server took.
    pub own: u64,
    /// Replies whose attempt ended otherwise.
    pub other: u64,
    /// Replies that were not tried: the connection was gone, or we were asked to end, before their turn.
    pub untried: u64,
}

/// The queue's other end.
#[derive(Clone)]
pub struct Outbox {
    store: Store,
    mailer: Arc<Mailer>,
}

impl Outbox {
    /// Sends what `store` holds through `mailer`.
    pub fn new(store: Store, mailer: Mailer) -> Self {
        Self { store, mailer: Arc::new(mailer) }
    }

    /// What it sends through.
    pub fn mailer(&self) -> Arc<Mailer> {
        Arc::clone(&self.mailer)
    }

    /// Sends everything that is due now. Once `stop` comes no reply is begun any more, see
    /// [`Session::deliver`]; what was not begun is queued as before, and has cost no attempt.
    ///
    /// # Errors
    /// No connection could be made (nothing has been tried then), or the store does not work.
    pub async fn drain(&self, stop: &Stop) -> Result<Pass> {
        let (due, _) = self.store.due(Timestamp::now()).await?;
        if due == 0 {
            return Ok(Pass::default());
        }
        // One connection first: a server that lets nobody in is asked once, not by thirty at once.
        let Some(first) = self.mailer.connect_unless(stop).await.map_err(describe)? else {
            return Ok(Pass::default());
        };
        let full = Arc::new(Notify::new());
        let mut sessions = JoinSet::new();
        let (outbox, hears, says) = (self.clone(), stop.clone(), Arc::clone(&full));
        sessions.spawn(async move { outbox.session(first, &hears, &says).await });
        self.add_sessions(&mut sessions, due, stop, &full);
        let mut pass = Pass::default();
        let mut failure = None;
        loop {
            tokio::select! {
                ended = sessions.join_next() => match ended {
                    None => break,
                    Some(ended) => match ended? {
                        Ok(part) => {
                            pass.sent += part.sent;
                            pass.own += part.own;
                            pass.other += part.other;
                            pass.untried += part.untried;
                        }
                        Err(error) => failure = Some(error),
                    },
                },
                // Mail may be coming in faster than these few can answer it.
                () = full.notified(), if failure.is_none() && sessions.len() < self.mailer.max_sessions() => {
                    if let Ok((due, _)) = self.store.due(Timestamp::now()).await {
                        self.add_sessions(&mut sessions, due, stop, &full);
                    }
                }
            }
        }
        match failure {
            // A server that allows few connections refuses the surplus; the others did the work.
            Some(error) if pass == Pass::default() => Err(error),
            _ if pass.sent + pass.own == 0 && pass.untried > 0 && !stop.is_asked() => {
                anyhow::bail!("The mail server ends the connection before it has taken a letter")
            }
            _ => Ok(pass),
        }
    }

    /// As many further connections as `due` replies want.
    fn add_sessions(&self, sessions: &mut JoinSet<Result<Pass>>, due: u64, stop: &Stop, full: &Arc<Notify>) {
        let wanted = usize::try_from(due).unwrap_or(usize::MAX).div_ceil(2 * HANDFUL);
        while sessions.len() < wanted.min(self.mailer.max_sessions()) {
            let (outbox, stop, full) = (self.clone(), stop.clone(), Arc::clone(full));
            sessions.spawn(async move {
                match outbox.mailer.connect_unless(&stop).await.map_err(describe)? {
                    Some(session) => outbox.session(session, &stop, &full).await,
                    None => Ok(Pass::default()),
                }
            });
        }
    }

    /// One connection: claim, send, settle, until nothing is due or the connection is gone.
    /// It is there before anything is claimed: a server that is down costs no reply an attempt.
    /// Rings `full` as long as there is enough for it.
    async fn session(&self, mut session: Session, stop: &Stop, full: &Notify) -> Result<Pass> {
        let mut pass = Pass::default();
        let mut results: Vec<(Claimed, Outcome)> = Vec::new();
        loop {
            let most = if stop.is_asked() || !session.is_open() { 0 } else { HANDFUL };
            let (settled, claim) = self.settle_and_claim(&results, most, stop).await?;
            for ((claimed, _), settled) in results.iter().zip(&settled) {
                report(claimed, settled);
                match settled.state {
                    "sent" if claimed.is_own => pass.own += 1,
                    "sent" => pass.sent += 1,
                    "queued" => pass.untried += 1,
                    _ => pass.other += 1,
                }
            }
            if claim.letters.is_empty() {
                break;
            }
            if claim.letters.len() == HANDFUL {
                full.notify_one();
            }
            let outcomes = session.deliver(&claim.letters, stop).await;
            results = claim.rows.into_iter().zip(outcomes).collect();
        }
        session.quit().await;
        Ok(pass)
    }
}

impl Outbox {
    /// Writes down what became of letters, and claims more.
    async fn settle_and_claim(
        &self,
        results: &[(Claimed, Outcome)],
        most: usize,
        stop: &Stop,
    ) -> Result<(Vec<Settled>, Claim)> {
        insist(results.len(), stop, |failures| {
            // After a failure nothing more is taken on before what is in hand is down.
            let most = if failures == 0 { most } else { 0 };
            self.store.settle_and_claim(results, most, Timestamp::now())
        })
        .await
    }
}

/// Has `outcomes` recorded by `record`, which is told how often it has failed. What is known must not be lost to a
/// database that is locked or full for a while: it would be of unknown fate.
///
/// # Errors
/// There is nothing to lose, or we have been asked to end and it has failed several times.
pub async fn insist<T, F>(outcomes: usize, stop: &Stop, mut record: impl FnMut(u32) -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut failures = 0;
    loop {
        match record(failures).await {
            Err(error) if outcomes == 0 || stop.is_asked() && failures >= 3 => return Err(error),
            Err(error) => {
                failures += 1;
                error!(failures, outcomes, "outcomes cannot be recorded yet: {error:#}");
                tokio::time::sleep(Duration::from_secs(1 << failures.min(6))).await;
            }
            done => return done,
        }
    }
}

fn describe(error: ConnectError) -> anyhow::Error {
    anyhow::Error::new(error).context("Replies cannot be sent")
}

/// The one line about one attempt.
fn report(claimed: &Claimed, settled: &Settled) {
    let reference = claimed.reference.as_str();
    let template = claimed.template.as_str();
    let attempt = claimed.attempts;
    let waited_ms = Timestamp::now().duration_since(claimed.created).as_millis();
    let reason = settled.outcome.as_str();
    match settled.state {
        "sent" => info!(request.id = reference, reply = template, attempt, waited_ms, reason, "reply sent"),
        "deferred" => {
            warn!(request.id = reference, reply = template, attempt, waited_ms, reason, "reply deferred")
        }
        "bounced" => error!(
            request.id = reference,
            reply = template,
            attempt,
            waited_ms,
            reason,
            "reply bounced: a person must see to it"
        ),
        "unknown" => error!(
            request.id = reference,
            reply = template,
            attempt,
            waited_ms,
            reason,
            "reply unknown: perhaps delivered, never sent again on its own"
        ),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_grows_and_ends_after_five_days() {
        let created: Timestamp = "2026-11-01T00:00:00Z".parse().expect("a time");
        let mut now = created;
        let mut waits = Vec::new();
        let mut attempts = 1;
        while let Some(next) = next_attempt(created, attempts, now) {
            waits.push(next.duration_since(now).as_mins());
            assert!(next > now, "time stands still");
            now = next;
            attempts += 1;
        }
        assert_eq!(waits.iter().take(6).copied().collect::<Vec<_>>(), [1, 5, 30, 120, 480, 480]);
        assert_eq!(now.duration_since(created), GIVE_UP_AFTER);
    }
}
