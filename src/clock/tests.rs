//! The law table row by row, and the calendar at its edges, with dates worked out by hand.

use std::sync::LazyLock;

use super::*;
use crate::request::Table;

static BUILT_IN: LazyLock<Table> = LazyLock::new(|| Table::load(None).expect("the built-in rules"));

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn day(text: &str) -> Date {
    text.parse().expect("a date")
}

fn calendar(zone: &str, holidays: &[&str]) -> Calendar {
    Calendar::new(TimeZone::get(zone).expect("a zone"), holidays.iter().map(|date| day(date)).collect())
}

/// The clocks of these laws of the built-in table.
fn clock(laws: &[&str], calendar: Calendar) -> Clock {
    let names: Vec<String> = laws.iter().map(|law| (*law).to_owned()).collect();
    Clock::new(&BUILT_IN.laws, &names, calendar).expect("known laws")
}

fn answer(laws: &[&str], kind: &str, received: &str) -> (String, String) {
    let timetable = clock(laws, Calendar::default()).run(kind, &Facts::new(at(received)));
    (timetable.answer.due.to_string(), timetable.answer.source)
}

/// `due` after `received`, in UTC, without holidays and without a roll.
fn check(length: &str, received: &str, expected: &str) {
    let length: Length = length.parse().expect("a length");
    let (date, left_out) = Calendar::default().count(day(received), length);
    assert_eq!((date.to_string().as_str(), left_out.len()), (expected, 0), "{length} after {received}");
}

#[test]
fn days_are_counted_by_the_calendar() {
    check("30 days", "2026-11-23", "2026-12-23");
    check("45 days", "2027-01-31", "2027-03-17");
    check("45 days", "2028-01-31", "2028-03-16"); // a leap year
}

#[test]
fn business_days_leave_out_weekends_and_holidays() {
    check("1 business day", "2026-11-27", "2026-11-30"); // a Friday
    check("10 business days", "2026-11-23", "2026-12-07");
    check("15 business days", "2026-11-28", "2026-12-18"); // a Saturday
    let calendar = calendar("UTC", &["2026-12-25", "2026-12-26", "2027-01-01"]);
    let (date, left_out) = calendar.count(day("2026-12-18"), Length::BusinessDays(10));
    assert_eq!(date, day("2027-01-05"));
    // The 26th is a Saturday: it was no business day anyway.
    assert_eq!(left_out, [day("2026-12-25"), day("2027-01-01")]);
}

#[test]
fn a_month_ends_on_the_same_date_or_the_last() {
    check("1 month", "2026-11-23", "2026-12-23");
    check("1 month", "2026-12-31", "2027-01-31");
    check("1 month", "2027-01-31", "2027-02-28");
    check("1 month", "2028-01-31", "2028-02-29");
    check("1 month", "2027-03-31", "2027-04-30");
    check("3 months", "2026-11-30", "2027-02-28");
    check("1 month", "2028-02-29", "2028-03-29");
}

#[test]
fn the_calendar_has_an_end_and_nothing_hangs_there() {
    let calendar = calendar("UTC", &["9999-12-31"]);
    assert_eq!(calendar.count(day("9999-12-30"), Length::BusinessDays(3660)).0, Date::MAX);
    assert_eq!(calendar.count(day("9999-12-30"), Length::Months(3660)).0, Date::MAX);
    assert_eq!(calendar.roll(Date::MAX), Date::MAX);
    let clock = clock(&["gdpr", "ccpa"], calendar);
    let timetable = clock.run("deletion", &Facts::new(Timestamp::MAX));
    assert_eq!(timetable.answer.due, Date::MAX);
    assert!(clock.warning(Timestamp::MAX, Date::MAX, Timestamp::MAX).is_some());
    clock.run("deletion", &Facts::new(Timestamp::MIN));
}

#[test]
fn nonsense_is_no_length() {
    for bad in ["", "days", "0 days", "-1 days", "30", "30 fortnights", "99999 days"] {
        assert!(bad.parse::<Length>().is_err(), "{bad}");
    }
    for good in ["1 day", "30 days", "1 business day", "10 business days", "1 month", "2 months"] {
        assert_eq!(good.parse::<Length>().expect("a length").to_string(), good);
    }
}

