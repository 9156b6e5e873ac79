//! The routes of dead letters, which a service adds to its own.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use warp::{Filter, Rejection, Reply, filters::path::FullPath, http::HeaderValue, path};

use super::{DlqAdmin, answers};
use crate::{
    auth::{Grant, Need, grant},
    http::{Path, Problem, Route, caller, first_of, header, json_body, query, reads, with},
};

/// The paths of the routes.
pub const PATHS: &[Path] = &[
    ("/dead-letters", "GET, HEAD, OPTIONS", Need::Admin),
    ("/dead-letters/redrive", "POST, OPTIONS", Need::Admin),
];

/// `GET /dead-letters` and `POST /dead-letters/redrive`. A request with neither the token nor an admin's
/// credential is refused.
pub fn routes(admin: Arc<DlqAdmin>) -> Route {
    let limits = admin.limits;
    let list = path!("dead-letters")
        .and(reads())
        .and(with(&admin))
        .and(header("authorization"))
        .and(caller())
        .and(grant())
        .and(warp::path::full())
        .and(query())
        .and(header("accept"))
        .then(
            |admin: Arc<DlqAdmin>,
             authorization: Option<HeaderValue>,
             caller: Option<IpAddr>,
             grant: Grant,
             path: FullPath,
             query: String,
             accept: Option<HeaderValue>| async move {
                let admitted =
                    admin.admin_auth.admit(&grant, authorization.as_ref(), caller, "listing dead letters");
                match admitted.await {
                    Ok(()) => answers::list(admin, path.as_str(), &query, accept).await,
                    Err(problem) => problem.into_response(),
                }
            },
        );
    let admitted = path!("dead-letters" / "redrive")
        .and(warp::post())
        .and(with(&admin))
        .and(header("authorization"))
        .and(caller())
        .and(grant())
        .and_then(
            |admin: Arc<DlqAdmin>,
             authorization: Option<HeaderValue>,
             caller: Option<IpAddr>,
             grant: Grant| async move {
                let action = "sending dead letters back";
                let admitted = admin.admin_auth.admit(&grant, authorization.as_ref(), caller, action).await;
                Ok::<_, Rejection>((admitted, admin))
            },
        );
    let redrive = admitted.and(json_body(limits)).then(
        |(admitted, admin): (Result<(), Problem>, Arc<DlqAdmin>), body: Result<Bytes, Problem>| async move {
            match admitted {
                Ok(()) => answers::redrive(admin, body).await,
                Err(problem) => problem.into_response(),
            }
        },
    );
    first_of([list.boxed(), redrive.boxed()])
}
