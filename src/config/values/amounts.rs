//! Numbers, sizes and durations, within bounds.

use std::{marker::PhantomData, time::Duration};

use super::{Values, digits};

/// A whole number within bounds that fit a `T`.
pub(in crate::config) struct Whole<T> {
    least: u64,
    most: u64,
    into: PhantomData<fn() -> T>,
}

impl<T> Whole<T> {
    pub(in crate::config) const fn from(least: u64) -> Self {
        Self { least, most: least, into: PhantomData }
    }

    pub(in crate::config) const fn to(self, most: u64) -> Self {
        Self { most, ..self }
    }
}

impl<T: TryFrom<u64>> Values for Whole<T> {
    type Value = T;

    fn parse(&self, text: &str) -> Option<T> {
        let number = digits(text)?;
        (self.least..=self.most).contains(&number).then(|| T::try_from(number).ok())?
    }

    fn allowed(&self) -> String {
        format!("a whole number from {} to {}", self.least, self.most)
    }
}

/// A number of bytes within bounds that fit a `T`.
pub(in crate::config) struct Size<T>(Whole<T>);

/// Units, the largest first, so that a bound is shown in the largest that divides it.
const SIZES: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl<T> Size<T> {
    pub(in crate::config) const fn from(least: u64) -> Self {
        Self(Whole::from(least))
    }

    pub(in crate::config) const fn to(self, most: u64) -> Self {
        Self(Whole { most, ..self.0 })
    }
}

impl<T: TryFrom<u64>> Values for Size<T> {
    type Value = T;

    fn parse(&self, text: &str) -> Option<T> {
        let bytes = match SIZES.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, bytes))) {
            Some((count, bytes)) => digits(count)?.checked_mul(*bytes)?,
            None => digits(text)?,
        };
        (self.0.least..=self.0.most).contains(&bytes).then(|| T::try_from(bytes).ok())?
    }

    fn allowed(&self) -> String {
        format!(
            "a size (70000, 64KiB, 1MiB) from {} to {}",
            in_units(self.0.least, &SIZES),
            in_units(self.0.most, &SIZES)
        )
    }
}

/// A duration within bounds.
pub(in crate::config) struct Durations {
    least: Duration,
    most: Duration,
}

/// Units of time, in milliseconds.
const TIMES: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("ms", 1), ("s", 1_000)];

impl Durations {
    pub(in crate::config) const fn from(least: Duration) -> Self {
        Self { least, most: least }
    }

    pub(in crate::config) const fn to(self, most: Duration) -> Self {
        Self { most, ..self }
    }
}

impl Values for Durations {
    type Value = Duration;

    fn parse(&self, text: &str) -> Option<Duration> {
        // TIMES has "ms" before "s", which is a suffix of it.
        let (count, millis) =
            TIMES.iter().find_map(|(unit, millis)| Some((text.strip_suffix(unit)?, millis)))?;
        let duration = Duration::from_millis(digits(count)?.checked_mul(*millis)?);
        (self.least..=self.most).contains(&duration).then_some(duration)
    }

    fn allowed(&self) -> String {
        let least = show_duration(self.least);
        let most = show_duration(self.most);
        format!("a duration (500ms, 5s, 7d) from {least} to {most}")
    }
}

/// A duration as a setting's text.
fn show_duration(duration: Duration) -> String {
    if duration.is_zero() {
        return "0s".to_owned();
    }
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    in_units(millis, &[TIMES[0], TIMES[1], TIMES[2], TIMES[4], TIMES[3]])
}

/// The amount in the largest unit that divides it.
fn in_units(amount: u64, units: &[(&str, u64)]) -> String {
    match units.iter().find(|(_, size)| amount >= *size && amount.is_multiple_of(*size)) {
        Some((unit, size)) => format!("{}{unit}", amount / size),
        None => amount.to_string(),
    }
}
