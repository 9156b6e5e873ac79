//! Those who wait for an event to be admitted.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering, fence},
    },
};

use tokio::sync::watch;
use uuid::Uuid;

/// Who waits for which id. Costs an admission a fence and a read while nobody waits.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    count: AtomicUsize,
    by_id: Mutex<HashMap<Uuid, watch::Sender<bool>>>,
}

/// One who waits; dropped, it no longer does.
#[derive(Debug)]
pub(super) struct Waiter<'a> {
    waiters: &'a Waiters,
    id: Uuid,
    admitted: watch::Receiver<bool>,
}

impl Waiters {
    /// From now on, an admission of that id wakes the waiter. Whoever then looks and does not find the
    /// event has not missed its admission: either the look comes after the admission, or the admission
    /// sees the count (the two fences order the four steps).
    pub(super) fn register(&self, id: Uuid) -> Waiter<'_> {
        let admitted = {
            let mut by_id = self.by_id();
            self.count.fetch_add(1, Ordering::SeqCst);
            by_id.entry(id).or_default().subscribe()
        };
        fence(Ordering::SeqCst);
        Waiter { waiters: self, id, admitted }
    }

    /// The event of that id is in the store.
    pub(super) fn wake(&self, id: Uuid) {
        fence(Ordering::SeqCst);
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        if let Some(admitted) = self.by_id().get(&id) {
            admitted.send_replace(true);
        }
    }

    fn by_id(&self) -> MutexGuard<'_, HashMap<Uuid, watch::Sender<bool>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter<'_> {
    pub(super) async fn woken(mut self) {
        // The sender outlives its waiters: an error is as good as an admission, to look again.
        let _ = self.admitted.wait_for(|admitted| *admitted).await;
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut by_id = self.waiters.by_id();
        self.waiters.count.fetch_sub(1, Ordering::SeqCst);
        if by_id.get(&self.id).is_some_and(|sender| sender.receiver_count() == 1) {
            by_id.remove(&self.id);
        }
    }
}
