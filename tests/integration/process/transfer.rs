//! `highwater import` and `highwater export`: events between files and a running service.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{TestApp, TestCluster, eventually};

/// A directory of the test's own; removed when dropped.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("highwater-transfer-{}", Uuid::new_v4()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The command `highwater` of a shell that has that service's port.
fn highwater(app: &TestApp, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
    command.env_clear().env("HOST", "127.0.0.1").env("PORT", app.port().to_string()).args(arguments);
    // Where there is no `.env`.
    command.current_dir(std::env::temp_dir()).stdin(Stdio::null());
    command
}

/// How a command ended, and what it said.
struct Ended {
    code: Option<i32>,
    output: String,
    said: String,
}

async fn run(mut command: Command) -> Ended {
    let ended = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    ended_with(ended)
}

fn ended_with(Output { status, stdout, stderr }: Output) -> Ended {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: status.code(), output: text(stdout), said: text(stderr) }
}

async fn import(app: &TestApp, files: &[&Path], more: &[&str]) -> Ended {
    let files = files.iter().map(|path| path.to_str().unwrap());
    run(highwater(app, &[&["import"], more, &files.collect::<Vec<_>>()].concat())).await
}

fn lines(user: &str, numbers: std::ops::Range<usize>) -> String {
    let line = |n| format!("{{\"userId\":\"{user}\",\"eventType\":\"LOGIN\",\"payload\":{{\"n\":{n}}}}}\n");
    numbers.map(line).collect()
}

