//! What the yearly report counts. Reads only.

use anyhow::{Context, Result};
use jiff::Timestamp;
use sqlx::FromRow;

use super::Store;
use crate::clock::Calendar;
use crate::ladder::Status;
use crate::report::{Open, Request};

#[derive(FromRow)]
struct Row {
    kind: String,
    status: String,
    received_at: i64,
    closed_at: Option<i64>,
    denial: Option<String>,
}

impl Store {
    /// Requests that our server received in `[from, to)`, their days by `calendar`.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn received(
        &self,
        from: Timestamp,
        to: Timestamp,
        calendar: &Calendar,
    ) -> Result<Vec<Request>> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT kind, status, received_at, closed_at,
                (SELECT e.reason FROM request_events e WHERE e.request_id = r.id AND e.event = 'denied'
                    ORDER BY e.id DESC LIMIT 1) AS denial
             FROM requests r WHERE received_at >= ? AND received_at < ? ORDER BY id",
        )
        .bind(from.as_second())
        .bind(to.as_second())
        .fetch_all(&self.read)
        .await
        .context("Cannot read the requests of the report")?;
        let day = |at: i64| anyhow::Ok(calendar.day(Timestamp::from_second(at)?));
        rows.into_iter()
            .map(|row| {
                Ok(Request {
                    kind: row.kind,
                    status: Status::parse(&row.status).context("A stored request has no known status")?,
                    received: day(row.received_at)?,
                    closed: row.closed_at.map(day).transpose()?,
                    denial: row.denial,
                })
            })
            .collect()
    }

    /// Open requests, whenever they came, by when they are due.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn open_by_due_date(&self) -> Result<Vec<Open>> {
        let rows: Vec<(String, String, u32)> = sqlx::query_as(
            "SELECT due_on, kind, count(*) FROM requests
             WHERE status IN ('awaiting_proof', 'approved', 'executing', 'held') GROUP BY due_on, kind ORDER BY due_on, kind",
        )
        .fetch_all(&self.read)
        .await
        .context("Cannot read the open requests")?;
        rows.into_iter()
            .map(|(due, kind, requests)| {
                let due = due.parse().context("A stored request has no sound due date")?;
                Ok(Open { due, kind, requests })
            })
            .collect()
    }
}
