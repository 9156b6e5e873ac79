//! Long reads take turns, so that however many there are, most of the machine is left for what is quick.

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

/// How many may wait before a further read is refused. Each turn is about a millisecond.
const MOST_WAITING: usize = 64;
/// How long a read may wait for its first turn.
const PATIENCE: Duration = Duration::from_secs(1);

/// The turns of all reads that one look at the store does not answer: each further look takes one. Turns are given in
/// the order in which they are asked for, at half of the processors at one time.
#[derive(Debug)]
pub struct Turns {
    free: Arc<Semaphore>,
    waiting: AtomicUsize,
    refused: AtomicU64,
}

/// Too many reads wait for their turn.
#[derive(Debug)]
pub(super) struct Crowded;

/// A turn; dropped, it is over.
pub(super) type Turn = OwnedSemaphorePermit;

impl Default for Turns {
    fn default() -> Self {
        Self::at_once(available_parallelism().map_or(1, |processors| (processors.get() / 2).max(1)))
    }
}

impl Turns {
    /// So many turns at one time.
    pub fn at_once(turns: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(turns)),
            waiting: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// How many reads were refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Refuses a read that is about to need turns where too many wait for theirs.
    pub(super) fn admit(&self) -> Result<(), Crowded> {
        if self.waiting.load(Ordering::Relaxed) < MOST_WAITING { Ok(()) } else { Err(self.refuse()) }
    }

    /// The next turn, for a read whose answer has not begun.
    pub(super) async fn soon(&self) -> Result<Turn, Crowded> {
        self.admit()?;
        timeout(PATIENCE, self.next()).await.unwrap_or(None).ok_or_else(|| self.refuse())
    }

    /// The next turn, however long it takes. There is always one: they are never closed.
    pub(super) async fn next(&self) -> Option<Turn> {
        let _waiting = Waiting::among(&self.waiting);
        Arc::clone(&self.free).acquire_owned().await.ok()
    }

    fn refuse(&self) -> Crowded {
        self.refused.fetch_add(1, Ordering::Relaxed);
        Crowded
    }
}

/// Counts one who waits, also where nobody waits for that one any more.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn among(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
