//! The status of all components that use the cluster. Producers and consumers write it; a health check reads it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use log::{info, warn};
use tokio::{
    sync::watch,
    time::{Duration, Instant},
};

use super::{BreakerStatus, GroupStatus, Notice, Status, TopicRefusal};

/// Collects the errors of the components that use the cluster. Logs once when a component begins to fail, and once when
/// it succeeds again. A component is named by what it does, such as `writing to events/2`.
#[derive(Debug)]
pub struct StatusRegistry {
    status: watch::Sender<Status>,
    /// The components that fail now.
    failing: Mutex<BTreeMap<String, ComponentError>>,
    /// The partitions that were written to, by topic.
    writing: Mutex<BTreeMap<Arc<str>, Partitions>>,
}

/// The reason why Kafka takes no record for a partition; `None` if it takes some.
type Partitions = BTreeMap<i32, Option<String>>;

/// The error of a component.
#[derive(Debug)]
struct ComponentError {
    error: String,
    /// The error that was logged last; empty if another component logged the same.
    logged: String,
    logged_at: Instant,
}

/// The time for which a notice is shown.
const NOTICE_AGE: Duration = Duration::from_secs(60 * 60);
/// The most notices at a time. The oldest goes first.
const MAX_NOTICES: usize = 64;

/// The least time between two log lines about different errors of one component.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

impl StatusRegistry {
    /// An empty registry: not connected, and no component.
    pub fn new() -> Self {
        Self {
            status: watch::Sender::new(Status::default()),
            failing: Mutex::default(),
            writing: Mutex::default(),
        }
    }

    /// The status, now and as it changes.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// A call of this component to Kafka succeeded.
    pub fn succeeded(&self, component: &str) {
        let mut failing = self.failing();
        if self.status.borrow().kafka.connected && failing.is_empty() {
            return;
        }
        let recovered = failing.remove(component).is_some_and(|error| !error.logged.is_empty());
        let error = first(&failing);
        let all_well = error.is_none();
        self.status.send_if_modified(|status| {
            let news = !status.kafka.connected || status.kafka.error != error;
            status.kafka.connected = true;
            status.kafka.error = error;
            news
        });
        if recovered {
            info!("recovered: {component}");
        } else if all_well {
            info!("connected to Kafka");
        }
    }

    /// A call of this component to Kafka failed. The error is logged if it is new.
    pub fn failed(&self, component: &str, error: &dyn std::fmt::Display) {
        self.set_error(component, error.to_string(), false);
    }

    /// As [`StatusRegistry::failed`], by a refusal: Kafka is connected.
    pub(crate) fn refused(&self, component: &str, why: &str) {
        self.set_error(component, why.to_owned(), true);
    }

    fn set_error(&self, component: &str, error: String, is_answer: bool) {
        let mut failing = self.failing();
        let now = Instant::now();
        let known = failing.remove(component);
        self.status.send_modify(|status| {
            // One lost broker is not all of Kafka: another may answer after this component began to fail.
            status.kafka.connected &= is_answer || known.is_some();
            status.kafka.error = Some(format!("{component}: {error}"));
        });
        // All components see the same error if a broker cannot be reached: one of them logs it.
        let is_logged = failing.values().any(|other| other.logged == error);
        // Compared with the error that was logged: one that came too soon after that is logged later, if it lasts.
        let news = !is_logged
            && known
                .as_ref()
                .is_none_or(|known| known.logged != error && now >= known.logged_at + LOG_INTERVAL);
        if news {
            warn!("failing: {component}: {error}; retrying");
        }
        let (logged, logged_at) = match known {
            _ if news => (error.clone(), now),
            Some(known) => (known.logged, known.logged_at),
            None => (String::new(), now),
        };
        failing.insert(component.to_owned(), ComponentError { error, logged, logged_at });
    }

