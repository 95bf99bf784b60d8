//! The yearly report: what became of the requests of a time, by type, and in how many days (11 CCR 7102).
//! Counts alone; nobody's name.

use std::collections::BTreeMap;
use std::fmt::Write;

use jiff::civil::Date;
use serde::Serialize;

use crate::ladder::Status;

/// A request, as far as it is counted.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its type.
    pub kind: String,
    /// How far it has come.
    pub status: Status,
    /// The day on which our server received it.
    pub received: Date,
    /// The day on which it was closed.
    pub closed: Option<Date>,
    /// Why it was denied, by the word for it.
    pub denial: Option<String>,
}

/// Open requests of one type that are due on one day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Open {
    /// The day.
    pub due: Date,
    /// The type.
    pub kind: String,
    /// How many.
    pub requests: u32,
}

/// What became of some requests.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Line {
    /// How many there were.
    pub received: u64,
    /// Complied with in whole.
    pub complied: u64,
    /// Complied with in part.
    pub complied_in_part: u64,
    /// Denied.
    pub denied: u64,
    /// The same by reason.
    pub denied_because: BTreeMap<String, u64>,
    /// Taken back by their senders.
    pub withdrawn: u64,
    /// Ended without proof.
    pub expired: u64,
    /// Still open.
    pub open: u64,
    /// Days from receipt to close, the middle one, of those complied with or denied: nobody has answered what
    /// was taken back or expired.
    pub median_days: Option<f64>,
    /// The same, on average.
    pub mean_days: Option<f64>,
    #[serde(skip)]
    days: Vec<i32>,
}

/// The report.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The first day of receipt.
    pub from: Date,
    /// The last.
    pub to: Date,
    /// The day it was made.
    pub today: Date,
    /// Requests of these days that were closed before this one may be purged and not counted.
    pub purged_before: Option<Date>,
    /// What became of them by type.
    pub types: BTreeMap<String, Line>,
    /// And of all.
    pub total: Line,
    /// What is open today, whenever it was received.
    pub open_by_due_date: Vec<Open>,
}

impl Line {
    fn count(&mut self, request: &Request) {
        self.received += 1;
        let is_answered = match request.status {
            Status::Completed => {
                self.complied += 1;
                true
            }
            Status::PartlyCompleted => {
                self.complied_in_part += 1;
                true
            }
            Status::Denied => {
                self.denied += 1;
                let why = request.denial.as_deref().unwrap_or("not recorded");
                *self.denied_because.entry(why.to_owned()).or_default() += 1;
                true
            }
            Status::Withdrawn => {
                self.withdrawn += 1;
                false
            }
            Status::Expired => {
                self.expired += 1;
                false
            }
            Status::AwaitingProof | Status::Approved | Status::Executing | Status::Held => {
                self.open += 1;
                false
            }
        };
        if let (true, Some(closed)) = (is_answered, request.closed) {
            self.days.push((closed - request.received).get_days());
        }
    }

    fn finish(&mut self) {
        self.days.sort_unstable();
        let count = self.days.len();
        let middle = [count.saturating_sub(1) / 2, count / 2];
        let [low, high] = middle.map(|index| self.days.get(index).copied());
        self.median_days = low.zip(high).map(|(low, high)| f64::from(low + high) / 2.0);
        let sum: f64 = self.days.iter().copied().map(f64::from).sum();
        self.mean_days = (count > 0).then(|| sum / count as f64);
    }

    /// The outcomes, in the order of the report.
    fn outcomes(&self) -> [u64; 6] {
        [self.complied, self.complied_in_part, self.denied, self.withdrawn, self.expired, self.open]
    }
}

/// The words for [`Line::outcomes`].
const OUTCOMES: [&str; 6] = ["complied", "in part", "denied", "withdrawn", "expired", "open"];

/// Their colours, told apart also by those who see few.
const COLOURS: [&str; 6] = ["#0072b2", "#56b4e9", "#d55e00", "#999999", "#cccccc", "#e69f00"];

/// Days from receipt to close, in the steps of the chart: up to so many.
const STEPS: [(i32, &str); 7] = [
    (1, "0–1"),
    (7, "2–7"),
    (14, "8–14"),
    (30, "15–30"),
    (45, "31–45"),
    (90, "46–90"),
    (i32::MAX, "over 90"),
];

impl Report {
    /// Counts `requests`, which were received from `from` to `to`.
    pub fn of(
        (from, to): (Date, Date),
        today: Date,
        purged_before: Option<Date>,
        requests: &[Request],
        open_by_due_date: Vec<Open>,
    ) -> Self {
        let mut types: BTreeMap<String, Line> = BTreeMap::new();
        let mut total = Line::default();
        for request in requests {
            types.entry(request.kind.clone()).or_default().count(request);
            total.count(request);
        }
        types.values_mut().chain([&mut total]).for_each(Line::finish);
        Self { from, to, today, purged_before, types, total, open_by_due_date }
    }

    /// What the columns of [`Report::rows`] are.
    pub const HEADER: [&str; 10] = [
        "type",
        "received",
        "complied",
        "in part",
        "denied",
        "withdrawn",
        "expired",
        "open",
        "median days",
        "mean days",
    ];

    /// A row for each type, and one for all.
    pub fn rows(&self) -> Vec<[String; 10]> {
        let lines = self.types.iter().map(|(kind, line)| (kind.as_str(), line)).chain([("all", &self.total)]);
        let days = |days: Option<f64>| days.map_or_else(|| "-".to_owned(), |days| format!("{days:.1}"));
        lines
            .map(|(name, line)| {
                let [complied, partly, denied, withdrawn, expired, open] =
                    line.outcomes().map(|n| n.to_string());
                let received = line.received.to_string();
                let (median, mean) = (days(line.median_days), days(line.mean_days));
                [name.to_owned(), received, complied, partly, denied, withdrawn, expired, open, median, mean]
            })
            .collect()
    }

