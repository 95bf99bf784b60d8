//! The ladder of proof, mail by mail: what is asked before anything is done, what counts as an answer,
//! and what a forger gets for his trouble: nothing.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

#[path = "support/corridor.rs"]
mod support;

use privacyd::operator::hand::{Verb, act};
use support::House;

const DELETE: &str = "Please delete all my personal data.";
const COPY: &str = "Please send me a copy of all the personal data you hold about me.";

fn start() -> Timestamp {
    "2026-11-23T10:00:00Z".parse().unwrap()
}

fn after(days: i64) -> Timestamp {
    start() + SignedDuration::from_hours(24 * days)
}

/// A mail of its own Message-ID, with more header fields in `fields`.
fn mail(number: u32, from: &str, subject: &str, fields: &str, words: &str) -> Vec<u8> {
    format!(
        "From: Zebedee Quux <{from}>\nTo: privacy@example.com\nSubject: {subject}\nMessage-ID: <{number}.z@example.org>\n\
         {fields}\n{words}\n"
    )
    .into_bytes()
}

struct Exchange {
    house: House,
    next: u32,
}

impl Exchange {
    async fn new() -> Self {
        Self::with("").await
    }

    async fn with(keys: &str) -> Self {
        Self { house: House::with(keys).await, next: 1 }
    }

    /// Receives a mail on a day after the start; answers its folder.
    async fn mail(&mut self, day: i64, from: &str, subject: &str, fields: &str, words: &str) -> String {
        let number = self.next;
        self.next += 1;
        let bytes = mail(number, from, subject, fields, words);
        let mut filed = self.house.receive_at(after(day), 1, vec![(number, bytes)]).await;
        filed.remove(0).1
    }

    /// The last letter of ours.
    async fn letter(&self) -> Letter {
        let (to, template, raw) = self.house.letters().await.pop().unwrap();
        Letter { to, template, raw }
    }

    async fn count(&self) -> usize {
        self.house.letters().await.len()
    }

    /// Type, status, proof given and flag of every request, in order of their types.
    async fn requests(&self) -> Vec<(String, String, u8, String)> {
        let rows = self.house.store.requests(None, 100).await.unwrap();
        let mut rows: Vec<_> =
            rows.into_iter().map(|row| (row.kind, row.status, row.proof_given, row.flag)).collect();
        rows.sort();
        rows
    }

    async fn status(&self) -> String {
        let rows = self.requests().await;
        assert_eq!(rows.len(), 1, "{rows:?}");
        rows.first().unwrap().1.clone()
    }
}

struct Letter {
    to: String,
    template: String,
    raw: String,
}

impl Letter {
    fn field(&self, name: &str) -> String {
        let unfolded = self.raw.replace("\r\n ", " ");
        let line = unfolded.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_default().to_owned()
    }

    fn code(&self) -> String {
        let at = self.raw.find("c.").filter(|_| self.raw.contains("c.")).unwrap();
        let codes: Vec<String> = self
            .raw
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '.')
            .filter(|word| word.starts_with("c.") && word.len() == 28)
            .map(str::to_owned)
            .collect();
        assert!(at > 0 && codes.iter().all(|code| Some(code) == codes.first()), "{codes:?}");
        codes.first().unwrap().clone()
    }

    /// An answer as mail programs write it: subject, thread, quoted text.
    fn reply_fields(&self) -> (String, String, String) {
        let body = self.raw.split_once("\r\n\r\n").unwrap().1.replace("\r\n", "\n> ");
        (
            format!("Re: {}", self.field("Subject")),
            format!("In-Reply-To: {0}\nReferences: {0}\n", self.field("Message-ID")),
            format!("\n\nOn Mon, 23 Nov 2026 at 11:00, Example <privacy@example.com> wrote:\n> {body}"),
        )
    }
}

#[tokio::test]
async fn a_deletion_waits_for_a_yes_from_its_own_address() {
    for words in ["YES", "Yes, that was me.", "Hello,\n\nyes I confirm.\n\nKind regards\nJane"] {
        let mut x = Exchange::new().await;
        assert_eq!(x.mail(0, "Jane@example.org", "Data", "", DELETE).await, "Deletion");
        assert_eq!(x.status().await, "awaiting_proof");
        let question = x.letter().await;
        assert_eq!((question.to.as_str(), question.template.as_str()), ("jane@example.org", "confirm"));
        assert!(question.field("Subject").contains(&question.code()), "no code in the subject");
        assert!(
            question.raw.split_once("\r\n\r\n").unwrap().1.contains(&question.code()),
            "none in the body"
        );
        let (subject, fields, quoted) = question.reply_fields();
        let folder = x.mail(1, "jane@example.org", &subject, &fields, &format!("{words}{quoted}")).await;
        assert_eq!(folder, "Deletion", "{words:?}");
        assert_eq!(
            x.requests().await,
            [("deletion".into(), "approved".into(), 2, String::new())],
            "{words:?}"
        );
        assert_eq!(x.letter().await.template, "confirmed");
        // The code is used up: sent once more, it does nothing.
        x.mail(2, "jane@example.org", &subject, "", &format!("Yes, that was me.{quoted}")).await;
        assert_eq!(x.status().await, "approved");
        assert_eq!(x.count().await, 2);
    }
}

