//! Proxies between a client and the brokers, which lose answers to Produce: the broker took the request, and the client
//! does not learn of it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::{Buf, Bytes};
use kafka_protocol::{
    messages::{ApiKey, MetadataResponse, ResponseHeader},
    protocol::{Decodable, HeaderVersion},
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};

use super::{
    TestCluster,
    front::{encoded, frame},
};

/// How an answer is lost.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Loss {
    /// The connection breaks.
    Broken,
    /// The connection stays, and nothing comes.
    Silent,
}

/// For the number of an answer to Produce, counted over all brokers, how it is lost, if it is.
type Losses = dyn Fn(usize) -> Option<Loss> + Send + Sync;

/// The way to all brokers.
struct Proxies {
    /// The address of each broker, and the port of its proxy.
    ports: Vec<(String, u16)>,
    losses: Box<Losses>,
    answers: AtomicUsize,
}

impl TestCluster {
    /// The same cluster behind proxies.
    pub(crate) async fn losing(
        &self,
        losses: impl Fn(usize) -> Option<Loss> + Send + Sync + 'static,
    ) -> Self {
        let (mut ports, mut listeners) = (Vec::new(), Vec::new());
        for broker in &self.brokers {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            ports.push((broker.clone(), listener.local_addr().unwrap().port()));
            listeners.push(listener);
        }
        let brokers = ports.iter().map(|(_, port)| format!("127.0.0.1:{port}")).collect();
        let proxies = Arc::new(Proxies { ports, losses: Box::new(losses), answers: AtomicUsize::new(0) });
        for (listener, broker) in listeners.into_iter().zip(self.brokers.clone()) {
            let proxies = Arc::clone(&proxies);
            tokio::spawn(async move {
                while let Ok((client, _)) = listener.accept().await {
                    let (proxies, broker) = (Arc::clone(&proxies), broker.clone());
                    tokio::spawn(async move {
                        // The client notices the end of its connection.
                        let _ended = proxies.serve(client, &broker).await;
                    });
                }
            });
        }
        Self { brokers, embedded: None, topic: self.topic.clone(), group: self.group.clone() }
    }
}

impl Proxies {
    async fn serve(&self, mut client: TcpStream, broker: &str) -> io::Result<()> {
        let mut broker = TcpStream::connect(broker).await?;
        broker.set_nodelay(true)?;
        client.set_nodelay(true)?;
        loop {
            let request = frame(&mut client).await?;
            let (api, version) = ((&request[0..]).get_i16(), (&request[2..]).get_i16());
            broker.write_i32(request.len() as i32).await?;
            broker.write_all(&request).await?;
            let mut answer = frame(&mut broker).await?;
            if api == ApiKey::Metadata as i16 {
                answer = self.naming_proxies(answer, version);
            }
            if api == ApiKey::Produce as i16 {
                match (self.losses)(self.answers.fetch_add(1, Ordering::Relaxed)) {
                    None => {}
                    Some(Loss::Broken) => return Ok(()),
                    Some(Loss::Silent) => return std::future::pending().await,
                }
            }
            client.write_i32(answer.len() as i32).await?;
            client.write_all(&answer).await?;
        }
    }

    fn naming_proxies(&self, mut answer: Bytes, version: i16) -> Bytes {
        let header = MetadataResponse::header_version(version);
        let correlation = ResponseHeader::decode(&mut answer, header).unwrap().correlation_id;
        let mut metadata = MetadataResponse::decode(&mut answer, version).unwrap();
        for broker in &mut metadata.brokers {
            let address = format!("{}:{}", broker.host.as_str(), broker.port);
            let place = self.ports.iter().find(|(known, _)| *known == address);
            broker.port = place.expect("a broker of the cluster").1.into();
        }
        encoded(correlation, &metadata, version)
    }
}
