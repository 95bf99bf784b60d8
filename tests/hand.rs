//! What a person does with requests by hand: what changes, what its sender is told, what is refused, and
//! that the second time nothing happens. The time is the test's own.

use jiff::{SignedDuration, Timestamp};
use privacyd::ladder::{Denial, Status};
use privacyd::operator::hand::{Done, NotDone, Refusal, Verb, act, open};
use sqlx::{Connection, Row};

#[path = "support/corridor.rs"]
mod support;

use support::{House, letter};

const DELETE: &str = "Please delete all my personal data.";
const COPY: &str = "Please send me a copy of all the personal data you hold about me.";
const QUESTION: &str = "I have a question about your privacy policy: how long do you keep my data?";
const UNCLEAR: &str = "Please do not delete my account.";
const JANE: &str = "jane@example.org";

fn after(days: i64) -> Timestamp {
    let start: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
    start + SignedDuration::from_hours(24 * days)
}

/// A house with one request in it, and its reference.
struct Desk {
    house: House,
    reference: String,
}

impl Desk {
    async fn new(keys: &str, words: &str) -> Self {
        Self::of(keys, letter(JANE, words)).await
    }

    async fn of(keys: &str, mail: Vec<u8>) -> Self {
        let house = House::with(keys).await;
        house.deliver(after(0), 1, mail).await;
        let requests = house.store.requests(None, 10).await.unwrap();
        assert_eq!(requests.len(), 1, "{requests:?}");
        let reference = requests.first().unwrap().reference.clone();
        Self { house, reference }
    }

    async fn act(&self, day: i64, verb: Verb) -> Result<Done, Refusal> {
        let tools = self.house.intake.tools();
        act(&self.house.store, tools, &self.reference, &verb, after(day)).await.map_err(|not_done| {
            match not_done {
                NotDone::Refused(refusal) => refusal,
                NotDone::Broken(error) => panic!("{error:#}"),
            }
        })
    }

    /// Does it, and sees that doing it again changes nothing and says so.
    async fn once(&self, day: i64, verb: Verb) -> Done {
        let done = self.act(day, verb.clone()).await.unwrap();
        assert!(done.changed, "{done:?}");
        let before = self.state().await;
        let again = self.act(day, verb.clone()).await.unwrap();
        assert!(!again.changed && again.reply.is_none(), "{again:?}");
        assert_eq!((again.status, &again.kind), (done.status, &done.kind), "{verb:?}");
        assert!(again.said.contains("already") || again.said.contains("is not held"), "{again:?}");
        assert_eq!(self.state().await, before, "{verb:?} twice");
        done
    }

    /// Sees that it is refused with these words, and that nothing has changed.
    async fn refused(&self, day: i64, verb: Verb, words: &str) {
        let before = self.state().await;
        let refusal = self.act(day, verb.clone()).await.unwrap_err().to_string();
        assert!(refusal.contains(words), "{verb:?}: {refusal}");
        assert!(!refusal.contains('\n'), "{refusal}");
        assert_eq!(self.state().await, before, "{verb:?}");
    }