#[tokio::test]
async fn the_code_comes_back_by_any_of_its_carriers_and_counts_only_from_its_address() {
    let mut x = Exchange::with("[proof]\nplus_addressing = true\n").await;
    x.mail(0, "jane@example.org", "Data", "", DELETE).await;
    let question = x.letter().await;
    let code = question.code();
    assert_eq!(question.field("Reply-To"), format!("privacy+{code}@example.com"));
    for (from, subject, words) in [
        // Somebody else with Jane's code; Jane with a code that is none; a name that looks like hers.
        ("mallory@example.net", format!("Re: {code}"), "Yes".to_owned()),
        ("mallory@example.net", "Re".to_owned(), format!("Yes {code}")),
        ("jane@example.org.example.net", format!("Re: {code}"), "Yes".to_owned()),
        ("jane@example.org", "Re: c.aaaaaaaaaaaaaaaaaaaaaaaaaa".to_owned(), "Yes".to_owned()),
        ("jane@example.org", format!("Re: {}", &code[..27]), "Yes".to_owned()),
    ] {
        x.mail(1, from, &subject, "", &words).await;
        let rows = x.requests().await;
        assert!(
            rows.iter().all(|row| row.1 != "approved" && row.1 != "withdrawn"),
            "{from} {subject}: {rows:?}"
        );
    }
    for (subject, to, words) in [
        (format!("Re: [{code}]"), "privacy@example.com".to_owned(), "Yes".to_owned()),
        ("Re: hello".to_owned(), "privacy@example.com".to_owned(), format!("Yes\n\n> {code}")),
        ("Re: hello".to_owned(), format!("PRIVACY+{}@example.com", code.to_uppercase()), "Yes".to_owned()),
    ] {
        let mut x = Exchange::with("[proof]\nplus_addressing = true\n").await;
        x.mail(0, "jane@example.org", "Data", "", DELETE).await;
        let own = x.letter().await.code();
        let swap = |text: &str| text.replace(&code, &own).replace(&code.to_uppercase(), &own.to_uppercase());
        let bytes = format!(
            "From: jane@example.org\nTo: {}\nSubject: {}\nMessage-ID: <y@example.org>\n\n{}\n",
            swap(&to),
            swap(&subject),
            swap(&words)
        );
        x.house.receive_at(after(1), 1, vec![(9, bytes.into_bytes())]).await;
        assert_eq!(x.status().await, "approved", "{subject} {to} {words}");
    }
}

#[tokio::test]
async fn a_code_of_somebody_elses_question_and_a_guessed_one_are_worth_nothing() {
    let mut x = Exchange::with("[proof]\nplus_addressing = true\n").await;
    let mut codes = Vec::new();
    for from in ["ann@example.org", "jane@example.org"] {
        x.mail(0, from, "Data", "", DELETE).await;
        codes.push(x.letter().await.code());
    }
    let guess = "c.aaaaaaaaaaaaaaaaaaaaaaaaaa".to_owned();
    let [ann, jane] = codes.as_slice() else { panic!("{codes:?}") };
    let tries = [("ann@example.org", jane), ("jane@example.org", ann), ("jane@example.org", &guess)];
    for (from, code) in tries {
        let to = format!("To: privacy+{code}@example.com\n");
        x.mail(1, from, "Re: Data", &to, "Yes, that was me.").await;
        x.mail(1, from, &format!("Re: [{code}]"), "", "No, I did not ask for this.").await;
        x.mail(1, from, "Re: Data", "", &format!("Yes\n\n> {code}")).await;
    }
    let deletions = x.requests().await.into_iter().filter(|row| row.0 == "deletion");
    assert_eq!(deletions.map(|row| row.1).collect::<Vec<_>>(), ["awaiting_proof", "awaiting_proof"]);
    // A person sees each yes, for its sender waits for something.
    let rows = x.house.store.messages(Some("review"), 100).await.unwrap();
    let bears_a_code = rows.iter().filter(|row| row.why.contains("there is a code of ours in it"));
    assert_eq!(bears_a_code.count(), 6);
}

#[tokio::test]
async fn a_no_cancels_and_is_flagged_and_a_never_mind_cancels() {
    for (words, flag) in [
        ("No, I did not ask for this!", "suspected_fraud"),
        ("Nein, das war ich nicht.", "suspected_fraud"),
        ("I changed my mind.", ""),
    ] {
        let mut x = Exchange::new().await;
        x.mail(0, "jane@example.org", "Data", "", DELETE).await;
        let (subject, fields, quoted) = x.letter().await.reply_fields();
        x.mail(1, "jane@example.org", &subject, &fields, &format!("{words}{quoted}")).await;
        let deletion = ("deletion".to_owned(), "withdrawn".to_owned(), 0, flag.to_owned());
        assert!(x.requests().await.contains(&deletion), "{words}");
        assert_eq!(x.letter().await.template, "withdrawn");
        // Too late for a yes.
        x.mail(2, "jane@example.org", &subject, &fields, &format!("Yes{quoted}")).await;
        assert!(x.requests().await.contains(&deletion), "{words}");
    }
}

#[tokio::test]
async fn a_yes_with_more_to_it_approves_no_erasure() {
    for words in [
        "Yes. But wait until Friday",
        "Yes! Keep my account please",
        "YES. Just unsubscribe me instead",
        "Yes. Keep order 4711",
    ] {
        let mut x = Exchange::new().await;
        x.mail(0, "jane@example.org", "Data", "", DELETE).await;
        let (subject, fields, quoted) = x.letter().await.reply_fields();
        x.mail(1, "jane@example.org", &subject, &fields, &format!("{words}{quoted}")).await;
        let rows = x.requests().await;
        let deletion = rows.iter().find(|row| row.0 == "deletion").unwrap();
        assert_eq!(deletion.1, "awaiting_proof", "{words}");
    }
}

