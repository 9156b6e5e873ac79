//! The schemas of a build that has none.

use std::{borrow::Cow, iter, path::PathBuf};

use highwater_net::files::FromFiles;

use super::SchemaFault;

/// There are none.
pub(super) enum Compiled {}

impl Compiled {
    pub(super) fn types(&self) -> iter::Empty<&str> {
        match *self {}
    }

    pub(super) fn faults<'a>(&self, _type: &str, _data: impl FnOnce() -> Cow<'a, str>) -> Vec<SchemaFault> {
        match *self {}
    }
}

pub(super) fn open(_folder: PathBuf) -> Result<FromFiles<Compiled>, String> {
    Err("this build has no JSON Schemas: build it with --features schemas".to_owned())
}
