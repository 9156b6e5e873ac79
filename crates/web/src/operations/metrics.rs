//! `GET /metrics`, in Prometheus' text format, or in OpenMetrics' for a client that asks for it.
//!
//! Each part counts in atomics. This module reads their metrics and writes them, once a scrape. docs/operating/health.md
//! lists all metrics.

use std::{collections::BTreeMap, sync::Arc};

use highwater_kafka::{GroupPhase, KafkaStatus, Producer, Status};
use highwater_table::TableStatus;
use prometheus::{
    IntCounterVec, IntGaugeVec, Opts, Registry, Result, TEXT_FORMAT, TextEncoder, proto::MetricFamily,
};
use warp::{
    Reply,
    http::{HeaderValue, header},
    reply::Response,
};

use super::{
    GroupMembership, Operations, health,
    open_metrics::{self, OPEN_METRICS, open_metrics},
    process,
    visibility::Visibility,
};
use crate::http::{Problem, prefers};

/// Every phase of the group, and its label.
const PHASES: [(GroupPhase, &str); 6] = [
    (GroupPhase::Finding, "finding"),
    (GroupPhase::Joining, "joining"),
    (GroupPhase::Syncing, "syncing"),
    (GroupPhase::Assigned, "assigned"),
    (GroupPhase::Revoking, "revoking"),
    (GroupPhase::Left, "left"),
];

/// A metric without labels that only one service has.
#[derive(Debug, Clone)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// The description.
    pub help: &'static str,
    /// The type.
    pub kind: MetricKind,
    /// Its value.
    pub value: u64,
}

/// A counter with one label that only one service has.
#[derive(Debug, Clone)]
pub struct LabelledCounter {
    /// Its name.
    pub name: &'static str,
    /// The description.
    pub help: &'static str,
    /// The label's name.
    pub label: &'static str,
    /// The values of the label, a bounded number, with the counts.
    pub counts: Vec<(String, u64)>,
}

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// A value that only grows.
    Counter,
    /// A current value.
    Gauge,
}

/// `GET /metrics`: 200 in Prometheus' text format, version 0.0.4, or in OpenMetrics'.
pub(super) fn metrics(
    operations: &Operations,
    visibility: Visibility,
    accept: Option<&HeaderValue>,
) -> Response {
    match families(operations, visibility).and_then(|families| TextEncoder::new().encode_to_string(&families))
    {
        Ok(text) => {
            let wants = |accept: &HeaderValue| prefers(accept.as_bytes(), OPEN_METRICS, "text/plain");
            let (text, format) = match accept.is_some_and(wants) {
                true => (open_metrics(&text, &operations.traffic.exemplars()), open_metrics::CONTENT_TYPE),
                false => (text, TEXT_FORMAT),
            };
            let mut response = Response::new(text.into());
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(format));
            response
        }
        Err(error) => {
            log::error!("the metrics cannot be written: {error}");
            Problem::internal().into_response()
        }
    }
}

fn families(operations: &Operations, visibility: Visibility) -> Result<Vec<MetricFamily>> {
    let scrape = Scrape(Registry::new());
    scrape.gauge(
        "highwater_build_info",
        "1, with the version.",
        &["version"],
        [([env!("CARGO_PKG_VERSION")], 1)],
    )?;
    let ready = health::obstacle(operations).is_none();
    scrape.gauge("highwater_ready", "Whether /ready is 200.", &[], [([], ready.into())])?;
    if let Some(kafka) = operations.kafka() {
        let embedded = operations.embedded.into();
        scrape.gauge(
            "highwater_embedded_broker",
            "1 where Kafka is the broker inside this process, which keeps nothing.",
            &[],
            [([], embedded)],
        )?;
        scrape.kafka(&visibility.kafka(kafka))?;
    }
    scrape.producers(&operations.producers)?;
    if !operations.memberships.is_empty() {
        scrape.groups(&operations.memberships)?;
    }
    if !operations.tables.is_empty() {
        let tables: Vec<_> = operations.tables.iter().map(|table| table.status()).collect();
        scrape.tables(&tables)?;
    }
    for metric in operations.status_source.iter().flat_map(|status_source| status_source.metrics()) {
        let Metric { name, help, kind, value } = metric;
        match kind {
            MetricKind::Counter => scrape.counter(name, help, &[], [([], value)])?,
            MetricKind::Gauge => scrape.gauge(name, help, &[], [([], value)])?,
        }
    }
    for counter in operations.status_source.iter().flat_map(|status_source| status_source.labelled_counters())
    {
        let LabelledCounter { name, help, label, counts } = counter;
        let counts = counts.iter().map(|(value, count)| ([value.as_str()], *count));
        scrape.counter(name, help, &[label], counts)?;
    }
    process::add_to(&scrape.0)?;
    let mut families = operations.traffic.families();
    families.append(&mut scrape.0.gather());
    Ok(families)
}