    /// Everything that is recorded, but for codes and the bytes of mails.
    async fn state(&self) -> Vec<String> {
        let mut rows = Vec::new();
        for statement in [
            "SELECT concat_ws(' ', reference, kind, status, 'flag=' || flag, proof_needed, proof_given, 'asked', asked_at, 'until',
                proof_until, 'remind', remind_at, 'proven', proven_at, 'due', due_on, due_source, 'closed', closed_at) FROM requests ORDER BY id",
            "SELECT concat_ws(' ', actor, event, reason) FROM request_events ORDER BY id",
            "SELECT concat_ws(' ', 'mail', message_id, recipient, template, language, state, in_thread) FROM outbox ORDER BY id",
            "SELECT concat_ws(' ', 'suppressed', address, kind, request_id) FROM suppressions ORDER BY id",
            "SELECT concat_ws(' ', 'owed', duty, due_on, warned) FROM deadlines ORDER BY request_id, duty",
            "SELECT concat_ws(' ', 'code', address, sent_at) FROM challenges ORDER BY id",
            "SELECT concat_ws(' ', 'task', source, state) FROM tasks ORDER BY id",
        ] {
            rows.extend(self.rows(statement).await);
        }
        rows
    }

    async fn rows(&self, statement: &'static str) -> Vec<String> {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.house.database());
        let mut second = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        let rows = sqlx::query(statement).fetch_all(&mut second).await.unwrap();
        rows.into_iter().map(|row| row.get(0)).collect()
    }

    async fn events(&self) -> Vec<String> {
        self.rows("SELECT concat_ws(' ', actor, event, reason) FROM request_events ORDER BY id").await
    }

    /// Type, status, flag, steps of proof needed and given.
    async fn request(&self) -> (String, String, String, u8, u8) {
        let row = self.house.store.request(&self.reference).await.unwrap().unwrap().0;
        (row.kind, row.status, row.flag, row.proof_needed, row.proof_given)
    }

    async fn status(&self) -> String {
        self.request().await.1
    }

    /// All our mail goes out.
    async fn sends_all(&self) {
        let sent = self.rows("UPDATE outbox SET state = 'sent' RETURNING template").await;
        assert_eq!(sent.len(), self.mails().await);
    }

    /// Recipient, template, the whole mail and its text on one line, of the last mail of ours.
    async fn mail(&self) -> (String, String, String, String) {
        let (to, template, raw) = self.house.letters().await.pop().unwrap();
        let message = privacyd::message::Message::parse(raw.as_bytes()).unwrap();
        let text = message.text().split_whitespace().collect::<Vec<_>>().join(" ");
        (to, template, raw, text)
    }

    async fn mails(&self) -> usize {
        self.house.letters().await.len()
    }

    /// Answers the last question of ours with a yes.
    async fn says_yes(&self, day: i64, uid: u32) {
        let raw = self.mail().await.2;
        self.says_yes_to(&raw, day, uid).await;
    }

    async fn says_yes_to(&self, raw: &str, day: i64, uid: u32) {
        let subject = privacyd::message::Message::parse(raw.as_bytes()).unwrap().subject().to_owned();
        let mail = format!(
            "From: {JANE}\nTo: privacy@example.com\nSubject: Re: {subject}\nMessage-ID: <{uid}@example.org>\n\nYES\n"
        );
        self.house.deliver(after(day), uid, mail.into_bytes()).await;
    }
}

#[tokio::test]
async fn an_approval_is_what_a_proof_by_mail_is() {
    for (words, proof, given, before) in [
        (DELETE, None, 2, "awaiting_proof"),
        (COPY, None, 3, "awaiting_proof"),
        (COPY, Some(2), 2, "awaiting_proof"),
        (QUESTION, None, 1, "held"),
    ] {
        let desk = Desk::new("[clock]\nlaws = [\"uk_gdpr\"]\n", words).await;
        assert_eq!(desk.status().await, before);
        let mails = desk.mails().await;
        desk.sends_all().await;
        let done = desk.once(7, Verb::Approve { proof, subject: None }).await;
        assert_eq!((done.status, done.reply), ("approved", None));
        assert_eq!((desk.status().await.as_str(), desk.request().await.4), ("approved", given), "{words}");
        assert_eq!(desk.mails().await, mails);
        let times = desk.rows("SELECT concat_ws(' ', proven_at, remind_at) FROM requests").await;
        assert_eq!(times, [after(7).as_second().to_string()], "proven then, and no reminder any more");
        let said = format!("person approved a person vouches for step {given} of the proof");
        assert!(desk.events().await.contains(&said), "{:?}", desk.events().await);
        // The month of the UK starts at the proof where one was asked for: as when it comes by mail.
        let row = desk.house.store.request(&desk.reference).await.unwrap().unwrap().0;
        let moved = before == "awaiting_proof";
        assert_eq!(row.due_on, if moved { "2026-12-30" } else { "2026-12-23" }, "{words}");
        assert_eq!(desk.events().await.iter().any(|event| event.contains("due_moved")), moved);
        // A yes that comes now finds nothing that waits for it.
        if moved {
            desk.says_yes(8, 2).await;
            assert_eq!((desk.status().await.as_str(), desk.request().await.4), ("approved", given));
        }
    }
}

