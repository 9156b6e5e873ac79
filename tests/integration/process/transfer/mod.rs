//! `highwater import` and `highwater export`: events between files and a running service.

mod export;
mod import;
mod pipe;
mod progress;
mod resume;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use uuid::Uuid;

use crate::support::{TestApp, TestCluster, eventually};

/// A directory of the test's own; removed when dropped.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("highwater-transfer-{}", Uuid::new_v4()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// A pipe that has a name.
    fn pipe(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const HIGHWATER: &str = env!("CARGO_BIN_EXE_highwater");

/// The command `highwater` of a shell that has that service's port.
fn highwater(app: &TestApp, arguments: &[&str]) -> Command {
    in_its_shell(app, HIGHWATER, arguments)
}

fn in_its_shell(app: &TestApp, program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("HOST", "127.0.0.1").env("PORT", app.port().to_string()).args(arguments);
    // Where there is no `.env`.
    command.current_dir(std::env::temp_dir()).stdin(Stdio::null());
    command
}

/// How a command ended, and what it said.
struct Ended {
    code: Option<i32>,
    output: String,
    said: String,
}

async fn run(mut command: Command) -> Ended {
    let ended = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    ended_with(ended)
}

/// Runs a command whose standard input is a pipe that has this.
async fn run_with_input(mut command: Command, input: Vec<u8>) -> Ended {
    let running = move || {
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // One that gives up does not read all.
        let _ = child.stdin.take().unwrap().write_all(&input);
        child.wait_with_output().unwrap()
    };
    ended_with(tokio::task::spawn_blocking(running).await.unwrap())
}

fn ended_with(Output { status, stdout, stderr }: Output) -> Ended {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: status.code(), output: text(stdout), said: text(stderr) }
}

async fn import(app: &TestApp, files: &[&Path], more: &[&str]) -> Ended {
    let files = files.iter().map(|path| path.to_str().unwrap());
    run(highwater(app, &[&["import"], more, &files.collect::<Vec<_>>()].concat())).await
}

fn lines(user: &str, numbers: std::ops::Range<usize>) -> String {
    let line = |n| format!("{{\"userId\":\"{user}\",\"eventType\":\"LOGIN\",\"payload\":{{\"n\":{n}}}}}\n");
    numbers.map(line).collect()
}

/// How often the log has each id.
async fn ids(cluster: &TestCluster) -> BTreeMap<String, usize> {
    let mut ids = BTreeMap::new();
    for (_, record) in cluster.records(&cluster.topic).await {
        let event: Value = serde_json::from_slice(&record.record.value.unwrap()).unwrap();
        *ids.entry(event["eventId"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    ids
}

async fn until_count(app: &TestApp, path: &str, count: usize) {
    eventually(&format!("{path} has {count}"), async || {
        (app.read(path).await["count"] == count).then_some(())
    })
    .await;
}

/// Writes to a pipe that the import reads: opened, unless it is open already.
async fn feed(pipe: &Path, open: Option<File>, text: String) -> File {
    let path = pipe.to_owned();
    let writing = tokio::task::spawn_blocking(move || {
        let mut pipe = open.unwrap_or_else(|| File::options().write(true).open(path).unwrap());
        pipe.write_all(text.as_bytes()).unwrap();
        pipe
    });
    writing.await.unwrap()
}
