//! The messaging room on a cluster.

mod consuming;
mod group;
mod kcat;
mod logs;
mod producing;
mod rules;
