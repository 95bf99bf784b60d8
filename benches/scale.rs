//! How long the large tables take: contacts are imported, a notice is queued to all of them, and the operator's lists
//! are read among many requests. Reports, asserts nothing.
//!
//! `scripts/bench scale [CONTACTS [REQUESTS]]`

use std::io::{Seek, SeekFrom, Write};
use std::time::Instant;

use jiff::Timestamp;
use privacyd::operator::import_from;
use privacyd::operator::notice::queue;
use privacyd::reply::POLICY_CHANGE;
use privacyd::store::Store;
use privacyd::store::lookup::Listed;
use privacyd::store::notices::OpenNotice;
use sqlx::Connection;

/// Requests of all statuses, one in a hundred of them open, with their mail and an event each.
const REQUESTS: &str = "
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
    INSERT INTO messages (id, digest, size, mailbox, validity, mail_id, proof, proof_why, received_at, recorded_at,
        disposition, kind, why, findings, folder, filed)
    SELECT i, CAST(i AS BLOB), 1, 'box', 1, i, 'none', '', i * 60, i * 60, 'requests', 'deletion', '', '[]', 'Deletion', 1
    FROM n";
const OF_THEM: &str = "
    INSERT INTO requests (id, reference, message_id, kind, status, proof_needed, proof_given, words, subject, language,
        confidence, received_at, due_on, due_source, closed_at)
    SELECT id, 'PR-' || id, id, 'deletion', CASE WHEN id % 100 THEN CASE id % 5 WHEN 0 THEN 'completed' WHEN 1 THEN 'denied'
            WHEN 2 THEN 'withdrawn' WHEN 3 THEN 'expired' ELSE 'partly_completed' END
        ELSE CASE id % 400 WHEN 0 THEN 'held' WHEN 100 THEN 'approved' WHEN 200 THEN 'awaiting_proof' ELSE 'executing' END END,
        2, 0, zeroblob(32), 'user' || id || '@example.org', 'en', 1, received_at,
        date(received_at + 2592000, 'unixepoch'), '', iif(id % 100, received_at + 86400, NULL)
    FROM messages";
const EVENTS: &str = "INSERT INTO request_events (request_id, at, actor, event, reason)
    SELECT id, received_at, 'rule', 'received', '' FROM requests";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut numbers = std::env::args().skip(1).filter_map(|word| word.parse().ok());
    let contacts: i64 = numbers.next().unwrap_or(100_000);
    let requests: i64 = numbers.next().unwrap_or(1_000_000);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("privacyd.db");
    let store = Store::open(&path).await?;

    let mut list = tempfile::tempfile()?;
    writeln!(list, "email,name,language")?;
    let mut lines = std::io::BufWriter::new(&list);
    for number in 0..contacts {
        writeln!(lines, "user{number}@example.org,User {number},en")?;
    }
    lines.flush()?;
    drop(lines);
    list.seek(SeekFrom::Start(0))?;
    let begun = Instant::now();
    let done = import_from(&store, &list, |_, _| {}).await?;
    tell(&format!("{} contacts imported", done.new), begun);

    let now = Timestamp::now();
    let OpenNotice::Open(notice) = store.open_notice("scale", POLICY_CHANGE, 100, now).await? else {
        anyhow::bail!("the notice is not opened");
    };
    let begun = Instant::now();
    let people = queue(&store, notice, now, |_| {}).await?;
    tell(&format!("a notice to {people} people queued"), begun);

    // Made by another connection: not what is measured.
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).foreign_keys(false);
    let mut maker = sqlx::SqliteConnection::connect_with(&options).await?;
    sqlx::query(REQUESTS).bind(requests).execute(&mut maker).await?;
    for statement in [OF_THEM, EVENTS] {
        sqlx::query(statement).execute(&mut maker).await?;
    }
    maker.close().await?;
    println!("among {requests} requests:");
    for status in [None, Some("held"), Some("awaiting_proof"), Some("denied"), Some("completed")] {
        let begun = Instant::now();
        let rows = store.requests(status, 100).await?.len();
        tell(&format!("  {rows} listed, status {}", status.unwrap_or("any")), begun);
    }
    let begun = Instant::now();
    let rows = store.list_requests(Listed::Open, None, 100).await?.len();
    tell(&format!("  {rows} listed of what is open"), begun);
    let begun = Instant::now();
    let is_there = store.request(&format!("PR-{}", requests / 2)).await?.is_some();
    tell(&format!("  one shown: {is_there}"), begun);
    Ok(())
}

/// How long that took, and the most memory this process has had so far.
fn tell(what: &str, begun: Instant) {
    let took = begun.elapsed().as_secs_f64() * 1e3;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak =
        line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0) / 1000.0;
    println!("{what:50} {took:10.1} ms, peak memory {peak:.1} MB");
}
