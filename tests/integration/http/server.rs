//! A server of a few trivial routes.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use highwater_web::{
    auth::{AuthConfig, Need},
    http::{self, AccessLog, AllowedHosts, Config, Listeners, Paths, Problem, Traffic},
    shutdown::Shutdown,
};
use tokio::{net::TcpListener, task::JoinHandle};
use warp::{Filter, Reply, reply::Response};

use super::client::Client;

pub(super) fn config() -> Config {
    Config {
        host: [127, 0, 0, 1].into(),
        port: 0,
        max_body_bytes: 1024,
        max_depth: 16,
        header_timeout: Duration::from_secs(10),
        body_timeout: Duration::from_secs(20),
        request_timeout: Duration::from_secs(5),
        https: None,
        ops_port: None,
        metrics_port: None,
        auth: AuthConfig::default(),
        max_connections: 100,
        max_connections_per_address: None,
        max_bytes: None,
        hosts: AllowedHosts::Any,
        cors: None,
        trusted_origins: Vec::new(),
        trusted_proxies: Vec::new(),
        access_log: AccessLog::Off,
        tracer: None,
        stop_timeout: Duration::from_secs(60),
    }
}

/// The needs of the routes, where clients are authenticated.
static PATHS: Paths = Paths(&[&[("/", "GET, HEAD", Need::Events), ("/echo", "POST", Need::Events)]]);

/// A server that runs until it is told to stop.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) shutdown: Shutdown,
    pub(super) running: JoinHandle<()>,
}

impl Server {
    pub(super) async fn start(config: Config) -> Self {
        Self::serve(config.clone(), routes(&config)).await
    }

    pub(super) async fn serve<F>(config: Config, filter: F) -> Self
    where
        F: Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static,
    {
        let listener = TcpListener::bind((config.host, config.port)).await.unwrap();
        Self::on(listener, config, filter).await
    }

    pub(super) async fn on<F>(listener: TcpListener, config: Config, filter: F) -> Self
    where
        F: Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static,
    {
        Self::at(listener.into(), config, filter).await
    }

    pub(super) async fn at<F>(listeners: Listeners, config: Config, filter: F) -> Self
    where
        F: Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static,
    {
        Self::until(Shutdown::new(), listeners, config, filter).await
    }

    pub(super) async fn until<F>(shutdown: Shutdown, listeners: Listeners, config: Config, filter: F) -> Self
    where
        F: Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static,
    {
        let address = listeners.clients.local_addr().unwrap();
        let stop = shutdown.clone();
        let running = tokio::spawn(async move {
            let traffic = Arc::new(Traffic::new(&PATHS).unwrap());
            http::serve(filter, listeners, &config, traffic, &stop).await;
        });
        Self { address, shutdown, running }
    }

    pub(super) async fn connect(&self) -> Client {
        Client::connect(self.address).await
    }
}

/// `/` answers at once, `/echo` what it is sent, `/never` not at all; `/patient` and `/panic` as they say;
/// `/read-only` refuses each method.
fn routes(
    config: &Config,
) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static {
    let root = warp::path::end().map(|| "here".into_response());
    let echo =
        warp::path!("echo").and(http::json_body(config.body_limits())).map(|body: Result<Bytes, Problem>| {
            match body {
                Ok(body) => Response::new(body.into()),
                Err(problem) => problem.into_response(),
            }
        });
    let never = warp::path!("never").then(std::future::pending::<Response>);
    let patient = warp::path!("patient" / u64).then(|seconds| async move {
        http::extend_deadline(Duration::from_secs(seconds));
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        "at last".into_response()
    });
    let panics = warp::path!("panic").map(|| -> Response { panic!("as asked") });
    let panics_later = warp::path!("panic" / "later").then(|| async {
        tokio::task::yield_now().await;
        panic!("as asked, later")
    });
    let unknown = warp::path::full().and(warp::method()).map(
        |path: warp::path::FullPath, method: warp::http::Method| {
            let allow = (path.as_str() == "/read-only").then_some("GET, HEAD, OPTIONS");
            http::refuse(&method, path.as_str(), allow)
        },
    );
    root.or(echo)
        .unify()
        .or(never)
        .unify()
        .or(patient)
        .unify()
        .or(panics)
        .unify()
        .or(panics_later)
        .unify()
        .or(unknown)
        .unify()
}
