//! Registering, in one instance and in several.

use highwater_kafka::partition_for_key;
use highwater_kafka_broker::Fault;
use kafka_protocol::messages::ApiKey;
use reqwest::Method;
use serde_json::json;

use super::registered;
use crate::support::{Instance, TestCluster, eventually, send};

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_registered_found_renamed_and_deleted() {
    let cluster = TestCluster::start().await;
    let users = Instance::users(&cluster).await;
    let request = users.request(Method::POST, "/users").header("x-correlation-id", "request-1");
    let created = send(request.json(&json!({"email": " Ann@Example.org ", "name": "Ann"}))).await;
    assert_eq!(created.header("x-correlation-id"), "request-1");
    assert_eq!(created.header("etag"), "\"1\"");
    let location = created.header("location").to_owned();
    let user = created.ok(201);
    assert_eq!(location, format!("/users/{}", user["userId"].as_str().unwrap()));
    assert_eq!(user["email"], "Ann@Example.org");
    assert_eq!(users.get(&location).await.ok(200), user);
    assert_eq!(users.get("/users?email=ANN%40example.org").await.ok(200)["users"], json!([user]));

    let renamed = send(users.request(Method::PATCH, &location).json(&json!({"name": "Anna"}))).await;
    assert_eq!(renamed.header("etag"), "\"2\"");
    assert_eq!(renamed.ok(200)["name"], "Anna");
    let late = users.request(Method::PATCH, &location).header("if-match", "\"1\"");
    assert_eq!(send(late.json(&json!({"name": "late"}))).await.status, 412);
    let moved = users.request(Method::PATCH, &location).json(&json!({"name": "x", "email": "b@example.org"}));
    assert_eq!(send(moved).await.ok(400)["errors"][0]["field"], "email");

    assert_eq!(users.send(Method::DELETE, &location).await.status, 204);
    assert_eq!(users.get(&location).await.status, 404);
    assert_eq!(users.send(Method::DELETE, &location).await.status, 404);
    let again = registered(&users, "ann@example.org").await;
    assert_ne!(location, format!("/users/{again}"));
    users.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_registrations_of_an_email_in_two_instances_one_counts_and_all_say_so() {
    let cluster = TestCluster::start().await;
    let (one, other) = tokio::join!(Instance::users(&cluster), Instance::users(&cluster));
    for round in 0..5 {
        let attempts =
            (0..16).map(|number| {
                let instance = if number % 2 == 0 { &one } else { &other };
                let email = if number % 3 == 0 {
                    format!("ANN{round}@example.org")
                } else {
                    format!("ann{round}@Example.org ")
                };
                async move {
                    instance.post("/users", &json!({"email": email, "name": format!("Ann {number}")})).await
                }
            });
        let answers = futures::future::join_all(attempts).await;
        let created: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
        assert_eq!(created.len(), 1, "{answers:?}");
        assert!(answers.iter().all(|answer| matches!(answer.status, 201 | 409)), "{answers:?}");
        for instance in [&one, &other] {
            let path = format!("/users?email=ann{round}@example.org");
            instance.until(&path, |found| found["users"][0] == created[0].body).await;
        }
    }
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_gives_the_same_answer_in_any_instance_and_after_a_kill() {
    let cluster = TestCluster::start().await;
    let users = Instance::users(&cluster).await;
    let body = json!({"email": "ann@example.org", "name": "Ann"});
    let first = users.post_once("/users", "key-1", &body).await.ok(201);
    assert_eq!(users.post_once("/users", "key-1", &body).await.ok(201), first);
    for other in [
        json!({"email": "ann@example.org", "name": "Bob"}),
        json!({"email": "bob@example.org", "name": "Ann"}),
    ] {
        assert_eq!(users.post_once("/users", "key-1", &other).await.status, 422);
    }
    assert_eq!(users.post_once("/users", "key-2", &body).await.status, 409);
    users.kill();

    let users = Instance::users(&cluster).await;
    assert_eq!(users.post_once("/users", "key-1", &body).await.ok(201), first);
    assert_eq!(users.get("/users").await.ok(200)["users"], json!([first]));
    users.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_go_on_in_another_instance() {
    let cluster = TestCluster::start().await;
    let (one, other) = tokio::join!(Instance::users(&cluster), Instance::users(&cluster));
    let mut expected = Vec::new();
    for number in 0..7 {
        expected.push(registered(&one, &format!("user-{number}@example.org")).await);
    }
    other.until("/users?limit=7", |page| page["count"] == 7).await;
    let (mut found, mut path) = (Vec::new(), "/users?limit=3".to_owned());
    for instance in [&one, &other, &one] {
        let page = instance.get(&path).await;
        let link = page.header("link").to_owned();
        let body = page.ok(200);
        found.extend(
            body["users"].as_array().unwrap().iter().map(|user| user["userId"].as_str().unwrap().to_owned()),
        );
        match body["next"].as_str() {
            Some(next) => {
                path = format!("/users?limit=3&cursor={next}");
                assert_eq!(link, format!("<{path}>; rel=\"next\""));
            }
            None => assert_eq!(link, ""),
        }
    }
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    assert_eq!(one.get("/users?cursor=made-up").await.status, 400);
    for bad in ["limit=0", "Email=a@example.org", "name=ann"] {
        assert_eq!(one.get(&format!("/users?{bad}")).await.status, 400, "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_user_is_refused_with_every_fault() {
    let cluster = TestCluster::start().await;
    let users = Instance::users(&cluster).await;
    let problem = users.post("/users", &json!({"email": "nobody", "name": " "})).await.ok(400);
    let fields: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|error| error["field"].clone()).collect();
    assert_eq!(fields, ["email", "name"]);
    for (method, path, status) in [
        (Method::PUT, "/users", 405),
        (Method::POST, "/users/1", 405),
        (Method::GET, "/users/1", 400),
        (Method::GET, "/users/00000000-0000-0000-0000-000000000001", 404),
        (Method::GET, "/users/00000000-0000-0000-0000-000000000000", 400),
        (Method::GET, "/events/processed", 404),
    ] {
        assert_eq!(users.send(method.clone(), path).await.status, status, "{method} {path}");
    }
    let health = users.get("/health").await.ok(200);
    assert_eq!(health["service"], "highwater-users");
    assert_eq!(health["state"][0]["complete"], true);
    assert_eq!(health.get("group"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_and_not_read_back_is_told_so_and_what_is_not_acknowledged_so() {
    let cluster = TestCluster::embedded().await;
    let users = Instance::users(&cluster).await;
    let user = registered(&users, "ann@example.org").await;
    let faults = cluster.broker().faults();
    faults.always(ApiKey::Fetch, Fault::Stall);
    let before = faults.count(ApiKey::Fetch);
    eventually("nothing is read", async || (faults.count(ApiKey::Fetch) >= before + 3).then_some(())).await;
    let path = format!("/users/{user}");
    let body = json!({"email": "bob@example.org", "name": "Bob"});
    let (keyed, bare) =
        tokio::join!(users.post_once("/users", "key-1", &body), users.send(Method::DELETE, &path));
    for (answered, again) in [(keyed, "same Idempotency-Key is safe"), (bare, "Look whether it happened")] {
        assert_eq!(answered.header("retry-after"), "1");
        let problem = answered.ok(503);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.starts_with("Kafka has the event") && detail.contains(again), "{detail}");
        assert_eq!(problem["possiblyWritten"], true);
    }

    faults.clear();
    users.until("/users", |found| found["users"][0]["name"] == "Bob").await;
    users.post_once("/users", "key-1", &body).await.ok(201);
    faults.always(ApiKey::Produce, Fault::Stall);
    // Each in a partition of its own: behind one that is on its way nothing is sent.
    let body_in = |partition: i32| {
        let emails = (0..).map(|number| format!("user-{number}@example.org"));
        let mut there = emails.filter(|email| partition_for_key(email.as_bytes(), 3) == partition);
        json!({"email": there.next(), "name": "Cid"})
    };
    let (one, other) = (body_in(0), body_in(1));
    let (keyed, bare) = tokio::join!(users.post_once("/users", "key-2", &one), users.post("/users", &other));
    for (answered, again) in [(keyed, "same Idempotency-Key is safe"), (bare, "Look whether it happened")] {
        let problem = answered.ok(503);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.starts_with("Kafka did not acknowledge") && detail.contains(again), "{detail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_room_nobody_registers_and_all_else_goes_on() {
    let cluster = TestCluster::start().await;
    let users = Instance::users_with(&cluster, &[("STATE_MAX_BYTES", "1MiB")]);
    users.until_ready().await;
    let body = |number: usize| json!({"email": format!("user-{number}@example.org"), "name": "\u{1f600}".repeat(256)});
    let first = users.post_once("/users", "key-0", &body(0)).await.ok(201);
    let register = async |numbers: std::ops::Range<usize>| {
        let answers = numbers.map(|number| {
            let (users, body) = (&users, body(number));
            async move { users.post("/users", &body).await }
        });
        futures::future::join_all(answers).await
    };
    let mut refused = None;
    for round in 1..100 {
        let answers = register(round * 32..(round + 1) * 32).await;
        assert!(answers.iter().all(|answer| matches!(answer.status, 201 | 503)), "{answers:?}");
        refused = answers.into_iter().find(|answer| answer.status == 503);
        if refused.is_some() {
            break;
        }
    }
    let refused = refused.expect("a bound");
    assert_eq!(refused.header("retry-after"), "60");
    assert!(refused.ok(503)["detail"].as_str().unwrap().contains("memory limit"));
    assert!(users.get("/health").await.ok(200)["state"][0]["bytes"].as_u64().unwrap() >= 1 << 20);
    // A repeated request gets the first answer; existing users can be changed.
    assert_eq!(users.post_once("/users", "key-0", &body(0)).await.ok(201), first);
    let path = format!("/users/{}", first["userId"].as_str().unwrap());
    send(users.request(Method::PATCH, &path).json(&json!({"name": "Ann"}))).await.ok(200);
    assert_eq!(users.send(Method::DELETE, &path).await.status, 204);
}
