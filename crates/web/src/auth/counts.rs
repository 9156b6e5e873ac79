//! The counts of clients, by their names, and of credentials that are refused.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use prometheus::{IntCounterVec, Opts, core::Collector as _, proto::MetricFamily};

/// The most names with counts of their own. The requests of further ones are counted together.
const MOST: usize = 100;
/// The common name of the others.
const OTHER: &str = "other";

/// The outcome of a client's request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestOutcome {
    Admitted,
    /// The client may not do that.
    Forbidden,
    /// The client came too often.
    Limited,
}

const OUTCOMES: [(RequestOutcome, &str); 3] = [
    (RequestOutcome::Admitted, "admitted"),
    (RequestOutcome::Forbidden, "forbidden"),
    (RequestOutcome::Limited, "limited"),
];

/// The reason why a request has no client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The request has no credential.
    Missing,
    /// The credential is wrong.
    Invalid,
    /// The credential has expired, or is not valid yet.
    Expired,
    /// The credential could not be checked.
    Unchecked,
}

const REFUSALS: [(Refusal, &str); 4] = [
    (Refusal::Missing, "missing"),
    (Refusal::Invalid, "invalid"),
    (Refusal::Expired, "expired"),
    (Refusal::Unchecked, "unchecked"),
];

impl Refusal {
    pub(super) fn name(self) -> &'static str {
        REFUSALS[self as usize].1
    }
}

/// The requests of a client, by their outcome.
#[derive(Debug, Default)]
pub(super) struct ClientCount([AtomicU64; OUTCOMES.len()]);

impl ClientCount {
    pub(super) fn add(&self, outcome: RequestOutcome) {
        self.0[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// The counts of all clients.
#[derive(Debug, Default)]
pub(super) struct ClientCounts {
    by_name: Mutex<BTreeMap<Box<str>, Arc<ClientCount>>>,
    refused: [AtomicU64; REFUSALS.len()],
}

impl ClientCounts {
    /// The counts of the client with this name.
    pub(super) fn of(&self, name: &str) -> Arc<ClientCount> {
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        let is_counted = by_name.len() < MOST || by_name.contains_key(name);
        Arc::clone(by_name.entry(if is_counted { name } else { OTHER }.into()).or_default())
    }

    pub(super) fn refused(&self, refusal: Refusal) {
        self.refused[refusal as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn families(&self) -> prometheus::Result<Vec<MetricFamily>> {
        let requests = Opts::new("highwater_client_requests_total", "Requests of clients that are known.");
        let requests = IntCounterVec::new(requests, &["client", "outcome"])?;
        for (name, count) in &*self.by_name.lock().unwrap_or_else(PoisonError::into_inner) {
            for ((_, outcome), counted) in OUTCOMES.iter().zip(&count.0) {
                requests.with_label_values(&[name, *outcome]).inc_by(counted.load(Ordering::Relaxed));
            }
        }
        let refused = Opts::new("highwater_auth_refused_total", "Requests whose credential was refused.");
        let refused = IntCounterVec::new(refused, &["reason"])?;
        for ((_, reason), counted) in REFUSALS.iter().zip(&self.refused) {
            refused.with_label_values(&[*reason]).inc_by(counted.load(Ordering::Relaxed));
        }
        Ok([requests.collect(), refused.collect()].into_iter().flatten().collect())
    }
}
