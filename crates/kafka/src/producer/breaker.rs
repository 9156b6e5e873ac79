//! A circuit breaker for each broker that leads partitions: one that hangs stops its own partitions alone.
//!
//! ```text
//!            nothing answered for BREAKER_AFTER
//!   closed ──────────────────────────────────────▶ open ◀──┐
//!    ▲  ▲                                           │  │    │ a probe is not acknowledged
//!    │  └───────────────────────────────────────────┘  │    │
//!    │    a queue found its way again to a broker that  │    │
//!    │    could not be reached                         ▼    │
//!    └──────────────────────────────────────────── half-open
//!      Kafka acknowledges       a queue found its way to a broker
//!                               that could be reached all along
//! ```
//!
//! What kept a broker from answering is over with the first connection to it where connections were what failed: it
//! was away, or its process hung. One that takes connections and acknowledges nothing has to acknowledge something.
//!
//! Each queue has a [`Gate`], which is what a publish looks at: one atomic. A [`Breaker`] opens and shuts the
//! gates of the queues whose partitions its broker leads. The queues do the rest: they tell it how their calls end,
//! and while one is in trouble or shut it looks for its leader by itself, which is what finds a broker that is back,
//! and a leader that is another by then.
//!
//! A circuit breaker of a library wraps a call: it counts how many fail and asks again after a while. Here are no
//! calls to wrap. A record waits in a queue that keeps its order and its deadline; what is to be broken is a broker,
//! which several queues share and which a partition can leave at any time for another leader; and a call that has
//! no answer yet has to open it, long before it fails. And no record has to be spent on asking again.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use log::{info, warn};
use tokio::{sync::Notify, time::Instant};

use super::failure::Failure;
use crate::{BreakerState, BreakerStatus, PublishError, StatusRegistry};

/// Who may pass to a queue.
#[derive(Debug, Default)]
pub(super) struct Gate {
    pass: AtomicU8,
    /// Whose breaker it obeys; read where somebody is refused.
    broker: Mutex<Arc<str>>,
    /// For its queue, which may have nothing to send: it is to look for its leader.
    shuts: Notify,
}

/// Everybody may pass.
const WIDE: u8 = 0;
/// One may, as a probe.
const PROBE: u8 = 1;
/// A probe is on its way.
const PROBED: u8 = 2;
/// Nobody may.
const SHUT: u8 = 3;

impl Gate {
    /// Whether a record may pass; of those that ask at a time when a probe is wanted, one may.
    pub(super) fn admits(&self) -> bool {
        match self.pass.load(Ordering::Relaxed) {
            WIDE => true,
            PROBE => self.replace(PROBE, PROBED),
            _ => false,
        }
    }

    /// Whether nobody may pass, and what waits is to be refused.
    pub(super) fn is_shut(&self) -> bool {
        self.pass.load(Ordering::Relaxed) == SHUT
    }

    /// Waits until it is shut, maybe by another queue's trouble; it may be open again by then.
    pub(super) async fn shuts(&self) {
        self.shuts.notified().await;
    }

    /// The probe came to nothing, for instance as nobody waited for it any more: another is wanted.
    pub(super) fn probe_again(&self) {
        self.replace(PROBED, PROBE);
    }

    /// What those are told who may not pass.
    pub(super) fn refusal(&self) -> PublishError {
        let broker = self.broker.lock().unwrap_or_else(PoisonError::into_inner);
        PublishError::CircuitOpen(broker.to_string())
    }

