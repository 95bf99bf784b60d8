//! Corrections by mail: a form or a plain sentence becomes a diff, the code confirms exactly that diff, every system
//! applies it, and the person is told; what is not certain changes nothing and waits for a person.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use privacyd::message::Message;
use privacyd::operator::hand::{Became, Done, NotDone, Refusal, Setting, Verb, act};
use privacyd::stop::Stop;
use serde_json::{Value, json};

#[path = "support/corridor.rs"]
mod support;

use support::House;

const LOCAL: &str = "[[source]]\nname = \"Contacts\"\nlocal = true\n";
const FIELDS: &str = "[correction]\nfields = [\"name\", \"phone\"]\nwords = { phone = [\"phone number\"] }\n[authentication]\nauthserv_ids = [\"mx.example.com\"]\n";
const WRONG: &str = "My name is wrong in your records. Please correct it.";
const CHANGE: &str = "Please change my name from Jane Smith to Jane Doe.";
const JANE: &str = "jane@example.org";

fn start() -> Timestamp {
    "2026-11-23T10:00:00Z".parse().unwrap()
}

struct Exchange {
    house: House,
    next: u32,
}

impl Exchange {
    async fn with(keys: &str) -> Self {
        let house = House::with(&format!("{keys}{FIELDS}")).await;
        let fields = json!({ "name": "Jane Smith", "phone": "030 1", "postcode": "10115" });
        let contact = (JANE.parse().unwrap(), fields.as_object().unwrap().clone());
        house.store.upsert_contacts(&[contact], start()).await.unwrap();
        Self { house, next: 1 }
    }

    async fn mail(&mut self, subject: &str, fields: &str, words: &str) {
        let mail = format!(
            "{fields}From: {JANE}\nTo: privacy@example.com\nSubject: {subject}\nMessage-ID: <{}.z@example.org>\n\n{words}\n",
            self.next
        );
        self.house.deliver(start(), self.next, mail.into_bytes()).await;
        self.next += 1;
    }

    async fn asks(&mut self, words: &str) {
        self.mail("My data", "", words).await;
    }

    async fn asks_authenticated(&mut self, words: &str) {
        let results = "Authentication-Results: mx.example.com; dmarc=pass header.from=example.org\n";
        self.mail("My data", results, words).await;
    }

    /// Answers the last letter of ours, as its reader.
    async fn answers(&mut self, words: &str) {
        let (_, _, raw) = self.house.letters().await.pop().unwrap();
        let letter = Message::parse(raw.as_bytes()).unwrap();
        let subject = format!("Re: {}", letter.subject());
        let quoted: String = letter.text().lines().map(|line| format!("> {line}\n")).collect();
        let fields = format!("In-Reply-To: {}\n", letter.message_id().unwrap().as_str());
        self.mail(&subject, &fields, &format!("{words}\n\n{quoted}")).await;
    }

    async fn work(&self) -> u64 {
        self.house.work.pass(start(), Some(start()), &Stop::never()).await.unwrap()
    }

    /// What a person does with the last request.
    async fn hand(&self, verb: Verb) -> Result<Done, Refusal> {
        let reference = self.house.store.requests(None, 1).await.unwrap().remove(0).reference;
        let done = act(&self.house.store, self.house.intake.tools(), &reference, &verb, start()).await;
        done.map_err(|not_done| match not_done {
            NotDone::Refused(refusal) => refusal,
            NotDone::Broken(error) => panic!("{error:#}"),
        })
    }

    async fn sets(&self, set: &[(&str, &str)]) -> Result<Done, Refusal> {
        self.sets_as(false, set).await
    }

    /// `is_new`: also fields that nobody knows.
    async fn sets_as(&self, is_new: bool, set: &[(&str, &str)]) -> Result<Done, Refusal> {
        let setting = |(field, value): &(&str, &str)| Setting {
            field: (*field).to_owned(),
            value: (*value).to_owned(),
            is_new,
        };
        self.hand(Verb::Complete { set: set.iter().map(setting).collect() }).await
    }

