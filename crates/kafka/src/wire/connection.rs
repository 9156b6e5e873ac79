//! One TCP connection to one broker: a request, then its answer, each within a deadline.

use std::{any::type_name, io, net::SocketAddr, ops::RangeInclusive, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use futures::future::{BoxFuture, FutureExt};
use kafka_protocol::{
    messages::{ApiKey, ApiVersionsRequest, RequestHeader, ResponseHeader},
    protocol::{Decodable, HeaderVersion, Request, StrBytes, encode_request_header_into_buffer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::lookup_host,
    time::{Instant, timeout, timeout_at},
};

use super::{WireError, decode, stream::Stream};
use crate::{ClusterConfig, staggered::first_success};

/// The largest answer that is read; a length beyond it is taken for garbage. Of anything but records a few bytes
/// become a structure of a hundred and more, and a topic of a hundred thousand partitions is described in less.
const MAX_ANSWER: usize = 8 * 1024 * 1024;
/// An answer grows by what has arrived, so that a length alone reserves no more than this: room for a fetch of
/// the usual size (FETCH_MAX_BYTES) and what surrounds it, in one piece.
const READ_STEP: usize = 2 * 1024 * 1024;
/// What is read at first, in bytes: room for the answer to a produce, a commit or a heartbeat.
const SHORT: usize = 1024;

/// A connection on which nothing goes for so long is given up (`connections.max.idle.ms` in Java's clients). What stands
/// between us and a broker forgets it some day, often without a word (Azure after 4 minutes), and the next request would
/// wait for an answer in vain.
pub(crate) const LONGEST_IDLE: Duration = Duration::from_secs(3 * 60);

/// A connection that has asked the broker which versions it speaks.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    address: String,
    client_id: StrBytes,
    request_timeout: Duration,
    correlation: i32,
    versions: Vec<(i16, RangeInclusive<i16>)>,
    /// Set while a request is under way: one that was abandoned leaves its answer in the stream.
    unusable: bool,
    /// When it was last answered.
    answered: Instant,
}

impl Connection {
    /// Connects to `host:port`, negotiates versions (KIP-35), and says who it is where that is wanted. A name is looked
    /// up each time, and each of its addresses is tried (KIP-602).
    pub async fn open(address: &str, config: &ClusterConfig) -> Result<Self, WireError> {
        let failed = |source| WireError::Connect { address: address.to_owned(), source };
        let sockets: Vec<_> = timeout(config.connect_timeout, lookup_host(address))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(failed)?
            .collect();
        let attempts = sockets.into_iter().map(|socket| Self::negotiate(address, socket, config).boxed());
        let opened = first_success(attempts.collect()).await;
        // The last address is the one that a system without the first ones' family has.
        let opened = opened.map_err(|mut errors| {
            errors.pop().unwrap_or_else(|| failed(io::Error::other("the name has no address")))
        });
        let mut connection = opened.map_err(|error| error.or_handshake_error(address))?;
        if let Some(sasl) = &config.security.sasl {
            connection.authenticate(sasl).await?;
        }
        Ok(connection)
    }

    async fn negotiate(address: &str, socket: SocketAddr, config: &ClusterConfig) -> Result<Self, WireError> {
        let stream = timeout(config.connect_timeout, Stream::open(address, socket, &config.security))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|source| WireError::Connect { address: address.to_owned(), source })?;
        let mut connection = Self {
            stream,
            address: address.to_owned(),
            client_id: StrBytes::from_string(config.client_id.clone()),
            request_timeout: config.request_timeout,
            correlation: 0,
            versions: vec![(ApiKey::ApiVersions as i16, 0..=0)],
            unusable: false,
            answered: Instant::now(),
        };
        // A broker that hangs is found out by this: the system accepts connections for it.
        let request = ApiVersionsRequest::default();
        let answer = connection.call_within(&request, 0..=0, config.connect_timeout).await?;
        WireError::check("ApiVersions", answer.error_code)?;
        connection.versions =
            answer.api_keys.iter().map(|api| (api.api_key, api.min_version..=api.max_version)).collect();
        Ok(connection)
    }

    /// The broker's `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// How long any call may take that the broker does not hold.
    pub(super) fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    /// Whether an earlier call failed in a way that leaves the stream out of step, or the last one is long ago.
    pub fn is_unusable(&self) -> bool {
        self.unusable || self.answered.elapsed() > LONGEST_IDLE
    }

    /// The newest version of a request that both sides speak, within those the caller knows.
    pub fn version<R: Request>(&self, known: RangeInclusive<i16>) -> Result<i16, WireError> {
        let spoken = self.versions.iter().find(|(key, _)| *key == R::KEY).map(|(_, versions)| versions);
        let spoken = spoken.ok_or(WireError::Unsupported(name_of::<R>()))?;
        let newest = *known.end().min(spoken.end()).min(&R::VERSIONS.max);
        if newest < *known.start().max(spoken.start()) {
            return Err(WireError::Unsupported(name_of::<R>()));
        }
        Ok(newest)
    }

    /// Sends a request in the newest version of `known` that both sides speak, and waits for the answer
    /// as long as any call may take.
    pub async fn call<R: Request>(
        &mut self,
        request: &R,
        known: RangeInclusive<i16>,
    ) -> Result<R::Response, WireError> {
        self.call_within(request, known, self.request_timeout).await
    }

    /// As [`Connection::call`], with a deadline of its own: for requests that the broker holds on purpose.
    pub async fn call_within<R: Request>(
        &mut self,
        request: &R,
        known: RangeInclusive<i16>,
        within: Duration,
    ) -> Result<R::Response, WireError> {
        let (body, version) = self.ask(request, known, within, MAX_ANSWER).await?;
        let answer = decode(body, version);
        self.unusable = answer.is_err();
        answer.map_err(|error| WireError::Malformed { what: name_of::<R>(), reason: error.to_string() })
    }

    /// As [`Connection::call_within`], with a bound of its own; gives the answer's bytes, and the version they are of.
    pub(super) async fn ask<R: Request>(
        &mut self,
        request: &R,
        known: RangeInclusive<i16>,
        within: Duration,
        most: usize,
    ) -> Result<(Bytes, i16), WireError> {
        let what = name_of::<R>();
        let version = self.version::<R>(known)?;
        if self.unusable {
            return Err(self.broken(io::Error::other("an earlier request was abandoned")));
        }
        let malformed = |reason| WireError::Malformed { what, reason };
        let frame = self.encode(request, version).map_err(malformed)?;
        self.unusable = true;
        let answer = self.exchange_within(what, frame, within, most).await?;
        let body = self.body(answer, R::Response::header_version(version)).map_err(malformed)?;
        (self.unusable, self.answered) = (false, Instant::now());
        Ok((body, version))
    }

    fn broken(&self, source: io::Error) -> WireError {
        WireError::Broken { address: self.address.clone(), source }
    }

    fn encode<R: Request>(&mut self, request: &R, version: i16) -> Result<BytesMut, String> {
        self.correlation = self.correlation.wrapping_add(1);
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.correlation)
            .with_client_id(Some(self.client_id.clone()));
        let mut frame = BytesMut::zeroed(4);
        encode_request_header_into_buffer(&mut frame, &header).map_err(|error| error.to_string())?;
        request.encode(&mut frame, version).map_err(|error| error.to_string())?;
        let length = i32::try_from(frame.len() - 4).map_err(|_| "too large".to_owned())?;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        Ok(frame)
    }

    /// Boxed: what is above is compiled once a request, and this need not be, nor be part of all that calls.
    fn exchange_within(
        &mut self,
        what: &'static str,
        frame: BytesMut,
        within: Duration,
        most: usize,
    ) -> BoxFuture<'_, Result<Bytes, WireError>> {
        let deadline = Instant::now() + within;
        Box::pin(async move {
            match timeout_at(deadline, self.exchange(&frame, most)).await {
                Err(_) => Err(WireError::TimedOut { what, after: within }),
                Ok(Err(source)) => Err(self.broken(source)),
                Ok(Ok(body)) => Ok(body),
            }
        })
    }

    async fn exchange(&mut self, frame: &[u8], most: usize) -> io::Result<Bytes> {
        self.stream.write_all(frame).await?;
        // TLS keeps back what TCP would send at once.
        self.stream.flush().await?;
        // Most answers are short, and come whole with the first read. Nothing else is on its way: the next request
        // is sent when this one is answered.
        let mut answer = BytesMut::with_capacity(SHORT);
        while answer.len() < size_of::<i32>() {
            self.read_some(&mut answer, SHORT).await?;
        }
        let length = usize::try_from(answer.get_i32()).ok().filter(|length| *length <= most);
        let length = length.ok_or_else(|| io::Error::other("an answer of impossible length"))?;
        while answer.len() < length {
            let wanted = (length - answer.len()).min(READ_STEP);
            self.read_some(&mut answer, wanted).await?;
        }
        if answer.len() > length {
            return Err(io::Error::other("more than the answer"));
        }
        Ok(answer.freeze())
    }

    /// At least one byte more, and at most so many.
    async fn read_some(&mut self, answer: &mut BytesMut, most: usize) -> io::Result<()> {
        answer.reserve(most);
        match (&mut self.stream).take(most as u64).read_buf(answer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// What comes after the header, if it is that of the answer to the last request.
    fn body(&self, mut answer: Bytes, header_version: i16) -> Result<Bytes, String> {
        let header =
            ResponseHeader::decode(&mut answer, header_version).map_err(|error| error.to_string())?;
        if header.correlation_id != self.correlation {
            return Err(format!("answers request {}, not {}", header.correlation_id, self.correlation));
        }
        Ok(answer)
    }
}

/// `JoinGroup` for `kafka_protocol::messages::…::JoinGroupRequest`.
fn name_of<R>() -> &'static str {
    let path = type_name::<R>();
    let name = path.rsplit("::").next().unwrap_or(path);
    name.strip_suffix("Request").unwrap_or(name)
}
