//! A broker that refuses the client's credentials. The test has a listener of its own for it, since the embedded
//! broker authenticates no client.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::Utc;
use highwater_kafka::{
    Cluster, ClusterConfig, Message, Producer, ProducerConfig, Publisher as _, StatusRegistry, Topic,
    TopicConfig,
    security::{Credential, Sasl, SaslMechanism, Secret, Security},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Their numbers in Kafka's protocol.
const API_VERSIONS: i16 = 18;
const SASL_HANDSHAKE: i16 = 17;
const SASL_AUTHENTICATE: i16 = 36;
/// SASL_AUTHENTICATION_FAILED
const FAILED: i16 = 58;

/// Refuses everyone; the tokens that it was shown, of each connection one.
async fn refusing_broker() -> (String, Arc<Mutex<Vec<Vec<u8>>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let tokens = Arc::new(Mutex::new(Vec::new()));
    let shown = Arc::clone(&tokens);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(refuse(stream, Arc::clone(&shown)));
        }
    });
    (address, tokens)
}

/// Until the client goes.
async fn refuse(mut stream: TcpStream, tokens: Arc<Mutex<Vec<Vec<u8>>>>) -> Option<()> {
    loop {
        let mut frame = vec![0; stream.read_i32().await.ok()? as usize];
        stream.read_exact(&mut frame).await.ok()?;
        let key = i16::from_be_bytes([frame[0], frame[1]]);
        let client = i16::from_be_bytes([frame[8], frame[9]]) as usize;
        let body = &frame[10 + client..];
        let mut answer = frame[4..8].to_vec(); // the correlation id
        match key {
            API_VERSIONS => {
                answer.extend(0_i16.to_be_bytes());
                answer.extend(3_i32.to_be_bytes());
                for (key, newest) in [(API_VERSIONS, 0_i16), (SASL_HANDSHAKE, 1), (SASL_AUTHENTICATE, 0)] {
                    answer.extend([key, 0, newest].map(i16::to_be_bytes).concat());
                }
            }
            SASL_HANDSHAKE => {
                answer.extend(0_i16.to_be_bytes());
                answer.extend(1_i32.to_be_bytes());
                answer.extend(string("PLAIN"));
            }
            SASL_AUTHENTICATE => {
                tokens.lock().unwrap().push(body[4..].to_vec());
                answer.extend(FAILED.to_be_bytes());
                answer.extend(string("nobody knows you"));
                answer.extend(0_i32.to_be_bytes());
            }
            _ => return None,
        }
        stream.write_i32(answer.len() as i32).await.ok()?;
        stream.write_all(&answer).await.ok()?;
    }
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as i16).to_be_bytes(), text.as_bytes()].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_user_is_told_to_all_and_shown_to_the_broker_once_in_a_while() {
    let (address, tokens) = refusing_broker().await;
    let sasl = Sasl::with_password(SaslMechanism::Plain, "alice", Credential::new(Secret::new("hunter2")));
    let security = Security::default().with_sasl(Some(sasl));
    let cluster = Arc::new(
        Cluster::new(
            ClusterConfig::new(vec![address.clone()])
                .with_security(security)
                .with_connect_timeout(Duration::from_secs(5)),
        )
        .unwrap(),
    );
    let registry = Arc::new(StatusRegistry::new());
    let config = TopicConfig::new("refused");
    let max_age = Duration::from_millis(200);
    let topic = Topic::follow(Arc::clone(&cluster), config, max_age, Arc::clone(&registry));
    let mut status = registry.watch();
    let refused = status.wait_for(|status| status.kafka.error.is_some()).await.unwrap().clone();
    let error = refused.kafka.error.unwrap();
    assert!(error.ends_with(&format!("{address} refuses user alice: nobody knows you")), "{error}");

    let config = ProducerConfig::default().with_timeout(Duration::from_millis(500)).with_queue_records(10);
    let producer = Producer::new(cluster, topic, config, Arc::clone(&registry));
    // Meanwhile the topic is looked up again and again.
    for _ in 0..4 {
        let message = Message {
            key: Some(b"user-1".to_vec()),
            value: Some(b"{}".to_vec()),
            headers: Vec::new(),
            timestamp: Utc::now(),
            partition: None,
        };
        let error = producer.publish(message).await.unwrap_err().to_string();
        assert!(error.contains("refuses user alice") && !error.contains("hunter2"), "{error}");
    }
    assert_eq!(*tokens.lock().unwrap(), [b"\0alice\0hunter2"], "one attempt, by RFC 4616");
}
