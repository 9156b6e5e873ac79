//! `GET /group`.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::ready,
    sync::Arc,
    time::Duration,
};

use chrono::DateTime;
use highwater_kafka::{
    GroupPhase, GroupStatus, PartitionStatus, Rebalance, Status,
    group::{GroupDescription, GroupMember},
};
use highwater_web::http::{AdminAuth, BearerToken};
use serde_json::json;

use super::service::Service;

const TOKEN: &str = "a-token-of-24-characters";

#[tokio::test]
async fn group_tells_the_partitions_their_progress_and_the_last_rebalance() {
    let service = Service::new();
    let partitions = vec![
        PartitionStatus {
            partition: 0,
            restored: true,
            position: 90,
            committed: 80,
            end: 100,
            goal: Some(95),
            paused: Some(Duration::from_millis(12)),
            error: None,
        },
        PartitionStatus {
            partition: 2,
            committed: -1,
            error: Some("no leader".to_owned()),
            ..PartitionStatus::default()
        },
    ];
    let rebalance = Rebalance {
        at: DateTime::from_timestamp_millis(1_700_000_000_123).unwrap(),
        reason: "the consumer is starting".to_owned(),
        generation: 7,
        duration: Duration::from_millis(345),
        assigned: BTreeSet::from([0, 2]),
        revoked: BTreeSet::from([1]),
    };
    let group = GroupStatus {
        id: "group".to_owned(),
        phase: GroupPhase::Assigned,
        protocol: "classic",
        assignor: Some("range"),
        member: "highwater-1".to_owned(),
        generation: 7,
        partitions,
        rebalances: [rebalance].into(),
        ..GroupStatus::default()
    };
    service.status.send_replace(Status { group, ..Status::default() });
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
        GroupMember {
            member_id: "highwater-1".to_owned(),
            client_id: "highwater".to_owned(),
            host: "10.0.0.7".to_owned(),
            instance_id: Some("first".to_owned()),
            partitions: Some(BTreeMap::from([("events".to_owned(), BTreeSet::from([0, 2]))])),
        },
        GroupMember { member_id: "java-2".to_owned(), ..GroupMember::default() },
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
    let description =
        Arc::new(GroupDescription::from_fn(|| Box::pin(ready(Err("nothing listens there".to_owned())))));
    let service = Service { description, ..Service::new() };
    let body = service.get("/group").await.ok(200);
    assert_eq!(body["members"], json!(null));
    assert_eq!(body["membersError"], "nothing listens there");
    assert_eq!(body["phase"], "finding");
}
