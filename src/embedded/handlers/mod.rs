//! One request in, one answer out; a file a family of APIs.

mod coordination;
mod data;
mod membership;
mod topics;
mod transactions;

use std::{io, net::SocketAddr};

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::{
    ResponseError,
    messages::{
        ApiKey, ApiVersionsRequest, ApiVersionsResponse, ResponseHeader, api_versions_response::ApiVersion,
    },
    protocol::{Encodable, HeaderVersion, Request, decode_request_header_from_buffer},
};

use super::state::Shared;

/// What this broker speaks: from which version, to which.
const VERSIONS: &[(ApiKey, i16, i16)] = &[
    (ApiKey::Produce, 3, 9),
    (ApiKey::Fetch, 4, 11),
    (ApiKey::ListOffsets, 1, 6),
    (ApiKey::Metadata, 0, 12),
    (ApiKey::OffsetCommit, 2, 8),
    (ApiKey::OffsetFetch, 1, 7),
    (ApiKey::FindCoordinator, 0, 3),
    (ApiKey::JoinGroup, 0, 9),
    (ApiKey::Heartbeat, 0, 4),
    (ApiKey::LeaveGroup, 0, 5),
    (ApiKey::SyncGroup, 0, 5),
    (ApiKey::DescribeGroups, 0, 5),
    (ApiKey::ListGroups, 0, 4),
    (ApiKey::ApiVersions, 0, 3),
    (ApiKey::CreateTopics, 2, 7),
    (ApiKey::DeleteTopics, 1, 5),
    (ApiKey::InitProducerId, 0, 4),
    (ApiKey::AddPartitionsToTxn, 0, 3),
    (ApiKey::EndTxn, 0, 3),
    (ApiKey::DescribeConfigs, 1, 4),
    (ApiKey::CreatePartitions, 0, 3),
];

/// A request on its way, and what to do it with.
pub(super) struct Call<'a> {
    /// Header and body.
    pub(super) request: Bytes,
    pub(super) peer: SocketAddr,
    pub(super) shared: &'a Shared,
    /// Refuse it with this error, whatever it asks.
    pub(super) refuse_with: Option<ResponseError>,
}

/// A request that this broker answers.
pub(super) trait Answered: Request {
    /// Does what is asked; `None` where no answer is wanted.
    async fn answer(self, context: &Context<'_>) -> Option<Self::Response>;

    /// An answer of the right shape that says only this error.
    fn refuse(&self, error: i16) -> Self::Response;
}

/// What a handler knows beside its request.
pub(super) struct Context<'a> {
    pub(super) shared: &'a Shared,
    pub(super) version: i16,
    pub(super) client_id: String,
    pub(super) peer: SocketAddr,
}

/// Hands the request to its handler. Errors are what breaks a connection.
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
        InitProducerId => InitProducerIdRequest,
        AddPartitionsToTxn => AddPartitionsToTxnRequest,
        EndTxn => EndTxnRequest,
        DescribeConfigs => DescribeConfigsRequest,
        CreatePartitions => CreatePartitionsRequest,
    }
}

async fn serve<R: Answered>(api: ApiKey, call: Call<'_>) -> io::Result<Option<Bytes>> {
    let mut rest = call.request.clone();
    let asked =
        i16::from_be_bytes([call.request[2], *call.request.get(3).ok_or(io::ErrorKind::InvalidData)?]);
    let spoken = VERSIONS.iter().find(|(key, ..)| *key == api).map(|(_, min, max)| *min..=*max);
    if !spoken.is_some_and(|spoken| spoken.contains(&asked)) {
        if api == ApiKey::ApiVersions {
            return refuse_version(&call.request).map(Some);
        }
        return Err(io::ErrorKind::Unsupported.into());
    }
    let header = decode_request_header_from_buffer(&mut rest).map_err(io::Error::other)?;
    let version = header.request_api_version;
    let request = R::decode(&mut rest, version).map_err(io::Error::other)?;
    let context = Context {
        shared: call.shared,
        version,
        client_id: header.client_id.map(|id| id.as_str().to_owned()).unwrap_or_default(),
        peer: call.peer,
    };
    let answer = match call.refuse_with {
        Some(error) => Some(request.refuse(error.code())),
        None => request.answer(&context).await,
    };
    answer.map(|answer| frame(header.correlation_id, &answer, version)).transpose()
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

/// A client that asks in a version from the future is told what there is in the oldest form (KIP-35).
fn refuse_version(request: &[u8]) -> io::Result<Bytes> {
    let correlation = request.get(4..8).ok_or(io::ErrorKind::InvalidData)?;
    let mut answer = versions();
    answer.error_code = ResponseError::UnsupportedVersion.code();
    let mut bytes = BytesMut::new();
    bytes.put_slice(&[0; 4]);
    bytes.put_slice(correlation);
    answer.encode(&mut bytes, 0).map_err(io::Error::other)?;
    let length = i32::try_from(bytes.len() - 4).map_err(io::Error::other)?;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    Ok(bytes.freeze())
}

fn versions() -> ApiVersionsResponse {
    let versions = VERSIONS.iter().map(|(key, min, max)| {
        ApiVersion::default().with_api_key(*key as i16).with_min_version(*min).with_max_version(*max)
    });
    ApiVersionsResponse::default().with_api_keys(versions.collect())
}

impl Answered for ApiVersionsRequest {
    async fn answer(self, _: &Context<'_>) -> Option<ApiVersionsResponse> {
        Some(versions())
    }

    fn refuse(&self, error: i16) -> ApiVersionsResponse {
        ApiVersionsResponse::default().with_error_code(error)
    }
}
