//! Builds everything from a configuration and keeps the loops turning: rest, wake, back off, stop
//! between two pieces of work.
//!
//! One loop for each mailbox, and one each for the outbox, the work, the clock and notices. An error in one of
//! them is logged there and leaves the others alone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio::sync::{Notify, watch};
use tracing::{error, info, warn};

use crate::clock::{Calendar, Clock};
use crate::config::{CanaryConfig, ClockConfig, Config, Retention, too_long_with_prefix, whole_is_too_long};
use crate::correction::Corrections;
use crate::decide::Policy;
use crate::intake::{DigestPlan, Intake, Passed};
use crate::language::LanguageFile;
use crate::mailbox::{Bounds, LoginRefused, Mailbox};
use crate::mailer::Mailer;
use crate::metrics;
use crate::notice::Notices;
use crate::outbox::Outbox;
use crate::redact::Pseudonyms;
use crate::reply::Replies;
use crate::request::{RequestType, Table, Verb};
use crate::source::Source;
use crate::stop::Stop;
use crate::store::purge::Purged;
use crate::store::reconcile::Reconciled;
use crate::store::{Sole, Store};
use crate::token::Tokens;
use crate::understand::Reader;
use crate::verify::{MAIL_TIMEOUT, Verifier, WINDOW_TIMEOUT};
use crate::watch::{AFTER_REFUSED_LOGIN, Watch};
use crate::work::{Work, withheld};

/// The longest wait between two tries of something that fails.
const LONGEST_WAIT: Duration = Duration::from_secs(5 * 60);

/// The wait after a look through the mailboxes that failed.
const AFTER_FAILED_LOOK: Duration = Duration::from_secs(30 * 60);

/// A mailbox that cannot be looked at does not hold back for longer what others are waiting for. More than the wait
/// after a refused login, and less than the least of a watchdog, which restarts a daemon whose mailbox stays silent.
const LONGEST_DOUBT: Duration = Duration::from_secs(20 * 60);
const _: () = assert!(
    AFTER_REFUSED_LOGIN.as_secs() < LONGEST_DOUBT.as_secs()
        && LONGEST_DOUBT.as_secs() < 2 * AFTER_REFUSED_LOGIN.as_secs()
);

/// The rest between two looks for work.
const WORK_INTERVAL: Duration = Duration::from_secs(10);

/// The whole installation, ready to run.
pub struct Daemon {
    /// The mailboxes.
    pub mailboxes: Vec<Mailbox>,
    /// The same once more, to be looked through while these are read.
    inspected: Vec<Mailbox>,
    /// The corridor in.
    pub intake: Arc<Intake>,
    /// The work on approved requests.
    pub work: Work,
    /// The corridor out.
    pub outbox: Outbox,
    /// The way out for notices to everybody.
    pub notices: Notices,
    config: Config,
    _sole: Vec<Sole>,
}

/// What one full pass has done, and what is open after it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Once {
    /// Mails read.
    pub mails: u64,
    /// Replies that a server took.
    pub sent: u64,
    /// Letters to the operator that a server took.
    pub told: u64,
    /// Requests that are open.
    pub open: i64,
    /// Those of them that wait for a person.
    pub held: i64,
}

/// All that a daemon is made of before it touches the database or the network.
pub struct Parts {
    rules: Rules,
    mailboxes: Vec<Mailbox>,
    inspected: Vec<Mailbox>,
    mailer: Mailer,
    verifier: Option<Verifier>,
    sources: Vec<Source>,
    tokens: Tokens,
}

impl Parts {
    /// Loads them as `config` says.
    ///
    /// # Errors
    /// A mistake of the operator's: a rule, a template, a password, a CA file or a DNS configuration that
    /// cannot be used.
    pub fn load(config: &Config) -> Result<Self> {
        let rules = Rules::load(config)?;
        config.check_secrets()?;
        Ok(Self {
            rules,
            mailboxes: mailboxes(config)?,
            inspected: mailboxes(config)?,
            mailer: mailer(config)?,
            verifier: verifier(config)?,
            sources: Source::load(config)?,
            tokens: tokens(config)?,
        })
    }
}

/// What can be checked without a database or a network.
pub struct Rules {
    /// The request types.
    pub table: Table,
    /// The pure half.
    pub reader: Reader,
    /// The templates.
    pub replies: Replies,
    /// The legal clocks.
    pub clock: Clock,
}

