//! A database that is lost, or older than the mailbox: nothing is answered or carried out until the operator
//! says so. And backups, and the look for what nobody accounts for.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use privacyd::config::CanaryConfig;
use privacyd::mailbox::Mailbox;
use privacyd::store::Store;
use privacyd::store::recovery::{Ended, Mark};
use scripted::{Scripted, Step, expect, login, send};
use serde_json::Value;
use sha2::{Digest, Sha256};

#[path = "support/corridor.rs"]
mod support;

#[path = "support/scripted.rs"]
mod scripted;

const OPT_OUT: &str = "Please unsubscribe me from your newsletter.";
const DELETE: &str = "Please delete all my personal data.";
const UNCLEAR: &str = "What about my data?";

/// One installation by the binary, on a Maildir.
struct Binary {
    folder: tempfile::TempDir,
}

impl Binary {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let text = format!(
            "database = {:?}\nown_addresses = [\"privacy@example.com\"]\n[company]\nname = \"Example\"\n\
             [[maildir]]\nname = \"box\"\npath = {:?}\n[directory]\npath = {:?}\n",
            path("privacyd.db"),
            path("Maildir"),
            path("replies")
        );
        std::fs::write(folder.path().join("c.toml"), text).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_privacyd"));
        command.arg("--config").arg(self.path("c.toml")).args(words).output().unwrap()
    }

    fn done(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn list(&self, words: &[&str]) -> Vec<Value> {
        let words: Vec<&str> = words.iter().copied().chain(["--json"]).collect();
        self.done(&words).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Puts a mail into a folder of the Maildir; the inbox is "".
    fn put(&self, folder: &str, name: &str, words: &str) {
        for part in ["new", "cur", "tmp"] {
            std::fs::create_dir_all(self.path("Maildir").join(folder).join(part)).unwrap();
        }
        let mail = format!(
            "From: {name}@example.org\nTo: privacy@example.com\nSubject: Hi\nMessage-ID: <{name}@example.org>\n\n{words}\n"
        );
        std::fs::write(self.path("Maildir").join(folder).join("new").join(name), mail).unwrap();
    }

    fn read(&self) {
        self.done(&["run", "--once"]);
    }

    /// How many letters have gone out.
    fn sent(&self) -> usize {
        std::fs::read_dir(self.path("replies")).map_or(0, Iterator::count)
    }

    /// What `status` says of recovery.
    fn recovery(&self) -> Option<String> {
        let output = self.run(&["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        status["recovery"]["why"].as_str().map(str::to_owned)
    }

    fn statuses(&self) -> Vec<(String, String)> {
        let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
        let rows = self.list(&["requests", "list", "--all"]);
        let mut found: Vec<_> = rows.iter().map(|row| (text(row, "subject"), text(row, "status"))).collect();
        found.sort();
        found
    }

    fn remove_database(&self) {
        for end in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(self.path(&format!("privacyd.db{end}")));
        }
    }
}

fn pair(name: &str, status: &str) -> (String, String) {
    (format!("{name}@example.org"), status.to_owned())
}

#[test]
fn a_lost_database_answers_nothing_before_the_operator_says_so() {
    let house = Binary::new();
    house.put("", "jane", OPT_OUT);
    house.put("", "ann", DELETE);
    house.put("", "eve", UNCLEAR);
    house.read();
    assert_eq!((house.sent(), house.recovery()), (3, None));

    house.remove_database();
    house.put("", "bob", OPT_OUT);
    house.read();
    house.put("", "cat", DELETE);
    house.read();
    let why = house.recovery().expect("a new database on a full mailbox");
    assert!(why.contains("has never seen the mailbox box"), "{why}");
    assert_eq!(house.sent(), 3, "nothing goes out");
    assert_eq!(house.statuses(), [pair("bob", "held"), pair("cat", "held")]);
    assert_eq!(house.run(&["suppressions", "check", "bob@example.org"]).status.code(), Some(1));

    // What the lost one had filed gets its rows, and no alarm: it is known that it is not known.
    let said = house.done(&["reconcile"]);
    assert_eq!(
        said,
        "5 mails looked at, 3 recorded that this database did not know, 0 unaccounted; 0 requests found among junk\n"
    );
    assert_eq!(house.list(&["messages", "list"]).len(), 5);
    // Whether they are done is for a person to find out, also of what is not clear.
    assert_eq!(house.list(&["messages", "list", "--disposition", "review"]).len(), 3);
    let again: Value = serde_json::from_slice(&house.run(&["reconcile", "--json"]).stdout).unwrap();
    assert_eq!(again, serde_json::json!({ "seen": 5, "unaccounted": 0, "junk": 0, "recovered": 0 }));
    // So the same bytes once more are nothing new.
    house.put("", "jane", OPT_OUT);
    house.read();
    assert_eq!((house.list(&["messages", "list"]).len(), house.statuses().len()), (5, 2));

    house.done(&["recovery", "end"]);
    house.put("", "dan", OPT_OUT);
    house.read();
    assert_eq!((house.sent(), house.recovery()), (4, None));
    assert_eq!(house.statuses()[2], pair("dan", "completed"));
    assert_eq!(house.statuses()[..2], [pair("bob", "held"), pair("cat", "held")]);
    assert_eq!(house.run(&["recovery", "end"]).status.code(), Some(1));

    // An opt-out that was held is carried out when a person lets it be.
    let rows = house.list(&["requests", "list"]);
    let bob = rows.iter().find(|row| row["subject"] == "bob@example.org").expect("bob's is open");
    let reference = bob["reference"].as_str().expect("a reference");
    let done = house.done(&["requests", "release", reference]);
    assert!(done.contains("is completed; the reply is queued"), "{done}");
    assert_eq!(house.run(&["suppressions", "check", "bob@example.org"]).status.code(), Some(0));
    house.read();
    assert_eq!((house.sent(), house.statuses()[0].clone()), (5, pair("bob", "completed")));
}

#[test]
fn what_an_older_copy_had_queued_is_not_sent_before_the_mailbox_is_looked_at() {
    let house = Binary::new();
    let (database, copy) = (house.path("privacyd.db"), house.path("copy.db"));
    house.put("", "jane", OPT_OUT);
    // No letter can be written here.
    std::fs::write(house.path("replies"), "").unwrap();
    house.run(&["run", "--once"]);
    assert_eq!(house.list(&["outbox", "list", "--state", "sent"]).len(), 0);
    std::fs::copy(&database, &copy).unwrap();
    std::fs::remove_file(house.path("replies")).unwrap();
    house.read();
    house.put("", "bob", OPT_OUT);
    house.read();
    assert_eq!(house.sent(), 2);

    house.remove_database();
    std::fs::copy(&copy, &database).unwrap();
    house.read();
    assert!(house.recovery().is_some());
    assert_eq!(house.sent(), 2, "jane has her answer");
}

#[test]
fn a_database_from_an_older_copy_is_known_by_what_the_folders_hold() {
    let house = Binary::new();
    house.put("", "jane", OPT_OUT);
    house.read();
    let (database, copy) = (house.path("privacyd.db"), house.path("copy.db"));
    assert!(!house.path("privacyd.db-wal").exists());
    std::fs::copy(&database, &copy).unwrap();
    // Nothing has come since: it is as good as the other.
    house.read();
    assert_eq!(house.recovery(), None);

    house.put("", "bob", OPT_OUT);
    house.read();
    assert_eq!(house.sent(), 2);
    house.remove_database();
    std::fs::copy(&copy, &database).unwrap();
    house.put("", "cat", OPT_OUT);
    house.read();
    let why = house.recovery().expect("bob's mail was filed by somebody else");
    assert!(why.contains("came after all that this database knows"), "{why}");
    assert_eq!((house.sent(), house.statuses()[0].clone()), (2, pair("cat", "held")));
}

#[test]
fn a_backup_is_private_whole_and_says_that_it_is_one() {
    let house = Binary::new();
    house.put("", "jane", OPT_OUT);
    house.put("", "ann", DELETE);
    house.read();
    let file = house.path("backup.db");
    let name = file.display().to_string();
    house.done(&["backup", &name]);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let again = house.run(&["backup", &name]);
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("is not overwritten"), "{again:?}");
    let said = house.done(&["check", "--backup", &name]);
    assert!(said.contains("2 mails, 2 requests") && said.ends_with("Sound\n"), "{said}");

    house.put("", "bob", OPT_OUT);
    house.read();
    assert_eq!(house.sent(), 3);
    house.remove_database();
    std::fs::copy(&file, house.path("privacyd.db")).unwrap();
    house.put("", "cat", OPT_OUT);
    house.read();
    let why = house.recovery().unwrap();
    assert!(
        why.starts_with("restored from the backup of 2") && why.len() == 48 && why.ends_with('Z'),
        "{why}"
    );
    assert_eq!(house.sent(), 3);
    house.done(&["recovery", "end"]);
    let held = [pair("ann", "held"), pair("cat", "held"), pair("jane", "completed")];
    assert_eq!(house.statuses(), held);

    damage(&file);
    let damaged = house.run(&["check", "--backup", &name]);
    assert_eq!(damaged.status.code(), Some(1), "{damaged:?}");
    let nothing = house.run(&["check", "--backup", &house.path("c.toml").display().to_string()]);
    assert_eq!(nothing.status.code(), Some(1), "{nothing:?}");
}

#[test]
fn a_backup_is_restored_and_what_was_there_is_kept() {
    let house = Binary::new();
    house.put("", "jane", OPT_OUT);
    house.read();
    let (file, database) = (house.path("backup.db"), house.path("privacyd.db"));
    let name = file.display().to_string();
    house.done(&["backup", &name]);
    assert!(!house.path("backup.db.part").exists());
    house.put("", "bob", OPT_OUT);
    house.read();
    // As after a crash: a log lies beside the database, and is not that of the copy.
    std::fs::write(house.path("privacyd.db-wal"), "of the other").unwrap();
    std::fs::write(house.path("privacyd.db-shm"), "of the other").unwrap();

    let sole = privacyd::store::Sole::claim(&database).unwrap();
    let refused = house.run(&["restore", &name]);
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("another privacyd already works on"),
        "{refused:?}"
    );
    drop(sole);
    // A copy that was made otherwise would answer at once.
    let other = house.path("other.db");
    std::fs::copy(&database, &other).unwrap();
    let refused = house.run(&["restore", &other.display().to_string()]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(
        String::from_utf8_lossy(&refused.stdout).contains("does not say that it is a copy"),
        "{refused:?}"
    );
    let before = std::fs::read(&database).unwrap();

    let said = house.done(&["restore", &name]);
    assert!(said.contains("with 1 mail and 1 request"), "{said}");
    assert_eq!(std::fs::metadata(&database).unwrap().permissions().mode() & 0o777, 0o600);
    let kept: Vec<PathBuf> = std::fs::read_dir(house.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.display().to_string().contains("privacyd.db.before-"))
        .collect();
    assert_eq!(kept.len(), 2, "the database and its log: {kept:?}");
    assert!(kept.iter().any(|path| std::fs::read(path).unwrap() == before));
    assert!(house.recovery().unwrap().starts_with("restored from the backup of 2"));
    assert_eq!(house.statuses(), [pair("jane", "completed")]);
    house.put("", "cat", OPT_OUT);
    house.read();
    assert_eq!((house.sent(), house.statuses()[0].clone()), (2, pair("cat", "held")));
}

/// Killed at any moment from its first byte to its end, `backup` leaves no file that passes for a backup, or a whole one.
#[test]
fn a_backup_that_is_killed_leaves_none_or_a_whole_one() {
    let house = Binary::new();
    house.put("", "jane", OPT_OUT);
    house.read();
    let contacts: String =
        (0..40_000).map(|n| format!("user{n}@example.org,{}\n", "x".repeat(200))).collect();
    std::fs::write(house.path("contacts.csv"), format!("address,name\n{contacts}")).unwrap();
    house.done(&["contacts", "import", &house.path("contacts.csv").display().to_string()]);
    let spawn = |file: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_privacyd"));
        command.arg("--config").arg(house.path("c.toml")).arg("backup").arg(file);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap()
    };
    /// How long it works after it has begun the file, or until it is killed so long after that.
    fn kill(mut child: std::process::Child, part: &Path, delay: Option<Duration>) -> Duration {
        while !part.exists() && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        let begun = Instant::now();
        if let Some(delay) = delay {
            std::thread::sleep(delay);
            child.kill().unwrap();
        }
        child.wait().unwrap();
        begun.elapsed()
    }
    let check = |file: &Path| house.run(&["check", "--backup", &file.display().to_string()]);
    let (first, part) =
        (house.path("first.db"), |file: &Path| PathBuf::from(format!("{}.part", file.display())));
    let took = kill(spawn(&first), &part(&first), None);
    assert!(check(&first).status.success());
    let (mut none, mut whole) = (0, 0);
    for step in 0..24 {
        let file = house.path(&format!("{step}.db"));
        kill(spawn(&file), &part(&file), Some(took * step / 20));
        if file.exists() {
            let output = check(&file);
            assert!(output.status.success(), "{step}: {output:?}");
            whole += 1;
            continue;
        }
        // What it has begun says by its name that it is none, and passes only if all of it is there, its mark too.
        let output = check(&part(&file));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.success(), said.ends_with("Sound\n"), "{step}: {output:?}");
        none += u32::from(!output.status.success());
        // It is in nobody's way.
        let name = file.display().to_string();
        if step % 8 == 0 {
            house.done(&["backup", &name]);
            assert!(check(&file).status.success() && !part(&file).exists());
        }
    }
    println!("killed within {took:?}: {none} left none, {whole} a whole one");
    assert!(none > 0, "it was never killed half-way");
    // Nor is the database any the worse for it.
    house.done(&["audit", "verify"]);
    assert_eq!(house.recovery(), None);
}

