//! `highwater import` of what cannot be read again.

use std::{
    cell::Cell,
    io::Write as _,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy, copy_bidirectional, sink},
    net::{TcpListener, TcpStream},
};

use super::{Directory, feed, highwater, ids, lines, run_with_input, until_count};
use crate::support::{TestApp, TestCluster, eventually};

/// What becomes of a connection.
enum Way {
    /// A proxy answers in place of the service.
    Answered(&'static str),
    /// The answer begins, and no receipt comes.
    Silent,
    /// It breaks after so many bytes of the answer.
    Cut(usize),
    Through,
}

/// A proxy in front of a service.
struct Front {
    url: String,
    /// How many connections were opened, and how many of these have ended.
    opened: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
}

impl Front {
    /// `way` is asked for the number of each connection.
    async fn of(app: &TestApp, way: impl Fn(usize) -> Way + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let front = Self { url, opened: Arc::default(), ended: Arc::default() };
        let (opened, ended, port) = (Arc::clone(&front.opened), Arc::clone(&front.ended), app.port());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let way = way(opened.fetch_add(1, Ordering::SeqCst));
                let ended = Arc::clone(&ended);
                tokio::spawn(async move {
                    // Broken on purpose, or by the other side.
                    let _ = serve(client, port, way).await;
                    ended.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        front
    }

    fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }

    fn ended(&self) -> usize {
        self.ended.load(Ordering::SeqCst)
    }
}

async fn serve(mut client: TcpStream, port: u16, way: Way) -> std::io::Result<()> {
    let left = match way {
        Way::Answered(answer) => {
            let (mut from, mut to) = client.split();
            // One that comes before the request is an answer to none.
            from.read_u8().await?;
            to.write_all(answer.as_bytes()).await?;
            to.shutdown().await?;
            copy(&mut from, &mut sink()).await?;
            return Ok(());
        }
        Way::Silent => {
            let (mut from, mut to) = client.split();
            from.read_u8().await?;
            to.write_all(b"HTTP/1.1 207 Multi-Status\r\ntransfer-encoding: chunked\r\n\r\n").await?;
            copy(&mut from, &mut sink()).await?;
            return Ok(());
        }
        Way::Cut(bytes) => bytes,
        Way::Through => {
            let mut service = TcpStream::connect(("127.0.0.1", port)).await?;
            copy_bidirectional(&mut client, &mut service).await?;
            return Ok(());
        }
    };
    let mut service = TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut from_client, mut to_client) = client.split();
    let (from_service, mut to_service) = service.split();
    let mut answer = from_service.take(left as u64);
    tokio::select! {
        _ = copy(&mut from_client, &mut to_service) => {}
        _ = copy(&mut answer, &mut to_client) => {}
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_is_imported_at_the_pace_that_the_limits_allow() {
    let cluster = TestCluster::start().await;
    let app = TestApp::start_with(&cluster, &[("LIMIT_USER", "events=200")]).await;
    app.until_ready().await;
    let ended = run_with_input(highwater(&app, &["import", "-"]), lines("a", 0..500).into()).await;
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(ended.said.contains("500 events stored, 0 refused"), "{}", ended.said);
    assert!(ended.said.contains("the rest is sent again"), "{}", ended.said);
    assert_eq!(ids(&cluster).await.len(), 500);
    until_count(&app, "/api/events/user/a", 500).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_pipe_each_event_is_stored_once_though_connections_break_and_proxies_have_no_service() {
    const ALL: usize = 4_000;
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    let front = Front::of(&app, |connection| match connection {
        0 => Way::Answered("HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"),
        1 => Way::Answered("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n"),
        2 => Way::Cut(0),
        // In the middle of a receipt, and of many.
        3 => Way::Cut(300),
        4 => Way::Cut(100_000),
        5 => Way::Answered("HTTP/1.1 504 Gateway Timeout\r\ncontent-length: 0\r\n\r\n"),
        6 => Way::Cut(50_000),
        _ => Way::Through,
    })
    .await;
    let import = || highwater(&app, &["import", "--url", &front.url, "-"]);
    let ended = run_with_input(import(), lines("a", 0..ALL).into()).await;
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(ended.said.contains(&format!("{ALL} events stored, 0 refused")), "{}", ended.said);
    assert_eq!(front.opened(), 8, "{}", ended.said);
    for reason in ["answers 503", "answers 502", "answers 504"] {
        assert!(ended.said.contains(reason), "{}", ended.said);
    }
    assert_eq!(ids(&cluster).await.len(), ALL);
    // The ids are those of a pipe that was not disturbed.
    assert_eq!(run_with_input(import(), lines("a", 0..ALL).into()).await.code, Some(0));
    let twice = ids(&cluster).await;
    assert!(twice.len() == ALL && twice.values().all(|times| *times >= 2));
    until_count(&app, "/api/events/user/a", ALL).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_pipe_no_more_is_read_than_a_window_while_no_receipt_comes() {
    const MOST: usize = 6 << 20;
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    let front = Front::of(&app, |_| Way::Silent).await;
    let mut child = highwater(&app, &["import", "--url", &front.url, "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut input, taken) = (child.stdin.take().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&taken);
    let feeding = thread::spawn(move || {
        let line = lines("a", 0..1);
        while input.write_all(line.as_bytes()).is_ok() {
            count.fetch_add(line.len(), Ordering::SeqCst);
        }
    });
    let (last, same) = (Cell::new(0), Cell::new(0));
    eventually("no more is read", async || {
        let taken = taken.load(Ordering::SeqCst);
        same.set(if last.replace(taken) == taken { same.get() + 1 } else { 0 });
        ((taken > MOST / 4 && same.get() > 20) || taken > MOST).then_some(())
    })
    .await;
    child.kill().unwrap();
    child.wait().unwrap();
    feeding.join().unwrap();
    let taken = taken.load(Ordering::SeqCst);
    assert!((MOST / 4..MOST).contains(&taken), "{taken} bytes were read");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_may_pause_for_longer_than_a_stream_may() {
    let cluster = TestCluster::start().await;
    let app = TestApp::start_with(&cluster, &[("STREAM_PAUSE", "1s")]).await;
    app.until_ready().await;
    let front = Front::of(&app, |_| Way::Through).await;
    let directory = Directory::new();
    let path = directory.pipe("events");
    let child = highwater(&app, &["import", "--url", &front.url, path.to_str().unwrap()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Twice a part at least, of which the rest waits for more.
    let pipe = feed(&path, None, lines("a", 0..1_000)).await;
    eventually("the stream has ended", async || (front.ended() == 1).then_some(())).await;
    let pipe = feed(&path, Some(pipe), lines("a", 1_000..2_000)).await;
    drop(pipe);
    let ended =
        tokio::task::spawn_blocking(|| super::ended_with(child.wait_with_output().unwrap())).await.unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    assert!(ended.said.contains("2000 events stored, 0 refused"), "{}", ended.said);
    assert!(!ended.said.contains("sent again"), "a pause is no fault: {}", ended.said);
    assert!(front.opened() >= 2);
    let ids = ids(&cluster).await;
    assert!(ids.len() == 2_000 && ids.values().all(|times| *times == 1));
    app.stop().await;
}
