//! The IMAP room against a real Dovecot. What no real server does on demand is in the room's own tests.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use privacyd::config::{ImapConfig, ImapTls, SecretSource};
use privacyd::mailbox::{Body, Bounds, Cursor, Fetched, LoginRefused, MailId, Mailbox};

use crate::certificates::AUTHORITY;
use crate::dovecot::{Dovecot, Options, PASSWORD};
use crate::far_away::far_away;
use crate::imap_client::ImapClient;
use crate::{Need, Scenario, run};

/// Its certificates are made by openssl.
const SERVER: &[Need] = &[Need::Dovecot, Need::Openssl];

pub const SCENARIOS: &[Scenario] =
    &[
        ("a_mail_is_fetched_filed_and_gone", SERVER, || run(a_mail_is_fetched_filed_and_gone())),
        ("reading_leaves_no_trace", SERVER, || run(reading_leaves_no_trace())),
        ("long_mails_are_cut_and_too_long_ones_left", SERVER, || {
            run(long_mails_are_cut_and_too_long_ones_left())
        }),
        ("another_uidvalidity_begins_anew", SERVER, || run(another_uidvalidity_begins_anew())),
        ("without_move_a_colleagues_deleted_mail_survives", SERVER, || {
            run(without_move_a_colleagues_deleted_mail_survives())
        }),
        ("tls_is_verified", SERVER, || run(tls_is_verified())),
        ("a_refused_login_is_told_from_other_errors", SERVER, || {
            run(a_refused_login_is_told_from_other_errors())
        }),
        ("five_thousand_mails_are_drained", SERVER, || run(five_thousand_mails_are_drained())),
    ];

const MAIL: &[u8] = b"From: a@example.org\r\nSubject: hello\r\n\r\nPlease delete my data.\r\n";

/// A mailbox, and the folder its password file is in.
struct House {
    mailbox: Mailbox,
    folder: tempfile::TempDir,
}

/// The mailbox of `user`, but for what `change` makes of it.
fn house(port: u16, user: &str, change: impl FnOnce(&mut ImapConfig, &mut Bounds)) -> House {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    fs::write(&password, format!("{PASSWORD}\n")).unwrap();
    let mut settings = ImapConfig {
        name: "test".into(),
        host: "127.0.0.1".into(),
        port,
        tls: ImapTls::None,
        ca_file: None,
        username: user.into(),
        password: SecretSource::File(password),
        inbox: "INBOX".into(),
        junk: None,
        sent: None,
        patience: Duration::from_secs(600),
    };
    let mut bounds = Bounds::new(1000, 100_000);
    change(&mut settings, &mut bounds);
    House { mailbox: Mailbox::imap(settings, bounds).unwrap(), folder }
}

impl House {
    /// One whole pass: where it got to, and its mails.
    async fn pass(&mut self, cursor: Cursor) -> Result<(Cursor, Vec<Fetched>)> {
        let mut cursor = self.mailbox.look(cursor).await?;
        let mut mails = Vec::new();
        loop {
            let window = self.mailbox.next_window().await?;
            if window.mails.is_empty() {
                return Ok((cursor, mails));
            }
            assert_eq!(window.validity, cursor.validity);
            for mail in &window.mails {
                assert!(uid(mail) > cursor.last_uid, "ascending, each once");
                cursor.last_uid = uid(mail);
            }
            mails.extend(window.mails);
        }
    }
}

fn uid(mail: &Fetched) -> u32 {
    match mail.id {
        MailId::Uid(uid) => uid,
        MailId::File(_) => panic!("a file name in IMAP"),
    }
}

fn to(folder: &str, uids: impl IntoIterator<Item = u32>) -> Vec<(MailId, String)> {
    uids.into_iter().map(|uid| (MailId::Uid(uid), folder.to_owned())).collect()
}

/// Bodies of the mails in a Maildir folder ("" for the inbox), sorted.
fn mails_in(maildir: &Path, folder: &str) -> Vec<String> {
    let root = if folder.is_empty() { maildir.to_owned() } else { maildir.join(format!(".{folder}")) };
    let mut mails: Vec<String> = ["new", "cur"]
        .iter()
        .flat_map(|name| fs::read_dir(root.join(name)).into_iter().flatten())
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    mails.sort();
    mails
}