#[tokio::test]
async fn a_yes_after_a_denial_waits_for_a_person_who_has_read_it() {
    #[derive(Debug, Clone, Copy)]
    enum Way {
        MailOfItsOwn,
        WithoutTheCode,
        WithTheCode,
        ByAnother,
    }
    const DENIAL: &str = "Please do not delete my personal data after all, I still need it.";
    for (way, words, status) in [
        (Way::MailOfItsOwn, DENIAL, "held"),
        (Way::WithoutTheCode, DENIAL, "held"),
        (Way::WithTheCode, DENIAL, "held"),
        (Way::ByAnother, DENIAL, "held"),
        (Way::MailOfItsOwn, "Bitte löschen Sie meine Daten doch nicht.", "held"),
        (Way::MailOfItsOwn, "Ne supprimez pas mes données.", "held"),
        (Way::MailOfItsOwn, "Radera inte mina uppgifter.", "held"),
        (Way::MailOfItsOwn, "Cancel the deletion.", "held"),
        // A person sees that it is a reminder; who asks about it, tells of it, or asks for it again does not deny it.
        (Way::MailOfItsOwn, "You have still not deleted my personal data. I expect your answer.", "held"),
        (Way::MailOfItsOwn, "What happens to my invoices if you delete my personal data?", "awaiting_proof"),
        (
            Way::WithoutTheCode,
            "Please delete all of my personal data, and do not delete it by halves.",
            "awaiting_proof",
        ),
        (Way::MailOfItsOwn, "Where is my parcel?", "awaiting_proof"),
        (
            Way::MailOfItsOwn,
            "I asked you to delete my data two weeks ago and you did not delete it. Please confirm.",
            "awaiting_proof",
        ),
        (
            Way::MailOfItsOwn,
            "Warum haben Sie meine Daten noch nicht gelöscht? Sonst beschwere ich mich.",
            "awaiting_proof",
        ),
    ] {
        let mut x = Exchange::new().await;
        x.mail(0, "jane@example.org", "Data", "", DELETE).await;
        let question = x.letter().await;
        let (subject, fields, quoted) = question.reply_fields();
        let reference = x.house.store.requests(None, 1).await.unwrap().remove(0).reference;
        let deletion = async |x: &Exchange| {
            let rows = x.house.store.requests(None, 100).await.unwrap();
            let mut rows = rows.into_iter().filter(|row| row.reference == reference);
            rows.next().unwrap().status
        };
        let (from, subject_then, fields_then) = match way {
            Way::MailOfItsOwn => ("jane@example.org", "My data".to_owned(), ""),
            Way::WithoutTheCode => ("jane@example.org", "Re: your question".to_owned(), fields.as_str()),
            Way::WithTheCode => ("jane@example.org", subject.clone(), fields.as_str()),
            Way::ByAnother => ("jane@example.net", format!("Request {reference}"), ""),
        };
        x.mail(1, from, &subject_then, fields_then, words).await;
        assert_eq!(deletion(&x).await, status, "{way:?} {words}");
        x.mail(2, "jane@example.org", &subject, &fields, &format!("Yes{quoted}")).await;
        let then = if status == "held" { "held" } else { "approved" };
        assert_eq!(deletion(&x).await, then, "{way:?} {words}");
        if status == "held" {
            let (_, events) = x.house.store.request(&reference).await.unwrap().unwrap();
            let said = "a yes came while it was held: approve it, or its sender has to say it once more";
            assert!(events.iter().any(|event| event.reason.starts_with(said)), "{events:?}");
            assert!(!x.house.store.to_read(9).await.unwrap().is_empty());
            // Once a person has read it and lets it go on, its code is good again.
            let tools = x.house.intake.tools();
            act(&x.house.store, tools, &reference, &Verb::Release, after(3)).await.unwrap();
            x.mail(4, "jane@example.org", &subject, &fields, &format!("Yes, please.{quoted}")).await;
            assert_eq!(deletion(&x).await, "approved", "{way:?} {words}");
        }
    }
}

#[tokio::test]
async fn what_is_no_answer_approves_nothing() {
    let mut x = Exchange::new().await;
    x.mail(0, "jane@example.org", "Data", "", DELETE).await;
    let (subject, fields, quoted) = x.letter().await.reply_fields();
    let machine = format!("Auto-Submitted: auto-replied\n{fields}");
    for (fields, words, folder) in [
        (machine.as_str(), "Yes", "Automatic"),
        (&fields, "I am out of the office until Monday.", "Held"),
        (&fields, "Who are you?", "Held"),
        (&fields, "Yes, but keep my invoices.", "Held"),
        // Sent back without a word, echoed, receipted.
        (&fields, "", "Held"),
        (&fields, "Case 4711 opened: Please delete all my personal data. Status: new.", "Held"),
        (&fields, "We confirm the receipt of your e-mail.", "Held"),
        // This one makes it wait for a person.
        (&fields, "Under no circumstances may you delete my data.", "Held"),
    ] {
        let filed = x.mail(1, "jane@example.org", &subject, fields, &format!("{words}{quoted}")).await;
        assert_eq!(filed, folder, "{words}");
        let deletion = x.requests().await.into_iter().find(|row| row.0 == "deletion").unwrap();
        let is_denied = words.starts_with("Under no circumstances");
        assert_eq!(deletion.1, if is_denied { "held" } else { "awaiting_proof" }, "{words}");
    }
    // What has the words of a request as well is acknowledged, nothing more.
    assert!(x.house.letters().await.iter().skip(1).all(|(_, template, _)| template == "unclear"));
}

#[tokio::test]
async fn a_reminder_comes_once_and_then_the_end() {
    let mut x = Exchange::new().await;
    x.mail(0, "jane@example.org", "Data", "", DELETE).await;
    let first = x.letter().await.code();
    let sweep = |house: &House, day| {
        let intake = std::sync::Arc::clone(&house.intake);
        async move { intake.sweep(after(day)).await.unwrap() }
    };
    assert_eq!(sweep(&x.house, 6).await, 0);
    assert_eq!(sweep(&x.house, 7).await, 1);
    assert_eq!(sweep(&x.house, 8).await, 0);
    let reminder = x.letter().await;
    assert_eq!((reminder.to.as_str(), reminder.template.as_str()), ("jane@example.org", "reminder"));
    assert_ne!(reminder.code(), first);
    assert_eq!(reminder.field("In-Reply-To"), "<1.z@example.org>");
    assert_eq!(sweep(&x.house, 14).await, 1);
    assert_eq!(x.status().await, "expired");
    let end = x.letter().await;
    assert_eq!(end.template, "expired");
    assert!(end.raw.contains("You can start again at any time: write to privacy@example.com"), "{}", end.raw);
    assert_eq!(sweep(&x.house, 15).await, 0);
    // Both codes are worth nothing now.
    for code in [first, reminder.code()] {
        x.mail(15, "jane@example.org", &format!("Re: {code}"), "", "Yes").await;
        assert_eq!(x.status().await, "expired");
    }
    // Starting again works.
    x.mail(16, "jane@example.org", "Data", "", DELETE).await;
    assert_eq!(x.letter().await.template, "confirm");
    // And the reminder's code is as good as the first.
    let mut x = Exchange::new().await;
    x.mail(0, "jane@example.org", "Data", "", DELETE).await;
    sweep(&x.house, 7).await;
    let code = x.letter().await.code();
    x.mail(8, "jane@example.org", &format!("Re: {code}"), "", "Yes").await;
    assert_eq!(x.status().await, "approved");
}

#[tokio::test]
async fn asked_again_it_is_one_request_and_the_question_goes_out_again_but_not_for_ever() {
    let mut x = Exchange::new().await;
    for day in 0..8 {
        x.mail(day, "jane@example.org", "Data", "", DELETE).await;
    }
    assert_eq!(x.status().await, "awaiting_proof");
    let letters = x.house.letters().await;
    assert_eq!(letters.len(), 5);
    assert!(letters.iter().all(|(_, template, _)| template == "confirm"));
    // Any of the codes will do.
    let (to, template, raw) = letters.into_iter().nth(1).unwrap();
    let code = Letter { to, template, raw }.code();
    x.mail(9, "jane@example.org", &format!("Re: {code}"), "", "Yes").await;
    assert_eq!(x.status().await, "approved");
}

