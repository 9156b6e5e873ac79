//! The rights of clients in the user and the order service.

use std::{fs, path::PathBuf};

use highwater_commerce::{orders, users};
use highwater_web::{
    auth::{Need, Scope, cli},
    http::Paths,
};
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use super::two_items;
use crate::support::{Answered, Instance, Rest, TestCluster, eventually, send};

const UNKNOWN: &str = "0190163d-8694-739b-aea5-966c26f8ad91";

/// A file of keys; removed when dropped.
struct Keyring(PathBuf);

impl Keyring {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("highwater-keys-{}", Uuid::new_v4())))
    }

    /// A new key of that name, which is its subject.
    fn add(&self, name: &str, scopes: &[Scope]) -> String {
        let mut said = Vec::new();
        let task = cli::KeyCommand::Add {
            name: name.to_owned(),
            scopes: scopes.to_vec(),
            expires: None,
            requests_per_second: None,
            events_per_second: None,
        };
        cli::run(task, &self.0, &mut said).unwrap();
        String::from_utf8(said).unwrap().trim_end().to_owned()
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

async fn get(service: &Rest, path: &str, key: &str) -> Answered {
    send(service.request(Method::GET, path).header("x-api-key", key)).await
}

/// Asks for each path of the table by each method, without a key and with one that may do everything.
async fn walk(service: &Rest, paths: &Paths, key: &str) {
    for (pattern, methods, need) in paths.all() {
        let path = ["{userId}", "{orderId}"]
            .iter()
            .fold(pattern.replace("{file}", "swagger-ui.css"), |path, id| path.replace(id, UNKNOWN));
        for method in [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let stranger = service.request(method.clone(), &path).send().await.unwrap().status().as_u16();
            assert_eq!(stranger == 401, *need != Need::Nothing, "{method} {path}: {stranger}");
            let client =
                service.request(method.clone(), &path).header("x-api-key", key).send().await.unwrap();
            let (status, body) = (client.status().as_u16(), client.text().await.unwrap());
            let is_taken = methods.split(", ").any(|known| known == method.as_str());
            assert_eq!(status == 405, !is_taken, "{method} {path}: {status}");
            assert!(![401, 403].contains(&status), "{method} {path}: {status}");
            let is_nothing = status == 404 && body.contains("there is nothing at");
            assert!(!is_nothing, "{method} {path} is in the table, and no route");
        }
    }
}

/// Both services, for clients with these keys.
async fn users_and_orders(keys: &Keyring, cluster: &TestCluster) -> (Instance, Instance) {
    let file = keys.0.display().to_string();
    let settings = [("AUTH", "api-key"), ("API_KEYS_FILE", file.as_str())];
    let users = Instance::users_with(cluster, &settings);
    let orders = Instance::orders_with(cluster, &settings);
    users.until_ready().await;
    orders.until_ready().await;
    (users, orders)
}

#[tokio::test]
async fn each_route_of_users_and_orders_asks_for_what_the_table_says() {
    let (keys, cluster) = (Keyring::new(), TestCluster::start().await);
    let all = keys.add("all", &Scope::ALL);
    let (users, orders) = users_and_orders(&keys, &cluster).await;
    walk(&users, &users::PATHS, &all).await;
    walk(&orders, &orders::PATHS, &all).await;
}

async fn post(service: &Rest, path: &str, key: &str, body: &serde_json::Value) -> Answered {
    send(service.request(Method::POST, path).header("x-api-key", key).json(body)).await
}

#[tokio::test]
async fn a_client_for_what_is_its_own_sees_and_changes_no_other_user_and_no_others_order() {
    let (keys, cluster) = (Keyring::new(), TestCluster::start().await);
    let all = keys.add("shop", &[Scope::Write, Scope::Read]);
    let (users, orders) = users_and_orders(&keys, &cluster).await;
    let mut ids = Vec::new();
    for name in ["ann", "bob"] {
        let user = json!({ "email": format!("{name}@example.org"), "name": name });
        let user = post(&users, "/users", &all, &user).await.ok(201);
        ids.push(user["userId"].as_str().unwrap().to_owned());
    }
    let (ann, bob) = (&ids[0], &ids[1]);
    let own = keys.add(ann, &[Scope::ReadOwn, Scope::WriteOwn]);
    let path = |id: &str| format!("/users/{id}");
    eventually("the new key counts", async || {
        (get(&users, &path(ann), &own).await.status == 200
            && get(&orders, "/orders", &own).await.status == 200)
            .then_some(())
    })
    .await;

    // Neither by listing nor by name, nor by another way to write an id, nor by a second parameter.
    assert_eq!(get(&users, "/users", &own).await.status, 403);
    for id in [bob.clone(), bob.to_uppercase(), bob.replace('-', "%2D")] {
        assert!(matches!(get(&users, &path(&id), &own).await.status, 400 | 403), "{id}");
    }
    assert_eq!(
        post(&users, "/users", &own, &json!({ "email": "c@example.org", "name": "C" })).await.status,
        403
    );
    for method in [Method::PATCH, Method::DELETE] {
        let request = users.request(method.clone(), &path(bob)).header("x-api-key", &own);
        assert_eq!(send(request.json(&json!({ "name": "Mallory" }))).await.status, 403, "{method}");
    }
    assert_eq!(get(&users, &path(bob), &all).await.ok(200)["name"], "bob");
    let renamed = users.request(Method::PATCH, &path(ann)).header("x-api-key", &own);
    assert_eq!(send(renamed.json(&json!({ "name": "Anna" }))).await.ok(200)["name"], "Anna");

    let ordered = async |user: &str, key: &str| {
        eventually("the user is known", async || {
            let request = orders.request(Method::POST, "/orders").header("x-api-key", key);
            let answered = send(request.header("idempotency-key", "one").json(&two_items(user))).await;
            assert!(matches!(answered.status, 201 | 422), "{}", answered.body);
            (answered.status == 201).then_some(answered.body)
        })
        .await
    };
    let of_bob = ordered(bob, &all).await;
    assert_eq!(post(&orders, "/orders", &own, &two_items(bob)).await.status, 403);
    let twice = two_items(ann).to_string().replacen('{', &format!("{{\"userId\":\"{bob}\","), 1);
    let twice = orders.request(Method::POST, "/orders").header("x-api-key", &own).body(twice);
    assert_eq!(send(twice.header("content-type", "application/json")).await.status, 400);
    // Another's Idempotency-Key is neither taken nor answered with.
    let of_ann = ordered(ann, &own).await;
    assert_ne!(of_ann["orderId"], of_bob["orderId"]);
    let order = format!("/orders/{}", of_bob["orderId"].as_str().unwrap());
    assert_eq!(get(&orders, &order, &own).await.status, 404);
    assert_eq!(get(&orders, &order, &all).await.status, 200);
    assert_eq!(get(&orders, &format!("/orders?userId={bob}"), &own).await.status, 403);
    assert_eq!(get(&orders, &format!("/orders?userId={ann}&userId={bob}"), &own).await.status, 400);
    let listed = get(&orders, "/orders", &own).await.ok(200);
    assert_eq!((&listed["count"], &listed["orders"][0]["userId"]), (&json!(1), &json!(ann)));
    for action in ["confirm", "pay", "ship", "deliver", "cancel"] {
        assert_eq!(
            post(&orders, &format!("{order}/{action}"), &own, &json!({})).await.status,
            403,
            "{action}"
        );
    }
    for service in [&users, &orders] {
        assert_eq!(get(service, "/metrics", &own).await.status, 403);
    }
}
