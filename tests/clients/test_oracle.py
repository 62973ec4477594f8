"""Random questions of users who see different things: the answers equal DuckDB's over copies that Python masked.

The copies are made by `law.py` out of the raw rows, with every mask on every type, row rules and denied columns, on a mesh
of this test's own (`village.py`) and on the demo mesh. `POLDER_QUERIES` says how many questions (500 without it), and
`POLDER_SEED` which ones; a failure names the seed of its question.
"""

import datetime
import os
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from decimal import Context, Decimal

import adbc_driver_manager
import duckdb
import pyarrow as pa
import pytest
from adbc_driver_manager import AdbcStatusCode

import law
import village
from conftest import open_connection
from law import UTC
from questions import EQUAL, Asker, Column, Source, whole
from serving import Server

QUERIES = int(os.environ.get("POLDER_QUERIES", "500"))
SEED = int(os.environ.get("POLDER_SEED", "1"))
# So many of them are about the demo mesh, whose tables are large.
DEMO = QUERIES // 20

KINDS = {
    "string": "text", "int": "whole", "long": "whole", "decimal": "decimal", "double": "double", "boolean": "boolean",
    "date": "date", "timestamp": "moment", "timestamptz": "zoned", "binary": "bytes", "uuid": "uuid",
}  # fmt: skip
ARROW = {
    "string": pa.string(), "int": pa.int32(), "long": pa.int64(), "decimal": pa.decimal128(12, 2), "double": pa.float64(),
    "boolean": pa.bool_(), "date": pa.date32(), "timestamp": pa.timestamp("us"), "timestamptz": pa.timestamp("us", "UTC"),
    "binary": pa.binary(), "uuid": pa.binary(),
}  # fmt: skip
DIGESTS = ("sha-256-query-local", "hmac", "sha-256-global")


# Copies.


@dataclass
class Copy:
    """What one user sees of a mesh: tables by product, and how each leaf of them is shown."""

    tables: dict
    shown: dict = field(default_factory=dict)

    def connect(self):
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'")
        for product, table in self.tables.items():
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {product.split('.')[0]}")
            connection.register("rows", table)
            connection.execute(f"CREATE TABLE {product} AS SELECT * FROM rows")
            connection.unregister("rows")
        return connection

    def sources(self, columns_of):
        return [source(product, columns_of[product], self.shown, table) for product, table in self.tables.items()]


def how_shown(how):
    """How a leaf is shown: raw before masked, the strictest mask, None without any; forbids beat permits."""
    masks = [what for what in how if what not in ("raw", "not raw", "never")]
    if "raw" in how and not {"not raw", "never"} & set(how):
        return "raw"
    return law.strictest(masks) if masks and "never" not in how else None


def function(how, kind, salt, faults):
    """What makes shown values out of raw ones."""
    if how == "raw":
        return lambda value: value
    plant = faults.get(law.split(how)[0])
    return plant(kind) if plant else law.mask(how, kind, village.KEYS, salt)


def nested(kind, path, functions):
    """The same for a column, and its type in the copy; None where none of its leaves is shown."""
    match kind:
        case dict(fields):
            inner = {name: nested(of, (*path, name), functions) for name, of in fields.items()}
            inner = {name: shown for name, shown in inner.items() if shown}
            if not inner:
                return None
            each = lambda value: None if value is None else {name: show(value[name]) for name, (show, _) in inner.items()}
            return each, pa.struct([pa.field(name, of) for name, (_, of) in inner.items()])
        case [of]:
            shown = nested(of, path, functions)
            return shown and ((lambda value: None if value is None else [shown[0](item) for item in value]), pa.list_(shown[1]))
        case village.MapTo(of):
            shown = nested(of, path, functions)
            each = lambda value: None if value is None else [(key, shown[0](item)) for key, item in value]
            return shown and (each, pa.map_(pa.string(), shown[1]))
        case of:
            return functions.get(path) and (functions[path], ARROW[of])


def masked_copy(who, rows, faults={}):
    """What somebody of the village sees. A fault is what a mask of some name does instead."""
    salt = law.fresh_salt()
    shown = {place: how_shown(how) for place, how in who.columns.items()}
    tables = {}
    for product, columns in village.PRODUCTS.items():
        kinds = dict(village.leaves(columns))
        functions = {path: function(shown[product, path], kind, salt, faults) for path, kind in kinds.items() if shown[product, path]}
        column = lambda name, kind: nested(kind, (name,), functions)
        made = {name: column(name, kind) for name, kind in columns.items() if column(name, kind)}
        for name, (_, kind) in made.items():
            if shown.get((product, (name,))) == "replace-with-null":
                made[name] = (lambda _: None), kind
        visible = [row for row in rows[product] if row_shows(row, who, product, faults)]
        arrays = [pa.array([show(row[name]) for row in visible], kind) for name, (show, kind) in made.items()]
        tables[product] = pa.table(arrays, names=list(made))
    return Copy(tables, shown)


