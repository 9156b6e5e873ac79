//! Batches and streams of events, over sockets.

use std::{collections::BTreeMap, convert::Infallible, io::Write as _, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::StreamExt as _;
use highwater_kafka_broker::Fault;
use kafka_protocol::messages::ApiKey;
use reqwest::Body;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
    time::timeout,
};
use uuid::Uuid;

use crate::support::{PostedLines, TestApp, TestCluster, events_in_log, eventually, position};

/// Posts a stream of events, whose answer has begun.
async fn open(app: &TestApp, query: &str) -> PostedLines {
    let url = format!("http://127.0.0.1:{}/events/batch{query}", app.port());
    PostedLines::post(async |lines| {
        let request = reqwest::Client::new().post(url).header("content-type", "application/x-ndjson");
        let body = Body::wrap_stream(lines.map(Ok::<_, Infallible>));
        let answer = request.body(body).send().await.unwrap();
        assert_eq!(answer.status(), 207);
        answer.bytes_stream().map(Result::unwrap)
    })
    .await
}

fn line(user: &str, number: usize) -> String {
    let id = Uuid::from_u128(1 << 100 | number as u128);
    format!(
        "{{\"userId\":\"{user}\",\"eventType\":\"LOGIN\",\"eventId\":\"{id}\",\"payload\":{{\"n\":{number}}}}}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_come_while_lines_still_go_in_and_say_where_each_event_is() {
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    let mut stream = open(&app, "").await;
    let mut told = Vec::new();
    for number in 0..20 {
        stream.send(line(&format!("user-{}", number % 5), number)).await;
        let receipt = stream.next().await.unwrap();
        assert_eq!((&receipt["line"], &receipt["status"]), (&json!(number + 1), &json!(201)), "{receipt}");
        told.push(receipt);
    }
    // Two lines in one piece, and one in two.
    stream.send(format!("{}{}{}", line("a", 20), line("a", 21), &line("a", 22)[..10])).await;
    told.push(stream.next().await.unwrap());
    told.push(stream.next().await.unwrap());
    stream.send(line("a", 22)[10..].to_owned()).await;
    told.push(stream.next().await.unwrap());
    stream.lines = None;
    assert_eq!(stream.next().await, None);

    let log = events_in_log(&cluster).await;
    assert_eq!(log.len(), 23);
    for receipt in &told {
        assert_eq!(log[&position(receipt)]["eventId"], receipt["eventId"]);
    }
    app.until_processed(told[22]["eventId"].as_str().unwrap()).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_one_user_keep_their_order_in_arrays_and_in_streams() {
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    let mut stream = open(&app, "?receipts=errors").await;
    for part in 0..10 {
        let lines: String = (0..500).map(|n| line(&format!("user-{}", n % 7), part * 500 + n)).collect();
        stream.send(lines).await;
    }
    stream.lines = None;
    assert_eq!(stream.next().await.unwrap()["stored"], 5_000);
    let events: Vec<Value> = (5_000..6_000)
        .map(|number| serde_json::from_str(&line(&format!("user-{}", number % 7), number)).unwrap())
        .collect();
    let answer: Value = app.post("/events/batch", &json!(events)).await.json().await.unwrap();
    assert_eq!(answer["stored"], 1_000);

    let mut last = BTreeMap::new();
    let log = events_in_log(&cluster).await;
    assert_eq!(log.len(), 6_000);
    for event in log.values() {
        let number = event["payload"]["n"].as_i64().unwrap();
        let before = last.insert(event["userId"].as_str().unwrap().to_owned(), number);
        assert!(before.is_none_or(|before| before < number), "{before:?} before {number}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_in_the_log_though_the_client_goes_away_in_the_middle() {
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    let mut acknowledged = 0;
    for round in 0..3 {
        let mut stream = open(&app, "").await;
        let lines = stream.lines.take().unwrap();
        let sending = tokio::spawn(async move {
            for number in 0.. {
                if lines.send(line("user", round * 1_000_000 + number).into()).await.is_err() {
                    break;
                }
            }
        });
        let mut told = Vec::new();
        for _ in 0..1_000 {
            told.push(stream.next().await.unwrap());
        }
        drop(stream);
        sending.await.unwrap();
        let log = events_in_log(&cluster).await;
        for receipt in &told {
            assert_eq!(log[&position(receipt)]["eventId"], receipt["eventId"]);
            acknowledged += 1;
        }
    }
    assert_eq!(acknowledged, 3_000);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_no_receipts_is_slowed_and_nothing_is_gathered_for_it() {
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let mut socket = socket.connect(([127, 0, 0, 1], app.port()).into()).await.unwrap();
    let head = "POST /events/batch HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\n\
                content-length: 10000000000\r\n\r\n";
    socket.write_all(head.as_bytes()).await.unwrap();
    let (mut answer, mut body) = socket.into_split();
    let text = line("user", 0);
    let (mut at, mut sent) = (0, 0);
    // As soon as nothing more is taken for a while, the client is slowed.
    while let Ok(written) = timeout(Duration::from_secs(2), body.write(&text.as_bytes()[at..])).await {
        sent += written.unwrap();
        at = sent % text.len();
        assert!(sent < 10_000_000, "{sent} bytes were taken, and no receipt was read");
    }
    // It goes on once the client reads.
    let reading = tokio::spawn(async move {
        let mut buffer = vec![0; 64 * 1024];
        while answer.read(&mut buffer).await.is_ok_and(|length| length > 0) {}
    });
    let until = 3 * sent;
    while sent < until {
        let written = timeout(Duration::from_secs(20), body.write(&text.as_bytes()[at..])).await;
        sent += written.expect("the stream goes on").unwrap();
        at = sent % text.len();
    }
    reading.abort();
    drop(body);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_first_is_told_to_go_on_before_its_answer_begins() {
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", app.port())).await.unwrap();
    let head = "POST /events/batch HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\n\
                expect: 100-continue\r\ncontent-length: ";
    let text = line("user", 0);
    socket.write_all(format!("{head}{}\r\n\r\n", text.len()).as_bytes()).await.unwrap();
    let mut told = [0; 25];
    timeout(Duration::from_secs(20), socket.read_exact(&mut told)).await.unwrap().unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(text.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    timeout(Duration::from_secs(20), socket.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 207");
    drop(socket);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_stream_ends_with_a_word_and_blank_lines_keep_one_alive() {
    let cluster = TestCluster::start().await;
    let app = TestApp::start_with(&cluster, &[("STREAM_PAUSE", "1s"), ("BODY_TIMEOUT", "500ms")]).await;
    app.until_ready().await;
    let mut alive = open(&app, "").await;
    let mut silent = open(&app, "?receipts=errors").await;
    silent.send(line("user", 0)).await;
    let told = async {
        let told = silent.next().await.unwrap();
        (told, silent.next().await.unwrap(), silent.next().await)
    };
    let beating = async {
        loop {
            alive.send("\n").await;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    let (fault, sums, end) = tokio::select! {
        told = told => told,
        () = beating => unreachable!(),
    };
    assert_eq!((&fault["status"], fault.get("line")), (&json!(408), None));
    assert_eq!((&sums["events"], &sums["stored"]), (&json!(1), &json!(1)));
    assert_eq!(end, None);
    alive.send(line("user", 1)).await;
    assert_eq!(alive.next().await.unwrap()["status"], 201);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_events_of_a_stream_together_wait_one_time_out_for_a_topic_that_is_not_known() {
    let cluster = TestCluster::embedded().await;
    cluster.broker().faults().always(ApiKey::Metadata, Fault::Stall);
    let app = TestApp::start_with(&cluster, &[("PRODUCE_TIMEOUT", "500ms")]).await;
    let mut stream = open(&app, "").await;
    stream.send((0..100).map(|number| line("user", number)).collect::<String>()).await;
    let receipts = async {
        for _ in 0..100 {
            let receipt = stream.next().await.unwrap();
            assert_eq!((&receipt["status"], &receipt["possiblyWritten"]), (&json!(503), &json!(false)));
        }
    };
    timeout(Duration::from_secs(20), receipts).await.expect("an event waits for itself");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_do_not_wait_for_later_events_that_have_no_room_in_the_queue() {
    let cluster = TestCluster::embedded().await;
    let app = TestApp::start_with(&cluster, &[("PRODUCE_QUEUE_EVENTS", "2")]).await;
    app.until_ready().await;
    cluster.broker().faults().always(ApiKey::Produce, Fault::Throttle(Duration::from_secs(1)));
    let mut stream = open(&app, "").await;
    // They come in pieces of a hundred or so, each of which takes most of a minute.
    stream.send((0..600).map(|number| line("user", number)).collect::<String>()).await;
    for number in 1..=6 {
        let receipt = timeout(Duration::from_secs(20), stream.next()).await.expect("receipts wait").unwrap();
        assert_eq!((&receipt["line"], &receipt["status"]), (&json!(number), &json!(201)), "{receipt}");
    }
    drop(stream);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_service_ends_a_stream_after_the_receipts_of_what_it_took() {
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    let mut stream = open(&app, "").await;
    stream.send(line("user", 0)).await;
    assert_eq!(stream.next().await.unwrap()["status"], 201);
    let stopping = tokio::spawn(app.stop());
    let last = stream.next().await.unwrap();
    assert_eq!((&last["status"], last.get("line")), (&json!(503), None));
    assert_eq!(stream.next().await, None);
    stopping.await.unwrap();
}

/// 2,000 events of the user `br`, a line each, by Node's `zlib.brotliCompressSync`.
const BROTLI: &str = "W9+lgcxxYMcym0jC006yHKHS4ckdT/6A7tMXMMFa3FrWrlh0SqGPweB4l1QGe7FBdPZZr1QrTzVoBWIZm6wHJKt3PnIHd/7s\
                      YgaHMvDqzbtPPvviq2/R328zoAU=";

fn packed(coding: &str) -> Vec<u8> {
    let first = if coding == "gzip" { 0 } else { 2_000 };
    let lines: String = (first..first + 2_000).map(|number| line(coding, number)).collect();
    match coding {
        "gzip" => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(lines.as_bytes()).unwrap();
            gzip.finish().unwrap()
        }
        "zstd" => zstd::encode_all(lines.as_bytes(), 1).unwrap(),
        _ => STANDARD.decode(BROTLI).unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packed_stream_is_unpacked_as_it_comes_in_whatever_pieces() {
    let cluster = TestCluster::start().await;
    let app = TestApp::ready(&cluster).await;
    for coding in ["gzip", "zstd", "br"] {
        let url = format!("http://127.0.0.1:{}/events/batch?receipts=errors", app.port());
        let request = reqwest::Client::new().post(url).header("content-type", "application/x-ndjson");
        let packed = packed(coding);
        let pieces: Vec<_> = packed.chunks(7).map(|part| Ok::<_, Infallible>(part.to_vec())).collect();
        let body = Body::wrap_stream(futures::stream::iter(pieces));
        let answer = request.header("content-encoding", coding).body(body).send().await.unwrap();
        let text = answer.bytes().await.unwrap();
        let sums: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!((&sums["events"], &sums["stored"]), (&json!(2_000), &json!(2_000)), "{coding}");
        eventually("all are processed", async || {
            (app.read(&format!("/api/events/user/{coding}")).await["count"] == 2_000).then_some(())
        })
        .await;
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_of_a_batch_counts_against_the_limits_and_one_beyond_them_can_be_sent_again() {
    let cluster = TestCluster::start().await;
    let app = TestApp::start_with(&cluster, &[("LIMIT_USER", "events=10")]).await;
    app.until_ready().await;
    let event = |user: &str| json!({"userId": user, "eventType": "LOGIN"});
    let mut events = vec![event("busy"); 500];
    events.extend(vec![event("quiet"); 5]);
    let answer: Value = app.post("/events/batch", &json!(events)).await.json().await.unwrap();
    let (busy, quiet) = answer["receipts"].as_array().unwrap().split_at(500);
    let is_stored = |receipt: &&Value| receipt["status"] == 201;
    assert!(busy[..10].iter().all(|receipt| is_stored(&receipt)), "{busy:?}");
    assert!(quiet.iter().all(|receipt| is_stored(&receipt)), "{quiet:?}");
    let (stored, limited): (Vec<_>, Vec<_>) = busy.iter().partition(is_stored);
    assert!(!limited.is_empty());
    for receipt in &limited {
        assert_eq!((&receipt["status"], receipt["retryAfter"].is_u64()), (&json!(429), true), "{receipt}");
        Uuid::parse_str(receipt["eventId"].as_str().unwrap()).unwrap();
    }
    assert_eq!((&answer["stored"], &answer["refused"]), (&json!(stored.len() + 5), &json!(0)));
    assert_eq!(answer["notWritten"], limited.len());
    assert_eq!(events_in_log(&cluster).await.len(), stored.len() + 5);
    // With its id it is taken a moment later.
    let id = limited[0]["eventId"].as_str().unwrap();
    eventually("the limit lets it in", async || {
        let again = json!([{"userId": "busy", "eventType": "LOGIN", "eventId": id}]);
        let answer: Value = app.post("/events/batch", &again).await.json().await.unwrap();
        (answer["stored"] == 1).then_some(())
    })
    .await;
    app.until_processed(id).await;
    app.stop().await;
}
