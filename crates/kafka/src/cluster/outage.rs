//! The outage of a whole cluster.
//!
//! Records wait during an election or a restart, which take a moment. If no broker is left, waiting is in vain. The
//! sign is that every known address refuses connections or does not resolve: a host that is slow does neither.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// The shortest confirmed outage: longer than a broker takes from its stop to listening again.
const CONFIRMED_AFTER: Duration = Duration::from_secs(1);

/// The time since which no broker can be reached; `None` if one can.
#[derive(Debug)]
pub(super) struct Outage(watch::Sender<Option<Instant>>);

impl Outage {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Records whether every known address failed so.
    pub(super) fn observe(&self, unreachable: bool) {
        self.0.send_if_modified(|since| {
            let news = since.is_some() != unreachable;
            if news {
                *since = unreachable.then(Instant::now);
            }
            news
        });
    }

    /// Whether the outage has lasted long enough.
    pub(super) fn is_confirmed(&self) -> bool {
        self.0.borrow().is_some_and(|since| since.elapsed() >= CONFIRMED_AFTER)
    }

    /// Waits for [`Outage::is_confirmed`].
    pub(super) async fn until_confirmed(&self) {
        let mut noticed = self.0.subscribe();
        while !self.is_confirmed() {
            let since = *noticed.borrow_and_update();
            let certain = async move {
                match since {
                    Some(since) => sleep_until(since + CONFIRMED_AFTER).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = certain => {}
                // Cannot fail: `self` has the sender.
                _ = noticed.changed() => {}
            }
        }
    }
}