#[tokio::test]
async fn a_question_that_goes_out_again_names_the_day_on_which_it_really_ends() {
    let mut x = Exchange::new().await;
    for (day, end, named) in [
        (0, 14, "7 December 2026"),
        (10, 24, "17 December 2026"),
        // Twice the time of the first question, and no more.
        (20, 28, "21 December 2026"),
        (27, 28, "21 December 2026"),
    ] {
        x.mail(day, "jane@example.org", "Data", "", DELETE).await;
        let ends = x.house.scalar("SELECT proof_until FROM requests").await;
        assert_eq!(ends, after(end).as_second(), "{day}");
        let letter = x.letter().await;
        assert!(letter.raw.contains(named), "{day}: {}", letter.raw);
    }
    // Nothing that is over is asked about once more.
    x.mail(29, "jane@example.org", "Data", "", DELETE).await;
    assert_eq!(x.requests().await.len(), 2);
    assert!(x.letter().await.raw.contains("5 January 2027"));
}

#[tokio::test]
async fn a_thread_belongs_to_whom_our_mail_went_to() {
    let mut x = Exchange::new().await;
    x.mail(0, "jane@example.org", "Data", "", DELETE).await;
    let question = x.letter().await;
    let (_, fields, _) = question.reply_fields();
    let references = fields.lines().nth(1).unwrap().to_owned() + "\n";
    // A stranger in the thread, Jane with forged references or a subject tag: nothing happens to it.
    let reference = x.house.store.requests(None, 1).await.unwrap().remove(0).reference;
    x.mail(1, "mallory@example.net", "Re: Data", &fields, "No, I did not ask for this.").await;
    x.mail(1, "jane@example.org", "Re: Data", &references, "No, I did not ask for this.").await;
    x.mail(1, "jane@example.org", &format!("Re: [{reference}]"), "", "Please cancel my request.").await;
    let deletion = x.requests().await.into_iter().find(|row| row.0 == "deletion").unwrap();
    assert_eq!(deletion.1, "awaiting_proof");
    // Jane, in the thread, without the code: the question comes again.
    let before = x.count().await;
    x.mail(2, "jane@example.org", "Re: Data", &fields, "I have lost the code, please send it again.").await;
    assert_eq!(x.count().await, before + 1);
    assert_eq!(x.letter().await.template, "confirm");
    assert_ne!(x.letter().await.code(), question.code());
    // And by the thread alone she can take it back.
    x.mail(3, "jane@example.org", "Re: Data", &fields, "No, I never asked for this.").await;
    let deletion = x.requests().await.into_iter().find(|row| row.0 == "deletion").unwrap();
    assert_eq!((deletion.1.as_str(), deletion.3.as_str()), ("withdrawn", "suspected_fraud"));
}

#[tokio::test]
async fn whatever_may_speak_against_what_cannot_be_undone_makes_it_wait() {
    let approved = async || {
        let mut x = Exchange::new().await;
        x.mail(0, "jane@example.org", "Data", "", DELETE).await;
        let (subject, fields, quoted) = x.letter().await.reply_fields();
        x.mail(1, "jane@example.org", &subject, &fields, &format!("Yes{quoted}")).await;
        assert_eq!(x.status().await, "approved");
        let reference = x.house.store.requests(None, 1).await.unwrap().remove(0).reference;
        let references = x.letter().await.reply_fields().1.lines().nth(1).unwrap().to_owned() + "\n";
        (x, reference, references)
    };
    let deletion =
        async |x: &Exchange| x.requests().await.into_iter().find(|row| row.0 == "deletion").unwrap().1;
    let (jane, other) = ("jane@example.org", "jane.doe@example.net");
    for (from, refers, names, subject, words) in [
        (jane, true, false, "Re: Data", "cancel"),
        (jane, false, true, "Re: Your request", "cancel"),
        (other, true, false, "Re: Data", "cancel"),
        (other, false, true, "Re: Your request", "Please stop this."),
        (jane, false, false, "Stop", "Please cancel my request. Do not delete my data."),
        (
            jane,
            false,
            false,
            "Deletion",
            "I have changed my mind about yesterday. I withdraw my deletion request.",
        ),
        (jane, false, false, "Urgent", "Please stop the deletion of my data, I still need the invoices."),
        (jane, false, false, "Wait", "I need my invoices first."),
        (jane, false, false, "Newsletter", "Please unsubscribe me."),
        (jane, false, false, "Hello", "Just unsubscribe me from the newsletter instead."),
        (jane, false, false, "My account", "Please close my account."),
        (jane, false, false, "Copy", COPY),
        (jane, false, false, "Hello", "Please close my account but keep my invoices."),
        (jane, false, false, "Hello", "Please do not delete my personal data. And unsubscribe me."),
        (
            jane,
            false,
            false,
            "My data",
            "Please restrict the processing of my personal data under Article 18 GDPR.",
        ),
        // Whoever it may be from: two of them.
        ("jane@example.org>\nFrom: <other@example.net", false, true, "Your request", "Please cancel this."),
    ] {
        let (mut x, reference, references) = approved().await;
        let subject = if names { format!("{subject} [{reference}]") } else { subject.to_owned() };
        x.mail(1, from, &subject, if refers { &references } else { "" }, words).await;
        assert_eq!(deletion(&x).await, "held", "{words} {from} {refers} {names}");
    }
    for (from, subject, words) in [
        (jane, "Again", DELETE),
        (other, "Data", "Please cancel my request."),
        (other, "Hello", "Lovely weather."),
    ] {
        let (mut x, ..) = approved().await;
        x.mail(1, from, subject, "", words).await;
        assert_eq!(deletion(&x).await, "approved", "{words} {from}");
    }
}