impl Rules {
    /// Loads rules and templates as `config` says.
    ///
    /// # Errors
    /// The first mistake, with file, line and key.
    pub fn load(config: &Config) -> Result<Self> {
        let table = Table::load(config.rules.as_deref())?;
        for kind in config.folders.types.keys() {
            if table.kind(kind).is_none() {
                let fault = "there is no request type of this name; `privacyd check` lists them";
                let message = format!("folders.types.{kind}: {fault}");
                return Err(config.file.mistake(&["folders", "types", kind], message).into());
            }
        }
        let folders = &config.folders;
        for kind in table.types.iter().filter(|kind| !folders.types.contains_key(&kind.name)) {
            if whole_is_too_long(&folders.prefix, &kind.folder) {
                let fault = too_long_with_prefix(&kind.folder);
                let message = format!("folders.prefix: of rules/{}.toml, {fault}", kind.name);
                return Err(config.file.mistake(&["folders", "prefix"], message).into());
            }
        }
        if table.language(&config.language).is_none() {
            let code = &config.language;
            let message =
                format!("language: there is no rules/languages/{code}.toml; take \"en\" or add the file");
            return Err(config.file.mistake(&["language"], message).into());
        }
        let languages: Vec<&LanguageFile> = table.languages.iter().map(|(_, language)| language).collect();
        let corrections = Corrections::new(&config.correction, &languages)
            .map_err(|why| anyhow::anyhow!("The sentences of a correction cannot be compiled: {why}"))?;
        let reader = Reader::new(&table, &config.own_addresses)
            .correcting(corrections)
            .trusting(config.authentication.trust())
            .with_tokens(tokens(config)?);
        let replies = replies(config, &table)?;
        let clock = clock(config, &table)?;
        Ok(Self { table, reader, replies, clock })
    }
}

/// The templates that `config` names.
///
/// # Errors
/// The first mistake in one, with file and line.
pub fn replies(config: &Config, table: &Table) -> Result<Replies> {
    let address = config.own_addresses.first().context("own_addresses is empty")?;
    let replies = Replies::load(
        config.templates.as_deref(),
        table,
        &config.company,
        &config.proof,
        address,
        &config.language,
    )?;
    Ok(replies.with_form(config.correction.fields.clone()))
}

/// The clocks of the laws that `config` names, by its calendar.
///
/// # Errors
/// A law that the table does not have, or a file of holidays that cannot be read: file, line and key.
pub fn clock(config: &Config, table: &Table) -> Result<Clock> {
    let ClockConfig { laws, holidays, time_zone } = &config.clock;
    let holidays = match holidays {
        None => BTreeSet::new(),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| {
                let message = format!("clock.holidays: {} cannot be read: {error}", path.display());
                config.file.mistake(&["clock", "holidays"], message)
            })?;
            Calendar::parse_holidays(&path.display().to_string(), &text)?
        }
    };
    // Found before: the configuration has been checked.
    let zone = TimeZone::get(time_zone).context("clock.time_zone: there is no such time zone")?;
    let clock = Clock::new(&table.laws, laws, Calendar::new(zone, holidays)).map_err(|index| {
        let known: Vec<&str> = table.laws.names().collect();
        let law = laws.get(index).map_or("", String::as_str);
        let message = format!("clock.laws: there is no law {law:?}; there are {}", known.join(", "));
        config.file.mistake(&["clock", "laws", &index.to_string()], message)
    })?;
    Ok(clock)
}

/// The unsubscribe tokens by the keys that `config` names.
///
/// # Errors
/// A key that cannot be read, or is too short.
pub fn tokens(config: &Config) -> Result<Tokens> {
    Ok(Tokens::new(&config.unsubscribe_keys()?, &config.own_addresses))
}

/// The mailboxes that `config` names. Connects to none.
///
/// # Errors
/// A CA file that cannot be used.
pub fn mailboxes(config: &Config) -> Result<Vec<Mailbox>> {
    let limits = &config.limits;
    let bounds = Bounds::new(limits.read_limit.as_u64(), limits.max_message_size.as_u64());
    let imap = config.imap.iter().map(|settings| Mailbox::imap(settings.clone(), bounds));
    let maildir = config.maildir.iter().map(|settings| Mailbox::maildir(settings.clone(), bounds));
    imap.chain(maildir).collect()
}

/// What checks signatures, if `config` wishes it. Asks nobody anything yet.
///
/// # Errors
/// The system's DNS configuration cannot be read.
pub fn verifier(config: &Config) -> Result<Option<Verifier>> {
    let authentication = &config.authentication;
    let build = || Verifier::new(authentication.resolver, MAIL_TIMEOUT, WINDOW_TIMEOUT);
    authentication.verify_dkim.then(build).transpose()
}

