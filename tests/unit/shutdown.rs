//! The request to stop.

use highwater_web::shutdown::Shutdown;

#[tokio::test]
async fn a_request_reaches_every_clone_and_those_who_ask_late() {
    let shutdown = Shutdown::new();
    let (early, late) = (shutdown.clone(), shutdown.clone());
    let waiting = tokio::spawn(async move { early.requested().await });
    assert!(!late.is_requested());
    shutdown.request();
    shutdown.request();
    waiting.await.expect("the task ends");
    late.requested().await;
    assert!(late.is_requested());
}

#[test]
fn what_is_unfinished_is_named_until_it_is_dropped() {
    let shutdown = Shutdown::new();
    let connections = shutdown.part("connections");
    let (first, second) = (shutdown.part("a consumer"), shutdown.clone().part("a consumer"));
    assert_eq!(shutdown.unfinished(), ["connections", "a consumer", "a consumer"]);
    drop(first);
    drop(connections);
    assert_eq!(shutdown.unfinished(), ["a consumer"]);
    drop(second);
    assert!(shutdown.unfinished().is_empty());
}
