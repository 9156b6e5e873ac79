//! Describes the routes of this module.

use highwater_kafka::PartitionStatus;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{
    group::{GroupBody, GroupsBody},
    health::{Health, Ready, not_ready, progress},
    open_metrics::OPEN_METRICS,
};
use crate::http::openapi::{Answer, Document, Operation};

/// The topics that a service reads in its consumer group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsumedTopics {
    /// The service does not use Kafka.
    NoKafka,
    /// The service is in no group.
    None,
    /// One topic.
    One,
    /// Several topics.
    Several,
}

/// Describes `/health`, `/ready`, `/ready/read`, `/group` and `/metrics`. `status_source` has the members of the body of
/// `/health` that this service alone has, with their schemas and examples.
pub fn describe(document: &mut Document, consumed: ConsumedTopics, status_source: &[(&str, Value, Value)]) {
    document.tag("Operations", "How the service is, for those who run it.");
    let on_kafka = consumed != ConsumedTopics::NoKafka;
    let mut schema = if on_kafka { document.schema::<Health>() } else { health_without_kafka() };
    let mut example = json!({ "status": "up", "service": "highwater", "version": env!("CARGO_PKG_VERSION") });
    match on_kafka {
        true => example["kafka"] = json!({ "connected": true }),
        false => example["service"] = "highwater-eventlog".into(),
    }
    if !status_source.is_empty() {
        let members: Map<_, _> =
            status_source.iter().map(|(name, schema, _)| ((*name).to_owned(), schema.clone())).collect();
        schema = json!({ "allOf": [schema, { "type": "object", "properties": members }] });
        for (name, _, value) in status_source {
            example[*name] = value.clone();
        }
    }
    document.add(
        "/health",
        Operation::new("get", "getHealth", "How the service is")
            .describe(match on_kafka {
                true => "200 while the process lives, whatever became of Kafka; its state is in the body.",
                false => {
                    "200 while the process lives, whatever became of what it needs; that is in the body."
                }
            })
            .answers(200, Answer::new("The process lives.").json(schema, &example)),
    );
    let ready = document.schema::<Ready>();
    let mut behind = PartitionStatus::default();
    (behind.position, behind.goal) = (17, Some(42));
    let obstacle = match on_kafka {
        true => not_ready("0 of 1 partitions are restored".to_owned(), vec![progress(&behind)]),
        false => not_ready("SQL Server cannot be used: no answer in time".to_owned(), Vec::new()),
    };
    document.add(
        "/ready",
        Operation::new("get", "getReadiness", "Whether the service should get traffic")
            .describe(match on_kafka {
                true => {
                    "200 when Kafka answers and takes what is written, the state is read, and what was assigned first \
                     is restored and read to the end that it had then."
                }
                false => "200 when all that it needs answers.",
            })
            .answers(200, Answer::new("It should.").json(ready.clone(), &json!({ "status": "ready" })))
            .problem("notReady", "It should not: what is missing, and how far it is.", obstacle),
    );
    let restoring = not_ready("0 of 1 partitions are restored".to_owned(), vec![progress(&behind)]);
    document.add(
        "/ready/read",
        Operation::new("get", "getReadReadiness", "Whether the service can answer who reads")
            .describe(
                "200 once what is read here is restored, also while Kafka is away: what came since is not in it then.",
            )
            .answers(200, Answer::new("It can.").json(ready, &json!({ "status": "ready" })))
            .problem("notReadyToRead", "The state that reads need is not restored yet.", restoring),
    );
    let group = json!({ "id": "user-activity-consumer-group", "phase": "assigned", "protocol": "classic",
        "assignor": "range", "member": "highwater-5f0c", "generation": 3, "lag": 2, "rebalances": [],
        "partitions": [{ "partition": 0, "restored": true, "position": 40, "committed": 40, "end": 42, "lag": 2,
            "goal": 12, "pausedMs": 3 }],
        "members": [{ "memberId": "highwater-5f0c", "clientId": "highwater", "host": "10.0.0.7",
            "partitions": { "user-activity-events": [0] } }] });
    let group = match consumed {
        ConsumedTopics::NoKafka | ConsumedTopics::None => None,
        ConsumedTopics::One => Some((document.schema::<GroupBody<'_>>(), group)),
        ConsumedTopics::Several => {
            Some((document.schema::<GroupsBody<'_>>(), json!({ "groups": { "order-events": group } })))
        }
    };
    if let Some((schema, example)) = group {
        document.add(
            "/group",
            Operation::new("get", "getGroup", "The consumer group, as this member sees it")
                .describe(
                    "The coordinator is asked who is in it: once a second at most, and for a second at most.",
                )
                .answers(200, Answer::new("Whatever the group's state.").json(schema, &example)),
        );
    }
    let text = json!({ "type": "string" });
    let page =
        "# HELP highwater_ready Whether /ready is 200.\n# TYPE highwater_ready gauge\nhighwater_ready 1\n";
    let answer = Answer::new(
        "Its text format, version 0.0.4; OpenMetrics, with exemplars, where `Accept` names that.",
    )
    .of("text/plain", text.clone(), &page)
    .of(OPEN_METRICS, text, &format!("{page}# EOF\n"));
    document
        .add("/metrics", Operation::new("get", "getMetrics", "Metrics for Prometheus").answers(200, answer));
}

/// The schema of the body of `/health` without the members about Kafka. It has no name, since it is that of one service.
fn health_without_kafka() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<Health>().to_value();
    if let Some(properties) = schema["properties"].as_object_mut() {
        properties.retain(|name, _| ["status", "service", "version", "warnings"].contains(&name.as_str()));
    }
    schema
}
