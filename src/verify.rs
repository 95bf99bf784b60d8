//! Checks DKIM signatures (RFC 6376) ourselves, where no server of ours says anything of a mail's sender.
//! The one room of the way in that asks the DNS.
//!
//! It refuses to guess. A mail that was not fetched whole is not checked; a name server that does not
//! answer, or says that it cannot, proves nothing; and neither does what `rules` refuses.
//!
//! ## What it trusts
//! The name server. An answer that was forged on the way to us is believed: use one that is near and that
//! validates (DNSSEC).
//!
//! ## Why only some signatures are looked up
//! Whoever sends a mail chooses the names in it. Only keys of the From domain, or of one above it, are
//! asked for, and of those few: no mail makes us ask for a thousand.

use std::borrow::Borrow;
use std::hash::Hash;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use mail_auth::common::headers::Header;
use mail_auth::common::parse::TxtRecordParser;
use mail_auth::common::verify::{DomainKey, VerifySignature};
use mail_auth::dkim::{DkimError, Signature};
use mail_auth::hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use mail_auth::hickory_resolver::net::NetError;
use mail_auth::hickory_resolver::proto::rr::{Name, RData};
use mail_auth::hickory_resolver::system_conf::read_system_conf;
use mail_auth::{
    AuthenticatedMessage, DkimResult, DnsError, Error, MessageAuthenticator, Parameters, ResolverCache, Txt,
};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::warn;

use crate::evidence::{Evidence, Proof, aligned};
use crate::mailbox::{Body, Fetched};
use crate::message::Message;
use crate::sender::Address;

mod rules;

use rules::{Fields, fault, forbids, with_crlf};

/// How long the name servers have for one mail.
pub const MAIL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the mails that were fetched at once are held up at the most, all in all; what is not checked by then is
/// not authenticated.
pub const WINDOW_TIMEOUT: Duration = Duration::from_secs(60);

/// So many mails are checked at once.
const AT_ONCE: usize = 64;

/// Of a mail's signatures that could count no more than these are checked, from the top.
const MOST_SIGNATURES: usize = 4;

/// Why nothing is proven where the name servers are at fault.
const NO_ANSWER: [&str; 2] = ["the name servers did not answer in time", "the name servers could not say"];

/// Checks signatures.
#[derive(Clone)]
pub struct Verifier {
    authenticator: MessageAuthenticator,
    mail_timeout: Duration,
    window_timeout: Duration,
}

impl Verifier {
    /// Asks `resolver`, or the name servers of the system's configuration; takes no longer than these for
    /// a mail and for the mails that were fetched at once.
    ///
    /// # Errors
    /// The system's configuration cannot be read.
    pub fn new(
        resolver: Option<SocketAddr>,
        mail_timeout: Duration,
        window_timeout: Duration,
    ) -> Result<Self> {
        let (config, mut options) = match resolver {
            Some(address) => (single(address), ResolverOpts::default()),
            None => read_system_conf().context(
                "Cannot read the system's DNS configuration (/etc/resolv.conf); name a server with authentication.resolver",
            )?,
        };
        // A datagram that is lost must not cost a mail all of its time.
        options.timeout = options.timeout.min(mail_timeout / 3);
        // A long key, or one behind an alias, does not fit into 512 bytes (RFC 6891).
        options.edns0 = true;
        let authenticator =
            MessageAuthenticator::new(config, options).context("Cannot prepare to ask the name servers")?;
        Ok(Self { authenticator, mail_timeout, window_timeout })
    }

    /// Whether the name servers answer, whatever they say.
    ///
    /// # Errors
    /// They do not, or say that they cannot.
    pub async fn probe(&self, domain: &str) -> Result<()> {
        let name = format!("_domainkey.{domain}.");
        let why = match timeout(self.mail_timeout, self.record(&name)).await {
            Ok(Err(why)) if NO_ANSWER.contains(&why) => why,
            Ok(_) => return Ok(()),
            Err(_) => NO_ANSWER[0],
        };
        bail!("Cannot check DKIM signatures: {why}; name a server that does with authentication.resolver")
    }

