//! The body of a request, and the bounds of its size, its time and its depth.

use std::{convert::Infallible, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use futures::{FutureExt, Stream, StreamExt, stream::BoxStream};
use hyper::{
    StatusCode,
    header::{ACCEPT, ACCEPT_ENCODING, CONNECTION, HeaderValue},
};
use warp::{Filter, Rejection};

use super::{Problem, coding::Coding, current_request, lines::Lines, media};
use crate::json::{byte_order_mark, nests_deeper};

/// The limits of a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimits {
    /// The largest body, in bytes, however it is sent.
    pub max_bytes: usize,
    /// The deepest nesting of arrays and objects.
    pub max_depth: usize,
    /// The longest time that all of it may take to arrive.
    pub timeout: Duration,
}

/// A body that is said to be JSON, or of which nothing is said: its bytes, or why they cannot be had.
///
/// Nothing is read when the head says already that it would be in vain, so that a client which asked by
/// `Expect: 100-continue` does not send.
pub fn json_body(
    limits: BodyLimits,
) -> impl Filter<Extract = (Result<Bytes, Problem>,), Error = Rejection> + Copy {
    body_head().and(warp::body::stream()).then(move |head: BodyHead, body| async move {
        if !head.is_json() {
            return Err(not_json());
        }
        read_unpacked(&head, body, limits).await
    })
}

/// A body of any media type, as [`json_body`] has those of JSON.
pub fn any_body(
    limits: BodyLimits,
) -> impl Filter<Extract = (Result<Bytes, Problem>,), Error = Rejection> + Copy {
    body_head()
        .and(warp::body::stream())
        .then(move |head: BodyHead, body| async move { read_unpacked(&head, body, limits).await })
}

async fn read_unpacked<B: Buf + 'static>(
    head: &BodyHead,
    body: impl Stream<Item = Result<B, warp::Error>> + Send + 'static,
    limits: BodyLimits,
) -> Result<Bytes, Problem> {
    match head.check(limits.max_bytes)? {
        None => read(as_bytes(body), limits).await,
        Some(coding) => {
            Box::pin(read(coding.unpack(as_bytes(body).boxed(), limits.max_bytes)?, limits)).await
        }
    }
}

/// The bodies of a route that takes many things at a time.
#[derive(Debug)]
pub enum ManyBody {
    /// JSON.
    Whole(Bytes),
    /// NDJSON, as it comes.
    Lines(Lines),
}

/// A body of many things: NDJSON as it comes, with lines within `limits`; or JSON of at most `max_bytes`.
pub fn many_body(
    limits: BodyLimits,
    max_bytes: usize,
) -> impl Filter<Extract = (Result<ManyBody, Problem>,), Error = Rejection> + Copy {
    body_head().and(warp::body::stream()).then(move |head: BodyHead, body| async move {
        let body = as_bytes(body).boxed();
        let unpacked = |coding: Option<Coding>, body, within| match coding {
            None => Ok(body),
            Some(coding) => coding.unpack(body, within),
        };
        if head.is_ndjson() {
            let coding = head.check(usize::MAX)?;
            // Of a packed body a few bytes may stand for a line without an end.
            let max_wasted = if coding.is_some() { max_bytes } else { usize::MAX };
            let body = unpacked(coding, body, usize::MAX)?;
            let mut lines = Lines::new(body, limits.max_bytes, max_wasted);
            if head.asks_first {
                // To be told to go on, it must be read before it is answered: after an answer's head there is no 100.
                current_request::extend_deadline(limits.timeout);
                let begun = tokio::time::timeout(limits.timeout, lines.fill()).await;
                begun.unwrap_or_else(|_| Err(too_slow(limits.timeout)))?;
            }
            return Ok(ManyBody::Lines(lines));
        }
        if !head.is_json() {
            return Err(neither_json_nor_lines());
        }
        let coding = head.check(max_bytes)?;
        let body = unpacked(coding, body, max_bytes)?;
        read(body, BodyLimits { max_bytes, ..limits }).await.map(ManyBody::Whole)
    })
}

type Said = Option<HeaderValue>;

/// The fields of a request's head that describe its body.
struct BodyHead {
    content_type: Said,
    encoding: Said,
    length: Said,
    /// The client sends nothing before it is told to go on.
    asks_first: bool,
}

fn body_head() -> impl Filter<Extract = (BodyHead,), Error = Infallible> + Copy {
    let said = header("content-type").and(header("content-encoding")).and(header("content-length"));
    said.and(header("expect")).map(|content_type: Said, encoding, length, expect: Said| {
        // An empty one says nothing.
        let content_type = content_type.filter(|value| !value.as_bytes().trim_ascii().is_empty());
        BodyHead { content_type, encoding, length, asks_first: expect.is_some() }
    })
}

impl BodyHead {
    fn is_json(&self) -> bool {
        self.content_type.as_ref().is_none_or(|value| media::is_json(value.as_bytes()))
    }

    fn is_ndjson(&self) -> bool {
        self.content_type.as_ref().is_some_and(|value| media::is_ndjson(value.as_bytes()))
    }

    /// The coding of a body, and the most bytes that it may have.
    fn check(&self, max_bytes: usize) -> Result<Option<Coding>, Problem> {
        let coding = match &self.encoding {
            None => None,
            Some(value) => Coding::of(value.as_bytes()).ok_or_else(unknown_coding)?,
        };
        let length = self.length.as_ref().and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > max_bytes as u64) {
            return Err(too_large(max_bytes));
        }
        Ok(coding)
    }
}

