//! Being in a group: JoinGroup, SyncGroup, Heartbeat, LeaveGroup.

use std::time::Duration;

use kafka_protocol::{
    ResponseError,
    messages::{
        HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
        LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
        join_group_response::JoinGroupResponseMember, leave_group_response::MemberResponse,
    },
    protocol::StrBytes,
};

use super::{Answered, Context};
use crate::embedded::groups::{Admission, Joined, Joining};

/// The first version of JoinGroup whose clients know that they are given an id first (KIP-394).
const KNOWS_MEMBER_ID_REQUIRED: i16 = 4;

impl Answered for JoinGroupRequest {
    async fn answer(self, context: &Context<'_>) -> Option<JoinGroupResponse> {
        let group = self.group_id.as_str().to_owned();
        let protocols =
            self.protocols.iter().map(|protocol| (text(&protocol.name), protocol.metadata.clone()));
        let joining = Joining {
            member: text(&self.member_id),
            instance: self.group_instance_id.as_ref().map(text),
            client_id: context.client_id.clone(),
            protocol_type: text(&self.protocol_type),
            protocols: protocols.collect(),
            session_timeout: millis(self.session_timeout_ms),
            rebalance_timeout: millis(self.rebalance_timeout_ms.max(self.session_timeout_ms)),
            needs_known_id: context.version >= KNOWS_MEMBER_ID_REQUIRED,
        };
        let admission =
            context.shared.change(|state| state.groups.entry(group.clone()).or_default().join(joining));
        let id = match admission {
            Admission::Waits(id) => id,
            Admission::Same(joined) => return Some(told(joined, &self)),
            Admission::NeedsId(id) => {
                let needed = self.refuse(ResponseError::MemberIdRequired.code());
                return Some(needed.with_member_id(StrBytes::from_string(id)));
            }
            Admission::Refused(error) => return Some(self.refuse(error.code())),
        };
        match context.shared.forever(|state| state.groups.get(&group)?.joined(&id)).await? {
            Ok(joined) => Some(told(joined, &self)),
            Err(error) => Some(self.refuse(error.code())),
        }
    }

    fn refuse(&self, error: i16) -> JoinGroupResponse {
        JoinGroupResponse::default()
            .with_error_code(error)
            .with_generation_id(-1)
            .with_member_id(self.member_id.clone())
            .with_protocol_name(Some(StrBytes::default()))
    }
}

fn told(joined: Joined, request: &JoinGroupRequest) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|(member, instance, metadata)| {
        JoinGroupResponseMember::default()
            .with_member_id(StrBytes::from_string(member))
            .with_group_instance_id(instance.map(StrBytes::from_string))
            .with_metadata(metadata)
    });
    JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_type(Some(request.protocol_type.clone()))
        .with_protocol_name(Some(StrBytes::from_string(joined.protocol)))
        .with_leader(StrBytes::from_string(joined.leader))
        .with_member_id(StrBytes::from_string(joined.member))
        .with_members(members.collect())
}

impl Answered for SyncGroupRequest {
    async fn answer(self, context: &Context<'_>) -> Option<SyncGroupResponse> {
        let (group, member) = (self.group_id.as_str().to_owned(), text(&self.member_id));
        let assignments = self
            .assignments
            .iter()
            .map(|assigned| (text(&assigned.member_id), assigned.assignment.clone()))
            .collect();
        let accepted = context.shared.change(|state| {
            let group = state.groups.get_mut(&group).ok_or(ResponseError::UnknownMemberId)?;
            group.sync(&member, self.generation_id, assignments)
        });
        if let Err(error) = accepted {
            return Some(self.refuse(error.code()));
        }
        let synced =
            context.shared.forever(|state| state.groups.get(&group)?.synced(&member, self.generation_id));
        match synced.await? {
            Ok(assignment) => Some(
                SyncGroupResponse::default()
                    .with_protocol_type(self.protocol_type)
                    .with_protocol_name(self.protocol_name)
                    .with_assignment(assignment),
            ),
            Err(error) => Some(self.refuse(error.code())),
        }
    }

    fn refuse(&self, error: i16) -> SyncGroupResponse {
        SyncGroupResponse::default().with_error_code(error)
    }
}

impl Answered for HeartbeatRequest {
    async fn answer(self, context: &Context<'_>) -> Option<HeartbeatResponse> {
        let heard = context.shared.change(|state| {
            let group = state.groups.get_mut(self.group_id.as_str()).ok_or(ResponseError::UnknownMemberId)?;
            group.heartbeat(&self.member_id, self.generation_id)
        });
        Some(self.refuse(heard.err().map_or(0, |error| error.code())))
    }

    fn refuse(&self, error: i16) -> HeartbeatResponse {
        HeartbeatResponse::default().with_error_code(error)
    }
}

impl Answered for LeaveGroupRequest {
    async fn answer(self, context: &Context<'_>) -> Option<LeaveGroupResponse> {
        let leave = |member: &StrBytes| {
            let left = context.shared.change(|state| {
                let group =
                    state.groups.get_mut(self.group_id.as_str()).ok_or(ResponseError::UnknownMemberId)?;
                group.leave(member)
            });
            left.err().map_or(0, |error| error.code())
        };
        if context.version < 3 {
            return Some(LeaveGroupResponse::default().with_error_code(leave(&self.member_id)));
        }
        let members = self.members.iter().map(|member| {
            MemberResponse::default()
                .with_member_id(member.member_id.clone())
                .with_group_instance_id(member.group_instance_id.clone())
                .with_error_code(leave(&member.member_id))
        });
        Some(LeaveGroupResponse::default().with_members(members.collect()))
    }

    fn refuse(&self, error: i16) -> LeaveGroupResponse {
        LeaveGroupResponse::default().with_error_code(error)
    }
}

fn text(bytes: &StrBytes) -> String {
    bytes.as_str().to_owned()
}

fn millis(millis: i32) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
