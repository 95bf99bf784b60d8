//! From the first letter to the truthful completion: approved requests are carried out in every system,
//! once, in their safe order, and their end is told.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use privacyd::ladder::Denial;
use privacyd::mailer::Outcome;
use privacyd::message::Message;
use privacyd::operator::copy::{Handed, write_copy};
use privacyd::operator::hand::{Became, Done, NotDone, Refusal, Verb, act};
use privacyd::source::{KEPT_WHAT, KEPT_WHY, Kept};
use privacyd::stop::Stop;
use serde_json::json;
use sqlx::Connection;

#[path = "support/corridor.rs"]
mod support;
#[path = "support/web.rs"]
mod web;

use support::House;
use web::{Reply, Web};

const DELETE: &str = "Please delete all my personal data.";
const COPY: &str = "Please send me a copy of all the personal data you hold about me.";
const QUESTION: &str = "I have a question about your privacy policy: how long do you keep my data?";
const LOCAL: &str = "[[source]]\nname = \"Contacts\"\nlocal = true\n";

fn start() -> Timestamp {
    "2026-11-23T10:00:00Z".parse().unwrap()
}

fn hours(hours: i64) -> Timestamp {
    start() + SignedDuration::from_hours(hours)
}

struct Exchange {
    house: House,
    next: u32,
}

impl Exchange {
    async fn with(keys: &str) -> Self {
        let house = House::with(keys).await;
        let contacts = [
            (
                "jane@example.org",
                json!({ "name": "Jane", "postcode": "10115", "card_number": "4111", "language": "en" }),
            ),
            ("ann@example.org", json!({ "name": "Ann", "legal_hold": "yes" })),
        ];
        let contacts =
            contacts.map(|(address, fields)| (address.parse().unwrap(), fields.as_object().unwrap().clone()));
        house.store.upsert_contacts(&contacts, start()).await.unwrap();
        Self { house, next: 1 }
    }

    async fn mail(&mut self, at: Timestamp, from: &str, subject: &str, fields: &str, words: &str) {
        let mail = format!(
            "From: {from}\nTo: privacy@example.com\nSubject: {subject}\nMessage-ID: <{}.z@example.org>\n{fields}\n{words}\n",
            self.next
        );
        self.house.deliver(at, self.next, mail.into_bytes()).await;
        self.next += 1;
    }

    /// Answers the last letter of ours, as its reader.
    async fn answer(&mut self, at: Timestamp, words: &str) {
        let last = self.house.letters().await.len() - 1;
        self.answer_to(last, at, words).await;
    }

    /// The same with one of the others.
    async fn answer_to(&mut self, letter: usize, at: Timestamp, words: &str) {
        let (to, _, raw) = self.house.letters().await.swap_remove(letter);
        let letter = Message::parse(raw.as_bytes()).unwrap();
        let id = letter.message_id().unwrap();
        let subject = format!("Re: {}", letter.subject());
        let quoted: String = letter.text().lines().map(|line| format!("> {line}\n")).collect();
        let fields = format!("In-Reply-To: {0}\nReferences: {0}\n", id.as_str());
        self.mail(at, &to, &subject, &fields, &format!("{words}\n\n{quoted}")).await;
    }

    /// A request from its first letter to its approval.
    async fn approved(&mut self, from: &str, words: &str, answer: &str) {
        self.mail(start(), from, "My data", "", words).await;
        self.answer(start(), answer).await;
    }

    async fn work(&self, at: Timestamp) -> u64 {
        self.house.work.pass(at, Some(at), &Stop::never()).await.unwrap()
    }

    /// Type and status of every request, in their order.
    async fn requests(&self) -> Vec<(String, String)> {
        let rows = self.house.store.requests(None, 100).await.unwrap();
        rows.into_iter().map(|row| (row.kind, row.status)).collect()
    }

    async fn status(&self) -> String {
        self.requests().await.pop().unwrap().1
    }

    /// Template and text of the last letter, and how many there are.
    async fn last(&self) -> (String, String, usize) {
        let letters = self.house.letters().await;
        let (_, template, raw) = letters.last().unwrap().clone();
        let text = Message::parse(raw.as_bytes()).unwrap().text().replace('\r', "");
        (template, text, letters.len())
    }

    async fn attachments(&self) -> Vec<String> {
        let (_, _, raw) = self.house.letters().await.pop().unwrap();
        let parsed = mail_parser::MessageParser::default().parse(raw.as_bytes()).unwrap();
        parsed.attachments().map(|part| String::from_utf8(part.contents().to_vec()).unwrap()).collect()
    }

    /// What a person does with the last request.
    async fn hand(&self, at: Timestamp, verb: Verb) -> Result<Done, Refusal> {
        let reference = self.house.store.requests(None, 100).await.unwrap().pop().unwrap().reference;
        let tools = self.house.intake.tools();
        act(&self.house.store, tools, &reference, &verb, at).await.map_err(|not_done| match not_done {
            NotDone::Refused(refusal) => refusal,
            NotDone::Broken(error) => panic!("{error:#}"),
        })
    }

    /// What a person does with the only request of this type.
    async fn hand_on(&self, kind: &str, at: Timestamp, verb: Verb) -> Result<Done, NotDone> {
        let rows = self.house.store.requests(None, 100).await.unwrap();
        let reference = &rows.iter().find(|row| row.kind == kind).unwrap().reference;
        act(&self.house.store, self.house.intake.tools(), reference, &verb, at).await
    }

    /// What an address is suppressed from, and whether a request has done so.
    async fn marks(&self, address: &str) -> Vec<(String, bool)> {
        let list = self.house.store.suppressed(&address.parse().unwrap()).await.unwrap();
        list.into_iter().map(|row| (row.kind, row.reference.is_some())).collect()
    }

    async fn says_done(&self, at: Timestamp, system: &str, became: Became) -> Result<Done, Refusal> {
        self.hand(at, Verb::Done { system: system.into(), became }).await
    }

    /// The systems of the last request, and how far each is.
    async fn tasks(&self) -> Vec<(String, String)> {
        let reference = self.house.store.requests(None, 100).await.unwrap().pop().unwrap().reference;
        let rows = self.house.store.tasks(&reference).await.unwrap();
        rows.into_iter().map(|row| (row.source, row.state)).collect()
    }

    async fn tombstones(&self) -> i64 {
        self.house.scalar("SELECT count(*) FROM tombstones").await
    }

    async fn contacts(&self) -> i64 {
        self.house.scalar("SELECT count(*) FROM contacts").await
    }
}

/// A system that is a shell script: `$order` is its order, `$calls` a file of all orders so far.
fn system(folder: &Path, name: &str, script: &str) -> (String, PathBuf) {
    let (program, calls) = (folder.join(name), folder.join(format!("{name}.calls")));
    let text = format!(
        "#!/bin/sh\nread -r order\ncalls='{}'\necho \"$order\" >> \"$calls\"\n{script}\n",
        calls.display()
    );
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    (format!("[[source]]\nname = {name:?}\ncommand = [{:?}]\n", program.display().to_string()), calls)
}

