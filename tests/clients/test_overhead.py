"""What it costs to be watched: a query for one row with a parameter, on two servers by turns, of which one writes an audit log,
sends all traces to a receiver, and is asked for its metrics meanwhile.

The two are asked one statement each, by turns, so that a busy machine disturbs both alike, and what is compared are medians of
single statements, which no pause of the machine moves. POLDER_OVERHEAD says how many turns of 25 statements there are.
"""

import os
import statistics
import time

import pytest

from conftest import open_connection
from test_traces import Receiver

TURNS = int(os.environ.get("POLDER_OVERHEAD", "60"))
# Statements of one turn.
EACH = 25
# What is wanted is one twentieth at most, of the product as it is released: POLDER_OVERHEAD_BAR=0.05 holds a release
# build to that on a quiet machine. This is for a debug build on a busy one. With three builds beside it on two cores a release
# build came to 2 to 5 %, and a debug build, in which what is added is slower than the rest, to 3 and 11 %.
BAR = float(os.environ.get("POLDER_OVERHEAD_BAR", "0.15"))
SQL = "SELECT city FROM fulfillment.warehouses WHERE warehouse_id = ?"


@pytest.mark.timeout(900)
def test_being_watched_costs_little(serve, lake, tmp_path):
    receiver = Receiver()
    log = tmp_path / "audit"
    watched = serve("--audit", str(log), "--traces", receiver.url)
    servers = {"plain": serve(), "watched": watched}
    warehouse = lake.table("fulfillment.warehouses")["warehouse_id"][0].as_py()
    seconds = {name: [] for name in servers}
    try:
        cursors = {name: open_connection(server, "analyst-eu").cursor() for name, server in servers.items()}
        for turn in range(TURNS + 2):
            for number in range(EACH):
                for name in sorted(servers, reverse=bool(number % 2)):
                    cursor, begin = cursors[name], time.perf_counter()
                    cursor.execute(SQL, (warehouse,))
                    assert len(cursor.fetchall()) == 1
                    # The first turns fill what is kept from one statement to the next.
                    if turn >= 2:
                        seconds[name].append(time.perf_counter() - begin)
            watched.get("/metrics")
        for cursor in cursors.values():
            cursor.close()
    finally:
        receiver.close()
    plain, ours = (statistics.median(seconds[name]) for name in ("plain", "watched"))
    # How far the median of one half of the statements lies from that of the other tells how much the machine disturbs.
    halves = [seconds["plain"][half::2] for half in (0, 1)]
    noise = abs(statistics.median(halves[0]) / statistics.median(halves[1]) - 1)
    print(
        f"{plain * 1e3:.2f} ms a statement; watched, it takes {(ours / plain - 1) * 100:+.1f} % "
        f"(two halves of the same differ by {noise * 100:.1f} %)"
    )
    assert ours / plain < 1 + BAR, (plain, ours)
