//! From a body to what the sender wrote: quoted history, forwarded blocks and signatures off, and
//! the forms in which patterns meet the rest.
//!
//! "Never over quoted text" is the rule that keeps an absence note, which quotes our own footer,
//! from unsubscribing its owner. When in doubt a line is taken for quoted: too few words lead to a
//! person, too many to a deletion.

use unicode_normalization::UnicodeNormalization;

use crate::language::{LanguageFile, OwnWordMarks};
use crate::patterns::{Patterns, begins_lines};

/// More own words than this are not read (bytes). A letter of ten pages has 30,000.
pub const MAX_OWN_WORDS: usize = 64 * 1024;

/// Folds text to the form that patterns are written for: lower case, no diacritics, plain quotes and
/// dashes, white space (line breaks excepted) to single blanks, invisible characters off.
///
/// Compatibility forms fold as well (NFKD), so full-width letters and ligatures hide nothing. What is no
/// diacritic of ours, the voicing marks of kana say, is put together again (NFC).
pub fn fold(text: &str) -> String {
    if text.is_ascii() { fold_ascii(text) } else { fold_any(text) }
}

fn fold_any(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    let mut blank = true; // nothing to separate at the beginning
    let mut push = |c: char| match c {
        '\n' => {
            while folded.ends_with(' ') {
                folded.pop();
            }
            folded.push('\n');
            blank = true;
        }
        c if c.is_whitespace() || c.is_control() => {
            if !blank {
                folded.push(' ');
                blank = true;
            }
        }
        c => {
            folded.push(c);
            blank = false;
        }
    };
    // Combining marks of the Latin, Greek and Cyrillic scripts.
    let bare = text.nfkd().filter(|c| !matches!(c, '\u{300}'..='\u{36f}'));
    bare.nfc().flat_map(char::to_lowercase).for_each(|c| match c {
        '\u{307}' => {} // the dot that a capital İ leaves behind
        // Soft hyphen, zero-width characters, direction marks, byte order mark.
        '\u{ad}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2064}'
        | '\u{feff}' => {}
        'ß' => "ss".chars().for_each(&mut push),
        'æ' => "ae".chars().for_each(&mut push),
        'œ' => "oe".chars().for_each(&mut push),
        'ø' => push('o'),
        'đ' | 'ð' => push('d'),
        'ł' => push('l'),
        'ı' => push('i'),
        'ς' => push('σ'),
        '‘' | '’' | '‚' | '‛' | '´' | '`' | 'ʼ' => push('\''),
        '“' | '”' | '„' | '«' | '»' => push('"'),
        '‐'..='―' | '−' => push('-'),
        c => push(c),
    });
    while folded.ends_with([' ', '\n']) {
        folded.pop();
    }
    folded
}

/// The same for plain ASCII, which most mail is.
fn fold_ascii(text: &str) -> String {
    let mut folded: Vec<u8> = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        let at_blank = matches!(folded.last(), None | Some(b' ' | b'\n'));
        match byte {
            b'\n' => {
                if folded.last() == Some(&b' ') {
                    folded.pop();
                }
                folded.push(b'\n');
            }
            b'\0'..=b' ' | 0x7f if at_blank => {}
            b'\0'..=b' ' | 0x7f => folded.push(b' '),
            b'`' => folded.push(b'\''),
            byte => folded.push(byte.to_ascii_lowercase()),
        }
    }
    while matches!(folded.last(), Some(b' ' | b'\n')) {
        folded.pop();
    }
    String::from_utf8(folded).unwrap_or_default() // ASCII is UTF-8
}

/// A body, divided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    /// What the sender wrote, trimmed; empty when all of it is quoted.
    pub own: String,
    /// What follows the heading that ended them, trimmed: somebody else's.
    pub history: String,
    /// Whether that heading says that the mail below it is passed on, not answered.
    pub is_forward: bool,
}

