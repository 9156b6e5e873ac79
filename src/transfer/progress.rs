//! Shows the progress of a transfer: a bar on a terminal, a line a second elsewhere.

use std::{
    io::{IsTerminal as _, Write as _},
    time::Duration,
};

use tokio::time::Instant;

/// The width of the bar, in characters.
const WIDTH: usize = 24;

/// Shows the progress of a transfer on standard error.
#[derive(Debug)]
pub(super) struct ProgressLine {
    is_terminal: bool,
    began: Instant,
    shown: Option<Instant>,
}

/// The figures of a transfer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figures {
    pub(super) events: u64,
    pub(super) refused: u64,
    /// The bytes that are done and the bytes of all, where these are known.
    pub(super) share: Option<(u64, u64)>,
}

impl ProgressLine {
    pub(super) fn new() -> Self {
        Self { is_terminal: std::io::stderr().is_terminal(), began: Instant::now(), shown: None }
    }

    /// Shows the figures, unless it did a moment ago.
    pub(super) fn show(&mut self, figures: Figures) {
        let pause = if self.is_terminal { Duration::from_millis(100) } else { Duration::from_secs(1) };
        if self.shown.unwrap_or(self.began).elapsed() >= pause {
            self.shown = Some(Instant::now());
            self.write(&line(figures, self.began.elapsed(), self.is_terminal));
        }
    }

    /// Says something beside the figures.
    pub(super) fn say(&mut self, text: &str) {
        if self.is_terminal {
            self.write("");
        }
        eprintln!("{text}");
    }

    /// Ends with the sums.
    pub(super) fn end(&mut self, text: &str) {
        self.say(&format!("{text} in {}", clock(self.began.elapsed())));
    }

    fn write(&self, text: &str) {
        let mut out = std::io::stderr().lock();
        // A terminal that is gone is no reason to end.
        let _ = match self.is_terminal {
            // Back to the beginning of the line, and the line is erased.
            true => write!(out, "\r\x1b[2K{text}"),
            false => writeln!(out, "{text}"),
        };
        let _ = out.flush();
    }
}

fn line(figures: Figures, elapsed: Duration, has_bar: bool) -> String {
    let seconds = elapsed.as_secs_f64().max(0.001);
    let mut line = String::new();
    if let Some((done, all)) = figures.share.filter(|(_, all)| *all > 0) {
        let share = (done as f64 / all as f64).min(1.0);
        if has_bar {
            let full = (share * WIDTH as f64) as usize;
            line = format!("[{}{}] ", "=".repeat(full), " ".repeat(WIDTH - full));
        }
        line.push_str(&format!("{:.0} %, ", share * 100.0));
    }
    line.push_str(&format!("{} events, {:.0} a second", figures.events, figures.events as f64 / seconds));
    if figures.refused > 0 {
        line.push_str(&format!(", {} refused", figures.refused));
    }
    if let Some((done, all)) = figures.share.filter(|(done, all)| *done > 0 && done < all) {
        let left = seconds * (all - done) as f64 / done as f64;
        line.push_str(&format!(", {} left", clock(Duration::from_secs_f64(left))));
    }
    line
}

fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3600 => format!("{}:{:02} min", seconds / 60, seconds % 60),
        _ => format!("{}:{:02} h", seconds / 3600, seconds / 60 % 60),
    }
}
