//! The container of this process: its first process, usually a service of this program, and its memory limit.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

/// The arguments of the container's service. A healthcheck without flags uses them, since an image has one healthcheck for
/// all services. `first` is the command line of process 1, each argument with a zero byte after it. The result is `None` if
/// that is not this program (`own`), alone or under an init.
pub fn args_of_service(own: &OsStr, first: &[u8]) -> Option<Vec<OsString>> {
    let name = Path::new(own).file_name()?;
    let args = std::str::from_utf8(first).ok()?.split_terminator('\0');
    let args: Vec<OsString> =
        args.map(OsString::from).skip_while(|arg| Path::new(arg).file_name() != Some(name)).collect();
    (!args.is_empty()).then_some(args)
}

/// The memory limit of the container in bytes; `None` without a limit. `read` reads a file.
///
/// A container sees its own control group as the root. A process of a service manager is in a group below it. Each group
/// of the path may have a limit, and the lowest one counts.
pub fn memory_limit(read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    let groups = read("/proc/self/cgroup")?;
    let limits = groups.lines().filter_map(|line| {
        // hierarchy-ID:controllers:path, see cgroups(7). Version 2 names no controllers.
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
    // Without a limit, version 1 reports a number that exceeds the memory of any machine.
    limits.min().filter(|limit| *limit < 1 << 60)
}
