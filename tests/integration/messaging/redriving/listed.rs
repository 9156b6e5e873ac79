//! Listings of dead letters in pages, and the progress of redrives.

use std::collections::BTreeSet;

use highwater_kafka::{DlqPublisher, Watermark, dead_letter::DlqFilter};

use super::{DlqClient, record, send_to_dlq};
use crate::support::TestCluster;

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_newest_first_in_pages_that_leave_nothing_out() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    send_to_dlq(&client, &cluster, 0..700).await;
    let dlq = DlqClient::of(&client, &cluster);
    for limit in [1_000, 64, 700] {
        let pages = dlq.pages(&DlqFilter::default(), limit).await;
        assert!(pages.iter().all(|page| page.len() <= limit));
        let listed: Vec<i64> =
            pages.concat().iter().map(|dead_letter| dead_letter.source.offset.unwrap()).collect();
        let mut all = listed.clone();
        all.sort_unstable();
        assert_eq!(all, (0..700).collect::<Vec<_>>(), "each once, in pages of {limit}");
        // Within a millisecond and between two partitions there is no order.
        let far_off =
            listed.iter().enumerate().filter(|(at, number)| (699 - *at as i64).abs_diff(**number) > 50);
        assert_eq!(far_off.count(), 0);
        for partition in 0..3 {
            let of_it =
                pages.concat().into_iter().filter(|dead_letter| dead_letter.record.partition == partition);
            assert!(
                of_it.map(|dead_letter| dead_letter.record.offset).is_sorted_by(|newer, older| newer > older)
            );
        }
    }
    let odd = DlqFilter { reason: Some("odd".to_owned()), source_partition: Some(1), ..DlqFilter::default() };
    let found = dlq.pages(&odd, 10).await.concat();
    let expected: Vec<i64> = (0..700).rev().filter(|number| number % 2 == 1 && number % 3 == 1).collect();
    assert_eq!(found.len(), expected.len());
    let key = DlqFilter { key: Some("user-7".to_owned()), ..DlqFilter::default() };
    assert_eq!(dlq.pages(&key, 10).await.concat().len(), 1);
    let middle = found[found.len() / 2].record.timestamp;
    let from = DlqFilter { from: Some(middle), ..DlqFilter::default() };
    let to = DlqFilter { to: Some(middle), ..DlqFilter::default() };
    let (from, to) = (dlq.pages(&from, 1_000).await.concat(), dlq.pages(&to, 1_000).await.concat());
    assert_eq!(from.len() + to.len(), 700);
    assert!(from.iter().all(|dead_letter| dead_letter.record.timestamp >= middle));
    assert!(to.iter().all(|dead_letter| dead_letter.record.timestamp < middle) && !to.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_large_dead_letters_is_smaller_than_was_asked_for() {
    let cluster = TestCluster::start().await;
    let client = cluster.client();
    let dead_letters =
        DlqPublisher::new(client.producer(client.dead_letter_topic()), &cluster.topic, "group");
    for number in 0..20 {
        dead_letters.send_to_dlq(&record(number, vec![b'x'; 900_000]), "large").await.unwrap();
    }
    let dlq = DlqClient::of(&client, &cluster);
    let pages = dlq.pages(&DlqFilter::default(), 100).await;
    assert!(pages.len() >= 5 && pages.iter().all(|page| page.len() <= 5), "pages of 4 MiB");
    let numbers: BTreeSet<_> = pages.concat().iter().map(|dead_letter| dead_letter.source.offset).collect();
    assert_eq!((pages.concat().len(), numbers.len()), (20, 20));
}

/// The progress of a redrive must fit into the metadata that Kafka keeps with an offset.
#[test]
fn stretches_above_the_mark_are_told_in_their_order() {
    let mut watermark = Watermark::new(5);
    watermark.done(10..12);
    watermark.done(7..8);
    assert_eq!(watermark.above().collect::<Vec<_>>(), [7..8, 10..12]);
}
