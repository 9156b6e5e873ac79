//! The report of the checks.

use std::io::Write;

/// Writes one line per check.
pub(super) struct Report<'a> {
    out: &'a mut (dyn Write + Send),
    passed: usize,
    failed: usize,
}

impl<'a> Report<'a> {
    pub(super) fn new(out: &'a mut (dyn Write + Send)) -> Self {
        Self { out, passed: 0, failed: 0 }
    }

    /// Writes the heading of the following checks.
    pub(super) fn heading(&mut self, what: &str) {
        self.line(format_args!("# {what}"));
    }

    /// Reports a check. Returns whether it passed.
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

    /// Writes the totals. Returns whether all checks passed.
    pub(super) fn end(mut self) -> bool {
        let (passed, failed) = (self.passed, self.failed);
        self.line(format_args!("{passed} passed, {failed} failed"));
        failed == 0
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // A closed output does not matter: the exit code tells the result.
        let _ = writeln!(self.out, "{line}").and_then(|()| self.out.flush());
    }
}
