//! A system reached over HTTPS: the order is POSTed, the answer's body is the report.
//!
//! ## Signature
//! The field `Privacyd-Signature: t=<seconds since 1970>,v1=<hex>` proves that the order is ours: the hex is
//! HMAC-SHA-256, with the shared secret, over the time, a dot and the body. The other side should refuse an old
//! time. A report is believed because TLS says who wrote it.
//!
//! ## What it refuses
//! Redirects (an order must not wander off), anything but status 200, long reports, and plain HTTP but to this
//! machine itself.

use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use sha2::Sha256;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use super::{LONGEST_REPORT, Order, Report};
use crate::config::Secret;

/// A system reached over HTTPS.
#[derive(Debug, Clone)]
pub struct Http {
    /// Where orders go.
    pub url: Uri,
    /// Signs them.
    pub secret: Secret,
    /// How long one may take.
    pub timeout: Duration,
    /// Whom TLS trusts; `None` for plain HTTP.
    pub tls: Option<Arc<ClientConfig>>,
}

impl Http {
    /// POSTs `order`, signed at `now`; answers its report, or one that says why there is none.
    pub async fn run(&self, order: &Order, now: Timestamp) -> Report {
        match timeout(self.timeout, self.talk(order, now)).await {
            Ok(Ok(report)) => report,
            Ok(Err(reason)) => Report::retry(reason),
            Err(_) => Report::retry(format!("the system did not answer within {} s", self.timeout.as_secs())),
        }
    }

    async fn talk(&self, order: &Order, now: Timestamp) -> Result<Report, String> {
        let host = self.url.host().ok_or("the url names no host")?;
        let port = self.url.port_u16().unwrap_or(if self.tls.is_some() { 443 } else { 80 });
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let stream = TcpStream::connect((bare.as_str(), port))
            .await
            .map_err(|error| format!("the system cannot be reached: {error}"))?;
        match &self.tls {
            None => self.post(stream, order, now).await,
            Some(config) => {
                let name = ServerName::try_from(bare).map_err(|_| "the url names no host for TLS")?;
                let stream = TlsConnector::from(Arc::clone(config))
                    .connect(name, stream)
                    .await
                    .map_err(|error| format!("TLS with the system failed: {error}"))?;
                self.post(stream, order, now).await
            }
        }
    }

    async fn post<S>(&self, stream: S, order: &Order, now: Timestamp) -> Result<Report, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let body =
            serde_json::to_vec(order).map_err(|error| format!("the order cannot be written: {error}"))?;
        let path = self.url.path_and_query().map_or("/", |path| path.as_str());
        let authority = self.url.authority().map_or("", |authority| authority.as_str());
        let request = Request::post(path)
            .header(HOST, authority)
            .header(USER_AGENT, concat!("privacyd/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/json")
            .header("Privacyd-Signature", self.signature(&body, now)?)
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| format!("the request cannot be made: {error}"))?;
        let lost = |error: hyper::Error| format!("the connection broke: {error}");
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        let driver = tokio::spawn(connection);
        let answer = async {
            let answer = sender.send_request(request).await.map_err(lost)?;
            if answer.status() != hyper::StatusCode::OK {
                return Err(format!("the system answered with status {}", answer.status().as_u16()));
            }
            let body = Limited::new(answer.into_body(), LONGEST_REPORT).collect().await;
            let body =
                body.map_err(|_| format!("the report broke off, or is longer than {LONGEST_REPORT} bytes"))?;
            Report::parse(&body.to_bytes())
        };
        let report = answer.await;
        driver.abort();
        report
    }

    fn signature(&self, body: &[u8], now: Timestamp) -> Result<String, String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.expose().as_bytes())
            .map_err(|_| "the secret is unfit for HMAC")?;
        let seconds = now.as_second();
        mac.update(format!("{seconds}.").as_bytes());
        mac.update(body);
        Ok(format!("t={seconds},v1={}", data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::request::Verb;
    use crate::source::{Outcome, Subject, VERSION};

    fn order() -> Order {
        Order {
            version: VERSION,
            verb: Verb::Erase,
            attempt: 1,
            reference: "PR-234567".into(),
            kind: "deletion".into(),
            subject: Subject { address: "jane@example.org".parse().unwrap() },
            changes: Vec::new(),
        }
    }

    /// Asks a server that answers every request with `answer`; the report, and what the server was told.
    async fn ask(answer: &str) -> (Report, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/privacy?v=1", listener.local_addr().unwrap()).parse().unwrap();
        let answer = answer.to_owned();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut told = Vec::new();
            while !told.ends_with(b"}}") {
                let mut more = [0; 4096];
                let count = stream.read(&mut more).await.unwrap();
                assert!(count > 0, "the order breaks off");
                told.extend_from_slice(&more[..count]);
            }
            if answer.is_empty() {
                std::future::pending::<()>().await;
            }
            // A client that has had enough hangs up.
            let _ = stream.write_all(answer.as_bytes()).await;
            String::from_utf8(told).unwrap()
        });
        let http = Http { url, secret: "s3cret".into(), timeout: Duration::from_secs(2), tls: None };
        let report = http.run(&order(), Timestamp::from_second(1_800_000_000).unwrap()).await;
        let told =
            timeout(Duration::from_millis(100), server).await.map(|told| told.unwrap()).unwrap_or_default();
        (report, told)
    }

    #[tokio::test]
    async fn an_order_is_posted_and_signed() {
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n{\"outcome\":\"nothing\"}";
        let (report, told) = ask(ok).await;
        assert_eq!(report.outcome, Outcome::Nothing);
        assert!(told.starts_with("POST /privacy?v=1 HTTP/1.1\r\n"), "{told}");
        // printf '%s' '1800000000.<body>' | openssl dgst -sha256 -hmac s3cret
        let signature = "t=1800000000,v1=d23d4398e0de63c3d64fbf9c4a9d1e8a66e48dfd54e2f387b30318352939cfc8";
        assert!(told.contains(&format!("privacyd-signature: {signature}\r\n")), "{told}");
    }

    #[tokio::test]
    async fn whatever_a_server_does_there_is_a_report() {
        let long = format!("HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n{}", "x".repeat(20_000_000));
        for (answer, reason) in [
            (
                "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
                "the system answered with status 302",
            ),
            ("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", "the system answered with status 500"),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
                "the report is not what the contract says: line 1, column 2",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{",
                "the report broke off, or is longer than 16777216 bytes",
            ),
            (long.as_str(), "the report broke off, or is longer than 16777216 bytes"),
            ("", "the system did not answer within 2 s"),
        ] {
            assert_eq!(ask(answer).await.0, Report::retry(reason));
        }
        assert!(ask("nonsense\r\n\r\n").await.0.reason.starts_with("the connection broke"));
    }
}
