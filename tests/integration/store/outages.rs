//! A service whose PostgreSQL fails it: posts go on, the partition waits and says why, and all heals by itself.

use std::{path::PathBuf, process::Command, time::Duration};

use highwater_kafka::Publisher;
use serde_json::{Value, json};
use tokio_postgres::NoTls;
use uuid::Uuid;

use super::{
    link::Link,
    server::Server,
    service::{ready, sorted},
};
use crate::{
    activity::message,
    support::{TestApp, TestCluster, eventually},
};

/// A service with one partition, on a server of its own.
struct Trial {
    cluster: TestCluster,
    server: Server,
    app: TestApp,
    ids: Vec<String>,
}

impl Trial {
    /// The service reaches the server by `url`, with these settings beside the trial's own.
    async fn begin_by(server: Server, url: &str, further: &[(&str, &str)]) -> Self {
        let cluster = TestCluster::start().await;
        cluster.create_topic(1, &[]).await;
        let mut settings = vec![
            ("STORE_URL", url),
            ("STORE_TIMEOUT", "4s"),
            ("STORE_CONNECT_TIMEOUT", "1s"),
            ("MAX_BODY_BYTES", "1MiB"),
        ];
        settings.extend(further);
        let app = ready(&cluster, &settings).await;
        let mut trial = Self { cluster, server, app, ids: Vec::new() };
        trial.post(3, 0).await;
        trial.until_all_well().await;
        trial
    }

    /// `None` where PostgreSQL is not tested with.
    async fn begin() -> Option<Self> {
        let server = Server::start().await?;
        let url = server.url.clone();
        Some(Self::begin_by(server, &url, &[]).await)
    }

    /// As [`Trial::begin`], by a link.
    async fn begin_by_link(further: &[(&str, &str)]) -> Option<(Self, Link)> {
        let server = Server::start().await?;
        let link = Link::to(server.port()).await;
        let url = server.url.replace(&format!(":{}/", server.port()), &format!(":{}/", link.port));
        Some((Self::begin_by(server, &url, further).await, link))
    }

    /// Posts events, each with a payload of so many bytes; Kafka takes them, whatever the database does.
    async fn post(&mut self, events: usize, bytes: usize) {
        for _ in 0..events {
            // PostgreSQL compresses what repeats.
            let payload: String = (0..bytes / 32).map(|_| Uuid::new_v4().simple().to_string()).collect();
            let event = json!({"userId": "ada", "eventType": "LOGIN", "payload": {"x": payload}});
            self.ids.push(self.app.generate_from(&event).await.id);
        }
    }

    /// While a fault lasts: what is posted waits, and the reason has one of these words.
    async fn suffers(&mut self, bytes: usize, words: &[&str]) {
        self.post(3, bytes).await;
        let says =
            |error: &Value| error.as_str().is_some_and(|error| words.iter().any(|word| error.contains(word)));
        eventually(&format!("the store and its partition say {words:?}"), async || {
            let health = self.app.read("/health").await;
            let partition = &health["group"]["partitions"][0]["error"];
            let is_told = says(&health["store"]["error"]) && says(partition);
            assert!(!health.to_string().contains("role "), "no name of a role is for everyone: {health}");
            is_told.then_some(())
        })
        .await;
        assert_eq!(self.app.get("/ready").await.status(), 200, "Kafka is there, and keeps what is posted");
        let metrics = self.app.get("/metrics").await.text().await.unwrap();
        for told in ["highwater_store_up 0", "highwater_kafka_connected 1"] {
            assert!(metrics.contains(told), "{told}");
        }
    }

    /// Once it is over: everything is there once, without a restart.
    async fn until_all_well(&self) {
        eventually("all is there, and well", async || {
            let answer = self.app.get("/events/processed").await;
            if answer.status() != 200 {
                return None;
            }
            let events: Vec<Value> = answer.json().await.ok()?;
            let ids = events.iter().map(|event| event["eventId"].as_str().unwrap().to_owned()).collect();
            let health = self.app.read("/health").await;
            let is_well =
                health["store"]["error"].is_null() && health["group"]["partitions"][0]["error"].is_null();
            (is_well && sorted(ids) == sorted(self.ids.clone())).then_some(())
        })
        .await;
        let rows = self.server.psql("SELECT id FROM highwater.events").await;
        assert_eq!(sorted(rows.lines().map(str::to_owned).collect()), sorted(self.ids.clone()));
        self.cluster.until_committed_to_the_end().await;
    }

