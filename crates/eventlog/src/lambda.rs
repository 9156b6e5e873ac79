//! The event log as an AWS Lambda function: the same filter tree answers the events of API Gateway's HTTP API.

use std::{convert::Infallible, panic::AssertUnwindSafe, sync::Arc, time::Instant};

use anyhow::{Context as _, anyhow};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures::FutureExt as _;
use highwater_web::{
    auth::AccessGate,
    http::{CORRELATION_ID, CorrelationId, CrossOriginRequest, Problem, check_origin},
    shutdown::Shutdown,
};
use http_body_util::{BodyExt as _, Full};
use lambda_http::{
    Body,
    aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse},
    lambda_runtime::{self, Diagnostic, LambdaEvent, service_fn},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::IgnoredAny;
use tower_service::Service;
use warp::{
    Reply,
    http::{Request, header},
    reply::Response,
};

use super::{Config, Front, PATHS, Task, service};

/// The characters that stay unencoded in a path: RFC 3986, section 2.3, and the slashes between its segments.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Answers events until the sandbox ends: requests, or those of a schedule.
///
/// # Errors
///
/// Lambda's runtime cannot be reached.
pub async fn run(task: Task, config: Config) -> anyhow::Result<()> {
    let outcome = match task {
        Task::Serve => {
            let (tree, traffic) = service::tree(&config, Front::Lambda, &Shutdown::new())?;
            let tree = warp::service(tree);
            let config = Arc::new(config.http);
            let gate = Arc::new(AccessGate::new(&config.auth, &PATHS));
            let watched = Arc::clone(&gate);
            // Between events this task stands still with the sandbox.
            tokio::spawn(async move { watched.watch().await });
            let handler = service_fn(move |event: LambdaEvent<ApiGatewayV2httpRequest>| {
                let (mut tree, traffic, config) = (tree.clone(), traffic.clone(), Arc::clone(&config));
                let gate = Arc::clone(&gate);
                async move {
                    let began = Instant::now();
                    let request = match request(event.payload) {
                        Ok(request) => request,
                        Err(error) => {
                            log::warn!("an event is no request: {error:#}");
                            return told(Problem::bad_request("this is no request").into_response()).await;
                        }
                    };
                    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
                    let page = CrossOriginRequest::from_request(&request);
                    let mut response = match check_origin(&request, &config) {
                        Ok(()) => {
                            gate.guard(request, async |request| answered(&mut tree, request).await).await
                        }
                        Err(problem) => problem.into_response(),
                    };
                    if let (Some(page), Some(cors)) = (page, &config.cors) {
                        cors.on(&mut response, &page);
                    }
                    traffic.count(&path, &method, response.status(), began.elapsed(), None);
                    told(response).await
                }
            });
            lambda_runtime::run(handler).await
        }
        Task::Once(job) => {
            let handler = service_fn(move |_: LambdaEvent<IgnoredAny>| {
                let config = config.clone();
                async move {
                    let outcome = service::perform(job, config).await;
                    if let Err(error) = &outcome {
                        log::error!("{error:#}");
                    }
                    log::logger().flush();
                    outcome.map_err(|error| Diagnostic {
                        error_type: "unfinished".to_owned(),
                        error_message: format!("{error:#}"),
                    })
                }
            });
            lambda_runtime::run(handler).await
        }
    };
    outcome.map_err(|error| anyhow!("the runtime ended: {error}"))
}

/// The request in an event.
///
/// The path comes decoded, so it is encoded again: a question mark in it is part of a name, not the beginning of the query.
/// An encoded slash cannot be told from a plain one.
///
/// # Errors
///
/// The event is no request.
pub fn request(event: ApiGatewayV2httpRequest) -> anyhow::Result<Request<Full<Bytes>>> {
    let path = event.raw_path.as_deref().unwrap_or("/");
    let mut uri = utf8_percent_encode(path, PATH).to_string();
    if let Some(query) = event.raw_query_string.as_deref().filter(|query| !query.is_empty()) {
        uri.push('?');
        uri.push_str(query);
    }
    let body = match event.body {
        None => Bytes::new(),
        Some(body) if event.is_base64_encoded => {
            BASE64_STANDARD.decode(body).context("the body is not base64")?.into()
        }
        Some(body) => body.into(),
    };
    let mut request =
        Request::builder().method(event.request_context.http.method).uri(uri).body(Full::new(body))?;
    *request.headers_mut() = event.headers;
    Ok(request)
}

/// The tree's answer. A handler that panics costs one answer, as behind the server.
async fn answered<S>(tree: &mut S, request: Request<Full<Bytes>>) -> Response
where
    S: Service<Request<Full<Bytes>>, Response = Response, Error = Infallible>,
{
    let correlation = request.headers().get(CORRELATION_ID).and_then(CorrelationId::from_header);
    let answer = AssertUnwindSafe(async { tree.call(request).await }).catch_unwind().await;
    let answer = match answer {
        Ok(Ok(answer)) => answer,
        Ok(Err(never)) => match never {},
        Err(_) => Problem::internal().into_response(),
    };
    match answer.headers().contains_key(CORRELATION_ID) {
        true => answer,
        false => correlation.unwrap_or_else(CorrelationId::generate).on(answer),
    }
}

/// The answer, after the log is written out: between events the sandbox stands still.
async fn told(response: Response) -> Result<ApiGatewayV2httpResponse, lambda_runtime::Error> {
    let answer = answer(response).await;
    log::logger().flush();
    answer
}

/// The answer in Lambda's form.
///
/// # Errors
///
/// Its body breaks off.
pub async fn answer(response: Response) -> Result<ApiGatewayV2httpResponse, lambda_runtime::Error> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await?.to_bytes();
    let mut answer = ApiGatewayV2httpResponse::default();
    answer.status_code = parts.status.as_u16().into();
    answer.headers = parts.headers;
    // Lambda adds the length.
    answer.headers.remove(header::CONTENT_LENGTH);
    // Text is sent as it is. Packed bytes, such as Swagger UI's files, have to become text.
    answer.body = Some(match String::from_utf8(body.into()) {
        Ok(text) => Body::Text(text),
        Err(packed) => {
            answer.is_base64_encoded = true;
            Body::Binary(packed.into_bytes())
        }
    });
    Ok(answer)
}
