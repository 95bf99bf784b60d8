//! Bounces of our own mail find their request; forged ones find nothing.

use jiff::{SignedDuration, Timestamp};
use privacyd::mailbox::MailId;
use privacyd::mailer::Outcome;
use privacyd::operator::hand::{Verb, act};

#[path = "support/corridor.rs"]
mod support;

use support::{House, letter, window};

const ERASE: &str = "Please delete all my data.";
const STOP: &str = "Please take me off your mailing list.";

fn now() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn later(days: i64) -> Timestamp {
    now() + SignedDuration::from_hours(24 * days)
}

/// A report of mail `number`, as Postfix writes it.
fn report(number: u32, message_id: &str, recipient: &str, action: &str, status: &str) -> Vec<u8> {
    format!(
        "From: MAILER-DAEMON@mx.example.net (Mail Delivery System)\nTo: privacy@example.com\nSubject: Undelivered Mail\n\
         Message-ID: <report{number}@mx.example.net>\nAuto-Submitted: auto-replied\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=\"b\"\n\n\
         --b\n\nSECRET words of the reporter\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.net\n\n\
         Final-Recipient: rfc822; {recipient}\nAction: {action}\nStatus: {status}\nDiagnostic-Code: smtp; SECRET\n\n\
         --b\nContent-Type: text/rfc822-headers\n\nFrom: privacy@example.com\nMessage-ID: {message_id}\n\n--b--\n"
    )
    .into_bytes()
}

impl House {
    /// Everything that is queued has been tried, with this outcome.
    async fn send(&self, at: Timestamp, outcome: Outcome) {
        let (_, claim) = self.store.settle_and_claim(&[], 100, at).await.unwrap();
        let results: Vec<_> = claim.rows.into_iter().map(|row| (row, outcome.clone())).collect();
        self.store.settle_and_claim(&results, 0, at).await.unwrap();
    }

    async fn sent(&self) {
        self.send(now(), Outcome::Sent("250 2.0.0".into())).await;
    }

    /// Message-ID of the reply from this template.
    async fn id_of(&self, template: &str) -> String {
        let replies = self.store.replies(None, 100).await.unwrap();
        replies.into_iter().find(|reply| reply.template == template).unwrap().rfc_message_id
    }

    async fn report_at(&self, at: Timestamp, number: u32, bytes: Vec<u8>) -> Vec<(MailId, String)> {
        let mut window = window(1, vec![(1000 + number, bytes)]);
        window.mails.iter_mut().for_each(|mail| mail.received = at);
        self.intake.receive("box", window, at).await.unwrap()
    }

    /// Status of the one request, and its events as "event: reason".
    async fn request(&self) -> (String, Vec<String>) {
        let reference = self.store.requests(None, 10).await.unwrap().remove(0).reference;
        let (request, events) = self.store.request(&reference).await.unwrap().unwrap();
        let events = events.iter().map(|event| format!("{}: {}: {}", event.actor, event.event, event.reason));
        (request.status, events.collect())
    }

    /// State and outcome of every reply.
    async fn states(&self) -> Vec<(String, String)> {
        let replies = self.store.replies(None, 100).await.unwrap();
        replies.into_iter().map(|reply| (reply.state, reply.outcome)).collect()
    }
}

