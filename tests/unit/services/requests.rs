//! What clients ask of the user and the order service, read without guessing.

use highwater_commerce::{
    orders::NewOrder,
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
    for quantity in ["0", "1000001", "1.5", "1e3", "-1", "\"1\"", "true"] {
        let item = format!(r#""sku":"A","quantity":{quantity},"unitPrice":"1.00""#);
        assert_eq!(
            faults(&order("", &item).unwrap_err()),
            [format!("items[0].quantity {bounds}")],
            "{quantity}"
        );
    }
}
