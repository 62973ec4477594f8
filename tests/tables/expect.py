"""What the rows of each table are, as independent readers see them: DuckDB, PyIceberg and Spark; and a mesh that serves them.

A row is a JSON object. Numbers of no fixed precision are text as Rust's `{:?}` writes them, decimals have all digits of
their scale, times have six digits or nine, binary values, uuids among them, are hexadecimal; a map is a list of pairs.
"""

import datetime
import gzip
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile

import pyarrow as pa

import stage

# Where no two agree, the first counts.
READERS = ["spark", "duckdb", "pyiceberg"]


def metadata(writer, table):
    """The table's metadata and where it is in the bucket."""
    (path,) = (stage.HERE / "data" / writer / table / "metadata").glob("*.metadata.json")
    raw = path.read_bytes()
    text = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    return json.loads(text), f"s3://{stage.BUCKET}/{path.relative_to(stage.HERE / 'data')}"


def columns(found):
    """The fields of the current schema."""
    if "schemas" not in found:
        return found["schema"]["fields"]
    return next(schema for schema in found["schemas"] if schema["schema-id"] == found["current-schema-id"])["fields"]


def readable(kind):
    """Whether arrow holds the type."""
    if isinstance(kind, dict):
        inside = [field["type"] for field in kind.get("fields", [])]
        inside += [kind[key] for key in ("element", "key", "value") if key in kind]
        return all(map(readable, inside))
    return kind.partition("(")[0] not in ("variant", "geometry", "geography")


def number(x):
    if math.isnan(x):
        return "NaN"
    if math.isinf(x):
        return "inf" if x > 0 else "-inf"
    mantissa, e, exponent = repr(x).partition("e")
    return f"{mantissa}e{int(exponent)}" if e else mantissa


def moment(units, per_second, digits, zone):
    at = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=units // per_second)
    return f"{at.isoformat()}.{units % per_second:0{digits}}{zone}"


