//! Oversized bodies, too many connections, and panics.

use std::{convert::Infallible, time::Duration};

use futures::StreamExt;
use warp::{Filter, Reply, http::StatusCode, path::FullPath};

use super::server::{Server, config};

#[tokio::test(start_paused = true)]
async fn a_panic_costs_one_500_and_not_the_connection() {
    let server = Server::start(config()).await;
    let mut client = server.connect().await;
    for path in ["/panic", "/panic/later"] {
        let problem = client.get(path).await.problem(500);
        assert!(!problem.to_string().contains("as asked"), "the cause is for the log: {problem}");
    }
    assert_eq!(client.get("/").await.body, b"here");
}

#[tokio::test(start_paused = true)]
async fn a_host_in_place_of_a_path_is_answered_and_panics_nothing() {
    let nowhere = warp::path::full().map(|path: FullPath| {
        warp::reply::with_status(path.as_str().to_owned(), StatusCode::NOT_FOUND).into_response()
    });
    let server = Server::serve(config(), nowhere).await;
    let mut client = server.connect().await;
    client.send("CONNECT example.org:1 HTTP/1.1\r\nhost: example.org:1\r\n\r\n").await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_middle_of_an_answer_breaks_it_off_visibly() {
    let filter = warp::any().map(|| {
        let pieces = futures::stream::iter(0..2).then(|piece| async move {
            // The first half is on its way before the second fails.
            tokio::time::sleep(Duration::from_secs(piece)).await;
            assert!(piece == 0, "as asked");
            Ok::<_, Infallible>("half an answer")
        });
        let pieces = sync_wrapper::SyncStream::new(pieces);
        warp::reply::stream(pieces).into_response()
    });
    let server = Server::serve(config(), filter).await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    let whole = String::from_utf8(client.rest().await).unwrap();
    assert!(whole.contains("half an answer"), "{whole}");
    assert!(!whole.ends_with("0\r\n\r\n"), "the last chunk would say that this was all: {whole}");
}

#[tokio::test(start_paused = true)]
async fn a_body_too_large_is_refused_however_it_is_sent() {
    let server = Server::start(config()).await;
    let large = "x".repeat(1025);
    for request in [
        format!("content-length: 1025\r\n\r\n{large}"),
        format!("transfer-encoding: chunked\r\n\r\n401\r\n{large}\r\n0\r\n\r\n"),
    ] {
        let mut client = server.connect().await;
        client.send(format!("POST /echo HTTP/1.1\r\nhost: test\r\n{request}")).await;
        client.answer().await.problem(413);
    }
    let mut client = server.connect().await;
    let largest = &large[1..];
    client.send(format!("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 1024\r\n\r\n{largest}")).await;
    assert_eq!(client.answer().await.body, largest.as_bytes());
}

// On the real clock: a paused one goes on, beyond the deadline, whenever both sides wait for the kernel.
#[tokio::test]
async fn a_client_that_is_still_sending_hears_why_it_was_refused() {
    let server = Server::start(config()).await;
    for (path, status) in [("/echo", 413), ("/nowhere", 404)] {
        let mut client = server.connect().await;
        client.send(format!("POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: 8000000\r\n\r\n")).await;
        for _ in 0..8 {
            client.send(vec![b'x'; 1_000_000]).await;
        }
        client.answer().await.problem(status);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_first_is_told_to_go_on_only_if_its_body_will_be_read() {
    let server = Server::start(config()).await;
    let ask = |length| {
        format!("POST /echo HTTP/1.1\r\nhost: t\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n")
    };
    let mut client = server.connect().await;
    client.send(ask(2)).await;
    assert!(client.head().await.starts_with("HTTP/1.1 100 "));
    client.send("{}").await;
    assert_eq!(client.answer().await.body, b"{}");

    let mut client = server.connect().await;
    client.send(ask(5000)).await;
    client.answer().await.problem(413);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_its_framing_is_a_bad_request() {
    let server = Server::start(config()).await;
    let mut client = server.connect().await;
    client.send("POST /echo HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n").await;
    client.answer().await.problem(400);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_said_all_it_will_say_gets_its_answer() {
    let server = Server::start(config()).await;
    for (path, body) in [("/", "here"), ("/patient/3", "at last")] {
        let mut client = server.connect().await;
        client.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n")).await;
        client.end().await;
        assert_eq!(client.answer().await.body, body.as_bytes());
        assert_eq!(client.rest().await, b"");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_is_taken_as_it_is_alone_and_an_empty_media_type_says_nothing() {
    let server = Server::start(config()).await;
    let mut client = server.connect().await;
    for (said, status) in [
        ("content-encoding: compress", 415),
        ("content-encoding: gzip, br", 415),
        ("content-encoding: identity, deflate", 415),
        ("content-encoding: identity\r\ncontent-encoding: deflate", 415),
        ("content-encoding: identity\r\ncontent-encoding: identity", 200),
        ("content-encoding: identity", 200),
        ("content-encoding: Identity", 200),
        ("content-encoding:", 200),
        ("content-type:", 200),
        ("content-type: text/plain", 415),
    ] {
        client
            .send(format!("POST /echo HTTP/1.1\r\nhost: a\r\n{said}\r\ncontent-length: 2\r\n\r\n{{}}"))
            .await;
        let answer = client.answer().await;
        assert_eq!(answer.status, status, "{said}");
        if status == 415 {
            answer.problem(415);
        }
        let accepted = (status == 415 && said.starts_with("content-encoding")).then_some("gzip, zstd, br");
        assert_eq!(answer.header("accept-encoding"), accepted, "{said}");
    }
}
