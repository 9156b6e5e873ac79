//! Reads all partitions of a topic from their beginning, without a group, into the replica.

use std::{
    fmt::Display,
    ops::ControlFlow,
    sync::{Arc, PoisonError},
};

use highwater_kafka::{
    Backoff, Cluster, Envelope, FetchPosition, Payload, ReadError, Reader, Record, StatusRegistry, TypedTopic,
};
use log::{error, info, warn};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{EventOutcome, InvalidTopic, Projection, Shared, Versioned, requirements};

/// The log target of the line for each event that is read after the start.
const TARGET: &str = "highwater::applied";
/// The number of records that are applied under one lock; readers get a turn in between.
const CHUNK: usize = 512;
/// The most bytes of one fetch of one partition.
const FETCH_MAX_BYTES: i32 = 1 << 20;

/// The follower of a topic.
pub(super) struct Follower<P: Projection> {
    shared: Arc<Shared<P>>,
    cluster: Arc<Cluster>,
    registry: Arc<StatusRegistry>,
    topic: TypedTopic<P::Event>,
    stop: CancellationToken,
}

impl<P: Projection> Clone for Follower<P> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            cluster: Arc::clone(&self.cluster),
            registry: Arc::clone(&self.registry),
            topic: self.topic.clone(),
            stop: self.stop.clone(),
        }
    }
}

impl<P: Projection> Follower<P> {
    pub(super) fn new(topic: &TypedTopic<P::Event>, shared: Arc<Shared<P>>, stop: CancellationToken) -> Self {
        let kafka = topic.kafka();
        let (cluster, registry) = (Arc::clone(kafka.cluster()), Arc::clone(kafka.registry()));
        Self { shared, cluster, registry, topic: topic.clone(), stop }
    }

