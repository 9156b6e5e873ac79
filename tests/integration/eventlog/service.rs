//! The whole service over HTTP, on both databases.

use chrono::Utc;
use highwater_eventlog as eventlog;
use highwater_eventlog::{
    Details, DetailsStore as _, DynamoDbStore, Front, LoggedEvent, Metadata, MetadataStore as _,
    SqlServerStore,
};
use highwater_web::shutdown::Shutdown;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

use super::settings::{self, config, migrated};

/// Where a service of these settings listens.
async fn served(config: eventlog::Config) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(eventlog::run(config, listener.into(), Shutdown::new()));
    base
}

async fn get(url: &str) -> (u16, Option<String>, Value) {
    let answer = Client::new().get(url).send().await.unwrap();
    let link = answer.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
    (answer.status().as_u16(), link, answer.json().await.unwrap())
}

#[tokio::test]
async fn events_are_posted_listed_and_paged() {
    let Some(settings) = settings::both() else { return };
    let base = served(migrated(settings).await).await;
    let user = Uuid::new_v4();
    let mut ids = Vec::new();
    for number in 0..5 {
        let body = json!({
            "userId": user, "eventType": if number % 2 == 0 { "LOGIN" } else { "VIEW" },
            "timestamp": "2026-05-01T10:00:00Z", "details": { "nested": { "number": number, "list": [1, [2]] } },
        });
        let answer = Client::new().post(format!("{base}/events")).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        let location = answer.headers()["location"].to_str().unwrap().to_owned();
        let id = answer.json::<Value>().await.unwrap()["eventId"].as_str().unwrap().to_owned();
        let (status, _, found) = get(&format!("{base}{location}")).await;
        assert_eq!((status, &found["eventId"], &found["details"]), (200, &json!(id), &body["details"]));
        ids.insert(0, id);
    }
    let listed = |events: &Value| -> Vec<String> {
        events.as_array().unwrap().iter().map(|event| event["eventId"].as_str().unwrap().to_owned()).collect()
    };
    let (status, link, all) = get(&format!("{base}/events/{user}")).await;
    assert_eq!((status, link, listed(&all)), (200, None, ids.clone()));
    assert_eq!(all[0]["details"], json!({ "nested": { "number": 4, "list": [1, [2]] } }));
    let (mut url, mut paged) = (format!("{base}/events/{user}?limit=2"), Vec::new());
    loop {
        let (_, link, page) = get(&url).await;
        paged.extend(listed(&page));
        let Some(link) = link else { break };
        url = format!("{base}{}", link.strip_prefix('<').unwrap().split('>').next().unwrap());
    }
    assert_eq!(paged, ids);
    let (_, _, views) = get(&format!("{base}/events/{user}?eventType=VIEW")).await;
    assert_eq!(listed(&views), [ids[1].clone(), ids[3].clone()]);
    let (status, _, health) = get(&format!("{base}/ready")).await;
    assert_eq!(status, 200, "{health}");
    assert_eq!(get(&format!("{base}/events/nobody")).await.2, json!([]));
    assert_eq!(get(&format!("{base}/events/nobody?limit=x")).await.0, 400);
}

#[tokio::test]
async fn what_a_crash_left_is_not_shown_until_a_sweep_completes_it() {
    let Some(settings) = settings::both() else { return };
    let config = migrated(settings).await;
    let base = served(config.clone()).await;
    let user = Uuid::new_v4().to_string();
    let recorded_at = Utc::now() - config.http.request_timeout * 2;
    let details = Details::kept("{\"half\":1}".to_owned()).unwrap();
    let metadata = Metadata {
        event_id: Uuid::new_v4(),
        user_id: user.clone(),
        event_type: "LOGIN".to_owned(),
        timestamp: recorded_at,
        details_bytes: details.bytes(),
    };
    let event = LoggedEvent { metadata, details: Some(details), recorded_at };
    DynamoDbStore::new(&config.dynamodb).put(&event).await.unwrap();
    assert_eq!(get(&format!("{base}/events/{user}")).await.2, json!([]));

    let log = eventlog::log(&config, Front::Server);
    let swept = log.sweep(Utc::now(), Some(recorded_at)).await.unwrap();
    assert_eq!((swept.seen, swept.completed, swept.unreadable), (1, 1, 0));
    let (_, _, listed) = get(&format!("{base}/events/{user}")).await;
    assert_eq!(listed[0]["details"], json!({ "half": 1 }));
    assert_eq!(log.sweep(Utc::now(), Some(recorded_at)).await.unwrap().completed, 0);
    let known = SqlServerStore::new(&config.sql_server).known(&[event.metadata.event_id]).await.unwrap();
    assert_eq!(known.len(), 1);
}

#[tokio::test]
async fn without_sql_server_a_post_is_503_and_is_completed_when_it_is_asked_again() {
    let Some(settings) = settings::dynamodb() else { return };
    let base = served(migrated(settings.clone()).await).await;
    let body = json!({ "userId": Uuid::new_v4(), "eventType": "LOGIN", "details": [1] });
    let post = async |base: &str, body: &Value| {
        let answer = Client::new().post(format!("{base}/events")).json(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let (status, problem) = post(&base, &body).await;
    assert_eq!((status, &problem["possiblyWritten"]), (503, &json!(true)), "{problem}");
    let (status, _, health) = get(&format!("{base}/health")).await;
    assert_eq!(status, 200);
    assert_eq!(health["databases"]["sqlServer"]["connected"], false);
    assert_eq!(health["databases"]["dynamoDb"]["connected"], true, "{health}");
    assert_eq!(get(&format!("{base}/ready")).await.0, 503);

    let Some(mut both) = settings::both() else { return };
    both.insert("DYNAMODB_TABLE", settings["DYNAMODB_TABLE"].clone());
    let base = served(config(both)).await;
    let mut again = body.clone();
    again["eventId"] = problem["eventId"].clone();
    let (status, answer) = post(&base, &again).await;
    assert_eq!((status, &answer["eventId"]), (201, &problem["eventId"]), "{answer}");
}
