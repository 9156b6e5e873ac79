//! `highwater export`: the stored events of a running service, an event a line.
//!
//! Page by page: each ends with a link to the next, which is valid on every instance, and each is packed by itself. So an
//! export can be continued.

use std::{
    fs::{self, File},
    io::{self, Seek as _, SeekFrom, Write},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use highwater_net::client::{Method, Streamed, header};
use highwater_web::{
    Secret,
    http::{self, NDJSON},
};

use super::{
    AttemptError, Attempts, ExportTask, LineSplitter, RemoteService, TransferOutcome, beside, next_piece,
    packing::Packing,
    progress::{Figures, ProgressLine},
    read_note,
};

/// The events of a page.
const PAGE: u64 = 10_000;

/// Exports events.
///
/// # Errors
///
/// The output cannot be written, or the service does not answer.
pub async fn export(
    task: ExportTask,
    token: Option<Secret>,
    config: &http::Config,
) -> anyhow::Result<TransferOutcome> {
    let service = RemoteService::new(task.url.clone(), token, config)?;
    let mut export = Export::new(task)?;
    let mut attempts = Attempts::new();
    while let Some(path) = export.next.clone() {
        match export.page(&service, &path).await {
            Ok(()) => attempts.got_on(),
            Err(fault) => attempts.after(fault).await?,
        }
    }
    export.end()
}

struct Export {
    /// The path of the first page, with the filters.
    first: String,
    /// The path of the next page that is asked for.
    next: Option<String>,
    output: Box<dyn Write + Send>,
    packing: Packing,
    /// The length of the output, in bytes.
    length: u64,
    /// The file of the [`Note`], for `--resume`.
    note: Option<PathBuf>,
    left: Option<u64>,
    /// The events that the output had before.
    before: u64,
    events: u64,
    /// The answers are of all partitions.
    is_whole: bool,
    progress: ProgressLine,
}

impl Export {
    fn new(task: ExportTask) -> anyhow::Result<Self> {
        let note = match (&task.output, task.resume) {
            (Some(path), true) => Some(beside(path, ".next")),
            (None, true) => anyhow::bail!("--resume needs --output"),
            (_, false) => None,
        };
        let packing = task.output.as_deref().map(Packing::of).unwrap_or_default();
        let query =
            task.filters.iter().map(|(name, value)| format!("&{name}={}", http::encode_segment(value)));
        let first = format!("/events/processed?limit={PAGE}{}", query.collect::<String>());
        let noted = note.as_deref().map(Note::read).transpose()?.flatten();
        if let (Some(noted), Some(note), Some(output)) = (&noted, &note, &task.output) {
            noted
                .check(&first, task.limit, output)
                .with_context(|| format!("it cannot go on; delete {} to begin anew", note.display()))?;
        }
        let Note { length, events: before, is_whole, next, .. } =
            noted.unwrap_or_else(|| Note::at_the_beginning(&first));
        let output: Box<dyn Write + Send> = match &task.output {
            None => Box::new(io::stdout()),
            Some(path) => Box::new(open(path, length).with_context(|| path.display().to_string())?),
        };
        let left = task.limit.map(|limit| limit - before);
        Ok(Self {
            first,
            next: Some(next).filter(|_| left != Some(0)),
            length,
            output,
            packing,
            note,
            left,
            before,
            events: 0,
            is_whole,
            progress: ProgressLine::new(),
        })
    }

    /// Writes the events of a page. One that breaks off is read again as a whole.
    async fn page(&mut self, service: &RemoteService, path: &str) -> Result<(), AttemptError> {
        let headers = vec![(header::ACCEPT, header::HeaderValue::from_static(NDJSON))];
        let mut answer = service.ask(Method::GET, path, headers, None).await?;
        let (mut page, mut events) = (Vec::new(), 0);
        let mut lines = LineSplitter::default();
        let most = self.left.unwrap_or(u64::MAX);
        while let Some(chunk) = next_piece(&mut answer).await? {
            lines.add(&chunk, |line| {
                if events < most {
                    events += 1;
                    page.extend_from_slice(line);
                    page.push(b'\n');
                }
                Ok::<_, AttemptError>(())
            })?;
        }
        if events > 0 {
            self.write(&page).map_err(|error| AttemptError::Final(format!("the output: {error}")))?;
        }
        self.events += events;
        self.left = self.left.map(|left| left - events);
        self.is_whole &= is_whole(&answer);
        self.next = next_of(&answer).filter(|_| self.left != Some(0));
        self.note_next().map_err(|error| AttemptError::Final(format!("the note for --resume: {error}")))?;
        self.progress.show(Figures { events: self.events, refused: 0, share: None });
        Ok(())
    }

    fn write(&mut self, page: &[u8]) -> io::Result<()> {
        let packed = self.packing.pack(page)?;
        self.length += packed.len() as u64;
        self.output.write_all(&packed)?;
        self.output.flush()
    }

    fn note_next(&self) -> io::Result<()> {
        let (Some(note), Some(next)) = (&self.note, &self.next) else { return Ok(()) };
        let Self { length, is_whole, .. } = *self;
        let events = self.before + self.events;
        Note { length, events, is_whole, first: self.first.clone(), next: next.clone() }.write(note)
    }

    fn end(mut self) -> anyhow::Result<TransferOutcome> {
        if self.length == 0 {
            // A packed file of nothing is not empty.
            self.write(&[]).context("the output")?;
        }
        if let Some(note) = self.note.as_deref().filter(|note| note.exists()) {
            fs::remove_file(note).with_context(|| note.display().to_string())?;
        }
        let before = match self.before {
            0 => String::new(),
            before => format!(", after {before} from before"),
        };
        let part = if self.is_whole {
            ""
        } else {
            ", of the partitions that this instance has: ask the others, too"
        };
        self.progress.end(&format!("{} events{before}{part}", self.events));
        Ok(if self.is_whole { TransferOutcome::All } else { TransferOutcome::Some })
    }
}

/// Whether an answer is from all partitions.
fn is_whole(answer: &Streamed) -> bool {
    let partitions = answer.headers.get("highwater-partitions").and_then(|value| value.to_str().ok());
    partitions.is_none_or(|partitions| partitions.contains("whole=?1") || partitions.ends_with("whole"))
}

/// The path of the next page: `<…>; rel="next"` (RFC 8288).
fn next_of(answer: &Streamed) -> Option<String> {
    let link = answer.headers.get(header::LINK)?.to_str().ok()?;
    let (path, rest) = link.strip_prefix('<')?.split_once('>')?;
    rest.contains("rel=\"next\"").then(|| path.to_owned())
}

/// The progress of an export.
struct Note {
    /// The length of the output, in bytes.
    length: u64,
    /// The number of events in it.
    events: u64,
    /// The answers that it was made of were of all partitions.
    is_whole: bool,
    /// The path of its first page, with its filters.
    first: String,
    /// The path of the page that comes next.
    next: String,
}

impl Note {
    const WHOLE: &str = "whole";
    const PART: &str = "part";

    /// That of an export which is to begin with that page.
    fn at_the_beginning(first: &str) -> Self {
        Self { length: 0, events: 0, is_whole: true, first: first.to_owned(), next: first.to_owned() }
    }

    /// `None` where there is none.
    fn read(note: &Path) -> anyhow::Result<Option<Self>> {
        let Some(text) = read_note(note)? else { return Ok(None) };
        Self::parse(&text)
            .map(Some)
            .with_context(|| format!("{} is no note of an export: delete it to begin anew", note.display()))
    }

    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<_> = text.split_ascii_whitespace().collect();
        let [length, events, coverage @ (Self::WHOLE | Self::PART), first, next] = fields[..] else {
            return None;
        };
        Some(Self {
            length: length.parse().ok()?,
            events: events.parse().ok()?,
            is_whole: coverage == Self::WHOLE,
            first: first.to_owned(),
            next: next.to_owned(),
        })
    }

    fn write(&self, note: &Path) -> io::Result<()> {
        let Self { length, events, is_whole, first, next } = self;
        let coverage = if *is_whole { Self::WHOLE } else { Self::PART };
        fs::write(note, format!("{length} {events} {coverage} {first} {next}\n"))
    }

    /// Whether an export with that first page and that limit goes on with that output.
    fn check(&self, first: &str, limit: Option<u64>, output: &Path) -> anyhow::Result<()> {
        anyhow::ensure!(self.first == first, "the filters are others: {first}, and {} before", self.first);
        let events = self.events;
        anyhow::ensure!(
            limit.is_none_or(|limit| limit >= events),
            "the output has {events} events, more than --limit"
        );
        let (length, path) = (self.length, output.display());
        let found = fs::metadata(output).map_or(0, |found| found.len());
        anyhow::ensure!(found >= length, "{path} has {found} bytes, and had {length} before");
        Ok(())
    }
}

/// Opens a file, of which the first `length` bytes stay.
fn open(path: &Path, length: u64) -> io::Result<File> {
    let mut file = File::options().create(true).write(true).truncate(false).open(path)?;
    file.set_len(length)?;
    file.seek(SeekFrom::End(0))?;
    Ok(file)
}
