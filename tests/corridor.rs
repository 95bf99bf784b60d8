//! Mail in, reply out: the corridor on a real SQLite database, with a mailer that only remembers.

use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use privacyd::mailbox::{Body, Fetched, Kind, MailId, Window};
use privacyd::mailer::{Mailer, MemoryBox, Outcome};
use privacyd::outbox::Outbox;
use privacyd::stop::Stop;
use privacyd::store::lookup::Retry;
use privacyd::store::outbox::Settled;

#[path = "support/corridor.rs"]
mod support;

use support::{House, letter, window};

/// The key and the token of `jane@example.com` that are the test vector of src/token.rs.
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
const TOKEN: &str = "dt4ge7xwrzy44mnrnjqw4zkamv4gc3lqnrss4y3pnu";

/// Knows unsubscribe tokens by [`KEY`].
async fn house_with_tokens(reply: bool) -> House {
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), KEY).unwrap();
    House::with(&format!("[unsubscribe]\nkeys = [{{ file = {:?} }}]\nreply = {reply}\n", key.path())).await
}

/// A mail to Jane's token. Jane is `jane@example.com`; who sends it is in `fields`.
fn to_token(fields: &str, words: &str) -> Vec<u8> {
    format!("{fields}To: privacy+u.{TOKEN}@example.com\n\n{words}").into_bytes()
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
    assert_eq!(outbox.drain(&Stop::never()).await.unwrap().sent, 1);
    assert_eq!(outbox.drain(&Stop::never()).await.unwrap().sent, 0);
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
async fn a_mail_that_is_too_large_is_held_once_however_it_is_numbered() {
    let house = House::new().await;
    let large = |uid: u32, words: &str| {
        let mut window = window(0, vec![(uid, letter("jane@example.org", words))]);
        let mut mail = window.mails.remove(0);
        let Body::Whole(bytes) = mail.body else { unreachable!() };
        (mail.size, mail.body) = (60_000_000, Body::TooLarge(bytes));
        mail
    };
    for (validity, mails, known) in [
        (1, vec![large(7, "One."), large(8, "Two.")], 2),
        (2, vec![large(1, "Two."), large(2, "One.")], 2),
        // Of the same beginning, and yet another mail.
        (2, vec![Fetched { size: 60_000_001, ..large(3, "One.") }], 3),
    ] {
        let window = Window { validity, mails };
        let filed = house.intake.receive("box", window, Timestamp::now()).await.unwrap();
        assert!(filed.iter().all(|(_, folder)| folder == "Held"), "{filed:?}");
        assert_eq!(house.counts().await, (known, known, 0));
    }
}

#[tokio::test]
async fn every_copy_of_a_mail_is_filed_also_when_filing_fails_at_first() {
    let house = House::new().await;
    let mail = || letter("jane@example.org", STOP);
    house.receive(1, vec![(1, mail()), (2, mail())]).await;
    house.receive(1, vec![(3, mail())]).await;
    let unfiled = async |validity| {
        let mut found = house.store.unfiled("box", Kind::Imap, validity).await.unwrap();
        found.sort();
        found
    };
    let at = |uids: &[u32]| -> Vec<_> {
        uids.iter().map(|uid| (MailId::Uid(*uid), "Opt-out".to_owned())).collect()
    };
    assert_eq!(unfiled(1).await, at(&[1, 2, 3]));
    house.store.filed("box", 1, &[&MailId::Uid(1), &MailId::Uid(3)]).await.unwrap();
    assert_eq!(unfiled(1).await, at(&[2]));
    // Renumbered: where it was is nowhere now.
    house.receive(2, vec![(1, mail())]).await;
    assert_eq!(unfiled(2).await, at(&[1]));
    house.store.filed("box", 2, &[&MailId::Uid(1)]).await.unwrap();
    assert_eq!((unfiled(1).await, unfiled(2).await), (vec![], vec![]));
    assert_eq!(house.counts().await, (1, 1, 1));
}

#[tokio::test]
async fn what_was_found_among_junk_and_taken_from_there_never_goes_back() {
    let house = House::new().await;
    let mut copy = b"Received: by another way\n".to_vec();
    copy.extend(letter("jane@example.org", STOP));
    house.receive(1, vec![(1, letter("jane@example.org", STOP)), (2, copy.clone())]).await;
    house.store.filed("box", 1, &[&MailId::Uid(1), &MailId::Uid(2)]).await.unwrap();
    // As if the other way had led there.
    house.execute("UPDATE messages SET folder = 'Junk', glanced = 1 WHERE id = 2").await;
    let filed = house.receive(1, vec![(3, copy)]).await;
    assert_eq!(filed, [(MailId::Uid(3), "Opt-out".to_owned())]);
    // The process ends before it is filed.
    assert_eq!(house.store.unfiled("box", Kind::Imap, 1).await.unwrap(), filed);
}

#[tokio::test]
async fn a_lists_copy_does_not_pass_for_the_letter() {
    let house = House::new().await;
    let mut copy = b"List-Id: <staff.example.com>\n".to_vec();
    copy.extend(letter("jane@example.org", STOP));
    house.receive(1, vec![(1, copy)]).await;
    let filed = house.receive(1, vec![(2, letter("jane@example.org", STOP))]).await;
    assert_eq!(filed, [(MailId::Uid(2), "Opt-out".to_owned())]);
    assert_eq!(house.suppressed(["jane@example.org"]).await, [true]);
}

#[tokio::test]
async fn people_whose_provider_marks_their_mail_are_no_machines() {
    let house = House::new().await;
    for (uid, mark) in [
        (1, "Feedback-ID: 33842064:user:example"),
        (2, "X-Loop: someone@example.net"),
        (3, "X-Auto-Response-Suppress: DR, RN, NRN"),
    ] {
        let from = format!("user{uid}@example.org");
        let mut mail = format!("{mark}\n").into_bytes();
        mail.extend(letter(&from, STOP));
        house.receive(1, vec![(uid, mail)]).await;
        assert_eq!(house.suppressed([from.as_str()]).await, [true], "{mark}");
    }
    for (uid, mark) in [(4, "X-Loop: privacy@example.com"), (5, "X-Auto-Response-Suppress: OOF, AutoReply")] {
        let mut mail = format!("{mark}\n").into_bytes();
        mail.extend(letter(&format!("user{uid}@example.org"), STOP));
        let filed = house.receive(1, vec![(uid, mail)]).await;
        assert_eq!(filed, [(MailId::Uid(uid), "Automatic".to_owned())], "{mark}");
    }
}

#[tokio::test]
async fn a_reminder_that_says_unsubscribe_is_an_opt_out() {
    let house = House::new().await;
    let words = "I asked you three times already. Please unsubscribe me now.";
    house.receive(1, vec![(1, letter("jane@example.org", words))]).await;
    assert_eq!(house.suppressed(["jane@example.org"]).await, [true]);
}

#[tokio::test]
async fn an_opt_out_does_not_wait_for_what_may_be_asked_besides() {
    let house = House::new().await;
    let words = "Please unsubscribe me from the newsletter. Delete my account.";
    let filed = house.receive(1, vec![(1, letter("jane@example.org", words))]).await;
    assert_eq!(filed, [(MailId::Uid(1), "Held".to_owned())]);
    assert_eq!(house.suppressed(["jane@example.org"]).await, [true]);
    let mut requests = house.store.requests(None, 10).await.unwrap();
    requests.sort_by_key(|request| request.kind.clone());
    let requests: Vec<_> =
        requests.iter().map(|request| (request.kind.as_str(), request.status.as_str())).collect();
    assert_eq!(requests, [("opt_out", "completed"), ("unclear", "held")]);
    let letters = house.letters().await;
    let [(_, template, text)] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!(template, "several");
    assert!(text.contains("something else, perhaps: a person reads your mail"), "{text}");
}

#[tokio::test]
async fn whether_another_address_opts_out_as_well_a_person_says() {
    let house = House::new().await;
    let words = "Please unsubscribe bob@example.net from the newsletter.";
    let filed = house.receive(1, vec![(1, letter("jane@example.org", words))]).await;
    assert_eq!(filed, [(MailId::Uid(1), "Held".to_owned())]);
    assert_eq!(house.suppressed(["jane@example.org", "bob@example.net"]).await, [true, false]);
    let requests = house.store.requests(Some("held"), 10).await.unwrap();
    assert_eq!(requests.iter().map(|request| request.kind.as_str()).collect::<Vec<_>>(), ["unclear"]);
    assert_eq!(house.replies().await, [("jane@example.org".into(), "several".into())]);
}

#[tokio::test]
async fn a_right_under_a_mark_of_automatic_mail_is_not_lost_beside_another() {
    let restrict = "Please restrict the processing of my data until the accuracy is verified.";
    for words in [format!("{restrict} Kindly also unsubscribe me."), format!("{restrict} Delete my account.")]
    {
        let house = House::new().await;
        let mail = String::from_utf8(letter("jane@example.org", &words)).unwrap();
        let marked = format!("Precedence: bulk\n{mail}").into_bytes();
        let filed = house.receive(1, vec![(1, marked)]).await;
        assert_eq!(filed, [(MailId::Uid(1), "Held".to_owned())], "{words}");
        let requests = house.store.requests(None, 10).await.unwrap();
        assert!(requests.iter().any(|request| request.kind == "restriction"), "{words}: {requests:?}");
        assert!(requests.iter().all(|request| request.status.as_str() == "held"), "{words}: {requests:?}");
        assert_eq!(house.replies().await, []);
    }
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
async fn a_right_is_not_lost_to_a_mark_that_ticket_systems_write_on_people() {
    const DELETE: &str = "Please delete all my personal data.";
    const WEAK: [&str; 5] = [
        "Auto-Submitted: auto-generated",
        "Auto-Submitted: (a ticket) auto-generated",
        "Precedence: bulk",
        "X-Auto-Response-Suppress: All",
        "Auto-Submitted: auto-generated (ticket)\nPrecedence: bulk\nX-Auto-Response-Suppress: OOF",
    ];
    const STRONG: [&str; 8] = [
        "Auto-Submitted: auto-replied",
        "Auto-Submitted: (vacation (away)) auto-replied",
        "Auto-Submitted: (vacation auto-replied",
        "Auto-Submitted: auto-generated\nX-Autoreply: yes",
        "Auto-Submitted: auto-generated\nReturn-Path: <>",
        "Precedence: bulk\nList-Id: <news.example.org>",
        "Precedence: junk",
        "Precedence: bulk\nAuto-Submitted: auto-notified",
    ];
    let marked = |mark: &str, words: &str| {
        let mut mail = format!("{mark}\n").into_bytes();
        mail.extend(letter("jane@example.org", words));
        mail
    };
    for mark in WEAK {
        let house = House::new().await;
        let filed = house.receive(1, vec![(1, marked(mark, DELETE))]).await;
        assert_eq!(filed, [(MailId::Uid(1), "Held".to_owned())], "{mark}");
        let request = house.store.requests(None, 10).await.unwrap().remove(0);
        assert_eq!((request.kind.as_str(), request.status.as_str()), ("deletion", "held"), "{mark}");
        assert_eq!(
            (request.due_on.as_str(), request.subject.as_deref()),
            ("2026-12-23", Some("jane@example.org"))
        );
        // Not a word to anybody, and a person sees that there was none.
        assert_eq!(house.counts().await, (1, 1, 0), "{mark}");
        assert_eq!(house.latest().await.0, "review", "{mark}");
        // Words that every circular has are none; and without a right it is a machine's mail as before.
        for (uid, words) in [(2, STOP), (3, "How do you use my data?"), (4, "Lovely weather today.")] {
            let filed = house.receive(1, vec![(uid, marked(mark, words))]).await;
            assert_eq!(filed, [(MailId::Uid(uid), "Automatic".to_owned())], "{mark} {words}");
        }
        assert_eq!(house.counts().await, (4, 1, 0), "{mark}");
    }
    let house = House::new().await;
    for (uid, mark) in (1..).zip(STRONG) {
        let filed = house.receive(1, vec![(uid, marked(mark, &format!("{DELETE} {uid}")))]).await;
        assert_eq!(filed, [(MailId::Uid(uid), "Automatic".to_owned())], "{mark}");
    }
    assert_eq!(house.counts().await, (STRONG.len(), 0, 0));
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
async fn what_goes_wrong_after_the_look_is_not_the_mails_fault() {
    let house = House::new().await;
    house
        .execute("CREATE TRIGGER full BEFORE INSERT ON messages BEGIN SELECT RAISE(ABORT, 'full'); END")
        .await;
    let mail = || window(1, vec![(1, letter("jane@example.org", STOP))]);
    for _ in 0..8 {
        assert!(house.intake.receive("box", mail(), Timestamp::now()).await.is_err());
    }
    house.execute("DROP TRIGGER full").await;
    let filed = house.intake.receive("box", mail(), Timestamp::now()).await.unwrap();
    assert_eq!(filed, [(MailId::Uid(1), "Opt-out".to_owned())]);
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
    assert_eq!(outbox.drain(&Stop::never()).await.unwrap().sent, 0);
    let reply = house.store.replies(Some("unknown"), 10).await.unwrap();
    assert_eq!(reply.len(), 1);
    // Only a person may send it again.
    let retried = house.store.retry(reply.first().unwrap().id, now).await.unwrap();
    assert_eq!(retried, Retry::Queued("unknown".into()));
    assert_eq!(outbox.drain(&Stop::never()).await.unwrap().sent, 1);
}

#[tokio::test]
async fn a_code_is_kept_only_while_its_letter_is_still_to_be_sent() {
    const DELETE: &str = "Please delete all my personal data.";
    for outcome in ["250 sent", "451 put off", "550 bounced", "lost", "killed"] {
        let house = House::new().await;
        house.receive(1, vec![(1, letter("jane@example.org", DELETE))]).await;
        let blank = privacyd::code::Code::BLANK.to_string();
        let with_code = |raw: &str| raw.contains(" c.") && !raw.contains(&blank);
        assert!(with_code(&house.letters().await[0].2), "{}", house.letters().await[0].2);
        let now = Timestamp::now();
        let (_, claim) = house.store.settle_and_claim(&[], 8, now).await.unwrap();
        let settled = match outcome {
            "250 sent" => Some(Outcome::Sent("250".into())),
            "451 put off" => Some(Outcome::Deferred("451".into())),
            "550 bounced" => Some(Outcome::Bounced("550".into())),
            "lost" => Some(Outcome::Unknown("lost".into())),
            _ => None,
        };
        match settled {
            Some(settled) => {
                let results = [(claim.rows[0].clone(), settled)];
                house.store.settle_and_claim(&results, 0, now).await.unwrap();
            }
            None => assert_eq!(house.store.flag_interrupted(now).await.unwrap(), 1),
        }
        let is_to_be_sent = outcome == "451 put off";
        assert_eq!(with_code(&house.letters().await[0].2), is_to_be_sent, "{outcome}");
        assert_eq!(
            house.scalar("SELECT count(*) FROM outbox WHERE kept IS NOT NULL").await > 0,
            is_to_be_sent
        );
        // What has no code any more is not sent again: it would ask for nothing that can be given.
        let reply = house.store.replies(None, 1).await.unwrap().remove(0);
        let expected = match outcome {
            "250 sent" => Retry::Nothing,
            "451 put off" => Retry::Queued("deferred".into()),
            _ => Retry::WithoutCode(reply.reference.clone()),
        };
        assert_eq!(house.store.retry(reply.id, now).await.unwrap(), expected, "{outcome}");
    }
}

#[tokio::test]
async fn connections_that_settle_together_each_get_their_own() {
    let house = House::new().await;
    let mails = (1..=10).map(|uid| (uid, letter(&format!("user{uid}@example.org"), STOP))).collect();
    house.receive(1, mails).await;
    let now = Timestamp::now();
    let settle =
        async |results: Vec<_>, most| house.store.settle_and_claim(&results, most, now).await.unwrap();
    let (a, b, c, d) = tokio::join!(
        settle(Vec::new(), 3),
        settle(Vec::new(), 0),
        settle(Vec::new(), 4),
        settle(Vec::new(), 9)
    );
    let claims = [a.1, b.1, c.1, d.1];
    assert_eq!(claims.each_ref().map(|claim| claim.letters.len()), [3, 0, 4, 3]);
    let ids: std::collections::HashSet<i64> =
        claims.iter().flat_map(|claim| &claim.letters).map(|letter| letter.id).collect();
    assert_eq!(ids.len(), 10);
    let [sent, _, unknown, bounced] = claims.map(|claim| claim.rows);
    let with = |rows: Vec<_>, outcome: Outcome| rows.into_iter().map(|row| (row, outcome.clone())).collect();
    let (sent, unknown, bounced) = tokio::join!(
        settle(with(sent, Outcome::Sent("250".into())), 1),
        settle(with(unknown, Outcome::Unknown("lost".into())), 1),
        settle(with(bounced, Outcome::Bounced("550".into())), 1),
    );
    let states = |settled: &[Settled]| settled.iter().map(|one| one.state).collect::<Vec<_>>();
    assert_eq!(states(&sent.0), ["sent"; 3]);
    assert_eq!(states(&unknown.0), ["unknown"; 4]);
    assert_eq!(states(&bounced.0), ["bounced"; 3]);
    for (state, count) in [("sent", 3), ("unknown", 4), ("bounced", 3), ("transmitting", 0)] {
        assert_eq!(house.store.replies(Some(state), 20).await.unwrap().len(), count, "{state}");
    }
}

#[tokio::test]
async fn a_window_of_several_transactions_is_whole() {
    let house =
        House::with("[limits]\nunproven_replies_per_domain = 1000\nunproven_replies_in_all = 1000\n").await;
    let mails: Vec<_> = (1..=300).map(|uid| (uid, letter(&format!("user{uid}@example.org"), STOP))).collect();
    let filed = house.receive(1, mails.clone()).await;
    assert_eq!(filed.len(), 300);
    assert_eq!(house.counts().await, (300, 300, 300));
    assert_eq!(house.store.cursor("box").await.unwrap().last_uid, 300);
    // A second transaction of a window that fails leaves the first one, and the cursor where it was.
    house
        .execute("CREATE TRIGGER full BEFORE INSERT ON messages WHEN NEW.id > 450 BEGIN SELECT RAISE(ROLLBACK, 'full'); END")
        .await;
    let more: Vec<_> =
        (301..=600).map(|uid| (uid, letter(&format!("user{uid}@example.org"), STOP))).collect();
    house.intake.receive("box", window(1, more.clone()), Timestamp::now()).await.unwrap_err();
    assert_eq!(house.counts().await, (428, 428, 428));
    assert_eq!(house.store.cursor("box").await.unwrap().last_uid, 300);
    house.execute("DROP TRIGGER full").await;
    assert_eq!(house.receive(1, more).await.len(), 300);
    assert_eq!(house.counts().await, (600, 600, 600));
    assert_eq!(house.store.cursor("box").await.unwrap().last_uid, 600);
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
    let failed = house
        .intake
        .receive("box", window(1, vec![(2, letter("ann@example.org", STOP))]), Timestamp::now())
        .await;
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
async fn of_whom_reply_to_names_nothing_is_proven_in_the_senders_own_domain_either() {
    // Everybody is at a provider's domain: the bounds for whom nothing authenticates hold.
    let house = House::with(&format!("{BELIEVING}[limits]\nunproven_replies_per_domain = 2\n")).await;
    let mail = |uid: u32, to: &str| {
        let fields = format!("{to}\nReferences: <victim.{uid}@example.org>");
        (uid, judged(&[DMARC], &fields, &format!("{STOP} This is mail {uid}.")))
    };
    let victims = (1..=4).map(|uid| mail(uid, &format!("victim{uid}@example.org")));
    house.receive(1, victims.collect()).await;
    house.receive(1, vec![mail(5, "victim5@example.org")]).await;
    let recipients: Vec<String> = house.replies().await.into_iter().map(|(to, _)| to).collect();
    assert_eq!(recipients, ["victim1@example.org", "victim2@example.org"]);
    // Whoever wishes answers where they write from is who is proven.
    house.receive(1, vec![mail(6, "Jane@example.org")]).await;
    let letters = house.letters().await;
    assert_eq!(letters.last().unwrap().0, "jane@example.org");
    let copied: Vec<bool> = letters.iter().map(|(_, _, raw)| raw.contains("<victim.")).collect();
    assert_eq!(copied, [false, false, true]);
}

#[tokio::test]
async fn whoever_wishes_every_answer_elsewhere_has_no_more_of_them() {
    let house = House::with(&format!("{BELIEVING}[limits]\nreplies_per_day = 2\n")).await;
    let mail = |uid: u32, to: &str| {
        let words = format!("{STOP} This is mail {uid}.");
        (uid, judged(&[DMARC], to, &words))
    };
    let victims = (1..=3).map(|uid| mail(uid, &format!("victim{uid}@example{uid}.net")));
    house.receive(1, victims.collect()).await;
    house.receive(1, vec![mail(4, "victim4@example4.net")]).await;
    let recipients: Vec<String> = house.replies().await.into_iter().map(|(to, _)| to).collect();
    assert_eq!(recipients, ["victim1@example1.net", "victim2@example2.net"]);
    assert_eq!(house.store.unanswered(10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_program_that_wishes_answers_elsewhere_ends_in_its_thread_and_upon_its_words() {
    let keys = format!("{BELIEVING}[limits]\nreplies_per_thread = 3\nreplies_per_day = 1000\n");
    for is_tied in [true, false] {
        let house = House::with(&keys).await;
        let mut tie = String::new();
        for round in 1..=6 {
            let fields = format!("desk+{round}@example.net{tie}");
            // What is tied by its thread is worded anew each time; what is not, by nothing but its number.
            let words = if is_tied { "indeed ".repeat(round) } else { format!("Ticket {round}") };
            let mail = judged(&[DMARC], &fields, &format!("{STOP} {words}"));
            house.receive(1, vec![(round as u32, mail)]).await;
            if is_tied {
                let (_, _, raw) = house.letters().await.pop().unwrap();
                let id = raw.lines().find_map(|line| line.strip_prefix("Message-ID: ")).unwrap();
                tie = format!("\nIn-Reply-To: {id}");
            }
        }
        assert_eq!(house.replies().await.len(), 3, "{is_tied}");
    }
}

/// An answer by `from` to the last letter of ours, with these header fields besides.
async fn answer_to_last(house: &House, from: &str, fields: &str, words: &str) -> Vec<u8> {
    let (_, _, raw) = house.letters().await.pop().unwrap();
    let raw = raw.replace("\r\n ", " ");
    let field = |name: &str| raw.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
    let (id, subject) = (field("Message-ID: "), field("Subject: "));
    format!(
        "{fields}From: {from}\nTo: privacy@example.com\nSubject: Re: {subject}\nMessage-ID: <again.{from}>\n\
         In-Reply-To: {id}\n\n{words}\n"
    )
    .into_bytes()
}

async fn status_of(house: &House, kind: &str) -> String {
    let requests = house.store.requests(None, 10).await.unwrap();
    requests.into_iter().find(|request| request.kind == kind).unwrap().status
}

#[tokio::test]
async fn what_one_person_answers_is_no_word_on_anothers_request_of_the_same_mail() {
    let house = house_with_tokens(true).await;
    let fields = "From: zebedee@example.org\nMessage-ID: <x@example.org>\n";
    house.receive(1, vec![(1, to_token(fields, "Please delete all my personal data.\n"))]).await;
    assert_eq!(status_of(&house, "deletion").await, "awaiting_proof");
    let last = house.replies().await.pop().unwrap();
    assert_eq!(last, ("jane@example.com".into(), "opt_out".into()));
    let words = "No, I did not ask for this.";
    house.receive(1, vec![(2, answer_to_last(&house, "jane@example.com", "", words).await)]).await;
    assert_eq!(status_of(&house, "deletion").await, "awaiting_proof");
}

#[tokio::test]
async fn whoever_reply_to_names_takes_nothing_back_but_stops_it_for_a_person() {
    for (words, folder, status) in [
        ("I changed my mind.", "Held", "held"),
        ("Please unsubscribe me.", "Opt-out", "held"),
        ("Yes.", "Held", "approved"),
    ] {
        let house = House::with(BELIEVING).await;
        let delete = "Please delete all my personal data.";
        house.receive(1, vec![(1, judged(&[DMARC], "home@example.net", delete))]).await;
        let fields = format!("Authentication-Results: mx.example.com; {DMARC}\nReply-To: home@example.net\n");
        house.receive(1, vec![(2, answer_to_last(&house, "jane@example.org", &fields, "Yes.").await)]).await;
        assert_eq!(status_of(&house, "deletion").await, "approved");
        let last = house.replies().await.pop().unwrap();
        assert_eq!(last, ("home@example.net".into(), "confirmed".into()));
        let answer = answer_to_last(&house, "home@example.net", "", words).await;
        let filed = house.receive(1, vec![(3, answer)]).await;
        assert_eq!(filed, [(MailId::Uid(3), folder.to_owned())], "{words}");
        assert_eq!(status_of(&house, "deletion").await, status, "{words}");
    }
}

#[tokio::test]
async fn contradicting_evidence_waits_for_a_person_and_opt_outs_do_not() {
    let house = House::with(BELIEVING).await;
    let both = "Please take me off your mailing list. Please delete all my personal data.";
    let shared =
        "To which third parties did you disclose my personal information for their direct marketing?";
    let comment = "Please remove the comment that I left on your blog.";
    let mails = [both, "Please delete all my personal data.", shared, "Lovely weather today.", comment];
    let mails =
        mails.iter().zip(1..).map(|(words, uid)| (uid, judged(&[DMARC, NO_DMARC], "x@example.net", words)));
    let filed = house.receive(1, mails.collect()).await;
    assert!(filed.iter().all(|(_, folder)| folder == "Held"), "{filed:?}");
    let messages = house.store.messages(Some("review"), 10).await.unwrap();
    assert_eq!(messages.len(), 5);
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
            (1, "opt_out", "completed", "2026-12-23"),
            (2, "deletion", "held", "2026-12-23"),
            (3, "disclosure", "held", "2026-12-23"),
            (5, "blog_comment", "held", "2026-12-23"),
        ]
    );
    let replies = house.store.replies(None, 10).await.unwrap();
    assert!(replies.iter().all(|reply| reply.recipient == "jane@example.org"), "{replies:?}");
    let mut templates: Vec<&str> = replies.iter().map(|reply| reply.template.as_str()).collect();
    templates.sort_unstable();
    assert_eq!(templates, ["several", "unclear", "unclear", "unclear"]);
}

#[tokio::test]
async fn a_token_opts_its_address_out_whoever_sends_it_and_however() {
    let machines = [
        "",
        "From: jane@example.com\n",
        "From: Zebedee Quux <zebedee@example.org>\nSubject: unsubscribe\n",
        "From: a@example.org\nFrom: b@example.org\n",
        "From: noreply@example.org\nAuto-Submitted: auto-generated\nSubject: Unsubscribe\n",
        "Return-Path: <>\nFrom: zebedee@example.org\n",
        "From: zebedee@example.org\nPrecedence: bulk\nList-Id: <news.example.org>\n",
        "From: zebedee@example.org\nX-Auto-Response-Suppress: All\nDelivered-To: privacy@example.com\n",
    ];
    let house = house_with_tokens(false).await;
    let cases = machines
        .iter()
        .flat_map(|fields| [(fields, ""), (fields, "A mail program wrote this message by itself.\n")]);
    for (index, (fields, words)) in cases.enumerate() {
        let uid = index as u32 + 1;
        let filed = house.receive(1, vec![(uid, to_token(fields, words))]).await;
        assert_eq!(filed, [(MailId::Uid(uid), "Opt-out".to_owned())], "{fields}");
        let suppressed = house.suppressed(["jane@example.com", "zebedee@example.org"]).await;
        assert_eq!(suppressed, [true, false], "{fields}");
        assert_eq!(house.counts().await, (index + 1, index + 1, 0), "{fields}");
        let (disposition, why) = house.latest().await;
        assert_eq!(disposition, "requests");
        assert!(why.contains("by an unsubscribe token"), "{why}");
        house.store.unsuppress(&"jane@example.com".parse().unwrap(), "marketing").await.unwrap();
    }
    for request in house.store.requests(None, 100).await.unwrap() {
        assert_eq!((request.kind.as_str(), request.status.as_str()), ("opt_out", "completed"));
        assert_eq!((request.subject.as_deref(), request.confidence), (Some("jane@example.com"), 0.999));
        let (_, events) = house.store.request(&request.reference).await.unwrap().unwrap();
        assert!(events.iter().any(|event| event.reason == "unsubscribe token"));
    }
}

#[tokio::test]
async fn a_token_twice_is_another_mail_and_no_other_row() {
    let house = house_with_tokens(false).await;
    let mail = |subject: &str| to_token(&format!("Subject: {subject}\n"), "");
    house.receive(1, vec![(1, mail("1")), (2, mail("2")), (3, mail("1"))]).await;
    assert_eq!(house.counts().await, (2, 2, 0));
    assert_eq!(house.store.suppressions("", 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_token_in_the_subject_counts_at_the_address_for_it() {
    let house = house_with_tokens(false).await;
    let mail = format!("To: privacy+u@example.com\nSubject: u.{TOKEN}\n\n").into_bytes();
    house.receive(1, vec![(1, mail)]).await;
    assert_eq!(house.suppressed(["jane@example.com"]).await, [true]);
}

#[tokio::test]
async fn a_confirmation_goes_to_the_tokens_address_and_no_other() {
    let house = house_with_tokens(true).await;
    let fields = "From: zebedee@example.org\nAuto-Submitted: auto-generated\nMessage-ID: <x@example.org>\n";
    house.receive(1, vec![(1, to_token(fields, ""))]).await;
    assert_eq!(house.replies().await, [("jane@example.com".into(), "opt_out".into())]);
    let reply = house.store.replies(None, 1).await.unwrap().remove(0);
    let request = house.store.requests(None, 1).await.unwrap().remove(0);
    assert_eq!(reply.reference, request.reference);
}

#[tokio::test]
async fn confirmations_are_replies_of_the_day() {
    let house = house_with_tokens(true).await;
    let mails = (0..12).map(|n| (n + 1, to_token(&format!("From: z{n}@example.org\n"), ""))).collect();
    house.receive(1, mails).await;
    house.receive(1, vec![(20, to_token("From: z@example.org\n", ""))]).await;
    assert_eq!(house.counts().await, (13, 13, 10));
}

#[tokio::test]
async fn reports_and_our_own_mail_are_no_opt_out_by_token() {
    let report = |kind: &str, part: &str| {
        (
            format!(
                "From: zebedee@example.org\nContent-Type: multipart/report; report-type={kind}; boundary=b\n"
            ),
            format!(
                "--b\nContent-Type: text/plain\n\nHello\n--b\nContent-Type: message/{part}\n\nX: y\n\n--b--\n"
            ),
        )
    };
    let plain = |fields: &str| (fields.to_owned(), String::new());
    let mails = [
        report("delivery-status", "delivery-status"),
        report("feedback-report", "feedback-report"),
        report("disposition-notification", "disposition-notification"),
        plain("From: MAILER-DAEMON@example.org\n"),
        plain("Return-Path: <>\nFrom: x@example.org\nSubject: Undelivered Mail Returned to Sender\n"),
        plain("From: x@example.org\nX-Failed-Recipients: y@example.org\n"),
        plain("From: privacy@example.com\n"),
        (format!("From: <privacy+u.{TOKEN}@example.com>\n"), STOP.to_owned()),
    ];
    let house = house_with_tokens(true).await;
    for (index, (fields, words)) in mails.into_iter().enumerate() {
        let uid = index as u32 + 1;
        house.receive(1, vec![(uid, to_token(&fields, &words))]).await;
        assert_eq!(house.counts().await, (index + 1, 0, 0), "{fields}");
        assert_eq!(house.suppressed(["jane@example.com"]).await, [false], "{fields}");
        assert_eq!(house.latest().await.0, "automated", "{fields}");
    }
}

#[tokio::test]
async fn a_wrong_token_is_no_token_and_the_mail_is_read() {
    let wrong = TOKEN.replacen('d', "e", 1);
    let mail = |fields: &str, words: &str| {
        format!("{fields}To: privacy+u.{wrong}@example.com\n\n{words}\n").into_bytes()
    };
    let house = house_with_tokens(true).await;
    let machine = "From: noreply@example.org\nAuto-Submitted: auto-generated\n";
    house.receive(1, vec![(1, mail(machine, ""))]).await;
    assert_eq!(house.counts().await, (1, 0, 0));
    let (disposition, why) = house.latest().await;
    assert_eq!(disposition, "automated");
    assert!(why.ends_with("; it bears an invalid unsubscribe token"), "{why}");
    // A person who writes to that address is read as anybody else.
    house.receive(1, vec![(2, mail("From: zebedee@example.org\n", STOP))]).await;
    assert_eq!(house.suppressed(["zebedee@example.org", "jane@example.com"]).await, [true, false]);
    assert_eq!(house.replies().await, [("zebedee@example.org".into(), "opt_out".into())]);
    assert!(house.latest().await.1.ends_with("; it bears an invalid unsubscribe token"));
}

#[tokio::test]
async fn without_keys_a_token_is_nothing() {
    let house = House::new().await;
    house
        .receive(1, vec![(1, to_token("From: zebedee@example.org\nAuto-Submitted: auto-generated\n", ""))])
        .await;
    assert_eq!(house.counts().await, (1, 0, 0));
    assert_eq!(house.latest().await.1, "automatic: Auto-Submitted");
}

#[tokio::test]
async fn a_code_beside_a_token_counts_when_there_are_words() {
    for (words, expected) in [
        ("Yes, that was me.\n", "approved"),
        ("No, I never asked for this.\n", "withdrawn"),
        ("Yes, that was me. Please unsubscribe me.\n", "awaiting_proof"),
        ("", "awaiting_proof"),
    ] {
        let house = house_with_tokens(false).await;
        house.receive(1, vec![(1, letter("jane@example.com", "Please delete all my personal data."))]).await;
        let (_, template, question) = house.letters().await.remove(0);
        assert_eq!(template, "confirm");
        let is_code = |word: &&str| word.starts_with("c.") && word.len() == 28;
        let code = question.split(|c: char| !c.is_ascii_alphanumeric() && c != '.').find(is_code).unwrap();
        let answer = |from: &str| to_token(&format!("From: {from}\nSubject: Re: {code}\n"), words);
        // From another address the code is nothing, with the token or without.
        house.receive(1, vec![(2, answer("mallory@example.org"))]).await;
        house.receive(1, vec![(3, answer("jane@example.com"))]).await;
        let requests = house.store.requests(None, 10).await.unwrap();
        let statuses: Vec<&str> =
            requests.iter().filter(|row| row.kind == "deletion").map(|row| row.status.as_str()).collect();
        assert_eq!(statuses, [expected], "{words}");
        assert_eq!(house.suppressed(["jane@example.com"]).await, [true], "{words}");
        // "Yes, and something else" is no clear yes: a person reads it, as without a token.
        let (disposition, _) = house.latest().await;
        assert_eq!(disposition == "review", words.contains("unsubscribe"), "{words}");
    }
}

#[tokio::test]
async fn the_words_of_a_mail_with_a_token_are_the_senders() {
    const DELETE: &str = "Please unsubscribe me and delete all my personal data.\n";
    let kinds = async |house: &House| {
        let mut rows = house.store.requests(None, 10).await.unwrap();
        rows.sort_by(|a, b| (&a.kind, &a.subject).cmp(&(&b.kind, &b.subject)));
        rows.into_iter()
            .map(|row| (row.kind, row.status, row.subject.unwrap_or_default()))
            .collect::<Vec<_>>()
    };
    let row =
        |kind: &str, status: &str, subject: &str| (kind.to_owned(), status.to_owned(), subject.to_owned());
    let jane = "jane@example.com";
    let opt_out = row("opt_out", "completed", jane);

    // Jane herself: her "unsubscribe" is done already.
    let house = house_with_tokens(false).await;
    let filed = house.receive(1, vec![(1, to_token("From: Jane@example.com\n", DELETE))]).await;
    assert_eq!(filed, [(MailId::Uid(1), "Deletion".to_owned())]);
    assert_eq!(kinds(&house).await, [row("deletion", "awaiting_proof", jane), opt_out.clone()]);
    assert_eq!(house.replies().await, [(jane.into(), "confirm".into())]);

    // Somebody else: an opt-out and a deletion of his own, told to him and not to Jane; hers to her.
    let house = house_with_tokens(true).await;
    house.receive(1, vec![(1, to_token("From: zebedee@example.org\n", DELETE))]).await;
    let zebedee = "zebedee@example.org";
    let expected =
        [row("deletion", "awaiting_proof", zebedee), opt_out.clone(), row("opt_out", "completed", zebedee)];
    assert_eq!(kinds(&house).await, expected);
    assert_eq!(house.replies().await, [(zebedee.into(), "confirm".into()), (jane.into(), "opt_out".into())]);
    assert_eq!(house.suppressed([jane, zebedee]).await, [true, true]);
    let replies = house.store.replies(None, 10).await.unwrap();
    let of_jane = house.store.requests(None, 10).await.unwrap();
    let of_jane = of_jane.iter().find(|row| row.subject.as_deref() == Some(jane)).unwrap();
    assert!(replies.iter().all(|reply| (reply.reference == of_jane.reference) == (reply.recipient == jane)));

    // A machine's words are not looked at, nor is a subject without words; nor the word "unsubscribe" of
    // nobody in particular.
    let house = house_with_tokens(false).await;
    let mails = [
        to_token("From: zebedee@example.org\nAuto-Submitted: auto-generated\n", DELETE),
        to_token("From: zebedee@example.org\nSubject: Delete my account\n", ""),
        to_token("From: a@example.org\nFrom: zebedee@example.org\n", STOP),
        to_token("From: jane@example.com\n", STOP),
    ];
    let filed = house.receive(1, (1..).zip(mails).collect()).await;
    assert!(filed.iter().all(|(_, folder)| folder == "Opt-out"), "{filed:?}");
    assert_eq!(kinds(&house).await, [0; 4].map(|_| opt_out.clone()));
    assert_eq!(house.replies().await, []);
    // But somebody else's word is his own opt-out.
    house.receive(1, vec![(9, to_token("From: zebedee@example.org\n", STOP))]).await;
    assert_eq!(house.suppressed([jane, zebedee]).await, [true, true]);
    assert_eq!(house.replies().await, [(zebedee.into(), "opt_out".into())]);

    // What is not clear waits for a person; so does a request of nobody.
    for fields in ["From: zebedee@example.org\n", "From: a@example.org\nFrom: zebedee@example.org\n"] {
        let house = house_with_tokens(false).await;
        let words = if fields.contains("From: a") { DELETE } else { "Please do not delete my account.\n" };
        let filed = house.receive(1, vec![(1, to_token(fields, words))]).await;
        assert_eq!(filed, [(MailId::Uid(1), "Held".to_owned())], "{fields}");
        let subject = if fields.contains("From: a") { "" } else { zebedee };
        assert_eq!(kinds(&house).await, [opt_out.clone(), row("unclear", "held", subject)]);
        assert_eq!(house.suppressed([jane, zebedee]).await, [true, false]);
    }
}

/// Of a mail without bytes only its place is known, and a number means another mail under another UIDVALIDITY.
#[tokio::test]
async fn two_mails_of_which_nothing_is_known_are_two() {
    let house = House::new().await;
    let unknown = |validity| {
        let (id, received) = (MailId::Uid(7), Timestamp::UNIX_EPOCH);
        let mail = Fetched { id, size: u64::MAX, received, body: Body::Missing };
        Window { validity, mails: vec![mail] }
    };
    for validity in [1, 2, 2] {
        let filed = house.intake.receive("box", unknown(validity), Timestamp::now()).await.unwrap();
        assert_eq!(filed, [(MailId::Uid(7), "Held".to_owned())]);
    }
    let dispositions: Vec<String> = house
        .store
        .messages(None, 10)
        .await
        .unwrap()
        .into_iter()
        .map(|message| message.disposition)
        .collect();
    assert_eq!(dispositions, ["review", "review"]);
}
