//! The group's coordinator: the broker that keeps the group, and the connections to it.

use std::{
    ops::RangeInclusive,
    sync::{Arc, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use kafka_protocol::{
    ResponseError,
    messages::{FindCoordinatorRequest, GroupId},
    protocol::{Request, StrBytes},
};
use tokio::{sync::Mutex, time::timeout};

use crate::{
    Cluster,
    wire::{Connection, WireError},
};

/// A connection that is made when it is needed.
type ConnectionSlot = Mutex<Option<Connection>>;

/// The group's coordinator: looked up when it is needed, and again when it has moved or does not answer.
#[derive(Debug)]
pub(crate) struct Coordinator {
    cluster: Arc<Cluster>,
    group_id: String,
    /// The connection for requests that are answered at once: heartbeats and offsets.
    prompt: ConnectionSlot,
    /// The connection for JoinGroup and SyncGroup, which are answered when all members have sent theirs. A broker answers a
    /// connection's requests in order, and heartbeats must not wait.
    held: ConnectionSlot,
    /// The address of `held`'s connection.
    address: std::sync::Mutex<Option<String>>,
    /// The time-out of requests that are answered at once.
    request_timeout: Duration,
}

impl Coordinator {
    pub(crate) fn new(cluster: Arc<Cluster>, group_id: String) -> Self {
        Self {
            request_timeout: cluster.request_timeout(),
            cluster,
            group_id,
            prompt: ConnectionSlot::default(),
            held: ConnectionSlot::default(),
            address: std::sync::Mutex::default(),
        }
    }

    /// Lowers the time-out for a member with such a session: after a commit without an answer there is time for a
    /// heartbeat, and for one more to another coordinator.
    #[must_use]
    pub(crate) fn with_session_timeout(self, session_timeout: Duration) -> Self {
        Self { request_timeout: self.request_timeout.min(session_timeout / 3), ..self }
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The group's id, as messages carry it.
    pub(super) fn group(&self) -> GroupId {
        GroupId(StrBytes::from_string(self.group_id.clone()))
    }

    /// Connects `held`, unless it is connected.
    pub(super) async fn connect(&self) -> Result<(), WireError> {
        let mut slot = self.held.lock().await;
        if slot.as_ref().is_none_or(Connection::is_unusable) {
            let found = self.find().await?;
            *self.address.lock().unwrap_or_else(PoisonError::into_inner) = Some(found.address().to_owned());
            *slot = Some(found);
        }
        Ok(())
    }

    /// Sends a request that is answered at once, and waits `within` at most. An error code in the answer goes to
    /// [`Coordinator::check`].
    pub(super) async fn call<R: Request>(
        &self,
        request: &R,
        known: RangeInclusive<i16>,
        within: Duration,
    ) -> Result<R::Response, WireError> {
        self.call_on(&self.prompt, request, known, within.min(self.request_timeout)).await
    }

    /// Sends JoinGroup or SyncGroup, which the coordinator answers when all members have sent theirs. A hung coordinator
    /// does not answer either, so the cluster is asked meanwhile whether the coordinator is another broker now.
    pub(super) async fn call_blocking<R: Request>(
        &self,
        request: &R,
        known: RangeInclusive<i16>,
        within: Duration,
    ) -> Result<R::Response, WireError> {
        self.connect().await?;
        tokio::select! {
            answer = self.call_on(&self.held, request, known, within) => answer,
            moved = self.replaced() => Err(moved),
        }
    }

    async fn call_on<R: Request>(
        &self,
        slot: &ConnectionSlot,
        request: &R,
        known: RangeInclusive<i16>,
        within: Duration,
    ) -> Result<R::Response, WireError> {
        let calling = async {
            let mut slot = slot.lock().await;
            let mut connection = match slot.take().filter(|connection| !connection.is_unusable()) {
                Some(connection) => connection,
                None => self.find().await?,
            };
            // If this call is dropped or fails, so is the connection, and the next call looks the coordinator up.
            let answer = connection.call_within(request, known, within).await?;
            *slot = Some(connection);
            Ok(answer)
        };
        // The time for the calls before this one and for the lookup counts too: a heartbeat must not be late.
        timeout(within, calling)
            .await
            .unwrap_or(Err(WireError::TimedOut { what: "the coordinator", after: within }))
    }

    /// Resolves when the cluster names another coordinator than the one of the blocked call.
    async fn replaced(&self) -> WireError {
        loop {
            tokio::time::sleep(self.cluster.request_timeout()).await;
            let Ok((host, port)) = self.look_up().await else { continue };
            let now = Cluster::address(&host, port);
            let before = self.address.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if before.is_some_and(|before| before != now) {
                return WireError::Refused { what: "FindCoordinator", error: ResponseError::NotCoordinator };
            }
        }
    }

    /// Checks an answer's error code. After one that says the coordinator is elsewhere, the next call looks it up.
    pub(super) async fn check(&self, what: &'static str, code: i16) -> Result<(), WireError> {
        let checked = WireError::check(what, code);
        if let Err(error) = &checked
            && matches!(
                error.code(),
                Some(ResponseError::NotCoordinator | ResponseError::CoordinatorNotAvailable)
            )
        {
            self.prompt.lock().await.take();
            // The answer to a blocked call on it has the same error.
            if let Ok(mut held) = self.held.try_lock() {
                held.take();
            }
        }
        checked
    }

    async fn find(&self) -> Result<Connection, WireError> {
        let (host, port) = self.look_up().await?;
        self.cluster.connect_to(&host, port).await
    }

    /// Looks the coordinator's address up. Boxed, as it is part of every call.
    fn look_up(&self) -> BoxFuture<'_, Result<(String, i32), WireError>> {
        let request = FindCoordinatorRequest::default().with_key(self.group().0);
        Box::pin(async move {
            let mut any = self.cluster.connect().await?;
            let answer = any.call(&request, 0..=3).await?;
            WireError::check("FindCoordinator", answer.error_code)?;
            Ok((answer.host.as_str().to_owned(), answer.port))
        })
    }
}