/// Overwrites the second half.
fn damage(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let half = bytes.len() / 2;
    bytes[half..].fill(0x5a);
    std::fs::write(file, bytes).unwrap();
}

#[tokio::test]
async fn what_a_backup_had_queued_is_not_sent_again_by_itself() {
    let house = support::House::new().await;
    let now = Timestamp::now();
    house.deliver(now, 1, support::letter("jane@example.org", OPT_OUT)).await;
    house.deliver(now, 2, support::letter("ann@example.org", DELETE)).await;
    let folder = tempfile::tempdir().unwrap();
    let later = now + SignedDuration::from_mins(1);
    assert_eq!(house.store.due(later).await.unwrap().0, 2);
    house.store.hold_back(true);
    assert_eq!(house.store.due(later).await.unwrap().0, 0);
    assert!(house.store.settle_and_claim(&[], 8, later).await.unwrap().1.letters.is_empty());
    house.store.hold_back(false);
    for (is_up_to_date, due, ended) in
        [(false, 0, Ended { held: 1, unknown: 2 }), (true, 2, Ended::default())]
    {
        let file = folder.path().join(format!("{is_up_to_date}.db"));
        house.store.backup(&file, now).await.unwrap();
        let copy = Store::open(&file).await.unwrap();
        assert_eq!(copy.due(later).await.unwrap().0, 0);
        assert!(copy.settle_and_claim(&[], 8, later).await.unwrap().1.letters.is_empty());
        assert_eq!(copy.end_recovery(is_up_to_date, later).await.unwrap(), Some(ended));
        assert_eq!(copy.due(later).await.unwrap().0, due);
        assert!(copy.verify_chain(None).await.unwrap().damage.is_none());
        copy.close().await;
    }
    assert_eq!(house.store.due(later).await.unwrap().0, 2, "the original goes on");
}

