//! DKIM signatures checked by privacyd itself: really signed mails, a scripted name server on loopback.

use std::time::Duration;

use jiff::Timestamp;
use mail_auth::common::crypto::{Ed25519Key, RsaKey, Sha256, SigningKey};
use mail_auth::common::headers::HeaderWriter;
use mail_auth::dkim::{Canonicalization, DkimSigner, Done};
use privacyd::mailbox::{Body, Fetched, MailId, Window};
use privacyd::sender::Address;
use privacyd::verify::{MAIL_TIMEOUT, Verifier, WINDOW_TIMEOUT};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

#[path = "support/corridor.rs"]
mod corridor;
#[path = "support/dns.rs"]
mod dns;

use corridor::House;
use dns::{Answer, Dns};

/// A key for these tests alone, and its public half.
const RSA: &str = include_str!("support/dkim.pem");
const RSA_PUBLIC: &str = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEApKOZPnl66kQfmuRi3HqgSSuNW4HygfxH0HyhK7MI05Up7TGvqK70zITnaK8oOpT/GaWD5yBGSbNux0jRUZPlWyw23A8TzDJpWodraTPb9rFeB8ppwcoCx8UucpAbtsydigMqxgvNP/C+H3kr4xzVq75fCrryo13b/FppMguprABE5Ge7PcN1eZNmGwHIAXVY5RCqCZO3Q46HoKjZ/yLKSGmCWhvayoSaNr70/4EGgydJGAns+IA4oml8NtrTsHdsOERdTX9cRiROzkc2FssyMH3odMlc5bz51KFfzU+rRDh6uF5SbHWF/xLvlVS7NwSeABI89k+zAPEzcFHhIoeF6wIDAQAB";

const LETTER: &str = "From: Jane Doe <jane@example.org>\r\nTo: privacy@example.com\r\nSubject: My data\r\n\
    Message-ID: <1@example.org>\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n\r\nPlease delete all my personal data.\r\n\r\n-- \r\nJane\r\n";

fn rsa() -> RsaKey<Sha256> {
    let der = PrivatePkcs8KeyDer::from_pem_slice(RSA.as_bytes()).unwrap();
    RsaKey::from_key_der(PrivateKeyDer::Pkcs8(der)).unwrap()
}

fn rsa_record() -> Answer {
    Answer::Txt(format!("v=DKIM1; k=rsa; p={RSA_PUBLIC}"))
}

fn signer(domain: &str) -> DkimSigner<RsaKey<Sha256>, Done> {
    DkimSigner::from_key(rsa()).domain(domain).selector("mail").headers(["From", "To", "Subject", "Date"])
}

/// The letter with the signature on top.
fn sign<T: SigningKey>(signer: &DkimSigner<T, Done>, letter: &str) -> String {
    format!("{}{letter}", signer.sign(letter.as_bytes()).unwrap().to_header())
}

fn signed() -> String {
    sign(&signer("example.org"), LETTER)
}

/// Asks this server, and has the daemon's time for it.
fn verifier(server: &Dns) -> Verifier {
    Verifier::new(Some(server.socket()), MAIL_TIMEOUT, WINDOW_TIMEOUT).unwrap()
}

/// `proof: why` for a mail from jane@example.org, with these answers of the name server.
async fn check_at(now: Timestamp, mail: &str, answers: &[(&str, Answer)]) -> String {
    let server = Dns::scripted(answers);
    let verifier = verifier(&server);
    let from = "jane@example.org".parse().unwrap();
    let evidence = verifier.check(mail.as_bytes(), &from, now).await;
    format!("{}: {}", evidence.proof.name(), evidence.why)
}

async fn check(mail: &str, answers: &[(&str, Answer)]) -> String {
    check_at(Timestamp::now(), mail, answers).await
}

const KEY: &str = "mail._domainkey.example.org";
const PASS: &str = "dkim: our own check: dkim=pass for the From domain";

