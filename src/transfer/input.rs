//! The lines of files: plain, in gzip or in zstd, by their content.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    mem,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use highwater_web::object::Object;
use tokio::sync::mpsc;
use uuid::{Uuid, uuid};

use super::import_progress::{self, ImportProgress};

/// The namespace of ids that follow from a file and a line.
const OF_LINES: Uuid = uuid!("5f3f7a2e-41d5-4c0e-9f0b-6d3a51d7e6c1");
/// The size from which lines are sent.
const PART: usize = 32 * 1024;
/// The longest line that is looked at, in bytes: a service takes none as long.
const LONGEST: u64 = 64 << 20;

/// Some lines in a row.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) text: Bytes,
    /// The position of each line.
    pub(super) positions: VecDeque<Position>,
}

/// The position of a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    /// The file, from 0.
    pub(super) file: usize,
    /// The line, from 1.
    pub(super) line: u64,
    /// The digest of the lines up to this position.
    pub(super) digest: Digest,
    /// The length of the line in the part's text, in bytes.
    pub(super) bytes: usize,
}

/// An id of a file's first lines, chained over each line.
pub(super) type Digest = Uuid;

/// Standard input.
pub(super) fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// The name that ids of lines follow from: the file's, without its directories.
pub(super) fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The number of bytes that were read of all files, as they are on disk.
pub(super) type BytesRead = Arc<AtomicU64>;

/// Reads the lines of the files that are still to be sent, after those of each that are settled. Returns when all are read,
/// or when nobody takes them any more.
pub(super) fn read(
    files: &[PathBuf],
    done: &[ImportProgress],
    bytes_read: &BytesRead,
    parts: &mpsc::Sender<io::Result<Part>>,
) {
    for (file, path) in files.iter().enumerate() {
        let result = read_file(file, path, done[file], bytes_read, parts);
        if let Err(error) = result {
            let error = io::Error::new(error.kind(), format!("{}: {error}", path.display()));
            let _nobody_waits = parts.blocking_send(Err(error));
            return;
        }
    }
}

fn read_file(
    file: usize,
    path: &Path,
    done: ImportProgress,
    bytes_read: &BytesRead,
    parts: &mpsc::Sender<io::Result<Part>>,
) -> io::Result<()> {
    let mut gathered = Gathered::new(parts);
    let read = read_lines(file, path, done, bytes_read, &mut gathered);
    // The lines before a fault are sent.
    gathered.send();
    read
}

fn read_lines(
    file: usize,
    path: &Path,
    done: ImportProgress,
    bytes_read: &BytesRead,
    gathered: &mut Gathered<'_>,
) -> io::Result<()> {
    let name = name_of(path);
    let mut lines = open(path, bytes_read)?;
    let (mut line, mut number, mut digest) = (Vec::new(), 0, Digest::nil());
    loop {
        line.clear();
        if lines.by_ref().take(LONGEST).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line.last() != Some(&b'\n') && line.len() as u64 == LONGEST {
            return Err(io::Error::other(format!("line {} is longer than {LONGEST} bytes", number + 1)));
        }
        number += 1;
        let line = line.trim_ascii();
        digest = Digest::new_v5(&digest, line);
        if number == done.lines && digest != done.digest {
            return Err(is_another(path, done.lines));
        }
        if number <= done.lines || line.is_empty() {
            continue;
        }
        let before = gathered.text.len();
        push_with_id(&mut gathered.text, line, &name, number);
        let bytes = gathered.text.len() - before;
        gathered.positions.push_back(Position { file, line: number, digest, bytes });
        if gathered.text.len() >= PART && !gathered.send() {
            return Ok(());
        }
    }
    if number < done.lines {
        return Err(is_another(path, done.lines));
    }
    Ok(())
}

/// Lines that are read, and not sent on.
struct Gathered<'a> {
    parts: &'a mpsc::Sender<io::Result<Part>>,
    text: Vec<u8>,
    positions: VecDeque<Position>,
}

impl<'a> Gathered<'a> {
    fn new(parts: &'a mpsc::Sender<io::Result<Part>>) -> Self {
        Self { parts, text: Vec::with_capacity(PART + PART / 4), positions: VecDeque::new() }
    }

    /// Sends them on; false where nobody takes them any more.
    fn send(&mut self) -> bool {
        if self.positions.is_empty() {
            return true;
        }
        let text = mem::replace(&mut self.text, Vec::with_capacity(PART + PART / 4)).into();
        self.parts.blocking_send(Ok(Part { text, positions: mem::take(&mut self.positions) })).is_ok()
    }
}

/// The file does not begin with the lines that are settled.
fn is_another(path: &Path, lines: u64) -> io::Error {
    let note = import_progress::note_of(path);
    io::Error::other(format!(
        "the first {lines} lines are not those that were imported before. To import the whole file, delete {} if it is \
         there, and start again: unchanged lines are stored once",
        note.display()
    ))
}

/// Adds a line, which then has an id: its own, or one that follows from its file, its number and its text. So a file that
/// is imported again is stored once.
fn push_with_id(to: &mut Vec<u8>, line: &[u8], file: &str, number: u64) {
    let text = std::str::from_utf8(line).unwrap_or_default();
    let id = || {
        let name = [file.as_bytes(), format!("\0{number}\0").as_bytes(), line].concat();
        Uuid::new_v5(&OF_LINES, &name)
    };
    match Object::parse(text, &["eventId"]) {
        Ok(Object { values: [None], .. }) => {
            let is_empty = line[1..].trim_ascii_start() == b"}";
            let comma = if is_empty { "" } else { "," };
            to.extend_from_slice(format!("{{\"eventId\":\"{}\"{comma}", id()).as_bytes());
            to.extend_from_slice(&line[1..]);
        }
        Ok(Object { values: [Some(null)], .. }) if null.get() == "null" => {
            let at = null.get().as_ptr() as usize - text.as_ptr() as usize;
            to.extend_from_slice(&line[..at]);
            to.extend_from_slice(format!("\"{}\"", id()).as_bytes());
            to.extend_from_slice(&line[at + "null".len()..]);
        }
        // The service refuses everything but objects.
        _ => to.extend_from_slice(line),
    }
    to.push(b'\n');
}

fn open(path: &Path, bytes_read: &BytesRead) -> io::Result<Box<dyn BufRead>> {
    let source: Box<dyn Read> = match is_stdin(path) {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(path)?),
    };
    let mut reader = BufReader::with_capacity(PART, Counted { source, bytes_read: Arc::clone(bytes_read) });
    let begin = reader.fill_buf()?;
    let named =
        |ending: &str| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(ending));
    Ok(match begin {
        [0x1f, 0x8b, ..] => Box::new(BufReader::with_capacity(PART, MultiGzDecoder::new(reader))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            Box::new(BufReader::with_capacity(PART, zstd::stream::read::Decoder::with_buffer(reader)?))
        }
        [] => Box::new(reader),
        _ if named("gz") || named("zst") || named("zstd") => {
            return Err(io::Error::other("is named as a packed file, and is none"));
        }
        _ => Box::new(reader),
    })
}

struct Counted {
    source: Box<dyn Read>,
    bytes_read: BytesRead,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        self.bytes_read.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}
