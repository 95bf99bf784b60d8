//! `privacyd classify` by the binary: what it explains, and what it says of two folders of rules.

use std::path::Path;
use std::process::{Command, Output, Stdio};

const DELETION: &str = "From: Jane <jane@example.org>\nTo: privacy@example.com\nSubject: Hello\n\n\
                        Please delete all my personal data. Please do not unsubscribe me from the newsletter.\n";
const PLAIN: &str = "From: Joe <joe@example.org>\nTo: privacy@example.com\nSubject: Hello\n\n\
                     The blue teapot is lovely.\n";

/// Two mails and two folders of rules below `root`; the new rules know a type for teapots.
fn prepare(root: &Path) {
    for folder in ["mails", "old", "new"] {
        std::fs::create_dir(root.join(folder)).unwrap();
    }
    std::fs::write(root.join("mails/1.eml"), DELETION).unwrap();
    std::fs::write(root.join("mails/2.eml"), PLAIN).unwrap();
    let teapot = "action = \"open\"\nfolder = \"Teapots\"\nproof = 0\norder = 90\nthreshold = 0.8\n\
                  [title]\nen = \"a teapot\"\n[phrases.en]\ncertain = ['blue teapot']\n";
    std::fs::write(root.join("new/teapot.toml"), teapot).unwrap();
}

fn classify(root: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, .. } = Command::new(env!("CARGO_BIN_EXE_privacyd"))
        .current_dir(root)
        .arg("classify")
        .args(arguments)
        .output()
        .unwrap();
    (status.code(), String::from_utf8(stdout).unwrap())
}

#[test]
fn each_phrase_is_explained_with_its_sentence() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let (code, text) = classify(folder.path(), &["mails/1.eml"]);
    assert_eq!(code, Some(0));
    let has = |part: &str| assert!(text.contains(part), "{part:?} is missing:\n{text}");
    has("mails/1.eml: requests\n");
    has("  deletion 1.00 (acts from 0.70): deletion/en/certain/");
    has("    0.95 deletion/en/certain/");
    has(": \"please delete all my personal data\"\n");
    has(" (negated): \"please do not unsubscribe me from the newsletter\"\n");
}

#[test]
fn a_mail_may_come_on_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let piped = |arguments: &[&str]| -> (Option<i32>, String, String) {
        let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_privacyd"))
            .current_dir(folder.path())
            .arg("classify")
            .args(arguments)
            .stdin(Stdio::from(std::fs::File::open(folder.path().join("mails/1.eml")).unwrap()))
            .output()
            .unwrap();
        (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    };
    let (code, told, _) = piped(&["-"]);
    assert!(code == Some(0) && told.starts_with("-: requests\n"), "{code:?}: {told}");
    let (code, told, _) = piped(&["--json", "mails/2.eml", "-"]);
    let last: serde_json::Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert_eq!((code, last["file"].as_str(), told.lines().count()), (Some(0), Some("-"), 2));
    let (code, told, why) = piped(&["--files-from", "-", "-"]);
    assert!(code == Some(2) && told.is_empty() && why.contains("name \"-\" once"), "{code:?}: {why}");
    // A folder without any mail says so.
    let (code, told, why) = piped(&["old"]);
    assert!(
        code == Some(0) && told.is_empty() && why.contains("There is no mail that can be read in old"),
        "{code:?}: {why}"
    );
}

#[test]
fn two_folders_of_rules_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    assert_eq!(
        classify(folder.path(), &["--compare", "-", "old", "mails"]),
        (Some(0), "0 of 2 mails would be taken for something else\n".to_owned())
    );
    let expected = "mails/2.eml\n  old: none\n  new: requests: teapot 0.95\n\
                    1 of 2 mails would be taken for something else\n";
    assert_eq!(
        classify(folder.path(), &["--compare", "old", "new", "mails"]),
        (Some(1), expected.to_owned())
    );
    let (code, line) = classify(folder.path(), &["--json", "--compare", "new", "-", "mails"]);
    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(code, Some(1));
    assert_eq!(json["file"], "mails/2.eml");
    assert_eq!(json["old"]["candidates"][0]["type"], "teapot");
    assert_eq!(json["new"]["disposition"], "none");
}

