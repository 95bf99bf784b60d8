//! The SMTP room against a real Postfix and smtp-sink, and against scripted servers with a certificate of
//! their own. What needs neither is in the room's own tests.

use std::net::{IpAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use privacyd::config::{SmtpConfig, SmtpTls};
use privacyd::mailer::{ConnectError, Letter, Mailer, Outcome, Session};
use privacyd::stop::Stop;
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::certificates::{AUTHORITY, Certificates};
use crate::postfix::{Delivery, Postfix, SmtpSink};
use crate::smtp_script::{EHLO, ENVELOPE_1, Scripted, TAKEN, greeted, play};
use crate::{Need, Scenario, run};

const POSTFIX: &[Need] = &[Need::Postfix, Need::Openssl];
const OPENSSL: &[Need] = &[Need::Openssl];

pub const SCENARIOS: &[Scenario] = &[
    ("plaintext_goes_to_this_machine_only", &[Need::Network], || run(plaintext_goes_to_this_machine_only())),
    ("what_was_said_before_tls_is_forgotten", OPENSSL, || run(what_was_said_before_tls_is_forgotten())),
    ("bytes_behind_the_answer_to_starttls_end_the_connection", OPENSSL, || {
        run(bytes_behind_the_answer_to_starttls_end_the_connection())
    }),
    ("a_certificate_that_does_not_verify_is_refused", OPENSSL, || {
        run(a_certificate_that_does_not_verify_is_refused())
    }),
    ("the_boundary_between_deferred_and_unknown_holds_under_tls", OPENSSL, || {
        run(the_boundary_between_deferred_and_unknown_holds_under_tls())
    }),
    ("a_real_postfix_takes_letters_over_tls_and_starttls", POSTFIX, || {
        run(a_real_postfix_takes_letters_over_tls_and_starttls())
    }),
    ("postfix_delivers_over_plaintext_starttls_and_implicit_tls", POSTFIX, || {
        run(postfix_delivers_over_plaintext_starttls_and_implicit_tls())
    }),
    ("a_sink_takes_two_thousand_letters", &[Need::SmtpSink], || run(a_sink_takes_two_thousand_letters())),
];

/// An address of this machine that is not loopback, if it has one. To connect a UDP socket sends nothing.
pub fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip())
}

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

fn over(tls: SmtpTls, port: u16, authority: impl Into<PathBuf>) -> SmtpConfig {
    SmtpConfig { tls, ca_file: Some(authority.into()), ..settings(port) }
}

fn mailer(settings: SmtpConfig) -> Mailer {
    Mailer::smtp(settings, "mail.example.com".into()).unwrap()
}

async fn connect(settings: SmtpConfig) -> Result<Session, ConnectError> {
    mailer(settings).connect().await
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

fn is_sent(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Sent(_))
}

// ---- TLS, with a script

/// The folder must live as long as the certificates are read.
fn certificates() -> (tempfile::TempDir, Certificates) {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::create(folder.path()).unwrap();
    (folder, certificates)
}

fn acceptor(certificates: &Certificates) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(&certificates.cert).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&certificates.key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    Arc::new(config).into()
}

const STARTTLS: &str =
    "S 220 hello\nC EHLO mail.example.com\nS 250-hello\nS 250-PIPELINING\nS 250 STARTTLS\nC STARTTLS\n";

