//! Idempotent producers and transactions: InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, EndTxn
//! (KIP-98).

use std::time::Duration;

use kafka_protocol::{
    ResponseError,
    messages::{
        AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest,
        AddPartitionsToTxnResponse, EndTxnRequest, EndTxnResponse, InitProducerIdRequest,
        InitProducerIdResponse, ProducerId,
        add_partitions_to_txn_response::{AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult},
    },
};

use super::{Answered, Context, code, text};
use crate::{state::State, transactions::Identity};

/// `transaction.max.timeout.ms`.
const LONGEST_TRANSACTION: Duration = Duration::from_secs(15 * 60);
/// The first version of AddPartitionsToTxn, AddOffsetsToTxn and EndTxn whose clients know PRODUCER_FENCED.
const KNOWS_FENCED: i16 = 2;

/// The error, as clients of that version know it.
fn known_code(result: Result<(), ResponseError>, version: i16) -> i16 {
    match result {
        Err(ResponseError::ProducerFenced) if version < KNOWS_FENCED => {
            ResponseError::InvalidProducerEpoch.code()
        }
        result => code(result),
    }
}

impl Answered for InitProducerIdRequest {
    async fn answer(self, context: &Context<'_>) -> InitProducerIdResponse {
        let given = context.shared.change(|state| init(&self, state));
        match given {
            Ok(given) => InitProducerIdResponse::default()
                .with_producer_id(ProducerId(given.producer_id))
                .with_producer_epoch(given.epoch),
            Err(error) => self.refuse(error.code()),
        }
    }

    fn refuse(&self, error: i16) -> InitProducerIdResponse {
        InitProducerIdResponse::default()
            .with_error_code(error)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1)
    }
}

fn init(request: &InitProducerIdRequest, state: &mut State) -> Result<Identity, ResponseError> {
    let Some(name) = &request.transactional_id else { return Ok(state.transactions.identify()) };
    let timeout = u64::try_from(request.transaction_timeout_ms).ok().map(Duration::from_millis);
    let legal = timeout.filter(|timeout| !timeout.is_zero() && *timeout <= LONGEST_TRANSACTION);
    let timeout = legal.ok_or(ResponseError::InvalidTransactionTimeout)?;
    if name.is_empty() {
        return Err(ResponseError::InvalidRequest);
    }
    let claimed = Identity { producer_id: request.producer_id.0, epoch: request.producer_epoch };
    let claimed = Some(claimed).filter(|claimed| claimed.producer_id >= 0);
    let (identity, ending) = state.transactions.incarnate(name, timeout, claimed)?;
    if let Some(ending) = ending {
        state.end_transaction(&ending);
    }
    Ok(identity)
}

impl Answered for AddPartitionsToTxnRequest {
    async fn answer(self, context: &Context<'_>) -> AddPartitionsToTxnResponse {
        let producer = Identity {
            producer_id: self.v3_and_below_producer_id.0,
            epoch: self.v3_and_below_producer_epoch,
        };
        let added = context.shared.change(|state| {
            let topics = self.v3_and_below_topics.iter();
            let partitions: Vec<(String, i32)> = topics
                .flat_map(|topic| topic.partitions.iter().map(|partition| (text(&topic.name), *partition)))
                .collect();
            if partitions.iter().any(|(topic, partition)| state.partition(topic, *partition).is_none()) {
                return Err(ResponseError::UnknownTopicOrPartition);
            }
            let name = &self.v3_and_below_transactional_id;
            state.transactions.add_partitions(name, producer, partitions)
        });
        self.refuse(known_code(added, context.version))
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

impl Answered for AddOffsetsToTxnRequest {
    async fn answer(self, context: &Context<'_>) -> AddOffsetsToTxnResponse {
        let producer = Identity { producer_id: self.producer_id.0, epoch: self.producer_epoch };
        let added = context
            .shared
            .change(|state| state.transactions.add_group(&self.transactional_id, producer, &self.group_id));
        self.refuse(known_code(added, context.version))
    }

    fn refuse(&self, error: i16) -> AddOffsetsToTxnResponse {
        AddOffsetsToTxnResponse::default().with_error_code(error)
    }
}

impl Answered for EndTxnRequest {
    async fn answer(self, context: &Context<'_>) -> EndTxnResponse {
        let producer = Identity { producer_id: self.producer_id.0, epoch: self.producer_epoch };
        let ended = context.shared.change(|state| {
            let ending = state.transactions.end(&self.transactional_id, producer, self.committed)?;
            if let Some(ending) = ending {
                state.end_transaction(&ending);
            }
            Ok(())
        });
        self.refuse(known_code(ended, context.version))
    }

    fn refuse(&self, error: i16) -> EndTxnResponse {
        EndTxnResponse::default().with_error_code(error)
    }
}
