//! A folder on an IMAP server, read by UID and never by flags: a colleague who opens a mail does not
//! hide it from us.
//!
//! Only UID commands are used, of a fixed grammar: numbers, and folder names that `config` has
//! checked. Nothing is ever expunged but what we have just copied, and never with a bare EXPUNGE,
//! which would remove what other people have marked.
//!
//! ## Why
//! The session is taken out of its place for every piece of work and put back only after success. An
//! error, a time limit or a dropped future thus cannot leave a session behind that still owes the
//! answer to an earlier command.

mod folders;
mod listing;
mod mark;
mod whole;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::ops::RangeInclusive;

use anyhow::{Context as _, Result, bail};
use imap_proto::{AttributeValue, MailboxDatum, Response, ResponseCode};
use jiff::Timestamp;
use tokio_rustls::TlsConnector;
use tracing::{debug, error, warn};

pub use mark::NoMark;

use super::session::{No, Patience, SMALL, Session, quoted};
use super::wire::Room;
use super::{Body, Bounds, Cursor, Fetched, MailId, Window};
use crate::config::{ImapConfig, ImapTls};

/// UIDs listed with one command, at first and at the most.
const LIST_WIDTH: RangeInclusive<u32> = 2_000..=200_000;
/// UIDs and characters in the set of one command that files mail.
const SET_UIDS: usize = 2_000;
const SET_CHARS: usize = 8_000;
/// Filing commands under way at once. Few enough that both sides' socket buffers hold them.
const IN_FLIGHT: usize = 8;
/// Attempts at one mail before it is handed out as [`Body::Missing`], and at listing it alone.
const ATTEMPTS: u8 = 3;

/// A folder on an IMAP server.
pub struct Imap {
    settings: ImapConfig,
    bounds: Bounds,
    patience: Patience,
    tls: Option<TlsConnector>,
    session: Option<Session>,
    pass: Pass,
    /// What lies below the cursor that the pass began after.
    below: Pass,
    /// Folders that this session has filed into.
    known_folders: HashSet<String>,
    /// Mails to fetch with one command: 1 after a failure, then twice as many after each success.
    window_mails: usize,
    /// Failed attempts at mails. They outlast the session, and looks into other folders.
    failures: HashMap<Which, u8>,
    /// Folders whose listing has failed, by name and UIDVALIDITY. That outlasts them too.
    narrowed: HashMap<(String, u32), listing::Narrow>,
    /// Whether listing or fetching a mail has failed since the last look began.
    stumbled: bool,
    /// Mails that have their copy and are still in the inbox, and how often the server was asked to let them go.
    leftovers: HashMap<Which, u8>,
    warned_of_leftovers: bool,
    /// What we have filed since the folders were last looked into.
    filed: folders::Filed,
    /// Looks into a folder that failed one after the other.
    failed_looks: HashMap<String, u8>,
    marks_refused_at: Option<std::time::Instant>,
    is_known_as_marked: bool,
}

/// How far the listing of the folder has come, and what of it is not yet handed out.
#[derive(Debug, Default)]
struct Pass {
    validity: u32,
    /// Of ranges that are not listed yet the first UID, and the last there is to list. None: all is listed.
    unlisted: VecDeque<(u32, Option<u32>)>,
    /// Whether they were chosen among the mails that lie there: what is not listed of them is there all the same.
    is_chosen: bool,
    width: u32,
    listed: VecDeque<Listed>,
    /// Mails that are not handed out yet, at the most.
    waiting: u64,
}

/// A mail of a folder: the folder's name, its UIDVALIDITY, and the UID.
type Which = (String, u32, u32);

/// One command that files mails into one folder.
struct Filing<'a> {
    folder: &'a str,
    uids: Vec<u32>,
    command: String,
}

/// A mail in the folder.
#[derive(Debug, Clone, Copy)]
struct Listed {
    uid: u32,
    size: u64,
    received: Timestamp,
}

/// What SELECT or EXAMINE told of the folder (RFC 3501 §6.3.1).
#[derive(Debug, Default)]
struct Selected {
    validity: Option<u32>,
    uid_next: Option<u32>,
    exists: u32,
    read_only: bool,
}

