//! The progress of the import of a file, and the note of it beside the file.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::{beside, input::Digest, read_note};

/// The lines of a file that are settled: each is stored or refused.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ImportProgress {
    pub(super) lines: u64,
    /// The number of refused lines among them.
    pub(super) refused: u64,
    /// The digest of these lines. It tells apart another file of the same name.
    pub(super) digest: Digest,
}

impl ImportProgress {
    /// Reads them from the note beside that file. Without a note there are none.
    pub(super) fn noted(path: &Path) -> anyhow::Result<Self> {
        let note = note_of(path);
        let Some(text) = read_note(&note)? else { return Ok(Self::default()) };
        Self::parse(&text).with_context(|| {
            format!("{} is no note of an import: delete it to import the whole file", note.display())
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<_> = text.split_ascii_whitespace().collect();
        let [lines, refused, digest] = fields[..] else { return None };
        Some(Self {
            lines: lines.parse().ok()?,
            refused: refused.parse().ok()?,
            digest: digest.parse().ok()?,
        })
    }

    /// Notes them beside that file.
    pub(super) fn note(&self, path: &Path) -> io::Result<()> {
        fs::write(note_of(path), format!("{} {} {}\n", self.lines, self.refused, self.digest))
    }
}

/// The note of that file.
pub(super) fn note_of(path: &Path) -> PathBuf {
    beside(path, ".imported")
}
