//! HTTPS: both versions of TLS and of HTTP, certificates that change, and the same bounds as without.

mod batches;
mod certificates;
mod client;
mod credentials;
mod files;
mod http1;
mod http2;
mod versions;