fn calls(file: &Path) -> Vec<String> {
    std::fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn an_erasure_waits_a_day_and_is_then_done_and_told() {
    let mut exchange = Exchange::with(LOCAL).await;
    exchange.approved("jane@example.org", DELETE, "Yes").await;
    assert_eq!(exchange.work(hours(23)).await, 0);
    assert_eq!((exchange.status().await.as_str(), exchange.contacts().await), ("approved", 2));
    assert_eq!(exchange.work(hours(24)).await, 1);
    assert_eq!((exchange.status().await.as_str(), exchange.contacts().await), ("completed", 1));
    let (template, text, letters) = exchange.last().await;
    assert_eq!(template, "erased");
    assert!(text.contains("- Contacts: erased"), "{text}");
    // Once is enough.
    assert_eq!(exchange.work(hours(25)).await, 0);
    assert_eq!(exchange.last().await.2, letters);
    let buried: Vec<u8> = exchange.house.blob("SELECT address_hmac FROM tombstones").await;
    assert_eq!(buried.len(), 32);
    // Nothing of the person is left in the files of the database but for the record of the request.
    for file in ["privacyd.db", "privacyd.db-wal"] {
        let bytes = std::fs::read(exchange.house.database().with_file_name(file)).unwrap_or_default();
        assert!(!bytes.windows(5).any(|window| window == b"10115"), "{file}");
    }
}

#[tokio::test]
async fn a_reply_stops_an_erasure_that_has_not_begun() {
    let mut exchange = Exchange::with(LOCAL).await;
    exchange.approved("jane@example.org", DELETE, "Yes").await;
    exchange.answer(hours(2), "Please cancel my request.").await;
    assert_eq!(exchange.status().await, "withdrawn");
    assert_eq!(exchange.work(hours(48)).await, 0);
    assert_eq!(exchange.contacts().await, 2);
}

#[tokio::test]
async fn nothing_is_carried_out_before_its_proof_or_where_no_system_is_named() {
    let mut exchange = Exchange::with(LOCAL).await;
    exchange.mail(start(), "jane@example.org", "My data", "", DELETE).await;
    assert_eq!(exchange.work(hours(100)).await, 0);
    assert_eq!((exchange.status().await.as_str(), exchange.contacts().await), ("awaiting_proof", 2));
    let mut exchange = Exchange::with("").await;
    exchange.approved("jane@example.org", DELETE, "Yes").await;
    assert_eq!(exchange.work(hours(100)).await, 0);
    assert_eq!((exchange.status().await.as_str(), exchange.contacts().await), ("executing", 2));
    assert_eq!(exchange.tasks().await, [("Example".into(), "by_hand".into())]);
    exchange.says_done(hours(101), "Example", DONE).await.unwrap();
    assert_eq!(exchange.work(hours(101)).await, 1);
    assert_eq!((exchange.status().await.as_str(), exchange.contacts().await), ("completed", 1));
    assert!(exchange.last().await.1.contains("- Example: erased\n"));
}

const DONE: Became = Became::Done { data: None };

#[tokio::test]
async fn every_erasure_takes_our_own_contact_along_and_leaves_its_mark() {
    let folder = tempfile::tempdir().unwrap();
    let (shop, _) = system(folder.path(), "shop", "echo '{\"outcome\":\"done\"}'");
    let mut exchange = Exchange::with(&shop).await;
    exchange.approved("jane@example.org", DELETE, "Yes").await;
    assert_eq!(exchange.work(hours(24)).await, 1);
    assert_eq!((exchange.contacts().await, exchange.tombstones().await), (1, 1));
    // A person who says that it is done does not leave it either.
    let mut exchange = Exchange::with("").await;
    exchange.approved("jane@example.org", DELETE, "Yes").await;
    exchange.hand(hours(1), Verb::Complete { set: vec![] }).await.unwrap();
    assert_eq!((exchange.contacts().await, exchange.tombstones().await), (1, 1));
    // Nothing of somebody on legal hold is erased, whoever says so.
    let mut exchange = Exchange::with("").await;
    exchange.approved("ann@example.org", DELETE, "Yes").await;
    let refusal = exchange.hand(hours(1), Verb::Complete { set: vec![] }).await.unwrap_err();
    assert!(matches!(refusal, Refusal::OnHold(_)), "{refusal}");
    assert_eq!((exchange.contacts().await, exchange.tombstones().await), (2, 0));
    // Nor when the hold comes while a person is at work on it.
    let mut exchange = Exchange::with("").await;
    exchange.approved("jane@example.org", DELETE, "Yes").await;
    exchange.work(hours(24)).await;
    exchange.house.execute("UPDATE contacts SET fields = json_set(fields, '$.legal_hold', 'yes')").await;
    exchange.says_done(hours(25), "Example", DONE).await.unwrap();
    assert_eq!(exchange.work(hours(25)).await, 0);
    assert_eq!((exchange.status().await.as_str(), exchange.tombstones().await), ("held", 0));
}

#[tokio::test]
async fn a_legal_hold_is_for_a_person_and_no_system_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (shop, shop_calls) = system(folder.path(), "shop", "echo '{\"outcome\":\"done\"}'");
    let mut exchange = Exchange::with(&format!("{LOCAL}{shop}")).await;
    exchange.approved("ann@example.org", DELETE, "Yes").await;
    assert_eq!(exchange.work(hours(24)).await, 0);
    assert_eq!((exchange.status().await.as_str(), exchange.contacts().await), ("held", 2));
    assert_eq!(calls(&shop_calls).len(), 0);
    // However the column is written in the list that was imported.
    for column in ["Legal_Hold", "LEGAL_HOLD", " legal_hold"] {
        let mut exchange = Exchange::with(LOCAL).await;
        let fields = json!({ column: "yes" }).as_object().unwrap().clone();
        let bob = ("bob@example.org".parse().unwrap(), fields);
        exchange.house.store.upsert_contacts(&[bob], start()).await.unwrap();
        exchange.approved("bob@example.org", DELETE, "Yes").await;
        assert_eq!(exchange.work(hours(24)).await, 0);
        assert_eq!((exchange.status().await.as_str(), exchange.contacts().await), ("held", 3), "{column}");
    }
}

#[tokio::test]
async fn an_erasure_begins_only_as_far_as_the_mailboxes_were_read() {
    let exchange = {
        let mut exchange = Exchange::with(LOCAL).await;
        exchange.approved("jane@example.org", DELETE, "Yes").await;
        exchange
    };
    let pass = async |read| exchange.house.work.pass(hours(100), read, &Stop::never()).await.unwrap();
    assert_eq!(pass(None).await, 0);
    assert_eq!(pass(Some(hours(23))).await, 0);
    assert_eq!(exchange.contacts().await, 2);
    assert_eq!(pass(Some(hours(24))).await, 1);
    assert_eq!(exchange.contacts().await, 1);
}

#[tokio::test]
async fn any_reply_but_a_yes_stops_what_has_not_begun() {
    for words in [
        "Wait, I need my invoices first!",
        "Who did this??",
        "Hi\nplease keep my account",
        "Thanks but don't erase me yet",
        "Dear Sirs,\nstop the deletion!",
        "Danke aber bitte noch warten",
        "Yes, but wait",
        "OK, stop!",
        "Yes, keep my account",
        "Yes, but keep order 4711",
        // It sounds like a reminder.
        "I asked you to delete my data last week, that was a mistake.",
        "Les pedí que borraran mis datos, pero fue un error.",
    ] {
        let mut exchange = Exchange::with(LOCAL).await;
        exchange.approved("jane@example.org", DELETE, "Yes").await;
        exchange.answer(hours(2), words).await;
        assert_eq!(exchange.status().await, "held", "{words}");
        assert_eq!(exchange.work(hours(48)).await, 0);
        assert_eq!(exchange.contacts().await, 2);
    }
    let mut exchange = Exchange::with(LOCAL).await;
    exchange.approved("jane@example.org", DELETE, "Yes").await;
    exchange.answer(hours(2), "Thank you very much!").await;
    exchange.answer(hours(2), "Yes, please!").await;
    assert_eq!(exchange.work(hours(48)).await, 1);
}

#[tokio::test]
async fn an_erasure_waits_until_a_person_has_said_what_else_its_mail_asks_for() {
    let mut exchange = Exchange::with(LOCAL).await;
    let words =
        "Please delete all my personal data. Notify third parties to whom you have sold or shared it.";
    exchange.approved("jane@example.org", words, "Yes").await;
    let found = [("deletion", "approved"), ("unclear", "held")];
    assert_eq!(exchange.requests().await, found.map(|(kind, status)| (kind.to_owned(), status.to_owned())));
    assert_eq!((exchange.work(hours(100)).await, exchange.contacts().await), (0, 2));
    exchange.hand_on("unclear", hours(101), Verb::Withdraw).await.unwrap();
    assert_eq!((exchange.work(hours(101)).await, exchange.contacts().await), (1, 1));
}

#[tokio::test]
async fn an_erasure_waits_for_a_copy_of_another_mail_and_for_no_objection() {
    let mut exchange = Exchange::with(&format!("{LOCAL}[copy]\nmax_attachment_size = \"1B\"\n[proof]\ndata_points = [\"postcode\"]\ndata_points_needed = 1\n")).await;
    exchange.approved("jane@example.org", COPY, "Yes. 10115").await;
    exchange.work(start()).await;
    assert_eq!(exchange.status().await, "held", "too large for a mail");
    exchange.approved("jane@example.org", DELETE, "Yes").await;
    assert_eq!(exchange.work(hours(48)).await, 0);
    assert_eq!(exchange.contacts().await, 2);
    let mut exchange = Exchange::with(LOCAL).await;
    let both = "I object to the processing of my personal data on grounds relating to my particular situation. Please delete all my personal data.";
    exchange.approved("jane@example.org", both, "Yes").await;
    let kinds: Vec<String> = exchange.requests().await.into_iter().map(|(kind, _)| kind).collect();
    assert!(kinds.contains(&"objection".to_owned()) && kinds.contains(&"deletion".to_owned()), "{kinds:?}");
    assert_eq!(exchange.work(hours(48)).await, 1);
    assert_eq!(exchange.contacts().await, 1);
}

#[tokio::test]
async fn a_copy_that_is_too_large_for_a_mail_is_written_to_files_and_handed_over() {
    let home = tempfile::tempdir().unwrap();
    let shop = "echo '{\"outcome\":\"done\",\"data\":{\"order\":\"boots\"}}'";
    let (shop, calls_of_shop) = system(home.path(), "shop", shop);
    let keys = format!(
        "{LOCAL}{shop}[copy]\nmax_attachment_size = \"1B\"\n[proof]\ndata_points = [\"postcode\"]\ndata_points_needed = 1\n"
    );
    let mut exchange = Exchange::with(&keys).await;
    exchange.mail(start(), "jane@example.org", "My data", "", COPY).await;
    let reference = exchange.house.store.requests(None, 1).await.unwrap().remove(0).reference;
    let folder = home.path().join("copy");
    let hand = async |exchange: &Exchange, reference: &str| {
        let house = &exchange.house;
        write_copy(&house.store, house.config(), reference, &folder, start()).await.unwrap()
    };
    let refused = |handed: Handed, words: &str| match handed {
        Handed::Refused(why) => assert!(why.contains(words), "{why}"),
        written => panic!("{written:?}"),
    };
    refused(hand(&exchange, &reference).await, "needs proof of step 3, and has step 0");
    refused(hand(&exchange, "PR-000000").await, "There is no request");
    exchange.answer(start(), "Yes. 10115").await;
    exchange.work(start()).await;
    assert_eq!(exchange.status().await, "held");
    assert!(!folder.exists());
    let letters = exchange.last().await.2;
    let written = hand(&exchange, &reference).await;
    // card_number is among what never leaves.
    let expected = Handed::Written { withheld: vec!["card_number".into()], left_out: vec![] };
    assert_eq!(written, expected);
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let json: serde_json::Value = serde_json::from_str(&read("your-data.json")).unwrap();
    assert_eq!(
        (&json["Contacts"]["contact"]["postcode"], &json["shop"]["order"]),
        (&"10115".into(), &"boots".into())
    );
    assert!(read("your-data.txt").contains("postcode: 10115") && !read("your-data.json").contains("4111"));
    for (path, mode) in [
        (folder.clone(), 0o700),
        (folder.join("your-data.json"), 0o600),
        (folder.join("your-data.txt"), 0o600),
    ] {
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode, "{path:?}");
    }
    assert_eq!(calls(&calls_of_shop).len(), 2, "once for the mail, once for the files");
    assert_eq!((exchange.status().await.as_str(), exchange.last().await.2), ("held", letters));
    let noted = "SELECT count(*) FROM request_events WHERE event = 'note' AND actor = 'person' AND reason LIKE '%written to files%'";
    assert_eq!(exchange.house.scalar(noted).await, 1);
    let tools = exchange.house.intake.tools();
    act(&exchange.house.store, tools, &reference, &Verb::Complete { set: vec![] }, start()).await.unwrap();
    refused(hand(&exchange, &reference).await, "is completed");
}

