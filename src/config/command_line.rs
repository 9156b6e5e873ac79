//! The command line: a subcommand for each service, and a flag for each setting.

use std::ffi::OsString;

use chrono::{DateTime, Utc};
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command};
use highwater_eventlog as eventlog;
use highwater_kafka::dead_letter::{DlqFilter, DlqPosition, RedriveSelection};
use highwater_web::{auth::cli as keys, dead_letters::DlqCommand, timestamp};

use super::{
    fault::Exit,
    key_commands, replay_command,
    table::{ALL, Description},
    transfer_commands,
};
use crate::{
    replay::ReplayCommand,
    transfer::{ExportTask, ImportTask},
};

/// The task of the process: a service to run, or a command about one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Service {
    /// User activity events, the default.
    Activity,
    /// Users: registered over REST and published as events.
    Users,
    /// Orders of users, whose events make them known.
    Orders,
    /// The event log, or a task of it.
    EventLog(eventlog::Task),
    /// Asks the running service for its health.
    Healthcheck,
    /// Tests the running activity service.
    Selftest,
    /// Brings the schema of the store's database up to date.
    Migrate,
    /// Processes the topic again.
    Replay(ReplayCommand),
    /// Lists or redrives dead letters.
    DeadLetters(DlqCommand),
    /// Changes or lists the file of API keys, and ends.
    Keys(keys::KeyCommand),
    /// Sends files of events to the running activity service.
    Import(ImportTask),
    /// Writes the events of the running activity service.
    Export(ExportTask),
}

impl Service {
    /// Whether the service reads this setting. Other settings are not checked.
    pub(super) fn reads(&self, variable: &str) -> bool {
        let group = ALL.iter().map(|setting| setting.describe()).find(|known| known.variable == variable);
        match (variable, group.map(|known| known.group)) {
            ("PORT", _) => {
                matches!(self, Self::Activity | Self::Healthcheck | Self::Selftest) || self.is_transfer()
            }
            ("USERS_PORT", _) => *self == Self::Users,
            ("ORDERS_PORT" | "ORDERS_GROUP_ID" | "ORDER_EVENTS_TOPIC", _) => *self == Self::Orders,
            (
                "BATCH_MAX_EVENTS" | "MAX_BATCH_BYTES" | "STREAM_PAUSE" | "EVENT_SCHEMAS"
                | "EVENT_SCHEMAS_MODE",
                _,
            ) => *self == Self::Activity,
            ("EVENT_TYPES", _) => matches!(self, Self::Activity | Self::Selftest),
            (_, Some("Store")) => {
                matches!(self, Self::Activity | Self::Selftest | Self::Migrate | Self::Replay(_))
            }
            ("KAFKA_TOPIC", _) if *self == Self::Migrate => true,
            (_, Some("Users and orders")) => matches!(self, Self::Users | Self::Orders),
            (_, Some("Event log")) => matches!(self, Self::EventLog(_)),
            (_, Some("Kafka" | "Producer" | "Consumer" | "Dead letters")) => {
                !matches!(self, Self::EventLog(_) | Self::Healthcheck | Self::Migrate | Self::Keys(_))
                    && !self.is_transfer()
            }
            ("TRANSFER_TOKEN", _) => self.is_transfer(),
            ("SELFTEST_TOKEN", _) => *self == Self::Selftest,
            ("API_KEYS_FILE", _) => self.serves() || matches!(self, Self::Keys(_)),
            (_, Some("Access" | "Traces")) => self.serves(),
            _ => !matches!(self, Self::Keys(_)),
        }
    }

    /// Whether it transfers events between files and a running service.
    pub(super) fn is_transfer(&self) -> bool {
        matches!(self, Self::Import(_) | Self::Export(_))
    }

    /// Whether it answers requests.
    pub(super) fn serves(&self) -> bool {
        let is_event_log = *self == Self::EventLog(eventlog::Task::Serve);
        is_event_log || matches!(self, Self::Activity | Self::Users | Self::Orders)
    }
}