#[tokio::test]
async fn nothing_is_done_with_what_is_closed_or_at_work() {
    let every = || {
        [
            Verb::Approve { proof: None, subject: None },
            Verb::Deny { reason: Denial::Other },
            Verb::Hold { reason: None },
            Verb::Release,
            Verb::Reclassify { kind: "access".into() },
            Verb::Complete { set: vec![] },
            Verb::Withdraw,
        ]
    };
    for status in Status::ALL.into_iter().filter(|status| status.is_closed()) {
        let desk = Desk::new("", DELETE).await;
        desk.house
            .execute(Box::leak(format!("UPDATE requests SET status = '{}'", status.name()).into_boxed_str()))
            .await;
        for verb in every() {
            match (&verb, status) {
                (Verb::Deny { .. }, Status::Denied)
                | (Verb::Complete { .. }, Status::Completed)
                | (Verb::Withdraw, Status::Withdrawn) => {
                    assert!(!desk.act(1, verb).await.unwrap().changed);
                }
                _ => desk.refused(1, verb, &format!("is {}: it cannot be", status.name())).await,
            }
        }
        // Its history can be written on.
        desk.once(1, Verb::Note { text: "the appeal is refused".into() }).await;
    }
    let desk = Desk::new("", DELETE).await;
    desk.house.execute("UPDATE requests SET status = 'executing'").await;
    desk.house
        .execute(
            "INSERT INTO tasks (request_id, source, state, next_attempt_at, asked_at, updated_at)
             SELECT id, 'Shop', 'waiting', 0, 0, 0 FROM requests",
        )
        .await;
    for verb in every().into_iter().skip(1) {
        desk.refused(1, verb, ": wait until ").await;
    }
    assert!(!desk.act(1, Verb::Approve { proof: None, subject: None }).await.unwrap().changed);
    let nobody = Desk { reference: "PR-000000".into(), ..desk };
    nobody.refused(1, Verb::Withdraw, "There is no request PR-000000").await;
}

#[tokio::test]
async fn what_a_person_has_carried_out_is_completed_without_a_mail() {
    let desk = Desk::new("", DELETE).await;
    // What erases at the word of whoever wrote that address into From is not completed without a proof.
    desk.refused(1, Verb::Complete { set: vec![] }, "has no proof yet").await;
    desk.once(1, Verb::Approve { proof: None, subject: None }).await;
    let mails = desk.mails().await;
    let done = desk.once(2, Verb::Complete { set: vec![] }).await;
    assert_eq!((done.status, desk.mails().await), ("completed", mails));
    assert_eq!(desk.events().await.pop().unwrap(), "person completed a person has carried it out");
    let closed = desk.rows("SELECT CAST(closed_at AS TEXT) FROM requests").await;
    assert_eq!(closed, [after(2).as_second().to_string()]);
}

#[tokio::test]
async fn a_denial_says_why_in_fixed_words_and_where_to_complain() {
    let mut seen = std::collections::BTreeSet::new();
    for (words, routes) in [
        (DELETE, ["supervisory authority", "court", "Appeal", "attorney general"]),
        (
            "Bitte löschen Sie alle meine personenbezogenen Daten, die Sie über mich gespeichert haben.",
            ["Aufsichtsbehörde", "Gericht", "Widerspruch", "Attorney General"],
        ),
        (
            "Veuillez supprimer toutes mes données personnelles.",
            ["autorité de protection", "tribunal", "Auprès de nous", "attorney general"],
        ),
        (
            "Quiero que eliminen todos mis datos personales.",
            ["autoridad de protección", "tribunales", "Recurrir", "attorney general"],
        ),
    ] {
        for reason in Denial::ALL {
            let desk = Desk::new("", words).await;
            let mails = desk.mails().await;
            if reason == Denial::NoMatch {
                // To a stranger it would say that somebody is no customer.
                desk.refused(3, Verb::Deny { reason }, "insufficient_verification").await;
                desk.act(3, Verb::Approve { proof: None, subject: None }).await.unwrap();
            }
            let done = desk.once(3, Verb::Deny { reason }).await;
            assert_eq!((done.status, done.reply.as_deref()), ("denied", Some("denied")));
            // In the place of the question that was still to be sent.
            assert_eq!(desk.mails().await, mails);
            let (to, template, raw, text) = desk.mail().await;
            assert_eq!((to.as_str(), template.as_str()), (JANE, "denied"));
            assert!(raw.contains("In-Reply-To: <jane@example.org>"), "{raw}");
            for route in routes {
                assert!(text.contains(route), "{route}: {text}");
            }
            assert!(text.contains(&desk.reference), "{text}");
            assert!(!text.contains(reason.name()) && !text.contains("Zebedee"), "{text}");
            assert!(seen.insert(text.replace(&desk.reference, "")), "two reasons, one text: {text}");
            let flag = if reason == Denial::SuspectedFraud { "suspected_fraud" } else { "" };
            assert_eq!(desk.request().await.2, flag);
            assert!(desk.events().await.contains(&format!("person denied {}", reason.name())));
            let times = desk.rows("SELECT concat_ws(' ', closed_at, remind_at) FROM requests").await;
            assert_eq!(times, [after(3).as_second().to_string()]);
            // Nothing is warned of any more, and a late yes does nothing.
            assert_eq!(desk.house.intake.warn(after(40)).await.unwrap(), 0);
        }
    }
    assert_eq!(seen.len(), 28);
}

