//! Mail in, reply out: the corridor on a real SQLite database, with a mailer that only remembers.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use privacyd::config::Config;
use privacyd::daemon::Daemon;
use privacyd::intake::Intake;
use privacyd::mailbox::{Body, Fetched, MailId, Window};
use privacyd::mailer::{Mailer, MemoryBox};
use privacyd::outbox::Outbox;
use privacyd::store::Store;
use sqlx::Connection;

struct House {
    folder: tempfile::TempDir,
    intake: Arc<Intake>,
    store: Store,
}

impl House {
    async fn new() -> Self {
        Self::with("").await
    }

    async fn with(keys: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let text = format!(
            "database = {:?}\nown_addresses = [\"privacy@example.com\"]\n[company]\nname = \"Example\"\n\
             [[maildir]]\nname = \"box\"\npath = {:?}\n[directory]\npath = {:?}\n{keys}",
            path("privacyd.db"),
            path("Maildir"),
            path("replies")
        );
        let daemon = Daemon::build(&Config::parse("test", &text).unwrap()).await.unwrap();
        let store = daemon.intake.store.clone();
        Self { folder, intake: daemon.intake, store }
    }

    async fn receive(&self, validity: u32, mails: Vec<(u32, Vec<u8>)>) -> Vec<(MailId, String)> {
        self.intake.receive("box", window(validity, mails)).await.unwrap()
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("privacyd.db")
    }

    async fn execute(&self, statement: &'static str) {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.database());
        let mut second = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query(statement).execute(&mut second).await.unwrap();
        second.close().await.unwrap();
    }

    async fn counts(&self) -> (usize, usize, usize) {
        let messages = self.store.messages(None, 1000).await.unwrap().len();
        let requests = self.store.requests(None, 1000).await.unwrap().len();
        (messages, requests, self.store.replies(None, 1000).await.unwrap().len())
    }
}

fn window(validity: u32, mails: Vec<(u32, Vec<u8>)>) -> Window {
    let received: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
    let mails = mails.into_iter().map(|(uid, bytes)| Fetched {
        id: MailId::Uid(uid),
        size: bytes.len() as u64,
        received,
        body: Body::Whole(bytes),
    });
    Window { validity, mails: mails.collect() }
}

fn letter(from: &str, words: &str) -> Vec<u8> {
    format!(
        "From: Zebedee Quux <{from}>\nTo: privacy@example.com\nSubject: Xylophone\nMessage-ID: <{from}>\n\
         Date: Mon, 23 Nov 2026 10:00:00 +0000\n\n{words}\n"
    )
    .into_bytes()
}

const STOP: &str = "Please take me off your mailing list.";

#[tokio::test]
async fn an_opt_out_is_done_at_once_and_answered_without_a_word_of_the_senders() {
    let house = House::new().await;
    let filed = house.receive(1, vec![(7, letter("Jane@example.org", STOP))]).await;
    assert_eq!(filed, [(MailId::Uid(7), "Opt-out".to_owned())]);
    let address = "jane@example.org".parse().unwrap();
    assert_eq!(house.store.suppressed(&address).await.unwrap().len(), 1);
    let requests = house.store.requests(Some("completed"), 10).await.unwrap();
    assert_eq!(requests.first().unwrap().kind, "opt_out");

    let memory = Arc::new(Mutex::new(MemoryBox::default()));
    let outbox = Outbox::new(house.store.clone(), Mailer::Memory(Arc::clone(&memory)));
    assert_eq!(outbox.drain(|| false).await.unwrap().sent, 1);
    assert_eq!(outbox.drain(|| false).await.unwrap().sent, 0);
    let reply = house.store.replies(Some("sent"), 10).await.unwrap();
    assert_eq!(reply.first().unwrap().recipient, "jane@example.org");
}

