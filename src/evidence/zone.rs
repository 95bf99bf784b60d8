//! The part of a header that our own servers wrote: which Authentication-Results fields count at all.
//!
//! Servers write on top (RFC 5321 section 4.4), so the walk goes down from the top and ends at the first
//! Received field that is not ours. Ours is one that a configured host wrote; but whoever sends a mail can
//! write such a line too. So once a host of ours says that it took the mail from outside (the border),
//! the next Received field is the sender's whatever it claims.
//!
//! ## Why the name after "from" does not make a hop ours
//! It is what the client says of itself (HELO): everybody may say our name. A hop is inside when it is by
//! LMTP, which no outsider speaks (RFC 2033 section 5), or when the server's own comment about the
//! connection names a host or address of ours.
//!
//! ## Above the border's Received field, and below it
//! A server may write its results on either side of its own Received field. The milters of Postfix
//! (OpenDKIM, OpenDMARC) have theirs put above it, where nobody outside can write; Gmail writes below.
//!
//! ## What this cannot see
//! Below the border's Received field stand the results of such a border and the top of the mail as it was
//! sent. Only the border can tell its own results there from forged ones, and must delete the latter (RFC
//! 8601 section 5). OpenDKIM deletes only those with a dkim result unless it is told more, and OpenDMARC
//! none.

use core::net::{IpAddr, Ipv4Addr};

use super::Trust;
use crate::message::RawField;
use crate::sender::unfold;

/// An Authentication-Results field in the part of the header that is ours.
pub(super) struct Placed<'a> {
    pub body: &'a [u8],
    /// Whether it stands below the border's Received field, where the sender too can have written it.
    pub is_below: bool,
}

/// The Authentication-Results fields in the part of the header that is ours, topmost first.
pub(super) fn trusted<'a>(fields: impl Iterator<Item = RawField<'a>>, trust: &Trust) -> Vec<Placed<'a>> {
    let mut placed = Vec::new();
    let mut border_is_passed = false;
    for field in fields {
        if field.is("Received") {
            if border_is_passed {
                break;
            }
            // Its name may be oddly written; then no server of ours wrote it.
            let hop = if field.is_strictly("Received") { Hop::read(field.body) } else { None };
            let Some(hop) = hop.filter(|hop| hop.is_ours(trust)) else { break };
            border_is_passed = !hop.is_inside(trust);
        } else if field.is_strictly("Authentication-Results") && field.is_whole {
            placed.push(Placed { body: field.body, is_below: border_is_passed });
        }
    }
    placed
}

/// What one Received field says (RFC 5321 section 4.4).
#[derive(Debug, Default, PartialEq, Eq)]
struct Hop {
    /// Who took the mail.
    by: String,
    /// What the client called itself; `None` where the mail did not come over a connection.
    from: Option<String>,
    /// What the server says of the connection.
    comments: Vec<String>,
    /// By which protocol.
    with: String,
}

enum Piece {
    Word(String),
    Comment(String),
}

impl Hop {
    /// `[from X (…)] by Y …; date`, every clause at most once.
    fn read(body: &[u8]) -> Option<Self> {
        let mut pieces = pieces(&unfold(body)?)?.into_iter().peekable();
        let mut hop = Self::default();
        let mut word = |hop: &mut Self| loop {
            match pieces.next()? {
                Piece::Word(word) => return Some(word),
                // Comments behind "by" say nothing of the client.
                Piece::Comment(text) if hop.by.is_empty() => hop.comments.push(text),
                Piece::Comment(_) => {}
            }
        };
        let mut clause = word(&mut hop)?;
        if clause == "from" {
            hop.from = Some(word(&mut hop)?);
            clause = word(&mut hop)?;
        }
        if clause != "by" {
            return None;
        }
        hop.by = word(&mut hop)?;
        while let Some(clause) = word(&mut hop) {
            match clause.as_str() {
                // A second one is a client's name that was written without care.
                "from" | "by" => return None,
                "with" => hop.with = word(&mut hop)?,
                _ => {}
            }
        }
        Some(hop)
    }

