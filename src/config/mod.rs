//! All settings, with their variables and defaults.
//!
//! [`settings`] describes them. [`parse`] reads a [`Config`] from a command line, an environment and a `.env` file, or
//! reports all faults at once. Each crate owns the type of its settings and knows no variable. This module alone reads the
//! environment.

mod auth;
mod checks;
mod command_line;
mod container;
mod environment;
mod eventlog;
mod fault;
mod https;
mod kafka;
mod key_commands;
mod platform;
mod reader;
mod replay_command;
mod schemas;
mod secret;
mod security;
mod server;
mod setting;
#[cfg(feature = "postgres")]
mod store;
mod table;
mod traces;
mod transfer_commands;
mod unknown;
mod values;

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf, time::Duration};

use highwater_commerce::StateConfig;
use highwater_kafka::{ClusterConfig, ConsumerConfig, ProducerConfig, TopicConfig, security::Secret};
use highwater_web::{
    dead_letters, http,
    trace::{TraceConfig, Tracer},
};

pub use command_line::Service;
pub use container::{args_of_service, memory_limit};
#[cfg(feature = "lambda")]
pub use environment::from_lambda;
pub use environment::from_process;
pub use fault::Exit;
pub use platform::is_of_a_service;
pub use setting::Description;

use crate::{activity, replay, store as stores, telemetry};
use command_line::CommandLine;
use reader::SettingsReader;

/// The service to run and its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The service to run.
    pub service: Service,
    /// Its settings.
    pub config: Config,
}

/// The settings of a process, each within its bounds and consistent with the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The Kafka cluster. `brokers` is empty until the embedded broker has started, if that is used.
    pub kafka: ClusterConfig,
    /// Whether Kafka is the embedded broker, as without KAFKA_BROKERS.
    pub embedded: bool,
    /// The topic of the events.
    pub topic: TopicConfig,
    /// The topic of records that cannot be processed.
    pub dead_letter_topic: TopicConfig,
    /// The producer.
    pub producer: ProducerConfig,
    /// The consumer.
    pub consumer: ConsumerConfig,
    /// The HTTP server.
    pub http: http::Config,
    /// The store of events in memory.
    pub store: stores::Config,
    /// The time for which an event stays in either store; `None` sets no bound.
    pub store_retention: Option<Duration>,
    /// The database of events, in place of memory.
    #[cfg(feature = "postgres")]
    pub postgres: Option<stores::PostgresConfig>,
    /// Access to dead letters, and the limit of redrives.
    pub dead_letters: dead_letters::Config,
    /// The activity service.
    pub activity: activity::Config,
    /// The state of users and orders.
    pub state: StateConfig,
    /// The event log, if that is the service.
    pub eventlog: Option<highwater_eventlog::Config>,
    /// The file of API keys, for `highwater keys`.
    pub api_keys_file: Option<PathBuf>,
    /// The credential of the selftest.
    pub selftest_token: Option<Secret>,
    /// The credential of `import` and `export`.
    pub transfer_token: Option<Secret>,
    /// The destination of the spans of traces; `None` makes no spans.
    pub traces: Option<TraceConfig>,
    /// Logging.
    pub log: telemetry::Config,
    /// The time for which a stopping service keeps serving while it is not ready.
    pub drain_delay: Duration,
    /// The longest time of a graceful stop, `drain_delay` included.
    pub shutdown_timeout: Duration,
    /// Remarks about the variables, to be logged once logging has started.
    pub remarks: Vec<Remark>,
}

impl Config {
    /// Makes this tracer trace all requests and records.
    pub fn trace_with(&mut self, tracer: Option<Tracer>) {
        if let Some(eventlog) = &mut self.eventlog {
            eventlog.http.tracer.clone_from(&tracer);
        }
        self.http.tracer = tracer;
    }
}

/// A remark about a variable that does not prevent the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The level to log it at.
    pub level: log::Level,
    /// The text, without any value.
    pub text: String,
}

/// Variables and their values.
pub type Environment = BTreeMap<String, String>;

impl From<Config> for replay::Config {
    fn from(config: Config) -> Self {
        let Config { kafka, topic, consumer, .. } = config;
        Self {
            kafka,
            topic: topic.name,
            group_id: consumer.group_id,
            fetch_max_bytes: consumer.fetch_max_bytes,
            #[cfg(feature = "postgres")]
            postgres: config.postgres,
        }
    }
}

