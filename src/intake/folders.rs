//! What a person does by moving a mail: one that they put into the folder of a type asks for that, as if they
//! had said `requests reclassify`; or `requests release`, where it was held and is of that type already.
//!
//! Only mails of the ledger count, known by their bytes: what else lies in a folder is left alone. Mail that a
//! machine wrote, or that is about an earlier request, opens nothing, wherever it is put.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use jiff::Timestamp;
use tracing::{info, warn};

use super::{Intake, identity_of};
use crate::decide::Shelf;
use crate::ladder::Status;
use crate::mailbox::{Body, Fetched, Found, Mailbox, Mark};
use crate::operator::hand::{self, NotDone, Tools};
use crate::store::hand::Opened;
use crate::store::visit::Visit;

/// Added to the history of a request.
const HOW: &str = ", by folder";

impl Intake {
    /// Looks for mail that a person has put into the folder of a type; answers how many requests that has
    /// changed. The last thing of a pass.
    ///
    /// # Errors
    /// The mailbox or the store does not work; what was not committed is found again.
    pub(super) async fn by_folder(&self, mailbox: &mut Mailbox, now: Timestamp) -> Result<u64> {
        let name = mailbox.name().to_owned();
        let kinds = self.kinds_by_folder();
        let mut marks = self.store.folder_marks(&name).await?;
        let folders: Vec<(String, Option<Mark>)> =
            kinds.keys().map(|folder| (folder.clone(), marks.remove(folder))).collect();
        let found = mailbox.look_into(&folders).await?;
        let mut changed = 0;
        for Found { folder, mark, mails } in found {
            let Some(kind) = kinds.get(&folder) else { continue };
            let mut visit = self.store.visit(now).await?;
            let is_recovering = visit.is_recovering().await?;
            let mut here = 0;
            for mail in &mails {
                here += u64::from(self.put(&mut visit, mail, &folder, kind, is_recovering, now).await?);
            }
            visit.mark_folder(&name, &folder, mark).await?;
            visit.close().await?;
            changed += here;
            if here > 0 {
                self.queued.notify_one();
            }
        }
        Ok(changed)
    }

    /// What it takes to do something with a request by hand.
    pub fn tools(&self) -> Tools<'_> {
        Tools {
            table: &self.table,
            replies: &self.replies,
            clock: &self.policy.clock,
            proof: &self.proof,
            hold_column: &self.hold_column,
            withheld: &self.withheld,
        }
    }

    /// The type of every folder that one type alone is filed in.
    fn kinds_by_folder(&self) -> BTreeMap<String, String> {
        let mut kinds: BTreeMap<String, Option<String>> = BTreeMap::new();
        for kind in &self.table.types {
            let folder = self.folder(&Shelf::Kind(kind.name.clone()));
            kinds.entry(folder).and_modify(|several| *several = None).or_insert(Some(kind.name.clone()));
        }
        for shelf in [Shelf::Held, Shelf::Automatic, Shelf::Unreadable] {
            kinds.remove(&self.folder(&shelf));
        }
        kinds.into_iter().filter_map(|(folder, kind)| Some((folder, kind?))).collect()
    }

    /// One mail that lies in a folder of this type; answers whether that has changed a request.
    async fn put(
        &self,
        visit: &mut Visit,
        mail: &Fetched,
        folder: &str,
        kind: &str,
        is_recovering: bool,
        now: Timestamp,
    ) -> Result<bool> {
        let is_read = matches!(&mail.body, Body::Whole(bytes) | Body::Head(bytes) if !bytes.is_empty());
        if !is_read {
            return Ok(false);
        }
        let identity = identity_of(mail, folder);
        let known = visit.known(&[&identity]).await?.pop().flatten();
        let Some(known) = known.filter(|known| known.same_mail && known.folder != folder) else {
            return Ok(false);
        };
        let opened = visit.moved(known.id, folder).await?;
        // What was done about it by then is not known here.
        if is_recovering {
            let references: Vec<&str> =
                opened.requests.iter().map(|(reference, ..)| reference.as_str()).collect();
            let references = references.join(" ");
            warn!(
                message = known.id,
                request.id = references,
                folder,
                "a mail was moved by hand while a recovery lasts, and nothing is done: use requests reclassify after it"
            );
            return Ok(false);
        }
        let Some(reference) = self.meant(visit, known.id, &opened, kind).await? else {
            info!(message = known.id, folder, "a mail was moved by hand: no request of its own can change");
            return Ok(false);
        };
        let grip = visit.grip(&reference).await?.context("A request of the ledger is gone")?;
        let (done, what) = if grip.case.kind == kind {
            (hand::release(visit, self.tools(), &grip, HOW, now).await, "released by folder")
        } else {
            (hand::reclassify(visit, self.tools(), &grip, kind, HOW, now).await, "reclassified by folder")
        };
        match done {
            Ok(done) => {
                let (changed, status) = (done.changed, done.status);
                info!(request.id = reference, request.type = kind, outcome = status, changed, what);
                Ok(changed)
            }
            Err(NotDone::Broken(error)) => Err(error),
            Err(NotDone::Refused(refusal)) => {
                warn!(
                    request.id = reference,
                    folder, "a mail was moved by hand, and its request stays as it is: {refusal}"
                );
                Ok(false)
            }
        }
    }

    /// The request that is meant by moving its mail: the one of this type that waits for a person and of which
    /// nobody was asked anything; or the only one of it that is open, or the only one of these that waits for a
    /// person. None is where one of this type is closed. Where nothing was found in a mail, one is opened.
    async fn meant(
        &self,
        visit: &mut Visit,
        message: i64,
        opened: &Opened,
        kind: &str,
    ) -> Result<Option<String>> {
        if opened.requests.is_empty() {
            let is_a_letter = ["none", "review"].contains(&opened.disposition.as_str());
            if !is_a_letter || opened.is_purged || !opened.kind.is_empty() {
                return Ok(None);
            }
            return hand::adopt(visit, &self.policy.clock, message, opened.received).await.map(Some);
        }
        for (reference, known, status) in &opened.requests {
            if known != kind {
                continue;
            }
            // It is done; to begin another one of its type would do and tell it twice.
            if status.is_closed() {
                return Ok(None);
            }
            let is_still_to_begin =
                *status == Status::Held && visit.grip(reference).await?.is_some_and(|grip| grip.letters == 0);
            return Ok(is_still_to_begin.then(|| reference.clone()));
        }
        let only = |is_it: &dyn Fn(Status) -> bool| {
            let mut those = opened.requests.iter().filter(|(_, _, status)| is_it(*status));
            those.next().filter(|_| those.next().is_none()).map(|(reference, ..)| reference.clone())
        };
        let open = only(&|status| !status.is_closed());
        Ok(open.or_else(|| only(&|status| status == Status::Held)))
    }
}
