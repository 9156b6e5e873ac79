//! rskafka's client, which is built anew after each error.

use std::{
    fmt,
    future::Future,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rskafka::{
    BackoffConfig,
    client::{
        Client, ClientBuilder,
        error::Error as RskafkaError,
        partition::{PartitionClient, UnknownTopicHandling},
    },
};
use tokio::time::timeout;

use super::{CallError, credentials::Snapshot, nodelay};
use crate::{
    Cluster,
    security::Session,
    topic,
    wire::{Connection, WireError},
};

/// The client that all partition clients of a [`Cluster`] come from; `None` until it is needed, and after an error.
#[derive(Default)]
pub(crate) struct SharedClient(Mutex<Option<Made>>);

/// A client, the credentials of its connections, and the time for which brokers believe those.
struct Made {
    client: Arc<Client>,
    snapshot: Snapshot,
    session: Option<Session>,
}

/// A client of one partition. rskafka does not authenticate anew, as our own connections do (KIP-368): its connection is
/// given up before the session ends.
#[derive(Debug)]
pub(super) struct Partition {
    client: PartitionClient,
    session: Option<Session>,
}

impl Partition {
    /// Whether another is to be opened in its place.
    pub(super) fn is_nearly_over(&self) -> bool {
        self.session.is_some_and(|session| session.is_nearly_over())
    }
}

impl Deref for Partition {
    type Target = PartitionClient;

    fn deref(&self) -> &PartitionClient {
        &self.client
    }
}

impl fmt::Debug for SharedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedClient(…)")
    }
}

impl SharedClient {
    /// Drops the client: the next partition client comes from a new one.
    pub(crate) fn discard(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// A client of one partition, on a connection of its own to the leader.
    pub(super) async fn partition(
        &self,
        cluster: &Cluster,
        topic: &str,
        partition: i32,
    ) -> Result<Partition, CallError> {
        let client = self.get(cluster).await?;
        let opening = client.partition_client(topic, partition, UnknownTopicHandling::Error);
        match within(cluster.config().request_timeout, opening).await {
            Ok(client) => {
                nodelay::set_on_all_sockets();
                Ok(Partition { client, session: cluster.session_from_now() })
            }
            Err(error) => {
                self.discard();
                Err(diagnose(cluster, error, topic, partition).await)
            }
        }
    }

    async fn get(&self, cluster: &Cluster) -> Result<Arc<Client>, CallError> {
        let security = &cluster.config().security;
        let snapshot = Snapshot::of(security);
        if let Some(made) = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref()
            && made.snapshot == snapshot
            && !made.session.is_some_and(|session| session.is_nearly_over())
        {
            return Ok(Arc::clone(&made.client));
        }
        // rskafka's error would not tell which address cannot be reached, nor a failed handshake from the rest.
        let alive: Connection = cluster.connect().await?;
        let config = cluster.config();
        let builder = ClientBuilder::new(vec![alive.address().to_owned()])
            .client_id(config.client_id.as_str())
            .backoff_config(one_attempt());
        let building = snapshot.secure(builder, security).build();
        let client = Arc::new(within(config.connect_timeout, building).await?);
        nodelay::set_on_all_sockets();
        let made = Made { client: Arc::clone(&client), snapshot, session: cluster.session_from_now() };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(made);
        Ok(client)
    }
}

/// Finds out by a connection of our own which broker cannot be reached, since rskafka's error does not tell.
async fn diagnose(cluster: &Cluster, error: CallError, topic: &str, partition: i32) -> CallError {
    if error.protocol().is_some() {
        return error;
    }
    let attempt = async {
        let mut any = cluster.connect().await?;
        let (host, port) = topic::leader(&mut any, topic, partition).await?;
        cluster.connect_to(&host, port).await.map(drop)
    };
    match timeout(cluster.config().connect_timeout * 2, attempt).await {
        Ok(Err(found @ (WireError::Connect { .. } | WireError::Advertised { .. }))) => {
            CallError::Unreachable(found)
        }
        _ => error,
    }
}

/// No retries: any wait exceeds the deadline. (rskafka panics on a first wait of zero.)
fn one_attempt() -> BackoffConfig {
    BackoffConfig {
        init_backoff: Duration::from_millis(1),
        max_backoff: Duration::from_millis(2),
        base: 2.0,
        deadline: Some(Duration::ZERO),
    }
}

/// Gives a call of rskafka's a deadline; rskafka has none.
pub(super) async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = Result<T, RskafkaError>>,
) -> Result<T, CallError> {
    match timeout(deadline, call).await {
        Err(_) => Err(CallError::TimedOut(deadline)),
        Ok(result) => result.map_err(CallError::failed),
    }
}
