//! The context of a trace in headers: W3C Trace Context, Level 2.

use std::{cell::RefCell, fmt, sync::Arc};

use hyper::HeaderMap;
use serde::{Serialize, Serializer};
use uuid::Uuid;

/// The header of the context, in requests and in records.
pub const TRACEPARENT: &str = "traceparent";
/// The header `tracestate`, which tracing systems extend.
pub const TRACESTATE: &str = "tracestate";
/// The length of a [`TRACEPARENT`] of version 00: `00-…-…-01`.
const LENGTH: usize = 55;
/// The longest [`TRACESTATE`] that is passed on, in bytes: every system has to pass on as much (section 3.3.1.5).
const LONGEST_STATE: usize = 512;

/// The flag of a trace that is recorded.
const SAMPLED: u8 = 0b01;
/// The flag of a trace whose id has at least 56 random bits.
const RANDOM: u8 = 0b10;

/// The id of a trace, which is not zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceId([u8; 16]);

/// The id of a span, which is not zero.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SpanId([u8; 8]);

impl TraceId {
    /// A UUID of version 4, reordered: the bytes with fixed bits come first, since samplers use the last eight.
    fn generate() -> Self {
        let mut bytes = *Uuid::new_v4().as_bytes();
        bytes.swap(0, 6);
        bytes.swap(1, 8);
        Self(bytes)
    }

    /// The last eight bytes as a number.
    pub(super) fn low(self) -> u64 {
        u128::from_be_bytes(self.0) as u64
    }
}

impl SpanId {
    fn generate() -> Self {
        // Two bits in the second half of a UUID are set, so it is not zero.
        Self((Uuid::new_v4().as_u64_pair().1).to_be_bytes())
    }
}

/// A place in a trace: the span that others are children of, and the rest of the headers.
#[derive(Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
    flags: u8,
    /// [`TRACESTATE`], as it came.
    state: Option<Arc<str>>,
}

impl TraceContext {
    /// The context of a new trace.
    pub(super) fn root(is_sampled: impl FnOnce(TraceId) -> bool) -> Self {
        let trace_id = TraceId::generate();
        let flags = if is_sampled(trace_id) { RANDOM | SAMPLED } else { RANDOM };
        Self { trace_id, span_id: SpanId::generate(), flags, state: None }
    }

    /// The context of a new span below this one.
    pub(super) fn child(&self, is_sampled: bool) -> Self {
        let flags = if is_sampled { self.flags | SAMPLED } else { self.flags & !SAMPLED };
        Self { span_id: SpanId::generate(), flags, ..self.clone() }
    }

    /// Whether the trace is recorded.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// [`TRACESTATE`].
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// The context of a `traceparent` and its `tracestate`. `None` for a malformed `traceparent`. A `tracestate` that is
    /// malformed or too long is left out.
    pub fn parse(parent: &[u8], state: Option<&[u8]>) -> Option<Self> {
        let (version, rest) = (hex::<1>(parent.get(..2)?)?, parent.get(LENGTH..)?);
        // A later version may have more fields, after another dash.
        let is_known = match version {
            [0] => rest.is_empty(),
            [0xff] => false,
            _ => rest.first().is_none_or(|next| *next == b'-'),
        };
        let dashes = [2, 35, 52].iter().all(|index| parent[*index] == b'-');
        let (trace_id, span_id) = (hex(&parent[3..35])?, hex(&parent[36..52])?);
        let [flags] = hex(&parent[53..LENGTH])?;
        let is_valid = is_known && dashes && trace_id != [0; 16] && span_id != [0; 8];
        let is_state = |state: &&str| {
            let fits = (1..=LONGEST_STATE).contains(&state.len());
            fits && state.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte))
        };
        is_valid.then(|| Self {
            trace_id: TraceId(trace_id),
            span_id: SpanId(span_id),
            flags: flags & (SAMPLED | RANDOM),
            state: state.and_then(|state| std::str::from_utf8(state).ok()).filter(is_state).map(Arc::from),
        })
    }

    /// The context of a request. Two `traceparent`s count as none; several `tracestate`s are one list.
    pub(super) fn of_request(headers: &HeaderMap) -> Option<Self> {
        let mut parents = headers.get_all(TRACEPARENT).iter();
        let (parent, None) = (parents.next()?, parents.next()) else { return None };
        let states: Vec<&[u8]> = headers.get_all(TRACESTATE).iter().map(|state| state.as_bytes()).collect();
        Self::parse(parent.as_bytes(), (!states.is_empty()).then(|| states.join(&b","[..])).as_deref())
    }

    /// The `traceparent`.
    pub fn traceparent(&self) -> [u8; LENGTH] {
        let mut text = [b'-'; LENGTH];
        push_hex(&mut text[..2], &[0]);
        push_hex(&mut text[3..35], &self.trace_id.0);
        push_hex(&mut text[36..52], &self.span_id.0);
        push_hex(&mut text[53..], &[self.flags]);
        text
    }
}

