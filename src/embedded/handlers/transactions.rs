//! Producers that count, and their transactions: InitProducerId, AddPartitionsToTxn, EndTxn (KIP-98).

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::{
    ResponseError,
    messages::{
        AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, EndTxnRequest, EndTxnResponse,
        InitProducerIdRequest, InitProducerIdResponse, ProducerId,
        add_partitions_to_txn_response::{AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult},
    },
};

use super::{Answered, Context};

impl Answered for InitProducerIdRequest {
    async fn answer(self, context: &Context<'_>) -> Option<InitProducerIdResponse> {
        let transactional_id = self.transactional_id.as_ref().map(|id| id.as_str());
        let (id, epoch) = context.shared.change(|state| state.producers.init(transactional_id));
        Some(InitProducerIdResponse::default().with_producer_id(ProducerId(id)).with_producer_epoch(epoch))
    }

    fn refuse(&self, error: i16) -> InitProducerIdResponse {
        InitProducerIdResponse::default().with_error_code(error).with_producer_id(ProducerId(-1))
    }
}

impl Answered for AddPartitionsToTxnRequest {
    async fn answer(self, context: &Context<'_>) -> Option<AddPartitionsToTxnResponse> {
        let added = context.shared.change(|state| {
            let id = &self.v3_and_below_transactional_id;
            let (producer, epoch) = (self.v3_and_below_producer_id.0, self.v3_and_below_producer_epoch);
            let transaction = state
                .producers
                .current(id.as_str(), producer, epoch)
                .ok_or(ResponseError::InvalidProducerEpoch)?;
            for topic in &self.v3_and_below_topics {
                let partitions = topic.partitions.iter();
                transaction
                    .partitions
                    .extend(partitions.map(|partition| (topic.name.as_str().to_owned(), *partition)));
            }
            Ok::<_, ResponseError>(())
        });
        Some(self.refuse(added.err().map_or(0, |error| error.code())))
    }

    fn refuse(&self, error: i16) -> AddPartitionsToTxnResponse {
        let results = self.v3_and_below_topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                AddPartitionsToTxnPartitionResult::default()
                    .with_partition_index(*partition)
                    .with_partition_error_code(error)
            });
            AddPartitionsToTxnTopicResult::default()
                .with_name(topic.name.clone())
                .with_results_by_partition(partitions.collect())
        });
        AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results.collect())
    }
}

impl Answered for EndTxnRequest {
    async fn answer(self, context: &Context<'_>) -> Option<EndTxnResponse> {
        let ended = context.shared.change(|state| {
            let transaction = state
                .producers
                .current(self.transactional_id.as_str(), self.producer_id.0, self.producer_epoch)
                .ok_or(ResponseError::InvalidProducerEpoch)?;
            let partitions = std::mem::take(&mut transaction.partitions);
            for (topic, partition) in partitions {
                if let Some(log) = state.log_mut(&topic, partition) {
                    let marker = marker(self.producer_id.0, self.producer_epoch, self.committed);
                    log.end_transaction(self.producer_id.0, self.committed, marker);
                }
            }
            Ok::<_, ResponseError>(())
        });
        Some(self.refuse(ended.err().map_or(0, |error| error.code())))
    }

    fn refuse(&self, error: i16) -> EndTxnResponse {
        EndTxnResponse::default().with_error_code(error)
    }
}

/// A control batch with one marker (`EndTransactionMarker` in Java): key version 0 and type, value version
/// 0 and the coordinator's epoch.
fn marker(producer_id: i64, producer_epoch: i16, committed: bool) -> Bytes {
    let mut record = BytesMut::new();
    record.put_slice(&[0, 0, 0]); // attributes, timestamp delta, offset delta
    record.put_slice(&[8, 0, 0, 0, u8::from(committed)]); // zigzag 4, key
    record.put_slice(&[12, 0, 0, 0, 0, 0, 0]); // zigzag 6, value
    record.put_u8(0); // no headers
    let mut content = BytesMut::new();
    content.put_i16(0x30); // transactional and control
    content.put_i32(0); // last offset delta
    content.put_i64(0); // base timestamp
    content.put_i64(0); // max timestamp
    content.put_i64(producer_id);
    content.put_i16(producer_epoch);
    content.put_i32(-1); // no sequence
    content.put_i32(1); // one record
    content.put_u8((record.len() * 2) as u8); // zigzag
    content.put_slice(&record);
    let mut batch = BytesMut::new();
    batch.put_i64(0);
    batch.put_i32((content.len() + 9) as i32);
    batch.put_i32(0);
    batch.put_u8(2);
    batch.put_u32(crc32c::crc32c(&content));
    batch.put_slice(&content);
    batch.freeze()
}
