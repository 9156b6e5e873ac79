//! Heartbeats of the classic protocol. They begin with the answer to the first JoinGroup, as in Java's
//! `AbstractCoordinator`, since the leader computes the assignment before it syncs. They go on while partitions are
//! drained and while the group rebalances, so that slow work does not end the session.

use std::{convert::Infallible, future::pending, sync::Arc, time::Duration};

use kafka_protocol::{
    ResponseError,
    messages::{HeartbeatRequest, SyncGroupRequest},
};
use log::{info, warn};
use tokio::time::{Instant, sleep_until};

use super::{
    super::{Coordinator, Lease, MemberGeneration, MemberState, membership::MemberContext},
    is_fenced_out,
};
use crate::{StatusRegistry, wire::WireError};

/// The heartbeats' component of the status registry.
const COMPONENT: &str = "sending heartbeats";
/// The interval between attempts while the coordinator does not answer.
const RETRY: Duration = Duration::from_millis(250);

/// The result of an answered heartbeat.
#[derive(Debug)]
pub(super) enum HeartbeatResult {
    /// The generation goes on.
    Stable,
    /// The group rebalances.
    Rebalance,
    /// This is not a member any more, or not of that generation.
    Lost(WireError),
}

/// Sends heartbeats, and renews the lease by their answers.
#[derive(Debug)]
pub(super) struct Heartbeat {
    registry: Arc<StatusRegistry>,
    interval: Duration,
    /// The lease's term after an answered heartbeat.
    term: Duration,
    /// Nine tenths of the time for which the coordinator waits, in a rebalance, for members to join again.
    rebalance_term: Duration,
    /// `None` while it is out of the group.
    active: Option<Active>,
}

#[derive(Debug)]
struct Active {
    state: Arc<MemberState>,
    lease: Lease,
    due: Instant,
    /// Whether the assignment of the generation is known: SyncGroup was answered.
    is_synced: bool,
    /// The time of the last request that found the group stable: a rebalance began after it.
    stable_at: i64,
    /// Whether the end of the lease was logged.
    lease_lapsed: bool,
}

impl Heartbeat {
    pub(super) fn new(context: &MemberContext) -> Self {
        let config = &context.config;
        Self {
            registry: Arc::clone(&context.registry),
            interval: config.heartbeat_interval,
            // In a rebalance the coordinator waits no longer than that, whatever is left of the session.
            term: Lease::term(config.session_timeout.min(config.rebalance_timeout)),
            rebalance_term: Lease::term(config.rebalance_timeout),
            active: None,
        }
    }

    /// JoinGroup was answered: the next heartbeat is due at once.
    pub(super) fn joined(&mut self, state: &Arc<MemberState>) {
        let due = Instant::now();
        match &mut self.active {
            Some(active) => (active.due, active.is_synced) = (due, false),
            None => {
                let (state, lease, stable_at) = (Arc::clone(state), state.lease(), Lease::now());
                let (is_synced, lease_lapsed) = (false, false);
                self.active = Some(Active { state, lease, due, is_synced, stable_at, lease_lapsed });
            }
        }
    }

    /// SyncGroup, sent at `synced_at`, was answered: the next heartbeat is due at once.
    pub(super) fn synced(&mut self, synced_at: i64) {
        if let Some(active) = &mut self.active {
            (active.due, active.is_synced, active.stable_at) = (Instant::now(), true, synced_at);
        }
    }

    /// Stops: it is out of the group.
    pub(super) fn stop(&mut self) {
        self.active = None;
        self.registry.withdraw(COMPONENT);
    }

