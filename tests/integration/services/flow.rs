//! All three services on one Kafka, and restarts among them.

use reqwest::Method;
use serde_json::json;

use super::{ordered, registered, step};
use crate::support::{Instance, TestApp, TestCluster};

#[tokio::test(flavor = "multi_thread")]
async fn register_act_order_ship_and_delete_are_seen_in_all_three() {
    let cluster = TestCluster::start().await;
    let activity = TestApp::ready(&cluster).await;
    let (users, orders) = tokio::join!(Instance::users(&cluster), Instance::orders(&cluster));
    let user = registered(&users, "ann@example.org").await;
    let event = activity.generate(&user).await;
    activity.until_processed(&event.id).await;
    let (open, shipped) = (ordered(&orders, &user).await, ordered(&orders, &user).await);
    for action in ["confirm", "pay", "ship"] {
        step(&orders, &shipped, action).await.ok(200);
    }
    assert_eq!(users.send(Method::DELETE, &format!("/users/{user}")).await.status, 204);
    orders
        .until(&format!("/orders?userId={user}&status=cancelled"), |found| {
            found["orders"][0]["orderId"] == open["orderId"]
        })
        .await;
    step(&orders, &shipped, "deliver").await.ok(200);
    assert_eq!(users.get(&format!("/users/{user}")).await.status, 404);
    let events = activity.read(&format!("/api/events/user/{user}")).await;
    assert_eq!(events["count"], 1);
    activity.stop().await;
    users.stop().await;
    orders.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_both_services_have_all_that_was_acknowledged_once() {
    let cluster = TestCluster::start().await;
    let (users, orders) = tokio::join!(Instance::users(&cluster), Instance::orders(&cluster));
    let mut expected = Vec::new();
    for number in 0..10 {
        let user = registered(&users, &format!("user-{number}@example.org")).await;
        let order = ordered(&orders, &user).await;
        expected.push(step(&orders, &order, "confirm").await.ok(200));
    }
    users.kill();
    orders.kill();
    let (users, orders) = tokio::join!(Instance::users(&cluster), Instance::orders(&cluster));
    assert_eq!(users.get("/users").await.ok(200)["count"], 10);
    assert_eq!(orders.get("/orders").await.ok(200)["count"], 10);
    for order in expected {
        let path = format!("/orders/{}", order["orderId"].as_str().unwrap());
        assert_eq!(orders.get(&path).await.ok(200), order);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_deleted_while_the_order_service_is_away_has_no_open_order_when_it_is_back() {
    let cluster = TestCluster::start().await;
    let (users, orders) = tokio::join!(Instance::users(&cluster), Instance::orders(&cluster));
    let user = registered(&users, "ann@example.org").await;
    let order = ordered(&orders, &user).await;
    orders.kill();
    assert_eq!(users.send(Method::DELETE, &format!("/users/{user}")).await.status, 204);
    let (one, other) = tokio::join!(Instance::orders(&cluster), Instance::orders(&cluster));
    let path = format!("/orders/{}", order["orderId"].as_str().unwrap());
    for instance in [&one, &other] {
        let cancelled = instance.until(&path, |order| order["status"] == "Cancelled").await;
        assert_eq!(cancelled["history"].as_array().unwrap().len(), 2);
    }
    let health = one.get("/health").await.ok(200);
    let groups: Vec<_> = health["groups"].as_object().unwrap().keys().cloned().collect();
    let mut topics = vec![cluster.users(), cluster.orders()];
    topics.sort();
    assert_eq!(groups, topics);
    assert_eq!(health["groups"][cluster.users()]["id"], json!(cluster.group));
}
