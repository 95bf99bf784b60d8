//! How things stand, as numbers for Prometheus (text format 0.0.4), over HTTP on this machine alone. No number
//! is anybody's: they count mails, requests and replies.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::error;

use crate::config::Config;
use crate::operator::status::Status;
use crate::stop::Stop;
use crate::store::Store;

/// So many may ask at once; others wait.
const AT_ONCE: usize = 4;

/// Whoever takes longer to ask, or to listen, is cut off.
const PATIENCE: Duration = Duration::from_secs(10);

/// Takes the place that the configuration names, if it names one.
///
/// # Errors
/// Somebody has it.
pub async fn bind(config: &Config) -> Result<Option<TcpListener>> {
    let Some(metrics) = &config.metrics else { return Ok(None) };
    let listen = metrics.listen;
    let bound = TcpListener::bind(listen).await;
    bound.map(Some).with_context(|| format!("metrics.listen: {listen} cannot be listened at"))
}

/// Answers until `stop` is asked.
pub async fn serve(listener: TcpListener, config: Config, store: Store, stop: Stop) {
    let (config, places) = (Arc::new(config), Arc::new(Semaphore::new(AT_ONCE)));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.asked() => return,
        };
        let Ok((stream, _)) = stream else {
            // No file handle left, mostly.
            stop.rest(Duration::from_secs(1)).await;
            continue;
        };
        let (config, store) = (Arc::clone(&config), store.clone());
        tokio::spawn(async move {
            let answer = service_fn(|request| answer(request, &config, &store));
            let talk = hyper::server::conn::http1::Builder::new()
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), answer);
            // Whoever hangs up has what he wanted.
            let _ = timeout(PATIENCE, talk).await;
            drop(place);
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    config: &Config,
    store: &Store,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, body) = if request.method() != Method::GET || request.uri().path() != "/metrics" {
        (StatusCode::NOT_FOUND, "GET /metrics\n".to_owned())
    } else {
        match Status::now(store, config, true, Timestamp::now()).await {
            Ok(status) => (StatusCode::OK, text(&status)),
            Err(error) => {
                error!("no metrics: {error:#}");
                (StatusCode::INTERNAL_SERVER_ERROR, "the database does not work\n".to_owned())
            }
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

/// The numbers.
pub fn text(status: &Status) -> String {
    let mut text = String::new();
    let one = |text: &mut String, name: &str, kind: &str, help: &str, value: i64| {
        let _ = writeln!(
            text,
            "# HELP privacyd_{name} {help}\n# TYPE privacyd_{name} {kind}\nprivacyd_{name} {value}"
        );
    };
    let standing = &status.standing;
    let unaccounted = status.reconciliation.map_or(0, |last| last.found.unaccounted);
    let missed = status.canary.is_some_and(|canary| canary.is_missed);
    for (name, kind, help, value) in [
        ("good", "gauge", "1 while `privacyd status` finds nothing wrong.", i64::from(status.good)),
        ("recovery", "gauge", "1 while nothing is answered.", i64::from(status.recovery.is_some())),
        ("messages_total", "counter", "Mails recorded.", standing.messages_ever),
        ("requests_total", "counter", "Requests opened.", standing.requests_ever),
        ("replies_total", "counter", "Replies queued.", standing.replies_ever),
        ("requests_open", "gauge", "Requests that are open.", standing.requests_open),
        ("requests_held", "gauge", "Requests that wait for a person.", standing.requests_held),
        ("requests_overdue", "gauge", "Open requests whose date is past.", standing.requests_overdue),
        ("replies_waiting", "gauge", "Replies that are still to be sent.", standing.replies_waiting),
        ("replies_unknown", "gauge", "Replies of unknown fate.", standing.replies_unknown),
        ("replies_bounced", "gauge", "Replies that bounced in 7 days.", standing.replies_bounced),
        ("tasks_failed", "gauge", "Systems that failed in open requests.", standing.tasks_failed),
        ("mails_to_read", "gauge", "Mails that a person must read.", standing.mails_to_read),
        (
            "unaccounted",
            "gauge",
            "Mails without a row when last reconciled.",
            i64::try_from(unaccounted).unwrap_or(i64::MAX),
        ),
        ("canary_missed", "gauge", "1 while the last canary is missing.", i64::from(missed)),
    ] {
        one(&mut text, name, kind, help, value);
    }
    text.push_str(
        "# HELP privacyd_mailbox_backlog Mails recorded and not filed.\n# TYPE privacyd_mailbox_backlog gauge\n",
    );
    for mailbox in &status.mailboxes {
        let _ =
            writeln!(text, "privacyd_mailbox_backlog{{mailbox=\"{}\"}} {}", mailbox.name, mailbox.backlog);
    }
    let name = "privacyd_mailbox_last_good_cycle_timestamp_seconds";
    let _ = writeln!(text, "# HELP {name} When all of it was last read.\n# TYPE {name} gauge");
    for mailbox in &status.mailboxes {
        let at = mailbox.last_good_cycle.map_or(0, Timestamp::as_second);
        let _ = writeln!(text, "{name}{{mailbox=\"{}\"}} {at}", mailbox.name);
    }
    text
}
