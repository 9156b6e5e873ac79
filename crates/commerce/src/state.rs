//! The answers about state that is kept in the log.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use highwater_kafka::{Context, PublishError};
use highwater_table::{AppendError, EventSourcedTable, Projection};
use highwater_web::{
    http::{Problem, openapi::Operation},
    publish_problem::{publish_problem, reasons},
};

/// The attempts of a write when concurrent writes are faster.
pub const ATTEMPTS: usize = 8;

/// The Retry-After, in seconds, at the memory limit: an operator has to raise it.
const MEMORY_FULL_RETRY_AFTER: u32 = 60;

/// The limit of the memory of a service's state. Events in the log are applied beyond it, as otherwise the state would be
/// wrong.
#[derive(Debug)]
pub struct MemoryLimit {
    most: usize,
    told: AtomicBool,
}

impl MemoryLimit {
    /// A limit of that many bytes.
    pub fn new(most: usize) -> Self {
        Self { most, told: AtomicBool::new(false) }
    }

    /// Checks that the state, which takes this much memory, may grow.
    ///
    /// # Errors
    ///
    /// 503; the log says so once.
    pub fn check(&self, taken: usize) -> Result<(), Problem> {
        if taken < self.most {
            return Ok(());
        }
        if !self.told.swap(true, Ordering::Relaxed) {
            log::warn!(
                "the state takes about {taken} bytes, and the limit is {}: nothing new is taken any more, what \
                 is there can be read and changed",
                self.most
            );
        }
        Err(memory_full())
    }
}

fn memory_full() -> Problem {
    let detail =
        "the state has reached its memory limit: nothing new is taken, what is there can be read and changed";
    Problem::unavailable(detail, MEMORY_FULL_RETRY_AFTER).with_member("possiblyWritten", false)
}

/// The view, once it is complete.
///
/// # Errors
///
/// 503 while the log is not read to its end: the answer may be in the rest of it.
pub fn complete<F: Projection>(
    table: &Arc<EventSourcedTable<F>>,
) -> Result<&Arc<EventSourcedTable<F>>, Problem> {
    match table.is_complete() {
        true => Ok(table),
        false => Err(incomplete()),
    }
}

/// 503: concurrent writes were faster at every attempt.
pub fn contended() -> Problem {
    Problem::unavailable("others change it at the same time; nothing was changed by this request", 1)
}

/// Describes the problems of a read of the view.
pub fn describe_read(operation: Operation) -> Operation {
    operation.problem("incomplete", "The state is not read to its end yet.", incomplete())
}

/// Describes the problems of a write that adds something new.
pub fn describe_new(operation: Operation) -> Operation {
    describe_write(
        operation.problem("memoryFull", "The state has reached its memory limit.", memory_full()),
        true,
    )
}

/// Describes the problems of a write; `keyed` says whether it takes an Idempotency-Key.
pub fn describe_write(operation: Operation, keyed: bool) -> Operation {
    let operation = operation.problem("contended", "Others change it at the same time.", contended());
    let unread = (
        "unread",
        "It is written, and not read back in time.",
        AppendError::NotReadBack(Duration::from_secs(5)),
    );
    let failures = reasons().map(|(name, summary, error)| (name, summary, AppendError::Publish(error)));
    failures.into_iter().chain([unread]).fold(
        describe_read(operation),
        |operation, (name, summary, error)| match refusal(error, keyed) {
            Some(problem) => operation.problem(name, summary, problem),
            None => operation,
        },
    )
}

fn incomplete() -> Problem {
    Problem::unavailable("the state is not read to the end of the log yet", 1)
}

/// Writes an event of a request with or without an Idempotency-Key. Returns whether the event was applied. If not, the state
/// has changed, and the caller decides anew.
///
/// # Errors
///
/// 503, 413: the event is not known to count.
pub async fn append<F: Projection>(
    table: &EventSourcedTable<F>,
    event: F::Event,
    context: &Context,
    keyed: bool,
) -> Result<bool, Problem> {
    match table.append(event, context).await {
        Ok(_) => Ok(true),
        Err(error) => refusal(error, keyed).map_or(Ok(false), Err),
    }
}

/// The problem of a failed write; `None` where the event was rejected and the write is to be decided anew.
fn refusal(error: AppendError, keyed: bool) -> Option<Problem> {
    const SAFE: &str = "Asking again with the same Idempotency-Key is safe: it happens once";
    const LOOK: &str = "Look whether it happened before asking again";
    const UNDONE: &str = "It can be asked again";
    match error {
        AppendError::Rejected => None,
        AppendError::Incomplete => Some(incomplete()),
        AppendError::NotReadBack(after) => {
            let again = if keyed { SAFE } else { LOOK };
            let detail = format!(
                "Kafka has the event, and this instance has not read it back after {after:?}: what became of it is \
                 not known here yet. {again}"
            );
            Some(Problem::unavailable(detail, 1).with_member("possiblyWritten", true))
        }
        AppendError::Publish(error) => {
            let again = match &error {
                _ if keyed => SAFE,
                PublishError::Unavailable { possibly_written: true, .. } => LOOK,
                _ => UNDONE,
            };
            Some(publish_problem(error, again))
        }
        _ => Some(Problem::internal()),
    }
}
