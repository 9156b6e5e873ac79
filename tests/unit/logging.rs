//! Log lines: their shape, that no value breaks it, and that a slow reader holds up nobody.

use std::{
    io::{self, ErrorKind, Write},
    sync::{
        Arc, Mutex,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use highwater::telemetry::{self, Config, Format, Logger, Logs};
use log::{LevelFilter, info, warn};
use proptest::prelude::*;
use uuid::Uuid;

/// Long enough for a machine that is busy with other things; nothing waits so long when all is well.
const AT_MOST: Duration = Duration::from_secs(20);

/// What was written.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).expect("UTF-8")
    }

    fn lines(&self) -> Vec<String> {
        self.text().lines().map(str::to_owned).collect()
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logger(format: Format, output: impl Write + Send + 'static) -> (Logger, Logs) {
    // The macros ask this before any logger; no test has one for the whole process.
    log::set_max_level(LevelFilter::Info);
    let config = Config { filter: "info,rskafka=warn".parse().expect("a filter"), format: Some(format) };
    telemetry::logger(&config, format, Box::new(output))
}

/// The lines of what is logged, without their time.
fn logged(format: Format, log: impl FnOnce(&Logger)) -> String {
    let paper = Paper::default();
    let (logger, logs) = logger(format, paper.clone());
    log(&logger);
    assert!(logs.flush(AT_MOST));
    let skip = if format == Format::Text { TIME.len() + 1 } else { "{'timestamp':'',".len() + TIME.len() };
    paper.lines().iter().map(|line| format!("{}\n", &line[skip..])).collect()
}

const TIME: &str = "2026-11-21T07:43:00.123Z";

mod lines {
    use super::*;

    fn processed(logger: &Logger) {
        let id = Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        let (partition, offset) = (0, 12_i64);
        info!(
            logger: logger,
            target: "highwater::processed",
            eventId:% = id, userId = "u-1", eventType = "LOGIN", partition, offset;
            "processed"
        );
    }

    #[test]
    fn a_processed_event_is_told_in_text_as_names_and_values() {
        assert_eq!(
            logged(Format::Text, processed),
            "INFO  highwater::processed processed eventId=01234567-89ab-cdef-0123-456789abcdef userId=u-1 \
             eventType=LOGIN partition=0 offset=12\n"
        );
    }

    #[test]
    fn a_processed_event_is_told_in_json_by_the_same_names() {
        assert_eq!(
            logged(Format::Json, processed),
            r#""level":"INFO","target":"highwater::processed","message":"processed","eventId":"01234567-89ab-cdef-0123-456789abcdef","userId":"u-1","eventType":"LOGIN","partition":0,"offset":12}"#
                .to_owned()
                + "\n"
        );
    }

    #[test]
    fn a_line_begins_with_its_time_in_utc_to_the_millisecond() {
        let paper = Paper::default();
        let (logger, logs) = logger(Format::Text, paper.clone());
        let before = Utc::now().timestamp_millis();
        info!(logger: logger, "now");
        let after = Utc::now().timestamp_millis();
        assert!(logs.flush(AT_MOST));
        let line = paper.text();
        let (time, rest) = line.split_at(TIME.len());
        assert!(time.ends_with('Z') && rest.starts_with(' '), "{line}");
        let time = time.parse::<DateTime<Utc>>().expect("ISO 8601").timestamp_millis();
        assert!((before..=after).contains(&time), "{before} <= {time} <= {after}");
    }

    #[test]
    fn numbers_and_truth_values_are_bare_and_the_rest_is_text() {
        let log = |logger: &Logger| {
            info!(
                logger: logger, target: "t",
                small = -1_i8, large = u128::MAX, half = 0.5, none = f64::NAN, yes = true, some:? = Some("x y");
                "of {}", "kinds"
            );
        };
        let large = u128::MAX;
        assert_eq!(
            logged(Format::Text, log),
            format!(
                "INFO  t of kinds small=-1 large={large} half=0.5 none=NaN yes=true some=\"Some(\\\"x y\\\")\"\n"
            )
        );
        assert_eq!(
            logged(Format::Json, log),
            format!(
                r#""level":"INFO","target":"t","message":"of kinds","small":-1,"large":{large},"half":0.5,"none":"NaN","yes":true,"some":"Some(\"x y\")"}}"#
            ) + "\n"
        );
    }

    #[test]
    fn a_field_named_as_part_of_the_line_stands_beside_it() {
        let line = logged(
            Format::Json,
            |logger| info!(logger: logger, target: "t", message = "mine", level = 9; "its own"),
        );
        assert_eq!(
            line,
            "\"level\":\"INFO\",\"target\":\"t\",\"message\":\"its own\",\"_message\":\"mine\",\"_level\":9}\n"
        );
    }

    #[test]
    fn the_filter_holds_a_library_to_its_own_level() {
        let lines = logged(Format::Text, |logger| {
            info!(logger: logger, target: "rskafka::client", "connecting");
            warn!(logger: logger, target: "rskafka::client", "refused");
            info!(logger: logger, target: "highwater", "news");
        });
        assert_eq!(lines, "WARN  rskafka::client refused\nINFO  highwater news\n");
    }

    #[test]
    fn an_endless_value_is_cut_and_says_so() {
        for format in [Format::Text, Format::Json] {
            let long = "ü".repeat(1_000_000);
            let line =
                logged(format, |logger| info!(logger: logger, a = long, b:% = long, last = 1; "{long}"));
            assert!(line.len() < 40_000, "{}", line.len());
            assert_eq!(line.matches('…').count(), 3);
            assert!(line.trim_end_matches(['\n', '}']).ends_with(if format == Format::Text {
                "last=1"
            } else {
                "\"last\":1"
            }));
        }
    }
}

mod hostile_values {
    use super::*;

    /// What a value could use to end its line, move the cursor or turn the direction of writing.
    const HARMFUL: [char; 12] = [
        '\n', '\r', '\0', '\u{1b}', '\u{7f}', '\u{85}', '\u{9b}', '\u{2028}', '\u{2029}', '\u{202e}',
        '\u{2066}', '\u{200f}',
    ];

    #[test]
    fn values_that_could_be_mistaken_for_the_lines_own_signs_are_quoted() {
        for (value, written) in [
            ("", r#""""#),
            ("a b", r#""a b""#),
            ("x offset=1", r#""x offset=1""#),
            ("a=b", r#""a=b""#),
            (r#"say "hi""#, r#""say \"hi\"""#),
            (r"a\b", r#""a\\b""#),
            ("a\n2026-11-21T07:43:00.123Z ERROR", r#""a\n2026-11-21T07:43:00.123Z ERROR""#),
            ("\u{1b}[2J", r#""\u001b[2J""#),
            ("a\u{2028}b\u{9b}", r#""a\u2028b\u009b""#),
            ("a\u{a0}b\u{3000}", "\"a\u{a0}b\u{3000}\""),
            ("Grüße,★", "Grüße,★"),
            ("a/b:c{d}[e]", "a/b:c{d}[e]"),
        ] {
            let line = logged(
                Format::Text,
                |logger| info!(logger: logger, target: "t", userId = value, after = 1; "m"),
            );
            assert_eq!(line, format!("INFO  t m userId={written} after=1\n"));
            let line = logged(
                Format::Text,
                |logger| info!(logger: logger, target: "t", userId:% = value, after = 1; "m"),
            );
            assert_eq!(line, format!("INFO  t m userId={written} after=1\n"), "displayed");
        }
    }

    #[test]
    fn a_message_stays_on_its_line() {
        for format in [Format::Text, Format::Json] {
            let message = format!("said \"{}\" and \\", String::from_iter(HARMFUL));
            let line = logged(format, |logger| info!(logger: logger, "{message}"));
            assert_eq!(line.matches(HARMFUL).collect::<String>(), "\n", "{line:?}");
        }
    }

    /// Any text, with more of the harmful and of the line's own signs than chance would have.
    fn text() -> impl Strategy<Value = String> {
        let signs = prop::sample::select(vec![' ', '=', '"', '\\', 'u', '2', 'ü', '…', '\u{a0}']);
        let character = prop_oneof![any::<char>(), prop::sample::select(HARMFUL.to_vec()), signs];
        prop::collection::vec(character, 0..40).prop_map(String::from_iter)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_value_is_read_back_from_text_as_it_was(value in text()) {
            let line = logged(Format::Text, |logger| info!(logger: logger, target: "t", userId = value, after = 1; "m"));
            prop_assert_eq!(line.matches(HARMFUL).collect::<String>(), "\n", "{:?}", line);
            let written = line.strip_prefix("INFO  t m userId=").and_then(|rest| rest.strip_suffix(" after=1\n"));
            let written = written.expect("the fields around it stand");
            let read = if written.starts_with('"') {
                serde_json::from_str(written).expect("a JSON string")
            } else {
                prop_assert!(!written.contains(|c: char| c.is_whitespace() || c == '='), "{:?}", line);
                written.to_owned()
            };
            prop_assert_eq!(read, value);
        }

        #[test]
        fn any_value_is_read_back_from_json_as_it_was(value in text()) {
            let line = logged(Format::Json, |logger| info!(logger: logger, target: "t", userId = value; "{value}"));
            prop_assert_eq!(line.matches(HARMFUL).collect::<String>(), "\n", "{:?}", line);
            let read: serde_json::Value = serde_json::from_str(&format!("{{{line}")).expect("a JSON object");
            prop_assert_eq!(&read["userId"], &value);
            prop_assert_eq!(&read["message"], &value);
        }
    }
}

mod output {
    use super::*;

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
    fn a_stalled_reader_costs_lines_and_no_time_and_is_told_how_many() {
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
        let (output, paper, _told) = failing([
            Ok(5),
            Err(ErrorKind::Interrupted.into()),
            Ok(1),
            Err(ErrorKind::WouldBlock.into()),
            Ok(3),
        ]);
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
    fn what_is_logged_before_the_end_is_written() {
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

        let lines =
            logged(Format::Text, |logger| info!(logger: logger, target: "t", "{}", Talkative(logger)));
        assert_eq!(lines, "INFO  t inner\nINFO  t outer\n");
    }
}
