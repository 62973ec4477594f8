"""A mesh of domains that have their lakes in different places, and what must come out of it.

Each domain has one table, `sales`, whose rows follow from the domain's name. PyIceberg writes it into the domain's own
catalog and store; the server asks both through the proxies that the domain's files name.
"""

import json
import math
import re
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from adbc_driver_flightsql import dbapi
from adbc_driver_manager import Error
from pyiceberg.catalog import Catalog

from servers import KEY, REGION, SECRET, Azurite

USER = "guest"
# How many keys there are. Each domain leaves some out, and no two the same ones.
KEYS = 2000
LEFT_OUT = {"orchard": 7, "harbor": 11, "mill": 13, "archive": 17, "cellar": 19}
# Each table has several files, so that there is something to break off between them.
FILES = 4
COLUMNS = {"key": "long", "amount": "long", "note": "string"}
SCHEMA = pa.schema([("key", pa.int64()), ("amount", pa.int64()), ("note", pa.string())])
# No client may see any of these: where it is, what logs in, and what a proxy is called.
HIDDEN = re.compile(rf"s3://|gs://|abfss?://|file:|127\.0\.0\.1|/tmp/|{SECRET}|sqlite|postgres")


def amount(domain, key):
    return key * LEFT_OUT[domain] + len(domain)


def rows(domain, keys=range(KEYS)):
    """What a domain has sold."""
    kept = [key for key in keys if key % LEFT_OUT[domain]]
    columns = [kept, [amount(domain, key) for key in kept], [f"{domain} {key}" for key in kept]]
    return pa.table(columns, schema=SCHEMA)


@dataclass
class Domain:
    """A domain: how the server opens its lake, and how its tables get there."""

    name: str
    # As in `domain.yaml`.
    catalog: dict
    storage: dict
    # Who writes into it.
    writer: Catalog
    # The proxies in front of it: `catalog`, `store`.
    ends: dict = field(default_factory=dict)

    def sell(self):
        """Writes the table."""
        self.writer.create_namespace("shop")
        table = self.writer.create_table("shop.sales", SCHEMA)
        step = KEYS // FILES
        for first in range(0, KEYS, step):
            table.append(rows(self.name, range(first, first + step)))
        return table

    @property
    def table(self):
        return self.writer.load_table("shop.sales")

    @property
    def sql(self):
        return f"SELECT key, amount, note FROM {self.name}.sales ORDER BY key"


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))


def policies(domain):
    scope = f'resource in Domain::"{domain}"'
    return "".join(
        f'@id("{domain}-{action}") permit (principal, action == Action::"{action}", {scope});\n' for action in ("discover", "read")
    )


def write_mesh(mesh, domains, tables=("sales",), names=None):
    """The files of a mesh over these domains, all of whose products everybody reads. Some tables have other names in the
    catalog."""
    guest = Path(__file__).parents[2] / "examples" / "packly" / "secrets" / "guest.argon2"
    write(mesh / "secrets" / "key", KEY)
    write(mesh / "secrets" / "secret", SECRET)
    write(mesh / "secrets" / "account", Azurite.ACCOUNT_KEY)
    shutil.copy(guest, mesh / "secrets")
    users = [{"name": USER, "password_hash": "${file:secrets/guest.argon2}"}]
    write(mesh / "mesh.yaml", {"mesh": "lakes", "auth": {"users": users}})
    for domain in domains:
        settings = {"name": domain.name, "kind": "shared", "owner": {"team": domain.name}}
        settings |= {"catalog": domain.catalog, "storage": domain.storage}
        write(mesh / domain.name / "domain.yaml", settings)
        write(mesh / domain.name / "policies" / "access.cedar", policies(domain.name))
        for table in tables:
            write(mesh / domain.name / "products" / f"{table}.odcs.yaml", contract(domain.name, table, (names or {}).get(table, f"shop.{table}")))
    return mesh


def contract(domain, table, name):
    properties = [{"name": name, "physicalType": kind} for name, kind in COLUMNS.items()]
    return {
        "apiVersion": "v3.1.0", "kind": "DataContract", "id": f"{domain}-{table}", "name": table, "version": "1.0.0",
        "status": "active", "schema": [{"name": table, "physicalName": name, "properties": properties}],
    }  # fmt: skip


def s3_storage(url):
    """`storage` of a domain whose tables lie in an S3 server on this machine."""
    keys = {"access_key_id": "${file:secrets/key}", "secret_access_key": "${file:secrets/secret}"}
    return {"endpoint": url, "region": REGION, "allow_http": True, **keys}


def s3_files(url):
    """What PyIceberg must know to write there."""
    return {"s3.endpoint": url, "s3.region": REGION, "s3.access-key-id": KEY, "s3.secret-access-key": SECRET}


# Asking.


def connect(server):
    return dbapi.connect(server.uri, db_kwargs={"username": USER, "password": USER}, autocommit=True)


@dataclass
class Outcome:
    """A table or an error, and how long it took."""

    table: pa.Table | None
    error: str | None
    seconds: float

    def is_exact(self, expected):
        return self.table is not None and self.table.equals(expected)


def ask(connection, sql):
    """The outcome of a statement."""
    begin = time.monotonic()
    table, error = None, None
    with connection.cursor() as cursor:
        try:
            cursor.execute(sql)
            table = cursor.fetch_arrow_table()
        except Error as failed:
            error = str(failed)
    return Outcome(table and plain(table), error, time.monotonic() - begin)


def plain(table):
    """The table without what was said about its columns on the way."""
    return pa.table(table.columns, schema=pa.schema([pa.field(f.name, f.type) for f in table.schema])).combine_chunks()


def joined(domains):
    """A query that joins the domains by key, and its answer."""
    names = [domain.name for domain in domains]
    first, *others = names
    amounts = ", ".join(f"{name}.amount AS {name}" for name in names)
    joins = " ".join(f"JOIN {name}.sales AS {name} ON {name}.key = {first}.key" for name in others)
    sql = f"SELECT {first}.key AS key, {amounts} FROM {first}.sales AS {first} {joins} ORDER BY key"
    keys = [key for key in range(KEYS) if all(key % LEFT_OUT[name] for name in names)]
    columns = {"key": keys} | {name: [amount(name, key) for key in keys] for name in names}
    return sql, pa.table({name: pa.array(values, pa.int64()) for name, values in columns.items()})


def assert_is_clear(error, domain):
    """An error that names the domain, and shows nothing that is nobody's business."""
    assert f"`{domain}" in error, f"the error does not name `{domain}`: {error}"
    shown = HIDDEN.search(error)
    assert not shown, f"{shown.group()!r} stands in the error: {error}"


def assert_exact_or_clear(outcome, expected, domain):
    if outcome.error is not None:
        assert_is_clear(outcome.error, domain)
    else:
        assert outcome.is_exact(expected), f"a wrong answer of {outcome.table.num_rows} rows, {expected.num_rows} were due"


def percentile(values, part):
    return sorted(values)[math.ceil(len(values) * part) - 1]
