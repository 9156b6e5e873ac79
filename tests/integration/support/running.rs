//! A service in this process, with its own runtime, so that it can be killed.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use highwater_web::{http::Listeners, shutdown::Shutdown};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    task::JoinHandle,
    time::timeout,
};

/// A running service; dropped, it is killed.
pub(crate) struct Running {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    shutdown: Shutdown,
    runtime: Option<Runtime>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    /// Starts it, on a port of its own.
    pub(crate) fn start<R>(service: impl FnOnce(Listeners, Shutdown) -> R + Send + 'static) -> Self
    where
        R: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let shutdown = Shutdown::new();
        let stop = shutdown.clone();
        let task = runtime.spawn(async move { service(TcpListener::from_std(listener)?.into(), stop).await });
        Self { address, shutdown, runtime: Some(runtime), task }
    }

    /// Stops it as SIGTERM does, and fails where that takes longer than it may.
    pub(crate) async fn stop(mut self) {
        self.shutdown.request();
        let stopped = timeout(Duration::from_secs(10), &mut self.task).await;
        stopped.expect("a stop in time").unwrap().unwrap();
    }

    /// Waits until it ends by itself; why.
    pub(crate) async fn until_it_refuses(mut self) -> String {
        let ended = timeout(Duration::from_secs(60), &mut self.task).await;
        ended.expect("an end in time").unwrap().unwrap_err().to_string()
    }
}

impl Drop for Running {
    /// At once and without a word, as SIGKILL does.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
