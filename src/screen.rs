//! Mail that is never answered and never acted on: bounces, automatic answers, lists, complaints, our own.
//!
//! Read from header fields before a word of the text is looked at. The rules are those of RFC 3834
//! section 2 and RFC 5230 section 4.6, and what mail programs do in practice besides.

use crate::language::{LanguageFile, Words};
use crate::literals::{Collector, Literals};
use crate::message::Message;
use crate::needles::{Needles, Sights};
use crate::patterns::Patterns;
use crate::sender::{Address, skip_comment};
use crate::text::{fold, pattern};

/// Why a mail is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Automatic {
    /// A report on the fate of another mail (RFC 3464), in the standard form or an old one.
    Bounce,
    /// An answer by a program: absence note, receipt, acknowledgement, machine's notice.
    AutoReply,
    /// A feedback-loop report (RFC 5965).
    Complaint,
    /// Sent to many (RFC 2919, RFC 2369).
    List,
    /// From one of our own addresses.
    Own,
}

impl Automatic {
    /// The word for it in the ledger, in logs and in `classify --json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bounce => "bounce",
            Self::AutoReply => "auto_reply",
            Self::Complaint => "complaint",
            Self::List => "list",
            Self::Own => "own",
        }
    }
}

/// So many marks of the form of their letters tell services that make requests for others. An
/// announcement by a company names a statute too.
const FORM_MARKS: usize = 2;

/// What automatic mail looks like, in every language known.
#[derive(Debug)]
pub struct Screen {
    subject: Marks,
    bounce_subject: Marks,
    authority: Patterns,
    form: Patterns,
    own: Vec<Address>,
}

/// Marks of a line, which most lines do not even have the words of.
#[derive(Debug)]
struct Marks {
    patterns: Patterns,
    literals: Literals,
    /// None when they are too many: then each line is looked through.
    needles: Option<Needles>,
}

impl Marks {
    fn new(languages: &[&LanguageFile], marks: fn(&LanguageFile) -> &Vec<String>) -> Self {
        let no_words = Words::new();
        let mut collector = Collector::new(&no_words);
        let phrases = || languages.iter().flat_map(|language| marks(language));
        phrases().for_each(|phrase| collector.add(phrase, true));
        let (literals, words) = collector.finish();
        let patterns = Patterns::new(phrases().map(|phrase| pattern(phrase)));
        let mut needles = Needles::default();
        let is_complete = needles.add(&[words]).is_ok();
        Self { patterns, literals, needles: is_complete.then_some(needles) }
    }

    /// Whether one is in folded `line`.
    fn is_match(&self, line: &str) -> bool {
        let may_match = |needles: &Needles| {
            let (mut sights, mut candidates) = (Sights::default(), Vec::new());
            needles.look(line, &[true], &mut sights);
            let seen = (sights.of(0), sights.blanks());
            self.literals.next_line(line.len(), seen, &mut self.literals.nothing(), &mut candidates);
            !candidates.is_empty()
        };
        self.needles.as_ref().is_none_or(may_match) && self.patterns.is_match(line.as_bytes())
    }
}

impl Screen {
    /// Takes the marks of `languages`; `own` are our addresses.
    pub fn new(languages: &[&LanguageFile], own: &[Address]) -> Self {
        let set = |marks: fn(&LanguageFile) -> &Vec<String>| {
            Patterns::new(languages.iter().flat_map(|language| marks(language)).map(|p| pattern(p)))
        };
        Self {
            subject: Marks::new(languages, |language| &language.automatic.subject),
            bounce_subject: Marks::new(languages, |language| &language.automatic.bounce_subject),
            authority: set(|language| &language.agent.authority),
            form: set(|language| &language.agent.form),
            own: own.iter().map(Address::normalised).collect(),
        }
    }

    /// Whether `message` is mail that is never answered, and which mark says so.
    pub fn look(&self, message: &Message<'_>) -> Option<(Automatic, &'static str)> {
        let subject = fold(message.subject());
        self.report(message)
            .or_else(|| {
                message
                    .has_null_return_path()
                    .then_some((Automatic::AutoReply, "the envelope sender is null"))
            })
            .or_else(|| list(message))
            .or_else(|| auto_submitted(message))
            .or_else(|| bulk(message))
            .or_else(|| automatic_answer(message))
            .or_else(|| {
                self.subject
                    .is_match(&subject)
                    .then_some((Automatic::AutoReply, "the subject of an automatic answer"))
            })
    }

