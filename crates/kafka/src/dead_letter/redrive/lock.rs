//! Who works: one redrive at a time, in whatever process, by the rules of Kafka's groups.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::FutureExt as _;
use tokio::time::{Instant, timeout, timeout_at};

use super::{RedriveError, Redriver, report::Interruption};
use crate::group::{GroupEvent, LeaveReason, MemberContext, MemberGeneration, Membership};

/// Whoever holds this partition in the redrive group is the one that works, on all of them.
const LOCK_PARTITION: i32 = 0;
/// How long the group may take to gather, beyond the session of one who was killed.
const GATHERING: Duration = Duration::from_secs(10);
/// How long leaving may take: with Kafka away it is in vain.
const LEAVE_PATIENCE: Duration = Duration::from_secs(2);
/// Why a redrive ended that another took the place of.
pub(super) const ANOTHER: &str = "another redrive has begun: ask again";

/// The right to work, which a member of the redrive group has or waits for.
pub(super) struct RedriveLock<'a> {
    redriver: &'a Redriver,
    membership: Membership,
    /// When the redrive has to end.
    until: Instant,
}

impl<'a> RedriveLock<'a> {
    /// Joins the group, which decides who has it.
    pub(super) fn join(redriver: &'a Redriver, until: Instant) -> Self {
        let context = MemberContext {
            coordinator: Arc::clone(&redriver.coordinator),
            topic: redriver.reader.topic().clone(),
            config: redriver.config.clone(),
            registry: Arc::clone(&redriver.registry),
        };
        Self { redriver, membership: Membership::start(Arc::new(context)), until }
    }

    /// Waits until this member is the one that works.
    pub(super) async fn acquire(&mut self) -> Result<(), Interruption> {
        let never = |why: &str| Interruption::Never(RedriveError::Unavailable(why.to_owned()));
        let patience = self.redriver.config.session_timeout + GATHERING;
        let by = self.until.min(Instant::now() + patience);
        loop {
            let call = tokio::select! {
                () = self.redriver.stop.cancelled() => return Err(never("the process is stopping")),
                call = timeout_at(by, self.membership.next()) => call,
            };
            match call {
                Err(_) => {
                    let trouble = self.redriver.registry.watch().borrow().kafka.error.clone();
                    let because = trouble.map(|trouble| format!(": {trouble}")).unwrap_or_default();
                    return Err(never(&format!("the redrive group did not gather in time{because}")));
                }
                // A newcomer gets nothing that another has not given up.
                Ok(GroupEvent::Assigned(held, _)) if self.accepts(&held) => return Ok(()),
                Ok(GroupEvent::Assigned(..)) => return Err(Interruption::Never(RedriveError::Busy)),
                Ok(GroupEvent::Pending) => {}
                Ok(GroupEvent::RevokeAll | GroupEvent::Lost(_)) => {
                    self.membership.acknowledge(BTreeSet::new())
                }
                Ok(GroupEvent::Fenced(why)) => return Err(never(&why)),
            }
        }
    }

    /// Waits until whoever joined has left again.
    pub(super) async fn reacquire(&mut self) -> Result<(), Interruption> {
        let by = self.until.min(Instant::now() + GATHERING);
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

    /// Between batches: whether there is the right, the time and the will to go on.
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

    /// Takes what the group gives; whether the lock is among it.
    fn accepts(&self, held: &BTreeSet<i32>) -> bool {
        self.membership.acknowledge(held.clone());
        held.contains(&LOCK_PARTITION)
    }

    /// As whom to commit; `None` while out of the group.
    pub(super) fn generation(&self) -> Option<MemberGeneration> {
        self.membership.state().generation()
    }

    /// Leaves the group: the next may have it.
    pub(super) async fn release(mut self) {
        if timeout(LEAVE_PATIENCE, self.membership.leave(LeaveReason::Closing)).await.is_err() {
            log::debug!("leaving the redrive group: no answer");
        }
    }
}
