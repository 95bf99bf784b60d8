//! The lifecycle under everything at once: letters, answers true and false, replayed codes, an operator's verbs,
//! systems that answer late, mail servers that refuse, restarts, and jumps of the clock, in random orders. After
//! every step the history of every request is walked through, and what must always hold is looked up in the
//! database: nothing is carried out without its proof or twice, every mail is accounted for, and the chain of
//! events verifies.
//!
//! `PROPTEST_CASES=500 cargo test --test lifecycle` tries more orders.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use privacyd::code::Code;
use privacyd::config::Retention;
use privacyd::ladder::Denial;
use privacyd::mailer::Outcome;
use privacyd::message::Message;
use privacyd::operator::hand::{NotDone, Verb, act};
use privacyd::stop::Stop;
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence};
use serde_json::json;
use sqlx::{Connection, SqliteConnection};

#[path = "support/corridor.rs"]
mod support;

use support::House;

const PEOPLE: [&str; 3] = ["jane@example.org", "ann@example.org", "bob@example.net"];
const STRANGER: &str = "mallory@example.net";

const LETTERS: [&str; 9] = [
    "Please delete all my personal data.",
    "Please send me a copy of all the personal data you hold about me.",
    "Please send me a copy of all the personal data you hold about me. Then delete all my personal data.",
    "Please close my account.",
    "Please unsubscribe me from your newsletter.",
    "I have a question about your privacy policy: how long do you keep my data?",
    "Please correct the wrong address in my account. My new address is 5 Mill Lane.",
    "Please do not delete my account.",
    "I have written to you before and have had no answer to my request.",
];

const ANSWERS: [&str; 8] = [
    "Yes",
    "Yes. 10115",
    "No, I never asked for this!",
    "Please cancel my request.",
    "Wait, I need my invoices first.",
    "",
    "Just unsubscribe me instead.",
    "Please send me a copy of all the personal data you hold about me first.",
];

#[derive(Debug, Clone)]
enum Act {
    /// One of the people writes.
    Letter { who: usize, words: usize },
    /// Somebody answers the newest letter of ours to one of the people: that one, or a stranger who has seen it.
    Answer { who: usize, words: usize, is_forged: bool },
    /// Whatever was answered last is sent once more.
    Replay,
    /// The operator does something with a request.
    Hand { verb: usize, request: prop::sample::Index },
    /// Replies go out, and the server says so to each of them.
    Post { fate: usize },
    /// Time goes by, with all that it brings.
    Hours(i64),
    /// The process ends and begins anew.
    Restart,
    /// Old records go.
    Purge,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        5 => (0..PEOPLE.len(), 0..LETTERS.len()).prop_map(|(who, words)| Act::Letter { who, words }),
        8 => (0..PEOPLE.len(), 0..ANSWERS.len(), prop::bool::weighted(0.15))
            .prop_map(|(who, words, is_forged)| Act::Answer { who, words, is_forged }),
        1 => Just(Act::Replay),
        4 => (0..9usize, any::<prop::sample::Index>()).prop_map(|(verb, request)| Act::Hand { verb, request }),
        4 => (0..4usize).prop_map(|fate| Act::Post { fate }),
        6 => prop::sample::select(vec![1, 5, 25, 100, 200, 500]).prop_map(Act::Hours),
        1 => Just(Act::Restart),
        1 => Just(Act::Purge),
    ];
    prop::collection::vec(act, 1..30)
}

/// Row, reference, type, status, subject and when it was closed.
type RequestRow = (i64, String, String, String, Option<String>, Option<i64>);

