//! Variables that look like settings and are none: a mistyped name is told with the nearest one.

use super::table::ALL;

/// First words of settings that are the first words of others' variables, too: of AWS's tools, of Rust's, and of
/// whatever asks through a proxy (`HTTP_PROXY`).
const SHARED: [&str; 4] = ["AWS", "HTTP", "HTTPS", "RUST"];

/// The name of the setting that is meant, where the variable is none: it is one in lower case, or nearly one, or it
/// begins as settings do.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let (nearest, changes) = nearest_of_all(name)?;
    let is_meant = is_nearly(nearest, changes) || begins_as_ours(name);
    (is_meant && nearest != name).then_some(nearest)
}

/// Whether the variable says that Kafka is meant: it is one of Kafka's settings, or nearly one, or begins as they do.
pub(super) fn is_of_kafka(name: &str) -> bool {
    let begins = |name: &str| name.to_ascii_uppercase().starts_with("KAFKA_");
    begins(name)
        || nearest_of_all(name).is_some_and(|(near, changes)| is_nearly(near, changes) && begins(near))
}

fn variables() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|setting| setting.describe().variable)
}

/// The nearest setting, whatever the case, and how many letters are other.
fn nearest_of_all(name: &str) -> Option<(&'static str, usize)> {
    let name = name.to_ascii_uppercase();
    variables().map(|known| (known, distance(&name, known))).min_by_key(|(_, changes)| *changes)
}

/// Two letters make another word of a short name: `APP_PORT` is no `OPS_PORT`.
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

/// How many letters are to be put in, taken out or changed (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (place, other) in other.bytes().enumerate() {
            let changed = diagonal + usize::from(letter != other);
            diagonal = row[place + 1];
            row[place + 1] = changed.min(diagonal + 1).min(row[place] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}
