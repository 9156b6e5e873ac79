//! The activity service, over real HTTP and Kafka's protocol.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use highwater::{config, service};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Running, TestCluster, eventually, processed_lines};

/// Kafka's default minimum of a session (`group.min.session.timeout.ms`).
pub(crate) const SESSION: Duration = Duration::from_secs(6);

/// A running service. Dropping it kills it.
pub(crate) struct TestApp {
    base: String,
    http: reqwest::Client,
    running: Running,
}

/// An event that was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    pub(crate) id: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

impl TestApp {
    /// Starts the service on that cluster. It may not be ready yet.
    pub(crate) async fn start(cluster: &TestCluster) -> Self {
        Self::start_with(cluster, &[]).await
    }

    /// As [`TestApp::start`], with these variables instead of the tests' own.
    pub(crate) async fn start_with(cluster: &TestCluster, settings: &[(&str, &str)]) -> Self {
        processed_lines::listen();
        let brokers = cluster.brokers.join(",");
        let mut variables = BTreeMap::from([
            ("HOST", "127.0.0.1"),
            ("PORT", "0"),
            ("KAFKA_BROKERS", &brokers),
            ("KAFKA_TOPIC", &cluster.topic),
            ("KAFKA_GROUP_ID", &cluster.group),
            ("KAFKA_REQUEST_TIMEOUT", "2s"),
            ("KAFKA_SESSION_TIMEOUT", "6s"),
            ("KAFKA_REBALANCE_TIMEOUT", "12s"),
            ("KAFKA_HEARTBEAT_INTERVAL", "200ms"),
            ("COMMIT_INTERVAL", "100ms"),
            ("METADATA_MAX_AGE", "200ms"),
        ]);
        variables.extend(settings.iter().copied());
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let variables = variables.into_iter().map(owned).collect();
        let config = config::parse(["highwater".into()], &variables, "").unwrap().config;

        let running = Running::start(|listener, stop| service::run(config, listener, stop));
        Self { base: format!("http://{}", running.address), http: reqwest::Client::new(), running }
    }

    /// As [`TestApp::start`], and waits until it is ready.
    pub(crate) async fn ready(cluster: &TestCluster) -> Self {
        let app = Self::start(cluster).await;
        app.until_ready().await;
        app
    }

    /// Stops the service as SIGTERM does, and fails after the time-out.
    pub(crate) async fn stop(self) {
        self.running.stop().await;
    }

    /// Ends the service at once, as SIGKILL does.
    pub(crate) fn kill(self) {
        drop(self.running);
    }

    /// The port of the service.
    pub(crate) fn port(&self) -> u16 {
        self.running.address.port()
    }

    /// Sends a GET.
    pub(crate) async fn get(&self, path: &str) -> Response {
        self.http.get(format!("{}{path}", self.base)).send().await.unwrap()
    }

    /// The JSON of a GET, which must succeed.
    pub(crate) async fn read(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.json().await.unwrap()
    }

