//! Quiet points: everything has recovered, no client writes, all records are read. Then all checks run.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use reqwest::StatusCode;
use tokio::time::{Instant, sleep};

use crate::{
    admin::persistently,
    checks::{self, Findings, Guarantee, Violation},
    evidence::{Evidence, owned},
    instance::{GROUP, METADATA_MAX_AGE, TOPIC},
    stage::Stage,
};

/// So soon after the last fault everything is as before.
pub(crate) const RECOVERED_WITHIN: Duration = Duration::from_secs(30);
/// Beyond that it is not late but broken.
const NOT_AT_ALL: Duration = Duration::from_secs(90);
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// The result of a quiet point.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    pub(crate) recovery: Duration,
    pub(crate) findings: Findings,
    pub(crate) stored: usize,
}

impl Stage {
    /// The last fault has just ended: waits until everything works, then checks it.
    pub(crate) async fn quiet_point(&self) -> Result<Quiet> {
        let began = Instant::now();
        let mut late = Vec::new();
        if let Err(error) = self.recovered().await {
            late.push(Violation::new(Guarantee::RecoveredInTime, format!("not at all: {error:#}")));
            return Ok(Quiet {
                recovery: began.elapsed(),
                findings: Findings { violations: late, ..Findings::default() },
                stored: 0,
            });
        }
        let recovery = began.elapsed();
        if recovery > RECOVERED_WITHIN {
            late.push(Violation::new(Guarantee::RecoveredInTime, format!("{recovery:.1?}")));
        }
        self.rest().await?;
        let settled = persistently("settled", NOT_AT_ALL, async || self.settled().await).await;
        let (ends, committed) = match settled {
            Ok(settled) => settled,
            Err(error) => {
                late.push(Violation::new(Guarantee::RecoveredInTime, format!("not at all: {error:#}")));
                (BTreeMap::new(), BTreeMap::new())
            }
        };
        let evidence = Evidence::gather(self, ends, committed).await?;
        let mut findings = checks::check(&self.history.known(), &evidence);
        findings.violations.append(&mut late);
        if self.history.layout_is_open() {
            // Everybody has looked by then.
            sleep(METADATA_MAX_AGE * 2).await;
            self.history.layout_is_known();
        }
        let stored = evidence.holders.len();
        Ok(Quiet { recovery, findings, stored })
    }

    /// The instances have just been started: waits until they work.
    pub(crate) async fn recovered_at_first(&self) -> Result<()> {
        self.recovered().await
    }

    /// Every instance is ready and takes events, and what was there has been processed.
    async fn recovered(&self) -> Result<()> {
        let by = Instant::now() + NOT_AT_ALL;
        let left = || by.saturating_duration_since(Instant::now());
        let ends = persistently("the log's ends", left(), async || self.admin.ends(TOPIC).await).await?;
        for instance in self.regulars() {
            let what = format!("instance {} is ready and takes events", instance.number);
            persistently(&what, left(), async || {
                let request = self.http.get(format!("{}/ready", instance.base)).timeout(ANSWERED_WITHIN);
                let answer = request.send().await?;
                let status = answer.status();
                ensure!(status == StatusCode::OK, "{status}: {}", answer.text().await?);
                self.poster.probe(instance.number).await
            })
            .await?;
        }
        persistently("what was there is processed", left(), async || {
            let committed = self.admin.committed(GROUP, TOPIC, i32::try_from(ends.len())?).await?;
            for (partition, end) in &ends {
                let committed = committed.get(partition).copied().unwrap_or(0);
                ensure!(committed >= *end, "partition {partition} is at {committed} of {end}");
            }
            Ok(())
        })
        .await
    }

    /// Everything is committed, and each partition is one instance's; the ends of the log, and what is committed.
    async fn settled(&self) -> Result<(BTreeMap<i32, i64>, BTreeMap<i32, i64>)> {
        let ends = self.admin.ends(TOPIC).await?;
        let committed = self.admin.committed(GROUP, TOPIC, i32::try_from(ends.len())?).await?;
        for (partition, end) in &ends {
            let committed = committed.get(partition).copied().unwrap_or(0);
            ensure!(committed >= *end, "partition {partition} is at {committed} of {end}");
        }
        // The marker of a transaction can come later than its end was answered.
        ensure!(self.admin.ends(TOPIC).await? == ends, "the log still grows");
        let mut owners: BTreeMap<i32, usize> = BTreeMap::new();
        for instance in self.regulars() {
            for partition in owned(self, &instance.base).await? {
                let other = owners.insert(partition, instance.number);
                ensure!(other.is_none(), "partition {partition} is {other:?}'s and {}'s", instance.number);
            }
        }
        ensure!(owners.len() == ends.len(), "of {} partitions {} are somebody's", ends.len(), owners.len());
        Ok((ends, committed))
    }
}
