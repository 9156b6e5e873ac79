//! Spans on their way to a collector that does not take them at once.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::Utc;
use highwater_kafka::{Interceptor as _, Message};
use highwater_net::client::Url;
use highwater_web::trace::{Exporting, RecordTraces, TraceConfig, TraceSampler};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, timeout},
};

use crate::journal;

/// A collector that gives these answers, of which the last stands for all further ones.
struct Collector {
    url: String,
    asked: Arc<Mutex<Vec<Instant>>>,
}

impl Collector {
    async fn answering(answers: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<Instant>>>::default();
        let times = Arc::clone(&asked);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                read(&mut stream).await;
                let at = {
                    let mut times = times.lock().unwrap();
                    times.push(Instant::now());
                    times.len().min(answers.len()) - 1
                };
                let (head, body) = answers[at].split_once("\r\n\r\n").unwrap_or((answers[at], ""));
                let answer = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { url, asked }
    }

    /// A span on its way to the collector, by its URL with that query.
    fn send_span(&self, query: &str) -> Exporting {
        let exporting = Exporting::start(TraceConfig {
            endpoint: Url::parse(&format!("{}{query}", self.url)).unwrap(),
            headers: Vec::new(),
            timeout: Duration::from_secs(10),
            trust: None,
            sampler: TraceSampler::default(),
            service_name: "tests".to_owned(),
            resource: Vec::new(),
            max_queue: 10,
            max_batch: 1,
            delay: Duration::from_secs(3600),
        });
        let mut message =
            Message { key: None, value: None, headers: Vec::new(), timestamp: Utc::now(), partition: None };
        // It ends as it is given up.
        drop(RecordTraces::new(Some(exporting.tracer())).on_send(&Arc::from("events"), &mut message));
        exporting
    }

    /// The numbers of exported and dropped spans after one.
    async fn counts_of_a_span(&self, query: &str) -> (u64, u64) {
        let exporting = self.send_span(query);
        let tracer = exporting.tracer();
        let ended = async {
            while tracer.counts() == (0, 0) {
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(Duration::from_secs(3600), ended).await.expect("the span is sent, or dropped");
        exporting.finish(Duration::from_secs(1)).await;
        tracer.counts()
    }

    /// The time between each two requests, in seconds.
    fn waits(&self) -> Vec<f64> {
        let asked = self.asked.lock().unwrap();
        asked.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect()
    }
}

async fn read(stream: &mut TcpStream) {
    let mut request = Vec::new();
    loop {
        assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0, "the request broke off");
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if body.len() == length.parse::<usize>().unwrap() {
            return;
        }
    }
}

const BUSY: &str = "503 Service Unavailable\r\nretry-after: 30";

#[tokio::test(start_paused = true)]
async fn a_batch_comes_again_when_the_collector_asks_for_it() {
    let collector = Collector::answering(&[BUSY, "429 Too Many Requests\r\nretry-after: 7", "200 OK"]).await;
    assert_eq!(collector.counts_of_a_span("").await, (1, 0));
    let waits = collector.waits();
    let [first, second] = waits[..] else { panic!("{waits:?}") };
    assert!((30.0..31.0).contains(&first) && (7.0..8.0).contains(&second), "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_asks_for_more_than_a_minute_is_asked_some_time_after_a_minute_eight_times_in_all() {
    let collector = Collector::answering(&["503 Service Unavailable\r\nretry-after: 86400"]).await;
    assert_eq!(collector.counts_of_a_span("").await, (0, 1));
    let waits = collector.waits();
    assert_eq!(waits.len(), 7);
    assert!(waits.iter().all(|wait| (60.0..65.0).contains(wait)), "{waits:?}");
    // Not all instances come back at the same moment.
    assert!(waits.windows(2).any(|pair| (pair[0] - pair[1]).abs() > 0.01), "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn without_a_time_that_can_be_read_the_waits_grow() {
    for answer in ["502 Bad Gateway", "504 Gateway Timeout\r\nretry-after: Mon, 30 Nov 2026 00:00:00 GMT"] {
        let collector = Collector::answering(Box::leak(Box::new([answer]))).await;
        assert_eq!(collector.counts_of_a_span("").await, (0, 1));
        let waits = collector.waits();
        assert_eq!(waits.len(), 7);
        assert!(waits[0] < 0.2 && waits[6] > 1.0 && waits[6] < 5.0, "{waits:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_collector_will_never_take_is_sent_once_and_the_log_has_no_secret_of_the_url() {
    journal::listen();
    let collector = Collector::answering(&["400 Bad Request\r\nretry-after: 1"]).await;
    assert_eq!(collector.counts_of_a_span("?key=hunter2").await, (0, 1));
    assert_eq!(collector.asked.lock().unwrap().len(), 1);
    let lines = journal::take();
    let line = lines.iter().find(|line| line.message.starts_with("spans are dropped")).unwrap();
    assert_eq!(line.fields["endpoint"], collector.url);
    assert!(!format!("{lines:?}").contains("hunter2"), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn what_the_collector_rejects_of_a_batch_that_it_takes_counts_as_dropped_and_is_told() {
    journal::listen();
    let rejected = r#"{"partialSuccess":{"rejectedSpans":"1","errorMessage":null}}"#;
    let answer = Box::leak(format!("200 OK\r\n\r\n{rejected}").into_boxed_str());
    let collector = Collector::answering(Box::leak(Box::new([&*answer]))).await;
    assert_eq!(collector.counts_of_a_span("").await, (0, 1));
    assert!(journal::take().iter().any(|line| line.message.starts_with("spans are dropped")));
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_one_more_answer_and_not_as_long_as_the_collector_asks_for() {
    let collector = Collector::answering(&[BUSY]).await;
    let exporting = collector.send_span("");
    let tracer = exporting.tracer();
    while collector.asked.lock().unwrap().is_empty() {
        sleep(Duration::from_millis(10)).await;
    }
    exporting.finish(Duration::from_secs(60)).await;
    assert_eq!(tracer.counts(), (0, 1));
    let waits = collector.waits();
    assert!(waits.len() == 1 && waits[0] < 1.0, "{waits:?}");
}
