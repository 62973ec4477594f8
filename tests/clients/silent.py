"""A server that takes connections and requests and does not answer, until it is told to."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Silent(BaseHTTPRequestHandler):
    """Waits before each answer; then it is an Iceberg REST catalog without any table."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        with self.server.counting:
            self.server.asked += 1
        self.server.speak.wait()
        found = self.path.startswith("/v1/config")
        missing = {"error": {"message": "no such table", "type": "NoSuchTableException", "code": 404}}
        body = json.dumps({"defaults": {}, "overrides": {}} if found else missing).encode()
        with contextlib.suppress(OSError):
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def silent():
    """Such a server on a free port of this machine: `uri`, how often it was `asked`, and `speak`, which is set to answer."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Silent)
    server.daemon_threads = True
    server.speak, server.counting, server.asked = threading.Event(), threading.Lock(), 0
    server.uri = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.speak.set()
        server.shutdown()
        server.server_close()
        thread.join(10)
