//! What must not matter to how a mail is read: its bytes, what it quotes, and the clothes of its words.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use base64::Engine;
use encoding_rs::{Encoding, ISO_2022_JP, WINDOWS_1252};
use privacyd::classify::Verdict;
use privacyd::decide::Understanding;
use privacyd::request::Table;
use privacyd::understand::Reader;
use proptest::prelude::*;

static READER: LazyLock<Reader> = LazyLock::new(|| {
    let own = ["privacy@example.com", "privacy@example.net"].map(|address| address.parse().unwrap());
    Reader::new(&Table::load(None).unwrap(), &own)
});

/// Every mail of the corpus.
static MAILS: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let name = |path: &PathBuf| path.strip_prefix(&root).unwrap().display().to_string();
    files(&root).iter().map(|path| (name(path), std::fs::read(path).unwrap())).collect()
});

/// The words of every letter of the corpus that a person wrote, with the name of its file.
static LETTERS: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
    let words = |bytes: &[u8]| match READER.read(bytes) {
        Understanding::Read(letter) if letter.automatic.is_none() && !letter.own_words.is_empty() => {
            Some(letter.own_words)
        }
        _ => None,
    };
    MAILS.iter().filter_map(|(name, bytes)| Some((name.clone(), words(bytes)?))).collect()
});

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "eml") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A mail with this body and these fields about it.
fn mail(fields: &str, body: &[u8]) -> Vec<u8> {
    let head = "From: Jane <jane@example.org>\r\nTo: privacy@example.com\r\nSubject: Hello\r\n\
                Message-ID: <1@example.org>\r\nMIME-Version: 1.0\r\n";
    [head.as_bytes(), fields.as_bytes(), b"\r\n", body].concat()
}

const PLAIN: &str = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n";

/// What a mail asks for: types in their order, or why a person has to look.
fn verdict(mail: &[u8]) -> String {
    let Understanding::Read(letter) = READER.read(mail) else { return "not read".to_owned() };
    if letter.automatic.is_some() {
        return "automatic".to_owned();
    }
    let Some(verdict) = letter.reading.map(|reading| reading.verdict).filter(|it| *it != Verdict::Nothing)
    else {
        return "nothing".to_owned();
    };
    let asked = verdict.asked().iter().map(|finding| finding.kind.as_str());
    let why = verdict.why().map(|why| format!("unclear: {why}"));
    asked.chain(why.as_deref()).collect::<Vec<_>>().join(" ")
}

/// The letters that are read differently in what `dress` makes of them.
fn changed(dress: impl Fn(&str) -> Option<Vec<u8>>) -> Vec<String> {
    let mut tried = 0;
    let changed = LETTERS.iter().filter_map(|(name, words)| {
        let dressed = verdict(&dress(words)?);
        tried += 1;
        let plain = verdict(&mail(PLAIN, words.as_bytes()));
        (dressed != plain).then(|| format!("{name}: {dressed} instead of {plain}"))
    });
    let changed = changed.collect();
    assert!(tried > 100, "only {tried} letters fit");
    changed
}

const NONE: [String; 0] = [];

#[test]
fn case_changes_nothing() {
    assert_eq!(changed(|words| Some(mail(PLAIN, words.to_uppercase().as_bytes()))), NONE);
    assert_eq!(changed(|words| Some(mail(PLAIN, words.to_lowercase().as_bytes()))), NONE);
}

#[test]
fn white_space_changes_nothing() {
    assert_eq!(changed(|words| Some(mail(PLAIN, words.replace('\n', "\r\n").as_bytes()))), NONE);
    assert_eq!(changed(|words| Some(mail(PLAIN, words.replace(' ', "  ").as_bytes()))), NONE);
    assert_eq!(changed(|words| Some(mail(PLAIN, words.replace(' ', "\u{a0}").as_bytes()))), NONE);
    assert_eq!(changed(|words| Some(mail(PLAIN, words.replace('\n', " \t\n").as_bytes()))), NONE);
    assert_eq!(changed(|words| Some(mail(PLAIN, format!("\n\n{words}\n\n\n").as_bytes()))), NONE);
}

fn quoted_printable(text: &[u8]) -> String {
    let mut lines = String::new();
    for line in text.split(|byte| *byte == b'\n') {
        let mut length = 0;
        for byte in line {
            if length > 70 {
                lines.push_str("=\r\n");
                length = 0;
            }
            match byte {
                b' '..=b'~' if *byte != b'=' => lines.push(char::from(*byte)),
                _ => lines.push_str(&format!("={byte:02X}")),
            }
            length += 3;
        }
        lines.push_str("\r\n");
    }
    lines
}

