//! Log lines: sentences with dotted fields on standard error, as text or JSON, one line an event
//! whatever the text of others brings in. `cli` starts it once, before anything else.

use std::fmt::Write as _;
use std::io::{self, Write};

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// What is logged unless the user says otherwise.
pub const DEFAULT_FILTER: &str = "info";

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line, for machines.
    Json,
}

/// Why logging did not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is none.
    #[error("{0:?}: expected a log filter like info, debug or info,settled::shard=debug")]
    Filter(String),
    /// Something in this process logs already.
    #[error("logging was started before")]
    Started,
}

/// Sends every log line of this process that `filter` lets through to standard error.
pub fn start(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let subscriber = subscriber(format, filter, io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| TelemetryError::Started)
}

fn subscriber<W>(
    format: LogFormat,
    filter: &str,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, TelemetryError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let built = tracing_subscriber::fmt()
        .with_env_filter(quiet_librdkafka(filter)?)
        .with_ansi(false)
        .with_writer(OneLine(writer));
    Ok(match format {
        LogFormat::Text => Box::new(built.finish()),
        LogFormat::Json => Box::new(built.json().flatten_event(true).finish()),
    })
}

/// librdkafka tells of every connection that it opens and loses; what matters of it is told by us.
/// Whoever names it in the filter hears all that they ask for.
fn quiet_librdkafka(filter: &str) -> Result<EnvFilter, TelemetryError> {
    let quiet = if filter.contains("rdkafka") || matches!(filter, "off" | "error") {
        ""
    } else {
        ",librdkafka=warn,rdkafka=warn"
    };
    EnvFilter::builder()
        .parse(format!("{filter}{quiet}"))
        .map_err(|_| TelemetryError::Filter(filter.to_owned()))
}

/// Makes writers of lines: an event's text comes in one call, and every control character in it but
/// the final newline is escaped the way JSON does. A bank's message can then neither forge a line
/// nor command a terminal.
struct OneLine<W>(W);

struct Line<W>(W);

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for OneLine<W> {
    type Writer = Line<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        Line(self.0.make_writer())
    }
}

impl<W: Write> Write for Line<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let (text, end) = match text.strip_suffix('\n') {
            Some(text) => (text, "\n"),
            None => (text.as_ref(), ""),
        };
        let mut line = String::with_capacity(text.len() + 1);
        for c in text.chars() {
            match c {
                '\n' => line.push_str("\\n"),
                c if c.is_control() => {
                    // Writing to a String cannot fail.
                    write!(line, "\\u{:04x}", u32::from(c)).unwrap_or_default();
                }
                c => line.push(c),
            }
        }
        line.push_str(end);
        self.0.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str, log: impl FnOnce()) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        let subscriber = subscriber(format, filter, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, log);
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn no_text_can_forge_a_line_or_command_a_terminal() {
        let foreign = "ok\n2026-11-23 ERROR forged\r\u{1b}[2J\u{9b}31m\u{7f}";
        for format in [LogFormat::Text, LogFormat::Json] {
            let text = logged(format, "info", || {
                tracing::info!(order.r#type = foreign, "The owner said {foreign}");
            });
            let line = text.strip_suffix('\n').unwrap();
            assert!(!line.contains(char::is_control), "{line:?}");
            assert!(line.contains("order.type"), "{line}");
        }
    }

    #[test]
    fn json_lines_are_objects_with_dotted_fields() {
        let text = logged(LogFormat::Json, "info", || {
            tracing::info!(order.r#type = "pay\u{9b}", shard = 3, "The shard is open");
        });
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(object["message"], "The shard is open");
        assert_eq!(object["order.type"], "pay\u{9b}");
        assert_eq!(object["shard"], 3);
    }

    #[test]
    fn librdkafka_is_heard_from_warnings_on_unless_it_is_named() {
        let log = || {
            tracing::info!(target: "librdkafka", "connected");
            tracing::warn!(target: "librdkafka", "all brokers are down");
            tracing::info!("ours");
        };
        for (filter, heard) in [
            ("info", vec!["all brokers are down", "ours"]),
            ("debug", vec!["all brokers are down", "ours"]),
            (
                "info,librdkafka=info",
                vec!["connected", "all brokers are down", "ours"],
            ),
            ("off", vec![]),
        ] {
            let text = logged(LogFormat::Text, filter, log);
            assert_eq!(text.lines().count(), heard.len(), "{filter}: {text}");
            for (line, sentence) in text.lines().zip(heard) {
                assert!(line.ends_with(sentence), "{line}");
            }
        }
    }

    #[test]
    fn a_filter_that_is_none_is_refused() {
        let refused = subscriber(LogFormat::Text, "info,=", io::sink)
            .err()
            .unwrap();
        assert_eq!(
            refused.to_string(),
            "\"info,=\": expected a log filter like info, debug or info,settled::shard=debug"
        );
    }
}