/// The way out that `config` names. Connects to nothing.
///
/// # Errors
/// A password or a CA file that cannot be read.
pub fn mailer(config: &Config) -> Result<Mailer> {
    if let Some(settings) = &config.smtp {
        let domain = config.own_addresses.first().map_or("localhost", |address| address.domain());
        let helo = settings.helo.clone().unwrap_or_else(|| domain.to_owned());
        return Mailer::smtp(settings.clone(), helo);
    }
    let directory =
        config.directory.as_ref().context("There is no way out for replies: add an [smtp] section")?;
    Ok(Mailer::Directory(directory.path.clone()))
}

/// The names of the types whose work begins by itself once they are approved. Of corrections only those do of which
/// it is certain what to change.
fn carried_out(table: &Table) -> Vec<String> {
    let is_done = |verb| verb != Verb::Correct;
    table.types.iter().filter(|kind| kind.verb.is_some_and(is_done)).map(|kind| kind.name.clone()).collect()
}

impl Daemon {
    /// Loads the parts and opens the database. Connects to no server.
    ///
    /// # Errors
    /// One sentence for the operator.
    pub async fn build(config: &Config) -> Result<Self> {
        Self::open(config, Parts::load(config)?).await
    }

    /// Opens the database, as the only daemon on it and on its Maildirs, and puts the parts together.
    ///
    /// # Errors
    /// The database cannot be used, or another daemon works on it or on one of the Maildirs.
    pub async fn open(config: &Config, parts: Parts) -> Result<Self> {
        let mut sole = vec![Sole::claim(&config.database)?];
        for maildir in &config.maildir {
            sole.push(Sole::claim_maildir(&maildir.path)?);
        }
        let store = Store::open(&config.database).await?;
        // The last run may have ended between an erasure and this.
        if let Err(error) = store.truncate_log().await {
            error!("what was erased may still be in the write-ahead log: {error:#}");
        }
        store.lose_answers().await?;
        let interrupted = store.flag_interrupted(Timestamp::now()).await?;
        if interrupted > 0 {
            error!(
                replies = interrupted,
                "replies of unknown fate: the last run ended while it sent them; see `privacyd outbox list --state unknown`"
            );
        }
        let interrupted = store.flag_interrupted_notices(Timestamp::now()).await?;
        if interrupted > 0 {
            error!(
                notices = interrupted,
                "notices of unknown fate: the last run ended while it sent them; see `privacyd notice status`"
            );
        }
        store.outdate_copies_of_before().await?;
        Self::assemble(config, parts, store, sole).await
    }