/// How a line stands to the sender's own words.
enum Line {
    Own,
    /// Not the sender's, but their words may go on behind it: so many lines.
    Skipped(usize),
    /// The end of them; whether it heads a mail that is passed on.
    End {
        is_forward: bool,
    },
}

/// Finds where a sender's own words end, by the marks of every language at once.
#[derive(Debug)]
pub struct Stripper {
    attribution: Patterns,
    /// The next three together: most lines are none of them.
    marks: Patterns,
    history: Patterns,
    forwarded: Patterns,
    signature: Patterns,
    header_from: Vec<String>,
    header_rest: Vec<String>,
}

impl Stripper {
    /// Takes the marks of `languages`.
    pub fn new(languages: &[&LanguageFile]) -> Self {
        let set = |marks: fn(&LanguageFile) -> &Vec<String>| {
            Patterns::new(languages.iter().flat_map(|language| marks(language)).map(|p| pattern(p)))
        };
        let names = |marks: fn(&LanguageFile) -> &Vec<String>| {
            languages.iter().flat_map(|language| marks(language)).map(|name| fold(name)).collect()
        };
        Self {
            attribution: set(|language| &language.own_words.attribution),
            marks: Patterns::new(
                languages
                    .iter()
                    .flat_map(|language| {
                        let OwnWordMarks { history, forwarded, signature, .. } = &language.own_words;
                        history.iter().chain(forwarded).chain(signature)
                    })
                    .map(|phrase| pattern(phrase)),
            ),
            history: set(|language| &language.own_words.history),
            forwarded: set(|language| &language.own_words.forwarded),
            signature: set(|language| &language.own_words.signature),
            header_from: names(|language| &language.own_words.header_from),
            header_rest: names(|language| &language.own_words.header_rest),
        }
    }

    /// Divides a body into what the sender wrote and what stands below it.
    pub fn divide(&self, body: &str) -> Words {
        let lines: Vec<&str> = body.lines().map(str::trim_end).collect();
        // Patterns look at the beginning of a line only as far as any of them needs.
        let folded: Vec<String> = lines
            .iter()
            .map(|line| fold(line.get(..line.floor_char_boundary(400)).unwrap_or(line)))
            .collect();
        let mut own = String::new();
        let mut none_yet = true;
        let mut index = 0;
        while let Some(line) = lines.get(index) {
            if own.len() > MAX_OWN_WORDS {
                break;
            }
            match self.line_at(&lines, &folded, index, none_yet) {
                Line::Own => {
                    none_yet &= line.trim().is_empty();
                    own.push_str(line);
                    own.push('\n');
                    index += 1;
                }
                Line::Skipped(count) => index += count,
                Line::End { is_forward } => {
                    let history = unquoted(lines.get(index + 1..).unwrap_or_default());
                    return Words { own: tidy(&own), history, is_forward };
                }
            }
        }
        Words { own: tidy(&own), ..Words::default() }
    }

    /// What the line at `index` is; `none_yet` when no own words precede it.
    fn line_at(&self, lines: &[&str], folded: &[String], index: usize, none_yet: bool) -> Line {
        const END: Line = Line::End { is_forward: false };
        let (Some(line), Some(key)) = (lines.get(index), folded.get(index)) else { return END };
        if *line == "--" || line.starts_with("-- ") && key == "--" {
            return END;
        }
        if is_quoted(key) {
            return Line::Skipped(1);
        }
        if let Some(length) = self.attribution_at(folded, index) {
            let behind = folded.get(index + length..).unwrap_or_default();
            let next = behind.iter().find(|key| !key.is_empty());
            // A quoted part that the sender may answer below; else the history stands unmarked.
            return if next.is_some_and(|key| is_quoted(key)) { Line::Skipped(length) } else { END };
        }
        let is_marked = self.marks.is_match(key.as_bytes());
        if is_marked && self.forwarded.is_match(key.as_bytes()) {
            return Line::End { is_forward: true };
        }
        if is_marked && self.history.is_match(key.as_bytes()) || self.is_header_block(folded, index) {
            return END;
        }
        if is_marked && self.signature.is_match(key.as_bytes()) {
            return if none_yet { Line::Skipped(1) } else { END };
        }
        Line::Own
    }

