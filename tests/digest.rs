//! The daily digest: once a day at its time, over restarts; what waits, what is due and what failed, without a
//! word about whose it is.

use std::os::unix::fs::PermissionsExt;

use jiff::Timestamp;
use privacyd::message::Message;
use privacyd::stop::Stop;

#[path = "support/corridor.rs"]
mod support;

use support::{House, letter};

const KEYS: &str = "[clock]\nlaws = [\"gdpr\"]\ntime_zone = \"Europe/Berlin\"\n\
                    [admin]\nnotify = \"dpo@example.net\"\ndigest_at = \"08:00\"\n";
const QUESTION: &str = "I have a question about your privacy policy: how long do you keep my data?";
const DELETE: &str = "Please delete all my personal data.";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Recipient, subject, text and all of every digest, in order.
async fn digests(house: &House) -> Vec<(String, String, String, String)> {
    let letters = house.letters().await.into_iter().filter(|(_, template, _)| template == "digest");
    letters
        .map(|(to, _, raw)| {
            let message = Message::parse(raw.as_bytes()).unwrap();
            (to, message.subject().to_owned(), message.text().replace('\r', ""), raw.clone())
        })
        .collect()
}

async fn reference(house: &House, kind: &str) -> String {
    let requests = house.store.requests(None, 100).await.unwrap();
    requests.into_iter().find(|request| request.kind == kind).unwrap().reference
}

#[tokio::test]
async fn it_comes_once_a_day_at_its_time_over_restarts() {
    let mut house = House::with(KEYS).await;
    let mut count = 0;
    for (now, is_due) in [
        ("2026-11-24T06:59:59Z", false),
        ("2026-11-24T07:00:00Z", true),
        ("2026-11-24T07:01:00Z", false),
        ("2026-11-24T22:59:59Z", false),
        // It is the next day in Berlin, and not yet its hour.
        ("2026-11-24T23:00:00Z", false),
        ("2026-11-25T06:59:00Z", false),
        // The daemon was down in the morning, and the next day.
        ("2026-11-25T15:30:00Z", true),
        ("2026-11-27T06:00:00Z", false),
        ("2026-11-27T07:00:00Z", true),
        // The clock of the machine is put back.
        ("2026-11-26T07:00:00Z", false),
        // Summer time.
        ("2027-04-01T05:59:00Z", false),
        ("2027-04-01T06:00:00Z", true),
    ] {
        assert_eq!(house.intake.digest(at(now)).await.unwrap(), is_due, "{now}");
        house = house.restarted().await;
        assert!(!house.intake.digest(at(now)).await.unwrap(), "{now}, again");
        count += usize::from(is_due);
        assert_eq!(digests(&house).await.len(), count, "{now}");
    }
}

#[tokio::test]
async fn without_anything_to_tell_it_says_so() {
    let house = House::with(KEYS).await;
    assert!(house.intake.digest(at("2026-11-24T07:00:00Z")).await.unwrap());
    let (to, subject, text, raw) = digests(&house).await.remove(0);
    assert_eq!(to, "dpo@example.net");
    assert_eq!(subject, "Privacy requests on Tue 24 Nov 2026: nothing waits");
    assert!(text.contains("nothing waits for a person, nothing is due within a week"), "{text}");
    assert!(raw.contains("Auto-Submitted: auto-generated"), "{raw}");
}

#[tokio::test]
async fn off_unless_its_time_is_set() {
    let house = House::with("[admin]\nnotify = \"dpo@example.net\"\n").await;
    house.deliver(at("2026-11-23T10:00:00Z"), 1, letter("jane@example.org", QUESTION)).await;
    assert!(!house.intake.digest(at("2026-11-24T23:59:59Z")).await.unwrap());
}