    fn replace(&self, from: u8, to: u8) -> bool {
        self.pass.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn obey(&self, state: BreakerState) {
        let pass = match state {
            BreakerState::Closed => WIDE,
            BreakerState::HalfOpen => PROBE,
            BreakerState::Open => SHUT,
        };
        self.pass.store(pass, Ordering::Relaxed);
        if state == BreakerState::Open {
            self.shuts.notify_one();
        }
    }
}

/// The breakers of a process, by the `host:port` of their brokers. A broker that leads nothing has none.
#[derive(Debug, Default)]
pub(crate) struct Breakers(Mutex<BTreeMap<Arc<str>, Arc<Breaker>>>);

impl Breakers {
    /// The gate obeys that broker's breaker from now on, and no other.
    pub(super) fn link(&self, broker: &str, gate: &Arc<Gate>, registry: &StatusRegistry) -> Arc<Breaker> {
        let mut breakers = self.breakers();
        Self::unlink_from(&mut breakers, gate);
        let broker: Arc<str> = broker.into();
        let breaker = Arc::clone(
            breakers.entry(Arc::clone(&broker)).or_insert_with(|| Arc::new(Breaker::new(&broker))),
        );
        *gate.broker.lock().unwrap_or_else(PoisonError::into_inner) = broker;
        let mut inner = breaker.inner();
        gate.obey(inner.state);
        inner.gates.push(Arc::clone(gate));
        drop(inner);
        Self::tell(&breakers, registry);
        breaker
    }

    /// The gate's queue is no more.
    pub(super) fn unlink(&self, gate: &Arc<Gate>, registry: &StatusRegistry) {
        let mut breakers = self.breakers();
        Self::unlink_from(&mut breakers, gate);
        Self::tell(&breakers, registry);
    }

    /// Has the registry say how the breakers are.
    pub(super) fn report(&self, registry: &StatusRegistry) {
        Self::tell(&self.breakers(), registry);
    }

    fn unlink_from(breakers: &mut BTreeMap<Arc<str>, Arc<Breaker>>, gate: &Arc<Gate>) {
        breakers.retain(|_, breaker| {
            let mut inner = breaker.inner();
            let before = inner.gates.len();
            inner.gates.retain(|linked| !Arc::ptr_eq(linked, gate));
            if inner.gates.len() < before && inner.state == BreakerState::Closed {
                // Its silence may have been met by that queue alone, which asks another broker now. The others
                // may ask nothing for an hour, and are not to find an hour of silence then.
                inner.silent_since = None;
                breaker.suspected.store(false, Ordering::Relaxed);
            }
            !inner.gates.is_empty()
        });
    }

    fn tell(breakers: &BTreeMap<Arc<str>, Arc<Breaker>>, registry: &StatusRegistry) {
        let status = breakers.iter().map(|(broker, breaker)| BreakerStatus {
            broker: broker.to_string(),
            breaker: breaker.inner().state,
        });
        registry.brokers(status.collect());
    }

