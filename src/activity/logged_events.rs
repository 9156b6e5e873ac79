//! The choice of the events that have lines in the log.

use uuid::Uuid;

/// The events that are logged. An event has a line when it is published and one when it is processed. It has both or neither,
/// on every instance, since its id decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoggedEvents(u32);

impl LoggedEvents {
    /// All of them.
    pub const ALL: Self = Self(1);
    /// None.
    pub const NONE: Self = Self(0);

    /// About one of so many; none of 0.
    pub const fn one_of(events: u32) -> Self {
        Self(events)
    }

    /// Whether the event of this id is logged.
    pub fn has(self, id: Uuid) -> bool {
        /// 2^64 divided by the golden ratio: ids that differ in few bits are spread over all products (Fibonacci hashing).
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        let (high, low) = id.as_u64_pair();
        let spread = (high ^ low).wrapping_mul(SPREAD) >> 32;
        // The product's upper half is below the number of events; it is 0 once in so many.
        self != Self::NONE && (spread * u64::from(self.0)) >> 32 == 0
    }
}

impl Default for LoggedEvents {
    fn default() -> Self {
        Self::ALL
    }
}
