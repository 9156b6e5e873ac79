//! Logs: one line an occurrence, on standard output, written by a thread of their own.
//!
//! env_logger filters and calls; a `line` is formatted by the thread that logs and appended to a
//! `sink` in memory, so that a slow reader of standard output holds up nobody. The way through
//! env_logger itself is a sixth of what a line costs (some 0.2 µs), so that nothing goes around it.

mod escape;
mod line;
mod sink;

use std::{
    cell::Cell,
    fs::File,
    io::{self, IsTerminal as _, Write},
    os::fd::AsFd as _,
    panic,
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use log::{Log, Metadata, Record, SetLoggerError};

use sink::Sink;

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What is logged.
    pub filter: Filter,
    /// How a line is written; `None` is text on a terminal and JSON elsewhere.
    pub format: Option<Format>,
}

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `2026-11-21T07:43:00.123Z INFO  target message name=value`, for people.
    Text,
    /// One JSON object, for machines.
    Json,
}

/// Directives as env_logger takes them, known to be well-formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(String);

impl FromStr for Filter {
    type Err = env_filter::ParseError;

    fn from_str(directives: &str) -> Result<Self, Self::Err> {
        env_filter::Builder::new().try_parse(directives)?;
        Ok(Self(directives.to_owned()))
    }
}

/// How long the last lines may take to be written.
const FLUSH: Duration = Duration::from_secs(1);

/// The logs of a process or of a test; when it is dropped, what was logged is written out.
#[derive(Debug)]
pub struct Logs {
    sink: Arc<Sink>,
}

impl Logs {
    /// Waits until everything logged so far is written, at most that long; whether it is.
    pub fn flush(&self, at_most: Duration) -> bool {
        self.sink.flush(at_most)
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.sink.flush(FLUSH);
        self.sink.close();
    }
}

/// Starts logging to standard output, for the whole process; panics are logged, too.
///
/// # Errors
///
/// Another logger was there first.
pub fn start(config: &Config) -> Result<Logs, SetLoggerError> {
    let stdout = io::stdout();
    let format = config.format.unwrap_or(if stdout.is_terminal() { Format::Text } else { Format::Json });
    // The descriptor itself, so that each batch of lines is one write(2), without another buffer between.
    let output: Box<dyn Write + Send> = match stdout.as_fd().try_clone_to_owned() {
        Ok(descriptor) => Box::new(File::from(descriptor)),
        Err(_) => Box::new(stdout),
    };
    let (logger, logs) = logger(config, format, output);
    log::set_max_level(logger.inner.filter());
    log::set_boxed_logger(Box::new(logger))?;
    panic::set_hook(Box::new(log_panic));
    Ok(logs)
}

thread_local! {
    /// What this thread's lines are made in, as each write to env_logger's own buffer costs as much as a short text. A
    /// line that is made while another is, or while the thread ends, has its own.
    static LINE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A logger that writes where it is told to, and its logs.
pub fn logger(config: &Config, format: Format, output: Box<dyn Write + Send>) -> (Logger, Logs) {
    let sink = Sink::start(output, format);
    let inner = env_logger::Builder::new()
        .parse_filters(&config.filter.0)
        .format(move |out, record| {
            let mut line = LINE.try_with(Cell::take).unwrap_or_default();
            line.clear();
            line::push(&mut line, format, record);
            let written = out.write_all(&line);
            let _ = LINE.try_with(|kept| kept.set(line));
            written
        })
        .target(env_logger::Target::Pipe(Box::new(sink::Appender(Arc::clone(&sink)))))
        .build();
    (Logger { inner, sink: Arc::clone(&sink) }, Logs { sink })
}

/// env_logger's, with a `flush` that flushes.
#[derive(Debug)]
pub struct Logger {
    inner: env_logger::Logger,
    sink: Arc<Sink>,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.inner.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        self.inner.log(record);
    }

    /// Waits until what was logged is written, but no longer than a second.
    fn flush(&self) {
        self.sink.flush(FLUSH);
    }
}

/// A panic is one line among the others.
fn log_panic(panic: &panic::PanicHookInfo<'_>) {
    let thread = std::thread::current();
    log::error!(
        target: "highwater::panic",
        location:% = panic.location().map(ToString::to_string).unwrap_or_default(),
        thread = thread.name().unwrap_or_default();
        "panicked: {}", panic.payload_as_str().unwrap_or("without a message")
    );
}
