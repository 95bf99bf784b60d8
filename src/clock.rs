//! Legal clocks: from the moment our server received a mail to the day by which somebody is owed an
//! acknowledgement or an answer, with every step of the way there in words.
//!
//! A law is data, `rules/laws.toml`; the operator says which of them apply. All that do run side by side
//! and the earliest is due. Days are counted in the operator's time zone, the day of receipt is day 0. Nothing
//! here looks at a clock of the machine: the time comes in as a value.
//!
//! ## Why proof is a key of each law
//! The laws disagree. Under the CCPA the 45 days run whatever verification takes (11 CCR 7021(b)); under UK
//! GDPR art. 12A the month starts at the latest of receipt and proof of identity. While proof is awaited,
//! every clock is counted as if it had come with the mail: a date that turns out too early harms nobody.
//!
//! ## Why an extension is counted from the start
//! One month and two more are three months from receipt (ICO, right of access): 31 January, 30 April, and
//! not 28 February, 28 April. 45 days and 45 more are 90 (11 CCR 7021(b)).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};
use serde::{Deserialize, Serialize};

use crate::config::{FileError, line_of, parse_toml};

/// The law that holds where no other does.
pub const UNKNOWN: &str = "unknown";

/// Percents of its time after which a request is warned of.
const THRESHOLDS: [u8; 3] = [50, 80, 95];

/// The level of the warning that a request is overdue.
pub const OVERDUE: u8 = 100;

/// How long a law leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Length {
    /// Calendar days.
    Days(u16),
    /// Monday to Friday, without holidays.
    BusinessDays(u16),
    /// The same date so many months later, the last of that month if it has none (GDPR art. 12(3)
    /// with Regulation 1182/71 art. 3).
    Months(u16),
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, unit) = match self {
            Self::Days(count) => (count, "day"),
            Self::BusinessDays(count) => (count, "business day"),
            Self::Months(count) => (count, "month"),
        };
        write!(f, "{count} {unit}{}", if *count == 1 { "" } else { "s" })
    }
}

impl FromStr for Length {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fail = || format!("{text:?} is not like \"30 days\", \"10 business days\" or \"1 month\"");
        let (count, unit) = text.trim().split_once(' ').ok_or_else(fail)?;
        let count: u16 = count.parse().map_err(|_| fail())?;
        if !(1..=3660).contains(&count) {
            return Err(fail());
        }
        match unit.trim() {
            "day" | "days" => Ok(Self::Days(count)),
            "business day" | "business days" => Ok(Self::BusinessDays(count)),
            "month" | "months" => Ok(Self::Months(count)),
            _ => Err(fail()),
        }
    }
}

impl TryFrom<String> for Length {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// What is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Duty {
    /// To say that the request has come (11 CCR 7021(a)).
    Acknowledge,
    /// To carry it out or refuse it, and to say so.
    Answer,
}

impl Duty {
    /// The word for it in files, in the database and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledge",
            Self::Answer => "answer",
        }
    }

    /// Reads what [`Duty::name`] says.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Acknowledge, Self::Answer].into_iter().find(|duty| duty.name() == name)
    }
}

/// What awaiting a proof of identity does to a clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhileProving {
    /// Nothing (11 CCR 7021(b)).
    #[default]
    Runs,
    /// It starts at the latest of receipt and proof (UK GDPR art. 12A).
    Starts,
    /// It stands still from our question to the proof.
    Pauses,
}

/// One clock of one law: a row of `rules/laws.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    duty: Duty,
    /// None: of every type.
    #[serde(default)]
    types: Vec<String>,
    after: Length,
    #[serde(default)]
    next_working_day: bool,
    #[serde(default)]
    extension: Option<Length>,
    #[serde(default)]
    proof: WhileProving,
    source: String,
}

impl Row {
    fn applies(&self, kind: &str) -> bool {
        self.types.is_empty() || self.types.iter().any(|known| known == kind)
    }

