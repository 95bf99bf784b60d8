//! How SQLite goes about a query, for tests: in a database with rows, since a plan depends on what there is.

use sqlx::query::QueryAs;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Sqlite};

use super::Store;

/// Nine thousand requests, a thousand of each status, with a question each; and a task for every tenth.
const ROWS: &str = "
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000)
    INSERT INTO messages (id, digest, size, mailbox, validity, mail_id, proof, proof_why, received_at,
        recorded_at, disposition, kind, why, findings, folder)
    SELECT i, CAST(i AS BLOB), 1, 'box', 1, i, 'none', '', i, i, 'requests', '', '', '[]', '' FROM n;
    INSERT INTO requests (id, reference, message_id, kind, status, proof_needed, proof_given, words, subject, language,
        confidence, received_at, due_on, due_source, closed_at)
    SELECT m.id, m.id, m.id, 'deletion', s.value, 2, 0, zeroblob(32), m.id || '@example.org', 'en', 1, m.id,
        date(m.id * 86400, 'unixepoch'), '', iif(s.key < 4, NULL, m.id)
    FROM messages m JOIN json_each('[\"awaiting_proof\", \"approved\", \"executing\", \"held\", \"completed\",
        \"partly_completed\", \"denied\", \"withdrawn\", \"expired\"]') s ON s.key = m.id % 9;
    INSERT INTO outbox (message_id, reference, proven, recipient, template, language, rfc_message_id, in_thread, raw,
        state, created_at, next_attempt_at, updated_at)
    SELECT id, id, 0, id || '@example.org', 'confirm', 'en', id, 1, x'00', 'sent', id, id, id FROM messages;
    INSERT INTO tasks (request_id, source, state, next_attempt_at, updated_at)
    SELECT id, 'local', iif(id % 20, 'done', 'waiting'), id, id FROM requests WHERE id % 10 = 0;";

impl Store {
    /// A store with many rows, and with the statistics that SQLite may have of them.
    pub(super) async fn filled(folder: &tempfile::TempDir, statistics: bool) -> Self {
        let store = Self::open(&folder.path().join(format!("{statistics}.db"))).await.unwrap();
        sqlx::raw_sql(ROWS).execute(&store.write).await.unwrap();
        if statistics {
            sqlx::raw_sql("ANALYZE").execute(&store.write).await.unwrap();
            // A connection reads the statistics when it is opened.
            store.close().await;
            return Self::open(&folder.path().join(format!("{statistics}.db"))).await.unwrap();
        }
        store
    }

    /// The steps of a query, with the arguments that `bind` gives it.
    pub(super) async fn plan(
        &self,
        query: &str,
        bind: impl FnOnce(Explain<'static>) -> Explain<'static>,
    ) -> Vec<String> {
        let explain = sqlx::query_as(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {query}")));
        let steps = bind(explain).fetch_all(&self.read).await.unwrap();
        steps.into_iter().map(|(_, _, _, step)| step).collect()
    }
}

/// A query for a plan.
pub(super) type Explain<'q> = QueryAs<'q, Sqlite, (i64, i64, i64, String), SqliteArguments>;
