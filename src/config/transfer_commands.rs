//! The command lines of `highwater import` and `highwater export`.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{
    Arg, ArgAction, ArgMatches, Command,
    error::{ContextKind, ContextValue, ErrorKind},
    value_parser,
};
use highwater_net::client::Url;
use highwater_web::timestamp;

use crate::transfer::{ExportTask, ImportTask};

pub(super) const IMPORT: &str = "import";
pub(super) const EXPORT: &str = "export";

fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(value)
        .help(help)
        .help_heading("Transfer")
        .display_order(0)
        .allow_hyphen_values(true)
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).help_heading("Transfer").display_order(0).action(ArgAction::SetTrue)
}

fn url() -> Arg {
    let help = "The service, such as https://events.example; without, the one with the same settings";
    option("url", "URL", help)
        .value_parser(|text: &str| Url::parse(text).ok_or("must be a URL of http or https, without a user"))
}

/// An error that does not show a refused URL, which may have a password in it.
pub(super) fn without_url(mut error: clap::Error) -> clap::Error {
    let argument = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    if error.kind() == ErrorKind::ValueValidation && argument.starts_with("--url") {
        error.insert(ContextKind::InvalidValue, ContextValue::String("…".to_owned()));
    }
    error
}

pub(super) fn import() -> Command {
    Command::new(IMPORT)
        .about("Sends files of events to the running activity service; exit code 0 when all are stored, 3 when some")
        .arg(
            Arg::new("files")
                .value_name("FILE")
                .help("Files of an event a line, plain or in gzip or zstd; - is standard input")
                .help_heading("Transfer")
                .num_args(1..)
                .required(true)
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(switch("resume", "Goes on where the last import with --resume of these files was (FILE.imported)"))
        .arg(url())
}

pub(super) fn export() -> Command {
    Command::new(EXPORT)
        .about(
            "Writes the events of the running activity service, a line each; exit code 3 when it has not all",
        )
        .arg(
            option(
                "output",
                "FILE",
                "The file, packed where its name ends with .gz or .zst; without, standard output",
            )
            .value_parser(value_parser!(PathBuf)),
        )
        .arg(switch("resume", "Goes on where the last export with --resume to this file was (FILE.next)"))
        .arg(url())
        .arg(option("user-id", "TEXT", "Only those of this user"))
        .arg(option("event-type", "TEXT", "Only those of this type, in any case"))
        .arg(
            option("from", "TIME", "Only those that happened at this time or later")
                .value_parser(timestamp::parse),
        )
        .arg(option("to", "TIME", "Only those that happened before this time").value_parser(timestamp::parse))
        .arg(option("order", "ORDER", "asc, the order of processing, or desc").value_parser(["asc", "desc"]))
        .arg(option("limit", "NUMBER", "At most this many").value_parser(value_parser!(u64)))
}

pub(super) fn import_of(flags: &ArgMatches) -> ImportTask {
    ImportTask {
        files: flags.get_many("files").into_iter().flatten().cloned().collect(),
        resume: flags.get_flag("resume"),
        url: flags.get_one("url").cloned(),
    }
}

pub(super) fn export_of(flags: &ArgMatches) -> ExportTask {
    let text = |name: &str| flags.get_one::<String>(name).cloned();
    let time = |name: &str| flags.get_one::<DateTime<Utc>>(name).map(timestamp::format);
    let filters = [
        ("userId", text("user-id")),
        ("eventType", text("event-type")),
        ("from", time("from")),
        ("to", time("to")),
        ("order", text("order")),
    ];
    ExportTask {
        output: flags.get_one("output").cloned(),
        resume: flags.get_flag("resume"),
        url: flags.get_one("url").cloned(),
        filters: filters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
        limit: flags.get_one("limit").copied(),
    }
}
