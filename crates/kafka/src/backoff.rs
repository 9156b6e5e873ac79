//! Exponential backoff with jitter, without an end.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// The waits between attempts: 50 ms, then twice as long each time, up to 2 s, each with jitter.
#[derive(Debug)]
pub struct Backoff(ExponentialBackoff);

impl Backoff {
    /// A backoff before its first wait.
    pub fn new() -> Self {
        let waits = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(50))
            .with_max_delay(Duration::from_secs(2))
            .with_factor(2.0)
            .without_max_times()
            .with_jitter();
        Self(waits.build())
    }

    /// The next wait.
    pub fn next_wait(&mut self) -> Duration {
        self.0.next().unwrap_or(Duration::from_secs(2))
    }

    /// Sleeps for the next wait.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.next_wait()).await;
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}
