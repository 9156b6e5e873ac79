//! A broker with arbitrary answers: a call ends with an error, in time, and takes no memory.

use std::{
    future::{Future, pending},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use highwater_kafka::{
    ClusterConfig,
    wire::{Connection, WireError},
};
use kafka_protocol::{
    messages::{
        ApiKey, ApiVersionsResponse, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest,
        api_versions_response::ApiVersion,
    },
    protocol::Encodable,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep},
};

const PATIENCE: Duration = Duration::from_millis(500);

fn encode(message: &impl Encodable) -> Bytes {
    let mut bytes = BytesMut::new();
    message.encode(&mut bytes, 0).unwrap();
    bytes.freeze()
}

/// The correlation id of the next request.
async fn next_request(stream: &mut TcpStream) -> i32 {
    let length = stream.read_i32().await.unwrap();
    let mut request = vec![0; length as usize];
    stream.read_exact(&mut request).await.unwrap();
    i32::from_be_bytes(request[4..8].try_into().unwrap())
}

async fn send(stream: &mut TcpStream, correlation: i32, body: &[u8]) {
    let frame = [&(body.len() as i32 + 4).to_be_bytes()[..], &correlation.to_be_bytes(), body].concat();
    stream.write_all(&frame).await.unwrap();
}

/// A connection to a broker that speaks version 0 of the group protocol, and then does as it is told.
async fn connection<F: Future<Output = ()> + Send + 'static>(
    then: impl FnOnce(TcpStream) -> F + Send + 'static,
) -> Connection {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let correlation = next_request(&mut stream).await;
        let version = |api: ApiKey| ApiVersion::default().with_api_key(api as i16);
        let versions = [ApiKey::JoinGroup, ApiKey::Heartbeat].map(version).to_vec();
        let answer = ApiVersionsResponse::default().with_api_keys(versions);
        send(&mut stream, correlation, &encode(&answer)).await;
        then(stream).await;
    });
    let config = ClusterConfig::new(vec![address.clone()])
        .with_client_id("test".to_owned())
        .with_connect_timeout(PATIENCE)
        .with_request_timeout(PATIENCE);
    Connection::open(&address, &config).await.unwrap()
}

async fn beat(connection: &mut Connection) -> Result<HeartbeatResponse, WireError> {
    connection.call(&HeartbeatRequest::default(), 0..=0).await
}

#[tokio::test]
async fn an_answer_that_promises_two_billion_members_is_malformed() {
    let mut connection = connection(async |mut stream| {
        let correlation = next_request(&mut stream).await;
        // Error, generation, protocol, leader, member id; then how many members there are.
        let body = [&[0; 2 + 4 + 2 + 2 + 2][..], &i32::MAX.to_be_bytes(), &[0; 100]].concat();
        send(&mut stream, correlation, &body).await;
        pending::<()>().await;
    })
    .await;
    let answer = connection.call(&JoinGroupRequest::default(), 0..=0).await;
    assert!(matches!(answer, Err(WireError::Malformed { .. })), "{answer:?}");
    assert!(connection.is_unusable());
}

#[tokio::test]
async fn the_answer_to_another_request_is_taken_for_none() {
    let mut connection = connection(async |mut stream| {
        let correlation = next_request(&mut stream).await;
        send(&mut stream, correlation + 1, &encode(&HeartbeatResponse::default())).await;
        pending::<()>().await;
    })
    .await;
    let answer = beat(&mut connection).await;
    assert!(
        matches!(&answer, Err(WireError::Malformed { reason, .. }) if reason.contains("answers request"))
    );
    assert!(connection.is_unusable());
    assert!(
        matches!(beat(&mut connection).await, Err(WireError::Broken { .. })),
        "nothing more is asked there"
    );
}

#[tokio::test]
async fn a_length_beyond_all_bounds_or_below_none_breaks_the_connection_at_once() {
    for length in [i32::MIN, -1, 8 * 1024 * 1024 + 1, i32::MAX] {
        let mut connection = connection(async move |mut stream| {
            next_request(&mut stream).await;
            stream.write_all(&length.to_be_bytes()).await.unwrap();
            pending::<()>().await;
        })
        .await;
        let answer = beat(&mut connection).await;
        assert!(matches!(answer, Err(WireError::Broken { .. })), "length {length}: {answer:?}");
    }
}

#[tokio::test]
async fn an_answer_that_ends_too_soon_breaks_the_connection() {
    let mut connection = connection(async |mut stream| {
        next_request(&mut stream).await;
        stream.write_all(&[0, 0, 1, 0, 0, 0]).await.unwrap();
    })
    .await;
    assert!(matches!(beat(&mut connection).await, Err(WireError::Broken { .. })));
}

#[tokio::test]
async fn neither_silence_nor_an_endless_answer_outlasts_the_time_out() {
    const LENGTH: &[u8] = &(1024 * 1024_i32).to_be_bytes();
    for length in [&[], LENGTH] {
        let mut connection = connection(async move |mut stream| {
            next_request(&mut stream).await;
            stream.write_all(length).await.unwrap();
            // A byte now and then, so that something always comes.
            while !length.is_empty() && stream.write_all(&[0]).await.is_ok() {
                sleep(Duration::from_millis(10)).await;
            }
            pending::<()>().await;
        })
        .await;
        let began = Instant::now();
        assert!(matches!(beat(&mut connection).await, Err(WireError::TimedOut { .. })));
        assert!(began.elapsed() < 4 * PATIENCE);
        assert!(connection.is_unusable());
    }
}
