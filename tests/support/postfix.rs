//! A private Postfix and a private smtp-sink on loopback, for tests. No mail leaves the machine:
//! what is not for the test's own domain is refused, and the default transport is an error.

use std::fs::{self, Permissions};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::certificates::Certificates;

/// Where Postfix puts mail for the test's domain.
#[allow(dead_code, reason = "each test uses its own part")]
pub enum Delivery<'a> {
    /// One Maildir for every local part that does not begin with "unknown".
    Maildirs,
    /// An LMTP server on this unix socket, such as Dovecot's; the same local parts.
    Lmtp(&'a Path),
}

/// A running Postfix. Stopped on drop.
#[allow(dead_code, reason = "each test uses its own part")]
pub struct Postfix {
    /// Port without TLS.
    pub plain: u16,
    /// Port with TLS from the first byte.
    pub implicit: u16,
    /// Port where STARTTLS is required.
    pub starttls: u16,
    folder: TempDir,
}

#[allow(dead_code, reason = "each test uses its own part")]
impl Postfix {
    /// Starts Postfix as the final destination of `domain`, bearing the certificate for
    /// `localhost`.
    ///
    /// # Panics
    /// When Postfix does not start; see [`missing_postfix`].
    pub fn start(domain: &str, delivery: Delivery<'_>, certificates: &Certificates) -> Self {
        Self::start_with(domain, delivery, certificates, "")
    }

    /// The same with more settings, which win over ours: lines of main.cf.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_with(
        domain: &str,
        delivery: Delivery<'_>,
        certificates: &Certificates,
        settings: &str,
    ) -> Self {
        let folder = tempfile::Builder::new().prefix("postfix-").tempdir().unwrap();
        // Its daemons run as their own user and have to get through.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let [plain, implicit, starttls] = free_ports();
        let postfix = Self { plain, implicit, starttls, folder };
        postfix.configure(domain, &delivery, certificates, settings);
        postfix.control("start");
        for port in [plain, implicit, starttls] {
            wait_for(port, || postfix.log());
        }
        postfix
    }

    /// The mails to `address`, oldest first by file name, as Postfix wrote them.
    pub fn mails(&self, address: &str) -> Vec<String> {
        // Everybody's mail lies in one Maildir: virtual(8) makes no paths of addresses.
        let new = self.folder.path().join("mail/all/new");
        let mut paths: Vec<PathBuf> =
            fs::read_dir(new).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let to = format!("Delivered-To: {address}\n");
        let mails = paths.iter().map(|path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned());
        mails.filter(|mail| mail.contains(&to)).collect()
    }

    /// Waits up to 20 s until `address` has `count` mails, and gives them.
    pub fn wait_for_mails(&self, address: &str, count: usize) -> Vec<String> {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let mails = self.mails(address);
            if mails.len() >= count {
                return mails;
            }
            assert!(Instant::now() < end, "{} of {count} mails arrived\n{}", mails.len(), self.log());
            sleep(Duration::from_millis(20));
        }
    }

    /// Where the Maildir with everybody's mail is made; a link put there sends it elsewhere.
    pub fn mail_root(&self) -> PathBuf {
        self.folder.path().join("mail/all")
    }

    /// Postfix's log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("mail.log")).unwrap_or_default()
    }

    fn configure(&self, domain: &str, delivery: &Delivery<'_>, certificates: &Certificates, settings: &str) {
        let folder = self.folder.path();
        for name in ["config", "queue", "data", "mail"] {
            fs::create_dir(folder.join(name)).unwrap();
        }
        run(Command::new("chown").arg("postfix").arg(folder.join("data")));
        run(Command::new("chown").arg("nobody").arg(folder.join("mail")));

        let transport = match delivery {
            Delivery::Maildirs => "virtual".to_owned(),
            Delivery::Lmtp(socket) => format!("lmtp:unix:{}", socket.display()),
        };
        let config = folder.join("config");
        let main = main_cf(folder, domain, &transport, certificates) + settings;
        fs::write(config.join("main.cf"), main).unwrap();
        fs::write(config.join("master.cf"), self.master_cf()).unwrap();
        fs::write(config.join("access"), "/^unknown/ 550 5.1.1 no such user\n").unwrap();
    }

    fn master_cf(&self) -> String {
        let Self { plain, implicit, starttls, .. } = self;
        format!(
            "\
127.0.0.1:{plain} inet n - n - - smtpd
127.0.0.1:{implicit} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes
127.0.0.1:{starttls} inet n - n - - smtpd -o smtpd_tls_security_level=encrypt
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
error unix - - n - - error
retry unix - - n - - error
postlog unix-dgram n - n - 1 postlogd
"
        )
    }

    fn control(&self, verb: &str) {
        run(Command::new("postfix").arg("-c").arg(self.folder.path().join("config")).arg(verb));
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        // Panics here would hide the test's own.
        let config = self.folder.path().join("config");
        let _ = Command::new("postfix").arg("-c").arg(config).arg("stop").stderr(Stdio::null()).status();
    }
}