impl Imap {
    /// Prepares TLS. Connects later.
    ///
    /// # Errors
    /// When the CA file is unusable.
    pub fn new(settings: ImapConfig, bounds: Bounds) -> Result<Self> {
        let tls = match settings.tls {
            ImapTls::Implicit => {
                Some(TlsConnector::from(crate::tls::client_config(settings.ca_file.as_deref())?))
            }
            ImapTls::None => None,
        };
        Ok(Self {
            patience: Patience::default().at_most(settings.patience),
            settings,
            bounds,
            tls,
            session: None,
            pass: Pass::default(),
            below: Pass::default(),
            known_folders: HashSet::new(),
            window_mails: bounds.window_mails,
            failures: HashMap::new(),
            narrowed: HashMap::new(),
            stumbled: false,
            leftovers: HashMap::new(),
            warned_of_leftovers: false,
            filed: folders::Filed::default(),
            failed_looks: HashMap::new(),
            marks_refused_at: None,
            is_known_as_marked: false,
        })
    }

    /// The configured name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// See [`super::Mailbox::look`]. SELECTs anew in every pass, which is how a changed UIDVALIDITY is seen.
    ///
    /// # Errors
    /// As there.
    pub async fn look(&mut self, cursor: Cursor) -> Result<Cursor> {
        self.stumbled = false;
        let mut session = self.take_session().await?;
        let mut selected = self.select(&mut session, "SELECT").await?;
        let validity =
            selected.validity.context("The server has no UIDVALIDITY, so its UIDs mean nothing")?;
        if selected.read_only {
            warn!(mailbox = %self.settings.name, "the inbox is read-only: mail cannot be filed");
        }
        let inbox = &self.settings.inbox;
        self.failures.retain(|(folder, under, _), _| folder != inbox || *under == validity);
        self.narrowed.retain(|(folder, under), _| folder != inbox || *under == validity);
        self.leftovers.retain(|(folder, under, _), _| folder != inbox || *under == validity);
        let mut last_uid = if validity == cursor.validity { cursor.last_uid } else { 0 };
        if validity != cursor.validity && cursor.validity != 0 {
            warn!(mailbox = %self.settings.name, folder = inbox, before = cursor.validity, now = validity, "the server has given the folder another UIDVALIDITY: all of it is read again, and what is known by its bytes causes nothing");
        }
        if selected.uid_next.is_some_and(|next| next <= last_uid) {
            // As after a restored backup: what came since has numbers that we believe to be done with.
            // Everything is read again; what is known by its bytes causes nothing.
            warn!(mailbox = %self.settings.name, "the server's UIDNEXT is lower than a UID it gave before: reading all of it");
            (last_uid, selected.uid_next) = (0, None);
            // Nor are the numbers those of the mails that were left or failed.
            self.failures.retain(|(folder, ..), _| folder != inbox);
            self.leftovers.retain(|(folder, ..), _| folder != inbox);
        }
        let is_listed_in_parts = selected.exists > *LIST_WIDTH.start() || self.is_narrowed(validity);
        if selected.uid_next.is_none() && is_listed_in_parts {
            selected.uid_next = self.highest(&mut session).await?.and_then(|uid| uid.checked_add(1));
        }
        self.pass = Pass::after(last_uid, validity, &selected);
        self.below = Pass::up_to(last_uid, &selected);
        if !self.leftovers.is_empty() {
            self.remove_leftovers(&mut session).await?;
        }
        self.session = Some(session);
        Ok(Cursor { validity, last_uid })
    }

    /// See [`super::Mailbox::next_window`].
    ///
    /// # Errors
    /// As there.
    pub async fn next_window(&mut self) -> Result<Window> {
        let mut session =
            self.session.take().context("The mailbox has no session; a pass has to begin first")?;
        let mails = self.fetch_window(&mut session).await?;
        self.session = Some(session);
        let waiting = self.pass.waiting.saturating_sub(mails.len() as u64);
        self.pass.waiting = if mails.is_empty() { 0 } else { waiting };
        Ok(Window { validity: self.pass.validity, mails })
    }

    /// See [`super::Mailbox::waiting`].
    pub fn waiting(&self) -> u64 {
        self.pass.waiting
    }

