//! One method of one path: its parameters, its body and all its answers.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};
use warp::http::{HeaderName, Method, header};

use super::{
    document::{API_KEY, BEARER},
    shared,
};
use crate::{
    auth::{self, Need, Scope, refusals},
    http::{
        CORRELATION_ID, FieldError, JSON, PROBLEM_JSON, Problem, body, connection, head, origin, service,
    },
};

/// A method of a path.
#[derive(Debug)]
pub struct Operation {
    method: &'static str,
    id: &'static str,
    summary: &'static str,
    description: &'static str,
    parameters: Vec<Value>,
    body: Option<Value>,
    answers: BTreeMap<u16, Answer>,
    problems: BTreeMap<u16, Vec<Expected>>,
    security: Option<&'static str>,
    scopes: &'static [Scope],
}

/// An answer that is no problem.
#[derive(Debug, Default)]
pub struct Answer {
    description: &'static str,
    headers: Map<String, Value>,
    content: Map<String, Value>,
}

/// A problem that a route may answer with.
#[derive(Debug)]
struct Expected {
    name: &'static str,
    summary: &'static str,
    problem: Problem,
}

impl Operation {
    /// An operation with this method (lower case), unique id and summary.
    pub fn new(method: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self {
            method,
            id,
            summary,
            description: "",
            parameters: Vec::new(),
            body: None,
            answers: BTreeMap::new(),
            problems: BTreeMap::new(),
            security: None,
            scopes: &[],
        }
    }

    /// A longer description.
    #[must_use]
    pub fn describe(mut self, description: &'static str) -> Self {
        self.description = description;
        self
    }

    /// Adds a parameter in the path.
    #[must_use]
    pub fn path(self, name: &'static str, description: &'static str, schema: Value) -> Self {
        self.parameter("path", name, description, schema)
    }

    /// Adds a parameter in the query.
    #[must_use]
    pub fn query(self, name: &'static str, description: &'static str, schema: Value) -> Self {
        self.parameter("query", name, description, schema)
    }

    /// Adds a request header.
    #[must_use]
    pub fn header(self, name: &'static str, description: &'static str, schema: Value) -> Self {
        self.parameter("header", name, description, schema)
    }

    fn parameter(
        mut self,
        place: &'static str,
        name: &'static str,
        description: &'static str,
        schema: Value,
    ) -> Self {
        self.parameters.push(json!({
            "name": name,
            "in": place,
            "required": place == "path",
            "description": description,
            "schema": schema,
        }));
        self
    }

    /// Sets the body of JSON, with an example.
    #[must_use]
    pub fn takes(mut self, schema: Value, example: &impl Serialize) -> Self {
        let content = json!({ JSON: { "schema": schema, "example": example } });
        self.body = Some(json!({ "required": true, "content": content }));
        self
    }

    /// Adds another media type of the body, with an example.
    #[must_use]
    pub fn takes_also(mut self, media_type: &str, schema: Value, example: &impl Serialize) -> Self {
        if let Some(body) = &mut self.body {
            body["content"][media_type] = json!({ "schema": schema, "example": example });
        }
        self
    }

    /// Adds an answer with this status.
    #[must_use]
    pub fn answers(mut self, status: u16, answer: Answer) -> Self {
        self.answers.insert(status, answer);
        self
    }

    /// Adds a problem that the route makes, with a name and the occasion.
    #[must_use]
    pub fn problem(mut self, name: &'static str, summary: &'static str, problem: Problem) -> Self {
        let status = problem.status().as_u16();
        self.problems.entry(status).or_default().push(Expected { name, summary, problem });
        self
    }

    /// Adds problems, as [`Operation::problem`] takes them.
    #[must_use]
    pub fn problems<const N: usize>(mut self, problems: [(&'static str, &'static str, Problem); N]) -> Self {
        for (name, summary, problem) in problems {
            self = self.problem(name, summary, problem);
        }
        self
    }

    /// Adds the problem of a bad field or parameter, with an example.
    #[must_use]
    pub fn invalid(self, field: &'static str, message: &'static str) -> Self {
        let problem = Problem::invalid(vec![FieldError::new(field, message)]);
        self.problem("invalid", "A field or a parameter is not valid.", problem)
    }

    /// Requires that security scheme of the document.
    #[must_use]
    pub fn secured(mut self, scheme: &'static str) -> Self {
        self.security = Some(scheme);
        self
    }

