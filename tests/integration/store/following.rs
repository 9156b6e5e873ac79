//! `GET /events/stream` of a running service: each event once, whatever connections are cut.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt as _, future::join_all};
use serde_json::{Value, json};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

use super::{
    service::{ready, settings},
    stores::{Stores, on_both_stores},
};
use crate::support::{TestApp, TestCluster, eventually, switch};

const PATIENCE: Duration = Duration::from_secs(60);

on_both_stores! {
    each_event_comes_once_to_readers_whose_connections_are_cut,
    a_stop_ends_streams_at_once_and_their_clients_go_on_elsewhere,
}

/// Instances on these stores, and the cluster that they share.
async fn instances(stores: &Stores, cluster: &TestCluster, count: usize) -> Vec<TestApp> {
    let url = switch("TEST_POSTGRES_URL").unwrap_or_default();
    let database = stores.database().await;
    let settings = database.as_ref().map(|(config, _)| settings(&url, &config.schema)).unwrap_or_default();
    // In memory each has its own partitions.
    let count = if database.is_some() { count } else { 1 };
    let mut apps = Vec::new();
    for _ in 0..count {
        apps.push(ready(cluster, &settings).await);
    }
    apps
}

/// A client as EventSource is one: it connects again with the id that it had last.
struct Client {
    addresses: Vec<String>,
    connections: usize,
    last: Option<String>,
    events: Vec<Value>,
    gaps: Vec<Value>,
}

impl Client {
    fn of(apps: &[TestApp], first: usize) -> Self {
        let addresses = apps.iter().map(|app| format!("http://127.0.0.1:{}", app.port())).collect();
        Self { addresses, connections: first, last: None, events: Vec::new(), gaps: Vec::new() }
    }

