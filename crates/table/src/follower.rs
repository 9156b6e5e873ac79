//! Reads all of a topic's partitions from their beginning, without a group, into the replica.

use std::{
    fmt::Display,
    ops::ControlFlow,
    sync::{Arc, PoisonError},
};

use highwater_kafka::{
    Backoff, Cluster, Envelope, Payload, ReadError, Reader, Record, StatusRegistry, TypedTopic,
};
use log::{error, info, warn};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{Fate, Fold, Shared, Unfit, Versioned, requirements};

/// The target of the line that each event gets that is taken in after the start.
const TARGET: &str = "highwater::applied";
/// How many records are taken in between two chances for others to look at the view.
const AT_ONCE: usize = 512;
/// The most bytes of one fetch of one partition.
const FETCH_MAX_BYTES: i32 = 1 << 20;

/// Follows a topic.
pub(super) struct Follower<F: Fold> {
    shared: Arc<Shared<F>>,
    cluster: Arc<Cluster>,
    registry: Arc<StatusRegistry>,
    topic: TypedTopic<F::Event>,
    stop: CancellationToken,
}

impl<F: Fold> Clone for Follower<F> {
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

impl<F: Fold> Follower<F> {
    pub(super) fn new(topic: &TypedTopic<F::Event>, shared: Arc<Shared<F>>, stop: CancellationToken) -> Self {
        let kafka = topic.kafka();
        let (cluster, registry) = (Arc::clone(kafka.cluster()), Arc::clone(kafka.registry()));
        Self { shared, cluster, registry, topic: topic.clone(), stop }
    }

    /// Follows all partitions until it is told to stop, or the topic is unfit.
    pub(super) async fn follow_all(self, unfit: watch::Sender<Option<Unfit>>) {
        let stop = self.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            ended = self.followed() => {
                let ControlFlow::Break(found) = ended else { return };
                unfit.send_replace(Some(found));
            }
        }
    }

    async fn followed(self) -> ControlFlow<Unfit> {
        self.fit().await?;
        let mut partitions = JoinSet::new();
        for partition in 0..self.topic.config().partitions {
            let follower = self.clone();
            partitions.spawn(async move {
                let part = format!("following {}/{partition}", follower.topic.handle().name());
                let followed = follower.follow(partition, &part).await;
                follower.registry.withdraw(&part);
                followed
            });
        }
        match partitions.join_next().await {
            Some(Ok(found)) => ControlFlow::Break(found),
            // A view that lacks a partition is none: the process has to begin anew.
            Some(Err(panic)) => ControlFlow::Break(self.unfit(format!("following it broke down: {panic}"))),
            None => ControlFlow::Continue(()),
        }
    }

    /// Waits until the topic is known, and looks whether it is fit.
    async fn fit(&self) -> ControlFlow<Unfit> {
        let name = self.topic.handle().name();
        let part = format!("checking topic {name}");
        let partitions = self.topic.config().partitions as usize;
        self.topic.handle().clone().known_partitions().await;
        let mut backoff = Backoff::new();
        loop {
            match requirements::check(&self.cluster, name, partitions).await {
                Ok(checked) => {
                    self.registry.withdraw(&part);
                    return match checked {
                        Ok(()) => ControlFlow::Continue(()),
                        Err(unfit) => ControlFlow::Break(unfit),
                    };
                }
                Err(error) => {
                    self.registry.failed(&part, &error);
                    backoff.wait().await;
                }
            }
        }
    }

