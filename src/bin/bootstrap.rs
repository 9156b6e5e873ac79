//! The event log as an AWS Lambda function: provided.al2023 runs a program of this name.
//!
//! What it does is the function's Handler: `http`, `sweep` or `migrate`.

use std::process::ExitCode;

use anyhow::Context as _;
use highwater::{
    config::{self, Config},
    telemetry,
};
use highwater_eventlog::{Task, lambda};

/// musl's own allocator serializes threads; this one is as fast everywhere.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let (task, config) = match config::from_lambda() {
        Ok(asked) => asked,
        Err(exit) => return exit.report(),
    };
    match run(task, config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// One event at a time is all that a sandbox gets: a thread is enough.
fn run(task: Task, config: Config) -> anyhow::Result<()> {
    let _logs = telemetry::start(&config.log).context("logging cannot start")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let config = config.eventlog.context("these are not the settings of the event log")?;
    runtime.block_on(lambda::run(task, config))
}
