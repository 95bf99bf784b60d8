//! Against dialogues that no real server offers; `tests/servers` has the real Dovecot.

use std::fs;
use std::time::Duration;

use super::*;
use crate::config::SecretSource;
use crate::mailbox::session::Wait;
use crate::mailbox::{LoginRefused, Mark};
use scripted::{Scripted, Step, expect, login, send};

#[path = "../../tests/support/scripted.rs"]
mod scripted;

/// A mailbox, and the folder its password file is in.
struct House {
    imap: Imap,
    _folder: tempfile::TempDir,
}

/// A mailbox that loses patience soon.
fn house(server: &Scripted) -> House {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    fs::write(&password, "sec\"r\\et\n").unwrap();
    let settings = ImapConfig {
        name: "test".into(),
        host: "127.0.0.1".into(),
        port: server.port,
        tls: ImapTls::None,
        ca_file: None,
        username: "ann".into(),
        password: SecretSource::File(password),
        inbox: "INBOX".into(),
        junk: None,
        sent: None,
        patience: Duration::from_secs(600),
    };
    let mut imap = Imap::new(settings, Bounds::new(1000, 100_000)).unwrap();
    let short = Wait::Within(Duration::from_millis(300));
    imap.patience = Patience {
        connect: short,
        login: short,
        quick: short,
        file: short,
        logout: short,
        fetch: Wait::Silent(Duration::from_millis(300)),
    };
    House { imap, _folder: folder }
}

