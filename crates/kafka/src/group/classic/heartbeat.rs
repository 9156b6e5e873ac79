//! Heartbeats of the classic protocol. They go on while partitions are drained and while the group gathers, so
//! that slow work is not death.

use std::{convert::Infallible, future::pending, sync::Arc, time::Duration};

use kafka_protocol::{ResponseError, messages::HeartbeatRequest};
use log::{info, warn};
use tokio::time::{Instant, sleep_until};

use super::{
    super::{Coordinator, Lease, MemberGeneration, MemberState, membership::MemberContext},
    is_fenced_out,
};
use crate::{StatusRegistry, wire::WireError};

/// The part of the registry that is the heartbeats'.
const COMPONENT: &str = "sending heartbeats";
/// Between attempts while the coordinator does not answer.
const RETRY: Duration = Duration::from_millis(250);

/// What an answered heartbeat tells.
#[derive(Debug)]
pub(super) enum HeartbeatResult {
    /// The generation goes on.
    Stable,
    /// The group gathers anew.
    Rebalance,
    /// This is no member any more, or not of that generation.
    Lost(WireError),
}

/// Makes the member heard, and renews its lease by that.
#[derive(Debug)]
pub(super) struct Heartbeat {
    registry: Arc<StatusRegistry>,
    interval: Duration,
    /// How long a lease runs after an answered heartbeat.
    term: Duration,
    /// As long as the coordinator waits, in a rebalance, for members to join again; less a margin.
    rebalance_term: Duration,
    /// `None` while it is out of the group.
    active: Option<Active>,
}

#[derive(Debug)]
struct Active {
    state: Arc<MemberState>,
    lease: Lease,
    due: Instant,
    /// When the last request was sent that found the group at work: a rebalance began after that.
    stable_at: i64,
    /// It was said that the lease ran out.
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

    /// A generation began after that moment: the first heartbeat is due at once.
    pub(super) fn start(&mut self, state: &Arc<MemberState>, stable_at: i64) {
        let due = Instant::now();
        match &mut self.active {
            Some(active) => (active.due, active.stable_at) = (due, stable_at),
            None => {
                let (state, lease) = (Arc::clone(state), state.lease());
                self.active = Some(Active { state, lease, due, stable_at, lease_lapsed: false });
            }
        }
    }

    /// It is out of the group.
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
            let (sent_at, sent) = (Lease::now(), Instant::now());
            // Should this call be abandoned or not be answered.
            active.due = sent + RETRY;
            let patience = coordinator.cluster().request_timeout().min(self.term);
            let result = match coordinator.heartbeat(&generation, patience).await {
                Ok(()) => {
                    active.stable_at = sent_at;
                    active.lease.renew(sent_at, self.term);
                    HeartbeatResult::Stable
                }
                Err(error) if error.code() == Some(ResponseError::RebalanceInProgress) => {
                    // The coordinator goes on without whoever has not joined again in time.
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

    /// Beats for ever: while the group gathers, it is the answer to the join that tells what comes of it.
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
    /// Makes this member heard.
    async fn heartbeat(&self, generation: &MemberGeneration, within: Duration) -> Result<(), WireError> {
        let request = HeartbeatRequest::default()
            .with_group_id(self.group())
            .with_generation_id(generation.id)
            .with_group_instance_id(generation.instance_id.clone())
            .with_member_id(generation.member_id.clone());
        let answer = self.call(&request, 0..=4, within).await?;
        self.check("Heartbeat", answer.error_code).await
    }
}
