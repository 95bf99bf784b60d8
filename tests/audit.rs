//! Truth for regulators: the event log's chain finds every kind of tampering, what is purged leaves the chain
//! and the dedupe whole, the report counts right, and the evidence of a request is complete.

use std::os::unix::fs::PermissionsExt;

use jiff::Timestamp;
use privacyd::chain::{Event, Hash, START, link};
use privacyd::config::{Cutoffs, Retention};
use privacyd::message::Message;
use privacyd::operator::audit::as_text;
use privacyd::operator::dossier::write_evidence;
use privacyd::operator::hand::{Verb, act};
use privacyd::operator::report::make;
use privacyd::report::Report;
use privacyd::store::audit::Verified;
use privacyd::store::lookup::Retry;
use privacyd::store::purge::Purged;

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
    for day in ["2027-01-10T10:00:00Z", "2027-01-20T10:00:00Z"] {
        assert!(house.intake.sweep(at(day)).await.is_ok());
    }
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
            "DELETE FROM request_events WHERE id = 5; UPDATE event_links SET purged_at = 1 WHERE event_id = 5",
            (5, "is missing: it is marked as purged, and no purge tells of it"),
        ),
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

/// Cutoffs as the default retention has them at `now`.
fn cutoffs(now: &str) -> Cutoffs {
    Retention::default().cutoffs(at(now)).unwrap()
}

async fn purge(house: &House, now: &str) -> Purged {
    house.store.purge(&cutoffs(now), at(now), &|| false).await.unwrap()
}

/// Says of every queued reply that it was sent when it was queued.
async fn all_sent(house: &House) {
    house.execute("UPDATE outbox SET state = 'sent', raw = coalesce(kept, raw), kept = NULL, outcome = '250 ok', updated_at = created_at").await;
}

#[test]
fn the_default_retention_is_what_the_sample_says() {
    let Cutoffs { requests, texts } = cutoffs("2028-11-23T10:00:00Z");
    assert_eq!((requests, texts), (at("2026-11-23T10:00:00Z"), at("2028-10-24T10:00:00Z")));
}

#[tokio::test]
async fn what_is_closed_is_purged_and_what_is_open_stays() {
    let house = house().await;
    all_sent(&house).await;
    assert!(purge(&house, "2026-12-23T09:59:59Z").await.is_nothing());
    // The text of the replies to the opt-outs, which were completed at once; the others are open.
    let done = purge(&house, "2026-12-23T10:00:00Z").await;
    assert_eq!(done, Purged { texts: 2, ..Purged::default() });
    let texts: i64 = house.scalar("SELECT count(*) FROM outbox WHERE length(raw) > 0").await;
    assert_eq!(texts, 3);
    assert!(house.store.retry(2, at("2026-12-24T10:00:00Z")).await.unwrap() == Retry::Nothing);
    assert!(purge(&house, "2028-11-23T09:59:59Z").await.is_nothing());

    let expected = Purged { requests: 2, events: 4, texts: 0, replies: 2, messages: 2 };
    let now = "2028-11-23T10:00:00Z";
    assert_eq!(house.store.would_purge(&cutoffs(now)).await.unwrap(), expected);
    assert_eq!(house.counts().await, (5, 5, 5));
    let before = head(&house).await;
    assert_eq!(purge(&house, now).await, expected);
    assert_eq!(house.counts().await, (5, 3, 3));
    assert!(purge(&house, now).await.is_nothing());

    let found = house.store.verify_chain(Some(&before)).await.unwrap();
    // The purge is an event itself.
    assert_eq!((found.damage, found.walk.links, found.walk.purged), (None, 11, 4));
    assert_eq!(found.since_head, Some(1));
    let told =
        "SELECT count(*) FROM request_events WHERE id = 11 AND request_id IS NULL AND event = 'purged'";
    assert_eq!(house.scalar(told).await, 1);
    // Those who wanted no more mail still get none.
    assert_eq!(
        house.suppressed(["p2@example.org", "p4@example.org", "p1@example.org"]).await,
        [true, true, false]
    );
    // A year later the open ones are still there.
    assert!(purge(&house, "2030-11-23T10:00:00Z").await.is_nothing());
    // Who takes out one more makes no purge of it.
    house
        .tamper("DELETE FROM request_events WHERE id = 2; UPDATE event_links SET purged_at = 1 WHERE event_id = 2")
        .await;
    assert_eq!(damage(&house).await, (2, "is missing: it is marked as purged, and no purge tells of it"));
}

