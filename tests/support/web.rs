//! A system that is reached by HTTP or HTTPS, as small as can be: it keeps the orders whose signature is right, and
//! answers what a test tells it to.

#![allow(dead_code, reason = "each test uses its own part")]

use std::path::Path;
use std::sync::{Arc, Mutex};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What the orders are signed with.
pub const SECRET: &str = "correct horse battery staple";

/// How the system answers.
#[derive(Debug, Clone)]
pub enum Reply {
    /// With status 200 and this body.
    Ok(String),
    /// With this status and nothing.
    Status(u16),
    /// With this status, and that the order should go elsewhere.
    Elsewhere(String),
    /// With a body of so many bytes.
    Long(usize),
    /// Not at all; the connection stays open.
    Silence,
}

impl Reply {
    /// A report without anything else.
    pub fn outcome(outcome: &str) -> Self {
        Self::Ok(format!("{{\"outcome\":{outcome:?}}}"))
    }
}

/// The time of a signature, and the order under it.
pub type Signed = (i64, Value);

/// The system. It ends with the runtime that it was started in.
pub struct Web {
    port: u16,
    scheme: &'static str,
    reply: Arc<Mutex<Reply>>,
    orders: Arc<Mutex<Vec<Signed>>>,
    /// The file with its secret, for the configuration.
    secret: tempfile::NamedTempFile,
}

impl Web {
    /// Over HTTP, on this machine.
    pub async fn plain() -> Self {
        Self::start(None).await
    }

    /// Over HTTPS, with this certificate.
    pub async fn tls(cert: &Path, key: &Path) -> Self {
        let chain = CertificateDer::pem_file_iter(cert).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Self::start(Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn start(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let reply = Arc::new(Mutex::new(Reply::outcome("done")));
        let orders = Arc::new(Mutex::new(Vec::new()));
        let secret = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(secret.path(), SECRET).unwrap();
        let web = Self {
            port,
            scheme: if tls.is_some() { "https" } else { "http" },
            reply: Arc::clone(&reply),
            orders: Arc::clone(&orders),
            secret,
        };
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (tls, reply, orders) = (tls.clone(), Arc::clone(&reply), Arc::clone(&orders));
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &reply, &orders).await,
                        // Whoever does not trust us hangs up.
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, &reply, &orders).await;
                            }
                        }
                    }
                });
            }
        });
        web
    }

    /// Its section of a configuration, with `keys` besides.
    pub fn source(&self, name: &str, keys: &str) -> String {
        format!(
            "[[source]]\nname = {name:?}\nurl = \"{}://127.0.0.1:{}/privacy?v=1\"\nsecret = {{ file = {:?} }}\n{keys}",
            self.scheme,
            self.port,
            self.secret.path().display().to_string()
        )
    }

    /// Gives its file another secret than the one it checks with.
    pub fn change_secret(&self) {
        std::fs::write(self.secret.path(), "another one").unwrap();
    }

    /// What it answers from now on.
    pub fn says(&self, reply: Reply) {
        *self.reply.lock().unwrap() = reply;
    }

    /// The orders so far that were signed as they should be.
    pub fn orders(&self) -> Vec<Signed> {
        self.orders.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    reply: &Mutex<Reply>,
    orders: &Mutex<Vec<Signed>>,
) {
    let mut told = Vec::new();
    let (head, begin) = loop {
        let mut more = [0; 4096];
        let Ok(count @ 1..) = stream.read(&mut more).await else { return };
        told.extend_from_slice(&more[..count]);
        if let Some(end) = told.windows(4).position(|window| window == b"\r\n\r\n") {
            break (String::from_utf8(told[..end].to_vec()).unwrap().to_lowercase(), end + 4);
        }
    };
    let field = |name: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap_or_default();
        line.to_owned()
    };
    let length: usize = field("content-length").parse().unwrap();
    while told.len() < begin + length {
        let mut more = [0; 4096];
        let Ok(count @ 1..) = stream.read(&mut more).await else { return };
        told.extend_from_slice(&more[..count]);
    }
    let body = &told[begin..];
    let answer = match signed_at(&field("privacyd-signature"), body) {
        Some(at) if head.starts_with("post /privacy?v=1 ") => {
            orders.lock().unwrap().push((at, serde_json::from_slice(body).unwrap()));
            reply.lock().unwrap().clone()
        }
        _ => Reply::Status(401),
    };
    let (status, field, body) = match answer {
        Reply::Ok(body) => ("200".to_owned(), String::new(), body),
        Reply::Status(status) => (status.to_string(), String::new(), String::new()),
        Reply::Elsewhere(url) => ("307".to_owned(), format!("Location: {url}\r\n"), String::new()),
        Reply::Long(bytes) => ("200".to_owned(), String::new(), " ".repeat(bytes)),
        Reply::Silence => return std::future::pending().await,
    };
    let text = format!("HTTP/1.1 {status} as told\r\n{field}Content-Length: {}\r\n\r\n{body}", body.len());
    // Whoever has had enough hangs up.
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.flush().await;
}

/// When it was signed, if it was by somebody who knows the secret.
fn signed_at(signature: &str, body: &[u8]) -> Option<i64> {
    let (time, hex) = signature.strip_prefix("t=")?.split_once(",v1=")?;
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{time}.").as_bytes());
    mac.update(body);
    let told = data_encoding::HEXLOWER.decode(hex.as_bytes()).ok()?;
    mac.verify_slice(&told).ok()?;
    time.parse().ok()
}
