//! The messaging room on a cluster.

mod consuming;
mod group;
mod logs;
mod producing;
