#!/usr/bin/env python3
"""Holds thousands of connections to a service, and tells what they make it take.

  connections.py MODE [--port 8000] [--count 9000] [--hold 30] [--after 20] [--rate 1] [--pid PID]

  fill     posts --count events
  readers  GETs of all events, read at 4 KB a second each
  bodies   POSTs that stall after 60 KB of their body
  heads    heads of 60 KB that do not end
  idle     keep-alive connections that asked once and ask no more
  streams  readers of GET /events/stream: for --hold seconds nothing is posted, and for as long --rate events a second are, which
           each of them must get; tells what a reader takes, at rest and an event. The service needs MAX_EVENT_STREAMS

While the others are held, and --after seconds longer, a line a second has the answers so far by status, the
memory of the process (VmRSS) and its processor time so far, what the kernel keeps for TCP on this machine, and how long GET /health and a small POST
took. In a container's limit, without a container (cgroup v1; for v2 write memory.max in place of limit_in_bytes):

  mkdir /sys/fs/cgroup/memory/highwater && echo 256M >/sys/fs/cgroup/memory/highwater/memory.limit_in_bytes
  sh -c 'echo $$ >/sys/fs/cgroup/memory/highwater/tasks; exec highwater' &
"""

import argparse, collections, http.client, json, os, re, resource, select, socket, sys, threading, time

POST = b"POST /events/generate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
OPENINGS = {
    "readers": b"GET /events/processed HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "bodies": POST + b"content-length: 65000\r\n\r\n" + b'{"userId":"' + b"x" * 60_000,
    "heads": b"GET /health HTTP/1.1\r\nhost: localhost\r\nx-long: " + b"x" * 60_000,
    "idle": b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n",
}


STREAM = b"GET /events/stream HTTP/1.1\r\nhost: localhost\r\n\r\n"
SMALL = b'{"userId":"probe","eventType":"LOGIN"}'


