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
    let filter = EnvFilter::try_new(&log.filter).map_err(|e| {
        Fault::new(FaultKind::InvalidSpec, format!("log.filter `{}` is not a tracing filter: {e}", log.filter))
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .with_span_events(FmtSpan::CLOSE);
    // A second start in one process (tests) keeps the first.
    let _ = match log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    Ok(())
}
