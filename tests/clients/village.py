"""A mesh with every mask on every type: its tables, its policies, and who may see what of them.

Policies are drawn up here once, as rules, and written twice: for the server in Cedar, for the copies in Python. What the
rules mean for a copy is in `law.py`.
"""

import datetime
import itertools
import json
import random
import shutil
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.schema import Schema
from pyiceberg.types import (
    BinaryType, BooleanType, DateType, DecimalType, DoubleType, IntegerType, ListType, LongType, MapType, NestedField,
    StringType, StructType, TimestampType, TimestamptzType, UUIDType,
)

from law import STRICTEST_FIRST, UTC, compare, both, either, is_defined, opposite, split

SECRET = "a key of the village"
KEYS = {"pii": SECRET.encode()}
PRIMITIVE = {
    "string": StringType(),
    "int": IntegerType(),
    "long": LongType(),
    "decimal": DecimalType(12, 2),
    "double": DoubleType(),
    "boolean": BooleanType(),
    "date": DateType(),
    "timestamp": TimestampType(),
    "timestamptz": TimestamptzType(),
    "binary": BinaryType(),
    "uuid": UUIDType(),
}



@dataclass(frozen=True)
class MapTo:
    """A map from texts."""

    value: object


# Columns by product: a type, a struct as a dictionary, a list as a list.
PRODUCTS = {
    "people.residents": {
        "resident_id": "long",
        "household_id": "long",
        "name": "string",
        "email": "string",
        "card": "string",
        "region": "string",
        "born": "date",
        "moved": "timestamp",
        "seen": "timestamptz",
        "income": "decimal",
        "score": "double",
        "points": "int",
        "balance": "long",
        "active": "boolean",
        "photo": "binary",
        "token": "uuid",
        "address": {"street": "string", "zip": "string", "built": "date"},
        "visits": [{"place": "string", "day": "date"}],
        "tags": ["string"],
        "contacts": MapTo({"phone": "string", "since": "date"}),
    },
    "people.households": {
        "household_id": "long",
        "region": "string",
        "label": "string",
        "size": "int",
        "rent": "decimal",
        "since": "date",
    },
    "trade.orders": {
        "order_id": "long",
        "resident_id": "long",
        "household_id": "long",
        "amount": "decimal",
        "weight": "double",
        "status": "string",
        "note": "string",
        "placed": "timestamp",
        "paid": "timestamptz",
        "express": "boolean",
        "receipt": "binary",
        "parcel": "uuid",
    },
}
# The same person and the same house in every product, so that they are shown alike in all of them.
IDENTITIES = ("resident_id", "household_id")


def leaves(columns):
    """The paths of all leaves, each with its type."""
    for name, kind in columns.items():
        match kind:
            case dict(fields) | [dict(fields)] | MapTo(dict(fields)):
                yield from (((name, inner), of) for inner, of in fields.items())
            case [of] | of:
                yield (name,), of


# Rows.


def maybe(draw, value, nulls=0.12):
    return None if draw.random() < nulls else value


def text(draw):
    given = draw.choice(["Ada", "Bram", "Éva", "Jürgen", "Zoë", "Li", "O'Neil", "Ann-Lee", "日本太郎", "Nora"])
    return draw.choice([given, f"{given} {draw.choice(['Berg', 'de Vries', '(sr.)', 'K. 2'])}", f"{given}{draw.randrange(30)}", ""])


def day(draw):
    return datetime.date(1950, 1, 1) + datetime.timedelta(draw.randrange(27_000))


def moment(draw):
    return datetime.datetime(1968, 1, 1) + datetime.timedelta(seconds=draw.randrange(1_800_000_000), microseconds=draw.randrange(1_000_000))


