//! The SMTP room against scripted servers, for what a real one does not do on demand; `tests/servers` has
//! the real ones, and TLS that comes about.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::smtp::Times;
use super::*;
use crate::config::{SecretSource, SmtpTls};
use smtp_script::{EHLO, ENVELOPE_1, ENVELOPE_2, GREETING, Scripted, TAKEN, greeted, line};

#[path = "../../tests/support/smtp_script.rs"]
mod smtp_script;

// ---- Our side

fn settings(port: u16) -> SmtpConfig {
    SmtpConfig {
        host: "localhost".into(),
        port: Some(port),
        tls: SmtpTls::None,
        ca_file: None,
        username: None,
        password: None,
        helo: None,
        bounce_address: None,
        max_sessions: 8,
        patience: Duration::from_secs(600),
    }
}

fn with_login(port: u16) -> SmtpConfig {
    // Any variable that is always set will do for a password.
    let password = Some(SecretSource::Env("CARGO_PKG_NAME".into()));
    SmtpConfig { username: Some("ann".into()), password, ..settings(port) }
}

/// A mailer that loses patience soon.
fn mailer(settings: SmtpConfig) -> Mailer {
    let patience = Duration::from_millis(300);
    let times = Times {
        connect: patience,
        greet: patience,
        envelope: patience,
        data: patience,
        stall: patience,
        message: patience,
        ending: patience,
        quit: patience,
    };
    let mut mailer = Mailer::smtp(settings, "mail.example.com".into()).unwrap();
    if let Mailer::Smtp(smtp) = &mut mailer {
        smtp.times = times;
    }
    mailer
}

fn letter(id: i64) -> Letter {
    Letter {
        id,
        recipient: format!("p{id}@example.org"),
        raw: format!("Subject: {id}\r\n\r\nHello {id}\r\n").into_bytes(),
        message_id: format!("<{id}@example.com>"),
    }
}

fn letters(count: i64) -> Vec<Letter> {
    (1..=count).map(letter).collect()
}

/// Delivers to a server that, after the greetings, follows `script`; gives the outcomes, whether
/// the session is still open, and the messages that the server took.
async fn deliver(pipelining: bool, script: &str, letters: &[Letter]) -> (Vec<Outcome>, bool, Vec<String>) {
    let server = Scripted::start(&(greeted(pipelining) + script), None).await;
    let mut session = mailer(settings(server.port)).connect().await.unwrap();
    let outcomes = session.deliver(letters, &Stop::never()).await;
    let open = session.is_open();
    drop(session);
    (outcomes, open, server.messages().await)
}

fn sent() -> Outcome {
    Outcome::Sent("250 2.0.0".into())
}
fn deferred(reason: &str) -> Outcome {
    Outcome::Deferred(reason.into())
}
fn bounced(reason: &str) -> Outcome {
    Outcome::Bounced(reason.into())
}
fn unknown(reason: &str) -> Outcome {
    Outcome::Unknown(reason.into())
}

async fn refused(script: &str) -> ConnectError {
    let server = Scripted::start(script, None).await;
    let error = mailer(with_login(server.port)).connect().await.err().expect("a refusal");
    server.messages().await;
    error
}

// ---- Delivering

#[tokio::test]
async fn delivers_one_command_at_a_time_without_pipelining() {
    let script = "
        C MAIL FROM:<>
        S 250 2.1.0 ok
        C RCPT TO:<p1@example.org>
        S 250 2.1.5 ok
        C DATA
        S 354 go
        message
        S 250 2.0.0 queued
        C MAIL
        S 250 ok
        C RCPT TO:<p2@example.org>
        S 251 forwarded
        C DATA
        S 354 go
        message
        S 250-2.0.0 queued
        S 250 2.0.0 really";
    let (outcomes, open, messages) = deliver(false, script, &letters(2)).await;
    assert_eq!(outcomes, [sent(), sent()]);
    assert!(open);
    assert_eq!(messages, ["Subject: 1\r\n\r\nHello 1\r\n", "Subject: 2\r\n\r\nHello 2\r\n"]);
}

