"""HTTP/2 by hand: frames that no well-meant library sends, on a plain socket.

Headers are written as literals without an index, which every decoder takes.
"""

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
ACK, END_STREAM, END_HEADERS = 1, 1, 4
INITIAL_WINDOW_SIZE, CANCEL = 4, 8

SERVICE = "/arrow.flight.protocol.FlightService/"


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _number(value, bits):
    """An HPACK integer behind a first byte whose upper bits are zero."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([value])
    out, value = bytearray([most]), value - most
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes([*out, value])


def fields(*pairs):
    """A header block."""
    block = b""
    for name, value in pairs:
        name, value = name.encode(), value.encode()
        block += b"\x00" + _number(len(name), 7) + name + _number(len(value), 7) + value
    return block


def call(method, token=None, *more):
    """The header block of a Flight call."""
    login = [("authorization", token)] if token else []
    return fields(
        (":method", "POST"),
        (":scheme", "http"),
        (":path", SERVICE + method),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        *login,
        *more,
    )


def message(payload):
    """A gRPC message."""
    return b"\x00" + struct.pack(">I", len(payload)) + payload


def _field(number, payload):
    """A field of protobuf that holds bytes."""
    return bytes([number << 3 | 2]) + _number_of_protobuf(len(payload)) + payload


def _number_of_protobuf(value):
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def statement(sql):
    """A `CommandStatementQuery`, packed as Flight SQL wants it."""
    url = b"type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery"
    return _field(1, url) + _field(2, _field(1, sql.encode()))


class Connection:
    """A connection that sends what it is told, and reads only when it is told to."""

    def __init__(self, host, port, *, window=None, receive=None, timeout=60):
        self.socket = socket.socket()
        if receive:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        self.socket.settimeout(timeout)
        self.socket.connect((host, port))
        mine = b"" if window is None else struct.pack(">HI", INITIAL_WINDOW_SIZE, window)
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, mine))
        if window is not None and window > 65_535:
            self.socket.sendall(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", window - 65_535)))

    def send(self, *frames):
        self.socket.sendall(b"".join(frames))

    def ask(self, stream, method, payload, token):
        """A whole call."""
        self.send(
            frame(HEADERS, END_HEADERS, stream, call(method, token)),
            frame(DATA, END_STREAM, stream, message(payload)),
        )

    def _exactly(self, length):
        read = b""
        while len(read) < length:
            more = self.socket.recv(length - len(read))
            if not more:
                raise EOFError
            read += more
        return read

    def read(self):
        """The next frame: kind, flags, stream, payload. Raises EOFError when the server has closed."""
        head = self._exactly(9)
        kind, flags, stream = head[3], head[4], struct.unpack(">I", head[5:])[0]
        return kind, flags, stream, self._exactly(int.from_bytes(head[:3], "big"))

    def until(self, *kinds):
        """The next frame of one of these kinds; pings and settings are answered on the way."""
        while True:
            kind, flags, stream, payload = self.read()
            if kind in kinds:
                return kind, flags, stream, payload
            if kind in (PING, SETTINGS) and not flags & ACK:
                self.send(frame(kind, ACK, 0, payload if kind == PING else b""))

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
