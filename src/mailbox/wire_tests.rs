//! The guard alone, without a connection.

use proptest::prelude::*;

use super::*;

const ROOM: Room = Room { literal: 100, total: 1_000_000 };

/// Feeds `bytes` in pieces of the given sizes (the rest in one), and answers what came through.
fn pass(bytes: &[u8], pieces: &[usize]) -> Result<Vec<u8>, Refused> {
    let mut framing = Framing::new(ROOM);
    let (mut rest, mut out) = (bytes, Vec::new());
    let mut sizes = pieces.iter();
    while !rest.is_empty() {
        let size = sizes.next().map_or(rest.len(), |size| (*size).clamp(1, rest.len()));
        let (piece, later) = rest.split_at(size);
        let mut piece = piece.to_vec();
        framing.accept(&mut piece)?;
        out.extend(piece);
        rest = later;
    }
    Ok(out)
}

#[test]
fn what_passes_and_what_does_not() {
    let body = |text: &str| format!("* 1 FETCH ({text}\r\n");
    let deep = "(".repeat(17);
    let table: &[(&str, String, Result<(), Refused>)] = &[
        ("lines", "* OK hello\r\nt1 OK done\r\n".into(), Ok(())),
        ("a body", "* 12 FETCH (UID 5 BODY[]<0> {3}\r\nab\n)\r\nt1 OK done\r\n".into(), Ok(())),
        ("a body, items after it", "* 1 FETCH (BODY[] {3}\r\nabc UID 5)\r\n".into(), Ok(())),
        ("flags before it", "* 1 FETCH (FLAGS (\\Seen) body[] {2}\r\nab)\r\n".into(), Ok(())),
        ("two in one response", "* 1 FETCH (BODY[] {2}\r\nab BODY[]<0> {1}\r\nc)\r\n".into(), Ok(())),
        ("an empty one", "* 1 FETCH (BODY[] {0}\r\n)\r\n".into(), Ok(())),
        ("a body that looks like a lie", "* 1 FETCH (BODY[] {9}\r\n({9999}\r\n)\r\n".into(), Ok(())),
        ("at the limit", body("BODY[] {100}"), Ok(())),
        ("over the limit", body("BODY[] {101}"), Err(Refused::TooLarge)),
        ("over it, non-synchronising", body("BODY[] {101+}"), Err(Refused::TooLarge)),
        (
            "the second one over it",
            "* 1 FETCH (BODY[] {2}\r\nab BODY[] {101}\r\n".into(),
            Err(Refused::TooLarge),
        ),
        ("a lie", body("BODY[] {4000000000}"), Err(Refused::TooLarge)),
        ("a lie beyond 64 bits", body("BODY[] {99999999999999999999999}"), Err(Refused::TooLarge)),
        ("literal8", body("BODY[] ~{5}"), Err(Refused::UnexpectedLiteral)),
        ("another item", body("BODY[HEADER] {5}"), Err(Refused::UnexpectedLiteral)),
        ("deeper", body("ENVELOPE ( BODY[] {5}"), Err(Refused::UnexpectedLiteral)),
        ("in text", "* OK BODY[] {5}\r\n".into(), Err(Refused::UnexpectedLiteral)),
        ("in text with a parenthesis", "* OK ( BODY[] {5}\r\n".into(), Err(Refused::UnexpectedLiteral)),
        ("in a tagged answer", "t1 OK ( BODY[] {5}\r\n".into(), Err(Refused::UnexpectedLiteral)),
        (
            "after a response that has ended",
            "* 1 FETCH (BODY[] {1}\r\na)\r\n* OK ( BODY[] {5}\r\n".into(),
            Err(Refused::UnexpectedLiteral),
        ),
        ("braces without a number", "* OK {}\r\n* OK {x}\r\n* OK {5\r\n* OK 5}\r\n".into(), Ok(())),
        ("a long line", format!("* OK {}\r\n", "x".repeat(MAX_LINE - 7)), Ok(())),
        ("too long a line", format!("* OK {}\r\n", "x".repeat(MAX_LINE)), Err(Refused::TooLarge)),
        ("too long a line without an end", "x".repeat(MAX_LINE + 1), Err(Refused::TooLarge)),
        ("deep parentheses", format!("* 1 FETCH (BODYSTRUCTURE {deep}"), Err(Refused::TooDeep)),
        ("one after the other", format!("* 1 FETCH {}\r\n", "()".repeat(100)), Ok(())),
        ("deep over several lines", "((((\r\n((((\r\n((((\r\n((((\r\n((((\r\n".into(), Ok(())),
    ];
    for (what, text, expected) in table {
        assert_eq!(pass(text.as_bytes(), &[]).map(drop), *expected, "{what}");
    }
}

