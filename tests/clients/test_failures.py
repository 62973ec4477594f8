"""What a server does when the machine under it fails: an error of its class, no other harm, and recovery by itself."""

import contextlib
import errno
import json
import os
import resource
import shutil
import socket
import subprocess
import time

import pytest
from adbc_driver_manager import Error, OperationalError, ProgrammingError

from conftest import open_connection
from serving import Server, eventually
from test_audit import verify
from test_http import post, problem
from test_load import SPILLING

ONE = "SELECT 1 AS one"
# Needs more than a server has that is given no memory to speak of.
MEMORY = ["--memory", "48"]


@contextlib.contextmanager
def small_disk(path, size="4m"):
    """A file system that is soon full. Only root can make one."""
    path.mkdir(parents=True)
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], capture_output=True, text=True)
    if made.returncode:
        # What is missing is no reason to skip a test where all of them count.
        assert not os.environ.get("CI"), made.stderr
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def fill(path):
    """Leaves no room on the disk of a directory, and gives the file that takes it."""
    file = path / "filler"
    with file.open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(65536))
        except OSError as full:
            assert full.errno == errno.ENOSPC
    return file


def spills(server):
    """How a statement ends that has to spill: `ok`, or the words of its error."""
    with open_connection(server, "analyst-eu") as connection, connection.cursor() as cursor:
        try:
            cursor.execute(SPILLING)
            for _ in cursor.fetch_record_batch():
                break
            return "ok"
        except (Error, OSError, ValueError) as error:
            return str(error)


def test_a_spill_disk_that_is_full_fails_those_that_spill_and_no_others(serve, tmp_path):
    spill = tmp_path / "spill"
    with small_disk(spill):
        server = serve("--spill", str(spill), *MEMORY)
        filler = fill(spill)
        error = spills(server)
        assert "had to spill to a disk that cannot be used" in error and str(tmp_path) not in error, error
        assert post(server, ONE)[0] == 200
        assert server.metric('polder_calls_failed_total{class="bug"}') == 0
        filler.unlink()
        subprocess.run(["mount", "-o", "remount,size=2g", str(spill)], check=True)
        assert spills(server) == "ok"
        assert eventually(lambda: server.metric("polder_spilled_bytes") == 0)
        assert server.stop() == 0


def test_a_spill_directory_that_goes_away_is_made_anew(serve, tmp_path):
    spill = tmp_path / "around" / "spill"
    spill.parent.mkdir()
    server = serve("--spill", str(spill), *MEMORY)
    assert spills(server) == "ok"
    shutil.rmtree(spill)
    assert spills(server) == "ok", "it is made anew"
    # It cannot be while something else stands in its place.
    shutil.rmtree(spill)
    spill.write_text("in the way")
    error = spills(server)
    assert "had to spill to a disk that cannot be used" in error and str(tmp_path) not in error, error
    assert post(server, ONE)[0] == 200
    spill.unlink()
    assert spills(server) == "ok"
    assert server.stop() == 0


def test_what_a_killed_server_had_spilled_goes_when_the_next_one_starts(serve, tmp_path):
    spill = tmp_path / "spill"
    mine = spill / "mine" / "rows"
    mine.parent.mkdir(parents=True)
    mine.write_text("rows")
    homes = lambda: set(spill.glob("polder-spill-*"))  # noqa: E731
    killed = serve("--spill", str(spill), *MEMORY)
    [left] = homes()
    # A kill may come before a statement has spilled, so one file is put there for certain.
    (left / "spilled").write_text("rows")
    killed.process.kill()
    killed.process.wait(60)
    assert (left / "spilled").is_file()
    first = serve("--spill", str(spill), *MEMORY)
    [living] = homes()
    assert living != left
    second = serve("--spill", str(spill), *MEMORY)
    assert living in homes() and len(homes()) == 2, "one that lives keeps its own"
    assert spills(first) == spills(second) == "ok"
    assert mine.read_text() == "rows"


def test_an_audit_disk_that_is_full_stops_statements_and_not_the_server(serve, tmp_path):
    disk = tmp_path / "disk"
    with small_disk(disk):
        server = serve("--audit", str(disk / "audit"))
        assert post(server, ONE)[0] == 200
        filler = fill(disk)
        # What is left of the last block may hold a record or two.
        assert eventually(lambda: post(server, ONE)[0] == 502 or None)
        assert problem(server, ONE)[1] == "storage"
        assert server.get("/livez")[0] == 200
        filler.unlink()
        assert eventually(lambda: post(server, ONE)[0] == 200)
        assert server.stop() == 0


