"""Takes OTLP over HTTP, reads it with the messages that OpenTelemetry publishes, and prints each request as a line of JSON.

The first line is the port. What those messages do not know is refused: a field of a wrong number would otherwise pass.
"""

import gzip
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics

SIGNALS = {
    "/v1/metrics": (metrics.ExportMetricsServiceRequest, metrics.ExportMetricsServiceResponse),
    "/v1/logs": (logs.ExportLogsServiceRequest, logs.ExportLogsServiceResponse),
}


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        known = SIGNALS.get(self.path)
        if known is None or self.headers["content-type"] != "application/x-protobuf":
            return self.answer(404, b"")
        if self.headers["content-encoding"] == "gzip":
            body = gzip.decompress(body)
        request, response = known
        message = request()
        try:
            message.ParseFromString(body)
        except DecodeError as error:
            say(json.dumps({"refused": str(error)}))
            return self.answer(400, b"")
        whole = message.ByteSize()
        message.DiscardUnknownFields()
        if message.ByteSize() != whole:
            say(json.dumps({"refused": "unknown fields"}))
            return self.answer(400, b"")
        headers = {name.lower(): value for name, value in self.headers.items()}
        say(json.dumps({"path": self.path, "headers": headers, "body": MessageToDict(message)}))
        return self.answer(200, response().SerializeToString())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Standard error is for tracebacks."""


server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
say(str(server.server_port))
server.serve_forever()