    /// See [`super::Mailbox::file`].
    ///
    /// # Errors
    /// As there.
    pub async fn file(&mut self, moves: &[(MailId, String)]) -> Result<HashSet<MailId>> {
        let mut folders: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
        // What has its copy since an earlier attempt, which ended before it was out of the inbox.
        let mut copied = BTreeSet::new();
        for (id, folder) in moves {
            let MailId::Uid(uid) = id else { bail!("A file name is no id in an IMAP folder") };
            if self.leftovers.contains_key(&self.which(*uid)) {
                copied.insert(*uid);
            } else {
                folders.entry(folder).or_default().insert(*uid);
            }
        }
        if moves.is_empty() {
            return Ok(HashSet::new());
        }
        let mut session =
            self.session.take().context("The mailbox has no session; a pass has to begin first")?;
        let verb = if session.can("MOVE") { "UID MOVE" } else { "UID COPY" };
        let refused = self.put_into_folders(&mut session, verb, &folders).await?;
        if verb == "UID COPY" {
            // Only what has its copy may go. A process that ends between the two leaves a mail in both
            // folders, and the next one copies it once more: a copy too many is the price of none lost.
            let fresh = folders.into_values().flatten().filter(|uid| !refused.contains(uid));
            self.remove(&mut session, &fresh.collect()).await?;
        }
        // It counts as filed from here on, whatever the looks to come can do about it.
        self.forget_leftovers(&copied);
        self.session = Some(session);
        Ok(refused.into_iter().map(MailId::Uid).collect())
    }

    /// See [`super::Mailbox::probe`]. On a connection of its own.
    ///
    /// # Errors
    /// As there.
    pub async fn probe(&mut self) -> Result<String> {
        let mut session = self.connect().await?;
        let selected = self.select(&mut session, "EXAMINE").await?;
        let mut found = vec![format!("{} messages", selected.exists)];
        found.extend(["MOVE", "UIDPLUS"].into_iter().filter(|name| session.can(name)).map(str::to_owned));
        session.log_out(self.patience.logout).await;
        Ok(found.join(", "))
    }

    /// Ends the session, politely if that is quick.
    pub async fn close(&mut self) {
        if let Some(session) = self.session.take() {
            session.log_out(self.patience.logout).await;
        }
    }

    async fn connect(&self) -> Result<Session> {
        let session = Session::open(&self.settings, self.tls.as_ref(), &self.patience).await?;
        debug!(mailbox = %self.settings.name, "logged in");
        Ok(session)
    }

    async fn select(&self, session: &mut Session, verb: &str) -> Result<Selected> {
        self.select_folder(session, verb, &self.settings.inbox).await
    }

    async fn select_folder(&self, session: &mut Session, verb: &str, folder: &str) -> Result<Selected> {
        let command = format!("{verb} {}", quoted(folder)?);
        let mut selected = Selected::default();
        session
            .command(command, SMALL, self.patience.quick, |response| match response {
                Response::MailboxData(MailboxDatum::Exists(count)) => selected.exists = *count,
                Response::Data { outcome, .. } | Response::Done { outcome, .. } => match outcome.code {
                    Some(ResponseCode::UidValidity(validity)) => selected.validity = Some(validity),
                    Some(ResponseCode::UidNext(uid)) => selected.uid_next = Some(uid),
                    Some(ResponseCode::ReadOnly) => selected.read_only = true,
                    _ => {}
                },
                _ => {}
            })
            .await?;
        Ok(selected)
    }

    /// The next mails with their bodies, none when the pass is through.
    async fn fetch_window(&mut self, session: &mut Session) -> Result<Vec<Fetched>> {
        loop {
            while self.pass.listed.is_empty() {
                let Some(listed) = self.list_next(session).await? else { return Ok(Vec::new()) };
                self.pass.note(listed);
            }
            // A window all of whose mails are gone is not the end of the pass.
            let mails = self.fetch_listed(session).await?;
            if !mails.is_empty() {
                return Ok(mails);
            }
        }
    }

    /// The highest UID of the folder, so that what has no UIDNEXT is listed in steps as well. None where the server does
    /// not say: then there is nothing any more, or only an open range tells.
    async fn highest(&self, session: &mut Session) -> Result<Option<u32>> {
        let mut highest = None;
        session
            .command("UID FETCH * (UID)".to_owned(), SMALL, self.patience.fetch, |response| {
                if let Response::Fetch(_, attributes) = response {
                    highest = highest.max(uid_of(attributes));
                }
            })
            .await?;
        Ok(highest)
    }

