//! A decision to the bytes of its reply: template, threading, the marks of an automatic answer.
//!
//! Nothing the sender wrote is an input here: not the subject, not the name, not a word. What varies
//! is the reference, the due date and the company's own words. There are two exceptions: the Message-ID,
//! which threads the reply and has been checked character by character; and the values of a correction, checked
//! likewise (see [`crate::correction`]), which go to the address that is proven to have written them.

mod circular;
mod digest;
mod disclosed;
mod urgent;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::Date;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox, MultiPart, SinglePart};
use minijinja::{Environment, UndefinedBehavior, context};
use rust_embed::RustEmbed;

use crate::clock::{Duty, Reason};
use crate::code::Code;
use crate::config::{Company, FileError, ProofConfig};
use crate::correction::Edit;
use crate::decide::{Answer, CONFIRM, CONFIRMED, EXPIRED, REMINDER, UNCLEAR, WITHDRAWN};
use crate::ladder::{Denial, Status};
use crate::message::MessageId;
use crate::request::{Table, Verb};
use crate::sender::Address;
use crate::source::{Ended, Kept};

pub use circular::POLICY_CHANGE;
pub use digest::{DIGEST, Digest, Line, Section};
pub use disclosed::{DISCLOSED, DISCLOSED_BEFORE, Disclosed};
pub use urgent::{URGENT, Urgent};

/// Templates that belong to no request type: for a mail with several requests, for one that nobody is
/// sure about, for the steps of the ladder of proof, for an extension, for a refusal, for the operator, and for
/// the end of the work on a request.
pub const GENERAL: [&str; 22] = [
    "several",
    UNCLEAR,
    CONFIRM,
    REMINDER,
    EXPIRED,
    CONFIRMED,
    WITHDRAWN,
    EXTENDED,
    DENIED,
    DEADLINES,
    DIGEST,
    ALARM,
    URGENT,
    ERASED,
    CANCELLED,
    CORRECTED,
    RESTRICTED,
    UNPUBLISHED,
    COPY,
    CATEGORIES,
    DISCLOSED,
    DISCLOSED_BEFORE,
];

/// The template that tells by when a request will be answered instead.
pub const EXTENDED: &str = "extended";

/// The template that tells that a request is declined, and what can be done about that.
pub const DENIED: &str = "denied";

/// The template that tells the operator what runs short of time.
pub const DEADLINES: &str = "deadlines";

/// The template that tells the operator that something is wrong with privacyd itself.
pub const ALARM: &str = "alarm";

/// What the subject of a mail to ourselves begins with; its token comes after it.
pub const CANARY_SUBJECT: &str = "privacyd canary ";

/// The template that tells that data were erased.
pub const ERASED: &str = "erased";

/// The template that tells that an account was closed.
pub const CANCELLED: &str = "cancelled";

/// The template that tells what was corrected.
pub const CORRECTED: &str = "corrected";

/// The template that tells that data are kept and not used.
pub const RESTRICTED: &str = "restricted";

/// The template that tells what was taken down.
pub const UNPUBLISHED: &str = "unpublished";

/// The template that a copy of the data comes with.
pub const COPY: &str = "copy";

/// The template that names the categories of the data, where more was not proven.
pub const CATEGORIES: &str = "categories";

/// A reply, complete.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// To whom.
    pub recipient: Address,
    /// The reference it bears: of the first request.
    pub reference: String,
    /// The template it was made from.
    pub template: String,
    /// The language it is in.
    pub language: String,
    /// Its Message-ID, with angle brackets.
    pub message_id: String,
    /// Whether it is known who reads there; see [`Answer::is_proven`].
    pub is_proven: bool,
    /// The whole message, CRLF line ends.
    pub raw: Vec<u8>,
    /// The same without its code, if it has one: what is kept once it is sent. Whoever reads the database must
    /// not be able to answer for anybody.
    pub kept: Option<Vec<u8>>,
}

/// Why there is no reply where one was decided.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// A template failed. The message is the engine's and holds the template's text alone.
    #[error("the template {template} failed: {reason}")]
    Template {
        /// Its name.
        template: String,
        /// The engine's sentence.
        reason: String,
    },
    /// The message could not be put together.
    #[error("the reply could not be put together: {0}")]
    Build(String),
}

