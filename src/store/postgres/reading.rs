//! A page of a listing: some rows of each partition, merged.

use std::{ops::Range, sync::Arc};

use tokio_postgres::types::ToSql;

use super::{failure::Failure, pool::PooledConnection, row};
use crate::store::{
    Direction, EventPage, EventQuery, PAGE_BYTES, Positions, SequenceNumber, Span, StoredEvent,
    event::{type_key, user_key},
};

/// The number of positions in a block, as a power of two.
pub(super) const BLOCK: u32 = 10;
/// The most blocks of a partition that one page searches for events of a time.
const MOST_BLOCKS: usize = 64;
/// The most separate stretches of a partition that one page reads.
const MOST_STRETCHES: usize = 8;
/// The length up to which a page takes one look: any one partition may have all of it.
const SHORT: usize = 128;

/// The next events of the query within the span, at most `limit`. There are fewer, with more to come, if the rows that were
/// read of a partition are used up: then the next event is not known.
pub(super) async fn page(
    connection: &mut PooledConnection<'_>,
    query: &EventQuery,
    within: Span,
    limit: usize,
) -> Result<EventPage, Failure> {
    let mut parts: Vec<PagePart> = within
        .0
        .into_iter()
        .map(|(partition, whole)| PagePart::new(partition, whole, query.direction))
        .collect();
    if query.from.is_some() || query.to.is_some() {
        narrow(connection, query, &mut parts).await?;
    }
    let share = if limit <= SHORT || parts.len() < 2 { limit } else { limit * 5 / (4 * parts.len()) };
    fetch(connection, query, &mut parts, share + 1).await?;
    Ok(merge(parts, limit))
}

/// One partition's part in a page.
struct PagePart {
    partition: i32,
    direction: Direction,
    whole: Range<i64>,
    /// The stretches to look at, one after the other.
    stretches: Vec<Range<i64>>,
    /// The positions that are not looked at.
    beyond: Range<i64>,
    /// The events that were found, the last first.
    found: Vec<Arc<StoredEvent>>,
}

impl PagePart {
    fn new(partition: i32, whole: Range<i64>, direction: Direction) -> Self {
        let stretches = if whole.is_empty() { Vec::new() } else { vec![whole.clone()] };
        let beyond = direction.nothing(whole.clone());
        Self { partition, direction, whole, stretches, beyond, found: Vec::new() }
    }

    /// Restricts the search to these blocks, given in ascending order, and to nothing beyond the last if these are all. If
    /// they make many separate stretches, it looks at the first ones.
    fn narrow(&mut self, blocks: &[i64]) {
        let mut runs: Vec<Range<i64>> = Vec::new();
        for block in blocks {
            let (start, end) =
                ((block << BLOCK).max(self.whole.start), ((block + 1) << BLOCK).min(self.whole.end));
            match runs.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => runs.push(start..end),
            }
        }
        if self.direction == Direction::Backward {
            runs.reverse();
        }
        let are_all = blocks.len() < MOST_BLOCKS && runs.len() <= MOST_STRETCHES;
        runs.truncate(MOST_STRETCHES);
        if !are_all && let Some(last) = runs.last() {
            self.beyond = match self.direction {
                Direction::Forward => last.end..self.whole.end,
                Direction::Backward => self.whole.start..last.start,
            };
        }
        self.stretches = runs;
    }

    /// Takes the rows of each stretch, up to a stretch that was not read to its end.
    fn fill(&mut self, stretches: impl Iterator<Item = Vec<Arc<StoredEvent>>>, bounds: Bounds) {
        for mut stretch in stretches {
            let is_cut = bounds.may_cut(&stretch);
            stretch.sort_unstable_by_key(|stored| stored.position);
            if self.direction == Direction::Backward {
                stretch.reverse();
            }
            self.found.append(&mut stretch);
            if is_cut {
                if let Some(last) = self.found.last() {
                    self.beyond = match self.direction {
                        Direction::Forward => last.position + 1..self.whole.end,
                        Direction::Backward => self.whole.start..last.position,
                    };
                }
                break;
            }
        }
        self.found.reverse();
    }

    /// The position of the next row in the order of all.
    fn next(&self) -> Option<(SequenceNumber, i32, i64)> {
        self.found.last().map(|next| (next.sequence, next.partition, next.position))
    }

    /// The remaining positions, those of found events included.
    fn rest(&self) -> Range<i64> {
        match self.found.last() {
            Some(next) => self.direction.rest(next.position, self.whole.clone()),
            None => self.beyond.clone(),
        }
    }
}

/// Merges the events in the order of all, as long as the next one is known.
fn merge(mut parts: Vec<PagePart>, limit: usize) -> EventPage {
    let mut events = Vec::with_capacity(limit);
    while events.len() < limit {
        let next = parts.iter_mut().filter(|part| part.next().is_some());
        let next = next.reduce(|one, other| match one.direction {
            Direction::Forward if other.next() < one.next() => other,
            Direction::Backward if other.next() > one.next() => other,
            _ => one,
        });
        let Some(part) = next else { break };
        events.extend(part.found.pop());
        if part.found.is_empty() && !part.beyond.is_empty() {
            break;
        }
    }
    let rest = Span(parts.iter().map(|part| (part.partition, part.rest())).collect());
    let rest = (!rest.is_empty()).then_some(rest);
    EventPage { events, rest, complete_from: Positions::default() }
}