async fn a_mail_is_fetched_filed_and_gone() {
    let server = Dovecot::start(&Options::default()).unwrap();
    server.deliver("ann", MAIL);
    let mut house = house(server.plain_port, "ann", |_, _| {});
    assert_eq!(house.mailbox.probe().await.unwrap(), "1 messages, MOVE, UIDPLUS");

    let (cursor, mails) = house.pass(Cursor::default()).await.unwrap();
    let [mail] = mails.as_slice() else { panic!("{mails:?}") };
    assert_eq!((&mail.body, mail.size), (&Body::Whole(MAIL.to_vec()), MAIL.len() as u64));
    assert!((Timestamp::now() - mail.received).as_secs() < 60);

    house.mailbox.file(&to("Privacy/Deletion", [uid(mail)])).await.unwrap();
    // Again, and one that never was: no error.
    house.mailbox.file(&to("Privacy/Deletion", [uid(mail), 999])).await.unwrap();
    house.mailbox.file(&[]).await.unwrap();
    let maildir = server.maildir("ann");
    assert_eq!(mails_in(&maildir, "").len(), 0);
    assert_eq!(mails_in(&maildir, "Privacy.Deletion").len(), 1);
    assert_eq!(
        fs::read_to_string(maildir.join("subscriptions")).unwrap().lines().last(),
        Some("Privacy\tDeletion")
    );

    let (_, mails) = house.pass(cursor).await.unwrap();
    assert_eq!(mails, []);
    server.deliver("ann", b"Subject: later\r\n\r\n");
    let (_, mails) = house.pass(cursor).await.unwrap();
    assert_eq!(mails.len(), 1, "new mail is seen in the same session");
    house.mailbox.close().await;
}

async fn reading_leaves_no_trace() {
    let server = Dovecot::start(&Options::default()).unwrap();
    server.deliver("ann", MAIL);
    let mut house = house(server.plain_port, "ann", |_, _| {});
    house.mailbox.probe().await.unwrap();
    assert!(
        fs::read_dir(server.maildir("ann").join("cur")).into_iter().flatten().next().is_none(),
        "EXAMINE changes nothing"
    );
    house.pass(Cursor::default()).await.unwrap();
    house.mailbox.close().await;
    let names: Vec<String> = (fs::read_dir(server.maildir("ann").join("cur")).unwrap())
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.len() == 1 && names.iter().all(|name| name.ends_with(":2,")), "no \\Seen: {names:?}");
}

async fn long_mails_are_cut_and_too_long_ones_left() {
    let server = Dovecot::start(&Options::default()).unwrap();
    for length in [999, 1000, 1001, 100_000, 100_001] {
        server.deliver("ann", &mail_of(length));
    }
    let mut house = house(server.plain_port, "ann", |_, _| {});
    let (_, mails) = house.pass(Cursor::default()).await.unwrap();
    let found: Vec<String> = mails.iter().map(|mail| format!("{} {:?}", mail.size, mail.body)).collect();
    assert_eq!(
        found,
        [
            "999 Whole(999 bytes)",
            "1000 Head(1000 bytes)",
            "1001 Head(1000 bytes)",
            "100000 Head(1000 bytes)",
            "100001 TooLarge(1000 bytes)"
        ]
    );
}

/// A mail of exactly so many bytes.
fn mail_of(length: usize) -> Vec<u8> {
    let mut mail = b"Subject: x\r\n\r\n".to_vec();
    while mail.len() < length {
        let line = (length - mail.len()).min(72);
        mail.extend(
            if line > 2 { format!("{}\r\n", "x".repeat(line - 2)) } else { "y".repeat(line) }.bytes(),
        );
    }
    assert_eq!(mail.len(), length);
    mail
}

async fn another_uidvalidity_begins_anew() {
    let server = Dovecot::start(&Options::default()).unwrap();
    server.deliver_into("ann", "Watched", MAIL);
    let mut house = house(server.plain_port, "ann", |settings, _| settings.inbox = "Watched".into());
    let (first, mails) = house.pass(Cursor::default()).await.unwrap();
    assert_eq!((first.last_uid, mails.len()), (1, 1));
    assert_eq!(house.pass(first).await.unwrap().1.len(), 0);
    house.mailbox.close().await;

    fs::remove_dir_all(server.maildir("ann").join(".Watched")).unwrap();
    server.deliver_into("ann", "Watched", MAIL);
    let begin = house.mailbox.look(first).await.unwrap();
    assert_ne!(begin.validity, first.validity);
    assert_eq!(begin.last_uid, 0);
    assert_eq!(house.pass(first).await.unwrap().1.len(), 1);
}

async fn without_move_a_colleagues_deleted_mail_survives() {
    for (without, left) in [(vec!["MOVE"], 1), (vec!["MOVE", "UIDPLUS"], 3)] {
        let server = Dovecot::start(&Options { without, ..Options::default() }).unwrap();
        for text in ["one", "two", "three"] {
            server.deliver("ann", text.as_bytes());
        }
        let mut house = house(server.plain_port, "ann", |_, _| {});
        let (_, mails) = house.pass(Cursor::default()).await.unwrap();
        let deleted = mails.iter().find(|mail| mail.body == Body::Whole(b"two".to_vec())).map(uid).unwrap();
        let mut colleague = ImapClient::login(server.plain_port, "ann", PASSWORD);
        colleague.run(&["SELECT INBOX".to_owned(), format!("UID STORE {deleted} +FLAGS (\\Deleted)")]);

        house.mailbox.file(&to("Held", mails.iter().map(uid).filter(|uid| *uid != deleted))).await.unwrap();
        house.mailbox.close().await;
        let maildir = server.maildir("ann");
        assert_eq!(mails_in(&maildir, "Held"), ["one", "three"]);
        assert_eq!(mails_in(&maildir, "").len(), left);
        assert!(mails_in(&maildir, "").contains(&"two".to_owned()));
    }
}