def test_a_cache_disk_that_is_full_is_done_without(serve, tmp_path):
    disk = tmp_path / "disk"
    with small_disk(disk):
        (disk / "cache").mkdir()
        server = serve("--cache", str(disk / "cache"))
        fill(disk)
        assert post(server, "SELECT count(*) FROM storefront.customers")[0] == 200
        assert server.stop() == 0


def test_file_descriptors_that_run_out_come_back(mesh):
    few = 160
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    server = Server(mesh)
    try:
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (few, hard))
        host, _, port = server.http.removeprefix("http://").partition(":")
        with contextlib.ExitStack() as taken:
            with open_connection(server, "analyst-eu") as connection, connection.cursor() as cursor:
                cursor.execute(ONE)
                assert cursor.fetchall() == [(1,)]
                for _ in range(few * 2):
                    with contextlib.suppress(OSError):
                        taken.enter_context(socket.create_connection((host, int(port)), timeout=5))
                held = eventually(lambda: len(os.listdir(f"/proc/{server.process.pid}/fd")) >= few - 2)
                assert held, "the descriptors did not run out"
                # A table that is not open yet needs some: an error of the store, or an answer, and soon.
                begin = time.monotonic()
                for sql in ["SELECT count(*) FROM storefront.customers", "SELECT count(*) FROM wholesale.orders"]:
                    try:
                        cursor.execute(sql)
                        assert cursor.fetchall()[0][0] > 0
                    except Error as error:
                        assert "bug" not in str(error) and "engine failed" not in str(error), error
                cursor.execute(ONE)
                assert cursor.fetchall() == [(1,)]
                assert time.monotonic() - begin < 60
        assert eventually(lambda: post(server, "SELECT count(*) FROM storefront.customers")[0] == 200, within=60)
        assert eventually(lambda: post(server, "SELECT count(*) FROM wholesale.orders")[0] == 200, within=60)
        assert server.process.poll() is None
        assert server.metric('polder_calls_failed_total{class="bug"}') == 0
    finally:
        assert server.stop() == 0


CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, time);
    if (clock == CLOCK_REALTIME && !failed) {
        char text[32] = {0};
        int file = open(getenv("CLOCK_SHIFT"), O_RDONLY);
        if (file >= 0) {
            if (read(file, text, sizeof text - 1) > 0) time->tv_sec += atol(text);
            close(file);
        }
    }
    return failed;
}
"""


def test_a_clock_that_jumps_ends_what_it_dates_and_nothing_else(serve, tmp_path, monkeypatch):
    source, shim, shift = tmp_path / "clock.c", tmp_path / "clock.so", tmp_path / "shift"
    source.write_text(CLOCK)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(shim), str(source), "-ldl"], check=True)
    shift.write_text("0")
    monkeypatch.setenv("LD_PRELOAD", str(shim))
    monkeypatch.setenv("CLOCK_SHIFT", str(shift))
    server = serve("--audit", str(tmp_path / "audit"))
    monkeypatch.delenv("LD_PRELOAD")
    counted, now = "SELECT count(*) AS n FROM storefront.customers", "SELECT CAST(now() AS VARCHAR) AS at"
    with open_connection(server, "analyst-eu") as before:
        whole = post(server, counted)[2]
        year = json.loads(post(server, now)[2])[0]["at"][:4]
        for years in (20, -20):
            shift.write_text(str(years * 366 * 86400))
            # It is the server's own clock.
            assert int(json.loads(post(server, now)[2])[0]["at"][:4]) == int(year) + years
            assert post(server, counted)[2] == whole
            assert server.get("/readyz")[0] == 200
            with open_connection(server, "analyst-eu") as after, after.cursor() as cursor:
                cursor.execute(counted)
                assert cursor.fetchone()[0] > 0
        # Who logged in when it was another time may have to do so again, and is told nothing else.
        with before.cursor() as cursor, contextlib.suppress(OperationalError, ProgrammingError):
            cursor.execute(counted)
            assert cursor.fetchone()[0] > 0
        shift.write_text("0")
        with open_connection(server, "analyst-eu") as after, after.cursor() as cursor:
            cursor.execute(counted)
            assert cursor.fetchone()[0] > 0
    assert server.metric('polder_calls_failed_total{class="bug"}') == 0
    assert server.stop() == 0
    assert verify(tmp_path / "audit").returncode == 0
