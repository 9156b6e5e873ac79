//! The paths that a service serves: what metrics call them, the methods that each takes, and what it asks of clients.

use crate::auth::Need;

/// Each path, as a pattern such as `/users/{userId}`, its methods, as `Allow` has them, and what it asks of clients.
#[derive(Debug)]
pub struct Paths(pub &'static [(&'static str, &'static str, Need)]);

impl Paths {
    /// The place of what a path belongs to. One `/` at its end makes no difference.
    pub fn place(&self, path: &str) -> Option<usize> {
        let path = path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path);
        self.0
            .iter()
            .position(|(pattern, ..)| path == *pattern || (pattern.contains('{') && fits(pattern, path)))
    }

    /// The methods of a path; none where nothing is served.
    pub fn methods(&self, path: &str) -> Option<&'static str> {
        Some(self.0[self.place(path)?].1)
    }

    /// The need of a path; none where nothing is served.
    pub fn need(&self, path: &str) -> Option<Need> {
        Some(self.0[self.place(path)?].2)
    }
}

/// Segment by segment; one in braces is any that is not empty.
fn fits(pattern: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    let all = pattern.split('/').all(|wanted| {
        segments
            .next()
            .is_some_and(|segment| segment == wanted || (wanted.starts_with('{') && !segment.is_empty()))
    });
    all && segments.next().is_none()
}
