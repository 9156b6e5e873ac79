//! The topic is processed again, and another schema is filled from it and takes the place of the one that serves.

use std::collections::{BTreeMap, BTreeSet};

use highwater::{
    config::{self, Service},
    replay,
    store::{EventStore, Log, PostgresStore, Start},
};
use highwater_web::shutdown::Shutdown;
use serde_json::Value;
use tokio_postgres::Client;
use uuid::Uuid;

use super::{
    service::{ready, settings, sorted},
    stores::Stores,
};
use crate::support::{TestApp, TestCluster, eventually, processed_lines, switch};

/// Runs the command; its exit, and what it prints.
pub(super) async fn replay(
    cluster: &TestCluster,
    settings: &[(&str, &str)],
    args: &[&str],
) -> anyhow::Result<(bool, String)> {
    let own = [
        ("KAFKA_BROKERS", cluster.brokers.join(",")),
        ("KAFKA_TOPIC", cluster.topic.clone()),
        ("KAFKA_GROUP_ID", cluster.group.clone()),
    ];
    let given = settings.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let variables = own.into_iter().chain(given).map(|(name, value)| (name.to_owned(), value)).collect();
    let args = ["highwater", "replay"].iter().chain(args).map(Into::into);
    let invocation = config::parse(args, &variables, "").unwrap();
    let Service::Replay(command) = invocation.service else { panic!("another command") };
    let mut out = Vec::new();
    let is_done = replay::run(command, invocation.config.into(), &Shutdown::new(), &mut out).await?;
    Ok((is_done, String::from_utf8(out).unwrap()))
}

/// Posts events of several users, and waits until all are processed.
pub(super) async fn posted(app: &TestApp, events: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for number in 0..events {
        ids.push(app.generate(&format!("user-{}", number % 5)).await.id);
    }
    for id in &ids {
        app.until_processed(id).await;
    }
    ids
}

/// Takes some of the events out of the database, as a mistake would.
async fn lose(database: &Client, ids: &[String]) {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.parse().unwrap()).collect();
    let lose = "WITH gone AS (DELETE FROM events WHERE id = ANY($1) RETURNING partition, position >> 10 AS block)
        UPDATE blocks b SET events = events - (SELECT count(*) FROM gone WHERE (gone.partition, gone.block) = (b.partition, b.block))";
    database.execute(lose, &[&ids]).await.unwrap();
}

pub(super) async fn rows(database: &Client, schema: &str) -> Vec<String> {
    let rows = database.query(&format!("SELECT id::text FROM {schema}.events"), &[]).await.unwrap();
    sorted(rows.iter().map(|row| row.get(0)).collect())
}

pub(super) async fn until_stored(app: &TestApp, ids: &[String]) {
    eventually("all events are there, each once", async || {
        (sorted(app.processed().await) == sorted(ids.to_vec())).then_some(())
    })
    .await;
}

/// The ids on a page, and the next page's path.
pub(super) async fn page(app: &TestApp, path: &str) -> (Vec<String>, Option<String>) {
    let answer = app.get(path).await;
    let link = answer.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
    let next = link.and_then(|link| Some(link.split_once('<')?.1.split_once('>')?.0.to_owned()));
    let events: Vec<Value> = answer.json().await.unwrap();
    (events.iter().map(|event| event["eventId"].as_str().unwrap().to_owned()).collect(), next)
}

