//! Bounds a warning that comes many times a second: its first lines are written, and then one with the number of the others.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use log::{Level, Log as _, Record};

const SECOND: Duration = Duration::from_secs(1);
/// The most lines of one message in a second. Further ones are counted.
const MOST_LINES: u32 = 10;
/// The most messages of a second that are counted separately. All lines of further ones are written.
const MOST_MESSAGES: usize = 1024;

/// Hands records on to a logger, except for storms of one warning or error.
#[derive(Debug)]
pub(super) struct Storms {
    logger: env_logger::Logger,
    second: Mutex<Second>,
}

/// The warnings and errors of a second, and their numbers.
#[derive(Debug)]
struct Second {
    began: Instant,
    messages: HashMap<Message, u32>,
    /// Whether a thread waits for its end.
    is_watched: bool,
}

/// A message. Messages with the same text are the same; their fields may differ.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Message {
    level: Level,
    target: String,
    text: String,
}

impl Second {
    fn begin() -> Self {
        Self { began: Instant::now(), messages: HashMap::new(), is_watched: false }
    }
}

impl Storms {
    pub(super) fn new(logger: env_logger::Logger) -> Arc<Self> {
        Self { logger, second: Mutex::new(Second::begin()) }.into()
    }

    pub(super) fn logger(&self) -> &env_logger::Logger {
        &self.logger
    }

    pub(super) fn log(self: &Arc<Self>, record: &Record<'_>) {
        if record.level() > Level::Warn || !self.logger.matches(record) || self.is_written(record) {
            self.logger.log(record);
        }
    }

    /// Counts a warning, and says whether it gets a line.
    fn is_written(self: &Arc<Self>, record: &Record<'_>) -> bool {
        let message = Message {
            level: record.level(),
            target: record.target().to_owned(),
            text: record.args().to_string(),
        };
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = second.began.elapsed() >= SECOND;
        let past = if is_over { mem::replace(&mut *second, Second::begin()) } else { Second::begin() };
        let is_known = second.messages.len() < MOST_MESSAGES || second.messages.contains_key(&message);
        let times = if is_known { second.messages.entry(message).or_insert(0) } else { &mut 0 };
        *times += 1;
        let is_written = *times <= MOST_LINES;
        let is_watched = is_written || mem::replace(&mut second.is_watched, true);
        let began = second.began;
        drop(second);
        self.tell(past);
        if !is_watched {
            // Perhaps no other warning comes after it.
            let storms = Arc::clone(self);
            let _ = thread::Builder::new().name("log storm".into()).spawn(move || {
                // This thread has nothing else to do.
                thread::park_timeout(SECOND);
                // The next warning may have ended it.
                storms.end(|second| second.began == began);
            });
        }
        is_written
    }

    /// Ends this second, and logs the numbers of the messages without further lines.
    pub(super) fn tell_all(&self) {
        self.end(|_| true);
    }

    fn end(&self, is_over: impl FnOnce(&Second) -> bool) {
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        let past =
            if is_over(&second) { mem::replace(&mut *second, Second::begin()) } else { Second::begin() };
        drop(second);
        self.tell(past);
    }

    fn tell(&self, Second { messages, .. }: Second) {
        for (Message { level, target, text }, times) in messages {
            let Some(more) = times.checked_sub(MOST_LINES).filter(|more| *more > 0) else { continue };
            let fields = [("times", more)];
            let mut record = Record::builder();
            record.level(level).target(&target).key_values(&fields);
            self.logger.log(&record.args(format_args!("again: {text}")).build());
        }
    }
}