#[tokio::test]
async fn nothing_of_what_was_purged_is_left_in_the_files() {
    let house = house().await;
    all_sent(&house).await;
    // The address stays on the list for ever otherwise.
    for address in ["p2@example.org", "p4@example.org"] {
        assert!(house.store.unsuppress(&address.parse().unwrap(), "marketing").await.unwrap());
    }
    let requests = house.store.requests(None, 10).await.unwrap();
    let reference = |address: &str| {
        let found = requests.iter().find(|request| request.subject.as_deref() == Some(address));
        found.unwrap().reference.clone()
    };
    let (open, closed) = (reference("p1@example.org"), reference("p2@example.org"));
    let wal = house.database().with_extension("db-wal");
    let has = |needle: &str| {
        let mut bytes = std::fs::read(house.database()).unwrap();
        bytes.extend(std::fs::read(&wal).unwrap());
        bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
    };
    assert!(has(&closed) && has("p2@example.org"));
    purge(&house, "2028-11-23T10:00:00Z").await;
    assert_eq!(std::fs::metadata(&wal).unwrap().len(), 0);
    assert!(has(&open) && has("p1@example.org"));
    assert!(!has(&closed), "the reference of a purged request");
    assert!(!has("p2@example.org"), "the address of a purged request");
    let ledger: i64 = house
        .scalar(
            "SELECT count(*) FROM messages WHERE purged_at IS NOT NULL AND sender IS NULL AND rfc_message_id IS NULL
             AND why = '' AND proof_why = '' AND findings = '[]' AND mail_id = '' AND wording IS NULL
             AND length(digest) = 32 AND letter_digest IS NOT NULL AND size > 0",
        )
        .await;
    assert_eq!(ledger, 2);
}

#[tokio::test]
async fn a_purged_mail_is_still_known() {
    let house = house().await;
    all_sent(&house).await;
    // A Maildir has no UIDs: its files are known by their names.
    house
        .execute("UPDATE messages SET validity = 0, mail_id = 'a.file' WHERE sender = 'p2@example.org'")
        .await;
    purge(&house, "2028-11-23T10:00:00Z").await;
    let known = house.store.known_files(["box", "box/Held"], &["a.file"]).await.unwrap();
    assert_eq!((known.len(), house.scalar("SELECT count(*) FROM messages WHERE mail_id = ''").await), (1, 1));
    let before = (house.counts().await, head(&house).await);
    house.execute("DELETE FROM suppressions").await;
    // The same bytes in a renumbered mailbox.
    house.receive_at(at("2029-01-01T10:00:00Z"), 2, vec![(7, letter("p2@example.org", OPT_OUT))]).await;
    assert_eq!((house.counts().await, head(&house).await), before);
    assert_eq!(house.suppressed(["p2@example.org"]).await, [false]);
}

