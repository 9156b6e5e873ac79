//! The participants of a run.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::runtime::Builder;

use crate::{
    admin::Admin,
    brokers::Brokers,
    clients::{Clients, Poster},
    commits::Commits,
    database::Database,
    gate::Gate,
    history::History,
    instance::Instance,
    malformed,
    options::{Options, Protocol},
    random::Random,
    transactions,
    unclean::Election,
};

/// The cluster, the instances, those who write, and the recorder.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) options: Options,
    pub(crate) brokers: Brokers,
    pub(crate) admin: Admin,
    pub(crate) history: Arc<History>,
    pub(crate) http: reqwest::Client,
    pub(crate) poster: Poster,
    pub(crate) clients: Clients,
    /// For those who write to Kafka past the service.
    pub(crate) beside: Arc<Gate>,
    pub(crate) commits: tokio::sync::Mutex<Commits>,
    pub(crate) unclean: tokio::sync::Mutex<Option<Election>>,
    /// The last one is the guest, who comes and goes; nobody posts to it.
    instances: Vec<Instance>,
    /// The group protocol of instances that are started now.
    protocol: Mutex<Protocol>,
}

impl Stage {
    /// Starts everything on a cluster that runs.
    pub(crate) async fn set(options: Options, history: Arc<History>) -> Result<Self> {
        let brokers = Brokers::new(options.kafka_port);
        let admin = Admin::new(brokers.addresses());
        let mut random = Random::named(options.seed, "stage");
        let has_static = random.percent(50);
        let mut instances = Vec::new();
        for number in 0..=options.instances {
            let is_static = has_static && number == 0;
            instances.push(Instance::new(number, is_static, &options, &history).await?);
        }
        if has_static {
            history.tell("instance 0 is a static member");
        }
        let bases = instances.iter().take(options.instances).map(|instance| instance.base.clone());
        let poster = Poster::new(bases.collect(), &history);
        let (gate, beside) = (Arc::new(Gate::default()), Arc::new(Gate::default()));
        // Clients start after the instances.
        gate.close(Duration::ZERO).await?;
        beside.close(Duration::ZERO).await?;
        let stage = Self {
            clients: Clients::start(&options, &poster, &gate),
            // A live upgrade is part of the run: they begin by the classic protocol, whatever they end up with.
            protocol: Mutex::new(Protocol::Classic),
            http: reqwest::Client::new(),
            commits: tokio::sync::Mutex::default(),
            unclean: tokio::sync::Mutex::default(),
            options,
            brokers,
            admin,
            history,
            poster,
            beside,
            instances,
        };
        for instance in stage.regulars() {
            instance.start(stage.protocol())?;
        }
        let (admin, seed) = (&stage.admin, stage.options.seed);
        let beside = || (admin.clone(), Arc::clone(&stage.history), Arc::clone(&stage.beside));
        // A runtime of their own keeps their state on one thread.
        let (to, history, gate) = beside();
        alone(move || transactions::run(to, history, gate, seed))?;
        let (to, history, gate) = beside();
        alone(move || malformed::run(to, history, gate, seed))?;
        Ok(stage)
    }

    /// The instances that clients post to.
    pub(crate) fn regulars(&self) -> &[Instance] {
        &self.instances[..self.options.instances]
    }

    /// The one that comes and goes.
    pub(crate) fn guest(&self) -> &Instance {
        &self.instances[self.options.instances]
    }

    /// The database that all instances share.
    pub(crate) fn database(&self) -> Result<&Database> {
        self.options.database.as_ref().context("there is no database")
    }

    pub(crate) fn protocol(&self) -> Protocol {
        *self.protocol.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn speak(&self, protocol: Protocol) {
        *self.protocol.lock().unwrap_or_else(PoisonError::into_inner) = protocol;
    }

    /// Everybody writes.
    pub(crate) fn write(&self) {
        self.clients.resume();
        self.beside.open();
    }

    /// Waits until no write is under way; each is acknowledged or given up.
    pub(crate) async fn rest(&self) -> Result<()> {
        self.clients.pause().await?;
        self.beside.close(Duration::from_secs(60)).await
    }
}

/// Runs something on a thread of its own, until the process ends.
fn alone<F: Future<Output = ()>>(run: impl FnOnce() -> F + Send + 'static) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || runtime.block_on(run()));
    Ok(())
}
