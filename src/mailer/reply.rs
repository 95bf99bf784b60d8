//! A server's reply, reduced to its codes, and what it means for a letter.

use std::error::Error as _;
use std::fmt;

use lettre::transport::smtp::Error;
use lettre::transport::smtp::response::{Code, Response};

use super::Outcome;

/// Reply code and enhanced code (RFC 2034); the text is dropped, as it may quote the letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) code: u16,
    /// Subject and detail; the class is the first digit of `code`.
    enhanced: Option<(u16, u16)>,
}

/// Why there is no reply. The connection is of no use any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// The network failed or the server closed the connection.
    Connection,
    /// The server's time was up.
    Timeout,
    /// We were asked to end, and the time for that was up.
    Stopped,
    /// What came is no SMTP reply, or one that has no place here.
    Nonsense,
}

/// Where in a transaction we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Mail,
    Rcpt,
    Data,
    /// From the first byte of the message to the reply after its final dot.
    Message,
}

impl Reply {
    /// Sorts lettre's results. A negative reply is an `Err` with a status there; its text is only
    /// in the error's source.
    pub(super) fn from(result: Result<Response, Error>) -> Result<Self, Lost> {
        match result {
            Ok(response) => Ok(Self::new(response.code(), response.first_line().unwrap_or_default())),
            Err(error) => match error.status() {
                Some(code) => {
                    let text = error.source().map(ToString::to_string).unwrap_or_default();
                    Ok(Self::new(code, &text))
                }
                None if error.is_response() || error.is_client() => Err(Lost::Nonsense),
                None => Err(Lost::Connection),
            },
        }
    }

    fn new(code: Code, text: &str) -> Self {
        let code = u16::from(code);
        Self { code, enhanced: enhanced(code / 100, text) }
    }

    /// Whether the reply is the one that leads on. DATA takes only 354, all else only 25x, so a
    /// reply that belongs to another command is not mistaken for consent.
    pub(super) fn agrees(self, stage: Stage) -> bool {
        match stage {
            Stage::Data => self.code == 354,
            Stage::Mail | Stage::Rcpt | Stage::Message => self.code / 10 == 25,
        }
    }

    /// Whether the reply is a refusal (4xx, 5xx), as opposed to one that has no place here.
    pub(super) fn refuses(self) -> bool {
        self.code >= 400
    }

    /// Whether the server closes the connection after it (RFC 5321 §3.8).
    pub(super) fn ends_session(self) -> bool {
        self.code == 421
    }

    /// What a refusal at `stage` means for the letter.
    pub(super) fn refusal(self, stage: Stage) -> Outcome {
        let reason = format!("{self} at {stage}");
        if self.is_final(stage) { Outcome::Bounced(reason) } else { Outcome::Deferred(reason) }
    }

    /// Whether it is of no use to try again: a 5xx that is about this recipient or this message,
    /// not about us or the server's state. When unsure, it is not final: a letter tried in vain
    /// for days does less harm than one given up for a slip in somebody's configuration.
    ///
    /// | enhanced code (RFC 3463, 5248, 7372) | |
    /// |---|---|
    /// | any, in reply to MAIL | ours: the server does not know the recipient yet |
    /// | 5.1.7, 5.1.8 sender's address | ours |
    /// | 5.1.x recipient's address | final |
    /// | 5.2.2 mailbox full | passes |
    /// | 5.2.x mailbox disabled, takes no such mail | final |
    /// | 5.3.x system, 5.4.x network and routing, 5.5.x protocol | ours or theirs |
    /// | 5.6.x content | final: the same bytes would come again |
    /// | 5.7.x policy: login, relaying, reputation, spam | ours, mostly |
    ///
    /// Without a telling enhanced code, only 550, 551, 553 (RFC 5321 §4.2.3) and 556 (RFC 7504)
    /// are about the recipient. 500–504, 521, 530, 534, 535, 538, 552, 554 and 555 are not, or not surely.
    fn is_final(self, stage: Stage) -> bool {
        if self.code < 500 || stage == Stage::Mail {
            return false;
        }
        match self.enhanced {
            Some((1, 7 | 8)) | Some((2, 2)) | Some((3 | 4 | 5 | 7, _)) => false,
            Some((1 | 2 | 6, _)) => true,
            _ => matches!(self.code, 550 | 551 | 553 | 556),
        }
    }
}

