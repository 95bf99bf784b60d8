//! The corridor on a real SQLite database, with a test's own mail and clock.

#![allow(dead_code, reason = "each test uses its own part")]

use std::path::PathBuf;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use privacyd::config::Config;
use privacyd::daemon::Daemon;
use privacyd::intake::Intake;
use privacyd::mailbox::{Body, Fetched, MailId, Window};
use privacyd::sender::Address;
use privacyd::store::Store;
use privacyd::work::Work;
use sha2::Sha256;
use sqlx::Connection;

/// One installation with a Maildir that nothing is in, and a folder for replies.
pub struct House {
    folder: tempfile::TempDir,
    config: Config,
    /// Its way in.
    pub intake: Arc<Intake>,
    /// Its work.
    pub work: Work,
    /// Its database.
    pub store: Store,
}

impl House {
    pub async fn new() -> Self {
        Self::with("").await
    }

    pub async fn with(keys: &str) -> Self {
        Self::of(&["privacy@example.com"], keys).await
    }

    /// One whose own addresses are `own`; the first of them answers.
    pub async fn of(own: &[&str], keys: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = Self::text(own, &folder, keys);
        Self::open(folder, Config::parse("test", &text).unwrap()).await
    }

    fn text(own: &[&str], folder: &tempfile::TempDir, keys: &str) -> String {
        let path = |name: &str| folder.path().join(name).display().to_string();
        format!(
            "database = {:?}\nown_addresses = {own:?}\n[company]\nname = \"Example\"\n\
             [[maildir]]\nname = \"box\"\npath = {:?}\n[directory]\npath = {:?}\n{keys}",
            path("privacyd.db"),
            path("Maildir"),
            path("replies")
        )
    }

    async fn open(folder: tempfile::TempDir, config: Config) -> Self {
        let daemon = Daemon::build(&config).await.unwrap();
        let store = daemon.intake.store.clone();
        Self { folder, config, intake: daemon.intake, work: daemon.work, store }
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The same installation, after its process has ended and begun anew.
    pub async fn restarted(self) -> Self {
        let config = self.config.clone();
        self.begun_anew(config).await
    }

    /// The same, with other sections in its configuration.
    pub async fn reconfigured(self, keys: &str) -> Self {
        let text = Self::text(&["privacy@example.com"], &self.folder, keys);
        self.begun_anew(Config::parse("test", &text).unwrap()).await
    }

    async fn begun_anew(self, config: Config) -> Self {
        let Self { folder, intake, work, store, .. } = self;
        drop((intake, work));
        store.close().await;
        Self::open(folder, config).await
    }

    /// Whether each of these addresses is suppressed.
    pub async fn suppressed<const N: usize>(&self, addresses: [&str; N]) -> [bool; N] {
        let mut found = [false; N];
        for (found, address) in found.iter_mut().zip(addresses) {
            *found = !self.store.suppressed(&address.parse().unwrap()).await.unwrap().is_empty();
        }
        found
    }

    /// Recipient and template of every reply, in the order they were queued.
    pub async fn replies(&self) -> Vec<(String, String)> {
        let mut replies = self.store.replies(None, 1000).await.unwrap();
        replies.sort_by_key(|reply| reply.id);
        replies.into_iter().map(|reply| (reply.recipient, reply.template)).collect()
    }

    /// Disposition and reason of the latest mail.
    pub async fn latest(&self) -> (String, String) {
        let message = self.store.messages(None, 1).await.unwrap().remove(0);
        (message.disposition, message.why)
    }

    pub async fn receive(&self, validity: u32, mails: Vec<(u32, Vec<u8>)>) -> Vec<(MailId, String)> {
        self.receive_at(Timestamp::now(), validity, mails).await
    }

    /// The same, at a time of the test's own.
    pub async fn receive_at(
        &self,
        now: Timestamp,
        validity: u32,
        mails: Vec<(u32, Vec<u8>)>,
    ) -> Vec<(MailId, String)> {
        self.intake.receive("box", window(validity, mails), now).await.unwrap()
    }

    /// Every reply that was ever queued, in order: recipient, template and the whole message.
    pub async fn letters(&self) -> Vec<(String, String, String)> {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.database());
        let mut second = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        let rows: Vec<(String, String, Vec<u8>)> =
            sqlx::query_as("SELECT recipient, template, raw FROM outbox ORDER BY id")
                .fetch_all(&mut second)
                .await
                .unwrap();
        rows.into_iter().map(|(to, template, raw)| (to, template, String::from_utf8(raw).unwrap())).collect()
    }

