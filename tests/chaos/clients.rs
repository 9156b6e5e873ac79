//! The clients. Each posts the events of its own users one after the other, repeats an event with the same id until it is
//! acknowledged, and repeats some on purpose.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use uuid::Uuid;

use crate::{
    history::{History, now, user_name},
    options::Options,
    random::Random,
};

/// How many users a client has.
const USERS: u32 = 8;
/// How long an answer is waited for. Longer than PRODUCE_TIMEOUT; an instance that is paused gives none.
const ANSWERED_WITHIN: Duration = Duration::from_secs(8);
/// After that an event is given up; whether it was written is not known.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(60);
/// How many of a hundred events are posted again although they were acknowledged.
const POSTED_TWICE: u64 = 5;
/// The number among a client's users of the one who asks whether an instance takes events.
const PROBE: u32 = 900_000;

/// A client that posts events to instances.
#[derive(Debug, Clone)]
pub(crate) struct Poster {
    http: reqwest::Client,
    bases: Arc<[String]>,
    history: Arc<History>,
    /// The number of the next event that asks whether an instance takes any.
    probes: Arc<AtomicU32>,
}

/// All clients, to be held and let go.
#[derive(Debug)]
pub(crate) struct Clients {
    gate: Arc<Gate>,
    _tasks: JoinSet<()>,
}

/// Lets writers write, or not; knows how many are at it.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    closed: AtomicBool,
    busy: AtomicUsize,
    changed: Notify,
}

impl Gate {
    /// Waits until it is open. The write is over when the result is dropped.
    pub(crate) async fn enter(self: &Arc<Self>) -> Inside {
        loop {
            let changed = self.changed.notified();
            let inside = Inside(Arc::clone(self));
            self.busy.fetch_add(1, Ordering::SeqCst);
            if !self.closed.load(Ordering::SeqCst) {
                return inside;
            }
            drop(inside);
            changed.await;
        }
    }

    /// Stops new writes, and waits for those that are under way.
    pub(crate) async fn close(&self, within: Duration) -> Result<()> {
        self.closed.store(true, Ordering::SeqCst);
        let by = Instant::now() + within;
        while self.busy.load(Ordering::SeqCst) > 0 {
            if Instant::now() > by {
                bail!("{} writers are still at it after {within:?}", self.busy.load(Ordering::SeqCst));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    pub(crate) fn open(&self) {
        self.closed.store(false, Ordering::SeqCst);
        self.changed.notify_waiters();
    }
}

/// A write that is under way.
#[derive(Debug)]
pub(crate) struct Inside(Arc<Gate>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Clients {
    /// They begin at once.
    pub(crate) fn start(options: &Options, poster: &Poster, gate: &Arc<Gate>) -> Self {
        let mut tasks = JoinSet::new();
        let pace = Duration::from_secs_f64(options.clients as f64 / f64::from(options.rate.max(1)));
        for number in 0..options.clients {
            let client = Client {
                poster: poster.clone(),
                gate: Arc::clone(gate),
                random: Random::named(options.seed, &format!("client {number}")),
                first_user: number as u32 * USERS,
                numbers: [0; USERS as usize],
                pace,
            };
            tasks.spawn(client.run());
        }
        Self { gate: Arc::clone(gate), _tasks: tasks }
    }

    /// They finish the event that they are at, and post no other.
    pub(crate) async fn pause(&self) -> Result<()> {
        self.gate.close(GIVEN_UP_AFTER + ANSWERED_WITHIN * 2).await.context("clients")
    }

    pub(crate) fn resume(&self) {
        self.gate.open();
    }
}

struct Client {
    poster: Poster,
    gate: Arc<Gate>,
    random: Random,
    first_user: u32,
    numbers: [u32; USERS as usize],
    pace: Duration,
}

impl Client {
    async fn run(mut self) {
        loop {
            let began = Instant::now();
            let inside = self.gate.enter().await;
            self.post().await;
            drop(inside);
            sleep(self.pace.saturating_sub(began.elapsed())).await;
        }
    }

    async fn post(&mut self) {
        let which = self.random.below(USERS as usize);
        let user = self.first_user + which as u32;
        let event = Event { id: Uuid::new_v4(), user, number: self.numbers[which] };
        self.numbers[which] += 1;
        let by = Instant::now() + GIVEN_UP_AFTER;
        let began = now();
        while Instant::now() < by {
            let instance = self.random.below(self.poster.bases.len());
            if self.poster.post(&event, instance).await.is_ok() {
                self.poster.history.took(now() - began);
                if self.random.percent(POSTED_TWICE) {
                    let instance = self.random.below(self.poster.bases.len());
                    // Acknowledged or not: the event is there.
                    let _ = self.poster.post(&event, instance).await;
                }
                return;
            }
            sleep(Duration::from_millis(self.random.between(20..=250))).await;
        }
    }
}

/// The body of a post.
struct Event {
    id: Uuid,
    user: u32,
    number: u32,
}

impl Poster {
    pub(crate) fn new(bases: Vec<String>, history: &Arc<History>) -> Self {
        Self {
            http: reqwest::Client::new(),
            bases: bases.into(),
            history: Arc::clone(history),
            probes: Arc::default(),
        }
    }

    /// Whether that instance takes an event now.
    pub(crate) async fn probe(&self, instance: usize) -> Result<()> {
        let user = PROBE + instance as u32;
        let number = self.probes.fetch_add(1, Ordering::Relaxed);
        self.post(&Event { id: Uuid::new_v4(), user, number }, instance).await
    }

    async fn post(&self, event: &Event, instance: usize) -> Result<()> {
        self.history.sent(event.id, event.user, event.number);
        let began = now();
        let answered = timeout(ANSWERED_WITHIN, self.send(event, instance)).await;
        let answered = answered.unwrap_or_else(|_| {
            self.history.known().unanswered.push((instance, began, now()));
            bail!("no answer")
        });
        match answered {
            Ok(place) => {
                self.history.acknowledged(event.id, place);
                Ok(())
            }
            Err(error) => {
                self.history.known().figures.refused += 1;
                Err(error)
            }
        }
    }

    async fn send(&self, event: &Event, instance: usize) -> Result<(i32, i64)> {
        let (route, payload, status) = if event.number.is_multiple_of(8) {
            ("/api/events", "metadata", StatusCode::ACCEPTED)
        } else {
            ("/events/generate", "payload", StatusCode::CREATED)
        };
        let body = json!({
            "eventId": event.id,
            "userId": user_name(event.user),
            "eventType": "LOGIN",
            payload: {"number": event.number},
        });
        let answer = self.http.post(format!("{}{route}", self.bases[instance])).json(&body).send().await?;
        if answer.status() != status {
            let (status, problem) = (answer.status(), answer.text().await?);
            let told: Value = serde_json::from_str(&problem).unwrap_or_default();
            if told["possiblyWritten"] == false {
                self.history.not_written(event.id);
            }
            bail!("{status}: {problem}");
        }
        let header = |name: &str| {
            let value = answer.headers().get(name).with_context(|| format!("no header {name}"))?;
            Ok::<_, anyhow::Error>(value.to_str()?.to_owned())
        };
        Ok((header("kafka-partition")?.parse()?, header("kafka-offset")?.parse()?))
    }
}
