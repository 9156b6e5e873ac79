//! The packing of a file.

use std::{
    borrow::Cow,
    io::{self, Write as _},
    path::Path,
};

use flate2::{Compression, write::GzEncoder};

/// zstd's level: the first strategy of zstd packs events better than that of its default level, and a static binary has no other.
const LEVEL: i32 = 1;

/// The packing of a file that is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Packing {
    #[default]
    Plain,
    Gzip,
    Zstd,
}

impl Packing {
    /// As the file's name says.
    pub(super) fn of(path: &Path) -> Self {
        let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
        match ending.to_str() {
            Some("gz") => Self::Gzip,
            Some("zst" | "zstd") => Self::Zstd,
            _ => Self::Plain,
        }
    }

    /// Packs a part of a file by itself: packed parts in a row are a packed file (RFC 1952, RFC 8878).
    pub(super) fn pack(self, part: &[u8]) -> io::Result<Cow<'_, [u8]>> {
        match self {
            Self::Plain => Ok(part.into()),
            Self::Gzip => {
                let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
                gzip.write_all(part)?;
                Ok(gzip.finish()?.into())
            }
            Self::Zstd => Ok(zstd::bulk::compress(part, LEVEL)?.into()),
        }
    }
}
