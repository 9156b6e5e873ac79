//! Requests that wait for an event to be admitted, and those that follow all of them.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering, fence},
    },
};

use tokio::sync::watch;
use uuid::Uuid;

use super::StoredEvent;

/// The event, once it is admitted.
type Found = Option<Arc<StoredEvent>>;

/// The waiters by eventId. While there are none, an admission of any number of events costs a fence and a load.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    /// The number of ids in `by_id`.
    ids: AtomicUsize,
    by_id: Mutex<HashMap<Uuid, watch::Sender<Found>>>,
    /// Changes with each admission.
    admissions: watch::Sender<()>,
}

/// One waiter. Dropping it ends the wait.
#[derive(Debug)]
pub(super) struct Waiter<'a> {
    waiters: &'a Waiters,
    id: Uuid,
    found: watch::Receiver<Found>,
}

impl Waiters {
    /// Registers a waiter, which an admission of this id wakes from now on. A caller that looks for the event afterwards
    /// and does not find it has not missed its admission: either the look comes after the admission, or the admission
    /// sees the count. The two fences order the four steps.
    pub(super) fn register(&self, id: Uuid) -> Waiter<'_> {
        let found = {
            let mut by_id = self.by_id();
            let found = by_id.entry(id).or_default().subscribe();
            self.ids.store(by_id.len(), Ordering::Relaxed);
            found
        };
        fence(Ordering::SeqCst);
        Waiter { waiters: self, id, found }
    }

    /// Wakes the waiters of these events, which are in the store now. The waiters get the events themselves, since an
    /// event may leave the store before a waiter looks.
    pub(super) fn wake<'a>(&self, admitted: impl Iterator<Item = &'a Arc<StoredEvent>>) {
        self.admissions.send_replace(());
        fence(Ordering::SeqCst);
        if self.ids.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut by_id = self.by_id();
        for stored in admitted {
            if let Some(found) = by_id.remove(&stored.id()) {
                found.send_replace(Some(Arc::clone(stored)));
            }
        }
        self.ids.store(by_id.len(), Ordering::Relaxed);
    }

    /// Changes with each admission.
    pub(super) fn admissions(&self) -> watch::Receiver<()> {
        self.admissions.subscribe()
    }

    /// The number of ids that have waiters.
    pub(super) fn len(&self) -> usize {
        self.ids.load(Ordering::Relaxed)
    }

    /// The ids that have waiters.
    #[cfg(feature = "postgres")]
    pub(super) fn ids(&self) -> Vec<Uuid> {
        self.by_id().keys().copied().collect()
    }

    fn by_id(&self) -> MutexGuard<'_, HashMap<Uuid, watch::Sender<Found>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter<'_> {
    /// Waits until the event is admitted.
    pub(super) async fn found(mut self) -> Found {
        self.found.wait_for(Option::is_some).await.ok().and_then(|found| found.clone())
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut by_id = self.waiters.by_id();
        // The sender of this id may be a later one, with waiters of its own.
        let is_ours = |sender: &watch::Sender<Found>| sender.subscribe().same_channel(&self.found);
        if by_id.get(&self.id).is_some_and(|sender| sender.receiver_count() == 1 && is_ours(sender)) {
            by_id.remove(&self.id);
        }
        self.waiters.ids.store(by_id.len(), Ordering::Relaxed);
    }
}
