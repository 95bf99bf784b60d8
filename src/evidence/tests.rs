//! The verdict on whole headers, and what any bytes at all may do to it.

use proptest::prelude::*;

use super::*;
use crate::message::Message;

const BORDER: &str = "Received: from mail.example.org (mail.example.org [192.0.2.1])\r\n\tby mx.example.com (Postfix) with ESMTPS id 4Fx; Mon, 23 Nov 2026 10:00:00 +0000\r\n";

fn trust() -> Trust {
    let ids = ["mx.example.com", "inner.example.com"].map(str::to_owned);
    let hosts = ["mx.example.com", "inner.example.com", "imap.example.com"].map(str::to_owned);
    Trust::new(&ids, &hosts)
}

fn look(mail: &[u8]) -> Evidence {
    let message = Message::parse(mail).unwrap();
    weigh(message.header(), message.from().as_ref(), &trust())
}

/// `proof: why` for a mail from jane@mail.example.org with these fields on top.
fn shown(top: &str) -> String {
    let mail = format!("{top}From: Jane <jane@Mail.Example.org>\r\nSubject: x\r\n\r\nHello\r\n");
    let Evidence { proof, why, .. } = look(mail.as_bytes());
    format!("{}: {why}", proof.name())
}

/// The same for results of our border, each in a field of its own, below its Received field.
fn results(fields: &[&str]) -> String {
    let fields: Vec<String> = fields
        .iter()
        .map(|results| format!("Authentication-Results: mx.example.com; {results}\r\n"))
        .collect();
    shown(&format!("{BORDER}{}", fields.concat()))
}

#[test]
fn what_our_border_found_is_proof() {
    for (fields, expected) in [
        (
            &[
                "spf=pass smtp.mailfrom=mail.example.org; dkim=pass header.d=example.org; dmarc=pass (p=NONE) header.from=mail.example.org",
            ][..],
            "dmarc: mx.example.com: dmarc=pass for the From domain",
        ),
        (
            &["DMARC=Pass header.from=MAIL.example.ORG"],
            "dmarc: mx.example.com: dmarc=pass for the From domain",
        ),
        (
            &["dkim=pass header.d=mail.example.org", "dmarc=pass header.from=mail.example.org"],
            "dmarc: mx.example.com: dmarc=pass for the From domain",
        ),
        (&["dkim=pass header.d=mail.example.org"], "dkim: mx.example.com: dkim=pass for the From domain"),
        (
            &["dkim=pass header.d=example.org"],
            "dkim: mx.example.com: dkim=pass for a domain above the From domain",
        ),
        (
            &["dkim=pass header.i=@example.org"],
            "dkim: mx.example.com: dkim=pass for a domain above the From domain",
        ),
        (
            &["dkim=pass header.i=jane=example.net@mail.example.org"],
            "dkim: mx.example.com: dkim=pass for the From domain",
        ),
        (
            &[
                "dkim=fail header.d=mail.example.org; dkim=pass header.d=mail.example.org; dmarc=temperror header.from=mail.example.org",
            ],
            "dkim: mx.example.com: dkim=pass for the From domain",
        ),
        (
            &[
                "dkim=pass header.d=mail.example.org; dmarc=none",
                "dkim=pass header.d=mail.example.org header.s=x",
            ],
            "dkim: mx.example.com: dkim=pass for the From domain",
        ),
    ] {
        assert_eq!(results(fields), expected, "{fields:?}");
    }
}

