//! The legal clocks in the corridor: by when a request is due, what puts that off, who is warned, and what
//! of it survives a restart. The time is the test's own.

use jiff::Timestamp;
use jiff::civil::Date;
use privacyd::clock::Reason;
use privacyd::operator::clocks::{Refusal, as_json, as_text, extend};

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
