//! A way to PostgreSQL that passes requests on, and may lose or delay their answers.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, spawn},
    time::sleep,
};

/// A proxy; dropped, it takes no more connections.
pub(super) struct Link {
    pub(super) port: u16,
    fault: Arc<Fault>,
    accepting: AbortHandle,
}

#[derive(Default)]
struct Fault {
    loses: AtomicBool,
    delay_millis: AtomicU64,
}

impl Link {
    pub(super) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let fault = Arc::<Fault>::default();
        let told = Arc::clone(&fault);
        let accepting = spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                spawn(pass(client, server, Arc::clone(&told)));
            }
        });
        Self { port, fault, accepting: accepting.abort_handle() }
    }

    /// While it does, a connection breaks at the first answer.
    pub(super) fn lose_answers(&self, loses: bool) {
        self.fault.loses.store(loses, Ordering::Relaxed);
    }

    /// From now on each answer comes so much later.
    pub(super) fn delay(&self, delay: Duration) {
        self.fault.delay_millis.store(delay.as_millis() as u64, Ordering::Relaxed);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(client: TcpStream, server: u16, fault: Arc<Fault>) -> std::io::Result<()> {
    let (mut requests, mut to_client) = client.into_split();
    let (mut answers, mut to_server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await?.into_split();
    let answering = async {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = answers.read(&mut buffer).await?;
            if length == 0 || fault.loses.load(Ordering::Relaxed) {
                return Ok(());
            }
            sleep(Duration::from_millis(fault.delay_millis.load(Ordering::Relaxed))).await;
            to_client.write_all(&buffer[..length]).await?;
        }
    };
    tokio::select! {
        ended = answering => ended,
        ended = copy(&mut requests, &mut to_server) => ended.map(drop),
    }
}