#[test]
fn what_does_not_speak_of_the_from_domain_is_none() {
    for (fields, expected) in [
        (
            &["none"][..],
            "none: the part of the header that is ours has no Authentication-Results of a configured server",
        ),
        (&["spf=pass smtp.mailfrom=mail.example.org"], "none: there is no dmarc or dkim result"),
        (
            &["dmarc=pass header.from=example.org"],
            "none: mx.example.com: dmarc=pass, but not for the From domain",
        ),
        (
            &["dmarc=pass header.from=mail.example.org."],
            "none: mx.example.com: dmarc=pass, but not for the From domain",
        ),
        (
            &["dmarc=pass header.from=jane@mail.example.org"],
            "none: mx.example.com: dmarc=pass, but not for the From domain",
        ),
        (
            &["dmarc=pass smtp.mailfrom=mail.example.org"],
            "none: mx.example.com: dmarc=pass, but not for the From domain",
        ),
        (&["dmarc=fail header.from=mail.example.org"], "none: mx.example.com: dmarc=fail"),
        (&["dmarc=evil-words header.from=mail.example.org"], "none: mx.example.com: dmarc=something else"),
        (&["dkim=fail header.d=mail.example.org"], "none: mx.example.com: dkim=fail"),
        (
            &["dkim=pass header.d=example.net; dmarc=fail header.from=mail.example.org"],
            "none: mx.example.com: dmarc=fail; mx.example.com: dkim=pass, but not for the From domain or one above it",
        ),
        (
            &["dkim=pass header.d=a.mail.example.org"],
            "none: mx.example.com: dkim=pass, but not for the From domain or one above it",
        ),
        (
            &["dkim=pass header.d=org"],
            "none: mx.example.com: dkim=pass, but not for the From domain or one above it",
        ),
        (
            &["dkim=pass header.d=il.example.org"],
            "none: mx.example.com: dkim=pass, but not for the From domain or one above it",
        ),
        (
            &["dkim=pass header.i=mail.example.org"],
            "none: mx.example.com: dkim=pass, but not for the From domain or one above it",
        ),
        (
            &["dkim=pass header.d=example.net header.i=@mail.example.org"],
            "none: mx.example.com: dkim=pass, but not for the From domain or one above it",
        ),
        (
            &["dkim=pass header.d=example.net header.d=mail.example.org"],
            "none: mx.example.com: dkim=pass, but not for the From domain or one above it",
        ),
        (
            &["dkim=pass header.d=mail.example.org", "dkim=pass (open header.d=x"],
            "none: an Authentication-Results field of mx.example.com cannot be read",
        ),
    ] {
        assert_eq!(results(fields), expected, "{fields:?}");
    }
}

#[test]
fn contradictions_are_for_a_person() {
    for (fields, expected) in [
        (
            &["dmarc=fail header.from=mail.example.org", "dmarc=pass header.from=mail.example.org"][..],
            "conflict: mx.example.com: dmarc=pass, but mx.example.com: dmarc=fail",
        ),
        (
            &["dmarc=none; dmarc=pass header.from=mail.example.org"],
            "conflict: mx.example.com: dmarc=pass, but mx.example.com: dmarc=none",
        ),
        (
            &["dmarc=pass header.from=example.net", "dmarc=pass header.from=mail.example.org"],
            "conflict: dmarc results name different From domains",
        ),
        (
            &["dmarc=pass header.from=mail.example.org header.from=example.net"],
            "conflict: dmarc results name different From domains",
        ),
        (
            &["dkim=pass header.d=mail.example.org; dmarc=fail header.from=mail.example.org"],
            "conflict: mx.example.com: dkim=pass, but mx.example.com: dmarc=fail",
        ),
        (
            &["dkim=pass header.d=mail.example.org; dmarc=reject"],
            "conflict: mx.example.com: dkim=pass, but mx.example.com: dmarc=something else",
        ),
        (
            &["dkim=pass header.d=mail.example.org; dmarc=pass header.from=example.net"],
            "conflict: mx.example.com: dkim=pass for the From domain, but dmarc for another one",
        ),
        (
            &["dkim=none; dmarc=none", "dkim=pass header.d=mail.example.org"],
            "conflict: mx.example.com: two fields differ on dkim",
        ),
        (
            &["dkim=pass header.d=evil.example.net", "dkim=pass header.d=mail.example.org"],
            "conflict: mx.example.com: two fields differ on dkim",
        ),
    ] {
        assert_eq!(results(fields), expected, "{fields:?}");
    }
}

