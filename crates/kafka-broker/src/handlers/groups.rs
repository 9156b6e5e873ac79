//! Groups for clients that are no members: FindCoordinator, DescribeGroups, ListGroups, DeleteGroups.

use std::collections::HashMap;

use kafka_protocol::{
    ResponseError,
    messages::{
        DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
        FindCoordinatorRequest, FindCoordinatorResponse, GroupId, ListGroupsRequest, ListGroupsResponse,
        delete_groups_response::DeletableGroupResult,
        describe_groups_response::{DescribedGroup, DescribedGroupMember},
        find_coordinator_response::Coordinator,
        list_groups_response::ListedGroup,
    },
    protocol::StrBytes,
};

use super::{Answered, Context, host_and_port};
use crate::groups::{ClassicGroup, Group, Phase};

/// The first version of ListGroups with states (KIP-518).
const LISTS_STATES: i16 = 4;

impl Answered for FindCoordinatorRequest {
    async fn answer(self, context: &Context<'_>) -> FindCoordinatorResponse {
        let Some((node, address)) = context.shared.with(|state| state.image().coordinator()) else {
            return self.refuse(ResponseError::CoordinatorNotAvailable.code());
        };
        let (host, port) = host_and_port(address);
        if self.coordinator_keys.is_empty() {
            return FindCoordinatorResponse::default()
                .with_node_id(node.into())
                .with_host(host)
                .with_port(port);
        }
        let coordinators = self.coordinator_keys.into_iter().map(|key| {
            Coordinator::default()
                .with_key(key)
                .with_node_id(node.into())
                .with_host(host.clone())
                .with_port(port)
        });
        FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
    }

    fn refuse(&self, error: i16) -> FindCoordinatorResponse {
        if self.coordinator_keys.is_empty() {
            return FindCoordinatorResponse::default().with_error_code(error).with_node_id((-1).into());
        }
        let coordinators = self.coordinator_keys.iter().map(|key| {
            Coordinator::default().with_key(key.clone()).with_node_id((-1).into()).with_error_code(error)
        });
        FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
    }
}

impl Answered for DescribeGroupsRequest {
    async fn answer(self, context: &Context<'_>) -> DescribeGroupsResponse {
        let groups = context.shared.with(|state| {
            let described = self.groups.iter().map(|id| {
                let answer = DescribedGroup::default().with_group_id(id.clone());
                // One of the other protocol is described by ConsumerGroupDescribe.
                match state.groups.get(id.as_str()).and_then(|group| group.classic()) {
                    Some(group) => described(answer, group, context.version),
                    None => answer.with_group_state(StrBytes::from_static_str("Dead")),
                }
            });
            described.collect()
        });
        DescribeGroupsResponse::default().with_groups(groups)
    }

    fn refuse(&self, error: i16) -> DescribeGroupsResponse {
        let groups = self
            .groups
            .iter()
            .map(|id| DescribedGroup::default().with_group_id(id.clone()).with_error_code(error));
        DescribeGroupsResponse::default().with_groups(groups.collect())
    }
}

/// The first version of DescribeGroups with instance ids (KIP-345).
const DESCRIBES_INSTANCES: i16 = 4;

/// Metadata and assignments are shown while the group is stable (`GroupMetadata.summary`).
fn described(answer: DescribedGroup, group: &ClassicGroup, version: i16) -> DescribedGroup {
    let stable = group.phase() == Phase::Stable;
    let members = group.members().iter().map(|(id, member)| {
        let instance = member.instance().filter(|_| version >= DESCRIBES_INSTANCES);
        let described = DescribedGroupMember::default()
            .with_member_id(StrBytes::from_string(id.clone()))
            .with_group_instance_id(instance.map(|name| StrBytes::from_string(name.to_owned())))
            .with_client_id(StrBytes::from_string(member.client_id().to_owned()))
            .with_client_host(StrBytes::from_string(member.host().to_owned()));
        if !stable {
            return described;
        }
        described
            .with_member_metadata(member.metadata(group.protocol()))
            .with_member_assignment(member.assignment().clone())
    });
    let protocol = if stable { group.protocol() } else { "" };
    answer
        .with_group_state(StrBytes::from_static_str(group.phase().name()))
        .with_protocol_type(StrBytes::from_string(group.protocol_type().to_owned()))
        .with_protocol_data(StrBytes::from_string(protocol.to_owned()))
        .with_members(members.collect())
}

impl Answered for ListGroupsRequest {
    async fn answer(self, context: &Context<'_>) -> ListGroupsResponse {
        let groups = context.shared.with(|state| {
            let wanted = |group: &Group| {
                let state = group.state();
                self.states_filter.is_empty() || self.states_filter.iter().any(|name| name.as_str() == state)
            };
            let listed = state.groups.iter().filter(|(_, group)| wanted(group)).map(|(id, group)| {
                let listed = ListedGroup::default()
                    .with_group_id(GroupId(StrBytes::from_string(id.clone())))
                    .with_protocol_type(StrBytes::from_string(group.protocol_type().to_owned()));
                match context.version {
                    ..LISTS_STATES => listed,
                    _ => listed.with_group_state(StrBytes::from_static_str(group.state())),
                }
            });
            listed.collect()
        });
        ListGroupsResponse::default().with_groups(groups)
    }

    fn refuse(&self, error: i16) -> ListGroupsResponse {
        ListGroupsResponse::default().with_error_code(error)
    }
}

impl Answered for DeleteGroupsRequest {
    async fn answer(self, context: &Context<'_>) -> DeleteGroupsResponse {
        let results = context.shared.change(|state| {
            let deleted = self.groups_names.iter().map(|id| {
                let error = super::code(delete(&mut state.groups, id));
                DeletableGroupResult::default().with_group_id(id.clone()).with_error_code(error)
            });
            deleted.collect()
        });
        DeleteGroupsResponse::default().with_results(results)
    }

    fn refuse(&self, error: i16) -> DeleteGroupsResponse {
        let results = self
            .groups_names
            .iter()
            .map(|id| DeletableGroupResult::default().with_group_id(id.clone()).with_error_code(error));
        DeleteGroupsResponse::default().with_results(results.collect())
    }
}

fn delete(groups: &mut HashMap<String, Group>, id: &GroupId) -> Result<(), ResponseError> {
    match groups.get(id.as_str()).map(Group::is_empty) {
        None => Err(ResponseError::GroupIdNotFound),
        Some(true) => {
            groups.remove(id.as_str());
            Ok(())
        }
        Some(false) => Err(ResponseError::NonEmptyGroup),
    }
}
