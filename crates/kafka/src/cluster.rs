//! Finds the brokers of a cluster, and connects to them.
//!
//! A caller that needs any broker gets a connection to one that answers: to one that the cluster named last, or else
//! to a bootstrap address (KIP-899). The broker is asked at once for the cluster's brokers, so that the list is as new
//! as the last connection.

mod addresses;
mod outage;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::{BoxFuture, FutureExt};
use kafka_protocol::messages::MetadataRequest;

use self::{addresses::Addresses, outage::Outage};
use super::{
    ClusterConfig, ConfigError, Interceptor,
    breaker::Breakers,
    rskafka_client::SharedClient,
    security::{AuthBackoff, Sasl, Session},
    staggered::first_success,
    wire::{Connection, METADATA_VERSIONS, WireError},
};

/// A Kafka cluster, as one process sees it. Topics, producers and consumers share it.
#[derive(Debug)]
pub struct Cluster {
    config: ClusterConfig,
    addresses: Addresses,
    outage: Outage,
    rskafka: SharedClient,
    /// The session of the last connection of our own, where sessions have an end.
    session: Mutex<Option<Session>>,
    breakers: Breakers,
    auth_backoff: AuthBackoff,
    /// Whether it was logged that retries can write twice.
    warned_of_copies: AtomicBool,
}

impl Cluster {
    /// The cluster of that configuration. Does not connect yet.
    ///
    /// # Errors
    ///
    /// There is no bootstrap address.
    pub fn new(config: ClusterConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self {
            addresses: Addresses::new(config.brokers.clone()),
            outage: Outage::new(),
            config,
            rskafka: SharedClient::default(),
            session: Mutex::default(),
            breakers: Breakers::default(),
            auth_backoff: AuthBackoff::default(),
            warned_of_copies: AtomicBool::new(false),
        })
    }

    /// [`ClusterConfig::request_timeout`].
    pub fn request_timeout(&self) -> Duration {
        self.config.request_timeout
    }

    /// [`ClusterConfig::interceptor`].
    pub(crate) fn interceptor(&self) -> Option<&Arc<dyn Interceptor>> {
        self.config.interceptor.as_ref()
    }

    pub(crate) fn config(&self) -> &ClusterConfig {
        &self.config
    }

    /// The circuit breakers of the brokers, which all producers share.
    pub(crate) fn breakers(&self) -> &Breakers {
        &self.breakers
    }

    pub(crate) fn rskafka(&self) -> &SharedClient {
        &self.rskafka
    }

    /// Whether to log that retries can write twice: true for the first call only.
    pub(crate) fn warns_of_copies(&self) -> bool {
        !self.warned_of_copies.swap(true, Ordering::Relaxed)
    }

    /// The session length assumed for a new rskafka connection: that of our last connection, or the token's validity, if that
    /// is shorter. rskafka does not tell the length that the broker grants.
    pub(crate) fn session_from_now(&self) -> Option<Session> {
        let session = *self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let token = self.config.security.sasl.as_ref().and_then(Sasl::token_left);
        session.map(|session| session.again().within(token))
    }

    /// Connects to `host:port`, unless a handshake with it failed a moment ago.
    async fn open(&self, address: &str) -> Result<Connection, WireError> {
        self.auth_backoff.check(address)?;
        self.addresses.tried(address, false);
        let opened = Connection::open(address, &self.config).await;
        match &opened {
            Ok(connection) => {
                *self.session.lock().unwrap_or_else(PoisonError::into_inner) = connection.session();
                self.addresses.tried(address, true);
                self.auth_backoff.tried(address, None);
            }
            Err(WireError::Handshake(error)) => self.auth_backoff.tried(address, Some(error)),
            Err(_) => {}
        }
        opened
    }

    /// Connects to a broker that answers: one that the cluster named, or else a bootstrap address.
    ///
    /// # Errors
    ///
    /// None answers. The error is that of one address, always of the same, so that it is logged once.
    pub fn connect(&self) -> BoxFuture<'_, Result<Connection, WireError>> {
        Box::pin(async {
            let mut failures = match self.connect_to_any_of(self.addresses.named(), true).await {
                Ok(connection) => return Ok(connection),
                Err(failures) => failures,
            };
            let mut others = self.addresses.bootstrap();
            // Not an address again that has just failed. One of another cluster is ours if it is a bootstrap address.
            others.retain(|address| {
                let was_tried =
                    |(tried, error): &(String, WireError)| tried == address && !error.is_other_cluster();
                !failures.iter().any(was_tried)
            });
            match self.connect_to_any_of(others, false).await {
                Ok(connection) => return Ok(connection),
                Err(others) => failures.extend(others),
            }
            self.outage.observe(failures.iter().all(|(_, error)| error.is_refused_or_unresolved()));
            let first = failures
                .into_iter()
                .min_by_key(|(address, _)| (!self.addresses.is_bootstrap(address), address.clone()));
            Err(first.map_or(WireError::NO_LEADER, |(_, error)| error))
        })
    }

    /// Connects to the first of these that answers and is of this cluster.
    async fn connect_to_any_of(
        &self,
        addresses: Vec<String>,
        were_named: bool,
    ) -> Result<Connection, Vec<(String, WireError)>> {
        let attempt = async |address: String| match self.connect_and_learn(&address, were_named).await {
            Ok(connection) => Ok(connection),
            Err(error) => Err((address, error)),
        };
        let connection =
            first_success(addresses.into_iter().map(|address| attempt(address).boxed()).collect()).await?;
        self.outage.observe(false);
        Ok(connection)
    }

    /// Connects, and asks the broker for the brokers of its cluster.
    async fn connect_and_learn(&self, address: &str, was_named: bool) -> Result<Connection, WireError> {
        let mut connection = self.open(address).await?;
        let request = MetadataRequest::default().with_topics(Some(Vec::new()));
        let response =
            connection.call_within(&request, METADATA_VERSIONS, self.config.connect_timeout).await?;
        self.addresses.learn(address, was_named, &response)?;
        Ok(connection)
    }

    /// Whether no broker can be reached, and none could for a second: records are refused at once.
    pub(crate) fn is_unreachable(&self) -> bool {
        self.outage.is_confirmed()
    }

    /// Waits until [`Cluster::is_unreachable`].
    pub(crate) async fn until_unreachable(&self) {
        self.outage.until_confirmed().await;
    }

    /// Connects to one broker.
    pub(crate) fn connect_to(&self, host: &str, port: i32) -> BoxFuture<'_, Result<Connection, WireError>> {
        let address = Self::address(host, port);
        Box::pin(async move {
            self.open(&address).await.map_err(|error| match error {
                WireError::Connect { address, error } if !self.addresses.is_bootstrap(&address) => {
                    WireError::Advertised { address, error }
                }
                error => error,
            })
        })
    }

    /// `host:port`, with an IPv6 address in brackets.
    pub(crate) fn address(host: &str, port: i32) -> String {
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}
