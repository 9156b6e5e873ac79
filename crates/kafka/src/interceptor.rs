//! Hooks on records as they are sent and as they are processed (KIP-42; `ProducerInterceptor` and `ConsumerInterceptor` in
//! Java).

use std::{fmt, ptr, sync::Arc, time::Duration};

use super::{BatchOutcome, Message, PublishError, Receipt, Record};

/// Sees the records of all producers and consumers of a cluster ([`ClusterConfig::interceptor`]). It is called on their way, and
/// must not block.
///
/// [`ClusterConfig::interceptor`]: crate::ClusterConfig::interceptor
pub trait Interceptor: fmt::Debug + Send + Sync + 'static {
    /// A message is about to join the producer's queue; it may get further headers. Returns the hook for its
    /// acknowledgement, if there is one.
    fn on_send(&self, topic: &Arc<str>, message: &mut Message) -> Option<OnAcknowledgement>;

    /// A handler was given records. Records that are handled again come again.
    fn on_processed(&self, batch: ProcessedBatch<'_>);
}

/// An interceptor is equal to itself alone.
impl PartialEq for dyn Interceptor {
    fn eq(&self, other: &Self) -> bool {
        ptr::addr_eq(self, other)
    }
}

impl Eq for dyn Interceptor {}

/// A hook for a message's acknowledgement, or for its failure. It is dropped without a call if nobody waits any longer.
pub type OnAcknowledgement = Box<dyn FnOnce(&Result<Receipt, PublishError>) + Send>;

/// Records of one partition that a handler was given.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct ProcessedBatch<'a> {
    /// The topic.
    pub topic: &'a Arc<str>,
    /// The consumer group.
    pub group: &'a Arc<str>,
    /// The records, in order.
    pub records: &'a [Record],
    /// Their outcome.
    pub outcome: &'a BatchOutcome,
    /// The handler's time for all of them.
    pub took: Duration,
}

/// The interceptor of one consumer's batches.
#[derive(Debug, Clone)]
pub(super) struct BatchInterceptor {
    pub(super) interceptor: Arc<dyn Interceptor>,
    pub(super) topic: Arc<str>,
    pub(super) group: Arc<str>,
}

impl BatchInterceptor {
    pub(super) fn processed(&self, records: &[Record], outcome: &BatchOutcome, took: Duration) {
        let Self { interceptor, topic, group } = self;
        interceptor.on_processed(ProcessedBatch { topic, group, records, outcome, took });
    }
}