def resident(draw, number):
    name = text(draw)
    return {
        "resident_id": number,
        "household_id": maybe(draw, draw.randrange(1, 40)),
        "name": maybe(draw, name),
        "email": maybe(draw, f"{name.split(' ')[0].lower()}{number % 50}@{draw.choice(['village.example', 'post.example', 'club.org'])}"),
        "card": maybe(draw, draw.choice([f"4111-{draw.randrange(30):04}", "123", f"{draw.randrange(20):012}"])),
        "region": maybe(draw, draw.choice(["north", "south", "east", "océan"])),
        "born": maybe(draw, day(draw)),
        "moved": maybe(draw, moment(draw)),
        "seen": maybe(draw, moment(draw).replace(tzinfo=UTC)),
        "income": maybe(draw, Decimal(draw.randrange(-50_000, 9_000_000)) / 100),
        "score": maybe(draw, draw.randrange(-40, 80) / 4),
        "points": maybe(draw, draw.randrange(-60, 60)),
        "balance": maybe(draw, draw.randrange(-9_000, 9_000)),
        "active": maybe(draw, draw.random() < 0.5),
        "photo": maybe(draw, bytes([draw.randrange(4)] * draw.randrange(4))),
        "token": maybe(draw, uuid.UUID(int=draw.randrange(50) << 70).bytes),
        "address": maybe(draw, {
            "street": maybe(draw, f"{draw.choice(['Dijk', 'Kade', 'Laan'])} {draw.randrange(20)}"),
            "zip": maybe(draw, f"{draw.randrange(10_000, 30_000)}"),
            "built": maybe(draw, day(draw)),
        }),
        # PyIceberg writes lists and maps that are NULL as empty ones.
        "visits": [
            maybe(draw, {"place": maybe(draw, text(draw)), "day": maybe(draw, day(draw))}) for _ in range(draw.randrange(4))
        ],
        "tags": [maybe(draw, draw.choice(["early", "late-2", "x"])) for _ in range(draw.randrange(4))],
        "contacts": [
            (key, maybe(draw, {"phone": maybe(draw, f"+31 {draw.randrange(10**6)}"), "since": maybe(draw, day(draw))}))
            for key in ("home", "work")[: draw.randrange(3)]
        ],
    }  # fmt: skip


def household(draw, number):
    return {
        "household_id": number,
        "region": maybe(draw, draw.choice(["north", "south", "east", "océan"])),
        "label": maybe(draw, text(draw)),
        "size": maybe(draw, draw.randrange(1, 7)),
        "rent": maybe(draw, Decimal(draw.randrange(30_000, 300_000)) / 100),
        "since": maybe(draw, day(draw)),
    }


def order(draw, number):
    return {
        "order_id": number,
        "resident_id": maybe(draw, draw.randrange(1, 130)),
        "household_id": maybe(draw, draw.randrange(1, 45)),
        "amount": maybe(draw, Decimal(draw.randrange(-500, 40_000)) / 100),
        "weight": maybe(draw, draw.randrange(0, 200) / 8),
        "status": maybe(draw, draw.choice(["open", "paid", "returned", "lost 24-11"])),
        "note": maybe(draw, text(draw)),
        "placed": maybe(draw, moment(draw)),
        "paid": maybe(draw, moment(draw).replace(tzinfo=UTC)),
        "express": maybe(draw, draw.random() < 0.3),
        "receipt": maybe(draw, bytes([draw.randrange(3)] * draw.randrange(3))),
        "parcel": maybe(draw, uuid.UUID(int=draw.randrange(40)).bytes),
    }


def make_rows():
    draw = random.Random(11)
    return {
        "people.residents": [resident(draw, number) for number in range(1, 121)],
        "people.households": [household(draw, number) for number in range(1, 41)],
        "trade.orders": [order(draw, number) for number in range(1, 181)],
    }


# Rules.


@dataclass
class RowRule:
    """A `permit` or `forbid` of rows, and what its filter says of a row of one principal."""

    effect: str
    product: str
    filter: str | None = None
    holds: object = lambda row, who: True


@dataclass
class Resident:
    """A user, who is alone in a group, with what its policies say."""

    name: str
    attributes: dict = field(default_factory=dict)
    # By product and path of a leaf: what is permitted, `raw` or masks, and what is forbidden, `not raw` or `never`.
    columns: dict = field(default_factory=dict)
    rows: list = field(default_factory=list)


def starts(value, prefix):
    return compare(value, prefix, str.startswith)


def inside(row, column, name):
    return None if row[column] is None else row[column][name]