    /// Type, reason and count of every kind of denial.
    pub fn denials(&self) -> Vec<[String; 3]> {
        let lines = self.types.iter();
        lines
            .flat_map(|(kind, line)| {
                line.denied_because.iter().map(|(why, count)| [kind.clone(), why.clone(), count.to_string()])
            })
            .collect()
    }

    /// Due date, type and count of what is open.
    pub fn open(&self) -> Vec<[String; 3]> {
        let due = |open: &Open| match open.due < self.today {
            true => format!("{} (overdue)", open.due),
            false => open.due.to_string(),
        };
        self.open_by_due_date
            .iter()
            .map(|open| [due(open), open.kind.clone(), open.requests.to_string()])
            .collect()
    }

    /// The sentences around the tables.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = vec![
            "Days are counted from receipt to close, of requests complied with or denied.".to_owned(),
            format!("What is open is so on {}, whenever it was received.", self.today),
        ];
        notes.extend(self.purged_before.map(|day| {
            format!("Not complete: of requests that were closed before {day} the records may be purged.")
        }));
        notes
    }

    /// One file without scripts and without anything from elsewhere.
    pub fn html(&self) -> String {
        let title = format!("Privacy requests received {} to {}", self.from, self.to);
        let mut page = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        );
        page += &table(&Self::HEADER, &self.rows());
        page += "<h2>What became of them</h2>\n";
        page += &self.bars();
        page += "<h2>Days from receipt to close</h2>\n";
        page += &self.distribution();
        page += "<h2>Denied, by reason</h2>\n";
        page += &table(&["type", "reason", "requests"], &self.denials());
        page += "<h2>Open, by due date</h2>\n";
        page += &table(&["due", "type", "requests"], &self.open());
        for note in self.notes() {
            let _ = writeln!(page, "<p>{}</p>", escaped(&note));
        }
        page + "</body>\n</html>\n"
    }

    /// A bar for each type, as long as requests were received, parted by what became of them.
    fn bars(&self) -> String {
        let most = self.types.values().map(|line| line.received).max().unwrap_or(0).max(1) as f64;
        let height = 26 * self.types.len() + 30;
        let mut svg =
            format!("<svg role=\"img\" aria-label=\"Outcomes by type\" width=\"760\" height=\"{height}\">\n");
        for (index, (word, colour)) in OUTCOMES.iter().zip(COLOURS).enumerate() {
            let x = 150 + 95 * index;
            let _ = writeln!(
                svg,
                "<rect x=\"{x}\" y=\"4\" width=\"12\" height=\"12\" fill=\"{colour}\"/><text x=\"{}\" y=\"14\">{word}</text>",
                x + 16
            );
        }
        for (index, (kind, line)) in self.types.iter().enumerate() {
            let y = 30 + 26 * index;
            let _ = writeln!(svg, "<text x=\"0\" y=\"{}\">{}</text>", y + 14, escaped(kind));
            let mut x = 150.0;
            for (count, colour) in line.outcomes().into_iter().zip(COLOURS) {
                let width = count as f64 / most * 550.0;
                if count > 0 {
                    let _ = writeln!(
                        svg,
                        "<rect x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"18\" fill=\"{colour}\"/>"
                    );
                }
                x += width;
            }
            let _ = writeln!(svg, "<text x=\"{:.1}\" y=\"{}\">{}</text>", x + 6.0, y + 14, line.received);
        }
        svg + "</svg>\n"
    }

    /// How many requests took how many days.
    fn distribution(&self) -> String {
        let mut counts = [0_u64; STEPS.len()];
        for days in &self.total.days {
            let step = STEPS.iter().zip(counts.iter_mut()).find(|((most, _), _)| days <= most);
            if let Some((_, count)) = step {
                *count += 1;
            }
        }
        let most = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
        let mut svg =
            "<svg role=\"img\" aria-label=\"Requests by days\" width=\"760\" height=\"200\">\n".to_owned();
        for (index, ((_, label), count)) in STEPS.iter().zip(counts).enumerate() {
            let height = count as f64 / most * 140.0;
            let (x, y) = (10 + 100 * index, 165.0 - height);
            let _ = writeln!(
                svg,
                "<rect x=\"{x}\" y=\"{y:.1}\" width=\"80\" height=\"{height:.1}\" fill=\"#0072b2\"/>\
                 <text x=\"{x}\" y=\"{:.1}\">{count}</text><text x=\"{x}\" y=\"182\">{label}</text>",
                y - 5.0
            );
        }
        svg + "</svg>\n"
    }
}

const STYLE: &str = "body { font-family: sans-serif; margin: 2em; color: #222 }\n\
                     table { border-collapse: collapse }\n\
                     th, td { text-align: left; padding: 0.2em 1em 0.2em 0; border-bottom: 1px solid #ccc }\n\
                     text { font-size: 12px; fill: #222 }\n";

fn table<const N: usize>(header: &[&str; N], rows: &[[String; N]]) -> String {
    if rows.is_empty() {
        return "<p>None.</p>\n".to_owned();
    }
    let row = |cells: &[String; N]| {
        let cells: String = cells.iter().map(|cell| format!("<td>{}</td>", escaped(cell))).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let header: String = header.iter().map(|cell| format!("<th>{cell}</th>")).collect();
    format!("<table>\n<tr>{header}</tr>\n{}</table>\n", rows.iter().map(row).collect::<String>())
}

/// Text that no HTML can hide in.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            other => out.push(other),
        }
    }
    out
}
