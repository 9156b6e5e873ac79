//! The time that a request has for the databases, and its retries.

use std::time::Duration;

use highwater_web::Backoff;
use tokio::time::{Instant, sleep, timeout_at};

use super::{DatabaseError, DatabaseResult};

/// The end of a request's time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(Instant);

impl Deadline {
    /// The deadline after this time from now.
    pub(super) fn after(patience: Duration) -> Self {
        Self(Instant::now() + patience)
    }

    /// The result of a call, if it comes in time.
    pub(super) async fn within<T>(
        self,
        call: impl Future<Output = DatabaseResult<T>> + Send,
    ) -> DatabaseResult<T> {
        timeout_at(self.0, call).await.unwrap_or(Err(DatabaseError::Late))
    }

    /// Repeats a call while the store is throttled and there is time.
    pub(super) async fn patiently<T, C>(self, call: impl Fn() -> C + Send) -> DatabaseResult<T>
    where
        C: Future<Output = DatabaseResult<T>> + Send,
    {
        let mut backoff = Backoff::new();
        loop {
            match self.within(call()).await {
                Err(DatabaseError::Throttled(reason)) => {
                    if !self.pause(&mut backoff).await {
                        return Err(DatabaseError::Throttled(reason));
                    }
                }
                other => return other,
            }
        }
    }

    /// Waits before the next attempt; returns whether there is time for it.
    pub(super) async fn pause(self, backoff: &mut Backoff) -> bool {
        let wait = backoff.next_wait();
        if Instant::now() + wait >= self.0 {
            return false;
        }
        sleep(wait).await;
        true
    }
}
