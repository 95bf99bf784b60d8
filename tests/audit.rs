//! Truth for regulators: the event log's chain finds every kind of tampering, what is purged leaves the chain
//! and the dedupe whole, the report counts right, and the evidence of a request is complete.

use jiff::Timestamp;
use privacyd::chain::{Hash, START};
use privacyd::operator::audit::as_text;
use privacyd::store::audit::Verified;

#[path = "support/corridor.rs"]
mod support;

use support::{House, letter};

const DELETE: &str = "Please delete all my personal data.";
const OPT_OUT: &str = "Please take me off your mailing list.";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Five mails of five people: nine events.
async fn house() -> House {
    let house = House::new().await;
    for (uid, words) in [DELETE, OPT_OUT, DELETE, OPT_OUT, DELETE].into_iter().enumerate() {
        let uid = u32::try_from(uid).unwrap() + 1;
        house.deliver(at("2026-11-23T10:00:00Z"), uid, letter(&format!("p{uid}@example.org"), words)).await;
    }
    house
}

async fn verify(house: &House) -> Verified {
    house.store.verify_chain(None).await.unwrap()
}

async fn damage(house: &House) -> (i64, &'static str) {
    let damage = verify(house).await.damage.expect("damage is found");
    (damage.id, damage.what)
}

async fn head(house: &House) -> Hash {
    house.store.chain_head().await.unwrap().1
}

#[tokio::test]
async fn every_event_is_in_the_chain() {
    let house = House::new().await;
    assert_eq!(house.store.chain_head().await.unwrap(), (0, START));
    assert_eq!(
        as_text(&verify(&house).await, None).lines().next(),
        Some("Sound: 0 events, 0 of them purged")
    );
    let house = self::house().await;
    let found = verify(&house).await;
    assert_eq!(found.damage, None);
    let events: i64 = house.scalar("SELECT count(*) FROM request_events").await;
    assert_eq!(events, 10);
    assert_eq!((found.walk.links, found.walk.last), (10, 10));
    assert_eq!(found.walk.hash, head(&house).await);
    // Many mails in one transaction, and those that time brings.
    let mails = (1..=40).map(|n| (100 + n, letter(&format!("many{n}@example.net"), DELETE))).collect();
    house.receive_at(at("2026-11-23T11:00:00Z"), 1, mails).await;
    assert!(house.intake.sweep(at("2027-01-20T10:00:00Z")).await.is_ok());
    let expired: i64 = house.scalar("SELECT count(*) FROM request_events WHERE event = 'expired'").await;
    assert!(expired > 0);
    let found = verify(&house).await;
    assert_eq!(found.damage, None);
    let events: i64 = house.scalar("SELECT count(*) FROM request_events").await;
    assert_eq!(found.walk.links, events.unsigned_abs());
    let unsealed: i64 = house.scalar("SELECT count(*) FROM event_links WHERE unsealed IS NOT NULL").await;
    assert_eq!(unsealed, 0);
}

