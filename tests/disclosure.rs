//! What third parties got (Cal. Civ. Code 1798.83): an authenticated sender is told it from the configuration, once
//! a calendar year; everybody else waits for a person.

use jiff::Timestamp;
use privacyd::mailer::Outcome;
use privacyd::message::Message;
use privacyd::operator::hand::{Verb, act};
use privacyd::stop::Stop;

#[path = "support/corridor.rs"]
mod support;

use support::House;

const BELIEVING: &str = "[authentication]\nauthserv_ids = [\"mx.example.com\"]\n\
                         [clock]\nlaws = [\"shine_the_light\"]\ntime_zone = \"America/Los_Angeles\"\n";
const YEAR: &str = "[[disclosure.year]]\nyear = 2025\ncategories = [\"postal addresses\", \"purchases\"]\n\
                    [[disclosure.year.third_party]]\nname = \"Example Mailings, Inc.\"\n\
                    address = \"1 Example Street, Springfield\"\nbusiness = \"garden tools\"\n";
const NOTHING: &str = "[[disclosure.year]]\nyear = 2025\n";
const ASKS: &str = "Please tell me which third parties you disclosed my personal information to for their direct marketing purposes last year.";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

struct Exchange {
    house: House,
    next: u32,
}

impl Exchange {
    async fn with(keys: &str) -> Self {
        Self { house: House::with(&format!("{BELIEVING}{keys}")).await, next: 1 }
    }

    /// A letter, authenticated or not; then one look for work, and one more.
    async fn asks(&mut self, now: &str, from: &str, is_proven: bool, words: &str) {
        let domain = from.split('@').nth(1).unwrap();
        let results = format!("Authentication-Results: mx.example.com; dmarc=pass header.from={domain}\n");
        let mail = format!(
            "{}From: Zebedee Quux <{from}>\nTo: privacy@example.com\nSubject: Xylophone\nMessage-ID: <{}@example.org>\n\n{words}\n",
            if is_proven { &results } else { "" },
            self.next
        );
        self.house.deliver(at(now), self.next, mail.into_bytes()).await;
        self.next += 1;
        for _ in 0..2 {
            self.work(now).await;
        }
    }

    async fn work(&self, now: &str) -> u64 {
        self.house.work.pass(at(now), Some(at(now)), &Stop::never()).await.unwrap()
    }

    async fn statuses(&self) -> Vec<(String, String)> {
        let mut rows = self.house.store.requests(None, 100).await.unwrap();
        rows.sort_by_key(|row| row.message_id);
        rows.into_iter().map(|row| (row.reference, row.status)).collect()
    }

    async fn last(&self) -> (String, String, String) {
        let (to, template, raw) = self.house.letters().await.pop().unwrap();
        (to, template, Message::parse(raw.as_bytes()).unwrap().text().replace('\r', ""))
    }
}

