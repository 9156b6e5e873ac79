//! A filter tree of any type, as one type: the server below it is compiled once, not once for each service.

use std::{convert::Infallible, sync::Arc};

use futures::future::BoxFuture;
use hyper::Request;
use tower_service::Service as _;
use warp::{Filter, Reply, reply::Response};

use super::request_body::RequestBody;

/// A request that a tree is answering.
pub(super) type Answering = BoxFuture<'static, Result<Response, Infallible>>;

/// A clone of a tree, for the requests of one task.
pub(super) type Handler = Box<dyn FnMut(Request<RequestBody>) -> Answering + Send>;

/// A filter tree.
#[derive(Clone)]
pub(super) struct Tree(Arc<dyn Fn() -> Handler + Send + Sync>);

impl Tree {
    pub(super) fn new<F, R>(filter: F) -> Self
    where
        F: Filter<Extract = (R,), Error = Infallible> + Clone + Send + Sync + 'static,
        R: Reply,
    {
        let service = warp::service(filter);
        Self(Arc::new(move || {
            let mut service = service.clone();
            Box::new(move |request| Box::pin(service.call(request)))
        }))
    }

    pub(super) fn handler(&self) -> Handler {
        (self.0)()
    }
}
