//! All three services on one Kafka, and restarts among them.

use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;

use super::{ordered, registered, step, two_items};
use crate::support::{Instance, Program, Rest, TestCluster, send};

/// A service in a process of its own, ready, and as its clients see it.
async fn process(cluster: &TestCluster, service: &str) -> (Program, Rest) {
    let mut command = Program::command(cluster);
    command.arg(service).envs([
        ("USERS_PORT", "0"),
        ("ORDERS_PORT", "0"),
        ("USER_EVENTS_TOPIC", &cluster.users()),
        ("ORDER_EVENTS_TOPIC", &cluster.orders()),
        ("ORDERS_GROUP_ID", &format!("{}-orders", cluster.group)),
    ]);
    let program = Program::start(command);
    let rest = Rest::at(program.address().await);
    rest.until_ready().await;
    (program, rest)
}

#[tokio::test(flavor = "multi_thread")]
async fn three_processes_on_one_kafka_see_a_user_register_act_order_receive_and_leave() {
    let cluster = TestCluster::start().await;
    let ((activity, activity_rest), (users, users_rest), (orders, orders_rest)) =
        tokio::join!(process(&cluster, "activity"), process(&cluster, "users"), process(&cluster, "orders"));
    let user = registered(&users_rest, "ann@example.org").await;
    let login = json!({"userId": user, "eventType": "LOGIN"});
    let event = activity_rest.post("/events/generate", &login).await.ok(201);
    let events = activity_rest.until(&format!("/api/events/user/{user}"), |found| found["count"] == 1).await;
    assert_eq!(events["events"][0]["eventId"], event["eventId"]);

    let (open, shipped) = (ordered(&orders_rest, &user).await, ordered(&orders_rest, &user).await);
    for action in ["confirm", "pay", "ship"] {
        step(&orders_rest, &shipped, action).await.ok(200);
    }
    // Two creations and three steps are done; the deletion causes the next change.
    orders_rest
        .until("/group", |found| {
            let partitions = found["groups"][cluster.orders()]["partitions"].as_array();
            let processed = partitions.into_iter().flatten().filter_map(|found| found["position"].as_u64());
            processed.sum::<u64>() >= 5
        })
        .await;
    let leaving = users_rest.request(Method::DELETE, &format!("/users/{user}"));
    assert_eq!(send(leaving.header("x-correlation-id", "leaving-1")).await.status, 204);
    assert_eq!(users_rest.get(&format!("/users/{user}")).await.status, 404);
    let cancelled = orders.says("cancelled, as the user was deleted").await;
    assert_eq!(cancelled["orderId"], open["orderId"]);
    assert_eq!(cancelled["correlationId"], "leaving-1", "of the request that another service had");
    let of_user = format!("/orders?userId={user}&status=");
    orders_rest.until(&format!("{of_user}cancelled"), |found| found["count"] == 1).await;
    step(&orders_rest, &shipped, "deliver").await.ok(200);
    let refused = orders_rest.post("/orders", &two_items(&user)).await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert_eq!(activity_rest.get(&format!("/api/events/user/{user}")).await.ok(200)["count"], 1);

    for program in [activity, users, orders] {
        program.signal(Signal::TERM);
        let ended = program.end().await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
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