#[tokio::test]
async fn replies_still_to_be_sent_and_work_still_to_be_done_keep_their_request() {
    for keep in [
        "UPDATE outbox SET state = 'queued' WHERE recipient = 'p2@example.org'",
        "UPDATE outbox SET state = 'deferred' WHERE recipient = 'p2@example.org'",
        "UPDATE outbox SET state = 'transmitting' WHERE recipient = 'p2@example.org'",
        "INSERT INTO tasks (request_id, source, state, next_attempt_at, updated_at) VALUES (2, 'local', 'waiting', 0, 0)",
        "UPDATE requests SET status = 'held' WHERE id = 2",
        "UPDATE requests SET closed_at = NULL WHERE id = 2",
    ] {
        let house = house().await;
        all_sent(&house).await;
        house.execute(keep).await;
        let done = purge(&house, "2028-11-23T10:00:00Z").await;
        assert_eq!((done.requests, done.messages), (1, 1), "{keep}");
        let kept: i64 = house.scalar("SELECT count(*) FROM requests WHERE id = 2").await;
        assert_eq!(kept, 1, "{keep}");
        assert_eq!(verify(&house).await.damage, None);
    }
}

#[tokio::test]
async fn a_request_goes_with_all_that_hangs_on_it() {
    let house = house().await;
    all_sent(&house).await;
    house.execute("INSERT INTO tasks (request_id, source, state, next_attempt_at, updated_at) VALUES (1, 'local', 'done', 0, 0)").await;
    house.execute("INSERT INTO tombstones (address_hmac, request_id, created_at) VALUES (x'01', 1, 0)").await;
    for day in ["2027-01-10T10:00:00Z", "2027-01-20T10:00:00Z"] {
        assert!(house.intake.sweep(at(day)).await.is_ok());
    }
    all_sent(&house).await;
    let challenges: i64 = house.scalar("SELECT count(*) FROM challenges").await;
    assert!(challenges > 0);
    let done = purge(&house, "2029-06-01T10:00:00Z").await;
    assert_eq!((done.requests, done.messages), (5, 5));
    for table in [
        "SELECT count(*) FROM challenges",
        "SELECT count(*) FROM deadlines",
        "SELECT count(*) FROM tasks",
        "SELECT count(*) FROM request_events WHERE request_id IS NOT NULL",
        "SELECT count(*) FROM outbox",
    ] {
        assert_eq!(house.scalar(table).await, 0, "{table}");
    }
    assert_eq!(house.scalar("SELECT count(*) FROM tombstones WHERE request_id IS NULL").await, 1);
    let found = verify(&house).await;
    assert_eq!((found.damage, found.walk.links), (None, found.walk.purged + 1));
}

