//! The legal clocks in the corridor: by when a request is due, what puts that off, who is warned, and what
//! of it survives a restart. The time is the test's own.

use std::time::Duration;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use privacyd::clock::Reason;
use privacyd::config::CanaryConfig;
use privacyd::mailer::Outcome;
use privacyd::operator::clocks::{Refusal, as_json, as_text, extend};
use privacyd::store::reconcile::Reconciled;

#[path = "support/corridor.rs"]
mod support;

use support::{House, letter};

const DELETE: &str = "Please delete all my personal data.";
const QUESTION: &str = "I have a question about your privacy policy: how long do you keep my data?";
const GERMAN: &str =
    "Bitte löschen Sie alle meine personenbezogenen Daten, die Sie über mich gespeichert haben.";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn laws(names: &str) -> String {
    format!("[clock]\nlaws = [{names}]\ntime_zone = \"Europe/Berlin\"\n")
}

/// The one request there is.
async fn reference(house: &House) -> String {
    let requests = house.store.requests(None, 10).await.unwrap();
    assert_eq!(requests.len(), 1, "{requests:?}");
    requests.first().unwrap().reference.clone()
}

async fn due(house: &House) -> (String, String) {
    let request = house.store.requests(None, 10).await.unwrap().remove(0);
    (request.due_on, request.due_source)
}

async fn put_off(house: &House, reason: Reason, now: &str) -> Result<Date, Refusal> {
    let intake = &house.intake;
    let clock = &intake.policy.clock;
    let reference = reference(house).await;
    extend(&house.store, &intake.table, &intake.replies, clock, &reference, reason, at(now)).await.unwrap()
}

/// What is told the operator by mail, in order.
async fn notices(house: &House) -> Vec<(String, String)> {
    let letters = house.letters().await.into_iter().filter(|(_, template, _)| template == "deadlines");
    letters.map(|(to, _, raw)| (to, raw)).collect()
}

#[tokio::test]
async fn the_earliest_of_the_laws_that_apply_is_due_from_the_servers_receipt() {
    for (names, words, expected) in [
        ("", DELETE, ("2026-12-23", "no law known; the shortest general one")),
        ("\"ccpa\"", DELETE, ("2027-01-07", "11 CCR 7021(b)")),
        ("\"ccpa\", \"gdpr\"", DELETE, ("2026-12-23", "GDPR art. 12(3)")),
        ("\"ccpa\", \"gdpr\"", QUESTION, ("2026-12-23", "no law known; the shortest general one")),
        // Nobody knows what this is; it may be any of it.
        ("\"ccpa\"", "Please do not delete my account.", ("2027-01-07", "11 CCR 7021(b)")),
    ] {
        let house = House::with(&laws(names)).await;
        // The server had it on the 23rd; we were down for nine days.
        house.receive_at(at("2026-12-02T10:00:00Z"), 1, vec![(1, letter("jane@example.org", words))]).await;
        let found = due(&house).await;
        assert_eq!((found.0.as_str(), found.1.as_str()), expected, "{names} {words}");
        let raw = house.letters().await.remove(0).2;
        assert!(!raw.contains("{{"), "{raw}");
    }
}

#[tokio::test]
async fn the_day_of_receipt_is_the_time_zones() {
    let house = House::with(&laws("\"gdpr\"")).await;
    house.deliver(at("2026-11-23T23:30:00Z"), 1, letter("jane@example.org", DELETE)).await;
    assert_eq!(due(&house).await.0, "2026-12-24");
    let raw = house.letters().await.remove(0).2;
    assert!(raw.contains("Auto-Submitted: auto-replied"), "{raw}");
}

