//! Bounds the memory of all connections together.
//!
//! Each connection reserves [`CONNECTION`] when it is accepted; a small request and its answer fit into that. More memory is
//! reserved as it is needed, and released when the answer has ended. A quarter of the budget is never reserved for this, so
//! exhausting it with large requests refuses large requests alone.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

/// The most that hyper buffers of a request's head, and about as much as it buffers of an answer.
pub(super) const BUFFER: usize = 16 * 1024;
/// The kernel's buffer of one connection in each direction, as requested; Linux takes twice as much.
pub(super) const KERNEL_BUFFER: usize = 64 * 1024;
/// The memory of an idle connection: its first buffers, its task, its socket.
pub(super) const CONNECTION: usize = 20 * 1024;
/// The memory of TLS on an idle connection.
pub(super) const TLS: usize = 8 * 1024;
/// The memory of HTTP/2 on a connection: tables and buffers, and the bodies that its client may send ahead.
pub(super) const HTTP2: usize = WINDOW as usize + 16 * 1024;
/// The most bytes of requests' bodies that a client may send ahead on a connection of HTTP/2.
pub(super) const WINDOW: u32 = 64 * 1024;
/// The growth of a connection's buffers once they were full. They never shrink.
const GROWN: usize = 2 * BUFFER;
/// The memory that a slow reader costs beside the answer itself.
const UNREAD: usize = GROWN + 2 * KERNEL_BUFFER;
/// The most memory at one time of an answer whose length is not known.
const STREAMED: usize = 64 * 1024;
/// The default, where neither a setting nor a container limits the memory.
pub(super) const DEFAULT: usize = 256 << 20;

/// The bytes that all servers of this process have released so far.
static RELEASED: AtomicU64 = AtomicU64::new(0);

/// The memory that connections, requests and answers have given back since the process started, in bytes. After a large
/// growth, the allocator has memory for the system.
pub fn released() -> u64 {
    RELEASED.load(Ordering::Relaxed)
}

/// The memory that all connections of a server may take.
#[derive(Debug)]
pub(super) struct MemoryBudget {
    limit: usize,
    taken: AtomicUsize,
}

impl MemoryBudget {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, taken: AtomicUsize::new(0) }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Takes this number of bytes if no more than `most` are taken then. Returns whether it did.
    fn take(&self, bytes: usize, most: usize) -> bool {
        let more = |taken: usize| taken.checked_add(bytes).filter(|taken| *taken <= most);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        RELEASED.fetch_add(bytes as u64, Ordering::Relaxed);
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The memory of one connection; dropped, it is released.
#[derive(Debug)]
pub(super) struct MemoryReservation {
    budget: Arc<MemoryBudget>,
    taken: AtomicUsize,
    /// The bytes of the idle connection.
    kept: AtomicUsize,
    /// Whether it includes the cost of a slow reader.
    unread: AtomicBool,
    grown: AtomicBool,
}

impl MemoryReservation {
    /// Reserves the memory of a connection; `None` where there is not enough.
    pub(super) fn new(budget: &Arc<MemoryBudget>) -> Option<Self> {
        budget.take(CONNECTION, budget.limit).then(|| Self::of(budget, CONNECTION))
    }

    /// An empty reservation.
    pub(super) fn none(budget: &Arc<MemoryBudget>) -> Self {
        Self::of(budget, 0)
    }

    fn of(budget: &Arc<MemoryBudget>, taken: usize) -> Self {
        Self {
            budget: Arc::clone(budget),
            taken: AtomicUsize::new(taken),
            kept: AtomicUsize::new(CONNECTION),
            unread: AtomicBool::new(false),
            grown: AtomicBool::new(false),
        }
    }

    /// Takes this many bytes for the life of the connection; returns whether they were free.
    pub(super) fn keep(&self, bytes: usize) -> bool {
        let there = self.budget.take(bytes, self.budget.limit);
        if there {
            self.kept.fetch_add(bytes, Ordering::Relaxed);
            self.taken.fetch_add(bytes, Ordering::Relaxed);
        }
        there
    }

    pub(super) fn budget(&self) -> &Arc<MemoryBudget> {
        &self.budget
    }

    /// Takes this many bytes; returns whether they were free.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let there = self.budget.take(bytes, self.budget.limit - self.budget.limit / 4);
        if there {
            self.taken.fetch_add(bytes, Ordering::Relaxed);
        }
        there
    }

    /// Takes the cost of an answer of this length, or of unknown length; returns whether it was free.
    pub(super) fn take_for_answer(&self, length: Option<u64>) -> bool {
        match length.map(|length| usize::try_from(length).unwrap_or(usize::MAX)) {
            Some(length) if length <= BUFFER / 2 => true,
            length => {
                let there = self.take(length.unwrap_or(STREAMED).saturating_add(UNREAD));
                if there {
                    self.unread.store(true, Ordering::Relaxed);
                    self.grown.store(true, Ordering::Relaxed);
                }
                there
            }
        }
    }

    /// Takes the cost of a peer that does not read; returns whether it was free.
    pub(super) fn take_for_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed) || {
            let there = self.take(UNREAD);
            self.unread.store(there, Ordering::Relaxed);
            self.grown.store(true, Ordering::Relaxed);
            there
        }
    }

    /// Notes that one of several answers on the connection has taken the cost of a peer that does not read.
    pub(super) fn cover_unread(&self) {
        self.unread.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_unread_covered(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    /// Gives back the memory of a request and its answer.
    pub(super) fn release_request(&self) {
        self.unread.store(false, Ordering::Relaxed);
        let kept =
            self.kept.load(Ordering::Relaxed) + if self.grown.load(Ordering::Relaxed) { GROWN } else { 0 };
        // A single step, since a connection that makes room gives the same memory back at the same time, on another thread.
        let less = |taken: usize| (taken > kept).then_some(kept);
        if let Ok(taken) = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
            self.budget.give_back(taken - kept);
        }
    }

    /// Gives back all of it, for a connection that is being closed.
    pub(super) fn release_all(&self) {
        self.budget.give_back(self.taken.swap(0, Ordering::Relaxed));
    }
}

impl Drop for MemoryReservation {
    fn drop(&mut self) {
        self.release_all();
    }
}