/// A house, and what the test knows of it by itself.
struct World {
    house: House,
    folder: tempfile::TempDir,
    now: Timestamp,
    mails: u32,
    /// Letters of ours as they were queued, by recipient: once they are sent, their codes are blank.
    letters: Vec<(String, String)>,
    last_answer: Option<(String, String, String, String)>,
    /// Who has ever said yes to a letter of ours.
    said_yes: BTreeSet<&'static str>,
    /// References that a person has approved or released.
    vouched: BTreeSet<String>,
    opted_out: BTreeSet<&'static str>,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shop = shop(folder.path());
        let keys = format!(
            "[[source]]\nname = \"Contacts\"\nlocal = true\n[[source]]\nname = \"Shop\"\ncommand = [{:?}]\n\
             [proof]\ndata_points = [\"postcode\"]\ndata_points_needed = 1\n\
             [limits]\nreplies_per_day = 1000\nreplies_per_thread = 1000\n",
            shop.display().to_string()
        );
        let house = House::with(&keys).await;
        let now = "2026-11-23T10:00:00Z".parse().unwrap();
        let contacts = PEOPLE.map(|address| {
            let fields = json!({ "postcode": "10115", "name": "A Name" });
            (address.parse().unwrap(), fields.as_object().unwrap().clone())
        });
        house.store.upsert_contacts(&contacts, now).await.unwrap();
        Self {
            house,
            folder,
            now,
            mails: 0,
            letters: Vec::new(),
            last_answer: None,
            said_yes: BTreeSet::new(),
            vouched: BTreeSet::new(),
            opted_out: BTreeSet::new(),
        }
    }

    async fn mail(&mut self, from: &str, subject: &str, fields: &str, words: &str) {
        self.mails += 1;
        let number = self.mails;
        let mail = format!(
            "From: {from}\nTo: privacy@example.com\nSubject: {subject}\nMessage-ID: <{number}.z@example.org>\n{fields}\n{words}\n"
        );
        self.house.deliver(self.now, number, mail.into_bytes()).await;
    }

    async fn step(mut self, act: &Act) -> Self {
        match act {
            Act::Letter { who, words } => {
                let (from, words) = (PEOPLE[*who], LETTERS[*words]);
                if words.contains("unsubscribe") {
                    self.opted_out.insert(from);
                }
                self.mail(from, "My data", "", words).await;
            }
            Act::Answer { who, words, is_forged } => {
                let who = PEOPLE[*who];
                let ours = self.letters.iter().rev().find(|(to, _)| to == who);
                let Some((_, raw)) = ours.cloned() else { return self };
                let letter = Message::parse(raw.as_bytes()).unwrap();
                let id = letter.message_id().unwrap();
                let fields = format!("In-Reply-To: {0}\nReferences: {0}\n", id.as_str());
                let quoted: String = letter.text().lines().map(|line| format!("> {line}\n")).collect();
                let words = ANSWERS[*words];
                let from = if *is_forged { STRANGER } else { who };
                if !is_forged && words.starts_with("Yes") {
                    self.said_yes.insert(who);
                }
                let answer = (
                    from.to_owned(),
                    format!("Re: {}", letter.subject()),
                    fields,
                    format!("{words}\n\n{quoted}"),
                );
                self.mail(&answer.0, &answer.1, &answer.2, &answer.3).await;
                self.last_answer = Some(answer);
            }
            Act::Replay => {
                if let Some((from, subject, fields, words)) = self.last_answer.clone() {
                    self.mail(&from, &subject, &fields, &words).await;
                }
            }
            Act::Hand { verb, request } => self.hand(*verb, request).await,
            Act::Post { fate } => self.post(*fate).await,
            Act::Hours(hours) => {
                self.now += SignedDuration::from_hours(*hours);
                self.house.intake.sweep(self.now).await.unwrap();
                self.house.intake.warn(self.now).await.unwrap();
                self.house.work.pass(self.now, Some(self.now), &Stop::never()).await.unwrap();
            }
            Act::Restart => self.house = self.house.restarted().await,
            Act::Purge => {
                let cutoffs = Retention::default().cutoffs(self.now).unwrap();
                self.house.store.purge(&cutoffs, self.now, &|| false).await.unwrap();
            }
        }
        let letters = self.house.letters().await.into_iter().skip(self.letters.len());
        self.letters.extend(letters.map(|(to, _, raw)| (to, raw)));
        self
    }

    async fn hand(&mut self, verb: usize, request: &prop::sample::Index) {
        let requests = self.house.store.requests(None, 1000).await.unwrap();
        if requests.is_empty() {
            return;
        }
        let reference = request.get(&requests).reference.clone();
        let verb = match verb {
            0 => Verb::Approve { proof: None, subject: None },
            1 => Verb::Deny { reason: Denial::NoMatch },
            2 => Verb::Hold { reason: None },
            3 => Verb::Release,
            4 => Verb::Reclassify { kind: "deletion".into() },
            5 => Verb::Reclassify { kind: "access".into() },
            6 => Verb::Complete { set: vec![] },
            7 => Verb::Withdraw,
            _ => Verb::Note { text: "looked at".into() },
        };
        let tools = self.house.intake.tools();
        match act(&self.house.store, tools, &reference, &verb, self.now).await {
            Ok(_) if matches!(verb, Verb::Approve { .. }) => {
                self.vouched.insert(reference);
            }
            Ok(_) | Err(NotDone::Refused(_)) => {}
            Err(NotDone::Broken(error)) => panic!("{verb:?}: {error:#}"),
        }
    }

    async fn post(&self, fate: usize) {
        let store = &self.house.store;
        let (_, claim) = store.settle_and_claim(&[], 100, self.now).await.unwrap();
        let outcome = match fate {
            0 | 1 => Outcome::Sent("250 2.0.0".into()),
            2 => Outcome::Bounced("550 5.1.1".into()),
            _ => Outcome::Unknown("the connection was lost".into()),
        };
        let results: Vec<_> = claim.rows.into_iter().map(|row| (row, outcome.clone())).collect();
        store.settle_and_claim(&results, 0, self.now).await.unwrap();
    }

    /// What must hold at any time.
    async fn check(&self) {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.house.database());
        let mut db = SqliteConnection::connect_with(&options).await.unwrap();
        let verified = self.house.store.verify_chain(None).await.unwrap();
        assert!(verified.damage.is_none(), "{verified:?}");
        let recorded: i64 =
            sqlx::query_scalar("SELECT count(*) FROM messages").fetch_one(&mut db).await.unwrap();
        assert_eq!(recorded, i64::from(self.mails), "every mail is in the ledger once");
        let sent: Vec<Vec<u8>> = sqlx::query_scalar("SELECT raw FROM outbox WHERE state = 'sent'")
            .fetch_all(&mut db)
            .await
            .unwrap();
        for code in sent.iter().flat_map(|raw| Code::find(&String::from_utf8_lossy(raw))) {
            assert_eq!(code, Code::BLANK, "a code outlives its sending");
        }

        let done = served(self.folder.path());
        let requests: Vec<RequestRow> = sqlx::query_as(
            "SELECT id, reference, kind, status, subject, closed_at FROM requests ORDER BY id",
        )
        .fetch_all(&mut db)
        .await
        .unwrap();
        let mut may_be_erased = BTreeSet::new();
        for (id, reference, kind, status, subject, closed) in requests {
            let events: Vec<(String, String)> =
                sqlx::query_as("SELECT actor, event FROM request_events WHERE request_id = ? ORDER BY id")
                    .bind(id)
                    .fetch_all(&mut db)
                    .await
                    .unwrap();
            let history = History::of(&events).unwrap_or_else(|why| panic!("{reference}: {why}: {events:?}"));
            assert_eq!(history.status, status, "{reference}: {events:?}");
            assert_eq!(closed.is_some(), history.is_closed(), "{reference}: {events:?}");
            let subject = subject.unwrap_or_default();
            if history.approved_by_sender {
                assert!(self.said_yes.contains(subject.as_str()), "{reference} is nobody's: {events:?}");
            }
            if history.approved_by_person {
                assert!(
                    self.vouched.contains(&reference) || history.approved_by_sender,
                    "{reference}: {events:?}"
                );
            }
            let orders = done.get(&reference).copied().unwrap_or_default();
            assert!(orders <= history.executions, "{reference} was carried out {orders} times: {events:?}");
            let by_person = events.iter().any(|(actor, event)| actor == "person" && event == "completed");
            if kind == "deletion" && (history.executions > 0 || by_person) {
                may_be_erased.insert(subject);
            }
        }
        let left: Vec<String> =
            sqlx::query_scalar("SELECT address FROM contacts").fetch_all(&mut db).await.unwrap();
        for person in PEOPLE {
            assert!(
                left.iter().any(|it| it == person) || may_be_erased.contains(person),
                "{person} was erased"
            );
        }
        for person in &self.opted_out {
            assert_eq!(self.house.suppressed([person]).await, [true], "{person}");
        }
    }
}

