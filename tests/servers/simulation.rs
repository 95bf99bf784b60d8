//! Thirty days in some seconds: two installations, the machines that real mailboxes meet, and a few people,
//! all writing to each other by a clock of the test's own. Two people are away, and a real Dovecot answers
//! their mail by the same clock.
//!
//! What is asserted is told from who wrote a mail, which the test knows, and not from the marks by which
//! the code under test would have to find that out.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};

use crate::corridor::{House, Queued};
use crate::vacation::{Sent, Vacation};
use crate::{Need, Scenario, run};

pub const SCENARIOS: &[Scenario] = &[
    ("thirty_days_with_machines_end_within_the_caps", &[Need::Vacation], || {
        run(thirty_days_with_machines_end_within_the_caps())
    }),
    ("thirty_days_with_machines_end_without_the_caps", &[Need::Vacation], || {
        run(thirty_days_with_machines_end_without_the_caps())
    }),
];

const DAYS: i64 = 30;
/// What ends has long ended by then; what does not would go on until the disk is full.
const MOST_MAILS: usize = 400;
const OWN: [&str; 2] = ["privacy@example.com", "privacy@example.org"];
/// Where bounces of the second installation's letters go: an alias of its own mailbox.
const BOUNCES: &str = "privacy-bounces@example.org";
/// Templates of letters that no mail causes.
const BY_TIME: [&str; 2] = ["reminder", "expired"];
const LIST: &str = "talk@lists.example.net";
/// Ticket systems whose mail is signed, and that wish each answer at another address of theirs. One keeps the
/// subject, and with it our reference.
const DESKS: [(&str, bool); 2] = [("keeps@signed.example.net", true), ("drops@signed.example.net", false)];
/// Those whose mail a Dovecot answers.
const AWAY: [&str; 2] = ["strict@example.net", "named@example.net"];
/// When somebody writes to them in our name: at once, within the 7 days in which nobody is answered twice,
/// and after those.
const IN_OUR_NAME: [i64; 3] = [20, 20 + 3 * 24, 20 + 8 * 24];

/// What programs write that would be acted on if people wrote it.
const REMOVE: &str = "Please remove me from your mailing list!";
const OPT_OUT: &str = "Please unsubscribe me from your newsletter.";
const DELETE: &str = "Please delete all my personal data.";
const COPY: &str = "Please send me a copy of all the personal data you hold about me.";
const QUESTION: &str = "I have a question about your privacy policy: what data do you collect?";

/// Who really wrote a mail, whatever it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    /// Somebody, in their own name or in another's.
    Person,
    /// A program that sets the marks of automatic mail, or a mailer's report.
    Marked,
    /// A program that sets none.
    Unmarked,
    /// A list, resending.
    List,
    /// One of the installations.
    Privacyd,
}

#[derive(Debug, Clone)]
struct Mail {
    writer: Writer,
    /// The envelope's sender; empty is the null sender.
    envelope: String,
    to: String,
    /// Message-ID of the letter of an installation that it was written upon.
    upon: Option<String>,
    /// The header without Return-Path, and the body.
    text: String,
}

impl Mail {
    fn field(&self, name: &str) -> String {
        let header = self.text.replace("\r\n", "\n").replace("\n ", " ");
        let header = header.split_once("\n\n").map_or("", |(header, _)| header);
        let line = header.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_default().to_owned()
    }

    /// The bare address in a field.
    fn address(&self, name: &str) -> String {
        let field = self.field(name);
        let field = field.rsplit_once('<').map_or(field.as_str(), |(_, rest)| rest);
        field.trim_end_matches('>').to_owned()
    }

    fn body(&self) -> String {
        let text = self.text.replace("\r\n", "\n");
        text.split_once("\n\n").map_or_else(String::new, |(_, body)| body.to_owned())
    }
}

/// How a mail is tied to the one it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ties {
    /// In-Reply-To and References, by RFC 5322 section 3.6.4.
    Full,
    /// In-Reply-To alone.
    InReplyTo,
    /// By the subject at the most.
    None,
}

