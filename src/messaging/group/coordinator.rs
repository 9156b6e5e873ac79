//! The broker that keeps the group, and the way to it.

use std::{
    ops::RangeInclusive,
    sync::{Arc, PoisonError},
    time::Duration,
};

use kafka_protocol::{
    ResponseError,
    messages::{FindCoordinatorRequest, GroupId},
    protocol::{Request, StrBytes},
};
use tokio::{sync::Mutex, time::timeout};

use crate::messaging::{
    Cluster,
    wire::{Connection, WireError},
};

/// The group's coordinator: found when it is needed, and found anew when it moved or does not answer.
#[derive(Debug)]
pub(crate) struct Coordinator {
    cluster: Arc<Cluster>,
    group_id: String,
    connection: Mutex<Option<Connection>>,
    /// Of the coordinator that was found last.
    address: std::sync::Mutex<Option<String>>,
}

impl Coordinator {
    pub(crate) fn new(cluster: Arc<Cluster>, group_id: String) -> Self {
        Self { cluster, group_id, connection: Mutex::new(None), address: Default::default() }
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The group's id, as messages carry it.
    pub(super) fn group(&self) -> GroupId {
        GroupId(StrBytes::from_string(self.group_id.clone()))
    }

    /// Asks the coordinator, at most so long. Its own errors are in the answer: whoever finds one there
    /// that means a move calls [`Coordinator::moved`].
    pub(super) async fn call<R: Request>(
        &self,
        request: &R,
        known: RangeInclusive<i16>,
        within: Duration,
    ) -> Result<R::Response, WireError> {
        let calling = async {
            let mut slot = self.connection.lock().await;
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

    /// As [`Coordinator::call`], for a request that the coordinator holds until the group has gathered. One
    /// that hangs holds it, too: so meanwhile the cluster is asked whether the coordinator is another.
    pub(super) async fn call_held<R: Request>(
        &self,
        request: &R,
        known: RangeInclusive<i16>,
        within: Duration,
    ) -> Result<R::Response, WireError> {
        tokio::select! {
            answer = self.call(request, known, within) => answer,
            moved = self.moved() => Err(moved),
        }
    }

    /// Resolves when the cluster names another coordinator than the one found last.
    async fn moved(&self) -> WireError {
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
            self.connection.lock().await.take();
        }
        checked
    }

    async fn find(&self) -> Result<Connection, WireError> {
        let (host, port) = self.look_up().await?;
        let connection = self.cluster.connect_to(&host, port).await?;
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection.address().to_owned());
        Ok(connection)
    }

    /// Where the cluster says that the coordinator is.
    async fn look_up(&self) -> Result<(String, i32), WireError> {
        let request = FindCoordinatorRequest::default().with_key(self.group().0);
        let mut any = self.cluster.connect().await?;
        let answer = any.call(&request, 0..=3).await?;
        WireError::check("FindCoordinator", answer.error_code)?;
        Ok((answer.host.as_str().to_owned(), answer.port))
    }
}
