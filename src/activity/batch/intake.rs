//! One event in, one outcome out. Each route that takes many events sends them to Kafka in this way, in every format.

use std::{
    num::NonZeroU32,
    sync::Arc,
    task::{Context as Task, Poll, ready},
};

use futures::FutureExt as _;
use highwater_kafka::{Context, Delivery, Receipt};
use highwater_web::{
    auth::Grant,
    http::{CorrelationId, Problem},
};
use uuid::Uuid;
use warp::http::HeaderValue;

use crate::activity::{Api, answers::published::failure, faults::of_event, schemas::Judged};

/// Takes the events of one request.
pub(in crate::activity) struct Intake {
    pub(in crate::activity) api: Arc<Api>,
    pub(in crate::activity) grant: Grant,
    /// The correlation of the request, which the records carry.
    pub(in crate::activity) context: Context,
}

impl Intake {
    /// The intake of a request with that `X-Correlation-Id`.
    pub(in crate::activity) fn new(api: Arc<Api>, grant: Grant, correlation: Option<&HeaderValue>) -> Self {
        let given = correlation.and_then(CorrelationId::from_header);
        let context = given.map(|given| Context::correlated(given.as_str())).unwrap_or_default();
        Self { api, grant, context }
    }

    /// Takes an event, or the reason why there is none. It returns when the event has its place in the queue to Kafka: events
    /// that are taken one after the other are written in that order.
    pub(in crate::activity) async fn take(&self, event: Result<Judged, Problem>) -> Taken {
        match event.and_then(|judged| self.admit(judged)) {
            Ok(Judged { event, violations }) => {
                let id = event.id();
                let delivery = self.api.events.enqueue_in(&self.context, event).await;
                Taken(IntakeState::Queued { id, violations, delivery })
            }
            Err(problem) => {
                self.note(&problem);
                Taken(IntakeState::Done(IntakeOutcome::Refused(problem)))
            }
        }
    }

    /// Notes that something was refused, for `GET /rejections`.
    pub(in crate::activity) fn note(&self, problem: &Problem) {
        self.api.rejections.note(&self.grant, self.context.correlation_id.as_deref(), problem);
    }

    /// Checks that the client may publish the event, and may do so now.
    fn admit(&self, judged: Judged) -> Result<Judged, Problem> {
        let user = judged.event.user_id();
        self.grant
            .check_write(&user)
            .and_then(|()| self.grant.charge_events([(&*user, NonZeroU32::MIN)], NonZeroU32::MIN))
            .map_err(|problem| of_event(judged.event.id(), problem))?;
        drop(user);
        Ok(judged)
    }
}

/// An event that was taken, or refused.
#[derive(Debug)]
pub(in crate::activity) struct Taken(IntakeState);

#[derive(Debug)]
enum IntakeState {
    Queued { id: Uuid, violations: usize, delivery: Delivery },
    Done(IntakeOutcome),
}

/// The outcome of an event.
#[derive(Debug)]
pub(in crate::activity) enum IntakeOutcome {
    /// Kafka has it. It breaks the schema of its type by so many faults.
    Stored { id: Uuid, receipt: Receipt, violations: usize },
    /// It was not taken.
    Refused(Problem),
    /// Kafka has not acknowledged it. The flag tells whether it may have been written all the same.
    Failed(Problem, bool),
}

impl Taken {
    /// Waits for the outcome; then [`Taken::outcome`] has it.
    pub(in crate::activity) fn poll_done(&mut self, task: &mut Task<'_>) -> Poll<()> {
        if let IntakeState::Queued { id, violations, delivery } = &mut self.0 {
            self.0 = IntakeState::Done(match ready!(delivery.poll_unpin(task)) {
                Ok(receipt) => IntakeOutcome::Stored { id: *id, receipt, violations: *violations },
                Err(error) => {
                    let possibly_written = error.possibly_written();
                    IntakeOutcome::Failed(failure(*id, error), possibly_written)
                }
            });
        }
        Poll::Ready(())
    }

    /// The outcome, once it is known.
    pub(in crate::activity) fn outcome(&self) -> Option<&IntakeOutcome> {
        match &self.0 {
            IntakeState::Queued { .. } => None,
            IntakeState::Done(outcome) => Some(outcome),
        }
    }
}