    async fn statuses(&self) -> Vec<String> {
        let mut rows = self.house.store.requests(None, 100).await.unwrap();
        rows.sort_by_key(|row| row.message_id);
        rows.into_iter().map(|row| row.status).collect()
    }

    async fn status(&self) -> String {
        self.statuses().await.pop().unwrap()
    }

    /// Template, text and all of the last letter.
    async fn last(&self) -> (String, String) {
        let (to, template, raw) = self.house.letters().await.pop().unwrap();
        assert_eq!(to, JANE);
        (template, Message::parse(raw.as_bytes()).unwrap().text().replace('\r', ""))
    }

    async fn contact(&self) -> Value {
        let fields = self.house.blob("SELECT CAST(fields AS BLOB) FROM contacts").await;
        serde_json::from_slice(&fields).unwrap()
    }

    async fn is_unchanged(&self) -> bool {
        self.contact().await == json!({ "name": "Jane Smith", "phone": "030 1", "postcode": "10115" })
    }

    async fn diffs(&self) -> i64 {
        self.house.scalar("SELECT count(*) FROM corrections").await
    }
}

/// A system that is a shell script and keeps its orders in a file.
fn system(folder: &Path, name: &str, verbs: &str, script: &str) -> (String, PathBuf) {
    let (program, calls) = (folder.join(name), folder.join(format!("{name}.calls")));
    let text = format!("#!/bin/sh\nread -r order\necho \"$order\" >> '{}'\n{script}\n", calls.display());
    std::fs::write(&program, text).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    let command = program.display().to_string();
    (format!("[[source]]\nname = {name:?}\ncommand = [{command:?}]\n{verbs}"), calls)
}

#[tokio::test]
async fn a_form_that_comes_back_with_the_code_is_applied_and_told() {
    let mut exchange = Exchange::with(LOCAL).await;
    exchange.asks(WRONG).await;
    let (template, text) = exchange.last().await;
    assert_eq!(template, "confirm");
    assert!(text.contains("\n  name: ->\n  phone: ->\n"), "{text}");
    // Nothing that is on file, and no field that may not be changed by mail.
    for held in ["Smith", "030", "10115", "postcode"] {
        assert!(!text.contains(held), "{held}: {text}");
    }
    exchange.answers("YES\n\n  name: Jane Smith -> Jane Doe\n  phone: ->\n\nThanks").await;
    assert_eq!(exchange.status().await, "approved");
    assert_eq!(exchange.work().await, 1);
    assert_eq!(exchange.status().await, "completed");
    assert_eq!(
        exchange.contact().await,
        json!({ "name": "Jane Doe", "phone": "030 1", "postcode": "10115" })
    );
    let (template, text) = exchange.last().await;
    assert_eq!(template, "corrected");
    assert!(text.contains("- name: Jane Doe\n") && text.contains("- Contacts: corrected\n"), "{text}");
    // The diff stays with the request.
    let row = exchange.house.store.requests(None, 1).await.unwrap().remove(0);
    let dossier = exchange.house.store.dossier(&row.reference).await.unwrap().unwrap();
    assert_eq!(dossier.changes, [json!({ "field": "name", "old": "Jane Smith", "new": "Jane Doe" })]);
    // Once is enough.
    assert_eq!(exchange.work().await, 0);
}

#[tokio::test]
async fn a_form_alone_or_a_sentence_is_a_yes_to_itself() {
    for (words, phone) in [
        ("  phone: -> +49 30 2", "+49 30 2"),
        ("Hello,\n\nphone number: 030 1 -> 030/2\n\nKind regards\nJane", "030/2"),
        ("Yes, that was me.\nPlease change my phone number to 030 2.", "030 2"),
        ("Please update my phone from \"030 1\" to \"030 2\".\n\nThanks!", "030 2"),
    ] {
        let mut exchange = Exchange::with(LOCAL).await;
        exchange.asks(WRONG).await;
        exchange.answers(words).await;
        assert_eq!(exchange.status().await, "approved", "{words}");
        assert_eq!(exchange.work().await, 1, "{words}");
        assert_eq!(exchange.contact().await["phone"], phone, "{words}");
        assert_eq!(exchange.contact().await["name"], "Jane Smith", "{words}");
    }
}

