//! A Maildir on this machine, with Maildir++ subfolders. Mail is read and renamed, never written.
//!
//! There is no cursor: mail that was dealt with has been filed, and is no longer in `new` or `cur`.

mod whole;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use tokio::task::spawn_blocking;
use tracing::warn;

use super::{Body, Bounds, Cursor, Fetched, MailId, Window};
use crate::config::{MaildirConfig, folder_name_is_sound};

/// Attempts at one mail, in one pass each, before it is handed out as [`Body::Missing`].
const ATTEMPTS: u8 = 3;

/// Names that are held at once: of more mails than these the folders are listed several times in a pass. A listing of a
/// million names takes a second or two, and all of them some 400 MB.
const LISTED: usize = 20_000;

/// A Maildir on this machine.
#[derive(Debug)]
pub struct Maildir {
    settings: MaildirConfig,
    bounds: Bounds,
    listed: usize,
    pass: Option<Box<Pass>>,
    /// Failed attempts by base name.
    failures: HashMap<String, u8>,
}

/// A pass, from the first name to the last.
#[derive(Debug, Default)]
struct Pass {
    /// The files of base names that are not handed out yet, as last seen.
    waiting: BTreeMap<String, PathBuf>,
    /// Those that are, while they may still have to be filed: of this listing and the one before.
    handed_out: [HashMap<String, PathBuf>; 2],
    /// The last name that was listed.
    last: Option<String>,
    /// How many names were behind it.
    rest: u64,
    /// Most names of one listing.
    listed: usize,
}

impl Pass {
    /// Lists the next names.
    fn refill(&mut self, root: &Path) -> Result<()> {
        let (mut next, mut all) = (BTreeMap::new(), 0_u64);
        each_file(root, |name, path| {
            if self.last.as_deref().is_some_and(|last| name <= last) {
                return;
            }
            all += 1;
            next.insert(name.to_owned(), path);
            if next.len() > self.listed {
                next.pop_last();
            }
        })?;
        // What is moved from `new` to `cur` meanwhile counts twice: then there is one more listing, of nothing.
        self.rest = all.saturating_sub(next.len() as u64);
        if let Some((last, _)) = next.last_key_value() {
            self.last = Some(last.clone());
        }
        self.waiting = next;
        self.handed_out.swap(0, 1);
        self.handed_out[0].clear();
        Ok(())
    }

    fn file_of(&self, name: &str) -> Option<&PathBuf> {
        self.handed_out.iter().find_map(|files| files.get(name)).or_else(|| self.waiting.get(name))
    }
}

impl Maildir {
    /// A mailbox at the configured path. Touches the disk later.
    pub fn new(settings: MaildirConfig, bounds: Bounds) -> Self {
        Self { settings, bounds, listed: LISTED, pass: None, failures: HashMap::new() }
    }

    /// The configured name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// See [`super::Mailbox::look`]. Makes the folders where they are missing, and lists the mails.
    ///
    /// # Errors
    /// When the folders cannot be made or read.
    pub async fn look(&mut self) -> Result<Cursor> {
        let (root, listed) = (self.settings.path.clone(), self.listed);
        let failed: HashSet<String> = self.failures.keys().cloned().collect();
        let (pass, there) = blocking(move || {
            make_folder(&root).with_context(|| format!("Cannot make the Maildir {}", root.display()))?;
            let there = if failed.is_empty() { HashMap::new() } else { files_of(&root, &failed)? };
            let mut pass = Box::new(Pass { listed, ..Pass::default() });
            pass.refill(&root)?;
            Ok((pass, there))
        })
        .await?;
        self.failures.retain(|name, _| there.contains_key(name));
        self.pass = Some(pass);
        Ok(Cursor::default())
    }

    /// See [`super::Mailbox::next_window`]. Mails are in the order of their file names, which is that
    /// of their arrival.
    ///
    /// # Errors
    /// When no pass has begun, or the folders cannot be read.
    pub async fn next_window(&mut self) -> Result<Window> {
        let (root, bounds) = (self.settings.path.clone(), self.bounds);
        let (mut pass, mut failures) =
            (self.pass.take().context("No pass has begun")?, std::mem::take(&mut self.failures));
        let (pass, failures, mails) = blocking(move || {
            let mails = read_window(&root, &bounds, &mut pass, &mut failures)?;
            Ok((pass, failures, mails))
        })
        .await?;
        (self.pass, self.failures) = (Some(pass), failures);
        Ok(Window { validity: 0, mails })
    }

