//! The command line, made from the table: which service, and a flag for each setting.

use std::ffi::OsString;

use clap::{Arg, ArgMatches, Command};

use super::{
    fault::Exit,
    table::{ALL, Description},
};

/// What this binary does: a service that it runs, or a question about one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// User activity events; also what runs when no service is named.
    Activity,
    /// Asks the service of these settings how it is, and ends.
    Healthcheck,
    /// Tries the activity service of these settings, and ends.
    Selftest,
}

const SERVICES: [(&str, Service, &str); 3] = [
    (
        "activity",
        Service::Activity,
        "Takes user activity events in over REST and answers queries about them (the default)",
    ),
    (
        "healthcheck",
        Service::Healthcheck,
        "Asks the service running with the same settings for its /health; exit code 0 or 1",
    ),
    (
        "selftest",
        Service::Selftest,
        "Tries the service running with the same settings, and all of a second one; exit code 0 or 1",
    ),
];

/// What the command line says.
pub(super) struct CommandLine {
    pub(super) service: Service,
    flags: ArgMatches,
}

impl CommandLine {
    /// Reads the arguments, the first of which is the program's name.
    pub(super) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, Exit> {
        let mut matches = command().try_get_matches_from(args)?;
        // A flag may stand before the service or after it: the service's own matches have both.
        let (service, flags) = match matches.remove_subcommand() {
            Some((name, flags)) => {
                let named = SERVICES.iter().find(|(known, ..)| *known == name);
                (named.map_or(Service::Activity, |(_, service, _)| *service), flags)
            }
            None => (Service::Activity, matches),
        };
        Ok(Self { service, flags })
    }

    /// What the setting's flag says.
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
        .about("Events in over REST, through Kafka, stored each once, out over REST")
        .after_help(
            "Each setting is read from its flag, else from the environment variable in the angle brackets,\n\
             else from the file .env in the working directory, else it has its default. An empty value\n\
             counts as none.",
        )
        .subcommand_value_name("SERVICE")
        .subcommand_help_heading("Services")
        .subcommands(services)
        .args(settings.map(|(order, setting)| arg(order, setting)))
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
        // A value that begins with a dash is the setting's own fault, told by its name.
        .allow_hyphen_values(true)
        .global(true)
}
