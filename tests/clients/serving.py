"""A `polder serve` process: started on free ports, watched, asked over HTTP, and stopped."""

import os
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

# A debug build on a loaded machine opens five catalogs in well under this.
START = 120
# More than the thirty seconds that running queries have to end.
STOP = 60


def binary():
    """The program under test."""
    given = os.environ.get("POLDER_BIN")
    path = Path(given) if given else Path(__file__).parents[2] / "target" / "debug" / "polder"
    assert path.is_file(), f"there is no program at {path}: run `cargo build`, or set POLDER_BIN"
    return str(path.resolve())


class Server:
    """A server over one mesh, started by the command `by` where one is given. What it says on stderr is kept in `said`."""

    def __init__(self, mesh, *arguments, by=()):
        command = [*by, binary(), "serve", "--mesh", str(mesh), "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]
        self.process = subprocess.Popen(
            [*command, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self.said = []
        self._more = threading.Condition()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        try:
            self.scheme, self.address = self._wait_for(r"is served at (\S+?)://(\S+:\d+): ").groups()
            self.http = self._wait_for(r"health and metrics at (http://\S+:\d+)/readyz").group(1)
        except BaseException:
            self.process.kill()
            raise

    @property
    def uri(self):
        """What a client connects to."""
        return f"{self.scheme}://{self.address}"

    @property
    def port(self):
        return int(self.address.rpartition(":")[2])

    def _listen(self):
        for line in self.process.stderr:
            with self._more:
                self.said.append(line.rstrip("\n"))
                self._more.notify_all()
        with self._more:
            self.said.append(None)
            self._more.notify_all()

    def _wait_for(self, pattern):
        deadline = time.monotonic() + START
        read = 0
        with self._more:
            while True:
                while read < len(self.said):
                    line = self.said[read]
                    read += 1
                    if line is None:
                        self.process.wait(START)
                        raise AssertionError(f"the server ended with {self.process.returncode}: {self.said[:-1]}")
                    if found := re.search(pattern, line):
                        return found
                left = deadline - time.monotonic()
                assert left > 0, f"the server did not say {pattern!r} in {START} s: {self.said}"
                self._more.wait(left)

    def get(self, path):
        """Status and text of an HTTP answer; status 0 when there is none."""
        try:
            with urllib.request.urlopen(self.http + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()
        except (urllib.error.URLError, ConnectionError):
            return 0, ""

    def metric(self, name):
        """The value of one metric."""
        status, text = self.get("/metrics")
        assert status == 200
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        assert found, f"there is no metric {name} in:\n{text}"
        return float(found.group(1))

    def resident(self):
        """The memory that the process holds, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE).group(1)) * 1024

    def held(self):
        """The same without what is mapped of files, the program's own among them, which the kernel takes back by itself."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"^RssAnon:\s+(\d+) kB$", status, re.MULTILINE).group(1)) * 1024

    def computed(self):
        """The seconds that processors have worked for the process."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rests(self):
        """Whether the process does next to nothing for two seconds."""
        before = self.computed()
        time.sleep(2)
        return self.computed() - before < 0.1

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def stop(self):
        """Stops the server as an operator would, and gives its exit code."""
        if self.process.poll() is None:
            self.terminate()
        try:
            code = self.process.wait(STOP)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(STOP)
            raise
        self._listener.join(STOP)
        return code


def eventually(holds, within=30):
    """Waits until `holds()` gives something true, and gives it; an error of its last try is the failure."""
    deadline = time.monotonic() + within
    while True:
        value = holds()
        if value or time.monotonic() > deadline:
            return value
        time.sleep(0.05)
