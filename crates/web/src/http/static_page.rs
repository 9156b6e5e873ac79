//! A page in the program, and its files.

use std::future::ready;

use warp::{
    Filter, Reply,
    filters::path::FullPath,
    http::{HeaderMap, HeaderValue, header},
};

use super::{Packed, Route, nothing, reads};

/// A page in the program, with the files that it loads from below its path.
#[derive(Debug)]
pub struct StaticPage {
    /// Its path, such as `/swagger`.
    pub path: &'static str,
    /// The page itself.
    pub html: Packed,
    /// The files of the page, by their names below the path.
    pub files: &'static [(&'static str, Packed)],
    /// The Content-Security-Policy of the page and of its files.
    pub policy: &'static str,
}

impl StaticPage {
    /// `GET` of the page and of its files.
    pub fn route(&'static self) -> Route {
        let here = warp::path::full().and_then(|path: FullPath| {
            ready(if self.below(path.as_str()).is_some() { Ok(path) } else { Err(warp::reject::not_found()) })
        });
        here.and(reads())
            .and(warp::header::headers_cloned())
            .map(|path: FullPath, asked: HeaderMap| {
                let Some(file) = self.below(path.as_str()).and_then(|name| self.file(name)) else {
                    return nothing(path.as_str()).into_response();
                };
                let mut response = file.answer(&asked);
                let policy = HeaderValue::from_static(self.policy);
                response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
                response
            })
            .boxed()
    }

    /// The name of a file below the page; empty for the page itself, `None` for a path elsewhere.
    fn below<'a>(&self, path: &'a str) -> Option<&'a str> {
        match path.strip_suffix('/').unwrap_or(path).strip_prefix(self.path)? {
            "" => Some(""),
            rest => rest.strip_prefix('/').filter(|name| !name.is_empty() && !name.contains('/')),
        }
    }

    fn file(&self, name: &str) -> Option<&Packed> {
        match name {
            "" => Some(&self.html),
            name => self.files.iter().find(|(known, _)| *known == name).map(|(_, file)| file),
        }
    }
}
