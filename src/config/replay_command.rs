//! The command line of `highwater replay`.

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command};
use highwater_kafka::security::Secret;

use crate::replay::{Bound, ReplayCommand, Target};

pub(super) const REPLAY: &str = "replay";

pub(super) fn command() -> Command {
    let argument = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).help(help).help_heading("Replay").display_order(0)
    };
    let value =
        |name, value: &'static str, help| argument(name, help).value_name(value).allow_hyphen_values(true);
    let flag = |name, help| argument(name, help).action(ArgAction::SetTrue);
    Command::new(REPLAY)
        .about("Processes the topic again, from a time or an offset, or into another schema; each event is stored once")
        .arg(
            value("from", "WHERE", "The first record: earliest, a time, or PARTITION/OFFSET with commas between several")
                .value_parser(bound),
        )
        .arg(
            value("to", "WHERE", "The record after the last, as --from names it; without, where the service is now")
                .value_parser(bound)
                .requires("from")
                .conflicts_with("into"),
        )
        .arg(value(
            "into",
            "SCHEMA",
            "Reads all of the topic into that schema, or into the database at that URL, while the service goes on",
        ))
        .arg(
            flag("swap", "Puts that schema in the place of STORE_SCHEMA, without a restart of the service")
                .requires("into")
                .conflicts_with("from"),
        )
        .arg(
            flag("allow-loss", "Swaps also where the topic no longer has all that STORE_SCHEMA has").requires("swap").conflicts_with("from"),
        )
        .arg(flag("dry-run", "Changes nothing, and prints a line for each partition"))
        .group(ArgGroup::new("what").args(["from", "into"]).required(true))
}

pub(super) fn of(flags: &ArgMatches) -> ReplayCommand {
    let dry_run = flags.get_flag("dry-run");
    let bound = |name| flags.get_one::<Bound>(name).cloned();
    match flags.get_one::<String>("into") {
        Some(into) => ReplayCommand::Fill {
            into: if into.contains("://") {
                Target::Url(Secret::new(into.clone()))
            } else {
                Target::Schema(into.clone())
            },
            swap: flags.get_flag("swap").then(|| flags.get_flag("allow-loss")),
            dry_run,
        },
        None => {
            ReplayCommand::Rewind { from: bound("from").unwrap_or(Bound::Earliest), to: bound("to"), dry_run }
        }
    }
}

fn bound(text: &str) -> Result<Bound, &'static str> {
    text.parse()
}
