//! Mail that was made to break what reads it. Whatever the bytes, reading them ends, soon, without a fault,
//! and the mail beside them is done.
//!
//! `PROPTEST_CASES=100000 cargo test --release --test hostile` looks longer.

use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use privacyd::decide::Understanding;
use privacyd::request::Table;
use privacyd::understand::{Reader, letter_digest};
use proptest::prelude::*;
use proptest::sample::Index;

#[path = "support/corridor.rs"]
mod support;

use support::House;

static READER: LazyLock<Reader> = LazyLock::new(|| {
    let own = ["privacy@example.com".parse().unwrap()];
    Reader::new(&Table::load(None).unwrap(), &own)
});

/// Every mail of the corpus and every forgery.
static SEEDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut seeds = Vec::new();
    for folder in [root.join("corpus"), root.join("forgeries")] {
        collect(&folder, &mut seeds);
    }
    assert!(seeds.len() > 300, "{} seeds", seeds.len());
    seeds
});

fn collect(folder: &Path, seeds: &mut Vec<Vec<u8>>) {
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, seeds);
        } else if path.extension().is_some_and(|extension| extension == "eml") {
            seeds.push(std::fs::read(path).unwrap());
        }
    }
}

/// Reads a mail, which must hit no fault of ours; gives how long it took.
fn read(bytes: &[u8]) -> (Understanding, Duration) {
    let begun = Instant::now();
    let understanding = READER.read(bytes);
    letter_digest(bytes);
    if let Understanding::Unread(why) = understanding {
        panic!("{why}");
    }
    (understanding, begun.elapsed())
}

/// What is done to a mail's bytes.
#[derive(Debug, Clone)]
enum Edit {
    Put(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, Index),
    Repeat(Index, Index, usize),
    /// Goes on like another mail.
    Splice(Index, Index, Index),
}

/// Bytes that mean something to somebody.
const PIECES: [&str; 22] = [
    "\r\n\r\n",
    "\n",
    "\r",
    "\0",
    "<",
    ">",
    "(",
    ")",
    "\"",
    "\\",
    "@",
    ",",
    ":",
    ";",
    "=?utf-8?q?",
    "=?x-no-such-charset?b?",
    "?=",
    "--",
    "&#x",
    "<!--",
    "\u{202e}",
    "Content-Transfer-Encoding: base64\n",
];

