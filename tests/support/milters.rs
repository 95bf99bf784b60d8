//! OpenDKIM and OpenDMARC as a border server has them, for a test: own configuration, sockets and keys,
//! and a DNS of their own. The machine's DNS is not asked, nor its `/etc/resolv.conf` touched: OpenDMARC
//! sees another one in its place, in a mount namespace.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use sha2::{Digest as _, Sha256};

use super::dns::{self, Dns};

/// The selector of every key.
const SELECTOR: &str = "test";

/// What a border server runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Filters {
    /// OpenDKIM and OpenDMARC with no more settings than they need. So they delete little of what is
    /// forged in their name: OpenDKIM what has a dkim result, OpenDMARC nothing.
    Both,
    /// OpenDKIM alone, with the settings that README asks for.
    OpenDkimAlone,
}

/// The running filters. Stopped on drop.
pub struct Milters {
    running: Vec<(&'static str, Child)>,
    folder: tempfile::TempDir,
    dns: Dns,
}

impl Milters {
    /// Starts filters that call themselves `name`. Each of `signers` is a domain with a DKIM key and a
    /// DMARC policy.
    ///
    /// # Panics
    /// When something is not there; see [`missing`].
    pub fn start(filters: Filters, name: &str, signers: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("milters-").tempdir().unwrap();
        let path = folder.path();
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(path.join("run")).unwrap();
        // The filters run as nobody, who has this number on every Linux.
        std::os::unix::fs::chown(path.join("run"), Some(65534), Some(65534)).unwrap();
        let keys: String = signers
            .iter()
            .map(|domain| format!("{SELECTOR}._domainkey.{domain} {}\n", new_key(path, domain)))
            .collect();
        fs::write(path.join("keys"), keys).unwrap();
        let policy = |domain| (format!("_dmarc.{domain}"), "v=DMARC1; p=none".to_owned());
        let dns = Dns::start(signers.iter().map(policy).collect::<BTreeMap<_, _>>());
        fs::write(path.join("resolv.conf"), format!("nameserver {}\n", dns.address)).unwrap();

        let mut milters = Self { running: Vec::new(), folder, dns };
        milters.run("opendkim", &opendkim(milters.folder.path(), name, filters));
        if filters == Filters::Both {
            milters.run("opendmarc", &opendmarc(milters.folder.path(), name));
        }
        milters
    }

    /// What Postfix has to be told of them.
    pub fn postfix_settings(&self) -> String {
        let run = self.folder.path().join("run");
        // In this order: OpenDMARC rests on what OpenDKIM found.
        let sockets: Vec<String> =
            self.running.iter().map(|(program, _)| format!("unix:{}/{program}", run.display())).collect();
        // A filter that does not answer must not pass for one that found nothing.
        format!("smtpd_milters = {}\nmilter_default_action = tempfail\n", sockets.join(" "))
    }

    /// The mail with a DKIM signature of this domain over all of it on top (RFC 6376). Every field of
    /// the mail's header must be there once and on one line, and the body end in one newline: then the
    /// canonicalisation "simple" changes nothing.
    pub fn sign(&self, domain: &str, mail: &str) -> String {
        let on_the_wire = |text: &str| text.replace('\n', "\r\n");
        let (header, body) = mail.split_once("\n\n").unwrap();
        let names: Vec<&str> = header.lines().filter_map(|field| field.split(':').next()).collect();
        let field = format!(
            "DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d={domain}; s={SELECTOR};\n\th={}; bh={};\n\tb=",
            names.join(":"),
            BASE64.encode(&Sha256::digest(on_the_wire(body)))
        );
        let mut signer = Command::new("openssl")
            .args(["dgst", "-sha256", "-sign"])
            .arg(self.folder.path().join(domain))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let signed = on_the_wire(&format!("{header}\n{field}"));
        signer.stdin.take().unwrap().write_all(signed.as_bytes()).unwrap();
        let output = signer.wait_with_output().unwrap();
        assert!(output.status.success(), "openssl does not sign");
        format!("{field}{}\n{mail}", BASE64.encode(&output.stdout))
    }