#[tokio::test]
async fn a_question_that_comes_back_is_a_matter_for_a_person() {
    let house = House::new().await;
    house.deliver(now(), 1, letter("jane@example.net", ERASE)).await;
    assert_eq!(house.request().await.0, "awaiting_proof");
    house.sent().await;
    let id = house.id_of("confirm").await;
    let filed = house.report_at(later(1), 1, report(1, &id, "Jane@example.net", "failed", "5.1.1")).await;
    assert_eq!(filed, [(MailId::Uid(1001), "Automatic".to_owned())]);
    assert_eq!(house.states().await, [("bounced".to_owned(), "reported undeliverable, 5.1.1".to_owned())]);
    let (status, events) = house.request().await;
    assert_eq!(status, "held");
    assert!(
        events.iter().any(|event| event
            == "rule: undelivered: our reply 1 (confirm) was reported undeliverable, 5.1.1 (message 2)"),
        "{events:?}"
    );
    assert!(events.iter().any(|event| event.starts_with("rule: held: ")), "{events:?}");
    assert!(!events.iter().any(|event| event.contains("SECRET")));
    // It is not answered, and says in the ledger what it was about.
    assert_eq!(house.counts().await.2, 1);
    assert!(house.latest().await.1.ends_with("our reply 1 is reported undeliverable, 5.1.1"));
    // The same once more changes nothing: the reply is not out any more.
    house.report_at(later(1), 2, report(2, &id, "jane@example.net", "failed", "5.2.2")).await;
    assert_eq!(house.request().await.1, events);
    // Neither reminder nor expiry follows.
    assert_eq!(house.intake.sweep(later(30)).await.unwrap(), 0);
    assert_eq!(house.request().await.0, "held");
}

#[tokio::test]
async fn a_letter_about_one_request_says_nothing_of_the_others_of_its_mail() {
    for template in ["corrected", "disclosed", "disclosed_before", "copy", "erased"] {
        let house = House::new().await;
        house
            .deliver(
                now(),
                1,
                letter("jane@example.net", "Please send me a copy of my data. Please delete all my data."),
            )
            .await;
        house.sent().await;
        house.execute("UPDATE requests SET status = 'approved'").await;
        // Of the first of them.
        let statement = format!(
            "INSERT INTO outbox (message_id, reference, proven, recipient, template, language, rfc_message_id, in_thread,
                raw, state, created_at, next_attempt_at, updated_at)
             SELECT message_id, reference, proven, recipient, '{template}', language, '<PR-1@example.com>', 2, raw, 'sent',
                created_at, next_attempt_at, updated_at FROM outbox WHERE template = 'confirm'"
        );
        house.execute(Box::leak(statement.into_boxed_str())).await;
        house
            .report_at(later(1), 1, report(1, "<PR-1@example.com>", "jane@example.net", "failed", "5.1.1"))
            .await;
        let of = |kind: &str, status: &str| -> &'static str {
            let told = "EXISTS (SELECT 1 FROM request_events e WHERE e.request_id = r.id AND e.event = 'undelivered')";
            let query = format!(
                "SELECT count(*) * 2 + coalesce(sum({told}), 0) FROM requests r WHERE kind = '{kind}' AND status = '{status}'"
            );
            Box::leak(query.into_boxed_str())
        };
        assert_eq!(house.scalar(of("access", "held")).await, 3, "{template}");
        assert_eq!(house.scalar(of("deletion", "approved")).await, 2, "{template}");
    }
}

#[tokio::test]
async fn what_is_completed_stays_so_and_says_that_nobody_heard_of_it() {
    let house = House::new().await;
    house.deliver(now(), 1, letter("jane@example.net", STOP)).await;
    house.sent().await;
    let id = house.id_of("opt_out").await;
    house.report_at(later(1), 1, report(1, &id, "jane@example.net", "failed", "5.7.1")).await;
    let (status, events) = house.request().await;
    assert_eq!(status, "completed");
    assert!(events.last().unwrap().starts_with("rule: undelivered: "), "{events:?}");
    assert_eq!(house.suppressed(["jane@example.net"]).await, [true]);
}

#[tokio::test]
async fn a_question_to_whose_it_is_not_says_nothing_of_it() {
    for (proof, answer) in [(None, "awaiting_proof"), (Some(2), "approved")] {
        let house = House::new().await;
        house.deliver(now(), 1, letter("agent@example.net", ERASE)).await;
        house.sent().await;
        let first = house.id_of("confirm").await;
        let reference = house.store.requests(None, 10).await.unwrap().remove(0).reference;
        let verb = Verb::Approve { proof, subject: Some("jane@example.org".parse().unwrap()) };
        act(&house.store, house.intake.tools(), &reference, &verb, later(1)).await.unwrap();
        house.send(later(1), Outcome::Sent("250 2.0.0".into())).await;
        let before = house.request().await;
        assert_eq!(before.0, answer);
        let asked = before.1.iter().any(|event| event == "person: released: asked to confirm it");
        assert_eq!(asked, proof.is_none(), "for the first time: {before:?}");
        house.report_at(later(2), 1, report(1, &first, "agent@example.net", "failed", "5.1.1")).await;
        assert_eq!(house.request().await, before, "that of somebody else");
        assert!(house.states().await.iter().any(|(state, _)| state == "bounced"));
        if proof.is_none() {
            // The latest comes first.
            let second = house.id_of("confirm").await;
            assert_ne!(first, second);
            house.report_at(later(2), 2, report(2, &second, "jane@example.org", "failed", "5.1.1")).await;
            assert_eq!(house.request().await.0, "held");
        }
    }
}

