//! The header `Highwater-Partitions` of answers.

use std::{collections::BTreeSet, time::Duration};

use highwater_kafka_broker::Fault;
use kafka_protocol::messages::ApiKey;
use reqwest::Response;

use crate::support::{TestApp, TestCluster, eventually};

/// The parts of `Highwater-Partitions`: held, restored, the number of partitions, and whether that is all.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    held: BTreeSet<i64>,
    restored: BTreeSet<i64>,
    of: i64,
    whole: bool,
}

fn said(answer: &Response) -> Said {
    let header = answer.headers().get("highwater-partitions").expect("it says so").to_str().unwrap();
    let member = |name: &str| {
        let after = header.split(&format!("{name}=")).nth(1).unwrap();
        // A list has commas, and quotes around them.
        let (value, end) = after.strip_prefix('"').map_or((after, ','), |value| (value, '"'));
        value.split(end).next().unwrap().to_owned()
    };
    let numbers = |name: &str| {
        let ranges = member(name);
        let number = |text: &str| text.parse::<i64>().unwrap();
        let range = |range: &str| match range.split_once('-') {
            Some((first, last)) => number(first)..=number(last),
            None => number(range)..=number(range),
        };
        ranges.split(',').filter(|range| !range.is_empty()).flat_map(range).collect()
    };
    Said {
        held: numbers("held"),
        restored: numbers("restored"),
        of: member("of").parse().unwrap(),
        whole: member("whole") == "?1",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_two_instances_tells_the_partitions_of_its_answers() {
    let cluster = TestCluster::start().await;
    let one = TestApp::ready(&cluster).await;
    let mut posted = Vec::new();
    for number in 0..12 {
        let user = format!("user-{number}");
        let event = one.generate(&user).await;
        one.until_processed(&event.id).await;
        posted.push((user, event));
    }
    let alone = said(&one.get("/events/processed").await);
    assert_eq!(alone, Said { held: [0, 1, 2].into(), restored: [0, 1, 2].into(), of: 3, whole: true });

    let other = TestApp::ready(&cluster).await;
    let (mine, theirs) = eventually("both say what is theirs, restored", async || {
        let says = async |app: &TestApp| said(&app.get("/api/events?limit=1").await);
        let (mine, theirs) = (says(&one).await, says(&other).await);
        let restored = mine.held == mine.restored && theirs.held == theirs.restored;
        let shared = mine.held.len() + theirs.held.len() == 3 && !theirs.held.is_empty();
        (restored && shared).then_some((mine, theirs))
    })
    .await;
    for (app, says) in [(&one, &mine), (&other, &theirs)] {
        assert_eq!((says.of, says.whole), (3, false));
        let partitions: BTreeSet<i64> = app.partitions().await.into_iter().collect();
        assert_eq!(says.held, partitions);
        for (user, event) in &posted {
            let has = says.restored.contains(&event.partition.into());
            let listing = app.get(&format!("/api/events/user/{user}")).await;
            assert_eq!(said(&listing), *says);
            let body: serde_json::Value = listing.json().await.unwrap();
            assert_eq!(body["count"] == 1, has, "{user} on one with {says:?}: {body}");
            let found = app.get(&format!("/events/processed/{}", event.id)).await;
            assert_eq!(found.status().as_u16(), if has { 200 } else { 404 });
            if !has {
                assert_eq!(said(&found), *says);
            }
        }
    }
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_partition_is_restored_listings_say_that_it_is_not_yet() {
    const EVENTS: usize = 240;
    let cluster = TestCluster::embedded().await;
    let writer = TestApp::ready(&cluster).await;
    for number in 0..EVENTS {
        writer.generate(&format!("user-{number}")).await;
    }
    cluster.until_committed_to_the_end().await;
    writer.stop().await;

    cluster.broker().faults().always(ApiKey::Fetch, Fault::Delay(Duration::from_millis(40)));
    let app = TestApp::start_with(&cluster, &[("FETCH_MAX_BYTES", "1KiB")]).await;
    eventually("it serves some and says that they are not all", async || {
        let answer = app.get("/api/events").await;
        let says = said(&answer);
        let count = answer.json::<serde_json::Value>().await.unwrap()["count"].as_u64().unwrap();
        assert!(!says.whole || count == EVENTS as u64, "{count} of {EVENTS} as {says:?}");
        (count > 0 && says.held.len() == 3 && says.restored.len() < 3).then_some(())
    })
    .await;
    cluster.broker().faults().clear();
    app.until_ready().await;
    let answer = app.get("/api/events").await;
    assert!(said(&answer).whole);
    assert_eq!(answer.json::<serde_json::Value>().await.unwrap()["count"], EVENTS);
    app.stop().await;
}
