//! The file that the database's URL stands in is read again when it changes.

use std::fs;

use highwater::store::{EventStore, PostgresConfig, PostgresStore, PostgresUrl};
use uuid::Uuid;

use super::{
    server::Server,
    stores::{Stores, admit, all, begin, records},
};
use crate::support::eventually;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_password_of_the_database_needs_no_restart() {
    let Some(server) = Server::start().await else { return };
    let (config, _) = Stores::in_postgres().unwrap().database().await.unwrap();
    let file = std::env::temp_dir().join(format!("highwater-url-{}", Uuid::new_v4()));
    fs::write(&file, format!("{}\n", server.url)).unwrap();
    let url = PostgresUrl::from_file(&file).unwrap();
    let store = PostgresStore::open(PostgresConfig { url, ..config }).await.unwrap();
    begin(&store, 0).await;
    admit(&store, 0, records(0, 0..2)).await;

    let renew = "ALTER ROLE highwater PASSWORD 'another'; \
                 SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'highwater'";
    server.psql(renew).await;
    eventually("the old password is refused", async || {
        store.end().await.err().is_some_and(|refused| refused.to_string().contains("[28P01]")).then_some(())
    })
    .await;
    fs::write(&file, server.url.replacen(":highwater@", ":another@", 1)).unwrap();
    eventually("the new one is used", async || store.end().await.ok()).await;
    begin(&store, 0).await;
    admit(&store, 0, records(2, 2..4)).await;
    assert_eq!(all(&store).await, [0, 1, 2, 3]);
    fs::remove_file(file).unwrap();
}
