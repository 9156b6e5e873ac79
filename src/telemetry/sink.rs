//! Takes lines without waiting and writes them from a thread of its own.
//!
//! Lines gather in memory and are swapped out whole, one write(2) a batch. A reader that is too slow
//! costs lines, never time: at [`ROOM`] bytes lines are dropped and counted, and a line says how many.

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
const ROOM: usize = 16 << 20;
/// So many bytes are written at once, without gathering more.
const PLENTY: usize = 256 << 10;
/// After a write lines gather for so long: at tens of thousands of lines a second a write each would
/// cost more than the lines. The first line after silence goes at once.
const GATHER: Duration = Duration::from_millis(5);
/// After a write that failed, for instance to a full disk.
const RECOVER: Duration = Duration::from_millis(100);

/// Lines on their way out.
#[derive(Debug)]
pub(super) struct Sink {
    state: Mutex<State>,
    /// The writer waits here for lines.
    arrived: Condvar,
    /// Those who flush wait here for the writer.
    written: Condvar,
    format: Format,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    /// Bytes in the batch that is being written.
    writing: usize,
    /// Lines that found no room since the last batch.
    dropped: u64,
    /// Bytes taken and bytes done with, since the start.
    taken: u64,
    done: u64,
    /// The writer waits for the first line, and is to be woken by it.
    is_idle: bool,
    /// Someone flushes: nothing is to gather.
    is_urgent: bool,
    /// Nobody reads or nobody logs any more.
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
            // Without a thread there is no log; the service can do without.
            sink.close();
        }
        sink
    }

    /// Takes a whole line, or drops it.
    fn append(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.is_closed {
            return;
        }
        if state.lines.len() + state.writing + line.len() > ROOM {
            state.dropped += 1;
            return;
        }
        let before = state.lines.len();
        state.lines.extend_from_slice(line);
        state.taken += line.len() as u64;
        // Waking costs a system call, so that it is done for the first line and for a lot of them.
        if state.is_idle || (before < PLENTY && state.lines.len() >= PLENTY) {
            state.is_idle = false;
            drop(state);
            self.arrived.notify_one();
        }
    }

    /// Waits until all lines taken so far are written, at most that long; whether they are.
    pub(super) fn flush(&self, at_most: Duration) -> bool {
        let mut state = self.lock();
        let target = state.taken;
        state.is_urgent = true;
        self.arrived.notify_one();
        let waiting = |state: &mut State| state.done < target && !state.is_closed;
        let (state, timeout) =
            self.written.wait_timeout_while(state, at_most, waiting).unwrap_or_else(PoisonError::into_inner);
        !timeout.timed_out() && state.done >= target
    }

    /// Takes no more lines and lets the thread end.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.arrived.notify_all();
        self.written.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that panics is done under the lock, and a half-taken line is still a line.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut output: Box<dyn Write + Send>) {
        let mut batch = Vec::new();
        let mut pause = Duration::ZERO;
        while let Some(dropped) = self.next_batch(&mut batch, pause) {
            if dropped > 0 {
                self.tell_dropped(&mut batch, dropped);
            }
            pause = match write_all(&mut *output, &batch) {
                Ok(()) => GATHER,
                // Nobody reads, and nobody ever will: lines are no longer gathered.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                    self.lock().lines = Vec::new();
                    return self.close();
                }
                Err(_) => {
                    let lines = batch.iter().filter(|byte| **byte == b'\n').count() as u64;
                    // The line about those dropped before is not one of them.
                    self.lock().dropped += lines - u64::from(dropped > 0) + dropped;
                    RECOVER
                }
            };
        }
    }

    /// Gives the written batch back and takes the next, when there is one, and how many lines were dropped
    /// behind it. `None` when there is none to come, or when the output fails to the last.
    fn next_batch(&self, batch: &mut Vec<u8>, pause: Duration) -> Option<u64> {
        let mut state = self.lock();
        state.done += mem::take(&mut state.writing) as u64;
        self.written.notify_all();
        batch.clear();
        // What a burst needed is given back after it.
        batch.shrink_to(PLENTY);

        let gathers = |state: &mut State| state.lines.len() < PLENTY && !state.is_urgent && !state.is_closed;
        state =
            self.arrived.wait_timeout_while(state, pause, gathers).unwrap_or_else(PoisonError::into_inner).0;
        if state.is_closed && pause == RECOVER {
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

    /// The lines that were dropped came after all others of the batch; so does the line about them.
    fn tell_dropped(&self, batch: &mut Vec<u8>, dropped: u64) {
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

/// Writes it all, also to a descriptor that someone else made non-blocking.
fn write_all(output: &mut dyn Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match output.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // This thread has nothing else to do than to wait.
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::park_timeout(GATHER),
            Err(error) => return Err(error),
        }
    }
    output.flush()
}

/// Hands lines to the sink: env_logger writes each with one call.
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