impl Ties {
    fn fields(self, mail: &Mail) -> String {
        let id = mail.field("Message-ID");
        match self {
            Self::Full => format!("In-Reply-To: {id}\nReferences: {} {id}\n", mail.field("References")),
            Self::InReplyTo => format!("In-Reply-To: {id}\n"),
            Self::None => String::new(),
        }
    }
}

/// How much of a mail its answer repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quote {
    /// All of it, as mail programs do.
    Marked,
    /// All of it, as if the answer's writer had written it.
    Bare,
    Nothing,
}

impl Quote {
    fn text(self, mail: &Mail) -> String {
        match self {
            Self::Marked => format!(
                "\nOn Mon, 23 Nov 2026 at 11:00, Example <{}> wrote:\n> {}\n",
                mail.address("From"),
                mail.body().trim_end().replace('\n', "\n> ")
            ),
            Self::Bare => format!("\n{}\n", mail.body()),
            Self::Nothing => String::new(),
        }
    }
}

/// What reads the mail of an address, besides its owner.
enum Reader {
    /// Dovecot's vacation responder, which heeds RFC 5230 wholly.
    Vacation(Vacation),
    /// One that marks its answers, one to each sender in 7 days, and heeds no marks of others.
    Heedless { since: HashMap<String, Timestamp> },
    /// Answers every mail, without any mark.
    Babbler { words: &'static str, subject: &'static str, ties: Ties, quote: Quote },
    /// Answers every mail from the null sender (RFC 3834 section 3.3), and without any other mark.
    Nameless,
    /// Acknowledges every mail under a new number, without any mark or tie.
    Tickets { next: u32, words: &'static str, keeps_subject: bool, has_reply_to: bool },
    /// There is nobody. The report is by RFC 3464, from the null sender to the envelope's sender; an old
    /// mailer's goes to whom From names, from the null sender or from its own address.
    Gone { standard: bool },
    /// Resends to everybody on it.
    Expander { members: Vec<String> },
    /// A person who answers the question whether a request is theirs, or does not.
    Answers(&'static str),
}

/// What a Dovecot did with a mail.
struct Heard {
    /// Whose mail it reads.
    away: String,
    /// Whom the mail says it is from.
    from: String,
    writer: Writer,
    hour: i64,
    is_answered: bool,
}

struct World {
    houses: [House; 2],
    /// Letters of each that have been taken from its queue, with the mails they were written upon.
    letters: [Vec<Queued>; 2],
    /// Every mail that each was given, by UID less one.
    given: [Vec<Mail>; 2],
    readers: BTreeMap<String, Vec<Reader>>,
    heard: Vec<Heard>,
    on_the_way: Vec<Mail>,
    now: Timestamp,
    serial: u32,
    seed: u64,
    /// Requests that were approved, of those that want a word for it, with who had written the mail upon which that
    /// happened.
    approvals: Vec<Writer>,
}

fn start() -> Timestamp {
    "2026-11-23T10:00:00Z".parse().unwrap()
}

impl World {
    async fn new(limits: &str) -> Self {
        let keys = format!("[authentication]\nauthserv_ids = [\"mx.example.com\"]\n[limits]\n{limits}");
        let mut world = Self {
            houses: [House::of(&OWN[..1], &keys).await, House::of(&[OWN[1], BOUNCES], &keys).await],
            letters: [Vec::new(), Vec::new()],
            given: [Vec::new(), Vec::new()],
            readers: BTreeMap::new(),
            heard: Vec::new(),
            on_the_way: Vec::new(),
            now: start(),
            serial: 0,
            seed: 20_261_123,
            approvals: Vec::new(),
        };
        world.settle();
        world
    }

    /// Who lives in this world.
    fn settle(&mut self) {
        let babbler = |words, subject, ties, quote| Reader::Babbler { words, subject, ties, quote };
        let away = "I am away until the spring and will read your mail then.";
        let remove = REMOVE;
        let bots = [("all", Ties::Full), ("some", Ties::InReplyTo), ("none", Ties::None)];
        for (name, ties) in bots {
            for (quoting, quote) in
                [("marked", Quote::Marked), ("bare", Quote::Bare), ("short", Quote::Nothing)]
            {
                self.add(&format!("away.{name}.{quoting}@m.example.net"), babbler(away, "Re: ", ties, quote));
                self.add(
                    &format!("bot.{name}.{quoting}@m.example.net"),
                    babbler(remove, "Re: ", ties, quote),
                );
            }
        }
        self.add("bot.own@m.example.net", babbler(remove, "Remove me", Ties::None, Quote::Nothing));
        // Two that hand back what they get as if it were their own.
        self.add("echo@m.example.net", babbler("", "Re: ", Ties::None, Quote::Bare));
        self.add(
            "echo.away@m.example.net",
            babbler("I am away. Here is your mail again:", "Re: ", Ties::Full, Quote::Bare),
        );
        // One answers from the null sender, as Dovecot does of itself, and one from its own address.
        for (away, settings) in AWAY.into_iter().zip(["", "sieve_vacation_send_from_recipient = yes"]) {
            self.add(away, Reader::Vacation(Vacation::new(away, REMOVE, settings)));
        }
        self.add("marks@example.net", Reader::Heedless { since: HashMap::new() });
        self.add("nameless@m.example.net", Reader::Nameless);
        self.add("gone@m.example.net", Reader::Gone { standard: true });
        self.add("old@m.example.net", Reader::Gone { standard: false });
        let opened = "Thank you for your mail. We have opened a ticket and will be in touch.";
        let advertises = "We have opened a ticket. Please stop sending us your newsletter.";
        let tickets =
            |words, keeps_subject| Reader::Tickets { next: 1001, words, keeps_subject, has_reply_to: false };
        self.add("help@m.example.net", tickets(opened, true));
        self.add("desk@m.example.net", tickets(advertises, true));
        self.add("number@m.example.net", tickets(advertises, false));
        for (desk, keeps_subject) in DESKS {
            let (next, words) = (1001, advertises);
            self.add(desk, Reader::Tickets { next, words, keeps_subject, has_reply_to: true });
        }
        let members = ["jane@example.net", AWAY[0], AWAY[1], "away.all.bare@m.example.net", OWN[0], OWN[1]];
        self.add(LIST, Reader::Expander { members: members.map(str::to_owned).to_vec() });
        for (name, word) in [("yes", "Yes, that was me."), ("no", "No, I never asked for this.")] {
            self.add(&format!("{name}@example.net"), Reader::Answers(word));
        }
        // Two who ask for a deletion, confirm nothing, and whose mail is read by a bad program.
        self.add("ruth@example.net", babbler(away, "Re: ", Ties::InReplyTo, Quote::Bare));
        self.add("paul@example.net", babbler(away, "Re: ", Ties::None, Quote::Marked));
    }

    fn add(&mut self, address: &str, reader: Reader) {
        self.readers.entry(address.to_owned()).or_default().push(reader);
    }

    /// What people write of their own accord, by the hour.
    fn script(&self) -> BTreeMap<i64, Vec<(String, String, String)>> {
        let mut script: BTreeMap<i64, Vec<(String, String, String)>> = BTreeMap::new();
        let mut write = |hour: i64, from: &str, to: &str, words: &str| {
            script.entry(hour).or_default().push((from.to_owned(), to.to_owned(), words.to_owned()));
        };
        let people = [
            (5, "jane@example.net", OPT_OUT),
            (30, "john@example.net", OPT_OUT),
            (50, "vera@example.net", "Bitte melden Sie mich von Ihrem Newsletter ab."),
            (60, "yes@example.net", DELETE),
            (70, "no@example.net", DELETE),
            (80, "silent@example.net", DELETE),
            (90, "copy@example.net", COPY),
            (100, "asks@example.net", QUESTION),
            (110, "ruth@example.net", DELETE),
            (115, "paul@example.net", DELETE),
            (200, AWAY[0], OPT_OUT),
            (205, AWAY[1], OPT_OUT),
            (210, "marks@example.net", OPT_OUT),
        ];
        for (hour, from, words) in people {
            OWN.iter().for_each(|own| write(hour, from, own, words));
        }
        // In the name of everything that answers, so that it does; and of each installation to the other
        // and to itself. No program can tell that these are forged, so they may get their answer.
        let people = ["strict", "named", "marks", "ruth", "paul", "yes", "no"]
            .map(|name| format!("{name}@example.net"));
        let machines = self.readers.keys().filter(|address| *address != LIST && !people.contains(address));
        for (index, address) in machines.map(String::as_str).chain(OWN).enumerate() {
            let hour = i64::try_from(index).unwrap();
            write(hour, address, OWN[index % 2], OPT_OUT);
            write(hour + 120, address, OWN[(index + 1) % 2], DELETE);
        }
        for (from, to) in [(OWN[0], OWN[1]), (OWN[1], OWN[0]), (OWN[0], OWN[0])] {
            write(240, from, to, OPT_OUT);
        }
        for away in AWAY {
            for (hour, own) in IN_OUR_NAME.into_iter().flat_map(|hour| OWN.map(|own| (hour, own))) {
                write(hour, own, away, QUESTION);
            }
        }
        for day in (0..DAYS).step_by(14) {
            write(24 * day + 3, "poster@example.net", LIST, "Please unsubscribe me from this mailing list.");
        }
        // Somebody would have us fill another's mailbox; each mail in other words.
        for number in 0..16 {
            let words = format!("{OPT_OUT} {}", "again ".repeat(number));
            write(400, "victim@example.org", OWN[0], &words);
        }
        write(9, OWN[0], LIST, "Please unsubscribe me.");
        script
    }

    fn next(&mut self) -> u32 {
        self.serial += 1;
        self.serial
    }

    fn post(&mut self, mail: Mail) {
        self.on_the_way.push(mail);
    }

    fn write(&mut self, from: &str, to: &str, words: &str) {
        let number = self.next();
        let text = format!(
            "From: Zebedee Quux <{from}>\nTo: {to}\nSubject: Xylophone {number}\nMessage-ID: <{number}.p@example.net>\n\n{words}\n"
        );
        let (envelope, to) = (from.to_owned(), to.to_owned());
        self.post(Mail { writer: Writer::Person, envelope, to, upon: None, text });
    }

    /// A number below `bound`, the same in every run.
    fn draw(&mut self, bound: usize) -> usize {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.seed >> 33).unwrap() % bound
    }

    /// Lives until the end, hour by hour while mail is on the way and by the day in between.
    async fn live(&mut self) {
        let mut script = self.script();
        let mut hour = 0;
        while hour <= 24 * DAYS && self.given.iter().all(|given| given.len() < MOST_MAILS) {
            self.now = start() + SignedDuration::from_hours(hour);
            for (from, to, words) in script.remove(&hour).unwrap_or_default() {
                self.write(&from, &to, &words);
            }
            self.round().await;
            let day = hour / 24 * 24 + 24;
            let written = script.keys().next().copied().unwrap_or(day);
            hour = if self.on_the_way.is_empty() { day.min(written) } else { hour + 1 };
        }
    }

    /// Delivers what is on the way, lets time do its work, and takes the letters out of the queues.
    async fn round(&mut self) {
        let mut mails = std::mem::take(&mut self.on_the_way);
        while !mails.is_empty() {
            let mail = mails.swap_remove(self.draw(mails.len()));
            match mail.to.as_str() {
                to if to == OWN[0] => self.give(0, mail).await,
                to if to == OWN[1] || to == BOUNCES => self.give(1, mail).await,
                _ => self.read(&mail),
            }
        }
        for house in 0..2 {
            self.houses[house].intake.sweep(self.now).await.unwrap();
            for letter in self.houses[house].queued(self.letters[house].len()).await {
                self.post(Mail {
                    writer: Writer::Privacyd,
                    envelope: [String::new(), BOUNCES.to_owned()][house].clone(),
                    to: letter.recipient.clone(),
                    upon: Some(letter.rfc_message_id.clone()),
                    text: letter.raw.clone(),
                });
                self.letters[house].push(letter);
            }
        }
    }

    async fn give(&mut self, house: usize, mail: Mail) {
        let is_signed = mail.writer == Writer::Unmarked && is_desk(&mail.envelope);
        let results = "Authentication-Results: mx.example.com; dmarc=pass header.from=signed.example.net\n";
        let results = if is_signed { results } else { "" };
        let bytes = format!("Return-Path: <{}>\n{results}{}", mail.envelope, mail.text).into_bytes();
        let uid = u32::try_from(self.given[house].len() + 1).unwrap();
        let before = if mail.writer == Writer::Person { 0 } else { self.houses[house].approved().await };
        let writer = mail.writer;
        self.given[house].push(mail);
        self.houses[house].deliver(self.now, uid, bytes).await;
        if writer != Writer::Person {
            self.approvals.extend(vec![writer; self.houses[house].approved().await - before]);
        }
    }

    /// Whatever is at the mail's address reads it.
    fn read(&mut self, mail: &Mail) {
        let home = home(&mail.to);
        let Some(mut readers) = self.readers.remove(&home) else { return };
        for reader in &mut readers {
            let number = self.next();
            let answers = answer(reader, mail, self.now, number);
            if matches!(reader, Reader::Vacation(_)) {
                self.heard.push(Heard {
                    away: mail.to.clone(),
                    from: mail.address("From"),
                    writer: mail.writer,
                    hour: self.now.duration_since(start()).as_hours(),
                    is_answered: !answers.is_empty(),
                });
            }
            answers.into_iter().for_each(|answer| self.post(answer));
        }
        self.readers.insert(home, readers);
    }
}

/// The address without its detail.
fn home(address: &str) -> String {
    let (local, domain) = address.rsplit_once('@').unwrap();
    format!("{}@{domain}", local.split('+').next().unwrap())
}

fn is_desk(address: &str) -> bool {
    DESKS.iter().any(|(desk, _)| *desk == address)
}

/// What `reader` writes upon `mail`.
fn answer(reader: &mut Reader, mail: &Mail, now: Timestamp, number: u32) -> Vec<Mail> {
    let own = &*home(&mail.to);
    let id = format!("<{number}.m@example.net>");
    let back = mail.address("From");
    let write = |writer, envelope: &str, to: &str, text: String| {
        let (envelope, to) = (envelope.to_owned(), to.to_owned());
        vec![Mail { writer, envelope, to, upon: mail.upon.clone(), text }]
    };
    // A program's From is its address; To is whom it answers.
    let header = |subject: &str, fields: &str| {
        format!("From: {own}\nTo: {back}\nSubject: {subject}\nMessage-ID: {id}\n{fields}")
    };
    let subject = mail.field("Subject");
    match reader {
        Reader::Vacation(vacation) => {
            let sent = vacation.deliver(now, &mail.envelope, &mail.text);
            let mail = |Sent { envelope, to, text }| Mail {
                writer: Writer::Marked,
                envelope,
                to,
                upon: mail.upon.clone(),
                text,
            };
            sent.map(mail).into_iter().collect()
        }
        Reader::Heedless { since } => {
            let recently = |at: &Timestamp| now < *at + SignedDuration::from_hours(7 * 24);
            if since.get(&back).is_some_and(recently) {
                return Vec::new();
            }
            since.insert(back.clone(), now);
            let fields = format!("Auto-Submitted: auto-replied (vacation)\n{}", Ties::Full.fields(mail));
            let words = format!("{REMOVE}\n{}", Quote::Marked.text(mail));
            write(
                Writer::Marked,
                own,
                &back,
                format!("{}\n{words}", header(&format!("Away: {subject}"), &fields)),
            )
        }
        Reader::Babbler { words, subject: tag, ties, quote } => {
            let subject = if tag.ends_with(' ') { format!("{tag}{subject}") } else { (*tag).to_owned() };
            let text = format!("{}\n{words}\n{}", header(&subject, &ties.fields(mail)), quote.text(mail));
            write(Writer::Unmarked, own, &back, text)
        }
        Reader::Nameless => {
            write(Writer::Marked, "", &back, format!("{}\n{REMOVE}\n", header("Not now", "")))
        }
        Reader::Tickets { next, words, keeps_subject, has_reply_to } => {
            let ticket = *next;
            *next += 1;
            let kept = if *keeps_subject { subject.as_str() } else { "Your mail to us" };
            let (local, domain) = own.split_once('@').unwrap();
            let fields = format!("Reply-To: {local}+{ticket}@{domain}\n");
            let fields = if *has_reply_to { &fields } else { "" };
            let text =
                format!("{}\n{words}\nTicket {ticket}\n", header(&format!("[HD-{ticket}] {kept}"), fields));
            write(Writer::Unmarked, own, &back, text)
        }
        // No report on a report (RFC 5321 section 6.1).
        Reader::Gone { standard: true } if mail.envelope.is_empty() => Vec::new(),
        Reader::Gone { standard: true } => {
            let fields = "MIME-Version: 1.0\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\n";
            let parts = [
                ("text/plain", format!("{own} does not exist. {REMOVE}")),
                (
                    "message/delivery-status",
                    format!(
                        "Reporting-MTA: dns; mx.example.net\n\nFinal-Recipient: rfc822; {own}\nAction: failed\nStatus: 5.1.1"
                    ),
                ),
                ("message/rfc822", mail.text.replace("\r\n", "\n")),
            ];
            let parts: String =
                parts.iter().map(|(kind, text)| format!("--b\nContent-Type: {kind}\n\n{text}\n")).collect();
            let text = format!(
                "From: Mail System <MAILER-DAEMON@mx.example.net>\nTo: {0}\nSubject: Undelivered\nMessage-ID: {id}\n{fields}\n{parts}--b--\n",
                mail.envelope
            );
            write(Writer::Marked, "", &mail.envelope, text)
        }
        Reader::Gone { standard: false } => {
            let text = format!(
                "From: MAILER-DAEMON@mx.example.net\nTo: {back}\nSubject: failure notice\nMessage-ID: {id}\n\n\
                 Sorry, no mailbox here by that name: <{own}>. {REMOVE}\n\n--- Below this line is a copy of the message.\n\n{}",
                mail.text.replace("\r\n", "\n")
            );
            write(Writer::Marked, "mailer-daemon@mx.example.net", &back, text)
        }
        Reader::Expander { members } => {
            let resent = |to: &String| Mail {
                writer: Writer::List,
                envelope: "talk-bounces@lists.example.net".into(),
                to: to.clone(),
                upon: mail.upon.clone(),
                // Made out to each member, as some lists do.
                text: format!("List-Id: <talk.lists.example.net>\n{}", mail.text).replacen(
                    &format!("To: {LIST}\n"),
                    &format!("To: {to}\n"),
                    1,
                ),
            };
            members.iter().map(resent).collect()
        }
        Reader::Answers(words) if subject.contains("c.") && mail.writer == Writer::Privacyd => {
            let fields = Ties::Full.fields(mail);
            let text = format!(
                "{}\n{words}\n{}",
                header(&format!("Re: {subject}"), &fields),
                Quote::Marked.text(mail)
            );
            write(Writer::Person, own, &back, text)
        }
        Reader::Answers(_) => Vec::new(),
    }
}

/// The bounds that the configuration sets.
struct Bounds {
    per_day: usize,
    per_thread: usize,
    per_domain: usize,
    in_all: usize,
}

/// What should not be, each with an example.
#[derive(Default)]
struct Faults(BTreeMap<String, (usize, String)>);

impl Faults {
    fn unless(&mut self, holds: bool, what: &str, example: impl FnOnce() -> String) {
        if !holds {
            self.0.entry(what.to_owned()).or_insert_with(|| (0, example())).0 += 1;
        }
    }
}

impl World {
    /// Everything that must hold at the end, whatever the caps are.
    async fn check(&self, bounds: &Bounds) {
        let mut faults = Faults::default();
        let left = self.on_the_way.len();
        faults.unless(left == 0, "mail is on the way after thirty days", || format!("{left} mails"));
        for writer in &self.approvals {
            faults.unless(false, "a program's mail approved a request", || format!("{writer:?}"));
        }
        self.check_away(&mut faults);
        for house in 0..2 {
            self.check_replies(house, bounds, &mut faults);
            self.check_ledger(house, &mut faults).await;
            self.check_people(house, &mut faults).await;
        }
        let shown: Vec<String> = faults
            .0
            .iter()
            .map(|(what, (count, example))| format!("{count} times: {what}: {example}"))
            .collect();
        assert!(shown.is_empty(), "{}", shown.join("\n"));
    }

