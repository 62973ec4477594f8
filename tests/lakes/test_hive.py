"""Hive Metastores of two versions, which are asked by Thrift. The older one has its tables in a directory, the newer one in S3."""

import contextlib

import pytest
from hive_metastore import ttypes
from hive_metastore.ThriftHiveMetastore import Client
from pyiceberg.catalog.hive import HiveCatalog
from pyiceberg.catalog.sql import SqlCatalog
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.transport import TSocket, TTransport

import servers
from faults import Tunnel
from lakes import Domain, ask, assert_is_clear, plain, rows, s3_files, s3_storage, write_mesh

# The domains, by the versions of their metastores.
NAMES = {3: "cellar", 4: "mill"}
TABLES = ["sales", "plain", "seen", "Sales", "missing"]


@contextlib.contextmanager
def client(metastore):
    transport = TTransport.TBufferedTransport(TSocket.TSocket("127.0.0.1", metastore.port))
    transport.open()
    try:
        yield Client(TBinaryProtocol(transport))
    finally:
        transport.close()


def list_table(metastore, place, name, kind, parameters):
    """Puts a table into the list, as Hive and its like do."""
    columns = [ttypes.FieldSchema("key", "bigint", "")]
    storage = ttypes.StorageDescriptor(cols=columns, location=f"{place}/{name}", serdeInfo=ttypes.SerDeInfo())
    with client(metastore) as hive:
        hive.create_table(
            ttypes.Table(name, "shop", "lakes", sd=storage, partitionKeys=[], parameters=parameters, tableType=kind)
        )


@pytest.fixture(scope="module", params=[3, 4])
def listed(request, work, running, s3):
    """A metastore, and the domain whose tables it lists."""
    version = request.param
    metastore = running(servers.hive(version, work))
    place = f"file:{work}/lists{version}"
    with client(metastore) as hive:
        hive.create_database(ttypes.Database("shop", locationUri=place))
    tunnel = Tunnel(metastore.address)
    catalog = {"type": "hms", "uri": f"thrift://{tunnel.address}"}
    if version == 3:
        (work / "hives").mkdir()
        catalog["location"] = f"file:{work}/hives"
        files, storage = {"warehouse": f"file://{work}/hives"}, {}
    else:
        servers.bucket(s3.url, "hives")
        files, storage = {"warehouse": "s3://hives", **s3_files(s3.url)}, s3_storage(s3.url)
    writer = SqlCatalog("hives", uri=f"sqlite:///{work}/hives{version}.db", **files)
    domain = Domain(NAMES[version], catalog, storage, writer, {"catalog": tunnel})
    sold = domain.sell()
    pointing = {"EXTERNAL": "TRUE", "table_type": "ICEBERG", "metadata_location": sold.metadata_location}
    list_table(metastore, place, "sales", "EXTERNAL_TABLE", pointing)
    list_table(metastore, place, "plain", "EXTERNAL_TABLE", {"EXTERNAL": "TRUE"})
    list_table(metastore, place, "seen", "VIRTUAL_VIEW", {})
    yield metastore, domain
    tunnel.close()


@pytest.fixture
def connection(listed, tmp_path, serve, asking):
    return asking(serve(write_mesh(tmp_path / "mesh", [listed[1]], TABLES)))


def test_a_table_is_read_as_others_read_it(listed, connection):
    metastore, domain = listed
    outcome = ask(connection, domain.sql)
    assert outcome.is_exact(rows(domain.name)), outcome
    if domain.name == NAMES[3]:
        theirs = HiveCatalog("hives", uri=f"thrift://{metastore.address}").load_table("shop.sales")
        assert plain(theirs.scan().to_arrow().sort_by("key")).equals(outcome.table)


def test_what_is_no_iceberg_table_and_what_is_not_there_is_refused_by_name(listed, connection):
    name = listed[1].name
    for table, said in [("plain", "no Iceberg table"), ("seen", "is a view"), ("missing", "no table"), ('"Sales"', "no table")]:
        error = ask(connection, f"SELECT * FROM {name}.{table}").error
        assert_is_clear(error, name)
        assert said in error and f"`shop.{table.strip(chr(34))}`" in error, error


def test_a_metastore_that_is_gone_is_named_and_asked_again(listed, tmp_path, serve, asking):
    domain = listed[1]
    domain.catalog["staleness"] = "0s"
    connection = asking(serve(write_mesh(tmp_path / "mesh", [domain])))
    assert ask(connection, domain.sql).is_exact(rows(domain.name))
    tunnel = domain.ends["catalog"]
    tunnel.close()
    assert_is_clear(ask(connection, domain.sql).error, domain.name)
    tunnel.listen()
    assert ask(connection, domain.sql).is_exact(rows(domain.name))
