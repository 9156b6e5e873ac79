//! Transactional producers: fencing, commits and aborts.

use std::{collections::BTreeSet, time::Duration};

use highwater_kafka_broker::transactions::{Ending, Identity, Transactions};
use kafka_protocol::ResponseError;
use tokio::time::advance;

const MINUTE: Duration = Duration::from_secs(60);

fn partitions() -> BTreeSet<(String, i32)> {
    BTreeSet::from([("topic".to_owned(), 1)])
}

fn opened(transactions: &mut Transactions) -> Identity {
    let (producer, _) = transactions.incarnate("name", MINUTE, None).unwrap();
    transactions.add_partitions("name", producer, partitions()).unwrap();
    producer
}

#[test]
fn ids_differ_and_a_name_keeps_its_id_with_a_new_epoch() {
    let mut transactions = Transactions::default();
    assert_ne!(transactions.identify(), transactions.identify());
    let (first, _) = transactions.incarnate("name", MINUTE, None).unwrap();
    let (second, _) = transactions.incarnate("name", MINUTE, None).unwrap();
    assert_eq!((second.producer_id, second.epoch), (first.producer_id, first.epoch + 1));
}

#[tokio::test]
async fn a_transaction_ends_once_and_the_same_way_when_asked_again() {
    let mut transactions = Transactions::default();
    let producer = opened(&mut transactions);
    transactions.add_group("name", producer, "group").unwrap();
    let groups = BTreeSet::from(["group".to_owned()]);
    let ending = Ending { producer, committed: true, partitions: partitions(), groups };
    assert_eq!(transactions.end("name", producer, true), Ok(Some(ending)));
    assert_eq!(transactions.end("name", producer, true), Ok(None));
    assert_eq!(transactions.end("name", producer, false), Err(ResponseError::InvalidTxnState));
}

#[tokio::test]
async fn a_new_incarnation_aborts_what_was_open_and_shuts_the_old_one_out() {
    let mut transactions = Transactions::default();
    let old = opened(&mut transactions);
    let (new, ending) = transactions.incarnate("name", MINUTE, None).unwrap();
    let ending = ending.unwrap();
    assert!(!ending.committed && ending.partitions == partitions());
    assert_eq!(ending.producer, new, "the markers have the new epoch");
    assert_eq!(transactions.end("name", old, true), Err(ResponseError::ProducerFenced));
    let added = transactions.add_partitions("name", old, partitions());
    assert_eq!(added, Err(ResponseError::ProducerFenced));
    let again = transactions.incarnate("name", MINUTE, Some(old));
    assert_eq!(again, Err(ResponseError::ProducerFenced));
}

#[tokio::test]
async fn strangers_and_transactions_that_never_began_are_refused() {
    let mut transactions = Transactions::default();
    let (producer, _) = transactions.incarnate("name", MINUTE, None).unwrap();
    assert_eq!(transactions.end("name", producer, true), Err(ResponseError::InvalidTxnState));
    let stranger = Identity { producer_id: 1_000, epoch: 0 };
    assert_eq!(transactions.end("name", stranger, true), Err(ResponseError::InvalidProducerIdMapping));
    assert_eq!(transactions.end("who", producer, true), Err(ResponseError::InvalidProducerIdMapping));
    assert_eq!(transactions.may_commit("name", producer, "group"), Err(ResponseError::InvalidTxnState));
}

#[tokio::test(start_paused = true)]
async fn what_is_open_for_too_long_is_aborted() {
    let mut transactions = Transactions::default();
    let producer = opened(&mut transactions);
    advance(MINUTE - Duration::from_millis(1)).await;
    assert_eq!(transactions.sweep(), []);
    advance(Duration::from_millis(1)).await;
    let aborted = transactions.sweep();
    assert_eq!(aborted.len(), 1);
    assert!(!aborted[0].committed);
    assert_eq!(transactions.end("name", producer, true), Err(ResponseError::ProducerFenced));
    assert_eq!(transactions.sweep(), []);
}
