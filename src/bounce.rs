//! What became of our own mail: delivery status notifications (RFC 3464) read, and what they may change.
//!
//! Pure. A notification is a mail like any other and anybody can write one; what makes it ours is that it
//! returns the Message-ID of a mail of ours, which nobody knows but who got that mail, and names the very
//! address that went to. Even then it changes nothing but the state of that mail, and hands a request to a
//! person at the most. Bounces without the standard parts (qmail's, and many an old one) are left alone:
//! what cannot be read for certain changes nothing. No word of the sender's is kept, only the numbers of a
//! status code.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use mail_parser::{HeaderName, MimeHeaders, PartType};

use crate::decide::{EXPIRED, UNCLEAR, WITHDRAWN};
use crate::ladder::Status;
use crate::message::{Message, MessageId};
use crate::reply::{CATEGORIES, COPY, DISCLOSED};
use crate::sender::{Address, unfold};

/// So long after it was sent a mail of ours may still come back. Servers give up after five days
/// (RFC 5321 section 4.5.4.1), and some that keep it longer exist.
const COMES_BACK_WITHIN: SignedDuration = SignedDuration::from_hours(14 * 24);

/// Of a report no more bytes than this are read.
const MAX_REPORT: usize = 64 * 1024;

/// And no more recipients: a mail of ours has one.
const MAX_RECIPIENTS: usize = 32;

/// The parts of a report that are looked at: words, status, what is returned, and some to spare.
const MAX_PARTS: usize = 8;

/// An enhanced status code (RFC 3463 section 2), such as 5.1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusCode {
    class: u16,
    subject: u16,
    detail: u16,
}

impl StatusCode {
    /// Reads the code that `text` begins with; a comment may follow.
    pub fn parse(text: &str) -> Option<Self> {
        let word = text.trim().split([' ', '\t', '(', ';']).next()?;
        let mut numbers = word.split('.').map(|number| {
            let is_number = (1..=3).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
            if is_number { number.parse::<u16>().ok() } else { None }
        });
        let code = Self { class: numbers.next()??, subject: numbers.next()??, detail: numbers.next()?? };
        (numbers.next().is_none() && matches!(code.class, 2 | 4 | 5)).then_some(code)
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// What a server says of one recipient (RFC 3464 section 2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// `failed`: given up. The class of the code may be 4 as well, where a server has tried for days.
    Failed(StatusCode),
    /// `delayed`: it goes on trying.
    Delayed,
    /// `delivered`, `relayed` or `expanded`.
    Delivered,
}

/// A delivery status notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The Message-ID of the mail that it returns.
    pub message_id: MessageId,
    /// Whom it speaks of, normalised, and what it says.
    pub recipients: Vec<(Address, Fate)>,
}

/// What a report says of a mail of ours, once it is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It did not arrive.
    Undelivered(StatusCode),
    /// It has not arrived yet.
    Delayed,
    /// It arrived, or went on to a server that says no more.
    Delivered,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undelivered(code) => write!(f, "reported undeliverable, {code}"),
            Self::Delayed => f.write_str("reported delayed"),
            Self::Delivered => f.write_str("reported delivered"),
        }
    }
}

/// Reads `message` as a notification in the standard form: a multipart/report with one
/// message/delivery-status part and what it returns, the whole mail or its header (RFC 6522, RFC 3464;
/// RFC 6533 for the `global` forms). `None` for everything else, and where it returns two different mails.
pub fn read(message: &Message<'_>) -> Option<Report> {
    if message.content_type() != "multipart/report" {
        return None;
    }
    let parsed = message.parsed();
    let mut status: Option<Vec<(Address, Fate)>> = None;
    let mut returned: Option<MessageId> = None;
    for id in parsed.root_part().sub_parts()?.iter().take(MAX_PARTS) {
        let Some(part) = parsed.part(*id) else { continue };
        let is = |kind: &str, subtype: &str| part.is_content_type(kind, subtype);
        if is("message", "delivery-status") || is("message", "global-delivery-status") {
            if status.is_some() {
                return None;
            }
            status = Some(recipients(part.contents()));
            continue;
        }
        let id = match &part.body {
            PartType::Message(returned) => id_of(returned),
            _ if is("text", "rfc822-headers")
                || is("message", "rfc822-headers")
                || is("message", "global-headers")
                || is("message", "rfc822") =>
            {
                Message::parse(part.contents()).and_then(|header| header.message_id())
            }
            _ => continue,
        };
        if returned.is_some() && id != returned {
            return None;
        }
        returned = id;
    }
    let recipients = status.filter(|recipients| !recipients.is_empty())?;
    Some(Report { message_id: returned?, recipients })
}