    fn check_replies(&self, house: usize, bounds: &Bounds, faults: &mut Faults) {
        let letters = &self.letters[house];
        let mut depth: HashMap<&str, usize> = HashMap::new();
        let domain = |address: &str| address.rsplit_once('@').unwrap().1.to_owned();
        for (index, letter) in letters.iter().enumerate() {
            let cause = &self.given[house][letter.cause.parse::<usize>().unwrap() - 1];
            let to = letter.recipient.as_str();
            let shown = || format!("{} to {to} upon {:?}:\n{}", letter.template, cause.writer, cause.text);
            let by_nobody = !matches!(cause.writer, Writer::Person | Writer::Unmarked);
            faults.unless(!by_nobody, "a program that says so was answered", shown);
            faults.unless(!cause.envelope.is_empty(), "the null sender was answered", shown);
            let never = [OWN[house], BOUNCES, LIST].contains(&to) || to.starts_with("mailer-daemon");
            faults.unless(!never, "an address that never gets a letter got one", shown);
            let before = cause.upon.as_deref().and_then(|id| depth.get(id)).copied().unwrap_or(0);
            depth.insert(&letter.rfc_message_id, before + 1);
            if BY_TIME.contains(&letter.template.as_str()) {
                continue; // once for each request, whatever came in
            }
            // Where the words alone show a thread, its first letter came upon other words.
            let is_tied = cause.text.contains("PR-") || !cause.field("In-Reply-To").is_empty();
            let in_thread = bounds.per_thread + usize::from(!is_tied);
            faults.unless(before < in_thread, &format!("more letters than a thread may have: {to}"), shown);
            let today = |other: &&Queued| other.created_at > letter.created_at - 24 * 60 * 60;
            let earlier = || letters[..index].iter().filter(today);
            let to_address = earlier().filter(|other| other.recipient == to).count();
            let to_domain = earlier().filter(|other| domain(&other.recipient) == domain(to)).count();
            faults.unless(to_address < bounds.per_day, "more letters than an address may have", shown);
            faults.unless(to_domain < bounds.per_domain, "more letters than a domain may have", shown);
            faults.unless(earlier().count() < bounds.in_all, "more letters than all may have", shown);
        }
        for (desk, _) in DESKS {
            let is_there =
                letters.iter().any(|letter| letter.recipient != desk && home(&letter.recipient) == desk);
            faults.unless(is_there, "a signed program got no answer where it wished it", || desk.to_owned());
        }
        // What people write begins threads, and nothing else does: however long the world lives, its programs
        // get so many letters. Time adds a reminder and an end to a question.
        let begun = self.given[house].iter().filter(|mail| mail.writer == Writer::Person).count();
        let replies = letters.iter().filter(|letter| !BY_TIME.contains(&letter.template.as_str())).count();
        let most = begun * (bounds.per_thread + 1);
        faults.unless(replies <= most, "more letters than threads allow", || format!("{replies} of {most}"));
    }

