//! Copies of the database, made while it is at work, and whether one is sound.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use sqlx::ConnectOptions;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};

use super::audit::Verified;
use super::{MIGRATIONS, Store, create_new_private, recovery};

/// What is in a backup that was looked through.
#[derive(Debug, Clone)]
pub struct Looked {
    /// The version of its schema.
    pub schema: i64,
    /// Whether that is of an older privacyd; the daemon brings it up to date.
    pub is_older: bool,
    /// What is wrong with it, a sentence each.
    pub faults: Vec<String>,
    /// Mails in its ledger.
    pub mails: i64,
    /// Requests.
    pub requests: i64,
    /// Its event log, where it has one.
    pub chain: Option<Verified>,
}

impl Store {
    /// Copies the database into a new file, as it is at one moment, while others write. Whoever starts with
    /// the copy is in recovery mode: it may have gone on here.
    ///
    /// # Errors
    /// There is such a file, or it cannot be written; then it is taken away again.
    pub async fn backup(&self, file: &Path, now: Timestamp) -> Result<()> {
        // Under its own name there is never a copy without its mark, whenever the process ends.
        let part = beside(file, ".part");
        let _ = std::fs::remove_file(&part);
        create_new_private(&part).with_context(|| format!("Cannot make {}", part.display()))?;
        let done = async {
            self.backup_into(&part, now).await?;
            ensure!(!file.exists(), "There is such a file by now");
            std::fs::rename(&part, file)?;
            sync_folder_of(file)
        };
        let done = done.await;
        if done.is_err() {
            let _ = std::fs::remove_file(&part);
        }
        done.with_context(|| format!("Cannot make the backup {}", file.display()))?;
        // The copy is whole, whatever becomes of this.
        if let Err(error) = self.outdate_copies().await {
            tracing::warn!(
                "the backup is made, but it is not told from the database by its number: {error:#}"
            );
        }
        Ok(())
    }

    async fn backup_into(&self, file: &Path, now: Timestamp) -> Result<()> {
        let name = file.to_str().context("Its name is not UTF-8")?;
        sqlx::query("VACUUM INTO ?").bind(name).execute(&self.write).await?;
        let options = SqliteConnectOptions::new()
            .filename(file)
            .journal_mode(SqliteJournalMode::Delete)
            .synchronous(SqliteSynchronous::Full)
            .disable_statement_logging();
        let mut copy = options.connect().await?;
        let why = format!("restored from the backup of {}", now.strftime("%Y-%m-%dT%H:%M:%SZ"));
        recovery::begin(&mut copy, &why, now.as_second()).await?;
        sqlx::Connection::close(copy).await?;
        // SQLite does not wait for the disk when it vacuums into a file.
        File::open(file)?.sync_all()?;
        Ok(())
    }
}

/// What a restored backup has taken the place of.
#[derive(Debug, Clone)]
pub struct Restored {
    /// What is in the backup.
    pub looked: Looked,
    /// Where the database lies now that was there before, if there was one.
    pub kept: Option<PathBuf>,
}

/// Puts a backup in the place of the database at `database`, which must not be in use: see [`Sole`](super::Sole). What
/// is there is kept under another name. The new one has its owner, and nobody else can read it. Nothing is touched
/// when the backup has faults; it is returned with them.
///
/// # Errors
/// The backup cannot be looked through, or a file cannot be written.
pub async fn restore(file: &Path, database: &Path, now: Timestamp) -> Result<Restored> {
    let looked = look_through(file).await?;
    if !looked.faults.is_empty() {
        return Ok(Restored { looked, kept: None });
    }
    let part = beside(database, ".restored");
    let _ = std::fs::remove_file(&part);
    let copied = copy_private(file, database, &part);
    if copied.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    copied.with_context(|| format!("Cannot copy the backup to {}", part.display()))?;
    let there = database.exists();
    let name = beside(database, &format!(".before-{}", now.strftime("%Y%m%dT%H%M%SZ")));
    ensure!(!name.exists(), "There is a file {} already: try again", name.display());
    // The log belongs to the database before, and would spoil another. It goes after it: a database without its log
    // would be an older one, but a log alone is nothing.
    for (end, is_kept) in [("", true), ("-wal", true), ("-shm", false)] {
        let (from, to) = (beside(database, end), beside(&name, end));
        let done = if is_kept { std::fs::rename(&from, to) } else { std::fs::remove_file(&from) };
        match done {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            done => done.with_context(|| format!("Cannot move {} away", from.display()))?,
        }
    }
    // The lock was made by whoever runs this, and the daemon must be able to take it.
    let owner = std::fs::metadata(&part)?;
    let _ = std::os::unix::fs::chown(super::lock_beside(database), Some(owner.uid()), Some(owner.gid()));
    std::fs::rename(&part, database).with_context(|| format!("Cannot make {}", database.display()))?;
    sync_folder_of(database)?;
    Ok(Restored { looked, kept: there.then_some(name) })
}

