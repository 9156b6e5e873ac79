//! A connection to a broker: one request at a time, each with a deadline.

use std::{any::type_name, io, ops::RangeInclusive, time::Duration};

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

use super::{
    WireError, decode,
    stream::{Opening, secured, tcp},
};
use crate::{
    ClusterConfig,
    connector::ByteStream,
    security::{Sasl, Session},
    staggered::first_success,
};

/// The largest response that is read, in bytes, except for Fetch. A few bytes can decode to a hundred and more; the
/// description of a topic of a hundred thousand partitions is smaller.
const MAX_RESPONSE: usize = 8 * 1024 * 1024;
/// The buffer grows by no more than this at a time, whatever length the response claims: a usual Fetch fits in one
/// step.
const READ_STEP: usize = 2 * 1024 * 1024;
/// The first read, in bytes: the response to a Produce, an OffsetCommit or a Heartbeat fits.
const FIRST_READ: usize = 1024;

/// A connection that is idle for longer is not used again (`connections.max.idle.ms` in Java). A load balancer between
/// may have dropped it silently (Azure's after 4 minutes), and the next request would wait in vain.
pub(crate) const LONGEST_IDLE: Duration = Duration::from_secs(3 * 60);

/// A connection to a broker, with negotiated versions.
#[derive(Debug)]
pub struct Connection {
    stream: Box<dyn ByteStream>,
    address: String,
    client_id: StrBytes,
    request_timeout: Duration,
    correlation: i32,
    versions: Vec<(i16, RangeInclusive<i16>)>,
    /// Set while a request is in flight: a request that was abandoned leaves its response in the stream.
    pub(super) unusable: bool,
    /// The time of the last response.
    answered: Instant,
    /// The client's identity, if the broker wants one.
    pub(super) sasl: Option<Sasl>,
    /// The session of that identity, if it has an end.
    pub(super) session: Option<Session>,
}

impl Connection {
    /// Connects to `host:port`, negotiates versions (KIP-35), and authenticates if that is configured. Without a
    /// connector the name is resolved each time, and each of its addresses is tried (KIP-602).
    ///
    /// # Errors
    ///
    /// The broker cannot be reached or does not answer in time, or a handshake fails.
    pub async fn open(address: &str, config: &ClusterConfig) -> Result<Self, WireError> {
        let failed = |error| WireError::Connect { address: address.to_owned(), error };
        let openings: Vec<_> = match &config.connector {
            Some(connector) => vec![connector.connect(address)],
            None => timeout(config.connect_timeout, lookup_host(address))
                .await
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
                .map_err(failed)?
                .map(|socket| tcp(socket) as Opening<'_>)
                .collect(),
        };
        let attempts = openings.into_iter().map(|opening| Self::negotiate(address, opening, config).boxed());
        let opened = first_success(attempts.collect()).await;
        // The error of the last address: it is of the family that this machine has, if it lacks one.
        let opened = opened.map_err(|mut errors| {
            errors.pop().unwrap_or_else(|| failed(io::Error::other("the name has no address")))
        });
        let mut connection = opened.map_err(|error| error.or_handshake_error(address))?;
        if let Some(sasl) = &config.security.sasl {
            connection.authenticate(sasl).await?;
        }
        Ok(connection)
    }

    async fn negotiate(
        address: &str,
        opening: Opening<'_>,
        config: &ClusterConfig,
    ) -> Result<Self, WireError> {
        let stream = timeout(config.connect_timeout, secured(address, opening, &config.security))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|error| WireError::Connect { address: address.to_owned(), error })?;
        let mut connection = Self {
            stream,
            address: address.to_owned(),
            client_id: StrBytes::from_string(config.client_id.clone()),
            request_timeout: config.request_timeout,
            correlation: 0,
            versions: vec![(ApiKey::ApiVersions as i16, 0..=0)],
            unusable: false,
            answered: Instant::now(),
            sasl: config.security.sasl.clone(),
            session: None,
        };
        // This finds a broker that hangs: the system accepts connections for it.
        let request = ApiVersionsRequest::default();
        let response = connection.call_within(&request, 0..=0, config.connect_timeout).await?;
        WireError::check("ApiVersions", response.error_code)?;
        connection.versions =
            response.api_keys.iter().map(|api| (api.api_key, api.min_version..=api.max_version)).collect();
        Ok(connection)
    }

    /// The session of the client's identity, if it has an end.
    pub(crate) fn session(&self) -> Option<Session> {
        self.session
    }

    /// The broker's `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The timeout of a request that the broker does not hold on purpose.
    pub(super) fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    /// Whether an earlier call left the stream out of step, or the connection was idle for too long.
    pub fn is_unusable(&self) -> bool {
        self.unusable || self.answered.elapsed() > LONGEST_IDLE
    }