#[tokio::test]
async fn a_known_mail_causes_nothing_wherever_it_lies() {
    let house = House::new().await;
    house.receive(1, vec![(7, letter("jane@example.org", STOP))]).await;
    let before = house.counts().await;
    let filed = house.receive(2, vec![(1, letter("jane@example.org", STOP))]).await;
    assert_eq!(filed, [(MailId::Uid(1), "Opt-out".to_owned())]);
    assert_eq!(house.counts().await, before);
    // Another delivery of the same letter has a line in the ledger and no effect, also in one window.
    let by_another_way = |way: u32| {
        let mut mail = format!("Received: by way {way}\n").into_bytes();
        mail.extend(letter("jane@example.org", STOP));
        mail
    };
    house.receive(2, vec![(2, by_another_way(1)), (3, by_another_way(2))]).await;
    assert_eq!(house.counts().await, (before.0 + 2, before.1, before.2));
}

#[tokio::test]
async fn what_is_unclear_is_held_and_acknowledged_and_nothing_executed() {
    let house = House::new().await;
    let filed =
        house.receive(1, vec![(1, letter("jane@example.org", "Please do not delete my account."))]).await;
    assert_eq!(filed, [(MailId::Uid(1), "Held".to_owned())]);
    let requests = house.store.requests(None, 10).await.unwrap();
    assert_eq!((requests.len(), requests.first().unwrap().status.as_str()), (1, "held"));
    assert_eq!(requests.first().unwrap().due_on, "2026-12-23");
    assert_eq!(house.store.replies(None, 10).await.unwrap().first().unwrap().template, "unclear");
}

#[tokio::test]
async fn machines_get_no_answer_and_start_nothing() {
    let house = House::new().await;
    let mut mail = b"Auto-Submitted: auto-replied\n".to_vec();
    mail.extend(letter("jane@example.org", STOP));
    let filed = house.receive(1, vec![(1, mail)]).await;
    assert_eq!(filed, [(MailId::Uid(1), "Automatic".to_owned())]);
    assert_eq!(house.counts().await, (1, 0, 0));
}

#[tokio::test]
async fn all_of_a_mail_is_recorded_or_nothing_and_its_neighbours_stand() {
    let house = House::new().await;
    house
        .execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON outbox WHEN NEW.recipient = 'bad@example.org'
             BEGIN SELECT RAISE(ABORT, 'no'); END",
        )
        .await;
    let mails = vec![
        (1, letter("jane@example.org", STOP)),
        (2, letter("bad@example.org", STOP)),
        (3, letter("ann@example.org", STOP)),
    ];
    let filed = house.receive(1, mails).await;
    let folders: Vec<&str> = filed.iter().map(|(_, folder)| folder.as_str()).collect();
    assert_eq!(folders, ["Opt-out", "Held", "Opt-out"]);
    assert_eq!(house.counts().await, (3, 2, 2));
    assert_eq!(house.store.suppressed(&"bad@example.org".parse().unwrap()).await.unwrap(), []);
}

#[tokio::test]
async fn a_mail_that_ends_the_process_is_looked_at_three_times() {
    let house = House::new().await;
    let id = MailId::Uid(1);
    for _ in 0..3 {
        // The process ended between this commit and the next.
        house.store.count_attempts("box", 1, &[&id]).await.unwrap();
    }
    let filed = house
        .receive(1, vec![(1, letter("jane@example.org", STOP)), (2, letter("ann@example.org", STOP))])
        .await;
    assert_eq!(filed, [(id, "Held".to_owned()), (MailId::Uid(2), "Opt-out".to_owned())]);
    assert_eq!(house.store.suppressed(&"jane@example.org".parse().unwrap()).await.unwrap(), []);
    assert_eq!(house.store.cursor("box").await.unwrap().last_uid, 2);
}

