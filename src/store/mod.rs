//! The store: SQLite, and the only place that knows SQL.
//!
//! One connection writes, so no two parts of the daemon ever wait for each other's locks in the
//! middle of a transaction; every transaction takes the write lock when it begins (`BEGIN IMMEDIATE`),
//! since one that reads first and writes later fails outright when another was faster. Readers have
//! connections of their own. `synchronous = FULL`: a commit that a power cut forgets would be a reply
//! sent twice.
//!
//! The rooms: [`visit`] records what mails have caused, [`outbox`] hands replies out and writes down
//! what became of them, [`proof`] knows which earlier requests a mail can speak for,
//! [`bounces`] what came back of our own mail, [`clocks`] by when they are due and who has been warned of it, [`digest`] what a day has brought, [`disclosures`] who has been
//! told what third parties got, [`corrections`] what is to be changed,
//! [`tasks`] what an approved request has to do where, [`hand`] what the operator does with one, [`audit`]
//! chains the events, [`purge`] takes out what is too old, [`dossier`] and [`report`] read for regulators,
//! [`subjects`] holds people's data, [`tombstones`] who was erased, [`notices`] hands out notices to everybody,
//! [`lookup`] answers the operator's questions, [`to_read`] knows the mails that a person must read, [`watch`] whether all is well; [`reconcile`] knows which mail is accounted for,
//! [`canary`] which mail to ourselves has come back, [`recovery`] whether nothing may be done; [`setback`] rights what was dated by a clock that was ahead; [`backup`] copies all of it.

pub mod audit;
pub mod backup;
pub mod bounces;
pub mod canary;
pub mod clocks;
pub mod corrections;
pub mod digest;
pub mod disclosures;
pub mod dossier;
pub mod hand;
pub mod lookup;
pub mod notices;
pub mod outbox;
#[cfg(test)]
mod plans;
pub mod proof;
pub mod purge;
pub mod reconcile;
pub mod recovery;
pub mod report;
pub mod setback;
pub mod subjects;
pub mod tasks;
pub mod to_read;
pub mod tombstones;
pub mod visit;
pub mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, Result};
use sqlx::migrate::MigrateError;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, Sqlite, Transaction};

use crate::mailbox::Cursor;
use crate::random::random;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// The right to be the one daemon on a database, or on a Maildir; gone with the process, however it ends.
#[derive(Debug)]
pub struct Sole {
    _lock: std::fs::File,
}

/// Another process has that right.
#[derive(Debug, thiserror::Error)]
#[error(
    "another privacyd already works on {0}: stop it first (the commands that look into a database work beside it)"
)]
pub struct Taken(String);

/// `status` takes the lock for a moment, to see whether it is free.
const CLAIMS: u32 = 20;
const BETWEEN_CLAIMS: Duration = Duration::from_millis(10);

impl Sole {
    /// Takes the right to the database at `path`, by a lock on a file beside it: two daemons would each
    /// take the other's work in hand for that of a dead one.
    ///
    /// # Errors
    /// [`Taken`], or the lock file cannot be made.
    pub fn claim(path: &Path) -> Result<Self> {
        Self::lock(&lock_beside(path), || format!("the database {}", path.display()))
    }

    /// Takes the right to the Maildir at `path`, by a lock on a file in it: another daemon, with another
    /// database, would answer the same mails once more.
    ///
    /// # Errors
    /// [`Taken`], or the folder or the lock file cannot be made.
    pub fn claim_maildir(path: &Path) -> Result<Self> {
        let mut folder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
        folder
            .recursive(true)
            .create(path)
            .with_context(|| format!("Cannot make the Maildir {}", path.display()))?;
        Self::lock(&path.join("privacyd.lock"), || format!("the Maildir {}", path.display()))
    }