#[tokio::test]
async fn a_valid_signature_of_the_from_domain_is_proof() {
    let answers = [(KEY, rsa_record())];
    assert_eq!(check(&signed(), &answers).await, PASS);
    for canonicalization in [Canonicalization::Simple, Canonicalization::Relaxed] {
        let signer = signer("example.org")
            .header_canonicalization(canonicalization)
            .body_canonicalization(canonicalization)
            .expiration(600);
        let mail = sign(&signer, LETTER);
        assert_eq!(check(&mail, &answers).await, PASS);
        // As Postfix puts it into a Maildir.
        assert_eq!(check(&mail.replace("\r\n", "\n"), &answers).await, PASS);
        // What servers put on top on the way is not signed.
        assert_eq!(check(&format!("Received: by x\r\n{mail}"), &answers).await, PASS);
    }
    let ed25519 = Ed25519Key::from_pkcs8_der(&Ed25519Key::generate_pkcs8().unwrap()).unwrap();
    let public = data_encoding::BASE64.encode(&ed25519.public_key());
    let signer = DkimSigner::from_key(ed25519).domain("example.org").selector("new");
    let signer = signer.headers(["From", "Subject"]);
    let record = Answer::Txt(format!("v=DKIM1; k=ed25519; p={public}"));
    assert_eq!(check(&sign(&signer, LETTER), &[("new._domainkey.example.org", record.clone())]).await, PASS);
    let changed = sign(&signer, LETTER).replace("delete all", "delete no");
    assert_ne!(check(&changed, &[("new._domainkey.example.org", record)]).await, PASS);
}

#[tokio::test]
async fn keys_are_found_behind_an_alias_and_over_tcp() {
    let text = format!("v=DKIM1; k=rsa; p={RSA_PUBLIC}");
    let alias = Answer::Alias("mail-example-org._domainkey.example.net", text.clone());
    assert_eq!(check(&signed(), &[(KEY, alias)]).await, PASS);
    assert_eq!(check(&signed(), &[(KEY, Answer::Long(text))]).await, PASS);
}

#[tokio::test]
async fn one_of_a_domain_above_is_proof_and_others_are_not_even_looked_up() {
    let above = LETTER.replace("jane@example.org", "jane@mail.example.org");
    let mail = sign(&signer("example.org"), &above);
    let server = Dns::scripted(&[(KEY, rsa_record()), ("mail._domainkey.example.net", rsa_record())]);
    let verifier = verifier(&server);
    let from = "jane@mail.example.org".parse().unwrap();
    let evidence = verifier.check(mail.as_bytes(), &from, Timestamp::now()).await;
    assert_eq!(evidence.why, "our own check: dkim=pass for a domain above the From domain");
    let asked = server.asked();
    assert!(asked.iter().all(|name| name == KEY) && !asked.is_empty(), "{asked:?}");

    for domain in ["example.net", "sub.mail.example.org", "org", "ample.org"] {
        let mail = sign(&signer(domain), &above);
        let evidence = verifier.check(mail.as_bytes(), &from, Timestamp::now()).await;
        assert_eq!(
            (evidence.proof.name(), evidence.why.as_str()),
            ("none", "our own check: there is no signature of the From domain or one above it"),
        );
    }
    assert_eq!(server.asked(), asked);
}