    /// The names that OpenDMARC asked for.
    pub fn asked(&self) -> Vec<String> {
        self.dns.asked()
    }

    /// Starts a filter and waits until it listens.
    fn run(&mut self, program: &'static str, settings: &str) {
        let folder = self.folder.path();
        let config = folder.join(format!("{program}.conf"));
        fs::write(&config, settings).unwrap();
        // Both read another /etc/resolv.conf, though OpenDKIM has its keys from a file.
        let script = "mount --bind \"$1\" /etc/resolv.conf && shift && exec \"$@\"";
        let config_option = if program == "opendkim" { "-x" } else { "-c" };
        let mut filter = Command::new("unshare")
            .args(["--mount", "sh", "-c", script, "sh"])
            .arg(folder.join("resolv.conf"))
            .args([program, "-f", config_option])
            .arg(config)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let socket = folder.join("run").join(program);
        let end = Instant::now() + Duration::from_secs(10);
        while UnixStream::connect(&socket).is_err() {
            assert!(filter.try_wait().unwrap().is_none(), "{program} has ended; see the system's log");
            assert!(Instant::now() < end, "{program} does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        self.running.push((program, filter));
    }
}

impl Drop for Milters {
    fn drop(&mut self) {
        for (_, filter) in &mut self.running {
            let _ = filter.kill();
            let _ = filter.wait();
        }
    }
}

/// Why the filters cannot be started here, if so.
pub fn missing() -> Option<&'static str> {
    let runs = |program: &str, words: &[&str]| {
        Command::new(program).args(words).stdin(Stdio::null()).output().map(|output| output.status.success())
    };
    let file = "/etc/resolv.conf";
    if ["opendkim", "opendmarc"].into_iter().any(|program| runs(program, &["-V"]).is_err()) {
        Some("OpenDKIM or OpenDMARC is not installed")
    } else if !runs("unshare", &["--mount", "mount", "--bind", file, file]).unwrap_or(false) {
        Some("OpenDMARC with a DNS of its own wants root and a mount namespace")
    } else {
        dns::missing()
    }
}

/// Makes the domain's private key, and gives its public one as a DKIM record (RFC 6376 section 3.6.1).
fn new_key(folder: &Path, domain: &str) -> String {
    let private = folder.join(domain);
    openssl(Command::new("openssl").args(["genrsa", "-out"]).arg(&private).arg("2048"));
    let public = openssl(Command::new("openssl").args(["rsa", "-pubout", "-in"]).arg(&private));
    let base64: String = public.lines().filter(|line| !line.starts_with("-----")).collect();
    format!("v=DKIM1; k=rsa; p={base64}")
}

fn openssl(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn opendkim(folder: &Path, name: &str, filters: Filters) -> String {
    let folder = folder.display();
    let as_readme_says = match filters {
        Filters::Both => String::new(),
        Filters::OpenDkimAlone => {
            format!("RemoveARAll yes\nRemoveARFrom {name}\nAlwaysAddARHeader yes\n")
        }
    };
    format!(
        "\
Mode v
AuthservID {name}
TestPublicKeys {folder}/keys
Socket local:{folder}/run/opendkim
UserID nobody
UMask 000
Syslog yes
{as_readme_says}"
    )
}

fn opendmarc(folder: &Path, name: &str) -> String {
    let folder = folder.display();
    // SPF would be about the envelope's domain, and proves nothing here.
    format!(
        "\
AuthservID {name}
TrustedAuthservIDs {name}
PublicSuffixList /usr/share/publicsuffix/public_suffix_list.dat
Socket local:{folder}/run/opendmarc
UserID nobody
UMask 000
SPFIgnoreResults true
Syslog true
"
    )
}
