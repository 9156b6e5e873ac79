//! A client of the user and the order service.

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;

use super::eventually;

/// A service as its clients see it.
pub(crate) struct Rest {
    base: String,
    http: reqwest::Client,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) body: Value,
    headers: reqwest::header::HeaderMap,
}

impl Answered {
    /// A header, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The body of an answer of that status.
    pub(crate) fn ok(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }
}

impl Rest {
    /// The one at that address, `http://` and all.
    pub(crate) fn at(base: String) -> Self {
        Self { base, http: reqwest::Client::new() }
    }

    /// A request.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// Sends a GET.
    pub(crate) async fn get(&self, path: &str) -> Answered {
        send(self.request(Method::GET, path)).await
    }

    /// Sends a POST with a JSON body.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answered {
        send(self.request(Method::POST, path).json(body)).await
    }

    /// As [`Instance::post`], with an Idempotency-Key.
    pub(crate) async fn post_once(&self, path: &str, key: &str, body: &Value) -> Answered {
        send(self.request(Method::POST, path).header("idempotency-key", key).json(body)).await
    }

    /// Sends a request without a body.
    pub(crate) async fn send(&self, method: Method, path: &str) -> Answered {
        send(self.request(method, path)).await
    }

    /// Waits until a GET is 200 and its body is as wanted.
    pub(crate) async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(path, async || {
            let answered = self.get(path).await;
            (answered.status == 200 && wanted(&answered.body)).then_some(answered.body)
        })
        .await
    }

    /// Waits until it is ready.
    pub(crate) async fn until_ready(&self) {
        eventually("the service is ready", async || {
            (self.get("/ready").await.status == StatusCode::OK).then_some(())
        })
        .await;
    }
}

/// Sends a request, and reads all of the answer.
pub(crate) async fn send(request: RequestBuilder) -> Answered {
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let body = answer.bytes().await.unwrap();
    let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
    Answered { status, body, headers }
}
