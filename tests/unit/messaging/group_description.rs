//! The description of the group, which is requested at a limited rate.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, future::join_all};
use highwater_kafka::group::{GroupDescription, GroupMember};
use tokio::time::{Instant, advance};

/// A description whose coordinator is asked and counted, and takes so long.
fn counted(takes: Duration) -> (Arc<GroupDescription>, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let description = GroupDescription::from_fn(move || {
        let number = count.fetch_add(1, Ordering::Relaxed) + 1;
        async move {
            tokio::time::sleep(takes).await;
            let mut member = GroupMember::default();
            member.member_id = format!("member-{number}");
            Ok(vec![member])
        }
        .boxed()
    });
    (Arc::new(description), asked)
}

#[tokio::test(start_paused = true)]
async fn however_many_ask_the_coordinator_is_asked_once_a_second() {
    let (description, asked) = counted(Duration::from_millis(300));
    let told = join_all((0..50).map(|_| description.members())).await;
    assert!(told.iter().all(|told| told.as_ref().unwrap()[0].member_id == "member-1"));
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    advance(Duration::from_millis(600)).await;
    description.members().await.unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    advance(Duration::from_millis(200)).await;
    assert_eq!(description.members().await.unwrap()[0].member_id, "member-2");
}

#[tokio::test(start_paused = true)]
async fn who_asks_and_goes_makes_nobody_ask_again() {
    let (description, asked) = counted(Duration::from_millis(300));
    for _ in 0..20 {
        let gone = tokio::time::timeout(Duration::from_millis(10), description.members()).await;
        assert!(gone.is_err());
    }
    assert_eq!(description.members().await.unwrap()[0].member_id, "member-1");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_says_nothing_is_waited_for_a_second() {
    let description = GroupDescription::from_fn(|| pending().boxed());
    let began = Instant::now();
    let why = description.members().await.unwrap_err();
    assert_eq!(why.to_string(), "the group's coordinator did not answer within 1s");
    assert_eq!(began.elapsed().as_secs(), 1);
}