#[tokio::test]
async fn a_reminder_of_the_senders_is_never_a_second_execution() {
    let reminder = "I asked you weeks ago to delete all my personal data and have heard nothing.";
    // Before it is late, what sounds like a reminder may take it back: "my request of last week was a mistake".
    for (words, is_late, expected) in [
        (reminder, true, "approved"),
        (reminder, false, "held"),
        ("My request of last week was a mistake.", false, "held"),
        ("Any update? If not done yet, leave it.", false, "held"),
        (
            "Ho richiesto la cancellazione dei miei dati la settimana scorsa, preferisco restare cliente.",
            false,
            "held",
        ),
    ] {
        let mut x = Exchange::new().await;
        x.mail(0, "jane@example.org", "Data", "", DELETE).await;
        let (subject, fields, quoted) = x.letter().await.reply_fields();
        x.mail(1, "jane@example.org", &subject, &fields, &format!("Yes{quoted}")).await;
        let (subject, fields, _) = x.letter().await.reply_fields();
        let row = x.house.store.requests(None, 1).await.unwrap().remove(0);
        let due: jiff::civil::Date = row.due_on.parse().unwrap();
        let last = due.duration_since(start().to_zoned_datetime(TimeZone::UTC).date()).as_hours() / 24;
        let bytes = mail(x.next, "jane@example.org", &subject, &fields, words);
        x.house.deliver(after(last + i64::from(is_late)), x.next, bytes).await;
        assert_eq!(x.status().await, expected, "{words}");
        let row = x.house.store.requests(None, 1).await.unwrap().remove(0);
        let (_, events) = x.house.store.request(&row.reference).await.unwrap().unwrap();
        assert_eq!(events.last().unwrap().event, if is_late { "note" } else { "held" }, "{words}");
    }
}

#[tokio::test]
async fn a_new_wish_in_an_old_thread_is_heard() {
    let mut x = Exchange::new().await;
    x.mail(0, "jane@example.org", "Data", "", DELETE).await;
    let (subject, fields, quoted) = x.letter().await.reply_fields();
    x.mail(1, "jane@example.org", &subject, &fields, &format!("Yes{quoted}")).await;
    // With the old code in the subject, with the thread, with both.
    for (fields, words, folder, kind, status) in [
        ("", "Please unsubscribe me.", "Opt-out", "opt_out", "completed"),
        (
            fields.as_str(),
            "Please stop using my data for targeted advertising.",
            "Ad-opt-out",
            "ad_opt_out",
            "completed",
        ),
        ("", "Please close my account.", "Cancel-account", "cancel_account", "awaiting_proof"),
        ("", "Maybe you could delete my data some day?", "Held", "unclear", "held"),
    ] {
        let filed = x.mail(2, "jane@example.org", &subject, fields, &format!("{words}{quoted}")).await;
        assert_eq!(filed, folder, "{words}");
        let found = x.requests().await.into_iter().find(|row| row.0 == kind);
        assert_eq!(found.map(|row| row.1).as_deref(), Some(status), "{words}");
    }
    assert_eq!(x.mail(3, "jane@example.org", &subject, "", "Lovely weather.").await, "Held");
    // A denial with a wish in it that is not certain: a person sees it.
    let mut x = Exchange::new().await;
    x.mail(0, "jane@example.org", "Data", "", DELETE).await;
    let (subject, fields, _) = x.letter().await.reply_fields();
    let folder =
        x.mail(1, "jane@example.org", &subject, &fields, "No, I never asked for this newsletter.").await;
    assert_eq!(folder, "Held");
}

#[tokio::test]
async fn a_forged_request_does_not_take_in_the_owners_own() {
    let mut x = Exchange::new().await;
    let correct =
        |street: &str| format!("Please correct the wrong address in my account. My new address is {street}.");
    x.mail(0, "jane@example.org", "Data", "", &correct("66 Evil Street")).await;
    let forged = x.letter().await;
    x.mail(1, "jane@example.org", "Data", "", &correct("5 Mill Lane")).await;
    let own = x.letter().await;
    assert_ne!(own.field("Subject"), forged.field("Subject"));
    x.mail(2, "jane@example.org", &format!("Re: {}", own.code()), "", "Yes").await;
    let states: Vec<String> = x.requests().await.into_iter().map(|row| row.1).collect();
    assert_eq!(states, ["approved", "awaiting_proof"]);
    let approved = x.house.store.requests(Some("approved"), 10).await.unwrap().remove(0);
    assert!(own.field("Subject").contains(&approved.reference));
}

#[tokio::test]
async fn the_word_of_one_person_does_not_open_anothers_data() {
    for words in [
        "Please delete all my personal data. My account is registered under ann@example.net.",
        "Please correct my e-mail address from ann@example.net to jane@example.org, it is wrong.",
    ] {
        let mut x = Exchange::new().await;
        x.mail(0, "jane@example.org", "Data", "", words).await;
        assert_eq!(x.status().await, "held", "{words}");
        assert!(x.house.letters().await.iter().all(|(_, template, _)| template != "confirm"));
    }
}

#[tokio::test]
async fn who_answered_in_time_is_heard_and_who_did_not_is_not() {
    let mut x = Exchange::new().await;
    // These mails were received on day 0, whatever day they are read.
    x.mail(0, "jane@example.org", "Data", "", DELETE).await;
    let code = x.letter().await.code();
    x.mail(20, "jane@example.org", &format!("Re: {code}"), "", "Yes").await;
    assert_eq!(x.status().await, "approved");
    let mut x = Exchange::new().await;
    x.mail(-20, "jane@example.org", "Data", "", DELETE).await;
    let code = x.letter().await.code();
    x.mail(0, "jane@example.org", &format!("Re: {code}"), "", "Yes").await;
    assert_eq!(x.status().await, "awaiting_proof");
}

#[tokio::test]
async fn several_rights_of_one_mail_are_proven_by_one_code() {
    let mut x = Exchange::new().await;
    let words = format!("{COPY} Then {DELETE} And take me off your mailing list.");
    x.mail(0, "jane@example.org", "Data", "", &words).await;
    let question = x.letter().await;
    assert_eq!((x.count().await, question.template.as_str()), (1, "confirm"));
    let (subject, fields, quoted) = question.reply_fields();
    x.mail(1, "jane@example.org", &subject, &fields, &format!("Yes{quoted}")).await;
    let rows = x.requests().await;
    let states: Vec<(&str, &str, u8)> =
        rows.iter().map(|row| (row.0.as_str(), row.1.as_str(), row.2)).collect();
    assert_eq!(states, [("access", "approved", 2), ("deletion", "approved", 2), ("opt_out", "completed", 0)]);
}

