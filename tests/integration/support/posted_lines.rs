//! A stream of events on its way: its lines go in while its receipts are read.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream::BoxStream};
use serde_json::Value;
use tokio::sync::mpsc;

use super::TestCluster;

/// A request whose body is sent, and whose answer is read, at the same time.
pub(crate) struct PostedLines {
    /// `None` ends the body.
    pub(crate) lines: Option<mpsc::Sender<Bytes>>,
    answer: BoxStream<'static, Bytes>,
    read: Vec<u8>,
}

impl PostedLines {
    /// Posts a body of lines by a function that returns the pieces of its answer.
    pub(crate) async fn post<S>(send: impl AsyncFnOnce(BoxStream<'static, Bytes>) -> S) -> Self
    where
        S: Stream<Item = Bytes> + Send + 'static,
    {
        let (lines, body) = mpsc::channel::<Bytes>(1);
        let body = futures::stream::unfold(body, async |mut body| Some((body.recv().await?, body)));
        let answer = send(body.boxed()).await.boxed();
        Self { lines: Some(lines), answer, read: Vec::new() }
    }

    pub(crate) async fn send(&self, text: impl Into<Bytes>) {
        self.lines.as_ref().unwrap().send(text.into()).await.unwrap();
    }

    /// The next receipt; `None` after the last.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            self.read.extend_from_slice(&self.answer.next().await?);
        }
    }
}

/// The position of an event that was stored, as its receipt tells it.
pub(crate) fn position(receipt: &Value) -> (i64, i64) {
    assert_eq!(receipt["status"], 201, "{receipt}");
    (receipt["partition"].as_i64().unwrap(), receipt["offset"].as_i64().unwrap())
}

/// The event at each position of the topic.
pub(crate) async fn events_in_log(cluster: &TestCluster) -> BTreeMap<(i64, i64), Value> {
    let event = |value: Option<Vec<u8>>| serde_json::from_slice(&value.unwrap()).unwrap();
    let records = cluster.records(&cluster.topic).await.into_iter();
    records.map(|(at, record)| ((at.into(), record.offset), event(record.record.value))).collect()
}