#[test]
fn only_the_part_of_the_header_that_is_ours_counts() {
    let pass = "Authentication-Results: mx.example.com; dkim=pass header.d=mail.example.org\r\n";
    let lmtp = "Received: from mx.example.com\r\n\tby imap.example.com with LMTP id 1; Mon\r\n";
    let forged = "Received: from x (x [192.0.2.7]) by mx.example.com (Postfix) with ESMTPS id 9; Mon\r\n";
    let foreign = "Received: from y by mail.example.org; Mon\r\n";
    let lie = "Received: from mx.example.com (evil [203.0.113.66]) by mx.example.com (Postfix) id 9; Mon\r\n";
    let none =
        "none: the part of the header that is ours has no Authentication-Results of a configured server";
    let proven = "dkim: mx.example.com: dkim=pass for the From domain";
    for (top, expected) in [
        (format!("{pass}{BORDER}"), proven),
        (format!("{BORDER}{pass}"), proven),
        (format!("{lmtp}{BORDER}{pass}{foreign}"), proven),
        (format!("{lmtp}{pass}{BORDER}{foreign}"), proven),
        (format!("{pass}{foreign}"), proven),
        (pass.to_owned(), proven),
        (format!("{foreign}{pass}"), none),
        (format!("{BORDER}{foreign}{pass}"), none),
        (format!("{BORDER}{forged}{pass}"), none),
        (format!("{lmtp}{BORDER}{forged}{pass}"), none),
        (format!("{lie}{forged}{pass}"), none),
        (format!("{BORDER}Received : from x by y; Mon\r\n{pass}"), none),
        (format!("Received : by mx.example.com; Mon\r\n{pass}"), none),
        (format!("{BORDER}X-{pass}ARC-{pass}"), none),
        (format!("{BORDER}{}", pass.replace(":", " :")), none),
        (format!("{BORDER}{}", pass.replace("mx.example.com", "\"mx.example.com\"")), none),
        (format!("{BORDER}{}", pass.replace("mx.example.com", "(x) mx.example.com")), none),
        (format!("{BORDER}{}", pass.replace("mx.example.com", "xmx.example.com")), none),
        (format!("{BORDER}{}", pass.replace("mx.example.com", "mx.example.com.example.net")), none),
    ] {
        assert_eq!(shown(&top), expected, "{top}");
    }
    let with_cr = pass.replace("; dkim", ";\rdkim");
    let unreadable = "none: an Authentication-Results field of mx.example.com cannot be read";
    assert_eq!(shown(&format!("{BORDER}{with_cr}{pass}")), unreadable);
    let inner = pass.replace("mx.", "inner.");
    assert_eq!(shown(&inner), "dkim: inner.example.com: dkim=pass for the From domain");
    // Cut right behind the field, a mail may lack the rest of it.
    let cut = format!("From: jane@mail.example.org\r\n{pass}");
    assert_eq!(look(cut.as_bytes()).proof, Proof::None);
    assert_eq!(look(format!("{cut}\r\n").as_bytes()).proof, Proof::Dkim);
}

