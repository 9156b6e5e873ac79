//! A process that is killed between the database's commit and Kafka's.

use highwater_kafka_broker::Fault;
use kafka_protocol::messages::ApiKey;
use rustix::process::Signal;
use serde_json::{Value, json};

use tokio_postgres::Client;
use uuid::Uuid;

use super::{
    service::{ready, settings, sorted},
    stores::Stores,
};
use crate::support::{Batch, Program, TestCluster, eventually, switch};

/// A service on these stores, in a process of its own.
async fn start(stores: &Stores, cluster: &TestCluster) -> (Program, String) {
    let (config, _) = stores.database().await.unwrap();
    let mut command = Program::command(cluster);
    command.env("STORE_URL", switch("TEST_POSTGRES_URL").unwrap()).envs([
        ("STORE_SCHEMA", config.schema.as_str()),
        ("KAFKA_SESSION_TIMEOUT", "6s"),
        ("KAFKA_HEARTBEAT_INTERVAL", "500ms"),
        ("KAFKA_REQUEST_TIMEOUT", "2s"),
        ("LOG_FORMAT", "json"),
    ]);
    let program = Program::start(command);
    let address = program.address().await;
    (program, address)
}

async fn post(address: &str, user: usize) -> String {
    let event = json!({"userId": format!("user-{user}"), "eventType": "LOGIN"});
    let url = format!("{address}/events/generate");
    let answer = reqwest::Client::new().post(url).json(&event).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    answer.json::<Value>().await.unwrap()["eventId"].as_str().unwrap().to_owned()
}

/// Waits until the database's position is at that offset.
async fn until_stored(database: &Client, offset: i64) {
    const NEXT: &str = "SELECT next - base FROM partitions";
    eventually("the database has committed", async || {
        (database.query_one(NEXT, &[]).await.unwrap().get::<_, i64>(0) == offset).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_between_the_databases_commit_and_kafkas_leaves_each_event_there_once() {
    let Some(stores) = Stores::in_postgres() else { return };
    let cluster = TestCluster::embedded().await;
    cluster.create_topic(1, &[]).await;
    let (_, database) = stores.database().await.unwrap();
    let faults = cluster.broker().faults();
    let rows = async || {
        let rows = database.query("SELECT id::text FROM events", &[]).await.unwrap();
        sorted(rows.iter().map(|row| row.get(0)).collect())
    };
    let (one, address) = start(&stores, &cluster).await;
    let mut ids = vec![post(&address, 0).await];
    cluster.until_committed_to_the_end().await;

    // From now on Kafka commits nothing, and the database all.
    let asked = faults.count(ApiKey::OffsetCommit);
    faults.always(ApiKey::OffsetCommit, Fault::Stall);
    for user in 0..20 {
        ids.push(post(&address, user).await);
    }
    until_stored(&database, 21).await;
    eventually("Kafka is asked to commit", async || {
        (faults.count(ApiKey::OffsetCommit) > asked).then_some(())
    })
    .await;
    one.signal(Signal::KILL);
    assert_eq!(one.end().await.code, None, "it is killed");
    assert_eq!(rows().await, sorted(ids.clone()));
    assert_eq!(cluster.committed().await[&0], 1);

    faults.clear();
    let (two, address) = start(&stores, &cluster).await;
    ids.push(post(&address, 1).await);
    cluster.until_committed_to_the_end().await;
    assert_eq!(rows().await, sorted(ids.clone()), "each once");
    assert_eq!(two.count("processed"), 1, "what the database has is not processed again");
    let health = reqwest::get(format!("{address}/health")).await.unwrap().json::<Value>().await.unwrap();
    assert_eq!(health["store"]["duplicates"], 0, "nor read again: the database's position counts");
    drop(two);
    stores.clean_up().await;
}

/// The log still has the record whose leader epoch Kafka's committed offset has.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_log_has_lost_before_the_databases_position_is_found_by_the_leader_epoch_beside_it() {
    let Some(stores) = Stores::in_postgres() else { return };
    let (cluster, url) = (TestCluster::embedded().await, switch("TEST_POSTGRES_URL").unwrap());
    cluster.create_topic(1, &[]).await;
    let (config, database) = stores.database().await.unwrap();
    let settings = settings(&url, &config.schema);
    let app = ready(&cluster, &settings).await;
    let mut ids = vec![app.generate("ada").await.id];
    cluster.until_committed_to_the_end().await;
    cluster.broker().faults().always(ApiKey::OffsetCommit, Fault::Stall);
    for _ in 1..10 {
        ids.push(app.generate("ada").await.id);
    }
    until_stored(&database, 10).await;
    app.kill();
    assert_eq!(cluster.committed().await[&0], 1);

    // An unclean election: the log has another history from its fourth record on.
    cluster.broker().truncate(&cluster.topic, 0, 3);
    for _ in 0..12 {
        let id = Uuid::new_v4().to_string();
        let event = json!({"eventId": id, "userId": "eve", "eventType": "LOGIN"}).to_string();
        cluster.produce(0, Batch::of(&[event]).encode()).await;
        ids.push(id);
    }
    cluster.broker().faults().clear();
    let app = ready(&cluster, &settings).await;
    cluster.until_committed_to_the_end().await;
    assert_eq!(sorted(app.processed().await), sorted(ids), "none of the new history is passed over");
    let epoch = "SELECT leader_epoch FROM partitions";
    assert!(database.query_one(epoch, &[]).await.unwrap().get::<_, Option<i32>>(0) > Some(0));
    app.stop().await;
    stores.clean_up().await;
}
