//! Asking a service of this machine how it is, for a container that has no other program to do it.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::Duration,
};

use super::Config;

/// How long connecting, sending and each read may take: longer than the event log asks its databases before it answers,
/// and less than the image's healthcheck is given.
const PATIENCE: Duration = Duration::from_millis(2500);

/// Asks `GET /health` of the service that these settings describe, over loopback where it listens on every
/// address, and on the port for that where it has one; whether it answers 200.
///
/// # Errors
///
/// Nobody listens, or nobody answers in time.
pub fn is_healthy(config: &Config) -> io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&config.probe_address(), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut status = [0; b"HTTP/1.1 200".len()];
    stream.read_exact(&mut status)?;
    Ok(&status == b"HTTP/1.1 200")
}
