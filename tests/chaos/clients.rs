//! The clients. Some post their users' events one after the other, repeat an event with the same id until it is acknowledged,
//! and repeat some on purpose; [`streams`](crate::streams) has the others.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use reqwest::StatusCode;
use serde_json::Value;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use uuid::Uuid;

use crate::{
    events::{Event, Users},
    gate::Gate,
    history::{History, now},
    options::Options,
    random::Random,
    streams::StreamingClient,
};

/// How long an answer is waited for. Longer than PRODUCE_TIMEOUT; an instance that is paused gives none.
pub(crate) const ANSWERED_WITHIN: Duration = Duration::from_secs(8);
/// After that an event is given up; whether it was written is not known.
pub(crate) const GIVEN_UP_AFTER: Duration = Duration::from_secs(60);
/// How many of a hundred events are posted again although they were acknowledged.
pub(crate) const POSTED_TWICE: u64 = 5;
/// The number among a client's users of the one who asks whether an instance takes events.
const PROBE: u32 = 900_000;

/// A client that posts events to instances.
#[derive(Debug, Clone)]
pub(crate) struct Poster {
    pub(crate) http: reqwest::Client,
    pub(crate) bases: Arc<[String]>,
    pub(crate) history: Arc<History>,
    /// The number of the next event that asks whether an instance takes any.
    probes: Arc<AtomicU32>,
}

/// All clients, to be held and let go.
#[derive(Debug)]
pub(crate) struct Clients {
    gate: Arc<Gate>,
    _tasks: JoinSet<()>,
}

impl Clients {
    /// They begin at once.
    pub(crate) fn start(options: &Options, poster: &Poster, gate: &Arc<Gate>) -> Self {
        let mut tasks = JoinSet::new();
        let pace = pace(options.clients, options.rate);
        for number in 0..options.clients {
            let client = Client {
                poster: poster.clone(),
                gate: Arc::clone(gate),
                random: Random::named(options.seed, &format!("client {number}")),
                users: Users::of(number),
                pace,
            };
            tasks.spawn(client.run());
        }
        let pace = self::pace(options.streams, options.lines);
        for number in options.clients..options.clients + options.streams {
            let client = StreamingClient {
                poster: poster.clone(),
                gate: Arc::clone(gate),
                random: Random::named(options.seed, &format!("client {number}")),
                users: Users::of(number),
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

/// How long each of some clients has for an event, so that all together have that rate.
fn pace(clients: usize, rate: u32) -> Duration {
    Duration::from_secs_f64(clients as f64 / f64::from(rate.max(1)))
}

struct Client {
    poster: Poster,
    gate: Arc<Gate>,
    random: Random,
    users: Users,
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
        let event = self.users.event(&mut self.random);
        let by = Instant::now() + GIVEN_UP_AFTER;
        while Instant::now() < by {
            let instance = self.random.below(self.poster.bases.len());
            if self.poster.post(&event, instance).await.is_ok() {
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
        let body = event.body(payload);
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
