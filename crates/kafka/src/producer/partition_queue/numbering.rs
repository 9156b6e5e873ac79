//! The producer id of a queue's batches and their numbers, and the remedies when a broker refuses them.

use kafka_protocol::ResponseError;
use tokio::time::Instant;

use super::{
    super::{
        batch::ProducerBatch,
        failure::{self, Failure, Remedy, ends_producer_id},
    },
    PartitionQueue, Wait, within,
};
use crate::wire::WireError;

impl PartitionQueue {
    /// Gets a producer id if one is needed; false if no caller of the batch waits any more.
    pub(super) async fn identify(&mut self, batch: &mut ProducerBatch) -> Result<bool, WireError> {
        let Some(ids) = self.ids.clone().filter(|_| self.sequences.need_id()) else { return Ok(true) };
        let Some(timeout_left) = self.timeout_left(batch) else { return Ok(false) };
        self.called = Instant::now();
        let asking = within("InitProducerId", timeout_left, ids.id_after(self.sequences.spent()));
        let id = self.while_expiring(batch, Wait::Attempt, asking).await?;
        self.sequences.begin(id);
        Ok(true)
    }

    /// The next step after that failure. A batch that is to get other numbers, or none, loses those that it has.
    pub(super) async fn remedy(&mut self, failure: &Failure, batch: &mut ProducerBatch) -> Remedy {
        let remedy = failure::remedy(failure, batch);
        match &remedy {
            Remedy::Renumber if ends_producer_id(&failure.error) => self.sequences.leave_id(),
            Remedy::GoWithout => {
                self.sequences.leave_id();
                if let Some(ids) = &self.ids {
                    ids.refused(&failure.error).await;
                }
            }
            Remedy::Renumber => {}
            _ => return remedy,
        }
        // Under other numbers it could be written twice.
        if batch.is_possibly_written() {
            return Remedy::RefuseBatch;
        }
        batch.sequence = None;
        remedy
    }
}

/// Whether the broker has that batch already, at an offset that it no longer knows. That is possible only if the batch was
/// sent before.
pub(super) fn has_it_already(error: &WireError, batch: &ProducerBatch) -> bool {
    error.code() == Some(ResponseError::DuplicateSequenceNumber) && batch.is_possibly_written()
}
