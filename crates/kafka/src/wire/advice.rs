//! Advice for an operator: the usual remedy of an error.

use std::io;

use kafka_protocol::ResponseError;

use super::{WireError, error::is_of_name};

impl WireError {
    /// The error, and in parentheses its usual remedy.
    pub fn explained(&self) -> String {
        match self.advice() {
            Some(advice) => format!("{self} ({advice})"),
            None => self.to_string(),
        }
    }

    fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Connect { error, .. } => of_connecting(error),
            Self::Advertised { .. } => Some(
                "a bootstrap address answers, and sends clients on to this one, which the broker's \
                 advertised.listeners names: if that broker is up, it has to name an address that can be \
                 reached from here",
            ),
            // The oldest version that is spoken has static members.
            Self::Unsupported("JoinGroup") => {
                Some("it knows no static members (KIP-345, Kafka 2.3): leave the group instance id out")
            }
            Self::Refused { what, error } | Self::Denied { what, error, .. } => of_refusal(what, *error),
            _ => None,
        }
    }
}

fn of_connecting(error: &io::Error) -> Option<&'static str> {
    if is_of_name(error) {
        return Some(
            "the name does not resolve here: is it right among the bootstrap brokers, and known in this network?",
        );
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            Some("nothing listens there: is Kafka up, and is its address right among the bootstrap brokers?")
        }
        io::ErrorKind::TimedOut => {
            Some("no answer from there: a wrong address, a firewall, a host that is down")
        }
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            Some("there is no way to that address from this machine")
        }
        _ => None,
    }
}

fn of_refusal(what: &str, error: ResponseError) -> Option<&'static str> {
    use ResponseError as Kafka;
    Some(match (what, error) {
        ("CreateTopics", Kafka::TopicAuthorizationFailed | Kafka::ClusterAuthorizationFailed) => {
            "the topic is missing, and this user may not create it: create it by hand, or allow CREATE on it"
        }
        ("CreateTopics", Kafka::InvalidReplicationFactor) => {
            "there are fewer brokers than the replication factor that is asked for"
        }
        ("CreateTopics", Kafka::InvalidConfig) => {
            "the cluster does not take one of the settings with which the topic is to be created: create it by hand"
        }
        ("CreateTopics", Kafka::PolicyViolation) => "the cluster's policy: create the topic by hand",
        ("JoinGroup", Kafka::InvalidSessionTimeout) => {
            "the session's time-out is not between the broker's group.min.session.timeout.ms and \
             group.max.session.timeout.ms"
        }
        ("Metadata", Kafka::TopicAuthorizationFailed) => {
            "this user may not see the topic: allow DESCRIBE on it, and CREATE where it is missing"
        }
        ("ConsumerGroupDescribe", Kafka::TopicAuthorizationFailed) => {
            "a member of the group reads a topic that this user may not see: allow DESCRIBE on it"
        }
        ("FindCoordinator", Kafka::CoordinatorNotAvailable) => {
            "the cluster has no leader for its topic __consumer_offsets, or cannot create it: where it lasts, are there \
             fewer brokers than offsets.topic.replication.factor, which is 3 by default?"
        }
        (_, Kafka::TopicAuthorizationFailed) => "this user may not read the topic: allow READ on it",
        (_, Kafka::GroupAuthorizationFailed) => "this user may not use the group: allow READ on it",
        (_, Kafka::ClusterAuthorizationFailed) => "this user may not do that on the cluster",
        _ => return None,
    })
}
