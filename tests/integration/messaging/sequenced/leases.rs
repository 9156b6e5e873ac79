//! A turn that lasts longer than the lease.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use highwater_kafka::{
    BatchOutcome, DlqPublisher, LogState, Record, RecordHandler, StartFrom, TransientError,
    dead_letter::{SequenceBounds, SequencedHandler},
    group::Lease,
};

use super::{FakeHandler, operator, position, publish, reader, until_processed, waiting};
use crate::support::{TestCluster, eventually};

/// The lease of the turns. It ends with each call of the handler.
#[derive(Clone, Default)]
struct Turns {
    lease: Arc<Mutex<Lease>>,
    fake: Arc<FakeHandler>,
    taken: Arc<AtomicUsize>,
}

impl Turns {
    /// Another lease begins.
    fn renew(&self) {
        let lease = Lease::new();
        lease.renew(Lease::now(), Duration::from_secs(600));
        *self.lease.lock().unwrap() = lease;
    }

    /// Waits until it is over, and further turns have been taken.
    async fn until_over(&self) {
        eventually("the lease is over", async || (!self.lease.lock().unwrap().is_valid()).then_some(()))
            .await;
        let taken = self.taken.load(Ordering::Relaxed);
        eventually("further turns are taken", async || {
            (self.taken.load(Ordering::Relaxed) > taken + 1).then_some(())
        })
        .await;
    }
}

#[async_trait]
impl RecordHandler for Turns {
    async fn handle(&self, records: &[Record]) -> BatchOutcome {
        let outcome = self.fake.handle(records).await;
        self.lease.lock().unwrap().end();
        outcome
    }
}

/// Gives the turns their lease.
struct Leased(SequencedHandler, Turns);

#[async_trait]
impl RecordHandler for Leased {
    async fn handle(&self, records: &[Record]) -> BatchOutcome {
        self.0.handle(records).await
    }

    async fn start_from(&self, partition: i32, log: &LogState) -> Result<StartFrom, TransientError> {
        self.0.start_from(partition, log).await
    }

    async fn load(&self, partition: i32) -> Result<bool, TransientError> {
        self.0.load(partition).await
    }

    fn wants_turn(&self, partition: i32) -> bool {
        self.0.wants_turn(partition)
    }

    async fn take_turn(&self, partition: i32, committed: i64, _: &Lease) {
        let lease = self.1.lease.lock().unwrap().clone();
        self.0.take_turn(partition, committed, &lease).await;
        self.1.taken.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_lease_ends_during_a_letter_no_other_is_processed_and_nothing_is_written() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let turns = Turns::default();
    let dead_letters =
        DlqPublisher::new(client.producer(client.dead_letter_topic()), &cluster.topic, &cluster.group);
    let (bounds, registry) = (SequenceBounds::default(), Arc::clone(&client.registry));
    let handler =
        SequencedHandler::new(Arc::new(turns.clone()), reader(&client), dead_letters, bounds, registry);
    let consumer = client.consumer_with(Arc::new(Leased(handler, turns.clone())), client.consumer_config());
    publish(&client, &[("one", "bad 1"), ("one", "2")]).await;
    let operator = operator(&client, &cluster);
    let head = waiting(&operator, 2).await;

    // It is poison still, and no letter says so.
    operator.redrive(position(&head)).await.unwrap();
    turns.renew();
    turns.until_over().await;
    let same = waiting(&operator, 2).await;
    assert_eq!(position(&same), position(&head));

    turns.fake.mend("bad 1");
    turns.renew();
    turns.until_over().await;
    assert_eq!(turns.fake.values_of("one"), ["bad 1"]);
    assert_eq!(waiting(&operator, 2).await, same, "nor that it is processed");

    turns.renew();
    until_processed(&turns.fake, "one", &["bad 1", "2"]).await;
    consumer.stop().await;
}