    /// The same beside a daemon that may be at work. It must not be run.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn beside(config: &Config, parts: Parts) -> Result<Self> {
        let store = Store::open(&config.database).await?;
        Self::assemble(config, parts, store, Vec::new()).await
    }

    async fn assemble(config: &Config, parts: Parts, store: Store, sole: Vec<Sole>) -> Result<Self> {
        let Parts {
            rules: Rules { table, reader, replies, clock },
            mailboxes,
            inspected,
            mailer,
            verifier,
            sources,
            tokens,
        } = parts;
        let is_correction = |kind: &&RequestType| kind.verb == Some(Verb::Correct);
        let corrections = match config.correction.fields.as_slice() {
            [] => Vec::new(),
            _ => table.types.iter().filter(is_correction).map(|kind| kind.name.clone()).collect(),
        };
        let carried_out = carried_out(&table);
        let pseudonyms = Pseudonyms::new(store.pseudonym_key().await?);
        let intake = Intake {
            store: store.clone(),
            reader: Arc::new(reader),
            table,
            replies,
            policy: Policy {
                fallback_language: config.language.clone(),
                replies_per_day: config.limits.replies_per_day,
                unproven_replies_per_domain: config.limits.unproven_replies_per_domain,
                unproven_replies_in_all: config.limits.unproven_replies_in_all,
                replies_per_thread: config.limits.replies_per_thread,
                data_points_needed: config.proof.data_points_needed,
                confirm_unsubscribe: config.unsubscribe.reply,
                clock,
                corrections,
            },
            notify: config.admin.notify.clone(),
            digest: config.admin.digest_at.map(|at| DigestPlan { at, carried_out }),
            proof: config.proof.clone(),
            hold_column: config.erasure.hold_column.clone(),
            withheld: withheld(config),
            folders: config.folders.clone(),
            verifier: verifier.map(Arc::new),
            pseudonyms,
            queued: Arc::new(Notify::new()),
            watch: Watch::over(mailboxes.iter().map(Mailbox::name)),
        };
        let intake = Arc::new(intake);
        let key = store.tombstone_key().await?;
        let work = Work::new(Arc::clone(&intake), sources, config, key);
        let outbox = Outbox::new(store, mailer);
        Ok(Self {
            mailboxes,
            inspected,
            notices: Notices::new(Arc::clone(&intake), outbox.mailer(), tokens),
            intake,
            work,
            outbox,
            config: config.clone(),
            _sole: sole,
        })
    }

    /// One full pass: every mailbox once, then everything that is due out. When `stop` is asked, what
    /// is in hand is finished and the rest left.
    ///
    /// # Errors
    /// The first thing that did not work; the rest has been done all the same.
    pub async fn run_once(mut self, stop: Stop) -> Result<Once> {
        let begun = Timestamp::now();
        let mut done = Once::default();
        let mut all_read = true;
        let mut failure = None;
        set_back(&self.intake.store).await;
        // The first is what the command ends with.
        let note = |failure: &mut Option<anyhow::Error>, error: anyhow::Error| match failure {
            None => *failure = Some(error),
            Some(_) => error!("{error:#}"),
        };
        let mut trusted = Vec::new();
        for mailbox in &mut self.mailboxes {
            let name = mailbox.name().to_owned();
            let refused = self.intake.store.refused_at(&name).await.unwrap_or_default();
            let suspected = match refused.and_then(|at| wait_after_refusal(at, Timestamp::now())) {
                // A timer that calls us every minute must not get the account locked.
                Some(_) => Err(anyhow::anyhow!(
                    "The login was refused a short time ago; privacyd check tries it at once"
                )),
                None => self.intake.suspect(mailbox, Timestamp::now()).await,
            };
            trusted.push((suspected.is_ok(), refused.is_some()));
            if let Err(error) = suspected {
                all_read = false;
                if is_refusal(&error) {
                    record_refusal(&self.intake.store, &name, Some(Timestamp::now())).await;
                }
                note(&mut failure, error.context(format!("Mailbox {name} failed")));
            }
        }
        // Replies go out while mail still comes in; what is queued last is sent last.
        let (read, finished) = watch::channel(false);
        let out = drain_until(self.outbox.clone(), Arc::clone(&self.intake), finished, stop.clone());
        let out = tokio::spawn(out);
        for (mailbox, (is_trusted, was_refused)) in self.mailboxes.iter_mut().zip(trusted) {
            if !is_trusted {
                continue;
            }
            let name = mailbox.name().to_owned();
            match self.intake.pass(mailbox, &|| stop.is_asked()).await {
                Ok(Passed { mails, unfiled, all_read: this_one }) => {
                    all_read &= this_one;
                    if was_refused {
                        record_refusal(&self.intake.store, &name, None).await;
                    }
                    info!(mailbox = name, mails, unfiled, "mailbox read");
                    if unfiled > 0 {
                        let error =
                            anyhow::anyhow!("Mailbox {name} refused to file {unfiled} mails: see the log");
                        note(&mut failure, error);
                    }
                    done.mails += mails;
                }
                Err(error) => {
                    all_read = false;
                    if is_refusal(&error) {
                        record_refusal(&self.intake.store, &name, Some(Timestamp::now())).await;
                    }
                    note(&mut failure, error.context(format!("Mailbox {name} failed")));
                }
            }
            mailbox.close().await;
        }
        // Whoever answered in time must not find his request expired, or carried out, because we had not read it.
        let read_until = (all_read && !stop.is_asked()).then_some(begun);
        if let Some(begun) = read_until
            && let Err(error) = self.intake.sweep(begun).await
        {
            note(&mut failure, error);
        }
        if let Err(error) = self.intake.warn(Timestamp::now()).await {
            note(&mut failure, error);
        }
        if !stop.is_asked()
            && let Err(error) = self.work.pass(Timestamp::now(), read_until, &stop).await
        {
            note(&mut failure, error);
        }
        if let Err(error) = self.intake.digest(Timestamp::now()).await {
            note(&mut failure, error);
        }
        if let Err(error) = purge(&self.intake.store, &self.config.retention, &stop).await {
            note(&mut failure, error);
        }
        let _ = read.send(true);
        match out.await.context("The outbox broke off")? {
            Ok((sent, own)) => (done.sent, done.told) = (sent, own),
            Err(error) => note(&mut failure, error),
        }
        if let Err(error) = self.notices.run(true, &stop).await {
            note(&mut failure, error);
        }
        if let Err(error) = self.intake.watch.record(&self.intake.store).await {
            note(&mut failure, error);
        }
        let now = Timestamp::now();
        match self.intake.store.standing(now.to_zoned_datetime(TimeZone::UTC).date(), now).await {
            Ok(standing) => (done.open, done.held) = (standing.requests_open, standing.requests_held),
            Err(error) => note(&mut failure, error),
        }
        self.intake.store.close().await;
        failure.map_or(Ok(done), Err)
    }

    /// Looks through all mailboxes for mail that the ledger does not account for.
    ///
    /// # Errors
    /// A mailbox or the store does not work.
    pub async fn reconcile(&mut self, stop: &Stop) -> Result<Reconciled> {
        let found = self.intake.reconcile(self.inspected.iter_mut().collect(), stop).await;
        self.intake.store.close().await;
        found
    }

    /// Runs until `stop` is asked, then finishes what is in hand and returns.
    ///
    /// # Errors
    /// The metrics have no place, or a loop broke off by a fault of ours.
    pub async fn run(self, stop: Stop) -> Result<()> {
        let metrics = metrics::bind(&self.config).await?;
        let mut loops = tokio::task::JoinSet::new();
        let mailboxes = self.mailboxes.len();
        let (mut senders, mut receivers) = (Vec::new(), Vec::new());
        for _ in &self.mailboxes {
            let (sender, receiver) = watch::channel(Seen::default());
            senders.push(sender);
            receivers.push(receiver);
        }
        let progress = Progress { mailboxes: receivers, started: Instant::now() };
        for (mailbox, seen) in self.mailboxes.into_iter().zip(senders) {
            let intake = Arc::clone(&self.intake);
            loops.spawn(mailbox_loop(mailbox, intake, self.config.poll_interval, seen, stop.clone()));
        }
        loops.spawn(work_loop(self.work, progress.clone(), stop.clone()));
        let intake = Arc::clone(&self.intake);
        loops.spawn(reconcile_loop(self.inspected, intake, progress.clone(), stop.clone()));
        if let Some(settings) = self.config.canary {
            loops.spawn(canary_loop(settings, Arc::clone(&self.intake), stop.clone()));
        }
        loops.spawn(clock_loop(
            Arc::clone(&self.intake),
            progress.clone(),
            self.config.retention.clone(),
            stop.clone(),
        ));
        loops.spawn(notice_loop(self.notices, progress.clone(), stop.clone()));
        if let Some(listener) = metrics {
            loops.spawn(metrics::serve(listener, self.config, self.intake.store.clone(), stop.clone()));
        }
        loops.spawn(outbox_loop(self.outbox, Arc::clone(&self.intake), progress, stop.clone()));
        let intake = Arc::clone(&self.intake);
        loops.spawn(async move { intake.watch.keep(&intake.store, &stop).await });
        info!(version = env!("CARGO_PKG_VERSION"), mailboxes, "privacyd runs");
        let _ = sd_notify::notify(&[
            sd_notify::NotifyState::Ready,
            sd_notify::NotifyState::Status(&self.intake.watch.status()),
        ]);
        while let Some(ended) = loops.join_next().await {
            ended.context("A loop broke off")?;
        }
        self.intake.store.close().await;
        info!("privacyd has stopped");
        Ok(())
    }
}

