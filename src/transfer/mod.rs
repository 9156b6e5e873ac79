//! The commands `import` and `export`: events between files and a running service, over HTTP.

mod export;
mod import;
mod import_progress;
mod input;
mod packing;
mod progress;
mod window;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use highwater_kafka::Backoff;
use highwater_net::client::{self, Method, Pieces, StatusCode, Streamed, Trust, Url, header};
use highwater_web::{Secret, http};
use serde::Deserialize;
use tokio::time::Instant;

pub use export::export;
pub use import::import;

/// The longest time for which a service may be away or may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The task of `import`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportTask {
    /// The files; `-` is standard input.
    pub files: Vec<PathBuf>,
    /// Whether to go on where the last import of these files was.
    pub resume: bool,
    /// The URL of the service; `None` is the one that runs with the same settings.
    pub url: Option<Url>,
}

/// The task of `export`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportTask {
    /// The file; `None` is standard output. One that ends with `.gz` or `.zst` is packed.
    pub output: Option<PathBuf>,
    /// Whether to go on where the last export to this file was.
    pub resume: bool,
    /// The URL of the service; `None` is the one that runs with the same settings.
    pub url: Option<Url>,
    /// The parameters of the listing: names and values.
    pub filters: Vec<(&'static str, String)>,
    /// The most events, with those that the file has already.
    pub limit: Option<u64>,
}

/// The outcome of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferOutcome {
    /// All of it is done: exit code 0.
    All,
    /// Some events were refused, or are not this instance's: exit code 3.
    Some,
}

/// The service that is asked: its URL, and the certificates and the token for it.
struct RemoteService {
    url: Url,
    trust: Option<Trust>,
    token: Option<Secret>,
}

impl RemoteService {
    fn new(url: Option<Url>, token: Option<Secret>, config: &http::Config) -> anyhow::Result<Self> {
        let is_own = url.is_none();
        let own = format!("{}://{}", config.scheme(), config.own_address());
        let url = url.or_else(|| Url::parse(&own));
        let url = url.ok_or_else(|| anyhow::anyhow!("{own} is no URL"))?;
        let trust = if url.is_https() { Some(trust(is_own)?) } else { None };
        Ok(Self { url, trust, token })
    }

    /// Sends a request; its answer comes while its body goes.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        mut headers: Vec<(header::HeaderName, header::HeaderValue)>,
        body: Option<Pieces>,
    ) -> Result<Streamed, AttemptError> {
        let url = self.url.below(path).ok_or_else(|| AttemptError::Final(format!("{path} is no path")))?;
        if let Some(token) = &self.token {
            let value = header::HeaderValue::try_from(format!("Bearer {}", token.reveal()));
            let mut value = value
                .map_err(|_| AttemptError::Final("the token has characters that no header has".into()))?;
            value.set_sensitive(true);
            headers.push((header::AUTHORIZATION, value));
        }
        let answer = client::stream(method, &url, &headers, body, self.trust.as_ref(), PATIENCE).await;
        let answer = answer.map_err(|error| AttemptError::Transient(format!("{url}: {error}"), None))?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        let (status, retry_after) = (answer.status, client::retry_after(&answer.headers));
        let problem = detail(answer).await;
        let text = format!("{url} answers {status}: {problem}");
        match status {
            // Those of a proxy whose service is away, too.
            StatusCode::REQUEST_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Err(AttemptError::Transient(text, retry_after)),
            _ => Err(AttemptError::Final(text)),
        }
    }
}

/// The service of this machine is known by its address; any other by its certificate.
#[cfg(feature = "tls")]
fn trust(is_own: bool) -> anyhow::Result<Trust> {
    use highwater_kafka::security::{Tls, TlsFiles};

    if is_own {
        return Ok(Trust::of(highwater_net::unverified::client_config()?.into()));
    }
    match Tls::read(&TlsFiles::default()) {
        Ok(tls) => Ok(tls.trust()),
        Err(_) => anyhow::bail!("the system has no certificates of authorities"),
    }
}

#[cfg(not(feature = "tls"))]
fn trust(_: bool) -> anyhow::Result<Trust> {
    anyhow::bail!("this build has no TLS")
}

async fn detail(mut answer: Streamed) -> String {
    const LONGEST: usize = 64 * 1024;
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await
        && body.len() < LONGEST
    {
        body.extend_from_slice(&chunk);
    }
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
    }
    serde_json::from_slice(&body)
        .map_or_else(|_| "no problem that can be read".to_owned(), |it: Problem| it.detail)
}

/// The next piece of an answer, which comes in time.
async fn next_piece(answer: &mut Streamed) -> io::Result<Option<Bytes>> {
    tokio::time::timeout(PATIENCE, answer.chunk())
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// The fault that ended an attempt.
#[derive(Debug)]
enum AttemptError {
    /// Another attempt may succeed, after that time if there is one.
    Transient(String, Option<Duration>),
    Final(String),
}

impl From<io::Error> for AttemptError {
    fn from(error: io::Error) -> Self {
        Self::Transient(error.to_string(), None)
    }
}

/// Waits between attempts, and gives up when none has got on for [`PATIENCE`].
struct Attempts {
    last_got_on: Instant,
    backoff: Backoff,
}

impl Attempts {
    fn new() -> Self {
        Self { last_got_on: Instant::now(), backoff: Backoff::new() }
    }

    /// An attempt got on before it failed.
    fn got_on(&mut self) {
        *self = Self::new();
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    ///
    /// No further attempt is to be made.
    async fn after(&mut self, fault: AttemptError) -> anyhow::Result<()> {
        let (text, retry_after) = match fault {
            AttemptError::Transient(text, retry_after) => (text, retry_after),
            AttemptError::Final(text) => anyhow::bail!(text),
        };
        anyhow::ensure!(self.last_got_on.elapsed() < PATIENCE, "given up after {PATIENCE:?}: {text}");
        let wait = self.backoff.next_wait();
        tokio::time::sleep(retry_after.unwrap_or_default().clamp(wait, PATIENCE)).await;
        Ok(())
    }
}

/// The file of that name with that ending.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// The text of a note for `--resume`; `None` where there is none.
fn read_note(note: &Path) -> anyhow::Result<Option<String>> {
    match fs::read_to_string(note) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| note.display().to_string()),
    }
}

/// Splits pieces into lines.
#[derive(Default)]
struct LineSplitter {
    begun: Vec<u8>,
}

impl LineSplitter {
    /// Hands out each line that the piece completes.
    fn add<E>(&mut self, piece: &Bytes, mut line: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut rest = &piece[..];
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            if self.begun.is_empty() {
                line(&rest[..end])?;
            } else {
                self.begun.extend_from_slice(&rest[..end]);
                line(&std::mem::take(&mut self.begun))?;
            }
            rest = &rest[end + 1..];
        }
        self.begun.extend_from_slice(rest);
        Ok(())
    }
}
