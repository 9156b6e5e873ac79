//! A rolling restart behind a load balancer that polls the readiness of each instance.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use highwater_web::{
    http::client::{Request, ask},
    shutdown::{Shutdown, Stage},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{sleep, timeout},
};
use warp::{Filter, Reply, filters::path::FullPath, http::StatusCode};

use super::server::{Server, config};
use crate::support::eventually;

/// How often the balancer asks.
const CHECK: Duration = Duration::from_millis(50);
/// How long the drain is: two halves of four checks each.
const HALF: Duration = Duration::from_millis(200);

/// The instances that there are, and whether each was ready when it was asked last.
type Instances = Arc<Mutex<Vec<(SocketAddr, bool)>>>;

async fn instance() -> Server {
    let shutdown = Shutdown::new();
    let stage = shutdown.clone();
    let routes = warp::path::full().map(move |path: FullPath| {
        let ready = path.as_str() != "/ready" || stage.stage() == Stage::Running;
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        warp::reply::with_status("here", status).into_response()
    });
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    Server::until(shutdown, listener.into(), config(), routes).await
}

fn balancer(instances: Instances) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let addresses: Vec<SocketAddr> =
                instances.lock().unwrap().iter().map(|(address, _)| *address).collect();
            for address in addresses {
                let answer = ask(address, None, &Request::get("/ready"), Duration::from_secs(1)).await;
                let ready = answer.is_ok_and(|answer| answer.status == 200);
                let mut instances = instances.lock().unwrap();
                instances.iter_mut().filter(|it| it.0 == address).for_each(|it| it.1 = ready);
            }
            sleep(CHECK).await;
        }
    })
}

/// Sends one request after the other, on a kept connection or on a new one each.
async fn client(number: usize, instances: Instances, over: Arc<AtomicBool>, answered: Arc<AtomicUsize>) {
    let keeps = number.is_multiple_of(2);
    let mut kept: Option<TcpStream> = None;
    for turn in number.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let mut stream = match kept.take() {
            Some(stream) => stream,
            None => {
                let ready: Vec<SocketAddr> =
                    instances.lock().unwrap().iter().filter(|it| it.1).map(|it| it.0).collect();
                assert!(!ready.is_empty(), "no instance is ready");
                TcpStream::connect(ready[turn % ready.len()]).await.expect("a connection")
            }
        };
        let connection = if keeps { "keep-alive" } else { "close" };
        let request = format!("GET / HTTP/1.1\r\nhost: test\r\nconnection: {connection}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("a request is taken");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nhere") {
            let read = timeout(Duration::from_secs(5), stream.read_buf(&mut answer)).await;
            assert_ne!(read.expect("an answer in time").expect("an answer"), 0, "a request was dropped");
        }
        let head = String::from_utf8(answer).unwrap().to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        answered.fetch_add(1, Ordering::Relaxed);
        kept = (keeps && !head.contains("connection: close")).then_some(stream);
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_drops_no_request() {
    let mut servers = vec![instance().await, instance().await];
    let instances: Instances = Arc::default();
    *instances.lock().unwrap() = servers.iter().map(|server| (server.address, true)).collect();
    let (over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let balancing = balancer(Arc::clone(&instances));
    let clients: Vec<_> = (0..12)
        .map(|number| {
            tokio::spawn(client(number, Arc::clone(&instances), Arc::clone(&over), Arc::clone(&answered)))
        })
        .collect();

    for _ in 0..2 {
        let old = servers.remove(0);
        old.shutdown.advance(Stage::Draining);
        sleep(HALF).await;
        old.shutdown.advance(Stage::Closing);
        sleep(HALF).await;
        old.shutdown.request();
        timeout(Duration::from_secs(10), old.running).await.expect("a stop in time").unwrap();
        let new = instance().await;
        let mut now = instances.lock().unwrap().clone();
        now.retain(|(address, _)| *address != old.address);
        now.push((new.address, false));
        *instances.lock().unwrap() = now;
        eventually("the balancer sends requests to the new one", async || {
            instances.lock().unwrap().iter().all(|(_, ready)| *ready).then_some(())
        })
        .await;
        servers.push(new);
    }
    over.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    balancing.abort();
    assert!(answered.load(Ordering::Relaxed) > 100);
}
