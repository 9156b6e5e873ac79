#!/usr/bin/env bash
# Checks that whatever runs at a URL keeps the contract that the measurements rest on:  check.sh URL
# One without GET /events/processed (bare warp) is checked only as far as its answers. Needs python3.
set -uo pipefail
url=${1:?check.sh URL}; url=${url%/}
exec python3 - "$url" <<'PY'
import json, re, sys, time, urllib.error, urllib.request

url, passed, failed = sys.argv[1], 0, 0

def call(path, body=None, method=None):
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data=data, method=method, headers={"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as r:
            return r.status, r.headers, r.read()
    except urllib.error.HTTPError as e:
        return e.code, e.headers, e.read()

def check(name, ok, seen=""):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    print(("ok      " if ok else "FAILED  ") + name + ("" if ok else f"   {seen}"))

for _ in range(300):  # it may just be starting: 30 s
    try:
        if call("/health")[0] == 200: break
    except OSError: pass
    time.sleep(0.1)
check("GET /health is 200", call("/health")[0] == 200)

good = {"userId": "user-1", "eventType": "PRODUCT_VIEW", "payload": {"sku": "é-1", "n": 3, "deep": {"a": [1, None, True]}}}
bad = {
    "not JSON": b"{nope", "empty body": b"", "an array": b"[]",
    "userId missing": {k: v for k, v in good.items() if k != "userId"},
    "userId empty": {**good, "userId": ""}, "userId a number": {**good, "userId": 7},
    "eventType missing": {k: v for k, v in good.items() if k != "eventType"},
    "eventType unknown": {**good, "eventType": "SIGNUP"}, "eventType lower case": {**good, "eventType": "login"},
    "payload a string": {**good, "payload": "x"}, "payload an array": {**good, "payload": []},
}
for name, body in bad.items():
    status, headers, reply = call("/events/generate", body, "POST")
    try: said = any(isinstance(json.loads(reply).get(field), str) for field in ("error", "title"))
    except Exception: said = False
    check(f"400 with an error: {name}", status == 400 and said, (status, reply[:200]))

sent = {}
for body in [good, {"userId": "user-2", "eventType": "LOGIN"}, {"userId": "user-2", "eventType": "LOGOUT", "payload": {}}]:
    status, headers, reply = call("/events/generate", body, "POST")
    try: event_id = json.loads(reply)["eventId"]
    except Exception: event_id = ""
    check(f"201 with a version 4 UUID: {body['eventType']}",
          status == 201 and re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", event_id),
          (status, reply[:200]))
    check("the reply is application/json", headers.get("content-type", "").startswith("application/json"), headers.get("content-type"))
    sent[event_id] = body

if call("/events/processed")[0] == 404:
    print("        no GET /events/processed here: the consumer is not checked")
else:
    began, events = time.time(), []
    while time.time() - began < 10:
        events = json.loads(call("/events/processed")[2])
        if set(sent) <= {e["eventId"] for e in events}: break
        time.sleep(0.1)
    took = time.time() - began
    check(f"the events appear within 10 s ({took:.1f} s)", set(sent) <= {e["eventId"] for e in events})
    time.sleep(0.5)
    status, headers, reply = call("/events/processed")
    events = json.loads(reply)
    check("GET /events/processed is a JSON array", status == 200 and isinstance(events, list) and headers.get("content-type", "").startswith("application/json"))
    for event_id, body in sent.items():
        mine = [e for e in events if e["eventId"] == event_id]
        check(f"one copy only: {body['eventType']}", len(mine) == 1, len(mine))
        e = mine[0] if mine else {}
        check("with its fields", e.get("userId") == body["userId"] and e.get("eventType") == body["eventType"]
              and (e.get("payload") or {}) == body.get("payload", {})
              and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", e.get("timestamp", "")), e)

print(f"{passed} passed, {failed} failed")
sys.exit(failed > 0)
PY
