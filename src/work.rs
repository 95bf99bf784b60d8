//! Loop 3, the work: approved requests are carried out in the company's systems, and their end is told.
//!
//! An approved request whose type has a verb becomes a task for every system that may hold what it is about. Systems
//! are asked with retries; what one does not do, or has given up, a person does and says what has become of it. When
//! all tasks are over, the person is told, system by system, what was done and what is kept and why, in the
//! transaction that closes the request. Requests of types without a verb wait for a person. What was passed on to
//! third parties is told from the configuration alone.

mod disclose;

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::clock::written;
use crate::config::{Config, CopyConfig, Disclosure, Erasure};
use crate::copy::{Withheld, copy};
use crate::correction::Edit;
use crate::decide::Answer;
use crate::intake::{Intake, composed, no_panic};
use crate::ladder::Status;
use crate::outbox::{GIVE_UP_AFTER, next_before};
use crate::random::random;
use crate::reply::{
    Attachment, CANCELLED, CATEGORIES, COPY, CORRECTED, ERASED, More, Outgoing, RESTRICTED, Stamp, Thread,
    Told, UNPUBLISHED, Urgent, Work as Words,
};
use crate::request::{RequestType, Verb};
use crate::source::{Ended, Order, Outcome, Report, Source, Subject, TaskState, VERSION, Way, command};
use crate::stop::Stop;
use crate::store::tasks::{Job, Part, Task, Teller};
use crate::store::visit::Visit;

/// So many systems are asked at once.
const AT_ONCE: usize = 4;

/// A system is asked for so long at least, however soon the request is due.
const ASKED_FOR: SignedDuration = SignedDuration::from_hours(1);

/// Why a person must do a system's part, as `requests show` tells it.
const WITHOUT_VERB: &str = "the configuration does not say that this system does it";
const WITHOUT_SYSTEM: &str = "the configuration names no system that may hold it";
const WHOLLY_BY_HAND: &str = "the letter may ask for more than a system does: read it";

/// Why a person must see to a request, in its history and in the log.
const ON_HOLD: &str = "the contact is on legal hold: a person must decide";
const NOT_TOLD: &str = "carried out, but the reply could not be written: a person must tell";

/// Everything the work needs.
pub struct Work {
    intake: Arc<Intake>,
    sources: Vec<Source>,
    erasure: Erasure,
    copy: CopyConfig,
    disclosure: Disclosure,
    withheld: Withheld,
    company: String,
    tombstone_key: [u8; 32],
}

/// What never leaves in a copy.
pub fn withheld(config: &Config) -> Withheld {
    // That somebody's data are on hold is not theirs to know.
    Withheld::new(&config.copy.withhold).and_unsaid(&config.erasure.hold_column)
}

impl Work {
    /// Work on the requests of `intake` in `sources`, as `config` says.
    pub fn new(intake: Arc<Intake>, sources: Vec<Source>, config: &Config, tombstone_key: [u8; 32]) -> Self {
        Self {
            intake,
            sources,
            erasure: config.erasure.clone(),
            copy: config.copy.clone(),
            disclosure: config.disclosure.clone(),
            withheld: withheld(config),
            company: config.company.name.clone(),
            tombstone_key,
        }
    }

    /// One pass at `now`: begins what may be begun, asks every system whose turn it is, and closes what is
    /// through. Every mailbox has been read as it was at `read`; `None` where one has not. Answers how many
    /// requests were closed.
    ///
    /// # Errors
    /// The store does not work; what was committed stands, and orders that were given may be given again.
    pub async fn pass(&self, now: Timestamp, read: Option<Timestamp>, stop: &Stop) -> Result<u64> {
        // Whatever ended the last pass.
        self.intake.store.lose_answers().await?;
        self.intake.store.truncate_due_log().await?;
        let told = self.disclose(now).await?;
        if !self.intake.store.has_work(&self.names_of(|_| true), now).await? {
            return Ok(told);
        }
        // Orders take their time; each is given and settled, and each end told, at its own.
        let clock = Instant::now();
        let time = || now.saturating_add(clock.elapsed()).unwrap_or(now);
        self.begin(now, read).await?;
        if self.local(now).await? {
            self.intake.store.truncate_log().await?;
        }
        self.ask(&time, stop).await?;
        let closed = self.close(&time).await?;
        if closed > 0 {
            self.intake.queued.notify_one();
        }
        Ok(told + closed)
    }

