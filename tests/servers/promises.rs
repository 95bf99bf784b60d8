//! What the company promises in its privacy policy, promise by promise: a letter, the exchange that follows with
//! the binary between a real Dovecot and a real Postfix, and the end: the requests, the folder, the mails that
//! the person gets, and what is still known of them.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::Value;
use sqlx::Connection;

use crate::house::{House, send_to, text};
use crate::milters::{Filters, Milters};
use crate::postfix::Postfix;
use crate::{Need, Outcome, Scenario};

const SERVERS: &[Need] = &[Need::Dovecot, Need::Postfix, Need::Openssl, Need::Milters];

pub const SCENARIOS: &[Scenario] = &[("every_promise_is_kept", SERVERS, every_promise_is_kept)];

/// One promise, kept to one person: `name@example.org`.
struct Promise {
    name: &'static str,
    /// Whether their server signs their mail.
    signed: bool,
    /// Whether they press the button of their mail program for it: their letter goes to the address that the
    /// newsletter names.
    by_token: bool,
    letter: &'static str,
    /// What they write to our question.
    answer: Option<&'static str>,
    /// What a person of the company does then: `requests VERB REF …`.
    hand: Option<&'static [&'static str]>,
    /// The ends of their requests.
    requests: &'static [&'static str],
    /// Where their letter lies.
    folder: &'static str,
    /// The mails they get, by template.
    mails: &'static [&'static str],
    /// Whether they are still among the contacts, and what they get no more of.
    left: (bool, &'static [&'static str]),
}

const PLAIN: Promise = Promise {
    name: "",
    signed: false,
    by_token: false,
    letter: "",
    answer: None,
    hand: None,
    requests: &[],
    folder: "",
    mails: &[],
    left: (true, &[]),
};