#[tokio::test]
async fn a_reply_of_unknown_fate_is_wrong_until_a_person_settles_it() {
    let house = support::House::new().await;
    let now = Timestamp::now();
    house.deliver(now, 1, support::letter("jane@example.org", OPT_OUT)).await;
    house.deliver(now, 2, support::letter("ann@example.org", DELETE)).await;
    house.execute("UPDATE outbox SET state = 'unknown', updated_at = 0").await;
    let unknown = async || {
        house
            .store
            .standing(now.to_zoned_datetime(jiff::tz::TimeZone::UTC).date(), now)
            .await
            .unwrap()
            .replies_unknown
    };
    assert_eq!(unknown().await, 2, "however long ago");
    let ids: Vec<i64> =
        house.store.replies(None, 10).await.unwrap().into_iter().map(|reply| reply.id).collect();
    let (to_jane, to_ann) = (*ids.iter().min().unwrap(), *ids.iter().max().unwrap());
    assert_eq!(house.store.settle_by_hand(to_jane, true, now).await.unwrap(), Some(Vec::new()));
    assert_eq!(house.store.settle_by_hand(to_jane, false, now).await.unwrap(), None, "once");
    let held = house.store.settle_by_hand(to_ann, false, now).await.unwrap().unwrap();
    let (request, _) = house.store.request(&held[0]).await.unwrap().unwrap();
    assert_eq!((held.len(), request.status.as_str()), (1, "held"), "her question never came");
    let states =
        house.store.replies(None, 10).await.unwrap().into_iter().map(|reply| (reply.id, reply.state));
    let expected = [(to_jane, "sent".to_owned()), (to_ann, "bounced".to_owned())];
    assert_eq!(states.collect::<std::collections::BTreeMap<_, _>>(), expected.into());
    assert_eq!(unknown().await, 0);
    assert!(house.store.verify_chain(None).await.unwrap().damage.is_none());
}

