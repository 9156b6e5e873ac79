//! `GET /metrics`: what Prometheus is told.
//!
//! Each room counts for itself, in atomics; here their figures are read and written out, once a scrape. What
//! there is of each is in the README.

use std::sync::Arc;

use prometheus::{
    IntCounterVec, IntGaugeVec, Opts, Registry, Result, TEXT_FORMAT, TextEncoder, proto::MetricFamily,
};
use warp::{
    Reply,
    http::{HeaderValue, header},
    reply::Response,
};

use super::super::{paths, routes::Api};
use crate::{
    http::{Problem, Traffic},
    messaging::{ConsumerCounts, GroupPhase, Producer, Status},
    store::Stats,
};

/// Every phase of the group, as it is called.
const PHASES: [(GroupPhase, &str); 6] = [
    (GroupPhase::Finding, "finding"),
    (GroupPhase::Joining, "joining"),
    (GroupPhase::Syncing, "syncing"),
    (GroupPhase::Assigned, "assigned"),
    (GroupPhase::Revoking, "revoking"),
    (GroupPhase::Left, "left"),
];

/// Those who count.
#[derive(Debug)]
pub struct Metrics {
    traffic: Arc<Traffic>,
    producers: Vec<Arc<Producer>>,
    consumer: Arc<ConsumerCounts>,
}

impl Metrics {
    /// What these count, and what the server of this service's routes will, by [`Metrics::traffic`].
    ///
    /// # Errors
    ///
    /// None: the names of what is counted are well-formed.
    pub fn new(producers: Vec<Arc<Producer>>, consumer: Arc<ConsumerCounts>) -> Result<Self> {
        let traffic = Arc::new(Traffic::new(&paths::PATTERNS, paths::place)?);
        Ok(Self { traffic, producers, consumer })
    }

    /// Where requests are counted.
    pub fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }
}

/// `GET /metrics`: 200 in Prometheus' text format, version 0.0.4.
pub(in super::super) fn metrics(api: &Api) -> Response {
    match families(api).and_then(|families| TextEncoder::new().encode_to_string(&families)) {
        Ok(text) => {
            let mut response = Response::new(text.into());
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(TEXT_FORMAT));
            response
        }
        Err(error) => {
            log::error!("the metrics cannot be written: {error}");
            Problem::internal().into_response()
        }
    }
}

fn families(api: &Api) -> Result<Vec<MetricFamily>> {
    let status = api.status.borrow().clone();
    let page = Page(Registry::new());
    page.gauge(
        "highwater_build_info",
        "1, with the version.",
        &["version"],
        [([env!("CARGO_PKG_VERSION")], 1)],
    )?;
    page.gauge("highwater_ready", "Whether /ready is 200.", &[], [([], status.is_ready().into())])?;
    page.producers(&api.metrics.producers)?;
    page.consumer(&api.metrics.consumer, &status)?;
    page.group(&status)?;
    if let Some(stats) = api.store.stats() {
        page.store(&stats)?;
    }
    page.counter(
        "highwater_consume_conflicts_total",
        "Events with the id of another and other content.",
        &[],
        [([], api.conflicts.count())],
    )?;
    let mut families = api.metrics.traffic.families();
    families.append(&mut page.0.gather());
    Ok(families)
}

/// The figures of one scrape.
struct Page(Registry);

impl Page {
    fn producers(&self, producers: &[Arc<Producer>]) -> Result<()> {
        let figures: Vec<_> =
            producers.iter().map(|producer| (&**producer.topic().name(), producer.figures())).collect();
        let each =
            |value: fn(&_) -> u64| figures.iter().map(move |(topic, figures)| ([*topic], value(figures)));
        const TOPIC: &[&str] = &["topic"];
        self.counter(
            "highwater_produce_records_total",
            "Records that Kafka acknowledged.",
            TOPIC,
            each(|it| it.records),
        )?;
        self.counter(
            "highwater_produce_batches_total",
            "Batches that Kafka acknowledged.",
            TOPIC,
            each(|it| it.batches),
        )?;
        self.counter(
            "highwater_produce_retries_total",
            "Attempts that failed and were made again.",
            TOPIC,
            each(|it| it.retries),
        )?;
        self.counter(
            "highwater_produce_throttled_total",
            "Waits that Kafka's quota imposed.",
            TOPIC,
            each(|it| it.throttled),
        )?;
        let errors = figures.iter().flat_map(|(topic, figures)| {
            figures.errors.iter().map(|(reason, count)| ([*topic, *reason], *count))
        });
        self.counter(
            "highwater_produce_errors_total",
            "Records that were not acknowledged.",
            &["topic", "reason"],
            errors,
        )?;
        self.gauge(
            "highwater_produce_queue_records",
            "Records that wait for Kafka.",
            TOPIC,
            each(|it| it.queued_records as u64),
        )?;
        self.gauge(
            "highwater_produce_queue_bytes",
            "Bytes that wait for Kafka.",
            TOPIC,
            each(|it| it.queued_bytes as u64),
        )
    }

    fn consumer(&self, counts: &ConsumerCounts, status: &Status) -> Result<()> {
        self.counter("highwater_consume_records_total", "Records processed.", &[], [([], counts.records())])?;
        self.counter(
            "highwater_dead_letters_total",
            "Records set aside.",
            &[],
            [([], counts.dead_letters())],
        )?;
        let partitions: Vec<_> = status
            .group
            .partitions
            .iter()
            .map(|partition| (partition.partition.to_string(), partition))
            .collect();
        let each = |value: fn(&_) -> i64| {
            partitions.iter().map(move |(number, status)| ([number.as_str()], value(status).max(0) as u64))
        };
        const PARTITION: &[&str] = &["partition"];
        self.gauge(
            "highwater_consume_lag",
            "Offsets of an assigned partition that are not processed yet.",
            PARTITION,
            each(|it| it.end - it.position),
        )?;
        self.gauge(
            "highwater_consume_standing_still",
            "1 for an assigned partition that does not go on; /health says why.",
            PARTITION,
            each(|it| it.error.is_some().into()),
        )
    }

    fn group(&self, status: &Status) -> Result<()> {
        let group = &status.group;
        self.gauge(
            "highwater_kafka_connected",
            "Whether every part of the service reaches Kafka.",
            &[],
            [([], status.kafka.connected.into())],
        )?;
        let brokers =
            status.kafka.brokers.iter().map(|broker| ([broker.broker.as_str()], broker.breaker as u64));
        self.gauge(
            "highwater_breaker_state",
            "Of a broker that leads partitions: 0 closed, 1 half-open, 2 open.",
            &["broker"],
            brokers,
        )?;
        let phases = PHASES.iter().map(|(phase, name)| ([*name], u64::from(group.phase == *phase)));
        self.gauge("highwater_group_phase", "1 for the phase that the member is in.", &["phase"], phases)?;
        self.gauge(
            "highwater_group_generation",
            "The group's generation, or the member's epoch.",
            &[],
            [([], group.generation.max(0) as u64)],
        )
    }

    fn store(&self, stats: &Stats) -> Result<()> {
        self.gauge("highwater_store_events", "Events in the store.", &[], [([], stats.events)])?;
        self.counter(
            "highwater_store_evicted_total",
            "Events that left for newer ones.",
            &[],
            [([], stats.evicted)],
        )?;
        self.counter(
            "highwater_consume_duplicates_total",
            "Events that were stored already.",
            &[],
            [([], stats.duplicates)],
        )
    }

    /// A figure that only grows; of each label, its values and theirs.
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

    /// A figure as it is now.
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
