//! One event in, one outcome out: the way into Kafka of each route that takes many events, whatever their format.

use std::{
    num::NonZeroU32,
    sync::Arc,
    task::{Context as Task, Poll, ready},
};

use futures::FutureExt as _;
use highwater_kafka::{Context, Delivery, Receipt};
use highwater_web::{auth::Grant, http::Problem};
use uuid::Uuid;

use crate::{
    activity::{Api, answers::published::failure},
    store::ActivityEvent,
};

/// Takes the events of one request.
pub(in crate::activity) struct Intake {
    pub(in crate::activity) api: Arc<Api>,
    pub(in crate::activity) grant: Grant,
    /// The correlation of the request, which the records carry.
    pub(in crate::activity) context: Context,
}

impl Intake {
    /// Takes an event, or the reason why there is none. It returns when the event has its place in the queue to Kafka: events
    /// that are taken one after the other are written in that order.
    pub(in crate::activity) async fn take(&self, event: Result<ActivityEvent, Problem>) -> Taken {
        let judged = event.and_then(|event| Ok((self.api.judge(&event)?, event)));
        match judged.and_then(|(violations, event)| Ok((violations, self.admit(event)?))) {
            Ok((violations, event)) => {
                let id = event.id();
                let delivery = self.api.events.enqueue_in(&self.context, event).await;
                Taken(State::Queued { id, violations, delivery })
            }
            Err(problem) => {
                self.note(&problem);
                Taken(State::Done(IntakeOutcome::Refused(problem)))
            }
        }
    }

    /// Notes that something was refused, for `GET /rejections`.
    pub(in crate::activity) fn note(&self, problem: &Problem) {
        self.api.rejections.note(&self.grant, self.context.correlation_id.as_deref(), problem);
    }

    /// Whether the client may publish it, and now.
    fn admit(&self, event: ActivityEvent) -> Result<ActivityEvent, Problem> {
        let user = event.user_id();
        let admitted = self
            .grant
            .check_write(&user)
            .and_then(|()| self.grant.charge_events([(&*user, NonZeroU32::MIN)], NonZeroU32::MIN));
        drop(user);
        match admitted {
            Ok(()) => Ok(event),
            Err(problem) => Err(problem.with_member("eventId", event.id().to_string())),
        }
    }
}

/// An event that was taken, or refused.
#[derive(Debug)]
pub(in crate::activity) struct Taken(State);

#[derive(Debug)]
enum State {
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
    /// Kafka has not acknowledged it; whether it may have been written all the same.
    Failed(Problem, bool),
}

impl Taken {
    /// Waits for the outcome; then [`Taken::outcome`] has it.
    pub(in crate::activity) fn poll_done(&mut self, task: &mut Task<'_>) -> Poll<()> {
        if let State::Queued { id, violations, delivery } = &mut self.0 {
            self.0 = State::Done(match ready!(delivery.poll_unpin(task)) {
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
            State::Queued { .. } => None,
            State::Done(outcome) => Some(outcome),
        }
    }
}