#[tokio::test]
async fn the_evidence_of_a_request_is_whole_and_its_owners_alone() {
    let house = house().await;
    all_sent(&house).await;
    let clock = &house.intake.policy.clock;
    let requests = house.store.requests(None, 10).await.unwrap();
    let request =
        requests.iter().find(|request| request.subject.as_deref() == Some("p1@example.org")).unwrap();
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("evidence");
    let now = at("2026-12-01T10:00:00Z");
    assert!(!write_evidence(&house.store, clock, "PR-000000", &folder, now).await.unwrap());
    assert!(!folder.exists());
    assert!(write_evidence(&house.store, clock, &request.reference, &folder, now).await.unwrap());
    let mode = std::fs::metadata(&folder).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let json = |name: &str| serde_json::from_str::<serde_json::Value>(&read(name)).unwrap();

    let about = json("request.json");
    assert_eq!(about["request"]["reference"], request.reference.as_str());
    assert_eq!(about["request"]["subject"], "p1@example.org");
    assert_eq!(about["request"]["received_at"], "2026-11-23T10:00:00Z");
    assert_eq!(about["mail"]["sender"], "p1@example.org");
    assert_eq!(about["mail"]["findings"][0]["type"], "deletion");
    assert_eq!(about["questions_sent"][0]["address"], "p1@example.org");
    assert_eq!(about["questions_sent"][0].get("code_hash"), None);
    assert_eq!(about["deadlines"][0]["duty"], "answer");
    assert_eq!(about["linked_requests"].as_array().unwrap().len(), 0);

    let events = json("events.json");
    assert_eq!(events["events"].as_array().unwrap().len(), 2);
    assert_eq!(events["chain"]["sound"], true);
    assert_eq!(events["chain"]["head"], data_encoding::HEXLOWER.encode(&head(&house).await));
    // Anybody can work the hashes out.
    for event in events["events"].as_array().unwrap() {
        let text = |name: &str| event[name].as_str().unwrap();
        let content = Event {
            id: event["id"].as_i64().unwrap(),
            request: event["request_id"].as_i64().unwrap(),
            at: at(text("at")).as_second(),
            actor: text("actor").as_bytes(),
            event: text("event").as_bytes(),
            reason: text("reason").as_bytes(),
        };
        assert_eq!(data_encoding::HEXLOWER.encode(&content.content()), text("content_hash"));
        let previous = event["previous_hash"].as_str().map_or(START, |hash| {
            data_encoding::HEXLOWER.decode(hash.as_bytes()).unwrap().try_into().unwrap()
        });
        let hash = link(&previous, content.id, &content.content());
        assert_eq!(data_encoding::HEXLOWER.encode(&hash), text("hash"));
    }

    let outcomes = json("replies/outcomes.json");
    assert_eq!(outcomes.as_array().unwrap().len(), 1);
    assert_eq!((&outcomes[0]["state"], &outcomes[0]["outcome"]), (&"sent".into(), &"250 ok".into()));
    let sent = house.letters().await.into_iter().find(|(to, _, _)| to == "p1@example.org").unwrap().2;
    assert_eq!(read(&format!("replies/{}", outcomes[0]["file"].as_str().unwrap())), sent);
    assert!(read("explain.txt").contains("received Mon 23 Nov 2026 (day 0, UTC)"));
    assert!(read("README.txt").contains("personal data"));

    // Once.
    let again = write_evidence(&house.store, clock, &request.reference, &folder, now).await.unwrap_err();
    assert!(again.to_string().contains("Cannot make the folder"), "{again}");
}

#[tokio::test]
async fn the_evidence_has_the_mail_that_proved_a_request_and_no_code() {
    let house = House::new().await;
    let received = at("2026-11-23T10:00:00Z");
    house.deliver(received, 1, letter("jane@example.org", DELETE)).await;
    house.deliver(received, 2, letter("ann@example.org", OPT_OUT)).await;
    let (_, _, raw) = house.letters().await.remove(0);
    let subject = Message::parse(raw.as_bytes()).unwrap().subject().to_owned();
    let reference = house.store.requests(Some("awaiting_proof"), 1).await.unwrap().remove(0).reference;
    let home = tempfile::tempdir().unwrap();
    let clock = &house.intake.policy.clock;
    // The question is still to be sent, with its code.
    let folder = home.path().join("before");
    assert!(write_evidence(&house.store, clock, &reference, &folder, received).await.unwrap());
    let mut words = raw.split(|c: char| !c.is_ascii_alphanumeric() && c != '.');
    let code = words.find(|word| word.starts_with("c.") && word.len() == 28).unwrap();
    let shown = std::fs::read_to_string(folder.join("replies/1.eml")).unwrap();
    assert!(!shown.contains(code) && shown.contains("jane@example.org"), "{shown}");

    let yes = format!(
        "From: jane@example.org\nTo: privacy@example.com\nSubject: Re: {subject}\nMessage-ID: <yes@example.org>\n\nYES\n"
    );
    house.deliver(received, 3, yes.into_bytes()).await;
    // What an operator writes names no mail.
    let tools = house.intake.tools();
    let note = Verb::Note { text: "as in (message 2)".into() };
    act(&house.store, tools, &reference, &note, received).await.unwrap();
    let folder = home.path().join("after");
    assert!(write_evidence(&house.store, clock, &reference, &folder, received).await.unwrap());
    let about = std::fs::read_to_string(folder.join("request.json")).unwrap();
    let about: serde_json::Value = serde_json::from_str(&about).unwrap();
    assert_eq!(about["request"]["status"], "approved");
    let further: Vec<_> = about["further_mails"].as_array().unwrap().iter().map(|mail| &mail["id"]).collect();
    assert_eq!(further, [3]);
    assert_eq!(about["further_mails"][0]["sender"], "jane@example.org");
}

