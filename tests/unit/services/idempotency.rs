//! Idempotency-Key: validation and equality.

use highwater_web::idempotency::Idempotency;
use uuid::Uuid;
use warp::http::HeaderValue;

fn key(header: &str) -> Option<Uuid> {
    let header = HeaderValue::from_bytes(header.as_bytes()).unwrap();
    Idempotency::read(&[header], &()).ok().map(|read| read.unwrap().key)
}

#[test]
fn a_key_is_the_same_with_the_quotes_of_a_structured_field_and_without() {
    for (quoted, bare) in [
        (r#""8e03978e-40d5-43dd-bc93-6894a57f9324""#, "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        (r#"  "k" "#, "k"),
        (r#""a b""#, "a b"),
        (r#""a\"b\\c""#, r#"a"b\c"#),
    ] {
        assert_eq!(key(quoted).unwrap(), key(bare).unwrap(), "{quoted}");
    }
    assert_ne!(key("k"), key("K"));
    // Keys that orders were made by stay what they are.
    assert_eq!(key("k"), Some(Uuid::new_v5(&uuid::uuid!("9c7a7d53-65f5-4c3c-8a5e-0d0e5f2d7a11"), b"k")));
}

#[test]
fn what_is_no_key_is_refused() {
    let long = "k".repeat(256);
    for bad in [
        "",
        " ",
        r#""""#,
        r#"" ""#,
        r#"""#,
        r#""k"#,
        r#""k"x"#,
        r#""k";a=1"#,
        r#""\k""#,
        r#""k\""#,
        "kä",
        "\"\tk\"",
        &long,
    ] {
        assert_eq!(key(bad), None, "{bad}");
    }
    assert!(key(&"k".repeat(255)).is_some() && key(&format!("\"{}\"", "k".repeat(255))).is_some());
    assert_eq!(Idempotency::read(&[], &()).unwrap(), None);
    let twice = ["a", "a"].map(HeaderValue::from_static);
    assert!(Idempotency::read(&twice, &()).is_err(), "which of them counts is anybody's guess");
}