    /// Kafka took a record for that partition.
    pub(crate) fn accepted(&self, topic: &Arc<str>, partition: i32) {
        let mut writing = self.writing();
        let partitions = writing.entry(Arc::clone(topic)).or_default();
        if partitions.insert(partition, None) != Some(None) {
            self.set_refusal(topic, partitions);
        }
    }

    /// Kafka takes no record for that partition, or for the whole topic.
    pub(crate) fn accepts_none(&self, topic: &Arc<str>, partition: i32, why: &str, of_topic: bool) {
        let mut writing = self.writing();
        let partitions = writing.entry(Arc::clone(topic)).or_default();
        partitions.insert(partition, Some(why.to_owned()));
        if of_topic {
            partitions.values_mut().for_each(|refusal| *refusal = Some(why.to_owned()));
        }
        self.set_refusal(topic, partitions);
    }

    /// A topic is refused while Kafka takes no record for any of its partitions that were written to.
    fn set_refusal(&self, topic: &Arc<str>, partitions: &Partitions) {
        let reason = partitions.values().all(Option::is_some).then(|| partitions.values().flatten().next());
        let refusal = reason.flatten().map(|reason| TopicRefusal::now(topic, reason));
        self.status.send_if_modified(|status| {
            let refusals = &mut status.kafka.refusals;
            let before = refusals.len();
            refusals.retain(|refusal| refusal.topic != **topic);
            let news = refusal.is_some() || before != refusals.len();
            refusals.extend(refusal);
            news
        });
    }

    fn writing(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Partitions>> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The error of this component, while it fails.
    pub(crate) fn error_of(&self, component: &str) -> Option<String> {
        self.failing().get(component).map(|failing| failing.error.clone())
    }

    /// This component has ended: its error counts no more.
    pub fn withdraw(&self, component: &str) {
        let mut failing = self.failing();
        if failing.remove(component).is_none() {
            return;
        }
        let error = first(&failing);
        self.status.send_modify(|status| {
            status.kafka.error = error;
        });
    }

    /// Replaces the warnings about a topic, each about a setting that weakens a guarantee.
    pub(crate) fn warnings(&self, topic: &str, found: &[String]) {
        let prefix = format!("topic {topic}: ");
        self.status.send_modify(|status| {
            status.kafka.warnings.retain(|warning| !warning.starts_with(&prefix));
            status.kafka.warnings.extend(found.iter().map(|warning| format!("{prefix}{warning}")));
        });
    }

    /// Logs an event that an operator has to know of, and shows it for an hour. False if it is shown already.
    pub fn notice(&self, text: String) -> bool {
        let now = Instant::now();
        let is_news = self.status.send_if_modified(|status| {
            let notices = &mut status.kafka.notices;
            notices.retain(|notice| notice.until > now);
            if notices.iter().any(|notice| notice.text == text) {
                return false;
            }
            if notices.len() == MAX_NOTICES {
                notices.remove(0);
            }
            notices.push(Notice { text: text.clone(), until: now + NOTICE_AGE });
            true
        });
        if is_news {
            warn!("{text}");
        }
        is_news
    }

    /// Replaces the states of the circuit breakers.
    pub(crate) fn brokers(&self, brokers: Vec<BreakerStatus>) {
        self.status.send_if_modified(|status| {
            let news = status.kafka.brokers != brokers;
            status.kafka.brokers = brokers;
            news
        });
    }

    /// Changes the status of the group.
    pub(crate) fn group(&self, change: impl FnOnce(&mut GroupStatus)) {
        self.status.send_modify(|status| {
            change(&mut status.group);
            status.group.update_caught_up();
        });
    }

    fn failing(&self) -> MutexGuard<'_, BTreeMap<String, ComponentError>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error of the first failing component.
fn first(failing: &BTreeMap<String, ComponentError>) -> Option<String> {
    failing.iter().next().map(|(component, failing)| format!("{component}: {}", failing.error))
}

impl Default for StatusRegistry {
    fn default() -> Self {
        Self::new()
    }
}
