//! Those who wait for an event to be admitted.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering, fence},
    },
};

use tokio::sync::watch;
use uuid::Uuid;

use crate::store::Stored;

/// What is handed to those who wait.
type Found = Option<Arc<Stored>>;

/// Who waits for which id. Costs an admission of any number of events a fence and a read while nobody waits.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    /// How many ids are waited for.
    ids: AtomicUsize,
    by_id: Mutex<HashMap<Uuid, watch::Sender<Found>>>,
}

/// One who waits; dropped, it no longer does.
#[derive(Debug)]
pub(super) struct Waiter<'a> {
    waiters: &'a Waiters,
    id: Uuid,
    found: watch::Receiver<Found>,
}

impl Waiters {
    /// From now on, an admission of that id wakes the waiter. Whoever then looks and does not find the
    /// event has not missed its admission: either the look comes after the admission, or the admission
    /// sees the count (the two fences order the four steps).
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

    /// These are in the store now. They are handed over, since they may leave it before anyone looks.
    pub(super) fn wake<'a>(&self, admitted: impl Iterator<Item = &'a Arc<Stored>>) {
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

    /// How many ids are waited for.
    pub(super) fn len(&self) -> usize {
        self.ids.load(Ordering::Relaxed)
    }

    fn by_id(&self) -> MutexGuard<'_, HashMap<Uuid, watch::Sender<Found>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter<'_> {
    /// The event, once it is admitted.
    pub(super) async fn found(mut self) -> Found {
        self.found.wait_for(Option::is_some).await.ok().and_then(|found| found.clone())
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut by_id = self.waiters.by_id();
        // A sender of the same id may also be a later one, with waiters of its own.
        let is_ours = |sender: &watch::Sender<Found>| sender.subscribe().same_channel(&self.found);
        if by_id.get(&self.id).is_some_and(|sender| sender.receiver_count() == 1 && is_ours(sender)) {
            by_id.remove(&self.id);
        }
        self.waiters.ids.store(by_id.len(), Ordering::Relaxed);
    }
}
