//! The chain of the event log: what each event's hash is made of, and how a broken chain is told.
//!
//! Every event has a link. Its hash is made of the hash before it, so nothing can be changed, taken out, put in
//! or moved without every later hash changing too. There is no key in it: whoever can write the database can
//! make the whole chain anew. So the newest hash should be written down elsewhere now and then; a chain that
//! has that hash in it is still the one of then, up to there.
//!
//! ## Why a link holds two hashes
//! An event that is purged leaves the hash of its content behind, and the chain is made of those: it verifies
//! without the words that are gone. What was purged is named by a later event, which is in the chain itself and of no
//! request: that an event is gone is not enough to show that it was purged.

use sha2::{Digest, Sha256};

/// SHA-256.
pub type Hash = [u8; 32];

/// What stands before the first link.
pub const START: Hash = [0; 32];

/// The event, of no request, whose reason names the events that were purged: ids and spans of them, `3-17 20`.
pub const PURGED: &str = "purged";

/// What the encoding begins with, so that one of another version is never taken for it.
const VERSION: &[u8] = b"privacyd event v1\n";

/// One event, as it counts for its hash. The texts are bytes: what somebody has damaged may be no UTF-8.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Its row.
    pub id: i64,
    /// Its request's row; 0 where it has none.
    pub request: i64,
    /// Seconds since 1970 UTC.
    pub at: i64,
    /// rule, clock, person or sender.
    pub actor: &'a [u8],
    /// What happened.
    pub event: &'a [u8],
    /// Why.
    pub reason: &'a [u8],
}

impl Event<'_> {
    /// SHA-256 of its canonical encoding: the line "privacyd event v1", then id, request and time as 64-bit
    /// big-endian numbers, then each text behind its length in bytes, a number of the same kind.
    pub fn content(&self) -> Hash {
        let mut hash = Sha256::new();
        hash.update(VERSION);
        for number in [self.id, self.request, self.at] {
            hash.update(number.to_be_bytes());
        }
        for text in [self.actor, self.event, self.reason] {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        hash.finalize().into()
    }
}

/// The hash of a link: SHA-256 of the hash before it, the id as a 64-bit big-endian number, and the content's
/// hash.
pub fn link(previous: &Hash, id: i64, content: &[u8]) -> Hash {
    let mut hash = Sha256::new();
    hash.update(previous);
    hash.update(id.to_be_bytes());
    hash.update(content);
    hash.finalize().into()
}

/// One link as it is found, with its event if that is there.
#[derive(Debug, Clone, Copy)]
pub struct Link<'a> {
    /// The event's id.
    pub id: i64,
    /// The recorded hash of its content.
    pub content: &'a [u8],
    /// Its recorded hash.
    pub hash: &'a [u8],
    /// Whether the event was purged.
    pub is_purged: bool,
    /// The event.
    pub event: Option<Event<'a>>,
}

/// The first place where the log is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, thiserror::Error)]
#[error("event {id} {what}")]
pub struct Damage {
    /// The event.
    pub id: i64,
    /// What is wrong with it.
    pub what: &'static str,
}

/// A walk along the chain, from its start.
#[derive(Debug, Clone)]
pub struct Walk {
    /// The id of the last link; 0 at the start.
    pub last: i64,
    /// Its hash.
    pub hash: Hash,
    /// Links so far.
    pub links: u64,
    /// Those of purged events.
    pub purged: u64,
    /// Of these, those that no event has named yet.
    untold: Ids,
}

impl Default for Walk {
    fn default() -> Self {
        Self { last: 0, hash: START, links: 0, purged: 0, untold: Ids::default() }
    }
}

/// A set of ids: spans, first and last, in ascending order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ids(Vec<(i64, i64)>);

impl Ids {
    /// Those of a list in ascending order.
    pub fn of(ids: &[i64]) -> Self {
        let mut set = Self::default();
        ids.iter().for_each(|id| set.push(*id));
        set
    }

    /// Adds one behind all others.
    fn push(&mut self, id: i64) {
        match self.0.last_mut() {
            Some((_, last)) if *last == id.saturating_sub(1) => *last = id,
            _ => self.0.push((id, id)),
        }
    }

    /// Reads what [`Ids::fmt`] writes.
    fn parse(text: &[u8]) -> Option<Self> {
        let spans = std::str::from_utf8(text).ok()?.split(' ').map(|span| {
            let (first, last) = span.split_once('-').unwrap_or((span, span));
            Some((first.parse().ok()?, last.parse().ok()?)).filter(|(first, last): &(i64, i64)| first <= last)
        });
        Some(Self(spans.collect::<Option<_>>()?))
    }

    /// Takes out all of `others`; answers whether they were in it.
    fn take(&mut self, others: &Self) -> bool {
        others.0.iter().all(|(first, last)| {
            let place = self.0.partition_point(|(_, end)| end < first);
            let Some((start, end)) = self.0.get(place).copied() else { return false };
            if start > *first || end < *last {
                return false;
            }
            let before = (start < *first).then(|| (start, first.saturating_sub(1)));
            let behind = (*last < end).then(|| (last.saturating_add(1), end));
            self.0.splice(place..=place, before.into_iter().chain(behind));
            true
        })
    }
}