const PROMISES: &[Promise] = &[
    // "Stop receiving our communications by writing to privacy@": at once, no proof asked.
    Promise {
        name: "stop",
        letter: "Please stop sending me your newsletter.",
        requests: &["opt_out completed"],
        folder: "Opt-out",
        mails: &["opt_out"],
        left: (true, &["marketing"]),
        ..PLAIN
    },
    // The same as a reply to the newsletter.
    Promise {
        name: "reply",
        letter: "unsubscribe\n\nOn Mon, 23 Nov 2026 at 09:00, Example Company <news@example.com> wrote:\n> Our autumn boots are here.\n> To delete your account and all your data, visit your profile.",
        requests: &["opt_out completed"],
        folder: "Opt-out",
        mails: &["opt_out"],
        left: (true, &["marketing"]),
        ..PLAIN
    },
    // "Opt out by the unsubscribe link at the bottom of any mail": a machine's empty mail, and no mail back.
    Promise {
        name: "link",
        by_token: true,
        requests: &["opt_out completed"],
        folder: "Opt-out",
        left: (true, &["marketing"]),
        ..PLAIN
    },
    // "Opt out of targeted ads".
    Promise {
        name: "ads",
        letter: "Please stop using my data for targeted advertising.",
        requests: &["ad_opt_out completed"],
        folder: "Ad-opt-out",
        mails: &["ad_opt_out"],
        left: (true, &["targeted_ads"]),
        ..PLAIN
    },
    // A copy of everything, once it is known who asks, with a data point.
    Promise {
        name: "copy",
        letter: "Please send me a copy of all the personal data you hold about me.",
        answer: Some("Yes, that was me. My postcode is 10115."),
        requests: &["access completed"],
        folder: "Access",
        mails: &["confirm", "confirmed", "copy"],
        ..PLAIN
    },
    // Without one: the categories, not silence.
    Promise {
        name: "categories",
        letter: "Please send me a copy of all the personal data you hold about me.",
        answer: Some("Yes"),
        requests: &["access partly_completed"],
        folder: "Access",
        mails: &["confirm", "confirmed", "categories"],
        ..PLAIN
    },
    // "What was disclosed to third parties for direct marketing".
    Promise {
        name: "disclosure",
        signed: true,
        letter: "Please tell me which third parties you disclosed my personal information to for their direct marketing purposes last year.",
        requests: &["disclosure completed"],
        folder: "Disclosure",
        mails: &["disclosure", "disclosed"],
        ..PLAIN
    },
    // "Correct your information".
    Promise {
        name: "correction",
        signed: true,
        letter: "Please change my name from Jan Smith to Jan Doe.",
        answer: Some("Yes"),
        requests: &["correction completed"],
        folder: "Correction",
        mails: &["confirm", "confirmed", "corrected"],
        ..PLAIN
    },
    // "Delete your information".
    Promise {
        name: "gone",
        letter: "Please delete all my personal data.",
        answer: Some("Yes"),
        requests: &["deletion completed"],
        folder: "Deletion",
        mails: &["confirm", "confirmed", "erased"],
        left: (false, &[]),
        ..PLAIN
    },
    // The copy is made before what it copies is erased, whatever the order of the words.
    Promise {
        name: "both",
        letter: "Please delete all my personal data. Before that, send me a copy of the personal data you hold about me.",
        answer: Some("Yes. 10115"),
        requests: &["access completed", "deletion completed"],
        folder: "Deletion",
        mails: &["confirm", "confirmed", "copy", "erased"],
        left: (false, &[]),
        ..PLAIN
    },
    // Somebody else has asked in this person's name.
    Promise {
        name: "fraud",
        letter: "Please delete all my personal data.",
        answer: Some("No, I never asked for this!"),
        requests: &["deletion withdrawn"],
        folder: "Deletion",
        mails: &["confirm", "withdrawn"],
        ..PLAIN
    },
    // "We retain what we must": a legal hold is for a person, who declines with a reason.
    Promise {
        name: "held",
        letter: "Please delete all my personal data.",
        answer: Some("Yes"),
        hand: Some(&["deny", "--reason", "claim_not_covered"]),
        requests: &["deletion denied"],
        folder: "Deletion",
        mails: &["confirm", "confirmed", "denied"],
        ..PLAIN
    },
    // "Cancel your account: contact us".
    Promise {
        name: "account",
        letter: "Please close my account.",
        answer: Some("Yes"),
        requests: &["cancel_account completed"],
        folder: "Cancel-account",
        mails: &["confirm", "confirmed", "cancelled"],
        ..PLAIN
    },
    // "Your testimonial with your name": taken down by the system that shows it.
    Promise {
        name: "testimonial",
        letter: "Please take my testimonial off your website.",
        answer: Some("Yes"),
        requests: &["testimonial completed"],
        folder: "Testimonial",
        mails: &["confirm", "confirmed", "unpublished"],
        ..PLAIN
    },
    // GDPR art. 21 and 18: kept, and not used.
    Promise {
        name: "objection",
        signed: true,
        letter: "I object to the processing of my personal data on grounds relating to my particular situation.",
        requests: &["objection completed"],
        folder: "Objection",
        mails: &["objection", "restricted"],
        left: (true, &["marketing", "restricted", "targeted_ads"]),
        ..PLAIN
    },
    Promise {
        name: "restriction",
        signed: true,
        letter: "Please restrict the processing of my personal data under Art. 18 GDPR.",
        requests: &["restriction completed"],
        folder: "Restriction",
        mails: &["restriction", "restricted"],
        left: (true, &["marketing", "restricted", "targeted_ads"]),
        ..PLAIN
    },
    // "The blog is run by a third party": whoever asks.
    Promise {
        name: "blog",
        letter: "Please remove the comment that I left on your blog.",
        requests: &["blog_comment completed"],
        folder: "Blog-comment",
        mails: &["blog_comment"],
        ..PLAIN
    },
    // "Any questions about this policy".
    Promise {
        name: "question",
        signed: true,
        letter: "I have a question about your privacy policy: how long do you keep my data?",
        requests: &["question approved"],
        folder: "Question",
        mails: &["question"],
        ..PLAIN
    },
    // "We do not collect from children under 13": to a person at once.
    Promise {
        name: "child",
        signed: true,
        letter: "My daughter is 9 years old and has made an account with you. Please delete her data.",
        requests: &["child_data approved"],
        folder: "Child-data",
        mails: &["child_data"],
        ..PLAIN
    },
    // A reminder is no second execution: to a person.
    Promise {
        name: "reminder",
        signed: true,
        letter: "I wrote to you three weeks ago about my personal data and have had no reply to my request. When will you answer it?",
        requests: &["follow_up approved"],
        folder: "Follow-up",
        mails: &["follow_up"],
        ..PLAIN
    },
];