/// A body as it comes, without its coding.
pub type BodyStream = BoxStream<'static, Result<Bytes, Problem>>;

fn as_bytes<B: Buf>(
    body: impl Stream<Item = Result<B, warp::Error>>,
) -> impl Stream<Item = Result<Bytes, Problem>> {
    body.map(piece)
}

fn piece<B: Buf>(piece: Result<B, warp::Error>) -> Result<Bytes, Problem> {
    match piece {
        Ok(mut piece) => Ok(piece.copy_to_bytes(piece.remaining())),
        Err(error) => {
            log::debug!("a body broke off: {error}");
            Err(Problem::bad_request("the body is incomplete or wrongly framed"))
        }
    }
}

/// The body as text that a recursive reader can take: UTF-8, and nested no deeper than the limit.
pub fn json_text(body: &[u8], max_depth: usize) -> Result<&str, Problem> {
    if let Some(mark) = byte_order_mark(body) {
        return Err(Problem::bad_request(format!(
            "the body begins with {mark}, and JSON has none (RFC 8259, 8.1): send UTF-8 without it"
        )));
    }
    let text = std::str::from_utf8(body).map_err(|error| {
        Problem::bad_request(format!("the body is not UTF-8 from byte {} on", error.valid_up_to()))
    })?;
    if text.trim_ascii().is_empty() {
        return Err(empty());
    }
    if nests_deeper(body, max_depth) {
        return Err(Problem::bad_request(format!("the body nests deeper than {max_depth} levels")));
    }
    Ok(text)
}

async fn read(
    body: impl Stream<Item = Result<Bytes, Problem>>,
    limits: BodyLimits,
) -> Result<Bytes, Problem> {
    let mut whole = std::pin::pin!(collect(body, limits.max_bytes));
    // Most bodies came with the head: no timer for them.
    if let Some(done) = whole.as_mut().now_or_never() {
        return done;
    }
    current_request::extend_deadline(limits.timeout);
    tokio::time::timeout(limits.timeout, whole).await.unwrap_or_else(|_| Err(too_slow(limits.timeout)))
}

async fn collect(
    body: impl Stream<Item = Result<Bytes, Problem>>,
    max_bytes: usize,
) -> Result<Bytes, Problem> {
    let mut body = std::pin::pin!(body);
    let mut whole = Bytes::new();
    let mut gathered: Option<BytesMut> = None;
    while let Some(piece) = body.next().await {
        let piece = piece?;
        let length = gathered.as_ref().map_or(whole.len(), BytesMut::len) + piece.len();
        if length > max_bytes {
            return Err(too_large(max_bytes));
        }
        match &mut gathered {
            // The only piece of a body, as a rule: taken as it is.
            None if whole.is_empty() => whole = piece,
            None => {
                // A buffer that grows can be twice as large as what is in it.
                current_request::reserve_memory(2 * length)?;
                gathered = Some([whole.as_ref(), piece.as_ref()].concat().as_slice().into());
            }
            Some(gathered) => {
                current_request::reserve_memory(2 * piece.len())?;
                gathered.extend_from_slice(&piece);
            }
        }
    }
    Ok(gathered.map_or(whole, BytesMut::freeze))
}

fn empty() -> Problem {
    Problem::bad_request("the body is empty; a JSON object is expected")
}

fn too_slow(timeout: Duration) -> Problem {
    let detail = format!("the body was not complete after {timeout:?}");
    Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
        .with_header(CONNECTION, HeaderValue::from_static("close"))
}

fn too_large(max_bytes: usize) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {max_bytes} bytes"))
}

fn not_json() -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "send the body as JSON, with Content-Type: application/json or with none",
    )
    .with_header(ACCEPT, HeaderValue::from_static(media::JSON))
}

/// 415 of a route that takes many things at a time.
pub fn neither_json_nor_lines() -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "send the body as JSON, or as NDJSON with Content-Type: application/x-ndjson",
    )
    .with_header(ACCEPT, HeaderValue::from_static(JSON_OR_NDJSON))
}

/// The media types of a route that takes many things at a time.
pub(super) const JSON_OR_NDJSON: &str = "application/json, application/x-ndjson";

fn unknown_coding() -> Problem {
    let detail = "of content codings gzip, zstd and br are taken, one at a time";
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
        .with_header(ACCEPT_ENCODING, HeaderValue::from_static(Coding::ALL))
}

/// The faults of a body before it is parsed: a name, the occasion, and the answer.
pub(super) fn problems(max_bytes: usize) -> [(&'static str, &'static str, Problem); 5] {
    [
        ("empty", "The body is not a JSON object.", empty()),
        ("tooSlow", "The body did not arrive in time.", too_slow(Duration::from_secs(10))),
        ("tooLarge", "The body is too large.", too_large(max_bytes)),
        ("notJson", "The body is said to be something else than JSON.", not_json()),
        ("packed", "The body has another content coding than those.", unknown_coding()),
    ]
}

/// A header's value as it came, if there is one. `value` takes all bytes, and rejects what is not there, which is an
/// allocation; `optional` does not, and takes ASCII alone.
pub fn header(
    name: &'static str,
) -> impl Filter<Extract = (Option<HeaderValue>,), Error = Infallible> + Copy {
    let other_bytes = warp::header::value(name).map(Some).or(warp::any().map(|| None)).unify();
    warp::header::optional(name).or(other_bytes).unify()
}
