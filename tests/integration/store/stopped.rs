//! A process that is stopped beyond its session and goes on.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::server::Server;
use crate::support::{Program, TestCluster, eventually};

/// An instance, which PostgreSQL knows by that name.
fn start(cluster: &TestCluster, server: &Server, name: &str) -> Program {
    let mut command = Program::command(cluster);
    command.env("STORE_URL", format!("{}?application_name={name}", server.url)).envs([
        ("KAFKA_SESSION_TIMEOUT", "6s"),
        ("KAFKA_HEARTBEAT_INTERVAL", "500ms"),
        ("KAFKA_REBALANCE_TIMEOUT", "12s"),
        ("KAFKA_REQUEST_TIMEOUT", "2s"),
        ("LOG_FORMAT", "json"),
    ]);
    Program::start(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_goes_on_after_its_session_writes_nothing_under_its_old_claim() {
    let Some(server) = Server::start().await else { return };
    let cluster = TestCluster::start().await;
    cluster.create_topic(1, &[]).await;
    let instances = [start(&cluster, &server, "0"), start(&cluster, &server, "1")];
    let addresses = [instances[0].address().await, instances[1].address().await];
    let http = reqwest::Client::new();
    let post = async |instance: usize| -> String {
        let (url, event) = (
            format!("{}/events/generate", addresses[instance]),
            json!({"userId": "ada", "eventType": "LOGIN"}),
        );
        let answer = http.post(url).json(&event).send().await.unwrap();
        answer.json::<Value>().await.unwrap()["eventId"].as_str().unwrap().to_owned()
    };
    // A row's connection tells its writer.
    server
        .psql(
            "ALTER TABLE highwater.events ADD COLUMN writer text DEFAULT current_setting('application_name')",
        )
        .await;
    let writers = async |ids: &[String]| {
        eventually("they are stored", async || {
            let rows = server.psql("SELECT id, writer FROM highwater.events").await;
            let rows: Vec<(&str, &str)> = rows.lines().filter_map(|row| row.split_once('|')).collect();
            let writer = |id: &String| Some(rows.iter().find(|(found, _)| found == id)?.1.parse().unwrap());
            ids.iter().map(writer).collect::<Option<Vec<usize>>>()
        })
        .await
    };
    let both = async || {
        eventually("both are in the group", async || {
            let members =
                http.get(format!("{}/group", addresses[0])).send().await.ok()?.json::<Value>().await.ok()?;
            (members["members"].as_array()?.len() == 2).then_some(())
        })
        .await;
    };
    both().await;
    let first = post(0).await;
    let owner = writers(std::slice::from_ref(&first)).await[0];
    let other = 1 - owner;

    let assigned = |instance: usize| instances[instance].log().text().matches("assigned: group").count();
    let assignments = assigned(owner);
    instances[owner].signal(Signal::STOP);
    eventually("all of it has stopped", || std::future::ready(instances[owner].is_stopped().then_some(())))
        .await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(post(other).await);
    }
    assert_eq!(writers(&ids).await, [other; 20], "after the session's end the other has the partition");
    instances[owner].signal(Signal::CONT);
    eventually("it is out, and joins again", || {
        std::future::ready((assigned(owner) > assignments).then_some(()))
    })
    .await;
    let more = post(owner).await;
    writers(std::slice::from_ref(&more)).await;
    assert_eq!(writers(&ids).await, [other; 20], "it has written nothing of what it had missed");
    let log = instances[owner].log().text();
    assert!(ids.iter().all(|id| !log.contains(id)), "nor says so");
    let rows = server.psql("SELECT count(*), count(DISTINCT id) FROM highwater.events").await;
    assert_eq!(rows.trim(), "22|22");
}