    /// How many lines the "On …, … wrote:" takes that begins at `index`, if one does: mail programs
    /// wrap it.
    fn attribution_at(&self, folded: &[String], index: usize) -> Option<usize> {
        let mut joined = String::new();
        for (count, key) in folded.get(index..)?.iter().take(3).enumerate() {
            if key.is_empty() {
                return None;
            }
            if !joined.is_empty() {
                joined.push(' ');
            }
            joined.push_str(key);
            if key.ends_with(':') && self.attribution.is_match(joined.as_bytes()) {
                return Some(count + 1);
            }
        }
        None
    }

    /// Whether an Outlook-style block of From, Sent, To and Subject begins at `index`.
    fn is_header_block(&self, folded: &[String], index: usize) -> bool {
        let names_field = |key: &String, names: &[String]| {
            let key = key.trim_start_matches('*'); // Outlook's bold as plain text: *From:*
            names.iter().any(|name| {
                key.strip_prefix(name.as_str())
                    .is_some_and(|rest| rest.trim_start_matches(['*', ' ']).starts_with(':'))
            })
        };
        let Some(lines) = folded.get(index..) else { return false };
        lines.first().is_some_and(|first| names_field(first, &self.header_from))
            && lines
                .iter()
                .skip(1)
                .filter(|key| !key.is_empty())
                .take(4)
                .filter(|key| names_field(key, &self.header_rest))
                .count()
                >= 2
    }
}

fn is_quoted(folded_line: &str) -> bool {
    folded_line.starts_with('>') || folded_line.starts_with("| ")
}

/// Lines without their marks of quotation, as much as is read of a sender's own words.
fn unquoted(lines: &[&str]) -> String {
    let mut text = String::new();
    for line in lines {
        if text.len() > MAX_OWN_WORDS {
            break;
        }
        text.push_str(line.trim_start_matches(['>', ' ']));
        text.push('\n');
    }
    tidy(&text)
}

/// Trims, and leaves at most one empty line between two paragraphs.
fn tidy(text: &str) -> String {
    let mut tidy = String::with_capacity(text.len());
    let mut empty = 0;
    for line in text.trim().lines() {
        empty = if line.trim().is_empty() { empty + 1 } else { 0 };
        if empty < 2 {
            tidy.push_str(line);
            tidy.push('\n');
        }
    }
    // Outlook draws a line above the history that has been cut off here.
    tidy.truncate(tidy.trim_end_matches(|c: char| c == '_' || c.is_whitespace()).len());
    tidy
}

/// In bytes. Longer ones are lists, programs' or made to be slow: pattern by pattern they cost more than several of half
/// the length.
const LONGEST_SENTENCE: usize = 3000;

