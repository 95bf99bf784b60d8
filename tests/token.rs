//! Unsubscribe tokens by the binary: made on the command line, read from a Maildir, acted on.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The test vector of src/token.rs.
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const JANE: &str =
    "List-Unsubscribe: <mailto:privacy+u.dt4ge7xwrzy44mnrnjqw4zkamv4gc3lqnrss4y3pnu@example.com>";

/// A configuration with a Maildir, and `keys`, below `root`.
fn configure(root: &Path, keys: &str) {
    std::fs::write(root.join("key"), format!("{KEY}\n")).unwrap();
    std::fs::write(root.join("old"), "an older key, of more than 16 bytes").unwrap();
    for folder in ["new", "cur", "tmp"] {
        std::fs::create_dir_all(root.join("Maildir").join(folder)).unwrap();
    }
    let text = format!(
        "database = \"ROOT/privacyd.db\"\nown_addresses = [\"privacy@example.com\"]\n[company]\nname = \"Example\"\n\
         [[maildir]]\nname = \"box\"\npath = \"ROOT/Maildir\"\n[directory]\npath = \"ROOT/replies\"\n{keys}"
    );
    std::fs::write(root.join("c.toml"), text.replace("ROOT", &root.display().to_string())).unwrap();
}

const TWO_KEYS: &str = "[unsubscribe]\nkeys = [{ file = \"ROOT/key\" }, { file = \"ROOT/old\" }]\n";

