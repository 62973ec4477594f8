"""Where the tables are written: an S3 server and a REST catalog on loopback, both empty at first and gone afterwards.

Every location inside a table's metadata begins with `s3://polder-tables/`, whoever writes it. The bucket becomes the
directory `data/` in the end, so whoever reads the tables serves that directory as the bucket.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
WORK = Path(os.environ.get("POLDER_TABLES_WORK", HERE.parents[1] / "target" / "tables"))
BUCKET = "polder-tables"
# Another one serves `data/` when tests read the tables.
S3 = os.environ.get("POLDER_TABLES_S3", "http://127.0.0.1:5123")
REST = "http://127.0.0.1:8181"
KEY, SECRET, REGION = "payments", "not-much-of-a-secret", "us-east-1"

# What the JVMs and the AWS SDKs read.
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": REGION}
CATALOG = {
    "CATALOG_CATALOG__IMPL": "org.apache.iceberg.jdbc.JdbcCatalog",
    "CATALOG_JDBC_SCHEMA__VERSION": "V1",
    "CATALOG_IO__IMPL": "org.apache.iceberg.aws.s3.S3FileIO",
    "CATALOG_WAREHOUSE": f"s3://{BUCKET}",
    "CATALOG_S3_ENDPOINT": S3,
    "CATALOG_S3_PATH__STYLE__ACCESS": "true",
    "REST_PORT": REST.rpartition(":")[2],
}


def jars(of):
    """The jars of the catalog (`rest`) or of Spark (`spark`), fetched by Maven into the work directory once."""
    directory = WORK / of
    if not directory.is_dir():
        maven = ["mvn", "--quiet", "--batch-mode", "--file", str(HERE / f"{of}.pom.xml")]
        subprocess.run([*maven, "dependency:copy-dependencies", f"-DoutputDirectory={directory.resolve()}"], check=True)
    return sorted(directory.glob("*.jar"))


def _answers(url):
    try:
        urllib.request.urlopen(url, timeout=2)
    except urllib.error.HTTPError:
        return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
    return True


@contextlib.contextmanager
def _running(command, url, environment):
    log = open(WORK / f"{Path(command[0]).name}.log", "w")
    process = subprocess.Popen(command, env=os.environ | environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 60
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} does not answer, see {log.name}")
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait(20)
        log.close()


def bucket():
    """A client of the S3 server."""
    import boto3

    return boto3.client("s3", endpoint_url=S3, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name=REGION)


@contextlib.contextmanager
def running():
    """The S3 server with its bucket, and the catalog."""
    WORK.mkdir(parents=True, exist_ok=True)
    database = WORK / "catalog.db"
    database.unlink(missing_ok=True)
    os.environ.update(ENVIRONMENT)
    moto = Path(sys.executable).with_name("moto_server")
    host, _, port = S3.removeprefix("http://").partition(":")
    classpath = os.pathsep.join(map(str, jars("rest")))
    rest = ["java", "-cp", classpath, "org.apache.iceberg.rest.RESTCatalogServer"]
    with contextlib.ExitStack() as servers:
        servers.enter_context(_running([str(moto), "-H", host, "-p", port], S3, {}))
        bucket().create_bucket(Bucket=BUCKET)
        settings = CATALOG | {"CATALOG_URI": f"jdbc:sqlite:{database}"}
        servers.enter_context(_running(rest, f"{REST}/v1/config", settings))
        yield


def save(writer):
    """Writes what the bucket holds of a writer's tables into `data/`, with the last metadata file of each only."""
    target = HERE / "data" / writer
    shutil.rmtree(target, ignore_errors=True)
    last = current(writer)
    client = bucket()
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{writer}/"):
        for entry in page.get("Contents", []):
            key = entry["Key"]
            table = key.split("/")[1]
            if key.endswith(".metadata.json") and key != last.get(table):
                continue
            path = HERE / "data" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(client.get_object(Bucket=BUCKET, Key=key)["Body"].read())


def current(writer):
    """The key of each table's current metadata file, by the table's name."""
    # PyIceberg would refuse the metadata of tables with types that it does not know.
    def ask(path):
        with urllib.request.urlopen(f"{REST}/v1/namespaces/{writer}/tables{path}", timeout=20) as answer:
            return json.load(answer)

    names = [identifier["name"] for identifier in ask("")["identifiers"]]
    return {name: ask(f"/{name}")["metadata-location"].removeprefix(f"s3://{BUCKET}/") for name in names}


def file_io(s3=S3):
    """What PyIceberg must know to read from the S3 server."""
    return {
        "s3.endpoint": s3,
        "s3.access-key-id": KEY,
        "s3.secret-access-key": SECRET,
        "s3.region": REGION,
        "py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO",
    }


def iceberg_catalog():
    """PyIceberg's view of the catalog."""
    from pyiceberg.catalog import load_catalog

    return load_catalog("lake", **{"type": "rest", "uri": REST}, **file_io())