#[tokio::test]
async fn each_kind_of_tampering_is_found_and_the_first_bad_event_named() {
    let gone = "DELETE FROM request_events WHERE id = 4; DELETE FROM event_links WHERE event_id = 4";
    let swapped = "UPDATE request_events SET id = -1 WHERE id = 3; UPDATE request_events SET id = 3 WHERE id = 6; \
                   UPDATE request_events SET id = 6 WHERE id = -1";
    let relinked = "UPDATE event_links SET event_id = -1 WHERE event_id = 3; \
                    UPDATE event_links SET event_id = 3 WHERE event_id = 6; \
                    UPDATE event_links SET event_id = 6 WHERE event_id = -1";
    let put_in =
        "INSERT INTO request_events (request_id, at, actor, event, reason) VALUES (1, 1, 'rule', 'held', '')";
    let linked = "INSERT INTO request_events (request_id, at, actor, event, reason) VALUES (1, 1, 'rule', 'held', ''); \
                  INSERT INTO event_links (event_id, content, hash) VALUES (11, zeroblob(32), zeroblob(32))";
    for (statements, expected) in [
        ("UPDATE request_events SET reason = reason || '.' WHERE id = 4", (4, "was changed")),
        ("UPDATE request_events SET at = at + 1 WHERE id = 4", (4, "was changed")),
        ("UPDATE request_events SET actor = 'person' WHERE id = 4", (4, "was changed")),
        ("UPDATE request_events SET event = 'approved' WHERE id = 10", (10, "was changed")),
        ("UPDATE request_events SET request_id = 1 WHERE id = 10", (10, "was changed")),
        ("DELETE FROM request_events WHERE id = 4", (4, "is missing")),
        (gone, (4, "is missing")),
        (
            "DELETE FROM request_events WHERE id = 1; DELETE FROM event_links WHERE event_id = 1",
            (1, "is missing"),
        ),
        (
            "DELETE FROM request_events WHERE id > 8; DELETE FROM event_links WHERE event_id > 8",
            (9, "is missing, at the end"),
        ),
        (swapped, (3, "was changed")),
        (relinked, (3, "does not follow the one before it: it was put in, moved or linked anew")),
        (put_in, (11, "has no link in the chain: it was put in, or its link was taken out")),
        (linked, (11, "does not follow the one before it: it was put in, moved or linked anew")),
        ("UPDATE event_links SET purged_at = 1 WHERE event_id = 5", (5, "is there although it was purged")),
        (
            "UPDATE event_links SET hash = zeroblob(32) WHERE event_id = 5",
            (5, "does not follow the one before it: it was put in, moved or linked anew"),
        ),
        ("UPDATE request_events SET reason = CAST(x'ff' AS TEXT) WHERE id = 4", (4, "was changed")),
    ] {
        let house = self::house().await;
        house.tamper(statements).await;
        assert_eq!(damage(&house).await, expected, "{statements}");
        assert!(
            as_text(&verify(&house).await, None)
                .starts_with(&format!("Damaged: event {} {}", expected.0, expected.1))
        );
    }
}

#[tokio::test]
async fn what_was_put_in_is_not_linked_by_what_comes_later() {
    let house = house().await;
    house.tamper("INSERT INTO request_events (request_id, at, actor, event, reason) VALUES (1, 1, 'rule', 'held', '')").await;
    house.deliver(at("2026-11-24T10:00:00Z"), 60, letter("late@example.org", DELETE)).await;
    assert_eq!(damage(&house).await.0, 11);
}

#[tokio::test]
async fn a_head_written_down_shows_what_was_cut_off() {
    let house = house().await;
    let then = head(&house).await;
    house.deliver(at("2026-11-24T10:00:00Z"), 60, letter("late@example.org", DELETE)).await;
    let found = house.store.verify_chain(Some(&then)).await.unwrap();
    assert_eq!((found.damage, found.since_head), (None, Some(2)));
    assert_eq!(house.store.verify_chain(Some(&START)).await.unwrap().since_head, Some(12));
    let now = head(&house).await;
    // All traces of the last mail's events, the counter of ids with them.
    house
        .tamper(
            "DELETE FROM request_events WHERE id > 10; DELETE FROM event_links WHERE event_id > 10;
             UPDATE sqlite_sequence SET seq = 10 WHERE name = 'request_events'",
        )
        .await;
    let found = house.store.verify_chain(Some(&then)).await.unwrap();
    assert_eq!((found.damage, found.since_head), (None, Some(0)));
    let found = house.store.verify_chain(Some(&now)).await.unwrap();
    assert_eq!((found.damage, found.since_head), (None, None));
    assert!(as_text(&found, Some(&now)).contains("something was cut off"));
}

#[tokio::test]
async fn an_event_without_its_hashes_cannot_be_committed() {
    let house = house().await;
    let error =
        house.try_execute("INSERT INTO event_links (event_id, unsealed) VALUES (99, 1)").await.unwrap_err();
    assert!(error.contains("FOREIGN KEY"), "{error}");
    let error = house.try_execute("INSERT INTO event_links (event_id) VALUES (99)").await.unwrap_err();
    assert!(error.contains("CHECK"), "{error}");
    assert_eq!(verify(&house).await.damage, None);
}

#[tokio::test]
async fn events_older_than_the_chain_are_linked_once() {
    let house = house().await;
    house
        .tamper("DELETE FROM event_links; INSERT INTO meta (name, value) VALUES ('unlinked_events', x'01')")
        .await;
    assert_eq!(damage(&house).await.0, 1);
    let house = house.restarted().await;
    assert_eq!(verify(&house).await.damage, None);
    assert_eq!(verify(&house).await.walk.links, 10);
    house.tamper("DELETE FROM event_links").await;
    let house = house.restarted().await;
    assert_eq!(damage(&house).await.0, 1);
}
