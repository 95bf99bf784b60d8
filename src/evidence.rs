//! What proves that the From address wrote a mail: the results of our own receiving servers
//! (Authentication-Results, RFC 8601), weighed.
//!
//! Only what a server of ours wrote counts: its authserv-id is configured, and the field stands in the
//! part of the header that our servers wrote. What the From line says of itself proves nothing, what
//! other servers say proves nothing, and what is in ARC fields, `X-` fields or attached mails is not
//! looked at. Where our servers' results contradict each other somebody has tampered, and a person must
//! look.
//!
//! Nothing of the mail's own text leaves this room: the sentence that says why is made of constants and
//! of the configured authserv-id.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::message::RawField;
use crate::sender::{Address, NoSender};

mod results;
mod zone;

use results::Reported;
use zone::Placed;

/// A mail with more Authentication-Results fields in the trusted part than this proves nothing.
const MOST_FIELDS: usize = 50;

/// Nor one with more results than this in the fields of our servers.
const MOST_RESULTS: usize = 200;

/// Nor one whose fields are longer together, in bytes.
const MOST_BYTES: usize = 64 * 1024;

/// How well it is proven that the From address wrote the mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// DMARC passed for the domain of From (RFC 9989).
    Dmarc,
    /// A DKIM signature of that domain, or of one above it, is valid (RFC 6376).
    Dkim,
    /// Nothing proves it.
    None,
    /// The evidence contradicts itself.
    Conflict,
}

impl Proof {
    /// The word for it in the ledger and in `classify --json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dmarc => "dmarc",
            Self::Dkim => "dkim",
            Self::None => "none",
            Self::Conflict => "conflict",
        }
    }

    /// Whether the domain of From stands behind the mail.
    pub fn is_authenticated(self) -> bool {
        matches!(self, Self::Dmarc | Self::Dkim)
    }
}

/// What is known of who wrote a mail, for the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// How well it is proven.
    pub proof: Proof,
    /// One sentence, without a word of the sender's.
    pub why: String,
    /// Whether our servers say nothing either way, so that a check of our own is no second opinion.
    pub is_silent: bool,
}

impl Evidence {
    /// Evidence of this kind, and why.
    pub fn new(proof: Proof, why: impl Into<String>) -> Self {
        Self { proof, why: why.into(), is_silent: false }
    }

    /// Nothing proves it, and why.
    pub fn none(why: impl Into<String>) -> Self {
        Self::new(Proof::None, why)
    }

    fn silent(why: &str) -> Self {
        Self { is_silent: true, ..Self::none(why) }
    }
}

/// Whose word counts. The default trusts nobody.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    authserv_ids: BTreeSet<String>,
    received_by: BTreeSet<String>,
}

impl Trust {
    /// Trusts the Authentication-Results of `authserv_ids`, and the Received fields of the hosts and
    /// addresses in `received_by`; where that is empty, of hosts called like the ids.
    pub fn new(authserv_ids: &[String], received_by: &[String]) -> Self {
        let lower = |names: &[String]| names.iter().map(|name| name.to_ascii_lowercase()).collect();
        let received_by = if received_by.is_empty() { authserv_ids } else { received_by };
        Self { authserv_ids: lower(authserv_ids), received_by: lower(received_by) }
    }

    fn is_host(&self, host: &str) -> bool {
        self.received_by.contains(host)
    }
}

/// Whether a server can call itself so in Authentication-Results (RFC 8601 section 2.5) without quotes.
pub fn is_authserv_id(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// Whether `text` can stand behind "by" in a Received field: a host's name, or an address.
pub fn is_receiving_host(text: &str) -> bool {
    let is_name = is_authserv_id(text) && !text.starts_with(['.', '-']) && !text.ends_with(['.', '-']);
    is_name || text.parse::<core::net::IpAddr>().is_ok()
}

/// Weighs the evidence in a header, given topmost field first, for a mail from `from`.
pub fn weigh<'a>(
    header: impl Iterator<Item = RawField<'a>>,
    from: Result<&Address, &NoSender>,
    trust: &Trust,
) -> Evidence {
    if trust.authserv_ids.is_empty() {
        return Evidence::silent("no authserv_id is configured");
    }
    let from = match from {
        Ok(from) => from,
        Err(error) => return Evidence::none(error.to_string()),
    };
    let fields = zone::trusted(header, trust);
    if fields.len() > MOST_FIELDS || fields.iter().map(|field| field.body.len()).sum::<usize>() > MOST_BYTES {
        return Evidence::none("there are too many Authentication-Results to read");
    }
    match ours(&fields, trust).map(without_passes_from_below) {
        Ok(results) if results.is_empty() => Evidence::silent(
            "the part of the header that is ours has no Authentication-Results of a configured server",
        ),
        Ok(results) => verdict(&results, &from.domain().to_ascii_lowercase()),
        Err(server) => Evidence::none(format!("an Authentication-Results field of {server} cannot be read")),
    }
}

