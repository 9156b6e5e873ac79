//! PostgreSQL does not do as it is told.

use std::time::Duration;

use highwater::store::{Erasure, EventStore, Log, PostgresStore, PostgresUrl};

use super::stores::{Stores, admit, all, begin, event, record, records};
use crate::support::{eventually, switch};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_number_of_processes_may_start_at_once_and_find_one_schema() {
    let Some(stores) = Stores::in_postgres() else { return };
    let opened = futures::future::join_all((0..5).map(|_| stores.open())).await;
    begin(&*opened[0], 0).await;
    admit(&*opened[0], 0, records(0, 0..2)).await;
    for store in &opened {
        assert_eq!(all(&**store).await, [0, 1]);
    }
    stores.clean_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_schema_is_refused_and_one_that_is_not_there_where_it_may_not_be_made() {
    let Some(stores) = Stores::in_postgres() else { return };
    let (mut config, database) = stores.database().await.unwrap();
    config.migrate = false;
    let missing = PostgresStore::open(config.clone()).await.unwrap_err();
    assert!(missing.to_string().contains("highwater migrate"), "{missing}");
    PostgresStore::migrate(&config).await.unwrap();
    PostgresStore::open(config.clone()).await.unwrap();
    database.batch_execute("INSERT INTO migrations (version) VALUES (99)").await.unwrap();
    for migrate in [true, false] {
        config.migrate = migrate;
        let newer = PostgresStore::open(config.clone()).await.unwrap_err();
        assert!(newer.to_string().contains("newer highwater"), "{newer}");
    }
    stores.clean_up().await;
}

/// A role that may read and write, and make nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_migrated_the_service_needs_no_right_to_change_the_schema() {
    let Some(stores) = Stores::in_postgres() else { return };
    let owner = stores.with_partitions(1).await;
    let (mut config, database) = stores.database().await.unwrap();
    let role = format!("{}_service", config.schema);
    let schema = &config.schema;
    let grants = format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'secret'; GRANT USAGE ON SCHEMA {schema} TO {role}; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}"
    );
    database.batch_execute(&grants).await.unwrap();
    config.url = PostgresUrl::parse(&as_role(&role)).unwrap();
    config.migrate = false;
    config.retention = Some(Duration::from_secs(60));
    let store = PostgresStore::open(config.clone()).await.unwrap();
    assert_eq!(begin(&store, 0).await, 0);
    admit(&store, 0, records(0, 0..3)).await;
    assert_eq!(all(&*owner).await, [0, 1, 2]);
    // An erasure and the retention lock a table; `highwater replay --from` sets the position back.
    admit(&store, 0, vec![record(3, event(100, "bob", "LOGIN"))]).await;
    store.erase(0, &Erasure { user_id: "bob".to_owned(), offset: 4 }, 5.into()).await.unwrap();
    assert_eq!(all(&*owner).await, [0, 1, 2]);
    let age = "UPDATE events SET stored_at = stored_at - interval '2 hours' WHERE position = 0";
    database.batch_execute(age).await.unwrap();
    eventually("what is old is gone", async || (all(&*owner).await == [1, 2]).then_some(())).await;
    store.move_to(0, 0.into()).await.unwrap();
    let again = records(0, 0..3).into_iter().chain([record(3, event(100, "bob", "LOGIN"))]).collect();
    assert_eq!(admit(&store, 0, again).await, [false; 4]);
    // As after a failover that leaves a standby where the primary was.
    let demoted = format!(
        "GRANT {role} TO CURRENT_USER; ALTER ROLE {role} SET default_transaction_read_only TO on; \
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'"
    );
    database.batch_execute(&demoted).await.unwrap();
    eventually("a write is refused as read-only", async || {
        let refused = store.admit(0, records(4, 4..5), 5.into()).await.unwrap_err();
        refused.to_string().contains("read-only").then_some(())
    })
    .await;
    database.batch_execute(&format!("ALTER ROLE {role} RESET default_transaction_read_only")).await.unwrap();
    assert_eq!(begin(&store, 0).await, 4);
    admit(&store, 0, records(4, 4..5)).await;
    assert_eq!(all(&*owner).await, [1, 2, 4]);
    drop(store);
    database.batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.unwrap();
    stores.clean_up().await;
}

fn as_role(role: &str) -> String {
    let url = switch("TEST_POSTGRES_URL").unwrap();
    let (_, address) = url.rsplit_once('@').unwrap();
    format!("postgres://{role}:secret@{address}")
}

/// Each fault ends the call with an error, and once it is over the same batch goes in once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_each_fault_the_batch_goes_in_once() {
    let Some(stores) = Stores::in_postgres() else { return };
    let (mut config, database) = stores.database().await.unwrap();
    config.timeout = Duration::from_millis(500);
    config.connections = (1, 1);
    let store = PostgresStore::open(config).await.unwrap();
    begin(&store, 0).await;
    let mut offset = 0;
    for (fault, mend, says) in [
        ("BEGIN; LOCK TABLE events", "ROLLBACK", "statement timeout"),
        (
            "ALTER TABLE events ADD CONSTRAINT full_disk CHECK (partition > 9) NOT VALID",
            "ALTER TABLE events DROP CONSTRAINT full_disk",
            "full_disk",
        ),
        ("ALTER TABLE blocks RENAME TO gone", "ALTER TABLE gone RENAME TO blocks", "blocks"),
    ] {
        database.batch_execute(fault).await.unwrap();
        let batch = || records(offset, offset as u32..offset as u32 + 5);
        let refused =
            eventually(says, async || store.admit(0, batch(), (offset + 5).into()).await.err()).await;
        assert!(refused.to_string().contains(says), "{refused}");
        assert!(store.error().is_some_and(|error| error.contains(says)));
        database.batch_execute(mend).await.unwrap();
        eventually("the batch is in", async || {
            if store.take_up(0, &Log { topic_id: None, offsets: 0..1 }).await.is_err() {
                return None;
            }
            let stored = all(&store).await.len() as i64;
            if stored == offset {
                store.admit(0, batch(), (offset + 5).into()).await.ok().map(drop)
            } else {
                Some(())
            }
        })
        .await;
        assert_eq!(store.error(), None);
        offset += 5;
        assert_eq!(all(&store).await, (0..offset as u32).collect::<Vec<_>>(), "{says}");
    }
    stores.clean_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_at_the_start_is_waited_for() {
    let Some(stores) = Stores::in_postgres() else { return };
    let (mut config, _) = stores.database().await.unwrap();
    config.url = PostgresUrl::parse("postgres://u:p@127.0.0.1:9/d").unwrap();
    let store = PostgresStore::open(config).await.unwrap();
    assert!(store.error().unwrap().contains("refused"), "{:?}", store.error());
    let unavailable = store.end().await.unwrap_err();
    assert!(unavailable.to_string().contains("refused"), "{unavailable}");
    stores.clean_up().await;
}