#[tokio::test]
async fn while_a_recovery_lasts_time_brings_nothing_and_an_answer_is_for_a_person() {
    let house = support::House::with("[[source]]\nname = \"Contacts\"\nlocal = true\n").await;
    let start: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
    house.deliver(start, 1, support::letter("ann@example.org", DELETE)).await;
    let question = house.letters().await.pop().unwrap().2;
    house.store.begin_recovery("a test", start).await.unwrap();
    let message = privacyd::message::Message::parse(question.as_bytes()).unwrap();
    let id = message.message_id().unwrap();
    let yes = format!(
        "From: ann@example.org\nTo: privacy@example.com\nSubject: Re: {}\nIn-Reply-To: {}\nMessage-ID: <2@example.org>\n\nYes\n",
        message.subject(),
        id.as_str()
    );
    let letters = house.letters().await.len();
    house.deliver(start, 2, yes.into_bytes()).await;
    let (request, events) = {
        let reference = house.store.requests(None, 10).await.unwrap().remove(0).reference;
        house.store.request(&reference).await.unwrap().unwrap()
    };
    assert_eq!(request.status, "held");
    let note = events.last().unwrap();
    assert!(note.event == "held" && note.reason.contains("not done: it came while a recovery"), "{note:?}");
    let late = start + SignedDuration::from_hours(24 * 60);
    assert_eq!(house.intake.sweep(late).await.unwrap(), 0);
    let never = privacyd::stop::Stop::never();
    assert_eq!(house.work.pass(late, Some(late), &never).await.unwrap(), 0);
    assert_eq!(house.letters().await.len(), letters);
}

