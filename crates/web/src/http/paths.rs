//! The paths that a service serves: their names in metrics, their methods, and the rights that they need.

use crate::auth::Need;

/// A path as a pattern, such as `/users/{userId}`, its methods, as in `Allow`, and its need.
pub type Path = (&'static str, &'static str, Need);

/// All paths of a service, in groups: its own, and those shared with other services.
#[derive(Debug)]
pub struct Paths(pub &'static [&'static [Path]]);

impl Paths {
    /// The paths of all groups, in order.
    pub fn all(&self) -> impl Iterator<Item = &'static Path> {
        self.0.iter().copied().flatten()
    }

    /// The index of the pattern that a path fits. One `/` at its end makes no difference.
    pub fn place(&self, path: &str) -> Option<usize> {
        let path = path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path);
        self.all()
            .position(|(pattern, ..)| path == *pattern || (pattern.contains('{') && fits(pattern, path)))
    }

    /// The pattern of a path; `None` for an unknown path.
    pub fn pattern(&self, path: &str) -> Option<&'static str> {
        self.all().nth(self.place(path)?).map(|(pattern, ..)| *pattern)
    }

    /// The methods of a path; `None` for an unknown path.
    pub fn methods(&self, path: &str) -> Option<&'static str> {
        self.all().nth(self.place(path)?).map(|(_, methods, _)| *methods)
    }

    /// The need of a path; `None` for an unknown path.
    pub fn need(&self, path: &str) -> Option<Need> {
        self.all().nth(self.place(path)?).map(|(.., need)| *need)
    }
}

/// Whether a path fits a pattern, segment by segment. A segment in braces fits any that is not empty.
fn fits(pattern: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    let all = pattern.split('/').all(|wanted| {
        segments
            .next()
            .is_some_and(|segment| segment == wanted || (wanted.starts_with('{') && !segment.is_empty()))
    });
    all && segments.next().is_none()
}
