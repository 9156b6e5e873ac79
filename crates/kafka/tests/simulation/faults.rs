//! The faults of a run: drawn from its seed before it begins, so that some can be left out.

use std::fmt;

use highwater_kafka::group::GroupProtocol;
use kafka_protocol::{ResponseError, messages::ApiKey};

use crate::{
    brokers::groups_load_slowly,
    members,
    network::HostId,
    random::Random,
    world::{BROKERS, MEMBERS, Millis, PRODUCER},
};

/// A fault, and when it begins.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    pub(crate) at: Millis,
    pub(crate) fault: Fault,
}

/// A fault. Durations are in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// What a host sends and gets takes longer.
    Slow { host: HostId, longer: Millis, during: Millis },
    /// All connections of a host break.
    Reset { host: HostId },
    /// What one host sends does not reach the other.
    Half { from: HostId, to: HostId, during: Millis },
    /// What a member sends does not reach the broker that coordinates then.
    Unheard { host: HostId, during: Millis },
    /// A host reaches none of the brokers, and none reaches it. A broker is cut off from the cluster's metadata, too.
    Partition { host: HostId, during: Millis },
    /// A broker is cut off from the others and from the cluster's metadata, and not from clients: it goes on as it knows.
    Stale { broker: HostId, during: Millis },
    /// A broker is killed and started again, and is not in sync any more. With `loses` its disk lacks what came last, if
    /// another replica has it.
    BrokerCrash { broker: HostId, during: Millis, loses: bool },
    /// A broker stops, and all that it holds with it: connections stay, its clock goes on.
    BrokerPause { broker: HostId, during: Millis },
    /// Each partition's next replica in sync leads it, and coordinates.
    Elect,
    /// A broker hears nothing of the others for that time, and leads all partitions of the topic from then on.
    Unclean { broker: HostId, during: Millis },
    /// A member is killed, and started again. Without power its connections just end.
    Crash { host: HostId, during: Millis, loses_power: bool },
    /// A member leaves in order, and comes again.
    Leave { host: HostId, during: Millis },
    /// A host's process stops, and its clock goes on (SIGSTOP).
    Pause { host: HostId, during: Millis },
    /// A host's machine sleeps: its monotonic clock stands, the lease's goes on.
    Sleep { host: HostId, during: Millis },
    /// The lease's clock jumps ahead.
    ClockJump { host: HostId, by: Millis },
    /// Each record takes a member's handler longer.
    SlowHandler { host: HostId, each: Millis, during: Millis },
    /// A member's handler fails, and is called again.
    FailingHandler { host: HostId, during: Millis },
    /// The topic gets more partitions.
    Grow { by: i32 },
    /// The topic is deleted and made again.
    Recreate,
    /// The topic is deleted, and the first client that misses it makes it again.
    Delete,
    /// A broker does what the next requests ask for, and its answers are lost.
    LoseAnswers { broker: HostId, api: ApiKey, times: usize },
    /// A broker refuses the next requests, as one that has just lost a partition or a group does, or has just got one.
    Refuse { broker: HostId, api: ApiKey, error: ResponseError, times: usize },
    /// A broker throttles.
    Throttle { broker: HostId, api: ApiKey, by: Millis, times: usize },
}

impl Fault {
    /// How long it lasts.
    pub(crate) fn during(self) -> Millis {
        match self {
            Self::Slow { during, .. }
            | Self::Half { during, .. }
            | Self::Unheard { during, .. }
            | Self::Partition { during, .. }
            | Self::Stale { during, .. }
            | Self::BrokerCrash { during, .. }
            | Self::BrokerPause { during, .. }
            | Self::Unclean { during, .. }
            | Self::Crash { during, .. }
            | Self::Leave { during, .. }
            | Self::Pause { during, .. }
            | Self::Sleep { during, .. }
            | Self::SlowHandler { during, .. }
            | Self::FailingHandler { during, .. } => during,
            Self::Reset { .. }
            | Self::ClockJump { .. }
            | Self::Elect
            | Self::Grow { .. }
            | Self::Recreate
            | Self::Delete
            | Self::LoseAnswers { .. }
            | Self::Refuse { .. }
            | Self::Throttle { .. } => 0,
        }
    }