#[tokio::test]
async fn an_erasure_waits_for_a_copy_that_its_owner_is_still_to_confirm() {
    let proven = "Authentication-Results: mx.example.com; dmarc=pass header.from=example.org\n";
    for (fields, waits) in [(proven, true), ("", false)] {
        let keys = format!("[authentication]\nauthserv_ids = [\"mx.example.com\"]\n{LOCAL}");
        let mut exchange = Exchange::with(&keys).await;
        exchange.approved("jane@example.org", DELETE, "Yes").await;
        let mail = format!(
            "{fields}From: jane@example.org\nTo: privacy@example.com\nSubject: Copy\nMessage-ID: <copy@example.org>\n\n{COPY}\n"
        );
        exchange.house.deliver(hours(1), 9, mail.into_bytes()).await;
        // A person has read it, and lets the erasure go on.
        exchange.house.store.mark_read(None, hours(2)).await.unwrap();
        exchange.hand_on("deletion", hours(2), Verb::Release).await.unwrap();
        // Whoever is not proven could put it off in her name.
        assert_eq!(exchange.work(hours(48)).await, u64::from(!waits));
        assert_eq!(exchange.contacts().await, 1 + i64::from(waits));
        if waits {
            // Nobody confirms it, though reminded.
            exchange.house.intake.sweep(hours(24 * 8)).await.unwrap();
            exchange.house.intake.sweep(hours(24 * 16)).await.unwrap();
            assert_eq!(exchange.work(hours(24 * 16)).await, 1);
            assert_eq!(exchange.contacts().await, 1);
        }
    }
}

#[tokio::test]
async fn a_reader_in_the_way_of_the_emptied_log_only_puts_it_off() {
    let mut exchange = Exchange::with(LOCAL).await;
    exchange.approved("jane@example.org", DELETE, "Yes").await;
    let wal = exchange.house.database().with_extension("db-wal");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(exchange.house.database());
    let mut reader = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT count(*) FROM contacts").execute(&mut reader).await.unwrap();
    assert_eq!(exchange.work(hours(24)).await, 1);
    assert!(std::fs::metadata(&wal).unwrap().len() > 0);
    sqlx::raw_sql("ROLLBACK").execute(&mut reader).await.unwrap();
    // Nothing is to be done but that.
    assert_eq!(exchange.work(hours(25)).await, 0);
    assert_eq!(exchange.house.scalar("SELECT count(*) FROM meta WHERE name = 'log_due'").await, 0);
    let bytes = [std::fs::read(exchange.house.database()).unwrap(), std::fs::read(&wal).unwrap()].concat();
    assert!(!bytes.windows(5).any(|window| window == b"10115"), "her postcode");
}

#[tokio::test]
async fn an_opt_out_outlives_the_erasure() {
    let mut exchange = Exchange::with(LOCAL).await;
    exchange
        .mail(start(), "jane@example.org", "Newsletter", "", "Please unsubscribe me from your newsletter.")
        .await;
    exchange.approved("jane@example.org", DELETE, "Yes").await;
    assert_eq!(exchange.work(hours(24)).await, 1);
    assert_eq!(exchange.house.suppressed(["jane@example.org"]).await, [true]);
}

#[tokio::test]
async fn known_and_unknown_people_are_told_alike_until_it_is_done() {
    let mut exchange = Exchange::with(LOCAL).await;
    exchange.approved("nobody@example.org", DELETE, "Yes").await;
    assert_eq!(exchange.work(hours(24)).await, 1);
    assert_eq!(exchange.status().await, "completed");
    assert!(exchange.last().await.1.contains("- Contacts: there was nothing about you"));
}

#[tokio::test]
async fn a_copy_goes_out_with_both_forms_and_without_what_never_leaves() {
    let keys = format!("{LOCAL}[proof]\ndata_points = [\"postcode\", \"name\"]\n");
    let mut exchange = Exchange::with(&keys.replace("[proof]", "[proof]\ndata_points_needed = 1")).await;
    exchange.approved("jane@example.org", COPY, "Yes. 10115").await;
    assert_eq!(exchange.work(start()).await, 1);
    assert_eq!(exchange.status().await, "completed");
    let (template, text, _) = exchange.last().await;
    assert_eq!(template, "copy");
    assert!(text.contains("never leave by mail") && text.contains("card_number"), "{text}");
    let attached = exchange.attachments().await;
    let [json, readable] = attached.as_slice() else { panic!("{attached:?}") };
    let copy: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(copy["Contacts"]["contact"], json!({ "name": "Jane", "postcode": "10115", "language": "en" }));
    assert_eq!(copy["Contacts"]["requests"][0]["type"], "access");
    assert!(readable.contains("  postcode: 10115"), "{readable}");
    assert!(!json.contains("4111") && !readable.contains("4111"));
    // What was collected stays in the reply alone.
    assert_eq!(exchange.house.blob("SELECT coalesce(data, X'') FROM tasks").await, b"");
}

#[tokio::test]
async fn who_proves_the_address_alone_is_told_the_categories() {
    let mut exchange = Exchange::with(LOCAL).await;
    exchange.approved("jane@example.org", COPY, "Yes").await;
    assert_eq!(exchange.work(start()).await, 1);
    assert_eq!(exchange.status().await, "partly_completed");
    let (template, text, _) = exchange.last().await;
    assert_eq!(template, "categories");
    assert!(text.contains("- postcode") && !text.contains("10115"), "{text}");
    assert!(exchange.attachments().await.is_empty());
}

#[tokio::test]
async fn the_copy_comes_before_the_erasure() {
    let mut exchange = Exchange::with(&format!("{LOCAL}[erasure]\ndelay = \"0s\"\n")).await;
    let both =
        "Please send me a copy of all the personal data you hold about me. Then delete all my personal data.";
    exchange.approved("jane@example.org", both, "Yes").await;
    assert_eq!(exchange.work(start()).await, 1);
    let states = exchange.requests().await;
    let states: Vec<(&str, &str)> =
        states.iter().map(|(kind, status)| (kind.as_str(), status.as_str())).collect();
    assert_eq!(states, [("access", "partly_completed"), ("deletion", "approved")]);
    assert!(exchange.last().await.1.contains("- postcode"));
    // Not before that has gone out: it may come back.
    assert_eq!(exchange.work(start()).await, 0);
    exchange.house.execute("UPDATE outbox SET state = 'sent'").await;
    assert_eq!(exchange.work(start()).await, 1);
    assert_eq!(exchange.contacts().await, 1);
    assert_eq!(exchange.last().await.0, "erased");
}

#[tokio::test]
async fn a_correction_that_a_person_makes_comes_before_copy_and_erasure_as_well() {
    let mut exchange = Exchange::with(&format!("{LOCAL}[erasure]\ndelay = \"0s\"\n")).await;
    let words = "Please correct my name in your records, it is wrong. Please send me a copy of all the personal data \
                 you hold about me. Then delete all my personal data.";
    exchange.approved("jane@example.org", words, "Yes, that was me.").await;
    exchange.work(hours(48)).await;
    let kinds = async |exchange: &Exchange| {
        let mut rows = exchange.requests().await;
        rows.sort();
        rows.into_iter().map(|(kind, status)| format!("{kind} {status}")).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(kinds(&exchange).await, "access approved, correction approved, deletion approved");
    exchange.hand_on("correction", hours(49), Verb::Complete { set: vec![] }).await.unwrap();
    exchange.work(hours(50)).await;
    let found = kinds(&exchange).await;
    assert!(found.starts_with("access partly_completed, correction completed"), "{found}");
}

#[tokio::test]
async fn who_takes_it_back_while_it_is_carried_out_stops_what_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let (shop, file) = system(folder.path(), "Shop", r#"echo '{"outcome":"retry"}'"#);
    let executing = async || {
        let mut exchange = Exchange::with(&format!("{shop}[erasure]\ndelay = \"0s\"\n")).await;
        exchange.approved("jane@example.org", DELETE, "Yes, that was me.").await;
        exchange.work(hours(1)).await;
        exchange
    };
    let deletion = async |exchange: &Exchange| {
        exchange.requests().await.into_iter().find(|(kind, _)| kind == "deletion").unwrap().1
    };
    let mut exchange = executing().await;
    // Who thanks, asks or says yes once more does not; nor does what is not understood outside of the thread.
    for words in ["Thank you very much!", "How long will it take?", "Yes, please!"] {
        exchange.answer(hours(1), words).await;
        assert_eq!(deletion(&exchange).await, "executing", "{words}");
    }
    exchange.mail(hours(2), "jane@example.org", "Hello", "", "I have some questions about my data.").await;
    assert_eq!(deletion(&exchange).await, "executing");
    exchange.mail(hours(2), "jane@example.org", "Hello", "", "Please do not delete my personal data.").await;
    assert_eq!(deletion(&exchange).await, "held");
    for words in [
        "Please cancel my request.",
        "Stop",
        "Please cancel, I want to keep my account.",
        "Could you please not delete my data?",
    ] {
        let mut exchange = executing().await;
        exchange.answer(hours(1), words).await;
        assert_eq!(deletion(&exchange).await, "held", "{words}");
        let asked = calls(&file).len();
        exchange.work(hours(9)).await;
        assert_eq!((deletion(&exchange).await.as_str(), calls(&file).len()), ("held", asked), "{words}");
    }
}

#[tokio::test]
async fn what_is_taken_back_while_a_system_has_its_order_is_neither_denied_nor_begun_again() {
    let folder = tempfile::tempdir().unwrap();
    let (shop, file) = system(folder.path(), "shop", r#"echo '{"outcome":"retry"}'"#);
    let mut exchange = Exchange::with(&format!("{shop}[erasure]\ndelay = \"0s\"\n")).await;
    exchange.approved("jane@example.org", DELETE, "Yes, that was me.").await;
    exchange.work(hours(1)).await;
    exchange.house.execute("UPDATE tasks SET asked_at = 0").await;
    exchange.answer(hours(1), "Please cancel my request.").await;
    assert_eq!(exchange.status().await, "held");
    let verbs = [
        Verb::Deny { reason: Denial::Other },
        Verb::Release,
        Verb::Withdraw,
        Verb::Complete { set: vec![] },
        Verb::Reclassify { kind: "access".into() },
    ];
    for verb in &verbs {
        let refusal = exchange.hand(hours(2), verb.clone()).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Asked(..)), "{refusal}");
    }
    // The process that asked is gone. What its system has done is not known, and not forgotten.
    exchange.house.store.lose_answers().await.unwrap();
    let refusal = exchange.hand(hours(3), Verb::Deny { reason: Denial::Other }).await.unwrap_err();
    assert!(refusal.to_string().contains("shop has perhaps done its part"), "{refusal}");
    let done = exchange.hand(hours(3), Verb::Withdraw).await.unwrap();
    assert!(done.said.ends_with("perhaps done before, as deletion: shop"), "{}", done.said);
    exchange.work(hours(9)).await;
    assert_eq!((exchange.status().await.as_str(), calls(&file).len()), ("withdrawn", 1));
}

