//! The broker that keeps the group, and the way to it.

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

/// The group's coordinator: found when it is needed, and found anew when it moved or does not answer.
#[derive(Debug)]
pub(crate) struct Coordinator {
    cluster: Arc<Cluster>,
    group_id: String,
    /// For what is answered at once: heartbeats and offsets.
    prompt: ConnectionSlot,
    /// For what the coordinator holds until the group has gathered: a broker answers a connection's requests
    /// in their order, and heartbeats must not wait.
    held: ConnectionSlot,
    /// Of the coordinator that may hold a call.
    address: std::sync::Mutex<Option<String>>,
    /// How long what is answered at once may take.
    patience: Duration,
}

impl Coordinator {
    pub(crate) fn new(cluster: Arc<Cluster>, group_id: String) -> Self {
        Self {
            patience: cluster.request_timeout(),
            cluster,
            group_id,
            prompt: ConnectionSlot::default(),
            held: ConnectionSlot::default(),
            address: std::sync::Mutex::default(),
        }
    }

    /// For a member with such a session: a commit that is not answered is given up while there is time for a
    /// heartbeat behind it, and for one more to another coordinator.
    #[must_use]
    pub(crate) fn with_session_timeout(self, session_timeout: Duration) -> Self {
        Self { patience: self.patience.min(session_timeout / 3), ..self }
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The group's id, as messages carry it.
    pub(super) fn group(&self) -> GroupId {
        GroupId(StrBytes::from_string(self.group_id.clone()))
    }

    /// Connects to it where that is still to do.
    pub(super) async fn connect(&self) -> Result<(), WireError> {
        let mut slot = self.held.lock().await;
        if slot.as_ref().is_none_or(Connection::is_unusable) {
            let found = self.find().await?;
            *self.address.lock().unwrap_or_else(PoisonError::into_inner) = Some(found.address().to_owned());
            *slot = Some(found);
        }
        Ok(())
    }

    /// Asks the coordinator, at most so long. Its own errors are in the answer: whoever finds one there
    /// hands it to [`Coordinator::check`].
    pub(super) async fn call<R: Request>(
        &self,
        request: &R,
        known: RangeInclusive<i16>,
        within: Duration,
    ) -> Result<R::Response, WireError> {
        self.call_on(&self.prompt, request, known, within.min(self.patience)).await
    }

    /// As [`Coordinator::call`], for a request that the coordinator holds until the group has gathered. One
    /// that hangs holds it, too: so meanwhile the cluster is asked whether the coordinator is another.
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
            // Should this call be abandoned or fail, the connection goes with it: the next one finds anew.
            let answer = connection.call_within(request, known, within).await?;
            *slot = Some(connection);
            Ok(answer)
        };
        // Waiting for others to be answered, and finding, count: a heartbeat must not be late for them.
        timeout(within, calling)
            .await
            .unwrap_or(Err(WireError::TimedOut { what: "the coordinator", after: within }))
    }

    /// Resolves when the cluster names another coordinator than the one that holds a call.
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

    /// `Ok` for code 0; an error that says the group is elsewhere makes the next call look for it.
    pub(super) async fn check(&self, what: &'static str, code: i16) -> Result<(), WireError> {
        let checked = WireError::check(what, code);
        if let Err(error) = &checked
            && matches!(
                error.code(),
                Some(ResponseError::NotCoordinator | ResponseError::CoordinatorNotAvailable)
            )
        {
            self.prompt.lock().await.take();
            // While a call is held there its own answer says the same.
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

    /// Where the cluster says that the coordinator is. Boxed, as it is part of every call.
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
