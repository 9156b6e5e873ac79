//! HTTPS: both versions of TLS and of HTTP, certificates that change, and the same bounds as without.

mod certificates;
mod client;
mod files;
mod http2;
mod versions;