    /// What holds where nothing is known: the shortest general period.
    fn general() -> Self {
        Self {
            duty: Duty::Answer,
            types: Vec::new(),
            after: Length::Days(30),
            next_working_day: false,
            extension: None,
            proof: WhileProving::Runs,
            source: "no law known; the shortest general one".to_owned(),
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct LawFile {
    clock: Vec<Row>,
}

/// The laws there are, by name.
#[derive(Debug, Clone, Default)]
pub struct Laws(BTreeMap<String, Vec<Row>>);

impl Laws {
    /// Reads the table of laws; `file` is its name for error messages, `types` are the request types there
    /// are, and whatever else a row may name.
    ///
    /// # Errors
    /// The first mistake, with line and key.
    pub fn parse(file: &str, text: &str, types: &[&str]) -> Result<Self, FileError> {
        let laws: BTreeMap<String, LawFile> = parse_toml(file, text)?;
        let wrong = |path: &[&str], message: String| FileError {
            file: file.to_owned(),
            line: line_of(text, path),
            message,
        };
        for (law, LawFile { clock }) in &laws {
            if !law.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
                return Err(wrong(&[law], format!("{law}: name a law with a-z, 0-9 and '_'")));
            }
            for (index, row) in clock.iter().enumerate() {
                let place = index.to_string();
                let at = |key, message| Err(wrong(&[law, "clock", &place, key], message));
                if let Some(kind) = row.types.iter().find(|kind| !types.contains(&kind.as_str())) {
                    return at(
                        "types",
                        format!("{law}.clock.types: there is no request type {kind:?}; correct the name"),
                    );
                }
                if row.extension.is_some() && row.duty == Duty::Acknowledge {
                    return at(
                        "extension",
                        format!("{law}.clock.extension: only an answer can be extended; take it out"),
                    );
                }
                if row.source.trim().is_empty() || row.source.chars().any(char::is_control) {
                    return at("source", format!("{law}.clock.source: name the article, on one line"));
                }
            }
        }
        let general = |row: &Row| row.duty == Duty::Answer && row.types.is_empty();
        if !laws.get(UNKNOWN).is_some_and(|law| law.clock.iter().any(general)) {
            let message = "unknown: needs a [[unknown.clock]] with duty = \"answer\" and no types: it holds where no other law does";
            return Err(wrong(&[UNKNOWN], message.to_owned()));
        }
        Ok(Self(laws.into_iter().map(|(law, LawFile { clock })| (law, clock)).collect()))
    }

    /// The names of the laws.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// Which days count, and where a day begins.
#[derive(Debug, Clone)]
pub struct Calendar {
    zone: TimeZone,
    holidays: BTreeSet<Date>,
}

impl Default for Calendar {
    /// UTC, without holidays.
    fn default() -> Self {
        Self::new(TimeZone::UTC, BTreeSet::new())
    }
}

impl Calendar {
    /// The calendar of a time zone with these holidays.
    pub fn new(zone: TimeZone, holidays: BTreeSet<Date>) -> Self {
        Self { zone, holidays }
    }

    /// Reads a file of holidays: one ISO date a line, `#` and what follows it a comment.
    ///
    /// # Errors
    /// The first line that is no date.
    pub fn parse_holidays(file: &str, text: &str) -> Result<BTreeSet<Date>, FileError> {
        let lines = text.lines().enumerate().filter_map(|(index, line)| {
            let date = line.split('#').next().unwrap_or_default().trim();
            (!date.is_empty()).then_some((index + 1, date))
        });
        lines
            .map(|(line, date)| {
                // Strictly so many digits: jiff would also read a date and a time, or a week.
                let is_iso = date.len() == 10 && date.bytes().all(|b| b.is_ascii_digit() || b == b'-');
                let date: Option<Date> = is_iso.then(|| date.parse().ok()).flatten();
                date.ok_or_else(|| FileError {
                    file: file.to_owned(),
                    line,
                    message: "clock.holidays: write one date a line, as in 2026-12-25; what follows a '#' is a comment"
                        .to_owned(),
                })
            })
            .collect()
    }

    /// The calendar day of a moment.
    pub fn day(&self, at: Timestamp) -> Date {
        at.to_zoned_datetime(self.zone.clone()).date()
    }

    /// Whether the time of day `time` has come on the day of `at`.
    pub fn is_past(&self, time: Time, at: Timestamp) -> bool {
        at.to_zoned_datetime(self.zone.clone()).time() >= time
    }

    /// The beginning of a calendar year, and that of the next.
    pub fn year(&self, year: i16) -> (Timestamp, Timestamp) {
        let begin = |year| Date::new(year, 1, 1).and_then(|day| day.to_zoned_datetime(self.zone.clone()));
        let begin = |year| begin(year).map_or(Timestamp::MAX, |day| day.timestamp());
        (begin(year), begin(year.saturating_add(1)))
    }

    /// The IANA name of its time zone.
    pub fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// Its holidays.
    pub fn holidays(&self) -> &BTreeSet<Date> {
        &self.holidays
    }

    /// The moment a day begins.
    pub fn begin_of(&self, day: Date) -> Timestamp {
        day.to_zoned_datetime(self.zone.clone()).map_or(Timestamp::MAX, |day| day.timestamp())
    }

    /// The moment a day is over.
    fn end_of(&self, day: Date) -> Timestamp {
        day.tomorrow().map_or(Timestamp::MAX, |next| self.begin_of(next))
    }

    fn is_working_day(&self, date: Date) -> bool {
        !is_weekend(date) && !self.holidays.contains(&date)
    }

    /// `length` after `start`, which is not counted itself; and the holidays that were left out.
    fn count(&self, start: Date, length: Length) -> (Date, Vec<Date>) {
        match length {
            Length::Days(days) => (start.saturating_add(Span::new().days(days)), Vec::new()),
            Length::Months(months) => (start.saturating_add(Span::new().months(months)), Vec::new()),
            Length::BusinessDays(days) => {
                let (mut date, mut left, mut left_out) = (start, days, Vec::new());
                while left > 0 {
                    // The last day there is: nothing can be counted beyond it.
                    let Ok(next) = date.tomorrow() else { break };
                    date = next;
                    if self.is_working_day(date) {
                        left -= 1;
                    } else if !is_weekend(date) {
                        left_out.push(date);
                    }
                }
                (date, left_out)
            }
        }
    }

    /// This day, or the first working day after it.
    fn roll(&self, mut date: Date) -> Date {
        while !self.is_working_day(date) {
            let Ok(next) = date.tomorrow() else { break };
            date = next;
        }
        date
    }
}

fn is_weekend(date: Date) -> bool {
    matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday)
}

/// "Mon 14 Dec 2026"
pub fn written(date: Date) -> String {
    date.strftime("%a %-d %b %Y").to_string()
}

/// What the clocks of one request depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// When our server received its mail.
    pub received: Timestamp,
    /// When its sender was first asked for proof, if so.
    pub asked: Option<Timestamp>,
    /// When our server received the proof.
    pub proven: Option<Timestamp>,
    /// Whether it was extended.
    pub extended: bool,
}

impl Facts {
    /// Of a request that has just come.
    pub fn new(received: Timestamp) -> Self {
        Self { received, asked: None, proven: None, extended: false }
    }
}

/// One clock of one request, run to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deadline {
    /// The law's name.
    pub law: String,
    /// What is owed.
    pub duty: Duty,
    /// The last day on which it can be done.
    pub due: Date,
    /// Where that is written.
    pub source: String,
    /// By how much it can be extended once, as in "2 months".
    pub extension: Option<String>,
    /// Whether it was.
    pub extended: bool,
    /// When half of the time is gone: the first warning.
    #[serde(skip)]
    pub warn_at: Timestamp,
    /// The arithmetic, line by line.
    pub steps: Vec<String>,
}

