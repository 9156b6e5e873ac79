//! Events older than the retention leave, the oldest first. Their ids stay until the bounds evict them.

use std::{
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use chrono::Utc;

use super::{EVICTION_BATCH, MemoryStore, ages::Retention, store_log::StoreLog};
use crate::store::retention_interval;

impl MemoryStore {
    /// Keeps events for this time: deletes older ones from now on, until the store is dropped.
    ///
    /// # Panics
    ///
    /// There is no Tokio runtime.
    pub fn keeping(mut self, retention: Duration) -> Arc<Self> {
        self.retention = Some(Retention::new(retention));
        let store = Arc::new(self);
        tokio::spawn(keep(Arc::downgrade(&store), retention));
        store
    }

    /// Deletes events of a log, at most `most` of them. Returns whether more may follow.
    pub(super) fn expire(&self, log: &mut StoreLog, most: usize) -> bool {
        let Some(retention) = self.retention else { return false };
        let ids = log.expire(Utc::now().timestamp_millis(), retention, most);
        for id in &ids {
            self.by_id.update_sync(id, |_, stored| *stored = None);
        }
        self.expired.fetch_add(ids.len() as u64, Ordering::Relaxed);
        ids.len() == most
    }
}

async fn keep(store: Weak<MemoryStore>, retention: Duration) {
    let mut ticks = retention_interval(retention);
    loop {
        ticks.tick().await;
        let Some(store) = store.upgrade() else { return };
        for partition in store.logs.partitions() {
            let expire = || store.logs.change(partition, |log| store.expire(log, EVICTION_BATCH));
            while expire().unwrap_or(false) {
                tokio::task::yield_now().await;
            }
        }
    }
}