#[tokio::test]
async fn a_denial_and_its_reply_are_one_and_somebody_without_an_address_gets_none() {
    let desk = Desk::new("", DELETE).await;
    let before = desk.state().await;
    desk.house
        .execute("CREATE TRIGGER full BEFORE INSERT ON outbox BEGIN SELECT RAISE(ABORT, 'full'); END")
        .await;
    let tools = desk.house.intake.tools();
    let verb = Verb::Deny { reason: Denial::Other };
    assert!(act(&desk.house.store, tools, &desk.reference, &verb, after(1)).await.is_err());
    assert_eq!(desk.state().await, before);

    let nobody = format!(
        "From: a@example.org\nFrom: b@example.org\nTo: privacy@example.com\nSubject: x\n\n{DELETE}\n"
    );
    let desk = Desk::of("", nobody.into_bytes()).await;
    let mails = desk.mails().await;
    let done = desk.once(1, Verb::Deny { reason: Denial::NoMatch }).await;
    assert_eq!((done.reply, desk.mails().await), (None, mails));
    assert!(done.said.contains("it has no address, so nobody is told"), "{}", done.said);
}

#[tokio::test]
async fn nobody_unproven_is_told_that_nothing_matches_whatever_the_type_asks_for() {
    for words in [DELETE, QUESTION, UNCLEAR] {
        let desk = Desk::new("", words).await;
        desk.refused(1, Verb::Deny { reason: Denial::NoMatch }, "is proven up to step 0, and").await;
        // A person vouches for it.
        if words != UNCLEAR {
            desk.act(1, Verb::Approve { proof: None, subject: None }).await.unwrap();
            assert_eq!(desk.act(1, Verb::Deny { reason: Denial::NoMatch }).await.unwrap().status, "denied");
        }
    }
}

#[tokio::test]
async fn who_is_authenticated_is_told_that_nothing_matches_where_that_is_proof_enough() {
    let believing = "[authentication]\nauthserv_ids = [\"mx.example.com\"]\n";
    let proven = |words| {
        let mut mail =
            b"Authentication-Results: mx.example.com; dmarc=pass header.from=example.org\n".to_vec();
        mail.extend(letter(JANE, words));
        Desk::of(believing, mail)
    };
    let deny = || Verb::Deny { reason: Denial::NoMatch };
    let said =
        "proven up to step 1, and no_match asks for step 2: it would tell somebody who may be a stranger";
    proven(DELETE).await.refused(1, deny(), said).await;
    assert_eq!(proven(QUESTION).await.act(1, deny()).await.unwrap().status, "denied");
}