/// An SMTP server that takes everything and keeps nothing. Stopped on drop.
#[allow(dead_code, reason = "each test uses its own part")]
pub struct SmtpSink {
    /// Its port, without TLS.
    pub port: u16,
    child: Child,
}

#[allow(dead_code, reason = "each test uses its own part")]
impl SmtpSink {
    /// Starts smtp-sink with these options, such as `["-r", "RCPT"]`.
    ///
    /// # Panics
    /// When smtp-sink does not start; see [`missing_sink`].
    pub fn start(options: &[&str]) -> Self {
        let [port] = free_ports();
        let child = Command::new("smtp-sink")
            .args(options)
            .args(["-u", "postfix", &format!("127.0.0.1:{port}"), "1000"])
            .spawn()
            .unwrap();
        let sink = Self { port, child };
        wait_for(port, String::new);
        sink
    }
}

impl Drop for SmtpSink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Why Postfix cannot be started here, if so.
#[allow(dead_code, reason = "each test uses its own part")]
pub fn missing_postfix() -> Option<&'static str> {
    missing("postfix", ["Postfix is not installed", "Postfix wants root"])
}

/// Why smtp-sink cannot be started here, if so.
#[allow(dead_code, reason = "each test uses its own part")]
pub fn missing_sink() -> Option<&'static str> {
    missing("smtp-sink", ["smtp-sink is not installed", "smtp-sink wants root"])
}

fn missing(program: &str, [not_there, no_root]: [&'static str; 2]) -> Option<&'static str> {
    if Command::new(program).arg("-?").output().is_err() {
        Some(not_there)
    } else {
        (id("") != 0).then_some(no_root)
    }
}

/// The numeric id of a user; the empty name is who we are.
fn id(user: &str) -> u32 {
    let output = Command::new("id").arg("-u").args((!user.is_empty()).then_some(user)).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// Ports that were free a moment ago.
fn free_ports<const N: usize>() -> [u16; N] {
    // All are held at once, so that they differ.
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

fn wait_for(port: u16, log: impl Fn() -> String) {
    let end = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < end, "nothing listens on port {port}\n{}", log());
        sleep(Duration::from_millis(20));
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn main_cf(folder: &Path, domain: &str, transport: &str, certificates: &Certificates) -> String {
    let (folder, cert, key) = (folder.display(), certificates.cert.display(), certificates.key.display());
    let nobody = id("nobody");
    format!(
        "\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
myhostname = localhost
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks =
alias_maps =
alias_database =
fast_flush_domains =
default_transport = error:5.4.4 nothing leaves this machine
relay_transport = error:5.4.4 nothing leaves this machine
local_transport = error:5.4.4 nothing is local
virtual_transport = {transport}
virtual_mailbox_domains = {domain}
virtual_mailbox_maps = static:all/
smtpd_recipient_restrictions = check_recipient_access regexp:{folder}/config/access
virtual_mailbox_base = {folder}/mail
virtual_uid_maps = static:{nobody}
virtual_gid_maps = static:{nobody}
smtpd_relay_restrictions = reject_unauth_destination
smtpd_tls_cert_file = {cert}
smtpd_tls_key_file = {key}
smtpd_client_connection_count_limit = 0
"
    )
}