    /// The same fault for members that speak the consumer protocol: one request does all that they do in the group.
    fn of_the_consumer_protocol(mut self) -> Self {
        use ApiKey::{ConsumerGroupHeartbeat, Heartbeat, JoinGroup, LeaveGroup, SyncGroup};
        if let Self::LoseAnswers { api, .. } | Self::Refuse { api, .. } = &mut self
            && matches!(api, JoinGroup | SyncGroup | Heartbeat | LeaveGroup)
        {
            *api = ConsumerGroupHeartbeat;
        }
        self
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.3} s  {:?}", self.at as f64 / 1000.0, self.fault)
    }
}

/// The faults of a seed between two times, in order.
pub(crate) fn schedule(seed: u64, from: Millis, until: Millis) -> Vec<Planned> {
    let mut random = Random::named(seed, "faults");
    // Some runs are busy, some have a fault now and then.
    let pause = random.between(4_000..=40_000);
    let mut at = from;
    let mut planned = Vec::new();
    loop {
        at += random.between(0..=pause * 2);
        let fault = match members::protocol(seed) {
            GroupProtocol::Consumer => draw(&mut random).of_the_consumer_protocol(),
            _ => draw(&mut random),
        };
        if at + fault.during() > until {
            break;
        }
        planned.push(Planned { at, fault });
        // The member comes back to a coordinator that does not know yet that it was away.
        if let Fault::Pause { during, .. } | Fault::Sleep { during, .. } = fault
            && groups_load_slowly(seed)
        {
            planned.push(Planned { at: at + during - during / 8, fault: Fault::Elect });
        }
    }
    add_recreations(seed, from, until, &mut planned);
    add_slower_links(seed, from, until, &mut planned);
    planned.sort_by_key(|planned| planned.at);
    planned
}

/// In an eighth of the runs the topic is made again, early enough that commits of the old one that are late do not stay the
/// last. In those it loses nothing by an unclean election, since nobody is told of what one took from a topic that is gone;
/// and it does not grow, since the clients make it again with as many partitions as it had first.
fn add_recreations(seed: u64, from: Millis, until: Millis, planned: &mut Vec<Planned>) {
    let mut random = Random::named(seed, "made again");
    if random.below(8) > 0 {
        return;
    }
    planned.retain(|planned| !matches!(planned.fault, Fault::Unclean { .. } | Fault::Grow { .. }));
    for _ in 0..random.between(1..=3) {
        let at = random.between(from..=until - (until - from) / 4);
        let fault = if random.percent(60) { Fault::Recreate } else { Fault::Delete };
        planned.push(Planned { at, fault });
    }
}

/// In a fifth of the runs the link of a member gets slower, some times, and then its coordinator hears nothing of it for longer
/// than a session. The last heartbeats are answered late, and other brokers still send records. So a lease that runs from
/// the answer outlasts the coordinator's patience.
fn add_slower_links(seed: u64, from: Millis, until: Millis, planned: &mut Vec<Planned>) {
    let mut random = Random::named(seed, "slower links");
    if random.below(5) > 0 {
        return;
    }
    for _ in 0..random.between(4..=8) {
        let host = MEMBERS.start + random.below(MEMBERS.len());
        let slower = random.between(4_000..=12_000);
        let broken = random.between(15_000..=30_000);
        let at = random.between(from..=until - slower - broken);
        let longer = random.between(2_000..=4_000);
        planned.push(Planned { at, fault: Fault::Slow { host, longer, during: slower } });
        planned.push(Planned { at: at + slower, fault: Fault::Unheard { host, during: broken } });
    }
}

