#!/usr/bin/env python3
"""The time of a page of 100 events, over HTTP, by each filter, each two of them, and all three: the first page, one in the
middle and one near the end, in both orders. Prints a table in Markdown, of medians in milliseconds, over one connection.

    bench/store/pages.py http://127.0.0.1:8000 [REQUESTS]

The store holds what bench/events.awk writes. Each of the REQUESTS (41) of a cell asks for another user, type or time.
Needs Python 3 alone.
"""
import calendar, http.client, json, random, re, sys, time, urllib.parse

url = urllib.parse.urlparse(sys.argv[1])
requests = int(sys.argv[2]) if len(sys.argv) > 2 else 41
connection = http.client.HTTPConnection(url.hostname, url.port, timeout=600)
random.seed(7)


def get(parameters):
    began = time.perf_counter()
    connection.request("GET", "/events/processed?" + urllib.parse.urlencode(parameters))
    answer = connection.getresponse()
    body = answer.read()
    took = (time.perf_counter() - began) * 1000
    assert answer.status == 200, (answer.status, body)
    return took, json.loads(body), answer.getheader("link")


def cursor(link):
    text = urllib.parse.parse_qs(urllib.parse.urlparse(re.search("<(.*)>", link)[1]).query)["cursor"][0]
    numbers = [int(number, 16) for number in text.split("-")]
    return dict(zip(numbers[::2], numbers[1::2]))


first, last = (cursor(get({"limit": 1, "order": order})[2]) for order in ("asc", "desc"))
events = sum(last.values())
times = [get({"limit": 1, "order": order})[1][0]["timestamp"] for order in ("asc", "desc")]
parse = lambda text: calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))
begin, end = map(parse, times)


def moment(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


def window():
    # Down to a hundredth of a percent of all time there is.
    length = (end - begin) * 10 ** random.uniform(-4, -0.3)
    start = begin + random.random() * (end - begin - length)
    return {"from": moment(start), "to": moment(start + length + 1)}


user = lambda: {"userId": f"user-{random.randint(1, 10000):05d}"}
common = lambda: {"eventType": random.choice(["LOGIN", "LOGOUT", "PRODUCT_VIEW"])}
rare = lambda: {"eventType": random.choice(["REFUND", "NO_SUCH_TYPE"])}
filters = {
    "none": [],
    "user": [user],
    "type": [common],
    "type, rare or none": [rare],
    "time": [window],
    "user, type": [user, common],
    "user, time": [user, window],
    "type, time": [common, window],
    "rare type, time": [rare, window],
    "user, type, time": [user, common, window],
}


def at(depth, order, wanted):
    """A cursor so deep in what matches: a time's events lie together, all others everywhere."""
    low, high = 0.0, 1.0
    if "from" in wanted:
        low, high = ((parse(wanted[edge]) - begin) / (end - begin) for edge in ("from", "to"))
        low, high = max(low, 0), min(high, 1)
    if depth is None:
        return {}
    share = low + (high - low) * (depth if order == "asc" else 1 - depth)
    positions = ((part, int(first[part] + (last[part] - first[part]) * share)) for part in last)
    return {"cursor": "-".join(f"{part:x}-{position:x}" for part, position in positions)}


def median(times):
    return sorted(times)[len(times) // 2]


depths = {"first": None, "middle": 0.5, "near the end": 0.9995}
print(f"{events:,} events; medians of {requests} pages of 100, and the slowest, in ms\n")
print("| | " + " | ".join(f"{order}, {depth}" for order in ("asc", "desc") for depth in depths) + " |")
print("| --- |" + " ---: |" * 6)
for name, parts in filters.items():
    cells = []
    for order in ("asc", "desc"):
        for depth in depths.values():
            took, found = [], 0
            for _ in range(requests):
                wanted = {key: value for part in parts for key, value in part().items()}
                each, page, _ = get({"limit": 100, "order": order, **wanted, **at(depth, order, wanted)})
                took.append(each)
                found += len(page)
            cells.append(f"{median(took):.1f} ({max(took):.0f})")
            print(f"{name} {order} {depth}: {found / requests:.0f} events a page", file=sys.stderr)
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