#[tokio::test]
async fn pipelines_the_next_envelope_behind_the_message() {
    // The server answers a group only once it has all of it.
    let script = format!(
        "{ENVELOPE_1}{TAKEN}message\n{ENVELOPE_2}S 250 2.0.0 queued\n{TAKEN}message\nS 250 2.0.0 queued\nC QUIT\nS 221 bye"
    );
    let server = Scripted::start(&(greeted(true) + &script), None).await;
    let mut session = mailer(settings(server.port)).connect().await.unwrap();
    assert_eq!(session.deliver(&letters(2), &Stop::never()).await, [sent(), sent()]);
    session.quit().await;
    assert_eq!(server.messages().await.len(), 2);
}

#[tokio::test]
async fn a_session_takes_one_batch_after_the_other() {
    let once = format!("{ENVELOPE_1}{TAKEN}message\nS 250 2.0.0 queued\n");
    let server = Scripted::start(&(greeted(true) + &once + &once), None).await;
    let mut session = mailer(settings(server.port)).connect().await.unwrap();
    assert_eq!(session.deliver(&letters(1), &Stop::never()).await, [sent()]);
    assert_eq!(session.deliver(&[], &Stop::never()).await, []);
    assert_eq!(session.deliver(&letters(1), &Stop::never()).await, [sent()]);
    drop(session);
    assert_eq!(server.messages().await.len(), 2);
}

#[tokio::test]
async fn dots_are_doubled_and_the_end_is_exact() {
    let mut odd = letter(1);
    odd.raw = b".\r\n..\r\na.\r\n.b\r\n\r\n.".to_vec();
    let script = format!("{ENVELOPE_1}{TAKEN}message\nS 250 2.0.0 ok");
    let (outcomes, _, messages) = deliver(true, &script, &[odd]).await;
    assert_eq!(outcomes, [sent()]);
    assert_eq!(messages, ["..\r\n...\r\na.\r\n..b\r\n\r\n..\r\n"]);
}

#[tokio::test]
async fn the_bounce_address_is_the_envelope_sender() {
    let server =
        Scripted::start(&(greeted(true) + "C MAIL FROM:<bounces@example.com>\nS 451 no\nclose"), None).await;
    let mut settings = settings(server.port);
    settings.bounce_address = Some("bounces@example.com".parse().unwrap());
    let mut session = mailer(settings).connect().await.unwrap();
    assert_eq!(session.deliver(&letters(1), &Stop::never()).await, [deferred("451 at MAIL")]);
    server.messages().await;
}

#[tokio::test]
async fn unfit_letters_never_reach_the_wire() {
    let mut batch = letters(1);
    let recipients =
        ["", "x", "@example.org", "x@", "a b@c.org", "a>@c.org", "a@b\r\nDATA", "ü@c.org", "a\0@c.org"];
    for recipient in recipients {
        batch.push(Letter { recipient: recipient.into(), ..letter(9) });
    }
    let raws: [&[u8]; 7] =
        [b"", b"a\nb\r\n", b"a\rb\r\n", b"a\r\n.\n", b"\xfc\r\n", "ü\r\n".as_bytes(), b"\0\r\n"];
    for raw in raws {
        batch.push(Letter { raw: raw.into(), ..letter(9) });
    }
    batch.push(Letter { raw: [b'x'; 999].into(), ..letter(9) });
    let script = format!("{ENVELOPE_1}{TAKEN}message\nS 250 2.0.0 ok");
    let (outcomes, open, messages) = deliver(true, &script, &batch).await;
    let (first, others) = outcomes.split_first().unwrap();
    assert_eq!(*first, sent());
    assert!(others.iter().all(|outcome| matches!(outcome, Outcome::Bounced(_))), "{others:?}");
    assert!(open);
    assert_eq!(messages.len(), 1);
}

// ---- Every stage, every kind of bad answer