fn draw(random: &mut Random) -> Fault {
    let member = MEMBERS.start + random.below(MEMBERS.len());
    let host = if random.percent(30) { PRODUCER } else { member };
    // Most are short; some outlast a session, a rebalance, all patience.
    let during = match random.below(6) {
        0 | 1 => random.between(100..=3_000),
        2 | 3 => random.between(3_000..=12_000),
        4 => random.between(5_000..=20_000),
        _ => random.between(15_000..=60_000),
    };
    let broker = BROKERS.start + random.below(BROKERS.len());
    let other = if random.percent(30) { (broker + 1 + random.below(2)) % BROKERS.len() } else { host };
    match random.below(28) {
        0 | 1 => Fault::Slow {
            host: if random.percent(30) { broker } else { host },
            longer: random.between(50..=4_000),
            during,
        },
        2 => Fault::Reset { host },
        3 => Fault::Reset { host: broker },
        4 => Fault::Half { from: other, to: broker, during },
        5 => Fault::Half { from: broker, to: other, during },
        6 => Fault::Partition { host, during },
        7 => Fault::Partition { host: broker, during },
        8 | 9 => Fault::BrokerCrash { broker, during, loses: random.percent(50) },
        10 => Fault::BrokerPause { broker, during },
        11 => Fault::Crash { host: member, during, loses_power: random.percent(50) },
        12 => Fault::Leave { host: member, during },
        13 | 14 => Fault::Pause { host, during },
        15 => Fault::Sleep { host, during },
        16 => Fault::ClockJump { host: member, by: random.between(500..=20_000) },
        17 => Fault::SlowHandler { host: member, each: random.between(50..=8_000), during },
        18 => Fault::FailingHandler { host: member, during },
        19 if random.percent(30) => Fault::Grow { by: random.between(1..=2) as i32 },
        19 => Fault::Throttle { broker, api: ApiKey::Produce, by: random.between(100..=3_000), times: 3 },
        20 | 21 => {
            let (api, error) = REFUSALS[random.below(REFUSALS.len())];
            Fault::Refuse { broker, api, error, times: 1 + random.below(4) }
        }
        22 | 23 => Fault::Stale { broker, during },
        24 => Fault::Elect,
        25 if random.percent(50) => Fault::Unclean { broker, during: random.between(4_000..=20_000) },
        25 => Fault::Elect,
        _ => Fault::LoseAnswers { broker, api: lossy(random), times: 1 + random.below(3) },
    }
}

/// What a broker answers around an election.
const REFUSALS: [(ApiKey, ResponseError); 10] = [
    (ApiKey::Produce, ResponseError::NotLeaderOrFollower),
    (ApiKey::Produce, ResponseError::NotEnoughReplicasAfterAppend),
    (ApiKey::Fetch, ResponseError::NotLeaderOrFollower),
    (ApiKey::Fetch, ResponseError::UnknownLeaderEpoch),
    (ApiKey::ListOffsets, ResponseError::OffsetNotAvailable),
    (ApiKey::FindCoordinator, ResponseError::CoordinatorNotAvailable),
    (ApiKey::JoinGroup, ResponseError::CoordinatorLoadInProgress),
    (ApiKey::Heartbeat, ResponseError::NotCoordinator),
    (ApiKey::OffsetCommit, ResponseError::NotCoordinator),
    (ApiKey::OffsetFetch, ResponseError::CoordinatorLoadInProgress),
];

fn lossy(random: &mut Random) -> ApiKey {
    const APIS: [ApiKey; 7] = [
        ApiKey::Produce,
        ApiKey::Produce,
        ApiKey::JoinGroup,
        ApiKey::SyncGroup,
        ApiKey::Heartbeat,
        ApiKey::OffsetCommit,
        ApiKey::LeaveGroup,
    ];
    APIS[random.below(APIS.len())]
}