    /// Reads so many events on one connection, then cuts it; less where the stream ends. Tells when it has begun.
    async fn read(
        &mut self,
        query: &str,
        most: usize,
        begun: &mut Option<oneshot::Sender<()>>,
    ) -> Option<String> {
        let address = &self.addresses[self.connections % self.addresses.len()];
        self.connections += 1;
        let mut request = reqwest::Client::new()
            .get(format!("{address}/events/stream?{query}"))
            .header("accept-encoding", "gzip");
        if let Some(last) = &self.last {
            request = request.header("last-event-id", last);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        assert!(!answer.headers().contains_key("content-encoding"), "it is not packed");
        let (mut pieces, mut text, mut read) = (answer.bytes_stream(), String::new(), 0);
        while let Some(piece) = pieces.next().await {
            text.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
            while let Some((message, rest)) = text.split_once("\n\n") {
                for line in message.lines() {
                    match line.split_once(": ") {
                        Some(("id", id)) => self.last = Some(id.to_owned()),
                        Some(("data", data)) if message.starts_with("event: end") => {
                            return Some(data.to_owned());
                        }
                        Some(("data", data)) if message.starts_with("event: gap") => {
                            self.gaps.push(serde_json::from_str(data).unwrap());
                        }
                        Some(("data", data)) => {
                            self.events.push(serde_json::from_str(data).unwrap());
                            read += 1;
                        }
                        _ => {}
                    }
                }
                text = rest.to_owned();
                let _ = begun.take().map(|begun| begun.send(()));
                if read == most {
                    return None;
                }
            }
        }
        None
    }
}

/// Writers and readers at the same time; readers with a filter and without, on one instance after the other.
async fn each_event_comes_once_to_readers_whose_connections_are_cut(stores: &Stores) {
    const WRITERS: usize = 4;
    const BATCHES: usize = 20;
    const BATCH: usize = 25;
    const USERS: usize = 7;
    let cluster = TestCluster::start().await;
    let apps = instances(stores, &cluster, 2).await;
    let mut all_begun = Vec::new();
    let readers: Vec<_> = ["", "", "eventType=login", "userId=0-3"]
        .into_iter()
        .enumerate()
        .map(|(number, query)| {
            let expected = if query.starts_with("userId") {
                (0..BATCHES * BATCH).filter(|event| event % USERS == 3).count()
            } else {
                WRITERS * BATCHES * BATCH
            };
            let mut client = Client::of(&apps, number);
            let (begun, has_begun) = oneshot::channel();
            all_begun.push(has_begun);
            let reading = async move {
                let mut begun = Some(begun);
                while client.events.len() < expected {
                    // Cut after few events and after many, in the middle of what came together.
                    let most = 1 + client.connections * 37 % 90;
                    client.read(query, most.min(expected - client.events.len()), &mut begun).await;
                }
                client
            };
            tokio::spawn(timeout(PATIENCE, reading))
        })
        .collect();
    for begun in all_begun {
        begun.await.unwrap();
    }
    let write = async |writer: usize| {
        for batch in 0..BATCHES {
            let events = (batch * BATCH..(batch + 1) * BATCH).map(|number| {
                let user = format!("{writer}-{}", number % USERS);
                json!({"userId": user, "eventType": "LOGIN", "payload": {"number": number}})
            });
            let answer = apps[writer % apps.len()].post("/events/batch", &events.collect()).await;
            assert_eq!(answer.json::<Value>().await.unwrap()["stored"], BATCH);
        }
    };
    join_all((0..WRITERS).map(write)).await;
    let mut connections = 0;
    for reading in readers {
        let client = reading.await.unwrap().expect("all events in time");
        connections += client.connections;
        let mut numbers: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for event in &client.events {
            let of_user = numbers.entry(event["userId"].as_str().unwrap().to_owned()).or_default();
            of_user.push(event["payload"]["number"].as_u64().unwrap());
        }
        let filtered = numbers.len() == 1;
        assert_eq!(numbers.len(), if filtered { 1 } else { WRITERS * USERS });
        for (user, numbers) in numbers {
            let remainder: u64 = user.split_once('-').unwrap().1.parse().unwrap();
            let expected = (0..(BATCHES * BATCH) as u64).filter(|number| number % USERS as u64 == remainder);
            assert!(numbers.iter().copied().eq(expected), "{user}: {numbers:?}");
        }
    }
    assert!(connections > 100, "{connections} connections are few");
    eventually("no stream is open", async || {
        let metrics = apps[0].get("/metrics").await.text().await.unwrap();
        metrics.contains("highwater_event_streams 0\n").then_some(())
    })
    .await;
    for app in apps {
        app.stop().await;
    }
}

async fn a_stop_ends_streams_at_once_and_their_clients_go_on_elsewhere(stores: &Stores) {
    let cluster = TestCluster::start().await;
    let mut apps = instances(stores, &cluster, 1).await;
    let mut client = Client::of(&apps, 0);
    let app = apps.pop().unwrap();
    let before = app.generate("ann").await.id;
    app.until_processed(&before).await;
    let (begun, has_begun) = oneshot::channel();
    let reading = tokio::spawn(async move {
        let end = client.read("", usize::MAX, &mut Some(begun)).await;
        (client, end)
    });
    has_begun.await.unwrap();
    let seen = app.generate("ann").await.id;
    app.until_processed(&seen).await;
    let stopping = Instant::now();
    app.stop().await;
    assert!(stopping.elapsed() < Duration::from_secs(4), "{:?}", stopping.elapsed());
    let (mut client, end) = timeout(PATIENCE, reading).await.unwrap().unwrap();
    assert!(end.unwrap().contains("\"stopping\""));

    let apps = instances(stores, &cluster, 1).await;
    let meanwhile = apps[0].generate("ann").await.id;
    apps[0].until_processed(&meanwhile).await;
    client.addresses = Client::of(&apps, 0).addresses;
    // The stop may have come before the first one was sent.
    let left = 2 - client.events.len();
    timeout(PATIENCE, client.read("", left, &mut None)).await.unwrap();
    let ids: Vec<&str> = client.events.iter().map(|event| event["eventId"].as_str().unwrap()).collect();
    assert_eq!(ids, [seen.as_str(), &meanwhile]);
    for app in apps {
        app.stop().await;
    }
}

/// In memory alone: PostgreSQL holds them all.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_another_instance_gets_all_that_is_held_and_is_told_of_the_rest() {
    const HELD: usize = 10;
    let cluster = TestCluster::start().await;
    // Divided among three partitions.
    let settings = [("STORE_MAX_EVENTS", "30")];
    let apps = [ready(&cluster, &settings).await];
    let post = async |app: &TestApp, numbers: std::ops::Range<usize>| {
        for number in numbers {
            let body = json!({"userId": "ann", "eventType": "LOGIN", "payload": {"number": number}});
            let id = app.generate_from(&body).await.id;
            app.until_processed(&id).await;
        }
    };
    let mut client = Client::of(&apps, 0);
    let [app] = apps;
    let (begun, has_begun) = oneshot::channel();
    let reading = tokio::spawn(async move {
        client.read("", 3, &mut Some(begun)).await;
        client
    });
    has_begun.await.unwrap();
    post(&app, 0..3).await;
    let mut client = timeout(PATIENCE, reading).await.unwrap().unwrap();
    post(&app, 3..20).await;
    app.stop().await;

    let apps = [ready(&cluster, &settings).await];
    client.addresses = Client::of(&apps, 0).addresses;
    timeout(PATIENCE, client.read("", HELD, &mut None)).await.unwrap();
    let numbers: Vec<_> =
        client.events.iter().map(|event| event["payload"]["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..3).chain(10..20).collect::<Vec<_>>());
    let [gap] = &client.gaps[..] else { panic!("{:?}", client.gaps) };
    let [missing] = &gap["missing"].as_array().unwrap()[..] else { panic!("{gap}") };
    assert_eq!((&missing["from"], &missing["to"]), (&json!(3), &json!(10)), "{gap}");
    let [app] = apps;
    app.stop().await;
}
