"""An S3 server over a directory, as far as readers of tables need one: each of its directories is a bucket, nobody is
asked who they are, and nothing can be written."""

import contextlib
import email.utils
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def span(header, size):
    """The first byte of a `Range` header and the one after its last."""
    first, _, last = header.removeprefix("bytes=").partition("-")
    if not first:
        return max(size - int(last), 0), size
    return int(first), min(int(last) + 1, size) if last else size


class Reads(BaseHTTPRequestHandler):
    """Answers HEAD and GET of an object, whole or a range of it."""

    protocol_version = "HTTP/1.1"
    # Small answers must not wait for the reader's acknowledgement.
    disable_nagle_algorithm = True

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        root = self.server.root
        key = urllib.parse.unquote(self.path.partition("?")[0]).lstrip("/")
        path = (root / key).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = path.read_bytes()
        start, end = 0, len(content)
        asked = self.headers.get("Range")
        if asked:
            start, end = span(asked, len(content))
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
        self.send_header("Content-Length", str(end - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{path.stat().st_mtime_ns:x}-{len(content):x}"')
        self.send_header("Last-Modified", email.utils.formatdate(path.stat().st_mtime, usegmt=True))
        self.end_headers()
        if body:
            self.wfile.write(content[start:end])

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving(root):
    """Serves the directory on a free port of this machine, and gives the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Reads)
    server.daemon_threads = True
    server.root = Path(root).resolve()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
