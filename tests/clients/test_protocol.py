"""Flight SQL's metadata commands as Arrow's own integration scenario asks them: each schema is the specification's.

The commands are encoded by hand: they are small, and no Python package has them for this version of pyarrow.
"""

import pyarrow as pa
import pyarrow.flight as flight
import pytest


def encoded(name, *fields):
    """A command as a protobuf `Any`; each field is its number with a text or a bool."""
    message = b""
    for number, value in fields:
        if isinstance(value, bool):
            message += bytes([number << 3, value])
        else:
            message += bytes([number << 3 | 2, len(value)]) + value.encode()
    url = f"type.googleapis.com/arrow.flight.protocol.sql.{name}".encode()
    return bytes([1 << 3 | 2, len(url)]) + url + bytes([2 << 3 | 2, len(message)]) + message


def must(name, kind):
    return pa.field(name, kind, nullable=False)


TEXT, INT32 = pa.string(), pa.int32()
KEYS = pa.schema(
    [
        ("pk_catalog_name", TEXT),
        ("pk_db_schema_name", TEXT),
        must("pk_table_name", TEXT),
        must("pk_column_name", TEXT),
        ("fk_catalog_name", TEXT),
        ("fk_db_schema_name", TEXT),
        must("fk_table_name", TEXT),
        must("fk_column_name", TEXT),
        must("key_sequence", INT32),
        ("fk_key_name", TEXT),
        ("pk_key_name", TEXT),
        must("update_rule", pa.uint8()),
        must("delete_rule", pa.uint8()),
    ]
)
TABLES = [("catalog_name", TEXT), ("db_schema_name", TEXT), must("table_name", TEXT), must("table_type", TEXT)]
OF_CUSTOMERS = [(1, "packly"), (2, "storefront"), (3, "customers")]
OF_CUSTOMERS_AND_ORDERS = [*OF_CUSTOMERS, (4, "packly"), (5, "wholesale"), (6, "orders")]
COMMANDS = {
    "CommandGetCatalogs": ([], pa.schema([must("catalog_name", TEXT)])),
    "CommandGetDbSchemas": ([], pa.schema([("catalog_name", TEXT), must("db_schema_name", TEXT)])),
    "CommandGetTables": ([(5, False)], pa.schema(TABLES)),
    "CommandGetTables with schemas": ([(5, True)], pa.schema([*TABLES, must("table_schema", pa.binary())])),
    "CommandGetTableTypes": ([], pa.schema([must("table_type", TEXT)])),
    "CommandGetPrimaryKeys": (
        OF_CUSTOMERS,
        pa.schema(
            [
                ("catalog_name", TEXT),
                ("db_schema_name", TEXT),
                must("table_name", TEXT),
                must("column_name", TEXT),
                ("key_name", TEXT),
                must("key_sequence", INT32),
            ]
        ),
    ),
    "CommandGetExportedKeys": (OF_CUSTOMERS, KEYS),
    "CommandGetImportedKeys": (OF_CUSTOMERS, KEYS),
    "CommandGetCrossReference": (OF_CUSTOMERS_AND_ORDERS, KEYS),
    "CommandGetXdbcTypeInfo": (
        [],
        pa.schema(
            [
                must("type_name", TEXT),
                must("data_type", INT32),
                ("column_size", INT32),
                ("literal_prefix", TEXT),
                ("literal_suffix", TEXT),
                ("create_params", pa.list_(must("item", TEXT))),
                must("nullable", INT32),
                must("case_sensitive", pa.bool_()),
                must("searchable", INT32),
                ("unsigned_attribute", pa.bool_()),
                must("fixed_prec_scale", pa.bool_()),
                ("auto_increment", pa.bool_()),
                ("local_type_name", TEXT),
                ("minimum_scale", INT32),
                ("maximum_scale", INT32),
                must("sql_data_type", INT32),
                ("datetime_subcode", INT32),
                ("num_prec_radix", INT32),
                ("interval_precision", INT32),
            ]
        ),
    ),
}


@pytest.fixture(scope="module")
def call(server):
    """A client, and the options with which `analyst-eu` calls."""
    with flight.connect(server.uri) as client:
        yield client, flight.FlightCallOptions(headers=[client.authenticate_basic_token("analyst-eu", "analyst-eu")])


@pytest.mark.parametrize("name", COMMANDS)
def test_a_listing_has_the_schema_of_the_specification_wherever_it_is_told(call, name):
    client, options = call
    fields, schema = COMMANDS[name]
    descriptor = flight.FlightDescriptor.for_command(encoded(name.split()[0], *fields))
    info = client.get_flight_info(descriptor, options)
    assert len(info.endpoints) == 1
    assert list(info.endpoints[0].locations) == []
    rows = client.do_get(info.endpoints[0].ticket, options)
    for told in (info.schema, client.get_schema(descriptor, options).schema, rows.schema):
        assert [(field.name, field.type, field.nullable) for field in told] == [
            (field.name, field.type, field.nullable) for field in schema
        ]
    rows.read_all().validate(full=True)


def test_what_the_server_says_of_itself_is_a_union_of_the_kinds_in_the_specification(call):
    client, options = call
    info = client.get_flight_info(flight.FlightDescriptor.for_command(encoded("CommandGetSqlInfo")), options)
    rows = client.do_get(info.endpoints[0].ticket, options).read_all()
    assert rows.schema == info.schema
    number, value = rows.schema
    assert (number.name, number.type, number.nullable) == ("info_name", pa.uint32(), False)
    assert (value.name, value.type.mode, value.nullable) == ("value", "dense", False)
    kinds = [value.type.field(at) for at in range(value.type.num_fields)]
    assert [kind.name for kind in kinds] == [
        "string_value",
        "bool_value",
        "bigint_value",
        "int32_bitmask",
        "string_list",
        "int32_to_int32_list_map",
    ]
    assert [kind.type for kind in kinds[:4]] == [pa.string(), pa.bool_(), pa.int64(), pa.int32()]
    answers = dict(zip(rows["info_name"].to_pylist(), rows["value"].to_pylist(), strict=True))
    assert len(answers) == rows.num_rows
    # The name of the server, and that it is read only.
    assert (answers[0], answers[3]) == ("Polder", True)


def test_a_table_comes_with_the_schema_that_its_rows_have(call):
    client, options = call
    command = encoded("CommandGetTables", (2, "wholesale"), (3, "orders"), (5, True))
    info = client.get_flight_info(flight.FlightDescriptor.for_command(command), options)
    (table,) = client.do_get(info.endpoints[0].ticket, options).read_all().to_pylist()
    told = pa.ipc.read_schema(pa.py_buffer(table["table_schema"]))
    query = encoded("CommandStatementQuery", (1, "SELECT * FROM wholesale.orders LIMIT 1"))
    info = client.get_flight_info(flight.FlightDescriptor.for_command(query), options)
    rows = client.do_get(info.endpoints[0].ticket, options)
    assert rows.schema.equals(info.schema, check_metadata=True)
    assert rows.schema == told


def test_a_command_that_is_not_known_is_refused(call):
    client, options = call
    with pytest.raises(pa.ArrowInvalid):
        client.get_flight_info(flight.FlightDescriptor.for_command(encoded("CommandGetNothing")), options)
    with pytest.raises(pa.ArrowInvalid):
        client.get_flight_info(flight.FlightDescriptor.for_command(b"\xff\xff"), options)
