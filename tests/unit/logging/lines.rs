//! The contents of a log line.

use chrono::{DateTime, Utc};
use highwater::telemetry::{Format, Logger};
use highwater_web::trace::{TraceContext, within};
use log::{info, warn};
use uuid::Uuid;

use super::{AT_MOST, Paper, TIME, logged, logger};

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
fn a_processed_event_has_names_and_values_in_text_lines() {
    assert_eq!(
        logged(Format::Text, processed),
        "INFO  highwater::processed processed eventId=01234567-89ab-cdef-0123-456789abcdef userId=u-1 \
         eventType=LOGIN partition=0 offset=12\n"
    );
}

#[test]
fn a_processed_event_has_the_same_names_in_json_lines() {
    assert_eq!(
        logged(Format::Json, processed),
        r#""level":"INFO","target":"highwater::processed","message":"processed","eventId":"01234567-89ab-cdef-0123-456789abcdef","userId":"u-1","eventType":"LOGIN","partition":0,"offset":12}"#
            .to_owned()
            + "\n"
    );
}

#[test]
fn a_line_within_a_trace_that_is_recorded_has_its_ids() {
    let line = |flags: &str| {
        let parent = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
        let context = TraceContext::parse(parent.as_bytes(), None);
        logged(Format::Text, |logger| {
            within(context, || info!(logger: logger, target: "t", number = 1; "said"));
        })
    };
    assert_eq!(
        line("01"),
        "INFO  t said number=1 trace_id=0af7651916cd43dd8448eb211c80319c span_id=b7ad6b7169203331\n"
    );
    assert_eq!(line("00"), "INFO  t said number=1\n");
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
fn a_field_with_a_name_of_the_line_itself_gets_an_underscore() {
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
fn the_filter_applies_a_librarys_own_level() {
    let lines = logged(Format::Text, |logger| {
        info!(logger: logger, target: "rskafka::client", "connecting");
        warn!(logger: logger, target: "rskafka::client", "refused");
        info!(logger: logger, target: "highwater", "news");
    });
    assert_eq!(lines, "WARN  rskafka::client refused\nINFO  highwater news\n");
}

#[test]
fn an_endless_value_is_cut_and_marked() {
    for format in [Format::Text, Format::Json] {
        let long = "ü".repeat(1_000_000);
        let line = logged(format, |logger| info!(logger: logger, a = long, b:% = long, last = 1; "{long}"));
        assert!(line.len() < 40_000, "{}", line.len());
        assert_eq!(line.matches('…').count(), 3);
        assert!(line.trim_end_matches(['\n', '}']).ends_with(if format == Format::Text {
            "last=1"
        } else {
            "\"last\":1"
        }));
    }
}
