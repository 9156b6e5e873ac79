//! The one place that knows how things stand: written by the producer and the consumer, read by /health.

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

/// Collects what each component sees of the cluster, and says once when it is lost and when it is back.
#[derive(Debug)]
pub struct StatusRegistry {
    status: watch::Sender<Status>,
    /// What is wrong now, by the component that sees it.
    failing: Mutex<BTreeMap<String, Trouble>>,
    /// What was written to, by topic.
    writing: Mutex<BTreeMap<Arc<str>, Partitions>>,
}

/// Of each partition that was written to, why nothing is taken for it; `None` where something is.
type Partitions = BTreeMap<i32, Option<String>>;

/// What is wrong, and what the log said of it last, and when; nothing, where another component said it.
#[derive(Debug)]
struct Trouble {
    error: String,
    told: String,
    logged: Instant,
}

/// How long what happened is told of.
const TOLD_FOR: Duration = Duration::from_secs(60 * 60);
/// The most that is told of at a time: the oldest goes first.
const MOST_NOTICES: usize = 64;

/// How often the same component may say that its trouble is another now.
const NEWS_INTERVAL: Duration = Duration::from_secs(5);

impl StatusRegistry {
    /// A registry on which nothing is connected yet.
    pub fn new() -> Self {
        Self {
            status: watch::Sender::new(Status::default()),
            failing: Mutex::default(),
            writing: Mutex::default(),
        }
    }

    /// Follows what is on the registry.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// A call to Kafka succeeded for this component.
    pub fn succeeded(&self, component: &str) {
        let mut failing = self.failing();
        if self.status.borrow().kafka.connected && failing.is_empty() {
            return;
        }
        let recovered = failing.remove(component).is_some_and(|trouble| !trouble.told.is_empty());
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

    /// A call to Kafka failed for this component; logged when it is news.
    pub fn failed(&self, component: &str, error: &dyn std::fmt::Display) {
        self.troubled(component, error.to_string(), false);
    }

    /// As [`StatusRegistry::failed`], by Kafka's own word: it is there.
    pub(crate) fn refused(&self, component: &str, why: &str) {
        self.troubled(component, why.to_owned(), true);
    }

    fn troubled(&self, component: &str, error: String, is_answer: bool) {
        let mut failing = self.failing();
        let now = Instant::now();
        let known = failing.remove(component);
        self.status.send_modify(|status| {
            // One broker that is lost is not Kafka: where another answers after this began, it is there.
            status.kafka.connected &= is_answer || known.is_some();
            status.kafka.error = Some(format!("{component}: {error}"));
        });
        // Where one broker cannot be reached, all parts see the same: one of them says so.
        let is_told = failing.values().any(|other| other.told == error);
        // Compared with what was told: what came too soon after that to be told is told later, if it lasts.
        let news = !is_told
            && known.as_ref().is_none_or(|known| known.told != error && now >= known.logged + NEWS_INTERVAL);
        if news {
            warn!("trouble {component}: {error}; trying again until it passes");
        }
        let (told, logged) = match known {
            _ if news => (error.clone(), now),
            Some(known) => (known.told, known.logged),
            None => (String::new(), now),
        };
        failing.insert(component.to_owned(), Trouble { error, told, logged });
    }

    /// Something was written to that partition.
    pub(crate) fn takes(&self, topic: &Arc<str>, partition: i32) {
        let mut writing = self.writing();
        let partitions = writing.entry(Arc::clone(topic)).or_default();
        if partitions.insert(partition, None) != Some(None) {
            self.tell_refusal(topic, partitions);
        }
    }

    /// Nothing is taken for that partition, or for any of the topic, whatever is in it.
    pub(crate) fn takes_nothing(&self, topic: &Arc<str>, partition: i32, why: &str, of_topic: bool) {
        let mut writing = self.writing();
        let partitions = writing.entry(Arc::clone(topic)).or_default();
        partitions.insert(partition, Some(why.to_owned()));
        if of_topic {
            partitions.values_mut().for_each(|refusal| *refusal = Some(why.to_owned()));
        }
        self.tell_refusal(topic, partitions);
    }

    /// A topic takes nothing while none of its partitions that were written to does.
    fn tell_refusal(&self, topic: &Arc<str>, partitions: &Partitions) {
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

    /// What is wrong for this component, while something is.
    pub(crate) fn trouble(&self, component: &str) -> Option<String> {
        self.failing().get(component).map(|trouble| trouble.error.clone())
    }

    /// This component is no more: what it saw counts no longer.
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

    /// Replaces what is known to weaken a guarantee on a topic.
    pub(crate) fn warnings(&self, topic: &str, found: &[String]) {
        let prefix = format!("topic {topic}: ");
        self.status.send_modify(|status| {
            status.kafka.warnings.retain(|warning| !warning.starts_with(&prefix));
            status.kafka.warnings.extend(found.iter().map(|warning| format!("{prefix}{warning}")));
        });
    }

    /// Something happened that an operator is to know of: it is in the log, and for an hour in `/health`. False where
    /// that was told already.
    pub(crate) fn notice(&self, text: String) -> bool {
        let now = Instant::now();
        let is_news = self.status.send_if_modified(|status| {
            let notices = &mut status.kafka.notices;
            notices.retain(|notice| notice.until > now);
            if notices.iter().any(|notice| notice.text == text) {
                return false;
            }
            if notices.len() == MOST_NOTICES {
                notices.remove(0);
            }
            notices.push(Notice { text: text.clone(), until: now + TOLD_FOR });
            true
        });
        if is_news {
            warn!("{text}");
        }
        is_news
    }

    /// Replaces what is known of the brokers that lead partitions.
    pub(crate) fn brokers(&self, brokers: Vec<BreakerStatus>) {
        self.status.send_if_modified(|status| {
            let news = status.kafka.brokers != brokers;
            status.kafka.brokers = brokers;
            news
        });
    }

    /// Changes what is known of the group.
    pub(crate) fn group(&self, change: impl FnOnce(&mut GroupStatus)) {
        self.status.send_modify(|status| {
            change(&mut status.group);
            status.group.update_caught_up();
        });
    }

    fn failing(&self) -> MutexGuard<'_, BTreeMap<String, Trouble>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one of the failing parts says.
fn first(failing: &BTreeMap<String, Trouble>) -> Option<String> {
    failing.iter().next().map(|(component, trouble)| format!("{component}: {}", trouble.error))
}

impl Default for StatusRegistry {
    fn default() -> Self {
        Self::new()
    }
}
