//! All that the database holds about one request, as JSON, whatever columns there are. Reads only.

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::{Map, Value};
use sqlx::sqlite::SqliteRow;
use sqlx::{Column, Row, Sqlite, Transaction, TypeInfo, ValueRef};

use super::Store;

/// One request and all that hangs on it. Times are RFC 3339, bytes hexadecimal.
#[derive(Debug)]
pub struct Dossier {
    /// Its row.
    pub request: Value,
    /// The other requests of the same mail.
    pub linked: Vec<Value>,
    /// The ledger's row of that mail.
    pub message: Value,
    /// The ledger's rows of the mails that its history names: what proved it, took it back or reported upon a reply.
    pub further: Vec<Value>,
    /// What was owed until when.
    pub deadlines: Vec<Value>,
    /// To whom codes went; not the codes.
    pub challenges: Vec<Value>,
    /// What a correction changes.
    pub changes: Vec<Value>,
    /// What was done in which system; not the data that were collected.
    pub tasks: Vec<Value>,
    /// Its history, each event with its link in the chain.
    pub events: Vec<Value>,
    /// Replies to the same mail or about the request, and their bytes unless purged.
    pub replies: Vec<(Value, Vec<u8>)>,
}

impl Store {
    /// All about the request of this reference, in one view of the database.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn dossier(&self, reference: &str) -> Result<Option<Dossier>> {
        let mut view = self.read.begin().await.context("Cannot begin to read")?;
        let found: Option<(i64, i64)> =
            sqlx::query_as("SELECT id, message_id FROM requests WHERE reference = ?")
                .bind(reference)
                .fetch_optional(&mut *view)
                .await
                .context("Cannot read the request")?;
        let Some((request, message)) = found else { return Ok(None) };
        let mut view = View { tx: view, request, message, reference };
        let first = |mut rows: Vec<SqliteRow>| rows.pop().map_or(Ok(Value::Null), |row| json_of(&row));
        let replies =
            view.all("SELECT * FROM outbox WHERE message_id = $2 OR reference = $3 ORDER BY id").await?;
        Ok(Some(Dossier {
            request: first(view.all("SELECT * FROM requests WHERE id = $1").await?)?,
            linked: values(view.all("SELECT * FROM requests WHERE message_id = $2 AND id <> $1 ORDER BY id").await?)?,
            message: first(view.all("SELECT * FROM messages WHERE id = $2").await?)?,
            // A person may write what they like into a note.
            further: values(
                view.all("SELECT * FROM messages WHERE id <> $2 AND id IN (
                        SELECT CAST(substr(reason, instr(reason, '(message ') + 9) AS INTEGER) FROM request_events
                        WHERE request_id = $1 AND actor <> 'person' AND instr(reason, '(message ') > 0) ORDER BY id")
                .await?,
            )?,
            deadlines: values(view.all("SELECT * FROM deadlines WHERE request_id = $1 ORDER BY duty").await?)?,
            challenges: values(
                view.all("SELECT id, address, sent_at FROM challenges WHERE request_id = $1 ORDER BY id").await?,
            )?,
            changes: values(
                view.all("SELECT field, old, new FROM corrections WHERE request_id = $1 ORDER BY field").await?,
            )?,
            tasks: values(
                view.all("SELECT id, source, state, attempts, next_attempt_at, outcome, length(data) AS data_bytes, updated_at
                     FROM tasks WHERE request_id = $1 ORDER BY id")
                .await?,
            )?,
            events: values(
                view.all("SELECT e.id, e.request_id, e.at, e.actor, e.event, e.reason, l.content AS content_hash,
                        (SELECT p.hash FROM event_links p WHERE p.event_id < e.id ORDER BY p.event_id DESC LIMIT 1)
                            AS previous_hash, l.hash
                     FROM request_events e LEFT JOIN event_links l ON l.event_id = e.id
                     WHERE e.request_id = $1 ORDER BY e.id")
                .await?,
            )?,
            replies: replies.iter().map(reply).collect::<Result<_>>()?,
        }))
    }
}

/// One look at the database, for one request.
struct View<'a> {
    tx: Transaction<'static, Sqlite>,
    request: i64,
    message: i64,
    reference: &'a str,
}

impl View<'_> {
    /// The rows that a statement selects by request ($1), message ($2) or reference ($3).
    async fn all(&mut self, statement: &'static str) -> Result<Vec<SqliteRow>> {
        sqlx::query(statement)
            .bind(self.request)
            .bind(self.message)
            .bind(self.reference)
            .fetch_all(&mut *self.tx)
            .await
            .context("Cannot read what is known of the request")
    }
}

fn values(rows: Vec<SqliteRow>) -> Result<Vec<Value>> {
    rows.iter().map(json_of).collect()
}

fn reply(row: &SqliteRow) -> Result<(Value, Vec<u8>)> {
    let no_bytes = "A stored reply has no bytes";
    // A code that may still be used is nobody's business.
    let kept: Option<Vec<u8>> = row.try_get("kept").context(no_bytes)?;
    let raw = match kept {
        Some(kept) => kept,
        None => row.try_get("raw").context(no_bytes)?,
    };
    let mut value = json_of(row)?;
    if let Some(fields) = value.as_object_mut() {
        fields.remove("raw");
        fields.remove("kept");
    }
    Ok((value, raw))
}

/// A row as an object, column by column.
fn json_of(row: &SqliteRow) -> Result<Value> {
    let mut fields = Map::new();
    for (index, column) in row.columns().iter().enumerate() {
        let raw = row.try_get_raw(index)?;
        let name = column.name();
        let value = match raw.type_info().name() {
            _ if raw.is_null() => Value::Null,
            "INTEGER" if is_time(name) => Timestamp::from_second(row.try_get(index)?)?.to_string().into(),
            "INTEGER" => row.try_get::<i64, _>(index)?.into(),
            "REAL" => row.try_get::<f64, _>(index)?.into(),
            "BLOB" => super::visit::hex(&row.try_get::<Vec<u8>, _>(index)?).into(),
            _ if name == "findings" => serde_json::from_str(&row.try_get::<String, _>(index)?)?,
            _ => row.try_get::<String, _>(index)?.into(),
        };
        fields.insert(name.to_owned(), value);
    }
    Ok(Value::Object(fields))
}

fn is_time(column: &str) -> bool {
    column == "at" || column == "proof_until" || column.ends_with("_at")
}
