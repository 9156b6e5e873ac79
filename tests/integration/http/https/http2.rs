//! Several requests at a time on one connection, each within the bounds that one has.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use highwater_web::{http::Config, shutdown::Stage};
use http_body_util::BodyExt as _;
use tokio::time::Instant;
use warp::{Filter, Reply};

use super::{
    super::server::Server,
    client::{BOTH, Http2, tls},
    files::Files,
};
use crate::support::Authority;

struct Tls {
    authority: Authority,
    files: Files,
}

impl Tls {
    fn new() -> Self {
        let authority = Authority::new();
        let files = Files::of(&authority.server("one"));
        Self { authority, files }
    }

    fn config(&self) -> Config {
        self.files.config()
    }

    async fn client(&self, server: &Server) -> Http2 {
        Http2::connect(server.address, &tls(&self.authority, None, &BOTH, &["h2"])).await
    }

    /// One that takes so much of an answer which it does not read.
    async fn reader(&self, server: &Server, window: u32) -> Http2 {
        let tls = tls(&self.authority, None, &BOTH, &["h2"]);
        Http2::with(server.address, &tls, |builder| {
            builder.initial_stream_window_size(window);
        })
        .await
    }
}

#[tokio::test(start_paused = true)]
async fn requests_of_one_connection_are_answered_at_the_same_time() {
    let tls = Tls::new();
    let server = Server::start(tls.config()).await;
    let client = tls.client(&server).await;
    let begun = Instant::now();
    let answers = join_all((0..50).map(|_| client.ask("/patient/3", ""))).await;
    assert!(answers.into_iter().all(|answer| answer.unwrap().body == "at last"));
    assert_eq!(begun.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_request_without_an_answer_is_given_up_and_its_neighbours_are_not() {
    let tls = Tls::new();
    let server = Server::start(tls.config()).await;
    let client = tls.client(&server).await;
    let begun = Instant::now();
    let (never, patient, panics) =
        tokio::join!(client.ask("/never", ""), client.ask("/patient/20", ""), client.ask("/panic/later", ""));
    assert_eq!(panics.unwrap().status, 500);
    assert_eq!(never.unwrap().status, 503);
    assert_eq!(patient.unwrap().body, "at last");
    assert_eq!(begun.elapsed().as_secs(), 20);
    // And the connection goes on.
    assert_eq!(client.ask("/", "").await.unwrap().body, "here");
}

#[tokio::test(start_paused = true)]
async fn bodies_have_their_bounds() {
    let tls = Tls::new();
    let server = Server::start(tls.config()).await;
    let client = tls.client(&server).await;
    assert_eq!(client.ask("/echo", r#"{"a":[1]}"#).await.unwrap().body, r#"{"a":[1]}"#);
    let large: &'static str = Box::leak("1".repeat(2000).into_boxed_str());
    assert_eq!(client.ask("/echo", large).await.unwrap().status, 413);
    assert_eq!(client.ask("/", "").await.unwrap().status, 200);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_in_good_order_after_as_long_as_any_other() {
    let tls = Tls::new();
    let server = Server::start(tls.config()).await;
    let client = tls.client(&server).await;
    assert_eq!(client.ask("/", "").await.unwrap().status, 200);
    let idle = Instant::now();
    // A client that is told goes without an error.
    client.running.await.unwrap().unwrap();
    assert_eq!(idle.elapsed().as_secs(), 75);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_asks_nothing_ends_with_the_time_of_a_head() {
    let tls = Tls::new();
    let server = Server::start(tls.config()).await;
    let begun = Instant::now();
    let client = tls.client(&server).await;
    client.running.await.unwrap().unwrap();
    assert_eq!(begun.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn pings_keep_no_connection_open() {
    let tls = Tls::new();
    let server = Server::start(tls.config()).await;
    let config = super::client::tls(&tls.authority, None, &BOTH, &["h2"]);
    let client = Http2::with(server.address, &config, |builder| {
        builder
            .timer(hyper_util::rt::TokioTimer::new())
            .keep_alive_interval(Duration::from_secs(5))
            .keep_alive_while_idle(true);
    })
    .await;
    assert_eq!(client.ask("/", "").await.unwrap().status, 200);
    let idle = Instant::now();
    let _ = client.running.await.unwrap();
    assert_eq!(idle.elapsed().as_secs(), 75);
}

/// Answers a megabyte, in pieces.
fn large() -> impl Filter<Extract = (warp::reply::Response,), Error = std::convert::Infallible> + Clone {
    warp::any().map(|| {
        let piece = || Ok::<_, std::convert::Infallible>(Bytes::from(vec![b'x'; 32 * 1024]));
        let pieces = futures::stream::iter(std::iter::repeat_with(piece).take(32));
        warp::reply::stream(pieces).into_response()
    })
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_does_not_read_one_of_its_answers_is_cut_off() {
    let tls = Tls::new();
    let server = Server::serve(tls.config(), large()).await;
    let client = tls.reader(&server, 64 * 1024).await;
    let mut unread = client.send("/", "").await.unwrap();
    assert_eq!(client.ask("/", "").await.unwrap().body.len(), 1 << 20);
    let begun = Instant::now();
    // It reads others all the time.
    while client.ask("/", "").await.is_ok() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(begun.elapsed() < Duration::from_secs(60), "it is never cut off");
    }
    assert!((28..=33).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    while let Some(frame) = unread.body_mut().frame().await {
        if frame.is_err() {
            return;
        }
    }
    panic!("the answer is whole");
}

#[tokio::test(start_paused = true)]
async fn large_answers_take_of_the_memory_for_all_and_are_refused_where_none_is_left() {
    let tls = Tls::new();
    let server = Server::serve(Config { max_bytes: Some(4 << 20), ..tls.config() }, large()).await;
    let client = tls.reader(&server, 16 * 1024).await;
    let mut unread = Vec::new();
    let mut refused = 0;
    for _ in 0..60 {
        let answer = client.send("/", "").await.unwrap();
        if answer.status() == 503 { refused += 1 } else { unread.push(answer) }
    }
    assert!((5..30).contains(&unread.len()) && refused > 0, "{} of 60 were answered", unread.len());
    // The memory of an answer is given back when it is read.
    for answer in unread {
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes().len(), 1 << 20);
    }
    assert_eq!(client.ask("/", "").await.unwrap().body.len(), 1 << 20);
}

#[tokio::test(start_paused = true)]
async fn a_stop_finishes_what_was_begun_and_says_goodbye() {
    let tls = Tls::new();
    let server = Server::start(tls.config()).await;
    let (idle, busy) = (tls.client(&server).await, tls.client(&server).await);
    assert_eq!(idle.ask("/", "").await.unwrap().status, 200);
    let begun = Instant::now();
    let asking = busy.ask("/patient/7", "");
    let stopping = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        server.shutdown.request();
        idle.running.await.unwrap().unwrap();
        assert_eq!(begun.elapsed().as_secs(), 1);
    };
    let (answer, ()) = tokio::join!(asking, stopping);
    assert_eq!(answer.unwrap().body, "at last");
    busy.running.await.unwrap().unwrap();
    server.running.await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn before_a_stop_each_answer_is_its_connections_last() {
    let tls = Tls::new();
    let server = Server::start(tls.config()).await;
    let client = tls.client(&server).await;
    server.shutdown.advance(Stage::Closing);
    // The server hears of it a moment later.
    while let Ok(answer) = client.ask("/", "").await {
        assert_eq!(answer.status, 200);
        assert!(!answer.headers.contains_key("connection"), "{:?}", answer.headers);
    }
    client.running.await.unwrap().unwrap();
    // Others come, and are served once.
    let other = tls.client(&server).await;
    assert_eq!(other.ask("/", "").await.unwrap().status, 200);
    other.running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_makes_room_and_a_busy_one_does_not() {
    let tls = Tls::new();
    let server = Server::start(Config { max_connections: 1, ..tls.config() }).await;
    let idle = tls.client(&server).await;
    assert_eq!(idle.ask("/", "").await.unwrap().status, 200);
    let busy = tls.client(&server).await;
    let (answer, refused) = tokio::join!(busy.ask("/patient/3", ""), async {
        // The idle client hears goodbye.
        idle.running.await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        tls.client(&server).await.ask("/", "").await.unwrap().status
    });
    assert_eq!((answer.unwrap().status.as_u16(), refused.as_u16()), (200, 503));
}