#[test]
fn mail_that_nobody_accounts_for_is_told_and_recorded() {
    let house = Binary::new();
    house.put("", "jane", OPT_OUT);
    house.put("", "ann", DELETE);
    house.read();
    assert_eq!(house.done(&["reconcile"]), "2 mails looked at, 0 unaccounted; 0 requests found among junk\n");
    house.put(".Opt-out", "stray", OPT_OUT);
    let found = house.run(&["reconcile", "--json"]);
    assert_eq!(found.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!(found, serde_json::json!({ "seen": 3, "unaccounted": 1, "junk": 0 }));
    assert_eq!(house.statuses().len(), 2, "it opens nothing");
    assert!(house.path("Maildir/.Opt-out/new/stray").exists(), "and stays where it is");
    let status = String::from_utf8(house.run(&["status"]).stdout).unwrap();
    assert!(status.contains("1 mail was not accounted for"), "{status}");
    assert_eq!(house.done(&["reconcile"]), "3 mails looked at, 0 unaccounted; 0 requests found among junk\n");
}

#[test]
fn a_mail_that_was_only_glanced_at_is_read_once_somebody_puts_it_into_the_inbox() {
    let house = Binary::new();
    house.put("", "jane", OPT_OUT);
    house.read();
    house.put(".Opt-out", "stray", OPT_OUT);
    house.put(".Held", "other", DELETE);
    house.run(&["reconcile"]);
    assert_eq!(house.statuses(), [pair("jane", "completed")]);
    let moved = |from: &str, name: &str| {
        let root = house.path("Maildir");
        std::fs::rename(root.join(from).join("new").join(name), root.join("new").join(name)).unwrap();
    };
    moved(".Opt-out", "stray");
    moved(".Held", "other");
    house.read();
    let all = [pair("jane", "completed"), pair("other", "awaiting_proof"), pair("stray", "completed")];
    assert_eq!((house.statuses(), house.sent()), (all.to_vec(), 3));
    assert_eq!(house.list(&["messages", "list"]).len(), 3, "each has its one row");
    // Read once, it is read: the same bytes again are nothing new.
    house.put("", "stray", OPT_OUT);
    house.read();
    assert_eq!((house.statuses().len(), house.sent()), (3, 3));
}

#[test]
fn letters_to_the_operator_are_counted_apart_from_replies() {
    let house = Binary::new();
    let file = house.path("c.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{config}[admin]\nnotify = \"dpo@example.com\"\n")).unwrap();
    let child =
        "My son is nine and has an account with you, which we never allowed. What do you hold about him?";
    house.put("", "ann", child);
    let said = house.done(&["run", "--once"]);
    assert!(said.starts_with("1 mail read, 1 reply and 1 letter to the operator sent; "), "{said}");
    assert_eq!(house.sent(), 2);
}

#[tokio::test]
async fn a_recovery_and_the_letter_about_it_are_one_transaction() {
    let house = support::House::with("[admin]\nnotify = \"dpo@example.com\"\n").await;
    let mut boxes = privacyd::daemon::mailboxes(house.config()).unwrap();
    let inbox = &house.config().maildir[0].path;
    for part in ["new", "cur", "tmp"] {
        std::fs::create_dir_all(inbox.join(".Held").join(part)).unwrap();
    }
    std::fs::write(inbox.join(".Held/new/1"), support::letter("ann@example.org", DELETE)).unwrap();
    let now = Timestamp::now();
    house
        .execute(
            "CREATE TRIGGER no_letter BEFORE INSERT ON outbox WHEN NEW.template = 'alarm' BEGIN SELECT RAISE(ABORT, 'no'); END",
        )
        .await;
    assert!(house.intake.suspect(&mut boxes[0], now).await.is_err());
    assert_eq!(house.store.recovery().await.unwrap(), None);
    house.execute("DROP TRIGGER no_letter").await;
    for _ in 0..2 {
        house.intake.suspect(&mut boxes[0], now).await.unwrap();
    }
    let why = house.store.recovery().await.unwrap().unwrap().why;
    assert!(why.ends_with("whose folder Held holds 1 mail"), "{why}");
    let letters = house.letters().await;
    let [(to, template, raw)] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!((to.as_str(), template.as_str()), ("dpo@example.com", "alarm"), "one");
    assert!(raw.contains("privacyd recovery end"), "{raw}");
}