/// The metrics of one scrape.
struct Scrape(Registry);

impl Scrape {
    fn producers(&self, producers: &[Arc<Producer>]) -> Result<()> {
        let metrics: Vec<_> =
            producers.iter().map(|producer| (&**producer.topic().name(), producer.metrics())).collect();
        let each =
            |value: fn(&_) -> u64| metrics.iter().map(move |(topic, metrics)| ([*topic], value(metrics)));
        const TOPIC: &[&str] = &["topic"];
        self.counter(
            "highwater_producer_records_total",
            "Records that Kafka acknowledged.",
            TOPIC,
            each(|it| it.records),
        )?;
        self.counter(
            "highwater_producer_batches_total",
            "Batches that Kafka acknowledged.",
            TOPIC,
            each(|it| it.batches),
        )?;
        self.counter(
            "highwater_producer_retries_total",
            "Attempts that failed and were made again.",
            TOPIC,
            each(|it| it.retries),
        )?;
        self.counter(
            "highwater_producer_throttled_total",
            "Waits that Kafka's quota imposed.",
            TOPIC,
            each(|it| it.throttled),
        )?;
        let errors = metrics.iter().flat_map(|(topic, metrics)| {
            metrics.errors.iter().map(|(reason, count)| ([*topic, *reason], *count))
        });
        self.counter(
            "highwater_producer_errors_total",
            "Records that were not acknowledged.",
            &["topic", "reason"],
            errors,
        )?;
        self.gauge(
            "highwater_producer_queue_records",
            "Records that wait for Kafka.",
            TOPIC,
            each(|it| it.queued_records as u64),
        )?;
        self.gauge(
            "highwater_producer_queue_bytes",
            "Bytes that wait for Kafka.",
            TOPIC,
            each(|it| it.queued_bytes as u64),
        )
    }

    fn kafka(&self, kafka: &KafkaStatus) -> Result<()> {
        self.gauge(
            "highwater_kafka_connected",
            "Whether Kafka answers: 0 from when a part of the service begins to fail until any succeeds.",
            &[],
            [([], kafka.connected.into())],
        )?;
        let brokers = kafka.brokers.iter().map(|broker| ([broker.broker.as_str()], broker.breaker as u64));
        self.gauge(
            "highwater_breaker_state",
            "Of a broker that leads partitions: 0 closed, 1 half-open, 2 open.",
            &["broker"],
            brokers,
        )
    }

