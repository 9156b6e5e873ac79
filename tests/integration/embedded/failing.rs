//! Injected faults: each has its effect as often as it was set.

use std::time::{Duration, Instant};

use highwater_kafka_broker::{Broker, Fault, Options};
use kafka_protocol::{
    ResponseError,
    messages::{ApiKey, ListGroupsRequest},
};
use tokio::{net::TcpStream, time::timeout};

use super::raw::{Raw, create, plain, produce, producing};
use crate::support::eventually;

async fn broker_with_topic() -> (Broker, Raw) {
    let broker = Broker::start(Options::default()).await.unwrap();
    let mut raw = Raw::connect(&broker).await;
    create(&mut raw, "topic").await;
    (broker, raw)
}

#[tokio::test]
async fn a_refusal_does_nothing_as_often_as_asked_and_requests_are_counted() {
    let (broker, mut raw) = broker_with_topic().await;
    let error = ResponseError::NotLeaderOrFollower;
    broker.faults().times(ApiKey::Produce, Fault::Refuse(error), 2);
    for _ in 0..2 {
        assert_eq!(produce(&mut raw, "topic", plain("a")).await, (error.code(), -1));
    }
    assert_eq!(produce(&mut raw, "topic", plain("a")).await, (0, 0));
    assert_eq!(broker.faults().count(ApiKey::Produce), 3);
    assert_eq!(broker.faults().count(ApiKey::Fetch), 0);
}

#[tokio::test]
async fn faults_come_in_the_order_in_which_they_were_planned_until_cleared() {
    let (broker, mut raw) = broker_with_topic().await;
    let wait = Duration::from_millis(50);
    broker.faults().once(ApiKey::Produce, Fault::Delay(wait));
    broker.faults().always(ApiKey::Produce, Fault::Refuse(ResponseError::UnknownServerError));
    let began = Instant::now();
    assert_eq!(produce(&mut raw, "topic", plain("a")).await, (0, 0));
    assert!(began.elapsed() >= wait);
    for _ in 0..3 {
        assert_eq!(produce(&mut raw, "topic", plain("a")).await, (-1, -1));
    }
    broker.faults().clear();
    assert_eq!(produce(&mut raw, "topic", plain("a")).await, (0, 1));
}

#[tokio::test]
async fn a_dropped_request_is_not_done_and_one_whose_answer_is_lost_is() {
    let (broker, mut raw) = broker_with_topic().await;
    broker.faults().once(ApiKey::Produce, Fault::Drop);
    raw.send(7, &producing("topic", 1, plain("a"))).await.unwrap();
    raw.closed().await;
    assert_eq!(broker.end_offset("topic", 0), 0);
    broker.faults().once(ApiKey::Produce, Fault::LoseAnswer);
    let mut raw = Raw::connect(&broker).await;
    raw.send(7, &producing("topic", 1, plain("a"))).await.unwrap();
    raw.closed().await;
    assert_eq!(broker.end_offset("topic", 0), 1);
}

#[tokio::test]
async fn a_stalled_request_is_never_answered_and_others_are() {
    let (broker, mut raw) = broker_with_topic().await;
    broker.faults().once(ApiKey::Produce, Fault::Stall);
    raw.send(7, &producing("topic", 1, plain("a"))).await.unwrap();
    eventually("it came", async || (broker.faults().count(ApiKey::Produce) == 1).then_some(())).await;
    assert!(timeout(Duration::from_millis(50), raw.read()).await.is_err());
    let mut other = Raw::connect(&broker).await;
    assert_eq!(produce(&mut other, "topic", plain("b")).await, (0, 0));
}

#[tokio::test]
async fn a_suspended_broker_refuses_connections_and_comes_back_with_its_data() {
    let (mut broker, mut raw) = broker_with_topic().await;
    produce(&mut raw, "topic", plain("a")).await;
    let address = broker.bootstrap();
    broker.suspend();
    raw.closed().await;
    eventually("connections are refused", async || TcpStream::connect(&address).await.err()).await;
    broker.resume().await.unwrap();
    assert_eq!(broker.bootstrap(), address);
    let mut raw = Raw::connect(&broker).await;
    assert_eq!(produce(&mut raw, "topic", plain("b")).await, (0, 1));
}

#[tokio::test]
async fn a_dropped_broker_is_gone() {
    let (broker, mut raw) = broker_with_topic().await;
    raw.ask(4, ListGroupsRequest::default()).await;
    let address = broker.bootstrap();
    drop(broker);
    raw.closed().await;
    eventually("connections are refused", async || TcpStream::connect(&address).await.err()).await;
}
