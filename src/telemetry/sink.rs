//! A buffer of lines, which a thread of its own writes.
//!
//! Lines collect in memory, and each batch of them is one write(2). A slow reader of the output costs lines and never time:
//! beyond [`CAPACITY`] lines are dropped, and a later line tells their number.

use std::{
    io::{self, ErrorKind, Write},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use log::{Level, Record};

use super::{Format, line};

/// The most bytes that wait or are being written.
const CAPACITY: usize = 16 << 20;
/// A batch of this size is written at once, without waiting for more lines.
const FULL_BATCH: usize = 256 << 10;
/// The pause after a write, in which lines collect. At tens of thousands of lines a second, a write per line would cost
/// more than the lines. The first line after a silence is written at once.
const LINGER: Duration = Duration::from_millis(5);
/// The pause after a failed write, for instance to a full disk.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The buffer.
#[derive(Debug)]
pub(super) struct Sink {
    state: Mutex<SinkState>,
    /// Wakes the writer: there are lines.
    arrived: Condvar,
    /// Wakes the callers of `flush`: lines were written.
    written: Condvar,
    format: Format,
}

#[derive(Debug, Default)]
struct SinkState {
    lines: Vec<u8>,
    /// The size of the batch that is being written.
    writing: usize,
    /// Lines that were dropped since the last batch.
    dropped: u64,
    /// Bytes taken and bytes written or given up, since the start.
    taken: u64,
    done: u64,
    /// The writer waits, and the next line must wake it.
    is_idle: bool,
    /// A caller flushes, so the writer does not linger.
    is_urgent: bool,
    /// The output is gone, or the logs are dropped.
    is_closed: bool,
}

impl Sink {
    /// Starts the thread that writes to this output.
    pub(super) fn start(output: Box<dyn Write + Send>, format: Format) -> Arc<Self> {
        let sink = Arc::new(Self {
            state: Mutex::default(),
            arrived: Condvar::new(),
            written: Condvar::new(),
            format,
        });
        let of_thread = Arc::clone(&sink);
        let thread = thread::Builder::new().name("log".into()).spawn(move || of_thread.run(output));
        if thread.is_err() {
            // Without a thread there is no log. The service runs all the same.
            sink.close();
        }
        sink
    }

    /// Appends a whole line, or drops it.
    fn append(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.is_closed {
            return;
        }
        if state.lines.len() + state.writing + line.len() > CAPACITY {
            state.dropped += 1;
            return;
        }
        let before = state.lines.len();
        state.lines.extend_from_slice(line);
        state.taken += line.len() as u64;
        // Waking costs a system call, so only the first line and a full batch do it.
        if state.is_idle || (before < FULL_BATCH && state.lines.len() >= FULL_BATCH) {
            state.is_idle = false;
            drop(state);
            self.arrived.notify_one();
        }
    }

    /// Waits up to `timeout` until all lines so far are written. Returns whether they are.
    pub(super) fn flush(&self, timeout: Duration) -> bool {
        let mut state = self.lock();
        let target = state.taken;
        state.is_urgent = true;
        self.arrived.notify_one();
        let waiting = |state: &mut SinkState| state.done < target && !state.is_closed;
        let (state, waited) =
            self.written.wait_timeout_while(state, timeout, waiting).unwrap_or_else(PoisonError::into_inner);
        !waited.timed_out() && state.done >= target
    }

    /// Refuses further lines, and ends the thread.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.arrived.notify_all();
        self.written.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, SinkState> {
        // Nothing under the lock panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut output: Box<dyn Write + Send>) {
        let mut batch = Vec::new();
        let mut pause = Duration::ZERO;
        while let Some(dropped) = self.next_batch(&mut batch, pause) {
            if dropped > 0 {
                self.report_dropped(&mut batch, dropped);
            }
            pause = match write_all(&mut *output, &batch) {
                Ok(()) => LINGER,
                // The reader is gone for good.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                    self.lock().lines = Vec::new();
                    return self.close();
                }
                Err(_) => {
                    let lines = batch.iter().filter(|byte| **byte == b'\n').count() as u64;
                    // The line about dropped lines does not count itself.
                    self.lock().dropped += lines - u64::from(dropped > 0) + dropped;
                    RETRY_PAUSE
                }
            };
        }
    }

    /// Waits for the next batch, and returns the number of lines that were dropped after it. `None` after the last batch, or
    /// if the output still fails when the sink is closed.
    fn next_batch(&self, batch: &mut Vec<u8>, pause: Duration) -> Option<u64> {
        let mut state = self.lock();
        state.done += mem::take(&mut state.writing) as u64;
        self.written.notify_all();
        batch.clear();
        // The memory of a burst is given back.
        batch.shrink_to(FULL_BATCH);

        let lingers =
            |state: &mut SinkState| state.lines.len() < FULL_BATCH && !state.is_urgent && !state.is_closed;
        state =
            self.arrived.wait_timeout_while(state, pause, lingers).unwrap_or_else(PoisonError::into_inner).0;
        if state.is_closed && pause == RETRY_PAUSE {
            return None;
        }
        while state.lines.is_empty() && state.dropped == 0 {
            if state.is_closed {
                return None;
            }
            state.is_idle = true;
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.is_idle = false;
        state.is_urgent = false;
        mem::swap(&mut state.lines, batch);
        state.writing = batch.len();
        Some(mem::take(&mut state.dropped))
    }

    /// Appends a line about the dropped lines, which came after all others of the batch.
    fn report_dropped(&self, batch: &mut Vec<u8>, dropped: u64) {
        let lines = [("lines", dropped)];
        let mut record = Record::builder();
        record.level(Level::Warn).target("highwater::telemetry").key_values(&lines);
        line::push(
            batch,
            self.format,
            &record
                .args(format_args!("lines were dropped: the log is read too slowly, or cannot be written"))
                .build(),
        );
    }
}

/// Writes everything, also to a descriptor that another process made non-blocking.
fn write_all(output: &mut dyn Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match output.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // This thread has nothing else to do.
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::park_timeout(LINGER),
            Err(error) => return Err(error),
        }
    }
    output.flush()
}

/// Appends to the sink. env_logger writes each line with one call.
pub(super) struct Appender(pub(super) Arc<Sink>);

impl Write for Appender {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.append(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