    /// The metrics of consumer groups, by topic.
    fn groups(&self, memberships: &[GroupMembership]) -> Result<()> {
        const TOPIC: &[&str] = &["topic"];
        const PARTITION: &[&str] = &["topic", "partition"];
        let members: BTreeMap<&str, (Status, &GroupMembership)> = memberships
            .iter()
            .map(|membership| (&*membership.topic, (membership.status.borrow().clone(), membership)))
            .collect();
        let each = |value: fn(&Status, &GroupMembership) -> u64| {
            members.iter().map(move |(topic, (status, membership))| ([*topic], value(status, membership)))
        };
        self.counter(
            "highwater_consumer_records_total",
            "Records processed.",
            TOPIC,
            each(|_, it| it.counts.records()),
        )?;
        self.counter(
            "highwater_dead_letters_total",
            "Records set aside.",
            TOPIC,
            each(|_, it| it.counts.dead_letters()),
        )?;
        self.counter(
            "highwater_consumer_offset_resets_total",
            "Times that the offset to go on from was not in the log.",
            TOPIC,
            each(|_, it| it.counts.offset_resets()),
        )?;
        self.counter(
            "highwater_consumer_records_skipped_total",
            "Offsets that were passed over by that: records which nobody processed.",
            TOPIC,
            each(|_, it| it.counts.skipped()),
        )?;
        self.counter(
            "highwater_consumer_topic_recreations_total",
            "Times that the topic was found deleted and made again.",
            TOPIC,
            each(|_, it| it.counts.recreations()),
        )?;
        let partitions: Vec<_> = members
            .iter()
            .flat_map(|(topic, (status, _))| status.group.partitions.iter().map(move |it| (*topic, it)))
            .map(|(topic, partition)| (topic, partition.partition.to_string(), partition))
            .collect();
        let each_partition = |value: fn(&_) -> i64| {
            partitions
                .iter()
                .map(move |(topic, number, status)| ([*topic, number.as_str()], value(status).max(0) as u64))
        };
        self.gauge(
            "highwater_consumer_lag",
            "Offsets of an assigned partition that are not processed yet.",
            PARTITION,
            each_partition(|it| it.end - it.position),
        )?;
        self.gauge(
            "highwater_consumer_partition_stalled",
            "1 for an assigned partition that does not go on; /health says why.",
            PARTITION,
            each_partition(|it| it.error.is_some().into()),
        )?;
        let phases = members.iter().flat_map(|(topic, (status, _))| {
            PHASES.iter().map(|(phase, name)| ([*topic, *name], u64::from(status.group.phase == *phase)))
        });
        self.gauge(
            "highwater_consumer_group_phase",
            "1 for the phase that the member is in.",
            &["topic", "phase"],
            phases,
        )?;
        self.gauge(
            "highwater_consumer_group_generation",
            "The group's generation, or the member's epoch.",
            TOPIC,
            each(|status, _| status.group.generation.max(0) as u64),
        )
    }

    /// The metrics of the event-sourced tables, by topic.
    fn tables(&self, tables: &[TableStatus]) -> Result<()> {
        const TOPIC: &[&str] = &["topic"];
        let each = |value: fn(&TableStatus) -> u64| {
            tables.iter().map(move |table| ([table.topic.as_str()], value(table)))
        };
        self.gauge(
            "highwater_table_complete",
            "1 once the topic was read to its end.",
            TOPIC,
            each(|it| it.complete.into()),
        )?;
        self.counter(
            "highwater_table_events_applied_total",
            "Events that are part of the state.",
            TOPIC,
            each(|it| it.applied),
        )?;
        self.counter(
            "highwater_table_events_rejected_total",
            "Events that came too late to count.",
            TOPIC,
            each(|it| it.rejected),
        )?;
        self.gauge(
            "highwater_table_memory_bytes",
            "About what the table takes in memory.",
            TOPIC,
            each(|it| it.bytes as u64),
        )?;
        let partitions: Vec<_> = tables
            .iter()
            .flat_map(|table| table.partitions.iter().map(move |partition| (table, partition)))
            .map(|(table, partition)| (&table.topic, partition.partition.to_string(), partition))
            .collect();
        let lags = partitions.iter().map(|(topic, number, partition)| {
            ([topic.as_str(), number.as_str()], (partition.end - partition.position).max(0) as u64)
        });
        self.gauge(
            "highwater_table_lag",
            "Offsets of a partition that are not applied yet.",
            &["topic", "partition"],
            lags,
        )
    }

    /// A metric that only grows. Each value comes with the values of its labels.
    fn counter<'a, const LABELS: usize>(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        values: impl IntoIterator<Item = ([&'a str; LABELS], u64)>,
    ) -> Result<()> {
        let family = IntCounterVec::new(Opts::new(name, help), labels)?;
        for (labels, value) in values {
            family.get_metric_with_label_values(&labels)?.inc_by(value);
        }
        self.0.register(Box::new(family))
    }

    /// A metric that can fall.
    fn gauge<'a, const LABELS: usize>(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        values: impl IntoIterator<Item = ([&'a str; LABELS], u64)>,
    ) -> Result<()> {
        let family = IntGaugeVec::new(Opts::new(name, help), labels)?;
        for (labels, value) in values {
            family.get_metric_with_label_values(&labels)?.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        self.0.register(Box::new(family))
    }
}