def canonical(kind, values):
    """An arrow array of an Iceberg type as JSON values."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if isinstance(kind, dict):
        return nested(kind, values)
    name = kind.partition("(")[0]
    if name.startswith("timestamp"):
        unit = "ns" if name.endswith("_ns") else "us"
        if pa.types.is_null(values.type):
            return [None] * len(values)
        # What a reader gives at a coarser unit is compared at the table's.
        plain = values.cast(pa.timestamp(unit, values.type.tz)).cast(pa.int64()).to_pylist()
        zone = "Z" if "tz" in name else ""
        return [None if v is None else moment(v, 10**9 if unit == "ns" else 10**6, 9 if unit == "ns" else 6, zone) for v in plain]
    if name == "time":
        plain = values.cast(pa.time64("us")).cast(pa.int64()).to_pylist()
        return [None if v is None else moment(v, 10**6, 6, "").partition("T")[2] for v in plain]
    form = {
        "float": number, "double": number, "decimal": lambda v: f"{v:f}", "date": lambda v: v.isoformat(),
        "uuid": lambda v: v.replace("-", "") if isinstance(v, str) else bytes(v).hex(),
        "fixed": lambda v: bytes(v).hex(), "binary": lambda v: bytes(v).hex(),
    }.get(name.partition("[")[0], lambda v: v)
    return [None if v is None else form(v) for v in values.to_pylist()]


def nested(kind, values):
    valid = values.is_valid().to_pylist()
    if kind["type"] == "struct":
        fields = {}
        for field in kind["fields"]:
            index = values.type.get_field_index(field["name"])
            fields[field["name"]] = canonical(field["type"], values.field(index))
        return [{name: of[i] for name, of in fields.items()} if ok else None for i, ok in enumerate(valid)]
    offsets = values.offsets.to_pylist()
    if kind["type"] == "list":
        items = canonical(kind["element"], values.values)
    else:
        keys, of = canonical(kind["key"], values.keys), canonical(kind["value"], values.items)
        items = list(map(list, zip(keys, of)))
    spans = [items[a:b] if ok else None for a, b, ok in zip(offsets, offsets[1:], valid)]
    if kind["type"] == "map":
        spans = [span and sorted(span, key=lambda pair: json.dumps(pair[0])) for span in spans]
    return spans


def rows(fields, read):
    """The rows that a reader gave, in an order of their own."""
    of = {field["name"]: canonical(field["type"], read[field["name"]]) for field in fields}
    lines = [{name: of[name][i] for name in of} for i in range(read.num_rows)]
    return sorted(lines, key=lambda line: json.dumps(line, ensure_ascii=False))


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def by_duckdb(location, fields):
    """In a process of its own: the extension dies of some tables."""
    names = ", ".join(quoted(field["name"]) for field in fields)
    with tempfile.NamedTemporaryFile(dir=stage.WORK) as file:
        sql = f"SELECT {names} FROM iceberg_scan('{location}')"
        # With an environment of its own: that of the process may be changed by a library's thread meanwhile.
        command = [sys.executable, __file__, sql, file.name]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=dict(os.environ))
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [""])[-1]
            raise RuntimeError(f"it crashed with {done.returncode}" if done.returncode < 0 else last)
        return pa.ipc.open_stream(file.name).read_all()


def by_pyiceberg(location, fields, properties):
    from pyiceberg.table import StaticTable

    return StaticTable.from_metadata(location, properties).scan(selected_fields=tuple(field["name"] for field in fields)).to_arrow()


def by_spark(spark, name, fields):
    names = ", ".join("`" + field["name"].replace("`", "``") + "`" for field in fields)
    read = spark.sql(f"SELECT {names} FROM {name}").toArrow()
    return read.rename_columns([field["name"] for field in fields])


def contract(writer, table, fields):
    """The product of a table: all of its columns, as they are."""

    def column(field):
        kind = field["type"]
        simple = kind["type"] if isinstance(kind, dict) else kind.replace(" ", "")
        declared = {"name": field["name"], "physicalType": simple}
        inside = kind
        while isinstance(inside, dict) and inside["type"] != "struct":
            inside = inside["element"] if inside["type"] == "list" else inside["value"]
        if isinstance(inside, dict):
            declared["properties"] = [column(nested) for nested in inside["fields"]]
        return declared

    return {
        "apiVersion": "v3.1.0", "kind": "DataContract", "id": f"{writer}-{table}", "name": table, "version": "1.0.0",
        "status": "active", "schema": [{"name": table, "physicalName": f"{writer}.{table}", "properties": list(map(column, fields))}],
    }


MESH = {
    "mesh": "tables",
    "groups": ["readers"],
    "auth": {"users": [{"name": "guest", "password_hash": "${file:secrets/guest.argon2}", "groups": ["readers"]}]},
}


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def main(spark):
    properties = stage.file_io()
    for part in ("mesh", "expected"):
        shutil.rmtree(stage.HERE / part, ignore_errors=True)
    # JSON is YAML.
    write(stage.HERE / "mesh" / "mesh.yaml", MESH)
    for directory in sorted((stage.HERE / "data").iterdir()):
        writer, pinned = directory.name, {}
        for table in sorted(path.name for path in directory.iterdir()):
            found, location = metadata(writer, table)
            pinned[f"{writer}.{table}"] = location
            fields = columns(found)
            plain = [field for field in fields if readable(field["type"])]
            write(stage.HERE / "mesh" / writer / "products" / f"{table}.odcs.yaml", contract(writer, table, fields))
            answers, notes = {}, {}
            for reader in READERS:
                try:
                    if reader == "duckdb":
                        read = by_duckdb(location, plain)
                    elif reader == "pyiceberg":
                        read = by_pyiceberg(location, plain, properties)
                    else:
                        read = by_spark(spark, f"{writer}.{table}", plain)
                    answers[reader] = rows(plain, read)
                except Exception as error:
                    notes[reader] = "cannot read it: " + str(error).strip().splitlines()[0][:160]
            taken, agree = None, []
            # Two that agree against one; else the first that could read it.
            for reader in answers:
                same = [other for other in answers if answers[other] == answers[reader]]
                if len(same) > len(agree):
                    taken, agree = reader, same
            for reader in answers:
                notes[reader] = "agrees" if reader in agree else f"differs: {len(answers[reader])} rows"
            expected = {"columns": [field["name"] for field in plain], "unreadable": [f["name"] for f in fields if f not in plain],
                        "readers": notes, "rows": answers.get(taken)}
            text = json.dumps({k: v for k, v in expected.items() if k != "rows"}, ensure_ascii=False)
            lines = [json.dumps(line, ensure_ascii=False) for line in expected["rows"] or []]
            write(stage.HERE / "expected" / writer / f"{table}.jsonl", "\n".join([text, *lines]) + "\n")
            print(writer, table, taken, len(expected["rows"] or []), notes, flush=True)
        tables = {"type": "metadata", "tables": pinned}
        storage = {"endpoint": "${file:secrets/endpoint}", "region": stage.REGION, "access_key_id": "${file:secrets/id}",
                   "secret_access_key": "${file:secrets/key}", "allow_http": "true"}
        write(stage.HERE / "mesh" / writer / "domain.yaml", {"name": writer, "kind": "shared", "owner": {"team": writer}, "catalog": tables, "storage": storage})
        policy = "".join(
            f'@id("{writer}-{action}")\npermit (principal in Group::"readers", action == Action::"{action}", resource in Domain::"{writer}");\n'
            for action in ("discover", "read"))
        write(stage.HERE / "mesh" / writer / "policies" / "access.cedar", policy)


def ask_duckdb(sql, path):
    import write_duckdb

    read = write_duckdb.connection(attach=False).sql(sql).to_arrow_table()
    with pa.ipc.new_stream(path, read.schema) as out:
        out.write_table(read)


if __name__ == "__main__":
    if sys.argv[1:]:
        ask_duckdb(*sys.argv[1:])
    else:
        import write_spark

        main(write_spark.session())
