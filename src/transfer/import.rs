//! `highwater import`: files of events into a running service.
//!
//! The lines go in as one stream, and their receipts come back in their order. Where the connection breaks or the service
//! is busy, the next attempt begins after the last line that is settled. A line is kept until it is settled, since a pipe is
//! read once. Ids follow from the lines, so that lines that are sent again are stored once.

use std::{collections::HashSet, fs, path::PathBuf, sync::atomic::Ordering, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use highwater_net::client::{Method, Streamed, header};
use highwater_web::{
    Secret,
    http::{self, NDJSON},
};
use serde::Deserialize;
use tokio::{
    sync::mpsc,
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until},
};

use super::{
    AttemptError, Attempts, ImportTask, LineSplitter, PATIENCE, RemoteService, TransferOutcome,
    import_progress::{self, ImportProgress},
    input::{self, BytesRead, Position},
    progress::{Figures, ProgressLine},
    window::Window,
};

/// The interval at which the settled lines are noted, for `--resume`.
const NOTE: Duration = Duration::from_secs(1);

/// A receipt, as far as it is looked at.
#[derive(Deserialize)]
struct Receipt {
    line: Option<u64>,
    status: u16,
    detail: Option<String>,
    #[serde(rename = "retryAfter")]
    retry_after: Option<u64>,
}

/// Imports files. Refused events are reported on standard error, by file and line, and the sums in the end.
///
/// # Errors
///
/// A file cannot be read or is not the one that is noted, two files have one name, or the service takes nothing any more.
pub async fn import(
    task: ImportTask,
    token: Option<Secret>,
    config: &http::Config,
) -> anyhow::Result<TransferOutcome> {
    let service = RemoteService::new(task.url, token, config)?;
    let mut import = Import::new(task.files, task.resume)?;
    let ended = import.run(&service).await;
    // The sums are told of one that gives up, too.
    let outcome = import.end();
    ended.map(|()| outcome)
}

struct Import {
    files: Vec<PathBuf>,
    /// The settled lines of each file.
    done: Vec<ImportProgress>,
    /// The sizes of all files together, where they are known.
    size: Option<u64>,
    resume: bool,
    window: Window,
    /// The lines of each file that were settled before this import.
    before: Vec<ImportProgress>,
    stored: u64,
    refused: u64,
    progress: ProgressLine,
    bytes_read: BytesRead,
    noted: Instant,
}

impl Import {
    fn new(files: Vec<PathBuf>, resume: bool) -> anyhow::Result<Self> {
        let mut done = vec![ImportProgress::default(); files.len()];
        let mut size = Some(0);
        let mut names = HashSet::new();
        for (file, path) in files.iter().enumerate() {
            let name = input::name_of(path);
            anyhow::ensure!(
                names.insert(name.clone()),
                "two of the files are named {name}, and ids follow from names without directories: rename one; where each \
                 event has an eventId, import one after the other"
            );
            if input::is_stdin(path) {
                anyhow::ensure!(!resume, "--resume needs files: standard input cannot be read again");
                size = None;
                continue;
            }
            let found = fs::metadata(path).with_context(|| path.display().to_string())?;
            size = size.filter(|_| found.is_file()).map(|size| size + found.len());
            if resume {
                done[file] = ImportProgress::noted(path)?;
            }
        }
        let bytes_read = BytesRead::default();
        let (parts, source) = mpsc::channel(2);
        let (read, settled, count) = (files.clone(), done.clone(), BytesRead::clone(&bytes_read));
        // Its thread ends when nobody takes the lines any more.
        tokio::task::spawn_blocking(move || input::read(&read, &settled, &count, &parts));
        Ok(Self {
            before: done.clone(),
            window: Window::of(source),
            files,
            done,
            size,
            resume,
            stored: 0,
            refused: 0,
            progress: ProgressLine::new(),
            bytes_read,
            noted: Instant::now(),
        })
    }

    fn settled(&self) -> u64 {
        self.done.iter().map(|done| done.lines).sum()
    }

    /// Sends all lines.
    async fn run(&mut self, service: &RemoteService) -> anyhow::Result<()> {
        while self.has_lines().await {
            let mut attempts = Attempts::new();
            let mut settled = self.settled();
            while let Err(fault) = self.attempt(service).await {
                self.note_settled();
                if self.settled() > settled {
                    settled = self.settled();
                    attempts.got_on();
                }
                if let AttemptError::Transient(text, _) = &fault {
                    self.progress.say(&format!("{text}: the rest is sent again"));
                }
                attempts.after(fault).await?;
                self.window.rewind();
            }
            self.note_settled();
        }
        Ok(self.window.end()?)
    }

    /// Waits for lines; false where there are no more.
    async fn has_lines(&mut self) -> bool {
        let mut ticks = ticks();
        while self.window.is_empty() && !self.window.has_ended() {
            tokio::select! {
                () = self.window.fill() => {}
                _ = ticks.tick() => self.show(),
            }
        }
        !self.window.is_empty()
    }

