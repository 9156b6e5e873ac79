//! Clients that post streams of events (NDJSON to `/events/batch`) and read the receipts as they come. What was sent and has
//! no acknowledgement is sent again, with the same ids and to any instance, before anything else. Some streams their clients
//! break off in the middle.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use futures::stream;
use reqwest::{Body, Response, StatusCode};
use serde::Deserialize;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use uuid::Uuid;

use crate::{
    clients::{ANSWERED_WITHIN, GIVEN_UP_AFTER, POSTED_TWICE, Poster},
    events::{Event, Users},
    gate::Gate,
    history::{History, now},
    random::Random,
};

/// The logarithm (base 2) of the most lines of a stream.
const LONGEST: u64 = 12;
/// The most lines that come at once.
const PIECE: usize = 64;
/// A line comes so soon at the latest, while any do.
const NEXT_LINE: Duration = Duration::from_secs(1);
/// How many of a hundred streams come as fast as they are taken, and not as events happen.
const AT_ONCE: u64 = 25;
/// How many of a hundred streams are broken off.
const BROKEN_OFF: u64 = 15;

pub(crate) struct StreamingClient {
    pub(crate) poster: Poster,
    pub(crate) gate: Arc<Gate>,
    pub(crate) random: Random,
    pub(crate) users: Users,
    /// The time that a line has.
    pub(crate) pace: Duration,
}

impl StreamingClient {
    pub(crate) async fn run(mut self) {
        loop {
            let began = Instant::now();
            let inside = self.gate.enter().await;
            let sent = self.post().await;
            drop(inside);
            sleep((self.pace * sent).saturating_sub(began.elapsed())).await;
        }
    }

    /// Posts a stream, until each event of it is acknowledged or given up; how many it had.
    async fn post(&mut self) -> u32 {
        let most = 1 << self.random.between(2..=LONGEST);
        let events = (0..self.random.between(most / 2..=most)).map(|_| self.users.event(&mut self.random));
        let events: Arc<[Event]> = events.collect();
        let pace = (!self.random.percent(AT_ONCE)).then_some(self.pace);
        let mut attempt = self.attempt(events, pace).await;
        let by = Instant::now() + GIVEN_UP_AFTER;
        let sent = attempt.sent();
        // Nobody knows of those that were not sent.
        let mut left = attempt.left(sent);
        let twice: Arc<[Event]> =
            attempt.events[..sent].iter().copied().filter(|_| self.random.percent(POSTED_TWICE)).collect();
        while !left.is_empty() && Instant::now() < by {
            sleep(Duration::from_millis(self.random.between(20..=250))).await;
            attempt = self.attempt(left, None).await;
            left = attempt.left(attempt.events.len());
        }
        if left.is_empty() && !twice.is_empty() {
            // Acknowledged or not: the events are there.
            self.attempt(twice, None).await;
        }
        sent as u32
    }

    async fn attempt(&mut self, events: Arc<[Event]>, pace: Option<Duration>) -> Attempt {
        let instance = self.random.below(self.poster.bases.len());
        let broken_off = self.random.percent(BROKEN_OFF).then(|| self.random.below(events.len()));
        let mut attempt = Attempt {
            acknowledged: vec![false; events.len()],
            told: 0,
            broken_off_after: broken_off,
            sent: Arc::default(),
            events,
        };
        let lines = Lines {
            events: Arc::clone(&attempt.events),
            sent: Arc::clone(&attempt.sent),
            gate: Arc::clone(&self.gate),
            history: Arc::clone(&self.poster.history),
            random: Random::named(self.random.next(), "pieces"),
            next_at: Instant::now(),
            pace,
        };
        let outcome = attempt.post(&self.poster, instance, lines).await;
        let missing = attempt.acknowledged[..attempt.sent()].iter().filter(|acknowledged| !**acknowledged);
        self.poster.history.known().figures.refused += missing.count() as u64;
        let (told, sent) = (attempt.told, attempt.sent());
        match outcome {
            Ok(()) => {}
            Err(error) => self.poster.history.write(format_args!(
                "a stream to instance {instance} ended after {told} receipts of {sent} lines: {error:#}"
            )),
        }
        attempt
    }
}

/// Lines on their way.
struct Lines {
    events: Arc<[Event]>,
    sent: Arc<AtomicUsize>,
    gate: Arc<Gate>,
    history: Arc<History>,
    random: Random,
    next_at: Instant,
    /// The time that a line has, where lines come as events happen: while the gate is open.
    pace: Option<Duration>,
}