/// The templates and what they say of us.
#[derive(Debug)]
pub struct Replies {
    engine: Environment<'static>,
    /// Template and language pairs there are.
    known: BTreeMap<String, Vec<String>>,
    company: Company,
    proof: ProofConfig,
    /// The fields that may be corrected by mail.
    fields: Vec<String>,
    address: Address,
    fallback_language: String,
}

#[derive(RustEmbed)]
#[folder = "templates/"]
struct BuiltIn;

#[derive(serde::Serialize)]
struct RequestInReply<'a> {
    title: &'a str,
    reference: &'a str,
    due: String,
    done: bool,
    asked: bool,
}

/// Something that runs short of time, for the operator: without a word about whose it is.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ShortOfTime {
    /// Its reference.
    pub reference: String,
    /// Its type.
    pub kind: String,
    /// What is owed: acknowledge or answer.
    pub duty: &'static str,
    /// By when.
    pub due: String,
    /// How much of its time is gone.
    pub percent: i64,
    /// Whether all of it is.
    pub overdue: bool,
}

/// What a template may use besides what is known of the company.
#[derive(Clone, Copy, Default)]
struct Values<'a> {
    requests: &'a [RequestInReply<'a>],
    code: &'a str,
    until: &'a str,
    data_points: &'a str,
    reason: &'a str,
    deadlines: &'a [ShortOfTime],
    alarm: &'a str,
    urgent: &'a [Urgent],
    systems: &'a [SystemInReply<'a>],
    is_whole: bool,
    withheld: &'a [String],
    categories: &'a [String],
    digest: Option<&'a Digest>,
    disclosed: Option<Disclosed<'a>>,
    fields: &'a [String],
    changes: &'a [Edit],
}

/// A system of the company's, and what it says that it has done.
#[derive(serde::Serialize)]
struct SystemInReply<'a> {
    name: &'a str,
    outcome: &'static str,
    kept: Vec<Kept>,
}

/// What there is to tell of the work on a request.
#[derive(Debug)]
pub struct Work<'a> {
    /// The systems, in the order of the configuration.
    pub parts: &'a [Ended],
    /// Names of fields that are held and were left out.
    pub withheld: Vec<String>,
    /// Names of the fields that are held.
    pub categories: Vec<String>,
    /// What was corrected, as its reader has said it.
    pub changes: Vec<Edit>,
    /// What goes along.
    pub attachments: Vec<Attachment>,
}

/// A file that goes along with a reply.
#[derive(Debug, Clone)]
pub struct Attachment {
    /// Its name.
    pub name: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// A template, rendered.
struct Rendered {
    subject: String,
    body: String,
}

/// A request that a reply speaks of.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// Its type.
    pub kind: &'a str,
    /// Its public reference.
    pub reference: &'a str,
    /// By when it is due.
    pub due: Date,
    /// How far it has come.
    pub status: Status,
    /// The step of the ladder that its type asks for.
    pub proof_needed: u8,
}

/// What a reply asks for, where it asks whether a request is its reader's own.
#[derive(Debug, Clone)]
pub struct Question {
    /// The code that has to come back.
    pub code: Code,
    /// Until when.
    pub until: Date,
    /// What is to be corrected, if its reader has said so and was authenticated. Words of a sender's: they go to
    /// nobody else.
    pub changes: Vec<Edit>,
}

