//! An instance of the user or the order service: its own runtime, so that it can be killed; real HTTP.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use highwater::{
    config::{self, Config},
    services::{orders, users},
    shutdown::Shutdown,
};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    task::JoinHandle,
    time::timeout,
};

use super::{TestCluster, eventually};

/// A running service; dropped, it is killed.
pub(crate) struct Instance {
    base: String,
    http: reqwest::Client,
    shutdown: Shutdown,
    runtime: Option<Runtime>,
    running: JoinHandle<anyhow::Result<()>>,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) body: Value,
    headers: reqwest::header::HeaderMap,
}

impl Answered {
    /// A header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The body of an answer of that status.
    pub(crate) fn ok(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }
}

impl Instance {
    /// A user service, ready.
    pub(crate) async fn users(cluster: &TestCluster) -> Self {
        let instance = Self::users_with(cluster, &[]);
        instance.until_ready().await;
        instance
    }

    /// A user service with these settings, by variable, in place of the tests' own.
    pub(crate) fn users_with(cluster: &TestCluster, settings: &[(&str, &str)]) -> Self {
        let config = configured("users", cluster, settings);
        Self::start(|listener, stop| users::run(config, listener, stop))
    }

    /// An order service, ready.
    pub(crate) async fn orders(cluster: &TestCluster) -> Self {
        let config = configured("orders", cluster, &[]);
        let instance = Self::start(|listener, stop| orders::run(config, listener, stop));
        instance.until_ready().await;
        instance
    }

    fn start<R>(service: impl FnOnce(TcpListener, Shutdown) -> R + Send + 'static) -> Self
    where
        R: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let listener = std::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        listener.set_nonblocking(true).unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let shutdown = Shutdown::new();
        let stop = shutdown.clone();
        let running = runtime.spawn(async move { service(TcpListener::from_std(listener)?, stop).await });
        Self { base, http: reqwest::Client::new(), shutdown, runtime: Some(runtime), running }
    }

    /// Stops it as SIGTERM does, and fails where that takes longer than it may.
    pub(crate) async fn stop(mut self) {
        self.shutdown.request();
        let stopped = timeout(Duration::from_secs(10), &mut self.running).await;
        stopped.expect("a stop in time").unwrap().unwrap();
    }

    /// Ends it at once and without a word, as SIGKILL does.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// Waits until it ends by itself; why.
    pub(crate) async fn until_it_refuses(mut self) -> String {
        let ended = timeout(Duration::from_secs(60), &mut self.running).await;
        ended.expect("an end in time").unwrap().unwrap_err().to_string()
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// A request.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// Sends a GET.
    pub(crate) async fn get(&self, path: &str) -> Answered {
        send(self.request(Method::GET, path)).await
    }

    /// Sends a POST with a JSON body.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answered {
        send(self.request(Method::POST, path).json(body)).await
    }

    /// As [`Instance::post`], with an Idempotency-Key.
    pub(crate) async fn post_once(&self, path: &str, key: &str, body: &Value) -> Answered {
        send(self.request(Method::POST, path).header("idempotency-key", key).json(body)).await
    }

    /// Sends a request without a body.
    pub(crate) async fn send(&self, method: Method, path: &str) -> Answered {
        send(self.request(method, path)).await
    }

    /// Waits until a GET is 200 and its body is as wanted.
    pub(crate) async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(path, async || {
            let answered = self.get(path).await;
            (answered.status == 200 && wanted(&answered.body)).then_some(answered.body)
        })
        .await
    }

    /// Waits until it is ready.
    pub(crate) async fn until_ready(&self) {
        eventually("the service is ready", async || {
            (self.get("/ready").await.status == StatusCode::OK).then_some(())
        })
        .await;
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.end();
    }
}

/// Sends a request, and reads all of the answer.
pub(crate) async fn send(request: RequestBuilder) -> Answered {
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = answer.bytes().await.unwrap();
    let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
    Answered { status, body, headers }
}

fn configured(service: &str, cluster: &TestCluster, settings: &[(&str, &str)]) -> Config {
    let own = [
        ("HOST", "127.0.0.1".to_owned()),
        ("USERS_PORT", "0".to_owned()),
        ("ORDERS_PORT", "0".to_owned()),
        ("KAFKA_BROKERS", cluster.brokers.join(",")),
        ("USER_EVENTS_TOPIC", cluster.users()),
        ("ORDER_EVENTS_TOPIC", cluster.orders()),
        ("ORDERS_GROUP_ID", cluster.group.clone()),
        ("KAFKA_REQUEST_TIMEOUT", "2s".to_owned()),
        ("KAFKA_SESSION_TIMEOUT", "6s".to_owned()),
        ("KAFKA_REBALANCE_TIMEOUT", "12s".to_owned()),
        ("KAFKA_HEARTBEAT_INTERVAL", "200ms".to_owned()),
        ("COMMIT_INTERVAL", "100ms".to_owned()),
        ("METADATA_MAX_AGE", "200ms".to_owned()),
    ];
    let variable = |name: &str| {
        let given = settings.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        given.or_else(|| own.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone()))
    };
    config::parse(["highwater".into(), service.into()], variable, "").unwrap().config
}
