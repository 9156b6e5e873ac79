//! Which traces are recorded, by the names of OTEL_TRACES_SAMPLER.

use super::context::{TraceContext, TraceId};

/// Chooses the traces that are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceSampler {
    /// Whether the context that a request or a record came with decides, where there is one.
    pub parent_based: bool,
    /// The share of all others, and of all where no parent decides.
    pub share: Share,
}

/// A share of all traces. Their ids decide, so that all who take the same share take the same traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(u64);

impl Share {
    /// All of them.
    pub const ALL: Self = Self(1 << 63);
    /// None.
    pub const NONE: Self = Self(0);

    /// A ratio; `None` where it is not from 0 to 1.
    pub fn of(ratio: f64) -> Option<Self> {
        (0.0..=1.0).contains(&ratio).then_some(Self((ratio * Self::ALL.0 as f64) as u64))
    }

    /// By the last 63 bits of its id, as `TraceIdRatioBased` of OpenTelemetry's SDKs.
    fn has(self, trace: TraceId) -> bool {
        trace.low() >> 1 < self.0
    }
}

impl TraceSampler {
    /// The context of a new span: a child of that context, or the first of a new trace. A child that is not recorded is its
    /// parent: nothing tells them apart.
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