    /// Receives one whole mail, at `now` by its server's clock and ours.
    pub async fn deliver(&self, now: Timestamp, uid: u32, bytes: Vec<u8>) {
        let mut window = window(1, vec![(uid, bytes)]);
        window.mails.iter_mut().for_each(|mail| mail.received = now);
        self.intake.receive("box", window, now).await.unwrap();
    }

    /// Every reply that was ever queued behind the first `known`, in order.
    pub async fn queued(&self, known: usize) -> Vec<Queued> {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.database());
        let mut second = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query_as(
            "SELECT recipient, template, CAST(raw AS TEXT) AS raw, o.rfc_message_id, created_at, m.mail_id AS cause
             FROM outbox o JOIN messages m ON m.id = o.message_id ORDER BY o.id LIMIT -1 OFFSET ?",
        )
        .bind(i64::try_from(known).unwrap())
        .fetch_all(&mut second)
        .await
        .unwrap()
    }

    /// How many requests have been approved that wanted a word from the address they concern.
    pub async fn approved(&self) -> usize {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.database());
        let mut second = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        let count: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM requests WHERE status = 'approved' AND proof_needed > 1",
        )
        .fetch_one(&mut second)
        .await
        .unwrap();
        usize::try_from(count).unwrap()
    }

    /// The one value that a query answers.
    pub async fn blob(&self, query: &'static str) -> Vec<u8> {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.database());
        let mut second = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query_scalar(query).fetch_one(&mut second).await.unwrap()
    }

    /// Leaves the tombstone of somebody who was erased at `at`.
    pub async fn bury(&self, address: &Address, at: Timestamp) {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.store.tombstone_key().await.unwrap()).unwrap();
        mac.update(address.normalised().as_str().as_bytes());
        self.store.take_tombstones(&[(mac.finalize().into_bytes().into(), at.as_second())]).await.unwrap();
    }

    pub fn database(&self) -> PathBuf {
        self.folder.path().join("privacyd.db")
    }

    pub async fn execute(&self, statement: &'static str) {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.database());
        let mut second = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query(statement).execute(&mut second).await.unwrap();
        second.close().await.unwrap();
    }

    /// What somebody does who is not privacyd: statements without the checks of foreign keys.
    pub async fn tamper(&self, statements: &'static str) {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.database()).foreign_keys(false);
        let mut second = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql(statements).execute(&mut second).await.unwrap();
        second.close().await.unwrap();
    }

    /// A statement that may be refused, with the database's reason.
    pub async fn try_execute(&self, statement: &'static str) -> Result<(), String> {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.database());
        let mut second = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        let done = sqlx::query(statement).execute(&mut second).await;
        done.map(drop).map_err(|error| error.to_string())
    }

    /// The one number that a query answers.
    pub async fn scalar(&self, query: &'static str) -> i64 {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.database());
        let mut second = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query_scalar(query).fetch_one(&mut second).await.unwrap()
    }

    pub async fn counts(&self) -> (usize, usize, usize) {
        let messages = self.store.messages(None, 1000).await.unwrap().len();
        let requests = self.store.requests(None, 1000).await.unwrap().len();
        (messages, requests, self.store.replies(None, 1000).await.unwrap().len())
    }
}

/// A reply in the queue.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Queued {
    pub recipient: String,
    pub template: String,
    pub raw: String,
    pub rfc_message_id: String,
    pub created_at: i64,
    /// UID of the mail that it answers.
    pub cause: String,
}

/// Whole mails, received on 23 November 2026, 10:00 UTC.
pub fn window(validity: u32, mails: Vec<(u32, Vec<u8>)>) -> Window {
    let received: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
    let mails = mails.into_iter().map(|(uid, bytes)| Fetched {
        id: MailId::Uid(uid),
        size: bytes.len() as u64,
        received,
        body: Body::Whole(bytes),
    });
    Window { validity, mails: mails.collect() }
}

/// A letter to privacy@example.com.
pub fn letter(from: &str, words: &str) -> Vec<u8> {
    format!(
        "From: Zebedee Quux <{from}>\nTo: privacy@example.com\nSubject: Xylophone\nMessage-ID: <{from}>\n\
         Date: Mon, 23 Nov 2026 10:00:00 +0000\n\n{words}\n"
    )
    .into_bytes()
}
