//! Asking a service of this machine how it is, for a container that has no other program to do it.

use std::{io, time::Duration};

use super::{
    Config,
    client::{Request, ask},
};

/// How long the answer may take: longer than the event log asks its databases before it answers, and less than the image's
/// healthcheck is given.
const PATIENCE: Duration = Duration::from_millis(2500);

/// Asks `GET /health` of the service that these settings describe, over loopback where it listens on every
/// address, and on the port for that where it has one; whether it answers 200. Over TLS where the port has it.
///
/// # Errors
///
/// Nobody listens, or nobody answers in time.
pub async fn is_healthy(config: &Config) -> io::Result<bool> {
    // The port for probes has no TLS.
    let https = config.https.as_ref().filter(|_| config.ops_port.is_none());
    let answer = ask(config.probe_address(), https, &Request::get("/health"), PATIENCE).await?;
    Ok(answer.status == 200)
}
