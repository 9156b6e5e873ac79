//! A cluster of which nothing is there.
//!
//! An election takes a moment, and so does a restart; what is published meanwhile waits. Where no broker is left to
//! hold one, waiting is in vain. The sign is that connections are refused, or names do not resolve, at every address
//! that is known: a host that is only slow does neither.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// How long it has to be so before the cluster counts as away: more than the moment in which a broker that is started
/// again listens anew.
const AFTER: Duration = Duration::from_secs(1);

/// Since when nothing is there; kept by whoever looks for a broker.
#[derive(Debug)]
pub(super) struct Outage(watch::Sender<Option<Instant>>);

impl Outage {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Somebody looked for a broker: whether there was nothing anywhere.
    pub(super) fn observe(&self, nothing_there: bool) {
        self.0.send_if_modified(|since| {
            let news = since.is_some() != nothing_there;
            if news {
                *since = nothing_there.then(Instant::now);
            }
            news
        });
    }

    /// Whether the cluster is away.
    pub(super) fn is_confirmed(&self) -> bool {
        self.0.borrow().is_some_and(|since| since.elapsed() >= AFTER)
    }

    /// Waits until the cluster is away.
    pub(super) async fn until_confirmed(&self) {
        let mut noticed = self.0.subscribe();
        while !self.is_confirmed() {
            let since = *noticed.borrow_and_update();
            let certain = async move {
                match since {
                    Some(since) => sleep_until(since + AFTER).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = certain => {}
                // The sender is at hand: this cannot fail.
                _ = noticed.changed() => {}
            }
        }
    }
}
