//! Logs of the worker: one line an event on standard error, as text or JSON.

use moulin_core::{Fault, FaultKind};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::config::{Log, LogFormat};

/// Starts logging. Spans (a job, its rooms) say their time when they close.
///
/// # Errors
/// `InvalidSpec`: the filter is none.
pub(crate) fn init(log: &Log) -> Result<(), Fault> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(&log.filter)?)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        // It would say on standard error that standard error cannot be written, and panic in the middle of a job.
        .log_internal_errors(false)
        .with_span_events(FmtSpan::CLOSE);
    // A second start in one process (tests) keeps the first.
    let _ = match log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    Ok(())
}

/// The library that signs requests to stores logs the credentials it does so with, below this level.
const SIGNING: &str = "reqsign=info";

fn filter(text: &str) -> Result<EnvFilter, Fault> {
    let wrong = |why: &str| Fault::new(FaultKind::InvalidSpec, format!("log.filter `{text}` {why}"));
    if text.contains("reqsign") {
        return Err(wrong("names reqsign, whose log would hold credentials"));
    }
    EnvFilter::try_new(format!("{text},{SIGNING}")).map_err(|e| wrong(&format!("is not a tracing filter: {e}")))
}

#[cfg(test)]
mod tests {
    use super::filter;

    #[test]
    fn no_filter_lets_credentials_into_the_log() {
        assert!(filter("trace").unwrap().to_string().contains("reqsign=info"));
        assert!(filter("info,reqsign_core=trace").unwrap_err().message.contains("credentials"));
        assert!(filter("info=info=info").unwrap_err().message.contains("is not a tracing filter"));
    }
}