/// Sends what is queued until `finished`, and then once more; until `stop` at the most. Answers how many replies, and
/// how many letters to the operator, were sent.
async fn drain_until(
    outbox: Outbox,
    intake: Arc<Intake>,
    mut finished: watch::Receiver<bool>,
    stop: Stop,
) -> Result<(u64, u64)> {
    let (mut sent, mut own) = (0, 0);
    loop {
        // Register first, look second: what is queued in between still wakes us.
        let queued = intake.queued.notified();
        let last = *finished.borrow();
        let pass = outbox.drain(&stop).await?;
        (sent, own) = (sent + pass.sent, own + pass.own);
        if last {
            return Ok((sent, own));
        }
        tokio::select! {
            () = queued => {}
            _ = finished.changed() => {}
        }
    }
}

/// What is known of a mailbox since the start.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// It has been looked at whether it knows more than the database.
    is_trusted: bool,
    /// All that lay in it at this time has been read.
    read_until: Option<Timestamp>,
}

/// The same of all of them.
#[derive(Clone)]
struct Progress {
    mailboxes: Vec<watch::Receiver<Seen>>,
    started: Instant,
}

impl Progress {
    /// Until when every mailbox has been read; `None` where one has not been read yet.
    fn read_until(&self) -> Option<Timestamp> {
        self.mailboxes.iter().map(|seen| seen.borrow().read_until).min().flatten()
    }

    /// Whether the database may be older than the mailboxes: letters may have been sent, and systems asked, that
    /// it believes are still to be. One that cannot be reached for long must not silence the others for ever.
    fn is_doubtful(&self) -> bool {
        let is_trusted = |seen: &watch::Receiver<Seen>| seen.borrow().is_trusted;
        !self.mailboxes.iter().all(is_trusted) && !self.is_late()
    }

    /// Which mailboxes have been read to their end, in their order.
    fn read(&self) -> Vec<bool> {
        self.mailboxes.iter().map(|seen| seen.borrow().read_until.is_some()).collect()
    }