#[tokio::test]
async fn an_answer_to_a_denial_is_an_appeal_with_a_date_of_its_own() {
    let answers = [
        // What is said, the types of its requests in the order of their rows, and the letter that answers it.
        (
            "I do not agree with that. Please look at it again.",
            vec!["deletion", "follow_up"],
            Some("follow_up"),
        ),
        // The same is not asked for anew.
        (DELETE, vec!["deletion", "follow_up"], Some("follow_up")),
        (
            "I do not agree. And please send me a copy of all the personal data you hold about me.",
            vec!["deletion", "access", "follow_up"],
            Some("confirm"),
        ),
        ("", vec!["deletion"], None),
    ];
    for (words, kinds, reply) in answers {
        let desk = Desk::new("", DELETE).await;
        desk.once(1, Verb::Deny { reason: Denial::Other }).await;
        let mails = desk.mails().await;
        let ids = desk.rows("SELECT rfc_message_id FROM outbox WHERE template = 'denied'").await;
        let mail = format!(
            "From: {JANE}\nTo: privacy@example.com\nSubject: Re: denied\nMessage-ID: <appeal@example.org>\n\
             In-Reply-To: {}\n\n{words}\n",
            ids[0]
        );
        desk.house.deliver(after(5), 2, mail.into_bytes()).await;
        assert_eq!(desk.rows("SELECT kind FROM requests ORDER BY id").await, kinds, "{words}");
        assert_eq!(desk.mails().await - mails, usize::from(reply.is_some()), "{words}");
        assert_eq!(desk.status().await, "denied");
        let Some(reply) = reply else { continue };
        assert_eq!(desk.mail().await.1, reply, "{words}");
        let appeal = "SELECT concat_ws(' ', status, due_on, (SELECT count(*) FROM deadlines d WHERE d.request_id = r.id
            AND d.due_on = r.due_on AND d.warn_at IS NOT NULL)) FROM requests r WHERE kind = 'follow_up'";
        assert_eq!(desk.rows(appeal).await, ["held 2026-12-28 1"], "30 days from then");
        let reference = desk.rows("SELECT reference FROM requests WHERE kind = 'follow_up'").await.remove(0);
        let events = desk.events().await;
        let of_old = format!("sender appealed by {reference} (message 2)");
        let of_new = format!("rule received asks to look again at {}, which was denied", desk.reference);
        assert!(events.contains(&of_old) && events.contains(&of_new), "{events:?}");
        assert_eq!(desk.rows("SELECT folder FROM messages WHERE id = 2").await, ["Held"]);
    }
}

#[tokio::test]
async fn what_is_released_is_what_it_was() {
    // It waited for proof: the code that went out is good again, for as long as it was left.
    let desk = Desk::new("", DELETE).await;
    let asked = desk.mail().await.2;
    let until = "SELECT concat_ws(' ', status, proof_until - asked_at) FROM requests";
    let before = desk.rows(until).await;
    let done = desk.once(2, Verb::Hold { reason: Some("legal hold".into()) }).await;
    assert_eq!((done.status, done.reply), ("held", None));
    assert!(desk.events().await.contains(&"person held legal hold".to_owned()));
    desk.says_yes_to(&asked, 3, 2).await;
    assert_eq!(desk.status().await, "held", "a yes does not undo what a person has held");
    assert_eq!(desk.house.intake.sweep(after(20)).await.unwrap(), 0);
    let mails = desk.mails().await;
    desk.once(22, Verb::Release).await;
    assert_eq!((desk.rows(until).await, desk.mails().await), (before, mails));
    let (days, code) = ("SELECT CAST((proof_until - 1795428000) / 86400 AS TEXT) FROM requests", &asked);
    assert_eq!(after(0).as_second(), 1795428000);
    assert_eq!(desk.rows(days).await, ["34"], "14 days, and the 20 it was held");
    assert_eq!(desk.house.intake.sweep(after(27)).await.unwrap(), 0);
    assert_eq!(desk.house.intake.sweep(after(29)).await.unwrap(), 1, "its reminder");
    desk.says_yes_to(code, 30, 3).await;
    assert_eq!(desk.status().await, "approved");

    // It was approved, by mail or by hand: so it is again, by the same step.
    desk.once(31, Verb::Hold { reason: None }).await;
    desk.once(32, Verb::Release).await;
    assert_eq!((desk.status().await.as_str(), desk.request().await.4), ("approved", 2));
    let last = desk.events().await.pop().unwrap();
    assert_eq!(last, "person approved released");
    let desk = Desk::new("", COPY).await;
    desk.once(1, Verb::Approve { proof: Some(2), subject: None }).await;
    desk.once(2, Verb::Hold { reason: None }).await;
    desk.once(3, Verb::Release).await;
    assert_eq!((desk.status().await.as_str(), desk.request().await.4), ("approved", 2));
}

#[tokio::test]
async fn what_never_was_asked_is_asked_at_its_release_and_what_cannot_be_is_refused() {
    let another = "Please delete all my personal data. My address is bob.jones@example.net.";
    let desk = Desk::new("", another).await;
    assert_eq!((desk.request().await.0.as_str(), desk.status().await.as_str()), ("deletion", "held"));
    desk.refused(1, Verb::Release, "--for").await;
    let hers = Verb::Approve { proof: None, subject: Some("jane@example.org".parse().unwrap()) };
    let done = desk.once(2, hers).await;
    assert_eq!((done.status, done.reply.as_deref()), ("awaiting_proof", Some("confirm")));
    desk.says_yes(3, 2).await;
    assert_eq!(desk.status().await, "approved");

    // Of a question nothing can be asked; of what is unclear nobody knows what to ask.
    let desk = Desk::new("", QUESTION).await;
    desk.refused(1, Verb::Release, "approve it or deny it").await;
    let desk = Desk::new("", UNCLEAR).await;
    desk.refused(1, Verb::Release, "reclassify").await;
    desk.refused(1, Verb::Approve { proof: None, subject: None }, "reclassify").await;
    assert!(!desk.act(1, Verb::Hold { reason: None }).await.unwrap().changed);
}

