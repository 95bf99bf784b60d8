//! A private Dovecot for a test: its own folder, ports, users and log; nothing else of the machine is
//! touched. Works as an ordinary user, and as root, where mail belongs to `nobody` because Dovecot
//! refuses to serve root's mail.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test house may panic")]

use std::fmt::Write as _;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::certificates::Certificates;

/// What the server shows of itself.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Capabilities to keep silent about, such as "MOVE" or "UIDPLUS".
    pub without: Vec<&'static str>,
    /// More lines for `dovecot.conf`.
    pub extra: String,
}

/// A running Dovecot. Stopped when dropped.
pub struct Dovecot {
    process: Child,
    folder: tempfile::TempDir,
    certificates: Certificates,
    /// Plaintext IMAP on 127.0.0.1.
    pub plain_port: u16,
    /// IMAP with TLS from the first byte, on 127.0.0.1; the certificate is for `localhost`.
    pub tls_port: u16,
}

/// Every user's password.
pub const PASSWORD: &str = r#"horse"battery\stäple"#;

const NOT_INSTALLED: &str = "Dovecot is not installed";

/// Why Dovecot cannot be started here, if so.
#[allow(dead_code, reason = "each test uses its own part")]
pub fn missing() -> Option<&'static str> {
    let has_name = |what| Command::new("id").arg(what).output().is_ok_and(|output| output.status.success());
    if binary().is_none() {
        Some(NOT_INSTALLED)
    } else {
        // It is told to run as who we are, by name.
        (!["-un", "-gn"].into_iter().all(has_name)).then_some("Dovecot wants a user with a name")
    }
}

fn binary() -> Option<&'static str> {
    ["/usr/sbin/dovecot", "/usr/local/sbin/dovecot"].into_iter().find(|path| Path::new(path).exists())
}

#[allow(dead_code, reason = "each test uses its own part")]
impl Dovecot {
    /// Starts a server. Any name without a slash or colon is a user, with [`PASSWORD`].
    ///
    /// # Errors
    /// Dovecot or openssl is missing or does not start, in one sentence.
    pub fn start(options: &Options) -> Result<Self, String> {
        let binary = binary().ok_or(NOT_INSTALLED)?;
        let folder = tempfile::Builder::new().prefix("dc").tempdir().map_err(|error| error.to_string())?;
        // Dovecot's own users go through the folder.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))
            .map_err(|error| error.to_string())?;
        let certificates = Certificates::create(folder.path())?;
        let (plain_port, tls_port) = (free_port()?, free_port()?);
        let config = folder.path().join("dovecot.conf");
        let text = configuration(folder.path(), &certificates, plain_port, tls_port, options);
        fs::write(&config, text).map_err(|error| error.to_string())?;
        fs::create_dir(folder.path().join("mail")).map_err(|error| error.to_string())?;
        give_to_mail_user(&folder.path().join("mail"))?;

        let process = Command::new(binary)
            .arg("-F")
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A group of its own, so that all of it can be stopped together.
            .process_group(0)
            .spawn()
            .map_err(|error| format!("Dovecot cannot be run: {error}"))?;
        let mut server = Self { process, folder, certificates, plain_port, tls_port };
        server.wait_until_it_listens()?;
        Ok(server)
    }

    /// The authority that signed the server's certificate, PEM.
    pub fn ca(&self) -> &Path {
        &self.certificates.ca
    }

    /// The folder of a user's Maildir.
    pub fn maildir(&self, user: &str) -> PathBuf {
        self.folder.path().join("mail").join(user)
    }

    /// Puts a mail into the user's inbox, as a delivery agent would.
    pub fn deliver(&self, user: &str, mail: &[u8]) {
        self.deliver_into(user, "", mail);
    }

