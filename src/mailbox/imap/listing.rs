//! Listings that fail. One mail of which the server says what the library cannot read (`INTERNALDATE NIL` makes it
//! panic) spoils the listing of all its neighbours, and so does one at which the server itself breaks off. What failed is
//! listed in parts from the next pass on, until that mail stands alone. Its size and its date are then asked for apart,
//! and it is taken with what is known of them.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use anyhow::Result;
use jiff::Timestamp;
use tracing::warn;

use super::{ATTEMPTS, Imap, LIST_WIDTH, Listed, Session};

/// Everything that a listing tells, in one question.
pub(super) const BOTH: &[&str] = &["RFC822.SIZE INTERNALDATE"];

/// A range that failed is listed in so many parts the next time: however far apart the mails of a folder are, the one
/// that is to blame is found in eight passes.
const PARTS: u32 = 16;

/// What a server has told of a mail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub size: Option<u64>,
    pub received: Option<Timestamp>,
}

impl Told {
    pub(super) fn listed(self, uid: u32) -> Listed {
        Listed {
            uid,
            // From 4 GiB on the library cannot read the size; as when it is not known, only the beginning is fetched.
            size: self.size.unwrap_or(u64::MAX),
            received: self.received.unwrap_or(Timestamp::UNIX_EPOCH),
        }
    }
}

/// What is known of the listings of a folder of which one has failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Narrow {
    /// The beginning of the range that failed last. What lies before it is listed as ever.
    first: u32,
    /// UIDs that are listed at once: so many up to `last`, behind it twice as many after each success.
    width: u32,
    /// The end of the range that failed last.
    last: u32,
    /// How often it failed when it was one UID.
    failed_alone: u8,
    /// What was told of that one all the same.
    told: Told,
}

impl Narrow {
    /// What follows when the range from `first` to `last` has failed.
    fn after(before: Option<Self>, first: u32, last: Option<u32>) -> Self {
        let Some(last) = last else {
            // Nobody knows how long an open range is. The next look asks for its end.
            let told = Told::default();
            return Self { first, width: u32::MAX / PARTS, last: first, failed_alone: 0, told };
        };
        let length = last.saturating_sub(first).saturating_add(1);
        let earlier = before.filter(|narrow| length == 1 && narrow.last == last);
        let (failed, told) =
            earlier.map_or_else(Default::default, |narrow| (narrow.failed_alone, narrow.told));
        let failed_alone = if length == 1 { failed.saturating_add(1) } else { 0 };
        Self { first, width: (length / PARTS).max(1), last, failed_alone, told }
    }

    /// The same, with more that was told of its one mail.
    fn having(self, more: Option<Told>) -> Self {
        let Told { size, received } = more.unwrap_or_default();
        Self {
            told: Told { size: self.told.size.or(size), received: self.told.received.or(received) },
            ..self
        }
    }

    /// How many UIDs are listed at once from `next` on.
    fn most_from(self, next: u32) -> u32 {
        if next < self.first { self.first - next } else { self.width }
    }

    /// What follows when a range that ends at `last` was listed; `None` once all is as it was.
    fn passed(self, last: Option<u32>) -> Option<Self> {
        if last.is_some_and(|last| last < self.last) {
            return Some(self);
        }
        let width = self.width.saturating_mul(2);
        (width < *LIST_WIDTH.start()).then_some(Self { width, ..self })
    }
}

impl Imap {
    /// Whether a listing of the folder that is read has failed, and its mails are listed in parts.
    pub(super) fn is_narrowed(&self, validity: u32) -> bool {
        self.narrowed.contains_key(&(self.settings.inbox.clone(), validity))
    }

    /// Lists the next range of the pass; `None` when all is listed.
    pub(super) async fn list_next(&mut self, session: &mut Session) -> Result<Option<Vec<Listed>>> {
        let place = (self.settings.inbox.clone(), self.pass.validity);
        let narrow = self.narrowed.get(&place).copied();
        let next = self.pass.unlisted.front().map_or(0, |(first, _)| *first);
        let most = narrow.map_or(u32::MAX, |narrow| narrow.most_from(next));
        let Some((first, last)) = self.pass.next_range(most) else { return Ok(None) };
        let mailbox = &self.settings.name;
        let alone = narrow.filter(|narrow| last == Some(first) && narrow.last == first);
        if let Some(Narrow { told, failed_alone: ATTEMPTS.., .. }) = alone {
            let (size, date) = (told.size.is_some(), told.received.is_some());
            warn!(
                mailbox,
                mail.uid = first,
                size,
                date,
                "a mail cannot be listed: it is taken with what is known of it"
            );
            return Ok(Some(vec![told.listed(first)]));
        }
        let items = match alone.map_or(0, |narrow| narrow.failed_alone) {
            0 => BOTH,
            // What the server cannot say of it, or the line has cut off, must not hide the rest.
            1 => &["RFC822.SIZE", "INTERNALDATE"],
            _ => &["INTERNALDATE", "RFC822.SIZE"],
        };
        let (told, done) = self.ask_about(session, (first, last), items).await;
        let narrow = match &done {
            Ok(()) => narrow.and_then(|narrow| narrow.passed(last)),
            Err(_) => {
                warn!(
                    mailbox,
                    first, last, "mails could not be listed: fewer are listed at once the next time"
                );
                self.stumbled = true;
                let after = Narrow::after(narrow, first, last);
                Some(after.having(told.get(&first).copied().filter(|_| last == Some(first))))
            }
        };
        match narrow {
            Some(narrow) => drop(self.narrowed.insert(place, narrow)),
            None => drop(self.narrowed.remove(&place)),
        }
        done?;
        let listed = told.into_iter().map(|(uid, told)| told.listed(uid)).collect();
        Ok(Some(match last.filter(|_| self.pass.is_chosen) {
            Some(last) => all_of(first..=last, listed),
            None => listed,
        }))
    }
}

/// These mails, in their order, also those that a listing has left out.
fn all_of(uids: RangeInclusive<u32>, listed: Vec<Listed>) -> Vec<Listed> {
    let listed: HashMap<u32, Listed> = listed.into_iter().map(|mail| (mail.uid, mail)).collect();
    uids.map(|uid| listed.get(&uid).copied().unwrap_or_else(|| Told::default().listed(uid))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_failures_find_one_mail_among_all_numbers_and_widths_grow_back() {
        let (first, mut last, mut failures) = (1, u32::MAX, 0);
        let mut narrow = None;
        while last > first {
            let now = Narrow::after(narrow, first, Some(last));
            last = first.saturating_add(now.width - 1);
            (narrow, failures) = (Some(now), failures + 1);
        }
        assert_eq!(failures, 8);
        let mut alone = narrow;
        for failed in 1..=ATTEMPTS {
            alone = Some(Narrow::after(alone, last, Some(last)));
            assert_eq!(alone.map(|narrow| (narrow.failed_alone, narrow.width)), Some((failed, 1)));
        }
        // What lies before it is listed at once, and makes nothing wider.
        let behind = Narrow::after(None, 500_000, Some(500_015));
        assert_eq!([1, 499_999, 500_000].map(|next| behind.most_from(next)), [499_999, 1, 1]);
        assert_eq!(alone.and_then(|narrow| narrow.passed(Some(last - 1))).map(|it| it.width), Some(1));
        let mut widths = Vec::new();
        while let Some(wider) = alone.and_then(|narrow| narrow.passed(Some(last + 1))) {
            widths.push(wider.width);
            alone = Some(wider);
        }
        assert_eq!(widths, [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024], "and then as before");
    }
}