    /// Follows all partitions until it is stopped, or the topic is invalid.
    pub(super) async fn follow_all(self, invalid: watch::Sender<Option<InvalidTopic>>) {
        let stop = self.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            ended = self.followed() => {
                let ControlFlow::Break(found) = ended else { return };
                invalid.send_replace(Some(found));
            }
        }
    }

    async fn followed(self) -> ControlFlow<InvalidTopic> {
        self.check_topic().await?;
        let mut partitions = JoinSet::new();
        for partition in 0..self.topic.config().partitions {
            let follower = self.clone();
            partitions.spawn(async move {
                let part = format!("following {}/{partition}", follower.topic.name());
                let followed = follower.follow(partition, &part).await;
                follower.registry.withdraw(&part);
                followed
            });
        }
        match partitions.join_next().await {
            Some(Ok(found)) => ControlFlow::Break(found),
            // A table without a partition is wrong: the process has to start again.
            Some(Err(panic)) => ControlFlow::Break(self.invalid(format!("following it broke down: {panic}"))),
            None => ControlFlow::Continue(()),
        }
    }

    /// Waits until the topic is known, and checks that it can keep state.
    async fn check_topic(&self) -> ControlFlow<InvalidTopic> {
        let name = self.topic.name();
        let part = format!("checking topic {name}");
        let partitions = self.topic.config().partitions as usize;
        self.topic.follow().known_partitions().await;
        let mut backoff = Backoff::new();
        loop {
            match requirements::check(&self.cluster, name, partitions).await {
                Ok(checked) => {
                    self.registry.withdraw(&part);
                    return match checked {
                        Ok(()) => ControlFlow::Continue(()),
                        Err(invalid) => ControlFlow::Break(invalid),
                    };
                }
                Err(error) => {
                    self.registry.failed(&part, &error);
                    backoff.wait().await;
                }
            }
        }
    }

    /// Reads one partition for ever. Returns if the beginning of its log is gone, or if it has a record that this instance
    /// cannot apply.
    async fn follow(&self, partition: i32, part: &str) -> InvalidTopic {
        let topic = Arc::clone(self.topic.name());
        let mut reader =
            Reader::new(Arc::clone(&self.cluster), Arc::clone(&topic), partition, FETCH_MAX_BYTES);
        let mut backoff = Backoff::new();
        let mut position = FetchPosition::from(0);
        loop {
            match reader.read(position).await {
                Ok(fetched) => {
                    backoff = Backoff::new();
                    self.registry.succeeded(part);
                    for chunk in fetched.records.chunks(CHUNK) {
                        if let Err(reason) = self.apply(chunk) {
                            return self.invalid(reason);
                        }
                        tokio::task::yield_now().await;
                    }
                    position = fetched.next_position(position);
                    let was_complete = self.shared.progress.is_complete();
                    self.shared.progress.moved(partition, &fetched);
                    if !was_complete && self.shared.progress.is_complete() {
                        info!("topic {topic} is read to its end: the table is complete");
                    }
                }
                Err(ReadError::OutOfRange) => {
                    let reason = format!(
                        "partition {partition} has nothing at offset {}: records were deleted",
                        position.offset
                    );
                    return self.invalid(reason);
                }
                Err(error @ ReadError::Truncated(_)) => {
                    return self
                        .invalid(format!("partition {partition}: {error}: what was applied of it is gone"));
                }
                Err(error @ ReadError::TopicRecreated) => {
                    return self.invalid(format!("{error}: what was in it is gone"));
                }
                Err(error @ ReadError::Undecodable(_)) => {
                    let reason = format!("cannot go on at offset {}: {error}", position.offset);
                    error!("following {topic}/{partition} is stalled: {reason}");
                    self.failed(partition, part, &reason);
                    backoff.wait().await;
                }
                Err(error) => {
                    self.failed(partition, part, &error);
                    backoff.wait().await;
                }
            }
        }
    }

    fn failed(&self, partition: i32, part: &str, error: &dyn Display) {
        self.shared.progress.failed(partition, error);
        self.registry.failed(part, error);
    }

    fn invalid(&self, reason: String) -> InvalidTopic {
        InvalidTopic { topic: self.topic.name().to_string(), reason }
    }

    /// Applies records. Every instance skips a record that is no event.
    ///
    /// # Errors
    ///
    /// The reason why this instance would differ from the others: a record with an envelope counts for all of them, and
    /// cannot be applied here.
    fn apply(&self, records: &[Record]) -> Result<(), String> {
        let live = self.shared.progress.is_complete();
        let mut replica = self.shared.replica.write().unwrap_or_else(PoisonError::into_inner);
        for record in records {
            let envelope = Envelope::read(record);
            if let Some(envelope) = envelope.as_ref().filter(|envelope| is_newer::<P::Event>(envelope)) {
                return Err(newer(record, envelope));
            }
            let event = match P::Event::read(record) {
                Ok(event) => event,
                Err(malformed) => {
                    let (topic, partition, offset) = (self.topic.name(), record.partition, record.offset);
                    warn!(topic = topic.as_ref(), partition, offset; "no event of this topic, passed over: {malformed}");
                    continue;
                }
            };
            let home = replica.partition_of(&event);
            if envelope.is_some() && home != record.partition {
                return Err(misplaced(record, home, self.topic.config().partitions));
            }
            let outcome = replica.apply(record.partition, event);
            if let Some(envelope) = envelope {
                if live {
                    self.log(record, &envelope, outcome);
                }
                self.shared.pending.resolve(envelope.id, outcome);
            }
        }
        Ok(())
    }

    fn log(&self, record: &Record, envelope: &Envelope, outcome: EventOutcome) {
        let correlation = envelope.correlation_id.as_deref().unwrap_or_default();
        let outcome = match outcome {
            EventOutcome::Applied => "applied",
            EventOutcome::Rejected => "rejected",
        };
        info!(
            target: TARGET,
            topic = self.topic.name().as_ref(), eventId:% = envelope.id, eventType = envelope.event_type.as_str(),
            correlationId = correlation, partition = record.partition, offset = record.offset;
            "{outcome}"
        );
    }
}

fn is_newer<E: Versioned>(envelope: &Envelope) -> bool {
    !E::TYPES.contains(&envelope.event_type.as_str()) || envelope.schema_version > E::SCHEMA_VERSION
}

/// A newer program knows how to apply the event; the state without it would be wrong.
fn newer(record: &Record, envelope: &Envelope) -> String {
    let Record { partition, offset, .. } = record;
    let Envelope { event_type, schema_version, .. } = envelope;
    format!(
        "partition {partition} has at offset {offset} a {event_type} of schema version {schema_version}, which this \
         program does not know: a newer one wrote it. Upgrade this instance"
    )
}

/// Another instance counted other partitions: an event that it saw applied would be rejected here.
fn misplaced(record: &Record, home: i32, partitions: i32) -> String {
    let (partition, offset) = (record.partition, record.offset);
    format!(
        "partition {partition} has at offset {offset} an event whose key belongs in partition {home} of {partitions}: \
         it was written with another number of partitions. Set it to what the topic began with, in all instances"
    )
}