#[test]
fn a_pass_below_the_borders_received_field_counts_only_where_nothing_stands_above() {
    let field =
        |server: &str, results: &str| format!("Authentication-Results: {server}.example.com; {results}\r\n");
    let mx = |results| field("mx", results);
    let forged = "dmarc=pass header.from=mail.example.org";
    let evil = "dkim=pass header.d=evil.example.net; dkim-atps=neutral";
    let failed = "dmarc=fail (p=none dis=none) header.from=mail.example.org";
    let mine = "dkim=pass header.d=mail.example.org";
    for (above, below, expected) in [
        // OpenDKIM alone and with OpenDMARC, as Postfix places what they write.
        (
            mx(evil),
            mx(forged),
            "none: mx.example.com: dkim=pass, but not for the From domain or one above it",
        ),
        (mx("dkim=none; dkim-atps=neutral"), mx(forged), "none: mx.example.com: dkim=none"),
        (mx(failed), mx(forged), "none: mx.example.com: dmarc=fail"),
        (mx("dmarc=none header.from=mail.example.org"), mx(mine), "none: mx.example.com: dmarc=none"),
        // Nor in the name of another server of ours, which did not see the mail.
        (mx(failed), field("inner", forged), "none: mx.example.com: dmarc=fail"),
        (
            mx(forged),
            mx("dmarc=pass header.from=example.net"),
            "dmarc: mx.example.com: dmarc=pass for the From domain",
        ),
        // What speaks against it counts.
        (mx(forged), mx(failed), "conflict: mx.example.com: dmarc=pass, but mx.example.com: dmarc=fail"),
        (
            mx(mine),
            mx("dkim=fail header.d=mail.example.org"),
            "conflict: mx.example.com: two fields differ on dkim",
        ),
        // Who speaks of something else, or is not ours, has not spoken.
        (
            mx("spf=fail smtp.mailfrom=x.example.net"),
            mx(mine),
            "dkim: mx.example.com: dkim=pass for the From domain",
        ),
        (field("other", failed), mx(mine), "dkim: mx.example.com: dkim=pass for the From domain"),
        (String::new(), mx(forged), "dmarc: mx.example.com: dmarc=pass for the From domain"),
    ] {
        assert_eq!(shown(&format!("{above}{BORDER}{below}")), expected, "{above} {below}");
    }
}

#[test]
fn attached_mails_and_parts_say_nothing() {
    let pass = "Authentication-Results: mx.example.com; dmarc=pass header.from=example.org";
    let mail = format!(
        "From: jane@example.org\nContent-Type: multipart/mixed; boundary=b\n\n--b\n{pass}\nContent-Type: text/plain\n\nHello\n\
         --b\nContent-Type: message/rfc822\n\n{pass}\nFrom: jane@example.org\n\nHello\n--b--\n"
    );
    assert_eq!(look(mail.as_bytes()).proof, Proof::None);
    let wrapped = format!(
        "From: jane@example.org\nContent-Type: message/rfc822\n\n{pass}\nFrom: jane@example.org\n\nHello\n"
    );
    assert_eq!(look(wrapped.as_bytes()).proof, Proof::None);
}

#[test]
fn there_are_bounds() {
    let pass = "Authentication-Results: mx.example.com; dkim=pass header.d=mail.example.org\r\n";
    assert!(shown(&pass.repeat(MOST_FIELDS)).starts_with("dkim: "));
    let too_many = "none: there are too many Authentication-Results to read";
    assert_eq!(shown(&pass.repeat(MOST_FIELDS + 1)), too_many);
    let long = format!("X: y\r\n{}", pass.replace("; dkim", &format!(" ({}); dkim", "x".repeat(MOST_BYTES))));
    assert_eq!(shown(&long), too_many);
    let five =
        format!("{}\r\n", pass.trim_end().to_owned() + &"; dkim=pass header.d=mail.example.org".repeat(4));
    assert!(shown(&five.repeat(MOST_RESULTS / 5)).starts_with("dkim: "));
    let unreadable = "none: an Authentication-Results field of mx.example.com cannot be read";
    assert_eq!(shown(&five.repeat(MOST_RESULTS / 5 + 1)), unreadable);
}

#[test]
fn without_a_sender_or_anybody_to_trust_there_is_no_proof() {
    let mail = b"Authentication-Results: mx.example.com; dmarc=pass header.from=example.org\nFrom: a@example.org, b@example.org\n\nx";
    assert_eq!(look(mail), Evidence::none("the From field is not one plain address"));
    let message = Message::parse(mail).unwrap();
    let nobody = weigh(message.header(), message.from().as_ref(), &Trust::default());
    assert_eq!(nobody, Evidence::silent("no authserv_id is configured"));
}

