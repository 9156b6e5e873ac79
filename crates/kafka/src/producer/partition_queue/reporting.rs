//! The reports of a queue's attempts to the circuit breaker and the status registry.

use std::time::Duration;

use super::{
    super::failure::{Failure, lasting, refusal},
    PartitionQueue, Retrying,
};
use crate::{backoff::Backoff, breaker::Breaker, wire::WireError};

impl PartitionQueue {
    /// Reports the result of a look for the leader.
    pub(super) fn probed(&mut self, result: Result<(), WireError>) {
        match result {
            Ok(()) => {
                self.tell_breaker(|breaker| breaker.found());
                match self.refused {
                    // The leader was reachable all the time.
                    true => self.retrying = None,
                    false => self.recovered(),
                }
            }
            Err(error) => {
                // If no broker answers, the leader does not either.
                if refusal(&error).is_none() {
                    self.tell_breaker(Breaker::lost);
                }
                self.registry.failed(&self.component, &error);
            }
        }
    }

    /// Obeys the breaker of that leader from now on.
    pub(super) fn set_leader(&mut self, leader: String) {
        if self.breaker.as_ref().is_none_or(|breaker| breaker.broker() != leader) {
            self.breaker = Some(self.cluster.breakers().link(&leader, &self.gate, &self.registry));
        }
    }

    /// Reports a failed attempt to the breaker. A refusal is an answer.
    pub(super) fn report_failure(&self, failure: &Failure) {
        let (called, after) = (self.called, self.breaker_after);
        match refusal(&failure.error) {
            Some(_) if failure.sent => self.tell_breaker(|breaker| breaker.answered()),
            // The refusal of the broker that was asked for the leader, which may be another.
            Some(_) => {}
            None => self.tell_breaker(|breaker| breaker.failed(called, after, &failure.error, failure.sent)),
        }
    }

    /// Reports to the breaker; if that changes it, to the registry.
    pub(super) fn tell_breaker(&self, tell: impl FnOnce(&Breaker) -> bool) {
        if self.breaker.as_deref().is_some_and(tell) {
            self.cluster.breakers().report(&self.registry);
        }
    }

    /// The last attempt succeeded.
    pub(super) fn recovered(&mut self) {
        self.retrying = None;
        self.registry.succeeded(&self.component);
    }

    /// Notes an error; returns the wait before the next attempt.
    pub(super) fn failed(&mut self, error: &WireError) -> Duration {
        let text = match lasting(&self.topic, error) {
            Some(text) => {
                self.refused(&text, false);
                text
            }
            None => {
                self.registry.failed(&self.component, error);
                self.refused = false;
                error.to_string()
            }
        };
        let retrying =
            self.retrying.get_or_insert_with(|| Retrying { error: String::new(), backoff: Backoff::new() });
        retrying.error = text;
        retrying.backoff.next_wait()
    }

    /// Notes a refusal that lasts, for this partition or for the whole topic.
    pub(super) fn refused(&mut self, text: &str, of_topic: bool) {
        self.refused = true;
        self.registry.refused(&self.component, text);
        if self.required_for_readiness {
            self.registry.accepts_none(&self.topic, self.partition, text, of_topic);
        }
    }

    /// The reason for callers at their deadline.
    pub(super) fn reason(&self) -> String {
        self.retrying
            .as_ref()
            .map_or_else(|| "no answer from Kafka".to_owned(), |retrying| retrying.error.clone())
    }
}