/// What the server does at the stage under test, and what becomes of the letter.
struct Answer {
    steps: &'static str,
    /// Outcome at MAIL, RCPT, DATA, and after the message; "@" stands for the stage.
    outcomes: [&'static str; 4],
    /// Whether the conversation goes on.
    goes_on: bool,
}

const ANSWERS: &[Answer] = &[
    Answer {
        steps: "S 451 4.3.0 later",
        outcomes: ["D 451 4.3.0 @", "D 451 4.3.0 @", "D 451 4.3.0 @", "D 451 4.3.0 @"],
        goes_on: true,
    },
    Answer {
        steps: "S 550 5.1.1 never",
        outcomes: ["D 550 5.1.1 @", "B 550 5.1.1 @", "B 550 5.1.1 @", "B 550 5.1.1 @"],
        goes_on: true,
    },
    Answer {
        steps: "S 550-5.2.1 never\nS 550-5.2.1 at\nS 550 5.2.1 all",
        outcomes: ["D 550 5.2.1 @", "B 550 5.2.1 @", "B 550 5.2.1 @", "B 550 5.2.1 @"],
        goes_on: true,
    },
    Answer {
        steps: "S 421 4.3.2 closing\nclose",
        outcomes: ["D 421 4.3.2 @", "D 421 4.3.2 @", "D 421 4.3.2 @", "D 421 4.3.2 @"],
        goes_on: false,
    },
    Answer {
        steps: "close",
        outcomes: ["D connection lost @", "D connection lost @", "D connection lost @", "U connection lost"],
        goes_on: false,
    },
    Answer {
        steps: "raw 250-2.0.0 half a reply\\r\\n\nclose",
        outcomes: ["D connection lost @", "D connection lost @", "D connection lost @", "U connection lost"],
        goes_on: false,
    },
    Answer {
        steps: "stall",
        outcomes: ["D timeout @", "D timeout @", "D timeout @", "U timeout"],
        goes_on: false,
    },
    Answer {
        steps: "S wat?\nstall",
        outcomes: [
            "D unintelligible reply @",
            "D unintelligible reply @",
            "D unintelligible reply @",
            "U unintelligible reply",
        ],
        goes_on: false,
    },
    // Not for this command: 250 where 354 belongs, and the other way round.
    Answer {
        steps: "S 354 go\nstall",
        outcomes: ["D unintelligible reply @", "D unintelligible reply @", "", "U unintelligible reply"],
        goes_on: false,
    },
    Answer {
        steps: "S 250 2.0.0 ok\nstall",
        outcomes: ["", "", "D unintelligible reply @", ""],
        goes_on: false,
    },
    Answer {
        steps: "S 221 bye\nstall",
        outcomes: [
            "D unintelligible reply @",
            "D unintelligible reply @",
            "D unintelligible reply @",
            "U unintelligible reply",
        ],
        goes_on: false,
    },
];

const STAGES: [&str; 4] = ["MAIL", "RCPT", "DATA", "the message"];

fn outcome(text: &str, stage: &str) -> Outcome {
    let (kind, reason) = text.split_once(' ').unwrap();
    let reason = reason.replace('@', &format!("at {stage}"));
    match kind {
        "D" => Outcome::Deferred(reason),
        "B" => Outcome::Bounced(reason),
        _ => Outcome::Unknown(format!("{reason} after the message")),
    }
}

#[tokio::test]
async fn every_bad_answer_at_every_stage_without_pipelining() {
    let commands = ["C MAIL\n", "C RCPT\n", "C DATA\n", "message\n"];
    let replies = ["S 250 ok\n", "S 250 ok\n", "S 354 go\n"];
    for answer in ANSWERS {
        for (at, stage) in STAGES.iter().enumerate() {
            if answer.outcomes[at].is_empty() {
                continue;
            }
            let before: String = (0..at).map(|i| format!("{}{}", commands[i], replies[i])).collect();
            let mut script = format!("{before}{}{}\n", commands[at], answer.steps);
            if answer.goes_on {
                if *stage != "the message" {
                    script += "C RSET\nS 250 ok\n";
                }
                script +=
                    "C MAIL\nS 250 ok\nC RCPT TO:<p2@\nS 250 ok\nC DATA\nS 354 go\nmessage\nS 250 2.0.0 ok";
            }
            let expected = outcome(answer.outcomes[at], stage);
            check_batch(false, &script, expected, answer.goes_on).await;
        }
    }
}

#[tokio::test]
async fn every_bad_answer_at_every_stage_with_pipelining() {
    for answer in ANSWERS {
        for (at, stage) in STAGES.iter().enumerate() {
            if answer.outcomes[at].is_empty() {
                continue;
            }
            // What a real server says to the commands behind the one it refused.
            let script = match (at, answer.goes_on) {
                (0, true) => format!(
                    "{ENVELOPE_1}{}\nS 503 5.5.1 need MAIL\nS 503 5.5.1 need RCPT\nC RSET\n",
                    answer.steps
                ),
                (1, true) => format!(
                    "{ENVELOPE_1}S 250 ok\n{}\nS 554 5.5.1 no valid recipients\nC RSET\n",
                    answer.steps
                ),
                (2, true) => format!("{ENVELOPE_1}S 250 ok\nS 250 ok\n{}\nC RSET\n", answer.steps),
                (3, _) => format!("{ENVELOPE_1}{TAKEN}message\n{ENVELOPE_2}{}\n", answer.steps),
                _ => format!("{ENVELOPE_1}{}{}\n", "S 250 ok\n".repeat(at), answer.steps),
            };
            let rest = match (at, answer.goes_on) {
                (_, false) => String::new(),
                (3, true) => format!("{TAKEN}message\nS 250 2.0.0 ok"),
                (_, true) => format!("{ENVELOPE_2}S 250 reset\n{TAKEN}message\nS 250 2.0.0 ok"),
            };
            check_batch(true, &(script + &rest), outcome(answer.outcomes[at], stage), answer.goes_on).await;
        }
    }
}

/// Two letters: the first meets `expected`, the second is sent if the conversation goes on.
async fn check_batch(pipelining: bool, script: &str, expected: Outcome, goes_on: bool) {
    let (outcomes, open, _) = deliver(pipelining, script, &letters(2)).await;
    let second = if goes_on { sent() } else { Outcome::NotTried };
    assert_eq!(outcomes, [expected, second], "{script}");
    assert_eq!(open, goes_on, "{script}");
}

#[tokio::test]
async fn a_refused_recipient_whose_data_was_granted_gets_a_lone_dot() {
    // RFC 2920 §3.1. The server takes the empty message or not; it is for nobody.
    for verdict in ["250 2.0.0 ok", "554 5.5.1 no valid recipients"] {
        let script = format!(
            "{ENVELOPE_1}S 250 ok\nS 550 5.1.1 unknown\nS 354 go\nmessage\n{ENVELOPE_2}S {verdict}\n{TAKEN}message\nS 250 2.0.0 ok"
        );
        let (outcomes, open, messages) = deliver(true, &script, &letters(2)).await;
        assert_eq!(outcomes, [bounced("550 5.1.1 at RCPT"), sent()]);
        assert!(open);
        assert_eq!(messages, ["", "Subject: 2\r\n\r\nHello 2\r\n"]);
    }
}

#[tokio::test]
async fn an_umlaut_in_latin_1_does_not_hide_a_refusal() {
    let script = format!(
        "{ENVELOPE_1}S 250 ok\nraw 550 5.1.1 unbekannter Empfänger\\r\\n\nS 554 no\nC RSET\nS 250 ok"
    );
    let (outcomes, open, _) = deliver(true, &script, &letters(1)).await;
    assert_eq!(outcomes, [bounced("550 5.1.1 at RCPT")]);
    assert!(open);
}

#[tokio::test]
async fn what_follows_a_refusal_does_not_change_it() {
    for after in ["S 421 4.7.0 too many errors\nclose", "close", "stall", "S wat?\nstall"] {
        let script = format!("{ENVELOPE_1}S 250 ok\nS 550 5.1.1 unknown\n{after}");
        let (outcomes, open, _) = deliver(true, &script, &letters(2)).await;
        assert_eq!(outcomes, [bounced("550 5.1.1 at RCPT"), Outcome::NotTried], "{after}");
        assert!(!open);
        let script = format!("{ENVELOPE_1}S 250 ok\nS 550 5.1.1 unknown\nS 554 no\nC RSET\n{after}");
        let (outcomes, open, _) = deliver(true, &script, &letters(2)).await;
        assert_eq!(outcomes, [bounced("550 5.1.1 at RCPT"), Outcome::NotTried], "{after}");
        assert!(!open);
    }
}

#[tokio::test]
async fn a_closed_session_tries_nothing() {
    let server = Scripted::start(&(greeted(true) + ENVELOPE_1 + "close"), None).await;
    let mut session = mailer(settings(server.port)).connect().await.unwrap();
    assert_eq!(session.deliver(&letters(1), &Stop::never()).await, [deferred("connection lost at MAIL")]);
    assert!(!session.is_open());
    assert_eq!(session.deliver(&letters(2), &Stop::never()).await, [Outcome::NotTried, Outcome::NotTried]);
    session.quit().await;
}

#[tokio::test]
async fn a_deliver_dropped_half_way_closes_the_connection() {
    let server = Scripted::start(&(greeted(true) + ENVELOPE_1 + TAKEN + "message\nstall"), None).await;
    let mut session = mailer(settings(server.port)).connect().await.unwrap();
    let batch = letters(1);
    let patience = Duration::from_millis(100);
    assert!(tokio::time::timeout(patience, session.deliver(&batch, &Stop::never())).await.is_err());
    assert!(!session.is_open());
    assert_eq!(session.deliver(&batch, &Stop::never()).await, [Outcome::NotTried]);
    server.messages().await;
}

// ---- After the last byte

#[tokio::test]
async fn a_connection_lost_after_the_message_is_of_unknown_fate() {
    for (pipelining, ask) in [(true, ENVELOPE_1.to_owned() + TAKEN), (false, one_by_one())] {
        let script = format!("{ask}message\nclose");
        let (outcomes, open, messages) = deliver(pipelining, &script, &letters(2)).await;
        assert_eq!(outcomes, [unknown("connection lost after the message"), Outcome::NotTried]);
        assert!(!open);
        assert_eq!(messages.len(), 1);
    }
}

fn one_by_one() -> String {
    "C MAIL FROM:<>\nS 250 ok\nC RCPT TO:<p1@example.org>\nS 250 ok\nC DATA\nS 354 go\n".into()
}

// ---- Large messages

fn large() -> Letter {
    let line = format!("{}\r\n", "x".repeat(98));
    Letter { raw: line.repeat(200_000).into_bytes(), ..letter(1) }
}

#[tokio::test]
async fn a_connection_lost_within_the_message_defers() {
    let script = format!("{ENVELOPE_1}{TAKEN}take 100000\ndrop");
    let (outcomes, open, _) = deliver(true, &script, &[large(), letter(2)]).await;
    assert_eq!(outcomes, [deferred("connection lost at the message"), Outcome::NotTried]);
    assert!(!open);
}

#[tokio::test]
async fn a_server_that_stops_reading_within_the_message_defers() {
    // A script's "stall" reads on; this server must not.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let mut stream = BufReader::new(listener.accept().await.unwrap().0);
        play_up_to_354(&mut stream).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
    });
    let mut session = mailer(settings(port)).connect().await.unwrap();
    assert_eq!(session.deliver(&[large()], &Stop::never()).await, [deferred("timeout at the message")]);
    server.abort();
}