fn edit() -> impl Strategy<Value = Edit> {
    let index = any::<Index>;
    prop_oneof![
        (index(), any::<u8>()).prop_map(|(at, byte)| Edit::Put(at, byte)),
        (index(), prop::sample::select(&PIECES[..]))
            .prop_map(|(at, piece)| Edit::Insert(at, piece.as_bytes().to_vec())),
        (index(), prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        (index(), index()).prop_map(|(from, to)| Edit::Remove(from, to)),
        (index(), index(), 2usize..60).prop_map(|(from, to, times)| Edit::Repeat(from, to, times)),
        (index(), index(), index()).prop_map(|(at, other, from)| Edit::Splice(at, other, from)),
    ]
}

fn apply(mut mail: Vec<u8>, edit: &Edit) -> Vec<u8> {
    let ordered = |one: &Index, two: &Index| {
        let (one, two) = (one.index(mail.len() + 1), two.index(mail.len() + 1));
        one.min(two)..one.max(two)
    };
    match edit {
        Edit::Put(at, byte) => {
            if !mail.is_empty() {
                let at = at.index(mail.len());
                mail[at] = *byte;
            }
        }
        Edit::Insert(at, bytes) => {
            let at = at.index(mail.len() + 1);
            mail.splice(at..at, bytes.iter().copied());
        }
        Edit::Remove(from, to) => drop(mail.drain(ordered(from, to))),
        Edit::Repeat(from, to, times) => {
            let range = ordered(from, to);
            let range = range.start..range.end.min(range.start + 500);
            let part = mail[range.clone()].repeat(*times);
            mail.splice(range, part);
        }
        Edit::Splice(at, other, from) => {
            let other = &SEEDS[other.index(SEEDS.len())];
            mail.truncate(at.index(mail.len() + 1));
            mail.extend_from_slice(&other[from.index(other.len() + 1)..]);
        }
    }
    mail
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn f19_no_bytes_end_the_reading(seed in any::<Index>(), edits in prop::collection::vec(edit(), 1..8)) {
        let seed = SEEDS[seed.index(SEEDS.len())].clone();
        let mail = edits.iter().fold(seed, apply);
        let (_, took) = read(&mail);
        prop_assert!(took < Duration::from_secs(10), "{took:?}");
    }

    #[test]
    fn f21_no_charset_ends_the_reading(
        charset in prop_oneof![
            prop::sample::select(&["utf-7", "utf-16", "utf-32", "iso-2022-jp", "hz-gb-2312", "gb18030", "big5", "euc-kr",
                "shift_jis", "koi8-r", "windows-1252", "macintosh", "us-ascii", "unknown-8bit", "default"][..])
                .prop_map(str::to_owned),
            "[ -~]{0,40}",
        ],
        encoding in prop::sample::select(&["7bit", "8bit", "binary", "base64", "quoted-printable", "x-uuencode", "nonsense"][..]),
        body in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let mut mail = format!(
            "From: jane@example.org\nTo: privacy@example.com\nSubject: =?{charset}?b?/+7d?= =?{charset}?q?=FF=FE?=\n\
             Content-Type: text/plain; charset=\"{charset}\"\nContent-Transfer-Encoding: {encoding}\n\n"
        )
        .into_bytes();
        mail.extend(body);
        read(&mail);
    }
}

/// A mail with these fields and this body.
fn mail(fields: &str, body: &str) -> Vec<u8> {
    format!("From: jane@example.org\nTo: privacy@example.com\nMessage-ID: <1@example.org>\n{fields}\n{body}")
        .into_bytes()
}

/// Mails of up to a megabyte, which is what is read of one, each the worst of its kind.
fn monsters() -> Vec<(&'static str, Vec<u8>)> {
    const MEGABYTE: usize = 1_000_000;
    let fill = |piece: &str| piece.repeat(MEGABYTE / piece.len());
    let parts = "--x\n\nPlease stop.\n".repeat(50_000);
    let mixed = "Content-Type: multipart/mixed; boundary=x\n";
    let nested: String = (0..20_000)
        .map(|depth| format!("Content-Type: multipart/mixed; boundary=b{depth}\n\n--b{depth}\n"))
        .collect();
    let html = "Content-Type: text/html\n";
    vec![
        ("50,000 parts", mail(mixed, &parts)),
        ("parts within parts", mail("", "").into_iter().take(70).chain(nested.into_bytes()).collect()),
        ("mails within mails", mail("", &fill("Content-Type: message/rfc822\n\n"))),
        ("fields", mail(&fill("X-Field: value\n"), "")),
        ("a field", mail(&format!("X-Field: {}\n", fill("x")), "")),
        ("folded", mail(&format!("Subject: {}\n", fill("x\n ")), "")),
        ("comments", mail(&format!("Sender: {}\n", fill("(")), "")),
        ("addresses", mail(&format!("Cc: {}\n", fill("<a@b.example>,")), "")),
        ("encoded words", mail(&format!("Subject: {}\n", fill("=?utf-8?q?=61?= ")), "")),
        ("references", mail(&format!("References: {}\n", fill("<1@example.org> ")), "")),
        ("results", mail(&fill("Authentication-Results: mx.example.com; dkim=pass\n"), "")),
        ("tags", mail(html, &fill("<div>"))),
        ("a comment in HTML", mail(html, &format!("<!--{}", fill("-")))),
        ("entities", mail(html, &fill("&amp;"))),
        ("quotes", mail("", &fill("> "))),
        ("lines of quotes", mail("", &fill(">\n"))),
        ("blanks", mail("", &fill(" "))),
        ("empty lines", mail("", &fill("\n"))),
        ("a word", mail("", &fill("a"))),
        ("wishes", mail("", &fill("Please do not delete or unsubscribe my data. "))),
        ("marks on a letter", mail("Content-Type: text/plain; charset=utf-8\n", &fill("\u{301}"))),
        ("base64", mail("Content-Transfer-Encoding: base64\n", &fill("A"))),
        ("broken base64", mail("Content-Transfer-Encoding: base64\n", &fill("="))),
        ("codes", mail("", &fill("PR-7F3K2M c.abcdefghijklmnopqrstuvwxyz "))),
    ]
}

#[test]
fn f22_the_worst_of_each_kind_is_read_in_time() {
    let mut slow = Vec::new();
    // What the first mail pays for all.
    read(&mail("", "Please stop."));
    for (name, bytes) in monsters() {
        let (_, took) = read(&bytes);
        println!("{name:24} {:9} bytes {took:?}", bytes.len());
        // Unoptimised, and others may be at work.
        if took > Duration::from_secs(20) {
            slow.push((name, took));
        }
    }
    assert!(slow.is_empty(), "{slow:?}");
}

/// Exchange gives a text of its own in place of a mail that it cannot convert.
#[test]
fn f23_a_servers_substitute_for_a_mail_asks_nothing() {
    let substitute =
        b"From: Microsoft Exchange Server\nTo: privacy@example.com\nSubject: Please delete my data\n\n\
        The server was not able to hand out the following message over IMAP4: 17\n";
    let Understanding::Read(letter) = read(substitute).0 else { panic!("it is not read") };
    assert!(letter.from.is_err(), "it has a sender");
}

#[tokio::test]
async fn f18_a_bad_mail_holds_up_no_good_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/malformed");
    let mut bad = Vec::new();
    collect(&root, &mut bad);
    bad.extend([Vec::new(), vec![0; 100_000], vec![b'\n'; 1000], vec![0xff; 5000]]);
    bad.extend(
        SEEDS.iter().filter(|seed| seed.len() > 10).take(100).map(|seed| seed[..seed.len() / 3].to_vec()),
    );
    let house =
        House::with("[limits]\nunproven_replies_per_domain = 1000\nunproven_replies_in_all = 1000\n").await;
    let good = |number: usize| {
        format!(
            "From: good{number}@example.net\nTo: privacy@example.com\nMessage-ID: <good{number}@example.net>\n\n\
             Please unsubscribe me from the newsletter.\n"
        )
        .into_bytes()
    };
    let count = bad.len();
    let mails = bad.into_iter().enumerate().flat_map(|(number, bad)| [bad, good(number)]);
    let mails: Vec<(u32, Vec<u8>)> = (1..).zip(mails).collect();
    let filed = house.receive_at(Timestamp::now(), 1, mails).await;
    assert_eq!(filed.len(), 2 * count);
    assert!(count > 120, "{count} bad mails");
    for number in 0..count {
        let address = format!("good{number}@example.net");
        assert!(house.suppressed([address.as_str()]).await[0], "{address} was held up");
    }
}