    /// That the Dovecots were there, lived in the world's time, and answered none of our letters.
    fn check_away(&self, faults: &mut Faults) {
        for (away, own) in AWAY.iter().flat_map(|away| OWN.map(|own| (*away, own))) {
            let heard = |writer| {
                let of = move |heard: &&Heard| (heard.away.as_str(), heard.writer) == (away, writer);
                self.heard.iter().filter(of).filter(move |heard| writer == Writer::List || heard.from == own)
            };
            let answered = |writer| heard(writer).filter(|heard| heard.is_answered).map(|heard| heard.hour);
            let asked: Vec<i64> = answered(Writer::Person).collect();
            let [first, _, third] = IN_OUR_NAME;
            faults.unless(asked == [first, third], "not answered once in 7 days", || format!("{asked:?}"));
            for writer in [Writer::Privacyd, Writer::List] {
                let shown = || format!("{writer:?} to {away}");
                faults.unless(heard(writer).next().is_some(), "somebody away got no mail", shown);
                faults.unless(answered(writer).next().is_none(), "mail with marks was answered", shown);
            }
        }
    }

    async fn check_ledger(&self, house: usize, faults: &mut Faults) {
        let messages = self.houses[house].store.messages(None, 1_000_000).await.unwrap();
        let recorded: BTreeSet<&str> = messages.iter().map(|message| message.mail_id.as_str()).collect();
        for (index, mail) in self.given[house].iter().enumerate() {
            let is_there = recorded.contains((index + 1).to_string().as_str());
            faults.unless(is_there, "a mail is not in the ledger", || mail.text.clone());
        }
    }

