#!/usr/bin/env python3
"""What scripts/traces.sh checks: traces.py BINARY [JAEGER]."""

import json
import os
import pathlib
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

from opentelemetry.semconv._incubating.attributes import messaging_attributes
from opentelemetry.semconv.attributes import (
    client_attributes, error_attributes, http_attributes, network_attributes, server_attributes, url_attributes,
    user_agent_attributes,
)
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from receiver import Receiver

BINARY = sys.argv[1]
ROOT = pathlib.Path(__file__).resolve().parents[2]
TOKEN = "let-me-in-to-the-dead-letters"
SERVER, PRODUCER, CONSUMER = 2, 4, 5
TOPIC = "user-activity-events"
EVENT = {"userId": "ada", "eventType": "LOGIN"}
work = pathlib.Path(tempfile.mkdtemp())


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def wait_for(what, condition, seconds=20):
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.05)


class Service:
    """A service that runs until the end of the `with`."""

    def __init__(self, name, *arguments, **settings):
        self.port = free_port()
        self.address, self.log = f"http://127.0.0.1:{self.port}", work / f"{name}.log"
        port = "USERS_PORT" if "users" in arguments else "PORT"
        settings = {
            "HOST": "127.0.0.1", port: str(self.port), "LOG_FORMAT": "json", "ADMIN_TOKEN": TOKEN,
            "OTEL_EXPORTER_OTLP_HEADERS": "x-key=a%20b", "OTEL_BSP_SCHEDULE_DELAY": "100",
        } | settings
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([BINARY, *arguments], env=settings, stdout=log, stderr=log, cwd=work)

    def __enter__(self):
        wait_for(f"{self.log.name} is ready", self.is_ready, 60)
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(15) == 0, self.log.read_text()[-2000:]

    def is_ready(self):
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.ask("/ready")[0] == 200
        except OSError:
            return False

    def ask(self, path, body=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            headers.setdefault("content-type", "application/json")
            body = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data=body, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode(), answer.headers
        except urllib.error.HTTPError as answer:
            return answer.code, answer.read().decode(), answer.headers

    def lines(self):
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def metric(self, name):
        return float(re.search(rf"^{name} (\S+)$", self.ask("/metrics")[1], re.M)[1])


def trace_parent(flags="01"):
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    return trace, span, f"00-{trace}-{span}-{flags}"


def documented(title):
    """The attributes of a section of the page: those that are always there, and all."""
    page = (ROOT / "docs/operating/traces.md").read_text(encoding="utf-8")
    section = re.search(rf"^### .*{re.escape(title)}.*?$(.*?)(?=^##)", page, re.M | re.S)[1]
    rows = [row.split("|")[1] for row in section.splitlines() if row.startswith("| ") and "`" in row.split("|")[1]]
    every = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    return every - {name for row in rows for name in re.findall(r"\*`([^`]+)`\*", row)}, every


def check_attributes(spans):
    known = {
        value
        for module in (client_attributes, error_attributes, http_attributes, messaging_attributes, network_attributes,
                       server_attributes, url_attributes, user_agent_attributes)
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str)
    }
    titles = {SERVER: "`SERVER`", PRODUCER: "`PRODUCER`", CONSUMER: "`CONSUMER`"}
    for span in spans:
        always, every = documented(titles[span.kind])
        assert always <= span.attributes.keys() <= every, f"{span}: lacks {always - span.attributes.keys()}"
        assert span.attributes.keys() <= known, f"no conventions: {span.attributes.keys() - known}"
        assert 0 < span.start <= span.end
        always, every = documented("The service")
        assert always <= span.resource.keys() and span.resource["deployment.environment.name"] == "tests"
        if span.kind == CONSUMER and span.parent:
            assert span.links == [(span.trace, span.parent)], span


def shape(spans):
    """The names of the spans and of what they are below, for comparison."""
    names = {span.id: span.name for span in spans}
    return sorted((span.name, names.get(span.parent, span.parent)) for span in spans)


def main():
    receiver = Receiver()
    with Service(
        "activity",
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url + "/",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=tests",
    ) as service:
        brokers = re.search(r"embedded broker at ([0-9.:]+)", service.log.read_text())[1]
        whole(service, receiver, brokers)
        away(service, receiver)
        receiver = Receiver()
        refused_and_off(receiver, brokers)
        stopping(receiver, brokers)
        if sys.argv[2:]:
            by_jaeger(sys.argv[2], brokers)
    print("all traces are whole")


