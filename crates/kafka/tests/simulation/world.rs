//! The world: its hosts, run one after the other for a tick each, and what happens to them between ticks.
//!
//! Bytes take at least a tick from host to host. So within a tick no host can notice what another does, and it makes no
//! difference which of them runs first.

use std::{net::SocketAddr, ops::Range};

use highwater_kafka_broker::{Broker, Fault as Disturbed};

use crate::{
    checks::{Checks, Figures, MOST_PARTITIONS, Violation},
    conditions::Conditions,
    faults::{Fault, Planned},
    host::{Host, set_lease_clock},
    interposed,
    members::{Settings, TOPIC, keys},
    network::{HostId, Network, SimStream, address_of},
    random::Random,
    trace::Trace,
};

/// Milliseconds: a time of the world, since it began, or a duration.
pub(crate) type Millis = u64;

pub(crate) const BROKER: HostId = 0;
pub(crate) const MEMBERS: Range<HostId> = 1..4;
pub(crate) const PRODUCER: HostId = 4;

/// Faults begin after that time, and are over at that.
pub(crate) const FAULTS: Range<Millis> = 15_000..480_000;
/// So long after the last fault all must be processed.
const PATIENCE: Millis = 150_000;
/// A crash that is to lose something waits so long for something to lose.
const PATIENCE_TO_LOSE: Millis = 10_000;

/// How a run went.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) simulated: Millis,
    pub(crate) violation: Option<Violation>,
    pub(crate) figures: Figures,
}

struct World {
    seed: u64,
    now: Millis,
    tick: Millis,
    settings: Settings,
    network: Network,
    hosts: Vec<Host>,
    broker: Broker,
    broker_resumes_at: Option<Millis>,
    /// The crash that waits for something to lose, and until when.
    crash: Option<(Millis, Millis)>,
    /// Connections that the broker has not seen yet: it is stopped.
    unseen: Vec<SimStream>,
    checks: Checks,
    conditions: Conditions,
    trace: Trace,
}

/// Runs the world of a seed with these faults until all is processed, or a guarantee is broken. A process can do so once:
/// tokio draws the seed of each runtime's random numbers from a counter of the process.
pub(crate) fn run(seed: u64, faults: &[Planned], trace: Trace) -> Outcome {
    interposed::begin(seed);
    fastrand::seed(seed);
    set_lease_clock();
    let mut world = World::new(seed, trace);
    let mut faults = faults.iter().peekable();
    let mut over = false;
    while world.checks.violation().is_none() {
        while let Some(planned) = faults.next_if(|planned| planned.at <= world.now) {
            world.trace.line(|| planned.to_string());
            world.begin(planned.fault);
        }
        if !over && world.now >= FAULTS.end {
            over = true;
            world.checks.faults_are_over(keys());
        }
        if over {
            match world.checks.backlog() {
                None => break,
                Some(backlog) if world.now > FAULTS.end + PATIENCE => world.checks.stands_still(backlog),
                Some(_) => {}
            }
        }
        world.step();
    }
    Outcome { simulated: world.now, violation: world.checks.violation(), figures: world.checks.figures() }
}

impl World {
    fn new(seed: u64, trace: Trace) -> Self {
        let tick = Random::named(seed, "tick").between(20..=50);
        let network = Network::new(seed, tick, trace.clone());
        let mut hosts: Vec<Host> = (0..=PRODUCER).map(|_| Host::default()).collect();
        let address: SocketAddr = address_of(BROKER).parse().expect("an address");
        let settings = Settings::draw(seed);
        let broker = hosts[BROKER].start(0, async || Broker::without_listener(address, settings.broker()));
        network.listen(true);
        let mut world = Self {
            seed,
            now: 0,
            tick,
            settings,
            network,
            hosts,
            broker,
            broker_resumes_at: None,
            crash: None,
            unseen: Vec::new(),
            checks: Checks::new(trace.clone()),
            conditions: Conditions::default(),
            trace,
        };
        let settings = &world.settings;
        world.trace.line(|| format!("{settings:?}"));
        for host in 1..=PRODUCER {
            world.hosts[host].starts_at = Some(0);
        }
        world
    }