#[tokio::test]
async fn one_address_gets_only_so_many_replies_a_day() {
    let house = House::with("[limits]\nreplies_per_day = 2\n").await;
    let again = |uid: u32| (uid, letter("jane@example.org", &format!("{STOP} This is mail {uid}.")));
    house.receive(1, vec![again(1), again(2), again(3)]).await;
    house.receive(1, vec![again(4)]).await;
    assert_eq!(house.counts().await, (4, 4, 2));
}

#[tokio::test]
async fn a_reply_that_was_being_sent_when_the_process_ended_is_never_sent_again() {
    let house = House::new().await;
    house.receive(1, vec![(1, letter("jane@example.org", STOP))]).await;
    let now = Timestamp::now();
    let (_, claim) = house.store.settle_and_claim(&[], 8, now).await.unwrap();
    assert_eq!(claim.letters.len(), 1);
    assert_eq!(house.store.flag_interrupted(now).await.unwrap(), 1);
    let memory = Arc::new(Mutex::new(MemoryBox::default()));
    let outbox = Outbox::new(house.store.clone(), Mailer::Memory(memory));
    assert_eq!(outbox.drain(|| false).await.unwrap().sent, 0);
    let reply = house.store.replies(Some("unknown"), 10).await.unwrap();
    assert_eq!(reply.len(), 1);
    // Only a person may send it again.
    assert_eq!(house.store.retry(reply.first().unwrap().id, now).await.unwrap().as_deref(), Some("unknown"));
    assert_eq!(outbox.drain(|| false).await.unwrap().sent, 1);
}

#[tokio::test]
async fn a_database_that_cannot_be_written_acts_on_nothing() {
    let house = House::new().await;
    house
        .execute(
            "CREATE TRIGGER full BEFORE UPDATE ON mailbox_cursors BEGIN SELECT RAISE(ABORT, 'full'); END",
        )
        .await;
    house.receive(1, vec![(1, letter("jane@example.org", STOP))]).await;
    // The second window fails at its very end: nothing of it may stand.
    let failed = house.intake.receive("box", window(1, vec![(2, letter("ann@example.org", STOP))])).await;
    assert!(failed.is_err());
    assert_eq!(house.counts().await, (1, 1, 1));
    assert_eq!(house.store.suppressed(&"ann@example.org".parse().unwrap()).await.unwrap(), []);
    house.execute("DROP TRIGGER full").await;
    house.receive(1, vec![(2, letter("ann@example.org", STOP))]).await;
    assert_eq!(house.counts().await, (2, 2, 2));
}

const BELIEVING: &str = "[authentication]\nauthserv_ids = [\"mx.example.com\"]\n";

/// A letter below the border's Received field and these of its results, with this Reply-To.
fn judged(results: &[&str], reply_to: &str, words: &str) -> Vec<u8> {
    let results: Vec<String> =
        results.iter().map(|found| format!("Authentication-Results: mx.example.com; {found}\n")).collect();
    let mut mail = format!(
        "Received: from mail.example.org (mail.example.org [192.0.2.1]) by mx.example.com with ESMTPS id 1; Mon\n{}\
         Reply-To: {reply_to}\n",
        results.concat()
    )
    .into_bytes();
    mail.extend(letter("jane@example.org", words));
    mail
}

const DMARC: &str = "dmarc=pass header.from=example.org";
const NO_DMARC: &str = "dmarc=fail header.from=example.org";

