//! What other people have put into the folders that mail is filed in: found by UIDNEXT, so that a look that
//! finds nothing costs one command for each folder, however full it is.
//!
//! What we have filed there ourselves is told apart by COPYUID (RFC 4315 section 3, RFC 6851 section 4.3) and
//! not fetched; where a server says no COPYUID, or after a restart, it is fetched once and known by its bytes.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use anyhow::{Context as _, Result, bail};
use imap_proto::rfc4315::UidSetMember;
use imap_proto::{MailboxDatum, Response, ResponseCode, StatusAttribute};
use tracing::{info, warn};

use super::super::{Found, Mark};
use super::{ATTEMPTS, Body, Filing, Imap, Listed, Pass, SMALL, Session, quoted};

/// Mails that are looked at in one folder in one pass, at the most.
const MOST: usize = 100;

/// The UIDs that our own filing has made, by folder, with its UIDVALIDITY.
#[derive(Debug, Default)]
pub struct Filed(HashMap<String, (u32, Vec<RangeInclusive<u32>>)>);

/// What a COPYUID said.
pub struct Copied {
    validity: u32,
    first: u32,
    to: Vec<RangeInclusive<u32>>,
}

/// The COPYUID in a response, if there is one: tagged after COPY, untagged after MOVE.
pub fn copied(response: &Response<'_>) -> Option<Copied> {
    let (Response::Data { outcome, .. } | Response::Done { outcome, .. }) = response else { return None };
    let Some(ResponseCode::CopyUid(validity, from, to)) = &outcome.code else { return None };
    let first = *range(from.first()?).start();
    Some(Copied { validity: *validity, first, to: to.iter().map(range).collect() })
}

fn range(member: &UidSetMember) -> RangeInclusive<u32> {
    match member {
        UidSetMember::UidRange(range) => *range.start().min(range.end())..=*range.start().max(range.end()),
        UidSetMember::Uid(uid) => *uid..=*uid,
    }
}

impl Filed {
    /// Keeps what was said of some of these commands.
    pub(super) fn note(&mut self, filings: &[Filing<'_>], copied: Vec<Copied>) {
        for Copied { validity, first, to } in copied {
            let Some(filing) = filings.iter().find(|filing| filing.uids.contains(&first)) else { continue };
            let (known, ranges) = self.0.entry(filing.folder.to_owned()).or_default();
            if *known != validity {
                (*known, *ranges) = (validity, Vec::new());
            }
            for range in to {
                match ranges.last_mut() {
                    Some(last) if last.end().checked_add(1) == Some(*range.start()) => {
                        *last = *last.start()..=*range.end();
                    }
                    _ => ranges.push(range),
                }
            }
        }
    }

    /// What of the UIDs from `next` to `last` is not of our own filing.
    fn others(&self, folder: &str, validity: u32, next: u32, last: u32) -> Vec<(u32, u32)> {
        let mut own: Vec<_> = match self.0.get(folder) {
            Some((known, ranges)) if *known == validity => ranges.clone(),
            _ => Vec::new(),
        };
        own.sort_by_key(|range| *range.start());
        let (mut others, mut at) = (Vec::new(), next);
        for range in own {
            if *range.start() > last {
                break;
            }
            if *range.start() > at {
                others.push((at, *range.start() - 1));
            }
            at = at.max(range.end().saturating_add(1));
        }
        if at <= last {
            others.push((at, last));
        }
        others
    }
}

impl Imap {
    /// See [`super::super::Mailbox::look_into`].
    ///
    /// # Errors
    /// As there.
    pub async fn look_into(&mut self, folders: &[(String, Option<Mark>)]) -> Result<Vec<Found>> {
        let mut session =
            self.session.take().context("The mailbox has no session; a pass has to begin first")?;
        // They count UIDs of the inbox.
        let failures = std::mem::take(&mut self.failures);
        let found = self.look_into_all(&mut session, folders).await;
        self.failures = failures;
        let found = found?;
        self.session = Some(session);
        Ok(found)
    }