    /// Whether what marks `message` as automatic stands on people's mail as well: ticket systems write it on
    /// whatever passes through them, a clerk's letter too. An answer by a program, a list's mail, or one
    /// from a machine's address is a machine's, whatever else it bears.
    pub fn is_weakly_marked(&self, message: &Message<'_>) -> bool {
        let is_weak = |name: &str, values: &[&str]| {
            message.values(name).all(|value| token(&value).is_some_and(|it| values.contains(&it.as_str())))
        };
        self.report(message).is_none()
            && !message.has_null_return_path()
            && list(message).is_none()
            && is_weak("Auto-Submitted", &["", "no", "auto-generated"])
            && is_weak("Precedence", &["", "bulk", "normal", "first-class", "special-delivery"])
            && answer_field(message).is_none()
            && !is_machine(message)
            && !self.subject.is_match(&fold(message.subject()))
    }

    /// Whether a letter with these sentences is one of a service that makes requests on behalf of others:
    /// somebody wants something, whatever program has sent it.
    pub fn is_agents(&self, sentences: &str) -> bool {
        let text = sentences.as_bytes();
        self.authority.is_match(text) && self.form.matches(text).len() >= FORM_MARKS
    }

    /// Our own mail, or a report on another mail: whatever address it bears, it wants nothing of us.
    pub fn report(&self, message: &Message<'_>) -> Option<(Automatic, &'static str)> {
        self.own_mail(message)
            .or_else(|| report(message))
            .or_else(|| self.old_bounce(message, &fold(message.subject())))
    }

    fn own_mail(&self, message: &Message<'_>) -> Option<(Automatic, &'static str)> {
        if message.from().is_ok_and(|from| self.is_own(&from)) {
            return Some((Automatic::Own, "From is our own address"));
        }
        // Our replies bear our address in this field; others mark people's mail with it that they forward.
        let is_looped = |value: String| self.own.iter().any(|own| value.contains(own.as_str()));
        message.values("X-Loop").any(is_looped).then_some((Automatic::Own, "X-Loop is our own address"))
    }

    /// Whether `address` is one of ours; privacy+anything@ is as well.
    pub fn is_own(&self, address: &Address) -> bool {
        let address = address.normalised();
        self.own.iter().any(|own| *own == address || own.detail(address.as_str()).is_some())
    }

    /// Whether `message` names one of our addresses among those it was sent to. What does not may be read,
    /// but no program may answer it (RFC 5230 section 4.5).
    pub fn is_addressed(&self, message: &Message<'_>) -> bool {
        let is_own =
            |word: String| self.own.iter().any(|own| own.as_str() == word || own.detail(&word).is_some());
        message.recipients().any(is_own)
    }

    /// Bounces without a standard form: a mailer wrote, or nobody did and the subject says so.
    fn old_bounce(&self, message: &Message<'_>, subject: &str) -> Option<(Automatic, &'static str)> {
        let says_so = self.bounce_subject.is_match(subject);
        let local = sender_local_part(message);
        let is_mailer =
            matches!(local.as_str(), "mailer-daemon" | "mail-daemon" | "maildaemon" | "mailerdaemon");
        if is_mailer {
            return Some((Automatic::Bounce, "From is a mailer daemon"));
        }
        if says_so && (message.has_null_return_path() || local == "postmaster") {
            return Some((Automatic::Bounce, "the subject of a bounce, from no person"));
        }
        message.has("X-Failed-Recipients").then_some((Automatic::Bounce, "X-Failed-Recipients"))
    }
}

/// Left of the `@` of whoever From names, however oddly; lower case, for comparing with names of machines.
fn sender_local_part(message: &Message<'_>) -> String {
    let field = message.values("From").next().unwrap_or_default();
    let address = field.rsplit_once('<').map_or(field.as_str(), |(_, address)| address);
    address.split('@').next().unwrap_or_default().trim().to_owned()
}