def whole(service, receiver, brokers):
    produce = f"send {TOPIC}"
    process = f"process {TOPIC}"

    trace, client, parent = trace_parent()
    status, _, head = service.ask("/events/generate", EVENT, traceparent=parent, tracestate="shop=1")
    assert status == 201
    spans = wait_for("a trace of an event", lambda: len(receiver.of(trace)) == 3 and receiver.of(trace))
    assert shape(spans) == [("POST /events/generate", client), (process, produce), (produce, "POST /events/generate")]
    check_attributes(spans)
    by_name = {span.name: span for span in spans}
    server = by_name["POST /events/generate"].attributes
    assert server["http.route"] == server["url.path"] == "/events/generate" and server["http.response.status_code"] == 201
    assert server["server.port"] == service.port and server["client.address"] == "127.0.0.1"
    for name in (produce, process):
        attributes = by_name[name].attributes
        assert attributes["messaging.destination.partition.id"] == head["kafka-partition"]
        assert attributes["messaging.kafka.offset"] == int(head["kafka-offset"])
    assert {span.state for span in spans} == {"shop=1"}
    assert by_name[process].resource["service.name"] == "highwater"
    of_trace = [line for line in service.lines() if line.get("trace_id") == trace]
    assert {line["message"] for line in of_trace} == {"published", "processed"}, of_trace
    assert {line["span_id"] for line in of_trace} == {by_name["POST /events/generate"].id, by_name[produce].id}
    print("ok    an event: from its POST to the store, and its log lines")

    families = text_string_to_metric_families(service.ask("/metrics", accept="application/openmetrics-text")[1])
    exemplars = [sample.exemplar for family in families for sample in family.samples if sample.exemplar]
    assert trace in {exemplar.labels["trace_id"] for exemplar in exemplars}, exemplars
    assert "# {" not in service.ask("/metrics")[1]
    print("ok    an exemplar ties the latency to its trace")

    trace, client, parent = trace_parent()
    status, text, _ = service.ask("/events/batch", [EVENT] * 5, traceparent=parent)
    assert status == 207 and text.count("eventId") == 5
    spans = wait_for("a trace of a batch", lambda: len(receiver.of(trace)) == 11 and receiver.of(trace))
    assert shape(spans) == sorted(
        [("POST /events/batch", client)] + 5 * [(produce, "POST /events/batch"), (process, produce)]
    )
    check_attributes(spans)
    print("ok    a batch: one trace, of which each record is a part")

    trace, client, parent = trace_parent()
    kcat("-P", "-t", TOPIC, "-k", "bob", "-H", f"traceparent={parent}", brokers=brokers, text="no event\n")
    dlq = f"send {TOPIC}.dlq"
    spans = wait_for("a trace of a dead letter", lambda: len(receiver.of(trace)) == 2 and receiver.of(trace))
    assert shape(spans) == sorted([(process, client), (dlq, client)]), spans
    (processed,) = [span for span in spans if span.name == process]
    assert processed.attributes["error.type"] == "dead_letter" and processed.status.code == 2
    status, text, _ = service.ask("/dead-letters/redrive", {"all": True}, authorization=f"Bearer {TOKEN}")
    assert status == 200 and json.loads(text)["redriven"] == 1, text
    spans = wait_for("a trace of a redrive", lambda: len(receiver.of(trace)) == 5 and receiver.of(trace))
    assert shape(spans) == sorted(2 * [(process, client), (dlq, client)] + [(produce, client)]), spans
    check_attributes(spans)
    print("ok    a record that is set aside, and its redrive")

    known = {span.trace for span in receiver.spans}
    for invalid in ("00-" + 32 * "0" + "-00f067aa0ba902b7-01", "ff" + parent[2:], parent.upper(), parent + "-00"):
        before = len(receiver.spans)
        assert service.ask("/events/generate", EVENT, traceparent=invalid)[0] == 201
        wait_for("a new trace", lambda: len(receiver.spans) == before + 3)
        (server,) = [span for span in receiver.spans[before:] if span.kind == SERVER]
        assert server.parent == "" and server.trace not in known
        known.add(server.trace)
    print("ok    a malformed traceparent: a new trace")

    trace, client, parent = trace_parent("00")
    assert service.ask("/events/generate", EVENT, traceparent=parent)[0] == 201
    headers = kcat("-C", "-e", "-q", "-t", TOPIC, "-f", "%h\n", brokers=brokers)
    assert f"traceparent={parent}" in headers, headers[-500:]

    # Another instance, of a group of its own: it processes what the first one published.
    with Service(
        "another",
        KAFKA_BROKERS=brokers,
        KAFKA_GROUP_ID="another",
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=receiver.url + "/v1/traces",
        OTEL_SERVICE_NAME="another",
    ):
        def joined():
            parents = {span.id: span for span in receiver.spans if span.kind == PRODUCER}
            others = [span for span in receiver.spans if span.resource["service.name"] == "another"]
            return [(span, parents[span.parent]) for span in others if span.parent in parents]

        pairs = wait_for("another instance, below what published", joined)
        assert all(span.trace == parent.trace for span, parent in pairs)
    assert not receiver.of(trace), "it was not sampled"
    print("ok    what is not sampled is not recorded, and its record says so; another instance is in the same traces")

    with Service(
        "users", "users", KAFKA_BROKERS=brokers, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url
    ) as users:
        trace, client, parent = trace_parent()
        user = {"email": "ada@example.org", "name": "Ada"}
        assert users.ask("/users", user, traceparent=parent)[0] == 201
        spans = wait_for("a user", lambda: len(receiver.of(trace)) == 2 and receiver.of(trace))
        assert shape(spans) == [("POST /users", client), ("send user-events", "POST /users")], spans
    print("ok    a user")