    /// How long the mails that were fetched at once may be held up.
    pub fn window_timeout(&self) -> Duration {
        self.window_timeout
    }

    /// Checks the mails that are `asked` for by their place in `mails`, many at once; answers in any order. No more
    /// time is spent than is left of that for all that was fetched with them.
    pub async fn check_all(
        self: &Arc<Self>,
        mails: &Arc<Vec<Fetched>>,
        asked: Vec<(usize, Address)>,
        now: Timestamp,
        time_left: &mut Duration,
    ) -> Vec<(usize, Evidence)> {
        let begun = Instant::now();
        let deadline = begun + *time_left;
        // A near name server may be faster than a timer that is over when it begins.
        let is_over = time_left.is_zero();
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut checks = JoinSet::new();
        let mut answers = Vec::with_capacity(asked.len());
        for (index, from) in asked {
            let (verifier, mails, places) = (Arc::clone(self), Arc::clone(mails), Arc::clone(&places));
            checks.spawn(async move {
                let check = async {
                    if is_over {
                        return Err(NO_ANSWER[0]);
                    }
                    let _place = places.acquire().await;
                    match mails.get(index).map(|mail| &mail.body) {
                        Some(Body::Whole(bytes)) => verifier.prove(bytes, &from, now).await,
                        _ => Err("the mail was not fetched whole"),
                    }
                };
                (index, timeout_at(deadline, check).await.unwrap_or(Err(NO_ANSWER[0])))
            });
        }
        // A check that broke off is missing among the answers: nothing is proven.
        while let Some(answer) = checks.join_next().await {
            answers.extend(answer.ok());
        }
        *time_left = time_left.saturating_sub(begun.elapsed());
        let unanswered = answers.iter().filter(|(_, it)| it.is_err_and(|why| NO_ANSWER.contains(&why)));
        match unanswered.count() {
            0 => {}
            mails => warn!(mails, "name servers did not answer: the senders of these mails are not proven"),
        }
        answers.into_iter().map(|(index, outcome)| (index, evidence(outcome))).collect()
    }

    /// Whether a signature proves that `from` wrote `mail`, which is whole, at the time `now`.
    pub async fn check(&self, mail: &[u8], from: &Address, now: Timestamp) -> Evidence {
        evidence(self.prove(mail, from, now).await)
    }

    async fn prove(&self, mail: &[u8], from: &Address, now: Timestamp) -> Outcome {
        timeout(self.mail_timeout, self.look(mail, from, now)).await.unwrap_or(Err(NO_ANSWER[0]))
    }

    async fn look(&self, mail: &[u8], from: &Address, now: Timestamp) -> Outcome {
        let mail = with_crlf(mail).ok_or("there are carriage returns within its lines")?;
        // Read by the same library as all else, so that what is signed is what we have read.
        let message = Message::parse(&mail).ok_or("the mail cannot be read")?;
        let fields = Fields::of(&message);
        let mut signed = AuthenticatedMessage::from_parsed(message.parsed(), &mail, true);
        let domain = from.domain().to_ascii_lowercase();
        // The library leaves out those with a length, before it says of which domain they are.
        let has_length =
            signed.errors.iter().any(|header| header.header == Error::Dkim(DkimError::SignatureLength));
        let mut why = if has_length {
            "a signature leaves a part of the body out"
        } else {
            "there is no signature of the From domain or one above it"
        };
        let mut checked = 0;
        for header in std::mem::take(&mut signed.dkim_headers) {
            let Some(whose) = aligned(&header.header.d, &domain) else { continue };
            if let Some(fault) = fault(&signed, &header, &fields, now) {
                why = fault;
                continue;
            }
            if checked == MOST_SIGNATURES {
                break;
            }
            checked += 1;
            match self.verify(&mut signed, header).await {
                Ok(()) => return Ok(whose),
                Err(reason) => why = reason,
            }
        }
        Err(why)
    }

