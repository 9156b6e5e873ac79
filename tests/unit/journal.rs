//! The log lines of the code under test, by thread, so that a test on one thread sees its own lines alone.

use std::{cell::RefCell, collections::BTreeMap, sync::Once};

use log::{
    Level, LevelFilter, Log, Metadata, Record,
    kv::{Key, Value, VisitSource},
};

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) level: Level,
    pub(crate) target: String,
    pub(crate) message: String,
    pub(crate) fields: BTreeMap<String, String>,
}

thread_local! {
    static LINES: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// Begins to listen, and forgets what this thread logged before.
pub(crate) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Journal).unwrap();
        log::set_max_level(LevelFilter::Info);
    });
    take();
}

/// The lines of this thread at info and above since the last call.
pub(crate) fn take() -> Vec<Line> {
    LINES.take()
}

/// Of each audit line of this thread since the last call: who, from where, what, and the outcome.
pub(crate) fn take_audit() -> Vec<[String; 4]> {
    let lines = take().into_iter().filter(|line| line.target == "highwater::audit");
    lines.map(|line| ["who", "address", "action", "outcome"].map(|name| line.fields[name].clone())).collect()
}

struct Journal;

impl Log for Journal {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let mut fields = Fields(BTreeMap::new());
        record.key_values().visit(&mut fields).unwrap();
        let line = Line {
            level: record.level(),
            target: record.target().to_owned(),
            message: record.args().to_string(),
            fields: fields.0,
        };
        LINES.with_borrow_mut(|lines| lines.push(line));
    }

    fn flush(&self) {}
}

struct Fields(BTreeMap<String, String>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        self.0.insert(key.to_string(), value.to_string());
        Ok(())
    }
}
