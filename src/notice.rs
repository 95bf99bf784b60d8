//! Notices to everybody the company knows, on their way: a handful at a time, within the rate that the
//! operator has set, each person once.
//!
//! Apart from the outbox, because a hundred thousand letters must not stand before the reply to a request,
//! and because their text is written only when they go out. A legal notice is no marketing: it also goes to
//! those who have opted out of that.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use tracing::{debug, info, warn};

use crate::intake::Intake;
use crate::mailer::{Letter, Mailer, Outcome, Session};
use crate::outbox::insist;
use crate::random::random;
use crate::reply::{ComposeError, Replies, Stamp};
use crate::sender::Address;
use crate::stop::Stop;
use crate::store::Store;
use crate::store::notices::{Addressee, Notice};
use crate::token::Tokens;

/// Mails that are claimed at a time, at the most: what a crash catches between claim and outcome stays
/// unknown.
const HANDFUL: u32 = 8;

/// A connection that rests longer between two handfuls is closed meanwhile.
const LONGEST_REST: Duration = Duration::from_secs(5);

/// The way out for notices.
#[derive(Clone)]
pub struct Notices {
    intake: Arc<Intake>,
    mailer: Arc<Mailer>,
    tokens: Arc<Tokens>,
}

impl Notices {
    /// Sends what the store of `intake` holds through `mailer`, with ways to unsubscribe by `tokens`.
    pub fn new(intake: Arc<Intake>, mailer: Arc<Mailer>, tokens: Tokens) -> Self {
        Self { intake, mailer, tokens: Arc::new(tokens) }
    }

    /// Sends what is due, within the rate, until nothing is or `stop` is asked; with `once`, no more than
    /// a minute's worth, without a rest. Answers how many a server took.
    ///
    /// # Errors
    /// No connection could be made, the template is gone, or the store does not work. What was claimed is
    /// settled.
    pub async fn run(&self, once: bool, stop: &Stop) -> Result<u64> {
        let (mut tried, mut sent) = (0, 0);
        let mut session: Option<Session> = None;
        while !stop.is_asked() {
            let Some(notice) = self.store().next_notice(Timestamp::now()).await? else { break };
            let room = if once { notice.per_minute.saturating_sub(tried) } else { HANDFUL };
            let most = (notice.per_minute / 60).clamp(1, HANDFUL).min(room);
            if most == 0 {
                break;
            }
            let begun = Instant::now();
            let mut open = match session.take().filter(Session::is_open) {
                Some(open) => open,
                None => match self.mailer.connect_unless(stop).await.context("Notices cannot be sent")? {
                    Some(open) => open,
                    None => break,
                },
            };
            let (count, taken) = self.handful(&notice, most, &mut open, stop).await?;
            tried += count;
            sent += u64::from(taken);
            let pace = Duration::from_secs(60) * count.max(1) / notice.per_minute;
            let rest = if once { Duration::ZERO } else { pace.saturating_sub(begun.elapsed()) };
            if rest > LONGEST_REST {
                open.quit().await;
            } else {
                session = Some(open);
            }
            stop.rest(rest).await;
        }
        if let Some(session) = session {
            session.quit().await;
        }
        if tried > 0 {
            info!(sent, other = u64::from(tried) - sent, "notices sent, as far as they are due");
        }
        Ok(sent)
    }

    fn store(&self) -> &Store {
        &self.intake.store
    }

    fn replies(&self) -> &Replies {
        &self.intake.replies
    }

    /// Claims up to `most` people, writes to them, and writes down what became of it; answers how many were
    /// tried and how many of these mails a server took.
    async fn handful(
        &self,
        notice: &Notice,
        most: u32,
        session: &mut Session,
        stop: &Stop,
    ) -> Result<(u32, u32)> {
        if !self.replies().circulars().any(|known| known == notice.template) {
            bail!(
                "The template {} of the notice {} is gone: put it back, or cancel it",
                notice.template,
                notice.name
            );
        }
        let now = Timestamp::now();
        let ids = (0..most)
            .map(|_| Ok(self.replies().circular_id(Stamp { unique: random()?, now })))
            .collect::<Result<Vec<_>>>()?;
        let people = self.store().claim_notice(notice, &ids, now).await?;
        let mut results: Vec<(Addressee, Outcome)> = Vec::with_capacity(people.len());
        let (mut written, mut letters) = (Vec::new(), Vec::new());
        let mut failure = None;
        for to in people {
            match self.write(notice, &to, now) {
                Ok(raw) => {
                    let recipient = to.address.to_string();
                    letters.push(Letter { id: to.id, recipient, raw, message_id: to.message_id.clone() });
                    written.push(to);
                }
                // The text is at fault: everybody's. Nobody is passed over because of it.
                Err(error @ ComposeError::Template { .. }) => {
                    failure = Some(error);
                    results.push((to, Outcome::NotTried));
                }
                Err(ComposeError::Build(_)) => {
                    results.push((to, Outcome::Bounced("the mail could not be put together".into())));
                }
            }
        }
        let outcomes = session.deliver(&letters, stop).await;
        results.extend(written.into_iter().zip(outcomes));
        insist(results.len(), stop, |_| self.store().settle_notice(&results, Timestamp::now())).await?;
        if let Some(error) = failure {
            return Err(error).context("A notice cannot be written");
        }
        let count = |is: fn(&Outcome) -> bool| {
            let count = results.iter().filter(|(_, outcome)| is(outcome)).count();
            u32::try_from(count).unwrap_or(u32::MAX)
        };
        let tried = count(|outcome| *outcome != Outcome::NotTried);
        let sent = count(|outcome| matches!(outcome, Outcome::Sent(_)));
        if tried == 0 && !results.is_empty() && !stop.is_asked() {
            bail!("The mail server ends the connection before it has taken a notice");
        }
        let other = tried - sent;
        if other > 0 {
            warn!(notice = notice.name, sent, other, "a notice did not go out to some");
        } else {
            debug!(notice = notice.name, sent, "notice sent to some");
        }
        Ok((tried, sent))
    }

    fn write(&self, notice: &Notice, to: &Addressee, now: Timestamp) -> Result<Vec<u8>, ComposeError> {
        let language = self.replies().circular_language(&notice.template, &to.language);
        let stamp = Stamp { unique: [0; 16], now };
        let unsubscribe = self.unsubscribe(&to.address);
        let (template, id) = (&notice.template, &to.message_id);
        self.replies()
            .circular(template, &language, &to.address, unsubscribe.as_deref(), id, stamp)
            .map(|mail| mail.raw)
    }

    /// The reader's own List-Unsubscribe field, where there are keys to make one.
    fn unsubscribe(&self, to: &Address) -> Option<String> {
        self.tokens.sign(to).map(|signed| signed.header)
    }
}
