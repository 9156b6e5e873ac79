//! The recorded traces, by the names of OTEL_TRACES_SAMPLER.

use super::context::{TraceContext, TraceId};

/// Chooses the traces that are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceSampler {
    /// Whether the context of a request or a record decides, if there is one.
    pub parent_based: bool,
    /// The share of traces where no context decides.
    pub share: Share,
}

/// A share of all traces. The ids decide, so programs with the same share record the same traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(u64);

impl Share {
    /// All of them.
    pub const ALL: Self = Self(1 << 63);
    /// None.
    pub const NONE: Self = Self(0);

    /// The share by a ratio; `None` if it is not from 0 to 1.
    pub fn from_ratio(ratio: f64) -> Option<Self> {
        (0.0..=1.0).contains(&ratio).then_some(Self((ratio * Self::ALL.0 as f64) as u64))
    }

    /// Whether the share includes a trace: by the last 63 bits of its id, as `TraceIdRatioBased` of OpenTelemetry's SDKs.
    fn has(self, trace: TraceId) -> bool {
        trace.low() >> 1 < self.0
    }
}

impl TraceSampler {
    /// The context of a new span: a child of `parent`, or the first of a new trace. Where neither is recorded, it is the
    /// parent itself, since nothing would tell the two apart.
    pub(super) fn next(&self, parent: Option<&TraceContext>) -> TraceContext {
        let Some(parent) = parent else { return TraceContext::root(|trace| self.share.has(trace)) };
        let is_sampled = match self.parent_based {
            true => parent.is_sampled(),
            false => self.share.has(parent.trace_id),
        };
        match is_sampled == parent.is_sampled() && !is_sampled {
            true => parent.clone(),
            false => parent.child(is_sampled),
        }
    }
}

/// `parentbased_always_on`.
impl Default for TraceSampler {
    fn default() -> Self {
        Self { parent_based: true, share: Share::ALL }
    }
}
