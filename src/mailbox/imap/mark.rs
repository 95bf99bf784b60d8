//! The mark that tells whose a mailbox is: an empty folder, to which nobody is subscribed, with a name that says which
//! database the mailbox is read into. No other thing can be kept on every server.

use std::time::{Duration, Instant};

use anyhow::Result;
use imap_proto::{MailboxDatum, Response};

use super::{Imap, No, SMALL, quoted};

/// A server may refuse for a moment what it does later.
const AFTER_REFUSAL: Duration = Duration::from_secs(60 * 60);

/// The server does not do what a mark needs, or ends the connection at it. The mailbox can be read without.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoMark(pub String);

impl Imap {
    /// Whether marks were given up a short time ago.
    pub fn refuses_marks(&self) -> bool {
        self.marks_refused_at.is_some_and(|at| at.elapsed() < AFTER_REFUSAL)
    }

    /// Asks for none for an hour.
    pub fn refuse_marks(&mut self) {
        self.marks_refused_at = Some(Instant::now());
    }

    /// Whether the marks were looked at since the start, and this database's was the only one.
    pub fn is_known_as_marked(&self) -> bool {
        self.is_known_as_marked
    }

    /// They were.
    pub fn know_as_marked(&mut self) {
        self.is_known_as_marked = true;
    }

    /// The folders whose names begin with `stem`.
    ///
    /// # Errors
    /// [`NoMark`] when the server does not say; the mailbox fails.
    pub async fn marks(&mut self, stem: &str) -> Result<Vec<String>> {
        let mut marks = Vec::new();
        let command = format!("LIST \"\" {}", quoted(&format!("{stem}*"))?);
        let replies = self
            .ask(&[command], |response| {
                if let Response::MailboxData(MailboxDatum::List(folder)) = response
                    && folder.name.starts_with(stem)
                    && quoted(&folder.name).is_ok()
                {
                    marks.push(folder.name.to_string());
                }
            })
            .await?;
        done(replies)?;
        Ok(marks)
    }

    /// Whether the folder `mark` is there.
    ///
    /// # Errors
    /// [`NoMark`]; the mailbox fails.
    pub async fn is_marked(&mut self, mark: &str) -> Result<bool> {
        let command = format!("STATUS {} (MESSAGES)", quoted(mark)?);
        Ok(done(self.ask(&[command], |_| {}).await?).is_ok())
    }

    /// Makes the folder `mark` of `before`; answers whether the server did.
    ///
    /// # Errors
    /// [`NoMark`]; the mailbox fails.
    pub async fn rename_mark(&mut self, before: &str, mark: &str) -> Result<bool> {
        let command = format!("RENAME {} {}", quoted(before)?, quoted(mark)?);
        Ok(done(self.ask(&[command], |_| {}).await?).is_ok())
    }

    /// Makes the folder `mark`.
    ///
    /// # Errors
    /// [`NoMark`], also where the server does not make it; the mailbox fails.
    pub async fn make_mark(&mut self, mark: &str) -> Result<()> {
        let command = format!("CREATE {}", quoted(mark)?);
        Ok(done(self.ask(&[command], |_| {}).await?)?)
    }

    /// Removes these folders; answers whether all of them are gone.
    ///
    /// # Errors
    /// [`NoMark`]; the mailbox fails.
    pub async fn unmark(&mut self, marks: impl Iterator<Item = &str>) -> Result<bool> {
        let mut commands = Vec::new();
        for mark in marks {
            commands.push(format!("DELETE {}", quoted(mark)?));
        }
        Ok(commands.is_empty() || done(self.ask(&commands, |_| {}).await?).is_ok())
    }

    /// Gives commands of which the reading of the mailbox does not depend: where the connection ends at them, it is a
    /// [`NoMark`].
    async fn ask(
        &mut self,
        commands: &[String],
        each: impl FnMut(&Response<'_>),
    ) -> Result<Vec<Result<(), No>>> {
        let mut session = self.take_session().await?;
        let replies = session.batch(commands, SMALL, self.patience.quick, each).await;
        let replies = replies.map_err(|error| NoMark(format!("{error:#}")))?;
        self.session = Some(session);
        Ok(replies)
    }
}

/// Whether all of it was done.
fn done(replies: Vec<Result<(), No>>) -> Result<(), NoMark> {
    replies.into_iter().collect::<Result<(), No>>().map_err(|no| NoMark(no.to_string()))
}