def away(service, receiver):
    """The receiver is slow, then away: spans are lost, and nothing else."""
    receiver.status = None
    exported = service.metric("highwater_spans_exported_total")
    assert service.metric("highwater_spans_dropped_total") == 0 and exported > 20
    events = "\n".join(json.dumps(EVENT) for _ in range(5_000))
    status, text, _ = service.ask("/events/batch", events, content_type="application/x-ndjson")
    assert status == 207 and text.count('"status":201') + text.count("eventId") >= 5_000, text[:500]
    wait_for("dropped spans", lambda: service.metric("highwater_spans_dropped_total") > 5_000)
    memory = service.metric("process_resident_memory_bytes")
    receiver.close()
    receiver.status = 503
    began = time.monotonic()
    for _ in range(50):
        assert service.ask("/events/generate", EVENT)[0] == 201
    assert time.monotonic() - began < 10
    wait_for("a warning", lambda: [line for line in service.lines() if "spans are dropped" in line["message"]], 60)
    assert service.metric("process_resident_memory_bytes") < memory + 32 * 2**20
    warnings = [line for line in service.lines() if line["level"] == "WARN" and "span" in line["message"]]
    assert len(warnings) == 1, warnings
    print("ok    a receiver that is slow, and away: spans are dropped, and counted; one warning")


def refused_and_off(receiver, brokers):
    for settings, said in [
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL"),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER"),
        ({"OTEL_TRACES_SAMPLER": "xray"}, "OTEL_TRACES_SAMPLER"),
    ]:
        settings["OTEL_EXPORTER_OTLP_ENDPOINT"] = receiver.url
        refused = subprocess.run([BINARY], env=settings, capture_output=True, text=True, cwd=work, timeout=30)
        assert refused.returncode == 2 and said in refused.stderr, refused
    before = receiver.requests
    for settings in (
        {"OTEL_SDK_DISABLED": "true"},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {"OTEL_TRACES_SAMPLER": "always_off"},
    ):
        name = next(iter(settings))
        with Service(
            name, KAFKA_BROKERS=brokers, KAFKA_GROUP_ID=name, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, **settings
        ) as off:
            _, _, parent = trace_parent()
            assert off.ask("/events/generate", EVENT, traceparent=parent)[0] == 201
    assert receiver.requests == before
    print("ok    switched off, no spans are sent; what is not spoken is refused")


def stopping(receiver, brokers):
    trace, _, parent = trace_parent()
    with Service(
        "stopping",
        KAFKA_BROKERS=brokers,
        KAFKA_GROUP_ID="stopping",
        OFFSET_RESET="latest",
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        OTEL_BSP_SCHEDULE_DELAY="600000",
    ) as service:
        assert service.ask("/events/generate", EVENT, traceparent=parent)[0] == 201
        assert not receiver.of(trace)
    assert {span.name for span in receiver.of(trace)} >= {"POST /events/generate", f"send {TOPIC}"}
    print("ok    a stopping service sends what is left")


def by_jaeger(program, brokers):
    """A Jaeger as its image runs without arguments, whose address alone is another."""
    address = "127.0.0.2"
    query = f"http://{address}:16686"

    def answer(path):
        try:
            with urllib.request.urlopen(query + path, timeout=5) as got:
                return json.load(got)["data"] if path else got.status
        except OSError:
            return None

    with (work / "jaeger.log").open("wb") as log:
        jaeger = subprocess.Popen([program], env={"JAEGER_LISTEN_HOST": address}, stdout=log, stderr=log, cwd=work)
    try:
        # What the health check of Compose asks for.
        wait_for("Jaeger is up", lambda: answer("") == 200)
        with Service(
            "jaeger",
            KAFKA_BROKERS=brokers,
            KAFKA_GROUP_ID="jaeger",
            OFFSET_RESET="latest",
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{address}:4318",
            OTEL_SERVICE_NAME="by-jaeger",
        ) as service:
            trace, client, parent = trace_parent()
            assert service.ask("/events/generate", EVENT, traceparent=parent)[0] == 201

            def spans():
                found = answer(f"/api/traces/{trace}")
                return found and len(found[0]["spans"]) == 3 and found[0]

            found = wait_for("Jaeger has the trace", spans)
        names = {span["spanID"]: span["operationName"] for span in found["spans"]}
        below = sorted(
            (span["operationName"], names.get(reference["spanID"], reference["spanID"]))
            for span in found["spans"]
            for reference in span["references"]
        )
        send, process, request = f"send {TOPIC}", f"process {TOPIC}", "POST /events/generate"
        assert below == [(request, client), (process, send), (send, request)], below
        assert {one["serviceName"] for one in found["processes"].values()} == {"by-jaeger"}
        assert "by-jaeger" in answer("/api/services")
    except AssertionError:
        print((work / "jaeger.log").read_text()[-3000:], file=sys.stderr)
        raise
    finally:
        # Told to end, it first waits for a collector of its own spans.
        jaeger.kill()
        jaeger.wait()
    print("ok    Jaeger has the trace of an event")


def kcat(*arguments, brokers, text=None):
    done = subprocess.run(
        ["kcat", "-b", brokers, *arguments], input=text, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


if __name__ == "__main__":
    main()
