//! A load of records during a test.

use std::{sync::Arc, time::Duration};

use highwater_kafka::{Message, Producer, Publisher};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

/// Writes records of fifty keys, one after another, until it is ended.
pub(crate) struct RecordLoad {
    stop: CancellationToken,
    task: JoinHandle<usize>,
}

impl RecordLoad {
    pub(crate) fn start(producer: Arc<Producer>) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut written = 0;
            while !stopped.is_cancelled() {
                let message = Message {
                    key: Some(format!("user-{}", written % 50).into_bytes()),
                    value: Some(format!("{written}").into_bytes()),
                    headers: vec![],
                    timestamp: chrono::Utc::now(),
                    partition: None,
                };
                producer.publish(message).await.unwrap();
                written += 1;
                // A pace at which no test drowns in records.
                sleep(Duration::from_millis(1)).await;
            }
            written
        });
        Self { stop, task }
    }

    /// Tells how many there are.
    pub(crate) async fn end(self) -> usize {
        self.stop.cancel();
        self.task.await.unwrap()
    }
}
