//! Legal clocks: from the moment our server received a mail to the day a person must have done it.
//!
//! A rule says "30 days", "2 business days" or "1 month"; the arithmetic is by the calendar in UTC.
//! Holidays, pauses and several laws at once have their place here and are not written yet.

use std::str::FromStr;

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::Deserialize;

/// How long a law leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Due {
    /// Calendar days.
    Days(u16),
    /// Monday to Friday.
    BusinessDays(u16),
    /// The same date so many months later, the last of that month if it has none (GDPR art. 12(3)
    /// with Regulation 1182/71 art. 3); a Saturday or Sunday moves to the Monday.
    Months(u16),
}

impl Due {
    /// The day by which it is due when our server received the mail at `received`. The day of
    /// receipt is not counted.
    pub fn date(self, received: Timestamp) -> Date {
        let start = received.to_zoned_datetime(TimeZone::UTC).date();
        match self {
            Self::Days(days) => start.saturating_add(Span::new().days(days)),
            Self::BusinessDays(days) => {
                let mut date = start;
                let mut left = days;
                while left > 0 {
                    date = date.saturating_add(Span::new().days(1));
                    if is_working_day(date) {
                        left -= 1;
                    }
                }
                date
            }
            Self::Months(months) => {
                let mut date = start.saturating_add(Span::new().months(months));
                while !is_working_day(date) {
                    date = date.saturating_add(Span::new().days(1));
                }
                date
            }
        }
    }
}

fn is_working_day(date: Date) -> bool {
    !matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday)
}

impl FromStr for Due {
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

impl TryFrom<String> for Due {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(due: &str, received: &str, expected: &str) {
        let due: Due = due.parse().expect("a clock");
        let received: Timestamp = received.parse().expect("a time");
        assert_eq!(due.date(received).to_string(), expected);
    }

    #[test]
    fn days_are_counted_by_the_calendar() {
        check("30 days", "2026-11-23T23:59:59Z", "2026-12-23");
        check("45 days", "2027-01-31T00:00:00Z", "2027-03-17");
    }

    #[test]
    fn business_days_leave_out_the_weekend() {
        check("1 business day", "2026-11-27T12:00:00Z", "2026-11-30"); // a Friday
        check("10 business days", "2026-11-23T12:00:00Z", "2026-12-07");
        check("15 business days", "2026-11-28T12:00:00Z", "2026-12-18"); // a Saturday
    }

    #[test]
    fn a_month_ends_on_a_working_day_that_exists() {
        check("1 month", "2027-01-31T12:00:00Z", "2027-03-01"); // 28 February 2027 is a Sunday
        check("1 month", "2026-11-23T12:00:00Z", "2026-12-23");
    }

    #[test]
    fn nonsense_is_no_clock() {
        for bad in ["", "days", "0 days", "-1 days", "30", "30 fortnights", "99999 days"] {
            assert!(bad.parse::<Due>().is_err(), "{bad}");
        }
    }
}
