//! Where a request comes from.

use std::{convert::Infallible, net::IpAddr};

use hyper::Request;
use warp::Filter;

/// The address that a request comes from.
#[derive(Debug, Clone, Copy)]
struct Caller(IpAddr);

/// Notes where a request comes from, where that is known.
pub(super) fn note<B>(request: &mut Request<B>, address: Option<IpAddr>) {
    if let Some(address) = address {
        request.extensions_mut().insert(Caller(address.to_canonical()));
    }
}

/// The address that a request comes from, where that is known.
pub fn caller() -> impl Filter<Extract = (Option<IpAddr>,), Error = Infallible> + Copy {
    warp::ext::optional::<Caller>().map(|caller: Option<Caller>| caller.map(|Caller(address)| address))
}
