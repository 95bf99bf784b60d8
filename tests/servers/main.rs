//! What only a real server can show, and what needs certificates from `openssl`: the rooms that talk to
//! servers, the whole house, and thirty days among machines. Each scenario says what it needs; where that is
//! missing it is listed as ignored, with the reason, and never as passed.

use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};

#[path = "../support/certificates.rs"]
mod certificates;
#[path = "../support/corridor.rs"]
mod corridor;
#[path = "../support/dns.rs"]
mod dns;
#[path = "../support/dovecot.rs"]
mod dovecot;
#[path = "../support/far_away.rs"]
mod far_away;
#[path = "../support/imap_client.rs"]
mod imap_client;
#[path = "../support/milters.rs"]
mod milters;
#[path = "../support/postfix.rs"]
mod postfix;
#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/smtp_script.rs"]
mod smtp_script;
#[path = "../support/vacation.rs"]
mod vacation;
#[path = "../support/web.rs"]
mod web;

mod authentication;
mod examples;
mod faults;
mod house;
mod limits;
mod mailbox;
mod mailer;
mod promises;
mod simulation;
mod sources;
mod stopping;
mod watch;

type Outcome = Result<(), Failed>;
/// Its name, what it needs, and itself.
type Scenario = (&'static str, &'static [Need], fn() -> Outcome);

/// What a machine may lack.
#[derive(Clone, Copy)]
enum Need {
    Dovecot,
    /// Dovecot's sieve, and faketime.
    Vacation,
    /// And root, which its master process wants.
    Postfix,
    /// OpenDKIM and OpenDMARC, and root, for a DNS of their own.
    Milters,
    /// And root, to become somebody else.
    SmtpSink,
    Openssl,
    Python,
    /// And psql, jq, and root, to become its user.
    Postgresql,
    /// Root, and file systems of its own.
    Mount,
    /// Another time than it is.
    Faketime,
    /// systemd-analyze.
    Systemd,
    /// An address that is not loopback. Nothing is sent to anybody.
    Network,
}

impl Need {
    /// Why this need is not met here, if so.
    fn unmet(self) -> Option<&'static str> {
        match self {
            Self::Dovecot => dovecot::missing(),
            Self::Vacation => vacation::missing(),
            Self::Postfix => postfix::missing_postfix(),
            Self::Milters => milters::missing(),
            Self::SmtpSink => postfix::missing_sink(),
            Self::Openssl => certificates::missing(),
            Self::Python => examples::missing_python(),
            Self::Postgresql => examples::missing_postgresql(),
            Self::Mount => limits::missing_mount(),
            Self::Faketime => limits::missing_faketime(),
            Self::Systemd => watch::missing_systemd(),
            Self::Network => mailer::own_address().is_none().then_some("only loopback is there"),
        }
    }
}

fn main() -> ExitCode {
    let rooms = [
        ("authentication", authentication::SCENARIOS),
        ("examples", examples::SCENARIOS),
        ("faults", faults::SCENARIOS),
        ("limits", limits::SCENARIOS),
        ("mailbox", mailbox::SCENARIOS),
        ("mailer", mailer::SCENARIOS),
        ("house", house::SCENARIOS),
        ("promises", promises::SCENARIOS),
        ("simulation", simulation::SCENARIOS),
        ("sources", sources::SCENARIOS),
        ("stopping", stopping::SCENARIOS),
        ("watch", watch::SCENARIOS),
    ];
    let trials = rooms.into_iter().flat_map(|(room, scenarios)| {
        scenarios
            .iter()
            .map(move |(name, needs, scenario)| trial(&format!("{room}::{name}"), needs, *scenario))
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

fn trial(name: &str, needs: &[Need], scenario: fn() -> Outcome) -> Trial {
    match needs.iter().find_map(|need| need.unmet()) {
        None => Trial::test(name, scenario),
        Some(reason) => Trial::test(format!("{name} ({reason})"), scenario).with_ignored_flag(true),
    }
}

/// Runs an asynchronous scenario. Servers that fall silent must not hang the tests: the rooms' own
/// patience is many minutes.
fn run(scenario: impl Future<Output = ()>) -> Outcome {
    let runtime = tokio::runtime::Runtime::new()?;
    let limit = Duration::from_secs(300);
    runtime.block_on(async { tokio::time::timeout(limit, scenario).await })?;
    Ok(())
}
