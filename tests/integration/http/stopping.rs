//! A shutdown while requests are under way.

use std::{
    convert::Infallible,
    io::{Read as _, Write as _},
    sync::Arc,
    time::Duration,
};

use highwater_web::shutdown::Stage;
use tokio::{sync::Notify, time::Instant};
use warp::{Filter, Reply, reply::Response};

use super::server::{Server, config};
use crate::support::eventually;

/// Tells that a request is begun, and finishes it when it is told to go on.
fn held(
    begun: &Arc<Notify>,
    go_on: &Arc<Notify>,
) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + use<> {
    let (begun, go_on) = (Arc::clone(begun), Arc::clone(go_on));
    warp::any().then(move || {
        let (begun, go_on) = (Arc::clone(&begun), Arc::clone(&go_on));
        async move {
            begun.notify_one();
            go_on.notified().await;
            "finished".into_response()
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_stop_finishes_what_was_begun_and_takes_nothing_new() {
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let server = Server::serve(config(), held(&begun, &go_on)).await;
    let mut idle = server.connect().await;
    go_on.notify_one();
    assert_eq!(idle.get("/").await.body, b"finished");
    begun.notified().await;

    let mut busy = server.connect().await;
    busy.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    begun.notified().await;
    server.shutdown.request();
    assert_eq!(idle.rest().await, b"", "an idle connection is closed");
    assert!(!server.running.is_finished());

    go_on.notify_one();
    let answer = busy.answer().await;
    assert_eq!(answer.body, b"finished");
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(busy.rest().await, b"");
    server.running.await.unwrap();
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_drain_serves_everything_and_then_bids_those_who_stay_to_go() {
    let server = Server::start(config()).await;
    let mut client = server.connect().await;
    server.shutdown.advance(Stage::Draining);
    for _ in 0..2 {
        let answer = client.get("/").await;
        assert_eq!((answer.body.as_slice(), answer.header("connection")), (&b"here"[..], None));
    }
    server.shutdown.advance(Stage::Closing);
    eventually("answers say that they are the last", async || {
        let mut new = server.connect().await;
        let answer = new.get("/").await;
        assert_eq!(answer.body, b"here");
        (answer.header("connection") == Some("close")).then_some(())
    })
    .await;
    let answer = client.get("/").await;
    assert_eq!((answer.body.as_slice(), answer.header("connection")), (&b"here"[..], Some("close")));
    assert_eq!(client.rest().await, b"");
    server.shutdown.request();
    server.running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_was_begun_before_a_connection_was_to_close_is_its_last_all_the_same() {
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let server = Server::serve(config(), held(&begun, &go_on)).await;
    let mut busy = server.connect().await;
    busy.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    begun.notified().await;
    server.shutdown.advance(Stage::Closing);
    // Later connections are served until the server notices the shutdown.
    let mut other = server.connect().await;
    other.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    begun.notified().await;
    go_on.notify_waiters();
    assert_eq!(other.answer().await.header("connection"), Some("close"));
    assert_eq!(busy.answer().await.header("connection"), Some("close"));
}

#[tokio::test(start_paused = true)]
async fn who_connected_before_the_stop_is_answered() {
    let server = Server::start(config()).await;
    assert_eq!(server.connect().await.get("/").await.body, b"here");
    // The system has made the connection, and nobody has accepted it: the only thread is here.
    let stream = std::net::TcpStream::connect(server.address).unwrap();
    (&stream).write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    server.shutdown.request();
    server.running.await.unwrap();
    let mut answer = String::new();
    (&stream).read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("here"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_no_client_longer_than_it_may() {
    let config = highwater_web::http::Config { stop_timeout: Duration::from_secs(3), ..config() };
    let server = Server::start(config).await;
    // Half a head, half a body, and an answer that does not come.
    let mut clients = Vec::new();
    for begun in [
        "GET / HTTP/1.1\r\nhost: te",
        "POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 9\r\n\r\nhalf",
        "GET /patient/100 HTTP/1.1\r\nhost: test\r\n\r\n",
    ] {
        let mut client = server.connect().await;
        client.send(begun).await;
        clients.push(client);
    }
    // An answer to one that came later: the others' requests have begun.
    assert_eq!(server.connect().await.get("/").await.status, 200);
    let stopped = Instant::now();
    server.shutdown.request();
    server.running.await.unwrap();
    assert_eq!(stopped.elapsed().as_secs(), 3);
    for client in &mut clients {
        assert_eq!(client.rest().await, b"");
    }
}