    /// Whether nobody waits any more for what has not been read by now.
    fn is_late(&self) -> bool {
        self.started.elapsed() >= LONGEST_DOUBT
    }
}

/// One mailbox, for ever: a pass, then a rest.
async fn mailbox_loop(
    mut mailbox: Mailbox,
    intake: Arc<Intake>,
    poll_interval: Duration,
    seen: watch::Sender<Seen>,
    stop: Stop,
) {
    let name = mailbox.name().to_owned();
    let mut failures = 0;
    let mut refused_at = intake.store.refused_at(&name).await.unwrap_or_default();
    // The server counts wrong passwords over restarts.
    if let Some(wait) = refused_at.and_then(|at| wait_after_refusal(at, Timestamp::now())) {
        let wait_s = wait.as_secs();
        error!(
            mailbox = name,
            wait_s, "the login was refused before the restart; privacyd check tries it at once"
        );
        stop.rest(wait).await;
    }
    while !stop.is_asked() {
        let begun = Timestamp::now();
        let passed = async {
            if !seen.borrow().is_trusted {
                intake.suspect(&mut mailbox, Timestamp::now()).await?;
                seen.send_modify(|seen| seen.is_trusted = true);
                intake.queued.notify_one();
            }
            intake.pass(&mut mailbox, &|| stop.is_asked()).await
        };
        let rest = match passed.await {
            Ok(Passed { mails, unfiled, all_read }) => {
                if failures > 0 {
                    info!(mailbox = name, "mailbox works again");
                }
                if mails > 0 {
                    info!(mailbox = name, mails, unfiled, "mailbox read");
                }
                failures = 0;
                if refused_at.take().is_some() {
                    record_refusal(&intake.store, &name, None).await;
                }
                if all_read {
                    seen.send_modify(|seen| seen.read_until = Some(begun));
                }
                poll_interval
            }
            Err(error) => {
                failures += 1;
                intake.watch.failed(&name);
                let refused = is_refusal(&error);
                let wait = if refused { AFTER_REFUSED_LOGIN } else { back_off(failures) };
                if refused {
                    refused_at = Some(Timestamp::now());
                    record_refusal(&intake.store, &name, refused_at).await;
                }
                error!(mailbox = name, failures, wait_s = wait.as_secs(), "mailbox failed: {error:#}");
                wait
            }
        };
        stop.rest(rest).await;
    }
    mailbox.close().await;
}

fn is_refusal(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<LoginRefused>())
}

async fn record_refusal(store: &Store, mailbox: &str, at: Option<Timestamp>) {
    if let Err(error) = store.record_refusal(mailbox, at).await {
        error!("{error:#}");
    }
}

/// How long is still to be waited after a login that was refused at `at`.
fn wait_after_refusal(at: Timestamp, now: Timestamp) -> Option<Duration> {
    // A clock that was set back makes no wait longer.
    let gone = Duration::try_from(now.duration_since(at)).unwrap_or_default();
    AFTER_REFUSED_LOGIN.checked_sub(gone).filter(|wait| !wait.is_zero())
}

/// What time brings, for ever: reminders and expiries, looked for once a minute; but only as far as every
/// mailbox has been read, or somebody who answered in time would find his request expired. And warnings, and once a
/// day the digest and the purge.
async fn clock_loop(intake: Arc<Intake>, progress: Progress, retention: Retention, stop: Stop) {
    let mut purged: Option<Timestamp> = None;
    while !stop.is_asked() {
        set_back(&intake.store).await;
        if let Some(now) = progress.read_until()
            && let Err(error) = intake.sweep(now).await
        {
            error!("reminders and expiries failed: {error:#}");
        }
        // Whatever the mailboxes do: one that is down must not silence what runs short of time.
        if let Err(error) = intake.warn(Timestamp::now()).await {
            error!("warnings of due dates failed: {error:#}");
        }
        if let Err(error) = intake.digest(Timestamp::now()).await {
            error!("the daily digest failed: {error:#}");
        }
        let now = Timestamp::now();
        let a_day = jiff::SignedDuration::from_hours(24);
        // The clock may have been ahead.
        if purged.is_none_or(|last| last > now || now.duration_since(last) >= a_day) {
            purged = Some(now);
            if let Err(error) = purge(&intake.store, &retention, &stop).await {
                error!("the purge failed: {error:#}");
            }
        }
        stop.rest(Duration::from_secs(60)).await;
    }
}

