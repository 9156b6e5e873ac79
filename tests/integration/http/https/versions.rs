//! The versions that are spoken, and to whom.

use std::time::Duration;

use highwater_web::http::{self, Config};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::Instant,
};
use tokio_rustls::rustls::version;

use super::{
    super::server::Server,
    client::{BOTH, Http2, get_by_http1, tls},
    files::Files,
};
use crate::support::Authority;

#[tokio::test]
async fn both_versions_of_tls_carry_both_versions_of_http() {
    let authority = Authority::new();
    let files = Files::of(&authority.server("one"));
    let server = Server::start(files.config()).await;
    for version in [&version::TLS12, &version::TLS13] {
        // A client without ALPN speaks what has always been spoken.
        for alpn in [&[][..], &["http/1.1"]] {
            let tls = tls(&authority, None, &[version], alpn);
            let answer = get_by_http1(server.address, &tls, "/").await.unwrap();
            assert_eq!(
                (answer.status.as_u16(), &answer.body[..]),
                (200, &b"here"[..]),
                "{version:?} {alpn:?}"
            );
        }
        let client =
            Http2::connect(server.address, &tls(&authority, None, &[version], &["http/1.1", "h2"])).await;
        let answer = client.ask("/echo", "{}").await.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"{}"[..]), "{version:?}");
        assert!(answer.headers.contains_key("x-correlation-id"), "{:?}", answer.headers);
    }
}

#[tokio::test]
async fn a_client_that_speaks_no_tls_is_told_so() {
    let files = Files::of(&Authority::new().server("one"));
    let server = Server::start(files.config()).await;
    let mut client = server.connect().await;
    let answer = client.get("/").await;
    assert_eq!(answer.status, 400);
    assert!(String::from_utf8_lossy(&answer.body).contains("HTTPS is spoken here"), "{:?}", answer.body);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_is_never_complete_costs_its_time_out() {
    let files = Files::of(&Authority::new().server("one"));
    let server = Server::start(files.config()).await;
    // The beginning of a ClientHello of 512 bytes.
    for sent in [&b""[..], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let begun = Instant::now();
        let mut client = TcpStream::connect(server.address).await.unwrap();
        client.write_all(sent).await.unwrap();
        let mut answer = Vec::new();
        // Closed without a word, or with a reset.
        let _ = client.read_to_end(&mut answer).await;
        assert!(answer.is_empty(), "{answer:?}");
        assert_eq!(begun.elapsed().as_secs(), 10);
    }
}

#[tokio::test(start_paused = true)]
async fn a_handshake_makes_room_when_all_connections_are_taken() {
    let authority = Authority::new();
    let files = Files::of(&authority.server("one"));
    let server = Server::start(Config { max_connections: 1, ..files.config() }).await;
    let _silent = TcpStream::connect(server.address).await.unwrap();
    let tls = tls(&authority, None, &BOTH, &[]);
    let begun = Instant::now();
    assert_eq!(get_by_http1(server.address, &tls, "/").await.unwrap().status, 200);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_healthcheck_asks_a_service_that_speaks_https() {
    let authority = Authority::new();
    let files = Files::of(&authority.server("one"));
    files.put("clients.pem", &authority.pem());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = Config { port: listener.local_addr().unwrap().port(), ..files.config() };
    let health = warp::Filter::map(warp::path!("health"), || warp::Reply::into_response("up"));
    let gone =
        warp::Filter::map(warp::any(), || warp::Reply::into_response(warp::http::StatusCode::NOT_FOUND));
    let tree = warp::Filter::unify(warp::Filter::or(health, gone));
    let _server = Server::on(listener, config.clone(), tree).await;
    assert!(http::is_healthy(&config).await.unwrap());
}
