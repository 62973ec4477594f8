"""Catalogs of AWS in their own ways, which tell where a table's metadata is and nothing more: Glue, and a bucket of S3 Tables.

What is sent is checked by AWS's own library.
"""

import boto3
import pytest
from pyiceberg.catalog.glue import GlueCatalog
from pyiceberg.catalog.sql import SqlCatalog

import servers
from faults import Proxy
from lakes import Domain, ask, assert_is_clear, rows, s3_files, s3_storage, write, write_mesh
from servers import KEY, REGION, SECRET
from test_signatures import Checks

KEYS = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "region_name": REGION}


@pytest.fixture
def service(moto):
    service = Proxy(moto.address)
    yield service
    service.close()


@pytest.fixture(scope="module")
def glued(moto):
    """Who writes into Glue, with a table of Hive's and a view beside what is sold."""
    servers.bucket(moto.url, "quay")
    keys = {"glue.access-key-id": KEY, "glue.secret-access-key": SECRET, "glue.region": REGION}
    writer = GlueCatalog("mill", **{"glue.endpoint": moto.url, "warehouse": "s3://quay"}, **keys, **s3_files(moto.url))
    Domain("mill", {}, {}, writer).sell()
    glue = boto3.client("glue", endpoint_url=moto.url, **KEYS)
    for table in [{"Name": "plain", "TableType": "EXTERNAL_TABLE"}, {"Name": "seen", "TableType": "VIRTUAL_VIEW"}]:
        glue.create_table(DatabaseName="shop", TableInput=table)
    return writer


@pytest.fixture(scope="module")
def bucket(moto, work):
    """The ARN of a bucket of tables."""
    tables = boto3.client("s3tables", endpoint_url=moto.url, **KEYS)
    bucket = tables.create_table_bucket(name="crates")["arn"]
    tables.create_namespace(tableBucketARN=bucket, namespace=["shop"])
    table = {"tableBucketARN": bucket, "namespace": "shop", "name": "sales"}
    tables.create_table(**table, format="ICEBERG")
    told = tables.get_table_metadata_location(**table)
    # PyIceberg lists what it writes, and the bucket itself lists nothing. Moto takes places that begin as it does.
    place = told["warehouseLocation"] + "-files"
    servers.bucket(moto.url, place.removeprefix("s3://"))
    files = {"warehouse": place, **s3_files(moto.url)}
    sold = Domain("cellar", {}, {}, SqlCatalog("crates", uri=f"sqlite:///{work}/crates.db", **files)).sell()
    place = {"metadataLocation": sold.metadata_location, "versionToken": told["versionToken"]}
    tables.update_table_metadata_location(**table, **place)
    return bucket


def glue(service, **more):
    return {"type": "glue", "region": REGION, "api": "native", "uri": service.url, **more}


def s3tables(service, bucket):
    return {"type": "s3tables", "table_bucket": bucket, "api": "native", "uri": service.url}


@pytest.mark.parametrize("kind", ["glue", "s3tables"])
def test_a_table_is_read_and_each_request_is_signed(kind, service, glued, bucket, moto, tmp_path, serve, asking):
    checks = Checks(service, kind)
    name, catalog = ("mill", glue(service)) if kind == "glue" else ("cellar", s3tables(service, bucket))
    domain = Domain(name, catalog, s3_storage(moto.url), None)
    connection = asking(serve(write_mesh(tmp_path / "mesh", [domain], ["sales", "missing"])))
    assert ask(connection, domain.sql).is_exact(rows(name))
    missing = ask(connection, f"SELECT * FROM {name}.missing").error
    assert_is_clear(missing, name)
    assert "no table `shop.missing`" in missing
    assert len(checks.signed) >= 2


def test_what_is_written_is_seen(service, glued, moto, tmp_path, serve, asking):
    domain = Domain("mill", glue(service, staleness="0s"), s3_storage(moto.url), glued)
    connection = asking(serve(write_mesh(tmp_path / "mesh", [domain])))
    assert ask(connection, domain.sql).is_exact(rows("mill"))
    domain.table.append(rows("mill", range(9000, 9100)))
    assert ask(connection, "SELECT count(*) AS n FROM mill.sales WHERE key >= 9000").table["n"].to_pylist() == [
        rows("mill", range(9000, 9100)).num_rows
    ]
    domain.table.delete("key >= 9000")
    assert ask(connection, domain.sql).is_exact(rows("mill"))


def test_what_is_no_iceberg_table_is_refused_by_name(service, glued, moto, tmp_path, serve, asking):
    domain = Domain("mill", glue(service), s3_storage(moto.url), None)
    connection = asking(serve(write_mesh(tmp_path / "mesh", [domain], ["plain", "seen"])))
    for name, said in [("plain", "no Iceberg table"), ("seen", "is a view")]:
        error = ask(connection, f"SELECT * FROM mill.{name}").error
        assert_is_clear(error, "mill")
        assert f"`shop.{name}`" in error and said in error


@pytest.mark.parametrize("kind", ["glue", "s3tables"])
def test_a_key_that_is_not_known_is_refused_by_name(kind, service, glued, bucket, moto, tmp_path, serve, asking):
    Checks(service, kind)
    domain = Domain("mill", glue(service) if kind == "glue" else s3tables(service, bucket), s3_storage(moto.url), None)
    mesh = write_mesh(tmp_path / "mesh", [domain])
    write(mesh / "secrets" / "secret", "another secret")
    error = ask(asking(serve(mesh)), domain.sql).error
    assert_is_clear(error, "mill")
    assert "credentials" in error and "arn:" not in error