/// Reports by RFC 6522: the report-type parameter, or the part that makes it one.
fn report(message: &Message<'_>) -> Option<(Automatic, &'static str)> {
    let kind = message.report_type().unwrap_or_default();
    if kind == "feedback-report" || message.has_part("message", "feedback-report") {
        return Some((Automatic::Complaint, "a feedback report"));
    }
    if kind == "delivery-status"
        || message.has_part("message", "delivery-status")
        || message.has_part("message", "global-delivery-status")
    {
        return Some((Automatic::Bounce, "a delivery status report"));
    }
    if kind == "disposition-notification" || message.has_part("message", "disposition-notification") {
        return Some((Automatic::AutoReply, "a read receipt"));
    }
    if message.content_type() == "multipart/report" || kind == "tlsrpt" {
        return Some((Automatic::AutoReply, "a machine's report"));
    }
    let is_calendar_answer = message.has_part("text", "calendar")
        && message.fields("Subject").next().is_some()
        && !message.has("In-Reply-To");
    is_calendar_answer.then_some((Automatic::AutoReply, "a calendar's message"))
}

fn list(message: &Message<'_>) -> Option<(Automatic, &'static str)> {
    let field = [
        "List-Id",
        "List-Post",
        "List-Unsubscribe",
        "List-Help",
        "List-Subscribe",
        "List-Owner",
        "List-Archive",
    ]
    .into_iter()
    .find(|name| message.has(name));
    field.map(|field| (Automatic::List, field))
}

/// The field's first token counts: "no (no robots here)" is a person (RFC 3834 section 5). What cannot be read is
/// a program's.
fn auto_submitted(message: &Message<'_>) -> Option<(Automatic, &'static str)> {
    let is_said = message
        .values("Auto-Submitted")
        .any(|value| token(&value).is_none_or(|token| !token.is_empty() && token != "no"));
    is_said.then_some((Automatic::AutoReply, "Auto-Submitted"))
}

/// The first token of a field, comments left out wherever they stand (RFC 5322 section 3.2.2); `None` if one
/// does not end.
fn token(value: &str) -> Option<String> {
    let mut bare = Vec::with_capacity(value.len());
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'(' => {
                skip_comment(&mut bytes)?;
                bare.push(b' ');
            }
            byte => bare.push(byte),
        }
    }
    let bare = String::from_utf8(bare).ok()?;
    Some(bare.trim_start().split([' ', '\t', ';']).next().unwrap_or_default().to_owned())
}

/// Precedence was never standardised and says less than the fields before it: vacation programs set
/// "junk" as well as lists do (RFC 3834 section 3.1.8).
fn bulk(message: &Message<'_>) -> Option<(Automatic, &'static str)> {
    let is_bulk =
        message.values("Precedence").any(|value| matches!(value.as_str(), "bulk" | "list" | "junk"));
    is_bulk.then_some((Automatic::List, "Precedence"))
}

fn automatic_answer(message: &Message<'_>) -> Option<(Automatic, &'static str)> {
    if message.values("Precedence").any(|value| value.replace('-', "_") == "auto_reply") {
        return Some((Automatic::AutoReply, "Precedence"));
    }
    if let Some(field) = answer_field(message) {
        return Some((Automatic::AutoReply, field));
    }
    // Exchange writes "DR, RN" on people's mail too; what wants no automatic answer to itself is a machine's.
    let is_suppressing = message
        .values("X-Auto-Response-Suppress")
        .any(|value| value.split([',', ';']).any(|word| matches!(word.trim(), "all" | "oof" | "autoreply")));
    if is_suppressing {
        return Some((Automatic::AutoReply, "X-Auto-Response-Suppress"));
    }
    is_machine(message).then_some((Automatic::AutoReply, "From is a machine's address"))
}

/// A field that only programs which answer by themselves write.
fn answer_field(message: &Message<'_>) -> Option<&'static str> {
    [
        "X-Autoreply",
        "X-Auto-Reply",
        "X-Autorespond",
        "X-AutoReply-From",
        "X-Mail-Autoreply",
        "X-Autogenerated",
        "X-Vacation",
    ]
    .into_iter()
    .find(|name| message.has(name))
}

/// Whether From is an address that no person writes from.
fn is_machine(message: &Message<'_>) -> bool {
    let local = sender_local_part(message);
    matches!(
        local.as_str(),
        "noreply"
            | "no-reply"
            | "no_reply"
            | "no.reply"
            | "donotreply"
            | "do-not-reply"
            | "do_not_reply"
            | "listserv"
            | "majordomo"
            | "mdaemon"
            | "autoreply"
            | "auto-reply"
    ) || local.starts_with("owner-")
        || local.ends_with("-request")
        || local.starts_with("bounce-")
        || local.starts_with("bounces+")
}