    /// Whether a daemon works on the database at `path`.
    ///
    /// # Errors
    /// The lock file is there and cannot be opened.
    pub fn is_claimed(path: &Path) -> Result<bool> {
        let file = lock_beside(path);
        match std::fs::File::open(&file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).with_context(|| format!("Cannot open {}", file.display())),
            Ok(lock) => Ok(lock.try_lock_shared().is_err()),
        }
    }

    fn lock(file: &Path, what: impl Fn() -> String) -> Result<Self> {
        let lock = create_private(file).with_context(|| format!("Cannot make {}", file.display()))?;
        for claim in 1.. {
            match lock.try_lock() {
                Ok(()) => break,
                Err(std::fs::TryLockError::WouldBlock) if claim < CLAIMS => {
                    std::thread::sleep(BETWEEN_CLAIMS);
                }
                Err(std::fs::TryLockError::WouldBlock) => return Err(Taken(what()).into()),
                Err(std::fs::TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("Cannot lock {}", file.display()));
                }
            }
        }
        Ok(Self { _lock: lock })
    }
}

/// The lock beside the file itself: whoever comes to it by a link must find the same one.
fn lock_beside(database: &Path) -> PathBuf {
    let mut name = real(database).into_os_string();
    name.push(".lock");
    name.into()
}