const SERVICES: [(&str, Service, &str); 6] = [
    (
        "activity",
        Service::Activity,
        "Takes user activity events in over REST and answers queries about them (the default)",
    ),
    ("users", Service::Users, "Registers users over REST, and publishes them as events"),
    ("orders", Service::Orders, "Takes orders of registered users over REST, and keeps their status"),
    (
        "healthcheck",
        Service::Healthcheck,
        "Asks the service that runs with the same settings for its /health; exit code 0 or 1",
    ),
    (
        "migrate",
        Service::Migrate,
        "Makes the database at STORE_URL what the activity service needs, and ends",
    ),
    (
        "selftest",
        Service::Selftest,
        "Tests the service that runs with the same settings, and a second one; exit code 0 or 1",
    ),
];

/// A parsed command line.
pub(super) struct CommandLine {
    pub(super) service: Service,
    flags: ArgMatches,
}

impl CommandLine {
    /// Reads the arguments, the first of which is the program's name.
    pub(super) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, Exit> {
        let mut matches = command().try_get_matches_from(args).map_err(transfer_commands::without_url)?;
        // A flag may precede or follow the service; the subcommand's matches contain both.
        let (service, flags) = match matches.remove_subcommand() {
            Some((name, mut inner)) if name == DEAD_LETTERS => {
                let (task, flags) = inner.remove_subcommand().unwrap_or((LIST.to_owned(), inner));
                (Service::DeadLetters(task_of(&task, &flags)), flags)
            }
            Some((name, flags)) if name == replay_command::REPLAY => {
                (Service::Replay(replay_command::of(&flags)), flags)
            }
            Some((name, mut inner)) if name == key_commands::KEYS => {
                let (task, flags) = inner.remove_subcommand().unwrap_or((String::new(), inner));
                (Service::Keys(key_commands::task_of(&task, &flags)), flags)
            }
            Some((name, flags)) if name == transfer_commands::IMPORT => {
                (Service::Import(transfer_commands::import_of(&flags)), flags)
            }
            Some((name, flags)) if name == transfer_commands::EXPORT => {
                (Service::Export(transfer_commands::export_of(&flags)), flags)
            }
            Some((name, mut inner)) if name == EVENT_LOG => match inner.remove_subcommand() {
                Some((task, flags)) if task == SWEEP => {
                    let from = flags.get_one::<DateTime<Utc>>("from").copied();
                    (Service::EventLog(eventlog::Task::Once(eventlog::Job::Sweep { from })), flags)
                }
                Some((_, flags)) => (Service::EventLog(eventlog::Task::Once(eventlog::Job::Migrate)), flags),
                None => (Service::EventLog(eventlog::Task::Serve), inner),
            },
            Some((name, flags)) => {
                let named = SERVICES.iter().find(|(known, ..)| *known == name);
                (named.map_or(Service::Activity, |(_, service, _)| service.clone()), flags)
            }
            None => (Service::Activity, matches),
        };
        Ok(Self { service, flags })
    }

    /// The value of the setting's flag.
    pub(super) fn flag(&self, variable: &str) -> Option<&str> {
        self.flags.get_one::<String>(variable).map(String::as_str)
    }
}

fn command() -> Command {
    let services = SERVICES.iter().map(|(name, _, about)| Command::new(*name).about(*about));
    let settings = ALL.iter().map(|setting| setting.describe()).enumerate();
    Command::new("highwater")
        .bin_name("highwater")
        .disable_help_subcommand(true)
        .version(env!("CARGO_PKG_VERSION"))
        .about("Takes events in over REST, carries them through Kafka, stores each once and answers queries")
        .after_help(
            "Each setting is read from its flag, else from the environment variable in the angle brackets,\n\
             else from the file .env in the working directory, else it has its default. An empty value\n\
             counts as none.",
        )
        .subcommand_value_name("SERVICE")
        .subcommand_help_heading("Services")
        .subcommands(services)
        .subcommand(event_log())
        .subcommand(replay_command::command())
        .subcommand(dead_letters())
        .subcommand(key_commands::command())
        .subcommand(transfer_commands::import())
        .subcommand(transfer_commands::export())
        .args(settings.map(|(order, setting)| arg(order, setting)))
}

const DEAD_LETTERS: &str = "dead-letters";
const LIST: &str = "list";
const REDRIVE: &str = "redrive";
/// The heading of their options. "Dead letters" is that of the settings.
const SELECTION: &str = "Selection of dead letters";