#[tokio::test]
async fn what_was_changed_or_never_signed_is_not_proof() {
    let answers = [(KEY, rsa_record())];
    let mail = signed();
    let unsigned = "none: our own check: there is no signature of the From domain or one above it";
    let invalid = "none: our own check: its signature is not valid";
    let malformed = "none: our own check: its signature is malformed";
    let original = mail.clone();
    let only_to = DkimSigner::from_key(rsa()).domain("example.org").selector("mail").headers(["To"]);
    let without_from = sign(&only_to, LETTER);
    let sha1 = mail.replace("a=rsa-sha256", "a=rsa-sha1");
    for (mail, expected) in [
        (LETTER.to_owned(), unsigned),
        (
            mail.replace("delete all", "delete no"),
            "none: our own check: its body is not the one that was signed",
        ),
        (format!("{mail}More\r\n"), "none: our own check: its body is not the one that was signed"),
        (mail.replace("Subject: My data", "Subject: My money"), invalid),
        (mail.replace("Jane Doe", "John Doe"), invalid),
        (mail.replace("d=example.org", "d=example.net"), unsigned),
        (mail.replace("d=example.org", "d=example.com"), unsigned),
        (without_from, "none: our own check: its signature leaves From, Reply-To or Subject out"),
        (mail.replace("v=1; a=", "a="), malformed),
        (
            mail.replace("v=1; a=", "v=1; l=0; a="),
            "none: our own check: its signature leaves a part of the body out",
        ),
        (mail.replace("v=1; a=", "v=1; x=soon; a="), malformed),
        (mail.replace("v=1; a=", "v=1; x=; a="), malformed),
        (mail.replace("v=1; a=", "v=1; v=1; a="), malformed),
        (mail.replace("v=1; a=", "v=1; T=1; a="), malformed),
        (mail.replace("s=mail", "s=ma il*"), malformed),
        (mail.replace("s=mail", &format!("s={}", "a".repeat(300))), malformed),
        (sha1, "none: our own check: its signature uses SHA-1"),
        (
            mail.replace("all my", "all\r my"),
            "none: our own check: there are carriage returns within its lines",
        ),
    ] {
        assert_ne!(mail, original, "{expected}");
        assert_eq!(check(&mail, &answers).await, expected);
    }
    let part = sign(&signer("example.org").body_length(true), LETTER);
    let left_out = "none: our own check: a signature leaves a part of the body out";
    assert_eq!(check(&part, &answers).await, left_out);
    assert_eq!(check(&format!("{part}Close my account, too.\r\n"), &answers).await, left_out);
}

#[tokio::test]
async fn a_field_that_was_added_is_noticed_where_we_act_upon_it() {
    let answers = [(KEY, rsa_record())];
    let left_out = "none: our own check: its signature leaves From, Reply-To or Subject out";
    for added in [
        "From: Jane Doe <jane@example.org>\r\n",
        "From : eve@example.org\r\n",
        "Reply-To: eve@example.net\r\n",
        "reply-to : eve@example.net\r\n",
        "Subject: Delete my account\r\n",
    ] {
        assert_eq!(check(&format!("{added}{}", signed()), &answers).await, left_out, "{added}");
        let below = signed().replace("\r\n\r\n", &format!("\r\n{added}\r\n"));
        assert_ne!(check(&below, &answers).await, PASS, "{added}");
    }
    assert_eq!(check(&format!("X-Note: Reply-To\r\n{}", signed()), &answers).await, PASS);
    // Where the sender wrote it, it is signed, and twice is once too often.
    let letter = format!("Reply-To: home@example.net\r\n{LETTER}");
    let signer = DkimSigner::from_key(rsa()).domain("example.org").selector("mail");
    let mail = sign(&signer.headers(["From", "Reply-To", "Subject"]), &letter);
    assert_eq!(check(&mail, &answers).await, PASS);
    assert_eq!(check(&format!("Reply-To: eve@example.net\r\n{mail}"), &answers).await, left_out);
    assert_ne!(check(&mail.replace("home@", "eve@"), &answers).await, PASS);
}

