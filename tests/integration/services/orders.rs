//! Orders: permitted users, the status, and the effect of a user's deletion.

use highwater_kafka_broker::Fault;
use kafka_protocol::{ResponseError, messages::ApiKey};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{ordered, registered, step, step_if, two_items};
use crate::support::{Batch, Instance, TestCluster, eventually, send};

#[tokio::test(flavor = "multi_thread")]
async fn an_order_goes_its_way_and_no_other() {
    let cluster = TestCluster::start().await;
    let (users, orders) = tokio::join!(Instance::users(&cluster), Instance::orders(&cluster));
    let user = registered(&users, "ann@example.org").await;
    let order = ordered(&orders, &user).await;
    assert_eq!((&order["status"], &order["total"]), (&json!("Pending"), &json!("20.20")));
    let refused = step(&orders, &order, "ship").await.ok(409);
    assert_eq!(
        (&refused["orderStatus"], &refused["allowed"]),
        (&json!("Pending"), &json!(["confirm", "cancel"]))
    );
    for (action, status) in
        [("confirm", "Confirmed"), ("pay", "Paid"), ("ship", "Shipped"), ("deliver", "Delivered")]
    {
        assert_eq!(step(&orders, &order, action).await.ok(200)["status"], status);
    }
    assert_eq!(step(&orders, &order, "cancel").await.ok(409)["allowed"], json!([]));
    let path = format!("/orders/{}", order["orderId"].as_str().unwrap());
    let found = orders.get(&path).await.ok(200);
    let history: Vec<_> =
        found["history"].as_array().unwrap().iter().map(|change| change["status"].clone()).collect();
    assert_eq!(history, ["Pending", "Confirmed", "Paid", "Shipped", "Delivered"]);
    assert_eq!(
        orders.get(&format!("/orders?userId={user}&status=delivered")).await.ok(200)["orders"],
        json!([found])
    );
    assert_eq!(orders.get("/orders?status=Pending").await.ok(200)["count"], 0);
    assert_eq!(orders.get("/orders?userid=x").await.status, 400);
    assert_eq!(orders.send(Method::POST, &format!("{path}/return")).await.status, 404);
    assert_eq!(orders.send(Method::GET, &format!("{path}/pay")).await.status, 405);
    users.stop().await;
    orders.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_saw_the_same_version_one_changes_it() {
    let cluster = TestCluster::start().await;
    let users = Instance::users(&cluster).await;
    let (one, other) = tokio::join!(Instance::orders(&cluster), Instance::orders(&cluster));
    let user = registered(&users, "ann@example.org").await;
    let order = ordered(&one, &user).await;
    let path = format!("/orders/{}", order["orderId"].as_str().unwrap());
    other.until(&path, |_| true).await;
    let (confirmed, cancelled) =
        tokio::join!(step_if(&one, &order, "confirm", "\"1\""), step_if(&other, &order, "cancel", "\"1\""));
    let mut statuses = [confirmed.status, cancelled.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
    // Without a condition each is judged on what the other made of it.
    let answers = futures::future::join_all(
        (0..8).map(|number| step(if number % 2 == 0 { &one } else { &other }, &order, "pay")),
    )
    .await;
    let expected = usize::from(confirmed.status == 200);
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), expected);
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 409)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_orders_and_pays_once_in_any_instance() {
    let cluster = TestCluster::start().await;
    let users = Instance::users(&cluster).await;
    let (one, other) = tokio::join!(Instance::orders(&cluster), Instance::orders(&cluster));
    let user = registered(&users, "ann@example.org").await;
    for instance in [&one, &other] {
        ordered(instance, &user).await;
    }
    let body = two_items(&user);
    let answers = futures::future::join_all(
        (0..12)
            .map(|number| if number % 2 == 0 { &one } else { &other })
            .map(|it| it.post_once("/orders", "key", &body)),
    )
    .await;
    let orders: Vec<Value> = answers.into_iter().map(|answer| answer.ok(201)).collect();
    assert!(orders.iter().all(|order| *order == orders[0]), "{orders:?}");
    let mut different = body.clone();
    different["currency"] = json!("USD");
    assert_eq!(one.post_once("/orders", "key", &different).await.status, 422);

    let path = format!("/orders/{}", orders[0]["orderId"].as_str().unwrap());
    step(&one, &orders[0], "confirm").await.ok(200);
    let pay = async |instance: &Instance, key: &str| {
        let request = instance.request(Method::POST, &format!("{path}/pay"));
        send(request.header("idempotency-key", key)).await
    };
    other.until(&path, |order| order["status"] == "Confirmed").await;
    let paid = pay(&one, "pay").await.ok(200);
    step(&one, &orders[0], "ship").await.ok(200);
    other.until(&path, |order| order["status"] == "Shipped").await;
    for instance in [&one, &other] {
        assert_eq!(pay(instance, "pay").await.ok(200), paid);
        assert_eq!(pay(instance, "other").await.status, 409);
        // The creation's answer is what it was, too.
        for key in ["key", "\"key\""] {
            assert_eq!(instance.post_once("/orders", key, &body).await.ok(201), orders[0]);
        }
    }
    let cancel = one.request(Method::POST, &format!("{path}/cancel")).header("idempotency-key", "pay");
    assert_eq!(send(cancel).await.status, 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_before_its_user_is_known_is_told_to_come_again() {
    let cluster = TestCluster::start().await;
    let orders = Instance::orders(&cluster).await;
    let unknown = orders.post("/orders", &two_items(&Uuid::new_v4().to_string())).await;
    assert_eq!(unknown.header("retry-after"), "1");
    assert!(unknown.ok(422)["detail"].as_str().unwrap().contains("on its way"));
    let users = Instance::users(&cluster).await;
    let user = registered(&users, "ann@example.org").await;
    ordered(&orders, &user).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_user_s_open_orders_are_cancelled_and_no_new_one_is_taken() {
    let cluster = TestCluster::start().await;
    let (users, orders) = tokio::join!(Instance::users(&cluster), Instance::orders(&cluster));
    let user = registered(&users, "ann@example.org").await;
    let other = registered(&users, "bob@example.org").await;
    let (open, shipped, others) =
        (ordered(&orders, &user).await, ordered(&orders, &user).await, ordered(&orders, &other).await);
    for action in ["confirm", "pay", "ship"] {
        step(&orders, &shipped, action).await.ok(200);
    }
    let deletion = users.request(Method::DELETE, &format!("/users/{user}"));
    assert_eq!(send(deletion.header("x-correlation-id", "gone")).await.status, 204);
    let path = |order: &Value| format!("/orders/{}", order["orderId"].as_str().unwrap());
    let cancelled = orders.until(&path(&open), |order| order["status"] == "Cancelled").await;
    assert_eq!(cancelled["history"][1]["reason"], "the user was deleted");
    assert_eq!(orders.get(&path(&shipped)).await.ok(200)["status"], "Shipped");
    assert_eq!(orders.get(&path(&others)).await.ok(200)["status"], "Pending");
    assert_eq!(orders.post("/orders", &two_items(&user)).await.status, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_order_is_refused_with_every_fault() {
    let cluster = TestCluster::start().await;
    let orders = Instance::orders(&cluster).await;
    let body = json!({
        "userId": "ann",
        "currency": "euro",
        "items": [{"sku": "A", "quantity": 0, "unitPrice": 1.5}, {"sku": " ", "quantity": 1, "unitPrice": "-1"}, 7],
    });
    let problem = orders.post("/orders", &body).await.ok(400);
    let mut fields: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "currency",
            "items[0].quantity",
            "items[0].unitPrice",
            "items[1].sku",
            "items[1].unitPrice",
            "items[2]",
            "userId"
        ]
    );
    let many: Vec<_> = (0..101).map(|_| json!({"sku": "A", "quantity": 1, "unitPrice": "1"})).collect();
    for items in [json!([]), json!(many), json!({})] {
        let body = json!({"userId": Uuid::new_v4(), "currency": "EUR", "items": items});
        assert_eq!(orders.post("/orders", &body).await.ok(400)["errors"][0]["field"], "items");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_is_judged_by_where_the_leaders_say_that_the_logs_end() {
    let cluster = TestCluster::embedded().await;
    let (users, orders) = tokio::join!(Instance::users(&cluster), Instance::orders(&cluster));
    let user = registered(&users, "ann@example.org").await;
    let order = ordered(&orders, &user).await;
    let path = format!("/orders/{}", order["orderId"].as_str().unwrap());
    let faults = cluster.broker().faults();
    // The error of a new leader that does not know its high watermark yet (KIP-207).
    faults.always(ApiKey::ListOffsets, Fault::Refuse(ResponseError::LeaderNotAvailable));
    let before = faults.count(ApiKey::ListOffsets);
    assert_eq!(users.send(Method::DELETE, &format!("/users/{user}")).await.status, 204);
    eventually("it is asked for", async || (faults.count(ApiKey::ListOffsets) > before + 3).then_some(()))
        .await;
    assert_eq!(orders.get(&path).await.ok(200)["status"], "Pending");
    faults.clear();
    orders.until(&path, |order| order["status"] == "Cancelled").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_of_the_users_that_stands_still_takes_no_instance_out_of_its_group() {
    let cluster = TestCluster::embedded().await;
    let users = Instance::users(&cluster).await;
    let settings = [("KAFKA_REQUEST_TIMEOUT", "500ms"), ("MAX_PROCESSING", "2s")];
    let orders = Instance::orders_with(&cluster, &settings);
    orders.until_ready().await;
    let user = registered(&users, "ann@example.org").await;
    ordered(&orders, &user).await;
    let broker = cluster.broker();
    let mut corrupt = Batch::of(&["corrupt"]).encode().to_vec();
    let last = corrupt.len() - 3;
    corrupt[last] ^= 0xff;
    for partition in 0..3 {
        broker.append_raw(&cluster.users(), partition, corrupt.clone().into()).unwrap();
    }
    let joins = broker.faults().count(ApiKey::JoinGroup);
    let asked = broker.faults().count(ApiKey::ListOffsets);
    orders.post("/orders", &two_items(&user)).await.ok(201);
    // Six partitions are asked for each time that it is tried again, for more than MAX_PROCESSING.
    eventually("it is tried again", async || {
        (broker.faults().count(ApiKey::ListOffsets) >= asked + 24).then_some(())
    })
    .await;
    assert_eq!(broker.faults().count(ApiKey::JoinGroup), joins);
    let health = orders.get("/health").await.ok(200);
    assert_eq!(health["groups"][cluster.orders()]["phase"], "assigned", "{health}");
}