R, O = "people.residents", "trade.orders"
# What each restricted user sees of the two products whose rows are closed. NULL is unknown in each of them.
ROWS = [
    [
        RowRule("permit", R, "region = principal.region", lambda row, who: compare(row["region"], who.get("region"), str.__eq__)),
        RowRule("permit", O),
        RowRule("forbid", O, "status = 'returned'", lambda row, who: compare(row["status"], "returned", str.__eq__)),
    ],
    [
        RowRule("permit", R, "score > 5 AND active", lambda row, who: both(compare(row["score"], 5, float.__gt__), row["active"])),
        RowRule(
            "permit", R, "born BETWEEN DATE '1960-01-01' AND DATE '1989-12-31'",
            lambda row, who: compare(row["born"], 0, lambda born, _: datetime.date(1960, 1, 1) <= born <= datetime.date(1989, 12, 31)),
        ),
        RowRule("permit", O, "NOT (amount * 2 <= 100.50 OR express)", lambda row, who: opposite(
            either(compare(row["amount"], 0, lambda amount, _: amount * 2 <= Decimal("100.50")), row["express"]))),
    ],
    [
        RowRule("permit", R),
        RowRule("forbid", R, "email LIKE '%@%.org' OR points IN (1, 2, 3)", lambda row, who: either(
            compare(row["email"], 0, lambda email, _: "@" in email and email.endswith(".org")),
            compare(row["points"], {1, 2, 3}, lambda points, some: points in some))),
        RowRule("permit", O, "note IS NOT NULL", lambda row, who: row["note"] is not None),
    ],
    [
        # An attribute that this user does not have: the permit shows nothing, and the forbid would hide all.
        RowRule("permit", R, "region = principal.region", lambda row, who: None),
        RowRule("permit", R, "address.zip LIKE '1%'", lambda row, who: starts(inside(row, "address", "zip"), "1")),
        RowRule("permit", O),
    ],
    [
        RowRule("permit", R, "balance - points > 0", lambda row, who: compare(
            row["balance"], row["points"], lambda balance, points: balance - points > 0)),
        RowRule("permit", O),
        RowRule("forbid", O, "placed < TIMESTAMP '1985-01-01 00:00:00' OR status = principal.region", lambda row, who: either(
            compare(row["placed"], datetime.datetime(1985, 1, 1), datetime.datetime.__lt__),
            compare(row["status"], who.get("region"), str.__eq__))),
    ],
    [
        RowRule("permit", R),
        RowRule("permit", O, "status IN ('open', 'paid')", lambda row, who: compare(row["status"], ("open", "paid"), lambda s, some: s in some)),
        # Without a filter: every row.
        RowRule("forbid", R),
    ],
]  # fmt: skip
REGIONS = ["north", "south", "east", None, "open", "océan"]

# As policies write them.
ARGUMENTS = {
    "mask-to-fixed-value": {"string": ["(gone)"], "int": ["(7)"], "decimal": ["(-1.50)"], "date": ["(2001-02-03)"], "boolean": ["(true)"]},
    "hmac": {kind: ["(pii)"] for kind in PRIMITIVE},
    "bucket": {"int": ["(10)"], "long": ["(1000)"], "decimal": ["(250.5)"], "double": ["(2.5)"]},
}


def masks_for(kind):
    """Every mask for a type, with and without an argument where both can be."""
    for name in STRICTEST_FIRST:
        if is_defined(name, kind):
            if name not in ("hmac", "bucket"):
                yield name
            yield from (name + argument for argument in ARGUMENTS.get(name, {}).get(kind, []))


def make_cast():
    """Six who see a part, and somebody who sees all: every mask for every type occurs, and the rest is dealt out."""
    draw = random.Random(5)
    restricted = [Resident(f"resident-{n}", {"region": region} if region else {}, rows=rows)
                  for n, (region, rows) in enumerate(zip(REGIONS, ROWS))]  # fmt: skip
    slots = {}
    for product, columns in PRODUCTS.items():
        for path, kind in leaves(columns):
            if path[0] not in IDENTITIES:
                slots.setdefault(kind, []).extend((who, product, path) for who in restricted)
    for kind, places in slots.items():
        draw.shuffle(places)
        masks = list(masks_for(kind))
        assert len(masks) <= len(places), kind
        one = lambda: draw.choice(masks)
        rest = itertools.cycle([["raw"], [one()], ["raw"], [one(), one()], [one(), one()], ["raw", "not raw", one()], [],
                                ["raw", one()], ["raw", one(), "never"], [one(), one(), one()]])  # fmt: skip
        for (who, product, path), how in zip(places, itertools.chain(([mask] for mask in masks), rest)):
            who.columns[product, path] = how
    for who, how in zip(restricted, [["raw"], ["hmac(pii)"], ["raw"], ["sha-256-global"], ["raw"], ["sha-256-query-local"]]):
        for product, columns in PRODUCTS.items():
            for name in IDENTITIES:
                if name in columns:
                    who.columns[product, (name,)] = how
    warden = Resident("warden", rows=[RowRule("permit", R), RowRule("permit", O)])
    warden.columns = {(product, path): ["raw"] for product, columns in PRODUCTS.items() for path, _ in leaves(columns)}
    return [*restricted, warden]


# Files.


def iceberg(kind, ids):
    match kind:
        case dict(fields):
            return StructType(*[NestedField(next(ids), name, iceberg(of, ids)) for name, of in fields.items()])
        case [of]:
            return ListType(next(ids), iceberg(of, ids), element_required=False)
        case MapTo(of):
            return MapType(next(ids), StringType(), next(ids), iceberg(of, ids), value_required=False)
        case of:
            return PRIMITIVE[of]


def declared(name, kind):
    match kind:
        case dict(fields):
            return {"name": name, "physicalType": "struct", "properties": [declared(*inner) for inner in fields.items()]}
        case [dict(fields)]:
            return {"name": name, "physicalType": "list", "properties": [declared(*inner) for inner in fields.items()]}
        case [of]:
            return {"name": name, "physicalType": "list"}
        case MapTo(dict(fields)):
            return {"name": name, "physicalType": "map", "properties": [declared(*inner) for inner in fields.items()]}
        case of:
            return {"name": name, "physicalType": "decimal(12,2)" if of == "decimal" else of}