#[tokio::test]
async fn every_system_is_asked_and_asked_again_with_the_same_reference() {
    let folder = tempfile::tempdir().unwrap();
    let (shop, shop_calls) = system(
        folder.path(),
        "shop",
        "test $(wc -l < \"$calls\") -ge 3 || exit 1\necho '{\"outcome\":\"done\",\"kept\":[{\"what\":\"invoices\",\"why\":\"tax law\"}]}'",
    );
    let (crm, crm_calls) = system(folder.path(), "crm", "echo '{\"outcome\":\"nothing\"}'");
    let mut exchange = Exchange::with(&format!("{LOCAL}{shop}{crm}")).await;
    exchange.approved("jane@example.org", DELETE, "Yes").await;
    assert_eq!(exchange.work(hours(24)).await, 0);
    assert_eq!(exchange.status().await, "executing");
    // 1 minute, then 5.
    for (seconds, asked) in [(59, 1), (60, 2), (61, 2), (60 + 300, 3)] {
        exchange.work(hours(24) + SignedDuration::from_secs(seconds)).await;
        assert_eq!(calls(&shop_calls).len(), asked, "after {seconds} s");
    }
    assert_eq!(calls(&crm_calls).len(), 1);
    let orders = calls(&shop_calls);
    assert!(orders.iter().all(|order| Some(order) == orders.first()), "{orders:?}");
    let order: serde_json::Value = serde_json::from_str(orders.first().unwrap()).unwrap();
    assert_eq!((&order["verb"], &order["subject"]["address"]), (&json!("erase"), &json!("jane@example.org")));
    assert_eq!(exchange.status().await, "partly_completed");
    let (_, text, _) = exchange.last().await;
    for line in [
        "- Contacts: erased",
        "- shop: erased, except for what is named below",
        "Kept: invoices. Why: tax law",
        "- crm: there was nothing about you",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[tokio::test]
async fn what_a_system_fails_at_for_good_is_given_to_a_person() {
    let folder = tempfile::tempdir().unwrap();
    let (shop, _) = system(
        folder.path(),
        "shop",
        "echo '{\"outcome\":\"failed\",\"reason\":\"jane@example.org is a reseller\"}'",
    );
    let mut exchange = Exchange::with(&format!("{shop}[admin]\nnotify = \"dpo@example.org\"\n")).await;
    exchange.approved("jane@example.org", "Please cancel my account.", "Yes").await;
    let told = exchange.last().await.2;
    assert_eq!(exchange.work(hours(24)).await, 0);
    // The operator hears of it at once, without a word of what the system has said; the person nothing.
    let (template, text, letters) = exchange.last().await;
    assert_eq!(
        (exchange.status().await.as_str(), template.as_str(), letters),
        ("executing", "urgent", told + 1)
    );
    assert!(text.contains("the system shop has failed for good"), "{text}");
    assert!(
        text.contains("requests done PR-") && !text.contains("jane") && !text.contains("reseller"),
        "{text}"
    );
    assert_eq!(exchange.tasks().await, [("shop".into(), "by_hand".into())]);
    // And it is not asked again.
    assert_eq!(exchange.work(hours(48)).await, 0);
    let kept = vec![Kept { what: "invoices".into(), why: "tax_law".into() }];
    exchange.says_done(hours(49), "shop", Became::Kept { kept, data: None }).await.unwrap();
    assert_eq!(exchange.work(hours(49)).await, 1);
    assert_eq!(exchange.status().await, "partly_completed");
    let (template, text, _) = exchange.last().await;
    assert_eq!(template, "cancelled");
    assert!(
        text.contains("- shop: closed; what is kept is named below\n  Kept: invoices. Why: tax law\n"),
        "{text}"
    );
}

#[tokio::test]
async fn what_cannot_be_done_is_told_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let (shop, _) = system(folder.path(), "shop", "echo '{\"outcome\":\"failed\"}'");
    let mut exchange = Exchange::with(&format!("{LOCAL}{shop}")).await;
    exchange
        .approved("jane@example.org", "Bitte löschen Sie alle meine personenbezogenen Daten.", "Ja")
        .await;
    exchange.work(hours(24)).await;
    // A denial would be untrue: the contact is gone. So would be "done" twice.
    let refusal = exchange.hand(hours(25), Verb::Deny { reason: Denial::Other }).await.unwrap_err();
    assert!(matches!(refusal, Refusal::PartlyDone(..)), "{refusal}");
    for (name, became, words) in [
        ("Contacts", Became::Nothing, "is over: done"),
        ("Till", DONE, "nothing to do in \"Till\", but in Contacts, shop"),
        ("shop", Became::Done { data: Some(json!({})) }, "only a copy has --data"),
    ] {
        let refusal = exchange.says_done(hours(25), name, became).await.unwrap_err().to_string();
        assert!(refusal.contains(words), "{refusal}");
    }
    assert!(!exchange.says_done(hours(25), "Contacts", DONE).await.unwrap().changed);
    assert!(exchange.says_done(hours(25), "shop", Became::Failed).await.unwrap().changed);
    assert!(!exchange.says_done(hours(25), "shop", Became::Failed).await.unwrap().changed);
    assert_eq!(exchange.work(hours(25)).await, 1);
    assert_eq!(exchange.status().await, "partly_completed");
    let (_, text, _) = exchange.last().await;
    assert!(text.contains("- Contacts: gelöscht\n- shop: konnte nicht gelöscht werden\n"), "{text}");
    let (_, _, raw) = exchange.house.letters().await.pop().unwrap();
    assert!(!Message::parse(raw.as_bytes()).unwrap().subject().contains("sind gelöscht"));
    assert_eq!(exchange.tombstones().await, 1);
}

#[tokio::test]
async fn an_account_is_closed_when_every_system_that_may_hold_it_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (shop, _) = system(folder.path(), "shop", "echo '{\"outcome\":\"done\"}'");
    let (crm, crm_calls) = system(folder.path(), "crm", "echo '{\"outcome\":\"done\"}'");
    let mut exchange = Exchange::with(&format!("{LOCAL}{shop}{crm}verbs = [\"collect\", \"erase\"]\n")).await;
    exchange.approved("jane@example.org", "Please cancel my account.", "Yes").await;
    assert_eq!(exchange.work(hours(24)).await, 0);
    assert_eq!(exchange.tasks().await, [("shop".into(), "done".into()), ("crm".into(), "by_hand".into())]);
    assert_eq!(calls(&crm_calls).len(), 0);
    exchange.says_done(hours(25), "crm", Became::Nothing).await.unwrap();
    assert_eq!(exchange.work(hours(25)).await, 1);
    let (template, text, _) = exchange.last().await;
    assert_eq!((template.as_str(), exchange.status().await.as_str()), ("cancelled", "completed"));
    assert!(text.contains("- shop: closed\n- crm: there was no account of yours\n"), "{text}");
}

#[tokio::test]
async fn a_copy_that_a_person_makes_goes_out_with_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let (shop, _) =
        system(folder.path(), "shop", "echo '{\"outcome\":\"done\",\"data\":{\"orders\":[\"boots\"]}}'");
    let mut exchange = Exchange::with(&format!(
        "{shop}[[source]]\nname = \"Till\"\ncommand = [\"/bin/false\"]\nverbs = [\"erase\"]\n{PROVEN}"
    ))
    .await;
    exchange.approved("jane@example.org", COPY, "Yes. 10115").await;
    assert_eq!(exchange.work(start()).await, 0);
    let refusal = exchange.says_done(hours(1), "Till", DONE).await.unwrap_err();
    assert!(refusal.to_string().contains("--data FILE"), "{refusal}");
    let data = Some(json!({ "receipts": 3, "password": "x" }));
    exchange.says_done(hours(1), "Till", Became::Done { data }).await.unwrap();
    assert_eq!(exchange.work(hours(1)).await, 1);
    let attached = exchange.attachments().await;
    let copy: serde_json::Value = serde_json::from_str(attached.first().unwrap()).unwrap();
    assert_eq!(copy["shop"]["orders"], json!(["boots"]));
    assert_eq!(copy["Till"], json!({ "receipts": 3 }));
    // No letter without a copy says that it is attached.
    let mut exchange = Exchange::with(PROVEN).await;
    exchange.approved("jane@example.org", COPY, "Yes. 10115").await;
    exchange.work(start()).await;
    exchange.says_done(hours(1), "Example", Became::Failed).await.unwrap();
    assert_eq!(exchange.work(hours(1)).await, 0);
    assert_eq!((exchange.status().await.as_str(), exchange.last().await.0.as_str()), ("held", "confirmed"));
}

