//! Variables that look like settings and are none. A mistyped name is reported with the nearest setting.

use super::table::ALL;

/// First words that other programs' variables share with settings: AWS's tools, OpenTelemetry's SDKs, Rust's, and proxies
/// (`HTTP_PROXY`).
const SHARED: [&str; 5] = ["AWS", "HTTP", "HTTPS", "OTEL", "RUST"];

/// The setting that an unknown variable probably means: one in lower case, one with up to two other letters, or one with the
/// same first word.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let (nearest, changes) = nearest_of_all(name)?;
    let is_meant = is_nearly(nearest, changes) || begins_as_ours(name);
    (is_meant && nearest != name).then_some(nearest)
}

/// Whether the variable is about Kafka: a setting of Kafka, nearly one, or a name with the same first word.
pub(super) fn is_of_kafka(name: &str) -> bool {
    let begins = |name: &str| name.to_ascii_uppercase().starts_with("KAFKA_");
    begins(name)
        || nearest_of_all(name).is_some_and(|(near, changes)| is_nearly(near, changes) && begins(near))
}

fn variables() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|setting| setting.describe().variable)
}

/// The nearest setting, without regard to case, and the number of changed letters.
fn nearest_of_all(name: &str) -> Option<(&'static str, usize)> {
    let name = name.to_ascii_uppercase();
    variables().map(|known| (known, distance(&name, known))).min_by_key(|(_, changes)| *changes)
}

/// Two letters make a different word of a short name: `APP_PORT` is not `OPS_PORT`.
fn is_nearly(setting: &str, changes: usize) -> bool {
    changes == 0 || (changes <= 2 && setting.len() >= 10)
}

fn begins_as_ours(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    name.split_once('_').is_some_and(|(word, _)| {
        !SHARED.contains(&word)
            && variables().any(|known| known.split_once('_').is_some_and(|(first, _)| first == word))
    })
}

/// The number of letters to insert, remove or change (Levenshtein distance).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (column, other) in other.bytes().enumerate() {
            let changed = diagonal + usize::from(letter != other);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}