/// All clocks of one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Timetable {
    /// The first line of the explanation.
    pub received: String,
    /// Every clock that runs, in the order of the laws.
    pub clocks: Vec<Deadline>,
    /// The earliest by which it has to be acknowledged, if a law says so.
    pub acknowledge: Option<Deadline>,
    /// The earliest by which it has to be answered.
    pub answer: Deadline,
}

impl Timetable {
    /// What is owed: the answer, and before it an acknowledgement where a law wants one.
    pub fn owed(&self) -> Vec<Deadline> {
        [Some(&self.answer), self.acknowledge.as_ref()].into_iter().flatten().cloned().collect()
    }

    /// The arithmetic in lines, the earliest last.
    pub fn explain(&self) -> Vec<String> {
        let mut lines = vec![self.received.clone()];
        for clock in &self.clocks {
            lines.push(format!("{}:", clock.law));
            lines.extend(clock.steps.iter().map(|step| format!("  {step}")));
        }
        let earliest = self.acknowledge.iter().chain([&self.answer]);
        lines.extend(earliest.map(|first| {
            format!("earliest to {}: {} ({})", first.duty.name(), written(first.due), first.source)
        }));
        lines
    }
}

/// A request that time runs short for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Warning {
    /// Of the thresholds that are passed the highest: 50, 80, 95, or [`OVERDUE`].
    pub level: u8,
    /// How much of its time has gone by, in percent; above 100 when it is over.
    pub percent: i64,
    /// When the next warning is due.
    pub next: Timestamp,
}