/// Narrows each part to the blocks that may have events of the requested time.
async fn narrow(
    connection: &mut PooledConnection<'_>,
    query: &EventQuery,
    parts: &mut [PagePart],
) -> Result<(), Failure> {
    let order = order(query.direction);
    let text = format!(
        "SELECT span.number, found.block
        FROM unnest($1::integer[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS span (partition, low, high, number)
        CROSS JOIN LATERAL (
            SELECT block FROM blocks
            WHERE partition = span.partition AND block BETWEEN span.low >> {BLOCK} AND (span.high - 1) >> {BLOCK}
                AND latest >= $4 AND earliest < $5
            ORDER BY block {order} LIMIT {MOST_BLOCKS}
        ) AS found"
    );
    let (partitions, lows, highs) = stretches(parts);
    let (from, to) = times(query);
    let rows = connection.query(&text, &[&partitions, &lows, &highs, &from, &to]).await?;
    let mut blocks = vec![Vec::new(); partitions.len()];
    for row in &rows {
        numbered(&mut blocks, row.get(0)).push(row.get::<_, i64>(1));
    }
    for (part, mut blocks) in parts.iter_mut().filter(|part| !part.stretches.is_empty()).zip(blocks) {
        blocks.sort_unstable();
        part.narrow(&blocks);
    }
    Ok(())
}

/// The bounds of one stretch: a number of rows, and the bytes of JSON after which no further row is read.
#[derive(Clone, Copy)]
struct Bounds {
    rows: i64,
    bytes: i64,
}

impl Bounds {
    /// Whether rows of the stretch may follow those that were read.
    fn may_cut(self, read: &[Arc<StoredEvent>]) -> bool {
        let bytes: usize = read.iter().map(|stored| stored.json().len()).sum();
        read.len() as i64 == self.rows || bytes as i64 >= self.bytes
    }
}

/// Reads at most this number of rows of each stretch.
async fn fetch(
    connection: &mut PooledConnection<'_>,
    query: &EventQuery,
    parts: &mut [PagePart],
    most: usize,
) -> Result<(), Failure> {
    let (partitions, lows, highs) = stretches(parts);
    if lows.is_empty() {
        return Ok(());
    }
    let bounds = Bounds { rows: most as i64, bytes: (PAGE_BYTES / lows.len()) as i64 };
    let (from, to) = times(query);
    let (user, event_type) =
        (query.user_id.as_deref().map(user_key), query.event_type.as_deref().map(type_key));
    // A user's events are few. The index of users has another hash of the type than that of types, so that no plan goes
    // through all of the type where a user is asked for.
    let of_type = match user {
        Some(_) => "hashtext(event_type) = hashtext(?) AND event_type = ?",
        None => "hashtextextended(event_type, 0) = hashtextextended(?, 0) AND event_type = ?",
    };
    let wanted: [(bool, &(dyn ToSql + Sync), &str); 4] = [
        (user.is_some(), &user, "hashtext(user_id) = hashtext(?) AND user_id = ?"),
        (event_type.is_some(), &event_type, of_type),
        (query.from.is_some(), &from, "occurred_at >= ?"),
        (query.to.is_some(), &to, "occurred_at < ?"),
    ];
    let mut parameters: Vec<&(dyn ToSql + Sync)> =
        vec![&partitions, &lows, &highs, &bounds.rows, &bounds.bytes];
    let mut filters = String::new();
    for (_, parameter, filter) in wanted.iter().filter(|(is_wanted, ..)| *is_wanted) {
        parameters.push(*parameter);
        filters.push_str(" AND ");
        filters.push_str(&filter.replace('?', &format!("${}", parameters.len())));
    }
    let order = order(query.direction);
    let text = format!(
        "SELECT found.partition, found.position, found.stored_at, found.event, span.number
        FROM unnest($1::integer[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS span (partition, low, high, number)
        CROSS JOIN LATERAL (
            SELECT *, sum(octet_length(event::text)) OVER (ORDER BY position {order} ROWS UNBOUNDED PRECEDING)
                - octet_length(event::text) AS bytes_before
            FROM (
                SELECT partition, position, stored_at, event FROM events
                WHERE partition = span.partition AND position >= span.low AND position < span.high{filters}
                ORDER BY position {order} LIMIT $4
            ) AS next
        ) AS found
        WHERE found.bytes_before < $5"
    );
    let rows = connection.query(&text, &parameters).await?;
    let mut found = vec![Vec::new(); lows.len()];
    for row in &rows {
        numbered(&mut found, row.get(4)).push(row::stored(row)?);
    }
    let mut found = found.into_iter();
    for part in parts {
        let stretches = part.stretches.len();
        // All of them, also those behind one that is cut short: the next part's come after them.
        let of_part: Vec<_> = found.by_ref().take(stretches).collect();
        part.fill(of_part.into_iter(), bounds);
    }
    Ok(())
}

/// All stretches of all parts, as three arrays.
fn stretches(parts: &[PagePart]) -> (Vec<i32>, Vec<i64>, Vec<i64>) {
    let all = parts.iter().flat_map(|part| part.stretches.iter().map(|stretch| (part.partition, stretch)));
    let mut arrays = (Vec::new(), Vec::new(), Vec::new());
    for (partition, stretch) in all {
        arrays.0.push(partition);
        arrays.1.push(stretch.start);
        arrays.2.push(stretch.end);
    }
    arrays
}

/// The item for the array's element with that number. Numbers count from one.
fn numbered<T>(all: &mut [T], number: i64) -> &mut T {
    &mut all[number as usize - 1]
}

fn times(query: &EventQuery) -> (row::Micros, row::Micros) {
    let millis = query.millis();
    (row::Micros(row::micros(millis.start)), row::Micros(row::micros(millis.end)))
}

fn order(direction: Direction) -> &'static str {
    match direction {
        Direction::Forward => "ASC",
        Direction::Backward => "DESC",
    }
}
