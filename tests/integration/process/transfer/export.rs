//! `highwater export`.

use std::{fs, io::Read as _, path::Path};

use flate2::read::MultiGzDecoder;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Directory, highwater, import, run, until_count};
use crate::support::{TestApp, TestCluster, eventually};

/// Posts so many events, an hour apart, and waits until they are processed.
async fn with_events(app: &TestApp, count: usize) {
    let events: Vec<Value> = (0..count)
        .map(|number| {
            let event_type = if number.is_multiple_of(2) { "LOGIN" } else { "LOGOUT" };
            let hours = chrono::Duration::hours(number as i64);
            let timestamp = chrono::DateTime::UNIX_EPOCH + chrono::Duration::days(20_000) + hours;
            json!({
                "userId": format!("user {}", number % 3), "eventType": event_type,
                "timestamp": timestamp.to_rfc3339(), "payload": { "n": number },
            })
        })
        .collect();
    let answer: Value = app.post("/events/batch", &json!(events)).await.json().await.unwrap();
    assert_eq!(answer["stored"], count);
    until_count(app, "/api/events", count).await;
}

/// The events of a listing, an event a line.
async fn listed(app: &TestApp, query: &str) -> String {
    let path = format!("/events/processed{query}");
    app.ask(Method::GET, &path, None, Some("application/x-ndjson")).await.text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_has_the_events_that_a_listing_with_its_filters_has() {
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    with_events(&app, 60).await;
    let (from, to) = ("2024-10-04T10:00:00Z", "2024-10-05T10:00:00Z");
    for (arguments, query, count) in [
        (vec![], String::new(), 60),
        (vec!["--user-id", "user 1"], "?userId=user%201".to_owned(), 20),
        (vec!["--event-type", "logout"], "?eventType=LOGOUT".to_owned(), 30),
        (vec!["--from", from, "--to", to], format!("?from={from}&to={to}"), 24),
        (vec!["--order", "desc", "--limit", "7"], "?order=desc&limit=7".to_owned(), 7),
        (vec!["--user-id", "nobody"], "?userId=nobody".to_owned(), 0),
    ] {
        let ended = run(highwater(&app, &[&["export"], &arguments[..]].concat())).await;
        assert_eq!(ended.code, Some(0), "{}", ended.said);
        assert_eq!(ended.output, listed(&app, &query).await, "{arguments:?}");
        assert_eq!(ended.output.lines().count(), count, "{arguments:?}");
        assert!(ended.said.contains(&format!("{count} events")), "{}", ended.said);
    }
    let ended = run(highwater(&app, &["export", "--from", "yesterday"])).await;
    assert_eq!(ended.code, Some(2), "{}", ended.said);

    // An export is imported elsewhere unchanged.
    let directory = Directory::new();
    let sorted = |text: String| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    for name in ["all.gz", "all.zst"] {
        let packed = directory.0.join(name);
        let ended = run(highwater(&app, &["export", "--output", packed.to_str().unwrap()])).await;
        assert_eq!((ended.code, ended.output.as_str()), (Some(0), ""), "{}", ended.said);
        let elsewhere = TestCluster::start().await;
        let other = TestApp::ready(&elsewhere).await;
        assert_eq!(import(&other, &[&packed], &[]).await.code, Some(0));
        until_count(&other, "/api/events", 60).await;
        assert_eq!(sorted(listed(&other, "").await), sorted(listed(&app, "").await));
        other.stop().await;
    }
    app.stop().await;
}

/// The file's content, as others unpack it.
fn unpacked(path: &Path) -> String {
    let packed = fs::read(path).unwrap();
    let mut text = String::new();
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("gz") => MultiGzDecoder::new(&packed[..]).read_to_string(&mut text).unwrap(),
        Some("zst") => zstd::Decoder::new(&packed[..]).unwrap().read_to_string(&mut text).unwrap(),
        _ => return String::from_utf8(packed).unwrap(),
    };
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_was_broken_off_goes_on_after_its_last_whole_page() {
    let cluster = TestCluster::start().await;
    let settings = [("BATCH_MAX_EVENTS", "20000"), ("MAX_BATCH_BYTES", "8MiB"), ("BODY_TIMEOUT", "60s")];
    let app = TestApp::start_with(&cluster, &settings).await;
    app.until_ready().await;
    with_events(&app, 10_050).await;
    let all = listed(&app, "").await;
    assert_eq!(all.lines().count(), 10_050);
    let first =
        app.ask(Method::GET, "/events/processed?limit=10000", None, Some("application/x-ndjson")).await;
    let link = first.headers()["link"].to_str().unwrap().to_owned();
    let next = link.strip_prefix('<').unwrap().split_once('>').unwrap().0.to_owned();
    first.bytes().await.unwrap();

    let directory = Directory::new();
    for name in ["events", "events.gz", "events.zst"] {
        // A first page is written and noted, and the second one in part.
        let file = directory.0.join(name);
        let arguments = ["export", "--resume", "--output", file.to_str().unwrap()];
        let ended = run(highwater(&app, &[&arguments[..], &["--limit", "10000"]].concat())).await;
        assert_eq!(ended.code, Some(0), "{}", ended.said);
        let page = fs::read(&file).unwrap();
        directory.file(name, [&page[..], b"{\"eventId\":\"0190"].concat());
        let noted = format!("{} 10000 whole /events/processed?limit=10000 {next}\n", page.len());
        let note = directory.file(&format!("{name}.next"), noted);
        let ended = run(highwater(&app, &arguments)).await;
        assert_eq!(ended.code, Some(0), "{}", ended.said);
        assert!(ended.said.contains("50 events, after 10000 from before"), "{}", ended.said);
        assert!(unpacked(&file) == all, "{name}: each event is there once, in order");
        assert!(!note.exists(), "nothing is left to go on with");
    }

    // Of a page that a limit cuts the rest is not left out later.
    let (file, note) = (directory.0.join("events"), directory.0.join("events.next"));
    let arguments = ["export", "--resume", "--output", file.to_str().unwrap()];
    let ended = run(highwater(&app, &[&arguments[..], &["--limit", "7"]].concat())).await;
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 7);
    assert!(!note.exists(), "what is within the limit is whole");

    // A whole one, which notes its first page by itself.
    let ended = run(highwater(&app, &arguments)).await;
    assert!(ended.said.contains("10050 events"), "{}", ended.said);
    assert!(fs::read_to_string(&file).unwrap() == all);
    let ended = run(highwater(&app, &["export", "--resume"])).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.said.contains("--resume needs --output"), "{}", ended.said);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_nothing_is_a_packed_file_of_nothing() {
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    let directory = Directory::new();
    for name in ["none.gz", "none.zst"] {
        let file = directory.0.join(name);
        let ended = run(highwater(&app, &["export", "--output", file.to_str().unwrap()])).await;
        assert_eq!(ended.code, Some(0), "{}", ended.said);
        assert!(fs::metadata(&file).unwrap().len() > 0);
        assert_eq!(unpacked(&file), "", "{name}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_from_one_instance_of_several_says_that_it_is_a_part() {
    let cluster = TestCluster::start().await;
    let first = TestApp::ready(&cluster).await;
    let second = TestApp::ready(&cluster).await;
    eventually("both have partitions", async || {
        let (one, other) = (first.partitions().await.len(), second.partitions().await.len());
        (one > 0 && other > 0 && one + other == 3).then_some(())
    })
    .await;
    let ended = run(highwater(&first, &["export"])).await;
    assert_eq!(ended.code, Some(3), "{}", ended.said);
    assert!(ended.said.contains("ask the others, too"), "{}", ended.said);
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_goes_on_with_the_output_the_filters_and_the_limit_that_it_had_and_refuses_others() {
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    with_events(&app, 12).await;
    let all = listed(&app, "?userId=user%201").await;
    assert_eq!(all.lines().count(), 4);
    let path = "/events/processed?limit=2&userId=user%201";
    let page = app.ask(Method::GET, path, None, Some("application/x-ndjson")).await;
    let link = page.headers()["link"].to_str().unwrap().to_owned();
    let next = link.strip_prefix('<').unwrap().split_once('>').unwrap().0.to_owned();
    let page = page.text().await.unwrap();

    let directory = Directory::new();
    let file = directory.file("events", &page);
    let noted_of = |coverage| {
        format!("{} 2 {coverage} /events/processed?limit=10000&userId=user%201 {next}\n", page.len())
    };
    let noted = noted_of("whole");
    let note = directory.file("events.next", &noted);
    let arguments = ["export", "--resume", "--output", file.to_str().unwrap()];
    let resumed = async |more: &[&str]| run(highwater(&app, &[&arguments[..], more].concat())).await;
    let refused = async |more: &[&str], words: &str| {
        let ended = resumed(more).await;
        assert_eq!(ended.code, Some(1), "{}", ended.said);
        let advice = format!("it cannot go on; delete {} to begin anew: ", note.display());
        assert!(ended.said.starts_with(&advice) && ended.said.contains(words), "{}", ended.said);
        assert_eq!(fs::read_to_string(&note).unwrap(), noted);
    };
    refused(&[], "the filters are others").await;
    refused(&["--user-id", "user 2"], "the filters are others").await;
    refused(&["--user-id", "user 1", "--order", "desc"], "the filters are others").await;
    refused(&["--user-id", "user 1", "--limit", "1"], "2 events, more than --limit").await;
    assert_eq!(fs::read_to_string(&file).unwrap(), page);
    directory.file("events", &page[1..]);
    refused(&["--user-id", "user 1"], &format!("{} bytes, and had {}", page.len() - 1, page.len())).await;
    assert_eq!(fs::read_to_string(&file).unwrap(), page[1..]);
    fs::remove_file(&file).unwrap();
    refused(&["--user-id", "user 1"], "has 0 bytes").await;
    assert!(!file.exists());

    // The limit counts the events that were there before. Of a part it is still told that it is one.
    for (limit, count, coverage, code) in [
        ("2", 2, "whole", 0),
        ("3", 3, "whole", 0),
        ("9", 4, "whole", 0),
        ("2", 2, "part", 3),
        ("9", 4, "part", 3),
    ] {
        directory.file("events", &page);
        directory.file("events.next", noted_of(coverage));
        let ended = resumed(&["--user-id", "user 1", "--limit", limit]).await;
        assert_eq!(ended.code, Some(code), "{}", ended.said);
        assert_eq!(ended.said.contains("ask the others, too"), code == 3, "{}", ended.said);
        let expected: String = all.split_inclusive('\n').take(count).collect();
        assert_eq!(fs::read_to_string(&file).unwrap(), expected);
        assert!(!note.exists());
    }
    app.stop().await;
}
