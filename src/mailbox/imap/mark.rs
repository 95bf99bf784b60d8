//! The mark that tells whose a mailbox is: an empty folder, to which nobody is subscribed, with a name that says which
//! database the mailbox is read into. No other thing can be kept on every server.

use std::time::{Duration, Instant};

use anyhow::Result;
use imap_proto::{MailboxDatum, Response};

use super::{Imap, SMALL, quoted};

/// A server may refuse for a moment what it does later.
const AFTER_REFUSAL: Duration = Duration::from_secs(60 * 60);

impl Imap {
    /// Whether the server has refused to name or to make marks a short time ago.
    pub fn refuses_marks(&self) -> bool {
        self.marks_refused_at.is_some_and(|at| at.elapsed() < AFTER_REFUSAL)
    }

    /// Asks for none for an hour.
    pub fn refuse_marks(&mut self) {
        self.marks_refused_at = Some(Instant::now());
    }

    /// Whether the marks were looked at since the start, and this database's is among them.
    pub fn is_known_as_marked(&self) -> bool {
        self.is_known_as_marked
    }

    /// They were.
    pub fn know_as_marked(&mut self) {
        self.is_known_as_marked = true;
    }

    /// The folders whose names begin with `stem`; `None` when the server does not say.
    ///
    /// # Errors
    /// The mailbox fails.
    pub async fn marks(&mut self, stem: &str) -> Result<Option<Vec<String>>> {
        let mut marks = Vec::new();
        let mut session = self.take_session().await?;
        let command = format!("LIST \"\" {}", quoted(&format!("{stem}*"))?);
        let replies = session
            .batch(&[command], SMALL, self.patience.quick, |response| {
                if let Response::MailboxData(MailboxDatum::List(folder)) = response
                    && folder.name.starts_with(stem)
                    && quoted(&folder.name).is_ok()
                {
                    marks.push(folder.name.to_string());
                }
            })
            .await?;
        self.session = Some(session);
        Ok(replies.iter().all(Result::is_ok).then_some(marks))
    }

    /// Whether the folder `mark` is there.
    ///
    /// # Errors
    /// The mailbox fails.
    pub async fn is_marked(&mut self, mark: &str) -> Result<bool> {
        self.does(&[format!("STATUS {} (MESSAGES)", quoted(mark)?)]).await
    }

    /// Makes the folder `mark`, of `before` where there is one; answers whether the server did.
    ///
    /// # Errors
    /// The mailbox fails.
    pub async fn mark(&mut self, before: Option<&str>, mark: &str) -> Result<bool> {
        let command = match before {
            Some(before) => format!("RENAME {} {}", quoted(before)?, quoted(mark)?),
            None => format!("CREATE {}", quoted(mark)?),
        };
        self.does(&[command]).await
    }

    /// Removes these folders, as far as the server does.
    ///
    /// # Errors
    /// The mailbox fails.
    pub async fn unmark<'a>(&mut self, marks: impl Iterator<Item = &'a String>) -> Result<()> {
        let mut commands = Vec::new();
        for mark in marks {
            commands.push(format!("DELETE {}", quoted(mark)?));
        }
        self.does(&commands).await.map(drop)
    }

    /// Whether all these commands are answered with OK.
    async fn does(&mut self, commands: &[String]) -> Result<bool> {
        let mut session = self.take_session().await?;
        let replies = session.batch(commands, SMALL, self.patience.quick, |_| {}).await?;
        self.session = Some(session);
        Ok(replies.iter().all(Result::is_ok))
    }
}