    async fn end(self) {
        self.app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_paused_killed_or_restarted_is_waited_for() {
    let Some(mut trial) = Trial::begin().await else { return };
    trial.server.does("pause").await;
    trial.suffers(0, &["no answer within", "no connection within", "became free"]).await;
    trial.server.does("resume").await;
    trial.until_all_well().await;
    trial.server.does("kill").await;
    trial.suffers(0, &["cannot be reached", "closed", "reset"]).await;
    trial.server.does("revive").await;
    trial.until_all_well().await;
    trial.server.does("restart").await;
    trial.post(3, 0).await;
    trial.until_all_well().await;
    trial.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_to_write_is_asked_until_it_does() {
    let Some(mut trial) = Trial::begin().await else { return };
    let kick = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'highwater'";
    for (fault, mend, words) in [
        // As after a failover that leaves a standby where the primary was.
        (
            "ALTER ROLE highwater SET default_transaction_read_only TO on",
            "ALTER ROLE highwater RESET default_transaction_read_only",
            "[25006]",
        ),
        ("ALTER ROLE highwater CONNECTION LIMIT 0", "ALTER ROLE highwater CONNECTION LIMIT -1", "[53300]"),
        ("ALTER ROLE highwater NOLOGIN", "ALTER ROLE highwater LOGIN", "[28000]"),
    ] {
        trial.server.psql(&format!("{fault}; {kick}")).await;
        trial.suffers(0, &[words]).await;
        trial.server.psql(&format!("{mend}; {kick}")).await;
        trial.until_all_well().await;
    }
    trial.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_is_out_of_time_or_in_a_deadlock_is_followed_by_a_look_at_the_position() {
    let Some(mut trial) = Trial::begin().await else { return };
    let (other, connection) = tokio_postgres::connect(&trial.server.url, NoTls).await.unwrap();
    tokio::spawn(connection);
    other
        .batch_execute("SET search_path TO highwater; BEGIN; LOCK TABLE blocks IN SHARE MODE")
        .await
        .unwrap();
    trial.suffers(0, &["[57014]", "[55P03]"]).await;
    other.batch_execute("ROLLBACK").await.unwrap();
    trial.until_all_well().await;

    // A waiting session looks for a deadlock after that time.
    trial.server.psql("ALTER SYSTEM SET deadlock_timeout TO '2s'").await;
    trial.server.does("reload").await;
    // The write has the partition's row, and waits for the id; the other has the id, and waits for the row.
    let id = Uuid::new_v4();
    let (other, connection) = tokio_postgres::connect(&trial.server.url, NoTls).await.unwrap();
    tokio::spawn(connection);
    other.batch_execute("SET search_path TO highwater; BEGIN").await.unwrap();
    other.execute("INSERT INTO events SELECT 9, 0, $1, '', '', now(), now(), '{}'", &[&id]).await.unwrap();
    let client = trial.cluster.client();
    let event = json!({"eventId": id, "userId": "ada", "eventType": "LOGIN"}).to_string();
    client.producer(client.topic()).publish(message("ada", event)).await.unwrap();
    trial.ids.push(id.to_string());
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    eventually("the write waits", async || (trial.server.psql(waiting).await.trim() != "0").then_some(()))
        .await;
    // The session that waited first notices first, and is the victim.
    let locked = other.execute("UPDATE partitions SET owner = owner WHERE partition = 0", &[]);
    assert!(locked.await.is_ok(), "the other is not the victim");
    trial.suffers(0, &["[40P01]", "[57014]", "[55P03]"]).await;
    other.batch_execute("ROLLBACK").await.unwrap();
    trial.until_all_well().await;
    let log = trial.server.log();
    assert!(log.contains("deadlock detected"), "there was one");
    trial.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_is_waited_for() {
    let Some(mut trial) = Trial::begin().await else { return };
    let Some(disk) = Disk::mount() else {
        // As the server says it.
        trial
            .server
            .psql(
                "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION \
                 'could not extend file' USING ERRCODE = '53100'; END $$; CREATE TRIGGER full_disk BEFORE INSERT ON \
                 highwater.events FOR EACH ROW EXECUTE FUNCTION full_disk()",
            )
            .await;
        trial.suffers(0, &["[53100]"]).await;
        trial.server.psql("DROP TRIGGER full_disk ON highwater.events").await;
        trial.until_all_well().await;
        return trial.end().await;
    };
    let directory = disk.0.display();
    trial.server.psql(&format!("CREATE TABLESPACE small LOCATION '{directory}'")).await;
    trial.server.psql("ALTER TABLE highwater.events SET TABLESPACE small").await;
    let filler = disk.0.join("filler");
    // As much as goes in.
    std::fs::write(&filler, vec![0; 64 << 20]).unwrap_err();
    trial.suffers(300_000, &["[53100]"]).await;
    std::fs::remove_file(filler).unwrap();
    trial.until_all_well().await;
    trial.server.psql("ALTER TABLE highwater.events SET TABLESPACE pg_default").await;
    trial.end().await;
}

/// A small disk of its own; dropped, it is gone.
struct Disk(PathBuf);

impl Disk {
    /// `None` where this process may not mount one.
    fn mount() -> Option<Self> {
        let disk = Self(std::env::temp_dir().join(format!("highwater-disk-{}", Uuid::new_v4())));
        std::fs::create_dir(&disk.0).unwrap();
        let options = ["-t", "tmpfs", "-o", "size=8m,mode=0777", "tmpfs"];
        let mounted = Command::new("mount").args(options).arg(&disk.0).output();
        mounted.is_ok_and(|mounted| mounted.status.success()).then_some(())?;
        let owned = Command::new("chown").arg("postgres").arg(&disk.0).output();
        owned.is_ok_and(|owned| owned.status.success()).then_some(disk)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the server may still have files open there.
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// The server has the whole statement, and its answer never comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_in_the_middle_of_a_commit_neither_loses_nor_doubles() {
    let Some((mut trial, link)) = Trial::begin_by_link(&[]).await else { return };
    for round in 1..=5 {
        let first = trial.ids[0].clone();
        let again = async |trial: &Trial, event_type: &str| {
            let payload = json!({"x": ""});
            let event =
                json!({"eventId": first, "userId": "ada", "eventType": event_type, "payload": payload});
            trial.app.generate_from(&event).await;
        };
        // After a copy, a batch with another one is stored at once, and so although its answer is lost.
        again(&trial, "LOGIN").await;
        trial.until_all_well().await;
        link.lose_answers(true);
        again(&trial, "LOGOUT").await;
        trial.suffers(0, &["closed", "reset", "cannot be reached", "unexpected", "eof", "EOF"]).await;
        link.lose_answers(false);
        trial.until_all_well().await;
        let health = trial.app.read("/health").await;
        assert_eq!(
            health["store"]["conflicts"], round,
            "other content under a known id is told all the same"
        );
    }
    trial.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_late_count_within_the_time_out_and_beyond_it_they_are_waited_for() {
    let further = [("STORE_TIMEOUT", "2s"), ("STORE_CONNECT_TIMEOUT", "10s")];
    let Some((mut trial, link)) = Trial::begin_by_link(&further).await else { return };
    link.delay(Duration::from_millis(700));
    trial.post(3, 0).await;
    trial.until_all_well().await;
    let metrics = trial.app.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("highwater_store_up 1"), "late is not away");
    link.delay(Duration::from_secs(4));
    trial.suffers(0, &["no answer within", "no connection within", "became free"]).await;
    link.delay(Duration::ZERO);
    trial.until_all_well().await;
    trial.end().await;
}

/// The first of the URL's hosts is as a standby after a failover.
#[tokio::test(flavor = "multi_thread")]
async fn of_several_servers_the_one_that_can_be_written_is_found() {
    let Some(standby) = Server::start().await else { return };
    standby.psql("ALTER SYSTEM SET default_transaction_read_only TO on").await;
    standby.does("reload").await;
    let primary = Server::start().await.unwrap();
    let both = format!("127.0.0.1:{},127.0.0.1:{}/", standby.port(), primary.port());
    let url = primary.url.replace(&format!("127.0.0.1:{}/", primary.port()), &both);
    let url = format!("{url}?target_session_attrs=read-write");
    let mut trial = Trial::begin_by(primary, &url, &[]).await;
    trial.server.does("restart").await;
    trial.post(3, 0).await;
    trial.until_all_well().await;
    let tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'highwater'";
    assert_eq!(standby.psql(tables).await.trim(), "0");
    trial.end().await;
}
