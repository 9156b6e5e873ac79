//! A circuit breaker for each broker that leads partitions. A broker that hangs stops its own partitions alone.
//!
//! ```text
//!            no response for `breaker_after`
//!   closed ──────────────────────────────────────▶ open ◀──┐
//!    ▲  ▲                                           │  │    │ a probe is not acknowledged
//!    │  └───────────────────────────────────────────┘  │    │
//!    │    a queue connects to a broker that could not  │    │
//!    │    be reached before                            ▼    │
//!    └──────────────────────────────────────────── half-open
//!      a record is acknowledged  a queue connects to a broker that
//!                                could be reached all the time
//! ```
//!
//! If connecting had failed, the first connection closes the breaker: the broker was down, or its process hung. A
//! broker that takes connections and acknowledges nothing has to acknowledge a record first.
//!
//! Each partition queue has a [`Gate`], one atomic, which a publish looks at. A [`Breaker`] sets the gates of the
//! queues whose partitions its broker leads. The queues report to it how their calls end. A queue that fails or whose
//! gate is closed looks for its leader by itself. That finds a broker that is back, and another leader.
//!
//! The breaker of a library would not do: it wraps a call, counts failures, and spends a call on trying again. Here several
//! queues share a broker, a partition can move to another leader at any time, and a call without a response has to open the
//! breaker long before it fails. No record is spent on a try.

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

use crate::{BreakerState, BreakerStatus, PublishError, StatusRegistry, wire::WireError};

/// Whether records may enter a queue.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    pass: AtomicU8,
    /// The broker whose breaker sets it.
    broker: Mutex<Arc<str>>,
    /// Wakes its queue, which may have nothing to send, to look for the leader.
    shuts: Notify,
}

/// All records may enter.
const OPEN: u8 = 0;
/// One record may enter, as a probe.
const PROBE: u8 = 1;
/// The probe has entered.
const PROBED: u8 = 2;
/// No record may enter.
const SHUT: u8 = 3;

impl Gate {
    /// Whether a record may enter. If a probe is wanted, the first caller may.
    pub(crate) fn admits(&self) -> bool {
        match self.pass.load(Ordering::Relaxed) {
            OPEN => true,
            PROBE => self.replace(PROBE, PROBED),
            _ => false,
        }
    }

    /// Whether no record may enter. Waiting records are refused.
    pub(crate) fn is_shut(&self) -> bool {
        self.pass.load(Ordering::Relaxed) == SHUT
    }

    /// Waits until it is shut, perhaps by another queue's failure. It may be open again by then.
    pub(crate) async fn shuts(&self) {
        self.shuts.notified().await;
    }

    /// The probe was not sent, perhaps because its caller waits no more: another one is wanted.
    pub(crate) fn probe_again(&self) {
        self.replace(PROBED, PROBE);
    }

    /// The error for the callers whose records may not enter.
    pub(crate) fn refusal(&self) -> PublishError {
        let broker = self.broker.lock().unwrap_or_else(PoisonError::into_inner);
        PublishError::CircuitOpen(broker.to_string())
    }

    fn replace(&self, from: u8, to: u8) -> bool {
        self.pass.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn obey(&self, state: BreakerState) {
        let pass = match state {
            BreakerState::Closed => OPEN,
            BreakerState::HalfOpen => PROBE,
            BreakerState::Open => SHUT,
        };
        self.pass.store(pass, Ordering::Relaxed);
        if state == BreakerState::Open {
            self.shuts.notify_one();
        }
    }
}

/// The breakers of a cluster, by `host:port`. A broker that leads no partition with a queue has none.
#[derive(Debug, Default)]
pub(crate) struct Breakers(Mutex<BTreeMap<Arc<str>, Arc<Breaker>>>);

impl Breakers {
    /// Makes that broker's breaker set the gate from now on, and no other.
    pub(crate) fn link(&self, broker: &str, gate: &Arc<Gate>, registry: &StatusRegistry) -> Arc<Breaker> {
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

    /// The gate's queue has ended.
    pub(crate) fn unlink(&self, gate: &Arc<Gate>, registry: &StatusRegistry) {
        let mut breakers = self.breakers();
        Self::unlink_from(&mut breakers, gate);
        Self::tell(&breakers, registry);
    }

    /// Reports the states of all breakers.
    pub(crate) fn report(&self, registry: &StatusRegistry) {
        Self::tell(&self.breakers(), registry);
    }

    fn unlink_from(breakers: &mut BTreeMap<Arc<str>, Arc<Breaker>>, gate: &Arc<Gate>) {
        breakers.retain(|_, breaker| {
            let mut inner = breaker.inner();
            let before = inner.gates.len();
            inner.gates.retain(|linked| !Arc::ptr_eq(linked, gate));
            if inner.gates.len() < before && inner.state == BreakerState::Closed {
                // Perhaps that queue alone had no response, and it asks another broker now. If the others ask nothing for an
                // hour, that is no hour without a response.
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
pub(crate) struct Breaker {
    broker: Arc<str>,
    made: Instant,
    /// The last response, in microseconds since `made`.
    answered: AtomicU64,
    /// Whether a response changes anything: a call had none, or the breaker is not closed.
    suspected: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    state: BreakerState,
    /// The time since which no call had a response.
    silent_since: Option<Instant>,
    /// Whether connecting has failed since the last connection.
    unreachable: bool,
    /// The last change of the state. The time that a call waited before it does not count.
    turned: Option<Instant>,
    gates: Vec<Arc<Gate>>,
}

impl Inner {
    /// The time from which a call that began then is counted.
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

    /// Its broker, `host:port`.
    pub(crate) fn broker(&self) -> &str {
        &self.broker
    }

    /// The broker answered a Produce. Returns whether the state changed.
    pub(crate) fn answered(&self) -> bool {
        let now = u64::try_from(self.made.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.answered.store(now, Ordering::Relaxed);
        if !self.suspected.load(Ordering::Relaxed) {
            return false;
        }
        let mut inner = self.inner();
        self.suspected.store(false, Ordering::Relaxed);
        self.close(&mut inner, &"it answers")
    }

    /// A call that began at `since` has no response yet. Returns whether the state changed.
    pub(crate) fn waited(&self, since: Instant, after: Duration) -> bool {
        let answered = self.made + Duration::from_micros(self.answered.load(Ordering::Relaxed));
        let since = since.max(answered);
        // Earlier calls may have had no response either.
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

    /// A call that began at `since` failed without a response. Returns whether the state changed.
    pub(crate) fn failed(&self, since: Instant, after: Duration, error: &WireError, sent: bool) -> bool {
        let mut inner = self.inner();
        inner.unreachable |= !sent;
        // A failed probe opens it at once.
        let is_probe =
            inner.state == BreakerState::HalfOpen && inner.turned.is_none_or(|turned| since >= turned);
        let after = if is_probe { Duration::ZERO } else { after };
        let answered = self.made + Duration::from_micros(self.answered.load(Ordering::Relaxed));
        let since = inner.since(since.max(answered));
        self.silent(&mut inner, since, after, error)
    }

    /// A queue cannot connect to the broker. Never changes the state.
    pub(crate) fn lost(&self) -> bool {
        self.inner().unreachable = true;
        false
    }

    /// A queue without records has connected to the broker. Returns whether the state changed.
    pub(crate) fn found(&self) -> bool {
        let mut inner = self.inner();
        // The outage is over: its length does not count against the next call.
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

    /// A queue with records has connected to the broker. Returns whether the state changed, which it does only if
    /// connecting had failed.
    pub(crate) fn connected(&self) -> bool {
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
