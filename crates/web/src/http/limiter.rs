//! Bounds the open connections, and closes idle ones for new ones.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::{
    budget::{MemoryBudget, MemoryReservation},
    deadlines::ConnectionDeadlines,
};

/// The number of connections, the longest idle ones, that one search finds.
const CANDIDATES: usize = 256;
/// The time for which a search without an idle connection is not repeated.
const BARREN: Duration = Duration::from_millis(20);

/// Room for a number of connections.
#[derive(Debug)]
pub(super) struct ConnectionLimiter {
    max: usize,
    max_per_address: usize,
    head: Duration,
    request: Duration,
    budget: Arc<MemoryBudget>,
    evictable_before_head: bool,
    admitted: Mutex<Admitted>,
    drained: Notify,
}

#[derive(Debug, Default)]
struct Admitted {
    next: u64,
    connections: HashMap<u64, Arc<ConnectionDeadlines>>,
    /// The number of connections that are being closed to make room.
    leaving: usize,
    addresses: HashMap<IpAddr, usize>,
    /// Some of the idle ones, the longest idle last.
    idle: Vec<(Instant, u64)>,
    barren: Option<Instant>,
}

/// A connection's slot, which is freed when dropped.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    limiter: Arc<ConnectionLimiter>,
    number: u64,
    address: IpAddr,
    pub(super) deadlines: Arc<ConnectionDeadlines>,
}

impl ConnectionLimiter {
    /// A limiter for this number of connections with these deadlines: of a head, and of the beginning of an answer.
    pub(super) fn new(max: usize, (head, request): (Duration, Duration), budget: Arc<MemoryBudget>) -> Self {
        Self {
            max,
            max_per_address: usize::MAX,
            head,
            request,
            budget,
            evictable_before_head: false,
            admitted: Mutex::default(),
            drained: Notify::new(),
        }
    }

    /// Takes at most this number of connections from one address.
    pub(super) fn with_max_per_address(self, max_per_address: usize) -> Self {
        Self { max_per_address, ..self }
    }

    /// Lets a connection be closed for another until its head is complete: half a head keeps nobody out.
    pub(super) fn with_eviction_before_head(self) -> Self {
        Self { evictable_before_head: true, ..self }
    }

    /// A slot for a connection from this address. Without a free one, the connection that has been idle for longest is
    /// closed. `None` where none is idle, or where the address has its most.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<ConnectionSlot> {
        let mut admitted = self.admitted();
        if admitted.addresses.get(&address).is_some_and(|count| *count >= self.max_per_address) {
            return None;
        }
        if admitted.connections.len() - admitted.leaving >= self.max && !admitted.close_idle() {
            return None;
        }
        let reservation = loop {
            match MemoryReservation::new(&self.budget) {
                Some(reservation) => break reservation,
                None if admitted.close_idle() => {}
                None => return None,
            }
        };
        let number = admitted.next;
        admitted.next += 1;
        let deadlines = ConnectionDeadlines::new(self.head, self.request, reservation, Arc::downgrade(self));
        let deadlines = Arc::new(deadlines.with_eviction_before_head(self.evictable_before_head));
        admitted.connections.insert(number, Arc::clone(&deadlines));
        if self.max_per_address != usize::MAX {
            *admitted.addresses.entry(address).or_default() += 1;
        }
        Some(ConnectionSlot { limiter: Arc::clone(self), number, address, deadlines })
    }

    /// Closes the connections that have been idle for longest until there is enough; returns whether there is.
    pub(super) fn close_idle_until(&self, is_enough: impl Fn() -> bool) -> bool {
        let mut admitted = self.admitted();
        while admitted.close_idle() {
            if is_enough() {
                return true;
            }
        }
        false
    }

    /// The number of connections.
    pub(super) fn connections(&self) -> usize {
        self.admitted().connections.len()
    }

    /// The number of idle connections.
    pub(super) fn idle(&self) -> usize {
        self.admitted().connections.values().filter(|deadlines| deadlines.idle_since().is_some()).count()
    }

    pub(super) fn budget(&self) -> &MemoryBudget {
        &self.budget
    }

    /// Waits until all connections are closed.
    pub(super) async fn drained(&self) {
        loop {
            let drained = self.drained.notified();
            if self.connections() == 0 {
                return;
            }
            drained.await;
        }
    }

    fn admitted(&self) -> MutexGuard<'_, Admitted> {
        self.admitted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admitted {
    /// Closes the connection that has been idle for longest; returns whether there was one.
    fn close_idle(&mut self) -> bool {
        loop {
            while let Some((since, number)) = self.idle.pop() {
                // One that was busy meanwhile is not the longest idle any more.
                if self.connections.get(&number).is_some_and(|deadlines| deadlines.evict(since)) {
                    self.leaving += 1;
                    return true;
                }
            }
            let now = Instant::now();
            if self.barren.is_some_and(|until| now < until) {
                return false;
            }
            let idle = self
                .connections
                .iter()
                .filter_map(|(number, deadlines)| Some((deadlines.idle_since()?, *number)));
            self.idle.extend(idle);
            if self.idle.is_empty() {
                // A search for each client of a flood would be a load of its own.
                self.barren = Some(now + BARREN);
                return false;
            }
            self.idle.sort_unstable_by(|one, other| other.cmp(one));
            let others = self.idle.len().saturating_sub(CANDIDATES);
            self.idle.drain(..others);
        }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut admitted = self.limiter.admitted();
        admitted.connections.remove(&self.number);
        admitted.leaving -= usize::from(self.deadlines.is_evicted());
        if let Some(count) = admitted.addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                admitted.addresses.remove(&self.address);
            }
        }
        if admitted.connections.is_empty() {
            self.limiter.drained.notify_waiters();
        }
    }
}
