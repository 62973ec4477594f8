"""Java's side of the tests: a virtual machine in this process, and connections through Arrow's Flight SQL JDBC driver.

JPype calls the driver's own classes, so each call of a test is the call that a Java tool makes. The driver is the one
that `tests/run` fetches; `POLDER_JARS` names where it lies (target/jars without it).
"""

import functools
import os
from pathlib import Path

import jpype
import jpype.imports

DRIVER = "flight-sql-jdbc-driver-18.3.0.jar"


def driver():
    """The driver under test."""
    given = os.environ.get("POLDER_JARS")
    path = (Path(given) if given else Path(__file__).parents[2] / "target" / "jars") / DRIVER
    assert path.is_file(), f"there is no driver at {path}: tests/run fetches it, or set POLDER_JARS"
    return str(path)


@functools.cache
def start():
    """Starts the virtual machine, which a process can have only once."""
    jpype.startJVM(
        "-Xmx512m",
        # Arrow's memory needs it, as its documentation says.
        "--add-opens=java.base/java.nio=ALL-UNNAMED",
        # The driver reads timestamps right in no other zone; docs/connect.md tells users so.
        "-Duser.timezone=UTC",
        classpath=[driver()],
    )
    assert jpype.getJVMVersion() >= (17,), "the tests need Java 17 or newer"
    from java.util.logging import Level, Logger

    Logger.getLogger("").setLevel(Level.WARNING)


def connect(server, *, address=None, **properties):
    """A `java.sql.Connection`, with the properties that a tool has in its form."""
    start()
    from java.sql import DriverManager
    from java.util import Properties

    asked = Properties()
    for name, value in {"useEncryption": "false", **properties}.items():
        asked.setProperty(name, str(value))
    return DriverManager.getConnection(f"jdbc:arrow-flight-sql://{address or server.address}", asked)


def rows(results):
    """The rows of a `java.sql.ResultSet` as dicts of Python values; Java's other objects stay as they are."""
    try:
        described = results.getMetaData()
        names = [str(described.getColumnLabel(at + 1)) for at in range(described.getColumnCount())]
        found = []
        while results.next():
            found.append({name: plain(results.getObject(at + 1)) for at, name in enumerate(names)})
        return found
    finally:
        results.close()


def plain(value):
    """A Java object as the Python value that means the same, where there is one."""
    if isinstance(value, jpype.JString):
        return str(value)
    if isinstance(value, (jpype.JBoolean, jpype.java.lang.Boolean)):
        return bool(value)
    if isinstance(value, (jpype.java.lang.Double, jpype.java.lang.Float)):
        return float(value)
    if isinstance(value, jpype.java.lang.Number) and not isinstance(value, jpype.java.math.BigDecimal):
        return int(value)
    return value
