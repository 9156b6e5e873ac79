//! More clients than connections or memory allow.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use highwater_web::http::{Config, Listeners};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Notify,
};
use warp::{Filter, Reply, filters::path::FullPath, reply::Response};

use super::{
    client::Client,
    server::{Server, config},
};
use crate::support::eventually;

/// `/busy` never answers, and tells that it was asked; `/endless` never ends, and counts what it made; all else is
/// answered at once.
#[derive(Clone, Default)]
struct Crowded {
    asked: Arc<Notify>,
    made: Arc<AtomicUsize>,
}

impl Crowded {
    fn routes(
        &self,
    ) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static {
        let crowded = self.clone();
        warp::path::full().then(move |path: FullPath| {
            let Crowded { asked, made } = crowded.clone();
            async move {
                match path.as_str() {
                    "/busy" => {
                        asked.notify_one();
                        std::future::pending().await
                    }
                    "/endless" => {
                        let pieces = futures::stream::repeat_with(move || {
                            made.fetch_add(PIECE, Ordering::Relaxed);
                            Ok::<_, Infallible>(Bytes::from(vec![b'x'; PIECE]))
                        });
                        warp::reply::stream(pieces).into_response()
                    }
                    _ => "here".into_response(),
                }
            }
        })
    }

    /// A client whose request is being worked at.
    async fn busy(&self, server: &Server) -> Client {
        let mut client = server.connect().await;
        client.send("GET /busy HTTP/1.1\r\nhost: test\r\n\r\n").await;
        self.asked.notified().await;
        client
    }
}

const PIECE: usize = 32 * 1024;