impl std::fmt::Display for Ids {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, (first, last)) in self.0.iter().enumerate() {
            let blank = if index > 0 { " " } else { "" };
            match first == last {
                true => write!(f, "{blank}{first}")?,
                false => write!(f, "{blank}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl Walk {
    /// Goes on to the next link, in order of ids.
    ///
    /// # Errors
    /// It is not the next, or its event is not the one that was linked.
    pub fn step(&mut self, found: &Link<'_>) -> Result<(), Damage> {
        let damage = |id, what| Err(Damage { id, what });
        let hash = link(&self.hash, found.id, found.content);
        if hash != found.hash {
            let next = self.last.saturating_add(1);
            return if found.id > next {
                damage(next, "is missing")
            } else {
                damage(found.id, "does not follow the one before it: it was put in, moved or linked anew")
            };
        }
        match found.event {
            None if found.is_purged => {
                self.purged += 1;
                self.untold.push(found.id);
            }
            None => return damage(found.id, "is missing"),
            Some(_) if found.is_purged => return damage(found.id, "is there although it was purged"),
            Some(event) if event.content() != found.content => return damage(found.id, "was changed"),
            Some(event) if event.request == 0 && event.event == PURGED.as_bytes() => {
                let is_true = Ids::parse(event.reason).is_some_and(|told| self.untold.take(&told));
                if !is_true {
                    return damage(found.id, "tells of a purge that was none");
                }
            }
            Some(_) => {}
        }
        self.last = found.id;
        self.hash = hash;
        self.links += 1;
        Ok(())
    }

    /// At the end: the first event that is gone as if it were purged, without any purge that tells of it.
    pub fn untold(&self) -> Option<Damage> {
        let (id, _) = self.untold.0.first()?;
        Some(Damage { id: *id, what: "is missing: it is marked as purged, and no purge tells of it" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: i64, reason: &str) -> Event<'_> {
        Event { id, request: 7, at: 1_764_000_000, actor: b"rule", event: b"held", reason: reason.as_bytes() }
    }

    #[test]
    fn the_encoding_is_that_of_its_description() {
        // Worked out by another program from the description.
        let content = event(1, "because").content();
        assert_eq!(data_encoding::HEXLOWER.encode(&content), CONTENT);
        assert_eq!(data_encoding::HEXLOWER.encode(&link(&START, 1, &content)), HASH);
    }
    const CONTENT: &str = "2e7b1d8f3896de7f65dbcb72f2d2dbdbc3eab212f0dc522b0ba4f1ea989f2c61";
    const HASH: &str = "79b4ca05d72401d501510b0f4802f4ae628ae3d9ba80ad7e601f1bb3ca7bd7ed";

    #[test]
    fn no_two_events_have_one_encoding() {
        let one = Event { actor: b"ab", event: b"c", ..event(1, "x") };
        let other = Event { actor: b"a", event: b"bc", ..event(1, "x") };
        assert_ne!(one.content(), other.content());
        let long = Event { event: b"", reason: b"cx", ..one };
        assert_ne!(one.content(), long.content());
    }

    #[test]
    fn sets_of_ids_are_written_and_taken_out() {
        let set = Ids::of(&[1, 3, 4, 5, 9]);
        assert_eq!(set.to_string(), "1 3-5 9");
        assert_eq!(Ids::parse(b"1 3-5 9"), Some(set.clone()));
        for bad in ["", "x", "1  2", "5-3", "1-", "9999999999999999999999"] {
            assert_eq!(Ids::parse(bad.as_bytes()), None, "{bad:?}");
        }
        for (taken, left) in [("4", "1 3 5 9"), ("1 3-5", "9"), ("3-4 9", "1 5"), ("1 3-5 9", "")] {
            let mut set = set.clone();
            assert!(set.take(&Ids::parse(taken.as_bytes()).unwrap()), "{taken}");
            assert_eq!(set.to_string(), left);
        }
        for wrong in ["2", "1-3", "5-9", "4-6", "10", "4 4"] {
            assert!(!set.clone().take(&Ids::parse(wrong.as_bytes()).unwrap()), "{wrong}");
        }
    }

    #[test]
    fn what_is_marked_as_purged_is_missing_until_a_purge_tells_of_it() {
        let one = event(1, "one");
        let first = link(&START, 1, &one.content());
        let mut walk = Walk::default();
        walk.step(&Link { id: 1, content: &one.content(), hash: &first, is_purged: true, event: None })
            .unwrap();
        let missing = walk.untold().unwrap().to_string();
        assert_eq!(missing, "event 1 is missing: it is marked as purged, and no purge tells of it");
        for (reason, request, is_sound, is_told) in [
            ("1", 0, true, true),
            ("1-2", 0, false, false),
            ("words", 0, false, false),
            // A person's note of the same words is no purge.
            ("1", 7, true, false),
        ] {
            let told = Event { request, event: PURGED.as_bytes(), ..event(2, reason) };
            let content = told.content();
            let second = link(&first, 2, &content);
            let mut walk = walk.clone();
            let next = Link { id: 2, content: &content, hash: &second, is_purged: false, event: Some(told) };
            assert_eq!(walk.step(&next).is_ok(), is_sound, "{reason}");
            assert_eq!(walk.untold().is_none(), is_told, "{reason}");
        }
    }

    #[test]
    fn a_purged_event_still_links() {
        let (one, two) = (event(1, "one"), event(2, "two"));
        let first = link(&START, 1, &one.content());
        let second = link(&first, 2, &two.content());
        let mut walk = Walk::default();
        let purged = Link { id: 1, content: &one.content(), hash: &first, is_purged: true, event: None };
        walk.step(&purged).unwrap();
        walk.step(&Link {
            id: 2,
            content: &two.content(),
            hash: &second,
            is_purged: false,
            event: Some(two),
        })
        .unwrap();
        assert_eq!((walk.last, walk.hash, walk.links, walk.purged), (2, second, 2, 1));
        let gone = Walk::default().step(&Link { is_purged: false, ..purged }).unwrap_err();
        assert_eq!(gone.to_string(), "event 1 is missing");
        let back = Walk::default().step(&Link { event: Some(one), ..purged }).unwrap_err();
        assert_eq!(back.to_string(), "event 1 is there although it was purged");
    }
}
