//! Who wrote a mail, as a real border server finds it: Postfix with OpenDKIM and OpenDMARC, and what the
//! daemon makes of the Authentication-Results that they write.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::house::{House, send_from, text};
use crate::milters::{Filters, Milters};
use crate::{Need, Outcome, Scenario};

const SERVERS: &[Need] = &[Need::Dovecot, Need::Postfix, Need::Openssl, Need::Milters];

pub const SCENARIOS: &[Scenario] = &[
    (
        "a_signed_mail_is_proven_and_a_tampered_one_is_not",
        SERVERS,
        a_signed_mail_is_proven_and_a_tampered_one_is_not,
    ),
    ("opendkim_alone_is_enough_when_it_is_set_up_so", SERVERS, opendkim_alone_is_enough_when_it_is_set_up_so),
];

const SIGNERS: [&str; 2] = ["example.org", "evil.example.net"];
const DMARC: &str = "Authentication-Results: mx.example.com; dmarc=pass header.from=example.org\n";
const DKIM: &str = "Authentication-Results: mx.example.com; dkim=pass header.d=example.org\n";
const RECEIVED: &str = "Received: from mail.example.org (mail.example.org [192.0.2.1])\n\
     \tby mx.example.com (Postfix) with ESMTPS id 4Fx\n\
     \tfor <privacy@example.com>; Mon, 23 Nov 2026 10:00:00 +0000 (UTC)\n";

/// A mail, by the local part of its sender, and what must become of it.
struct Case {
    name: &'static str,
    mail: String,
    status: &'static str,
    proof: &'static str,
}

/// One of which nothing is proven.
fn unproven(name: &'static str, mail: String) -> Case {
    Case { name, mail, status: "held", proof: "none" }
}

/// A question of step 1 of the ladder: a proven sender is enough, and nothing less.
fn mail(name: &str) -> String {
    format!(
        "From: Jane <{name}@example.org>\nTo: privacy@example.com\nSubject: My data\n\
         Date: Mon, 23 Nov 2026 10:00:00 +0000\nMessage-ID: <{name}.test@example.org>\n\n\
         Please tell me to whom you have sold my personal data.\n"
    )
}

/// The mails that both borders get.
fn cases(milters: &Milters, proof: &'static str) -> Vec<Case> {
    let signed = |by: &str, name: &str| milters.sign(by, &mail(name));
    let tampered = signed("example.org", "tampered").replace("sold my", "sold mY");
    vec![
        Case { name: "signed", mail: signed("example.org", "signed"), status: "approved", proof },
        unproven("tampered", tampered),
        unproven("unaligned", signed("evil.example.net", "unaligned")),
        unproven("unsigned", mail("unsigned")),
        unproven("dmarc", format!("{DMARC}{}", mail("dmarc"))),
        unproven("dkim", format!("{DKIM}{}", mail("dkim"))),
        unproven("many", format!("{}{}", [DMARC, DKIM].concat().repeat(3), mail("many"))),
        unproven("both", format!("{DMARC}{DKIM}{}", signed("evil.example.net", "both"))),
        unproven("below", format!("{RECEIVED}{DMARC}{}", mail("below"))),
    ]
}

/// Sends all of them through a border with these filters to a house, and compares what became of them.
fn judge(milters: &Milters, cases: &[Case]) {
    let house = House::with(
        "[authentication]\nauthserv_ids = [\"mx.example.com\"]\nreceived_by = [\"mx.example.com\"]\n",
    );
    let border = house.border_with(&format!(
        "myhostname = mx.example.com\nsmtpd_authorized_xclient_hosts = 127.0.0.1\n{}",
        milters.postfix_settings()
    ));
    for case in cases {
        // The filters leave mail from loopback alone.
        send_from(border.plain, Some("ADDR=192.0.2.1 NAME=mail.example.org"), case.mail.as_bytes());
    }
    let end = Instant::now() + Duration::from_secs(20);
    while house.filed("INBOX").len() < cases.len() {
        assert!(Instant::now() < end, "the mails do not arrive: {}", border.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    let mails = house.filed("INBOX").into_iter().map(|path| std::fs::read_to_string(path).unwrap());
    let mails: Vec<String> = mails.collect();
    for mail in &mails {
        // What `evidence::zone` says of Postfix.
        let results = mail.find("\nAuthentication-Results: mx.example.com;").unwrap();
        assert!(results < mail.find("\nReceived: ").unwrap(), "the filters write below Received: {mail}");
    }
    house.run(&["run", "--once"]);

    let expected: BTreeSet<String> = cases
        .iter()
        .map(|case| format!("{}@example.org: disclosure {} {}", case.name, case.status, case.proof))
        .collect();
    let become_of = |request: &Value| {
        let of = |key| text(request, key);
        format!("{}: {} {} {}", of("subject"), of("kind"), of("status"), of("proof"))
    };
    let requests = house.list(&["requests", "list", "--all"]);
    assert_eq!(requests.iter().map(become_of).collect::<BTreeSet<_>>(), expected, "{}", mails.join("\n"));
    for row in &requests {
        let (shown, _) = house.run(&["requests", "show", &text(row, "reference")]);
        assert!(shown.contains(&format!("evidence  {} (", text(row, "proof"))), "{shown}");
    }
    // And each mail carries the evidence of its request.
    for row in house.list(&["messages", "list"]) {
        let id = row.get("id").unwrap().to_string();
        let shown: Value = serde_json::from_str(&house.run(&["messages", "show", &id, "--json"]).0).unwrap();
        let (message, request) = (shown.get("message").unwrap(), shown.pointer("/requests/0").unwrap());
        assert_eq!(text(message, "sender"), text(request, "subject"));
        assert_eq!(text(message, "proof"), text(request, "proof"));
        assert!(expected.contains(&become_of(request)), "{shown:#}");
    }
}

fn a_signed_mail_is_proven_and_a_tampered_one_is_not() -> Outcome {
    let milters = Milters::start(Filters::Both, "mx.example.com", &SIGNERS);
    judge(&milters, &cases(&milters, "dmarc"));
    let asked: BTreeSet<String> = milters.asked().into_iter().collect();
    assert_eq!(asked, BTreeSet::from(["_dmarc.example.org".to_owned()]));
    Ok(())
}

fn opendkim_alone_is_enough_when_it_is_set_up_so() -> Outcome {
    let milters = Milters::start(Filters::OpenDkimAlone, "mx.example.com", &SIGNERS);
    judge(&milters, &cases(&milters, "dkim"));
    assert_eq!(milters.asked(), Vec::<String>::new());
    Ok(())
}
