//! The handlers: one request in, one response out. A file has a family of APIs.

mod commits;
mod configs;
mod consumer_groups;
mod fetch;
mod groups;
mod membership;
mod metadata;
mod positions;
mod produce;
mod topics;
mod transactions;
mod versions;

use std::{io, net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    ResponseError,
    messages::{ApiKey, ResponseHeader},
    protocol::{Encodable, HeaderVersion, Request, StrBytes, decode_request_header_from_buffer},
};

use super::{requests, state::Shared};

/// A request, and a fault for it.
pub(super) struct Call<'a> {
    /// Header and body.
    pub(super) request: Bytes,
    pub(super) peer: SocketAddr,
    pub(super) shared: &'a Shared,
    /// Refuses it with this error.
    pub(super) refuse_with: Option<ResponseError>,
    /// Throttles the client for so long.
    pub(super) throttle: Duration,
}

/// A request that the broker handles.
trait Answered: Request {
    /// Handles it.
    async fn answer(self, context: &Context<'_>) -> Self::Response;

    /// A response with that error for all that was asked, or with success.
    fn refuse(&self, error: i16) -> Self::Response;

    /// As [`Answered::refuse`], with the fields that a response has beside every error.
    fn refuse_in(&self, _: &Context<'_>, error: i16) -> Self::Response {
        self.refuse(error)
    }

    /// Whether the client waits for a response. If not, `has_failed` breaks its connection.
    fn wants_answer(&self) -> bool {
        true
    }

    /// Whether a response that the client does not wait for has an error.
    fn has_failed(_: &Self::Response) -> bool {
        false
    }
}

/// The context of a request.
struct Context<'a> {
    shared: &'a Shared,
    version: i16,
    client_id: String,
    peer: SocketAddr,
    throttle: Duration,
}

/// Host and port of an address.
fn host_and_port(address: SocketAddr) -> (StrBytes, i32) {
    (StrBytes::from_string(address.ip().to_string()), address.port().into())
}

/// Whether a request is for the node that coordinates groups.
fn is_for_coordinator(api: ApiKey) -> bool {
    use ApiKey as A;
    matches!(
        api,
        A::JoinGroup
            | A::SyncGroup
            | A::Heartbeat
            | A::LeaveGroup
            | A::OffsetCommit
            | A::OffsetFetch
            | A::TxnOffsetCommit
            | A::DescribeGroups
            | A::ListGroups
            | A::DeleteGroups
            | A::ConsumerGroupHeartbeat
            | A::ConsumerGroupDescribe
    )
}

/// Calls the handler of a request. The response begins with its length; it is `None` if none is
/// wanted. An error breaks the connection.
pub(super) async fn dispatch(api: ApiKey, call: Call<'_>) -> io::Result<Option<Bytes>> {
    macro_rules! by_key {
        ($($key:ident => $request:ident),* $(,)?) => {
            match api {
                $(ApiKey::$key => serve::<kafka_protocol::messages::$request>(api, call).await,)*
                _ => Err(io::ErrorKind::Unsupported.into()),
            }
        };
    }
    by_key! {
        Produce => ProduceRequest,
        Fetch => FetchRequest,
        ListOffsets => ListOffsetsRequest,
        Metadata => MetadataRequest,
        OffsetCommit => OffsetCommitRequest,
        OffsetFetch => OffsetFetchRequest,
        FindCoordinator => FindCoordinatorRequest,
        JoinGroup => JoinGroupRequest,
        Heartbeat => HeartbeatRequest,
        LeaveGroup => LeaveGroupRequest,
        SyncGroup => SyncGroupRequest,
        DescribeGroups => DescribeGroupsRequest,
        ListGroups => ListGroupsRequest,
        ApiVersions => ApiVersionsRequest,
        CreateTopics => CreateTopicsRequest,
        DeleteTopics => DeleteTopicsRequest,
        DeleteRecords => DeleteRecordsRequest,
        InitProducerId => InitProducerIdRequest,
        OffsetForLeaderEpoch => OffsetForLeaderEpochRequest,
        AddPartitionsToTxn => AddPartitionsToTxnRequest,
        AddOffsetsToTxn => AddOffsetsToTxnRequest,
        EndTxn => EndTxnRequest,
        TxnOffsetCommit => TxnOffsetCommitRequest,
        DescribeConfigs => DescribeConfigsRequest,
        CreatePartitions => CreatePartitionsRequest,
        DeleteGroups => DeleteGroupsRequest,
        ConsumerGroupHeartbeat => ConsumerGroupHeartbeatRequest,
        ConsumerGroupDescribe => ConsumerGroupDescribeRequest,
    }
}

async fn serve<R: Answered>(api: ApiKey, call: Call<'_>) -> io::Result<Option<Bytes>> {
    let mut rest = call.request.clone();
    let asked = call.request.get(2..4).ok_or(io::ErrorKind::InvalidData)?;
    let options = &call.shared.options;
    if !versions::is_spoken(options, api, i16::from_be_bytes([asked[0], asked[1]])) {
        if api == ApiKey::ApiVersions {
            return versions::refuse(options, &call.request).map(Some);
        }
        return Err(io::ErrorKind::Unsupported.into());
    }
    let header = decode_request_header_from_buffer(&mut rest).map_err(io::Error::other)?;
    let version = header.request_api_version;
    let request: R = requests::decode(&mut rest, version)?;
    let wants_answer = request.wants_answer();
    let context = Context {
        shared: call.shared,
        version,
        client_id: header.client_id.map(|id| text(&id)).unwrap_or_default(),
        peer: call.peer,
        throttle: call.throttle,
    };
    let not_here = || match is_for_coordinator(api) {
        true => call.shared.with(|state| state.coordination.check()).err().map(|error| refusal(api, error)),
        false => None,
    };
    let answer = match call.refuse_with.map(|error| error.code()).or_else(not_here) {
        Some(error) => request.refuse_in(&context, error),
        None => request.answer(&context).await,
    };
    match (wants_answer, R::has_failed(&answer)) {
        (true, _) => frame(header.correlation_id, &answer, version).map(Some),
        (false, false) => Ok(None),
        // As Kafka tells a producer with acks=0 (`KafkaApis.handleProduceRequest`).
        (false, true) => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}

/// The error code for a request that this node's coordinator does not take. While it loads its groups, it answers heartbeats
/// blindly, and has members join again (`GroupCoordinator.handleHeartbeat` and `.handleSyncGroup`).
fn refusal(api: ApiKey, error: ResponseError) -> i16 {
    match (api, error) {
        (ApiKey::Heartbeat, ResponseError::CoordinatorLoadInProgress) => 0,
        (ApiKey::SyncGroup, ResponseError::CoordinatorLoadInProgress) => {
            ResponseError::RebalanceInProgress.code()
        }
        _ => error.code(),
    }
}

fn frame<A: Encodable + HeaderVersion>(correlation: i32, answer: &A, version: i16) -> io::Result<Bytes> {
    let mut bytes = BytesMut::zeroed(4);
    let header = ResponseHeader::default().with_correlation_id(correlation);
    header.encode(&mut bytes, A::header_version(version)).map_err(io::Error::other)?;
    answer.encode(&mut bytes, version).map_err(io::Error::other)?;
    let length = i32::try_from(bytes.len() - 4).map_err(io::Error::other)?;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    Ok(bytes.freeze())
}

/// The error code of a result.
fn code<T>(result: Result<T, ResponseError>) -> i16 {
    result.err().map_or(0, |error| error.code())
}

fn text(bytes: &StrBytes) -> String {
    bytes.as_str().to_owned()
}
