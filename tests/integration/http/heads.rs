//! Heads of requests: their framing, their length, and which host they are for.

use highwater_web::http::{AllowedHosts, Config};

use super::{
    client::Client,
    server::{Server, config},
};

async fn asked(client: &mut Client, head: &str) -> super::client::Answer {
    client.send(format!("{head}\r\n\r\n")).await;
    client.answer().await
}

#[tokio::test(start_paused = true)]
async fn a_request_is_for_one_host() {
    let server = Server::start(config()).await;
    for (head, status) in [
        ("GET / HTTP/1.1", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: a", 400),
        ("GET / HTTP/1.1\r\nhost: a b", 400),
        ("GET / HTTP/1.1\r\nhost: a/b", 400),
        ("GET / HTTP/1.1\r\nhost: me@a", 400),
        ("GET / HTTP/1.1\r\nhost: a:b", 400),
        ("GET / HTTP/1.1\r\nhost: a:65536", 400),
        ("GET / HTTP/1.1\r\nhost: [::1", 400),
        ("GET / HTTP/1.1\r\nhost: a, b", 400),
        ("GET http://a/ HTTP/1.1", 400),
        ("GET http://me@a/ HTTP/1.1\r\nhost: a", 400),
        ("GET / HTTP/1.0\r\nhost: a\r\nhost: b", 400),
        ("GET / HTTP/1.0", 200),
        ("GET / HTTP/1.1\r\nhost:", 200),
        ("GET / HTTP/1.1\r\nhost: a_b.example.:8000", 200),
        ("GET / HTTP/1.1\r\nhost: [::1]:8000", 200),
        ("GET http://a/ HTTP/1.1\r\nhost: a", 200),
    ] {
        let answer = asked(&mut server.connect().await, head).await;
        assert_eq!(answer.status, status, "{head}");
        if status == 400 {
            answer.problem(400);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_points_here_is_no_way_in_unless_it_is_allowed() {
    let statuses = async |hosts: AllowedHosts, asked_for: &[(&str, u16)]| {
        let server = Server::start(Config { hosts, ..config() }).await;
        let mut client = server.connect().await;
        for (host, status) in asked_for {
            let answer = asked(&mut client, &format!("GET / HTTP/1.1\r\nhost: {host}")).await;
            assert_eq!(answer.status, *status, "{host}");
            if *status == 421 {
                answer.problem(421);
            }
        }
        // The target says it, whatever Host says.
        let absolute = "GET http://rebound.example/ HTTP/1.1\r\nhost: localhost";
        asked(&mut client, absolute).await.problem(421);
        assert_eq!(asked(&mut client, "GET / HTTP/1.0\r\nconnection: keep-alive").await.status, 200);
    };
    statuses(
        AllowedHosts::Loopback,
        &[
            ("localhost", 200),
            ("LOCALHOST.:8000", 200),
            ("highwater.localhost", 200),
            ("127.0.0.1:8000", 200),
            ("127.1.2.3", 200),
            ("[::1]:8000", 200),
            ("[::ffff:127.0.0.1]", 200),
            ("rebound.example", 421),
            ("localhost.example", 421),
            ("notlocalhost", 421),
            ("192.168.1.5", 421),
            ("127.0.0.1.nip.io", 421),
            ("", 421),
        ],
    )
    .await;
    let named = vec!["api.example.org".to_owned(), "10.0.0.9".to_owned()];
    statuses(
        AllowedHosts::Named(named),
        &[
            ("api.example.org", 200),
            ("API.example.org.:8000", 200),
            ("10.0.0.9", 200),
            // As healthchecks and probes ask.
            ("localhost", 200),
            ("127.0.0.1", 200),
            ("example.org", 421),
            ("10.0.0.8", 421),
        ],
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn of_transfer_codings_chunked_alone_is_taken() {
    let server = Server::start(config()).await;
    for (codings, status) in [
        ("transfer-encoding: gzip, chunked", 501),
        ("transfer-encoding: chunked, chunked", 501),
        ("transfer-encoding: gzip\r\ntransfer-encoding: chunked", 400),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked", 400),
    ] {
        let mut client = server.connect().await;
        client
            .send(format!("POST /echo HTTP/1.1\r\nhost: a\r\n{codings}\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"))
            .await;
        let answer = client.answer().await;
        answer.problem(status);
        assert_eq!(answer.header("connection"), Some("close"), "{codings}");
        assert_eq!(client.rest().await, b"", "{codings}");
    }
    let mut client = server.connect().await;
    let chunked =
        "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: Chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n".to_owned();
    client.send(chunked).await;
    assert_eq!(client.answer().await.body, b"{}");
}

#[tokio::test(start_paused = true)]
async fn a_head_has_at_most_16_kib_and_100_fields() {
    let server = Server::start(config()).await;
    let padded = |length: usize| {
        let head = "GET / HTTP/1.1\r\nhost: a\r\nx-long: ";
        format!("{head}{}\r\n\r\n", "x".repeat(length - head.len() - 4))
    };
    let fields = |count: usize| {
        let more: String = (1..count).map(|field| format!("x-{field}: y\r\n")).collect();
        format!("GET / HTTP/1.1\r\nhost: a\r\n{more}\r\n")
    };
    let path = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(66_000));
    for (what, head, status) in [
        ("16 KiB", padded(16_384), 200),
        ("16 KiB and a byte", padded(16_385), 431),
        ("100 fields", fields(100), 200),
        ("101 fields", fields(101), 431),
        ("an address", path, 431),
    ] {
        let mut client = server.connect().await;
        client.send(head).await;
        let head = client.head().await;
        assert_eq!(head.split(' ').nth(1), Some(status.to_string().as_str()), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_service_as_a_whole_can_be_asked_for_its_options() {
    let server = Server::start(config()).await;
    let mut client = server.connect().await;
    let answer = asked(&mut client, "OPTIONS * HTTP/1.1\r\nhost: a").await;
    assert_eq!((answer.status, answer.header("content-length")), (204, None));
    assert_eq!(client.get("/").await.status, 200);
}
