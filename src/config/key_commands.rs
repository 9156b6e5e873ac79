//! The command line of `highwater keys`.

use std::{num::NonZeroU32, time::Duration};

use clap::{Arg, ArgAction, ArgMatches, Command};
use highwater_web::auth::{Scope, cli::KeyCommand};

use super::values::{Durations, Values as _};

pub(super) const KEYS: &str = "keys";
const ADD: &str = "add";
const LIST: &str = "list";
const REVOKE: &str = "revoke";

/// The longest validity of a key that expires.
const LONGEST: Duration = Duration::from_secs(3_650 * 24 * 60 * 60);

pub(super) fn command() -> Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name(value)
            .help(help)
            .help_heading("Keys")
            .display_order(0)
            .allow_hyphen_values(true)
    };
    let name = || option("name", "NAME", "Who has the key").required(true);
    let add = Command::new(ADD)
        .about("Makes a key and prints it, once; the file has its hash")
        .arg(name())
        .arg(
            option(
                "scopes",
                "SCOPES",
                "What its holder may, with commas between: events:write, events:read, …",
            )
            .required(true)
            .action(ArgAction::Append)
            .value_delimiter(',')
            .value_parser(scope),
        )
        .arg(
            option("expires", "TIME", "How long it is valid, such as 90d; without, until it is revoked")
                .value_parser(validity),
        )
        .arg(
            option("requests-per-second", "NUMBER", "What its holder may send, in place of LIMIT_CLIENT")
                .value_parser(clap::value_parser!(NonZeroU32)),
        )
        .arg(
            option("events-per-second", "NUMBER", "The same in events")
                .value_parser(clap::value_parser!(NonZeroU32)),
        );
    Command::new(KEYS)
        .about("Makes API keys in API_KEYS_FILE, lists and revokes them")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(add)
        .subcommand(Command::new(LIST).about("Tells of each key what is known of it, a line of JSON each"))
        .subcommand(Command::new(REVOKE).about("Takes a key out of the file").arg(name()))
}

pub(super) fn task_of(task: &str, flags: &ArgMatches) -> KeyCommand {
    let name = || flags.get_one::<String>("name").cloned().unwrap_or_default();
    match task {
        ADD => KeyCommand::Add {
            name: name(),
            scopes: flags.get_many("scopes").into_iter().flatten().copied().collect(),
            expires: flags.get_one("expires").copied(),
            requests_per_second: flags.get_one("requests-per-second").copied(),
            events_per_second: flags.get_one("events-per-second").copied(),
        },
        REVOKE => KeyCommand::Revoke { name: name() },
        _ => KeyCommand::List,
    }
}

fn scope(text: &str) -> Result<Scope, String> {
    let known = || Scope::ALL.map(Scope::name).join(", ");
    text.trim().parse().map_err(|()| format!("a scope is one of {}", known()))
}

fn validity(text: &str) -> Result<Duration, String> {
    let times = Durations::from(Duration::from_secs(1)).to(LONGEST);
    times.parse(text).ok_or_else(|| format!("must be {}", times.allowed()))
}