def policies(cast, domain):
    """The rules of a domain's products, in Cedar."""
    numbers = itertools.count()

    def policy(who, effect, action, resource, annotation=""):
        scope = "principal" if who is None else f'principal in Group::"{who.name}"'
        number = next(numbers)
        action = f'in Action::"{action}"' if action == "see" else f'== Action::"{action}"'
        return f'@id("{domain}-{number}") {annotation}\n{effect} ({scope}, action {action}, resource {resource});\n'

    yield policy(None, "permit", "discover", f'in Domain::"{domain}"')
    for who in cast:
        for (product, path), how in who.columns.items():
            if product.startswith(f"{domain}."):
                column = f'== Column::"{product}.{".".join(path)}"'
                if isinstance(PRODUCTS[product][path[0]], MapTo):
                    # The keys of a map have no address: who sees any of it has a permit for all of it.
                    if any(who.columns[product, leaf] for leaf, _ in leaves({path[0]: PRODUCTS[product][path[0]]})):
                        yield policy(who, "permit", "read", f'== Column::"{product}.{path[0]}"')
                    how = [*how, "not raw"] if "raw" not in how else how
                for what in how:
                    match what:
                        case "raw":
                            yield policy(who, "permit", "read", column)
                        case "not raw":
                            yield policy(who, "forbid", "read", column)
                        case "never":
                            yield policy(who, "forbid", "see", column)
                        case mask:
                            yield policy(who, "permit", "read_masked", column, f'@mask("{mask}")')
        for rule in who.rows:
            if rule.product.startswith(f"{domain}."):
                annotation = f'@filter("{rule.filter}")' if rule.filter else ""
                yield policy(who, rule.effect, "read_rows", f'== Product::"{rule.product}"', annotation)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def write_mesh(mesh, cast, rows):
    """The files of the mesh, and its tables in a few files each."""
    guest = Path(__file__).parents[2] / "examples" / "packly" / "secrets" / "guest.argon2"
    write(mesh / "secrets" / "pii.key", SECRET)
    shutil.copy(guest, mesh / "secrets")
    users = [
        {"name": who.name, "password_hash": "${file:secrets/guest.argon2}", "groups": [who.name], "attributes": who.attributes}
        for who in cast
    ]
    write(mesh / "mesh.yaml", {
        "mesh": "village",
        "groups": [who.name for who in cast],
        "attributes": {"region": "String"},
        "keys": {"pii": "${file:secrets/pii.key}"},
        "auth": {"users": users},
    })  # fmt: skip
    for domain in sorted({product.split(".")[0] for product in PRODUCTS}):
        catalog = {"type": "sql", "uri": f"sqlite:lake/{domain}.db", "warehouse": f"file:lake/{domain}"}
        write(mesh / domain / "domain.yaml", {"name": domain, "kind": "shared", "owner": {"team": domain}, "catalog": catalog})
        write(mesh / domain / "policies" / "access.cedar", "".join(policies(cast, domain)))
        (mesh / "lake" / domain).mkdir(parents=True)
        lake = SqlCatalog(domain, uri=f"sqlite:///{mesh}/lake/{domain}.db", warehouse=f"file://{mesh}/lake/{domain}")
        lake.create_namespace("village")
        for product, columns in PRODUCTS.items():
            if product.startswith(f"{domain}."):
                name = product.split(".")[1]
                write(mesh / domain / "products" / f"{name}.odcs.yaml", contract(product, columns))
                ids = itertools.count(1)
                schema = Schema(*[NestedField(next(ids), column, iceberg(kind, ids)) for column, kind in columns.items()])
                table = lake.create_table(f"village.{name}", schema)
                step = len(rows[product]) // 3 + 1
                for first in range(0, len(rows[product]), step):
                    part = rows[product][first : first + step]
                    table.append(pa.Table.from_pylist(part, schema=table.schema().as_arrow()))


def contract(product, columns):
    name = product.split(".")[1]
    return {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": product.replace(".", "-"),
        "name": name,
        "version": "1.0.0",
        "status": "active",
        "schema": [{"name": name, "physicalName": f"village.{name}", "properties": [declared(*column) for column in columns.items()]}],
    }


def kinds_of_masks(cast):
    """Which masks the cast meets on which types."""
    kinds = {(product, path): kind for product, columns in PRODUCTS.items() for path, kind in leaves(columns)}
    return {(split(mask)[0], kinds[place]) for who in cast for place, how in who.columns.items() for mask in how if mask in masks_for(kinds[place])}