    /// Puts a mail into a folder of the user, such as `"Held"`; `""` is the inbox.
    pub fn deliver_into(&self, user: &str, folder: &str, mail: &[u8]) {
        static COUNTER: AtomicU64 = AtomicU64::new(1);
        let mut maildir = self.maildir(user);
        make_maildir(&maildir);
        if !folder.is_empty() {
            maildir.push(format!(".{}", folder.replace('/', ".")));
            make_maildir(&maildir);
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name =
            format!("{}.M{}P{}Q{number:09}.test", now.as_secs(), now.subsec_micros(), std::process::id());
        let path = maildir.join("tmp").join(&name);
        fs::write(&path, mail).unwrap();
        give_to_mail_user(&path).unwrap();
        fs::rename(path, maildir.join("new").join(name)).unwrap();
    }

    /// The server's log so far, to look into when a test fails.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Stops the server and everything it started.
    pub fn stop(self) {}

    fn wait_until_it_listens(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.process.try_wait() {
                return Err(format!("Dovecot ended with {status}: {}", self.log()));
            }
            if [self.plain_port, self.tls_port]
                .iter()
                .all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok())
            {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(format!("Dovecot does not listen: {}", self.log()))
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        let group = format!("-{}", self.process.id());
        // The master stops its children itself; the second signal is for those that do not listen.
        let _ = Command::new("kill").args(["-TERM", "--", &group]).status();
        for _ in 0..100 {
            if matches!(self.process.try_wait(), Ok(Some(_))) {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.process.wait();
    }
}

fn configuration(
    folder: &Path,
    certificates: &Certificates,
    plain_port: u16,
    tls_port: u16,
    options: &Options,
) -> String {
    let folder = folder.display();
    let mut text = format!(
        "base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/log
auth_verbose = yes
protocols = imap
listen = 127.0.0.1
ssl = yes
ssl_cert = <{}
ssl_key = <{}
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
mail_location = maildir:{folder}/mail/%u
mail_max_userip_connections = 0
namespace inbox {{
  inbox = yes
  separator = /
}}
passdb {{
  driver = static
  args = password={}
}}
service imap-login {{
  inet_listener imap {{
    port = {plain_port}
  }}
  inet_listener imaps {{
    port = {tls_port}
    ssl = yes
  }}
}}
",
        certificates.cert.display(),
        certificates.key.display(),
        PASSWORD,
    );
    if is_root() {
        text += &format!(
            "first_valid_uid = 1
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={folder}/mail/%u
}}
"
        );
    } else {
        let user = id("-un");
        let _ = write!(
            text,
            "default_internal_user = {user}
default_internal_group = {}
default_login_user = {user}
userdb {{
  driver = static
  args = uid={} gid={} home={folder}/mail/%u
}}
service anvil {{
  chroot =
}}
service imap-login {{
  chroot =
}}
service stats {{
  chroot =
}}
",
            id("-gn"),
            id("-u"),
            id("-g"),
        );
    }
    let all = [
        "IMAP4rev1",
        "SASL-IR",
        "LITERAL+",
        "ID",
        "ENABLE",
        "IDLE",
        "NAMESPACE",
        "UIDPLUS",
        "MOVE",
        "LIST-EXTENDED",
    ];
    let shown: Vec<&str> = all.into_iter().filter(|name| !options.without.contains(name)).collect();
    if !options.without.is_empty() {
        text += &format!("protocol imap {{\n  imap_capability = {}\n}}\n", shown.join(" "));
    }
    text + &options.extra
}

fn make_maildir(path: &Path) {
    if path.exists() {
        return;
    }
    for folder in [path.to_owned(), path.join("new"), path.join("cur"), path.join("tmp")] {
        fs::create_dir(&folder).unwrap();
        give_to_mail_user(&folder).unwrap();
    }
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    listener.local_addr().map(|address| address.port()).map_err(|error| error.to_string())
}

pub fn is_root() -> bool {
    static ROOT: LazyLock<bool> = LazyLock::new(|| id("-u") == "0");
    *ROOT
}

/// Whose the mail is where we are root. `nobody` and `nogroup` have this number on every Linux.
pub const MAIL_USER: u32 = 65534;

/// Where we are root; else it is ours.
pub fn give_to_mail_user(path: &Path) -> Result<(), String> {
    if !is_root() {
        return Ok(());
    }
    std::os::unix::fs::chown(path, Some(MAIL_USER), Some(MAIL_USER)).map_err(|error| error.to_string())
}

fn id(what: &str) -> String {
    let output = Command::new("id").arg(what).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