/// Completeness, for ever: every night at three by our calendar, and once a day at the least, after the mailboxes
/// have been read; an hour after the start, those that have been.
async fn reconcile_loop(mut mailboxes: Vec<Mailbox>, intake: Arc<Intake>, progress: Progress, stop: Stop) {
    let zone = TimeZone::get(intake.policy.clock.calendar().zone_name()).unwrap_or(TimeZone::UTC);
    let mut failures = 0;
    while !stop.is_asked() {
        let read = progress.read();
        // One that cannot be read for long must not keep the others from being looked through.
        let is_read = !read.contains(&false) || progress.is_late() && read.contains(&true);
        let rest = match is_read && is_reconcile_due(&intake.store, &zone, Timestamp::now()).await {
            false => Duration::from_secs(60),
            true => match intake.reconcile(those(&mut mailboxes, &read), &stop).await {
                Ok(_) => {
                    failures = 0;
                    Duration::from_secs(60)
                }
                Err(error) => {
                    failures += 1;
                    error!(failures, "the mailboxes cannot be looked through: {error:#}");
                    AFTER_FAILED_LOOK
                }
            },
        };
        // The first look comes soon after the first read.
        stop.rest(if is_read { rest } else { Duration::from_secs(1) }).await;
    }
}

/// The mailboxes that have been read.
fn those<'a>(mailboxes: &'a mut [Mailbox], read: &[bool]) -> Vec<&'a mut Mailbox> {
    mailboxes.iter_mut().zip(read).filter(|(_, is_read)| **is_read).map(|(mailbox, _)| mailbox).collect()
}

async fn is_reconcile_due(store: &Store, zone: &TimeZone, now: Timestamp) -> bool {
    let last = match store.reconciliation().await {
        Ok(last) => last.and_then(|last| last.at),
        Err(error) => {
            error!("{error:#}");
            return false;
        }
    };
    last.is_none_or(|last| last < latest_three(zone, now))
}

/// The latest three o'clock in the morning by `zone`; the hour after where clocks are set forward just then.
fn latest_three(zone: &TimeZone, now: Timestamp) -> Timestamp {
    let today = now.to_zoned_datetime(zone.clone()).date();
    let three = |date: Date| zone.to_timestamp(date.at(3, 0, 0, 0)).ok();
    let yesterday = today.yesterday().ok().and_then(three);
    three(today).filter(|at| *at <= now).or(yesterday).unwrap_or(now)
}

/// Mail to ourselves, for ever: looked after once a minute.
async fn canary_loop(settings: CanaryConfig, intake: Arc<Intake>, stop: Stop) {
    let started = Timestamp::now();
    while !stop.is_asked() {
        if let Err(error) = intake.canary(&settings, started, Timestamp::now()).await {
            error!("the canary failed: {error:#}");
        }
        stop.rest(Duration::from_secs(60)).await;
    }
}

/// The work on approved requests, for ever: looked for every few seconds.
async fn work_loop(work: Work, progress: Progress, stop: Stop) {
    let mut failures = 0;
    while !stop.is_asked() {
        if progress.is_doubtful() {
            stop.rest(Duration::from_secs(1)).await;
            continue;
        }
        let rest = match work.pass(Timestamp::now(), progress.read_until(), &stop).await {
            Ok(_) => {
                failures = 0;
                WORK_INTERVAL
            }
            Err(error) => {
                failures += 1;
                error!(failures, "the work on requests failed: {error:#}");
                back_off(failures)
            }
        };
        stop.rest(rest).await;
    }
}

/// Rights what was dated while the clock was ahead.
async fn set_back(store: &Store) {
    match store.set_back(Timestamp::now()).await {
        Ok(None) => {}
        Ok(Some(newest)) => error!(
            %newest,
            "the clock was ahead, up to this time at the least, and was set back: what was dated meanwhile is due now; \
             see what was reminded of, expired and purged"
        ),
        Err(error) => error!("what was dated while the clock was ahead cannot be righted: {error:#}"),
    }
}

/// Purges what is older than it may be.
async fn purge(store: &Store, retention: &Retention, stop: &Stop) -> Result<()> {
    let now = Timestamp::now();
    let purged = store.purge(&retention.cutoffs(now)?, now, &|| stop.is_asked()).await?;
    if !purged.is_nothing() {
        let Purged { requests, events, texts, replies, messages } = purged;
        info!(requests, events, texts, replies, messages, "old records purged");
    }
    Ok(())
}

