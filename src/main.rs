//! The command line: which service, and the exit code.

fn main() {}
