//! No value breaks its line or imitates another field.

use highwater::telemetry::Format;
use log::info;
use proptest::prelude::*;

use super::logged;

/// Characters that end a line, move the cursor or change the direction of writing.
const HARMFUL: [char; 13] = [
    '\n', '\r', '\0', '\u{1b}', '\u{7f}', '\u{85}', '\u{9b}', '\u{2028}', '\u{2029}', '\u{61c}', '\u{202e}',
    '\u{2066}', '\u{200f}',
];

#[test]
fn values_with_quotes_spaces_or_equals_signs_are_quoted() {
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
        let line =
            logged(Format::Text, |logger| info!(logger: logger, target: "t", userId = value, after = 1; "m"));
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