impl House {
    /// One whole pass: where it got to, and its mails.
    async fn pass(&mut self, cursor: Cursor) -> Result<(Cursor, Vec<Fetched>)> {
        let mut cursor = self.imap.look(cursor).await?;
        let mut mails = Vec::new();
        loop {
            let window = self.imap.next_window().await?;
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

// ---- with a script

fn select(exists: u32, uid_next: Option<u32>) -> Vec<Step> {
    let next = uid_next.map(|uid| format!("* OK [UIDNEXT {uid}] next\r\n")).unwrap_or_default();
    vec![
        expect("SELECT \"INBOX\""),
        send(format!(
            "* {exists} EXISTS\r\n* OK [UIDVALIDITY 7] valid\r\n{next}$1 OK [READ-WRITE] selected\r\n"
        )),
    ]
}

/// A listing of mails of 5 bytes each.
fn list(command: &str, uids: &[u32]) -> Vec<Step> {
    let lines: String = uids
        .iter()
        .map(|uid| {
            format!("* {uid} FETCH (UID {uid} RFC822.SIZE 5 INTERNALDATE \" 1-Jan-2026 10:00:00 +0100\")\r\n")
        })
        .collect();
    vec![expect(command), send(format!("{lines}$1 OK listed\r\n"))]
}

fn bodies(command: &str, uids: &[u32]) -> Vec<Step> {
    let lines: String =
        uids.iter().map(|uid| format!("* {uid} FETCH (UID {uid} BODY[]<0> {{5}}\r\nhello)\r\n")).collect();
    vec![expect(command), send(format!("{lines}$1 OK fetched\r\n"))]
}

/// Whether the server names a mail when it is asked for nothing else.
fn named(uid: u32, is_there: bool) -> Vec<Step> {
    let line = if is_there { format!("* 1 FETCH (UID {uid})\r\n") } else { String::new() };
    vec![expect(&format!("UID FETCH {uid}:{uid} (UID)")), send(format!("{line}$1 OK fetched\r\n"))]
}

const SEEN: Cursor = Cursor { validity: 7, last_uid: 10 };

/// Every command of a pass, each followed by everything that can go wrong with it: always an error,
/// never a hang, and never a second command in the same connection.
#[tokio::test]
async fn no_failure_passes_for_an_empty_answer() {
    // Each command's name, the dialogue before it, and what it expects.
    let script = |parts: &[Vec<Step>]| parts.concat();
    let all = "MOVE UIDPLUS";
    let before_fetch = [select(1, Some(12)), list("UID FETCH 11:11 (UID RFC", &[11])];
    let read = script(&[login(all), before_fetch.concat(), bodies("BODY.PEEK", &[11])]);
    let copy = script(&[login("UIDPLUS"), before_fetch.concat(), bodies("BODY.PEEK", &[11])]);
    let copied = script(&[copy.clone(), vec![expect("UID COPY 11"), send("$1 OK\r\n")]]);
    let stored = script(&[copied.clone(), vec![expect("UID STORE 11"), send("$1 OK\r\n")]]);
    let missing =
        script(&[read.clone(), vec![expect("UID MOVE 11"), send("$1 NO [TRYCREATE] no such folder\r\n")]]);
    let commands: Vec<(&str, Vec<Step>)> = vec![
        ("AUTHENTICATE", vec![send("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hello\r\n")]),
        (r#"LOGIN "ann" "sec\"r\\et""#, vec![send("* OK [CAPABILITY IMAP4rev1] hello\r\n")]),
        ("CAPABILITY", vec![send("* OK hello\r\n")]),
        ("SELECT", login(all)),
        ("UID FETCH 11:11 (UID RFC822.SIZE INTERNALDATE)", script(&[login(all), select(1, Some(12))])),
        ("UID FETCH 11 (UID BODY.PEEK[]<0.1000>)", script(&[login(all), before_fetch.concat()])),
        ("UID MOVE 11 \"Held\"", read.clone()),
        ("CREATE \"Held\"", missing),
        ("UID COPY 11 \"Held\"", copy),
        ("UID STORE 11 +FLAGS.SILENT (\\Deleted)", copied),
        ("UID EXPUNGE 11", stored),
    ];
    let failures: Vec<(&str, Vec<Step>)> = vec![
        ("NO", vec![send("$1 NO [LIMIT] canary\r\n")]),
        ("BAD", vec![send("$1 BAD canary\r\n")]),
        ("BYE", vec![send("* BYE canary\r\n"), Step::Stall]),
        ("BYE and yet OK", vec![send("* BYE canary\r\n$1 OK\r\n"), Step::Stall]),
        ("EOF", vec![]),
        ("half a line", vec![send("* 11 FETCH (UID 11 canary")]),
        ("garbage", vec![send("\x00\x01 canary\r\n"), Step::Stall]),
        ("an empty line", vec![send("\r\n"), Step::Stall]),
        ("another's tag", vec![send("x1 OK canary\r\n"), Step::Stall]),
        ("an old tag", vec![send("t0 OK canary\r\n"), Step::Stall]),
        ("a continuation", vec![send("+ canary\r\n+ canary\r\n"), Step::Stall]),
        ("a lying literal", vec![send("* 11 FETCH (UID 11 BODY[]<0> {400000000}\r\ncanary"), Step::Stall]),
        ("a panic in the library", vec![send("* 11 FETCH (UID 11 INTERNALDATE NIL)\r\n"), Step::Stall]),
        ("response text cut within a character", vec![send("* OK [ALERT]é canary\r\n"), Step::Stall]),
        ("silence", vec![Step::Stall]),
    ];
    for (command, before) in &commands {
        for (failure, steps) in &failures {
            // What has its copy is filed.
            if *failure == "NO" && ["UID STORE", "UID EXPUNGE"].iter().any(|verb| command.starts_with(verb)) {
                continue;
            }
            let what = format!("{command}: {failure}");
            // CREATE's NO may mean that the folder is there, and the second MOVE tells.
            let tail = match (*command, *failure) {
                ("CREATE \"Held\"", "NO") => vec![
                    send("$1 NO exists\r\n"),
                    expect("SUBSCRIBE"),
                    send("$1 NO\r\n"),
                    expect("UID MOVE"),
                    send("$1 NO canary\r\n"),
                ],
                _ => steps.clone(),
            };
            let server = Scripted::start([[before.clone(), vec![expect(command)], tail].concat()]);
            let mut house = house(&server);
            let error = tokio::time::timeout(Duration::from_secs(5), async {
                house.imap.look(SEEN).await?;
                let window = house.imap.next_window().await?;
                assert_eq!(window.mails.len(), 1, "{what}");
                // A NO to the first use of a folder is answered with CREATE, which this script does not have.
                let refused = house.imap.file(&to("Held", [11])).await?;
                assert!(!refused.is_empty(), "{what}");
                Err::<(), _>(anyhow::anyhow!("refused"))
            })
            .await
            .unwrap_or_else(|_| panic!("{what}: hangs"))
            .expect_err(&what);
            assert!(!format!("{error:#}{error:?}").contains("canary"), "{what}: {error:#}");
            if error.to_string() == "refused" {
                continue; // a NO to filing: said, and the session goes on
            }
            assert!(house.imap.session.is_none(), "{what}");
            assert!(house.imap.next_window().await.is_err(), "{what}");
            assert_eq!(server.connections(), 1, "{what}");
        }
    }
}

/// Runs one pass after [`SEEN`] against one dialogue per connection, and answers the mails by UID.
async fn pass_with(dialogue: Vec<Step>) -> Vec<(u32, Body)> {
    let server = Scripted::start([[login("MOVE"), dialogue].concat()]);
    let mut house = house(&server);
    let (_, mails) = house.pass(SEEN).await.unwrap();
    house.imap.close().await;
    server.assert_followed();
    mails.into_iter().map(|mail| (uid(&mail), mail.body)).collect()
}

fn hello() -> Body {
    Body::Whole(b"hello".to_vec())
}

#[tokio::test]
async fn what_select_tells_decides_what_is_listed() {
    let logout = || vec![expect("LOGOUT")];
    // Nothing new by UIDNEXT, or nothing there at all: no FETCH.
    assert_eq!(pass_with([select(3, Some(11)), logout()].concat()).await, []);
    assert_eq!(pass_with([select(0, Some(20)), logout()].concat()).await, []);
    // No UIDNEXT (RFC 3501 §6.3.1 allows it): an open range, whose answer is always the last mail.
    let open = [select(3, None), list("UID FETCH 11:* ", &[9]), logout()];
    assert_eq!(pass_with(open.concat()).await, []);
    let open = [select(3, None), list("UID FETCH 11:* ", &[12, 9]), bodies("UID FETCH 12 ", &[12]), logout()];
    assert_eq!(pass_with(open.concat()).await, [(12, hello())]);
    // UIDNEXT went down without a new UIDVALIDITY: new mail may have old numbers, so all of it is read.
    let down =
        [select(3, Some(5)), list("UID FETCH 1:* ", &[4, 11]), bodies("UID FETCH 4,11 ", &[4, 11]), logout()];
    assert_eq!(pass_with(down.concat()).await, [(4, hello()), (11, hello())]);
    // Mail that came since SELECT waits for the next pass.
    let later =
        [select(3, Some(13)), list("UID FETCH 11:12 ", &[11, 13]), bodies("UID FETCH 11 ", &[11]), logout()];
    assert_eq!(pass_with(later.concat()).await, [(11, hello())]);
}

#[tokio::test]
async fn what_is_still_to_be_read_is_told() {
    let server = Scripted::start([[
        login("MOVE"),
        select(5, Some(13)),
        list("UID FETCH 11:12 ", &[11, 12]),
        bodies("UID FETCH 11 ", &[11]),
        bodies("UID FETCH 12 ", &[12]),
    ]
    .concat()]);
    let mut house = house(&server);
    house.imap.window_mails = 1;
    house.imap.bounds.window_mails = 1;
    house.imap.look(SEEN).await.unwrap();
    let mut told = vec![house.imap.waiting()];
    for _ in 0..3 {
        house.imap.next_window().await.unwrap();
        told.push(house.imap.waiting());
    }
    assert_eq!(told, [2, 1, 0, 0], "three lie there from before");
}

#[tokio::test]
async fn empty_ranges_grow_and_full_ones_shrink() {
    let dialogue = [
        select(2_001, Some(100_000)),
        list("UID FETCH 11:2010 ", &[]),
        list("UID FETCH 2011:6010 ", &[]),
        list("UID FETCH 6011:14010 ", &[7_000]),
        bodies("UID FETCH 7000 ", &[7_000]),
        list("UID FETCH 14011:16010 ", &[]),
        list("UID FETCH 16011:20010 ", &[]),
        list("UID FETCH 20011:28010 ", &[]),
        list("UID FETCH 28011:44010 ", &[]),
        list("UID FETCH 44011:76010 ", &[]),
        list("UID FETCH 76011:99999 ", &[80_000, 80_001, 80_003]),
        bodies("UID FETCH 80000:80001,80003 ", &[80_003, 80_000, 80_001]),
        vec![expect("LOGOUT")],
    ];
    let mails = pass_with(dialogue.concat()).await;
    assert_eq!(mails.iter().map(|mail| mail.0).collect::<Vec<_>>(), [7_000, 80_000, 80_001, 80_003]);
    // Few mails are listed at once, however far apart.
    let few =
        [select(2_000, Some(4_000_000_000)), list("UID FETCH 11:3999999999 ", &[]), vec![expect("LOGOUT")]];
    assert_eq!(pass_with(few.concat()).await, []);
}

/// Without UIDNEXT, or where it went down, a folder of many mails is listed in steps too: its highest UID is asked for.
#[tokio::test]
async fn an_open_range_of_many_mails_is_listed_in_steps() {
    let logout = || vec![expect("LOGOUT")];
    let highest = |uid: &str| vec![expect("UID FETCH * (UID)"), send(format!("{uid}$1 OK fetched\r\n"))];
    let steps = [
        select(1_000_000, None),
        highest("* 1000000 FETCH (UID 5000)\r\n"),
        list("UID FETCH 11:2010 ", &[11, 2_010]),
        bodies("UID FETCH 11,2010 ", &[11, 2_010]),
        list("UID FETCH 2011:4010 ", &[]),
        list("UID FETCH 4011:5000 ", &[5_000, 5_001]),
        bodies("UID FETCH 5000 ", &[5_000]),
        logout(),
    ];
    let found = pass_with(steps.concat()).await;
    assert_eq!(found, [(11, hello()), (2_010, hello()), (5_000, hello())]);
    let down = [
        select(3_000, Some(5)),
        highest("* 3000 FETCH (UID 1500 FLAGS ())\r\n* 7 FETCH (FLAGS ())\r\n"),
        list("UID FETCH 1:1500 ", &[4]),
        bodies("UID FETCH 4 ", &[4]),
        logout(),
    ];
    assert_eq!(pass_with(down.concat()).await, [(4, hello())]);
    // Nothing is new.
    for highest_uid in [9, 10] {
        let told = format!("* 3000 FETCH (UID {highest_uid})\r\n");
        assert_eq!(pass_with([select(3_000, None), highest(&told), logout()].concat()).await, []);
    }
    // A server that does not answer that hides no mail, nor does the highest number there can be.
    for odd in ["", "* 3000 FETCH (UID 4294967295)\r\n"] {
        let dialogue = [
            select(3_000, None),
            highest(odd),
            list("UID FETCH 11:* ", &[12]),
            bodies("UID FETCH 12 ", &[12]),
            logout(),
        ];
        assert_eq!(pass_with(dialogue.concat()).await, [(12, hello())]);
    }
}

#[tokio::test]
async fn what_others_have_put_into_a_folder_is_listed_in_steps_as_far_as_it_is_looked_at() {
    let mark = |uid_next| Mark { validity: 5, uid_next };
    let many: Vec<u32> = (2_500..2_700).collect();
    let looked: Vec<u32> = (2_500..2_600).collect();
    let server = Scripted::start([[
        login("MOVE"),
        select(1, Some(11)),
        vec![expect("STATUS \"A\""), send("* STATUS A (UIDNEXT 1000000 UIDVALIDITY 5)\r\n$1 OK\r\n")],
        vec![expect("EXAMINE \"A\""), send("* 999999 EXISTS\r\n* OK [UIDVALIDITY 5] v\r\n$1 OK\r\n")],
        list("UID FETCH 10:2009 ", &[]),
        list("UID FETCH 2010:6009 ", &many),
        bodies("UID FETCH 2500:2599 ", &looked),
    ]
    .concat()]);
    let mut house = house(&server);
    house.imap.look(SEEN).await.unwrap();
    let found = house.imap.look_into(&[("A".to_owned(), Some(mark(10)))]).await.unwrap();
    let uids: Vec<u32> = found[0].mails.iter().map(uid).collect();
    assert_eq!((found[0].mark, uids), (mark(2_600), looked));
    server.assert_followed();
}

#[tokio::test]
async fn unasked_answers_and_odd_listings_are_no_mails() {
    let odd = "* 1 FETCH (FLAGS (\\Seen) UID 11)\r\n* 2 FETCH (FLAGS ())\r\n* 9 EXISTS\r\n* 1 EXPUNGE\r\n\
               * 3 FETCH (UID 12 RFC822.SIZE 5000000000 INTERNALDATE \"32-Foo-2026 10:00:00 +0100\")\r\n\
               * 4 FETCH (UID 13 RFC822.SIZE 5)\r\n* 4 FETCH (UID 13 INTERNALDATE \"01-Jan-2026 10:00:00 +0100\")\r\n$1 OK\r\n";
    let answer = "* 4 FETCH (UID 99 BODY[]<0> {3}\r\nfoe)\r\n* 4 FETCH (UID 13 BODY[]<7> \"foe\")\r\n* 4 FETCH (BODY[]<0> {3}\r\nfoe)\r\n\
                  * 4 FETCH (UID 13 BODY[]<0> {5}\r\nhello FLAGS (\\Recent))\r\n* 4 FETCH (FLAGS (\\Seen) UID 13)\r\n$1 OK\r\n";
    let dialogue = [
        select(3, Some(14)),
        vec![expect("UID FETCH 11:13 "), send(odd), expect("UID FETCH 13 "), send(answer)],
        // The beginning of what is of unknown size, which is all of it here.
        bodies("UID FETCH 12 (UID BODY.PEEK[]<0.1000>)", &[12]),
        vec![expect("LOGOUT")],
    ];
    assert_eq!(pass_with(dialogue.concat()).await, [(12, hello()), (13, hello())]);
    // And here only as much as was asked for, or nothing.
    let begun = "x".repeat(1000);
    for (size, beginning) in [("5000000000", begun.as_str()), ("5000000000", ""), ("100001", "hello")] {
        let dialogue = [
            select(1, Some(12)),
            vec![
                expect("UID FETCH 11:11 "),
                send(format!("* 1 FETCH (UID 11 RFC822.SIZE {size} INTERNALDATE \"?\")\r\n$1 OK\r\n")),
            ],
            vec![expect("UID FETCH 11 (UID BODY.PEEK[]<0.1000>)")],
            vec![
                send(format!("* 1 FETCH (UID 11 BODY[]<0> \"{beginning}\")\r\n$1 OK\r\n")),
                expect("LOGOUT"),
            ],
        ];
        let expected = Body::TooLarge(beginning.as_bytes().to_vec());
        assert_eq!(pass_with(dialogue.concat()).await, [(11, expected)]);
    }
}

#[tokio::test]
async fn a_mail_that_is_gone_is_left_out() {
    let dialogue = [
        select(3, Some(14)),
        list("UID FETCH 11:13 ", &[11, 12, 13]),
        bodies("UID FETCH 11:13 ", &[12]),
        bodies("UID FETCH 11 ", &[]),
        named(11, false),
        bodies("UID FETCH 13 ", &[]),
        bodies("UID FETCH 13 ", &[]),
        named(13, false),
        vec![expect("LOGOUT")],
    ];
    assert_eq!(pass_with(dialogue.concat()).await, [(12, hello())]);
    // So is one that is too large.
    let large =
        "* 1 FETCH (UID 11 RFC822.SIZE 100001 INTERNALDATE \" 1-Jan-2026 10:00:00 +0100\")\r\n$1 OK\r\n";
    for (is_there, found) in [(false, vec![]), (true, vec![(11, Body::TooLarge(Vec::new()))])] {
        let dialogue = [
            select(1, Some(12)),
            vec![expect("UID FETCH 11:11 "), send(large)],
            bodies("UID FETCH 11 ", &[]),
            named(11, is_there),
            vec![expect("LOGOUT")],
        ];
        assert_eq!(pass_with(dialogue.concat()).await, found);
    }
}

/// A server that answers OK and nothing else has not said that the mail is gone.
#[tokio::test]
async fn a_mail_that_the_server_names_and_leaves_out_is_not_gone() {
    let all = || [login("MOVE"), select(2, Some(13)), list("UID FETCH 11:12 ", &[11, 12])].concat();
    let left_out = |first: Vec<Step>| [first, bodies("UID FETCH 11 ", &[]), named(11, true)].concat();
    let server = Scripted::start([
        [all(), left_out(bodies("UID FETCH 11:12 ", &[12]))].concat(),
        [all(), left_out(bodies("UID FETCH 11 ", &[]))].concat(),
        // Whether it is gone is asked for as often as it is itself.
        [all(), bodies("UID FETCH 11 ", &[]), bodies("UID FETCH 11 ", &[])].concat(),
        [all(), bodies("UID FETCH 12 ", &[12])].concat(),
    ]);
    let mut house = house(&server);
    for error in ["The server gives no body for the mail with UID 11"; 2] {
        assert_eq!(house.pass(SEEN).await.unwrap_err().to_string(), error);
        assert!(house.imap.has_stumbled());
    }
    house.pass(SEEN).await.unwrap_err();
    let (_, mails) = house.pass(SEEN).await.unwrap();
    let found: Vec<_> = mails.into_iter().map(|mail| (uid(&mail), mail.body)).collect();
    assert_eq!(found, [(11, Body::Missing), (12, hello())]);
    server.assert_followed();
}

#[tokio::test]
async fn what_others_have_put_into_a_folder_is_passed_over_only_after_some_looks() {
    let look = |rest: Vec<Step>| {
        [
            login("MOVE"),
            select(1, Some(11)),
            vec![expect("STATUS \"A\""), send("* STATUS A (UIDNEXT 13 UIDVALIDITY 5)\r\n$1 OK\r\n")],
            vec![expect("EXAMINE \"A\""), send("* 12 EXISTS\r\n* OK [UIDVALIDITY 5] v\r\n$1 OK\r\n")],
            list("UID FETCH 10:12 ", &[10, 11, 12]),
            bodies("UID FETCH 10:12 ", &[12]),
            bodies("UID FETCH 10 ", &[]),
            named(10, false),
            bodies("UID FETCH 11 ", &[]),
            rest,
        ]
        .concat()
    };
    let server = Scripted::start([look(named(11, true)), look(named(11, true)), look(named(11, true))]);
    let mut house = house(&server);
    let folders = [("A".to_owned(), Some(Mark { validity: 5, uid_next: 10 }))];
    for _ in 1..ATTEMPTS {
        house.imap.look(SEEN).await.unwrap();
        let error = house.imap.look_into(&folders).await.unwrap_err();
        assert_eq!(error.to_string(), "The server gives no body for the mail with UID 11 in a folder");
    }
    house.imap.look(SEEN).await.unwrap();
    let found = house.imap.look_into(&folders).await.unwrap();
    let uids: Vec<u32> = found[0].mails.iter().map(uid).collect();
    assert_eq!((found[0].mark.uid_next, uids), (13, vec![12]));
    server.assert_followed();
}

#[tokio::test]
async fn a_mail_without_a_body_holds_up_only_itself() {
    // The empty answer is Exchange's for a mail that it cannot convert; NIL is what RFC 3501 has.
    let nothing = |command: &str, what: &str| {
        vec![expect(command), send(format!("* 2 FETCH (UID 12 BODY[]<0> {what})\r\n$1 OK\r\n"))]
    };
    let all = || [login("MOVE"), select(3, Some(14))].concat();
    let server = Scripted::start([
        [
            all(),
            list("UID FETCH 11:13 ", &[11, 12, 13]),
            bodies("UID FETCH 11:13 ", &[11, 13]),
            bodies("UID FETCH 12:13 ", &[13]),
            nothing("UID FETCH 12 ", "NIL"),
        ]
        .concat(),
        [
            all(),
            list("UID FETCH 12:13 ", &[12, 13]),
            nothing("UID FETCH 12 ", "\"\""),
            nothing("UID FETCH 12 ", "\"\""),
        ]
        .concat(),
        [
            all(),
            list("UID FETCH 12:13 ", &[12, 13]),
            nothing("UID FETCH 12 ", "{0}\r\n"),
            nothing("UID FETCH 12 ", "NIL"),
            bodies("UID FETCH 13 ", &[13]),
        ]
        .concat(),
    ]);
    let mut house = house(&server);
    house.imap.look(SEEN).await.unwrap();
    let window = house.imap.next_window().await.unwrap();
    assert_eq!(window.mails.iter().map(uid).collect::<Vec<_>>(), [11]);
    let error = house.imap.next_window().await.unwrap_err();
    assert_eq!(error.to_string(), "The server gives no body for the mail with UID 12");
    let after = Cursor { last_uid: 11, ..SEEN };
    house.pass(after).await.unwrap_err();
    let (_, mails) = house.pass(after).await.unwrap();
    let found: Vec<_> = mails.into_iter().map(|mail| (uid(&mail), mail.body)).collect();
    assert_eq!(found, [(12, Body::Missing), (13, hello())]);
    server.assert_followed();
}

#[tokio::test]
async fn a_mail_that_breaks_the_connection_is_passed_by_in_the_end() {
    let broken = || vec![expect("UID FETCH 11 "), send("* 1 FETCH (UID 11 BODY[]<0> (what))\r\n")];
    let begin =
        || [login("MOVE"), select(5, Some(16)), list("UID FETCH 11:15 ", &[11, 12, 13, 14, 15])].concat();
    let window = |command: &str| vec![expect(command), send("* 1 FETCH (UID 11 BODY[]<0> (what))\r\n")];
    let server = Scripted::start([
        [begin(), window("UID FETCH 11:15 ")].concat(),
        [begin(), broken()].concat(),
        [begin(), broken()].concat(),
        [begin(), broken()].concat(),
        // Given up without being asked for again; then windows of two and of what is left.
        [begin(), bodies("UID FETCH 12:13 ", &[12, 13]), bodies("UID FETCH 14:15 ", &[14, 15])].concat(),
    ]);
    let mut house = house(&server);
    for _ in 0..4 {
        assert_eq!(
            house.pass(SEEN).await.unwrap_err().to_string(),
            "The server's answer cannot be understood"
        );
    }
    let (_, mails) = house.pass(SEEN).await.unwrap();
    assert_eq!(mails.first().map(|mail| &mail.body), Some(&Body::Missing));
    assert_eq!(mails.iter().map(uid).collect::<Vec<_>>(), [11, 12, 13, 14, 15]);
    server.assert_followed();
}

/// A listing of `uids`, which makes the library panic where 77 is among them.
fn list_but_77(command: &str, uids: &[u32]) -> Vec<Step> {
    if !uids.contains(&77) {
        return list(command, uids);
    }
    vec![expect(command), send("* 7 FETCH (UID 77 RFC822.SIZE 5 INTERNALDATE NIL)\r\n"), Step::Stall]
}

#[tokio::test]
async fn a_mail_that_cannot_be_listed_is_passed_by_in_the_end() {
    let begin = || [login("MOVE"), select(300, Some(311))].concat();
    let read = |first: u32, last: u32| {
        let uids: Vec<u32> = (first..=last).collect();
        let fetched = match uids.as_slice() {
            [only] => format!("UID FETCH {only} "),
            _ => format!("UID FETCH {first}:{last} "),
        };
        [list(&format!("UID FETCH {first}:{last} (UID RFC"), &uids), bodies(&fetched, &uids)].concat()
    };
    let broken = |first: u32, last: u32| {
        list_but_77(&format!("UID FETCH {first}:{last} (UID RFC"), &(first..=last).collect::<Vec<_>>())
    };
    let size = || {
        let told = "* 7 FETCH (UID 77 RFC822.SIZE 5)\r\n$1 OK listed\r\n";
        vec![expect("UID FETCH 77:77 (UID RFC822.SIZE)"), send(told)]
    };
    let date = || list_but_77("UID FETCH 77:77 (UID INTERNALDATE)", &[77]);
    let wider = [(78, 78), (79, 80), (81, 84), (85, 92), (93, 108), (109, 140), (141, 204), (205, 310)]
        .map(|(first, last)| read(first, last));
    let server = Scripted::start([
        [begin(), broken(11, 310)].concat(),
        // Parts of the 300, of which 18 are the sixteenth.
        [begin(), read(11, 28), read(29, 46), read(47, 64), broken(65, 82)].concat(),
        [begin(), (65..77).flat_map(|uid| read(uid, uid)).collect(), broken(77, 77)].concat(),
        // Size and date are asked for apart; what was told of them is known.
        [begin(), size(), date()].concat(),
        [begin(), date()].concat(),
        // It is not listed any more; then more and more at once.
        [begin(), bodies("UID FETCH 77 ", &[77]), wider.concat()].concat(),
    ]);
    let mut house = house(&server);
    let mut read = Vec::new();
    let mut cursor = SEEN;
    for pass in 1..=6 {
        house.imap.look(cursor).await.unwrap();
        let end = loop {
            match house.imap.next_window().await {
                Ok(window) if window.mails.is_empty() => break Ok(()),
                Ok(window) => read.extend(window.mails),
                Err(error) => break Err(error),
            }
            cursor.last_uid = read.last().map_or(0, uid);
        };
        assert_eq!((end.is_ok(), house.imap.has_stumbled()), (pass == 6, pass < 6), "{pass}: {end:?}");
    }
    server.assert_followed();
    assert_eq!(read.iter().map(uid).collect::<Vec<_>>(), (11..=310).collect::<Vec<_>>());
    let unlisted = read.iter().find(|mail| uid(mail) == 77).unwrap();
    assert_eq!((unlisted.size, unlisted.received), (5, Timestamp::UNIX_EPOCH));
    assert!(read.iter().all(|mail| mail.body == hello()));
}

#[tokio::test]
async fn what_cannot_be_listed_and_is_not_named_is_gone() {
    let broken = |items: &str| {
        [login("MOVE"), select(1, Some(12)), vec![expect(&format!("UID FETCH 11:11 (UID {items})"))]].concat()
    };
    let gone = [bodies("UID FETCH 11 ", &[]), named(11, false), vec![expect("LOGOUT")]].concat();
    let server = Scripted::start([
        broken("RFC822.SIZE INTERNALDATE"),
        broken("RFC822.SIZE"),
        broken("INTERNALDATE"),
        [login("MOVE"), select(1, Some(12)), gone].concat(),
    ]);
    let mut house = house(&server);
    for _ in 0..ATTEMPTS {
        house.pass(SEEN).await.unwrap_err();
    }
    assert_eq!(house.pass(SEEN).await.unwrap().1, []);
    house.imap.close().await;
    server.assert_followed();
}

/// Without UIDNEXT nobody knows how much an open range is: its end is asked for once it has failed.
#[tokio::test]
async fn an_open_range_that_cannot_be_listed_gets_an_end() {
    let highest = || vec![expect("UID FETCH * (UID)"), send("* 3 FETCH (UID 77)\r\n$1 OK fetched\r\n")];
    let begin = || [login("MOVE"), select(3, None)].concat();
    let server = Scripted::start([
        [begin(), list_but_77("UID FETCH 11:* ", &[76, 77])].concat(),
        [begin(), highest(), list_but_77("UID FETCH 11:77 ", &[76, 77])].concat(),
        [begin(), highest(), list("UID FETCH 11:14 ", &[11]), bodies("UID FETCH 11 ", &[11])].concat(),
    ]);
    let mut house = house(&server);
    for _ in 0..2 {
        house.pass(SEEN).await.unwrap_err();
    }
    house.imap.look(SEEN).await.unwrap();
    assert_eq!(house.imap.next_window().await.unwrap().mails.len(), 1);
    server.assert_followed();
}

#[tokio::test]
async fn a_server_that_lies_about_sizes_is_read_all_the_same() {
    let body = |length: usize| {
        send(format!("* 1 FETCH (UID 11 BODY[]<0> {{{length}}}\r\n{})\r\n$1 OK\r\n", "x".repeat(length)))
    };
    // Said to have 5 bytes.
    for (length, expected) in [(1000, Body::Head(vec![b'x'; 1000])), (6, Body::Whole(vec![b'x'; 6]))] {
        let dialogue = [
            select(1, Some(12)),
            list("UID FETCH 11:11 ", &[11]),
            vec![expect("UID FETCH 11 "), body(length), expect("LOGOUT")],
        ];
        assert_eq!(pass_with(dialogue.concat()).await, [(11, expected)]);
    }
    // More than was asked for.
    let server = Scripted::start([[
        login("MOVE"),
        select(1, Some(12)),
        list("UID FETCH 11:11 ", &[11]),
        vec![expect("UID FETCH 11 "), body(1001)],
    ]
    .concat()]);
    let error = house(&server).pass(SEEN).await.unwrap_err();
    assert_eq!(error.to_string(), "The server's response is too large");
}

#[tokio::test]
async fn failures_are_forgotten_with_the_uidvalidity() {
    let dialogue =
        [select(1, Some(12)), list("UID FETCH 11:11 ", &[11]), bodies("UID FETCH 11 ", &[11])].concat();
    let server = Scripted::start([[login("MOVE"), dialogue].concat()]);
    let mut house = house(&server);
    // Of another mail that had this UID.
    house.imap.failures.insert(("INBOX".into(), 6, 11), ATTEMPTS);
    let (_, mails) = house.pass(SEEN).await.unwrap();
    assert_eq!(mails.first().map(|mail| &mail.body), Some(&hello()));
}

#[tokio::test]
async fn a_mail_that_cannot_be_had_is_passed_by_however_often_other_folders_are_looked_into() {
    let broken = || vec![expect("UID FETCH 11 "), send("* 1 FETCH (UID 11 BODY[]<0> (what))\r\n")];
    let begin = || [login("MOVE"), select(2, Some(13)), list("UID FETCH 11:12 ", &[11, 12])].concat();
    let both = || vec![expect("UID FETCH 11:12 "), send("* 1 FETCH (UID 11 BODY[]<0> (what))\r\n")];
    let server = Scripted::start([
        [begin(), both()].concat(),
        [begin(), broken()].concat(),
        [begin(), broken()].concat(),
        [begin(), broken()].concat(),
        [begin(), bodies("UID FETCH 12 ", &[12])].concat(),
    ]);
    let mut house = house(&server);
    for _ in 0..4 {
        house.imap.turn_to("INBOX");
        house.pass(SEEN).await.unwrap_err();
        assert!(house.imap.has_stumbled());
        house.imap.turn_to("Elsewhere");
    }
    house.imap.turn_to("INBOX");
    let (_, mails) = house.pass(SEEN).await.unwrap();
    let found: Vec<_> = mails.into_iter().map(|mail| (uid(&mail), mail.body)).collect();
    assert_eq!(found, [(11, Body::Missing), (12, hello())]);
    server.assert_followed();
}

#[tokio::test]
async fn what_has_come_and_is_gone_is_told_from_what_lay_there_before() {
    // Five lie there: of three that came after the cursor one or all, and others from before.
    for (there, is_gone) in [(&[13][..], true), (&[11, 12, 13], false)] {
        let begin = [login("MOVE"), select(5, Some(14)), list("UID FETCH 11:13 ", there)].concat();
        let begin = begin.into_iter().map(|step| match step {
            Step::Expect(text) => Step::Expect(text.replace("SELECT", "EXAMINE")),
            step => step,
        });
        let server = Scripted::start([begin.collect::<Vec<_>>()]);
        assert_eq!(house(&server).imap.has_given_away(SEEN).await.unwrap(), is_gone);
        server.assert_followed();
    }
}

#[tokio::test]
async fn what_lies_below_the_cursor_is_told_by_its_numbers_and_fetched_where_it_is_chosen() {
    let numbers = |command: &str, uids: &[u32]| {
        let lines: String = uids.iter().map(|uid| format!("* {uid} FETCH (UID {uid})\r\n")).collect();
        vec![expect(&format!("{command} (UID)")), send(format!("{lines}$1 OK\r\n"))]
    };
    let first: Vec<u32> = (1..=2_000).collect();
    let after = Cursor { validity: 7, last_uid: 9_000 };
    let server = Scripted::start([[
        login("MOVE"),
        select(2_003, Some(9_001)),
        numbers("UID FETCH 1:2000", &first),
        // Of the chosen ones the server does not list 4, and what it does not name is gone.
        list("UID FETCH 3:5 ", &[3]),
        bodies("UID FETCH 3 ", &[3]),
        bodies("UID FETCH 4:5 ", &[4]),
        named(5, false),
        list("UID FETCH 7:7 ", &[7]),
        bodies("UID FETCH 7 ", &[7]),
        numbers("UID FETCH 2001:4000", &[]),
        numbers("UID FETCH 4001:8000", &[4_001, 8_001]),
        numbers("UID FETCH 8001:9000", &[]),
    ]
    .concat()]);
    let mut house = house(&server);
    house.imap.look(after).await.unwrap();
    assert_eq!(house.imap.next_window().await.unwrap().mails, []);
    assert_eq!(house.imap.next_below().await.unwrap(), first);
    house.imap.choose(&[3, 4, 5, 7]);
    let mut chosen = Vec::new();
    loop {
        let window = house.imap.next_window().await.unwrap();
        assert_eq!(window.validity, 7);
        if window.mails.is_empty() {
            break;
        }
        chosen.extend(window.mails.into_iter().map(|mail| (uid(&mail), mail.body)));
    }
    assert_eq!(chosen, [(3, hello()), (4, hello()), (7, hello())]);
    assert_eq!(house.imap.next_below().await.unwrap(), [4_001]);
    house.imap.choose(&[]);
    assert_eq!(house.imap.next_window().await.unwrap().mails, []);
    assert_eq!(house.imap.next_below().await.unwrap(), Vec::<u32>::new());
    server.assert_followed();
    // Where nothing lies, or nothing is below, nothing is asked.
    for (exists, cursor) in [(0, after), (3, Cursor { validity: 6, last_uid: 9_000 })] {
        let server = Scripted::start([[login("MOVE"), select(exists, Some(9_001))].concat()]);
        let mut house = self::house(&server);
        house.imap.look(cursor).await.unwrap();
        assert_eq!(house.imap.next_below().await.unwrap(), Vec::<u32>::new());
    }
}

#[tokio::test]
async fn a_slow_fetch_that_goes_on_is_no_time_out() {
    let part = |text: &str| [send(text), Step::Pause(Duration::from_millis(200))];
    let slow = [
        part("* 1 FETCH (UID 11 "),
        part("BODY[]<0> {5}\r\n"),
        part("hel"),
        part("lo)\r\n"),
        part("$1 OK\r\n"),
    ]
    .concat();
    let dialogue = [
        select(1, Some(12)),
        list("UID FETCH 11:11 ", &[11]),
        vec![expect("UID FETCH 11 ")],
        slow,
        vec![expect("LOGOUT")],
    ];
    assert_eq!(pass_with(dialogue.concat()).await, [(11, hello())]);
}

#[tokio::test]
async fn a_fetch_that_goes_on_for_ever_is_given_up() {
    let drip = vec![send("* 1 FETCH (FLAGS ())\r\n"), Step::Pause(Duration::from_millis(200))];
    let dialogue =
        [login("MOVE"), select(1, Some(12)), vec![expect("UID FETCH 11:11 ")], vec![drip; 30].concat()];
    let server = Scripted::start([dialogue.concat()]);
    let mut house = house(&server);
    let begun = std::time::Instant::now();
    let error = house.pass(SEEN).await.unwrap_err();
    assert_eq!(error.to_string(), "The server's answer did not end within 3 s");
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(house.imap.session.is_none() && house.imap.has_stumbled());
}

#[tokio::test]
async fn a_dropped_future_takes_the_session_with_it() {
    let silent = [login("MOVE"), select(1, Some(12)), vec![expect("UID FETCH 11:11 "), Step::Stall]].concat();
    let sound =
        [login("MOVE"), select(1, Some(12)), list("UID FETCH 11:11 ", &[11]), bodies("UID FETCH 11 ", &[11])]
            .concat();
    let server = Scripted::start([silent, sound]);
    let mut house = house(&server);
    house.imap.look(SEEN).await.unwrap();
    let dropped = tokio::time::timeout(Duration::from_millis(50), house.imap.next_window()).await;
    assert!(dropped.is_err());
    assert!(house.imap.next_window().await.is_err());
    assert_eq!(house.pass(SEEN).await.unwrap().1.len(), 1);
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn folders_are_made_where_they_are_missing() {
    let answer = |command: &str, text: &str| vec![expect(command), send(format!("$1 {text}\r\n"))];
    let server = Scripted::start([[
        login("MOVE"),
        select(1, Some(12)),
        // Both commands are sent before either is answered. Any NO at first use may be a missing folder.
        vec![expect("UID MOVE 1 \"A\""), expect("UID MOVE 2:3 \"B\""), send("t4 OK\r\nt5 NO what\r\n")],
        vec![expect("CREATE \"B\""), expect("SUBSCRIBE \"B\""), send("t6 NO [ALREADYEXISTS]\r\nt7 OK\r\n")],
        answer("UID MOVE 2:3 \"B\"", "OK"),
        // A folder that was there and is gone says so.
        answer("UID MOVE 4 \"A\"", "NO [TRYCREATE]"),
        vec![expect("CREATE \"A\""), expect("SUBSCRIBE \"A\""), send("t10 OK\r\nt11 OK\r\n")],
        answer("UID MOVE 4 \"A\"", "OK"),
        // Any other NO is a refusal then, and keeps no other folder waiting.
        vec![
            expect("UID MOVE 5 \"A\""),
            expect("UID MOVE 6 \"B\""),
            send("t13 NO [OVERQUOTA]\r\nt14 OK\r\n"),
        ],
    ]
    .concat()]);
    let mut house = house(&server);
    house.imap.look(SEEN).await.unwrap();
    house.imap.file(&[to("A", [1]), to("B", [3, 2])].concat()).await.unwrap();
    house.imap.file(&to("A", [4])).await.unwrap();
    let refused = house.imap.file(&[to("A", [5]), to("B", [6])].concat()).await.unwrap();
    assert_eq!(refused, HashSet::from([MailId::Uid(5)]));
    server.assert_followed();
}

#[tokio::test]
async fn what_is_copied_counts_as_filed_also_where_it_cannot_be_taken_out_of_the_inbox() {
    let answer = |command: &str, text: &str| vec![expect(command), send(format!("$1 {text}\r\n"))];
    let again = || select(2, Some(13));
    let store = |text: &str| answer("UID STORE 1:2 +FLAGS.SILENT (\\Deleted)", text);
    let expunge = |text: &str| answer("UID EXPUNGE 1:2", text);
    let not_now = || store("NO [SERVERBUG] not now");
    let never = || [store("OK"), expunge("NO [NOPERM] never")].concat();
    // It is asked for in the next looks, and no more after the third refusal.
    for refused in [
        [not_now(), again(), store("OK"), expunge("OK"), again(), again()].concat(),
        [never(), again(), never(), again(), not_now(), again()].concat(),
    ] {
        let copied = answer("UID COPY 1:2 \"A\"", "OK");
        let server = Scripted::start([[login("UIDPLUS"), again(), copied, refused].concat()]);
        let mut house = house(&server);
        house.imap.look(SEEN).await.unwrap();
        assert_eq!(house.imap.file(&to("A", [1, 2])).await.unwrap(), HashSet::new());
        assert!(house.imap.warned_of_leftovers);
        for _ in 0..3 {
            house.imap.look(SEEN).await.unwrap();
        }
        server.assert_followed();
        assert_eq!((house.imap.leftovers.len(), server.connections()), (0, 1));
    }
    // Also where the connection ends with it; but that ends no pass for ever.
    let copied = || [again(), answer("UID COPY 1:2 \"A\"", "OK")].concat();
    let broken = || [login("UIDPLUS"), again(), answer("UID STORE 1:2 ", "BAD what")].concat();
    let server = Scripted::start([
        [login("UIDPLUS"), copied(), answer("UID STORE 1:2 ", "BAD what")].concat(),
        broken(),
        broken(),
        [login("UIDPLUS"), again(), vec![expect("LOGOUT")]].concat(),
    ]);
    let mut house = house(&server);
    house.imap.look(SEEN).await.unwrap();
    house.imap.file(&to("A", [1, 2])).await.unwrap_err();
    house.imap.look(SEEN).await.unwrap_err();
    house.imap.look(SEEN).await.unwrap_err();
    house.imap.look(SEEN).await.unwrap();
    // They are still to be filed by the ledger, and have their copies.
    assert_eq!(house.imap.file(&to("A", [1, 2])).await.unwrap(), HashSet::new());
    house.imap.close().await;
    server.assert_followed();
    assert_eq!(server.lines().iter().filter(|line| line.contains("UID COPY")).count(), 1);
    assert_eq!(house.imap.leftovers.len(), 0);
}

/// A line that breaks again and again just when a mail is listed alone costs it neither its date nor its size.
#[tokio::test]
async fn a_mail_that_is_listed_alone_over_a_bad_line_keeps_what_was_told_of_it() {
    let begin = || [login("MOVE"), select(1, Some(12))].concat();
    let fetched = |line: &str| format!("* 1 FETCH (UID 11 {line})\r\n$1 OK listed\r\n");
    let date = "INTERNALDATE \" 1-Jan-2026 10:00:00 +0100\"";
    let server = Scripted::start([
        [begin(), vec![expect("(UID RFC822.SIZE INTERNALDATE)")]].concat(),
        [begin(), vec![expect("(UID RFC822.SIZE)")]].concat(),
        [begin(), vec![expect("(UID INTERNALDATE)"), send(fetched(date)), expect("(UID RFC822.SIZE)")]]
            .concat(),
        [begin(), bodies("UID FETCH 11 ", &[11])].concat(),
    ]);
    let mut house = house(&server);
    for _ in 0..ATTEMPTS {
        house.pass(SEEN).await.unwrap_err();
    }
    house.imap.look(SEEN).await.unwrap();
    let mails = house.imap.next_window().await.unwrap().mails;
    let [mail] = mails.as_slice() else { panic!("{mails:?}") };
    assert_eq!((mail.received, &mail.body), ("2026-01-01T09:00:00Z".parse().unwrap(), &hello()));
    server.assert_followed();
}

#[tokio::test]
async fn names_that_do_not_belong_on_the_wire_stay_off_it() {
    let server =
        Scripted::start([[login("MOVE"), select(1, Some(12)), vec![expect("nothing more")]].concat()]);
    for name in ["", "a\"b", "a\\b", "a\r\nt9 DELETE INBOX", "é"] {
        let mut house = house(&server);
        if house.imap.look(SEEN).await.is_ok() {
            house.imap.file(&to(name, [1])).await.unwrap_err();
        }
        assert!(quoted(name).is_err(), "{name:?}");
    }
    assert!(server.lines().iter().all(|line| !line.contains("DELETE") && !line.contains("MOVE")));
}

#[tokio::test]
async fn greetings_and_logins_that_do_not_work_out() {
    let login = |reply: &str| {
        vec![
            send("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hello\r\n"),
            expect("AUTHENTICATE"),
            send("+ \r\n"),
            expect(""),
            send(format!("t1 {reply}\r\n")),
        ]
    };
    let table = [
        (vec![send("* BYE [UNAVAILABLE] go away\r\n")], "The server says BYE [UNAVAILABLE]", false),
        (
            vec![send("* PREAUTH hello\r\n")],
            "The server does not greet as an IMAP server that wants a login",
            false,
        ),
        (vec![send("220 mx.example.org ESMTP\r\n")], "The server's answer cannot be understood", false),
        (vec![], "The server closed the connection without a greeting", false),
        (vec![Step::Stall], "The server did not answer within 1 s", false),
        (
            vec![send("* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] hello\r\n")],
            "The server offers neither AUTHENTICATE PLAIN nor LOGIN",
            false,
        ),
        (login("NO [AUTHENTICATIONFAILED] no"), "The server refuses the login [AUTHENTICATIONFAILED]", true),
        (login("NO [expired] ann"), "The server refuses the login [EXPIRED]", true),
        (login("NO no, ann"), "The server refuses the login", true),
        (login("NO [UNAVAILABLE] later"), "The server says NO [UNAVAILABLE] to AUTHENTICATE", false),
        (login("BAD what"), "The server says BAD to AUTHENTICATE", false),
    ];
    for (dialogue, expected, refused) in table {
        let server = Scripted::start([dialogue]);
        let error = house(&server).imap.look(SEEN).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.is::<LoginRefused>(), refused, "{expected}");
    }
}

#[tokio::test]
async fn a_server_without_uidvalidity_is_refused() {
    let server =
        Scripted::start([[login("MOVE"), vec![expect("SELECT"), send("* 1 EXISTS\r\n$1 OK\r\n")]].concat()]);
    assert!(house(&server).imap.look(SEEN).await.unwrap_err().to_string().contains("UIDVALIDITY"));
}

// ---- alone

#[test]
fn sets_are_short() {
    let texts = |uids: &BTreeSet<u32>| -> Vec<String> {
        let sets = uid_sets(uids);
        let back: Vec<u32> = sets.iter().flat_map(|(uids, _)| uids.clone()).collect();
        assert_eq!(back, uids.iter().copied().collect::<Vec<_>>());
        sets.into_iter().map(|(_, text)| text).collect()
    };
    let sets = |uids: &[u32]| texts(&uids.iter().copied().collect());
    assert_eq!(sets(&[]), Vec::<String>::new());
    assert_eq!(sets(&[3, 1, 2, 7, u32::MAX]), ["1:3,7,4294967295"]);
    let many: BTreeSet<u32> = (1..=5_000).collect();
    assert_eq!(texts(&many), ["1:2000", "2001:4000", "4001:5000"]);
    let scattered: BTreeSet<u32> = (0..3_000).map(|n| 4_000_000_000 + 2 * n).collect();
    let sets = texts(&scattered);
    assert!(sets.iter().all(|set| set.len() <= SET_CHARS && !set.starts_with(',') && !set.ends_with(',')));
    let back: Vec<u32> = sets.iter().flat_map(|set| set.split(',')).map(|uid| uid.parse().unwrap()).collect();
    assert_eq!(back, scattered.into_iter().collect::<Vec<_>>());
}

#[test]
fn dates() {
    let table = [
        ("17-Jul-1996 02:44:25 -0700", "1996-07-17T09:44:25Z"),
        (" 1-Jan-2026 10:00:00 +0100", "2026-01-01T09:00:00Z"),
        ("29-Feb-2024 23:59:59 +0000", "2024-02-29T23:59:59Z"),
        ("29-Feb-2023 23:59:59 +0000", "1970-01-01T00:00:00Z"),
        ("1-Jan-2026 10:00:00 +0100", "1970-01-01T00:00:00Z"),
        ("17-Jul-1996 02:44:25 PDT  ", "1970-01-01T00:00:00Z"),
        ("17-Jul-1996 25:44:25 -0700", "1970-01-01T00:00:00Z"),
        ("17-Jux-1996 02:44:25 -0700", "1970-01-01T00:00:00Z"),
        ("17-Jul-1996 02:44:25 -070é", "1970-01-01T00:00:00Z"),
        ("", "1970-01-01T00:00:00Z"),
    ];
    for (text, expected) in table {
        assert_eq!(internal_date(text).to_string(), expected, "{text:?}");
    }
}

#[tokio::test]
async fn what_we_have_filed_ourselves_is_not_fetched_again() {
    let status = |next: u32| {
        [
            expect("STATUS \"A\" (UIDNEXT UIDVALIDITY)"),
            send(format!("* STATUS \"A\" (UIDNEXT {next} UIDVALIDITY 5)\r\n$1 OK\r\n")),
        ]
        .to_vec()
    };
    let server = Scripted::start([[
        login("MOVE"),
        select(1, Some(12)),
        vec![expect("UID MOVE 1:2 \"A\""), send("* OK [COPYUID 5 1:2 8:9] moved\r\n$1 OK\r\n")],
        status(10),
        select(1, Some(12)),
        vec![expect("UID MOVE 3 \"A\""), send("* OK [COPYUID 5 3 11] moved\r\n$1 OK\r\n")],
        status(12),
        // Somebody has put a mail between ours.
        vec![expect("EXAMINE \"A\""), send("* OK [UIDVALIDITY 5] valid\r\n$1 OK\r\n")],
        list("UID FETCH 10:10 ", &[10]),
        bodies("UID FETCH 10 ", &[10]),
    ]
    .concat()]);
    let mut house = house(&server);
    let mark = |uid_next| Some(Mark { validity: 5, uid_next });
    house.imap.look(SEEN).await.unwrap();
    house.imap.file(&to("A", [1, 2])).await.unwrap();
    let found = house.imap.look_into(&[("A".to_owned(), mark(8))]).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((Some(found[0].mark), found[0].mails.len()), (mark(10), 0));
    house.imap.look(SEEN).await.unwrap();
    house.imap.file(&to("A", [3])).await.unwrap();
    let found = house.imap.look_into(&[("A".to_owned(), mark(10))]).await.unwrap();
    let uids: Vec<u32> = found[0].mails.iter().map(uid).collect();
    assert_eq!((Some(found[0].mark), uids), (mark(12), vec![10]));
    server.assert_followed();
}

#[tokio::test]
async fn a_folder_without_news_costs_one_command_and_old_mail_is_left_alone() {
    let server = Scripted::start([[
        login("MOVE"),
        select(1, Some(12)),
        vec![expect("STATUS \"A\""), expect("STATUS \"B\""), expect("STATUS \"C\"")],
        vec![send("* STATUS A (UIDNEXT 9 UIDVALIDITY 5)\r\nt4 OK\r\nt5 NO what\r\n")],
        vec![send("* STATUS \"C\" (UIDVALIDITY 6 UIDNEXT 900)\r\nt6 OK\r\n")],
    ]
    .concat()]);
    let mut house = house(&server);
    house.imap.look(SEEN).await.unwrap();
    let folders = [
        ("A".to_owned(), Some(Mark { validity: 5, uid_next: 9 })),
        ("B".to_owned(), None),
        ("C".to_owned(), None),
    ];
    let found = house.imap.look_into(&folders).await.unwrap();
    let found: Vec<_> = found.iter().map(|f| (f.folder.as_str(), f.mark.validity, f.mark.uid_next)).collect();
    assert_eq!(found, [("B", 0, 1), ("C", 6, 900)]);
    server.assert_followed();
}

#[tokio::test]
async fn the_folder_for_junk_is_the_configured_or_the_marked_one_if_it_is_there() {
    let marked = |lines: &str| vec![expect("LIST \"\" \"*\""), send(format!("{lines}$1 OK listed\r\n"))];
    let status = |lines: &str, end: &str| {
        vec![expect("STATUS \"Spam &AOk-\" (MESSAGES)"), send(format!("{lines}$1 {end}\r\n"))]
    };
    let inbox = "* LIST (\\HasNoChildren) \"/\" INBOX\r\n";
    for (configured, dialogue, found) in [
        (None, marked(inbox), None),
        (None, marked(&format!("{inbox}* LIST (\\Junk) \"/\" Bulk\r\n")), Some("Bulk")),
        (Some("Spam &AOk-"), status("* STATUS \"Spam &AOk-\" (MESSAGES 3)\r\n", "OK"), Some("Spam &AOk-")),
        (Some("Spam &AOk-"), status("", "NO there is none"), None),
    ] {
        let server = Scripted::start([[login(""), dialogue].concat()]);
        let mut house = house(&server);
        house.imap.settings.junk = configured.map(str::to_owned);
        assert_eq!(house.imap.junk_folder().await.unwrap().as_deref(), found);
    }
}

#[tokio::test]
async fn copies_of_what_was_sent_are_looked_for_where_the_server_keeps_them() {
    let ids: Vec<crate::message::MessageId> =
        ["1.a@example.com", "2.b@example.com", "3.c@example.com", "4.d@example.com"]
            .map(|id| crate::message::MessageId::parse(id).unwrap())
            .to_vec();
    let search = |id: &str, answer: &str| {
        vec![expect(&format!("UID SEARCH HEADER Message-ID \"<{id}>\"")), send(format!("{answer}\r\n"))]
    };
    let server = Scripted::start([[
        login("SPECIAL-USE LIST-EXTENDED"),
        vec![expect("LIST (SPECIAL-USE) \"\" \"*\"")],
        vec![send("* LIST (\\Junk) \"/\" Bulk\r\n* LIST (\\Sent) \"/\" \"Sent Mail\"\r\n$1 OK\r\n")],
        vec![expect("EXAMINE \"Sent Mail\""), send("* 9 EXISTS\r\n$1 OK [READ-ONLY]\r\n")],
        search("1.a@example.com", "* SEARCH 4 17\r\n$1 OK"),
        search("2.b@example.com", "* SEARCH\r\n$1 OK"),
        // Refused, whatever it has said before: it is not known.
        search("3.c@example.com", "* SEARCH 5\r\n$1 NO not today"),
        search("4.d@example.com", "* SEARCH 6\r\n* 10 EXISTS\r\n$1 OK"),
    ]
    .concat()]);
    let mut house = house(&server);
    let sent = house.imap.sent_folder().await.unwrap().unwrap();
    assert_eq!(sent, "Sent Mail");
    let found = house.imap.mails_of(&sent, &ids).await.unwrap();
    assert_eq!(found, [ids[0].clone(), ids[3].clone()]);
    server.assert_followed();
    // One that is configured and not there is not looked into.
    let status = vec![expect("STATUS \"Outbox\" (MESSAGES)"), send("$1 NO there is none\r\n")];
    let server = Scripted::start([[login(""), status].concat()]);
    let mut other = self::house(&server);
    other.imap.settings.sent = Some("Outbox".into());
    assert_eq!(other.imap.sent_folder().await.unwrap(), None);
}
