//! What the breaker and the registry are told of a queue's attempts.

use std::time::Duration;

use super::{
    super::{
        breaker::Breaker,
        failure::{Failure, lasting, refusal},
    },
    PartitionQueue, Trouble,
};
use crate::{backoff::Backoff, wire::WireError};

impl PartitionQueue {
    /// A look for the leader ended so.
    pub(super) fn found(&mut self, found: Result<(), WireError>) {
        match found {
            Ok(()) => {
                self.note(|breaker| breaker.found());
                match self.refused {
                    // The way is there, and was all the time.
                    true => self.trouble = None,
                    false => self.recovered(),
                }
            }
            Err(error) => {
                // Where no broker answers, the leader is one of those that do not.
                if refusal(&error).is_none() {
                    self.note(Breaker::lost);
                }
                self.registry.failed(&self.component, &error);
            }
        }
    }

    /// The partition's leader is that one.
    pub(super) fn leads(&mut self, leader: String) {
        if self.breaker.as_ref().is_none_or(|breaker| breaker.broker() != leader) {
            self.breaker = Some(self.cluster.breakers().link(&leader, &self.gate, &self.registry));
        }
    }

    /// Whether the failure is the broker's: what it refuses, it has answered.
    pub(super) fn judge(&self, failure: &Failure) {
        let (called, after) = (self.called, self.breaker_after);
        match refusal(&failure.error) {
            Some(_) if failure.sent => self.note(|breaker| breaker.answered()),
            // The word of whichever broker was asked for the leader.
            Some(_) => {}
            None => self.note(|breaker| breaker.failed(called, after, failure)),
        }
    }

    /// Tells the breaker, and the registry what came of it.
    pub(super) fn note(&self, tell: impl FnOnce(&Breaker) -> bool) {
        if self.breaker.as_deref().is_some_and(tell) {
            self.cluster.breakers().report(&self.registry);
        }
    }

    /// Nothing is wrong any more.
    pub(super) fn recovered(&mut self) {
        self.trouble = None;
        self.registry.succeeded(&self.component);
    }

    /// Notes what went wrong; returns how long to wait before another try.
    pub(super) fn failed(&mut self, error: &WireError) -> Duration {
        let told = match lasting(&self.topic, error) {
            Some(told) => {
                self.refused(&told, false);
                told
            }
            None => {
                self.registry.failed(&self.component, error);
                self.refused = false;
                error.to_string()
            }
        };
        let trouble =
            self.trouble.get_or_insert_with(|| Trouble { error: String::new(), backoff: Backoff::new() });
        trouble.error = told;
        trouble.backoff.next_wait()
    }

    /// Notes a refusal that lasts, of this partition or of the whole topic.
    pub(super) fn refused(&mut self, told: &str, of_topic: bool) {
        self.refused = true;
        self.registry.refused(&self.component, told);
        if self.required_for_readiness {
            self.registry.takes_nothing(&self.topic, self.partition, told, of_topic);
        }
    }

    /// What those are told whose time is up.
    pub(super) fn reason(&self) -> String {
        self.trouble
            .as_ref()
            .map_or_else(|| "no answer from Kafka".to_owned(), |trouble| trouble.error.clone())
    }
}
