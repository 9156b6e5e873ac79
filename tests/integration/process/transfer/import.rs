//! `highwater import`.

use std::{fs, io::Write as _, path::Path};

use super::{Directory, highwater, ids, import, lines, run, run_with_input, until_count};
use crate::support::{TestApp, TestCluster};

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

    for url in ["nonsense", "http://ada:hunter2@127.0.0.1", "https:ada:hunter2"] {
        let ended = import(&app, &[&file], &["--url", url]).await;
        assert_eq!(ended.code, Some(2), "{}", ended.said);
        let is_shown = ["nonsense", "ada", "hunter2"].iter().any(|part| ended.said.contains(part));
        assert!(ended.said.contains("'…' for '--url <URL>': must be a URL") && !is_shown, "{}", ended.said);
    }
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
    let packed = zstd::encode_all(lines("piped", 0..2_000).as_bytes(), 1).unwrap();
    let ended = run_with_input(highwater(&app, &["import", "-"]), packed).await;
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(ended.said.contains("2000 events stored, 0 refused"), "{}", ended.said);
    until_count(&app, "/api/events/user/piped", 2_000).await;

    let ended = run(highwater(&app, &["import", "--resume", "-"])).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.said.contains("standard input cannot be read again"), "{}", ended.said);
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

#[tokio::test(flavor = "multi_thread")]
async fn of_a_file_that_breaks_off_the_lines_before_are_stored_and_the_sums_are_told_before_the_error() {
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    let directory = Directory::new();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(lines("a", 0..2_000).as_bytes()).unwrap();
    let packed = gzip.finish().unwrap();
    let file = directory.file("events", &packed[..packed.len() / 2]);
    let ended = import(&app, &[&file], &[]).await;
    assert_eq!(ended.code, Some(1), "{}", ended.said);
    let said: Vec<_> = ended.said.lines().rev().take(2).collect();
    let [error, sums] = said[..] else { panic!("{}", ended.said) };
    assert!(error.starts_with(&format!("{}: ", file.display())), "{}", ended.said);
    let stored: usize = sums.split_once(" events stored, 0 refused in ").unwrap().0.parse().unwrap();
    assert!((1..2_000).contains(&stored), "{}", ended.said);
    until_count(&app, "/api/events/user/a", stored).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_files_of_one_name_are_refused_before_anything_is_sent() {
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    let directory = Directory::new();
    for name in ["a", "b"] {
        fs::create_dir(directory.0.join(name)).unwrap();
    }
    let first = directory.file("a/events", lines("a", 0..3));
    let second = directory.file("b/events", lines("a", 0..3));
    let stdin = Path::new("-");
    for files in [[&*first, &*second], [&first, &first], [stdin, stdin]] {
        let ended = import(&app, &files, &[]).await;
        assert_eq!(ended.code, Some(1), "{}", ended.said);
        assert!(ended.said.starts_with("two of the files are named "), "{}", ended.said);
    }
    assert_eq!(app.read("/api/events").await["count"], 0);
    app.stop().await;
}
