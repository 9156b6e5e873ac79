//! The count of answers, and the access log.

use std::{collections::BTreeMap, convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use futures::stream;
use highwater::config;
use highwater_web::{
    auth::Need,
    http::{self, AccessLog, Config, Paths, Traffic, refuse},
    shutdown::Shutdown,
};
use prometheus::TextEncoder;
use sync_wrapper::SyncStream;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use warp::{
    Filter, Reply,
    filters::path::FullPath,
    http::{HeaderValue, Method, header},
    reply::Response,
};

use crate::journal;

static PATHS: Paths = Paths(&[&[("/here", "GET, HEAD, OPTIONS", Need::Nothing)]]);

/// A server at which there is something at `/here`, and what it counts.
async fn serve(change: impl FnOnce(&mut Config)) -> (SocketAddr, Arc<Traffic>) {
    let args = ["highwater", "--host=127.0.0.1", "--kafka-brokers=kafka:9092"].map(Into::into);
    let mut config = config::parse(args, &Default::default(), "").unwrap().config.http;
    change(&mut config);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let traffic = Arc::new(Traffic::new(&PATHS).unwrap());
    let counted = Arc::clone(&traffic);
    let here = warp::path!("here").map(|| "here".into_response());
    let unknown = warp::path::full()
        .and(warp::method())
        .map(|path: FullPath, method: Method| refuse(&method, path.as_str(), None));
    let stream = warp::path!("stream").map(endless);
    let tree = here.or(stream).unify().or(unknown).unify();
    tokio::spawn(async move {
        http::serve(tree, listener.into(), &config, counted, &Shutdown::new()).await;
    });
    (address, traffic)
}

thread_local! {
    /// The second message of a stream waits for a permit. Each test has a thread, and permits, of its own.
    static SECOND: Arc<Semaphore> = Arc::new(Semaphore::new(0));
}

/// Server-sent events: one at once, and one later.
fn endless() -> Response {
    let messages = stream::unfold(0, async |sent| {
        match sent {
            0 => {}
            1 => SECOND.with(Arc::clone).acquire().await.unwrap().forget(),
            _ => return None,
        }
        Some((Ok::<_, Infallible>(format!(":{sent}\n\n")), sent + 1))
    });
    let mut answer = warp::reply::stream(SyncStream::new(messages)).into_response();
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(http::EVENT_STREAM));
    answer
}

/// A stream whose first message has come, and what came so far.
async fn begun(address: SocketAddr) -> (TcpStream, Vec<u8>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head =
        "GET /stream HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\naccept-encoding: gzip\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains(":0\n\n") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "{}", String::from_utf8_lossy(&answer));
    }
    (stream, answer)
}