    /// The types that systems carry out, in their safe order. A correction begins when it is known what to change: a mail
    /// has said so, or a person.
    fn kinds(&self) -> impl Iterator<Item = (&RequestType, Verb)> {
        self.intake.table.types.iter().filter_map(|kind| Some((kind, kind.verb?)))
    }

    /// The names of those types whose verb `is`; without corrections where no mail can say what to change.
    fn names_of(&self, is: impl Fn(Verb) -> bool) -> Vec<&str> {
        let by_mail = |kind: &RequestType, verb| {
            verb != Verb::Correct || self.intake.policy.corrections.contains(&kind.name)
        };
        let kinds = self.kinds().filter(|(kind, verb)| is(*verb) && by_mail(kind, *verb));
        kinds.map(|(kind, _)| kind.name.as_str()).collect()
    }

    /// The names of privacyd's own systems.
    fn local_names(&self) -> Vec<&str> {
        let local = self.sources.iter().filter(|source| matches!(source.way, Way::Local));
        local.map(|source| source.name.as_str()).collect()
    }

    /// What every system has to do with `job`, or a person in its place.
    fn parts(&self, job: &Job, verb: Verb) -> Vec<Part<'_>> {
        let concerned = self.sources.iter().filter(|source| source.concerns(verb));
        let part = |source: &Source| match () {
            () if job.by_hand => Some(WHOLLY_BY_HAND),
            () if !source.does(verb) => Some(WITHOUT_VERB),
            () => None,
        };
        let parts: Vec<Part<'_>> =
            concerned.map(|source| Part { source: &source.name, by_hand: part(source) }).collect();
        if parts.is_empty() {
            return vec![Part { source: &self.company, by_hand: Some(WITHOUT_SYSTEM) }];
        }
        parts
    }

    /// Until when a system is asked for its part of a task: some days, and not into the day on which the request is
    /// due, so that a person has one left.
    fn asked_until(&self, task: &Task) -> Timestamp {
        let after = |time| task.begun.saturating_add(time).unwrap_or(Timestamp::MAX);
        let last = self.intake.policy.clock.calendar().begin_of(task.job.due);
        after(GIVE_UP_AFTER).min(last).max(after(ASKED_FOR))
    }

    fn verb(&self, kind: &str) -> Option<Verb> {
        self.intake.table.verb(kind)
    }

    /// Whoever took an erasure back in time must not find it done because we had not read it: it begins only
    /// as far as every mailbox has been read.
    async fn begin(&self, now: Timestamp, read: Option<Timestamp>) -> Result<()> {
        // What is no longer used can be erased as well, and it is no longer used from the first moment on. A correction
        // comes first also where a person makes it: afterwards there would be nothing to correct.
        let before: Vec<&str> = self
            .kinds()
            .filter(|(_, verb)| *verb != Verb::Restrict)
            .map(|(kind, _)| kind.name.as_str())
            .collect();
        let copies = self.names_of(|verb| verb == Verb::Collect);
        let (mut held, mut begun) = (Vec::new(), Vec::new());
        let mut visit = self.intake.store.visit(now).await?;
        for (kind, verb) in self.kinds() {
            let kinds = if verb == Verb::Restrict { &[][..] } else { &before };
            let approved_before = match (verb.destroys(), read) {
                (false, _) => now,
                (true, None) => continue,
                (true, Some(read)) => {
                    read.min(now).saturating_sub(self.erasure.delay).unwrap_or(Timestamp::MIN)
                }
            };
            for job in visit.ready(&kind.name, verb, kinds, &before, &copies, approved_before).await? {
                if verb.destroys() && visit.is_on_hold(&job.subject, &self.erasure.hold_column).await? {
                    visit.end_work(&job, Status::Held, ON_HOLD, None).await?;
                    held.push(job);
                } else {
                    let parts = self.parts(&job, verb);
                    visit.begin_work(&job, &parts).await?;
                    if verb == Verb::Restrict {
                        visit.restrict(job.request, &job.subject).await?;
                    }
                    let by_hand = parts.iter().filter(|part| part.by_hand.is_some()).count();
                    begun.push((job, parts.len(), by_hand));
                }
            }
        }
        visit.close().await?;
        for job in held {
            warn!(request.id = job.reference, request.type = job.kind, reason = ON_HOLD, "request is held");
        }
        for (job, systems, by_hand) in begun {
            info!(request.id = job.reference, request.type = job.kind, systems, by_hand, "request is being carried out");
        }
        Ok(())
    }

    /// privacyd's own contacts: done in the transaction that records it. Answers whether something was erased.
    async fn local(&self, now: Timestamp) -> Result<bool> {
        let names = self.local_names();
        if names.is_empty() {
            return Ok(false);
        }
        let mut erased = false;
        let mut done = Vec::new();
        let mut visit = self.intake.store.visit(now).await?;
        for task in visit.local_tasks(&names).await? {
            let report = match self.verb(&task.job.kind) {
                Some(Verb::Collect) => visit.collect(&task.job.subject).await?,
                Some(Verb::Erase) => {
                    erased = true;
                    visit.erase(task.job.request, &task.job.subject, &self.tombstone_key).await?
                }
                Some(Verb::Correct) => visit.correct(&task.job).await?,
                Some(Verb::Restrict) => visit.restrict(task.job.request, &task.job.subject).await?,
                Some(Verb::Cancel | Verb::Unpublish) | None => unable(),
            };
            let ended = visit.settle_task(&task.open(), &report, Teller::System { next: None }).await?;
            self.tell_operator(&mut visit, &task, ended, now).await?;
            done.push((task, report, ended));
        }
        visit.close().await?;
        for (task, report, ended) in &done {
            self.log(task, report, *ended);
        }
        Ok(erased)
    }

    /// Asks the other systems, some at once, and writes each answer down when it comes.
    async fn ask(&self, time: &impl Fn() -> Timestamp, stop: &Stop) -> Result<()> {
        let local = self.local_names();
        let mut tasks = self.intake.store.due_tasks(&local, time()).await?.into_iter();
        let mut asked = JoinSet::new();
        loop {
            while asked.len() < AT_ONCE
                && !stop.is_asked()
                && let Some(task) = tasks.next()
            {
                let way =
                    self.sources.iter().find(|source| source.name == task.source).map(|it| it.way.clone());
                let order = self.order(&task).await?;
                let now = time();
                // A person may have held or settled it meanwhile.
                if !self.intake.store.mark_asked(&task, now).await? {
                    continue;
                }
                asked.spawn(async move {
                    let report = match (way, order) {
                        (Some(Way::Command { command, timeout }), Some(order)) => {
                            command::run(&command, timeout, &order).await
                        }
                        (Some(Way::Http(http)), Some(order)) => http.run(&order, now).await,
                        _ => unable(),
                    };
                    (task, report)
                });
            }
            let Some(answered) = asked.join_next().await else { return Ok(()) };
            let (task, mut report) = answered?;
            if self.verb(&task.job.kind) == Some(Verb::Collect) && report.is_done_without_data() {
                report = Report {
                    reason: "it says that it is done, but gives no data".into(),
                    ..Report::of(Outcome::Retry)
                };
            }
            let now = time();
            let next = next_before(self.asked_until(&task), task.attempts + 1, now);
            let mut visit = self.intake.store.visit(now).await?;
            let ended = visit.settle_task(&task.open(), &report, Teller::System { next }).await?;
            self.tell_operator(&mut visit, &task, ended, now).await?;
            visit.close().await?;
            self.log(&task, &report, ended);
        }
    }

    /// Tells the operator of a system's part that a person must see to.
    async fn tell_operator(
        &self,
        visit: &mut Visit,
        task: &Task,
        ended: Option<TaskState>,
        now: Timestamp,
    ) -> Result<()> {
        if ended != Some(TaskState::ByHand) {
            return Ok(());
        }
        let urgent = Urgent {
            reference: task.job.reference.clone(),
            kind: task.job.kind.clone(),
            due: written(task.job.due),
            system: task.source.clone(),
        };
        self.intake.tell_urgent(visit, &[urgent], now).await
    }

    /// What is committed of a system's part: to the log, and to the way out if there is a letter about it.
    fn log(&self, task: &Task, report: &Report, ended: Option<TaskState>) {
        log(task, report, ended);
        if ended == Some(TaskState::ByHand) {
            self.intake.queued.notify_one();
        }
    }

    async fn order(&self, task: &Task) -> Result<Option<Order>> {
        let Some(verb) = self.verb(&task.job.kind) else { return Ok(None) };
        let changes = match verb {
            Verb::Correct => self.intake.store.changes(&task.job.reference).await?,
            Verb::Collect | Verb::Erase | Verb::Cancel | Verb::Restrict | Verb::Unpublish => Vec::new(),
        };
        Ok(Some(Order {
            version: VERSION,
            verb,
            reference: task.job.reference.clone(),
            attempt: task.job.begun,
            kind: task.job.kind.clone(),
            subject: Subject { address: task.job.subject.normalised() },
            changes,
        }))
    }

    async fn close(&self, time: &impl Fn() -> Timestamp) -> Result<u64> {
        let mut closed = 0;
        loop {
            let now = time();
            let mut visit = self.intake.store.visit(now).await?;
            let Some((job, ended)) = visit.through().await? else { return Ok(closed) };
            let verb = self.verb(&job.kind);
            let is_erasure = verb == Some(Verb::Erase);
            let (status, reason, reply) = match verb {
                // Since it has begun.
                Some(_)
                    if is_erasure && visit.is_on_hold(&job.subject, &self.erasure.hold_column).await? =>
                {
                    (Status::Held, ON_HOLD, None)
                }
                Some(verb) => {
                    let changes = visit.changes(&job.reference).await?;
                    match no_panic(|| self.end(&job, verb, &ended, changes, now)) {
                        Some(end) => end?,
                        None => (Status::Held, NOT_TOLD, None),
                    }
                }
                None => (Status::Held, "its type has no verb any more: a person must go on", None),
            };
            // Whatever the configuration names: nobody is told of a mark that is not there.
            if is_erasure && status.is_closed() {
                visit.erase(job.request, &job.subject, &self.tombstone_key).await?;
            }
            visit.end_work(&job, status, reason, reply.as_ref()).await?;
            visit.close().await?;
            if is_erasure && status.is_closed() {
                self.intake.store.truncate_log().await?;
            }
            closed += u64::from(status.is_closed());
            info!(request.id = job.reference, request.type = job.kind, outcome = status.name(), reason, "request carried out");
        }
    }

    /// How a request ends of which everybody has done their part.
    fn end(
        &self,
        job: &Job,
        verb: Verb,
        ended: &[Ended],
        changes: Vec<Edit>,
        now: Timestamp,
    ) -> Result<(Status, &'static str, Option<Outgoing>)> {
        let is_whole = ended.iter().all(|part| matches!(part.state, TaskState::Done | TaskState::Nothing));
        let mut words = Words {
            parts: ended,
            withheld: Vec::new(),
            categories: Vec::new(),
            // Words of a sender's, to whoever has shown that this address is theirs.
            changes: if job.proof_given > 1 { changes } else { Vec::new() },
            attachments: Vec::new(),
        };
        let mut template = match verb {
            Verb::Erase => ERASED,
            Verb::Cancel => CANCELLED,
            Verb::Correct => CORRECTED,
            Verb::Collect => COPY,
            Verb::Restrict => RESTRICTED,
            Verb::Unpublish => UNPUBLISHED,
        };
        let mut is_partly = !is_whole;
        if verb == Verb::Collect {
            // What was collected is gone where its person has been erased meanwhile.
            let is_gone = |part: &Ended| part.state == TaskState::Done && part.data.is_none();
            let is_void = ended.iter().all(|part| part.data.is_none())
                && ended.iter().any(|part| part.state != TaskState::Nothing);
            if is_void || ended.iter().any(is_gone) {
                let why =
                    "there is no copy to send: a person must deny it, or approve it to have it made again";
                return Ok((Status::Held, why, None));
            }
            let collected = ended.iter().filter_map(|part| Some((part.source.clone(), part.data.clone()?)));
            let copy = copy(collected.collect(), &self.withheld);
            if job.proof_given < job.proof_needed {
                // 11 CCR 7024(a): who cannot be shown the data is told their categories.
                template = CATEGORIES;
                words.categories = copy.categories;
                is_partly = true;
            } else if (copy.json.len() + copy.text.len()) as u64 > self.copy.max_attachment_size.as_u64() {
                return Ok((
                    Status::Held,
                    "the copy is too large for a mail: a person must collect it again and hand it out",
                    None,
                ));
            } else {
                words.attachments = vec![
                    Attachment { name: "your-data.json", content_type: "application/json", bytes: copy.json },
                    Attachment {
                        name: "your-data.txt",
                        content_type: "text/plain; charset=utf-8",
                        bytes: copy.text.into_bytes(),
                    },
                ];
                words.withheld = copy.withheld;
            }
        }
        let (status, reason) = match is_partly {
            false => (Status::Completed, "everything is done"),
            true if template == CATEGORIES => {
                (Status::PartlyCompleted, "the categories were told: more was not proven")
            }
            true => (Status::PartlyCompleted, "not everything was done: see its tasks"),
        };
        let reply = self.tell(job, template, status, More::Work(&words), now)?;
        Ok(match reply {
            Some(reply) => (status, reason, Some(reply)),
            None => (Status::Held, NOT_TOLD, None),
        })
    }

    /// The letter to whoever a request is of; `None`, and a line in the log, when it cannot be written.
    fn tell(
        &self,
        job: &Job,
        template: &str,
        status: Status,
        more: More<'_>,
        now: Timestamp,
    ) -> Result<Option<Outgoing>> {
        let answer = Answer {
            to: job.subject.clone(),
            template: template.to_owned(),
            language: job.language.clone(),
            subject: None,
            asks: false,
            is_proven: job.proof_given > 0,
        };
        let told = Told {
            kind: &job.kind,
            reference: &job.reference,
            due: job.due,
            status,
            proof_needed: job.proof_needed,
        };
        let thread = Thread { message_id: job.rfc_message_id.as_ref(), references: &[] };
        let stamp = Stamp { unique: random()?, now };
        let Intake { replies, table, .. } = &*self.intake;
        let what = format!("the end of the request {}, which a person must tell,", job.reference);
        Ok(composed(&what, || replies.compose(&answer, &[told], thread, table, stamp, more)))
    }
}

/// For a system that is no longer configured, or no longer does it.
fn unable() -> Report {
    Report {
        reason: "the configuration has no such system for this any more".into(),
        ..Report::of(Outcome::Failed)
    }
}

fn log(task: &Task, report: &Report, ended: Option<TaskState>) {
    let (id, kind, system) = (&task.job.reference, &task.job.kind, &task.source);
    let attempt = task.attempts + 1;
    match ended {
        Some(TaskState::ByHand) => {
            // What a command says is not logged: it may name people. `requests show` has it.
            error!(request.id = id, request.type = kind, system, attempt, "system failed for good: a person must see to it");
        }
        Some(state) => {
            info!(request.id = id, request.type = kind, system, attempt, outcome = state.name(), "system done")
        }
        None if report.outcome == Outcome::Retry => {
            warn!(request.id = id, request.type = kind, system, attempt, "system not done yet: it is asked again");
        }
        None => {}
    }
}