def row_shows(row, who, product, faults):
    rules = [rule for rule in who.rows if rule.product == product]
    if product == "people.households" or "rows" in faults:
        # Nothing closes its rows, or the rules are left out.
        return True
    parts = [[lambda row, rule=rule: rule.holds(row, who.attributes) for rule in rules if rule.effect == effect] for effect in ("permit", "forbid")]
    return law.shows(row, parts[0], [] if "forbids" in faults else parts[1])


def kind_of(how, kind):
    """What can be asked about values of a type that are shown in some way."""
    name = law.split(how)[0]
    if name == "sha-256-query-local":
        return f"class-{KINDS[kind]}"
    return "digest" if name in DIGESTS and kind in ("int", "long") else KINDS[kind]


def source(product, columns, shown, table):
    """What can be asked of a copy's table."""
    asked, star, values = [], [], {}
    for name in table.column_names:
        kind = columns[name]
        parts = {path: (how, dict(village.leaves({name: kind}))[path]) for (of, path), how in shown.items()
                 if of == product and path[0] == name and how}  # fmt: skip
        match kind:
            case dict(_):
                asked += [Column(f"{{}}.{name}['{path[1]}']", kind_of(*part)) for path, part in parts.items()]
                star.append(Column(name, "shown"))
            case village.MapTo(_):
                asked += [Column(f"{{}}.{name}['home']['{path[1]}']", kind_of(*part)) for path, part in parts.items()]
                star.append(Column(name, "shown"))
            case [_]:
                asked.append(Column(f"array_length({{}}.{name})", "whole"))
                asked += [Column(f"{{}}.{name}[1]" + "".join(f"['{leaf}']" for leaf in path[1:]), kind_of(*part)) for path, part in parts.items()]
                star.append(Column(name, "shown"))
            case plain:
                column = Column(f"{{}}.{name}", kind_of(*parts[name,]))
                asked.append(column)
                star.append(Column(name, column.kind))
                if column.kind not in (*EQUAL, "zoned"):
                    values[column.sql] = [value for value in table[name].slice(0, 400).to_pylist() if value is not None]
    # Classes inside of lists and structs are not compared.
    locals_inside = [path for (of, path), how in shown.items() if of == product and how == "sha-256-query-local" and not isinstance(columns[path[0]], str)]
    star = [] if locals_inside else star
    return Source(product, asked, star, {sql: known for sql, known in values.items() if known})


# Answers.

EXACT = Context(prec=80)


def plain(value):
    """A value as it is compared: numbers by their value, moments in UTC."""
    match value:
        case None | str() | bool():
            return value
        case int() | Decimal():
            return EXACT.add(EXACT.normalize(Decimal(value)), Decimal(0))
        case float():
            return EXACT.add(EXACT.normalize(Decimal(repr(value))), Decimal(0))
        case datetime.datetime():
            return "at " + (value.astimezone(UTC) if value.tzinfo else value).replace(tzinfo=None).isoformat()
        case datetime.date():
            return "on " + value.isoformat()
        case bytes():
            return "0x" + value.hex()
        case dict():
            return tuple((name, plain(inner)) for name, inner in value.items())
        case list() | tuple():
            return tuple(plain(inner) for inner in value)
    raise TypeError(type(value))


def in_micros(kind):
    return pa.timestamp("us", kind.tz) if pa.types.is_timestamp(kind) else kind


def lines(table):
    """The rows of an answer."""
    columns = [column.cast(in_micros(column.type)).to_pylist() for column in table.columns]
    return [tuple(plain(value) for value in row) for row in zip(*columns)]


def without_names(rows, kinds):
    """Rows whose classes are told apart by where they occur, and not by their names."""
    places = [place for place, kind in enumerate(kinds) if kind.startswith("class")]
    if not places:
        return rows
    signs = {row[place]: "" if row[place] is not None else None for row in rows for place in places}
    for _ in range(3):
        shown = [tuple(signs[value] if place in places else value for place, value in enumerate(row)) for row in rows]
        seen = {}
        for row, known in zip(rows, shown):
            for place in places:
                seen.setdefault(row[place], []).append((place, known))
        signs = {name: None if name is None else str(hash(tuple(sorted(map(repr, where))))) for name, where in seen.items()}
    return [tuple(signs[value] if place in places else value for place, value in enumerate(row)) for row in rows]


