//! The trace of a run: what happened, in order, a line each.

use std::sync::{Arc, Mutex, PoisonError};

/// The lines, if they are wanted. Clones write to the same trace.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trace(Option<Arc<Mutex<String>>>);

impl Trace {
    /// One that keeps its lines.
    pub(crate) fn kept() -> Self {
        Self(Some(Arc::default()))
    }

    /// Whether it keeps its lines.
    pub(crate) fn is_kept(&self) -> bool {
        self.0.is_some()
    }

    /// Adds a line, which is only made where it is kept.
    pub(crate) fn line(&self, line: impl FnOnce() -> String) {
        if let Some(lines) = &self.0 {
            let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.push_str(&line());
            lines.push('\n');
        }
    }

    /// All lines.
    pub(crate) fn text(&self) -> String {
        let lines = self.0.as_ref();
        lines.map(|lines| lines.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap_or_default()
    }
}