#[tokio::test]
async fn requests_of_one_mail_are_linked_in_the_evidence_and_purged_text_is_told() {
    let house = House::new().await;
    let words = "Please delete all my personal data. Also take me off your mailing list.";
    house.deliver(at("2026-11-23T10:00:00Z"), 1, letter("jane@example.org", words)).await;
    all_sent(&house).await;
    house.execute("UPDATE outbox SET raw = x'', purged_at = 1").await;
    let requests = house.store.requests(None, 10).await.unwrap();
    assert_eq!(requests.len(), 2);
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("evidence");
    let clock = &house.intake.policy.clock;
    let reference = &requests[0].reference;
    assert!(write_evidence(&house.store, clock, reference, &folder, Timestamp::now()).await.unwrap());
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let about: serde_json::Value = serde_json::from_str(&read("request.json")).unwrap();
    assert_eq!(about["linked_requests"][0]["reference"], requests[1].reference.as_str());
    let outcomes: serde_json::Value = serde_json::from_str(&read("replies/outcomes.json")).unwrap();
    assert!(outcomes[0]["file"].is_null());
    assert_eq!(std::fs::read_dir(folder.join("replies")).unwrap().count(), 1);
}

/// Ten requests of two types, made by hand; nine of them of the year 2026 by Berlin's calendar.
async fn year() -> House {
    let house = House::with("[clock]\ntime_zone = \"Europe/Berlin\"\n").await;
    house.tamper(
        "INSERT INTO messages (id, digest, size, mailbox, validity, mail_id, proof, proof_why, received_at, recorded_at, disposition, kind, why, findings, folder)
            VALUES (1, zeroblob(32), 1, 'box', 1, '1', 'none', '', 0, 0, 'requests', '', '', '[]', '');
         WITH made (kind, status, received, closed, due) AS (VALUES
            ('deletion', 'completed',        '2026-01-01 12:00:00', '2026-01-03 12:00:00', '2026-01-31'),
            ('deletion', 'partly_completed', '2026-02-01 12:00:00', '2026-02-11 12:00:00', '2026-03-03'),
            ('deletion', 'denied',           '2026-03-01 12:00:00', '2026-04-10 12:00:00', '2026-03-31'),
            ('deletion', 'denied',           '2026-03-02 12:00:00', '2026-03-06 12:00:00', '2026-04-01'),
            ('deletion', 'withdrawn',        '2026-03-03 12:00:00', '2026-03-04 12:00:00', '2026-04-02'),
            ('deletion', 'expired',          '2026-03-04 12:00:00', '2026-05-04 12:00:00', '2026-04-03'),
            ('deletion', 'held',             '2026-12-31 22:30:00', NULL,                  '2027-01-30'),
            ('<b>&',     'completed',        '2025-12-31 23:30:00', '2026-01-01 12:00:00', '2026-01-30'),
            ('<b>&',     'approved',         '2026-06-01 12:00:00', NULL,                  '2026-07-01'),
            ('<b>&',     'completed',        '2026-12-31 23:30:00', '2027-01-01 12:00:00', '2027-01-30'))
         INSERT INTO requests (reference, message_id, kind, status, proof_needed, proof_given, words, language, confidence, received_at, due_on, due_source, closed_at)
         SELECT 'PR-' || row_number() OVER (), 1, kind, status, 0, 0, x'', 'en', 1, unixepoch(received), due, '', unixepoch(closed) FROM made;
         INSERT INTO request_events (request_id, at, actor, event, reason) VALUES
            (3, 1, 'person', 'denied', 'insufficient_verification'), (4, 1, 'person', 'denied', 'no_match')",
    )
    .await;
    house
}

