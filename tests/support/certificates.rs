//! A certificate authority of our own and a server certificate for this machine, made anew by the
//! `openssl` command for each test house. No key is checked in, so nothing expires or leaks.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Three PEM files in the folder they were made in.
#[allow(dead_code, reason = "each server uses its own part")]
#[derive(Debug, Clone)]
pub struct Certificates {
    /// The authority, for `ca_file` in our configuration.
    pub ca: PathBuf,
    /// The server's certificate: `localhost`, 127.0.0.1 and ::1, valid for a few days.
    pub cert: PathBuf,
    /// The server's private key, unencrypted.
    pub key: PathBuf,
}

/// An authority that has signed no server's certificate.
#[allow(dead_code, reason = "each test uses its own part")]
pub const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/authority.pem");

impl Certificates {
    /// Makes the files in `folder`, which must exist.
    ///
    /// # Errors
    /// `openssl` is missing or refuses, in one sentence.
    pub fn create(folder: &Path) -> Result<Self, String> {
        let [ca_key, ca, key, request, cert, extensions] =
            ["ca.key", "ca.pem", "server.key", "server.csr", "server.pem", "server.ext"]
                .map(|name| folder.join(name));
        let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

        let mut authority = Command::new("openssl");
        authority.args(["req", "-x509"]).args(new_key).args(["-days", "3", "-subj", "/CN=Test authority"]);
        // `req -x509` adds `CA:TRUE` and the key identifiers by itself.
        authority.args(["-addext", "keyUsage=critical,keyCertSign"]);
        run(authority.arg("-keyout").arg(&ca_key).arg("-out").arg(&ca))?;

        let mut asking = Command::new("openssl");
        asking.arg("req").args(new_key).args(["-subj", "/CN=localhost"]);
        run(asking.arg("-keyout").arg(&key).arg("-out").arg(&request))?;

        let names = "basicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n\
                     subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\n";
        std::fs::write(&extensions, names)
            .map_err(|error| format!("Cannot write the certificate's names: {error}"))?;
        let mut signing = Command::new("openssl");
        signing.args(["x509", "-req", "-days", "3", "-set_serial", "1"]);
        signing.arg("-in").arg(&request).arg("-CA").arg(&ca).arg("-CAkey").arg(&ca_key);
        run(signing.arg("-extfile").arg(&extensions).arg("-out").arg(&cert))?;

        Ok(Self { ca, cert, key })
    }
}

/// Why there can be no certificates here, if so.
#[allow(dead_code, reason = "each test uses its own part")]
pub fn missing() -> Option<&'static str> {
    Command::new("openssl").arg("version").output().is_err().then_some("openssl is not installed")
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("openssl cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("openssl failed: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
