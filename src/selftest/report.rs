//! What was tried and how it went, for a person and for an exit code.

use std::io::Write;

/// A line a check, as it goes.
pub(super) struct Report<'a> {
    out: &'a mut (dyn Write + Send),
    passed: usize,
    failed: usize,
}

impl<'a> Report<'a> {
    pub(super) fn new(out: &'a mut (dyn Write + Send)) -> Self {
        Self { out, passed: 0, failed: 0 }
    }

    /// Says what the following checks are about.
    pub(super) fn heading(&mut self, what: &str) {
        self.line(format_args!("# {what}"));
    }

    /// Notes how a check went: what must hold, and why it does not. Whether it passed.
    pub(super) fn check(&mut self, what: &str, outcome: anyhow::Result<()>) -> bool {
        match &outcome {
            Ok(()) => {
                self.passed += 1;
                self.line(format_args!("ok      {what}"));
            }
            Err(why) => {
                self.failed += 1;
                self.line(format_args!("FAILED  {what}: {why:#}"));
            }
        }
        outcome.is_ok()
    }

    /// Says how it went in all; whether everything passed.
    pub(super) fn end(mut self) -> bool {
        let (passed, failed) = (self.passed, self.failed);
        self.line(format_args!("{passed} passed, {failed} failed"));
        failed == 0
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Where nobody reads there is nobody to tell; the exit code says it all the same.
        let _ = writeln!(self.out, "{line}").and_then(|()| self.out.flush());
    }
}
