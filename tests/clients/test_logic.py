"""Random predicates, and what must follow from them by logic alone, whoever asks: no other database is needed to know it.

- A predicate parts the rows of a table into those for which it is true, false and unknown: together they are all rows, each
  once (TLP, the three-valued parting of Rigger and Su).
- The rows for which it is true are as many as those for which it is seen to be true where nothing can be moved, pruned or
  left out by it (NoREC, of the same).
- The first rows of an order are those whose place in it is one of the first, where each row has been given its place.

They are asked on the village of `village.py`, by those from whom rows and columns are kept and by somebody who sees all.
`POLDER_QUERIES` says how many statements (2,000 without it), and `POLDER_SEED` which ones; a failure names its seed.
"""

import os
import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

import village
from conftest import open_connection
from questions import EQUAL, ORDERED, Asker
from serving import Server
from test_oracle import ask, masked_copy

QUERIES = int(os.environ.get("POLDER_QUERIES", "2000"))
SEED = int(os.environ.get("POLDER_SEED", "1"))


def predicate(asker, columns, values):
    """A few comparisons. Subqueries have no third truth value where they do not stand alone, see `questions.py`."""
    parts = [asker.predicate(columns, values, 1) for _ in range(asker.draw.randrange(1, 4))]
    joined = parts[0]
    for part in parts[1:]:
        joined = f"({joined} {asker.draw.choice(['AND', 'OR', 'AND NOT', 'OR NOT'])} {part})"
    return joined


def parted(asker):
    """All rows, and the same in three parts."""
    table, columns, values = asker.joined()
    held = predicate(asker, columns, values)
    # The digests of one query mean nothing in another.
    listed, _, _ = asker.chosen(columns, values, 3, [kind for kind in ORDERED + EQUAL if not kind.startswith("class")])
    every = f"SELECT {', '.join(listed)} FROM {table}"
    parts = [f"{every} WHERE {held}", f"{every} WHERE NOT {held}", f"{every} WHERE ({held}) IS NULL"]
    return every, " UNION ALL ".join(parts)


def totalled(asker):
    """How many rows there are and the ends of a column, and the same of three parts, put together."""
    table, columns, values = asker.draw.choice(asker.sources).under(asker.name())
    held = predicate(asker, columns, values)
    column = asker.pick(columns, "whole", "decimal", "date", "text", "moment")
    ends = f"min({column.sql})" if column else "count(*)", f"max({column.sql})" if column else "count(*)"
    every = f"SELECT count(*) AS n, {ends[0]} AS low, {ends[1]} AS high FROM {table}"
    parts = [f"{every} WHERE {held}", f"{every} WHERE NOT {held}", f"{every} WHERE ({held}) IS NULL"]
    low, high = ("min(low)", "max(high)") if column else ("sum(n)", "sum(n)")
    if not column:
        every = f"SELECT count(*) AS n, count(*) AS low, count(*) AS high FROM {table}"
    return every, f"SELECT CAST(sum(n) AS BIGINT) AS n, {low} AS low, {high} AS high FROM ({' UNION ALL '.join(parts)}) AS parts"


def counted(asker):
    """How many rows a predicate leaves, and for how many rows it is true."""
    table, columns, values = asker.joined(most=2)
    held = predicate(asker, columns, values)
    seen = f"SELECT CAST(coalesce(sum(CASE WHEN is_true THEN 1 ELSE 0 END), 0) AS BIGINT) AS n FROM (SELECT {held} AS is_true FROM {table}) AS seen"
    return f"SELECT count(*) AS n FROM {table} WHERE {held}", seen


def topped(asker):
    """The first rows of an order, and the same by their places in it."""
    table, columns, values = asker.joined()
    held = predicate(asker, columns, values)
    listed, named, _ = asker.chosen(columns, values, 3, ORDERED)
    order = ", ".join(f"{column.sql} {asker.draw.choice(['ASC', 'DESC'])} NULLS {asker.draw.choice(['FIRST', 'LAST'])}" for column in named)
    names, most = ", ".join(column.sql for column in named), asker.draw.randrange(1, 12)
    rows = f"SELECT {', '.join(listed)} FROM {table} WHERE {held}"
    places = f"SELECT {names}, row_number() OVER (ORDER BY {order}) AS place FROM ({rows}) AS found"
    return f"{rows} ORDER BY {order} LIMIT {most}", f"SELECT {names} FROM ({places}) AS placed WHERE place <= {most}"


def ordered(table):
    """The columns of an answer in some order of rows that is the same for the same rows."""
    return table.sort_by([(name, "ascending") for name in table.column_names]).columns


def pair(seed, sources):
    asker = Asker(seed, sources)
    return random.Random(seed).choice([parted, parted, totalled, counted, counted, topped, topped])(asker)


@pytest.mark.timeout(max(300, QUERIES))
def test_what_follows_by_logic_is_what_is_answered(tmp_path):
    rows, cast = village.make_rows(), village.make_cast()
    mesh = tmp_path / "village"
    village.write_mesh(mesh, cast, rows)
    sources = {who.name: masked_copy(who, rows).sources(village.PRODUCTS) for who in cast}
    users = list(sources)
    server = Server(mesh)
    with ExitStack() as running:
        running.callback(server.stop)
        connections = {user: running.enter_context(open_connection(server, user, "guest")) for user in users}

        def wrong(number):
            seed, user = SEED * 1_000_000 + number, users[number % len(users)]
            one, other = pair(seed, sources[user])
            answers = [ask(connections[user], sql) for sql in (one, other)]
            if any(isinstance(answer, Exception) for answer in answers):
                return f"seed {seed}, as {user}: {answers}\n{one}\n{other}", False
            found = [ordered(answer) for answer in answers]
            full = any(len(column) > column.null_count for column in found[0])
            return (None if found[0] == found[1] else f"seed {seed}, as {user}:\n{one}\n{other}"), full

        with ThreadPoolExecutor(3) as threads:
            asked = list(threads.map(wrong, range(QUERIES // 2)))
    found = [text for text, _ in asked if text]
    assert not found, f"{len(found)} of {len(asked)} are wrong:\n" + "\n".join(found[:10])
    assert sum(full for _, full in asked) > 0.7 * len(asked), "most of the answers have something in them"