    /// The UIDs of a range that there are, in their order.
    async fn numbers(
        &self,
        session: &mut Session,
        (first, last): (u32, Option<u32>),
    ) -> Result<BTreeSet<u32>> {
        let mut found = BTreeSet::new();
        session
            .command(
                format!("UID FETCH {} (UID)", range(first, last)),
                LISTING,
                self.patience.fetch,
                |response| {
                    if let Response::Fetch(_, attributes) = response {
                        found.extend(uid_of(attributes).filter(|uid| is_within(*uid, first, last)));
                    }
                },
            )
            .await?;
        Ok(found)
    }

    /// Size and date of every mail in a range of UIDs, in their order.
    async fn list(&self, session: &mut Session, range: (u32, Option<u32>)) -> Result<Vec<Listed>> {
        let (told, done) = self.ask_about(session, range, listing::BOTH).await;
        done?;
        Ok(told.into_iter().map(|(uid, told)| told.listed(uid)).collect())
    }

    /// What the server tells of every mail in a range of UIDs, in their order, when it is asked for these items one after
    /// the other; also what it has told before it fails.
    async fn ask_about(
        &self,
        session: &mut Session,
        (first, last): (u32, Option<u32>),
        items: &[&str],
    ) -> (BTreeMap<u32, listing::Told>, Result<()>) {
        let command = |items: &&str| format!("UID FETCH {} (UID {items})", range(first, last));
        let commands: Vec<String> = items.iter().map(command).collect();
        let mut told: BTreeMap<u32, listing::Told> = BTreeMap::new();
        let replies = session
            .batch(&commands, LISTING, self.patience.fetch, |response| {
                let Response::Fetch(_, attributes) = response else { return };
                let Some(uid) = uid_of(attributes).filter(|uid| is_within(*uid, first, last)) else { return };
                for attribute in attributes {
                    match attribute {
                        AttributeValue::Rfc822Size(size) => {
                            told.entry(uid).or_default().size = Some((*size).into());
                        }
                        AttributeValue::InternalDate(date) => {
                            told.entry(uid).or_default().received = Some(internal_date(date));
                        }
                        _ => {}
                    }
                }
            })
            .await;
        let done = replies.and_then(|replies| Ok(replies.into_iter().collect::<Result<(), No>>()?));
        (told, done)
    }

    /// Fetches the first of the listed mails. Mails that are gone by now are left out.
    async fn fetch_listed(&mut self, session: &mut Session) -> Result<Vec<Fetched>> {
        let mut window = self.pass.take(&self.bounds, self.window_mails);
        let wanted = window.iter().filter(|mail| self.is_wanted(mail)).copied();
        let (large, wanted): (Vec<Listed>, Vec<Listed>) = wanted.partition(|mail| self.is_too_large(mail));
        let mut bodies = self.fetch(session, &wanted).await?;
        bodies.extend(self.fetch(session, &large).await?);
        let mut mails = Vec::with_capacity(window.len());
        while let Some(mail) = window.pop_front() {
            let (size, body) = if self.is_too_large(&mail) {
                match bodies.remove(&mail.uid) {
                    None if self.is_wanted(&mail) && !self.is_named(session, mail.uid).await? => continue,
                    body => self.begun(&mail, body.flatten().unwrap_or_default()),
                }
            } else if !self.is_wanted(&mail) {
                (mail.size, Body::Missing)
            } else if let Some(bytes) = bodies.remove(&mail.uid).flatten() {
                self.arrived(&mail, bytes)
            } else if mails.is_empty() {
                match self.fetch_again(session, &mail).await? {
                    Some(found) => found,
                    None => continue,
                }
            } else {
                // Those before it are handed out first, so that it holds up nobody but itself.
                window.push_front(mail);
                break;
            };
            mails.push(Fetched { id: MailId::Uid(mail.uid), size, received: mail.received, body });
        }
        window.append(&mut self.pass.listed);
        self.pass.listed = window;
        self.window_mails = self.window_mails.saturating_mul(2).min(self.bounds.window_mails);
        Ok(mails)
    }

    /// Asks alone for a mail that came without a body; `None` when it is gone.
    async fn fetch_again(&mut self, session: &mut Session, mail: &Listed) -> Result<Option<(u64, Body)>> {
        match self.fetch_alone(session, mail).await? {
            Some((_, Body::Missing)) => {
                self.note_failure(mail.uid);
                if self.is_wanted(mail) {
                    bail!("The server gives no body for the mail with UID {}", mail.uid);
                }
                Ok(Some((mail.size, Body::Missing)))
            }
            answered => Ok(answered),
        }
    }