#[tokio::test]
async fn an_extension_is_told_once_in_the_language_of_the_request() {
    for (words, expected) in [
        (DELETE, ["by 21 February 2027", "Your request is complex"]),
        (GERMAN, ["bis zum 21. Februar 2027", "Ihre Anfrage ist umfangreich"]),
    ] {
        let house = House::with(&laws("\"ccpa\", \"gdpr\"")).await;
        house.deliver(at("2026-11-23T10:00:00Z"), 1, letter("jane@example.org", words)).await;
        let before = house.letters().await.len();
        let told = put_off(&house, Reason::Complexity, "2026-12-10T08:00:00Z").await;
        assert_eq!(told, Ok("2027-02-21".parse().unwrap()), "the CCPA's 90 days are the earlier of the two");
        assert_eq!(due(&house).await, ("2027-02-21".to_owned(), "11 CCR 7021(b)".to_owned()));
        let letters = house.letters().await;
        assert_eq!(letters.len(), before + 1);
        let (to, template, raw) = letters.last().unwrap();
        assert_eq!((to.as_str(), template.as_str()), ("jane@example.org", "extended"));
        assert!(raw.contains("In-Reply-To: <jane@example.org>"), "{raw}");
        let text = mail_text(raw);
        assert!(text.contains(expected[0]), "{text}");
        assert!(text.contains(expected[1]), "{text}");

        // Once, and nothing else has changed.
        let again = put_off(&house, Reason::Other, "2026-12-11T08:00:00Z").await.unwrap_err();
        let reference = reference(&house).await;
        assert_eq!(
            again.to_string(),
            format!(
                "The request {reference} was extended on Thu 10 Dec 2026, and that can be done once: it is due on Sun 21 Feb 2027"
            )
        );
        assert_eq!(house.letters().await.len(), before + 1);
        let (_, events) = house.store.request(&reference).await.unwrap().unwrap();
        let told: Vec<_> = events.iter().filter(|event| event.event == "extended").collect();
        assert_eq!(told.len(), 1);
        assert_eq!(
            (told[0].actor.as_str(), told[0].reason.as_str()),
            ("person", "complexity: from 2026-12-23 to 2027-02-21 (11 CCR 7021(b))")
        );
    }
}

