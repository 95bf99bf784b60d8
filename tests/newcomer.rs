//! What somebody meets who follows the README for the first time: the demonstration and what it says to try next,
//! one pass by hand, and what is said to a mistyped name.

use std::path::{Path, PathBuf};
use std::process::Command;

/// An installation that the demonstration has made, and how it was told.
struct Demo {
    folder: tempfile::TempDir,
    told: String,
}

impl Demo {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (code, told, error) = run(folder.path(), &["demo", "--dir", "demo"]);
        assert_eq!(code, Some(0), "{error}");
        Self { folder, told }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("demo").join(name)
    }

    /// Exit code, output, and what was said besides.
    fn run(&self, words: &[&str]) -> (Option<i32>, String, String) {
        let mut all = vec!["--config", "demo/privacyd.toml"];
        all.extend(words);
        run(self.folder.path(), &all)
    }

    fn done(&self, words: &[&str]) -> String {
        let (code, output, error) = self.run(words);
        assert_eq!(code, Some(0), "{words:?}: {error}");
        output
    }
}

fn run(folder: &Path, words: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_privacyd"))
        .current_dir(folder)
        .env_remove("PRIVACYD_CONFIG")
        .args(words)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_demonstration_tells_what_is_true_and_what_it_says_to_try_works() {
    let demo = Demo::new();
    let told = |part: &str| assert!(demo.told.contains(part), "{part:?} is missing: {}", demo.told);
    let mails = demo.done(&["messages", "list", "--json", "--limit", "1000"]).lines().count();
    told(&format!("{mails} mails went through the corridor in "));
    let totals = demo.told.lines().find_map(|line| line.strip_prefix("Of the samples, ")).unwrap();
    let totals =
        totals.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse::<usize>().ok());
    assert_eq!(totals.sum::<usize>(), mails - 1, "the answer is none of the samples");
    let list = demo.done(&["suppressions", "list"]);
    let mut entries = list.lines();
    let column = entries.next().unwrap().find("suppressed from").unwrap();
    let mut addresses: Vec<&str> = entries.map(|entry| entry.split_at(column).0.trim()).collect();
    let count = addresses.len();
    addresses.dedup();
    told(&format!("{} addresses suppressed ({count} entries: ", addresses.len()));

    // Every command that it names, but for its own path.
    let me = env!("CARGO_BIN_EXE_privacyd");
    let named: Vec<&str> = demo.told.lines().filter_map(|line| line.trim().strip_prefix(me)).collect();
    assert!(named.len() >= 6, "{}", demo.told);
    for command in named {
        let words: Vec<&str> = command.split_whitespace().collect();
        let (code, output, error) = run(demo.folder.path(), &words);
        if command.contains(" status") {
            assert!(code == Some(1) && output.starts_with("WRONG: no daemon runs\ndaemon "), "{output}");
            assert!(output.contains("mailbox   demo: last good cycle 2"), "{output}");
            continue;
        }
        assert_eq!(code, Some(0), "{command}: {error}");
        if command.contains(" classify") {
            assert!(output.contains(", proof dmarc (mx.example.com: "), "{output}");
        }
        if command.contains(" requests show") {
            assert!(output.contains("\nsystem    Contacts: done (asked 1 time)\n"), "{output}");
            // As people write it.
            let reference = format!(" {} ", words.last().unwrap().to_lowercase());
            assert_eq!(demo.done(&["requests", "show", &reference]), output);
        }
    }
    // What a backup of it knows, a restored one knows too.
    demo.done(&["backup", "demo/copy.db"]);
    demo.done(&["restore", "demo/copy.db"]);
    let (_, status, _) = demo.run(&["status"]);
    assert!(!status.contains("never been read"), "{status}");
}

#[test]
fn one_pass_by_hand_says_what_it_has_done() {
    let demo = Demo::new();
    let mail = "From: jane@example.org\nTo: privacy@example.com\nSubject: Hi\nMessage-ID: <1@example.org>\n\n\
                Please unsubscribe me from your newsletter.\n";
    std::fs::write(demo.path("Maildir/new/mine"), mail).unwrap();
    let said = demo.done(&["run", "--once"]);
    assert!(said.starts_with("1 mail read, 1 reply sent; 15 requests are open, 2 of them held"), "{said}");
    assert!(said.ends_with(" --config demo/privacyd.toml requests list\n") && said.lines().count() == 1);
    assert!(!said.contains('@') && !said.contains("jane"), "{said}");
    assert!(demo.done(&["run", "--once"]).starts_with("0 mails read, 0 replies sent; "));
}

