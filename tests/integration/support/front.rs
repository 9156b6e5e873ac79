//! A proxy in front of an embedded broker that adds a coordinator of KIP-848. A test scripts its answers
//! to heartbeats, and all other requests reach the broker. It can do what no real coordinator does at the right
//! moment.

use std::{
    io,
    sync::{Arc, Mutex},
};

use bytes::{Buf, Bytes, BytesMut};
use highwater_kafka_broker::{Broker, Options};
use kafka_protocol::{
    messages::{
        ApiKey, ApiVersionsResponse, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
        RequestHeader, ResponseHeader, api_versions_response::ApiVersion,
    },
    protocol::{Decodable, Encodable, HeaderVersion},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::TestCluster;

type Heartbeat = ConsumerGroupHeartbeatRequest;
type Answer = ConsumerGroupHeartbeatResponse;
/// The answer to a heartbeat; `None` for no answer.
type Script = dyn Fn(&Heartbeat) -> Option<Answer> + Send + Sync;

const SPOKEN: i16 = 1;

/// The heartbeats that the coordinator received.
#[derive(Clone, Default)]
pub(crate) struct Heartbeats(Arc<Mutex<Vec<Heartbeat>>>);

impl Heartbeats {
    /// All heartbeats so far, in order.
    pub(crate) fn all(&self) -> Vec<Heartbeat> {
        self.0.lock().unwrap().clone()
    }
}

impl TestCluster {
    /// An embedded broker behind a coordinator with this script.
    pub(crate) async fn with_coordinator(
        script: impl Fn(&Heartbeat) -> Option<Answer> + Send + Sync + 'static,
    ) -> (Self, Heartbeats) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let front = listener.local_addr().unwrap();
        let lacks = vec![(ApiKey::ConsumerGroupHeartbeat, 0)];
        let options = Options { advertised_port: Some(front.port()), lacks, ..Options::default() };
        let broker = Broker::start(options).await.unwrap();
        let (behind, heard) = (broker.bootstrap(), Heartbeats::default());
        let (script, heartbeats): (Arc<Script>, _) = (Arc::new(script), heard.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (script, behind, heard) = (Arc::clone(&script), behind.clone(), heard.clone());
                tokio::spawn(async move {
                    // The client notices the end of its connection.
                    let _ended = serve(client, &behind, &*script, &heard).await;
                });
            }
        });
        (Self::named(vec![front.to_string()], Some(broker)), heartbeats)
    }
}

async fn serve(mut client: TcpStream, behind: &str, script: &Script, heard: &Heartbeats) -> io::Result<()> {
    let mut broker = TcpStream::connect(behind).await?;
    broker.set_nodelay(true)?;
    client.set_nodelay(true)?;
    loop {
        let request = frame(&mut client).await?;
        let (api, version) = ((&request[0..]).get_i16(), (&request[2..]).get_i16());
        let answer = if api == ApiKey::ConsumerGroupHeartbeat as i16 {
            let mut rest = request;
            let header = RequestHeader::decode(&mut rest, Heartbeat::header_version(version));
            let heartbeat = Heartbeat::decode(&mut rest, version).map_err(io::Error::other)?;
            heard.0.lock().unwrap().push(heartbeat.clone());
            let Some(answer) = script(&heartbeat) else { return std::future::pending().await };
            encoded(header.map_err(io::Error::other)?.correlation_id, &answer, version)
        } else {
            broker.write_i32(request.len() as i32).await?;
            broker.write_all(&request).await?;
            let answer = frame(&mut broker).await?;
            let asks_versions = api == ApiKey::ApiVersions as i16 && version == 0;
            if asks_versions { with_heartbeats(answer) } else { answer }
        };
        client.write_i32(answer.len() as i32).await?;
        client.write_all(&answer).await?;
    }
}

pub(super) async fn frame(stream: &mut TcpStream) -> io::Result<Bytes> {
    let length = stream.read_i32().await?;
    let mut frame = vec![0; length as usize];
    stream.read_exact(&mut frame).await?;
    Ok(frame.into())
}

pub(super) fn encoded<A: Encodable + HeaderVersion>(correlation: i32, answer: &A, version: i16) -> Bytes {
    let mut bytes = BytesMut::new();
    let header = ResponseHeader::default().with_correlation_id(correlation);
    header.encode(&mut bytes, A::header_version(version)).unwrap();
    answer.encode(&mut bytes, version).unwrap();
    bytes.freeze()
}

fn with_heartbeats(mut answer: Bytes) -> Bytes {
    let correlation = answer.get_i32();
    let mut spoken = ApiVersionsResponse::decode(&mut answer, 0).unwrap();
    let heartbeat = ApiVersion::default()
        .with_api_key(ApiKey::ConsumerGroupHeartbeat as i16)
        .with_min_version(SPOKEN)
        .with_max_version(SPOKEN);
    spoken.api_keys.push(heartbeat);
    encoded(correlation, &spoken, 0)
}
