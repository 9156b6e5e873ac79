//! The network between one instance and the database: a TCP proxy that can cut it, or lose the answers. It passes bytes, not
//! frames, since they may be encrypted.

use std::net::Ipv4Addr;

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

use crate::proxy::{Passage, passes};

/// An instance's way to the database.
#[derive(Debug)]
pub(crate) struct DatabaseLink {
    pub(crate) port: u16,
    passage: watch::Sender<Passage>,
}

impl DatabaseLink {
    pub(crate) async fn open(upstream: u16) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (passage, watched) = watch::channel(Passage::Open);
        tokio::spawn(accept(listener, upstream, watched));
        Ok(Self { port, passage })
    }

    pub(crate) fn set(&self, passage: Passage) {
        self.passage.send_replace(passage);
    }
}

async fn accept(listener: TcpListener, upstream: u16, passage: watch::Receiver<Passage>) {
    while let Ok((client, _)) = listener.accept().await {
        if *passage.borrow() == Passage::Refused {
            continue; // dropped
        }
        let passage = passage.clone();
        tokio::spawn(async move {
            // After any end, both sides see their connection close, as they would without a proxy.
            let _ = relay(client, upstream, passage).await;
        });
    }
}

async fn relay(client: TcpStream, upstream: u16, passage: watch::Receiver<Passage>) -> Result<()> {
    let database = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream)).await?;
    for socket in [&client, &database] {
        socket.set_nodelay(true)?;
    }
    let (from_client, to_client) = client.into_split();
    let (from_database, to_database) = database.into_split();
    let mut refused = passage.clone();
    tokio::select! {
        ended = pass(from_client, to_database, passage.clone(), true) => ended,
        ended = pass(from_database, to_client, passage, false) => ended,
        _ = refused.wait_for(|passage| *passage == Passage::Refused) => Ok(()),
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut passage: watch::Receiver<Passage>,
    request: bool,
) -> Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        passes(&mut passage, request).await?;
        to.write_all(&buffer[..read]).await?;
    }
}