    /// A mail that is asked for alone; `None` when it is gone, [`Body::Missing`] when it is there and has no body.
    async fn fetch_alone(&mut self, session: &mut Session, mail: &Listed) -> Result<Option<(u64, Body)>> {
        match self.fetch(session, &[*mail]).await?.remove(&mail.uid) {
            Some(Some(bytes)) => Ok(Some(self.arrived(mail, bytes))),
            // There are servers that leave out what they cannot give.
            None if !self.is_named(session, mail.uid).await? => Ok(None),
            None | Some(None) => Ok(Some((mail.size, Body::Missing))),
        }
    }

    /// Whether the server names a mail when it is asked for nothing else: one that it does not name is gone.
    async fn is_named(&mut self, session: &mut Session, uid: u32) -> Result<bool> {
        let named = self.numbers(session, (uid, Some(uid))).await;
        if named.is_err() {
            self.note_failure(uid);
        }
        Ok(!named?.is_empty())
    }

    /// Size and kind of a body that has come.
    fn arrived(&mut self, mail: &Listed, bytes: Vec<u8>) -> (u64, Body) {
        self.failures.remove(&self.which(mail.uid));
        let length = bytes.len() as u64;
        if length < self.bounds.read_limit {
            (length, Body::Whole(bytes))
        } else {
            // Whether there is more, a server that reports wrong sizes leaves open.
            (mail.size.max(length), Body::Head(bytes))
        }
    }

    /// The same of the beginning of a mail that counts as too large. Where its size is not known, that may be all of it.
    fn begun(&self, mail: &Listed, bytes: Vec<u8>) -> (u64, Body) {
        let length = bytes.len() as u64;
        if mail.size == u64::MAX && (1..self.bounds.fetched_of(u64::MAX)).contains(&length) {
            (length, Body::Whole(bytes))
        } else {
            (mail.size, Body::TooLarge(bytes))
        }
    }

    fn is_too_large(&self, mail: &Listed) -> bool {
        mail.size > self.bounds.max_message_size
    }

    /// Whether a mail's bytes are to be fetched: that has not failed too often.
    fn is_wanted(&self, mail: &Listed) -> bool {
        self.failures.get(&self.which(mail.uid)).is_none_or(|failed| *failed < ATTEMPTS)
    }

    /// The mail with this UID in the folder that is read.
    fn which(&self, uid: u32) -> Which {
        (self.settings.inbox.clone(), self.pass.validity, uid)
    }

    fn note_failure(&mut self, uid: u32) {
        (self.window_mails, self.stumbled) = (1, true);
        let failed = self.failures.entry(self.which(uid)).or_default();
        *failed = failed.saturating_add(1);
        warn!(mailbox = %self.settings.name, mail.uid = uid, failed, "a mail could not be fetched");
    }

    /// The bodies of `mails`, or their beginnings, by UID: absent when the server did not list the mail, `None` when it
    /// listed the mail and gave no body.
    async fn fetch(
        &mut self,
        session: &mut Session,
        mails: &[Listed],
    ) -> Result<HashMap<u32, Option<Vec<u8>>>> {
        let mut bodies: HashMap<u32, Option<Vec<u8>>> = HashMap::new();
        if mails.is_empty() {
            return Ok(bodies);
        }
        // All of them are too large, or none is: see `fetch_listed`.
        let limit = match mails.iter().all(|mail| self.is_too_large(mail)) {
            true => self.bounds.fetched_of(u64::MAX),
            false => self.bounds.read_limit,
        };
        let sizes: HashMap<u32, u64> = mails.iter().map(|mail| (mail.uid, mail.size)).collect();
        let set = uid_set(&mails.iter().map(|mail| mail.uid).collect::<Vec<_>>());
        let command = format!("UID FETCH {set} (UID BODY.PEEK[]<0.{limit}>)");
        // Sizes are often a little wrong. Where they are lies, mails come one by one after this.
        let expected: u64 = mails.iter().map(|mail| mail.size.min(limit) + 1024).sum();
        let room = Room { literal: limit, total: 2 * expected + limit + SMALL.total };
        let fetched = session.command(command, room, self.patience.fetch, |response| {
            let Response::Fetch(_, attributes) = response else { return };
            let Some((uid, size)) = uid_of(attributes).and_then(|uid| sizes.get_key_value(&uid)) else { return };
            let body = bodies.entry(*uid).or_default();
            for attribute in attributes {
                if let AttributeValue::BodySection { section: None, index: None | Some(0), data: Some(data) } = attribute
                    // Exchange answers a mail that it cannot convert with an empty one.
                    && !(data.is_empty() && *size > 0)
                {
                    *body = Some(data.to_vec());
                }
            }
        });
        if let Err(error) = fetched.await {
            (self.window_mails, self.stumbled) = (1, true);
            if let [only] = mails {
                self.note_failure(only.uid);
            }
            return Err(error);
        }
        Ok(bodies)
    }

