//! The files of a folder of schemas.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The deepest nesting of folders in the folder. The bounds are there since it may be the wrong one.
const MAX_DEPTH: usize = 8;
/// The most files and folders.
const MAX_FILES: usize = 10_000;

/// The contents of the folder.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// The files of schemas, in the order of their paths.
    pub(super) files: Vec<PathBuf>,
    /// The folder, and those in it.
    pub(super) folders: Vec<PathBuf>,
}

impl Contents {
    /// Looks into a folder. Hidden files and folders do not count: there Kubernetes keeps the files of a mounted ConfigMap.
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        let mut contents = Self::default();
        contents.add(folder, 0)?;
        contents.files.sort_unstable();
        Ok(contents)
    }

    /// The paths whose change is a change of the schemas.
    pub(super) fn paths(self) -> Vec<PathBuf> {
        [self.folders, self.files].concat()
    }

    fn add(&mut self, folder: &Path, depth: usize) -> io::Result<()> {
        if depth > MAX_DEPTH {
            return Err(io::Error::other("nests folders too deep"));
        }
        self.folders.push(folder.to_owned());
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if is_hidden {
                continue;
            }
            if path.is_dir() {
                self.add(&path, depth + 1)?;
            } else if path.extension().is_some_and(|extension| extension == "json") {
                self.files.push(path);
            }
            if self.files.len() + self.folders.len() > MAX_FILES {
                return Err(io::Error::other("has too many files"));
            }
        }
        Ok(())
    }
}