#[tokio::test]
async fn a_slow_reader_gets_all_the_time_it_needs() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let mut stream = BufReader::with_capacity(64 * 1024, listener.accept().await.unwrap().0);
        play_up_to_354(&mut stream).await;
        let mut left = large().raw.len() + ".\r\n".len();
        let mut chunk = vec![0; 1024 * 1024];
        // About twice the patience of our side, all in all.
        while left > 0 {
            tokio::time::sleep(Duration::from_millis(30)).await;
            let some = chunk.len().min(left);
            stream.read_exact(&mut chunk[..some]).await.unwrap();
            left -= some;
        }
        stream.get_mut().write_all(b"250 2.0.0 ok\r\n").await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
    });
    let mut session = mailer(settings(port)).connect().await.unwrap();
    let start = Instant::now();
    assert_eq!(session.deliver(&[large()], &Stop::never()).await, [sent()]);
    assert!(start.elapsed() > Duration::from_millis(400), "{:?}", start.elapsed());
    drop(session);
    server.await.unwrap();
}

async fn play_up_to_354(stream: &mut BufReader<TcpStream>) {
    for step in (greeted(true) + ENVELOPE_1 + TAKEN).lines() {
        match step.split_once(' ').unwrap() {
            ("S", text) => stream.get_mut().write_all(format!("{text}\r\n").as_bytes()).await.unwrap(),
            _ => drop(line(stream).await),
        }
    }
}