#[tokio::test]
async fn delays_and_successes_are_noted_once() {
    let house = House::new().await;
    house.deliver(now(), 1, letter("jane@example.net", ERASE)).await;
    house.sent().await;
    let id = house.id_of("confirm").await;
    let before = house.request().await.1.len();
    for number in 1..=3 {
        house.report_at(later(1), number, report(number, &id, "jane@example.net", "delayed", "4.4.1")).await;
    }
    let (status, events) = house.request().await;
    assert_eq!((status.as_str(), events.len()), ("awaiting_proof", before + 1));
    assert!(events.last().unwrap().starts_with("rule: note: our reply 1 (confirm) was reported delayed"));
    for number in 4..=5 {
        house
            .report_at(later(2), number, report(number, &id, "jane@example.net", "delivered", "2.0.0"))
            .await;
    }
    let (status, events) = house.request().await;
    assert_eq!((status.as_str(), events.len()), ("awaiting_proof", before + 2));
    assert_eq!(house.states().await, [("sent".to_owned(), "250 2.0.0".to_owned())]);
}

#[tokio::test]
async fn a_reply_of_unknown_fate_that_arrived_was_sent() {
    for (action, status, state) in
        [("relayed", "2.0.0", "sent"), ("delayed", "4.0.0", "unknown"), ("failed", "5.0.0", "bounced")]
    {
        let house = House::new().await;
        house.deliver(now(), 1, letter("jane@example.net", STOP)).await;
        house.send(now(), Outcome::Unknown("lost".into())).await;
        let id = house.id_of("opt_out").await;
        house.report_at(later(1), 1, report(1, &id, "jane@example.net", action, status)).await;
        assert_eq!(house.states().await[0].0, state, "{action}");
    }
}

#[tokio::test]
async fn forged_reports_change_nothing() {
    let house = House::new().await;
    house.deliver(now(), 1, letter("jane@example.net", ERASE)).await;
    let id = house.id_of("confirm").await;
    // Not sent yet.
    house.report_at(later(0), 1, report(1, &id, "jane@example.net", "failed", "5.1.1")).await;
    house.sent().await;
    let before = (house.states().await, house.request().await);
    let other = id.replace("<PR-", "<PR-X");
    for (number, at, id, recipient, action, status) in [
        (2, later(1), other.as_str(), "jane@example.net", "failed", "5.1.1"), // not a mail of ours
        (3, later(1), &id, "ann@example.net", "failed", "5.1.1"),             // not to her
        (4, later(15), &id, "jane@example.net", "failed", "5.1.1"),           // too late
        (5, later(1), &id, "jane@example.net", "failed", "2.0.0"),            // contradicts itself
        (6, later(1), "<' OR 1=1 --@example.com>", "jane@example.net", "failed", "5.1.1"),
        (7, later(1), "<%@%>", "jane@example.net", "failed", "5.1.1"),
    ] {
        house.report_at(at, number, report(number, id, recipient, action, status)).await;
    }
    // A person's letter that has the same parts is a person's letter, or a bounce to the eye; no report.
    let mut own = String::from_utf8(report(8, &id, "jane@example.net", "failed", "5.1.1")).unwrap();
    own = own.replace("MAILER-DAEMON@mx.example.net (Mail Delivery System)", "privacy@example.com");
    house.report_at(later(1), 8, own.into_bytes()).await;
    assert_eq!((house.states().await, house.request().await), before);
}
