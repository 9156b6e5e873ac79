//! The reader of an event's timestamp.

use chrono::{DateTime, SecondsFormat, Utc};
use highwater_web::timestamp::parse;
use proptest::prelude::*;

fn read(text: &str) -> Option<String> {
    parse(text).ok().map(|moment| moment.to_rfc3339_opts(SecondsFormat::Millis, true))
}

#[track_caller]
fn reads(text: &str, expected: &str) {
    assert_eq!(read(text).as_deref(), Some(expected), "{text}");
}

#[test]
fn a_timestamp_without_an_offset_is_utc() {
    reads("2024-05-06T07:08:09.123", "2024-05-06T07:08:09.123Z");
    reads("2024-05-06T07:08:09", "2024-05-06T07:08:09.000Z");
    reads("2024-05-06T07:08", "2024-05-06T07:08:00.000Z");
}

#[test]
fn an_offset_is_taken_off() {
    reads("2024-05-06T07:08:09Z", "2024-05-06T07:08:09.000Z");
    reads("2024-05-06T07:08:09+02:00", "2024-05-06T05:08:09.000Z");
    reads("2024-05-06T07:08:09-0530", "2024-05-06T12:38:09.000Z");
    reads("2024-05-06T07:08:09-05", "2024-05-06T12:08:09.000Z");
    reads("2024-05-06T00:08+01", "2024-05-05T23:08:00.000Z");
    reads("2024-05-06T07:08:09-00:00", "2024-05-06T07:08:09.000Z");
}

#[test]
fn lower_case_letters_and_a_comma_are_fine() {
    reads("2024-05-06t07:08:09,5z", "2024-05-06T07:08:09.500Z");
}

#[test]
fn a_blank_may_stand_between_date_and_time() {
    reads("2024-05-06 07:08:09", "2024-05-06T07:08:09.000Z");
    reads("2024-05-06 07:08:09.123456+02", "2024-05-06T05:08:09.123Z"); // PostgreSQL's
}

#[test]
fn the_basic_form_is_read() {
    reads("20240506T070809Z", "2024-05-06T07:08:09.000Z");
    reads("20240506T0708+0200", "2024-05-06T05:08:00.000Z");
    reads("20240506 070809,25", "2024-05-06T07:08:09.250Z");
}

#[test]
fn hour_24_is_the_beginning_of_the_next_day() {
    reads("2024-02-28T24:00:00Z", "2024-02-29T00:00:00.000Z");
    reads("2024-12-31T24:00+01:00", "2024-12-31T23:00:00.000Z");
    reads("20240506T2400", "2024-05-07T00:00:00.000Z");
}

#[test]
fn what_is_finer_than_a_millisecond_is_left_out_not_rounded() {
    reads("2024-05-06T07:08:09.1239999999999999999999999Z", "2024-05-06T07:08:09.123Z");
    reads("1969-12-31T23:59:59.9999Z", "1969-12-31T23:59:59.999Z");
    reads("2024-05-06T07:08:09.1Z", "2024-05-06T07:08:09.100Z");
}

#[test]
fn a_leap_second_is_the_first_of_the_next_day() {
    reads("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000Z");
    reads("2017-01-01T00:59:60.5+01:00", "2017-01-01T00:00:00.500Z");
    assert_eq!(read("2016-12-31T22:59:60Z"), None);
    assert_eq!(read("2016-12-31T23:59:61Z"), None);
}

#[test]
fn years_have_four_digits_in_utc_too() {
    reads("0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000Z");
    reads("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z");
    for text in [
        "0000-01-01T00:00:00+00:01",
        "9999-12-31T23:59:00-00:01",
        "9999-12-31T23:59:60Z",
        "10000-01-01T00:00:00Z",
        "+2024-05-06T07:08:09Z",
        "-0001-05-06T07:08:09Z",
        "24-05-06T07:08:09Z",
    ] {
        assert_eq!(read(text), None, "{text}");
    }
}

#[test]
fn what_is_not_a_moment_is_refused() {
    for text in [
        "",
        "now",
        "2024-05-06",
        "2024-05-06T",
        "2024-05-06T07",
        "2024-05-06T07Z",
        "2024-05-06  07:08:09",
        "20240506T07:08:09Z",
        "2024-05-06T070809Z",
        "202405-06T070809Z",
        "20240506T07080Z",
        "20240506T0708.5Z",
        "2024-W19-1T07:08:09Z",
        "2024-13-06T07:08:09Z",
        "2024-02-30T07:08:09Z",
        "2023-02-29T07:08:09Z",
        "2024-05-06T24:00:01Z",
        "2024-05-06T24:01Z",
        "2024-05-06T24:00:00.001Z",
        "9999-12-31T24:00:00Z",
        "2024-05-06T07:60:09Z",
        "2024-05-06T07:08:61Z",
        "2024-05-06T07:08:09.Z",
        "2024-05-06T07:08.5Z",
        "2024-05-06T07:08:09+",
        "2024-05-06T07:08:09+1",
        "2024-05-06T07:08:09+1:00",
        "2024-05-06T07:08:09+24:00",
        "2024-05-06T07:08:09+01:60",
        "2024-05-06T07:08:09+01:",
        "2024-05-06T07:08:09+01:000",
        "2024-05-06T07:08:09ZZ",
        "2024-05-06T07:08:09Z ",
        " 2024-05-06T07:08:09Z",
        "2024-05-06T07:08:09\u{2212}01:00",
        "２０２４-05-06T07:08:09Z",
        "1714979289",
    ] {
        assert_eq!(read(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn every_moment_of_the_four_digit_years_is_read_back(millis in -62_167_219_200_000i64..=253_402_300_799_999) {
        let moment = DateTime::<Utc>::from_timestamp_millis(millis).unwrap();
        let text = moment.to_rfc3339_opts(SecondsFormat::Millis, true);
        prop_assert_eq!(parse(&text), Ok(moment));
    }

    #[test]
    fn no_text_makes_it_panic(text in "[0-9TtZz:+., -]{0,40}|\\PC{0,40}") {
        let _ = parse(&text);
    }
}
