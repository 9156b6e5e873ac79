//! The container that this runs in: its first process, as a rule a service of this program; and its memory.

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

/// How much memory the container may take, in bytes; `None` where nothing bounds it. `read` reads a file.
///
/// A container sees its own group as the root; a process of a service manager is in a group below it, each with a limit.
pub fn memory_limit(read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    let groups = read("/proc/self/cgroup")?;
    let limits = groups.lines().filter_map(|line| {
        // hierarchy-ID:controllers:path, as cgroups(7) has it; version 2 names no controllers.
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        Path::new(path)
            .ancestors()
            .filter_map(|group| {
                let group = group.to_str()?.trim_end_matches('/');
                read(&format!("{root}{group}/{file}"))?.trim().parse::<u64>().ok()
            })
            .min()
    });
    // Version 1 has no word for none, but a number that no machine has.
    limits.min().filter(|limit| *limit < 1 << 60)
}
