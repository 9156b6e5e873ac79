//! The lock that one redrive holds: partition 0 of the dead letter topic in the redrive group, under the rules of Kafka's
//! groups. So one redrive runs at a time, in any process.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::FutureExt as _;
use tokio::time::{Instant, timeout, timeout_at};

use super::{RedriveError, Redriver, report::Interruption};
use crate::{
    TransientError,
    group::{GroupEvent, LeaveReason, MemberContext, MemberGeneration, Membership},
};

/// The member with this partition holds the lock, for all partitions.
const LOCK_PARTITION: i32 = 0;
/// The longest rebalance of the group, beyond the session of a member that was killed.
const REBALANCE_TIMEOUT: Duration = Duration::from_secs(10);
/// The timeout of leaving the group.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);
/// The reason why a redrive stopped that lost the lock for good.
pub(super) const ANOTHER: &str = "another redrive has begun: ask again";

/// The lock, or the wait for it.
pub(super) struct RedriveLock<'a> {
    redriver: &'a Redriver,
    membership: Membership,
    /// The deadline of the redrive.
    until: Instant,
}

impl<'a> RedriveLock<'a> {
    /// Joins the redrive group, which decides about the holder of the lock.
    pub(super) fn join(redriver: &'a Redriver, until: Instant) -> Self {
        let context = MemberContext::new(
            Arc::clone(&redriver.coordinator),
            redriver.reader.topic().clone(),
            redriver.config.clone(),
            Arc::clone(&redriver.registry),
        );
        Self { redriver, membership: Membership::start(Arc::new(context)), until }
    }

    /// Waits until this member holds the lock.
    pub(super) async fn acquire(&mut self) -> Result<(), Interruption> {
        let never = |why: &str| Interruption::Never(RedriveError::Unavailable(TransientError::new(why)));
        let within = self.redriver.config.session_timeout + REBALANCE_TIMEOUT;
        let by = self.until.min(Instant::now() + within);
        loop {
            let call = tokio::select! {
                () = self.redriver.stop.cancelled() => return Err(never("the process is stopping")),
                call = timeout_at(by, self.membership.next()) => call,
            };
            match call {
                Err(_) => {
                    let trouble = self.redriver.registry.watch().borrow().kafka.error.clone();
                    let because = trouble.map(|trouble| format!(": {trouble}")).unwrap_or_default();
                    return Err(never(&format!("the redrive group did not rebalance in time{because}")));
                }
                // A new member is assigned only partitions that others have revoked.
                Ok(GroupEvent::Assigned(held, _)) if self.accepts(&held) => return Ok(()),
                Ok(GroupEvent::Assigned(..)) => return Err(Interruption::Never(RedriveError::Busy)),
                Ok(GroupEvent::Pending) => {}
                Ok(GroupEvent::RevokeAll | GroupEvent::Lost(_)) => {
                    self.membership.acknowledge(BTreeSet::new());
                }
                Ok(GroupEvent::Fenced(why)) => return Err(never(&why)),
            }
        }
    }

    /// Waits until the member that has just joined has left again.
    pub(super) async fn reacquire(&mut self) -> Result<(), Interruption> {
        let by = self.until.min(Instant::now() + REBALANCE_TIMEOUT);
        loop {
            match timeout_at(by, self.membership.next()).await {
                Ok(GroupEvent::Assigned(held, _)) if self.accepts(&held) => return Ok(()),
                Ok(GroupEvent::Assigned(..) | GroupEvent::Pending) => {}
                Ok(GroupEvent::RevokeAll | GroupEvent::Lost(_) | GroupEvent::Fenced(_)) | Err(_) => {
                    self.membership.acknowledge(BTreeSet::new());
                    return Err(Interruption::Early(ANOTHER.to_owned()));
                }
            }
        }
    }

    /// Checks between batches that the lock, the time and the process are still there.
    pub(super) fn check(&mut self) -> Result<(), Interruption> {
        let early = |why: &str| Err(Interruption::Early(why.to_owned()));
        while let Some(call) = self.membership.next().now_or_never() {
            match call {
                GroupEvent::Assigned(held, _) => {
                    if !self.accepts(&held) {
                        return Err(Interruption::LockLost);
                    }
                }
                GroupEvent::Pending => {}
                GroupEvent::RevokeAll | GroupEvent::Lost(_) | GroupEvent::Fenced(_) => {
                    self.membership.acknowledge(BTreeSet::new());
                    return early("out of the redrive group, which another may lead now: ask again");
                }
            }
        }
        if !self.membership.state().lease().is_valid() {
            return early("the redrive group does not answer: ask again");
        }
        if self.redriver.stop.is_cancelled() {
            return early("the process is stopping: ask another");
        }
        if Instant::now() >= self.until {
            return early("the time for one request is over: ask again");
        }
        Ok(())
    }

    /// Takes over an assignment; returns whether the lock is in it.
    fn accepts(&self, held: &BTreeSet<i32>) -> bool {
        self.membership.acknowledge(held.clone());
        held.contains(&LOCK_PARTITION)
    }

    /// The generation to commit with; `None` while out of the group.
    pub(super) fn generation(&self) -> Option<MemberGeneration> {
        self.membership.state().generation()
    }

    /// Leaves the group, so that another member gets the lock.
    pub(super) async fn release(mut self) {
        if timeout(LEAVE_TIMEOUT, self.membership.leave(LeaveReason::Closing)).await.is_err() {
            log::debug!("leaving the redrive group: no answer");
        }
    }
}
