//! What watches over the whole, with a real Dovecot and Postfix: junk, a lost database, the canary; and how little
//! the unit leaves open.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use sqlx::Connection;

use super::dovecot::{Options, PASSWORD};
use super::house::{House, mail, text};
use super::imap_client::ImapClient;
use super::{Need, Outcome, Scenario};

pub const SCENARIOS: &[Scenario] = &[
    ("requests_among_junk_are_found_and_held", &HOUSE, requests_among_junk_are_found_and_held),
    (
        "a_reply_of_unknown_fate_whose_copy_is_among_sent_mail_was_sent",
        &HOUSE,
        a_reply_of_unknown_fate_whose_copy_is_among_sent_mail_was_sent,
    ),
    ("a_lost_database_answers_nothing", &HOUSE, a_lost_database_answers_nothing),
    (
        "a_database_older_than_the_mailbox_answers_nothing",
        &HOUSE,
        a_database_older_than_the_mailbox_answers_nothing,
    ),
    ("a_mailbox_is_one_databases", &HOUSE, a_mailbox_is_one_databases),
    ("a_copy_from_before_is_told_by_its_number", &HOUSE, a_copy_from_before_is_told_by_its_number),
    (
        "lowered_numbers_of_an_empty_inbox_hide_no_mail",
        &HOUSE,
        lowered_numbers_of_an_empty_inbox_hide_no_mail,
    ),
    ("a_canary_comes_back_by_the_real_way", &HOUSE, a_canary_comes_back_by_the_real_way),
    ("the_unit_leaves_little_open", &[Need::Systemd], the_unit_leaves_little_open),
];

const HOUSE: [Need; 3] = [Need::Dovecot, Need::Postfix, Need::Openssl];

const OPT_OUT: &str = "Please unsubscribe me.";
const DELETE: &str = "Please delete all my personal data.";

/// Whether systemd-analyze is there.
pub fn missing_systemd() -> Option<&'static str> {
    let found = Command::new("systemd-analyze").arg("--version").output();
    found.is_err().then_some("systemd-analyze is not installed")
}

fn statuses(house: &House) -> Vec<(String, String)> {
    let rows = house.list(&["requests", "list", "--all"]);
    let mut found: Vec<_> = rows.iter().map(|row| (text(row, "subject"), text(row, "status"))).collect();
    found.sort();
    found
}

fn letter(name: &str, words: &str) -> Vec<u8> {
    let number = name.bytes().map(usize::from).sum();
    mail(number, &format!("{name}@example.org"), "Hi", "", words)
}

fn pair(name: &str, status: &str) -> (String, String) {
    (format!("{name}@example.org"), status.to_owned())
}

/// Why nothing is answered, if so.
fn recovery(house: &House) -> Option<String> {
    let output = house.privacyd(&["status", "--json"]).output().unwrap();
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    status["recovery"]["why"].as_str().map(str::to_owned)
}

fn requests_among_junk_are_found_and_held() -> Outcome {
    let extra = "namespace inbox {\n  mailbox Spam {\n    special_use = \\Junk\n    auto = create\n  }\n}\n";
    let house = House::of(&Options { extra: extra.into(), ..Options::default() }, "");
    house.dovecot.deliver("privacy", &letter("jane", OPT_OUT));
    house.run(&["run", "--once"]);
    house.dovecot.deliver_into("privacy", "Spam", &letter("ann", DELETE));
    house.dovecot.deliver_into(
        "privacy",
        "Spam",
        &letter("pills", "Buy our boots in size 42, they are cheap."),
    );
    let (said, log) = house.run(&["reconcile"]);
    assert_eq!(said, "3 mails looked at, 0 unaccounted; 1 request found among junk\n", "{log}");
    assert!(log.contains("the server marks this folder as that for junk"), "{log}");
    assert_eq!(statuses(&house), [pair("ann", "held"), pair("jane", "completed")]);
    assert_eq!((house.filed("Spam").len(), house.filed("Held").len()), (1, 1));
    assert_eq!(house.list(&["outbox", "list"]).len(), 1, "jane's alone");
    let (said, _) = house.run(&["reconcile"]);
    // What was moved is looked at once where it lies now.
    assert_eq!(said, "1 mail looked at, 0 unaccounted; 0 requests found among junk\n");
    // Somebody gets the other one out of the junk: it is read as what has come to the inbox, not put back.
    house.dovecot.deliver("privacy", &letter("pills", "Buy our boots in size 42, they are cheap."));
    house.run(&["run", "--once"]);
    assert_eq!((house.list(&["messages", "list"]).len(), house.filed("INBOX").len()), (3, 0));
    assert_eq!((house.filed("Spam").len(), house.filed("Held").len()), (1, 2));

    // A person sees that ann's is a deletion indeed, and puts it into that folder: she is asked.
    let mut colleague = ImapClient::login(house.dovecot.plain_port, "privacy", PASSWORD);
    colleague.run(&["CREATE Deletion", "SELECT Held", "UID MOVE 1 Deletion"].map(str::to_owned));
    house.run(&["run", "--once"]);
    assert_eq!(statuses(&house), [pair("ann", "awaiting_proof"), pair("jane", "completed")]);
    let rows = house.list(&["requests", "list"]);
    let (shown, _) = house.run(&["requests", "show", &text(&rows[0], "reference")]);
    assert!(shown.contains("person  released: asked to confirm it, by folder"), "{shown}");
    house.run(&["run", "--once"]);
    assert_eq!(house.list(&["outbox", "list"]).len(), 2, "and no more");
    Ok(())
}

