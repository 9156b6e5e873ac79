//! Packs files as gzip has them (RFC 1952), into the directory that `packed!` takes them from. Every crate with an OpenAPI
//! document has it in its build.rs.

use std::{
    env,
    error::Error,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use flate2::{Compression, GzBuilder};

/// Packs that file, or all files of that folder.
pub(crate) fn pack(path: &str) -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={path}");
    let path = Path::new(path);
    if path.is_dir() {
        for file in fs::read_dir(path)? {
            pack_file(&file?.path())?;
        }
        return Ok(());
    }
    pack_file(path)
}

fn pack_file(path: &Path) -> Result<(), Box<dyn Error>> {
    let name = path.file_name().ok_or("a file has a name")?.to_string_lossy();
    // Without a time: the same file is packed to the same bytes.
    let mut packing = GzBuilder::new().write(fs::File::create(out(&name)?)?, Compression::best());
    packing.write_all(&fs::read(path)?)?;
    packing.finish()?;
    Ok(())
}

/// The path to which a file of that name is packed.
pub(crate) fn out(name: &str) -> Result<PathBuf, Box<dyn Error>> {
    #[expect(clippy::disallowed_methods, reason = "Cargo says by it where to write")]
    let folder = env::var("OUT_DIR")?;
    Ok(Path::new(&folder).join(format!("{name}.gz")))
}
