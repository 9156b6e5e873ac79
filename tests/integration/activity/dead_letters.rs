//! Dead letters over HTTP.

use highwater_kafka::Publisher as _;
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::message;
use crate::support::{TestApp, TestCluster, eventually};

const TOKEN: &str = "a-token-of-24-characters";

async fn admin(cluster: &TestCluster) -> TestApp {
    let app = TestApp::start_with(cluster, &[("ADMIN_TOKEN", TOKEN)]).await;
    app.until_ready().await;
    app
}

/// The letters, once there are so many.
async fn letters(app: &TestApp, count: usize) -> Value {
    eventually("there are so many dead letters", async || {
        let answer = app.ask(Method::GET, "/dead-letters", Some(TOKEN), None).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let body: Value = answer.json().await.unwrap();
        (body["count"] == count).then_some(body)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_listed_sent_back_and_listed_again_when_it_fails_again() {
    let cluster = TestCluster::start().await;
    let app = admin(&cluster).await;
    let client = cluster.client();
    let producer = client.producer(client.topic());
    let text = producer.publish(message("user-1", "no event")).await.unwrap();
    let bytes = producer.publish(message("user-2", b"\xff\xfe".to_vec())).await.unwrap();

    let listed = letters(&app, 2).await;
    let found = listed["deadLetters"].as_array().unwrap();
    let of = |key: &str| found.iter().find(|letter| letter["key"]["text"] == key).unwrap();
    let letter = of("user-1");
    assert_eq!(letter["value"], json!({"text": "no event"}));
    assert!(letter["reason"].as_str().unwrap().starts_with("not JSON"), "{letter}");
    assert_eq!((&letter["redrives"], &letter["redriven"]), (&json!(0), &json!(false)));
    assert_eq!(letter["source"]["topic"], cluster.topic);
    assert_eq!(letter["source"]["group"], cluster.group);
    assert_eq!(letter["source"]["partition"], text.partition);
    assert_eq!(letter["source"]["offset"], text.offset.unwrap());
    assert_eq!(of("user-2")["value"], json!({"base64": "//4="}));
    assert_eq!(of("user-2")["source"]["partition"], bytes.partition);

    let position = json!({"partition": letter["partition"], "offset": letter["offset"]});
    let redriven = app.redrive(TOKEN, &json!({ "positions": [position] })).await;
    assert_eq!(redriven["redriven"], 1, "{redriven}");
    assert_eq!(redriven["complete"], true);
    let again = letters(&app, 3).await;
    let newest = &again["deadLetters"][0];
    assert_eq!((&newest["value"]["text"], &newest["redrives"]), (&json!("no event"), &json!(1)));
    assert_eq!(newest["headers"], json!([]));
    let back: Vec<_> =
        again["deadLetters"].as_array().unwrap().iter().filter(|it| it["redriven"] == true).collect();
    assert_eq!((back.len(), &back[0]["offset"]), (1, &letter["offset"]));

    // Twice is not double: the one that was sent back is not, the one that came of it and the other are.
    let all = app.redrive(TOKEN, &json!({"all": true})).await;
    assert_eq!((&all["redriven"], &all["complete"]), (&json!(2), &json!(true)));
    letters(&app, 5).await;
    cluster.until_committed_to_the_end().await;
    assert_eq!(letters(&app, 5).await["deadLetters"][0]["headers"], json!([]));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_linked_and_ndjson_is_sent_where_accepted() {
    let cluster = TestCluster::start().await;
    let app = admin(&cluster).await;
    let client = cluster.client();
    let producer = client.producer(client.topic());
    for number in 0..7 {
        producer.publish(message(&format!("user {number}"), "no event")).await.unwrap();
    }
    letters(&app, 7).await;
    let (mut path, mut seen) = ("/dead-letters?limit=3&reason=not+JSON".to_owned(), Vec::new());
    loop {
        let answer = app.ask(Method::GET, &path, Some(TOKEN), None).await;
        let link = answer.headers().get(header::LINK).map(|link| link.to_str().unwrap().to_owned());
        let body: Value = answer.json().await.unwrap();
        let page = body["deadLetters"].as_array().unwrap();
        assert!(page.len() <= 3 && body["count"] == page.len());
        seen.extend(page.iter().map(|letter| letter["key"]["text"].as_str().unwrap().to_owned()));
        let Some(link) = link else { break };
        let (next, rel) = link.split_once(">; ").unwrap();
        assert_eq!(rel, "rel=\"next\"");
        path = next.strip_prefix('<').unwrap().to_owned();
    }
    seen.sort();
    assert_eq!(seen, (0..7).map(|number| format!("user {number}")).collect::<Vec<_>>());
    let lines =
        app.ask(Method::GET, "/dead-letters?key=user+3", Some(TOKEN), Some("application/x-ndjson")).await;
    assert_eq!(lines.headers()[header::CONTENT_TYPE], "application/x-ndjson");
    let lines = lines.text().await.unwrap();
    assert_eq!(lines.lines().count(), 1);
    assert_eq!(serde_json::from_str::<Value>(&lines).unwrap()["key"]["text"], "user 3");
    app.stop().await;
}