    /// Reads one partition for ever; returns where its beginning is gone, or where it has what cannot be part of
    /// this view.
    async fn follow(&self, partition: i32, part: &str) -> Unfit {
        let topic = Arc::clone(self.topic.handle().name());
        let mut reader =
            Reader::new(Arc::clone(&self.cluster), Arc::clone(&topic), partition, FETCH_MAX_BYTES);
        let mut backoff = Backoff::new();
        let mut position = 0;
        loop {
            match reader.read(position).await {
                Ok(fetched) => {
                    backoff = Backoff::new();
                    self.registry.succeeded(part);
                    for some in fetched.records.chunks(AT_ONCE) {
                        if let Err(reason) = self.take_in(some) {
                            return self.unfit(reason);
                        }
                        tokio::task::yield_now().await;
                    }
                    position = fetched.next;
                    let was_complete = self.shared.places.is_complete();
                    self.shared.places.moved(partition, &fetched);
                    if !was_complete && self.shared.places.is_complete() {
                        info!("topic {topic} is read to its end: the view is complete");
                    }
                }
                Err(ReadError::OutOfRange) => {
                    let reason = format!(
                        "partition {partition} has nothing at offset {position}: records were deleted"
                    );
                    return self.unfit(reason);
                }
                Err(error @ ReadError::TopicRecreated) => {
                    return self.unfit(format!("{error}: what was in it is gone"));
                }
                Err(error @ ReadError::Undecodable(_)) => {
                    let reason = format!("cannot go on at offset {position}: {error}");
                    error!("following {topic}/{partition} stands still: {reason}");
                    self.trouble(partition, part, &reason);
                    backoff.wait().await;
                }
                Err(error @ ReadError::Transient(_)) => {
                    self.trouble(partition, part, &error);
                    backoff.wait().await;
                }
            }
        }
    }

    fn trouble(&self, partition: i32, part: &str, error: &dyn Display) {
        self.shared.places.stands_still(partition, error);
        self.registry.failed(part, error);
    }

    fn unfit(&self, reason: String) -> Unfit {
        Unfit { topic: self.topic.handle().name().to_string(), reason }
    }

    /// Takes records into the view. What is no event is nothing, in every instance alike.
    ///
    /// # Errors
    ///
    /// Why the view would not be that of every instance: what is written by the contract (it has an envelope) is to
    /// count for all, and cannot count here.
    fn take_in(&self, records: &[Record]) -> Result<(), String> {
        let live = self.shared.places.is_complete();
        let mut replica = self.shared.replica.write().unwrap_or_else(PoisonError::into_inner);
        for record in records {
            let envelope = Envelope::read(record);
            if let Some(envelope) = envelope.as_ref().filter(|envelope| is_newer::<F::Event>(envelope)) {
                return Err(newer(record, envelope));
            }
            let event = match F::Event::read(record) {
                Ok(event) => event,
                Err(malformed) => {
                    let (topic, partition, offset) =
                        (self.topic.handle().name(), record.partition, record.offset);
                    warn!(topic = topic.as_ref(), partition, offset; "no event of this topic, passed over: {malformed}");
                    continue;
                }
            };
            let home = replica.home(&event);
            if envelope.is_some() && home != record.partition {
                return Err(misplaced(record, home, self.topic.config().partitions));
            }
            let fate = replica.admit(record.partition, event);
            if let Some(envelope) = envelope {
                if live {
                    self.tell(record, &envelope, fate);
                }
                self.shared.awaited.tell(envelope.id, fate);
            }
        }
        Ok(())
    }

    fn tell(&self, record: &Record, envelope: &Envelope, fate: Fate) {
        let correlation = envelope.correlation_id.as_deref().unwrap_or_default();
        let said = match fate {
            Fate::Valid => "applied",
            Fate::Void => "void",
        };
        info!(
            target: TARGET,
            topic = self.topic.handle().name().as_ref(), eventId:% = envelope.id, eventType = envelope.event_type.as_str(),
            correlationId = correlation, partition = record.partition, offset = record.offset;
            "{said}"
        );
    }
}

fn is_newer<E: Versioned>(envelope: &Envelope) -> bool {
    !E::TYPES.contains(&envelope.event_type.as_str()) || envelope.schema_version > E::SCHEMA_VERSION
}

/// What a newer program makes of it is not known here: a state without it would be another.
fn newer(record: &Record, envelope: &Envelope) -> String {
    let Record { partition, offset, .. } = record;
    let Envelope { event_type, schema_version, .. } = envelope;
    format!(
        "partition {partition} has at offset {offset} a {event_type} of schema version {schema_version}, which this \
         program does not know: a newer one wrote it. Upgrade this instance"
    )
}

/// An instance counted other partitions: what it was told had happened is nothing here.
fn misplaced(record: &Record, home: i32, partitions: i32) -> String {
    let (partition, offset) = (record.partition, record.offset);
    format!(
        "partition {partition} has at offset {offset} an event whose key belongs in partition {home} of {partitions}: \
         it was written with another number of partitions. Set it to what the topic began with, in all instances"
    )
}