#[tokio::test]
async fn a_question_that_came_back_is_asked_again_at_the_release() {
    let desk = Desk::new("", DELETE).await;
    desk.house.execute("UPDATE outbox SET state = 'bounced'").await;
    assert_eq!(desk.house.intake.sweep(after(7)).await.unwrap(), 0);
    assert_eq!(desk.status().await, "held");
    let done = desk.once(30, Verb::Release).await;
    assert_eq!((done.status, done.reply.as_deref()), ("awaiting_proof", Some("confirm")));
    assert_eq!(desk.house.intake.sweep(after(36)).await.unwrap(), 0);
    assert_eq!(desk.status().await, "awaiting_proof", "it has all its time again");
    desk.says_yes(40, 2).await;
    assert_eq!(desk.status().await, "approved");
}

#[tokio::test]
async fn a_withdrawal_closes_and_a_note_is_kept_in_the_operators_words() {
    let desk = Desk::new("", DELETE).await;
    let mails = desk.mails().await;
    let text = "called back; \u{201e}kept\u{201c} <b>nothing</b> '; DROP TABLE requests";
    desk.once(1, Verb::Note { text: text.into() }).await;
    assert_eq!(desk.events().await.pop().unwrap(), format!("person note {text}"));
    assert_eq!(desk.status().await, "awaiting_proof");
    desk.sends_all().await;
    let done = desk.once(2, Verb::Withdraw).await;
    assert_eq!((done.status, desk.mails().await), ("withdrawn", mails));
    let row =
        desk.rows("SELECT concat_ws(' ', status, 'flag=' || flag, closed_at, remind_at) FROM requests").await;
    assert_eq!(row, [format!("withdrawn flag= {}", after(2).as_second())]);
    desk.says_yes(3, 2).await;
    assert_eq!(desk.status().await, "withdrawn");
}

#[tokio::test]
async fn what_was_unclear_goes_on_as_if_it_had_been_understood() {
    for (kind, status, template, due) in [
        ("opt_out", "completed", "opt_out", "2026-12-23"),
        ("deletion", "awaiting_proof", "confirm", "2027-01-07"),
        ("access", "awaiting_proof", "confirm", "2027-01-07"),
        ("ad_opt_out", "completed", "ad_opt_out", "2026-12-14"),
        // Nothing proves the sender.
        ("disclosure", "held", "disclosure", "2027-01-07"),
    ] {
        let desk = Desk::new("[clock]\nlaws = [\"ccpa\"]\n", UNCLEAR).await;
        assert_eq!((desk.request().await.0.as_str(), desk.status().await.as_str()), ("unclear", "held"));
        let mails = desk.mails().await;
        let done = desk.once(2, Verb::Reclassify { kind: kind.into() }).await;
        assert_eq!((done.kind.as_str(), done.status, done.reply.as_deref()), (kind, status, Some(template)));
        let row = desk.house.store.request(&desk.reference).await.unwrap().unwrap().0;
        assert_eq!((row.kind.as_str(), row.status.as_str()), (kind, status));
        assert_eq!(row.due_on, due, "{kind}");
        assert_eq!(row.received_at, after(0).as_second());
        assert_eq!(desk.mails().await, mails + 1);
        let (to, sent, _, text) = desk.mail().await;
        assert_eq!((to.as_str(), sent.as_str()), (JANE, template));
        assert!(text.contains(&desk.reference) || kind.contains("opt_out"), "{text}");
        assert!(desk.events().await.contains(&format!("person reclassified from unclear to {kind}")));
        let suppressed = !desk.house.store.suppressed(&JANE.parse().unwrap()).await.unwrap().is_empty();
        assert_eq!(suppressed, status == "completed", "{kind}");
        let owed = desk.rows("SELECT duty FROM deadlines ORDER BY duty").await;
        let expected: &[&str] = match kind {
            "opt_out" | "ad_opt_out" => &[],
            _ => &["acknowledge", "answer"],
        };
        assert_eq!(owed, expected, "{kind}");
        if status == "awaiting_proof" {
            desk.says_yes(3, 2).await;
            assert_eq!((desk.status().await.as_str(), desk.request().await.4), ("approved", 2), "{kind}");
        }
    }
}