#[tokio::test]
async fn a_copy_of_the_data_needs_data_points_as_well() {
    let keys = "[proof]\ndata_points = [\"postcode\", \"phone\", \"customer_number\", \"area\"]\n";
    let guesses: String = (1..=23).map(|number| format!(" 4700{number:02}")).collect();
    let guesses = format!("Yes. My postcode is 10115 X and my number is{guesses}");
    let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(
        r#"{"postcode": "10115 X", "phone": "+49 30 1234567", "customer_number": 470011, "area": "10115", "name": "Jane"}"#,
    )
    .unwrap();
    for (words, proof) in [
        ("Yes. 10115x, tel. 0049", 2),
        ("Yes. Postcode 10115 X, phone +49 (30) 12345-67", 3),
        ("Yes. My number is 470 011 and my postcode 10115X", 3),
        ("Yes. My name is Jane", 2),
        ("YES\n\nphone: +49 (30) 12345-67\npostcode: 10115 X", 3),
        ("Yes, my phone is +49 30 1234567 and my number is 470011", 3),
        // A part of a number is none, one text counts once, and whoever names them all has named none.
        ("Yes. My number is 94700112 and my postcode 10115X", 2),
        ("Yes. My postcode is 10115 X", 2),
        (&guesses, 2),
    ] {
        let mut x = Exchange::with(keys).await;
        let jane = "jane@example.org".parse().unwrap();
        x.house.store.upsert_contacts(&[(jane, fields.clone())], start()).await.unwrap();
        x.mail(0, "jane@example.org", "Data", "", COPY).await;
        let question = x.letter().await;
        assert!(question.raw.contains("postcode, phone, customer_number"), "{}", question.raw);
        for secret in ["10115", "1234567", "470011"] {
            assert!(!question.raw.contains(secret), "we told what we hold");
        }
        x.mail(1, "jane@example.org", &format!("Re: {}", question.code()), "", words).await;
        assert_eq!(
            x.requests().await,
            [("access".into(), "approved".into(), proof, String::new())],
            "{words}"
        );
    }
}

