//! `contacts import`: people the company knows, from CSV (RFC 4180).

use std::io::{IsTerminal, Read};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::json;

use super::{Mistake, counted};
use crate::sender::Address;
use crate::store::Store;
use crate::store::subjects::Upserted;

/// What an import did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Contacts that were not known.
    pub new: u64,
    /// Contacts that were.
    pub updated: u64,
    /// Contacts that were erased once, and are refused.
    pub erased: u64,
    /// Lines that were left out.
    pub bad: u64,
}

impl Imported {
    fn add(&mut self, Upserted { new, erased }: Upserted) {
        self.new += new;
        self.erased += erased;
    }
}

/// `contacts import`
pub(super) async fn import(store: &Store, file: &Path) -> Result<ExitCode> {
    let size = std::fs::metadata(file)
        .map_err(|error| Mistake(format!("Cannot read {}: {error}", file.display())))?
        .len();
    let bar = indicatif::ProgressBar::new(size);
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
    }
    let input = std::fs::File::open(file).with_context(|| format!("Cannot read {}", file.display()))?;
    let done = import_from(store, bar.wrap_read(input), |line, fault| {
        bar.suspend(|| eprintln!("{}:{line}: {fault}", file.display()));
    })
    .await?;
    bar.finish_and_clear();
    let left_out = counted(done.bad, "line", "lines");
    tell!("{} new, {} updated, {left_out} left out", done.new, done.updated);
    if done.erased > 0 {
        tell!("{} refused: they were erased, and stay so", done.erased);
    }
    Ok(if done.bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The faults of a line.
const SWALLOWS: &str = "a quotation mark in it is opened and not closed, so it is left out with the lines behind it, as far as \
                        the next such mark";
const MISSHAPEN: &str = "has another number of columns than the first, or is not UTF-8";
const NO_ADDRESS: &str = "the address is not a plain mail address";

/// Imports contacts from CSV; `report` is told each bad line and its fault, without its content.
///
/// # Errors
/// There is no column of addresses, or the database does not work.
pub async fn import_from(
    store: &Store,
    input: impl Read,
    mut report: impl FnMut(u64, &str),
) -> Result<Imported> {
    let input = Watched { input, quotes: Quotes::default() };
    let mut reader = csv::ReaderBuilder::new().flexible(false).trim(csv::Trim::All).from_reader(input);
    let header =
        reader.headers().map_err(|_| Mistake("The first line does not name the columns".into()))?.clone();
    let is_address = |name: &str| {
        ["email", "e-mail", "address", "mail"].iter().any(|known| name.eq_ignore_ascii_case(known))
    };
    let column = header
        .iter()
        .position(is_address)
        .ok_or_else(|| Mistake("The first line must name a column \"email\" or \"address\"".into()))?;
    let mut done = Imported::default();
    let mut batch = Vec::new();
    let mut seen = 0;
    let mut record = csv::StringRecord::new();
    loop {
        let begin = reader.position().byte();
        let read = reader.read_record(&mut record);
        if matches!(read, Ok(false)) {
            break;
        }
        let line = match &read {
            Ok(_) => record.position().map_or(0, csv::Position::line),
            Err(error) => error.position().map_or(0, csv::Position::line),
        };
        let parsed = match read {
            _ if reader.get_ref().quotes.is_open_in(begin..reader.position().byte()) => Err(SWALLOWS),
            Err(_) => Err(MISSHAPEN),
            Ok(_) if swallows(&record, column) => Err(SWALLOWS),
            Ok(_) => record.get(column).unwrap_or_default().parse::<Address>().map_err(|_| NO_ADDRESS),
        };
        match parsed {
            Ok(address) => {
                let fields = header
                    .iter()
                    .zip(record.iter())
                    .enumerate()
                    .filter(|(index, _)| *index != column)
                    .map(|(_, (name, value))| (name.to_owned(), json!(value)))
                    .collect();
                batch.push((address, fields));
                seen += 1;
            }
            Err(fault) => {
                report(line, fault);
                done.bad += 1;
            }
        }
        if batch.len() == 1000 {
            done.add(store.upsert_contacts(&batch, Timestamp::now()).await?);
            batch.clear();
        }
    }
    done.add(store.upsert_contacts(&batch, Timestamp::now()).await?);
    done.updated = seen - done.new - done.erased;
    Ok(done)
}

/// Whether a field of several lines holds one that could be a contact of its own: a mark that was not closed may be ended
/// by another at the end of a line.
fn swallows(record: &csv::StringRecord, column: usize) -> bool {
    let is_contact = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        fields.len() == record.len()
            && fields.get(column).is_some_and(|field| field.trim().parse::<Address>().is_ok())
    };
    record.iter().any(|field| field.lines().skip(1).any(is_contact))
}