/// Whose name is changed, and into what.
const CORRECTED: (&str, &str) = ("correction@example.org", "Jan Doe");

fn every_promise_is_kept() -> Outcome {
    let milters = Milters::start(Filters::Both, "mx.example.com", &["example.org"]);
    let folder = tempfile::tempdir().unwrap();
    let shop = folder.path().join("shop");
    let script = "#!/bin/sh\nread -r order\ncase \"$order\" in\n\
        *'\"verb\":\"collect\"'*) echo '{\"outcome\":\"done\",\"data\":{\"orders\":[{\"item\":\"boots\"}]}}' ;;\n\
        *) echo '{\"outcome\":\"done\"}' ;;\nesac\n";
    std::fs::write(&shop, script).unwrap();
    std::fs::set_permissions(&shop, std::fs::Permissions::from_mode(0o700)).unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n").unwrap();
    let last_year = jiff::Timestamp::now().to_zoned_datetime(jiff::tz::TimeZone::UTC).year() - 1;
    let house = House::with(&format!(
        "[authentication]\nauthserv_ids = [\"mx.example.com\"]\nreceived_by = [\"mx.example.com\"]\n\
         [[source]]\nname = \"Contacts\"\nlocal = true\n[[source]]\nname = \"Shop\"\ncommand = [{:?}]\n\
         verbs = [\"collect\", \"erase\", \"cancel\", \"correct\", \"restrict\", \"unpublish\"]\n\
         [erasure]\ndelay = \"0s\"\n[proof]\ndata_points = [\"postcode\"]\ndata_points_needed = 1\n\
         [correction]\nfields = [\"name\"]\n[unsubscribe]\nkeys = [{{ file = {:?} }}]\n\
         [[disclosure.year]]\nyear = {last_year}\ncategories = [\"postal addresses\"]\n\
         [[disclosure.year.third_party]]\nname = \"Example Mailings\"\naddress = \"1 Example Street\"\n\
         business = \"garden tools\"\n",
        shop.display().to_string(),
        key.display().to_string()
    ));
    let border = house.border_with(&format!(
        "myhostname = mx.example.com\nsmtpd_authorized_xclient_hosts = 127.0.0.1\nrecipient_delimiter = +\n\
         virtual_mailbox_maps = inline:{{ {{ privacy@example.com = all/ }} }}\n{}",
        milters.postfix_settings()
    ));
    import(&house, folder.path());

    let mut post = Post { house: &house, border: &border, milters: &milters, number: 0 };
    for promise in PROMISES {
        post.send(promise, "My data", "", promise.letter);
    }
    post.arrive(PROMISES.len());
    for promise in PROMISES {
        if let Some(words) = promise.answer {
            let question = house.mails(promise.name).pop().expect("a question");
            let field = |name: &str| {
                let line = question.lines().find_map(|line| line.strip_prefix(name));
                line.unwrap_or_default().trim().to_owned()
            };
            let id = field("Message-ID:");
            let threading = format!("In-Reply-To: {id}\nReferences: {id}\n");
            let body = question.split_once("\n\n").map(|(_, body)| body).unwrap_or_default();
            let quoted: String = body.lines().map(|line| format!("> {line}\n")).collect();
            post.send(
                promise,
                &format!("Re: {}", field("Subject:")),
                &threading,
                &format!("{words}\n\n{quoted}"),
            );
        }
    }
    post.arrive(PROMISES.iter().filter(|promise| promise.answer.is_some()).count());
    // An erasure waits for the copy of the same mail.
    house.run(&["run", "--once"]);
    let references = house.references();
    for promise in PROMISES {
        if let Some([verb, rest @ ..]) = promise.hand {
            let reference = references.get(promise.name).unwrap().first().unwrap();
            let words: Vec<&str> = ["requests", verb, reference].iter().chain(rest).copied().collect();
            house.run(&words);
        }
    }
    house.run(&["run", "--once"]);

    let (ends, contacts) = (house.ends(), house.contacts());
    let mut broken = Vec::new();
    for promise in PROMISES {
        let name = promise.name;
        let found = (
            ends.get(name).cloned().unwrap_or_default(),
            house.templates(name),
            house.mails(name).len(),
            house.folder(name),
            (contacts.contains(&format!("{name}@example.org")), house.stopped(name)),
        );
        let owned = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let (is_known, stopped) = promise.left;
        let mails = owned(promise.mails);
        let folder = promise.folder.to_owned();
        let kept = (owned(promise.requests), mails.clone(), mails.len(), folder, (is_known, owned(stopped)));
        if found != kept {
            broken.push(format!("{name}: {found:?}\n  instead of {kept:?}"));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    for (folder, mails) in house.folders() {
        assert_eq!(house.filed(&folder).len(), mails, "{folder}");
    }
    assert_eq!(house.filed("INBOX").len(), 0);
    assert_eq!(
        house.list(&["outbox", "list", "--state", "sent"]).len(),
        house.list(&["outbox", "list"]).len()
    );
    assert_eq!(house.names(), BTreeMap::from([(CORRECTED.0.to_owned(), CORRECTED.1.to_owned())]));
    everybody_is_told_of_a_new_policy(&house);
    house.run(&["audit", "verify"]);
    Ok(())
}

/// "If the policy changes we tell you by mail": each person once, also who gets no more marketing, and with a way to
/// opt out of that; and nobody who was erased.
fn everybody_is_told_of_a_new_policy(house: &House) {
    let notice =
        ["notice", "send", "--template", "policy-change", "--name", "policy-2026", "--rate", "600/min"];
    for _ in 0..2 {
        house.run(&notice);
        house.run(&["run", "--once"]);
    }
    for promise in PROMISES {
        let (is_known, _) = promise.left;
        let mails = house.mails(promise.name);
        assert_eq!(mails.len(), promise.mails.len() + usize::from(is_known), "{}", promise.name);
        let last = mails.last().map(String::as_str).unwrap_or_default();
        assert_eq!(
            last.contains("\nList-Unsubscribe: <mailto:privacy+u"),
            is_known,
            "{}: {last}",
            promise.name
        );
    }
}

/// Everybody is a customer, with a postcode and a name; one is on legal hold.
fn import(house: &House, folder: &std::path::Path) {
    let mut csv = "email,postcode,legal_hold,name\n".to_owned();
    for promise in PROMISES {
        let hold = if promise.name == "held" { "yes" } else { "" };
        csv.push_str(&format!("{}@example.org,10115,{hold},Jan Smith\n", promise.name));
    }
    let file = folder.join("contacts.csv");
    std::fs::write(&file, csv).unwrap();
    house.run(&["contacts", "import", &file.display().to_string()]);
}

/// The way of mail between the people and the company.
struct Post<'a> {
    house: &'a House,
    border: &'a Postfix,
    milters: &'a Milters,
    number: usize,
}

impl Post<'_> {
    fn send(&mut self, promise: &Promise, subject: &str, fields: &str, words: &str) {
        self.number += 1;
        let to = match promise.by_token {
            true => self.house.unsubscribes(promise.name),
            false => "privacy@example.com".to_owned(),
        };
        let mail = format!(
            "From: {0} <{0}@example.org>\nTo: {to}\nSubject: {subject}\n\
             Date: Mon, 23 Nov 2026 10:00:00 +0000\nMessage-ID: <{1}.test@example.org>\n{fields}\n{words}\n",
            promise.name, self.number
        );
        let mail = if promise.signed { self.milters.sign("example.org", &mail) } else { mail };
        // The filters leave mail from loopback alone.
        send_to(self.border.plain, Some("ADDR=192.0.2.1 NAME=mail.example.org"), &to, mail.as_bytes());
    }

    /// Waits until so many have arrived, and has them read.
    fn arrive(&self, count: usize) {
        let end = Instant::now() + Duration::from_secs(20);
        while self.house.filed("INBOX").len() < count {
            assert!(Instant::now() < end, "the mails do not arrive: {}", self.border.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        self.house.run(&["run", "--once"]);
    }
}

/// Whose a row is, by the local part of the address.
fn name_in(row: &Value, key: &str) -> String {
    text(row, key).split('@').next().unwrap_or_default().to_owned()
}

impl House {
    fn mails(&self, name: &str) -> Vec<String> {
        self.way_out().mails(&format!("{name}@example.org"))
    }

    /// The address that a newsletter to somebody names for unsubscribing.
    fn unsubscribes(&self, name: &str) -> String {
        let (field, _) = self.run(&["token", &format!("{name}@example.org")]);
        let address = field.split(['<', '>', ':', '?', '\n']).find(|word| word.contains("+u."));
        address.expect("a token in the address").to_owned()
    }

    /// Type and status of everybody's requests.
    fn ends(&self) -> BTreeMap<String, Vec<String>> {
        self.by_person(|row| format!("{} {}", text(row, "kind"), text(row, "status")))
    }

    fn references(&self) -> BTreeMap<String, Vec<String>> {
        self.by_person(|row| text(row, "reference"))
    }

    fn by_person(&self, say: impl Fn(&Value) -> String) -> BTreeMap<String, Vec<String>> {
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for row in self.list(&["requests", "list", "--all"]) {
            found.entry(name_in(&row, "subject")).or_default().push(say(&row));
        }
        found.values_mut().for_each(|list| list.sort());
        found
    }

    /// What was sent to somebody, in order.
    fn templates(&self, name: &str) -> Vec<String> {
        let mut rows = self.list(&["outbox", "list"]);
        rows.retain(|row| name_in(row, "recipient") == name);
        rows.sort_by_key(|row| row.get("id").and_then(Value::as_i64));
        rows.iter().map(|row| text(row, "template")).collect()
    }

    /// Where the letter of somebody was filed, by the ledger.
    fn folder(&self, name: &str) -> String {
        let mut rows = self.list(&["messages", "list"]);
        rows.retain(|row| name_in(row, "sender") == name);
        rows.sort_by_key(|row| row.get("id").and_then(Value::as_i64));
        rows.first().map(|row| text(row, "folder")).unwrap_or_default()
    }

    /// How many mails lie in each folder, by the ledger.
    fn folders(&self) -> BTreeMap<String, usize> {
        let mut folders = BTreeMap::new();
        for row in self.list(&["messages", "list"]) {
            *folders.entry(text(&row, "folder")).or_default() += 1;
        }
        folders
    }

    /// The addresses of all contacts.
    fn contacts(&self) -> BTreeSet<String> {
        self.fields().into_keys().collect()
    }

    /// The names of the contacts whose name is not what it was.
    fn names(&self) -> BTreeMap<String, String> {
        let names = self.fields().into_iter().map(|(address, fields)| {
            let fields: Value = serde_json::from_str(&fields).unwrap();
            (address, text(&fields, "name"))
        });
        names.filter(|(_, name)| name != "Jan Smith").collect()
    }

    /// Address and fields of all contacts.
    fn fields(&self) -> BTreeMap<String, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.database());
            let mut db = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
            let rows: Vec<(String, String)> =
                sqlx::query_as("SELECT address, fields FROM contacts").fetch_all(&mut db).await.unwrap();
            rows.into_iter().collect()
        })
    }

    /// What somebody gets no more of.
    fn stopped(&self, name: &str) -> Vec<String> {
        let out = self.run(&["suppressions", "list", "--json"]).0;
        let rows = out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        rows.filter(|row| name_in(row, "address") == name).map(|row| text(&row, "kind")).collect()
    }
}
