//! The lease: the time for which this member may process its assignment.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

/// A member's right to its partitions. It runs from the time at which the last answered heartbeat was *sent*, for less
/// than the session time-out. The coordinator counts from when it *received* that heartbeat, so the lease ends before
/// another member can get the partitions. Its clock is CLOCK_BOOTTIME, which goes on while the machine sleeps.
///
/// Clones share it. A lease that was ended stays over, whatever heartbeat is answered after that. A member that joins
/// again begins a new one.
#[derive(Debug, Clone)]
pub struct Lease {
    ends_at: Arc<AtomicI64>,
}

/// The clock that [`Lease::now`] reads in place of CLOCK_BOOTTIME.
static CLOCK: OnceLock<fn() -> i64> = OnceLock::new();

/// The end of a lease that is not renewed any more.
const ENDED: i64 = i64::MIN;

impl Lease {
    /// A lease that is over until it is renewed.
    pub fn new() -> Self {
        Self { ends_at: Arc::new(AtomicI64::new(0)) }
    }

    /// The term for a session time-out: nine tenths of it.
    pub fn term(session_timeout: Duration) -> Duration {
        session_timeout - session_timeout / 10
    }

    /// The current time of its clock: nanoseconds since boot.
    pub fn now() -> i64 {
        if let Some(clock) = CLOCK.get() {
            return clock();
        }
        let now = clock_gettime(ClockId::Boottime);
        now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
    }

    /// Makes all leases of the process read another clock, in nanoseconds: for a simulation, before the first lease. The
    /// first call counts.
    #[doc(hidden)]
    pub fn set_clock(clock: fn() -> i64) {
        CLOCK.get_or_init(|| clock);
    }

    /// Renews the lease by a heartbeat that was sent at `sent_at` and answered, unless it was ended.
    pub fn renew(&self, sent_at: i64, term: Duration) {
        let ends_at = sent_at.saturating_add(i64::try_from(term.as_nanos()).unwrap_or(i64::MAX));
        let later = |known: i64| (known != ENDED).then(|| known.max(ends_at));
        let _ended = self.ends_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
    }

    /// Ends the lease for good: the member leaves, or is out of the group.
    pub fn end(&self) {
        self.ends_at.store(ENDED, Ordering::Relaxed);
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