    /// Whether a host of ours wrote it. One that names no client, and itself by a private address, is the
    /// inside of a large installation (Gmail's `by 2002:a05:…`): nobody outside comes in that way.
    fn is_ours(&self, trust: &Trust) -> bool {
        let by = bare(&self.by);
        trust.is_host(by) || (self.from.is_none() && by.parse().is_ok_and(is_private))
    }

    /// Whether the mail was ours already before this hop.
    fn is_inside(&self, trust: &Trust) -> bool {
        let Some(from) = &self.from else { return true };
        if !trust.is_host(bare(from)) {
            return false;
        }
        if matches!(self.with.as_str(), "lmtp" | "lmtps" | "lmtpa" | "lmtpsa") {
            return true;
        }
        let [comment] = self.comments.as_slice() else { return false };
        let words: Vec<&str> = comment.split_whitespace().collect();
        match words.as_slice() {
            [one] => trust.is_host(bare(one)),
            [name, address] if address.starts_with('[') && address.ends_with(']') => {
                trust.is_host(bare(name)) || trust.is_host(bare(address))
            }
            _ => false,
        }
    }
}

/// Without the brackets of an address and the dot of the root.
fn bare(host: &str) -> &str {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.strip_suffix('.').unwrap_or(host)
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback(),
        IpAddr::V6(v6) => {
            let [first, second, third, ..] = v6.segments();
            // 6to4 (RFC 3056): 2002, and the IPv4 address it wraps.
            let [a, b] = second.to_be_bytes();
            let [c, d] = third.to_be_bytes();
            v6.is_loopback()
                || v6.is_unique_local()
                || first == 0x2002 && Ipv4Addr::new(a, b, c, d).is_private()
        }
    }
}

