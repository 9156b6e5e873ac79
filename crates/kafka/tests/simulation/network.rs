//! The network: streams of bytes between hosts, which arrive late, or not for a while, or break. What brokers have for one
//! another is not bytes, and fares alike.

mod stream;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use bytes::{Bytes, BytesMut};
use highwater_kafka::Connector;
use highwater_kafka_broker::Message;

use stream::SimConnector;
pub(crate) use stream::SimStream;

use crate::{random::Random, trace::Trace, world::Millis};

/// A host, by its index in the world.
pub(crate) type HostId = usize;
type LinkId = u64;

/// The network, as all hosts share it.
#[derive(Debug, Clone)]
pub(crate) struct Network(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    now: Millis,
    /// The least time that bytes take. Hosts run for so long at a time, so that nothing arrives in a time that has passed.
    tick: Millis,
    random: Random,
    links: BTreeMap<LinkId, Link>,
    next_link: LinkId,
    /// The halves with something on the way, each by its connection and direction.
    busy: BTreeSet<(LinkId, usize)>,
    /// The brokers that accept connections, each with those that it has not seen yet.
    listening: BTreeMap<HostId, Vec<SimStream>>,
    /// What is on the way from one broker to another, and when it arrives.
    mail: BTreeMap<(HostId, HostId), VecDeque<(Millis, Message)>>,
    /// Hosts that neither answer nor refuse.
    dark: Vec<HostId>,
    /// What one host sends to another stays on the way until then.
    holds: Vec<(HostId, HostId, Millis)>,
    /// What a host sends and gets takes up to so much longer, until then.
    slow: Vec<(HostId, Millis, Millis)>,
    trace: Trace,
}

/// A connection. Its halves are from the client to the server, and back.
#[derive(Debug)]
struct Link {
    hosts: [HostId; 2],
    halves: [Half; 2],
    /// Whether the client knows that the server has accepted.
    accepted: bool,
    /// Which ends are there: the server's only once it has accepted.
    open: [bool; 2],
}

/// One direction of a connection.
#[derive(Debug, Default)]
struct Half {
    on_the_way: VecDeque<(Millis, Item)>,
    arrived: BytesMut,
    end: Option<End>,
    reader: Option<Waker>,
}

#[derive(Debug)]
enum Item {
    Syn,
    Accepted,
    Refused,
    Data(Bytes),
    Fin,
    Reset,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Eof,
    Refused,
    Reset,
}

impl Half {
    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    fn end(&mut self, end: End) {
        self.end.get_or_insert(end);
        self.wake();
    }

    fn reset(&mut self) {
        self.on_the_way.clear();
        self.arrived.clear();
        self.end = Some(End::Reset);
        self.wake();
    }
}

