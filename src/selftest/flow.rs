//! The whole way of an event, on the second service: in over REST and past it, through Kafka, out again.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, bail, ensure};
use highwater_kafka::dead_letter;
use highwater_web::{http::client::Request, shutdown::Shutdown};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{
    checks::{Service, shown, text},
    report::Report,
    second::Second,
};
use crate::config::Config;

/// How long the second service may take to have its topics and its partitions, or a dead letter to arrive.
const PATIENCE: Duration = Duration::from_secs(30);
/// Values that are no event, and what they lack.
const MALFORMED: [(&str, Option<&str>); 3] = [
    ("text", Some("no event")),
    ("an object without an eventId", Some("{\"userId\":\"a\"}")),
    ("no value", None),
];

/// Starts a second service, checks it and deletes what it made, also where a stop is requested meanwhile.
pub(super) async fn check(config: Config, name: &str, shutdown: &Shutdown, report: &mut Report<'_>) {
    let types = config.activity.event_types.clone();
    let mut second = match Second::start(config, name).await {
        Ok(second) => second,
        Err(error) => {
            report.check("it starts", Err(error));
            return;
        }
    };
    tokio::select! {
        () = story(&mut second, name, &types, report) => {}
        () = shutdown.requested() => {
            report.check("it runs to its end", Err(anyhow::anyhow!("it was stopped")));
        }
    }
    report.check("it stops, and its topics and groups are deleted", second.end().await);
}

async fn story(second: &mut Second, name: &str, types: &[String], report: &mut Report<'_>) {
    if !report.check("its topics are made and its partitions assigned", ready(&second.service).await) {
        return; // nothing else can work
    }
    let mut ids = BTreeSet::new();
    for (number, event_type) in types.iter().enumerate() {
        // A user each, so that more than one partition has work.
        let event =
            json!({"userId": format!("{name}-{number}"), "eventType": event_type, "payload": {"score": 1.0}});
        let stored = goes_through(&second.service, "/events/generate", 201, &event).await;
        report.check(&format!("an event of type {event_type}, from POST to GET"), note(stored, &mut ids));
    }
    let event = json!({"userId": name, "eventType": name, "metadata": {"score": 1.0}});
    let stored = goes_through(&second.service, "/api/events", 202, &event).await;
    report.check("an event of any type by /api/events", note(stored, &mut ids));

    let twin = json!({"eventId": Uuid::new_v4(), "userId": name, "eventType": types.first(),
        "timestamp": "2025-01-01T01:00:00+01:00", "payload": {"score": 1.0}});
    for time in ["first", "second", "third"] {
        let stored = goes_through(&second.service, "/events/generate", 201, &twin).await;
        report.check(&format!("the same eventId a {time} time"), note(stored, &mut ids));
    }
    report.check("and twice more through Kafka itself", twice(second, name, &twin.to_string()).await);
    for (what, value) in MALFORMED {
        report.check(&format!("a record that is no event: {what}"), second.write(name, value).await);
    }
    // One user has one partition: what comes last there is processed last.
    let last = json!({"userId": name, "eventType": types.first(), "payload": {"score": 1.0}});
    let stored = goes_through(&second.service, "/events/generate", 201, &last).await;
    report.check("an event behind them is processed", note(stored, &mut ids));
    report.check("the malformed ones are in the dead letter topic, with why", buried(second, name).await);
    report.check("GET /events/processed: each event once", processed(&second.service, &ids).await);
    report.check("the same in pages", pages(&second.service, &ids).await);
    report.check("by user and by type", selected(&second.service, name, &twin).await);
    report.check(
        "GET /health: the copies were seen, and nothing is behind",
        settled(&second.service, &ids).await,
    );
}