#[tokio::test]
async fn who_writes_for_somebody_else_is_not_taken_for_them_by_a_new_type() {
    let agents =
        "As the attorney of Ann Doe (ann.doe@example.org) I request deletion of all her personal data.";
    let mothers = "On behalf of my mother: please unsubscribe her from the newsletter.";
    for (words, kind) in
        [(agents, "deletion"), (agents, "restriction"), (mothers, "opt_out"), (mothers, "cancel_account")]
    {
        let desk = Desk::new("", words).await;
        assert_eq!((desk.request().await.0.as_str(), desk.status().await.as_str()), ("unclear", "held"));
        let mails = desk.mails().await;
        let done = desk.once(2, Verb::Reclassify { kind: kind.into() }).await;
        assert_eq!((done.kind.as_str(), done.status), (kind, "held"), "{words}");
        desk.refused(3, Verb::Approve { proof: Some(2), subject: None }, "say whose data it is about").await;
        desk.refused(3, Verb::Release, "say whose data it is about").await;
        assert!(desk.house.store.suppressed(&JANE.parse().unwrap()).await.unwrap().is_empty());
        let question = desk.rows("SELECT template FROM outbox WHERE template = 'confirm'").await;
        assert!(question.is_empty() && desk.mails().await <= mails + 1, "{words} {kind}");
        let ann = Some("ann.doe@example.org".parse().unwrap());
        desk.act(4, Verb::Approve { proof: Some(2), subject: ann }).await.unwrap();
        let whose = desk.rows("SELECT subject FROM requests").await;
        assert_eq!(whose, ["ann.doe@example.org"]);
    }
}

#[tokio::test]
async fn a_code_for_one_type_is_worth_nothing_for_another() {
    let desk = Desk::new("", DELETE).await;
    let first = desk.mail().await.2;
    desk.once(1, Verb::Reclassify { kind: "access".into() }).await;
    assert_eq!(desk.mail().await.1, "confirm");
    desk.says_yes_to(&first, 2, 2).await;
    assert_eq!(desk.request().await.0, "access");
    assert_eq!(desk.status().await, "awaiting_proof");
    desk.says_yes(3, 3).await;
    assert_eq!(desk.status().await, "approved");
    // What was proven for one type is not proven for the next.
    desk.once(4, Verb::Reclassify { kind: "deletion".into() }).await;
    assert_eq!((desk.status().await.as_str(), desk.request().await.4), ("awaiting_proof", 0));
    desk.refused(
        5,
        Verb::Reclassify { kind: "nonsense".into() },
        "There is no request type \"nonsense\"; there are",
    )
    .await;
}

#[tokio::test]
async fn an_authenticated_sender_is_believed_as_by_mail_and_nobody_without_an_address_is_opted_out() {
    let believing = "[authentication]\nauthserv_ids = [\"mx.example.com\"]\n";
    let mut mail = b"Authentication-Results: mx.example.com; dmarc=pass header.from=example.org\n".to_vec();
    mail.extend(letter(JANE, UNCLEAR));
    let desk = Desk::of(believing, mail).await;
    let done = desk.once(1, Verb::Reclassify { kind: "disclosure".into() }).await;
    assert_eq!((done.status, desk.request().await.4), ("approved", 1));

    let nobody = format!(
        "From: a@example.org\nFrom: b@example.org\nTo: privacy@example.com\nSubject: x\n\n{DELETE}\n"
    );
    let desk = Desk::of("", nobody.into_bytes()).await;
    desk.refused(1, Verb::Reclassify { kind: "opt_out".into() }, "has no address").await;
    let mails = desk.mails().await;
    let done = desk.once(1, Verb::Reclassify { kind: "deletion".into() }).await;
    assert_eq!((done.status, done.reply, desk.mails().await), ("held", None, mails));
    desk.refused(2, Verb::Release, "approve it or deny it").await;
}

