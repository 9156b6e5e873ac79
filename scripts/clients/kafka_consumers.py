"""librdkafka's consumers share a topic of the embedded broker by KIP-848, and each record is read once.  kafka_consumers.py BROKER"""

import sys
import threading
import time
from collections import Counter

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

BROKER, TOPIC, PARTITIONS = {"bootstrap.servers": sys.argv[1]}, "kip-848", 4


class Member(threading.Thread):
    """A member of the group, until it is told to leave."""

    def __init__(self):
        super().__init__(daemon=True)
        self.assigned, self.read, self.leaves, self.error = set(), [], threading.Event(), None

    def run(self):
        consumer = Consumer({**BROKER, "group.id": "judges", "group.protocol": "consumer", "auto.offset.reset": "earliest"})
        consumer.subscribe([TOPIC], on_assign=self.assign, on_revoke=self.revoke)
        while not self.leaves.is_set():
            record = consumer.poll(0.1)
            if record is not None and record.error():
                self.error = record.error()
            elif record is not None:
                self.read.append((record.partition(), record.offset()))
        consumer.close()

    def assign(self, consumer, partitions):
        self.assigned |= {each.partition for each in partitions}
        consumer.incremental_assign(partitions)

    def revoke(self, consumer, partitions):
        self.assigned -= {each.partition for each in partitions}
        consumer.incremental_unassign(partitions)


def until(what, holds):
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, f"{what}: {[(member.assigned, len(member.read), member.error) for member in members]}"
        time.sleep(0.05)


def publish(count):
    producer = Producer(BROKER)
    for number in range(count):
        producer.produce(TOPIC, key=str(number), value=b"{}")
    assert producer.flush(20) == 0


def read():
    return sum(len(member.read) for member in members)


admin = AdminClient(BROKER)
admin.create_topics([NewTopic(TOPIC, PARTITIONS)])[TOPIC].result(20)
members = one, two = Member(), Member()
one.start()
until("the first has all partitions", lambda: len(one.assigned) == PARTITIONS)
publish(100)
until("the first reads all", lambda: read() == 100)
two.start()
until("each has half", lambda: len(one.assigned) == len(two.assigned) == PARTITIONS / 2 and not one.assigned & two.assigned)
publish(100)
until("both read all", lambda: read() == 200)
one.leaves.set()
one.join(30)
until("the second has all partitions", lambda: len(two.assigned) == PARTITIONS)
publish(100)
until("the second reads all", lambda: read() == 300)
twice = [place for place, count in Counter(one.read + two.read).items() if count > 1]
assert not twice and two.read and one.read, twice