/// Bytes from a text of two digits each, in lower case; `None` for any other digit.
///
/// # Panics
///
/// If the text is shorter.
fn hex<const BYTES: usize>(text: &[u8]) -> Option<[u8; BYTES]> {
    /// The value of each digit; all bits for any other character.
    const NUMBERS: [u8; 256] = {
        let mut numbers = [u8::MAX; 256];
        let mut number = 0;
        while number < DIGITS.len() {
            numbers[DIGITS[number] as usize] = number as u8;
            number += 1;
        }
        numbers
    };
    let mut bytes = [0; BYTES];
    let mut seen = 0;
    for (index, byte) in bytes.iter_mut().enumerate() {
        let number = |at: usize| NUMBERS[usize::from(text[at])];
        let (high, low) = (number(2 * index), number(2 * index + 1));
        seen |= high | low;
        *byte = high << 4 | low;
    }
    (seen < 16).then_some(bytes)
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

fn push_hex(text: &mut [u8], bytes: &[u8]) {
    for (index, byte) in bytes.iter().enumerate() {
        text[2 * index] = DIGITS[usize::from(byte >> 4)];
        text[2 * index + 1] = DIGITS[usize::from(byte & 15)];
    }
}

/// Displays and serializes bytes in hexadecimal: OTLP's JSON writes ids so, and not in base64.
macro_rules! in_hex {
    ($($id:ident),+) => {$(
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; 32];
                let text = &mut text[..2 * self.0.len()];
                push_hex(text, &self.0);
                f.write_str(std::str::from_utf8(text).unwrap_or_default())
            }
        }

        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $id {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )+};
}
in_hex!(TraceId, SpanId);

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceContext({}, {:?})", String::from_utf8_lossy(&self.traceparent()), self.state)
    }
}

thread_local! {
    /// The context of this thread's current work.
    static CURRENT: RefCell<Option<TraceContext>> = const { RefCell::new(None) };
}

/// Does some work within a context, if there is one: it goes into the records and requests of the work, and its ids into the
/// log lines. A future is within it at each poll, and other tasks are not.
pub fn within<T>(context: Option<TraceContext>, work: impl FnOnce() -> T) -> T {
    /// The outer context, which is restored afterwards in any case.
    struct Outside(Option<TraceContext>);
    impl Drop for Outside {
        fn drop(&mut self) {
            let _ending_thread = CURRENT.try_with(|current| current.replace(self.0.take()));
        }
    }
    if context.is_none() {
        return work();
    }
    let _outside = Outside(CURRENT.try_with(|current| current.replace(context)).unwrap_or_default());
    work()
}

/// The context of this thread's current work.
pub fn current() -> Option<TraceContext> {
    CURRENT.try_with(|current| current.borrow().clone()).unwrap_or_default()
}
