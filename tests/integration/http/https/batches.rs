//! Streams of events over HTTP/2: receipts come while lines go in, on several streams of one connection.

use std::{collections::BTreeMap, convert::Infallible, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, future::join_all, stream::BoxStream};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{
    Request,
    body::Frame,
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    client::{BOTH, connect, tls},
    files::Files,
};
use crate::support::{Authority, PostedLines, TestApp, TestCluster, events_in_log, eventually, position};

type Lines = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

/// A connection to a service of its own.
struct Connection {
    cluster: TestCluster,
    app: TestApp,
    sender: SendRequest<Lines>,
    _files: Files,
}

impl Connection {
    async fn open() -> Self {
        let (cluster, authority) = (TestCluster::start().await, Authority::new());
        let files = Files::of(&authority.server("one"));
        let path = |name: &str| files.path(name).to_str().unwrap().to_owned();
        let settings = [("HTTPS_CERTIFICATE", &*path("server.pem")), ("HTTPS_KEY", &*path("server.key"))];
        let app = TestApp::start_with(&cluster, &settings).await;
        let tls = tls(&authority, None, &BOTH, &["h2"]);
        let stream = connect(([127, 0, 0, 1], app.port()).into(), &tls).await.unwrap();
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let this = Self { cluster, app, sender, _files: files };
        eventually("it is ready", async || (this.get("/ready").await.0 == 200).then_some(())).await;
        this
    }

    async fn get(&self, path: &str) -> (u16, Bytes) {
        let request = Request::get(format!("https://localhost{path}"));
        let request = request.body(StreamBody::new(futures::stream::empty().boxed())).unwrap();
        let answer = self.sender.clone().send_request(request).await.unwrap();
        (answer.status().as_u16(), answer.into_body().collect().await.unwrap().to_bytes())
    }

    async fn stream(&self, query: &str) -> PostedLines {
        let request = Request::post(format!("https://localhost/events/batch{query}"));
        let request = request.header("content-type", "application/x-ndjson");
        PostedLines::post(async |lines| {
            let body = StreamBody::new(lines.map(|line| Ok(Frame::data(line))).boxed());
            let answer = self.sender.clone().send_request(request.body(body).unwrap()).await.unwrap();
            assert_eq!((answer.status().as_u16(), answer.version()), (207, hyper::Version::HTTP_2));
            answer.into_body().into_data_stream().map(Result::unwrap)
        })
        .await
    }

    /// The ids in the log, by position.
    async fn log(&self) -> BTreeMap<(i64, i64), Value> {
        let events = events_in_log(&self.cluster).await.into_iter();
        events.map(|(position, mut event)| (position, event["eventId"].take())).collect()
    }
}

fn line(user: &str) -> String {
    format!("{{\"userId\":\"{user}\",\"eventType\":\"LOGIN\"}}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_come_while_lines_still_go_in_on_several_streams_of_one_connection() {
    let connection = Connection::open().await;
    let told = join_all(["ann", "bob", "cid"].map(async |user| {
        let mut stream = connection.stream("").await;
        let mut told = Vec::new();
        for number in 1..=20 {
            stream.send(line(user)).await;
            let receipt = stream.next().await.unwrap();
            assert_eq!(receipt["line"], number);
            told.push((position(&receipt), receipt["eventId"].clone()));
        }
        stream.lines = None;
        assert_eq!(stream.next().await, None);
        told
    }))
    .await;
    let told: BTreeMap<_, _> = told.into_iter().flatten().collect();
    assert_eq!(told.len(), 60);
    assert_eq!(connection.log().await, told);
    connection.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_no_receipts_is_slowed_and_goes_on_once_it_reads() {
    let connection = Connection::open().await;
    let mut stream = connection.stream("").await;
    let lines = line("ann").repeat(100);
    let mut sent = 0;
    while timeout(Duration::from_secs(2), stream.send(lines.clone())).await.is_ok() {
        sent += 100;
        assert!(sent < 100_000, "{sent} lines were taken, and no receipt was read");
    }
    // Requests without a body go on beside it.
    assert_eq!(connection.get("/health").await.0, 200);
    for _ in 0..sent {
        position(&stream.next().await.unwrap());
    }
    stream.send(line("bob")).await;
    position(&stream.next().await.unwrap());
    connection.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_in_the_log_though_the_client_drops_the_stream_in_the_middle() {
    let connection = Connection::open().await;
    let mut told = Vec::new();
    for _ in 0..3 {
        let mut stream = connection.stream("").await;
        let lines = stream.lines.take().unwrap();
        // Many small frames that are not read yet end a connection: docs/using/activity.md.
        let frame = line("ann").repeat(8);
        let sending = tokio::spawn(async move { while lines.send(frame.clone().into()).await.is_ok() {} });
        for _ in 0..500 {
            let receipt = stream.next().await.unwrap();
            told.push((position(&receipt), receipt["eventId"].clone()));
        }
        sending.abort();
        drop(stream);
    }
    let log = connection.log().await;
    assert!(told.iter().all(|(position, id)| log[position] == *id));
    // And the connection goes on.
    assert_eq!(connection.get("/health").await.0, 200);
    connection.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_receipts_of_errors_alone_a_million_bytes_are_one_line_of_sums() {
    let connection = Connection::open().await;
    let mut stream = connection.stream("?receipts=errors").await;
    let lines = line("ann").repeat(1_000);
    for _ in 0..30 {
        stream.send(lines.clone()).await;
    }
    stream.lines = None;
    let sums =
        json!({"events": 30_000, "stored": 30_000, "refused": 0, "notWritten": 0, "possiblyWritten": 0});
    assert_eq!((stream.next().await, stream.next().await), (Some(sums), None));
    connection.app.stop().await;
}