#[tokio::test]
async fn systems_are_asked_until_the_day_before_the_request_is_due() {
    for (due, last_asked, given_up) in [
        ("2026-11-25", 37, 38),
        // Approved on its last day: for an hour.
        ("2026-11-24", 24, 25),
        ("2026-12-23", 24 * 6 - 1, 24 * 6),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (shop, _) = system(folder.path(), "shop", "exit 1");
        let mut exchange = Exchange::with(&shop).await;
        exchange.approved("jane@example.org", DELETE, "Yes").await;
        exchange
            .house
            .execute(Box::leak(format!("UPDATE requests SET due_on = '{due}'").into_boxed_str()))
            .await;
        for hour in 24..=last_asked {
            exchange.work(hours(hour)).await;
        }
        assert_eq!(exchange.tasks().await, [("shop".into(), "waiting".into())], "{due}");
        exchange.work(hours(given_up)).await;
        assert_eq!(exchange.tasks().await, [("shop".into(), "by_hand".into())], "{due}");
    }
}

#[tokio::test]
async fn a_person_can_stop_what_is_tried_again_but_not_what_is_being_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (shop, shop_calls) = system(folder.path(), "shop", "exit 1");
    let mut exchange = Exchange::with(&shop).await;
    exchange.approved("jane@example.org", DELETE, "Yes").await;
    exchange.work(hours(24)).await;
    exchange.house.execute("UPDATE tasks SET asked_at = 0").await;
    for verb in [Verb::Hold { reason: None }, Verb::Deny { reason: Denial::Other }] {
        let refusal = exchange.hand(hours(25), verb).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Asked(..)), "{refusal}");
    }
    let refusal = exchange.says_done(hours(25), "shop", DONE).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Asked(..)), "{refusal}");
    // The process that asked it is gone; it is asked again, and answers.
    exchange.work(hours(25)).await;
    exchange.hand(hours(26), Verb::Hold { reason: None }).await.unwrap();
    exchange.work(hours(48)).await;
    assert_eq!((calls(&shop_calls).len(), exchange.status().await.as_str()), (2, "held"));
    // Approved again it is another order; tried again, the same.
    exchange.hand(hours(49), Verb::Release).await.unwrap();
    exchange.work(hours(74)).await;
    exchange.work(hours(75)).await;
    let attempts: Vec<i64> = calls(&shop_calls)
        .iter()
        .map(|order| serde_json::from_str::<serde_json::Value>(order).unwrap()["attempt"].as_i64().unwrap())
        .collect();
    assert_eq!(attempts, [1, 1, 2, 2]);
    exchange.hand(hours(76), Verb::Deny { reason: Denial::ClaimNotCovered }).await.unwrap();
    assert_eq!((exchange.status().await.as_str(), exchange.last().await.0.as_str()), ("denied", "denied"));
    assert_eq!((exchange.work(hours(100)).await, calls(&shop_calls).len()), (0, 4));
    assert_eq!((exchange.contacts().await, exchange.tombstones().await), (2, 0));
    let waiting =
        exchange.house.scalar("SELECT count(*) FROM tasks WHERE state IN ('waiting', 'by_hand')").await;
    assert_eq!(waiting, 0);
}

const OBJECTION: &str =
    "I object to the processing of my personal data on grounds relating to my particular situation.";

#[tokio::test]
async fn an_objection_is_marked_at_once_and_told_when_every_system_has_heard_of_it() {
    for (words, kind) in [(OBJECTION, "objection"), (RESTRICTION, "restriction")] {
        let folder = tempfile::tempdir().unwrap();
        let (shop, _) = system(folder.path(), "shop", "echo '{\"outcome\":\"done\"}'");
        let (crm, crm_calls) = system(folder.path(), "crm", "echo '{\"outcome\":\"done\"}'");
        let mut exchange = Exchange::with(&format!("{LOCAL}{shop}{crm}verbs = [\"restrict\"]\n")).await;
        exchange.mail(start(), "jane@example.org", "My data", "", words).await;
        assert_eq!(exchange.requests().await, [(kind.to_owned(), "held".to_owned())]);
        assert_eq!(exchange.work(start()).await, 0);
        exchange.hand(start(), Verb::Approve { proof: None, subject: None }).await.unwrap();
        assert_eq!(exchange.work(start()).await, 0);
        let list = exchange.house.store.suppressed(&"jane@example.org".parse().unwrap()).await.unwrap();
        let list: Vec<&str> = list.iter().map(|row| row.kind.as_str()).collect();
        assert_eq!(list, ["marketing", "restricted", "targeted_ads"]);
        // A system that does not say so is not told words that it does not know.
        let states = [("Contacts", "done"), ("shop", "by_hand"), ("crm", "done")];
        assert_eq!(exchange.tasks().await, states.map(|(name, state)| (name.to_owned(), state.to_owned())));
        let order: serde_json::Value = serde_json::from_str(calls(&crm_calls).first().unwrap()).unwrap();
        assert_eq!((&order["verb"], &order["type"]), (&json!("restrict"), &json!(kind)));
        exchange.says_done(hours(1), "shop", DONE).await.unwrap();
        assert_eq!(exchange.work(hours(1)).await, 1);
        let (template, text, _) = exchange.last().await;
        assert_eq!((template.as_str(), exchange.status().await.as_str()), ("restricted", "completed"));
        assert!(
            text.contains("- Contacts: restricted: your data are kept there and not used\n- shop:"),
            "{text}"
        );
        assert_eq!(exchange.contacts().await, 2);
    }
}

const RESTRICTION: &str = "Please restrict the processing of my personal data under Art. 18 GDPR.";
const MARKS: [&str; 3] = ["marketing", "restricted", "targeted_ads"];

#[tokio::test]
async fn a_denial_takes_back_its_own_mark_and_nobody_elses() {
    let jane = "jane@example.org";
    let approve = || Verb::Approve { proof: None, subject: None };
    let deny = || Verb::Deny { reason: Denial::ClaimNotCovered };
    let marks =
        |kinds: &[(&str, bool)]| kinds.iter().map(|(kind, by)| ((*kind).to_owned(), *by)).collect::<Vec<_>>();

    let mut exchange = Exchange::with("").await;
    exchange.mail(start(), jane, "My data", "", OBJECTION).await;
    exchange.hand_on("objection", start(), approve()).await.unwrap();
    exchange.work(start()).await;
    assert_eq!(exchange.marks(jane).await, marks(&MARKS.map(|kind| (kind, true))));
    // Of what else came upon it, each stays: an opt-out by mail, and the operator's word.
    exchange.mail(hours(1), jane, "Stop", "", "Please take me off your mailing list.").await;
    assert!(!exchange.house.store.suppress(&jane.parse().unwrap(), "targeted_ads", hours(2)).await.unwrap());
    exchange.hand_on("objection", hours(3), deny()).await.unwrap();
    assert_eq!(exchange.marks(jane).await, marks(&[("marketing", true), ("targeted_ads", false)]));

    // Two that are at work: the mark goes with the last of them, also where a person has held that.
    let mut exchange = Exchange::with("").await;
    exchange.mail(start(), jane, "My data", "", OBJECTION).await;
    exchange.mail(start(), jane, "My data", "", RESTRICTION).await;
    exchange.mail(start(), jane, "My data", "", QUESTION).await;
    for kind in ["objection", "restriction", "question"] {
        exchange.hand_on(kind, start(), approve()).await.unwrap();
    }
    exchange.work(start()).await;
    exchange.hand_on("question", hours(1), Verb::Complete { set: vec![] }).await.unwrap();
    exchange.hand_on("restriction", hours(1), Verb::Hold { reason: None }).await.unwrap();
    exchange.hand_on("objection", hours(2), deny()).await.unwrap();
    assert_eq!(exchange.marks(jane).await, marks(&MARKS.map(|kind| (kind, true))));
    exchange.hand_on("restriction", hours(3), deny()).await.unwrap();
    assert_eq!(exchange.marks(jane).await, []);
}

#[tokio::test]
async fn a_withdrawal_takes_its_mark_back_as_well_and_names_who_has_heard_of_it() {
    let jane = "jane@example.org";
    let folder = tempfile::tempdir().unwrap();
    let (crm, _) = system(folder.path(), "crm", "echo '{\"outcome\":\"done\"}'");
    for words in [OBJECTION, RESTRICTION] {
        let (till, _) = system(folder.path(), "till", "echo '{\"outcome\":\"failed\"}'");
        let verbs = "verbs = [\"restrict\"]\n";
        let mut exchange = Exchange::with(&format!("{crm}{verbs}{till}{verbs}")).await;
        exchange.mail(start(), jane, "My data", "", words).await;
        exchange.hand(start(), Verb::Approve { proof: None, subject: None }).await.unwrap();
        exchange.work(start()).await;
        assert_eq!(exchange.marks(jane).await, MARKS.map(|kind| (kind.to_owned(), true)));
        // What the operator puts on the list besides is not the request's.
        exchange.house.store.suppress(&jane.parse().unwrap(), "marketing", hours(1)).await.unwrap();
        exchange.hand(hours(1), Verb::Hold { reason: None }).await.unwrap();
        let done = exchange.hand(hours(2), Verb::Withdraw).await.unwrap();
        assert!(done.said.contains("is withdrawn; no mail goes out; done before, as "), "{}", done.said);
        assert!(done.said.ends_with(": crm"), "{}", done.said);
        assert_eq!(exchange.marks(jane).await, [("marketing".to_owned(), false)]);
        assert_eq!(exchange.house.scalar("SELECT count(*) FROM tasks WHERE state = 'by_hand'").await, 0);
    }
    // What never began is withdrawn as ever.
    let mut exchange = Exchange::with("").await;
    exchange.mail(start(), jane, "My data", "", RESTRICTION).await;
    let done = exchange.hand(hours(1), Verb::Withdraw).await.unwrap();
    assert!(done.said.ends_with("is withdrawn; no mail goes out"), "{}", done.said);
}

