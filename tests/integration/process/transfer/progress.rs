//! How far a transfer is, as it tells it.

use std::{
    fs::{self, File},
    time::{Duration, Instant},
};

use super::{Directory, feed, highwater, lines, until_count};
use crate::support::{TestApp, TestCluster, eventually};

/// The events and the rate of each line that has them.
fn figures(said: &str) -> Vec<(u64, u64)> {
    let parsed = said.lines().filter_map(|line| {
        let (events, rate) = line.split_once(" events, ")?;
        Some((events.parse().ok()?, rate.strip_suffix(" a second")?.parse().ok()?))
    });
    parsed.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_lasts_tells_its_events_and_their_rate_once_a_second() {
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    let directory = Directory::new();
    let path = directory.pipe("events");
    let said = directory.0.join("said");
    let began = Instant::now();
    let mut child = highwater(&app, &["import", path.to_str().unwrap()])
        .stderr(File::create(&said).unwrap())
        .spawn()
        .unwrap();
    let (mut pipe, mut told) = (None, 0);
    for part in 0..3 {
        pipe = Some(feed(&path, pipe, lines("a", part * 1_000..(part + 1) * 1_000)).await);
        let (events, rate) = eventually("a line tells of more events", async || {
            figures(&fs::read_to_string(&said).unwrap()).last().copied().filter(|(events, _)| *events > told)
        })
        .await;
        // The first line comes after a second.
        assert!(rate > 0 && rate <= events, "{events} events, {rate} a second");
        told = events;
    }
    let lines = figures(&fs::read_to_string(&said).unwrap()).len();
    assert!(lines >= 3 && Duration::from_secs(lines as u64) <= began.elapsed(), "{lines} lines");

    drop(pipe);
    let ended = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    let said = fs::read_to_string(&said).unwrap();
    assert_eq!(ended.code(), Some(0), "{said}");
    assert!(said.lines().last().unwrap().starts_with("3000 events stored, 0 refused in "), "{said}");
    assert!(!said.contains(['\r', '\x1b', '[']), "what no terminal reads has no bar: {said}");
    until_count(&app, "/api/events/user/a", 3_000).await;
    app.stop().await;
}

/// `script` runs a command under a terminal of its own.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn an_import_on_a_terminal_shows_a_bar_on_one_line() {
    use super::{HIGHWATER, in_its_shell, run};

    let cluster = TestCluster::start().await;
    // It takes its time, for that.
    let app = TestApp::start_with(&cluster, &[("LIMIT_USER", "events=200")]).await;
    app.until_ready().await;
    let directory = Directory::new();
    let file = directory.file("events", lines("a", 0..500));
    let import = format!("{HIGHWATER} import {}", file.display());
    let ended = run(in_its_shell(&app, "script", &["-qec", &import, "/dev/null"])).await;
    let shown = ended.output;
    assert_eq!(ended.code, Some(0), "{shown:?} {}", ended.said);
    // Back to the beginning of the line, which is erased.
    let bars: Vec<_> = shown.split("\r\x1b[2K").filter(|line| line.starts_with('[')).collect();
    let full = format!("[{}] 100 %, ", "=".repeat(24));
    let has_figures =
        |bar: &&str| bar.starts_with(&full) && bar.contains(" events, ") && bar.contains(" a second");
    assert!(bars.iter().any(has_figures), "{shown:?}");
    assert!(shown.contains("500 events stored, 0 refused in "), "{shown:?}");
    app.stop().await;
}
