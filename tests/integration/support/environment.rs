//! The variables of the tests.

/// A variable of the environment. An empty one counts as unset.
#[expect(
    clippy::disallowed_methods,
    reason = "the tests' own switches, which no setting of the program reads"
)]
pub(crate) fn switch(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