#[test]
fn every_row_of_the_table() {
    // Received on Monday, 23 November 2026.
    for (law, kind, due, source) in [
        ("gdpr", "access", "2026-12-23", "GDPR art. 12(3)"),
        ("gdpr", "deletion", "2026-12-23", "GDPR art. 12(3)"),
        ("gdpr", "unclear", "2026-12-23", "GDPR art. 12(3)"),
        ("uk_gdpr", "correction", "2026-12-23", "UK GDPR art. 12(3), 12A"),
        ("ccpa", "access", "2027-01-07", "11 CCR 7021(b)"),
        ("ccpa", "correction", "2027-01-07", "11 CCR 7021(b)"),
        ("ccpa", "deletion", "2027-01-07", "11 CCR 7021(b)"),
        ("ccpa", "ad_opt_out", "2026-12-14", "11 CCR 7026"),
        ("ccpa", "restriction", "2026-12-14", "11 CCR 7027"),
        ("shine_the_light", "disclosure", "2026-12-23", "Cal. Civ. Code 1798.83(b)"),
        (
            "us_states",
            "deletion",
            "2027-01-07",
            "Va. Code 59.1-577(B); C.R.S. 6-1-1306(2); Conn. Gen. Stat. 42-518(c)",
        ),
        ("can_spam", "opt_out", "2026-12-07", "15 USC 7704(a)(4); 16 CFR 316"),
        ("bulk_senders", "opt_out", "2026-11-25", "Gmail and Yahoo sender guidelines"),
        ("coppa", "child_data", "2026-12-23", "16 CFR 312.6"),
        ("unknown", "access", "2026-12-23", "no law known; the shortest general one"),
    ] {
        let found = answer(&[law], kind, "2026-11-23T10:00:00Z");
        assert_eq!((found.0.as_str(), found.1.as_str()), (due, source), "{law} {kind}");
    }
}

#[test]
fn only_the_ccpa_wants_an_acknowledgement_by_a_day() {
    let acknowledge = |laws: &[&str], kind: &str| {
        let timetable = clock(laws, Calendar::default()).run(kind, &Facts::new(at("2026-11-23T10:00:00Z")));
        timetable.acknowledge.map(|first| first.due.to_string())
    };
    for kind in ["access", "correction", "deletion"] {
        assert_eq!(acknowledge(&["ccpa"], kind).as_deref(), Some("2026-12-07"), "{kind}");
    }
    assert_eq!(acknowledge(&["ccpa"], "ad_opt_out"), None);
    assert_eq!(acknowledge(&["gdpr", "uk_gdpr", "us_states"], "deletion"), None);
}

#[test]
fn where_no_law_says_anything_thirty_days_hold() {
    let unknown = "no law known; the shortest general one";
    let laws: [&[&str]; 3] = [&[], &["can_spam"], &["gdpr"]];
    for (laws, kind) in laws.into_iter().zip(["opt_out", "deletion", "question"]) {
        let found = answer(laws, kind, "2026-11-23T10:00:00Z");
        assert_eq!((found.0.as_str(), found.1.as_str()), ("2026-12-23", unknown), "{laws:?} {kind}");
    }
    // And it holds beside no other: a month may be longer than thirty days.
    assert_eq!(answer(&["gdpr"], "deletion", "2026-12-31T10:00:00Z").0, "2027-02-01");
}

#[test]
fn of_several_laws_the_earliest_is_due() {
    let laws = ["ccpa", "gdpr", "shine_the_light"];
    assert_eq!(answer(&laws, "disclosure", "2026-12-01T10:00:00Z").0, "2026-12-31");
    assert_eq!(answer(&laws, "disclosure", "2026-12-01T10:00:00Z").1, "Cal. Civ. Code 1798.83(b)");
    assert_eq!(answer(&laws, "deletion", "2026-12-01T10:00:00Z").1, "GDPR art. 12(3)");
}