impl From<Config> for highwater_commerce::Config {
    fn from(config: Config) -> Self {
        let Config { kafka, embedded, producer, consumer, http, state, dead_letters, .. } = config;
        Self { kafka, embedded, producer, consumer, http, admin: dead_letters.admin, state }
    }
}

impl From<Config> for dead_letters::cli::Settings {
    fn from(config: Config) -> Self {
        let Config { kafka, topic, dead_letter_topic, producer, consumer, dead_letters, .. } = config;
        Self { kafka, topic, dead_letter_topic, producer, consumer, redrive_max: dead_letters.redrive_max }
    }
}

/// Every setting, in the order of `--help`.
pub fn settings() -> impl Iterator<Item = Description> {
    table::ALL.iter().map(|setting| setting.describe())
}

/// Reads a configuration. A flag overrides the environment, which overrides the text of a `.env` file, which overrides the
/// default. An empty variable counts as unset, an empty flag as the default. Variables that Kubernetes makes of Services'
/// names are ignored, and settings that the service does not read are not checked.
///
/// # Errors
///
/// The help or the version if asked for; else all faults, by variable.
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    environment: &Environment,
    dotenv: &str,
) -> Result<Invocation, Exit> {
    let command_line = CommandLine::parse(args)?;
    if cfg!(not(feature = "eventlog")) && matches!(command_line.service, Service::EventLog(_)) {
        return Err(Exit::unreadable("this build has no event log: build it with --features eventlog"));
    }
    let file = environment::dotenv(dotenv)?;
    let service = command_line.service.clone();
    let (given, remarks) = given(environment, &file);
    let of_kafka = given.keys().find(|name| unknown::is_of_kafka(name) && !platform::is_kafkas_own(name));
    let value = |variable: &str| {
        let flag = command_line.flag(variable).map(str::to_owned);
        flag.or_else(|| given.get(variable).map(|value| (*value).to_owned()))
    };
    let mut reader = SettingsReader::new(value, service.clone());
    let mut config = Config { remarks, ..read(&mut reader, &service) };
    config.remarks.extend(https::remark(&config.http));
    checks::check_server(&config, &mut reader);
    // A healthcheck and a transfer need the address of the service alone; the event log, a migration and `keys` use no Kafka.
    if config.eventlog.is_none()
        && !matches!(service, Service::Healthcheck | Service::Migrate | Service::Keys(_))
        && !service.is_transfer()
    {
        checks::check_kafka(&config, &service, of_kafka, &mut reader);
        checks::check(&config, &service, &mut reader);
    }
    reader.finish()?;
    Ok(Invocation { service, config })
}

/// The variables with a value, of the environment or else of the file, and remarks about them.
fn given<'a>(
    environment: &'a Environment,
    file: &'a Environment,
) -> (BTreeMap<&'a str, &'a str>, Vec<Remark>) {
    let (mut given, mut remarks) = (BTreeMap::new(), Vec::new());
    for (name, value) in environment.iter().chain(file).filter(|(_, value)| !value.trim().is_empty()) {
        if given.contains_key(name.as_str()) {
            continue;
        }
        if is_of_a_service(name, value) {
            let text = format!("{name} is made of a Service's name by Kubernetes: ignored");
            remarks.push(Remark { level: log::Level::Debug, text });
            continue;
        }
        if let Some(nearest) = unknown::nearest(name).filter(|_| !platform::is_kafkas_own(name)) {
            let text = format!("{name} is not a setting and has no effect: is {nearest} meant?");
            remarks.push(Remark { level: log::Level::Warn, text });
        }
        given.insert(name.as_str(), value.as_str());
    }
    (given, remarks)
}

