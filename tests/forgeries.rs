//! Mails that pretend, and honest ones beside them: a letter asking for deletion with what our border
//! would have made of it, and beside it whom it must be taken to be from, by what proof, and what becomes
//! of it. Nothing that a forger asks for may be carried out, and nobody but From may be written to.
//!
//! The border is mx.example.com; from there mail goes by LMTP to imap.example.com. What is called
//! "genuine" has the shape of a known server's work.
//!
//! Forged answers need a question of ours first, which no mail of a corpus can have had: guessed, replayed and
//! swapped codes, behind a plus, in the subject and in the text, are in `tests/ladder.rs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use jiff::Timestamp;
use privacyd::config::Config;
use privacyd::daemon::Daemon;
use privacyd::mailbox::{Body, Fetched, MailId, Window};
use serde::Deserialize;
use sqlx::Connection;

const HOSTS: [&str; 3] = ["mx.example.com", "imap.example.com", "192.0.2.25"];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectation {
    /// Whom it is taken to be from.
    address: Option<String>,
    proof: String,
    why: String,
    disposition: String,
    /// `type status` of each request.
    requests: Vec<String>,
    /// Who gets the reply.
    answered: Option<String>,
}

fn cases() -> BTreeMap<String, (PathBuf, Expectation)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/forgeries");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.extension().is_some_and(|extension| extension == "eml"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(path.with_extension("expect")).unwrap();
            let expected = toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            (name, (path, expected))
        })
        .collect()
}

#[test]
fn there_are_enough_of_them_and_no_forgery_is_expected_to_pass() {
    let cases = cases();
    let (genuine, forged): (Vec<_>, Vec<_>) = cases.iter().partition(|(name, _)| name.contains("genuine"));
    assert!(forged.len() >= 60 && genuine.len() >= 12, "{} and {}", forged.len(), genuine.len());
    for (name, (_, expected)) in forged {
        assert!(["none", "conflict"].contains(&expected.proof.as_str()), "{name}");
        assert!(expected.requests.iter().all(|request| !request.ends_with("completed")), "{name}");
        assert!(expected.answered.is_none() || expected.answered == expected.address, "{name}");
    }
}

#[test]
fn classify_says_who_wrote_and_what_proves_it() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_privacyd"));
    command.args(["classify", "--json", "--authserv-id", "other.example.net"]);
    command.args(["--authserv-id", "MX.example.com"]);
    for host in HOSTS {
        command.args(["--received-by", host]);
    }
    judge(command);
}

#[test]
fn classify_believes_whom_the_configuration_believes() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("c.toml"), configuration(path)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_privacyd"));
    command.args(["--config", &path("c.toml"), "classify", "--json"]);
    judge(command);
}

/// Compares what `classify` says of all of them with what must be said.
fn judge(mut command: Command) {
    let cases = cases();
    let output = command.args(cases.values().map(|(path, _)| path)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<serde_json::Value> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    assert_eq!(lines.len(), cases.len());
    for (line, (name, (_, expected))) in lines.iter().zip(&cases) {
        let sender = serde_json::json!({
            "address": expected.address,
            "proof": expected.proof,
            "why": expected.why,
        });
        assert_eq!(line["sender"], sender, "{name}");
        assert_eq!(line["disposition"], expected.disposition, "{name}");
    }
}

fn configuration(path: impl Fn(&str) -> String) -> String {
    format!(
        "database = {:?}\nown_addresses = [\"privacy@example.com\"]\n[company]\nname = \"Example\"\n\
         [limits]\nreplies_per_day = 1000\nreplies_per_thread = 1000\n[authentication]\nauthserv_ids = [\"mx.example.com\"]\nreceived_by = {HOSTS:?}\n\
         [[maildir]]\nname = \"box\"\npath = {:?}\n[directory]\npath = {:?}\n",
        path("privacyd.db"),
        path("Maildir"),
        path("replies")
    )
}

#[tokio::test]
async fn nothing_is_done_for_a_forger() {
    let folder = tempfile::tempdir().unwrap();
    let text = configuration(|name| folder.path().join(name).display().to_string());
    let daemon = Daemon::build(&Config::parse("test", &text).unwrap()).await.unwrap();
    let store = daemon.intake.store.clone();
    let cases = cases();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("privacyd.db"));
    let mut second = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    for ((name, (path, expected)), uid) in cases.iter().zip(1..) {
        let bytes = std::fs::read(path).unwrap();
        let mail = Fetched {
            id: MailId::Uid(uid),
            size: bytes.len() as u64,
            received: "2026-11-23T10:00:00Z".parse().unwrap(),
            body: Body::Whole(bytes),
        };
        let window = Window { validity: 1, mails: vec![mail] };
        daemon.intake.receive("box", window, Timestamp::now()).await.unwrap();
        let message = store.messages(None, 1).await.unwrap().remove(0);
        let (_, requests, replies) = store.message(message.id).await.unwrap().unwrap();
        let requests: Vec<String> =
            requests.iter().map(|request| format!("{} {}", request.kind, request.status)).collect();
        let answered: Vec<&str> = replies.iter().map(|reply| reply.recipient.as_str()).collect();
        assert_eq!(message.proof, expected.proof, "{name}");
        assert_eq!(message.proof_why, expected.why, "{name}");
        assert_eq!(message.sender, expected.address.as_ref().map(|it| it.to_lowercase()), "{name}");
        assert_eq!(message.disposition, expected.disposition, "{name}");
        assert_eq!(requests, expected.requests, "{name}");
        assert_eq!(answered, expected.answered.as_deref().into_iter().collect::<Vec<_>>(), "{name}");
        // The same people write again and again; each of their mails shall be the first.
        sqlx::query("UPDATE requests SET status = 'withdrawn' WHERE status = 'awaiting_proof'")
            .execute(&mut second)
            .await
            .unwrap();
    }
    assert_eq!(store.messages(None, 1000).await.unwrap().len(), cases.len());
    assert_eq!(store.suppressions("", 10).await.unwrap(), []);
    assert!(store.requests(Some("completed"), 10).await.unwrap().is_empty());
}