/// Signed with openssl, by a key of the length each says.
#[tokio::test]
async fn a_signature_of_openssl_counts_and_one_with_a_key_that_can_be_computed_does_not() {
    let letter = "From: Jane Doe <jane@example.org>\r\nSubject: My data\r\n\r\n\
        Please delete all my personal data.\r\n\r\n-- \r\nJane\r\n";
    let mail = |signature: &str| {
        format!(
            "DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=example.org; s=mail; h=From:Subject:Reply-To; \
             bh=JxptlCRLk/pxuyEBCWLgY1PQ7FiweLocSe9Bc++KvRA=; b={signature}\r\n{letter}"
        )
    };
    let of_2048_bits = mail(
        "jp4jmmvGkHWYt/R42h4S4N5UnQNySgF31TNOjmoYt5ORiAiA8BIPrDA6F2GviDxxtBW5br7ASrZSB1V3Vdc+YE4paisRjAXIeejtJtaNF86ilBcPeJbSQKbY5QWcEJ5NNF5n/NbvI10WqvBhth7WRO0hjuzdu3AordxmYS0Xfd5G1YLHrSwH32dC4ozWd5RqwgKdO/iz58VdHPG0u/TGPgu4aGHUZOuq6Xzv46m4rYe8PEC/1stRiz7t7mIWWwIy7/F3jUs5va+aLSAoUiNpOihWA3eVU7pUXHmcDHD0mSSvN1j32CgOFb8DrvyNfAg7Qhz+Gxrj95Cz916Aiq2d/g==",
    );
    let answers = [(KEY, rsa_record())];
    assert_eq!(check(&of_2048_bits, &answers).await, PASS);
    // It says that there is no Reply-To. With a blank behind the name readers see one and it does not.
    let invalid = "none: our own check: its signature is not valid";
    let plain = format!("Reply-To: eve@example.net\r\n{of_2048_bits}");
    assert_eq!(check(&plain, &answers).await, invalid);
    let left_out = "none: our own check: its signature leaves From, Reply-To or Subject out";
    let with_blank = format!("Reply-To : eve@example.net\r\n{of_2048_bits}");
    assert_eq!(check(&with_blank, &answers).await, left_out);
    let of_512_bits =
        mail("Tg3NiPy7yzb8KOum8mV3s67VyE0HAQHL7iItJGuWlKWmYc1mNFGbuNqWFJai0sV0E+RUbvZ99L5WHi03ZRzO+Q==");
    let key = "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAO6VYIjGyHiTkiBhTGAQStcsOAG+PVbsL0bjy4As9Pl7u8wn6PY2wqhhidBbU7xokrjTPbGrYc5CsZMgysVZugMCAwEAAQ==";
    let record = Answer::Txt(format!("v=DKIM1; k=rsa; p={key}"));
    assert_eq!(check(&of_512_bits, &[(KEY, record)]).await, invalid);
}

#[tokio::test]
async fn of_two_signatures_one_is_enough() {
    let records = [
        (KEY, rsa_record()),
        ("gone._domainkey.example.org", Answer::NoName),
        ("bad._domainkey.example.org", Answer::Failure),
    ];
    for other in ["d=example.org; s=gone", "d=example.org; s=bad", "d=example.net; s=mail"] {
        let good = signed();
        let signature = good.split("From: ").next().unwrap();
        let bad = signature.replace("s=mail; d=example.org", other);
        let bad = if bad == signature { signature.replace("d=example.org; s=mail", other) } else { bad };
        assert_ne!(bad, signature);
        assert_eq!(check(&format!("{bad}{good}"), &records).await, PASS, "{other}");
        let below = good.replace("From: ", &format!("{bad}From: "));
        assert_eq!(check(&below, &records).await, PASS, "{other}");
        assert_ne!(check(&below.replace("all my", "all"), &records).await, PASS, "{other}");
    }
}