#[tokio::test]
async fn what_is_held_half_way_is_told_a_way_that_leads_on() {
    let folder = tempfile::tempdir().unwrap();
    let deny = || Verb::Deny { reason: Denial::Other };
    let mut exchange = held_half_way(folder.path(), "jane@example.org", DELETE).await;
    let refusal = exchange.hand(hours(3), deny()).await.unwrap_err();
    let said = refusal.to_string();
    assert!(
        said.contains("privacyd requests release PR-") && said.contains("requests complete PR-"),
        "{said}"
    );
    assert!(!said.contains("requests done"), "{said}");
    // As it says: it goes on, and then the rest can be said.
    exchange.hand(hours(4), Verb::Release).await.unwrap();
    exchange.work(hours(5)).await;
    let refusal = exchange.hand(hours(6), deny()).await.unwrap_err();
    assert!(refusal.to_string().ends_with("with privacyd requests done"), "{refusal}");
    exchange.says_done(hours(6), "crm", DONE).await.unwrap();
    assert_eq!((exchange.work(hours(7)).await, exchange.status().await.as_str()), (1, "completed"));
    // Or it is closed.
    exchange = held_half_way(folder.path(), "jane@example.org", DELETE).await;
    exchange.hand(hours(4), Verb::Complete { set: vec![] }).await.unwrap();
    assert_eq!(exchange.status().await, "completed");
}

#[tokio::test]
async fn a_restriction_that_a_person_has_carried_out_is_marked_as_well() {
    for words in [OBJECTION, RESTRICTION] {
        let mut exchange = Exchange::with("").await;
        exchange.mail(start(), "jane@example.org", "My data", "", words).await;
        assert_eq!(exchange.status().await, "held");
        exchange.hand(hours(1), Verb::Complete { set: vec![] }).await.unwrap();
        assert_eq!(exchange.status().await, "completed");
        assert_eq!(exchange.marks("jane@example.org").await, MARKS.map(|kind| (kind.to_owned(), true)));
    }
    // Of whom it is, nobody has said.
    let mut exchange = Exchange::with("").await;
    let words = format!("{RESTRICTION} My address is ann@example.net.");
    exchange.mail(start(), "jane@example.org", "My data", "", &words).await;
    let refusal = exchange.hand(hours(1), Verb::Complete { set: vec![] }).await.unwrap_err();
    assert!(matches!(refusal, Refusal::Whose(_)), "{refusal}");
    assert_eq!(exchange.marks("jane@example.org").await, []);
}

/// A request that a person has held while the shop had done its part, and the other system none.
async fn held_half_way(folder: &std::path::Path, address: &str, words: &str) -> Exchange {
    let done = "echo '{\"outcome\":\"done\",\"data\":{\"mark\":\"JANES\"}}'";
    let (shop, _) = system(folder, "shop", done);
    let (crm, _) = system(folder, "crm", "echo '{\"outcome\":\"failed\"}'");
    let mut exchange = Exchange::with(&format!("[erasure]\ndelay = \"0s\"\n{shop}{crm}")).await;
    exchange.mail(start(), address, "My data", "", words).await;
    exchange.hand(start(), Verb::Approve { proof: None, subject: None }).await.unwrap();
    exchange.work(hours(1)).await;
    let states = [("shop", "done"), ("crm", "by_hand")];
    assert_eq!(exchange.tasks().await, states.map(|(name, state)| (name.to_owned(), state.to_owned())));
    exchange.hand(hours(2), Verb::Hold { reason: None }).await.unwrap();
    exchange
}

/// Events that name what was done before for another request.
const DONE_BEFORE: &str =
    "SELECT count(*) FROM request_events WHERE reason LIKE '%; done before, as %: shop'";

#[tokio::test]
async fn what_was_done_for_another_type_is_told_by_the_history_alone() {
    let folder = tempfile::tempdir().unwrap();
    // What was erased for a deletion is no reason not to decline what was asked for in truth.
    let exchange = held_half_way(folder.path(), "jane@example.org", DELETE).await;
    let refusal = exchange.hand(hours(3), Verb::Deny { reason: Denial::Other }).await.unwrap_err();
    assert!(matches!(refusal, Refusal::PartlyDone(..)), "{refusal}");
    let done = exchange.hand(hours(3), Verb::Reclassify { kind: "access".into() }).await.unwrap();
    assert!(done.said.ends_with("; done before, as deletion: shop"), "{}", done.said);
    assert_eq!((exchange.tasks().await.len(), exchange.house.scalar(DONE_BEFORE).await), (0, 1));
    exchange.hand(hours(4), Verb::Deny { reason: Denial::Other }).await.unwrap();
}

#[tokio::test]
async fn a_copy_that_was_made_is_no_way_past_a_legal_hold() {
    let folder = tempfile::tempdir().unwrap();
    let exchange = held_half_way(folder.path(), "ann@example.org", COPY).await;
    exchange.hand(hours(3), Verb::Reclassify { kind: "deletion".into() }).await.unwrap();
    let refusal = exchange.hand(hours(4), Verb::Complete { set: vec![] }).await.unwrap_err();
    assert!(matches!(refusal, Refusal::OnHold(_)), "{refusal}");
}

#[tokio::test]
async fn what_was_collected_of_one_person_is_not_kept_for_another() {
    let folder = tempfile::tempdir().unwrap();
    let janes = "SELECT count(*) FROM tasks WHERE CAST(data AS TEXT) LIKE '%JANES%'";
    let approve = |to: &str| Verb::Approve { proof: Some(3), subject: Some(to.parse().unwrap()) };
    let exchange = held_half_way(folder.path(), "jane@example.org", COPY).await;
    assert_eq!(exchange.house.scalar(janes).await, 1);
    exchange.hand(hours(3), approve("jane@example.org")).await.unwrap();
    let found = (exchange.house.scalar(janes).await, exchange.house.scalar(DONE_BEFORE).await);
    assert_eq!(found, (1, 0), "it is hers");
    exchange.hand(hours(4), Verb::Hold { reason: None }).await.unwrap();
    let done = exchange.hand(hours(5), approve("bob@example.org")).await.unwrap();
    assert!(done.said.ends_with("; done before, as access: shop"), "{}", done.said);
    let found = (exchange.house.scalar(janes).await, exchange.house.scalar(DONE_BEFORE).await);
    assert_eq!(found, (0, 1));
}

#[tokio::test]
async fn a_restriction_that_was_none_or_not_theirs_marks_nobody() {
    let bob = Some("bob@example.org".parse().unwrap());
    for verb in [Verb::Approve { proof: Some(1), subject: bob }, Verb::Reclassify { kind: "question".into() }]
    {
        let mut exchange = Exchange::with("").await;
        exchange.mail(start(), "jane@example.org", "My data", "", RESTRICTION).await;
        exchange.hand(start(), Verb::Approve { proof: None, subject: None }).await.unwrap();
        exchange.work(start()).await;
        exchange.hand(hours(1), Verb::Hold { reason: None }).await.unwrap();
        assert_eq!(exchange.marks("jane@example.org").await.len(), 3);
        exchange.hand(hours(2), verb).await.unwrap();
        assert_eq!(exchange.marks("jane@example.org").await, []);
    }
}

#[tokio::test]
async fn an_erasure_does_not_wait_for_an_objection_that_a_person_works_on() {
    let mut exchange = Exchange::with(LOCAL).await;
    exchange
        .approved("jane@example.org", &format!("{OBJECTION} Please delete all my personal data."), "Yes")
        .await;
    exchange.house.execute("UPDATE requests SET status = 'approved' WHERE kind = 'objection'").await;
    exchange.house.execute("UPDATE requests SET by_hand = 1 WHERE kind = 'objection'").await;
    exchange.work(start()).await;
    assert!(exchange.requests().await.contains(&("objection".into(), "executing".into())));
    assert_eq!(exchange.work(hours(48)).await, 1);
    assert!(exchange.requests().await.contains(&("deletion".into(), "completed".into())));
}