fn a_reply_of_unknown_fate_whose_copy_is_among_sent_mail_was_sent() -> Outcome {
    let extra =
        "namespace inbox {\n  mailbox Gesendet {\n    special_use = \\Sent\n    auto = create\n  }\n}\n";
    let house = House::of(&Options { extra: extra.into(), ..Options::default() }, "");
    for name in ["jane", "bob", "ann"] {
        house.dovecot.deliver("privacy", &letter(name, DELETE));
    }
    house.run(&["run", "--once"]);
    house.run(&["run", "--once"]);
    // Nothing is looked for while every fate is known.
    let (_, log) = house.run(&["reconcile"]);
    assert!(!log.contains("sent mail"), "{log}");
    let runtime = tokio::runtime::Runtime::new()?;
    let replies: Vec<(String, Vec<u8>)> = runtime.block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(house.database());
        let mut second = sqlx::SqliteConnection::connect_with(&options).await?;
        sqlx::query("UPDATE outbox SET state = 'unknown' WHERE recipient <> 'ann@example.org'")
            .execute(&mut second)
            .await?;
        sqlx::query_as("SELECT recipient, raw FROM outbox ORDER BY id").fetch_all(&mut second).await
    })?;
    assert_eq!(replies.len(), 3);
    let of = |name: &str| replies.iter().find(|reply| reply.0.starts_with(name)).map(|reply| reply.1.clone());
    house.dovecot.deliver_into("privacy", "Gesendet", &of("jane").ok_or("no reply to jane")?);
    // What is like it is not it: an answer that names it, and the reply that was never in doubt.
    let id = privacyd::message::Message::parse(&of("bob").ok_or("no reply to bob")?)
        .and_then(|reply| reply.message_id())
        .ok_or("no Message-ID")?;
    let answer =
        format!("Message-ID: <x@example.org>\nIn-Reply-To: {0}\nReferences: {0}\n\nYes\n", id.as_str());
    house.dovecot.deliver_into("privacy", "Gesendet", answer.as_bytes());
    house.dovecot.deliver_into("privacy", "Gesendet", &of("ann").ok_or("no reply to ann")?);
    let (said, log) = house.run(&["reconcile"]);
    assert_eq!(said, "0 mails looked at, 0 unaccounted; 0 requests found among junk\n", "{log}");
    assert!(log.contains("the server marks this folder as that for sent mail"), "{log}");
    let states = |house: &House| {
        let rows = house.list(&["outbox", "list"]);
        let mut found: Vec<_> = rows.iter().map(|row| (text(row, "recipient"), text(row, "state"))).collect();
        found.sort();
        found
    };
    let expected = [pair("ann", "sent"), pair("bob", "unknown"), pair("jane", "sent")];
    assert_eq!(states(&house), expected, "{log}");
    // Its request tells, and the others' do not; nothing in the folder has changed.
    for row in house.list(&["requests", "list"]) {
        let (shown, _) = house.run(&["requests", "show", &text(&row, "reference")]);
        let tells = shown.contains("(confirm) was sent: a copy of it lies among sent mail");
        assert_eq!(tells, text(&row, "subject").starts_with("jane"), "{shown}");
    }
    assert_eq!(house.filed("Gesendet").len(), 3);
    house.run(&["reconcile"]);
    assert_eq!(states(&house), expected);
    assert!(house.run(&["audit", "verify"]).0.contains("events"), "the log of events is whole");
    // That there is no such folder is told, and spoils no more.
    let file = house.path("privacyd.toml");
    let config = std::fs::read_to_string(&file)?;
    let named = config.replace("username = \"privacy\"\n", "username = \"privacy\"\nsent = \"Nowhere\"\n");
    assert_ne!(config, named);
    std::fs::write(&file, named)?;
    let (said, log) = house.run(&["reconcile"]);
    assert_eq!(said, "0 mails looked at, 0 unaccounted; 0 requests found among junk\n", "{log}");
    assert!(log.contains("there is no folder of the name that imap.sent says"), "{log}");
    Ok(())
}