    /// Runs `verb` for every folder, making folders that are missing. Answers the mails that were refused.
    async fn put_into_folders(
        &mut self,
        session: &mut Session,
        verb: &str,
        folders: &BTreeMap<&str, BTreeSet<u32>>,
    ) -> Result<BTreeSet<u32>> {
        let mut filings = Vec::new();
        for (folder, uids) in folders {
            let name = quoted(folder)?;
            filings.extend(uid_sets(uids).into_iter().map(|(uids, set)| Filing {
                folder,
                uids,
                command: format!("{verb} {set} {name}"),
            }));
        }
        let mut refused = BTreeSet::new();
        let mut again: Vec<Filing<'_>> = Vec::new();
        for (filing, no) in self.run(session, filings).await? {
            if self.known_folders.contains(filing.folder) && !no.try_create() {
                self.note_refusal(&filing, &no);
                refused.extend(filing.uids);
                continue;
            }
            if !again.iter().any(|other| other.folder == filing.folder) {
                self.create(session, filing.folder).await?;
            }
            again.push(filing);
        }
        for (filing, no) in self.run(session, again).await? {
            self.note_refusal(&filing, &no);
            refused.extend(filing.uids);
        }
        Ok(refused)
    }

    fn note_refusal(&self, filing: &Filing<'_>, no: &No) {
        let (mailbox, folder, mails) = (&self.settings.name, filing.folder, filing.uids.len());
        error!(%mailbox, folder, mails, "mail cannot be filed and stays in the inbox: {no}");
    }

    /// Runs commands a few at a time and answers those that were refused.
    async fn run<'a>(
        &mut self,
        session: &mut Session,
        filings: Vec<Filing<'a>>,
    ) -> Result<Vec<(Filing<'a>, No)>> {
        let mut refused = Vec::new();
        let mut filings = filings.into_iter().peekable();
        while filings.peek().is_some() {
            let batch: Vec<Filing<'a>> = filings.by_ref().take(IN_FLIGHT).collect();
            let commands: Vec<String> = batch.iter().map(|filing| filing.command.clone()).collect();
            let mut copied = Vec::new();
            let each = |response: &Response<'_>| copied.extend(folders::copied(response));
            let replies = session.batch(&commands, FILING, self.patience.file, each).await?;
            self.filed.note(&batch, copied);
            for (filing, reply) in batch.into_iter().zip(replies) {
                match reply {
                    Ok(()) => {
                        self.known_folders.insert(filing.folder.to_owned());
                    }
                    Err(no) => refused.push((filing, no)),
                }
            }
        }
        Ok(refused)
    }

    /// CREATE and SUBSCRIBE. A NO may mean that the folder is there; the command that comes after
    /// this shows whether it is.
    async fn create(&self, session: &mut Session, folder: &str) -> Result<()> {
        let name = quoted(folder)?;
        let commands = [format!("CREATE {name}"), format!("SUBSCRIBE {name}")];
        session.batch(&commands, SMALL, self.patience.quick, |_| {}).await?;
        debug!(mailbox = %self.settings.name, folder, "made a folder");
        Ok(())
    }

    /// The second half of a move without MOVE: takes exactly these mails out of the inbox. One that the server does not
    /// let go has its copy all the same and counts as filed: to begin again would make one copy more in every pass.
    async fn remove(&mut self, session: &mut Session, uids: &BTreeSet<u32>) -> Result<()> {
        let exactly = session.can("UIDPLUS");
        let mut why = (!exactly).then(|| "The server has neither MOVE nor UIDPLUS".to_owned());
        for uid in uids {
            // Before it is asked: the connection may end with it.
            *self.leftovers.entry(self.which(*uid)).or_default() += 1;
        }
        for (uids, set) in uid_sets(uids) {
            let mark = format!("UID STORE {set} +FLAGS.SILENT (\\Deleted)");
            let expunge = exactly.then(|| format!("UID EXPUNGE {set}"));
            let mut refused = None;
            for command in [mark].into_iter().chain(expunge) {
                let replies = session.batch(&[command], FILING, self.patience.file, |_| {}).await?;
                refused = replies.into_iter().find_map(Result::err);
                if refused.is_some() {
                    break;
                }
            }
            if refused.is_none() {
                for uid in uids {
                    self.leftovers.remove(&self.which(uid));
                }
            }
            why = refused.map(|no| no.to_string()).or(why);
        }
        if let Some(why) = why
            && !std::mem::replace(&mut self.warned_of_leftovers, true)
        {
            warn!(mailbox = %self.settings.name, "filed mail also stays in the inbox, where it is known: {why}");
        }
        Ok(())
    }

    /// Tries once more to take out of the inbox what has its copy, but not for ever.
    async fn remove_leftovers(&mut self, session: &mut Session) -> Result<()> {
        let inbox = &self.settings.inbox;
        let here =
            self.leftovers.iter().filter(|((folder, ..), tries)| folder == inbox && **tries < ATTEMPTS);
        let uids: BTreeSet<u32> = here.map(|((.., uid), _)| *uid).collect();
        self.remove(session, &uids).await?;
        // Where the connection ends at it, that it has its copy is still to be known when it is filed.
        self.forget_leftovers(&uids);
        Ok(())
    }

    /// Forgets those of these mails that were asked for often enough.
    fn forget_leftovers(&mut self, uids: &BTreeSet<u32>) {
        let inbox = &self.settings.inbox;
        self.leftovers
            .retain(|(folder, _, uid), tries| folder != inbox || !uids.contains(uid) || *tries < ATTEMPTS);
    }
}

