//! Makes spans, and keeps those that have ended until they are exported.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::Notify;

use super::{
    TraceConfig,
    context::TraceContext,
    otlp::{Kind, Span},
    sampling::TraceSampler,
};

/// Makes spans. Clones share it.
#[derive(Clone)]
pub struct Tracer(Arc<Shared>);

/// The state that the makers of spans share with the exporter.
pub(super) struct Shared {
    sampler: TraceSampler,
    /// Each span is JSON in a single allocation. The many small ones of waiting spans would lie scattered between those of
    /// requests, which would slow all requests (docs/benchmarks.md).
    ended: Mutex<VecDeque<Box<RawValue>>>,
    most: usize,
    batch: usize,
    /// Notified when there are enough spans for a batch.
    pub(super) full: Notify,
    pub(super) exported: AtomicU64,
    pub(super) dropped: AtomicU64,
}

impl Shared {
    /// Takes the oldest ended spans, a batch at most.
    pub(super) fn take(&self) -> Vec<Box<RawValue>> {
        let mut ended = self.lock();
        let batch = ended.len().min(self.batch);
        ended.drain(..batch).collect()
    }

    /// Whether there are enough spans for a batch.
    pub(super) fn has_batch(&self) -> bool {
        self.lock().len() >= self.batch
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Box<RawValue>>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tracer {
    /// A tracer whose spans wait until they are taken.
    pub(super) fn new(config: &TraceConfig) -> Self {
        Self(Arc::new(Shared {
            sampler: config.sampler,
            ended: Mutex::default(),
            most: config.max_queue,
            batch: config.max_batch,
            full: Notify::new(),
            exported: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }))
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }

    /// The context of a new span: below `parent`, or of a new trace.
    pub(super) fn next(&self, parent: Option<&TraceContext>) -> TraceContext {
        self.0.sampler.next(parent)
    }

    /// A span that begins now, in its context.
    pub(super) fn begin(
        &self,
        kind: Kind,
        name: String,
        context: &TraceContext,
        parent: Option<&TraceContext>,
    ) -> ActiveSpan {
        let span = Span::new(kind, name, context, parent);
        ActiveSpan { span: Some(span), began: Instant::now(), tracer: self.clone() }
    }

    /// Queues an ended span. Without room for it, the span is dropped and counted. The room is checked twice: unwanted JSON
    /// is not written, and no lock is held while it is written.
    pub(super) fn ended(&self, span: Span) {
        let Shared { most, batch, full, dropped, .. } = &*self.0;
        let has_room = || self.0.lock().len() < *most;
        let span = if has_room() { to_raw_value(&span).ok() } else { None };
        let mut ended = self.0.lock();
        match span.filter(|_| ended.len() < *most) {
            Some(span) => ended.push_back(span),
            None => {
                dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
        if ended.len() == *batch {
            full.notify_one();
        }
    }

    /// The numbers of exported and dropped spans so far.
    pub fn counts(&self) -> (u64, u64) {
        (self.0.exported.load(Ordering::Relaxed), self.0.dropped.load(Ordering::Relaxed))
    }
}

/// Equal when they share their state.
impl PartialEq for Tracer {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Tracer {}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer").field("sampler", &self.0.sampler).finish_non_exhaustive()
    }
}

/// A begun span; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct ActiveSpan {
    span: Option<Span>,
    began: Instant,
    tracer: Tracer,
}

impl ActiveSpan {
    /// Adds details to the span.
    pub(super) fn update(&mut self, update: impl FnOnce(&mut Span)) {
        if let Some(span) = &mut self.span {
            update(span);
        }
    }
}

impl Drop for ActiveSpan {
    fn drop(&mut self) {
        if let Some(mut span) = self.span.take() {
            // The system's clock may be set meanwhile.
            span.end = span.start + self.began.elapsed();
            self.tracer.ended(span);
        }
    }
}
