//! Reads settings and collects their faults.

use super::{
    Service,
    fault::{Exit, Fault},
    table::Setting,
    values::Values,
};

/// Reads settings one by one, and goes on after a fault.
pub(super) struct SettingsReader<F> {
    given: F,
    service: Service,
    faults: Vec<Fault>,
}

impl<F: Fn(&str) -> Option<String>> SettingsReader<F> {
    /// A reader for this service. `given` returns the value that the user gave for a variable.
    pub(super) fn new(given: F, service: Service) -> Self {
        Self { given, service, faults: Vec::new() }
    }

    /// The setting's value. A faulty one is replaced by the default, and reported if the service reads the setting.
    pub(super) fn value<V: Values>(&mut self, setting: &Setting<V>) -> V::Value {
        let (text, shown) = (self.text(setting), self.shown(setting));
        // U+FFFD marks a value that was not UTF-8.
        match setting.values.parse(&text).filter(|_| !text.contains('\u{fffd}')) {
            Some(value) => value,
            None => {
                if self.service.reads(setting.variable) {
                    let rule = format!("must be {}", setting.values.allowed());
                    self.faults.push(Fault { settings: vec![(setting.variable, shown)], rule });
                }
                let default = setting.values.parse(setting.default);
                default.expect("a default is within its own bounds: a test reads every one")
            }
        }
    }

    /// Reports a fault of settings that are each within bounds and contradict each other. Nothing is reported if one of them
    /// is faulty already, since its value is not the user's, or if the service reads none of them.
    pub(super) fn require(&mut self, holds: bool, settings: &[(&'static str, String)], rule: &str) {
        let is_read = settings.iter().any(|(variable, _)| self.service.reads(variable));
        if !holds && is_read && !settings.iter().any(|(variable, _)| self.is_at_fault(variable)) {
            self.faults.push(Fault { settings: settings.to_vec(), rule: rule.to_owned() });
        }
    }

    /// Whether a fault of this variable is reported already.
    pub(super) fn is_at_fault(&self, variable: &str) -> bool {
        self.faults.iter().flat_map(|fault| &fault.settings).any(|(name, _)| *name == variable)
    }

    /// The setting's text, trimmed; the default if it is empty.
    pub(super) fn text<V>(&self, setting: &Setting<V>) -> String {
        let given = (self.given)(setting.variable).map(|text| text.trim().to_owned());
        given.filter(|text| !text.is_empty()).unwrap_or_else(|| setting.default.to_owned())
    }

    /// The setting's text as it may be shown. A secret becomes `…`.
    pub(super) fn shown<V: Values>(&self, setting: &Setting<V>) -> String {
        match self.text(setting) {
            secret if setting.values.is_secret(&secret) && !secret.is_empty() => "…".to_owned(),
            text => text,
        }
    }

    /// Fails with all faults, if there are any.
    pub(super) fn finish(self) -> Result<(), Exit> {
        if self.faults.is_empty() { Ok(()) } else { Err(self.faults.into()) }
    }
}
