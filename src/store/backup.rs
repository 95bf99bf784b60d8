//! Copies of the database, made while it is at work, and whether one is sound.

use std::fs::File;
use std::path::Path;

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
        create_new_private(file).with_context(|| format!("Cannot make {}", file.display()))?;
        let done = self.backup_into(file, now).await;
        if done.is_err() {
            let _ = std::fs::remove_file(file);
        }
        done.with_context(|| format!("Cannot make the backup {}", file.display()))
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
        recovery::begin(&mut copy, &format!("restored from the backup of {now}"), now).await?;
        sqlx::Connection::close(copy).await?;
        // SQLite does not wait for the disk when it vacuums into a file.
        File::open(file)?.sync_all()?;
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(())
    }
}

/// Looks through a backup, without changing it.
///
/// # Errors
/// There is none, it cannot be read, it is no database of privacyd's, or it is one at work.
pub async fn look_through(file: &Path) -> Result<Looked> {
    ensure!(file.is_file(), "There is no file {}", file.display());
    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    ensure!(
        !Path::new(&log).exists(),
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