    async fn look_into_all(
        &mut self,
        session: &mut Session,
        folders: &[(String, Option<Mark>)],
    ) -> Result<Vec<Found>> {
        let now = self.status(session, folders).await?;
        let mut all = Vec::new();
        let mut more = Filed::default();
        for (folder, before) in folders {
            let found = |mark, mails| Found { folder: folder.clone(), mark, mails };
            let (before, now) = match (before, now.get(folder)) {
                (None, None) => {
                    all.push(found(Mark { validity: 0, uid_next: 1 }, Vec::new()));
                    continue;
                }
                // It does not answer, or is gone; perhaps it comes back.
                (Some(_), None) => continue,
                // What lay there before us is none of our business.
                (None, Some(now)) => {
                    all.push(found(*now, Vec::new()));
                    continue;
                }
                (Some(before), Some(now)) => (before, now),
            };
            let is_new = before.validity == 0;
            if !is_new && before.validity != now.validity {
                info!(mailbox = %self.settings.name, folder, "the folder is numbered anew: what was put there since the last look is not seen");
            }
            if !is_new && before.validity != now.validity || now.uid_next <= before.uid_next {
                if before != now {
                    all.push(found(*now, Vec::new()));
                }
                continue;
            }
            let others = self.filed.others(folder, now.validity, before.uid_next, now.uid_next - 1);
            let failed = self.failed_looks.remove(folder).unwrap_or_default();
            let looked = match failed < ATTEMPTS {
                true => self.others_in(session, folder, now, &others, failed + 1 == ATTEMPTS).await,
                // A mail that cannot be fetched must not close the folder for all that come after it.
                false => {
                    warn!(mailbox = %self.settings.name, folder, "what was put into the folder cannot be fetched and is passed over: use requests reclassify");
                    Ok((Vec::new(), now.uid_next))
                }
            };
            if looked.is_err() {
                self.failed_looks.insert(folder.clone(), failed + 1);
            }
            let (mails, uid_next) = looked?;
            if uid_next < now.uid_next
                && let Some(own) = self.filed.0.remove(folder)
            {
                more.0.insert(folder.clone(), own);
            }
            all.push(found(Mark { validity: now.validity, uid_next }, mails));
        }
        // What is looked through need not be told apart again.
        self.filed = more;
        Ok(all)
    }

    /// UIDVALIDITY and UIDNEXT of the folders that there are, all asked at once.
    async fn status(
        &self,
        session: &mut Session,
        folders: &[(String, Option<Mark>)],
    ) -> Result<HashMap<String, Mark>> {
        let mut found = HashMap::new();
        let mut commands = Vec::with_capacity(folders.len());
        for (folder, _) in folders {
            commands.push(format!("STATUS {} (UIDNEXT UIDVALIDITY)", quoted(folder)?));
        }
        // A NO is a folder that is not there.
        session
            .batch(&commands, SMALL, self.patience.quick, |response| {
                let Response::MailboxData(MailboxDatum::Status { mailbox, status }) = response else {
                    return;
                };
                let (mut validity, mut uid_next) = (0, 0);
                for attribute in status {
                    match attribute {
                        StatusAttribute::UidNext(next) => uid_next = *next,
                        StatusAttribute::UidValidity(value) => validity = *value,
                        _ => {}
                    }
                }
                if validity > 0 && uid_next > 0 {
                    found.insert(mailbox.to_string(), Mark { validity, uid_next });
                }
            })
            .await?;
        Ok(found)
    }

    /// The mails in these ranges of a folder, as many as are looked at in one pass; and the first UID that is
    /// left for the next. Of a mail that is there and whose body cannot be had they wait for the next look as well,
    /// unless this is the last.
    async fn others_in(
        &mut self,
        session: &mut Session,
        folder: &str,
        now: &Mark,
        ranges: &[(u32, u32)],
        is_last: bool,
    ) -> Result<(Vec<super::Fetched>, u32)> {
        if ranges.is_empty() {
            return Ok((Vec::new(), now.uid_next));
        }
        let selected = self.select_folder(session, "EXAMINE", folder).await?;
        if selected.validity != Some(now.validity) {
            // Numbered anew just now; the next look tells.
            return Ok((Vec::new(), now.uid_next));
        }
        let (mut wanted, mut uid_next): (Vec<Listed>, u32) = (Vec::new(), now.uid_next);
        let mut bytes = 0;
        'ranges: for (first, last) in ranges {
            let mut pass = Pass::within(*first, *last);
            while let Some(range) = pass.next_range(u32::MAX) {
                let listed = self.list(session, range).await?;
                pass.note(listed);
                for mail in std::mem::take(&mut pass.listed) {
                    bytes += mail.size.min(self.bounds.read_limit);
                    if !wanted.is_empty() && (wanted.len() >= MOST || bytes > self.bounds.window_bytes) {
                        uid_next = mail.uid;
                        break 'ranges;
                    }
                    // What is too large to be read is left to a person altogether.
                    if !self.is_too_large(&mail) {
                        wanted.push(mail);
                    }
                }
            }
        }
        let mut bodies = self.fetch(session, &wanted).await?;
        let mut mails = Vec::with_capacity(wanted.len());
        for mail in wanted {
            let answered = match bodies.remove(&mail.uid).flatten() {
                Some(bytes) => Some(self.arrived(&mail, bytes)),
                None => self.fetch_alone(session, &mail).await?,
            };
            match answered {
                None => {}
                Some((_, Body::Missing)) if is_last => {
                    warn!(mailbox = %self.settings.name, folder, mail.uid = mail.uid, "a mail that was put into the folder cannot be fetched and is passed over: use requests reclassify");
                }
                Some((_, Body::Missing)) => {
                    bail!("The server gives no body for the mail with UID {} in a folder", mail.uid);
                }
                Some((size, body)) => {
                    let id = super::MailId::Uid(mail.uid);
                    mails.push(super::Fetched { id, size, received: mail.received, body });
                }
            }
        }
        Ok((mails, uid_next))
    }
}
