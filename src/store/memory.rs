//! The in-memory store, on `scc::HashMap`.

/// The bounds of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The most events in memory, shared out among the topic's partitions.
    pub max_events: u64,
}

/// Events in memory.
#[derive(Debug)]
pub struct MemoryStore {}
