//! The program: its exit codes, signals and standard output.

mod access;
mod bombs;
mod dead_letters;
mod ending;
mod faults_at_start;
mod renewing;
mod security;
mod selftest;
mod standard_output;
mod starting;
mod transfer;
