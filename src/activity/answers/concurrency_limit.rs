//! A concurrency limit for long listings, so that short requests find a free thread.

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
    time::timeout,
};

/// How many listings may wait for a permit before further ones are refused. A permit is held for about a millisecond.
const MAX_WAITING: usize = 64;
/// How long a listing may wait for its first permit.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// The limit of concurrent reads for long listings. A listing that one read of the store does not answer takes a permit
/// for each further read. There are half as many permits as processors; they are granted in the order of the requests.
#[derive(Debug)]
pub struct ConcurrencyLimit {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    refused: AtomicU64,
}

/// Too many listings wait for a permit.
#[derive(Debug)]
pub(super) struct Overloaded;

/// The right to read once. Dropping it returns it.
pub(super) type Permit = OwnedSemaphorePermit;

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
            waiting: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// The number of listings that were refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Refuses a listing that needs permits while too many wait.
    pub(super) fn check(&self) -> Result<(), Overloaded> {
        if self.waiting.load(Ordering::Relaxed) < MAX_WAITING { Ok(()) } else { Err(self.refuse()) }
    }

    /// A permit for a listing whose answer has not begun, or a refusal after a second.
    pub(super) async fn acquire_or_refuse(&self) -> Result<Permit, Overloaded> {
        self.check()?;
        timeout(MAX_WAIT, self.acquire()).await.unwrap_or(None).ok_or_else(|| self.refuse())
    }

    /// A permit, however long it takes. It is always `Some`, since the semaphore is never closed.
    pub(super) async fn acquire(&self) -> Option<Permit> {
        let _waiting = Waiting::count(&self.waiting);
        Arc::clone(&self.permits).acquire_owned().await.ok()
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