#[test]
fn our_servers_are_silent_only_where_they_say_nothing_of_dkim_and_dmarc() {
    for (found, is_silent) in [
        ("", true),
        ("Authentication-Results: mx.example.com; spf=fail smtp.mailfrom=example.org\r\n", true),
        ("Authentication-Results: mx.example.com; none\r\n", true),
        ("Authentication-Results: other.example.net; dkim=fail header.d=example.org\r\n", true),
        ("Authentication-Results: mx.example.com; dkim=none\r\n", false),
        ("Authentication-Results: mx.example.com; dkim=temperror header.d=example.org\r\n", false),
        ("Authentication-Results: mx.example.com; dkim=pass header.d=example.net\r\n", false),
        ("Authentication-Results: mx.example.com; dmarc=fail header.from=example.org\r\n", false),
        ("Authentication-Results: mx.example.com; dkim=fail (\r\n", false),
    ] {
        let mail = format!("{BORDER}{found}From: jane@example.org\r\n\r\nHello\r\n");
        assert_eq!(look(mail.as_bytes()).is_silent, is_silent, "{found}");
    }
}

#[test]
fn signatures_count_for_their_domain_and_what_is_below_it() {
    for (signer, domain, expected) in [
        ("example.org", "example.org", true),
        ("example.org", "a.b.example.org", true),
        ("b.example.org", "a.b.example.org", true),
        ("example.org", "notexample.org", false),
        ("a.example.org", "example.org", false),
        ("org", "example.org", false),
        ("", "example.org", false),
        (".org", "example.org", false),
        (".example.org", "a.example.org", false),
        ("example.org.", "example.org", false),
        ("co.uk", "example.co.uk", false),
        ("com.au", "shop.com.au", false),
        ("example.co.uk", "mail.example.co.uk", true),
        ("bbc.co.uk", "bbc.co.uk", true),
    ] {
        assert_eq!(aligned(signer, domain).is_some(), expected, "{signer} for {domain}");
    }
}

/// Bytes that look like the field, and bytes that do not.
fn anything() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        "mx.example.com",
        "dkim",
        "dmarc",
        "pass",
        "fail",
        "none",
        "=",
        ";",
        ".",
        "/",
        "1",
        " ",
        "\r\n ",
        "\t",
        "(",
        ")",
        "\"",
        "\\",
        "@",
        "header",
        "from",
        "d",
        "i",
        "reason",
        "header.d=example.org",
        "header.from=example.org",
        "\0",
        "é",
    ]);
    prop_oneof![
        prop::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..200),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn no_bytes_end_it_and_none_without_our_name_are_proof(field in anything(), received in anything()) {
        let mut mail = b"Received:".to_vec();
        mail.extend(&received);
        mail.extend(b"\r\nAuthentication-Results:");
        mail.extend(&field);
        mail.extend(b"\r\nFrom: jane@example.org\r\n\r\nHello");
        let Some(message) = Message::parse(&mail) else { return Ok(()) };
        let from: Address = "jane@example.org".parse().unwrap();
        let evidence = weigh(message.header(), Ok(&from), &trust());
        let names_us = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).to_lowercase();
            text.contains("mx.example.com") || text.contains("inner.example.com")
        };
        if !names_us(&field) && !names_us(&received) {
            prop_assert!(!evidence.proof.is_authenticated(), "{evidence:?}");
        }
        // Nothing but our own words comes out, whatever goes in.
        prop_assert!(evidence.why.is_ascii() && !evidence.why.contains(['\r', '\n', '\0', '@', '"', '\\']));
    }

    #[test]
    fn a_name_that_only_holds_ours_is_another_servers(before in "[a-z0-9._/-]{0,3}", after in "[a-z0-9._/-]{0,3}") {
        prop_assume!(!before.is_empty() || !after.is_empty());
        let top = format!("Authentication-Results: {before}mx.example.com{after}; dmarc=pass header.from=mail.example.org\r\n");
        prop_assert!(shown(&top).starts_with("none: "), "{top}");
    }
}