/// Waits until it is ready; what keeps it from that is its own word.
async fn ready(service: &Service) -> anyhow::Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let answer = service.ask(&Request::get("/ready")).await?;
        if answer.status == 200 {
            return Ok(());
        }
        if Instant::now() > end {
            bail!("not within {PATIENCE:?}: {}", text(&answer.json()["detail"]));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Posts an event, and waits until it can be read: its id.
async fn goes_through(service: &Service, route: &str, status: u16, event: &Value) -> anyhow::Result<String> {
    let taken = service.answers(status, &Request::post(route, event.to_string())).await?;
    let body = taken.json();
    let id = text(&body["eventId"]);
    ensure!(Uuid::try_parse(id).is_ok(), "no eventId: {}", shown(&taken));
    ensure!(event["eventId"].is_null() || event["eventId"] == id, "another eventId: {}", shown(&taken));
    let path = format!("/events/processed/{id}");
    ensure!(taken.header("location") == Some(path.as_str()), "Location is not {path}");
    let found = service.answers(200, &Request::get(format!("{path}?wait=10s"))).await?;
    let stored = found.json();
    for field in ["userId", "eventType"] {
        ensure!(stored[field] == event[field], "{field} is another: {}", shown(&found));
    }
    // As text, since 1.0 must stay 1.0.
    ensure!(
        found.text().contains("\"payload\":{\"score\":1.0}"),
        "the payload is another: {}",
        shown(&found)
    );
    ensure!(text(&stored["timestamp"]).ends_with('Z'), "no time in UTC: {}", shown(&found));
    Ok(id.to_owned())
}

/// Keeps the id of an event that went through.
fn note(stored: anyhow::Result<String>, ids: &mut BTreeSet<String>) -> anyhow::Result<()> {
    ids.insert(stored?);
    Ok(())
}

async fn twice(second: &Second, key: &str, value: &str) -> anyhow::Result<()> {
    second.write(key, Some(value)).await?;
    second.write(key, Some(value)).await
}

async fn buried(second: &mut Second, name: &str) -> anyhow::Result<()> {
    for (what, value) in MALFORMED {
        let letter =
            second.dead_letter(PATIENCE).await.with_context(|| format!("{what}: not within {PATIENCE:?}"))?;
        let letter = letter.context("the dead letters are not read any more")?;
        // Those of one user come in the order of their records.
        ensure!(letter.value.as_deref() == value.map(str::as_bytes), "{what}: {:?} came", letter.value);
        let header = |wanted: &str| {
            let header = letter.headers.iter().find(|(name, _)| name == wanted);
            header.and_then(|(_, value)| value.as_deref()).unwrap_or_default()
        };
        ensure!(!header(dead_letter::ERROR).is_empty(), "{what}: it does not say why");
        ensure!(header(dead_letter::TOPIC) == name.as_bytes(), "{what}: it does not say from where");
    }
    Ok(())
}

/// The ids of events, of which none may be there twice.
fn unique<'a>(events: impl IntoIterator<Item = &'a Value>) -> anyhow::Result<BTreeSet<String>> {
    let mut ids = BTreeSet::new();
    for event in events {
        let id = text(&event["eventId"]).to_owned();
        ensure!(!ids.contains(&id), "{id} is there twice");
        ids.insert(id);
    }
    Ok(ids)
}

async fn processed(service: &Service, ids: &BTreeSet<String>) -> anyhow::Result<()> {
    let listed = service.read("/events/processed").await?;
    let found = unique(listed.as_array().context("no array")?)?;
    ensure!(found == *ids, "{} events are listed, {} were posted", found.len(), ids.len());
    Ok(())
}

async fn pages(service: &Service, ids: &BTreeSet<String>) -> anyhow::Result<()> {
    let mut path = "/events/processed?limit=2".to_owned();
    let mut events = Vec::new();
    for _ in 0..=ids.len() {
        let page = service.answers(200, &Request::get(path.as_str())).await?;
        events.extend(page.json().as_array().context("no array")?.iter().cloned());
        let next = page.header("link").and_then(|link| link.strip_prefix('<')?.split_once('>'));
        let Some((next, _)) = next else {
            let found = unique(&events)?;
            ensure!(found == *ids, "{} events are listed, {} were posted", found.len(), ids.len());
            return Ok(());
        };
        path = next.to_owned();
    }
    bail!("the pages have no end")
}

async fn selected(service: &Service, name: &str, twin: &Value) -> anyhow::Result<()> {
    let of_user = service.read(&format!("/api/events/user/{name}")).await?;
    let events = of_user["events"].as_array().context("no events")?;
    // One by /api/events, the twin and the last.
    ensure!(of_user["count"] == 3 && events.len() == 3, "3 events of the user expected: {of_user}");
    ensure!(events.iter().all(|event| event["userId"] == name), "of another user: {of_user}");
    ensure!(
        events
            .iter()
            .any(|event| event["eventId"] == twin["eventId"]
                && event["timestamp"] == "2025-01-01T00:00:00.000Z"),
        "no event with the id and time that were posted: {of_user}"
    );
    // Its name is a type, too, and types compare without case.
    let of_type = service.read(&format!("/api/events/type/{}", name.to_uppercase())).await?;
    ensure!(of_type["count"] == 1, "1 event of type {name} expected: {of_type}");
    let before = service.read(&format!("/events/processed?userId={name}&to=2025-01-02T00:00:00Z")).await?;
    ensure!(
        before.as_array().is_some_and(|events| events.len() == 1),
        "1 event of that day expected: {before}"
    );
    Ok(())
}

/// Four copies were offered, and the next offset of every partition is its end, now or soon.
async fn settled(service: &Service, ids: &BTreeSet<String>) -> anyhow::Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let health = service.read("/health").await?;
        let store = &health["store"];
        ensure!(store["events"] == ids.len(), "{} events expected: {store}", ids.len());
        let partitions = health["group"]["partitions"].as_array().context("no partitions")?;
        ensure!(!partitions.is_empty(), "no partition is assigned");
        let done = |partition: &Value| partition["position"].as_i64() >= partition["end"].as_i64();
        if store["duplicates"].as_i64() >= Some(4) && partitions.iter().all(done) {
            return Ok(());
        }
        ensure!(Instant::now() < end, "not within {PATIENCE:?}: {health}");
        sleep(Duration::from_millis(50)).await;
    }
}