#[tokio::test]
async fn answers_go_to_reply_to_only_when_the_sender_is_proven() {
    for (keys, results, reply_to, expected, proof) in [
        (BELIEVING, &[DMARC][..], "Jane <home@example.net>", "home@example.net", "dmarc"),
        (BELIEVING, &["dkim=pass header.d=example.org"], "home@example.net", "home@example.net", "dkim"),
        (BELIEVING, &[], "victim@example.net", "jane@example.org", "none"),
        (BELIEVING, &[DMARC, NO_DMARC], "victim@example.net", "jane@example.org", "conflict"),
        ("", &[DMARC], "victim@example.net", "jane@example.org", "none"),
        (BELIEVING, &[DMARC], "a@example.net, b@example.net", "jane@example.org", "dmarc"),
        (BELIEVING, &[DMARC], "a@example.net\nReply-To: b@example.net", "jane@example.org", "dmarc"),
        (BELIEVING, &[DMARC], "privacy+x@example.com", "jane@example.org", "dmarc"),
    ] {
        let house = House::with(keys).await;
        house.receive(1, vec![(1, judged(results, reply_to, STOP))]).await;
        let replies = house.store.replies(None, 10).await.unwrap();
        let recipients: Vec<&str> = replies.iter().map(|reply| reply.recipient.as_str()).collect();
        assert_eq!(recipients, [expected], "{results:?} {reply_to}");
        // Whoever wrote it and whatever proves it: an opt-out is of the From address, and done.
        let jane = "jane@example.org".parse().unwrap();
        assert_eq!(house.store.suppressed(&jane).await.unwrap().len(), 1);
        assert_eq!(house.store.suppressions("", 10).await.unwrap().len(), 1);
        let request = house.store.requests(Some("completed"), 10).await.unwrap().remove(0);
        assert_eq!((request.kind.as_str(), request.proof.as_str()), ("opt_out", proof));
        let (message, _, _) = house.store.message(request.message_id).await.unwrap().unwrap();
        assert_eq!((message.proof.as_str(), &message.proof_why), (proof, &request.proof_why));
    }
}

#[tokio::test]
async fn the_daily_cap_is_of_the_address_that_is_written_to() {
    let house = House::with(&format!("{BELIEVING}[limits]\nreplies_per_day = 2\n")).await;
    let again =
        |uid: u32| (uid, judged(&[DMARC], "victim@example.net", &format!("{STOP} This is mail {uid}.")));
    house.receive(1, vec![again(1), again(2), again(3)]).await;
    house.receive(1, vec![again(4)]).await;
    assert_eq!(house.counts().await, (4, 4, 2));
}

#[tokio::test]
async fn contradicting_evidence_waits_for_a_person_and_opt_outs_do_not() {
    let house = House::with(BELIEVING).await;
    let both = "Please take me off your mailing list. Please delete all my personal data.";
    let blog = "Please remove my comment from your blog.";
    let mails = [both, "Please delete all my personal data.", blog, "Lovely weather today."];
    let mails =
        mails.iter().zip(1..).map(|(words, uid)| (uid, judged(&[DMARC, NO_DMARC], "x@example.net", words)));
    let filed = house.receive(1, mails.collect()).await;
    assert!(filed.iter().all(|(_, folder)| folder == "Held"), "{filed:?}");
    let messages = house.store.messages(Some("review"), 10).await.unwrap();
    assert_eq!(messages.len(), 4);
    let why = "mx.example.com: dmarc=pass, but mx.example.com: dmarc=fail";
    assert!(messages.iter().all(|message| message.proof == "conflict" && message.proof_why == why));
    let mut requests = house.store.requests(None, 10).await.unwrap();
    requests.sort_by_key(|request| (request.message_id, request.kind.clone()));
    let requests: Vec<_> = requests
        .iter()
        .map(|request| {
            (request.message_id, request.kind.as_str(), request.status.as_str(), request.due_on.as_str())
        })
        .collect();
    assert_eq!(
        requests,
        [
            (1, "deletion", "held", "2026-12-23"),
            (1, "opt_out", "completed", "2026-11-25"),
            (2, "deletion", "held", "2026-12-23"),
            (3, "blog_comment", "held", "2026-12-23"),
        ]
    );
    let replies = house.store.replies(None, 10).await.unwrap();
    assert!(replies.iter().all(|reply| reply.recipient == "jane@example.org"), "{replies:?}");
    let mut templates: Vec<&str> = replies.iter().map(|reply| reply.template.as_str()).collect();
    templates.sort_unstable();
    assert_eq!(templates, ["several", "unclear", "unclear"]);
}
