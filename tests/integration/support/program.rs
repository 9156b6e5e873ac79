//! The program in its own process.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use uuid::Uuid;

use super::{TestCluster, eventually};

/// How a program ended, and what it said.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
}

/// The log lines of a program.
pub(crate) struct Log(Arc<Mutex<Vec<Value>>>);

impl Log {
    /// So far, a line each.
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap().iter().map(|line| format!("{line}\n")).collect()
    }
}

/// A program that runs; dropped, it is killed.
pub(crate) struct Program {
    child: Child,
    directory: PathBuf,
    log: Arc<Mutex<Vec<Value>>>,
    reader: Option<JoinHandle<()>>,
}

impl Program {
    /// A command that sees no variable and no `.env` but the test's own.
    pub(crate) fn command(cluster: &TestCluster) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
        command.env_clear().envs([
            ("HOST", "127.0.0.1"),
            ("PORT", "0"),
            ("KAFKA_BROKERS", &cluster.brokers.join(",")),
            ("KAFKA_TOPIC", &cluster.topic),
            ("KAFKA_GROUP_ID", &cluster.group),
        ]);
        command
    }

    /// Starts it, and reads its log.
    pub(crate) fn start(command: Command) -> Self {
        let (mut program, stdout) = Self::start_unread(command, "");
        program.read(stdout);
        program
    }

    /// Starts it with that `.env` in its directory, and leaves its standard output unread.
    pub(crate) fn start_unread(mut command: Command, dotenv: &str) -> (Self, ChildStdout) {
        let directory = std::env::temp_dir().join(format!("highwater-test-{}", Uuid::new_v4()));
        fs::create_dir(&directory).unwrap();
        if !dotenv.is_empty() {
            fs::write(directory.join(".env"), dotenv).unwrap();
        }
        command.current_dir(&directory).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        (Self { child, directory, log: Arc::default(), reader: None }, stdout)
    }

    /// Reads its log from now on; each line must be JSON.
    pub(crate) fn read(&mut self, stdout: ChildStdout) {
        let log = Arc::clone(&self.log);
        self.reader = Some(thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let line = line.unwrap();
                let object = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
                log.lock().unwrap().push(object);
            }
        }));
    }

    /// Waits for a line that says so, and gives it.
    pub(crate) async fn says(&self, words: &str) -> Value {
        let says = |line: &Value| line["message"].as_str().is_some_and(|message| message.contains(words));
        let read = async || self.log.lock().unwrap().iter().find(|line| says(line)).cloned();
        eventually(&format!("the log says {words:?}"), read).await
    }

    /// How many lines say just that.
    pub(crate) fn count(&self, message: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|line| line["message"] == message).count()
    }

    /// Waits until it listens: where.
    pub(crate) async fn address(&self) -> String {
        let line = self.says("listening on http").await;
        line["message"].as_str().unwrap().rsplit_once(' ').unwrap().1.to_owned()
    }

    /// All that it logs, also after its end.
    pub(crate) fn log(&self) -> Log {
        Log(Arc::clone(&self.log))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The limits and the like that the system has on it.
    pub(crate) fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap()
    }

    /// Whether a signal has stopped all of its threads.
    #[cfg(feature = "postgres")]
    pub(crate) fn is_stopped(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let is_stopped = |status: String| status.lines().any(|line| line.starts_with("State:\tT"));
        // One that has ended meanwhile counts, too.
        threads
            .flatten()
            .all(|thread| fs::read_to_string(thread.path().join("status")).map_or(true, is_stopped))
    }

    /// Waits until it ends by itself, and all that it logged is read.
    pub(crate) async fn end(mut self) -> Ended {
        let status =
            eventually("the program ends", || std::future::ready(self.child.try_wait().unwrap())).await;
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        Ended { code: status.code(), stderr }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}
