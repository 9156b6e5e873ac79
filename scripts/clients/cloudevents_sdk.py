"""CloudEvents' SDK for Python posts in each mode and reads its events back, with WRITE_KEY and READ_KEY.  cloudevents_sdk.py ADDRESS"""

import json
import os
import sys

import requests
from cloudevents.conversion import to_json
from cloudevents.http import CloudEvent, from_json, to_binary, to_structured

base = sys.argv[1]
written, reading = ({"x-api-key": os.environ[name]} for name in ("WRITE_KEY", "READ_KEY"))
attributes = {"type": "com.example.login", "source": "https://example.com/py", "subject": "ann é", "comexample": 'ext "q"'}
sent = [CloudEvent(attributes, {"n": 1, "s": "é"}), CloudEvent(attributes, {"n": 2}), CloudEvent({**attributes, "id": "no uuid"}, {"n": 3})]
for make, event in zip((to_binary, to_structured, to_binary), sent, strict=True):
    headers, body = make(event)
    answer = requests.post(f"{base}/events/generate", headers={**headers, **written}, data=body, timeout=20)
    assert answer.status_code == 201, answer.text
batch = [CloudEvent(attributes, {"n": number}) for number in range(10, 15)]
answer = requests.post(
    f"{base}/events/batch",
    headers={**written, "content-type": "application/cloudevents-batch+json"},
    data=json.dumps([json.loads(to_json(event)) for event in batch]),
    timeout=20,
)
assert answer.status_code == 207 and answer.json()["stored"] == 5, answer.text
last = answer.json()["receipts"][4]["eventId"]
requests.get(f"{base}/events/processed/{last}?wait=10s", headers=reading, timeout=20).raise_for_status()
listing = requests.get(
    f"{base}/events/processed",
    params={"userId": "ann é"},
    headers={**reading, "accept": "application/cloudevents-batch+json"},
    timeout=20,
)
back = {event["id"]: from_json(json.dumps(event)) for event in listing.json()}
assert len(back) == 8, back
for event in sent + batch:
    read = back[event["id"]]
    assert read.data == event.data, (read.data, event.data)
    for name in event.get_attributes():
        assert name in ("time", "datacontenttype") or read[name] == event[name], (name, read[name], event[name])