#[test]
fn lines_become_ascii_and_literals_stay() {
    let out = pass("* OK é\r\n* 1 FETCH (BODY[] {2}\r\né FLAGS (ü))\r\n".as_bytes(), &[]).unwrap();
    assert_eq!(out, "* OK ??\r\n* 1 FETCH (BODY[] {2}\r\né FLAGS (??))\r\n".as_bytes());
}

#[test]
fn the_total_is_bounded_and_renewed() {
    let mut framing = Framing::new(Room { literal: 0, total: 10 });
    framing.accept(&mut b"* OK 12\r\n".to_vec()).unwrap();
    assert_eq!(framing.accept(&mut b"* ".to_vec()), Err(Refused::TooLarge));
    let mut framing = Framing::new(Room { literal: 0, total: 10 });
    framing.accept(&mut b"* OK 12\r\n".to_vec()).unwrap();
    framing.allow(Room { literal: 0, total: 9 });
    framing.accept(&mut b"* OK 12\r\n".to_vec()).unwrap();
}

proptest! {
    /// Where the network splits the bytes makes no difference: not to what passes, not to the error.
    #[test]
    fn splitting_changes_nothing(
        parts in proptest::collection::vec(prop_oneof![
            Just("* 1 FETCH (UID 7 BODY[]<0> {4}\r\nab\r\n)\r\n".to_owned()),
            Just("* 2 FETCH (BODY[] {60}\r\n".to_owned()),
            Just("* 3 FETCH (BODY[] {101}\r\n".to_owned()),
            Just("* OK {3}\r\n".to_owned()),
            Just("t1 OK é done\r\n".to_owned()),
            Just("((((((((\r\n".to_owned()),
            "[ -~\r\n(){}é]{0,40}",
        ], 0..12),
        pieces in proptest::collection::vec(1usize..20, 0..60),
    ) {
        let bytes = parts.concat().into_bytes();
        let whole = pass(&bytes, &[]);
        prop_assert_eq!(&whole, &pass(&bytes, &pieces));
        prop_assert_eq!(&whole, &pass(&bytes, &vec![1; bytes.len()]));
    }

    /// Nothing that passes makes the library behind the guard ask for more than we allowed.
    #[test]
    fn the_parser_never_waits_for_more_than_the_limit(
        parts in proptest::collection::vec(prop_oneof![
            Just("* 1 FETCH (".to_owned()), Just("BODY[] ".to_owned()), Just("BODY[]<0> ".to_owned()),
            Just("{5}\r\n".to_owned()), Just("{90}\r\n".to_owned()), Just("{400000000}\r\n".to_owned()),
            Just("ENVELOPE (".to_owned()), Just("FLAGS (".to_owned()), Just("BODY[HEADER.FIELDS (".to_owned()),
            Just("X-GM-LABELS (".to_owned()), Just("FOO (".to_owned()), Just("FOO ".to_owned()), Just("UID 5 ".to_owned()),
            Just("\")\" ".to_owned()), Just("\"(\" ".to_owned()), Just(") ".to_owned()), Just(")".to_owned()), Just(")\r\n".to_owned()),
            Just("* OK ".to_owned()), Just("* OK [BADCHARSET (".to_owned()), Just("+ ".to_owned()), Just("t1 NO ".to_owned()),
            Just("* LIST () \"/\" ".to_owned()), Just("NIL ".to_owned()), Just("\r\n".to_owned()), "[a-z ]{0,9}",
        ], 0..16),
    ) {
        let Ok(passed) = pass(parts.concat().as_bytes(), &[]) else { return Ok(()) };
        let mut rest = passed.as_slice();
        loop {
            match imap_proto::Response::parse(rest) {
                Ok((later, _)) if later.len() < rest.len() => rest = later,
                Ok(_) => break,
                // "Incomplete(Size(400000000))"; the type is that of a library that we do not name.
                Err(error) => {
                    let text = format!("{error:?}");
                    let needed = text.strip_prefix("Incomplete(Size(").and_then(|text| text.trim_end_matches(')').parse::<u64>().ok());
                    prop_assert!(needed.is_none_or(|size| size <= ROOM.literal), "{text} for {parts:?}");
                    break;
                }
            }
        }
    }
}