#[tokio::test]
async fn a_system_takes_a_testimonial_down_and_a_person_changes_it() {
    for (words, state) in [
        ("Please take my testimonial off your website.", "done"),
        ("Please take my name off the testimonial on your website.", "by_hand"),
        ("Could you update my testimonial, please? I am quoted as a lecturer.", "by_hand"),
        ("Bitte entfernen Sie mein Kundenzitat von Ihrer Website.", "done"),
        ("Bitte ändern Sie mein Kundenzitat auf Ihrer Website.", "by_hand"),
        // Nobody has written down how a change is asked for in this language.
        ("Odstraňte prosím z webu moji referenci v sekci Co říkají zákazníci.", "by_hand"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (site, site_calls) = system(folder.path(), "site", "echo '{\"outcome\":\"done\"}'");
        let mut exchange = Exchange::with(&format!("{LOCAL}{site}verbs = [\"unpublish\"]\n")).await;
        exchange.approved("jane@example.org", words, "Yes").await;
        assert_eq!(exchange.requests().await, [("testimonial".to_owned(), "approved".to_owned())], "{words}");
        let closed = exchange.work(start()).await;
        assert_eq!(exchange.tasks().await, [("site".into(), state.into())], "{words}");
        assert_eq!(
            (closed == 1, calls(&site_calls).len() == 1),
            (state == "done", state == "done"),
            "{words}"
        );
        if state == "by_hand" {
            exchange.says_done(hours(1), "site", DONE).await.unwrap();
            assert_eq!(exchange.work(hours(1)).await, 1);
        }
        assert_eq!(
            (exchange.status().await.as_str(), exchange.last().await.0.as_str()),
            ("completed", "unpublished")
        );
    }
}

#[tokio::test]
async fn a_letter_that_names_somebody_else_is_that_persons_request() {
    let words = "Please delete all my personal data. My address is ann@example.net.";
    let approve = |proof, to: &str| Verb::Approve { proof, subject: Some(to.parse().unwrap()) };
    let mut exchange = Exchange::with(LOCAL).await;
    exchange.mail(start(), "jane@example.org", "My data", "", words).await;
    assert_eq!(exchange.status().await, "held");
    for verb in [
        Verb::Approve { proof: None, subject: None },
        Verb::Approve { proof: Some(3), subject: None },
        Verb::Release,
    ] {
        let refusal = exchange.hand(hours(1), verb).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Whose(_)), "{refusal}");
    }
    exchange.hand(hours(1), approve(None, "Ann@example.net")).await.unwrap();
    assert_eq!(exchange.status().await, "awaiting_proof");
    assert_eq!(exchange.house.letters().await.pop().unwrap().0, "ann@example.net");
    // Only their own yes counts.
    exchange.answer(hours(2), "Yes").await;
    assert_eq!(exchange.status().await, "approved");
    assert_eq!(exchange.work(hours(48)).await, 1);
    assert_eq!(exchange.house.letters().await.pop().unwrap().0, "ann@example.net");
    assert_eq!(exchange.contacts().await, 2, "Jane is still there");
    // Seen otherwise, it is carried out without a question; or it was the sender's own after all.
    let mut exchange = Exchange::with(LOCAL).await;
    exchange.mail(start(), "jane@example.org", "My data", "", words).await;
    exchange.hand(hours(1), approve(Some(2), "jane@example.org")).await.unwrap();
    assert_eq!(exchange.status().await, "approved");
    assert_eq!(exchange.work(hours(48)).await, 1);
    assert_eq!(exchange.contacts().await, 1);
}

#[tokio::test]
async fn nobody_is_told_that_all_is_done_while_a_system_cannot() {
    let folder = tempfile::tempdir().unwrap();
    let (shop, shop_calls) = system(folder.path(), "shop", "echo '{\"outcome\":\"done\"}'");
    let mut exchange = Exchange::with(&format!("{LOCAL}{shop}verbs = [\"collect\"]\n")).await;
    exchange.approved("jane@example.org", DELETE, "Yes").await;
    let told = exchange.last().await.2;
    assert_eq!(exchange.work(hours(24)).await, 0);
    assert_eq!((exchange.status().await.as_str(), exchange.last().await.2), ("executing", told));
    assert_eq!((exchange.contacts().await, calls(&shop_calls).len()), (1, 0));
}

#[tokio::test]
async fn a_restart_between_order_and_end_does_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (shop, shop_calls) =
        system(folder.path(), "shop", "test -e \"$calls.go\" || exit 1\necho '{\"outcome\":\"done\"}'");
    let mut exchange = Exchange::with(&shop).await;
    exchange.approved("jane@example.org", DELETE, "Yes").await;
    exchange.work(hours(24)).await;
    exchange.house = exchange.house.restarted().await;
    std::fs::write(folder.path().join("shop.calls.go"), "").unwrap();
    assert_eq!(exchange.work(hours(25)).await, 1);
    exchange.house = exchange.house.restarted().await;
    assert_eq!(exchange.work(hours(26)).await, 0);
    assert_eq!(calls(&shop_calls).len(), 2);
    let told = exchange.house.letters().await.iter().filter(|(_, template, _)| template == "erased").count();
    assert_eq!((exchange.status().await.as_str(), told), ("completed", 1));
}

/// Sends what is queued: the first of it with these outcomes, the rest taken.
async fn post(exchange: &Exchange, outcomes: &[Outcome], at: Timestamp) {
    let store = &exchange.house.store;
    let (_, claim) = store.settle_and_claim(&[], 100, at).await.unwrap();
    let taken = std::iter::repeat(Outcome::Sent("250 2.0.0".into()));
    let results: Vec<_> = claim.rows.into_iter().zip(outcomes.iter().cloned().chain(taken)).collect();
    store.settle_and_claim(&results, 0, at).await.unwrap();
}

const BOTH: &str =
    "Please send me a copy of all the personal data you hold about me. Then delete all my personal data.";
const PROVEN: &str = "[proof]\ndata_points = [\"postcode\"]\ndata_points_needed = 1\n";

#[tokio::test]
async fn a_copy_can_be_taken_by_any_server() {
    let mut exchange = Exchange::with(&format!("{LOCAL}{PROVEN}")).await;
    exchange.approved("jane@example.org", COPY, "Yes. 10115").await;
    assert_eq!(exchange.work(start()).await, 1);
    let (to, template, raw) = exchange.house.letters().await.pop().unwrap();
    assert_eq!(template, "copy");
    let letter = privacyd::mailer::Letter {
        id: 1,
        recipient: to,
        raw: raw.into_bytes(),
        message_id: "<1@example.com>".into(),
    };
    assert_eq!(letter.flaw(), None);
}

#[tokio::test]
async fn a_copy_that_no_server_takes_opens_its_request_again_and_nothing_is_erased() {
    let mut exchange = Exchange::with(&format!("{LOCAL}{PROVEN}")).await;
    exchange.approved("jane@example.org", BOTH, "Yes. 10115").await;
    post(&exchange, &[], start()).await;
    assert_eq!(exchange.work(start()).await, 1);
    post(&exchange, &[Outcome::Bounced("550 5.1.1".into())], start()).await;
    let states = exchange.requests().await;
    assert_eq!(states, [("access".into(), "held".into()), ("deletion".into(), "approved".into())]);
    assert_eq!(exchange.house.scalar("SELECT count(*) FROM requests WHERE closed_at IS NOT NULL").await, 0);
    assert_eq!(exchange.work(hours(100)).await, 0);
    assert_eq!(exchange.contacts().await, 2);
}

#[tokio::test]
async fn a_copy_of_unknown_fate_holds_the_erasure_up() {
    let mut exchange = Exchange::with(&format!("{LOCAL}{PROVEN}")).await;
    exchange.approved("jane@example.org", BOTH, "Yes. 10115").await;
    post(&exchange, &[], start()).await;
    assert_eq!(exchange.work(start()).await, 1);
    post(&exchange, &[Outcome::Unknown("the connection was lost".into())], start()).await;
    assert_eq!(exchange.work(hours(100)).await, 0);
    assert_eq!(exchange.contacts().await, 2);
    // A person sends it again.
    let id = exchange.house.scalar("SELECT id FROM outbox WHERE template = 'copy'").await;
    exchange.house.store.retry(id, hours(100)).await.unwrap();
    post(&exchange, &[], hours(100)).await;
    assert_eq!(exchange.work(hours(100)).await, 1);
    assert_eq!(exchange.contacts().await, 1);
}

#[tokio::test]
async fn another_wish_in_a_reply_stops_an_erasure_and_is_heard() {
    for (words, kind) in [
        ("Stop!", "opt_out"),
        ("Just unsubscribe me from the newsletter instead.", "opt_out"),
        ("Please send me a copy of all the personal data you hold about me first.", "access"),
    ] {
        let mut exchange = Exchange::with(LOCAL).await;
        exchange.approved("jane@example.org", DELETE, "Yes").await;
        exchange.answer(hours(2), words).await;
        let states = exchange.requests().await;
        assert!(states.contains(&("deletion".into(), "held".into())), "{words}: {states:?}");
        assert!(states.iter().any(|(it, _)| it == kind), "{words}: {states:?}");
        exchange.work(hours(100)).await;
        assert_eq!(exchange.contacts().await, 2, "{words}");
    }
}

/// What was written after the request may speak against it, though a yes came later, unless all of it is understood.
#[tokio::test]
async fn an_erasure_waits_until_a_person_has_read_what_its_sender_wrote_meanwhile() {
    for (is_reply, subject, words, waits) in [
        (false, "Hello", "I changed my mind, keep my data", true),
        (false, "Hello", "I have thought about it again and stay with you.", true),
        (false, "STOP", "I changed my mind.", true),
        (false, "I changed my mind, keep my data", "Thank you!", true),
        (false, "Hello", "Please keep my data, and unsubscribe me from the newsletter.", true),
        (false, "Hello", "Unsubscribe me from the newsletter but I want to keep my account.", true),
        (false, "Hello", "I only wanted to unsubscribe from the newsletter, not to be deleted.", true),
        (false, "Hello", "Please unsubscribe me.", true),
        (false, "Hello", "Please close my account but keep my invoices.", true),
        (false, "Hello", "How long do you store my data? I may want to stay with you.", true),
        (true, "", "Wait, I need my invoices first. And please unsubscribe me from the newsletter.", true),
        (true, "", "Yes. But please do not delete my order 4711", true),
        (false, "Copy", COPY, true),
        (false, "Hello", "Please send me a copy of my data and keep my account open.", true),
        (false, "Just unsubscribe me instead", DELETE, true),
        (false, "My data", DELETE, false),
        (false, "Thanks", "Thank you!", false),
        (true, "", "Thank you!", false),
    ] {
        let mut exchange = Exchange::with(LOCAL).await;
        // What was to be read before is no matter of this request.
        exchange.mail(start(), "jane@example.org", "Hello", "", "Please do not delete my account.").await;
        exchange.mail(start(), "jane@example.org", "My data", "", DELETE).await;
        let question = exchange.house.letters().await.len() - 1;
        if is_reply {
            exchange.answer(hours(1), words).await;
        } else {
            exchange.mail(hours(1), "ann@example.org", subject, "", words).await;
            exchange.mail(hours(1), "jane@example.org", subject, "", words).await;
        }
        exchange.answer_to(question, hours(2), "Yes").await;
        let rows = exchange.house.store.requests(None, 100).await.unwrap();
        let erasure = rows.iter().find(|row| row.kind == "deletion").unwrap();
        assert_eq!(erasure.status, "approved", "{words}: {rows:?}");
        let unread = exchange.house.store.unread_of(&erasure.reference).await.unwrap();
        // What was held before is no matter of this request.
        assert_eq!((unread.mails.len(), unread.held.len()) != (0, 1), waits, "{words}: {rows:?}");
        if waits {
            assert_eq!((exchange.work(hours(100)).await, exchange.contacts().await), (0, 2), "{words}");
            let refused = exchange.hand_on("deletion", hours(100), Verb::Complete { set: Vec::new() }).await;
            assert!(matches!(refused, Err(NotDone::Refused(Refusal::Unread(_)))), "{words}: {refused:?}");
        }
        for reference in unread.held.iter().skip(1) {
            let tools = exchange.house.intake.tools();
            act(&exchange.house.store, tools, reference, &Verb::Withdraw, hours(101)).await.unwrap();
        }
        exchange.house.store.mark_read(Some(&unread.mails), hours(101)).await.unwrap();
        assert_eq!((exchange.work(hours(101)).await, exchange.contacts().await), (1, 1), "{words}");
    }
}

