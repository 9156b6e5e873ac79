//! The in-process Kafka broker, for trying and for tests; speaks the protocol over TCP and nothing else.
//!
//! One node, everything in memory, nothing survives it. It knows what rskafka, our own group client and
//! kcat ask for, and can be made to fail on purpose ([`Faults`]). State is behind one lock that is never held
//! across an await; requests that wait (a fetch, a join, a sync) sleep until it changes and look again.

mod connection;
mod faults;
mod groups;
mod handlers;
mod log;
mod producers;
mod state;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::{net::TcpListener, task::JoinHandle, time::interval};
use tokio_util::sync::CancellationToken;

pub use faults::{Fault, Faults};
pub use log::LogError;
use state::Shared;

/// How often members that were not heard of, and rebalances that take too long, are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_millis(20);

/// How the broker behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// The port on loopback; 0 lets the system choose.
    pub port: u16,
    /// Partitions of a topic that is created without saying how many.
    pub default_partitions: i32,
}

impl Default for Options {
    fn default() -> Self {
        Self { port: 0, default_partitions: 3 }
    }
}

/// A running broker. Dropped, it stops and everything in it is gone.
#[derive(Debug)]
pub struct Broker {
    shared: Arc<Shared>,
    sweeper: JoinHandle<()>,
    listening: Option<CancellationToken>,
}

impl Broker {
    /// Starts listening on loopback.
    ///
    /// # Errors
    ///
    /// The port is taken.
    pub async fn start(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
        let shared = Arc::new(Shared::new(listener.local_addr()?, options.default_partitions));
        let sweeper = tokio::spawn(sweep(Arc::clone(&shared)));
        let listening = Some(listen(listener, Arc::clone(&shared)));
        Ok(Self { shared, sweeper, listening })
    }

    /// Its address, `host:port`, for a client's bootstrap list.
    pub fn bootstrap(&self) -> String {
        self.shared.address().to_string()
    }

    /// What goes wrong on purpose.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// Goes away, as a broker that was killed does: connections break, new ones are refused. Its data stay.
    pub fn suspend(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.cancel();
        }
    }

    /// Comes back on the same port with the data it had.
    ///
    /// # Errors
    ///
    /// Somebody else has the port now.
    pub async fn resume(&mut self) -> io::Result<()> {
        if self.listening.is_none() {
            let listener = bind_again(self.shared.address()).await?;
            self.listening = Some(listen(listener, Arc::clone(&self.shared)));
        }
        Ok(())
    }

    /// The offset after the last record of a partition; 0 where there is none.
    pub fn end_offset(&self, topic: &str, partition: i32) -> i64 {
        self.shared.with(|state| state.log(topic, partition).map_or(0, |log| log.end()))
    }

    /// The committed offset of a group, if it has one.
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<i64> {
        self.shared.with(|state| state.groups.get(group)?.committed(topic, partition))
    }

    /// The ids of a group's members.
    pub fn members(&self, group: &str) -> Vec<String> {
        self.shared.with(|state| {
            let group = state.groups.get(group);
            group.map(|group| group.member_ids().map(str::to_owned).collect()).unwrap_or_default()
        })
    }

    /// Deletes records below an offset, as retention does.
    pub fn delete_records_before(&self, topic: &str, partition: i32, offset: i64) {
        self.shared.change(|state| {
            if let Some(log) = state.log_mut(topic, partition) {
                log.delete_before(offset);
            }
        });
    }

    /// Takes the log's end back to an offset, as an unclean election can.
    pub fn truncate(&self, topic: &str, partition: i32, offset: i64) {
        self.shared.change(|state| {
            if let Some(log) = state.log_mut(topic, partition) {
                log.truncate(offset);
            }
        });
    }

    /// Appends a batch as it is, without a look at its checksum or codec; only its offsets are set.
    ///
    /// # Errors
    ///
    /// The topic is unknown, or the bytes are shorter than a batch's head.
    pub fn append_raw(&self, topic: &str, partition: i32, batch: Bytes) -> Result<i64, LogError> {
        self.shared
            .change(|state| state.log_mut(topic, partition).ok_or(LogError::Unknown)?.append_unchecked(batch))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.suspend();
        self.sweeper.abort();
    }
}

fn listen(listener: TcpListener, shared: Arc<Shared>) -> CancellationToken {
    let stop = CancellationToken::new();
    tokio::spawn(stop.clone().run_until_cancelled_owned(connection::accept(listener, shared, stop.clone())));
    stop
}

/// The port of a listener that was just dropped can be busy for a moment.
async fn bind_again(address: SocketAddr) -> io::Result<TcpListener> {
    let mut attempts = 100;
    loop {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempts > 0 => {
                attempts -= 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            bound => return bound,
        }
    }
}

async fn sweep(shared: Arc<Shared>) {
    let mut ticks = interval(SWEEP_INTERVAL);
    loop {
        ticks.tick().await;
        shared.change_if(|state| {
            state.groups.values_mut().filter_map(|group| group.sweep().then_some(())).count() > 0
        });
    }
}