#[tokio::test(start_paused = true)]
async fn a_client_beyond_the_most_connections_is_told_so_and_a_probe_is_answered() {
    let crowded = Crowded::default();
    let server = Server::serve(Config { max_connections: 2, ..config() }, crowded.routes()).await;
    let (first, _second) = (crowded.busy(&server).await, crowded.busy(&server).await);

    let mut third = server.connect().await;
    let answer = third.get("/").await;
    answer.problem(503);
    assert!(answer.header("retry-after").is_some());
    assert_eq!(third.rest().await, b"");
    for path in ["/health", "/ready", "/metrics"] {
        assert_eq!(server.connect().await.get(path).await.body, b"here", "{path}");
    }

    drop(first);
    eventually("there is room again", async || {
        (server.connect().await.get("/").await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn those_who_say_nothing_keep_no_probe_out() {
    let crowded = Crowded::default();
    let server = Server::serve(Config { max_connections: 1, ..config() }, crowded.routes()).await;
    let _busy = crowded.busy(&server).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(server.connect().await);
    }
    assert_eq!(server.connect().await.get("/health").await.body, b"here");
}

#[tokio::test(start_paused = true)]
async fn those_who_send_half_a_head_keep_no_probe_out() {
    let crowded = Crowded::default();
    let server = Server::serve(Config { max_connections: 1, ..config() }, crowded.routes()).await;
    let _busy = crowded.busy(&server).await;
    let mut halves = Vec::new();
    for count in 0..200 {
        let mut half = server.connect().await;
        half.send("GET / HTTP/1.1\r\nhost: t").await;
        halves.push(half);
        if count % 50 == 0 {
            assert_eq!(server.connect().await.get("/health").await.body, b"here", "after {count}");
        }
    }
    assert_eq!(server.connect().await.get("/health").await.body, b"here");
}

#[tokio::test(start_paused = true)]
async fn the_connection_that_is_idle_for_longest_makes_room() {
    let server = Server::start(Config { max_connections: 2, ..config() }).await;
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    assert_eq!(second.get("/").await.status, 200);
    assert_eq!(first.get("/").await.status, 200);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(second.get("/").await.status, 200);

    let mut third = server.connect().await;
    assert_eq!(third.get("/").await.status, 200);
    assert_eq!(first.rest().await, b"", "it was idle for longest");
    assert_eq!(second.get("/").await.status, 200);
    assert_eq!(third.get("/").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn one_address_has_no_more_connections_than_it_may() {
    let config = Config { max_connections_per_address: Some(1), ..config() };
    let server = Server::start(config).await;
    let mut first = server.connect().await;
    assert_eq!(first.get("/").await.status, 200);
    server.connect().await.get("/").await.problem(503);
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(server.address).await.unwrap();
    other.write_all(b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    other.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(first.get("/").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_port_of_its_own_tells_how_the_service_is_and_nothing_else() {
    let crowded = Crowded::default();
    let local = || TcpListener::bind(("127.0.0.1", 0));
    let (clients, probes) = (local().await.unwrap(), local().await.unwrap());
    let probing = probes.local_addr().unwrap();
    let listeners = Listeners { clients, probes: Some(probes), metrics: None };
    let server = Server::at(listeners, Config { max_connections: 1, ..config() }, crowded.routes()).await;
    let _busy = crowded.busy(&server).await;
    let mut client = Client::connect(probing).await;
    for path in ["/health", "/ready", "/metrics"] {
        assert_eq!(client.get(path).await.body, b"here", "{path}");
    }
    client.get("/").await.problem(404);
}

/// A client that asks for what never ends, and reads no more than how that begins.
async fn slow_reader(address: SocketAddr) -> (TcpStream, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    stream.write_all(b"GET /endless HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    (stream, String::from_utf8_lossy(&status).into_owned())
}

#[tokio::test]
async fn slow_readers_take_no_more_memory_than_there_is_and_leave_small_requests_alone() {
    let crowded = Crowded::default();
    let limit = 16 << 20;
    let config = Config { max_connections: 1000, max_bytes: Some(limit), ..config() };
    let server = Server::serve(config, crowded.routes()).await;
    let (mut readers, mut served) = (Vec::new(), 0);
    for _ in 0..300 {
        let (stream, status) = slow_reader(server.address).await;
        match status.as_str() {
            "HTTP/1.1 200" => served += 1,
            status => assert_eq!(status, "HTTP/1.1 503"),
        }
        readers.push(stream);
    }
    assert!((20..200).contains(&served), "{served} of 300 were served");
    // Bytes in the clients' own buffers do not count.
    let made = crowded.made.load(Ordering::Relaxed);
    assert!(made < limit + served * 64 * 1024, "{made} bytes were made for {served} readers");
    for _ in 0..50 {
        assert_eq!(server.connect().await.get("/").await.body, b"here");
    }

    drop(readers);
    eventually("what they took is there again", async || {
        (slow_reader(server.address).await.1 == "HTTP/1.1 200").then_some(())
    })
    .await;
}

#[tokio::test]
async fn bodies_that_stall_take_no_more_memory_than_there_is_and_leave_small_requests_alone() {
    let config =
        Config { max_connections: 1000, max_bytes: Some(8 << 20), max_body_bytes: 64 * 1024, ..config() };
    let server = Server::start(config).await;
    let mut clients = Vec::new();
    for _ in 0..200 {
        let mut client = server.connect().await;
        client.send("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 65000\r\n\r\n").await;
        // The first piece of a body is there with the head, as a rule; the others come after it.
        for _ in 0..6 {
            // One that is refused already is not written to.
            let _refused = client.try_send(&[b'x'; 10_000]).await;
            tokio::task::yield_now().await;
        }
        clients.push(client);
    }
    eventually("some are refused", async || {
        let mut late = server.connect().await;
        late.send("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 60000\r\n\r\n").await;
        for _ in 0..6 {
            let _refused = late.try_send(&[b'x'; 10_000]).await;
            tokio::task::yield_now().await;
        }
        let answer = late.answer().await;
        (answer.status == 503).then(|| answer.problem(503))
    })
    .await;
    for _ in 0..50 {
        let mut small = server.connect().await;
        small.send("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\n{}").await;
        assert_eq!(small.answer().await.body, b"{}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_came_together_with_the_one_before_it_makes_no_room() {
    let crowded = Crowded::default();
    let server = Server::serve(Config { max_connections: 1, ..config() }, crowded.routes()).await;
    let mut first = server.connect().await;
    let busy = "GET /busy HTTP/1.1\r\nhost: test\r\n\r\n";
    first.send(format!("GET / HTTP/1.1\r\nhost: test\r\n\r\n{busy}")).await;
    crowded.asked.notified().await;
    server.connect().await.get("/").await.problem(503);
    assert_eq!(first.answer().await.body, b"here");
    // Given up after its time, and not before.
    first.answer().await.problem(503);
}

#[tokio::test]
async fn a_connection_makes_no_room_before_its_answer_is_read_and_holds_nothing_for_it_afterwards() {
    let server = Server::serve(
        Config { max_connections: 2, max_bytes: Some(1 << 20), ..config() },
        warp::path!(usize).map(|length| vec![b'x'; length].into_response()).or(nothing()).unify(),
    )
    .await;
    // Somewhere among these, the end of the answer is left in the server where the system takes no more of it.
    for length in (64..448).step_by(8).map(|length| length * 1024) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(8 * 1024).unwrap();
        let mut slow = socket.connect(server.address).await.unwrap();
        let request = format!("GET /{length} HTTP/1.1\r\nhost: test\r\n\r\n");
        slow.write_all(request.as_bytes()).await.unwrap();
        let mut begin = [0; 1024];
        slow.read_exact(&mut begin).await.unwrap();
        for _ in 0..3 {
            server.connect().await.get("/1").await;
        }
        let head = begin.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let mut rest = vec![0; length - (begin.len() - head)];
        slow.read_exact(&mut rest).await.unwrap();
        eventually("what the answer took is there for another", async || {
            let mut other = server.connect().await;
            (other.get("/460000").await.status == 200).then_some(())
        })
        .await;
    }
}

fn nothing() -> impl Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static {
    warp::any().map(|| "".into_response())
}

#[tokio::test]
async fn idle_connections_make_room_for_a_large_answer() {
    let crowded = Crowded::default();
    let config = Config { max_connections: 1000, max_bytes: Some(1 << 20), ..config() };
    let server = Server::serve(config, crowded.routes()).await;
    let mut idle = Vec::new();
    for _ in 0..45 {
        let mut client = server.connect().await;
        assert_eq!(client.get("/").await.status, 200);
        idle.push(client);
    }
    let (_reader, status) = slow_reader(server.address).await;
    assert_eq!(status, "HTTP/1.1 200");
    assert_eq!(idle[0].rest().await, b"", "it was idle for longest");
    assert_eq!(idle[44].get("/").await.status, 200, "no more are closed than it takes");
}