/// Why a request is extended: a fixed vocabulary, which the templates put into words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It is complex (GDPR art. 12(3)).
    Complexity,
    /// There are many requests (GDPR art. 12(3)).
    NumberOfRequests,
    /// Whose it is could not be verified yet (11 CCR 7021(b)).
    Verification,
    /// Something else.
    Other,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Complexity, Self::NumberOfRequests, Self::Verification, Self::Other];

    /// The word for it in the database, in templates and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Complexity => "complexity",
            Self::NumberOfRequests => "number_of_requests",
            Self::Verification => "verification",
            Self::Other => "other",
        }
    }

    /// Reads what [`Reason::name`] says.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

/// Why a request cannot be extended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoExtension {
    /// The clock that is due first has none.
    #[error("{0} allows no extension")]
    NotAllowed(String),
    /// The notice has to go out within the first period, and that is over.
    #[error(
        "the first period ended on {0}, and an extension has to be told within it: answer as soon as you can, and say why it is late"
    )]
    TooLate(String),
}

/// The clocks of an installation: the laws that apply, and its calendar.
#[derive(Debug, Clone)]
pub struct Clock {
    rows: Vec<(String, Row)>,
    unknown: Vec<(String, Row)>,
    calendar: Calendar,
}

impl Clock {
    /// The clocks of the laws named, by `calendar`.
    ///
    /// # Errors
    /// The place in `names` of a law that there is not.
    pub fn new(laws: &Laws, names: &[String], calendar: Calendar) -> Result<Self, usize> {
        let rows_of = |law: &str| -> Option<Vec<(String, Row)>> {
            Some(laws.0.get(law)?.iter().map(|row| (law.to_owned(), row.clone())).collect())
        };
        let mut rows = Vec::new();
        for (index, law) in names.iter().enumerate() {
            rows.extend(rows_of(law).ok_or(index)?);
        }
        Ok(Self { rows, unknown: rows_of(UNKNOWN).unwrap_or_default(), calendar })
    }

    /// Its calendar.
    pub fn calendar(&self) -> &Calendar {
        &self.calendar
    }

    /// Runs every clock for a request of type `kind`. Where no law that applies says by when it must be
    /// answered, the unknown law does.
    pub fn run(&self, kind: &str, facts: &Facts) -> Timetable {
        let applies = |rows: &[(String, Row)]| -> Vec<Deadline> {
            let rows = rows.iter().filter(|(_, row)| row.applies(kind));
            rows.map(|(law, row)| self.deadline(law, row, facts)).collect()
        };
        let mut clocks = applies(&self.rows);
        if !clocks.iter().any(|clock| clock.duty == Duty::Answer) {
            clocks.extend(applies(&self.unknown));
        }
        let first = |clocks: &[Deadline], duty: Duty| {
            clocks.iter().filter(|clock| clock.duty == duty).min_by_key(|clock| clock.due).cloned()
        };
        let answer = first(&clocks, Duty::Answer).unwrap_or_else(|| {
            let general = self.deadline(UNKNOWN, &Row::general(), facts);
            clocks.push(general.clone());
            general
        });
        let day = written(self.calendar.day(facts.received));
        Timetable {
            received: format!("received {day} (day 0, {})", self.calendar.zone_name()),
            acknowledge: first(&clocks, Duty::Acknowledge),
            clocks,
            answer,
        }
    }

