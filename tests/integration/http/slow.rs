//! Clients and handlers that take their time.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{net::TcpSocket, time::Instant};
use warp::{Filter, Reply};

use super::{
    client::Client,
    server::{Server, config},
};

#[tokio::test(start_paused = true)]
async fn a_head_that_is_never_complete_costs_its_time_out_and_408() {
    let server = Server::start(config()).await;
    let begun = Instant::now();
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: te").await;

    client.answer().await.problem(408);
    assert_eq!(client.rest().await, b"");
    assert_eq!(begun.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_byte_a_second_does_not_keep_a_head_alive() {
    let server = Server::start(config()).await;
    let mut client = server.connect().await;
    let begun = Instant::now();
    for byte in "GET / HTTP/1.1\r\nx-long: ".bytes().chain(std::iter::repeat(b'x')) {
        if client.try_send(&[byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // Ten seconds for the head, and at most two in which the socket lingers for its answer's sake.
    assert!(begun.elapsed() <= Duration::from_secs(14), "{:?}", begun.elapsed());
    client.answer().await.problem(408);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_asks_nothing_at_all_is_closed_without_a_word() {
    let server = Server::start(config()).await;
    let (begun, mut client) = (Instant::now(), server.connect().await);
    assert_eq!(client.rest().await, b"");
    assert_eq!(begun.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_outlives_the_minute_of_a_load_balancer_and_not_much_more() {
    let server = Server::start(config()).await;
    let mut client = server.connect().await;
    assert_eq!(client.get("/").await.body, b"here");
    tokio::time::sleep(Duration::from_secs(65)).await;
    assert_eq!(client.get("/").await.body, b"here");

    let idle = Instant::now();
    assert_eq!(client.rest().await, b"", "an idle connection is closed without a word");
    assert_eq!(idle.elapsed().as_secs(), 75);
}

#[tokio::test(start_paused = true)]
async fn a_body_of_a_byte_a_second_is_cut_off_with_408() {
    let server = Server::start(config()).await;
    let mut client = server.connect().await;
    client.send("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 1000\r\n\r\n").await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(19) {
        client.send("x").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let answer = client.answer().await;
    answer.problem(408);
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(begun.elapsed().as_secs(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_takes_its_time_within_the_limit_is_read() {
    let server = Server::start(config()).await;
    let mut client = server.connect().await;
    client.send("POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 15\r\n\r\n").await;
    for byte in b"{\"slow\":\"body\"}" {
        tokio::time::sleep(Duration::from_secs(1)).await;
        client.send([*byte]).await;
    }
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"{\"slow\":\"body\"}"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_request_without_an_answer_in_time_gets_503_and_the_connection_goes_on() {
    let server = Server::start(config()).await;
    let mut client = server.connect().await;
    let begun = Instant::now();
    let answer = client.get("/never").await;
    answer.problem(503);
    assert!(answer.header("retry-after").is_some());
    assert_eq!(begun.elapsed().as_secs(), 5);
    assert_eq!(client.get("/").await.body, b"here");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_waits_because_it_was_asked_to_gets_the_time_for_it() {
    let server = Server::start(config()).await;
    let mut client = server.connect().await;
    assert_eq!(client.get("/patient/30").await.body, b"at last");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stops_reading_does_not_hold_its_connection_for_ever() {
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let filter = warp::any().map(move || {
        let count = Arc::clone(&count);
        let pieces = futures::stream::repeat_with(move || {
            count.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(Bytes::from(vec![b'x'; 64 * 1024]))
        });
        warp::reply::stream(pieces).into_response()
    });
    let mut server = Server::serve(config(), filter).await;
    let mut client = server.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    client.head().await;
    server.shutdown.request();
    // The server ends when its last connection has: by the deadline for readers that stand still.
    tokio::time::timeout(Duration::from_secs(60), &mut server.running).await.unwrap().unwrap();
    let made = made.load(Ordering::Relaxed) * 64 * 1024;
    assert!(made < 64 << 20, "{made} bytes were made for a client that did not read");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_drips_does_not_hold_its_connection_for_ever() {
    let pieces = || {
        let pieces = futures::stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from(vec![b'x'; 16 * 1024])));
        warp::reply::stream(pieces).into_response()
    };
    let socket = TcpSocket::new_v4().unwrap();
    // Small buffers: else the system would read ahead for it.
    socket.set_send_buffer_size(8 * 1024).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let server = Server::on(socket.listen(8).unwrap(), config(), warp::any().map(pieces)).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    let mut client = Client::over(socket.connect(server.address).await.unwrap());
    client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(300) && matches!(client.sip(1024).await, Ok(1..)) {
        #[expect(clippy::disallowed_methods, reason = "the system's own clock: it passes on what was read")]
        std::thread::sleep(Duration::from_millis(2));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(120), "a kilobyte a second for {:?}", begun.elapsed());
}