/// The outbox, for ever: whatever is due, then a rest until more is queued or comes due.
async fn outbox_loop(outbox: Outbox, intake: Arc<Intake>, progress: Progress, stop: Stop) {
    let mut failures = 0;
    while !stop.is_asked() {
        // Register first, look second: what is queued in between still wakes us.
        let queued = intake.queued.notified();
        intake.store.hold_back(progress.is_doubtful());
        let rest = match outbox.drain(&stop).await {
            Ok(_) => {
                failures = 0;
                until_due(&intake.store).await
            }
            Err(error) => {
                failures += 1;
                let wait = back_off(failures);
                warn!(failures, wait_s = wait.as_secs(), "outbox failed: {error:#}");
                // Newly queued mail does not make a server that is down come back sooner.
                stop.rest(wait).await;
                continue;
            }
        };
        tokio::select! {
            () = queued => {}
            () = tokio::time::sleep(rest) => {}
            () = stop.asked() => {}
        }
    }
}

/// Notices to everybody, for ever: what is due, within its rate; whether there is a new one is looked for
/// several times a minute.
async fn notice_loop(notices: Notices, progress: Progress, stop: Stop) {
    let mut failures = 0;
    while !stop.is_asked() {
        if progress.is_doubtful() {
            stop.rest(Duration::from_secs(1)).await;
            continue;
        }
        let rest = match notices.run(false, &stop).await {
            Ok(_) => {
                failures = 0;
                Duration::from_secs(10)
            }
            Err(error) => {
                failures += 1;
                let wait = back_off(failures);
                warn!(failures, wait_s = wait.as_secs(), "notices failed: {error:#}");
                wait
            }
        };
        stop.rest(rest).await;
    }
}

/// How long until the next reply is due; a minute where nothing is known.
async fn until_due(store: &Store) -> Duration {
    let minute = Duration::from_secs(60);
    let now = Timestamp::now();
    match store.due(now).await {
        Ok((0, Some(next))) => Duration::try_from(next.duration_since(now))
            .unwrap_or_default()
            .clamp(Duration::from_secs(1), minute),
        Ok((0, None)) | Err(_) => minute,
        Ok(_) => Duration::from_millis(10),
    }
}

/// 1 s, 2 s, 4 s … five minutes, each with up to a half more, so that many do not come back at once.
fn back_off(failures: u32) -> Duration {
    let wait = Duration::from_secs(1 << failures.saturating_sub(1).min(9)).min(LONGEST_WAIT);
    let mut byte = [0];
    // Without randomness the wait is only less spread.
    let _ = getrandom::fill(&mut byte);
    let [byte] = byte;
    wait + wait * u32::from(byte) / 510
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_refused_login_a_restart_waits_for_the_rest() {
        let at = |minute: i64| Timestamp::from_second(60 * minute).unwrap();
        let wait = |now| wait_after_refusal(at(100), at(now)).map(|wait| wait.as_secs() / 60);
        assert_eq!(
            [wait(90), wait(100), wait(104), wait(115), wait(200)],
            [Some(15), Some(15), Some(11), None, None]
        );
    }

    #[test]
    fn the_latest_three_in_the_morning_is_by_the_calendars_zone() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        for (now, three) in [
            ("2026-11-23T02:00:00Z", "2026-11-23T02:00:00Z"),
            ("2026-11-23T01:59:59Z", "2026-11-22T02:00:00Z"),
            ("2026-11-23T23:30:00Z", "2026-11-23T02:00:00Z"),
            // Two becomes three, and three becomes two.
            ("2026-03-29T00:59:59Z", "2026-03-28T02:00:00Z"),
            ("2026-03-29T01:00:00Z", "2026-03-29T01:00:00Z"),
            ("2026-10-25T01:30:00Z", "2026-10-24T01:00:00Z"),
            ("2026-10-25T02:00:00Z", "2026-10-25T02:00:00Z"),
        ] {
            let (now, three): (Timestamp, Timestamp) = (now.parse().unwrap(), three.parse().unwrap());
            assert_eq!(latest_three(&berlin, now), three, "{now}");
        }
    }

    #[tokio::test]
    async fn the_mailboxes_are_looked_through_once_after_every_three_in_the_morning() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("privacyd.db")).await.unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let is_due = async |now: &str| is_reconcile_due(&store, &TimeZone::UTC, at(now)).await;
        assert!(is_due("2026-11-23T10:00:00Z").await, "never yet");
        store.record_reconciliation(&Reconciled::default(), at("2026-11-23T20:00:00Z")).await.unwrap();
        assert!(!is_due("2026-11-24T02:59:59Z").await);
        assert!(is_due("2026-11-24T03:00:00Z").await, "seven hours later all the same");
        assert!(is_due("2026-11-24T09:00:00Z").await, "and also if nothing ran at three");
        store.record_reconciliation(&Reconciled::default(), at("2026-11-24T03:00:20Z")).await.unwrap();
        assert!(!is_due("2026-11-24T03:59:00Z").await);
        assert!(!is_due("2026-11-25T02:59:00Z").await);
        store.close().await;
    }
}
