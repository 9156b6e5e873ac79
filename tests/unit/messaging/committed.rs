//! The metadata of a committed offset: the oldest offset that the store held, and the topic's id.

use highwater_kafka::CommittedOffset;
use uuid::Uuid;

const ID: Uuid = uuid::uuid!("cd6a4c7b-9c2a-4a1c-8b43-ef4f5b9d2f10");

#[test]
fn what_is_noted_is_read_again() {
    for held_from in [None, Some(0), Some(7)] {
        for topic in [None, Some(ID)] {
            let committed = CommittedOffset { offset: 7, leader_epoch: None, held_from, topic };
            assert_eq!(
                CommittedOffset::parse(7, &committed.metadata()),
                committed,
                "{}",
                committed.metadata()
            );
        }
    }
}

#[test]
fn the_topics_id_is_noted_as_kafkas_tools_show_it() {
    let committed = CommittedOffset { offset: 9, leader_epoch: None, held_from: Some(12), topic: Some(ID) };
    assert_eq!(committed.metadata(), "held-from:9 topic:zWpMe5wqShyLQ-9PW50vEA");
}

#[test]
fn a_note_of_an_earlier_version_is_read() {
    let read = CommittedOffset::parse(9, "held-from:4");
    assert_eq!(read, CommittedOffset { offset: 9, leader_epoch: None, held_from: Some(4), topic: None });
}

#[test]
fn a_note_that_is_not_ours_says_nothing() {
    for note in
        ["", "consumer-1", "held-from:", "held-from:10", "held-from:-1 topic:", "topic:AAAA", "topic:%%"]
    {
        assert_eq!(
            CommittedOffset::parse(9, note),
            CommittedOffset { offset: 9, leader_epoch: None, held_from: None, topic: None },
            "{note}"
        );
    }
}
