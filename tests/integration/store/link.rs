//! A way to PostgreSQL that passes requests on and may lose their answers.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, spawn},
};

/// A proxy; dropped, it takes no more connections.
pub(super) struct Link {
    pub(super) port: u16,
    loses: Arc<AtomicBool>,
    accepting: AbortHandle,
}

impl Link {
    pub(super) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let loses = Arc::<AtomicBool>::default();
        let told = Arc::clone(&loses);
        let accepting = spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                spawn(pass(client, server, Arc::clone(&told)));
            }
        });
        Self { port, loses, accepting: accepting.abort_handle() }
    }

    /// While it does, a connection breaks at the first answer.
    pub(super) fn lose_answers(&self, loses: bool) {
        self.loses.store(loses, Ordering::Relaxed);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(client: TcpStream, server: u16, loses: Arc<AtomicBool>) -> std::io::Result<()> {
    let (mut requests, mut to_client) = client.into_split();
    let (mut answers, mut to_server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await?.into_split();
    let answering = async {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = answers.read(&mut buffer).await?;
            if length == 0 || loses.load(Ordering::Relaxed) {
                return Ok(());
            }
            to_client.write_all(&buffer[..length]).await?;
        }
    };
    tokio::select! {
        ended = answering => ended,
        ended = copy(&mut requests, &mut to_server) => ended.map(drop),
    }
}