fn dead_letters() -> Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name(value)
            .help(help)
            .help_heading(SELECTION)
            .display_order(0)
            .allow_hyphen_values(true)
    };
    let list = Command::new(LIST)
        .about("Lists dead letters, the newest first, as one line of JSON each")
        .arg(option("reason", "TEXT", "Only those whose reason contains this text"))
        .arg(
            option("partition", "NUMBER", "Only those of records of this partition")
                .value_parser(clap::value_parser!(i32).range(0..)),
        )
        .arg(option("key", "TEXT", "Only those with this key"))
        .arg(
            option("from", "TIME", "Only those written at this time or later").value_parser(timestamp::parse),
        )
        .arg(option("to", "TIME", "Only those written before this time").value_parser(timestamp::parse))
        .arg(option("limit", "NUMBER", "At most this many").value_parser(clap::value_parser!(usize)));
    let redrive = Command::new(REDRIVE)
        .about("Sends dead letters back to their topic; exit code 0 when all of them were")
        .arg(
            Arg::new("all")
                .long("all")
                .help("All of them")
                .help_heading(SELECTION)
                .display_order(0)
                .action(ArgAction::SetTrue),
        )
        .arg(option("reason", "TEXT", "Those whose reason contains this text"))
        .arg(
            option(
                "position",
                "PARTITION/OFFSET",
                "The one at this position of the dead letter topic; may be repeated",
            )
            .action(ArgAction::Append)
            .value_parser(position),
        )
        .group(ArgGroup::new("which").args(["all", "reason", "position"]).required(true));
    Command::new(DEAD_LETTERS)
        .about("Lists dead letters, or sends them back")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(list)
        .subcommand(redrive)
}

const EVENT_LOG: &str = "eventlog";
const SWEEP: &str = "sweep";

fn event_log() -> Command {
    let from = Arg::new("from")
        .long("from")
        .value_name("TIME")
        .help("Events recorded at this time or later, instead of those since the last sweep")
        .help_heading("Sweep")
        .display_order(0)
        .allow_hyphen_values(true)
        .value_parser(timestamp::parse);
    Command::new(EVENT_LOG)
        .about("Records users' events over REST in SQL Server and DynamoDB (needs the feature eventlog)")
        .disable_help_subcommand(true)
        .subcommand(Command::new(SWEEP).about("Completes events that a crash left half recorded").arg(from))
        .subcommand(Command::new("migrate").about("Creates or migrates the schema of both databases"))
}

fn task_of(task: &str, flags: &ArgMatches) -> DlqCommand {
    let text = |name: &str| flags.get_one::<String>(name).cloned();
    if task == LIST {
        let timestamp = |name: &str| flags.get_one::<DateTime<Utc>>(name).copied();
        let filter = DlqFilter {
            reason: text("reason"),
            source_partition: flags.get_one("partition").copied(),
            key: text("key"),
            from: timestamp("from"),
            to: timestamp("to"),
        };
        return DlqCommand::List { filter, limit: flags.get_one("limit").copied() };
    }
    DlqCommand::Redrive(match (text("reason"), flags.get_many("position")) {
        (Some(reason), _) => RedriveSelection::Reason(reason),
        (None, Some(positions)) => RedriveSelection::Positions(positions.copied().collect()),
        (None, None) => RedriveSelection::All,
    })
}

fn position(text: &str) -> Result<DlqPosition, &'static str> {
    let number = |text: &str| text.parse::<u32>().ok();
    let parsed = text.split_once('/').and_then(|(partition, offset)| {
        Some(DlqPosition {
            partition: i32::try_from(number(partition)?).ok()?,
            offset: offset.parse().ok().filter(|offset| *offset >= 0)?,
        })
    });
    parsed.ok_or("a position is written as PARTITION/OFFSET, such as 0/12")
}

fn arg(order: usize, setting: Description) -> Arg {
    let default = match setting.default {
        "" => String::new(),
        default => format!("[default: {default}] "),
    };
    Arg::new(setting.variable)
        .long(setting.flag)
        .value_name(setting.variable)
        .help(format!("{}\n{default}{}", setting.sentence, setting.allowed))
        .help_heading(setting.group)
        .display_order(order)
        // A value that begins with a dash is reported as a fault of the setting.
        .allow_hyphen_values(true)
        .global(true)
}
