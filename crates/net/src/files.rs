//! Values made of files, and made anew when the files change: certificates, keys and passwords are renewed while the process
//! runs.
//!
//! No watcher observes the files. They are checked when the value is asked for, at most twice a second: a check is a stat(2)
//! for each file.

use std::{
    fmt, fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// The time for which a value is used without a check of its files.
const LOOK: Duration = Duration::from_millis(500);

/// The marks of a file's content that need no reading: its inode, its length, and the time of its change. A replaced file
/// has another inode; Kubernetes and certbot replace files.
type Stamp = (u64, u64, i64, i64);

/// A value made of files.
pub struct FromFiles<T> {
    /// The names of the files in the log.
    shown: String,
    paths: Box<dyn Fn() -> Vec<PathBuf> + Send + Sync>,
    make: Box<dyn Fn() -> Result<T, String> + Send + Sync>,
    state: Mutex<State<T>>,
}

struct State<T> {
    looked: Instant,
    stamps: Vec<Option<Stamp>>,
    current: Arc<T>,
    /// The reason why the current files make no value.
    fault: Option<String>,
}

impl<T> FromFiles<T> {
    /// The value that `make` makes of these files.
    ///
    /// # Errors
    ///
    /// The error of `make`.
    pub fn new<E>(
        paths: Vec<PathBuf>,
        make: impl Fn() -> Result<T, E> + Send + Sync + 'static,
        in_words: impl Fn(E) -> String + Send + Sync + 'static,
    ) -> Result<Self, E> {
        let shown: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
        Self::of_changing(shown.join(", "), move || paths.clone(), make, in_words)
    }

    /// The value that `make` makes of changing files, which `paths` finds. The log calls them `shown`.
    ///
    /// # Errors
    ///
    /// The error of `make`.
    pub fn of_changing<E>(
        shown: String,
        paths: impl Fn() -> Vec<PathBuf> + Send + Sync + 'static,
        make: impl Fn() -> Result<T, E> + Send + Sync + 'static,
        in_words: impl Fn(E) -> String + Send + Sync + 'static,
    ) -> Result<Self, E> {
        // The stamps are taken before the files are read: the next check sees a change in between.
        let stamps = stamps(&paths());
        let current = Arc::new(make()?);
        let state = State { looked: Instant::now(), stamps, current, fault: None };
        let make = Box::new(move || make().map_err(&in_words));
        Ok(Self { shown, paths: Box::new(paths), make, state: Mutex::new(state) })
    }

    /// The value. If the files have changed, it is made anew. If they make no value, the last one stays, and the log says
    /// why, once a change.
    pub fn current(&self) -> Arc<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() < LOOK {
            return Arc::clone(&state.current);
        }
        state.looked = Instant::now();
        let stamps = stamps(&(self.paths)());
        let is_news = stamps != state.stamps;
        if !is_news && state.fault.is_none() {
            return Arc::clone(&state.current);
        }
        let shown = &self.shown;
        match (self.make)() {
            Ok(made) => {
                log::info!("read again after a change: {shown}");
                (state.current, state.fault) = (Arc::new(made), None);
            }
            Err(fault) => {
                if is_news {
                    log::error!(
                        "what was read before stays in use, as {shown} changed and cannot be used: {fault}"
                    );
                }
                state.fault = Some(fault);
            }
        }
        state.stamps = stamps;
        Arc::clone(&state.current)
    }

    /// The reason why the current files make no value, while an earlier value is in use.
    pub fn fault(&self) -> Option<String> {
        self.current();
        self.state.lock().unwrap_or_else(PoisonError::into_inner).fault.clone()
    }
}

/// Shows nothing of the value, which may be a key.
impl<T> fmt::Debug for FromFiles<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromFiles").field("paths", &self.shown).finish_non_exhaustive()
    }
}

/// A file's text without the line end, for a secret in a file.
///
/// # Errors
///
/// The file cannot be read, or is no UTF-8.
pub fn first_line(path: &Path) -> io::Result<String> {
    let text = fs::read_to_string(path)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

fn stamps(paths: &[PathBuf]) -> Vec<Option<Stamp>> {
    let stamp = |path: &PathBuf| {
        let about = fs::metadata(path).ok()?;
        Some((about.ino(), about.len(), about.mtime(), about.mtime_nsec()))
    };
    paths.iter().map(stamp).collect()
}
