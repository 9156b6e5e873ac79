//! Pieces that every filter tree is made of.

use std::{convert::Infallible, future::ready};

use warp::{
    Filter, Rejection, Reply,
    filters::{BoxedFilter, path::FullPath},
    http::Method,
    reply::Response,
};

use super::{Problem, paths::Paths, refuse};

/// Gives each request a clone of a value.
pub fn with<T: Clone + Send + Sync>(
    it: &T,
) -> impl Filter<Extract = (T,), Error = Infallible> + Clone + use<T> {
    let it = it.clone();
    warp::any().map(move || it.clone())
}

/// GET, and HEAD: hyper answers it with the head alone.
pub fn reads() -> impl Filter<Extract = (), Error = Rejection> + Copy {
    warp::get().or(warp::head()).unify()
}

/// The query as it came, without its question mark.
pub fn query() -> impl Filter<Extract = (String,), Error = Infallible> + Copy {
    warp::query::raw().or(warp::any().map(String::new)).unify()
}

/// A route: it answers its requests, and leaves all others.
pub type Route = BoxedFilter<(Response,)>;

/// The first of these routes that takes a request.
///
/// The routes are boxed and have one type, so all services share one type of tree, compiled once. Trees of closures would
/// grow with everything below each branch.
pub fn first_of<const ROUTES: usize>(routes: [Route; ROUTES]) -> Route {
    let none = warp::any().and_then(|| ready(Err(warp::reject::not_found()))).boxed();
    routes.into_iter().rfold(none, |others, route| route.or(others).unify().boxed())
}

/// Answers a request that no route takes: 404, 405 or OPTIONS.
pub fn unknown(paths: &'static Paths) -> Route {
    warp::path::full()
        .and(warp::method())
        .map(|path: FullPath, method: Method| refuse(&method, path.as_str(), paths.methods(path.as_str())))
        .boxed()
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
