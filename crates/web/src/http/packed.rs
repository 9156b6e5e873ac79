//! Files in the program, packed by `build.rs`.

use std::io::Read as _;

use flate2::read::GzDecoder;
use warp::{
    Reply,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    reply::Response,
};

use super::{Problem, accepts_gzip};

/// A file in gzip (RFC 1952).
#[derive(Debug)]
pub struct Packed {
    gzip: &'static [u8],
    media_type: &'static str,
}

/// A file that the `build.rs` of the crate has packed: `packed!("activity.json", JSON)`.
#[macro_export]
macro_rules! packed {
    ($name:literal, $media_type:expr) => {
        $crate::http::Packed::new(include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".gz")), $media_type)
    };
}
pub use packed;

impl Packed {
    /// A file of this media type, packed by gzip.
    pub const fn new(gzip: &'static [u8], media_type: &'static str) -> Self {
        Self { gzip, media_type }
    }

    /// The file, for a request with these headers: packed where the client accepts gzip, and 304 where the client has it
    /// already (RFC 9110, sections 12.5.3 and 13.1.2). Clients may keep it and must ask again each time, since another
    /// version of the program has another file under the same name.
    pub(super) fn answer(&self, asked: &HeaderMap) -> Response {
        let is_packed =
            asked.get(header::ACCEPT_ENCODING).is_some_and(|value| accepts_gzip(value.as_bytes()));
        let etag = self.etag(is_packed);
        let has_it = asked.get(header::IF_NONE_MATCH).is_some_and(|tags| names(tags.as_bytes(), &etag));
        let mut response = if has_it {
            warp::reply::with_status("", StatusCode::NOT_MODIFIED).into_response()
        } else if is_packed {
            Response::new(self.gzip.into())
        } else {
            match self.unpacked() {
                Ok(file) => Response::new(file.into()),
                Err(error) => {
                    log::error!("a file of the program cannot be unpacked: {error}");
                    return Problem::internal().into_response();
                }
            }
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if is_packed {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        if let Ok(etag) = HeaderValue::try_from(etag) {
            headers.insert(header::ETAG, etag);
        }
        response
    }

    /// The unpacked file.
    ///
    /// # Errors
    ///
    /// The file is not in gzip, by a mistake of the build.
    pub fn unpacked(&self) -> std::io::Result<Vec<u8>> {
        let mut file = Vec::new();
        GzDecoder::new(self.gzip).read_to_end(&mut file)?;
        Ok(file)
    }

    /// The tag of a version: checksum and length, with which a gzip file ends. The packed form is another representation of
    /// the file (RFC 9110, section 8.8.3.3).
    fn etag(&self, is_packed: bool) -> String {
        let end =
            self.gzip.split_at_checked(self.gzip.len().saturating_sub(8)).map_or(&[][..], |(_, end)| end);
        let mut etag = String::from("\"");
        end.iter().for_each(|byte| etag.push_str(&format!("{byte:02x}")));
        etag.push_str(if is_packed { "-gzip\"" } else { "\"" });
        etag
    }
}

/// Whether an `If-None-Match` has this tag; compared weakly.
fn names(tags: &[u8], etag: &str) -> bool {
    tags.split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag.as_bytes())
}
