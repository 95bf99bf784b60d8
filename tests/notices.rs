//! Notices to everybody: each person once, within the rate, whatever happens on the way.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use privacyd::config::Secret;
use privacyd::mailer::{Mailer, MemoryBox, Outcome};
use privacyd::notice::Notices;
use privacyd::operator::import_from;
use privacyd::operator::notice::queue;
use privacyd::reply::POLICY_CHANGE;
use privacyd::stop::Stop;
use privacyd::store::notices::{OpenNotice, Progress};
use privacyd::token::Tokens;

#[path = "support/corridor.rs"]
mod support;

use support::{House, window};

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const TOKEN: &str = "dt4ge7xwrzy44mnrnjqw4zkamv4gc3lqnrss4y3pnu";

struct Post {
    house: House,
    memory: Arc<Mutex<MemoryBox>>,
}

impl Post {
    async fn new(csv: &str) -> Self {
        let house = House::new().await;
        import_from(&house.store, csv.as_bytes(), |_, _| {}).await.unwrap();
        Self { house, memory: Arc::default() }
    }

    /// A post with so many contacts.
    async fn with(people: usize) -> Self {
        let list: String = (0..people).map(|n| format!("user{n}@example.org\n")).collect();
        Self::new(&format!("email\n{list}")).await
    }

    async fn send(&self, name: &str, per_minute: u32) -> u64 {
        let notice = self.open(name, per_minute).await;
        queue(&self.house.store, notice, Timestamp::now(), |_| {}).await.unwrap()
    }

    async fn open(&self, name: &str, per_minute: u32) -> i64 {
        match self.house.store.open_notice(name, POLICY_CHANGE, per_minute, Timestamp::now()).await.unwrap() {
            OpenNotice::Open(notice) => notice,
            refused => panic!("{refused:?}"),
        }
    }

    /// The unfinished notice that stands in the way of one of this name, if one does.
    async fn in_the_way_of(&self, name: &str) -> Option<String> {
        let now = Timestamp::now();
        match self.house.store.open_notice(name, POLICY_CHANGE, 6000, now).await.unwrap() {
            OpenNotice::Unfinished(other) => Some(other),
            _ => None,
        }
    }

    fn notices(&self, keys: &[&str]) -> Notices {
        let keys: Vec<Secret> = keys.iter().map(|key| Secret::from(*key)).collect();
        let tokens = Tokens::new(&keys, &["privacy@example.com".parse().unwrap()]);
        let mailer = Arc::new(Mailer::Memory(Arc::clone(&self.memory)));
        Notices::new(Arc::clone(&self.house.intake), mailer, tokens)
    }

    /// A minute's worth.
    async fn minute(&self) -> u64 {
        self.notices(&[]).run(true, &Stop::never()).await.unwrap()
    }

    /// Recipient and text of everything that was sent.
    fn sent(&self) -> Vec<(String, String)> {
        let memory = self.memory.lock().unwrap();
        let letters = memory.delivered.iter();
        letters.map(|l| (l.recipient.clone(), String::from_utf8(l.raw.clone()).unwrap())).collect()
    }

    async fn progress(&self, name: &str) -> Progress {
        self.house.store.notices(Some(name)).await.unwrap().remove(0)
    }

    async fn progress_of_all(&self) -> Vec<String> {
        self.house.store.notices(None).await.unwrap().into_iter().map(|progress| progress.name).collect()
    }

    async fn count(&self, name: &str, state: &str) -> i64 {
        self.progress(name).await.states.get(state).copied().unwrap_or(0)
    }
}