#[tokio::test]
async fn the_report_counts_what_was_made_by_hand() {
    let house = year().await;
    let clock = &house.intake.policy.clock;
    let days = ("2026-01-01".parse().unwrap(), "2026-12-31".parse().unwrap());
    let retention = Retention::default();
    let report = make(&house.store, clock, &retention, days, at("2027-01-15T10:00:00Z")).await.unwrap();
    let row = |index: usize| report.rows()[index].join(" ");
    // The days of deletion: 2, 10, 40, 4; of the other type: 0, since both are the first day of the year there.
    assert_eq!(report.rows().len(), 3);
    assert_eq!(row(0), "<b>& 2 1 0 0 0 0 1 0.0 0.0");
    assert_eq!(row(1), "deletion 7 1 1 2 1 1 1 7.0 14.0");
    assert_eq!(row(2), "all 9 2 1 2 1 1 2 4.0 11.2");
    assert_eq!(
        report.denials(),
        [["deletion", "insufficient_verification", "1"], ["deletion", "no_match", "1"]]
    );
    assert_eq!(report.open(), [["2026-07-01 (overdue)", "<b>&", "1"], ["2027-01-30", "deletion", "1"]]);
    assert_eq!(report.notes().len(), 2);
    let value = serde_json::to_value(&report).unwrap();
    assert_eq!(value["types"]["deletion"]["denied_because"]["no_match"], 1);
    assert_eq!(value["total"]["mean_days"], 11.2);
    assert_eq!(value["open_by_due_date"][0]["requests"], 1);
    let text = privacyd::operator::report::as_text(&report);
    assert!(text.contains("insufficient_verification"), "{text}");

    // What may be purged already is said to be.
    let late = make(&house.store, clock, &retention, days, at("2028-03-01T10:00:00Z")).await.unwrap();
    assert!(late.notes()[2].contains("closed before 2026-03-01"), "{:?}", late.notes());
    let wrong = make(&house.store, clock, &retention, (days.1, days.0), at("2027-01-15T10:00:00Z")).await;
    assert_eq!(wrong.unwrap_err().to_string(), "--to 2026-01-01 is before --from 2026-12-31");
}

#[tokio::test]
async fn the_html_is_one_file_with_nothing_from_elsewhere() {
    let house = year().await;
    let clock = &house.intake.policy.clock;
    let days = ("2026-01-01".parse().unwrap(), "2026-12-31".parse().unwrap());
    let retention = Retention::default();
    let html = make(&house.store, clock, &retention, days, at("2027-01-15T10:00:00Z")).await.unwrap().html();
    assert!(html.contains("&lt;b&gt;&amp;") && !html.contains("<b>"), "{html}");
    for foreign in ["<script", "http", "src=", "href", "@import", "url("] {
        assert!(!html.contains(foreign), "{foreign} in {html}");
    }
    assert_eq!(html.matches("<svg").count(), 2);
    assert_eq!(html.matches("</svg>").count(), 2);
    // Seven of nine received: the longest bar is the deletions', 550 wide; two sevenths of it are denied.
    assert!(html.contains("width=\"157.1\" height=\"18\" fill=\"#d55e00\""), "{html}");
    // One the same day, two in a week, none in fifteen days to thirty, one in 45.
    for (count, place) in [
        (1, "10\" y=\"182\">0–1"),
        (2, "110\" y=\"182\">2–7"),
        (0, "310\" y=\"182\">15–30"),
        (1, "410\" y=\"182\">31–45"),
    ] {
        let bar = format!(">{count}</text><text x=\"{place}</text>");
        assert!(html.contains(&bar), "{bar} in {html}");
    }
    // Of nothing there is a report too.
    let empty = Report::of(days, days.1, None, &[], Vec::new());
    assert!(empty.html().contains("<p>None.</p>"));
    assert_eq!(empty.rows(), [["all", "0", "0", "0", "0", "0", "0", "0", "-", "-"]]);
}