def differs(question, answer, expected):
    """How two answers differ, in words; None if they do not."""
    if answer.column_names != expected.column_names:
        return f"columns {answer.column_names} and {expected.column_names}"
    ours, theirs = (without_names(lines(table), question.kinds) for table in (answer, expected))
    if question.is_ordered:
        return None if ours == theirs else "rows or their order"
    return None if Counter(ours) == Counter(theirs) else "rows"


@dataclass
class Asked:
    seed: int
    user: str
    question: object
    answer: object

    def check(self, connection):
        """What is wrong with the answer, if anything, in words."""
        try:
            expected = connection.execute(self.question.sql).to_arrow_table()
        except duckdb.Error as error:
            return self.report(f"DuckDB: {error}")
        if isinstance(self.answer, Exception):
            return self.report(f"the server: {self.answer}")
        found = differs(self.question, self.answer, expected)
        if found is None:
            return None
        ours, theirs = (without_names(lines(table), self.question.kinds) for table in (self.answer, expected))
        only = lambda a, b: "\n".join(map(str, list((Counter(a) - Counter(b)).elements())[:8]))
        return self.report(f"{found}\nthe server alone, of {len(ours)}:\n{only(ours, theirs)}\nDuckDB alone, of {len(theirs)}:\n{only(theirs, ours)}")

    def report(self, text):
        return f"seed {self.seed}, as {self.user}:\n{self.question.sql}\n{text}\n"


def ask(connection, sql):
    """An answer without preparing it first, which would plan it once more."""
    with adbc_driver_manager.AdbcStatement(connection.adbc_connection) as statement:
        statement.set_sql_query(sql)
        try:
            stream, _ = statement.execute_query()
            return pa.RecordBatchReader._import_from_c(stream.address).read_all()
        except (adbc_driver_manager.Error, pa.ArrowException) as error:
            return error


def ask_all(connect, sources, first, count, are_large=False):
    """Asks for every table as a whole, unless they are large, and so many questions, dealt out to users; several at a time."""
    with ExitStack() as opened, ThreadPoolExecutor(3) as threads:
        users = list(sources)
        connections = {user: opened.enter_context(connect(user)) for user in users}

        def one(number):
            user = users[number % len(users)]
            return answered(first + number, user, Asker(first + number, sources[user], are_large).ask())

        def answered(seed, user, question):
            return Asked(seed, user, question, ask(connections[user], question.sql))

        tables = [] if are_large else [(user, whole(source)) for user in users for source in sources[user]]
        return [answered(None, *table) for table in tables] + list(threads.map(one, range(count)))


class Village:
    """The mesh of this test, served, and what was asked of it."""

    def __init__(self, directory, running):
        self.rows = village.make_rows()
        self.cast = village.make_cast()
        village.write_mesh(directory, self.cast, self.rows)
        self.server = Server(directory)
        running.callback(self.server.stop)
        self.copies = {who.name: masked_copy(who, self.rows) for who in self.cast}
        sources = {user: copy.sources(village.PRODUCTS) for user, copy in self.copies.items()}
        self.asked = ask_all(self.connect, sources, SEED * 1_000_000, QUERIES - DEMO)

    def connect(self, user):
        return open_connection(self.server, user, "guest")


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    with ExitStack() as running:
        yield Village(tmp_path_factory.mktemp("village"), running)


def wrong(asked, copies):
    connections = {user: copy.connect() for user, copy in copies.items()}
    return [found for one in asked if one.user in connections and (found := one.check(connections[one.user]))]


def test_the_cast_meets_every_mask_on_every_type(people):
    met = village.kinds_of_masks(people.cast)
    assert met == {(name, kind) for kind in village.PRIMITIVE for name in law.STRICTEST_FIRST if law.is_defined(name, kind)}
    assert any(how is None for copy in people.copies.values() for how in copy.shown.values())


def test_answers_equal_those_over_a_masked_copy(people):
    found = wrong(people.asked, people.copies)
    assert not found, f"{len(found)} of {len(people.asked)} differ:\n" + "\n".join(found[:10])
    full = sum(one.answer.num_rows > 0 for one in people.asked)
    assert full > 0.7 * len(people.asked), f"only {full} answers have rows"


