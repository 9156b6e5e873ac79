//! An instance of the service: the program in its own process, behind its own proxies.

use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::{
    database_link::DatabaseLink,
    history::{History, Millis, Processed, now},
    options::{Options, Protocol},
    proxy::Links,
    schedule::SESSION,
};

/// The topic under test.
pub(crate) const TOPIC: &str = "chaos-events";
/// Where what is malformed goes.
pub(crate) const DEAD_LETTERS: &str = "chaos-events.dlq";
/// The group that all instances are in.
pub(crate) const GROUP: &str = "chaos-group";
/// The name that quotas are for.
pub(crate) const CLIENT_ID: &str = "highwater";
/// How soon every instance knows of new partitions.
pub(crate) const METADATA_MAX_AGE: Duration = Duration::from_secs(2);
/// A stop that was asked for is over by then: SHUTDOWN_TIMEOUT, and a moment.
const STOPS_WITHIN: Duration = Duration::from_secs(12);

/// An instance, running or not.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) number: usize,
    pub(crate) base: String,
    pub(crate) links: Links,
    pub(crate) database_link: Option<DatabaseLink>,
    port: u16,
    program: PathBuf,
    variables: Vec<(String, String)>,
    log: Arc<Mutex<File>>,
    history: Arc<History>,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    run: usize,
    /// Set before it is ended on purpose.
    expected: Arc<Mutex<bool>>,
}

impl Instance {
    /// An instance that does not run yet.
    pub(crate) async fn new(
        number: usize,
        is_static: bool,
        options: &Options,
        history: &Arc<History>,
    ) -> Result<Self> {
        let links = Links::open(options.kafka_port).await?;
        let database_link = match &options.database {
            Some(database) => Some(database.link().await?),
            None => None,
        };
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let path = options.directory.join(format!("instance-{number}.log"));
        let log = OpenOptions::new().create(true).append(true).open(&path);
        let session = format!("{}s", SESSION.as_secs());
        let max_age = format!("{}s", METADATA_MAX_AGE.as_secs());
        let partitions = options.partitions.to_string();
        let name = format!("chaos-{number}");
        let mut variables = vec![
            ("HOST", "127.0.0.1"),
            ("KAFKA_TOPIC", TOPIC),
            ("KAFKA_DEAD_LETTER_TOPIC", DEAD_LETTERS),
            ("KAFKA_GROUP_ID", GROUP),
            ("KAFKA_CLIENT_ID", CLIENT_ID),
            ("KAFKA_TOPIC_PARTITIONS", &partitions),
            ("KAFKA_PARTITION_ASSIGNMENT_STRATEGY", &options.assignor),
            ("KAFKA_REQUEST_TIMEOUT", "3s"),
            ("KAFKA_SESSION_TIMEOUT", &session),
            ("KAFKA_HEARTBEAT_INTERVAL", "1s"),
            ("KAFKA_REBALANCE_TIMEOUT", "12s"),
            ("COMMIT_INTERVAL", "500ms"),
            ("METADATA_MAX_AGE", &max_age),
            // Everything stays in memory.
            ("STORE_MAX_EVENTS", "10000000"),
            ("STORE_MAX_BYTES", "8GiB"),
            ("RUST_LOG", "info,rskafka=warn,tracing=warn,highwater::published=off"),
            ("LOG_FORMAT", "json"),
        ];
        let store_url = options.database.as_ref().zip(database_link.as_ref());
        let store_url = store_url.map(|(database, link)| database.url_by(link));
        if let Some(url) = &store_url {
            // Shorter than its faults.
            variables.extend([
                ("STORE_URL", url.as_str()),
                ("STORE_CONNECT_TIMEOUT", "1s"),
                ("STORE_TIMEOUT", "3s"),
            ]);
        }
        if is_static {
            variables.push(("KAFKA_GROUP_INSTANCE_ID", &name));
        }
        Ok(Self {
            number,
            base: format!("http://127.0.0.1:{port}"),
            links,
            database_link,
            port,
            program: options.program.clone(),
            variables: variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            log: Arc::new(Mutex::new(log.with_context(|| format!("{}", path.display()))?)),
            history: Arc::clone(history),
            running: Mutex::default(),
        })
    }

