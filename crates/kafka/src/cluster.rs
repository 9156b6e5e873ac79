//! The way to the cluster: rskafka clients that heal, and connections of our own.
//!
//! Whoever needs any broker gets a connection to one that answers: of those that the cluster named last, else of the
//! settings' (KIP-899). It is asked at once who the brokers are, so that this is never older than the last look.
//!
//! rskafka 0.6 has no time-out, keeps a hung broker for ever, can keep a stale leader, and never goes back
//! to the bootstrap addresses. So its own retries are off, every call has a deadline here, and after any
//! error the whole `Client` is dropped and built anew from the address of a broker that was just found.

mod addresses;
mod outage;

use std::{
    error::Error as StdError,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::{BoxFuture, FutureExt};
use kafka_protocol::messages::MetadataRequest;
use rskafka::{
    BackoffConfig,
    client::{
        Client, ClientBuilder,
        error::{Error as RskafkaError, ProtocolError, RequestError},
        partition::{PartitionClient, UnknownTopicHandling},
    },
};
use thiserror::Error;
use tokio::time::timeout;

use self::{addresses::Addresses, outage::Outage};
use super::{
    ClusterConfig, nodelay,
    producer::Breakers,
    security::{AuthBackoff, HandshakeError},
    staggered::first_success,
    topic,
    wire::{Connection, WireError},
};

/// A cluster: where it was to be found at first, and where it is.
#[derive(Debug)]
pub struct Cluster {
    config: ClusterConfig,
    addresses: Addresses,
    outage: Outage,
    client: Mutex<Option<Arc<Client>>>,
    breakers: Breakers,
    auth_backoff: AuthBackoff,
}

/// A call through rskafka that did not succeed.
#[derive(Debug, Error)]
pub enum CallError {
    /// No answer within the deadline.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The broker and this client do not trust each other.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// There is no way to the broker.
    #[error("{}", .0.explained())]
    Unreachable(WireError),
    /// rskafka's word.
    #[error("{}", innermost(.0))]
    Failed(RskafkaError),
}

impl CallError {
    /// Kafka's error, where it is one.
    pub(crate) fn protocol(&self) -> Option<ProtocolError> {
        match self {
            Self::TimedOut(_) | Self::Handshake(_) | Self::Unreachable(_) => None,
            Self::Failed(error) => match innermost(error) {
                RskafkaError::ServerError { protocol_error, .. } => Some(*protocol_error),
                _ => None,
            },
        }
    }

    /// Whether bytes arrived that rskafka cannot make sense of: no new connection mends that.
    pub(crate) fn is_unreadable(&self) -> bool {
        let Self::Failed(error) = self else { return false };
        match innermost(error) {
            RskafkaError::Request(
                RequestError::ReadError(_)
                | RequestError::ReadVersionedError(_)
                | RequestError::TooMuchData { .. },
            )
            | RskafkaError::InvalidResponse(_) => true,
            RskafkaError::ServerError { protocol_error, .. } => {
                *protocol_error == ProtocolError::UnsupportedCompressionType
            }
            _ => false,
        }
    }
}

/// The error that rskafka's retry loop wrapped.
fn innermost(error: &RskafkaError) -> &RskafkaError {
    let mut found = error;
    let mut source = StdError::source(error);
    while let Some(error) = source {
        if let Some(inner) = error.downcast_ref::<RskafkaError>() {
            found = inner;
        }
        source = error.source();
    }
    found
}

impl Cluster {
    /// Makes no connection yet.
    pub fn new(config: ClusterConfig) -> Self {
        Self {
            addresses: Addresses::new(config.brokers.clone()),
            outage: Outage::new(),
            config,
            client: Mutex::default(),
            breakers: Breakers::default(),
            auth_backoff: AuthBackoff::default(),
        }
    }

    /// How long any one call may take.
    pub fn request_timeout(&self) -> Duration {
        self.config.request_timeout
    }

    /// The breakers of those who write to it.
    pub(crate) fn breakers(&self) -> &Breakers {
        &self.breakers
    }

    /// rskafka's client of one partition, on a connection of its own to the leader.
    pub(crate) async fn partition(&self, topic: &str, partition: i32) -> Result<PartitionClient, CallError> {
        let client = self.client().await?;
        let opening = client.partition_client(topic, partition, UnknownTopicHandling::Error);
        let opened = within(self.config.request_timeout, opening).await;
        match opened {
            Ok(opened) => {
                nodelay::set_on_all_sockets();
                Ok(opened)
            }
            Err(error) => {
                self.discard();
                Err(self.looked_into(error, topic, partition).await)
            }
        }
    }

    /// rskafka does not tell which broker could not be reached: where that is the trouble, a connection of our
    /// own finds out.
    async fn looked_into(&self, error: CallError, topic: &str, partition: i32) -> CallError {
        if error.protocol().is_some() {
            return error;
        }
        let look = async {
            let mut any = self.connect().await?;
            let (host, port) = topic::leader(&mut any, topic, partition).await?;
            self.connect_to(&host, port).await.map(drop)
        };
        match timeout(self.config.connect_timeout * 2, look).await {
            Ok(Err(found @ (WireError::Connect { .. } | WireError::Advertised { .. }))) => {
                CallError::Unreachable(found)
            }
            _ => error,
        }
    }

    /// Forgets the shared client: the next partition client comes of a new one.
    pub(crate) fn discard(&self) {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    async fn client(&self) -> Result<Arc<Client>, CallError> {
        if let Some(client) = self.client.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            return Ok(Arc::clone(client));
        }
        // rskafka would not tell which address it cannot reach, nor error from any other failure.
        let alive = self.connect().await.map_err(|error| match error {
            WireError::Handshake(error) => CallError::Handshake(error),
            error => CallError::Unreachable(error),
        })?;
        let builder = ClientBuilder::new(vec![alive.address().to_owned()])
            .client_id(self.config.client_id.as_str())
            .backoff_config(one_attempt());
        let building = self.config.security.protect(builder).build();
        let client = Arc::new(within(self.config.connect_timeout, building).await?);
        nodelay::set_on_all_sockets();
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&client));
        Ok(client)
    }

    /// A connection of our own to that `host:port`, unless it was refused a moment ago.
    async fn open(&self, address: &str) -> Result<Connection, WireError> {
        self.auth_backoff.check(address)?;
        self.addresses.tried(address, false);
        let opened = Connection::open(address, &self.config).await;
        match &opened {
            Ok(_) => {
                self.addresses.tried(address, true);
                self.auth_backoff.tried(address, None);
            }
            Err(WireError::Handshake(error)) => self.auth_backoff.tried(address, Some(error)),
            Err(_) => {}
        }
        opened
    }

    /// A connection of our own to a broker that answers: to one that the cluster named, or else to one of the
    /// settings.
    pub fn connect(&self) -> BoxFuture<'_, Result<Connection, WireError>> {
        Box::pin(async {
            let mut failures = match self.connect_to_any_of(self.addresses.named(), true).await {
                Ok(connection) => return Ok(connection),
                Err(failures) => failures,
            };
            let mut others = self.addresses.bootstrap();
            // Not those again that have just failed; where another cluster is found, the settings call it ours.
            others.retain(|address| {
                let was_tried =
                    |(tried, error): &(String, WireError)| tried == address && !error.is_of_another();
                !failures.iter().any(was_tried)
            });
            match self.connect_to_any_of(others, false).await {
                Ok(connection) => return Ok(connection),
                Err(others) => failures.extend(others),
            }
            self.outage.observe(failures.iter().all(|(_, error)| error.is_nobody_there()));
            // Always of the same address, whichever was tried first: else it would be news each time.
            let told = failures
                .into_iter()
                .min_by_key(|(address, _)| (!self.addresses.is_bootstrap(address), address.clone()));
            Err(told.map_or(topic::NO_LEADER, |(_, error)| error))
        })
    }

    /// A connection to the first of these that answers, and says of itself that it is of this cluster.
    async fn connect_to_any_of(
        &self,
        addresses: Vec<String>,
        were_named: bool,
    ) -> Result<Connection, Vec<(String, WireError)>> {
        let attempt = async |address: String| match self.ask_of_all(&address, were_named).await {
            Ok(connection) => Ok(connection),
            Err(error) => Err((address, error)),
        };
        let connection =
            first_success(addresses.into_iter().map(|address| attempt(address).boxed()).collect()).await?;
        self.outage.observe(false);
        Ok(connection)
    }

    /// Asks the broker at that address who else is of its cluster.
    async fn ask_of_all(&self, address: &str, was_named: bool) -> Result<Connection, WireError> {
        let mut connection = self.open(address).await?;
        let about = MetadataRequest::default().with_topics(Some(Vec::new()));
        let said = connection.call_within(&about, topic::NAMED, self.config.connect_timeout).await?;
        self.addresses.learn(address, was_named, &said)?;
        Ok(connection)
    }

    /// Whether there is no broker anywhere, and has been none for a moment: what is published is not going to be
    /// written soon.
    pub(crate) fn is_unreachable(&self) -> bool {
        self.outage.is_confirmed()
    }

    /// Waits until [`Cluster::is_unreachable`].
    pub(crate) async fn until_unreachable(&self) {
        self.outage.until_confirmed().await;
    }

    /// A connection of our own to one broker.
    pub(crate) fn connect_to(&self, host: &str, port: i32) -> BoxFuture<'_, Result<Connection, WireError>> {
        let address = Self::address(host, port);
        Box::pin(async move {
            self.open(&address).await.map_err(|error| match error {
                WireError::Connect { address, source } if !self.addresses.is_bootstrap(&address) => {
                    WireError::Advertised { address, source }
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

/// rskafka's settings for no retry at all: a deadline that any wait exceeds. (A zero first wait would panic.)
fn one_attempt() -> BackoffConfig {
    BackoffConfig {
        init_backoff: Duration::from_millis(1),
        max_backoff: Duration::from_millis(2),
        base: 2.0,
        deadline: Some(Duration::ZERO),
    }
}

/// A call with a deadline.
pub(crate) async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = Result<T, RskafkaError>>,
) -> Result<T, CallError> {
    match timeout(deadline, call).await {
        Err(_) => Err(CallError::TimedOut(deadline)),
        Ok(Err(error)) => Err(CallError::Failed(error)),
        Ok(Ok(answer)) => Ok(answer),
    }
}