#[test]
fn a_month_that_ends_on_no_working_day_ends_on_the_next() {
    let due = |received: &str, holidays: &[&str]| {
        let clock = clock(&["gdpr"], calendar("Europe/Berlin", holidays));
        clock.run("deletion", &Facts::new(at(received))).answer.due.to_string()
    };
    assert_eq!(due("2027-01-31T12:00:00Z", &[]), "2027-03-01"); // 28 February is a Sunday
    assert_eq!(due("2026-11-25T12:00:00Z", &[]), "2026-12-25"); // a Friday
    assert_eq!(due("2026-11-25T12:00:00Z", &["2026-12-25"]), "2026-12-28");
    assert_eq!(due("2026-11-25T12:00:00Z", &["2026-12-25", "2026-12-28"]), "2026-12-29");
    // The days of the CCPA are calendar days, whatever day the last is.
    assert_eq!(answer(&["ccpa"], "deletion", "2026-12-17T12:00:00Z").0, "2027-01-31"); // a Sunday
}

#[test]
fn the_day_of_receipt_is_that_of_the_time_zone() {
    for (zone, received, expected) in [
        ("UTC", "2026-11-26T23:30:00Z", "2026-11-26"),
        ("Europe/Berlin", "2026-11-26T22:59:59Z", "2026-11-26"),
        ("Europe/Berlin", "2026-11-26T23:00:00Z", "2026-11-27"),
        ("America/Los_Angeles", "2026-11-27T07:59:59Z", "2026-11-26"),
        ("America/Los_Angeles", "2026-11-27T08:00:00Z", "2026-11-27"),
        ("Pacific/Kiritimati", "2026-11-26T10:00:00Z", "2026-11-27"),
        // Summer time: midnight in Berlin is 22:00 UTC up to 25 October 2026, and 23:00 from then on.
        ("Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25"),
        ("Europe/Berlin", "2026-10-25T22:30:00Z", "2026-10-25"),
        ("Europe/Berlin", "2026-10-25T23:00:00Z", "2026-10-26"),
    ] {
        assert_eq!(calendar(zone, &[]).day(at(received)), day(expected), "{zone} {received}");
    }
    let clock = clock(&["gdpr"], calendar("Europe/Berlin", &[]));
    let due = |received: &str| clock.run("access", &Facts::new(at(received))).answer.due.to_string();
    assert_eq!(due("2026-11-30T22:59:59Z"), "2026-12-30");
    assert_eq!(due("2026-11-30T23:00:00Z"), "2027-01-01");
}

#[test]
fn a_day_ends_at_midnight_also_where_the_clocks_change() {
    let berlin = calendar("Europe/Berlin", &[]);
    assert_eq!(berlin.end_of(day("2026-10-24")), at("2026-10-24T22:00:00Z"));
    assert_eq!(berlin.end_of(day("2026-10-25")), at("2026-10-25T23:00:00Z")); // 25 hours
    assert_eq!(berlin.end_of(day("2027-03-28")), at("2027-03-28T22:00:00Z")); // 23 hours
    // In Cairo there is no midnight on 30 April 2027: that day begins at one o'clock.
    assert_eq!(calendar("Africa/Cairo", &[]).end_of(day("2027-04-29")), at("2027-04-29T22:00:00Z"));
}

#[test]
fn proof_starts_the_clock_of_the_uk_and_no_other() {
    let facts = Facts {
        asked: Some(at("2026-11-23T10:05:00Z")),
        proven: Some(at("2026-11-30T09:00:00Z")),
        ..Facts::new(at("2026-11-23T10:00:00Z"))
    };
    let due = |law: &str, facts: &Facts| {
        clock(&[law], Calendar::default()).run("deletion", facts).answer.due.to_string()
    };
    assert_eq!(due("uk_gdpr", &facts), "2026-12-30");
    assert_eq!(due("gdpr", &facts), "2026-12-23");
    assert_eq!(due("ccpa", &facts), "2027-01-07");
    assert_eq!(due("uk_gdpr", &Facts { proven: None, ..facts }), "2026-12-23");
    // Nobody was asked: it was proven from the beginning.
    assert_eq!(due("uk_gdpr", &Facts { asked: None, ..facts }), "2026-12-23");
}

