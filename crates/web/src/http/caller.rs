//! Where a request comes from.

use std::{convert::Infallible, net::IpAddr};

use warp::Filter;

tokio::task_local! {
    /// The address that the request comes from which is being answered, where it is known.
    pub(super) static CALLER: Option<IpAddr>;
}

/// The address that a request comes from, where that is known.
pub fn caller() -> impl Filter<Extract = (Option<IpAddr>,), Error = Infallible> + Copy {
    warp::any().map(|| CALLER.try_with(|caller| *caller).unwrap_or_default())
}