impl Lines {
    /// The next ones; `None` after the last.
    async fn next(&mut self) -> Option<Bytes> {
        let mut most = PIECE;
        if let Some(pace) = self.pace {
            sleep_until(self.next_at).await;
            if self.gate.is_closed() {
                return None;
            }
            most = most.min((NEXT_LINE.as_secs_f64() / pace.as_secs_f64()) as usize).max(1);
        }
        let sent = self.sent.load(Ordering::SeqCst);
        let piece = self.events[sent..].iter().take(1 + self.random.below(most));
        let mut text = String::new();
        let mut count = 0;
        for event in piece {
            self.history.sent(event.id, event.user, event.number);
            text.push_str(&event.body("payload").to_string());
            text.push('\n');
            count += 1;
        }
        self.sent.fetch_add(count, Ordering::SeqCst);
        self.next_at += self.pace.unwrap_or_default() * count as u32;
        (count > 0).then(|| text.into())
    }
}

/// A stream of events.
struct Attempt {
    events: Arc<[Event]>,
    /// How many of them are on their way.
    sent: Arc<AtomicUsize>,
    acknowledged: Vec<bool>,
    /// How many receipts came.
    told: usize,
    /// After so many the client goes away.
    broken_off_after: Option<usize>,
}

/// A line of the answer, as far as it matters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Receipt {
    /// Absent where it says why the stream ends.
    line: Option<usize>,
    status: u16,
    event_id: Option<Uuid>,
    partition: Option<i32>,
    offset: Option<i64>,
    possibly_written: Option<bool>,
}

impl Attempt {
    fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }

    /// Those of the first so many that are not acknowledged.
    fn left(&self, of: usize) -> Arc<[Event]> {
        let all = self.events[..of].iter().zip(&self.acknowledged);
        all.filter(|(_, acknowledged)| !**acknowledged).map(|(event, _)| *event).collect()
    }

    async fn post(&mut self, poster: &Poster, instance: usize, lines: Lines) -> Result<()> {
        let history = &*poster.history;
        history.known().figures.streams.0 += 1;
        let body = stream::unfold(lines, async |mut lines| {
            let piece = lines.next().await?;
            Some((Ok::<_, std::convert::Infallible>(piece), lines))
        });
        let request = poster.http.post(format!("{}/events/batch", poster.bases[instance]));
        let request = request.header("content-type", "application/x-ndjson").body(Body::wrap_stream(body));
        let mut answer = within(history, instance, request.send()).await??;
        let status = answer.status();
        if status != StatusCode::MULTI_STATUS {
            bail!("{status}: {}", answer.text().await?);
        }
        let fault = self.read(history, instance, &mut answer).await?;
        if let Some(fault) = fault {
            bail!("{fault}");
        }
        Ok(())
    }

    /// Reads the receipts to their end; why the instance ended them, where that was before the stream's.
    async fn read(
        &mut self,
        history: &History,
        instance: usize,
        answer: &mut Response,
    ) -> Result<Option<String>> {
        let (mut text, mut fault) = (Vec::new(), None);
        while let Some(piece) = within(history, instance, answer.chunk()).await?? {
            text.extend_from_slice(&piece);
            let Some(end) = text.iter().rposition(|byte| *byte == b'\n') else { continue };
            for line in text[..end].split(|byte| *byte == b'\n') {
                let receipt: Receipt = serde_json::from_slice(line).context("a receipt")?;
                match receipt.line {
                    Some(number) => self.take(history, number, &receipt)?,
                    None => fault = Some(String::from_utf8_lossy(line).into_owned()),
                }
                if self.broken_off_after.is_some_and(|receipts| self.told > receipts) {
                    history.known().figures.streams.1 += 1;
                    bail!("broken off by the client");
                }
            }
            text.drain(..=end);
        }
        if fault.is_none() && self.told < self.sent() {
            let what = format!("instance {instance} answers {} lines with {}", self.sent(), self.told);
            history.known().wrong_receipts.push(what);
        }
        Ok(fault)
    }

    fn take(&mut self, history: &History, number: usize, receipt: &Receipt) -> Result<()> {
        let event = self.events[..self.sent()].get(self.told);
        let event = event.filter(|event| number == self.told + 1 && receipt.event_id == Some(event.id));
        let Some(event) = event.filter(|_| matches!(receipt.status, 201 | 429 | 503)) else {
            let what = format!("{receipt:?} after {} receipts", self.told);
            history.known().wrong_receipts.push(what.clone());
            bail!(what);
        };
        self.told += 1;
        match (receipt.partition.zip(receipt.offset), receipt.possibly_written) {
            (Some(place), _) => {
                self.acknowledged[number - 1] = true;
                history.known().figures.receipts += 1;
                history.acknowledged(event.id, place);
            }
            (None, Some(false)) => history.not_written(event.id),
            (None, _) => {}
        }
        Ok(())
    }
}

/// Waits for what an instance says next.
async fn within<T>(history: &History, instance: usize, answer: impl Future<Output = T>) -> Result<T> {
    let asked = now();
    let answer = timeout(ANSWERED_WITHIN + NEXT_LINE, answer).await;
    if answer.is_err() {
        history.known().unanswered.push((instance, asked, now()));
    }
    answer.context("no answer")
}