async fn tls_is_verified() {
    let server = Dovecot::start(&Options::default()).unwrap();
    let tls = |settings: &mut ImapConfig, _: &mut Bounds| {
        settings.tls = ImapTls::Implicit;
        settings.host = "localhost".into();
    };
    let with_ca = |settings: &mut ImapConfig, bounds: &mut Bounds| {
        tls(settings, bounds);
        settings.ca_file = Some(server.ca().to_owned());
    };
    server.deliver("ann", MAIL);
    let mut trusted = house(server.tls_port, "ann", with_ca);
    assert_eq!(trusted.pass(Cursor::default()).await.unwrap().1.len(), 1);

    let mut unknown = house(server.tls_port, "ann", |settings, bounds| {
        tls(settings, bounds);
        settings.ca_file = Some(AUTHORITY.into());
    });
    let error = unknown.mailbox.look(Cursor::default()).await.unwrap_err();
    assert!(format!("{error:#}").contains("UnknownIssuer"), "{error:#}");

    let mut to_plaintext = house(server.plain_port, "ann", with_ca);
    let error = to_plaintext.mailbox.look(Cursor::default()).await.unwrap_err();
    assert!(error.to_string().starts_with("Cannot set up TLS with localhost"), "{error:#}");
}

async fn a_refused_login_is_told_from_other_errors() {
    let server = Dovecot::start(&Options::default()).unwrap();
    let mut house = house(server.plain_port, "ann", |_, _| {});
    fs::write(house.folder.path().join("password"), "wrong").unwrap();
    let error = house.mailbox.look(Cursor::default()).await.unwrap_err();
    assert_eq!(
        error.downcast_ref::<LoginRefused>().unwrap().to_string(),
        "The server refuses the login [AUTHENTICATIONFAILED]"
    );
    // Read anew: no restart after the password was put right.
    fs::write(house.folder.path().join("password"), PASSWORD).unwrap();
    house.mailbox.look(Cursor::default()).await.unwrap();

    house.mailbox.close().await;
    server.stop();
    let error = house.mailbox.look(Cursor::default()).await.unwrap_err();
    assert!(error.downcast_ref::<LoginRefused>().is_none());
    assert!(error.to_string().starts_with("Cannot connect to 127.0.0.1:"), "{error}");
}

async fn five_thousand_mails_are_drained() {
    let lines = [
        ("plain", false, 0),
        ("with COPY and EXPUNGE", true, 0),
        ("TLS", false, 0),
        ("20 ms away", false, 10),
    ];
    for (line, copy, delay) in lines {
        let without = if copy { vec!["MOVE"] } else { vec![] };
        let server = Dovecot::start(&Options { without, ..Options::default() }).unwrap();
        let mail = mail_of(4_000);
        for _ in 0..5_000 {
            server.deliver("ann", &mail);
        }
        let port = if delay > 0 {
            far_away(server.plain_port, Duration::from_millis(delay))
        } else {
            server.plain_port
        };
        let mut house = house(port, "ann", |settings, bounds| {
            bounds.read_limit = 1_000_000;
            if line == "TLS" {
                (settings.tls, settings.port, settings.host) =
                    (ImapTls::Implicit, server.tls_port, "localhost".into());
                settings.ca_file = Some(server.ca().to_owned());
            }
        });
        let cursor = house.mailbox.look(Cursor::default()).await.unwrap();
        let mut seen = 0;
        loop {
            let window = house.mailbox.next_window().await.unwrap();
            if window.mails.is_empty() {
                break;
            }
            let mut moves = Vec::new();
            for fetched in window.mails {
                seen += 1;
                assert!(uid(&fetched) == seen && fetched.body == Body::Whole(mail.clone()), "{line}: {seen}");
                moves.push((fetched.id, format!("Folder {}", seen % 3)));
            }
            house.mailbox.file(&moves).await.unwrap();
        }
        assert_eq!(seen, 5_000, "{line}");
        assert_eq!(house.pass(Cursor { last_uid: seen, ..cursor }).await.unwrap().1, [], "{line}");
        let maildir = server.maildir("ann");
        let count = |folder| mails_in(&maildir, folder).len();
        assert_eq!(["", "Folder 0", "Folder 1", "Folder 2"].map(count), [0, 1_666, 1_667, 1_667], "{line}");
    }
}
