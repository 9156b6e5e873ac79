//! The next request on a connection, after one that was answered before all of its body was read.

use super::{
    client::Client,
    server::{Server, config},
};

async fn echoes(client: &mut Client) {
    client.send("POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{}").await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"{}"[..]));
}

#[tokio::test(start_paused = true)]
async fn an_early_error_costs_a_client_that_sends_its_body_no_connection() {
    let server = Server::start(config()).await;
    let body = "x".repeat(200_000);
    let length = format!("content-length: {}\r\n\r\n{body}", body.len());
    let chunked = format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    for (line, status) in [
        ("POST /echo HTTP/1.1\r\n", 413),
        ("POST /echo HTTP/1.1\r\ncontent-type: text/plain\r\n", 415),
        ("POST /echo HTTP/1.1\r\ncontent-encoding: deflate\r\n", 415),
        ("POST /nowhere HTTP/1.1\r\n", 404),
        ("POST /read-only HTTP/1.1\r\n", 405),
        ("POST /panic HTTP/1.1\r\n", 500),
        ("POST / HTTP/1.1\r\norigin: http://elsewhere\r\n", 403),
        ("GET / HTTP/1.1\r\n", 200),
    ] {
        for framed in [&length, &chunked] {
            let mut client = server.connect().await;
            for _ in 0..5 {
                client.send(format!("{line}host: a\r\n{framed}")).await;
                let answer = client.answer().await;
                assert_eq!((answer.status, answer.header("connection")), (status, None), "{line}");
                echoes(&mut client).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_rest_is_not_read_says_that_it_closes() {
    let server = Server::start(config()).await;
    // Too much, half of it and no more, and what is sent only on demand.
    for (rest, waits) in [
        (format!("content-length: 300000\r\n\r\n{}", "x".repeat(300_000)), false),
        (format!("transfer-encoding: chunked\r\n\r\nf4240\r\n{}\r\n0\r\n\r\n", "x".repeat(1_000_000)), false),
        (format!("content-length: 3000\r\n\r\n{}", "x".repeat(1500)), true),
        ("expect: 100-continue\r\ncontent-length: 3000\r\n\r\n".to_owned(), false),
    ] {
        let mut client = server.connect().await;
        let begun = tokio::time::Instant::now();
        client.send(format!("POST /nowhere HTTP/1.1\r\nhost: a\r\n{rest}")).await;
        let answer = client.answer().await;
        answer.problem(404);
        assert_eq!(answer.header("connection"), Some("close"), "{}", &rest[..30]);
        assert_eq!(begun.elapsed().as_secs(), u64::from(waits), "{}", &rest[..30]);
        assert_eq!(client.rest().await, b"");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_after_the_answer_is_known_is_read_before_it_is_given() {
    let server = Server::start(config()).await;
    let mut client = server.connect().await;
    client.send("POST /nowhere HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nabc").await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    client.send("def").await;
    let answer = client.answer().await;
    answer.problem(404);
    assert_eq!(answer.header("connection"), None);
    echoes(&mut client).await;
}
