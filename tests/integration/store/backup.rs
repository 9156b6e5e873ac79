//! Backups of the database, and what the topic has since.

use std::{fs, path::PathBuf};

use uuid::Uuid;

use super::{
    server::Server,
    service::{ready, sorted},
};
use crate::support::{TestApp, TestCluster, eventually, processed_lines};

async fn post(app: &TestApp, ids: &mut Vec<String>) {
    for number in 0..10 {
        ids.push(app.generate(&format!("user-{number}")).await.id);
    }
    for id in ids.iter() {
        app.until_processed(id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_is_brought_up_to_date_from_its_own_positions() {
    let Some(server) = Server::start().await else { return };
    let cluster = TestCluster::start().await;
    let settings = [("STORE_URL", server.url.as_str())];
    let app = ready(&cluster, &settings).await;
    let (mut ids, mut positions) = (Vec::new(), Vec::new());
    post(&app, &mut ids).await;
    // From a running service: it is of one moment all the same.
    let dump: PathBuf = std::env::temp_dir().join(format!("highwater-{}.dump", Uuid::new_v4()));
    fs::write(&dump, server.client("pg_dump", &["-Fc", "-n", "highwater"]).await).unwrap();
    let position = "SELECT sum(next - base) FROM highwater.partitions";
    positions.push(server.psql(position).await);
    post(&app, &mut ids).await;
    cluster.until_committed_to_the_end().await;
    positions.push(server.psql(position).await);
    app.stop().await;

    server.psql("DROP SCHEMA highwater CASCADE").await;
    server.client("pg_restore", &[&dump.display().to_string()]).await;
    assert_eq!(server.psql("SELECT count(*) FROM highwater.events").await.trim(), "10");
    assert_eq!(
        server.psql(position).await,
        positions[0],
        "the backup's own, below what the group has committed"
    );
    let app = ready(&cluster, &settings).await;
    eventually("all events are there again", async || {
        (sorted(app.processed().await) == sorted(ids.clone())).then_some(())
    })
    .await;
    cluster.until_committed_to_the_end().await;
    assert_eq!(server.psql(position).await, positions[1]);
    for id in &ids {
        let again = usize::from(ids[10..].contains(id));
        assert_eq!(processed_lines::of(id), 1 + again, "what the backup has is not processed again");
    }

    // A backup that is restored under a running service is noticed, also while nobody posts.
    server.psql("DROP SCHEMA highwater CASCADE").await;
    server.client("pg_restore", &[&dump.display().to_string()]).await;
    eventually("all events are there again", async || {
        let rows = server.psql("SELECT id FROM highwater.events").await;
        (sorted(rows.lines().map(str::to_owned).collect()) == sorted(ids.clone())).then_some(())
    })
    .await;
    app.stop().await;
    fs::remove_file(dump).unwrap();
}