/// What a reply tells besides the requests it speaks of.
#[derive(Debug, Clone, Copy)]
pub enum More<'a> {
    /// Nothing.
    Nothing,
    /// It asks whether they are its reader's own.
    Question(&'a Question),
    /// They are extended, and why.
    Extended(Reason),
    /// They are declined, and why.
    Denied(Denial),
    /// How the work on them has ended.
    Work(&'a Work<'a>),
    /// What was passed on to third parties.
    Disclosed(Disclosed<'a>),
}

impl<'a> More<'a> {
    /// The question, if there is one.
    pub fn question(question: Option<&'a Question>) -> Self {
        question.map_or(Self::Nothing, Self::Question)
    }
}

impl Replies {
    /// Reads the built-in templates and, over them, those in `folder`, and tries every one of them.
    ///
    /// # Errors
    /// A template that is missing, is not UTF-8 or does not render: file, line, remedy.
    pub fn load(
        folder: Option<&Path>,
        table: &Table,
        company: &Company,
        proof: &ProofConfig,
        address: &Address,
        fallback_language: &str,
    ) -> Result<Self, FileError> {
        let mut files: BTreeMap<String, (String, String)> = BTreeMap::new();
        for path in BuiltIn::iter() {
            if let Some(file) = BuiltIn::get(&path) {
                let text = String::from_utf8_lossy(&file.data).into_owned();
                files.insert(path.to_string(), (format!("built-in templates/{path}"), text));
            }
        }
        if let Some(folder) = folder {
            read_folder(folder, folder, &mut files)?;
        }
        let mut engine = Environment::new();
        engine.set_undefined_behavior(UndefinedBehavior::Strict);
        // Names what is undefined, also in a release build.
        engine.set_debug(true);
        // These are plain-text mails: nothing is escaped for HTML.
        engine.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        let mut known: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (path, (shown, text)) in &files {
            let mut steps = path.split('/');
            let (Some(template), Some(language), Some("subject.txt" | "body.txt"), None) =
                (steps.next(), steps.next(), steps.next(), steps.next())
            else {
                return Err(FileError {
                    file: shown.clone(),
                    line: 0,
                    message: "templates are called <type>/<language>/subject.txt and body.txt".into(),
                });
            };
            engine.add_template_owned(path.clone(), text.clone()).map_err(|error| FileError {
                file: shown.clone(),
                line: error.line().unwrap_or(1),
                message: format!("is not a template: {}", one_line(&error)),
            })?;
            let languages = known.entry(template.to_owned()).or_default();
            if languages.last().is_none_or(|last| last != language) {
                languages.push(language.to_owned());
            }
        }
        let mut replies = Self {
            engine,
            known,
            company: company.clone(),
            proof: proof.clone(),
            fields: Vec::new(),
            address: address.clone(),
            fallback_language: fallback_language.to_owned(),
        };
        replies.check(table, &files, folder.unwrap_or(Path::new("templates")))?;
        // Compiled they take many times the room, and few of them are ever sent.
        let texts: BTreeMap<String, String> =
            files.into_iter().map(|(path, (_, text))| (path, text)).collect();
        replies.engine.set_loader(move |path| Ok(texts.get(path).cloned()));
        replies.engine.clear_templates();
        Ok(replies)
    }

    /// The same; questions about a correction bear a form for these fields.
    pub fn with_form(self, fields: Vec<String>) -> Self {
        Self { fields, ..self }
    }

    /// The fields of that form.
    pub fn form(&self) -> &[String] {
        &self.fields
    }

    /// Every type and every general template has English (or the fallback language), both halves, and
    /// renders with every value it may use.
    fn check(
        &self,
        table: &Table,
        files: &BTreeMap<String, (String, String)>,
        folder: &Path,
    ) -> Result<(), FileError> {
        let missing = |path: &str, message: &str| FileError {
            file: folder.join(path).display().to_string(),
            line: 0,
            message: message.to_owned(),
        };
        let needed = table.types.iter().map(|kind| kind.name.as_str()).chain(GENERAL);
        for template in needed {
            let languages = self.known.get(template);
            let has_any =
                languages.is_some_and(|l| l.contains(&self.fallback_language) || l.iter().any(|l| l == "en"));
            if !has_any {
                return Err(missing(
                    &format!("{template}/{}", self.fallback_language),
                    "is missing: every request type needs subject.txt and body.txt in the fallback language or in English",
                ));
            }
        }
        for (template, languages) in &self.known {
            for language in languages {
                for half in ["subject", "body"] {
                    let path = format!("{template}/{language}/{half}.txt");
                    let Some((shown, _)) = files.get(&path) else {
                        return Err(missing(&path, "is missing beside its other half"));
                    };
                    let sample = [RequestInReply {
                        title: "x",
                        reference: "PR-000000",
                        due: "x".into(),
                        done: false,
                        asked: true,
                    }];
                    let deadlines = [ShortOfTime {
                        reference: "PR-000000".into(),
                        kind: "x".into(),
                        duty: Duty::Answer.name(),
                        due: "x".into(),
                        percent: 50,
                        overdue: false,
                    }];
                    let kept = [Kept { what: "x".into(), why: "x".into() }];
                    let systems = ["done", "nothing", "kept", "failed"].map(|outcome| SystemInReply {
                        name: "x",
                        outcome,
                        kept: kept.to_vec(),
                    });
                    let names = ["x".to_owned()];
                    let changes = [Edit { field: "x".into(), old: Some("x".into()), new: "x".into() }];
                    let digest = Digest::sample();
                    let urgent = Urgent::samples();
                    let third_parties = disclosed::sample();
                    let disclosed = Disclosed {
                        year: 2025,
                        categories: &names,
                        third_parties: &third_parties,
                        before: "PR-000000",
                    };
                    // With and without the changes of a correction: the question looks different then. So does the
                    // end of what was done in part.
                    let cases = reasons(template)
                        .into_iter()
                        .flat_map(|reason| [changes.as_slice(), &[]].map(|changes| (reason, changes)));
                    for (reason, changes) in cases {
                        let values = self.values(&Values {
                            requests: &sample,
                            code: "c.x",
                            until: "x",
                            data_points: "x",
                            reason,
                            deadlines: &deadlines,
                            alarm: "x",
                            urgent: &urgent,
                            systems: &systems,
                            is_whole: changes.is_empty(),
                            withheld: &names,
                            categories: &names,
                            digest: Some(&digest),
                            disclosed: Some(disclosed),
                            fields: &names,
                            changes,
                        });
                        let rendered =
                            self.engine.get_template(&path).and_then(|template| template.render(values));
                        let text = rendered.map_err(|error| FileError {
                            file: shown.clone(),
                            line: error.line().unwrap_or(1),
                            message: format!("does not render: {}", one_line(&error)),
                        })?;
                        if text.trim().is_empty() || half == "subject" && text.trim().contains('\n') {
                            let rule = if half == "subject" { "must be one line" } else { "is empty" };
                            return Err(FileError { file: shown.clone(), line: 1, message: rule.into() });
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The language in which `template` can be written for somebody who wrote in `wished`.
    fn language(&self, template: &str, wished: &str) -> String {
        let languages = self.known.get(template).map(Vec::as_slice).unwrap_or_default();
        [wished, &self.fallback_language, "en"]
            .into_iter()
            .find(|language| languages.iter().any(|known| known == language))
            .unwrap_or("en")
            .to_owned()
    }

    fn values(&self, values: &Values<'_>) -> minijinja::Value {
        let Values {
            requests,
            code,
            until,
            data_points,
            reason,
            deadlines,
            alarm,
            urgent,
            systems,
            is_whole,
            withheld,
            categories,
            digest,
            disclosed,
            fields,
            changes,
        } = *values;
        let first = requests.first();
        context! {
            reference => first.map(|request| request.reference),
            due => first.map(|request| &request.due),
            title => first.map(|request| request.title),
            requests => minijinja::Value::from(minijinja::value::Serde(requests)),
            code => code,
            until => until,
            data_points => data_points,
            reason => reason,
            deadlines => minijinja::Value::from(minijinja::value::Serde(deadlines)),
            alarm => alarm,
            urgent => minijinja::Value::from(minijinja::value::Serde(urgent)),
            systems => minijinja::Value::from(minijinja::value::Serde(systems)),
            is_whole => is_whole,
            withheld => minijinja::Value::from(minijinja::value::Serde(withheld)),
            categories => minijinja::Value::from(minijinja::value::Serde(categories)),
            fields => minijinja::Value::from(minijinja::value::Serde(fields)),
            changes => minijinja::Value::from(minijinja::value::Serde(changes)),
            disclosed => minijinja::Value::from(minijinja::value::Serde(disclosed)),
            digest => minijinja::Value::from(minijinja::value::Serde(digest)),
            data_points_needed => self.proof.data_points_needed,
            company => context! {
                name => self.company.name.clone(),
                privacy_policy_url => self.company.privacy_policy_url.clone(),
                preferences_url => self.company.preferences_url.clone(),
                blog_host_contact => self.company.blog_host_contact.clone(),
            },
            privacy_address => self.address.as_str(),
        }
    }

    /// Writes a reply that speaks of the requests `told`, in the thread of the mails it answers.
    ///
    /// # Errors
    /// See [`ComposeError`]; the template's own faults were found when it was loaded.
    pub fn compose(
        &self,
        answer: &Answer,
        told: &[Told<'_>],
        thread: Thread<'_>,
        table: &Table,
        stamp: Stamp,
        more: More<'_>,
    ) -> Result<Outgoing, ComposeError> {
        let mut reply = self.compose_with(answer, told, thread, table, stamp, more)?;
        if let More::Question(question) = more {
            let blank = Question { code: Code::BLANK, ..question.clone() };
            let more = More::Question(&blank);
            reply.kept = Some(self.compose_with(answer, told, thread, table, stamp, more)?.raw);
        }
        Ok(reply)
    }

    fn compose_with(
        &self,
        answer: &Answer,
        told: &[Told<'_>],
        thread: Thread<'_>,
        table: &Table,
        stamp: Stamp,
        more: More<'_>,
    ) -> Result<Outgoing, ComposeError> {
        let (question, reason, work) = match more {
            More::Nothing => (None, "", None),
            More::Question(question) => (Some(question), "", None),
            More::Extended(reason) => (None, reason.name(), None),
            More::Denied(denial) => (None, denial.name(), None),
            More::Work(work) => (None, "", Some(work)),
            More::Disclosed(_) => (None, "", None),
        };
        let disclosed = if let More::Disclosed(disclosed) = more { Some(disclosed) } else { None };
        let language = self.language(&answer.template, &answer.language);
        let dates = table.language(&language).or_else(|| table.language("en")).map(|language| &language.date);
        let date = |date: Date| dates.map_or_else(|| date.to_string(), |form| form.write(date));
        let requests: Vec<RequestInReply<'_>> = told
            .iter()
            .map(|told| RequestInReply {
                title: table
                    .kind(told.kind)
                    .map_or_else(|| unclear(table, &language), |kind| kind.title(&language)),
                reference: told.reference,
                due: date(told.due),
                done: told.status == Status::Completed,
                asked: told.status == Status::AwaitingProof,
            })
            .collect();
        let code = question.map(|question| question.code.to_string()).unwrap_or_default();
        let until = question.map(|question| date(question.until)).unwrap_or_default();
        let names_data =
            told.iter().any(|told| told.status == Status::AwaitingProof && told.proof_needed > 2);
        let asks_for_changes = told.iter().any(|told| {
            let verb = table.verb(told.kind);
            told.status == Status::AwaitingProof && verb == Some(Verb::Correct)
        });
        let data_points = if names_data { self.proof.data_points.join(", ") } else { String::new() };
        let words = table.language(&language).map(|language| &language.kept);
        let word = |text: &String| words.and_then(|words| words.get(text)).unwrap_or(text).clone();
        let said = |kept: &Kept| Kept { what: word(&kept.what), why: word(&kept.why) };
        let systems: Vec<SystemInReply<'_>> = work
            .iter()
            .flat_map(|work| work.parts)
            .map(|part| SystemInReply {
                name: &part.source,
                outcome: part.state.name(),
                kept: part.kept.iter().map(said).collect(),
            })
            .collect();
        let values = self.values(&Values {
            requests: &requests,
            code: &code,
            until: &until,
            data_points: &data_points,
            reason,
            deadlines: &[],
            alarm: "",
            urgent: &[],
            systems: &systems,
            is_whole: systems.iter().all(|system| matches!(system.outcome, "done" | "nothing")),
            withheld: work.map_or(&[], |work| &work.withheld),
            categories: work.map_or(&[], |work| &work.categories),
            digest: None,
            disclosed,
            fields: if asks_for_changes { &self.fields } else { &[] },
            changes: question
                .map(|it| &it.changes)
                .or(work.map(|work| &work.changes))
                .map_or(&[][..], Vec::as_slice),
        });
        let reference = told.first().map(|told| told.reference.to_owned()).unwrap_or_default();
        let message_id = self.message_id(&reference, stamp);
        let reply_to = (self.proof.plus_addressing && !code.is_empty())
            .then(|| format!("{}+{code}@{}", self.address.local_part(), self.address.domain()).parse().ok())
            .flatten();
        let text = self.render(&answer.template, &language, &values)?;
        let (to, sort) = (&answer.to, "auto-replied");
        let attachments = work.map_or(&[][..], |work| &work.attachments);
        let raw =
            self.build(to, sort, reply_to.as_ref(), &message_id, &thread, text, attachments, stamp.now)?;
        Ok(Outgoing {
            recipient: answer.to.clone(),
            reference,
            template: answer.template.clone(),
            language,
            message_id,
            is_proven: answer.is_proven,
            raw,
            kept: None,
        })
    }

    /// Writes to the operator what runs short of time, in the fallback language.
    ///
    /// # Errors
    /// See [`ComposeError`].
    pub fn notice(
        &self,
        to: &Address,
        deadlines: &[ShortOfTime],
        stamp: Stamp,
    ) -> Result<Outgoing, ComposeError> {
        self.to_operator(to, DEADLINES, &Values { deadlines, ..Values::default() }, stamp)
    }

    /// Writes to the operator that something is wrong with privacyd itself, in the fallback language.
    ///
    /// # Errors
    /// See [`ComposeError`].
    pub fn alarm(&self, to: &Address, alarm: &str, stamp: Stamp) -> Result<Outgoing, ComposeError> {
        self.to_operator(to, ALARM, &Values { alarm, ..Values::default() }, stamp)
    }

    /// Writes to ourselves, to see that it comes back.
    ///
    /// # Errors
    /// See [`ComposeError`].
    pub fn canary(&self, token: &str, stamp: Stamp) -> Result<Outgoing, ComposeError> {
        let subject = format!("{CANARY_SUBJECT}{token}");
        let body =
            "This mail shows that replies go out and mail comes in. Nobody has to read it.\n".to_owned();
        self.unasked(&self.address, "canary", "en", Rendered { subject, body }, stamp)
    }

    /// A mail to the operator, in the fallback language.
    fn to_operator(
        &self,
        to: &Address,
        template: &str,
        values: &Values<'_>,
        stamp: Stamp,
    ) -> Result<Outgoing, ComposeError> {
        let language = self.language(template, &self.fallback_language);
        let text = self.render(template, &language, &self.values(values))?;
        self.unasked(to, template, &language, text, stamp)
    }

    /// A mail to which nobody has written: RFC 3834 section 5.
    fn unasked(
        &self,
        to: &Address,
        template: &str,
        language: &str,
        text: Rendered,
        stamp: Stamp,
    ) -> Result<Outgoing, ComposeError> {
        let message_id = self.message_id(template, stamp);
        let thread = Thread { message_id: None, references: &[] };
        let raw = self.build(to, "auto-generated", None, &message_id, &thread, text, &[], stamp.now)?;
        Ok(Outgoing {
            recipient: to.clone(),
            reference: String::new(),
            template: template.to_owned(),
            language: language.to_owned(),
            message_id,
            is_proven: true,
            raw,
            kept: None,
        })
    }

    fn render(
        &self,
        template: &str,
        language: &str,
        values: &minijinja::Value,
    ) -> Result<Rendered, ComposeError> {
        let half = |half: &str| {
            let name = format!("{template}/{language}/{half}.txt");
            self.engine
                .get_template(&name)
                .and_then(|template| template.render(values))
                .map_err(|error| ComposeError::Template { template: name, reason: one_line(&error) })
        };
        Ok(Rendered { subject: half("subject")?, body: half("body")? })
    }

    fn message_id(&self, reference: &str, stamp: Stamp) -> String {
        let unique = data_encoding::HEXLOWER.encode(&stamp.unique);
        format!("<{reference}.{unique}@{}>", self.address.domain().to_ascii_lowercase())
    }

    #[allow(clippy::too_many_arguments, reason = "all that a mail is made of")]
    fn build(
        &self,
        to: &Address,
        sort: &str,
        reply_to: Option<&Address>,
        message_id: &str,
        thread: &Thread<'_>,
        text: Rendered,
        attachments: &[Attachment],
        now: Timestamp,
    ) -> Result<Vec<u8>, ComposeError> {
        let fail = |error: &dyn std::fmt::Display| ComposeError::Build(error.to_string());
        let address =
            |address: &Address| address.as_str().parse().map_err(|e: lettre::address::AddressError| fail(&e));
        let mut message = lettre::Message::builder()
            .from(Mailbox::new(Some(self.company.name.clone()), address(&self.address)?))
            .to(Mailbox::new(None, address(to)?))
            .subject(text.subject.trim())
            .date(SystemTime::try_from(now).unwrap_or(SystemTime::UNIX_EPOCH))
            .message_id(Some(message_id.to_owned()));
        if let Some(reply_to) = reply_to {
            message = message.reply_to(Mailbox::new(None, address(reply_to)?));
        }
        if let Some(id) = thread.message_id {
            message = message.in_reply_to(id.as_str().to_owned());
            let chain: Vec<&str> = thread.references.iter().chain([id]).map(MessageId::as_str).collect();
            message = message.references(chain.join(" "));
        }
        // RFC 3834 section 5, what Exchange needs to keep its absence notes to itself, and what tells our
        // own mail wherever it comes from.
        let marks = [
            ("Auto-Submitted", sort),
            ("X-Auto-Response-Suppress", "All"),
            ("X-Loop", self.address.as_str()),
        ];
        for (name, value) in marks {
            message =
                message.raw_header(HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned()));
        }
        let part = SinglePart::builder().header(ContentType::TEXT_PLAIN).body(text.body);
        let built = match attachments {
            [] => message.singlepart(part),
            files => {
                let mut parts = MultiPart::mixed().singlepart(part);
                for file in files {
                    let sort = ContentType::parse(file.content_type).map_err(|error| fail(&error))?;
                    let attachment = lettre::message::Attachment::new(file.name.to_owned());
                    // Said outright: short ASCII would go out as it is, with bare line feeds, which no server takes.
                    let body = Body::new_with_encoding(file.bytes.clone(), ContentTransferEncoding::Base64)
                        .map_err(|_| fail(&"an attachment cannot be encoded"))?;
                    parts = parts.singlepart(attachment.body(body, sort));
                }
                message.multipart(parts)
            }
        };
        built.map(|message| message.formatted()).map_err(|error| fail(&error))
    }
}

/// What tells a reply from every other.
#[derive(Debug, Clone, Copy)]
pub struct Stamp {
    /// Random, for the Message-ID.
    pub unique: [u8; 16],
    /// Its date.
    pub now: Timestamp,
}

/// What a reply hangs on.
#[derive(Debug, Clone, Copy)]
pub struct Thread<'a> {
    /// The mail that is answered.
    pub message_id: Option<&'a MessageId>,
    /// Those before it, oldest first.
    pub references: &'a [MessageId],
}

/// The reasons that make a difference in a template.
fn reasons(template: &str) -> Vec<&'static str> {
    match template {
        EXTENDED => Reason::ALL.map(Reason::name).to_vec(),
        DENIED => Denial::ALL.map(Denial::name).to_vec(),
        _ => vec![""],
    }
}

fn one_line(error: &minijinja::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// Adds the .txt files below `folder`, by their path relative to `root`.
fn read_folder(
    root: &Path,
    folder: &Path,
    files: &mut BTreeMap<String, (String, String)>,
) -> Result<(), FileError> {
    let fail = |path: &Path, error: &dyn std::fmt::Display| FileError {
        file: path.display().to_string(),
        line: 0,
        message: format!("cannot be read: {error}"),
    };
    for entry in std::fs::read_dir(folder).map_err(|error| fail(folder, &error))? {
        let path = entry.map_err(|error| fail(folder, &error))?.path();
        if path.is_dir() {
            read_folder(root, &path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "txt") {
            let text = std::fs::read_to_string(&path).map_err(|error| fail(&path, &error))?;
            let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
            files.insert(relative, (path.display().to_string(), text));
        }
    }
    Ok(())
}

/// What a request without a type is called.
fn unclear<'a>(table: &'a Table, language: &str) -> &'a str {
    let named = [language, "en"].into_iter().filter_map(|code| table.language(code));
    named.map(|language| language.unclear.as_str()).find(|title| !title.is_empty()).unwrap_or_default()
}
