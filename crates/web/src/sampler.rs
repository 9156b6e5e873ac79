//! Bounds the log lines of a second: a storm of events is no storm of lines.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

/// Tells which events are logged: the first ones of each second.
#[derive(Debug)]
pub struct Sampler {
    most: u32,
    second: Mutex<Second>,
}

/// The events of the current second.
#[derive(Debug)]
struct Second {
    began: Option<Instant>,
    events: u32,
}

/// The decision whether an event is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampled {
    /// The number of suppressed events in the last second with events, reported with the next one.
    pub left_out: u32,
    /// Whether the event is logged.
    pub is_logged: bool,
}

impl Sampler {
    /// Logs at most this number a second.
    pub const fn new(most: u32) -> Self {
        Self { most, second: Mutex::new(Second { began: None, events: 0 }) }
    }

    /// Counts an event, and decides about it.
    pub fn sample(&self) -> Sampled {
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left_out = 0;
        if second.began.is_none_or(|began| began.elapsed() >= SECOND) {
            left_out = second.events.saturating_sub(self.most);
            *second = Second { began: Some(Instant::now()), events: 0 };
        }
        second.events = second.events.saturating_add(1);
        Sampled { left_out, is_logged: second.events <= self.most }
    }
}