/// Folded text as sentences, each on a line of its own; a question keeps its mark.
///
/// A line break inside a paragraph is a blank. A full stop after an abbreviation ("art. 17",
/// "z. B.") or before a digit ends nothing; what is longer than any sentence ends at a blank. Next to a letter of a
/// script without blanks, a blank is none: there it is a wrapped line, or somebody's taste ("GDPR 第 17 条").
pub fn sentences(folded: &str) -> String {
    let mut sentences = String::with_capacity(folded.len());
    for paragraph in paragraphs(folded) {
        let mut word_start = 0;
        let mut sentence_start = sentences.len();
        let mut last = ' ';
        let mut chars = paragraph.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            let next = chars.peek().map(|(_, next)| *next);
            let ends = match c {
                '.' => {
                    let word = paragraph.get(word_start..at).unwrap_or_default();
                    let behind = paragraph.get(at + 1..).unwrap_or_default().trim_start();
                    is_unspaced(last) && next.is_some_and(is_unspaced)
                        || next.is_none_or(char::is_whitespace)
                            && !is_abbreviation(word)
                            && !is_date(word, behind)
                            && !behind.starts_with(|c: char| c.is_ascii_digit())
                }
                '!' | '?' | ';' | ':' => {
                    is_unspaced(last) || next.is_none_or(|next| is_unspaced(next) || !next.is_alphanumeric())
                }
                '。' => true,
                // The Greek semicolon.
                '·' => is_greek(last),
                ' ' => sentences.len().saturating_sub(sentence_start) > LONGEST_SENTENCE,
                _ => false,
            };
            let is_fresh = sentences.is_empty() || sentences.ends_with('\n');
            let is_void = match c {
                ' ' => is_fresh || is_unspaced(last) || next.is_some_and(is_unspaced),
                '」' | '』' => is_fresh, // closes what ended with its own full stop
                _ => false,
            };
            if c == ' ' {
                word_start = at + 1;
            }
            if ends {
                // The Greek question mark is a semicolon.
                let is_greek = || sentences.lines().last().is_some_and(|it| it.contains(is_greek));
                if c == '?' || c == ';' && is_greek() {
                    sentences.push('?');
                }
                close_sentence(&mut sentences);
                sentence_start = sentences.len();
            } else if !is_void {
                sentences.push(c);
            }
            last = c;
        }
        close_sentence(&mut sentences);
    }
    sentences.truncate(sentences.trim_end().len());
    sentences
}

fn close_sentence(sentences: &mut String) {
    sentences.truncate(sentences.trim_end_matches([' ', ',', '、']).len());
    if !sentences.is_empty() && !sentences.ends_with('\n') {
        sentences.push('\n');
    }
}

/// Whether `c` belongs to Chinese or Japanese, signs and punctuation: scripts that put no blanks between
/// words.
pub fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{2e80}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{3ffff}')
}

/// Strokes through letters.
const STROKES: std::ops::RangeInclusive<char> = '\u{335}'..='\u{338}';

/// Stands before text that is struck through by other means.
pub const STROKE: char = '\u{336}';

/// Whether something in `text` is struck through: it is no word of its sender's any more.
pub fn is_struck(text: &str) -> bool {
    text.contains(|sign| STROKES.contains(&sign))
}

/// Whether `c` is a Greek letter or mark.
pub fn is_greek(c: char) -> bool {
    matches!(c, '\u{370}'..='\u{3ff}')
}

fn is_cyrillic(c: char) -> bool {
    matches!(c, '\u{400}'..='\u{52f}')
}

/// Paragraphs with their lines joined; a bullet or a numbered line begins one.
fn paragraphs(folded: &str) -> Vec<String> {
    let mut paragraphs: Vec<String> = Vec::new();
    let mut fresh = true;
    for line in folded.lines().map(str::trim) {
        if line.is_empty() {
            fresh = true;
            continue;
        }
        let bullet = line.strip_prefix(['-', '*', '•', '·', '・']).or_else(|| {
            let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
            (rest.len() < line.len())
                .then(|| rest.strip_prefix([')', '.']))?
                .filter(|rest| rest.starts_with(|c| c == ' ' || is_unspaced(c)))
        });
        let words = bullet.map_or(line, str::trim_start);
        match paragraphs.last_mut() {
            Some(last) if !fresh && bullet.is_none() => {
                last.push(' ');
                last.push_str(words);
            }
            _ => paragraphs.push(words.to_owned()),
        }
        fresh = false;
    }
    paragraphs
}