def fill(port, count):
    def some(number):
        client = http.client.HTTPConnection("127.0.0.1", port)
        for event in range(number, count, 16):
            body = json.dumps({"userId": f"user-{event % 1000}", "eventType": "PRODUCT_VIEW",
                               "payload": {"productId": f"product-{event}", "price": 12.5, "page": "/products"}})
            client.request("POST", "/events/generate", body, {"content-type": "application/json"})
            answer = client.getresponse()
            answer.read()
            assert answer.status == 201, answer.status

    threads = [threading.Thread(target=some, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def probe(port, request):
    began = time.monotonic()
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as client:
            client.sendall(request)
            status = client.recv(12)[9:12].decode() or "closed"
    except OSError as error:
        status = type(error).__name__
    return f"{status} in {1000 * (time.monotonic() - began):.0f} ms"


def tell(began, port, pid, held, statuses):
    health = probe(port, OPENINGS["idle"])
    posted = probe(port, POST + b"content-length: %d\r\n\r\n" % len(SMALL) + SMALL)
    rss = "gone"
    if pid:
        try:
            resident, cpu = taken(pid)
            rss = f"{resident // 1024} MB, CPU {cpu:.2f} s"
        except (OSError, TypeError):
            pass
    print(f"{time.monotonic() - began:6.1f} s: {held} held, {dict(statuses)}, RSS {rss}, TCP {kernel() >> 10} MB, "
          f"health {health}, POST {posted}", flush=True)


def taken(pid):
    """What a process takes: KB of memory, and seconds of processor time so far."""
    with open(f"/proc/{pid}/status") as status:
        resident = int(re.search(r"VmRSS:\s+(\d+)", status.read())[1])
    # Of each thread, in nanoseconds: those of /proc/PID/stat are hundredths of a second.
    cpu = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat") as stat:
            cpu += int(stat.read().split()[0])
    return resident, cpu / 1e9


def kernel():
    """What the kernel keeps for TCP on this machine, in KB."""
    with open("/proc/net/sockstat") as sockets:
        return int(re.search(r"TCP:.* mem (\d+)", sockets.read())[1]) * 4


class Readers:
    """Readers of GET /events/stream."""

    def __init__(self, port):
        self.port, self.poll, self.open_ones, self.begun = port, select.epoll(), {}, {}
        # Of each, the events that it has; of all, the signs of life and the ends.
        self.events, self.other = collections.Counter(), collections.Counter()

    def open(self, count):
        for _ in range(count):
            client = socket.create_connection(("127.0.0.1", self.port))
            client.sendall(STREAM)
            head = client.recv(16384)
            assert head.startswith(b"HTTP/1.1 200"), head
            client.setblocking(False)
            self.open_ones[client.fileno()] = client
            self.poll.register(client.fileno(), select.EPOLLIN)

    def read(self, seconds):
        """Reads all that comes, for so long."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            for number, _ in self.poll.poll(left):
                data = self.open_ones[number].recv(65536)
                # What has begun is counted when it is whole.
                text = self.begun.pop(number, b"") + data
                whole = text.rfind(b"\n\n") + 2 if b"\n\n" in text else 0
                self.begun[number], text = text[whole:], text[:whole]
                self.events[number] += text.count(b"\ndata: {\"eventId\"")
                self.other["signs of life"] += text.count(b"\n:\n")
                self.other["ends"] += text.count(b"event: end")
                if not data:
                    self.other["closed"] += 1
                    self.poll.unregister(number)

    def close(self):
        for client in self.open_ones.values():
            client.close()


def streams(port, count, seconds, after, rate, pid):
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    readers = Readers(port)
    events = int(rate * seconds)

    def post():
        client = http.client.HTTPConnection("127.0.0.1", port)
        for number in range(events):
            client.request("POST", "/events/generate", SMALL, {"content-type": "application/json"})
            assert client.getresponse().read()
            time.sleep(max(0, began + (number + 1) / rate - time.monotonic()))

    (before, _), sockets = taken(pid), kernel()
    readers.open(count)
    readers.read(2)
    held, cpu = taken(pid)
    print(f"{count} readers: {held - before} KB more than {before}, {(held - before) / count:.1f} each; the kernel's TCP "
          f"{(kernel() - sockets) / count:.1f} KB each, with this end", flush=True)
    readers.read(seconds)
    rest = (taken(pid)[1] - cpu) / seconds
    print(f"at rest: {1e3 * rest:.2f} ms of CPU a second, {1e6 * rest / count:.2f} µs a reader; {dict(readers.other)}", flush=True)
    posting, began, cpu = threading.Thread(target=post), time.monotonic(), taken(pid)[1]
    posting.start()
    while posting.is_alive():
        readers.read(0.5)
    lasted = time.monotonic() - began
    readers.read(2)
    held, now = taken(pid)
    busy = now - cpu - rest * (lasted + 2)
    whole = sum(readers.events[number] == events for number in readers.open_ones)
    print(f"{events} events in {lasted:.0f} s: {busy:.2f} s of CPU beyond that, {1e6 * busy / events / count:.2f} µs an event and reader; "
          f"{whole} readers got each; {held - before} KB more; {dict(readers.other)}", flush=True)
    readers.close()
    time.sleep(after)
    print(f"{after} s after all have left: {taken(pid)[0] - before} KB more", flush=True)
    assert whole == count


def hold(mode, port, count, seconds, after, pid):
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    statuses, began = collections.Counter(), time.monotonic()
    poll, open_ones, unsent, heard = select.epoll(), {}, {}, set()

    def close(number):
        poll.unregister(number)
        open_ones.pop(number).close()
        unsent.pop(number, None)
        heard.discard(number)

    def step(number, read_at_most):
        client = open_ones[number]
        try:
            if number in unsent:
                unsent[number] = unsent[number][client.send(unsent[number]):]
                if not unsent[number]:
                    del unsent[number]
        except BlockingIOError:
            pass
        except OSError:
            del unsent[number]
        try:
            data = client.recv(read_at_most)
        except BlockingIOError:
            return
        except OSError as error:
            statuses[type(error).__name__] += 1
            return close(number)
        if not data:
            statuses["closed"] += 1
            return close(number)
        if number not in heard:
            heard.add(number)
            statuses[data[9:12].decode()] += 1

    told = opened = 0
    while (now := time.monotonic() - began) < seconds + after:
        if now < seconds:
            for _ in range(100):
                if opened < count:
                    client = socket.socket()
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
                    client.setblocking(False)
                    # Loopback has 28,000 ports an address.
                    try:
                        client.connect(("127.0.0.1", port))
                    except BlockingIOError:
                        pass
                    opened += 1
                    open_ones[client.fileno()], unsent[client.fileno()] = client, OPENINGS[mode]
                    poll.register(client.fileno(), select.EPOLLOUT)
            if opened < count:
                for number in [number for number in open_ones if number in unsent]:
                    step(number, 4096)
        elif open_ones:
            for number in list(open_ones):
                close(number)
        if now >= told and (opened == count or now - told > 1):
            told = now + 1
            for number in list(open_ones):
                step(number, 4096)
            tell(began, port, pid, len(open_ones), statuses)
        if opened == count:
            time.sleep(0.05)


def main():
    arguments = argparse.ArgumentParser(usage=__doc__)
    arguments.add_argument("mode", choices=["fill", "streams", *OPENINGS])
    for name, default in [("port", 8000), ("count", 9000), ("hold", 30), ("after", 20), ("rate", 1), ("pid", 0)]:
        arguments.add_argument(f"--{name}", type=int, default=default)
    given = arguments.parse_args()
    if given.mode == "fill":
        fill(given.port, given.count)
    elif given.mode == "streams":
        streams(given.port, given.count, given.hold, given.after, given.rate, given.pid)
    else:
        hold(given.mode, given.port, given.count, given.hold, given.after, given.pid)


if __name__ == "__main__":
    sys.exit(main())