    /// All hosts run for a tick.
    fn step(&mut self) {
        self.conditions.set_now(self.now);
        self.recover();
        self.unseen.extend(self.network.deliver(self.now));
        if self.hosts[BROKER].is_running() {
            let (broker, streams) = (&self.broker, self.unseen.drain(..));
            let peer = SocketAddr::from(([10, 0, 0, 1], 1));
            self.hosts[BROKER]
                .within(self.now, async || streams.for_each(|stream| broker.serve(stream, peer)));
        }
        for host in &mut self.hosts {
            host.run(self.now, self.tick);
        }
        self.now += self.tick;
        self.checks.look(self.now, &self.broker);
    }

    /// Starts what is to start again.
    fn recover(&mut self) {
        for host in 1..=PRODUCER {
            if self.hosts[host].starts_at.is_some_and(|at| at <= self.now) {
                self.start(host);
            }
        }
        if let Some((until, during)) = self.crash
            && (self.checks.was_appended() || until <= self.now)
        {
            self.crash = None;
            self.crash_broker(during, true);
        }
        if self.broker_resumes_at.is_some_and(|at| at <= self.now) && self.hosts[BROKER].is_running() {
            self.broker_resumes_at = None;
            let broker = &mut self.broker;
            let resumed = self.hosts[BROKER].within(self.now, async || broker.resume().await);
            resumed.expect("its host is up").expect("there is no port to bind");
            self.network.listen(true);
        }
    }

    fn start(&mut self, host: HostId) {
        let Self { seed, now, settings, network, hosts, checks, conditions, .. } = self;
        hosts[host].kill(*now);
        network.set_dark(host, false);
        if host == PRODUCER {
            hosts[host].start(*now, async || settings.produce(*seed, network, host, checks));
        } else {
            hosts[host].start_member(*now, async || settings.member(network, host, checks, conditions));
        }
    }

    fn crash_broker(&mut self, during: Millis, truncates: bool) {
        if self.broker_resumes_at.is_some() {
            return;
        }
        self.broker.suspend();
        self.network.listen(false);
        self.network.reset(BROKER);
        if truncates {
            self.checks.cut(&self.broker);
        }
        self.broker_resumes_at = Some(self.now + during);
    }

    /// A fault begins, if what it is about is there.
    fn begin(&mut self, fault: Fault) {
        let now = self.now;
        match fault {
            Fault::Slow { host, longer, during } => self.network.slow_down(host, longer, during),
            Fault::Reset { host } => self.network.reset(host),
            Fault::Half { from, to, during } => self.network.hold(from, to, during),
            Fault::Partition { host, during } => {
                self.network.hold(host, BROKER, during);
                self.network.hold(BROKER, host, during);
            }
            Fault::BrokerCrash { during, truncates: true } => {
                self.crash = Some((now + PATIENCE_TO_LOSE, during.saturating_sub(PATIENCE_TO_LOSE)));
            }
            Fault::BrokerCrash { during, truncates: false } => self.crash_broker(during, false),
            Fault::BrokerPause { during } => self.stop(BROKER, during, false),
            Fault::Crash { host, during, loses_power } => {
                if loses_power {
                    self.network.set_dark(host, true);
                }
                self.hosts[host].kill(now);
                self.hosts[host].starts_at = Some(now + during);
            }
            Fault::Leave { host, during } => {
                if self.hosts[host].is_running() && self.hosts[host].leave() {
                    self.hosts[host].starts_at = Some(now + during);
                }
            }
            Fault::Pause { host, during } => self.stop(host, during, false),
            Fault::Sleep { host, during } => self.stop(host, during, true),
            Fault::ClockJump { host, by } => self.hosts[host].jump(by),
            Fault::SlowHandler { host, each, during } => self.conditions.slow(host, each, during),
            Fault::FailingHandler { host, during } => self.conditions.fail(host, during),
            Fault::Grow { by } => {
                let partitions = self.broker.end_offsets(TOPIC).len() as i32;
                if partitions > 0 {
                    self.broker.grow(TOPIC, (partitions + by).min(MOST_PARTITIONS));
                }
            }
            Fault::LoseAnswers { api, times } => {
                self.broker.faults().times(api, Disturbed::LoseAnswer, times);
            }
            Fault::Refuse { api, error, times } => {
                self.broker.faults().times(api, Disturbed::Refuse(error), times);
            }
            Fault::Throttle { api, by, times } => {
                let by = std::time::Duration::from_millis(by);
                self.broker.faults().times(api, Disturbed::Throttle(by), times);
            }
        }
    }

    fn stop(&mut self, host: HostId, during: Millis, sleeps: bool) {
        if self.hosts[host].is_running() {
            self.hosts[host].stop(self.now, during, sleeps);
        }
    }
}
