//! The program as it is started: its exit codes, its signals, its standard output.

mod ending;
mod program;
mod security;
mod selftest;
mod standard_output;
mod starting;