    /// The newest version of a request that both sides speak, of those in `known`.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn version<R: Request>(&self, known: RangeInclusive<i16>) -> Result<i16, WireError> {
        let spoken = self.versions.iter().find(|(key, _)| *key == R::KEY).map(|(_, versions)| versions);
        let spoken = spoken.ok_or(WireError::Unsupported(name_of::<R>()))?;
        let newest = *known.end().min(spoken.end()).min(&R::VERSIONS.max);
        if newest < *known.start().max(spoken.start()) {
            return Err(WireError::Unsupported(name_of::<R>()));
        }
        Ok(newest)
    }

    /// Sends a request in the newest version of `known` that both sides speak, and waits for the response within the
    /// request timeout.
    ///
    /// # Errors
    ///
    /// There is no such version, no response in time, or a malformed one. An error code in the response is no error
    /// here.
    pub async fn call<R: Request>(
        &mut self,
        request: &R,
        known: RangeInclusive<i16>,
    ) -> Result<R::Response, WireError> {
        self.call_within(request, known, self.request_timeout).await
    }

    /// As [`Connection::call`], with a timeout of its own, for a request that the broker holds on purpose.
    ///
    /// # Errors
    ///
    /// As [`Connection::call`].
    pub async fn call_within<R: Request>(
        &mut self,
        request: &R,
        known: RangeInclusive<i16>,
        within: Duration,
    ) -> Result<R::Response, WireError> {
        let (body, version) = self.call_raw(request, known, within, MAX_RESPONSE).await?;
        let response = decode(body, version);
        self.unusable = response.is_err();
        response.map_err(|error| WireError::Malformed { what: name_of::<R>(), reason: error.to_string() })
    }

    /// As [`Connection::call_within`], for a response of at most `most` bytes, which is not decoded; with its version.
    pub(super) async fn call_raw<R: Request>(
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
        if self.session.is_some_and(|session| session.is_nearly_over()) {
            self.renew_session().await?;
        }
        let malformed = |reason| WireError::Malformed { what, reason };
        let frame = self.encode(request, version).map_err(malformed)?;
        self.unusable = true;
        let response = self.exchange_within(what, frame, within, most).await?;
        let body = self.body(response, R::Response::header_version(version)).map_err(malformed)?;
        (self.unusable, self.answered) = (false, Instant::now());
        Ok((body, version))
    }

    fn broken(&self, error: io::Error) -> WireError {
        WireError::Broken { address: self.address.clone(), error }
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

    /// Boxed: unlike its callers this is compiled once, not once a request type.
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
                Ok(Err(error)) => Err(self.broken(error)),
                Ok(Ok(body)) => Ok(body),
            }
        })
    }

    async fn exchange(&mut self, frame: &[u8], most: usize) -> io::Result<Bytes> {
        self.stream.write_all(frame).await?;
        // TLS buffers.
        self.stream.flush().await?;
        // Most responses come whole with the first read. Nothing follows: the next request waits for this response.
        let mut response = BytesMut::with_capacity(FIRST_READ);
        while response.len() < size_of::<i32>() {
            self.read_some(&mut response, FIRST_READ).await?;
        }
        let length = usize::try_from(response.get_i32()).ok().filter(|length| *length <= most);
        let length = length.ok_or_else(|| io::Error::other("an answer of impossible length"))?;
        while response.len() < length {
            let wanted = (length - response.len()).min(READ_STEP);
            self.read_some(&mut response, wanted).await?;
        }
        if response.len() > length {
            return Err(io::Error::other("more than the answer"));
        }
        Ok(response.freeze())
    }

    /// Reads at least one byte, and at most `most`.
    async fn read_some(&mut self, response: &mut BytesMut, most: usize) -> io::Result<()> {
        response.reserve(most);
        match (&mut self.stream).take(most as u64).read_buf(response).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// The body of the response, if its correlation id is that of the last request.
    fn body(&self, mut response: Bytes, header_version: i16) -> Result<Bytes, String> {
        let header =
            ResponseHeader::decode(&mut response, header_version).map_err(|error| error.to_string())?;
        if header.correlation_id != self.correlation {
            return Err(format!("answers request {}, not {}", header.correlation_id, self.correlation));
        }
        Ok(response)
    }
}

/// `JoinGroup` for `kafka_protocol::messages::…::JoinGroupRequest`.
fn name_of<R>() -> &'static str {
    let path = type_name::<R>();
    let name = path.rsplit("::").next().unwrap_or(path);
    name.strip_suffix("Request").unwrap_or(name)
}