    /// Sends the lines that are not settled, and those that come, until all of them are.
    async fn attempt(&mut self, service: &RemoteService) -> Result<(), AttemptError> {
        let (pieces, body) = mpsc::channel(1);
        let headers = vec![(header::CONTENT_TYPE, header::HeaderValue::from_static(NDJSON))];
        let answer = service.ask(Method::POST, "/events/batch", headers, Some(body)).await?;
        self.exchange(answer, pieces).await
    }

    async fn exchange(
        &mut self,
        mut answer: Streamed,
        pieces: mpsc::Sender<Bytes>,
    ) -> Result<(), AttemptError> {
        let mut pieces = Some(pieces);
        let mut receipts = LineSplitter::default();
        let mut ticks = ticks();
        let mut got_on = Instant::now();
        loop {
            if self.window.has_ended() && !self.window.has_unsent() {
                // The end of the body.
                pieces = None;
            }
            tokio::select! {
                chunk = answer.chunk() => match chunk? {
                    Some(chunk) => {
                        got_on = Instant::now();
                        receipts.add(&chunk, |line| self.receipt(line))?;
                    }
                    // A stream ends where nothing has come for a while, too. Another one begins with the next lines.
                    None if self.window.is_empty() => return Ok(()),
                    None => return Err(AttemptError::Transient("the service ended the stream".to_owned(), None)),
                },
                () = self.window.fill(), if self.window.takes_more() => {}
                permit = reserve(pieces.clone()), if pieces.is_some() && self.window.has_unsent() => match permit {
                    Some(permit) => {
                        got_on = Instant::now();
                        if let Some(text) = self.window.send() {
                            permit.send(text);
                        }
                    }
                    // The answer says why nothing more is taken.
                    None => pieces = None,
                },
                () = sleep_until(got_on + PATIENCE), if self.window.awaited().is_some() => {
                    return Err(AttemptError::Transient(format!("no receipt came for {PATIENCE:?}"), None));
                }
                _ = ticks.tick() => self.show(),
            }
        }
    }

    fn receipt(&mut self, line: &[u8]) -> Result<(), AttemptError> {
        let receipt: Receipt = serde_json::from_slice(line)
            .map_err(|error| AttemptError::Final(format!("what answers is no Highwater: {error}")))?;
        let retry_after = receipt.retry_after.map(Duration::from_secs);
        let detail = || receipt.detail.clone().unwrap_or_else(|| format!("status {}", receipt.status));
        let Some(Position { file, line, digest, .. }) =
            self.window.awaited().filter(|_| receipt.line.is_some())
        else {
            let is_idle = self.window.is_empty();
            return if is_idle { Ok(()) } else { Err(AttemptError::Transient(detail(), retry_after)) };
        };
        let done = &mut self.done[file];
        match receipt.status {
            201 => self.stored += 1,
            429 | 503 => return Err(AttemptError::Transient(detail(), retry_after)),
            status => {
                self.refused += 1;
                done.refused += 1;
                let path = self.files[file].display();
                self.progress.say(&format!("{path}:{line}: {status}: {}", detail()));
            }
        }
        (done.lines, done.digest) = (line, digest);
        self.window.settle();
        Ok(())
    }

    fn show(&mut self) {
        if self.noted.elapsed() >= NOTE {
            self.note_settled();
        }
        let share = self.size.map(|size| (self.bytes_read.load(Ordering::Relaxed), size));
        self.progress.show(Figures { events: self.stored, refused: self.refused, share });
    }

    /// Notes which lines are settled, beside their files.
    fn note_settled(&mut self) {
        self.noted = Instant::now();
        if !self.resume {
            return;
        }
        for (path, done) in self.files.iter().zip(&self.done).filter(|(_, done)| done.lines > 0) {
            if let Err(error) = done.note(path) {
                self.progress.say(&format!("{}: {error}", import_progress::note_of(path).display()));
            }
        }
    }

    /// Ends with the sums.
    fn end(mut self) -> TransferOutcome {
        let before = self.before.iter().map(|before| (before.lines, before.refused));
        let (skipped, were_refused) = before.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        let mut sums = format!("{} events stored, {} refused", self.stored, self.refused);
        if skipped > 0 {
            sums.push_str(&format!(", after {skipped} lines from before"));
        }
        if were_refused > 0 {
            sums.push_str(&format!(", {were_refused} of them refused"));
        }
        self.progress.end(&sums);
        if self.refused + were_refused == 0 { TransferOutcome::All } else { TransferOutcome::Some }
    }
}

/// A permit to send a piece; `None` where nothing is taken.
async fn reserve(pieces: Option<mpsc::Sender<Bytes>>) -> Option<mpsc::OwnedPermit<Bytes>> {
    pieces?.reserve_owned().await.ok()
}

/// The times at which the progress is shown.
fn ticks() -> Interval {
    let mut ticks = interval(Duration::from_millis(100));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
