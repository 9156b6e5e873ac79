//! A concurrency limit for listings, so that posts find a free thread.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread::available_parallelism,
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::yield_now,
    time::timeout,
};

/// The most listings that wait for their first permit, which is all that most of them need. Further ones are refused.
const MAX_NEW: usize = 4 * 1024;
/// The most listings that wait for a further permit. One more that needs such a permit is refused. A permit is held for up to
/// a millisecond.
const MAX_WAITING: usize = 64;
/// The longest wait for a permit of a listing whose answer has not begun.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// The limit of concurrent reads for listings: each read of the store takes a permit. There are half as many permits as
/// processors by default; they are granted in the order of the requests. A listing that had to wait for one reads after everything
/// else that is ready, so that posts go first.
#[derive(Debug)]
pub struct ConcurrencyLimit {
    permits: Arc<Semaphore>,
    new: AtomicUsize,
    waiting: AtomicUsize,
    refused: AtomicU64,
}

/// Too many listings wait for a permit.
#[derive(Debug)]
pub(super) struct Overloaded;

/// The right to read once. Dropping it returns it.
pub(in crate::activity) type Permit = OwnedSemaphorePermit;

impl Default for ConcurrencyLimit {
    fn default() -> Self {
        Self::new(available_parallelism().map_or(1, |processors| (processors.get() / 2).max(1)))
    }
}

impl ConcurrencyLimit {
    /// A limit of this many concurrent reads.
    pub fn new(permits: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(permits)),
            new: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// The number of listings that were refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// The first permit of a listing: at once while there is one, or a refusal where too many wait or after a second.
    pub(super) async fn acquire_first(&self) -> Result<Permit, Overloaded> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(permit);
        }
        if self.new.load(Ordering::Relaxed) >= MAX_NEW {
            return Err(self.refuse());
        }
        let _new = Waiting::count(&self.new);
        self.within_max_wait(self.granted()).await
    }

    /// Refuses a listing that needs further permits while too many wait.
    pub(super) fn check(&self) -> Result<(), Overloaded> {
        if self.waiting.load(Ordering::Relaxed) < MAX_WAITING { Ok(()) } else { Err(self.refuse()) }
    }

    /// A permit for a listing whose answer has not begun, or a refusal after a second.
    pub(super) async fn acquire_or_refuse(&self) -> Result<Permit, Overloaded> {
        self.check()?;
        self.within_max_wait(self.acquire()).await
    }

    /// A permit, however long it takes. It is always `Some`, since the semaphore is never closed.
    pub(in crate::activity) async fn acquire(&self) -> Option<Permit> {
        let _waiting = Waiting::count(&self.waiting);
        self.granted().await
    }

    async fn granted(&self) -> Option<Permit> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        yield_now().await;
        permit
    }

    async fn within_max_wait(
        &self,
        permit: impl Future<Output = Option<Permit>>,
    ) -> Result<Permit, Overloaded> {
        timeout(MAX_WAIT, permit).await.unwrap_or(None).ok_or_else(|| self.refuse())
    }

    fn refuse(&self) -> Overloaded {
        self.refused.fetch_add(1, Ordering::Relaxed);
        Overloaded
    }
}

/// Counts a listing as waiting until it is dropped, also where its request is cancelled.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn count(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