#[tokio::test]
async fn a_canary_comes_back_or_is_missed() {
    let house = support::House::with("[admin]\nnotify = \"dpo@example.com\"\n").await;
    let minutes = |minutes: u64| std::time::Duration::from_secs(60 * minutes);
    let settings = CanaryConfig { every: minutes(360), within: minutes(30) };
    let start: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
    let at = |minutes| start + SignedDuration::from_mins(minutes);
    for now in [at(0), at(1), at(29)] {
        house.intake.canary(&settings, start, now).await.unwrap();
    }
    let letters = house.letters().await;
    let [(to, template, first)] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!((to.as_str(), template.as_str()), ("privacy@example.com", "canary"));
    house.deliver(at(5), 1, first.clone().into_bytes()).await;
    assert_eq!(house.latest().await.0, "automated");
    let canary = house.store.canary().await.unwrap().unwrap();
    assert_eq!((canary.back_at, canary.is_missed), (Some(at(5)), false));

    // The second one does not come; another that only looks like it is none.
    house.intake.canary(&settings, start, at(360)).await.unwrap();
    let forged = first.replacen("canary ", "canary 0000", 1);
    house.deliver(at(361), 2, forged.into_bytes()).await;
    // A daemon that has just started gives it all its time.
    house.intake.canary(&settings, at(380), at(391)).await.unwrap();
    assert!(!house.store.canary().await.unwrap().unwrap().is_missed);
    for now in [at(391), at(392)] {
        house.intake.canary(&settings, start, now).await.unwrap();
    }
    assert!(house.store.canary().await.unwrap().unwrap().is_missed);
    let templates: Vec<String> = house.letters().await.into_iter().map(|(_, template, _)| template).collect();
    assert_eq!(templates, ["canary", "canary", "alarm"], "one alarm");
    let (_, _, second) = house.letters().await.remove(1);
    house.deliver(at(400), 3, second.into_bytes()).await;
    let canary = house.store.canary().await.unwrap().unwrap();
    assert_eq!((canary.back_at, canary.is_missed), (Some(at(400)), false));
}

/// An installation on an IMAP mailbox whose server follows a script.
struct Marked {
    house: support::House,
    mailbox: Mailbox,
    server: Scripted,
    _password: tempfile::TempDir,
}

impl Marked {
    /// `dialogues` is told how the names of this database's marks begin, and of those of another.
    async fn new(dialogues: impl FnOnce(&str, &str) -> Vec<Vec<Step>>) -> Self {
        let house = support::House::new().await;
        let inbox = data_encoding::BASE32_NOPAD.encode(&Sha256::digest("INBOX")[..5]).to_ascii_lowercase();
        let own = format!("Ledger-{inbox}-{}-", house.store.ledger_id().await.unwrap());
        let server = Scripted::start(dialogues(&own, &format!("Ledger-{inbox}-other123-")));
        let folder = tempfile::tempdir().unwrap();
        let password = folder.path().join("password");
        std::fs::write(&password, "secret\n").unwrap();
        let keys = format!(
            "[admin]\nnotify = \"dpo@example.com\"\n[[imap]]\nname = \"far\"\nhost = \"127.0.0.1\"\nport = {}\n\
             tls = \"none\"\nusername = \"ann\"\npassword.file = {password:?}\n",
            server.port
        );
        let house = house.reconfigured(&keys).await;
        house.execute("INSERT INTO mailbox_cursors (mailbox, validity, last_uid) VALUES ('far', 7, 0)").await;
        let mailbox = privacyd::daemon::mailboxes(house.config()).unwrap().remove(0);
        Self { house, mailbox, server, _password: folder }
    }

    async fn look(&mut self) {
        self.house.intake.suspect(&mut self.mailbox, Timestamp::now()).await.unwrap();
    }

    async fn mark(&self) -> Mark {
        self.house.store.mark("far").await.unwrap()
    }

    async fn why(&self) -> Option<String> {
        self.house.store.recovery().await.unwrap().map(|recovery| recovery.why)
    }
}