/// Whether a full stop behind `word` belongs to a date as German writes it: "am 12. Oktober", "12.10.".
fn is_date(word: &str, behind: &str) -> bool {
    const MONTHS: [&str; 14] = [
        "januar",
        "janner",
        "februar",
        "feber",
        "marz",
        "maerz",
        "april",
        "mai",
        "juni",
        "juli",
        "august",
        "september",
        "oktober",
        "november",
    ];
    let is_number = |text: &str| (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if let Some((day, month)) = word.split_once('.') {
        return is_number(day) && is_number(month);
    }
    is_number(word) && MONTHS.iter().any(|month| behind.starts_with(month))
}

/// Whether a full stop behind folded `word` marks a shortened word.
pub fn is_abbreviation(word: &str) -> bool {
    let word = word.trim_start_matches(['(', '"', '\'']);
    // "z.B", "a.u.b", "d.d": letters, a full stop behind each.
    let is_initials = word.contains('.') && word.split('.').all(|part| part.chars().count() == 1);
    is_initials
        || matches!(
            word,
            "art"
                | "arts"
                | "no"
                | "nr"
                | "mr"
                | "mrs"
                | "ms"
                | "dr"
                | "abs"
                | "sec"
                | "lit"
                | "cf"
                | "vs"
                | "st"
                | "bzw"
                | "sr"
                | "sra"
                | "mme"
                | "hr"
                | "fr"
                | "tel"
                | "approx"
                | "incl"
                | "para"
                | "num"
                | "sig"
                | "dott"
                | "avv"
                | "exmo"
                | "exma"
                | "dra"
                | "dhr"
                | "mevr"
        )
        || (word.chars().count() == 1 && word != "i")
}

/// What stands before and behind a word of a script whose letters the engine does not know for such: it
/// knows word ends in ASCII only, and word ends of Unicode would cost the fast engine. These take a blank
/// or a mark into the match.
const BEFORE: &str = r"(?:^|[\x00-\x09\x0b-/:-@\[-^`{-\x7f])";
const BEHIND: &str = r"(?:$|[\x00-\x09\x0b-/:-@\[-^`{-\x7f])";

/// A pattern of ours as the regex crate shall see it: folded like the text it meets, bound to word
/// ends where its script has any, and `\w` meaning "no blank", so that it holds for every script and
/// stays small without Unicode tables. An umlaut meets all that people make of it: `ö` is ö, oe and o.
pub fn pattern(phrase: &str) -> String {
    let folded = unbound_pattern(phrase);
    bound(&folded, &folded)
}

/// `folded`, bound to word ends by the script of `expanded`: the same with its classes of words written out.
pub fn bound(folded: &str, expanded: &str) -> String {
    if expanded.contains(is_unspaced) {
        format!("(?:{folded})")
    } else if expanded.contains(|c| is_greek(c) || is_cyrillic(c)) {
        // Nothing is before the beginning of a line; and what is seen to begin there is looked for nowhere else.
        let begins_line = expanded.starts_with('^') && begins_lines(expanded);
        format!("{}(?:{folded}){BEHIND}", if begins_line { "" } else { BEFORE })
    } else {
        format!(r"\b{{start-half}}(?:{folded})\b{{end-half}}")
    }
}

/// The same, not bound to word ends.
pub fn unbound_pattern(phrase: &str) -> String {
    let mut folded = String::new();
    let mut rest = phrase.chars();
    // Folding must not touch what stands behind a backslash: \S is not \s.
    let mut plain = String::new();
    while let Some(c) = rest.next() {
        if c == '\\' {
            folded.push_str(&fold_pattern(&plain));
            plain.clear();
            match rest.next() {
                Some('w') => folded.push_str(r"[^\s]"),
                Some(next) => {
                    folded.push('\\');
                    folded.push(next);
                }
                None => folded.push('\\'),
            }
        } else {
            plain.push(c);
        }
    }
    folded.push_str(&fold_pattern(&plain));
    folded
}

/// Folds literal characters; unlike [`fold`] it keeps leading, trailing and repeated blanks.
fn fold_pattern(plain: &str) -> String {
    let spelt = plain.replace(['ä', 'Ä'], "ae?").replace(['ö', 'Ö'], "oe?").replace(['ü', 'Ü'], "ue?");
    spelt
        .split(' ')
        .map(|word| if word.is_empty() { String::new() } else { fold(word) })
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::bytes::RegexBuilder;

    use super::*;

    proptest! {
        #[test]
        fn plain_text_folds_like_any(text in "[\\x00-\\x7f]{0,40}|([ \nA-c]|\r\n|\t){0,20}") {
            prop_assert_eq!(fold_ascii(&text), fold_any(&text));
        }
    }

    fn finds(phrase: &str, text: &str) -> bool {
        let regex = RegexBuilder::new(&pattern(phrase)).unicode(false).multi_line(true).build().unwrap();
        regex.is_match(fold(text).as_bytes())
    }

    #[test]
    fn an_umlaut_meets_all_its_spellings() {
        for spelt in ["Löschen", "LOESCHEN", "loschen", "lo\u{308}schen"] {
            assert!(finds("löschen", spelt), "{spelt}");
        }
        assert!(finds("schließen", "schliessen"));
        assert!(!finds("löschen", "lischen"));
    }

    #[test]
    fn sentences_end_without_a_blank_where_there_are_none() {
        assert_eq!(
            sentences(&fold("私のデータを\n削除してください。届きますか？3日以内に！よろしく")),
            "私のデータを削除してください\n届きますか?\n3日以内に\nよろしく"
        );
        assert_eq!(sentences(&fold("您好：请 删除 我的\n账号；谢谢")), "您好\n请删除我的账号\n谢谢");
        assert_eq!(sentences(&fold("ＧＤＰＲ 第 17 条、「はい。」とﾒﾙﾏｶﾞ")), "gdpr第17条、「はい\nとメルマガ");
    }

    #[test]
    fn greek_folds_and_asks() {
        assert_eq!(fold("ΌΡΟΣ όρος"), "οροσ οροσ");
        assert_eq!(
            sentences(&fold("Πώς γίνεται; Πείτε μου\u{387} ευχαριστώ\u{37e} Έχετε cookies; Ναι.")),
            "πωσ γινεται?\nπειτε μου\nευχαριστω?\nεχετε cookies?\nναι"
        );
    }

    #[test]
    fn a_pattern_is_bound_to_word_ends_where_there_are_any() {
        assert!(finds("(διαγραφή|διαγραφής)", "(ΔΙΑΓΡΑΦΗΣ) παρακαλώ"));
        assert!(finds("γραφή", "γραφή"));
        assert!(!finds("γραφή", "διαγραφή") && !finds("διαγραφ", "διαγραφή"));
        assert!(!finds("пуск", "отпуск") && finds("пуск", "отпуск\nпуск"));
        assert!(finds("メール", "HTMLメールを") && finds("第17条", "GDPR第17条に"));
        // A mark of voice is part of its letter.
        assert!(!finds("ですか", "ですが"));
    }

    #[test]
    fn a_date_ends_no_sentence() {
        for one in [
            "wis a.u.b. alles",
            "am 12. oktober geschrieben",
            "am 12.10. geschrieben",
            "art. 17 dsgvo",
            "z.b. so",
        ] {
            assert_eq!(sentences(one), one);
        }
        assert_eq!(sentences("i am 12. delete it. in 2024. bye"), "i am 12\ndelete it\nin 2024\nbye");
    }

    #[test]
    fn divides_a_body_at_its_heading() {
        let language: LanguageFile =
            toml::from_str(include_str!("../rules/languages/en.toml")).expect("the built-in file");
        let stripper = Stripper::new(&[&language]);
        let forward = "See below.\n\n---------- Forwarded message ---------\n> Please delete my data.\n";
        assert_eq!(
            stripper.divide(forward),
            Words { own: "See below.".into(), history: "Please delete my data.".into(), is_forward: true }
        );
        let reply = stripper.divide("Thanks.\n\n-----Original Message-----\nHello\n");
        assert_eq!((reply.own.as_str(), reply.is_forward), ("Thanks.", false));
    }
}