#[tokio::test]
async fn a_list_of_data_proves_all_that_was_asked_where_nothing_else_is_said_in_it() {
    // A copy may be sent on a number with words beside it; not on words alone.
    for (words, copy, deletion) in [
        ("Yes, but keep order 4711", "approved", "awaiting_proof"),
        ("Yes. But please do not delete my order 4711", "approved", "awaiting_proof"),
        (
            "Yes. But please keep the 3 invoices of 2023 until my tax return is done",
            "approved",
            "awaiting_proof",
        ),
        ("Yes. Keep my invoices", "awaiting_proof", "awaiting_proof"),
        ("Keep order 4711. Yes\nphone: +49 30 1234567", "approved", "awaiting_proof"),
        ("Yes, phone 4711 must stay open", "approved", "awaiting_proof"),
        ("Yes. 10115", "approved", "approved"),
        ("YES\n\npostcode: 10115\nphone: +49 30 1234567", "approved", "approved"),
        ("Yes, my phone is +49 30 1234567\n10115", "approved", "approved"),
        (
            "YES\n\npostcode: 10115\nphone: +49 30 1234567\n\nKind regards\nZebedee Quux",
            "approved",
            "approved",
        ),
        ("YES\n\npostcode: 10115\nphone: +49 30 1234567\n\nJane", "approved", "approved"),
        ("YES\n\npostcode: 10115\nphone: +49 30 1234567\n\nWait", "awaiting_proof", "awaiting_proof"),
        (
            "YES\n\npostcode: 10115\n\nKind regards\nJane\n\nHold my orders back",
            "awaiting_proof",
            "awaiting_proof",
        ),
        ("YES\n\n10115\n\nDon't. Kind regards\nJane", "awaiting_proof", "awaiting_proof"),
        ("Yes: keep order 4711", "approved", "awaiting_proof"),
        ("Keep order 4711\n\nJa", "approved", "awaiting_proof"),
        ("Yes\npostcode: 10115 wait", "approved", "awaiting_proof"),
        ("Yes\npostcode: not 10115", "approved", "awaiting_proof"),
        ("Yes\npostcode: 10115wait", "approved", "awaiting_proof"),
        ("YES\npostcode: 10115 ❌", "approved", "awaiting_proof"),
        ("はい\npostcode: 10115ただし来月まで待ってください", "approved", "awaiting_proof"),
        ("Oui\n10115\nC'est moi mais attendez", "awaiting_proof", "awaiting_proof"),
        ("YES\n\n10115\n\n❌", "awaiting_proof", "awaiting_proof"),
        ("Yes. But wait", "awaiting_proof", "awaiting_proof"),
        ("Oui, c'est moi mais attendez", "awaiting_proof", "awaiting_proof"),
        ("Yes\nNot everything", "awaiting_proof", "awaiting_proof"),
        ("Yes\nRegards\nbut keep photos", "awaiting_proof", "awaiting_proof"),
        ("\"YES\" - that was me.\n\nThank you for your help\nJane", "approved", "approved"),
        (
            "YES\n\npostcode: 10115\nOnly after Christmas. Kind regards\nJane",
            "awaiting_proof",
            "awaiting_proof",
        ),
        ("YES\n\npostcode: 10115\n\nKind regards\nbut wait until Friday", "awaiting_proof", "awaiting_proof"),
        ("YES\n\npostcode: 10115\n\nregards but keep photos", "awaiting_proof", "awaiting_proof"),
        ("Ja\n\n10115\n\nMit freundlichen Grüßen\naber erst im Januar", "awaiting_proof", "awaiting_proof"),
        ("Oui\n\n10115\n\nPas avant mardi. Cordialement\nJane", "awaiting_proof", "awaiting_proof"),
        ("はい\n\n10115\n\n敬具\nただし来月まで待ってください", "awaiting_proof", "awaiting_proof"),
    ] {
        let mut x = Exchange::with("[proof]\ndata_points = [\"postcode\", \"phone\"]\n").await;
        let fields = serde_json::from_str(r#"{"postcode": "10115", "phone": "+49 30 1234567"}"#).unwrap();
        x.house
            .store
            .upsert_contacts(&[("jane@example.org".parse().unwrap(), fields)], start())
            .await
            .unwrap();
        x.mail(0, "jane@example.org", "Data", "", &format!("{COPY} {DELETE}")).await;
        let (subject, fields, quoted) = x.letter().await.reply_fields();
        x.mail(1, "jane@example.org", &subject, &fields, &format!("{words}{quoted}")).await;
        let states: Vec<(String, String)> =
            x.requests().await.into_iter().map(|row| (row.0, row.1)).collect();
        let [(_, access), (_, erased)] = states.as_slice() else { panic!("{words}: {states:?}") };
        assert_eq!((access.as_str(), erased.as_str()), (copy, deletion), "{words}");
        // Nobody is told to have confirmed what they have not.
        let (letter, rows) = (x.letter().await, x.house.store.requests(None, 9).await.unwrap());
        let reference = &rows.iter().find(|row| row.kind == "deletion").unwrap().reference;
        assert_eq!(letter.template == "confirmed", access == "approved", "{words}: {}", letter.template);
        let is_told = letter.template == "confirmed" && letter.raw.contains(reference.as_str());
        assert_eq!(is_told, deletion == "approved", "{}", letter.raw);
    }
}

#[tokio::test]
async fn known_and_unknown_people_get_the_same_words() {
    let mut shown = Vec::new();
    for is_known in [true, false] {
        let mut x = Exchange::new().await;
        if is_known {
            let jane = "jane@example.org".parse().unwrap();
            x.house.store.upsert_contacts(&[(jane, serde_json::Map::new())], start()).await.unwrap();
        }
        for words in [DELETE, COPY, "Please correct my address to Mill Lane 5."] {
            x.mail(0, "jane@example.org", "Data", "", words).await;
        }
        let letters = x.house.letters().await;
        // All that differs is random: references, codes, Message-IDs.
        let plain = |raw: &str| {
            let words = raw.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && !"-.".contains(c));
            let is_random = |word: &&str| word.starts_with("PR-") || word.starts_with("c.");
            words.filter(|word| !is_random(word)).collect::<String>()
        };
        shown.push(
            letters
                .iter()
                .map(|(to, template, raw)| (to.clone(), template.clone(), plain(raw)))
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(shown[0].len(), 3);
    assert_eq!(shown[0], shown[1]);
}

#[tokio::test]
async fn nothing_is_asked_for_an_opt_out_and_step_one_needs_an_authenticated_sender() {
    let believing = "[authentication]\nauthserv_ids = [\"mx.example.com\"]\n";
    let results = "Authentication-Results: mx.example.com; dmarc=pass header.from=example.org\n";
    let disclosure = "Please tell me which third parties you disclosed my personal information to for their direct marketing purposes last year.";
    for (top, words, kind, status) in [
        ("", "Please unsubscribe me.", "opt_out", "completed"),
        (results, "Please unsubscribe me.", "opt_out", "completed"),
        ("", "I object to the use of my data for direct marketing.", "opt_out", "completed"),
        ("", disclosure, "disclosure", "held"),
        (results, disclosure, "disclosure", "approved"),
        (results, DELETE, "deletion", "awaiting_proof"),
    ] {
        let x = Exchange::with(believing).await;
        let mut bytes = top.as_bytes().to_vec();
        bytes.extend(mail(1, "jane@example.org", "Hello", "", words));
        x.house.receive_at(start(), 1, vec![(1, bytes)]).await;
        let rows = x.requests().await;
        let found: Vec<(&str, &str)> = rows.iter().map(|row| (row.0.as_str(), row.1.as_str())).collect();
        assert_eq!(found, [(kind, status)], "{top}{words}");
        assert_eq!(x.count().await, 1);
    }
}

#[tokio::test]
async fn replies_to_whom_nothing_authenticates_are_bounded_and_what_is_swallowed_shows() {
    let keys = "[limits]\nunproven_replies_per_domain = 3\nunproven_replies_in_all = 5\n";
    let mut x = Exchange::with(keys).await;
    for number in 0..5 {
        x.mail(0, &format!("victim{number}@example.org"), "Data", "", DELETE).await;
    }
    assert_eq!(x.count().await, 3);
    for number in 0..5 {
        x.mail(0, &format!("victim{number}@example.net"), "Data", "", DELETE).await;
    }
    assert_eq!(x.count().await, 5);
    let swallowed = x.house.store.unanswered(100).await.unwrap();
    assert_eq!(swallowed.len(), 5);
    // Whoever could not be asked waits for a person.
    assert_eq!(x.house.store.requests(Some("held"), 100).await.unwrap().len(), 5);
    assert_eq!(x.house.store.requests(Some("awaiting_proof"), 100).await.unwrap().len(), 5);
    // A day later there is room again; an opt-out is done in any case.
    x.mail(2, "victim9@example.org", "Data", "", "Please unsubscribe me.").await;
    assert_eq!(x.count().await, 6);
}

#[tokio::test]
async fn a_reminder_that_a_bound_swallows_shows() {
    let mut x = Exchange::with("[limits]\nreplies_per_day = 1\n").await;
    x.mail(0, "jane@example.org", "Data", "", DELETE).await;
    x.mail(7, "jane@example.org", "News", "", "Please unsubscribe me.").await;
    assert_eq!(x.count().await, 2);
    assert_eq!(x.house.intake.sweep(after(7)).await.unwrap(), 0);
    let swallowed = x.house.store.unanswered(100).await.unwrap();
    let bound = "this address has had its replies of the day";
    assert_eq!(swallowed.len(), 1);
    assert_eq!((swallowed[0].kind.as_str(), swallowed[0].unanswered.as_deref()), ("deletion", Some(bound)));
    let row = x.house.store.requests(Some("awaiting_proof"), 1).await.unwrap().remove(0);
    let (_, events) = x.house.store.request(&row.reference).await.unwrap().unwrap();
    assert_eq!(events.last().unwrap().reason, format!("half of the time has gone by; no letter: {bound}"));
    // It goes out when there is room again, and the end is told.
    for (day, template) in [(8, "reminder"), (14, "expired")] {
        assert_eq!(x.house.intake.sweep(after(day)).await.unwrap(), 1);
        assert_eq!(x.letter().await.template, template);
    }
}

#[tokio::test]
async fn who_could_not_be_reminded_in_time_is_reminded_before_the_end() {
    let mut x = Exchange::new().await;
    x.mail(0, "jane@example.org", "Data", "", DELETE).await;
    // Nobody was there for a while.
    assert_eq!(x.house.intake.sweep(after(40)).await.unwrap(), 1);
    let reminder = x.letter().await;
    assert_eq!((x.status().await.as_str(), reminder.template.as_str()), ("awaiting_proof", "reminder"));
    assert!(reminder.raw.contains("9 January 2027"), "{}", reminder.raw);
    for (day, letters, status) in [(46, 0, "awaiting_proof"), (47, 1, "expired"), (48, 0, "expired")] {
        assert_eq!(x.house.intake.sweep(after(day)).await.unwrap(), letters);
        assert_eq!(x.status().await, status);
    }
    assert_eq!(x.letter().await.template, "expired");
}

#[tokio::test]
async fn a_reminder_that_is_always_swallowed_does_not_keep_a_request_for_ever() {
    let mut x = Exchange::with("[limits]\nreplies_per_day = 1\n").await;
    x.mail(0, "jane@example.org", "Data", "", DELETE).await;
    for day in 7..=28 {
        let words = format!("Please unsubscribe me. {}", "Indeed. ".repeat(usize::try_from(day).unwrap()));
        x.mail(day, "jane@example.org", "News", "", &words).await;
        assert_eq!(x.letter().await.template, "opt_out");
        assert_eq!(x.house.intake.sweep(after(day)).await.unwrap(), 0);
        let deletion = x.requests().await.into_iter().find(|row| row.0 == "deletion").unwrap();
        assert_eq!(deletion.1, if day < 28 { "awaiting_proof" } else { "expired" }, "{day}");
    }
}

#[tokio::test]
async fn a_reminder_to_whom_the_mail_has_proven_is_under_no_bound_of_strangers() {
    let keys =
        "[authentication]\nauthserv_ids = [\"mx.example.com\"]\n[limits]\nunproven_replies_in_all = 1\n";
    let mut x = Exchange::with(keys).await;
    let results = "Authentication-Results: mx.example.com; dmarc=pass header.from=example.org\n";
    x.mail(0, "jane@example.org", "Data", results, DELETE).await;
    x.mail(7, "stranger@example.net", "News", "", "Please unsubscribe me.").await;
    assert_eq!(x.count().await, 2);
    assert_eq!(x.house.intake.sweep(after(7)).await.unwrap(), 1);
    let reminder = x.letter().await;
    assert_eq!((reminder.to.as_str(), reminder.template.as_str()), ("jane@example.org", "reminder"));
}

#[tokio::test]
async fn every_letter_is_marked_as_automatic_and_bears_nothing_of_the_senders() {
    let mut templates = Vec::new();
    let confirm = "Please delete all my personal data. Brontosaurus.";
    for words in ["Yes", "No, I did not ask for this.", "Brontosaurus, please.", "silence"] {
        let mut x = Exchange::new().await;
        x.mail(0, "jane@example.org", "Xylophone", "", confirm).await;
        let (subject, fields, _) = x.letter().await.reply_fields();
        match words {
            "silence" => {
                x.house.intake.sweep(after(7)).await.unwrap();
                x.house.intake.sweep(after(14)).await.unwrap();
            }
            _ => drop(x.mail(1, "jane@example.org", &format!("Xylophone {subject}"), &fields, words).await),
        }
        for words in [
            "Please unsubscribe me. Brontosaurus.",
            "Please unsubscribe me and do not sell my personal data. Brontosaurus.",
            "Maybe you could delete my data some day? Brontosaurus.",
        ] {
            x.mail(2, "jane@example.org", "Xylophone", "References: <brontosaurus@example.org>\n", words)
                .await;
        }
        for (to, template, raw) in x.house.letters().await {
            let letter = Letter { to, template, raw };
            assert_eq!(letter.to, "jane@example.org");
            assert_eq!(letter.field("Auto-Submitted"), "auto-replied");
            assert_eq!(letter.field("X-Loop"), "privacy@example.com");
            assert_eq!(letter.field("X-Auto-Response-Suppress"), "All");
            let raw = letter.raw.to_lowercase();
            for word in ["zebedee", "quux", "xylophone", "brontosaurus"] {
                assert!(!raw.contains(word), "{word} in {raw}");
            }
            templates.push(letter.template);
        }
    }
    templates.sort_unstable();
    templates.dedup();
    let expected =
        ["confirm", "confirmed", "expired", "opt_out", "reminder", "several", "unclear", "withdrawn"];
    assert_eq!(templates, expected);
}

#[tokio::test]
async fn a_thread_of_automatic_answers_ends() {
    let mut x = Exchange::with("[limits]\nreplies_per_thread = 3\n").await;
    let mut references = Vec::new();
    let mut fields = String::new();
    for round in 0..6 {
        // A machine without any mark that asks for something new each time.
        let words = format!("Please unsubscribe me. This is round {round}.");
        x.mail(round, "robot@example.org", "Hello", &fields, &words).await;
        references.push(x.letter().await.field("Message-ID"));
        references.dedup();
        fields =
            format!("In-Reply-To: {}\nReferences: {}\n", references.last().unwrap(), references.join(" "));
    }
    assert_eq!(x.count().await, 3);
    assert_eq!(x.house.store.unanswered(100).await.unwrap().len(), 3);
}

#[tokio::test]
async fn what_is_not_addressed_to_us_is_not_answered() {
    let x = Exchange::new().await;
    let bytes =
        String::from_utf8(mail(1, "jane@example.org", "Hello", "", "Please unsubscribe me.")).unwrap();
    let bytes = bytes.replace("To: privacy@example.com", "To: everybody@example.net");
    x.house.receive_at(start(), 1, vec![(1, bytes.clone().into_bytes())]).await;
    assert_eq!((x.status().await.as_str(), x.count().await), ("completed", 0));
    let forwarded = format!("Delivered-To: privacy@example.com\n{}", bytes.replace("jane@", "ann@"));
    x.house.receive_at(start(), 1, vec![(2, forwarded.into_bytes())]).await;
    assert_eq!(x.count().await, 1);
}

#[test]
fn our_own_letters_say_neither_yes_nor_no() {
    use privacyd::answer::{Answers, Said};
    use privacyd::request::Table;
    let table = Table::load(None).unwrap();
    let languages: Vec<_> = table.languages.iter().map(|(_, file)| file).collect();
    let answers = Answers::new(&languages);
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
    for template in ["confirm", "reminder"] {
        for entry in std::fs::read_dir(folder.join(template)).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(path.join("body.txt")).unwrap();
            // A program that sends our own text back as its own words must not confirm with it.
            let said = answers.read(&text, "jane Jane Doe").0;
            assert!(!matches!(said, Said::Yes | Said::YesAndData), "{}: {said:?}", path.display());
        }
    }
}