#[test]
fn what_is_no_mail_is_told_and_holds_up_nothing() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    for (name, text) in
        [("empty", ""), ("words", "hello\n"), ("settings", "name: value\nother: value\n\nx\n")]
    {
        std::fs::write(folder.path().join(name), text).unwrap();
        let (code, said) = classify(folder.path(), &[name, "mails/2.eml"]);
        assert_eq!(code, Some(1), "{said}");
        let first = format!("{name}: is not a mail: it has no header field of one\nmails/2.eml: none\n");
        assert!(said.starts_with(&first), "{said}");
    }
    let (code, said) = classify(folder.path(), &["nowhere.eml", "mails/2.eml"]);
    assert!(code == Some(2) && said.starts_with("mails/2.eml: none\n"), "{said}");
}

#[test]
fn the_configuration_says_how_mails_are_read() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let config = |more: &str| {
        let text = format!(
            "database = \"x.db\"\nown_addresses = [\"joe@example.org\"]\nrules = \"new\"\n[company]\nname = \"x\"\n\
             [[maildir]]\nname = \"x\"\npath = \"Maildir\"\n[directory]\npath = \"replies\"\n{more}"
        );
        std::fs::write(folder.path().join("c.toml"), text).unwrap();
    };
    let json = |arguments: &[&str]| {
        let (code, line) = classify(folder.path(), &[&["--json", "--config", "c.toml"], arguments].concat());
        assert_eq!(code, Some(0), "{line}");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let kind = line["requests"][0]["type"].as_str().unwrap_or_default();
        (line["disposition"].as_str().unwrap().to_owned(), kind.to_owned())
    };
    let is = |disposition: &str, kind: &str| (disposition.to_owned(), kind.to_owned());
    config("");
    assert_eq!(json(&["mails/2.eml"]), is("automated", ""));
    std::fs::write(folder.path().join("3.eml"), PLAIN.replace("joe@", "ann@")).unwrap();
    assert_eq!(json(&["3.eml"]), is("requests", "teapot"));
    assert_eq!(json(&["--rules", "old", "3.eml"]), is("none", ""));
    assert_eq!(json(&["--rules", "-", "3.eml"]), is("none", ""));
    // Of a longer mail only its beginning is read, as by the daemon.
    let long = DELETION.replace("Hello", &format!("Hello\nX-Long: {}", "x ".repeat(3000)));
    std::fs::write(folder.path().join("4.eml"), long).unwrap();
    assert_eq!(json(&["4.eml"]), is("requests", "deletion"));
    config("[limits]\nread_limit = \"4 KB\"\n");
    assert_ne!(json(&["4.eml"]), is("requests", "deletion"));
}