async fn plaintext_goes_to_this_machine_only() {
    let ip = own_address().unwrap();
    let listener = TcpListener::bind((ip, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let error = connect(SmtpConfig { host: ip.to_string(), ..settings(port) }).await.err().unwrap();
    assert!(matches!(error, ConnectError::Tls(_)), "{error}");
}

async fn what_was_said_before_tls_is_forgotten() {
    let (_folder, certificates) = certificates();
    let script = format!("{STARTTLS}S 220 ready\ntls\n{EHLO}{EHLO}C QUIT\nS 221 bye");
    let server = Scripted::start(&script, Some(acceptor(&certificates))).await;
    let found = mailer(over(SmtpTls::Starttls, server.port, &certificates.ca)).probe().await.unwrap();
    assert_eq!(found, "no PIPELINING, TLS 1.3");
    server.messages().await;
}

/// Of a server that would have gone on with TLS.
async fn bytes_behind_the_answer_to_starttls_end_the_connection() {
    let (_folder, certificates) = certificates();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = acceptor(&certificates);
    let server = tokio::spawn(async move {
        let mut stream = BufReader::new(listener.accept().await.unwrap().0);
        let script = format!("{STARTTLS}raw 220 go\\r\\n250 injected\\r\\n\n");
        play(&script, &mut stream, &mut Vec::new()).await;
        acceptor.accept(stream.into_inner()).await.is_ok()
    });
    let error = connect(over(SmtpTls::Starttls, port, &certificates.ca)).await.err().unwrap();
    assert_eq!(error, ConnectError::Tls("The server sent more than it was asked before TLS".into()));
    assert!(!server.await.unwrap(), "TLS was set up all the same");
}

async fn a_certificate_that_does_not_verify_is_refused() {
    let (_folder, certificates) = certificates();
    // Signed by an authority we do not know, and for a name that is not the server's.
    let unknown = over(SmtpTls::Implicit, 0, AUTHORITY);
    let misnamed = SmtpConfig { host: "127.0.0.2".into(), ..over(SmtpTls::Implicit, 0, &certificates.ca) };
    for settings in [unknown, misnamed] {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = acceptor(&certificates);
        let server = tokio::spawn(async move {
            let stream = listener.accept().await.unwrap().0;
            acceptor.accept(stream).await.is_ok()
        });
        let error = connect(SmtpConfig { port: Some(port), ..settings }).await.err().unwrap();
        assert!(matches!(&error, ConnectError::Tls(text) if text.contains("certificate")), "{error}");
        assert!(!server.await.unwrap());
    }
}

async fn the_boundary_between_deferred_and_unknown_holds_under_tls() {
    let (_folder, certificates) = certificates();
    let line = format!("{}\r\n", "x".repeat(98));
    let large = Letter { raw: line.repeat(200_000).into_bytes(), ..letter(1) };
    let cases = [
        ("take 100000\ndrop", Outcome::Deferred("connection lost at the message".into())),
        ("message\ndrop", Outcome::Unknown("connection lost after the message".into())),
    ];
    for (end, expected) in cases {
        let script = format!("tls\n{}{ENVELOPE_1}{TAKEN}{end}", greeted(true));
        let server = Scripted::start(&script, Some(acceptor(&certificates))).await;
        let mut session = connect(over(SmtpTls::Implicit, server.port, &certificates.ca)).await.unwrap();
        assert_eq!(
            session.deliver(&[large.clone(), letter(2)], &Stop::never()).await,
            [expected, Outcome::NotTried]
        );
        server.messages().await;
    }
}

// ---- Real servers

async fn a_real_postfix_takes_letters_over_tls_and_starttls() {
    let (_folder, certificates) = certificates();
    let postfix = Postfix::start("example.org", Delivery::Maildirs, &certificates);
    for (port, tls) in [(postfix.implicit, SmtpTls::Implicit), (postfix.starttls, SmtpTls::Starttls)] {
        let mut session = connect(over(tls, port, &certificates.ca)).await.unwrap();
        assert!(session.deliver(&letters(2), &Stop::never()).await.iter().all(is_sent));
        session.quit().await;
        let refused = connect(over(tls, port, AUTHORITY)).await.err();
        assert!(matches!(refused, Some(ConnectError::Tls(_))), "a certificate that nobody vouches for");
    }
    assert_eq!(postfix.wait_for_mails("p1@example.org", 2).len(), 2);
    assert_eq!(postfix.wait_for_mails("p2@example.org", 2).len(), 2);
}

async fn postfix_delivers_over_plaintext_starttls_and_implicit_tls() {
    let (_folder, certificates) = certificates();
    let postfix = Postfix::start("example.org", Delivery::Maildirs, &certificates);
    let ways = [
        (over(SmtpTls::None, postfix.plain, &certificates.ca), "PIPELINING, no TLS"),
        (over(SmtpTls::Starttls, postfix.starttls, &certificates.ca), "PIPELINING, TLS 1.3"),
        (over(SmtpTls::Implicit, postfix.implicit, &certificates.ca), "PIPELINING, TLS 1.3"),
    ];
    for (settings, about) in ways {
        let mailer = mailer(settings);
        assert_eq!(mailer.probe().await.unwrap(), about);
        let mut session = mailer.connect().await.unwrap();
        let mut batch = letters(6);
        batch[1].recipient = "unknown@example.org".into();
        batch[2].recipient = "ann@elsewhere.example".into();
        batch[3].raw = b"Subject: dots\r\n\r\n.\r\n..\r\n.end\r\n".to_vec();
        let outcomes = session.deliver(&batch, &Stop::never()).await;
        assert!(session.is_open());
        session.quit().await;
        assert_eq!(outcomes.len(), 6);
        for (at, outcome) in outcomes.iter().enumerate() {
            match at {
                1 => assert_eq!(*outcome, Outcome::Bounced("550 5.1.1 at RCPT".into())),
                2 => assert_eq!(*outcome, Outcome::Deferred("554 5.7.1 at RCPT".into())),
                _ => assert_eq!(*outcome, Outcome::Sent("250 2.0.0".into())),
            }
        }
    }
    for id in [1, 4, 5, 6] {
        for mail in postfix.wait_for_mails(&format!("p{id}@example.org"), 3) {
            assert!(mail.starts_with("Return-Path: <>\n"), "{mail}");
            let expected = if id == 4 { "\n\n.\n..\n.end\n".to_owned() } else { format!("\n\nHello {id}\n") };
            assert!(mail.ends_with(&expected), "{mail}");
        }
    }
}

/// Over one session and over eight at once, in small batches and in one go.
async fn a_sink_takes_two_thousand_letters() {
    let sink = SmtpSink::start(&[]);
    let mailer = Arc::new(mailer(settings(sink.port)));
    let raw = format!("{}\r\n", "x".repeat(76)).repeat(25).into_bytes();
    let all: Vec<Letter> =
        letters(2000).into_iter().map(|letter| Letter { raw: raw.clone(), ..letter }).collect();
    for (sessions, batch) in [(1, 8), (1, 2000), (8, 2000)] {
        let mut tasks = Vec::new();
        for share in all.chunks(all.len() / sessions) {
            let (mailer, share) = (Arc::clone(&mailer), share.to_vec());
            tasks.push(tokio::spawn(async move {
                let mut session = mailer.connect().await.unwrap();
                let mut sent = 0;
                for letters in share.chunks(batch) {
                    sent += session
                        .deliver(letters, &Stop::never())
                        .await
                        .iter()
                        .filter(|outcome| is_sent(outcome))
                        .count();
                }
                session.quit().await;
                sent
            }));
        }
        let mut sent = 0;
        for task in tasks {
            sent += task.await.unwrap();
        }
        assert_eq!(sent, all.len(), "{sessions} sessions, batches of {batch}");
    }
}
