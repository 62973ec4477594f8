"""A person at a terminal: the program under test in a pseudo-terminal, what is typed there and what is seen."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

from serving import START, binary

# What moves the cursor, sets colours or modes, and tells nothing.
ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[=>])")

CTRL_C = "\x03"
CTRL_D = "\x04"
TAB = "\t"
UP = "\x1b[A"


class Terminal:
    """`polder sql` on a terminal of a size. What it shows is kept in `seen`, without escape sequences."""

    def __init__(self, *arguments, rows=40, columns=200, environment=(), stdout=None):
        self.seen = ""
        self.raw = b""
        # Where the next `expect` begins.
        self.mark = 0
        self.code = None
        command = [binary(), "sql", *map(str, arguments)]
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("POLDER_", "ADBC_"))}
        for name in ("PAGER", "LESS", "EDITOR", "VISUAL", "NO_COLOR"):
            inherited.pop(name, None)
        size = struct.pack("HHHH", rows, columns, 0, 0)
        self.process, self.screen = pty.fork()
        if self.process == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, size)
            if stdout is not None:
                os.dup2(os.open(stdout, os.O_WRONLY | os.O_CREAT, 0o600), 1)
            os.execve(command[0], command, {**inherited, "TERM": "xterm-256color", **dict(environment)})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.code is None:
            os.kill(self.process, signal.SIGKILL)
            self._wait()
        os.close(self.screen)

    def _wait(self):
        self.code = os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])

    def _read(self, timeout):
        """Takes what is there, and says whether more may come."""
        ready, _, _ = select.select([self.screen], [], [], timeout)
        if not ready:
            return True
        try:
            data = os.read(self.screen, 1 << 16)
        except OSError:
            return False
        self.raw += data
        self.seen = ESCAPES.sub("", self.raw.decode(errors="replace")).replace("\r\n", "\n")
        return bool(data)

    def write(self, text):
        """Types a text."""
        os.write(self.screen, text.encode())

    def expect(self, pattern, within=START):
        """Waits until the pattern is seen behind what was expected before, and gives the match."""
        deadline = time.monotonic() + within
        more = True
        while True:
            found = re.search(pattern, self.seen[self.mark :])
            if found:
                self.mark += found.end()
                return found
            left = deadline - time.monotonic()
            assert more and left > 0, f"{pattern!r} was not seen in:\n{self.seen[self.mark :]}"
            more = self._read(min(left, 0.2))

    def ready(self):
        """Waits for the prompt with nothing behind it; with something, it is one that was drawn again."""
        return self.expect(r"polder( \(for \w+\))?> \r*$")

    def ask(self, text):
        """Types lines, and gives what was shown between them and the next prompt."""
        begin = self.mark
        self.write(text + "\r")
        # The editor draws the whole text once more when it is sent, and then goes to a new line.
        self.expect(re.escape(text.split("\r")[-1].lstrip()) + r"\s*\n")
        begin = self.mark
        self.ready()
        return self.seen[begin : self.mark]

    def complete(self, text, expected):
        """Types a text and Tab, again and again until the names have come, and clears the line."""
        deadline = time.monotonic() + START
        while True:
            begin = len(self.seen)
            self.write(text + TAB)
            quiet = time.monotonic() + 1
            while time.monotonic() < quiet:
                self._read(0.1)
                if re.search(expected, self.seen[begin:]):
                    break
            shown = self.seen[begin:]
            self.write(CTRL_C)
            self.mark = len(self.seen)
            self.ready()
            if re.search(expected, shown):
                return shown
            assert time.monotonic() < deadline, f"{expected!r} was not offered for {text!r}:\n{shown}"

    def leave(self):
        """Types Ctrl-D, and gives the exit code."""
        self.write(CTRL_D)
        return self.end()

    def end(self):
        """Waits for the end of the program, and gives the exit code."""
        deadline = time.monotonic() + START
        while self._read(0.2):
            assert time.monotonic() < deadline, f"it did not end:\n{self.seen[self.mark :]}"
        self._wait()
        return self.code
