//! A PostgreSQL of the test's own, by `scripts/postgres.sh`: it can be paused, killed and misled without a harm to other
//! tests.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    process::{Command, Stdio},
};

use tokio::task::spawn_blocking;

use crate::support::{skipped, switch};

/// A running server; dropped, it is stopped and its data are deleted.
pub(super) struct Server {
    port: u16,
    /// The URL of the database highwater, without parameters.
    pub(super) url: String,
}

impl Server {
    /// `None` where PostgreSQL is not tested with.
    pub(super) async fn start() -> Option<Self> {
        if switch("TEST_POSTGRES_URL").is_none() {
            skipped("postgres", "TEST_POSTGRES_URL names no server");
            return None;
        }
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let url = spawn_blocking(move || script(port, &["start"])).await.unwrap();
        Some(Self { port, url: url.trim().to_owned() })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Does what the script does of that name.
    pub(super) async fn does(&self, what: &'static str) {
        let port = self.port;
        spawn_blocking(move || script(port, &[what])).await.unwrap();
    }

    /// Runs statements as the superuser; what they print.
    pub(super) async fn psql(&self, statements: &str) -> String {
        let (port, statements) = (self.port, statements.to_owned());
        spawn_blocking(move || script(port, &["psql", "-At", "-c", &statements])).await.unwrap()
    }

    /// Its log so far.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(script(self.port, &["log"]).trim()).unwrap()
    }

    /// Where the authority is that signed the server's certificate, in PEM.
    pub(super) fn authority(&self) -> PathBuf {
        PathBuf::from(script(self.port, &["tls"]).trim()).join("ca.pem")
    }

    /// A program of PostgreSQL's that works on the database; what it prints.
    pub(super) async fn client(&self, program: &'static str, args: &[&str]) -> Vec<u8> {
        let (url, args) = (self.url.clone(), args.iter().map(ToString::to_string).collect::<Vec<_>>());
        spawn_blocking(move || {
            let output = Command::new(program).args(args).arg("-d").arg(url).output().unwrap();
            assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        })
        .await
        .unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A failed test has its own words.
        let _ = command(self.port, &["stop"]).output();
    }
}

fn command(port: u16, args: &[&str]) -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/postgres.sh"));
    let (what, rest) = args.split_first().unwrap();
    command.arg(what).arg(port.to_string()).args(rest).stdin(Stdio::null());
    command
}

fn script(port: u16, args: &[&str]) -> String {
    let output = command(port, args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
