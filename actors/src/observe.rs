//! Logs: `tracing` events in text or JSON on standard error.
//!
//! A request and an ask are spans that carry what is needed to follow one matter through the log: request id,
//! project, lot, command id. No secret and no personal data is ever a field: sessions, passwords, keys and forms
//! have no `Debug`, and headers and bodies are not logged. A test searches the log for canaries.

use std::{fmt, io};

use aws_lc_rs::rand::fill;
use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, Layer, fmt::MakeWriter, layer::SubscriberExt, registry::Registry};

use crate::config::{Log, LogFormat};

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LogFault {
    /// The filter cannot be understood.
    #[error("failed to understand the log filter `{filter}`: {told}")]
    Filter {
        /// The filter.
        filter: String,
        /// Why.
        told: String,
    },
    /// Somebody else logs already.
    #[error("logging was set up before")]
    Already,
}

/// Sends this process's log to standard error.
///
/// # Errors
/// The filter is malformed, or it was done before.
pub fn start(log: &Log) -> Result<(), LogFault> {
    tracing::subscriber::set_global_default(subscriber(log, io::stderr)?).map_err(|_| LogFault::Already)
}

/// A subscriber that writes to `writer`; tests read what it wrote.
///
/// # Errors
/// The filter is malformed.
pub fn subscriber<W>(log: &Log, writer: W) -> Result<impl Subscriber + Send + Sync + use<W>, LogFault>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder()
        .parse(&log.filter)
        .map_err(|told| LogFault::Filter { filter: log.filter.clone(), told: told.to_string() })?;
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match log.format {
        LogFormat::Text => Box::new(layer),
        LogFormat::Json => Box::new(layer.json().flatten_event(true).with_current_span(false)),
    };
    Ok(Registry::default().with(layer.with_filter(filter)))
}

/// Names one request in the log and in its answer's `X-Request-Id`: 16 hexadecimal digits, drawn at random.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId([u8; 8]);

impl RequestId {
    /// Draws one.
    pub fn draw() -> Self {
        let mut bytes = [0; 8];
        fill(&mut bytes).expect("the system draws random bytes");
        Self(bytes)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&hex::encode(self.0))
    }
}

/// A writer into shared memory, for tests that read the log.
#[cfg(feature = "practice")]
#[derive(Clone, Default)]
pub struct SharedLog(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

#[cfg(feature = "practice")]
impl SharedLog {
    /// Everything written so far.
    pub fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(feature = "practice")]
impl io::Write for SharedLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(feature = "practice")]
impl<'a> MakeWriter<'a> for SharedLog {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(format: LogFormat) -> String {
        let shared = SharedLog::default();
        let log = Log { format, filter: "info".into() };
        let subscriber = subscriber(&log, shared.clone()).expect("the default log settings are well-formed");
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("ask", project = "KX-1", lot = 2, command = "cafe");
            let _inside = span.enter();
            tracing::info!(outcome = "done", "answered");
            tracing::debug!("not shown");
        });
        shared.text()
    }

    #[test]
    fn a_line_of_text_carries_project_lot_and_command() {
        let text = logged(LogFormat::Text);
        for part in ["project=\"KX-1\"", "lot=2", "command=\"cafe\"", "answered"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn a_line_of_json_carries_them_as_fields() {
        let text = logged(LogFormat::Json);
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(line["message"], "answered");
        assert_eq!(line["spans"][0]["project"], "KX-1");
        assert_eq!(line["spans"][0]["command"], "cafe");
    }

    #[test]
    fn a_filter_that_makes_no_sense_is_told() {
        let log = Log { format: LogFormat::Text, filter: "info,kaibiao=loudly".into() };
        assert!(matches!(subscriber(&log, io::sink).err(), Some(LogFault::Filter { .. })));
    }
}
