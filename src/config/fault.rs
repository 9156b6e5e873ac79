//! Faults of a configuration, and the exit of a process that does not start.

use std::{
    fmt,
    io::{self, Write as _},
    process::ExitCode,
};

use super::setting::flag;

/// The most characters of a faulty value that are shown.
const SHOWN: usize = 120;

/// A fault of one setting, or of several together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// The faulty settings, with their given or default values.
    pub(super) settings: Vec<(&'static str, String)>,
    /// The rule that is broken, as a clause.
    pub(super) rule: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (variable, value)) in self.settings.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{variable}=")?;
            // A value may contain control characters, which must not reach the terminal.
            for c in value.chars().take(SHOWN) {
                if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
            }
            if value.chars().nth(SHOWN).is_some() {
                f.write_str("…")?;
            }
        }
        write!(f, ": {}", self.rule)
    }
}

/// The exit of a process that does not start, since help was asked for or the configuration is faulty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// 0 after help and version, 2 after a fault of the command line or the settings.
    pub code: u8,
    /// The text, with its line ends. It goes to standard output for code 0, else to standard error.
    pub message: String,
}

impl Exit {
    /// Prints the message and returns the exit code.
    pub fn report(&self) -> ExitCode {
        // A closed output cannot be reported anywhere.
        let _ = match self.code {
            0 => io::stdout().write_all(self.message.as_bytes()),
            _ => io::stderr().write_all(self.message.as_bytes()),
        };
        ExitCode::from(self.code)
    }

    /// The exit for settings that cannot be read at all.
    pub(super) fn unreadable(what: impl fmt::Display) -> Self {
        Self { code: 2, message: format!("highwater: {what}\n") }
    }
}

impl From<clap::Error> for Exit {
    fn from(error: clap::Error) -> Self {
        Self { code: if error.use_stderr() { 2 } else { 0 }, message: error.render().to_string() }
    }
}

impl From<Vec<Fault>> for Exit {
    fn from(faults: Vec<Fault>) -> Self {
        let count = match faults.len() {
            1 => "a fault".into(),
            count => format!("{count} faults"),
        };
        let mut message = format!("highwater: the configuration has {count}; nothing was started\n");
        for fault in &faults {
            message.push_str(&format!("  {fault}\n"));
        }
        let first = faults.iter().flat_map(|fault| &fault.settings).next().map_or("PORT", |(name, _)| name);
        message.push_str(&format!(
            "each can be set by variable ({first}), by flag (--{}) or in .env; see highwater --help\n",
            flag(first)
        ));
        Self { code: 2, message }
    }
}
