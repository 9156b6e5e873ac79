//! The description of the group, by its coordinator: asked for once a second at most, however many callers there are,
//! on a connection of its own, so that no heartbeat and no commit waits for it.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::time::{Instant, timeout};

use super::{Coordinator, GroupMember, members::GroupType};
use crate::{Cluster, StatusRegistry, TransientError};

/// The time-out of the request, with the lookup of the coordinator.
const TIMEOUT: Duration = Duration::from_secs(1);
/// The time for which an answer or an error serves all callers. It is not shorter than [`TIMEOUT`], so that there is one
/// request at a time.
const MAX_AGE: Duration = Duration::from_secs(1);

/// The members, or the error.
type Members = Result<Arc<[GroupMember]>, TransientError>;
type Ask = dyn Fn() -> BoxFuture<'static, Result<Vec<GroupMember>, TransientError>> + Send + Sync;

/// The members of a group, asked for on demand.
pub struct GroupDescription {
    ask: Box<Ask>,
    /// The last request and its time.
    last: Mutex<Option<(Instant, Shared<BoxFuture<'static, Members>>)>>,
}

impl GroupDescription {
    /// The description of that group. The registry's status tells the protocol of its members.
    pub fn new(cluster: Arc<Cluster>, group_id: &str, registry: &StatusRegistry) -> Self {
        let coordinator = Arc::new(Coordinator::new(cluster, group_id.to_owned()));
        let status = registry.watch();
        Self::from_fn(move || {
            let coordinator = Arc::clone(&coordinator);
            let guess = match status.borrow().group.protocol {
                "consumer" => GroupType::Consumer,
                _ => GroupType::Classic,
            };
            async move { coordinator.members(guess).await.map_err(|error| TransientError::new(error.explained())) }.boxed()
        })
    }

    /// A description that `ask` answers in place of a coordinator.
    pub fn from_fn(
        ask: impl Fn() -> BoxFuture<'static, Result<Vec<GroupMember>, TransientError>> + Send + Sync + 'static,
    ) -> Self {
        Self { ask: Box::new(ask), last: Mutex::default() }
    }

    /// All members, as the coordinator knew them at most a second ago.
    ///
    /// # Errors
    ///
    /// The coordinator refused, or did not answer within a second.
    pub async fn members(&self) -> Members {
        self.latest().await
    }

    fn latest(&self) -> Shared<BoxFuture<'static, Members>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, asked)) = &*last
            && at.elapsed() < MAX_AGE
        {
            return asked.clone();
        }
        // A task of its own: it goes on when its first caller is gone, and others wait for it.
        let asking = tokio::spawn(timeout(TIMEOUT, (self.ask)()));
        let asked = async move {
            match asking.await {
                Ok(Ok(Ok(members))) => Ok(members.into()),
                Ok(Ok(Err(error))) => Err(error),
                Ok(Err(_)) => Err(TransientError::new(format!(
                    "the group's coordinator did not answer within {TIMEOUT:?}"
                ))),
                Err(panicked) => Err(TransientError::new(panicked)),
            }
        };
        let asked = asked.boxed().shared();
        *last = Some((Instant::now(), asked.clone()));
        asked
    }
}

impl fmt::Debug for GroupDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupDescription").finish_non_exhaustive()
    }
}
