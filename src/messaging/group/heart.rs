//! Heartbeats, in a task of their own: slow work is not death.

use std::{sync::Arc, time::Duration};

use kafka_protocol::ResponseError;
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use super::{Coordinator, Generation, Lease};
use crate::messaging::Board;

/// The part of the board that is the heartbeats'.
const PART: &str = "sending heartbeats";
/// Between attempts while the coordinator does not answer.
const RETRY: Duration = Duration::from_millis(250);

/// What the heartbeats tell of the generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pulse {
    /// It goes on.
    Steady,
    /// The group gathers anew: drain, commit, join.
    Rebalance,
    /// This member is out of it: nothing may be committed any more.
    Lost(String),
}

/// Keeps one generation alive until dropped.
#[derive(Debug)]
pub(crate) struct Heart {
    pulse: watch::Receiver<Pulse>,
    task: JoinHandle<()>,
}

impl Heart {
    /// Beats at once, and then at each interval.
    pub(crate) fn start(
        coordinator: Arc<Coordinator>,
        generation: Generation,
        lease: Lease,
        interval: Duration,
        board: Arc<Board>,
    ) -> Self {
        let (sender, pulse) = watch::channel(Pulse::Steady);
        let task = tokio::spawn(async move {
            let ended = beat(&coordinator, &generation, &lease, interval, &board, &sender).await;
            board.withdraw(PART);
            sender.send_replace(ended);
        });
        Self { pulse, task }
    }

    /// Waits until the generation is over, one way or the other.
    pub(crate) async fn ended(&mut self) -> Pulse {
        match self.pulse.wait_for(|pulse| *pulse != Pulse::Steady).await {
            Ok(pulse) => pulse.clone(),
            Err(_) => Pulse::Lost("the heartbeats stopped".to_owned()),
        }
    }

    /// Waits until this member is out of the generation, rebalances aside.
    pub(crate) async fn lost(&mut self) -> String {
        match self.pulse.wait_for(|pulse| matches!(pulse, Pulse::Lost(_))).await.as_deref() {
            Ok(Pulse::Lost(reason)) => reason.clone(),
            _ => "the heartbeats stopped".to_owned(),
        }
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn beat(
    coordinator: &Coordinator,
    generation: &Generation,
    lease: &Lease,
    interval: Duration,
    board: &Board,
    pulse: &watch::Sender<Pulse>,
) -> Pulse {
    // Until the first answer there is no lease to run out; the coordinator's patience is as long.
    let silent_since = Lease::now();
    loop {
        let (sent_at, sent) = (Lease::now(), Instant::now());
        let patience = coordinator.cluster().request_timeout().min(lease.term());
        let answered = match coordinator.heartbeat(generation, patience).await {
            Ok(()) => true,
            Err(error) => match error.code() {
                // The group waits for everyone to join again; until then this member is still in it.
                Some(ResponseError::RebalanceInProgress) => {
                    pulse.send_if_modified(|pulse| {
                        let news = *pulse == Pulse::Steady;
                        if news {
                            *pulse = Pulse::Rebalance;
                        }
                        news
                    });
                    true
                }
                Some(
                    ResponseError::UnknownMemberId
                    | ResponseError::IllegalGeneration
                    | ResponseError::FencedInstanceId
                    | ResponseError::GroupAuthorizationFailed,
                ) => return Pulse::Lost(error.to_string()),
                _ => {
                    board.failed(PART, &error);
                    false
                }
            },
        };
        if answered {
            board.succeeded(PART);
            lease.renew(sent_at);
        }
        let left = lease.remaining().max(lease.left_of_term(silent_since));
        if left.is_zero() {
            return Pulse::Lost("no heartbeat was answered for the session time-out".to_owned());
        }
        let next = if answered { interval } else { RETRY };
        tokio::time::sleep_until((sent + next).min(Instant::now() + left)).await;
    }
}
