//! Waiting on a condition, never on the clock.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep};

/// How long a condition may take; far beyond what it needs, since machines differ.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until there is an answer, and fails with what was awaited when there is none for too long.
pub(crate) async fn eventually<T, F>(what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let began = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}
