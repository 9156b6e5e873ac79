"""Segment's SDK for Python, plain and with gzip, with WRITE_KEY, through a proxy that loses answers.  segment_sdk.py LOSSY SERVICE"""

import os
import sys
import time

import requests
from segment.analytics.client import Client
from segment.analytics.request import APIError, post

lossy, service = sys.argv[1:]
write_key, reading = os.environ["WRITE_KEY"], {"x-api-key": os.environ["READ_KEY"]}
faults = []
for gzip in (False, True):
    user = f"python-{gzip}"
    client = Client(write_key, host=lossy, gzip=gzip, on_error=lambda error, items: faults.append((error, items)))
    for number in range(30):
        client.track(user, "Bought", {"number": number})
    client.identify(user, {"plan": "free"})
    client.page(user, "category", "name")
    client.flush()
    client.join()
    end = time.monotonic() + 20
    while (count := requests.get(f"{service}/api/events/user/{user}", headers=reading, timeout=20).json()["count"]) < 32:
        assert time.monotonic() < end, (user, count)
    assert count == 32, (user, count)
assert not faults, faults
try:
    post(write_key, host=service, batch=[{"type": "track", "userId": "a"}])
    raise AssertionError("a track without its event is refused")
except APIError as refused:
    assert "event" in str(refused), refused
