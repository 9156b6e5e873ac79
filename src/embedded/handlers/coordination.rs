//! The coordinator and what it keeps: FindCoordinator, OffsetCommit, OffsetFetch, DescribeGroups, ListGroups.

use std::collections::BTreeMap;

use kafka_protocol::{
    ResponseError,
    messages::{
        DescribeGroupsRequest, DescribeGroupsResponse, FindCoordinatorRequest, FindCoordinatorResponse,
        GroupId, ListGroupsRequest, ListGroupsResponse, OffsetCommitRequest, OffsetCommitResponse,
        OffsetFetchRequest, OffsetFetchResponse, TopicName,
        describe_groups_response::{DescribedGroup, DescribedGroupMember},
        list_groups_response::ListedGroup,
        offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
        offset_fetch_response::{OffsetFetchResponsePartition, OffsetFetchResponseTopic},
    },
    protocol::StrBytes,
};

use super::{Answered, Context, topics::NODE};

impl Answered for FindCoordinatorRequest {
    async fn answer(self, context: &Context<'_>) -> Option<FindCoordinatorResponse> {
        let address = context.shared.address();
        let answer = FindCoordinatorResponse::default()
            .with_node_id(NODE)
            .with_host(StrBytes::from_string(address.ip().to_string()))
            .with_port(address.port().into());
        Some(answer)
    }

    fn refuse(&self, error: i16) -> FindCoordinatorResponse {
        FindCoordinatorResponse::default().with_error_code(error)
    }
}

impl Answered for OffsetCommitRequest {
    async fn answer(self, context: &Context<'_>) -> Option<OffsetCommitResponse> {
        let committed = context.shared.change(|state| {
            let group = state.groups.entry(self.group_id.as_str().to_owned()).or_default();
            group.may_commit(&self.member_id, self.generation_id_or_member_epoch)?;
            for topic in &self.topics {
                for partition in &topic.partitions {
                    let metadata = partition.committed_metadata.as_ref().map(|text| text.as_str().to_owned());
                    let (index, offset) = (partition.partition_index, partition.committed_offset);
                    group.commit(&topic.name, index, offset, metadata.unwrap_or_default());
                }
            }
            Ok::<_, ResponseError>(())
        });
        Some(self.refuse(committed.err().map_or(0, |error| error.code())))
    }

    fn refuse(&self, error: i16) -> OffsetCommitResponse {
        let topics = self.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                OffsetCommitResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(error)
            });
            OffsetCommitResponseTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        OffsetCommitResponse::default().with_topics(topics.collect())
    }
}

impl Answered for OffsetFetchRequest {
    async fn answer(self, context: &Context<'_>) -> Option<OffsetFetchResponse> {
        let topics = context.shared.with(|state| {
            let group = state.groups.get(self.group_id.as_str());
            let mut wanted: BTreeMap<String, Vec<i32>> = BTreeMap::new();
            match &self.topics {
                Some(topics) => wanted.extend(
                    topics
                        .iter()
                        .map(|topic| (topic.name.as_str().to_owned(), topic.partition_indexes.clone())),
                ),
                None => group.into_iter().flat_map(|group| group.offsets()).for_each(|(topic, partition)| {
                    wanted.entry(topic.to_owned()).or_default().push(partition);
                }),
            }
            let topics = wanted.into_iter().map(|(topic, partitions)| {
                let partitions = partitions.into_iter().map(|partition| {
                    let offset = group.and_then(|group| group.committed(&topic, partition)).unwrap_or(-1);
                    OffsetFetchResponsePartition::default()
                        .with_partition_index(partition)
                        .with_committed_offset(offset)
                        .with_metadata(Some(StrBytes::default()))
                });
                let partitions = partitions.collect();
                OffsetFetchResponseTopic::default()
                    .with_name(TopicName(StrBytes::from_string(topic)))
                    .with_partitions(partitions)
            });
            topics.collect()
        });
        Some(OffsetFetchResponse::default().with_topics(topics))
    }

    fn refuse(&self, error: i16) -> OffsetFetchResponse {
        OffsetFetchResponse::default().with_error_code(error)
    }
}

impl Answered for DescribeGroupsRequest {
    async fn answer(self, context: &Context<'_>) -> Option<DescribeGroupsResponse> {
        let host = StrBytes::from_string(format!("/{}", context.peer.ip()));
        let groups = context.shared.with(|state| {
            let described = self.groups.iter().map(|id| {
                let answer = DescribedGroup::default().with_group_id(id.clone());
                let Some(group) = state.groups.get(id.as_str()) else {
                    return answer.with_group_state(StrBytes::from_static_str("Dead"));
                };
                let members = group.members.iter().map(|(id, member)| {
                    let metadata = member.protocols.iter().find(|(name, _)| *name == group.protocol);
                    DescribedGroupMember::default()
                        .with_member_id(StrBytes::from_string(id.clone()))
                        .with_group_instance_id(member.instance.clone().map(StrBytes::from_string))
                        .with_client_id(StrBytes::from_string(member.client_id.clone()))
                        .with_client_host(host.clone())
                        .with_member_metadata(
                            metadata.map(|(_, metadata)| metadata.clone()).unwrap_or_default(),
                        )
                        .with_member_assignment(member.assignment.clone())
                });
                answer
                    .with_group_state(StrBytes::from_static_str(group.phase.name()))
                    .with_protocol_type(StrBytes::from_string(group.protocol_type.clone()))
                    .with_protocol_data(StrBytes::from_string(group.protocol.clone()))
                    .with_members(members.collect())
            });
            described.collect()
        });
        Some(DescribeGroupsResponse::default().with_groups(groups))
    }

    fn refuse(&self, error: i16) -> DescribeGroupsResponse {
        let groups = self
            .groups
            .iter()
            .map(|id| DescribedGroup::default().with_group_id(id.clone()).with_error_code(error));
        DescribeGroupsResponse::default().with_groups(groups.collect())
    }
}

impl Answered for ListGroupsRequest {
    async fn answer(self, context: &Context<'_>) -> Option<ListGroupsResponse> {
        let groups = context.shared.with(|state| {
            let listed = state.groups.iter().map(|(id, group)| {
                let listed = ListedGroup::default()
                    .with_group_id(GroupId(StrBytes::from_string(id.clone())))
                    .with_protocol_type(StrBytes::from_string(group.protocol_type.clone()));
                match context.version {
                    ..4 => listed,
                    _ => listed.with_group_state(StrBytes::from_static_str(group.phase.name())),
                }
            });
            listed.collect()
        });
        Some(ListGroupsResponse::default().with_groups(groups))
    }

    fn refuse(&self, error: i16) -> ListGroupsResponse {
        ListGroupsResponse::default().with_error_code(error)
    }
}
