//! Packs the files that the documentation's pages are made of: the page of Swagger UI, and Swagger UI itself, which its
//! crate brings along in a ZIP archive. `src/http/packed.rs` takes them from where they are packed to.

mod pack;

use std::{error::Error, fs};

use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;

/// The files of Swagger UI that the page needs.
const SWAGGER_UI: [&str; 2] = ["swagger-ui-bundle.js", "swagger-ui.css"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    pack::pack("src/http/openapi/page")?;
    for name in SWAGGER_UI {
        let packed = ZipFile(SWAGGER_UI_VENDORED).take(name).ok_or(format!("Swagger UI has no {name}"))?;
        fs::write(pack::out(name)?, packed)?;
    }
    Ok(())
}

/// A ZIP archive (PKWARE's APPNOTE.TXT, section 4.3).
struct ZipFile<'a>(&'a [u8]);

impl ZipFile<'_> {
    /// The file `<directory>/dist/<name>` as gzip has it. The archive deflated it already, and knows its checksum and
    /// length: that is all there is in a gzip file.
    fn take(&self, name: &str) -> Option<Vec<u8>> {
        const END: &[u8] = b"PK\x05\x06";
        const ENTRY: &[u8] = b"PK\x01\x02";
        const DEFLATED: usize = 8;
        let end = self.0.windows(END.len()).rposition(|bytes| bytes == END)?;
        let mut entry = self.number::<4>(end + 16)?;
        while self.0.get(entry..)?.starts_with(ENTRY) {
            let name_length = self.number::<2>(entry + 28)?;
            let path = std::str::from_utf8(self.0.get(entry + 46..entry + 46 + name_length)?).ok()?;
            if path.split_once('/')?.1 == format!("dist/{name}") && self.number::<2>(entry + 10)? == DEFLATED
            {
                let local = self.number::<4>(entry + 42)?;
                let begin = local + 30 + self.number::<2>(local + 26)? + self.number::<2>(local + 28)?;
                let deflated = self.0.get(begin..begin + self.number::<4>(entry + 20)?)?;
                let (checksum, length) =
                    (self.0.get(entry + 16..entry + 20)?, self.0.get(entry + 24..entry + 28)?);
                return Some([b"\x1f\x8b\x08\0\0\0\0\0\0\xff", deflated, checksum, length].concat());
            }
            entry += 46 + name_length + self.number::<2>(entry + 30)? + self.number::<2>(entry + 32)?;
        }
        None
    }

    /// The little-endian number of this many bytes at that place.
    fn number<const BYTES: usize>(&self, at: usize) -> Option<usize> {
        let bytes = self.0.get(at..at + BYTES)?;
        Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }
}
