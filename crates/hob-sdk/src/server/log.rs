//! Log lines as JSON on standard output: time, level, service, message, request id, and the event's fields.

use std::fmt::Write as _;
use std::io::Write as _;

use hob_core::Clock;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::{Config, ConfigError, RequestContext};

/// Letters of one field; a line must stay readable.
const FIELD_LENGTH_MAX: usize = 8 * 1024;

/// Makes `tracing` write JSON lines to standard output, from the level on that the setting `LOG_LEVEL` names (`info` when
/// it is not set). Once for each process; later calls change nothing.
///
/// # Errors
/// When `LOG_LEVEL` is no level.
pub fn init_log(config: &Config) -> Result<(), ConfigError> {
    let level = config.setting::<LevelFilter>("LOG_LEVEL")?.unwrap_or(LevelFilter::INFO);
    let lines = Lines { service: config.service.to_string(), clock: Clock::system() };
    // Libraries speak only when something is wrong, whatever the service's own level.
    let ours = tracing_subscriber::filter::filter_fn(move |metadata| {
        let is_ours = !["hyper", "reqwest", "h2", "tower", "axum"]
            .iter()
            .any(|name| metadata.target().starts_with(name));
        is_ours || *metadata.level() <= Level::WARN
    });
    let _ = tracing_subscriber::registry().with(lines.with_filter(ours).with_filter(level)).try_init();
    Ok(())
}

struct Lines {
    service: String,
    clock: Clock,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = line(event, &self.service, &self.clock);
        line.push('\n');
        // Whoever reads our output may be gone; there is nobody else to tell.
        let _ = std::io::stdout().lock().write_all(line.as_bytes());
    }
}

fn line(event: &Event<'_>, service: &str, clock: &Clock) -> String {
    let mut fields = Fields::default();
    event.record(&mut fields);
    let level = match *event.metadata().level() {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    };
    let mut object = Map::new();
    object.insert("time".to_owned(), clock.now().to_string().into());
    object.insert("level".to_owned(), level.into());
    object.insert("service".to_owned(), service.into());
    object.insert("message".to_owned(), fields.message.into());
    if let Some(context) = RequestContext::current() {
        object.insert("request_id".to_owned(), context.request_id.into());
    }
    for (name, value) in fields.others {
        object.entry(name).or_insert(value);
    }
    Value::Object(object).to_string()
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(String, Value)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.others.push((field.name().to_owned(), value));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let mut text = String::new();
        let _ = write!(text, "{value:?}");
        self.record_str(field, &text);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let text: String = value.chars().take(FIELD_LENGTH_MAX).collect();
        if field.name() == "message" { self.message = text } else { self.put(field, text.into()) }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            let _ = write!(text, ": {error}");
            cause = error.source();
        }
        self.record_str(field, &text);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    struct Kept(Arc<Mutex<Vec<Value>>>);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let text = line(event, "orders", &Clock::system());
            self.0.lock().unwrap().push(serde_json::from_str(&text).unwrap());
        }
    }

    #[test]
    fn lines_are_json_with_the_request_and_the_whole_chain_of_an_error() {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let subscriber = tracing_subscriber::registry().with(Kept(Arc::clone(&kept)));
        let context = RequestContext { request_id: "r7".to_owned(), traceparent: None };
        tracing::subscriber::with_default(subscriber, || {
            context.scope_blocking(|| {
                let error = "x".parse::<u16>().unwrap_err();
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    order = "o1",
                    minutes = 5,
                    "order is {}",
                    "late"
                );
            });
        });
        let lines = kept.lock().unwrap();
        let line = &lines[0];
        assert_eq!(
            (&line["level"], &line["service"], &line["request_id"]),
            (&"warn".into(), &"orders".into(), &"r7".into())
        );
        assert_eq!(
            (&line["message"], &line["order"], &line["minutes"]),
            (&"order is late".into(), &"o1".into(), &5.into())
        );
        assert_eq!(line["error"], "invalid digit found in string");
        assert!(line["time"].as_str().unwrap().ends_with('Z'));
    }
}
