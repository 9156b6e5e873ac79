#!/usr/bin/env python3
"""Holds thousands of connections to a service, and tells what they make it take.

  connections.py MODE [--port 8000] [--count 9000] [--hold 30] [--after 20] [--pid PID]

  fill     posts --count events
  readers  GETs of all events, read at 4 KB a second each
  bodies   POSTs that stall after 60 KB of their body
  heads    heads of 60 KB that do not end
  idle     keep-alive connections that asked once and ask no more
  streams  readers of GET /events/stream, each of which gets the event that is posted a second

While the connections are held, and --after seconds longer, a line a second has the answers so far by status, the
memory of the process (VmRSS) and its processor time so far, what the kernel keeps for TCP on this machine, and how long GET /health and a small POST
took. In a container's limit, without a container (cgroup v1; for v2 write memory.max in place of limit_in_bytes):

  mkdir /sys/fs/cgroup/memory/highwater && echo 256M >/sys/fs/cgroup/memory/highwater/memory.limit_in_bytes
  sh -c 'echo $$ >/sys/fs/cgroup/memory/highwater/tasks; exec highwater' &
"""

import argparse, collections, http.client, json, re, resource, select, socket, sys, threading, time

POST = b"POST /events/generate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
OPENINGS = {
    "readers": b"GET /events/processed HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "bodies": POST + b"content-length: 65000\r\n\r\n" + b'{"userId":"' + b"x" * 60_000,
    "heads": b"GET /health HTTP/1.1\r\nhost: localhost\r\nx-long: " + b"x" * 60_000,
    "streams": b"GET /events/stream HTTP/1.1\r\nhost: localhost\r\n\r\n",
    "idle": b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n",
}


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
    small = b'{"userId":"probe","eventType":"LOGIN"}'
    health = probe(port, OPENINGS["idle"])
    posted = probe(port, POST + b"content-length: %d\r\n\r\n" % len(small) + small)
    rss = "gone"
    if pid:
        try:
            with open(f"/proc/{pid}/status") as status:
                resident = re.search(r"VmRSS:\s+(\d+)", status.read())
            with open(f"/proc/{pid}/stat") as stat:
                cpu = sum(map(int, stat.read().rpartition(")")[2].split()[11:13])) / 100
            rss = f"{int(resident[1]) // 1024} MB, CPU {cpu:.2f} s"
        except (OSError, TypeError):
            pass
    with open("/proc/net/sockstat") as sockets:
        kernel = int(re.search(r"TCP:.* mem (\d+)", sockets.read())[1]) * 4096 >> 20
    print(f"{time.monotonic() - began:6.1f} s: {held} held, {dict(statuses)}, RSS {rss}, TCP {kernel} MB, "
          f"health {health}, POST {posted}", flush=True)


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
    arguments.add_argument("mode", choices=["fill", *OPENINGS])
    for name, default in [("port", 8000), ("count", 9000), ("hold", 30), ("after", 20), ("pid", 0)]:
        arguments.add_argument(f"--{name}", type=int, default=default)
    given = arguments.parse_args()
    if given.mode == "fill":
        fill(given.port, given.count)
    else:
        hold(given.mode, given.port, given.count, given.hold, given.after, given.pid)


if __name__ == "__main__":
    sys.exit(main())