/// A file of CSV, whose quotation marks are looked at on the way: the reader behind takes whatever they make of it.
struct Watched<R> {
    input: R,
    quotes: Quotes,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.input.read(buffer)?;
        match buffer.get(..length).unwrap_or_default() {
            [] if !buffer.is_empty() => self.quotes.end(),
            bytes => bytes.iter().for_each(|byte| self.quotes.see(*byte)),
        }
        Ok(length)
    }
}

/// Where quotation marks were opened that are not closed. A field that begins with one has everything in it up to the
/// next, lines and addresses too (RFC 4180 section 2 (6)), and ends there: if something else stands behind that, it
/// opens another field, and the first was never closed.
#[derive(Default)]
struct Quotes {
    at: u64,
    place: Place,
    opened: u64,
    is_over_lines: bool,
    open: Vec<u64>,
}

/// Where in a field a byte stands.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Begin,
    Bare,
    Quoted,
    /// Behind a mark in quotation marks: it ends the field, or is the first half of a doubled one.
    Behind,
}

impl Quotes {
    fn see(&mut self, byte: u8) {
        self.place = match (self.place, byte) {
            (Place::Begin, 0xef | 0xbb | 0xbf) if self.at < 3 => Place::Begin, // a byte order mark
            (Place::Begin, b'"') => {
                (self.opened, self.is_over_lines) = (self.at, false);
                Place::Quoted
            }
            (Place::Quoted, b'"') => Place::Behind,
            (Place::Quoted, _) | (Place::Behind, b'"') => {
                self.is_over_lines |= matches!(byte, b'\n' | b'\r');
                Place::Quoted
            }
            (_, b',' | b'\n' | b'\r') => Place::Begin,
            (Place::Behind, _) => {
                // Within one line it has swallowed nothing.
                self.open.extend(self.is_over_lines.then_some(self.opened));
                Place::Bare
            }
            (Place::Begin | Place::Bare, _) => Place::Bare,
        };
        self.at += 1;
    }

    fn end(&mut self) {
        if self.place == Place::Quoted {
            self.open.push(self.opened);
        }
        self.place = Place::Begin;
    }

    fn is_open_in(&self, bytes: std::ops::Range<u64>) -> bool {
        let next = self.open.partition_point(|at| *at < bytes.start);
        self.open.get(next).is_some_and(|at| bytes.contains(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_in_a_field_of_another_is_named() {
        let record = |field: &str| csv::StringRecord::from(vec!["a@example.org", field]);
        assert!(swallows(&record("Jane\nb@example.org,Bob\nc@example.org,Carl"), 0));
        assert!(!swallows(&record("Jane\nask b@example.org, or Bob\nc@example.org"), 0));
    }

    /// Where marks are open in a text, read in pieces of three bytes.
    fn open_in(text: &str) -> Vec<u64> {
        let mut input = Watched { input: text.as_bytes(), quotes: Quotes::default() };
        while input.read(&mut [0; 3]).unwrap() > 0 {}
        input.quotes.open
    }

    #[test]
    fn only_a_mark_that_is_not_closed_is_named() {
        for sound in [
            "",
            "a,b\n",
            "a,\"one\ntwo@example.org, three\"\r\nb,c",
            "a,\"says \"\"x@example.org\"\"\n\"\"\",b\n",
            "a,\"\"\nb,\"\"",
            "a,5\" x 6\"\nb,c\n",
            "a,\"Jane\" Doe\n",
            "\u{feff}\"a,\nb\"\n",
        ] {
            assert_eq!(open_in(sound), Vec::<u64>::new(), "{sound:?}");
        }
        assert_eq!(open_in("a,\"Jane\nb,\"Bob\"\nc,\"Carl\"\n"), [2]);
        assert_eq!(open_in("a,b\nc,\"Jane\nd,Dan\n"), [6]);
        assert_eq!(open_in("a,\"Jane"), [2]);
    }
}
