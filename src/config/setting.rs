//! A setting: its variable, its default, and the values that it takes.

use super::values::Values;

/// A setting with values of the kind `V`.
pub(super) struct Setting<V> {
    pub(super) variable: &'static str,
    pub(super) group: &'static str,
    pub(super) default: &'static str,
    pub(super) values: V,
    pub(super) sentence: &'static str,
}

/// A setting as `--help` describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The environment variable.
    pub variable: &'static str,
    /// The command-line flag, without its dashes.
    pub flag: String,
    /// The heading of the setting. Settings of one group follow each other.
    pub group: &'static str,
    /// The meaning of an absent or empty value; empty if the sentence tells it.
    pub default: &'static str,
    /// The allowed values, in words.
    pub allowed: String,
    /// The effect of the setting.
    pub sentence: &'static str,
}

/// A setting of any type.
pub(super) trait Describe: Sync {
    /// The setting's description.
    fn describe(&self) -> Description;
}

impl<V: Values> Describe for Setting<V> {
    fn describe(&self) -> Description {
        Description {
            variable: self.variable,
            flag: flag(self.variable),
            group: self.group,
            default: self.default,
            allowed: self.values.allowed(),
            sentence: self.sentence,
        }
    }
}

/// The flag that overrides a variable.
pub(super) fn flag(variable: &str) -> String {
    variable.to_ascii_lowercase().replace('_', "-")
}
