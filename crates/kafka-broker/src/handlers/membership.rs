//! Membership in a group: JoinGroup, SyncGroup, Heartbeat, LeaveGroup.

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

use super::{Answered, Context, code, text};
use crate::{
    groups::{Admission, ClassicGroup, Joined, Joining, MemberIdentity},
    state::State,
};

/// The first version of JoinGroup with MEMBER_ID_REQUIRED (KIP-394).
const KNOWS_MEMBER_ID_REQUIRED: i16 = 4;
/// The first version with `skip_assignment` (KIP-814).
const KNOWS_SKIPPING: i16 = 9;
/// The first version of LeaveGroup for several members (KIP-345).
const LEAVES_MANY: i16 = 3;

impl Answered for JoinGroupRequest {
    async fn answer(self, context: &Context<'_>) -> JoinGroupResponse {
        let (group, instance) = (text(&self.group_id), self.group_instance_id.as_ref().map(text));
        let joining = self.joining(context);
        if group.is_empty() {
            return self.refuse(ResponseError::InvalidGroupId.code());
        }
        if !context.shared.options.session_timeouts.contains(&joining.session_timeout) {
            return self.refuse(ResponseError::InvalidSessionTimeout.code());
        }
        let (admission, epoch) = context.shared.change(|state| {
            let epoch = state.coordination.epoch();
            // A member with an id was in a group, and this one does not exist yet (`handleJoinGroup`).
            if !joining.member.is_empty() && !state.groups.contains_key(&group) {
                return (Admission::Refused(ResponseError::UnknownMemberId), epoch);
            }
            let members = state.groups.entry(group.clone()).or_default().join_classic();
            (members.map_or_else(Admission::Refused, |members| members.join(joining)), epoch)
        });
        let id = match admission {
            Admission::Waits(id) => id,
            Admission::Same(joined) => return response(joined, &self),
            Admission::NeedsId(id) => {
                let needed = self.refuse(ResponseError::MemberIdRequired.code());
                return needed.with_member_id(StrBytes::from_string(id));
            }
            Admission::Refused(error) => return self.refuse(error.code()),
        };
        // The groups that are loaded in a later epoch know nothing of this rebalance (`onGroupUnloaded`).
        let joined = context.shared.forever(|state| {
            match (state.coordination.check_since(epoch), classic(state, &group)) {
                (Err(error), _) => Some(Err(error)),
                (Ok(()), Some(members)) => members.joined(&id, instance.as_deref()),
                (Ok(()), None) => Some(Err(ResponseError::UnknownMemberId)),
            }
        });
        match joined.await {
            Ok(joined) => response(joined, &self),
            Err(error) => self.refuse(error.code()),
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

/// The member that a request describes.
trait SaysJoining {
    fn joining(&self, context: &Context<'_>) -> Joining;
}

impl SaysJoining for JoinGroupRequest {
    fn joining(&self, context: &Context<'_>) -> Joining {
        let protocols =
            self.protocols.iter().map(|protocol| (text(&protocol.name), protocol.metadata.clone()));
        let session_timeout = millis(self.session_timeout_ms);
        Joining {
            member: text(&self.member_id),
            instance: self.group_instance_id.as_ref().map(text),
            client_id: context.client_id.clone(),
            host: format!("/{}", context.peer.ip()),
            protocol_type: text(&self.protocol_type),
            protocols: protocols.collect(),
            session_timeout,
            // Version 0 has one timeout only.
            rebalance_timeout: match context.version {
                0 => session_timeout,
                _ => millis(self.rebalance_timeout_ms),
            },
            needs_known_id: context.version >= KNOWS_MEMBER_ID_REQUIRED,
            knows_skipping: context.version >= KNOWS_SKIPPING,
        }
    }
}

fn response(joined: Joined, request: &JoinGroupRequest) -> JoinGroupResponse {
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
        .with_skip_assignment(joined.skip_assignment)
        .with_member_id(StrBytes::from_string(joined.member))
        .with_members(members.collect())
}

fn classic<'a>(state: &'a State, group: &str) -> Option<&'a ClassicGroup> {
    state.groups.get(group)?.classic()
}

/// The error for a group that was there and is gone.
fn gone(state: &State) -> ResponseError {
    state.coordination.check().err().unwrap_or(ResponseError::UnknownMemberId)
}

/// Calls a group; an unknown group has no members (`validateGroupStatus`), nor has one of the other protocol.
fn in_group<T>(
    context: &Context<'_>,
    group: &str,
    act: impl FnOnce(&mut ClassicGroup) -> Result<T, ResponseError>,
) -> Result<T, ResponseError> {
    if group.is_empty() {
        return Err(ResponseError::InvalidGroupId);
    }
    context.shared.change(|state| {
        let members = state.groups.get_mut(group).and_then(|group| group.classic_mut());
        act(members.ok_or(ResponseError::UnknownMemberId)?)
    })
}

impl Answered for SyncGroupRequest {
    async fn answer(self, context: &Context<'_>) -> SyncGroupResponse {
        let identity = MemberIdentity {
            member: &self.member_id,
            instance: self.group_instance_id.as_deref(),
            generation: self.generation_id,
        };
        let assignments = self
            .assignments
            .iter()
            .map(|assigned| (text(&assigned.member_id), assigned.assignment.clone()))
            .collect();
        let named = |name: &Option<StrBytes>, known: &str| name.as_deref().is_none_or(|name| name == known);
        let accepted = in_group(context, &self.group_id, |group| {
            if !named(&self.protocol_type, group.protocol_type())
                || !named(&self.protocol_name, group.protocol())
            {
                return Err(ResponseError::InconsistentGroupProtocol);
            }
            group.sync(identity, assignments)?;
            Ok((group.protocol_type().to_owned(), group.protocol().to_owned()))
        });
        let (protocol_type, protocol) = match accepted {
            Ok(names) => names,
            Err(error) => return self.refuse(error.code()),
        };
        let is_replicated = |state: &State| state.coordination.has_stored(&self.group_id);
        let synced = context.shared.forever(|state| match classic(state, &self.group_id) {
            Some(members) => {
                members.synced(identity).filter(|synced| synced.is_err() || is_replicated(state))
            }
            None => Some(Err(gone(state))),
        });
        match synced.await {
            Ok(assignment) => SyncGroupResponse::default()
                .with_protocol_type(Some(StrBytes::from_string(protocol_type)))
                .with_protocol_name(Some(StrBytes::from_string(protocol)))
                .with_assignment(assignment),
            Err(error) => self.refuse(error.code()),
        }
    }

    fn refuse(&self, error: i16) -> SyncGroupResponse {
        SyncGroupResponse::default().with_error_code(error)
    }
}

impl Answered for HeartbeatRequest {
    async fn answer(self, context: &Context<'_>) -> HeartbeatResponse {
        let identity = MemberIdentity {
            member: &self.member_id,
            instance: self.group_instance_id.as_deref(),
            generation: self.generation_id,
        };
        self.refuse(code(in_group(context, &self.group_id, |group| group.heartbeat(identity))))
    }

    fn refuse(&self, error: i16) -> HeartbeatResponse {
        HeartbeatResponse::default().with_error_code(error)
    }
}

impl Answered for LeaveGroupRequest {
    async fn answer(self, context: &Context<'_>) -> LeaveGroupResponse {
        let leave = |member: &StrBytes, instance: Option<&str>, reason: &str| {
            code(in_group(context, &self.group_id, |group| {
                group.leave(member, instance)?;
                group.leave_reasons.push(reason.to_owned());
                Ok(())
            }))
        };
        if context.version < LEAVES_MANY {
            return LeaveGroupResponse::default().with_error_code(leave(&self.member_id, None, ""));
        }
        let members = self.members.iter().map(|member| {
            let instance = member.group_instance_id.as_deref();
            MemberResponse::default()
                .with_member_id(member.member_id.clone())
                .with_group_instance_id(member.group_instance_id.clone())
                .with_error_code(leave(
                    &member.member_id,
                    instance,
                    member.reason.as_deref().unwrap_or_default(),
                ))
        });
        LeaveGroupResponse::default().with_members(members.collect())
    }

    fn refuse(&self, error: i16) -> LeaveGroupResponse {
        LeaveGroupResponse::default().with_error_code(error)
    }
}

pub(super) fn millis(millis: i32) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}