    fn breakers(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<Breaker>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One broker's breaker.
#[derive(Debug)]
pub(super) struct Breaker {
    broker: Arc<str>,
    made: Instant,
    /// When the broker last answered, in microseconds since the breaker was made.
    answered: AtomicU64,
    /// Whether an answer is news: it was suspected, or worse.
    suspected: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    state: BreakerState,
    /// Since when it has answered nothing that it was asked.
    silent_since: Option<Instant>,
    /// Whether it could not even be connected to since it was found last.
    unreachable: bool,
    /// When it came to this state; the time that a call waited before counts against the state before.
    turned: Option<Instant>,
    gates: Vec<Arc<Gate>>,
}

impl Inner {
    /// From when on a call that began then counts: an outage that was over meanwhile does not.
    fn since(&self, began: Instant) -> Instant {
        self.turned.map_or(began, |turned| began.max(turned))
    }
}

impl Breaker {
    fn new(broker: &Arc<str>) -> Self {
        Self {
            broker: Arc::clone(broker),
            made: Instant::now(),
            answered: AtomicU64::new(0),
            suspected: AtomicBool::new(false),
            inner: Mutex::default(),
        }
    }

    /// The broker it is of, `host:port`.
    pub(super) fn broker(&self) -> &str {
        &self.broker
    }

    /// The broker answered a produce. Tells whether that changed anything.
    pub(super) fn answered(&self) -> bool {
        let now = u64::try_from(self.made.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.answered.store(now, Ordering::Relaxed);
        if !self.suspected.load(Ordering::Relaxed) {
            return false;
        }
        let mut inner = self.inner();
        self.suspected.store(false, Ordering::Relaxed);
        self.close(&mut inner, &"it answers")
    }

    /// A call that began then has no answer yet. Tells whether that changed anything.
    pub(super) fn waited(&self, since: Instant, after: Duration) -> bool {
        let answered = self.made + Duration::from_micros(self.answered.load(Ordering::Relaxed));
        let since = since.max(answered);
        // Calls before this one may have had no answer, either.
        if since.elapsed() < after && !self.suspected.load(Ordering::Relaxed) {
            return false;
        }
        let mut inner = self.inner();
        let since = inner.since(since);
        if inner.silent_since.map_or(since, |silent| silent.min(since)).elapsed() < after {
            return false;
        }
        self.silent(&mut inner, since, after, &"it acknowledges nothing")
    }

    /// A call that began then ended without an answer. Tells whether that changed anything.
    pub(super) fn failed(&self, since: Instant, after: Duration, failure: &Failure) -> bool {
        let mut inner = self.inner();
        inner.unreachable |= !failure.sent;
        // A probe is all the credit that there is.
        let is_probe =
            inner.state == BreakerState::HalfOpen && inner.turned.is_none_or(|turned| since >= turned);
        let after = if is_probe { Duration::ZERO } else { after };
        let answered = self.made + Duration::from_micros(self.answered.load(Ordering::Relaxed));
        let since = inner.since(since.max(answered));
        self.silent(&mut inner, since, after, &failure.error)
    }

    /// A queue has found no way to the broker. Changes nothing yet.
    pub(super) fn lost(&self) -> bool {
        self.inner().unreachable = true;
        false
    }

    /// A queue has found its way to the broker. Tells whether that changed anything.
    pub(super) fn found(&self) -> bool {
        let mut inner = self.inner();
        // The outage is over: what comes now is not held against how long that was.
        inner.silent_since = None;
        if inner.unreachable {
            return self.reachable(&mut inner);
        }
        inner.state != BreakerState::Closed
            && self.turn(
                &mut inner,
                BreakerState::HalfOpen,
                &"it can be reached; one event a partition may try",
            )
    }

    /// A queue has connected to the broker, with records to send. Tells whether that changed anything: only where
    /// connections were what failed.
    pub(super) fn connected(&self) -> bool {
        let mut inner = self.inner();
        inner.unreachable && self.reachable(&mut inner)
    }

    fn reachable(&self, inner: &mut Inner) -> bool {
        self.suspected.store(false, Ordering::Relaxed);
        self.close(inner, &"it can be reached again")
    }

    fn close(&self, inner: &mut Inner, why: &dyn fmt::Display) -> bool {
        (inner.silent_since, inner.unreachable) = (None, false);
        self.turn(inner, BreakerState::Closed, why)
    }

    fn silent(&self, inner: &mut Inner, since: Instant, after: Duration, error: &dyn fmt::Display) -> bool {
        self.suspected.store(true, Ordering::Relaxed);
        let since = *inner.silent_since.get_or_insert(since);
        since.elapsed() >= after && self.turn(inner, BreakerState::Open, error)
    }

    fn turn(&self, inner: &mut Inner, state: BreakerState, why: &dyn fmt::Display) -> bool {
        if inner.state == state {
            return false;
        }
        inner.state = state;
        inner.turned = Some(Instant::now());
        inner.gates.iter().for_each(|gate| gate.obey(state));
        let broker = &self.broker;
        match state {
            BreakerState::Open => {
                warn!("breaker of broker {broker}: open, its partitions take no events: {why}");
            }
            BreakerState::HalfOpen => info!("breaker of broker {broker}: half-open: {why}"),
            BreakerState::Closed => info!("breaker of broker {broker}: closed: {why}"),
        }
        true
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