/// What no rule found anything in asks for what a person says, once; what a machine wrote asks for nothing.
#[tokio::test]
async fn a_mail_without_a_request_is_made_one_by_hand() {
    let house = House::with("").await;
    let machine = "From: list@example.org\nTo: privacy@example.com\nSubject: Hi\nList-Id: <l.example.org>\nPrecedence: bulk\n\nLovely weather.\n";
    house.deliver(after(0), 1, letter(JANE, "Lovely weather.")).await;
    house.deliver(after(0), 2, machine.into()).await;
    let tools = house.intake.tools();
    let refused = |id: i64, kind: &'static str| {
        let store = &house.store;
        async move {
            match open(store, tools, id, kind, after(1)).await {
                Err(NotDone::Refused(refusal)) => refusal.to_string(),
                other => panic!("{other:?}"),
            }
        }
    };
    assert!(refused(1, "weather").await.starts_with("There is no request type \"weather\""));
    assert_eq!(house.scalar("SELECT count(*) FROM requests").await, 0);
    let done = open(&house.store, tools, 1, "opt_out", after(1)).await.unwrap();
    assert_eq!((done.kind.as_str(), done.status, done.changed), ("opt_out", "completed", true), "{done:?}");
    assert_eq!(done.reply.as_deref(), Some("opt_out"));
    assert!(!house.store.suppressed(&JANE.parse().unwrap()).await.unwrap().is_empty());
    let row = house.store.requests(None, 9).await.unwrap().remove(0);
    assert_eq!(row.received_at, after(0).as_second());
    let known = format!(
        "The message 1 has opened {} already: say what one of those asks for, with privacyd requests reclassify REF TYPE",
        row.reference
    );
    assert_eq!(refused(1, "deletion").await, known);
    let machine = "No request can be opened for the message 2: a machine wrote it";
    assert_eq!(refused(2, "opt_out").await, machine);
    assert_eq!(
        refused(3, "opt_out").await,
        "There is no message 3; privacyd messages list shows which there are"
    );
    assert_eq!(house.scalar("SELECT count(*) FROM requests").await, 1);
}

/// A question that is still to be sent asks nothing any more once a person has decided.
#[tokio::test]
async fn what_a_person_has_decided_is_asked_no_more() {
    for (verb, left) in [
        (Verb::Withdraw, 0),
        (Verb::Deny { reason: Denial::Other }, 0),
        (Verb::Approve { proof: Some(2), subject: None }, 0),
        (Verb::Reclassify { kind: "opt_out".into() }, 0),
        (Verb::Hold { reason: None }, 1),
        (Verb::Note { text: "called".into() }, 1),
    ] {
        let desk = Desk::new("", DELETE).await;
        const QUESTIONS: &str = "SELECT count(*) FROM outbox WHERE template = 'confirm' AND state = 'queued'";
        assert_eq!(desk.house.scalar(QUESTIONS).await, 1);
        assert!(desk.act(1, verb.clone()).await.unwrap().changed);
        assert_eq!(desk.house.scalar(QUESTIONS).await, left, "{verb:?}");
    }
    // Another request of the same mail still waits.
    let house = House::with("").await;
    house.deliver(after(0), 1, letter(JANE, &format!("{COPY} {DELETE}"))).await;
    let row =
        house.store.requests(None, 9).await.unwrap().into_iter().find(|row| row.kind == "access").unwrap();
    act(&house.store, house.intake.tools(), &row.reference, &Verb::Withdraw, after(1)).await.unwrap();
    assert_eq!(house.scalar("SELECT count(*) FROM outbox WHERE template = 'confirm'").await, 1);
    // So it does when the other one is somebody else's.
    let house = House::with("").await;
    house.deliver(after(0), 1, letter(JANE, &format!("{COPY} {DELETE}"))).await;
    let row =
        house.store.requests(None, 9).await.unwrap().into_iter().find(|row| row.kind == "access").unwrap();
    let verb = Verb::Approve { proof: Some(3), subject: Some("bob@example.net".parse().unwrap()) };
    act(&house.store, house.intake.tools(), &row.reference, &verb, after(1)).await.unwrap();
    assert_eq!(house.scalar("SELECT count(*) FROM outbox WHERE template = 'confirm'").await, 1);
    // Of another type it is asked for anew, and once: the code of the first question is worth nothing any more.
    let desk = Desk::new("", DELETE).await;
    desk.act(1, Verb::Reclassify { kind: "access".into() }).await.unwrap();
    assert_eq!(desk.house.scalar("SELECT count(*) FROM outbox WHERE template = 'confirm'").await, 1);
}
