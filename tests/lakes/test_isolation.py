"""What one sick lake does to the others: nothing. Who needs it gets the exact answer, or soon an error that names it.

Each end of each domain gets one illness here, and each illness comes up; with POLDER_FAULTS=all each end gets all of them.
"""

import os
import threading
import time

import pytest

from faults import Cuts, Dead, Hangs, Says, Slow
from lakes import ask, assert_exact_or_clear, joined, percentile, rows
from serving import eventually

FAULTS = {
    "dead": Dead(),
    "hung": Hangs(),
    "slow": Slow(0.2),
    "forbidden": Says(403),
    "overrun": Says(429),
    "failing": Says(500),
    "truncated": Cuts(),
}
# What carries bytes alone cannot say how it is.
SAID = {"forbidden", "overrun", "failing"}
ENDS = {
    "orchard catalog": "truncated", "orchard store": "hung", "harbor catalog": "failing", "harbor store": "overrun",
    "mill catalog": "hung", "mill store": "forbidden", "archive store": "dead",
}  # fmt: skip
FEW = [(end, fault) for end, fault in ENDS.items()] + [("orchard store", "slow")]
ALL = [(end, fault) for end in ENDS for fault in FAULTS if end != "mill catalog" or fault not in SAID]
CASES = ALL if os.environ.get("POLDER_FAULTS") == "all" else FEW
# What a catalog said may be this old, and a query takes its time.
STALE = 5
# The longest that one who asks a sick domain waits for the error.
PATIENCE = 30
# How often the others are asked while all is well, and while it is not.
TIMES = 20


class Crowd:
    """Asks what does not touch a sick domain again and again, in the background."""

    def __init__(self, connection, sql, expected):
        self.connection, self.sql, self.expected = connection, sql, expected
        self.seconds, self.failed = [], []
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self._ask)

    def _ask(self):
        while not self.is_over.is_set():
            outcome = ask(self.connection, self.sql)
            self.seconds.append(outcome.seconds)
            if not outcome.is_exact(self.expected):
                self.failed.append(outcome)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.thread.join()

    def has_asked(self, times):
        return len(self.seconds) >= times or self.failed


def states(connection):
    """How the table of each domain is."""
    told = ask(connection, "SELECT domain, state FROM mesh.health").table
    return dict(zip(told["domain"].to_pylist(), told["state"].to_pylist(), strict=True))


def test_each_illness_comes_up():
    assert {fault for _, fault in FEW} == set(FAULTS)
    assert not set(FEW) - set(ALL)


@pytest.mark.parametrize(("where", "fault"), [pytest.param(*case, id="-".join(case).replace(" ", "-")) for case in CASES])
def test_a_sick_lake_makes_no_other_one_ill(where, fault, server, domains, asking):
    name, end = where.split()
    sick, expected, connection = domains[name], rows(name), asking(server)
    with Crowd(asking(server), *joined([domain for domain in domains.values() if domain is not sick])) as crowd:
        while not crowd.has_asked(TIMES):
            assert ask(connection, sick.sql).is_exact(expected)
        calm = percentile(crowd.seconds, 0.99)
        outcomes, before, begin = [], len(crowd.seconds), time.monotonic()
        with sick.ends[end].suffering(FAULTS[fault]):
            while time.monotonic() - begin < PATIENCE * 2:
                outcomes.append(ask(connection, sick.sql))
                # What was known before may still be told.
                if time.monotonic() - begin > STALE and (outcomes[-1].error or fault == "slow"):
                    break
            told = states(connection)
            assert eventually(lambda: crowd.has_asked(before + TIMES), 300)
        during = sorted(crowd.seconds[before:])
        assert eventually(lambda: ask(connection, sick.sql).is_exact(expected)), "it did not recover"
        assert set(states(connection).values()) == {"ok"}
    for outcome in outcomes:
        assert_exact_or_clear(outcome, expected, name)
    assert max(outcome.seconds for outcome in outcomes) < PATIENCE
    if fault == "slow":
        assert not any(outcome.error for outcome in outcomes)
    else:
        assert outcomes[-1].error, "it answers though it cannot know"
    assert told == dict.fromkeys(domains, "ok") | ({} if fault == "slow" else {name: "down"})
    assert not crowd.failed, crowd.failed[0]
    assert percentile(during, 0.99) < 3 * calm + 1, (during[-5:], calm)
