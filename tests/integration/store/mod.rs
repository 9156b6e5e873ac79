//! One suite for both stores: in memory, and in PostgreSQL where TEST_POSTGRES_URL names a server.

mod cursors;
mod erasing;
mod faults;
mod fencing;
mod retention;
mod service;
mod stores;
mod suite;
