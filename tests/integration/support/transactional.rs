//! A transactional producer (KIP-98), which rskafka is not.

use std::collections::{BTreeMap, BTreeSet};

use highwater_kafka::wire::Connection;
use kafka_protocol::{
    ResponseError,
    messages::{
        AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest, ProducerId,
        TransactionalId, TxnOffsetCommitRequest,
        add_partitions_to_txn_request::AddPartitionsToTxnTopic,
        txn_offset_commit_request::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic},
    },
};

use super::{
    TestCluster,
    batches::Batch,
    eventually,
    requests::{GROUP, TRANSACTION, text},
};

/// A producer whose records count once it commits.
pub(crate) struct TransactionalProducer<'a> {
    cluster: &'a TestCluster,
    coordinator: Connection,
    id: String,
    producer_id: i64,
    epoch: i16,
    /// The next sequence number of each partition.
    sequences: BTreeMap<i32, i32>,
    /// The partitions of the open transaction.
    open: BTreeSet<i32>,
}

impl<'a> TransactionalProducer<'a> {
    pub(crate) async fn start(cluster: &'a TestCluster, name: &str) -> Self {
        let id = format!("{}-{name}", cluster.topic);
        let mut coordinator = cluster.coordinator(&id, TRANSACTION).await;
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(TransactionalId(text(&id))))
            .with_transaction_timeout_ms(60_000)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1);
        let (producer_id, epoch) = loop {
            let answer = coordinator.call(&request, 0..=3).await.unwrap();
            match passing(answer.error_code) {
                true => coordinator = cluster.coordinator(&id, TRANSACTION).await,
                false => break (answer.producer_id.0, answer.producer_epoch),
            }
        };
        Self {
            cluster,
            coordinator,
            id,
            producer_id,
            epoch,
            sequences: BTreeMap::new(),
            open: BTreeSet::new(),
        }
    }

    /// Sends one batch to a partition, within the transaction; the first one begins it.
    pub(crate) async fn send<V: AsRef<str>>(&mut self, partition: i32, values: &[V]) -> i64 {
        self.send_batch(partition, Batch::of(values), values.len()).await
    }

    pub(crate) async fn send_batch(&mut self, partition: i32, batch: Batch, records: usize) -> i64 {
        self.add(partition).await;
        let sequence = self.sequences.entry(partition).or_default();
        let batch = batch.by_producer(self.producer_id, self.epoch, *sequence, true).encode();
        *sequence += records as i32;
        let request = self.cluster.produce_request(partition, batch, Some(&self.id));
        let answer = self.cluster.leader(partition).await.call(&request, 3..=7).await.unwrap();
        let result = &answer.responses[0].partition_responses[0];
        assert_eq!(ResponseError::try_from_code(result.error_code), None);
        result.base_offset
    }

    pub(crate) async fn commit(&mut self) {
        self.end(true).await;
    }

    pub(crate) async fn abort(&mut self) {
        self.end(false).await;
    }

    /// Commits an offset of the group within the transaction: it counts when that does.
    pub(crate) async fn commit_offset(&mut self, partition: i32, offset: i64) {
        let request = AddOffsetsToTxnRequest::default()
            .with_transactional_id(TransactionalId(text(&self.id)))
            .with_producer_id(ProducerId(self.producer_id))
            .with_producer_epoch(self.epoch)
            .with_group_id(self.cluster.group_id());
        while passing(self.coordinator.call(&request, 0..=3).await.unwrap().error_code) {}
        let partition = TxnOffsetCommitRequestPartition::default()
            .with_partition_index(partition)
            .with_committed_offset(offset);
        let topic = TxnOffsetCommitRequestTopic::default()
            .with_name(self.cluster.topic_name())
            .with_partitions(vec![partition]);
        let request = TxnOffsetCommitRequest::default()
            .with_transactional_id(TransactionalId(text(&self.id)))
            .with_group_id(self.cluster.group_id())
            .with_producer_id(ProducerId(self.producer_id))
            .with_producer_epoch(self.epoch)
            .with_topics(vec![topic]);
        eventually("the group's coordinator takes it", async || {
            let mut coordinator = self.cluster.coordinator(&self.cluster.group, GROUP).await;
            let answer = coordinator.call(&request, 0..=3).await.unwrap();
            (!passing(answer.topics[0].partitions[0].error_code)).then_some(())
        })
        .await;
    }

    async fn add(&mut self, partition: i32) {
        let topic = AddPartitionsToTxnTopic::default()
            .with_name(self.cluster.topic_name())
            .with_partitions(vec![partition]);
        let request = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(TransactionalId(text(&self.id)))
            .with_v3_and_below_producer_id(ProducerId(self.producer_id))
            .with_v3_and_below_producer_epoch(self.epoch)
            .with_v3_and_below_topics(vec![topic]);
        loop {
            let answer = self.coordinator.call(&request, 0..=3).await.unwrap();
            let results = &answer.results_by_topic_v3_and_below[0].results_by_partition;
            // The transaction before may still be writing its markers.
            if !passing(results[0].partition_error_code) {
                self.open.insert(partition);
                return;
            }
        }
    }

    async fn end(&mut self, committed: bool) {
        let request = EndTxnRequest::default()
            .with_transactional_id(TransactionalId(text(&self.id)))
            .with_producer_id(ProducerId(self.producer_id))
            .with_producer_epoch(self.epoch)
            .with_committed(committed);
        let before = self.ends().await;
        while passing(self.coordinator.call(&request, 0..=3).await.unwrap().error_code) {}
        // The answer comes before the markers are written.
        eventually("the markers are written", async || {
            let ends = self.ends().await;
            before.iter().all(|(partition, end)| ends[partition] > *end).then_some(())
        })
        .await;
        self.open.clear();
    }

    async fn ends(&self) -> BTreeMap<i32, i64> {
        let mut ends = BTreeMap::new();
        for partition in &self.open {
            ends.insert(*partition, self.cluster.end_of(*partition).await);
        }
        ends
    }
}

/// Whether that error passes by itself; any other fails the test.
fn passing(code: i16) -> bool {
    match ResponseError::try_from_code(code) {
        None => false,
        Some(
            ResponseError::ConcurrentTransactions
            | ResponseError::CoordinatorNotAvailable
            | ResponseError::CoordinatorLoadInProgress
            | ResponseError::NotCoordinator
            | ResponseError::UnknownTopicOrPartition,
        ) => true,
        Some(error) => panic!("{error}"),
    }
}
