//! A system reached by a program: the order on its standard input, the report on its standard output.
//!
//! It runs without a shell, with an almost empty environment, for a bounded time, and its report is of
//! bounded length. What it writes to its standard error is dropped: it may name people. An exit status
//! other than 0 means "ask again", whatever it wrote.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

use super::{LONGEST_REPORT, Order, Report};

/// Gives `order` to the program; answers its report, or one that says why there is none.
pub async fn run(command: &[String], limit: Duration, order: &Order) -> Report {
    match timeout(limit, talk(command, order)).await {
        Ok(Ok(report)) => report,
        Ok(Err(reason)) => Report::retry(reason),
        Err(_) => {
            Report::retry(format!("the command was not done after {} s and was ended", limit.as_secs()))
        }
    }
}

async fn talk(command: &[String], order: &Order) -> Result<Report, String> {
    let (program, arguments) = command.split_first().ok_or("there is no command")?;
    let order = serde_json::to_vec(order).map_err(|error| format!("the order cannot be written: {error}"))?;
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LANG", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("the command cannot be started: {error}"))?;
    let _group = Group(child.id());
    let (mut input, output) = match (child.stdin.take(), child.stdout.take()) {
        (Some(input), Some(output)) => (input, output),
        _ => return Err("the command has no input or output".into()),
    };
    // A program that does not read its order may still report.
    let say = async move {
        let _ = input.write_all(&order).await;
        let _ = input.shutdown().await;
    };
    let mut report = Vec::new();
    let mut bounded = output.take(LONGEST_REPORT as u64 + 1);
    let (read, ()) = tokio::join!(bounded.read_to_end(&mut report), say);
    read.map_err(|error| format!("the report cannot be read: {error}"))?;
    if report.len() > LONGEST_REPORT {
        return Err(format!("the report is longer than {LONGEST_REPORT} bytes"));
    }
    let status = child.wait().await.map_err(|error| format!("the command was lost: {error}"))?;
    if !status.success() {
        return Err(match status.code() {
            Some(code) => format!("the command ended with status {code}"),
            None => "the command was ended by a signal".into(),
        });
    }
    Report::parse(&report)
}

/// The program's own process group: what it has started ends with it, when it is given up and when it is done.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        let leader = self.0.and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(leader) = leader {
            // Mostly there is nobody left.
            let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Verb;
    use crate::source::{Kept, Outcome, Subject, VERSION};

    async fn report(script: &str) -> Report {
        let order = Order {
            version: VERSION,
            verb: Verb::Erase,
            attempt: 1,
            reference: "PR-234567".into(),
            kind: "deletion".into(),
            subject: Subject { address: "jane@example.org".parse().unwrap() },
            changes: Vec::new(),
        };
        let command = ["/bin/sh", "-c", script].map(str::to_owned);
        run(&command, Duration::from_secs(2), &order).await
    }

    #[tokio::test]
    async fn the_order_goes_in_and_the_report_comes_out() {
        let script = r#"read -r order
            test "$order" = '{"version":1,"verb":"erase","reference":"PR-234567","attempt":1,"type":"deletion","subject":{"address":"jane@example.org"}}' || exit 9
            test -z "$HOME" || exit 8
            printf '%s' '{"outcome":"done","kept":[{"what":"invoices","why":"tax\n law"}]}'"#;
        let kept = vec![Kept { what: "invoices".into(), why: "tax law".into() }];
        let expected = Report { outcome: Outcome::Done, kept, data: None, reason: String::new() };
        assert_eq!(report(script).await, expected);
    }

    #[tokio::test]
    async fn whatever_a_command_does_there_is_a_report() {
        for (script, reason) in [
            ("exit 3", "the command ended with status 3"),
            ("kill -9 $$", "the command was ended by a signal"),
            ("echo nonsense", "the report is not what the contract says: line 1, column 2"),
            ("echo '{\"outcome\":\"done\",\"data\":[]}'", "the report's data is no JSON object"),
            ("sleep 60", "the command was not done after 2 s and was ended"),
            ("yes | head -c 20000000", "the report is longer than 16777216 bytes"),
        ] {
            assert_eq!(report(script).await, Report::retry(reason), "{script}");
        }
        let order = Order {
            version: VERSION,
            verb: Verb::Collect,
            attempt: 1,
            reference: String::new(),
            kind: String::new(),
            subject: Subject { address: "jane@example.org".parse().unwrap() },
            changes: Vec::new(),
        };
        let nowhere = run(&["/nowhere/at/all".to_owned()], Duration::from_secs(1), &order).await;
        assert!(nowhere.reason.starts_with("the command cannot be started"));
    }
}
