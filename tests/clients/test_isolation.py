"""One sick domain among well ones: a catalog that hangs, and files that are broken while the mesh is served."""

import base64
import os
import re
import signal
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from adbc_driver_manager import Error

from conftest import open_connection
from serving import eventually
from silent import silent

WELL = "SELECT count(*) FROM wholesale.orders"
SICK = "SELECT count(*) FROM harbour.ships"
# What a question to the sick domain may take: its own timeout, and a loaded machine.
TIMEOUT = 2
LATE = 40

CONTRACT = """apiVersion: v3.1.0
kind: DataContract
id: ships
version: 1.0.0
status: active
description: { purpose: to wait for them }
schema:
  - name: ships
    physicalName: sea.ships
    properties:
      - { name: ship, logicalType: integer, description: its number, classification: internal }
"""
POLICIES = """@id("harbour-discover") permit (principal in Group::"analysts", action == Action::"discover", resource in Domain::"harbour");
@id("harbour-read") permit (principal in Group::"analysts", action == Action::"read", resource in Domain::"harbour");
"""


def replace(file, before, after):
    text = file.read_text()
    assert before in text
    # At once: the server may be looking.
    new = file.with_suffix(".new")
    new.write_text(text.replace(before, after, 1))
    new.rename(file)


def harbour(directory, uri):
    """A domain whose catalog is at `uri`."""
    (directory / "harbour" / "products").mkdir(parents=True)
    (directory / "harbour" / "policies").mkdir()
    (directory / "harbour" / "domain.yaml").write_text(
        "name: harbour\nkind: source-aligned\nowner: { team: harbour }\n"
        f'catalog: {{ type: rest, uri: "{uri}", timeout: {TIMEOUT}s, staleness: 0s }}\n'
    )
    (directory / "harbour" / "products" / "ships.odcs.yaml").write_text(CONTRACT)
    (directory / "harbour" / "policies" / "access.cedar").write_text(POLICIES)


