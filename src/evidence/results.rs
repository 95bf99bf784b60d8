//! One Authentication-Results field (RFC 8601 section 2.2), read strictly: the whole of it or nothing.
//!
//! Two things are taken that the grammar forbids and honest servers write: a semicolon at the end, and
//! characters such as `/` and `=` in a value without quotes (the hash of `header.b`). One is refused
//! that it allows: a value that runs into a comment or a second quoted string. There the text beside the
//! value is the sender's, and a server that copied it without quoting has been led to end a domain early.
//!
//! What a result is worth is not judged here.

use crate::sender::unfold;

/// A field has no more results than this, or it is not read.
const MOST_RESULTS: usize = 200;

/// One field.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// Which server writes, lower case.
    pub authserv_id: String,
    /// Whether the id is the first thing in the field and without quotes, as every server writes it.
    pub is_plain: bool,
    /// Its results in order, none where the server says "none". `None`: the field is not well-formed
    /// behind its id, or too long.
    pub results: Option<Vec<Reported>>,
}

/// `method=result` and its properties.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reported {
    /// Such as `dkim`, lower case.
    pub method: String,
    /// Such as `pass`, lower case.
    pub result: String,
    /// `ptype.property` in lower case, and the value as it stands there.
    pub properties: Vec<(String, String)>,
}

impl Reported {
    /// The values of a property, such as `header.d`: mostly one.
    pub fn values<'a>(&'a self, property: &'a str) -> impl Iterator<Item = &'a str> {
        self.properties.iter().filter(move |(name, _)| name == property).map(|(_, value)| value.as_str())
    }
}

/// Reads the body of a field. `None`: not even the authserv-id can be read.
pub(super) fn read(body: &[u8]) -> Option<Field> {
    let is_plain = !matches!(body.trim_ascii_start().first(), Some(b'(' | b'"'));
    let Some(text) = unfold(body).filter(|text| std::str::from_utf8(text).is_ok()) else {
        // Control characters, or no text at all: whose it is can be seen all the same.
        let authserv_id = Cursor { rest: body.trim_ascii_start() }.value()?.to_ascii_lowercase();
        return Some(Field { authserv_id, is_plain, results: None });
    };
    let mut cursor = Cursor { rest: &text };
    cursor.skip_cfws()?;
    let authserv_id = cursor.value()?.to_ascii_lowercase();
    Some(Field { authserv_id, is_plain, results: payload(&mut cursor) })
}

/// What follows the authserv-id: `[version] ; none`, or `[version] 1*(; result)`.
fn payload(cursor: &mut Cursor<'_>) -> Option<Vec<Reported>> {
    cursor.skip_cfws()?;
    if cursor.peek().is_some_and(|byte| byte.is_ascii_digit()) {
        cursor.version()?;
    }
    let mut results = Vec::new();
    while cursor.peek().is_some() {
        cursor.expect(b';')?;
        cursor.skip_cfws()?;
        if cursor.peek().is_none() && !results.is_empty() {
            break;
        }
        let method = cursor.keyword()?;
        cursor.skip_cfws()?;
        if method == "none" && results.is_empty() && cursor.peek().is_none() {
            return Some(results);
        }
        if results.len() == MOST_RESULTS {
            return None;
        }
        results.push(resinfo(method, cursor)?);
    }
    (!results.is_empty()).then_some(results)
}

/// `[/ version] = result [reason = value] *(ptype . property = value)`, up to the next semicolon.
fn resinfo(method: String, cursor: &mut Cursor<'_>) -> Option<Reported> {
    if cursor.eat(b'/') {
        cursor.skip_cfws()?;
        cursor.version()?;
    }
    cursor.expect(b'=')?;
    cursor.skip_cfws()?;
    let result = cursor.keyword()?;
    cursor.skip_cfws()?;
    let mut properties = Vec::new();
    let mut may_be_reason = true;
    while !matches!(cursor.peek(), None | Some(b';')) {
        let mut name = cursor.keyword()?;
        cursor.skip_cfws()?;
        let is_reason = may_be_reason && name == "reason" && cursor.peek() == Some(b'=');
        may_be_reason = false;
        if !is_reason {
            cursor.expect(b'.')?;
            cursor.skip_cfws()?;
            name.push('.');
            name.push_str(&cursor.keyword()?);
            cursor.skip_cfws()?;
        }
        cursor.expect(b'=')?;
        cursor.skip_cfws()?;
        let value = cursor.value()?;
        if !matches!(cursor.peek(), None | Some(b';' | b' ')) {
            return None;
        }
        cursor.skip_cfws()?;
        if !is_reason {
            properties.push((name, value));
        }
    }
    Some(Reported { method, result, properties })
}