    /// Starts it, to speak that protocol.
    pub(crate) fn start(&self, protocol: Protocol) -> Result<()> {
        let mut running = self.running();
        if running.is_some() {
            bail!("instance {} runs already", self.number);
        }
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .env("PORT", self.port.to_string())
            .env("KAFKA_BROKERS", self.links.seed(self.number))
            .env("GROUP_PROTOCOL", protocol.name())
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(self.log().try_clone()?);
        let mut child = command.spawn()?;
        let run = self.history.starts(self.number);
        self.history.write(format_args!("run {run} is instance {}, process {}", self.number, child.id()));
        let stdout = child.stdout.take().context("no standard output")?;
        let expected = Arc::default();
        let reader = Reader {
            run,
            number: self.number,
            log: Arc::clone(&self.log),
            history: Arc::clone(&self.history),
            expected: Arc::clone(&expected),
        };
        thread::spawn(move || reader.read(stdout));
        *running = Some(Running { child, run, expected });
        Ok(())
    }

    /// kill -9.
    pub(crate) fn kill(&self) -> Result<()> {
        let Some(mut running) = self.running().take() else { return Ok(()) };
        running.expects_its_end();
        running.child.kill()?;
        running.child.wait()?;
        self.history.known().runs[running.run].killed = Some(now());
        Ok(())
    }

    /// SIGTERM, and waits until it is over.
    pub(crate) async fn stop(&self) -> Result<()> {
        self.signal(Signal::TERM)?;
        let by = Instant::now() + STOPS_WITHIN;
        loop {
            {
                let mut running = self.running();
                let Some(process) = running.as_mut() else { return Ok(()) };
                process.expects_its_end();
                if let Some(status) = process.child.try_wait()? {
                    self.history.write(format_args!("instance {} stopped: {status}", self.number));
                    if !status.success() {
                        self.history.unexpected(format!("instance {} stopped with {status}", self.number));
                    }
                    *running = None;
                    return Ok(());
                }
            }
            if Instant::now() > by {
                self.history.unexpected(format!("instance {} does not stop after SIGTERM", self.number));
                return self.kill();
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// SIGSTOP: it hangs, and does not know.
    pub(crate) fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)?;
        // Now that it is: of what is written from now on it has read nothing.
        if let Some(running) = self.running().as_ref() {
            self.history.known().runs[running.run].pauses.push((now(), Millis::MAX));
        }
        Ok(())
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) -> Result<()> {
        if let Some(running) = self.running().as_ref()
            && let Some(pause) = self.history.known().runs[running.run].pauses.last_mut()
        {
            pause.1 = now();
        }
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        if let Some(running) = self.running().as_ref() {
            kill_process(Pid::from_child(&running.child), signal)?;
        }
        Ok(())
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> MutexGuard<'_, File> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn expects_its_end(&self) {
        *self.expected.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // At the end of the run nobody is left to hear of an error.
        let _ = self.kill();
    }
}

/// Reads what a process says, for as long as it lives.
struct Reader {
    run: usize,
    number: usize,
    log: Arc<Mutex<File>>,
    history: Arc<History>,
    expected: Arc<Mutex<bool>>,
}

/// A line of the log, as far as it matters.
#[derive(Debug, Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    timestamp: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    target: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    message: std::borrow::Cow<'a, str>,
    #[serde(rename = "eventId")]
    event_id: Option<Uuid>,
    partition: Option<i32>,
    offset: Option<i64>,
}

impl Reader {
    fn read(self, stdout: ChildStdout) {
        for line in BufReader::new(stdout).split(b'\n') {
            let Ok(line) = line else { break };
            self.take(&line);
        }
        if !*self.expected.lock().unwrap_or_else(PoisonError::into_inner) {
            self.history.unexpected(format!("instance {} ended by itself", self.number));
        }
    }

    fn take(&self, text: &[u8]) {
        let Ok(line) = serde_json::from_slice::<Line<'_>>(text) else {
            // The last line of a process that was killed may be cut off.
            return self.keep(text);
        };
        let Ok(at) = chrono::DateTime::parse_from_rfc3339(&line.timestamp) else { return self.keep(text) };
        let at = at.timestamp_millis();
        if line.target == "highwater::processed"
            && let (Some(id), Some(partition), Some(offset)) = (line.event_id, line.partition, line.offset)
        {
            self.history.processed(Processed { at, run: self.run, id, place: (partition, offset) });
            return;
        }
        self.keep(text);
        if let Some(partitions) = assigned(&line.message) {
            self.history.known().runs[self.run].assignments.push((at, partitions));
        }
    }

    fn keep(&self, line: &[u8]) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        // As with the history: a full disk must not end the run.
        let _ = log.write_all(line).and_then(|()| log.write_all(b"\n"));
    }
}

/// `assigned: … partitions={0, 2} …`: the instance's partitions from now on.
fn assigned(message: &str) -> Option<BTreeSet<i32>> {
    let rest = message.strip_prefix("assigned: ")?;
    let (_, set) = rest.split_once("partitions={")?;
    let (set, _) = set.split_once('}')?;
    Some(set.split(',').filter_map(|partition| partition.trim().parse().ok()).collect())
}