fn privacyd(root: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_privacyd"))
        .arg("--config")
        .arg(root.join("c.toml"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads no input may have closed it.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// Exit code, standard output, standard error.
fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_newsletters_address_opts_its_reader_out() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    configure(root, TWO_KEYS);
    let (code, field, _) = said(&privacyd(root, &["token", "Jane@Example.com"], b""));
    assert_eq!((code, field.trim_end()), (Some(0), JANE));

    let to = field.trim_end().trim_start_matches("List-Unsubscribe: <mailto:").trim_end_matches('>');
    let mail = format!(
        "Received: from mail.example.net by mx.example.com\nAuto-Submitted: auto-generated\nTo: {to}\n\n"
    );
    std::fs::write(root.join("Maildir/new/1.mail"), mail).unwrap();
    let check = |address: &str| said(&privacyd(root, &["suppressions", "check", address], b"")).0;
    assert_eq!(check("jane@example.com"), Some(2), "nothing has run");
    let (code, _, log) = said(&privacyd(root, &["run", "--once"], b""));
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("jane") && !log.contains(KEY), "{log}");
    assert_eq!(check("jane@example.com"), Some(0));
    let filed = ["new", "cur"]
        .map(|sub| root.join("Maildir/.Opt-out").join(sub))
        .map(|path| path.read_dir().unwrap().count());
    assert_eq!(filed.iter().sum::<usize>(), 1);
    // By default without a reply.
    assert!(std::fs::read_dir(root.join("replies")).map_or(0, Iterator::count) == 0);
}

#[test]
fn many_addresses_come_by_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    configure(root, TWO_KEYS);
    let input = b"jane@example.com\r\nno address\n\n\xff@example.com\nann@example.com";
    let (code, fields, faults) = said(&privacyd(root, &["token", "-"], input));
    assert_eq!(code, Some(1));
    let fields: Vec<&str> = fields.lines().collect();
    assert_eq!((fields.len(), fields[0]), (2, JANE));
    let faults: Vec<&str> = faults.lines().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(faults, ["line 2", "line 4"]);

    let (code, objects, _) = said(&privacyd(root, &["token", "--json", "-"], b"jane@example.com\n"));
    assert_eq!(code, Some(0));
    let token = "dt4ge7xwrzy44mnrnjqw4zkamv4gc3lqnrss4y3pnu";
    let expected = serde_json::json!({
        "address": "jane@example.com",
        "token": token,
        "mailto": format!("mailto:privacy+u.{token}@example.com"),
        "header": JANE,
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(&objects).unwrap(), expected);
}

#[test]
fn classify_knows_the_tokens_of_a_configuration_that_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let mail = root.join("1.eml");
    let to = JANE.trim_start_matches("List-Unsubscribe: <mailto:").trim_end_matches('>');
    let path = mail.to_str().unwrap();
    let classify = || {
        let (code, line, fault) = said(&privacyd(root, &["classify", "--json", path], b""));
        assert_eq!(code, Some(0), "{fault}");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let kinds: Vec<&str> =
            line["requests"].as_array().unwrap().iter().map(|row| row["type"].as_str().unwrap()).collect();
        (line["disposition"].as_str().unwrap().to_owned(), kinds.join(" "), fault)
    };
    let is = |disposition: &str, kinds: &str| (disposition.to_owned(), kinds.to_owned(), String::new());
    let write = |from: &str, to: &str, words: &str| {
        std::fs::write(&mail, format!("From: {from}\nTo: {to}\n\n{words}\n")).unwrap();
    };

    configure(root, TWO_KEYS);
    std::fs::write(&mail, format!("Auto-Submitted: auto-generated\nTo: {to}\n\n")).unwrap();
    assert_eq!(classify(), is("requests", "opt_out"));
    let (_, explained, _) = said(&privacyd(root, &["classify", path], b""));
    assert!(explained.contains("bears the unsubscribe token of jane@example.com"), "{explained}");
    write("jane@example.com", to, "Please unsubscribe me and delete all my personal data.");
    assert_eq!(classify(), is("requests", "opt_out deletion"));
    write("ann@example.org", to, "Please unsubscribe me.");
    assert_eq!(classify(), is("requests", "opt_out opt_out"));
    write("jane@example.com", to, "Please do not delete my account.");
    assert_eq!(classify().0, "review");
    // One that no key of ours has made.
    std::fs::write(
        &mail,
        format!("Auto-Submitted: auto-generated\nTo: {}\n\n", to.replacen("u.d", "u.e", 1)),
    )
    .unwrap();
    assert_eq!(classify(), is("automated", ""));

    std::fs::write(&mail, format!("Auto-Submitted: auto-generated\nTo: {to}\n\n")).unwrap();
    configure(root, "[unsubscribe]\nkeys = [{ file = \"ROOT/missing\" }]\n");
    let (disposition, _, fault) = classify();
    assert_eq!(disposition, "automated");
    assert!(fault.starts_with("privacyd: unsubscribe tokens are not recognised: "), "{fault}");
    configure(root, "");
    assert_eq!(classify(), is("automated", ""));
}

#[test]
fn what_is_missing_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    configure(root, "");
    let (code, _, fault) = said(&privacyd(root, &["token", "jane@example.com"], b""));
    assert_eq!(code, Some(2));
    assert_eq!(fault.lines().count(), 1);
    assert!(fault.contains("There is no key") && fault.contains("openssl rand -hex 32"), "{fault}");
    let (_, checked, _) = said(&privacyd(root, &["check", "--offline"], b""));
    assert!(checked.contains("unsubscribe    no keys"), "{checked}");

    configure(root, TWO_KEYS);
    let (_, checked, _) = said(&privacyd(root, &["check", "--offline"], b""));
    assert!(
        checked.contains("unsubscribe    2 keys, the first signs") && !checked.contains(KEY),
        "{checked}"
    );
    assert_eq!(said(&privacyd(root, &["token", "no address"], b"")).0, Some(2));
    configure(root, "[unsubscribe]\nkeys = [{ file = \"ROOT/missing\" }]\n");
    let (code, _, fault) = said(&privacyd(root, &["token", "jane@example.com"], b""));
    assert_eq!(code, Some(2));
    assert!(fault.contains("unsubscribe.keys, entry 1: Cannot read the secret file"), "{fault}");
}
