//! Logging to standard output, from a thread of its own.
//!
//! env_logger filters the records. The thread that logs formats a `line` and appends it to a `sink` in memory, so that a
//! slow reader of standard output blocks nothing. env_logger takes a sixth of the cost of a line (some 0.2 µs in all), so
//! bypassing it is not worth its while.

mod escape;
mod line;
mod sink;
mod storms;

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
use storms::Storms;

/// The settings of logging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The filter.
    pub filter: Filter,
    /// The format; `None` is text on a terminal and JSON elsewhere.
    pub format: Option<Format>,
}

/// The format of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `2026-11-21T07:43:00.123Z INFO  target message name=value`, for people.
    Text,
    /// One JSON object, for machines.
    Json,
}

/// Well-formed directives of env_logger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(String);

impl FromStr for Filter {
    type Err = env_filter::ParseError;

    fn from_str(directives: &str) -> Result<Self, Self::Err> {
        env_filter::Builder::new().try_parse(directives)?;
        Ok(Self(directives.to_owned()))
    }
}

/// The longest wait for writing the last lines.
const FLUSH: Duration = Duration::from_secs(1);

/// The logs of a process or of a test. Dropping it writes the lines that are left.
#[derive(Debug)]
pub struct Logs {
    storms: Arc<Storms>,
    sink: Arc<Sink>,
}

impl Logs {
    /// Waits up to `timeout` until all lines so far are written. Returns whether they are.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.sink.flush(timeout)
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.storms.tell_all();
        self.sink.flush(FLUSH);
        self.sink.close();
    }
}

/// Starts logging to standard output for the whole process, panics included.
///
/// # Errors
///
/// The process has a logger already.
pub fn start(config: &Config) -> Result<Logs, SetLoggerError> {
    let stdout = io::stdout();
    let format = config.format.unwrap_or(if stdout.is_terminal() { Format::Text } else { Format::Json });
    // With the descriptor itself, each batch of lines is one write(2), without another buffer.
    let output: Box<dyn Write + Send> = match stdout.as_fd().try_clone_to_owned() {
        Ok(descriptor) => Box::new(File::from(descriptor)),
        Err(_) => Box::new(stdout),
    };
    let (logger, logs) = logger(config, format, output);
    log::set_max_level(logger.storms.logger().filter());
    log::set_boxed_logger(Box::new(logger))?;
    panic::set_hook(Box::new(log_panic));
    Ok(logs)
}

thread_local! {
    /// The buffer of this thread's lines, since each write to env_logger's buffer costs as much as a short text. A nested
    /// line, and one of a thread that ends, gets a buffer of its own.
    static LINE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A logger that writes to `output`, and its logs.
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
    let storms = Storms::new(inner);
    (Logger { storms: Arc::clone(&storms), sink: Arc::clone(&sink) }, Logs { storms, sink })
}

/// env_logger's logger, with a `flush` that flushes the sink. It writes the same warning ten times a second at most, and
/// then one line with the number of the others.
#[derive(Debug)]
pub struct Logger {
    storms: Arc<Storms>,
    sink: Arc<Sink>,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.storms.logger().enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        self.storms.log(record);
    }

    /// Waits up to a second until all lines so far are written.
    fn flush(&self) {
        self.storms.tell_all();
        self.sink.flush(FLUSH);
    }
}

/// Logs a panic as one line.
fn log_panic(panic: &panic::PanicHookInfo<'_>) {
    let thread = std::thread::current();
    log::error!(
        target: "highwater::panic",
        location:% = panic.location().map(ToString::to_string).unwrap_or_default(),
        thread = thread.name().unwrap_or_default();
        "panicked: {}", panic.payload_as_str().unwrap_or("without a message")
    );
}
