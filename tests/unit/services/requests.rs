//! The requests to the user and the order service.

use highwater_commerce::{
    orders::{NewOrder, currency},
    users::{NewUser, UserChange},
};
use highwater_web::http::Problem;
use serde_json::Value;

const DEPTH: usize = 64;

/// The faults of a request that is refused, as `field message`.
fn faults(problem: &Problem) -> Vec<String> {
    let body: Value = serde_json::from_slice(&problem.json()).unwrap();
    let errors = body["errors"].as_array().cloned().unwrap_or_default();
    let text = |error: &Value| {
        format!("{} {}", error["field"].as_str().unwrap(), error["message"].as_str().unwrap())
    };
    errors.iter().map(text).collect()
}

fn order(fields: &str, item: &str) -> Result<NewOrder, Problem> {
    let user = "\"userId\":\"00000000-0000-0000-0000-000000000001\"";
    let body = format!("{{{user},\"currency\":\"EUR\",\"items\":[{{{item}}}]{fields}}}");
    NewOrder::read(body.as_bytes(), DEPTH)
}

const ITEM: &str = r#""sku":"A","quantity":1,"unitPrice":"1.00""#;

#[test]
fn a_field_that_is_given_twice_is_refused_wherever_it_is() {
    for body in [
        r#"{"email":"a@b.c","name":"A","email":"x@y.z"}"#,
        r#"{"email":"a@b.c","name":"A","\u0065mail":null}"#,
    ] {
        assert_eq!(
            faults(&NewUser::read(body.as_bytes(), DEPTH).unwrap_err()),
            ["email is given more than once"]
        );
    }
    let twice = UserChange::read(br#"{"name":"A","name":"A"}"#, DEPTH).unwrap_err();
    assert_eq!(faults(&twice), ["name is given more than once"]);
    assert_eq!(
        faults(&order(r#","currency":"USD""#, ITEM).unwrap_err()),
        ["currency is given more than once"]
    );
    let item = format!("{ITEM},\"quantity\":2");
    assert_eq!(faults(&order("", &item).unwrap_err()), ["items[0].quantity is given more than once"]);
    assert_eq!(
        faults(&order(&format!(",\"items\":[{{{ITEM}}}]"), ITEM).unwrap_err()),
        ["items is given more than once"]
    );
}

#[test]
fn what_nobody_asks_for_is_ignored_also_twice() {
    assert!(order(r#","x":1,"x":{"x":1,"x":2}"#, ITEM).is_ok());
    assert!(order("", &format!("{ITEM},\"x\":1,\"x\":2")).is_ok());
}

#[test]
fn each_fault_is_told_by_its_field() {
    let read = |body: &str| faults(&NewUser::read(body.as_bytes(), DEPTH).unwrap_err());
    assert_eq!(read("{}"), ["email is required", "name is required"]);
    assert_eq!(read(r#"{"email":null,"name":7}"#), ["email is required", "name must be a string"]);
    assert_eq!(read(r#"{"email":"a@b.c","name":"\ud800"}"#), ["name has an escape that is no character"]);
    for no_object in ["[]", "7", "null", "\"text\"", "[{}]"] {
        let problem = NewUser::read(no_object.as_bytes(), DEPTH).unwrap_err();
        assert_eq!(problem.detail(), "the body must be a JSON object");
    }
    for no_json in ["{", "{}x", "{'a':1}", "{\"email\":tru}"] {
        let problem = NewUser::read(no_json.as_bytes(), DEPTH).unwrap_err();
        assert!(problem.detail().starts_with("the body is not JSON"), "{}", problem.detail());
    }
    let bounds = "must be a whole number from 1 to 1000000";
    for quantity in [
        "0",
        "0.0",
        "1000001",
        "1.5",
        "15e-1",
        "1.00000000000000000000000000000000000001",
        "1e7",
        "1e400",
        "1e9223372036854775807",
        "1e-9223372036854775808",
        "1e99999999999999999999",
        "-1",
        "-0",
        "\"1\"",
        "true",
    ] {
        let item = format!(r#""sku":"A","quantity":{quantity},"unitPrice":"1.00""#);
        assert_eq!(
            faults(&order("", &item).unwrap_err()),
            [format!("items[0].quantity {bounds}")],
            "{quantity}"
        );
    }
}

#[test]
fn a_whole_number_is_one_however_it_is_written() {
    for (quantity, value) in [
        ("1", 1),
        ("1.0", 1),
        ("1e3", 1000),
        ("1.5E+1", 15),
        ("100e-2", 1),
        ("0.01e2", 1),
        ("1000000.000000000000000000000000000000000000", 1_000_000),
    ] {
        let item = format!(r#""sku":"A","quantity":{quantity},"unitPrice":"1.00""#);
        assert_eq!(order("", &item).unwrap().items[0].quantity, value, "{quantity}");
    }
}

fn priced(currency: &str, unit_price: &str) -> Result<NewOrder, Problem> {
    let user = "\"userId\":\"00000000-0000-0000-0000-000000000001\"";
    let item = format!(r#"{{"sku":"A","quantity":1,"unitPrice":"{unit_price}"}}"#);
    NewOrder::read(format!(r#"{{{user},"currency":"{currency}","items":[{item}]}}"#).as_bytes(), DEPTH)
}

#[test]
fn a_price_has_as_many_digits_after_the_point_as_its_currency_at_most() {
    for (currency, good, bad) in [
        ("JPY", "1980", "1980.0"),
        ("EUR", "19.90", "19.905"),
        ("EUR", "19", "19.900"),
        ("KWD", "1.234", "1.2345"),
        ("CLF", "1.2345", "1.23456"),
    ] {
        assert_eq!(priced(currency, good).unwrap().items[0].unit_price.to_string(), good);
        let fault = faults(&priced(currency, bad).unwrap_err());
        assert!(fault[0].starts_with("items[0].unitPrice must "), "{fault:?}");
    }
    let fault = faults(&priced("JPY", "1.5").unwrap_err());
    assert_eq!(fault, ["items[0].unitPrice must have no more digits after the point than JPY has: 0"]);
}

#[test]
fn a_currency_is_a_code_in_use() {
    for unknown in ["eur", "EURO", "", " ", "EUR CHF", "XYZ", "DEM", "XAU", "XXX", "ЕUR"] {
        let fault = faults(&priced(unknown, "1.2345").unwrap_err());
        assert_eq!(fault, ["currency must be a currency of ISO 4217 in use, such as EUR"], "{unknown}");
    }
    let codes: Vec<_> = currency::codes().collect();
    assert!(codes.iter().all(|code| currency::decimals(code).is_some()));
    assert_eq!(codes.iter().collect::<std::collections::BTreeSet<_>>().len(), codes.len(), "each once");
}

#[test]
fn a_name_that_nobody_sees_is_blank() {
    for blank in ["", " ", "\u{200b}", "\u{feff}\u{a0}", "\u{3164}", "\u{2800}", "\u{1d159}", "\u{e0001}"] {
        let body = serde_json::json!({"email": "a@b.c", "name": blank}).to_string();
        assert_eq!(faults(&NewUser::read(body.as_bytes(), DEPTH).unwrap_err()), ["name must not be blank"]);
        let item = format!(r#""sku":"{blank}","quantity":1,"unitPrice":"1.00""#);
        assert_eq!(faults(&order("", &item).unwrap_err()), ["items[0].sku must not be blank"]);
    }
    let seen = serde_json::json!({"email": "a@b.c", "name": "a\u{200d}b"}).to_string();
    assert_eq!(NewUser::read(seen.as_bytes(), DEPTH).unwrap().name, "a\u{200d}b");
}
