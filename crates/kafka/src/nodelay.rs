//! TCP_NODELAY on rskafka's sockets.
//!
//! rskafka 0.6 never sets it and sends a frame above 8 KiB as two segments: four bytes of length, then the
//! rest. Wherever the rest is smaller than a segment (loopback, jumbo frames) Nagle's algorithm holds it
//! back until the other side's delayed acknowledgement, 40 ms later: a batch of 9 to 65 KB then takes 44 ms
//! in place of 0.2. rskafka has no hook for its sockets, so after each connection that it makes, the option
//! is set on every socket of the process: about a microsecond a descriptor, and harmless to the others,
//! since those that are no TCP sockets refuse it.

use std::{fs, os::fd::BorrowedFd};

use socket2::SockRef;

/// Sets TCP_NODELAY on every TCP socket of this process.
pub(crate) fn set_on_all_sockets() {
    let Ok(descriptors) = fs::read_dir("/proc/self/fd") else { return };
    for entry in descriptors.flatten() {
        let Some(descriptor) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // SAFETY: the number was an open descriptor a moment ago. Should another thread have closed or
        // reused it since, setsockopt fails or sets an option that this process wants on all its TCP
        // sockets; the borrow ends with the statement and closes nothing.
        #[allow(unsafe_code)]
        let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
        let _refused_by_other_kinds = SockRef::from(&descriptor).set_tcp_nodelay(true);
    }
}