    async fn check_people(&self, house: usize, faults: &mut Faults) {
        let people =
            ["jane", "john", "vera", "strict", "named", "marks"].map(|name| format!("{name}@example.net"));
        for person in &people {
            let is_done = self.houses[house].suppressed([person]).await == [true];
            faults.unless(is_done, "an opt-out was not done", || person.clone());
            let told: Vec<&str> = self.letters[house]
                .iter()
                .filter(|letter| letter.recipient == *person)
                .map(|letter| letter.template.as_str())
                .collect();
            faults.unless(told == ["opt_out"], "an opt-out was not confirmed once", || {
                format!("{person} {told:?}")
            });
        }
        let requests = self.houses[house].store.requests(None, 1_000_000).await.unwrap();
        let approved: Vec<_> = requests
            .iter()
            .filter(|request| request.status == "approved" && request.proof_needed > 1)
            .map(|request| (request.subject.as_deref().unwrap_or_default(), request.kind.as_str()))
            .collect();
        let confirmed = [("yes@example.net", "deletion")];
        faults.unless(approved == confirmed, "approved is not what people confirmed", || {
            format!("{approved:?}")
        });
    }
}

async fn thirty_days_with_machines_end_within_the_caps() {
    let caps = "replies_per_day = 8\nunproven_replies_per_domain = 20\nunproven_replies_in_all = 40\n";
    let mut world = World::new(caps).await;
    world.live().await;
    world.check(&Bounds { per_day: 8, per_thread: 6, per_domain: 20, in_all: 40 }).await;
}

async fn thirty_days_with_machines_end_without_the_caps() {
    const MOST: usize = 1_000_000;
    let caps = ["replies_per_day", "unproven_replies_per_domain", "unproven_replies_in_all"];
    let caps: String = caps.iter().map(|cap| format!("{cap} = {MOST}\n")).collect();
    let mut world = World::new(&caps).await;
    world.live().await;
    world.check(&Bounds { per_day: MOST, per_thread: 6, per_domain: MOST, in_all: MOST }).await;
}
