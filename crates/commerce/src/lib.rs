//! Users and orders: two services whose state is the log.
//!
//! Each keeps the content of its topic as a [table](highwater_table), and answers from it; the order service follows the
//! users' topic beside its own.

#![forbid(unsafe_code)]

mod config;
pub mod orders;
pub mod state;
pub mod users;

pub use config::{Config, StateConfig};
