//! The program: it runs the service that the command line names, and ends with its exit code.

mod allocator;
#[cfg(all(target_env = "musl", target_arch = "x86_64"))]
mod memcpy;

use std::{io, net::SocketAddr, process::ExitCode, thread, time::Duration};

use anyhow::{Context as _, anyhow};
#[cfg(feature = "embedded-broker")]
use highwater::embedded;
use highwater::{
    config::{self, Config, Invocation, Service},
    replay::{self, ReplayCommand},
    selftest, service, telemetry, transfer,
};
use highwater_commerce::{orders, users};
#[cfg(feature = "eventlog")]
use highwater_eventlog as eventlog;
use highwater_web::{
    auth, dead_letters,
    http::{self, Listeners},
    shutdown::{self, Shutdown},
    trace::Exporting,
};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::{
    net::TcpListener,
    runtime::{self, Runtime},
};

fn main() -> ExitCode {
    let Invocation { service, config } = match config::from_process() {
        Ok(invocation) => invocation,
        Err(exit) => return exit.report(),
    };
    let passed = match service {
        Service::Activity => logged(config, service::run),
        Service::Users => logged(config, async |config, listener, shutdown| {
            #[cfg(feature = "embedded-broker")]
            let mut config = config;
            #[cfg(feature = "embedded-broker")]
            let _broker = embedded::start(&mut config.kafka).await?;
            users::run(config.into(), listener, shutdown).await
        }),
        Service::Orders => logged(config, async |config, listener, shutdown| {
            #[cfg(feature = "embedded-broker")]
            let mut config = config;
            #[cfg(feature = "embedded-broker")]
            let _broker = embedded::start(&mut config.kafka).await?;
            orders::run(config.into(), listener, shutdown).await
        }),
        #[cfg(feature = "eventlog")]
        Service::EventLog(eventlog::Task::Serve) => logged(config, async |config, listener, shutdown| {
            eventlog::run(settings_of_the_event_log(config)?, listener, shutdown).await
        }),
        #[cfg(feature = "eventlog")]
        Service::EventLog(eventlog::Task::Once(job)) => passes(event_log(job, config)),
        // `config` refuses it in this build.
        #[cfg(not(feature = "eventlog"))]
        Service::EventLog(_) => false,
        Service::Healthcheck => healthcheck(&config.http).unwrap_or_else(|error| {
            eprintln!("no answer on port {}: {error}", config.http.probe_address().port());
            false
        }),
        Service::Migrate => passes(migrate(config)),
        Service::Replay(command) => passes(run_replay(command, config)),
        Service::DeadLetters(task) => passes(dead_letters(task, config)),
        Service::Keys(task) => passes(keys(task, config)),
        Service::Selftest => passes(run_selftest(config)),
        Service::Import(task) => {
            return transferred(transfer::import(task, config.transfer_token.clone(), &config.http));
        }
        Service::Export(task) => {
            return transferred(transfer::export(task, config.transfer_token.clone(), &config.http));
        }
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a transfer without a log. Its exit code tells a complete transfer from a partial one. A signal ends it at once: the
/// noted and sent part is enough to go on.
fn transferred(transfer: impl Future<Output = anyhow::Result<transfer::TransferOutcome>>) -> ExitCode {
    let outcome = runtime().map_err(Into::into).and_then(|runtime| {
        let outcome = runtime.block_on(transfer);
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(transfer::TransferOutcome::All) => ExitCode::SUCCESS,
        Ok(transfer::TransferOutcome::Some) => ExitCode::from(3),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether a command passed; the error of one that could not run goes to standard error.
fn passes(outcome: anyhow::Result<bool>) -> bool {
    outcome.unwrap_or_else(|error| {
        eprintln!("{error:#}");
        false
    })
}

/// Runs a service with logging. Returns whether it succeeded.
fn logged(
    config: Config,
    service: impl AsyncFnOnce(Config, Listeners, Shutdown) -> anyhow::Result<()>,
) -> bool {
    let started = telemetry::start(&config.log).context("logging cannot start");
    let remarks = config.remarks.clone();
    started
        .and_then(|_logs| {
            remarks.iter().for_each(|remark| log::log!(remark.level, "{}", remark.text));
            run(config, service).inspect_err(|error| log::error!("{error:#}"))
        })
        .is_ok()
}

fn run(
    mut config: Config,
    service: impl AsyncFnOnce(Config, Listeners, Shutdown) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let runtime = runtime()?;
    allow_descriptors(&config.http);
    let shutdown = stopped_by_signals(&config, config.drain_delay)?;
    runtime.spawn(allocator::return_memory(threads()));
    let outcome = runtime.block_on(async {
        let listeners = listen(&config.http).await?;
        // This is the last part of the stop: the rest has had three quarters of its time.
        let stop_timeout = config.http.stop_timeout / 4;
        let exporting = config.traces.take().map(Exporting::start);
        config.trace_with(exporting.as_ref().map(Exporting::tracer));
        let outcome = service(config, listeners, shutdown).await;
        if let Some(exporting) = exporting {
            exporting.finish(stop_timeout).await;
        }
        outcome
    });
    // Tasks that still run have had their time.
    runtime.shutdown_background();
    outcome
}

fn healthcheck(config: &http::Config) -> io::Result<bool> {
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(http::is_healthy(config))
}

/// Runs the selftest without logging, whose lines would be between those of the report.
fn run_selftest(config: Config) -> anyhow::Result<bool> {
    let runtime = runtime()?;
    let shutdown = stopped_by_signals(&config, Duration::ZERO)?;
    let passed = runtime.block_on(selftest::run(config, &shutdown, &mut io::stdout()));
    runtime.shutdown_background();
    Ok(passed)
}

/// Lists or redrives dead letters, without logging.
fn dead_letters(task: dead_letters::DlqCommand, config: Config) -> anyhow::Result<bool> {
    anyhow::ensure!(
        !config.embedded,
        "set KAFKA_BROKERS (a service with an embedded broker logs its address at its start)"
    );
    let runtime = runtime()?;
    let shutdown = stopped_by_signals(&config, Duration::ZERO)?;
    let outcome = runtime.block_on(dead_letters::cli::run(task, config.into(), &shutdown, &mut io::stdout()));
    runtime.shutdown_background();
    outcome
}

/// Processes the topic again, without logging.
fn run_replay(command: ReplayCommand, config: Config) -> anyhow::Result<bool> {
    let runtime = runtime()?;
    let shutdown = stopped_by_signals(&config, Duration::ZERO)?;
    let outcome = runtime.block_on(replay::run(command, config.into(), &shutdown, &mut io::stdout()));
    runtime.shutdown_background();
    outcome
}

/// Runs without a log: the output is for the caller.
fn keys(task: auth::cli::KeyCommand, config: Config) -> anyhow::Result<bool> {
    let file = config.api_keys_file.context("which keys? Set API_KEYS_FILE")?;
    auth::cli::run(task, &file, &mut io::stdout())?;
    Ok(true)
}

/// Brings the schema of the store's database up to date.
#[cfg(feature = "postgres")]
fn migrate(config: Config) -> anyhow::Result<bool> {
    let _logs = telemetry::start(&config.log).context("logging cannot start")?;
    let postgres = config.postgres.context("the database is not named: set STORE_URL")?;
    runtime()?.block_on(highwater::store::PostgresStore::migrate(&postgres))?;
    log::info!("the schema {} of the database is up to date", postgres.schema);
    Ok(true)
}

#[cfg(not(feature = "postgres"))]
fn migrate(_: Config) -> anyhow::Result<bool> {
    anyhow::bail!("this build has no PostgreSQL: build it with --features postgres")
}

/// The settings of the event log, which `config` reads if the event log is the service.
#[cfg(feature = "eventlog")]
fn settings_of_the_event_log(config: Config) -> anyhow::Result<eventlog::Config> {
    config.eventlog.context("these are not the settings of the event log")
}

/// Runs a task of the event log with logging. Returns whether it succeeded.
#[cfg(feature = "eventlog")]
fn event_log(job: eventlog::Job, config: Config) -> anyhow::Result<bool> {
    let _logs = telemetry::start(&config.log).context("logging cannot start")?;
    let runtime = runtime()?;
    let shutdown = stopped_by_signals(&config, Duration::ZERO)?;
    let settings = settings_of_the_event_log(config)?;
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = eventlog::perform(job, settings) => outcome.map(|()| true),
            () = shutdown.requested() => Ok(false),
        }
    });
    runtime.shutdown_background();
    outcome.or_else(|error| {
        log::error!("{error:#}");
        Ok(false)
    })
}

fn runtime() -> io::Result<Runtime> {
    // Without an explicit number, tokio would read an environment variable.
    runtime::Builder::new_multi_thread()
        .worker_threads(threads())
        .on_thread_park(allocator::collect_if_due)
        .enable_all()
        .build()
}

fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn stopped_by_signals(config: &Config, drain: Duration) -> anyhow::Result<Shutdown> {
    let shutdown = Shutdown::new();
    shutdown::watch_signals(shutdown.clone(), drain, config.shutdown_timeout)
        .context("cannot listen for signals")?;
    Ok(shutdown)
}

async fn listen(config: &http::Config) -> anyhow::Result<Listeners> {
    let clients = bind(config, config.port, "PORT, or what the service's own port is set by").await?;
    let probes = match config.ops_port {
        Some(port) => Some(bind(config, port, "OPS_PORT").await?),
        None => None,
    };
    let metrics = match config.metrics_port {
        Some(port) => Some(bind(config, port, "METRICS_PORT").await?),
        None => None,
    };
    if let Some(metrics) = &metrics {
        log::info!("/metrics is on http://{} alone", metrics.local_addr()?);
    }
    if let Some(probes) = &probes {
        log::info!("/health, /ready and /metrics are on http://{} as well", probes.local_addr()?);
    }
    Ok(Listeners { clients, probes, metrics })
}

/// Listens on this port. `setting` names it in errors.
async fn bind(config: &http::Config, port: u16, setting: &str) -> anyhow::Result<TcpListener> {
    let address = SocketAddr::from((config.host, port));
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => anyhow!("port {port} is taken: set {setting}"),
        io::ErrorKind::AddrNotAvailable => anyhow!("{} is no address of this machine: set HOST", config.host),
        io::ErrorKind::PermissionDenied => anyhow!("port {port} is privileged: set {setting}"),
        _ => anyhow!("{address} cannot be listened on: {error}"),
    })
}

/// File descriptors beside those of clients: connections to brokers, two per partition, the log, the runtime.
const OTHER_DESCRIPTORS: u64 = 1_024;

/// Raises the limit of file descriptors, of which each connection takes one. The usual soft limit of 1,024 protects users
/// of select(2); this program has none.
fn allow_descriptors(config: &http::Config) {
    let wanted = config.max_connections as u64 + OTHER_DESCRIPTORS;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    limit.current = Some(limit.maximum.map_or(wanted, |most| most.min(wanted)));
    let raised = setrlimit(Resource::Nofile, limit);
    if raised.is_err() || limit.current < Some(wanted) {
        let descriptors = getrlimit(Resource::Nofile).current;
        log::warn!(
            descriptors, wanted;
            "too few file descriptors for MAX_CONNECTIONS: raise the limit (ulimit -n) or lower it"
        );
    }
}