/// Where a file really lies, or will lie once it is made.
fn real(path: &Path) -> PathBuf {
    let is_missing = match path.canonicalize() {
        Ok(real) => return real,
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (path.read_link(), folder.canonicalize(), path.file_name()) {
        // A link to what is not there yet is followed when it is made.
        (Ok(target), ..) if is_missing => real(&folder.join(target)),
        (_, Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}

/// An open database.
#[derive(Debug, Clone)]
pub struct Store {
    write: SqlitePool,
    read: SqlitePool,
    turns: Arc<Turns>,
    /// Whether letters to the operator alone are due, see [`Store::hold_back`].
    holds_back: Arc<AtomicBool>,
}

/// Connections of the way out that want something of the next transaction.
#[derive(Debug, Default)]
struct Turns {
    waiting: std::sync::Mutex<Vec<outbox::Turn>>,
    /// Held by the one that does it for all.
    leader: tokio::sync::Mutex<()>,
}

impl Store {
    /// Opens the database at `path`, creates it when missing, and brings it up to date. A new file is
    /// readable by its owner alone.
    ///
    /// # Errors
    /// The folder is missing or not writable, the file is no database, or a newer privacyd wrote it.
    pub async fn open(path: &Path) -> Result<Self> {
        let opened = Self::open_file(path).await.map_err(explained);
        opened.with_context(|| format!("Cannot open the database {}", path.display()))
    }

    async fn open_file(path: &Path) -> Result<Self> {
        create_private(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // Erased data must not stay readable in free pages.
            .pragma("secure_delete", "ON")
            .busy_timeout(Duration::from_secs(10))
            .statement_cache_capacity(64)
            .disable_statement_logging();
        let write = SqlitePoolOptions::new()
            .max_connections(1)
            // SQLite ends a transaction itself when the disk is full or fails. The library does not notice,
            // and would begin no other on this connection.
            .after_release(|db, _| {
                Box::pin(async move {
                    db.ping().await?;
                    Ok(!db.is_in_transaction())
                })
            })
            .connect_with(options.clone())
            .await?;
        migrate(&write).await?;
        let read = SqlitePoolOptions::new()
            .max_connections(2)
            .connect_with(options.pragma("query_only", "ON"))
            .await?;
        let store = Self { write, read, turns: Arc::default(), holds_back: Arc::default() };
        store.link_old_events().await?;
        Ok(store)
    }

    /// Closes the database; what was committed is on disk.
    pub async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }

    async fn begin(&self) -> Result<Transaction<'static, Sqlite>> {
        self.write.begin_with("BEGIN IMMEDIATE").await.context("Cannot begin a transaction")
    }

    /// How far `mailbox` has been read; zeros when never.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn cursor(&self, mailbox: &str) -> Result<Cursor> {
        let row: Option<(u32, u32)> =
            sqlx::query_as("SELECT validity, last_uid FROM mailbox_cursors WHERE mailbox = ?")
                .bind(mailbox)
                .fetch_optional(&self.read)
                .await
                .context("Cannot read how far the mailbox has been read")?;
        Ok(row.map_or_else(Cursor::default, |(validity, last_uid)| Cursor { validity, last_uid }))
    }

    /// The secret of this installation for the pseudonyms in its log; made at the first call.
    ///
    /// # Errors
    /// The database cannot be written, or the machine has no randomness.
    pub async fn pseudonym_key(&self) -> Result<[u8; 32]> {
        self.key("pseudonym_key").await
    }

    /// The secret of this installation for the tombstones of erased addresses; made at the first call.
    ///
    /// # Errors
    /// The database cannot be written, or the machine has no randomness.
    pub async fn tombstone_key(&self) -> Result<[u8; 32]> {
        self.key("tombstone_key").await
    }

    async fn key(&self, name: &'static str) -> Result<[u8; 32]> {
        let fresh: [u8; 32] = random()?;
        let key: Vec<u8> = sqlx::query_scalar(
            "INSERT INTO meta (name, value) VALUES (?, ?)
             ON CONFLICT (name) DO UPDATE SET value = value RETURNING value",
        )
        .bind(name)
        .bind(fresh.as_slice())
        .fetch_one(&self.write)
        .await
        .with_context(|| format!("Cannot read the {name} of this installation"))?;
        key.try_into().map_err(|_| anyhow::anyhow!("The {name} of this installation is damaged"))
    }
}

/// Brings the schema up to date. Another process may be at it too, as when somebody looks into a database that the
/// daemon is just making: one of the two fails, is rolled back, and then finds what the other has done.
async fn migrate(database: &SqlitePool) -> Result<(), MigrateError> {
    for _ in 0..20 {
        match MIGRATIONS.run(database).await {
            Err(MigrateError::ExecuteMigration(..)) => tokio::time::sleep(Duration::from_millis(100)).await,
            done => return done,
        }
    }
    MIGRATIONS.run(database).await
}

/// The error, with what SQLite does not say: "disk I/O error" is also what it calls a disk that has no room for
/// its side files.
fn explained(error: anyhow::Error) -> anyhow::Error {
    const IO_ERROR: i32 = 10; // SQLITE_IOERR; further bits say where
    let is_io_error = error.chain().any(|cause| {
        let cause = cause.downcast_ref::<sqlx::Error>().and_then(sqlx::Error::as_database_error);
        let code = cause.and_then(|cause| cause.code()?.parse::<i32>().ok());
        code.is_some_and(|code| code & 0xff == IO_ERROR)
    });
    if is_io_error { error.context("its disk is full, or does not work") } else { error }
}

/// Opens the file, and creates it with mode 0600 where there is none; SQLite gives its side files the same.
fn create_private(path: &Path) -> std::io::Result<std::fs::File> {
    private().create(true).open(path)
}

/// Creates the file with mode 0600; one that is there is an error.
fn create_new_private(path: &Path) -> std::io::Result<std::fs::File> {
    private().create_new(true).open(path)
}

fn private() -> std::fs::OpenOptions {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).truncate(false);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn one_database_has_one_lock_by_whatever_links_it_is_reached() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["there", "links"] {
            std::fs::create_dir(path(name)).unwrap();
        }
        symlink(path("there"), path("folder")).unwrap();
        symlink("../there/privacyd.db", path("links/relative.db")).unwrap();
        symlink("relative.db", path("links/twice.db")).unwrap();
        symlink("circle.db", path("links/circle.db")).unwrap();
        let ways =
            ["there/privacyd.db", "folder/privacyd.db", "links/relative.db", "links/twice.db"].map(path);
        // Before there is a database, and after.
        for _ in 0..2 {
            for way in &ways {
                let sole = Sole::claim(way).unwrap();
                for other in &ways {
                    assert!(Sole::is_claimed(other).unwrap(), "{} by {}", way.display(), other.display());
                    assert!(Sole::claim(other).unwrap_err().is::<Taken>());
                }
                drop(sole);
            }
            std::fs::write(path("there/privacyd.db"), "").unwrap();
        }
        assert!(path("there/privacyd.db.lock").exists() && !path("links/relative.db.lock").exists());
        // What leads nowhere is no reason to hang.
        assert!(!Sole::is_claimed(&path("links/circle.db")).unwrap());
        assert!(!Sole::is_claimed(&path("nowhere/privacyd.db")).unwrap());
        assert!(Sole::claim(&path("nowhere/privacyd.db")).is_err());
    }
}