/// Subject and detail of the enhanced code that `text` begins with, if its class is `class`.
fn enhanced(class: u16, text: &str) -> Option<(u16, u16)> {
    let number = |part: &str| {
        let digits = part.len() <= 3 && part.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| part.parse::<u16>().ok()).flatten()
    };
    let mut parts = text.split_whitespace().next()?.split('.').map(number);
    match (parts.next()??, parts.next()??, parts.next()??, parts.next()) {
        (found, subject, detail, None) if found == class => Some((subject, detail)),
        _ => None,
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        match self.enhanced {
            Some((subject, detail)) => write!(f, " {}.{subject}.{detail}", self.code / 100),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connection => "connection lost",
            Self::Timeout => "timeout",
            Self::Stopped => "stopped",
            Self::Nonsense => "unintelligible reply",
        })
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mail => "MAIL",
            Self::Rcpt => "RCPT",
            Self::Data => "DATA",
            Self::Message => "the message",
        })
    }
}

#[cfg(test)]
mod tests {
    use lettre::transport::smtp::response::{Category, Detail, Severity};

    use super::*;

    fn reply(line: &str) -> Reply {
        let response: Response = format!("{line}\r\n").parse().unwrap();
        Reply::new(response.code(), response.first_line().unwrap())
    }

    #[test]
    fn refusals_are_final_only_when_they_are_about_recipient_or_message() {
        let bounced = [
            "550 5.1.1 unknown",
            "550 5.1.2 no such host",
            "553 5.1.3 syntax",
            "550 5.1.6 moved",
            "556 5.1.10 null MX",
            "550 5.2.1 disabled",
            "552 5.2.3 too long for this mailbox",
            "554 5.6.0 content",
            "554 5.6.3 conversion",
            "550 unknown",
            "551 not local",
            "553 bad name",
            "556 takes no mail",
            "550 5.0.0 no",
            "550 2.1.1 a lie",
            "550 5.1 half a code",
            "550 5.1.1.1 too much",
            "550 5.x.1 odd",
            "550 5.+1.1 odd",
            "550 5.1000.1 odd",
            "550 ",
        ];
        let deferred = [
            "421 4.3.2 closing",
            "450 4.2.0 greylisted",
            "450 busy",
            "451 4.3.0 local error",
            "452 4.2.2 full",
            "452 4.5.3 too many",
            "454 4.7.0 login for later",
            "455 later",
            "450 5.1.1 a lie",
            "550 5.1.7 sender",
            "550 5.1.8 sender's host",
            "552 5.2.2 full",
            "552 5.3.4 too big",
            "554 5.3.0 system",
            "550 5.4.1 no answer",
            "554 5.4.6 loop",
            "503 5.5.1 sequence",
            "550 5.5.0 odd",
            "554 5.5.1 no recipients",
            "530 5.7.0 login first",
            "535 5.7.8 login",
            "538 5.7.11 TLS first",
            "550 5.7.1 relaying",
            "554 5.7.1 spam",
            "550 5.7.26 unauthenticated",
            "500 what",
            "501 syntax",
            "502 not here",
            "503 sequence",
            "504 parameter",
            "521 no mail here",
            "530 login",
            "534 weak",
            "535 wrong",
            "538 TLS",
            "552 too big",
            "554 no",
            "555 parameter",
        ];
        for line in bounced {
            for stage in [Stage::Rcpt, Stage::Data, Stage::Message] {
                assert!(matches!(reply(line).refusal(stage), Outcome::Bounced(_)), "{line} at {stage}");
            }
            assert!(matches!(reply(line).refusal(Stage::Mail), Outcome::Deferred(_)), "{line}");
        }
        for line in deferred {
            for stage in [Stage::Mail, Stage::Rcpt, Stage::Data, Stage::Message] {
                assert!(matches!(reply(line).refusal(stage), Outcome::Deferred(_)), "{line} at {stage}");
            }
        }
    }

    #[test]
    fn only_codes_remain_of_a_reply() {
        assert_eq!(reply("550 5.1.1 <ann@example.org>: unknown").to_string(), "550 5.1.1");
        assert_eq!(reply("550 <ann@example.org>: unknown").to_string(), "550");
        assert_eq!(reply("250-2.0.0 queued\r\n250 2.0.0 as ann").to_string(), "250 2.0.0");
        assert_eq!(reply("250 ann.smith.jones").to_string(), "250");
    }

    #[test]
    fn only_the_right_reply_leads_on() {
        for (line, stages) in
            [("250 ok", vec![Stage::Mail, Stage::Rcpt, Stage::Message]), ("354 go", vec![Stage::Data])]
        {
            for stage in [Stage::Mail, Stage::Rcpt, Stage::Data, Stage::Message] {
                assert_eq!(reply(line).agrees(stage), stages.contains(&stage), "{line} at {stage}");
            }
        }
        for code in ["220", "221", "235", "334"] {
            assert!(!reply(&format!("{code} x")).agrees(Stage::Message), "{code}");
        }
        let ends = Code::new(Severity::TransientNegativeCompletion, Category::Connections, Detail::One);
        assert!(Reply::new(ends, "").ends_session());
    }
}