/// The body of a mail of ours, decoded, on one line.
fn mail_text(raw: &str) -> String {
    let message = privacyd::message::Message::parse(raw.as_bytes()).unwrap();
    message.text().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn every_reason_has_its_words_in_every_language() {
    let mut seen = std::collections::BTreeSet::new();
    for words in [
        DELETE,
        GERMAN,
        "Veuillez supprimer toutes mes données personnelles.",
        "Quiero que eliminen todos mis datos personales.",
    ] {
        for reason in Reason::ALL {
            let house = House::with(&laws("\"gdpr\"")).await;
            house.deliver(at("2026-11-23T10:00:00Z"), 1, letter("jane@example.org", words)).await;
            put_off(&house, reason, "2026-12-10T08:00:00Z").await.unwrap();
            let (_, _, raw) = house.letters().await.pop().unwrap();
            let text = mail_text(&raw);
            let reference = reference(&house).await;
            assert!(text.contains(&reference), "{text}");
            assert!(seen.insert(text.replace(&reference, "")), "two reasons, one text: {text}");
        }
    }
    assert_eq!(seen.len(), 16);
}

#[tokio::test]
async fn what_cannot_be_extended_stays_as_it_is() {
    for (names, words, now, expected) in [
        ("\"gdpr\"", DELETE, "2026-12-23T23:30:00Z", "the first period ended on Wed 23 Dec 2026"),
        (
            "",
            DELETE,
            "2026-12-01T10:00:00Z",
            "the shortest general one, due on Wed 23 Dec 2026, allows no extension",
        ),
        ("\"can_spam\"", "Please take me off your mailing list.", "2026-11-24T10:00:00Z", "is completed"),
    ] {
        let house = House::with(&laws(names)).await;
        house.deliver(at("2026-11-23T10:00:00Z"), 1, letter("jane@example.org", words)).await;
        let before = (due(&house).await, house.letters().await.len());
        let refusal = put_off(&house, Reason::Other, now).await.unwrap_err();
        assert!(refusal.to_string().contains(expected), "{refusal}");
        assert_eq!((due(&house).await, house.letters().await.len()), before);
    }
    let house = House::with(&laws("\"gdpr\"")).await;
    let clock = &house.intake.policy.clock;
    let nothing = extend(
        &house.store,
        &house.intake.table,
        &house.intake.replies,
        clock,
        "PR-000000",
        Reason::Other,
        at("2026-11-23T10:00:00Z"),
    );
    assert_eq!(nothing.await.unwrap(), Err(Refusal::NotFound("PR-000000".to_owned())));
}

#[tokio::test]
async fn an_extension_and_its_notice_are_one() {
    let house = House::with(&laws("\"gdpr\"")).await;
    house.deliver(at("2026-11-23T10:00:00Z"), 1, letter("jane@example.org", DELETE)).await;
    house.execute("CREATE TRIGGER full BEFORE INSERT ON outbox BEGIN SELECT RAISE(ABORT, 'full'); END").await;
    let intake = &house.intake;
    let (clock, reference) = (&intake.policy.clock, reference(&house).await);
    let now = at("2026-12-01T10:00:00Z");
    let reason = Reason::Complexity;
    let failed = extend(&house.store, &intake.table, &intake.replies, clock, &reference, reason, now).await;
    assert!(failed.is_err());
    assert_eq!(due(&house).await.0, "2026-12-23");
    house.execute("DROP TRIGGER full").await;
    assert_eq!(put_off(&house, reason, "2026-12-01T10:00:00Z").await, Ok("2027-02-23".parse().unwrap()));
}

#[tokio::test]
async fn what_a_person_must_read_is_due_as_early_as_anything_found_in_it() {
    let house = House::with(&laws("\"gdpr\", \"bulk_senders\"")).await;
    // Who wants it is not known; that somebody wants no more mail is.
    let mut mail = b"From: Ann <ann@example.org>\n".to_vec();
    mail.extend(letter("jane@example.org", "Please unsubscribe me from your newsletter."));
    house.receive_at(at("2026-11-23T10:00:00Z"), 1, vec![(1, mail)]).await;
    let request = house.store.requests(None, 10).await.unwrap().remove(0);
    assert_eq!((request.kind.as_str(), request.status.as_str()), ("unclear", "held"));
    assert_eq!(due(&house).await, ("2026-11-25".into(), "Gmail and Yahoo sender guidelines".into()));
    let case = house.store.case(&request.reference).await.unwrap().unwrap();
    let text = as_text(&case, &house.intake.policy.clock);
    assert!(text.contains("It may be of a type that is due earlier"), "{text}");
}

#[tokio::test]
async fn proof_starts_the_month_of_the_uk_and_leaves_that_of_others() {
    for (names, expected, moved) in [("\"uk_gdpr\"", "2026-12-30", true), ("\"gdpr\"", "2026-12-23", false)] {
        let house = House::with(&laws(names)).await;
        house.deliver(at("2026-11-23T10:00:00Z"), 1, letter("jane@example.org", DELETE)).await;
        assert_eq!(due(&house).await.0, "2026-12-23");
        let (_, template, raw) = house.letters().await.remove(0);
        assert_eq!(template, "confirm");
        let asked = privacyd::message::Message::parse(raw.as_bytes()).unwrap();
        let mail = format!(
            "From: jane@example.org\nTo: privacy@example.com\nSubject: Re: {}\nMessage-ID: <yes@example.org>\n\nYES\n",
            asked.subject()
        );
        house.deliver(at("2026-11-30T09:00:00Z"), 2, mail.into_bytes()).await;
        let request = house.store.requests(None, 10).await.unwrap().remove(0);
        assert_eq!((request.status.as_str(), request.due_on.as_str()), ("approved", expected));
        let (_, events) = house.store.request(&request.reference).await.unwrap().unwrap();
        assert_eq!(events.iter().any(|event| event.event == "due_moved"), moved, "{events:?}");
        let (_, template, raw) = house.letters().await.pop().unwrap();
        assert_eq!(template, "confirmed");
        let told = if moved { "30 December 2026" } else { "23 December 2026" };
        assert!(mail_text(&raw).contains(told), "{raw}");
        let case = house.store.case(&request.reference).await.unwrap().unwrap();
        let text = as_text(&case, &house.intake.policy.clock);
        let line = "starts at the proof of identity, Mon 30 Nov 2026";
        assert_eq!(text.contains(line), moved, "{text}");
        assert!(!text.contains("have changed since"), "{text}");
        // Its warnings follow: half of the time from receipt to the new date.
        assert_eq!(house.intake.warn(at("2026-12-09T00:00:00Z")).await.unwrap(), u64::from(!moved));
    }
}

#[tokio::test]
async fn each_threshold_is_warned_of_once_across_restarts_and_what_is_overdue_every_day() {
    let keys = format!("{}[admin]\nnotify = \"dpo@example.org\"\n", laws("\"gdpr\""));
    let mut house = House::with(&keys).await;
    house.deliver(at("2026-11-23T10:00:00Z"), 1, letter("jane@example.org", QUESTION)).await;
    // 30 days and 13 hours, to midnight in Berlin at the end of 23 December.
    let mut count = 0;
    for (now, given, words) in [
        ("2026-11-24T10:00:00Z", 0, ""),
        ("2026-12-08T16:00:00Z", 0, ""),
        ("2026-12-08T16:31:00Z", 1, "50 % of the time gone"),
        ("2026-12-08T16:32:00Z", 0, ""),
        ("2026-12-17T20:30:00Z", 1, "80 % of the time gone"),
        ("2026-12-17T20:31:00Z", 0, ""),
        ("2026-12-22T10:30:00Z", 1, "95 % of the time gone"),
        ("2026-12-23T22:59:59Z", 0, ""),
        ("2026-12-23T23:00:00Z", 1, "OVERDUE"),
        ("2026-12-23T23:01:00Z", 0, ""),
        ("2026-12-24T22:59:00Z", 0, ""),
        ("2026-12-24T23:00:30Z", 1, "OVERDUE"),
        // The daemon was down for days: one warning, not one for each.
        ("2026-12-28T12:00:00Z", 1, "OVERDUE"),
        ("2026-12-28T12:01:00Z", 0, ""),
        ("2026-12-28T23:00:00Z", 1, "OVERDUE"),
    ] {
        assert_eq!(house.intake.warn(at(now)).await.unwrap(), given, "{now}");
        house = house.restarted().await;
        assert_eq!(house.intake.warn(at(now)).await.unwrap(), 0, "{now}, again");
        count += given;
        let notices = notices(&house).await;
        assert_eq!(notices.len() as u64, count, "{now}");
        if given > 0 {
            let (to, raw) = notices.last().unwrap();
            assert_eq!(to, "dpo@example.org");
            let text = mail_text(raw);
            let reference = reference(&house).await;
            let line = format!("- {reference} question: answer due on Wed 23 Dec 2026, {words}");
            assert!(text.contains(&line), "{text}");
            assert!(raw.contains("Auto-Submitted: auto-generated"), "{raw}");
            assert!(raw.contains("From: Example <privacy@example.com>"), "{raw}");
            for word in ["jane", "Zebedee", "Quux", "Xylophone"] {
                assert!(!raw.contains(word), "{word}: {raw}");
            }
        }
    }
}

#[tokio::test]
async fn several_warnings_are_one_mail_and_thresholds_that_were_slept_through_one_warning() {
    let house = House::with("[admin]\nnotify = \"dpo@example.org\"\n").await;
    for uid in 1..=3 {
        let from = format!("user{uid}@example.org");
        house.deliver(at("2026-11-23T10:00:00Z"), uid, letter(&from, QUESTION)).await;
    }
    assert_eq!(house.intake.warn(at("2026-12-22T20:00:00Z")).await.unwrap(), 3);
    let notices = notices(&house).await;
    assert_eq!(notices.len(), 1);
    let text = mail_text(&notices[0].1);
    assert_eq!(text.matches("96 % of the time gone").count(), 3, "{text}");
    assert!(notices[0].1.contains("Subject: 3 requests are running short of time"), "{}", notices[0].1);
}

#[tokio::test]
async fn what_is_urgent_is_told_at_once() {
    let house = House::with("[admin]\nnotify = \"dpo@example.org\"\n").await;
    let child =
        "My son is nine and has an account with you, which we never allowed. What do you hold about him?";
    house.deliver(at("2026-11-23T10:00:00Z"), 1, letter("ann@example.org", child)).await;
    house.deliver(at("2026-11-23T10:00:00Z"), 2, letter("jane@example.org", QUESTION)).await;
    let letters = house.letters().await;
    let alarms: Vec<_> = letters.iter().filter(|(_, template, _)| template == "urgent").collect();
    assert_eq!((alarms.len(), alarms[0].0.as_str()), (1, "dpo@example.org"));
    let text = mail_text(&alarms[0].2);
    let reference = house.store.requests(None, 10).await.unwrap();
    let reference = &reference.iter().find(|request| request.kind == "child_data").unwrap().reference;
    for part in [
        format!("- {reference} child_data, due on Wed 23 Dec 2026 What"),
        format!("privacyd requests show {reference} This"),
    ] {
        assert!(text.contains(&part), "{part}: {text}");
    }
    assert!(alarms[0].2.contains(&format!("Subject: Request {reference} needs a person now\r\n")));
    for word in ["ann", "nine", "wrong with privacyd"] {
        assert!(!alarms[0].2.contains(word), "{word}: {text}");
    }
    // Whoever goes on does not fill the operator's mailbox.
    for uid in 3..=40 {
        house.deliver(at("2026-11-23T10:10:00Z"), uid, letter(&format!("p{uid}@example.org"), child)).await;
    }
    let letters = house.letters().await;
    assert_eq!(letters.iter().filter(|(_, template, _)| template == "urgent").count(), 20);
}

/// Whenever the process ends, what is urgent and the letter about it both stand, or neither does and the mail comes again.
#[tokio::test]
async fn what_is_urgent_and_the_letter_about_it_are_one_transaction() {
    let house = House::with("[admin]\nnotify = \"dpo@example.org\"\n").await;
    house
        .execute(
            "CREATE TRIGGER no_letter BEFORE INSERT ON outbox WHEN NEW.template = 'urgent' BEGIN SELECT RAISE(ABORT, 'no'); END",
        )
        .await;
    let child =
        "My son is nine and has an account with you, which we never allowed. What do you hold about him?";
    let mail = || vec![(1, letter("ann@example.org", child))];
    let now = at("2026-11-23T10:00:00Z");
    let deliver = async || house.intake.receive("box", support::window(1, mail()), now).await;
    assert!(deliver().await.is_err());
    assert_eq!((house.store.requests(None, 10).await.unwrap().len(), house.letters().await.len()), (0, 0));
    house.execute("DROP TRIGGER no_letter").await;
    deliver().await.unwrap();
    assert_eq!(house.store.requests(None, 10).await.unwrap().len(), 1);
    assert!(house.letters().await.iter().any(|(_, template, _)| template == "urgent"));
}

#[tokio::test]
async fn nothing_is_warned_of_that_is_closed() {
    let house = House::new().await;
    let opt_out = letter("jane@example.org", "Please take me off your mailing list.");
    house.deliver(at("2026-11-23T10:00:00Z"), 1, opt_out).await;
    house.deliver(at("2026-11-23T10:00:00Z"), 2, letter("ann@example.org", DELETE)).await;
    // Nobody has answered the question: the deletion expires on 7 December, before half of the 30 days.
    assert_eq!(house.intake.sweep(at("2026-11-30T10:30:00Z")).await.unwrap(), 1, "the reminder");
    assert_eq!(house.intake.sweep(at("2026-12-07T10:30:00Z")).await.unwrap(), 1);
    assert_eq!(house.intake.warn(at("2026-12-24T10:00:00Z")).await.unwrap(), 0);
    assert!(!house.store.has_warnings(at("2027-12-24T10:00:00Z")).await.unwrap());
    assert_eq!(notices(&house).await.len(), 0);
}

#[tokio::test]
async fn warnings_without_an_address_send_no_mail() {
    let house = House::new().await;
    house.deliver(at("2026-11-23T10:00:00Z"), 1, letter("jane@example.org", QUESTION)).await;
    let before = house.letters().await.len();
    assert_eq!(house.intake.warn(at("2026-12-20T10:00:00Z")).await.unwrap(), 1);
    assert_eq!(house.letters().await.len(), before);
}

#[tokio::test]
async fn an_acknowledgement_that_did_not_go_out_is_warned_of() {
    let keys = format!("{}[admin]\nnotify = \"dpo@example.org\"\n", laws("\"ccpa\""));
    for sent in [false, true] {
        let house = House::with(&keys).await;
        house.deliver(at("2026-11-23T10:00:00Z"), 1, letter("jane@example.org", DELETE)).await;
        if sent {
            house
                .execute("UPDATE outbox SET state = 'sent', updated_at = unixepoch('2026-11-23 10:01:00')")
                .await;
        }
        let reference = reference(&house).await;
        let case = house.store.case(&reference).await.unwrap().unwrap();
        let clock = &house.intake.policy.clock;
        let text = as_text(&case, clock);
        let line = match sent {
            true => "acknowledged Mon 23 Nov 2026 (2026-11-23T10:01:00Z)",
            false => "acknowledged: not yet",
        };
        assert!(text.contains(line), "{text}");
        // The ten business days end on 7 December, the 45 days on 7 January.
        assert_eq!(house.intake.warn(at("2026-12-05T10:00:00Z")).await.unwrap(), u64::from(!sent));
        if !sent {
            let text = mail_text(&notices(&house).await[0].1);
            assert!(text.contains("deletion: acknowledgement due on Mon 7 Dec 2026, 82 %"), "{text}");
        }
    }
}

#[tokio::test]
async fn an_extension_begins_the_warnings_anew() {
    let house = House::with(&laws("\"gdpr\"")).await;
    house.deliver(at("2026-11-23T10:00:00Z"), 1, letter("jane@example.org", DELETE)).await;
    assert_eq!(house.intake.warn(at("2026-12-22T12:00:00Z")).await.unwrap(), 1);
    put_off(&house, Reason::NumberOfRequests, "2026-12-22T13:00:00Z").await.unwrap();
    // 92 days to 23 February: half of them are gone on 8 January.
    assert_eq!(house.intake.warn(at("2026-12-24T12:00:00Z")).await.unwrap(), 0);
    assert_eq!(house.intake.warn(at("2027-01-09T12:00:00Z")).await.unwrap(), 1);
}

#[tokio::test]
async fn explain_says_what_was_done_and_what_was_told() {
    let house = House::with(&laws("\"gdpr\"")).await;
    house.deliver(at("2026-11-23T10:00:00Z"), 1, letter("jane@example.org", DELETE)).await;
    put_off(&house, Reason::Complexity, "2026-12-10T08:00:00Z").await.unwrap();
    let reference = reference(&house).await;
    let case = house.store.case(&reference).await.unwrap().unwrap();
    let clock = &house.intake.policy.clock;
    assert_eq!(
        as_text(&case, clock),
        format!(
            "{reference}  deletion  awaiting_proof\n\
             received Mon 23 Nov 2026 (day 0, Europe/Berlin)\n\
             gdpr:\n  +1 month +2 months of extension\n  = Tue 23 Feb 2027 (GDPR art. 12(3), answer)\n\
             earliest to answer: Tue 23 Feb 2027 (GDPR art. 12(3))\n\
             acknowledged: not yet\n\
             extended Thu 10 Dec 2026 (2026-12-10T08:00:00Z): complexity\n\
             due Tue 23 Feb 2027 (GDPR art. 12(3))"
        )
    );
    let value = as_json(&case, clock);
    assert_eq!(value["due"], "2027-02-23");
    assert_eq!(value["extended_because"], "complexity");
    assert_eq!(value["answer"]["steps"][0], "+1 month +2 months of extension");
    assert!(value["note"].is_null());
    // Under another configuration the recorded date stands, and is said to.
    let other = House::with(&laws("\"ccpa\"")).await;
    let text = as_text(&case, &other.intake.policy.clock);
    assert!(text.contains("Tue 23 Feb 2027 (GDPR art. 12(3)) is what was recorded and told"), "{text}");
}

#[tokio::test]
async fn a_clock_that_was_ahead_silences_nothing_once_it_is_right() {
    let keys = "[admin]\nnotify = \"dpo@example.com\"\ndigest_at = \"08:00\"\n";
    let house = House::with(&format!("{}{keys}", laws("\"gdpr\""))).await;
    let start = at("2026-11-23T10:00:00Z");
    let ahead = start + SignedDuration::from_hours(400 * 24);
    assert_eq!(house.store.set_back(start).await.unwrap(), None);
    house.receive_at(ahead, 1, vec![(1, letter("jane@example.org", DELETE))]).await;
    let (_, claim) = house.store.settle_and_claim(&[], 1, ahead).await.unwrap();
    let deferred: Vec<_> =
        claim.rows.into_iter().map(|row| (row, Outcome::Deferred("busy".to_owned()))).collect();
    assert_eq!(deferred.len(), 1);
    house.store.settle_and_claim(&deferred, 0, ahead).await.unwrap();
    assert!(house.intake.warn(ahead).await.unwrap() > 0, "it is overdue, by that clock");
    assert!(house.intake.digest(ahead).await.unwrap());
    let canaries = CanaryConfig { every: Duration::from_secs(6 * 3600), within: Duration::from_secs(1800) };
    house.intake.canary(&canaries, start, ahead).await.unwrap();
    house.store.record_reconciliation(&Reconciled::default(), ahead).await.unwrap();

    let right = start + SignedDuration::from_mins(1);
    assert_eq!(house.store.due(right).await.unwrap().0, 0);
    let newest = house.store.set_back(right).await.unwrap();
    assert_eq!(newest, Some(ahead));
    assert_eq!(house.store.set_back(right).await.unwrap(), None, "once is enough");
    // The reply, and what the operator was to be told.
    assert_eq!(house.store.due(right).await.unwrap().0, 4);
    let until = house.scalar("SELECT proof_until FROM requests").await;
    assert_eq!(until, right.as_second() + 14 * 86400);
    assert_eq!(house.store.reconciliation().await.unwrap().unwrap().at, Some(right));
    assert!(house.intake.digest(right).await.unwrap());
    house.intake.canary(&canaries, start, right + SignedDuration::from_hours(6)).await.unwrap();
    let of =
        async |template: &str| house.letters().await.into_iter().filter(|(_, it, _)| it == template).count();
    assert_eq!((of("digest").await, of("canary").await), (2, 2));
    assert_eq!(house.intake.warn(right).await.unwrap(), 0, "nothing runs short of time yet");
    assert_eq!(house.intake.warn(at("2026-12-09T10:00:00Z")).await.unwrap(), 1);
}