/// What is left of an unfolded field body, whose only control characters are gone.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn eat(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        if is_there {
            self.next();
        }
        is_there
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.eat(byte).then_some(())
    }

    /// Blanks and comments, nested ones too; `None` when a comment does not end.
    fn skip_cfws(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.peek() {
                Some(b'(') => depth += 1,
                Some(b')') if depth > 0 => depth -= 1,
                Some(b'\\') if depth > 0 => drop(self.next()),
                None if depth > 0 => return None,
                Some(b' ') => {}
                Some(_) if depth > 0 => {}
                _ => return Some(()),
            }
            self.next();
        }
    }

    /// The characters from here on that are `allowed`.
    fn run(&mut self, allowed: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| !allowed(*byte)).unwrap_or(self.rest.len());
        let (run, rest) = self.rest.split_at_checked(end).unwrap_or_default();
        self.rest = rest;
        run
    }

    /// A name in lower case: letters, digits, `-`, and `_`, which some results have (`perm_fail`).
    fn keyword(&mut self) -> Option<String> {
        let run = self.run(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        (!run.is_empty()).then(|| String::from_utf8_lossy(run).to_ascii_lowercase())
    }

    /// A version number, and what may follow it: the only version there is (RFC 8601 sections 2.2, 6.4).
    fn version(&mut self) -> Option<()> {
        let run = self.run(|byte| byte.is_ascii_digit());
        (run == b"1").then_some(())?;
        self.skip_cfws()
    }

    /// A value, without its quotes.
    fn value(&mut self) -> Option<String> {
        if self.peek() == Some(b'"') {
            return self.quoted();
        }
        let run =
            self.run(|byte| (byte.is_ascii_graphic() && !b";()<>\"\\,".contains(&byte)) || byte >= 0x80);
        (!run.is_empty()).then(|| String::from_utf8_lossy(run).into_owned())
    }

    fn quoted(&mut self) -> Option<String> {
        self.expect(b'"')?;
        let mut text = Vec::new();
        loop {
            match self.next()? {
                b'"' => return String::from_utf8(text).ok(),
                b'\\' => text.push(self.next()?),
                byte => text.push(byte),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `id method=result(name=value …) …`, `id unreadable`, or `none at all`.
    fn shown(field: &str) -> String {
        let Some(field) = read(field.as_bytes()) else { return "nothing".into() };
        let id = if field.is_plain { field.authserv_id } else { format!("?{}", field.authserv_id) };
        let Some(results) = field.results else { return format!("{id} unreadable") };
        let results = results.iter().map(|reported| {
            let properties: Vec<String> =
                reported.properties.iter().map(|(name, value)| format!(" {name}={value}")).collect();
            format!(" [{}={}{}]", reported.method, reported.result, properties.concat())
        });
        format!("{id}{}", results.collect::<String>())
    }

    #[test]
    fn well_formed_fields_are_read_whole() {
        for (field, expected) in [
            // RFC 8601 appendix B.
            (" example.org 1; none", "example.org"),
            (
                " example.com;\r\n          spf=pass smtp.mailfrom=example.net",
                "example.com [spf=pass smtp.mailfrom=example.net]",
            ),
            (
                " example.com;\n auth=pass (cram-md5) smtp.auth=sender@example.net;\n spf=fail smtp.mailfrom=example.net",
                "example.com [auth=pass smtp.auth=sender@example.net] [spf=fail smtp.mailfrom=example.net]",
            ),
            (
                " example.com;\r\n dkim=pass reason=\"good signature\"\r\n  header.i=@mail-router.example.net;\r\n dkim=fail reason=\"bad signature\"\r\n  header.i=@newyork.example.com",
                "example.com [dkim=pass header.i=@mail-router.example.net] [dkim=fail header.i=@newyork.example.com]",
            ),
            (
                " foo.example.net (foobar) 1 (baz);\n dkim (Because I like it) / 1 (One yay) = (wait for it) fail\n  policy (A dot can go here) . (like that) expired\n  (this surprised me) = (as I wasn't expecting it) 1362471462",
                "foo.example.net [dkim=fail policy.expired=1362471462]",
            ),
            // Case, quotes, nesting, what servers write beside the grammar.
            (
                "MX.Example.com; DKIM=Pass Header.D=Example.ORG",
                "mx.example.com [dkim=pass header.d=Example.ORG]",
            ),
            (
                "mx; dkim=pass header.b=\"a;\\\"b\" header.d=x.org;",
                "mx [dkim=pass header.b=a;\"b header.d=x.org]",
            ),
            ("mx; dkim=pass (a (b \\) ; dmarc=pass) c) header.b=aB/+9=", "mx [dkim=pass header.b=aB/+9=]"),
            ("mx; dmarc=pass(p=REJECT) header.from=x.org", "mx [dmarc=pass header.from=x.org]"),
            ("mx; dkim=perm_fail header.i=@x.org", "mx [dkim=perm_fail header.i=@x.org]"),
            (
                "mx; iprev=pass policy.iprev=2001:db8::1 (mail.x.org)",
                "mx [iprev=pass policy.iprev=2001:db8::1]",
            ),
            ("mx; spf=pass smtp.mailfrom=jäne@x.org", "mx [spf=pass smtp.mailfrom=jäne@x.org]"),
            ("(c) mx; none", "?mx"),
            ("\"mx\"; none", "?mx"),
            ("mx/4F2A; none", "mx/4f2a"),
            ("mx;;none", "mx unreadable"),
        ] {
            assert_eq!(shown(field), expected, "{field:?}");
        }
    }

    #[test]
    fn anything_else_is_not_read_at_all() {
        for field in [
            "mx",
            "mx;",
            "mx; dkim",
            "mx; dkim=",
            "mx; =pass",
            "mx; none; dkim=pass header.d=x.org",
            "mx; dkim=pass; none",
            "mx dkim=pass header.d=x.org",
            "mx 2; dkim=pass header.d=x.org",
            "mx; dkim/2=pass header.d=x.org",
            "mx; dkim=pass header.d=",
            "mx; dkim=pass header.d",
            "mx; dkim=pass header=x.org",
            "mx; dkim=pass .d=x.org",
            "mx; dkim=pass action=none",
            "mx; dkim=pass header.d=x.org reason=late",
            "mx; dkim=pass (open header.d=x.org",
            "mx; dkim=pass header.d=\"open",
            "mx; dkim=pass header.d=x.org)",
            "mx; dkim=pass header.d=x.org(.evil.net)",
            "mx; dkim=pass header.d=x.org(.evil.net; spf=pass smtp.helo=a)",
            "mx; spf=pass smtp.mailfrom=\"a; dkim=pass header.d=x.org \"@evil.net",
            "mx; spf=pass smtp.mailfrom=<>",
            "mx; spf=pass smtp.mailfrom=a;dmarc=pass@evil.net",
            "mx, dkim=pass header.d=x.org",
            "mx; a=b\0",
            "\r\n mx; a=b\u{7f}",
            "mx;\r dkim=pass header.d=x.org",
            "mx\r; dkim=pass header.d=x.org",
        ] {
            assert_eq!(shown(field), "mx unreadable", "{field:?}");
        }
        for field in ["", "(only a comment)", "(open", "\"open", ";dkim=pass", "\0"] {
            assert_eq!(shown(field), "nothing", "{field:?}");
        }
        assert_eq!(read(b" mx; spf=pass smtp.mailfrom=j\xe4ne@x.org").unwrap().results, None);
        let many = |count: usize| format!("mx{}", "; spf=pass".repeat(count));
        assert!(read(many(MOST_RESULTS).as_bytes()).unwrap().results.is_some());
        assert!(read(many(MOST_RESULTS + 1).as_bytes()).unwrap().results.is_none());
    }
}
