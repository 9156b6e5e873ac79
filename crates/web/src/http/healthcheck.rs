//! Asks a service of this machine for its health, for a container without another program.

use std::{io, time::Duration};

use super::{
    Config,
    client::{Request, ask},
};

/// The longest wait for the answer: longer than the event log waits for its databases before it answers, and shorter than
/// the time-out of the image's healthcheck.
const PATIENCE: Duration = Duration::from_millis(2500);

/// Sends `GET /health` to the service with these settings: over loopback where it listens on every address, to the port for
/// probes where it has one, and over TLS where the port has it. Returns whether it is healthy.
///
/// # Errors
///
/// The service does not listen, or does not answer in time.
pub async fn is_healthy(config: &Config) -> io::Result<bool> {
    // The port for probes has no TLS.
    let https = config.https.as_ref().filter(|_| config.ops_port.is_none());
    let answer = ask(config.probe_address(), https, &Request::get("/health"), PATIENCE).await?;
    Ok(answer.status == 200)
}
