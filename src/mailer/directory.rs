//! Letters into a folder: one .eml file each, named after the local part of the Message-ID, so a
//! letter delivered twice is one file.

use std::io;
use std::path::Path;

use tokio::fs::{self, File, OpenOptions};
use tokio::io::AsyncWriteExt;

use super::{ConnectError, Letter, Outcome};

pub(super) async fn prepare(folder: &Path) -> Result<(), ConnectError> {
    fs::create_dir_all(folder).await.map_err(|error| {
        ConnectError::Unreachable(format!("Cannot create the folder {}: {error}", folder.display()))
    })
}

/// What is there, without making anything.
pub(super) async fn probe(folder: &Path) -> Result<&'static str, ConnectError> {
    match fs::metadata(folder).await {
        Ok(found) if found.is_dir() => Ok("a folder"),
        Ok(_) => Err(ConnectError::Unreachable(format!("{} is not a folder", folder.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok("a folder, not there yet, will be made"),
        Err(error) => {
            Err(ConnectError::Unreachable(format!("Cannot look at the folder {}: {error}", folder.display())))
        }
    }
}

pub(super) async fn deliver(folder: &Path, letters: &[Letter]) -> Vec<Outcome> {
    let mut outcomes = Vec::with_capacity(letters.len());
    for letter in letters {
        let outcome = match (letter.flaw(), file_name(&letter.message_id)) {
            (Some(flaw), _) => Outcome::Bounced(flaw.to_owned()),
            (None, None) => Outcome::Bounced("the Message-ID cannot name a file".to_owned()),
            (None, Some(name)) => match write(folder, &name, &letter.raw).await {
                Ok(()) => Outcome::Sent("written".to_owned()),
                Err(error) => Outcome::Deferred(format!("cannot write the file: {error}")),
            },
        };
        outcomes.push(outcome);
    }
    outcomes
}

/// The local part of a Message-ID, if it can be a file's name without leaving the folder.
fn file_name(message_id: &str) -> Option<String> {
    let (local, _) = message_id.trim_start_matches('<').split_once('@')?;
    let sound = |b: u8| b.is_ascii_alphanumeric() || b"-_.+".contains(&b);
    let named =
        !local.is_empty() && local.len() <= 200 && !local.starts_with('.') && local.bytes().all(sound);
    named.then(|| format!("{local}.eml"))
}

/// The file appears whole or not at all, and is on the disk when this returns.
async fn write(folder: &Path, name: &str, raw: &[u8]) -> io::Result<()> {
    let temporary = folder.join(format!(".{name}.tmp"));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    options.mode(0o600);
    let mut file = options.open(&temporary).await?;
    file.write_all(raw).await?;
    // tokio reports a failed write at the flush, not at the sync.
    file.flush().await?;
    file.sync_all().await?;
    fs::rename(&temporary, folder.join(name)).await?;
    File::open(folder).await?.sync_all().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailer::Mailer;
    use crate::stop::Stop;

    fn letter(message_id: &str) -> Letter {
        Letter {
            id: 1,
            recipient: "ann@example.org".into(),
            raw: b"Subject: x\r\n\r\nHello\r\n".to_vec(),
            message_id: message_id.into(),
        }
    }

    #[tokio::test]
    async fn writes_each_letter_once() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("out");
        let mut session = Mailer::Directory(folder.clone()).connect().await.unwrap();
        let letters =
            [letter("<r-1.a@example.com>"), letter("r-1.a@example.com"), letter("<r-2@example.com>")];
        for outcome in session.deliver(&letters, &Stop::never()).await {
            assert_eq!(outcome, Outcome::Sent("written".into()));
        }
        let mut names: Vec<_> =
            std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["r-1.a.eml", "r-2.eml"]);
        assert_eq!(std::fs::read(folder.join("r-2.eml")).unwrap(), letters[2].raw);
    }

    #[tokio::test]
    async fn a_probe_makes_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let (folder, file) = (temp.path().join("out"), temp.path().join("file"));
        let mailer = Mailer::Directory(folder.clone());
        assert_eq!(mailer.probe().await.unwrap(), "a folder, not there yet, will be made");
        assert!(!folder.exists());
        mailer.connect().await.unwrap();
        assert_eq!(mailer.probe().await.unwrap(), "a folder");
        std::fs::write(&file, "").unwrap();
        assert!(Mailer::Directory(file).probe().await.is_err());
    }

    #[tokio::test]
    async fn a_message_id_cannot_leave_the_folder() {
        let temp = tempfile::tempdir().unwrap();
        let mut session = Mailer::Directory(temp.path().to_owned()).connect().await.unwrap();
        for id in ["<../x@y>", "</etc/x@y>", "<.x@y>", "<@y>", "<x>", "<a b@y>", ""] {
            let outcomes = session.deliver(&[letter(id)], &Stop::never()).await;
            assert!(matches!(outcomes.as_slice(), [Outcome::Bounced(_)]), "{id}: {outcomes:?}");
        }
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_folder_that_is_gone_defers() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("out");
        let mut session = Mailer::Directory(folder.clone()).connect().await.unwrap();
        std::fs::remove_dir(&folder).unwrap();
        let outcomes = session.deliver(&[letter("<a@b>")], &Stop::never()).await;
        assert!(matches!(outcomes.as_slice(), [Outcome::Deferred(_)]), "{outcomes:?}");
    }
}
