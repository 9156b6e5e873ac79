//! Everything that talks to rskafka. No other module of the crate imports it; a test of the workspace checks that.
//!
//! rskafka 0.6 tells event-sourced tables where their logs end ([`EndOffsets`], by ListOffsets), and finds the leaders for
//! that by its own Metadata. The rest stands in [`wire`](crate::wire), on the messages of kafka-protocol:
//!
//! * Groups, committed offsets, topic settings, and topics with settings: rskafka has no such requests.
//! * Fetch: rskafka sends no leader epoch (KIP-320), so that after an unclean election it would read on in another
//!   history. It also fails on transaction markers, null header values, zstd and compacted gaps, does not tell aborted
//!   records from others, keeps one header of a name, hides LogAppendTime, asks by the topic's name where its id
//!   (KIP-516) is wanted, and decompresses without a bound.
//! * ListOffsets where a leader may be stale: rskafka sends no leader epoch.
//! * Produce: rskafka takes the response to a throttled Produce (KIP-219) for a failure and writes again.
//! * Finding a broker: rskafka has no timeouts, keeps a hung broker, and never goes back to the bootstrap addresses.
//!
//! This folder makes the requests that it does carry safe. `client` allows each call one attempt with a deadline.
//! After any error it builds a new client, from the address of a broker that a connection of our own has just found.
//! `nodelay` sets TCP_NODELAY. `error` translates its errors. `credentials` hands it TLS and SASL.

mod client;
mod credentials;
mod end_offsets;
mod error;
mod nodelay;

pub(crate) use client::SharedClient;
pub use end_offsets::EndOffsets;
pub use error::{CallError, ClientError};
