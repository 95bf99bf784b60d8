//! The one TLS client configuration, for IMAP and SMTP alike: certificates are always verified,
//! against the system's trust store and, where one is configured, an extra CA file.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

/// Builds a client configuration that trusts the system's authorities and those in `ca_file` (PEM).
///
/// # Errors
/// When `ca_file` cannot be read or holds no certificate, or when nothing at all would be trusted.
pub fn client_config(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    // A single bad file in the system's store is no reason to refuse the rest of it.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        let before = roots.len();
        for certificate in CertificateDer::pem_file_iter(path)
            .with_context(|| format!("Cannot read the CA file {}", path.display()))?
        {
            let certificate =
                certificate.with_context(|| format!("The CA file {} is not PEM", path.display()))?;
            roots
                .add(certificate)
                .with_context(|| format!("A certificate in {} is unusable", path.display()))?;
        }
        if roots.len() == before {
            bail!("The CA file {} holds no certificate", path.display());
        }
    }
    if roots.is_empty() {
        bail!("No certificate authority is trusted: install ca-certificates or set ca_file");
    }
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context("Cannot set up TLS")?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