// ---- Connecting

#[tokio::test]
async fn greeting_and_ehlo_decide() {
    use ConnectError::{Refused, Unreachable};
    let cases = [
        ("S 554 5.7.1 go away\nclose", Refused("The server refuses the connection (554 5.7.1)".into())),
        (
            "S 421-4.3.2 too\nS 421 4.3.2 busy\nclose",
            Refused("The server refuses the connection (421 4.3.2)".into()),
        ),
        ("close", Unreachable("The server broke off the connection".into())),
        ("stall", Unreachable("localhost does not answer".into())),
        ("S SSH-2.0-OpenSSH_9.2\nstall", Refused("The server's answer to the connection is not SMTP".into())),
        (
            "S 220 hi\nC EHLO\nS 502 5.5.1 what\nclose",
            Refused("The server refuses the connection (502 5.5.1)".into()),
        ),
        ("S 220 hi\nC EHLO\nclose", Unreachable("The server broke off the connection".into())),
        ("S 220 hi\nC EHLO\nstall", Unreachable("localhost does not answer".into())),
        (
            "S 220 hi\nC EHLO\nS 250-hello\nS 550 two codes\nclose",
            Refused("The server's answer to the connection is not SMTP".into()),
        ),
    ];
    for (script, expected) in cases {
        assert_eq!(refused(script).await, expected, "{script}");
    }
}

