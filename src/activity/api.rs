//! The state that the routes share.

use std::{collections::BTreeMap, fmt, sync::Arc};

use highwater_kafka::{GroupStatus, TypedProducer};
use highwater_web::{
    dead_letters::DlqAdmin,
    http::{BodyLimits, Problem},
    operations::Operations,
    shutdown::Shutdown,
};

use super::{
    ConcurrencyLimit, Config, Coverage, EventStreams, Rejections,
    schemas::{Data, Judged},
};
use crate::store::{ActivityEvent, EventStore};

/// The state that the routes share.
pub struct Api {
    /// The producer of posted events.
    pub events: TypedProducer<ActivityEvent>,
    /// The store of processed events.
    pub store: Arc<dyn EventStore>,
    /// The service's settings.
    pub config: Config,
    /// The bounds of a posted body.
    pub limits: BodyLimits,
    /// The limit of concurrent listings.
    pub listing_limit: Arc<ConcurrencyLimit>,
    /// The open streams of events.
    pub streams: Arc<EventStreams>,
    /// The events that were refused lately.
    pub rejections: Arc<Rejections>,
    /// The state behind `/health`, `/ready` and `/metrics`.
    pub operations: Arc<Operations>,
    /// Access to dead letters, where it is configured.
    pub dead_letters: Option<Arc<DlqAdmin>>,
    /// Ends every wait.
    pub shutdown: Shutdown,
}

impl Api {
    /// Judges the data of an event by the schema of its type.
    ///
    /// # Errors
    ///
    /// The faults, where they are not let pass.
    pub(super) fn judge(&self, event: ActivityEvent, data: Data) -> Result<Judged, Problem> {
        let violations = self.config.schemas.as_ref().map_or(Ok(0), |schemas| schemas.judge(&event, data))?;
        Ok(Judged { event, violations })
    }

    /// The partitions that an answer covers now.
    pub(super) fn coverage(&self) -> Coverage {
        let membership = self.operations.memberships.first();
        let coverage = |group: &GroupStatus| match self.store.is_shared() {
            true => Coverage::whole(group.topic_partitions),
            false => Coverage::now(group),
        };
        membership.map(|it| coverage(&it.status.borrow().group)).unwrap_or_default()
    }

    /// The end of the log of each partition of this instance, as last seen.
    pub(super) fn log_ends(&self) -> BTreeMap<i32, i64> {
        let Some(membership) = self.operations.memberships.first() else { return BTreeMap::new() };
        let status = membership.status.borrow();
        status.group.partitions.iter().map(|held| (held.partition, held.end)).collect()
    }

    /// The offset below which the records are processed, of each restored partition of this instance.
    pub(super) fn restored_offsets(&self) -> BTreeMap<i32, i64> {
        let Some(membership) = self.operations.memberships.first() else { return BTreeMap::new() };
        let status = membership.status.borrow();
        let restored = status.group.partitions.iter().filter(|held| held.restored);
        restored.map(|held| (held.partition, held.position)).collect()
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Api").field("config", &self.config).finish_non_exhaustive()
    }
}