/// The words below a subject are the same often enough: thanks, and a name.
#[tokio::test]
async fn the_same_words_below_another_subject_are_read_before_an_erasure() {
    let mut exchange = Exchange::with(LOCAL).await;
    exchange
        .mail(start(), "jane@example.org", "Please delete all my personal data", "", "Thanks, Jane")
        .await;
    let question = exchange.house.letters().await.len() - 1;
    let subject = "Just unsubscribe me instead, and keep my account";
    exchange.mail(hours(1), "jane@example.org", subject, "", "Thanks, Jane").await;
    exchange.answer_to(question, hours(2), "Yes").await;
    assert_eq!((exchange.work(hours(100)).await, exchange.contacts().await), (0, 2));
    assert_eq!(exchange.house.store.to_read(9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_at_work_ends_even_when_its_system_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (shop, _) = system(folder.path(), "shop", "echo '{\"outcome\":\"retry\"}'");
    let mut exchange = Exchange::with(&shop).await;
    exchange.approved("jane@example.org", DELETE, "Yes").await;
    exchange.work(hours(24)).await;
    assert_eq!(exchange.status().await, "executing");
    let house = exchange.house.reconfigured("").await;
    house.work.pass(hours(30), Some(hours(30)), &Stop::never()).await.unwrap();
    let request = house.store.requests(None, 1).await.unwrap().remove(0);
    let task = house.store.tasks(&request.reference).await.unwrap().remove(0);
    assert_eq!((request.status.as_str(), task.state.as_str()), ("executing", "by_hand"));
}

#[tokio::test]
async fn a_system_that_says_done_and_gives_no_data_is_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    let (shop, _) = system(folder.path(), "shop", "echo '{\"outcome\":\"done\"}'");
    let mut exchange = Exchange::with(&format!("{shop}{PROVEN}")).await;
    exchange.approved("jane@example.org", COPY, "Yes. 10115").await;
    assert_eq!(exchange.work(start()).await, 0);
    assert_eq!(exchange.status().await, "executing");
}

#[test]
fn every_language_of_our_letters_names_what_is_kept_and_why() {
    let table = privacyd::request::Table::load(None).unwrap();
    for code in ["en", "de", "fr", "es", "it", "pt", "nl"] {
        let words = &table.language(code).unwrap().kept;
        let known: Vec<&str> = words.keys().map(String::as_str).collect();
        let mut named = [&KEPT_WHAT[..], &KEPT_WHY[..]].concat();
        named.sort_unstable();
        assert_eq!(known, named, "{code}");
    }
}

/// Attempts and outcome of the only task there is.
async fn only_task(exchange: &Exchange) -> (String, u32, String) {
    let reference = exchange.house.store.requests(None, 100).await.unwrap().pop().unwrap().reference;
    let task = exchange.house.store.tasks(&reference).await.unwrap().pop().unwrap();
    (task.state, task.attempts, task.outcome)
}

#[tokio::test]
async fn a_system_behind_http_gets_signed_orders_and_its_person_is_told() {
    let web = Web::plain().await;
    let kept = json!({ "outcome": "done", "kept": [{ "what": "invoices", "why": "tax_law" }] });
    web.says(Reply::Ok(kept.to_string()));
    let mut exchange = Exchange::with(&web.source("CRM", "")).await;
    exchange.approved("jane@example.org", DELETE, "Yes").await;
    assert_eq!((exchange.work(hours(24)).await, web.orders().len()), (1, 1));
    let (signed, order) = web.orders().remove(0);
    assert!((0..60).contains(&(signed - hours(24).as_second())), "signed at the time of the work: {signed}");
    let reference = exchange.house.store.requests(None, 1).await.unwrap().remove(0).reference;
    let expected = json!({ "version": 1, "verb": "erase", "reference": reference, "attempt": 1, "type": "deletion",
        "subject": { "address": "jane@example.org" } });
    assert_eq!(order, expected);
    assert_eq!(exchange.status().await, "partly_completed");
    let (template, text, _) = exchange.last().await;
    assert_eq!(template, "erased");
    assert!(
        text.contains("- CRM: erased, except") && text.contains("Kept: invoices. Why: tax law"),
        "{text}"
    );
    // What it hands out is in the copy.
    let web = Web::plain().await;
    let data = json!({ "outcome": "done", "data": { "orders": ["Blue Kettle"], "password": "hunter2" } });
    web.says(Reply::Ok(data.to_string()));
    let mut exchange = Exchange::with(&web.source("CRM", "")).await;
    exchange.mail(start(), "jane@example.org", "My data", "", COPY).await;
    exchange.hand(start(), Verb::Approve { proof: None, subject: None }).await.unwrap();
    assert_eq!(exchange.work(hours(1)).await, 1);
    let attachments = exchange.attachments().await.concat();
    assert!(attachments.contains("Blue Kettle") && !attachments.contains("hunter2"), "{attachments}");
}

#[tokio::test]
async fn whatever_a_system_behind_http_answers_it_is_asked_again_with_the_same_order() {
    let web = Web::plain().await;
    let elsewhere = Web::plain().await;
    let mut exchange = Exchange::with(&web.source("CRM", "timeout = \"1s\"\n")).await;
    exchange.approved("jane@example.org", DELETE, "Yes").await;
    let url = elsewhere.source("", "").lines().nth(2).unwrap().replace("url = ", "").replace('"', "");
    let mut at = hours(24);
    for (attempt, (reply, outcome)) in (1..).zip([
        (Reply::Status(500), "the system answered with status 500"),
        (Reply::Status(404), "the system answered with status 404"),
        (Reply::Elsewhere(url), "the system answered with status 307"),
        (Reply::Ok("done".into()), "the report is not what the contract says"),
        (Reply::Long(17 << 20), "the report broke off, or is longer than 16777216 bytes"),
        (Reply::Silence, "the system did not answer within 1 s"),
        (Reply::outcome("retry"), ""),
    ]) {
        web.says(reply.clone());
        assert_eq!(exchange.work(at).await, 0, "{reply:?}");
        let (state, attempts, said) = only_task(&exchange).await;
        assert_eq!((state.as_str(), attempts), ("waiting", attempt), "{reply:?}: {said}");
        assert!(said.contains(outcome), "{said}");
        assert_eq!(exchange.last().await.0, "confirmed", "nobody is told that it is done");
        at += SignedDuration::from_hours(9);
    }
    assert_eq!(elsewhere.orders(), [], "an order does not wander off");
    web.says(Reply::outcome("nothing"));
    assert_eq!((exchange.work(at).await, exchange.status().await.as_str()), (1, "completed"));
    let orders = web.orders();
    assert_eq!(orders.len(), 8);
    assert!(orders.iter().all(|(_, order)| *order == orders[0].1), "{orders:?}");
    assert!(orders.windows(2).all(|two| two[0].0 < two[1].0), "each is signed anew: {orders:?}");
}

#[tokio::test]
async fn a_system_behind_http_that_fails_or_does_not_know_us_leaves_its_part_to_a_person() {
    let web = Web::plain().await;
    web.says(Reply::Ok(json!({ "outcome": "failed", "reason": "account locked" }).to_string()));
    let mut exchange = Exchange::with(&web.source("CRM", "")).await;
    exchange.approved("jane@example.org", DELETE, "Yes").await;
    assert_eq!((exchange.work(hours(24)).await, exchange.status().await.as_str()), (0, "executing"));
    assert_eq!(only_task(&exchange).await, ("by_hand".into(), 1, "account locked".into()));
    exchange.says_done(hours(25), "CRM", DONE).await.unwrap();
    assert_eq!(exchange.work(hours(25)).await, 1);
    assert!(exchange.last().await.1.contains("- CRM: erased\n"));
    // Signed with another secret it is nobody's order; nor is one that nobody listens to.
    let web = Web::plain().await;
    web.change_secret();
    let mut exchange = Exchange::with(&web.source("CRM", "")).await;
    exchange.approved("jane@example.org", DELETE, "Yes").await;
    for hour in [24, 24 * 30] {
        assert_eq!(exchange.work(hours(hour)).await, 0);
    }
    assert_eq!((exchange.status().await.as_str(), web.orders().len()), ("executing", 0));
    let given_up = ("by_hand".into(), 2, "the system answered with status 401".into());
    assert_eq!(only_task(&exchange).await, given_up);
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "s").unwrap();
    let nobody = format!(
        "[[source]]\nname = \"CRM\"\nurl = \"http://{gone}/\"\nsecret = {{ file = {:?} }}\n",
        secret.path().display().to_string()
    );
    let mut exchange = Exchange::with(&nobody).await;
    exchange.approved("jane@example.org", DELETE, "Yes").await;
    assert_eq!(exchange.work(hours(24)).await, 0);
    let (state, attempts, said) = only_task(&exchange).await;
    assert_eq!((state.as_str(), attempts), ("waiting", 1));
    assert!(said.starts_with("the system cannot be reached"), "{said}");
}