/// How often the log has each id.
async fn ids(cluster: &TestCluster) -> BTreeMap<String, usize> {
    let mut ids = BTreeMap::new();
    for (_, record) in cluster.records(&cluster.topic).await {
        let event: Value = serde_json::from_slice(&record.record.value.unwrap()).unwrap();
        *ids.entry(event["eventId"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    ids
}

async fn until_count(app: &TestApp, path: &str, count: usize) {
    eventually(&format!("{path} has {count}"), async || {
        (app.read(path).await["count"] == count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_read_by_their_content_and_a_name_that_is_wrong_is_told() {
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    let directory = Directory::new();
    let plain = directory.file("plain", lines("plain", 0..1_000));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(lines("gzip", 0..600).as_bytes()).unwrap();
    let first = gzip.finish().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(lines("gzip", 600..1_000).as_bytes()).unwrap();
    // Two members in a row are one file, as `cat` makes it.
    let gzip = directory.file("gzip.txt", [first, gzip.finish().unwrap()].concat());
    let zstd = directory.file("events.zst", zstd::encode_all(lines("zstd", 0..1_000).as_bytes(), 3).unwrap());

    let ended = import(&app, &[&plain, &gzip, &zstd], &[]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(ended.said.contains("3000 events stored, 0 refused"), "{}", ended.said);
    for user in ["plain", "gzip", "zstd"] {
        until_count(&app, &format!("/api/events/user/{user}"), 1_000).await;
    }

    let wrong = directory.file("plain.gz", lines("wrong", 0..10));
    let ended = import(&app, &[&wrong], &[]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(ended.said.contains("plain.gz: is named as a packed file, and is none"), "{}", ended.said);
    let cut = fs::read(&zstd).unwrap();
    let cut = directory.file("cut.zst", &cut[..cut.len() / 2]);
    assert_eq!(import(&app, &[&cut], &[]).await.code, Some(1));
    let ended = import(&app, &[&directory.0.join("none")], &[]).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.said.contains("none"), "{}", ended.said);
    assert_eq!(app.read("/api/events/user/wrong").await["count"], 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_without_an_id_gets_one_that_follows_from_its_file_and_its_line() {
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    let directory = Directory::new();
    let own = "0190163d-8694-739b-aea5-966c26f8ad91";
    // The same text twice is two events, for they are two lines.
    let text = format!(
        "{}\n{}{{\"userId\":\"a\",\"eventType\":\"LOGIN\",\"eventId\":null}}\n \
         {{ \"eventId\" : \"{own}\", \"userId\":\"a\", \"eventType\":\"LOGIN\" }}\r\n",
        lines("a", 0..3),
        lines("a", 1..3),
    );
    let file = directory.file("events", &text);
    for _ in 0..2 {
        let ended = import(&app, &[&file], &[]).await;
        assert_eq!(ended.code, Some(0), "{}", ended.said);
        assert!(ended.said.contains("7 events stored, 0 refused"), "{}", ended.said);
    }
    let first = ids(&cluster).await;
    assert_eq!(first.len(), 7);
    assert!(first.values().all(|times| *times == 2), "{first:?}");
    assert!(first.contains_key(own));
    until_count(&app, "/api/events", 7).await;

    // Another name, another file: the ids differ, but for the one that was given.
    let other = directory.file("others", &text);
    assert_eq!(import(&app, &[&other], &[]).await.code, Some(0));
    let both = ids(&cluster).await;
    assert_eq!((both.len(), both[own]), (13, 3));
    until_count(&app, "/api/events", 13).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_told_by_file_and_line_and_the_exit_code_tells_some_from_all() {
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    let directory = Directory::new();
    let file = directory.file(
        "mixed",
        format!(
            "{}\nnonsense\n{{}}\n{{\"userId\":\"\",\"eventType\":\"NO\"}}\n{}",
            lines("a", 0..2),
            lines("a", 2..3)
        ),
    );
    let ended = import(&app, &[&file], &[]).await;
    assert_eq!(ended.code, Some(3), "{}", ended.said);
    assert!(ended.said.contains("3 events stored, 3 refused"), "{}", ended.said);
    for line in [4, 5, 6] {
        assert!(ended.said.contains(&format!("mixed:{line}: 400: ")), "{}", ended.said);
    }
    assert_eq!(ended.output, "");
    until_count(&app, "/api/events/user/a", 3).await;

    let ended = import(&app, &[&file], &["--url", "nonsense"]).await;
    assert_eq!(ended.code, Some(2), "{}", ended.said);
    let elsewhere = format!("http://127.0.0.1:{}/elsewhere/", app.port());
    let ended = import(&app, &[&file], &["--url", &elsewhere]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    assert!(ended.said.contains("/elsewhere/events/batch answers 404"), "{}", ended.said);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_input_is_imported_too() {
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    let mut command = highwater(&app, &["import", "-"]);
    let ended = tokio::task::spawn_blocking(move || {
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let packed = zstd::encode_all(lines("piped", 0..2_000).as_bytes(), 1).unwrap();
        child.stdin.take().unwrap().write_all(&packed).unwrap();
        ended_with(child.wait_with_output().unwrap())
    })
    .await
    .unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(ended.said.contains("2000 events stored, 0 refused"), "{}", ended.said);
    until_count(&app, "/api/events/user/piped", 2_000).await;

    let ended = run(highwater(&app, &["import", "--resume", "-"])).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.said.contains("standard input cannot be read again"), "{}", ended.said);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_import_goes_on_where_it_was_and_each_event_is_stored_once() {
    const ALL: usize = 5_000;
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    let directory = Directory::new();
    let path = directory.0.join("events");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    // Of a pipe that stays open the import sends what is there, and waits.
    let mut killed = highwater(&app, &["import", "--resume", path.to_str().unwrap()])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (pipe, begin) = (path.clone(), lines("a", 0..ALL / 2));
    let writing = tokio::task::spawn_blocking(move || {
        let mut pipe = File::options().write(true).open(pipe).unwrap();
        pipe.write_all(begin.as_bytes()).unwrap();
        pipe
    });
    let pipe = writing.await.unwrap();
    let note = directory.0.join("events.imported");
    let noted: usize = eventually("it has noted something", async || {
        let noted = fs::read_to_string(&note).ok()?.trim().parse().ok()?;
        (noted > 0 && app.read("/api/events/user/a").await["count"] == noted).then_some(noted)
    })
    .await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    drop(pipe);
    assert!(noted < ALL / 2, "{noted}");

    fs::remove_file(&path).unwrap();
    directory.file("events", lines("a", 0..ALL));
    let ended = import(&app, &[&path], &["--resume"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    let sums = format!("{} events stored, 0 refused, after {noted} lines from before", ALL - noted);
    assert!(ended.said.contains(&sums), "{}", ended.said);
    let ids = ids(&cluster).await;
    assert_eq!((ids.len(), ids.values().sum::<usize>()), (ALL, ALL));

    // All of it is noted: nothing is sent again.
    let ended = import(&app, &[&path], &["--resume"]).await;
    assert!(
        ended.said.contains("0 events stored, 0 refused, after 5000 lines from before"),
        "{}",
        ended.said
    );
    until_count(&app, "/api/events/user/a", ALL).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_goes_at_the_pace_that_the_limits_allow() {
    let cluster = TestCluster::start().await;
    let app = TestApp::start_with(&cluster, &[("LIMIT_USER", "events=200")]).await;
    app.until_ready().await;
    let directory = Directory::new();
    let file = directory.file("events", lines("a", 0..500));
    let ended = import(&app, &[&file], &[]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(ended.said.contains("500 events stored, 0 refused"), "{}", ended.said);
    assert!(ended.said.contains("the rest is sent again"), "{}", ended.said);
    until_count(&app, "/api/events/user/a", 500).await;
    app.stop().await;
}

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

    // An export, in gzip too, is imported elsewhere unchanged.
    let directory = Directory::new();
    let packed = directory.0.join("all.gz");
    let ended = run(highwater(&app, &["export", "--output", packed.to_str().unwrap()])).await;
    assert_eq!((ended.code, ended.output.as_str()), (Some(0), ""), "{}", ended.said);
    let elsewhere = TestCluster::start().await;
    let other = TestApp::ready(&elsewhere).await;
    assert_eq!(import(&other, &[&packed], &[]).await.code, Some(0));
    until_count(&other, "/api/events", 60).await;
    let sorted = |text: String| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(listed(&other, "").await), sorted(listed(&app, "").await));
    other.stop().await;
    app.stop().await;
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

    // A first page is written and noted, and the second one in part.
    let directory = Directory::new();
    let first =
        app.ask(Method::GET, "/events/processed?limit=10000", None, Some("application/x-ndjson")).await;
    let link = first.headers()["link"].to_str().unwrap().to_owned();
    let next = link.strip_prefix('<').unwrap().split_once('>').unwrap().0.to_owned();
    let page = first.text().await.unwrap();
    let file = directory.file("events", format!("{page}{{\"eventId\":\"0190"));
    let note = directory.file("events.next", format!("{} {next}\n", page.len()));
    let arguments = ["export", "--resume", "--output", file.to_str().unwrap()];
    let ended = run(highwater(&app, &arguments)).await;
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(ended.said.contains("50 events"), "{}", ended.said);
    assert!(fs::read_to_string(&file).unwrap() == all, "each event is there once, in order");
    assert!(!note.exists(), "nothing is left to go on with");

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
