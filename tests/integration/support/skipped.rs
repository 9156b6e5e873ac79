//! Tests that need a certain kind of cluster.

use super::switch;

/// Reports a skipped test and its missing requirement. Where TEST_MUST_RUN names the requirement, or is
/// `all`, the test fails instead: so a job that is there for it cannot pass without it.
pub(crate) fn skipped(needs: &str, why: &str) {
    let wanted = switch("TEST_MUST_RUN").unwrap_or_default();
    let must_run = wanted.split(',').any(|name| name == needs || name == "all");
    assert!(!must_run, "TEST_MUST_RUN={wanted}: {why}");
    eprintln!("skipped: {why}");
}