    /// Sends heartbeats when they are due, until one is answered.
    pub(super) async fn next(&mut self, coordinator: &Coordinator) -> HeartbeatResult {
        let Some(active) = &mut self.active else { return pending().await };
        loop {
            sleep_until(active.due).await;
            let Some(generation) = active.state.generation() else { return pending().await };
            let (mut sent_at, sent) = (Lease::now(), Instant::now());
            let is_valid = active.lease.is_valid();
            // This is for a call that is dropped or not answered.
            active.due = sent + RETRY;
            let within = coordinator.cluster().request_timeout().min(self.term);
            let mut answer = coordinator.heartbeat(&generation, within).await;
            // The session may have ended as well, and an answer says nothing about it: a coordinator that loads its groups
            // answers every heartbeat without a look (`GroupCoordinator.handleHeartbeat`).
            if answer.is_ok() && !is_valid && active.is_synced {
                sent_at = Lease::now();
                answer = match coordinator.sync_again(&generation, within).await {
                    // Its groups are not loaded yet, or this one rebalances: the next heartbeat tells.
                    Err(error) if error.code() == Some(ResponseError::RebalanceInProgress) => continue,
                    answer => answer,
                };
            }
            let result = match answer {
                Ok(()) => {
                    active.stable_at = sent_at;
                    // Before the assignment is known, only the answer to SyncGroup gives back a lease that is over.
                    if is_valid || active.is_synced {
                        active.lease.renew(sent_at, self.term);
                    }
                    HeartbeatResult::Stable
                }
                Err(error) if error.code() == Some(ResponseError::RebalanceInProgress) => {
                    // The coordinator goes on without a member that has not joined again in time.
                    let late = self.rebalance_term.saturating_sub(elapsed(active.stable_at, sent_at));
                    active.lease.renew(sent_at, self.term.min(late));
                    HeartbeatResult::Rebalance
                }
                Err(error) if is_fenced_out(&error) => return HeartbeatResult::Lost(error),
                Err(error) => {
                    self.registry.failed(COMPONENT, &error.explained());
                    if !active.lease_lapsed && !active.lease.is_valid() {
                        active.lease_lapsed = true;
                        warn!("no heartbeat was answered for {:?}: pausing until one is", self.term);
                    }
                    continue;
                }
            };
            active.due = sent + self.interval;
            self.registry.succeeded(COMPONENT);
            if std::mem::take(&mut active.lease_lapsed) {
                info!("heartbeats are answered again: going on");
            }
            return result;
        }
    }

    /// Sends heartbeats without an end. In a rebalance the answer to JoinGroup or SyncGroup tells the result.
    pub(super) async fn keep_alive(&mut self, coordinator: &Coordinator) -> Infallible {
        loop {
            if let HeartbeatResult::Lost(_) = self.next(coordinator).await
                && let Some(active) = &mut self.active
            {
                active.due = Instant::now() + RETRY;
            }
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.registry.withdraw(COMPONENT);
    }
}

fn elapsed(since: i64, now: i64) -> Duration {
    Duration::from_nanos(u64::try_from(now.saturating_sub(since)).unwrap_or(0))
}

impl Coordinator {
    /// Sends a Heartbeat.
    async fn heartbeat(&self, generation: &MemberGeneration, within: Duration) -> Result<(), WireError> {
        let request = HeartbeatRequest::default()
            .with_group_id(self.group())
            .with_generation_id(generation.id)
            .with_group_instance_id(generation.instance_id.clone())
            .with_member_id(generation.member_id.clone());
        let answer = self.call(&request, 0..=4, within).await?;
        self.check("Heartbeat", answer.error_code).await
    }

    /// Asks for the assignment of a generation once more, which the coordinator has only for members of it
    /// (`GroupCoordinator.doSyncGroup`, in the state Stable).
    async fn sync_again(&self, generation: &MemberGeneration, within: Duration) -> Result<(), WireError> {
        let request = SyncGroupRequest::default()
            .with_group_id(self.group())
            .with_generation_id(generation.id)
            .with_group_instance_id(generation.instance_id.clone())
            .with_member_id(generation.member_id.clone());
        // From version 5 on it wants the protocol's name as well.
        let answer = self.call(&request, 0..=4, within).await?;
        self.check("SyncGroup", answer.error_code).await
    }
}