#[tokio::test]
async fn everybody_gets_it_once_in_their_language_whatever_they_opted_out_of() {
    let post = Post::new(
        "email,language\nJane@example.com,DE\nann@example.org,fr-CA\nbob@example.org,\neve@example.org,tlh\n",
    )
    .await;
    let ann = "ann@example.org".parse().unwrap();
    post.house.store.suppress(&ann, "marketing", Timestamp::now()).await.unwrap();
    assert_eq!(post.send("p", 1000).await, 4);
    assert_eq!(post.send("p", 1000).await, 0);
    assert_eq!(post.notices(&[KEY]).run(false, &Stop::never()).await.unwrap(), 4);
    assert_eq!(post.notices(&[KEY]).run(false, &Stop::never()).await.unwrap(), 0);
    let sent = post.sent();
    let subject = |to: &str| {
        let (_, raw) = sent.iter().find(|(recipient, _)| recipient == to).unwrap();
        let mail = mail_parser::MessageParser::default().parse(raw.as_bytes()).unwrap().into_owned();
        mail.subject().unwrap().to_owned()
    };
    assert_eq!(subject("jane@example.com"), "Wir haben unsere Datenschutzerklärung geändert");
    assert_eq!(subject("ann@example.org"), "Nous avons modifié notre politique de confidentialité");
    for other in ["bob@example.org", "eve@example.org"] {
        assert_eq!(subject(other), "We have changed our privacy policy");
    }
    let (_, jane) = sent.iter().find(|(to, _)| to == "jane@example.com").unwrap();
    let (header, _) = jane.split_once("\r\n\r\n").unwrap();
    let token = format!("List-Unsubscribe: <mailto:privacy+u.{TOKEN}@example.com>\r\n");
    assert!(header.contains(&token), "{header}");
    assert!(header.contains("Auto-Submitted: auto-generated\r\n"), "{header}");
    assert!(header.contains("Message-ID: <notice.") && !header.contains("Precedence"), "{header}");
    let ids: BTreeSet<&str> =
        sent.iter().filter_map(|(_, raw)| raw.lines().find(|line| line.starts_with("Message-ID"))).collect();
    assert_eq!(ids.len(), 4);
    let progress = post.progress("p").await;
    assert_eq!((progress.state.as_str(), progress.people), ("done", 4));
    // Whoever is new gets it under the same name; nobody else.
    import_from(&post.house.store, "email\nnew@example.org\nbob@example.org\n".as_bytes(), |_, _| {})
        .await
        .unwrap();
    assert_eq!(post.send("p", 1000).await, 1);
    assert_eq!(post.minute().await, 1);
    let (to, raw) = post.sent().pop().unwrap();
    // Without keys there is no token.
    assert!(to == "new@example.org" && !raw.contains("List-Unsubscribe"));
    // And a name belongs to one template.
    let other = post.house.store.open_notice("p", "breach-notice", 1, Timestamp::now()).await.unwrap();
    assert_eq!(other, OpenNotice::OtherTemplate);
}

#[tokio::test]
async fn a_process_that_ends_on_the_way_sends_nobody_a_second_one() {
    let mut post = Post::with(20).await;
    // It ends while it queues, and is called again.
    let now = Timestamp::now();
    let notice = post.open("p", 6000).await;
    assert_eq!(post.house.store.queue_notice(notice, 5, now).await.unwrap(), Some((5, 5)));
    assert_eq!(post.send("p", 6000).await, 15);
    // It ends while it sends to three.
    let due = post.house.store.next_notice(now).await.unwrap().unwrap();
    let ids = ["<a@example.com>", "<b@example.com>", "<c@example.com>"].map(str::to_owned);
    let claimed = post.house.store.claim_notice(&due, &ids, now).await.unwrap();
    assert_eq!(claimed.len(), 3);
    post.house = post.house.restarted().await;
    assert_eq!((post.count("p", "unknown").await, post.count("p", "queued").await), (3, 17));
    assert_eq!(post.minute().await, 17);
    let mut got: Vec<String> = post.sent().into_iter().map(|(to, _)| to).collect();
    got.extend(claimed.iter().map(|to| to.address.to_string()));
    assert_eq!(got.iter().collect::<BTreeSet<_>>().len(), 20);
    assert_eq!(got.len(), 20);
}

#[tokio::test]
async fn a_notice_whose_queueing_was_broken_off_is_not_done_and_stands_in_the_way_of_another() {
    let mut post = Post::with(20).await;
    let now = Timestamp::now();
    let notice = post.open("policy-change-2026-11-28", 6000).await;
    assert_eq!(post.house.store.queue_notice(notice, 5, now).await.unwrap(), Some((5, 5)));
    post.house = post.house.restarted().await;
    // All that were queued get it; that is not all.
    assert_eq!(post.minute().await, 5);
    let progress = post.progress("policy-change-2026-11-28").await;
    assert_eq!((progress.state.as_str(), progress.people, progress.to_queue), ("queueing", 5, 15));
    // Without --name, and a day later.
    let other = Some("policy-change-2026-11-28".to_owned());
    assert_eq!(post.in_the_way_of("policy-change-2026-11-29").await, other);
    let unfinished =
        post.house.store.unfinished_notice("policy-change-2026-11-29", POLICY_CHANGE).await.unwrap();
    assert_eq!(unfinished, other);
    assert_eq!(post.progress_of_all().await, ["policy-change-2026-11-28"]);
    assert_eq!(post.send("policy-change-2026-11-28", 6000).await, 15);
    assert_eq!(post.in_the_way_of("policy-change-2026-11-29").await, other, "it is still to be sent");
    assert_eq!(post.minute().await, 15);
    let progress = post.progress("policy-change-2026-11-28").await;
    assert_eq!((progress.state.as_str(), progress.people, progress.to_queue), ("done", 20, 0));
    assert_eq!(post.in_the_way_of("policy-change-2026-11-29").await, None);
    // What is cancelled stands in nobody's way, and does not go on beside another.
    assert!(post.house.store.cancel_notice("policy-change-2026-11-29").await.unwrap());
    assert_eq!(post.in_the_way_of("third").await, None);
    assert_eq!(post.in_the_way_of("policy-change-2026-11-29").await, Some("third".to_owned()));
}

