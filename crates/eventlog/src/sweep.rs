//! The sweep inserts the rows that crashes have kept from their events.
//!
//! An event that was put and has no row is not acknowledged. Its client does not know the outcome and may ask again at any
//! time. So nothing is ever removed: that would race with a client that asks again and has seen the details. The row is
//! inserted instead, and every inserter inserts the same row. An event that is younger than the longest life of a request is
//! left to its request.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{
    Bucket, DatabaseError, DatabaseResult, EventLog, Insertion, counts::increment, database_health::Database,
    deadline::Deadline,
};

/// The overlap of two sweeps. Clocks of instances differ, and DynamoDB's index is behind its table.
const OVERLAP: TimeDelta = TimeDelta::minutes(15);
/// The number of rows of one look-up.
const BATCH: usize = 100;

/// The result of a sweep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// The events that it looked at.
    pub seen: u64,
    /// The events that lacked their row and have it now.
    pub completed: u64,
    /// The items without a row that no row can be made of: they stay.
    pub unreadable: u64,
}

impl EventLog {
    /// Completes the events that were recorded before `now` less the grace, from the end of the last sweep, or from `from`.
    ///
    /// # Errors
    ///
    /// A database does not answer. Completed events stay so, and the next sweep begins where this one did.
    pub async fn sweep(
        &self,
        now: DateTime<Utc>,
        from: Option<DateTime<Utc>>,
    ) -> DatabaseResult<SweepReport> {
        let until =
            TimeDelta::from_std(self.limits.grace).ok().and_then(|grace| now.checked_sub_signed(grace));
        let until = until.ok_or_else(|| DatabaseError::Refused("the time is out of bounds".to_owned()))?;
        let mut from = match from {
            Some(from) => from,
            None => self.sql(|| self.metadata.swept_until()).await? - OVERLAP,
        };
        let mut swept = SweepReport::default();
        while from < until {
            let to = Bucket::end(from).min(until);
            for bucket in Bucket::at(from) {
                self.sweep_bucket(bucket, from, to, &mut swept).await?;
            }
            self.sql(|| self.metadata.sweep_reached(from, to)).await?;
            from = to;
        }
        Ok(swept)
    }

    async fn sweep_bucket(
        &self,
        bucket: Bucket,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        swept: &mut SweepReport,
    ) -> DatabaseResult<()> {
        let mut page = None;
        loop {
            let seen = self.dynamo(|| self.details.recorded(bucket, from, to, page.clone())).await?;
            for ids in seen.ids.chunks(BATCH) {
                swept.seen += ids.len() as u64;
                let known = self.sql(|| self.metadata.known(ids)).await?;
                for id in ids.iter().filter(|id| !known.contains(id)) {
                    self.complete(*id, swept).await?;
                }
            }
            page = seen.next;
            if page.is_none() {
                return Ok(());
            }
        }
    }

    /// Inserts the row of one event.
    async fn complete(&self, id: Uuid, swept: &mut SweepReport) -> DatabaseResult<()> {
        let Some(event) = self.dynamo(|| self.details.event(id)).await? else {
            self.unreadable(id, "it says too little to make one of", swept);
            return Ok(());
        };
        match self.sql(|| self.metadata.insert(&event.metadata)).await {
            Ok(Insertion::New) => {
                swept.completed += 1;
                increment(&self.counts.completed);
                log::info!(event_id:% = id; "an event got the row that it lacked");
                Ok(())
            }
            // Another process was faster.
            Ok(Insertion::Already) => Ok(()),
            // Otherwise all later ones would wait behind this one for good. An error that would hit any event is no such
            // fault.
            Err(error) if error.is_of_one() => {
                self.unreadable(id, &format!("no row can be made of it: {error}"), swept);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn unreadable(&self, id: Uuid, why: &str, swept: &mut SweepReport) {
        swept.unreadable += 1;
        increment(&self.counts.unreadable);
        log::error!(event_id:% = id; "an item has no row, and gets none: {why}");
    }

    async fn sql<T, C>(&self, call: impl Fn() -> C + Send) -> DatabaseResult<T>
    where
        C: Future<Output = DatabaseResult<T>> + Send,
    {
        self.ask(Deadline::after(self.limits.timeout), Database::Metadata, call).await
    }

    async fn dynamo<T, C>(&self, call: impl Fn() -> C + Send) -> DatabaseResult<T>
    where
        C: Future<Output = DatabaseResult<T>> + Send,
    {
        self.ask(Deadline::after(self.limits.timeout), Database::Details, call).await
    }
}
