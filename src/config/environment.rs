//! The sources of settings: the process's environment and the file `.env`. Nothing else reads either.

use std::{ffi::OsString, fs, io};

#[cfg(feature = "lambda")]
use highwater_eventlog::Task;

use super::{Environment, Invocation, Service, args_of_service, fault::Exit, memory_limit, parse};

/// Reads the configuration of this process: its arguments, its environment, and `.env` in its directory.
pub fn from_process() -> Result<Invocation, Exit> {
    let dotenv = match fs::read_to_string(".env") {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Exit::unreadable(format_args!(".env cannot be read: {error}"))),
    };
    let args: Vec<OsString> = std::env::args_os().collect();
    let environment = environment();
    let mut invocation = parse(args.iter().cloned(), &environment, &dotenv)?;
    let http = &mut invocation.config.http;
    if http.max_bytes.is_none()
        && let Some(limit) = memory_limit(|path| fs::read_to_string(path).ok())
    {
        // The rest is for stored events, for records that wait for Kafka, and for the program itself.
        http.max_bytes = usize::try_from(limit / 5).ok();
    }
    if invocation.service == Service::Healthcheck
        && let [own, _] = &args[..]
        && let Some(args) = fs::read("/proc/1/cmdline").ok().and_then(|first| args_of_service(own, &first))
        && let Ok(service) = parse(args, &environment, &dotenv)
    {
        invocation.config.http = service.config.http;
    }
    Ok(invocation)
}

/// Reads the configuration of a Lambda function. Its Handler names the task; its environment has all settings.
///
/// # Errors
///
/// As [`parse`], or an unknown Handler.
#[cfg(feature = "lambda")]
pub fn from_lambda() -> Result<(Task, super::Config), Exit> {
    let environment = environment();
    let args: &[&str] = match environment.get("_HANDLER").map_or("", String::as_str) {
        "http" => &["bootstrap", "eventlog"],
        "sweep" => &["bootstrap", "eventlog", "sweep"],
        "migrate" => &["bootstrap", "eventlog", "migrate"],
        _ => return Err(Exit::unreadable("the function's Handler must be http, sweep or migrate")),
    };
    let Invocation { service, config } = parse(args.iter().map(OsString::from), &environment, "")?;
    match service {
        super::Service::EventLog(task) => Ok((task, config)),
        _ => Err(Exit::unreadable("the arguments name the event log")),
    }
}

/// The variables of the environment. A value that is not UTF-8 contains U+FFFD, which no setting takes.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn environment() -> Environment {
    let text = |text: OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect()
}

/// The variables of a `.env` file. If two lines set a variable, the first counts.
pub(super) fn dotenv(text: &str) -> Result<Environment, Exit> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut variables = Environment::new();
    for line in dotenvy::from_read_iter(text.as_bytes()) {
        let (name, value) = line.map_err(|error| Exit::unreadable(describe(&error, text)))?;
        variables.entry(name).or_insert(value);
    }
    Ok(variables)
}

/// The line at fault. Its text may contain a secret and is not shown.
fn describe(error: &dotenvy::Error, text: &str) -> String {
    match error {
        dotenvy::Error::LineParse(line, _) => {
            let before = text.find(line.as_str()).map_or(text, |at| &text[..at]);
            let number = before.matches('\n').count() + 1;
            let expansion = if line.contains('$') {
                ". A $ begins a variable's name unless it stands in single quotes or after a backslash"
            } else {
                ""
            };
            format!(
                ".env is malformed at line {number}: each line is NAME=value, a comment or empty{expansion}"
            )
        }
        error => format!(".env cannot be read: {error}"),
    }
}
