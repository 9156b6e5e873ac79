//! Builds an OpenAPI document.

use std::borrow::Cow;

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::Operation;
use crate::{
    auth::Need,
    http::{Paths, problem::ProblemBody},
};

/// The name of the security scheme of `Authorization`.
pub(super) const BEARER: &str = "bearer";
/// The name of the security scheme of `X-Api-Key`.
pub(super) const API_KEY: &str = "apiKey";

/// The security schemes of clients.
fn clients() -> Map<String, Value> {
    let bearer = json!({
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, or a token (JWT) of the issuer, where authentication is on and takes them.",
    });
    let key = json!({
        "type": "apiKey",
        "in": "header",
        "name": "X-Api-Key",
        "description": "An API key, where authentication is on and takes them.",
    });
    [(BEARER, bearer), (API_KEY, key)].map(|(name, scheme)| (name.to_owned(), scheme)).into_iter().collect()
}

/// The conventions of every service.
const EVERYWHERE: &str = "\
Every error is `application/problem+json` (RFC 9457); where fields are at fault, each is named. A path that does not \
exist is 404; a method that a path does not take is 405, with those that it takes in `Allow`, which `OPTIONS` tells, \
too. Whatever takes `GET` takes `HEAD`. A `/` at the end of a path changes nothing. Fields that are not known are \
ignored. Where a path takes parameters, one that is not known is 400, which names those that are. A field or parameter \
that is known and given twice is 400.";

/// The conventions of services on Kafka.
const ON_KAFKA: &str = "\
`X-Correlation-Id` (1 to 128 visible ASCII characters) goes along with a request: into its answer, into what is \
written to Kafka, and into every line of log about it, in every service.

Settings of the service bound the size and the depth of a body, and the time of a request.";

/// The routes of a service, described: OpenAPI 3.1.
#[derive(Debug)]
pub struct Document {
    title: &'static str,
    description: &'static str,
    schemas: SchemaGenerator,
    tags: Vec<Value>,
    served: &'static Paths,
    paths: Map<String, Value>,
    security: Map<String, Value>,
    conventions: &'static str,
    /// The largest body, in bytes, with default settings.
    largest_body: usize,
}

impl Document {
    /// A document for the service with this title, description and paths.
    pub fn new(title: &'static str, description: &'static str, served: &'static Paths) -> Self {
        // The schema describes written values: a field that is always written is required.
        let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
            settings.definitions_path = Cow::Borrowed("/components/schemas");
            settings.meta_schema = None;
        });
        Self {
            title,
            description,
            schemas: settings.into_generator(),
            tags: Vec::new(),
            served,
            paths: Map::new(),
            security: clients(),
            conventions: ON_KAFKA,
            largest_body: 64 << 10,
        }
    }

    /// A document with conventions of its own, for a service without Kafka; `largest_body` is the default in bytes.
    #[must_use]
    pub fn with_conventions(mut self, conventions: &'static str, largest_body: usize) -> Self {
        self.conventions = conventions;
        self.largest_body = largest_body;
        self
    }

    /// The schema of a type in JSON: a reference, where the type has a name.
    pub fn schema<T: JsonSchema>(&mut self) -> Value {
        self.schemas.subschema_for::<T>().to_value()
    }

    /// The tag of the next operations.
    pub fn tag(&mut self, name: &'static str, description: &'static str) {
        self.tags.push(json!({ "name": name, "description": description }));
    }

    /// A security scheme of clients, for [`Operation::secured`].
    pub fn security(&mut self, name: &'static str, scheme: Value) {
        self.security.insert(name.to_owned(), scheme);
    }

    /// Adds an operation, under the last tag.
    pub fn add(&mut self, path: &str, operation: Operation) {
        let problem = self.schema::<ProblemBody<'_>>();
        let tag = self.tags.last().map_or(Value::Null, |tag| tag["name"].clone());
        let method = operation.method();
        let operation = operation.needing(self.served.need(path).unwrap_or(Need::Nothing));
        let methods = self.paths.entry(path).or_insert_with(|| json!({}));
        methods[method] = operation.finish(tag, &problem, self.largest_body);
    }

    /// The document.
    pub fn finish(mut self) -> Value {
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": self.title,
                "version": env!("CARGO_PKG_VERSION"),
                "description": format!("{}\n\n{EVERYWHERE}\n\n{}", self.description, self.conventions),
                "license": { "name": "Apache 2.0", "identifier": env!("CARGO_PKG_LICENSE") },
            },
            "servers": [{ "url": "/", "description": "Where this document came from" }],
            "security": [],
            "tags": self.tags,
            "paths": self.paths,
            "components": {
                "schemas": self.schemas.take_definitions(true),
                "securitySchemes": self.security,
            },
        })
    }
}