fn a_lost_database_answers_nothing() -> Outcome {
    let house = House::of(&Options::default(), "");
    house.dovecot.deliver("privacy", &letter("jane", OPT_OUT));
    house.run(&["run", "--once"]);
    house.run(&["run", "--once"]);
    assert_eq!((recovery(&house), house.list(&["outbox", "list"]).len()), (None, 1));
    std::fs::remove_file(house.path("privacyd.db"))?;
    house.dovecot.deliver("privacy", &letter("bob", OPT_OUT));
    house.run(&["run", "--once"]);
    let why = recovery(&house).unwrap();
    assert!(why.contains("has never seen the mailbox privacy, whose folder Opt-out holds 1 mail"), "{why}");
    assert!(why.contains("marks the mailbox privacy as another database's"), "{why}");
    assert_eq!((statuses(&house), house.list(&["outbox", "list"]).len()), (vec![pair("bob", "held")], 0));
    let (said, _) = house.run(&["reconcile"]);
    assert_eq!(
        said,
        "2 mails looked at, 1 recorded that this database did not know, 0 unaccounted; 0 requests found among junk\n"
    );
    house.run(&["recovery", "end"]);
    house.dovecot.deliver("privacy", &letter("cat", OPT_OUT));
    house.run(&["run", "--once"]);
    assert_eq!(statuses(&house), [pair("bob", "held"), pair("cat", "completed")]);
    assert_eq!(house.list(&["messages", "list"]).len(), 3);
    let (said, _) = house.run(&["reconcile"]);
    assert_eq!(said, "1 mail looked at, 0 unaccounted; 0 requests found among junk\n");
    Ok(())
}

fn a_database_older_than_the_mailbox_answers_nothing() -> Outcome {
    let house = House::of(&Options::default(), "");
    house.dovecot.deliver("privacy", &letter("jane", OPT_OUT));
    house.run(&["run", "--once"]);
    let (database, copy) = (house.path("privacyd.db"), house.path("copy.db"));
    std::fs::copy(&database, &copy)?;
    house.run(&["run", "--once"]);
    assert_eq!(recovery(&house), None, "it is as good as the other");
    house.dovecot.deliver("privacy", &letter("bob", OPT_OUT));
    house.run(&["run", "--once"]);
    std::fs::copy(&copy, &database)?;
    house.dovecot.deliver("privacy", &letter("cat", OPT_OUT));
    house.run(&["run", "--once"]);
    let why = recovery(&house).unwrap();
    assert!(why.contains("came after all that this database knows"), "{why}");
    assert_eq!(statuses(&house), [pair("cat", "held"), pair("jane", "completed")]);
    assert_eq!(house.list(&["outbox", "list"]).len(), 1, "jane's, from before");
    Ok(())
}

fn a_mailbox_is_one_databases() -> Outcome {
    let house = House::of(&Options::default(), "");
    house.run(&["run", "--once"]);
    assert_eq!(recovery(&house), None);
    // A second installation on the same mailbox, while nothing lies there that would tell.
    let file = house.path("privacyd.toml");
    let config = std::fs::read_to_string(&file)?;
    let second = config.replace("privacyd.db", "other.db");
    assert_ne!(config, second);
    let told = |why: Option<String>| {
        let why = why.unwrap_or_default();
        assert!(why.contains("marks the mailbox privacy as another database's"), "{why}");
    };
    std::fs::write(&file, &second)?;
    house.dovecot.deliver("privacy", &letter("jane", OPT_OUT));
    house.run(&["run", "--once"]);
    told(recovery(&house));
    assert_eq!(house.list(&["outbox", "list"]).len(), 0);
    // Whoever is told to go on takes the mailbox over, and the first one notices.
    house.run(&["recovery", "end"]);
    house.run(&["run", "--once"]);
    assert_eq!(recovery(&house), None);
    std::fs::write(&file, &config)?;
    house.dovecot.deliver("privacy", &letter("bob", OPT_OUT));
    house.run(&["run", "--once"]);
    told(recovery(&house));
    assert_eq!(house.list(&["outbox", "list"]).len(), 0);
    Ok(())
}