#[tokio::test(flavor = "multi_thread")]
async fn under_a_running_service_the_topic_is_processed_again_and_each_event_is_there_once() {
    let Some(stores) = Stores::in_postgres() else { return };
    let (cluster, url) = (TestCluster::start().await, switch("TEST_POSTGRES_URL").unwrap());
    let (config, database) = stores.database().await.unwrap();
    let settings = settings(&url, &config.schema);
    let (one, two) = (ready(&cluster, &settings).await, ready(&cluster, &settings).await);
    let mut ids = posted(&one, 20).await;
    lose(&database, &ids[3..9]).await;
    let before: BTreeMap<i32, i64> = cluster.ends().await;

    // Nobody posts meanwhile: the instances notice all the same.
    let (is_done, said) = replay(&cluster, &settings, &["--from", "earliest"]).await.unwrap();
    assert!(is_done, "{said}");
    assert!(said.lines().any(|line| line.split_whitespace().collect::<Vec<_>>() == ["all", "20"]), "{said}");
    until_stored(&one, &ids).await;
    assert_eq!(sorted(two.processed().await), sorted(ids.clone()));
    cluster.until_committed_to_the_end().await;
    assert_eq!(cluster.ends().await, before, "nothing is written to the topic");
    for id in &ids {
        let processed = processed_lines::of(id);
        assert_eq!(processed, 1 + usize::from(ids[3..9].contains(id)), "{id}: a copy is not processed");
    }
    ids.extend(posted(&two, 3).await);
    until_stored(&one, &ids).await;
    one.stop().await;
    two.stop().await;
    stores.clean_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_tells_the_stretches_of_times_and_offsets_and_changes_nothing() {
    let Some(stores) = Stores::in_postgres() else { return };
    let (cluster, url) = (TestCluster::start().await, switch("TEST_POSTGRES_URL").unwrap());
    let (config, database) = stores.database().await.unwrap();
    let settings = settings(&url, &config.schema);
    cluster.create_topic(2, &[]).await;
    let app = ready(&cluster, &settings).await;
    posted(&app, 6).await;
    let ends = cluster.ends().await;
    let between = chrono::Utc::now();
    posted(&app, 4).await;
    let now = cluster.ends().await;
    app.stop().await;
    let positions =
        "SELECT array_agg((partition, epoch, base, next)::text ORDER BY partition) FROM partitions";
    let state = async || database.query_one(positions, &[]).await.unwrap().get::<_, Vec<String>>(0);
    let (before, committed) = (state().await, cluster.committed().await);
    let between = between.to_rfc3339();
    let line = |partition: i32, from: i64, to: i64| format!("{partition} {from} {to} {}", to - from);
    for (args, stretches) in [
        (vec!["--from", "earliest"], vec![line(0, 0, now[&0]), line(1, 0, now[&1])]),
        (vec!["--from", "0/1"], vec![line(0, 1, now[&0])]),
        (vec!["--from", &between], vec![line(0, ends[&0], now[&0]), line(1, ends[&1], now[&1])]),
        (vec!["--from", "earliest", "--to", &between], vec![line(0, 0, ends[&0]), line(1, 0, ends[&1])]),
        (vec!["--from", "2999-01-01T00:00:00Z"], vec![]),
    ] {
        let args: Vec<&str> = args.into_iter().chain(["--dry-run"]).collect();
        let (is_done, said) = replay(&cluster, &settings, &args).await.unwrap();
        let lines: Vec<String> =
            said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let wanted: Vec<String> = stretches.into_iter().filter(|line| !line.ends_with(" 0")).collect();
        assert!(is_done, "{said}");
        assert_eq!(lines[1..lines.len() - 1], wanted, "{args:?}");
    }
    for (args, says) in [(["--from", "0/99"], "99 is none of them"), (["--from", "7/0"], "no partition 7")] {
        let refused = replay(&cluster, &settings, &args).await.unwrap_err().to_string();
        assert!(refused.contains(says), "{refused}");
    }
    assert_eq!(state().await, before);
    assert_eq!(cluster.committed().await, committed);
    stores.clean_up().await;
}

/// The test is the one that processes, since a service takes more records at a time than there are.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_after_the_stretch_is_not_processed_again() {
    let Some(stores) = Stores::in_postgres() else { return };
    let (cluster, url) = (TestCluster::start().await, switch("TEST_POSTGRES_URL").unwrap());
    let (config, database) = stores.database().await.unwrap();
    let settings = settings(&url, &config.schema);
    cluster.create_topic(1, &[]).await;
    let app = ready(&cluster, &settings).await;
    let ids = posted(&app, 10).await;
    app.stop().await;
    let position = async || {
        let next = "SELECT next - base, topic_id FROM partitions";
        let row = database.query_one(next, &[]).await.unwrap();
        (row.get::<_, i64>(0), row.get::<_, Option<Uuid>>(1))
    };
    let replaying = replay(&cluster, &settings, &["--from", "0/2", "--to", "0/5"]);
    let processing = async {
        let topic_id = eventually("the position is moved back", async || {
            let (offset, topic_id) = position().await;
            (offset == 2).then_some(topic_id)
        })
        .await;
        let mut config = config.clone();
        config.topic.clone_from(&cluster.topic);
        let store = PostgresStore::open(config).await.unwrap();
        let log = Log { topic_id, offsets: 0..10 };
        // The group's offset, too, as there is no member.
        assert_eq!(cluster.committed().await[&0], 2);
        assert_eq!(store.take_up(0, &log).await.unwrap(), Start::At(2.into()));
        store.advance(0, 6.into()).await.unwrap();
        (store, log)
    };
    let (replayed, (store, log)) = tokio::join!(replaying, processing);
    let (is_done, said) = replayed.unwrap();
    assert!(is_done && said.contains("goes on at 10"), "{said}");
    assert!(
        store.advance(0, 7.into()).await.is_err(),
        "the claim of the instance that processed it is refused"
    );
    let Start::At(next) = store.take_up(0, &log).await.unwrap() else { panic!("it has a position") };
    assert!(next.offset == 10 && next.leader_epoch.is_some(), "as it was: {next:?}");
    assert_eq!(rows(&database, &config.schema).await, sorted(ids));
    stores.clean_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_memory_the_groups_offsets_are_moved_once_it_has_no_member() {
    let cluster = TestCluster::start().await;
    cluster.create_topic(1, &[]).await;
    let app = TestApp::ready(&cluster).await;
    let ids = posted(&app, 6).await;
    cluster.until_committed_to_the_end().await;
    let from = ["--from", "0/2"];
    let refused = replay(&cluster, &[], &from).await.unwrap_err().to_string();
    assert!(refused.contains("has members") && refused.contains("nothing is moved"), "{refused}");
    assert_eq!(cluster.committed().await[&0], 6);
    let refused = replay(&cluster, &[], &["--from", "0/2", "--to", "0/3"]).await.unwrap_err().to_string();
    assert!(refused.contains("STORE_URL"), "{refused}");
    app.stop().await;
    let (is_done, said) = replay(&cluster, &[], &from).await.unwrap();
    assert!(is_done, "{said}");
    assert_eq!(cluster.committed().await[&0], 2);
    let app = TestApp::ready(&cluster).await;
    cluster.until_committed_to_the_end().await;
    assert_eq!(app.processed().await, ids, "each once, in order");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_schema_is_filled_and_takes_the_place_of_the_one_that_serves_under_load() {
    let Some(stores) = Stores::in_postgres() else { return };
    let (cluster, url) = (TestCluster::start().await, switch("TEST_POSTGRES_URL").unwrap());
    let (config, database) = stores.database().await.unwrap();
    let serving = config.schema.as_str();
    let (settings, filled) = (settings(&url, serving), format!("{serving}_new"));
    let (one, two) = (ready(&cluster, &settings).await, ready(&cluster, &settings).await);
    let mut ids = posted(&one, 10).await;
    // Events that the retention has deleted do not come back.
    lose(&database, &ids[..2]).await;
    let departed: Vec<Uuid> = ids.drain(..2).map(|id| id.parse().unwrap()).collect();
    database.execute("INSERT INTO departed (id) SELECT unnest($1::uuid[])", &[&departed]).await.unwrap();
    let role = format!("{serving}_reader");
    let grants = format!(
        "CREATE ROLE {role}; GRANT USAGE ON SCHEMA {serving} TO {role}; GRANT SELECT ON {serving}.events TO {role}"
    );
    database.batch_execute(&grants).await.unwrap();

    let load = one.load();
    load.until_acknowledged(300).await;
    eventually("they are stored", async || (rows(&database, serving).await.len() >= 300).then_some(())).await;
    let (mut listed, mut next) = page(&two, "/events/processed?limit=50").await;
    let (is_done, said) = replay(&cluster, &settings, &["--into", &filled]).await.unwrap();
    assert!(is_done, "{said}");
    let count = format!("SELECT count(*) FROM {filled}.events");
    assert!(database.query_one(&count, &[]).await.unwrap().get::<_, i64>(0) >= 300, "it is filled");
    let (is_done, said) = replay(&cluster, &settings, &["--into", &filled, "--swap"]).await.unwrap();
    assert!(is_done, "{said}");
    let more = load.acknowledged() + 300;
    load.until_acknowledged(more).await;
    ids.extend(load.end().await);
    for app in [&one, &two] {
        until_stored(app, &ids).await;
    }
    assert_eq!(rows(&database, serving).await, sorted(ids.clone()), "the new one serves");
    let before: BTreeSet<String> = rows(&database, &filled).await.into_iter().collect();
    assert!(before.len() < ids.len(), "what served before gets nothing any more");
    assert!(before.iter().all(|id| ids.contains(id)));
    // A listing that was begun before goes on without a gap.
    while let Some(path) = next {
        let (ids, after) = page(&two, &path).await;
        listed.extend(ids);
        next = after;
    }
    let before_the_swap = listed.len();
    listed.sort();
    listed.dedup();
    assert_eq!(listed.len(), before_the_swap, "none is listed twice");
    assert!(listed.len() >= 300 && listed.iter().all(|id| ids.contains(id)), "{}", listed.len());
    let may = format!("SELECT has_table_privilege('{role}', '{serving}.events', 'SELECT')");
    assert!(database.query_one(&may, &[]).await.unwrap().get::<_, bool>(0), "rights go with the name");
    cluster.until_committed_to_the_end().await;
    one.stop().await;
    two.stop().await;
    let clean = format!("DROP SCHEMA {filled} CASCADE; DROP SCHEMA {serving} CASCADE; DROP ROLE {role}");
    database.batch_execute(&clean).await.unwrap();
    stores.clean_up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_is_refused_where_the_topic_no_longer_has_all_that_is_stored() {
    let Some(stores) = Stores::in_postgres() else { return };
    let (cluster, url) = (TestCluster::embedded().await, switch("TEST_POSTGRES_URL").unwrap());
    let (config, database) = stores.database().await.unwrap();
    let serving = config.schema.as_str();
    let (settings, filled) = (settings(&url, serving), format!("{serving}_new"));
    cluster.create_topic(1, &[]).await;
    let app = ready(&cluster, &settings).await;
    let ids = posted(&app, 10).await;
    cluster.broker().delete_records_before(&cluster.topic, 0, 4);
    let swap = ["--into", &filled, "--swap"];
    let refused = replay(&cluster, &settings, &swap).await.unwrap_err().to_string();
    assert!(refused.contains("nothing is changed: 4 events"), "{refused}");
    assert_eq!(sorted(app.processed().await), sorted(ids.clone()));
    let (is_done, said) =
        replay(&cluster, &settings, &[&swap[..], &["--allow-loss"]].concat()).await.unwrap();
    assert!(is_done, "{said}");
    until_stored(&app, &ids[4..]).await;
    // The same again brings back what served before.
    let (is_done, said) = replay(&cluster, &settings, &swap).await.unwrap();
    assert!(is_done, "{said}");
    until_stored(&app, &ids).await;
    let refused = replay(&cluster, &settings, &["--into", serving, "--swap"]).await.unwrap_err().to_string();
    assert!(refused.contains("the one that serves"), "{refused}");
    let refused = replay(&cluster, &settings, &["--into", &url, "--swap"]).await.unwrap_err().to_string();
    assert!(refused.contains("same database"), "{refused}");
    app.stop().await;
    database.batch_execute(&format!("DROP SCHEMA {filled} CASCADE")).await.unwrap();
    stores.clean_up().await;
}
