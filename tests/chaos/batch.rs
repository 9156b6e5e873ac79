//! A record batch, as another producer writes it.

use anyhow::Result;
use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    indexmap::IndexMap,
    messages::{
        ProduceRequest, TransactionalId,
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType},
};

use crate::{
    admin::{Admin, check, text, topic_name},
    history::now,
};

/// The producer (KIP-98).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Author {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
    pub(crate) sequence: i32,
}

/// Keys and values on their way to one partition.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) records: &'a [(String, Option<String>)],
    /// The transaction that it is part of.
    pub(crate) transaction: Option<(&'a str, Author)>,
}

impl Batch<'_> {
    /// Writes it with acks=all; the offset of its first record.
    pub(crate) async fn write(&self, admin: &Admin) -> Result<i64> {
        let data =
            PartitionProduceData::default().with_index(self.partition).with_records(Some(self.encode()?));
        let topic =
            TopicProduceData::default().with_name(topic_name(self.topic)).with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_transactional_id(self.transaction.map(|(id, _)| TransactionalId(text(id))))
            .with_acks(-1)
            .with_timeout_ms(5_000)
            .with_topic_data(vec![topic]);
        let answer = admin.leader(self.topic, self.partition).await?.call(&request, 3..=7).await?;
        let results = answer.responses.first().and_then(|topic| topic.partition_responses.first());
        let result = results.ok_or_else(|| anyhow::anyhow!("Produce: an empty answer"))?;
        check("Produce", result.error_code)?;
        Ok(result.base_offset)
    }

    fn encode(&self) -> Result<Bytes> {
        let author = self.transaction.map(|(_, author)| author);
        let author = author.unwrap_or(Author { id: -1, epoch: -1, sequence: -1 });
        let records: Vec<_> = (0_i32..)
            .zip(self.records)
            .map(|(index, (key, value))| Record {
                transactional: self.transaction.is_some(),
                control: false,
                delete_horizon: false,
                partition_leader_epoch: -1,
                producer_id: author.id,
                producer_epoch: author.epoch,
                timestamp_type: TimestampType::Creation,
                offset: i64::from(index),
                sequence: author.sequence + index,
                timestamp: now(),
                key: Some(key.clone().into()),
                value: value.clone().map(Into::into),
                headers: IndexMap::new(),
            })
            .collect();
        let mut bytes = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression: Compression::None };
        RecordBatchEncoder::encode(&mut bytes, &records, &options)?;
        Ok(bytes.freeze())
    }
}