#[tokio::test]
async fn what_is_not_certain_changes_nothing_and_waits_for_a_person() {
    for (words, status) in [
        // Approved, but nobody said into what.
        ("YES", "approved"),
        ("YES\n\nname: -> Jane Doe\n\nAnd my birthday is wrong as well.", "awaiting_proof"),
        ("YES\n\nname: -> Jane Doe\nname: -> Joan Doe", "awaiting_proof"),
        ("YES\n\npostcode: -> 10117", "awaiting_proof"),
        ("YES\n\nname: -> jane@example.net", "awaiting_proof"),
        ("YES\n\nname: -> https://example.net/", "awaiting_proof"),
        ("YES\n\nMy name is Jane Doe", "awaiting_proof"),
        ("name: -> Jane Doe\nbut only if it costs nothing", "awaiting_proof"),
        ("No, I did not ask for this.\nname: -> Jane Doe", "withdrawn"),
        ("name: ->\nphone: ->", "awaiting_proof"),
    ] {
        let mut exchange = Exchange::with(LOCAL).await;
        exchange.asks(WRONG).await;
        exchange.answers(words).await;
        assert_eq!(exchange.statuses().await[0], status, "{words}");
        assert_eq!(exchange.work().await, 0, "{words}");
        assert_eq!(exchange.statuses().await[0], status, "{words}");
        assert!(exchange.is_unchanged().await, "{words}");
        assert_eq!(exchange.diffs().await, 0, "{words}");
    }
}

#[tokio::test]
async fn of_a_first_mail_that_nothing_proves_no_word_is_shown_or_kept() {
    let mut exchange = Exchange::with(LOCAL).await;
    exchange.asks("Please change my name to Mallory Malory.").await;
    let (_, text) = exchange.last().await;
    assert!(!text.contains("Mal") && text.contains("  name: ->\n"), "{text}");
    assert_eq!(exchange.diffs().await, 0);
    exchange.answers("YES").await;
    assert_eq!((exchange.status().await.as_str(), exchange.work().await), ("approved", 0));
    assert!(exchange.is_unchanged().await);
}

#[tokio::test]
async fn of_an_authenticated_one_a_yes_confirms_what_the_question_shows() {
    let mut exchange = Exchange::with(LOCAL).await;
    exchange.asks_authenticated(CHANGE).await;
    let (template, text) = exchange.last().await;
    assert_eq!(template, "confirm");
    assert!(text.contains("\n  name: Jane Smith -> Jane Doe\n"), "{text}");
    assert_eq!(exchange.work().await, 0, "not before the code has come");
    exchange.answers("Yes").await;
    assert_eq!(exchange.work().await, 1);
    assert_eq!(exchange.contact().await["name"], "Jane Doe");
    // What the answer says anew takes its place.
    let mut exchange = Exchange::with(LOCAL).await;
    exchange.asks_authenticated(CHANGE).await;
    exchange.answers("Yes\n\nname: -> Jane Dough").await;
    assert_eq!(exchange.work().await, 1);
    assert_eq!(exchange.contact().await["name"], "Jane Dough");
    // An answer that is not understood confirms nothing.
    let mut exchange = Exchange::with(LOCAL).await;
    exchange.asks_authenticated(CHANGE).await;
    exchange.answers("Yes, but it is spelt Dough.").await;
    let first = exchange.statuses().await.remove(0);
    assert_eq!((first.as_str(), exchange.work().await), ("awaiting_proof", 0));
    assert!(exchange.is_unchanged().await);
    // Nor is what stands beside something else certain.
    let mut exchange = Exchange::with(LOCAL).await;
    exchange.asks_authenticated(&format!("{CHANGE}\nMy birthday is wrong, too.")).await;
    assert_eq!(exchange.diffs().await, 0);
}

