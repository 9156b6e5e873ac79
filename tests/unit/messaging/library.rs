//! The behaviour before there is a cluster, and the rule that keeps rskafka replaceable.

use std::{fs, io, path::Path};

use highwater_kafka::{
    Cluster, ClusterConfig, ConfigError, Kafka, TopicConfig, TransientError,
    dead_letter::{DlqReadError, RedriveError},
    wire::WireError,
};

use crate::messaging::envelope::Greeting;

#[test]
fn a_cluster_without_an_address_is_an_error() {
    let none = || ClusterConfig::new(Vec::new());
    assert_eq!(Kafka::new(none()).map(drop), Err(ConfigError::NoBrokers));
    assert_eq!(Cluster::new(none()).map(drop), Err(ConfigError::NoBrokers));
}

/// There is no runtime here: whatever it began in the background would panic.
#[test]
fn a_topic_does_nothing_before_it_has_a_producer_or_a_consumer() {
    let kafka = Kafka::new(ClusterConfig::new(vec!["127.0.0.1:1".to_owned()])).unwrap();
    let topic = kafka.topic::<Greeting>(TopicConfig::new("greetings")).with_max_partitions(2);
    assert_eq!((&**topic.name(), topic.config().partitions), ("greetings", 3));
    let began = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| topic.follow()));
    assert!(began.is_err(), "following it does begin something");
}

#[test]
fn the_chain_of_an_error_says_nothing_twice() {
    let error = || io::Error::from(io::ErrorKind::ConnectionRefused);
    let connecting = || WireError::Connect { address: "b1:9092".to_owned(), error: error() };
    let chain = |error: anyhow::Error| format!("{error:#}");
    let why = "cannot connect to b1:9092: connection refused";
    assert_eq!(chain(connecting().into()), why);
    assert_eq!(chain(TransientError::new(connecting()).into()), why);
    let unreadable = DlqReadError::new(connecting());
    assert_eq!(chain(unreadable.clone().into()), format!("the dead letters cannot be read: {why}"));
    let redrive = RedriveError::from(unreadable);
    assert_eq!(
        chain(redrive.into()),
        format!("the redrive cannot begin: the dead letters cannot be read: {why}")
    );
}

#[test]
fn rskafka_is_imported_in_one_folder_alone() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/kafka/src");
    let (mut inside, mut folders) = (0, vec![src]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
            let imports = code.filter(|code| code.contains("rskafka::")).count();
            if path.parent().is_some_and(|folder| folder.ends_with("rskafka_client")) {
                inside += imports;
            } else {
                assert_eq!(imports, 0, "{} talks to rskafka", path.display());
            }
        }
    }
    assert!(inside > 0, "the folder has another name");
}
