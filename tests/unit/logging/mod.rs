//! Log lines: their format, hostile values, and slow readers.

mod hostile_values;
mod lines;
mod output;
mod storms;

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use highwater::telemetry::{self, Config, Format, Logger, Logs};
use log::LevelFilter;

/// Long enough for a machine that is busy with other things; nothing waits so long when all is well.
const AT_MOST: Duration = Duration::from_secs(20);

/// The written bytes.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).expect("UTF-8")
    }

    fn lines(&self) -> Vec<String> {
        self.text().lines().map(str::to_owned).collect()
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logger(format: Format, output: impl Write + Send + 'static) -> (Logger, Logs) {
    // The macros ask this before any logger; no test has one for the whole process.
    log::set_max_level(LevelFilter::Info);
    let config = Config { filter: "info,rskafka=warn".parse().expect("a filter"), format: Some(format) };
    telemetry::logger(&config, format, Box::new(output))
}

/// The lines of what is logged, without their time.
fn logged(format: Format, log: impl FnOnce(&Logger)) -> String {
    let paper = Paper::default();
    let (logger, logs) = logger(format, paper.clone());
    log(&logger);
    assert!(logs.flush(AT_MOST));
    let skip = if format == Format::Text { TIME.len() + 1 } else { "{'timestamp':'',".len() + TIME.len() };
    paper.lines().iter().map(|line| format!("{}\n", &line[skip..])).collect()
}

const TIME: &str = "2026-11-21T07:43:00.123Z";
