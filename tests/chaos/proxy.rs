//! The network between one instance and one broker: a TCP proxy that can cut it, delay it, or lose the
//! answers.
//!
//! It parses the frames of Kafka's protocol, so that it can replace the brokers by itself in the answers
//! that name them (`addresses`). So an instance never gets past its own proxies.

use std::{
    collections::VecDeque,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Result;
use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    time::sleep,
};

use crate::{
    addresses::{self, Asked},
    brokers::{BROKERS, ports_of},
};

/// The state of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passage {
    Open,
    /// Each request and each answer takes so much longer.
    Slow(Duration),
    /// Connections stay, and nothing moves; what was sent arrives when it is over.
    Silent,
    /// Requests arrive, and no answer does; the connections break when it is over.
    AnswersLost,
    /// Connections break, and none is made.
    Refused,
}

/// One instance's way to one broker, at one of the ports that this may have.
#[derive(Debug)]
pub(crate) struct Link {
    node: u16,
    pub(crate) port: u16,
    passage: watch::Sender<Passage>,
}

/// One instance's ways to all brokers.
#[derive(Debug)]
pub(crate) struct Links {
    links: Vec<Link>,
}

impl Links {
    /// Opens one proxy for each port that a broker may have.
    pub(crate) async fn open(first_port: u16) -> Result<Self> {
        let mut found = Vec::new();
        for node in 1..=BROKERS {
            for upstream in ports_of(first_port, node) {
                found.push((node, upstream, TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?));
            }
        }
        let stand_ins =
            found.iter().map(|(_, upstream, listener)| Ok((*upstream, listener.local_addr()?.port())));
        let stand_ins: Arc<[(u16, u16)]> = stand_ins.collect::<Result<Vec<_>>>()?.into();
        let mut links = Vec::new();
        for ((node, upstream, listener), (_, port)) in found.into_iter().zip(stand_ins.iter().copied()) {
            let (passage, watched) = watch::channel(Passage::Open);
            tokio::spawn(accept(listener, upstream, Arc::clone(&stand_ins), watched));
            links.push(Link { node, port, passage });
        }
        Ok(Self { links })
    }

    /// All that an instance of that number is told of the brokers: where one of them may be. It may be elsewhere.
    pub(crate) fn seed(&self, instance: usize) -> String {
        let seed = u16::try_from(instance).unwrap_or_default() % BROKERS + 1;
        let ports = self.links.iter().filter(|link| link.node == seed);
        ports.map(|link| format!("127.0.0.1:{}", link.port)).collect::<Vec<_>>().join(",")
    }

    /// To one node, which counts from 1, or to all.
    pub(crate) fn set(&self, node: Option<usize>, passage: Passage) {
        for link in &self.links {
            if node.is_none_or(|node| node == usize::from(link.node)) {
                link.passage.send_replace(passage);
            }
        }
    }
}

async fn accept(
    listener: TcpListener,
    upstream: u16,
    stand_ins: Arc<[(u16, u16)]>,
    passage: watch::Receiver<Passage>,
) {
    while let Ok((client, _)) = listener.accept().await {
        if *passage.borrow() == Passage::Refused {
            continue; // dropped
        }
        let (stand_ins, passage) = (Arc::clone(&stand_ins), passage.clone());
        tokio::spawn(async move {
            // After any end, both sides see their connection close, as they would without a proxy.
            let _ = relay(client, upstream, &stand_ins, passage).await;
        });
    }
}

async fn relay(
    client: TcpStream,
    upstream: u16,
    stand_ins: &[(u16, u16)],
    passage: watch::Receiver<Passage>,
) -> Result<()> {
    let broker = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream)).await?;
    for socket in [&client, &broker] {
        socket.set_nodelay(true)?;
    }
    let (from_client, to_client) = client.into_split();
    let (from_broker, to_broker) = broker.into_split();
    let asked = Mutex::default();
    let mut refused = passage.clone();
    tokio::select! {
        ended = requests(from_client, to_broker, &asked, passage.clone()) => ended,
        ended = answers(from_broker, to_client, &asked, stand_ins, passage) => ended,
        _ = refused.wait_for(|passage| *passage == Passage::Refused) => Ok(()),
    }
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    asked: &Mutex<VecDeque<Asked>>,
    mut passage: watch::Receiver<Passage>,
) -> Result<()> {
    loop {
        let frame = frame(&mut from).await?;
        passes(&mut passage, true).await?;
        let request = Asked::of(&frame)?;
        asked.lock().unwrap_or_else(PoisonError::into_inner).push_back(request);
        send(&mut to, &frame).await?;
    }
}

async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    asked: &Mutex<VecDeque<Asked>>,
    stand_ins: &[(u16, u16)],
    mut passage: watch::Receiver<Passage>,
) -> Result<()> {
    loop {
        let frame = frame(&mut from).await?;
        // A broker answers a connection's requests in their order.
        let answered = asked.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let frame = match answered {
            Some(request) => addresses::replace(frame, request, stand_ins)?,
            None => anyhow::bail!("an answer that nobody asked for"),
        };
        passes(&mut passage, false).await?;
        send(&mut to, &frame).await?;
    }
}

/// Waits until what was read may pass; an error where the connection is to break.
pub(crate) async fn passes(passage: &mut watch::Receiver<Passage>, request: bool) -> Result<()> {
    let mut lost = false;
    loop {
        let now = *passage.borrow_and_update();
        match now {
            Passage::Open | Passage::Slow(_) if lost => anyhow::bail!("an answer was lost"),
            Passage::Open => return Ok(()),
            Passage::Slow(by) => {
                sleep(by).await;
                return Ok(());
            }
            Passage::AnswersLost if request => return Ok(()),
            Passage::AnswersLost => lost = true,
            Passage::Silent => {}
            Passage::Refused => anyhow::bail!("cut"),
        }
        passage.changed().await?;
    }
}

async fn frame(from: &mut OwnedReadHalf) -> Result<Bytes> {
    let length = from.read_i32().await?;
    let mut frame = BytesMut::zeroed(usize::try_from(length)?);
    from.read_exact(&mut frame).await?;
    Ok(frame.freeze())
}

async fn send(to: &mut OwnedWriteHalf, frame: &[u8]) -> Result<()> {
    let mut whole = BytesMut::with_capacity(frame.len() + 4);
    whole.extend_from_slice(&i32::try_from(frame.len())?.to_be_bytes());
    whole.extend_from_slice(frame);
    to.write_all(&whole).await?;
    Ok(())
}
