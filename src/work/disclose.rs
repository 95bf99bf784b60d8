//! What was passed on to third parties for their direct marketing (Cal. Civ. Code 1798.83): told from the
//! configuration to whoever is known to ask, once in a calendar year.
//!
//! The law owes the answer for the year before, once a year. Who asks a second time is referred to the first
//! answer; who asks on has a reason, and a person looks for it. A year that the configuration does not name is
//! not one in which nothing was passed on: it waits for a person.

use anyhow::Result;
use jiff::Timestamp;
use tracing::info;

use super::Work;
use crate::config::DisclosedYear;
use crate::ladder::Status;
use crate::reply::{DISCLOSED, DISCLOSED_BEFORE, Disclosed, More, Outgoing};
use crate::request::Action;
use crate::store::disclosures::Before;
use crate::store::tasks::Job;

impl Work {
    /// Answers the approved requests whose year is known; answers how many were closed.
    pub(super) async fn disclose(&self, now: Timestamp) -> Result<u64> {
        let types = self.intake.table.types.iter().filter(|kind| kind.action == Action::Disclose);
        let kinds: Vec<&str> = types.map(|kind| kind.name.as_str()).collect();
        let mut closed = 0;
        for disclosed in &self.disclosure.year {
            let asked = self.intake.policy.clock.calendar().year(disclosed.year.saturating_add(1));
            while self.intake.store.has_disclosures(&kinds, asked).await? {
                let mut visit = self.intake.store.visit(now).await?;
                let Some((job, before)) = visit.disclosure(&kinds, asked).await? else { break };
                let (status, reason, reply) = self.disclosed(&job, disclosed, &before, now)?;
                visit.end_work(&job, status, &reason, reply.as_ref()).await?;
                visit.close().await?;
                closed += u64::from(status.is_closed());
                info!(request.id = job.reference, request.type = job.kind, outcome = status.name(), reason, "third parties told");
            }
        }
        if closed > 0 {
            self.intake.queued.notify_one();
        }
        Ok(closed)
    }

    fn disclosed(
        &self,
        job: &Job,
        disclosed: &DisclosedYear,
        before: &Before,
        now: Timestamp,
    ) -> Result<(Status, String, Option<Outgoing>)> {
        let DisclosedYear { year, categories, third_party } = disclosed;
        let (template, first, reason) = match before.told.as_slice() {
            [first, _, ..] if !before.is_by_hand => {
                let why = format!("asked again in the same year, after {first}: a person must look");
                return Ok((Status::Held, why, None));
            }
            [first] if !before.is_by_hand => {
                (DISCLOSED_BEFORE, first.as_str(), format!("told in the same year already: {first}"))
            }
            _ => (DISCLOSED, "", format!("told what third parties got in {year}")),
        };
        let told = Disclosed { year: *year, categories, third_parties: third_party, before: first };
        let reply = self.tell(job, template, Status::Completed, More::Disclosed(told), now)?;
        Ok(match reply {
            Some(reply) => (Status::Completed, reason, Some(reply)),
            None => (Status::Held, "the reply could not be written: a person must tell".to_owned(), None),
        })
    }
}
