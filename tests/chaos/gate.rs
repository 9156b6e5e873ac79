//! Holds writers still at a quiet point.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, bail};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

/// Lets writers write, or not; knows how many are at it.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    closed: AtomicBool,
    busy: AtomicUsize,
    changed: Notify,
}

impl Gate {
    /// Waits until it is open. The write is over when the result is dropped.
    pub(crate) async fn enter(self: &Arc<Self>) -> Inside {
        loop {
            let changed = self.changed.notified();
            let inside = Inside(Arc::clone(self));
            self.busy.fetch_add(1, Ordering::SeqCst);
            if !self.is_closed() {
                return inside;
            }
            drop(inside);
            changed.await;
        }
    }

    /// Stops new writes, and waits for those that are under way.
    pub(crate) async fn close(&self, within: Duration) -> Result<()> {
        self.closed.store(true, Ordering::SeqCst);
        let by = Instant::now() + within;
        while self.busy.load(Ordering::SeqCst) > 0 {
            if Instant::now() > by {
                bail!("{} writers are still at it after {within:?}", self.busy.load(Ordering::SeqCst));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Whether those who write are to come to an end.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    pub(crate) fn open(&self) {
        self.closed.store(false, Ordering::SeqCst);
        self.changed.notify_waiters();
    }
}

/// A write that is under way.
#[derive(Debug)]
pub(crate) struct Inside(Arc<Gate>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::SeqCst);
    }
}
