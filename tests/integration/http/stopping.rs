//! A stop in the middle.

use std::sync::Arc;

use tokio::sync::Notify;
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
