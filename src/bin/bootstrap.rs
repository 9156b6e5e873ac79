//! The event log as an AWS Lambda function. The runtime provided.al2023 runs a program of this name.
//!
//! The function's Handler selects the task: `http`, `sweep` or `migrate`.

use std::process::ExitCode;

use anyhow::Context as _;
use highwater::{
    config::{self, Config},
    telemetry,
};
use highwater_eventlog::{Task, lambda};

/// mimalloc, since musl's allocator serializes threads.
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

/// A sandbox gets one event at a time, so one thread is enough.
fn run(task: Task, config: Config) -> anyhow::Result<()> {
    let _logs = telemetry::start(&config.log).context("logging cannot start")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let config = config.eventlog.context("these are not the settings of the event log")?;
    runtime.block_on(lambda::run(task, config))
}