#[tokio::test]
async fn it_tells_what_waits_what_is_due_and_what_failed_and_nobodys_name() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("shop");
    std::fs::write(
        &program,
        "#!/bin/sh\necho '{\"outcome\":\"failed\",\"reason\":\"Zebedee is unknown\"}'\n",
    )
    .unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    let source = format!(
        "[[source]]\nname = \"Shop\"\ncommand = [{:?}]\n[erasure]\ndelay = \"0s\"\n",
        program.display()
    );
    let house = House::with(&format!("{KEYS}{source}")).await;
    let received = at("2026-11-23T10:00:00Z");
    house.deliver(received, 1, letter("jane@example.org", QUESTION)).await;
    house.deliver(received, 2, letter("ann@example.org", DELETE)).await;
    house.deliver(received, 3, b"Subject: Xylophone\n\nHello there.\n".to_vec()).await;
    house.deliver(received, 4, letter("joe@example.org", DELETE)).await;
    let (_, _, question) = house.letters().await.pop().unwrap();
    let asked = Message::parse(question.as_bytes()).unwrap();
    let yes = format!(
        "From: joe@example.org\nTo: privacy@example.com\nSubject: Re: {}\nMessage-ID: <yes@example.org>\n\nYES\n",
        asked.subject()
    );
    house.deliver(received, 5, yes.into_bytes()).await;
    house.work.pass(received, Some(received), &Stop::never()).await.unwrap();
    house
        .execute(
            "UPDATE outbox SET state = 'bounced', updated_at = unixepoch('2026-11-23 10:01') WHERE id = 1",
        )
        .await;
    assert!(house.intake.digest(at("2026-11-24T07:00:00Z")).await.unwrap());
    let (_, subject, text, _) = digests(&house).await.remove(0);
    let asked = reference(&house, "question").await;
    assert_eq!(subject, "Privacy requests on Tue 24 Nov 2026: 2 waiting, 1 failed, 1 undelivered, 1 held");
    assert!(text.contains(&format!("- {asked}  question: held, due on Wed 23 Dec 2026\n")), "{text}");
    let failed = house.store.requests(None, 100).await.unwrap();
    let failed = failed.iter().find(|row| row.kind == "deletion" && row.status == "executing").unwrap();
    let line = format!("Systems that failed for good: 1\n- {}  deletion: Shop\n", failed.reference);
    assert!(text.contains(&line), "{text}");
    assert!(text.contains(&format!("- reply 1, question ({asked}): bounced\n")), "{text}");
    assert!(text.contains("- mail 3: held\n"), "{text}");
    // Whoever waits for the sender's word waits for no person.
    assert_eq!(text.matches("deletion").count(), 2, "{text}");
    for word in ["jane", "joe@", "ann@", "example.org", "Zebedee", "Quux", "Xylophone", "unknown"] {
        assert!(!text.contains(word), "{word}: {text}");
    }
    // What has happened to replies is told once, what is to be read until somebody has read it; what waits and is due
    // every day, the sooner the louder.
    for (now, expected) in [
        ("2026-12-16T07:00:00Z", "3 due within a week, 2 waiting, 1 failed, 1 held"),
        ("2026-12-23T07:00:00Z", "3 due today, 2 waiting, 1 failed, 1 held"),
        ("2026-12-24T07:00:00Z", "3 overdue, 2 waiting, 1 failed"),
    ] {
        if now.starts_with("2026-12-24") {
            assert_eq!(house.store.mark_read(Some(&[2, 3, 99]), at(now)).await.unwrap(), [3]);
            assert_eq!(house.store.mark_read(None, at(now)).await.unwrap(), [0; 0]);
        }
        assert!(house.intake.digest(at(now)).await.unwrap());
        let (_, subject, text, _) = digests(&house).await.pop().unwrap();
        assert!(subject.ends_with(expected), "{subject}\n{text}");
    }
}

#[tokio::test]
async fn what_no_system_carries_out_waits_for_a_person_once_it_may_begin() {
    for (source, hours, waits) in [
        ("", 1, "nothing waits"),
        ("", 24, "1 waiting"),
        ("[[source]]\nname = \"Contacts\"\nlocal = true\n", 24, "nothing waits"),
    ] {
        let house = House::with(&format!("{KEYS}{source}")).await;
        let received = at("2026-11-23T10:00:00Z");
        house.deliver(received, 1, letter("ann@example.org", DELETE)).await;
        house.execute("UPDATE requests SET status = 'approved'").await;
        let later = received + jiff::SignedDuration::from_hours(hours);
        house.work.pass(later, Some(later), &Stop::never()).await.unwrap();
        assert!(house.intake.digest(at("2026-11-24T07:00:00Z")).await.unwrap());
        let (_, subject, ..) = digests(&house).await.remove(0);
        assert!(subject.ends_with(waits), "{subject}");
    }
}

#[tokio::test]
async fn of_much_it_tells_how_much() {
    let house = House::with(KEYS).await;
    for uid in 1..=60 {
        house
            .deliver(at("2026-11-23T10:00:00Z"), uid, letter(&format!("user{uid}@example.org"), QUESTION))
            .await;
    }
    assert!(house.intake.digest(at("2026-11-24T07:00:00Z")).await.unwrap());
    let (_, subject, text, _) = digests(&house).await.remove(0);
    assert!(subject.ends_with(": 60 waiting"), "{subject}");
    assert_eq!(text.matches("question: held").count(), 50, "{text}");
    assert!(text.contains("- and 10 more\n"), "{text}");
}

#[tokio::test]
async fn what_could_not_be_recorded_comes_later() {
    let house = House::with(KEYS).await;
    house.execute("CREATE TRIGGER full BEFORE INSERT ON outbox BEGIN SELECT RAISE(ABORT, 'full'); END").await;
    assert!(house.intake.digest(at("2026-11-24T07:00:00Z")).await.is_err());
    house.execute("DROP TRIGGER full").await;
    assert!(house.intake.digest(at("2026-11-24T07:01:00Z")).await.unwrap());
    assert_eq!(digests(&house).await.len(), 1);
}
