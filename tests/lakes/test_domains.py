"""Five domains, each with another catalog and another store, in one query; and what one sick lake does to the others."""

import threading
import time

import pytest

from faults import Cuts, Dead, Hangs, Says, Slow
from lakes import ask, assert_exact_or_clear, connect, joined, percentile, plain, rows
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
CARRIED = {"dead", "hung", "slow", "truncated"}
ENDS = [
    ("orchard", "catalog"), ("orchard", "store"), ("harbor", "catalog"), ("harbor", "store"), ("mill", "catalog"),
    ("mill", "store"), ("archive", "store"),
]  # fmt: skip
CASES = [
    (name, end, fault) for name, end in ENDS for fault in FAULTS if (name, end) != ("mill", "catalog") or fault in CARRIED
]  # fmt: skip
# What a catalog said may be this old, and a query takes its time.
STALE = 5
# The longest that one who asks a sick domain waits for the error.
PATIENCE = 60


def test_five_domains_are_joined_in_one_query(server, domains, asking):
    sql, expected = joined(list(domains.values()))
    outcome = ask(asking(server), sql)
    assert outcome.error is None
    assert outcome.table.equals(expected)


@pytest.mark.parametrize("name", ["orchard", "harbor", "mill", "cellar", "archive"])
def test_a_domain_is_read_as_its_writer_reads_it(name, server, domains, asking):
    domain = domains[name]
    outcome = ask(asking(server), domain.sql)
    assert outcome.is_exact(rows(name)), outcome
    assert plain(domain.table.scan().to_arrow().sort_by("key")).equals(outcome.table)


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

    def wait_for(self, count):
        assert eventually(lambda: len(self.seconds) >= count or self.failed, 300)


@pytest.fixture(scope="module")
def calm(server, domains):
    """How long queries take of whom nobody is sick, by the domain that they leave out."""
    calm = {}
    with connect(server) as connection:
        for name in {name for name, _ in ENDS}:
            sql, expected = joined([domain for domain in domains.values() if domain.name != name])
            outcomes = [ask(connection, sql) for _ in range(40)]
            assert all(outcome.is_exact(expected) for outcome in outcomes)
            calm[name] = percentile([outcome.seconds for outcome in outcomes], 0.99)
    return calm


@pytest.mark.parametrize(("name", "end", "fault"), CASES)
def test_a_sick_lake_makes_no_other_one_ill(name, end, fault, server, domains, asking, calm):
    sick, expected = domains[name], rows(name)
    others, joined_rows = joined([domain for domain in domains.values() if domain.name != name])
    outcomes = []
    with Crowd(asking(server), others, joined_rows) as crowd:
        with sick.ends[end].suffering(FAULTS[fault]):
            connection, begin = asking(server), time.monotonic()
            while True:
                outcomes.append(ask(connection, sick.sql))
                # One answer may be of what was known before.
                past = time.monotonic() - begin > STALE
                if past and (outcomes[-1].error or fault == "slow") or time.monotonic() - begin > PATIENCE:
                    break
            crowd.wait_for(20)
        for outcome in outcomes:
            assert_exact_or_clear(outcome, expected, name)
        assert all(outcome.seconds < PATIENCE for outcome in outcomes), [outcome.seconds for outcome in outcomes]
        assert fault == "slow" or outcomes[-1].error, "it answers though it cannot know"
        assert fault != "slow" or not any(outcome.error for outcome in outcomes)
        well = eventually(lambda: ask(connection, sick.sql).is_exact(expected), 30)
        assert well, "it did not recover"
    assert not crowd.failed, crowd.failed[0]
    assert percentile(crowd.seconds, 0.99) < 3 * calm[name] + 0.5, (sorted(crowd.seconds)[-5:], calm[name])
