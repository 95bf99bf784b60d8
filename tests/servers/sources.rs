//! Systems that are reached by HTTPS, with certificates of an authority that nobody knows but who is told.

use jiff::{SignedDuration, Timestamp};
use privacyd::operator::hand::{Verb, act};
use privacyd::stop::Stop;

use crate::certificates::{AUTHORITY, Certificates};
use crate::corridor::{House, letter};
use crate::web::Web;
use crate::{Need, Scenario, run};

pub const SCENARIOS: &[Scenario] =
    &[("a_system_behind_https_is_trusted_by_its_ca_file_alone", &[Need::Openssl], || {
        run(a_system_behind_https_is_trusted_by_its_ca_file_alone())
    })];

async fn a_system_behind_https_is_trusted_by_its_ca_file_alone() {
    let start: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
    let later = start + SignedDuration::from_hours(24);
    let folder = tempfile::tempdir().unwrap();
    let made = Certificates::create(folder.path()).unwrap();
    let web = Web::tls(&made.cert, &made.key).await;
    let ours = format!("ca_file = {:?}\n", made.ca.display().to_string());
    let others = format!("ca_file = {AUTHORITY:?}\n");
    for (keys, state) in [("", "waiting"), (others.as_str(), "waiting"), (ours.as_str(), "done")] {
        let house = House::with(&web.source("CRM", keys)).await;
        house.deliver(start, 1, letter("jane@example.org", "Please delete all my personal data.")).await;
        let reference = house.store.requests(None, 1).await.unwrap().remove(0).reference;
        let approve = Verb::Approve { proof: None, subject: None };
        act(&house.store, house.intake.tools(), &reference, &approve, start).await.unwrap();
        let closed = house.work.pass(later, Some(later), &Stop::never()).await.unwrap();
        let task = house.store.tasks(&reference).await.unwrap().remove(0);
        assert_eq!((task.state.as_str(), task.attempts), (state, 1), "{keys}: {}", task.outcome);
        assert_eq!(closed, u64::from(state == "done"), "{keys}");
        assert_eq!(
            web.orders().len(),
            usize::from(state == "done"),
            "{keys}: who is not trusted is told nothing"
        );
        if state == "waiting" {
            assert!(task.outcome.starts_with("TLS with the system failed"), "{keys}: {}", task.outcome);
            let templates: Vec<String> = house.replies().await.into_iter().map(|reply| reply.1).collect();
            assert!(!templates.contains(&"erased".to_owned()), "{templates:?}");
        }
    }
}
