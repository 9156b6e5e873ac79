//! An output that is slow, broken or gone blocks nothing.

use std::{
    io::{self, ErrorKind, Write},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use highwater::telemetry::{Format, Logger};
use log::info;

use super::{AT_MOST, Paper, logged, logger};

/// Waits before each write until it is told to go on; for good once nobody can tell it.
struct Stalled(mpsc::Receiver<()>, Paper);

impl Write for Stalled {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        self.1.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Answers with each of these in turn, then takes everything.
struct Failing(Vec<io::Result<usize>>, Paper, mpsc::Sender<()>);

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.2.send(());
        match self.0.pop() {
            Some(Ok(count)) => self.1.write(&bytes[..count.min(bytes.len())]),
            Some(Err(error)) => Err(error),
            None => self.1.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn failing(answers: impl IntoIterator<Item = io::Result<usize>>) -> (Failing, Paper, mpsc::Receiver<()>) {
    let mut answers: Vec<_> = answers.into_iter().collect();
    answers.reverse();
    let (paper, (tell, told)) = (Paper::default(), mpsc::channel());
    (Failing(answers, paper.clone(), tell), paper, told)
}

/// The sum of what lines say was dropped.
fn told_dropped(lines: &[String]) -> usize {
    let counts = lines.iter().filter(|line| line.contains(" lines were dropped: "));
    counts.map(|line| line.rsplit_once("lines=").unwrap().1.parse::<usize>().unwrap()).sum()
}

#[test]
fn a_stalled_reader_costs_lines_and_no_time_and_the_lost_lines_are_counted() {
    let (go_on, gate) = mpsc::channel();
    let paper = Paper::default();
    let (logger, logs) = logger(Format::Text, Stalled(gate, paper.clone()));
    let value = "x".repeat(1_000);
    // Some 20 MB while nothing is read: were logging to wait, this would never end.
    let count = 20_000;
    for number in 0..count {
        info!(logger: logger, number, value; "a line");
    }
    assert!(!logs.flush(Duration::from_millis(1)), "nothing is written yet");
    drop(go_on);
    assert!(logs.flush(AT_MOST));
    info!(logger: logger, "after");
    assert!(logs.flush(AT_MOST));
    let lines = paper.lines();
    let kept = lines.iter().filter(|line| line.contains(" a line number=")).count();
    assert!(
        kept < count && told_dropped(&lines) == count - kept,
        "{kept} kept, {} dropped",
        told_dropped(&lines)
    );
    assert!(paper.text().len() <= 17 << 20, "{}", paper.text().len());
    assert!(lines.last().unwrap().ends_with(" after"), "and it goes on");
}

#[test]
fn a_reader_that_is_gone_is_not_written_to_again() {
    let (output, paper, told) = failing([Err(ErrorKind::BrokenPipe.into())]);
    let (logger, logs) = logger(Format::Text, output);
    info!(logger: logger, "first");
    assert_eq!(told.recv_timeout(AT_MOST), Ok(()));
    // The thread ends, and drops the output with the other end of this.
    assert_eq!(told.recv_timeout(AT_MOST), Err(RecvTimeoutError::Disconnected));
    info!(logger: logger, "second");
    let start = Instant::now();
    assert!(!logs.flush(AT_MOST), "nothing was written");
    assert!(start.elapsed() < AT_MOST, "and nothing is waited for");
    assert_eq!(paper.text(), "");
}

#[test]
fn lines_that_could_not_be_written_are_counted_until_they_can_be() {
    let full = || Err(ErrorKind::StorageFull.into());
    let (output, paper, told) = failing([full(), full(), full()]);
    let (logger, logs) = logger(Format::Text, output);
    info!(logger: logger, "lost");
    for _ in 0..3 {
        told.recv_timeout(AT_MOST).expect("it tries again");
    }
    told.recv_timeout(AT_MOST).expect("and once more");
    assert!(logs.flush(AT_MOST));
    info!(logger: logger, "kept");
    assert!(logs.flush(AT_MOST));
    let lines = paper.lines();
    assert_eq!(told_dropped(&lines), 1, "{lines:?}");
    assert!(lines.last().unwrap().ends_with(" kept"));
}

#[test]
fn short_interrupted_and_refused_writes_are_finished() {
    let (output, paper, _told) =
        failing([Ok(5), Err(ErrorKind::Interrupted.into()), Ok(1), Err(ErrorKind::WouldBlock.into()), Ok(3)]);
    let (logger, logs) = logger(Format::Text, output);
    info!(logger: logger, target: "t", "whole");
    assert!(logs.flush(AT_MOST));
    assert!(paper.text().ends_with("Z INFO  t whole\n"), "{}", paper.text());
    assert_eq!(paper.lines().len(), 1);
}

#[test]
fn lines_of_many_threads_are_whole_and_each_threads_in_order() {
    let paper = Paper::default();
    let (logger, logs) = logger(Format::Json, paper.clone());
    thread::scope(|scope| {
        for thread in 0..4 {
            let logger = &logger;
            scope.spawn(move || (0..2_000).for_each(|number| info!(logger: logger, thread, number; "")));
        }
    });
    assert!(logs.flush(AT_MOST));
    let mut next = [0; 4];
    for line in paper.lines() {
        let line: serde_json::Value = serde_json::from_str(&line).expect("a JSON object");
        let thread = line["thread"].as_u64().unwrap() as usize;
        assert_eq!(line["number"], next[thread]);
        next[thread] += 1;
    }
    assert_eq!(next, [2_000; 4]);
}

#[test]
fn lines_logged_before_the_end_are_written() {
    let paper = Paper::default();
    let (logger, logs) = logger(Format::Text, paper.clone());
    for number in 0..1_000 {
        info!(logger: logger, number; "");
    }
    drop(logs);
    assert_eq!(paper.lines().len(), 1_000);
}

#[test]
fn a_value_that_logs_while_it_is_displayed_does_no_harm() {
    struct Talkative<'a>(&'a Logger);

    impl std::fmt::Display for Talkative<'_> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            info!(logger: self.0, target: "t", "inner");
            f.write_str("outer")
        }
    }

    let lines = logged(Format::Text, |logger| info!(logger: logger, target: "t", "{}", Talkative(logger)));
    assert_eq!(lines, "INFO  t inner\nINFO  t outer\n");
}
