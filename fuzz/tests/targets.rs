//! The rooms that hostile mail comes through, each fed with bytes: whatever they are, none of them panics, and what they
//! make of them keeps the promises of its type. Begins with the broken mails of `tests/corpus/malformed`.

use std::sync::LazyLock;

use bolero::check;
use privacyd::classify::Classifier;
use privacyd::decide::Understanding;
use privacyd::language::LanguageFile;
use privacyd::message::Message;
use privacyd::request::Table;
use privacyd::screen::Screen;
use privacyd::sender::{Address, strict_from};
use privacyd::text::{MAX_OWN_WORDS, Stripper, fold};
use privacyd::understand::Reader;

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::load(None).expect("the built-in rules"));

fn languages() -> Vec<&'static LanguageFile> {
    TABLE.languages.iter().map(|(_, language)| language).collect()
}

fn own() -> Vec<Address> {
    vec!["privacy@example.com".parse().expect("an address")]
}

#[test]
fn parser() {
    let stripper = Stripper::new(&languages());
    check!().for_each(|bytes: &[u8]| {
        let Some(message) = Message::parse(bytes) else { return };
        let text = message.text();
        let words = message.words(&text, &stripper);
        assert!(words.own.len() <= MAX_OWN_WORDS);
        let ids = message.message_id().into_iter().chain(message.references()).chain(message.in_reply_to());
        ids.for_each(|id| assert!(!id.as_str().contains(['\r', '\n', ' '])));
    });
}

#[test]
fn screen() {
    let screen = Screen::new(&languages(), &own());
    check!().for_each(|bytes: &[u8]| {
        let Some(message) = Message::parse(bytes) else { return };
        screen.is_weakly_marked(&message);
        // The words are ours, never the mail's.
        if let Some((_, mark)) = screen.look(&message) {
            assert!(mark.is_ascii());
        }
    });
}

#[test]
fn sender() {
    check!().for_each(|bytes: &[u8]| {
        let fields: Vec<&[u8]> = bytes.split(|byte| *byte == 0).take(3).collect();
        let library = std::str::from_utf8(fields.first().copied().unwrap_or_default()).ok();
        let Ok(address) = strict_from(&fields, library) else { return };
        // What is taken for an address is one when it is written again.
        let again: Address = address.as_str().parse().expect("an address that was read");
        assert_eq!(again.normalised(), address.normalised());
        assert!(!address.as_str().contains(|c: char| c.is_control() || c.is_whitespace()));
    });
}

#[test]
fn classify() {
    let classifier = Classifier::new(&TABLE);
    let reader = Reader::new(&TABLE, &own());
    check!().for_each(|bytes: &[u8]| {
        let words = String::from_utf8_lossy(bytes);
        let (subject, body) = words.split_once('\n').unwrap_or(("", &words));
        let reading = classifier.read(subject, &fold(body));
        assert!(reading.verdict.findings().all(|found| (0.0..1.0).contains(&found.confidence)));
        assert!(!matches!(reader.read(bytes), Understanding::Unread(_)), "it hit a fault of ours");
    });
}
