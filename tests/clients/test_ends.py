"""The ends of many statements at once: a server that stops while they run, and clients that are killed."""

import contextlib
import http.client
import json
import random
import signal
import subprocess
import sys
import threading
import time

from serving import eventually
from test_http import post
from test_load import ENDLESS

CUSTOMERS = "SELECT customer_id, city, loyalty_tier FROM storefront.customers"


def test_a_server_that_stops_under_load_gives_whole_answers_or_none(serve):
    server = serve()
    expected = len(json.loads(post(server, CUSTOMERS)[2]))
    whole, wrong, stopped = [], [], threading.Event()

    def client():
        while not stopped.is_set():
            # A server that is gone gives no answer, and one that goes gives no part of one.
            with contextlib.suppress(OSError, http.client.HTTPException):
                status, _, body = post(server, CUSTOMERS)
                if status == 200:
                    whole.append(time.monotonic())
                    if len(json.loads(body)) != expected:
                        wrong.append(body[-100:])
            if server.process.poll() is not None:
                return

    clients = [threading.Thread(target=client) for _ in range(16)]
    for thread in clients:
        thread.start()
    try:
        assert eventually(lambda: len(whole) > 30)
        begin = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begin < 40
    finally:
        stopped.set()
        for thread in clients:
            thread.join()
    assert not wrong


def test_clients_that_are_killed_at_any_moment_leave_nothing(serve):
    server = serve()
    script = f"""
import sys
from adbc_driver_flightsql import dbapi

settings = {{"username": "analyst-eu", "password": "analyst-eu"}}
print("here", flush=True)
while True:
    with dbapi.connect("{server.uri}", db_kwargs=settings, autocommit=True) as connection, connection.cursor() as cursor:
        for sql in [{CUSTOMERS!r}, {ENDLESS!r}]:
            cursor.execute(sql)
            print(cursor.fetch_record_batch().read_next_batch().num_rows, flush=True)
"""
    draw = random.Random(8)
    for _ in range(3):
        clients = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(6)]
        for client in clients:
            assert client.stdout.readline() == "here\n"
        for client in clients:
            client.stdout.readline()
            time.sleep(draw.random() / 5)
            client.send_signal(signal.SIGKILL)
            client.communicate()
        assert eventually(lambda: server.metric("polder_queries_running") == 0)
    assert eventually(server.rests, within=60)
    assert post(server, "SELECT 1 AS one")[0] == 200
