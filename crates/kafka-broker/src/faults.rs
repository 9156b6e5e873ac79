//! Faults on purpose.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kafka_protocol::{ResponseError, messages::ApiKey};

/// A fault of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is refused with this error, and nothing is done.
    Refuse(ResponseError),
    /// It is answered after that delay.
    Delay(Duration),
    /// It has no response, and nothing is done.
    Stall,
    /// The connection breaks, and nothing is done.
    Drop,
    /// As [`Fault::Drop`], if the request's version is below this one, which tells clients apart.
    DropBelow(i16),
    /// Its response throttles the client for so long: a Produce is done, a Fetch brings
    /// nothing.
    Throttle(Duration),
    /// It is done, and the connection breaks before the response.
    LoseAnswer,
}

/// The planned faults, and the number of requests so far, by API.
#[derive(Debug, Default)]
pub struct Faults {
    planned: Mutex<HashMap<i16, VecDeque<(Fault, usize)>>>,
    counts: Mutex<HashMap<i16, usize>>,
}

impl Faults {
    /// The next request of that API has this fault, after those planned before.
    pub fn once(&self, api: ApiKey, fault: Fault) {
        self.times(api, fault, 1);
    }

    /// The next `times` requests of that API have this fault, after those planned before.
    pub fn times(&self, api: ApiKey, fault: Fault, times: usize) {
        self.planned().entry(api as i16).or_default().push_back((fault, times));
    }

    /// Every request of that API has this fault, until [`Faults::clear`].
    pub fn always(&self, api: ApiKey, fault: Fault) {
        self.times(api, fault, usize::MAX);
    }

    /// Removes all faults.
    pub fn clear(&self) {
        self.planned().clear();
    }

    /// The number of requests of that API so far.
    pub fn count(&self, api: ApiKey) -> usize {
        self.counts().get(&(api as i16)).copied().unwrap_or(0)
    }

    /// Counts a request, and returns its fault.
    pub(super) fn meet(&self, api: ApiKey) -> Option<Fault> {
        *self.counts().entry(api as i16).or_default() += 1;
        let mut planned = self.planned();
        let queue = planned.get_mut(&(api as i16))?;
        let (fault, times) = queue.front_mut()?;
        let fault = *fault;
        *times -= 1;
        if *times == 0 {
            queue.pop_front();
        }
        Some(fault)
    }

    fn planned(&self) -> MutexGuard<'_, HashMap<i16, VecDeque<(Fault, usize)>>> {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<i16, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