    /// The clocks of a request that may be of type `kind` or of any of `others`: all of them run.
    pub fn run_any<'a>(
        &self,
        kind: &str,
        others: impl IntoIterator<Item = &'a str>,
        facts: &Facts,
    ) -> Timetable {
        let mut all = self.run(kind, facts);
        for other in others {
            let Timetable { clocks, acknowledge, answer, .. } = self.run(other, facts);
            all.clocks.extend(clocks);
            if answer.due < all.answer.due {
                all.answer = answer;
            }
            let known = all.acknowledge.take();
            all.acknowledge = known.into_iter().chain(acknowledge).min_by_key(|deadline| deadline.due);
        }
        all
    }

    /// The explanation of [`Clock::run`], line by line.
    pub fn explain(&self, kind: &str, facts: &Facts) -> Vec<String> {
        self.run(kind, facts).explain()
    }

    /// The clocks of a request after an extension that is told at `now`; `due` is by when it is due
    /// without one.
    ///
    /// # Errors
    /// No law allows it, or it is too late.
    pub fn extend(
        &self,
        kind: &str,
        facts: &Facts,
        due: Date,
        now: Timestamp,
    ) -> Result<Timetable, NoExtension> {
        let extended = self.run(kind, &Facts { extended: true, ..*facts });
        if extended.answer.due <= due {
            let Deadline { source, due, .. } = &extended.answer;
            return Err(NoExtension::NotAllowed(format!("{source}, due on {},", written(*due))));
        }
        if self.calendar.day(now) > due {
            return Err(NoExtension::TooLate(written(due)));
        }
        Ok(extended)
    }

    /// One clock, from its start to its end.
    fn deadline(&self, law: &str, row: &Row, facts: &Facts) -> Deadline {
        let mut steps = Vec::new();
        let start = self.start(row, facts, &mut steps);
        let extension = row.extension.filter(|_| facts.extended);
        let (mut due, left_out) = match extension {
            None => self.calendar.count(start, row.after),
            Some(more) => match sum(row.after, more) {
                Some(length) => self.calendar.count(start, length),
                None => {
                    let (first, mut left_out) = self.calendar.count(start, row.after);
                    let (due, more_left_out) = self.calendar.count(first, more);
                    left_out.extend(more_left_out);
                    (due, left_out)
                }
            },
        };
        let lengths = [Some(row.after), extension];
        let business = lengths.into_iter().flatten().any(|length| matches!(length, Length::BusinessDays(_)));
        let mut line = format!("+{}", row.after);
        if let Some(more) = extension {
            line.push_str(&format!(" +{more} of extension"));
        }
        if business {
            line.push_str(&format!(", {} left out", weekends_and(&left_out)));
        }
        steps.push(line);
        let only_months = lengths.into_iter().flatten().all(|length| matches!(length, Length::Months(_)));
        if only_months && due.day() != start.day() {
            steps.push(format!("that month has no day {}: its last day", start.day()));
        }
        let rolled = if row.next_working_day { self.calendar.roll(due) } else { due };
        if rolled != due {
            let what = if is_weekend(due) { "a weekend" } else { "a holiday" };
            steps.push(format!("{} is on {what}: the next working day", written(due)));
            due = rolled;
        }
        steps.push(format!("= {} ({}, {})", written(due), row.source, row.duty.name()));
        Deadline {
            law: law.to_owned(),
            duty: row.duty,
            due,
            source: row.source.clone(),
            extension: row.extension.map(|length| length.to_string()),
            extended: extension.is_some(),
            warn_at: self.warn_at(facts.received, due, 0, facts.received),
            steps,
        }
    }

    /// Day 0 of one clock.
    fn start(&self, row: &Row, facts: &Facts, steps: &mut Vec<String>) -> Date {
        let received = self.calendar.day(facts.received);
        let Some(asked) = facts.asked.filter(|_| row.proof != WhileProving::Runs) else { return received };
        let Some(proven) = facts.proven else {
            steps.push("proof is awaited: counted from receipt until it comes".to_owned());
            return received;
        };
        let (asked, proven) = (self.calendar.day(asked), self.calendar.day(proven));
        match row.proof {
            WhileProving::Runs => received,
            WhileProving::Starts => {
                let start = received.max(proven);
                steps.push(format!("starts at the proof of identity, {}", written(start)));
                start
            }
            WhileProving::Pauses => {
                let days = (proven.duration_since(asked).as_hours() / 24).max(0);
                let unit = if days == 1 { "day" } else { "days" };
                steps.push(format!("stood still for {days} {unit}, until the proof of {}", written(proven)));
                received.saturating_add(Span::new().days(days))
            }
        }
    }

    /// What is to be warned of at `now` about something due on `due`, for which the mail was received at
    /// `received`; `None` while less than half of the time is gone.
    pub fn warning(&self, received: Timestamp, due: Date, now: Timestamp) -> Option<Warning> {
        let end = self.calendar.end_of(due);
        let level = if now >= end {
            OVERDUE
        } else {
            let passed = |level: &u8| now >= moment(received, end, *level);
            THRESHOLDS.into_iter().rev().find(passed)?
        };
        let (gone, whole) = (now.duration_since(received), end.duration_since(received));
        let percent = if whole.is_positive() {
            gone.as_secs().saturating_mul(100) / whole.as_secs().max(1)
        } else {
            i64::from(OVERDUE)
        };
        Some(Warning { level, percent, next: self.warn_at(received, due, level, now) })
    }

    /// When the next warning is due once that of level `told` was given at `now`; 0 is none. What is
    /// overdue is warned of every day.
    pub fn warn_at(&self, received: Timestamp, due: Date, told: u8, now: Timestamp) -> Timestamp {
        let end = self.calendar.end_of(due);
        match THRESHOLDS.into_iter().find(|level| *level > told) {
            Some(level) => moment(received, end, level).min(end),
            None if told < OVERDUE => end,
            None => {
                let days = now.duration_since(end).as_hours().max(0) / 24 + 1;
                end.saturating_add(SignedDuration::from_hours(24 * days)).unwrap_or(Timestamp::MAX)
            }
        }
    }
}