#[tokio::test]
async fn an_endless_line_ends_the_connection() {
    let script = format!("raw 220 {}\nstall", "x".repeat(100_000));
    assert_eq!(
        refused(&script).await,
        ConnectError::Unreachable("The server broke off the connection".into())
    );
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let error = mailer(settings(port)).connect().await.err().unwrap();
    assert!(matches!(&error, ConnectError::Unreachable(sentence) if sentence.contains("refused")), "{error}");
}

const EHLO_AUTH: &str =
    "C EHLO\nS 250-hello\nS 250 AUTH LOGIN PLAIN\nC EHLO\nS 250-hello\nS 250 AUTH LOGIN PLAIN\n";

#[tokio::test]
async fn logs_in() {
    // \0ann\0scratch-mailer or \0ann\0privacyd: the name of this package.
    let script = format!("{GREETING}{EHLO_AUTH}C AUTH PLAIN AGFubgB\nS 235 2.7.0 welcome\nC QUIT\nS 221 bye");
    let server = Scripted::start(&script, None).await;
    let found = mailer(with_login(server.port)).probe().await.unwrap();
    assert_eq!(found, "no PIPELINING, no TLS, logged in");
    server.messages().await;
}

#[tokio::test]
async fn logs_in_by_login_where_plain_is_missing() {
    let ehlo = EHLO_AUTH.replace(" PLAIN", "");
    let script = format!(
        "{GREETING}{ehlo}C AUTH LOGIN\nS 334 VXNlcm5hbWU6\nC YW5u\nS 334 UGFzc3dvcmQ6\nC \nS 235 2.7.0 welcome\nC QUIT\nS 221 bye"
    );
    let server = Scripted::start(&script, None).await;
    mailer(with_login(server.port)).probe().await.unwrap();
    server.messages().await;
}