/// A copy of `file` at `to`, which must be new, with the owner of `owned`, or of its folder where there is none.
fn copy_private(file: &Path, owned: &Path, to: &Path) -> Result<()> {
    let owner = std::fs::metadata(owned).or_else(|_| std::fs::metadata(folder_of(owned)))?;
    let mut copy = create_new_private(to)?;
    std::os::unix::fs::fchown(&copy, Some(owner.uid()), Some(owner.gid()))?;
    std::io::copy(&mut File::open(file)?, &mut copy)?;
    copy.sync_all()?;
    Ok(())
}

/// The path with something behind its name.
fn beside(file: &Path, end: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_folder_of(file: &Path) -> Result<()> {
    Ok(File::open(folder_of(file))?.sync_all()?)
}

/// Looks through a backup, without changing it.
///
/// # Errors
/// There is none, it cannot be read, it is no database of privacyd's, or it is one at work.
pub async fn look_through(file: &Path) -> Result<Looked> {
    ensure!(file.is_file(), "There is no file {}", file.display());
    ensure!(
        !beside(file, "-wal").exists(),
        "{} is at work, or was not closed: make a backup of it with privacyd backup",
        file.display()
    );
    let options = SqliteConnectOptions::new()
        .filename(file)
        .read_only(true)
        .immutable(true)
        .disable_statement_logging();
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options);
    let pool = pool.await.with_context(|| format!("Cannot open {}", file.display()))?;
    let store =
        Store { write: pool.clone(), read: pool, turns: Default::default(), holds_back: Default::default() };
    let looked = look(&store).await;
    store.close().await;
    looked.with_context(|| format!("{} is no sound database of privacyd", file.display()))
}

async fn look(store: &Store) -> Result<Looked> {
    let mut db = store.read.acquire().await?;
    let mut faults: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check(5)").fetch_all(&mut *db).await?;
    faults.retain(|fault| fault != "ok");
    let (schema, is_older) = schema(&mut db).await?;
    let strays: i64 =
        sqlx::query_scalar("SELECT count(*) FROM pragma_foreign_key_check").fetch_one(&mut *db).await?;
    if strays > 0 {
        faults.push(format!("{strays} rows refer to rows that are not there"));
    }
    let (mails, requests): (i64, i64) =
        sqlx::query_as("SELECT (SELECT count(*) FROM messages), (SELECT count(*) FROM requests)")
            .fetch_one(&mut *db)
            .await?;
    let has_chain: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'event_links')")
            .fetch_one(&mut *db)
            .await?;
    let knows_recoveries: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'recoveries')")
            .fetch_one(&mut *db)
            .await?;
    let is_marked = knows_recoveries
        && sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM recoveries WHERE ended_at IS NULL)")
            .fetch_one(&mut *db)
            .await?;
    if !is_marked {
        faults.push(
            "it does not say that it is a copy, and whoever starts with it would answer at once".to_owned(),
        );
    }
    drop(db);
    let chain = if has_chain { Some(store.verify_chain(None).await?) } else { None };
    faults.extend(chain.iter().filter_map(|chain| chain.damage).map(|damage| format!("event log: {damage}")));
    Ok(Looked { schema, is_older, faults, mails, requests, chain })
}

/// The version of the schema, and whether it is older than ours.
async fn schema(db: &mut SqliteConnection) -> Result<(i64, bool)> {
    let applied: Vec<(i64, bool, Vec<u8>)> =
        sqlx::query_as("SELECT version, success, checksum FROM _sqlx_migrations ORDER BY version")
            .fetch_all(db)
            .await
            .context("It has no schema of ours")?;
    for (version, success, checksum) in &applied {
        let ours = MIGRATIONS.iter().find(|migration| migration.version == *version);
        match ours {
            Some(ours) if *success && *ours.checksum == **checksum => {}
            Some(_) => bail!("Its schema {version} is not ours"),
            None => bail!("A newer privacyd wrote it: its schema is {version}"),
        }
    }
    let schema = applied.last().map(|(version, ..)| *version).context("It has no schema of ours")?;
    Ok((schema, MIGRATIONS.iter().any(|migration| migration.version > schema)))
}