#[tokio::test]
async fn a_reminder_shows_what_a_yes_confirms_and_a_further_question_begins_anew() {
    let mut exchange = Exchange::with(LOCAL).await;
    exchange.asks_authenticated(CHANGE).await;
    exchange.house.intake.sweep(start() + SignedDuration::from_hours(24 * 8)).await.unwrap();
    let (template, text) = exchange.last().await;
    assert_eq!(template, "reminder");
    assert!(text.contains("\n  name: Jane Smith -> Jane Doe\n"), "{text}");
    exchange.answers("Yes").await;
    assert_eq!(exchange.work().await, 1);
    assert_eq!(exchange.contact().await["name"], "Jane Doe");
    // Somebody sends the same words once more.
    let mut exchange = Exchange::with(LOCAL).await;
    exchange.asks_authenticated(CHANGE).await;
    exchange.asks(CHANGE).await;
    let (template, text) = exchange.last().await;
    assert!(template == "confirm" && !text.contains("Doe") && text.contains("  name: ->\n"), "{text}");
    exchange.answers("Yes").await;
    assert_eq!((exchange.status().await.as_str(), exchange.work().await), ("approved", 0));
    assert!(exchange.is_unchanged().await);
}

#[tokio::test]
async fn a_new_address_does_not_prove_itself() {
    for words in [
        "Please change my e-mail address to jane@example.net.",
        "My e-mail address has changed from ann@example.org to this one. Please correct my e-mail address.",
    ] {
        let mut exchange = Exchange::with(LOCAL).await;
        exchange.asks_authenticated(words).await;
        assert_eq!(exchange.status().await, "held", "{words}");
        let letters = exchange.house.letters().await;
        assert!(letters.iter().all(|(to, template, _)| to == JANE && template != "confirm"), "{words}");
        assert_eq!(exchange.diffs().await, 0);
    }
}

