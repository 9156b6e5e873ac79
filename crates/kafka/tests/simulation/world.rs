//! The world: its hosts, run one after the other for a tick each, and what happens to them between ticks.
//!
//! Bytes take at least a tick from host to host. So within a tick no host can notice what another does, and it makes no
//! difference which of them runs first.

use std::ops::{Range, RangeInclusive};

use highwater_kafka_broker::Fault as Disturbed;

use crate::{
    brokers::{Brokers, host_of},
    checks::{Checks, Figures, MOST_PARTITIONS, Violation},
    conditions::Conditions,
    faults::{Fault, Planned},
    host::{Host, set_lease_clock},
    interposed,
    members::{Settings, TOPIC, keys},
    network::{HostId, Network},
    random::Random,
    trace::Trace,
};

/// Milliseconds: a time of the world, since it began, or a duration.
pub(crate) type Millis = u64;

pub(crate) const BROKERS: Range<HostId> = 0..3;
pub(crate) const MEMBERS: Range<HostId> = 3..6;
pub(crate) const PRODUCER: HostId = 6;

/// Faults begin after that time, and are over at that.
pub(crate) const FAULTS: Range<Millis> = 15_000..480_000;
/// So long after the last fault all must be processed.
const PATIENCE: Millis = 150_000;

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
    brokers: Brokers,
    /// The unclean elections that are to come: when, and of which broker.
    unclean: Vec<(Millis, HostId)>,
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
        let settings = Settings::draw(seed);
        let brokers = Brokers::start(seed, &settings, &mut hosts, &network);
        let mut world = Self {
            seed,
            now: 0,
            tick,
            settings,
            network,
            hosts,
            brokers,
            unclean: Vec::new(),
            checks: Checks::new(trace.clone()),
            conditions: Conditions::default(),
            trace,
        };
        let settings = &world.settings;
        world.trace.line(|| format!("{settings:?}"));
        for host in MEMBERS.start..=PRODUCER {
            world.hosts[host].starts_at = Some(0);
        }
        world
    }

    /// All hosts run for a tick.
    fn step(&mut self) {
        self.conditions.set_now(self.now);
        self.recover();
        self.network.deliver(self.now);
        self.brokers.begin_tick(self.now, &mut self.hosts, &self.network);
        self.elect_uncleanly();
        for host in &mut self.hosts {
            host.run(self.now, self.tick);
        }
        self.brokers.end_tick(self.now, &self.network);
        self.now += self.tick;
        self.checks.look(self.now, &self.brokers);
    }

    fn elect_uncleanly(&mut self) {
        let now = self.now;
        for (_, host) in self.unclean.extract_if(.., |(at, _)| *at <= now) {
            if self.brokers.elect_uncleanly(host, now, &mut self.hosts) {
                self.checks.elected_uncleanly(&self.brokers, host);
            }
        }
    }

    /// Starts what is to start again.
    fn recover(&mut self) {
        for host in MEMBERS.start..=PRODUCER {
            if self.hosts[host].starts_at.is_some_and(|at| at <= self.now) {
                self.start(host);
            }
        }
    }

    fn start(&mut self, host: HostId) {
        let Self { seed, now, settings, network, hosts, checks, conditions, .. } = self;
        hosts[host].kill(*now);
        network.set_dark(host, false);
        checks.started(host, *now);
        if host == PRODUCER {
            hosts[host].start(*now, async || settings.produce(*seed, network, host, checks));
        } else {
            hosts[host].start_member(*now, async || settings.member(network, host, checks, conditions));
        }
    }

    /// A fault begins, if what it is about is there.
    fn begin(&mut self, fault: Fault) {
        let now = self.now;
        match fault {
            Fault::Slow { host, longer, during } => self.network.slow_down(host, longer, during),
            Fault::Reset { host } => self.network.reset(host),
            Fault::Half { from, to, during } => self.hold(from, to, during),
            Fault::Unheard { host, during } => {
                if let Some(coordinator) = self.brokers.cluster().coordinator() {
                    self.hold(host, host_of(coordinator), during);
                }
            }
            Fault::Partition { host, during } => {
                self.separate(host, 0..=PRODUCER, during);
                if BROKERS.contains(&host) {
                    self.brokers.cut_off(host, now + during);
                }
            }
            Fault::Stale { broker, during } => {
                self.separate(broker, BROKERS.start..=BROKERS.end - 1, during);
                self.brokers.cut_off(broker, now + during);
            }
            Fault::BrokerCrash { broker, during, loses } => {
                self.brokers.crash(broker, now + during, loses, &self.network);
            }
            Fault::BrokerPause { broker, during } => self.stop(broker, during, false),
            Fault::Elect => self.brokers.cluster().elect_next(),
            Fault::Unclean { broker, during } => {
                self.separate(broker, BROKERS.start..=BROKERS.end - 1, during);
                self.unclean.push((now + during, broker));
            }
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
                let partitions = self.brokers.cluster().partitions(TOPIC) as i32;
                if partitions > 0 {
                    self.brokers.cluster().grow(TOPIC, (partitions + by).min(MOST_PARTITIONS));
                }
            }
            Fault::Recreate => self.brokers.cluster().delete_topic(TOPIC, true),
            Fault::Delete => self.brokers.cluster().delete_topic(TOPIC, false),
            Fault::LoseAnswers { broker, api, times } => {
                self.brokers.on(broker).faults().times(api, Disturbed::LoseAnswer, times);
            }
            Fault::Refuse { broker, api, error, times } => {
                self.brokers.on(broker).faults().times(api, Disturbed::Refuse(error), times);
            }
            Fault::Throttle { broker, api, by, times } => {
                let by = std::time::Duration::from_millis(by);
                self.brokers.on(broker).faults().times(api, Disturbed::Throttle(by), times);
            }
        }
    }

    /// Neither a host nor any of the others hears of the other.
    fn separate(&self, host: HostId, others: RangeInclusive<HostId>, during: Millis) {
        for other in others.filter(|other| *other != host) {
            self.hold(host, other, during);
            self.hold(other, host, during);
        }
    }

    /// What one host sends to the other arrives only after that time.
    fn hold(&self, from: HostId, to: HostId, during: Millis) {
        self.network.hold(from, to, during);
        if MEMBERS.contains(&from) {
            self.checks.held(self.now, during);
        }
    }

    fn stop(&mut self, host: HostId, during: Millis, sleeps: bool) {
        if self.hosts[host].is_running() {
            self.hosts[host].stop(self.now, during, sleeps);
        }
    }
}