def test_denied_columns_are_denied_by_name(people):
    for who in people.cast:
        with people.connect(who.name) as connection:
            for product, columns in village.PRODUCTS.items():
                for name in columns.keys() - set(people.copies[who.name].tables[product].column_names):
                    error = ask(connection, f"SELECT t.{name} FROM {product} AS t")
                    assert getattr(error, "status_code", None) == AdbcStatusCode.UNAUTHORIZED, f"{product}.{name}: {error}"


def another(how):
    return lambda kind: law.mask(how if law.is_defined(how, kind) else "replace-with-null", kind, village.KEYS)


# What a copy does wrongly, by what it should do.
FAULTS = {
    "replace-with-null": lambda kind: lambda value: value,
    "mask-to-fixed-value": another("replace-with-null"),
    "sha-256-query-local": another("mask-to-fixed-value"),
    "hmac": another("sha-256-global"),
    "sha-256-global": another("hmac(pii)"),
    "bucket": lambda kind: lambda value: value,
    "truncate-to-year": another("truncate-to-month"),
    "truncate-to-month": another("truncate-to-year"),
    "mask-alphanum": another("show-first-4"),
    "show-last-4": another("mask-alphanum"),
    "show-first-4": another("show-last-4"),
    "rows": None,
    "forbids": None,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_copy_that_is_masked_wrongly_is_told_from_the_answers(people, fault):
    def is_told(who):
        copy = masked_copy(who, people.rows, {fault: FAULTS[fault]}).connect()
        return any(one.check(copy) for one in people.asked if one.user == who.name)

    assert any(is_told(who) for who in people.cast)


# The demo mesh.

EMAIL, NAME, PHONE, TAX = "email", "full_name", "phone", "tax_id"
ANALYST = {
    "storefront.customers": {EMAIL: "sha-256-global", NAME: "replace-with-null", PHONE: "mask-to-fixed-value(hidden)", TAX: None},
    "storefront.catalog_items": {},
    "wholesale.accounts": {"contact_email": "sha-256-global", "credit_limit_eur": None},
    "payments.refunds": {},
}
# How columns are shown that are not raw, by user and product.
SEEN = {
    "analyst-eu": ANALYST | {"marketing.campaigns": {}},
    "analyst-us": ANALYST | {"marketing.campaigns": {"budget_eur": None}},
    "storefront-owner": {
        "storefront.customers": dict.fromkeys([EMAIL, NAME, PHONE, TAX], "sha-256-global"),
        "storefront.catalog_items": {},
    },
    "privacy-officer": {product: {} for product in [*ANALYST, "payments.fraud_signals", "marketing.campaigns"]},
}


def declared(kind):
    """The type of a column of the demo, as the village writes it."""
    if pa.types.is_struct(kind):
        return {part.name: declared(part.type) for part in kind}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return [declared(kind.value_type)]
    if pa.types.is_decimal(kind):
        return "decimal"
    names = {"large_string": "string", "bool": "boolean", "int32": "int", "int64": "long", "date32[day]": "date", "timestamp[us, tz=UTC]": "timestamptz"}
    return names.get(str(kind), str(kind))


def demo_copy(lake, seen):
    """What a user sees of the demo mesh, and the types of its columns."""
    shown, tables, types = {}, {}, {}
    for product, hows in seen.items():
        table = lake.table(product)
        types[product] = {column.name: declared(column.type) for column in table.schema}
        shown |= {(product, path): hows.get(path[0], "raw") for path, _ in village.leaves(types[product])}
        for place, name in reversed(list(enumerate(table.column_names))):
            how = hows.get(name, "raw")
            if how is None:
                table = table.remove_column(place)
            elif how != "raw":
                show = law.mask(how, types[product][name], {})
                table = table.set_column(place, name, pa.array([show(value) for value in table[name].to_pylist()], pa.string()))
        tables[product] = table
    return Copy(tables, shown), types


def test_answers_on_the_demo_mesh_equal_those_over_a_masked_copy(lake, server):
    copies = {user: demo_copy(lake, seen) for user, seen in SEEN.items()}
    sources = {user: copy.sources(types) for user, (copy, types) in copies.items()}
    asked = ask_all(lambda user: open_connection(server, user), sources, SEED * 1_000_000 + 500_000, DEMO, are_large=True)
    found = wrong(asked, {user: copy for user, (copy, _) in copies.items()})
    assert not found, f"{len(found)} of {len(asked)} differ:\n" + "\n".join(found[:10])