fn answered(command: &str, result: &str) -> Vec<Step> {
    vec![expect(command), send(format!("$1 {result}\r\n"))]
}

/// The marks that are there.
fn listed(marks: &[&str]) -> Vec<Step> {
    let lines: String = marks.iter().map(|mark| format!("* LIST () \"/\" \"{mark}\"\r\n")).collect();
    vec![expect("LIST \"\" \"Ledger-"), send(format!("{lines}$1 OK listed\r\n"))]
}

fn quoted(command: &str, names: &[&str]) -> String {
    names.iter().fold(command.to_owned(), |line, name| format!("{line} \"{name}\""))
}

#[tokio::test]
async fn where_the_server_renames_no_mark_a_new_one_is_made_and_the_old_one_removed() {
    let mut marked = Marked::new(|own, _| {
        let [first, second] = [1, 2].map(|number| format!("{own}{number}"));
        vec![
            [
                login("MOVE UIDPLUS"),
                listed(&[]),
                answered(&quoted("CREATE", &[&first]), "OK"),
                listed(&[&first]),
                // Nothing was done since.
                answered(&quoted("STATUS", &[&first]), "OK"),
                // A copy was made.
                listed(&[&first]),
                answered(&quoted("RENAME", &[&first, &second]), "NO [CANNOT]"),
                listed(&[&first]),
                answered(&quoted("CREATE", &[&second]), "OK"),
                answered(&quoted("DELETE", &[&first]), "OK"),
                listed(&[&second]),
                answered(&quoted("STATUS", &[&second]), "OK"),
            ]
            .concat(),
        ]
    })
    .await;
    marked.look().await;
    marked.look().await;
    assert_eq!(marked.mark().await, Mark { epoch: 1, ..Mark::default() });
    marked.house.store.outdate_copies().await.unwrap();
    marked.look().await;
    marked.look().await;
    assert_eq!(marked.mark().await, Mark { epoch: 2, ..Mark::default() });
    assert_eq!(marked.why().await, None);
    marked.server.assert_followed();
    assert_eq!(marked.server.lines().last().unwrap().split(' ').nth(1), Some("STATUS"));
}

/// Of another database's mark that the server lets nobody remove, the other one will not notice that it is to end.
#[tokio::test]
async fn a_mark_of_another_that_cannot_be_removed_is_told_as_such() {
    let mut marked = Marked::new(|own, other| {
        let (own, other) = (format!("{own}1"), format!("{other}7"));
        vec![
            [
                login("MOVE UIDPLUS"),
                listed(&[&other]),
                listed(&[&other]),
                answered(&quoted("RENAME", &[&other, &own]), "NO"),
                listed(&[&other]),
                answered(&quoted("CREATE", &[&own]), "OK"),
                answered(&quoted("DELETE", &[&other]), "NO"),
                listed(&[&other, &own]),
            ]
            .concat(),
        ]
    })
    .await;
    marked.look().await;
    let why = marked.why().await.unwrap();
    assert!(why.contains("another database's (other123)") && !why.contains("does not remove"), "{why}");
    marked.house.store.end_recovery(true, Timestamp::now()).await.unwrap();
    marked.look().await;
    let why = marked.why().await.unwrap();
    assert!(why.contains("another database's (other123)") && why.contains("does not remove"), "{why}");
    assert_eq!(marked.mark().await.contested_by.as_deref(), Some("other123"));
    marked.server.assert_followed();
}

#[tokio::test]
async fn a_mark_that_another_database_replaces_between_looking_and_writing_is_noticed() {
    let mut marked = Marked::new(|own, other| {
        let [first, second] = [1, 2].map(|number| format!("{own}{number}"));
        let other = format!("{other}1");
        vec![
            [
                login("MOVE UIDPLUS"),
                listed(&[]),
                answered(&quoted("CREATE", &[&first]), "OK"),
                listed(&[&first]),
                // It has gone when it is to be renamed.
                listed(&[&first]),
                answered(&quoted("RENAME", &[&first, &second]), "NO [NONEXISTENT]"),
                listed(&[&other]),
                listed(&[&other]),
                listed(&[&other]),
            ]
            .concat(),
        ]
    })
    .await;
    marked.look().await;
    marked.house.store.outdate_copies().await.unwrap();
    marked.look().await;
    let why = marked.why().await.unwrap();
    assert!(why.contains("-other123-1 marks the mailbox far as another database's"), "{why}");
    // It is told once.
    marked.look().await;
    marked.server.assert_followed();
    let letters = marked.house.letters().await;
    assert_eq!(letters.iter().map(|(_, template, _)| template.as_str()).collect::<Vec<_>>(), ["alarm"]);
    assert!(letters[0].2.contains("other123"), "{}", letters[0].2);
}

