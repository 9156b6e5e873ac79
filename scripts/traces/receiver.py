"""A collector for tests: takes OTLP over HTTP in JSON, and reads it as opentelemetry-proto says."""

import base64
import http.server
import json
import threading
import time

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

IDS = {"traceId", "spanId", "parentSpanId"}


def to_protobuf(value):
    """OTLP's JSON has ids in hexadecimal, where the JSON of Protocol Buffers has all bytes in base64."""
    if isinstance(value, list):
        return [to_protobuf(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: base64.b64encode(bytes.fromhex(item)).decode() if name in IDS else to_protobuf(item)
        for name, item in value.items()
    }


def plain(attributes):
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in attributes}


class Span:
    def __init__(self, resource, span):
        self.trace, self.id, self.parent = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
        self.name, self.kind, self.state = span.name, span.kind, span.trace_state
        self.start, self.end = span.start_time_unix_nano, span.end_time_unix_nano
        self.attributes, self.resource = plain(span.attributes), resource
        self.links = [(link.trace_id.hex(), link.span_id.hex()) for link in span.links]
        self.status = span.status

    def __repr__(self):
        return f"{self.name} {self.trace}/{self.id} below {self.parent or 'none'} {self.attributes}"


class Receiver:
    """Listens on a port of its own; `status` is what it answers, None where it never does."""

    def __init__(self):
        self.spans, self.requests, self.status = [], 0, 200
        self.lock = threading.Lock()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.take(self, body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, request, body):
        self.requests += 1
        while self.status is None:
            time.sleep(0.05)
        if self.status == 200:
            assert request.path == "/v1/traces", request.path
            assert request.headers["content-type"] == "application/json"
            assert request.headers["x-key"] == "a b", request.headers["x-key"]
            # A field that the protocol does not have is an error.
            message = json_format.ParseDict(
                to_protobuf(json.loads(body)), trace_service_pb2.ExportTraceServiceRequest()
            )
            with self.lock:
                for of_resource in message.resource_spans:
                    resource = plain(of_resource.resource.attributes)
                    for scope in of_resource.scope_spans:
                        assert scope.scope.name == "highwater" and scope.schema_url == of_resource.schema_url
                        self.spans += [Span(resource, span) for span in scope.spans]
        answer = b"{}"
        request.send_response(self.status)
        request.send_header("content-length", str(len(answer)))
        request.end_headers()
        request.wfile.write(answer)

    def of(self, trace):
        with self.lock:
            return [span for span in self.spans if span.trace == trace]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