    /// Sends a request with that token and that `Accept`.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        accept: Option<&str>,
    ) -> Response {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(accept) = accept {
            request = request.header("accept", accept);
        }
        request.send().await.unwrap()
    }

    /// Redrives dead letters, and returns the report.
    pub(crate) async fn redrive(&self, token: &str, body: &Value) -> Value {
        let request = self.http.post(format!("{}/dead-letters/redrive", self.base));
        let answer = request.bearer_auth(token).json(body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.json().await.unwrap()
    }

    /// Sends a POST with a JSON body.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Response {
        self.http.post(format!("{}{path}", self.base)).json(body).send().await.unwrap()
    }

    /// Posts an event of that user, which must be acknowledged.
    pub(crate) async fn generate(&self, user: &str) -> Acknowledged {
        self.generate_from(&json!({"userId": user, "eventType": "LOGIN"})).await
    }

    /// Posts that body, which must be acknowledged.
    pub(crate) async fn generate_from(&self, body: &Value) -> Acknowledged {
        acknowledged(self.post("/events/generate", body).await).await
    }

    /// The ids of the processed events, in order.
    pub(crate) async fn processed(&self) -> Vec<String> {
        let events = self.read("/events/processed").await;
        events.as_array().unwrap().iter().map(|event| event["eventId"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until the service is ready.
    pub(crate) async fn until_ready(&self) {
        eventually("the service is ready", async || {
            (self.get("/ready").await.status() == StatusCode::OK).then_some(())
        })
        .await;
    }

    /// Waits until the event is processed.
    pub(crate) async fn until_processed(&self, id: &str) {
        let answer = self.get(&format!("/events/processed/{id}?wait=30s")).await;
        assert_eq!(answer.status(), StatusCode::OK, "{id}");
    }

    /// The restored partitions of this instance.
    pub(crate) async fn partitions(&self) -> Vec<i64> {
        let group = &self.read("/health").await["group"];
        if group["phase"] != "assigned" {
            return Vec::new();
        }
        let restored =
            group["partitions"].as_array().unwrap().iter().filter(|found| found["restored"] == true);
        restored.map(|partition| partition["partition"].as_i64().unwrap()).collect()
    }

    /// Posts without a pause from several connections, until the load is ended.
    pub(crate) fn load(&self) -> Load {
        let stop = CancellationToken::new();
        let told = Arc::new(Told::default());
        let mut clients = JoinSet::new();
        for client in 0..8 {
            let (http, url) = (self.http.clone(), format!("{}/events/generate", self.base));
            let (stop, told) = (stop.clone(), Arc::clone(&told));
            clients.spawn(async move {
                for number in 0.. {
                    if stop.is_cancelled() {
                        return;
                    }
                    let event =
                        json!({"userId": format!("user-{client}-{}", number % 16), "eventType": "LOGIN"});
                    let began = Instant::now();
                    let answer = http.post(&url).json(&event).send().await;
                    told.answered_within(began.elapsed());
                    match answer {
                        Ok(answer) if answer.status() == StatusCode::CREATED => {
                            // An answer that is cut off has no id.
                            if let Ok(body) = answer.json::<Value>().await {
                                let id = body["eventId"].as_str().unwrap().to_owned();
                                told.acknowledged.lock().unwrap().push(id);
                            }
                        }
                        _ => {
                            *told.refused.lock().unwrap() += 1;
                            tokio::time::sleep(Duration::from_millis(5)).await;
                        }
                    }
                }
            });
        }
        Load { stop, told, clients }
    }
}

/// The acknowledgement in an answer.
pub(crate) async fn acknowledged(answer: Response) -> Acknowledged {
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body: Value = answer.json().await.unwrap();
    assert!(status == StatusCode::CREATED || status == StatusCode::ACCEPTED, "{status}: {body}");
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let id = body["eventId"].as_str().unwrap().to_owned();
    assert_eq!(header("location"), format!("/events/processed/{id}"));
    let (partition, offset) = (header("kafka-partition"), header("kafka-offset"));
    Acknowledged { id, partition: partition.parse().unwrap(), offset: offset.parse().unwrap() }
}

/// Clients that post one event after the other.
pub(crate) struct Load {
    stop: CancellationToken,
    told: Arc<Told>,
    clients: JoinSet<()>,
}

#[derive(Default)]
struct Told {
    acknowledged: Mutex<Vec<String>>,
    refused: Mutex<usize>,
    slowest: Mutex<Duration>,
}

impl Told {
    fn answered_within(&self, took: Duration) {
        let mut slowest = self.slowest.lock().unwrap();
        *slowest = took.max(*slowest);
    }
}

impl Load {
    /// How many events are acknowledged so far.
    pub(crate) fn acknowledged(&self) -> usize {
        self.told.acknowledged.lock().unwrap().len()
    }

    /// How many posts were not acknowledged so far.
    pub(crate) fn refused(&self) -> usize {
        *self.told.refused.lock().unwrap()
    }

    /// How long the slowest answer took so far.
    pub(crate) fn slowest(&self) -> Duration {
        *self.told.slowest.lock().unwrap()
    }

    /// Waits until this many events are acknowledged.
    pub(crate) async fn until_acknowledged(&self, count: usize) {
        eventually("events are acknowledged", async || (self.acknowledged() >= count).then_some(())).await;
    }

    /// Ends the load. Returns the ids of the acknowledged events.
    pub(crate) async fn end(mut self) -> Vec<String> {
        self.stop.cancel();
        while let Some(client) = self.clients.join_next().await {
            client.unwrap();
        }
        std::mem::take(&mut *self.told.acknowledged.lock().unwrap())
    }
}
