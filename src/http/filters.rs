//! Pieces that every filter tree is made of.

use std::convert::Infallible;

use warp::{Filter, Rejection, Reply, filters::path::FullPath, http::Method, reply::Response};

use super::{Problem, paths::Paths, refuse};

/// Hands each request something that is cheap to clone.
pub fn with<T: Clone + Send + Sync>(
    it: &T,
) -> impl Filter<Extract = (T,), Error = Infallible> + Clone + use<T> {
    let it = it.clone();
    warp::any().map(move || it.clone())
}

/// GET, and HEAD, to which hyper sends the head of the same answer.
pub fn reads() -> impl Filter<Extract = (), Error = Rejection> + Copy {
    warp::get().or(warp::head()).unify()
}

/// The query as it came, without its question mark.
pub fn query() -> impl Filter<Extract = (String,), Error = Infallible> + Copy {
    warp::query::raw().or(warp::any().map(String::new)).unify()
}

/// Answers what no route takes: 404, 405 or OPTIONS.
pub fn unknown(paths: &'static Paths) -> impl Filter<Extract = (Response,), Error = Infallible> + Copy {
    warp::path::full()
        .and(warp::method())
        .map(|path: FullPath, method: Method| refuse(&method, path.as_str(), paths.methods(path.as_str())))
}

/// A rejection that the tree's last branch did not answer. None is known to come this far.
///
/// # Errors
///
/// None.
pub async fn unrouted(rejection: Rejection) -> Result<Response, Infallible> {
    log::error!("a request was rejected by no route of ours: {rejection:?}");
    Ok(Problem::internal().into_response())
}
