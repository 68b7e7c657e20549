//! Fields of spans in a log of JSON.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::span::Record;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormattedFields;
use tracing_subscriber::fmt::format::{FormatFields, Writer};

/// Fields of a span as an object of JSON, written as they come: the subscriber's own formatter first makes a sorted tree of
/// strings of them, and that takes a twentieth of a request that is answered from memory.
#[derive(Debug)]
pub(super) struct SpanFields;

impl<'writer> FormatFields<'writer> for SpanFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        writer.write_char('{')?;
        let mut members = Members { writer: &mut writer, is_first: true, outcome: Ok(()) };
        fields.record(&mut members);
        members.outcome?;
        writer.write_char('}')
    }

    fn add_fields(&self, current: &'writer mut FormattedFields<Self>, fields: &Record<'_>) -> fmt::Result {
        current.fields.pop();
        let is_first = current.fields.len() < 2;
        let mut members = Members { writer: &mut current.fields, is_first, outcome: Ok(()) };
        fields.record(&mut members);
        members.outcome?;
        current.fields.write_char('}')
    }
}

/// Writes the members of an object.
struct Members<'a> {
    writer: &'a mut dyn fmt::Write,
    is_first: bool,
    outcome: fmt::Result,
}

impl Members<'_> {
    fn write(&mut self, field: &Field, value: impl FnOnce(&mut dyn fmt::Write) -> fmt::Result) {
        if self.outcome.is_err() {
            return;
        }
        let separator = if std::mem::replace(&mut self.is_first, false) { "\"" } else { ",\"" };
        let writer = &mut *self.writer;
        self.outcome = [separator, field.name(), "\":"].into_iter().try_for_each(|part| writer.write_str(part));
        self.outcome = self.outcome.and_then(|()| value(writer));
    }
}

impl Visit for Members<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.write(field, |writer| {
            writer.write_char('"')?;
            Escaping(writer).write_str(value)?;
            writer.write_char('"')
        });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.write(field, |writer| {
            writer.write_char('"')?;
            write!(Escaping(writer), "{value:?}")?;
            writer.write_char('"')
        });
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.write(field, |writer| write!(writer, "{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.write(field, |writer| write!(writer, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.write(field, |writer| write!(writer, "{value}"));
    }
}

/// Text as the content of a string of JSON (RFC 8259, section 7).
struct Escaping<'a>(&'a mut dyn fmt::Write);

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(place) = rest.find(|character| matches!(character, '"' | '\\' | '\0'..='\x1f')) {
            let (plain, special) = rest.split_at(place);
            self.0.write_str(plain)?;
            let mut characters = special.chars();
            if let Some(character) = characters.next() {
                write!(self.0, "\\u{:04x}", u32::from(character))?;
            }
            rest = characters.as_str();
        }
        self.0.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing::field;

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The line that is written while this is done.
    fn logged(work: impl FnOnce()) -> Value {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_span_list(false);
        let subscriber = subscriber.fmt_fields(SpanFields).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, work);
        serde_json::from_slice(&log.0.lock().unwrap()).unwrap()
    }

    #[test]
    fn fields_are_an_object_whatever_is_in_them() {
        let hostile = "a \"quote\", a \\, a\nline, \u{0}, \u{1f}, \u{7f}, \u{2028} and 한국어 🎨";
        let line = logged(|| {
            let span =
                tracing::info_span!("request", hostile, debug = ?Some("\"x\""), n = 7_u64, i = -7_i64, is = true);
            span.in_scope(|| tracing::info!(of_event = 1, "told"));
        });
        let span =
            json!({"name": "request", "hostile": hostile, "debug": "Some(\"\\\"x\\\"\")", "n": 7, "i": -7, "is": true});
        assert_eq!(line.get("span"), Some(&span));
        assert_eq!(line.get("of_event"), Some(&json!(1)));
    }

    #[test]
    fn what_is_known_later_is_added() {
        for (first, expected) in
            [(None, json!({"name": "request"})), (Some("1"), json!({"name": "request", "first": "1"}))]
        {
            let told = |record: bool| {
                logged(|| {
                    let span = tracing::info_span!("request", first, later = field::Empty, last = field::Empty);
                    if record {
                        span.record("later", "2");
                        span.record("last", 3);
                    }
                    span.in_scope(|| tracing::info!("told"));
                })
            };
            assert_eq!(told(false).get("span"), Some(&expected));
            let mut added = expected;
            added["later"] = json!("2");
            added["last"] = json!(3);
            assert_eq!(told(true).get("span"), Some(&added));
        }
    }
}
