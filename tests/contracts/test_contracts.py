"""Contracts of ours are contracts of the standard: its published JSON schema and another program's linter agree."""

import json
from importlib.resources import files
from pathlib import Path

import pytest
import yaml
from datacontract.data_contract import DataContract
from jsonschema import Draft201909Validator

ROOT = Path(__file__).resolve().parents[2]
PACKLY = sorted((ROOT / "examples/packly").glob("*/products/*.odcs.yaml"))
OF_TESTS = sorted((ROOT / "catalog/src/tests/odcs").glob("*.odcs.yaml"))
SCHEMA = json.loads((files("open_data_contract_standard") / "schema.json").read_text())


class Texts(yaml.SafeLoader):
    """Dates are texts in the standard's schema."""


Texts.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def faults(text: str) -> list[str]:
    found = Draft201909Validator(SCHEMA).iter_errors(yaml.load(text, Texts))
    return [f"{'/'.join(map(str, fault.path))}: {fault.message}" for fault in found]


def name(path: Path) -> str:
    return path.name.removesuffix(".odcs.yaml")


@pytest.mark.parametrize("path", PACKLY + OF_TESTS, ids=name)
def test_contracts_keep_the_published_schema(path):
    assert faults(path.read_text()) == []


@pytest.mark.parametrize("path", PACKLY, ids=name)
def test_contracts_pass_another_programs_linter(path):
    run = DataContract(data_contract_file=str(path)).lint()
    assert run.result == "passed", run.pretty()


def test_packly_has_contracts_and_the_schema_has_teeth():
    assert len(PACKLY) >= 12
    text = PACKLY[0].read_text()
    assert faults(text.replace("version:", "versoin:", 1))
    assert faults(text.replace("logicalType: string", "logicalType: text", 1))
