//! How long this member may act on what it was assigned.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

use crate::sabotage::{self, Sabotage};

/// A member's right to its partitions. It runs from when the last successful heartbeat was *sent*, for a term
/// within the coordinator's patience: the coordinator counts from when it *received* it, so the lease ends
/// before another member can get the partitions. On CLOCK_BOOTTIME, which goes on while the machine sleeps.
///
/// Clones share it. Out of the group, a member begins a new one: what still acts on the old one stays out.
#[derive(Debug, Clone)]
pub struct Lease {
    ends_at: Arc<AtomicI64>,
}

impl Lease {
    /// A lease that is over until it is renewed.
    pub fn new() -> Self {
        Self { ends_at: Arc::new(AtomicI64::new(i64::MIN)) }
    }

    /// The term for a session time-out: a margin less.
    pub fn term(session_timeout: Duration) -> Duration {
        session_timeout - session_timeout / 10
    }

    /// Now, as a lease counts: nanoseconds since boot.
    pub fn now() -> i64 {
        let now = clock_gettime(ClockId::Boottime);
        now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
    }

    /// A heartbeat sent at that moment was answered well.
    pub fn renew(&self, sent_at: i64, term: Duration) {
        let term = i64::try_from(term.as_nanos()).unwrap_or(i64::MAX);
        self.ends_at.fetch_max(sent_at.saturating_add(term), Ordering::Relaxed);
    }

    /// It is over, whatever it was renewed to.
    pub fn end(&self) {
        self.ends_at.store(i64::MIN, Ordering::Relaxed);
    }

    /// The time left; zero when it is over.
    pub fn remaining(&self) -> Duration {
        let left = self.ends_at.load(Ordering::Relaxed).saturating_sub(Self::now());
        Duration::from_nanos(u64::try_from(left).unwrap_or(0))
    }

    /// Whether the partitions are surely still this member's.
    pub fn is_valid(&self) -> bool {
        sabotage::is(Sabotage::NoFencing) || !self.remaining().is_zero()
    }
}

impl Default for Lease {
    fn default() -> Self {
        Self::new()
    }
}