    pub(super) fn method(&self) -> &'static str {
        self.method
    }

    /// Adds the scopes that the route needs, where clients are authenticated, and the problems that the gate answers.
    pub(super) fn needing(mut self, need: Need) -> Self {
        if need == Need::Nothing {
            return self;
        }
        let method = if self.method == "get" { Method::GET } else { Method::POST };
        self.scopes = need.scopes(&method);
        self.problem("missing", "Authentication is on, and there is no credential.", refusals::missing())
            .problem("invalid_token", "The key or token is not valid.", refusals::invalid())
            .problem("several", "There are several keys or tokens.", refusals::several())
            .problem(
                "forbidden",
                "The key or token is not for that.",
                refusals::insufficient(need.scopes(&method)),
            )
            .problem("too_often", "It is asked too often.", auth::limited())
            .problem("unchecked", "The issuer of tokens does not answer.", refusals::unchecked())
    }

    pub(super) fn finish(mut self, tag: Value, problem: &Value, largest_body: usize) -> Value {
        if self.body.is_some() {
            self = self.problems(body::problems(largest_body));
        }
        if self.method != "get" {
            self = self.problem("foreign", "A page of another site asks for it.", origin::foreign());
        }
        let is_correlated = self.parameters.iter().any(|it| it["name"] == shared::CORRELATION);
        let elsewhere = head::misdirected("here.example");
        let mut operation = self
            .problem("misdirected", "It is for a host that the service is not.", elsewhere)
            .problem("internal", "Something went wrong in the service.", Problem::internal())
            .problem("tooLate", "There was no answer in time.", service::overdue())
            .problem("tooMany", "There are too many connections.", connection::too_many());
        let mut responses = Map::new();
        for (status, mut answer) in std::mem::take(&mut operation.answers) {
            if is_correlated {
                answer = answer.header(CORRELATION_ID);
            }
            responses.insert(status.to_string(), answer.finish());
        }
        for (status, problems) in std::mem::take(&mut operation.problems) {
            responses.insert(status.to_string(), response(&problems, problem, is_correlated));
        }
        let mut described = json!({
            "operationId": operation.id,
            "tags": [tag],
            "summary": operation.summary,
            "responses": responses,
        });
        if !operation.description.is_empty() {
            described["description"] = operation.description.into();
        }
        if !operation.parameters.is_empty() {
            described["parameters"] = operation.parameters.into();
        }
        if let Some(body) = operation.body {
            described["requestBody"] = body;
        }
        let names: Vec<_> = operation.scopes.iter().map(|scope| scope.name()).collect();
        let mut security: Vec<_> = operation.security.iter().map(|scheme| json!({ *scheme: [] })).collect();
        if !names.is_empty() {
            // One of the schemes is enough; a single requirement would ask for all.
            security.extend(names.iter().map(|name| json!({ BEARER: [name] })));
            security.extend(names.iter().map(|name| json!({ API_KEY: [name] })));
            // Without authentication the operation is for anyone.
            security.extend(operation.security.is_none().then(|| json!({})));
        }
        if !security.is_empty() {
            described["security"] = security.into();
        }
        described
    }
}

impl Answer {
    /// An answer with this description.
    pub fn new(description: &'static str) -> Self {
        Self { description, ..Self::default() }
    }

    /// Adds a body of this media type, with an example.
    #[must_use]
    pub fn of(mut self, media_type: &str, schema: Value, example: &impl Serialize) -> Self {
        self.content.insert(media_type.to_owned(), json!({ "schema": schema, "example": example }));
        self
    }

    /// Adds a body of JSON, with an example.
    #[must_use]
    pub fn json(self, schema: Value, example: &impl Serialize) -> Self {
        self.of(JSON, schema, example)
    }

    /// Adds a header that the answer may have.
    #[must_use]
    pub fn header(mut self, name: HeaderName) -> Self {
        self.headers.insert(name.as_str().to_owned(), shared::header(&name, false));
        self
    }

    /// Adds a header that the answer always has.
    #[must_use]
    pub fn always(mut self, name: HeaderName) -> Self {
        self.headers.insert(name.as_str().to_owned(), shared::header(&name, true));
        self
    }

    fn finish(self) -> Value {
        let mut answer = json!({ "description": self.description });
        if !self.headers.is_empty() {
            answer["headers"] = self.headers.into();
        }
        if !self.content.is_empty() {
            answer["content"] = self.content.into();
        }
        answer
    }
}

/// The answer for these problems, which have one status.
fn response(problems: &[Expected], schema: &Value, is_correlated: bool) -> Value {
    let summaries: Vec<_> = problems.iter().map(|expected| expected.summary).collect();
    let mut headers = Map::new();
    let mut members = Map::new();
    let mut examples = Map::new();
    for Expected { name, summary, problem } in problems {
        for name in problem.headers().keys().filter(|name| *name != header::CONNECTION) {
            let always = problems.iter().all(|other| other.problem.headers().contains_key(name));
            headers.insert(name.as_str().to_owned(), shared::header(name, always));
        }
        for (name, value) in problem.members() {
            members.insert(name.clone(), shared::schema_like(value));
        }
        let body: Value = serde_json::from_slice(&problem.json()).unwrap_or_default();
        examples.insert((*name).to_owned(), json!({ "summary": summary, "value": body }));
    }
    if is_correlated {
        headers.insert(CORRELATION_ID.as_str().to_owned(), shared::header(&CORRELATION_ID, false));
    }
    let schema = match members.is_empty() {
        true => schema.clone(),
        false => json!({ "allOf": [schema, { "type": "object", "properties": members }] }),
    };
    let mut response = json!({
        "description": summaries.join(" "),
        "content": { PROBLEM_JSON: { "schema": schema, "examples": examples } },
    });
    if !headers.is_empty() {
        response["headers"] = headers.into();
    }
    response
}