#[tokio::test]
async fn the_year_before_is_told_and_the_request_completed() {
    let mut exchange = Exchange::with(YEAR).await;
    exchange.asks("2026-03-02T10:00:00Z", "jane@example.org", true, ASKS).await;
    let (reference, status) = exchange.statuses().await.remove(0);
    assert_eq!(status, "completed");
    let (to, template, text) = exchange.last().await;
    assert_eq!((to.as_str(), template.as_str()), ("jane@example.org", "disclosed"));
    for words in [
        reference.as_str(),
        "for the calendar year 2025",
        "- postal addresses\n- purchases\n",
        "- Example Mailings, Inc., 1 Example Street, Springfield (garden tools)\n",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    for word in ["Zebedee", "Quux", "Xylophone"] {
        assert!(!text.contains(word), "{text}");
    }
    assert_eq!(exchange.house.letters().await.len(), 2, "an acknowledgement, and the answer");
    let (_, events) = exchange.house.store.request(&reference).await.unwrap().unwrap();
    assert_eq!(events.last().unwrap().reason, "told what third parties got in 2025");
}

#[tokio::test]
async fn that_there_was_nothing_is_told_where_the_configuration_says_so() {
    let mut exchange = Exchange::with(NOTHING).await;
    exchange.asks("2026-03-02T10:00:00Z", "jane@example.org", true, ASKS).await;
    assert_eq!(exchange.statuses().await[0].1, "completed");
    let (_, template, text) = exchange.last().await;
    assert_eq!(template, "disclosed");
    assert!(text.contains("gave no personal data to third parties"), "{text}");
}

#[tokio::test]
async fn of_a_year_that_is_not_known_a_person_tells() {
    for (keys, now) in [
        ("", "2026-03-02T10:00:00Z"),
        (YEAR, "2027-03-02T10:00:00Z"),
        // It is still 2025 in California, and is 2027 again.
        (YEAR, "2026-01-01T07:59:59Z"),
        (YEAR, "2027-01-01T08:00:00Z"),
    ] {
        let mut exchange = Exchange::with(keys).await;
        exchange.asks(now, "jane@example.org", true, ASKS).await;
        assert_eq!(exchange.statuses().await[0].1, "approved", "{now}");
        assert_eq!(exchange.last().await.1, "disclosure");
    }
    for now in ["2026-01-01T08:00:00Z", "2027-01-01T07:59:59Z"] {
        let mut exchange = Exchange::with(YEAR).await;
        exchange.asks(now, "jane@example.org", true, ASKS).await;
        assert_eq!(exchange.statuses().await[0].1, "completed", "{now}");
    }
}

#[tokio::test]
async fn nobody_is_told_whom_nothing_proves_until_a_person_says_so() {
    let mut exchange = Exchange::with(YEAR).await;
    exchange.asks("2026-03-02T10:00:00Z", "jane@example.org", false, ASKS).await;
    let (reference, status) = exchange.statuses().await.remove(0);
    assert_eq!(status, "held");
    assert_eq!(exchange.house.letters().await.len(), 1);
    approve(&exchange, &reference, "2026-03-03T10:00:00Z").await;
    assert_eq!(exchange.work("2026-03-03T10:00:00Z").await, 1);
    assert_eq!(exchange.last().await.1, "disclosed");
}

async fn approve(exchange: &Exchange, reference: &str, now: &str) {
    let tools = exchange.house.intake.tools();
    let done =
        act(&exchange.house.store, tools, reference, &Verb::Approve { proof: None, subject: None }, at(now))
            .await;
    assert_eq!(done.unwrap().status, "approved");
}

#[tokio::test]
async fn once_a_year_a_person() {
    let mut exchange = Exchange::with(&format!("{YEAR}{}", NOTHING.replace("2025", "2026"))).await;
    exchange.asks("2026-03-02T10:00:00Z", "jane@example.org", true, ASKS).await;
    exchange.asks("2026-05-02T10:00:00Z", "ann@example.org", true, ASKS).await;
    exchange.asks("2026-06-02T10:00:00Z", "jane@example.org", true, &format!("{ASKS} Thank you.")).await;
    let statuses = exchange.statuses().await;
    let status: Vec<&str> = statuses.iter().map(|(_, status)| status.as_str()).collect();
    assert_eq!(status, ["completed", "completed", "completed"]);
    let (to, template, text) = exchange.last().await;
    assert_eq!((to.as_str(), template.as_str()), ("jane@example.org", "disclosed_before"));
    assert!(text.contains(&statuses[0].0) && !text.contains("Example Mailings"), "{text}");
    // Whoever insists has a reason.
    exchange.asks("2026-07-02T10:00:00Z", "jane@example.org", true, &format!("{ASKS} Please.")).await;
    let (reference, status) = exchange.statuses().await.pop().unwrap();
    assert_eq!(status, "held");
    assert_eq!(exchange.last().await.1, "disclosure");
    approve(&exchange, &reference, "2026-07-03T10:00:00Z").await;
    assert_eq!(exchange.work("2026-07-03T10:00:00Z").await, 1);
    let (_, template, text) = exchange.last().await;
    assert!(template == "disclosed" && text.contains("Example Mailings"), "{text}");
    // A new year, a new answer.
    exchange.asks("2027-01-02T10:00:00Z", "jane@example.org", true, &format!("{ASKS} Hello!")).await;
    let (_, template, text) = exchange.last().await;
    assert!(template == "disclosed" && text.contains("calendar year 2026"), "{text}");
}

#[tokio::test]
async fn an_answer_that_comes_back_was_not_given() {
    let mut exchange = Exchange::with(YEAR).await;
    let (first, later) = ("2026-03-02T10:00:00Z", "2026-06-02T10:00:00Z");
    exchange.asks(first, "jane@example.org", true, ASKS).await;
    let store = &exchange.house.store;
    let (_, claim) = store.settle_and_claim(&[], 10, at(first)).await.unwrap();
    let results: Vec<_> = claim
        .rows
        .into_iter()
        .map(|row| match row.template.as_str() {
            "disclosed" => (row, Outcome::Bounced("550 5.1.1".into())),
            _ => (row, Outcome::Sent("250".into())),
        })
        .collect();
    store.settle_and_claim(&results, 0, at(first)).await.unwrap();
    let (reference, status) = exchange.statuses().await.remove(0);
    assert_eq!(status, "held", "it is open again");
    // A person closes it, by whatever way; what never arrived is nothing to refer to.
    let tools = exchange.house.intake.tools();
    act(&exchange.house.store, tools, &reference, &Verb::Complete { set: vec![] }, at(first)).await.unwrap();
    exchange.asks(later, "jane@example.org", true, &format!("{ASKS} Thank you.")).await;
    let (_, template, text) = exchange.last().await;
    assert!(template == "disclosed" && text.contains("Example Mailings"), "{template}: {text}");
}

#[tokio::test]
async fn beside_something_else_both_are_done() {
    let mut exchange = Exchange::with(YEAR).await;
    let both = format!("{ASKS} And please unsubscribe me from your newsletter.");
    exchange.asks("2026-03-02T10:00:00Z", "jane@example.org", true, &both).await;
    let status: Vec<String> = exchange.statuses().await.into_iter().map(|(_, status)| status).collect();
    assert_eq!(status, ["completed", "completed"]);
    assert_eq!(exchange.last().await.1, "disclosed");
    assert_eq!(exchange.house.suppressed(["jane@example.org"]).await, [true]);
}