    /// Fetches the key of one signature and does the arithmetic.
    async fn verify<'x>(
        &self,
        signed: &mut AuthenticatedMessage<'x>,
        header: Header<'x, Signature>,
    ) -> Result<(), &'static str> {
        let name = header.header.domain_key();
        let record = self.record(&name).await?;
        let key = DomainKey::parse(&record).map_err(|error| reason(&error))?;
        if let Some(why) = forbids(&record) {
            return Err(why);
        }
        let key = OneKey { name: name.into_boxed_str(), key: key.into() };
        signed.dkim_headers = vec![header];
        let outputs = self.authenticator.verify_dkim(Parameters::new(&*signed).with_txt_cache(&key)).await;
        match outputs.iter().find(|output| output.signature().is_some()).map(|output| output.result()) {
            Some(DkimResult::Pass) => Ok(()),
            Some(DkimResult::Neutral(error) | DkimResult::Fail(error) | DkimResult::PermError(error)) => {
                Err(reason(error))
            }
            _ => Err("its signature is not valid"),
        }
    }

    /// The TXT record at `name`, which ends with a dot. Where there are several, which one counts is
    /// undefined (RFC 6376 section 3.6.2.2), and so none does.
    async fn record(&self, name: &str) -> Result<Vec<u8>, &'static str> {
        let name = Name::from_str_relaxed(name).map_err(|_| "its signature is malformed")?;
        let lookup = self.authenticator.resolver().txt_lookup(name).await;
        let lookup = lookup.map_err(|error| match error {
            // Its last attempt may end a moment before the time for the mail is over.
            NetError::Timeout => NO_ANSWER[0],
            error => reason(&error.into()),
        })?;
        let mut records = lookup.answers().iter().filter_map(|record| match &record.data {
            RData::TXT(text) => Some(text.txt_data.concat()),
            _ => None,
        });
        match (records.next(), records.next()) {
            (Some(record), None) => Ok(record),
            (None, _) => Err("its key cannot be found"),
            (Some(_), Some(_)) => Err("its key cannot be read"),
        }
    }
}

/// Whose signature proves it, or why nothing does. Not a word of the sender's.
type Outcome = Result<&'static str, &'static str>;

fn evidence(outcome: Outcome) -> Evidence {
    match outcome {
        Ok(whose) => Evidence::new(Proof::Dkim, format!("our own check: dkim=pass for {whose}")),
        Err(why) => Evidence::none(format!("our own check: {why}")),
    }
}

/// The key that has been looked up. The library takes it from here and asks the DNS for nothing.
struct OneKey {
    name: Box<str>,
    key: Txt,
}

impl ResolverCache<Box<str>, Txt> for OneKey {
    fn get<Q>(&self, name: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let is_it = Borrow::<Q>::borrow(&self.name) == name;
        Some(if is_it { self.key.clone() } else { Txt::Error(Error::Dns(DnsError::InvalidRecordType)) })
    }

    fn remove<Q>(&self, _: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        None
    }

    fn insert(&self, _: Box<str>, _: Txt, _: std::time::Instant) {}
}

/// One name server at this address and port.
fn single(address: SocketAddr) -> ResolverConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    let server = NameServerConfig::new(address.ip(), true, connections.to_vec());
    ResolverConfig::from_name_servers(vec![server])
}

/// Why a signature does not count, in our own words.
fn reason(error: &Error) -> &'static str {
    match error {
        Error::Dkim(DkimError::SignatureExpired) => "its signature is expired",
        Error::Dkim(DkimError::FailedBodyHashMatch) => "its body is not the one that was signed",
        Error::Dkim(DkimError::RevokedPublicKey) => "its key is revoked",
        Error::Dns(DnsError::RecordNotFound(_)) => "its key cannot be found",
        Error::Dns(DnsError::Resolver(_)) => NO_ANSWER[1],
        Error::Dns(_) | Error::Dkim(DkimError::UnsupportedKeyType) => "its key cannot be read",
        _ => "its signature is not valid",
    }
}
