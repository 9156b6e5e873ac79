//! The routes, for a service to add to its own.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use warp::{Filter, Rejection, Reply, filters::path::FullPath, http::HeaderValue, path};

use super::{Desk, answers};
use crate::http::{Problem, Route, caller, first_of, header, json_body, query, reads, with};

/// `GET /dead-letters` and `POST /dead-letters/redrive`. Whoever does not bear the token gets 401.
pub fn routes(desk: Arc<Desk>) -> Route {
    let limits = desk.limits;
    let list = path!("dead-letters")
        .and(reads())
        .and(with(&desk))
        .and(header("authorization"))
        .and(caller())
        .and(warp::path::full())
        .and(query())
        .and(header("accept"))
        .then(
            |desk: Arc<Desk>,
             authorization: Option<HeaderValue>,
             caller: Option<IpAddr>,
             path: FullPath,
             query: String,
             accept: Option<HeaderValue>| async move {
                match desk.admin_auth.authorize(authorization.as_ref(), caller, "listing dead letters").await
                {
                    Ok(()) => answers::list(desk, path.as_str(), &query, accept).await,
                    Err(problem) => problem.into_response(),
                }
            },
        );
    let admitted = path!("dead-letters" / "redrive")
        .and(warp::post())
        .and(with(&desk))
        .and(header("authorization"))
        .and(caller())
        .and_then(|desk: Arc<Desk>, authorization: Option<HeaderValue>, caller: Option<IpAddr>| async move {
            let admitted =
                desk.admin_auth.authorize(authorization.as_ref(), caller, "sending dead letters back").await;
            Ok::<_, Rejection>((admitted, desk))
        });
    let redrive = admitted.and(json_body(limits)).then(
        |(admitted, desk): (Result<(), Problem>, Arc<Desk>), body: Result<Bytes, Problem>| async move {
            match admitted {
                Ok(()) => answers::redrive(desk, body).await,
                Err(problem) => problem.into_response(),
            }
        },
    );
    first_of([list.boxed(), redrive.boxed()])
}
