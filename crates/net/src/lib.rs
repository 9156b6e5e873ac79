//! The code that both sides of a connection share: values made of [files] that may change, certificates and keys in PEM,
//! and a small HTTP [client].

pub mod client;
pub mod files;
#[cfg(feature = "tls")]
pub mod pem;
#[cfg(feature = "tls")]
pub mod unverified;