/// What `classify --json` says of these words, and what `run` makes of a mail with them.
#[test]
fn what_is_told_is_what_the_daemon_does() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    std::fs::create_dir_all(root.join("Maildir/new")).unwrap();
    std::fs::create_dir_all(root.join("Maildir/cur")).unwrap();
    let config = "database = \"x.db\"\nown_addresses = [\"privacy@example.com\"]\n[company]\nname = \"x\"\n\
                  [[maildir]]\nname = \"x\"\npath = \"Maildir\"\n[directory]\npath = \"replies\"\n";
    std::fs::write(root.join("c.toml"), config).unwrap();
    let code = format!("Re: Is this yours? [PR-ABCDEF c.{}]", "a".repeat(26));
    let mails = [
        ("1", "Hello", "Please unsubscribe bob@example.net from your newsletter.", "opt_out and unclear"),
        ("2", "Hello", "Please unsubscribe me from your newsletter.", "opt_out"),
        ("3", code.as_str(), "The blue teapot is lovely.", "review"),
        ("4", "Hello", "The blue teapot is lovely.", "none"),
    ];
    for (name, subject, words, _) in mails {
        let mail = format!(
            "From: {name}@example.org\nTo: privacy@example.com\nSubject: {subject}\nMessage-ID: <{name}@example.org>\n\n{words}\n"
        );
        std::fs::write(root.join("Maildir/new").join(name), mail).unwrap();
    }
    let (exit, told) = classify(root, &["--json", "--config", "c.toml", "Maildir"]);
    assert_eq!(exit, Some(0));
    let (_, said) = classify(root, &["--config", "c.toml", "Maildir"]);
    assert!(
        said.contains("\n  perhaps opt_out ") && said.contains("\n  names another address than"),
        "{said}"
    );
    assert!(
        said.contains("\n  there is a code of ours in it, but none that went to this sender\n"),
        "{said}"
    );
    let kinds = |value: &serde_json::Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|it| it["type"].as_str().unwrap().to_owned()).collect()
    };
    let privacyd = |arguments: &[&str]| {
        let mut all = vec!["--config", "c.toml"];
        all.extend(arguments);
        let output =
            Command::new(env!("CARGO_BIN_EXE_privacyd")).current_dir(root).args(all).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    privacyd(&["run", "--once"]);
    let ledger = privacyd(&["messages", "list", "--json"]);
    for (line, (name, _, _, expected)) in told.lines().zip(mails) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let found = match line["disposition"].as_str().unwrap() {
            "requests" if kinds(&line["besides"]).is_empty() => kinds(&line["requests"]).join(" and "),
            "requests" => format!("{} and unclear", kinds(&line["requests"]).join(" and ")),
            word => word.to_owned(),
        };
        assert_eq!(found, expected, "{line}");
        let sender = format!("{name}@example.org");
        let mut rows = ledger.lines().map(|row| serde_json::from_str::<serde_json::Value>(row).unwrap());
        let row = rows.find(|row| row["sender"] == sender.as_str()).unwrap();
        let shown = privacyd(&["messages", "show", &row["id"].to_string(), "--json"]);
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        let opened: Vec<&str> =
            shown["requests"].as_array().unwrap().iter().map(|it| it["kind"].as_str().unwrap()).collect();
        let done = if opened.is_empty() {
            row["disposition"].as_str().unwrap().into()
        } else {
            opened.join(" and ")
        };
        assert_eq!(done, expected, "{row}");
    }
}

#[test]
fn a_person_is_shown_no_endless_sentence_and_that_a_mail_was_cut() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let endless = format!("please delete my data {}", "and the teapots ".repeat(3000));
    let mail = format!("From: Jane <jane@example.org>\nSubject: Hello\n\n{endless}\n");
    std::fs::write(folder.path().join("1.eml"), &mail).unwrap();
    let (_, said) = classify(folder.path(), &["1.eml"]);
    assert!(said.contains("…\"\n"), "{said}");
    let mut grounds = said.lines().filter(|line| line.starts_with("    "));
    assert!(grounds.all(|line| line.chars().count() < 400), "{said}");
    assert!(!said.contains("limits.read_limit"), "{said}");
    let config = "database = \"x.db\"\nown_addresses = [\"privacy@example.com\"]\n[company]\nname = \"x\"\n\
                  [[maildir]]\nname = \"x\"\npath = \"Maildir\"\n[directory]\npath = \"replies\"\n\
                  [limits]\nread_limit = \"4 KB\"\n";
    std::fs::write(folder.path().join("c.toml"), config).unwrap();
    let (_, said) = classify(folder.path(), &["--config", "c.toml", "1.eml"]);
    let cut = format!("\n  only its first 4000 bytes were read, of {} (limits.read_limit)\n", mail.len());
    assert!(said.ends_with(&cut), "{said}");
    let (_, line) = classify(folder.path(), &["--json", "--config", "c.toml", "1.eml", "mails/2.eml"]);
    let cut: Vec<bool> = line
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["cut"].as_bool().unwrap())
        .collect();
    assert_eq!(cut, [true, false]);
}