#[test]
fn a_wrong_name_is_told_with_what_to_do() {
    let demo = Demo::new();
    let says = |words: &[&str], code: i32, parts: &[&str]| {
        let (found, _, error) = demo.run(words);
        assert_eq!((found, error.lines().count()), (Some(code), 1), "{words:?}: {error}");
        parts.iter().for_each(|part| assert!(error.contains(part), "{part:?} is missing: {error}"));
    };
    says(&["messages", "show", "999"], 1, &["There is no message 999; privacyd messages list shows which"]);
    says(
        &["requests", "show", "PR-000000"],
        1,
        &["There is no request PR-000000; privacyd requests list --all"],
    );
    std::fs::write(demo.path("no.db"), "hello\n").unwrap();
    let no_database = "demo/no.db is no database: name a file that `privacyd backup` has written";
    let none = "There is no request type \"acess\"; there are ";
    says(&["requests", "list", "--type", "acess"], 2, &[none, "access, ", ", unclear"]);
    for row in demo.done(&["requests", "list", "--json", "--all", "--type", "deletion"]).lines() {
        assert!(row.contains("\"kind\":\"deletion\""), "{row}");
    }
    assert!(demo.done(&["requests", "list", "--all", "--type", "deletion"]).lines().count() > 2);
    says(&["notice", "cancel", "nothing"], 1, &["There is no notice nothing; privacyd notice status shows"]);
    says(&["check", "--backup", "demo/no.db"], 1, &[no_database]);
    says(&["restore", "demo/no.db"], 1, &[no_database]);
    // A database of somebody else's.
    std::fs::copy(demo.path("privacyd.db"), demo.path("broken.db")).unwrap();
    let length = std::fs::metadata(demo.path("broken.db")).unwrap().len();
    let junk = vec![7; usize::try_from(length).unwrap() - 100];
    let mut bytes = std::fs::read(demo.path("broken.db")).unwrap();
    bytes[100..].copy_from_slice(&junk);
    std::fs::write(demo.path("broken.db"), bytes).unwrap();
    let (_, _, error) = demo.run(&["check", "--backup", "demo/broken.db"]);
    assert!(error.contains("cannot be used: name a file that"), "{error}");
    assert_eq!(error.matches("malformed").count(), 1, "{error}");

    let file = demo.path("privacyd.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, good.replace("privacyd.db", "privcyd.db")).unwrap();
    for words in [
        &["requests", "list"][..],
        &["messages", "list"],
        &["outbox", "list"],
        &["suppressions", "list"],
        &["audit", "verify"],
        &["backup", "demo/other.db"],
        &["purge"],
        &["reconcile"],
    ] {
        says(
            words,
            2,
            &["demo/privacyd.toml:2: database: there is no /", "privcyd.db yet; begin with privacyd run"],
        );
    }
    says(&["status"], 1, &["demo/privacyd.toml:2: database: there is no /"]);
    assert!(!demo.path("privcyd.db").exists());
    // People may be known, and addresses suppressed, before anything has run.
    let (code, _, error) = demo.run(&["suppressions", "add", "joe@example.org"]);
    assert!(code == Some(0) && error.contains("There was no database /"), "{error}");
    std::fs::write(&file, good.replace("privacyd.db", "gone/privacyd.db")).unwrap();
    for words in
        [&["requests", "list"][..], &["restore", "demo/copy.db"], &["suppressions", "add", "joe@example.org"]]
    {
        says(
            words,
            2,
            &["demo/privacyd.toml:2: database: there is no folder /", "; make it, or correct the path"],
        );
    }
    std::fs::write(&file, good.replace("demo/Maildir\"", "demo/gone/Maildir\"")).unwrap();
    says(&["run", "--once"], 2, &["maildir.path: there is no folder /", "; make it, or correct the path"]);
}
