//! Limits, preflights, the audit and the port of metrics, which all four services have.

use std::{convert::Infallible, sync::Arc};

use futures::future::join_all;
use highwater::activity;
use highwater_commerce::{orders, state::MemoryLimit, users};
use highwater_eventlog as eventlog;
use highwater_kafka::{ClusterConfig, Kafka, ProducerConfig, TopicConfig};
use highwater_table::{EventSourcedTable, Projection};
use highwater_web::{
    auth::{AuthConfig, LimitConfig, Rates, Scope},
    http::{AllowedOrigins, BodyLimits, Cors, Paths, Traffic, client::Request},
    operations::Operations,
};
use warp::{Filter, Reply};

use super::{Guarded, Keyring, with_token};
use crate::{eventlog::fakes, journal, rest::service::Service};

const USER: &str = "0190163d-8694-739b-aea5-966c26f8ad91";
const SITE: &str = "https://shop.example";

/// Asks a service whose users may be asked for once a second for what is of one user, at that path.
async fn ask_for_a_users<F, R>(tree: F, paths: &'static Paths, path: &str)
where
    F: Filter<Extract = (R,), Error = Infallible> + Clone + Send + Sync + 'static,
    R: Reply,
{
    journal::listen();
    let keys = Keyring::new();
    let key = keys.add("all", &Scope::ALL);
    let user = Rates { requests: 1.try_into().ok(), events: None };
    let limits = LimitConfig { user, ..LimitConfig::default() };
    let guarded = Guarded::of((), tree, paths, AuthConfig { limits, ..keys.auth() }, |config| {
        let origins = AllowedOrigins::These(vec![SITE.to_owned()]);
        config.cors = Some(Cors { origins, headers: Vec::new(), credentials: false });
        config.metrics_port = Some(0);
    })
    .await;

    let path_alone = path.split('?').next().unwrap();
    let preflight =
        Request::new("OPTIONS", path_alone).with("origin", SITE).with("access-control-request-method", "GET");
    let allowed = guarded.ask(preflight).await;
    assert_eq!((allowed.status, allowed.header("access-control-allow-origin")), (204, Some(SITE)), "{path}");

    let wrong = format!("hw_{}", "A".repeat(43));
    assert_eq!(guarded.get(path, &wrong).await.status, 401, "{path}");
    let told = ["unknown", "127.0.0.1", &format!("GET {path_alone}"), "refused"].map(str::to_owned);
    assert_eq!(journal::take_audit(), [told]);

    let answers = join_all((0..10).map(|_| guarded.ask(with_token(Request::get(path), &key)))).await;
    let answers: Vec<_> =
        answers.iter().map(|answer| (answer.status, answer.header("retry-after"))).collect();
    assert!(answers.iter().any(|(status, _)| *status != 429), "{path}: {answers:?}");
    assert!(answers.contains(&(429, Some("1"))), "{path}: {answers:?}");

    assert_eq!(guarded.get("/metrics", &key).await.status, 404, "it has a port of its own");
}

/// A table whose Kafka is away.
fn table<P: Projection>(kafka: &Kafka, name: &str) -> Arc<EventSourcedTable<P>> {
    Arc::new(EventSourcedTable::start(kafka, TopicConfig::new(name), ProducerConfig::default()))
}

#[tokio::test]
async fn limits_preflights_the_audit_and_the_port_of_metrics_are_the_same_in_all_services() {
    let activity = activity::routes(Arc::new(Service::new().api()));
    ask_for_a_users(activity, &activity::PATHS, &format!("/api/events/user/{USER}")).await;
    let event_log = eventlog::routes(fakes::Service::new().api());
    ask_for_a_users(event_log, &eventlog::PATHS, &format!("/events/{USER}")).await;

    let kafka = Kafka::new(ClusterConfig::new(vec!["127.0.0.1:1".to_owned()])).unwrap();
    let operations = |paths| {
        let traffic = Arc::new(Traffic::new(paths).unwrap());
        Arc::new(Operations::new("test", kafka.status(), traffic))
    };
    let limits = BodyLimits { max_bytes: 1024, max_depth: 32, timeout: std::time::Duration::from_secs(5) };
    let api = users::Api {
        users: table(&kafka, "users"),
        memory: MemoryLimit::new(usize::MAX),
        limits,
        operations: operations(&users::PATHS),
    };
    ask_for_a_users(users::routes(Arc::new(api)), &users::PATHS, &format!("/users/{USER}")).await;
    let service = orders::OrderService {
        users: table(&kafka, "users"),
        orders: table(&kafka, "orders"),
        memory: MemoryLimit::new(usize::MAX),
    };
    let api = orders::Api { service: Arc::new(service), limits, operations: operations(&orders::PATHS) };
    ask_for_a_users(orders::routes(Arc::new(api)), &orders::PATHS, &format!("/orders?userId={USER}")).await;
}
