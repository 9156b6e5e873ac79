//! The shutdown request.

use highwater_web::shutdown::{Shutdown, Stage};

#[tokio::test]
async fn a_shutdown_request_reaches_every_clone_and_late_callers() {
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

#[tokio::test]
async fn the_stages_of_a_shutdown_never_go_back() {
    let shutdown = Shutdown::new();
    assert_eq!(shutdown.stage(), Stage::Running);
    shutdown.advance(Stage::Closing);
    shutdown.advance(Stage::Draining);
    assert_eq!(shutdown.stage(), Stage::Closing);
    shutdown.reached(Stage::Draining).await;
    assert!(!shutdown.is_requested());
    shutdown.request();
    shutdown.advance(Stage::Running);
    assert!(shutdown.is_requested());
}

#[test]
fn an_unfinished_part_is_named_until_it_is_dropped() {
    let shutdown = Shutdown::new();
    let connections = shutdown.component("connections");
    let (first, second) = (shutdown.component("a consumer"), shutdown.clone().component("a consumer"));
    assert_eq!(shutdown.unfinished(), ["connections", "a consumer", "a consumer"]);
    drop(first);
    drop(connections);
    assert_eq!(shutdown.unfinished(), ["a consumer"]);
    drop(second);
    assert!(shutdown.unfinished().is_empty());
}