#[test]
fn a_clock_that_pauses_stands_still_from_question_to_proof() {
    let text = "[[x.clock]]\nduty = \"answer\"\nafter = \"30 days\"\nproof = \"pauses\"\nsource = \"x\"\n\
                [[unknown.clock]]\nduty = \"answer\"\nafter = \"30 days\"\nsource = \"x\"\n";
    let laws = Laws::parse("laws.toml", text, &[]).expect("laws");
    let clock = Clock::new(&laws, &["x".to_owned()], Calendar::default()).expect("a clock");
    let facts = Facts {
        asked: Some(at("2026-11-24T23:00:00Z")),
        proven: Some(at("2026-11-30T01:00:00Z")),
        ..Facts::new(at("2026-11-23T10:00:00Z"))
    };
    assert_eq!(clock.run("access", &facts).answer.due, day("2026-12-29")); // six days more
    assert_eq!(clock.run("access", &Facts { proven: None, ..facts }).answer.due, day("2026-12-23"));
}

#[test]
fn an_extension_counts_from_the_start() {
    let extend = |law: &str, received: &str| {
        let clock = clock(&[law], Calendar::default());
        let facts = Facts::new(at(received));
        let due = clock.run("deletion", &facts).answer.due;
        let extended = clock.extend("deletion", &facts, due, at(received));
        extended.map(|timetable| timetable.answer.due.to_string())
    };
    assert_eq!(extend("gdpr", "2027-01-31T12:00:00Z").as_deref(), Ok("2027-04-30"));
    assert_eq!(extend("gdpr", "2026-11-23T12:00:00Z").as_deref(), Ok("2027-02-23"));
    assert_eq!(extend("gdpr", "2027-03-01T12:00:00Z").as_deref(), Ok("2027-06-01"));
    assert_eq!(extend("ccpa", "2026-11-23T12:00:00Z").as_deref(), Ok("2027-02-21")); // 90 days
    let no = extend("unknown", "2026-11-23T12:00:00Z").expect_err("no extension");
    assert_eq!(
        no.to_string(),
        "no law known; the shortest general one, due on Wed 23 Dec 2026, allows no extension"
    );
}

#[test]
fn an_extension_that_moves_nothing_is_none() {
    let clock = clock(&["ccpa", "shine_the_light"], Calendar::default());
    let facts = Facts::new(at("2026-11-23T12:00:00Z"));
    let due = clock.run("disclosure", &facts).answer.due;
    let no = clock.extend("disclosure", &facts, due, facts.received).expect_err("no extension");
    assert!(no.to_string().starts_with("Cal. Civ. Code 1798.83(b), due on Wed 23 Dec 2026,"), "{no}");
}

#[test]
fn an_extension_is_told_within_the_first_period() {
    let clock = clock(&["gdpr"], calendar("Europe/Berlin", &[]));
    let facts = Facts::new(at("2026-11-23T12:00:00Z"));
    let due = clock.run("deletion", &facts).answer.due;
    let told = |now: &str| clock.extend("deletion", &facts, due, at(now));
    assert!(told("2026-12-23T22:59:59Z").is_ok());
    let late = told("2026-12-23T23:00:00Z").expect_err("too late");
    assert_eq!(late, NoExtension::TooLate("Wed 23 Dec 2026".to_owned()));
}

#[test]
fn the_arithmetic_explains_itself() {
    let holidays = ["2026-12-25", "2027-01-01"];
    let clock = clock(&["ccpa", "gdpr"], calendar("Europe/Berlin", &holidays));
    let facts = Facts::new(at("2026-12-17T23:30:00Z"));
    assert_eq!(
        clock.explain("deletion", &facts),
        [
            "received Fri 18 Dec 2026 (day 0, Europe/Berlin)",
            "ccpa:",
            "  +10 business days, weekends and 2 holidays (25 Dec, 1 Jan) left out",
            "  = Tue 5 Jan 2027 (11 CCR 7021(a), acknowledge)",
            "ccpa:",
            "  +45 days",
            "  = Mon 1 Feb 2027 (11 CCR 7021(b), answer)",
            "gdpr:",
            "  +1 month",
            "  = Mon 18 Jan 2027 (GDPR art. 12(3), answer)",
            "earliest to acknowledge: Tue 5 Jan 2027 (11 CCR 7021(a))",
            "earliest to answer: Mon 18 Jan 2027 (GDPR art. 12(3))",
        ]
    );
    let facts = Facts { extended: true, ..Facts::new(at("2026-11-30T12:00:00Z")) };
    assert_eq!(
        clock.run("deletion", &facts).clocks.last().expect("a clock").steps,
        [
            "+1 month +2 months of extension",
            "that month has no day 30: its last day",
            "Sun 28 Feb 2027 is on a weekend: the next working day",
            "= Mon 1 Mar 2027 (GDPR art. 12(3), answer)",
        ]
    );
}

