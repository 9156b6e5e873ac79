//! The same warning many times a second.

use std::{
    thread,
    time::{Duration, Instant},
};

use highwater::telemetry::Format;
use log::{error, info, warn};

use super::{AT_MOST, Paper, logged, logger};

#[test]
fn a_storm_of_one_warning_is_ten_lines_and_one_that_counts_the_others_also_when_nothing_follows() {
    let paper = Paper::default();
    let (logger, _logs) = logger(Format::Json, paper.clone());
    for offset in 0..1_000 {
        warn!(logger: logger, target: "t", offset; "malformed");
    }
    let began = Instant::now();
    let told = loop {
        let lines: Vec<serde_json::Value> =
            paper.lines().iter().map(|line| serde_json::from_str(line).expect("a JSON object")).collect();
        if let Some(told) = lines.iter().position(|line| line["message"] == "again: malformed") {
            assert_eq!((&lines[told]["times"], &lines[told]["level"]), (&990.into(), &"WARN".into()));
            break told;
        }
        assert!(began.elapsed() < AT_MOST, "nobody counts them: {lines:?}");
        thread::park_timeout(Duration::from_millis(10));
    };
    assert_eq!(told, 10);
}

#[test]
fn a_storm_of_seconds_has_no_more_than_ten_lines_in_each_and_is_counted_whole() {
    let paper = Paper::default();
    let (logger, logs) = logger(Format::Json, paper.clone());
    let (began, mut logged) = (Instant::now(), 0_u64);
    while began.elapsed() < Duration::from_millis(3_500) {
        warn!(logger: logger, target: "t", "malformed");
        logged += 1;
        thread::park_timeout(Duration::from_millis(1));
    }
    let seconds = began.elapsed().as_secs() + 1;
    drop(logs);
    let lines = paper.lines();
    let lines =
        lines.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a JSON object"));
    let (told, written): (Vec<_>, Vec<_>) = lines.partition(|line| line["message"] == "again: malformed");
    assert!(written.len() as u64 <= 10 * seconds, "{} in {seconds} seconds", written.len());
    let counted: u64 = told.iter().map(|line| line["times"].as_u64().unwrap()).sum();
    assert_eq!(written.len() as u64 + counted, logged);
}

#[test]
fn a_storm_is_counted_at_the_end_of_the_process_too() {
    let paper = Paper::default();
    let (logger, logs) = logger(Format::Text, paper.clone());
    for _ in 0..15 {
        error!(logger: logger, target: "t", "no");
    }
    drop(logs);
    let lines = paper.lines();
    assert_eq!(lines.len(), 11, "{lines:?}");
    assert!(lines[10].ends_with("ERROR t again: no times=5"), "{lines:?}");
}

#[test]
fn other_warnings_of_a_second_have_all_their_lines_and_so_has_what_is_no_warning() {
    let lines = logged(Format::Text, |logger| {
        for number in 0..2_000 {
            warn!(logger: logger, target: "t", "{number}");
            info!(logger: logger, target: "t", "the same");
        }
    });
    assert_eq!(lines.lines().count(), 4_000);
}
