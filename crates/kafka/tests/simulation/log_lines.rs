//! What the library logs, in the trace or on standard error.

use log::{LevelFilter, Log, Metadata, Record};

use crate::trace::Trace;

struct Lines(Trace);

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = || format!("{} {} {}", record.level(), record.target(), record.args());
        match self.0.is_kept() {
            true => self.0.line(line),
            false => eprintln!("{}", line()),
        }
    }

    fn flush(&self) {}
}

/// Writes what is logged from now on to the trace, if it is kept.
pub(crate) fn write_to(trace: &Trace) {
    if log::set_boxed_logger(Box::new(Lines(trace.clone()))).is_ok() {
        log::set_max_level(LevelFilter::Debug);
    }
}
