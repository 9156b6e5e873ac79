//! TCP_NODELAY on rskafka's sockets.
//!
//! rskafka 0.6 does not set it, has no hook for its sockets, and sends a frame above 8 KiB as two segments: four bytes
//! of length, then the rest. If the rest is smaller than a segment (loopback, jumbo frames), Nagle's algorithm holds
//! it back until the delayed acknowledgement, 40 ms later: a batch of 9 to 65 KB takes 44 ms in place of 0.2. So the
//! option is set on every socket of the process after each connection of rskafka's. That costs a microsecond a
//! descriptor. Sockets that are not TCP refuse it. Without `/proc` (not Linux) nothing is set: slower, not wrong.

use std::{fs, os::fd::BorrowedFd};

use socket2::SockRef;

/// Sets TCP_NODELAY on every TCP socket of this process.
pub(super) fn set_on_all_sockets() {
    let Ok(descriptors) = fs::read_dir("/proc/self/fd") else { return };
    for entry in descriptors.flatten() {
        let Some(descriptor) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // SAFETY: the number was an open descriptor a moment ago. If another thread has closed or reused it since,
        // setsockopt fails, or sets an option that this process wants on all its TCP sockets. The borrow ends with
        // the statement and closes nothing.
        #[allow(unsafe_code)]
        let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
        let _refused_by_other_kinds = SockRef::from(&descriptor).set_tcp_nodelay(true);
    }
}