/// Neither a mail nor a record is read with a panic, whatever its bytes.
#[tokio::test]
async fn garbage_proves_nothing_and_stops_nothing() {
    let ed25519 = Ed25519Key::from_pkcs8_der(&Ed25519Key::generate_pkcs8().unwrap()).unwrap();
    let record =
        format!("v=DKIM1; k=ed25519; t=s; p={}", data_encoding::BASE64.encode(&ed25519.public_key()));
    let signer = DkimSigner::from_key(ed25519).domain("example.org").selector("mail").headers(["From"]);
    let mail = sign(&signer, "From: jane@example.org\r\n\r\nHello\r\n");
    let mut state = 1_u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let signs = b";=:, \t\r\nby0\xff\0";
    let mut spoil = |text: &[u8]| {
        let mut text = text.to_vec();
        for _ in 0..=random(4) {
            let at = random(text.len());
            match random(3) {
                0 => text[at] = signs[random(signs.len())],
                1 => text.insert(at, signs[random(signs.len())]),
                _ => text.truncate(at + 1),
            }
        }
        text
    };
    let names: Vec<String> = (0..200).map(|number| format!("s{number}._domainkey.example.org")).collect();
    let mut answers: Vec<(&str, Answer)> = vec![(KEY, Answer::Txt(record.clone()))];
    for name in &names {
        answers.push((name, Answer::Txt(String::from_utf8_lossy(&spoil(record.as_bytes())).into_owned())));
    }
    let server = Dns::scripted(&answers);
    let verifier = verifier(&server);
    let from = "jane@example.org".parse().unwrap();
    assert!(verifier.check(mail.as_bytes(), &from, Timestamp::now()).await.proof.is_authenticated());
    for number in 0..200 {
        let spoilt = spoil(mail.as_bytes());
        let _ = verifier.check(&spoilt, &from, Timestamp::now()).await;
        let other = mail.replace("s=mail", &format!("s=s{number}"));
        let evidence = verifier.check(other.as_bytes(), &from, Timestamp::now()).await;
        assert!(!evidence.proof.is_authenticated());
    }
    // Its key was asked for: the record was read.
    assert!(server.asked().contains(&names[199]));
}

#[tokio::test]
async fn time_is_looked_at() {
    let answers = [(KEY, rsa_record())];
    let mail = sign(&signer("example.org").expiration(3600), LETTER);
    let after = |seconds: i64| Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    assert_eq!(check_at(after(3500), &mail, &answers).await, PASS);
    assert_eq!(check_at(after(3700), &mail, &answers).await, "none: our own check: its signature is expired");
    // Clocks differ by minutes, not by more.
    assert_eq!(check_at(after(-280), &mail, &answers).await, PASS);
    let future = "none: our own check: its signature is dated in the future";
    assert_eq!(check_at(after(-320), &mail, &answers).await, future);
}

#[tokio::test]
async fn a_key_that_is_missing_revoked_or_restricted_proves_nothing() {
    let text = |text: &str| text.replace("KEY", RSA_PUBLIC);
    let txt = |with_key: &str| Answer::Txt(text(with_key));
    for (answer, expected) in [
        (Answer::NoName, "its key cannot be found"),
        (Answer::NoData, "its key cannot be found"),
        (Answer::Failure, "the name servers could not say"),
        (txt("v=DKIM1; k=rsa; p="), "its key is revoked"),
        (txt("v=DKIM1; k=rsa"), "its key cannot be read"),
        (txt("v=spf1 -all"), "its key cannot be read"),
        (txt(" "), "its key cannot be read"),
        (txt("v=DKIM2; k=rsa; p=KEY"), "its key cannot be read"),
        (txt("v=DKIM1; k=dsa; p=KEY"), "its key cannot be read"),
        (txt("v=DKIM1; k=rsa; t=y; p=KEY; t=s"), "its key cannot be read"),
        (Answer::Two(text("p=KEY"), text("v=spf1 -all")), "its key cannot be read"),
        (txt("v=DKIM1; k=ed25519; p=KEY"), "its signature is not valid"),
        (txt("v=DKIM1; k=rsa; p=MIIB"), "its signature is not valid"),
        (txt("v=DKIM1; k=rsa; t=s:y; p=KEY"), "its key is in testing"),
        (txt("v=DKIM1; k=rsa; T = Y; p=KEY"), "its key is in testing"),
        (txt("v=DKIM1; k=rsa; s=tlsrpt; p=KEY"), "its key is not for mail"),
        (txt("v=DKIM1; k=rsa; h=sha1; p=KEY"), "its key is not for SHA-256"),
    ] {
        let found = check(&signed(), &[(KEY, answer.clone())]).await;
        assert_eq!(found, format!("none: our own check: {expected}"), "{answer:?}");
    }
    let service = txt("v=DKIM1; h=sha1:sha256; k=rsa; t=s; s=tlsrpt:email; p=KEY");
    assert_eq!(check(&signed(), &[(KEY, service)]).await, PASS);
}

