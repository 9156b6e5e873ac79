//! The audit: the acts of those who look after a service, and the requests that are refused.

use std::net::IpAddr;

use crate::sampler::Sampler;

/// The target of the audit's log lines.
pub(crate) const AUDIT: &str = "highwater::audit";
/// The most refusals that are logged in a second. Further ones are only counted.
const MOST: u32 = 10;

/// Logs refusals, and a storm of them as one.
#[derive(Debug)]
pub(crate) struct Audit(Sampler);

impl Default for Audit {
    fn default() -> Self {
        Self(Sampler::new(MOST))
    }
}

impl Audit {
    /// A credential was refused.
    pub(super) fn refused(&self, caller: Option<IpAddr>, action: &str, reason: &str) {
        if self.is_told() {
            let address = address(caller);
            log::warn!(
                target: AUDIT, who = "unknown", address, action, outcome = "refused", reason;
                "{action} by {address}: refused"
            );
        }
    }

    /// A client tried an act that its scopes do not allow.
    pub(super) fn forbidden(&self, who: &str, caller: Option<IpAddr>, action: &str) {
        if self.is_told() {
            let address = address(caller);
            log::warn!(target: AUDIT, who, address, action, outcome = "forbidden"; "{action} by {who}: forbidden");
        }
    }

    /// An act of an operator was asked for without a credential.
    pub(crate) fn missing(&self, caller: Option<IpAddr>, action: &str) {
        if self.is_told() {
            let (who, address) = ("unknown", address(caller));
            log::warn!(target: AUDIT, who, address, action, outcome = "missing"; "{action} by {address}: no token");
        }
    }

    fn is_told(&self) -> bool {
        let sampled = self.0.sample();
        if sampled.left_out > 0 {
            log::warn!(target: AUDIT, leftOut = sampled.left_out; "more was refused than is told");
        }
        sampled.is_logged
    }
}

/// An address as the log writes it.
pub(crate) fn address(caller: Option<IpAddr>) -> String {
    caller.map_or_else(|| "unknown".to_owned(), |address| address.to_string())
}
