//! Variables that look like settings and are none: a mistyped name is told with the nearest one.

use super::table::ALL;

/// First words of settings that are the first words of others' variables, too: of AWS's tools and of Rust's.
const SHARED: [&str; 2] = ["AWS", "RUST"];

/// The name of the setting that is nearest, where the variable is none but begins as settings do.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let (word, _) = name.split_once('_')?;
    let known = || ALL.iter().map(|setting| setting.describe().variable);
    let is_ours = !SHARED.contains(&word)
        && known().any(|known| known.split_once('_').is_some_and(|(first, _)| first == word));
    let nearest = known().min_by_key(|known| distance(name, known))?;
    (is_ours && nearest != name).then_some(nearest)
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
