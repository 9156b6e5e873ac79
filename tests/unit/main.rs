//! Unit tests, without sockets. All are in one binary, so that it links once.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod config;
mod dead_letters;
mod documents;
#[cfg(feature = "embedded-broker")]
mod embedded;
mod event;
mod eventlog;
mod exporting;
mod journal;
mod logging;
#[cfg(target_arch = "x86_64")]
mod memcpy;
mod messaging;
mod monitoring;
mod openapi;
mod processor;
mod record;
mod rest;
mod services;
mod shutdown;
mod store;
mod traces;
