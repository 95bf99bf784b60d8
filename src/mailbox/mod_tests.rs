//! Ids as text, and what is never shown.

use super::*;

#[test]
fn ids_are_read_as_they_were_written() {
    for (kind, id) in [
        (Kind::Imap, MailId::Uid(17)),
        (Kind::Maildir, MailId::File("17".into())),
        (Kind::Maildir, MailId::File("1.M2P3.host,S=4".into())),
    ] {
        assert_eq!(MailId::parse(kind, &id.to_string()).unwrap(), id);
    }
    for (kind, text) in [
        (Kind::Imap, "0"),
        (Kind::Imap, "x"),
        (Kind::Imap, "4294967296"),
        (Kind::Maildir, ""),
        (Kind::Maildir, "../x"),
        (Kind::Maildir, "a:2,S"),
        (Kind::Maildir, ".x"),
    ] {
        assert!(MailId::parse(kind, text).is_err(), "{text:?}");
    }
}

#[test]
fn debug_shows_no_mail() {
    assert_eq!(
        format!("{:?} {:?}", Body::Whole(b"canary".to_vec()), Body::Head(b"canary".to_vec())),
        "Whole(6 bytes) Head(6 bytes)"
    );
}