/// What the events of a request say, read by the rules of the lifecycle.
#[derive(Debug, Default)]
struct History {
    status: &'static str,
    executions: usize,
    approved_by_sender: bool,
    approved_by_person: bool,
}

impl History {
    fn of(events: &[(String, String)]) -> Result<Self, String> {
        let mut history = Self::default();
        let mut was_undelivered = false;
        for (actor, event) in events {
            let (before, is_closed) = (history.status, history.is_closed());
            let is_open = !before.is_empty() && !is_closed && before != "executing";
            let may = match event.as_str() {
                "received" => before.is_empty(),
                "asked" | "reminded" | "expired" => ["approved", "awaiting_proof"].contains(&before),
                "approved" | "withdrawn" | "reclassified" => is_open,
                "denied" => is_open || before == "executing",
                "released" => before == "held",
                "executing" => {
                    before == "approved" && (history.approved_by_sender || history.approved_by_person)
                }
                "task" => before == "executing",
                "partly_completed" => before == "executing",
                "completed" => is_open || before == "executing",
                "held" => !is_closed || was_undelivered && before.ends_with("completed"),
                "note" | "undelivered" | "asked_again" | "extended" => true,
                "appealed" => before == "denied",
                _ => false,
            };
            if !may {
                return Err(format!("{event} while it was {before:?}"));
            }
            history.approved_by_sender |= event == "approved" && actor == "sender";
            history.approved_by_person |= event == "approved" && actor == "person";
            history.executions += usize::from(event == "executing");
            was_undelivered = event == "undelivered";
            history.status = match event.as_str() {
                // What needs no proof, or has it by its mail, waits for a person or is completed at once.
                "received" | "reclassified" | "approved" => "approved",
                "asked" | "released" => "awaiting_proof",
                "executing" => "executing",
                "held" => "held",
                "denied" => "denied",
                "withdrawn" => "withdrawn",
                "expired" => "expired",
                "completed" => "completed",
                "partly_completed" => "partly_completed",
                _ => before,
            };
        }
        Ok(history)
    }

