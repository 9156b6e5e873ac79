//! One suite for both stores: in memory, and in PostgreSQL where TEST_POSTGRES_URL names a server.

mod backup;
mod cursors;
mod erasing;
mod faults;
mod fencing;
mod following;
mod killed;
mod link;
mod outages;
mod refilled;
mod renewed;
mod replay;
mod retention;
mod server;
mod service;
mod stopped;
mod stores;
mod suite;
mod tls;