impl Network {
    pub(crate) fn new(seed: u64, tick: Millis, trace: Trace) -> Self {
        Self(Arc::new(Mutex::new(State {
            now: 0,
            tick,
            random: Random::named(seed, "network"),
            links: BTreeMap::new(),
            next_link: 0,
            busy: BTreeSet::new(),
            listening: BTreeMap::new(),
            mail: BTreeMap::new(),
            dark: Vec::new(),
            holds: Vec::new(),
            slow: Vec::new(),
            trace,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How that host connects to others.
    pub(crate) fn connector(&self, host: HostId) -> Arc<dyn Connector> {
        Arc::new(SimConnector::new(self.clone(), host))
    }

    /// Lets everything arrive that is due.
    pub(crate) fn deliver(&self, now: Millis) {
        let mut state = self.state();
        state.now = now;
        state.holds.retain(|(_, _, until)| *until > now);
        state.slow.retain(|(_, _, until)| *until > now);
        let busy: Vec<_> = state.busy.iter().copied().collect();
        for (id, direction) in busy {
            while let Some(item) = state.due(id, direction) {
                state.arrive(self, id, direction, item);
            }
            state.rest(id, direction);
        }
    }

    /// The connections that a broker is to serve, and what has arrived for it from the others.
    pub(crate) fn arrived(&self, host: HostId) -> (Vec<SimStream>, Vec<(HostId, Message)>) {
        let mut state = self.state();
        let State { now, listening, mail, holds, trace, .. } = &mut *state;
        let mut messages = Vec::new();
        for ((from, to), queue) in mail.iter_mut().filter(|((_, to), _)| *to == host) {
            let is_held = holds.iter().any(|(one, other, _)| (one, other) == (from, to));
            while let Some((_, message)) = queue.pop_front_if(|(at, _)| !is_held && *at <= *now) {
                trace.line(|| format!("{now} {from}>{to} {message:?}"));
                messages.push((*from, message));
            }
        }
        (listening.get_mut(&host).map(std::mem::take).unwrap_or_default(), messages)
    }

    /// Sends what one broker has for another.
    pub(crate) fn post(&self, from: HostId, to: HostId, message: Message) {
        let mut state = self.state();
        let at = state.arrival(&[from, to]);
        let queue = state.mail.entry((from, to)).or_default();
        let at = queue.back().map_or(at, |(before, _)| at.max(*before));
        queue.push_back((at, message));
    }

    /// A broker begins or ends to accept connections.
    pub(crate) fn listen(&self, host: HostId, listens: bool) {
        let unseen = match listens {
            true => self.state().listening.insert(host, Vec::new()),
            false => self.state().listening.remove(&host),
        };
        // Outside of the lock: a stream that is dropped takes it.
        drop(unseen);
    }

    /// A host's power is cut, or it is back. Then its connections of before are reset.
    pub(crate) fn set_dark(&self, host: HostId, dark: bool) {
        let mut state = self.state();
        state.dark.retain(|known| *known != host);
        if dark {
            state.dark.push(host);
        } else {
            state.reset(host);
        }
    }

    /// Breaks all connections of a host.
    pub(crate) fn reset(&self, host: HostId) {
        self.state().reset(host);
    }

    /// What `from` sends to `to` stays on the way for that time.
    pub(crate) fn hold(&self, from: HostId, to: HostId, during: Millis) {
        let mut state = self.state();
        let until = state.now + during;
        state.holds.push((from, to, until));
    }

    /// What a host sends and gets takes up to so much longer for that time.
    pub(crate) fn slow_down(&self, host: HostId, longer: Millis, during: Millis) {
        let mut state = self.state();
        let until = state.now + during;
        state.slow.push((host, longer, until));
    }
}

impl State {
    /// The next item of a connection that is due.
    fn due(&mut self, id: LinkId, direction: usize) -> Option<Item> {
        let Self { links, holds, dark, now, .. } = self;
        let link = links.get_mut(&id)?;
        let (from, to) = (link.hosts[direction], link.hosts[1 - direction]);
        let is_held = holds.iter().any(|(one, other, _)| (*one, *other) == (from, to));
        if is_held || dark.contains(&to) {
            return None;
        }
        let queue = &mut link.halves[direction].on_the_way;
        queue.pop_front_if(|(at, _)| *at <= *now).map(|(_, item)| item)
    }

    /// Forgets what is not busy any more, and a connection without ends.
    fn rest(&mut self, id: LinkId, direction: usize) {
        let Some(link) = self.links.get(&id) else { return };
        if link.halves[direction].on_the_way.is_empty() {
            self.busy.remove(&(id, direction));
        }
        if link.open == [false, false] && link.halves.iter().all(|half| half.on_the_way.is_empty()) {
            self.busy.remove(&(id, 1 - direction));
            self.links.remove(&id);
        }
    }

    fn arrive(&mut self, network: &Network, id: LinkId, direction: usize, item: Item) {
        let now = self.now;
        let Some(link) = self.links.get_mut(&id) else { return };
        let (from, to) = (link.hosts[direction], link.hosts[1 - direction]);
        self.trace.line(|| match &item {
            Item::Data(data) => {
                format!("{now} #{id} {from}>{to} {} bytes {:08x}", data.len(), crc32c::crc32c(data))
            }
            item => format!("{now} #{id} {from}>{to} {item:?}"),
        });
        let is_closed = !link.open[1 - direction];
        let half = &mut link.halves[direction];
        match item {
            Item::Syn => {
                let answer = match self.listening.get_mut(&to) {
                    Some(streams) => {
                        link.open[1] = true;
                        streams.push(SimStream::of_server(network.clone(), id));
                        Item::Accepted
                    }
                    None => Item::Refused,
                };
                self.send(id, 1, answer);
            }
            Item::Accepted => {
                link.accepted = true;
                link.halves[1].wake();
            }
            Item::Refused => half.end(End::Refused),
            Item::Data(_) if is_closed => self.send(id, 1 - direction, Item::Reset),
            Item::Data(data) => {
                half.arrived.extend_from_slice(&data);
                half.wake();
            }
            Item::Fin => half.end(End::Eof),
            Item::Reset => {
                half.reset();
                link.halves[1 - direction].on_the_way.clear();
            }
        }
    }

    /// When what is sent now arrives.
    fn arrival(&mut self, hosts: &[HostId]) -> Millis {
        let slow = self.slow.iter().filter(|(host, ..)| hosts.contains(host)).map(|(_, longer, _)| *longer);
        let longest = self.tick * 2 + slow.max().unwrap_or(0);
        self.now + self.tick + self.random.between(0..=longest)
    }

    fn send(&mut self, id: LinkId, direction: usize, item: Item) {
        let Some(link) = self.links.get(&id) else { return };
        let hosts = link.hosts;
        let at = self.arrival(&hosts);
        let Some(link) = self.links.get_mut(&id) else { return };
        let queue = &mut link.halves[direction].on_the_way;
        // A stream's bytes stay in order.
        let at = queue.back().map_or(at, |(before, _)| at.max(*before));
        queue.push_back((at, item));
        self.busy.insert((id, direction));
    }

    fn reset(&mut self, host: HostId) {
        let links = self.links.values_mut().filter(|link| link.hosts.contains(&host));
        links.flat_map(|link| &mut link.halves).for_each(Half::reset);
        self.mail.retain(|(from, to), _| *from != host && *to != host);
    }
}

/// The address of a host's broker.
pub(crate) fn address_of(host: HostId) -> String {
    format!("10.0.0.{host}:9092")
}

fn host_of(address: &str) -> Option<HostId> {
    address.strip_prefix("10.0.0.")?.strip_suffix(":9092")?.parse().ok()
}
