//! The limits of a client: slow, oversized and too many requests, panics, and a shutdown under load.
//!
//! Time is tokio's paused clock. It jumps to the next timer when both sides wait, so that deadlines pass
//! at once and in order.

mod client;
mod correlation;
mod crowds;
mod heads;
mod healthcheck;
#[cfg(feature = "tls")]
mod https;
mod limits;
mod listings;
mod origin;
mod packing;
mod reuse;
mod rolling;
mod server;
mod slow;
mod stopping;
mod turns;