#[tokio::test]
async fn a_name_server_that_is_silent_proves_nothing_and_is_waited_for_no_longer_than_that() {
    let server = Dns::scripted(&[(KEY, Answer::Silence)]);
    let verifier = Verifier::new(Some(server.socket()), Duration::from_millis(300), WINDOW_TIMEOUT).unwrap();
    let begun = std::time::Instant::now();
    let from = "jane@example.org".parse().unwrap();
    let evidence = verifier.check(signed().as_bytes(), &from, Timestamp::now()).await;
    assert_eq!(evidence.why, "our own check: the name servers did not answer in time");
    assert_eq!(evidence.proof.name(), "none");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(server.asked().first().map(String::as_str), Some(KEY));
}

#[tokio::test]
async fn of_many_signatures_a_few_are_looked_up() {
    let server = Dns::scripted(&[(KEY, rsa_record())]);
    let verifier = verifier(&server);
    let mut mail = signed();
    let signature = mail.split("From: ").next().unwrap().to_owned();
    for number in 0..500 {
        mail.insert_str(0, &signature.replace("s=mail", &format!("s=s{number}")));
    }
    let from = "jane@example.org".parse().unwrap();
    let evidence = verifier.check(mail.as_bytes(), &from, Timestamp::now()).await;
    assert_eq!(evidence.proof.name(), "none");
    let mut asked = server.asked();
    asked.dedup();
    assert_eq!(asked.len(), 4, "{asked:?}");
}

/// What the ledger says of proof and why, for each of these mails in one window.
async fn ledger(keys: &str, bodies: Vec<Body>) -> (House, Vec<(String, String)>) {
    let house = House::with(keys).await;
    let mails = bodies.into_iter().zip(1..).map(|(body, uid)| Fetched {
        id: MailId::Uid(uid),
        size: 1000,
        received: "2026-11-23T10:00:00Z".parse().unwrap(),
        body,
    });
    let window = Window { validity: 1, mails: mails.collect() };
    house.intake.receive("box", window, Timestamp::now()).await.unwrap();
    let mut messages = house.store.messages(None, 1000).await.unwrap();
    messages.sort_by_key(|message| message.id);
    let found = messages.into_iter().map(|message| (message.proof, message.proof_why)).collect();
    (house, found)
}

#[tokio::test]
async fn the_corridor_checks_what_our_servers_are_silent_about_and_nothing_else() {
    let server = Dns::scripted(&[(KEY, rsa_record())]);
    let keys = format!(
        "[authentication]\nauthserv_ids = [\"mx.example.com\"]\nverify_dkim = true\nresolver = \"{}\"\n",
        server.socket()
    );
    let result = |said: &str| format!("Authentication-Results: mx.example.com; {said}\r\n{}", signed());
    let whole = |mail: String| Body::Whole(mail.into_bytes());
    let again = |words: &str| sign(&signer("example.org"), &LETTER.replace("<1@", &format!("<{words}@")));
    let bodies = vec![
        whole(again("plain")),
        whole(again("tampered").replace("all my", "all your")),
        Body::Head(again("cut").into_bytes()),
        whole(result("spf=pass smtp.mailfrom=example.org")),
        whole(result("dkim=fail header.d=example.org")),
        whole(result("dmarc=fail header.from=example.org")),
        whole(result("dkim=pass (open")),
        whole(format!("Auto-Submitted: auto-replied\r\n{}", again("automatic"))),
        whole(again("two").replace("From: ", "From: a@example.org\r\nFrom: ")),
    ];
    let (house, found) = ledger(&keys, bodies).await;
    let found: Vec<String> = found.into_iter().map(|(proof, why)| format!("{proof}: {why}")).collect();
    assert_eq!(
        found,
        [
            PASS,
            "none: our own check: its body is not the one that was signed",
            "none: our own check: the mail was not fetched whole",
            PASS,
            "none: mx.example.com: dkim=fail",
            "none: mx.example.com: dmarc=fail",
            "none: an Authentication-Results field of mx.example.com cannot be read",
            "none: the part of the header that is ours has no Authentication-Results of a configured server",
            "none: there is more than one From field",
        ]
    );
    assert_eq!(house.store.suppressions("", 10).await.unwrap(), []);
}