#[tokio::test]
async fn a_refused_login_is_told_from_a_login_for_later() {
    use ConnectError::{LoginRefused, Refused, Unreachable};
    let cases = [
        ("S 535 5.7.8 wrong\nclose", LoginRefused("The server refuses our login (535 5.7.8)".into())),
        ("S 454 4.7.0 later\nclose", Refused("The server refuses our login (454 4.7.0)".into())),
        ("S 421 4.7.0 too many\nclose", Refused("The server refuses our login (421 4.7.0)".into())),
        ("close", Unreachable("The server broke off the connection".into())),
        ("stall", Unreachable("localhost does not answer".into())),
        ("S 334 \nstall", Refused("The server's answer to our login is not SMTP".into())),
    ];
    for (answer, expected) in cases {
        let error = refused(&format!("{GREETING}{EHLO_AUTH}C AUTH PLAIN\n{answer}")).await;
        assert_eq!(error, expected, "{answer}");
    }
    let error = refused(&format!("{GREETING}{EHLO}{EHLO}")).await;
    assert_eq!(error, LoginRefused("The server offers neither AUTH PLAIN nor LOGIN".into()));
}

#[test]
fn a_name_that_would_break_ehlo_is_refused() {
    for helo in ["", "a b", "a\r\nQUIT", "ü.example"] {
        assert!(Mailer::smtp(settings(25), helo.into()).is_err(), "{helo:?}");
    }
    let host = "not a host".to_owned();
    assert!(Mailer::smtp(SmtpConfig { host, ..settings(25) }, "a.example".into()).is_err());
}

#[tokio::test]
async fn what_keeps_a_session_from_opening_is_told_apart() {
    assert!(matches!(refused("S 421 busy\nclose").await, ConnectError::Refused(_)));
    assert!(matches!(refused("S 554 no\nclose").await, ConnectError::Refused(_)));
    assert!(matches!(refused("S hello\nclose").await, ConnectError::Refused(_)));
    assert!(matches!(refused("close").await, ConnectError::Unreachable(_)));
    let ehlo = "C EHLO mail.example.com\nS 250-hello\nS 250 AUTH PLAIN\n";
    let login = format!("{GREETING}{ehlo}{ehlo}C AUTH PLAIN\nS 535 5.7.8 no\n");
    assert!(matches!(refused(&login).await, ConnectError::LoginRefused(_)));
    let without = format!("{GREETING}{EHLO}{EHLO}");
    assert!(matches!(refused(&without).await, ConnectError::LoginRefused(_)));
}

// ---- Before TLS

/// With STARTTLS. No handshake comes about: nobody's certificate verifies.
fn starttls(port: u16) -> SmtpConfig {
    let authority = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/authority.pem");
    SmtpConfig { tls: SmtpTls::Starttls, ca_file: Some(authority.into()), ..settings(port) }
}

#[tokio::test]
async fn a_server_without_starttls_is_refused_when_it_is_required() {
    let server = Scripted::start("S 220 hello\nC EHLO\nS 250 hello\nclose", None).await;
    assert!(matches!(mailer(starttls(server.port)).connect().await.err(), Some(ConnectError::Tls(_))));
}

const STARTTLS: &str =
    "S 220 hello\nC EHLO mail.example.com\nS 250-hello\nS 250-PIPELINING\nS 250 STARTTLS\nC STARTTLS\n";

