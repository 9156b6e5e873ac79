//! Who is connected, and who makes room for others.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::{
    budget::{Budget, Share},
    pace::Pace,
};

/// How many of the longest idle connections are looked for at a time.
const CANDIDATES: usize = 256;
/// How long it is believed that no connection is idle.
const BARREN: Duration = Duration::from_millis(20);

/// Room for a number of connections.
#[derive(Debug)]
pub(super) struct Room {
    most: usize,
    most_an_address: usize,
    head: Duration,
    request: Duration,
    budget: Arc<Budget>,
    idle_at_head: bool,
    inside: Mutex<Inside>,
    emptied: Notify,
}

#[derive(Debug, Default)]
struct Inside {
    next: u64,
    connections: HashMap<u64, Arc<Pace>>,
    /// How many of them are being closed to make room.
    leaving: usize,
    addresses: HashMap<IpAddr, usize>,
    /// Some of the idle ones, the longest idle last.
    idle: Vec<(Instant, u64)>,
    barren: Option<Instant>,
}

/// A connection's place; dropped, it is free again.
#[derive(Debug)]
pub(super) struct Place {
    room: Arc<Room>,
    number: u64,
    address: IpAddr,
    pub(super) pace: Arc<Pace>,
}

impl Room {
    /// For so many connections of such deadlines: for a head, and for an answer to begin.
    pub(super) fn new(most: usize, (head, request): (Duration, Duration), budget: Arc<Budget>) -> Self {
        Self {
            most,
            most_an_address: usize::MAX,
            head,
            request,
            budget,
            idle_at_head: false,
            inside: Mutex::default(),
            emptied: Notify::new(),
        }
    }

    /// Takes at most so many from one address.
    pub(super) fn with_most_an_address(self, most_an_address: usize) -> Self {
        Self { most_an_address, ..self }
    }

    /// A connection makes room as long as no head is whole: half of one keeps nobody out.
    pub(super) fn with_whole_heads(self) -> Self {
        Self { idle_at_head: true, ..self }
    }

    /// A place for a connection from there. Where there is none, the connection that has been idle for longest is closed
    /// for it; `None` where none is idle, or where the address has all that one may have.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let mut inside = self.inside();
        if inside.addresses.get(&address).is_some_and(|count| *count >= self.most_an_address) {
            return None;
        }
        if inside.connections.len() - inside.leaving >= self.most && !inside.close_idle() {
            return None;
        }
        let share = loop {
            match Share::new(&self.budget) {
                Some(share) => break share,
                None if inside.close_idle() => {}
                None => return None,
            }
        };
        let number = inside.next;
        inside.next += 1;
        let pace = Pace::new(self.head, self.request, share, Arc::downgrade(self));
        let pace = Arc::new(pace.with_idle_at_head(self.idle_at_head));
        inside.connections.insert(number, Arc::clone(&pace));
        if self.most_an_address != usize::MAX {
            *inside.addresses.entry(address).or_default() += 1;
        }
        Some(Place { room: Arc::clone(self), number, address, pace })
    }

    /// Closes the connections that have been idle for longest until there is enough; whether there is.
    pub(super) fn close_idle_until(&self, is_enough: impl Fn() -> bool) -> bool {
        let mut inside = self.inside();
        while inside.close_idle() {
            if is_enough() {
                return true;
            }
        }
        false
    }

    /// How many are connected.
    pub(super) fn connections(&self) -> usize {
        self.inside().connections.len()
    }

    /// Of those, how many ask nothing just now.
    pub(super) fn idle(&self) -> usize {
        self.inside().connections.values().filter(|pace| pace.idle_since().is_some()).count()
    }

    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Waits until nobody is connected.
    pub(super) async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.connections() == 0 {
                return;
            }
            emptied.await;
        }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    /// Closes the connection that has been idle for longest; whether there was one.
    fn close_idle(&mut self) -> bool {
        loop {
            while let Some((since, number)) = self.idle.pop() {
                // One that was busy meanwhile is not the longest idle any more.
                if self.connections.get(&number).is_some_and(|pace| pace.evict(since)) {
                    self.leaving += 1;
                    return true;
                }
            }
            let now = Instant::now();
            if self.barren.is_some_and(|until| now < until) {
                return false;
            }
            let idle =
                self.connections.iter().filter_map(|(number, pace)| Some((pace.idle_since()?, *number)));
            self.idle.extend(idle);
            if self.idle.is_empty() {
                // To look at all of them for each client of a flood would be a load of its own.
                self.barren = Some(now + BARREN);
                return false;
            }
            self.idle.sort_unstable_by(|one, other| other.cmp(one));
            let others = self.idle.len().saturating_sub(CANDIDATES);
            self.idle.drain(..others);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.room.inside();
        inside.connections.remove(&self.number);
        inside.leaving -= usize::from(self.pace.is_evicted());
        if let Some(count) = inside.addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                inside.addresses.remove(&self.address);
            }
        }
        if inside.connections.is_empty() {
            self.room.emptied.notify_waiters();
        }
    }
}
