"""A store that fails a quarter of all requests in every way that stores have: each answer is exact, or it is an error.

POLDER_CHAOS says how many queries are asked, and POLDER_SEED which ones, and what happens to them.
"""

import collections
import contextlib
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyiceberg.catalog.sql import SqlCatalog

import servers
from faults import Chaos, Cuts, Proxy, Resets, Says, Shortens, Slow
from lakes import COLUMNS, KEYS, SCHEMA, Domain, ask, assert_is_clear, connect, plain, rows, s3_files, s3_storage, write_mesh
from serving import Server, eventually

QUERIES = int(os.environ.get("POLDER_CHAOS", "1000"))
SEED = int(os.environ.get("POLDER_SEED", "8"))
CLIENTS = 8
# How many queries are asked, and how often the table changes meanwhile: what is read of a file once alone, as all is that a
# cache keeps, is read under the same faults.
CASES = {"plain": (QUERIES, 5), "cached": (QUERIES // 4, 25)}
# One request in five hundred is answered with less than was asked for, as if that were all.
ILL = [Says(500), Says(503), Cuts(), Resets(), Slow(0.05)] * 20 + [Shortens()]
SHARE = 0.25


class Shop:
    """A domain over a store behind a proxy, and a server that reads it."""

    def __init__(self, work, s3, name, *arguments):
        servers.bucket(s3.url, name)
        self.store = Proxy(s3.address)
        place = f"s3://{name}"
        writer = SqlCatalog("cellar", uri=f"sqlite:///{work}/cellar.db", warehouse=place, **s3_files(s3.url))
        catalog = {"type": "sql", "uri": f"sqlite:{work}/cellar.db", "warehouse": place}
        self.domain = Domain("cellar", catalog, s3_storage(self.store.url), writer)
        writer.create_namespace("shop")
        self.table, self.sold = writer.create_table("shop.sales", SCHEMA), rows("cellar")
        self.table.append(rows("cellar", range(KEYS // 2)))
        self.table.append(rows("cellar", range(KEYS // 2, KEYS)))
        self.server = Server(write_mesh(work / "mesh", [self.domain]), *arguments)

    def sell_more(self, phase):
        more = rows("cellar", range(KEYS + phase * 10, KEYS + phase * 10 + 10))
        self.table.append(more)
        self.sold = pa.concat_tables([self.sold, more]).combine_chunks()

    def question(self, draw):
        """A query, and its answer."""
        sold, first = self.sold, draw.randrange(KEYS)
        some = sold.filter(pc.and_(pc.greater_equal(sold["key"], first), pc.less(sold["key"], first + 300)))
        where = f"WHERE key >= {first} AND key < {first + 300}"
        columns = ", ".join(draw.sample(list(COLUMNS), draw.randrange(1, len(COLUMNS) + 1)))
        numbers = pa.schema([("a", pa.int64()), ("b", pa.int64()), ("c", pa.int64())])
        sums = [sold.num_rows, pc.sum(sold["amount"]).as_py(), pc.sum(pc.utf8_length(sold["note"])).as_py()]
        return draw.choice([
            ("SELECT key, amount, note FROM cellar.sales ORDER BY key", sold),
            (f"SELECT {columns} FROM cellar.sales {where} ORDER BY key", some.select(columns.split(", "))),
            (
                "SELECT count(*) AS a, sum(amount) AS b, sum(length(note)) AS c FROM cellar.sales",
                pa.table([[number] for number in sums], schema=numbers),
            ),
            (
                "SELECT a.key, b.note FROM cellar.sales a JOIN cellar.sales b ON a.key = b.key "
                f"WHERE a.amount >= 0 AND b.key >= {first} AND b.key < {first + 300} ORDER BY a.key",
                some.select(["key", "note"]),
            ),
            (f"SELECT note FROM cellar.sales ORDER BY key DESC LIMIT {first % 50 + 1}", last(sold, first % 50 + 1)),
        ])  # fmt: skip

    def stop(self):
        self.server.stop()
        self.store.close()


def last(sold, count):
    return sold.sort_by([("key", "descending")]).slice(0, count).select(["note"])


def chaos(shop, phase, queries):
    """Asks with all clients at once, and gives what came of it: how many answers, and the errors."""
    local, exact, errors = threading.local(), [], []

    def one(number):
        if not hasattr(local, "connection"):
            local.connection = connections.enter_context(connect(shop.server))
        sql, expected = shop.question(random.Random(f"{SEED} {phase} {number}"))
        outcome = ask(local.connection, sql)
        if outcome.error is None:
            assert outcome.is_exact(plain(expected)), f"{outcome.table.num_rows} rows, {expected.num_rows} were due: {sql}"
            exact.append(outcome)
        else:
            assert_is_clear(outcome.error, "cellar")
            errors.append(outcome.error)

    with contextlib.ExitStack() as connections, ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(one, range(queries)))
    return len(exact), errors


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("case", CASES)
def test_answers_of_a_store_that_fails_are_exact_or_errors(case, s3, tmp_path):
    queries, phases = CASES[case]
    shop = Shop(tmp_path, s3, f"chaos-{case}", *(["--cache", str(tmp_path / "cache")] if case == "cached" else []))
    try:
        ill, right, errors = Chaos(SEED, SHARE, ILL), 0, []
        for phase in range(phases):
            with shop.store.suffering(ill):
                exact, failed = chaos(shop, phase, queries // phases)
            right, errors = right + exact, errors + failed
            shop.sell_more(phase)
        assert right + len(errors) == queries // phases * phases
        seen = collections.Counter(error.partition("\n")[0] for error in errors)
        assert right > len(errors), seen
        if case == "plain":
            assert set(ill.drawn) == {type(fault).__name__ for fault in ILL} | {"NoneType"}, ill.drawn
        print(f"{right} exact, {len(errors)} errors, {dict(ill.drawn)}, {seen.most_common(5)}")
        # What went wrong is nowhere kept: well again, all of it is exact.
        with connect(shop.server) as connection:
            everything = "SELECT key, amount, note FROM cellar.sales ORDER BY key"
            assert eventually(lambda: ask(connection, everything).is_exact(plain(shop.sold)))
        assert chaos(shop, "well", 100) == (100, [])
        assert shop.server.process.poll() is None
    finally:
        shop.stop()


class Once:
    """Shortens the first answer about each file."""

    def __init__(self):
        self.seen = set()

    def __call__(self, asked):
        is_first = asked.method == "GET" and asked.path not in self.seen
        self.seen.add(asked.path)
        return is_first


def test_an_answer_that_was_cut_is_not_kept(s3, tmp_path):
    shop = Shop(tmp_path, s3, "cut", "--cache", str(tmp_path / "cache"))
    try:
        shop.store.only = Once()
        with shop.store.suffering(Shortens()), connect(shop.server) as connection:
            asked = [ask(connection, "SELECT key, amount, note FROM cellar.sales ORDER BY key") for _ in range(20)]
        wrong, right = [one for one in asked if one.error], [one for one in asked if not one.error]
        # The list, the manifests and the data are cut one after the other.
        assert 3 <= len(wrong) <= 10, [one.error for one in wrong]
        assert all(one.is_exact(plain(shop.sold)) for one in right)
        assert asked[-1].error is None
    finally:
        shop.stop()
