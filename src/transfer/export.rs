//! `highwater export`: the stored events of a running service, an event a line.
//!
//! Page by page: each ends with a link to the next, which is valid on every instance. So an export can be continued.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Seek as _, SeekFrom, Write},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use flate2::{Compression, write::GzEncoder};
use highwater_net::client::{Method, Streamed, header};
use highwater_web::{
    Secret,
    http::{self, NDJSON},
};

use super::{
    Attempts, ExportTask, Fault, LineSplitter, Service, TransferOutcome,
    progress::{Figures, ProgressLine},
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
    let service = Service::new(task.url.clone(), token, config)?;
    let mut export = Export::new(task)?;
    let mut attempts = Attempts::new();
    while let Some(path) = export.next.clone().filter(|_| export.left != Some(0)) {
        match export.page(&service, &path).await {
            Ok(()) => attempts.got_on(),
            Err(fault) => attempts.after(fault).await?,
        }
    }
    export.end()
}

struct Export {
    /// The path of the next page.
    next: Option<String>,
    output: Output,
    /// How long the output is, before it is packed.
    length: u64,
    /// Where the next path is noted, for `--resume`.
    note: Option<PathBuf>,
    left: Option<u64>,
    events: u64,
    /// The answers are of all partitions.
    is_whole: bool,
    progress: ProgressLine,
}

impl Export {
    fn new(task: ExportTask) -> anyhow::Result<Self> {
        let note = match (&task.output, task.resume) {
            (Some(path), true) if !is_gzip(path) => Some(note_of(path)),
            (_, true) => anyhow::bail!("--resume needs --output, to a file that is not packed"),
            (_, false) => None,
        };
        let noted = note.as_deref().map(noted).transpose()?.flatten();
        let query =
            task.filters.iter().map(|(name, value)| format!("&{name}={}", http::encode_segment(value)));
        let first = format!("/events/processed?limit={PAGE}{}", query.collect::<String>());
        let (length, next) = noted.unwrap_or((0, first));
        let output = Output::open(task.output.as_deref(), length)?;
        Ok(Self {
            next: Some(next),
            length,
            output,
            note,
            left: task.limit,
            events: 0,
            is_whole: true,
            progress: ProgressLine::new(),
        })
    }

    /// Writes the events of a page. One that breaks off is read again as a whole.
    async fn page(&mut self, service: &Service, path: &str) -> Result<(), Fault> {
        let headers = vec![(header::ACCEPT, header::HeaderValue::from_static(NDJSON))];
        let mut answer = service.ask(Method::GET, path, headers, None).await?;
        let (mut page, mut events) = (Vec::new(), 0);
        let mut lines = LineSplitter::default();
        let most = self.left.unwrap_or(u64::MAX);
        while let Some(chunk) = answer.chunk().await? {
            lines.add(&chunk, |line| {
                if events < most {
                    events += 1;
                    page.extend_from_slice(line);
                    page.push(b'\n');
                }
                Ok::<_, Fault>(())
            })?;
        }
        self.output.write_all(&page).map_err(|error| Fault::Final(format!("the output: {error}")))?;
        self.length += page.len() as u64;
        self.events += events;
        self.left = self.left.map(|left| left - events);
        self.is_whole &= is_whole(&answer);
        self.next = next_of(&answer);
        self.note_next().map_err(|error| Fault::Final(format!("the note for --resume: {error}")))?;
        self.progress.show(Figures { events: self.events, refused: 0, share: None });
        Ok(())
    }

    fn note_next(&mut self) -> io::Result<()> {
        let Some(note) = &self.note else { return Ok(()) };
        self.output.flush()?;
        match &self.next {
            Some(next) => fs::write(note, format!("{} {next}\n", self.length)),
            None if note.exists() => fs::remove_file(note),
            None => Ok(()),
        }
    }

    fn end(mut self) -> anyhow::Result<TransferOutcome> {
        self.output.finish().context("the output")?;
        let part = if self.is_whole {
            ""
        } else {
            ", of the partitions that this instance has: ask the others, too"
        };
        self.progress.end(&format!("{} events{part}", self.events));
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

fn note_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".next");
    name.into()
}

/// How long the output was, and the path of the page after that.
fn noted(note: &Path) -> anyhow::Result<Option<(u64, String)>> {
    let text = match fs::read_to_string(note) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| note.display().to_string()),
    };
    let parsed =
        text.trim().split_once(' ').and_then(|(length, next)| Some((length.parse().ok()?, next.to_owned())));
    parsed.map(Some).with_context(|| format!("{} is no note of an export", note.display()))
}

fn is_gzip(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"))
}

/// Opens a file, of which the first `length` bytes stay.
fn open(path: &Path, length: u64) -> io::Result<File> {
    let mut file = File::options().create(true).write(true).truncate(false).open(path)?;
    file.set_len(length)?;
    file.seek(SeekFrom::End(0))?;
    Ok(file)
}

/// Where events are written to.
enum Output {
    Plain(BufWriter<Box<dyn Write + Send>>),
    Gzip(GzEncoder<BufWriter<Box<dyn Write + Send>>>),
}

impl Output {
    /// The output, of which the first `length` bytes stay.
    fn open(path: Option<&Path>, length: u64) -> anyhow::Result<Self> {
        let is_zstd = path.and_then(Path::extension).is_some_and(|it| it.eq_ignore_ascii_case("zst"));
        anyhow::ensure!(!is_zstd, "of packed files gzip alone is written: name it .gz, or pipe through zstd");
        let to: Box<dyn Write + Send> = match path {
            None => Box::new(io::stdout()),
            Some(path) => Box::new(open(path, length).with_context(|| path.display().to_string())?),
        };
        let to = BufWriter::with_capacity(64 * 1024, to);
        Ok(match path.is_some_and(is_gzip) {
            true => Self::Gzip(GzEncoder::new(to, Compression::default())),
            false => Self::Plain(to),
        })
    }

    fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(to) => to.flush(),
            Self::Gzip(to) => {
                to.try_finish()?;
                to.get_mut().flush()
            }
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(to) => to.write(bytes),
            Self::Gzip(to) => to.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(to) => to.flush(),
            Self::Gzip(to) => {
                to.flush()?;
                to.get_mut().flush()
            }
        }
    }
}
