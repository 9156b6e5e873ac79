//! What else runs in this container: its first process, as a rule a service of this program.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

/// The arguments by which a healthcheck without flags finds the service to ask: an image has one healthcheck,
/// whatever service a container of it runs. `first` is the command line of process 1, each argument with a zero after
/// it; `None` where that is not this program (`own`), alone or under an init.
pub fn args_of_service(own: &OsStr, first: &[u8]) -> Option<Vec<OsString>> {
    let name = Path::new(own).file_name()?;
    let args = std::str::from_utf8(first).ok()?.split_terminator('\0');
    let args: Vec<OsString> =
        args.map(OsString::from).skip_while(|arg| Path::new(arg).file_name() != Some(name)).collect();
    (!args.is_empty()).then_some(args)
}
