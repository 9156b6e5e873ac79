//! Waiting for a condition.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep};

/// How long a condition may take: far longer than it needs, since machines differ.
const PATIENCE: Duration = Duration::from_secs(60);

/// Polls until there is a result, and fails with `what` after too long a time.
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