/// The Message-ID of a mail that was returned whole, when it has exactly one.
fn id_of(returned: &mail_parser::Message<'_>) -> Option<MessageId> {
    let ids = returned.headers().iter().filter(|header| header.name == HeaderName::MessageId).count();
    if ids == 1 { MessageId::parse(returned.message_id()?) } else { None }
}

/// The recipients of a delivery-status body: groups of fields with empty lines between, the first of which
/// is about the message. A group that is not clear is left out.
fn recipients(body: &[u8]) -> Vec<(Address, Fate)> {
    let body = body.get(..MAX_REPORT).unwrap_or(body);
    let text = String::from_utf8_lossy(body).replace("\r\n", "\n");
    let groups = text.split("\n\n").map(|group| group.trim_start_matches('\n'));
    groups.filter_map(recipient).take(MAX_RECIPIENTS).collect()
}

fn recipient(group: &str) -> Option<(Address, Fate)> {
    let fields = fields(group);
    // A field that stands there twice says nothing.
    let only = |name: &str| {
        let mut found = fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let (_, value) = found.next()?;
        found.next().is_none().then_some(value.as_str())
    };
    let (kind, address) = only("Final-Recipient")?.split_once(';')?;
    if !["rfc822", "utf-8"].iter().any(|known| kind.trim().eq_ignore_ascii_case(known)) {
        return None;
    }
    let address = address.trim();
    let address = address.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(address);
    let address: Address = address.parse().ok()?;
    let action = only("Action")?.split([' ', '\t', '(']).next()?.to_ascii_lowercase();
    let code = only("Status").and_then(StatusCode::parse);
    let fate = match (action.as_str(), code) {
        ("failed", Some(code)) if code.class != 2 => Fate::Failed(code),
        ("delayed", _) => Fate::Delayed,
        ("delivered" | "relayed" | "expanded", code) if code.is_none_or(|code| code.class == 2) => {
            Fate::Delivered
        }
        _ => return None,
    };
    Some((address.normalised(), fate))
}

