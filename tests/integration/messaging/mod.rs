//! The crate `highwater-kafka` on a cluster.

mod connecting;
mod consuming;
mod coordinator;
mod finding;
mod group;
mod heartbeats;
mod hostile;
mod hung;
mod idempotence;
mod java;
mod kcat;
mod kip848;
mod logs;
mod missing;
mod producing;
mod rebalancing;
mod redriving;
mod refused;
mod removal;
mod rules;
mod sequenced;
mod throttled;
mod undelivered;
mod unresponsive;