/// Some 90 bytes a mail; other sessions' flag changes come in between.
const LISTING: Room = Room { literal: 0, total: 64 * 1024 * 1024 };

/// An EXPUNGE line for every mail that is moved, and what changes meanwhile.
const FILING: Room = Room { literal: 0, total: 16 * 1024 * 1024 };

impl Selected {
    /// UIDs to list at first. There cannot be more answers than mails: few mails are listed at once, however far apart.
    fn width(&self) -> u32 {
        if self.exists <= *LIST_WIDTH.start() { u32::MAX } else { *LIST_WIDTH.start() }
    }
}

impl Pass {
    fn after(last_uid: u32, validity: u32, selected: &Selected) -> Self {
        let first = last_uid.checked_add(1);
        let unlisted = match (first, selected.uid_next) {
            _ if selected.exists == 0 => None,
            (Some(first), Some(next)) if next <= first => None,
            (Some(first), next) => Some((first, next.map(|next| next - 1))),
            (None, _) => None,
        };
        let waiting = match unlisted {
            None => 0,
            Some((first, Some(last))) => last.saturating_sub(first).saturating_add(1).min(selected.exists),
            Some((_, None)) => selected.exists,
        };
        let unlisted = unlisted.into_iter().collect();
        Self { validity, unlisted, width: selected.width(), waiting: waiting.into(), ..Self::default() }
    }

    /// What lies there up to the UID `last_uid`.
    fn up_to(last_uid: u32, selected: &Selected) -> Self {
        let is_something = last_uid > 0 && selected.exists > 0;
        let unlisted = is_something.then_some((1, Some(last_uid))).into_iter().collect();
        Self { unlisted, width: selected.width(), ..Self::default() }
    }

    /// These mails, in their order, of the same folder as before.
    fn of(uids: &[u32], validity: u32) -> Self {
        let unlisted = uid_ranges(uids).map(|(first, last)| (first, Some(last))).collect();
        Self { validity, unlisted, is_chosen: true, width: *LIST_WIDTH.start(), ..Self::default() }
    }

    /// A part of a folder.
    fn within(first: u32, last: u32) -> Self {
        Self { unlisted: [(first, Some(last))].into(), width: *LIST_WIDTH.start(), ..Self::default() }
    }

