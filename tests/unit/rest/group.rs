//! `GET /group`.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::ready,
    sync::Arc,
    time::Duration,
};

use chrono::DateTime;
use highwater_kafka::{
    GroupPhase, PartitionStatus, Rebalance, TransientError,
    group::{GroupDescription, GroupMember},
};
use highwater_web::http::{AdminAuth, BearerToken};
use serde_json::json;

use super::service::{Service, changed};

const TOKEN: &str = "a-token-of-24-characters";

#[tokio::test]
async fn group_tells_the_partitions_their_progress_and_the_last_rebalance() {
    let service = Service::new();
    let first = changed(|first: &mut PartitionStatus| {
        (first.restored, first.position, first.committed, first.end) = (true, 90, 80, 100);
        (first.goal, first.paused) = (Some(95), Some(Duration::from_millis(12)));
    });
    let second = changed(|second: &mut PartitionStatus| {
        (second.partition, second.committed, second.error) = (2, -1, Some("no leader".to_owned()));
    });
    let rebalance = changed(|rebalance: &mut Rebalance| {
        rebalance.at = DateTime::from_timestamp_millis(1_700_000_000_123).unwrap();
        rebalance.reason = "the consumer is starting".to_owned();
        (rebalance.generation, rebalance.duration) = (7, Duration::from_millis(345));
        (rebalance.assigned, rebalance.revoked) = (BTreeSet::from([0, 2]), BTreeSet::from([1]));
    });
    service.status.send_modify(|status| {
        let group = &mut status.group;
        (group.id, group.member) = ("group".to_owned(), "highwater-1".to_owned());
        (group.phase, group.generation) = (GroupPhase::Assigned, 7);
        (group.protocol, group.assignor) = ("classic", Some("range"));
        (group.partitions, group.rebalances) = (vec![first, second], [rebalance].into());
    });
    assert_eq!(
        service.get("/group").await.ok(200),
        json!({
            "id": "group", "phase": "assigned", "protocol": "classic", "assignor": "range",
            "member": "highwater-1", "generation": 7, "lag": 10,
            "partitions": [
                {"partition": 0, "restored": true, "position": 90, "committed": 80, "end": 100, "lag": 10,
                 "goal": 95, "pausedMs": 12},
                {"partition": 2, "restored": false, "position": 0, "committed": -1, "end": 0, "lag": null,
                 "goal": null, "pausedMs": null, "error": "no leader"},
            ],
            "members": [],
            "rebalances": [
                {"at": "2023-11-14T22:13:20.123Z", "reason": "the consumer is starting", "generation": 7,
                 "durationMs": 345, "assigned": [0, 2], "revoked": [1]},
            ],
        })
    );
}

#[tokio::test]
async fn group_answers_before_the_service_has_joined_a_group() {
    let service = Service::new();
    let body = service.get("/group").await.ok(200);
    assert_eq!(body["phase"], "finding");
    assert_eq!(body["partitions"], json!([]));
    assert_eq!(body["rebalances"], json!([]));
}

#[tokio::test]
async fn group_tells_its_members_and_their_partitions() {
    let members = vec![
        changed(|member: &mut GroupMember| {
            (member.member_id, member.client_id) = ("highwater-1".to_owned(), "highwater".to_owned());
            (member.host, member.instance_id) = ("10.0.0.7".to_owned(), Some("first".to_owned()));
            member.partitions = Some(BTreeMap::from([("events".to_owned(), BTreeSet::from([0, 2]))]));
        }),
        changed(|member: &mut GroupMember| member.member_id = "java-2".to_owned()),
    ];
    let description = Arc::new(GroupDescription::from_fn(move || Box::pin(ready(Ok(members.clone())))));
    let admin_auth = Some(Arc::new(AdminAuth::new(BearerToken::new(TOKEN))));
    let service = Service { description, admin_auth, ..Service::new() };
    let first = |host: Option<&str>| {
        let mut member = json!({
            "memberId": "highwater-1", "clientId": "highwater", "instanceId": "first", "partitions": {"events": [0, 2]},
        });
        if let Some(host) = host {
            member["host"] = json!(host);
        }
        member
    };
    let second = json!({"memberId": "java-2", "clientId": "", "partitions": null});
    let body = service.get("/group").await.ok(200);
    assert_eq!(body["members"], json!([first(None), second]), "addresses are not for everybody");
    let admin = warp::test::request().path("/group").header("authorization", format!("Bearer {TOKEN}"));
    let whole = service.send(admin).await.ok(200);
    assert_eq!(whole["members"], json!([first(Some("10.0.0.7")), second]));
    assert_eq!(body.get("membersError"), None);
}

#[tokio::test]
async fn group_tells_why_its_members_are_unknown() {
    let description = Arc::new(GroupDescription::from_fn(|| {
        Box::pin(ready(Err(TransientError::new("nothing listens there"))))
    }));
    let service = Service { description, ..Service::new() };
    let body = service.get("/group").await.ok(200);
    assert_eq!(body["members"], json!(null));
    assert_eq!(body["membersError"], "nothing listens there");
    assert_eq!(body["phase"], "finding");
}
