//! Heartbeats of the classic protocol. They go on while partitions are drained and while the group gathers, so
//! that slow work is not death.

use std::{convert::Infallible, future::pending, sync::Arc, time::Duration};

use kafka_protocol::{ResponseError, messages::HeartbeatRequest};
use log::{info, warn};
use tokio::time::{Instant, sleep_until};

use super::{
    super::{Claim, Coordinator, Lease, Standing, membership::Enrolment},
    is_out,
};
use crate::{StatusRegistry, wire::WireError};

/// The part of the registry that is the heartbeats'.
const PART: &str = "sending heartbeats";
/// Between attempts while the coordinator does not answer.
const RETRY: Duration = Duration::from_millis(250);

/// What an answered heartbeat tells.
#[derive(Debug)]
pub(super) enum Beat {
    /// The generation goes on.
    Steady,
    /// The group gathers anew.
    Rebalance,
    /// This is no member any more, or not of that generation.
    Out(WireError),
}

/// Makes the member heard, and renews its lease by that.
#[derive(Debug)]
pub(super) struct Heart {
    registry: Arc<StatusRegistry>,
    interval: Duration,
    /// How long a lease runs after an answered heartbeat.
    term: Duration,
    /// As long as the coordinator waits, in a rebalance, for members to join again; less a margin.
    rebalance_term: Duration,
    /// `None` while it is out of the group.
    life: Option<Life>,
}

#[derive(Debug)]
struct Life {
    standing: Arc<Standing>,
    lease: Lease,
    due: Instant,
    /// When the last request was sent that found the group at work: a rebalance began after that.
    steady_at: i64,
    /// It was said that the lease ran out.
    lapsed: bool,
}

impl Heart {
    pub(super) fn new(enrolment: &Enrolment) -> Self {
        let config = &enrolment.config;
        Self {
            registry: Arc::clone(&enrolment.registry),
            interval: config.heartbeat_interval,
            // In a rebalance the coordinator waits no longer than that, whatever is left of the session.
            term: Lease::term(config.session_timeout.min(config.rebalance_timeout)),
            rebalance_term: Lease::term(config.rebalance_timeout),
            life: None,
        }
    }

    /// A generation began after that moment: the first heartbeat is due at once.
    pub(super) fn start(&mut self, standing: &Arc<Standing>, steady_at: i64) {
        let due = Instant::now();
        match &mut self.life {
            Some(life) => (life.due, life.steady_at) = (due, steady_at),
            None => {
                let (standing, lease) = (Arc::clone(standing), standing.lease());
                self.life = Some(Life { standing, lease, due, steady_at, lapsed: false });
            }
        }
    }

    /// It is out of the group.
    pub(super) fn stop(&mut self) {
        self.life = None;
        self.registry.withdraw(PART);
    }

    /// Sends heartbeats when they are due, until one is answered.
    pub(super) async fn beat(&mut self, coordinator: &Coordinator) -> Beat {
        let Some(life) = &mut self.life else { return pending().await };
        loop {
            sleep_until(life.due).await;
            let Some(claim) = life.standing.claim() else { return pending().await };
            let (sent_at, sent) = (Lease::now(), Instant::now());
            // Should this call be abandoned or not be answered.
            life.due = sent + RETRY;
            let patience = coordinator.cluster().request_timeout().min(self.term);
            let beat = match coordinator.heartbeat(&claim, patience).await {
                Ok(()) => {
                    life.steady_at = sent_at;
                    life.lease.renew(sent_at, self.term);
                    Beat::Steady
                }
                Err(error) if error.code() == Some(ResponseError::RebalanceInProgress) => {
                    // The coordinator goes on without whoever has not joined again in time.
                    let late = self.rebalance_term.saturating_sub(elapsed(life.steady_at, sent_at));
                    life.lease.renew(sent_at, self.term.min(late));
                    Beat::Rebalance
                }
                Err(error) if is_out(&error) => return Beat::Out(error),
                Err(error) => {
                    self.registry.failed(PART, &error.explained());
                    if !life.lapsed && !life.lease.is_valid() {
                        life.lapsed = true;
                        warn!("no heartbeat was answered for {:?}: standing still until one is", self.term);
                    }
                    continue;
                }
            };
            life.due = sent + self.interval;
            self.registry.succeeded(PART);
            if std::mem::take(&mut life.lapsed) {
                info!("heartbeats are answered again: going on");
            }
            return beat;
        }
    }

    /// Beats for ever: while the group gathers, it is the answer to the join that tells what comes of it.
    pub(super) async fn beat_on(&mut self, coordinator: &Coordinator) -> Infallible {
        loop {
            if let Beat::Out(_) = self.beat(coordinator).await
                && let Some(life) = &mut self.life
            {
                life.due = Instant::now() + RETRY;
            }
        }
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        self.registry.withdraw(PART);
    }
}

fn elapsed(since: i64, now: i64) -> Duration {
    Duration::from_nanos(u64::try_from(now.saturating_sub(since)).unwrap_or(0))
}

impl Coordinator {
    /// Makes this member heard.
    async fn heartbeat(&self, claim: &Claim, within: Duration) -> Result<(), WireError> {
        let request = HeartbeatRequest::default()
            .with_group_id(self.group())
            .with_generation_id(claim.generation)
            .with_group_instance_id(claim.instance.clone())
            .with_member_id(claim.member.clone());
        let answer = self.call(&request, 0..=4, within).await?;
        self.check("Heartbeat", answer.error_code).await
    }
}
