//! Slow clients of HTTP/1.1 over TLS, within the bounds of those without.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    time::{Instant, sleep, timeout},
};
use tokio_rustls::client::TlsStream;
use warp::{Filter, Reply};

use super::{
    super::{client::Client, server::Server},
    client::{BOTH, shake_hands, tls},
    files::Files,
};
use crate::support::Authority;

/// A server of HTTPS, and a connection to it on which nothing is asked yet.
struct Connected {
    server: Server,
    client: Client<TlsStream<TcpStream>>,
    _files: Files,
}

impl Connected {
    /// To the usual routes.
    async fn new() -> Self {
        let (authority, files) = files();
        let server = Server::start(files.config()).await;
        let stream = TcpStream::connect(server.address).await.unwrap();
        Self::over(stream, &authority, server, files).await
    }

    /// To answers without an end. The system's buffers are small: else it would read ahead for the client.
    async fn endless() -> Self {
        let (authority, files) = files();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(8 * 1024).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener: TcpListener = socket.listen(8).unwrap();
        let server = Server::on(listener, files.config(), endless()).await;
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(8 * 1024).unwrap();
        let stream = socket.connect(server.address).await.unwrap();
        let mut connected = Self::over(stream, &authority, server, files).await;
        connected.client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
        connected
    }

    async fn over(stream: TcpStream, authority: &Authority, server: Server, files: Files) -> Self {
        let tls = tls(authority, None, &BOTH, &["http/1.1"]);
        let client = Client::over(shake_hands(stream, &tls).await.unwrap());
        Self { server, client, _files: files }
    }
}

fn files() -> (Authority, Files) {
    let authority = Authority::new();
    let files = Files::of(&authority.server("one"));
    (authority, files)
}

fn endless() -> impl Filter<Extract = (warp::reply::Response,), Error = Infallible> + Clone {
    warp::any().map(|| {
        let pieces = futures::stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from(vec![b'x'; 16 * 1024])));
        warp::reply::stream(pieces).into_response()
    })
}

#[tokio::test(start_paused = true)]
async fn a_byte_a_second_does_not_keep_a_head_alive() {
    let mut connected = Connected::new().await;
    let client = &mut connected.client;
    let begun = Instant::now();
    for byte in "GET / HTTP/1.1\r\nx-long: ".bytes().chain(std::iter::repeat(b'x')) {
        if client.try_send(&[byte]).await.is_err() {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    // Ten seconds for the head, and at most two in which the socket lingers for its answer's sake.
    assert!((10..=14).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    client.answer().await.problem(408);
}

#[tokio::test(start_paused = true)]
async fn a_body_of_a_byte_a_second_is_cut_off_with_408() {
    let mut connected = Connected::new().await;
    let client = &mut connected.client;
    client.send("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 1000\r\n\r\n").await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(19) {
        client.send("x").await;
        sleep(Duration::from_secs(1)).await;
    }
    client.answer().await.problem(408);
    assert_eq!(begun.elapsed().as_secs(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stops_reading_does_not_hold_its_connection_for_ever() {
    let mut connected = Connected::endless().await;
    connected.client.head().await;
    let begun = Instant::now();
    connected.server.shutdown.request();
    // The server ends when its last connection has: by the deadline for readers that stand still.
    timeout(Duration::from_secs(50), &mut connected.server.running).await.unwrap().unwrap();
    assert!((28..=33).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_drips_does_not_hold_its_connection_for_ever() {
    let mut connected = Connected::endless().await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(300) && matches!(connected.client.sip(1024).await, Ok(1..)) {
        #[expect(clippy::disallowed_methods, reason = "the system's own clock: it passes on what was read")]
        std::thread::sleep(Duration::from_millis(2));
        sleep(Duration::from_secs(1)).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(120), "a kilobyte a second for {:?}", begun.elapsed());
}
