//! Requests to a service, and checks of its answers.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, bail, ensure};
use highwater_web::{
    Secret,
    http::{
        Https, PROBLEM_JSON,
        client::{Request, Response, ask},
    },
};
use serde_json::Value;

/// The longest wait for an answer: longer than the `?wait=` of the checks and the default PRODUCE_TIMEOUT.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The most characters of a wrong answer that are shown.
const SHOWN: usize = 300;

/// A service under test, reached over HTTP.
pub(super) struct ServiceUnderTest {
    address: SocketAddr,
    https: Option<Https>,
    /// The credential of each request.
    token: Option<Secret>,
}

impl ServiceUnderTest {
    pub(super) fn at(address: SocketAddr, https: Option<Https>) -> Self {
        Self { address, https, token: None }
    }

    /// Sends this key or token with each request.
    pub(super) fn with_token(self, token: Option<Secret>) -> Self {
        Self { token, ..self }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a request and returns the answer, whatever its status.
    pub(super) async fn ask(&self, request: &Request) -> anyhow::Result<Response> {
        let request = match &self.token {
            Some(token) => &request.clone().with("authorization", format!("Bearer {}", token.reveal())),
            None => request,
        };
        let asked = ask(self.address, self.https.as_ref(), request, TIMEOUT).await;
        asked.with_context(|| {
            format!("no answer at {}: is the service running, with this HOST and PORT?", self.address)
        })
    }

    /// Sends a request, whose answer must have this status.
    pub(super) async fn answers(&self, status: u16, request: &Request) -> anyhow::Result<Response> {
        let answer = self.ask(request).await?;
        ensure!(answer.status == status, "{status} expected, but the answer is {}", shown(&answer));
        Ok(answer)
    }

    /// The JSON of a GET, which must be 200.
    pub(super) async fn read(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self.answers(200, &Request::get(path)).await?;
        match answer.json() {
            Value::Null => bail!("JSON expected, but the answer is {}", shown(&answer)),
            json => Ok(json),
        }
    }

    /// Sends a request that must be refused with a problem of this status (RFC 9457), about this field if there is one.
    pub(super) async fn refuses(
        &self,
        request: &Request,
        status: u16,
        field: Option<&str>,
    ) -> anyhow::Result<Response> {
        let answer = self.answers(status, request).await?;
        ensure!(
            answer.header("content-type") == Some(PROBLEM_JSON),
            "{PROBLEM_JSON} expected, but the answer is {}",
            shown(&answer)
        );
        let problem = answer.json();
        ensure!(
            problem["status"] == status && !text(&problem["title"]).is_empty(),
            "status and title expected in {}",
            shown(&answer)
        );
        if let Some(field) = field {
            let faults = problem["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
            ensure!(
                faults.iter().any(|fault| fault["field"] == field && !text(&fault["message"]).is_empty()),
                "a fault of {field} expected in {}",
                shown(&answer)
            );
        }
        Ok(answer)
    }
}

/// The text of a JSON string; empty for another value.
pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// An answer as one line of the report.
pub(super) fn shown(answer: &Response) -> String {
    let body = answer.text();
    let beginning: String = body.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{} {beginning}{}", answer.status, if beginning.len() < body.len() { "…" } else { "" })
}