def ask(connection, sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def took(work):
    start = time.monotonic()
    work()
    return time.monotonic() - start


def refusal(connection, sql):
    with pytest.raises(Error) as refused:
        ask(connection, sql)
    return str(refused.value)


def slowest(connection, count=100):
    """What all but one in a hundred answers of a well domain take at most."""
    times = sorted(took(lambda: ask(connection, WELL)) for _ in range(count))
    return times[-max(count // 100, 1)]


def test_a_catalog_that_hangs_holds_up_its_own_domain_alone(copy, serve):
    with silent() as catalog:
        harbour(copy, catalog.uri)
        server = serve("--follow", "1", mesh=copy)
        with open_connection(server, "analyst-eu") as analyst, ThreadPoolExecutor(4) as pool:
            ask(analyst, WELL)
            before = slowest(analyst)
            done = threading.Event()

            def wait_for_ships():
                with open_connection(server, "analyst-eu") as waiting:
                    while not done.is_set():
                        text = refusal(waiting, SICK)
                        assert "domain `harbour`" in text and catalog.uri not in text
                        done.wait(0.05)

            waiting = [pool.submit(wait_for_ships) for _ in range(4)]
            try:
                assert eventually(lambda: catalog.asked > 0)
                meanwhile = slowest(analyst)
                assert meanwhile < max(4 * before, before + 0.3), f"{before:.3f} s before, {meanwhile:.3f} s meanwhile"
                # Once it is known to be down, nobody waits for it.
                eventually(lambda: "let alone" in refusal(analyst, SICK), LATE)
                assert min(took(lambda: refusal(analyst, SICK)) for _ in range(5)) < 1

                # What the mesh says of itself needs no catalog, or not that one.
                assert took(lambda: ask(analyst, "SELECT * FROM mesh.products")) < 2
                assert took(lambda: analyst.adbc_get_objects(depth="tables").read_all()) < 2
                columns = "SELECT DISTINCT table_schema FROM information_schema.columns"
                assert eventually(lambda: {("wholesale",), ("storefront",)} <= set(ask(analyst, columns)), LATE)
                health = dict(ask(analyst, "SELECT domain, max(state) FROM mesh.health GROUP BY domain"))
                assert health["harbour"] == "down" and health["wholesale"] != "down"
                down = ask(analyst, "SELECT state, since, reason, changed FROM mesh.health WHERE domain = 'harbour'")
                assert down[0][1] is not None and catalog.uri not in down[0][2] and down[0][3] is None
                assert server.get("/readyz") == (200, "ready\ndomains: 5 ok, 1 down\n")
                assert server.metric('polder_domains{state="down"}') == 1
            finally:
                done.set()
                for one in waiting:
                    one.result(LATE)

            # It is asked again by itself, and is well before anybody needs it.
            catalog.speak.set()
            assert eventually(lambda: server.get("/readyz") == (200, "ready\n"), LATE)
            assert "has no table `sea.ships`" in refusal(analyst, SICK)
            assert ask(analyst, "SELECT state FROM mesh.health WHERE domain = 'harbour'") == [("drift",)]


def test_a_catalog_whose_name_is_not_resolved_holds_up_its_own_domain_alone(copy, serve, tmp_path):
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    # The server has a file of names of its own. What is missing for that is no reason to skip the test.
    apart = ["unshare", "--mount" if os.geteuid() == 0 else "--map-root-user", "--mount", "sh", "-c"]
    by = [*apart, 'mount --bind "$0" /etc/hosts && exec "$@"', str(hosts)]
    with silent() as catalog:
        catalog.speak.set()
        uri = catalog.uri.replace("127.0.0.1", "catalog.harbour.invalid")
        harbour(copy, uri)
        server = serve(mesh=copy, by=by)
        with open_connection(server, "analyst-eu") as analyst:
            text = refusal(analyst, SICK)
            assert "domain `harbour`" in text and "harbour.invalid" not in text, text
            assert len(ask(analyst, WELL)) == 1
            assert catalog.asked == 0 and "1 down" in server.get("/readyz")[1]
            hosts.write_text("127.0.0.1 localhost catalog.harbour.invalid\n")
            assert eventually(lambda: server.get("/readyz") == (200, "ready\n"), LATE)
            assert "has no table `sea.ships`" in refusal(analyst, SICK)
            assert catalog.asked > 0


def test_names_of_domains_are_for_those_who_may_discover_them(copy, serve):
    server = serve(mesh=copy)

    def metrics(user):
        request = urllib.request.Request(server.http + "/metrics")
        request.add_header("Authorization", "Basic " + base64.b64encode(f"{user}:{user}".encode()).decode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            return set(re.findall(r'domain="(\w+)"', answer.read().decode()))

    assert "domain=" not in server.get("/metrics")[1]
    assert metrics("analyst-eu") == {"fulfillment", "marketing", "payments", "storefront", "wholesale"}
    assert metrics("guest") == {"fulfillment", "storefront"}


def test_a_broken_domain_is_as_it_was_until_it_is_mended(copy, serve):
    contract = copy / "storefront" / "products" / "customers.odcs.yaml"
    oversight = copy / "policies" / "oversight.cedar"
    server = serve("--follow", "1", mesh=copy)
    city = "SELECT city FROM storefront.customers LIMIT 1"
    with open_connection(server, "analyst-eu") as analyst:
        assert len(ask(analyst, city)) == 1
        replace(contract, "kind: DataContract", "kind: Contract")
        server.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: "1 kept" in server.get("/readyz")[1])
        assert len(ask(analyst, city)) == 1 and len(ask(analyst, WELL)) == 1
        states = dict(ask(analyst, "SELECT domain, min(state) FROM mesh.health GROUP BY domain"))
        assert states["storefront"] == "kept" and states["wholesale"] != "kept"

        # What is forbidden for the whole mesh is forbidden there too.
        forbid = '@id("no-cities") forbid (principal, action == Action::"read", resource in Column::"storefront.customers.city");\n'
        replace(oversight, "@id(", forbid + "@id(")

        def forbidden():
            try:
                return not ask(analyst, city)
            except Error as refused:
                return "no-cities" in str(refused)

        assert eventually(forbidden)
        assert "1 kept" in server.get("/readyz")[1]
        replace(contract, "kind: Contract", "kind: DataContract")
        assert eventually(lambda: server.get("/readyz") == (200, "ready\n"))
        assert "no-cities" in refusal(analyst, city)
    said = "\n".join(line for line in server.said if line)
    assert "storefront/products/customers.odcs.yaml:" in said and "as it was before" in said


def test_a_domain_whose_files_do_not_rest_keeps_nobody_from_taking_rights_away(copy, serve):
    restless = copy / "storefront" / "domain.yaml"
    stop = threading.Event()

    def change():
        text, new = restless.read_text(), restless.with_suffix(".new")
        while not stop.wait(0.05):
            text += "# again\n"
            new.write_text(text)
            new.rename(restless)

    server = serve("--follow", "1", mesh=copy)
    changing = threading.Thread(target=change)
    with open_connection(server, "analyst-eu") as analyst:
        assert len(ask(analyst, WELL)) == 1
        changing.start()
        try:
            forbid = '@id("no-orders") forbid (principal, action == Action::"discover", resource == Product::"wholesale.orders");\n'
            replace(copy / "policies" / "oversight.cedar", "@id(", forbid + "@id(")

            def forbidden():
                try:
                    return not ask(analyst, WELL)
                except Error as refused:
                    return "wholesale.orders" in str(refused)

            assert eventually(forbidden, within=60)
        finally:
            stop.set()
            changing.join()
    assert any("do not rest" in line for line in server.said if line)
