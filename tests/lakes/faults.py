"""What goes wrong between a reader and a foreign server: both talk through a proxy on this machine, which does it.

`Proxy` understands HTTP, and `Tunnel` carries bytes. Each stays at one address, whatever happens to it.
"""

import collections
import contextlib
import http.client
import random
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# What is between one machine and the next, and no concern of the one after that.
HOP = {"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "content-length"}
# Longer than anybody waits who asks through it.
UPSTREAM = 120


@dataclass(frozen=True)
class Says:
    """Everything is answered with a status, as if by the server."""

    status: int

    def answer(self):
        return self.status, {"Content-Type": "application/json"}, b'{"error": {"message": "no", "type": "no", "code": 0}}'


@dataclass(frozen=True)
class Slow:
    """Everything takes that much longer."""

    seconds: float


@dataclass(frozen=True)
class Hangs:
    """Nothing is answered."""


@dataclass(frozen=True)
class Cuts:
    """An answer ends in its middle."""


@dataclass(frozen=True)
class Resets:
    """An answer ends in its middle, and so does its connection, without a farewell."""


@dataclass(frozen=True)
class Shortens:
    """Half of an answer is sent as if it were the whole."""


@dataclass(frozen=True)
class Dead:
    """Nobody is there."""


class Chaos:
    """Each request draws its own fault, or none. What it draws follows from the seed, from what is asked for and from how
    often that was asked for before, and not from who comes first."""

    def __init__(self, seed, share, faults):
        self.seed, self.share, self.faults = seed, share, faults
        self.lock, self.asked, self.drawn = threading.Lock(), collections.Counter(), collections.Counter()

    def draw(self, asked):
        what = (asked.method, asked.path, asked.headers.get("Range"))
        with self.lock:
            self.asked[what] += 1
            draw = random.Random(f"{self.seed} {what} {self.asked[what]}")
            fault = draw.choice(self.faults) if draw.random() < self.share else None
            self.drawn[type(fault).__name__] += 1
        return fault


@dataclass
class Asked:
    """A request, as guards see it."""

    method: str
    path: str
    headers: object
    body: bytes


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Small answers must not wait for the reader's acknowledgement.
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        self.upstream = None
        self.server.proxy.opened(self.connection)

    def finish(self):
        self.server.proxy.closed(self.connection)
        if self.upstream:
            self.upstream.close()
        with contextlib.suppress(OSError):
            super().finish()

    def handle(self):
        with contextlib.suppress(OSError):
            super().handle()

    def serve(self):
        proxy = self.server.proxy
        asked = Asked(self.command, self.path, self.headers, self.body())
        for guard in list(proxy.guards):
            if answer := guard(asked):
                self.give(*answer)
                return
        fault = proxy.fault_of(asked)
        match fault:
            case Hangs():
                proxy.lifted.wait(UPSTREAM)
                self.close_connection = True
                return
            case Slow(seconds):
                time.sleep(seconds)
            case Says():
                self.give(*fault.answer())
                return
        try:
            answer = self.forward(asked)
        except (OSError, http.client.HTTPException):
            # The server behind is gone, and so is whoever stands for it.
            self.close_connection = True
            return
        status, headers, content = answer
        for edit in list(proxy.editors):
            content = edit(asked, status, content)
        if isinstance(fault, Shortens):
            content = content[: len(content) // 2]
        self.give(status, headers, content, cut=isinstance(fault, Cuts | Resets))
        if isinstance(fault, Resets):
            # What was not read yet is thrown away at the other end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.wfile.flush()
            self.connection.close()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = serve

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def forward(self, asked):
        """Asks the server itself, as the reader asked: a signature of the request stays good."""
        kept = self.upstream is not None
        if not kept:
            self.upstream = http.client.HTTPConnection(self.server.proxy.upstream, timeout=UPSTREAM)
        try:
            self.upstream.putrequest(asked.method, asked.path, skip_host=True, skip_accept_encoding=True)
            for name, value in asked.headers.items():
                if name.lower() not in HOP:
                    self.upstream.putheader(name, (name.lower() == "host" and self.server.proxy.host) or value)
            if asked.body or asked.method in ("POST", "PUT", "PATCH"):
                self.upstream.putheader("Content-Length", str(len(asked.body)))
            self.upstream.endheaders(asked.body or None)
            answer = self.upstream.getresponse()
            headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in HOP]
            if asked.method == "HEAD" and (size := answer.getheader("Content-Length")):
                headers.append(("Content-Length", size))
            return answer.status, headers, answer.read()
        except (OSError, http.client.HTTPException):
            self.upstream.close()
            self.upstream = None
            if kept and asked.method in ("GET", "HEAD"):
                # A connection that was kept may have ended in the meantime.
                return self.forward(asked)
            raise

    def give(self, status, headers, body, cut=False):
        self.server.proxy.answered.append((self.command, self.path, status))
        # A status and no more of it: what comes from the server says itself who made it.
        self.send_response_only(status)
        headers = headers.items() if isinstance(headers, dict) else headers
        for name, value in headers:
            self.send_header(name, value)
        if self.command != "HEAD" and status not in (204, 304):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.close_connection = True

    def log_message(self, *_):
        pass


class Listener:
    """An address that is there or not, and the connections through it."""

    def __init__(self):
        self.fault = None
        self.lifted = threading.Event()
        self.lock, self.connections = threading.Lock(), set()
        self.port = 0

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def opened(self, connection):
        with self.lock:
            self.connections.add(connection)

    def closed(self, connection):
        with self.lock:
            self.connections.discard(connection)

    def cut_off(self):
        """Ends all connections."""
        with self.lock:
            for connection in self.connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def suffering(self, fault):
        """The fault, as long as this lasts."""
        self.lifted.clear()
        self.fault = fault
        if isinstance(fault, Dead):
            self.close()
        try:
            yield self
        finally:
            self.fault = None
            self.lifted.set()
            if isinstance(fault, Dead):
                self.listen()


class Proxy(Listener):
    """Stands before an HTTP server, and speaks TLS for it if it is given certificate and key."""

    def __init__(self, upstream, tls=None, host=None):
        super().__init__()
        self.upstream = upstream
        # What the server behind wants to be called, if anything.
        self.host = host
        # Asked before each request: a guard may answer it, with status, headers and body.
        self.guards = []
        # Asked after each: what it gives for the body of an answer is sent instead.
        self.editors = []
        # Which requests a fault is for; all of them without it.
        self.only = None
        self.answered = []
        self.context = None
        if tls:
            self.certify(*tls)
        self.listen()

    @property
    def url(self):
        return f"{'https' if self.context else 'http'}://{self.address}"

    def certify(self, certificate, key):
        """Shows this certificate from now on, and everybody must look at it: no connection and no session goes on."""
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.cut_off()

    def fault_of(self, asked):
        fault = self.fault if self.only is None or self.only(asked) else None
        return fault.draw(asked) if isinstance(fault, Chaos) else fault

    def listen(self):
        self.server = Endpoint(("127.0.0.1", self.port), Handler)
        self.server.proxy = self
        self.port = self.server.server_port
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.cut_off()
        self.thread.join()


class Endpoint(ThreadingHTTPServer):
    daemon_threads = True
    # As many as come at once.
    request_queue_size = 128

    def process_request_thread(self, request, address):
        if self.proxy.context:
            try:
                request.settimeout(UPSTREAM)
                request = self.proxy.context.wrap_socket(request, server_side=True)
            except OSError:
                self.shutdown_request(request)
                return
        super().process_request_thread(request, address)

    def handle_error(self, *_):
        pass


class Tunnel(Listener):
    """Carries bytes to a server and back, and knows no more of them."""

    def __init__(self, upstream):
        super().__init__()
        self.upstream = upstream
        self.listen()

    def listen(self):
        self.socket = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.accept, args=(self.socket,), daemon=True)
        self.thread.start()

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.cut_off()
        self.thread.join()

    def accept(self, listening):
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=self.carry, args=(client,), daemon=True).start()

    def carry(self, client):
        host, _, port = self.upstream.partition(":")
        try:
            server = socket.create_connection((host, int(port)), timeout=UPSTREAM)
        except OSError:
            client.close()
            return
        for end in (client, server):
            self.opened(end)
        ways = [(client, server, False), (server, client, True)]
        threads = [threading.Thread(target=self.pour, args=way, daemon=True) for way in ways]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for end in (client, server):
            self.closed(end)
            end.close()

    def pour(self, source, target, is_answer):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                match self.fault:
                    case Hangs():
                        self.lifted.wait(UPSTREAM)
                        break
                    case Slow(seconds) if is_answer:
                        time.sleep(seconds)
                    case Cuts() if is_answer:
                        target.sendall(data[: len(data) // 2])
                        break
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