#[tokio::test]
async fn every_system_gets_the_diff_and_the_person_is_told_of_each() {
    let folder = tempfile::tempdir().unwrap();
    let kept =
        "echo '{\"outcome\":\"done\",\"kept\":[{\"what\":\"the name on invoices\",\"why\":\"tax law\"}]}'";
    let (shop, orders) = system(folder.path(), "Shop", "", kept);
    let (crm, _) = system(folder.path(), "CRM", "", "echo '{\"outcome\":\"nothing\"}'");
    let mut exchange = Exchange::with(&format!("{LOCAL}{shop}{crm}")).await;
    exchange.asks(WRONG).await;
    exchange.answers("YES\nname: Jane Smith -> Jane Doe\nphone: -> 030 2").await;
    assert_eq!(exchange.work().await, 1);
    assert_eq!(exchange.status().await, "partly_completed");
    let order: Value = serde_json::from_str(std::fs::read_to_string(orders).unwrap().trim()).unwrap();
    assert_eq!((&order["verb"], &order["subject"]["address"]), (&json!("correct"), &json!(JANE)));
    assert_eq!(
        order["changes"],
        json!([
            { "field": "name", "old": "Jane Smith", "new": "Jane Doe" },
            { "field": "phone", "old": null, "new": "030 2" },
        ])
    );
    let (_, text) = exchange.last().await;
    for line in [
        "- Contacts: corrected\n",
        "- Shop: corrected, except for what is named below\n  Not changed: the name on invoices. Why: tax law\n",
        "- CRM: nothing of this is held there\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

#[tokio::test]
async fn a_system_that_cannot_leaves_the_rest_to_a_person() {
    let folder = tempfile::tempdir().unwrap();
    for (verbs, script) in
        [("verbs = [\"erase\"]\n", ""), ("", "echo '{\"outcome\":\"failed\",\"reason\":\"no such field\"}'")]
    {
        let (shop, _) = system(folder.path(), "Shop", verbs, script);
        let mut exchange = Exchange::with(&format!("{LOCAL}{shop}")).await;
        exchange.asks(WRONG).await;
        exchange.answers("YES\nname: -> Jane Doe").await;
        assert_eq!((exchange.work().await, exchange.status().await.as_str()), (0, "executing"));
        assert_eq!(exchange.last().await.0, "confirmed", "nobody is told that it is done");
    }
}

#[tokio::test]
async fn an_old_value_that_is_not_there_is_for_a_person() {
    let mut exchange = Exchange::with(LOCAL).await;
    exchange.asks(WRONG).await;
    exchange.answers("YES\nphone: -> 030 2\nname: Joan Smith -> Jane Doe").await;
    assert_eq!((exchange.work().await, exchange.status().await.as_str()), (0, "executing"));
    assert!(exchange.is_unchanged().await);
    // Nothing is held of a field that the contact does not have, or of somebody who is no contact.
    let mut exchange = Exchange::with(LOCAL).await;
    exchange.house.execute("DELETE FROM contacts").await;
    exchange.asks(WRONG).await;
    exchange.answers("YES\nname: -> Jane Doe").await;
    assert_eq!(exchange.work().await, 1);
    assert!(exchange.last().await.1.contains("- Contacts: nothing of this is held there\n"));
}

#[tokio::test]
async fn a_correction_comes_before_a_copy_and_its_form_is_no_yes_to_it() {
    let both = format!("{WRONG}\n\nPlease send me a copy of all the personal data you hold about me.");
    let mut exchange = Exchange::with(LOCAL).await;
    exchange.asks(&both).await;
    exchange.answers("YES\n\nname: -> Jane Doe").await;
    assert_eq!(exchange.work().await, 1);
    assert_eq!(exchange.statuses().await, ["completed", "approved"]);
    assert_eq!(exchange.work().await, 1);
    assert_eq!(exchange.statuses().await, ["completed", "partly_completed"]);
    let mut exchange = Exchange::with(LOCAL).await;
    exchange.asks(&both).await;
    exchange.answers("name: -> Jane Doe").await;
    assert_eq!(exchange.statuses().await, ["approved", "awaiting_proof"]);
}

#[tokio::test]
async fn whoever_is_erased_leaves_no_diff_and_a_purge_takes_it_along() {
    let mut exchange = Exchange::with(&format!("{LOCAL}[erasure]\ndelay = \"0s\"\n")).await;
    exchange.asks(WRONG).await;
    exchange.answers("YES\nname: -> Jane Doe").await;
    exchange.work().await;
    assert_eq!(exchange.diffs().await, 1);
    exchange.asks("Please delete all my personal data.").await;
    exchange.answers("YES").await;
    assert_eq!(exchange.work().await, 1);
    assert_eq!(exchange.diffs().await, 0);
    let mut exchange = Exchange::with(LOCAL).await;
    exchange.asks(WRONG).await;
    exchange.answers("YES\nname: -> Jane Doe").await;
    exchange.work().await;
    exchange.house.execute("UPDATE outbox SET state = 'sent'").await;
    let later = start() + SignedDuration::from_hours(24 * 800);
    let cutoffs = privacyd::config::Retention::default().cutoffs(later).unwrap();
    let purged = exchange.house.store.purge(&cutoffs, later, &|| false).await.unwrap();
    assert_eq!((purged.requests, exchange.diffs().await), (1, 0));
}

#[tokio::test]
async fn without_fields_a_person_corrects() {
    let mut exchange = Exchange { house: House::with(LOCAL).await, next: 1 };
    exchange.asks(WRONG).await;
    assert!(!exchange.last().await.1.contains("->"));
    exchange.answers("YES").await;
    assert_eq!((exchange.work().await, exchange.status().await.as_str()), (0, "approved"));
}

#[tokio::test]
async fn what_no_mail_says_with_certainty_a_person_sets_and_the_letter_tells() {
    let folder = tempfile::tempdir().unwrap();
    let (shop, orders) = system(folder.path(), "Shop", "", "echo '{\"outcome\":\"done\"}'");
    let mut exchange = Exchange::with(&format!("{LOCAL}{shop}")).await;
    exchange.asks("My name is wrong in your records, I have married. Please correct it.").await;
    exchange.answers("YES").await;
    assert_eq!((exchange.work().await, exchange.status().await.as_str()), (0, "approved"));
    // A field that no mail may change as well.
    let set = [("postcode", "10117"), ("name", "Jane Doe")];
    let done = exchange.sets(&set).await.unwrap();
    assert!(done.changed && done.status == "approved" && done.reply.is_none(), "{done:?}");
    assert!(done.said.ends_with("name: Jane Smith -> Jane Doe; postcode: 10115 -> 10117"), "{}", done.said);
    let again = exchange.sets(&set).await.unwrap();
    assert!(!again.changed && again.said.contains("already"), "{again:?}");
    assert!(exchange.is_unchanged().await, "not before the systems are asked");
    assert_eq!((exchange.work().await, exchange.status().await.as_str()), (1, "completed"));
    assert_eq!(
        exchange.contact().await,
        json!({ "name": "Jane Doe", "phone": "030 1", "postcode": "10117" })
    );
    let order: Value = serde_json::from_str(std::fs::read_to_string(orders).unwrap().trim()).unwrap();
    let changes = json!([
        { "field": "name", "old": "Jane Smith", "new": "Jane Doe" },
        { "field": "postcode", "old": "10115", "new": "10117" },
    ]);
    assert_eq!((&order["verb"], &order["changes"]), (&json!("correct"), &changes));
    let (template, text) = exchange.last().await;
    assert_eq!(template, "corrected");
    for line in
        ["- name: Jane Doe\n", "- postcode: 10117\n", "- Contacts: corrected\n", "- Shop: corrected\n"]
    {
        assert!(text.contains(line), "{line}: {text}");
    }
    let row = exchange.house.store.requests(None, 1).await.unwrap().remove(0);
    let dossier = exchange.house.store.dossier(&row.reference).await.unwrap().unwrap();
    assert_eq!(json!(dossier.changes), changes);
    // The history, which stays when somebody is erased, names fields and no values.
    let (_, events) = exchange.house.store.request(&row.reference).await.unwrap().unwrap();
    let reasons: Vec<&str> = events.iter().map(|event| event.reason.as_str()).collect();
    assert!(reasons.contains(&"a person has said what is to be changed: name, postcode"), "{reasons:?}");
    assert!(!reasons.iter().any(|reason| reason.contains("Doe") || reason.contains("1011")), "{reasons:?}");
    // It is over.
    let refusal = exchange.sets(&[("name", "Joan")]).await.unwrap_err().to_string();
    assert!(refusal.contains("is completed: it cannot be completed any more"), "{refusal}");
}

#[tokio::test]
async fn a_person_sets_also_where_no_field_may_be_changed_by_mail_and_says_the_rest_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let (shop, _) = system(folder.path(), "Shop", "verbs = [\"erase\"]\n", "");
    let mut exchange = Exchange { house: House::with(&format!("{LOCAL}{shop}")).await, next: 1 };
    let fields = json!({ "name": "Jane Smith" });
    let contact = (JANE.parse().unwrap(), fields.as_object().unwrap().clone());
    exchange.house.store.upsert_contacts(&[contact], start()).await.unwrap();
    exchange.asks(WRONG).await;
    exchange.answers("YES").await;
    exchange.sets_as(true, &[("name", "Jane Doe"), ("birthday", "1 May 1990")]).await.unwrap();
    assert_eq!((exchange.work().await, exchange.status().await.as_str()), (0, "executing"));
    assert_eq!(
        exchange.contact().await,
        json!({ "name": "Jane Doe" }),
        "a field it does not have is not held"
    );
    let became = Became::Done { data: None };
    exchange.hand(Verb::Done { system: "Shop".into(), became }).await.unwrap();
    assert_eq!((exchange.work().await, exchange.status().await.as_str()), (1, "completed"));
    assert!(exchange.last().await.1.contains("- Shop: corrected\n"));
}

#[tokio::test]
async fn no_erasure_overtakes_what_a_person_has_set() {
    let folder = tempfile::tempdir().unwrap();
    let (shop, _) = system(folder.path(), "Shop", "verbs = [\"erase\"]\n", "");
    let mut exchange = Exchange { house: House::with(&format!("{LOCAL}{shop}")).await, next: 1 };
    exchange.asks(WRONG).await;
    exchange.answers("YES").await;
    exchange.sets_as(true, &[("name", "Jane Doe")]).await.unwrap();
    assert_eq!((exchange.work().await, exchange.status().await.as_str()), (0, "executing"));
    exchange.asks("Please delete all my personal data.").await;
    exchange.answers("YES").await;
    let later = start() + SignedDuration::from_hours(48);
    exchange.house.work.pass(later, Some(later), &Stop::never()).await.unwrap();
    assert_eq!(exchange.statuses().await, ["executing", "approved"]);
}

#[tokio::test]
async fn what_is_changed_between_setting_and_doing_is_for_a_person() {
    let mut exchange = Exchange::with(LOCAL).await;
    exchange.asks(WRONG).await;
    exchange.answers("YES").await;
    exchange.sets(&[("name", "Jane Doe")]).await.unwrap();
    // Said anew, that counts, and what does not any more is told.
    let done = exchange.sets(&[("phone", "12345")]).await.unwrap();
    assert!(done.said.ends_with("-> 12345; no longer to be changed: name"), "{}", done.said);
    exchange.sets(&[("name", "Jane Dough")]).await.unwrap();
    exchange.house.execute("UPDATE contacts SET fields = json_set(fields, '$.name', 'Joan')").await;
    assert_eq!((exchange.work().await, exchange.status().await.as_str()), (0, "executing"));
    assert_eq!(exchange.contact().await["name"], "Joan");
}

#[tokio::test]
async fn what_cannot_be_set_is_refused_and_changes_nothing() {
    let refused = async |exchange: &Exchange, set: &[(&str, &str)], words: &str| {
        let said = exchange.sets(set).await.unwrap_err().to_string();
        assert!(said.contains(words) && !said.contains('\n'), "{said}");
        assert_eq!(exchange.diffs().await, 0);
    };
    let mut exchange = Exchange::with(LOCAL).await;
    exchange.asks(WRONG).await;
    let name = [("name", "Jane Doe")];
    refused(&exchange, &name, "is awaiting_proof: approve it first").await;
    exchange.hand(Verb::Hold { reason: None }).await.unwrap();
    refused(&exchange, &name, "is held: approve it first").await;
    exchange.hand(Verb::Approve { proof: None, subject: None }).await.unwrap();
    refused(&exchange, &[name[0], ("name", "Joan")], "it is set twice").await;
    refused(&exchange, &[name[0], ("Name", "Joan")], "it is set twice").await;
    refused(&exchange, &[name[0], ("password", "x")], "never leaves by mail").await;
    refused(&exchange, &[name[0], ("legal_hold", "no")], "never leaves by mail").await;
    refused(&exchange, &[name[0], ("fone", "1")], "The field fone").await;
    refused(&exchange, &[name[0], ("fone", "1")], "See that it is spelt right").await;
    let done = exchange.sets_as(true, &[name[0], ("fone", "1")]).await.unwrap();
    assert!(done.said.contains("fone: -> 1"), "{}", done.said);
    let done = exchange.sets(&name).await.unwrap();
    assert!(done.said.ends_with("-> Jane Doe; no longer to be changed: fone"), "{}", done.said);
    assert_eq!(exchange.work().await, 1);
    let mut exchange = Exchange::with(LOCAL).await;
    exchange.asks("Please delete all my personal data.").await;
    exchange.answers("YES").await;
    refused(&exchange, &name, "asks for deletion: only a correction is completed with --set").await;
}

#[tokio::test]
async fn a_correction_that_is_completed_without_a_change_says_so() {
    let mut exchange = Exchange::with(LOCAL).await;
    exchange.asks(WRONG).await;
    exchange.answers("YES").await;
    let done = exchange.hand(Verb::Complete { set: vec![] }).await.unwrap();
    assert_eq!((done.status, done.reply), ("completed", None));
    assert!(done.said.contains("no mail goes out, and privacyd has changed nothing"), "{}", done.said);
    let last = exchange.house.scalar(
        "SELECT count(*) FROM request_events WHERE event = 'completed'
        AND reason = 'a person has carried it out; privacyd has changed nothing'",
    );
    assert_eq!(last.await, 1);
    assert!(exchange.is_unchanged().await && exchange.work().await == 0);
}
