//! How much memory connections may hold together.
//!
//! Each connection takes [`CONNECTION`] when it is accepted, which all of a small request and its answer fits into. What
//! goes beyond is taken when it comes, and given back when its answer has ended; a quarter is never taken for that. So
//! where large requests have used up what is for them, large requests alone are refused.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

/// What hyper buffers at most of a request's head, and about what it buffers of an answer.
pub(super) const BUFFER: usize = 16 * 1024;
/// What the system may buffer for one connection, in each direction, as far as it is told so; it takes twice as much.
pub(super) const KERNEL_BUFFER: usize = 64 * 1024;
/// What a connection takes that does nothing: its buffers as they are at first, its task, its socket.
pub(super) const CONNECTION: usize = 20 * 1024;
/// What a connection's buffers have grown by when they were full once. They stay so.
const GROWN: usize = 2 * BUFFER;
/// What an answer takes beside what it is made of, when its reader is slow.
const UNREAD: usize = GROWN + 2 * KERNEL_BUFFER;
/// The most that is there at one time of an answer whose length is not known before.
const STREAMED: usize = 64 * 1024;
/// Where nobody sets one, and no container does.
pub(super) const DEFAULT: usize = 256 << 20;

/// What was given back so far, by all servers of this process.
static RELEASED: AtomicU64 = AtomicU64::new(0);

/// How much memory connections, requests and answers have given back since the process started, in bytes. When that grows
/// by much, there is something for the allocator to give back to the system.
pub fn released() -> u64 {
    RELEASED.load(Ordering::Relaxed)
}

/// What all connections of a server may take.
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

    /// Takes so many bytes if no more than `most` are taken then; whether it did.
    fn take(&self, bytes: usize, most: usize) -> bool {
        let more = |taken: usize| taken.checked_add(bytes).filter(|taken| *taken <= most);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        RELEASED.fetch_add(bytes as u64, Ordering::Relaxed);
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What one connection has taken; dropped, all of it is given back.
#[derive(Debug)]
pub(super) struct MemoryReservation {
    budget: Arc<MemoryBudget>,
    taken: AtomicUsize,
    /// Whether it has taken what a reader costs that does not keep up.
    unread: AtomicBool,
    grown: AtomicBool,
}

impl MemoryReservation {
    /// What a connection needs; `None` where that is not there.
    pub(super) fn new(budget: &Arc<MemoryBudget>) -> Option<Self> {
        budget.take(CONNECTION, budget.limit).then(|| Self {
            budget: Arc::clone(budget),
            taken: AtomicUsize::new(CONNECTION),
            unread: AtomicBool::new(false),
            grown: AtomicBool::new(false),
        })
    }

    /// Takes so much more; whether it was there.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let there = self.budget.take(bytes, self.budget.limit - self.budget.limit / 4);
        if there {
            self.taken.fetch_add(bytes, Ordering::Relaxed);
        }
        there
    }

    /// Takes what an answer of that length costs, or one whose length is not known; whether it was there.
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

    /// Takes what it costs that the peer does not read what there is for it; whether it was there.
    pub(super) fn take_for_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed) || {
            let there = self.take(UNREAD);
            self.unread.store(there, Ordering::Relaxed);
            self.grown.store(true, Ordering::Relaxed);
            there
        }
    }

    /// Gives back what a request and its answer took.
    pub(super) fn release_request(&self) {
        self.unread.store(false, Ordering::Relaxed);
        let kept = CONNECTION + if self.grown.load(Ordering::Relaxed) { GROWN } else { 0 };
        // One step: a connection that makes room gives the same back at the same time, on another thread.
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
