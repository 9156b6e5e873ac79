//! A connection that sends what a test wants, whole or broken.

use std::{
    io,
    sync::atomic::{AtomicI32, Ordering},
};

use bytes::{Buf, Bytes, BytesMut};
use highwater_kafka_broker::Broker;
use kafka_protocol::{
    indexmap::IndexMap,
    messages::{
        CreateTopicsRequest, ProduceRequest, RequestHeader, ResponseHeader, TopicName,
        create_topics_request::CreatableTopic,
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes},
    records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

static CORRELATION: AtomicI32 = AtomicI32::new(1);

pub(super) struct Raw {
    stream: TcpStream,
}

impl Raw {
    pub(super) async fn connect(broker: &Broker) -> Self {
        let stream = TcpStream::connect(broker.bootstrap()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    /// Sends a request, and fails without an answer.
    pub(super) async fn ask<R: Request>(&mut self, version: i16, request: R) -> R::Response {
        self.try_ask(version, request).await.unwrap()
    }

    pub(super) async fn try_ask<R: Request>(&mut self, version: i16, request: R) -> io::Result<R::Response> {
        let correlation = self.send(version, &request).await?;
        self.answer::<R>(version, correlation).await
    }

    /// Sends without waiting; returns the number that the answer will have.
    pub(super) async fn send<R: Request>(&mut self, version: i16, request: &R) -> io::Result<i32> {
        let correlation = CORRELATION.fetch_add(1, Ordering::Relaxed);
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(correlation)
            .with_client_id(Some(StrBytes::from_static_str("raw")));
        let mut frame = BytesMut::new();
        header.encode(&mut frame, R::header_version(version)).unwrap();
        request.encode(&mut frame, version).unwrap();
        self.write(&frame).await?;
        Ok(correlation)
    }

    pub(super) async fn answer<R: Request>(
        &mut self,
        version: i16,
        correlation: i32,
    ) -> io::Result<R::Response> {
        let mut frame = self.read().await?;
        let header = R::Response::header_version(version);
        let header = ResponseHeader::decode(&mut frame, header).unwrap();
        assert_eq!(header.correlation_id, correlation, "answers come in order");
        let answer = R::Response::decode(&mut frame, version).unwrap();
        assert!(!frame.has_remaining(), "nothing comes after an answer");
        Ok(answer)
    }

    /// A frame of any content.
    pub(super) async fn write(&mut self, frame: &[u8]) -> io::Result<()> {
        self.stream.write_i32(frame.len() as i32).await?;
        self.stream.write_all(frame).await
    }

    pub(super) async fn write_unframed(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    pub(super) async fn read(&mut self) -> io::Result<Bytes> {
        let length = self.stream.read_i32().await?;
        let mut frame = vec![0; length as usize];
        self.stream.read_exact(&mut frame).await?;
        Ok(Bytes::from(frame))
    }

    /// Waits until the broker closes, and fails when it says something before that.
    pub(super) async fn closed(mut self) {
        let mut rest = Vec::new();
        // A reset closes too: bytes that were sent and not read cause one.
        let _ = self.stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "an answer of {} bytes", rest.len());
    }
}

pub(super) fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

/// A topic of one partition.
pub(super) async fn create(raw: &mut Raw, topic: &str) {
    let wanted =
        CreatableTopic::default().with_name(name(topic)).with_num_partitions(1).with_replication_factor(1);
    let answer = raw.ask(5, CreateTopicsRequest::default().with_topics(vec![wanted])).await;
    assert_eq!(answer.topics[0].error_code, 0);
}

/// A request to append a batch to partition 0.
pub(super) fn producing(topic: &str, acks: i16, batch: Bytes) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(0).with_records(Some(batch));
    let data = TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(acks).with_timeout_ms(1_000).with_topic_data(vec![data])
}

/// Appends to partition 0 and returns the error and the offset.
pub(super) async fn produce(raw: &mut Raw, topic: &str, batch: Bytes) -> (i16, i64) {
    let answer = raw.ask(7, producing(topic, -1, batch)).await;
    let partition = &answer.responses[0].partition_responses[0];
    (partition.error_code, partition.base_offset)
}

/// One record, transactional where it has a producer.
pub(super) fn batch(value: &str, compression: Compression, producer: Option<(i64, i16, i32)>) -> Bytes {
    let (producer_id, producer_epoch, sequence) = producer.unwrap_or((-1, -1, -1));
    let record = Record {
        transactional: producer.is_some(),
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 0,
        producer_id,
        producer_epoch,
        timestamp_type: TimestampType::Creation,
        offset: 0,
        sequence,
        timestamp: 1_000,
        key: None,
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        headers: IndexMap::new(),
    };
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression };
    RecordBatchEncoder::encode(&mut bytes, [&record], &options).unwrap();
    bytes.freeze()
}

pub(super) fn plain(value: &str) -> Bytes {
    batch(value, Compression::None, None)
}
