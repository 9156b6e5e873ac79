//! Events of API Gateway as requests, and the answers to it.

use highwater_eventlog::lambda::{answer, request};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

async fn read(event: Value) -> (String, String, Vec<u8>) {
    let request = request(serde_json::from_value(event).unwrap()).unwrap();
    let (parts, body) = request.into_parts();
    let uri = parts.uri.to_string();
    (parts.method.to_string(), uri, body.collect().await.unwrap().to_bytes().to_vec())
}

fn event(method: &str, path: &str, query: &str) -> Value {
    json!({
        "version": "2.0", "rawPath": path, "rawQueryString": query, "headers": { "X-A": "1" },
        "requestContext": { "http": { "method": method, "path": path }, "stage": "$default" },
        "isBase64Encoded": false,
    })
}

#[tokio::test]
async fn a_path_that_came_decoded_is_encoded_again() {
    let (method, uri, body) = read(event("GET", "/events/ä b?c#d%e&f", "limit=1&cursor=a%20b")).await;
    assert_eq!((method.as_str(), body.as_slice()), ("GET", &b""[..]));
    assert_eq!(uri, "/events/%C3%A4%20b%3Fc%23d%25e%26f?limit=1&cursor=a%20b");
    assert_eq!(read(event("GET", "/health", "")).await.1, "/health");
}

#[tokio::test]
async fn a_body_is_text_or_base64() {
    let mut post = event("POST", "/events", "");
    post["body"] = json!("{\"a\":\"ä\"}");
    assert_eq!(read(post.clone()).await.2, "{\"a\":\"ä\"}".as_bytes());
    post["body"] = json!("eyJhIjoxfQ==");
    post["isBase64Encoded"] = json!(true);
    assert_eq!(read(post.clone()).await.2, b"{\"a\":1}");
    post["body"] = json!("*");
    assert!(request(serde_json::from_value(post).unwrap()).is_err());
}

#[tokio::test]
async fn an_answer_goes_as_text_and_what_is_packed_as_base64() {
    let body = async |body: &'static [u8]| {
        serde_json::to_value(answer(warp::reply::Response::new(body.into())).await.unwrap()).unwrap()
    };
    let text = body("{\"a\":\"ä\"}".as_bytes()).await;
    assert_eq!((&text["body"], &text["isBase64Encoded"]), (&json!("{\"a\":\"ä\"}"), &json!(false)));
    let packed = body(b"\x1f\x8b\x08\x00").await;
    assert_eq!((&packed["body"], &packed["isBase64Encoded"]), (&json!("H4sIAA=="), &json!(true)));
}