/// Words and comments up to the semicolon before the date, in lower case. A comment within a comment
/// keeps its brackets.
fn pieces(text: &[u8]) -> Option<Vec<Piece>> {
    let lower = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let (mut pieces, mut word, mut comment) = (Vec::new(), Vec::new(), Vec::new());
    let (mut depth, mut is_quoted) = (0_usize, false);
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        let here = if depth > 0 { &mut comment } else { &mut word };
        match byte {
            b'\\' if depth > 0 || is_quoted => here.push(bytes.next()?),
            b'"' if depth == 0 => {
                is_quoted = !is_quoted;
                here.push(byte);
            }
            _ if is_quoted => here.push(byte),
            b'(' => {
                depth += 1;
                if depth > 1 {
                    here.push(byte);
                }
            }
            b')' if depth == 1 => {
                depth = 0;
                if !word.is_empty() {
                    pieces.push(Piece::Word(lower(&std::mem::take(&mut word))));
                }
                pieces.push(Piece::Comment(lower(&std::mem::take(&mut comment))));
            }
            b')' => {
                depth = depth.checked_sub(1)?;
                here.push(byte);
            }
            b' ' if depth == 0 => {
                if !word.is_empty() {
                    pieces.push(Piece::Word(lower(&std::mem::take(&mut word))));
                }
            }
            b';' if depth == 0 => break,
            _ => here.push(byte),
        }
    }
    if depth > 0 || is_quoted {
        return None;
    }
    if !word.is_empty() {
        pieces.push(Piece::Word(lower(&word)));
    }
    Some(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trust() -> Trust {
        let hosts = ["mx.example.com", "imap.example.com", "192.0.2.9"].map(str::to_owned);
        Trust::new(&["mx.example.com".to_owned()], &hosts)
    }

    fn kind(received: &str) -> &'static str {
        match Hop::read(received.as_bytes()) {
            None => "unreadable",
            Some(hop) if !hop.is_ours(&trust()) => "foreign",
            Some(hop) if hop.is_inside(&trust()) => "inside",
            Some(_) => "border",
        }
    }

    #[test]
    fn hops_are_told_apart() {
        for (received, expected) in [
            // Postfix, Exim, Exchange, Gmail, from outside.
            (
                "from mail.example.org (mail.example.org [192.0.2.1])\r\n\tby mx.example.com (Postfix) with ESMTPS id 4Fx\r\n\tfor <privacy@example.com>; Mon, 23 Nov 2026 10:00:00 +0000 (UTC)",
                "border",
            ),
            (
                "from mail.example.org ([192.0.2.1])\n\tby MX.Example.COM. with esmtps (TLS1.3) (Exim 4.98)\n\tid 1x-2y; Mon",
                "border",
            ),
            (
                "from mail.example.org (mail.example.org. [192.0.2.1]) by mx.example.com with SMTPS id a1 (Google Transport Security); Mon",
                "border",
            ),
            (
                "from mail.example.org (2001:db8::1) by mx.example.com (2001:db8::2) with Microsoft SMTP Server (version=TLS1_3) id 15.20; Mon",
                "border",
            ),
            // Inside.
            (
                "from mx.example.com\n\tby imap.example.com with LMTP\n\tid abc (envelope-from <jane@example.org>)\n\tfor <privacy@example.com>; Mon",
                "inside",
            ),
            (
                "from mx.example.com (mx.example.com [192.0.2.8]) by imap.example.com (Postfix) with ESMTP id 5; Mon",
                "inside",
            ),
            (
                "from mx.example.com (unknown [192.0.2.9]) by imap.example.com (Postfix) with ESMTP id 5; Mon",
                "inside",
            ),
            ("from mx.example.com (192.0.2.9) by imap.example.com with SMTP Server id 5; Mon", "inside"),
            ("by mx.example.com (Postfix, from userid 1000) id 6; Mon", "inside"),
            ("by 2002:a05:6f02:c49:b0:5e:1234:abcd with SMTP id k9; Mon", "inside"),
            // The client's own word, or what it can have written for it.
            (
                "from mx.example.com (unknown [203.0.113.66]) by mx.example.com (Postfix) with ESMTP id 7; Mon",
                "border",
            ),
            ("from mx.example.com by mx.example.com with ESMTP id 7; Mon", "border"),
            (
                "from mx.example.com (mx.example.com [203.0.113.66] (may be forged)) by mx.example.com id 7; Mon",
                "border",
            ),
            (
                "from mx.example.com ([203.0.113.66] helo=mx.example.com) by mx.example.com id 7; Mon",
                "border",
            ),
            (
                "from mx.example.com (HELO mx.example.com) (203.0.113.66) by mx.example.com with SMTP; Mon",
                "border",
            ),
            (
                "from mx.example.com (mx.example.com [127.0.0.1]) (evil [203.0.113.66]) by mx.example.com; Mon",
                "border",
            ),
            (
                "from x by mx.example.com with LMTP (evil [203.0.113.66]) by mx.example.com with SMTP; Mon",
                "unreadable",
            ),
            ("from \"mx.example.com\" (mx.example.com [192.0.2.8]) by mx.example.com; Mon", "border"),
            // Not ours.
            ("from mail.example.org by mx.example.com.evil.example.net with ESMTP; Mon", "foreign"),
            ("from mail.example.org by xmx.example.com with ESMTP; Mon", "foreign"),
            ("from mail.example.org (by mx.example.com) by evil.example.net; Mon", "foreign"),
            ("from mail.example.org by \"mx.example.com\"; Mon", "foreign"),
            ("by 2002:cb00:7142::1 with SMTP id k9; Mon", "foreign"),
            ("by 203.0.113.66 with SMTP; Mon", "foreign"),
            ("from 10.0.0.2 by 10.0.0.1 with SMTP; Mon", "foreign"),
            // Not of the form.
            ("", "unreadable"),
            ("by", "unreadable"),
            ("from x", "unreadable"),
            ("; by mx.example.com", "unreadable"),
            ("with ESMTP by mx.example.com; Mon", "unreadable"),
            ("from a b by mx.example.com; Mon", "unreadable"),
            ("from a (open by mx.example.com; Mon", "unreadable"),
            ("from a) by mx.example.com; Mon", "unreadable"),
            ("from \"a by mx.example.com; Mon", "unreadable"),
            ("from a by mx.example.com\0; Mon", "unreadable"),
        ] {
            assert_eq!(kind(received), expected, "{received:?}");
        }
    }
}