#[tokio::test]
async fn the_rate_is_kept() {
    let post = Post::with(40).await;
    post.send("slow", 30).await;
    // One pass of `run --once` is a minute's worth.
    assert_eq!(post.minute().await, 30);
    assert_eq!(post.count("slow", "queued").await, 10);
    assert_eq!(post.minute().await, 10);
    // 6000 a minute are 40 in 400 ms.
    post.send("quick", 6000).await;
    let begun = Instant::now();
    assert_eq!(post.notices(&[]).run(false, &Stop::never()).await.unwrap(), 40);
    assert!(begun.elapsed() >= Duration::from_millis(400), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn what_is_cancelled_stops_and_goes_on_when_it_is_sent_again() {
    let post = Post::with(20).await;
    post.send("p", 5).await;
    assert_eq!(post.minute().await, 5);
    assert!(post.house.store.cancel_notice("p").await.unwrap());
    assert!(!post.house.store.cancel_notice("p").await.unwrap());
    assert_eq!(post.minute().await, 0);
    assert_eq!(post.progress("p").await.state, "cancelled");
    // Also for whoever has looked already.
    let now = Timestamp::now();
    assert_eq!(post.send("p", 600).await, 0);
    let due = post.house.store.next_notice(now).await.unwrap().unwrap();
    post.house.store.cancel_notice("p").await.unwrap();
    assert!(
        post.house.store.claim_notice(&due, &["<a@example.com>".to_owned()], now).await.unwrap().is_empty()
    );
    post.send("p", 600).await;
    assert_eq!(post.minute().await, 15);
    assert!(!post.house.store.cancel_notice("p").await.unwrap(), "it is finished");
    assert_eq!(post.progress("p").await.state, "done");
    assert_eq!(post.sent().into_iter().map(|(to, _)| to).collect::<BTreeSet<_>>().len(), 20);
}

#[tokio::test]
async fn what_does_not_go_out_is_tried_again_or_told() {
    let post = Post::with(5).await;
    post.send("p", 600).await;
    let script = [
        Outcome::Deferred("451".into()),
        Outcome::Bounced("550".into()),
        Outcome::Unknown("lost".into()),
        Outcome::NotTried,
    ];
    post.memory.lock().unwrap().script = script.into();
    assert_eq!(post.minute().await, 2);
    let counts = post.progress("p").await.states;
    let expected = [("deferred", 1), ("bounced", 1), ("unknown", 1), ("sent", 2)];
    assert_eq!(counts, expected.map(|(state, count)| (state.to_owned(), count)).into());
    assert_eq!(post.progress("p").await.state, "sending");
    // Once its time has come.
    assert_eq!(post.minute().await, 0);
    post.house.execute("UPDATE notice_recipients SET next_attempt_at = 0 WHERE state = 'deferred'").await;
    assert_eq!(post.minute().await, 1);
    assert_eq!(post.progress("p").await.state, "done");
    // A server that is down costs nobody an attempt.
    post.send("q", 600).await;
    post.memory.lock().unwrap().unreachable = true;
    assert!(post.notices(&[]).run(true, &Stop::never()).await.is_err());
    assert_eq!(post.count("q", "queued").await, 5);
}

#[tokio::test]
async fn a_bounce_finds_its_notice_and_whoever_is_erased_is_gone() {
    let post = Post::with(3).await;
    post.send("p", 600).await;
    assert_eq!(post.minute().await, 3);
    let (to, raw) = post.sent().remove(0);
    let id = raw.lines().find_map(|line| line.strip_prefix("Message-ID: ")).unwrap().to_owned();
    let report = |number: u32, recipient: &str| {
        format!(
            "From: MAILER-DAEMON@mx.example.net\nMessage-ID: <r{number}@mx.example.net>\n\
             Content-Type: multipart/report; report-type=delivery-status; boundary=\"b\"\n\n--b\n\nx\n\
             --b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.net\n\n\
             Final-Recipient: rfc822; {recipient}\nAction: failed\nStatus: 5.1.1\n\n\
             --b\nContent-Type: message/rfc822\n\nMessage-ID: {id}\n\nx\n--b--\n"
        )
        .into_bytes()
    };
    let receive = async |number: u32, bytes| {
        post.house.intake.receive("box", window(1, vec![(number, bytes)]), Timestamp::now()).await.unwrap()
    };
    receive(1, report(1, "user2@example.org")).await;
    assert_eq!(post.count("p", "bounced").await, 0);
    receive(2, report(2, &to)).await;
    assert_eq!((post.count("p", "bounced").await, post.count("p", "sent").await), (1, 2));
    assert_eq!(post.house.counts().await, (2, 0, 0));
    let address = to.parse().unwrap();
    post.house.bury(&address, Timestamp::now()).await;
    post.house.store.erase_again(&[address], Timestamp::now()).await.unwrap();
    assert_eq!(post.progress("p").await.people, 2);
    receive(3, report(3, &to)).await;
    assert_eq!(post.count("p", "bounced").await, 0);
}
