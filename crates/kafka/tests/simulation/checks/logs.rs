//! The logs: what all replicas in sync have of them.

use bytes::Bytes;
use highwater_kafka_broker::Broker;
use kafka_protocol::records::RecordBatchDecoder;

use super::{Checks, Guarantee, Known};
use crate::{
    brokers::Brokers,
    members::{DEAD_LETTERS, Item, TOPIC},
    network::HostId,
};

impl Checks {
    /// A broker leads the topic's partitions that may lack what was acknowledged.
    pub(crate) fn elected_uncleanly(&self, brokers: &Brokers, host: HostId) {
        let mut known = self.known();
        let now = known.now;
        for replica in brokers.on(host).replicas(TOPIC) {
            let (number, index) = (replica.partition, replica.partition as usize);
            let begun = replica.leads.filter(|epoch| *epoch > known.partition(number).compared);
            let Some(epoch) = begun else { continue };
            let has: Vec<Item> = read(brokers.on(host), TOPIC, number, 0).map(|(_, item)| item).collect();
            let place = &mut known.partitions[index];
            let from = has.iter().zip(&place.log).take_while(|(one, other)| one == other).count();
            let gone = place.log.split_off(from);
            // A commit that came late may be of a history that was gone before.
            let committed = place.committed.min(place.called);
            (place.undone, place.called) = (place.undone.min(from), place.called.min(from as i64));
            place.compared = epoch;
            place.commits.clear();
            known.trace.line(|| format!("{now} partition {number} loses {gone:?}"));
            known.written.retain(|item| !gone.contains(item));
            known.acknowledged.retain(|(_, of), (_, offset)| *of != number || *offset < from as i64);
            let place = &mut known.partitions[index];
            let back = place.histories.part(epoch, from as i64, gone, &has[from..], committed);
            if back > 0 {
                place.excused = from as i64..from as i64 + back;
            }
        }
    }
}

impl Known {
    pub(super) fn look_at_logs(&mut self, brokers: &Brokers) {
        for broker in brokers.all() {
            let newest = self.topics.now;
            for replica in broker.replicas(TOPIC).into_iter().filter(|known| Some(known.topic) == newest) {
                let place = self.partition(replica.partition);
                if replica.epoch < place.histories.epoch {
                    continue;
                }
                if let Some(epoch) = replica.leads.filter(|epoch| *epoch > place.compared) {
                    place.compared = epoch;
                    self.compare(broker, replica.partition);
                }
                self.look_at_log(broker, replica.partition, replica.high_watermark);
            }
            for replica in broker.replicas(DEAD_LETTERS) {
                let from = &mut self.dead_read[replica.partition as usize];
                if replica.high_watermark > *from {
                    let read = read(broker, DEAD_LETTERS, replica.partition, *from);
                    let read = read.filter(|(offset, _)| *offset < replica.high_watermark);
                    self.dead.extend(read.map(|(_, item)| item));
                    *from = replica.high_watermark;
                }
            }
        }
    }

    /// A leader that begins has all that was replicated.
    fn compare(&mut self, broker: &Broker, number: i32) {
        let log = &self.partitions[number as usize].log;
        let mut has = read(broker, TOPIC, number, 0);
        let lacks =
            (0..).zip(log).find(|(offset, item)| has.next().as_ref() != Some(&(*offset, Item::clone(item))));
        if let Some((offset, item)) = lacks {
            let what = format!("a leader that begins lacks {item:?} at {number}/{offset}");
            self.broken(Guarantee::Acknowledged, what);
        }
    }

    fn look_at_log(&mut self, broker: &Broker, number: i32, end: i64) {
        let from = self.partition(number).log.len() as i64;
        if end <= from {
            return;
        }
        for (offset, item) in read(broker, TOPIC, number, from).filter(|(offset, _)| *offset < end) {
            let expected = self.partition(number).log.len() as i64;
            debug_assert_eq!(offset, expected, "the broker's log has no gaps");
            self.partition(number).log.push(item.clone());
            if self.unwritten.contains(&item) {
                let what = format!("{item:?} is at {number}/{offset}, and nothing was written");
                self.broken(Guarantee::Acknowledged, what);
            }
            if !self.written.insert(item.clone()) {
                self.broken(Guarantee::NoCopies, format!("{item:?} again, at {number}/{offset}"));
            }
        }
    }
}

/// The events of a log from that offset on.
fn read(broker: &Broker, topic: &str, partition: i32, from: i64) -> impl Iterator<Item = (i64, Item)> {
    let mut bytes: Bytes = broker.batches(topic, partition, from);
    let sets = RecordBatchDecoder::decode_all(&mut bytes).expect("the broker's batches are valid");
    let records = sets.into_iter().flat_map(|set| set.records);
    records.filter(move |record| record.offset >= from).map(|record| {
        let value = record.value.expect("every event has a value");
        (record.offset, serde_json::from_slice(&value).expect("every value is an event"))
    })
}