/// A result of one of our servers.
struct Statement<'a> {
    /// The configured id.
    server: &'a str,
    /// In which of the fields it stands.
    field: usize,
    /// Whether it stands where the sender too can have written it.
    is_below: bool,
    reported: Reported,
}

/// The results of our servers. One field of theirs that cannot be read spoils all of them: it may hold
/// what speaks against the others. The error is the server's configured id.
fn ours<'a>(fields: &[Placed<'_>], trust: &'a Trust) -> Result<Vec<Statement<'a>>, &'a str> {
    let mut statements = Vec::new();
    for (field, Placed { body, is_below }) in fields.iter().enumerate() {
        // No server of ours puts its id in quotes or behind a comment: that is for a border which looks
        // for forgeries with a pattern to overlook.
        let Some(read) = results::read(body).filter(|read| read.is_plain) else { continue };
        let Some(server) = trust.authserv_ids.get(&read.authserv_id) else { continue };
        let results = read.results.ok_or(server.as_str())?;
        let is_below = *is_below;
        statements.extend(results.into_iter().map(|reported| Statement {
            server,
            field,
            is_below,
            reported,
        }));
        if statements.len() > MOST_RESULTS {
            return Err(server);
        }
    }
    Ok(statements)
}

/// Where a server of ours has spoken of dkim or dmarc above the border's Received field, a pass below it
/// is the sender's: OpenDKIM and OpenDMARC write above, and leave a forged `dmarc=pass` of their own name
/// in the mail. What speaks against the mail counts anywhere.
fn without_passes_from_below(mut statements: Vec<Statement<'_>>) -> Vec<Statement<'_>> {
    let is_spoken_of = |said: &Statement<'_>| matches!(said.reported.method.as_str(), "dkim" | "dmarc");
    if statements.iter().any(|said| !said.is_below && is_spoken_of(said)) {
        statements.retain(|said| !(said.is_below && is_pass(said)));
    }
    statements
}

fn verdict(statements: &[Statement<'_>], domain: &str) -> Evidence {
    let of = |method: &'static str| statements.iter().filter(move |said| said.reported.method == method);
    let named: BTreeSet<String> = of("dmarc")
        .flat_map(|said| said.reported.values("header.from"))
        .map(str::to_ascii_lowercase)
        .collect();
    if named.len() > 1 {
        return Evidence::new(Proof::Conflict, "dmarc results name different From domains");
    }
    let is_of_another = named.iter().any(|name| name != domain);
    let passed =
        of("dmarc").find(|said| is_pass(said) && said.reported.values("header.from").next().is_some());
    let not_passed = of("dmarc").find(|said| !is_pass(said));
    if let (Some(passed), false) = (passed, is_of_another) {
        return match not_passed {
            Some(other) => conflict(passed, other),
            None => Evidence::new(Proof::Dmarc, format!("{}: dmarc=pass for the From domain", passed.server)),
        };
    }
    let aligned = of("dkim").find_map(|said| Some((said, alignment(said, domain)?)));
    if let Some((signed, alignment)) = aligned {
        if is_of_another {
            let why = format!("{}: dkim=pass for the From domain, but dmarc for another one", signed.server);
            return Evidence::new(Proof::Conflict, why);
        }
        // With an aligned signature DMARC cannot fail; it may know no policy or not have reached it.
        let mild = ["none", "bestguesspass", "temperror", "permerror"];
        if let Some(failed) =
            of("dmarc").find(|said| !is_pass(said) && !mild.contains(&said.reported.result.as_str()))
        {
            return conflict(signed, failed);
        }
        if let Some(server) = disagreement(of("dkim")) {
            return Evidence::new(Proof::Conflict, format!("{server}: two fields differ on dkim"));
        }
        return Evidence::new(Proof::Dkim, format!("{}: dkim=pass for {alignment}", signed.server));
    }
    unproven(of("dmarc").collect(), of("dkim").collect())
}

/// Why nothing follows from what there is.
fn unproven(dmarc: Vec<&Statement<'_>>, dkim: Vec<&Statement<'_>>) -> Evidence {
    let mut words = Vec::new();
    for (said, but) in
        [(dmarc, ", but not for the From domain"), (dkim, ", but not for the From domain or one above it")]
    {
        if let Some(said) = said.iter().find(|said| is_pass(said)).or(said.first()) {
            let but = if is_pass(said) { but } else { "" };
            words.push(format!("{}: {}{but}", said.server, shown(said)));
        }
    }
    if words.is_empty() {
        return Evidence::silent("there is no dmarc or dkim result");
    }
    Evidence::none(words.join("; "))
}

fn conflict(one: &Statement<'_>, other: &Statement<'_>) -> Evidence {
    let why = format!("{}: {}, but {}: {}", one.server, shown(one), other.server, shown(other));
    Evidence::new(Proof::Conflict, why)
}

fn is_pass(said: &Statement<'_>) -> bool {
    said.reported.result == "pass"
}

/// Method and result in our own words: of the field's, only those that are known (RFC 8601 section 2.7).
fn shown(said: &Statement<'_>) -> String {
    let known = ["pass", "fail", "none", "neutral", "policy", "softfail", "temperror", "permerror"];
    let result = known.into_iter().find(|word| *word == said.reported.result).unwrap_or("something else");
    let method = if said.reported.method == "dmarc" { "dmarc" } else { "dkim" };
    format!("{method}={result}")
}

/// Of which domain a valid signature is, when that is the From domain or one above it.
fn alignment(said: &Statement<'_>, domain: &str) -> Option<&'static str> {
    if !is_pass(said) {
        return None;
    }
    aligned(&signer(&said.reported)?, domain)
}

/// The domain that signed: `header.d`, or where a server gives none, the domain of `header.i`.
fn signer(reported: &Reported) -> Option<String> {
    let mut given: Vec<String> = reported.values("header.d").map(str::to_ascii_lowercase).collect();
    if given.is_empty() {
        // What stands before the '@' is the signer's own text (RFC 6376 section 3.5).
        given = reported
            .values("header.i")
            .filter_map(|identity| identity.rsplit_once('@'))
            .map(|(_, domain)| domain.to_ascii_lowercase())
            .collect();
    }
    given.dedup();
    match given.as_slice() {
        [domain] => Some(domain.clone()),
        _ => None,
    }
}

/// Whether what `signer` signs counts for `domain`, both in lower case: relaxed alignment (RFC 9989),
/// upwards only. A domain above counts from two labels on, and not where a registry sells what is below
/// it (`co.uk`).
pub(crate) fn aligned(signer: &str, domain: &str) -> Option<&'static str> {
    if signer == domain {
        return Some("the From domain");
    }
    let below = domain.strip_suffix(signer)?.strip_suffix('.')?;
    let labels: Vec<&str> = signer.split('.').collect();
    let is_public = match labels.as_slice() {
        [second, top] => top.len() == 2 && REGISTRY_WORDS.contains(second),
        [_] | [] => true,
        _ => false,
    };
    (!below.is_empty() && !labels.contains(&"") && !is_public).then_some("a domain above the From domain")
}

/// Second-level labels that registries of countries sell below. Not complete, and need not be: to sign
/// for such a domain one must run it.
const REGISTRY_WORDS: [&str; 22] = [
    "ac", "asso", "co", "com", "edu", "firm", "gen", "go", "gob", "gouv", "gov", "ltd", "me", "mil", "ne",
    "net", "nom", "or", "org", "plc", "pro", "sch",
];

/// What one field says of a mail's signatures: result and signer of each.
type Signatures<'a> = BTreeSet<(&'a str, Option<String>)>;

/// A server of which two fields report different sets of signatures: an honest one has looked at one
/// mail and tells it in one way.
fn disagreement<'a>(dkim: impl Iterator<Item = &'a Statement<'a>>) -> Option<&'a str> {
    let mut told: BTreeMap<(&str, usize), Signatures<'_>> = BTreeMap::new();
    for said in dkim {
        let signature = (said.reported.result.as_str(), signer(&said.reported));
        told.entry((said.server, said.field)).or_default().insert(signature);
    }
    let mut first: BTreeMap<&str, &Signatures<'_>> = BTreeMap::new();
    let mut differs = |server, signatures| *first.entry(server).or_insert(signatures) != signatures;
    told.iter().find_map(|((server, _), signatures)| differs(*server, signatures).then_some(*server))
}

#[cfg(test)]
mod tests;
