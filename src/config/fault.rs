//! What is wrong with a configuration, and how a process ends that does not start.

use std::{
    fmt,
    io::{self, Write as _},
    process::ExitCode,
};

use super::table::flag;

/// The longest part of a wrong value that is shown, in characters.
const SHOWN: usize = 120;

/// Something wrong with one setting, or with several together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// The settings at fault, with their values as they were given or by default.
    pub(super) settings: Vec<(&'static str, String)>,
    /// What must be, as a clause.
    pub(super) rule: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (variable, value)) in self.settings.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{variable}=")?;
            // A value may hold anything: escaped, it stays on its line and its terminal in peace.
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

/// Why the process ends before it starts: it was asked for help, or could not be configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// 0 after help and version, 2 after a fault of the command line or the settings.
    pub code: u8,
    /// What to say, with its line ends: on standard output when the code is 0, on standard error else.
    pub message: String,
}

impl Exit {
    /// The message goes out, and the code to whoever called.
    pub fn report(&self) -> ExitCode {
        // Where nobody reads, there is nobody to tell so.
        let _ = match self.code {
            0 => io::stdout().write_all(self.message.as_bytes()),
            _ => io::stderr().write_all(self.message.as_bytes()),
        };
        ExitCode::from(self.code)
    }

    /// The settings cannot be read at all.
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
