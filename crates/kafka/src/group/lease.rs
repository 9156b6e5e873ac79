//! The lease: how long this member may process its assignment.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

/// A member's right to its partitions. It runs from the time at which the last answered heartbeat was *sent*, for less
/// than the session time-out. The coordinator counts from when it *received* that heartbeat, so the lease ends before
/// another member can get the partitions. Its clock is CLOCK_BOOTTIME, which goes on while the machine sleeps.
///
/// Clones share it. After a member is out of the group it begins a new one, so that a late task of the old one stays
/// without.
#[derive(Debug, Clone)]
pub struct Lease {
    ends_at: Arc<AtomicI64>,
}

impl Lease {
    /// A lease that is over until it is renewed.
    pub fn new() -> Self {
        Self { ends_at: Arc::new(AtomicI64::new(i64::MIN)) }
    }

    /// The term for a session time-out: nine tenths of it.
    pub fn term(session_timeout: Duration) -> Duration {
        session_timeout - session_timeout / 10
    }

    /// The current time of its clock: nanoseconds since boot.
    pub fn now() -> i64 {
        let now = clock_gettime(ClockId::Boottime);
        now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
    }

    /// Renews the lease by a heartbeat that was sent at `sent_at` and answered.
    pub fn renew(&self, sent_at: i64, term: Duration) {
        let term = i64::try_from(term.as_nanos()).unwrap_or(i64::MAX);
        self.ends_at.fetch_max(sent_at.saturating_add(term), Ordering::Relaxed);
    }

    /// Ends the lease now.
    pub fn end(&self) {
        self.ends_at.store(i64::MIN, Ordering::Relaxed);
    }

    /// The time left; zero when it is over.
    pub fn remaining(&self) -> Duration {
        let left = self.ends_at.load(Ordering::Relaxed).saturating_sub(Self::now());
        Duration::from_nanos(u64::try_from(left).unwrap_or(0))
    }

    /// Whether the partitions are certainly still this member's.
    pub fn is_valid(&self) -> bool {
        !self.remaining().is_zero()
    }
}

impl Default for Lease {
    fn default() -> Self {
        Self::new()
    }
}
