"""OpenLineage: what a server tells of statements, read by the classes of the standard's own client."""

import importlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from adbc_driver_manager import Error
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState

from conftest import open_connection
from serving import eventually

# Which class of the standard's client reads the facet of a URL.
CLASSES = {
    "ColumnLineageDatasetFacet": "column_lineage_dataset",
    "DatasetVersionDatasetFacet": "dataset_version_dataset",
    "ErrorMessageRunFacet": "error_message_run",
    "JobTypeJobFacet": "job_type_job",
    "OutputStatisticsOutputDatasetFacet": "output_statistics_output_dataset",
    "ProcessingEngineRunFacet": "processing_engine_run",
}


def facet(written):
    """A facet as the standard's class has it: it takes no key that the standard does not know."""
    version, name = re.fullmatch(r"https://openlineage\.io/spec/facets/([\d-]+)/(\w+)\.json#/\$defs/\2", written["_schemaURL"]).groups()
    module = importlib.import_module(f"openlineage.client.generated.{CLASSES[name]}")
    says = {key: value for key, value in written.items() if not key.startswith("_")}
    if name == "ColumnLineageDatasetFacet":
        says["fields"] = {
            column: module.Fields(inputFields=[source(module, part) for part in made["inputFields"]])
            for column, made in says["fields"].items()
        }
        says["dataset"] = [source(module, part) for part in says["dataset"]]
    made = getattr(module, name)(**says)
    assert version in made._get_schema(), f"{name} is {made._get_schema()} and not {version}"
    return made


def source(module, part):
    how = [module.Transformation(**how) for how in part.pop("transformations")]
    return module.InputField(**part, transformations=how)


def facets(written):
    return {name: facet(says) for name, says in written.items()}


def dataset(kind, written, own):
    own = {own: facets(written.get(own, {}))}
    return kind(written["namespace"], written["name"], facets=facets(written["facets"]), **own)


def event(text):
    """An event, once every part of it was understood."""
    says = json.loads(text)
    assert says.pop("schemaURL").startswith("https://openlineage.io/spec/2-0-")
    return RunEvent(
        eventType=RunState[says.pop("eventType")],
        eventTime=says.pop("eventTime"),
        producer=says.pop("producer"),
        run=Run(says["run"]["runId"], facets(says.pop("run")["facets"])),
        job=Job(says["job"]["namespace"], says["job"]["name"], facets(says.pop("job")["facets"])),
        inputs=[dataset(InputDataset, written, "inputFacets") for written in says.pop("inputs")],
        outputs=[dataset(OutputDataset, written, "outputFacets") for written in says.pop("outputs")],
        **says,
    )


def ask(server, sql):
    with open_connection(server, "analyst-eu") as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def test_every_statement_over_products_is_told_at_both_ends(serve, tmp_path):
    told = tmp_path / "lineage.jsonl"
    server = serve("--lineage", f"file:{told}")
    rows = ask(
        server,
        "SELECT city, email, count(*) AS n FROM storefront.customers WHERE region <> 'hidden-literal' GROUP BY city, email",
    )
    ask(server, "SELECT table_name FROM information_schema.tables")
    with pytest.raises(Error):
        ask(server, "SELECT CAST(email AS INT) FROM storefront.customers")
    assert server.stop() == 0
    assert told.stat().st_mode & 0o077 == 0
    text = told.read_text()
    for kept in ("hidden-literal", "analyst-eu", "SELECT"):
        assert kept not in text
    events = [event(line) for line in text.splitlines()]
    assert [said.eventType.name for said in events] == ["START", "COMPLETE", "START", "FAIL"]
    begun, ended, _, failed = events
    assert begun.run.runId == ended.run.runId != failed.run.runId
    assert begun.job == ended.job
    assert [(read.namespace, read.name) for read in ended.inputs] == [("polder://packly", "storefront.customers")]
    [answer] = ended.outputs
    assert answer.outputFacets["outputStatistics"].rowCount == len(rows)
    lineage = answer.facets["columnLineage"]
    assert list(lineage.fields) == ["city", "email", "n"]
    [email] = [part for part in lineage.fields["email"].inputFields if part.transformations[0].type == "DIRECT"]
    assert (email.name, email.field, email.transformations[0].masking) == ("storefront.customers", "email", True)
    assert {(part.field, part.transformations[0].subtype) for part in lineage.dataset} >= {
        ("region", "FILTER"),
        ("city", "GROUP_BY"),
    }
    assert failed.run.facets["errorMessage"].programmingLanguage == "SQL"


def test_a_server_gets_them_and_one_that_fails_holds_nobody_up(serve, monkeypatch):
    seen, broken = [], threading.Event()

    class Catalog(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            seen.append((self.path, self.headers["Authorization"], body))
            self.send_response(500 if broken.is_set() else 201)
            self.end_headers()

        def log_message(self, *_):
            pass

    catalog = ThreadingHTTPServer(("127.0.0.1", 0), Catalog)
    threading.Thread(target=catalog.serve_forever, daemon=True).start()
    monkeypatch.setenv("OPENLINEAGE_API_KEY", "not-much-of-a-secret")
    try:
        server = serve("--lineage", f"http://127.0.0.1:{catalog.server_port}")
        ask(server, "SELECT count(*) FROM storefront.customers")
        assert eventually(lambda: server.metric('polder_lineage_events_total{state="sent"}') == 2)
        assert [event(body).eventType.name for _, _, body in seen] == ["START", "COMPLETE"]
        assert {(path, key) for path, key, _ in seen} == {("/api/v1/lineage", "Bearer not-much-of-a-secret")}
        broken.set()
        assert ask(server, "SELECT count(*) FROM storefront.customers")
        assert eventually(lambda: server.metric('polder_lineage_events_total{state="lost"}') == 2)
        assert len(seen) == 2 + 3 * 2, "each is tried three times"
    finally:
        catalog.shutdown()
        catalog.server_close()
    assert server.stop() == 0
    assert "not-much-of-a-secret" not in server.said