fn a_copy_from_before_is_told_by_its_number() -> Outcome {
    let house = House::of(&Options::default(), "");
    house.run(&["run", "--once"]);
    let (database, copy) = (house.path("privacyd.db"), house.path("copy.db"));
    let marks = || -> Vec<String> {
        let names = std::fs::read_dir(house.dovecot.maildir("privacy")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        names.filter(|name| name.contains("Ledger-")).collect()
    };
    let first = marks();
    assert_eq!(first.len(), 1);
    std::fs::copy(&database, &copy)?;
    house.run(&["run", "--once"]);
    assert_eq!((recovery(&house), marks()), (None, first.clone()), "nothing was done");
    // What a person has done is something: the copy knows nothing of it.
    house.run(&["suppressions", "add", "ann@example.org"]);
    house.run(&["run", "--once"]);
    assert_eq!((recovery(&house), marks().len()), (None, 1));
    assert_ne!(marks(), first);
    std::fs::copy(&copy, &database)?;
    house.dovecot.deliver("privacy", &letter("jane", OPT_OUT));
    house.run(&["run", "--once"]);
    let why = recovery(&house).unwrap_or_default();
    assert!(why.contains("read by a later state of this database"), "{why}");
    assert_eq!(house.list(&["outbox", "list"]).len(), 0);
    house.run(&["recovery", "end"]);
    house.dovecot.deliver("privacy", &letter("bob", OPT_OUT));
    house.run(&["run", "--once"]);
    assert_eq!((recovery(&house), house.list(&["outbox", "list"]).len()), (None, 1));
    Ok(())
}

fn lowered_numbers_of_an_empty_inbox_hide_no_mail() -> Outcome {
    let house = House::of(&Options::default(), "");
    for name in ["ann", "bob", "cat"] {
        house.dovecot.deliver("privacy", &letter(name, OPT_OUT));
    }
    house.run(&["run", "--once"]);
    house.run(&["reconcile"]);
    // The folder is restored from a time before: under the same UIDVALIDITY it begins at 1 again.
    let root = house.dovecot.maildir("privacy");
    let list = std::fs::read_to_string(root.join("dovecot-uidlist"))?;
    let head = list.lines().next().unwrap_or_default();
    let lowered: Vec<&str> =
        head.split(' ').map(|word| if word.starts_with('N') { "N1" } else { word }).collect();
    assert!(head.contains(" N4") && lowered.contains(&"N1"), "{list}");
    for entry in std::fs::read_dir(&root)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("dovecot.index")) {
            std::fs::remove_file(path)?;
        }
    }
    std::fs::write(root.join("dovecot-uidlist"), format!("{}\n", lowered.join(" ")))?;
    house.run(&["run", "--once"]);
    // More come before the next look than the cursor stood at.
    for name in ["dan", "eve", "fay", "gil"] {
        house.dovecot.deliver("privacy", &letter(name, OPT_OUT));
    }
    house.run(&["run", "--once"]);
    assert_eq!((house.list(&["messages", "list"]).len(), house.filed("INBOX").len()), (7, 0));
    // Not even bytes are in this one, and it is moved: it is known by its row.
    house.dovecot.deliver("privacy", b"");
    house.run(&["run", "--once"]);
    assert_eq!((house.list(&["messages", "list"]).len(), house.filed("INBOX").len()), (8, 0));
    let (said, log) = house.run(&["reconcile"]);
    assert!(said.contains(" 0 unaccounted"), "{said}{log}");
    Ok(())
}

fn a_canary_comes_back_by_the_real_way() -> Outcome {
    let house = House::of(&Options::default(), "[canary]\n");
    let border = house.border_with("");
    house.reply_through(&border);
    let mut daemon = house.start();
    let end = Instant::now() + Duration::from_secs(60);
    let canary = loop {
        let output = house.privacyd(&["status", "--json"]).output().unwrap();
        let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        // It is filed only after it is recorded.
        if status["canary"]["back_at"].is_string() && !house.filed("Automatic").is_empty() {
            break status["canary"].clone();
        }
        assert!(Instant::now() < end, "{status}\n{}", border.log());
        std::thread::sleep(Duration::from_millis(50));
    };
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    assert_eq!(canary["is_missed"], false);
    assert_eq!(house.filed("Automatic").len(), 1);
    assert_eq!(house.list(&["outbox", "list"]).len(), 1, "and it is not answered");
    Ok(())
}

fn the_unit_leaves_little_open() -> Outcome {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/privacyd.service");
    let command = ["security", "--offline=yes", "--no-pager", "--threshold=15", unit];
    let output = Command::new("systemd-analyze").args(command).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("Overall exposure level"), "{said}");
    Ok(())
}