/// Sends that, and waits until the connection ends.
async fn send(address: SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn get(address: SocketAddr, path: &str, headers: &str) -> String {
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n");
    send(address, &head).await
}

/// The fields of the access log's lines since the last call.
fn lines() -> Vec<BTreeMap<String, String>> {
    let lines = journal::take().into_iter().filter(|line| line.target == "highwater::access");
    lines.map(|line| line.fields).collect()
}

/// The only line: hyper's own answer is known when the connection is over.
async fn next_line() -> BTreeMap<String, String> {
    loop {
        if let Ok([line]) = <[_; 1]>::try_from(lines()) {
            return line;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_answer_has_an_access_log_line() {
    journal::listen();
    let (address, _) = serve(|config| config.access_log = AccessLog::All).await;
    get(address, "/here?secret=1", "x-correlation-id: mine\r\nx-forwarded-for: 198.51.100.1\r\n").await;
    let answer = get(address, "/nowhere", "").await;
    let [here, nowhere] = <[_; 2]>::try_from(lines()).unwrap();
    let told = |line: &BTreeMap<String, String>, names: [&str; 5]| names.map(|name| line[name].clone());
    let names = ["client", "method", "path", "status", "correlationId"];
    assert_eq!(told(&here, names), ["127.0.0.1", "GET", "/here", "200", "mine"]);
    assert!(here["durationMs"].parse::<f64>().unwrap() >= 0.0);
    assert_eq!(told(&nowhere, names)[..4], ["127.0.0.1", "GET", "/nowhere", "404"]);
    assert!(answer.contains(&format!("x-correlation-id: {}\r\n", nowhere["correlationId"])), "{answer}");
}

#[tokio::test]
async fn an_answer_without_an_end_has_its_line_when_it_is_over_and_is_not_packed() {
    journal::listen();
    let (address, _) = serve(|config| config.access_log = AccessLog::All).await;
    let (mut stream, mut answer) = begun(address).await;
    assert!(lines().is_empty(), "it is not over");
    SECOND.with(|second| second.add_permits(1));
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.contains(":1\n\n") && !answer.contains("content-encoding"), "{answer}");
    assert_eq!(next_line().await["path"], "/stream");
}

/// Each would take 224 KiB as another answer whose length is not known.
#[tokio::test]
async fn answers_without_an_end_take_no_memory_that_their_readers_leave() {
    let (address, _) = serve(|config| config.max_bytes = Some(4 << 20)).await;
    let mut open = Vec::new();
    for _ in 0..60 {
        open.push(begun(address).await);
    }
    assert!(get(address, "/here", "").await.ends_with("here"));
}

#[tokio::test(start_paused = true)]
async fn without_an_access_log_there_are_no_lines() {
    journal::listen();
    let (address, _) = serve(|_| ()).await;
    get(address, "/nowhere", "").await;
    assert!(lines().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_client_address_is_that_of_the_first_trusted_proxys_client() {
    journal::listen();
    let (address, _) = serve(|config| {
        config.access_log = AccessLog::All;
        config.trusted_proxies =
            ["127.0.0.0/8", "10.1.2.3", "fd00::/8"].map(|it| it.parse().unwrap()).to_vec();
    })
    .await;
    for (forwarded, client) in [
        ("", "127.0.0.1"),
        ("x-forwarded-for: 203.0.113.7\r\n", "203.0.113.7"),
        // The client's own entries precede those of the proxies.
        ("x-forwarded-for: 198.51.100.1, 203.0.113.7, 10.1.2.3\r\n", "203.0.113.7"),
        ("x-forwarded-for: 198.51.100.1\r\nx-forwarded-for: 203.0.113.7,fd00::5\r\n", "203.0.113.7"),
        ("x-forwarded-for: 10.1.2.4:5000\r\n", "10.1.2.4"),
        ("x-forwarded-for: [2001:db8::7]:80\r\n", "2001:db8::7"),
        ("x-forwarded-for: ::ffff:203.0.113.7\r\n", "203.0.113.7"),
        ("x-forwarded-for: nonsense\r\n", "127.0.0.1"),
    ] {
        get(address, "/here", forwarded).await;
        let [line] = <[_; 1]>::try_from(lines()).unwrap();
        assert_eq!(line["client"], client, "{forwarded}");
    }
}

#[tokio::test(start_paused = true)]
async fn many_errors_make_few_log_lines() {
    journal::listen();
    let (address, _) = serve(|config| config.access_log = AccessLog::Errors).await;
    for _ in 0..25 {
        get(address, "/here", "").await;
        get(address, "/nowhere", "").await;
    }
    let logged = lines();
    assert!(logged.iter().all(|line| line["status"] == "404"), "{logged:?}");
    assert_eq!(logged.len(), 10);
    tokio::time::advance(Duration::from_secs(1)).await;
    get(address, "/nowhere", "").await;
    let [left_out, line] = <[_; 2]>::try_from(lines()).unwrap();
    assert_eq!((left_out["leftOut"].as_str(), line["status"].as_str()), ("15", "404"));
}

#[tokio::test(start_paused = true)]
async fn refusals_of_the_server_itself_are_counted_and_logged() {
    journal::listen();
    let (address, traffic) = serve(|config| {
        (config.access_log, config.max_connections) = (AccessLog::Errors, 1);
    })
    .await;
    let long = format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "x".repeat(70_000));
    for (bytes, status) in [
        ("no HTTP at all\r\n\r\n", "400"),
        (long.as_str(), "431"),
        ("GET /here HTTP/1.1\r\nhost: loc", "408"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505"),
        ("GET /here HTTP/1.1\r\n\r\n", "400"),
        ("GET /here HTTP/1.1\r\nhost: rebound.example\r\nconnection: close\r\n\r\n", "421"),
    ] {
        let answer = send(address, bytes).await;
        assert_eq!(answer.split(' ').nth(1), Some(status), "{answer}");
        let line = next_line().await;
        assert_eq!((line["status"].as_str(), line["client"].as_str()), (status, "127.0.0.1"));
    }
    // Busy, or it would make room.
    let mut only = TcpStream::connect(address).await.unwrap();
    only.write_all(b"GET /here HTTP/1.1\r\nhost: loc").await.unwrap();
    let is_busy = || {
        let counts = TextEncoder::new().encode_to_string(&traffic.families()).unwrap();
        counts.contains("highwater_http_connections{state=\"busy\"} 1\n")
    };
    while !is_busy() {
        tokio::task::yield_now().await;
    }
    assert!(send(address, "").await.starts_with("HTTP/1.1 503"));
    assert_eq!(next_line().await["status"], "503");
    let counts = TextEncoder::new().encode_to_string(&traffic.families()).unwrap();
    for (status, count) in [("400", 1), ("408", 1), ("431", 1), ("503", 1), ("505", 1)] {
        let expected = format!(
            "highwater_http_requests_total{{method=\"other\",route=\"other\",status=\"{status}\"}} {count}\n"
        );
        assert!(counts.contains(&expected), "{expected}{counts}");
    }
}
