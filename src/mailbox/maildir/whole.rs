//! The folders of a Maildir that mail is filed in, read without holding all their names at once.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tracing::warn;

use super::super::{Body, Extent, Fetched, File, MailId};
use super::{Maildir, blocking, is_base_name, read_mail};

/// Names that are handed out together.
const SOME: usize = 500;

impl Maildir {
    /// See [`super::super::Mailbox::extents`].
    ///
    /// # Errors
    /// As there.
    pub async fn extents(&self, folders: &[String]) -> Result<Vec<Extent>> {
        let mut extents = Vec::new();
        for folder in folders {
            let (mut files, mut mails) = (self.walk(folder), 0);
            while let Some(some) = files.recv().await {
                mails += some?.len() as u64;
            }
            extents.push(Extent { folder: folder.clone(), mails });
        }
        Ok(extents)
    }

    /// The files in one of our folders, some at a time; none where there is no such folder.
    pub fn walk(&self, folder: &str) -> mpsc::Receiver<Result<Vec<File>>> {
        let root = self.subfolder(folder);
        let (sender, receiver) = mpsc::channel(2);
        spawn_blocking(move || {
            for part in ["new", "cur"] {
                if let Err(error) = list(&root.join(part), &sender) {
                    let _ = sender.blocking_send(Err(error));
                }
            }
        });
        receiver
    }

    /// Reads the last of `files`, as many as fit a window, and takes them out of the list. What is no mail, is gone
    /// by now, or cannot be read, is left out.
    ///
    /// # Errors
    /// The work is broken off.
    pub async fn read(&self, files: &mut Vec<File>) -> Result<Vec<Fetched>> {
        let bounds = self.bounds;
        let mut rest = std::mem::take(files);
        let (rest, mails) = blocking(move || {
            let (mut mails, mut bytes) = (Vec::new(), 0);
            while bytes < bounds.window_bytes
                && mails.len() < bounds.window_mails
                && let Some(File { name, path }) = rest.pop()
            {
                match read_mail(&path, &bounds) {
                    Ok(Some((size, received, body))) => {
                        if let Body::Whole(read) | Body::Head(read) | Body::TooLarge(read) = &body {
                            bytes += read.len() as u64;
                        }
                        mails.push(Fetched { id: MailId::File(name), size, received, body });
                    }
                    Ok(None) => {}
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    // It must not hold up what can be read.
                    Err(error) => warn!(error = %error.kind(), "a filed mail in the Maildir cannot be read and is passed by"),
                }
            }
            Ok((rest, mails))
        })
        .await?;
        *files = rest;
        Ok(mails)
    }

    /// Reads those of `files` that came at `since` or later, as many as fit a window.
    ///
    /// # Errors
    /// The work is broken off.
    pub async fn read_since(&self, files: Vec<File>, since: Timestamp) -> Result<Vec<Fetched>> {
        let mut newer = blocking(move || {
            let is_newer = |file: &File| {
                let modified = fs::symlink_metadata(&file.path).and_then(|metadata| metadata.modified());
                modified.is_ok_and(|at| Timestamp::try_from(at).is_ok_and(|at| at >= since))
            };
            Ok(files.into_iter().filter(is_newer).collect::<Vec<_>>())
        })
        .await?;
        self.read(&mut newer).await
    }

    pub(super) fn subfolder(&self, folder: &str) -> PathBuf {
        self.settings.path.join(format!(".{}", folder.replace('/', ".")))
    }
}

fn list(folder: &Path, sender: &mpsc::Sender<Result<Vec<File>>>) -> Result<()> {
    let cannot_read = || format!("Cannot read the folder {}", folder.display());
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(cannot_read)?,
    };
    let mut some = Vec::new();
    for entry in entries {
        let path = entry.with_context(cannot_read)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split(':').next());
        if let Some(name) = name.filter(|name| is_base_name(name)).map(str::to_owned) {
            some.push(File { name, path });
        }
        if some.len() == SOME && sender.blocking_send(Ok(std::mem::take(&mut some))).is_err() {
            return Ok(());
        }
    }
    if !some.is_empty() {
        // Nobody listens any more: then nobody misses it.
        let _ = sender.blocking_send(Ok(some));
    }
    Ok(())
}