/// Reads all settings. A faulty one is reported and replaced by its default.
fn read(reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>, service: &Service) -> Config {
    let port = reader.value(&table::PORT);
    let (users_port, orders_port) = (reader.value(&table::USERS_PORT), reader.value(&table::ORDERS_PORT));
    let group_id = reader.value(&table::KAFKA_GROUP_ID);
    let orders_group_id = reader.value(&table::ORDERS_GROUP_ID);
    let max_body_bytes = reader.value(&table::MAX_BODY_BYTES);
    let eventlog_port = reader.value(&table::EVENTLOG_PORT);
    let eventlog_max_body_bytes = reader.value(&table::EVENTLOG_MAX_BODY_BYTES);
    let (port, group_id, max_body_bytes) = match service {
        Service::Users => (users_port, group_id, max_body_bytes),
        Service::Orders => (orders_port, orders_group_id, max_body_bytes),
        Service::EventLog(_) => (eventlog_port, group_id, eventlog_max_body_bytes),
        _ => (port, group_id, max_body_bytes),
    };
    let own = server::OwnSettings { host: reader.value(&table::HOST), port, max_body_bytes };
    let admin = secret::admin(reader);
    let (drain_delay, shutdown_timeout) =
        (reader.value(&table::DRAIN_DELAY), reader.value(&table::SHUTDOWN_TIMEOUT));
    // Half of the time after the drain, so that the rest of the stop has time, too.
    let stop_timeout = shutdown_timeout.saturating_sub(drain_delay) / 2;
    let http = server::read(reader, service, own, admin.is_some(), stop_timeout);
    let activity = activity(reader, service, &http);
    let (kafka, embedded) = kafka::cluster(reader);
    let (topic, dead_letter_topic) = kafka::topics(reader);
    #[cfg(feature = "postgres")]
    let postgres = store::read(reader, &topic.name);
    #[cfg(not(feature = "postgres"))]
    checks::check_without_postgres(reader);
    let dead_letters = dead_letters::Config { admin, redrive_max: reader.value(&table::REDRIVE_MAX) };
    let state = state(reader, &topic);
    let eventlog = matches!(service, Service::EventLog(_)).then(|| eventlog::read(reader, http.clone()));
    Config {
        kafka,
        embedded,
        topic,
        dead_letter_topic,
        dead_letters,
        producer: kafka::producer(reader),
        consumer: kafka::consumer(reader, group_id),
        http,
        store: stores::Config {
            max_events: reader.value(&table::STORE_MAX_EVENTS),
            max_bytes: reader.value(&table::STORE_MAX_BYTES),
        },
        store_retention: reader.value(&table::STORE_RETENTION),
        #[cfg(feature = "postgres")]
        postgres,
        activity,
        state,
        eventlog,
        api_keys_file: reader.value(&table::API_KEYS_FILE),
        selftest_token: reader.value(&table::SELFTEST_TOKEN),
        transfer_token: reader.value(&table::TRANSFER_TOKEN),
        traces: traces::read(reader, service),
        log: telemetry::Config {
            filter: reader.value(&table::RUST_LOG),
            format: reader.value(&table::LOG_FORMAT),
        },
        drain_delay,
        shutdown_timeout,
        remarks: Vec::new(),
    }
}

/// The settings of the activity service.
fn activity(
    reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>,
    service: &Service,
    http: &http::Config,
) -> activity::Config {
    activity::Config {
        event_types: reader.value(&table::EVENT_TYPES),
        batch: activity::PostedBatchLimits {
            max_events: reader.value(&table::BATCH_MAX_EVENTS),
            max_bytes: reader.value(&table::MAX_BATCH_BYTES).max(http.max_body_bytes),
            pause: reader.value(&table::STREAM_PAUSE),
        },
        schemas: schemas::read(reader, service),
        max_event_streams: reader
            .value(&table::MAX_EVENT_STREAMS)
            .unwrap_or_else(|| http.max_connections.div_ceil(2)),
        logged_events: reader.value(&table::LOG_EVENTS),
    }
}

/// The settings of the state of users and orders. Its topics are as the topic of events is, but for these.
fn state(reader: &mut SettingsReader<impl Fn(&str) -> Option<String>>, topic: &TopicConfig) -> StateConfig {
    let (users_topic, orders_topic) =
        (reader.value(&table::USER_EVENTS_TOPIC), reader.value(&table::ORDER_EVENTS_TOPIC));
    let partitions = reader.value(&table::STATE_PARTITIONS);
    let state_topic = |name| topic.clone().with_name(name).with_partitions(partitions).with_retention(None);
    StateConfig {
        users: state_topic(users_topic),
        orders: state_topic(orders_topic),
        max_bytes: reader.value(&table::STATE_MAX_BYTES),
    }
}
