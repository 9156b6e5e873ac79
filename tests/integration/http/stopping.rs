//! A stop in the middle.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Notify, time::Instant};
use warp::{Filter, Reply};

use super::server::{Server, config};

#[tokio::test(start_paused = true)]
async fn a_stop_finishes_what_was_begun_and_takes_nothing_new() {
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let filter = {
        let (begun, go_on) = (Arc::clone(&begun), Arc::clone(&go_on));
        warp::any().then(move || {
            let (begun, go_on) = (Arc::clone(&begun), Arc::clone(&go_on));
            async move {
                begun.notify_one();
                go_on.notified().await;
                "finished".into_response()
            }
        })
    };
    let mut server = Server::serve(config(), filter).await;
    let mut idle = server.connect().await;
    go_on.notify_one();
    assert_eq!(idle.get("/").await.body, b"finished");
    begun.notified().await;

    let mut busy = server.connect().await;
    busy.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    begun.notified().await;
    server.stop.take().unwrap().send(()).unwrap();
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
async fn a_stop_waits_for_no_client_longer_than_it_may() {
    let config = highwater_web::http::Config { stop_timeout: Duration::from_secs(3), ..config() };
    let mut server = Server::start(config).await;
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
    server.stop.take().unwrap().send(()).unwrap();
    server.running.await.unwrap();
    assert_eq!(stopped.elapsed().as_secs(), 3);
    for client in &mut clients {
        assert_eq!(client.rest().await, b"");
    }
}
