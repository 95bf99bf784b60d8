//! What corrections are to change: the diff of a request, from the mail that says it with certainty, or from a person who
//! says it in its place, to the end of the request's record; and its application to privacyd's own contacts.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::{Map, Value};
use sqlx::Sqlite;

use super::Store;
use super::clocks::Case;
use super::tasks::Job;
use super::visit::{Batch, Visit};
use crate::correction::Edit;
use crate::sender::Address;
use crate::source::{Outcome, Report};
use crate::text::fold;

impl Store {
    /// What the request of this reference is to change, by field.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn changes(&self, reference: &str) -> Result<Vec<Edit>> {
        changes(&self.read, reference).await
    }
}

impl Visit {
    /// What the request of this reference is to change, by field.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn changes(&mut self, reference: &str) -> Result<Vec<Edit>> {
        changes(&mut *self.tx, reference).await
    }

    /// What privacyd's own contact holds in these fields now, as the old values of changes that a person makes; answers
    /// the names of all its fields.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn fill_in_old(&mut self, subject: &Address, changes: &mut [Edit]) -> Result<BTreeSet<String>> {
        let fields: Option<String> = sqlx::query_scalar("SELECT fields FROM contacts WHERE address = ?")
            .bind(subject.normalised().as_str())
            .fetch_optional(&mut *self.tx)
            .await
            .context("Cannot read a contact")?;
        let Some(fields) = fields else { return Ok(BTreeSet::new()) };
        let fields: Map<String, Value> =
            serde_json::from_str(&fields).context("A stored contact is damaged")?;
        for change in &mut *changes {
            change.old = match fields.get(&change.field) {
                Some(Value::String(text)) => Some(text.clone()),
                Some(Value::Bool(_) | Value::Number(_)) => fields.get(&change.field).map(Value::to_string),
                Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => None,
            };
        }
        Ok(fields.into_iter().map(|(field, _)| field).collect())
    }

    /// Records what a request is to change, as a person says, who has read it for all that it asks. Its history names
    /// the fields alone: it stays when the values are erased.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn set_changes(&mut self, case: &Case, changes: &[Edit]) -> Result<()> {
        let fields: Vec<&str> = changes.iter().map(|change| change.field.as_str()).collect();
        let reason = format!("a person has said what is to be changed: {}", fields.join(", "));
        let mut batch = Batch::default();
        batch.corrections(case.id, changes)?;
        batch.add("UPDATE requests SET by_hand = 0 WHERE id = ?;")?.bind(case.id)?;
        batch.event(case.id, self.now, "person", "changes_set", &reason)?;
        batch.run(&mut self.tx).await.context("Cannot record what is to be changed")
    }

    /// Corrects the contact of a request. Fields that it does not have are not held here; of a value that is not
    /// what the person says it was nobody knows what is meant, and nothing is changed.
    ///
    /// # Errors
    /// The database does not work.
    pub async fn correct(&mut self, job: &Job) -> Result<Report> {
        let failed = |field: &str, why: &str| Report {
            reason: format!("the field {field} {why}: nothing was changed here"),
            ..Report::of(Outcome::Failed)
        };
        let address = job.subject.normalised();
        let fields: Option<String> = sqlx::query_scalar("SELECT fields FROM contacts WHERE address = ?")
            .bind(address.as_str())
            .fetch_optional(&mut *self.tx)
            .await
            .context("Cannot read a contact")?;
        let Some(fields) = fields else { return Ok(Report::of(Outcome::Nothing)) };
        let mut fields: Map<String, Value> =
            serde_json::from_str(&fields).context("A stored contact is damaged")?;
        let mut is_held = false;
        for Edit { field, old, new } in self.changes(&job.reference).await? {
            let Some(value) = fields.get_mut(&field) else { continue };
            let held = match &*value {
                Value::String(text) => text.clone(),
                Value::Null => String::new(),
                Value::Array(_) | Value::Object(_) => return Ok(failed(&field, "holds more than one value")),
                other => other.to_string(),
            };
            let is_other = |old: &String| fold(old.trim()) != fold(held.trim());
            // An order that comes again finds the new value.
            if held != new && old.as_ref().is_some_and(is_other) {
                return Ok(failed(&field, "does not hold what is to be corrected"));
            }
            *value = Value::String(new);
            is_held = true;
        }
        if !is_held {
            return Ok(Report::of(Outcome::Nothing));
        }
        sqlx::query("UPDATE contacts SET fields = ?, updated_at = ? WHERE address = ?")
            .bind(serde_json::to_string(&fields)?)
            .bind(self.now)
            .bind(address.as_str())
            .execute(&mut *self.tx)
            .await
            .context("Cannot correct a contact")?;
        Ok(Report::of(Outcome::Done))
    }
}

impl Batch {
    /// What a request is to change from now on; nothing certain, if there is none.
    pub(super) fn corrections(&mut self, request: i64, changes: &[Edit]) -> Result<&mut Self> {
        self.add("DELETE FROM corrections WHERE request_id = ?;")?.bind(request)?;
        for Edit { field, old, new } in changes {
            self.add("INSERT INTO corrections (request_id, field, old, new) VALUES (?, ?, ?, ?);")?
                .bind(request)?
                .bind(field.clone())?
                .bind(old.clone())?
                .bind(new.clone())?;
        }
        Ok(self)
    }
}

async fn changes<'e>(
    executor: impl sqlx::Executor<'e, Database = Sqlite>,
    reference: &str,
) -> Result<Vec<Edit>> {
    let rows: Vec<(String, Option<String>, String)> = sqlx::query_as(
        "SELECT field, old, new FROM corrections
         WHERE request_id = (SELECT id FROM requests WHERE reference = ?) ORDER BY field",
    )
    .bind(reference)
    .fetch_all(executor)
    .await
    .context("Cannot read what a request is to change")?;
    Ok(rows.into_iter().map(|(field, old, new)| Edit { field, old, new }).collect())
}