#[tokio::test]
async fn without_the_key_in_the_configuration_nobody_is_asked() {
    let (_house, found) = ledger("", vec![Body::Whole(signed().into_bytes())]).await;
    assert_eq!(found, [("none".to_owned(), "no authserv_id is configured".to_owned())]);
}

/// Whole mails with a signature, and who says to have written them.
fn window_of(count: u32) -> (std::sync::Arc<Vec<Fetched>>, Vec<(usize, Address)>) {
    let mails = (1..=count).map(|uid| Fetched {
        id: MailId::Uid(uid),
        size: 1000,
        received: Timestamp::now(),
        body: Body::Whole(signed().into_bytes()),
    });
    let mails: Vec<Fetched> = mails.collect();
    let asked = (0..mails.len()).map(|index| (index, "jane@example.org".parse().unwrap())).collect();
    (std::sync::Arc::new(mails), asked)
}

#[tokio::test]
async fn a_window_of_mails_is_checked_at_once_and_has_an_end() {
    let server = Dns::scripted(&[(KEY, Answer::Silence)]);
    let verifier = |patience, window| {
        let (patience, window) = (Duration::from_millis(patience), Duration::from_millis(window));
        Verifier::new(Some(server.socket()), patience, window).unwrap()
    };
    for (count, verifier) in [(40, verifier(500, 60_000)), (300, verifier(5000, 700))] {
        let (mails, asked) = window_of(count);
        let begun = std::time::Instant::now();
        let verifier = std::sync::Arc::new(verifier);
        let mut time_left = verifier.window_timeout();
        let answers = verifier.check_all(&mails, asked, Timestamp::now(), &mut time_left).await;
        assert_eq!(answers.len(), mails.len());
        for (_, evidence) in answers {
            assert_eq!(evidence.proof.name(), "none");
            assert_eq!(evidence.why, "our own check: the name servers did not answer in time");
        }
        // One after the other the first would take 20 seconds; the others, 64 at once, 25.
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn mails_that_are_taken_alone_after_a_crash_have_one_end_together() {
    const SLOW: &str = "slow._domainkey.example.org";
    let server = Dns::scripted(&[(SLOW, Answer::Silence), (KEY, rsa_record())]);
    let slow = DkimSigner::from_key(rsa()).domain("example.org").selector("slow");
    let slow = sign(&slow.headers(["From", "To", "Subject", "Date"]), &LETTER.replace("<1@", "<slow@"));
    for (window, proofs) in [(700, ["none", "none"]), (60_000, ["none", "dkim"])] {
        let house = House::with("").await;
        drop(house.work);
        let mut intake = house.intake;
        let window = Duration::from_millis(window);
        let verifier = Verifier::new(Some(server.socket()), MAIL_TIMEOUT, window).unwrap();
        std::sync::Arc::get_mut(&mut intake).unwrap().verifier = Some(std::sync::Arc::new(verifier));
        let mails = [slow.clone(), signed()].into_iter().zip(1..).map(|(mail, uid)| Fetched {
            id: MailId::Uid(uid),
            size: 1000,
            received: "2026-11-23T10:00:00Z".parse().unwrap(),
            body: Body::Whole(mail.into_bytes()),
        });
        let mails: Vec<Fetched> = mails.collect();
        let ids: Vec<&MailId> = mails.iter().map(|mail| &mail.id).collect();
        house.store.count_attempts("box", 1, &ids).await.unwrap();
        intake.receive("box", Window { validity: 1, mails }, Timestamp::now()).await.unwrap();
        let mut messages = house.store.messages(None, 10).await.unwrap();
        messages.sort_by_key(|message| message.id);
        let found: Vec<&str> = messages.iter().map(|message| message.proof.as_str()).collect();
        assert_eq!(found, proofs, "{window:?}");
    }
}

#[tokio::test]
async fn the_check_of_the_configuration_tells_whether_name_servers_answer() {
    for (answer, is_alive) in [
        (Answer::NoName, true),
        (Answer::NoData, true),
        (Answer::Txt("x".into()), true),
        (Answer::Failure, false),
        (Answer::Silence, false),
    ] {
        let server = Dns::scripted(&[("_domainkey.example.com", answer.clone())]);
        let verifier =
            Verifier::new(Some(server.socket()), Duration::from_millis(500), WINDOW_TIMEOUT).unwrap();
        assert_eq!(verifier.probe("example.com").await.is_ok(), is_alive, "{answer:?}");
    }
}

/// Type, status and proof of every request, in the order of the types.
async fn requests(house: &House) -> Vec<(String, String, String)> {
    let rows = house.store.requests(None, 100).await.unwrap();
    let mut rows: Vec<_> = rows.into_iter().map(|row| (row.kind, row.status, row.proof)).collect();
    rows.sort();
    rows
}

#[tokio::test]
async fn a_signed_request_climbs_the_ladder_and_the_same_one_tampered_with_does_not() {
    let server = Dns::scripted(&[(KEY, rsa_record())]);
    let keys = format!("[authentication]\nverify_dkim = true\nresolver = \"{}\"\n", server.socket());
    let signer = DkimSigner::from_key(rsa()).domain("example.org").selector("mail");
    let signer = signer.headers(["From", "To", "Reply-To", "Subject", "Message-ID"]);
    let letter = |id: &str, words: &str| {
        format!(
            "From: Jane Doe <jane@example.org>\r\nTo: privacy@example.com\r\nSubject: My data\r\n\
             Reply-To: home@example.net\r\nMessage-ID: <{id}@example.org>\r\n\r\n{words}\r\n"
        )
    };
    let disclosure =
        sign(&signer, &letter("1", "Please tell me to whom you have disclosed my personal data."));
    let access = sign(&signer, &letter("2", "Please send me a copy of all personal data you hold about me."));
    let row = |kind: &str, status: &str, proof: &str| (kind.to_owned(), status.to_owned(), proof.to_owned());

    let house = House::with(&keys).await;
    house.receive(1, vec![(1, disclosure.clone().into_bytes()), (2, access.clone().into_bytes())]).await;
    let proven = [row("access", "awaiting_proof", "dkim"), row("disclosure", "approved", "dkim")];
    assert_eq!(requests(&house).await, proven);
    let mut written: Vec<String> = house.replies().await.into_iter().map(|(to, _)| to).collect();
    written.sort();
    // What is known goes where the sender wishes; the question to the address it concerns.
    assert_eq!(written, ["home@example.net", "jane@example.org"]);

    for (from, to) in [
        ("Please ", "Kindly "),
        ("home@example.net", "eve@example.net"),
        ("jane@", "joan@"),
        ("d=example.org", "d=example.net"),
    ] {
        let house = House::with(&keys).await;
        let tampered = [&disclosure, &access].map(|mail| mail.replace(from, to).into_bytes());
        house.receive(1, (1..).zip(tampered).collect()).await;
        let unproven = [row("access", "awaiting_proof", "none"), row("disclosure", "held", "none")];
        assert_eq!(requests(&house).await, unproven, "{to}");
        let replies = house.replies().await;
        assert!(replies.iter().all(|(to, _)| to.ends_with("@example.org")), "{replies:?}");
    }
    // Without the key in the configuration it is as if it were not signed.
    let house = House::with("").await;
    house.receive(1, vec![(1, disclosure.into_bytes())]).await;
    assert_eq!(requests(&house).await, [row("disclosure", "held", "none")]);
}
