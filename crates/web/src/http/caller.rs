//! The address that a request comes from.

use std::{convert::Infallible, net::IpAddr};

use warp::Filter;

tokio::task_local! {
    /// The address of the client of the current request, where it is known.
    pub(super) static CALLER: Option<IpAddr>;
}

/// Extracts the address of the request's client, where it is known.
pub fn caller() -> impl Filter<Extract = (Option<IpAddr>,), Error = Infallible> + Copy {
    warp::any().map(|| CALLER.try_with(|caller| *caller).unwrap_or_default())
}