/// Names and bodies of a group's fields, unfolded. A line that is no field is passed over.
fn fields(group: &str) -> Vec<(String, String)> {
    let mut lines: Vec<String> = Vec::new();
    for line in group.split('\n') {
        match lines.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => {
                last.push('\n');
                last.push_str(line);
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines
        .iter()
        .filter_map(|line| {
            let (name, body) = line.split_once(':')?;
            let body = String::from_utf8(unfold(body.as_bytes())?).ok()?;
            Some((name.trim_end().to_owned(), body.trim().to_owned()))
        })
        .collect()
}

/// What `report`, received at `received`, may change about a mail of ours to `recipient` that is in `state`
/// since `since`: nothing, unless that mail is out, not too long ago, and the report names its recipient and
/// does not contradict itself.
pub fn weigh(
    report: &Report,
    recipient: &Address,
    state: &str,
    since: Timestamp,
    received: Timestamp,
) -> Option<Effect> {
    let is_out = matches!(state, "sent" | "unknown") && received.duration_since(since) <= COMES_BACK_WITHIN;
    let recipient = recipient.normalised();
    let mut fates = report.recipients.iter().filter(|(who, _)| *who == recipient).map(|(_, fate)| *fate);
    let fate = fates.next().filter(|_| is_out)?;
    if fates.any(|other| other != fate) {
        return None;
    }
    Some(match fate {
        Fate::Failed(code) => Effect::Undelivered(code),
        Fate::Delayed => Effect::Delayed,
        Fate::Delivered => Effect::Delivered,
    })
}

/// Whether a person must look at a request of this status because the reply from `template` about it did not
/// arrive. What was a question, its reminder or a confirmation has not reached who waits for it. A copy of
/// their data, of its categories, or of what third parties got, is what was asked for, so its request is open again;
/// every other end was carried out, which stays so. What its sources are at work on goes on.
pub fn holds(template: &str, status: Status) -> bool {
    let says_less = [EXPIRED, WITHDRAWN, UNCLEAR, "extended"].contains(&template);
    match status {
        Status::AwaitingProof | Status::Approved => !says_less,
        Status::Completed | Status::PartlyCompleted => [COPY, CATEGORIES, DISCLOSED].contains(&template),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "<PR-7F3K2M.00112233445566778899aabbccddeeff@example.com>";

    fn report(mail: &str) -> Option<Report> {
        read(&Message::parse(mail.as_bytes()).unwrap())
    }

    /// A report in Postfix's shape, with these fields of the recipient and these returned fields.
    fn postfix(recipient: &str, returned: &str) -> String {
        format!(
            "From: MAILER-DAEMON@mx.example.org (Mail Delivery System)\nSubject: Undelivered Mail Returned to Sender\n\
             To: privacy-bounces@example.com\nAuto-Submitted: auto-replied\nMIME-Version: 1.0\n\
             Content-Type: multipart/report; report-type=delivery-status;\n\tboundary=\"4XyZ.1/mx.example.org\"\n\
             Message-Id: <4XyZ@mx.example.org>\n\nThis is a MIME-encapsulated message.\n\n\
             --4XyZ.1/mx.example.org\nContent-Description: Notification\nContent-Type: text/plain; charset=us-ascii\n\n\
             This is the mail system at host mx.example.org.\n\n\
             --4XyZ.1/mx.example.org\nContent-Description: Delivery report\nContent-Type: message/delivery-status\n\n\
             Reporting-MTA: dns; mx.example.org\nX-Postfix-Queue-ID: 4XyZ\nX-Postfix-Sender: rfc822; privacy-bounces@example.com\n\
             Arrival-Date: Mon, 23 Nov 2026 10:00:00 +0000 (UTC)\n\n{recipient}\n\
             --4XyZ.1/mx.example.org\nContent-Description: Undelivered Message Headers\nContent-Type: text/rfc822-headers\n\n\
             {returned}\n--4XyZ.1/mx.example.org--\n"
        )
    }

    const FAILED: &str = "Final-Recipient: rfc822; jane@example.net\nOriginal-Recipient: rfc822;jane@example.net\n\
        Action: failed\nStatus: 5.1.1\nRemote-MTA: dns; mail.example.net\nDiagnostic-Code: smtp; 550 5.1.1\n\
        \x20   <jane@example.net>: no such user\n";

    fn returned() -> String {
        format!(
            "Return-Path: <privacy-bounces@example.com>\nFrom: Example <privacy@example.com>\nTo: jane@example.net\nMessage-ID: {ID}\n"
        )
    }

    fn says(report: Option<Report>) -> Vec<(String, Fate)> {
        let report = report.expect("a report");
        assert_eq!(report.message_id.as_str(), ID);
        report.recipients.into_iter().map(|(address, fate)| (address.to_string(), fate)).collect()
    }

    fn failed(code: &str) -> Vec<(String, Fate)> {
        vec![("jane@example.net".to_owned(), Fate::Failed(StatusCode::parse(code).unwrap()))]
    }

    #[test]
    fn postfix_returns_the_header() {
        assert_eq!(says(report(&postfix(FAILED, &returned()))), failed("5.1.1"));
        let crlf = postfix(FAILED, &returned()).replace('\n', "\r\n");
        assert_eq!(says(report(&crlf)), failed("5.1.1"));
        // Given up after days of trying: the code is the last one, the action says what it came to.
        let expired = FAILED.replace("5.1.1", "4.4.1");
        assert_eq!(says(report(&postfix(&expired, &returned()))), failed("4.4.1"));
        let delayed = FAILED.replace("failed", "delayed").replace("5.1.1", "4.4.1");
        assert_eq!(says(report(&postfix(&delayed, &returned())))[0].1, Fate::Delayed);
        for action in ["delivered", "relayed", "expanded"] {
            let done = FAILED.replace("failed", action).replace("5.1.1", "2.0.0");
            assert_eq!(says(report(&postfix(&done, &returned())))[0].1, Fate::Delivered);
        }
    }

    #[test]
    fn exim_returns_the_mail() {
        let mail = format!(
            "From: Mail Delivery System <Mailer-Daemon@mail.example.org>\nX-Failed-Recipients: jane@example.net\n\
             Auto-Submitted: auto-replied\nTo: privacy-bounces@example.com\nReferences: {ID}\n\
             Content-Type: multipart/report; report-type=delivery-status; boundary=1763892000-eximdsn-1\nMIME-Version: 1.0\n\
             Subject: Mail delivery failed: returning message to sender\nMessage-Id: <E1vN@mail.example.org>\n\n\
             --1763892000-eximdsn-1\nContent-type: text/plain; charset=us-ascii\n\nThis message was created automatically.\n\n\
             --1763892000-eximdsn-1\nContent-type: message/delivery-status\n\nReporting-MTA: dns; mail.example.org\n\n\
             Action: failed\nFinal-Recipient: rfc822;Jane@example.NET\nStatus: 5.0.0\nRemote-MTA: dns; mx.example.net\n\
             Diagnostic-Code: smtp; 550 No such user here\n\n\
             --1763892000-eximdsn-1\nContent-type: message/rfc822\n\n\
             Return-path: <privacy-bounces@example.com>\nFrom: Example <privacy@example.com>\nTo: jane@example.net\n\
             Message-ID: {ID}\nSubject: Please confirm\n\nWords\n\n--1763892000-eximdsn-1--\n"
        );
        assert_eq!(says(report(&mail)), failed("5.0.0"));
    }

    #[test]
    fn exchange_returns_the_mail_and_folds_its_fields() {
        let mail = format!(
            "From: <postmaster@example.net>\nTo: <privacy-bounces@example.com>\n\
             Content-Type: multipart/report; report-type=delivery-status;\n boundary=\"_7A5F_\"\nX-MS-Exchange-Message-Is-Ndr:\n\
             Content-Language: en-US\nMessage-ID: <a1@example.net>\nIn-Reply-To: {ID}\nReferences: {ID}\nSubject: Undeliverable: Please confirm\n\n\
             --_7A5F_\nContent-Type: multipart/alternative; differences=Content-Type;\n boundary=\"_7A60_\"\n\n\
             --_7A60_\nContent-Type: text/plain; charset=\"us-ascii\"\nContent-Transfer-Encoding: quoted-printable\n\n\
             Your message couldn't be delivered.\n\n--_7A60_\nContent-Type: text/html; charset=\"us-ascii\"\n\n<p>no</p>\n\n--_7A60_--\n\n\
             --_7A5F_\nContent-Type: message/delivery-status\n\nReporting-MTA: dns;EX1.example.net\nReceived-From-MTA: dns;mail.example.com\n\
             Arrival-Date: Mon, 23 Nov 2026 10:00:00 +0000\n\nOriginal-Recipient: rfc822;jane@example.net\n\
             Final-Recipient: rfc822;jane@example.net\nAction: failed\nStatus: 5.1.10\nDiagnostic-Code: smtp;550 5.1.10\n\
             \x20RESOLVER.ADR.RecipientNotFound; Recipient not found\nX-Display-Name: Jane\n\n\
             --_7A5F_\nContent-Type: message/rfc822\n\nReceived: from mail.example.com\nMessage-ID: {ID}\n\
             Content-Type: text/plain; charset=\"utf-8\"\nFrom: Example <privacy@example.com>\nTo: jane@example.net\n\n--_7A5F_--\n"
        );
        assert_eq!(says(report(&mail)), failed("5.1.10"));
    }

    #[test]
    fn what_has_no_standard_parts_is_left_alone() {
        let qmail = format!(
            "From: MAILER-DAEMON@mail.example.org\nTo: privacy-bounces@example.com\nSubject: failure notice\n\n\
             Hi. This is the qmail-send program at mail.example.org.\nI'm afraid I wasn't able to deliver your message.\n\n\
             <jane@example.net>:\n192.0.2.1 does not like recipient.\nRemote host said: 550 5.1.1 no such user\n\n\
             --- Below this line is a copy of the message.\n\nReturn-Path: <privacy-bounces@example.com>\nMessage-ID: {ID}\n\nWords\n"
        );
        assert_eq!(report(&qmail), None);
        // A person who passes a bounce on is no bounce.
        let inner = postfix(FAILED, &returned());
        let outer = "From: ann@example.org\nContent-Type: multipart/mixed; boundary=\"out\"\n\n--out\n\nSee below.\n--out\nContent-Type: message/rfc822\n\n";
        assert_eq!(report(&format!("{outer}{inner}\n--out--\n")), None);
    }

    #[test]
    fn what_contradicts_itself_says_nothing() {
        let twice = format!("{}Message-ID: <other@example.com>\n", returned());
        let foreign = returned().replace("example.com>", "exam\"ple.com>");
        for (recipient, returned) in [
            (FAILED.to_owned(), twice),
            (FAILED.to_owned(), foreign),
            (FAILED.to_owned(), "Subject: none\n".to_owned()),
            (FAILED.replace("Action: failed", "Action: failed\nAction: delivered"), returned()),
            (FAILED.replace("Status: 5.1.1", "Status: 2.0.0"), returned()),
            (FAILED.replace("Status: 5.1.1", "Status: 5.1"), returned()),
            (FAILED.replace("Status: 5.1.1", "Status: 5.1.1111"), returned()),
            (FAILED.replace("Status: 5.1.1\n", ""), returned()),
            (FAILED.replace("Action: failed", "Action: exploded"), returned()),
            (FAILED.replace("Action: failed", "Action: delivered"), returned()),
            (FAILED.replace("rfc822; jane", "x400; jane"), returned()),
            (FAILED.replace("jane@example.net\nOrig", "\"jane smith\"@example.net\nOrig"), returned()),
            (String::new(), returned()),
        ] {
            assert_eq!(report(&postfix(&recipient, &returned)), None, "{recipient} {returned}");
        }
        // Two mails returned, or two reports.
        let two = postfix(FAILED, &returned()).replace(
            "--4XyZ.1/mx.example.org--",
            "--4XyZ.1/mx.example.org\nContent-Type: message/rfc822\n\nMessage-ID: <b@example.com>\n\nx\n--4XyZ.1/mx.example.org--",
        );
        assert_eq!(report(&two), None);
    }

    #[test]
    fn hostile_reports_are_bounded_and_never_end_the_process() {
        let many = FAILED.replace("jane", "x") + "\n";
        let many: String = (0..5000).map(|n| many.replace("x@", &format!("x{n}@"))).collect();
        assert_eq!(report(&postfix(&many, &returned())).unwrap().recipients.len(), MAX_RECIPIENTS);
        let whole = postfix(FAILED, &returned());
        for end in 0..whole.len() {
            if let Some(message) = Message::parse(whole.get(..end).unwrap().as_bytes()) {
                let _ = read(&message);
            }
        }
        for evil in [
            "\0",
            "Final-Recipient",
            ": : :",
            "Final-Recipient:;",
            "\n \n \n",
            "Status: 99999999999999999999.1.1",
            "é;é",
        ] {
            let _ = report(&postfix(evil, evil));
            let _ = StatusCode::parse(evil);
        }
    }

    #[test]
    fn a_report_counts_for_its_recipient_in_its_time_alone() {
        let failed = report(&postfix(FAILED, &returned())).unwrap();
        let sent: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
        let after = |days: i64| sent + SignedDuration::from_hours(24 * days);
        let jane: Address = "Jane@example.net".parse().unwrap();
        let found =
            |who: &Address, state, at| weigh(&failed, who, state, sent, at).map(|effect| effect.to_string());
        let undelivered = Some("reported undeliverable, 5.1.1".to_owned());
        assert_eq!(found(&jane, "sent", after(14)), undelivered);
        assert_eq!(found(&jane, "unknown", after(0)), undelivered);
        assert_eq!(found(&jane, "sent", after(14) + SignedDuration::from_secs(1)), None);
        for state in ["queued", "transmitting", "deferred", "bounced"] {
            assert_eq!(found(&jane, state, after(1)), None, "{state}");
        }
        assert_eq!(found(&"ann@example.net".parse().unwrap(), "sent", after(1)), None);
        let mut both = failed.clone();
        both.recipients.push((jane.normalised(), Fate::Delivered));
        assert_eq!(weigh(&both, &jane, "sent", sent, after(1)), None);
    }

    #[test]
    fn only_what_waits_is_held() {
        for status in Status::ALL {
            let waits = matches!(status, Status::AwaitingProof | Status::Approved);
            assert_eq!(holds("confirm", status), waits);
            assert!(!holds(EXPIRED, status));
            let was_told = matches!(status, Status::Completed | Status::PartlyCompleted);
            assert_eq!(holds(COPY, status), waits || was_told);
        }
    }
}
