//! Letters into a test's memory, with outcomes as the test wants them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{ConnectError, Letter, Outcome};

/// What a test gives to the mailer and finds afterwards.
#[derive(Debug, Default)]
pub struct MemoryBox {
    /// Outcomes of the next letters, in order. Once it is empty, every letter is sent.
    pub script: VecDeque<Outcome>,
    /// While true, no session can be opened.
    pub unreachable: bool,
    /// The letters that were sent.
    pub delivered: Vec<Letter>,
    /// How many letters were tried, whatever became of them.
    pub attempts: usize,
}

pub(super) fn prepare(shared: &Mutex<MemoryBox>) -> Result<(), ConnectError> {
    if lock(shared).unreachable {
        return Err(ConnectError::Unreachable("The memory is set to be unreachable".into()));
    }
    Ok(())
}

pub(super) fn deliver(shared: &Mutex<MemoryBox>, letters: &[Letter]) -> Vec<Outcome> {
    let mut memory = lock(shared);
    letters.iter().map(|letter| memory.take(letter)).collect()
}

impl MemoryBox {
    fn take(&mut self, letter: &Letter) -> Outcome {
        let outcome = match letter.flaw() {
            Some(flaw) => Outcome::Bounced(flaw.to_owned()),
            None => self.script.pop_front().unwrap_or_else(|| Outcome::Sent("250 2.0.0".to_owned())),
        };
        if outcome != Outcome::NotTried {
            self.attempts += 1;
        }
        if matches!(outcome, Outcome::Sent(_)) {
            self.delivered.push(letter.clone());
        }
        outcome
    }
}

/// A test that panicked elsewhere still wants to look.
fn lock(shared: &Mutex<MemoryBox>) -> MutexGuard<'_, MemoryBox> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::mailer::Mailer;
    use crate::stop::Stop;

    fn letter(id: i64) -> Letter {
        Letter {
            id,
            recipient: "ann@example.org".into(),
            raw: b"Subject: x\r\n\r\nHello\r\n".to_vec(),
            message_id: format!("<{id}@example.com>"),
        }
    }

    #[tokio::test]
    async fn follows_the_script_and_then_sends() {
        let shared = Arc::new(Mutex::new(MemoryBox::default()));
        shared.lock().unwrap().script = [Outcome::Deferred("451".into()), Outcome::NotTried].into();
        let mailer = Mailer::Memory(Arc::clone(&shared));
        let mut session = mailer.connect().await.unwrap();
        let outcomes = session.deliver(&[letter(1), letter(2), letter(3)], &Stop::never()).await;
        assert_eq!(
            outcomes,
            [Outcome::Deferred("451".into()), Outcome::NotTried, Outcome::Sent("250 2.0.0".into())]
        );
        assert_eq!(shared.lock().unwrap().delivered, [letter(3)]);
        assert_eq!(shared.lock().unwrap().attempts, 2);
        shared.lock().unwrap().unreachable = true;
        assert!(matches!(mailer.connect().await, Err(ConnectError::Unreachable(_))));
    }
}