fn base64(bytes: &[u8]) -> String {
    let line = base64::engine::general_purpose::STANDARD.encode(bytes);
    line.as_bytes().chunks(76).map(|chunk| format!("{}\r\n", String::from_utf8_lossy(chunk))).collect()
}

fn fields(charset: &str, encoding: &str) -> String {
    format!("Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n")
}

#[test]
fn a_transfer_encoding_changes_nothing() {
    let quoted = |words: &str| {
        mail(&fields("utf-8", "quoted-printable"), quoted_printable(words.as_bytes()).as_bytes())
    };
    assert_eq!(changed(|words| Some(quoted(words))), NONE);
    assert_eq!(
        changed(|words| Some(mail(&fields("utf-8", "base64"), base64(words.as_bytes()).as_bytes()))),
        NONE
    );
}

#[test]
fn a_charset_changes_nothing() {
    let utf_16 = |words: &str| -> Vec<u8> {
        std::iter::once(0xfeff).chain(words.encode_utf16()).flat_map(u16::to_be_bytes).collect()
    };
    assert_eq!(
        changed(|words| Some(mail(&fields("utf-16", "base64"), base64(&utf_16(words)).as_bytes()))),
        NONE
    );
    for (charset, encoding) in [("windows-1252", WINDOWS_1252), ("iso-2022-jp", ISO_2022_JP)] {
        let fits = |encoding: &'static Encoding, words: &str| {
            let (bytes, _, is_lossy) = encoding.encode(words);
            (!is_lossy).then(|| bytes.into_owned())
        };
        let dress =
            |words: &str| Some(mail(&fields(charset, "base64"), base64(&fits(encoding, words)?).as_bytes()));
        assert_eq!(changed(dress), NONE, "{charset}");
    }
}

#[test]
fn html_changes_nothing() {
    let escaped = |words: &str| words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let html = |body: &str| {
        let page = format!("<html><head><title>x</title></head><body>{body}</body></html>");
        mail("Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n", page.as_bytes())
    };
    assert_eq!(changed(|words| Some(html(&escaped(words).replace('\n', "<br>\r\n")))), NONE);
    let divided = |words: &str| {
        let lines = escaped(words);
        lines
            .lines()
            .map(|line| format!("<div>{}</div>", if line.is_empty() { "<br>" } else { line }))
            .collect::<String>()
    };
    assert_eq!(changed(|words| Some(html(&divided(words)))), NONE);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(!matches!(READER.read(&bytes), Understanding::Unread(_)));
    }

    #[test]
    fn any_damaged_mail_is_read(
        which in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
        (from, to) in any::<(prop::sample::Index, prop::sample::Index)>(),
        noise in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let (_, bytes) = which.get(&MAILS);
        let (_, other) = other.get(&MAILS);
        let (from, to) = (from.index(bytes.len() + 1), to.index(other.len() + 1));
        let spliced = [&bytes[..from], &noise, &other[to..]].concat();
        prop_assert!(!matches!(READER.read(&spliced), Understanding::Unread(_)));
    }

    #[test]
    fn what_is_quoted_changes_nothing(
        own in any::<prop::sample::Index>(),
        quoted in any::<prop::sample::Index>(),
        heading in prop::sample::select(&HEADINGS),
    ) {
        let ((own_name, own), (quoted_name, quoted)) = (own.get(&LETTERS), quoted.get(&LETTERS));
        // Whether a text is legible is told by all of it.
        for text in [own, quoted] {
            prop_assume!(!verdict(&mail(PLAIN, text.as_bytes())).ends_with("not legible"));
        }
        let mark = if heading.ends_with(":") { "> " } else { "" };
        let quoted: String = quoted.lines().map(|line| format!("{mark}{line}\n")).collect();
        let with = mail(PLAIN, format!("{own}\n\n{heading}\n{quoted}").as_bytes());
        let without = mail(PLAIN, own.as_bytes());
        prop_assert_eq!(verdict(&with), verdict(&without), "{} above {}", own_name, quoted_name);
    }
}

/// How mail programs announce what they quote.
const HEADINGS: [&str; 6] = [
    "On Mon, 5 Oct 2026 at 10:11, Example Shop <privacy@example.com> wrote:",
    "Am 05.10.2026 um 10:11 schrieb Example Shop:",
    "Le lun. 5 oct. 2026 à 10:11, Example Shop <privacy@example.com> a écrit :",
    "El lun, 5 oct 2026 a las 10:11, Example Shop (<privacy@example.com>) escribió:",
    "-----Original Message-----",
    "________________________________\nFrom: Example Shop <privacy@example.com>\n\
     Sent: Monday, October 5, 2026 10:11\nTo: Jane\nSubject: News\n",
];