#[test]
fn warnings_come_at_half_four_fifths_and_nearly_all_of_the_time() {
    let clock = clock(&[], Calendar::default());
    // 100 hours to the end of the 27th.
    let (received, due) = (at("2026-11-23T20:00:00Z"), day("2026-11-27"));
    let level = |now: &str| clock.warning(received, due, at(now)).map(|w| (w.level, w.percent, w.next));
    assert_eq!(level("2026-11-25T21:59:59Z"), None);
    assert_eq!(level("2026-11-25T22:00:00Z"), Some((50, 50, at("2026-11-27T04:00:00Z"))));
    assert_eq!(level("2026-11-27T04:00:00Z"), Some((80, 80, at("2026-11-27T19:00:00Z"))));
    assert_eq!(level("2026-11-27T19:00:00Z"), Some((95, 95, at("2026-11-28T00:00:00Z"))));
    assert_eq!(level("2026-11-28T00:00:00Z"), Some((100, 100, at("2026-11-29T00:00:00Z"))));
    assert_eq!(level("2026-11-30T12:00:00Z"), Some((100, 160, at("2026-12-01T00:00:00Z"))));
    assert_eq!(clock.warn_at(received, due, 0, received), at("2026-11-25T22:00:00Z"));
}

#[test]
fn a_file_of_holidays() {
    let read = |text: &str| Calendar::parse_holidays("h", text);
    let found = read("# Germany\n2026-12-25 # Christmas\n\n  2027-01-01\r\n").expect("holidays");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [day("2026-12-25"), day("2027-01-01")]);
    for bad in ["2026-12-32", "25.12.2026", "2026-12-25T00:00", "20261225", "Christmas", "2027-02-29"] {
        let error = read(&format!("2026-12-25\n{bad}\n")).expect_err(bad);
        assert_eq!((error.file.as_str(), error.line), ("h", 2), "{bad}");
    }
}

#[test]
fn mistakes_in_the_table_of_laws_have_a_line() {
    let unknown = "[[unknown.clock]]\nduty = \"answer\"\nafter = \"30 days\"\nsource = \"x\"\n";
    let case = |text: &str, expected: &str| {
        let error = Laws::parse("laws.toml", &format!("{unknown}{text}"), &["access"]).expect_err(text);
        assert_eq!(error.to_string(), expected);
    };
    let row = "[[x.clock]]\nduty = \"answer\"\nafter = \"1 month\"\nsource = \"x\"\n";
    case(
        &format!("{row}types = [\"acess\"]\n"),
        "laws.toml:9: x.clock.types: there is no request type \"acess\"; correct the name",
    );
    case(
        &row.replace("answer", "acknowledge").replace("source", "extension = \"1 month\"\nsource"),
        "laws.toml:8: x.clock.extension: only an answer can be extended; take it out",
    );
    case(&row.replace("\"x\"", "\" \""), "laws.toml:8: x.clock.source: name the article, on one line");
    case(&row.replace("x.", "X."), "laws.toml:5: X: name a law with a-z, 0-9 and '_'");
    case(
        &row.replace("1 month", "soon"),
        "laws.toml:7: after: \"soon\" is not like \"30 days\", \"10 business days\" or \"1 month\"",
    );
    let error = Laws::parse("laws.toml", row, &[]).expect_err("no unknown law");
    assert!(error.to_string().starts_with("laws.toml:1: unknown: needs a [[unknown.clock]]"), "{error}");
}
