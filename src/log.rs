//! What the log looks like, and what never gets into it.
//!
//! Our own lines name people by pseudonym only. The libraries' lines at DEBUG and TRACE hold whole
//! commands and mails, so their targets are shut whatever level is configured.

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat, LogLevel};

/// Sends the log to standard error in the configured form, and makes a panic say where it happened
/// but not with which data.
pub fn begin(settings: &Log) {
    let level = match settings.level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    // Only our own target passes: async-imap logs the password at TRACE, sqlx logs bound values.
    let filter = EnvFilter::new(format!("off,privacyd={level}"));
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // A second call, as in a test, finds the first one's log in place; that is fine.
    let _ = match settings.format {
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a fault of privacyd's own: please report this place");
    }));
}