/// When `percent` of the time between the two is gone.
fn moment(received: Timestamp, end: Timestamp, percent: u8) -> Timestamp {
    let gone = end.duration_since(received).as_secs().max(0) / 100 * i64::from(percent);
    received.saturating_add(SignedDuration::from_secs(gone)).unwrap_or(Timestamp::MAX)
}

/// Both lengths as one, if they are counted in the same unit.
fn sum(first: Length, more: Length) -> Option<Length> {
    match (first, more) {
        (Length::Days(a), Length::Days(b)) => Some(Length::Days(a.saturating_add(b))),
        (Length::BusinessDays(a), Length::BusinessDays(b)) => Some(Length::BusinessDays(a.saturating_add(b))),
        (Length::Months(a), Length::Months(b)) => Some(Length::Months(a.saturating_add(b))),
        _ => None,
    }
}

/// "weekends and 2 holidays (25 Dec, 1 Jan)"
fn weekends_and(holidays: &[Date]) -> String {
    let days: Vec<String> = holidays.iter().map(|date| date.strftime("%-d %b").to_string()).collect();
    match days.len() {
        0 => "weekends".to_owned(),
        1 => format!("weekends and 1 holiday ({})", days.concat()),
        count => format!("weekends and {count} holidays ({})", days.join(", ")),
    }
}

#[cfg(test)]
mod tests;