    /// See [`super::Mailbox::waiting`].
    pub fn waiting(&self) -> u64 {
        self.pass.as_ref().map_or(0, |pass| pass.rest + pass.waiting.len() as u64)
    }

    /// See [`super::Mailbox::left_unread`].
    pub fn left_unread(&self) -> bool {
        self.failures.values().any(|failed| *failed < ATTEMPTS)
    }

    /// See [`super::Mailbox::file`]. Mails keep their names and flags.
    ///
    /// # Errors
    /// When a folder cannot be made, or a file not be renamed.
    pub async fn file(&mut self, moves: &[(MailId, String)]) -> Result<()> {
        let root = self.settings.path.clone();
        let mut renames = Vec::with_capacity(moves.len());
        for (id, folder) in moves {
            let MailId::File(name) = id else { bail!("A UID is no id in a Maildir") };
            if !is_base_name(name) || !folder_name_is_sound(folder) {
                bail!("A mail's or a folder's name is unusable in a Maildir");
            }
            let known = self.pass.as_ref().and_then(|pass| pass.file_of(name)).cloned();
            renames.push((name.clone(), known, self.subfolder(folder)));
        }
        blocking(move || rename_all(&root, renames)).await
    }

    /// See [`super::Mailbox::probe`].
    ///
    /// # Errors
    /// When the folders cannot be read.
    pub async fn probe(&mut self) -> Result<String> {
        let root = self.settings.path.clone();
        blocking(move || {
            if !root.try_exists()? {
                return Ok("not there yet, will be made".to_owned());
            }
            let mut files = 0_u64;
            each_file(&root, |_, _| files += 1)?;
            Ok(format!("{files} messages"))
        })
        .await
    }
}

/// Whether `name` is a file name without flags, within one folder.
pub fn is_base_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', ':', '\0'])
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    spawn_blocking(work).await.context("The work on the Maildir was broken off")?
}

/// Makes a folder with `new`, `cur` and `tmp`, for nobody else to read.
fn make_folder(path: &Path) -> io::Result<()> {
    for name in ["new", "cur", "tmp"] {
        DirBuilder::new().recursive(true).mode(0o700).create(path.join(name))?;
    }
    Ok(())
}

/// The files of these base names in `new` and `cur`.
fn files_of(root: &Path, names: &HashSet<String>) -> Result<HashMap<String, PathBuf>> {
    let mut files = HashMap::new();
    each_file(root, |name, path| {
        if names.contains(name) {
            files.insert(name.to_owned(), path);
        }
    })?;
    Ok(files)
}

/// Base name and path of the files in `new` and `cur`, in no order. `new` is read first: a mail that another program moves
/// to `cur` meanwhile is then seen twice rather than not at all.
fn each_file(root: &Path, mut see: impl FnMut(&str, PathBuf)) -> Result<()> {
    for folder in ["new", "cur"].map(|name| root.join(name)) {
        let cannot_read = || format!("Cannot read the folder {}", folder.display());
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries.with_context(cannot_read)?,
        };
        for entry in entries {
            let path = entry.with_context(cannot_read)?.path();
            let name = path.file_name().map(OsStr::to_owned);
            match name.as_deref().and_then(OsStr::to_str).and_then(|name| name.split(':').next()) {
                Some(base) if is_base_name(base) => see(base, path),
                Some(_) => {}
                None => warn!("a file in the Maildir has a name that is not UTF-8, and is left alone"),
            }
        }
    }
    Ok(())
}

fn read_window(
    root: &Path,
    bounds: &Bounds,
    pass: &mut Pass,
    failures: &mut HashMap<String, u8>,
) -> Result<Vec<Fetched>> {
    let mut mails = Vec::new();
    let mut bytes = 0;
    let mut read_again = false;
    while mails.len() < bounds.window_mails && bytes < bounds.window_bytes {
        let Some((name, path)) = pass.waiting.pop_first() else {
            if pass.rest == 0 {
                break;
            }
            pass.refill(root)?;
            continue;
        };
        match read_mail(&path, bounds) {
            Ok(Some((size, received, body))) => {
                failures.remove(&name);
                pass.handed_out[0].insert(name.clone(), path);
                if let Body::Whole(read) | Body::Head(read) | Body::TooLarge(read) = &body {
                    bytes += read.len() as u64;
                }
                mails.push(Fetched { id: MailId::File(name), size, received, body });
            }
            Ok(None) => {}
            // Its flags changed, or somebody took it away: the folders tell which. What they tell once more is of the next
            // window, so that others who move many do not have them listed for each.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if read_again && !mails.is_empty() {
                    pass.waiting.insert(name, path);
                    break;
                }
                read_again = true;
                let names = pass.waiting.keys().cloned().chain([name]).collect();
                pass.waiting = files_of(root, &names)?.into_iter().collect();
            }
            // It is left for the next pass, and holds up no other mail.
            Err(error) => {
                let failed = failures.entry(name.clone()).or_default();
                *failed = failed.saturating_add(1);
                warn!(error = %error.kind(), failed = *failed, "a mail in the Maildir cannot be read");
                if *failed >= ATTEMPTS {
                    mails.push(Fetched {
                        id: MailId::File(name),
                        size: 0,
                        received: Timestamp::UNIX_EPOCH,
                        body: Body::Missing,
                    });
                }
            }
        }
    }
    Ok(mails)
}