    /// The next range of UIDs to list, of `most` at the most. Without a last UID it is open.
    fn next_range(&mut self, most: u32) -> Option<(u32, Option<u32>)> {
        let (first, last) = self.unlisted.pop_front()?;
        let end = first.saturating_add(self.width.min(most) - 1);
        match last {
            Some(last) if end < last => {
                self.unlisted.push_front((end + 1, Some(last)));
                Some((first, Some(end)))
            }
            _ => Some((first, last)),
        }
    }

    /// Takes in what a range held, and makes the next one wider when that was nothing.
    fn note(&mut self, listed: Vec<Listed>) {
        self.widen(listed.is_empty());
        self.listed.extend(listed);
    }

    fn widen(&mut self, was_empty: bool) {
        if was_empty {
            self.width = self.width.saturating_mul(2).min(*LIST_WIDTH.end().max(&self.width));
        } else {
            self.width = self.width.min(*LIST_WIDTH.start());
        }
    }

    /// Takes the first mails that fit a window, at least one.
    fn take(&mut self, bounds: &Bounds, most: usize) -> VecDeque<Listed> {
        let mut bytes = 0;
        let fits = |mail: &&Listed| {
            bytes += bounds.fetched_of(mail.size);
            bytes <= bounds.window_bytes
        };
        let count = self.listed.iter().take(most).take_while(fits).count();
        self.listed.drain(..count.max(1).min(self.listed.len())).collect()
    }
}

fn uid_of(attributes: &[AttributeValue<'_>]) -> Option<u32> {
    attributes.iter().find_map(|attribute| match attribute {
        AttributeValue::Uid(uid) => Some(*uid),
        _ => None,
    })
}

/// A range of UIDs as a command has it. Without a last UID it is open.
fn range(first: u32, last: Option<u32>) -> String {
    match last {
        Some(last) => format!("{first}:{last}"),
        None => format!("{first}:*"),
    }
}

/// Whether a UID was asked for: "n:*" always answers the last mail, also below n (RFC 3501 §6.4.8).
fn is_within(uid: u32, first: u32, last: Option<u32>) -> bool {
    uid >= first && last.is_none_or(|last| uid <= last)
}

/// `17-Jul-1996 02:44:25 -0700`, the day also with a space (RFC 3501 §9, date-time);
/// [`Timestamp::UNIX_EPOCH`] for anything else.
fn internal_date(text: &str) -> Timestamp {
    let shape = |(at, byte): (usize, u8)| match at {
        0 => byte == b' ' || byte.is_ascii_digit(),
        2 | 6 => byte == b'-',
        11 | 20 => byte == b' ',
        14 | 17 => byte == b':',
        21 => byte == b'+' || byte == b'-',
        3..=5 => byte.is_ascii_alphabetic(),
        _ => byte.is_ascii_digit(),
    };
    if text.len() != 26 || !text.bytes().enumerate().all(shape) {
        return Timestamp::UNIX_EPOCH;
    }
    Timestamp::strptime("%d-%b-%Y %H:%M:%S %z", text.trim_start()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Ascending UIDs as a set, with ranges where they follow each other: `1:3,7`.
fn uid_set(uids: &[u32]) -> String {
    let texts = uid_ranges(uids).map(|range| match range {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}:{last}"),
    });
    texts.collect::<Vec<_>>().join(",")
}

/// First and last of ascending UIDs that follow each other.
fn uid_ranges(uids: &[u32]) -> impl Iterator<Item = (u32, u32)> {
    let ranges = uids.chunk_by(|one, next| one.checked_add(1) == Some(*next));
    ranges.filter_map(|range| Some((*range.first()?, *range.last()?)))
}

/// The same in as many sets as the limits of a command make necessary, each with its UIDs.
fn uid_sets(uids: &BTreeSet<u32>) -> Vec<(Vec<u32>, String)> {
    let mut sets = Vec::new();
    let mut rest: Vec<u32> = uids.iter().copied().collect();
    while !rest.is_empty() {
        let mut length = rest.len().min(SET_UIDS);
        // Half as many until it fits; most sets are a few ranges and fit at once.
        let text = loop {
            let text = uid_set(rest.get(..length).unwrap_or_default());
            if text.len() <= SET_CHARS || length == 1 {
                break text;
            }
            length = length.div_ceil(2);
        };
        let later = rest.split_off(length);
        sets.push((std::mem::replace(&mut rest, later), text));
    }
    sets
}

#[cfg(test)]
#[path = "imap_tests.rs"]
mod tests;
