//! One event by its id.

use std::{sync::Arc, time::Duration};

use highwater::store::{EventRecord, EventStore, MemoryStore};
use uuid::Uuid;

use super::service::{Service, event};

#[tokio::test]
async fn a_processed_event_is_found_by_its_id_however_it_is_written() {
    let service = Service::new();
    service.processed(event(0xabc, "u", "LOGIN")).await;
    let id = Uuid::from_u128(0xabc);
    for written in [id.to_string(), id.to_string().to_uppercase(), id.simple().to_string()] {
        let answer = service.get(&format!("/events/processed/{written}")).await;
        assert_eq!(answer.ok(200)["eventId"], id.to_string());
        assert_eq!(answer.text().as_bytes(), event(0xabc, "u", "LOGIN").json());
    }
}

#[tokio::test]
async fn an_event_that_is_not_processed_is_not_found() {
    let path = format!("/events/processed/{}", Uuid::from_u128(1));
    Service::new().get(&path).await.problem(404);
}

#[tokio::test]
async fn a_malformed_uuid_is_a_bad_request() {
    let nil = Uuid::nil().to_string();
    for id in ["1", "%20", "not-a-uuid", "%zz", "urn:uuid:0f8fad5b-d9cb-469f-a165-70867728950e", &nil] {
        assert_eq!(Service::new().get(&format!("/events/processed/{id}")).await.faults(), ["eventId"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_that_waits_is_answered_as_soon_as_its_event_is_processed() {
    let service = Arc::new(Service::new());
    let store: Arc<MemoryStore> = Arc::clone(&service.store);
    let begun = tokio::time::Instant::now();
    let processing = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(3)).await;
        store
            .admit(0, vec![EventRecord { offset: 0, written_at: 0, event: event(5, "u", "LOGIN") }], 1.into())
            .await
            .unwrap();
    });
    let answer = service.get(&format!("/events/processed/{}?wait=30s", Uuid::from_u128(5))).await;
    assert_eq!(answer.ok(200)["userId"], "u");
    assert_eq!(begun.elapsed().as_secs(), 3);
    processing.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_read_that_waits_in_vain_is_404_after_its_time() {
    for (wait, waited) in [("2s", 2000), ("500ms", 500), ("3", 3000), ("0", 0), ("30s", 30_000)] {
        let begun = tokio::time::Instant::now();
        let path = format!("/events/processed/{}?wait={wait}", Uuid::from_u128(5));
        Service::new().get(&path).await.problem(404);
        assert_eq!(begun.elapsed().as_millis(), waited, "{wait}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_every_wait() {
    let service = Service::new();
    service.processed(event(5, "u", "LOGIN")).await;
    let shutdown = service.shutdown.clone();
    let begun = tokio::time::Instant::now();
    let stopping = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        shutdown.request();
    };
    let path = |number| format!("/events/processed/{}?wait=30s", Uuid::from_u128(number));
    let missing = path(6);
    let (answer, ()) = tokio::join!(service.get(&missing), stopping);
    answer.problem(404);
    assert_eq!(begun.elapsed().as_secs(), 3);
    service.get(&path(5)).await.ok(200);
}

#[tokio::test]
async fn a_wait_is_at_most_half_a_minute_and_well_formed() {
    for wait in ["31s", "30001ms", "31", "99999999999999999999", "-1", "soon", "", "1m", "s", "1.5s"] {
        let path = format!("/events/processed/{}?wait={wait}", Uuid::from_u128(5));
        assert_eq!(Service::new().get(&path).await.faults(), ["wait"], "{wait}");
    }
}
