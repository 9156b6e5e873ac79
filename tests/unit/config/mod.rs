//! Settings: parsing, faults, and the lists in the documents.

mod eventlog;
mod faults;
mod lists;
mod platform;
mod replay;
mod schemas;
mod security;
mod sources;
mod values;

use std::ffi::OsString;

use highwater::config::{self, Config, Exit, Invocation};

/// Parses with these arguments, variables and `.env`, and nothing of the process the test runs in.
fn parse(args: &[&str], variables: &[(&str, &str)], dotenv: &str) -> Result<Invocation, Exit> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let args = std::iter::once("highwater").chain(args.iter().copied()).map(OsString::from);
    config::parse(args, &variables, dotenv)
}

/// With a Kafka to go to, so that the tests hold in a build without the embedded broker, too.
fn with(variables: &[(&str, &str)]) -> Result<Config, Exit> {
    let variables: Vec<_> = [("KAFKA_BROKERS", "kafka:9092")].iter().chain(variables).copied().collect();
    parse(&[], &variables, "").map(|invocation| invocation.config)
}

/// The faults of these variables, one per line.
fn faults(variables: &[(&str, &str)]) -> Vec<String> {
    let exit = with(variables).expect_err("there is a fault");
    assert_eq!(exit.code, 2);
    let lines = exit.message.lines().filter_map(|line| line.strip_prefix("  "));
    lines.map(str::to_owned).collect()
}

fn defaults() -> Config {
    with(&[]).expect("the defaults are a configuration")
}
