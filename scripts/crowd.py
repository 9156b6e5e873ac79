#!/usr/bin/env python3
"""Posts at a constant rate to a service, alone and beside crowds of readers, and tells how long the posts took.

  crowd.py [--port 8000] [--crowd 8000] [--rate 500] [--seconds 12] [--rounds 3] [--pid PID] [--cpus 0,1]
           [--every 1.5]

A crowd is so many keep-alive connections, each of which asked once before. All of them ask again every so many seconds: one
crowd for events of the future, one for /health.

A post's time counts from the moment at which it was due, so one that had to wait for a free connection waits from then.
The clients have a processor before everyone else (SCHED_FIFO, where that is allowed), those who post before the crowd.
With two processors, the service on one of them and the clients on the other (--cpus), neither takes the other's time:

  ulimit -n 20000
  PORT=8000 STORE_MAX_EVENTS=1500000 STORE_MAX_BYTES=4GiB taskset -c 0 chrt -f 1 highwater &
  awk -v EVENTS=1000000 -f bench/events.awk | cut -f 2 |
    curl -sS -T - -X POST -H 'content-type: application/x-ndjson' http://127.0.0.1:8000/events/batch >/dev/null
  scripts/crowd.py --cpus 1 --pid $!
"""

import argparse, collections, os, resource, select, signal, socket, sys, time

EVENT = b'{"userId":"user-%d","eventType":"LOGIN","payload":{"ip":"192.168.1.1","session":"0190163d-8694-739b-aea5"}}'
POST = b"POST /events/generate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
CROWDS = {"listings": "/events/processed?from=2099-01-01T00:00:00Z&limit=10", "health": "/health"}


def connection(port, number=0):
    client = socket.socket()
    client.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
    # Loopback has 28,000 ports an address.
    client.bind((f"127.0.0.{2 + number // 8000}", 0))
    client.connect(("127.0.0.1", port))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.setblocking(False)
    return client


def is_whole(answer):
    head, found, body = answer.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head:
        return body.endswith(b"0\r\n\r\n")
    length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return bool(found) and len(body) >= int(length or 0)


def post(port, rate, seconds, connections=32):
    """The times of the posts in ms, sorted, and how many were not 201."""
    clients = [connection(port) for _ in range(connections)]
    for client in clients:
        client.setblocking(True)
        client.send(POST % (len(EVENT), EVENT))
        client.recv(65536)
        client.setblocking(False)
    sent, free, due, times, failed = {}, list(clients), collections.deque(), [], 0
    began, count = time.monotonic() + 0.1, 0
    while count < rate * seconds or sent or due:
        now = time.monotonic()
        while count < rate * seconds and began + count / rate <= now:
            due.append((began + count / rate, EVENT % (count % 5000)))
            count += 1
        while due and free:
            client, (intended, event) = free.pop(), due.popleft()
            client.send(POST % (len(event), event))
            sent[client] = intended
        wait = 1 if count >= rate * seconds else max(0, began + count / rate - time.monotonic())
        for client in select.select(list(sent), [], [], wait)[0]:
            answer = client.recv(65536)
            times.append((time.monotonic() - sent.pop(client)) * 1000)
            failed += answer[9:12] != b"201"
            free.append(client)
    return sorted(times), failed


class Crowd:
    """Clients who ask all at once, in a process of their own, until it is ended."""

    def __init__(self, given, path):
        self.given, self.ask = given, f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()
        self.answers, said = os.pipe()
        ready, self.ready = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.sched_setscheduler(0, os.sched_getscheduler(0), os.sched_param(int(given.first)))
            self.statuses, self.times, self.open = collections.Counter(), [], {}
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            ended = ""
            try:
                self.run()
            except SystemExit:
                pass
            except Exception as error:
                ended = f", then {error!r}"
            most = f", the slowest {max(self.times) * 1000:.0f} ms" if self.times else ""
            os.write(said, f"{dict(self.statuses)}{most}{ended}".encode())
            os._exit(0)
        os.close(said)
        os.close(self.ready)
        os.read(ready, 1)

    def run(self):
        poll = select.epoll()
        self.connect(poll)
        self.statuses.clear()
        self.times.clear()
        os.write(self.ready, b"r")
        while True:
            began = time.monotonic()
            for client in self.open.values():
                self.send(client)
            self.read(poll, len(self.open))
            time.sleep(max(0, began + self.given.every - time.monotonic()))

    def connect(self, poll):
        for number in range(self.given.crowd):
            client = [connection(self.given.port, number), b"", 0]
            self.open[client[0].fileno()] = client
            poll.register(client[0].fileno(), select.EPOLLIN)
            self.send(client)
            self.read(poll, 1)

    def send(self, client):
        client[1], client[2] = b"", time.monotonic()
        client[0].send(self.ask)

    def read(self, poll, waiting):
        while waiting:
            for number, _ in poll.poll():
                client = self.open[number]
                came = client[0].recv(65536)
                assert came, "a connection of the crowd was closed"
                client[1] += came
                if is_whole(client[1]):
                    self.statuses[client[1][9:12].decode()] += 1
                    self.times.append(time.monotonic() - client[2])
                    waiting -= 1

    def end(self):
        os.kill(self.pid, signal.SIGTERM)
        os.waitpid(self.pid, 0)
        return os.read(self.answers, 1000).decode()


def cpu(pid):
    """The CPU time of a process so far, in ms."""
    with open(f"/proc/{pid}/stat") as stat:
        return sum(map(int, stat.read().rpartition(")")[2].split()[11:13])) * 10


def main():
    arguments = argparse.ArgumentParser(usage=__doc__)
    for name, kind, default in [("port", int, 8000), ("crowd", int, 8000), ("rate", int, 500), ("seconds", int, 12),
                                ("rounds", int, 3), ("pid", int, 0), ("every", float, 1.5)]:
        arguments.add_argument(f"--{name}", type=kind, default=default)
    arguments.add_argument("--cpus", type=lambda text: [int(cpu) for cpu in text.split(",")])
    given = arguments.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    if given.cpus:
        os.sched_setaffinity(0, given.cpus)
    given.first = False
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(2))
        given.first = True
    except OSError:
        print("without SCHED_FIFO: the times hold how long the clients wait for a processor, too")
    for _ in range(given.rounds):
        for name in ["alone", *CROWDS]:
            crowd = Crowd(given, CROWDS[name]) if name in CROWDS else None
            before = cpu(given.pid) if given.pid else 0
            times, failed = post(given.port, given.rate, given.seconds)
            spent = f", CPU {cpu(given.pid) - before} ms" if given.pid else ""
            p50, p90, p99 = (times[len(times) * part // 1000] for part in (500, 900, 990))
            told = f"; the crowd: {crowd.end()}" if crowd else ""
            print(f"{name:>8}: p50 {p50:.2f} p90 {p90:.2f} p99 {p99:.2f} most {times[-1]:.2f} ms, "
                  f"{failed} of {len(times)} failed{spent}{told}", flush=True)
            time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
