//! A database that is filled from the topic: another one, or beside erasures and positions that are set back.

use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

use super::{
    erasing,
    replay::{page, posted, replay, rows, until_stored},
    server::Server,
    service::{ready, settings, sorted},
    stores::Stores,
};
use crate::support::{Batch, TestApp, TestCluster, eventually, switch};

/// The ids that a listing has from there on.
async fn listed_from(app: &TestApp, mut next: Option<String>) -> Vec<String> {
    let mut listed = Vec::new();
    while let Some(path) = next {
        let (ids, after) = page(app, &path).await;
        listed.extend(ids);
        next = after;
    }
    listed
}

/// Waits until the database's positions are at the log's ends.
async fn until_processed(database: &Client, cluster: &TestCluster) {
    let records: i64 = cluster.ends().await.values().sum();
    let processed = "SELECT coalesce(sum(next - base), 0)::bigint FROM partitions";
    eventually("all of the topic is processed", async || {
        (database.query_one(processed, &[]).await.unwrap().get::<_, i64>(0) == records).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_database_is_filled_and_an_instance_on_it_goes_on_with_each_event_once() {
    let Some(server) = Server::start().await else { return };
    server.psql("CREATE DATABASE other OWNER highwater").await;
    let other = format!("{}/other", server.url.rsplit_once('/').unwrap().0);
    let cluster = TestCluster::start().await;
    let old = [("STORE_URL", server.url.as_str())];
    let app = ready(&cluster, &old).await;
    let mut ids = posted(&app, 20).await;
    let (mut listed, next) = page(&app, "/events/processed?limit=5").await;
    let records = async || {
        let (is_done, said) = replay(&cluster, &old, &["--into", &other]).await.unwrap();
        assert!(is_done, "{said}");
        let counts =
            said.lines().filter_map(|line| line.split_once(" records are read")?.0.parse::<usize>().ok());
        counts.sum::<usize>()
    };
    assert_eq!(records().await, 20);
    ids.extend(posted(&app, 5).await);
    assert_eq!(records().await, 5, "it goes on where it stood");
    // Later events are for the instances on the other database.
    ids.extend(posted(&app, 3).await);
    app.stop().await;
    let app = ready(&cluster, &[("STORE_URL", &other)]).await;
    until_stored(&app, &ids).await;
    listed.extend(listed_from(&app, next).await);
    assert_eq!(sorted(listed), sorted(ids.clone()), "a cursor means the same there");
    ids.extend(posted(&app, 2).await);
    assert_eq!(sorted(app.processed().await), sorted(ids));
    app.stop().await;
}

/// A schema that serves, and another one that is filled from the same topic.
struct Refill {
    stores: Stores,
    cluster: TestCluster,
    database: Client,
    url: String,
    schema: String,
}

type Replayed = anyhow::Result<(bool, String)>;

impl Refill {
    /// `None` where there is no server.
    async fn of(cluster: impl Future<Output = TestCluster>) -> Option<Self> {
        let stores = Stores::in_postgres()?;
        let (config, database) = stores.database().await?;
        let (cluster, url) = (cluster.await, switch("TEST_POSTGRES_URL")?);
        Some(Self { stores, cluster, database, url, schema: config.schema })
    }

    fn settings(&self) -> Vec<(&str, &str)> {
        settings(&self.url, &self.schema)
    }

    fn filled(&self) -> String {
        format!("{}_new", self.schema)
    }

    async fn fill(&self, more: &[&str]) -> Replayed {
        replay(&self.cluster, &self.settings(), &[&["--into", &self.filled()], more].concat()).await
    }

    async fn rewind(&self) -> Replayed {
        replay(&self.cluster, &self.settings(), &["--from", "earliest"]).await
    }

    async fn drop_filled(&self) {
        self.database.batch_execute(&format!("DROP SCHEMA {} CASCADE", self.filled())).await.unwrap();
    }

    async fn clean_up(self) {
        self.drop_filled().await;
        self.stores.clean_up().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_is_begun_anew_once_the_log_that_it_read_has_another_history() {
    let Some(refill) = Refill::of(TestCluster::embedded()).await else { return };
    let cluster = &refill.cluster;
    cluster.create_topic(1, &[]).await;
    let app = ready(cluster, &refill.settings()).await;
    posted(&app, 10).await;
    refill.fill(&[]).await.unwrap();
    posted(&app, 5).await;
    app.stop().await;
    cluster.broker().truncate(&cluster.topic, 0, 3);
    for _ in 0..12 {
        let event = json!({"eventId": Uuid::new_v4(), "userId": "eve", "eventType": "LOGIN"}).to_string();
        cluster.produce(0, Batch::of(&[event]).encode()).await;
    }
    let refused = |error: anyhow::Error, because: &str| {
        let said = format!("{error:#}");
        assert!(said.contains(because) && said.contains("fill it anew"), "{said}");
    };
    refused(refill.fill(&[]).await.unwrap_err(), "truncated");
    // The serving schema follows its log.
    let app = ready(cluster, &refill.settings()).await;
    cluster.until_committed_to_the_end().await;
    refused(refill.fill(&[]).await.unwrap_err(), "set back");
    app.stop().await;
    refill.clean_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_is_refused_once_a_position_was_set_back_since_the_fill_began() {
    let Some(refill) = Refill::of(TestCluster::start()).await else { return };
    let (cluster, database) = (&refill.cluster, &refill.database);
    cluster.create_topic(1, &[]).await;
    let app = ready(cluster, &refill.settings()).await;
    let mut ids = posted(&app, 10).await;
    refill.fill(&[]).await.unwrap();
    refill.rewind().await.unwrap();
    until_processed(database, cluster).await;
    ids.extend(posted(&app, 3).await);
    let (listed, next) = page(&app, "/events/processed?limit=12").await;
    assert_eq!(listed, ids[..12]);
    for swap in [&[][..], &["--swap"]] {
        let refused = format!("{:#}", refill.fill(swap).await.unwrap_err());
        assert!(refused.contains("set back") && refused.contains("fill it anew"), "{refused}");
    }
    assert_eq!(sorted(app.processed().await), sorted(ids.clone()));
    refill.drop_filled().await;
    ids.extend(posted(&app, 2).await);
    let (is_done, said) = refill.fill(&["--swap"]).await.unwrap();
    assert!(is_done, "{said}");
    assert_eq!(
        listed_from(&app, next).await,
        ids[12..],
        "a cursor from after it leads to what came later, each once"
    );
    app.stop().await;
    refill.clean_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_a_rewind_nor_a_swap_brings_an_erased_event_back() {
    let Some(refill) = Refill::of(TestCluster::start()).await else { return };
    let (cluster, database) = (&refill.cluster, &refill.database);
    let app = erasing::start(&refill.stores, cluster, &[]).await;
    let mut of = [Vec::new(), Vec::new(), Vec::new()];
    for (ids, user) in of.iter_mut().zip(["ada", "eve", "kim"]) {
        for _ in 0..5 {
            ids.push(app.generate(user).await.id);
        }
    }
    let [of_ada, of_eve, of_kim] = of;
    until_processed(database, cluster).await;
    let first = erasing::ask_to_erase(&app, "ada").await;
    erasing::until_erased(&[&app], &first).await;
    let mut kept = of_kim;
    kept.push(app.generate("ada").await.id);
    let with_eve = sorted([kept.clone(), of_eve].concat());

    refill.rewind().await.unwrap();
    until_processed(database, cluster).await;
    assert_eq!(sorted(app.processed().await), with_eve, "nothing came back with the rewind");
    refill.fill(&[]).await.unwrap();
    assert_eq!(rows(database, &refill.filled()).await, with_eve, "nor is it in what was filled");
    // This one comes between the fill and the swap.
    let second = erasing::ask_to_erase(&app, "eve").await;
    erasing::until_erased(&[&app], &second).await;
    let (is_done, said) = refill.fill(&["--swap"]).await.unwrap();
    assert!(is_done, "{said}");
    assert_eq!(sorted(app.processed().await), sorted(kept.clone()));
    for erasure in [&first, &second] {
        erasing::until_erased(&[&app], erasure).await;
    }
    // The ids are known there, and a further rewind changes nothing.
    let again = serde_json::json!({"userId": "ada", "eventType": "LOGIN", "eventId": of_ada[0]});
    app.generate_from(&again).await;
    refill.rewind().await.unwrap();
    until_processed(database, cluster).await;
    assert_eq!(sorted(app.processed().await), sorted(kept));
    app.stop().await;
    refill.clean_up().await;
}
