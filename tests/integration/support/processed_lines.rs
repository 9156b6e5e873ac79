//! Counts the `processed` log lines of each event.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, Once},
};

use log::{LevelFilter, Log, Metadata, Record};

static LINES: LazyLock<Mutex<HashMap<String, usize>>> = LazyLock::new(Mutex::default);

/// Counts from now on, for all tests of this process: event ids tell them apart.
pub(crate) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Listener).unwrap();
        log::set_max_level(LevelFilter::Info);
    });
}

/// The lines about that event.
pub(crate) fn of(event_id: &str) -> usize {
    LINES.lock().unwrap().get(event_id).copied().unwrap_or(0)
}

struct Listener;

impl Log for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "highwater::processed"
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        if let Some(id) = record.key_values().get("eventId".into()) {
            *LINES.lock().unwrap().entry(id.to_string()).or_default() += 1;
        }
    }

    fn flush(&self) {}
}
