//! The rights of clients: keys, tokens, scopes and limits before the routes of the activity service.

mod browsers;
mod clients;
mod commands;
mod kept;
mod limits;
mod owasp;
mod routes;
mod services;
mod settings;
mod table;
mod tokens;

use std::{
    convert::Infallible, fs, net::SocketAddr, num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration,
};

use highwater::{
    activity::{self, PATHS},
    config,
};
use highwater_web::{
    auth::{AuthConfig, KeyFile, Scope, cli},
    http::{
        self, Config, Paths, Traffic,
        client::{Request, Response, ask},
    },
    shutdown::Shutdown,
};
use prometheus::TextEncoder;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;
use warp::{Filter, Reply};

use crate::rest::service::Service;

const PATIENCE: Duration = Duration::from_secs(20);

/// A file of keys; removed when dropped.
pub(super) struct Keyring(PathBuf);

impl Keyring {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("highwater-keys-{}", Uuid::new_v4())))
    }

    /// The output of the task.
    fn run(&self, task: cli::KeyCommand) -> anyhow::Result<String> {
        let mut said = Vec::new();
        cli::run(task, &self.0, &mut said)?;
        Ok(String::from_utf8(said)?)
    }

    /// A new key of that name.
    fn add(&self, name: &str, scopes: &[Scope]) -> String {
        self.add_limited(name, scopes, None)
    }

    fn add_limited(&self, name: &str, scopes: &[Scope], requests: Option<u32>) -> String {
        let task = cli::KeyCommand::Add {
            name: name.to_owned(),
            scopes: scopes.to_vec(),
            expires: None,
            requests_per_second: requests.and_then(NonZeroU32::new),
            events_per_second: None,
        };
        self.run(task).unwrap().trim_end().to_owned()
    }

    fn auth(&self) -> AuthConfig {
        AuthConfig { keys: Some(KeyFile::read(&self.0).unwrap()), ..AuthConfig::default() }
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A service behind its gate; the activity service, where nothing else is said.
pub(super) struct Guarded<S = Service> {
    service: Arc<S>,
    address: SocketAddr,
    traffic: Arc<Traffic>,
    shutdown: Shutdown,
}

impl Guarded {
    async fn by(auth: AuthConfig) -> Self {
        Self::with(Service::new(), auth, |_| ()).await
    }

    async fn with(service: Service, auth: AuthConfig, change: impl FnOnce(&mut Config)) -> Self {
        let tree = activity::routes(Arc::new(service.api()));
        let traffic = Traffic::new(&PATHS).unwrap().with_refusals(service.rejections.clone());
        Self::counted_by(traffic, service, tree, auth, change).await
    }

    /// Posts an event of that user.
    async fn post(&self, user: &str, token: &str) -> Response {
        let event = json!({ "userId": user, "eventType": "LOGIN" }).to_string();
        self.ask(with_token(Request::post("/events/generate", event), token)).await
    }
}

impl<S> Guarded<S> {
    /// That tree, whose needs these paths tell.
    async fn of<F, R>(
        service: S,
        tree: F,
        paths: &'static Paths,
        auth: AuthConfig,
        change: impl FnOnce(&mut Config),
    ) -> Self
    where
        F: Filter<Extract = (R,), Error = Infallible> + Clone + Send + Sync + 'static,
        R: Reply,
    {
        Self::counted_by(Traffic::new(paths).unwrap(), service, tree, auth, change).await
    }

    async fn counted_by<F, R>(
        traffic: Traffic,
        service: S,
        tree: F,
        auth: AuthConfig,
        change: impl FnOnce(&mut Config),
    ) -> Self
    where
        F: Filter<Extract = (R,), Error = Infallible> + Clone + Send + Sync + 'static,
        R: Reply,
    {
        let args = ["highwater", "--host=127.0.0.1", "--kafka-brokers=kafka:9092"].map(Into::into);
        let mut config = config::parse(args, &Default::default(), "").unwrap().config.http;
        config.auth = auth;
        change(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (traffic, shutdown) = (Arc::new(traffic), Shutdown::new());
        let (counted, stop) = (Arc::clone(&traffic), shutdown.clone());
        tokio::spawn(async move {
            http::serve(tree, listener.into(), &config, counted, &stop).await;
        });
        Self { service: Arc::new(service), address, traffic, shutdown }
    }

    async fn ask(&self, request: Request) -> Response {
        ask(self.address, None, &request, PATIENCE).await.unwrap()
    }

    async fn get(&self, path: &str, token: &str) -> Response {
        self.ask(with_token(Request::get(path), token)).await
    }

    /// The value of that figure.
    fn counted(&self, figure: &str) -> Option<u64> {
        let counts = TextEncoder::new().encode_to_string(&self.traffic.families()).unwrap();
        let line = counts.lines().find_map(|line| line.strip_prefix(figure)?.strip_prefix(' '))?;
        Some(line.parse().unwrap())
    }
}

impl<S> Drop for Guarded<S> {
    fn drop(&mut self) {
        self.shutdown.request();
    }
}

/// The request with that token; as it is, where there is none.
fn with_token(request: Request, token: &str) -> Request {
    match token {
        "" => request,
        token => request.with("authorization", format!("Bearer {token}")),
    }
}

/// The problem of an answer of that status, and its challenge.
fn refused(answer: &Response, status: u16) -> (Value, String) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let problem = answer.json();
    assert_eq!(problem["status"], status);
    (problem, answer.header("www-authenticate").unwrap_or_default().to_owned())
}