/// Size, date and body of a mail; `None` when it is no file.
fn read_mail(path: &Path, bounds: &Bounds) -> io::Result<Option<(u64, Timestamp, Body)>> {
    // Before it is opened, because opening a pipe waits for its other end.
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_file() {
        return Ok(None);
    }
    let received = Timestamp::try_from(metadata.modified()?).unwrap_or(Timestamp::UNIX_EPOCH);
    let size = metadata.len();
    let mut bytes = Vec::new();
    let limit = if size > bounds.max_message_size { bounds.fetched_of(size) } else { bounds.read_limit };
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    let body = if size > bounds.max_message_size {
        Body::TooLarge(bytes)
    } else if size > bounds.read_limit {
        Body::Head(bytes)
    } else {
        Body::Whole(bytes)
    };
    Ok(Some((size, received, body)))
}

/// Moves each mail, wherever in `root` it is by now, into `new` or `cur` of its folder.
fn rename_all(root: &Path, renames: Vec<(String, Option<PathBuf>, PathBuf)>) -> Result<()> {
    let mut changed = BTreeSet::new();
    let names: HashSet<String> = renames.iter().map(|(name, ..)| name.clone()).collect();
    let mut files_now = None;
    for (name, known, folder) in renames {
        if !changed.contains(&folder) {
            make_subfolder(&folder)
                .with_context(|| format!("Cannot make the folder {}", folder.display()))?;
            changed.insert(folder.clone());
        }
        if let Some(known) = known
            && rename(&known, &folder, &mut changed)?
        {
            continue;
        }
        let files = match &mut files_now {
            Some(files) => files,
            none => none.insert(files_of(root, &names)?),
        };
        if let Some(path) = files.get(&name) {
            rename(path, &folder, &mut changed)?;
        }
    }
    // After a power cut the mails are either here or there, and what we say is filed stays filed.
    for path in changed {
        File::open(&path)
            .and_then(|folder| folder.sync_all())
            .with_context(|| format!("Cannot sync {}", path.display()))?;
    }
    Ok(())
}

fn make_subfolder(folder: &Path) -> io::Result<()> {
    make_folder(folder)?;
    // Maildir++ tells by this file that a folder belongs to the Maildir above it.
    File::options().append(true).create(true).open(folder.join("maildirfolder")).map(drop)
}

/// Where `name` can go in `folder`: a file of the same name is another mail, which renaming would replace.
fn free_name(folder: &Path, name: &OsStr) -> io::Result<PathBuf> {
    let text = name.to_string_lossy();
    let (base, flags) = text.split_once(':').map_or((&*text, None), |(base, flags)| (base, Some(flags)));
    let mut target = folder.join(name);
    for number in 1.. {
        if !target.try_exists()? {
            break;
        }
        let flags = flags.map_or_else(String::new, |flags| format!(":{flags}"));
        target = folder.join(format!("{base}.{number}{flags}"));
    }
    Ok(target)
}

/// Renames one file into `folder` and answers whether it was there.
fn rename(path: &Path, folder: &Path, changed: &mut BTreeSet<PathBuf>) -> Result<bool> {
    let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else { return Ok(false) };
    let Some(kind) = parent.file_name() else { return Ok(false) };
    let target_folder = folder.join(kind);
    let target = free_name(&target_folder, name)?;
    match fs::rename(path, &target) {
        Ok(()) => {
            changed.insert(parent.to_owned());
            changed.insert(target_folder);
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("Cannot file a mail in {}", folder.display())),
    }
}

#[cfg(test)]
#[path = "maildir_tests.rs"]
mod tests;