    fn is_closed(&self) -> bool {
        ["denied", "withdrawn", "expired", "completed", "partly_completed"].contains(&self.status)
    }
}

/// A system that says "later" to the first order of each reference, and does it at the next.
fn shop(folder: &Path) -> PathBuf {
    let program = folder.join("shop");
    let script = format!(
        "#!/bin/sh\nread -r order\n\
         reference=$(printf %s \"$order\" | sed 's/.*\"reference\":\"\\([^\"]*\\)\".*/\\1/')\n\
         if [ -e '{0}/asked.'\"$reference\" ]; then\n\
           echo \"$reference\" >> '{0}/done'\n\
           case \"$order\" in *'\"verb\":\"collect\"'*) echo '{{\"outcome\":\"done\",\"data\":{{\"orders\":3}}}}' ;;\n\
             *) echo '{{\"outcome\":\"done\"}}' ;; esac\n\
         else : > '{0}/asked.'\"$reference\"; echo '{{\"outcome\":\"retry\"}}'; fi\n",
        folder.display()
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    program
}

/// How often the system has done what a reference asks for.
fn served(folder: &Path) -> BTreeMap<String, usize> {
    let mut served = BTreeMap::new();
    for reference in std::fs::read_to_string(folder.join("done")).unwrap_or_default().lines() {
        *served.entry(reference.to_owned()).or_default() += 1;
    }
    served
}

/// All of `acts` in a world of their own.
fn live(acts: &[Act]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut world = World::new().await;
        for act in acts {
            world = world.step(act).await;
            world.check().await;
        }
    });
}

proptest! {
    #![proptest_config(Config {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|it| it.parse().ok()).unwrap_or(24),
        max_shrink_iters: 200,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..Config::default()
    })]

    #[test]
    fn whatever_happens_in_whatever_order(acts in acts()) {
        live(&acts);
    }
}

/// Orders that went wrong once, or nearly so, and the plain ones: they must not depend on chance.
#[test]
fn known_orders() {
    let letter = |words| Act::Letter { who: 0, words };
    let answer = |words| Act::Answer { who: 0, words, is_forged: false };
    for acts in [
        // A copy and an erasure, the copy refused by the server.
        vec![
            letter(2),
            answer(1),
            Act::Hours(1),
            Act::Hours(1),
            Act::Post { fate: 2 },
            Act::Hours(100),
            Act::Hours(1),
        ],
        // The same, its fate unknown.
        vec![
            letter(2),
            answer(1),
            Act::Hours(1),
            Act::Hours(1),
            Act::Post { fate: 3 },
            Act::Hours(100),
            Act::Hours(1),
        ],
        // Approved, then stopped by another wish, then let go on.
        vec![letter(0), answer(0), answer(6), Act::Hours(100)],
        vec![letter(0), answer(0), answer(3), Act::Hours(100), Act::Replay],
        // A stranger who has seen the code.
        vec![letter(0), Act::Answer { who: 0, words: 0, is_forged: true }, Act::Hours(100), Act::Hours(500)],
    ] {
        live(&acts);
    }
}
