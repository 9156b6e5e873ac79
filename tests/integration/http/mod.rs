//! What a client may cost: slow, oversized and too many requests, panics, and a stop in the middle.
//!
//! Time is tokio's paused clock: it jumps to the next timer when both sides wait, so that deadlines pass
//! at once and in order.

mod client;

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use client::Client;
use futures::StreamExt;
use highwater::http::{self, Config, Problem};
use tokio::{
    net::TcpListener,
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::Instant,
};
use warp::{Filter, Reply, reply::Response};

fn config() -> Config {
    Config {
        host: [127, 0, 0, 1].into(),
        port: 0,
        max_body_bytes: 1024,
        max_depth: 16,
        header_timeout: Duration::from_secs(10),
        body_timeout: Duration::from_secs(20),
        request_timeout: Duration::from_secs(5),
        max_connections: 100,
    }
}

/// A server of a few trivial routes.
struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
}

impl Server {
    async fn start(config: Config) -> Self {
        Self::serve(config.clone(), routes(&config)).await
    }

    async fn serve<F>(config: Config, filter: F) -> Self
    where
        F: Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static,
    {
        let listener = TcpListener::bind((config.host, config.port)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(async move {
            http::serve(filter, listener, &config, async { drop(stopped.await) }).await;
        });
        Self { address, stop: Some(stop), running }
    }

    async fn connect(&self) -> Client {
        Client::connect(self.address).await
    }
}

/// `/` answers at once, `/echo` what it is sent, `/never` not at all; `/patient` and `/panic` as they say.
fn routes(
    config: &Config,
) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone + Send + Sync + 'static {
    let root = warp::path::end().map(|| "here".into_response());
    let echo =
        warp::path!("echo").and(http::json_body(config.body_limits())).map(|body: Result<Bytes, Problem>| {
            match body {
                Ok(body) => Response::new(body.into()),
                Err(problem) => problem.into_response(),
            }
        });
    let never = warp::path!("never").then(|| std::future::pending::<Response>());
    let patient = warp::path!("patient" / u64).then(|seconds| async move {
        http::grant(Duration::from_secs(seconds));
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        "at last".into_response()
    });
    let panics = warp::path!("panic").map(|| -> Response { panic!("as asked") });
    let panics_later = warp::path!("panic" / "later").then(|| async {
        tokio::task::yield_now().await;
        panic!("as asked, later")
    });
    let unknown = warp::path::full().and(warp::method()).map(
        |path: warp::path::FullPath, method: warp::http::Method| http::refuse(&method, path.as_str(), None),
    );
    root.or(echo)
        .unify()
        .or(never)
        .unify()
        .or(patient)
        .unify()
        .or(panics)
        .unify()
        .or(panics_later)
        .unify()
        .or(unknown)
        .unify()
}

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
async fn a_connection_that_asks_nothing_at_all_is_closed() {
    let server = Server::start(config()).await;
    let mut client = server.connect().await;
    client.answer().await.problem(408);
    assert_eq!(client.rest().await, b"");
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
async fn a_client_beyond_the_most_connections_is_told_so_and_can_come_back() {
    let server = Server::start(Config { max_connections: 2, ..config() }).await;
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    assert_eq!(first.get("/").await.status, 200);
    assert_eq!(second.get("/").await.status, 200);

    let mut third = server.connect().await;
    third.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n").await;
    let answer = third.answer().await;
    answer.problem(503);
    assert!(answer.header("retry-after").is_some());
    assert_eq!(third.rest().await, b"");

    drop(first);
    loop {
        let mut again = server.connect().await;
        if again.get("/").await.status == 200 {
            break;
        }
    }
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

#[tokio::test(start_paused = true)]
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
    server.stop.take().unwrap().send(()).unwrap();
    // The server ends when its last connection has: by the deadline for readers that stand still.
    (&mut server.running).await.unwrap();
    let made = made.load(Ordering::Relaxed) * 64 * 1024;
    assert!(made < 64 << 20, "{made} bytes were made for a client that did not read");
}

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