#[tokio::test]
async fn two_databases_that_mark_a_mailbox_at_the_same_time_find_each_other() {
    let mut marked = Marked::new(|own, other| {
        let (own, other) = (format!("{own}1"), format!("{other}1"));
        let create = answered(&quoted("CREATE", &[&own]), "OK");
        vec![[login("MOVE UIDPLUS"), listed(&[]), create, listed(&[&other, &own])].concat()]
    })
    .await;
    marked.look().await;
    assert!(marked.why().await.unwrap().contains("other123"));
    marked.server.assert_followed();
}

/// A mailbox must be read also where the server fails at what a mark needs.
#[tokio::test]
async fn a_server_that_fails_at_marks_three_times_is_read_without() {
    let empty = || {
        let said = "* 0 EXISTS\r\n* OK [UIDVALIDITY 7] valid\r\n* OK [UIDNEXT 1] next\r\n$1 OK selected\r\n";
        vec![expect("SELECT \"INBOX\""), send(said)]
    };
    let cut = || [login("MOVE UIDPLUS"), vec![expect("LIST \"\"")]].concat();
    let bad = || [login("MOVE UIDPLUS"), answered("LIST \"\"", "BAD what")].concat();
    let no = || answered("LIST \"\"", "NO never");
    let read = || [login("MOVE UIDPLUS"), empty()].concat();
    for dialogues in [
        vec![cut(), cut(), cut(), read(), read()],
        vec![bad(), cut(), bad(), read(), read()],
        vec![[login("MOVE UIDPLUS"), no(), no(), no(), empty()].concat(), read()],
    ] {
        let connections = dialogues.len();
        let mut marked = Marked::new(|_, _| dialogues).await;
        marked.look().await;
        for _ in 0..2 {
            let passed = marked.house.intake.pass(&mut marked.mailbox, &|| false).await.unwrap();
            assert!(passed.all_read);
        }
        assert_eq!(marked.server.connections(), connections);
        let lines = marked.server.lines();
        assert_eq!(lines.iter().filter(|line| line.contains("LIST")).count(), 3, "{lines:?}");
        assert_eq!((marked.why().await, marked.mark().await), (None, Mark::default()));
        marked.server.assert_followed();
    }
}

/// Twice at the most it is only tried again.
#[tokio::test]
async fn a_line_that_breaks_at_a_mark_is_no_reason_to_read_without() {
    let mut marked = Marked::new(|own, _| {
        let own = format!("{own}1");
        let cut = || [login("MOVE UIDPLUS"), vec![expect("LIST \"\"")]].concat();
        let create = answered(&quoted("CREATE", &[&own]), "OK");
        vec![cut(), cut(), [login("MOVE UIDPLUS"), listed(&[]), create, listed(&[&own])].concat()]
    })
    .await;
    marked.look().await;
    assert_eq!(marked.mark().await, Mark { epoch: 1, ..Mark::default() });
    marked.server.assert_followed();
}

#[tokio::test]
async fn a_copy_that_is_made_while_the_mark_is_written_is_an_older_one() {
    let house = support::House::new().await;
    let store = &house.store;
    let stale = async || store.mark("box").await.unwrap().stale;
    let read = store.number_mark("box", 1).await.unwrap();
    store.outdate_copies().await.unwrap();
    store.marked("box", read).await.unwrap();
    assert_eq!(stale().await, 1, "it has the number that is there");
    let read = store.number_mark("box", 2).await.unwrap();
    store.marked("box", read).await.unwrap();
    assert_eq!(stale().await, 0);
}

#[tokio::test]
async fn a_start_has_the_number_grow_once_something_was_done_since_the_start_before() {
    let house = support::House::new().await;
    let read = house.store.number_mark("box", 1).await.unwrap();
    house.store.marked("box", read).await.unwrap();
    let stale = async |house: &support::House| house.store.mark("box").await.unwrap().stale;
    let house = house.restarted().await.restarted().await;
    assert_eq!(stale(&house).await, 0, "as when a timer calls it every minute");
    house.deliver(Timestamp::now(), 1, support::letter("ann@example.org", DELETE)).await;
    let house = house.restarted().await.restarted().await;
    assert_eq!(stale(&house).await, 1);
    house.execute("UPDATE outbox SET state = 'sent', updated_at = updated_at + 1").await;
    let house = house.restarted().await.restarted().await;
    assert_eq!(stale(&house).await, 2, "a copy from before would send it once more");
}
