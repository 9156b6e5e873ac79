//! What the routes of the service have in common.

use std::{fmt, sync::Arc};

use highwater_kafka::TypedProducer;
use highwater_web::{dead_letters::DlqAdmin, http::BodyLimits, operations::Operations, shutdown::Shutdown};

use super::{Config, Coverage, Run, Turns};
use crate::store::{Event, EventStore};

/// What the routes answer from.
pub struct Api {
    /// Where posted events go.
    pub events: TypedProducer<Event>,
    /// Where processed events are.
    pub store: Arc<dyn EventStore>,
    /// The service's settings.
    pub config: Config,
    /// What a posted body may cost.
    pub limits: BodyLimits,
    /// This run of the process, for cursors.
    pub run: Run,
    /// What long reads wait for.
    pub turns: Arc<Turns>,
    /// How the service is.
    pub operations: Arc<Operations>,
    /// Where dead letters are seen to, should that be on.
    pub dead_letters: Option<Arc<DlqAdmin>>,
    /// Ends every wait.
    pub shutdown: Shutdown,
}

impl Api {
    /// Which partitions an answer of now is from.
    pub(super) fn coverage(&self) -> Coverage {
        let membership = self.operations.memberships.first();
        membership.map(|it| Coverage::now(&it.status.borrow().group)).unwrap_or_default()
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Api").field("config", &self.config).finish_non_exhaustive()
    }
}
