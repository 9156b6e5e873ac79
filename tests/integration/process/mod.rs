//! The program as it is started: its exit codes, its signals, its standard output.

mod dead_letters;
mod ending;
mod faults_at_start;
mod renewing;
mod security;
mod selftest;
mod standard_output;
mod starting;
