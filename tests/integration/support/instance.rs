//! An instance of the user or the order service, over real HTTP.

use std::ops::Deref;

use highwater::config::{self, Config};
use highwater_commerce::{orders, users};
use highwater_web::{http::Listeners, shutdown::Shutdown};

use super::{Rest, Running, TestCluster};

/// A running service. Dropping it kills it.
pub(crate) struct Instance {
    running: Running,
    rest: Rest,
}

impl Instance {
    /// A user service, ready.
    pub(crate) async fn users(cluster: &TestCluster) -> Self {
        let instance = Self::users_with(cluster, &[]);
        instance.until_ready().await;
        instance
    }

    /// A user service with these variables instead of the tests' own.
    pub(crate) fn users_with(cluster: &TestCluster, settings: &[(&str, &str)]) -> Self {
        let config = configured("users", cluster, settings);
        Self::start(|listener, stop| users::run(config.into(), listener, stop))
    }

    /// An order service, ready.
    pub(crate) async fn orders(cluster: &TestCluster) -> Self {
        let instance = Self::orders_with(cluster, &[]);
        instance.until_ready().await;
        instance
    }

    /// An order service with these variables instead of the tests' own.
    pub(crate) fn orders_with(cluster: &TestCluster, settings: &[(&str, &str)]) -> Self {
        let config = configured("orders", cluster, settings);
        Self::start(|listener, stop| orders::run(config.into(), listener, stop))
    }

    fn start<R>(service: impl FnOnce(Listeners, Shutdown) -> R + Send + 'static) -> Self
    where
        R: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let running = Running::start(service);
        let rest = Rest::at(format!("http://{}", running.address));
        Self { running, rest }
    }

    /// Stops the service as SIGTERM does, and fails after the time-out.
    pub(crate) async fn stop(self) {
        self.running.stop().await;
    }

    /// Ends the service at once, as SIGKILL does.
    pub(crate) fn kill(self) {
        drop(self.running);
    }

    /// Waits until the service ends by itself. Returns the error.
    pub(crate) async fn until_it_refuses(self) -> String {
        self.running.until_it_refuses().await
    }
}

impl Deref for Instance {
    type Target = Rest;

    fn deref(&self) -> &Rest {
        &self.rest
    }
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
    let given = settings.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let variables = own.into_iter().chain(given).map(|(name, value)| (name.to_owned(), value)).collect();
    config::parse(["highwater".into(), service.into()], &variables, "").unwrap().config
}
