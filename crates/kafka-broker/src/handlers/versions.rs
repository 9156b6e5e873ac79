//! ApiVersions (KIP-35).

use std::io;

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    ResponseError,
    messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse, api_versions_response::ApiVersion},
};

use super::{Answered, Context, frame};
use crate::Options;

/// The versions of each API. The lower ends are kafka-protocol's; the upper ones are Kafka 3.4's, or the last
/// one before a change of meaning (batches of transactions in AddPartitionsToTxn 4). KIP-848 added the rest in Kafka 4.0.
const VERSIONS: &[(ApiKey, i16, i16)] = &[
    (ApiKey::Produce, 3, 9),
    (ApiKey::Fetch, 4, 13),
    (ApiKey::ListOffsets, 1, 7),
    (ApiKey::Metadata, 0, 12),
    (ApiKey::OffsetCommit, 2, 9),
    (ApiKey::OffsetFetch, 1, 9),
    (ApiKey::FindCoordinator, 0, 4),
    (ApiKey::JoinGroup, 0, 9),
    (ApiKey::Heartbeat, 0, 4),
    (ApiKey::LeaveGroup, 0, 5),
    (ApiKey::SyncGroup, 0, 5),
    (ApiKey::DescribeGroups, 0, 5),
    (ApiKey::ListGroups, 0, 4),
    (ApiKey::ApiVersions, 0, 3),
    (ApiKey::CreateTopics, 2, 7),
    (ApiKey::DeleteTopics, 1, 6),
    (ApiKey::DeleteRecords, 0, 2),
    (ApiKey::InitProducerId, 0, 4),
    (ApiKey::OffsetForLeaderEpoch, 2, 4),
    (ApiKey::AddPartitionsToTxn, 0, 3),
    (ApiKey::AddOffsetsToTxn, 0, 3),
    (ApiKey::EndTxn, 0, 3),
    (ApiKey::TxnOffsetCommit, 0, 3),
    (ApiKey::DescribeConfigs, 1, 4),
    (ApiKey::CreatePartitions, 0, 3),
    (ApiKey::DeleteGroups, 0, 2),
    (ApiKey::ConsumerGroupHeartbeat, 0, 1),
    (ApiKey::ConsumerGroupDescribe, 0, 1),
];

pub(super) fn is_spoken(options: &Options, api: ApiKey, version: i16) -> bool {
    versions(options).any(|(key, min, max)| key == api && (min..=max).contains(&version))
}

/// The part of [`VERSIONS`] that it speaks.
fn versions(options: &Options) -> impl Iterator<Item = (ApiKey, i16, i16)> {
    let newest = |api, max: i16| {
        let mut lacking = options.lacks.iter().filter(move |(lacking, _)| *lacking == api);
        lacking.next().map_or(max, |(_, from)| max.min(from - 1))
    };
    let spoken = VERSIONS.iter().map(move |(api, min, max)| (*api, *min, newest(*api, *max)));
    spoken.filter(|(_, min, max)| min <= max)
}

/// A client with a newer version of ApiVersions gets the versions in the oldest form.
pub(super) fn refuse(options: &Options, request: &Bytes) -> io::Result<Bytes> {
    let correlation = request.get(4..8).ok_or(io::ErrorKind::InvalidData)?;
    let spoken = spoken(options, ResponseError::UnsupportedVersion.code());
    let mut frame = BytesMut::from(&frame(0, &spoken, 0)?[..]);
    frame[4..8].copy_from_slice(correlation);
    Ok(frame.freeze())
}

fn spoken(options: &Options, error: i16) -> ApiVersionsResponse {
    let versions = versions(options).map(|(key, min, max)| {
        ApiVersion::default().with_api_key(key as i16).with_min_version(min).with_max_version(max)
    });
    ApiVersionsResponse::default().with_error_code(error).with_api_keys(versions.collect())
}

impl Answered for ApiVersionsRequest {
    async fn answer(self, context: &Context<'_>) -> ApiVersionsResponse {
        spoken(&context.shared.options, 0)
    }

    fn refuse(&self, error: i16) -> ApiVersionsResponse {
        ApiVersionsResponse::default().with_error_code(error)
    }
}
