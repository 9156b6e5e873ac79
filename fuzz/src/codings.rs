//! Bodies in gzip, zstd and brotli: what comes out of a body, whatever the pieces that it comes in.

use std::{convert::Infallible, io::Write as _, time::Duration};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures::{executor::block_on, stream};
use highwater_web::http::{BodyLimits, Problem, any_body};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{Request, StatusCode, body::Frame};
use tower_service::Service as _;
use warp::{Filter as _, Reply as _, reply::Response};

use crate::pieces::pieces;

/// The largest body that is taken.
const MOST: usize = 2_048;
const CODINGS: [&str; 3] = ["gzip", "zstd", "br"];

/// The first byte says which coding it is, and whether the rest is packed already; the next two, how that is cut.
pub fn codings(data: &[u8]) {
    let Some(([kind, first, second], body)) = data.split_first_chunk() else { return };
    let coding = CODINGS[usize::from(kind % 3)];
    let packed = if kind & 0x80 == 0 { None } else { pack(coding, body) };
    let here = packed.as_deref().unwrap_or(body);
    let whole = unpacked(coding, vec![Bytes::copy_from_slice(here)]);
    let cut = unpacked(coding, pieces(here, [*first, *second]));
    // A bound may be passed before a fault is found, or not.
    assert_eq!(whole.as_ref().ok(), cut.as_ref().ok(), "in pieces it is another body");
    match (&whole, packed.is_some()) {
        (Ok(unpacked), true) => assert_eq!(unpacked, body),
        (Err(status), true) => {
            assert_eq!((*status, body.len() > MOST), (StatusCode::PAYLOAD_TOO_LARGE, true))
        }
        (_, false) => {}
    }
    for body in [whole, cut] {
        match body {
            Ok(unpacked) => assert!(unpacked.len() <= MOST),
            Err(status) => {
                assert!(
                    [StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE].contains(&status),
                    "{status}"
                );
            }
        }
    }
}

/// Packed by those codings that there is an encoder for.
fn pack(coding: &str, body: &[u8]) -> Option<Vec<u8>> {
    match coding {
        "gzip" => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(body).expect("memory takes everything");
            Some(encoder.finish().expect("memory takes everything"))
        }
        "zstd" => Some(zstd::encode_all(body, 1).expect("memory takes everything")),
        _ => None,
    }
}

/// The body as a route gets it, or the status of the problem.
fn unpacked(coding: &str, pieces: Vec<Bytes>) -> Result<Bytes, StatusCode> {
    let limits = BodyLimits { max_bytes: MOST, max_depth: 1, timeout: Duration::from_secs(1) };
    let mut route = warp::service(any_body(limits).map(|body: Result<Bytes, Problem>| match body {
        Ok(body) => Response::new(body.into()),
        Err(problem) => problem.into_response(),
    }));
    let pieces = pieces.into_iter().map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
    let request = Request::post("/").header("content-encoding", coding);
    let request = request.body(StreamBody::new(stream::iter(pieces))).expect("a request");
    block_on(async {
        let answer = route.call(request).await.unwrap_or_else(|never| match never {});
        let status = answer.status();
        let body = answer.into_body().collect().await.expect("a body in memory").to_bytes();
        if status == StatusCode::OK { Ok(body) } else { Err(status) }
    })
}