#[tokio::test]
async fn nothing_may_follow_the_go_ahead_for_tls() {
    use ConnectError::{Refused, Tls, Unreachable};
    let injected = Tls("The server sent more than it was asked before TLS".into());
    let long = format!("raw 220-{}\\r\\n\nstall", "x".repeat(5000));
    let silent = Unreachable("localhost does not answer".into());
    let broken = Unreachable("The connection broke off before TLS".into());
    let cases = [
        (format!("{STARTTLS}raw 220 ready\\r\\n250 injected\\r\\n\nstall"), injected.clone()),
        (format!("{STARTTLS}raw 220 ready\\r\\n2\nstall"), injected.clone()),
        ("raw 220 hi\\r\\n250 STARTTLS\\r\\n\nstall".into(), injected),
        (format!("{STARTTLS}S 454 4.7.0 no\nstall"), Tls("The server refuses STARTTLS (454)".into())),
        (format!("{STARTTLS}S 250 ok\nstall"), Tls("The server refuses STARTTLS (250)".into())),
        (format!("{GREETING}{EHLO}"), Tls("The server does not offer STARTTLS".into())),
        (format!("{GREETING}C EHLO\nS 502 no\nstall"), Refused("The server refuses EHLO (502)".into())),
        ("S 421 busy\nclose".into(), Refused("The server refuses the connection (421)".into())),
        ("S wat?\nstall".into(), Refused("The server does not speak SMTP".into())),
        (long, Refused("The server does not speak SMTP".into())),
        (format!("{STARTTLS}stall"), silent.clone()),
        (format!("{STARTTLS}S 220 ready\nstall"), silent),
        (format!("{STARTTLS}close"), broken.clone()),
        ("close".into(), broken),
    ];
    for (script, expected) in cases {
        let server = Scripted::start(&script, None).await;
        let error = mailer(starttls(server.port)).connect().await.err().unwrap();
        assert_eq!(error, expected, "{script}");
        server.messages().await;
    }
}

// ---- Being asked to end

/// Delivers two letters to a server that follows `script`, asks us to end, and says nothing more.
async fn deliver_until_stopped(script: &str, letters: &[Letter]) -> (Vec<Outcome>, bool) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (ask, stopped) = tokio::sync::watch::channel(false);
    let (finish, done) = tokio::sync::oneshot::channel::<()>();
    let script = greeted(true) + script;
    let server = tokio::spawn(async move {
        let mut stream = BufReader::new(listener.accept().await.unwrap().0);
        smtp_script::play(&script, &mut stream, &mut Vec::new()).await;
        ask.send(true).unwrap();
        // Not a byte is read any more: a text that is not yet out stays where it is.
        let _ = done.await;
    });
    let mut mailer = mailer(settings(port));
    if let Mailer::Smtp(smtp) = &mut mailer {
        let (ending, long) = (Duration::from_millis(200), Duration::from_secs(600));
        smtp.times = Times { ending, envelope: long, data: long, stall: long, message: long, ..smtp.times };
    }
    let mut session = mailer.connect().await.unwrap();
    let stop = Stop::from(stopped);
    let delivering = session.deliver(letters, &stop);
    let outcomes = tokio::time::timeout(Duration::from_secs(30), delivering).await.expect("the bound");
    let open = session.is_open();
    drop((session, finish));
    server.await.unwrap();
    (outcomes, open)
}

#[tokio::test]
async fn asked_to_end_it_gives_up_after_a_bounded_time_and_says_what_is_known() {
    let large = Letter { raw: format!("{}\r\n", "x".repeat(98)).repeat(200_000).into_bytes(), ..letter(1) };
    for (script, first, expected) in [
        ("C MAIL\n".to_owned(), letter(1), Outcome::NotTried),
        (format!("{ENVELOPE_1}{TAKEN}take 100000\n"), large, deferred("stopped at the message")),
        (format!("{ENVELOPE_1}{TAKEN}message\n"), letter(1), unknown("stopped after the message")),
        // The next letter is announced and granted, and nobody waits for its message.
        (format!("{ENVELOPE_1}{TAKEN}message\n{ENVELOPE_2}S 250 2.0.0 ok\nS 250 ok\n"), letter(1), sent()),
    ] {
        let (outcomes, open) = deliver_until_stopped(&script, &[first, letter(2)]).await;
        assert_eq!(outcomes, [expected, Outcome::NotTried], "{script}");
        assert!(!open, "{script}");
    }
}
