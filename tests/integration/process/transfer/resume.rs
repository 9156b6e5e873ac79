//! `highwater import --resume`.

use std::{fs, process::Stdio};

use super::{Directory, feed, highwater, ids, import, lines, until_count};
use crate::support::{TestApp, TestCluster, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_import_goes_on_where_it_was_and_each_event_is_stored_once() {
    const ALL: usize = 5_000;
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    let directory = Directory::new();
    let path = directory.pipe("events");
    // Of a pipe that stays open the import sends what is there, and waits.
    let mut killed = highwater(&app, &["import", "--resume", path.to_str().unwrap()])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pipe = feed(&path, None, lines("a", 0..ALL / 2)).await;
    let note = directory.0.join("events.imported");
    let noted: usize = eventually("it has noted something", async || {
        let noted = fs::read_to_string(&note).ok()?.split_once(' ')?.0.parse().ok()?;
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
async fn a_file_that_grew_goes_on_and_one_that_was_replaced_is_refused_with_what_to_do() {
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    let directory = Directory::new();
    // Its last line has no end yet.
    let file = directory.file("events", lines("a", 0..10).trim_end());
    assert_eq!(import(&app, &[&file], &["--resume"]).await.code, Some(0));
    directory.file("events", lines("a", 0..20));
    let ended = import(&app, &[&file], &["--resume"]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(ended.said.contains("10 events stored, 0 refused, after 10 lines from before"), "{}", ended.said);
    until_count(&app, "/api/events/user/a", 20).await;

    let note = directory.0.join("events.imported");
    let noted = fs::read(&note).unwrap();
    for another in [
        lines("b", 0..30),
        // One that is shorter, none at all, and one of which the first line alone differs.
        lines("a", 0..19),
        String::new(),
        format!("{}{}", lines("b", 0..1), lines("a", 1..30)),
    ] {
        directory.file("events", &another);
        let ended = import(&app, &[&file], &["--resume"]).await;
        assert_eq!(ended.code, Some(1), "{}", ended.said);
        assert!(
            ended.said.contains("the first 20 lines are not those that were imported before"),
            "{}",
            ended.said
        );
        assert!(ended.said.contains(&format!("delete {}", note.display())), "{}", ended.said);
        assert!(fs::read(&note).unwrap() == noted, "the note stays");
    }
    fs::remove_file(&note).unwrap();
    let ended = import(&app, &[&file], &["--resume"]).await;
    assert!(ended.said.contains("0 events stored"), "{}", ended.said);
    directory.file("events", lines("b", 0..30));
    fs::remove_file(&note).unwrap();
    let ended = import(&app, &[&file], &["--resume"]).await;
    assert!(ended.said.contains("30 events stored, 0 refused in"), "{}", ended.said);
    fs::write(&note, "30").unwrap();
    let ended = import(&app, &[&file], &["--resume"]).await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.said.contains("is no note of an import"), "{}", ended.said);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_goes_on_still_tells_which_lines_were_refused_before() {
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    let directory = Directory::new();
    let text = format!("{}nonsense\n{{}}\n", lines("a", 0..3));
    let file = directory.file("events", &text);
    let other = directory.file("others", lines("b", 0..2));
    let ended = import(&app, &[&file, &other], &["--resume"]).await;
    assert_eq!(ended.code, Some(3), "{}", ended.said);
    assert!(ended.said.contains("5 events stored, 2 refused in"), "{}", ended.said);
    directory.file("events", format!("{text}nonsense\n"));
    for (more, before) in [(1, 2), (0, 3)] {
        let ended = import(&app, &[&file, &other], &["--resume"]).await;
        assert_eq!(ended.code, Some(3), "{}", ended.said);
        let lines = 5 + before;
        let sums = format!("0 events stored, {more} refused, after {lines} lines from before, {before} of");
        assert!(ended.said.contains(&sums), "{}", ended.said);
    }
    // None was refused of the other one.
    assert_eq!(import(&app, &[&other], &["--resume"]).await.code, Some(0));
    app.stop().await;
}
