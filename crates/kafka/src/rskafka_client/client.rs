//! rskafka's client, which is built anew after each error.

use std::{
    future::Future,
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

use super::{CallError, credentials, nodelay};
use crate::{
    Cluster, topic,
    wire::{Connection, WireError},
};

/// The client that all partition clients of a [`Cluster`] come from; `None` until it is needed, and after an error.
#[derive(Debug, Default)]
pub(crate) struct SharedClient(Mutex<Option<Arc<Client>>>);

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
    ) -> Result<PartitionClient, CallError> {
        let client = self.get(cluster).await?;
        let opening = client.partition_client(topic, partition, UnknownTopicHandling::Error);
        match within(cluster.config().request_timeout, opening).await {
            Ok(opened) => {
                nodelay::set_on_all_sockets();
                Ok(opened)
            }
            Err(error) => {
                self.discard();
                Err(diagnose(cluster, error, topic, partition).await)
            }
        }
    }

    async fn get(&self, cluster: &Cluster) -> Result<Arc<Client>, CallError> {
        if let Some(client) = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            return Ok(Arc::clone(client));
        }
        // rskafka's error would not tell which address cannot be reached, nor a failed handshake from the rest.
        let alive: Connection = cluster.connect().await.map_err(|error| match error {
            WireError::Handshake(error) => CallError::Handshake(error),
            error => CallError::Unreachable(error),
        })?;
        let config = cluster.config();
        let builder = ClientBuilder::new(vec![alive.address().to_owned()])
            .client_id(config.client_id.as_str())
            .backoff_config(one_attempt());
        let building = credentials::secure(builder, &config.security).build();
        let client = Arc::new(within(config.connect_timeout, building).await?);
        nodelay::set_on_all_sockets();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&client));
        Ok(client)
    }
}

/// Finds out by a connection of our own which broker cannot be reached, which rskafka's error does not tell.
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

/// Gives a call of rskafka's a deadline, which it has none of.
pub(super) async fn within<T>(
    deadline: Duration,
    call: impl Future<Output = Result<T, RskafkaError>>,
) -> Result<T, CallError> {
    match timeout(deadline, call).await {
        Err(_) => Err(CallError::TimedOut(deadline)),
        Ok(result) => result.map_err(CallError::failed),
    }
}
